#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/buf.h"
#include "shared/err.h"

static void
appends(void **state)
{
	struct buf b = BUF_INIT(1000);

	(void)state;
	assert_int_equal(buf_add(&b, "abc", 3), 0);
	assert_int_equal(buf_str(&b, "def"), 0);
	assert_int_equal(buf_addf(&b, "%03d", 7), 0);
	assert_int_equal(b.len, 9);
	assert_string_equal(buf_cstr(&b), "abcdef007");
	assert_int_equal(b.len, 9);
	buf_drop(&b, 3);
	assert_string_equal(buf_cstr(&b), "def007");
	buf_drop(&b, 6);
	assert_int_equal(b.len, 0);
	buf_clear(&b);
	assert_null(b.data);
}

/* A failed append leaves what is there and is remembered until the buffer is reset. */
static void
ceiling(void **state)
{
	struct buf b = BUF_INIT(10);

	(void)state;
	assert_int_equal(buf_str(&b, "0123456789"), 0);
	assert_true(buf_ok(&b));
	assert_int_equal(buf_add(&b, "x", 1), E_TOO_LONG);
	assert_int_equal(buf_addf(&b, "%d", 1), E_TOO_LONG);
	assert_null(buf_reserve(&b, 1));
	assert_false(buf_ok(&b));
	assert_string_equal(buf_cstr(&b), "0123456789");
	buf_drop(&b, 5);
	assert_int_equal(buf_add(&b, "abcde", 5), 0);
	assert_false(buf_ok(&b));
	assert_memory_equal(b.data, "56789abcde", 10);
	assert_int_equal(buf_add(&b, "x", SIZE_MAX), E_TOO_LONG);
	buf_reset(&b);
	assert_true(buf_ok(&b));
	assert_int_equal(b.len, 0);
	buf_wipe(&b);
}

static void
grows_byte_by_byte(void **state)
{
	struct buf b = BUF_INIT(200000);
	unsigned steps = 0;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		char c = (char)(i * 31);
		size_t cap = b.cap;

		assert_int_equal(buf_add(&b, &c, 1), 0);
		assert_true(b.cap >= b.len && b.cap <= b.max);
		steps += b.cap != cap;
	}
	assert_true(steps < 20); /* each at least doubles */
	assert_int_equal(buf_add(&b, "x", 1), E_TOO_LONG);
	for (unsigned i = 0; i < 200000; i++)
		assert_int_equal(b.data[i], (char)(i * 31));
	buf_clear(&b);
}

static void
reserve_and_commit(void **state)
{
	struct buf b;
	char *p;

	(void)state;
	buf_init(&b, 5000);
	p = buf_reserve(&b, 4000);
	assert_non_null(p);
	memset(p, 'q', 4000);
	b.len += 4000;
	assert_int_equal(buf_addf(&b, "%s", "end"), 0);
	assert_int_equal(b.len, 4003);
	assert_memory_equal(b.data + 3999, "qend", 4);
	p = buf_reserve(&b, 997); /* all that is left */
	assert_ptr_equal(p, b.data + 4003);
	memset(p, 'r', 997);
	b.len += 997;
	assert_memory_equal(b.data + 4000, "endr", 4);
	assert_null(buf_reserve(&b, 1));
	buf_clear(&b);
	assert_string_equal(buf_cstr(&b), ""); /* an empty buffer is a string too */
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(appends),
	    cmocka_unit_test(ceiling),
	    cmocka_unit_test(grows_byte_by_byte),
	    cmocka_unit_test(reserve_and_commit),
	};
	return cmocka_run_group_tests_name("shared/buf", tests, NULL, NULL);
}
