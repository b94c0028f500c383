#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>
#include <jansson.h>

#include "proto/openai_chat.h"
#include "proto/scan.h"
#include "proto/sse.h"
#include "shared/err.h"

static struct span
span(const char *text)
{
	return (struct span){text, strlen(text)};
}

static void
assert_span(struct span s, const char *text)
{
	if (s.p == NULL || s.n != strlen(text) || memcmp(s.p, text, s.n) != 0)
		fail_msg("'%.*s', expected '%s'", (int)s.n, s.p != NULL ? s.p : "", text);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void
test_request(void **state)
{
	struct chat_request req;
	const char *why;
	static const char body[] =
	    "{\"stream\":true,\"messages\":[ {} ],\"mod\\u0065l\": \"a\\/b\\u00e9\","
	    "\"tools\":[1],\"tool_choice\":\"auto\",\"x\":1.00}";
	(void)state;
	assert_int_equal(chat_request(body, strlen(body), &req, &why), 0);
	assert_string_equal(req.model, "a/b\xc3\xa9");
	assert_span(req.model_value, "\"a\\/b\\u00e9\"");
	assert_true(req.stream && req.stream_given);
	assert_span(req.messages, "[ {} ]");
	assert_span(req.tools, "[1]");
	assert_span(req.tool_choice, "\"auto\"");
	static const char *const plain[] = {
	    "{\"model\":\"m\",\"messages\":[1]}",
	    "{\"model\":\"m\",\"messages\":[1],\"stream\":null}",
	    "{\"model\":\"m\",\"input\":\"x\"}",
	    "{\"model\":\"m\",\"prompt\":[\"x\"]}",
	};
	for (size_t i = 0; i < NELEM(plain); i++) {
		assert_int_equal(chat_request(plain[i], strlen(plain[i]), &req, &why), 0);
		assert_false(req.stream || req.stream_given);
	}
	static const char off[] = "{\"model\":\"m\",\"messages\":[1],\"stream\":false}";
	assert_int_equal(chat_request(off, strlen(off), &req, &why), 0);
	assert_true(!req.stream && req.stream_given);
}

static void
test_request_refused(void **state)
{
	static const struct {
		const char *body, *why;
	} rows[] = {
	    {"", "Invalid JSON body: ends too early at byte 0"},
	    {"{\"model\":\"m\",}", "Invalid JSON body: malformed at byte 13"},
	    {"{\"model\":\"\xff\"}", "Invalid JSON body: not valid UTF-8 at byte 10"},
	    {"[1]", "Invalid JSON body: it must be an object"},
	    {" \"x\"", "Invalid JSON body: it must be an object"},
	    {"[1", "Invalid JSON body: malformed at byte 0"},
	    {"{\"model\":\"a\",\"messages\":[1],\"model\":\"b\"}",
		"Invalid JSON body: member \"model\" stands twice (at byte 28)"},
	    {"{\"messages\":[1]}", "Missing model"},
	    {"{\"model\":null,\"messages\":[1]}", "Missing model"},
	    {"{\"model\":\"\",\"messages\":[1]}", "Missing model"},
	    {"{\"model\":7,\"messages\":[1]}", "\"model\" must be a string"},
	    {"{\"model\":\"a\\nb\",\"messages\":[1]}",
		"\"model\" holds characters that are not allowed"},
	    {"{\"model\":\"a\\u0000b\",\"messages\":[1]}",
		"\"model\" holds characters that are not allowed"},
	    {"{\"model\":\"a\x7f\",\"messages\":[1]}",
		"\"model\" holds characters that are not allowed"},
	    {"{\"model\":\"a/..\\/b\",\"messages\":[1]}",
		"\"model\" holds characters that are not allowed"},
	    {"{\"model\":\"\\ud800\",\"messages\":[1]}",
		"\"model\" holds characters that are not allowed"},
	    {"{\"model\":\"m\"}", "Missing messages"},
	    {"{\"model\":\"m\",\"input\":null}", "Missing messages"},
	    {"{\"model\":\"m\",\"messages\":[ ]}",
		"\"messages\" must be an array that is not empty"},
	    {"{\"model\":\"m\",\"messages\":{}}",
		"\"messages\" must be an array that is not empty"},
	    {"{\"model\":\"m\",\"messages\":null}",
		"\"messages\" must be an array that is not empty"},
	    {"{\"model\":\"m\",\"messages\":[1],\"stream\":1}", "\"stream\" must be true or false"},
	    {"{\"model\":\"m\",\"messages\":[1],\"stream\":\"true\"}",
		"\"stream\" must be true or false"},
	};
	struct chat_request req;
	const char *why;
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		assert_true(chat_request(rows[i].body, strlen(rows[i].body), &req, &why) < 0);
		assert_string_equal(why, rows[i].why);
	}
	char body[512];
	for (int n = MODEL_MAX; n <= MODEL_MAX + 1; n++) {
		int len = snprintf(body, sizeof(body), "{\"model\":\"%0*d\",\"input\":1}", n, 0);
		int r = chat_request(body, (size_t)len, &req, &why);
		assert_int_equal(r, n == MODEL_MAX ? 0 : E_TOO_LONG);
		if (r != 0)
			assert_string_equal(why, "\"model\" must not be longer than 200 bytes");
	}
	memset(body, '[', sizeof(body));
	static char deep[4096];
	memset(deep, '[', sizeof(deep));
	memcpy(deep, "{\"a\":", 5);
	assert_int_equal(chat_request(deep, sizeof(deep), &req, &why), E_DEPTH);
	assert_string_equal(why, "Invalid JSON body: nested too deeply at byte 516");
}

