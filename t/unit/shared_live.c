#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/err.h"
#include "shared/live.h"
#include "shared/log.h"

#define SEC NS_PER_SEC

static int fd;
static struct live *live;

static int
setup(void **state)
{
	(void)state;
	return live_create(&fd) == 0 && live_map(fd, &live) == 0 ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	live_unmap(live);
	live_unmap(NULL);
	return close(fd);
}

static void
a_wrong_region_is_refused(void **state)
{
	struct live *other = (struct live *)1;
	int small = memfd_create("small", 0);

	(void)state;
	assert_int_equal(ftruncate(small, 4096), 0);
	assert_int_equal(live_map(small, &other), E_TRUNCATED);
	assert_null(other);
	assert_int_equal(live_map(-1, &other), E_SYSTEM);
	close(small);
	live->head.major++;
	assert_int_equal(live_map(fd, &other), E_VERSION);
	live->head.major--;
	live->head.minor++; /* a higher minor version is read all the same */
	assert_int_equal(live_map(fd, &other), 0);
	live_unmap(other);
	live->head.minor--;
	live->head.len += 4096;
	assert_int_equal(live_map(fd, &other), E_TRUNCATED);
	live->head.len -= 4096;
	live->head.len -= 1;
	assert_int_equal(live_map(fd, &other), E_VERSION);
	live->head.len += 1;
	for (size_t at = offsetof(struct live_head, workers); at < offsetof(struct live_head, pad);
	     at += 4) {
		(*(uint32_t *)(void *)((char *)&live->head + at))++;
		assert_int_equal(live_map(fd, &other), E_VERSION);
		(*(uint32_t *)(void *)((char *)&live->head + at))--;
	}
	live->head.magic++;
	assert_int_equal(live_map(fd, &other), E_VERSION);
	live->head.magic--;
	assert_int_equal(live_map(fd, &other), 0);
	live_unmap(other);
}

