/*
 * Names and ids on the wire, in declarations, history and choice alike (spec
 * translation 6.1, 6.3, 6.4). What fits keeps its name; what is changed and would meet another's
 * gets a hash behind.
 */
#include <string.h>

#include "proto/shape_own.h"
#include "shared/digest.h"
#include "shared/err.h"

struct name {
	struct name *by_name, *by_wire; /* next in the bucket */
	struct span whole;              /* namespace__name */
	struct span name, namespace, wire;
	bool custom, listed, declared;
};

struct shape_names {
	size_t mask;
	struct name **names, **wires;
	struct shaped_tool **end;
};

static size_t
hash(struct span key)
{
	uint8_t sum[SHA256_BYTES];
	uint64_t h;

	digest_sha256(&key, 1, sum);
	memcpy(&h, sum, sizeof h);
	return (size_t)h;
}

static struct name *
find_in(struct name *n, struct span whole)
{
	while (n != NULL && !span_same(n->whole, whole))
		n = n->by_name;
	return n;
}

static struct name *
find(const struct shape_names *t, struct span whole)
{
	return find_in(t->names[hash(whole) & t->mask], whole);
}

static struct name *
find_wire(const struct shape_names *t, struct span wire)
{
	struct name *n = t->wires[hash(wire) & t->mask];

	while (n != NULL && !span_same(n->wire, wire))
		n = n->by_wire;
	return n;
}

/* p NULL: no memory */
static struct span
whole_name(struct shaping *s, struct span namespace, struct span name)
{
	char *out;

	if (namespace.n == 0 || s->want.namespaces)
		return name.p != NULL ? name : span_of("");
	if ((out = arena_alloc(s->a, namespace.n + 2 + name.n)) == NULL)
		return (struct span){NULL, 0};
	memcpy(out, namespace.p, namespace.n);
	memcpy(out + namespace.n, "__", 2);
	if (name.n > 0)
		memcpy(out + namespace.n + 2, name.p, name.n);
	return (struct span){out, namespace.n + 2 + name.n};
}

static int
add(struct shaping *s, struct span namespace, struct span name, bool custom)
{
	struct shape_names *t = s->names;
	struct span whole = whole_name(s, namespace, name);
	struct name *n, **at;

	if (whole.p == NULL)
		return E_NOMEM;
	at = &t->names[hash(whole) & t->mask];
	if ((n = find_in(*at, whole)) != NULL) {
		n->custom = n->custom || custom;
		return 0;
	}
	if ((n = arena_zalloc(s->a, 1, sizeof *n)) == NULL)
		return E_NOMEM;
	*n = (struct name){.whole = whole, .name = name, .namespace = namespace, .custom = custom};
	n->by_name = *at;
	*at = n;
	return 0;
}

static void
give(struct shape_names *t, struct name *n, struct span wire)
{
	struct name **at = &t->wires[hash(wire) & t->mask];

	n->wire = wire;
	n->by_wire = *at;
	*at = n;
}

static int
give_wire(struct shaping *s, struct span namespace, struct span name, bool fitting)
{
	struct span whole = whole_name(s, namespace, name), wire;
	struct name *n;

	if (whole.p == NULL)
		return E_NOMEM;
	if ((n = find(s->names, whole))->wire.p != NULL)
		return 0;
	wire = shape_tool_name(s->a, whole, s->p->names);
	if (wire.p == NULL)
		return E_NOMEM;
	if (fitting != (wire.p == whole.p && wire.n == whole.n))
		return 0;
	if (find_wire(s->names, wire) != NULL &&
	    (wire = shape_tool_name_cut(s->a, whole, s->p->names, true)).p == NULL)
		return E_NOMEM;
	give(s->names, n, wire);
	return 0;
}

/* ---- all places where names stand ---- */

static bool
is_named(const struct canon_tool *t)
{
	return t->kind == TOOL_FUNCTION || t->kind == TOOL_CUSTOM;
}

static int
each_name(struct shaping *s,
    int (*act)(struct shaping *s, struct span namespace, struct span name, bool flag), int flag)
{
	struct canon_tool *tool;
	struct canon_turn *t;
	struct canon_part *p;
	int r;

	TAILQ_FOREACH (tool, &s->q->tools, link)
		if (is_named(tool) && (r = act(s, tool->namespace, tool->name,
					   flag < 0 ? tool->kind == TOOL_CUSTOM : flag)) != 0)
			return r;
	TAILQ_FOREACH (t, &s->q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link)
			if ((p->kind == PART_TOOL_CALL || p->kind == PART_TOOL_RESULT) &&
			    (r = act(s, p->namespace, p->name, flag < 0 ? p->custom : flag)) != 0)
				return r;
	return 0;
}

