#include "master/publish.h"

#include <event2/event.h>
#include <stdlib.h>
#include <unistd.h>

#include "master/compose.h"
#include "master/peer.h"
#include "shared/channel.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"

#define WAIT_NS (2 * NS_PER_SEC)
#define CHECK_MS 50 /* how exactly the end of the wait is kept */

struct waiter {
	TAILQ_ENTRY(waiter) link;
	publish_done *done;
	void *ctx;
	uint64_t number; /* 0: not yet built */
	uint64_t deadline_ns;
	int error;
	bool from_peer;
};
TAILQ_HEAD(waiter_list, waiter);

/* The snapshot in force for one set of listeners. */
struct edition {
	struct listen_set *listen; /* a reference */
	int fd;
};

struct publisher {
	uint64_t number;
	struct edition *edition;
	unsigned neditions;
	struct waiter_list waiting;
	struct event *build, *check;
};

/* ---- editions ---- */

static void
editions_free(struct edition *e, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		close(e[i].fd);
		listen_put(e[i].listen);
	}
	free(e);
}

static int
edition_add(
    struct master *m, struct edition **e, unsigned *n, uint64_t number, struct listen_set *listen)
{
	struct edition *more;
	int fd, r;

	for (unsigned i = 0; i < *n; i++)
		if ((*e)[i].listen == listen)
			return 0;
	if ((r = compose_snapshot(m, number, listen, &fd)) != 0)
		return r;
	if ((more = realloc(*e, (*n + 1) * sizeof *more)) == NULL) {
		close(fd);
		return E_NOMEM;
	}
	more[*n] = (struct edition){.listen = listen_get(listen), .fd = fd};
	*e = more;
	(*n)++;
	return 0;
}

/* All sets that somebody has. Complete, or nothing has changed. */
static int
build(struct master *m)
{
	struct publisher *b = m->publisher;
	struct edition *e = NULL;
	unsigned n = 0;
	int r = edition_add(m, &e, &n, b->number + 1, m->listen);
	struct proc *p;

	if (m->supervisor != NULL)
		TAILQ_FOREACH (p, supervise_procs(m), link)
			if (r == 0)
				r = edition_add(m, &e, &n, b->number + 1, p->listen);
	if (r != 0) {
		editions_free(e, n);
		return r;
	}
	editions_free(b->edition, b->neditions);
	b->edition = e;
	b->neditions = n;
	b->number++;
	return 0;
}

/* ---- sending ---- */

static int
edition_send(struct publisher *b, struct proc *p)
{
	const struct channel_msg msg = {.type = MSG_SNAPSHOT, .arg = b->number};
	struct live_worker *w = &p->m->live->worker[p->slot];
	int r = E_NOT_FOUND;

	for (unsigned i = 0; i < b->neditions && r == E_NOT_FOUND; i++)
		if (b->edition[i].listen == p->listen)
			r = channel_send(p->channel, &msg, &b->edition[i].fd, 1);
	if (r == 0) {
		p->sent = b->number;
		atomic_store_explicit(&w->want_snap, b->number, memory_order_release);
	}
	return r;
}

/* One that has not read a whole socket of messages is hung, and must not serve with what is old
 * when it wakes up. */
static void
send_all(struct master *m)
{
	struct proc *p;

	if (m->supervisor == NULL)
		return;
	TAILQ_FOREACH (p, supervise_procs(m), link)
		if (p->state != PROC_KILLED && edition_send(m->publisher, p) == E_AGAIN)
			proc_kill(p, "it takes no snapshots");
}

int
publish_first(struct proc *p)
{
	struct publisher *b = p->m->publisher;
	int r = edition_add(p->m, &b->edition, &b->neditions, b->number, p->listen);

	if (r != 0 || (r = edition_send(b, p)) != 0)
		return r;
	p->born = b->number;
	return 0;
}

/* ---- waiting ---- */

/* A worker that was born with the snapshot cannot serve without it. */
static bool
is_behind(const struct proc *p, uint64_t number)
{
	return p->state != PROC_KILLED && p->born < number && p->taken < number;
}

static void
count(const struct master *m, struct publish_outcome *o)
{
	const struct proc *p;

	if (m->supervisor != NULL)
		TAILQ_FOREACH (p, supervise_procs(m), link) {
			if (is_behind(p, o->number))
				o->late++;
			else if (p->state != PROC_KILLED && p->taken >= o->number)
				o->workers++;
		}
	if (peers_behind(m, o->number))
		o->late++;
}

static bool
waiter_settle(struct master *m, struct waiter *w, uint64_t now)
{
	struct publish_outcome o = {.error = w->error, .number = w->number};

	if (w->number == 0 && w->error == 0)
		return false;
	if (w->error == 0) {
		count(m, &o);
		if (o.late > 0 && now < w->deadline_ns)
			return false;
		if (o.late > 0)
			log_warn("snapshot %llu: %u workers have not taken it yet",
			    (unsigned long long)o.number, o.late);
	}
	TAILQ_REMOVE(&m->publisher->waiting, w, link);
	if (w->done != NULL)
		w->done(w->ctx, &o);
	free(w);
	return true;
}

