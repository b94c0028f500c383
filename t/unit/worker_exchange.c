#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "providers/catalog.h"
#include "proto/dialect_id.h"
#include "shared/err.h"
#include "shared/failure.h"
#include "shared/ring.h"
#include "t/unit/worker_upstream.h"
#include "worker/room.h"

#define SECRET "sk-upstream-secret-0123"
#define SSE_HEAD \
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define GOOD \
	"{\"id\":\"x\", " \
	"\"choices\":[{\"message\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]," \
	"\"big\":1.50e2,\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7," \
	"\"prompt_tokens_details\":{\"cached_tokens\":3}," \
	"\"completion_tokens_details\":{\"reasoning_tokens\":2}}}"
#define EV_ROLE \
	"data: " \
	"{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
#define EV_ONE "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one \"}}]}\n\n"
#define EV_FIN "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define EV_USE "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\n"
#define EV_END "data: [DONE]\n\n"

static struct snap_settings tuned; /* what a test wants otherwise; zero: the fixture's */
static bool local = true, two = false;
static const char *host;
static struct buf text = {.max = 1u << 24}, script = {.max = 1u << 24}, events = {.max = 1u << 24};

/* ---- the world ---- */

static void
add_conn(
    struct snapshot_builder *b, uint32_t provider, const char *name, unsigned slot, int priority)
{
	struct snap_conn c = {
	    .provider = provider, .slot = slot, .priority = priority, .enabled = 1};
	char url[128];

	snprintf(url, sizeof url, "http://%s:%u/v1/chat/completions", host, up.port);
	c.id = c.name = fixture_str(b, name);
	c.id_hash = snapshot_hash(name, strlen(name));
	c.url[DIALECT_CHAT] = fixture_str(b, url);
	c.dialect = DIALECT_CHAT;
	c.auth_header = fixture_str(b, "Authorization: Bearer " SECRET);
	c.secret = fixture_str(b, SECRET);
	c.headers = fixture_str(b, "X-Own: 1\nOpenAI-Beta: own\n");
	assert_true(snapshot_add_conn(b, &c) >= 0);
	live_conn_bind(worker.live, slot, c.id_hash);
}

static struct snapshot_builder *
world(void)
{
	struct snapshot_builder *b = fixture_builder(1, true);
	struct snap_settings *s = snapshot_settings(b);
	struct snap_provider p = {.slot = 3, .local = local};
	int r;

	if (tuned.first_byte_timeout_ms != 0)
		s->first_byte_timeout_ms = tuned.first_byte_timeout_ms;
	if (tuned.idle_timeout_ms != 0)
		s->idle_timeout_ms = tuned.idle_timeout_ms;
	if (tuned.stream_buffer != 0)
		s->stream_buffer = tuned.stream_buffer;
	s->total_timeout_ms = tuned.total_timeout_ms;
	s->cooldown_base_ms = 60000;
	p.id = fixture_str(b, "acme");
	p.alias = fixture_str(b, "ac");
	p.name = fixture_str(b, "Acme");
	r = snapshot_add_provider(b, &p);
	assert_true(r >= 0);
	add_conn(b, (uint32_t)r, "first", 0, 1);
	if (two)
		add_conn(b, (uint32_t)r, "second", 1, 2);
	return b;
}

static int
setup(void **state)
{
	(void)state;
	tuned = (struct snap_settings){0};
	local = true;
	two = false;
	host = "127.0.0.1";
	return 0;
}

/* After the test has said what it wants otherwise. */
static void
begin(void)
{
	up_open();
	fixture_new(world);
	up_serve();
	worker.ring = ring_writer_new(&worker.me->ring, 1);
	worker.curl = curlio_new(worker.base, 8);
	assert_non_null(worker.ring);
	assert_non_null(worker.curl);
	fixture_serve();
}

