#include "t/unit/master_fixture.h"

#include "master/orphan.h"
#include "master/usage.h"
#include "shared/ring.h"
#include "shared/spool.h"

#define MANY 9000 /* more than two commits take */

static unsigned slot;
static struct ring_writer *writer;

struct seen {
	unsigned n, unknown;
	uint64_t last_seq;
};

static int
see(void *ctx, const struct usage_record *rec)
{
	struct seen *s = ctx;

	s->n++;
	s->unknown += (rec->flags & USAGE_UNKNOWN) != 0;
	s->last_seq = rec->seq;
	return 0;
}

static struct seen
stored(void)
{
	struct seen s = {0};

	assert_int_equal(store_recent_usage(master.store, 0, 100000, see, &s), 0);
	return s;
}

static void
take_slot(uint64_t owner, uint64_t generation)
{
	int taken = live_worker_take(master.live, owner, generation);

	assert_in_range(taken, 0, LIVE_WORKERS - 1);
	slot = (unsigned)taken;
	assert_non_null(writer = ring_writer_new(&master.live->worker[slot].ring, generation));
}

static int
open_one(void)
{
	int cell = ring_open(writer);
	struct usage_record *rec;

	assert_true(cell >= 0);
	rec = ring_record(writer, cell);
	rec->start_wall_us = clock_wall_us();
	snprintf(rec->provider, sizeof rec->provider, "echo");
	snprintf(rec->model_used, sizeof rec->model_used, "echo-1");
	return cell;
}

static void
close_one(int cell)
{
	ring_record(writer, cell)->end_wall_us = clock_wall_us();
	ring_record(writer, cell)->status = 200;
	ring_close(writer, cell);
}

static int
up(void **state)
{
	(void)state;
	master_up("");
	writer = NULL;
	return 0;
}

static int
down(void **state)
{
	(void)state;
	ring_writer_free(writer);
	usage_free(&master);
	master_down();
	return 0;
}

static bool
ring_is_empty(void)
{
	return ring_pending(&master.live->worker[slot].ring) == 0;
}

static void
test_wake_stores_all_and_then_consumes(void **state)
{
	uint64_t one = 1;

	(void)state;
	assert_int_equal(usage_start(&master), 0);
	take_slot(master.generation, 41);
	for (unsigned i = 0; i < MANY; i++)
		close_one(open_one());
	assert_int_equal(write(master.event_fd, &one, sizeof one), sizeof one);
	assert_true(fixture_loop_until(ring_is_empty));
	assert_int_equal(stored().n, MANY);
	assert_int_equal(stored().unknown, 0);
	assert_true(usage_idle(&master));
}

static void
test_ring_of_another_master_is_left_alone(void **state)
{
	uint64_t one = 1;

	(void)state;
	assert_int_equal(usage_start(&master), 0);
	take_slot(master.generation + 1, 41);
	close_one(open_one());
	assert_int_equal(write(master.event_fd, &one, sizeof one), sizeof one);
	event_base_loop(master.base, EVLOOP_ONCE);
	event_base_loop(master.base, EVLOOP_ONCE);
	assert_int_equal(stored().n, 0);
	assert_int_equal(ring_pending(&master.live->worker[slot].ring), 1);
}

static bool
slot_is_free(void)
{
	return atomic_load(&master.live->worker[slot].owner) == 0;
}

static void
test_burial_books_what_was_in_hand(void **state)
{
	(void)state;
	assert_int_equal(usage_start(&master), 0);
	take_slot(master.generation, 42);
	live_conn_enter(master.live, 5, slot);
	for (unsigned i = 0; i < MANY; i++)
		close_one(open_one());
	open_one();
	open_one();
	usage_bury(&master, slot);
	assert_true(fixture_loop_until(slot_is_free));
	assert_true(usage_idle(&master));
	assert_int_equal(stored().n, MANY + 2);
	assert_int_equal(stored().unknown, 2);
	assert_int_equal(live_conn_inflight(master.live, 5), 0);
}

static bool
nothing_foreign(void)
{
	return slot_is_free() && usage_idle(&master);
}

static void
test_slot_of_a_dead_master_is_taken_over(void **state)
{
	struct foreign_slots f = {{0}};

	(void)state;
	assert_int_equal(usage_start(&master), 0);
	take_slot(master.generation + 1, 43);
	close_one(open_one());
	atomic_store(&master.live->worker[slot].pid, getpid()); /* lives, but is not this worker */
	for (unsigned i = 0; i + 1 < FOREIGN_TURNS; i++)
		assert_int_equal(foreign_slots_take(&f, master.live, master.generation), 0);
	assert_true(fixture_loop_until(nothing_foreign));
	assert_int_equal(stored().n, 1);
}

static void
test_spool_is_collected_at_start(void **state)
{
	char dir[96];
	int fd;

	(void)state;
	take_slot(master.generation + 1, 44);
	close_one(open_one());
	open_one();
	snprintf(dir, sizeof dir, "%s/spool", master_dir);
	assert_int_equal(spool_create(dir, 44, &fd), 0);
	assert_int_equal(spool_write(fd, &master.live->worker[slot].ring), 0);
	close(fd);
	assert_int_equal(usage_start(&master), 0);
	assert_int_equal(stored().n, 2);
	assert_int_equal(stored().unknown, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_wake_stores_all_and_then_consumes, up, down),
	    cmocka_unit_test_setup_teardown(test_ring_of_another_master_is_left_alone, up, down),
	    cmocka_unit_test_setup_teardown(test_burial_books_what_was_in_hand, up, down),
	    cmocka_unit_test_setup_teardown(test_slot_of_a_dead_master_is_taken_over, up, down),
	    cmocka_unit_test_setup_teardown(test_spool_is_collected_at_start, up, down),
	};

	log_set_level(LOG_LV_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
