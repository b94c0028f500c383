/*
 * Event streams: whatever the cuts, the same events; the raw spans and the rest together are the
 * whole stream. A second decoder, which has the whole stream before it and needs no speed, must
 * find the same events.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/sse.h"
#include "shared/buf.h"
#include "shared/err.h"

#define MAX_EVENT 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
put(struct buf *b, struct span s)
{
	buf_addf(b, s.p == NULL ? "none:" : "%zu:", s.n);
	buf_add(b, s.p, s.n);
}

/* ---- the plain decoder ---- */

struct block {
	struct span event, id;
	struct buf data;
	bool any, has_data;
};

static void
plain_line(struct block *b, const char *p, size_t n)
{
	const char *colon = memchr(p, ':', n);
	size_t name = colon != NULL ? (size_t)(colon - p) : n;
	struct span value = {p + n, 0};

	b->any = true;
	if (colon != NULL)
		value = (struct span){colon + 1, n - name - 1};
	if (value.n > 0 && value.p[0] == ' ')
		value = (struct span){value.p + 1, value.n - 1};
	if (name == 4 && memcmp(p, "data", 4) == 0) {
		if (b->has_data)
			buf_add(&b->data, "\n", 1);
		buf_add(&b->data, value.p, value.n);
		b->has_data = true;
	} else if (name == 5 && memcmp(p, "event", 5) == 0) {
		b->event = value;
	} else if (name == 2 && memcmp(p, "id", 2) == 0 &&
		   (value.n == 0 || memchr(value.p, '\0', value.n) == NULL)) {
		b->id = value;
	}
}

static void
plain_event(struct block *b, struct buf *events)
{
	struct span none = {NULL, 0}, data = {b->data.len > 0 ? b->data.data : "", b->data.len};

	put(events, b->event);
	put(events, b->has_data ? data : none);
	put(events, b->id);
	buf_clear(&b->data);
	*b = (struct block){.data = BUF_INIT(64u << 20)};
}

/* *before: length of `events` without the last one, which the decoder may still hold back when the
 * stream ends in CR. */
static void
plain_decode(const char *p, size_t n, struct buf *events, size_t *before)
{
	struct block b = {.data = BUF_INIT(64u << 20)};
	const char *end = p + n, *stop;

	*before = 0;
	if (n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
		p += 3;
	for (; p < end; p = stop) {
		for (stop = p; stop < end && *stop != '\n' && *stop != '\r';)
			stop++;
		if (stop == end)
			break;
		if (stop > p) {
			plain_line(&b, p, (size_t)(stop - p));
		} else if (b.any) {
			*before = events->len;
			plain_event(&b, events);
		}
		stop += stop + 1 < end && stop[0] == '\r' && stop[1] == '\n' ? 2 : 1;
	}
	buf_clear(&b.data);
}

static bool
same(const struct buf *b, const struct buf *other, size_t len)
{
	return b->len == len && (len == 0 || memcmp(b->data, other->data, len) == 0);
}

/* ---- the target ---- */

/* What came out, as text. Feeds `step` bytes at a time (0: all at once). */
static int
decode(const char *p, size_t n, size_t step, struct buf *events, struct buf *raw)
{
	struct arena *a = arena_new(1u << 20);
	struct sse *s = sse_new(a, MAX_EVENT);
	struct sse_event ev;
	int r = SSE_MORE;

	for (size_t i = 0; i < n && r >= 0;) {
		size_t k = step == 0 ? n : MIN(step, n - i);
		if ((r = sse_feed(s, p + i, k)) != 0)
			break;
		i += k;
		while ((r = sse_next(s, &ev)) == SSE_EVENT) {
			put(events, ev.event);
			put(events, ev.data);
			put(events, ev.id);
			buf_add(raw, ev.raw.p, ev.raw.n);
		}
	}
	if (r >= 0) {
		struct span rest = sse_rest(s);
		buf_add(raw, rest.p, rest.n);
	}
	sse_free(s);
	arena_free(a);
	return r;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf e1 = BUF_INIT(64u << 20), e2 = BUF_INIT(64u << 20);
	struct buf r1 = BUF_INIT(64u << 20), r2 = BUF_INIT(64u << 20);
	struct buf plain = BUF_INIT(64u << 20);
	size_t step, before;
	int a, b;

	if (size < 1)
		return 0;
	step = 1 + data[0] % 16;
	a = decode((const char *)data + 1, size - 1, 0, &e1, &r1);
	b = decode((const char *)data + 1, size - 1, step, &e2, &r2);
	if ((a < 0) != (b < 0))
		abort();
	if (a >= 0) {
		if (e1.len != e2.len || (e1.len > 0 && memcmp(e1.data, e2.data, e1.len) != 0))
			abort();
		if (r1.len != size - 1 || r2.len != size - 1)
			abort();
		if (size > 1 && (memcmp(r1.data, data + 1, size - 1) != 0 ||
				    memcmp(r2.data, data + 1, size - 1) != 0))
			abort();
	}
	if (a >= 0) {
		plain_decode((const char *)data + 1, size - 1, &plain, &before);
		if (!same(&e1, &plain, plain.len) &&
		    (data[size - 1] != '\r' || !same(&e1, &plain, before)))
			abort();
	}
	buf_clear(&plain);
	buf_clear(&e1);
	buf_clear(&e2);
	buf_clear(&r1);
	buf_clear(&r2);
	return 0;
}
