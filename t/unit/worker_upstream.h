/*
 * An upstream in the loop of the worker under test: takes requests whole, answers with scripted
 * bytes, in order, and keeps what it received. On top of worker_fixture.h.
 */
#ifndef OMNIROUTE_T_UNIT_WORKER_UPSTREAM_H
#define OMNIROUTE_T_UNIT_WORKER_UPSTREAM_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include "t/unit/worker_fixture.h"
#include "worker/exchange.h"

enum up_then { UP_KEEP, UP_CLOSE, UP_RESET };

struct up_answer {
	const char *bytes; /* NULL: none */
	size_t n;          /* 0: strlen */
	enum up_then then;
};

static struct {
	struct evconnlistener *listener;
	int fd;
	uint16_t port;
	const struct up_answer *script; /* the last one is used again and again */
	unsigned scripts;
	unsigned accepted, requests, closed;
	struct buf request; /* the last one, head and body */
	struct bufferevent *last;
	struct bufferevent *open[64];
} up;

static inline size_t
up_request_len(const char *p, size_t n)
{
	const char *end = memmem(p, n, "\r\n\r\n", 4), *cl;
	size_t len;

	if (end == NULL)
		return 0;
	cl = strcasestr(p, "\r\ncontent-length:");
	len = (size_t)(end - p) + 4 + (cl != NULL ? strtoul(cl + 17, NULL, 10) : 0);
	return n >= len ? len : 0;
}

static inline void
up_finish(struct bufferevent *bev, enum up_then then)
{
	struct linger hard = {.l_onoff = 1};

	if (then == UP_RESET)
		setsockopt(bufferevent_getfd(bev), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	if (bev == up.last)
		up.last = NULL;
	for (unsigned i = 0; i < 64; i++)
		if (up.open[i] == bev)
			up.open[i] = NULL;
	bufferevent_free(bev);
}

static inline void
up_flushed(struct bufferevent *bev, void *ctx)
{
	up_finish(bev, (enum up_then)(intptr_t)ctx);
}

static inline void
up_gone(struct bufferevent *bev, short what, void *ctx)
{
	(void)what;
	(void)ctx;
	up.closed++;
	up_finish(bev, UP_CLOSE);
}

static inline void
up_send(const char *p, size_t n)
{
	assert_non_null(up.last);
	bufferevent_write(up.last, p, n);
}

static inline void
up_read(struct bufferevent *bev, void *ctx)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	const struct up_answer *a;
	size_t n;

	(void)ctx;
	buf_reset(&up.request);
	assert_int_equal(buf_add(&up.request, evbuffer_pullup(in, -1), evbuffer_get_length(in)), 0);
	assert_non_null(buf_cstr(&up.request));
	if ((n = up_request_len(up.request.data, up.request.len)) == 0)
		return;
	up.request.len = n;
	evbuffer_drain(in, n);
	a = &up.script[MIN(up.requests, up.scripts - 1)];
	up.requests++;
	up.last = bev;
	if (a->then != UP_KEEP)
		bufferevent_setcb(bev, NULL, a->bytes != NULL ? up_flushed : NULL, up_gone,
		    (void *)(intptr_t)a->then);
	if (a->bytes != NULL)
		bufferevent_write(bev, a->bytes, a->n != 0 ? a->n : strlen(a->bytes));
	else if (a->then != UP_KEEP)
		up_finish(bev, a->then);
}

static inline void
up_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len, void *ctx)
{
	struct bufferevent *bev = bufferevent_socket_new(worker.base, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)l;
	(void)sa;
	(void)len;
	(void)ctx;
	assert_true(up.accepted < 64);
	up.open[up.accepted++] = bev;
	bufferevent_setcb(bev, up_read, NULL, up_gone, NULL);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

/* Takes a port; to be told to the gateway before there is a loop. */
static inline void
up_open(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;

	memset(&up, 0, sizeof up);
	buf_init(&up.request, 1u << 24);
	up.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(up.fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(getsockname(up.fd, (struct sockaddr *)&a, &len), 0);
	up.port = ntohs(a.sin_port);
}

static inline void
up_serve(void)
{
	up.listener = evconnlistener_new(
	    worker.base, up_accept, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 16, up.fd);
	assert_non_null(up.listener);
}

static inline void
up_close(void)
{
	for (unsigned i = 0; i < 64; i++)
		if (up.open[i] != NULL)
			bufferevent_free(up.open[i]);
	evconnlistener_free(up.listener);
	buf_clear(&up.request);
}

static inline void
up_play(const struct up_answer *script, unsigned n)
{
	up.script = script;
	up.scripts = n;
	up.requests = 0;
}

/* A whole answer with a body. */
static inline const char *
up_json(struct buf *b, int status, const char *headers, const char *body)
{
	buf_reset(b);
	buf_addf(b,
	    "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
	    status, headers, strlen(body), body);
	return buf_cstr(b);
}

/* Turns the loop until `cond` or the deadline. */
#define UNTIL(cond) \
	do { \
		uint64_t until_ = clock_now_ns() + DEADLINE; \
		while (!(cond)) { \
			assert_true(clock_now_ns() < until_); \
			fixture_turn(); \
		} \
	} while (0)

#endif
