#include "shared/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/err.h"

#define CAP_FIRST 256u
/* Up to here growing copies and wipes what it leaves behind: a buffer may hold a secret, and
 * secrets are short. */
#define CAP_WIPED 65536u

void
buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

/* The storage has one byte more than `cap`, for the NUL of buf_cstr. */
static char *
storage_grow(struct buf *b, size_t cap)
{
	char *data;

	if (b->cap > CAP_WIPED)
		return realloc(b->data, cap + 1);
	if ((data = malloc(cap + 1)) == NULL)
		return NULL;
	if (b->data != NULL) {
		memcpy(data, b->data, b->len);
		explicit_bzero(b->data, b->cap + 1);
		free(b->data);
	}
	return data;
}

static int
make_room(struct buf *b, size_t n)
{
	size_t cap;
	char *data;

	if (b->data != NULL && n <= b->cap - b->len)
		return 0;
	if (n > b->max - b->len) {
		b->failed = true;
		return E_TOO_LONG;
	}
	cap = b->cap <= b->max / 2 ? 2 * b->cap : b->max;
	cap = MIN(MAX(MAX(cap, CAP_FIRST), b->len + n), b->max);
	if (cap == SIZE_MAX || (data = storage_grow(b, cap)) == NULL) {
		b->failed = true;
		return E_NOMEM;
	}
	b->data = data;
	b->cap = cap;
	return 0;
}

int
buf_add(struct buf *b, const void *p, size_t n)
{
	int r;

	if (n == 0)
		return 0;
	if ((r = make_room(b, n)) != 0)
		return r;
	memcpy(b->data + b->len, p, n);
	b->len += n;
	return 0;
}

int
buf_str(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n, r;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	r = n < 0 ? E_SYNTAX : make_room(b, (size_t)n);
	if (r == 0) {
		vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	b->failed |= r != 0;
	va_end(again);
	va_end(ap);
	return r;
}

char *
buf_reserve(struct buf *b, size_t n)
{
	return make_room(b, n) == 0 ? b->data + b->len : NULL;
}

void
buf_drop(struct buf *b, size_t n)
{
	if (n > b->len)
		bug("buf_drop of %zu bytes, there are %zu", n, b->len);
	if (n > 0 && n < b->len)
		memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

bool
buf_ok(const struct buf *b)
{
	return !b->failed;
}

const char *
buf_cstr(struct buf *b)
{
	if (make_room(b, 0) != 0)
		return NULL;
	b->data[b->len] = '\0';
	return b->data;
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

void
buf_clear(struct buf *b)
{
	free(b->data);
	buf_init(b, b->max);
}

void
buf_wipe(struct buf *b)
{
	if (b->data != NULL)
		explicit_bzero(b->data, b->cap + 1);
	buf_clear(b);
}
