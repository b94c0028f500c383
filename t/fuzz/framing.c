/*
 * Frames of any framing: wherever the stream is cut, the same frames and the same end. Byte 0 picks the framing and the size of the
 * pieces. Sums of event streams are made right first, else nothing but their check would be seen.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/framing.h"
#include "proto/framing_own.h"
#include "shared/buf.h"
#include "shared/err.h"

#define MAX_FRAME 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
read_all(enum framing kind, struct span bytes, size_t step, struct buf *out)
{
	struct arena *a = arena_new(1u << 20);
	struct framing_reader *r = framing_new(a, kind, MAX_FRAME);
	struct frame f;
	int got = 0;

	for (size_t i = 0, n = 1; n > 0 && got >= 0; i += n) {
		n = MIN(step, bytes.n - i);
		got = n > 0 ? framing_feed(r, bytes.p + i, n) : framing_end(r);
		while (got >= 0 && (got = framing_next(r, &f)) == 1) {
			if (f.data.n > MAX_FRAME)
				abort();
			buf_addf(out, "%d %zu %zu:", f.exception, f.type.n, f.data.n);
			buf_add(out, f.type.p, f.type.n);
			buf_add(out, f.data.p, f.data.n);
		}
	}
	framing_free(r);
	arena_free(a);
	return got;
}

static void
write_u32(char *p, uint32_t n)
{
	for (unsigned i = 0; i < 4; i++)
		p[i] = (char)(n >> (24 - 8 * i));
}

/* Messages of the lengths that the input says, as far as they go. */
static void
mend(char *p, size_t n)
{
	for (size_t at = 0; n - at >= AWS_PRELUDE + 4;) {
		uint8_t high = (uint8_t)p[at + 2], low = (uint8_t)p[at + 3];
		size_t total = MAX((size_t)(high % 8) << 8 | low, (size_t)AWS_PRELUDE + 4);

		if (total > n - at)
			break;
		if (high & 0x80) { /* as it is: a wrong sum */
			at += total;
			continue;
		}
		write_u32(p + at, (uint32_t)total);
		p[at + 4] = p[at + 5] = 0;
		write_u32(p + at + 8, aws_crc32(p + at, 8));
		write_u32(p + at + total - 4, aws_crc32(p + at, total - 4));
		at += total;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf one = {.max = 64u << 20}, two = {.max = 64u << 20};
	enum framing kind;
	char *copy;
	int a, b;

	if (size == 0 || (copy = malloc(size)) == NULL)
		return 0;
	memcpy(copy, data + 1, size - 1);
	kind = (enum framing)(data[0] % 4);
	if (kind == FRAMING_EVENTSTREAM)
		mend(copy, size - 1);
	a = read_all(kind, (struct span){copy, size - 1}, SIZE_MAX / 4, &one);
	b = read_all(kind, (struct span){copy, size - 1}, 1 + data[0] / 4 % 16, &two);
	/* an event that is too long is found sooner when it comes in pieces */
	if (a != b && !(kind == FRAMING_SSE && (a == E_TOO_LONG || b == E_TOO_LONG)))
		abort();
	if (a == b &&
	    (one.len != two.len || (one.len > 0 && memcmp(one.data, two.data, one.len) != 0)))
		abort();
	buf_clear(&one);
	buf_clear(&two);
	free(copy);
	return 0;
}
