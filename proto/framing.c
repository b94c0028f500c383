#include "proto/framing.h"

#include <string.h>

#include "proto/framing_own.h"
#include "proto/scan.h"
#include "proto/sse.h"
#include "shared/err.h"

#define KEEP_MAX 65536 /* a buffer that has grown beyond this is given back when it is empty */

/*
 *   buf:  [ handed out | at … seen … | not looked at yet ]
 *
 * at <= seen <= len. What is before `at` goes with the next feed; no byte is looked at twice,
 * however the stream is cut. SSE has its own buffer in sse.c; `buf` then holds a JSON text that
 * came without "data:".
 */
struct framing_reader {
	enum framing kind;
	size_t max;
	int error;
	bool ended; /* the input has */
	struct buf buf;
	size_t at, seen;
	struct braces braces;
	bool inside; /* JSON array: behind its "["; or the one bare object */
	bool over;   /* JSON array: behind its "]" */
	/* SSE */
	struct sse *sse;
	struct span bare; /* of the last event: lines that are no data yet to be looked at */
};

struct framing_reader *
framing_new(struct arena *a, enum framing kind, size_t max)
{
	struct framing_reader *r = arena_zalloc(a, 1, sizeof *r);

	if (r == NULL)
		return NULL;
	r->kind = kind;
	r->max = max;
	/* What is kept never passes max; one feed may come on top of it. */
	buf_init(&r->buf, SIZE_MAX / 2);
	if (kind == FRAMING_SSE && (r->sse = sse_new(a, max)) == NULL)
		return NULL;
	return r;
}

void
framing_free(struct framing_reader *r)
{
	if (r == NULL)
		return;
	sse_free(r->sse);
	buf_clear(&r->buf);
}

static void
compact(struct framing_reader *r)
{
	if (r->at == 0)
		return;
	if (r->at == r->buf.len && r->buf.cap > KEEP_MAX)
		buf_clear(&r->buf);
	else
		buf_drop(&r->buf, r->at);
	r->seen -= r->at;
	r->at = 0;
}

int
framing_feed(struct framing_reader *r, const char *p, size_t n)
{
	if (r->error != 0)
		return r->error;
	if (r->kind == FRAMING_SSE) {
		r->bare = (struct span){NULL, 0};
		return r->error = sse_feed(r->sse, p, n);
	}
	if (r->over)
		return 0;
	compact(r);
	if (r->buf.len > r->max)
		return r->error = E_TOO_LONG;
	return r->error = buf_add(&r->buf, p, n);
}

