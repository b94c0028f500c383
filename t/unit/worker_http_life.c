/* What happens over time: limits, deadlines, slow and vanished clients, retirement. */
#include "t/unit/worker_http.h"

#define H "Host: h\r\n"
#define GET_HELLO "GET /hello HTTP/1.1\r\n" H "\r\n"
#define POST_WAIT "POST /wait HTTP/1.1\r\n" H "\r\n"
#define HELLO_HEAD \
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Request-Id: *\r\nContent-Length: 6\r\n"
#define HELLO HELLO_HEAD "\r\nhello\n"
#define HELLO_CLOSE HELLO_HEAD "Connection: close\r\n\r\nhello\n"

static void
settings_change(void)
{
	snapshot_make();
	http_settings_changed(server);
}

static void
expect_status(int fd, const char *status, const char *code, int how)
{
	int end;
	const char *text = hear(fd, how, &end);
	if (strncmp(text, status, strlen(status)) != 0 || strstr(text, code) == NULL || end != how)
		fail_msg("%s %s: %d %s", status, code, end, text);
	close(fd);
	turn();
}

static void
test_head_limits(void **state)
{
	char big[4096];
	(void)state;
	settings.max_header_size = 1024;
	settings.max_headers = 8;
	settings_change();
	memset(big, 'a', sizeof(big));
	int fd = client();
	say(fd, "GET /");
	say_n(fd, big, 1100);
	expect_status(fd, "HTTP/1.1 414 ", "uri_too_long", CLOSED);
	fd = client();
	say(fd, "GET / HTTP/1.1\r\n" H "A: ");
	say_n(fd, big, 1100);
	expect_status(fd, "HTTP/1.1 431 ", "headers_too_large", CLOSED);
	fd = client();
	say(fd, "GET / HTTP/1.1\r\n" H "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n");
	expect_status(fd, "HTTP/1.1 431 ", "headers_too_large", CLOSED);
	fd = client();
	say(fd, "GET /hello HTTP/1.1\r\n" H "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n\r\n");
	expect(fd, HELLO, OPEN);
	close(fd);
	fd = client();
	say_n(fd, "GET /hello HTTP/1.1\r\nA: \0\r\n\r\n", 29);
	expect_status(fd, "HTTP/1.1 400 ", "bad_request", CLOSED);
	fd = client();
	say_n(fd, "\x16\x03\x01\x02\x00\x01\x00\x01", 8);
	expect_status(fd, "HTTP/1.1 400 ", "bad_request", CLOSED);
	assert_int_equal(counter(CTR_bad_requests), 5);
}

static void
test_deadlines(void **state)
{
	(void)state;
	settings.header_timeout_ms = settings.body_timeout_ms = 40;
	settings.keepalive_timeout_ms = 80;
	settings_change();
	int silent = client(), head = client(), body = client(), idle = client();
	say(head, "GET /hello HT");
	say(body, "POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nab");
	say(idle, GET_HELLO);
	expect(idle, HELLO, OPEN);
	expect_status(head, "HTTP/1.1 408 ", "request_timeout", CLOSED);
	expect_status(body, "HTTP/1.1 408 ", "request_timeout", CLOSED);
	expect(silent, "", CLOSED);
	expect(idle, "", CLOSED);
	const char *calls = seen_take();
	assert_non_null(strstr(calls, "gone(/echo)done(408,119)"));
	assert_int_equal(
	    strlen(calls), strlen("head(/echo)head(/hello)done(200,6)gone(/echo)done(408,119)"
				  "done(408,119)"));
	close(silent);
	close(idle);
}

