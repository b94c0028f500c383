/*
 * What comes back from an upstream, and what the client is given of it. One row of `kinds` for
 * each enum answer: how a piece is taken, and what the end means.
 *
 * Byte for byte: a whole answer is passed on as it came once it is known to be JSON; of a stream
 * every whole event is. The numbers that a whole answer carries in its head
 * (X-OmniRoute-Tokens-In, …) are not said in a stream: they are known at its end only, and comment
 * lines of ours in it would make it another stream than the upstream's.
 */
#include <stdio.h>
#include <string.h>

#include "proto/scan.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/snapshot.h"
#include "worker/exchange_own.h"
#include "worker/refusal.h"
#include "worker/unasked.h"
#include "worker/worker.h"

#define RESERVE_MAX (256u << 10) /* an announced length is believed so far */
#define UNASKED_MAX (1u << 20)   /* joining holds up the loop for some 20 ms then */
#define AFTER_DONE_MS 1000       /* an upstream may take so long to end its answer behind [DONE] */

static void
count(enum live_counter c)
{
	live_bump(&worker.me->counter[c], 1);
}

static const struct snap_settings *
settings(const struct exchange *x)
{
	return &snapshot_head(x->snap)->settings;
}

static struct span
collected(const struct exchange *x)
{
	return (struct span){x->body.data, x->body.len};
}

void
answer_reset(struct exchange *x)
{
	stream_close(&x->stream);
	buf_clear(&x->body);
	x->answer = ANSWER_UNKNOWN;
	x->failure = FAIL_NONE;
	x->refused = 0;
	x->blocked = false;
}

/* ---- what the client is told beside the answer ---- */

static void
say_number(struct http_req *r, const char *name, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)n);
	http_header(r, name, text);
}

static void
say_source(struct exchange *x)
{
	const struct snap_provider *p = x->route.provider;
	struct span alias = snapshot_span(x->snap, p->alias);

	headers_send(x->req, &x->head);
	http_header_span(
	    x->req, "X-OmniRoute-Provider", alias.n > 0 ? alias : snapshot_span(x->snap, p->id));
	http_header(x->req, "X-OmniRoute-Model", x->route.model);
	if (x->attempts > 0)
		say_number(x->req, "X-OmniRoute-Fallback-Attempts", x->attempts);
}

/* The upstream's own content type if it is what we say it is: it may carry a charset. */
static const char *
content_type(const struct exchange *x, const char *type)
{
	return headers_media_type(x->head.content_type, type) ? x->head.content_type.p : type;
}

/* ---- errors ---- */

/* What was tried: [{"connection":"a","failure":"status_429","status":429},…]. NULL: one attempt,
 * which the error itself tells. */
static char *
attempts_json(struct exchange *x)
{
	struct buf b = BUF_INIT(16384);
	char *copy = NULL;

	if (x->attempts < 2)
		return NULL;
	for (unsigned i = 0; i < x->attempts; i++) {
		const struct attempt *a = &x->attempt[i];
		struct span name = route_conn_name(&x->route, a->conn);

		buf_str(&b, i == 0 ? "[{\"connection\":\"" : ",{\"connection\":\"");
		scan_escape(&b, name.p, name.n);
		buf_addf(&b, "\",\"failure\":\"%s\"", failure_info(a->failure)->label);
		if (a->status != 0)
			buf_addf(&b, ",\"status\":%d", a->status);
		buf_str(&b, "}");
	}
	buf_str(&b, "]");
	if (buf_ok(&b))
		copy = arena_strndup(x->arena, b.data, b.len);
	buf_clear(&b);
	return copy;
}

/* A failure that the gateway has found itself: its sentence, as an error body of an upstream's
 * would be. */
