#include "proto/scan.h"

#include <assert.h>
#include <string.h>

#include "proto/scan_text.h"
#include "shared/err.h"

static_assert(SCAN_DEPTH % 64 == 0, "the bit stack is made of words");

static bool
fail(struct scan *s, int error, const char *p)
{
	if (s->error == 0) {
		s->error = error;
		s->p = p;
	}
	return false;
}

static inline void
blank(struct scan *s)
{
	const char *p = s->p;
	while (p < s->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	s->p = p;
}

/* The byte ahead behind white space; false at the end of the text. */
static inline bool
ahead(struct scan *s)
{
	if (s->error != 0)
		return false;
	blank(s);
	return s->p < s->end || fail(s, E_TRUNCATED, s->end);
}

/* An escape at *pp; moves behind it. Lone surrogates are valid here, as they are in the RFC's
 * grammar. */
static bool
take_escape(struct scan *s, const char **pp)
{
	const char *p = *pp + 1;
	if (p == s->end)
		return fail(s, E_TRUNCATED, p);
	if (*p != 'u') {
		if (short_escape(*p) == '\0')
			return fail(s, E_SYNTAX, p);
		*pp = p + 1;
		return true;
	}
	p++;
	for (int i = 0; i < 4; i++, p++) {
		if (p == s->end)
			return fail(s, E_TRUNCATED, p);
		if (hex_digit(*p) < 0)
			return fail(s, E_SYNTAX, p);
	}
	*pp = p;
	return true;
}

static bool
take_string(struct scan *s)
{
	const char *p = s->p + 1;
	for (;;) {
		p = plain_end(p, s->end);
		if (p == s->end)
			return fail(s, E_TRUNCATED, p);
		if (*p == '"') {
			s->p = p + 1;
			return true;
		}
		if (*p == '\\') {
			if (!take_escape(s, &p))
				return false;
			continue;
		}
		if ((unsigned char)*p < 0x20)
			return fail(s, E_SYNTAX, p);
		do {
			int len = utf8_len(p, s->end);
			if (len < 0)
				return fail(s, E_TRUNCATED, s->end);
			if (len == 0)
				return fail(s, E_BAD_UTF8, p);
			p += len;
		} while (p < s->end && (unsigned char)*p >= 0x80);
	}
}

/* One digit or more. */
static bool
take_digits(struct scan *s, const char **pp)
{
	const char *p = *pp;
	while (p < s->end && *p >= '0' && *p <= '9')
		p++;
	if (p == *pp)
		return fail(s, p == s->end ? E_TRUNCATED : E_SYNTAX, p);
	*pp = p;
	return true;
}

static bool
take_number(struct scan *s)
{
	const char *p = s->p;
	if (*p == '-')
		p++;
	if (p < s->end && *p == '0')
		p++;
	else if (!take_digits(s, &p))
		return false;
	if (p < s->end && *p == '.') {
		p++;
		if (!take_digits(s, &p))
			return false;
	}
	if (p < s->end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < s->end && (*p == '+' || *p == '-'))
			p++;
		if (!take_digits(s, &p))
			return false;
	}
	s->p = p;
	return true;
}

static bool
take_literal(struct scan *s, const char *word)
{
	const char *p = s->p;
	for (; *word != '\0'; word++, p++) {
		if (p == s->end)
			return fail(s, E_TRUNCATED, p);
		if (*p != *word)
			return fail(s, E_SYNTAX, p);
	}
	s->p = p;
	return true;
}

static bool
take_scalar(struct scan *s, int type)
{
	switch (type) {
	case 's':
		return take_string(s);
	case 'n':
		return take_number(s);
	case 't':
		return take_literal(s, "true");
	case 'f':
		return take_literal(s, "false");
	case '0':
		return take_literal(s, "null");
	default:
		return fail(s, E_SYNTAX, s->p);
	}
}

/* ---- the reader ------------------------------------------------------------------------------ */

void
scan_open(struct scan *s, const char *p, size_t n)
{
	memset(s, 0, sizeof(*s));
	if (p == NULL) {
		p = "";
		n = 0;
	}
	s->p = p;
	s->end = p + n;
}

int
scan_peek(struct scan *s)
{
	return ahead(s) ? type_of(*s->p) : 0;
}

/* Into the object or array whose bracket is the byte ahead. */
static inline bool
enter(struct scan *s, bool object)
{
	if (s->depth == SCAN_DEPTH)
		return fail(s, E_DEPTH, s->p);
	uint64_t bit = UINT64_C(1) << (s->depth % 64);
	if (object)
		s->object[s->depth / 64] |= bit;
	else
		s->object[s->depth / 64] &= ~bit;
	s->depth++;
	s->fresh = true;
	s->p++;
	return true;
}

bool
scan_enter(struct scan *s, int type)
{
	return (type == 'o' || type == 'a') && scan_peek(s) == type && enter(s, type == 'o');
}

