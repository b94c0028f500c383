#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "t/unit/worker_fixture.h"

static struct snapshot_builder *
first(void)
{
	struct snapshot_builder *b = fixture_builder(1, true);

	fixture_add_key(b, "or-limited", 1, SCOPE_CHAT, 3);
	fixture_add_key(b, "or-manage", 2, SCOPE_MANAGE, 0);
	return b;
}

static int
setup(void **state)
{
	(void)state;
	fixture_new(first);
	fixture_serve();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fixture_free();
	return 0;
}

/* Every spelling of a path that the table knows, and what is near to one. */
static void
paths_are_found(void **state)
{
	static const struct {
		const char *method, *path;
		int status;
		const char *class;
	} cases[] = {
	    {"GET", "/v1", 200, "CLIENT_API"},
	    {"GET", "/v1/models", 200, "CLIENT_API"},
	    {"GET", "/v1/models?x=/a/", 200, "CLIENT_API"},
	    {"GET", "/api/v1", 200, "CLIENT_API"},
	    {"GET", "/api/v1/models", 200, "CLIENT_API"},
	    {"GET", "/v1/v1/models", 200, "CLIENT_API"},
	    {"GET", "/models", 200, "CLIENT_API"},
	    {"HEAD", "/models", 200, "CLIENT_API"},
	    {"GET", "/%6dodels", 200, "CLIENT_API"},
	    {"GET", "/healthz", 200, "PUBLIC"},
	    {"GET", "/readyz", 503, "PUBLIC"},
	    {"GET", "/metrics", 200, "MANAGEMENT"},
	    {"GET", "/", 404, "PUBLIC"},
	    {"GET", "/v1/v1/v1/models", 404, "CLIENT_API"},
	    {"GET", "/V1/models", 404, "PUBLIC"},
	    {"GET", "/v1/modelsx", 404, "CLIENT_API"},
	    {"GET", "/v1models", 404, "PUBLIC"},
	    {"GET", "/api/v1x", 404, "MANAGEMENT"},
	    {"GET", "/api/healthz", 404, "MANAGEMENT"},
	    {"GET", "/healthz/x", 404, "PUBLIC"},
	    {"GET", "/models/none/such", 404, "CLIENT_API"},
	    {"GET", "/v1/models/none/such", 404, "CLIENT_API"},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(cases); i++) {
		const char *reply = fixture_get(cases[i].method, cases[i].path, "");
		const char *class = fixture_header(reply, "X-OmniRoute-Route-Class");

		if (fixture_status(reply) != cases[i].status || class == NULL ||
		    strcmp(class, cases[i].class) != 0)
			fail_msg("%s %s: %s", cases[i].method, cases[i].path, reply);
	}
}

static void
unknown_paths_are_told_from_unknown_models(void **state)
{
	(void)state;
	assert_non_null(strstr(fixture_get("GET", "/v2", ""), "\"code\":\"unknown_url\""));
	assert_non_null(
	    strstr(fixture_get("GET", "/v1/models/none", ""), "\"code\":\"model_not_found\""));
}

static void
methods_are_checked(void **state)
{
	const char *reply;

	(void)state;
	reply = fixture_get("GET", "/v1/chat/completions", "");
	assert_int_equal(fixture_status(reply), 405);
	assert_string_equal(fixture_header(reply, "Allow"), "POST, OPTIONS");
	assert_non_null(strstr(reply, "\"code\":\"method_not_allowed\""));
	reply = fixture_get("DELETE", "/models", "");
	assert_int_equal(fixture_status(reply), 405);
	assert_string_equal(fixture_header(reply, "Allow"), "GET, HEAD, OPTIONS");
	reply = fixture_get("OPTIONS", "/v1/chat/completions", "Origin: http://x\r\n");
	assert_int_equal(fixture_status(reply), 204);
	assert_string_equal(fixture_header(reply, "Allow"), "POST, OPTIONS");
	assert_null(fixture_header(reply, "Access-Control-Allow-Origin"));
	assert_string_equal(fixture_body(reply), "");
	reply = fixture_get("OPTIONS", "*", "");
	assert_int_equal(fixture_status(reply), 204);
	assert_string_equal(fixture_header(reply, "Allow"), "GET, HEAD, POST, OPTIONS");
	assert_int_equal(fixture_status(fixture_get("OPTIONS", "/none", "")), 404);
}