static int
own_error(struct buf *b, enum failure f)
{
	const struct failure_info *info = failure_info(f);
	char message[256];

	switch (f) {
	case FAIL_EMPTY:
		return chat_error_body(
		    b, info->status, "stream_timeout", "STREAM_READINESS_TIMEOUT", info->message);
	case FAIL_NOT_JSON:
	case FAIL_UNASKED_SSE:
	case FAIL_INTERNAL:
		return chat_error_body(b, info->status, NULL, NULL, info->message);
	default:
		snprintf(message, sizeof message, "[%d]: %s", info->status, info->message);
		return chat_error_body(b, info->status, NULL, NULL, message);
	}
}

/* Every 429 and 503 that knows a time says it. */
static void
say_retry(struct exchange *x, int status)
{
	uint64_t now = clock_now_ns(), until;

	if ((status != 429 && status != 503) || headers_get(&x->head, "retry-after").p != NULL)
		return;
	if (route_first_free(&x->route, worker.live, now, &until) != NULL)
		say_number(x->req, "Retry-After", route_wait_s(until, now));
}

void
answer_error(struct exchange *x)
{
	const struct attempt *last = &x->attempt[x->attempts - 1];
	struct buf own = BUF_INIT(4096), out = BUF_INIT(4 * REFUSAL_MAX);
	int status = failure_info(last->failure)->status, r = 0;
	struct span body = collected(x), secret = {NULL, 0};

	if (last->conn != &route_builtin)
		secret = snapshot_span(x->snap, last->conn->secret);
	if (status == 0) {
		status = last->status;
		headers_send(x->req, &x->head);
	} else if ((r = own_error(&own, last->failure)) == 0) {
		body = (struct span){own.data, own.len};
	}
	say_retry(x, status);
	if (r == 0)
		r = refusal_body(&out, status, body, secret, attempts_json(x));
	x->bytes_out = r == 0 ? out.len : 0;
	exchange_end(x, r == 0 ? status : 500, 0, NULL, NULL);
	if (r == 0)
		http_reply(x->req, status, "application/json", out.data, out.len);
	else
		http_error(x->req, 500, NULL, NULL);
	buf_clear(&own);
	buf_clear(&out);
}

/* ---- an answer that is collected ---- */

static enum relay_verdict
collect(struct exchange *x, const char *p, size_t n, size_t max)
{
	bool reserved = true;

	if (n > max - x->body.len) {
		x->failure = FAIL_TOO_LARGE;
		return RELAY_STOP;
	}
	x->body.max = max;
	if (x->body.len == 0 && x->head.length > n) /* no growing, where it can be foreseen */
		reserved =
		    buf_reserve(&x->body, MIN(MIN(x->head.length, RESERVE_MAX), max)) != NULL;
	if (reserved && buf_add(&x->body, p, n) == 0)
		return RELAY_GO;
	x->failure = FAIL_INTERNAL;
	return RELAY_STOP;
}

static enum relay_verdict
take_whole(struct exchange *x, const char *p, size_t n)
{
	return collect(x, p, n, settings(x)->max_response_size);
}

static enum relay_verdict
take_unasked(struct exchange *x, const char *p, size_t n)
{
	return collect(x, p, n, MIN(settings(x)->max_response_size, UNASKED_MAX));
}

/* The beginning of an error text is enough. */
static enum relay_verdict
take_refusal(struct exchange *x, const char *p, size_t n)
{
	enum relay_verdict v = collect(x, p, MIN(n, REFUSAL_MAX - x->body.len), REFUSAL_MAX);

	return x->body.len == REFUSAL_MAX ? RELAY_STOP : v;
}

static void
end_refusal(struct exchange *x)
{
	x->refused = x->head.status;
	exchange_attempt_failed(x, refusal_class(x->refused));
}

/* A 2xx that is none: {"error":…} inside; else `f`. */
static void
end_not_good(struct exchange *x, enum failure f)
{
	struct span body = collected(x);

	if (scan_check(body.p, body.n, NULL) == 0)
		x->refused = refusal_told(body);
	exchange_attempt_failed(x, x->refused != 0 ? refusal_class(x->refused) : f);
}

static void
end_odd(struct exchange *x)
{
	end_not_good(x, FAIL_NOT_SSE);
}

