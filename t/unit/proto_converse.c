#include "t/unit/proto_upstream.h"

#include "t/unit/proto_eventstream.h"

#define D (&dialect_converse)
#define CLAUDE "us.anthropic.claude-sonnet-4-5-20250929-v1:0"

static void
test_request(void **state)
{
	(void)state;
	check_request(D, "converse", CLAUDE);
}

static void
test_answer(void **state)
{
	struct arena *a = arena();
	struct canon_response r = {0};
	struct canon_error err = {0};
	struct canon_part *p;

	(void)state;
	check_answer(D, "converse");
	assert_int_equal(D->decode_response(a, load(a, "converse", "answer.json"), &r, &err), 0);
	/* what was cached is part of the whole */
	assert_int_equal(r.usage.in_total, 1010);
	assert_int_equal(r.usage.in_cached, 900);
	assert_int_equal(r.usage.in_cache_write, 100);
	assert_int_equal(r.usage.in_cache_write_5m, 60);
	assert_int_equal(r.usage.in_cache_write_1h, 40);
	p = TAILQ_FIRST(&r.choices->parts);
	assert_true(span_is(p->sign.data, "sig=") && p->sign.origin == ORIGIN_ANTHROPIC);
	p = TAILQ_NEXT(TAILQ_NEXT(p, link), link);
	assert_true(span_is(p->text, "It grows."));
	assert_true(span_is(TAILQ_FIRST(&p->annotations)->url, "https://example.org/"));
	arena_free(a);
}

/* Lines of "type payload" as the frames that they stand for. */
static void
frame_lines(struct buf *out, struct span lines)
{
	while (lines.n > 0) {
		const char *end = memchr(lines.p, '\n', lines.n),
			   *space = memchr(lines.p, ' ', lines.n);

		assert_non_null(end);
		assert_non_null(space);
		put_event(out, "event", ":event-type",
		    (struct span){lines.p, (size_t)(space - lines.p)},
		    (struct span){space + 1, (size_t)(end - space) - 1});
		lines = (struct span){end + 1, lines.n - (size_t)(end - lines.p) - 1};
	}
}

/* Traps: of two calls that run side by side the second is lost; a call without arguments has none; text is cut inside a character. */
static void
test_stream(void **state)
{
	struct arena *a = arena();
	struct buf bytes = BUF_INIT(ROOM);

	(void)state;
	frame_lines(&bytes, load(a, "converse", "stream.txt"));
	check_stream(D, (struct span){bytes.data, bytes.len}, "converse");
	check_again(D, (struct span){bytes.data, bytes.len}, "converse");
	buf_clear(&bytes);
	arena_free(a);
}

/* Trap: the usage comes behind the stop; without it the stream has ended all the same. */
static void
test_no_metadata(void **state)
{
	struct buf bytes = BUF_INIT(ROOM);

	(void)state;
	frame_lines(&bytes, span_of("contentBlockDelta "
				    "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"a\"}}"
				    "\nmessageStop {\"stopReason\":\"max_tokens\"}\n"));
	check_events(D, (struct span){bytes.data, bytes.len},
	    "begin\nopen 0 text\ndelta 0 text=a\nclose 0\nfinish length raw=max_tokens\nend\n");
	buf_clear(&bytes);
}

/* The usage alone is no proof of the end. */
static void
test_no_stop(void **state)
{
	struct buf bytes = BUF_INIT(ROOM);

	(void)state;
	frame_lines(&bytes,
	    span_of("metadata {\"usage\":{\"inputTokens\":9223372036854775807,\"outputTokens\":2,"
		    "\"cacheReadInputTokens\":9223372036854775807,\"cacheWriteInputTokens\":"
		    "9223372036854775807}}\n"));
	check_events(D, (struct span){bytes.data, bytes.len},
	    "begin\nusage in=1:18446744073709551615 cached=9223372036854775807 "
	    "written=9223372036854775807/0/0 out=1:2\n"
	    "fail class=9 code=upstream_stream_cut message=The stream ended before the answer "
	    "did\n");
	buf_clear(&bytes);
}

