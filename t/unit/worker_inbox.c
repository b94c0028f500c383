#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "shared/err.h"
#include "t/unit/worker_fixture.h"

static struct snapshot_builder *
first(void)
{
	return fixture_builder(0, false);
}

static int
setup(void **state)
{
	(void)state;
	fixture_new(first);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fixture_free();
	return 0;
}

static void
send_message(uint32_t type, uint64_t arg, const int *fds, unsigned nfds)
{
	struct channel_msg m = {.type = type, .arg = arg};

	assert_int_equal(channel_send(fx.master, &m, fds, nfds), 0);
}

static uint64_t
in_force(void)
{
	return snapshot_head(worker_snapshot())->number;
}

/* Taken into use when it is announced, acknowledged from the loop. */
static void
a_snapshot_is_taken_ahead_of_the_loop(void **state)
{
	struct channel_msg m;

	(void)state;
	assert_int_equal(in_force(), 1);
	assert_int_equal(atomic_load(&worker.me->have_snap), 1);
	assert_int_equal(fx.acts, 0);
	fixture_expect(MSG_TAKEN, &m);
	assert_int_equal(m.arg, 1);
	fixture_publish(fixture_builder(0, false));
	assert_int_equal(in_force(), 2);
	fixture_expect(MSG_TAKEN, &m);
	assert_int_equal(m.arg, 2);
	assert_int_equal(atomic_load(&worker.me->counter[CTR_snapshots]), 2);
}

/* Whoever borrowed a snapshot in this turn can still read it. */
static void
the_one_before_stays_for_this_turn(void **state)
{
	struct snapshot *old = worker_snapshot();
	struct channel_msg m;

	(void)state;
	fixture_publish(fixture_builder(0, false));
	assert_int_equal(in_force(), 2);
	assert_int_equal(snapshot_head(old)->number, 1); /* a use after unmapping would be seen */
	assert_ptr_not_equal(worker_snapshot(), old);
	fixture_expect(MSG_TAKEN, &m);
	assert_int_equal(m.arg, 2);
}

static void
a_bad_snapshot_changes_nothing(void **state)
{
	struct snapshot_builder *b;
	struct channel_msg m;
	int fd;

	(void)state;
	assert_int_equal(in_force(), 1);
	fixture_expect(MSG_TAKEN, &m);
	fd = memfd_create("bad", MFD_ALLOW_SEALING);
	assert_int_equal(write(fd, "nonsense", 8), 8);
	send_message(MSG_SNAPSHOT, 2, &fd, 1);
	close(fd);
	atomic_store(&worker.me->want_snap, 2);
	assert_int_equal(in_force(), 1);
	fixture_expect(MSG_REFUSED, &m);
	assert_int_equal(m.arg, 2);
	assert_true((int64_t)m.arg2 < 0);
	assert_int_not_equal(inbox.refused, 0);
	assert_int_equal(inbox.error, 0);
	assert_int_equal(atomic_load(&worker.me->have_snap), 1);
	/* without a descriptor, and under a wrong number */
	send_message(MSG_SNAPSHOT, 3, NULL, 0);
	fixture_expect(MSG_REFUSED, &m);
	assert_int_equal(m.arg, 3);
	b = fixture_builder(0, false);
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	send_message(MSG_SNAPSHOT, fx.number + 2, &fd, 1);
	close(fd);
	fixture_expect(MSG_REFUSED, &m);
	assert_int_equal(m.arg, fx.number + 2);
	assert_int_equal(in_force(), 1);
	fx.number = 4;
	fixture_publish(fixture_builder(0, false));
	assert_int_equal(in_force(), 5);
	assert_int_equal(inbox.refused, 0);
}

/* The master broke its word: served with what there is, and no turn of the loop is spent on asking
 * again. */
static void
a_missing_snapshot_is_not_waited_for(void **state)
{
	int log = memfd_create("log", 0), keep = dup(log), before = dup(STDERR_FILENO);
	uint64_t begin = clock_now_ns();
	char text[4096];
	ssize_t n;

	(void)state;
	assert_int_equal(in_force(), 1);
	atomic_store(&worker.me->want_snap, 9);
	log_use_fd(log);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(in_force(), 1);
	log_use_fd(before);
	assert_true(clock_now_ns() - begin < NS_PER_SEC);
	n = pread(keep, text, sizeof text - 1, 0);
	assert_in_range(n, 1, sizeof text - 1);
	text[n] = '\0';
	assert_non_null(strstr(text, "snapshot 9 was announced"));
	assert_ptr_equal(strchr(text, '\n'), text + n - 1); /* said once */
	close(keep);
	fx.number = 9;
	fixture_publish(fixture_builder(0, false));
	assert_int_equal(in_force(), 10);
}

