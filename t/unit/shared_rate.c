#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/rate.h"
#include "t/unit/step.h"

#define MINUTE 60000u
#define CHILDREN 8

/* What the processes of a test share. */
struct shared {
	struct rate_log rate;
	_Atomic uint64_t admitted[CHILDREN];
	_Atomic uint32_t go, running;
	_Atomic uint64_t now;
	_Atomic unsigned done;
	bool taken; /* by the child that goes step by step */
};

static struct shared *s;

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

static uint64_t
take_all(struct rate_log *r, uint64_t limit, uint64_t now)
{
	uint64_t n = 0, retry;

	while (n <= limit && rate_take(r, limit, MINUTE, now, &retry))
		n++;
	return n;
}

static pid_t
start_child(unsigned i, uint64_t limit, uint64_t now)
{
	pid_t parent = getpid(), pid = fork();
	uint64_t n;

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	die_with_parent(parent);
	atomic_fetch_add(&s->running, 1);
	while (atomic_load(&s->go) == 0)
		sched_yield();
	n = take_all(&s->rate, limit, now);
	atomic_fetch_add(&s->admitted[i], n);
	_exit(0);
}

static uint64_t
hammer(uint64_t limit, uint64_t now)
{
	pid_t pid[CHILDREN];
	uint64_t sum = 0;
	int status;

	memset(s->admitted, 0, sizeof s->admitted);
	atomic_store(&s->go, 0);
	atomic_store(&s->running, 0);
	for (unsigned i = 0; i < CHILDREN; i++)
		pid[i] = start_child(i, limit, now);
	while (atomic_load(&s->running) < CHILDREN)
		sched_yield();
	atomic_store(&s->go, 1);
	for (unsigned i = 0; i < CHILDREN; i++) {
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0);
		sum += s->admitted[i];
	}
	return sum;
}

static void
exact_over_processes(void **state)
{
	static const uint64_t limits[] = {1, 7, 100, 256, 257, 1000, 1001, 5000};

	(void)state;
	for (size_t i = 0; i < NELEM(limits); i++) {
		for (uint64_t round = 1; round <= 5; round++) {
			assert_int_equal(hammer(limits[i], round * MINUTE), limits[i]);
			assert_int_equal(
			    rate_used(&s->rate, limits[i], MINUTE, round * MINUTE), limits[i]);
			assert_int_equal(hammer(limits[i], round * MINUTE + MINUTE - 1), 0);
		}
		rate_clear(&s->rate);
	}
}

static void
unlimited_and_too_much(void **state)
{
	uint64_t retry = 9;

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		assert_true(rate_take(&s->rate, 0, MINUTE, 0, &retry));
	assert_int_equal(retry, 0);
	assert_int_equal(s->rate.head, 0);
	assert_int_equal(take_all(&s->rate, RATE_LIMIT_MAX + 5, 1), RATE_LIMIT_MAX);
}

static void
slides_out_one_by_one(void **state)
{
	uint64_t retry;

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		assert_true(rate_take(&s->rate, 10, MINUTE, 1000 + i * 100, &retry));
	assert_false(rate_take(&s->rate, 10, MINUTE, 2000, &retry));
	assert_int_equal(retry, MINUTE - 1000);
	assert_false(rate_take(&s->rate, 10, MINUTE, 1000 + MINUTE - 1, &retry));
	assert_int_equal(retry, 1);
	for (unsigned i = 0; i < 10; i++) {
		uint64_t t = 1000 + i * 100 + MINUTE;

		assert_false(rate_take(&s->rate, 10, MINUTE, t - 1, &retry));
		assert_int_equal(retry, 1);
		assert_int_equal(rate_used(&s->rate, 10, MINUTE, t), 9);
		assert_true(rate_take(&s->rate, 10, MINUTE, t, &retry));
		assert_false(rate_take(&s->rate, 10, MINUTE, t, &retry));
	}
	assert_int_equal(rate_used(&s->rate, 10, MINUTE, 1000 + 3 * MINUTE), 0);
}

