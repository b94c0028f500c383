/* Requests, whole answers, errors of the Chat dialect (spec translation 1, 4, 6, 10, 13 to 16). */
#include "t/unit/proto_chat.h"

/* What is decoded and encoded again for the same dialect means what it meant. */
static void
same_request(const char *body)
{
	struct bench b;
	struct canon_request *q;

	bench_open(&b);
	b.profile.stream_options = false;
	b.profile.openai = b.profile.developer_role = true;
	q = read_request(&b, body);
	assert_int_equal(chat->encode_request(q, &b.ctx, &b.out), 0);
	assert_json(&b, body);
	bench_close(&b);
}

static void
test_request_round_trip(void **state)
{
	static const char *const bodies[] = {
	    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":"
	    "\"developer\",\"content\":"
	    "[{\"type\":\"text\",\"text\":\"d\"}]},{\"role\":\"user\",\"name\":\"u\",\"content\":"
	    "\"h\"}]}",
	    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
	    "\"text\":\"a\",\"cache_control\":"
	    "{\"type\":\"ephemeral\"}},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
	    "png;base64,iVBORw0KGgo=\","
	    "\"detail\":\"low\"}},{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"AAAA\","
	    "\"format\":\"wav\"}},"
	    "{\"type\":\"file\",\"file\":{\"file_data\":\"data:application/"
	    "pdf;base64,JVBERg==\",\"filename\":\"x.pdf\"}}]}]}",
	    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"h\"},{\"role\":"
	    "\"assistant\",\"content\":null,"
	    "\"tool_calls\":[{\"id\":\"i\",\"type\":\"function\",\"function\":{\"name\":\"f\","
	    "\"arguments\":\"{ \\\"a\\\": 1.0}\"}},"
	    "{\"id\":\"j\",\"type\":\"custom\",\"custom\":{\"name\":\"c\",\"input\":\"x\"}}]},{"
	    "\"role\":\"tool\","
	    "\"tool_call_id\":\"i\",\"content\":\"r\"},{\"role\":\"tool\",\"tool_call_id\":\"j\","
	    "\"content\":[{\"type\":\"text\","
	    "\"text\":\"s\"}]}]}",
	    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"h\"}],\"temperature\":"
	    "1.50,\"top_p\":0.1,\"seed\":7,"
	    "\"stop\":[\"a\",\"b\"],\"n\":2,\"logprobs\":true,\"top_logprobs\":3,\"logit_bias\":{"
	    "\"5\":-1},\"max_tokens\":9,"
	    "\"user\":\"u\",\"metadata\":{\"k\":\"v\"},\"store\":true,\"service_tier\":\"flex\","
	    "\"verbosity\":\"low\","
	    "\"prediction\":{\"type\":\"content\",\"content\":\"p\"},\"reasoning_effort\":\"high\","
	    "\"unknown\":[1.0]}",
	    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"h\"}],\"tools\":[{"
	    "\"type\":\"function\",\"function\":"
	    "{\"name\":\"f\",\"description\":\"d\",\"parameters\":{\"type\":\"object\"},\"strict\":"
	    "true}},{\"type\":\"custom\","
	    "\"custom\":{\"name\":\"c\",\"format\":{\"type\":\"text\"}}}],\"tool_choice\":{"
	    "\"type\":\"function\",\"function\":"
	    "{\"name\":\"f\"}},\"parallel_tool_calls\":false,\"response_format\":{\"type\":\"json_"
	    "schema\",\"json_schema\":"
	    "{\"name\":\"n\",\"schema\":{\"type\":\"object\"},\"strict\":true}}}",
	    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"h\"},{\"role\":"
	    "\"assistant\",\"content\":\"a\","
	    "\"reasoning_content\":\"t\"},{\"role\":\"user\",\"content\":\"h\"},{\"role\":"
	    "\"assistant\",\"content\":\"a\","
	    "\"reasoning\":\"t\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":"
	    "\"t\",\"signature\":\"s\","
	    "\"format\":\"anthropic-claude-v1\",\"index\":0}]}],\"reasoning\":{\"max_tokens\":2000,"
	    "\"exclude\":false}}",
	    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"h\"},{\"role\":"
	    "\"assistant\",\"content\":null,"
	    "\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"role\":\"function\","
	    "\"name\":\"f\",\"content\":\"r\"}],"
	    "\"functions\":[{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}],\"function_"
	    "call\":{\"name\":\"f\"}}",
	    /* a call of each form */
	    "{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":\"a\",\"tool_"
	    "calls\":[{\"id\":\"i\",\"type\":\"function\",\"function\":{\"name\":\"f\","
	    "\"arguments\":\"{}\"}}],\"function_call\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}",
	};

	(void)state;
	for (size_t i = 0; i < NELEM(bodies); i++)
		same_request(bodies[i]);
}

