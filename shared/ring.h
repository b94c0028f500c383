/*
 * ring: usage records from one worker to its master. Lives in the live region.
 *
 *   cells   RING_CELLS records. A worker takes a free cell *before* a request goes upstream and fills in what it knows
 *           (ring_open); no free cell: the request is refused. So the ring below can never be full.
 *   queue   circle of cell indices in order of completion. head is moved by the worker with release order after the
 *           record is final (ring_close); tail by the master, after the record is stored.
 *
 *   worker:  ring_open ─► (upstream) ─► fill in ─► ring_close
 *   master:  ring_peek … store a batch durably … ring_consume
 *   master, worker dead:  ring_peek/ring_consume until empty, then ring_orphans: what was open is booked with
 *            status USAGE_UNKNOWN, what was final but not yet queued is booked as it stands.
 *
 * state of a cell  [position + 1 in the queue:62][CELL_FREE | CELL_OPEN | CELL_DONE:2]. W.
 * (generation, seq) never repeats: a record stored twice is stored under the same key.
 */
#ifndef OMNIROUTE_SHARED_RING_H
#define OMNIROUTE_SHARED_RING_H

#include <assert.h>
#include <stdatomic.h>

#include "shared/base.h"

#define RING_CELLS 16384u

enum usage_flag {
	USAGE_STREAM = 1u << 0,
	USAGE_ESTIMATED = 1u << 1, /* the upstream said nothing: tokens are our estimate */
	USAGE_ABORTED = 1u << 2,   /* the client left before the end */
	USAGE_UNKNOWN = 1u << 3,   /* the worker died with this request in hand */
	USAGE_CUT = 1u << 4,       /* the upstream broke off mid-stream */
};

/* Fixed size, host byte order, strings NUL-terminated and cut to fit. Stored as it is, behind a version byte. */
struct usage_record {
	uint64_t generation, seq;
	uint64_t start_wall_us, end_wall_us; /* end 0: never ended (see USAGE_UNKNOWN) */
	uint32_t latency_us, ttft_us;        /* ttft: to the first body byte sent to the client; 0 = none */
	uint64_t tokens_in, tokens_out, tokens_cached, tokens_reasoning;
	int64_t cost_udollar;
	uint16_t status;  /* HTTP status sent to the client; 499 = client left before one was sent */
	uint16_t attempts;
	uint32_t flags;   /* enum usage_flag */
	uint64_t bytes_in, bytes_out;
	uint32_t provider_slot, conn_slot;
	uint32_t error; /* enum failure of the last attempt, 0 = none */
	uint32_t tokens_cache_write; /* of tokens_in: written into a cache */
	char request_id[40];
	char key_id[40];     /* empty: no key */
	char connection[40]; /* id */
	char provider[32];
	char model_asked[96], model_used[64];
	char dialect[16];
};
/* Terminates every string: whoever wrote the record may have died in the middle of one. */
void usage_end_strings(struct usage_record *rec);
static_assert(sizeof(struct usage_record) == 448, "stored records and LIVE_MAJOR depend on it");

struct ring_cell {
	_Atomic uint64_t state;
	struct usage_record rec;
};

struct ring {
	_Alignas(64) _Atomic uint64_t head; /* W */
	_Atomic uint64_t generation; /* W: of the writer; a record of another is not believed */
	_Atomic uint64_t used; /* W: cells from here on were never touched, and are not looked at */
	_Alignas(64) _Atomic uint64_t tail; /* M */
	_Alignas(64) _Atomic uint32_t queue[RING_CELLS]; /* W */
	struct ring_cell cell[RING_CELLS];
};

/* The worker's private side: free cells, and how far tail has been followed. */
struct ring_writer;

/* A writer for a ring whose slot was just taken (drained, all cells free). NULL: out of memory. */
struct ring_writer *ring_writer_new(struct ring *r, uint64_t generation) must_check;
void ring_writer_free(struct ring_writer *w);
/* Index of a cell marked open, its record cleared but for generation and seq; E_FULL when there is none. */
int ring_open(struct ring_writer *w) must_check;
struct usage_record *ring_record(struct ring_writer *w, int cell);
void ring_close(struct ring_writer *w, int cell);
/* Gives a cell back without a record (nothing was sent upstream). */
void ring_cancel(struct ring_writer *w, int cell);
uint32_t ring_open_count(const struct ring_writer *w);

/*
 * Copies the i-th unconsumed record; false when there are not that many. *error is 0, or E_SYNTAX for a record that
 * cannot be (then consume it and go on: a ring whose head makes no sense counts as one such record).
 */
bool ring_peek(const struct ring *r, uint64_t i, struct usage_record *out, int *error);
uint64_t ring_pending(const struct ring *r);
void ring_consume(struct ring *r, uint64_t n);
/*
 * What was open or not yet queued when the writer stopped; changes nothing. An open record comes with USAGE_UNKNOWN and
 * without an end. ring_orphans does the same and then frees the cells: store what ring_each_orphan shows, then free.
 */
void ring_each_orphan(const struct ring *r, void (*book)(void *ctx, const struct usage_record *rec), void *ctx);
/* After the worker's death and a full drain: calls `book` (may be NULL) for each, then frees all cells. */
void ring_orphans(struct ring *r, void (*book)(void *ctx, const struct usage_record *rec), void *ctx);

#endif
