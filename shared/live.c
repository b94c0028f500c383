#include "shared/live.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/err.h"

#define LAYOUT(type, member, at) \
	static_assert(offsetof(struct type, member) == (at), "layout changed: raise LIVE_MAJOR")

LAYOUT(live_hist, sum_us, 384);
LAYOUT(live_hist, count, 392);
LAYOUT(live_worker_provider, latency, 32);
LAYOUT(live_worker_provider, ttft, 432);
LAYOUT(live_worker, owner, 0);
LAYOUT(live_worker, generation, 8);
LAYOUT(live_worker, pid, 16);
LAYOUT(live_worker, state, 20);
LAYOUT(live_worker, started_ns, 24);
LAYOUT(live_worker, want_snap, 32);
LAYOUT(live_worker, have_snap, 40);
LAYOUT(live_worker, heartbeat_ns, 48);
LAYOUT(live_worker, conns, 56);
LAYOUT(live_worker, open, 60);
LAYOUT(live_worker, exchanges, 64);
LAYOUT(live_worker, rss_kb, 84);
LAYOUT(live_worker, counter, 88);
LAYOUT(live_worker, latency, 600);
LAYOUT(live_worker, ttft, 1000);
LAYOUT(live_worker, provider, 1400);
LAYOUT(live_worker, ring, 214400);
LAYOUT(live_conn, id, 0);
LAYOUT(live_conn, health, 8);
LAYOUT(live_conn, last_used_wall_ms, 16);
LAYOUT(live_conn, last_error, 24);
LAYOUT(live_conn, inflight, 32);
LAYOUT(live_key, id, 0);
LAYOUT(live_key, last_used_wall_ms, 8);
LAYOUT(live_key, rpm, 16);
LAYOUT(live_head, len, 8);
LAYOUT(live_head, workers, 16);
LAYOUT(live_head, off_worker, 32);
LAYOUT(live, conn, 64);
LAYOUT(live, key, 64 + 288 * LIVE_CONNS);
static_assert(sizeof(struct live_conn) == 288, "layout changed: raise LIVE_MAJOR");
static_assert(sizeof(struct live_key) == 2072, "layout changed: raise LIVE_MAJOR");
static_assert(sizeof(struct live_worker) == 7751168, "layout changed: raise LIVE_MAJOR");

#define HEALTH_END_BITS 48
#define HEALTH_END_MASK ((UINT64_C(1) << HEALTH_END_BITS) - 1)
#define HEALTH_END_MAX (UINT64_MAX / NS_PER_MS) /* ms that can be told in ns */
#define HEALTH_FAILURES_MAX UINT64_C(0xffff)

/* ---- the region ---- */

