#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/scan.h"
#include "shared/err.h"

static int
check(const char *text, size_t *at)
{
	/* A copy without a NUL behind it, so that a sanitizer sees a byte read too far. */
	size_t n = strlen(text);
	char *copy = malloc(n + 1);
	assert_non_null(copy);
	char *p = memcpy(copy + 1, text, n);
	int r = scan_check(p, n, at);
	free(copy);
	return r;
}

static void
test_valid(void **state)
{
	static const char *const texts[] = {
	    "{}",
	    "[]",
	    " \t\r\n1 ",
	    "0",
	    "-0",
	    "-0.0e-0",
	    "1E+2",
	    "12.5",
	    "\"\"",
	    "true",
	    "false",
	    "null",
	    "[1,2,[3,{\"a\":[]}],\"x\"]",
	    "{\"a\":{\"b\":{}},\"c\":[[]]}",
	    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00\\ud800\"",
	    "\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\"",
	    "\"\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"",
	    "\"0123456789abcdef\x7f\"",
	    "{\"\":0,\"a\" : [ 1 , 2 ] }",
	};
	(void)state;
	for (size_t i = 0; i < NELEM(texts); i++) {
		size_t at = 0;
		if (check(texts[i], &at) != 0)
			fail_msg("%s: refused at %zu", texts[i], at);
		assert_int_equal(at, strlen(texts[i]));
	}
}

static void
test_invalid(void **state)
{
	static const struct {
		const char *text;
		int error;
		size_t at;
	} rows[] = {
	    {"", E_TRUNCATED, 0},
	    {" ", E_TRUNCATED, 1},
	    {"{", E_TRUNCATED, 1},
	    {"[1,", E_TRUNCATED, 3},
	    {"[1", E_TRUNCATED, 2},
	    {"{\"a\"", E_TRUNCATED, 4},
	    {"{\"a\":", E_TRUNCATED, 5},
	    {"\"abc", E_TRUNCATED, 4},
	    {"\"a\\", E_TRUNCATED, 3},
	    {"\"a\\u00", E_TRUNCATED, 6},
	    {"tru", E_TRUNCATED, 3},
	    {"-", E_TRUNCATED, 1},
	    {"1.", E_TRUNCATED, 2},
	    {"1e", E_TRUNCATED, 2},
	    {"1e+", E_TRUNCATED, 3},
	    {"\"\xe2\x82", E_TRUNCATED, 3},
	    {"01", E_SYNTAX, 1},
	    {"+1", E_SYNTAX, 0},
	    {".5", E_SYNTAX, 0},
	    {"1.e3", E_SYNTAX, 2},
	    {"0x10", E_SYNTAX, 1},
	    {"NaN", E_SYNTAX, 0},
	    {"nul!", E_SYNTAX, 3},
	    {"True", E_SYNTAX, 0},
	    {"1 2", E_SYNTAX, 2},
	    {"{} x", E_SYNTAX, 3},
	    {"[1,]", E_SYNTAX, 3},
	    {"[,1]", E_SYNTAX, 1},
	    {"[1 2]", E_SYNTAX, 3},
	    {"[1}", E_SYNTAX, 2},
	    {"{\"a\":1]", E_SYNTAX, 6},
	    {"{\"a\":1,}", E_SYNTAX, 7},
	    {"{,}", E_SYNTAX, 1},
	    {"{\"a\" 1}", E_SYNTAX, 5},
	    {"{a:1}", E_SYNTAX, 1},
	    {"{1:1}", E_SYNTAX, 1},
	    {"{\"a\":}", E_SYNTAX, 5},
	    {"'a'", E_SYNTAX, 0},
	    {"]", E_SYNTAX, 0},
	    {"[]]", E_SYNTAX, 2},
	    {"\"a\nb\"", E_SYNTAX, 2},
	    {"\"0123456789\tb\"", E_SYNTAX, 11},
	    {"\"\\x41\"", E_SYNTAX, 2},
	    {"\"\\u12g4\"", E_SYNTAX, 5},
	    {"/**/1", E_SYNTAX, 0},
	    {"\xef\xbb\xbf{}", E_SYNTAX, 0},
	    {"\v1", E_SYNTAX, 0},
	    {"\"\x80\"", E_BAD_UTF8, 1},
	    {"\"\xc0\xaf\"", E_BAD_UTF8, 1},
	    {"\"\xc1\xbf\"", E_BAD_UTF8, 1},
	    {"\"\xe0\x9f\xbf\"", E_BAD_UTF8, 1},
	    {"\"\xed\xa0\x80\"", E_BAD_UTF8, 1},
	    {"\"\xf0\x8f\xbf\xbf\"", E_BAD_UTF8, 1},
	    {"\"\xf4\x90\x80\x80\"", E_BAD_UTF8, 1},
	    {"\"\xf5\x80\x80\x80\"", E_BAD_UTF8, 1},
	    {"\"abcdefgh\xe2\x28\xa1\"", E_BAD_UTF8, 9},
	    {"\"\xe2\x82\"", E_BAD_UTF8, 1},
	    {"{\"\xff\":1}", E_BAD_UTF8, 2},
	};
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		size_t at = 99;
		int r = check(rows[i].text, &at);
		if (r != rows[i].error || at != rows[i].at)
			fail_msg("%s: %s at %zu, expected %s at %zu", rows[i].text, err_text(r), at,
			    err_text(rows[i].error), rows[i].at);
	}
	assert_int_equal(scan_check("1\0", 2, NULL), E_SYNTAX);
	assert_int_equal(scan_check("\"\0\"", 3, NULL), E_SYNTAX);
	assert_int_equal(scan_check(NULL, 0, NULL), E_TRUNCATED);
}

