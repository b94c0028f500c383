#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/buf.h"
#include "shared/clock.h"
#include "shared/control.h"
#include "shared/err.h"

/* ---- requests --------------------------------------------------------------------------- */

struct bad {
	const char *line;
	int error, code;
	const char *id; /* in the reply, as JSON */
};

static const struct bad bad_requests[] = {
    {"", E_SYNTAX, CONTROL_PARSE, "null"},
    {"{", E_SYNTAX, CONTROL_PARSE, "null"},
    {"\xff\xfe", E_SYNTAX, CONTROL_PARSE, "null"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"} x", E_SYNTAX, CONTROL_PARSE, "null"},
    {"{\"id\":1,\"id\":2}", E_SYNTAX, CONTROL_PARSE, "null"},
    {"[]", E_SYNTAX, CONTROL_INVALID, "null"},
    {"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"}]", E_SYNTAX, CONTROL_INVALID, "null"},
    {"{\"id\":7,\"method\":\"a\"}", E_SYNTAX, CONTROL_INVALID, "7"},
    {"{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"a\"}", E_SYNTAX, CONTROL_INVALID, "7"},
    {"{\"jsonrpc\":2.0,\"id\":7,\"method\":\"a\"}", E_SYNTAX, CONTROL_INVALID, "7"},
    {"{\"jsonrpc\":\"2.0\",\"method\":\"a\"}", E_SYNTAX, CONTROL_INVALID, "null"},
    {"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"a\"}", E_SYNTAX, CONTROL_INVALID, "null"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"a\"}", E_SYNTAX, CONTROL_INVALID, "null"},
    {"{\"jsonrpc\":\"2.0\",\"id\":\"x\"}", E_SYNTAX, CONTROL_INVALID, "\"x\""},
    {"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"\"}", E_SYNTAX, CONTROL_INVALID, "\"x\""},
    {"{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":5}", E_SYNTAX, CONTROL_INVALID, "\"x\""},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
     "\"0123456789012345678901234567890123456789012345678901234567890123\"}",
	E_SYNTAX, CONTROL_INVALID, "1"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"params\":[]}", E_SYNTAX, CONTROL_INVALID,
	"1"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"params\":null}", E_SYNTAX, CONTROL_INVALID,
	"1"},
};

/* A reply is one line of JSON with an LF at its end and nowhere else. */
static json_t *
read_reply(const char *line)
{
	json_t *reply;

	assert_non_null(line);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	reply = json_loads(line, 0, NULL);
	assert_non_null(reply);
	assert_string_equal(json_string_value(json_object_get(reply, "jsonrpc")), "2.0");
	return reply;
}

static void
check_error(char *line, int code, const char *id)
{
	json_t *reply = read_reply(line), *want = json_loads(id, JSON_DECODE_ANY, NULL);
	json_t *error = json_object_get(reply, "error");

	assert_int_equal(json_integer_value(json_object_get(error, "code")), code);
	assert_true(json_string_length(json_object_get(error, "message")) > 0);
	assert_true(json_equal(json_object_get(reply, "id"), want));
	assert_null(json_object_get(reply, "result"));
	json_decref(reply);
	json_decref(want);
	free(line);
}

static void
test_bad_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(bad_requests); i++) {
		const struct bad *b = &bad_requests[i];
		struct control_request req;
		char *error = NULL;
		int r = control_parse_request(b->line, strlen(b->line), &req, &error);

		if (r != b->error)
			fail_msg("%s: %s", b->line, err_text(r));
		check_error(error, b->code, b->id);
		assert_null(req.id);
		assert_null(req.params);
	}
}

static void
test_good_request(void **state)
{
	static const char line[] =
	    "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"key.list\",\"params\":{\"n\":[1,{}]}}";
	static const char longest[] =
	    "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":"
	    "\"012345678901234567890123456789012345678901234567890123456789012\"}";
	struct control_request req;
	char *error;

	(void)state;
	assert_int_equal(control_parse_request(line, sizeof line - 1, &req, &error), 0);
	assert_null(error);
	assert_string_equal(req.method, "key.list");
	assert_string_equal(json_string_value(req.id), "a");
	assert_int_equal(json_array_size(json_object_get(req.params, "n")), 2);
	control_request_clear(&req);
	assert_null(req.params);
	assert_int_equal(control_parse_request(longest, sizeof longest - 1, &req, &error), 0);
	assert_int_equal(strlen(req.method), 63);
	assert_true(json_is_object(req.params));
	assert_int_equal(json_object_size(req.params), 0);
	control_request_clear(&req);
}

