#include "master/usage.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/orphan.h"
#include "master/start.h"
#include "master/supervise.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/spool.h"
#include "shared/store.h"

#define BATCH 4096 /* records of one commit: some 20 ms of the loop */
#define SPACING_NS \
	(20 * NS_PER_MS) /* between two commits, so that a busy second is not a thousand of them \
			  */
#define TICK_MS 1000
#define SPOOL_TICKS 60

static_assert(LIVE_WORKERS <= 64, "slots are a bit mask");

struct usage {
	struct event *wake, *soon, *tick;
	uint64_t last_ns; /* the last commit */
	uint64_t buried;  /* slots whose worker is gone */
	unsigned next;    /* slot with which the next round begins */
	unsigned ticks;
	int error; /* of the last attempt; 0: all is well */
	struct foreign_slots foreign;
	struct usage_record batch[BATCH];
};

/* ---- storing ---- */

struct records {
	const struct usage_record *v;
	size_t n;
};

static int
put_records(struct store_txn *t, void *ctx)
{
	const struct records *r = ctx;
	int error = 0;

	for (size_t i = 0; i < r->n && error == 0; i++)
		error = store_put_usage(t, &r->v[i]);
	return error;
}

static int
store_records(struct master *m, const struct usage_record *v, size_t n)
{
	struct usage *u = m->usage;
	struct records r = {.v = v, .n = n};
	int error = n > 0 ? store_write(m->store, put_records, &r) : 0;

	u->last_ns = clock_now_ns();
	if (error != 0 && u->error == 0)
		log_error(
		    "usage records cannot be stored and are kept in memory: %s", err_text(error));
	else if (error == 0 && u->error != 0 && n > 0)
		log_notice("usage records can be stored again");
	if (error != 0 || n > 0)
		u->error = error;
	return error;
}

/* ---- rings ---- */

static bool
is_ours(const struct master *m, unsigned slot)
{
	return atomic_load(&m->live->worker[slot].owner) == m->generation;
}

/* Copies what is pending; *seen counts damaged records too. How many went to `out`. */
static size_t
ring_copy(
    const struct ring *r, unsigned slot, struct usage_record *out, size_t room, uint64_t *seen)
{
	size_t n = 0;
	int error;

	for (*seen = 0; n < room && ring_peek(r, *seen, &out[n], &error); (*seen)++) {
		if (error == 0)
			n++;
		else
			log_error(
			    "a usage record of worker slot %u makes no sense and is dropped", slot);
	}
	return n;
}

/* One commit. True: there is more. */
static bool
round_once(struct master *m)
{
	struct usage *u = m->usage;
	uint64_t seen[LIVE_WORKERS] = {0};
	unsigned first = u->next;
	size_t n = 0;

	for (unsigned i = 0; i < LIVE_WORKERS && n < BATCH; i++) {
		unsigned slot = (first + i) % LIVE_WORKERS;

		if (!is_ours(m, slot))
			continue;
		n += ring_copy(
		    &m->live->worker[slot].ring, slot, u->batch + n, BATCH - n, &seen[slot]);
		u->next = (slot + 1) % LIVE_WORKERS;
	}
	if (store_records(m, u->batch, n) != 0)
		return false;
	for (unsigned slot = 0; slot < LIVE_WORKERS; slot++)
		if (seen[slot] > 0)
			ring_consume(&m->live->worker[slot].ring, seen[slot]);
	return n == BATCH;
}

/* ---- graves ---- */

struct orphans {
	struct usage_record *v;
	size_t n, cap;
	bool failed;
};

static void
keep_orphan(void *ctx, const struct usage_record *rec)
{
	struct orphans *o = ctx;
	struct usage_record *more;

	if (o->n == o->cap) {
		more = realloc(o->v, (o->cap + 64) * 2 * sizeof *more);
		if (more == NULL) {
			o->failed = true;
			return;
		}
		o->v = more;
		o->cap = (o->cap + 64) * 2;
	}
	o->v[o->n++] = *rec;
}

static bool
bury(struct master *m, unsigned slot)
{
	struct ring *r = &m->live->worker[slot].ring;
	struct orphans o = {0};
	bool done = false;

	if (ring_pending(r) > 0)
		return false;
	ring_each_orphan(r, keep_orphan, &o);
	if (!o.failed && store_records(m, o.v, o.n) == 0) {
		ring_orphans(r, NULL, NULL);
		live_worker_release(m->live, slot);
		m->usage->buried &= ~(UINT64_C(1) << slot);
		done = true;
		if (o.n > 0)
			log_warn("%zu requests of a dead worker are booked as unknown worker=%u",
			    o.n, slot);
	}
	free(o.v);
	return done;
}

