#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/err.h"
#include "shared/ring.h"
#include "t/unit/step.h"

#define SEQ_MAX (1u << 20)
#define HELD 64

/* What the writer and the reader of a test share. */
struct shared {
	struct ring ring;
	_Atomic uint32_t running;
	_Atomic uint8_t closed[SEQ_MAX]; /* by seq: ring_close has returned */
};

static struct shared *s;
static uint8_t delivered[SEQ_MAX]; /* by seq */

static int
setup(void **state)
{
	(void)state;
	s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return s == MAP_FAILED ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	return munmap(s, sizeof *s);
}

static void
assert_all_free(void)
{
	assert_int_equal(s->ring.head, s->ring.tail);
	assert_int_equal(ring_pending(&s->ring), 0);
	for (uint32_t i = 0; i < s->ring.used; i++)
		assert_int_equal(s->ring.cell[i].state, 0);
}

static void
no_orphan(void *ctx, const struct usage_record *rec)
{
	(void)ctx;
	fail_msg("orphan %llu", (unsigned long long)rec->seq);
}

static void
order_of_completion(void **state)
{
	struct ring_writer *w = ring_writer_new(&s->ring, 7);
	struct usage_record rec;
	int a, b, c, error;

	(void)state;
	assert_non_null(w);
	assert_false(ring_peek(&s->ring, 0, &rec, &error));
	a = ring_open(w);
	b = ring_open(w);
	c = ring_open(w);
	assert_true(a >= 0 && b >= 0 && c >= 0 && a != b && b != c && a != c);
	assert_int_equal(ring_open_count(w), 3);
	assert_int_equal(ring_record(w, b)->generation, 7);
	assert_int_equal(ring_record(w, b)->seq, 2);
	ring_record(w, b)->tokens_in = 11;
	strcpy(ring_record(w, b)->provider, "echo");
	ring_cancel(w, a);
	ring_close(w, c);
	ring_close(w, b);
	assert_int_equal(ring_open_count(w), 0);
	assert_int_equal(ring_pending(&s->ring), 2);
	assert_true(ring_peek(&s->ring, 0, &rec, &error));
	assert_int_equal(error, 0);
	assert_int_equal(rec.seq, 3);
	assert_true(ring_peek(&s->ring, 1, &rec, &error));
	assert_int_equal(error, 0);
	assert_int_equal(rec.seq, 2);
	assert_int_equal(rec.tokens_in, 11);
	assert_string_equal(rec.provider, "echo");
	assert_false(ring_peek(&s->ring, 2, &rec, &error));
	ring_consume(&s->ring, 2);
	assert_int_equal(ring_pending(&s->ring), 0);
	ring_orphans(&s->ring, no_orphan, NULL);
	assert_all_free();
	ring_writer_free(w);
}

static void
full_and_round_again(void **state)
{
	struct ring_writer *w = ring_writer_new(&s->ring, 1);
	static int cell[RING_CELLS];
	struct usage_record rec;
	uint64_t next = 1;
	int error;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < RING_CELLS; i++)
			assert_true((cell[i] = ring_open(w)) >= 0);
		assert_int_equal(ring_open(w), E_FULL);
		for (uint32_t i = 0; i < RING_CELLS; i++)
			ring_close(w, cell[i]);
		assert_int_equal(ring_open(w), E_FULL); /* not consumed yet */
		for (uint64_t i = 0; ring_peek(&s->ring, i, &rec, &error); i++) {
			assert_int_equal(error, 0);
			assert_int_equal(rec.seq, next++);
		}
		ring_consume(&s->ring, RING_CELLS);
	}
	assert_int_equal(next - 1, 3 * RING_CELLS);
	assert_int_equal(s->ring.used, RING_CELLS);
	ring_writer_free(w);
}

/* One request at a time uses few cells, however many come. */
static void
touches_little(void **state)
{
	struct ring_writer *w = ring_writer_new(&s->ring, 1);

	(void)state;
	for (unsigned i = 0; i < 50000; i++) {
		ring_close(w, ring_open(w));
		ring_consume(&s->ring, 1);
	}
	assert_int_equal(s->ring.used, 1);
	ring_writer_free(w);
}