static void
refused(const char *body, bool completion, const char *param, const char *code)
{
	struct bench b;
	struct decode_request in = {.body = span_of(body), .completion = completion};
	struct canon_request *q;

	bench_open(&b);
	in.arena = b.a;
	assert_int_equal(chat->decode_request(&in, &q, &b.err), E_DENIED);
	assert_int_equal(b.err.class, ERROR_BAD_REQUEST);
	assert_true(b.err.message.n > 0);
	if (param == NULL)
		assert_null(b.err.param.p);
	else
		assert_true(span_is(b.err.param, param));
	if (code != NULL)
		assert_true(span_is(b.err.code, code));
	bench_close(&b);
}

static void
test_request_refused(void **state)
{
	(void)state;
	refused(
	    "{\"model\":\"m\",\"input\":\"x\"}", false, "messages", "missing_required_parameter");
	refused("{\"model\":\"m\",\"messages\":3}", false, "messages", NULL);
	refused("{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},1]}", false,
	    "messages[1]", NULL);
	refused("{\"model\":\"m\",\"messages\":[{\"role\":\"boss\",\"content\":\"a\"}]}", false,
	    "messages[0]", NULL);
	refused("{\"model\":\"m\"}", true, "prompt", "missing_required_parameter");
	refused("{\"model\":", false, NULL, NULL);
	refused("[]", false, NULL, NULL);
}

/* An unbroken run of results is one turn; limits: the new member wins and is the total. */
static void
test_request_model(void **state)
{
	struct bench b;
	struct canon_request *q;
	struct canon_turn *t;

	(void)state;
	bench_open(&b);
	q = read_request(&b,
	    "{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":"
	    "\"1\"},"
	    "{\"role\":\"tool\",\"tool_call_id\":\"b\",\"content\":\"2\"}],\"max_tokens\":5,"
	    "\"max_completion_tokens\":6,\"stream\":true,\"stream_options\":{\"include_usage\":"
	    "true}}");
	t = TAILQ_FIRST(&q->turns);
	assert_int_equal(t->role, ROLE_TOOL);
	assert_null(TAILQ_NEXT(t, link));
	assert_true(span_is(TAILQ_NEXT(TAILQ_FIRST(&t->parts), link)->id, "b"));
	assert_int_equal(q->max_out, 6);
	assert_false(q->max_is_visible);
	assert_true(q->stream && q->stream_usage);
	q = read_request(
	    &b, "{\"model\":\"m\",\"messages\":[],\"max_tokens\":5,\"tool_choice\":\"required\"}");
	assert_true(q->max_is_visible);
	assert_int_equal(q->tool_choice.kind, CHOICE_ANY);
	bench_close(&b);
}

/* Trap: `developer` only to those who know it. Mistral's words; usage is asked for. */
static void
test_trap_profile(void **state)
{
	struct bench b;
	struct canon_request *q;
	const char *got;

	(void)state;
	bench_open(&b);
	b.profile.random_seed = b.profile.required_is_any = true;
	q = read_request(&b,
	    "{\"model\":\"x\",\"messages\":[{\"role\":\"developer\",\"content\":\"d\"}],\"seed\":7,"
	    "\"stream\":true,\"stream_options\":[\"odd\"],"
	    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
	    "\"tool_choice\":\"required\"}");
	assert_int_equal(chat->encode_request(q, &b.ctx, &b.out), 0);
	got = text_of(&b);
	assert_null(strstr(got, "developer"));
	assert_non_null(strstr(got, "\"role\":\"system\""));
	assert_non_null(strstr(got, "\"random_seed\":7"));
	assert_non_null(strstr(got, "\"tool_choice\":\"any\""));
	assert_non_null(strstr(got, "\"stream_options\":{\"include_usage\":true}"));
	assert_int_equal(strncmp(got, "{\"model\":\"m\",", 13), 0);
	bench_close(&b);
}

static int
answer(struct bench *b, const char *body, struct canon_response *r)
{
	return chat->decode_response(b->a, span_of(body), r, &b->err);
}

#define ANSWER(choices, rest) \
	"{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":" \
	"[" choices "]" rest "}"