/* Trap: an error inside a stream that began well is passed over. */
static void
test_exceptions(void **state)
{
	static const struct {
		const char *type;
		enum canon_error_class class;
	} exceptions[] = {
	    {"throttlingException", ERROR_RATE_LIMIT},
	    {"validationException", ERROR_BAD_REQUEST},
	    {"modelStreamErrorException", ERROR_TIMEOUT},
	    {"serviceUnavailableException", ERROR_OVERLOADED},
	    {"internalServerException", ERROR_SERVER},
	    {"modelTimeoutException", ERROR_TIMEOUT},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(exceptions); i++) {
		struct buf bytes = BUF_INIT(ROOM), out = BUF_INIT(ROOM);
		char want[64];

		frame_lines(&bytes, span_of("messageStart {\"role\":\"assistant\"}\n"));
		put_event(&bytes, "exception", ":exception-type", span_of(exceptions[i].type),
		    span_of("{\"message\":\"It did not work.\"}"));
		frame_lines(&bytes, span_of("messageStop {\"stopReason\":\"end_turn\"}\n"));
		run_stream(D, (struct span){bytes.data, bytes.len}, 7, &out);
		assert_non_null(buf_cstr(&out));
		snprintf(want, sizeof want, "begin\nfail class=%d", exceptions[i].class);
		if (strncmp(out.data, want, strlen(want)) != 0 ||
		    strstr(out.data, "message=It did not work.\n") == NULL)
			fail_msg("%s: %s", exceptions[i].type, out.data);
		assert_null(strstr(out.data, "finish"));
		buf_clear(&bytes);
		buf_clear(&out);
	}
}

/* ---- requests that came from elsewhere ---- */

static struct canon_request *
asked(struct arena *a, const char *body)
{
	struct canon_request *q = decode_request(a, D, span_of(body));

	estrange(q);
	return q;
}

#define HELLO "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"hi\"}]}]}"

static void
test_fields(void **state)
{
	static const struct {
		const char *model;
		struct canon_reasoning reasoning;
		const char *top_k, *want;
	} cases[] = {
	    {CLAUDE, {.mode = THINK_ON, .has_budget = true, .budget = 2000}, NULL,
		"{\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}}"},
	    {CLAUDE, {.mode = THINK_OFF}, "7",
		"{\"thinking\":{\"type\":\"disabled\"},\"top_k\":7}"},
	    {"anthropic.claude-opus-4-6-v1",
		{.mode = THINK_ADAPTIVE, .effort = EFFORT_HIGH, .show = SHOW_AUTO}, NULL,
		"{\"thinking\":{\"type\":\"adaptive\",\"display\":\"summarized\"},\"output_"
		"config\":{\"effort\":\"high\"}}"},
	    {"us.amazon.nova-2-lite-v1:0", {.effort = EFFORT_MEDIUM}, "9",
		"{\"reasoningConfig\":{\"type\":\"enabled\",\"maxReasoningEffort\":\"medium\"},"
		"\"inferenceConfig\":{\"topK\":9}}"},
	    {"us.amazon.nova-pro-v1:0", {.effort = EFFORT_MEDIUM}, "9",
		"{\"inferenceConfig\":{\"topK\":9}}"},
	    {"openai.gpt-oss-120b-1:0", {.effort = EFFORT_LOW}, NULL,
		"{\"reasoning_effort\":\"low\"}"},
	    {"meta.llama3-3-70b-instruct-v1:0", {.effort = EFFORT_LOW}, "9", NULL},
	};
	struct arena *a = arena();
	struct canon_request *q = asked(a, HELLO);

	(void)state;
	for (size_t i = 0; i < NELEM(cases); i++) {
		const char *at;
		q->reasoning = cases[i].reasoning;
		q->top_k = span_of(cases[i].top_k);
		at = strstr(body_of(a, D, q, cases[i].model), "\"additionalModelRequestFields\":");
		if (cases[i].want == NULL) {
			assert_null(at);
			continue;
		}
		assert_non_null(at);
		assert_memory_equal(at + 31, cases[i].want, strlen(cases[i].want));
	}
	arena_free(a);
}

