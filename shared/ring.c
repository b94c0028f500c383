/*
 * ring: what a kill leaves behind, step by step.
 *
 * ring_open   record cleared and numbered; then state = OPEN. Killed before: the cell is free and
 * nothing was promised. After: an orphan, booked as unknown. ring_close  record final; then state =
 * DONE with the place it will have in the queue; then queue[place]; then head. Killed before head
 * moved: place >= head, an orphan booked as it stands. After: it is in the queue. consume     the
 * master moves tail; the writer sees that at its next ring_open and takes the cells back. A
 * consumed cell is DONE with place < head: no orphan, free to whoever looks.
 *
 * So a record that was closed is in exactly one of the two, queue or orphans, and after a full
 * drain place >= head tells which. Cells are used last in, first out, and never-used ones last, so
 * that a quiet worker touches little memory.
 */
#include "shared/ring.h"

#include <stdlib.h>
#include <string.h>

#include "shared/err.h"

enum cell_kind { CELL_FREE, CELL_OPEN, CELL_DONE };

#define KIND_BITS 2
#define KIND_MASK UINT64_C(3)

static_assert((RING_CELLS & (RING_CELLS - 1)) == 0, "positions wrap at 2^64");
static_assert(sizeof(struct ring_cell) == 456, "layout changed: raise LIVE_MAJOR");
static_assert(offsetof(struct ring, tail) == 64, "layout changed: raise LIVE_MAJOR");
static_assert(offsetof(struct ring, queue) == 128, "layout changed: raise LIVE_MAJOR");
static_assert(offsetof(struct ring, cell) == 65664, "layout changed: raise LIVE_MAJOR");

struct ring_writer {
	struct ring *ring;
	uint64_t generation, seq;
	uint64_t head; /* only we move it: no need to read it back */
	uint64_t seen; /* how far tail was followed */
	uint32_t open;
	uint32_t fresh; /* cells from here on were never used by this writer */
	uint32_t nfree;
	uint32_t free[RING_CELLS]; /* filled by use; its pages cost nothing until then */
};

/* ---- the worker ---- */

struct ring_writer *
ring_writer_new(struct ring *r, uint64_t generation)
{
	struct ring_writer *w = malloc(sizeof *w);
	uint64_t head = atomic_load(&r->head);

	if (w == NULL)
		return NULL;
	if (head != atomic_load(&r->tail))
		bug("ring of generation %llu was not drained", (unsigned long long)generation);
	w->ring = r;
	w->generation = generation;
	w->seq = 0;
	w->head = w->seen = head;
	w->open = w->fresh = w->nfree = 0;
	atomic_store_explicit(&r->generation, generation, memory_order_release);
	return w;
}

void
ring_writer_free(struct ring_writer *w)
{
	free(w);
}

static void
set_state(struct ring *r, uint32_t cell, uint64_t place, enum cell_kind kind)
{
	atomic_store_explicit(
	    &r->cell[cell].state, place << KIND_BITS | kind, memory_order_release);
}

static void
give_back(struct ring_writer *w, uint32_t cell)
{
	set_state(w->ring, cell, 0, CELL_FREE);
	w->free[w->nfree++] = cell;
}

static void
take_consumed(struct ring_writer *w)
{
	uint64_t tail = atomic_load_explicit(&w->ring->tail, memory_order_acquire);

	if (tail - w->seen > w->head - w->seen)
		return; /* no such place: the master's word is wrong, our cells stay */
	for (; w->seen != tail; w->seen++)
		give_back(w, atomic_load_explicit(
				 &w->ring->queue[w->seen % RING_CELLS], memory_order_relaxed));
}

int
ring_open(struct ring_writer *w)
{
	struct ring *r = w->ring;
	struct usage_record *rec;
	uint32_t cell;

	take_consumed(w);
	if (w->nfree > 0) {
		cell = w->free[--w->nfree];
	} else if (w->fresh < RING_CELLS) {
		cell = w->fresh++;
		if (cell >= atomic_load_explicit(&r->used, memory_order_relaxed))
			atomic_store_explicit(&r->used, cell + 1, memory_order_release);
	} else {
		return E_FULL;
	}
	rec = &r->cell[cell].rec;
	memset(rec, 0, sizeof *rec);
	rec->generation = w->generation;
	rec->seq = ++w->seq;
	set_state(r, cell, 0, CELL_OPEN);
	w->open++;
	return (int)cell;
}

static uint32_t
open_cell(const struct ring_writer *w, int cell)
{
	if (cell < 0 || (uint32_t)cell >= RING_CELLS ||
	    atomic_load_explicit(&w->ring->cell[cell].state, memory_order_relaxed) != CELL_OPEN)
		bug("cell %d of the ring is not open", cell);
	return (uint32_t)cell;
}

struct usage_record *
ring_record(struct ring_writer *w, int cell)
{
	return &w->ring->cell[open_cell(w, cell)].rec;
}