/* Random times, many windows: no window of the past ever holds more than the limit. */
static void
check_no_window_above(uint64_t limit, uint64_t span)
{
	static uint64_t times[20000];
	uint64_t now = 5, retry, first = 0, n = 0;
	unsigned seed = 7;

	while (n < NELEM(times)) {
		now += (uint64_t)rand_r(&seed) % span;
		for (unsigned burst = (unsigned)rand_r(&seed) % 40; burst > 0; burst--)
			if (n < NELEM(times) && rate_take(&s->rate, limit, 1000, now, &retry))
				times[n++] = now;
	}
	for (uint64_t i = 0; i < n; i++) {
		while (times[i] - times[first] >= 1000)
			first++;
		assert_true(i - first + 1 <= limit);
	}
}

static void
no_window_holds_more(void **state)
{
	(void)state;
	check_no_window_above(7, 50);
	check_no_window_above(100, 50);
	check_no_window_above(256, 20);
	check_no_window_above(300, 20);
	check_no_window_above(1001, 5);
	check_no_window_above(3, 5000);
}

/* The clocks of two processes need not come in order. */
static void
clocks_out_of_order(void **state)
{
	uint64_t retry;

	(void)state;
	assert_true(rate_take(&s->rate, 2, MINUTE, 500, &retry));
	assert_true(rate_take(&s->rate, 2, MINUTE, 490, &retry));
	assert_false(rate_take(&s->rate, 2, MINUTE, 480, &retry));
	assert_int_equal(retry, MINUTE + 20);
	assert_false(rate_take(&s->rate, 2, MINUTE, 490 + MINUTE, &retry));
	assert_true(rate_take(&s->rate, 2, MINUTE, 500 + MINUTE, &retry));
	assert_true(rate_take(&s->rate, 2, MINUTE, 500 + MINUTE, &retry));
	assert_false(rate_take(&s->rate, 2, MINUTE, 500 + MINUTE, &retry));
}

/* A process that was stopped between its look at the clock and its look at the circle comes an hour
 * late: its old time is no reason to believe that the window is over. */
static void
clock_read_long_ago(void **state)
{
	uint64_t hour = 60 * MINUTE, retry;

	(void)state;
	assert_int_equal(take_all(&s->rate, 5, 1000 + hour), 5);
	assert_false(rate_take(&s->rate, 5, MINUTE, 1000, &retry));
	assert_int_equal(retry, MINUTE + hour);
	assert_int_equal(take_all(&s->rate, 5, 1000 + hour + MINUTE - 1), 0);
	assert_int_equal(take_all(&s->rate, 5, 1000 + hour + MINUTE), 5);
}

/* The time in a word has 36 bits of milliseconds: 2.2 years after boot it begins again. */
static void
clock_of_two_years(void **state)
{
	uint64_t wrap = UINT64_C(1) << 36, retry;

	(void)state;
	assert_int_equal(take_all(&s->rate, 5, wrap - 10), 5);
	assert_false(rate_take(&s->rate, 5, MINUTE, wrap + 10, &retry));
	assert_int_equal(retry, MINUTE - 20);
	assert_int_equal(take_all(&s->rate, 5, wrap - 10 + MINUTE), 5);
	assert_int_equal(take_all(&s->rate, 5, wrap / 2 + wrap + MINUTE), 5);
	assert_int_equal(take_all(&s->rate, 5, wrap / 2 + 2 * wrap - 2 * 24 * 60 * MINUTE), 5);
}

static void
change_of_limit(void **state)
{
	uint64_t retry;

	(void)state;
	assert_int_equal(take_all(&s->rate, 10, 1000), 10);
	assert_int_equal(take_all(&s->rate, 20, 1001), 20);
	assert_int_equal(rate_used(&s->rate, 20, MINUTE, 1001), 20);
	assert_int_equal(rate_used(&s->rate, 10, MINUTE, 1001), 0);
	assert_int_equal(take_all(&s->rate, 5, 1002), 5);
	assert_int_equal(take_all(&s->rate, 5, 1002 + MINUTE), 5);
	assert_int_equal(take_all(&s->rate, 700, 1002 + MINUTE), 700);
	assert_int_equal(take_all(&s->rate, 5, 1002 + 2 * MINUTE), 5);
	rate_clear(&s->rate);
	assert_int_equal(rate_used(&s->rate, 5, MINUTE, 1002 + 2 * MINUTE), 0);
	assert_int_equal(take_all(&s->rate, 5, 1002 + 2 * MINUTE), 5);
	assert_false(rate_take(&s->rate, 5, MINUTE, 1002 + 2 * MINUTE, &retry));
}

