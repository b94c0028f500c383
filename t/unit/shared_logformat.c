#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared/err.h"
#include "shared/logformat.h"

/* Each variable says its number and what is in *ctx. */
static size_t
value(void *ctx, enum logformat_var var, char *out, size_t size)
{
	const char *text = ctx;

	if (text != NULL) {
		size_t n = strlen(text);

		memcpy(out, text, MIN(n, size));
		return n;
	}
	return (size_t)snprintf(out, size, "<%d>", (int)var);
}

static const char *
line_of(const char *format, const char *text)
{
	static char line[256];
	struct logformat *f;
	char why[128];
	size_t n;

	assert_int_equal(logformat_compile(format, &f, why, sizeof why), 0);
	n = logformat_line(f, value, (void *)(uintptr_t)text, line, sizeof line - 1);
	assert_in_range(n, 1, sizeof line - 1);
	line[n] = '\0';
	logformat_free(f);
	return line;
}

static void
variables_are_found(void **state)
{
	char expect[64];

	(void)state;
	snprintf(expect, sizeof expect, "a <%d> b\n", LOGVAR_status);
	assert_string_equal(line_of("a $status b", NULL), expect);
	snprintf(expect, sizeof expect, "<%d>ms\n", LOGVAR_request_time_ms);
	assert_string_equal(line_of("${request_time_ms}ms", NULL), expect);
	snprintf(expect, sizeof expect, "<%d><%d>.\n", LOGVAR_request_time, LOGVAR_request);
	assert_string_equal(line_of("$request_time$request.", NULL), expect);
	assert_string_equal(line_of("", NULL), "\n");
	assert_string_equal(line_of("100 $$ $$$$", NULL), "100 $ $$\n");
}

/* The longest name wins: $request_time is not $request followed by "_time". */
static void
names_are_whole(void **state)
{
	char expect[64];

	(void)state;
	snprintf(expect, sizeof expect, "<%d>\n", LOGVAR_request_time);
	assert_string_equal(line_of("$request_time", NULL), expect);
	snprintf(expect, sizeof expect, "<%d>_time\n", LOGVAR_request);
	assert_string_equal(line_of("${request}_time", NULL), expect);
}

static void
mistakes_are_named(void **state)
{
	static const struct {
		const char *format;
		int error;
		const char *says;
	} cases[] = {
	    {"$remote_adr x", E_NOT_FOUND, "$remote_adr"},
	    {"$remote_adr x", E_NOT_FOUND, "$remote_addr"},
	    {"$Status", E_SYNTAX, "character 1"},
	    {"ab $", E_SYNTAX, "character 4"},
	    {"${status", E_SYNTAX, "${name}"},
	    {"${}", E_SYNTAX, "${name}"},
	    {"$ status", E_SYNTAX, "$$"},
	    {"$nothing", E_NOT_FOUND, "$nothing; there are $remote_addr $time $"},
	};
	struct logformat *f;
	char why[512];

	(void)state;
	for (size_t i = 0; i < NELEM(cases); i++) {
		assert_int_equal(
		    logformat_compile(cases[i].format, &f, why, sizeof why), cases[i].error);
		assert_null(f);
		assert_non_null(strstr(why, cases[i].says));
	}
}

static void
a_format_has_a_ceiling(void **state)
{
	char *text = malloc(LOGFORMAT_MAX + 2);
	struct logformat *f;
	char why[64];

	(void)state;
	memset(text, 'x', LOGFORMAT_MAX + 1);
	text[LOGFORMAT_MAX + 1] = '\0';
	assert_int_equal(logformat_compile(text, &f, why, sizeof why), E_TOO_LONG);
	text[LOGFORMAT_MAX] = '\0';
	assert_int_equal(logformat_compile(text, &f, why, sizeof why), 0);
	logformat_free(f);
	free(text);
}

/* Nothing that a client sends can end a line, a quoted field or a column. */
static void
values_are_escaped(void **state)
{
	(void)state;
	assert_string_equal(line_of("\"$request\"", "GET /\r\n\"\\\x7f\xc3\xa9"),
	    "\"GET /\\x0D\\x0A\\x22\\x5C\\x7F\\xC3\\xA9\"\n");
	assert_string_equal(line_of("$model .", "a b"), "a\\x20b .\n");
	assert_string_equal(line_of("$key .", ""), "- .\n");
}

static void
long_lines_are_cut(void **state)
{
	char line[32], big[LOGFORMAT_VALUE_MAX * 2];
	struct logformat *f;
	char why[64];
	size_t n;

	(void)state;
	memset(big, 'y', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	assert_int_equal(logformat_compile("x$model", &f, why, sizeof why), 0);
	n = logformat_line(f, value, big, line, sizeof line);
	assert_int_equal(n, sizeof line);
	assert_memory_equal(line, "xyyyyyyyyyyyyyyyyyyyyyyyyyyy...\n", sizeof line);
	logformat_free(f);
	/* an escape is whole or not there */
	assert_int_equal(logformat_compile("$model", &f, why, sizeof why), 0);
	n = logformat_line(f, value, (void *)(uintptr_t) "\"\"\"\"\"\"\"\"\"", line, 19);
	assert_int_equal(n, 16);
	assert_memory_equal(line, "\\x22\\x22\\x22...\n", 16);
	logformat_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(variables_are_found),
	    cmocka_unit_test(names_are_whole),
	    cmocka_unit_test(mistakes_are_named),
	    cmocka_unit_test(a_format_has_a_ceiling),
	    cmocka_unit_test(values_are_escaped),
	    cmocka_unit_test(long_lines_are_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
