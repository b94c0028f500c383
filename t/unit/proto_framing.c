#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/framing.h"
#include "shared/err.h"
#include "t/unit/proto_eventstream.h"

/* All frames of a stream as text, "<type|data>", "!" before an exception, and how it ended. */
static int
read_all(enum framing kind, size_t max, const char *p, size_t n, size_t step, struct buf *out)
{
	struct arena *a = arena_new(1 << 20);
	struct framing_reader *r = framing_new(a, kind, max);
	struct frame f;
	int got = 0;

	assert_non_null(r);
	for (size_t i = 0; got >= 0 && i <= n;) {
		size_t k = MIN(step, n - i);
		char *copy = malloc(k + 1); /* dies with the call: nothing may point into it */

		assert_non_null(copy);
		memcpy(copy, p + i, k);
		got = k > 0 ? framing_feed(r, copy, k) : framing_end(r);
		memset(copy, '#', k);
		while (got == 0 && (got = framing_next(r, &f)) == 1) {
			buf_addf(out, "<%s%.*s|", f.exception ? "!" : "", (int)f.type.n,
			    f.type.p != NULL ? f.type.p : "");
			buf_add(out, f.data.p, f.data.n);
			buf_str(out, ">");
			got = 0;
		}
		free(copy);
		if (k == 0)
			break;
		i += k;
	}
	assert_int_equal(got < 0 ? framing_next(r, &f) : 0, got < 0 ? got : 0); /* it sticks */
	framing_free(r);
	arena_free(a);
	return got;
}

/* Whole, and in pieces of every small size: the same. */
static void
check(enum framing kind, size_t max, const char *p, size_t n, int want_end, const char *want)
{
	static const size_t steps[] = {SIZE_MAX / 4, 1, 2, 3, 5, 7, 11, 64};

	for (size_t i = 0; i < NELEM(steps); i++) {
		struct buf out = BUF_INIT(1 << 24);
		int end = read_all(kind, max, p, n, steps[i], &out);
		assert_int_equal(end, want_end);
		assert_string_equal(buf_cstr(&out), want);
		buf_clear(&out);
	}
}

static void
check_text(enum framing kind, const char *text, const char *want)
{
	check(kind, 4096, text, strlen(text), 0, want);
}

static void
test_lines(void **state)
{
	(void)state;
	check_text(FRAMING_NDJSON, "{\"a\":1}\n\n  {\"b\":2}\r\n", "<|{\"a\":1}><|{\"b\":2}>");
	/* The last may lack its LF, but not its end. */
	check_text(FRAMING_NDJSON, "{\"a\":1}\n{\"b\":[]}", "<|{\"a\":1}><|{\"b\":[]}>");
	check_text(FRAMING_NDJSON, "{\"a\":1}\n{\"b\":[", "<|{\"a\":1}>");
	check_text(FRAMING_NDJSON, "no json\n", "<|no json>"); /* the decoder's business */
	check(FRAMING_NDJSON, 4, "1234\n12345\n1\n", 13, E_TOO_LONG, "<|1234>");
	check(FRAMING_NDJSON, 4, "12345678", 8, E_TOO_LONG, "");
}

static void
test_array(void **state)
{
	(void)state;
	check_text(FRAMING_JSON_ARRAY, "[{\"a\":\"}]\\\"{\"}\n,\r\n{\"b\":[{}]}\n]\n",
	    "<|{\"a\":\"}]\\\"{\"}><|{\"b\":[{}]}>");
	check_text(FRAMING_JSON_ARRAY, " [ ] ", "");
	check_text(FRAMING_JSON_ARRAY, "[[1],{}", "<|[1]><|{}>");
	check_text(FRAMING_JSON_ARRAY, "[{\"cut\":", "");
	check_text(FRAMING_JSON_ARRAY, "[{}] [{\"late\":1}]", "<|{}>");
	/* An error that is no array. */
	check_text(
	    FRAMING_JSON_ARRAY, "{\"error\":{\"code\":503}}", "<|{\"error\":{\"code\":503}}>");
	check(FRAMING_JSON_ARRAY, 64, "<html>", 6, E_SYNTAX, "");
	check(FRAMING_JSON_ARRAY, 7, "[{\"a\":1},{\"a\":12}]", 18, E_TOO_LONG, "<|{\"a\":1}>");
}

static void
test_sse(void **state)
{
	(void)state;
	check_text(FRAMING_SSE, ": hello\n\nevent: x\ndata: 1\ndata: 2\n\ndata: [DONE]\n\n",
	    "<x|1\n2><|[DONE]>");
	check_text(FRAMING_SSE, "data:\n\nevent: only\n\ndata: {}\r\n\r\n", "<|{}>");
	/* The last event lacks its blank line: it counts when it is whole. */
	check_text(FRAMING_SSE, "data: {\"a\":1}", "<|{\"a\":1}>");
	check_text(FRAMING_SSE, "data: [DONE]\n", "<|[DONE]>");
	check_text(FRAMING_SSE, "data: {\"a\":1}\n\ndata: {\"a\":", "<|{\"a\":1}>");
}

