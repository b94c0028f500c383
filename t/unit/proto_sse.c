#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/sse.h"
#include "shared/buf.h"
#include "shared/err.h"

/* What came out, written down: one event after the other with its fields, then the rest. */
struct record {
	struct buf text;
	unsigned events;
	int error;
	struct arena *arena;
	struct sse *s;
};

static void
record_open(struct record *r, size_t max)
{
	*r = (struct record){.text = BUF_INIT(1 << 24)};
	r->arena = arena_new(65536);
	assert_non_null(r->arena);
	r->s = sse_new(r->arena, max);
	assert_non_null(r->s);
}

static void
record_close(struct record *r)
{
	sse_free(r->s);
	arena_free(r->arena);
	buf_clear(&r->text);
}

static void
record_field(struct record *r, const char *name, struct span v)
{
	if (v.p == NULL)
		return;
	buf_addf(&r->text, " %s=<", name);
	buf_add(&r->text, v.p, v.n);
	buf_str(&r->text, ">");
}

static void
record_feed(struct record *r, const char *p, size_t n)
{
	struct sse_event ev;
	int got;
	/* A copy that dies with the call: nothing may point into it afterwards. */
	char *copy = malloc(n + 1);
	assert_non_null(copy);
	memcpy(copy, p, n);
	r->error = sse_feed(r->s, copy, n);
	memset(copy, '#', n);
	free(copy);
	if (r->error != 0)
		return;
	while ((got = sse_next(r->s, &ev)) == SSE_EVENT) {
		r->events++;
		buf_str(&r->text, "[");
		record_field(r, "raw", ev.raw);
		record_field(r, "event", ev.event);
		record_field(r, "data", ev.data);
		record_field(r, "id", ev.id);
		buf_str(&r->text, "]");
	}
	r->error = got;
}

static void
record_rest(struct record *r)
{
	record_field(r, "rest", sse_rest(r->s));
	assert_true(buf_ok(&r->text));
}

static void
assert_record(const struct record *r, const char *expected, size_t n)
{
	if (r->text.len != n || (n > 0 && memcmp(r->text.data, expected, n) != 0))
		fail_msg(
		    "\n%.*s\nexpected\n%.*s", (int)r->text.len, r->text.data, (int)n, expected);
}

/* The same events whole, byte by byte, in two parts cut at every byte, in three. */
static void
assert_events(const char *stream, size_t n, const char *expected)
{
	struct record r;
	size_t want = strlen(expected);
	for (size_t cut = 0; cut <= n; cut++) {
		record_open(&r, 65536);
		record_feed(&r, stream, cut);
		record_feed(&r, stream + cut, n - cut);
		record_rest(&r);
		assert_record(&r, expected, want);
		record_close(&r);
	}
	for (size_t part = 1; part < 9; part++) {
		record_open(&r, 65536);
		for (size_t i = 0; i < n; i += part) {
			record_feed(&r, stream + i, MIN(part, n - i));
			record_feed(&r, "", 0);
		}
		record_rest(&r);
		assert_record(&r, expected, want);
		record_close(&r);
	}
}