/* What would have to be unpacked first is not taken, before a byte of it is read. */
static void
packed_bodies_are_refused(void **state)
{
	static const char *const packed[] = {"gzip", "br", "identity, gzip", "x"};
	char fields[128];
	const char *reply;

	(void)state;
	for (size_t i = 0; i < NELEM(packed); i++) {
		snprintf(fields, sizeof fields, "Content-Encoding: %s\r\nContent-Length: 10\r\n",
		    packed[i]);
		reply = fixture_get("POST", "/v1/chat/completions", fields);
		if (fixture_status(reply) != 415 ||
		    strstr(reply, "\"code\":\"unsupported_content_encoding\"") == NULL)
			fail_msg("%s: %s", packed[i], reply);
		assert_string_equal(fixture_header(reply, "Accept-Encoding"), "identity");
	}
	reply = fixture_get("POST", "/v1/chat/completions",
	    "Content-Encoding: Identity\r\nContent-Length: 2\r\n\r\n{}");
	assert_int_equal(fixture_status(reply), 400);
	reply = fixture_get("GET", "/healthz", "Content-Encoding: gzip\r\n");
	assert_int_equal(fixture_status(reply), 200);
}

static void
trailing_slashes_are_redirected(void **state)
{
	const char *reply;

	(void)state;
	reply = fixture_get("POST", "/v1/chat/completions/?a=b%20/", "Content-Length: 0\r\n");
	assert_int_equal(fixture_status(reply), 308);
	assert_string_equal(fixture_header(reply, "Location"), "/v1/chat/completions?a=b%20/");
	reply = fixture_get("GET", "/a%20b%3f%0d/", "");
	assert_int_not_equal(fixture_status(reply), 308); /* not a path at all */
	reply = fixture_get("GET", "/a%20b%3f%c3%a9/", "");
	assert_int_equal(fixture_status(reply), 308);
	assert_string_equal(fixture_header(reply, "Location"), "/a%20b%3F%C3%A9");
	reply = fixture_get("GET", "//example.com/", "");
	assert_null(fixture_header(reply, "Location"));
}

static void
keys_are_asked_for(void **state)
{
	const char *reply;

	(void)state;
	reply = fixture_get("GET", "/v1/models", "Authorization: Bearer wrong\r\n");
	assert_int_equal(fixture_status(reply), 401);
	assert_non_null(strstr(reply, "\"message\":\"Invalid API key provided\""));
	assert_non_null(strstr(reply, "\"type\":\"authentication_error\""));
	assert_non_null(strstr(reply, "\"code\":\"invalid_api_key\""));
	assert_null(strstr(reply, "wrong"));
	assert_string_equal(
	    fixture_header(reply, "WWW-Authenticate"), "Bearer realm=\"omniroute\"");
	assert_int_equal(atomic_load(&worker.me->counter[CTR_denied]), 1);
	reply = fixture_get("GET", "/v1/models", "x-api-key: or-manage\r\n");
	assert_int_equal(fixture_status(reply), 403);
	assert_int_equal(atomic_load(&worker.me->counter[CTR_denied]), 2);
	reply = fixture_get("GET", "/v1/models", "x-api-key: or-limited\r\n");
	assert_int_equal(fixture_status(reply), 200);
	assert_int_not_equal(atomic_load(&worker.live->key[1].last_used_wall_ms), 0);
	assert_int_equal(atomic_load(&worker.live->key[2].last_used_wall_ms), 0);
	reply = fixture_get("GET", "/none", "x-api-key: wrong\r\n");
	assert_int_equal(fixture_status(reply), 401);
	reply = fixture_get("DELETE", "/v1/models", "x-api-key: wrong\r\n");
	assert_int_equal(fixture_status(reply), 401);
	reply = fixture_get("GET", "/v1/models", "x-api-key: or-limited\r\nX-Api-Key: wrong\r\n");
	assert_int_equal(fixture_status(reply), 401);
	reply = fixture_get("GET", "/v1/models", "x-api-key: \r\nX-Api-Key: wrong\r\n");
	assert_int_equal(fixture_status(reply), 401);
	reply = fixture_get("GET", "nonsense", "");
	assert_int_equal(fixture_status(reply), 400);
	assert_string_equal(fixture_header(reply, "X-OmniRoute-Route-Class"), "PUBLIC");
	/* a 404 takes no key */
	assert_int_equal(fixture_status(fixture_get("GET", "/v1/x", "")), 404);
}