/* The head's deadline is not moved by a byte now and then. */
static void
test_drip(void **state)
{
	(void)state;
	settings.header_timeout_ms = 60;
	settings_change();
	int fd = client();
	uint64_t start = clock_now_ns();
	say(fd, "GET /hello HTTP/1.1\r\n");
	while (send(fd, "A: b\r\n", 6, MSG_NOSIGNAL) == 6 && http_connections(server) > 0 &&
	       clock_now_ns() - start < NS_PER_SEC) {
		int end;
		turn_ms(5);
		if (*hear(fd, OPEN, &end) != '\0')
			break;
	}
	assert_true(clock_now_ns() - start < NS_PER_SEC);
	assert_int_equal(counter(CTR_replies_4xx), 1);
	close(fd);
}

static void
test_one_request_per_connection(void **state)
{
	(void)state;
	settings.keepalive_timeout_ms = 0;
	settings_change();
	int fd = client();
	say(fd, GET_HELLO);
	expect(fd, HELLO_CLOSE, CLOSED);
	close(fd);
}

static void
test_client_gone(void **state)
{
	(void)state;
	for (int how = 0; how < 3; how++) {
		int fd = client();
		say(fd, POST_WAIT);
		assert_non_null(waiting);
		if (how == 1)
			http_start(waiting, 200, "text/event-stream", -1);
		if (how == 2)
			shutdown(fd, SHUT_WR);
		else
			close(fd);
		turn();
		assert_null(waiting);
		assert_string_equal(seen_take(), how == 1
						     ? "head(/wait)body()gone(/wait)done(200,0)"
						     : "head(/wait)body()gone(/wait)done(499,0)");
		if (how == 2)
			close(fd);
	}
	int fd = client();
	say(fd, "POST /echo HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\n123");
	close(fd);
	turn();
	assert_string_equal(seen_take(), "head(/echo)gone(/echo)done(499,0)");
	assert_int_equal(counter(CTR_client_gone), 4);
	assert_int_equal(http_connections(server), 0);
}

/* What is pipelined during a reply is bounded, and a client that leaves behind it is still seen. */
static void
test_pipelined_too_much(void **state)
{
	(void)state;
	settings.max_header_size = 2048;
	settings_change();
	int fd = client();
	size_t sent = 0;
	say(fd, POST_WAIT);
	for (;;) {
		ssize_t n = send(fd, GET_HELLO, strlen(GET_HELLO), MSG_NOSIGNAL);
		if (n < 0)
			break;
		sent += (size_t)n;
		turn();
	}
	assert_true(sent > 2048);
	assert_true(waiting->conn->in.len <= 2048);
	seen_take();
	close(fd);
	turn();
	assert_string_equal(seen_take(), "gone(/wait)done(499,0)");
	assert_int_equal(http_connections(server), 0);
}

/* Short replies leave together: when the loop has turned, or when there are many. */
static void
test_replies_together(void **state)
{
	struct http_req *asked[HTTP_LATER + 1];
	int fd[HTTP_LATER + 1];
	char c;
	(void)state;
	for (unsigned i = 0; i <= HTTP_LATER; i++) {
		fd[i] = client();
		say(fd[i], POST_WAIT);
		asked[i] = waiting;
	}
	waiting = NULL;
	seen_take();
	for (unsigned i = 0; i < HTTP_LATER; i++)
		http_reply(asked[i], 200, "text/plain", "hello\n", 6);
	for (unsigned i = 0; i < HTTP_LATER; i++)
		assert_true(recv(fd[i], &c, 1, MSG_PEEK | MSG_DONTWAIT) == -1 && errno == EAGAIN);
	assert_string_equal(seen_take(), "");
	http_reply(asked[HTTP_LATER], 200, "text/plain", "hello\n", 6);
	for (unsigned i = 0; i <= HTTP_LATER; i++)
		assert_int_equal(recv(fd[i], &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1, i < HTTP_LATER);
	for (unsigned i = 0; i <= HTTP_LATER; i++) {
		expect(fd[i], HELLO, OPEN);
		close(fd[i]);
	}
	turn();
	assert_int_equal(http_connections(server), 0);
}

/* The client goes, or only says that it has said all, while its reply waits for the turn's end. */
static void
test_gone_before_the_reply(void **state)
{
	(void)state;
	for (int how = 0; how < 2; how++) {
		int fd = client();
		say(fd, POST_WAIT);
		struct http_req *r = waiting;
		waiting = NULL;
		seen_take();
		if (how == 0)
			(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0},
			    sizeof(struct linger));
		if (how == 1)
			shutdown(fd, SHUT_WR);
		http_reply(r, 200, "text/plain", "hello\n", 6);
		if (how == 0)
			close(fd);
		turn();
		if (how == 1) {
			expect(fd, HELLO, CLOSED);
			close(fd);
		}
		turn();
		assert_string_equal(seen_take(), "done(200,6)");
		assert_int_equal(http_connections(server), 0);
	}
}

