/* An upstream's Chat stream → events (spec translation 17.2, 17.9), and the traps of 22. */
#include "t/unit/proto_chat.h"

static void
test_text(void **state)
{
	(void)state;
	assert_deltas(DELTAS("{\"role\":\"assistant\",\"content\":\"\"}",
			  "{\"role\":\"assistant\",\"content\":\"He\"}", "{\"content\":\"y\"}",
			  "{\"content\":null}"),
	    "stop", "open 0.0 text\ndelta 0.0 He\ndelta 0.0 y\nclose 0.0\nfinish 0 1\n");
}

/* Text behind a call is a new part, thought behind text is a new part. */
static void
test_kinds_close_each_other(void **state)
{
	(void)state;
	assert_deltas(DELTAS("{\"reasoning_content\":\"a\"}", "{\"content\":\"b\"}",
			  "{\"reasoning_content\":\"c\"}"),
	    "stop",
	    "open 0.0 thought\ndelta 0.0 a\nclose 0.0\nopen 0.1 text\ndelta 0.1 b\nclose 0.1\n"
	    "open 0.2 thought\ndelta 0.2 c\nclose 0.2\nfinish 0 1\n");
	assert_deltas(DELTAS("{\"content\":\"a\"}",
			  "{\"tool_calls\":[{\"index\":0,\"id\":\"i\",\"function\":{\"name\":\"f\","
			  "\"arguments\":\"{}\"}}]}",
			  "{\"content\":\"b\"}"),
	    "tool_calls",
	    "open 0.0 text\ndelta 0.0 a\nclose 0.0\nopen 0.1 call i f\ndelta 0.1 {}\nopen 0.2 "
	    "text\n"
	    "delta 0.2 b\nclose 0.2\nclose 0.1\nfinish 0 3\n");
}

static void
test_reasoning_names(void **state)
{
	(void)state;
	assert_deltas(
	    DELTAS("{\"reasoning\":\"a\",\"reasoning_content\":\"a\"}", "{\"reasoning\":\"b\"}"),
	    "stop", "open 0.0 thought\ndelta 0.0 a\ndelta 0.0 b\nclose 0.0\nfinish 0 1\n");
}

/* The text of the details counts only where the plain member is absent. */
static void
test_reasoning_details(void **state)
{
	(void)state;
	assert_deltas(DELTAS("{\"reasoning\":\"a\",\"reasoning_details\":[{\"type\":\"reasoning."
			     "text\",\"text\":\"a\",\"index\":0}]}",
			  "{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"b\","
			  "\"index\":0}]}",
			  "{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"signature\":"
			  "\"sig\",\"index\":0}]}"),
	    "stop",
	    "open 0.0 thought\ndelta 0.0 a\ndelta 0.0 b\nsign 0.0 sig\nclose 0.0\nfinish 0 1\n");
}

/* Trap: id and name in separate chunks; arguments before the name wait. */
static void
test_trap_id_and_name_apart(void **state)
{
	(void)state;
	assert_deltas(
	    DELTAS(
		"{\"tool_calls\":[{\"index\":0,\"id\":\"i\",\"function\":{\"arguments\":\"{\"}}]}",
		"{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\"}}]}",
		"{\"tool_calls\":[{\"index\":0,\"id\":\"\",\"function\":{\"name\":\"\","
		"\"arguments\":\"}\"}}]}"),
	    "tool_calls", "open 0.0 call i f\ndelta 0.0 {\ndelta 0.0 }\nclose 0.0\nfinish 0 3\n");
}

/* Trap: the id repeated on every delta is still the same call. */
static void
test_trap_id_repeated(void **state)
{
	(void)state;
	assert_deltas(DELTAS("{\"tool_calls\":[{\"index\":0,\"id\":\"i\",\"function\":{\"name\":"
			     "\"f\",\"arguments\":\"{\"}}]}",
			  "{\"tool_calls\":[{\"index\":0,\"id\":\"i\",\"function\":{\"name\":\"f\","
			  "\"arguments\":\"}\"}}]}"),
	    "tool_calls", "open 0.0 call i f\ndelta 0.0 {\ndelta 0.0 }\nclose 0.0\nfinish 0 3\n");
}

