#include "t/unit/proto_events.h"

#include "proto/filter.h"
#include "proto/signature.h"

struct setup {
	struct shaped shaped;
	struct canon_request *asked;
	enum dialect_id client, upstream;
	enum canon_origin origin;
	bool whole, cut;
	struct arena *arena;
};

static void
setup_open(struct setup *s)
{
	*s = (struct setup){.client = DIALECT_CHAT, .upstream = DIALECT_CHAT};
	s->arena = arena_new(64 << 20);
	s->asked = canon_request_new(s->arena, DIALECT_CHAT);
}

/* Two functions: the comparison and the check, so that a test shows both texts. */
static char *
filtered(struct setup *s, const char *script, size_t piece)
{
	static const uint8_t seed[16] = {1};
	struct notes n = {.b = BUF_INIT(1 << 24)};
	const struct canon_sink sink = {notes_take, &n};
	struct filters *f =
	    filters_new(s->arena, &s->shaped, s->asked, s->client, s->upstream, seed, &sink);
	const struct canon_sink head = {filters_take, f};
	struct script run = {.arena = s->arena, .sink = &head, .piece = piece, .origin = s->origin};
	char *out;

	assert_non_null(f);
	if (s->whole)
		filters_whole(f);
	assert_int_equal(script_run(&run, script), 0);
	s->cut = filters_cut(f);
	filters_free(f);
	out = arena_strndup(s->arena, n.b.len > 0 ? n.b.data : "", n.b.len);
	buf_clear(&n.b);
	return out;
}

static void
expect(struct setup *s, const char *script, const char *want)
{
	static const size_t pieces[] = {0, 1, 2, 3, 5, 7};

	for (size_t i = 0; i < NELEM(pieces); i++)
		assert_string_equal(filtered(s, script, pieces[i]), want);
}

/* A text alone, and what becomes of it. */
static void
expect_text(struct setup *s, const char *text, const char *want)
{
	char *script = arena_printf(
	    s->arena, "begin\ntext 0\n+ 0 %s\nclose 0\nusage 5 6\nfinish stop\nend", text);
	char *all = arena_printf(
	    s->arena, "begin id=id1\n%susage in=1:5 out=1:6\nfinish 0 stop\nend\n", want);

	expect(s, script, all);
}

static void
think_tags_become_reasoning(void **state)
{
	struct setup s;

	(void)state;
	setup_open(&s);
	s.shaped.tags = TAGS_AUTO;
	expect_text(&s, "<think>a < b</th ink</think>\\n\\nyes",
	    "open 0.0 reasoning\ndelta 0.0 a < b</th ink\nclose 0.0\n"
	    "open 0.1 text\ndelta 0.1 yes\nclose 0.1\n");
	expect_text(&s, "\\n <thinking>x</think></thinking>y",
	    "open 0.0 reasoning\ndelta 0.0 x</think>\nclose 0.0\nopen 0.1 text\ndelta 0.1 y\nclose "
	    "0.1\n");
	/* only at the very start */
	expect_text(&s, "code: <think>x</think>",
	    "open 0.0 text\ndelta 0.0 code: <think>x</think>\nclose 0.0\n");
	expect_text(&s, "<thin air", "open 0.0 text\ndelta 0.0 <thin air\nclose 0.0\n");
	expect_text(&s, "<th", "open 0.0 text\ndelta 0.0 <th\nclose 0.0\n");
	/* an orphan close, an empty thought */
	expect_text(&s, "</think>\\nyes", "open 0.0 text\ndelta 0.0 yes\nclose 0.0\n");
	expect_text(&s, "<think></think>yes", "open 0.0 text\ndelta 0.0 yes\nclose 0.0\n");
	/* never closed */
	expect_text(&s, "<think>abc</thi", "open 0.0 reasoning\ndelta 0.0 abc</thi\nclose 0.0\n");
	/* reasoning of its own: tags stay */
	expect(&s,
	    "begin\nreasoning 0\n+ 0 r\nclose 0\ntext 1\n+ 1 <think>x</think>\nclose 1\nusage 5 6\n"
	    "finish stop\nend",
	    "begin id=id1\nopen 0.0 reasoning\ndelta 0.0 r\nclose 0.0\nopen 0.1 text\n"
	    "delta 0.1 <think>x</think>\nclose 0.1\nusage in=1:5 out=1:6\nfinish 0 stop\nend\n");
	arena_free(s.arena);
}

