/*
 *   held ++ p:   [ let through by the last call | ready: whole events | the event still coming ]
 *
 * In the common case a piece ends where an event ends, nothing is held, and `out` is the piece
 * itself.
 */
#include "worker/stream.h"

#include <string.h>

#include "proto/scan.h"
#include "proto/sse.h"
#include "shared/err.h"

#define HELD_KEPT 4096u /* storage beyond this is given back: thousands of streams are open */

int
stream_open(struct stream *s, const struct stream_setup *q)
{
	*s = (struct stream){
	    .arena = q->arena, .sse = sse_new(q->arena, q->max_event), .swallow = q->swallow};
	/* sse bounds the event that is still coming; before that only what is held back. */
	buf_init(&s->held, q->max_event + STREAM_HOLD_MAX + (1u << 20));
	if (s->sse != NULL && q->dialect != DIALECT_CHAT) {
		s->sniff = sniff_new(q->arena, q->dialect, q->profile);
		if (s->sniff == NULL) {
			stream_close(s);
			return E_NOMEM;
		}
	}
	return s->sse != NULL ? 0 : E_NOMEM;
}

/* ---- what the events say ---- */

static bool
useful(const struct stream *s)
{
	return s->sniff != NULL ? sniff_state(s->sniff)->useful : s->st.useful;
}

static bool
finished(const struct stream *s)
{
	return s->sniff != NULL ? sniff_state(s->sniff)->finished : s->st.finished;
}

static bool
error(const struct stream *s)
{
	return s->sniff != NULL ? sniff_state(s->sniff)->failed && !s->cut : s->st.error;
}

static bool
done(const struct stream *s)
{
	return s->sniff != NULL ? sniff_state(s->sniff)->ended : s->st.done;
}

const struct translate_state *
stream_state(struct stream *s)
{
	if (s->sniff != NULL)
		return sniff_state(s->sniff);
	chat_told(&s->st, &s->state);
	return &s->state;
}

void
chat_told(const struct chat_stream *st, struct translate_state *out)
{
	*out = (struct translate_state){.useful = st->useful,
	    .finished = st->finished,
	    .ended = st->done,
	    .failed = st->error,
	    .text_bytes = st->text_bytes,
	    .usage = {.has_in = st->has_usage,
		.has_out = st->has_usage,
		.in_total = st->usage.in,
		.out_total = st->usage.out,
		.in_cached = st->usage.cached,
		.out_reasoning = st->usage.reasoning}};
}

static void
keep_error(struct stream *s, struct span data)
{
	char *copy;

	if (s->error.p != NULL || data.n > STREAM_ERROR_MAX ||
	    (copy = arena_strndup(s->arena, data.p, data.n)) == NULL)
		return;
	s->error = (struct span){copy, data.n};
}

/* The chunk that comes of stream_options.include_usage. */
static bool
is_usage_chunk(struct span data)
{
	struct span choices, usage;

	if (memmem(data.p, data.n, "\"usage\"", 7) == NULL || scan_check(data.p, data.n, NULL) != 0)
		return false;
	choices = scan_path(data, "choices");
	usage = scan_path(data, "usage");
	return scan_type(choices) == 'a' && scan_path(data, "choices[0]").p == NULL &&
	       scan_type(usage) == 'o';
}

static int
look_at(struct stream *s, const struct sse_event *ev)
{
	bool before = error(s);
	int r = 0;

	if (ev->data.p == NULL)
		return 0;
	if (s->sniff != NULL)
		r = sniff_frame(s->sniff, &(struct frame){.type = ev->event, .data = ev->data});
	else
		chat_chunk(&s->st, ev->data);
	if (error(s) && !before)
		keep_error(s, ev->data);
	return r;
}

/* Looks at what has come; *whole: bytes that end with an event. In a stream that loses an event,
 * the others are put into `held`. */
static int
sniff(struct stream *s, const char *p, size_t n, size_t *whole)
{
	struct sse_event ev;
	int r = sse_feed(s->sse, p, n);

	*whole = 0;
	if (r != 0)
		return r;
	while ((r = sse_next(s->sse, &ev)) == SSE_EVENT) {
		if ((r = look_at(s, &ev)) != 0)
			return r;
		if (s->swallow && ev.data.p != NULL && is_usage_chunk(ev.data))
			continue;
		*whole += ev.raw.n;
		if (s->swallow && (r = buf_add(&s->held, ev.raw.p, ev.raw.n)) != 0)
			return r;
	}
	return r == SSE_MORE ? 0 : r;
}

bool
stream_failed(const struct stream *s)
{
	return error(s) && !useful(s) && !s->committed;
}

void
stream_begin(struct stream *s)
{
	s->committed = true;
}

static void
drop_sent(struct stream *s)
{
	if (s->sent == 0)
		return;
	buf_drop(&s->held, s->sent);
	s->sent = 0;
	if (s->held.len == 0 && s->held.cap > HELD_KEPT)
		buf_clear(&s->held);
}

static bool
may_begin(const struct stream *s)
{
	return !stream_failed(s) && (useful(s) || finished(s) || s->ready > STREAM_HOLD_MAX);
}

int
stream_take(struct stream *s, const char *p, size_t n, struct span *out)
{
	size_t whole;
	int r;

	*out = (struct span){NULL, 0};
	drop_sent(s);
	if ((r = sniff(s, p, n, &whole)) != 0)
		return r;
	s->ready += whole;
	s->committed = s->committed || may_begin(s);
	if (s->committed && s->held.len == 0 && !s->swallow) {
		*out = (struct span){p, s->ready};
		p += s->ready;
		n -= s->ready;
		s->ready = 0;
		return buf_add(&s->held, p, n);
	}
	if (!s->swallow && (r = buf_add(&s->held, p, n)) != 0)
		return r;
	if (!s->committed)
		return 0;
	*out = (struct span){s->held.data, s->ready};
	s->sent = s->ready;
	s->ready = 0;
	return 0;
}

/* A last event without its empty line counts if it is the end: some upstreams stop behind "data:
 * [DONE]". */
int
stream_end(struct stream *s, struct span *out)
{
	size_t whole;
	bool before;
	int r;

	*out = (struct span){NULL, 0};
	drop_sent(s);
	if (sse_rest(s->sse).n > 0) {
		if ((r = sniff(s, "\n\n", 2, &whole)) != 0)
			return r;
		s->ready += s->swallow ? whole : 0;
	}
	s->ended = true;
	before = error(s);
	if (s->sniff != NULL && (r = sniff_end(s->sniff)) != 0)
		return r;
	s->cut = !before && error(s);
	s->committed = s->committed || may_begin(s);
	if (s->committed && stream_whole(s))
		*out = (struct span){s->held.data, s->held.len};
	return 0;
}

bool
stream_whole(const struct stream *s)
{
	return done(s) || (s->ended && finished(s) && !error(s) && !s->cut);
}

void
stream_close(struct stream *s)
{
	sse_free(s->sse);
	sniff_free(s->sniff);
	buf_clear(&s->held);
	s->sse = NULL;
	s->sniff = NULL;
}
