/* Events → a Chat stream for the client (spec translation 18.2, 18.7, 18.8). */
#include "t/unit/proto_chat.h"

static struct canon_part text_meta = {.kind = PART_TEXT}, thought_meta = {.kind = PART_REASONING},
			 refusal_meta = {.kind = PART_REFUSAL},
			 call_meta = {.kind = PART_TOOL_CALL};
static const struct canon_usage usage = {
    .has_in = true, .in_total = 3, .has_out = true, .out_total = 4, .in_cached = 1};

static const struct canon_event begin = {
    .type = EVENT_BEGIN, .id = {"chatcmpl-1", 10}, .model = {"up", 2}, .created = 7};

#define OPEN(n, m) \
	{ \
		.type = EVENT_OPEN, .part = (n), .meta = (m) \
	}
#define DELTA(n, t) \
	{ \
		.type = EVENT_DELTA, .part = (n), .text = {(t), sizeof(t) - 1 } \
	}
#define CLOSE(n) \
	{ \
		.type = EVENT_CLOSE, .part = (n) \
	}
#define FINISH(r) \
	{ \
		.type = EVENT_FINISH, .finish = &(const struct canon_finish) \
		{ \
			.reason = (r) \
		} \
	}
#define END \
	{ \
		.type = EVENT_END \
	}

static const char *
encode(struct bench *b, const struct canon_event *ev, size_t n)
{
	void *e = chat->encoder_new(b->a, &b->ctx);

	assert_non_null(e);
	assert_int_equal(chat->encode(e, &begin, &b->out), 0);
	assert_int_equal(b->out.len, 0); /* a beginning says nothing yet */
	for (size_t i = 0; i < n; i++)
		assert_int_equal(chat->encode(e, &ev[i], &b->out), 0);
	if (chat->encoder_free != NULL)
		chat->encoder_free(e);
	return text_of(b);
}
#define ENCODE(b, ...) \
	encode((b), (const struct canon_event[]){__VA_ARGS__}, \
	    NELEM(((const struct canon_event[]){__VA_ARGS__})))

/* The chunks as one list without their heads: each must have the same id, object, created, model.
 */
static void
assert_chunks(struct bench *b, const char *got, const char *object, const char *want)
{
	const char *head = arena_printf(b->a,
	    "data: "
	    "{\"id\":\"chatcmpl-1\",\"object\":\"%s\",\"created\":7,\"model\":\"up\",\"choices\":[",
	    object);
	struct buf list = BUF_INIT(1 << 20);

	while (strncmp(got, "data: [DONE]", 12) != 0) {
		const char *end = strstr(got, "\n\n");

		assert_non_null(end);
		assert_int_equal(strncmp(got, head, strlen(head)), 0);
		got += strlen(head);
		buf_str(&list, list.len > 0 ? "\n[" : "[");
		buf_add(&list, got, (size_t)(end - got) - 1);
		got = end + 2;
	}
	assert_string_equal(got, "data: [DONE]\n\n");
	assert_string_equal(buf_cstr(&list), want);
	buf_clear(&list);
}

#define ONE(delta, end) \
	"[{\"index\":0,\"delta\":" delta ",\"logprobs\":null,\"finish_reason\":" end "}]"
#define CHUNK "chat.completion.chunk"

static void
test_text(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b);
	assert_chunks(&b,
	    ENCODE(&b, OPEN(0, &thought_meta), DELTA(0, "t"), CLOSE(0), OPEN(1, &text_meta),
		DELTA(1, "a\n"), CLOSE(1), {.type = EVENT_USAGE, .usage = &usage},
		FINISH(FINISH_LENGTH), END),
	    CHUNK,
	    ONE("{\"role\":\"assistant\",\"content\":\"\"}", "null") "\n" ONE(
		"{\"reasoning_content\":\"t\"}", "null") "\n" ONE("{\"content\":\"a\\n\"}",
		"null") "\n" ONE("{}", "\"length\""));
	bench_close(&b);
}

/* Trap: only who asked for a usage chunk gets one; then every other chunk has usage:null. */
static void
test_trap_usage_chunk(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b);
	b.asked.stream_usage = true;
	assert_chunks(&b,
	    ENCODE(&b, OPEN(0, &refusal_meta), DELTA(0, "no"), CLOSE(0),
		{.type = EVENT_USAGE, .usage = &usage}, FINISH(FINISH_REFUSAL), END),
	    CHUNK,
	    ONE("{\"role\":\"assistant\",\"content\":\"\"}", "null") ",\"usage\":null\n" ONE(
		"{\"refusal\":\"no\"}", "null") ",\"usage\":null\n" ONE("{}",
		"\"content_filter\"") ",\"usage\":null\n"
				      "[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,"
				      "\"total_tokens\":7,"
				      "\"prompt_tokens_details\":{\"cached_tokens\":1,\"audio_"
				      "tokens\":0},\"completion_tokens_details\":"
				      "{\"reasoning_tokens\":0,\"audio_tokens\":0,\"accepted_"
				      "prediction_tokens\":0,"
				      "\"rejected_prediction_tokens\":0}}");
	bench_close(&b);
}

/* Trap: the index of a call is its rank among calls; id, type and name once.
 */
