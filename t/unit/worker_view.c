#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>

#include "t/unit/worker_fixture.h"

static void
add_model(
    struct snapshot_builder *b, const char *id, const char *root, uint32_t context, uint32_t output)
{
	struct snap_model m = {.id = fixture_str(b, id),
	    .owned_by = fixture_str(b, "echo"),
	    .root = fixture_str(b, root),
	    .created = 1700000000,
	    .context_length = context,
	    .max_output_tokens = output};

	assert_true(snapshot_add_model(b, &m) >= 0);
}

static struct snapshot_builder *
first(void)
{
	struct snapshot_builder *b = fixture_builder(1, true);

	add_model(b, "echo/echo-1", "echo-1", 8192, 4096);
	add_model(b, "corp/org/llama \"x\"", "org/llama \"x\"", 0, 0);
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

static json_t *
json_of(const char *reply)
{
	json_error_t e;
	json_t *o = json_loads(fixture_body(reply), 0, &e);

	if (o == NULL)
		fail_msg("%s: %s", e.text, reply);
	return o;
}

static const char *
text_of(const json_t *o, const char *name)
{
	return json_string_value(json_object_get(o, name));
}

static void
assert_full_model(const json_t *m)
{
	assert_string_equal(text_of(m, "id"), "echo/echo-1");
	assert_string_equal(text_of(m, "object"), "model");
	assert_string_equal(text_of(m, "owned_by"), "echo");
	assert_string_equal(text_of(m, "root"), "echo-1");
	assert_int_equal(json_integer_value(json_object_get(m, "created")), 1700000000);
	assert_int_equal(json_integer_value(json_object_get(m, "context_length")), 8192);
	assert_int_equal(json_integer_value(json_object_get(m, "max_output_tokens")), 4096);
	assert_true(json_is_null(json_object_get(m, "parent")));
	assert_true(json_is_array(json_object_get(m, "permission")));
	assert_int_equal(json_object_size(m), 9);
}

static void
models_are_listed(void **state)
{
	const char *reply = fixture_get("GET", "/v1/models", "");
	json_t *o = json_of(reply), *data = json_object_get(o, "data"), *m;

	(void)state;
	assert_string_equal(fixture_header(reply, "Content-Type"), "application/json");
	assert_string_equal(text_of(o, "object"), "list");
	assert_int_equal(json_array_size(data), 2);
	assert_full_model(json_array_get(data, 0));
	m = json_array_get(data, 1);
	assert_string_equal(text_of(m, "root"), "org/llama \"x\"");
	assert_null(json_object_get(m, "context_length"));
	assert_null(json_object_get(m, "max_output_tokens"));
	json_decref(o);
}

/* The list is kept, and is another one as soon as there is another snapshot. */
static void
the_list_follows_the_snapshot(void **state)
{
	struct snapshot_builder *b;
	json_t *o;

	(void)state;
	json_decref(json_of(fixture_get("GET", "/v1/models", "")));
	b = fixture_builder(1, true);
	add_model(b, "new/one", "one", 0, 0);
	fixture_publish(b);
	o = json_of(fixture_get("GET", "/v1", ""));
	assert_int_equal(json_array_size(json_object_get(o, "data")), 1);
	assert_string_equal(
	    text_of(json_array_get(json_object_get(o, "data"), 0), "id"), "new/one");
	json_decref(o);
}

static void
one_model_is_shown(void **state)
{
	const char *reply = fixture_get("GET", "/api/v1/models/echo/echo-1", "");
	json_t *o;

	(void)state;
	assert_int_equal(fixture_status(reply), 200);
	o = json_of(reply);
	assert_full_model(o);
	json_decref(o);
	reply = fixture_get("GET", "/models/corp/org/llama%20%22x%22", "");
	assert_int_equal(fixture_status(reply), 200);
	/* as official clients write it */
	reply = fixture_get("GET", "/v1/models/echo%2Fecho-1", "");
	assert_int_equal(fixture_status(reply), 200);
}

static void
an_unknown_model_is_not_found(void **state)
{
	const char *reply = fixture_get("GET", "/v1/models/echo/echo-2%22", "");
	json_t *o = json_of(reply), *e = json_object_get(o, "error");

	(void)state;
	assert_int_equal(fixture_status(reply), 404);
	assert_string_equal(text_of(e, "code"), "model_not_found");
	assert_string_equal(text_of(e, "type"), "invalid_request_error");
	assert_non_null(strstr(text_of(e, "message"), "echo/echo-2"));
	json_decref(o);
}

static void
head_has_no_body(void **state)
{
	const char *reply;
	char length[32];

	(void)state;
	reply = fixture_get("GET", "/v1/models", "");
	snprintf(length, sizeof length, "%zu", strlen(fixture_body(reply)));
	reply = fixture_get("HEAD", "/v1/models", "");
	assert_int_equal(fixture_status(reply), 200);
	assert_string_equal(fixture_body(reply), "");
	assert_string_equal(fixture_header(reply, "Content-Length"), length);
}

/* Ready is the gateway, not this worker: an old worker that a reload retires says so of its
 * successor. */
static void
readiness_is_the_gateways(void **state)
{
	int other = live_worker_take(worker.live, 1, 2);

	(void)state;
	assert_int_equal(fixture_status(fixture_get("GET", "/readyz", "")), 503);
	atomic_store(&worker.me->state, WORKER_READY);
	assert_int_equal(fixture_status(fixture_get("GET", "/readyz", "")), 200);
	atomic_store(&worker.me->state, WORKER_RETIRING);
	assert_int_equal(fixture_status(fixture_get("GET", "/readyz", "")), 503);
	atomic_store(&worker.live->worker[other].state, WORKER_READY);
	assert_int_equal(fixture_status(fixture_get("GET", "/readyz", "")), 200);
	live_worker_release(worker.live, (unsigned)other);
	assert_int_equal(fixture_status(fixture_get("GET", "/readyz", "")), 503);
	assert_int_equal(fixture_status(fixture_get("GET", "/healthz", "")), 200);
}

/* A load balancer has no key, and must not need one. */
static void
health_is_open(void **state)
{
	(void)state;
	assert_int_equal(
	    fixture_status(fixture_get("GET", "/healthz", "x-api-key: wrong\r\n")), 200);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(models_are_listed),
	    T(the_list_follows_the_snapshot),
	    T(one_model_is_shown),
	    T(an_unknown_model_is_not_found),
	    T(head_has_no_body),
	    T(readiness_is_the_gateways),
	    T(health_is_open),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
