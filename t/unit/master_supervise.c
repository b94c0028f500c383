#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "master/supervise.h"
#include "shared/channel.h"

#define EXITED(code) ((code) << 8)
#define NOW (100 * NS_PER_SEC)

static void
test_judgement(void **state)
{
	static const struct {
		int status;
		bool asked;
		uint64_t ready_ns;
		enum death expected;
	} table[] = {
	    {EXITED(0), true, NOW - 10, DEATH_ASKED},
	    {SIGKILL, true, NOW - 10, DEATH_ASKED},
	    {EXITED(WORKER_EXIT_NO_RETRY), false, NOW - 90 * NS_PER_SEC, DEATH_NO_RETRY},
	    {SIGKILL, false, NOW - 10, DEATH_FINE}, /* somebody outside */
	    {SIGTERM, false, NOW - 10, DEATH_FINE},
	    {SIGKILL, false, 0, DEATH_EARLY}, /* never was ready */
	    {SIGSEGV, false, NOW - 10, DEATH_EARLY},
	    {SIGABRT, false, NOW - NS_PER_SEC + 1, DEATH_EARLY},
	    {SIGABRT, false, NOW - NS_PER_SEC, DEATH_FINE}, /* has served long enough */
	    {EXITED(WORKER_EXIT_FAILED), false, NOW - 10, DEATH_EARLY},
	    {EXITED(WORKER_EXIT_FAILED), false, NOW - 2 * NS_PER_SEC, DEATH_FINE},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++)
		if (supervise_judge(table[i].status, table[i].asked, table[i].ready_ns, NOW) !=
		    table[i].expected)
			fail_msg("row %zu", i);
}

static void
test_throttle(void **state)
{
	struct throttle t = {0};
	unsigned last = 0;

	(void)state;
	assert_int_equal(throttle_delay_ms(&t), 0);
	throttle_died(&t, DEATH_FINE);
	throttle_died(&t, DEATH_ASKED);
	assert_int_equal(throttle_delay_ms(&t), 0);
	for (unsigned i = 0; i < 7; i++) {
		throttle_died(&t, DEATH_EARLY);
		assert_true(throttle_delay_ms(&t) > last);
		last = throttle_delay_ms(&t);
	}
	for (unsigned i = 0; i < 100; i++)
		throttle_died(&t, DEATH_EARLY);
	assert_int_equal(throttle_delay_ms(&t), 10000);
	throttle_died(&t, DEATH_ASKED);
	assert_int_equal(throttle_delay_ms(&t), 10000);
	throttle_died(&t, DEATH_FINE);
	assert_int_equal(throttle_delay_ms(&t), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_judgement),
	    cmocka_unit_test(test_throttle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