/* Nothing is left anywhere. */
static void
end(void)
{
	assert_int_equal(exchange_count(), 0);
	for (int i = 0; i < XS_COUNT; i++)
		assert_int_equal(worker.me->exchanges[i], 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(live_conn_inflight(worker.live, i), 0);
	assert_int_equal(ring_open_count(worker.ring), 0);
	assert_int_equal(worker.me->open, 0);
	http_server_free(worker.http);
	worker.http = NULL;
	exchange_shutdown();
	curlio_free(worker.curl);
	up_close();
	fixture_free();
	ring_writer_free(worker.ring);
	buf_clear(&text);
	buf_clear(&script);
	buf_clear(&events);
}

static const char *
request(const char *headers, const char *body)
{
	buf_reset(&text);
	buf_addf(&text,
	    "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
	    "Content-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
	    headers, strlen(body), body);
	return buf_cstr(&text);
}

static const char *
ask(const char *headers, const char *body)
{
	return fixture_ask(request(headers, body));
}

#define ASK "{\"model\":\"acme/m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}"
#define ASK_STREAM \
	"{\"stream\":true,\"model\":\"acme/" \
	"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}"

static void
play_one(const char *bytes, enum up_then then)
{
	static struct up_answer a;

	a = (struct up_answer){bytes, 0, then};
	up_play(&a, 1);
}

static const char *
body_received(void)
{
	return fixture_body(up.request.data);
}

/* The i-th record from the oldest; it must be a sane one. */
static struct usage_record
record(uint64_t i)
{
	struct usage_record rec;
	int error;

	assert_true(ring_peek(&worker.me->ring, i, &rec, &error));
	assert_int_equal(error, 0);
	return rec;
}

/* Events as a chunked body, one chunk for each `step` bytes. */
static const char *
chunked(const char *sse, size_t step, bool whole)
{
	size_t n = strlen(sse);

	buf_reset(&script);
	buf_str(&script, SSE_HEAD);
	for (size_t at = 0; at < n; at += step) {
		size_t len = MIN(step, n - at);

		buf_addf(&script, "%zx\r\n", len);
		buf_add(&script, sse + at, len);
		buf_str(&script, "\r\n");
	}
	if (whole)
		buf_str(&script, "0\r\n\r\n");
	return buf_cstr(&script);
}

/* Takes the chunks out of a reply's body; asserts that they end properly. */
static const char *
dechunked(const char *reply)
{
	const char *p = fixture_body(reply);

	buf_reset(&events);
	for (;;) {
		char *after;
		size_t n = strtoul(p, &after, 16);

		assert_ptr_not_equal(p, after);
		assert_memory_equal(after, "\r\n", 2);
		p = after + 2;
		if (n == 0)
			break;
		buf_add(&events, p, n);
		p += n;
		assert_memory_equal(p, "\r\n", 2);
		p += 2;
	}
	assert_string_equal(p, "\r\n");
	return buf_cstr(&events);
}

static uint64_t
counter(enum live_counter c)
{
	return worker.me->counter[c];
}

/* ---- whole answers ---- */

static void
test_whole(void **state)
{
	struct usage_record rec;
	struct buf answer = BUF_INIT(65536);
	const char *reply;

	(void)state;
	begin();
	play_one(up_json(&answer, 200,
		     "Set-Cookie: a=b\r\nX-Request-Id: up-1\r\nx-ratelimit-limit-tokens: "
		     "9\r\nServer: s\r\n"
		     "Keep-Alive: x\r\n",
		     GOOD),
	    UP_KEEP);
	reply = ask(
	    "Authorization2: x\r\nCookie: c=d\r\ntraceparent: 00-a-b-01\r\nopenai-beta: client\r\n"
	    "openai-organization: org\r\nX-Request-Id: req-77\r\nAccept: */*\r\n",
	    " {\"model\" : \"acme/a/b\\u0041\",\"z\":1.0e+02, "
	    "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}");
	assert_int_equal(fixture_status(reply), 200);
	assert_string_equal(fixture_body(reply), GOOD);
	assert_string_equal(fixture_header(reply, "x-ratelimit-limit-tokens"), "9");
	assert_string_equal(fixture_header(reply, "X-Upstream-Request-Id"), "up-1");
	assert_string_equal(fixture_header(reply, "X-Request-Id"), "req-77");
	assert_string_equal(fixture_header(reply, "X-OmniRoute-Provider"), "ac");
	assert_string_equal(fixture_header(reply, "X-OmniRoute-Model"), "a/bA");
	assert_string_equal(fixture_header(reply, "X-OmniRoute-Tokens-In"), "11");
	assert_string_equal(fixture_header(reply, "X-OmniRoute-Tokens-Out"), "7");
	assert_null(fixture_header(reply, "Set-Cookie"));
	assert_null(fixture_header(reply, "Server"));
	assert_null(fixture_header(reply, "Keep-Alive"));

	assert_string_equal(body_received(),
	    " {\"model\" : \"a/bA\",\"z\":1.0e+02, "
	    "\"messages\":[{\"role\":\"user\",\"content\":\"q\"}]}");
	assert_string_equal(fixture_header(up.request.data, "Authorization"), "Bearer " SECRET);
	assert_string_equal(fixture_header(up.request.data, "traceparent"), "00-a-b-01");
	assert_string_equal(fixture_header(up.request.data, "X-Own"), "1");
	assert_string_equal(fixture_header(up.request.data, "openai-beta"), "own");
	assert_string_equal(fixture_header(up.request.data, "X-Request-Id"), "req-77");
	assert_string_equal(fixture_header(up.request.data, "Accept"), "application/json");
	assert_null(fixture_header(up.request.data, "Cookie"));
	assert_null(fixture_header(up.request.data, "Expect"));
	assert_null(fixture_header(up.request.data, "openai-organization"));
	assert_null(fixture_header(up.request.data, "Authorization2"));

	assert_int_equal(ring_pending(&worker.me->ring), 1);
	rec = record(0);
	assert_int_equal(rec.status, 200);
	assert_int_equal(rec.attempts, 1);
	assert_int_equal(rec.flags, 0);
	assert_int_equal(rec.error, FAIL_NONE);
	assert_int_equal(rec.tokens_in, 11);
	assert_int_equal(rec.tokens_out, 7);
	assert_int_equal(rec.tokens_cached, 3);
	assert_int_equal(rec.tokens_reasoning, 2);
	assert_int_equal(rec.bytes_out, strlen(GOOD));
	assert_int_equal(rec.provider_slot, 3);
	assert_string_equal(rec.request_id, "req-77");
	assert_string_equal(rec.connection, "first");
	assert_string_equal(rec.provider, "acme");
	assert_string_equal(rec.model_asked, "acme/a/bA");
	assert_string_equal(rec.model_used, "a/bA");
	assert_true(rec.start_wall_us != 0 && rec.end_wall_us >= rec.start_wall_us);
	assert_int_equal(counter(CTR_tokens_in), 11);
	assert_int_equal(counter(CTR_upstream_attempts), 1);
	assert_int_equal(worker.me->provider[3].requests, 1);
	assert_int_equal(worker.me->latency.count, 1);
	buf_clear(&answer);
	end();
}

/* Too large to be sent together with the head: read from where it lies. */
static void
test_large_body(void **state)
{
	struct buf body = BUF_INIT(1u << 20), answer = BUF_INIT(65536), want = BUF_INIT(1u << 20);

	(void)state;
	begin();
	play_one(up_json(&answer, 200, "", GOOD), UP_KEEP);
	buf_str(&body, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
	for (int i = 0; i < 50000; i++)
		buf_addf(&body, "%07d ", i);
	buf_add(&want, body.data, body.len);
	buf_str(&body, "\"}],\"model\":\"first/deep/m\",\"n\":1}");
	buf_str(&want, "\"}],\"model\":\"deep/m\",\"n\":1}");
	assert_int_equal(fixture_status(ask("", buf_cstr(&body))), 200);
	assert_string_equal(body_received(), buf_cstr(&want));
	assert_int_equal(record(0).bytes_in, body.len);
	buf_clear(&body);
	buf_clear(&want);
	buf_clear(&answer);
	end();
}

static void
test_estimate(void **state)
{
	struct buf answer = BUF_INIT(65536);
	struct usage_record rec;

	(void)state;
	begin();
	play_one(up_json(&answer, 200, "",
		     "{\"choices\":[{\"message\":{\"content\":\"123456789\"},\"finish_reason\":"
		     "\"stop\"}]}"),
	    UP_KEEP);
	assert_int_equal(fixture_status(ask("", ASK)), 200);
	rec = record(0);
	assert_int_equal(rec.flags, USAGE_ESTIMATED);
	assert_int_equal(rec.tokens_out, 3); /* 9 bytes */
	assert_int_equal(rec.tokens_in, 8);  /* [{"role":"user","content":"q"}] */
	buf_clear(&answer);
	end();
}

/* ---- what is refused without an upstream ---- */

static void
test_bad_requests(void **state)
{
	static const struct {
		const char *headers, *body;
		int status;
		const char *says;
	} table[] = {
	    {"", "{", 400, "Invalid JSON body"},
	    {"", "[]", 400, "must be an object"},
	    {"", "{\"messages\":[{}]}", 400, "Missing model"},
	    {"", "{\"model\":\"acme/m\"}", 400, "Missing messages"},
	    {"", "{\"model\":\"acme/\",\"messages\":[{}]}", 400, "Invalid model format"},
	    {"", "{\"model\":\"/m\",\"messages\":[{}]}", 400, "Invalid model format"},
	    {"", "{\"model\":\"nobody/m\",\"messages\":[{}]}", 404, "\"code\":\"model_not_found\""},
	    {"", "{\"model\":\"groq/m\",\"messages\":[{}]}", 400,
		"No credentials for provider: groq"},
	    {"", "{\"model\":\"m\",\"messages\":[{}]}", 404, "The model `m` does not exist"},
	    {"x-omniroute-connection: nope\r\n", ASK, 503, "No eligible connections"},
	};

	(void)state;
	begin();
	for (size_t i = 0; i < NELEM(table); i++) {
		const char *reply = ask(table[i].headers, table[i].body);

		assert_int_equal(fixture_status(reply), table[i].status);
		assert_non_null(strstr(fixture_body(reply), table[i].says));
		assert_non_null(strstr(fixture_body(reply), "{\"error\":{\"message\":\""));
	}
	assert_int_equal(ring_pending(&worker.me->ring), 0);
	assert_int_equal(counter(CTR_bad_requests), 4);
	assert_int_equal(up.accepted, 0);
	end();
}

static void
free_one(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	ring_cancel(worker.ring, *(int *)ctx);
}

/* Too long without a record is a refusal; one that becomes free in time is taken. */
static void
test_ring_full(void **state)
{
	const struct timeval soon = {.tv_usec = 20000};
	struct buf answer = BUF_INIT(65536);
	const char *reply;
	int first = -1, cell;

	(void)state;
	begin();
	play_one(up_json(&answer, 200, "", GOOD), UP_KEEP);
	while ((cell = ring_open(worker.ring)) >= 0)
		first = first < 0 ? cell : first;
	room_wait_ms = 30;
	reply = ask("", ASK);
	assert_int_equal(fixture_status(reply), 503);
	assert_string_equal(fixture_header(reply, "Retry-After"), "1");
	assert_int_equal(counter(CTR_refused_full), 1);
	assert_int_equal(up.accepted, 0);
	room_wait_ms = 10000;
	assert_int_equal(event_base_once(worker.base, -1, EV_TIMEOUT, free_one, &first, &soon), 0);
	assert_int_equal(fixture_status(ask("", ASK)), 200);
	assert_int_equal(counter(CTR_waited_full), 2);
	assert_int_equal(counter(CTR_refused_full), 1);
	for (uint32_t i = 0; i < RING_CELLS; i++)
		if ((worker.me->ring.cell[i].state & 3) == 1)
			ring_cancel(worker.ring, (int)i);
	atomic_store(&worker.me->open, 0);
	buf_clear(&answer);
	end();
}

/* ---- errors of the upstream ---- */

#define SHAPED \
	"{\"error\": {\"message\": \"no such thing\", \"type\":\"t\",\"param\":null,\"code\": " \
	"null}}"

static void
test_refusals(void **state)
{
	static const struct {
		int status;
		const char *headers, *body, *says;
		enum failure failure;
	} table[] = {
	    {400, "", SHAPED, SHAPED, FAIL_STATUS_4XX},
	    {404, "", SHAPED, SHAPED, FAIL_STATUS_4XX},
	    {422, "", "{\"detail\":\"odd\\nthing\"}",
		"{\"error\":{\"message\":\"[422]: odd "
		"thing\",\"type\":\"invalid_request_error\",\"code\":\"\"}}",
		FAIL_STATUS_4XX},
	    {413, "", "",
		"{\"error\":{\"message\":\"[413]: The upstream refused the request\","
		"\"type\":\"payload_too_large\",\"code\":\"PAYLOAD_TOO_LARGE\"}}",
		FAIL_STATUS_4XX},
	    {400, "", "{\"error\":{\"message\":\"key " SECRET " is bad\"}}",
		"{\"error\":{\"message\":\"key *** is bad\"}}", FAIL_STATUS_4XX},
	    {401, "", "<html>" SECRET "</html>",
		"{\"error\":{\"message\":\"[401]: "
		"<html>***</html>\",\"type\":\"authentication_error\","
		"\"code\":\"invalid_api_key\"}}",
		FAIL_STATUS_AUTH},
	};
	struct buf answer = BUF_INIT(65536);

	(void)state;
	begin();
	for (size_t i = 0; i < NELEM(table); i++) {
		const char *reply;

		play_one(
		    up_json(&answer, table[i].status, table[i].headers, table[i].body), UP_KEEP);
		reply = ask("", ASK);
		assert_int_equal(fixture_status(reply), table[i].status);
		assert_string_equal(fixture_body(reply), table[i].says);
		assert_int_equal(record(i).status, table[i].status);
		assert_int_equal(record(i).error, table[i].failure);
		assert_int_equal(record(i).tokens_in, 0);
		assert_int_equal(record(i).flags, 0);
	}
	buf_clear(&answer);
	end();
}

/* The upstream's wait is kept by everybody, and told to whoever comes meanwhile. */
static void
test_cooling(void **state)
{
	struct buf answer = BUF_INIT(65536);
	const char *reply;

	(void)state;
	begin();
	play_one(up_json(&answer, 429, "Retry-After: 30\r\n", SHAPED), UP_KEEP);
	reply = ask("", ASK);
	assert_int_equal(fixture_status(reply), 429);
	assert_string_equal(fixture_header(reply, "Retry-After"), "30");
	assert_string_equal(fixture_body(reply), SHAPED);
	reply = ask("", ASK);
	assert_int_equal(fixture_status(reply), 429);
	assert_string_equal(fixture_header(reply, "Retry-After"), "30");
	assert_non_null(strstr(fixture_body(reply),
	    "[acme/m] The upstream's rate limit is exceeded (reset after 0h 0m 30s)"));
	assert_int_equal(up.requests, 1);
	assert_int_equal(ring_pending(&worker.me->ring), 1);
	assert_int_equal(worker.live->conn[0].last_error >> 8 & 0xffff, 429);
	buf_clear(&answer);
	end();
}

static void
test_fallback(void **state)
{
	struct buf bad = BUF_INIT(65536), good = BUF_INIT(65536);
	struct up_answer answers[2];
	struct usage_record rec;
	const char *reply;

	(void)state;
	two = true;
	begin();
	answers[0] = (struct up_answer){up_json(&bad, 500, "", SHAPED), 0, UP_KEEP};
	answers[1] = (struct up_answer){up_json(&good, 200, "", GOOD), 0, UP_KEEP};
	up_play(answers, 2);
	reply = ask("", ASK);
	assert_int_equal(fixture_status(reply), 200);
	assert_string_equal(fixture_header(reply, "X-OmniRoute-Fallback-Attempts"), "1");
	rec = record(0);
	assert_int_equal(rec.attempts, 2);
	assert_string_equal(rec.connection, "second");
	assert_int_equal(rec.conn_slot, 1);
	assert_int_equal(rec.error, FAIL_NONE);
	assert_int_equal(counter(CTR_fallbacks), 1);
	assert_int_equal(counter(CTR_upstream_errors), 1);
	assert_false(live_conn_available(worker.live, 0, clock_now_ns(), NULL));
	assert_true(live_conn_available(worker.live, 1, clock_now_ns(), NULL));
	/* The first one cools down: the second is asked at once. */
	assert_int_equal(fixture_status(ask("", ASK)), 200);
	assert_int_equal(up.requests, 3);
	/* A forced one that cools down is not gone around. */
	assert_int_equal(fixture_status(ask("x-omniroute-connection: first\r\n", ASK)), 503);
	assert_int_equal(up.requests, 3);
	buf_clear(&bad);
	buf_clear(&good);
	end();
}

static void
test_all_failed(void **state)
{
	struct buf bad = BUF_INIT(65536);
	struct up_answer answers[2] = {{NULL, 0, UP_RESET}};
	const char *reply;

	(void)state;
	two = true;
	begin();
	answers[1] = (struct up_answer){up_json(&bad, 503, "", SHAPED), 0, UP_KEEP};
	up_play(answers, 2);
	reply = ask("", ASK);
	assert_int_equal(fixture_status(reply), 503);
	assert_string_equal(fixture_body(reply),
	    "{\"error\": {\"attempts\":[{\"connection\":\"first\",\"failure\":\"reset\"},"
	    "{\"connection\":\"second\",\"failure\":\"status_5xx\",\"status\":503}],"
	    "\"message\": \"no such thing\", \"type\":\"t\",\"param\":null,\"code\": null}}");
	assert_string_equal(fixture_header(reply, "Retry-After"), "60");
	assert_int_equal(record(0).attempts, 2);
	assert_int_equal(record(0).error, FAIL_STATUS_5XX);
	buf_clear(&bad);
	end();
}

/* Faults below the dialect. */
static void
test_faults(void **state)
{
	static const struct {
		const char *bytes;
		enum up_then then;
		int status;
		enum failure failure;
	} table[] = {
	    {NULL, UP_CLOSE, 502, FAIL_RESET},
	    {"no http at all\r\n\r\n", UP_CLOSE, 502, FAIL_MALFORMED},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":", UP_CLOSE, 502, FAIL_CUT},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{\"a\":", UP_CLOSE, 502, FAIL_NOT_JSON},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", UP_CLOSE, 502, FAIL_NOT_JSON},
	    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", UP_CLOSE, 502,
		FAIL_CUT},
	    {"HTTP/1.1 302 Found\r\nLocation: /v2\r\nContent-Length: 2\r\n\r\n{}", UP_CLOSE, 502,
		FAIL_REDIRECT},
	    {"HTTP/1.1 200 OK\r\nContent-Length: "
	     "40\r\n\r\n{\"error\":{\"code\":429,\"message\":\"slow\"}}  ",
		UP_CLOSE, 429, FAIL_STATUS_429},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		const char *reply;

		begin();
		play_one(table[i].bytes, table[i].then);
		reply = ask("", ASK);
		assert_int_equal(record(0).error, table[i].failure);
		assert_int_equal(fixture_status(reply), table[i].status);
		assert_non_null(strstr(fixture_body(reply), "{\"error\":{"));
		assert_int_equal(up.requests, 1);
		end();
	}
}