static void
test_answer_round_trip(void **state)
{
	static const char *const bodies[] = {
	    ANSWER("{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":"
		   "null,\"annotations\":[{\"type\":"
		   "\"url_citation\",\"url_citation\":{\"start_index\":0,\"end_index\":1,\"url\":"
		   "\"https://x\",\"title\":\"t\"}}]},"
		   "\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":-0.10,\"bytes\":[97],"
		   "\"top_logprobs\":[]}],\"refusal\":null},"
		   "\"finish_reason\":\"stop\"},{\"index\":1,\"message\":{\"role\":\"assistant\","
		   "\"content\":\"b\",\"refusal\":null},"
		   "\"logprobs\":null,\"finish_reason\":\"length\"}",
		",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3,"
		"\"cost\":0.10},"
		"\"service_tier\":\"default\",\"system_fingerprint\":\"fp\""),
	    ANSWER("{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":"
		   "null,"
		   "\"reasoning_content\":\"t\",\"tool_calls\":[{\"id\":\"i\",\"type\":"
		   "\"function\",\"function\":{\"name\":\"f\","
		   "\"arguments\":\"{}\"}}]},\"logprobs\":null,\"finish_reason\":\"tool_calls\"}",
		",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}"),
	};
	struct canon_response r;
	struct bench b;

	(void)state;
	for (size_t i = 0; i < NELEM(bodies); i++) {
		bench_open(&b);
		assert_int_equal(answer(&b, bodies[i], &r), 0);
		assert_int_equal(chat->encode_response(&r, &b.ctx, &b.out), 0);
		assert_json(&b, bodies[i]);
		bench_close(&b);
	}
}

/* No memory, at whatever place, is told; nothing is left out in silence. */
static void
test_request_no_memory(void **state)
{
	static const char head[] = "{\"model\":\"m\",\"stop\":\"\\n",
			  middle[] = "\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
				     "\"image_url\",\"image_url\":\"https:\\/\\/",
			  tail[] = "\"}]}]}";
	struct buf body = BUF_INIT(1 << 20);
	struct canon_error err;
	unsigned whole = 0, failed = 0;

	(void)state;
	buf_str(&body, head);
	for (int i = 0; i < 9000; i++)
		buf_str(&body, "x");
	buf_str(&body, middle);
	for (int i = 0; i < 9000; i++)
		buf_str(&body, "y");
	buf_str(&body, tail);
	for (size_t room = 2048; room < 128 << 10; room += 512) {
		struct arena *a = arena_new(room);
		struct decode_request in = {.arena = a, .body = {body.data, body.len}};
		struct canon_request *q;
		int r;

		assert_non_null(a);
		r = chat->decode_request(&in, &q, &err);
		if (r == 0) {
			assert_non_null(q->stop->text.p);
			assert_non_null(TAILQ_FIRST(&TAILQ_FIRST(&q->turns)->parts)->media.data.p);
			whole++;
		} else {
			assert_int_equal(r, E_NOMEM);
			failed++;
		}
		arena_free(a);
	}
	assert_true(whole > 0 && failed > 0);
	buf_clear(&body);
}

/* Places count over the texts in front, whatever the upstream counts to. */
static void
test_annotation_places(void **state)
{
	struct canon_request asked = {.from = DIALECT_CHAT};
	struct canon_response r = {.from = DIALECT_RESPONSES};
	struct canon_annotation *n;
	struct canon_part *p;
	struct bench b;

	(void)state;
	bench_open(&b);
	b.ctx.asked = &asked;
	r.choices = canon_choice_new(b.a, 0);
	for (int i = 0; i < 2; i++) {
		p = canon_part_new(b.a, PART_TEXT);
		p->text = span_of("ab");
		TAILQ_INSERT_TAIL(&r.choices->parts, p, link);
		n = canon_annotation_new(b.a);
		n->url = span_of("u");
		n->start = 1;
		n->end = i == 0 ? 2 : INT64_MAX;
		TAILQ_INSERT_TAIL(&p->annotations, n, link);
	}
	r.choices->finish.reason = FINISH_STOP;
	assert_int_equal(chat->encode_response(&r, &b.ctx, &b.out), 0);
	assert_non_null(strstr(text_of(&b), "\"start_index\":1,\"end_index\":2,"));
	assert_non_null(
	    strstr(text_of(&b), "\"start_index\":3,\"end_index\":9223372036854775807,"));
	bench_close(&b);
}

