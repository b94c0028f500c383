#include "t/unit/proto_messages.h"

#include "proto/signature.h"

static struct canon_response
decode(struct bench *t, const char *body)
{
	struct canon_response r;

	assert_int_equal(dialect_messages.decode_response(t->a, span_of(body), &r, &t->err), 0);
	return r;
}

static const struct json *
encode(struct bench *t, const struct canon_response *r)
{
	struct buf out = BUF_INIT(1u << 22);
	const struct json *j;

	assert_int_equal(dialect_messages.encode_response(r, &t->ctx, &out), 0);
	j = parse(t, (struct span){arena_strndup(t->a, out.data, out.len), out.len});
	buf_clear(&out);
	return j;
}

static void
assert_member(struct bench *t, const struct json *o, const char *name, const char *want)
{
	const struct json *m = json_get(o, name);

	if (m == NULL)
		fail_msg("no %s in %.*s", name, (int)o->raw.n, o->raw.p);
	assert_json(t, m->raw, span_of(want));
}

static struct canon_response
foreign(struct bench *t, enum canon_finish_reason reason)
{
	struct canon_response r = {
	    .from = DIALECT_CHAT, .id = span_of("chatcmpl-1"), .model = span_of("gpt")};

	canon_source_init(&r.src, DIALECT_CHAT);
	r.choices = canon_choice_new(t->a, 0);
	r.choices->finish.reason = reason;
	return r;
}

static struct canon_part *
add_part(struct bench *t, struct canon_response *r, enum canon_part_kind kind, const char *text)
{
	struct canon_part *p = canon_part_new(t->a, kind);

	p->text = span_of(text);
	TAILQ_INSERT_TAIL(&r->choices->parts, p, link);
	return p;
}

/* ---- own dialect ---- */

static void
test_fixture(void **state)
{
	struct bench *t = *state;
	struct buf body = BUF_INIT(1u << 20), out = BUF_INIT(1u << 20);
	struct canon_response r;
	FILE *f = fopen("t/data/messages/answer.json", "r");

	assert_non_null(f);
	body.len = fread(buf_reserve(&body, 1u << 16), 1, 1u << 16, f);
	fclose(f);
	assert_int_equal(dialect_messages.decode_response(t->a, bytes_of(&body), &r, &t->err), 0);
	assert_int_equal(dialect_messages.encode_response(&r, &t->ctx, &out), 0);
	assert_json(t, bytes_of(&out), bytes_of(&body));
	assert_non_null(
	    memmem(out.data, out.len, "\"n\": 12345678901234567890", 25)); /* not a double */
	/* cached tokens stand beside input_tokens here, inside the total of the model */
	assert_int_equal(r.usage.in_total, 60);
	assert_int_equal(r.usage.in_cached, 30);
	assert_int_equal(r.usage.in_cache_write, 20);
	assert_int_equal(r.usage.in_cache_write_5m, 15);
	assert_int_equal(r.usage.in_cache_write_1h, 5);
	assert_int_equal(r.usage.out_total, 40);
	assert_int_equal(r.usage.out_reasoning, 7);
	assert_int_equal(r.usage.searches, 1);
	assert_int_equal(r.usage.fetches, 2);
	assert_int_equal(r.choices->finish.reason, FINISH_TOOL_CALLS);
	buf_clear(&body);
	buf_clear(&out);
}

static void
test_empty_content(void **state)
{
	struct bench *t = *state;
	struct canon_response r =
	    decode(t, "{\"type\":\"message\",\"content\":[],\"stop_reason\":\"end_turn\","
		      "\"usage\":{\"input_tokens\":3,\"output_tokens\":0}}");

	assert_true(TAILQ_EMPTY(&r.choices->parts));
	assert_int_equal(r.choices->finish.reason, FINISH_STOP);
	assert_true(r.usage.has_out);
	assert_member(t, encode(t, &r), "content", "[]");
}

static void
test_words(void **state)
{
	static const struct {
		const char *word;
		enum canon_finish_reason reason;
	} rows[] = {
	    {"end_turn", FINISH_STOP},
	    {"max_tokens", FINISH_LENGTH},
	    {"stop_sequence", FINISH_STOP_SEQUENCE},
	    {"tool_use", FINISH_TOOL_CALLS},
	    {"refusal", FINISH_REFUSAL},
	    {"pause_turn", FINISH_PAUSE},
	    {"model_context_window_exceeded", FINISH_CONTEXT_WINDOW},
	    {"of_tomorrow", FINISH_UNKNOWN},
	};
	struct bench *t = *state;

	for (size_t i = 0; i < NELEM(rows); i++) {
		struct canon_response r =
		    decode(t, arena_printf(t->a,
				  "{\"content\":[{\"type\":\"text\",\"text\":\"a\"}],\"stop_"
				  "reason\":\"%s\",\"stop_sequence\":\"S\"}",
				  rows[i].word));
		assert_int_equal(r.choices->finish.reason, rows[i].reason);
		assert_text(r.choices->finish.stop_sequence, "S");
		assert_member(
		    t, encode(t, &r), "stop_reason", arena_printf(t->a, "\"%s\"", rows[i].word));
		r.from = DIALECT_CHAT; /* from others a word that nobody knows is an ordinary end */
		r.choices->finish.raw = span_of("eos");
		assert_member(t, encode(t, &r), "stop_reason",
		    rows[i].reason == FINISH_UNKNOWN || rows[i].reason == FINISH_TOOL_CALLS
			? "\"end_turn\""
			: arena_printf(t->a, "\"%s\"", rows[i].word));
	}
}

