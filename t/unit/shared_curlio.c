#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/clock.h"
#include "shared/curlio.h"

#define BIG (4u << 20)
#define DEADLINE_MS 10000

/* ---- an upstream in the same loop ------------------------------------------------------- */

/*
 *   /ok     200, five bytes        /bye   the same, and the connection is closed
 *   /drop   200, five bytes; the connection, announced as kept, is closed a moment later
 *   /mute   no answer              /open  the head and five bytes of a hundred, then nothing
 *   /big    200, BIG bytes
 */
static struct event_base *base;
static struct event *tick;
static struct evconnlistener *listener;
static int port;
static unsigned accepted, served, lost;
static uint64_t lost_ns;

static void
upstream_gone(struct bufferevent *bev, short what, void *arg)
{
	(void)what;
	(void)arg;
	lost++;
	lost_ns = clock_now_ns();
	bufferevent_free(bev);
}

static void
upstream_flushed(struct bufferevent *bev, void *arg)
{
	(void)arg;
	bufferevent_free(bev);
}

static void
answer(struct bufferevent *bev, const char *path)
{
	static char big[BIG];
	struct evbuffer *out = bufferevent_get_output(bev);
	bool bye = strcmp(path, "/bye") == 0;

	served++;
	if (strcmp(path, "/mute") == 0)
		return;
	if (strcmp(path, "/open") == 0) {
		evbuffer_add_printf(out, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
		return;
	}
	if (strcmp(path, "/big") == 0) {
		memset(big, 'b', sizeof big);
		evbuffer_add_printf(out, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", BIG);
		evbuffer_add(out, big, sizeof big);
		return;
	}
	evbuffer_add_printf(out, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n%s\r\nhello",
	    bye ? "Connection: close\r\n" : "");
	if (bye || strcmp(path, "/drop") == 0)
		bufferevent_setcb(bev, NULL, upstream_flushed, upstream_gone, NULL);
}

static void
upstream_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	char path[64];

	(void)arg;
	for (;;) {
		struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
		char head[4096];
		int n;

		if (end.pos < 0)
			return;
		n = evbuffer_remove(in, head, MIN((size_t)end.pos + 4, sizeof head - 1));
		head[n] = '\0';
		assert_int_equal(sscanf(head, "GET %63s", path), 1);
		answer(bev, path);
	}
}

static void
upstream_accept(
    struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct bufferevent *bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)l;
	(void)sa;
	(void)len;
	(void)arg;
	accepted++;
	bufferevent_setcb(bev, upstream_read, NULL, upstream_gone, NULL);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/* ---- a transfer ------------------------------------------------------------------------- */

struct transfer {
	CURL *easy;
	struct curlio_job *job;
	CURLcode code;
	unsigned done, pauses;
	size_t got;
	bool pause_once, refuse_more;
	struct transfer *then;   /* started from `done` */
	struct transfer *cancel; /* cancelled from `done` */
	struct transfer *inside; /* started from the first call of `on_body` */
	struct transfer *resume; /* unpaused from the first call of `on_body` */
	const char *path;
};

static struct curlio *io;
static bool starting;

static void transfer_start(struct transfer *t, const char *path);

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	(void)p;
	if (t->refuse_more && t->pauses > 0)
		return 0;
	if (t->pause_once && t->pauses == 0) {
		t->pauses++;
		return CURL_WRITEFUNC_PAUSE;
	}
	if (t->got == 0 && t->inside != NULL)
		transfer_start(t->inside, t->inside->path);
	if (t->got == 0 && t->resume != NULL)
		curlio_unpause(t->resume->job);
	t->got += size * n;
	return size * n;
}

static void
on_done(void *ctx, CURL *easy, CURLcode code)
{
	struct transfer *t = ctx;

	assert_false(starting);
	assert_ptr_equal(easy, t->easy);
	t->done++;
	t->code = code;
	t->job = NULL;
	if (t->cancel != NULL && t->cancel->job != NULL) {
		curlio_cancel(t->cancel->job);
		t->cancel->job = NULL;
	}
	if (t->then != NULL)
		transfer_start(t->then, t->then->path);
}

static void
transfer_start(struct transfer *t, const char *path)
{
	char url[128];
	bool before = starting;

	if (t->easy == NULL)
		t->easy = curl_easy_init();
	snprintf(url, sizeof url, "http://127.0.0.1:%d%s", port, path);
	curl_easy_setopt(t->easy, CURLOPT_URL, url);
	curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(t->easy, CURLOPT_PROXY, "");
	starting = true;
	t->job = curlio_start(io, t->easy, on_done, t);
	starting = before;
	assert_non_null(t->job);
}

