#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/arena.h"

static void
alignment_and_contents(void **state)
{
	struct arena *a = arena_new(4u << 20);
	char *before = NULL;

	(void)state;
	for (size_t n = 0; n < 5000; n += 7) {
		char *p = arena_alloc(a, n);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		memset(p, 0x5a, n);
		assert_ptr_not_equal(p, before);
		before = p;
	}
	arena_free(a);
}

static void
ceiling_holds(void **state)
{
	struct arena *a = arena_new(10000);
	size_t got = 0;

	(void)state;
	while (arena_alloc(a, 100) != NULL)
		got += 100;
	assert_in_range(got, 5000, 10000);
	assert_true(arena_size(a) <= 10000);
	assert_null(arena_alloc(a, 9000));
	assert_null(arena_alloc(a, SIZE_MAX));
	assert_null(arena_alloc(a, SIZE_MAX - 15));
	assert_null(arena_zalloc(a, SIZE_MAX / 2, 3));
	assert_null(arena_strndup(a, "x", SIZE_MAX));
	arena_free(a);
}

static void
large_pieces_keep_the_chunk(void **state)
{
	struct arena *a = arena_new(1u << 20);
	char *one = arena_alloc(a, 16), *big = arena_alloc(a, 100000), *two = arena_alloc(a, 16);

	(void)state;
	assert_non_null(big);
	assert_ptr_equal(two, one + 16); /* the first chunk was not given up */
	memset(big, 1, 100000);
	arena_free(a);
}

static void
strings(void **state)
{
	struct arena *a = arena_new(1u << 16);
	char *z = arena_zalloc(a, 10, 10);

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(z[i], 0);
	assert_string_equal(arena_strndup(a, "hello world", 5), "hello");
	assert_string_equal(arena_strndup(a, NULL, 0), "");
	assert_string_equal(arena_printf(a, "%s-%d", "x", 42), "x-42");
	assert_int_equal(strlen(arena_printf(a, "%5000d", 1)), 5000);
	assert_string_equal(arena_printf(a, "%s", ""), "");
	arena_free(a);
	arena_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(alignment_and_contents),
	    cmocka_unit_test(ceiling_holds),
	    cmocka_unit_test(large_pieces_keep_the_chunk),
	    cmocka_unit_test(strings),
	};
	return cmocka_run_group_tests_name("shared/arena", tests, NULL, NULL);
}