/* Trap: index 0 for all calls: a new id on a known index is a new call. */
static void
test_trap_index_always_0(void **state)
{
	(void)state;
	assert_deltas(
	    DELTAS("{\"tool_calls\":[{\"index\":0,\"id\":\"i\",\"function\":{\"name\":"
		   "\"f\",\"arguments\":\"{}\"}}]}",
		"{\"tool_calls\":[{\"index\":0,\"id\":\"j\",\"function\":{\"name\":\"g\","
		"\"arguments\":\"[\"}}]}",
		"{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"]\"}}]}",
		"{\"tool_calls\":[{\"index\":0,\"id\":\"i\",\"function\":{\"arguments\":\" \"}}]}"),
	    "tool_calls",
	    "open 0.0 call i f\ndelta 0.0 {}\nopen 0.1 call j g\ndelta 0.1 [\ndelta 0.1 ]\n"
	    "delta 0.0  \nclose 0.0\nclose 0.1\n"
	    "finish 0 3\n");
}

/* Trap: no index: by id, else the last one. */
static void
test_trap_no_index(void **state)
{
	(void)state;
	assert_deltas(DELTAS("{\"tool_calls\":[{\"id\":\"i\",\"function\":{\"name\":\"f\","
			     "\"arguments\":\"a\"}}]}",
			  "{\"tool_calls\":[{\"id\":\"j\",\"function\":{\"name\":\"g\","
			  "\"arguments\":\"b\"}}]}",
			  "{\"tool_calls\":[{\"id\":\"i\",\"function\":{\"arguments\":\"c\"}}]}",
			  "{\"tool_calls\":[{\"function\":{\"arguments\":\"d\"}}]}"),
	    "tool_calls",
	    "open 0.0 call i f\ndelta 0.0 a\nopen 0.1 call j g\ndelta 0.1 b\ndelta 0.0 c\ndelta "
	    "0.1 d\nclose 0.0\n"
	    "close 0.1\nfinish 0 3\n");
}

/* Trap: deltas of parallel calls interleaved. */
static void
test_trap_interleaved(void **state)
{
	(void)state;
	assert_deltas(
	    DELTAS("{\"tool_calls\":[{\"index\":0,\"id\":\"i\",\"function\":{\"name\":\"f\"}},"
		   "{\"index\":1,\"id\":\"j\",\"function\":{\"name\":\"g\"}}]}",
		"{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"1\"}}]}",
		"{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"0\"}}]}"),
	    "tool_calls",
	    "open 0.0 call i f\nopen 0.1 call j g\ndelta 0.1 1\ndelta 0.0 0\nclose 0.0\nclose "
	    "0.1\nfinish 0 3\n");
}

static void
test_arguments_as_object(void **state)
{
	(void)state;
	assert_deltas(DELTAS("{\"tool_calls\":[{\"index\":0,\"id\":\"i\",\"function\":{\"name\":"
			     "\"f\",\"arguments\":{\"a\":1.0}}}]}"),
	    "tool_calls", "open 0.0 call i f\ndelta 0.0 {\"a\":1.0}\nclose 0.0\nfinish 0 3\n");
}

/* Trap: dummies on every chunk: nothing. */
static void
test_trap_dummies(void **state)
{
	(void)state;
	assert_deltas(
	    DELTAS("{\"content\":\"a\",\"tool_calls\":[{\"id\":\"\",\"type\":\"\",\"function\":{"
		   "\"name\":\"\","
		   "\"arguments\":\"\"}}],\"refusal\":\"\",\"audio\":{\"transcript\":\"\"}}"),
	    "stop", "open 0.0 text\ndelta 0.0 a\nclose 0.0\nfinish 0 1\n");
}