/* Only posts are counted; what is refused for its key is not; the reply says when to come again. */
static void
requests_are_limited(void **state)
{
	const char *post = "x-api-key: or-limited\r\nContent-Length: 0\r\n", *reply;
	int wait;

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(
		    fixture_status(fixture_get("GET", "/v1/models", "x-api-key: or-limited\r\n")),
		    200);
	for (unsigned i = 0; i < 3; i++)
		assert_int_not_equal(
		    fixture_status(fixture_get("POST", "/v1/chat/completions", post)), 429);
	reply = fixture_get("POST", "/v1/chat/completions", post);
	assert_int_equal(fixture_status(reply), 429);
	assert_non_null(strstr(
	    reply, "Per-minute request limit exceeded (3 RPM). Try again in a few seconds."));
	assert_non_null(strstr(reply, "\"type\":\"rate_limit_error\""));
	wait = atoi(fixture_header(reply, "Retry-After"));
	assert_in_range(wait, 1, 60);
	assert_int_equal(atomic_load(&worker.me->counter[CTR_limited]), 1);
	/* without a key there is no limit */
	assert_int_not_equal(
	    fixture_status(fixture_get("POST", "/v1/chat/completions", "Content-Length: 0\r\n")),
	    429);
}

/* A slot that belongs to another key by now is left alone. */
static void
a_slot_of_another_key_is_not_touched(void **state)
{
	(void)state;
	live_key_bind(worker.live, 1, 4711);
	for (unsigned i = 0; i < 5; i++)
		assert_int_not_equal(fixture_status(fixture_get("POST", "/v1/chat/completions",
					 "x-api-key: or-limited\r\nContent-Length: 0\r\n")),
		    429);
	assert_int_equal(atomic_load(&worker.live->key[1].last_used_wall_ms), 0);
	assert_int_equal(atomic_load(&worker.live->key[1].rpm.head), 0);
}

/* The removal of a key is in force for the next request, before the loop has seen the message. */
static void
a_removed_key_is_refused_at_once(void **state)
{
	(void)state;
	assert_int_equal(
	    fixture_status(fixture_get("GET", "/v1/models", "x-api-key: or-limited\r\n")), 200);
	fixture_publish(fixture_builder(1, true));
	assert_int_equal(
	    fixture_status(fixture_get("GET", "/v1/models", "x-api-key: or-limited\r\n")), 401);
}

static void
replies_are_logged(void **state)
{
	int fds[2];
	char line[256];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	accesslog_use_fd(fds[1]);
	accesslog_format("$remote_addr $method $path $status $key");
	fixture_get("GET", "/v1/models/none", "x-api-key: or-limited\r\n");
	n = read(fds[0], line, sizeof line - 1);
	assert_true(n > 0);
	line[n] = '\0';
	assert_string_equal(line, "127.0.0.1 GET /v1/models/none 404 or-limited\n");
	close(fds[0]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(paths_are_found),
	    T(unknown_paths_are_told_from_unknown_models),
	    T(methods_are_checked),
	    T(packed_bodies_are_refused),
	    T(trailing_slashes_are_redirected),
	    T(keys_are_asked_for),
	    T(requests_are_limited),
	    T(a_slot_of_another_key_is_not_touched),
	    T(a_removed_key_is_refused_at_once),
	    T(replies_are_logged),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