static void
implied_think_tags(void **state)
{
	struct setup s;

	(void)state;
	setup_open(&s);
	s.shaped.tags = TAGS_IMPLIED;
	expect_text(&s, "why</think>yes",
	    "open 0.0 reasoning\ndelta 0.0 why\nclose 0.0\nopen 0.1 text\ndelta 0.1 yes\nclose "
	    "0.1\n");
	expect_text(&s, "<think>why</think>yes",
	    "open 0.0 reasoning\ndelta 0.0 why\nclose 0.0\nopen 0.1 text\ndelta 0.1 yes\nclose "
	    "0.1\n");
	/* no end: it was the answer */
	expect(&s, "begin\ntext 0\n+ 0 all of it\nclose 0\nusage 5 6\nfinish stop\nend",
	    "begin id=id1\nopen 0.0 reasoning\ndelta 0.0 all of it\nclose 0.0\nusage in=1:5 "
	    "out=1:6\n"
	    "open 0.1 text\ndelta 0.1 all of it\nclose 0.1\nfinish 0 stop\nend\n");
	arena_free(s.arena);
}

static void
stop_sequences_cut(void **state)
{
	struct setup s;

	(void)state;
	setup_open(&s);
	s.shaped.emulate_stop = true;
	assert_int_equal(canon_text_add(s.arena, &s.asked->stop, span_of("STOP")), 0);
	assert_int_equal(canon_text_add(s.arena, &s.asked->stop, span_of("</a>")), 0);
	expect(&s,
	    "begin\ntext 0\n+ 0 one STO two STOP three\nclose 0\nusage 5 6\nfinish stop\nend",
	    "begin id=id1\nopen 0.0 text\ndelta 0.0 one STO two \nclose 0.0\nusage in=1:5 out=1:6\n"
	    "finish 0 stop_sequence stop=STOP\nend\n");
	assert_true(s.cut);
	expect_text(&s, "aSTSTO", "open 0.0 text\ndelta 0.0 aSTSTO\nclose 0.0\n");
	assert_false(s.cut);
	/* a failure behind the cut is nobody's business */
	expect(&s, "begin\ntext 0\n+ 0 STSTOP<</a>\nfail\nend",
	    "begin id=id1\nopen 0.0 text\ndelta 0.0 ST\nclose 0.0\nfinish 0 stop_sequence "
	    "stop=STOP\nend\n");
	/* thoughts are not looked at */
	expect(&s,
	    "begin\nreasoning 0\n+ 0 STOP\nclose 0\ntext 1\n+ 1 x\nclose 1\nusage 5 6\nfinish "
	    "stop\nend",
	    "begin id=id1\nopen 0.0 reasoning\ndelta 0.0 STOP\nclose 0.0\nopen 0.1 text\ndelta 0.1 "
	    "x\n"
	    "close 0.1\nusage in=1:5 out=1:6\nfinish 0 stop\nend\n");
	arena_free(s.arena);
}

static void
expect_call(struct setup *s, const char *name, const char *args, const char *want_name,
    const char *want_args)
{
	char *script = arena_printf(s->arena,
	    "begin\ncall 0 call_1 %s\n+ 0 %s\nclose 0\nusage 5 6\nfinish tool_calls\nend", name,
	    args);
	char *want = arena_printf(s->arena,
	    "begin id=id1\nopen 0.0 call name=%s\n%s%s%sclose 0.0\nusage in=1:5 out=1:6\n"
	    "finish 0 tool_calls\nend\n",
	    want_name, *want_args ? "delta 0.0 " : "", want_args, *want_args ? "\n" : "");

	expect(s, script, want);
}