/* The strings of a record, by place and size. */
#define STRING(member) \
	{ \
		offsetof(struct usage_record, member), sizeof(((struct usage_record *)0)->member) \
	}
static const struct {
	size_t at, size;
} strings[] = {STRING(request_id), STRING(key_id), STRING(connection), STRING(provider),
    STRING(model_asked), STRING(model_used), STRING(dialect)};

struct orphans {
	unsigned n;
	struct usage_record rec[4];
};

static void
keep_orphan(void *ctx, const struct usage_record *rec)
{
	struct orphans *o = ctx;

	assert_true(o->n < NELEM(o->rec));
	o->rec[o->n++] = *rec;
}

/* Killed with one request open, one final but not in the queue, and one in the middle of a string.
 */
static void
orphans_by_hand(void **state)
{
	struct ring_writer *w = ring_writer_new(&s->ring, 5);
	struct orphans o = {0}, again = {0};
	int closed = ring_open(w), open = ring_open(w), done = ring_open(w), torn = ring_open(w);

	(void)state;
	ring_record(w, open)->end_wall_us = 99;
	ring_record(w, open)->flags = USAGE_STREAM;
	ring_record(w, done)->end_wall_us = 77;
	for (size_t i = 0; i < NELEM(strings); i++)
		memset((char *)ring_record(w, torn) + strings[i].at, 'x', strings[i].size);
	ring_close(w, closed);
	s->ring.cell[done].state = (s->ring.head + 1) << 2 | 2;
	ring_writer_free(w);

	ring_consume(&s->ring, ring_pending(&s->ring));
	ring_each_orphan(&s->ring, keep_orphan, &o);
	ring_orphans(&s->ring, keep_orphan, &again);
	assert_int_equal(o.n, 3);
	assert_memory_equal(&o, &again, sizeof o);
	assert_int_equal(o.rec[0].seq, 2);
	assert_int_equal(o.rec[0].end_wall_us, 0);
	assert_int_equal(o.rec[0].flags, USAGE_STREAM | USAGE_UNKNOWN);
	assert_int_equal(o.rec[1].seq, 3);
	assert_int_equal(o.rec[1].end_wall_us, 77);
	assert_int_equal(o.rec[1].flags, 0);
	assert_int_equal(o.rec[2].seq, 4);
	for (size_t i = 0; i < NELEM(strings); i++) {
		const char *text = (const char *)&o.rec[2] + strings[i].at;

		assert_int_equal(strnlen(text, strings[i].size), strings[i].size - 1);
	}
	assert_all_free();
	ring_orphans(&s->ring, no_orphan, NULL);
	w = ring_writer_new(&s->ring, 6);
	assert_int_equal(ring_open(w), 0);
	ring_orphans(&s->ring, NULL, NULL);
	assert_all_free();
	ring_writer_free(w);
}

/* One queued record, spoilt in one way; peek must say so, and consume must get past it. */
static void
assert_refused(struct ring_writer *w, void (*spoil)(struct ring_cell *c))
{
	struct usage_record rec;
	int cell = ring_open(w), error;

	assert_true(cell >= 0);
	ring_close(w, cell);
	assert_true(ring_peek(&s->ring, 0, &rec, &error));
	assert_int_equal(error, 0);
	spoil(&s->ring.cell[cell]);
	assert_int_equal(ring_pending(&s->ring), 1);
	error = 0;
	assert_true(ring_peek(&s->ring, 0, &rec, &error));
	assert_int_equal(error, E_SYNTAX);
	ring_consume(&s->ring, 1);
	assert_int_equal(ring_pending(&s->ring), 0);
}

static void
spoil_index(struct ring_cell *c)
{
	(void)c;
	s->ring.queue[(s->ring.head - 1) % RING_CELLS] = RING_CELLS;
}

static void
spoil_state(struct ring_cell *c)
{
	c->state += 4;
}

static void
spoil_kind(struct ring_cell *c)
{
	c->state = 1;
}

static void
spoil_generation(struct ring_cell *c)
{
	c->rec.generation++;
}

static void
spoil_seq(struct ring_cell *c)
{
	c->rec.seq = 0;
}

static size_t spoilt; /* index of a string */

static void
spoil_string(struct ring_cell *c)
{
	memset((char *)&c->rec + strings[spoilt].at, 'a', strings[spoilt].size);
}