/* ---- usage and chunks ------------------------------------------------------------------------ */

static void
test_usage(void **state)
{
	static const struct {
		const char *json;
		bool found;
		struct chat_usage u;
	} rows[] = {
	    {"{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}", true,
		{3, 4, 0, 0}},
	    {"{\"usage\":{\"prompt_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":2},"
	     "\"completion_tokens\":9,\"completion_tokens_details\":{\"reasoning_tokens\":5}}}",
		true, {3, 9, 2, 5}},
	    {"{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1,\"prompt_cache_hit_tokens\":"
	     "2,"
	     "\"prompt_tokens_details\":null,\"completion_tokens_details\":{}}}",
		true, {3, 1, 2, 0}},
	    {"{\"usage\":{\"prompt_tokens\":3,\"cached_tokens\":1}}", true, {3, 0, 1, 0}},
	    {"{\"x_groq\":{\"id\":1,\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":9}}}",
		true, {8, 9, 0, 0}},
	    {"{\"usage\":{\"prompt_tokens\":8.0,\"completion_tokens\":1e1}}", true, {8, 10, 0, 0}},
	    {"{\"usage\":null,\"x_groq\":null}", false, {0}},
	    {"{\"usage\":{}}", false, {0}},
	    {"{\"usage\":[]}", false, {0}},
	    {"{\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":\"2\"}}", false, {0}},
	    {"{\"choices\":[{\"usage\":{\"prompt_tokens\":3}}]}", false, {0}},
	    {"{\"usage\":{\"prompt_tokens\":3}", false, {0}},
	    {"[{\"usage\":{\"prompt_tokens\":3}}]", false, {0}},
	    {"", false, {0}},
	};
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct chat_usage u = {77, 77, 77, 77};
		bool found = chat_usage(span(rows[i].json), &u);
		struct chat_usage want =
		    rows[i].found ? rows[i].u : (struct chat_usage){77, 77, 77, 77};
		if (found != rows[i].found || memcmp(&u, &want, sizeof(u)) != 0)
			fail_msg("%s: %d", rows[i].json, found);
	}
}

#define CHOICE(x) "{\"choices\":[{\"index\":0," x "}]}"