/* Trap: an error in mid-stream as bare JSON, over several lines. */
static void
test_sse_bare(void **state)
{
	(void)state;
	check_text(FRAMING_SSE, "data: {}\n\n{\"error\":\"x\"}\n\n", "<|{}><|{\"error\":\"x\"}>");
	check_text(FRAMING_SSE, "data: {}\r\rdata: {\"a\":1}\r{\"error\":1}\r\r",
	    "<|{}><|{\"a\":1}><|{\"error\":1}>");
	check_text(FRAMING_SSE, "{\n  \"error\": {\n\n\"m\": \"}\"\n  }\n}\n",
	    "<|{\n  \"error\": {\n\n\"m\": \"}\"\n  }\n}>");
	check_text(FRAMING_SSE, "data: {}\n\n{\"error\":\"end\"}", "<|{}><|{\"error\":\"end\"}>");
	/* What never closes, or is no JSON, costs no event. */
	check_text(FRAMING_SSE, "{ never\n\ndata: 1\n\n{no}\n{\"a\":2}\n\n", "<|1><|{\"a\":2}>");
	check(FRAMING_SSE, 16, "{\"a\":\"12345678901234567890\"}\n\n", 30, E_TOO_LONG, "");
}

/* ---- AWS ---- */

static void
test_crc(void **state)
{
	(void)state;
	assert_int_equal(aws_crc32("123456789", 9), 0xcbf43926);
	assert_int_equal(aws_crc32("", 0), 0);
}

static void
test_aws(void **state)
{
	/* A value of each type that is skipped: true, byte, short, int, long, bytes, time, uuid. */
	static const char other[] =
	    "\1a\0\1b\2x\1c\3xx\1d\4xxxx\1e\5xxxxxxxx\1f\6\0\2xx\1g\x08xxxxxxxx"
	    "\1h\x09xxxxxxxxxxxxxxxx\1i\1";
	struct buf b = BUF_INIT(1 << 16), headers = BUF_INIT(4096);

	(void)state;
	put_event(&b, "event", ":event-type", span_of("chunk"), span_of("{\"bytes\":\"e30=\"}"));
	buf_add(&headers, other, sizeof other - 1);
	put_header(&headers, ":event-type", span_of("x"));
	put_message(&b, &headers, span_of(""));
	put_event(&b, "exception", ":exception-type", span_of("throttlingException"),
	    span_of("{\"message\":\"slow\"}"));
	put_event(&b, "error", ":error-code", span_of("InternalError"), span_of(""));
	check(FRAMING_EVENTSTREAM, 4096, b.data, b.len, 0,
	    "<chunk|{\"bytes\":\"e30=\"}><x|><!throttlingException|{\"message\":\"slow\"}><!"
	    "InternalError|>");
	/* Cut in the last message: it never comes. */
	check(FRAMING_EVENTSTREAM, 4096, b.data, b.len - 1, 0,
	    "<chunk|{\"bytes\":\"e30=\"}><x|><!throttlingException|{\"message\":\"slow\"}>");
	buf_clear(&b);
	buf_clear(&headers);
}

/* A changed bit anywhere is found. */
static void
test_aws_sums(void **state)
{
	struct buf b = BUF_INIT(1 << 16);

	(void)state;
	put_event(&b, "event", ":event-type", span_of("x"), span_of("{}"));
	for (size_t i = 0; i < b.len; i++) {
		struct buf out = BUF_INIT(4096);
		b.data[i] ^= 4;
		assert_int_equal(
		    read_all(FRAMING_EVENTSTREAM, 4096, b.data, b.len, 9, &out), E_CHECKSUM);
		assert_int_equal(out.len, 0);
		b.data[i] ^= 4;
		buf_clear(&out);
	}
	check(FRAMING_EVENTSTREAM, b.len, b.data, b.len, 0, "<x|{}>");
	check(FRAMING_EVENTSTREAM, b.len - 1, b.data, b.len, E_TOO_LONG, "");
	buf_clear(&b);
}

static void
test_aws_lies(void **state)
{
	static const char *const headers[] = {"\x05"
					      "abc",
	    "\x01"
	    "a\x07\x00\x09"
	    "abc",
	    "\x01"
	    "a\x0a",
	    "\x01"
	    "a\x04"
	    "abc",
	    "\x01"
	    "a\x04"};
	static const size_t sizes[] = {4, 8, 3, 6, 3};
	struct buf b = BUF_INIT(1 << 16);

	(void)state;
	for (size_t i = 0; i < NELEM(headers); i++) {
		struct buf h = BUF_INIT(64);
		buf_reset(&b);
		buf_add(&h, headers[i], sizes[i]);
		put_message(&b, &h, span_of("{}"));
		check(FRAMING_EVENTSTREAM, 4096, b.data, b.len, E_SYNTAX, "");
		buf_clear(&h);
	}
	/* Headers longer than the message; a message shorter than its frame. */
	for (unsigned i = 0; i < 2; i++) {
		buf_reset(&b);
		put_u32(&b, i == 0 ? 20 : 12);
		put_u32(&b, i == 0 ? 5 : 0);
		put_u32(&b, aws_crc32(b.data, 8));
		check(FRAMING_EVENTSTREAM, 4096, b.data, b.len, E_SYNTAX, "");
	}
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lines),
	    cmocka_unit_test(test_array),
	    cmocka_unit_test(test_sse),
	    cmocka_unit_test(test_sse_bare),
	    cmocka_unit_test(test_crc),
	    cmocka_unit_test(test_aws),
	    cmocka_unit_test(test_aws_sums),
	    cmocka_unit_test(test_aws_lies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
