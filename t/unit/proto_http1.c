#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/http1.h"
#include "shared/err.h"

#define HOST "Host: h\r\n"

static void
assert_span(struct span s, const char *text)
{
	if (s.p == NULL || s.n != strlen(text) || memcmp(s.p, text, s.n) != 0)
		fail_msg("'%.*s', expected '%s'", (int)s.n, s.p != NULL ? s.p : "", text);
}

static void
test_head_len(void **state)
{
	static const struct {
		const char *head;
		ptrdiff_t len;
	} rows[] = {
	    {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27},
	    {"GET / HTTP/1.1\r\nHost: h\r\n\r\nbody\n", 27}, {"GET / HTTP/1.0\r\n\r\n", 18},
	    {"\r\nGET / HTTP/1.0\r\n\r\n", 20}, {"GET / HTTP/1.1\r\nA: \tb\xc3\xa9\r\n\r\n", 27},
	    {"GET / HTTP/1.1\r\nHost: h\r\n", 0}, {"GET / HTTP/1.1\r\nHost: h\r\n\r", 0},
	    {"GET / HT", 0}, {"\r", 0}, {"\r\n", 0}, {"\r\n\r\n", E_SYNTAX},
	    {"\r\n\r\nGET / HTTP/1.0\r\n\r\n", E_SYNTAX}, {"\nGET / HTTP/1.0\r\n\r\n", E_SYNTAX},
	    {"GET / HTTP/1.0\n\n", E_SYNTAX}, {"GET / HTTP/1.0\r\nA: b\n\r\n", E_SYNTAX},
	    {"GET / HTTP/1.0\r\nA: b\r\n\n", E_SYNTAX}, {"GET / HTTP/1.0\rA: b\r\n\r\n", E_SYNTAX},
	    {"GET / HTTP/1.0\r\r\n\r\n", E_SYNTAX},
	    {"GET / HTTP/1.0\r\nA: b\x01\r\n\r\n", E_SYNTAX},
	    {"GET / HTTP/1.0\r\nA: b\x7f\r\n\r\n", E_SYNTAX},
	    {"GET / HTTP/1.0\r\nA: 0123456789\v\r\n\r\n", E_SYNTAX},
	    {"\x16\x03\x01\x02", E_SYNTAX}, /* TLS on a plain port */
	};
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		size_t n = strlen(rows[i].head);
		ptrdiff_t len = http1_head_len(rows[i].head, n, 1000);
		if (len != rows[i].len)
			fail_msg("%s: %td", rows[i].head, len);
		/* Less of it is never more than not complete, and an error once found stays. */
		for (size_t part = 0; part < n; part++) {
			ptrdiff_t less = http1_head_len(rows[i].head, part, 1000);
			assert_true(less == 0 || less == len);
			assert_true(less <= 0 || (size_t)less <= part);
		}
	}
	assert_int_equal(http1_head_len("GET / HTTP/1.0\r\n\0\r\n", 19, 1000), E_SYNTAX);
	assert_int_equal(http1_head_len("GET / HTTP/1.0\r\n\r\n", 18, 18), 18);
	assert_int_equal(http1_head_len("GET / HTTP/1.0\r\n\r\n", 18, 17), E_TOO_LONG);
	assert_int_equal(http1_head_len("GET / HT", 8, 8), E_TOO_LONG);
	assert_int_equal(http1_head_len("GET / HT", 8, 9), 0);
	assert_int_equal(http1_head_len(NULL, 0, 10), 0);
}

static struct http1_field fields[8];

static int
parse(const char *text, struct http1_head *h, int *status)
{
	const char *why = NULL;
	*h = (struct http1_head){.field = fields, .max_fields = NELEM(fields)};
	int r = http1_parse(text, strlen(text), h, status, &why);
	if (r != 0)
		assert_non_null(why);
	return r;
}

