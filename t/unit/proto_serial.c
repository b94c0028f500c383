#include "t/unit/proto_events.h"

#include "proto/serial.h"

static char *
serialised(struct arena *a, const char *script, size_t piece, size_t max, int want)
{
	struct notes n = {.b = BUF_INIT(1 << 24)};
	const struct canon_sink sink = {notes_take, &n};
	struct serial *s = serial_new(a, &sink, max);
	const struct canon_sink head = {serial_take, s};
	struct script run = {.arena = a, .sink = &head, .piece = piece};
	char *out;

	assert_non_null(s);
	assert_int_equal(script_run(&run, script), want);
	serial_free(s);
	out = arena_strndup(a, n.b.len > 0 ? n.b.data : "", n.b.len);
	buf_clear(&n.b);
	return out;
}

static void
expect(const char *script, const char *want)
{
	struct arena *a = arena_new(1 << 24);

	assert_string_equal(serialised(a, script, 0, 1 << 20, 0), want);
	assert_string_equal(serialised(a, script, 1, 1 << 20, 0), want);
	arena_free(a);
}

static void
text_makes_room(void **state)
{
	(void)state;
	expect("begin\nreasoning 0\n+ 0 r\ntext 1\n+ 1 x\ncall 2 a f\n+ 2 {}\nclose 0\nclose "
	       "1\nclose 2\nfinish tool_calls\nend",
	    "begin id=id1\nopen 0.0 reasoning\ndelta 0.0 r\nclose 0.0\nopen 0.1 text\ndelta 0.1 "
	    "x\nclose 0.1\n"
	    "open 0.2 call name=f id=a\ndelta 0.2 {}\nclose 0.2\nfinish 0 tool_calls\nend\n");
}

static void
a_call_waits_for_the_one_before(void **state)
{
	(void)state;
	/* the first is not whole when the second comes */
	expect("begin\ncall 0 a f\n+ 0 {\"x\":\ncall 1 b g\n+ 1 {\"y\":\n+ 0 \"}\"\n+ 1 2}\n+ 0 "
	       "}\n+ 1  \nclose 0\nclose 1\nfinish tool_calls\nend",
	    "begin id=id1\nopen 0.0 call name=f id=a\ndelta 0.0 {\"x\":\"}\"}\nclose 0.0\n"
	    "open 0.1 call name=g id=b\ndelta 0.1 {\"y\":2} \nclose 0.1\nfinish 0 "
	    "tool_calls\nend\n");
	/* it is whole: the second is live at once */
	expect("begin\ncall 0 a f\n+ 0 {\"x\":[1]}\ncall 1 b g\n+ 1 {",
	    "begin id=id1\nopen 0.0 call name=f id=a\ndelta 0.0 {\"x\":[1]}\nclose 0.0\nopen 0.1 "
	    "call name=g id=b\ndelta 0.1 {\n");
	/* free-form text has no end of its own */
	expect("begin\ncustom 0 a f\n+ 0 {}\ncall 1 b g\n+ 1 {}\n+ 0 {}\nclose 0\nclose 1\nend",
	    "begin id=id1\nopen 0.0 call name=f id=a custom\ndelta 0.0 {}{}\nclose 0.0\nopen 0.1 "
	    "call name=g id=b\ndelta 0.1 {}\nclose 0.1\nend\n");
	/* never whole: at the end all the same */
	expect("begin\ncall 0 a f\n+ 0 {\ncall 1 b g\n+ 1 {}\ntext 2\n+ 2 t\nfinish length\nend",
	    "begin id=id1\nopen 0.0 call name=f id=a\ndelta 0.0 {\nclose 0.0\nopen 0.1 call name=g "
	    "id=b\ndelta 0.1 {}\nclose 0.1\n"
	    "open 0.2 text\ndelta 0.2 t\nclose 0.2\nfinish 0 length\nend\n");
}