static void
bury_all(struct master *m)
{
	struct usage *u = m->usage;
	bool any = false;

	for (unsigned slot = 0; slot < LIVE_WORKERS; slot++)
		if ((u->buried >> slot & 1) != 0 && bury(m, slot))
			any = true;
	if (any) {
		supervise_check(m);
		master_idle(m);
	}
}

/* ---- when ---- */

static void
run(struct master *m)
{
	struct usage *u = m->usage;

	if (round_once(m))
		event_active(u->soon, EV_TIMEOUT, 0);
	if (u->buried != 0)
		bury_all(m);
}

static void
on_soon(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	run(ctx);
}

static void
on_wake(evutil_socket_t fd, short what, void *ctx)
{
	struct master *m = ctx;
	struct usage *u = m->usage;
	uint64_t count, since = clock_now_ns() - u->last_ns;
	struct timeval wait = {0};

	(void)what;
	while (read(fd, &count, sizeof count) == (ssize_t)sizeof count)
		continue;
	if (u->error != 0 || event_pending(u->soon, EV_TIMEOUT, NULL))
		return;
	if (since < SPACING_NS)
		wait.tv_usec = (suseconds_t)((SPACING_NS - since) / NS_PER_US);
	event_add(u->soon, &wait);
}

static int
store_spooled(void *ctx, const struct usage_record *v, size_t n)
{
	return store_records(ctx, v, n);
}

static void
collect_spool(struct master *m)
{
	struct buf dir = BUF_INIT(8192);
	int r;

	buf_addf(&dir, "%s/spool", m->conf->data_dir);
	if (buf_cstr(&dir) != NULL && (r = spool_collect(dir.data, store_spooled, m)) != 0)
		log_error("the spool folder %s: %s", dir.data, err_text(r));
	buf_clear(&dir);
}

static void
on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct master *m = ctx;
	struct usage *u = m->usage;
	uint64_t taken;

	(void)fd;
	(void)what;
	taken = foreign_slots_take(&u->foreign, m->live, m->generation);
	u->buried |= taken;
	run(m);
	if (taken != 0 || ++u->ticks % SPOOL_TICKS == 0)
		collect_spool(m);
}

/* ---- life ---- */

void
usage_bury(struct master *m, unsigned slot)
{
	m->usage->buried |= UINT64_C(1) << slot;
	run(m);
}

bool
usage_idle(const struct master *m)
{
	return m->usage == NULL || m->usage->buried == 0;
}

int
usage_start(struct master *m)
{
	const struct timeval tick = {.tv_sec = TICK_MS / 1000};
	struct usage *u = calloc(1, sizeof *u);

	if (u == NULL)
		return E_NOMEM;
	m->usage = u;
	u->wake = event_new(m->base, m->event_fd, EV_READ | EV_PERSIST, on_wake, m);
	u->soon = event_new(m->base, -1, 0, on_soon, m);
	u->tick = event_new(m->base, -1, EV_PERSIST, on_tick, m);
	if (u->wake == NULL || u->soon == NULL || u->tick == NULL ||
	    event_add(u->wake, NULL) != 0 || event_add(u->tick, &tick) != 0)
		return E_NOMEM;
	collect_spool(m);
	return 0;
}

static void
last_round(struct master *m)
{
	uint64_t lost = 0;

	while (round_once(m))
		continue;
	for (unsigned slot = 0; slot < LIVE_WORKERS; slot++)
		if (is_ours(m, slot)) {
			(void)bury(m, slot);
			lost += ring_pending(&m->live->worker[slot].ring);
		}
	collect_spool(m);
	if (lost > 0)
		log_error("%llu usage records could not be stored and are lost",
		    (unsigned long long)lost);
}

void
usage_free(struct master *m)
{
	struct usage *u = m->usage;

	if (u == NULL)
		return;
	last_round(m);
	if (u->wake != NULL)
		event_free(u->wake);
	if (u->soon != NULL)
		event_free(u->soon);
	if (u->tick != NULL)
		event_free(u->tick);
	free(u);
	m->usage = NULL;
}