static inline bool
next(struct scan *s, struct span *name)
{
	if (s->depth == 0 || !ahead(s))
		return false;
	unsigned level = s->depth - 1;
	bool object = (s->object[level / 64] >> (level % 64) & 1) != 0;
	if (*s->p == (object ? '}' : ']')) {
		s->p++;
		s->depth--;
		s->fresh = false;
		return false;
	}
	if (!s->fresh) {
		if (*s->p != ',')
			return fail(s, E_SYNTAX, s->p);
		s->p++;
		if (!ahead(s))
			return false;
	}
	s->fresh = false;
	if (!object) {
		*name = (struct span){NULL, 0};
		return true;
	}
	if (*s->p != '"')
		return fail(s, E_SYNTAX, s->p);
	name->p = s->p + 1;
	if (!take_string(s))
		return false;
	name->n = (size_t)(s->p - 1 - name->p);
	if (!ahead(s))
		return false;
	if (*s->p != ':')
		return fail(s, E_SYNTAX, s->p);
	s->p++;
	return true;
}

bool
scan_next(struct scan *s, struct span *name)
{
	return next(s, name);
}

bool
scan_skip(struct scan *s, struct span *value)
{
	unsigned base = s->depth;
	struct span name;
	if (!ahead(s))
		return false;
	const char *start = s->p;
	do {
		int type = scan_peek(s);
		if (type == 'o' || type == 'a')
			enter(s, type == 'o');
		else if (s->error == 0 && take_scalar(s, type))
			s->fresh = false;
		while (s->error == 0 && s->depth > base && !next(s, &name))
			; /* as many levels as end here */
	} while (s->error == 0 && s->depth > base);
	if (s->error != 0)
		return false;
	if (value != NULL)
		*value = (struct span){start, (size_t)(s->p - start)};
	return true;
}

int
scan_end(struct scan *s)
{
	if (s->error == 0) {
		blank(s);
		if (s->depth > 0)
			fail(s, s->p == s->end ? E_TRUNCATED : E_SYNTAX, s->p);
		else if (s->p != s->end)
			fail(s, E_SYNTAX, s->p);
	}
	return s->error;
}

/* ---- whole texts ------------------------------------------------------------------------------
 */

int
scan_check(const char *p, size_t n, size_t *at)
{
	struct scan s;
	scan_open(&s, p, n);
	const char *start = s.p;
	scan_skip(&s, NULL);
	int r = scan_end(&s);
	if (at != NULL)
		*at = (size_t)(s.p - start);
	return r;
}

int
scan_members(const char *p, size_t n, struct scan_want *want, unsigned wants, size_t *at)
{
	struct scan s;
	struct span name, value;
	for (unsigned i = 0; i < wants; i++)
		want[i].value = (struct span){NULL, 0};
	scan_open(&s, p, n);
	const char *start = s.p;
	if (!scan_enter(&s, 'o'))
		fail(&s, E_SYNTAX, s.p);
	while (scan_next(&s, &name) && scan_skip(&s, &value)) {
		for (unsigned i = 0; i < wants; i++) {
			if (!scan_name_is(name, want[i].name))
				continue;
			if (want[i].value.p != NULL)
				fail(&s, E_EXISTS, name.p - 1);
			want[i].value = value;
		}
	}
	int r = scan_end(&s);
	if (at != NULL)
		*at = (size_t)(s.p - start);
	return r;
}

/* The last member of that name: what most readers take when a name stands twice. */
static struct span
member(struct span json, const char *want)
{
	struct scan s;
	struct span name, value, found = {NULL, 0};
	scan_open(&s, json.p, json.n);
	if (scan_enter(&s, 'o'))
		while (scan_next(&s, &name) && scan_skip(&s, &value))
			if (scan_name_is(name, want))
				found = value;
	return found;
}

static struct span
element(struct span json, size_t index)
{
	struct scan s;
	struct span name, value;
	scan_open(&s, json.p, json.n);
	if (scan_enter(&s, 'a'))
		while (scan_next(&s, &name) && scan_skip(&s, &value))
			if (index-- == 0)
				return value;
	return (struct span){NULL, 0};
}

struct span
scan_path(struct span json, const char *path)
{
	char name[128];
	while (*path != '\0' && json.p != NULL) {
		if (*path == '[') {
			size_t index = 0;
			for (path++; *path >= '0' && *path <= '9'; path++)
				index = index * 10 + (size_t)(*path - '0');
			path += *path == ']';
			json = element(json, index);
		} else {
			path += *path == '.';
			size_t n = strcspn(path, ".[");
			if (n >= sizeof(name))
				return (struct span){NULL, 0};
			memcpy(name, path, n);
			name[n] = '\0';
			path += n;
			json = member(json, name);
		}
	}
	return json;
}
