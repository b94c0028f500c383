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

#include "proto/dialect.h"
#include "proto/openai_chat.h"
#include "proto/scan.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/snapshot.h"
#include "worker/exchange_own.h"
#include "worker/refusal.h"
#include "worker/responses.h"
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
	buf_clear(&x->out);
	x->is_told = false;
	x->answer = ANSWER_UNKNOWN;
	x->failure = FAIL_NONE;
	x->refused = 0;
	x->blocked = false;
}

const struct translate_state *
answer_state(struct exchange *x)
{
	if (x->answer == ANSWER_STREAM)
		return stream_state(&x->stream);
	return x->target.translate && x->translate != NULL ? translate_state(x->translate) : NULL;
}

/* ---- what the client is told beside the answer ---- */

void
answer_say_number(struct http_req *r, const char *name, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)n);
	http_header(r, name, text);
}

void
answer_say_source(struct exchange *x)
{
	const struct snap_provider *p = x->route.provider;
	struct span alias = snapshot_span(x->snap, p->alias);

	headers_send(x->req, &x->head);
	http_header_span(
	    x->req, "X-OmniRoute-Provider", alias.n > 0 ? alias : snapshot_span(x->snap, p->id));
	http_header(x->req, "X-OmniRoute-Model", x->route.model);
	if (x->attempts > 0)
		answer_say_number(x->req, "X-OmniRoute-Fallback-Attempts", x->attempts);
	if (x->target.translate && translate_dropped(x->translate).n > 0)
		http_header_span(x->req, "X-OmniRoute-Dropped", translate_dropped(x->translate));
}

