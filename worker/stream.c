/*
 *   held ++ p:   [ let through by the last call | ready: whole events | the event still coming ]
 *
 * In the common case a piece ends where an event ends, nothing is held, and `out` is the piece
 * itself.
 */
#include "worker/stream.h"

#include "proto/scan.h"
#include "proto/sse.h"
#include "shared/err.h"

#define HELD_KEPT 4096u /* storage beyond this is given back: thousands of streams are open */

int
stream_open(struct stream *s, struct arena *a, size_t max_event)
{
	*s = (struct stream){.arena = a, .sse = sse_new(a, max_event)};
	/* sse bounds the event that is still coming; before that only what is held back. */
	buf_init(&s->held, max_event + STREAM_HOLD_MAX + (1u << 20));
	return s->sse != NULL ? 0 : E_NOMEM;
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

/* Looks at what has come; *whole: bytes that end with an event. */
static int
sniff(struct stream *s, const char *p, size_t n, size_t *whole)
{
	struct sse_event ev;
	int r = sse_feed(s->sse, p, n);

	*whole = 0;
	if (r != 0)
		return r;
	while ((r = sse_next(s->sse, &ev)) == SSE_EVENT) {
		bool before = s->st.error;

		*whole += ev.raw.n;
		if (ev.data.p != NULL)
			chat_chunk(&s->st, ev.data);
		if (s->st.error && !before)
			keep_error(s, ev.data);
	}
	return r == SSE_MORE ? 0 : r;
}

bool
stream_failed(const struct stream *s)
{
	return s->st.error && !s->st.useful && !s->committed;
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
	return !stream_failed(s) && (s->st.useful || s->st.finished || s->ready > STREAM_HOLD_MAX);
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
	if (s->committed && s->held.len == 0) {
		*out = (struct span){p, s->ready};
		p += s->ready;
		n -= s->ready;
		s->ready = 0;
		return buf_add(&s->held, p, n);
	}
	if ((r = buf_add(&s->held, p, n)) != 0 || !s->committed)
		return r;
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
	int r;

	*out = (struct span){NULL, 0};
	drop_sent(s);
	if (s->held.len > s->ready && (r = sniff(s, "\n\n", 2, &whole)) != 0)
		return r;
	s->ended = true;
	s->committed = s->committed || may_begin(s);
	if (s->committed && stream_whole(s))
		*out = (struct span){s->held.data, s->held.len};
	return 0;
}

bool
stream_whole(const struct stream *s)
{
	return s->st.done || (s->ended && s->st.finished && !s->st.error);
}

void
stream_close(struct stream *s)
{
	sse_free(s->sse);
	buf_clear(&s->held);
	s->sse = NULL;
}