/* The memory stays untouched, and therefore unallocated, but for the page of the head. */
static int
region_fill(int fd)
{
	struct live *live;

	if (ftruncate(fd, sizeof *live) != 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		return E_SYSTEM;
	live = mmap(NULL, sizeof live->head, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (live == MAP_FAILED)
		return E_SYSTEM;
	live->head.major = LIVE_MAJOR;
	live->head.minor = LIVE_MINOR;
	live->head.len = sizeof *live;
	live->head.workers = LIVE_WORKERS;
	live->head.conns = LIVE_CONNS;
	live->head.keys = LIVE_KEYS;
	live->head.providers = LIVE_PROVIDERS;
	live->head.off_worker = offsetof(struct live, worker);
	live->head.off_conn = offsetof(struct live, conn);
	live->head.off_key = offsetof(struct live, key);
	atomic_store_explicit(&live->head.magic, LIVE_MAGIC, memory_order_release);
	munmap(live, sizeof live->head);
	return 0;
}

int
live_create(int *fd)
{
	int r;

	*fd = memfd_create("omniroute-live", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd == -1)
		return E_SYSTEM;
	if ((r = region_fill(*fd)) != 0) {
		close(*fd);
		*fd = -1;
	}
	return r;
}

static int
head_check(const struct live_head *h, uint64_t file_len)
{
	if (atomic_load_explicit(&h->magic, memory_order_acquire) != LIVE_MAGIC ||
	    h->major != LIVE_MAJOR || h->workers != LIVE_WORKERS || h->conns != LIVE_CONNS ||
	    h->keys != LIVE_KEYS || h->providers != LIVE_PROVIDERS ||
	    h->off_worker != offsetof(struct live, worker) ||
	    h->off_conn != offsetof(struct live, conn) ||
	    h->off_key != offsetof(struct live, key) || h->len < sizeof(struct live))
		return E_VERSION;
	return h->len <= file_len ? 0 : E_TRUNCATED;
}

int
live_map(int fd, struct live **live)
{
	struct stat st;
	void *p;
	int r;

	*live = NULL;
	if (fstat(fd, &st) != 0)
		return E_SYSTEM;
	if (st.st_size < (off_t)sizeof **live)
		return E_TRUNCATED;
	p = mmap(NULL, sizeof **live, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return E_SYSTEM;
	if (madvise(p, sizeof **live, MADV_DONTDUMP) != 0)
		r = E_SYSTEM;
	else
		r = head_check(p, (uint64_t)st.st_size);
	if (r != 0)
		munmap(p, sizeof **live);
	else
		*live = p;
	return r;
}

void
live_unmap(struct live *live)
{
	if (live != NULL)
		munmap(live, sizeof *live);
}

/* ---- workers ---- */

static struct live_worker *
worker_at(struct live *live, unsigned slot)
{
	if (slot >= LIVE_WORKERS)
		bug("worker slot %u of %u", slot, (unsigned)LIVE_WORKERS);
	return &live->worker[slot];
}

static void
worker_clear(struct live_worker *w)
{
	atomic_store(&w->conns, 0);
	atomic_store(&w->open, 0);
	for (unsigned i = 0; i < XS_COUNT; i++)
		atomic_store(&w->exchanges[i], 0);
	atomic_store(&w->rss_kb, 0);
	atomic_store(&w->want_snap, 0);
	atomic_store(&w->have_snap, 0);
	atomic_store(&w->heartbeat_ns, 0);
	atomic_store(&w->started_ns, 0);
}

int
live_worker_take(struct live *live, uint64_t owner, uint64_t generation)
{
	for (unsigned slot = 0; slot < LIVE_WORKERS; slot++) {
		struct live_worker *w = &live->worker[slot];
		uint64_t nobody = 0;

		if (!atomic_compare_exchange_strong(&w->owner, &nobody, owner))
			continue;
		worker_clear(w);
		atomic_store(&w->pid, 0);
		atomic_store(&w->generation, generation);
		atomic_store(&w->state, WORKER_STARTING);
		return (int)slot;
	}
	return E_FULL;
}

/* The owner goes last: a master that dies on the way leaves a slot that is still its own, to be
 * released again. */
void
live_worker_release(struct live *live, unsigned slot)
{
	struct live_worker *w = worker_at(live, slot);

	for (unsigned i = 0; i < LIVE_CONNS; i++)
		if (atomic_load_explicit(&live->conn[i].inflight[slot], memory_order_relaxed) != 0)
			atomic_store(&live->conn[i].inflight[slot], 0);
	worker_clear(w);
	atomic_store(&w->pid, 0);
	atomic_store(&w->state, WORKER_FREE);
	atomic_store_explicit(&w->owner, 0, memory_order_release);
}

/* ---- connections and keys ---- */

static const struct live_conn *
conn_at(const struct live *live, unsigned slot)
{
	if (slot >= LIVE_CONNS)
		bug("connection slot %u of %u", slot, (unsigned)LIVE_CONNS);
	return &live->conn[slot];
}

void
live_conn_bind(struct live *live, unsigned slot, uint64_t id)
{
	struct live_conn *c = &live->conn[slot];

	if (atomic_load(&conn_at(live, slot)->id) == id)
		return;
	atomic_store(&c->health, 0);
	atomic_store(&c->last_used_wall_ms, 0);
	atomic_store(&c->last_error, 0);
	atomic_store_explicit(&c->id, id, memory_order_release);
}

void
live_key_bind(struct live *live, unsigned slot, uint64_t id)
{
	struct live_key *k;

	if (slot >= LIVE_KEYS)
		bug("key slot %u of %u", slot, (unsigned)LIVE_KEYS);
	k = &live->key[slot];
	if (atomic_load(&k->id) == id)
		return;
	atomic_store(&k->last_used_wall_ms, 0);
	rate_clear(&k->rpm);
	atomic_store_explicit(&k->id, id, memory_order_release);
}

uint32_t
live_conn_inflight(const struct live *live, unsigned slot)
{
	const struct live_conn *c = conn_at(live, slot);
	uint32_t sum = 0;

	for (unsigned i = 0; i < LIVE_WORKERS; i++)
		sum += atomic_load_explicit(&c->inflight[i], memory_order_relaxed);
	return sum;
}

/* A column has one writer: a plain load and store. */
static _Atomic uint32_t *
column(struct live *live, unsigned slot, unsigned worker)
{
	if (slot >= LIVE_CONNS || worker >= LIVE_WORKERS)
		bug("column %u of connection slot %u", worker, slot);
	return &live->conn[slot].inflight[worker];
}

void
live_conn_enter(struct live *live, unsigned slot, unsigned worker)
{
	_Atomic uint32_t *n = column(live, slot, worker);

	atomic_store_explicit(
	    n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
}

void
live_conn_leave(struct live *live, unsigned slot, unsigned worker)
{
	_Atomic uint32_t *n = column(live, slot, worker);
	uint32_t now = atomic_load_explicit(n, memory_order_relaxed);

	if (now == 0)
		bug("connection slot %u left more often than entered by worker %u", slot, worker);
	atomic_store_explicit(n, now - 1, memory_order_relaxed);
}

/* ---- health ---- */

static uint64_t
health_end_ns(uint64_t health)
{
	return MIN(health & HEALTH_END_MASK, HEALTH_END_MAX) * NS_PER_MS;
}

bool
live_conn_available(const struct live *live, unsigned slot, uint64_t now_ns, uint64_t *until_ns)
{
	uint64_t health = atomic_load_explicit(&conn_at(live, slot)->health, memory_order_relaxed);
	bool available = health_end_ns(health) <= now_ns;

	if (until_ns != NULL)
		*until_ns = available ? 0 : health_end_ns(health);
	return available;
}

/* Rounded up: a cool-down that the upstream asked for must not end early. */
static uint64_t
cooldown_end_ms(uint64_t now_ns, uint64_t cool_ms)
{
	uint64_t now_ms = now_ns / NS_PER_MS + (now_ns % NS_PER_MS != 0), end;

	if (cool_ms == 0)
		return 0;
	if (__builtin_add_overflow(now_ms, cool_ms, &end))
		return HEALTH_END_MAX;
	return MIN(end, HEALTH_END_MAX);
}

void
live_conn_failed(struct live *live, unsigned slot, uint64_t now_ns, uint32_t base_ms,
    unsigned steps, uint64_t hint_ms)
{
	_Atomic uint64_t *health = &live->conn[slot].health;
	uint64_t old = atomic_load(&conn_at(live, slot)->health), failures, cool;

	do {
		if (health_end_ns(old) > now_ns)
			return;
		failures = old >> HEALTH_END_BITS;
		cool = hint_ms != 0 ? hint_ms
				    : (uint64_t)base_ms << MIN(MIN(failures, (uint64_t)steps), 31);
		failures = MIN(failures + 1, HEALTH_FAILURES_MAX);
	} while (!atomic_compare_exchange_weak(
	    health, &old, failures << HEALTH_END_BITS | cooldown_end_ms(now_ns, cool)));
}

void
live_conn_succeeded(struct live *live, unsigned slot)
{
	uint64_t old = atomic_load_explicit(&conn_at(live, slot)->health, memory_order_relaxed);

	while (old != 0 && !atomic_compare_exchange_weak(&live->conn[slot].health, &old, 0))
		continue;
}

/* ---- histograms ---- */

/* Bucket 2k begins at 2^k, bucket 2k+1 at 2^(k + 1/2): the square of the value tells which, in
 * whole numbers. */
unsigned
live_hist_bucket(uint64_t us)
{
	unsigned k;

	if (us >= UINT64_C(1) << LIVE_HIST / 2)
		return LIVE_HIST - 1;
	if (us < 2)
		return 0;
	k = 63 - (unsigned)__builtin_clzll(us);
	return 2 * k + (us * us >> (2 * k + 1) != 0);
}

uint64_t
live_hist_bound_us(unsigned bucket)
{
	uint64_t square, bound = 0;

	if (bucket >= LIVE_HIST - 1)
		return UINT64_MAX;
	square = UINT64_C(1) << (bucket + 1);
	for (uint64_t bit = UINT64_C(1) << LIVE_HIST / 2; bit != 0; bit >>= 1)
		if ((bound + bit) * (bound + bit) <= square)
			bound += bit;
	return bound * bound == square ? bound : bound + 1;
}

void
live_hist_add(struct live_hist *h, uint64_t us)
{
	live_bump(&h->bucket[live_hist_bucket(us)], 1);
	live_bump(&h->sum_us, us);
	live_bump(&h->count, 1);
}
