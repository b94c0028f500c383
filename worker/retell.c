/*
 * What comes from an upstream in one dialect and is told to the client in another. The work is
 * proto/translate.h's; here is what that means for the exchange: when it may still fall back, what
 * is booked, how it ends.
 */
#include <string.h>

#include "proto/dialect.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "worker/exchange_own.h"
#include "worker/refusal.h"
#include "worker/worker.h"

#define AFTER_END_MS 1000 /* an upstream may take so long to end an answer that is complete */

static const struct {
	const char *type;
	int framing;
} types[] = {
    {"text/event-stream", FRAMING_SSE},
    {"application/x-ndjson", FRAMING_NDJSON},
    {"application/jsonl", FRAMING_NDJSON},
    {"application/x-json-stream", FRAMING_NDJSON},
    {"application/vnd.amazon.eventstream", FRAMING_EVENTSTREAM},
};

bool
retell_framing(const struct exchange *x, char first, int *framing)
{
	struct span type = x->head.content_type;

	for (size_t i = 0; i < NELEM(types); i++)
		if (headers_media_type(type, types[i].type)) {
			*framing = types[i].framing;
			return true;
		}
	*framing = WHOLE;
	if (!x->streamed) /* whatever it calls itself, it is JSON or it is nothing */
		return true;
	if (!headers_media_type(type, "application/json"))
		return false;
	if (x->target.dialect == DIALECT_OLLAMA)
		*framing = FRAMING_NDJSON;
	else if (first == '[')
		*framing = FRAMING_JSON_ARRAY;
	return true;
}

int
retell_open(struct exchange *x)
{
	return translate_open(x->translate, x->framing);
}

enum relay_verdict
retell_take(struct exchange *x, const char *p, size_t n)
{
	const struct translate_state *st = translate_state(x->translate);
	int r;

	if (x->blocked) {
		live_bump(&worker.me->counter[CTR_pauses], 1);
		return RELAY_PAUSE;
	}
	buf_reset(&x->out);
	r = translate_take(x->translate, p, n, &x->out);
	answer_forward(x, (struct span){x->out.data, x->out.len});
	if (x->state == XS_DONE)
		return RELAY_STOP;
	if (r != 0) {
		x->failure = r == E_TOO_LONG ? FAIL_TOO_LARGE : FAIL_INTERNAL;
		return RELAY_STOP;
	}
	if (st->failed || st->cut)
		return RELAY_STOP;
	if (st->ended && x->relay != NULL)
		relay_linger(x->relay, AFTER_END_MS);
	return RELAY_GO;
}

/* ---- the end of a stream ---- */

static bool
was_cut(const struct translate_state *st)
{
	return span_is(st->error.code, "upstream_stream_cut");
}

/* An upstream that has failed in its own words, as a refusal of which nothing has reached the
 * client. */
static void
refused(struct exchange *x, const struct canon_error *e)
{
	x->is_told = true;
	x->told = *e;
	x->refused = dialect_get(DIALECT_CHAT)->error_status(e);
	exchange_attempt_failed(x, refusal_class(x->refused));
}

static void
end_unbegun(struct exchange *x, enum failure f)
{
	const struct translate_state *st = translate_state(x->translate);

	if (f != FAIL_NONE)
		exchange_attempt_failed(x, f);
	else if (st->failed && !was_cut(st))
		refused(x, &st->error);
	else
		exchange_attempt_failed(x, st->useful ? FAIL_CUT : FAIL_EMPTY);
}

/* The last bytes: what proves the end, or what says that there is none. */
static int
last_words(struct exchange *x, enum failure f)
{
	const struct translate_state *st = translate_state(x->translate);
	const struct failure_info *info = failure_info(f);
	const struct canon_error e = {.class = f == FAIL_NONE        ? ERROR_SERVER
					       : info->status == 504 ? ERROR_TIMEOUT
								     : ERROR_SERVER,
	    .status = info->status,
	    .message = span_of(info->message)};

	buf_reset(&x->out);
	if (st->failed || st->ended)
		return 0;
	return f == FAIL_NONE ? translate_end(x->translate, &x->out)
			      : translate_fail(x->translate, &e, &x->out);
}

static enum failure
failure_in_stream(const struct translate_state *st, enum failure f)
{
	if (f != FAIL_NONE)
		return f;
	if (!st->failed)
		return st->ended ? FAIL_NONE : FAIL_CUT;
	return was_cut(st) ? FAIL_CUT
			   : refusal_class(dialect_get(DIALECT_CHAT)->error_status(&st->error));
}

void
retell_end(struct exchange *x, enum failure f)
{
	const struct translate_state *st = translate_state(x->translate);

	if (st->ended) /* what comes behind the end of an answer does not spoil it */
		f = FAIL_NONE;
	if (last_words(x, f) != 0)
		f = FAIL_INTERNAL;
	if (x->state == XS_CONNECT && x->out.len == 0) {
		end_unbegun(x, f);
		return;
	}
	answer_forward(x, (struct span){x->out.data, x->out.len});
	if (x->state == XS_DONE)
		return;
	f = failure_in_stream(st, f);
	if (f != FAIL_NONE)
		live_bump(&worker.me->counter[CTR_stream_errors], 1);
	exchange_attempt_ended(x, f);
	exchange_end(x, x->head.status, f != FAIL_NONE ? USAGE_CUT : 0, st, NULL);
	http_end(x->req);
}

/* ---- a whole answer ---- */

static enum failure
failure_of(int r, int framing)
{
	switch (r) {
	case E_NOMEM:
		return FAIL_INTERNAL;
	case E_TOO_LONG:
		return FAIL_TOO_LARGE;
	default:
		return framing == WHOLE ? FAIL_NOT_JSON : FAIL_UNASKED_SSE;
	}
}

void
retell_gathered(struct exchange *x)
{
	struct span body = {x->body.data, x->body.len};
	struct canon_error e = {.class = ERROR_SERVER};
	int r;

	buf_reset(&x->out);
	r = translate_whole(x->translate, body, x->framing, &x->out, &e);
	if (r == E_DENIED)
		refused(x, &e);
	else if (r != 0)
		exchange_attempt_failed(x, failure_of(r, x->framing));
	else
		answer_give(x, translate_state(x->translate),
		    (struct span){x->out.data, x->out.len}, "application/json");
}