static void
test_too_large(void **state)
{
	struct buf answer = BUF_INIT(1u << 22);

	(void)state;
	begin();
	buf_str(&answer, "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n\"");
	for (int i = 0; i < 1999998; i++)
		buf_add(&answer, "x", 1);
	buf_str(&answer, "\"");
	play_one(buf_cstr(&answer), UP_KEEP);
	assert_int_equal(fixture_status(ask("", ASK)), 502);
	assert_int_equal(record(0).error, FAIL_TOO_LARGE);
	buf_clear(&answer);
	end();
}

static void
test_silence(void **state)
{
	(void)state;
	tuned.first_byte_timeout_ms = 50;
	begin();
	play_one(NULL, UP_KEEP);
	assert_int_equal(fixture_status(ask("", ASK)), 504);
	assert_int_equal(record(0).error, FAIL_FIRST_BYTE_TIMEOUT);
	UNTIL(up.closed == 1);
	end();
	tuned.first_byte_timeout_ms = 0;
	tuned.total_timeout_ms = 50;
	begin();
	play_one(NULL, UP_KEEP);
	assert_int_equal(fixture_status(ask("", ASK)), 504);
	assert_int_equal(record(0).error, FAIL_TOTAL_TIMEOUT);
	end();
}

static void
test_addresses(void **state)
{
	static const struct {
		const char *host;
		bool local;
		enum failure failure;
	} table[] = {
	    {"127.0.0.1", false, FAIL_FORBIDDEN_ADDRESS},
	    {"localhost", false, FAIL_FORBIDDEN_ADDRESS},
	    {"169.254.169.254", true, FAIL_FORBIDDEN_ADDRESS},
	    {"0.0.0.0", true, FAIL_FORBIDDEN_ADDRESS},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		host = table[i].host;
		local = table[i].local;
		begin();
		assert_int_equal(fixture_status(ask("", ASK)), 502);
		assert_int_equal(record(0).error, table[i].failure);
		assert_int_equal(up.accepted, 0);
		end();
	}
}