static void
names_come_back(void **state)
{
	struct setup s;
	struct shaped_tool patch = {
	    .wire = span_of("patch"), .name = span_of("apply_patch"), .custom = true};
	struct shaped_tool ns = {.next = &patch,
	    .wire = span_of("n_x"),
	    .name = span_of("x"),
	    .namespace = span_of("n")};
	struct canon_tool *plain;

	(void)state;
	setup_open(&s);
	s.shaped.tools = &ns;
	plain = canon_tool_new(s.arena, TOOL_FUNCTION);
	plain->name = span_of("get");
	TAILQ_INSERT_TAIL(&s.asked->tools, plain, link);
	expect_call(&s, "n_x", "{\"a\":1}", "x ns=n id=call_1", "{\"a\":1}");
	expect_call(&s, "default_api.get", "{}", "get id=call_1", "{}");
	expect_call(&s, "functions.get", "{}", "get id=call_1", "{}");
	expect_call(&s, "functions.other", "{}", "functions.other id=call_1", "{}");
	/* free-form: unwrapped as it comes */
	expect_call(&s, "patch", " { \"input\" : \"a\\\"b\\u00e9\\ud83d\\ude00\\t/\\ud83dx\" } ",
	    "apply_patch id=call_1 custom", "a\"b\xc3\xa9\xf0\x9f\x98\x80\t/\xef\xbf\xbdx");
	expect_call(&s, "patch", "{\"input\":\"\\ud83d\\ud83d\\ude00\"}",
	    "apply_patch id=call_1 custom", "\xef\xbf\xbd\xf0\x9f\x98\x80");
	/* another shape is kept to its end */
	expect_call(
	    &s, "patch", "{\"x\":1,\"input\":\"late\"}", "apply_patch id=call_1 custom", "late");
	expect_call(&s, "patch", "plain text", "apply_patch id=call_1 custom", "plain text");
	expect_call(&s, "patch", "{\"input\":5}", "apply_patch id=call_1 custom", "{\"input\":5}");
	arena_free(s.arena);
}

static void
json_tool_is_text(void **state)
{
	struct setup s;

	(void)state;
	setup_open(&s);
	s.shaped.json_tool = span_of("json_output");
	expect(&s,
	    "begin\ncall 0 c1 json_output\n+ 0 {\"a\": [1, 2]}\nclose 0\nusage 5 6\nfinish "
	    "tool_calls\nend",
	    "begin id=id1\nopen 0.0 text\ndelta 0.0 {\"a\": [1, 2]}\nclose 0.0\nusage in=1:5 "
	    "out=1:6\n"
	    "finish 0 stop\nend\n");
	s.shaped.json_value = true;
	expect(&s,
	    "begin\ncall 0 c1 json_output\n+ 0 {\"value\":[\"}\",{\"a\":\"\\\"]\"}]}\nclose "
	    "0\nusage 5 6\nfinish tool_calls\nend",
	    "begin id=id1\nopen 0.0 text\ndelta 0.0 [\"}\",{\"a\":\"\\\"]\"}]\nclose 0.0\n"
	    "usage in=1:5 out=1:6\nfinish 0 stop\nend\n");
	/* the model answered in text, or not as it was told */
	expect_text(&s, "no", "open 0.0 text\ndelta 0.0 no\nclose 0.0\n");
	expect(&s,
	    "begin\ncall 0 c1 json_output\n+ 0 {\"val\nclose 0\nusage 5 6\nfinish tool_calls\nend",
	    "begin id=id1\nopen 0.0 text\ndelta 0.0 {\"val\nclose 0.0\nusage in=1:5 "
	    "out=1:6\nfinish 0 stop\nend\n");
	arena_free(s.arena);
}

static void
fences_go(void **state)
{
	struct setup s;

	(void)state;
	setup_open(&s);
	s.shaped.strip_fence = true;
	for (unsigned whole = 0; whole < 2; whole++) {
		s.whole = whole;
		expect_text(&s, "```json\\n{\"a\":\\n1}\\n```\\n",
		    "open 0.0 text\ndelta 0.0 {\"a\":\n1}\nclose 0.0\n");
		expect_text(&s, "```\\n[1]```", "open 0.0 text\ndelta 0.0 [1]\nclose 0.0\n");
		expect_text(
		    &s, "{\"a\":\"```\"}", "open 0.0 text\ndelta 0.0 {\"a\":\"```\"}\nclose 0.0\n");
		expect_text(&s, "``", "open 0.0 text\ndelta 0.0 ``\nclose 0.0\n");
	}
	/* only a whole text can tell that what stands before is no part of it */
	expect_text(&s, "Here: {\"a\":1} so.", "open 0.0 text\ndelta 0.0 {\"a\":1}\nclose 0.0\n");
	expect_text(
	    &s, "Here: {\"a\" so.", "open 0.0 text\ndelta 0.0 Here: {\"a\" so.\nclose 0.0\n");
	s.whole = false;
	expect_text(&s, "Here: {\"a\":1}", "open 0.0 text\ndelta 0.0 Here: {\"a\":1}\nclose 0.0\n");
	arena_free(s.arena);
}

