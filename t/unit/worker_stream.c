#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "proto/profile.h"
#include "shared/arena.h"
#include "shared/buf.h"
#include "worker/stream.h"

#define CHUNK(more) "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]" more "}\n\n"
#define FINISH \
	"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]," \
	"\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n"
#define USAGE "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\n"
#define FILTER "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n"
#define DONE "data: [DONE]\n\n"

#define START \
	"event: message_start\ndata: " \
	"{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\"," \
	"\"role\":\"assistant\",\"model\":\"x\",\"content\":[],\"usage\":{\"input_tokens\":5," \
	"\"output_tokens\":1}}}\n\n"
#define PING "event: ping\ndata: {\"type\":\"ping\"}\n\n"
#define OPEN \
	"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0," \
	"\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
#define TEXT \
	"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0," \
	"\"delta\":{\"type\":\"text_delta\",\"text\":\"hello\"}}\n\n"
#define CLOSE "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"
#define DELTA \
	"event: message_delta\ndata: " \
	"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}," \
	"\"usage\":{\"output_tokens\":6}}\n\n"
#define STOP "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
#define OVERLOADED \
	"event: error\ndata: " \
	"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n"

static struct arena *arena;
static struct profile profile;
static struct buf got = {.max = 1u << 20};

static int
setup(void **state)
{
	(void)state;
	arena = arena_new(1u << 24);
	assert_non_null(arena);
	profile_init(&profile, DIALECT_MESSAGES);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_free(arena);
	buf_clear(&got);
	return 0;
}

/* What is let through, with the input in pieces of `step` bytes. */
static void
run(struct stream *s, enum dialect_id dialect, bool swallow, const char *sse, size_t step)
{
	const struct stream_setup q = {.arena = arena,
	    .max_event = 65536,
	    .dialect = dialect,
	    .profile = &profile,
	    .swallow = swallow};
	struct span out;
	size_t n = strlen(sse);

	buf_reset(&got);
	assert_int_equal(stream_open(s, &q), 0);
	for (size_t at = 0; at < n; at += step) {
		assert_int_equal(stream_take(s, sse + at, MIN(step, n - at), &out), 0);
		buf_add(&got, out.p, out.n);
		assert_true(got.len == 0 || got.data[got.len - 1] == '\n');
	}
	assert_int_equal(stream_end(s, &out), 0);
	buf_add(&got, out.p, out.n);
	assert_non_null(buf_cstr(&got));
}

static void
test_usage_chunk_is_swallowed(void **state)
{
	static const char in[] = FILTER CHUNK(",\"usage\":null") CHUNK("") FINISH USAGE DONE;
	static const char want[] = FILTER CHUNK(",\"usage\":null") CHUNK("") FINISH DONE;

	(void)state;
	for (size_t step = 1; step <= sizeof in; step++) {
		struct stream s;

		run(&s, DIALECT_CHAT, true, in, step);
		assert_string_equal(got.data, want);
		assert_true(stream_whole(&s));
		assert_int_equal(stream_state(&s)->usage.in_total, 5);
		assert_int_equal(stream_state(&s)->usage.out_total, 6);
		stream_close(&s);
		run(&s, DIALECT_CHAT, false, in, step);
		assert_string_equal(got.data, in);
		stream_close(&s);
	}
}

static void
test_messages_pass(void **state)
{
	static const char in[] = ": hi\n\n" START PING OPEN TEXT CLOSE DELTA STOP;

	(void)state;
	for (size_t step = 1; step <= sizeof in; step++) {
		struct stream s;

		run(&s, DIALECT_MESSAGES, false, in, step);
		assert_string_equal(got.data, in);
		assert_true(stream_whole(&s));
		assert_true(stream_state(&s)->ended);
		assert_int_equal(stream_state(&s)->usage.in_total, 5);
		assert_int_equal(stream_state(&s)->usage.out_total, 6);
		stream_close(&s);
	}
}

static void
test_messages_cut(void **state)
{
	struct stream s;

	(void)state;
	run(&s, DIALECT_MESSAGES, false, START OPEN TEXT, 7);
	assert_string_equal(got.data, START OPEN TEXT);
	assert_false(stream_whole(&s));
	assert_true(s.cut);
	stream_close(&s);
	run(&s, DIALECT_MESSAGES, false, START PING, 7); /* nothing was said: nothing is out */
	assert_int_equal(got.len, 0);
	assert_false(stream_whole(&s));
	assert_false(stream_failed(&s));
	stream_close(&s);
}

static void
test_messages_overloaded(void **state)
{
	struct stream s;

	(void)state;
	run(&s, DIALECT_MESSAGES, false, START OVERLOADED, 7);
	assert_int_equal(got.len, 0);
	assert_true(stream_failed(&s));
	assert_int_equal(stream_state(&s)->error.class, ERROR_OVERLOADED);
	assert_non_null(memmem(s.error.p, s.error.n, "busy", 4));
	stream_close(&s);
	run(&s, DIALECT_MESSAGES, false, START OPEN TEXT OVERLOADED, 7); /* too late: it passes */
	assert_string_equal(got.data, START OPEN TEXT OVERLOADED);
	assert_false(stream_failed(&s));
	assert_false(stream_whole(&s));
	assert_false(s.cut);
	stream_close(&s);
}

static void
test_begun_holds_nothing_back(void **state)
{
	const struct stream_setup q = {
	    .arena = arena, .max_event = 65536, .dialect = DIALECT_MESSAGES, .profile = &profile};
	struct stream s;
	struct span out;

	(void)state;
	assert_int_equal(stream_open(&s, &q), 0);
	assert_int_equal(stream_take(&s, START, sizeof START - 1, &out), 0);
	assert_int_equal(out.n, 0);
	stream_begin(&s);
	assert_int_equal(stream_take(&s, PING, sizeof PING - 1, &out), 0);
	assert_int_equal(out.n, sizeof START - 1 + sizeof PING - 1);
	assert_int_equal(stream_take(&s, OVERLOADED, sizeof OVERLOADED - 1, &out), 0);
	assert_int_equal(out.n, sizeof OVERLOADED - 1);
	assert_false(stream_failed(&s));
	stream_close(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_usage_chunk_is_swallowed),
	    cmocka_unit_test(test_messages_pass),
	    cmocka_unit_test(test_messages_cut),
	    cmocka_unit_test(test_messages_overloaded),
	    cmocka_unit_test(test_begun_holds_nothing_back),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
