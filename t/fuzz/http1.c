/*
 * Request heads, paths and chunked bodies. Every span must lie in the input, and a chunked body
 * must give the same bytes however it was cut.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/http1.h"
#include "shared/buf.h"
#include "shared/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
inside(struct span s, const char *p, size_t n)
{
	if (s.n > 0 && (s.p < p || s.p + s.n > p + n))
		abort();
}

static void
head(const char *p, size_t n)
{
	struct http1_field field[16];
	struct http1_head h = {.field = field, .max_fields = NELEM(field)};
	struct span query = {0};
	const char *why = NULL;
	int status = 0;
	char path[512];
	ptrdiff_t len = http1_head_len(p, n, 8192);

	if (len <= 0)
		return;
	if ((size_t)len > n || len > 8192)
		abort();
	if (http1_parse(p, (size_t)len, &h, &status, &why) != 0) {
		if (status < 400 || status > 599 || why == NULL)
			abort();
		return;
	}
	inside(h.method, p, n);
	inside(h.target, p, n);
	for (unsigned i = 0; i < h.fields; i++) {
		inside(h.field[i].name, p, n);
		inside(h.field[i].value, p, n);
	}
	if (h.chunked && h.content_length >= 0)
		abort(); /* two framings of one body: a smuggled request */
	(void)http1_find(&h, "host");
	len = http1_path(h.target, path, sizeof(path), &query);
	if (len > (ptrdiff_t)sizeof(path))
		abort();
	inside(query, p, n);
	for (ptrdiff_t i = 0; i < len; i++)
		if ((unsigned char)path[i] < 0x20 || path[i] == '\\')
			abort();
	for (ptrdiff_t i = 0; i + 1 < len; i++)
		if (path[i] == '/' && path[i + 1] == '/')
			abort();
}

static int
chunks(const char *p, size_t n, size_t step, struct buf *out)
{
	struct http1_chunked c = {0};
	size_t at = 0;

	while (at < n) {
		size_t end = MIN(n, at + step), used;
		while (at < end) {
			struct span data = {0};
			int r = http1_chunk(&c, p + at, end - at, &used, &data);
			if (r < 0)
				return r;
			if (used > end - at)
				abort();
			inside(data, p, n);
			at += used;
			if (r == CHUNK_DATA)
				buf_add(out, data.p, data.n);
			if (r == CHUNK_END)
				return CHUNK_END;
			if (r == CHUNK_MORE)
				break;
		}
	}
	return CHUNK_MORE;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf a = BUF_INIT(64u << 20), b = BUF_INIT(64u << 20);
	const char *p = (const char *)data;
	size_t step;
	int ra, rb;

	if (size < 1)
		return 0;
	step = 1 + data[0] % 8;
	p++;
	size--;
	head(p, size);
	ra = chunks(p, size, SIZE_MAX / 2, &a);
	rb = chunks(p, size, step, &b);
	if (ra != rb)
		abort();
	if (ra >= 0 && (a.len != b.len || (a.len > 0 && memcmp(a.data, b.data, a.len) != 0)))
		abort();
	buf_clear(&a);
	buf_clear(&b);
	return 0;
}
