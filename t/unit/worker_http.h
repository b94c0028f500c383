/*
 * For the tests of the HTTP front: a server with a handler that is steered by the path, clients
 * over socket pairs, and replies with what varies (date, fresh request ids) taken out.
 */
#ifndef OMNIROUTE_T_UNIT_WORKER_HTTP_H
#define OMNIROUTE_T_UNIT_WORKER_HTTP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/clock.h"
#include "worker/http_conn.h"

static struct snap_settings settings;
static struct snap_listener listeners[3];
static unsigned listener_count;
static struct snap_net nets[2];
static unsigned net_count;
static int lost_fd;        /* what the socket of /lost becomes */
static bool mark_refusals; /* http's own errors get a header of the handler's */
static const char *pem_certificate, *pem_key;

static struct event_base *base;
static struct http_server *server;
static struct snapshot *snap;
static struct live *live;
static int live_fd;
static struct http_req *waiting;            /* of /wait: replies when the test says so */
static struct buf seen = {.max = 1u << 20}; /* calls of the handler, in order */
static struct http_req last;                /* as on_head saw it */

/* ---- the handler ---- */

static inline void
see(const char *what, struct span detail)
{
	buf_addf(&seen, "%s(%.*s)", what, (int)MIN(detail.n, 60), detail.n > 0 ? detail.p : "");
}

static inline bool
path_is(const struct http_req *r, const char *path)
{
	return r->path.n == strlen(path) && memcmp(r->path.p, path, r->path.n) == 0;
}

static inline void
handle_head(struct http_req *r)
{
	see("head", r->path);
	last = *r;
	if (path_is(r, "/hello"))
		http_reply(r, 200, "text/plain", "hello\n", 6);
	else if (path_is(r, "/early"))
		http_error(r, 401, NULL, NULL);
	else if (path_is(r, "/none"))
		http_reply(r, 204, NULL, NULL, 0);
	else if (path_is(r, "/nobody"))
		http_accept_body(r, 0);
	else if (path_is(r, "/small"))
		http_accept_body(r, 8);
	else if (path_is(r, "/lost"))
		(void)dup2(lost_fd, r->conn->fd);
	else if (!path_is(r, "/later"))
		http_accept_body(r, 4 * 1048576);
	else
		waiting = r;
}

static inline void
stream_three(struct http_req *r, int64_t length)
{
	http_header(r, "X-Mark", "1");
	http_start(r, 200, "text/event-stream", length);
	http_write(r, "one,", 4);
	http_write(r, "two,", 4);
	http_write(r, "three", 5);
	http_end(r);
}

static inline void
handle_body(struct http_req *r)
{
	struct span name = http_header_get(r, "X-NAME");
	see("body", r->body);
	if (path_is(r, "/stream"))
		stream_three(r, -1);
	else if (path_is(r, "/sized"))
		stream_three(r, 13);
	else if (path_is(r, "/short"))
		stream_three(r, 20);
	else if (path_is(r, "/name"))
		http_reply(r, 200, "text/plain", name.p, name.n);
	else if (path_is(r, "/wait"))
		waiting = r;
	else
		http_reply(r, 200, "text/plain", r->body.p, r->body.n);
}

static inline void
handle_drain(struct http_req *r)
{
	see("drain", r->path);
}

static inline void
handle_gone(struct http_req *r)
{
	see("gone", r->path);
	if (waiting == r)
		waiting = NULL;
}

static inline void
handle_done(struct http_req *r)
{
	buf_addf(&seen, "done(%d,%llu)", r->status, (unsigned long long)r->bytes_sent);
}

static inline void
handle_refuse(struct http_req *r)
{
	if (mark_refusals)
		http_header(r, "X-Refused", "1");
}

static const struct http_handler handler = {
    handle_head, handle_body, handle_drain, handle_gone, handle_done, handle_refuse};

static inline const char *
seen_take(void)
{
	static char text[4096];
	snprintf(text, sizeof(text), "%.*s", (int)seen.len, seen.len > 0 ? seen.data : "");
	buf_reset(&seen);
	return text;
}

/* ---- server ---- */

static inline struct snapshot *
current_snapshot(void)
{
	return snap;
}

static inline void
snapshot_make(void)
{
	static uint64_t number;
	struct snapshot_builder *b = snapshot_builder_new(++number);
	int fd = -1;
	assert_non_null(b);
	*snapshot_settings(b) = settings;
	for (unsigned i = 0; i < listener_count; i++) {
		struct snap_listener l = listeners[i];
		l.name = snapshot_string(b, "test", 4);
		if (l.tls && pem_certificate != NULL && pem_key != NULL) {
			l.certificate =
			    snapshot_string(b, pem_certificate, strlen(pem_certificate));
			l.private_key = snapshot_string(b, pem_key, strlen(pem_key));
		}
		assert_int_equal(snapshot_add_listener(b, &l), 0);
	}
	for (unsigned i = 0; i < net_count; i++)
		assert_int_equal(snapshot_add_net(b, &nets[i]), 0);
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	if (snap != NULL)
		snapshot_put(snap);
	assert_int_equal(snapshot_open(fd, &snap), 0);
	close(fd);
}