static void
test_pipelined_during_reply(void **state)
{
	char all[8192] = "";
	(void)state;
	settings.max_header_size = 1024;
	settings_change();
	int fd = client();
	say(fd, POST_WAIT);
	for (int i = 0; i < 60; i++)
		say(fd, GET_HELLO);
	assert_true(waiting->conn->in.len <= 1024);
	http_reply(waiting, 200, "text/plain", "hello\n", 6);
	for (int i = 0; i < 61; i++)
		strcat(all, HELLO);
	expect(fd, all, OPEN);
	assert_int_equal(counter(CTR_requests), 61);
	close(fd);
}

/* A handler that answers later, one that takes the body later, and a reply that is written bit by
 * bit. */
static void
test_later(void **state)
{
	(void)state;
	int fd = client();
	say(fd, "POST /later HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc");
	turn();
	assert_string_equal(seen_take(), "head(/later)");
	http_accept_body(waiting, 10);
	expect(fd,
	    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Request-Id: *\r\nContent-Length: "
	    "3\r\n\r\nabc",
	    OPEN);
	assert_string_equal(seen_take(), "body(abc)done(200,3)");
	say(fd, POST_WAIT);
	http_header(waiting, "Server", "x");
	http_header(waiting, "X-Bad", "a\r\nb");
	http_header(waiting, "X-Good", "ab");
	http_start(waiting, 200, NULL, -1);
	expect(fd,
	    "HTTP/1.1 200 OK\r\nX-Request-Id: *\r\nX-Good: ab\r\nTransfer-Encoding: "
	    "chunked\r\n\r\n",
	    OPEN);
	assert_false(http_write(waiting, "ab", 2));
	expect(fd, "2\r\nab\r\n", OPEN);
	assert_false(http_write(waiting, "", 0));
	http_end(waiting);
	expect(fd, "0\r\n\r\n", OPEN);
	say(fd, POST_WAIT);
	http_start(waiting, 200, NULL, -1);
	http_write(waiting, "ab", 2);
	http_abort(waiting);
	expect(fd,
	    "HTTP/1.1 200 OK\r\nX-Request-Id: *\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
	    CLOSED);
	close(fd);
}

static void
none_left(void)
{
	uint64_t start = clock_now_ns();
	while (http_connections(server) > 0 && clock_now_ns() - start < 5 * NS_PER_SEC)
		turn_ms(5);
	assert_int_equal(http_connections(server), 0);
}

static void
fill(struct http_req *r, size_t *written, bool until_pause)
{
	static char block[16384];
	for (int i = 0; i < 10000 && waiting != NULL; i++) {
		bool pause = http_write(r, block, sizeof(block));
		*written += sizeof(block);
		if (pause && (until_pause || r->conn->broken))
			return;
	}
}