static void
test_parse(void **state)
{
	struct http1_head h;
	int status;
	(void)state;
	assert_int_equal(parse("POST /v1/x?y=1 HTTP/1.1\r\nHost: a.b:80\r\nContent-Length:  12 \r\n"
			       "X-Empty:\r\nX-Obs: \xe9 \t a\r\nexpect: 100-Continue\r\n\r\n",
			     &h, &status),
	    0);
	assert_span(h.method, "POST");
	assert_span(h.target, "/v1/x?y=1");
	assert_int_equal(h.minor, 1);
	assert_int_equal(h.fields, 5);
	assert_int_equal(h.content_length, 12);
	assert_false(h.chunked);
	assert_true(h.keep_alive);
	assert_true(h.expect_continue);
	assert_true(h.host_seen);
	assert_span(http1_find(&h, "HOST"), "a.b:80");
	assert_span(http1_find(&h, "x-obs"), "\xe9 \t a");
	assert_int_equal(http1_find(&h, "x-empty").n, 0);
	assert_non_null(http1_find(&h, "x-empty").p);
	assert_null(http1_find(&h, "x-none").p);

	assert_int_equal(parse("\r\nGET / HTTP/1.0\r\n\r\n", &h, &status), 0);
	assert_span(h.method, "GET");
	assert_int_equal(h.minor, 0);
	assert_int_equal(h.content_length, -1);
	assert_false(h.keep_alive);
	assert_false(h.host_seen);
	assert_int_equal(
	    parse("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n", &h, &status), 0);
	assert_true(h.chunked);
	assert_int_equal(h.content_length, -1);
	assert_int_equal(parse("GET / HTTP/1.9\r\n" HOST "\r\n", &h, &status), 0);
	assert_int_equal(h.minor, 1);
	assert_true(h.keep_alive);
}

static void
test_connection(void **state)
{
	static const struct {
		const char *head;
		bool keep_alive;
	} rows[] = {
	    {"GET / HTTP/1.1\r\n" HOST "\r\n", true},
	    {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", false},
	    {"GET / HTTP/1.1\r\n" HOST "connection: x ,\tClose\r\n\r\n", false},
	    {"GET / HTTP/1.1\r\n" HOST "Connection: closed\r\n\r\n", true},
	    {"GET / HTTP/1.1\r\n" HOST "Connection: ,,\r\n\r\n", true},
	    {"GET / HTTP/1.1\r\n" HOST "Connection: keep-alive\r\nConnection: close\r\n\r\n",
		false},
	    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
	    {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
	    {"GET / HTTP/1.0\r\n\r\n", false},
	};
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct http1_head h;
		int status;
		assert_int_equal(parse(rows[i].head, &h, &status), 0);
		if (h.keep_alive != rows[i].keep_alive)
			fail_msg("%s", rows[i].head);
	}
}

static void
test_targets(void **state)
{
	static const struct {
		const char *head, *target;
	} rows[] = {
	    {"GET /a HTTP/1.1\r\n" HOST "\r\n", "/a"},
	    {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "*"},
	    {"GET http://other:8080/a/b?c HTTP/1.1\r\n" HOST "\r\n", "/a/b?c"},
	    {"GET HTTPS://[::1]/a HTTP/1.1\r\n" HOST "\r\n", "/a"},
	    {"X / HTTP/1.1\r\n" HOST "\r\n", "/"},
	    {"GET http://o HTTP/1.1\r\n" HOST "\r\n", "/"},
	    {"GET https://o HTTP/1.1\r\n" HOST "\r\n", "/"},
	    {"GET http://other HTTP/1.1\r\n" HOST "\r\n", "/"},
	};
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct http1_head h;
		int status;
		assert_int_equal(parse(rows[i].head, &h, &status), 0);
		assert_span(h.target, rows[i].target);
		assert_true(h.target.p > rows[i].head &&
			    h.target.p + h.target.n < rows[i].head + strlen(rows[i].head));
	}
}

