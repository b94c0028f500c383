/*
 * Event streams: whatever the cuts, the same events; the raw spans and the rest together are the
 * whole stream.
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
	buf_addf(b, "%zu:", s.n);
	buf_add(b, s.p, s.n);
}

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
	size_t step;
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
	buf_clear(&e1);
	buf_clear(&e2);
	buf_clear(&r1);
	buf_clear(&r2);
	return 0;
}