static const struct row {
	const char *stream, *events;
} rows[] = {
    {"data: a\n\n", "[ raw=<data: a\n\n> data=<a>]"},
    {"data: a\r\n\r\n", "[ raw=<data: a\r\n\r\n> data=<a>]"},
    {"data: a\r\rdata: b\r\r", "[ raw=<data: a\r\r> data=<a>][ raw=<data: b\r\r> data=<b>]"},
    {"data: a\r\n\r\ndata: b\r\n\r\n",
	"[ raw=<data: a\r\n\r\n> data=<a>][ raw=<data: b\r\n\r\n> data=<b>]"},
    /* line ends in turns */
    {"data: a\n\rdata: b\r\n\ndata: c\r\n\rdata: d\r\r\ndata: e\n\r\n",
	"[ raw=<data: a\n\r> data=<a>][ raw=<data: b\r\n\n> data=<b>][ raw=<data: c\r\n\r> "
	"data=<c>]"
	"[ raw=<data: d\r\r> data=<d>][ raw=<\ndata: e\n\r> data=<e>] rest=<\n>"},
    /* fields */
    {"event: ping\nid: 7\ndata:  two\n\n",
	"[ raw=<event: ping\nid: 7\ndata:  two\n\n> event=<ping> data=< two> id=<7>]"},
    {"data:x:y\n\n", "[ raw=<data:x:y\n\n> data=<x:y>]"},
    {"data\n\n", "[ raw=<data\n\n> data=<>]"},
    {"data:\n\n", "[ raw=<data:\n\n> data=<>]"},
    {"data: \n\n", "[ raw=<data: \n\n> data=<>]"},
    {"event: a\nevent: b\n\ndata: 1\n\n",
	"[ raw=<event: a\nevent: b\n\n> event=<b>][ raw=<data: 1\n\n> data=<1>]"},
    {"datax: 1\nDATA: 2\n data: 3\ndat: 4\nretry: 5\n\n",
	"[ raw=<datax: 1\nDATA: 2\n data: 3\ndat: 4\nretry: 5\n\n>]"},
    /* several data lines, between other fields */
    {"data: a\ndata: b\n\n", "[ raw=<data: a\ndata: b\n\n> data=<a\nb>]"},
    {"data: a\ndata: b\n\ndata: c\ndata: d\n\n",
	"[ raw=<data: a\ndata: b\n\n> data=<a\nb>][ raw=<data: c\ndata: d\n\n> data=<c\nd>]"},
    {"data: a\r\nid: 1\r\ndata\r\ndata: c\r\n\r\ndata: d\r\n\r\n",
	"[ raw=<data: a\r\nid: 1\r\ndata\r\ndata: c\r\n\r\n> data=<a\n\nc> id=<1>]"
	"[ raw=<data: d\r\n\r\n> data=<d>]"},
    {"data:\ndata:\n\n", "[ raw=<data:\ndata:\n\n> data=<\n>]"},
    /* comments and empty lines stay in the raw bytes */
    {": ping\n\n", "[ raw=<: ping\n\n>]"},
    {":\n\n\n\n:x\ndata: a\n\n\ndata: b\n\n",
	"[ raw=<:\n\n>][ raw=<\n\n:x\ndata: a\n\n> data=<a>][ raw=<\ndata: b\n\n> data=<b>]"},
    {"\r\n\r\n\r\ndata: a\r\n\r\n", "[ raw=<\r\n\r\n\r\ndata: a\r\n\r\n> data=<a>]"},
    /* byte order mark */
    {"\xef\xbb\xbf"
     "data: a\n\n",
	"[ raw=<\xef\xbb\xbf"
	"data: a\n\n> data=<a>]"},
    {"\xef\xbb"
     "data: a\n\n",
	"[ raw=<\xef\xbb"
	"data: a\n\n>]"},
    {"data: a\n\n\xef\xbb\xbf"
     "data: b\n\n",
	"[ raw=<data: a\n\n> data=<a>][ raw=<\xef\xbb\xbf"
	"data: b\n\n>]"},
    {"\xef\xbb", " rest=<\xef\xbb>"},
    /* what is not complete */
    {"", ""},
    {"data: a", " rest=<data: a>"},
    {"data: a\n", " rest=<data: a\n>"},
    {"data: a\r\n\r\ndata: [DONE]\r\n",
	"[ raw=<data: a\r\n\r\n> data=<a>] rest=<data: [DONE]\r\n>"},
    {"data: a\r\n\r", " rest=<data: a\r\n\r>"},
};

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++)
		assert_events(rows[i].stream, strlen(rows[i].stream), rows[i].events);
}

/* An id with a NUL in it does not count; a NUL in data does. */
static void
test_nul(void **state)
{
	static const char stream[] = "id: 1\0\ndata: a\0b\n\n";
	struct record r;
	(void)state;
	record_open(&r, 100);
	record_feed(&r, stream, sizeof(stream) - 1);
	static const char expected[] = "[ raw=<id: 1\0\ndata: a\0b\n\n> data=<a\0b>]";
	assert_record(&r, expected, sizeof(expected) - 1);
	record_close(&r);
}

/* A stream with CR alone, or with CR LF, gives each event with its last byte, not with the next
 * one. */
static void
test_no_delay(void **state)
{
	static const char *const streams[] = {"data: a\r\r", "data: a\r\n\r\n", "data: a\n\n"};
	(void)state;
	for (size_t i = 0; i < NELEM(streams); i++) {
		struct record r;
		size_t n = strlen(streams[i]);
		record_open(&r, 100);
		record_feed(&r, streams[i], n - 1);
		assert_int_equal(r.events, 0);
		record_feed(&r, streams[i] + n - 1, 1);
		assert_int_equal(r.events, 1);
		assert_null(sse_rest(r.s).p);
		record_close(&r);
	}
}