static void
spoil_head_far(struct ring_cell *c)
{
	(void)c;
	s->ring.head = s->ring.tail + RING_CELLS + 1;
}

static void
spoil_head_back(struct ring_cell *c)
{
	(void)c;
	s->ring.head = s->ring.tail - 1;
}

static void
reader_distrusts(void **state)
{
	static void (*const spoils[])(struct ring_cell * c) = {spoil_index, spoil_state, spoil_kind,
	    spoil_generation, spoil_seq, spoil_head_far, spoil_head_back};
	struct ring_writer *w;

	(void)state;
	for (size_t i = 0; i < NELEM(spoils) + NELEM(strings); i++) {
		spoilt = i >= NELEM(spoils) ? i - NELEM(spoils) : 0;
		w = ring_writer_new(&s->ring, 40 + i);
		assert_refused(w, i < NELEM(spoils) ? spoils[i] : spoil_string);
		ring_writer_free(w);
		ring_orphans(&s->ring, NULL, NULL);
		assert_all_free();
	}
}

static void
reader_survives_noise(void **state)
{
	struct usage_record rec;
	unsigned char *p = (unsigned char *)&s->ring;
	unsigned seed = 11;
	int error;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		for (size_t i = 0; i < sizeof s->ring.queue / 64 + 128; i++)
			p[i] = (unsigned char)rand_r(&seed);
		s->ring.head = s->ring.tail + (round % 2 != 0 ? round : (uint64_t)rand_r(&seed));
		for (uint64_t i = 0; i < 300 && ring_peek(&s->ring, i, &rec, &error); i++)
			assert_int_equal(error, E_SYNTAX);
		ring_consume(&s->ring, round);
	}
	s->ring.used = UINT64_MAX;
	ring_orphans(&s->ring, NULL, NULL);
	s->ring.used = RING_CELLS;
	assert_all_free();
}

/* ---- a writer that is killed ---- */

static _Noreturn void
write_for_ever(uint64_t generation)
{
	struct ring_writer *w = ring_writer_new(&s->ring, generation);
	int held[HELD], cell;
	unsigned n = 0, at, seed = (unsigned)generation;
	struct usage_record *rec;
	uint64_t seq;

	if (w == NULL)
		_exit(1);
	atomic_store(&s->running, 1);
	for (;;) {
		if (n < HELD && (cell = ring_open(w)) >= 0) {
			held[n++] = cell;
			if (ring_record(w, cell)->seq >= SEQ_MAX - 1)
				pause();
		}
		if (n == 0 || (n < HELD && rand_r(&seed) % 3 == 0))
			continue;
		at = (unsigned)rand_r(&seed) % n;
		rec = ring_record(w, held[at]);
		seq = rec->seq;
		rec->tokens_in = 3 * seq;
		snprintf(rec->model_asked, sizeof rec->model_asked, "model-%llu",
		    (unsigned long long)seq);
		if (seq % 16 == 0) {
			ring_cancel(w, held[at]);
		} else {
			ring_close(w, held[at]);
			atomic_store(&s->closed[seq], 1);
		}
		held[at] = held[--n];
	}
}

static void
deliver(const struct usage_record *rec, uint64_t generation)
{
	char model[32];

	assert_int_equal(rec->generation, generation);
	assert_true(rec->seq < SEQ_MAX);
	assert_int_equal(delivered[rec->seq]++, 0);
	if ((rec->flags & USAGE_UNKNOWN) != 0)
		return;
	snprintf(model, sizeof model, "model-%llu", (unsigned long long)rec->seq);
	assert_int_equal(rec->tokens_in, 3 * rec->seq);
	assert_string_equal(rec->model_asked, model);
}

static uint64_t
drain(uint64_t generation)
{
	struct usage_record rec;
	uint64_t n = 0;
	int error;

	while (ring_peek(&s->ring, n, &rec, &error)) {
		assert_int_equal(error, 0);
		assert_int_equal(rec.flags, 0);
		deliver(&rec, generation);
		n++;
	}
	ring_consume(&s->ring, n);
	return n;
}

struct book {
	uint64_t generation;
	unsigned open, unqueued;
};