static void
test_legacy_call_and_pieces(void **state)
{
	(void)state;
	assert_deltas(DELTAS("{\"function_call\":{\"name\":\"f\",\"arguments\":\"{\"}}",
			  "{\"function_call\":{\"arguments\":\"}\"}}"),
	    "function_call", "open 0.0 call  f\ndelta 0.0 {\ndelta 0.0 }\nclose 0.0\nfinish 0 3\n");
	assert_deltas(DELTAS("{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":"
			     "\"text\",\"text\":\"t\"}]}]}",
			  "{\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}"),
	    "stop",
	    "open 0.0 thought\ndelta 0.0 t\nclose 0.0\nopen 0.1 text\ndelta 0.1 x\nclose "
	    "0.1\nfinish 0 1\n");
	assert_deltas(DELTAS("{\"refusal\":\"no\"}"), "stop",
	    "open 0.0 refusal\ndelta 0.0 no\nclose 0.0\nfinish 0 1\n");
}

static void
check(const char *const *frames, const char *want)
{
	struct bench b;

	bench_open(&b);
	assert_string_equal(decode(&b, frames), want);
	bench_close(&b);
}

#define CHUNK(rest) "{\"id\":\"c\",\"model\":\"m\"," rest "}"
#define SAYS(text, end) \
	CHUNK("\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text \
	      "\"},\"finish_reason\":" end "}]")

/* Trap: choices:[] is no end; trap: a finish that is not the last chunk. */
static void
test_trap_early_ends(void **state)
{
	(void)state;
	check(DELTAS(SAYS("a", "\"stop\""), CHUNK("\"choices\":[]"), SAYS("b", "\"length\""),
		  "[DONE]", SAYS("c", "null")),
	    "begin c m\nopen 0.0 text\ndelta 0.0 a\ndelta 0.0 b\nclose 0.0\nfinish 0 2\nend\n");
}

/* Spec 17.9. */
static void
test_proof_of_the_end(void **state)
{
	(void)state;
	check(DELTAS(SAYS("a", "\"stop\"")),
	    "begin c m\nopen 0.0 text\ndelta 0.0 a\nclose 0.0\nfinish 0 1\nend\n");
	check(DELTAS(SAYS("a", "null"), "[DONE]"),
	    "begin c m\nopen 0.0 text\ndelta 0.0 a\nfail 9 upstream_stream_cut\n");
	check(DELTAS(SAYS("a", "\"\"")),
	    "begin c m\nopen 0.0 text\ndelta 0.0 a\nfail 9 upstream_stream_cut\n");
	check(DELTAS("[DONE]"), "fail 9 upstream_stream_cut\n");
	/* every choice that was seen */
	check(DELTAS(CHUNK("\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"}}]"),
		  SAYS("a", "\"stop\"")),
	    "begin c m\nopen 1.0 text\ndelta 1.0 x\nopen 0.1 text\ndelta 0.1 a\nfail 9 "
	    "upstream_stream_cut\n");
}

static void
test_eof_is_end(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b);
	b.profile.eof_is_end = true;
	assert_string_equal(decode(&b, DELTAS(SAYS("a", "null"))),
	    "begin c m\nopen 0.0 text\ndelta 0.0 a\nclose 0.0\nfinish 0 1\nend\n");
	buf_reset(&b.out);
	assert_string_equal(
	    decode(&b, DELTAS(CHUNK("\"choices\":[]"))), "begin c m\nfail 9 upstream_stream_cut\n");
	bench_close(&b);
}

/* Trap: choices of n>1 are not mixed. */
static void
test_trap_choices(void **state)
{
	(void)state;
	check(DELTAS(CHUNK(
		  "\"choices\":[{\"index\":1,\"delta\":{\"content\":\"x\"},\"finish_reason\":"
		  "\"stop\"},"
		  "{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"length\"}]")),
	    "begin c m\nopen 1.0 text\ndelta 1.0 x\nopen 0.1 text\ndelta 0.1 a\nclose 1.0\nclose "
	    "0.1\nfinish 1 1\n"
	    "finish 0 2\nend\n");
}

