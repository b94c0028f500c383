#include "proto/json.h"

#include <stdlib.h>
#include <string.h>

#include "proto/scan.h"
#include "shared/err.h"

#define NUMBER_MAX 400 /* longer spellings of a number are not understood, only passed on */

/* ---- parsing ---- */

/* The objects and arrays that are open, outermost first, and where their next child goes. */
struct builder {
	struct arena *arena;
	struct json *node[SCAN_DEPTH + 1];
	const struct json **tail[SCAN_DEPTH + 1];
};

static bool
has_escape(struct span s)
{
	return s.n > 0 && memchr(s.p, '\\', s.n) != NULL;
}

static struct json *
node_new(struct builder *b, unsigned depth, struct span name)
{
	struct json *j = arena_alloc(b->arena, sizeof *j);

	if (j == NULL)
		return NULL;
	*j = (struct json){.name = name, .name_escaped = has_escape(name)};
	*b->tail[depth] = j;
	b->tail[depth] = &j->next;
	if (depth > 0)
		b->node[depth]->count++;
	return j;
}

/* Takes the value ahead: a leaf as a whole, of an object or array its opening bracket. */
static bool
take_value(struct builder *b, struct scan *s, struct json *j, unsigned *depth)
{
	int type = scan_peek(s);

	j->type = (char)type;
	if (type == 'o' || type == 'a') {
		j->raw.p = s->p;
		if (!scan_enter(s, type))
			return false;
		b->node[++*depth] = j;
		b->tail[*depth] = &j->child;
		return true;
	}
	if (!scan_skip(s, &j->raw))
		return false;
	j->escaped = type == 's' && has_escape(j->raw);
	return true;
}

static int
build(struct builder *b, struct scan *s)
{
	unsigned depth = 0;
	struct span name = {NULL, 0};
	struct json *j = node_new(b, 0, name);

	if (j == NULL)
		return E_NOMEM;
	if (!take_value(b, s, j, &depth))
		return scan_end(s) != 0 ? s->error : E_SYNTAX;
	while (depth > 0) {
		if (!scan_next(s, &name)) {
			if (s->error != 0)
				return s->error;
			b->node[depth]->raw.n = (size_t)(s->p - b->node[depth]->raw.p);
			depth--;
			continue;
		}
		if ((j = node_new(b, depth, name)) == NULL)
			return E_NOMEM;
		if (!take_value(b, s, j, &depth))
			return s->error != 0 ? s->error : E_SYNTAX;
	}
	return scan_end(s);
}

int
json_parse(struct arena *a, struct span text, const struct json **out)
{
	struct builder b; /* 8 KB, of which only the levels in use are touched */
	struct scan s;
	int r;

	*out = NULL;
	b.arena = a;
	b.tail[0] = out;
	scan_open(&s, text.p, text.n);
	if ((r = build(&b, &s)) != 0)
		*out = NULL;
	return r;
}

/* ---- reading ---- */

bool
json_is(const struct json *j, char type)
{
	return j != NULL && j->type == type;
}

bool
json_is_bool(const struct json *j)
{
	return j != NULL && (j->type == 't' || j->type == 'f');
}

bool
json_name_is(const struct json *j, const char *name)
{
	if (j->name_escaped)
		return scan_name_is(j->name, name);
	return strlen(name) == j->name.n && memcmp(j->name.p, name, j->name.n) == 0;
}

const struct json *
json_get(const struct json *o, const char *name)
{
	const struct json *found = NULL;

	if (json_is(o, 'o'))
		json_each (m, o)
			if (json_name_is(m, name))
				found = m;
	return found;
}

const struct json *
json_want(const struct json *o, const char *name)
{
	const struct json *m = json_get(o, name);

	return json_is(m, '0') ? NULL : m;
}

const struct json *
json_at(const struct json *a, uint32_t i)
{
	if (!json_is(a, 'a'))
		return NULL;
	json_each (e, a)
		if (i-- == 0)
			return e;
	return NULL;
}

/* `quoted` has its quotes; the result is never longer than it. */
static struct span
unescape(struct arena *a, struct span quoted)
{
	char *out = arena_alloc(a, quoted.n);
	ptrdiff_t n = out != NULL ? scan_text(quoted, out, quoted.n) : -1;

	return n < 0 ? (struct span){NULL, 0} : (struct span){out, (size_t)n};
}