/* Dead between its two steps: the word is taken, head still points at it. */
static void
taken_but_head_not_moved(void **state)
{
	uint64_t retry, head, before;

	(void)state;
	assert_true(rate_take(&s->rate, 10, MINUTE, 1000, &retry));
	head = s->rate.head;
	before = s->rate.entry[0];
	assert_int_equal(head & 255, 1);
	s->rate.entry[1] = before; /* same lap, count 1, same time */
	assert_int_equal(rate_used(&s->rate, 10, MINUTE, 1000), 2);
	assert_true(rate_take(&s->rate, 10, MINUTE, 1000, &retry));
	assert_int_equal(s->rate.head & 255, 3);
	assert_int_equal(take_all(&s->rate, 10, 1000), 7);

	/* The same at the end of the circle, where the lap goes up. */
	assert_int_equal(s->rate.head & 255, 0);
	s->rate.head = head + 8;
	assert_int_equal(take_all(&s->rate, 10, 1000), 0);
	assert_int_equal(s->rate.head & 255, 0);
	assert_int_equal(take_all(&s->rate, 10, 1000 + MINUTE), 10);
}

/* A group that filled up long ago only in part does not take its old admissions into the new
 * window. */
static void
old_part_of_a_group(void **state)
{
	uint64_t retry;

	(void)state;
	assert_true(rate_take(&s->rate, 1000, MINUTE, 10, &retry));
	assert_true(rate_take(&s->rate, 1000, MINUTE, 10, &retry));
	assert_int_equal(rate_used(&s->rate, 1000, MINUTE, 11), 2);
	assert_int_equal(take_all(&s->rate, 1000, 10 + MINUTE), 1000);
	assert_false(rate_take(&s->rate, 1000, MINUTE, 9 + 2 * MINUTE, &retry));
	assert_int_equal(retry, 1);
}

static pid_t
start_endless(uint64_t limit)
{
	pid_t parent = getpid(), pid = fork();
	uint64_t retry;

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	die_with_parent(parent);
	atomic_fetch_add(&s->running, 1);
	for (;;) /* each step of the clock is a tenth of the window: taking never ends */
		rate_take(&s->rate, limit, 10, atomic_fetch_add(&s->now, 1), &retry);
}

static void
killed_while_hammering(void **state)
{
	uint64_t limit, start;
	struct timespec pause = {.tv_nsec = 0};
	pid_t pid[2];
	unsigned seed = 3;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		limit = i % 2 == 0 ? 100 : 1000;
		atomic_store(&s->running, 0);
		pid[0] = start_endless(limit);
		pid[1] = start_endless(limit);
		while (atomic_load(&s->running) < 2)
			sched_yield();
		pause.tv_nsec = rand_r(&seed) % 300000;
		nanosleep(&pause, NULL);
		for (unsigned j = 0; j < 2; j++) {
			kill(pid[j], SIGKILL);
			assert_int_equal(waitpid(pid[j], NULL, 0), pid[j]);
		}
		start = atomic_load(&s->now) + 10 * MINUTE;
		assert_int_equal(take_all(&s->rate, limit, start), limit);
		assert_int_equal(take_all(&s->rate, limit, start + MINUTE), limit);
		atomic_store(&s->now, start + 3 * MINUTE);
	}
}

/* ---- one instruction at a time ---- */

/* Where a taker finds the circle. */
static const struct place {
	const char *name;
	uint64_t limit, before; /* admissions before, at time `then` */
	uint64_t then;
} places[] = {
    {"untouched", 3, 0, 0},
    {"between two words", 3, 1, 5000},
    {"the last word of a lap", 3, 2, 5000},
    {"the last lap is over", 3, 3, 5000 - MINUTE},
    {"in a group", 260, 2, 5000},
    {"the end of a group", 260, 1, 5000},
    {"a group that is over", 260, 1, 5000 - MINUTE},
    {"full", 3, 3, 5000},
};

static const struct place *place;

static void
take_one(void)
{
	uint64_t retry;

	s->taken = rate_take(&s->rate, place->limit, MINUTE, 5000, &retry);
}