static void
test_slow_reader(void **state)
{
	static char got[1 << 20];
	size_t written = 0, read_all = 0;
	(void)state;
	int fd = client();
	say(fd, "POST /wait HTTP/1.0\r\n\r\n");
	http_start(waiting, 200, NULL, -1);
	fill(waiting, &written, true);
	assert_in_range(
	    http_backlog(waiting), settings.stream_buffer, settings.stream_buffer + 16384);
	seen_take();
	while (http_backlog(waiting) >= settings.stream_buffer / 2) {
		assert_string_equal(seen_take(), "");
		ssize_t n = recv(fd, got, 8192, 0);
		assert_true(n > 0);
		read_all += (size_t)n;
		turn();
	}
	assert_string_equal(seen_take(), "drain(/wait)");
	http_end(waiting);
	for (ssize_t n; (n = recv(fd, got, sizeof(got), 0)) != 0; turn())
		read_all += n > 0 ? (size_t)n : 0;
	assert_int_equal(read_all - written, strlen("HTTP/1.1 200 OK\r\nX-Request-Id: \r\nDate: "
						    "Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: "
						    "close\r\n\r\n") +
						 36);
	char done[64];
	snprintf(done, sizeof(done), "done(200,%zu)", written);
	assert_string_equal(seen_take(), done);
	close(fd);
}

/* A producer that does not pause is cut off, and told from the loop, not from within http_write. */
static void
test_deaf_producer(void **state)
{
	size_t written = 0;
	(void)state;
	int fd = client();
	say(fd, POST_WAIT);
	http_start(waiting, 200, NULL, -1);
	seen_take();
	fill(waiting, &written, false);
	assert_non_null(waiting);
	assert_true(
	    http_backlog(waiting) <= 4 * settings.stream_buffer + settings.max_event_size + 32768);
	turn();
	assert_null(waiting);
	assert_int_equal(strncmp(seen_take(), "gone(/wait)done(200,", 20), 0);
	close(fd);
}

static void
test_send_timeout(void **state)
{
	size_t written = 0;
	(void)state;
	settings.send_timeout_ms = 150;
	settings_change();
	int fd = client();
	say(fd, POST_WAIT);
	http_start(waiting, 200, NULL, -1);
	fill(waiting, &written, true);
	turn_ms(5);
	assert_non_null(waiting);
	none_left();
	assert_null(waiting);
	close(fd);
	/* The same when the handler has done its part. */
	fd = client();
	say(fd, POST_WAIT);
	seen_take();
	http_start(waiting, 200, NULL, -1);
	fill(waiting, &written, true);
	http_end(waiting);
	none_left();
	assert_int_equal(strncmp(seen_take(), "done(200,", 9), 0);
	close(fd);
}

/* An answer that comes before a long body reaches a client that sends all of it first. */
static void
test_early_reply(void **state)
{
	static char big[3000000];
	int end;
	(void)state;
	int fd = client();
	say(fd, "POST /early HTTP/1.1\r\n" H "Content-Length: 3000000\r\n\r\n");
	say_n(fd, big, sizeof(big));
	const char *text = hear(fd, CLOSED, &end);
	assert_int_equal(strncmp(text, "HTTP/1.1 401 ", 13), 0);
	assert_non_null(strstr(text, "Connection: close\r\n"));
	assert_int_equal(end, CLOSED);
	assert_int_equal(http_connections(server), 1);
	close(fd);
	turn();
	assert_int_equal(http_connections(server), 0);
}

static void
test_large_body(void **state)
{
	static char body[3000000];
	(void)state;
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)('a' + i % 23);
	for (int chunked = 0; chunked < 2; chunked++) {
		char line[32];
		int fd = client();
		say(fd, chunked ? "POST /wait HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
				: "POST /wait HTTP/1.1\r\n" H "Content-Length: 3000000\r\n\r\n");
		for (size_t i = 0; i < sizeof(body); i += 60000) {
			if (chunked)
				say(fd, "ea60\r\n");
			say_n(fd, body + i, 60000);
			if (chunked)
				say(fd, "\r\n");
		}
		if (chunked)
			say(fd, "0\r\n\r\n");
		assert_non_null(waiting);
		assert_int_equal(waiting->body.n, sizeof(body));
		assert_memory_equal(waiting->body.p, body, sizeof(body));
		snprintf(line, sizeof(line), "%d", chunked);
		http_reply(waiting, 200, NULL, line, 1);
		close(fd);
		turn();
		waiting = NULL;
	}
	assert_int_equal(counter(CTR_bytes_in), 2 * sizeof(body));
}

