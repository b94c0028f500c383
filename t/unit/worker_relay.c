#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/dialect_id.h"
#include "shared/arena.h"
#include "shared/err.h"
#include "t/unit/worker_upstream.h"
#include "worker/headers.h"
#include "worker/refusal.h"
#include "worker/relay.h"
#include "worker/stream.h"

static struct arena *arena;
static struct snapshot *snap;
static struct reply_head head;
static struct relay *relay;
static struct buf got = {.max = 1u << 24};
static enum relay_verdict verdict;
static bool cancel_inside;
static unsigned pieces;
static int ended; /* -1: not yet; else the failure */

static int
setup(void **state)
{
	struct snapshot_builder *b = snapshot_builder_new(1);
	struct snap_provider p = {.local = 1};
	struct snap_conn c = {.enabled = 1};
	char url[64];
	int fd;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	worker = (struct worker){0};
	assert_non_null(worker.base = event_base_new());
	assert_non_null(worker.curl = curlio_new(worker.base, 8));
	assert_non_null(arena = arena_new(1u << 24));
	up_open();
	up_serve();
	snapshot_settings(b)->connect_timeout_ms = 5000;
	p.id = fixture_str(b, "acme");
	assert_int_equal(snapshot_add_provider(b, &p), 0);
	snprintf(url, sizeof url, "http://127.0.0.1:%u/chat", up.port);
	c.id = c.name = fixture_str(b, "c");
	c.url[DIALECT_CHAT] = fixture_str(b, url);
	c.dialect = DIALECT_CHAT;
	assert_int_equal(snapshot_add_conn(b, &c), 0);
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(snapshot_open(fd, &snap), 0);
	close(fd);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	relay_shutdown();
	curlio_free(worker.curl);
	up_close();
	event_base_free(worker.base);
	snapshot_put(snap);
	arena_free(arena);
	buf_clear(&got);
	return 0;
}

static enum relay_verdict
on_data(void *ctx, const char *p, size_t n)
{
	enum relay_verdict v = verdict;

	(void)ctx;
	pieces++;
	if (cancel_inside) {
		relay_cancel(relay);
		/* What the relay pointed at goes with its owner. */
		arena_free(arena);
		arena = arena_new(1u << 24);
		snapshot_put(snap);
		snap = NULL;
		return RELAY_GO;
	}
	if (v == RELAY_GO)
		buf_add(&got, p, n);
	return v;
}

static void
on_done(void *ctx, enum failure f)
{
	(void)ctx;
	relay = NULL;
	ended = (int)f;
}

static const struct relay_handler handler = {.data = on_data, .done = on_done};

static void
begin(const char *a, const char *b, const char *c)
{
	struct relay_request q = {.arena = arena,
	    .snap = snap,
	    .conn = snapshot_conn(snap, 0),
	    .url = snapshot_cstr(snap, snapshot_conn(snap, 0)->url[DIALECT_CHAT]),
	    .body = {{a, strlen(a)}, {b, strlen(b)}, {c, strlen(c)}},
	    .head = &head};

	buf_reset(&got);
	verdict = RELAY_GO;
	ended = -1;
	pieces = 0;
	assert_non_null(relay = relay_start(&q, &handler, NULL));
}

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static const struct up_answer ok = {OK, 0, UP_KEEP};

static void
test_reuse(void **state)
{
	(void)state;
	up_play(&ok, 1);
	for (int i = 0; i < 3; i++) {
		begin("one", "", "two");
		UNTIL(ended >= 0);
		assert_int_equal(ended, FAIL_NONE);
		assert_string_equal(fixture_body(up.request.data), "onetwo");
		assert_string_equal(buf_cstr(&got), "hello");
		assert_int_equal(head.status, 200);
	}
	assert_int_equal(up.accepted, 1);
}

/* A kept connection that the upstream closes at the next request: sent again, whole, on a new one.
 */
static void
test_kept_but_closed(void **state)
{
	static const struct up_answer closing[] = {
	    {OK, 0, UP_KEEP}, {NULL, 0, UP_CLOSE}, {OK, 0, UP_KEEP}};
	struct buf large = BUF_INIT(1u << 20);

	(void)state;
	for (int i = 0; i < 40000; i++)
		buf_addf(&large, "%06d ", i);
	up_play(closing, 3);
	begin("a", "b", "c");
	UNTIL(ended >= 0);
	begin("<", buf_cstr(&large), ">");
	UNTIL(ended >= 0);
	assert_int_equal(ended, FAIL_NONE);
	assert_int_equal(up.requests, 3);
	assert_int_equal(strlen(fixture_body(up.request.data)), large.len + 2);
	assert_memory_equal(fixture_body(up.request.data) + 1, large.data, large.len);
	buf_clear(&large);
}