static void
test_refused(void **state)
{
	static const struct {
		const char *head;
		int status;
	} rows[] = {
	    /* request line */
	    {"GET /\r\n\r\n", 400},
	    {"GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
	    {"GET /a b HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400},
	    {" GET / HTTP/1.1\r\n" HOST "\r\n", 400},
	    {" / HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET http:// HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET https:// HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET http:/a HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"G(T / HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET / http/1.1\r\n" HOST "\r\n", 400},
	    {"GET / XTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET / HTTP/1.10\r\n" HOST "\r\n", 400},
	    {"GET / HTTP/1\r\n" HOST "\r\n", 400},
	    {"GET / HTTP/+.1\r\n" HOST "\r\n", 400},
	    {"GET / HTTP/1.2\r\n\r\n", 400}, /* as 1.1: no Host */
	    {"GET / HTTP/3.1\r\n" HOST "\r\n", 505},
	    {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
	    {"PRI * HTTP/2.0\r\n\r\n", 505},
	    {"GET / HTTP/0.9\r\n\r\n", 505},
	    {"GET a HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET * HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"CONNECT h:443 HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET https:///a HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET http:///a HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET http://u@h/a HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET http://h?a HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET ftp://h/a HTTP/1.1\r\n" HOST "\r\n", 400},
	    {"GET http://h\\a/ HTTP/1.1\r\n" HOST "\r\n", 400},
	    /* fields */
	    {"GET / HTTP/1.1\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
	    {"GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: a,b\r\nHost: c\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n A: b\r\n" HOST "\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST "A : b\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST "A\t: b\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST "Ab\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST "A(: b\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST "A\xe9: b\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST "A: b\x01\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST "A: b\nC: d\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST "A: b\rC: d\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST "\r\nA: b\r\n\r\n", 400},
	    {"GET / HTTP/1.1\r\n" HOST, 400},
	    {"GET / HTTP/1.1\r\n" HOST "1:\r\n2:\r\n3:\r\n4:\r\n5:\r\n6:\r\n7:\r\n8:\r\n\r\n", 431},
	    {"GET / HTTP/1.1\r\n" HOST "Expect: 200-ok\r\n\r\n", 417},
	    /* framing */
	    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5,6\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Content-Length: -5\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 0x5\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5 5\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5;\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775808\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551621\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		400},
	    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
		400},
	    {"POST / HTTP/1.1\r\n" HOST
	     "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
		400},
	    {"POST / HTTP/1.1\r\n" HOST
	     "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
		400},
	    {"POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
	    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n", 501},
	    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", 501},
	    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 501},
	    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 501},
	    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n", 501},
	    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;q=1\r\n\r\n", 501},
	    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 501},
	    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n", 400},
	    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \x0b"
	     "chunked\r\n\r\n",
		400},
	};
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct http1_head h;
		int status = 0;
		if (parse(rows[i].head, &h, &status) != E_SYNTAX || status != rows[i].status)
			fail_msg("%s: %d", rows[i].head, status);
	}
	struct http1_head h;
	int status;
	assert_int_equal(
	    parse("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", &h,
		&status),
	    0);
	assert_int_equal(h.content_length, 5);
	assert_int_equal(
	    parse("POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775807\r\n\r\n", &h,
		&status),
	    0);
	assert_true(h.content_length == INT64_MAX);
}

static void
test_path(void **state)
{
	static const struct {
		const char *target, *path, *query; /* path NULL: refused */
	} rows[] = {
	    {"/", "/", NULL},
	    {"/v1/models", "/v1/models", NULL},
	    {"/v1/models/", "/v1/models/", NULL},
	    {"/v1?a=b?c/../d", "/v1", "a=b?c/../d"},
	    {"/?", "/", ""},
	    {"/%76%31/%6Dodels", "/v1/models", NULL},
	    {"/a%20b%3Fc%23d%252e", "/a b?c#d%2e", NULL},
	    {"/caf%C3%A9", "/caf\xc3\xa9", NULL},
	    {"/.a/..b/...", "/.a/..b/...", NULL},
	    {"/a./a.b/x", "/a./a.b/x", NULL},
	    {"", NULL, NULL},
	    {"*", NULL, NULL},
	    {"v1", NULL, NULL},
	    {"//", NULL, NULL},
	    {"//v1", NULL, NULL},
	    {"/v1//models", NULL, NULL},
	    {"/v1//", NULL, NULL},
	    {"/.", NULL, NULL},
	    {"/..", NULL, NULL},
	    {"/./v1", NULL, NULL},
	    {"/v1/../api", NULL, NULL},
	    {"/v1/.", NULL, NULL},
	    {"/v1/%2e%2E/api", NULL, NULL},
	    {"/v1/.%2e", NULL, NULL},
	    {"/v1/models/echo%2Fecho-1", "/v1/models/echo/echo-1", NULL},
	    {"/models/a%2fb%2Fc", "/models/a/b/c", NULL},
	    {"/v1/models/%2Fx", NULL, NULL},
	    {"/v1/models/a%2F%2Fx", NULL, NULL},
	    {"/v1/models/a%2F..%2Fx", NULL, NULL},
	    {"/v1/models/a%2F%2e", NULL, NULL},
	    {"/v1/models%2Fx", NULL, NULL},
	    {"/v1%2fmodels/x", NULL, NULL},
	    {"/v1/xmodels/a%2fb", NULL, NULL},
	    {"/v1%2fmodels", NULL, NULL},
	    {"/v1%2Fmodels", NULL, NULL},
	    {"/v1%5cmodels", NULL, NULL},
	    {"/v1\\models", NULL, NULL},
	    {"/v1%00", NULL, NULL},
	    {"/v1%0a", NULL, NULL},
	    {"/v1%7f", NULL, NULL},
	    {"/v1%", NULL, NULL},
	    {"/v1%4", NULL, NULL},
	    {"/v1%4g", NULL, NULL},
	    {"/v1%%41", NULL, NULL},
	    {"/v1#x", NULL, NULL},
	    {"/v1?a#x", NULL, NULL},
	    {"/%c0%ae%c0%ae/", NULL, NULL},
	    {"/%ff", NULL, NULL},
	};
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		char out[64];
		struct span query, target = {rows[i].target, strlen(rows[i].target)};
		ptrdiff_t n = http1_path(target, out, sizeof(out), &query);
		if (rows[i].path == NULL) {
			if (n != E_SYNTAX)
				fail_msg("%s: %td", rows[i].target, n);
			continue;
		}
		assert_true(n > 0);
		assert_span((struct span){out, (size_t)n}, rows[i].path);
		if (rows[i].query == NULL)
			assert_null(query.p);
		else
			assert_span(query, rows[i].query);
		assert_int_equal(http1_path(target, out, (size_t)n, &query), n);
		assert_int_equal(http1_path(target, out, (size_t)n - 1, &query), E_TOO_LONG);
	}
}

/* Feeds in parts of `part` bytes; the payload goes to `out`. Result: the last event or error. */
static int
unchunk(const char *body, size_t n, size_t part, char *out, size_t *len, size_t *used)
{
	struct http1_chunked c = {0};
	int r = CHUNK_MORE;
	*len = *used = 0;
	while (*used < n && r >= 0 && r != CHUNK_END) {
		size_t end = MIN(n, *used + part);
		do {
			struct span data = {body, 1};
			size_t took;
			r = http1_chunk(&c, body + *used, end - *used, &took, &data);
			*used += took;
			assert_int_equal(data.n > 0, r == CHUNK_DATA);
			if (r == CHUNK_DATA) {
				memcpy(out + *len, data.p, data.n);
				*len += data.n;
			}
		} while (r == CHUNK_DATA);
		if (r == CHUNK_MORE)
			assert_int_equal(*used, end);
	}
	if (r == CHUNK_END) { /* and stays there */
		struct span data;
		size_t took = 99;
		assert_int_equal(http1_chunk(&c, "more", 4, &took, &data), CHUNK_END);
		assert_int_equal(took, 0);
	}
	return r;
}

static void
test_chunked(void **state)
{
	static const struct {
		const char *body, *payload;
		int result;
	} rows[] = {
	    {"5\r\nhello\r\n0\r\n\r\n", "hello", CHUNK_END},
	    {"0\r\n\r\n", "", CHUNK_END},
	    {"3\r\nabc\r\n00000A\r\n0123456789\r\n0\r\n\r\n", "abc0123456789", CHUNK_END},
	    {"2;name=\"a;b\";x\r\nab\r\n0;last\r\nTrailer: x\r\nB:\t\xe9\r\n\r\n", "ab", CHUNK_END},
	    {"2 ;x\r\nab\r\n0\r\n\r\n", "ab", CHUNK_END},
	    {"000000000000001\r\nx\r\n0\r\n\r\n", "x", CHUNK_END},
	    {"5\r\nhel", "hel", CHUNK_MORE},
	    {"5\r\nhello\r\n", "hello", CHUNK_MORE},
	    {"5\r\nhello\r\n0\r\n", "hello", CHUNK_MORE},
	    {"5\r\nhello\r\n0\r\n\r", "hello", CHUNK_MORE},
	    {"5\nhello\r\n0\r\n\r\n", "", E_SYNTAX},
	    {"5\r\nhello\n0\r\n\r\n", "hello", E_SYNTAX},
	    {"5\r\nhelloX\r\n0\r\n\r\n", "hello", E_SYNTAX},
	    {"5\r\nhello0\r\n\r\n", "hello", E_SYNTAX},
	    {"5\r\nhello\r\n0\r\n\n", "hello", E_SYNTAX},
	    {"5\r\nhello\r\n0\r\nA: b\n\r\n", "hello", E_SYNTAX},
	    {"5\r\nhello\r\n0\r\nA: b\rC\r\n", "hello", E_SYNTAX},
	    {"5\r\nhello\r\n0\r\n\001: b\r\n", "hello", E_SYNTAX},
	    {"\r\n", "", E_SYNTAX},
	    {"x\r\n", "", E_SYNTAX},
	    {"-5\r\n", "", E_SYNTAX},
	    {"+5\r\n", "", E_SYNTAX},
	    {"0x5\r\n", "", E_SYNTAX},
	    {" 5\r\n", "", E_SYNTAX},
	    {"5 \r\nhello\r\n", "", E_SYNTAX},
	    {"5 5\r\nhello\r\n", "", E_SYNTAX},
	    {"5\rhello", "", E_SYNTAX},
	    {"5\r\r\n", "", E_SYNTAX},
	    {"5;a\nb\r\nhello", "", E_SYNTAX},
	    {"5;a\001\r\nhello", "", E_SYNTAX},
	    {";a\r\n", "", E_SYNTAX},
	    {"0000000000000001\r\nx", "", E_TOO_LONG},
	    {"fffffffffffffffff\r\n", "", E_TOO_LONG},
	};
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++)
		for (size_t part = 1; part <= strlen(rows[i].body); part++) {
			char out[64];
			size_t len, used;
			int r = unchunk(rows[i].body, strlen(rows[i].body), part, out, &len, &used);
			if (r != rows[i].result || len != strlen(rows[i].payload) ||
			    memcmp(out, rows[i].payload, len) != 0)
				fail_msg("%s in parts of %zu: %d '%.*s'", rows[i].body, part, r,
				    (int)len, out);
		}
	/* What is behind the end belongs to the next request. */
	static const char two[] = "1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
	char out[8];
	size_t len, used;
	assert_int_equal(unchunk(two, strlen(two), 100, out, &len, &used), CHUNK_END);
	assert_int_equal(used, 11);
}