static void
what_comes_late(void **state)
{
	(void)state;
	/* a signature of reasoning that is closed: a new part with it */
	expect("begin\nreasoning 0\n+ 0 r\ntext 1\n+ 1 x\nsign 0 abc\nclose 0\nclose 1\nend",
	    "begin id=id1\nopen 0.0 reasoning\ndelta 0.0 r\nclose 0.0\nopen 0.1 text\ndelta 0.1 "
	    "x\nclose 0.1\n"
	    "open 0.2 reasoning\nsign 0.2 abc\nclose 0.2\nend\n");
	/* a text that goes on */
	expect("begin\ntext 0\n+ 0 a\ncall 1 i f\n+ 1 {\n+ 0 b\n+ 1 }\nclose 0\nclose 1\nend",
	    "begin id=id1\nopen 0.0 text\ndelta 0.0 a\nclose 0.0\nopen 0.1 call name=f id=i\ndelta "
	    "0.1 {}\nclose 0.1\n"
	    "open 0.2 text\ndelta 0.2 b\nclose 0.2\nend\n");
	/* arguments behind a call that was whole */
	expect("begin\ncall 0 i f\n+ 0 {}\ncall 1 j g\n+ 0 {",
	    "begin id=id1\nopen 0.0 call name=f id=i\ndelta 0.0 {}\nclose 0.0\nopen 0.1 call "
	    "name=g id=j\n"
	    "fail 502 code=upstream_malformed\n");
	/* nothing behind that */
	expect("begin\ncall 0 i f\n+ 0 {}\ncall 1 j g\n+ 0 {\n+ 1 {}\ntext 2\n+ 2 x\nclose "
	       "2\nfinish stop\nend",
	    "begin id=id1\nopen 0.0 call name=f id=i\ndelta 0.0 {}\nclose 0.0\nopen 0.1 call "
	    "name=g id=j\n"
	    "fail 502 code=upstream_malformed\n");
}

static void
what_waits_is_bounded(void **state)
{
	struct arena *a = arena_new(1 << 24);

	(void)state;
	serialised(a,
	    "begin\ncall 0 a f\n+ 0 {\ncall 1 b g\n+ 1 0123456789012345678901234567890123456789", 1,
	    1024, E_TOO_LONG);
	arena_free(a);
}

/* Calls whose fragments are mixed in any order: each block has its own, whole and in order. */
static void
interleaved_calls(void **state)
{
	static const char *const args[] = {
	    "{\"a\":\"}{\"}", "{\"b\":[1,{\"c\":2}]}", "{}", "{\"d\":\"\\\"}\"}", "{\"e\":null}"};
	uint32_t seed = 7;

	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		struct arena *a = arena_new(1 << 24);
		struct notes n = {.b = BUF_INIT(1 << 20)}, want = {.b = BUF_INIT(1 << 20)};
		const struct canon_sink sink = {notes_take, &n};
		struct serial *s = serial_new(a, &sink, 1 << 20);
		unsigned calls = 1 + round % 5, left = 0;
		size_t at[5] = {0};
		const struct canon_finish finish = {.reason = FINISH_TOOL_CALLS};
		struct canon_event ev = {.type = EVENT_FINISH, .finish = &finish};

		for (unsigned i = 0; i < calls; i++) {
			struct canon_part *meta = canon_part_new(a, PART_TOOL_CALL);
			ev = (struct canon_event){.type = EVENT_OPEN, .part = i, .meta = meta};
			assert_int_equal(serial_take(s, &ev), 0);
			left += (unsigned)strlen(args[i]);
			buf_addf(&want.b, "open 0.%u call\ndelta 0.%u %s\nclose 0.%u\n", i, i,
			    args[i], i);
		}
		while (left > 0) {
			unsigned i;

			seed = seed * 1103515245u + 12345u;
			i = (seed >> 16) % calls;
			if (at[i] == strlen(args[i]))
				continue;
			ev = (struct canon_event){
			    .type = EVENT_DELTA, .part = i, .text = {args[i] + at[i], 1}};
			assert_int_equal(serial_take(s, &ev), 0);
			at[i]++;
			left--;
		}
		ev = (struct canon_event){.type = EVENT_FINISH, .finish = &finish};
		assert_int_equal(serial_take(s, &ev), 0);
		buf_str(&want.b, "finish 0 tool_calls\n");
		assert_string_equal(buf_cstr(&n.b), buf_cstr(&want.b));
		serial_free(s);
		buf_clear(&n.b);
		buf_clear(&want.b);
		arena_free(a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_makes_room),
	    cmocka_unit_test(a_call_waits_for_the_one_before),
	    cmocka_unit_test(what_comes_late),
	    cmocka_unit_test(what_waits_is_bounded),
	    cmocka_unit_test(interleaved_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