/* ---- streams ---- */

static void
test_stream(void **state)
{
	static const char sse[] =
	    ": hello\r\n\r\n" EV_ROLE "event: message\r\nid: 1\r\ndata: {\"choices\":"
	    "[{\"delta\":{\"content\":\"two\"}}]}\r\n\r\n" EV_ONE EV_FIN EV_USE EV_END ": bye\n";
	static const size_t steps[] = {1, 7, 100000};
	struct usage_record rec;
	const char *reply;

	(void)state;
	begin();
	for (size_t i = 0; i < NELEM(steps); i++) {
		play_one(chunked(sse, steps[i], true), UP_KEEP);
		reply = ask("", ASK_STREAM);
		assert_int_equal(fixture_status(reply), 200);
		assert_string_equal(dechunked(reply), sse);
		assert_string_equal(fixture_header(reply, "Content-Type"), "text/event-stream");
		assert_string_equal(fixture_header(reply, "X-Accel-Buffering"), "no");
		assert_string_equal(
		    fixture_header(reply, "Cache-Control"), "no-cache, no-transform");
		assert_string_equal(fixture_header(up.request.data, "Accept"), "text/event-stream");
		rec = record(i);
		assert_int_equal(rec.flags, USAGE_STREAM);
		assert_int_equal(rec.status, 200);
		assert_int_equal(rec.tokens_in, 5);
		assert_int_equal(rec.tokens_out, 6);
		assert_int_equal(rec.bytes_out, strlen(sse));
		assert_int_equal(rec.error, FAIL_NONE);
		assert_true(rec.ttft_us > 0);
	}
	assert_int_equal(counter(CTR_streams), 3);
	assert_int_equal(counter(CTR_stream_errors), 0);
	assert_int_equal(worker.me->ttft.count, 3);
	assert_int_equal(up.accepted, 1); /* the connection is used again */
	end();
}

