#include "t/unit/proto_events.h"

#include "proto/canon_error.h"

#define NOW UINT64_C(1700000000)
#define SECRET "a-secret-of-ours"

static struct canon_error
decode(struct arena *a, int status, const char *body)
{
	const struct canon_error_source src = {
	    .status = status, .body = span_of(body), .secret = span_of(SECRET), .now_s = NOW};
	struct canon_error e;

	canon_error_read(a, &src, &e);
	return e;
}

#define E(inner) "{\"error\":{" inner "}}"

static void
classes(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum canon_error_class class;
		int to_client; /* 0: the class's */
	} rows[] = {
	    {400, E("\"message\":\"x\""), ERROR_BAD_REQUEST, 0},
	    {422, E("\"message\":\"x\""), ERROR_BAD_REQUEST, 422},
	    {400, E("\"message\":\"This model's maximum context length is 8\""),
		ERROR_CONTEXT_WINDOW, 0},
	    {400, E("\"code\":\"context_length_exceeded\""), ERROR_CONTEXT_WINDOW, 0},
	    {400, E("\"message\":\"prompt is too long: 3 tokens > 2 maximum\""),
		ERROR_CONTEXT_WINDOW, 0},
	    {400, "{\"message\":\"Input is too long for requested model.\"}", ERROR_CONTEXT_WINDOW,
		0},
	    {400,
		"{\"message\":\"x\",\"reason\":\"y\",\"__type\":\"CONTENT_LENGTH_EXCEEDS_"
		"THRESHOLD\"}",
		ERROR_CONTEXT_WINDOW, 0},
	    {429, "{\"message\":\"Too many tokens, please wait before trying again.\"}",
		ERROR_RATE_LIMIT, 0},
	    {401, E("\"message\":\"x\""), ERROR_AUTH, 0},
	    {400,
		E("\"message\":\"API key not "
		  "valid.\",\"details\":[{\"reason\":\"API_KEY_INVALID\"}]"),
		ERROR_AUTH, 0},
	    {403, "{\"__type\":\"AccessDeniedException\",\"Message\":\"x\"}", ERROR_AUTH, 0},
	    {402, E("\"message\":\"x\""), ERROR_BILLING, 0},
	    {429, E("\"code\":\"insufficient_quota\""), ERROR_BILLING, 429},
	    {400, E("\"message\":\"Your credit balance is too low to access\""), ERROR_BILLING, 0},
	    {403, E("\"message\":\"x\""), ERROR_PERMISSION, 0},
	    {404, E("\"message\":\"x\""), ERROR_NOT_FOUND, 0},
	    {400, E("\"code\":\"model_not_found\""), ERROR_NOT_FOUND, 0},
	    {413, "", ERROR_TOO_LARGE, 0},
	    {429, E("\"message\":\"x\""), ERROR_RATE_LIMIT, 0},
	    {400, "{\"__type\":\"ThrottlingException\"}", ERROR_RATE_LIMIT, 0},
	    {503, "", ERROR_OVERLOADED, 0},
	    {529, E("\"type\":\"overloaded_error\""), ERROR_OVERLOADED, 0},
	    {500, E("\"message\":\"x\""), ERROR_SERVER, 0},
	    {502, "<html><title>502</title>", ERROR_SERVER, 502},
	    {520, "", ERROR_SERVER, 502},
	    {504, "", ERROR_TIMEOUT, 0},
	    {408, "", ERROR_TIMEOUT, 0},
	    {424, "{\"message\":\"x\"}", ERROR_TIMEOUT, 0},
	    {400, E("\"code\":\"content_filter\""), ERROR_CONTENT_POLICY, 0},
	    {400, E("\"code\":\"content_policy_violation\""), ERROR_CONTENT_POLICY, 0},
	    /* inside a 200 the words are all there is */
	    {200, E("\"type\":\"overloaded_error\""), ERROR_OVERLOADED, 0},
	    {200, E("\"code\":503,\"status\":\"UNAVAILABLE\""), ERROR_OVERLOADED, 0},
	    {200, E("\"code\":429"), ERROR_RATE_LIMIT, 0},
	    {200, E("\"type\":\"invalid_request_error\""), ERROR_BAD_REQUEST, 0},
	    {200, E("\"message\":\"x\""), ERROR_SERVER, 502},
	    {200, "nonsense", ERROR_SERVER, 502},
	};
	struct arena *a = arena_new(1 << 22);

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct canon_error e = decode(a, rows[i].status, rows[i].body);

		if (e.class != rows[i].class || e.status != rows[i].to_client)
			fail_msg("%d %s: class %d status %d", rows[i].status, rows[i].body, e.class,
			    e.status);
		assert_true(e.message.n > 0);
	}
	arena_free(a);
}

