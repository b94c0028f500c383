/*
 * A worker without a process around it: live region, channel, loop, HTTP server on a loopback port.
 * The test is the master and the client. Everything is asserted; `fixture_free` leaves nothing
 * behind.
 */
#ifndef OMNIROUTE_T_UNIT_WORKER_FIXTURE_H
#define OMNIROUTE_T_UNIT_WORKER_FIXTURE_H

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/buf.h"
#include "shared/channel.h"
#include "shared/clock.h"
#include "shared/curlio.h"
#include "shared/live.h"
#include "shared/log.h"
#include "shared/seal.h"
#include "shared/snapshot.h"
#include "worker/accesslog.h"
#include "worker/endpoint.h"
#include "worker/http.h"
#include "worker/inbox.h"
#include "worker/view.h"
#include "worker/worker.h"

#define DEADLINE (10 * NS_PER_SEC)

static const uint8_t fixture_salt[32] = {9, 8, 7};

struct fixture {
	int master, channel; /* the ends of the channel */
	uint16_t port;
	uint64_t number;
	unsigned acts; /* times that the inbox asked for action */
	struct buf reply;
};
static struct fixture fx;

static inline struct snap_str
fixture_str(struct snapshot_builder *b, const char *s)
{
	return snapshot_string(b, s, strlen(s));
}

/* The next snapshot's builder with settings that serve. */
static inline struct snapshot_builder *
fixture_builder(uint32_t listeners, bool loopback)
{
	struct snapshot_builder *b = snapshot_builder_new(++fx.number);
	struct snap_listener l = {.kind = LISTENER_TCP, .loopback = loopback};
	struct snap_settings *s;

	assert_non_null(b);
	s = snapshot_settings(b);
	s->max_header_size = 32768;
	s->max_headers = 100;
	s->max_body_size = 1 << 20;
	s->max_response_size = s->max_event_size = 1 << 20;
	s->stream_buffer = 262144;
	s->max_connections = 100;
	s->header_timeout_ms = s->body_timeout_ms = s->keepalive_timeout_ms = s->send_timeout_ms =
	    10000;
	s->connect_timeout_ms = s->first_byte_timeout_ms = s->idle_timeout_ms = 10000;
	s->shutdown_timeout_ms = 10000;
	s->upstream_keepalive = 4;
	s->log_level = LOG_LV_NOTICE;
	memcpy(s->key_salt, fixture_salt, sizeof fixture_salt);
	for (uint32_t i = 0; i < listeners; i++) {
		l.ordinal = i;
		l.name = fixture_str(b, "127.0.0.1:0");
		assert_true(snapshot_add_listener(b, &l) >= 0);
	}
	return b;
}

static inline void
fixture_add_key(
    struct snapshot_builder *b, const char *key, unsigned slot, uint32_t scopes, uint32_t rpm)
{
	struct snap_key k = {
	    .id_hash = snapshot_hash(key, strlen(key)), .slot = slot, .scopes = scopes, .rpm = rpm};

	k.id = k.name = fixture_str(b, key);
	key_digest(fixture_salt, key, strlen(key), k.digest);
	assert_true(snapshot_add_key(b, &k) >= 0);
	live_key_bind(worker.live, slot, k.id_hash);
}

/* Sends it as the master does: the packet, then the announcement. Frees the builder. */
static inline void
fixture_publish(struct snapshot_builder *b)
{
	struct channel_msg m = {.type = MSG_SNAPSHOT, .arg = fx.number};
	int fd;

	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(channel_send(fx.master, &m, &fd, 1), 0);
	close(fd);
	atomic_store(&worker.me->want_snap, fx.number);
}

static inline void
fixture_act(void)
{
	fx.acts++;
	if (worker.http != NULL && inbox.changed)
		http_settings_changed(worker.http);
	inbox_taken();
}

/* One turn of the loop that does not wait for long. */
static inline void
fixture_turn(void)
{
	struct timeval tv = {.tv_usec = 2000};

	event_base_loopexit(worker.base, &tv);
	event_base_loop(worker.base, EVLOOP_ONCE);
}