/* Every row: what the upstream said, and the end that comes of it. */
static void
ends_are_repaired(void **state)
{
	static const struct {
		const char *said, *finish, *want;
		enum dialect_id upstream;
	} rows[] = {
	    {"text 0\n+ 0 x\nclose 0\n", "stop", "finish 0 stop\nend\n", DIALECT_CHAT},
	    {"call 0 a f\n+ 0 {}\nclose 0\n", "stop", "finish 0 tool_calls\nend\n", DIALECT_CHAT},
	    {"call 0 a f\n+ 0 {}\nclose 0\n", "length", "finish 0 length\nend\n", DIALECT_CHAT},
	    {"text 0\n+ 0 x\nclose 0\n", "tool_calls", "finish 0 stop\nend\n", DIALECT_CHAT},
	    {"", "tool_calls", "fail 502 code=empty_response\n", DIALECT_CHAT},
	    {"", "stop", "fail 502 code=empty_response\n", DIALECT_CHAT},
	    {"text 0\nclose 0\n", "stop", "fail 502 code=empty_response\n", DIALECT_CHAT},
	    {"", "stop", "finish 0 stop\nend\n", DIALECT_MESSAGES},
	    {"", "content_filter", "finish 0 content_filter\nend\n", DIALECT_CHAT},
	    {"text 0\n+ 0 x\nclose 0\n", "unknown", "finish 0 stop\nend\n", DIALECT_CHAT},
	    {"", "unknown", "fail 502 code=empty_response\n", DIALECT_CHAT},
	    {"text 0\n+ 0 x\nclose 0\n", "none", "finish 0 stop\nend\n", DIALECT_CHAT},
	    {"text 0\n+ 0 x\nclose 0\n", "malformed", "fail 502 code=upstream_malformed\n",
		DIALECT_CHAT},
	    {"text 0\n+ 0 x\nclose 0\n", "error", "fail 502 code=upstream_malformed\n",
		DIALECT_CHAT},
	    {"", "malformed", "fail 502 code=upstream_malformed\n", DIALECT_CHAT},
	    {"text 0\n+ 0 x\nclose 0\n", "pause", "finish 0 pause\nend\n", DIALECT_CHAT},
	    {"text 0\n+ 0 x\nclose 0\n", "context_window", "finish 0 context_window\nend\n",
		DIALECT_CHAT},
	};
	struct setup s;

	(void)state;
	setup_open(&s);
	for (size_t i = 0; i < NELEM(rows); i++) {
		char *script =
		    arena_printf(s.arena, "begin\n%sfinish %s\nend", rows[i].said, rows[i].finish);
		char *got;

		s.upstream = rows[i].upstream;
		got = filtered(&s, script, 0);
		assert_true(strlen(got) >= strlen(rows[i].want));
		assert_string_equal(got + strlen(got) - strlen(rows[i].want), rows[i].want);
	}
	/* usage shows that nothing was meant to be said */
	assert_string_equal(filtered(&s, "begin\nusage 3 1\nfinish stop\nend", 0),
	    "begin id=id1\nusage in=1:3 out=1:1\nfinish 0 stop\nend\n");
	/* the last of several ends counts, and what follows an end is not lost */
	assert_string_equal(
	    filtered(
		&s, "begin\nfinish stop\ntext 0\n+ 0 x\nclose 0\nfinish length\nusage 1 2\nend", 0),
	    "begin id=id1\nopen 0.0 text\ndelta 0.0 x\nclose 0.0\nusage in=1:1 out=1:2\n"
	    "finish 0 length\nend\n");
	/* no end was said for one of two choices */
	assert_string_equal(
	    filtered(&s,
		"begin\ntext 0\n+ 0 x\nclose 0\ntext 1@1\n+ 1@1 y\nclose 1@1\nfinish stop\nend", 0),
	    "begin id=id1\nopen 0.0 text\ndelta 0.0 x\nclose 0.0\nopen 1.1 text\ndelta 1.1 "
	    "y\nclose 1.1\n"
	    "fail 502 code=upstream_stream_cut\n");
	arena_free(s.arena);
}

