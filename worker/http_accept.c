/*
 * Accepting. All workers share the listening sockets, so the kernel wakes several of them for one
 * connection, and whoever is first has it. To keep the load even, a worker that has clearly more
 * connections than another ready one looks away for a moment: the other was woken, too. Nobody has
 * to be believed for long: after that moment it takes what is still there, so a stopped or dead
 * worker holds nobody's connection.
 *
 * Over max_connections: left to a worker that has room; if none has, the connection that has been
 * without a request for longest goes, so that one client with many silent connections does not lock
 * the others out. If all have work, a few are still read so that they get a 503, the rest waits in
 * the queue. Out of descriptors: a spare one is given up to accept, refuse and close one
 * connection.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "worker/http_conn.h"

#define PER_WAKE 4     /* accepts in one turn of the loop */
#define DEFER_MS 2     /* how long a connection is left to another worker */
#define FULL_MS 20     /* until one that is full looks again */
#define SHED_MS 100    /* until one without descriptors looks again */
#define SURPLUS_MAX 64 /* connections over the limit that get an answer */
#define SPARE_LOOK 8   /* waiting connections that are looked at for one to close */
#define STALE_NS (2 * NS_PER_SEC + NS_PER_SEC / 2) /* a heartbeat comes every second */

#define REFUSAL_BODY \
	"{\"error\":{\"message\":\"The gateway has no free connection\",\"type\":" \
	"\"server_error\",\"code\":\"service_unavailable\"}}"
#define REFUSAL \
	"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n" \
	"Content-Length: 109\r\nX-Request-Id: %s\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
static_assert(sizeof(REFUSAL_BODY) - 1 == 109, "Content-Length above");

static void
accept_pause(struct http_server *s, unsigned ms)
{
	struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000 * 1000)};
	struct http_listener *l;
	LIST_FOREACH(l, &s->listeners, link)
	event_del(&l->accept);
	evtimer_add(&s->resume, &tv);
}

/* Fewest connections of another worker that is ready and alive; UINT32_MAX: there is none. */
static uint32_t
least_elsewhere(const struct http_server *s)
{
	uint64_t now = clock_now_ns();
	uint32_t least = UINT32_MAX;
	for (unsigned i = 0; i < LIVE_WORKERS; i++) {
		const struct live_worker *w = &s->all[i];
		if (w == s->me ||
		    atomic_load_explicit(&w->state, memory_order_relaxed) != WORKER_READY ||
		    atomic_load_explicit(&w->owner, memory_order_relaxed) == 0)
			continue;
		uint64_t beat = atomic_load_explicit(&w->heartbeat_ns, memory_order_relaxed);
		if (now > beat && now - beat > STALE_NS)
			continue;
		uint32_t conns = atomic_load_explicit(&w->conns, memory_order_relaxed);
		least = MIN(least, conns);
	}
	return least;
}

/* Bytes of a request that wait in the socket: closing it would lose them. */
static bool
has_unread(const struct http_conn *c)
{
	char byte;
	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* A partial head, a handshake, or what is still sent behind a refusal, has no more right to its
 * place than silence has. */
static bool
spare_one(struct http_server *s)
{
	uint64_t now = clock_now_ns();
	struct http_conn *c, *next;
	unsigned looked = 0;
	for (c = TAILQ_FIRST(&s->waiting); c != NULL && looked < SPARE_LOOK; c = next, looked++) {
		next = TAILQ_NEXT(c, wait_link);
		if (now - c->waits_ns < HTTP_SPARE_MS * NS_PER_MS)
			return false;
		if (c->phase != PH_LINGER && has_unread(c))
			continue;
		if (http_may_warn(s))
			log_warn("max_connections is reached: an idle client connection is closed");
		conn_enter(c);
		conn_gone(c);
		conn_leave(c);
		return true;
	}
	return false;
}

static bool
has_room(struct http_server *s)
{
	return s->count < http_settings(s)->max_connections || spare_one(s);
}

/* Whether to look away, and for how long. */
static unsigned
defer_ms(struct http_server *s)
{
	uint32_t max = http_settings(s)->max_connections, least = least_elsewhere(s);
	if (s->count >= max && least < max)
		return DEFER_MS;
	if (s->count >= max + SURPLUS_MAX && !has_room(s))
		return FULL_MS;
	return least != UINT32_MAX && s->count > least + 1 + least / 16 ? DEFER_MS : 0;
}

/* In the clear, and only where that is spoken. */
static void
refuse_unread(struct http_server *s, int fd)
{
	char unread[4096], id[40], text[sizeof(REFUSAL) + sizeof(id) + sizeof(REFUSAL_BODY)];
	http_uuid(s, id);
	int n = snprintf(text, sizeof(text), REFUSAL REFUSAL_BODY, id);
	(void)recv(fd, unread, sizeof(unread), 0); /* else the close is a reset */
	(void)send(fd, text, (size_t)n, MSG_NOSIGNAL);
}

static void
shed_one(struct http_listener *l)
{
	struct http_server *s = l->s;
	if (s->spare_fd != -1) {
		close(s->spare_fd);
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd != -1) {
			if (l->tls == NULL)
				refuse_unread(s, fd);
			close(fd);
		}
	}
	s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (http_may_warn(s))
		log_warn("no descriptor is free for a client connection; raise rlimit_nofile");
	accept_pause(s, SHED_MS);
}

