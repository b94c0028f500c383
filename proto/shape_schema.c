/*
 * JSON schemas for targets that do not take all of them (spec translation 7). Two steps: the walk,
 * which copies only what stands at schema positions (so that data, and properties that are named
 * like keywords, are never touched), resolves references and drops what is in no list; and, at each
 * object it has copied, the target's own rules (schema_rules.c).
 */
#include <stdlib.h>
#include <string.h>

#include "proto/schema_own.h"
#include "proto/shape.h"
#include "shared/err.h"

#define DEPTH_MAX 64
#define NODES_MAX 20000

/* What stands at a keyword. */
enum place { PLACE_DATA, PLACE_SCHEMA, PLACE_LIST, PLACE_MAP };

static const struct {
	const char *word;
	enum place place;
} places[] = {
    {"properties", PLACE_MAP},
    {"patternProperties", PLACE_MAP},
    {"$defs", PLACE_MAP},
    {"definitions", PLACE_MAP},
    {"dependentSchemas", PLACE_MAP},
    {"anyOf", PLACE_LIST},
    {"oneOf", PLACE_LIST},
    {"allOf", PLACE_LIST},
    {"prefixItems", PLACE_LIST},
    {"items", PLACE_SCHEMA},
    {"additionalProperties", PLACE_SCHEMA},
    {"unevaluatedProperties", PLACE_SCHEMA},
    {"unevaluatedItems", PLACE_SCHEMA},
    {"additionalItems", PLACE_SCHEMA},
    {"contains", PLACE_SCHEMA},
    {"propertyNames", PLACE_SCHEMA},
    {"not", PLACE_SCHEMA},
    {"if", PLACE_SCHEMA},
    {"then", PLACE_SCHEMA},
    {"else", PLACE_SCHEMA},
};

static enum place
place_of(struct span name)
{
	for (size_t i = 0; i < NELEM(places); i++)
		if (span_is(name, places[i].word))
			return places[i].place;
	return PLACE_DATA;
}

static bool
fail(struct schema_walk *w, int r)
{
	if (w->error == 0)
		w->error = r;
	return false;
}

/* ---- references ---- */

/* A JSON pointer's step: "~1" is a slash, "~0" a tilde (RFC 6901). */
static bool
step_is(struct span step, struct span name)
{
	size_t i = 0, k = 0;

	for (; i < step.n && k < name.n; i++, k++) {
		char c = step.p[i];

		if (c == '~' && i + 1 < step.n)
			c = step.p[++i] == '1' ? '/' : '~';
		if (c != name.p[k])
			return false;
	}
	return i == step.n && k == name.n;
}

static const struct json *
follow(const struct json *at, struct span step)
{
	const struct json *found = NULL;
	uint32_t i = 0;

	json_each (m, at) {
		if (at->type == 'o' && step_is(step, m->name))
			found = m;
		if (at->type == 'a' && step.n > 0 && step.n < 9 &&
		    strtoul(step.p, NULL, 10) == i++) /* a '/' or a quote ends it */
			found = m;
	}
	return found;
}

/* "#/$defs/x" within the schema; NULL: it leads nowhere here. */
static const struct json *
resolve(struct schema_walk *w, const struct json *ref)
{
	struct span path = json_text(w->arena, ref);
	const struct json *at = w->root;

	if (path.n == 0 || path.p[0] != '#')
		return NULL;
	path.p++;
	path.n--;
	while (at != NULL && path.n > 0) {
		struct span step;
		const char *slash;

		if (path.p[0] != '/')
			return NULL;
		path.p++;
		path.n--;
		slash = memchr(path.p, '/', path.n);
		step = (struct span){path.p, slash != NULL ? (size_t)(slash - path.p) : path.n};
		at = follow(at, step);
		path.p += step.n;
		path.n -= step.n;
	}
	return at;
}

static bool
is_open(const struct schema_walk *w, const struct json *j)
{
	for (unsigned i = 0; i < w->opened; i++)
		if (w->open[i] == j)
			return true;
	return false;
}

/* ---- the walk ---- */

static struct sn *node(struct schema_walk *w, const struct json *j);

static struct sn *
put_list(struct schema_walk *w, const struct json *list, bool map)
{
	struct sn *out = map ? sn_object(w->arena) : sn_array(w->arena), **end;

	if (out == NULL)
		return NULL;
	end = &out->child;
	json_each (m, list) {
		struct sn *n;

		if (map && m->type == 'f' && w->rule->no_bool)
			continue;
		if ((n = node(w, m)) == NULL)
			return NULL;
		n->name = m->name;
		*end = n;
		end = &n->next;
	}
	return out;
}