/* A call-back may publish again: start from the front after each. */
static void
settle(struct master *m)
{
	struct publisher *b = m->publisher;
	const struct timeval soon = {.tv_usec = CHECK_MS * 1000};
	uint64_t now = clock_now_ns();
	struct waiter *w;

again:
	TAILQ_FOREACH (w, &b->waiting, link)
		if (waiter_settle(m, w, now))
			goto again;
	if (!TAILQ_EMPTY(&b->waiting) && !event_pending(b->check, EV_TIMEOUT, NULL))
		event_add(b->check, &soon);
}

static void
on_check(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	settle(ctx);
}

void
publish_recheck(struct master *m)
{
	if (m->publisher != NULL)
		settle(m);
}

void
publish_taken(struct proc *p, uint64_t number)
{
	if (number > p->sent) {
		proc_kill(p, "it took a snapshot that does not exist");
		return;
	}
	p->taken = MAX(p->taken, number);
	settle(p->m);
}

/* The old one stays in force: it must not wait for this one any more. */
void
publish_refused(struct proc *p, uint64_t number, int error)
{
	struct live_worker *w = &p->m->live->worker[p->slot];
	struct waiter *wait;

	log_error("worker %d refuses snapshot %llu: %s worker=%u", (int)p->pid,
	    (unsigned long long)number, err_text(error), p->slot);
	if (atomic_load(&w->want_snap) == number)
		atomic_store(&w->want_snap, p->taken);
	TAILQ_FOREACH (wait, &p->m->publisher->waiting, link)
		if (wait->number == number)
			wait->error = error < 0 ? error : E_SYNTAX;
	settle(p->m);
}

/* ---- asking ---- */

static void
on_build(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	publish_flush(ctx);
}

void
publish_flush(struct master *m)
{
	struct publisher *b = m->publisher;
	uint64_t deadline = clock_now_ns() + WAIT_NS;
	bool due = false, ours = false;
	struct waiter *w;
	int r;

	event_del(b->build);
	TAILQ_FOREACH (w, &b->waiting, link) {
		due = due || (w->number == 0 && w->error == 0);
		ours = ours || (w->number == 0 && !w->from_peer);
	}
	if (!due)
		return;
	if ((r = build(m)) == 0)
		send_all(m);
	TAILQ_FOREACH (w, &b->waiting, link) {
		if (w->number != 0 || w->error != 0)
			continue;
		w->error = r;
		w->number = r == 0 ? b->number : 0;
		w->deadline_ns = deadline;
	}
	if (r == 0) {
		log_info("snapshot %llu published", (unsigned long long)b->number);
		peers_publish(m, b->number, ours);
	}
	settle(m);
}

static void
ask(struct master *m, publish_done *done, void *ctx, bool from_peer)
{
	struct publisher *b = m->publisher;
	struct waiter *w = calloc(1, sizeof *w);
	const struct publish_outcome failed = {.error = E_NOMEM};

	if (w == NULL) {
		log_error("no memory to publish a change");
		if (done != NULL)
			done(ctx, &failed);
		return;
	}
	w->done = done;
	w->ctx = ctx;
	w->from_peer = from_peer;
	TAILQ_INSERT_TAIL(&b->waiting, w, link);
	event_active(b->build, EV_TIMEOUT, 0);
}

void
publish_now(struct master *m, publish_done *done, void *ctx)
{
	ask(m, done, ctx, false);
}

void
publish_for_peer(struct master *m, publish_done *done, void *ctx)
{
	ask(m, done, ctx, true);
}

uint64_t
publish_number(const struct master *m)
{
	return m->publisher != NULL ? m->publisher->number : 0;
}

int
publish_start(struct master *m)
{
	struct publisher *b = calloc(1, sizeof *b);

	if (b == NULL)
		return E_NOMEM;
	m->publisher = b;
	TAILQ_INIT(&b->waiting);
	b->build = event_new(m->base, -1, 0, on_build, m);
	b->check = event_new(m->base, -1, 0, on_check, m);
	if (b->build == NULL || b->check == NULL)
		return E_NOMEM;
	return build(m);
}

void
publish_free(struct master *m)
{
	struct publisher *b = m->publisher;
	struct waiter *w;

	if (b == NULL)
		return;
	while ((w = TAILQ_FIRST(&b->waiting)) != NULL) {
		const struct publish_outcome o = {.error = E_CLOSED, .number = w->number};

		TAILQ_REMOVE(&b->waiting, w, link);
		if (w->done != NULL)
			w->done(w->ctx, &o);
		free(w);
	}
	editions_free(b->edition, b->neditions);
	if (b->build != NULL)
		event_free(b->build);
	if (b->check != NULL)
		event_free(b->check);
	free(b);
	m->publisher = NULL;
}