static void
test_ceilings(void **state)
{
	struct buf b = BUF_INIT(2 * CONTROL_LINE_MAX);
	struct control_request req;
	char *error;

	(void)state;
	buf_str(&b, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"params\":{\"p\":");
	for (int i = 0; i < 31; i++)
		buf_str(&b, "[");
	assert_int_equal(control_parse_request(b.data, b.len, &req, &error), E_DEPTH);
	check_error(error, CONTROL_PARSE, "null");
	buf_reset(&b);
	/* Brackets inside of a string are none. */
	buf_str(&b, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"params\":{\"p\":\"\\\"");
	for (int i = 0; i < 100; i++)
		buf_str(&b, "[{");
	buf_str(&b, "\"}}");
	assert_int_equal(control_parse_request(b.data, b.len, &req, &error), 0);
	control_request_clear(&req);
	while (b.len <= CONTROL_LINE_MAX)
		buf_str(&b, "                ");
	assert_int_equal(control_parse_request(b.data, b.len, &req, &error), E_TOO_LONG);
	check_error(error, CONTROL_INVALID, "null");
	buf_clear(&b);
}

/* ---- replies ---------------------------------------------------------------------------- */

static void
test_replies(void **state)
{
	json_t *id = json_integer(3);
	char *line = control_reply(id, json_pack("{s:s}", "text", "a\nb"));

	(void)state;
	assert_string_equal(
	    line, "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{\"text\":\"a\\nb\"}}\n");
	free(line);
	line = control_error(id, CONTROL_EXISTS, "there already", json_pack("{s:i}", "n", 1));
	assert_string_equal(line, "{\"jsonrpc\":\"2.0\",\"id\":3,\"error\":{\"code\":-32002,"
				  "\"message\":\"there already\",\"data\":{\"n\":1}}}\n");
	free(line);
	line = control_error(NULL, CONTROL_FAILED, "bad \xff byte", NULL);
	check_error(line, CONTROL_FAILED, "null");
	json_decref(id);
}

static void
test_an_answer_that_is_too_long_becomes_an_error(void **state)
{
	char *big = malloc(CONTROL_LINE_MAX + 1);
	json_t *id = json_string("q");

	(void)state;
	memset(big, 'x', CONTROL_LINE_MAX);
	big[CONTROL_LINE_MAX] = '\0';
	check_error(control_reply(id, json_string(big)), CONTROL_INTERNAL, "\"q\"");
	/* The longest that fits. */
	big[CONTROL_LINE_MAX - strlen("{'jsonrpc':'2.0','id':'q','result':''}\n")] = '\0';
	char *line = control_reply(id, json_string(big));
	assert_int_equal(strlen(line), CONTROL_LINE_MAX);
	json_t *reply = read_reply(line);
	assert_non_null(json_object_get(reply, "result"));
	json_decref(reply);
	free(line);
	json_decref(id);
	free(big);
}

/* ---- the client ------------------------------------------------------------------------- */

enum serve { SERVE_TEXT, SERVE_SPLIT, SERVE_CLOSE, SERVE_SILENT, SERVE_ENDLESS };

struct server {
	char dir[64], path[96];
	int listen_fd;
	enum serve how;
	const char *text;
	char got[4096];
	pthread_t thread;
};

static void
put(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);

		if (w <= 0)
			return;
		p += w;
		n -= (size_t)w;
	}
}

static void *
serve(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->listen_fd, NULL, NULL);
	size_t len = 0;
	char c;

	while (len < sizeof s->got - 1 && recv(fd, &c, 1, 0) == 1 && c != '\n')
		s->got[len++] = c;
	switch (s->how) {
	case SERVE_TEXT:
		put(fd, s->text, strlen(s->text));
		break;
	case SERVE_SPLIT:
		for (const char *p = s->text; *p != '\0'; p++)
			put(fd, p, 1);
		break;
	case SERVE_CLOSE:
		break;
	case SERVE_SILENT:
		while (recv(fd, &c, 1, 0) == 1)
			;
		break;
	case SERVE_ENDLESS:
		for (unsigned i = 0; i < 4 * CONTROL_LINE_MAX / 16; i++)
			put(fd, "xxxxxxxxxxxxxxxx", 16);
		break;
	}
	close(fd);
	return NULL;
}