/* Trap: results of one round in several messages are refused. They and the text behind them are one message: roles alternate strictly. Nothing is blank, no NUL, no cache point behind a document. */
static void
test_messages(void **state)
{
	struct arena *a = arena();
	struct canon_request *q =
	    asked(a, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"a\\u0000b\"}]},{"
		     "\"role\":\"assistant\",\"content\":["
		     "{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"f\",\"input\":{}}}]},{\"role\":"
		     "\"user\",\"content\":[{\"toolResult\":{"
		     "\"toolUseId\":\"t\",\"content\":[]}},{\"document\":{\"format\":\"txt\","
		     "\"name\":\"x\",\"source\":{\"bytes\":"
		     "\"eA==\"}}},{\"cachePoint\":{\"type\":\"default\"}},{\"text\":\"\"}]},{"
		     "\"role\":\"user\",\"content\":[{\"text\":\"c\"}]}]}");
	const char *body = body_of(a, D, q, CLAUDE);

	(void)state;
	assert_string_equal(body,
	    "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"ab\"}]},{\"role\":"
	    "\"assistant\",\"content\":["
	    "{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"f\",\"input\":{}}}]},{\"role\":\"user\","
	    "\"content\":[{\"toolResult\":{"
	    "\"toolUseId\":\"t\",\"content\":[{\"text\":\"(no "
	    "output)\"}]}},{\"document\":{\"format\":\"txt\",\"name\":\"x\",\"source\":{"
	    "\"bytes\":\"eA==\"}}},{\"text\":\"c\"}]}]}");
	arena_free(a);
}

static void
add_document(struct arena *a, struct canon_request *q, const char *filename)
{
	struct canon_part *p = canon_part_new(a, PART_FILE);

	p->media.data = span_of("eA==");
	p->media.type = span_of("application/pdf");
	p->media.filename = span_of(filename);
	TAILQ_INSERT_TAIL(&TAILQ_FIRST(&q->turns)->parts, p, link);
}

/* Few characters, one space at a time, no name twice. */
static void
test_document_names(void **state)
{
	static const struct {
		const char *filename, *want;
	} names[] = {
	    {"2024_r\xc3\xa9sum\xc3\xa9  (final).v2.pdf", "\"name\":\"1 2024 r sum (final) v2\""},
	    {"plan.pdf", "\"name\":\"2 plan\""},
	    {"plan.pdf", "\"name\":\"3 plan\""},
	    {"###", "\"name\":\"4 Document\""},
	    {NULL, "\"name\":\"5 Document\""},
	};
	struct arena *a = arena();
	struct canon_request *q = asked(a, HELLO);
	const char *body;

	(void)state;
	for (size_t i = 0; i < NELEM(names); i++)
		add_document(a, q, names[i].filename);
	body = body_of(a, D, q, CLAUDE);
	for (size_t i = 0; i < NELEM(names); i++)
		if (strstr(body, names[i].want) == NULL)
			fail_msg("%s is not in %s", names[i].want, body);
	arena_free(a);
}

static void
test_tools(void **state)
{
	static const struct {
		struct canon_tool_choice choice;
		const char *want;
	} cases[] = {
	    {{.kind = CHOICE_AUTO}, "\"toolChoice\":{\"auto\":{}}"},
	    {{.kind = CHOICE_ANY}, "\"toolChoice\":{\"any\":{}}"},
	    {{.kind = CHOICE_NAMED, .name = {"f", 1}},
		"\"toolChoice\":{\"tool\":{\"name\":\"f\"}}"},
	    {{.kind = CHOICE_ALLOWED, .allowed_any = true}, "\"toolChoice\":{\"any\":{}}"},
	    {{.kind = CHOICE_NONE}, NULL},
	    {{.kind = CHOICE_UNSET}, NULL},
	};
	struct arena *a = arena();
	struct canon_request *q = asked(a, HELLO);
	struct canon_tool *t = canon_tool_new(a, TOOL_FUNCTION);
	const char *body;

	(void)state;
	assert_null(strstr(body_of(a, D, q, CLAUDE), "toolConfig"));
	t->name = span_of("f");
	TAILQ_INSERT_TAIL(&q->tools, t, link);
	for (size_t i = 0; i < NELEM(cases); i++) {
		q->tool_choice = cases[i].choice;
		body = body_of(a, D, q, CLAUDE);
		if (cases[i].want != NULL)
			assert_non_null(strstr(body, cases[i].want));
		else
			assert_null(strstr(body, "toolChoice"));
	}
	/* a description is required */
	assert_non_null(
	    strstr(body, "{\"toolSpec\":{\"name\":\"f\",\"description\":\"f\",\"inputSchema\":{"
			 "\"json\":{\"type\":\"object\",\"properties\":{}}}}}"));
	arena_free(a);
}

