/*
 * arena: memory of one request; all of it dies at once. Not thread-safe, never in shared memory.
 *
 * arena_new     An empty arena that may grow to `ceiling` bytes. NULL when out of memory.
 * arena_free    Frees everything. NULL is allowed.
 * arena_reset   Forgets all that was allocated, and keeps the first chunk.
 * arena_alloc   `n` bytes, 16-byte aligned, not cleared; NULL past the ceiling or out of memory.
 * arena_zalloc  The same, cleared; `count * size` is checked for overflow.
 * arena_strndup A NUL-terminated copy of `n` bytes.
 * arena_printf  A formatted, NUL-terminated string.
 * arena_size    Bytes asked from malloc so far.
 */
#ifndef OMNIROUTE_SHARED_ARENA_H
#define OMNIROUTE_SHARED_ARENA_H

#include "shared/base.h"

struct arena;

struct arena *arena_new(size_t ceiling) must_check;
void arena_free(struct arena *a);
void arena_reset(struct arena *a);
void *arena_alloc(struct arena *a, size_t n) must_check;
void *arena_zalloc(struct arena *a, size_t count, size_t size) must_check;
char *arena_strndup(struct arena *a, const char *p, size_t n) must_check;
char *arena_printf(struct arena *a, const char *fmt, ...) must_check printf_like(2, 3);
size_t arena_size(const struct arena *a);

#endif