/* A bad byte is found at every place in a string, whatever the eight bytes around it are. */
static void
test_every_place(void **state)
{
	static const char bad[] = {'\n', 0x1f, '\0', (char)0x80, (char)0xff};
	char text[64];
	(void)state;
	for (size_t len = 1; len < 40; len++)
		for (size_t place = 0; place < len; place++)
			for (size_t b = 0; b < sizeof(bad); b++) {
				size_t at;
				memset(text, b & 1 ? '~' : '!', sizeof(text));
				text[0] = text[len + 1] = '"';
				assert_int_equal(scan_check(text, len + 2, &at), 0);
				text[1 + place] = bad[b];
				assert_true(scan_check(text, len + 2, &at) < 0);
				assert_int_equal(at, 1 + place);
				text[1 + place] = '"';
				assert_int_equal(scan_check(text, len + 2, &at), E_SYNTAX);
				assert_int_equal(at, 2 + place);
			}
}

static void
test_depth(void **state)
{
	char text[4 * SCAN_DEPTH + 16];
	size_t at, n = 0;
	(void)state;
	memset(text, '[', SCAN_DEPTH);
	memset(text + SCAN_DEPTH, ']', SCAN_DEPTH);
	assert_int_equal(scan_check(text, 2 * SCAN_DEPTH, &at), 0);
	memset(text, '[', SCAN_DEPTH + 1);
	assert_int_equal(scan_check(text, SCAN_DEPTH + 1, &at), E_DEPTH);
	assert_int_equal(at, SCAN_DEPTH);
	/* Levels of both kinds in turn: the bit stack must not mix them up. */
	for (int i = 0; i < SCAN_DEPTH / 2; i++)
		n += (size_t)sprintf(text + n, "[{\"\":");
	assert_int_equal(scan_check(text, n, &at), E_TRUNCATED);
	n = 0;
	for (int i = 0; i < 100; i++)
		text[n++] = '[', text[n++] = '[';
	text[n++] = '}';
	assert_int_equal(scan_check(text, n, &at), E_SYNTAX);
	assert_int_equal(at, n - 1);
}

static void
assert_span(struct span s, const char *text)
{
	assert_non_null(s.p);
	assert_int_equal(s.n, strlen(text));
	assert_memory_equal(s.p, text, s.n);
}

static void
test_members(void **state)
{
	static const char body[] =
	    " {\"messages\" : [ {\"model\":\"no\"} ],\n \"mod\\u0065l\":\"gpt\", "
	    "\"stream\":true , \"x\":{\"tools\":1}} ";
	struct scan_want want[] = {{.name = "model"}, {.name = "stream"}, {.name = "messages"},
	    {.name = "tools"}, {.name = ""}};
	size_t at;
	(void)state;
	assert_int_equal(scan_members(body, strlen(body), want, NELEM(want), &at), 0);
	assert_span(want[0].value, "\"gpt\"");
	assert_span(want[1].value, "true");
	assert_span(want[2].value, "[ {\"model\":\"no\"} ]");
	assert_null(want[3].value.p);
	assert_null(want[4].value.p);
}