static void
server_start(struct server *s, enum serve how, const char *text)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	*s = (struct server){.how = how, .text = text, .dir = "/tmp/omniroute-control.XXXXXX"};
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->path, sizeof s->path, "%s/sock", s->dir);
	snprintf(sun.sun_path, sizeof sun.sun_path, "%s", s->path);
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listen_fd, (struct sockaddr *)&sun, sizeof sun), 0);
	assert_int_equal(listen(s->listen_fd, 1), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void
server_stop(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->listen_fd);
	unlink(s->path);
	rmdir(s->dir);
}

static void
test_call(void **state)
{
	json_t *params = json_pack("{s:s}", "name", "laptop"), *result, *error;
	struct server s;

	(void)state;
	server_start(&s, SERVE_SPLIT, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"ok\":true}}\n");
	assert_int_equal(control_call(s.path, "key.add", params, 5000, &result, &error), 0);
	assert_true(json_is_true(json_object_get(result, "ok")));
	assert_null(error);
	server_stop(&s);
	assert_string_equal(s.got, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"key.add\","
				   "\"params\":{\"name\":\"laptop\"}}");
	json_decref(result);
	assert_int_equal(params->refcount, 1);
	json_decref(params);
}

static void
test_call_without_params(void **state)
{
	json_t *result, *error;
	struct server s;

	(void)state;
	server_start(&s, SERVE_TEXT, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null}\nrest");
	assert_int_equal(control_call(s.path, "status", NULL, 5000, &result, &error), 0);
	assert_true(json_is_null(result));
	server_stop(&s);
	assert_string_equal(s.got, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"status\"}");
	json_decref(result);
}

static void
test_call_error_object(void **state)
{
	json_t *result, *error;
	struct server s;

	(void)state;
	server_start(&s, SERVE_TEXT,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32001,\"message\":\"no\"}}\n");
	assert_int_equal(
	    control_call(s.path, "key.remove", NULL, 5000, &result, &error), E_NOT_FOUND);
	assert_null(result);
	assert_int_equal(json_integer_value(json_object_get(error, "code")), CONTROL_NOT_FOUND);
	json_decref(error);
	server_stop(&s);
}

static void
test_call_failures(void **state)
{
	static const struct {
		enum serve how;
		const char *text;
		int timeout_ms, error;
	} cases[] = {
	    {SERVE_TEXT, "not json\n", 5000, E_SYNTAX},
	    {SERVE_TEXT, "{\"jsonrpc\":\"2.0\",\"id\":1}\n", 5000, E_SYNTAX},
	    {SERVE_TEXT, "{\"error\":\"text\"}\n", 5000, E_SYNTAX},
	    {SERVE_TEXT, "{\"result\":1", 5000, E_CLOSED},
	    {SERVE_CLOSE, "", 5000, E_CLOSED},
	    {SERVE_SILENT, "", 100, E_AGAIN},
	    {SERVE_ENDLESS, "", 5000, E_TOO_LONG},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(cases); i++) {
		json_t *result, *error;
		struct server s;
		uint64_t before = clock_now_ns();

		server_start(&s, cases[i].how, cases[i].text);
		int r = control_call(s.path, "status", NULL, cases[i].timeout_ms, &result, &error);
		if (r != cases[i].error)
			fail_msg("case %zu: %s", i, err_text(r));
		assert_null(result);
		assert_null(error);
		if (r == E_AGAIN)
			assert_in_range(clock_now_ns() - before, 100 * NS_PER_MS, 4000 * NS_PER_MS);
		server_stop(&s);
	}
}

static void
test_call_nobody_there(void **state)
{
	json_t *result, *error;
	char longer[200];

	(void)state;
	assert_int_equal(
	    control_call("/nonexistent/sock", "status", NULL, 5000, &result, &error), E_SYSTEM);
	memset(longer, 'x', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	assert_int_equal(control_call(longer, "status", NULL, 5000, &result, &error), E_TOO_LONG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bad_requests),
	    cmocka_unit_test(test_good_request),
	    cmocka_unit_test(test_ceilings),
	    cmocka_unit_test(test_replies),
	    cmocka_unit_test(test_an_answer_that_is_too_long_becomes_an_error),
	    cmocka_unit_test(test_call),
	    cmocka_unit_test(test_call_without_params),
	    cmocka_unit_test(test_call_error_object),
	    cmocka_unit_test(test_call_failures),
	    cmocka_unit_test(test_call_nobody_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