static void
end_whole(struct exchange *x)
{
	struct http_req *r = x->req;
	struct span body = collected(x);
	struct chat_stream st = {0};
	struct chat_usage booked = {0};

	if (!chat_chunk(&st, body)) {
		exchange_attempt_failed(x, FAIL_NOT_JSON);
		return;
	}
	if (st.error && !st.useful && !st.finished) {
		end_not_good(x, FAIL_STATUS_5XX);
		return;
	}
	exchange_set_state(x, XS_RELAY);
	exchange_attempt_ended(x, FAIL_NONE);
	say_source(x);
	say_number(r, "X-OmniRoute-Latency-Ms", (clock_now_ns() - r->start_ns) / NS_PER_MS);
	account_first_byte(&x->account);
	x->bytes_out = body.n;
	exchange_end(x, x->head.status, 0, &st, &booked);
	say_number(r, "X-OmniRoute-Tokens-In", booked.in);
	say_number(r, "X-OmniRoute-Tokens-Out", booked.out);
	http_reply(r, x->head.status, content_type(x, "application/json"), body.p, body.n);
}

/* Events although none were asked for: put together, they are the answer that was. */
static void
end_unasked(struct exchange *x)
{
	struct buf whole = BUF_INIT(settings(x)->max_response_size);
	int r = unasked_join(x->arena, collected(x), settings(x)->max_event_size, &whole);

	if (r != 0) {
		buf_clear(&whole);
		exchange_attempt_failed(x, FAIL_UNASKED_SSE);
		return;
	}
	buf_clear(&x->body);
	x->body = whole;
	end_whole(x);
}

/* ---- a stream ---- */

static void
begin_stream(struct exchange *x)
{
	exchange_set_state(x, XS_RELAY);
	count(CTR_streams);
	say_source(x);
	http_header(x->req, "Cache-Control", "no-cache, no-transform");
	http_header(x->req, "X-Accel-Buffering", "no");
	account_first_byte(&x->account);
	http_start(x->req, 200, content_type(x, "text/event-stream"), -1);
}

static void
forward(struct exchange *x, struct span out)
{
	if (out.n == 0)
		return;
	if (x->state == XS_CONNECT)
		begin_stream(x);
	x->bytes_out += out.n;
	x->blocked = http_write(x->req, out.p, out.n);
}

static enum relay_verdict
take_stream(struct exchange *x, const char *p, size_t n)
{
	struct span out;
	int r;

	if (x->blocked) {
		count(CTR_pauses);
		return RELAY_PAUSE;
	}
	r = stream_take(&x->stream, p, n, &out);
	forward(x, out); /* what was whole before it went wrong */
	if (x->state == XS_DONE)
		return RELAY_STOP;
	if (r != 0) {
		x->failure = r == E_TOO_LONG ? FAIL_TOO_LARGE : FAIL_INTERNAL;
		return RELAY_STOP;
	}
	if (stream_failed(&x->stream))
		return RELAY_STOP;
	if (x->stream.st.done && x->relay != NULL)
		relay_linger(x->relay, AFTER_DONE_MS);
	return RELAY_GO;
}

/* The upstream's stream said that it has failed before it said anything else. */
static void
end_failed_stream(struct exchange *x)
{
	struct span error = x->stream.error;

	buf_reset(&x->body);
	x->body.max = STREAM_ERROR_MAX;
	if (buf_add(&x->body, error.p, error.n) != 0)
		x->body.len = 0;
	x->refused = error.p != NULL ? refusal_told(error) : 502;
	exchange_attempt_failed(x, refusal_class(x->refused));
}

/* Nothing was sent yet, and nothing more comes. */
static void
end_unbegun_stream(struct exchange *x)
{
	if (stream_failed(&x->stream))
		end_failed_stream(x);
	else if (x->stream.st.done || (!x->stream.st.useful && !x->stream.st.finished))
		exchange_attempt_failed(x, FAIL_EMPTY);
	else
		exchange_attempt_failed(x, FAIL_CUT);
}

