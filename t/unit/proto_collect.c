#include "t/unit/proto_events.h"

#include "proto/collect.h"

struct collected {
	struct arena *arena;
	struct collect *c;
	struct canon_response r;
	struct canon_error err;
};

static int
collected_open(struct collected *k, const char *script, size_t piece, size_t max)
{
	struct canon_sink sink;
	struct script run;
	int r;

	*k = (struct collected){.arena = arena_new(1 << 24)};
	k->c = collect_new(k->arena, max);
	assert_non_null(k->c);
	sink = (struct canon_sink){collect_take, k->c};
	run = (struct script){.arena = k->arena, .sink = &sink, .piece = piece};
	r = script_run(&run, script);
	return r != 0 ? r : collect_end(k->c, &k->r, &k->err);
}

static void
collected_close(struct collected *k)
{
	collect_free(k->c);
	arena_free(k->arena);
}

/* Collected, and played again: the same events, in one piece each. */
static void
expect(const char *script, const char *want)
{
	for (size_t piece = 0; piece < 3; piece++) {
		struct collected k;
		struct notes n = {.b = BUF_INIT(1 << 20)};
		const struct canon_sink sink = {notes_take, &n};

		assert_int_equal(collected_open(&k, script, piece, 1 << 20), 0);
		assert_int_equal(play(k.arena, &k.r, piece == 2, &sink), 0);
		assert_string_equal(buf_cstr(&n.b), want);
		buf_clear(&n.b);
		collected_close(&k);
	}
}

static void
whole_and_back(void **state)
{
	(void)state;
	expect("begin\nreasoning 0\ntext 1\n+ 0 why\n+ 1 yes\nsign 0 abc\ncite 1 http://x\nclose "
	       "0\nclose 1\n"
	       "call 2 a f\ncall 3 b g\n+ 2 {\"x\"\n+ 3 {}\n+ 2 :1}\nclose 2\nclose 3\nusage 3 "
	       "4\nfinish tool_calls\nend",
	    "begin id=id1\nopen 0.0 reasoning\ndelta 0.0 why\nsign 0.0 abc\nclose 0.0\nopen 0.1 "
	    "text\ndelta 0.1 yes\n"
	    "cite 0.1 url=http://x\nclose 0.1\nopen 0.2 call name=f id=a\ndelta 0.2 "
	    "{\"x\":1}\nclose 0.2\n"
	    "open 0.3 call name=g id=b\ndelta 0.3 {}\nclose 0.3\nusage in=1:3 out=1:4\nfinish 0 "
	    "tool_calls\nend\n");
	/* choices in order of their numbers, whatever came first */
	expect("begin\ntext 0@1\n+ 0@1 b\ntext 1@0\n+ 1@0 a\nusage 1 2\nfinish stop 1\nfinish "
	       "length 0\nend",
	    "begin id=id1\nopen 0.0 text\ndelta 0.0 a\nclose 0.0\nopen 1.1 text\ndelta 1.1 "
	    "b\nclose 1.1\n"
	    "usage in=1:1 out=1:2\nfinish 0 length\nfinish 1 stop\nend\n");
	/* an empty text is none; one with a signature is kept */
	expect(
	    "begin\ntext 0\nclose 0\nreasoning 1\nsign 1 s\nclose 1\nusage 1 2\nfinish stop\nend",
	    "begin id=id1\nopen 0.0 reasoning\nsign 0.0 s\nclose 0.0\nusage in=1:1 out=1:2\nfinish "
	    "0 stop\nend\n");
	/* a call that was cut is left out, a whole one before it is not */
	expect("begin\ncall 0 a f\n+ 0 {}\ncall 1 b g\n+ 1 {\"x\":\nusage 1 2\nfinish length\nend",
	    "begin id=id1\nopen 0.0 call name=f id=a\ndelta 0.0 {}\nclose 0.0\nusage in=1:1 "
	    "out=1:2\nfinish 0 length\nend\n");
	expect("begin\ncall 1 b g\n+ 1 {\"x\":\nusage 1 2\nfinish tool_calls\nend",
	    "begin id=id1\nopen 0.0 call name=g id=b\ndelta 0.0 {\"x\":\nclose 0.0\nusage in=1:1 "
	    "out=1:2\nfinish 0 tool_calls\nend\n");
}

