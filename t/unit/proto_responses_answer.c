/* Whole answers and errors of the Responses dialect. */
#include "t/unit/proto_responses.h"

static const char usage[] =
    "{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":4,\"x\":1},\"output_tokens\":"
    "6,"
    "\"output_tokens_details\":{\"reasoning_tokens\":2},\"total_tokens\":16,\"cost\":0.1}";

static void
take(struct bench *t, const char *body, struct canon_response *r)
{
	int e = d->decode_response(t->a, span_of(body), r, &t->err);

	if (e != 0)
		fail_msg("%s: %.*s", err_text(e), (int)t->err.message.n, t->err.message.p);
}

static void
give(struct bench *t, const struct canon_response *r)
{
	buf_reset(&t->out);
	assert_int_equal(d->encode_response(r, &t->ctx, &t->out), 0);
	(void)parse(t, held(&t->out));
}

static struct canon_part *
part_at(const struct canon_response *r, unsigned i)
{
	struct canon_part *p;

	TAILQ_FOREACH (p, &r->choices->parts, link)
		if (i-- == 0)
			return p;
	fail_msg("no such part");
	return NULL;
}

static void
answer_is_parts(void **state)
{
	struct bench *t = *state;
	struct canon_response r;
	char *body = arena_printf(t->a,
	    "{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":12.0,\"status\":"
	    "\"completed\",\"model\":\"gpt-5\",\"output\":["
	    "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\","
	    "\"text\":\"why\"}],\"encrypted_content\":\"E\"},"
	    "{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\",\"action\":{"
	    "\"type\":\"search\",\"query\":\"q\"}},"
	    "{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":[{\"type\":"
	    "\"output_text\",\"text\":\"See\","
	    "\"annotations\":[{\"type\":\"url_citation\",\"start_index\":0,\"end_index\":3,\"url\":"
	    "\"https://a.example\",\"title\":\"A\"}],"
	    "\"logprobs\":[{\"token\":\"See\",\"logprob\":-0.5}]}]},"
	    "{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"call_1\",\"name\":\"f\","
	    "\"arguments\":\"{}\"},"
	    "{\"type\":\"image_generation_call\",\"id\":\"ig_1\",\"output_format\":\"webp\","
	    "\"result\":\"UklG\"}],"
	    "\"service_tier\":\"flex\",\"usage\":%s}",
	    usage);
	struct canon_annotation *n;

	take(t, body, &r);
	assert_span(r.id, "resp_1");
	assert_int_equal(r.created, 12);
	assert_int_equal(r.choices->finish.reason, FINISH_TOOL_CALLS);
	assert_int_equal(r.usage.in_total, 10);
	assert_int_equal(r.usage.in_cached, 4);
	assert_int_equal(r.usage.out_total, 6);
	assert_int_equal(r.usage.out_reasoning, 2);
	assert_span(part_at(&r, 0)->text, "why");
	assert_span(part_at(&r, 0)->sign.data, "E");
	assert_int_equal(part_at(&r, 0)->sign.origin, ORIGIN_OPENAI);
	assert_int_equal(part_at(&r, 1)->kind, PART_SERVER_CALL);
	assert_span(part_at(&r, 1)->name, "web_search");
	n = TAILQ_FIRST(&part_at(&r, 2)->annotations);
	assert_int_equal(n->kind, CITE_URL);
	assert_int_equal(n->end, 3);
	assert_span(n->title, "A");
	assert_span(r.choices->logprobs, "{\"content\":[{\"token\":\"See\",\"logprob\":-0.5}]}");
	assert_span(part_at(&r, 3)->id, "call_1");
	assert_int_equal(part_at(&r, 4)->kind, PART_IMAGE);
	assert_span(part_at(&r, 4)->media.type, "image/webp");
	ask(t, "{\"model\":\"m\",\"input\":\"x\"}");
	give(t, &r);
	assert_json(t, at(t, "usage"), usage);
	assert_json(t, at(t, "output[1].action"), "{\"type\":\"search\",\"query\":\"q\"}");
	assert_json(
	    t, at(t, "output[2].content[0].logprobs"), "[{\"token\":\"See\",\"logprob\":-0.5}]");
	assert_json(t, at(t, "output[3].id"), "\"fc_1\"");
	assert_json(t, at(t, "output[3].status"), "\"completed\"");
}

/* Everything the SDK reads without a guard, and the client's own words in it. */
static void
skeleton_is_whole(void **state)
{
	struct bench *t = *state;
	struct canon_response r = {.from = DIALECT_CHAT, .id = span_of("chatcmpl-1"), .created = 5};
	struct canon_part *p = canon_part_new(t->a, PART_TEXT);

	ask(t, "{\"model\":\"m\",\"input\":\"x\",\"instructions\":\"I\",\"temperature\":0.20,"
	       "\"tools\":[{\"type\":\"function\",\"name\":\"f\"}],"
	       "\"tool_choice\":\"required\",\"metadata\":{\"k\":\"v\"},\"previous_response_id\":"
	       "\"resp_0\",\"store\":false,"
	       "\"reasoning\":{\"effort\":\"low\"},\"text\":{\"verbosity\":\"low\"},\"background\":"
	       "true}");
	r.choices = canon_choice_new(t->a, 0);
	p->text = span_of("hi");
	TAILQ_INSERT_TAIL(&r.choices->parts, p, link);
	r.choices->finish.reason = FINISH_STOP;
	r.usage =
	    (struct canon_usage){.has_in = true, .in_total = 1, .has_out = true, .out_total = 2};
	give(t, &r);
	assert_memory_equal(at(t, "id").p, "\"resp_", 6);
	assert_int_equal(at(t, "id").n, 2 + 5 + 48);
	assert_memory_equal(at(t, "output[0].id").p, "\"msg_", 5);
	assert_json(t, at(t, "usage"),
	    "{\"input_tokens\":1,\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":"
	    "2,"
	    "\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":3}");
	assert_json(t, at(t, "output[0].content"),
	    "[{\"type\":\"output_text\",\"text\":\"hi\",\"annotations\":[],\"logprobs\":[]}]");
	assert_json(t, at(t, "instructions"), "\"I\"");
	assert_span(at(t, "temperature"), "0.20");
	assert_json(t, at(t, "tools"), "[{\"type\":\"function\",\"name\":\"f\"}]");
	assert_json(t, at(t, "tool_choice"), "\"required\"");
	assert_json(t, at(t, "metadata"), "{\"k\":\"v\"}");
	assert_json(t, at(t, "previous_response_id"), "\"resp_0\"");
	assert_json(t, at(t, "store"), "false");
	assert_json(t, at(t, "background"), "false"); /* it ran in the foreground */
	assert_json(t, at(t, "reasoning"), "{\"effort\":\"low\",\"summary\":null}");
	assert_json(t, at(t, "text"), "{\"format\":{\"type\":\"text\"},\"verbosity\":\"low\"}");
	assert_json(t, at(t, "top_p"), "1.0");
	assert_json(t, at(t, "truncation"), "\"disabled\"");
	assert_json(t, at(t, "error"), "null");
	assert_json(t, at(t, "completed_at"), "1700000000");
}

/* Known trap: incomplete shown as completed. */
static void
ends_have_their_status(void **state)
{
	static const struct {
		enum canon_finish_reason reason;
		const char *status, *details, *item;
	} rows[] = {
	    {FINISH_STOP, "\"completed\"", "null", "\"completed\""},
	    {FINISH_TOOL_CALLS, "\"completed\"", "null", "\"completed\""},
	    {FINISH_STOP_SEQUENCE, "\"completed\"", "null", "\"completed\""},
	    {FINISH_LENGTH, "\"incomplete\"", "{\"reason\":\"max_output_tokens\"}",
		"\"incomplete\""},
	    {FINISH_CONTEXT_WINDOW, "\"incomplete\"", "{\"reason\":\"max_output_tokens\"}",
		"\"incomplete\""},
	    {FINISH_PAUSE, "\"incomplete\"", "{\"reason\":\"max_output_tokens\"}",
		"\"incomplete\""},
	    {FINISH_CONTENT_FILTER, "\"incomplete\"", "{\"reason\":\"content_filter\"}",
		"\"incomplete\""},
	    {FINISH_REFUSAL, "\"incomplete\"", "{\"reason\":\"content_filter\"}", "\"incomplete\""},
	    {FINISH_MALFORMED, "\"failed\"", "null", "\"completed\""},
	    {FINISH_ERROR, "\"failed\"", "null", "\"completed\""},
	};
	struct bench *t = *state;
	struct canon_response r = {.from = DIALECT_CHAT};
	struct canon_part *p = canon_part_new(t->a, PART_TEXT);

	ask(t, "{\"model\":\"m\",\"input\":\"x\"}");
	r.choices = canon_choice_new(t->a, 0);
	p->text = span_of("hi");
	TAILQ_INSERT_TAIL(&r.choices->parts, p, link);
	for (size_t i = 0; i < NELEM(rows); i++) {
		r.choices->finish.reason = rows[i].reason;
		give(t, &r);
		assert_json(t, at(t, "status"), rows[i].status);
		assert_json(t, at(t, "incomplete_details"), rows[i].details);
		assert_json(t, at(t, "output[0].status"), rows[i].item);
	}
	p->kind = PART_REFUSAL;
	r.choices->finish.reason = FINISH_REFUSAL;
	give(t, &r);
	assert_json(t, at(t, "status"), "\"completed\"");
	assert_json(t, at(t, "output[0].content"), "[{\"type\":\"refusal\",\"refusal\":\"hi\"}]");
}

/* A seal is shown to who asked for it, or does not have anything stored. */
static void
seal_is_shown_when_asked(void **state)
{
	struct bench *t = *state;
	struct canon_response r = {.from = DIALECT_MESSAGES};
	struct canon_part *p = canon_part_new(t->a, PART_REASONING);

	r.choices = canon_choice_new(t->a, 0);
	r.choices->finish.reason = FINISH_STOP;
	p->text = span_of("why");
	p->sign.data = span_of("SEAL");
	TAILQ_INSERT_TAIL(&r.choices->parts, p, link);
	ask(t, "{\"model\":\"m\",\"input\":\"x\"}");
	give(t, &r);
	assert_json(
	    t, at(t, "output[0].summary"), "[{\"type\":\"summary_text\",\"text\":\"why\"}]");
	assert_null(at(t, "output[0].encrypted_content").p);
	ask(t, "{\"model\":\"m\",\"input\":\"x\",\"store\":false}");
	give(t, &r);
	assert_json(t, at(t, "output[0].encrypted_content"), "\"SEAL\"");
	ask(t, "{\"model\":\"m\",\"input\":\"x\",\"include\":[\"reasoning.encrypted_content\"]}");
	give(t, &r);
	assert_json(t, at(t, "output[0].encrypted_content"), "\"SEAL\"");
}

static void
search_is_shown_when_declared(void **state)
{
	struct bench *t = *state;
	struct canon_response r = {.from = DIALECT_MESSAGES};
	struct canon_part *p = canon_part_new(t->a, PART_SERVER_CALL);

	r.choices = canon_choice_new(t->a, 0);
	r.choices->finish.reason = FINISH_STOP;
	p->name = span_of("web_search");
	p->args = span_of("{\"query\":\"tea\"}");
	TAILQ_INSERT_TAIL(&r.choices->parts, p, link);
	ask(t, "{\"model\":\"m\",\"input\":\"x\"}");
	give(t, &r);
	assert_json(t, at(t, "output"), "[]");
	ask(t, "{\"model\":\"m\",\"input\":\"x\",\"tools\":[{\"type\":\"web_search\"}]}");
	give(t, &r);
	assert_json(t, at(t, "output[0].action"), "{\"type\":\"search\",\"query\":\"tea\"}");
	assert_memory_equal(at(t, "output[0].id").p, "\"ws_", 4);
}

static void
odd_answers_are_taken(void **state)
{
	struct bench *t = *state;
	struct canon_response r;

	take(t, "{\"output\":null,\"status\":null}", &r);
	assert_int_equal(r.choices->finish.reason, FINISH_STOP);
	assert_false(r.usage.has_in);
	take(t,
	    "{\"status\":\"incomplete\",\"output\":[7,{\"type\":\"message\",\"content\":\"t\"}]}",
	    &r);
	assert_int_equal(r.choices->finish.reason, FINISH_LENGTH);
	assert_span(part_at(&r, 0)->text, "t");
	take(t, "{\"status\":\"queued\",\"output\":[]}", &r);
	assert_int_equal(r.choices->finish.reason, FINISH_NONE);
	ask(t, "{\"model\":\"m\",\"input\":\"x\"}");
	give(t, &r);
	assert_json(t, at(t, "status"), "\"queued\"");
	assert_json(t, at(t, "usage"), "null");
	assert_int_equal(
	    d->decode_response(t->a, span_of("{\"object\":\"list\"}"), &r, &t->err), E_SYNTAX);
	assert_int_equal(d->decode_response(t->a, span_of("<html>"), &r, &t->err), E_SYNTAX);
}

static void
errors_inside_200_are_errors(void **state)
{
	static const struct {
		const char *code;
		enum canon_error_class class;
	} rows[] = {
	    {"rate_limit_exceeded", ERROR_RATE_LIMIT},
	    {"usage_limit_reached", ERROR_RATE_LIMIT},
	    {"context_length_exceeded", ERROR_CONTEXT_WINDOW},
	    {"server_error", ERROR_SERVER},
	    {"insufficient_quota", ERROR_BILLING},
	    {"server_is_overloaded", ERROR_OVERLOADED},
	    {"something_new", ERROR_SERVER},
	};
	struct bench *t = *state;
	struct canon_response r;

	for (size_t i = 0; i < NELEM(rows); i++) {
		char *body = arena_printf(t->a,
		    "{\"status\":\"failed\",\"error\":{\"code\":\"%s\",\"message\":\"why\","
		    "\"resets_in_seconds\":7},\"output\":[]}",
		    rows[i].code);

		assert_int_equal(d->decode_response(t->a, span_of(body), &r, &t->err), E_DENIED);
		assert_int_equal(t->err.class, rows[i].class);
		assert_span(t->err.code, rows[i].code);
		assert_span(t->err.message, "why");
		assert_int_equal(t->err.retry_after_ms, 7000);
	}
}

static void
errors_have_four_members(void **state)
{
	struct bench *t = *state;
	const struct canon_error e = {
	    .class = ERROR_RATE_LIMIT, .message = span_of("slow \"down\"")};
	const struct canon_error u = {.class = ERROR_UNSUPPORTED,
	    .status = 422,
	    .message = span_of("n"),
	    .param = span_of("n"),
	    .code = span_of("c")};

	assert_int_equal(d->encode_error(&e, span_of("req_1"), &t->out), 0);
	assert_json(t, held(&t->out),
	    "{\"error\":{\"message\":\"slow "
	    "\\\"down\\\"\",\"type\":\"rate_limit_error\",\"param\":null,\"code\":\"rate_limit_"
	    "exceeded\"}}");
	assert_int_equal(d->error_status(&e), 429);
	buf_reset(&t->out);
	assert_int_equal(d->encode_error(&u, span_of(""), &t->out), 0);
	assert_json(t, held(&t->out),
	    "{\"error\":{\"message\":\"n\",\"type\":\"invalid_request_error\",\"param\":\"n\","
	    "\"code\":\"c\"}}");
	assert_int_equal(d->error_status(&u), 422);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(answer_is_parts, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(skeleton_is_whole, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(ends_have_their_status, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(seal_is_shown_when_asked, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(search_is_shown_when_declared, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(odd_answers_are_taken, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(errors_inside_200_are_errors, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(errors_have_four_members, bench_open, bench_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
