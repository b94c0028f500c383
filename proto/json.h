/*
 * json: a JSON text as a tree whose leaves are spans of the text, for the paths that translate. Pure. Strict as scan is
 * (RFC 8259, UTF-8 checked, SCAN_DEPTH levels). The text must outlive the tree: nothing is copied, so numbers, strings and
 * whole subtrees can be written out again exactly as they stood (`raw`).
 *
 * json_parse   0, E_SYNTAX, E_DEPTH, E_BAD_UTF8, E_TRUNCATED, E_NOMEM. Exactly one value with white space around.
 * json_get     member of an object; the last one where a name stands twice; NULL: absent, or `o` is no object (or NULL).
 * json_want    the same, but NULL for a member whose value is null: absent and null mean the same to most readers.
 * json_at      element i of an array, NULL past its end.
 * json_is      has this type ('o' 'a' 's' 'n' 't' 'f' '0'); false for NULL. json_is_bool: 't' or 'f'.
 * json_text    the unescaped text of a string: points into the source when it has no escapes, else into the arena; a lone
 *              surrogate becomes U+FFFD. p NULL: no string, or out of memory. The empty string has p != NULL.
 * json_name    unescaped name of a member, the same way.
 * json_equals  is a string with exactly this text. json_name_is: the name is exactly this.
 * json_int     an integer value (1, 1.0 and 1e2 count, also "1" in quotes); false otherwise.
 * json_yes    is `true`. json_tri: 1 true, 0 false, -1 anything else.
 * json_compact appends the value without insignificant white space; spelling of numbers and strings is kept.
 * json_same    same value: members in any order, numbers and strings compared by value. For tests and for the schema pass.
 */
#ifndef OMNIROUTE_PROTO_JSON_H
#define OMNIROUTE_PROTO_JSON_H

#include "shared/arena.h"
#include "shared/base.h"
#include "shared/buf.h"

struct json {
	const struct json *child; /* first member or element */
	const struct json *next;  /* sibling */
	struct span name;         /* of a member: between its quotes, as written */
	struct span raw;          /* the value as written */
	uint32_t count;           /* members or elements */
	char type;
	bool escaped, name_escaped; /* a backslash stands in it */
};

#define json_each(it, parent)                                                                      \
	for (const struct json *it = (parent) != NULL ? (parent)->child : NULL; it != NULL;        \
	     it = it->next)

int json_parse(struct arena *a, struct span text, const struct json **out) must_check;
const struct json *json_get(const struct json *o, const char *name);
const struct json *json_want(const struct json *o, const char *name);
const struct json *json_at(const struct json *a, uint32_t i);
bool json_is(const struct json *j, char type);
bool json_is_bool(const struct json *j);
struct span json_text(struct arena *a, const struct json *j);
struct span json_name(struct arena *a, const struct json *j);
bool json_equals(const struct json *j, const char *text);
bool json_name_is(const struct json *j, const char *name);
bool json_int(const struct json *j, int64_t *out);
bool json_yes(const struct json *j);
int json_tri(const struct json *j);
int json_compact(struct buf *b, const struct json *j);
bool json_same(const struct json *x, const struct json *y);

#endif
