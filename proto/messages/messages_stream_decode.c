/*
 * An upstream's stream → events (spec 17.3, 17.9). On Bedrock an event comes as base64 in "chunk".
 *
 *   message_start ──► BEGIN         message_delta ──► USAGE; the reason for the end is remembered
 *   content_block_… ──► OPEN, DELTA, SIGN, CITE, CLOSE            message_stop ──► FINISH, END
 *
 * Nothing is closed in front of a FAIL: what was cut is not whole.
 */
#include "proto/messages/messages_stream.h"

#include <string.h>

#include "proto/signature.h"
#include "shared/digest.h"
#include "shared/err.h"

void *
messages_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p)
{
	struct stream_decoder *d = arena_zalloc(a, 1, sizeof *d);

	if (d == NULL)
		return NULL;
	d->a = a;
	d->scratch = scratch;
	d->eof_is_end = p != NULL && p->eof_is_end;
	return d;
}

int
messages_stream_send(const struct canon_sink *sink, const struct canon_event *ev)
{
	return sink->take(sink->ctx, ev);
}

/* Copies what has to outlive its frame. */
static int
keep(struct stream_decoder *d, struct kept *k, struct span *s)
{
	if (s->p == NULL)
		return 0;
	if (k->p == NULL || s->n > k->cap) {
		size_t cap = MAX(s->n, 64) * 2;
		if ((k->p = arena_alloc(d->a, cap)) == NULL)
			return E_NOMEM;
		k->cap = cap;
	}
	memcpy(k->p, s->p, s->n);
	s->p = k->p;
	return 0;
}

static int
fail(struct stream_decoder *d, const struct canon_error *e, const struct canon_sink *sink)
{
	d->ended = true;
	return messages_stream_send(sink, &(struct canon_event){.type = EVENT_FAIL, .error = e});
}

int
messages_stream_fail(
    struct stream_decoder *d, const char *code, const char *message, const struct canon_sink *sink)
{
	struct canon_error e = {
	    .class = ERROR_SERVER, .message = span_of(message), .code = span_of(code)};

	return fail(d, &e, sink);
}

/* ---- begin, usage ---- */

static int
take_usage(struct stream_decoder *d, const struct json *u)
{
	struct canon_usage news;
	int r;

	messages_read_usage(u, &news);
	if ((r = keep(d, &d->usage_raw, &news.raw)) != 0)
		return r;
	canon_usage_merge(&d->usage, &news);
	return 0;
}

/* The first event, also when the upstream has forgotten its own. */
static int
begin(struct stream_decoder *d, const struct json *message, const struct canon_sink *sink)
{
	struct canon_event ev = {.type = EVENT_BEGIN, .usage = &d->usage};
	int r;

	if (d->begun)
		return 0;
	d->begun = true;
	if ((r = messages_get_text(d->scratch, message, "id", &ev.id)) != 0 ||
	    (r = messages_get_text(d->scratch, message, "model", &ev.model)) != 0)
		return r;
	if (ev.model.n > 0)
		d->family = signature_family(ev.model);
	return messages_stream_send(sink, &ev);
}

/* ---- the end ---- */

static int
take_message_delta(struct stream_decoder *d, const struct json *ev, const struct canon_sink *sink)
{
	const struct json *delta = json_want(ev, "delta"), *usage = json_want(ev, "usage");
	struct span raw, sequence, details;
	int r;

	if ((r = messages_get_text(d->scratch, delta, "stop_reason", &raw)) != 0 ||
	    (r = messages_get_text(d->scratch, delta, "stop_sequence", &sequence)) != 0 ||
	    (r = messages_read_details(d->scratch, delta, ev, &details)) != 0)
		return r;
	if ((r = keep(d, &d->stop_sequence, &sequence)) != 0 ||
	    (r = keep(d, &d->details, &details)) != 0)
		return r;
	if (details.p != NULL)
		d->finish.details = details;
	if (raw.n > 0) {
		if ((r = keep(d, &d->stop_raw, &raw)) != 0)
			return r;
		d->finish.raw = raw;
		d->finish.reason = canon_finish_of(raw);
		d->finish.stop_sequence = sequence;
	}
	if (usage == NULL)
		return 0;
	if ((r = take_usage(d, usage)) != 0)
		return r;
	return messages_stream_send(
	    sink, &(struct canon_event){.type = EVENT_USAGE, .usage = &d->usage});
}

static int
finish(struct stream_decoder *d, const struct canon_sink *sink)
{
	int r;

	if ((r = begin(d, NULL, sink)) != 0 || (r = messages_stream_close_all(d, sink)) != 0)
		return r;
	d->ended = true;
	if (d->finish.reason == FINISH_NONE)
		d->finish.reason = d->called ? FINISH_TOOL_CALLS : FINISH_STOP;
	if ((r = messages_stream_send(
		 sink, &(struct canon_event){.type = EVENT_FINISH, .finish = &d->finish})) != 0)
		return r;
	return messages_stream_send(sink, &(struct canon_event){.type = EVENT_END});
}