static void
until(const bool *flag)
{
	uint64_t deadline = clock_now_ns() + DEADLINE;

	while (!*flag) {
		assert_true(clock_now_ns() < deadline);
		fixture_turn();
	}
}

/* An order waits for the loop, even when it was read on the way to a snapshot. */
static void
orders_wait_for_the_loop(void **state)
{
	unsigned acts;

	(void)state;
	assert_int_equal(in_force(), 1);
	acts = fx.acts;
	send_message(MSG_RETIRE, 0, NULL, 0);
	fixture_publish(fixture_builder(0, false));
	assert_int_equal(in_force(), 2);
	assert_true(inbox.retire);
	assert_int_equal(fx.acts, acts);
	send_message(MSG_STOP, 0, NULL, 0);
	until(&inbox.stop);
	while (fx.acts == acts)
		fixture_turn();
}

static void
the_end_of_the_master_is_seen(void **state)
{
	(void)state;
	assert_int_equal(in_force(), 1);
	close(fx.master);
	fx.master = -1;
	until(&inbox.closed);
	assert_int_equal(inbox.error, 0);
	assert_int_equal(in_force(), 1);
}

/* What is no message, or not for us, ends this worker: it is set as an error, once. */
static void
garbage_is_an_error(void **state)
{
	uint64_t deadline = clock_now_ns() + DEADLINE;

	(void)state;
	assert_int_equal(send(fx.master, "garbage", 7, 0), 7);
	while (inbox.error == 0) {
		assert_true(clock_now_ns() < deadline);
		fixture_turn();
	}
	assert_int_equal(inbox.error, E_SYNTAX);
}

static void
a_workers_message_is_an_error(void **state)
{
	uint64_t deadline = clock_now_ns() + DEADLINE;

	(void)state;
	send_message(MSG_READY, 0, NULL, 0);
	while (inbox.error == 0) {
		assert_true(clock_now_ns() < deadline);
		fixture_turn();
	}
	assert_int_equal(inbox.error, E_SYNTAX);
}

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) != -1;
}

/* A master that does not read: what it must know is said when there is room again. */
static void
acknowledgements_are_repeated(void **state)
{
	struct channel_msg m = {.type = MSG_READY}, got;
	unsigned filled = 0, nfds;
	int fds[CHANNEL_FDS];

	(void)state;
	assert_int_equal(in_force(), 1);
	while (channel_send(fx.channel, &m, NULL, 0) == 0)
		filled++;
	fixture_turn(); /* act: the acknowledgement does not fit */
	inbox_ready();
	for (unsigned i = 0; i < filled; i++)
		assert_int_equal(channel_recv(fx.master, &got, fds, &nfds), 0);
	assert_int_equal(channel_recv(fx.master, &got, fds, &nfds), E_AGAIN);
	inbox_tick();
	fixture_expect(MSG_READY, &got);
	fixture_expect(MSG_TAKEN, &got);
	assert_int_equal(got.arg, 1);
	inbox_tick();
	assert_int_equal(channel_recv(fx.master, &got, fds, &nfds), E_AGAIN);
}

/* Logs change hands; a descriptor that is not wanted is closed. */
static void
logs_are_taken_over(void **state)
{
	int logs[2] = {memfd_create("log", 0), memfd_create("access", 0)}, before = dup(2);
	struct http_req r = {.status = 200};
	off_t size;

	(void)state;
	assert_int_equal(in_force(), 1);
	accesslog_format("$status");
	send_message(MSG_LOGS, 1, logs, 2);
	send_message(MSG_RETIRE, 0, NULL, 0);
	until(&inbox.retire);
	accesslog_write(&r);
	assert_int_equal(lseek(logs[1], 0, SEEK_END), 4);
	log_error("written");
	assert_true(lseek(logs[0], 0, SEEK_END) > 0);
	send_message(MSG_LOGS, 0, logs, 2);
	inbox.retire = false;
	send_message(MSG_RETIRE, 0, NULL, 0);
	until(&inbox.retire);
	size = lseek(logs[1], 0, SEEK_END);
	accesslog_write(&r);
	assert_int_equal(lseek(logs[1], 0, SEEK_END), size);
	assert_true(is_open(before));
	log_use_fd(before);
	close(logs[0]);
	close(logs[1]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_snapshot_is_taken_ahead_of_the_loop),
	    T(the_one_before_stays_for_this_turn),
	    T(a_bad_snapshot_changes_nothing),
	    T(a_missing_snapshot_is_not_waited_for),
	    T(orders_wait_for_the_loop),
	    T(the_end_of_the_master_is_seen),
	    T(garbage_is_an_error),
	    T(a_workers_message_is_an_error),
	    T(acknowledgements_are_repeated),
	    T(logs_are_taken_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
