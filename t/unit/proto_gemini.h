/* What the tests of the Gemini dialect share: one arena per test, events as text. */
#ifndef OMNIROUTE_T_UNIT_PROTO_GEMINI_H
#define OMNIROUTE_T_UNIT_PROTO_GEMINI_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/dialect.h"
#include "proto/profile.h"
#include "shared/err.h"

static struct arena *arena;
static struct profile profile;
static struct canon_error error;

static inline int
setup(void **state)
{
	(void)state;
	arena = arena_new(64u << 20);
	profile_init(&profile, DIALECT_GEMINI);
	error = (struct canon_error){0};
	return arena != NULL ? 0 : -1;
}

static inline int
teardown(void **state)
{
	(void)state;
	arena_free(arena);
	return 0;
}

static inline struct encode_ctx
context(struct canon_request *asked)
{
	return (struct encode_ctx){
	    .arena = arena, .model = span_of("m"), .profile = &profile, .asked = asked};
}

static inline void
assert_text(struct span got, const char *want)
{
	if (want == NULL) {
		assert_null(got.p);
		return;
	}
	assert_non_null(got.p);
	if (!span_is(got, want))
		fail_msg("got  %.*s\nwant %s", (int)got.n, got.p, want);
}

/* The bytes are exactly these; the buffer is given up. */
static inline void
assert_bytes(struct buf *b, const char *want)
{
	assert_true(buf_ok(b));
	assert_text((struct span){b->len > 0 ? b->data : "", b->len}, want);
	buf_clear(b);
}

static inline const struct json *
parsed(struct span text)
{
	const struct json *j = NULL;

	if (json_parse(arena, text, &j) != 0)
		fail_msg("no JSON: %.*s", (int)text.n, text.p);
	return j;
}

/* t/data/gemini/NAME, where the tests are started in the repository or in its build directory. */
static inline struct span
fixture(const char *name)
{
	char path[256];
	FILE *f;
	char *text = arena_alloc(arena, 1u << 16);
	size_t n;

	snprintf(path, sizeof path, "t/data/gemini/%s", name);
	f = fopen(path, "rb");
	if (f == NULL)
		skip();
	n = fread(text, 1, 1u << 16, f);
	fclose(f);
	return (struct span){text, n};
}

#endif