static void
test_stream_wish(void **state)
{
	static const struct {
		const char *accept, *body, *sent;
		bool streamed;
	} table[] = {
	    {"Accept: text/event-stream\r\n", "{\"model\":\"acme/m\",\"messages\":[1]}",
		"{\"model\":\"m\",\"stream\":true,\"messages\":[1]}", true},
	    {"Accept: application/json\r\nX-A: 1\r\naccept: text/event-stream;q=0.5\r\n",
		"{\"model\":\"acme/m\",\"messages\":[1]}",
		"{\"model\":\"m\",\"stream\":true,\"messages\":[1]}", true},
	    {"Accept: application/json\r\nAccept: text/event-stream;q=0\r\n",
		"{\"model\":\"acme/m\",\"messages\":[1]}", "{\"model\":\"m\",\"messages\":[1]}",
		false},
	    {"Accept: */*\r\n", "{\"model\":\"acme/m\",\"messages\":[1]}",
		"{\"model\":\"m\",\"messages\":[1]}", false},
	    {"Accept: text/event-stream\r\n",
		"{\"model\":\"acme/m\",\"stream\":false,\"messages\":[1]}",
		"{\"model\":\"m\",\"stream\":false,\"messages\":[1]}", false},
	    {"Accept: text/event-stream\r\n",
		"{\"model\":\"acme/m\",\"stream\":null,\"messages\":[1]}",
		"{\"model\":\"m\",\"stream\":null,\"messages\":[1]}", false},
	};
	struct buf answer = BUF_INIT(65536);

	(void)state;
	begin();
	for (size_t i = 0; i < NELEM(table); i++) {
		const char *reply;

		play_one(table[i].streamed ? chunked(EV_ONE EV_FIN EV_END, 100000, true)
					   : up_json(&answer, 200, "", GOOD),
		    UP_KEEP);
		reply = ask(table[i].accept, table[i].body);
		assert_int_equal(fixture_status(reply), 200);
		assert_string_equal(body_received(), table[i].sent);
		assert_int_equal((record(i).flags & USAGE_STREAM) != 0, table[i].streamed);
	}
	buf_clear(&answer);
	end();
}