/* What Bedrock has counted: only where the events themselves said nothing. */
static int
take_metrics(struct stream_decoder *d, const struct json *m, const struct canon_sink *sink)
{
	struct canon_usage news = {0};
	int64_t in = 0, read = 0, write = 0, out = 0;

	if (!json_is(m, 'o') || (d->usage.has_in && d->usage.has_out))
		return 0;
	(void)json_int(json_get(m, "cacheReadInputTokenCount"), &read);
	(void)json_int(json_get(m, "cacheWriteInputTokenCount"), &write);
	if (!d->usage.has_in && json_int(json_get(m, "inputTokenCount"), &in) && in >= 0 &&
	    in < INT32_MAX && read >= 0 && read < INT32_MAX && write >= 0 && write < INT32_MAX) {
		news.has_in = true;
		news.in_cached = (uint64_t)read;
		news.in_cache_write = (uint64_t)write;
		news.in_total = (uint64_t)(in + read + write);
	}
	if (!d->usage.has_out && json_int(json_get(m, "outputTokenCount"), &out) && out >= 0) {
		news.has_out = true;
		news.out_total = (uint64_t)out;
	}
	canon_usage_merge(&d->usage, &news);
	return messages_stream_send(
	    sink, &(struct canon_event){.type = EVENT_USAGE, .usage = &d->usage});
}

static int
take_stop(struct stream_decoder *d, const struct json *ev, const struct canon_sink *sink)
{
	int r = begin(d, NULL, sink);

	if (r == 0)
		r = take_metrics(d, json_want(ev, "amazon-bedrock-invocationMetrics"), sink);
	return r != 0 ? r : finish(d, sink);
}

int
messages_decode_end(void *state, const struct canon_sink *sink)
{
	struct stream_decoder *d = state;

	if (d->ended)
		return 0;
	if (d->finish.reason != FINISH_NONE || (d->eof_is_end && d->useful))
		return finish(d, sink);
	return messages_stream_fail(d, "upstream_stream_cut",
	    "The upstream's stream ended before the answer was complete", sink);
}

/* ---- events ---- */

static int
take_start(struct stream_decoder *d, const struct json *ev, const struct canon_sink *sink)
{
	const struct json *message = json_want(ev, "message");
	int r = take_usage(d, json_want(message, "usage"));

	return r != 0 ? r : begin(d, message, sink);
}

static const struct {
	const char *type;
	int (*take)(struct stream_decoder *d, const struct json *ev, const struct canon_sink *sink);
	bool begins; /* BEGIN must have been sent */
} events[] = {
    {"content_block_delta", messages_stream_take_delta, true},
    {"content_block_start", messages_stream_start_block, true},
    {"content_block_stop", messages_stream_stop_block, true},
    {"message_start", take_start, false},
    {"message_delta", take_message_delta, true},
    {"message_stop", take_stop, false},
};

static int
take_error(struct stream_decoder *d, const struct frame *f, const struct canon_sink *sink)
{
	struct canon_error e;

	messages_read_error(
	    d->scratch, f->data, f->exception ? f->type : (struct span){NULL, 0}, &e);
	return fail(d, &e, sink);
}

static int
take_event(struct stream_decoder *d, const struct frame *f, const struct canon_sink *sink)
{
	const struct json *root, *type;
	int r = json_parse(d->scratch, f->data, &root);

	if (r == E_NOMEM)
		return r;
	type = r == 0 ? json_get(root, "type") : NULL;
	if (f->exception || span_is(f->type, "error") || json_equals(type, "error") ||
	    (json_is(root, 'o') && type == NULL && json_want(root, "error") != NULL))
		return take_error(d, f, sink);
	if (r != 0)
		return messages_stream_fail(d, "upstream_malformed",
		    "The upstream sent an event that is not valid JSON", sink);
	for (size_t i = 0; i < NELEM(events); i++) {
		if (!json_equals(type, events[i].type))
			continue;
		if (events[i].begins && (r = begin(d, NULL, sink)) != 0)
			return r;
		return events[i].take(d, root, sink);
	}
	return 0;
}

/* {"bytes":"<base64 of one event>"} */
static int
take_chunk(struct stream_decoder *d, const struct frame *f, const struct canon_sink *sink)
{
	const struct json *root;
	struct buf text = BUF_INIT(f->data.n);
	struct frame inner = {0};
	struct span bytes;
	int r = json_parse(d->scratch, f->data, &root);

	if (r == E_NOMEM)
		return r;
	if (r != 0 || (bytes = json_text(d->scratch, json_get(root, "bytes"))).p == NULL)
		return take_event(d, f, sink);
	if ((r = base64_decode(&text, bytes)) == E_SYNTAX)
		r = messages_stream_fail(d, "upstream_malformed",
		    "The upstream sent a chunk that is not valid base64", sink);
	else if (r == 0 && text.len > 0) {
		inner.data = (struct span){text.data, text.len};
		r = take_event(d, &inner, sink);
	}
	buf_clear(&text);
	return r;
}

int
messages_decode(void *state, const struct frame *f, const struct canon_sink *sink)
{
	struct stream_decoder *d = state;

	if (d->ended || (f->data.n == 0 && !f->exception) || span_is(f->data, "[DONE]"))
		return 0;
	if (span_is(f->type, "chunk") && !f->exception)
		return take_chunk(d, f, sink);
	return take_event(d, f, sink);
}