/* Turns the loop until *count is at least `n`. */
static void
wait_for(const unsigned *count, unsigned n)
{
	uint64_t deadline = clock_now_ns() + DEADLINE_MS * NS_PER_MS;

	while (*count < n) {
		if (clock_now_ns() > deadline)
			fail_msg("%u of %u after %d ms", *count, n, DEADLINE_MS);
		event_base_loop(base, EVLOOP_ONCE);
	}
}

static void
turn_for_ms(unsigned ms)
{
	uint64_t until = clock_now_ns() + ms * NS_PER_MS;

	while (clock_now_ns() < until)
		event_base_loop(base, EVLOOP_ONCE);
}

static void
check_ok(const struct transfer *t, size_t bytes)
{
	assert_int_equal(t->done, 1);
	assert_int_equal(t->code, CURLE_OK);
	assert_int_equal(t->got, bytes);
}

static void
transfer_end(struct transfer *t)
{
	curl_easy_cleanup(t->easy);
	*t = (struct transfer){0};
}

static int
world_new(bool changelist, unsigned max_idle)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct event_config *cfg = event_config_new();
	const struct timeval ms = {.tv_usec = 2000};
	socklen_t len = sizeof sin;

	if (changelist)
		event_config_set_flag(cfg, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
	base = event_base_new_with_config(cfg);
	event_config_free(cfg);
	listener = evconnlistener_new_bind(base, upstream_accept, NULL, LEV_OPT_CLOSE_ON_FREE, 64,
	    (struct sockaddr *)&sin, sizeof sin);
	assert_non_null(listener);
	getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&sin, &len);
	port = ntohs(sin.sin_port);
	tick = event_new(base, -1, EV_PERSIST, on_tick, NULL);
	event_add(tick, &ms);
	accepted = served = lost = 0;
	io = curlio_new(base, max_idle);
	return io != NULL ? 0 : -1;
}

static int
setup(void **state)
{
	return world_new(*state != NULL, 16);
}

static int
setup_no_idle(void **state)
{
	(void)state;
	return world_new(false, 0);
}

static int
setup_one_idle(void **state)
{
	(void)state;
	return world_new(false, 1);
}

static int
teardown(void **state)
{
	(void)state;
	curlio_free(io);
	for (int i = 0; i < 20; i++) /* the upstream sees the ends of its connections */
		event_base_loop(base, EVLOOP_NONBLOCK);
	evconnlistener_free(listener);
	event_free(tick);
	event_base_free(base);
	return 0;
}

/* ---- tests ------------------------------------------------------------------------------ */

static void
test_one_connection_serves_many(void **state)
{
	struct transfer t = {0};

	(void)state;
	for (int i = 0; i < 50; i++) {
		t.done = 0;
		t.got = 0;
		transfer_start(&t, "/ok");
		assert_int_equal(t.done, 0);
		wait_for(&t.done, 1);
		check_ok(&t, 5);
	}
	assert_int_equal(served, 50);
	assert_int_equal(accepted, 1);
	transfer_end(&t);
}

static void
test_no_idle_connections(void **state)
{
	struct transfer t = {0};

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		t.done = 0;
		transfer_start(&t, "/ok");
		wait_for(&t.done, 1);
		wait_for(&lost, i + 1);
	}
	assert_int_equal(accepted, 5);
	transfer_end(&t);
}

static void
test_idle_connections_are_limited(void **state)
{
	struct transfer t[4] = {0};

	(void)state;
	for (int i = 0; i < 4; i++)
		transfer_start(&t[i], "/ok");
	for (int i = 0; i < 4; i++)
		wait_for(&t[i].done, 1);
	assert_int_equal(accepted, 4);
	wait_for(&lost, 3);
	turn_for_ms(20);
	assert_int_equal(lost, 3);
	for (int i = 0; i < 4; i++) {
		check_ok(&t[i], 5);
		transfer_end(&t[i]);
	}
}

static void
test_cancel_is_seen_upstream_at_once(void **state)
{
	static const char *const paths[] = {"/mute", "/open"};
	uint64_t when;

	(void)state;
	for (unsigned i = 0; i < NELEM(paths); i++) {
		struct transfer t = {0};

		transfer_start(&t, paths[i]);
		wait_for(&served, i + 1);
		turn_for_ms(10);
		when = clock_now_ns();
		curlio_cancel(t.job);
		wait_for(&lost, i + 1);
		assert_true(lost_ns - when < 100 * NS_PER_MS);
		turn_for_ms(10);
		assert_int_equal(t.done, 0);
		transfer_end(&t);
	}
}

static void
test_cancel_before_the_loop_turns(void **state)
{
	struct transfer t = {0};

	(void)state;
	transfer_start(&t, "/ok");
	curlio_cancel(t.job);
	turn_for_ms(20);
	assert_int_equal(t.done, 0);
	assert_int_equal(served, 0);
	transfer_end(&t);
}