static void
only_a_proved_end_counts(void **state)
{
	static const char *const scripts[] = {"begin\ntext 0\n+ 0 x\nclose 0\n",
	    "begin\ntext 0\n+ 0 x\nclose 0\nfinish stop", "begin\ntext 0\n+ 0 x\nclose 0\nend",
	    "begin", "", "end", "begin\ntext 0@0\n+ 0@0 x\ntext 1@1\n+ 1@1 y\nfinish stop 0\nend"};

	(void)state;
	for (size_t i = 0; i < NELEM(scripts); i++) {
		struct collected k;

		assert_int_equal(collected_open(&k, scripts[i], 0, 1 << 20), E_DENIED);
		assert_int_equal(k.err.class, ERROR_SERVER);
		assert_true(span_is(k.err.code, "upstream_stream_cut"));
		collected_close(&k);
	}
}

static void
a_failure_stays_one(void **state)
{
	struct collected k;

	(void)state;
	assert_int_equal(
	    collected_open(&k, "begin\ntext 0\n+ 0 x\nfail\nfinish stop\nend", 0, 1 << 20),
	    E_DENIED);
	assert_int_equal(k.err.class, ERROR_OVERLOADED);
	assert_true(span_is(k.err.message, "busy"));
	collected_close(&k);
}

static void
size_is_bounded(void **state)
{
	struct collected k;

	(void)state;
	assert_int_equal(
	    collected_open(&k, "begin\ntext 0\n+ 0 0123456789\ntext 1\n+ 1 0123456789\n", 0, 15),
	    E_TOO_LONG);
	collected_close(&k);
}

static void
logprobs_are_joined(void **state)
{
	struct collected k;

	(void)state;
	assert_int_equal(collected_open(&k,
			     "begin\ntext 0\n+ 0 ab\nlogprobs "
			     "{\"content\":[{\"token\":\"a\"}],\"refusal\":null}\n"
			     "logprobs {\"content\":[]}\nlogprobs {\"content\":[ "
			     "{\"token\":\"b\"}]}\nfinish stop\nend",
			     0, 1 << 20),
	    0);
	assert_true(span_is(k.r.choices->logprobs,
	    "{\"content\":[{\"token\":\"a\"},{\"token\":\"b\"}],\"refusal\":null}"));
	collected_close(&k);
}

static int
count(void *ctx, const struct canon_event *ev)
{
	size_t *n = ctx;

	if (ev->type != EVENT_DELTA)
		return 0;
	n[0]++;
	n[1] += ev->text.n;
	assert_true(ev->text.n <= 4096);
	assert_true(((unsigned char)ev->text.p[0] & 0xc0) != 0x80);
	return 0;
}

static void
slices_keep_characters(void **state)
{
	struct arena *a = arena_new(1 << 24);
	struct canon_choice *c = canon_choice_new(a, 0);
	struct canon_part *p = canon_part_new(a, PART_TEXT);
	struct canon_response r = {.choices = c};
	size_t n[2] = {0};
	const struct canon_sink sink = {count, n};
	char *text = arena_alloc(a, 10001);

	(void)state;
	text[0] = 'x';
	for (size_t i = 1; i < 10000; i += 3)
		memcpy(text + i, "\xe2\x82\xac", 3);
	p->text = (struct span){text, 10000};
	TAILQ_INSERT_TAIL(&c->parts, p, link);
	assert_int_equal(play(a, &r, true, &sink), 0);
	assert_int_equal(n[0], 3);
	assert_int_equal(n[1], 10000);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whole_and_back),
	    cmocka_unit_test(only_a_proved_end_counts),
	    cmocka_unit_test(a_failure_stays_one),
	    cmocka_unit_test(size_is_bounded),
	    cmocka_unit_test(logprobs_are_joined),
	    cmocka_unit_test(slices_keep_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