static void
test_verdicts(void **state)
{
	(void)state;
	up_play(&ok, 1);
	begin("x", "", "");
	verdict = RELAY_PAUSE;
	UNTIL(pieces == 1);
	for (int i = 0; i < 5; i++)
		fixture_turn();
	assert_int_equal(pieces, 1);
	assert_int_equal(ended, -1);
	verdict = RELAY_GO;
	relay_resume(relay);
	UNTIL(ended >= 0);
	assert_string_equal(buf_cstr(&got), "hello");
	assert_int_equal(ended, FAIL_NONE);

	begin("x", "", "");
	verdict = RELAY_STOP;
	UNTIL(ended >= 0);
	assert_int_equal(ended, FAIL_NONE);
	assert_int_equal(pieces, 1);
}

static void
test_cancel(void **state)
{
	static const struct up_answer part = {
	    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", 0, UP_KEEP};

	(void)state;
	up_play(&part, 1);
	begin("x", "", "");
	UNTIL(pieces == 1);
	relay_cancel(relay);
	UNTIL(up.closed == 1);
	assert_int_equal(ended, -1);

	begin("x", "", "");
	cancel_inside = true;
	UNTIL(up.closed == 2);
	cancel_inside = false;
	for (int i = 0; i < 5; i++)
		fixture_turn();
	assert_int_equal(pieces, 1);
	assert_int_equal(ended, -1);
}

/* ---- heads ---- */

static void
take(const char *line)
{
	assert_int_equal(headers_take_line(arena, &head, line, strlen(line)), 0);
}

static void
test_heads(void **state)
{
	(void)state;
	take("HTTP/1.1 100 Continue\r\n");
	take("Retry-After: 1\r\n");
	take("\r\n");
	take("HTTP/2 200 \r\n");
	take("content-type:  application/json; charset=utf-8 \r\n");
	take("X-RateLimit-Reset: 5\r\n");
	take("x-ratelimit-: none\r\n");
	take("Set-Cookie: a\r\n");
	take("Content-Length: 1234\r\n");
	take("openai-version: a\x01z\r\n");
	assert_int_equal(head.status, 200);
	assert_int_equal(head.fields, 1);
	assert_string_equal(headers_get(&head, "x-ratelimit-reset").p, "5");
	assert_int_equal(head.length, 1234);
	assert_true(headers_media_type(head.content_type, "application/json"));
	assert_false(headers_media_type(head.content_type, "application/js"));
	for (int i = 0; i < 3 * HEADERS_KEPT; i++)
		take("x-ratelimit-more: 1\r\n");
	assert_int_equal(head.fields, HEADERS_KEPT);
}

#define NOW UINT64_C(1700000000)

static void
test_hints(void **state)
{
	static const struct {
		const char *line, *body;
		uint64_t ms;
	} table[] = {
	    {"Retry-After: 7\r\n", "", 7000},
	    {"Retry-After: 0.25\r\n", "", 250},
	    {"Retry-After: 1700000009\r\n", "", 9000},
	    {"Retry-After: Tue, 14 Nov 2023 22:13:25 GMT\r\n", "", 5000},
	    {"Retry-After: Tue, 14 Nov 2023 22:13:00 GMT\r\n", "", 0},
	    {"Retry-After: soon\r\n", "", 0},
	    {"Retry-After: -4\r\n", "", 0},
	    {"Retry-After: 99999999\r\n", "", HEADERS_HINT_MAX},
	    {"Retry-After: nan\r\n", "", 0},
	    {"retry-after-ms: 1500\r\n", "", 1500},
	    {"x-ratelimit-reset: 1700000030\r\n", "", 30000},
	    {"x-ratelimit-reset: 1700000030000\r\n", "", 30000},
	    {"X: y\r\n", "{\"error\":{\"message\":\"Please try again in 1m2.5s.\"}}", 62500},
	    {"X: y\r\n", "quota will reset after 1h2m3s", 3723000},
	    {"X: y\r\n", "try again in 250ms", 250},
	    {"X: y\r\n", "Retry after 20 seconds", 20000},
	    {"X: y\r\n", "try again in a while", 0},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		take("HTTP/1.1 429 X\r\n");
		take(table[i].line);
		assert_int_equal(refusal_hint_ms(&head,
				     (struct span){table[i].body, strlen(table[i].body)}, NOW),
		    table[i].ms);
	}
}

/* The limit that is used up counts, and only that. */
static void
test_hints_of_limits(void **state)
{
	static const struct {
		const char *left, *reset;
		uint64_t ms;
	} table[] = {
	    {"x-ratelimit-remaining-requests: 0\r\n", "x-ratelimit-reset-requests: 6m0s\r\n",
		360000},
	    {"x-ratelimit-remaining-tokens: 0\r\n", "x-ratelimit-reset-tokens: 120ms\r\n", 120},
	    {"x-ratelimit-remaining-tokens: 0\r\n", "x-ratelimit-reset-tokens: 7\r\n", 7000},
	    {"x-ratelimit-remaining-tokens: 10\r\n", "x-ratelimit-reset-tokens: 7\r\n", 0},
	    {"x-ratelimit-remaining-tokens: 0\r\n", "x-ratelimit-reset-requests: 7\r\n", 0},
	    {"anthropic-ratelimit-requests-remaining: 0\r\n",
		"anthropic-ratelimit-requests-reset: 2023-11-14T22:13:45Z\r\n", 25000},
	    {"anthropic-ratelimit-output-tokens-remaining: 0\r\n",
		"anthropic-ratelimit-output-tokens-reset: 2023-11-14T22:13:00Z\r\n", 0},
	    {"anthropic-ratelimit-tokens-remaining: 0\r\n",
		"anthropic-ratelimit-tokens-reset: tomorrow\r\n", 0},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		take("HTTP/1.1 429 X\r\n");
		take(table[i].left);
		take(table[i].reset);
		assert_int_equal(refusal_hint_ms(&head, (struct span){NULL, 0}, NOW), table[i].ms);
	}
}

static void
test_refusal_classes(void **state)
{
	static const struct {
		int status;
		enum failure f;
	} table[] = {
	    {400, FAIL_STATUS_4XX},
	    {401, FAIL_STATUS_AUTH},
	    {402, FAIL_STATUS_AUTH},
	    {403, FAIL_STATUS_AUTH},
	    {404, FAIL_STATUS_4XX},
	    {408, FAIL_STATUS_5XX},
	    {422, FAIL_STATUS_4XX},
	    {429, FAIL_STATUS_429},
	    {500, FAIL_STATUS_5XX},
	    {529, FAIL_STATUS_5XX},
	};
	static const struct {
		const char *body;
		int status;
	} told[] = {
	    {"{\"error\":{\"code\":429}}", 429},
	    {"{\"error\":{\"code\":\"x\",\"status\":503}}", 503},
	    {"{\"error\":\"text\"}", 502},
	    {"{\"error\":null,\"choices\":[]}", 0},
	    {"{\"error\":{\"code\":200}}", 502},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++)
		assert_int_equal(refusal_class(table[i].status), table[i].f);
	for (size_t i = 0; i < NELEM(told); i++)
		assert_int_equal(refusal_told((struct span){told[i].body, strlen(told[i].body)}),
		    told[i].status);
}

/* ---- streams, wherever they are cut ---- */

#define ROLE "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n"
#define WORD "data: {\"choices\":[{\"delta\":{\"content\":\"w\"}}]}\n\n"
#define END \
	"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\n\n"

static void
test_stream_cuts(void **state)
{
	static const char sse[] = ": ping\n\n" ROLE WORD "id: 3\n" WORD END;
	size_t n = strlen(sse);

	(void)state;
	for (size_t step = 1; step <= n; step++) {
		struct stream s;
		struct span out;

		buf_reset(&got);
		assert_int_equal(stream_open(&s, &(struct stream_setup){.arena = arena,
						     .max_event = 4096,
						     .dialect = DIALECT_CHAT}),
		    0);
		for (size_t at = 0; at < n; at += step) {
			assert_int_equal(stream_take(&s, sse + at, MIN(step, n - at), &out), 0);
			assert_true(out.n == 0 || s.st.useful);
			buf_add(&got, out.p, out.n);
			/* What is out ends where an event ends. */
			assert_true(got.len == 0 || got.data[got.len - 1] == '\n');
		}
		assert_int_equal(stream_end(&s, &out), 0);
		buf_add(&got, out.p, out.n);
		assert_string_equal(buf_cstr(&got), sse);
		assert_true(stream_whole(&s));
		stream_close(&s);
	}
}

static void
test_stream_too_long(void **state)
{
	struct stream s;
	struct span out;
	char junk[512];
	int r = 0;

	(void)state;
	memset(junk, 'x', sizeof junk);
	assert_int_equal(
	    stream_open(&s,
		&(struct stream_setup){.arena = arena, .max_event = 4096, .dialect = DIALECT_CHAT}),
	    0);
	for (int i = 0; i < 20 && r == 0; i++)
		r = stream_take(&s, junk, sizeof junk, &out);
	assert_int_equal(r, E_TOO_LONG);
	assert_int_equal(out.n, 0);
	stream_close(&s);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_reuse, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_kept_but_closed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_verdicts, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_heads, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_hints, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_hints_of_limits, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_refusal_classes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_stream_cuts, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_stream_too_long, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