static void
messages_of_all_shapes(void **state)
{
	static const struct {
		const char *body, *want;
	} rows[] = {
	    {E("\"message\":\" one \""), "one"},
	    {"{\"error\":\"two\"}", "two"},
	    {"{\"message\":\"three\"}", "three"},
	    {"{\"detail\":\"four\"}", "four"},
	    {"{\"detail\":[{\"loc\":[\"body\",0],\"msg\":\"five\"}]}", "[\"body\",0]: five"},
	    {"{\"object\":\"error\",\"message\":{\"detail\":[{\"loc\":[\"a\"],\"msg\":\"six\"}]}}",
		"[\"a\"]: six"},
	    {"{\"errors\":[{\"message\":\"seven\"}]}", "seven"},
	    {"{\"Message\":\"eight\"}", "eight"},
	    {"{\"base_resp\":{\"status_code\":1,\"status_msg\":\"nine\"}}", "nine"},
	    {"[{\"error\":{\"message\":\"ten\"}}]", "ten"},
	    {E("\"message\":\"Provider returned "
	       "error\",\"metadata\":{\"raw\":\"{\\\"error\\\":{\\\"message\\\":\\\"real\\\"}}\","
	       "\"provider_name\":\"X\""
	       "}"),
		"X: real"},
	    {E("\"message\":\"{\\\"error\\\":{\\\"message\\\":\\\"inner\\\"}}\""), "inner"},
	    {"<!DOCTYPE html><html><HEAD><title lang=x>Bad gateway</title>", "Bad gateway"},
	    {"plain words", "plain words"},
	    {"{\"error\":{\"message\":null},\"message\":\"outer\"}", "outer"},
	};
	struct arena *a = arena_new(1 << 22);

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct canon_error e = decode(a, 400, rows[i].body);

		assert_string_equal(arena_strndup(a, e.message.p, e.message.n), rows[i].want);
	}
	arena_free(a);
}

static void
no_secret_gets_through(void **state)
{
	static const char *const hidden[] = {SECRET, "sk-proj-0123456789abcdefghij",
	    "AIzaSyA0123456789012345678901234567890", "org-abcdef123456", "10.1.2.3:8080",
	    "http://gpu7.internal/v1", "arn:aws:bedrock:eu-west-1:123456789012:model",
	    "123456789012", "sk-ab***xyz9"};
	struct arena *a = arena_new(1 << 22);

	(void)state;
	for (size_t i = 0; i < NELEM(hidden); i++) {
		char *body =
		    arena_printf(a, E("\"message\":\"before %s, twice %s.\",\"param\":\"%s\""),
			hidden[i], hidden[i], hidden[i]);
		struct canon_error e = decode(a, 400, body);

		assert_null(memmem(e.message.p, e.message.n, hidden[i], strlen(hidden[i])));
		assert_non_null(memmem(e.message.p, e.message.n, "before ", 7));
		assert_non_null(memmem(e.message.p, e.message.n, "twice ", 6));
		assert_true(e.param.p == NULL ||
			    memmem(e.param.p, e.param.n, hidden[i], strlen(hidden[i])) == NULL);
	}
	/* ordinary words stay */
	assert_true(span_is(decode(a, 400,
				E("\"message\":\"max_tokens: 5 > 4.5, see "
				  "https://example.org/docs; version 1.2.3\""))
				.message,
	    "max_tokens: 5 > 4.5, see https://example.org/docs; version 1.2.3"));
	arena_free(a);
}

static void
long_texts_are_cut_between_characters(void **state)
{
	struct arena *a = arena_new(1 << 22);
	char *body = arena_alloc(a, 20000), *p = body;
	struct canon_error e;

	(void)state;
	p += sprintf(p, "{\"message\":\"x");
	for (unsigned i = 0; i < 5000; i++)
		p += sprintf(p, "\xe2\x82\xac");
	sprintf(p, "\"}");
	e = decode(a, 400, body);
	assert_true(e.message.n <= 4096 && e.message.n > 4090);
	assert_int_equal(e.message.n % 3, 1);
	arena_free(a);
}

static void
waiting_times(void **state)
{
	static const struct {
		const char *body;
		uint64_t ms;
	} rows[] = {
	    {E("\"message\":\"Please try again in 7.66s.\""), 7660},
	    {E("\"message\":\"Please try again in 120ms.\""), 120},
	    {E("\"message\":\"try again in 6m0s\""), 360000},
	    {E("\"message\":\"Please retry in 33.1s.\""), 33100},
	    {E("\"message\":\"Try again in 1 minute\""), 60000},
	    {E("\"message\":\"no time\""), 0},
	    {E("\"message\":\"try again in a while\""), 0},
	    {E("\"details\":[{\"@type\":\"type.googleapis.com/"
	       "google.rpc.RetryInfo\",\"retryDelay\":\"33s\"}]"),
		33000},
	    {E("\"details\":[{\"@type\":\"t/"
	       "google.rpc.QuotaFailure\",\"violations\":[{\"quotaId\":\"RequestsPerDay-Free\"}]}"
	       "]"),
		35200000},
	    {E("\"type\":\"usage_limit_reached\",\"resets_in_seconds\":90"), 90000},
	    {E("\"resets_at\":1700000060"), 60000},
	    {E("\"resets_at\":1600000000"), 0},
	    {E("\"resets_in_seconds\":-5"), 0},
	    {E("\"message\":\"try again in 99999999999999999999999999999s\""), 0},
	};
	struct arena *a = arena_new(1 << 22);

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++)
		assert_int_equal(decode(a, 429, rows[i].body).retry_after_ms, rows[i].ms);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(classes),
	    cmocka_unit_test(messages_of_all_shapes),
	    cmocka_unit_test(no_secret_gets_through),
	    cmocka_unit_test(long_texts_are_cut_between_characters),
	    cmocka_unit_test(waiting_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