/* Nobody, by growing or shrinking the file, can take memory from under those who map it. */
static void
the_region_keeps_its_length(void **state)
{
	(void)state;
	assert_int_equal(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(lseek(fd, 0, SEEK_END), sizeof *live);
}

static void
enter_beyond(void)
{
	live_conn_enter(live, LIVE_CONNS, 0);
}

static void
enter_no_worker(void)
{
	live_conn_enter(live, 0, LIVE_WORKERS);
}

static void
leave_empty(void)
{
	live_conn_leave(live, 77, 0);
}

static void
release_beyond(void)
{
	live_worker_release(live, LIVE_WORKERS);
}

static void
bind_key_beyond(void)
{
	live_key_bind(live, LIVE_KEYS, 1);
}

static void
bind_conn_beyond(void)
{
	live_conn_bind(live, LIVE_CONNS, 1);
}

/* A number outside the region ends the process before anything is written there. */
static void
numbers_outside_are_bugs(void **state)
{
	static void (*const calls[])(void) = {enter_beyond, enter_no_worker, leave_empty,
	    release_beyond, bind_key_beyond, bind_conn_beyond};
	int status;
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < NELEM(calls); i++) {
		assert_true((pid = fork()) >= 0);
		if (pid == 0) {
			signal(SIGABRT, SIG_DFL);
			log_use_fd(open("/dev/null", O_WRONLY));
			calls[i]();
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

static void
slots_are_taken_once(void **state)
{
	(void)state;
	for (int i = 0; i < LIVE_WORKERS; i++)
		assert_int_equal(live_worker_take(live, 1 + (uint64_t)i % 2, 100 + (uint64_t)i), i);
	assert_int_equal(live_worker_take(live, 3, 999), E_FULL);
	assert_int_equal(live->worker[7].generation, 107);
	assert_int_equal(live->worker[7].owner, 2);
	assert_int_equal(live->worker[7].state, WORKER_STARTING);
	live_worker_release(live, 7);
	assert_int_equal(live->worker[7].state, WORKER_FREE);
	assert_int_equal(live_worker_take(live, 3, 999), 7);
	for (unsigned i = 0; i < LIVE_WORKERS; i++)
		live_worker_release(live, i);
}

/* What a dead worker held is taken back; what it counted stays. */
static void
release_takes_back_the_column(void **state)
{
	int a = live_worker_take(live, 1, 1), b = live_worker_take(live, 1, 2);

	(void)state;
	live_conn_enter(live, 5, (unsigned)a);
	live_conn_enter(live, 5, (unsigned)a);
	live_conn_enter(live, 5, (unsigned)b);
	live_conn_enter(live, 1023, (unsigned)a);
	live_bump(&live->worker[a].counter[CTR_requests], 12);
	live->worker[a].conns = 4;
	for (unsigned i = 0; i < XS_COUNT; i++)
		live->worker[a].exchanges[i] = 3;
	live->worker[a].open = live->worker[a].rss_kb = 5;
	live->worker[a].want_snap = live->worker[a].have_snap = 6;
	live->worker[a].heartbeat_ns = live->worker[a].started_ns = 7;
	live->worker[a].pid = 8;
	assert_int_equal(live_conn_inflight(live, 5), 3);
	live_worker_release(live, (unsigned)a);
	assert_int_equal(live_conn_inflight(live, 5), 1);
	assert_int_equal(live_conn_inflight(live, 1023), 0);
	assert_int_equal(live->worker[a].conns, 0);
	for (unsigned i = 0; i < XS_COUNT; i++)
		assert_int_equal(live->worker[a].exchanges[i], 0);
	assert_int_equal(live->worker[a].open | live->worker[a].rss_kb, 0);
	assert_int_equal(live->worker[a].want_snap | live->worker[a].have_snap, 0);
	assert_int_equal(live->worker[a].heartbeat_ns | live->worker[a].started_ns, 0);
	assert_int_equal(live->worker[a].pid, 0);
	assert_int_equal(live->worker[a].owner, 0);
	assert_int_equal(live->worker[a].counter[CTR_requests], 12);
	live_conn_leave(live, 5, (unsigned)b);
	assert_int_equal(live_conn_inflight(live, 5), 0);
	live_worker_release(live, (unsigned)b);
}

static void
binding_another_clears(void **state)
{
	uint64_t retry;

	(void)state;
	live_conn_bind(live, 9, 1234);
	live_conn_failed(live, 9, SEC, 1000, 5, 0);
	live_conn_bind(live, 9, 1234);
	assert_false(live_conn_available(live, 9, SEC, NULL));
	live_conn_bind(live, 9, 4321);
	assert_true(live_conn_available(live, 9, SEC, NULL));
	live_key_bind(live, 2, 77);
	assert_true(rate_take(&live->key[2].rpm, 1, 60000, 5000, &retry));
	live_key_bind(live, 2, 77);
	assert_false(rate_take(&live->key[2].rpm, 1, 60000, 5000, &retry));
	live_key_bind(live, 2, 78);
	assert_true(rate_take(&live->key[2].rpm, 1, 60000, 5000, &retry));
}

static void
cooldown_doubles(void **state)
{
	uint64_t now = 100 * SEC, until = 1;
	static const uint64_t expect_s[] = {3, 6, 12, 24, 48, 96, 96};

	(void)state;
	live_conn_bind(live, 11, 1);
	assert_true(live_conn_available(live, 11, now, &until));
	assert_int_equal(until, 0);
	for (size_t i = 0; i < NELEM(expect_s); i++) {
		live_conn_failed(live, 11, now, 3000, 5, 0);
		live_conn_failed(live, 11, now + 1, 3000, 5, 0); /* one and the same */
		assert_false(live_conn_available(live, 11, now + 1, &until));
		assert_int_equal(until, now + expect_s[i] * SEC);
		assert_false(live_conn_available(live, 11, until - 1, NULL));
		assert_true(live_conn_available(live, 11, until, NULL));
		now = until;
	}
	live_conn_succeeded(live, 11);
	live_conn_failed(live, 11, now, 3000, 5, 0);
	live_conn_available(live, 11, now, &until);
	assert_int_equal(until, now + 3 * SEC);
	live_conn_succeeded(live, 11);
	live_conn_failed(live, 11, now + 1, 3000, 5, 7000); /* the upstream's wish, rounded up */
	live_conn_available(live, 11, now + 2, &until);
	assert_int_equal(until, now + NS_PER_MS + 7 * SEC);
	live_conn_succeeded(live, 11);
	live_conn_failed(
	    live, 11, now, 3000, 5, UINT64_MAX); /* beyond what can be told: for ever */
	assert_false(live_conn_available(live, 11, UINT64_MAX / 2, NULL));
	live_conn_succeeded(live, 11);
	assert_true(live_conn_available(live, 11, now, NULL));
}

static void
histogram(void **state)
{
	static struct live_hist h;

	(void)state;
	assert_int_equal(live_hist_bucket(0), 0);
	for (unsigned b = 0; b < LIVE_HIST - 1; b++) {
		uint64_t bound = live_hist_bound_us(b);
		assert_true(live_hist_bucket(bound) > b);
		assert_true(live_hist_bucket(bound - 1) <= b);
	}
	assert_int_equal(live_hist_bound_us(LIVE_HIST - 1), UINT64_MAX);
	assert_int_equal(live_hist_bucket(UINT64_MAX), LIVE_HIST - 1);
	assert_int_equal(live_hist_bucket(UINT64_C(1) << LIVE_HIST / 2), LIVE_HIST - 1);
	live_hist_add(&h, 1000);
	live_hist_add(&h, 3);
	assert_int_equal(h.count, 2);
	assert_int_equal(h.sum_us, 1003);
	assert_int_equal(h.bucket[live_hist_bucket(1000)], 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_wrong_region_is_refused),
	    cmocka_unit_test(the_region_keeps_its_length),
	    cmocka_unit_test(numbers_outside_are_bugs),
	    cmocka_unit_test(slots_are_taken_once),
	    cmocka_unit_test(release_takes_back_the_column),
	    cmocka_unit_test(binding_another_clears),
	    cmocka_unit_test(cooldown_doubles),
	    cmocka_unit_test(histogram),
	};
	return cmocka_run_group_tests_name("shared/live", tests, setup, teardown);
}
