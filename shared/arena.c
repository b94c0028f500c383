/*
 * arena: a chain of chunks. The first holds the arena itself and is small, because a worker keeps
 * one arena for each of thousands of idle streams; the next ones double up to CHUNK_MAX. What would
 * fill most of a chunk gets one of its own, so that the rest of the current chunk is not given up.
 *
 *   struct arena │ 16-aligned bytes …            chunk │ 16-aligned bytes …
 *   └ first chunk ───────────────────┘           └ next, newest first ───────┘
 */
#include "shared/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 16u
#define CHUNK_FIRST 4096u
#define CHUNK_MAX 65536u

struct chunk {
	_Alignas(ALIGN) struct chunk *next;
};

struct arena {
	_Alignas(ALIGN) char *at;
	char *end;
	struct chunk *chunks; /* all but the first */
	size_t ceiling, size, next_chunk;
	size_t first; /* bytes of the first chunk */
};

struct arena *
arena_new(size_t ceiling)
{
	size_t n = MAX(MIN(ceiling, CHUNK_FIRST), sizeof(struct arena));
	struct arena *a = malloc(n);

	if (a == NULL)
		return NULL;
	*a = (struct arena){
	    .at = (char *)(a + 1),
	    .end = (char *)a + n,
	    .ceiling = ceiling,
	    .size = n,
	    .first = n,
	    .next_chunk = 2 * CHUNK_FIRST,
	};
	return a;
}

static void
free_chunks(struct chunk *c)
{
	struct chunk *next;

	for (; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
}

void
arena_free(struct arena *a)
{
	if (a == NULL)
		return;
	free_chunks(a->chunks);
	free(a);
}

void
arena_reset(struct arena *a)
{
	free_chunks(a->chunks);
	a->chunks = NULL;
	a->at = (char *)(a + 1);
	a->end = (char *)a + a->first;
	a->size = a->first;
	a->next_chunk = 2 * CHUNK_FIRST;
}

static struct chunk *
chunk_new(struct arena *a, size_t n)
{
	struct chunk *c = malloc(n);

	if (c == NULL)
		return NULL;
	c->next = a->chunks;
	a->chunks = c;
	a->size += n;
	return c;
}

/* `n` is a multiple of ALIGN and does not fit the current chunk. */
static void *
alloc_slow(struct arena *a, size_t n)
{
	size_t left = a->size < a->ceiling ? a->ceiling - a->size : 0;
	size_t need = n + sizeof(struct chunk), size;
	struct chunk *c;

	if (need < n || need > left)
		return NULL;
	if (need > a->next_chunk / 2) {
		c = chunk_new(a, need);
		return c != NULL ? c + 1 : NULL;
	}
	size = MIN(a->next_chunk, left);
	if ((c = chunk_new(a, size)) == NULL)
		return NULL;
	a->next_chunk = MIN(2 * a->next_chunk, CHUNK_MAX);
	a->at = (char *)(c + 1) + n;
	a->end = (char *)c + size;
	return c + 1;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	void *p;

	if (n > SIZE_MAX - ALIGN)
		return NULL;
	n = n == 0 ? ALIGN : (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (n > (size_t)(a->end - a->at))
		return alloc_slow(a, n);
	p = a->at;
	a->at += n;
	return p;
}

void *
arena_zalloc(struct arena *a, size_t count, size_t size)
{
	size_t n;
	void *p;

	if (__builtin_mul_overflow(count, size, &n) || (p = arena_alloc(a, n)) == NULL)
		return NULL;
	return memset(p, 0, n);
}

char *
arena_strndup(struct arena *a, const char *p, size_t n)
{
	char *s;

	if (n == SIZE_MAX || (s = arena_alloc(a, n + 1)) == NULL)
		return NULL;
	if (n > 0)
		memcpy(s, p, n);
	s[n] = '\0';
	return s;
}

char *
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *s = NULL;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	if (n >= 0 && (s = arena_alloc(a, (size_t)n + 1)) != NULL)
		vsnprintf(s, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return s;
}

size_t
arena_size(const struct arena *a)
{
	return a->size;
}