static bool
accept_one(struct http_listener *l)
{
	struct http_server *s = l->s;
	union {
		struct sockaddr sa;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} peer;
	socklen_t len = sizeof(peer);
	memset(&peer, 0, sizeof(peer.in6));
	int fd = accept4(l->fd, &peer.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd == -1) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			shed_one(l);
		return errno == ECONNABORTED || errno == EINTR;
	}
	bool surplus = !has_room(s);
	struct http_conn *c = conn_open(s, fd, &peer.sa, l->ordinal);
	if (c != NULL)
		c->surplus = surplus;
	return true;
}

static void
on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct http_listener *l = arg;
	struct http_server *s = l->s;
	(void)fd;
	(void)what;
	for (unsigned i = 0; i < PER_WAKE; i++) {
		unsigned ms = defer_ms(s);
		if (ms > 0 && i > 0)
			return; /* whether there is one more the next turn will tell */
		if (ms > 0) {
			http_count(s, CTR_accept_deferred, 1);
			accept_pause(s, ms);
			return;
		}
		if (!accept_one(l))
			return;
	}
}

/* The moment is over: one connection of each listener is taken, whatever the others have. */
static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct http_server *s = arg;
	struct http_listener *l;
	(void)fd;
	(void)what;
	LIST_FOREACH(l, &s->listeners, link)
	if (s->count < http_settings(s)->max_connections)
		(void)accept_one(l);
	if (evtimer_pending(&s->resume, NULL))
		return;
	LIST_FOREACH(l, &s->listeners, link)
	event_add(&l->accept, NULL);
}

void
http_accept_init(struct http_server *s)
{
	s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	evtimer_assign(&s->resume, s->base, on_resume, s);
}

int
http_listen(struct http_server *s, int fd, uint32_t ordinal)
{
	int on = 1, flags = fcntl(fd, F_GETFL);
	struct http_listener *l = calloc(1, sizeof(*l));
	if (l == NULL)
		return E_NOMEM;
	if (flags == -1 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
		free(l);
		return E_SYSTEM;
	}
	/* Accepted sockets inherit it. A Unix socket has no such option. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	*l = (struct http_listener){.s = s, .fd = fd, .ordinal = ordinal};
	event_assign(&l->accept, s->base, fd, EV_READ | EV_PERSIST, on_acceptable, l);
	LIST_INSERT_HEAD(&s->listeners, l, link);
	tls_listener_update(l, s->current());
	if (event_add(&l->accept, NULL) == 0)
		return 0;
	LIST_REMOVE(l, link);
	tls_listener_clear(l);
	free(l);
	return E_SYSTEM;
}

void
http_accept_stop(struct http_server *s)
{
	struct http_listener *l;
	event_del(&s->resume);
	while ((l = LIST_FIRST(&s->listeners)) != NULL) {
		LIST_REMOVE(l, link);
		event_del(&l->accept);
		tls_listener_clear(l);
		close(l->fd);
		free(l);
	}
}