static int
members(const char *text, const char *name, size_t *at)
{
	struct scan_want want = {.name = name};
	return scan_members(text, strlen(text), &want, 1, at);
}

static void
test_members_refused(void **state)
{
	size_t at;
	(void)state;
	assert_int_equal(members("{\"model\":1,\"model\":1}", "model", &at), E_EXISTS);
	assert_int_equal(at, 11);
	assert_int_equal(members("{\"model\":1, \"m\\u006fdel\":1}", "model", &at), E_EXISTS);
	assert_int_equal(at, 12);
	assert_int_equal(members("{\"other\":1,\"other\":1}", "model", &at), 0);
	assert_int_equal(members("{\"model\":1,\"Model\":1}", "model", &at), 0);
	assert_int_equal(members("{\"a\\\"b\":1,\"a\\u0022b\":1}", "a\"b", &at), E_EXISTS);
	assert_int_equal(members(" [1]", "model", &at), E_SYNTAX);
	assert_int_equal(at, 1);
	assert_int_equal(members("\"model\"", "model", &at), E_SYNTAX);
	assert_int_equal(members("", "model", &at), E_TRUNCATED);
	assert_int_equal(members("{\"model\":1} {", "model", &at), E_SYNTAX);
	assert_int_equal(at, 12);
	assert_int_equal(members("{\"model\":1,\"z\":[1,]}", "model", &at), E_SYNTAX);
	assert_int_equal(at, 18);
	assert_int_equal(members("{\"model", "model", &at), E_TRUNCATED);
}

static void
test_names(void **state)
{
	static const struct {
		const char *name, *want;
		bool same;
	} rows[] = {
	    {"model", "model", true},
	    {"", "", true},
	    {"mode", "model", false},
	    {"models", "model", false},
	    {"\\u006D\\u006f\\u0064\\u0065\\u006C", "model", true},
	    {"model\\u0000", "model", false},
	    {"\\u0000", "", false},
	    {"\\ud83d\\ude00", "\xf0\x9f\x98\x80", true},
	    {"\\u00e9", "\xc3\xa9", true},
	    {"\xc3\xa9", "\xc3\xa9", true},
	    {"\\ud83d", "\xef\xbf\xbd", false},
	    {"\\/", "/", true},
	    {"\\n", "\n", true},
	    {"\\u20ac", "\xe2\x82\xac", true},
	};
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++)
		if (scan_name_is((struct span){rows[i].name, strlen(rows[i].name)}, rows[i].want) !=
		    rows[i].same)
			fail_msg("%s against %s", rows[i].name, rows[i].want);
	assert_false(scan_name_is((struct span){NULL, 0}, ""));
}

static void
test_path(void **state)
{
	static const char json[] = "{\"choices\":[{\"d\":1},{\"delta\":{\"content\":\"hi\"}}],"
				   "\"a\":{\"b\":[[1,2],[3,4]]},\"twice\":1,\"twice\":2}";
	struct span s = {json, sizeof(json) - 1};
	(void)state;
	assert_span(scan_path(s, "choices[1].delta.content"), "\"hi\"");
	assert_span(scan_path(s, "choices[0]"), "{\"d\":1}");
	assert_span(scan_path(s, "a.b[1][0]"), "3");
	assert_span(scan_path(s, "twice"), "2");
	assert_null(scan_path(s, "choices[2]").p);
	assert_null(scan_path(s, "choices.delta").p);
	assert_null(scan_path(s, "a[0]").p);
	assert_null(scan_path(s, "a.b.c").p);
	assert_null(scan_path(s, "nothing.at.all").p);
	assert_null(scan_path((struct span){NULL, 0}, "a").p);
}

static struct span
value(const char *text)
{
	return (struct span){text, strlen(text)};
}

static void
test_types(void **state)
{
	(void)state;
	assert_int_equal(scan_type(value("{}")), 'o');
	assert_int_equal(scan_type(value("[]")), 'a');
	assert_int_equal(scan_type(value("\"\"")), 's');
	assert_int_equal(scan_type(value("-1")), 'n');
	assert_int_equal(scan_type(value("7")), 'n');
	assert_int_equal(scan_type(value("true")), 't');
	assert_int_equal(scan_type(value("false")), 'f');
	assert_int_equal(scan_type(value("null")), '0');
	assert_int_equal(scan_type(value("")), 0);
	assert_int_equal(scan_type((struct span){NULL, 0}), 0);
}

