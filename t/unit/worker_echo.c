#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/openai_chat.h"
#include "proto/scan.h"
#include "proto/sse.h"
#include "shared/arena.h"
#include "t/unit/worker_fixture.h"
#include "worker/echo.h"

static struct reply_head head;
static struct buf got = {.max = 1u << 20};
static struct echo *echo;
static unsigned pieces, pause_at;
static int ended; /* -1: not yet; else the failure */

static enum relay_verdict
on_data(void *ctx, const char *p, size_t n)
{
	(void)ctx;
	if (pause_at != 0 && pieces == pause_at) {
		pause_at = 0;
		return RELAY_PAUSE;
	}
	pieces++;
	buf_add(&got, p, n);
	return RELAY_GO;
}

static void
on_done(void *ctx, enum failure f)
{
	(void)ctx;
	echo = NULL;
	ended = (int)f;
}

static const struct relay_handler handler = {.data = on_data, .done = on_done};

static int
setup(void **state)
{
	(void)state;
	assert_non_null(worker.base = event_base_new());
	buf_reset(&got);
	pieces = pause_at = 0;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	event_base_free(worker.base);
	buf_clear(&got);
	return 0;
}

static void
begin(const char *body, bool streamed)
{
	struct echo_request q = {
	    .body = {body, strlen(body)}, .model = "m\"1", .streamed = streamed, .head = &head};

	assert_int_equal(scan_check(body, strlen(body), NULL), 0);
	buf_reset(&got);
	ended = -1;
	assert_non_null(echo = echo_start(&q, &handler, NULL));
	assert_int_equal(got.len, 0);
}

static const char *
run(const char *body, bool streamed)
{
	uint64_t until = clock_now_ns() + DEADLINE;

	begin(body, streamed);
	while (ended < 0) {
		assert_true(clock_now_ns() < until);
		fixture_turn();
	}
	return buf_cstr(&got);
}

/* The string at `path`, unescaped. */
static const char *
text_at(struct span json, const char *path)
{
	static char out[4096];
	ptrdiff_t n = scan_string(scan_path(json, path), out, sizeof out);

	assert_true(n >= 0);
	return out;
}

static struct span
span(const char *s)
{
	return (struct span){s, strlen(s)};
}

static void
test_whole(void **state)
{
	struct chat_usage u;
	const char *reply;

	(void)state;
	reply = run(
	    "{\"messages\":[{\"role\":\"user\",\"content\":\"no\"},{\"role\":\"user\",\"content\":"
	    "[{\"type\":\"text\",\"text\":\"two \\\"words\\\" "
	    "\"},{\"type\":\"text\",\"text\":\"gr\\u00fcn\"}]},"
	    "{\"role\":\"assistant\",\"content\":\"x\"}]}",
	    false);
	assert_int_equal(ended, FAIL_NONE);
	assert_int_equal(head.status, 200);
	assert_int_equal(scan_check(reply, strlen(reply), NULL), 0);
	assert_string_equal(text_at(span(reply), "object"), "chat.completion");
	assert_string_equal(text_at(span(reply), "model"), "m\"1");
	assert_string_equal(
	    text_at(span(reply), "choices[0].message.content"), "two \"words\" gr\xc3\xbcn");
	assert_string_equal(text_at(span(reply), "choices[0].finish_reason"), "stop");
	assert_true(chat_usage(span(reply), &u));
	assert_int_equal(u.in, 3);
	assert_int_equal(u.out, 3);
}

static void
test_cut(void **state)
{
	const char *reply;

	(void)state;
	reply = run(
	    "{\"max_tokens\":2,\"messages\":[{\"role\":\"user\",\"content\":\"a b c\"}]}", false);
	assert_string_equal(text_at(span(reply), "choices[0].message.content"), "a b ");
	assert_string_equal(text_at(span(reply), "choices[0].finish_reason"), "length");
}

/* Takes the stream apart: the text, and the state of it. */
static void
read_stream(const char *p, struct buf *content, struct chat_stream *st, unsigned *events)
{
	struct arena *a = arena_new(1u << 20);
	struct sse *sse = sse_new(a, 1u << 20);
	struct sse_event ev;

	*st = (struct chat_stream){0};
	*events = 0;
	assert_int_equal(sse_feed(sse, p, strlen(p)), 0);
	while (sse_next(sse, &ev) == SSE_EVENT) {
		struct span v = scan_path(ev.data, "choices[0].delta.content");

		chat_chunk(st, ev.data);
		if (v.p != NULL)
			buf_str(content, text_at(ev.data, "choices[0].delta.content"));
		++*events;
	}
	assert_int_equal(sse_rest(sse).n, 0);
	sse_free(sse);
	arena_free(a);
}