static void
test_cancel_from_done_of_another(void **state)
{
	struct transfer t[2] = {0};

	(void)state;
	t[0].cancel = &t[1];
	t[1].cancel = &t[0];
	/* On warm connections both end in the same turn; whichever is told first cancels the other.
	 */
	for (unsigned round = 0; round < 20; round++) {
		t[0].done = t[1].done = 0;
		transfer_start(&t[0], "/ok");
		transfer_start(&t[1], "/ok");
		while (t[0].done + t[1].done == 0)
			event_base_loop(base, EVLOOP_ONCE);
		turn_for_ms(5);
		assert_int_equal(t[0].done + t[1].done, 1);
	}
	transfer_end(&t[0]);
	transfer_end(&t[1]);
}

static void
test_start_from_done(void **state)
{
	struct transfer t[3] = {0};

	(void)state;
	t[0].then = &t[1];
	t[1].then = &t[2];
	t[1].path = t[2].path = "/ok";
	transfer_start(&t[0], "/ok");
	wait_for(&t[2].done, 1);
	assert_int_equal(accepted, 1);
	for (int i = 0; i < 3; i++) {
		check_ok(&t[i], 5);
		transfer_end(&t[i]);
	}
}

static void
test_start_from_inside_libcurl(void **state)
{
	struct transfer t[2] = {0};

	(void)state;
	t[0].inside = &t[1];
	t[1].path = "/ok";
	transfer_start(&t[0], "/ok");
	wait_for(&t[1].done, 1);
	for (int i = 0; i < 2; i++) {
		check_ok(&t[i], 5);
		transfer_end(&t[i]);
	}
}

static void
test_pause(void **state)
{
	struct transfer t = {.pause_once = true};

	(void)state;
	transfer_start(&t, "/big");
	wait_for(&t.pauses, 1);
	turn_for_ms(50);
	assert_int_equal(t.got, 0);
	assert_int_equal(t.done, 0);
	curlio_unpause(t.job);
	curlio_unpause(t.job);
	wait_for(&t.done, 1);
	check_ok(&t, BIG);
	transfer_end(&t);
}

static void
test_unpause_from_inside_another(void **state)
{
	struct transfer t[2] = {{.pause_once = true}, {0}};

	(void)state;
	transfer_start(&t[0], "/ok");
	wait_for(&t[0].pauses, 1);
	t[1].resume = &t[0];
	transfer_start(&t[1], "/ok");
	wait_for(&t[0].done, 1);
	wait_for(&t[1].done, 1);
	for (int i = 0; i < 2; i++) {
		check_ok(&t[i], 5);
		transfer_end(&t[i]);
	}
}

/* Nobody comes back to settle things when libcurl was entered from outside. */
static void
test_start_while_unpausing(void **state)
{
	struct transfer t[2] = {{.pause_once = true}, {.path = "/ok"}};

	(void)state;
	t[0].inside = &t[1];
	transfer_start(&t[0], "/open");
	wait_for(&t[0].pauses, 1);
	turn_for_ms(10);
	curlio_unpause(t[0].job);
	assert_non_null(t[1].job);
	wait_for(&t[1].done, 1);
	check_ok(&t[1], 5);
	curlio_cancel(t[0].job);
	transfer_end(&t[0]);
	transfer_end(&t[1]);
}

static void
test_refusal_while_unpausing(void **state)
{
	struct transfer t = {.pause_once = true, .refuse_more = true};

	(void)state;
	transfer_start(&t, "/big");
	wait_for(&t.pauses, 1);
	curlio_unpause(t.job);
	wait_for(&t.done, 1);
	turn_for_ms(10);
	assert_int_equal(t.done, 1);
	assert_int_equal(t.code, CURLE_WRITE_ERROR);
	transfer_end(&t);
}

static void
test_cancel_while_paused(void **state)
{
	struct transfer t = {.pause_once = true};

	(void)state;
	transfer_start(&t, "/big");
	wait_for(&t.pauses, 1);
	curlio_cancel(t.job);
	wait_for(&lost, 1);
	assert_int_equal(t.done, 0);
	transfer_end(&t);
}

static void
test_connection_refused(void **state)
{
	struct transfer t = {0};
	int closed = port;

	(void)state;
	evconnlistener_disable(listener);
	port = 1;
	transfer_start(&t, "/ok");
	port = closed;
	wait_for(&t.done, 1);
	assert_int_equal(t.code, CURLE_COULDNT_CONNECT);
	transfer_end(&t);
}