/* Admissions that are left for the child's time. */
static uint64_t
prepare(const struct place *p)
{
	uint64_t retry;

	place = p;
	memset(&s->rate, 0, sizeof s->rate);
	s->taken = false;
	for (uint64_t i = 0; i < p->before; i++)
		assert_true(rate_take(&s->rate, p->limit, MINUTE, p->then, &retry));
	return p->limit - (p->then == 5000 ? p->before : 0);
}

/* What a kill at this place would leave: the child has its admission or has not, and the next
 * window is whole. */
static uint64_t
left_after_kill(uint64_t limit)
{
	static struct rate_log copy;
	uint64_t left;

	memcpy(&copy, &s->rate, sizeof copy);
	left = take_all(&copy, limit, 5000);
	assert_int_equal(take_all(&copy, limit, 4999 + MINUTE), 0);
	assert_int_equal(take_all(&copy, limit, 5000 + MINUTE), limit);
	return left;
}

static void
killed_at_any_instruction(void **state)
{
	struct step t;

	(void)state;
	for (size_t i = 0; i < NELEM(places); i++) {
		uint64_t free = prepare(&places[i]), last = free, left;

		if (!step_start(&t, &s->done, take_one))
			skip();
		while (step_once(&t)) {
			left = left_after_kill(places[i].limit);
			if (left != last && left + 1 != free)
				fail_msg(
				    "%s: %u left after %u", places[i].name, (unsigned)left, t.n);
			assert_true(left <= last);
			last = left;
		}
		assert_int_equal(s->taken, free > 0);
		assert_int_equal(last, free - s->taken);
	}
}

/* The others get all that there is while the child stands still, now or for some windows to come.
 */
static void
stopped_at(unsigned at, unsigned windows, uint64_t free, bool *ended)
{
	uint64_t limit = place->limit, taken;
	struct step t;

	assert_true(step_start(&t, &s->done, take_one));
	*ended = false;
	while (t.n < at && !*ended)
		*ended = !step_once(&t);
	taken = take_all(&s->rate, limit, 5000);
	for (unsigned i = 1; i <= windows; i++)
		assert_int_equal(take_all(&s->rate, limit, 5000 + i * MINUTE), limit);
	if (!*ended)
		step_rest(&t);
	if (taken + s->taken != free)
		fail_msg("%s: stopped after %u, %u + %u admitted of %u", place->name, at,
		    (unsigned)taken, s->taken, (unsigned)free);
	assert_int_equal(take_all(&s->rate, limit, 4999 + (windows + 1) * MINUTE), 0);
	assert_int_equal(take_all(&s->rate, limit, 5000 + (windows + 1) * MINUTE), limit);
}

/* How many instructions a taker needs. */
static unsigned
length_of(const struct place *p)
{
	struct step t;

	prepare(p);
	if (!step_start(&t, &s->done, take_one))
		skip();
	while (step_once(&t))
		continue;
	return t.n;
}

/* Each place is reached from the start; with sanitizers, where one instruction is many, some are
 * left out. */
static void
stopped_at_any_instruction(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(places); i++) {
		unsigned n = length_of(&places[i]), stride = n < 256 ? 1 : n / 64;

		for (unsigned windows = 0; windows < 3; windows += 2) {
			bool ended = false;

			for (unsigned at = 0; !ended; at += stride)
				stopped_at(at, windows, prepare(&places[i]), &ended);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(exact_over_processes, setup, teardown),
	    cmocka_unit_test_setup_teardown(unlimited_and_too_much, setup, teardown),
	    cmocka_unit_test_setup_teardown(slides_out_one_by_one, setup, teardown),
	    cmocka_unit_test_setup_teardown(no_window_holds_more, setup, teardown),
	    cmocka_unit_test_setup_teardown(clocks_out_of_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(clock_read_long_ago, setup, teardown),
	    cmocka_unit_test_setup_teardown(clock_of_two_years, setup, teardown),
	    cmocka_unit_test_setup_teardown(change_of_limit, setup, teardown),
	    cmocka_unit_test_setup_teardown(taken_but_head_not_moved, setup, teardown),
	    cmocka_unit_test_setup_teardown(old_part_of_a_group, setup, teardown),
	    cmocka_unit_test_setup_teardown(killed_while_hammering, setup, teardown),
	    cmocka_unit_test_setup_teardown(killed_at_any_instruction, setup, teardown),
	    cmocka_unit_test_setup_teardown(stopped_at_any_instruction, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