static void
test_trap_parallel_calls(void **state)
{
	struct canon_part f = call_meta, g = call_meta;
	struct bench b;

	(void)state;
	bench_open(&b);
	f.id = span_of("call_1");
	f.name = span_of("f");
	g.id = span_of("call_2");
	g.name = span_of("g");
	assert_chunks(&b,
	    ENCODE(&b, OPEN(0, &f), OPEN(1, &g), DELTA(1, "{\"a\":"), DELTA(1, "1}"),
		DELTA(0, "{}"), CLOSE(0), CLOSE(1), FINISH(FINISH_TOOL_CALLS), END),
	    CHUNK,
	    ONE("{\"role\":\"assistant\",\"content\":null}", "null") "\n" ONE(
		"{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\","
		"\"function\":{\"name\":\"f\","
		"\"arguments\":\"\"}}]}",
		"null") "\n" ONE("{\"tool_calls\":[{\"index\":1,\"id\":\"call_2\",\"type\":"
				 "\"function\",\"function\":{\"name\":\"g\","
				 "\"arguments\":\"\"}}]}",
		"null") "\n" ONE("{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"{"
				 "\\\"a\\\":\"}}]}",
		"null") "\n" ONE("{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"1}\"}"
				 "}]}",
		"null") "\n" ONE("{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}"
				 "}]}",
		"null") "\n" ONE("{}", "\"tool_calls\""));
	bench_close(&b);
}

static void
test_legacy_functions(void **state)
{
	struct canon_part f = call_meta, g = call_meta;
	struct bench b;

	(void)state;
	bench_open(&b);
	b.asked.legacy_functions = true;
	f.name = span_of("f");
	g.name = span_of("g");
	assert_chunks(&b,
	    ENCODE(&b, OPEN(0, &f), DELTA(0, "{}"), CLOSE(0), OPEN(1, &g), DELTA(1, "{}"), CLOSE(1),
		FINISH(FINISH_TOOL_CALLS), END),
	    CHUNK,
	    ONE("{\"role\":\"assistant\",\"content\":null}", "null") "\n" ONE(
		"{\"function_call\":{\"name\":\"f\",\"arguments\":\"\"}}",
		"null") "\n" ONE("{\"function_call\":{\"arguments\":\"{}\"}}",
		"null") "\n" ONE("{}", "\"function_call\""));
	bench_close(&b);
}

static void
test_completion(void **state)
{
	struct bench b;
	const char *got;

	(void)state;
	bench_open(&b);
	b.asked.legacy_completion = true;
	got = ENCODE(&b, OPEN(0, &text_meta), DELTA(0, "a"), CLOSE(0), FINISH(FINISH_STOP), END);
	assert_non_null(strstr(got, "\"object\":\"text_completion\""));
	assert_non_null(strstr(got,
	    "\"choices\":[{\"index\":0,\"text\":\"a\",\"logprobs\":null,\"finish_reason\":null}]"));
	assert_non_null(strstr(got, "\"finish_reason\":\"stop\""));
	assert_null(strstr(got, "delta"));
	bench_close(&b);
}

/* An empty answer still says its role and its end. */
static void
test_empty(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b);
	assert_chunks(&b, ENCODE(&b, FINISH(FINISH_STOP), END), CHUNK,
	    ONE("{\"role\":\"assistant\",\"content\":\"\"}", "null") "\n" ONE("{}", "\"stop\""));
	bench_close(&b);
}

static void
test_signature_and_idle(void **state)
{
	const struct canon_signature s = {.data = {"sig", 3}, .origin = ORIGIN_ANTHROPIC};
	struct bench b;
	const char *got;

	(void)state;
	bench_open(&b);
	got = ENCODE(&b, {.type = EVENT_IDLE}, OPEN(0, &thought_meta), DELTA(0, "t"),
	    {.type = EVENT_SIGN, .sign = &s}, CLOSE(0), FINISH(FINISH_STOP), END);
	assert_int_equal(strncmp(got, ": keepalive\n\ndata: ", 19), 0);
	assert_non_null(strstr(got, "\"reasoning_details\":[{\"type\":\"reasoning.text\""));
	assert_non_null(strstr(got, "\"signature\":\"sig\""));
	bench_close(&b);
}

/* Spec 18.7: no finish_reason, then nothing more. */
static void
test_failure(void **state)
{
	const struct canon_error e = {.class = ERROR_OVERLOADED, .message = {"busy", 4}};
	struct bench b;
	const char *got;

	(void)state;
	bench_open(&b);
	got = strstr(ENCODE(&b, OPEN(0, &text_meta), DELTA(0, "a"),
			 {.type = EVENT_FAIL, .error = &e}, FINISH(FINISH_STOP), END),
	    "data: {\"error\"");
	assert_non_null(got);
	assert_string_equal(got,
	    "data: {\"error\":{\"message\":\"busy\",\"type\":\"server_error\",\"param\":null,"
	    "\"code\":\"overloaded\"}}\n\ndata: [DONE]\n\n");
	assert_null(strstr(text_of(&b), "\"finish_reason\":\"stop\""));
	bench_close(&b);
}

/* Two runs, the same bytes. */
static void
test_determinism(void **state)
{
	struct bench x, y;
	struct canon_part f = call_meta;

	(void)state;
	bench_open(&x);
	bench_open(&y);
	f.name = span_of("f");
	assert_string_equal(ENCODE(&x, OPEN(0, &f), CLOSE(0), FINISH(FINISH_TOOL_CALLS), END),
	    ENCODE(&y, OPEN(0, &f), CLOSE(0), FINISH(FINISH_TOOL_CALLS), END));
	assert_non_null(strstr(text_of(&x), "\"id\":\"call_")); /* a made one */
	bench_close(&x);
	bench_close(&y);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_text),
	    cmocka_unit_test(test_trap_usage_chunk),
	    cmocka_unit_test(test_trap_parallel_calls),
	    cmocka_unit_test(test_legacy_functions),
	    cmocka_unit_test(test_completion),
	    cmocka_unit_test(test_empty),
	    cmocka_unit_test(test_signature_and_idle),
	    cmocka_unit_test(test_failure),
	    cmocka_unit_test(test_determinism),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
