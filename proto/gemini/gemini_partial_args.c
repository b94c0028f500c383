/*
 * Arguments in pieces: {"jsonPath":"$.a.b[0]","stringValue":"…"} sets a value, or goes on with a
 * string. A tree is built and written at the end; members stand in the order in which they came
 * first.
 */
#include <string.h>

#include "proto/gemini/gemini.h"
#include "proto/scan.h"
#include "shared/err.h"

#define NODES_MAX 20000u
#define STEPS_MAX 64u
#define INDEX_MAX 10000u
#define TEXT_MAX (64u << 20)

struct piece {
	struct piece *next;
	struct span text;
};

enum node_kind { NODE_NONE, NODE_OBJECT, NODE_LIST, NODE_RAW, NODE_STRING };

struct node {
	struct node *next, *child, *last;
	enum node_kind kind;
	struct span name; /* of a member: unescaped */
	uint32_t count;   /* of a list */
	struct span raw;
	struct piece *first, *end; /* of a string */
};

struct partial_args {
	struct arena *a;
	struct node root;
	uint32_t nodes;
};

struct partial_args *
partial_args_new(struct arena *a)
{
	struct partial_args *p = arena_zalloc(a, 1, sizeof *p);

	if (p != NULL) {
		p->a = a;
		p->root.kind = NODE_OBJECT;
	}
	return p;
}

static int
add_child(struct partial_args *p, struct node *parent, struct span name, struct node **out)
{
	struct node *n;

	if (p->nodes++ >= NODES_MAX)
		return E_TOO_LONG;
	if ((n = arena_zalloc(p->a, 1, sizeof *n)) == NULL)
		return E_NOMEM;
	if (name.p != NULL && (n->name = canon_copy(p->a, name)).p == NULL)
		return E_NOMEM;
	if (parent->last != NULL)
		parent->last->next = n;
	else
		parent->child = n;
	parent->last = n;
	parent->count++;
	*out = n;
	return 0;
}

/* A node that was something else before becomes an empty one of this kind. */
static void
become(struct node *n, enum node_kind kind)
{
	if (n->kind != kind)
		*n = (struct node){.next = n->next, .name = n->name, .kind = kind};
}

static int
step_name(struct partial_args *p, struct node *at, struct span name, struct node **out)
{
	become(at, NODE_OBJECT);
	for (struct node *n = at->child; n != NULL; n = n->next)
		if (span_same(n->name, name)) {
			*out = n;
			return 0;
		}
	return add_child(p, at, name, out);
}

static int
step_index(struct partial_args *p, struct node *at, uint32_t index, struct node **out)
{
	struct node *n;
	int e;

	become(at, NODE_LIST);
	while (at->count <= index)
		if ((e = add_child(p, at, (struct span){NULL, 0}, &n)) != 0)
			return e;
	for (n = at->child; index > 0; index--)
		n = n->next;
	*out = n;
	return 0;
}

/* One step of the path: .name, ['name'], ["name"] or [7]; *path is what follows it. */
static int
step(struct partial_args *p, struct span *path, struct node **at)
{
	const char *s = path->p, *end = path->p + path->n, *stop;
	uint32_t index = 0;

	if (*s == '[') {
		if (++s < end && (*s == '\'' || *s == '"')) {
			stop = memchr(s + 1, *s, (size_t)(end - s - 1));
			if (stop == NULL || end - stop < 2 || stop[1] != ']')
				return E_SYNTAX;
			*path = (struct span){stop + 2, (size_t)(end - stop - 2)};
			return step_name(p, *at, (struct span){s + 1, (size_t)(stop - s - 1)}, at);
		}
		for (stop = s; s < end && *s >= '0' && *s <= '9' && index <= INDEX_MAX; s++)
			index = index * 10 + (uint32_t)(*s - '0');
		if (s == stop || s >= end || *s != ']' || index > INDEX_MAX)
			return E_SYNTAX;
		*path = (struct span){s + 1, (size_t)(end - s - 1)};
		return step_index(p, *at, index, at);
	}
	s += *s == '.';
	for (stop = s; stop < end && *stop != '.' && *stop != '['; stop++)
		;
	if (stop == s)
		return E_SYNTAX;
	*path = (struct span){stop, (size_t)(end - stop)};
	return step_name(p, *at, (struct span){s, (size_t)(stop - s)}, at);
}

static int
walk(struct partial_args *p, struct span path, struct node **out)
{
	struct node *at = &p->root;
	unsigned steps = 0;
	int e;

	if (path.n > 0 && *path.p == '$')
		path = (struct span){path.p + 1, path.n - 1};
	if (path.n == 0)
		return E_SYNTAX;
	while (path.n > 0)
		if (steps++ >= STEPS_MAX || (e = step(p, &path, &at)) != 0)
			return steps > STEPS_MAX ? E_TOO_LONG : e;
	*out = at;
	return 0;
}

static int
append(struct partial_args *p, struct node *n, struct span text)
{
	struct piece *piece = arena_zalloc(p->a, 1, sizeof *piece);

	if (piece == NULL || (piece->text = canon_copy(p->a, text)).p == NULL)
		return E_NOMEM;
	become(n, NODE_STRING);
	if (n->end != NULL)
		n->end->next = piece;
	else
		n->first = piece;
	n->end = piece;
	return 0;
}

static int
add_piece(struct partial_args *p, const struct json *piece)
{
	static const char *const values[] = {
	    "numberValue", "boolValue", "nullValue", "structValue", "listValue"};
	const struct json *text = gemini_get(piece, "stringValue"), *m = NULL;
	struct span path = json_text(p->a, gemini_get(piece, "jsonPath"));
	struct node *n;
	int e;

	if (path.p == NULL)
		return 0;
	for (size_t i = 0; i < NELEM(values) && m == NULL; i++)
		m = gemini_get(piece, values[i]);
	if ((e = walk(p, path, &n)) != 0)
		return e == E_SYNTAX ? 0 : e; /* a path of no known form says nothing */
	if (json_is(text, 's')) {
		struct span s = json_text(p->a, text);
		return s.p == NULL ? E_NOMEM : append(p, n, s);
	}
	become(n, NODE_RAW);
	bool none = m == NULL || json_equals(m, "NULL_VALUE");
	n->raw = none ? span_of("null") : canon_copy(p->a, m->raw);
	return n->raw.p == NULL ? E_NOMEM : 0;
}

int
partial_args_add(struct partial_args *p, const struct json *pieces)
{
	int e;

	json_each (it, json_is(pieces, 'a') ? pieces : NULL)
		if ((e = add_piece(p, it)) != 0)
			return e;
	return 0;
}

/* As deep as a path has steps. */
static void
put_node(struct jsonw *w, const struct node *n)
{
	bool list = n->kind == NODE_LIST;

	switch (n->kind) {
	case NODE_OBJECT:
	case NODE_LIST:
		jsonw_open(w, list ? '[' : '{');
		for (const struct node *c = n->child; c != NULL; c = c->next) {
			if (!list)
				jsonw_name_text(w, c->name);
			put_node(w, c);
		}
		jsonw_close(w, list ? ']' : '}');
		break;
	case NODE_STRING:
		jsonw_begin_string(w);
		for (const struct piece *c = n->first; c != NULL; c = c->next)
			jsonw_part(w, c->text);
		jsonw_end_string(w);
		break;
	case NODE_RAW:
		jsonw_raw(w, n->raw);
		break;
	default:
		jsonw_lit(w, "null");
	}
}

struct span
partial_args_text(struct partial_args *p)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	struct jsonw w = {.b = &b};

	put_node(&w, &p->root);
	return gemini_take(p->a, &b);
}
