/* The server as a whole, and the life of a connection from accept to close. */
#include "worker/http.h"

#include <event2/buffer.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "worker/http_conn.h"

const struct snap_settings *
http_settings(const struct http_server *s)
{
	return &snapshot_head(s->current())->settings;
}

void
http_count(struct http_server *s, enum live_counter which, uint64_t by)
{
	live_bump(&s->me->counter[which], by);
}

bool
http_may_warn(struct http_server *s)
{
	uint64_t now = clock_now_ns();
	if (s->warned_ns != 0 && now - s->warned_ns < NS_PER_SEC)
		return false;
	s->warned_ns = now;
	return true;
}

/* ---- server ---------------------------------------------------------------------------------- */

static void
on_idle(evutil_socket_t fd, short what, void *arg)
{
	struct http_server *s = arg;
	(void)fd;
	(void)what;
	if (s->idle != NULL && s->count == 0)
		s->idle(s->idle_ctx);
}

struct http_server *
http_server_new(struct event_base *base, const struct http_handler *h,
    struct snapshot *(*current)(void), struct live_worker *me, const struct live_worker *all)
{
	struct http_server *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->base = base;
	s->h = h;
	s->current = current;
	s->me = me;
	s->all = all;
	LIST_INIT(&s->listeners);
	LIST_INIT(&s->conns);
	TAILQ_INIT(&s->waiting);
	buf_init(&s->reply_head, 2 * 1024 * 1024);
	(void)signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to sockets without MSG_NOSIGNAL */
	http_accept_init(s);
	http_reply_init(s);
	event_assign(&s->idle_event, base, -1, 0, on_idle, s);
	if ((s->scratch = malloc(HTTP_READ_MAX)) == NULL) {
		http_server_free(s);
		return NULL;
	}
	return s;
}

void
http_settings_changed(struct http_server *s)
{
	struct http_listener *l;
	LIST_FOREACH(l, &s->listeners, link)
	tls_listener_update(l, s->current());
}

/*
 * A connection that is idle may be carrying a request at this very moment: closing it would lose
 * that. So each may send one more, whose reply says that the connection ends. Only what stays
 * silent for the whole while is closed without.
 */
void
http_retire(struct http_server *s, void (*idle)(void *ctx), void *ctx)
{
	struct http_conn *c, *next;
	s->idle = idle;
	s->idle_ctx = ctx;
	if (s->retiring)
		return;
	s->retiring = true;
	http_accept_stop(s);
	for (c = LIST_FIRST(&s->conns); c != NULL; c = next) {
		next = LIST_NEXT(c, link);
		if (c->phase == PH_HEAD && c->in.len == 0)
			conn_idle(c);
	}
	if (s->count == 0)
		event_active(&s->idle_event, EV_TIMEOUT, 0);
}

void
http_server_free(struct http_server *s)
{
	struct http_conn *c;
	if (s == NULL)
		return;
	s->idle = NULL;
	while ((c = LIST_FIRST(&s->conns)) != NULL) {
		conn_enter(c);
		conn_gone(c);
		conn_leave(c);
	}
	http_accept_stop(s);
	event_del(&s->resume);
	event_del(&s->flush);
	event_del(&s->idle_event);
	if (s->spare_fd != -1)
		close(s->spare_fd);
	buf_wipe(&s->reply_head);
	free(s->head.field);
	free(s->scratch);
	free(s);
}

unsigned
http_connections(const struct http_server *s)
{
	return s->count;
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static void
timer_arm(struct http_conn *c, uint64_t now)
{
	uint64_t us = c->deadline_ns > now ? (c->deadline_ns - now) / 1000 + 1 : 0;
	struct timeval tv = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};
	c->armed_ns = evtimer_add(&c->timer, &tv) == 0 ? c->deadline_ns : 0;
}

void
conn_deadline(struct http_conn *c, uint64_t ms)
{
	uint64_t now;
	if (ms == 0) {
		c->deadline_ns = 0;
		return;
	}
	now = clock_now_ns();
	c->deadline_ns = now + ms * NS_PER_MS;
	if (c->armed_ns == 0 || c->deadline_ns < c->armed_ns)
		timer_arm(c, now);
}