struct span
json_text(struct arena *a, const struct json *j)
{
	if (!json_is(j, 's'))
		return (struct span){NULL, 0};
	if (j->escaped)
		return unescape(a, j->raw);
	return (struct span){j->raw.p + 1, j->raw.n - 2};
}

struct span
json_name(struct arena *a, const struct json *j)
{
	if (!j->name_escaped)
		return j->name;
	return unescape(a, (struct span){j->name.p - 1, j->name.n + 2});
}

bool
json_equals(const struct json *j, const char *text)
{
	if (!json_is(j, 's'))
		return false;
	return scan_name_is((struct span){j->raw.p + 1, j->raw.n - 2}, text);
}

bool
json_int(const struct json *j, int64_t *out)
{
	bool negative;
	uint64_t u;
	struct span v;

	if (j == NULL || (j->type != 'n' && j->type != 's'))
		return false;
	v = j->type == 's' ? (struct span){j->raw.p + 1, j->raw.n - 2} : j->raw;
	negative = v.n > 0 && v.p[0] == '-';
	if (negative)
		v = (struct span){v.p + 1, v.n - 1};
	if (v.n == 0 || v.n > NUMBER_MAX || scan_check(v.p, v.n, NULL) != 0 || !scan_u64(v, &u) ||
	    u > INT64_MAX)
		return false;
	*out = negative ? -(int64_t)u : (int64_t)u;
	return true;
}

bool
json_yes(const struct json *j)
{
	return json_is(j, 't');
}

int
json_tri(const struct json *j)
{
	return json_is(j, 't') ? 1 : json_is(j, 'f') ? 0 : -1;
}

/* ---- writing and comparing ---- */

int
json_compact(struct buf *b, const struct json *j)
{
	bool first = true;

	if (j->type != 'o' && j->type != 'a')
		return buf_add(b, j->raw.p, j->raw.n);
	buf_add(b, j->type == 'o' ? "{" : "[", 1);
	json_each (m, j) {
		if (!first)
			buf_add(b, ",", 1);
		first = false;
		if (j->type == 'o') {
			buf_add(b, "\"", 1);
			buf_add(b, m->name.p, m->name.n);
			buf_add(b, "\":", 2);
		}
		(void)json_compact(b, m); /* the buffer remembers */
	}
	return buf_add(b, j->type == 'o' ? "}" : "]", 1);
}

static bool
same_text(struct span x, struct span y)
{
	bool same = false;
	char *u, *v;

	if (x.n == y.n && memcmp(x.p, y.p, x.n) == 0)
		return true;
	u = malloc(x.n);
	v = malloc(y.n);
	if (u != NULL && v != NULL) {
		ptrdiff_t a = scan_text(x, u, x.n), b = scan_text(y, v, y.n);
		same = a >= 0 && a == b && memcmp(u, v, (size_t)a) == 0;
	}
	free(u);
	free(v);
	return same;
}

static bool
same_number(struct span x, struct span y)
{
	char u[NUMBER_MAX], v[NUMBER_MAX];

	if (x.n == y.n && memcmp(x.p, y.p, x.n) == 0)
		return true;
	if (x.n >= sizeof u || y.n >= sizeof v)
		return false;
	memcpy(u, x.p, x.n);
	memcpy(v, y.p, y.n);
	u[x.n] = v[y.n] = '\0';
	return strtod(u, NULL) == strtod(v, NULL);
}

static bool
same_members(const struct json *x, const struct json *y)
{
	json_each (m, x) {
		bool found = false;

		json_each (o, y)
			if (same_text((struct span){m->name.p - 1, m->name.n + 2},
				(struct span){o->name.p - 1, o->name.n + 2}))
				found = json_same(m, o);
		if (!found)
			return false;
	}
	return true;
}

bool
json_same(const struct json *x, const struct json *y)
{
	if (x == NULL || y == NULL || x->type != y->type || x->count != y->count)
		return x == y;
	switch (x->type) {
	case 's':
		return same_text(x->raw, y->raw);
	case 'n':
		return same_number(x->raw, y->raw);
	case 'o':
		return same_members(x, y);
	case 'a':
		for (const struct json *m = x->child, *o = y->child; m != NULL;
		     m = m->next, o = o->next)
			if (!json_same(m, o))
				return false;
		return true;
	default:
		return true;
	}
}