int
framing_end(struct framing_reader *r)
{
	if (r->error != 0 || r->ended)
		return r->error;
	r->ended = true;
	/* An empty line behind what is left makes it an event; framing_next looks whether it is
	 * whole. */
	if (r->kind == FRAMING_SSE && sse_rest(r->sse).n > 0)
		return r->error = sse_feed(r->sse, "\n\n", 2);
	return 0;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct span
trim(struct span s)
{
	while (s.n > 0 && is_space(s.p[s.n - 1]))
		s.n--;
	while (s.n > 0 && is_space(s.p[0]))
		s = (struct span){s.p + 1, s.n - 1};
	return s;
}

bool
braces_take(struct braces *b, char c)
{
	if (b->escape) {
		b->escape = false;
	} else if (b->string) {
		b->escape = c == '\\';
		b->string = c != '"';
	} else if (c == '"') {
		b->string = true;
	} else if (c == '{' || c == '[') {
		b->depth++;
	} else if ((c == '}' || c == ']') && b->depth > 0) {
		return --b->depth == 0;
	}
	return false;
}

/* ---- lines ---- */

static int
next_line(struct framing_reader *r, struct frame *f)
{
	struct span line;
	const char *end;
	bool last;

	for (;;) {
		size_t left = r->buf.len - r->seen;
		end = left > 0 ? memchr(r->buf.data + r->seen, '\n', left) : NULL;
		last = end == NULL;
		if (last && (!r->ended || r->at == r->buf.len)) {
			r->seen = r->buf.len;
			return r->seen - r->at > r->max ? E_TOO_LONG : 0;
		}
		line.p = r->buf.data + r->at;
		line.n = last ? r->buf.len - r->at : (size_t)(end - line.p);
		r->at = r->seen = last ? r->buf.len : (size_t)(end - r->buf.data) + 1;
		if (line.n > r->max)
			return E_TOO_LONG;
		line = trim(line);
		if (line.n == 0 || (last && scan_check(line.p, line.n, NULL) != 0))
			continue;
		*f = (struct frame){.data = line};
		return 1;
	}
}

/* ---- a JSON array ---- */

/* Up to the first byte of an element; 0: not there yet. A lone object is an array of one. */
static int
find_element(struct framing_reader *r)
{
	for (; r->at < r->buf.len; r->at++) {
		char c = r->buf.data[r->at];
		if (is_space(c) || (r->inside && c == ','))
			continue;
		if (c == '{' || (r->inside && c == '[')) {
			r->inside = true;
			r->seen = r->at;
			return 1;
		}
		if (c == ']' && r->inside) {
			r->over = true;
			r->at = r->buf.len;
			break;
		}
		if (c != '[')
			return E_SYNTAX;
		r->inside = true;
	}
	r->seen = r->at;
	return 0;
}

static int
next_element(struct framing_reader *r, struct frame *f)
{
	int found;

	if (r->over)
		return 0;
	if (r->braces.depth == 0 && (found = find_element(r)) != 1)
		return found;
	while (r->seen < r->buf.len) {
		bool closed = braces_take(&r->braces, r->buf.data[r->seen++]);
		if (r->seen - r->at > r->max)
			return E_TOO_LONG;
		if (!closed)
			continue;
		*f = (struct frame){.data = {r->buf.data + r->at, r->seen - r->at}};
		r->at = r->seen;
		return 1;
	}
	return 0;
}

/* ---- AWS event stream ---- */

static int
next_message(struct framing_reader *r, struct frame *f)
{
	size_t left = r->buf.len - r->at;
	const char *p;
	ptrdiff_t size;
	int result;

	if (left < AWS_PRELUDE)
		return 0;
	p = r->buf.data + r->at;
	if ((size = aws_size(p, r->max)) < 0)
		return (int)size;
	if ((size_t)size > left)
		return 0;
	if ((result = aws_parse(p, (size_t)size, f)) != 0)
		return result;
	r->at += (size_t)size;
	r->seen = r->at;
	return 1;
}

/* ---- SSE ---- */

/* Takes one line off the front, with its end. In a stream of CR alone the text has no LF. */
static struct span
take_line(struct span *s)
{
	const char *end = memchr(s->p, '\n', s->n);
	struct span line = *s;

	if (end == NULL)
		end = memchr(s->p, '\r', s->n);
	if (end != NULL)
		line.n = (size_t)(end - s->p) + 1;
	*s = (struct span){s->p + line.n, s->n - line.n};
	return line;
}

/* Adds to the bare object; 1: it is whole, and what of `s` stands behind its line is left. */
static int
take_bare(struct framing_reader *r, struct span *s)
{
	for (size_t i = 0; i < s->n; i++) {
		if (!braces_take(&r->braces, s->p[i]))
			continue;
		if (buf_add(&r->buf, s->p, i + 1) != 0)
			return E_NOMEM;
		*s = (struct span){s->p + i + 1, s->n - i - 1};
		if (s->n > 0)
			take_line(s);
		return 1;
	}
	if (s->n > r->max || r->buf.len > r->max - s->n)
		return E_TOO_LONG;
	if (buf_add(&r->buf, s->p, s->n) != 0)
		return E_NOMEM;
	*s = (struct span){s->p + s->n, 0};
	return 0;
}

static void
drop_bare(struct framing_reader *r)
{
	buf_reset(&r->buf);
	r->braces = (struct braces){0};
}

/* A JSON object on lines without a field name: some report their errors so. */
static int
next_bare(struct framing_reader *r, struct frame *f)
{
	int found;

	while (r->bare.n > 0) {
		struct span line = r->bare;
		if (r->braces.depth == 0) {
			if (r->bare.p[0] != '{') {
				take_line(&r->bare);
				continue;
			}
			buf_reset(&r->buf);
		}
		if ((found = take_bare(r, &line)) < 0)
			return found;
		r->bare = line;
		if (found == 0)
			break;
		if (scan_check(r->buf.data, r->buf.len, NULL) != 0) {
			drop_bare(r);
			continue;
		}
		*f = (struct frame){.data = {r->buf.data, r->buf.len}};
		return 1;
	}
	return 0;
}

static bool
is_whole(struct span data)
{
	return scan_check(data.p, data.n, NULL) == 0 ||
	       (data.n == 6 && memcmp(data.p, "[DONE]", 6) == 0);
}

static int
next_event(struct framing_reader *r, struct frame *f)
{
	struct sse_event ev;
	int found;

	for (;;) {
		if ((found = next_bare(r, f)) != 0)
			return found;
		if ((found = sse_next(r->sse, &ev)) != SSE_EVENT)
			return found;
		r->bare = ev.raw;
		if (ev.data.n == 0)
			continue;
		drop_bare(r); /* what was begun before is not continued behind an event */
		if (r->ended && !is_whole(ev.data))
			continue;
		*f = (struct frame){.data = ev.data};
		if (ev.event.n > 0)
			f->type = ev.event;
		return 1;
	}
}

int
framing_next(struct framing_reader *r, struct frame *f)
{
	int found = 0;

	if (r->error != 0)
		return r->error;
	switch (r->kind) {
	case FRAMING_SSE:
		found = next_event(r, f);
		break;
	case FRAMING_NDJSON:
		found = next_line(r, f);
		break;
	case FRAMING_JSON_ARRAY:
		found = next_element(r, f);
		break;
	case FRAMING_EVENTSTREAM:
		found = next_message(r, f);
		break;
	}
	if (found < 0)
		r->error = found;
	return found;
}
