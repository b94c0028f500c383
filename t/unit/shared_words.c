#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/clock.h"
#include "shared/err.h"
#include "shared/failure.h"

static void
iso(void **state)
{
	static const struct {
		uint64_t us;
		const char *text;
	} rows[] = {
	    {0, "1970-01-01T00:00:00.000Z"},
	    {999, "1970-01-01T00:00:00.000Z"},
	    {1000, "1970-01-01T00:00:00.001Z"},
	    {UINT64_C(951782400000000), "2000-02-29T00:00:00.000Z"},
	    {UINT64_C(1769862896789000), "2026-01-31T12:34:56.789Z"},
	    {UINT64_C(253402300799999999), "9999-12-31T23:59:59.999Z"},
	    {UINT64_MAX, "9999-12-31T23:59:59.999Z"},
	};
	char out[CLOCK_ISO_LEN];

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		clock_format_iso(rows[i].us, out);
		assert_string_equal(out, rows[i].text);
	}
}

static void
runs_forward(void **state)
{
	uint64_t last = clock_now_ns();

	(void)state;
	for (int i = 0; i < 1000; i++) {
		uint64_t now = clock_now_ns();
		assert_true(now >= last);
		last = now;
	}
	assert_true(clock_wall_us() > UINT64_C(1600000000000000));
}

static void
every_error_has_its_text(void **state)
{
	(void)state;
	assert_string_equal(err_text(0), "success");
	for (int r = -1; r >= -(int)ERR_COUNT; r--) {
		assert_string_not_equal(err_text(r), "unknown error");
		for (int other = r + 1; other < 0; other++)
			assert_string_not_equal(err_text(r), err_text(other));
	}
	assert_string_equal(err_text(-(int)ERR_COUNT - 1), "unknown error");
	assert_string_equal(err_text(1), "unknown error");
	assert_string_equal(err_text(E_CLOSED), "closed by the other side");
}

static void
every_failure_is_described(void **state)
{
	(void)state;
	for (int f = 0; f < FAIL_COUNT; f++) {
		const struct failure_info *i = failure_info((enum failure)f);
		assert_true(strlen(i->label) > 0);
		assert_true(i->status == 0 || (i->status >= 200 && i->status <= 599));
		for (int other = 0; other < f; other++)
			assert_string_not_equal(i->label, failure_info((enum failure)other)->label);
	}
	assert_int_equal(failure_info(FAIL_CONNECT_TIMEOUT)->status, 504);
	assert_true(failure_info(FAIL_CUT)->retry);
	assert_non_null(failure_info(FAIL_COUNT));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(iso),
	    cmocka_unit_test(runs_forward),
	    cmocka_unit_test(every_error_has_its_text),
	    cmocka_unit_test(every_failure_is_described),
	};
	return cmocka_run_group_tests_name("shared/clock, err, failure", tests, NULL, NULL);
}