/* ---- retirement ---- */

static unsigned idle_calls;

static void
on_idle(void *ctx)
{
	assert_ptr_equal(ctx, &idle_calls);
	idle_calls++;
}

static void
test_retire(void **state)
{
	(void)state;
	int idle = client(), fresh = client(), busy = client(), gone = client();
	idle_calls = 0;
	say(idle, GET_HELLO);
	expect(idle, HELLO, OPEN);
	say(busy, POST_WAIT);
	say(gone, GET_HELLO);
	expect(gone, HELLO, OPEN);
	http_retire(server, on_idle, &idle_calls);
	expect(idle, "", OPEN);
	expect(fresh, "", OPEN);
	say(idle, GET_HELLO);
	expect(idle, HELLO_CLOSE, CLOSED);
	say(fresh, GET_HELLO);
	expect(fresh, HELLO_CLOSE, CLOSED);
	http_reply(waiting, 200, "text/plain", "hello\n", 6);
	expect(busy, HELLO_CLOSE, CLOSED);
	close(idle);
	close(fresh);
	close(busy);
	turn();
	assert_int_equal(http_connections(server), 1);
	assert_int_equal(idle_calls, 0);
	close(gone);
	turn();
	turn();
	assert_int_equal(idle_calls, 1);
}

static void
test_retire_silent(void **state)
{
	(void)state;
	settings.keepalive_timeout_ms = 150;
	settings_change();
	int fd = client();
	say(fd, GET_HELLO);
	expect(fd, HELLO, OPEN);
	idle_calls = 0;
	http_retire(server, on_idle, &idle_calls);
	turn_ms(10);
	assert_int_equal(idle_calls, 0);
	expect(fd, "", CLOSED);
	turn();
	assert_int_equal(idle_calls, 1);
	close(fd);
}

static void
test_free_in_hand(void **state)
{
	(void)state;
	int a = client(), b = client();
	say(a, POST_WAIT);
	say(b, "POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\n");
	seen_take();
	http_server_free(server);
	assert_string_equal(seen_take(), "gone(/echo)done(499,0)gone(/wait)done(499,0)");
	server = http_server_new(base, &handler, current_snapshot, &live->worker[0], live->worker);
	close(a);
	close(b);
}

static unsigned
done_count(void)
{
	const char *p = seen_take();
	unsigned n = 0;
	while ((p = strstr(p, "done(200")) != NULL) {
		n++;
		p += 8;
	}
	return n;
}