/* A signature goes back to its maker only. */
static void
test_signature(void **state)
{
	struct arena *a = arena();
	struct canon_request *q = asked(a, "{\"messages\":[{\"role\":\"assistant\",\"content\":[{"
					   "\"reasoningContent\":{\"reasoningText\":{\"text\":"
					   "\"\",\"signature\":\"S\"}}}]}]}");
	struct canon_part *p = TAILQ_FIRST(&TAILQ_FIRST(&q->turns)->parts);

	(void)state;
	assert_non_null(strstr(
	    body_of(a, D, q, CLAUDE), "{\"reasoningText\":{\"text\":\"\",\"signature\":\"S\"}}"));
	p->sign.origin = ORIGIN_GOOGLE;
	assert_null(strstr(body_of(a, D, q, CLAUDE), "signature"));
	arena_free(a);
}

static void
test_words(void **state)
{
	static const struct {
		const char *word;
		enum canon_finish_reason reason;
	} words[] = {{"end_turn", FINISH_STOP}, {"tool_use", FINISH_TOOL_CALLS},
	    {"stop_sequence", FINISH_STOP_SEQUENCE}, {"max_tokens", FINISH_LENGTH},
	    {"model_context_window_exceeded", FINISH_CONTEXT_WINDOW},
	    {"content_filtered", FINISH_CONTENT_FILTER},
	    {"guardrail_intervened", FINISH_CONTENT_FILTER},
	    {"malformed_tool_use", FINISH_MALFORMED}, {"malformed_model_output", FINISH_MALFORMED}};
	struct arena *a = arena();

	(void)state;
	for (size_t i = 0; i < NELEM(words); i++) {
		struct canon_response r = {0};
		struct canon_error err = {0};
		const char *body = arena_printf(a,
		    "{\"output\":{\"message\":{\"content\":[{\"text\":\"a\"}]}},\"stopReason\":\"%"
		    "s\"}",
		    words[i].word);

		assert_int_equal(D->decode_response(a, span_of(body), &r, &err), 0);
		assert_int_equal(r.choices->finish.reason, words[i].reason);
		assert_true(span_is(r.choices->finish.raw, words[i].word));
	}
	arena_free(a);
}

static void
test_failures(void **state)
{
	struct arena *a = arena();
	struct canon_response r;
	struct canon_error err;
	struct buf bytes = BUF_INIT(ROOM);

	(void)state;
	refused(a, D, "{\"message\":\"The model returned the following errors: no\"}");
	assert_int_equal(D->decode_response(a, span_of("{}"), &r, &err), E_SYNTAX);
	assert_int_equal(D->decode_response(a, span_of("<html>"), &r, &err), E_SYNTAX);
	put_event(&bytes, "event", ":event-type", span_of("messageStart"), span_of("{"));
	check_events(D, (struct span){bytes.data, bytes.len},
	    "fail class=9 message=The upstream sent something that is not JSON\n");
	buf_clear(&bytes);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_request),
	    cmocka_unit_test(test_answer),
	    cmocka_unit_test(test_stream),
	    cmocka_unit_test(test_no_metadata),
	    cmocka_unit_test(test_no_stop),
	    cmocka_unit_test(test_exceptions),
	    cmocka_unit_test(test_fields),
	    cmocka_unit_test(test_messages),
	    cmocka_unit_test(test_document_names),
	    cmocka_unit_test(test_tools),
	    cmocka_unit_test(test_signature),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_failures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