static struct sn *
member(struct schema_walk *w, const struct json *m)
{
	switch (place_of(m->name)) {
	case PLACE_SCHEMA:
		if (m->type == 'a') /* items as a list: the old form of prefixItems */
			return put_list(w, m, false);
		if (json_is_bool(m) && !span_is(m->name, "items"))
			return sn_copy(w->arena, m);
		return node(w, m);
	case PLACE_LIST:
		return m->type == 'a' ? put_list(w, m, false) : sn_copy(w->arena, m);
	case PLACE_MAP:
		return m->type == 'o' ? put_list(w, m, true) : sn_copy(w->arena, m);
	default:
		return sn_copy(w->arena, m);
	}
}

static bool
is_dropped(const struct schema_walk *w, const struct json *m)
{
	if (w->rule->inline_refs && (span_is(m->name, "$defs") || span_is(m->name, "definitions")))
		return true;
	for (const char *const *word = w->rule->drop; word != NULL && *word != NULL; word++)
		if (span_is(m->name, *word))
			return true;
	return false;
}

static bool
members(struct schema_walk *w, struct sn *out, const struct json *j)
{
	json_each (m, j) {
		struct sn *value;

		if (is_dropped(w, m) || (w->rule->inline_refs && span_is(m->name, "$ref")))
			continue;
		if ((value = member(w, m)) == NULL)
			return false;
		sn_put(out, m->name, value);
	}
	return true;
}

/* What a reference that leads nowhere, or back to itself, is replaced by. */
static struct sn *
any_object(struct schema_walk *w, const struct json *j)
{
	struct sn *out = sn_object(w->arena);
	const struct json *description = json_get(j, "description");
	struct sn *text;

	if (out == NULL || !sn_set(out, "type", sn_raw(w->arena, "\"object\"")))
		return NULL;
	if (!json_is(description, 's'))
		return out;
	text = sn_copy(w->arena, description);
	return sn_set(out, "description", text) ? out : NULL;
}

/* The referenced schema, with what stands beside the reference over it. */
static struct sn *
referenced(struct schema_walk *w, const struct json *j, const struct json *ref)
{
	const struct json *to = resolve(w, ref);
	struct sn *out;

	if (!json_is(to, 'o') || is_open(w, to))
		return any_object(w, json_is(to, 'o') && !json_get(j, "description") ? to : j);
	if ((out = node(w, to)) == NULL || out->type != 'o')
		return out;
	return members(w, out, j) ? out : NULL;
}

static bool
is_type_word(const struct json *j)
{
	static const char *const words[] = {
	    "string", "number", "integer", "boolean", "object", "array", "null"};

	for (size_t i = 0; i < NELEM(words); i++)
		if (json_equals(j, words[i]))
			return true;
	return false;
}

/* A schema position that does not hold an object. */
static struct sn *
odd_node(struct schema_walk *w, const struct json *j)
{
	struct sn *out;

	if (!w->rule->no_bool)
		return sn_copy(w->arena, j);
	out = sn_object(w->arena);
	if (out != NULL && is_type_word(j) && !sn_set(out, "type", sn_copy(w->arena, j)))
		return NULL;
	return out;
}

static struct sn *
node(struct schema_walk *w, const struct json *j)
{
	const struct json *ref = json_get(j, "$ref");
	struct sn *out;

	if (++w->nodes > NODES_MAX || w->opened >= DEPTH_MAX) {
		(void)fail(w, w->nodes > NODES_MAX ? E_TOO_LONG : E_DEPTH);
		return NULL;
	}
	if (j->type != 'o')
		return odd_node(w, j);
	w->open[w->opened++] = j;
	if (w->rule->inline_refs && json_is(ref, 's')) {
		out = referenced(w, j, ref);
	} else {
		out = sn_object(w->arena);
		if (out != NULL && !members(w, out, j))
			out = NULL;
	}
	w->opened--;
	if (out != NULL && out->type == 'o' && w->rule->finish != NULL && !w->rule->finish(w, out))
		return NULL;
	return out;
}

struct span
shape_schema(struct arena *a, struct span schema, enum profile_schema rule, int *r)
{
	struct schema_walk w = {.arena = a, .rule = schema_rule(rule)};
	struct buf b = BUF_INIT((size_t)64 << 20);
	struct span out = {NULL, 0};
	struct sn *top;
	char *copy;

	*r = 0;
	if (w.rule == NULL)
		return schema;
	if ((*r = json_parse(a, schema, &w.root)) != 0)
		return out;
	top = node(&w, w.root);
	if (top != NULL && top->type == 'o' && !schema_root(&w, top))
		top = NULL;
	if (top == NULL) {
		*r = w.error != 0 ? w.error : E_NOMEM;
		return out;
	}
	sn_print(&b, top);
	*r = E_NOMEM;
	if (buf_ok(&b) && (copy = arena_strndup(a, b.data, b.len)) != NULL) {
		out = (struct span){copy, b.len};
		*r = 0;
	}
	buf_clear(&b);
	return out;
}