/* An end without [DONE] or finish_reason must not look like one: an error event stands there, and
 * no [DONE]. */
static void
end_broken_stream(struct exchange *x, enum failure f)
{
	const struct failure_info *info = failure_info(f);
	struct buf event = BUF_INIT(4096);
	bool said = x->stream.st.error; /* by the upstream, and it was passed on */

	if (!said && chat_error_event(&event, info->status, NULL, NULL, info->message) == 0)
		x->bytes_out += event.len;
	count(CTR_stream_errors);
	exchange_attempt_ended(x, f);
	exchange_end(x, x->head.status, USAGE_CUT, &x->stream.st, NULL);
	if (event.len > 0)
		http_write(x->req, event.data, event.len);
	http_end(x->req);
	buf_clear(&event);
}

static void
end_stream(struct exchange *x, enum failure f)
{
	struct span out = {NULL, 0};

	if (f == FAIL_NONE && stream_end(&x->stream, &out) != 0)
		f = FAIL_INTERNAL;
	if (x->state == XS_CONNECT && out.n == 0) {
		if (f == FAIL_NONE)
			end_unbegun_stream(x);
		else
			exchange_attempt_failed(x, f);
		return;
	}
	forward(x, out);
	if (x->state == XS_DONE)
		return;
	if (!stream_whole(&x->stream)) {
		end_broken_stream(x, f == FAIL_NONE ? FAIL_CUT : f);
		return;
	}
	if (x->stream.st.error)
		count(CTR_stream_errors);
	exchange_attempt_ended(x, x->stream.st.error ? FAIL_STATUS_4XX : FAIL_NONE);
	exchange_end(x, x->head.status, 0, &x->stream.st, NULL);
	http_end(x->req);
}

/* ---- the table ---- */

static void
end_nothing(struct exchange *x)
{
	if (x->head.status >= 300)
		end_refusal(x);
	else
		exchange_attempt_failed(x, x->streamed ? FAIL_EMPTY : FAIL_NOT_JSON);
}

static const struct kind {
	enum relay_verdict (*take)(struct exchange *x, const char *p, size_t n);
	void (*end)(struct exchange *x); /* after FAIL_NONE; a stream's end is end_stream */
} kinds[ANSWERS] = {
    [ANSWER_UNKNOWN] = {NULL, end_nothing},
    [ANSWER_REFUSAL] = {take_refusal, end_refusal},
    [ANSWER_WHOLE] = {take_whole, end_whole},
    [ANSWER_STREAM] = {take_stream, NULL},
    [ANSWER_ODD] = {take_refusal, end_odd},
    [ANSWER_UNASKED] = {take_unasked, end_unasked},
};

/* The head is complete: what is this going to be? */
static int
decide(struct exchange *x)
{
	bool events = headers_media_type(x->head.content_type, "text/event-stream");

	if (x->head.status < 200 || x->head.status >= 300)
		x->answer = ANSWER_REFUSAL;
	else if (x->streamed)
		x->answer = events ? ANSWER_STREAM : ANSWER_ODD;
	else
		x->answer = events ? ANSWER_UNASKED : ANSWER_WHOLE;
	if (x->answer == ANSWER_STREAM)
		return stream_open(&x->stream, x->arena, settings(x)->max_event_size);
	return 0;
}

enum relay_verdict
answer_data(struct exchange *x, const char *p, size_t n)
{
	if (x->answer == ANSWER_UNKNOWN && decide(x) != 0) {
		x->failure = FAIL_INTERNAL;
		return RELAY_STOP;
	}
	return kinds[x->answer].take(x, p, n);
}

void
answer_done(struct exchange *x, enum failure f)
{
	if (x->failure != FAIL_NONE)
		f = x->failure;
	if (x->answer == ANSWER_STREAM)
		end_stream(x, f);
	else if (f != FAIL_NONE && x->answer != ANSWER_REFUSAL)
		exchange_attempt_failed(x, f);
	else
		kinds[x->answer].end(x);
}
