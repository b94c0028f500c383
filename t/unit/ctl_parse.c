/* omniroute-ctl has a main() of its own, so its files are taken in here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "master/ctl/parse.c"
#include "master/ctl/table.c"
#include "master/ctl/when.c"

static char said[1024];

/* Instead of call.c: keeps what would be said. */
int
ctl_fail(const struct ctl *c, enum ctl_exit code, const char *fmt, ...)
{
	va_list ap;

	(void)c;
	va_start(ap, fmt);
	vsnprintf(said, sizeof said, fmt, ap);
	va_end(ap);
	return code;
}

static int
run(struct ctl *c)
{
	(void)c;
	return 0;
}

static const struct ctl_option options[] = {{"size", "N", "", NULL}, {"force", NULL, "", NULL},
    {"key", "", NULL, "use a file"}, {NULL, NULL, NULL, NULL}};
static const struct ctl_option none[] = {{NULL, NULL, NULL, NULL}};
static const struct ctl_command commands[] = {{"keys", "add", "NAME", 1, 2, options, run, "", NULL},
    {"keys", "list", "", 0, 0, none, run, "", NULL},
    {"status", NULL, "", 0, 0, none, run, "", NULL},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL}};

const struct ctl_option ctl_globals[] = {{"data-dir", "DIR", "", NULL},
    {"socket", "PATH", "", NULL}, {"json", NULL, "", NULL}, {"help", NULL, "", NULL},
    {"version", NULL, "", NULL}, {NULL, NULL, NULL, NULL}};

const char *
ctl_group_alias(const char *word)
{
	return strcmp(word, "key") == 0 ? "keys" : word;
}

/* `line` is split at spaces. */
static int
parse(struct ctl *c, const char *line)
{
	static char text[256];
	static char *argv[32];
	int n = 0;

	memset(c, 0, sizeof *c);
	said[0] = '\0';
	snprintf(text, sizeof text, "ctl %s", line);
	for (char *p = strtok(text, " "); p; p = strtok(NULL, " "))
		argv[n++] = p;
	argv[n] = NULL;
	return ctl_parse(c, commands, n, argv);
}

static void
options_anywhere(void **state)
{
	static const char *const lines[] = {"--json --data-dir /d keys add a --size 3 --force",
	    "keys --data-dir=/d --json add --size=3 a --force",
	    "key add --force a --size 3 --json --data-dir /d",
	    "keys add --force --size 3 --json --data-dir /d -- a"};
	struct ctl c;

	(void)state;
	for (size_t i = 0; i < NELEM(lines); i++) {
		assert_int_equal(parse(&c, lines[i]), CTL_OK);
		assert_true(c.json);
		assert_string_equal(c.data_dir, "/d");
		assert_ptr_equal(c.command, &commands[0]);
		assert_int_equal(c.nargs, 1);
		assert_string_equal(c.arg[0], "a");
		assert_string_equal(ctl_value(&c, "size"), "3");
		assert_true(ctl_flag(&c, "force"));
		assert_null(ctl_value(&c, "nosuch"));
	}
	assert_int_equal(parse(&c, "keys add -- --force"), CTL_OK);
	assert_string_equal(c.arg[0], "--force");
	assert_false(ctl_flag(&c, "force"));
}

static void
mistakes(void **state)
{
	static const char *const table[][2] = {{"", "which command?"}, {"keys", "keys what?"},
	    {"keyz list", "did you mean keys?"}, {"keys lst", "did you mean list?"},
	    {"keys add", "needs an argument: NAME"}, {"keys add a b c", "one argument too many: c"},
	    {"keys add a --size", "--size needs a value: N"},
	    {"keys add a --force=1", "--force takes no value"},
	    {"keys add a --size 1 --size 2", "--size is given twice"},
	    {"keys add a --sise 2", "did you mean --size?"},
	    {"keys add a --key x", "--key: use a file"},
	    {"keys add a --key=x", "--key: use a file"},
	    {"--size 3 keys add a", "no option --size before the command"},
	    {"status -x", "there is no option -x"}, {"status more", "one argument too many"},
	    {"list", "there is no command list"}};
	struct ctl c;

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		assert_int_equal(parse(&c, table[i][0]), CTL_USAGE);
		if (!strstr(said, table[i][1]))
			fail_msg("%s: \"%s\" does not say \"%s\"", table[i][0], said, table[i][1]);
	}
	assert_int_equal(parse(&c, "keys add a --wholly-other 2"), CTL_USAGE);
	assert_null(strstr(said, "did you mean"));
}