static void
test_u64(void **state)
{
	static const struct {
		const char *text;
		bool good;
		uint64_t n;
	} rows[] = {
	    {"0", true, 0},
	    {"1", true, 1},
	    {"1.0", true, 1},
	    {"1e2", true, 100},
	    {"1e10", true, 10000000000},
	    {"1000e-03", true, 1},
	    {"1E+2", true, 100},
	    {"12.5e1", true, 125},
	    {"1200e-2", true, 12},
	    {"1002003", true, 1002003},
	    {"0.000e99999999999999999", true, 0},
	    {"0.001e3", true, 1},
	    {"18446744073709551615", true, UINT64_MAX},
	    {"18446744073709551615.000", true, UINT64_MAX},
	    {"18446744073709551616", false, 0},
	    {"1e20", false, 0},
	    {"1e999999999999", false, 0},
	    {"1e-1", false, 0},
	    {"1.5", false, 0},
	    {"12.5e0", false, 0},
	    {"-1", false, 0},
	    {"-0", false, 0},
	    {"\"1\"", false, 0},
	    {"true", false, 0},
	    {"", false, 0},
	};
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		uint64_t n = 0;
		bool good = scan_u64(value(rows[i].text), &n);
		if (good != rows[i].good || (good && n != rows[i].n))
			fail_msg("%s: %d %llu", rows[i].text, good, (unsigned long long)n);
	}
	assert_false(scan_u64((struct span){NULL, 0}, &(uint64_t){0}));
}

static void
test_string(void **state)
{
	static const char json[] = "\"a\\n\\u00e9\\uD83D\\uDE00\xc3\xa9\\\\z\\u0000\"";
	static const char plain[] = "a\n\xc3\xa9\xf0\x9f\x98\x80\xc3\xa9\\z";
	char out[64];
	(void)state;
	assert_int_equal(scan_string(value(json), out, sizeof(out)), sizeof(plain));
	assert_memory_equal(out, plain, sizeof(plain));
	assert_int_equal(out[sizeof(plain)], 0);
	assert_int_equal(scan_string_len(value(json)), sizeof(plain));
	for (size_t n = 0; n <= sizeof(plain); n++)
		assert_true(scan_string(value(json), out, n) < 0);
	assert_int_equal(scan_string(value(json), out, sizeof(plain) + 1), sizeof(plain));
	assert_int_equal(scan_string(value("\"abc\""), out, 4), 3);
	assert_int_equal(scan_string(value("\"abc\""), out, 3), E_TOO_LONG);
	assert_int_equal(scan_string(value("\"\""), out, 1), 0);
	assert_int_equal(scan_string(value("\"\\ud83d\""), out, sizeof(out)), E_SYNTAX);
	assert_int_equal(scan_string(value("\"\\ude00\\ud83d\""), out, sizeof(out)), E_SYNTAX);
	assert_int_equal(scan_string(value("\"\\ud83d\\n\""), out, sizeof(out)), E_SYNTAX);
	assert_int_equal(scan_string_len(value("\"x\\ud83dy\"")), 5);
	assert_int_equal(scan_string(value("12"), out, sizeof(out)), E_SYNTAX);
	assert_int_equal(scan_string((struct span){NULL, 0}, out, sizeof(out)), E_SYNTAX);
	assert_int_equal(scan_string_len(value("[]")), 0);
}