static void
test_chunk(void **state)
{
	static const struct {
		const char *data;
		bool finished, done, error, useful;
		uint64_t text;
	} rows[] = {
	    {"[DONE]", false, true, false, false, 0},
	    {CHOICE("\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null"),
		false, false, false, false, 0},
	    {CHOICE("\"delta\":{\"content\":\"hi\\n\\u00e9\"},\"finish_reason\":null"), false,
		false, false, true, 5},
	    {CHOICE("\"delta\":{\"content\":null,\"refusal\":\"no\"}"), false, false, false, true,
		2},
	    {CHOICE("\"delta\":{},\"finish_reason\":\"stop\""), true, false, false, false, 0},
	    {CHOICE("\"delta\":{},\"finish_reason\":\"\""), false, false, false, false, 0},
	    {CHOICE("\"delta\":{\"reasoning\":\"abc\",\"reasoning_details\":[{\"text\":\"abc\"}]}"),
		false, false, false, true, 3},
	    {CHOICE("\"delta\":{\"reasoning_content\":\"abc\"}"), false, false, false, true, 3},
	    {CHOICE("\"delta\":{\"reasoning\":null,\"reasoning_details\":[]}"), false, false, false,
		false, 0},
	    {CHOICE("\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"function\":{"
		    "\"name\":\"add\","
		    "\"arguments\":\"{\\\"a\\\"\"}}]}"),
		false, false, false, true, 7},
	    {CHOICE("\"delta\":{\"tool_calls\":[]}"), false, false, false, false, 0},
	    {CHOICE(
		 "\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\","
		 "\"text\":\"Ok\"}]}]}"),
		false, false, false, true, 2},
	    {CHOICE("\"text\":\"legacy\""), false, false, false, true, 6},
	    {"{\"choices\":[{\"delta\":{}},{\"delta\":{\"content\":\"b\"},\"finish_reason\":"
	     "\"length\"}]}",
		true, false, false, true, 1},
	    {"{\"choices\":[]}", false, false, false, false, 0},
	    {"{\"choices\":null}", false, false, false, false, 0},
	    {"{\"choices\":[null,1,[]]}", false, false, false, false, 0},
	    {"{\"error\":{\"message\":\"m\"}}", false, false, true, false, 0},
	    {"{\"error\":\"m\"}", false, false, true, false, 0},
	    {"{\"error\":null}", false, false, false, false, 0},
	    {"{\"x\":{\"error\":{}}}", false, false, false, false, 0},
	    /* what is not valid changes nothing, also where the reader was already past it */
	    {"{\"error\":{\"message\":\"m\"}", false, false, false, false, 0},
	    {CHOICE("\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"") "x", false, false,
		false, false, 0},
	    {"\"[DONE]\"", false, false, false, false, 0},
	    {"", false, false, false, false, 0},
	};
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct chat_stream st = {0};
		bool json = chat_chunk(&st, span(rows[i].data));
		assert_int_equal(json, scan_check(rows[i].data, strlen(rows[i].data), NULL) == 0);
		if (st.finished != rows[i].finished || st.done != rows[i].done ||
		    st.error != rows[i].error || st.useful != rows[i].useful ||
		    st.text_bytes != rows[i].text || st.has_usage)
			fail_msg("%s: %d %d %d %d %llu", rows[i].data, st.finished, st.done,
			    st.error, st.useful, (unsigned long long)st.text_bytes);
	}
	chat_chunk(&(struct chat_stream){0}, (struct span){NULL, 0});
}

static void
test_stream_usage(void **state)
{
	struct chat_stream st = {0};
	(void)state;
	chat_chunk(
	    &st, span("{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1},\"choices\":[]}"));
	chat_chunk(&st, span("{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":5,"
			     "\"prompt_tokens_details\":{\"cached_tokens\":1}}}"));
	chat_chunk(&st, span("{\"usage\":null}"));
	chat_chunk(&st, span("{\"usage\":{}}"));
	chat_chunk(&st, span("{\"usage\":{\"prompt_tokens\":9"));
	assert_true(st.has_usage);
	assert_int_equal(st.usage.in, 1);
	assert_int_equal(st.usage.out, 5);
	assert_int_equal(st.usage.cached, 1);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void
test_errors(void **state)
{
	static const struct {
		int status;
		const char *type, *code, *message;
	} rows[] = {
	    {400, "invalid_request_error", "bad_request", "Bad request"},
	    {401, "authentication_error", "invalid_api_key", "Invalid API key provided"},
	    {402, "billing_error", "payment_required", "Payment required"},
	    {403, "permission_error", "insufficient_quota", "You exceeded your current quota"},
	    {404, "invalid_request_error", "model_not_found", "Model not found"},
	    {405, "invalid_request_error", "method_not_allowed", "Method not allowed"},
	    {406, "invalid_request_error", "model_not_supported", "Model not supported"},
	    {408, "invalid_request_error", "request_timeout", "The request did not arrive in time"},
	    {414, "invalid_request_error", "uri_too_long", "The request target is too long"},
	    {415, "invalid_request_error", "unsupported_media_type",
		"The content type or coding is not supported"},
	    {417, "invalid_request_error", "expectation_failed",
		"The expectation is not supported"},
	    {431, "invalid_request_error", "headers_too_large", "The request head is too large"},
	    {499, "invalid_request_error", "client_closed_request", "Request aborted"},
	    {501, "server_error", "not_implemented", "Not implemented"},
	    {505, "invalid_request_error", "http_version_not_supported",
		"The HTTP version is not supported"},
	    {413, "payload_too_large", "PAYLOAD_TOO_LARGE", "Request body too large"},
	    {429, "rate_limit_error", "rate_limit_exceeded", "Rate limit exceeded"},
	    {500, "server_error", "internal_server_error", "Internal server error"},
	    {502, "server_error", "bad_gateway", "Bad gateway - upstream provider error"},
	    {503, "server_error", "service_unavailable", "Service temporarily unavailable"},
	    {504, "server_error", "gateway_timeout", "Gateway timeout"},
	    {418, "invalid_request_error", "", "An error occurred"},
	    {529, "server_error", "internal_server_error", "An error occurred"},
	};
	struct buf b = BUF_INIT(4096);
	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		char want[512];
		snprintf(want, sizeof(want),
		    "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"code\":\"%s\"}}",
		    rows[i].message, rows[i].type, rows[i].code);
		buf_reset(&b);
		assert_int_equal(chat_error_body(&b, rows[i].status, NULL, NULL, NULL), 0);
		assert_string_equal(buf_cstr(&b), want);
	}
	buf_reset(&b);
	assert_int_equal(chat_error_event(&b, 504, "stream_timeout", "X\"1", "no \n\xff"), 0);
	assert_string_equal(buf_cstr(&b), "data: {\"error\":{\"message\":\"no \\n\xef\xbf\xbd\","
					  "\"type\":\"stream_timeout\",\"code\":\"X\\\"1\"}}\n\n");
	buf_clear(&b);
	/* All or nothing. */
	for (size_t max = 3; max < 60; max++) {
		struct buf small = BUF_INIT(max);
		assert_int_equal(buf_str(&small, "abc"), 0);
		assert_int_equal(chat_error_body(&small, 400, NULL, NULL, "message"), E_TOO_LONG);
		assert_int_equal(small.len, 3);
		buf_clear(&small);
	}
}

