/*
 * buf: a growing byte buffer with a ceiling. Create with BUF_INIT(max) or buf_init.
 *
 *   data ──► [ len bytes used ][ cap - len spare ]        len <= cap <= max
 *
 * buf_add, buf_addf, buf_str, buf_u8..: append; 0, E_TOO_LONG past the ceiling, E_NOMEM. A failed append leaves the
 *   buffer as it was and sets `failed`, so that a run of appends needs one check at its end (buf_ok).
 * buf_reserve  makes room for `n` more bytes and returns where they go (commit with b->len += n); NULL on failure.
 * buf_drop     removes `n` bytes from the front.
 * buf_clear    frees the storage; buf_wipe overwrites it first (secrets).
 * buf_cstr     NUL-terminates (the NUL is not counted) and returns data; NULL on failure.
 */
#ifndef OMNIROUTE_SHARED_BUF_H
#define OMNIROUTE_SHARED_BUF_H

#include "shared/base.h"

struct buf {
	char *data;
	size_t len, cap, max;
	bool failed;
};

#define BUF_INIT(ceiling)                                                                          \
	{                                                                                          \
		.max = (ceiling)                                                                   \
	}

void buf_init(struct buf *b, size_t max);
int buf_add(struct buf *b, const void *p, size_t n);
int buf_str(struct buf *b, const char *s);
int buf_addf(struct buf *b, const char *fmt, ...) printf_like(2, 3);
char *buf_reserve(struct buf *b, size_t n) must_check;
void buf_drop(struct buf *b, size_t n);
bool buf_ok(const struct buf *b);
const char *buf_cstr(struct buf *b) must_check;
void buf_reset(struct buf *b); /* len = 0, failed = false, storage kept */
void buf_clear(struct buf *b);
void buf_wipe(struct buf *b);

#endif