static inline void
defaults(void)
{
	settings = (struct snap_settings){
	    .max_header_size = 32768,
	    .max_headers = 100,
	    .max_body_size = 52428800,
	    .max_event_size = 1048576,
	    .max_response_size = 1048576,
	    .stream_buffer = 65536,
	    .max_connections = 1000,
	    .header_timeout_ms = 10000,
	    .body_timeout_ms = 10000,
	    .keepalive_timeout_ms = 10000,
	    .send_timeout_ms = 10000,
	};
	listeners[0] = (struct snap_listener){.ordinal = 0, .kind = LISTENER_TCP, .loopback = 1};
	listener_count = 1;
	net_count = 0;
}

static inline int
server_start(void **state)
{
	(void)state;
	defaults();
	snapshot_make();
	assert_int_equal(live_create(&live_fd), 0);
	assert_int_equal(live_map(live_fd, &live), 0);
	base = event_base_new();
	assert_non_null(base);
	server = http_server_new(base, &handler, current_snapshot, &live->worker[0], live->worker);
	assert_non_null(server);
	waiting = NULL;
	buf_reset(&seen);
	return 0;
}

static inline int
server_stop(void **state)
{
	(void)state;
	http_server_free(server);
	assert_int_equal(atomic_load(&live->worker[0].conns), 0);
	event_base_free(base);
	snapshot_put(snap);
	snap = NULL;
	live_unmap(live);
	close(live_fd);
	buf_clear(&seen);
	return 0;
}

static inline uint64_t
counter(enum live_counter which)
{
	return atomic_load(&live->worker[0].counter[which]);
}

/* ---- clients ---- */

static inline int
client_from(const char *peer, uint32_t ordinal)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	int pair[2];
	assert_int_equal(inet_pton(AF_INET, peer, &sin.sin_addr), 1);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	assert_non_null(conn_open(server, pair[0], (struct sockaddr *)&sin, ordinal));
	return pair[1];
}

static inline int
client(void)
{
	return client_from("127.0.0.1", 0);
}

static inline void
turn(void)
{
	assert_true(event_base_loop(base, EVLOOP_NONBLOCK) >= 0);
}

static inline void
turn_ms(unsigned ms)
{
	struct timeval tv = {0, (suseconds_t)ms * 1000};
	event_base_loopexit(base, &tv);
	event_base_loop(base, 0);
}

static inline void
say_n(int fd, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
		if (sent > 0) {
			text += sent;
			n -= (size_t)sent;
		} else {
			assert_int_equal(errno, EAGAIN);
		}
		turn();
	}
}

static inline void
say(int fd, const char *text)
{
	say_n(fd, text, strlen(text));
}

/* Takes out the date, and request ids that are UUIDs. */
static inline void
normalise(char *text)
{
	char *p;
	while ((p = strstr(text, "Date: ")) != NULL) {
		char *end = strstr(p, "\r\n");
		assert_non_null(end);
		memmove(p, end + 2, strlen(end + 2) + 1);
	}
	for (p = text; (p = strstr(p, "X-Request-Id: ")) != NULL;) {
		p += strlen("X-Request-Id: ");
		char *end = strstr(p, "\r\n");
		if (end - p == 36 && p[8] == '-' && p[14] == '4') {
			*p = '*';
			memmove(p + 1, end, strlen(end) + 1);
		}
	}
}

enum { OPEN, CLOSED, RESET };

/* All that comes until the connection ends or, if it should stay open, nothing more does. */
static inline char *
hear(int fd, int wanted, int *end)
{
	static char text[1u << 20];
	size_t len = 0;
	uint64_t start = clock_now_ns(), quiet = start;
	*end = OPEN;
	while (clock_now_ns() - start < 5 * NS_PER_SEC) {
		turn();
		ssize_t n = recv(fd, text + len, sizeof(text) - 1 - len, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			*end = n == 0 ? CLOSED : RESET;
			break;
		}
		if (n > 0) {
			len += (size_t)n;
			quiet = clock_now_ns();
		}
		if (wanted == OPEN && n < 0 &&
		    clock_now_ns() - quiet > (len > 0 ? 3 : 20) * NS_PER_MS)
			break;
	}
	text[len] = '\0';
	if (strlen(text) == len)
		normalise(text);
	return text;
}

static inline void
expect(int fd, const char *reply, int how)
{
	int end;
	char *text = hear(fd, how, &end);
	assert_string_equal(text, reply);
	assert_int_equal(end, how);
}

#endif