/* ---- recorded exchanges: the same as a reader that builds trees --------------------------------
 */

struct slow {
	struct chat_stream st;
	unsigned chunks;
};

static uint64_t
number(json_t *o, const char *name)
{
	return (uint64_t)json_integer_value(json_object_get(o, name));
}

static bool
slow_usage(json_t *root, struct chat_usage *u)
{
	json_t *usage = json_object_get(root, "usage");
	if (!json_is_object(usage))
		usage = json_object_get(json_object_get(root, "x_groq"), "usage");
	if (!json_is_object(usage))
		return false;
	u->in = number(usage, "prompt_tokens");
	u->out = number(usage, "completion_tokens");
	u->cached = number(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
	u->cached = MAX(u->cached, number(usage, "prompt_cache_hit_tokens"));
	u->cached = MAX(u->cached, number(usage, "cached_tokens"));
	u->reasoning =
	    number(json_object_get(usage, "completion_tokens_details"), "reasoning_tokens");
	return true;
}

static bool
slow_text(json_t *delta, const char *name)
{
	json_t *v = json_object_get(delta, name);
	return json_string_length(v) > 0 || json_array_size(v) > 0 || json_object_size(v) > 0;
}

static void
slow_chunk(struct slow *slow, const char *data)
{
	static const char *const useful[] = {"content", "tool_calls", "reasoning",
	    "reasoning_content", "reasoning_details", "refusal", "function_call"};
	if (strcmp(data, "[DONE]") == 0) {
		slow->st.done = true;
		return;
	}
	json_t *root = json_loads(data, 0, NULL), *choice;
	size_t i;
	assert_non_null(root);
	json_array_foreach(json_object_get(root, "choices"), i, choice)
	{
		json_t *delta = json_object_get(choice, "delta");
		for (size_t k = 0; k < NELEM(useful); k++)
			slow->st.useful |= slow_text(delta, useful[k]);
		slow->st.finished |=
		    json_string_length(json_object_get(choice, "finish_reason")) > 0;
	}
	json_t *error = json_object_get(root, "error");
	slow->st.error |= json_is_object(error) || json_is_string(error);
	slow->st.has_usage |= slow_usage(root, &slow->st.usage);
	slow->chunks++;
	json_decref(root);
}

/* The recordings have one data line per event. */
static void
slow_stream(struct slow *slow, const char *body)
{
	char *copy = strdup(body), *save = NULL;
	assert_non_null(copy);
	for (char *l = strtok_r(copy, "\r\n", &save); l != NULL; l = strtok_r(NULL, "\r\n", &save))
		if (strncmp(l, "data: ", 6) == 0)
			slow_chunk(slow, l + 6);
	free(copy);
}

static void
check_stream(const char *file, const char *body, size_t part)
{
	struct slow slow = {0};
	struct chat_stream st = {0};
	struct arena *a = arena_new(65536);
	struct sse *s = sse_new(a, 1 << 20);
	struct sse_event ev;
	size_t n = strlen(body), raw = 0;
	unsigned chunks = 0;
	slow_stream(&slow, body);
	assert_non_null(s);
	for (size_t i = 0; i < n; i += part) {
		assert_int_equal(sse_feed(s, body + i, MIN(part, n - i)), 0);
		int r;
		while ((r = sse_next(s, &ev)) == SSE_EVENT) {
			assert_memory_equal(ev.raw.p, body + raw, ev.raw.n);
			raw += ev.raw.n;
			if (ev.data.p == NULL)
				continue;
			if (ev.data.n != 6)
				assert_int_equal(scan_check(ev.data.p, ev.data.n, NULL), 0);
			chunks += ev.data.n != 6;
			chat_chunk(&st, ev.data);
		}
		assert_int_equal(r, SSE_MORE);
	}
	raw += sse_rest(s).n;
	sse_free(s);
	arena_free(a);
	if (raw != n || chunks != slow.chunks || st.finished != slow.st.finished ||
	    st.done != slow.st.done || st.error != slow.st.error || st.useful != slow.st.useful ||
	    st.has_usage != slow.st.has_usage ||
	    memcmp(&st.usage, &slow.st.usage, sizeof(st.usage)) != 0)
		fail_msg("%s differs in parts of %zu", file, part);
}

/* One recording has no request body. */
static void
check_request(const char *file, json_t *body)
{
	struct chat_request req;
	const char *why = "";
	if (!json_is_object(body))
		return;
	char *text = json_dumps(body, 0);
	assert_non_null(text);
	if (chat_request(text, strlen(text), &req, &why) != 0)
		fail_msg("%s: %s", file, why);
	assert_string_equal(req.model, json_string_value(json_object_get(body, "model")));
	assert_int_equal(req.stream, json_is_true(json_object_get(body, "stream")));
	free(text);
}

static void
check_recording(const char *file, unsigned *streams)
{
	json_t *root = json_load_file(file, 0, NULL);
	json_t *response = json_object_get(root, "response");
	json_t *body = json_object_get(response, "body");
	assert_non_null(body);
	check_request(file, json_object_get(json_object_get(root, "request"), "body"));
	if (json_is_string(body)) {
		const size_t parts[] = {1, 7, 1000, 1 << 20};
		for (size_t i = 0; i < NELEM(parts); i++)
			check_stream(file, json_string_value(body), parts[i]);
		++*streams;
	} else {
		char *text = json_dumps(body, JSON_INDENT(1));
		struct chat_usage u = {0}, want = {0};
		assert_non_null(text);
		bool found = chat_usage(span(text), &u);
		if (found != slow_usage(body, &want) || memcmp(&u, &want, sizeof(u)) != 0)
			fail_msg("%s: usage", file);
		free(text);
	}
	json_decref(root);
}

static void
test_recordings(void **state)
{
	static const char *const folders[] = {"openai-chat", "groq-chat", "mistral-chat"};
	const char *dir = getenv("OMNIROUTE_RECORDINGS");
	unsigned streams = 0, files = 0;
	(void)state;
	if (dir == NULL)
		dir = "../shared/recordings";
	for (size_t f = 0; f < NELEM(folders); f++) {
		char pattern[4096];
		glob_t g;
		snprintf(pattern, sizeof(pattern), "%s/%s/*.json", dir, folders[f]);
		if (glob(pattern, 0, NULL, &g) == 0) {
			for (size_t i = 0; i < g.gl_pathc; i++, files++)
				check_recording(g.gl_pathv[i], &streams);
			globfree(&g);
		}
	}
	print_message("# %u recordings, %u of them streams\n", files, streams);
	if (files == 0) {
		print_message("# no recordings below %s\n", dir);
		skip();
	}
	assert_true(streams > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_request),
	    cmocka_unit_test(test_request_refused),
	    cmocka_unit_test(test_usage),
	    cmocka_unit_test(test_chunk),
	    cmocka_unit_test(test_stream_usage),
	    cmocka_unit_test(test_errors),
	    cmocka_unit_test(test_recordings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