/* Usage wherever it stands; the last one counts. */
static void
test_usage_places(void **state)
{
	static const char usage[] =
	    "{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}";
	struct bench b;
	char chunk[512];

	(void)state;
	snprintf(chunk, sizeof chunk, CHUNK("\"choices\":[],\"usage\":%s"), usage);
	check(DELTAS(SAYS("a", "\"stop\""), chunk),
	    "begin c m\nopen 0.0 text\ndelta 0.0 a\nusage 3 4\nclose 0.0\nfinish 0 1\nend\n");
	snprintf(chunk, sizeof chunk, CHUNK("\"choices\":[],\"x_groq\":{\"usage\":%s}"), usage);
	check(DELTAS(SAYS("a", "\"stop\""), chunk),
	    "begin c m\nopen 0.0 text\ndelta 0.0 a\nusage 3 4\nclose 0.0\nfinish 0 1\nend\n");
	snprintf(chunk, sizeof chunk,
	    CHUNK(
		"\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\",\"usage\":%s}]"),
	    usage);
	check(DELTAS(SAYS("a", "null"), chunk),
	    "begin c m\nopen 0.0 text\ndelta 0.0 a\nusage 3 4\nclose 0.0\nfinish 0 1\nend\n");
	/* xAI counts thoughts beside */
	bench_open(&b);
	assert_non_null(strstr(
	    decode(&b, DELTAS(CHUNK("\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
				    "\"completion_tokens\":4,\"total_tokens\":12,"
				    "\"completion_tokens_details\":{\"reasoning_tokens\":5}}"))),
	    "usage 3 9\n"));
	bench_close(&b);
}

/* Trap: an error beside normal choices; event: error; what is no JSON. Nothing comes behind it. */
static void
test_trap_errors(void **state)
{
	struct bench b;
	struct canon_sink sink = {trace_take, &b.out};
	struct frame f = {
	    .type = span_of("error"), .data = span_of("{\"message\":\"slow down\",\"code\":429}")};
	void *d;

	(void)state;
	bench_open(&b);
	assert_non_null(
	    strstr(decode(&b, DELTAS(SAYS("a", "null"),
				  CHUNK("\"error\":{\"code\":502,\"message\":\"down\"},\"choices\":"
					"[{\"index\":0,\"delta\":{\"content\":\"x\"},"
					"\"finish_reason\":\"error\"}]"),
				  SAYS("z", "\"stop\""))),
		"delta 0.0 a\nfail "));
	assert_null(strstr(text_of(&b), "0.0 x"));
	assert_null(strstr(text_of(&b), "0.0 z"));
	assert_null(strstr(text_of(&b), "end"));
	buf_reset(&b.out);
	assert_non_null(d = chat->decoder_new(b.a, b.scratch, &b.profile));
	assert_int_equal(chat->decode(d, &f, &sink), 0);
	assert_int_equal(chat->decode_end(d, &sink), 0);
	assert_int_equal(strncmp(text_of(&b), "fail ", 5), 0);
	buf_reset(&b.out);
	assert_non_null(
	    strstr(decode(&b, DELTAS(SAYS("a", "null"), "<html>")), "fail 9 upstream_malformed\n"));
	buf_reset(&b.out); /* an empty error is none */
	assert_null(strstr(
	    decode(&b, DELTAS(CHUNK(
			   "\"error\":\"\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},"
			   "\"finish_reason\":\"stop\"}]"))),
	    "fail"));
	assert_non_null(strstr(text_of(&b), "delta 0.0 x"));
	bench_close(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_text),
	    cmocka_unit_test(test_kinds_close_each_other),
	    cmocka_unit_test(test_reasoning_names),
	    cmocka_unit_test(test_reasoning_details),
	    cmocka_unit_test(test_trap_id_and_name_apart),
	    cmocka_unit_test(test_trap_id_repeated),
	    cmocka_unit_test(test_trap_index_always_0),
	    cmocka_unit_test(test_trap_no_index),
	    cmocka_unit_test(test_trap_interleaved),
	    cmocka_unit_test(test_arguments_as_object),
	    cmocka_unit_test(test_trap_dummies),
	    cmocka_unit_test(test_legacy_call_and_pieces),
	    cmocka_unit_test(test_trap_early_ends),
	    cmocka_unit_test(test_proof_of_the_end),
	    cmocka_unit_test(test_eof_is_end),
	    cmocka_unit_test(test_trap_choices),
	    cmocka_unit_test(test_usage_places),
	    cmocka_unit_test(test_trap_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