/* How a stream can end: what the client sees of it. */
static void
test_stream_ends(void **state)
{
	static const char cut[] =
	    "data: {\"error\":{\"message\":\"The upstream's answer broke off before its end\","
	    "\"type\":\"server_error\",\"code\":\"bad_gateway\"}}\n\n";
	static const struct {
		const char *sse;
		bool whole; /* as HTTP */
		enum up_then then;
		const char *passed;
		bool error;
		enum failure failure;
	} table[] = {
	    {EV_ONE EV_FIN, true, UP_KEEP, EV_ONE EV_FIN, false, FAIL_NONE},
	    {EV_ONE EV_FIN "data: [DONE]", true, UP_KEEP, EV_ONE EV_FIN "data: [DONE]", false,
		FAIL_NONE},
	    {EV_ONE EV_FIN EV_END, false, UP_CLOSE, EV_ONE EV_FIN EV_END, false, FAIL_NONE},
	    {EV_ONE, true, UP_KEEP, EV_ONE, true, FAIL_CUT},
	    {EV_ONE, false, UP_CLOSE, EV_ONE, true, FAIL_CUT},
	    {EV_ONE, false, UP_RESET, EV_ONE, true, FAIL_CUT},
	    {EV_ONE "data: {\"choi", true, UP_KEEP, EV_ONE, true, FAIL_CUT},
	    {EV_ONE EV_FIN, false, UP_CLOSE, EV_ONE EV_FIN, true, FAIL_CUT},
	    {EV_ONE "data: {\"error\":{\"message\":\"x\"}}\n\n", true, UP_KEEP,
		EV_ONE "data: {\"error\":{\"message\":\"x\"}}\n\n", false, FAIL_CUT},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		const char *got;
		size_t n = strlen(table[i].passed);
		bool bad = table[i].failure != FAIL_NONE;

		begin();
		play_one(chunked(table[i].sse, 100000, table[i].whole), table[i].then);
		got = dechunked(ask("", ASK_STREAM));
		assert_true(strlen(got) >= n);
		assert_memory_equal(got, table[i].passed, n);
		assert_string_equal(got + n, table[i].error ? cut : "");
		assert_int_equal(record(0).error, table[i].failure);
		assert_int_equal((record(0).flags & USAGE_CUT) != 0, bad);
		assert_int_equal(record(0).status, 200);
		assert_int_equal(counter(CTR_stream_errors), bad);
		end();
	}
}