void
ring_close(struct ring_writer *w, int cell)
{
	struct ring *r = w->ring;
	uint32_t c = open_cell(w, cell);

	set_state(r, c, w->head + 1, CELL_DONE);
	atomic_store_explicit(&r->queue[w->head % RING_CELLS], c, memory_order_release);
	w->open--;
	w->head++;
	atomic_store_explicit(&r->head, w->head, memory_order_release);
}

void
ring_cancel(struct ring_writer *w, int cell)
{
	give_back(w, open_cell(w, cell));
	w->open--;
}

uint32_t
ring_open_count(const struct ring_writer *w)
{
	return w->open;
}

/* ---- the master ---- */

/* A head that cannot be (a worker wrote over it) shows as one pending record, which is E_SYNTAX. */
static bool
head_is_sane(uint64_t head, uint64_t tail)
{
	return head - tail <= RING_CELLS;
}

uint64_t
ring_pending(const struct ring *r)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);

	return head_is_sane(head, tail) ? head - tail : 1;
}

static bool
is_string(const char *p, size_t size)
{
	return memchr(p, '\0', size) != NULL;
}

static bool
record_is_sane(const struct usage_record *rec)
{
	return rec->generation != 0 && rec->seq != 0 &&
	       is_string(rec->request_id, sizeof rec->request_id) &&
	       is_string(rec->key_id, sizeof rec->key_id) &&
	       is_string(rec->connection, sizeof rec->connection) &&
	       is_string(rec->provider, sizeof rec->provider) &&
	       is_string(rec->model_asked, sizeof rec->model_asked) &&
	       is_string(rec->model_used, sizeof rec->model_used) &&
	       is_string(rec->dialect, sizeof rec->dialect);
}

bool
ring_peek(const struct ring *r, uint64_t i, struct usage_record *out, int *error)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
	uint64_t place = tail + i;
	uint32_t cell;

	*error = 0;
	if (i >= ring_pending(r))
		return false;
	*error = E_SYNTAX;
	if (!head_is_sane(head, tail))
		return true;
	cell = atomic_load_explicit(&r->queue[place % RING_CELLS], memory_order_acquire);
	if (cell >= RING_CELLS ||
	    atomic_load_explicit(&r->cell[cell].state, memory_order_acquire) !=
		((place + 1) << KIND_BITS | CELL_DONE))
		return true;
	*out = r->cell[cell].rec;
	if (record_is_sane(out) && out->generation == atomic_load(&r->generation))
		*error = 0;
	return true;
}

void
ring_consume(struct ring *r, uint64_t n)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);

	if (!head_is_sane(head, tail))
		tail = head;
	else
		tail += MIN(n, head - tail);
	atomic_store_explicit(&r->tail, tail, memory_order_release);
}

void
usage_end_strings(struct usage_record *rec)
{
	rec->request_id[sizeof rec->request_id - 1] = '\0';
	rec->key_id[sizeof rec->key_id - 1] = '\0';
	rec->connection[sizeof rec->connection - 1] = '\0';
	rec->provider[sizeof rec->provider - 1] = '\0';
	rec->model_asked[sizeof rec->model_asked - 1] = '\0';
	rec->model_used[sizeof rec->model_used - 1] = '\0';
	rec->dialect[sizeof rec->dialect - 1] = '\0';
}

/* Is this cell an orphan? Then *rec is what is to be booked. */
static bool
orphan_read(const struct ring *r, uint32_t cell, struct usage_record *rec)
{
	uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
	uint64_t state = atomic_load_explicit(&r->cell[cell].state, memory_order_acquire);

	if (state != CELL_OPEN &&
	    ((state & KIND_MASK) != CELL_DONE || state >> KIND_BITS != head + 1))
		return false;
	*rec = r->cell[cell].rec;
	usage_end_strings(rec);
	if (state == CELL_OPEN) {
		rec->flags |= USAGE_UNKNOWN;
		rec->end_wall_us = 0;
	}
	return rec->seq != 0 && rec->generation == atomic_load(&r->generation);
}

static uint32_t
cells_used(const struct ring *r)
{
	return (uint32_t)MIN(atomic_load_explicit(&r->used, memory_order_acquire), RING_CELLS);
}

void
ring_each_orphan(
    const struct ring *r, void (*book)(void *ctx, const struct usage_record *rec), void *ctx)
{
	struct usage_record rec;

	for (uint32_t cell = 0; cell < cells_used(r); cell++)
		if (orphan_read(r, cell, &rec))
			book(ctx, &rec);
}

void
ring_orphans(struct ring *r, void (*book)(void *ctx, const struct usage_record *rec), void *ctx)
{
	if (book != NULL)
		ring_each_orphan(r, book, ctx);
	ring_consume(r, RING_CELLS);
	for (uint32_t cell = 0; cell < cells_used(r); cell++)
		set_state(r, cell, 0, CELL_FREE);
}