/* A timer, since an event that is made active is served before the loop looks at the others. */
void
conn_yield(struct http_conn *c)
{
	static const struct timeval now = {0, 0};
	if (c->yielded || c->dead)
		return;
	if (evtimer_add(&c->timer, &now) != 0) {
		conn_kick(c);
		return;
	}
	c->yielded = true;
	c->armed_ns = 1; /* earlier than any deadline */
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct http_conn *c = arg;
	uint64_t now = clock_now_ns();
	(void)fd;
	(void)what;
	c->armed_ns = 0;
	conn_enter(c);
	if (c->yielded) {
		c->yielded = false;
		c->turn_heads = 0;
		conn_feed(c, NULL, 0);
		/* What OpenSSL holds wakes nobody. */
		if (!c->dead && !c->eof && !c->yielded && tls_pending(c))
			conn_readable(c);
	} else if (c->deadline_ns != 0 && now >= c->deadline_ns) {
		c->deadline_ns = 0;
		conn_timeout(c);
	}
	if (!c->dead && c->deadline_ns != 0 && c->armed_ns == 0)
		timer_arm(c, now);
	conn_leave(c);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void
count_conns(struct http_server *s, int by)
{
	s->count += (unsigned)by;
	atomic_store_explicit(&s->me->conns, s->count, memory_order_relaxed);
}

static const struct snap_listener *
find_listener(const struct snapshot *snap, uint32_t ordinal)
{
	for (uint32_t i = 0; i < snapshot_head(snap)->listeners.count; i++)
		if (snapshot_listener(snap, i)->ordinal == ordinal)
			return snapshot_listener(snap, i);
	return NULL;
}

static struct http_listener *
own_listener(struct http_server *s, uint32_t ordinal)
{
	struct http_listener *l;
	LIST_FOREACH(l, &s->listeners, link)
	if (l->ordinal == ordinal)
		return l;
	return NULL;
}

void
conn_busy(struct http_conn *c)
{
	if (c->waits_ns != 0)
		TAILQ_REMOVE(&c->s->waiting, c, wait_link);
	c->waits_ns = 0;
}

/* What arrives of a head changes nothing: its place is that of the moment when it could have come.
 */
void
conn_waits(struct http_conn *c)
{
	conn_busy(c);
	TAILQ_INSERT_TAIL(&c->s->waiting, c, wait_link);
	c->waits_ns = clock_now_ns();
}

static int
conn_greet(struct http_conn *c, const struct snap_listener *settings)
{
	c->phase = PH_HEAD;
	if (settings != NULL && settings->tls) {
		const struct http_listener *l = own_listener(c->s, c->ordinal);
		int r = l != NULL ? tls_start(c, l) : E_NOT_FOUND;
		if (r != 0)
			return r;
		c->phase = PH_TLS;
	}
	conn_waits(c);
	conn_deadline(c, http_settings(c->s)->header_timeout_ms);
	return 0;
}

struct http_conn *
conn_open(struct http_server *s, int fd, const struct sockaddr *peer, uint32_t ordinal)
{
	const struct snap_listener *settings = find_listener(s->current(), ordinal);
	struct http_conn *c = calloc(1, sizeof(*c));
	bool unix_peer = false;
	if (c == NULL) {
		close(fd);
		return NULL;
	}
	c->s = s;
	c->fd = fd;
	c->ordinal = ordinal;
	peer_of_socket(peer, &c->peer, &unix_peer);
	c->unix_peer = unix_peer;
	c->loopback_listener = settings != NULL && settings->loopback;
	buf_init(&c->in, SIZE_MAX / 4);
	buf_init(&c->extra, 1024 * 1024);
	buf_init(&c->held, 2 * 1024 * 1024);
	evtimer_assign(&c->timer, s->base, on_timer, c);
	event_assign(&c->io, s->base, fd, 0, conn_event, c);
	LIST_INSERT_HEAD(&s->conns, c, link);
	count_conns(s, 1);
	http_count(s, CTR_connections, 1);
	conn_enter(c);
	if (conn_greet(c, settings) != 0)
		conn_kill(c);
	else
		conn_watch(c); /* which may fail: before the last look at c */
	if (c->broken)
		conn_kill(c);
	bool dead = c->dead;
	conn_leave(c);
	return dead ? NULL : c;
}

void
conn_enter(struct http_conn *c)
{
	c->depth++;
}

void
conn_leave(struct http_conn *c)
{
	if (c->depth == 1 && !c->dead)
		conn_watch(c);
	if (--c->depth == 0 && c->dead)
		free(c);
}

void
conn_kill(struct http_conn *c)
{
	struct http_server *s = c->s;
	if (c->dead)
		return;
	if (c->depth == 0)
		bug("a connection is closed outside conn_enter and conn_leave");
	c->dead = true;
	event_del(&c->io);
	event_del(&c->timer);
	tls_free(c);
	close(c->fd);
	if (c->out != NULL)
		evbuffer_free(c->out);
	c->out = NULL;
	c->out_len = 0;
	conn_forget_later(c);
	conn_request_clear(c);
	buf_wipe(&c->in);
	conn_busy(c);
	LIST_REMOVE(c, link);
	count_conns(s, -1);
	if (s->retiring && s->count == 0)
		event_active(&s->idle_event, EV_TIMEOUT, 0);
}

void
conn_kick(struct http_conn *c)
{
	if (c->kicked || c->dead)
		return;
	c->kicked = true;
	event_active(&c->io, EV_TIMEOUT, 0);
}

void
conn_gone(struct http_conn *c)
{
	struct http_req *r = &c->req;
	if (c->dead)
		return;
	c->eof = true;
	c->keep = false;
	c->broken = true;
	if (c->told) {
		c->told = false;
		c->phase = PH_FLUSH;
		if (r->status == 0)
			r->status = 499;
		http_count(c->s, CTR_client_gone, 1);
		c->s->h->on_gone(r);
	}
	if (c->phase == PH_FLUSH)
		conn_done(c);
	conn_kill(c);
}

/* A client that closes its side while it has a request in hand is taken to have left: nobody waits
 * for the reply. */
void
conn_left(struct http_conn *c, bool reset)
{
	c->eof = true;
	c->keep = false;
	if (reset || c->told || c->phase != PH_FLUSH)
		conn_gone(c);
}

void
conn_idle(struct http_conn *c)
{
	uint64_t ms = http_settings(c->s)->keepalive_timeout_ms;
	if (ms == 0 || (c->s->retiring && ms > HTTP_RETIRE_MS))
		ms = HTTP_RETIRE_MS; /* 0: it became so while the last reply was on its way */
	c->phase = PH_HEAD;
	conn_waits(c);
	conn_deadline(c, ms);
}