static void
book_orphan(void *ctx, const struct usage_record *rec)
{
	struct book *b = ctx;

	deliver(rec, b->generation);
	assert_int_equal(s->closed[rec->seq], 0);
	if ((rec->flags & USAGE_UNKNOWN) != 0)
		b->open++;
	else
		b->unqueued++;
}

static void
run_and_kill(uint64_t generation, uint64_t *drained, struct book *total)
{
	struct timespec pause = {.tv_nsec = (long)(generation * 7919 % 2000) * 500};
	struct book b = {.generation = generation};
	uint64_t n = 0;
	pid_t parent = getpid(), pid;

	memset(s->closed, 0, sizeof s->closed);
	memset(delivered, 0, sizeof delivered);
	atomic_store(&s->running, 0);
	assert_true((pid = fork()) >= 0);
	if (pid == 0) {
		die_with_parent(parent);
		write_for_ever(generation);
	}
	while (atomic_load(&s->running) == 0)
		sched_yield();
	for (unsigned i = 0; i < generation % 4;
	     i++) /* sometimes the reader is at work, sometimes not */
		n += drain(generation);
	nanosleep(&pause, NULL);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	n += drain(generation);
	ring_orphans(&s->ring, book_orphan, &b);
	assert_all_free();
	for (uint64_t seq = 0; seq < SEQ_MAX; seq++)
		if (s->closed[seq] != 0)
			assert_int_equal(delivered[seq], 1);
	assert_true(b.open <= HELD && b.unqueued <= 1);
	*drained += n;
	total->open += b.open;
	total->unqueued += b.unqueued;
}

static void
killed_writer_loses_nothing(void **state)
{
	struct book total = {0};
	uint64_t drained = 0;

	(void)state;
	for (uint64_t generation = 1; generation <= 200; generation++)
		run_and_kill(generation, &drained, &total);
	assert_true(drained > 10000); /* or the test was none */
	assert_true(total.open > 100);
	print_message("# drained %llu, open %u, unqueued %u\n", (unsigned long long)drained,
	    total.open, total.unqueued);
}

/* ---- one instruction at a time ---- */

#define FEW 8 /* cells and places of the queue that these tests touch */

static struct marks {
	_Atomic unsigned done;
	_Atomic uint32_t opened, closed, cancelled; /* bit per seq: the call has returned */
	_Atomic uint32_t opening, ending;           /* bit per seq: the call has begun */
} * marks;

static struct ring *copy; /* what a kill would leave */
static struct ring_writer *writer;
static int first_cell;