/* Nothing useful came: the next target is asked, and if there is none the client gets an error with
 * a status. */
static void
test_stream_unbegun(void **state)
{
	static const struct {
		const char *sse;
		int status;
		enum failure failure;
		const char *says;
	} table[] = {
	    {EV_ROLE EV_END, 502, FAIL_EMPTY, "\"code\":\"STREAM_READINESS_TIMEOUT\""},
	    {"", 502, FAIL_EMPTY, "Stream ended before producing useful content"},
	    {": ping\n\n", 502, FAIL_EMPTY, "Stream ended before producing useful content"},
	    {EV_ROLE "data: {\"error\":{\"code\":429,\"message\":\"later\"}}\n\n", 429,
		FAIL_STATUS_429, "later"},
	};
	struct up_answer answers[2] = {{NULL, 0, UP_KEEP}, {NULL, 0, UP_KEEP}};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		const char *reply;
		char *first;

		two = false;
		begin();
		play_one(chunked(table[i].sse, 100000, true), UP_KEEP);
		reply = ask("", ASK_STREAM);
		assert_int_equal(fixture_status(reply), table[i].status);
		assert_non_null(strstr(fixture_body(reply), table[i].says));
		assert_int_equal(record(0).error, table[i].failure);
		end();

		two = true;
		begin();
		first = strdup(chunked(table[i].sse, 100000, true));
		answers[0].bytes = first;
		answers[1].bytes = chunked(EV_ONE EV_FIN EV_END, 100000, true);
		up_play(answers, 2);
		assert_string_equal(dechunked(ask("", ASK_STREAM)), EV_ONE EV_FIN EV_END);
		assert_int_equal(record(0).attempts, 2);
		free(first);
		end();
	}
}

static void
test_not_a_stream(void **state)
{
	struct buf answer = BUF_INIT(65536);

	(void)state;
	begin();
	play_one(up_json(&answer, 200, "", GOOD), UP_KEEP);
	assert_int_equal(fixture_status(ask("", ASK_STREAM)), 502);
	assert_int_equal(record(0).error, FAIL_NOT_SSE);
	end();
	begin();
	play_one(up_json(&answer, 200, "", "{\"error\":{\"code\":\"x\",\"message\":\"broken\"}}"),
	    UP_KEEP);
	assert_int_equal(fixture_status(ask("", ASK_STREAM)), 502);
	assert_int_equal(record(0).error, FAIL_STATUS_5XX);
	buf_clear(&answer);
	end();
}

/* Streamed although nobody asked: one JSON object all the same, or a clear error. */
static void
test_unasked(void **state)
{
	static const char joined[] =
	    "{\"id\":\"c1\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{"
	    "\"role\":\"assistant\",\"content\":\"one "
	    "two\",\"tool_calls\":[{\"id\":\"t1\",\"type\":"
	    "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]},"
	    "\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":5,\"completion_"
	    "tokens\":6}}";
	const char *reply;

	(void)state;
	begin();
	play_one(
	    chunked(
		"data: "
		"{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,"
		"\"delta\":{\"role\":\"assistant\",\"content\":\"one "
		"\"},\"finish_reason\":null}]}\n\n"
		"data: "
		"{\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"two\"}}]}\n\n"
		"data: "
		"{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t1\","
		"\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\"\"}}]"
		"}}]}\n\n"
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
		"\"function\":{\"arguments\":\":1}\"}}]},\"finish_reason\":\"tool_calls\"}]}"
		"\n\n" EV_USE EV_END,
		7, true),
	    UP_KEEP);
	reply = ask("", ASK);
	assert_int_equal(fixture_status(reply), 200);
	assert_string_equal(fixture_body(reply), joined);
	assert_string_equal(fixture_header(reply, "Content-Type"), "application/json");
	assert_int_equal(record(0).tokens_out, 6);
	assert_int_equal(record(0).flags, 0);
	play_one(chunked(EV_ONE, 100000, true), UP_KEEP);
	reply = ask("", ASK);
	assert_int_equal(fixture_status(reply), 502);
	assert_non_null(strstr(reply, "Invalid SSE response for non-streaming request"));
	assert_int_equal(record(1).error, FAIL_UNASKED_SSE);
	end();
}

static void
test_stream_silence(void **state)
{
	const char *got;

	(void)state;
	tuned.idle_timeout_ms = 50;
	begin();
	play_one(chunked(EV_ONE, 100000, false), UP_KEEP);
	got = dechunked(ask("", ASK_STREAM));
	assert_non_null(strstr(got, "fell silent"));
	assert_null(strstr(got, "[DONE]"));
	assert_int_equal(record(0).error, FAIL_IDLE_TIMEOUT);
	UNTIL(up.closed == 1);
	end();
}

/* The upstream stays silent behind [DONE]: the client does not wait for it for ever. */
static void
test_silence_behind_done(void **state)
{
	(void)state;
	begin();
	play_one(chunked(EV_ONE EV_FIN EV_END, 100000, false), UP_KEEP);
	assert_string_equal(dechunked(ask("", ASK_STREAM)), EV_ONE EV_FIN EV_END);
	assert_int_equal(record(0).error, FAIL_NONE);
	assert_int_equal(record(0).flags, USAGE_STREAM | USAGE_ESTIMATED);
	end();
}