static int
count_names(struct shaping *s)
{
	const struct canon_tool *tool;
	const struct canon_turn *t;
	const struct canon_part *p;
	size_t names = 0, n = 16;

	TAILQ_FOREACH (tool, &s->q->tools, link)
		names++;
	TAILQ_FOREACH (t, &s->q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link)
			names += p->kind == PART_TOOL_CALL || p->kind == PART_TOOL_RESULT;
	while (n < names)
		n *= 2;
	if ((s->names = arena_zalloc(s->a, 1, sizeof *s->names)) == NULL)
		return E_NOMEM;
	s->names->mask = n - 1;
	s->names->names = arena_zalloc(s->a, n, sizeof(struct name *));
	s->names->wires = arena_zalloc(s->a, n, sizeof(struct name *));
	s->names->end = &s->out->tools;
	return s->names->names == NULL || s->names->wires == NULL ? E_NOMEM : 0;
}

/* ---- using them ---- */

/* What has to be turned back in the answer is listed once. */
static int
list(struct shaping *s, struct name *n)
{
	struct shaped_tool *t;
	bool custom = n->custom && !s->want.custom_tools;

	if (n->listed ||
	    (!custom && span_same(n->wire, n->name) && (n->namespace.n == 0 || s->want.namespaces)))
		return 0;
	if ((t = arena_zalloc(s->a, 1, sizeof *t)) == NULL)
		return E_NOMEM;
	n->listed = true;
	t->wire = n->wire;
	t->name = n->name;
	t->namespace = n->namespace;
	t->custom = custom;
	*s->names->end = t;
	s->names->end = &t->next;
	return 0;
}

static int
rename(struct shaping *s, struct span *namespace, struct span *name)
{
	struct span whole = whole_name(s, *namespace, *name);
	struct name *n;
	int r;

	if (whole.p == NULL)
		return E_NOMEM;
	n = find(s->names, whole);
	r = list(s, n);
	*name = n->wire;
	if (!s->want.namespaces)
		*namespace = (struct span){NULL, 0};
	return r;
}

static int
rename_part(struct shaping *s, struct canon_part *p)
{
	struct span *id = &p->id;
	int r = rename(s, &p->namespace, &p->name);

	if (r != 0)
		return r;
	if (s->p->ids == IDS_NONE ||
	    (s->p->dialect == DIALECT_GEMINI && (s->p->vertex || !shape_is_new_gemini(s))))
		*id = (struct span){NULL, 0};
	else if (id->p != NULL && (*id = shape_call_id(s->a, *id, s->p->ids)).p == NULL)
		return E_NOMEM;
	if (p->custom && !s->want.custom_tools) {
		p->custom = false;
		if (p->kind == PART_TOOL_CALL &&
		    (p->args = shape_arguments_object(s->a, p->args, true)).p == NULL)
			return E_NOMEM;
	}
	return 0;
}

static int
rename_choice(struct shaping *s)
{
	struct canon_tool_choice *c = &s->q->tool_choice;
	struct canon_text_list *kept = NULL, **end = &kept;
	struct name *n;

	if (c->kind == CHOICE_NAMED && (n = find(s->names, c->name)) != NULL &&
	    !span_same(n->wire, c->name)) {
		c->name = n->wire;
		c->raw = (struct span){NULL, 0};
	}
	if (c->kind != CHOICE_ALLOWED)
		return 0;
	for (const struct canon_text_list *l = c->allowed; l != NULL; l = l->next) {
		struct canon_text_list *copy = arena_alloc(s->a, sizeof *copy);

		if (copy == NULL)
			return E_NOMEM;
		n = find(s->names, l->text);
		*copy = (struct canon_text_list){.text = n != NULL ? n->wire : l->text};
		*end = copy;
		end = &copy->next;
	}
	c->allowed = kept;
	return 0;
}

/* Of two with one name the first counts. */
static int
rename_tools(struct shaping *s)
{
	struct canon_tool *tool, *next;
	struct span whole;
	struct name *n;
	int r;

	for (tool = TAILQ_FIRST(&s->q->tools); tool != NULL; tool = next) {
		next = TAILQ_NEXT(tool, link);
		if (!is_named(tool))
			continue;
		if ((whole = whole_name(s, tool->namespace, tool->name)).p == NULL)
			return E_NOMEM;
		n = find(s->names, whole);
		if (n->declared) {
			TAILQ_REMOVE(&s->q->tools, tool, link);
			continue;
		}
		n->declared = true;
		if ((r = rename(s, &tool->namespace, &tool->name)) != 0)
			return r;
		if (tool->kind == TOOL_CUSTOM && !s->want.custom_tools &&
		    (r = shape_tool_wrap(s, tool)) != 0)
			return r;
	}
	return 0;
}

int
shape_names(struct shaping *s)
{
	struct canon_turn *t;
	struct canon_part *p;
	int r;

	if ((r = count_names(s)) != 0 || (r = each_name(s, add, -1)) != 0 ||
	    (r = each_name(s, give_wire, true)) != 0 || (r = each_name(s, give_wire, false)) != 0 ||
	    (r = rename_choice(s)) != 0)
		return r;
	if ((r = rename_tools(s)) != 0)
		return r;
	TAILQ_FOREACH (t, &s->q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link)
			if ((p->kind == PART_TOOL_CALL || p->kind == PART_TOOL_RESULT) &&
			    (r = rename_part(s, p)) != 0)
				return r;
	return 0;
}
