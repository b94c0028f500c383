/* Whole answers and errors of Google's generateContent. */
#include "proto/signature.h"
#include "t/unit/proto_gemini.h"

static struct canon_request *
asked(enum canon_show show)
{
	struct canon_request *q = canon_request_new(arena, DIALECT_GEMINI);

	q->reasoning.show = show;
	return q;
}

static struct canon_response
decode(const char *body)
{
	struct canon_response r;

	assert_int_equal(dialect_gemini.decode_response(arena, span_of(body), &r, &error), 0);
	return r;
}

static void
assert_encodes(const struct canon_response *r, enum canon_show show, const char *want)
{
	struct encode_ctx ctx = context(asked(show));
	struct buf b = BUF_INIT(1u << 20);

	assert_int_equal(dialect_gemini.encode_response(r, &ctx, &b), 0);
	assert_bytes(&b, want);
}

static void
test_own(void **state)
{
	struct span text = fixture("answer-full.json");
	struct canon_response r;
	struct encode_ctx ctx = context(asked(SHOW_FULL));
	struct buf b = BUF_INIT(1u << 20);

	(void)state;
	assert_int_equal(dialect_gemini.decode_response(arena, text, &r, &error), 0);
	assert_int_equal(dialect_gemini.encode_response(&r, &ctx, &b), 0);
	if (!json_same(parsed(text), parsed((struct span){b.data, b.len})))
		fail_msg("got %.*s", (int)b.len, b.data);
	buf_clear(&b);
}

static void
test_what_it_says(void **state)
{
	struct span text = fixture("answer-full.json");
	struct canon_response r;
	struct canon_part *p;
	struct canon_annotation *n;

	(void)state;
	assert_int_equal(dialect_gemini.decode_response(arena, text, &r, &error), 0);
	p = TAILQ_FIRST(&r.choices->parts);
	assert_int_equal(p->kind, PART_REASONING);
	p = TAILQ_NEXT(p, link);
	assert_int_equal(p->kind, PART_SERVER_CALL);
	assert_text(p->id, "t1");
	assert_text(p->name, "GOOGLE_SEARCH_WEB");
	p = TAILQ_NEXT(TAILQ_NEXT(p, link), link);
	assert_text(p->text, "Größe: 3 µm. Ok.");
	assert_true(p->carrier);
	assert_text(p->sign.data, "AwQF");
	/* bytes 9 to 15 of the text are its characters 7 to 12 */
	n = TAILQ_FIRST(&p->annotations);
	assert_int_equal(n->kind, CITE_URL);
	assert_int_equal(n->start, 7);
	assert_int_equal(n->end, 12);
	assert_text(n->url, "https://a.example");
	assert_text(n->quoted, " 3 µm");
	n = TAILQ_NEXT(n, link);
	assert_int_equal(n->kind, CITE_FILE);
	assert_text(n->title, "B");
	assert_int_equal(r.choices->finish.reason, FINISH_STOP);
	assert_int_equal(r.choices->next->finish.reason, FINISH_LENGTH);
	assert_int_equal(r.choices->next->index, 1);
	assert_int_equal(r.usage.in_total, 23);
	assert_int_equal(r.usage.in_cached, 4);
	assert_int_equal(r.usage.in_tool, 3);
	assert_int_equal(r.usage.in_image, 6);
	assert_int_equal(r.usage.out_total, 12);
	assert_int_equal(r.usage.out_reasoning, 7);
	assert_text(r.id, "abcdefghijklmnopqrstuv");
	assert_text(r.model, "gemini-3-pro");
}

static void
test_ends(void **state)
{
	static const struct {
		const char *parts, *word;
		enum canon_finish_reason reason; /* NONE: a failure */
		const char *code;
	} rows[] = {
	    {"{\"text\":\"a\"}", "STOP", FINISH_STOP, NULL},
	    {"{\"functionCall\":{\"name\":\"f\"}}", "STOP", FINISH_TOOL_CALLS, NULL},
	    {"{\"functionCall\":{\"name\":\"f\"}}", "MAX_TOKENS", FINISH_LENGTH, NULL},
	    {"", "MAX_TOKENS", FINISH_LENGTH, NULL},
	    {"", "SAFETY", FINISH_CONTENT_FILTER, NULL},
	    {"", "IMAGE_RECITATION", FINISH_CONTENT_FILTER, NULL},
	    {"{\"text\":\"a\"}", "LANGUAGE", FINISH_STOP, NULL},
	    {"", "LANGUAGE", FINISH_NONE, "upstream_malformed"},
	    {"{\"text\":\"a\"}", "A_NEW_WORD", FINISH_STOP, NULL},
	    {"{\"functionCall\":{\"name\":\"f\"}}", "A_NEW_WORD", FINISH_TOOL_CALLS, NULL},
	    {"", "A_NEW_WORD", FINISH_NONE, "upstream_malformed"},
	    {"{\"text\":\"a\"}", "MALFORMED_FUNCTION_CALL", FINISH_NONE, "upstream_malformed"},
	    {"{\"text\":\"a\"}", "UNEXPECTED_TOOL_CALL", FINISH_NONE, "upstream_malformed"},
	    {"", "STOP", FINISH_NONE, "empty_response"},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct canon_response r;
		char body[256];
		int e;

		snprintf(body, sizeof body,
		    "{\"candidates\":[{\"content\":{\"parts\":[%s]},\"finishReason\":\"%s\"}]}",
		    rows[i].parts, rows[i].word);
		e = dialect_gemini.decode_response(arena, span_of(body), &r, &error);
		assert_int_equal(e, rows[i].reason == FINISH_NONE ? E_DENIED : 0);
		if (e == 0) {
			assert_int_equal(r.choices->finish.reason, rows[i].reason);
			assert_text(r.choices->finish.raw, rows[i].word);
			continue;
		}
		assert_int_equal(error.class, ERROR_SERVER);
		assert_int_equal(error.status, 502);
		assert_text(error.code, rows[i].code);
	}
}