static void
help_needs_nothing_else(void **state)
{
	struct ctl c;

	(void)state;
	assert_int_equal(parse(&c, "-h"), CTL_OK);
	assert_true(c.want_help && !c.group);
	assert_int_equal(parse(&c, "keys --help"), CTL_OK);
	assert_true(c.want_help && c.group && !c.command);
	assert_int_equal(parse(&c, "keys add --help"), CTL_OK);
	assert_ptr_equal(c.command, &commands[0]);
	assert_int_equal(parse(&c, "-V"), CTL_OK);
	assert_true(c.want_version);
}

static void
distances(void **state)
{
	(void)state;
	assert_int_equal(ctl_distance("", ""), 0);
	assert_int_equal(ctl_distance("abc", "abc"), 0);
	assert_int_equal(ctl_distance("abc", "abd"), 1);
	assert_int_equal(ctl_distance("abc", "bc"), 1);
	assert_int_equal(ctl_distance("", "abc"), 3);
	assert_int_equal(ctl_distance("kitten", "sitting"), 3);
	assert_int_equal(ctl_distance("x", "0123456789012345678901234567890123456789!"), 99);
}

static void
spans_and_times(void **state)
{
	static const char *const bad[] = {"", "s", "10", "10x", "-5m", "1.5h",
	    "99999999999999999999s", "999999999w", " 5m", "5 m"};
	static const char *const bad_times[] = {
	    "2026-02-31", "2026-13-01", "yesterday", "2026-01-31x", "1969-01-01"};
	int64_t v;

	(void)state;
	assert_true(ctl_parse_span("90m", &v) && v == 5400);
	assert_true(ctl_parse_span("30d", &v) && v == 2592000);
	assert_true(ctl_parse_span("2w", &v) && v == 1209600);
	for (size_t i = 0; i < NELEM(bad); i++)
		assert_false(ctl_parse_span(bad[i], &v));
	assert_true(ctl_parse_time("1h", 10000, &v) && v == 6400);
	assert_true(ctl_parse_time("2026-01-31", 0, &v) && v == 1769817600);
	assert_true(ctl_parse_time("2026-01-31T12:00:00Z", 0, &v) && v == 1769860800);
	for (size_t i = 0; i < NELEM(bad_times); i++)
		assert_false(ctl_parse_time(bad_times[i], 0, &v));
}

static char *
printed(struct ctl_table *t, unsigned width)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	ctl_table_print(t, f, width);
	fclose(f);
	return text;
}

static void
tables(void **state)
{
	struct ctl_table *t = ctl_table_new("A|>NUMBER|~NAME");
	char *text;

	(void)state;
	ctl_table_cell(t, "x");
	ctl_table_cell(t, "%d", 7);
	ctl_table_cell(t, "a\x1b[31m\xc2\x9b\n");
	ctl_table_cell(t, "\xc3\xa9t\xc3\xa9");
	ctl_table_cell(t, "%d", 12345678);
	ctl_table_cell(t, "z");
	text = printed(t, 0);
	assert_string_equal(text, "A      NUMBER  NAME\n"
				  "x           7  a?[31m???\n"
				  "\xc3\xa9t\xc3\xa9  12345678  z\n");
	free(text);
	t = ctl_table_new("~NAME|>N");
	ctl_table_cell(t, "0123456789abcdefghij");
	ctl_table_cell(t, "1");
	text = printed(t, 15);
	assert_string_equal(text, "NAME          N\n0123456789..  1\n");
	free(text);
}

static void
sizes(void **state)
{
	char text[32];

	(void)state;
	assert_string_equal(ctl_span_text(text, sizeof text, 59), "59s");
	assert_string_equal(ctl_span_text(text, sizeof text, 3599), "59m 59s");
	assert_string_equal(ctl_span_text(text, sizeof text, 90000), "1d 1h");
	assert_string_equal(ctl_size_text(text, sizeof text, 1023), "1023 KB");
	assert_string_equal(ctl_size_text(text, sizeof text, 1536), "1.5 MB");
	assert_string_equal(ctl_size_text(text, sizeof text, 3u << 20), "3.00 GB");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(options_anywhere),
	    cmocka_unit_test(mistakes), cmocka_unit_test(help_needs_nothing_else),
	    cmocka_unit_test(distances), cmocka_unit_test(spans_and_times),
	    cmocka_unit_test(tables), cmocka_unit_test(sizes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