/* Spec 13.3. */
static void
test_answer_oddities(void **state)
{
	struct canon_response r;
	struct canon_part *p;
	struct bench b;

	(void)state;
	bench_open(&b);
	assert_int_equal(answer(&b,
			     ANSWER("{\"message\":{\"content\":[{\"type\":\"thinking\","
				    "\"thinking\":[{\"type\":\"text\","
				    "\"text\":\"t\"}]},{\"type\":\"text\",\"text\":\"a\"}],\"tool_"
				    "calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"
				    "{\"x\":1.0}}}]},\"finish_reason\":\"\"}",
				 ""),
			     &r),
	    0);
	p = TAILQ_FIRST(&r.choices->parts);
	assert_int_equal(p->kind, PART_REASONING);
	assert_true(span_is(p->text, "t"));
	p = TAILQ_NEXT(p, link);
	assert_true(span_is(p->text, "a"));
	p = TAILQ_NEXT(p, link);
	assert_int_equal(p->kind, PART_TOOL_CALL);
	assert_true(span_is(p->args, "{\"x\":1.0}"));
	assert_int_equal(r.choices->finish.reason, FINISH_TOOL_CALLS);
	assert_false(r.usage.has_in || r.usage.has_out);
	assert_int_equal(
	    answer(&b, ANSWER("{\"text\":\"x\",\"finish_reason\":\"eos\"}", ""), &r), 0);
	assert_true(span_is(TAILQ_FIRST(&r.choices->parts)->text, "x"));
	assert_int_equal(r.choices->finish.reason, FINISH_STOP);
	assert_int_equal(
	    answer(&b, "{\"error\":{\"message\":\"no\"},\"choices\":[]}", &r), E_DENIED);
	assert_true(b.err.message.n > 0);
	assert_int_equal(
	    answer(&b,
		"{\"choices\":null,\"base_resp\":{\"status_code\":1002,\"status_msg\":\"slow\"}}",
		&r),
	    E_DENIED);
	assert_int_equal(answer(&b, "<html>", &r), E_SYNTAX);
	assert_int_equal(answer(&b, "{\"hello\":1}", &r), E_SYNTAX);
	bench_close(&b);
}

static void
test_answer_forms(void **state)
{
	struct canon_response r;
	struct bench b;

	(void)state;
	bench_open(&b);
	assert_int_equal(
	    answer(&b,
		ANSWER("{\"index\":0,\"message\":{\"content\":null,\"tool_calls\":[{\"id\":\"i\","
		       "\"function\":"
		       "{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}",
		    ""),
		&r),
	    0);
	b.asked.legacy_functions = true;
	r.from = DIALECT_MESSAGES;
	assert_int_equal(chat->encode_response(&r, &b.ctx, &b.out), 0);
	assert_non_null(
	    strstr(text_of(&b), "\"function_call\":{\"name\":\"f\",\"arguments\":\"{}\"}"));
	assert_non_null(strstr(text_of(&b), "\"finish_reason\":\"function_call\""));
	assert_null(strstr(text_of(&b), "tool_calls"));
	assert_null(
	    strstr(text_of(&b), "\"id\":\"c\"")); /* an id of another dialect has another form */
	b.asked.legacy_functions = false;
	b.asked.legacy_completion = true;
	buf_reset(&b.out);
	assert_int_equal(
	    answer(&b,
		ANSWER(
		    "{\"index\":0,\"message\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}", ""),
		&r),
	    0);
	assert_int_equal(chat->encode_response(&r, &b.ctx, &b.out), 0);
	assert_non_null(strstr(text_of(&b), "\"object\":\"text_completion\""));
	assert_non_null(strstr(text_of(&b), "\"text\":\"a\""));
	bench_close(&b);
}

static void
test_errors(void **state)
{
	struct canon_error e = {
	    .class = ERROR_UNSUPPORTED, .message = span_of("a\"b"), .param = span_of("n")};
	struct bench b;

	(void)state;
	bench_open(&b);
	assert_int_equal(chat->encode_error(&e, span_of("req"), &b.out), 0);
	assert_non_null(strstr(text_of(&b), "{\"error\":{\"message\":\"a\\\"b\",\"type\":\"invalid_"
					    "request_error\",\"param\":\"n\","));
	assert_int_equal(chat->error_status(&e), 400);
	buf_reset(&b.out);
	e = (struct canon_error){.class = ERROR_BAD_REQUEST, .message = span_of("m")};
	assert_int_equal(chat->encode_error(&e, span_of(""), &b.out), 0);
	assert_string_equal(text_of(&b), "{\"error\":{\"message\":\"m\",\"type\":\"invalid_request_"
					 "error\",\"param\":null,\"code\":null}}");
	e.status = 422;
	assert_int_equal(chat->error_status(&e), 422);
	bench_close(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_request_round_trip),
	    cmocka_unit_test(test_request_refused),
	    cmocka_unit_test(test_request_model),
	    cmocka_unit_test(test_trap_profile),
	    cmocka_unit_test(test_answer_round_trip),
	    cmocka_unit_test(test_request_no_memory),
	    cmocka_unit_test(test_annotation_places),
	    cmocka_unit_test(test_answer_oddities),
	    cmocka_unit_test(test_answer_forms),
	    cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
