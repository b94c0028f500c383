#include "t/unit/proto_events.h"

#include "proto/framing.h"
#include "proto/sniff.h"

static struct span
slurp(struct arena *a, const char *path)
{
	FILE *f = fopen(path, "rb");
	char *text = arena_alloc(a, 1 << 16);
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, 1 << 16, f);
	fclose(f);
	return (struct span){text, n};
}

static struct sniff *
sniffed(struct arena *a, enum dialect_id dialect, struct span stream)
{
	struct framing_reader *r = framing_new(a, FRAMING_SSE, 1 << 20);
	struct profile p;
	struct sniff *s;
	struct frame f;

	profile_init(&p, dialect);
	s = sniff_new(a, dialect, &p);
	assert_non_null(s);
	assert_int_equal(framing_feed(r, stream.p, stream.n), 0);
	while (framing_next(r, &f) == 1)
		assert_int_equal(sniff_frame(s, &f), 0);
	assert_int_equal(sniff_end(s), 0);
	framing_free(r);
	return s;
}

static void
a_stream_is_read_along(void **state)
{
	struct arena *a = arena_new(1 << 24);
	struct span all = slurp(a, "t/data/translate/messages.stream");
	struct sniff *s = sniffed(a, DIALECT_MESSAGES, all);
	const struct translate_state *st = sniff_state(s);

	(void)state;
	assert_true(st->useful && st->finished && st->ended);
	assert_false(st->failed);
	assert_int_equal(st->finish.reason, FINISH_TOOL_CALLS);
	assert_true(span_is(st->finish.raw, "tool_use"));
	assert_int_equal(st->usage.in_total, 80);
	assert_int_equal(st->usage.in_cached, 20);
	assert_int_equal(st->usage.in_cache_write, 10);
	assert_int_equal(st->usage.out_total, 44);
	assert_true(st->text_bytes > 40);
	sniff_free(s);
	arena_free(a);
}

static void
a_cut_and_an_error_are_failures(void **state)
{
	struct arena *a = arena_new(1 << 24);
	struct span all = slurp(a, "t/data/translate/messages.stream");
	const char *cut = memmem(all.p, all.n, "event: message_delta", 20);
	struct sniff *s = sniffed(a, DIALECT_MESSAGES, (struct span){all.p, (size_t)(cut - all.p)});

	(void)state;
	assert_true(sniff_state(s)->failed && !sniff_state(s)->ended);
	assert_true(span_is(sniff_state(s)->error.code, "upstream_stream_cut"));
	assert_int_equal(sniff_state(s)->usage.in_total, 80);
	sniff_free(s);
	s = sniffed(a, DIALECT_MESSAGES,
	    span_of("event: error\ndata: "
		    "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
		    "\"m\"}}\n\n"));
	assert_true(sniff_state(s)->failed && !sniff_state(s)->useful);
	assert_int_equal(sniff_state(s)->error.class, ERROR_OVERLOADED);
	sniff_free(s);
	arena_free(a);
}

static void
a_whole_is_read(void **state)
{
	struct arena *a = arena_new(1 << 24);
	struct translate_state st;

	(void)state;
	assert_true(
	    sniff_whole(a, DIALECT_MESSAGES, slurp(a, "t/data/translate/messages.whole"), &st));
	assert_true(st.useful && st.finished && st.ended && !st.failed);
	assert_int_equal(st.usage.out_total, 4);
	assert_int_equal(st.text_bytes, 9);
	assert_true(sniff_whole(a, DIALECT_MESSAGES,
	    span_of(
		"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}"),
	    &st));
	assert_true(st.failed && !st.ended);
	assert_int_equal(st.error.class, ERROR_OVERLOADED);
	assert_false(sniff_whole(a, DIALECT_MESSAGES, span_of("{"), &st));
	assert_false(st.failed || st.ended);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_stream_is_read_along),
	    cmocka_unit_test(a_cut_and_an_error_are_failures),
	    cmocka_unit_test(a_whole_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