/* The upstream's own content type if it is what we say it is: it may carry a charset. */
static const char *
content_type(const struct exchange *x, const char *type)
{
	return headers_media_type(x->head.content_type, type) ? x->head.content_type.p : type;
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

void
answer_give(
    struct exchange *x, const struct translate_state *st, struct span body, const char *type)
{
	struct http_req *r = x->req;
	struct canon_usage booked = {0};

	responses_keep(x, body);
	exchange_set_state(x, XS_RELAY);
	exchange_attempt_ended(x, FAIL_NONE);
	answer_say_source(x);
	answer_say_number(r, "X-OmniRoute-Latency-Ms", (clock_now_ns() - r->start_ns) / NS_PER_MS);
	account_first_byte(&x->account);
	x->bytes_out = body.n;
	exchange_end(x, x->head.status, 0, st, &booked);
	answer_say_number(r, "X-OmniRoute-Tokens-In", booked.in_total);
	answer_say_number(r, "X-OmniRoute-Tokens-Out", booked.out_total);
	http_reply(r, x->head.status, type, body.p, body.n);
}

/* What a whole answer in the client's dialect says. False: it is none. */
static bool
read_whole(struct exchange *x, struct span body, struct translate_state *st)
{
	struct chat_stream chat = {0};

	*st = (struct translate_state){0};
	if (x->ask.kind != ASK_ANSWER)
		return scan_check(body.p, body.n, NULL) == 0;
	if (x->target.dialect != DIALECT_CHAT)
		return sniff_whole(x->arena, x->target.dialect, body, st);
	if (!chat_chunk(&chat, body))
		return false;
	chat_told(&chat, st);
	return true;
}

static void
end_whole(struct exchange *x)
{
	struct span body = collected(x);
	struct translate_state st;

	if (!read_whole(x, body, &st))
		exchange_attempt_failed(x, FAIL_NOT_JSON);
	else if (st.failed && !st.useful && !st.finished)
		end_not_good(x, FAIL_STATUS_5XX);
	else
		answer_give(x, &st, body, content_type(x, "application/json"));
}

/* Events although none were asked for: put together, they are the answer that was. */
static void
join_chat(struct exchange *x)
{
	struct buf whole = BUF_INIT(settings(x)->max_response_size);

	if (unasked_join(x->arena, collected(x), settings(x)->max_event_size, &whole) != 0) {
		buf_clear(&whole);
		exchange_attempt_failed(x, FAIL_UNASKED_SSE);
		return;
	}
	buf_clear(&x->body);
	x->body = whole;
	end_whole(x);
}

static void
end_unasked(struct exchange *x)
{
	x->framing = FRAMING_SSE;
	if (x->target.dialect == DIALECT_CHAT)
		join_chat(x);
	else if (x->ask.kind == ASK_ANSWER && attempt_retell(x) == 0)
		retell_gathered(x);
	else
		exchange_attempt_failed(x, FAIL_UNASKED_SSE);
}

/* ---- a stream ---- */

const char *
answer_type(const struct exchange *x)
{
	if (x->ask.array)
		return "application/json";
	return x->target.translate ? "text/event-stream; charset=utf-8"
				   : content_type(x, "text/event-stream");
}

void
answer_begin(struct exchange *x)
{
	exchange_set_state(x, XS_RELAY);
	count(CTR_streams);
	answer_say_source(x);
	http_header(x->req, "Cache-Control", "no-cache, no-transform");
	http_header(x->req, "X-Accel-Buffering", "no");
	account_first_byte(&x->account);
	http_start(x->req, 200, answer_type(x), -1);
	quiet_start(x, true);
}

void
answer_forward(struct exchange *x, struct span out)
{
	if (out.n == 0)
		return;
	if (x->state == XS_CONNECT)
		answer_begin(x);
	responses_watch(x, out);
	x->wrote_ns = clock_now_ns();
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
	answer_forward(x, out); /* what was whole before it went wrong */
	if (x->state == XS_DONE)
		return RELAY_STOP;
	if (r != 0) {
		x->failure = r == E_TOO_LONG ? FAIL_TOO_LARGE : FAIL_INTERNAL;
		return RELAY_STOP;
	}
	if (stream_failed(&x->stream))
		return RELAY_STOP;
	if (stream_state(&x->stream)->ended && x->relay != NULL)
		relay_linger(x->relay, AFTER_DONE_MS);
	return RELAY_GO;
}

/* The upstream's stream said that it has failed before it said anything else. */
static void
end_failed_stream(struct exchange *x)
{
	struct span error = x->stream.error;
	const struct translate_state *st = stream_state(&x->stream);

	if (x->target.dialect != DIALECT_CHAT) {
		x->is_told = true;
		x->told = st->error;
		x->refused = dialect_get(x->target.dialect)->error_status(&st->error);
		exchange_attempt_failed(x, refusal_class(x->refused));
		return;
	}
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
	else if (stream_state(&x->stream)->ended ||
		 (!stream_state(&x->stream)->useful && !stream_state(&x->stream)->finished))
		exchange_attempt_failed(x, FAIL_EMPTY);
	else
		exchange_attempt_failed(x, FAIL_CUT);
}

/* An encoder that has just begun may say so first; the last event is the one. */
static void
keep_last_event(struct buf *b)
{
	static const char field[] = "\n\nevent: ";
	size_t n = sizeof field - 1;

	for (size_t at = b->len; at > n; at--)
		if (memcmp(b->data + at - n, field, n) == 0) {
			buf_drop(b, at - n + 2);
			return;
		}
}

/* The error that ends a stream whose bytes have passed: what the dialect's own encoder says of it.
 */
static void
write_broken(struct exchange *x, enum failure f, struct buf *event)
{
	const struct failure_info *info = failure_info(f);
	const struct dialect *d = dialect_get(x->ask.dialect);
	struct canon_error e = answer_failure(f);
	struct canon_request asked = {.from = x->ask.dialect};
	const struct canon_event ev = {.type = EVENT_FAIL, .error = &e};
	const struct encode_ctx ctx = {.arena = x->arena,
	    .model = span_of(x->route.model),
	    .now_s = clock_wall_us() / 1000000,
	    .asked = &asked};
	void *state;

	if (x->ask.dialect == DIALECT_CHAT) {
		(void)chat_error_event(event, info->status, NULL, NULL, info->message);
		return;
	}
	if ((state = d->encoder_new(x->arena, &ctx)) == NULL)
		return;
	(void)d->encode(state, &ev, event);
	keep_last_event(event);
	if (d->encoder_free != NULL)
		d->encoder_free(state);
}

/* An end without one of its dialect must not look like one: an error event stands there, and
 * nothing that says it was well. */
static void
end_broken_stream(struct exchange *x, enum failure f)
{
	const struct translate_state *st = stream_state(&x->stream);
	struct buf event = BUF_INIT(65536);

	if (!st->failed || x->stream.cut) /* else the upstream has said it, and it was passed on */
		write_broken(x, f, &event);
	x->bytes_out += event.len;
	count(CTR_stream_errors);
	exchange_attempt_ended(x, f);
	exchange_end(x, x->head.status, USAGE_CUT, st, NULL);
	if (event.len > 0)
		http_write(x->req, event.data, event.len);
	http_end(x->req);
	buf_clear(&event);
}

static void
end_stream(struct exchange *x, enum failure f)
{
	struct span out = {NULL, 0};
	bool failed;

	if (f == FAIL_NONE && stream_end(&x->stream, &out) != 0)
		f = FAIL_INTERNAL;
	if (x->state == XS_CONNECT && out.n == 0) {
		if (f == FAIL_NONE)
			end_unbegun_stream(x);
		else
			exchange_attempt_failed(x, f);
		return;
	}
	answer_forward(x, out);
	if (x->state == XS_DONE)
		return;
	if (!stream_whole(&x->stream)) {
		end_broken_stream(x, f == FAIL_NONE ? FAIL_CUT : f);
		return;
	}
	failed = stream_state(&x->stream)->failed;
	if (failed)
		count(CTR_stream_errors);
	exchange_attempt_ended(x, failed ? FAIL_STATUS_4XX : FAIL_NONE);
	exchange_end(x, x->head.status, 0, stream_state(&x->stream), NULL);
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
    [ANSWER_RETOLD] = {retell_take, NULL},
    [ANSWER_GATHERED] = {take_whole, retell_gathered},
};

static int
open_stream(struct exchange *x)
{
	const struct stream_setup q = {.arena = x->arena,
	    .max_event = settings(x)->max_event_size,
	    .dialect = x->target.dialect,
	    .profile = &x->target.profile,
	    .swallow = x->target.ask_usage};

	int r = stream_open(&x->stream, &q);

	if (r == 0 && x->state == XS_RELAY)
		stream_begin(&x->stream);
	return r;
}

/* The head is complete and the body begins: what is this going to be? */
static int
decide(struct exchange *x, char first)
{
	bool events = headers_media_type(x->head.content_type, "text/event-stream");

	if (x->head.status < 200 || x->head.status >= 300)
		x->answer = ANSWER_REFUSAL;
	else if (x->target.translate)
		x->answer = !retell_framing(x, first, &x->framing) ? ANSWER_ODD
			    : x->streamed                          ? ANSWER_RETOLD
								   : ANSWER_GATHERED;
	else if (x->streamed)
		x->answer = events ? ANSWER_STREAM : ANSWER_ODD;
	else
		x->answer = events ? ANSWER_UNASKED : ANSWER_WHOLE;
	if (x->answer == ANSWER_STREAM)
		return open_stream(x);
	return x->answer == ANSWER_RETOLD ? retell_open(x) : 0;
}

bool
answer_early(struct exchange *x)
{
	if (x->answer == ANSWER_UNKNOWN &&
	    (decide(x, 0) != 0 || (x->answer != ANSWER_STREAM && x->answer != ANSWER_RETOLD)))
		x->answer = ANSWER_UNKNOWN;
	return x->answer == ANSWER_STREAM || x->answer == ANSWER_RETOLD;
}

enum relay_verdict
answer_data(struct exchange *x, const char *p, size_t n)
{
	if (x->answer == ANSWER_UNKNOWN && decide(x, n > 0 ? *p : 0) != 0) {
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
	else if (x->answer == ANSWER_RETOLD)
		retell_end(x, f);
	else if (f != FAIL_NONE && x->answer != ANSWER_REFUSAL)
		exchange_attempt_failed(x, f);
	else
		kinds[x->answer].end(x);
}