static void
calls_without_arguments(void **state)
{
	struct setup s;

	(void)state;
	setup_open(&s);
	expect(&s,
	    "begin\ncall 0 a f\nclose 0\ncall 1 b g\n+ 1  \nclose 1\nusage 5 6\nfinish "
	    "tool_calls\nend",
	    "begin id=id1\nopen 0.0 call name=f id=a\ndelta 0.0 {}\nclose 0.0\nopen 0.1 call "
	    "name=g id=b\n"
	    "delta 0.1  \nusage in=1:5 out=1:6\ndelta 0.1 {}\nclose 0.1\nfinish 0 "
	    "tool_calls\nend\n");
	/* the last one was cut before its arguments: none are made up */
	expect(&s, "begin\ncall 0 a f\ncall 1 b g\nclose 0\nclose 1\nusage 5 6\nfinish length\nend",
	    "begin id=id1\nopen 0.0 call name=f id=a\nopen 0.1 call name=g id=b\nusage in=1:5 "
	    "out=1:6\n"
	    "delta 0.0 {}\nclose 0.0\nclose 0.1\nfinish 0 length\nend\n");
	arena_free(s.arena);
}

static void
ids_fit_the_client(void **state)
{
	struct setup s;
	char *one, *two;

	(void)state;
	setup_open(&s);
	s.client = DIALECT_MESSAGES;
	one = filtered(
	    &s, "begin\ncall 0 toolu_ok f\ncall 1 a:b f\ncall 2 - f\ncall 3 toolu_ok f\n", 0);
	assert_non_null(strstr(one, "open 0.0 call name=f id=toolu_ok\n"));
	assert_non_null(strstr(one, "open 0.1 call name=f id=toolu_"));
	assert_null(strstr(one, "a:b"));
	assert_non_null(strstr(one, "open 0.2 call name=f id=toolu_"));
	assert_null(strstr(one, "open 0.3 call name=f id=toolu_ok\n"));
	two = filtered(
	    &s, "begin\ncall 0 toolu_ok f\ncall 1 a:b f\ncall 2 - f\ncall 3 toolu_ok f\n", 0);
	assert_string_equal(one, two);
	s.client = DIALECT_CHAT;
	one = filtered(&s, "begin\ncall 0 a:b f\ncall 1 - f\n", 0);
	assert_non_null(strstr(one, "open 0.0 call name=f id=a:b\n"));
	assert_non_null(strstr(one, "open 0.1 call name=f id=call_"));
	s.client = DIALECT_GEMINI;
	assert_string_equal(
	    filtered(&s, "begin\ncall 0 - f\n", 0), "begin id=id1\nopen 0.0 call name=f\n");
	arena_free(s.arena);
}

static void
signatures_of_others_travel_wrapped(void **state)
{
	static const char script[] = "begin\nreasoning 0\n+ 0 r\nsign 0 abc\nclose 0\n";
	struct setup s;
	char *got;

	(void)state;
	setup_open(&s);
	s.origin = ORIGIN_ANTHROPIC;
	s.client = DIALECT_MESSAGES;
	assert_non_null(strstr(filtered(&s, script, 0), "sign 0.0 abc\n"));
	s.client = DIALECT_GEMINI;
	got = filtered(&s, script, 0);
	assert_non_null(strstr(got, "sign 0.0 " SIGNATURE_MARK));
	assert_null(strstr(got, "abc"));
	/* never a thought without anything for Messages; for others there is no need */
	assert_null(strstr(filtered(&s, "begin\nreasoning 0\n+ 0 r\nclose 0\n", 0), "sign"));
	s.client = DIALECT_MESSAGES;
	assert_non_null(strstr(
	    filtered(&s, "begin\nreasoning 0\n+ 0 r\nclose 0\n", 0), "sign 0.0 " SIGNATURE_MARK));
	/* a client that wants no reasoning gets none */
	s.shaped.no_reasoning = true;
	assert_string_equal(
	    filtered(&s, "begin\nreasoning 0\n+ 0 r\nsign 0 abc\nclose 0\ntext 1\n+ 1 x\n", 0),
	    "begin id=id1\nopen 0.0 text\ndelta 0.0 x\n");
	arena_free(s.arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(think_tags_become_reasoning),
	    cmocka_unit_test(implied_think_tags),
	    cmocka_unit_test(stop_sequences_cut),
	    cmocka_unit_test(names_come_back),
	    cmocka_unit_test(json_tool_is_text),
	    cmocka_unit_test(fences_go),
	    cmocka_unit_test(ends_are_repaired),
	    cmocka_unit_test(calls_without_arguments),
	    cmocka_unit_test(ids_fit_the_client),
	    cmocka_unit_test(signatures_of_others_travel_wrapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
