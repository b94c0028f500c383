/* The master and its workers, played by this program: what they say, and how they end. */
#include "t/unit/master_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "master/publish.h"
#include "master/spawn.h"
#include "master/supervise.h"
#include "master/usage.h"
#include "shared/channel.h"

/* ---- the worker: TZ, which a worker is given, says how it behaves ---- */

static void
say(enum channel_type type, uint64_t arg, uint64_t arg2)
{
	const struct channel_msg m = {.type = type, .arg = arg, .arg2 = arg2};

	if (channel_send(WORKER_FD_CHANNEL, &m, NULL, 0) != 0)
		_exit(9);
}

static bool
is(const char *behaviour)
{
	const char *tz = getenv("TZ");

	return tz != NULL && strcmp(tz, behaviour) == 0;
}

static void
hear(const struct channel_msg *m)
{
	if (m->type == MSG_SNAPSHOT && is("refuses") && m->arg > 1) {
		say(MSG_REFUSED, m->arg, (uint64_t)(int64_t)E_CHECKSUM);
	} else if (m->type == MSG_SNAPSHOT) {
		say(MSG_TAKEN, m->arg, 0);
		say(MSG_READY, 0, 0);
		if (is("lies"))
			say(MSG_TAKEN, m->arg + 1, 0);
		if (is("babbles"))
			(void)!write(WORKER_FD_CHANNEL, "what", 4);
		if (is("hangs"))
			for (;;)
				pause();
	} else if (m->type == MSG_RETIRE || m->type == MSG_STOP) {
		_exit(WORKER_EXIT_OK);
	}
}

_Noreturn static void
worker(void)
{
	struct channel_msg m;
	int fds[CHANNEL_FDS], r;
	unsigned n;

	if (is("never"))
		_exit(WORKER_EXIT_NO_RETRY);
	for (;;) {
		if ((r = channel_recv(WORKER_FD_CHANNEL, &m, fds, &n)) == E_AGAIN) {
			usleep(1000);
			continue;
		}
		if (r != 0)
			_exit(WORKER_EXIT_OK);
		for (unsigned i = 0; i < n; i++)
			close(fds[i]);
		hear(&m);
	}
}

/* ---- the master ---- */

static unsigned calls, buried;
static struct publish_outcome last;

static void
done(void *ctx, const struct publish_outcome *o)
{
	(void)ctx;
	calls++;
	last = *o;
}

static bool
answered(void)
{
	return calls > 0;
}

static void
reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (supervise_reap(&master, pid, status))
			buried++;
}

static unsigned
count(enum live_worker_state state)
{
	struct worker_view v[LIVE_WORKERS];
	unsigned n = supervise_view(&master, v, LIVE_WORKERS), found = 0;

	for (unsigned i = 0; i < n; i++)
		found += v[i].state == state;
	return found;
}

static bool
two_ready(void)
{
	reap();
	return count(WORKER_READY) == 2;
}

static bool
none_waits_for_the_second(void)
{
	struct worker_view v[2];
	unsigned n = supervise_view(&master, v, 2);

	for (unsigned i = 0; i < n; i++)
		if (atomic_load(&master.live->worker[v[i].slot].want_snap) != 1)
			return false;
	return n == 2;
}

static bool
nobody(void)
{
	reap();
	return supervise_count(&master) == 0;
}

static bool
two_buried(void)
{
	reap();
	return buried >= 2;
}

static int
up(void **state)
{
	(void)state;
	calls = buried = 0;
	master_up("workers = 2\n");
	master.serving = true; /* what a first worker sets off is another test's */
	assert_int_not_equal(master.exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), -1);
	assert_int_not_equal(master.access_fd = open("/dev/null", O_WRONLY | O_CLOEXEC), -1);
	assert_int_equal(usage_start(&master), 0);
	assert_int_equal(publish_start(&master), 0);
	return 0;
}

static int
down(void **state)
{
	(void)state;
	supervise_stop(&master, false);
	while (waitpid(-1, NULL, 0) > 0)
		continue;
	publish_free(&master);
	usage_free(&master);
	supervise_free(&master);
	close(master.exe_fd);
	close(master.access_fd);
	master_down();
	return 0;
}

