/*
 * The JSON reader on any bytes: whole-text check, members and paths must agree with each other,
 * and strings must come back as they went in. jansson has the second opinion: it accepts the same
 * texts and finds the same values. Where they differ by design:
 *
 *   depth       ours ends at SCAN_DEPTH, jansson's later
 *   numbers     jansson refuses what no long long or double holds; to us they are digits
 *   surrogates  jansson refuses half of a pair; to us it is valid until somebody unescapes it
 *   NUL         jansson takes the escape in a value (JSON_ALLOW_NUL), but never in a name;
 *               and a bare NUL behind the value passes with it for the end of the text
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "proto/scan.h"
#include "shared/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_string(struct span value)
{
	size_t len = scan_string_len(value);
	char *out = malloc(len + 1);
	struct buf b = BUF_INIT(64u << 20);
	ptrdiff_t n = scan_string(value, out, len + 1);

	if (n == E_SYNTAX && memmem(value.p, value.n, "\\u", 2) != NULL)
		goto out; /* half of a surrogate pair: no text */
	if (n < 0 || (size_t)n != len)
		abort();
	if (len > 0 && scan_string(value, out, len) != E_TOO_LONG)
		abort(); /* one byte too few must be refused */
	if (scan_string(value, out, len + 1) != n)
		abort();
	buf_str(&b, "\"");
	scan_escape(&b, out, len);
	buf_str(&b, "\"");
	if (!buf_ok(&b) || scan_check(b.data, b.len, &len) != 0)
		abort();
out:
	buf_clear(&b);
	free(out);
}

static unsigned
walk(struct scan *s)
{
	struct span name, value;
	unsigned n = 0;
	int type = scan_peek(s);

	if (type == 'o' || type == 'a') {
		if (!scan_enter(s, type))
			return 0;
		while (scan_next(s, &name)) {
			if (scan_peek(s) == 'o' || scan_peek(s) == 'a') {
				n += walk(s);
				continue;
			}
			if (!scan_skip(s, &value))
				break;
			n++;
			if (scan_type(value) == 's')
				check_string(value);
		}
		return n;
	}
	scan_skip(s, &value);
	return 1;
}

static void
same_value(const json_t *theirs, struct span ours)
{
	static const char type[] = {[JSON_OBJECT] = 'o',
	    [JSON_ARRAY] = 'a',
	    [JSON_STRING] = 's',
	    [JSON_INTEGER] = 'n',
	    [JSON_REAL] = 'n',
	    [JSON_TRUE] = 't',
	    [JSON_FALSE] = 'f',
	    [JSON_NULL] = '0'};
	size_t len = scan_string_len(ours);
	char *text;
	uint64_t u;

	if (scan_type(ours) != type[json_typeof(theirs)])
		abort();
	if (json_is_string(theirs)) {
		text = malloc(len + 1);
		if (scan_string(ours, text, len + 1) != (ptrdiff_t)json_string_length(theirs) ||
		    memcmp(text, json_string_value(theirs), len) != 0)
			abort();
		free(text);
	} else if (json_is_integer(theirs) && *ours.p != '-') {
		if (!scan_u64(ours, &u) || u != (uint64_t)json_integer_value(theirs))
			abort();
	} else if (scan_u64(ours, &u) && (double)u != json_real_value(theirs)) {
		abort();
	}
}

/* An escape that may be half of a surrogate pair. */
static bool
has_surrogate(const char *p, size_t n)
{
	for (size_t i = 0; i + 4 <= n; i++)
		if (p[i] == '\\' && p[i + 1] == 'u' && (p[i + 2] | 0x20) == 'd' && p[i + 3] >= '8')
			return true;
	return false;
}

/* `want`: a member that we found, or that is absent; NULL when the text is no object to us. */
static void
second_opinion(const char *p, size_t n, int valid, const struct scan_want *want)
{
	json_error_t e;
	json_t *root = json_loadb(p, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e), *theirs;

	if (root != NULL && valid != 0 && valid != E_DEPTH && memchr(p, '\0', n) == NULL)
		abort();
	if (root == NULL && valid == 0 && json_error_code(&e) != json_error_numeric_overflow &&
	    json_error_code(&e) != json_error_null_byte_in_key && !has_surrogate(p, n))
		abort();
	if (root != NULL && valid == 0 && want != NULL) {
		theirs = json_object_get(root, want->name);
		if ((theirs == NULL) != (want->value.p == NULL))
			abort();
		if (theirs != NULL)
			same_value(theirs, want->value);
	}
	json_decref(root);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	struct scan_want want[] = {{.name = "model"}, {.name = "a"}};
	struct scan s;
	size_t at = 0, at2 = 0;
	int valid = scan_check(p, size, &at), members;
	uint64_t u;

	if (at > size)
		abort();
	members = scan_members(p, size, want, NELEM(want), &at2);
	if (valid != 0 && members == 0)
		abort();
	scan_open(&s, p, size);
	walk(&s);
	if ((scan_end(&s) == 0) != (valid == 0))
		abort();
	if (valid == 0) {
		struct span all = {p, size};
		struct span v = scan_path(all, "a[0].b");
		if (v.p != NULL && (v.p < p || v.p + v.n > p + size))
			abort();
		(void)scan_u64(v, &u);
		if (members == 0 && want[0].value.p != NULL && scan_type(want[0].value) == 0)
			abort();
	}
	second_opinion(p, size, valid, members == 0 ? &want[1] : NULL);
	(void)scan_utf8(p, size);
	return 0;
}