/* Pipelined requests are served in turns, and another client has its own in between. */
static void
test_pipelined_in_turns(void **state)
{
	char text[100 * 40 + 1] = "";
	unsigned served = 0, turns = 0, before_one = 0;
	(void)state;
	int many = client(), one = client();
	for (unsigned i = 0; i < 100; i++)
		snprintf(text + strlen(text), 41, "%s", GET_HELLO);
	size_t n = strlen(text);
	assert_int_equal(send(many, text, n, 0), n);
	while (served < 101) {
		if (turns == 1)
			assert_int_equal(
			    send(one, GET_HELLO, strlen(GET_HELLO), 0), strlen(GET_HELLO));
		assert_true(event_base_loop(base, EVLOOP_ONCE) >= 0);
		unsigned now = done_count();
		assert_in_range(now, 0, 2 * HTTP_TURN_MAX + 1);
		served += now;
		if (before_one == 0 && recv(one, text, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
			before_one = served;
		assert_true(++turns < 100);
	}
	assert_in_range(before_one, HTTP_TURN_MAX, 4 * HTTP_TURN_MAX);
	expect(one, HELLO, OPEN);
	close(many);
	close(one);
}

/* The event of a connection cannot be set any more: the handler must hear that it is lost. */
static void
test_unwatchable(void **state)
{
	char text[2048] = "GET /lost HTTP/1.1\r\n" H "\r\n";
	(void)state;
	settings.max_header_size = 1024;
	settings_change();
	lost_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC); /* epoll takes no plain file */
	assert_int_not_equal(lost_fd, -1);
	int fd = client();
	size_t n = strlen(text); /* so much behind it that the event has to change */
	memset(text + n, 'x', 1024);
	say_n(fd, text, n + 1024);
	turn();
	assert_string_equal(seen_take(), "head(/lost)gone(/lost)done(499,0)");
	assert_int_equal(http_connections(server), 0);
	close(lost_fd);
	close(fd);
}

static void
trickle_after(size_t fast)
{
	uint64_t start = clock_now_ns();
	char text[256] = "";
	int fd = client();

	say(fd, "POST /x HTTP/1.1\r\n" H "Content-Length: 100000\r\n\r\n");
	for (size_t i = 0; i < fast; i += 1000) {
		char some[1000] = "";
		assert_int_equal(send(fd, some, sizeof(some), MSG_NOSIGNAL), sizeof(some));
		turn_ms(1);
	}
	while (recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT) <= 0) {
		(void)send(fd, "x", 1, MSG_NOSIGNAL);
		turn_ms(10);
		assert_true(clock_now_ns() - start < 2 * NS_PER_SEC);
	}
	assert_memory_equal(text, "HTTP/1.1 408 ", 13);
	assert_true(clock_now_ns() - start >= 60 * NS_PER_MS);
	close(fd);
}

/* A byte now and then is not silence, and no way to keep a connection either; a quick start buys no
 * time for it. */
static void
test_body_trickles(void **state)
{
	(void)state;
	settings.body_timeout_ms = 60;
	settings_change();
	trickle_after(0);
	trickle_after(50000);
}

/* http's own errors carry what the handler adds, whichever way they come about. */
static void
test_refusals_are_marked(void **state)
{
	(void)state;
	mark_refusals = true;
	settings.max_header_size = 1024;
	settings.header_timeout_ms = 20;
	settings_change();
	const char *said[] = {"nonsense\r\n\r\n", "GET /%ff HTTP/1.1\r\n" H "\r\n",
	    "CONNECT a:1 HTTP/1.1\r\n" H "\r\n", "GET /slow HTTP/1.1\r\n", NULL};
	for (const char **p = said; *p != NULL; p++) {
		int end, fd = client();
		say(fd, *p);
		const char *text = hear(fd, CLOSED, &end);
		if (strstr(text, "\r\nX-Refused: 1\r\n") == NULL)
			fail_msg("%s: %s", *p, text);
		close(fd);
	}
	mark_refusals = false;
}

#define LIFE(name) cmocka_unit_test_setup_teardown(name, server_start, server_stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    LIFE(test_head_limits),
	    LIFE(test_deadlines),
	    LIFE(test_drip),
	    LIFE(test_one_request_per_connection),
	    LIFE(test_client_gone),
	    LIFE(test_replies_together),
	    LIFE(test_gone_before_the_reply),
	    LIFE(test_pipelined_too_much),
	    LIFE(test_pipelined_during_reply),
	    LIFE(test_later),
	    LIFE(test_slow_reader),
	    LIFE(test_deaf_producer),
	    LIFE(test_send_timeout),
	    LIFE(test_early_reply),
	    LIFE(test_large_body),
	    LIFE(test_retire),
	    LIFE(test_retire_silent),
	    LIFE(test_free_in_hand),
	    LIFE(test_pipelined_in_turns),
	    LIFE(test_unwatchable),
	    LIFE(test_body_trickles),
	    LIFE(test_refusals_are_marked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
