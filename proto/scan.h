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
 * scan_text      the same, but a lone surrogate becomes U+FFFD instead of E_SYNTAX.
 * scan_string_len  bytes of the unescaped string.
 * scan_escape   appends p as the inside of a JSON string (without quotes) to a buffer; what is not UTF-8 becomes U+FFFD.
 * scan_utf8     valid UTF-8 (RFC 3629: no surrogates, no overlong forms).
 *
 * The rest is the reader that these are made of, for callers that want more than top-level members from one pass:
 *
 *     struct scan s;
 *     scan_open(&s, p, n);
 *     if (scan_enter(&s, 'o'))                    goes into the object ahead
 *             while (scan_next(&s, &name))        stands before a value now: enter it or skip it
 *                     scan_skip(&s, &value);
 *     r = scan_end(&s);                           0: all of it was read and valid
 *
 * scan_open     the text stays the caller's.
 * scan_peek     type of the value ahead, as scan_type; 0 when there is none.
 * scan_enter    into the value ahead if it is of this type ('o' or 'a'); otherwise false and nothing is taken.
 * scan_next     to the next member or element; `name` is without quotes, unescaped not yet, p NULL in an array. False: this
 *               object or array has ended (or failed), the reader stands behind it.
 * scan_skip     takes the value ahead, whatever it is. `value` may be NULL.
 * scan_end      the first error, which sticks; E_SYNTAX when something other than white space is left.
 * scan_name_is  compares a name with its unescaped spelling.
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
ptrdiff_t scan_text(struct span value, char *out, size_t n) must_check;
size_t scan_string_len(struct span value);
int scan_escape(struct buf *b, const char *p, size_t n);
bool scan_utf8(const char *p, size_t n);

struct scan {
	const char *p, *end; /* after an error p stands at the first wrong byte */
	int error;
	unsigned depth;
	bool fresh; /* nothing of the innermost object or array was read yet */
	uint64_t object[SCAN_DEPTH / 64]; /* bit d: level d is an object */
};

void scan_open(struct scan *s, const char *p, size_t n);
int scan_peek(struct scan *s);
bool scan_enter(struct scan *s, int type);
bool scan_next(struct scan *s, struct span *name);
bool scan_skip(struct scan *s, struct span *value);
int scan_end(struct scan *s) must_check;
bool scan_name_is(struct span name, const char *want);

#endif