/* ---- clients that are slow, or leave ---- */

static int
client_connect(int rcvbuf)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_port = htons(fx.port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (rcvbuf != 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static void
client_send(int fd, const char *p)
{
	assert_int_equal(send(fd, p, strlen(p), 0), strlen(p));
}

static void
test_client_leaves(void **state)
{
	char seen[4096];
	uint64_t left;
	int fd;

	(void)state;
	begin();
	play_one(chunked(EV_ONE, 100000, false), UP_KEEP);
	fd = client_connect(0);
	client_send(fd, request("", ASK_STREAM));
	UNTIL(recv(fd, seen, sizeof seen, MSG_DONTWAIT) > 0);
	assert_int_equal(worker.me->exchanges[XS_RELAY], 1);
	assert_int_equal(live_conn_inflight(worker.live, 0), 1);
	assert_int_equal(ring_pending(&worker.me->ring), 0);
	left = clock_now_ns();
	close(fd);
	UNTIL(up.closed == 1);
	assert_true(clock_now_ns() - left < 100 * NS_PER_MS);
	assert_int_equal(record(0).status, 499);
	assert_int_equal(record(0).flags, USAGE_STREAM | USAGE_ABORTED | USAGE_ESTIMATED);
	assert_int_equal(record(0).tokens_out, 1);
	assert_true(live_conn_available(worker.live, 0, clock_now_ns(), NULL));
	end();

	/* Before anything has come back. */
	begin();
	play_one(NULL, UP_KEEP);
	fd = client_connect(0);
	client_send(fd, request("", ASK));
	UNTIL(up.requests == 1);
	assert_int_equal(worker.me->exchanges[XS_CONNECT], 1);
	close(fd);
	UNTIL(up.closed == 1);
	assert_int_equal(record(0).status, 499);
	assert_int_equal(record(0).flags, USAGE_ABORTED);
	assert_int_equal(record(0).tokens_in, 0);
	end();
}

#define FLOOD 40000 /* events */

static void
test_slow_client(void **state)
{
	struct buf flood = BUF_INIT(1u << 24), got = BUF_INIT(1u << 24);
	size_t most = 0;
	int fd;

	(void)state;
	tuned.stream_buffer = 65536;
	begin();
	for (int i = 0; i < FLOOD; i++)
		buf_addf(&flood,
		    "data: "
		    "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%07d\"},\"finish_reason\":"
		    "\"%s\"}]}\n\n",
		    i, i == FLOOD - 1 ? "stop" : "");
	buf_str(&flood, EV_END);
	play_one(chunked(buf_cstr(&flood), 5000, true), UP_KEEP);
	fd = client_connect(4096);
	client_send(fd, request("", ASK_STREAM));
	UNTIL(counter(CTR_pauses) > 0);
	for (int i = 0; i < 20; i++)
		fixture_turn();
	/* Most of it still waits at the upstream. */
	most = evbuffer_get_length(bufferevent_get_output(up.last));
	assert_true(most > 0);
	assert_int_equal(ring_pending(&worker.me->ring), 0);
	for (;;) {
		char *room = buf_reserve(&got, 65536);
		ssize_t n;

		assert_non_null(room);
		n = recv(fd, room, 65536, MSG_DONTWAIT);
		if (n == 0)
			break;
		got.len += n > 0 ? (size_t)n : 0;
		if (n < 0)
			fixture_turn();
	}
	close(fd);
	assert_string_equal(dechunked(buf_cstr(&got)), flood.data);
	assert_int_equal(record(0).status, 200);
	assert_int_equal(record(0).error, FAIL_NONE);
	buf_clear(&flood);
	buf_clear(&got);
	end();
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_whole, setup),
	    cmocka_unit_test_setup(test_large_body, setup),
	    cmocka_unit_test_setup(test_estimate, setup),
	    cmocka_unit_test_setup(test_bad_requests, setup),
	    cmocka_unit_test_setup(test_ring_full, setup),
	    cmocka_unit_test_setup(test_refusals, setup),
	    cmocka_unit_test_setup(test_cooling, setup),
	    cmocka_unit_test_setup(test_fallback, setup),
	    cmocka_unit_test_setup(test_all_failed, setup),
	    cmocka_unit_test_setup(test_faults, setup),
	    cmocka_unit_test_setup(test_too_large, setup),
	    cmocka_unit_test_setup(test_silence, setup),
	    cmocka_unit_test_setup(test_addresses, setup),
	    cmocka_unit_test_setup(test_stream, setup),
	    cmocka_unit_test_setup(test_stream_wish, setup),
	    cmocka_unit_test_setup(test_stream_ends, setup),
	    cmocka_unit_test_setup(test_stream_unbegun, setup),
	    cmocka_unit_test_setup(test_not_a_stream, setup),
	    cmocka_unit_test_setup(test_unasked, setup),
	    cmocka_unit_test_setup(test_stream_silence, setup),
	    cmocka_unit_test_setup(test_silence_behind_done, setup),
	    cmocka_unit_test_setup(test_client_leaves, setup),
	    cmocka_unit_test_setup(test_slow_client, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
