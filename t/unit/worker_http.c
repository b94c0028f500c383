/* Requests and replies, byte by byte. */
#include "t/unit/worker_http.h"

#define H "Host: h\r\n"
#define ID "X-Request-Id: *\r\n"
#define TEXT(n) "Content-Type: text/plain\r\n" ID "Content-Length: " #n "\r\n"
#define ERROR(status, reason, message, type, code, n) \
	"HTTP/1.1 " #status " " reason "\r\nContent-Type: application/json\r\n" ID \
	"Content-Length: " #n "\r\nConnection: close\r\n\r\n{\"error\":{\"message\":\"" message \
	"\",\"type\":\"" type "\",\"code\":\"" code "\"}}"
#define BAD(message, n) \
	ERROR(400, "Bad Request", message, "invalid_request_error", "bad_request", n)
#define HELLO "HTTP/1.1 200 OK\r\n" TEXT(6) "\r\nhello\n"
#define HELLO_CLOSE "HTTP/1.1 200 OK\r\n" TEXT(6) "Connection: close\r\n\r\nhello\n"

static const struct row {
	const char *request, *reply;
	int end;
	const char *seen;
} rows[] = {
    {"GET /hello HTTP/1.1\r\n" H "\r\n", HELLO, OPEN, "head(/hello)done(200,6)"},
    {"\r\nGET /hello HTTP/1.1\r\n" H "\r\n", HELLO, OPEN, "head(/hello)done(200,6)"},
    {"GET http://h/hello HTTP/1.1\r\n" H "\r\n", HELLO, OPEN, "head(/hello)done(200,6)"},
    {"GET /%68ello?a=b HTTP/1.1\r\n" H "\r\n", HELLO, OPEN, "head(/hello)done(200,6)"},
    {"GET /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\n", HELLO_CLOSE, CLOSED,
	"head(/hello)done(200,6)"},
    {"GET /hello HTTP/1.0\r\n\r\n", HELLO_CLOSE, CLOSED, "head(/hello)done(200,6)"},
    {"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"HTTP/1.1 200 OK\r\n" TEXT(6) "Connection: keep-alive\r\n\r\nhello\n", OPEN,
	"head(/hello)done(200,6)"},
    {"HEAD /hello HTTP/1.1\r\n" H "\r\n", "HTTP/1.1 200 OK\r\n" TEXT(6) "\r\n", OPEN,
	"head(/hello)done(200,0)"},
    {"GET /none HTTP/1.1\r\n" H "\r\n", "HTTP/1.1 204 No Content\r\n" ID "\r\n", OPEN,
	"head(/none)done(204,0)"},
    {"GET /none HTTP/1.1\r\n" H "X-Request-Id: my.own_id-1\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nX-Request-Id: my.own_id-1\r\n\r\n", OPEN,
	"head(/none)done(204,0)"},
    {"GET /none HTTP/1.1\r\n" H "X-Request-Id: a b\r\n\r\n",
	"HTTP/1.1 204 No Content\r\n" ID "\r\n", OPEN, "head(/none)done(204,0)"},
    {"POST /echo HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nbody",
	"HTTP/1.1 200 OK\r\n" TEXT(4) "\r\nbody", OPEN, "head(/echo)body(body)done(200,4)"},
    {"POST /echo HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n" TEXT(0) "\r\n",
	OPEN, "head(/echo)body()done(200,0)"},
    {"POST /echo HTTP/1.1\r\n" H
     "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n3\r\ncde\r\n0\r\nT: 1\r\n\r\n",
	"HTTP/1.1 200 OK\r\n" TEXT(5) "\r\nabcde", OPEN, "head(/echo)body(abcde)done(200,5)"},
    {"POST /name HTTP/1.1\r\n" H "x-Name: it is me \r\nContent-Length: 1\r\n\r\n.",
	"HTTP/1.1 200 OK\r\n" TEXT(8) "\r\nit is me", OPEN, "head(/name)body(.)done(200,8)"},
    {"POST /stream HTTP/1.1\r\n" H "\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" ID "X-Mark: 1\r\n"
	"Transfer-Encoding: chunked\r\n\r\n4\r\none,\r\n4\r\ntwo,\r\n5\r\nthree\r\n0\r\n\r\n",
	OPEN, "head(/stream)body()done(200,13)"},
    {"HEAD /stream HTTP/1.1\r\n" H "\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" ID "X-Mark: 1\r\n"
	"Transfer-Encoding: chunked\r\n\r\n",
	OPEN, "head(/stream)body()done(200,0)"},
    {"POST /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" ID "X-Mark: 1\r\n"
	"Connection: close\r\n\r\none,two,three",
	CLOSED, "head(/stream)body()done(200,13)"},
    {"POST /sized HTTP/1.1\r\n" H "\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" ID "X-Mark: 1\r\n"
	"Content-Length: 13\r\n\r\none,two,three",
	OPEN, "head(/sized)body()done(200,13)"},
    {"POST /short HTTP/1.1\r\n" H "\r\n",
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" ID "X-Mark: 1\r\n"
	"Content-Length: 20\r\n\r\none,two,three",
	CLOSED, "head(/short)body()done(200,13)"},
    {"GET /hello HTTP/1.1\r\n" H "\r\nGET /none HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.0\r\n\r\n",
	HELLO "HTTP/1.1 204 No Content\r\n" ID "\r\n" HELLO_CLOSE, CLOSED,
	"head(/hello)done(200,6)head(/none)done(204,0)head(/hello)done(200,6)"},
    {"POST /echo HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nabPOST /echo HTTP/1.1\r\n" H
     "Transfer-Encoding: chunked\r\n\r\n1\r\nc\r\n0\r\n\r\nGET /none HTTP/1.1\r\n" H "\r\n",
	"HTTP/1.1 200 OK\r\n" TEXT(2) "\r\nab"
				      "HTTP/1.1 200 OK\r\n" TEXT(1) "\r\nc"
								    "HTTP/1.1 204 No Content\r\n" ID
								    "\r\n",
	OPEN, "head(/echo)body(ab)done(200,2)head(/echo)body(c)done(200,1)head(/none)done(204,0)"},
    /* The answer comes before the body: a short one is read away, a chunked one ends the
       connection. */
    {"POST /early HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabcGET /none HTTP/1.1\r\n" H "\r\n",
	"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n" ID
	"Content-Length: 103\r\n\r\n"
	"{\"error\":{\"message\":\"Invalid API key provided\",\"type\":\"authentication_error\","
	"\"code\":\"invalid_api_key\"}}"
	"HTTP/1.1 204 No Content\r\n" ID "\r\n",
	OPEN, "head(/early)done(401,103)head(/none)done(204,0)"},
    {"POST /early HTTP/1.1\r\n" H
     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /none HTTP/1.1\r\n" H "\r\n",
	ERROR(401, "Unauthorized", "Invalid API key provided", "authentication_error",
	    "invalid_api_key", 103),
	CLOSED, "head(/early)done(401,103)"},
    {"POST /early HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
	ERROR(401, "Unauthorized", "Invalid API key provided", "authentication_error",
	    "invalid_api_key", 103),
	CLOSED, "head(/early)done(401,103)"},
    {"POST /small HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" TEXT(3) "\r\nabc", OPEN,
	"head(/small)body(abc)done(200,3)"},
    {"POST /small HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
	ERROR(413, "Content Too Large", "Request body too large. Maximum allowed: 7.63e-06 MB",
	    "payload_too_large", "PAYLOAD_TOO_LARGE", 130),
	CLOSED, "head(/small)gone(/small)done(413,130)"},
    {"POST /echo HTTP/1.1\r\n" H "Content-Length: 4194305\r\n\r\n",
	ERROR(413, "Content Too Large", "Request body too large. Maximum allowed: 4 MB",
	    "payload_too_large", "PAYLOAD_TOO_LARGE", 123),
	CLOSED, "head(/echo)gone(/echo)done(413,123)"},
    {"POST /small HTTP/1.1\r\n" H
     "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n4\r\nfghi\r\n0\r\n\r\n",
	ERROR(413, "Content Too Large", "Request body too large. Maximum allowed: 7.63e-06 MB",
	    "payload_too_large", "PAYLOAD_TOO_LARGE", 130),
	CLOSED, "head(/small)gone(/small)done(413,130)"},
    {"POST /nobody HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n1",
	ERROR(413, "Content Too Large", "This request must not have a body", "payload_too_large",
	    "PAYLOAD_TOO_LARGE", 111),
	CLOSED, "head(/nobody)gone(/nobody)done(413,111)"},
    {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
	BAD("The chunked body is malformed", 105), CLOSED, "head(/echo)gone(/echo)done(400,105)"},
    {"POST /echo HTTP/1.1\r\n" H "Expect: tea\r\n\r\n",
	ERROR(417, "Expectation Failed", "The only expectation understood is 100-continue",
	    "invalid_request_error", "expectation_failed", 130),
	CLOSED, "done(417,130)"},
    {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n",
	ERROR(501, "Not Implemented", "The only transfer coding understood is chunked",
	    "server_error", "not_implemented", 117),
	CLOSED, "done(501,117)"},
    {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
	BAD("Transfer-Encoding together with Content-Length", 122), CLOSED, "done(400,122)"},
    {"POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
	BAD("Differing Content-Length fields", 107), CLOSED, "done(400,107)"},
    {"GET /hello HTTP/1.1\r\n\r\n", BAD("The Host field is missing", 101), CLOSED, "done(400,101)"},
    {"GET /a//b HTTP/1.1\r\n" H "\r\n", BAD("The path is malformed", 97), CLOSED, "done(400,97)"},
    {"GET /a/../b HTTP/1.1\r\n" H "\r\n", BAD("The path is malformed", 97), CLOSED, "done(400,97)"},
    {"GET /a%2fb HTTP/1.1\r\n" H "\r\n", BAD("The path is malformed", 97), CLOSED, "done(400,97)"},
    {"GET /hello HTTP/1.1\nHost: h\n\n", BAD("The request head is malformed", 105), CLOSED,
	"done(400,105)"},
    {"GET /hello HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n", BAD("A folded header field", 97), CLOSED,
	"done(400,97)"},
    {"CONNECT h:443 HTTP/1.1\r\n" H "\r\n",
	ERROR(501, "Not Implemented", "This is no proxy for CONNECT", "server_error",
	    "not_implemented", 99),
	CLOSED, "done(501,99)"},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	ERROR(505, "HTTP Version Not Supported", "Only HTTP/1.0 and HTTP/1.1 are spoken here",
	    "invalid_request_error", "http_version_not_supported", 133),
	CLOSED, "done(505,133)"},
};

