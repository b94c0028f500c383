/*
 * live: the live region, a memfd of fixed size that the master creates before the first worker and that every worker
 * (and, through a binary upgrade, the next master) inherits. Offsets, never addresses; times are ns of
 * CLOCK_MONOTONIC unless a name says `wall`. Zeroed memory is a valid, empty state everywhere. omniroute-internals(7)
 * draws it.
 *
 * Process rules. Every word has one kind of writer, named beside it: M (the master that owns the slot), W (the worker
 * that owns the slot), A (anybody, by compare-and-swap). A process may be killed between any two instructions; nothing
 * here needs the dead one to finish. What a worker holds of a shared thing (in-flight requests of a connection) it
 * holds in its own column, so that the master takes it back by clearing the column.
 *
 * live_create   A new region; *fd is close-on-exec. E_SYSTEM.
 * live_map      Maps `fd`, checks magic, version, length. E_VERSION, E_TRUNCATED, E_SYSTEM.
 * live_unmap    NULL is allowed.
 */
#ifndef OMNIROUTE_SHARED_LIVE_H
#define OMNIROUTE_SHARED_LIVE_H

#include <assert.h>
#include <stdatomic.h>

#include "shared/base.h"
#include "shared/rate.h"
#include "shared/ring.h"

#define LIVE_MAGIC UINT32_C(0x564c524f) /* "ORLV" */
#define LIVE_MAJOR 1
#define LIVE_MINOR 0

#define LIVE_WORKERS 64    /* worker slots, over both masters during an upgrade */
#define LIVE_CONNS 1024    /* provider connections */
#define LIVE_KEYS 4096     /* client keys */
#define LIVE_PROVIDERS 256 /* providers that have had a connection */
#define LIVE_HIST 48       /* histogram buckets, see live_hist_bucket */
#define LIVE_COUNTERS 64   /* room for counters.def: a new counter at its end does not move anything */

enum live_counter {
#define X(name, prom, help) CTR_##name,
#include "shared/counters.def"
#undef X
	CTR_COUNT
};
static_assert(CTR_COUNT <= LIVE_COUNTERS, "more counters than room: raise LIVE_COUNTERS and LIVE_MAJOR");

/* State of a worker slot; M writes FREE/STARTING, W the rest. */
enum live_worker_state { WORKER_FREE, WORKER_STARTING, WORKER_READY, WORKER_RETIRING };

/* States of an exchange, counted per worker in live_worker.exchanges. worker/exchange.h says what each means. */
enum live_exchange_state { XS_BODY, XS_ROUTE, XS_CONNECT, XS_RELAY, XS_DONE, XS_COUNT };

/* Latency in buckets of equal ratio: bucket b holds [2^(b/2) .. 2^((b+1)/2)) microseconds; the last holds the rest. */
struct live_hist {
	_Atomic uint64_t bucket[LIVE_HIST];
	_Atomic uint64_t sum_us;
	_Atomic uint64_t count;
};

/* One worker's view of one provider. W. */
struct live_worker_provider {
	_Atomic uint64_t requests, errors, tokens_in, tokens_out;
	struct live_hist latency, ttft;
};

struct live_worker {
	_Atomic uint64_t owner;       /* A: generation of the owning master, 0 = free (taken by CAS) */
	_Atomic uint64_t generation;  /* M: of this worker; unique for ever */
	_Atomic int32_t pid;          /* M */
	_Atomic uint32_t state;       /* M, W: enum live_worker_state */
	_Atomic uint64_t started_ns;  /* M */
	_Atomic uint64_t want_snap;   /* M: number of the newest snapshot already sent down the channel */
	_Atomic uint64_t have_snap;   /* W: number of the snapshot in use */
	_Atomic uint64_t heartbeat_ns; /* W: at least once a second */
	_Atomic uint32_t conns;       /* W: open client connections */
	_Atomic uint32_t open;        /* W: usage records reserved and not yet complete */
	_Atomic int32_t exchanges[XS_COUNT]; /* W: exchanges by state; XS_DONE stays 0 */
	_Atomic uint32_t rss_kb;      /* W: resident memory, once a second */
	_Atomic uint64_t counter[LIVE_COUNTERS]; /* W: by enum live_counter */
	struct live_hist latency, ttft;
	struct live_worker_provider provider[LIVE_PROVIDERS];
	_Alignas(64) struct ring ring;
};