static void
test_escape(void **state)
{
	static const char in[] =
	    "a\"b\\c\n\r\t\b\f\x01\x7f/\xc3\xa9\xff\xe2\x82 long enough text \xed\xa0\x80!";
	struct buf b = BUF_INIT(4096);
	size_t at;
	(void)state;
	assert_int_equal(scan_escape(&b, in, sizeof(in)), 0);
	static const char out[] =
	    "a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\x7f/\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
	    " long enough text \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd!\\u0000";
	assert_int_equal(b.len, sizeof(out) - 1);
	assert_memory_equal(b.data, out, b.len);
	buf_reset(&b);
	/* Whatever goes in, valid JSON comes out. */
	for (int c = 0; c < 256; c++) {
		char text[3] = {'x', (char)c, 'y'};
		buf_reset(&b);
		assert_int_equal(buf_str(&b, "\""), 0);
		assert_int_equal(scan_escape(&b, text, 3), 0);
		assert_int_equal(buf_str(&b, "\""), 0);
		assert_int_equal(scan_check(b.data, b.len, &at), 0);
	}
	buf_clear(&b);
	struct buf small = BUF_INIT(4);
	assert_int_equal(scan_escape(&small, "12345", 5), E_TOO_LONG);
	buf_clear(&small);
	assert_int_equal(scan_escape(&small, NULL, 0), 0);
	/* What fits to the last byte fits, whatever it grows by. */
	for (size_t room = 0; room < sizeof(out); room++) {
		struct buf tight = BUF_INIT(room);
		int r = scan_escape(&tight, in, sizeof(in));
		assert_int_equal(r, room == sizeof(out) - 1 ? 0 : E_TOO_LONG);
		assert_int_equal(buf_ok(&tight), r == 0);
		assert_true(tight.len <= room);
		buf_clear(&tight);
	}
}

static void
test_utf8(void **state)
{
	(void)state;
	assert_true(scan_utf8("abc \xc3\xa9\xf4\x8f\xbf\xbf", 10));
	assert_false(scan_utf8("\xc0\xae", 2));
	assert_false(scan_utf8("\xed\xbf\xbf", 3));
	assert_false(scan_utf8("\xe2\x82", 2));
	assert_true(scan_utf8(NULL, 0));
}

/* A reader that goes into what it wants and skips the rest sees all of the text once. */
static void
test_reader(void **state)
{
	static const char json[] = "{\"a\":[1,[],{\"b\":\"x\"}],\"c\":2}";
	struct scan s;
	struct span name, v;
	(void)state;
	scan_open(&s, json, sizeof(json) - 1);
	assert_int_equal(scan_peek(&s), 'o');
	assert_false(scan_enter(&s, 'a'));
	assert_true(scan_enter(&s, 'o'));
	assert_true(scan_next(&s, &name));
	assert_span(name, "a");
	assert_true(scan_enter(&s, 'a'));
	assert_true(scan_next(&s, &name));
	assert_null(name.p);
	assert_true(scan_skip(&s, &v));
	assert_span(v, "1");
	assert_true(scan_next(&s, &name));
	assert_true(scan_enter(&s, 'a'));
	assert_false(scan_next(&s, &name));
	assert_true(scan_next(&s, &name));
	assert_true(scan_skip(&s, &v));
	assert_span(v, "{\"b\":\"x\"}");
	assert_false(scan_next(&s, &name));
	assert_true(scan_next(&s, &name));
	assert_span(name, "c");
	assert_true(scan_skip(&s, NULL));
	assert_false(scan_next(&s, &name));
	assert_int_equal(scan_end(&s), 0);
	scan_open(&s, "[1", 2);
	assert_true(scan_enter(&s, 'a'));
	assert_int_equal(scan_end(&s), E_SYNTAX);
}

/* A million members, twice as many members: the time grows as the text does. */
static void
test_many_members(void **state)
{
	const size_t members_count = 1000000;
	char *text = malloc(members_count * 16 + 64), *p = text;
	struct scan_want want[] = {{.name = "model"}, {.name = "stream"}, {.name = "999999"}};
	size_t at;
	(void)state;
	assert_non_null(text);
	*p++ = '{';
	for (size_t i = 0; i < members_count; i++)
		p += sprintf(p, "\"%zu\":%zu,", i, i);
	p += sprintf(p, "\"model\":\"m\"}");
	assert_int_equal(scan_members(text, (size_t)(p - text), want, NELEM(want), &at), 0);
	assert_span(want[0].value, "\"m\"");
	assert_null(want[1].value.p);
	assert_span(want[2].value, "999999");
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_valid),
	    cmocka_unit_test(test_invalid),
	    cmocka_unit_test(test_every_place),
	    cmocka_unit_test(test_depth),
	    cmocka_unit_test(test_members),
	    cmocka_unit_test(test_members_refused),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_path),
	    cmocka_unit_test(test_types),
	    cmocka_unit_test(test_u64),
	    cmocka_unit_test(test_string),
	    cmocka_unit_test(test_escape),
	    cmocka_unit_test(test_utf8),
	    cmocka_unit_test(test_reader),
	    cmocka_unit_test(test_many_members),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