static void
test_an_earlier_deadline_is_kept(void **state)
{
	struct transfer t[2] = {0};
	uint64_t first, second;

	(void)state;
	for (int i = 0; i < 2; i++)
		t[i].easy = curl_easy_init();
	curl_easy_setopt(t[0].easy, CURLOPT_TIMEOUT_MS, 1500L);
	curl_easy_setopt(t[1].easy, CURLOPT_TIMEOUT_MS, 150L);
	first = clock_now_ns();
	transfer_start(&t[0], "/mute");
	turn_for_ms(400); /* only its own deadline is left */
	second = clock_now_ns();
	transfer_start(&t[1], "/mute");
	wait_for(&t[1].done, 1);
	assert_in_range(clock_now_ns() - second, 145 * NS_PER_MS, 800 * NS_PER_MS);
	assert_int_equal(t[0].done, 0);
	wait_for(&t[0].done, 1);
	assert_in_range(clock_now_ns() - first, 1495 * NS_PER_MS, 4000 * NS_PER_MS);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(t[i].code, CURLE_OPERATION_TIMEDOUT);
		transfer_end(&t[i]);
	}
}

static void
on_pipe(evutil_socket_t fd, short what, void *arg)
{
	char c;

	(void)what;
	assert_int_equal(read(fd, &c, 1), 1);
	++*(unsigned *)arg;
}

/* A descriptor that libcurl has closed may be anybody's the next moment. */
static void
test_a_closed_descriptor_is_forgotten(void **state)
{
	unsigned heard = 0;

	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		struct transfer t = {0};
		struct event *ev;
		int p[2];

		transfer_start(&t, "/bye");
		wait_for(&t.done, 1);
		check_ok(&t, 5);
		transfer_end(&t);
		assert_int_equal(pipe(p), 0);
		ev = event_new(base, p[0], EV_READ | EV_PERSIST, on_pipe, &heard);
		assert_int_equal(event_add(ev, NULL), 0);
		turn_for_ms(3);
		assert_int_equal(write(p[1], "x", 1), 1);
		wait_for(&heard, i + 1);
		event_free(ev);
		close(p[0]);
		close(p[1]);
	}
}

/* The upstream closes an idle connection: no storm of events, and the next request takes a new one.
 */
static void
test_idle_connection_closed_by_the_upstream(void **state)
{
	struct transfer t = {0};
	unsigned turns = 0;
	uint64_t until;

	(void)state;
	transfer_start(&t, "/drop");
	wait_for(&t.done, 1);
	check_ok(&t, 5);
	until = clock_now_ns() + 100 * NS_PER_MS;
	for (; clock_now_ns() < until; turns++)
		event_base_loop(base, EVLOOP_ONCE);
	assert_true(turns < 100); /* the tick alone makes 50 */
	t.done = 0;
	t.got = 0;
	transfer_start(&t, "/ok");
	wait_for(&t.done, 1);
	check_ok(&t, 5);
	assert_int_equal(served, 2);
	transfer_end(&t);
}

static void
test_many_at_once(void **state)
{
	enum { N = 64 };
	struct transfer *t = calloc(N, sizeof *t);

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++) {
			t[i].done = 0;
			t[i].got = 0;
			transfer_start(&t[i], i % 8 == 0 ? "/big" : i % 8 == 1 ? "/bye" : "/ok");
		}
		for (int i = 0; i < N; i++) {
			wait_for(&t[i].done, 1);
			check_ok(&t[i], i % 8 == 0 ? BIG : 5);
		}
	}
	assert_int_equal(served, 3 * N);
	for (int i = 0; i < N; i++)
		transfer_end(&t[i]);
	free(t);
}

static int with_changelist;
#define BOTH(test) \
	cmocka_unit_test_setup_teardown(test, setup, teardown), \
	{ \
		.name = #test " (changelist)", .test_func = test, .setup_func = setup, \
		.teardown_func = teardown, .initial_state = &with_changelist \
	}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    BOTH(test_one_connection_serves_many),
	    cmocka_unit_test_setup_teardown(test_no_idle_connections, setup_no_idle, teardown),
	    cmocka_unit_test_setup_teardown(
		test_idle_connections_are_limited, setup_one_idle, teardown),
	    BOTH(test_cancel_is_seen_upstream_at_once),
	    BOTH(test_cancel_before_the_loop_turns),
	    BOTH(test_cancel_from_done_of_another),
	    BOTH(test_start_from_done),
	    BOTH(test_start_from_inside_libcurl),
	    BOTH(test_pause),
	    BOTH(test_unpause_from_inside_another),
	    BOTH(test_start_while_unpausing),
	    BOTH(test_refusal_while_unpausing),
	    BOTH(test_cancel_while_paused),
	    BOTH(test_connection_refused),
	    BOTH(test_an_earlier_deadline_is_kept),
	    BOTH(test_a_closed_descriptor_is_forgotten),
	    BOTH(test_idle_connection_closed_by_the_upstream),
	    BOTH(test_many_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