static void
begin(const char *behaviour)
{
	setenv("TZ", behaviour, 1);
	assert_int_equal(supervise_start(&master), 0);
}

static void
publish(void)
{
	calls = 0;
	publish_now(&master, done, NULL);
	assert_true(fixture_loop_until(answered));
}

static void
test_a_change_is_answered_when_all_have_it(void **state)
{
	(void)state;
	begin("good");
	assert_true(fixture_loop_until(two_ready));
	publish();
	assert_int_equal(last.error, 0);
	assert_int_equal(last.number, 2);
	assert_int_equal(last.workers, 2);
	assert_int_equal(last.late, 0);
}

/* It keeps what it has, must not wait for the other, and whoever changed something is told. */
static void
test_a_worker_refuses_a_snapshot(void **state)
{
	(void)state;
	begin("refuses");
	assert_true(fixture_loop_until(two_ready));
	publish();
	assert_int_equal(last.error, E_CHECKSUM);
	assert_true(fixture_loop_until(none_waits_for_the_second));
	assert_int_equal(count(WORKER_READY), 2);
}

static void
test_workers_that_hang_do_not_hold_up_a_change(void **state)
{
	(void)state;
	begin("hangs");
	assert_true(fixture_loop_until(two_ready));
	publish();
	assert_int_equal(last.error, 0);
	assert_int_equal(last.workers, 0);
	assert_int_equal(last.late, 2);
	for (unsigned i = 0; i < 1000 && count(WORKER_READY) > 0; i++) {
		publish_now(&master, NULL, NULL);
		publish_flush(&master);
	}
	assert_int_equal(count(WORKER_READY), 0); /* their sockets are full: killed */
	setenv("TZ", "good", 1);
	assert_true(fixture_loop_until(two_ready));
	assert_true(buried >= 2);
}

static void
replaced(const char *behaviour)
{
	begin(behaviour);
	assert_true(fixture_loop_until(two_buried));
	setenv("TZ", "good", 1);
	assert_true(fixture_loop_until(two_ready));
}

static void
test_a_message_that_makes_no_sense(void **state)
{
	(void)state;
	replaced("babbles");
}

static void
test_a_snapshot_that_was_never_sent(void **state)
{
	(void)state;
	replaced("lies");
}

/* All of them would only do it again; an operator who has mended it says so with a reload. */
static void
test_nobody_wants_to_start(void **state)
{
	(void)state;
	begin("never");
	assert_true(fixture_loop_until(nobody));
	assert_int_equal(buried, 2);
	setenv("TZ", "good", 1);
	supervise_check(&master);
	assert_int_equal(supervise_count(&master), 0);
	supervise_resume(&master);
	assert_true(fixture_loop_until(two_ready));
}

/* All slots are another master's, who gives them back without a word. */
static void
test_slots_become_free(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LIVE_WORKERS; i++)
		assert_true(live_worker_take(master.live, master.generation, 1000 + i) >= 0);
	begin("good");
	assert_int_equal(supervise_count(&master), 0);
	live_worker_release(master.live, 3);
	live_worker_release(master.live, 5);
	assert_true(fixture_loop_until(two_ready));
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_a_change_is_answered_when_all_have_it, up, down),
	    cmocka_unit_test_setup_teardown(test_a_worker_refuses_a_snapshot, up, down),
	    cmocka_unit_test_setup_teardown(
		test_workers_that_hang_do_not_hold_up_a_change, up, down),
	    cmocka_unit_test_setup_teardown(test_a_message_that_makes_no_sense, up, down),
	    cmocka_unit_test_setup_teardown(test_a_snapshot_that_was_never_sent, up, down),
	    cmocka_unit_test_setup_teardown(test_nobody_wants_to_start, up, down),
	    cmocka_unit_test_setup_teardown(test_slots_become_free, up, down),
	};

	if (argc > 0 && strcmp(argv[0], SPAWN_ROLE) == 0)
		worker();
	log_set_level(getenv("V") != NULL ? LOG_LV_DEBUG : LOG_LV_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