/* The next message of the worker. */
static inline void
fixture_expect(uint32_t type, struct channel_msg *m)
{
	uint64_t until = clock_now_ns() + DEADLINE;
	int fds[CHANNEL_FDS];
	unsigned nfds;
	int r;

	while ((r = channel_recv(fx.master, m, fds, &nfds)) != 0) {
		assert_true(clock_now_ns() < until);
		fixture_turn();
	}
	assert_int_equal(m->type, type);
}

static inline void
fixture_new(struct snapshot_builder *(*first)(void))
{
	int live_fd, pair[2], slot;

	assert_int_equal(seal_init(), 0);
	signal(SIGPIPE, SIG_IGN);
	fx = (struct fixture){0};
	worker = (struct worker){0};
	inbox = (struct inbox){0};
	assert_int_equal(live_create(&live_fd), 0);
	assert_int_equal(live_map(live_fd, &worker.live), 0);
	close(live_fd);
	assert_true((slot = live_worker_take(worker.live, 1, 1)) >= 0);
	worker.slot = (unsigned)slot;
	worker.me = &worker.live->worker[slot];
	worker.generation = 1;
	assert_non_null(worker.base = event_base_new());
	assert_int_equal(channel_pair(pair), 0);
	fx.master = pair[0];
	fx.channel = pair[1];
	buf_init(&fx.reply, 1u << 22);
	assert_int_equal(inbox_open(worker.base, pair[1], fixture_act), 0);
	fixture_publish(first());
}

/* A loopback listener on a free port. */
static inline void
fixture_serve(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	fx.port = ntohs(a.sin_port);
	assert_non_null(worker_snapshot());
	worker.http = http_server_new(
	    worker.base, &endpoint_handler, worker_snapshot, worker.me, worker.live->worker);
	assert_non_null(worker.http);
	assert_int_equal(http_listen(worker.http, fd, 0), 0);
}

static inline void
fixture_free(void)
{
	if (worker.http != NULL)
		http_server_free(worker.http);
	view_free();
	accesslog_close();
	inbox_close();
	event_base_free(worker.base);
	live_unmap(worker.live);
	buf_clear(&fx.reply);
	if (fx.master != -1)
		close(fx.master);
	close(fx.channel);
}

/* Sends `text` on a connection of its own, reads until the worker closes. */
static inline const char *
fixture_ask(const char *text)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_port = htons(fx.port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	uint64_t until = clock_now_ns() + DEADLINE;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *reply;
	ssize_t n;

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
	buf_reset(&fx.reply);
	for (;;) {
		char *room = buf_reserve(&fx.reply, 65536);

		assert_non_null(room);
		n = recv(fd, room, 65536, MSG_DONTWAIT);
		if (n == 0)
			break;
		if (n > 0) {
			fx.reply.len += (size_t)n;
			continue;
		}
		assert_true(errno == EAGAIN && clock_now_ns() < until);
		fixture_turn();
	}
	close(fd);
	assert_non_null(reply = buf_cstr(&fx.reply));
	return reply;
}

/* GET of `path`, with further header lines. */
static inline const char *
fixture_get(const char *method, const char *path, const char *headers)
{
	char text[4096];
	int n = snprintf(text, sizeof text,
	    "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n", method, path, headers);

	assert_in_range(n, 1, sizeof text - 1);
	return fixture_ask(text);
}

/* The value of a header in `reply`, or NULL; valid until the next call. */
static inline const char *
fixture_header(const char *reply, const char *name)
{
	static char value[1024];
	size_t n = strlen(name);
	const char *p = reply, *end = strstr(reply, "\r\n\r\n");

	while (p < end && (p = strstr(p, "\r\n")) != NULL && p < end) {
		p += 2;
		if (strncasecmp(p, name, n) == 0 && p[n] == ':') {
			p += n + 1;
			p += strspn(p, " ");
			snprintf(value, sizeof value, "%.*s", (int)strcspn(p, "\r"), p);
			return value;
		}
	}
	return NULL;
}

static inline const char *
fixture_body(const char *reply)
{
	const char *p = strstr(reply, "\r\n\r\n");

	assert_non_null(p);
	return p + 4;
}

static inline int
fixture_status(const char *reply)
{
	int status = 0;

	assert_int_equal(sscanf(reply, "HTTP/1.1 %d", &status), 1);
	return status;
}

#endif