static void
test_blocked(void **state)
{
	const char *body = "{\"usageMetadata\":{\"promptTokenCount\":3,\"totalTokenCount\":3},"
			   "\"promptFeedback\":{\"blockReason\":\"OTHER\"}}";
	struct canon_response r = decode(body);

	(void)state;
	assert_int_equal(r.choices->finish.reason, FINISH_CONTENT_FILTER);
	assert_true(TAILQ_EMPTY(&r.choices->parts));
	assert_true(r.usage.has_out);
	assert_int_equal(r.usage.out_total, 0);
	assert_encodes(&r, SHOW_UNSET, body);
}

static void
test_no_answers(void **state)
{
	struct canon_response r;

	(void)state;
	assert_int_equal(
	    dialect_gemini.decode_response(arena, span_of("<html>"), &r, &error), E_SYNTAX);
	assert_int_equal(
	    dialect_gemini.decode_response(arena, span_of("{}"), &r, &error), E_SYNTAX);
	assert_int_equal(dialect_gemini.decode_response(arena,
			     span_of("[{\"error\":{\"code\":429,\"message\":\"slow\",\"status\":"
				     "\"RESOURCE_EXHAUSTED\"}}]"),
			     &r, &error),
	    E_DENIED);
	assert_int_equal(error.class, ERROR_RATE_LIMIT);
	assert_text(error.message, "slow");
}

static void
test_logprobs(void **state)
{
	struct canon_response r = decode(
	    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"µ\"}]},\"finishReason\":"
	    "\"STOP\","
	    "\"logprobsResult\":{\"chosenCandidates\":[{\"token\":\"µ\",\"logProbability\":-0.50},"
	    "{\"token\":\"x\"}],\"topCandidates\":[{\"candidates\":[{\"token\":\"a\","
	    "\"logProbability\":-2}]}]}}]}");

	(void)state;
	assert_text(r.choices->logprobs,
	    "{\"content\":[{\"token\":\"µ\",\"logprob\":-0.50,\"bytes\":[194,181],\"top_logprobs\":"
	    "[{\"token\":\"a\",\"logprob\":-2,\"bytes\":[97]}]}]}");
}

/* ---- what others answered ---- */

static struct canon_part *
add(struct canon_choice *c, enum canon_part_kind kind, const char *text)
{
	struct canon_part *p = canon_part_new(arena, kind);

	p->text = span_of(text);
	TAILQ_INSERT_TAIL(&c->parts, p, link);
	return p;
}

static struct canon_response
foreign(enum canon_finish_reason reason)
{
	struct canon_response r = {.from = DIALECT_CHAT, .id = span_of("chatcmpl-1")};

	r.choices = canon_choice_new(arena, 0);
	r.choices->finish.reason = reason;
	r.model = span_of("gpt");
	r.usage = (struct canon_usage){.has_in = true,
	    .has_out = true,
	    .in_total = 10,
	    .in_cached = 4,
	    .out_total = 7,
	    .out_reasoning = 2};
	return r;
}

#define TAIL \
	"\"usageMetadata\":{\"promptTokenCount\":10,\"candidatesTokenCount\":5," \
	"\"thoughtsTokenCount\":2,\"cachedContentTokenCount\":4,\"totalTokenCount\":17}," \
	"\"modelVersion\":\"gpt\",\"responseId\":\"%.*s\"}"

/* The id is made: a pure function of the seed. */
static const char *
with_tail(const char *head)
{
	static char text[4096];
	struct canon_response r = foreign(FINISH_STOP);
	struct encode_ctx ctx = context(asked(SHOW_UNSET));
	struct buf b = BUF_INIT(1u << 16);
	char *id;

	assert_int_equal(dialect_gemini.encode_response(&r, &ctx, &b), 0);
	id = b.data + b.len - 2 - 22;
	assert_memory_equal(id - 14, "\"responseId\":\"", 14);
	int n = snprintf(text, sizeof text, "%s,", head);
	snprintf(text + n, sizeof text - (size_t)n, TAIL, 22, id);
	buf_clear(&b);
	return text;
}