static void
check_row(const struct row *row, size_t step)
{
	size_t n = strlen(row->request);
	int fd = client(), end;
	for (size_t i = 0; i < n; i += step) {
		size_t part = MIN(step, n - i);
		if (send(fd, row->request + i, part, MSG_NOSIGNAL) != (ssize_t)part)
			break;
		turn();
	}
	char *text = hear(fd, row->end, &end);
	if (strcmp(text, row->reply) != 0)
		fail_msg("step %zu\n%s\n---- gave\n%s\n---- expected\n%s", step, row->request, text,
		    row->reply);
	if (end != row->end)
		fail_msg("step %zu\n%s\n---- connection %d", step, row->request, end);
	const char *calls = seen_take();
	if (strcmp(calls, row->seen) != 0)
		fail_msg("step %zu\n%s\n---- calls %s", step, row->request, calls);
	close(fd);
	turn();
}

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++)
		check_row(&rows[i], strlen(rows[i].request));
	assert_int_equal(http_connections(server), 0);
}

static void
test_rows_in_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++)
		for (size_t step = 1; step < 8; step += 3)
			check_row(&rows[i], step);
	assert_int_equal(http_connections(server), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_rows, server_start, server_stop),
	    cmocka_unit_test_setup_teardown(test_rows_in_bytes, server_start, server_stop),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