static void
test_stream(void **state)
{
	struct buf content = BUF_INIT(65536);
	struct chat_stream st;
	unsigned events;

	(void)state;
	read_stream(
	    run("{\"stream_options\":{\"include_usage\":true},\"messages\":[{\"role\":\"user\","
		"\"content\":\"one two  three\"}]}",
		true),
	    &content, &st, &events);
	assert_string_equal(buf_cstr(&content), "one two  three");
	assert_true(st.done && st.finished && st.has_usage);
	assert_int_equal(st.usage.out, 3);
	assert_int_equal(events, 1 + 3 + 1 + 1 + 1);
	assert_true(headers_media_type(head.content_type, "text/event-stream"));

	buf_reset(&content);
	pause_at = pieces + 2;
	begin("{\"messages\":[{\"role\":\"user\",\"content\":\"one two\"}]}", true);
	while (pause_at != 0)
		fixture_turn();
	for (int i = 0; i < 10; i++)
		fixture_turn();
	assert_int_equal(ended, -1);
	echo_resume(echo);
	while (ended < 0)
		fixture_turn();
	read_stream(buf_cstr(&got), &content, &st, &events);
	assert_string_equal(buf_cstr(&content), "one two");
	assert_true(st.done && !st.has_usage);
	buf_clear(&content);
}

#define TOOLS \
	"\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"first\"}}," \
	"{\"type\":\"function\",\"function\":{\"name\":\"wind\"}}]"

static void
test_tools(void **state)
{
	static const struct {
		const char *body, *name, *arguments; /* name NULL: no call */
	} table[] = {
	    {"{" TOOLS
	     ",\"messages\":[{\"role\":\"user\",\"content\":\"call wind {\\\"a\\\": 1}\"}]}",
		"wind", "{\"a\": 1}"},
	    {"{" TOOLS ",\"messages\":[{\"role\":\"user\",\"content\":\"call wind now\"}]}", "wind",
		"{\"input\":\"call wind now\"}"},
	    {"{" TOOLS
	     ",\"tool_choice\":\"required\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
		"first", "{\"input\":\"x\"}"},
	    {"{" TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"wind\"}},"
	     "\"messages\":"
	     "[{\"role\":\"user\",\"content\":\"x\"}]}",
		"wind", "{\"input\":\"x\"}"},
	    {"{" TOOLS ",\"tool_choice\":\"none\",\"messages\":[{\"role\":\"user\",\"content\":"
	     "\"call wind\"}]}",
		NULL, NULL},
	    {"{" TOOLS ",\"messages\":[{\"role\":\"user\",\"content\":\"call other\"}]}", NULL,
		NULL},
	    {"{\"messages\":[{\"role\":\"user\",\"content\":\"call wind\"}]}", NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		const char *reply = run(table[i].body, false);
		struct span call =
		    scan_path(span(reply), "choices[0].message.tool_calls[0].function");

		assert_int_equal(call.p != NULL, table[i].name != NULL);
		if (call.p == NULL)
			continue;
		assert_string_equal(text_at(call, "name"), table[i].name);
		assert_string_equal(text_at(call, "arguments"), table[i].arguments);
		assert_string_equal(text_at(span(reply), "choices[0].finish_reason"), "tool_calls");
		assert_non_null(
		    strstr(run(table[i].body, true), "\"finish_reason\":\"tool_calls\""));
	}
}

static void
test_orders(void **state)
{
	uint64_t from;
	const char *reply;

	(void)state;
	reply = run("{\"messages\":[{\"role\":\"user\",\"content\":\"error 429 not now\"}]}", true);
	assert_int_equal(head.status, 429);
	assert_string_equal(headers_get(&head, "retry-after").p, "1");
	assert_string_equal(text_at(span(reply), "error.message"), "not now");
	run("{\"messages\":[{\"role\":\"user\",\"content\":\"error 700\"}]}", false);
	assert_int_equal(head.status, 200);
	from = clock_now_ns();
	run("{\"messages\":[{\"role\":\"user\",\"content\":\"slow 30 x\"}]}", true);
	assert_true(clock_now_ns() - from >= 60 * NS_PER_MS);
}

static void
test_cancel(void **state)
{
	(void)state;
	begin("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", true);
	echo_cancel(echo);
	for (int i = 0; i < 5; i++)
		fixture_turn();
	assert_int_equal(ended, -1);
	assert_int_equal(got.len, 0);
}

/* A list of tools as long as a body may be is walked once. */
static void
test_many_tools(void **state)
{
	struct buf b = BUF_INIT(64u << 20);
	uint64_t start;

	(void)state;
	buf_str(&b,
	    "{\"messages\":[{\"role\":\"user\",\"content\":\"call last x\"}],\"tools\":[{\"x\":[");
	for (unsigned i = 0; i < 1000000; i++)
		buf_str(&b, "{},");
	buf_str(&b, "{}],\"function\":{\"name\":\"big\"}}");
	for (unsigned i = 0; i < 2000; i++)
		buf_addf(&b, ",{\"function\":{\"name\":\"t%u\"}}", i);
	buf_str(&b, ",{\"function\":{\"name\":\"last\"}}]}");
	assert_true(buf_ok(&b));
	buf_add(&b, "", 1);
	start = clock_now_ns();
	assert_non_null(strstr(run(b.data, true), "\"name\":\"last\""));
	assert_true(clock_now_ns() - start < 2 * NS_PER_SEC);
	buf_clear(&b);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_cut, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_tools, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_many_tools, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_orders, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