static void
test_foreign(void **state)
{
	struct canon_response r = foreign(FINISH_TOOL_CALLS);
	struct canon_part *p = add(r.choices, PART_REASONING, "hm");
	struct canon_annotation *n = canon_annotation_new(arena);

	(void)state;
	p->sign = (struct canon_signature){.data = span_of("sig"), .origin = ORIGIN_ANTHROPIC};
	p = add(r.choices, PART_TEXT, "é");
	p = add(r.choices, PART_TEXT, "ab");
	*n = (struct canon_annotation){.kind = CITE_URL,
	    .start = 0,
	    .end = 1,
	    .url = span_of("https://u"),
	    .title = span_of("t")};
	TAILQ_INSERT_TAIL(&p->annotations, n, link);
	p = add(r.choices, PART_TOOL_CALL, NULL);
	p->id = span_of("call_1");
	p->name = span_of("f");
	p->args = span_of("");
	p->sign = (struct canon_signature){.data = span_of("QQ=="), .origin = ORIGIN_GOOGLE};
	add(r.choices, PART_TOOL_CALL, NULL)->args = span_of("[1]");
	struct span envelope = signature_wrap(arena, &TAILQ_FIRST(&r.choices->parts)->sign);
	char head[2048];
	for (int shown = 0; shown < 2; shown++) {
		snprintf(head, sizeof head,
		    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"%s\",\"thought\":true,"
		    "\"thoughtSignature\":\"%.*s\"},{\"text\":\"é\"},{\"text\":\"ab\"},"
		    "{\"functionCall\":{\"id\":\"call_1\",\"name\":\"f\",\"args\":{}},"
		    "\"thoughtSignature\":\"QQ==\"},{\"functionCall\":{\"args\":{\"_raw\":\"[1]\"}}"
		    "}],"
		    "\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0,"
		    "\"groundingMetadata\":"
		    "{\"groundingChunks\":[{\"web\":{\"uri\":\"https://u\",\"title\":\"t\"}}],"
		    "\"groundingSupports\":[{\"segment\":{\"startIndex\":2,\"endIndex\":3},"
		    "\"groundingChunkIndices\":[0]}]}}]",
		    shown ? "hm" : "", (int)envelope.n, envelope.p);
		assert_encodes(&r, shown ? SHOW_FULL : SHOW_UNSET, with_tail(head));
	}
}

static void
test_cut_call_is_left_out(void **state)
{
	struct canon_response r = foreign(FINISH_LENGTH);

	(void)state;
	add(r.choices, PART_TEXT, "a");
	add(r.choices, PART_TOOL_CALL, NULL)->args = span_of("{\"x\":");
	assert_encodes(&r, SHOW_UNSET,
	    with_tail(
		"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}],\"role\":\"model\"},"
		"\"finishReason\":\"MAX_TOKENS\",\"index\":0}]"));
}

static void
test_words_for_clients(void **state)
{
	static const struct {
		enum canon_finish_reason reason;
		const char *word;
	} rows[] = {{FINISH_STOP, "STOP"}, {FINISH_TOOL_CALLS, "STOP"},
	    {FINISH_STOP_SEQUENCE, "STOP"}, {FINISH_LENGTH, "MAX_TOKENS"},
	    {FINISH_CONTEXT_WINDOW, "MAX_TOKENS"}, {FINISH_PAUSE, "MAX_TOKENS"},
	    {FINISH_CONTENT_FILTER, "SAFETY"}, {FINISH_REFUSAL, "SAFETY"},
	    {FINISH_MALFORMED, "MALFORMED_FUNCTION_CALL"}, {FINISH_ERROR, "OTHER"}};

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct canon_response r = foreign(rows[i].reason);
		char head[256];

		r.choices->finish.raw = span_of("their_word");
		snprintf(head, sizeof head,
		    "{\"candidates\":[{\"content\":{\"parts\":[],\"role\":\"model\"},"
		    "\"finishReason\":\"%s\",\"index\":0}]",
		    rows[i].word);
		assert_encodes(&r, SHOW_UNSET, with_tail(head));
	}
}

static void
test_errors(void **state)
{
	struct buf b = BUF_INIT(1u << 16);
	struct canon_error e = {.class = ERROR_RATE_LIMIT, .message = span_of("slow \"down\"")};

	(void)state;
	assert_int_equal(dialect_gemini.error_status(&e), 429);
	assert_int_equal(dialect_gemini.encode_error(&e, span_of("req"), &b), 0);
	assert_bytes(&b, "{\"error\":{\"code\":429,\"message\":\"slow \\\"down\\\"\",\"status\":"
			 "\"RESOURCE_EXHAUSTED\",\"details\":[]}}");
	e = (struct canon_error){.class = ERROR_SERVER, .status = 502};
	assert_int_equal(dialect_gemini.encode_error(&e, span_of(""), &b), 0);
	assert_bytes(&b,
	    "{\"error\":{\"code\":502,\"message\":\"\",\"status\":\"INTERNAL\",\"details\":[]}}");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_own),
	    T(test_what_it_says),
	    T(test_ends),
	    T(test_blocked),
	    T(test_no_answers),
	    T(test_logprobs),
	    T(test_foreign),
	    T(test_cut_call_is_left_out),
	    T(test_words_for_clients),
	    T(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