static void
test_limit(void **state)
{
	static const char exact[] = "data: 0123456789\n\n"; /* 18 bytes */
	struct record r;
	(void)state;
	for (size_t part = 1; part < 40; part++)
		for (size_t max = 16; max < 20; max++) {
			char stream[64];
			size_t n = (size_t)snprintf(stream, sizeof(stream), "data: a\n\n%s", exact);
			record_open(&r, max);
			for (size_t i = 0; i < n && r.error == 0; i += part)
				record_feed(&r, stream + i, MIN(part, n - i));
			assert_int_equal(r.error, max >= 18 ? 0 : E_TOO_LONG);
			assert_int_equal(r.events, max >= 18 ? 2 : 1);
			if (max < 18) { /* for good */
				struct sse_event ev;
				assert_int_equal(sse_next(r.s, &ev), E_TOO_LONG);
				assert_int_equal(sse_feed(r.s, "\n\n", 2), E_TOO_LONG);
			}
			record_close(&r);
		}
	/* A line without end, comments without end, empty lines without end. */
	static const char *const endless[] = {"xxxxxxxx", ": ping\n", "\n\n\n\n", "data: a\n"};
	for (size_t i = 0; i < NELEM(endless); i++) {
		size_t fed = 0;
		record_open(&r, 1000);
		while (r.error == 0 && fed < 5000) {
			record_feed(&r, endless[i], strlen(endless[i]));
			fed += strlen(endless[i]);
		}
		assert_int_equal(r.error, E_TOO_LONG);
		assert_in_range(fed, 1001, 1010);
		assert_int_equal(r.events, 0);
		record_close(&r);
	}
	/* Who feeds without taking is stopped too. */
	record_open(&r, 100);
	int e = 0;
	for (int i = 0; i < 30 && e == 0; i++)
		e = sse_feed(r.s, "data: a\n\n", 9);
	assert_int_equal(e, E_TOO_LONG);
	record_close(&r);
}

/* A megabyte a byte at a time: nothing is looked at twice, or this would take minutes. */
static void
test_drip(void **state)
{
	static const char *const kinds[] = {"x", "\r", "\n", ":\r", "data\n"};
	(void)state;
	for (size_t k = 0; k < NELEM(kinds); k++) {
		struct record r;
		struct sse_event ev;
		size_t n = strlen(kinds[k]);
		record_open(&r, 1 << 21);
		for (size_t i = 0; i < 1 << 20; i++) {
			assert_int_equal(sse_feed(r.s, &kinds[k][i % n], 1), 0);
			assert_int_equal(sse_next(r.s, &ev), SSE_MORE);
		}
		assert_int_equal(sse_rest(r.s).n, 1 << 20);
		record_close(&r);
	}
}

/* Many events in one feed, one of them large: what is behind is not moved for each. */
static void
test_bulk(void **state)
{
	struct buf stream = BUF_INIT(1 << 24);
	struct record r;
	struct sse_event ev;
	size_t events = 0, raw = 0;
	(void)state;
	for (int i = 0; i < 100000; i++)
		assert_int_equal(buf_addf(&stream, "data: {\"n\":%d}\n\n", i), 0);
	record_open(&r, 1 << 10);
	assert_int_equal(sse_feed(r.s, stream.data, stream.len), 0);
	while (sse_next(r.s, &ev) == SSE_EVENT) {
		assert_memory_equal(ev.raw.p, stream.data + raw, ev.raw.n);
		assert_int_equal(ev.data.n, ev.raw.n - 8);
		raw += ev.raw.n;
		events++;
	}
	assert_int_equal(events, 100000);
	assert_int_equal(raw, stream.len);
	buf_clear(&stream);
	record_close(&r);
}

static void
test_ceiling(void **state)
{
	struct arena *a = arena_new(16);
	(void)state;
	assert_non_null(a);
	assert_null(sse_new(a, 100));
	arena_free(a);
	sse_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows),
	    cmocka_unit_test(test_nul),
	    cmocka_unit_test(test_no_delay),
	    cmocka_unit_test(test_limit),
	    cmocka_unit_test(test_drip),
	    cmocka_unit_test(test_bulk),
	    cmocka_unit_test(test_ceiling),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