static void
test_chunked_bounds(void **state)
{
	char text[16384], out[8];
	size_t len, used;
	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "1;", 2);
	assert_int_equal(unchunk(text, 1024, 7, out, &len, &used), CHUNK_MORE);
	assert_int_equal(unchunk(text, 1025, 7, out, &len, &used), E_TOO_LONG);
	/* Many short trailer lines count together. */
	memcpy(text, "0\r\n", 3);
	for (size_t i = 3; i + 4 < sizeof(text); i += 4)
		memcpy(text + i, "A:\r\n", 4);
	assert_int_equal(unchunk(text, 8192 + 3, 5, out, &len, &used), CHUNK_MORE);
	assert_int_equal(unchunk(text, sizeof(text) - 4, 5, out, &len, &used), E_TOO_LONG);
	/* A large size is a number, not memory. */
	static const char huge[] = "fffffffffffffff\r\nabc";
	assert_int_equal(unchunk(huge, strlen(huge), 4, out, &len, &used), CHUNK_MORE);
	assert_int_equal(len, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_head_len),
	    cmocka_unit_test(test_parse),
	    cmocka_unit_test(test_connection),
	    cmocka_unit_test(test_targets),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_path),
	    cmocka_unit_test(test_chunked),
	    cmocka_unit_test(test_chunked_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