static void
test_not_an_answer(void **state)
{
	static const char *const bodies[] = {
	    "", "{", "[]", "{}", "{\"content\":{}}", "{\"content\":\"a\"}", "null"};
	struct bench *t = *state;
	struct canon_response r;

	for (size_t i = 0; i < NELEM(bodies); i++)
		assert_int_equal(
		    dialect_messages.decode_response(t->a, span_of(bodies[i]), &r, &t->err),
		    E_SYNTAX);
	assert_int_equal(dialect_messages.decode_response(t->a,
			     span_of("{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
				     "\"message\":\"Overloaded\"}}"),
			     &r, &t->err),
	    E_DENIED);
	assert_int_equal(t->err.class, ERROR_OVERLOADED);
	assert_text(t->err.message, "Overloaded");
}

/* ---- from others ---- */

static void
test_foreign(void **state)
{
	struct bench *t = *state;
	struct canon_response r = foreign(t, FINISH_STOP);
	struct canon_part *p;
	const struct json *body;
	struct span id, sign;
	struct canon_signature s;

	add_part(t, &r, PART_REASONING, "why");
	add_part(t, &r, PART_TEXT, "so");
	p = add_part(t, &r, PART_IMAGE, "");
	p->media = (struct canon_media){
	    .source = MEDIA_BASE64, .data = span_of("QUJDREVGR0g="), .type = span_of("image/png")};
	p = add_part(t, &r, PART_TOOL_CALL, "");
	p->name = span_of("f");
	p->args = span_of("{\"a\": 1.0}");
	r.usage = (struct canon_usage){.has_in = true,
	    .has_out = true,
	    .in_total = 100,
	    .in_cached = 70,
	    .in_cache_write = 10,
	    .out_total = 9,
	    .out_reasoning = 4,
	    .searches = 1};
	body = encode(t, &r);
	id = json_text(t->a, json_get(body, "id"));
	assert_int_equal(id.n, 28);
	assert_memory_equal(id.p, "msg_", 4);
	assert_member(t, body, "type", "\"message\"");
	assert_member(t, body, "role", "\"assistant\"");
	assert_member(t, body, "model", "\"gpt\"");
	assert_member(t, body, "stop_reason",
	    "\"tool_use\""); /* a call was made: the client's loop goes on */
	assert_member(t, body, "stop_sequence", "null");
	assert_member(t, body, "usage",
	    "{\"input_tokens\":20,\"cache_creation_input_tokens\":10,\"cache_read_input_tokens\":"
	    "70,"
	    "\"output_tokens\":9,\"server_tool_use\":{\"web_search_requests\":1},\"output_tokens_"
	    "details\":{\"thinking_tokens\":4}}");
	body = json_get(body, "content");
	assert_int_equal(body->count, 4);
	/* unsigned: an envelope, never "" */
	sign = json_text(t->a, json_get(json_at(body, 0), "signature"));
	assert_true(signature_unwrap(t->a, sign, ORIGIN_ANTHROPIC, &s));
	assert_int_equal(s.origin, ORIGIN_NONE);
	assert_null(s.data.p);
	assert_member(t, json_at(body, 1), "text", "\"so\"");
	assert_member(t, json_at(body, 2), "text", "\"[image generated: image/png, 1 KB]\"");
	id = json_text(t->a, json_get(json_at(body, 3), "id"));
	assert_int_equal(id.n, 30);
	assert_memory_equal(id.p, "toolu_", 6);
	assert_non_null(
	    memmem(json_at(body, 3)->raw.p, json_at(body, 3)->raw.n, "{\"a\": 1.0}", 10));
}

static void
test_ends(void **state)
{
	struct bench *t = *state;
	struct canon_response r = foreign(t, FINISH_CONTENT_FILTER);
	struct buf out = BUF_INIT(1u << 16);

	assert_member(t, encode(t, &r), "stop_reason", "\"refusal\"");
	r = foreign(t, FINISH_STOP);
	add_part(t, &r, PART_REFUSAL, "no");
	assert_member(t, encode(t, &r), "stop_reason", "\"refusal\"");
	assert_member(t, encode(t, &r), "content", "[{\"type\":\"text\",\"text\":\"no\"}]");
	r = foreign(t, FINISH_MALFORMED); /* never an answer */
	assert_int_equal(dialect_messages.encode_response(&r, &t->ctx, &out), E_DENIED);
	buf_clear(&out);
}