static int
setup_steps(void **state)
{
	setup(state);
	copy = mmap(NULL, sizeof *copy, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	marks =
	    mmap(NULL, sizeof *marks, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return copy == MAP_FAILED || marks == MAP_FAILED ? -1 : 0;
}

static int
teardown_steps(void **state)
{
	munmap(copy, sizeof *copy);
	munmap(marks, sizeof *marks);
	return teardown(state);
}

static void
copy_ring(void)
{
	memcpy(copy, &s->ring, offsetof(struct ring, queue) + FEW * sizeof s->ring.queue[0]);
	memcpy(copy->cell, s->ring.cell, FEW * sizeof s->ring.cell[0]);
}

static void
fill(int cell)
{
	struct usage_record *rec = ring_record(writer, cell);

	rec->tokens_in = rec->tokens_out = 1000 + rec->seq;
	strcpy(rec->model_asked, "model");
}

/* Everything that a worker does to its ring; seq 1 was opened before. */
static void
work(void)
{
	int cell;

	marks->ending |= 1u << 1;
	ring_close(writer, first_cell);
	marks->closed |= 1u << 1;
	for (unsigned seq = 2; seq <= 4; seq++) {
		marks->opening |= 1u << seq;
		cell = ring_open(writer);
		marks->opened |= 1u << seq;
		fill(cell);
		marks->ending |= 1u << seq;
		if (seq == 3) {
			ring_cancel(writer, cell);
			marks->cancelled |= 1u << seq;
		} else {
			ring_close(writer, cell);
			marks->closed |= 1u << seq;
		}
	}
}

struct books {
	uint32_t drained, whole, unknown; /* bit per seq */
};

static void
book_few(void *ctx, const struct usage_record *rec)
{
	struct books *b = ctx;

	assert_int_equal(rec->generation, 5);
	assert_true(rec->seq >= 1 && rec->seq <= 4);
	assert_int_equal((b->drained | b->whole | b->unknown) >> rec->seq & 1, 0);
	if ((rec->flags & USAGE_UNKNOWN) != 0) {
		b->unknown |= 1u << rec->seq;
		return;
	}
	assert_int_equal(rec->tokens_out, 1000 + rec->seq);
	assert_string_equal(rec->model_asked, "model");
	b->whole |= 1u << rec->seq;
}

static struct books
bury_copy(void)
{
	struct books b = {0};
	struct usage_record rec;
	int error;

	for (; ring_peek(copy, 0, &rec, &error); ring_consume(copy, 1)) {
		assert_int_equal(error, 0);
		book_few(&b, &rec);
	}
	b.drained = b.whole;
	b.whole = 0;
	ring_orphans(copy, book_few, &b);
	for (unsigned i = 0; i < FEW; i++)
		assert_int_equal(copy->cell[i].state, 0);
	writer = ring_writer_new(copy, 6); /* the next worker can begin */
	assert_non_null(writer);
	assert_true(ring_open(writer) >= 0);
	ring_writer_free(writer);
	return b;
}

static void
writer_killed_at_any_instruction(void **state)
{
	unsigned unqueued = 0, unknown = 0;
	struct ring_writer *own = ring_writer_new(&s->ring, 5);
	struct step t;

	(void)state;
	writer = own;
	first_cell = ring_open(writer);
	fill(first_cell);
	if (!step_start(&t, &marks->done, work))
		skip();
	while (step_once(&t)) {
		uint32_t open = (1u << 1 | marks->opened) & ~marks->ending, all;
		struct books b;

		if (t.n % 400 == 0) /* the reader is at work too */
			ring_consume(&s->ring, 1);
		copy_ring();
		b = bury_copy();
		all = b.drained | b.whole | b.unknown;
		assert_int_equal(open & ~b.unknown, 0);
		assert_int_equal(b.drained & ~marks->ending, 0);
		assert_int_equal(all & ~(1u << 1 | marks->opening), 0);
		assert_int_equal(all & marks->cancelled, 0);
		assert_int_equal((b.whole | b.unknown) & marks->closed, 0);
		unqueued += b.whole != 0;
		unknown += b.unknown != 0;
	}
	assert_int_equal(marks->closed, 1u << 1 | 1u << 2 | 1u << 4);
	assert_true(unqueued > 2 && unknown > 100); /* or the test was none */
	ring_writer_free(own);
}

static void
free_orphans(void)
{
	ring_orphans(&s->ring, NULL, NULL);
}

/* What was stored is freed; a master that dies in between stores it again under the same key, and
 * books nothing else. */
static void
reader_killed_at_any_instruction(void **state)
{
	struct ring_writer *own = ring_writer_new(&s->ring, 5);
	int cell[3];
	struct step t;

	(void)state;
	writer = own;
	for (unsigned i = 0; i < NELEM(cell); i++) {
		cell[i] = ring_open(writer);
		fill(cell[i]);
	}
	ring_close(writer, cell[1]);
	ring_consume(&s->ring, 1);
	if (!step_start(&t, &marks->done, free_orphans))
		skip();
	while (step_once(&t)) {
		struct books b;

		copy_ring();
		b = bury_copy();
		assert_int_equal(b.drained | b.whole, 0);
		assert_int_equal(b.unknown & ~(1u << 1 | 1u << 3), 0);
	}
	assert_all_free();
	ring_writer_free(own);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(order_of_completion, setup, teardown),
	    cmocka_unit_test_setup_teardown(full_and_round_again, setup, teardown),
	    cmocka_unit_test_setup_teardown(touches_little, setup, teardown),
	    cmocka_unit_test_setup_teardown(orphans_by_hand, setup, teardown),
	    cmocka_unit_test_setup_teardown(reader_distrusts, setup, teardown),
	    cmocka_unit_test_setup_teardown(reader_survives_noise, setup, teardown),
	    cmocka_unit_test_setup_teardown(killed_writer_loses_nothing, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		writer_killed_at_any_instruction, setup_steps, teardown_steps),
	    cmocka_unit_test_setup_teardown(
		reader_killed_at_any_instruction, setup_steps, teardown_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
