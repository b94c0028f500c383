/*
 * scan: one pass over a JSON text without building a tree. Pure, no allocation, no recursion (depth is a counter and a
 * bit stack), strict RFC 8259, UTF-8 checked.
 *
 * scan_check    valid JSON, exactly one value with white space around. 0, E_SYNTAX, E_DEPTH, E_BAD_UTF8, E_TRUNCATED.
 *               *at: offset of the first wrong byte.
 * scan_members  the value is an object: finds the members named in `want` at its top level and stores the span of each
 *               value (strings with their quotes; p NULL: absent). A wanted member that stands twice is E_EXISTS
 *               (two readers could disagree about it). Validates the whole text as scan_check does.
 * scan_path     the value at a path such as "choices[0].delta.content"; p NULL: absent. The text must be valid.
 * scan_type     of a value span: 'o' 'a' 's' 'n' 't' 'f' '0' (null), or 0 for an empty span.
 * scan_u64      a non-negative integer value (1, 1.0 and 1e2 count); false otherwise.
 * scan_string   unescapes a string value into `out` (at most n bytes with NUL); its length, or E_TOO_LONG, E_SYNTAX.
 * scan_string_len  bytes of the unescaped string.
 * scan_escape   appends p as the inside of a JSON string (without quotes) to a buffer.
 */
#ifndef OMNIROUTE_PROTO_SCAN_H
#define OMNIROUTE_PROTO_SCAN_H

#include "shared/base.h"
#include "shared/buf.h"

#define SCAN_DEPTH 512

struct scan_want {
	const char *name;
	struct span value;
};

int scan_check(const char *p, size_t n, size_t *at) must_check;
int scan_members(const char *p, size_t n, struct scan_want *want, unsigned wants, size_t *at) must_check;
struct span scan_path(struct span json, const char *path);
int scan_type(struct span value);
bool scan_u64(struct span value, uint64_t *out);
ptrdiff_t scan_string(struct span value, char *out, size_t n) must_check;
size_t scan_string_len(struct span value);
int scan_escape(struct buf *b, const char *p, size_t n);

#endif