/*
 * A provider connection. health packs [failures:16][cooldown end, ms of CLOCK_MONOTONIC:48]; A, by CAS, through
 * live_conn_failed / live_conn_succeeded and nothing else.
 */
struct live_conn {
	_Atomic uint64_t id;     /* M: hash of the connection's id; the slot was given to another when it differs */
	_Atomic uint64_t health; /* A */
	_Atomic uint64_t last_used_wall_ms; /* A, plain store */
	_Atomic uint64_t last_error; /* A, plain store: [wall s:40][status:16][enum upstream failure:8] */
	_Atomic uint32_t inflight[LIVE_WORKERS]; /* W: each writes its own column */
};

struct live_key {
	_Atomic uint64_t id; /* M: hash of the key's id */
	_Atomic uint64_t last_used_wall_ms; /* A, plain store */
	struct rate_log rpm; /* A: requests per minute */
};

struct live_head {
	_Atomic uint32_t magic; /* LIVE_MAGIC, stored last, with release */
	uint16_t major, minor;  /* other major: refuse */
	uint64_t len;
	uint32_t workers, conns, keys, providers; /* must equal the constants above */
	uint32_t off_worker, off_conn, off_key;
	uint8_t pad[20];
};
static_assert(sizeof(struct live_head) == 64, "layout changed: raise LIVE_MAJOR");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "the live region needs lock-free 64-bit words");

struct live {
	struct live_head head;
	struct live_conn conn[LIVE_CONNS];
	struct live_key key[LIVE_KEYS];
	_Alignas(4096) struct live_worker worker[LIVE_WORKERS];
};

int live_create(int *fd) must_check;
int live_map(int fd, struct live **live) must_check;
void live_unmap(struct live *live);

/* Worker slots (master). live_worker_take: index of a slot now owned by `owner`, or E_FULL. */
int live_worker_take(struct live *live, uint64_t owner, uint64_t generation) must_check;
/* Clears what a worker that is gone held (gauges, in-flight columns). Its counters stay. Its ring must be drained. */
void live_worker_release(struct live *live, unsigned slot);

/*
 * Binds a connection or key slot to its owner; clears the slot when it belonged to another. Master, at publish. What is
 * in flight stays counted: the workers that hold it take it off.
 */
void live_conn_bind(struct live *live, unsigned slot, uint64_t id);
void live_key_bind(struct live *live, unsigned slot, uint64_t id);

/* In-flight requests of a connection, over all workers. */
uint32_t live_conn_inflight(const struct live *live, unsigned slot);
void live_conn_enter(struct live *live, unsigned slot, unsigned worker);
void live_conn_leave(struct live *live, unsigned slot, unsigned worker);

/*
 * Health of a connection. A failure while cooling counts nothing (concurrent failures are one); otherwise the
 * cool-down is hint_ms when not 0, else base_ms * 2^min(failures, steps). A success clears both.
 */
bool live_conn_available(const struct live *live, unsigned slot, uint64_t now_ns, uint64_t *until_ns);
void live_conn_failed(struct live *live, unsigned slot, uint64_t now_ns, uint32_t base_ms, unsigned steps,
    uint64_t hint_ms);
void live_conn_succeeded(struct live *live, unsigned slot);

unsigned live_hist_bucket(uint64_t us);
uint64_t live_hist_bound_us(unsigned bucket); /* the first whole value above a bucket; UINT64_MAX for the last */
void live_hist_add(struct live_hist *h, uint64_t us);

/* Adds to a word that only this process writes: a plain load and store, no locked instruction. */
static inline void
live_bump(_Atomic uint64_t *word, uint64_t by)
{
	atomic_store_explicit(
	    word, atomic_load_explicit(word, memory_order_relaxed) + by, memory_order_relaxed);
}

#endif