/* Cached tokens that are more than all of them: no negative number. */
static void
test_usage_clamped(void **state)
{
	struct bench *t = *state;
	struct canon_response r = foreign(t, FINISH_STOP);

	r.usage = (struct canon_usage){.in_total = 5, .in_cached = 9, .in_cache_write_1h = 3};
	assert_member(t, encode(t, &r), "usage",
	    "{\"input_tokens\":0,\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":9,"
	    "\"output_tokens\":0,\"cache_creation\":{\"ephemeral_5m_input_tokens\":0,\"ephemeral_"
	    "1h_input_tokens\":3}}");
}

/* Encrypted thoughts of others: redacted without a text, a signature with one. */
static void
test_encrypted(void **state)
{
	struct bench *t = *state;
	struct canon_response r = foreign(t, FINISH_STOP);
	struct canon_part *p = add_part(t, &r, PART_REASONING, "");
	const struct json *content;
	struct canon_signature s;

	p->sign = (struct canon_signature){
	    .data = span_of("enc"), .origin = ORIGIN_OPENAI, .encrypted = true};
	p = add_part(t, &r, PART_REASONING, "summary");
	p->sign = (struct canon_signature){
	    .data = span_of("enc"), .origin = ORIGIN_OPENAI, .encrypted = true};
	content = json_get(encode(t, &r), "content");
	assert_member(t, json_at(content, 0), "type", "\"redacted_thinking\"");
	assert_true(signature_unwrap(
	    t->a, json_text(t->a, json_get(json_at(content, 0), "data")), ORIGIN_ANTHROPIC, &s));
	assert_int_equal(s.origin, ORIGIN_OPENAI);
	assert_text(s.data, "enc");
	assert_member(t, json_at(content, 1), "type", "\"thinking\"");
	assert_true(signature_unwrap(t->a,
	    json_text(t->a, json_get(json_at(content, 1), "signature")), ORIGIN_ANTHROPIC, &s));
	assert_true(s.encrypted);
}

/* ---- errors ---- */

static void
test_errors(void **state)
{
	static const struct {
		struct canon_error e;
		int status;
		const char *body;
	} rows[] = {
	    {{.class = ERROR_OVERLOADED, .message = {"busy", 4}}, 529,
		"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}"
		",\"request_id\":\"req_1\"}"},
	    {{.class = ERROR_RATE_LIMIT, .message = {"slow", 4}}, 429,
		"{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow\"}"
		",\"request_id\":\"req_1\"}"},
	    {{.class = ERROR_BAD_REQUEST, .status = 422, .message = {"\"x\"", 3}}, 422,
		"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
		"\"\\\"x\\\"\"},\"request_id\":\"req_1\"}"},
	    {{.class = ERROR_CONTEXT_WINDOW,
		 .message =
		     {"gpt-4-0613: maximum context length is 8,192 tokens, you asked for 9000",
			 70}},
		400,
		"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
		"\"prompt is too long: 9000 tokens > 8192 maximum "
		"(gpt-4-0613: maximum context length is 8,192 tokens, you asked for "
		"9000)\"},\"request_id\":\"req_1\"}"},
	    {{.class = ERROR_CONTEXT_WINDOW}, 400,
		"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
		"\"prompt is too long\"},\"request_id\":\"req_1\"}"},
	    {{.class = ERROR_CONTEXT_WINDOW, .message = {"too big", 7}}, 400,
		"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
		"\"prompt is too long: too big\"},\"request_id\":\"req_1\"}"},
	    {{.class = ERROR_CONTEXT_WINDOW,
		 .message = {"prompt is too long: 5 tokens > 4 maximum", 40}},
		400,
		"{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
		"\"prompt is too long: 5 tokens > 4 maximum\"},\"request_id\":\"req_1\"}"},
	};
	struct bench *t = *state;

	for (size_t i = 0; i < NELEM(rows); i++) {
		struct buf out = BUF_INIT(1u << 16);
		assert_int_equal(
		    dialect_messages.encode_error(&rows[i].e, span_of("req_1"), &out), 0);
		assert_json(t, bytes_of(&out), span_of(rows[i].body));
		assert_int_equal(dialect_messages.error_status(&rows[i].e), rows[i].status);
		buf_clear(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fixture),
	    cmocka_unit_test(test_empty_content),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_not_an_answer),
	    cmocka_unit_test(test_foreign),
	    cmocka_unit_test(test_ends),
	    cmocka_unit_test(test_usage_clamped),
	    cmocka_unit_test(test_encrypted),
	    cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, bench_open, bench_close);
}
