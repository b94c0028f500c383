/*
 * What each target takes of JSON Schema (spec translation 7.1 to 7.3): one row for each, and for
 * some a function that brings one schema object into the target's form.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/canon.h"
#include "proto/schema_own.h"

static struct span
inside(const struct sn *text)
{
	return (struct span){text->raw.p + 1, text->raw.n - 2};
}

static bool
is_array(const struct sn *n)
{
	return n != NULL && n->type == 'a';
}

static bool
is_object(const struct sn *n)
{
	return n != NULL && n->type == 'o';
}

/* ---- limits that are told in words ---- */

/* Appends a sentence to the description. `tail` is JSON, as it stood. */
static bool
tell(struct schema_walk *w, struct sn *n, const char *words, struct span tail)
{
	struct sn *old = sn_get(n, "description");
	struct span before = old != NULL && old->type == 's' ? inside(old) : (struct span){"", 0};
	struct buf b = BUF_INIT(before.n + 6 * tail.n + 128);
	struct sn *text = NULL;
	char *copy;

	buf_addf(&b, "\"%.*s%s%s ", (int)MIN(before.n, 65536), before.n > 0 ? before.p : "",
	    before.n > 0 ? " " : "", words);
	for (size_t i = 0; i < tail.n; i++) /* a JSON text inside a JSON string */
		buf_addf(&b, tail.p[i] == '"' || tail.p[i] == '\\' ? "\\%c" : "%c", tail.p[i]);
	buf_str(&b, ".\"");
	if (buf_ok(&b) && (copy = arena_strndup(w->arena, b.data, b.len)) != NULL &&
	    (text = sn_raw(w->arena, copy)) != NULL && text->type == 's')
		sn_set(n, "description", text);
	buf_clear(&b);
	return text != NULL;
}

static const struct {
	const char *keyword, *words;
} told[] = {
    {"exclusiveMinimum", "Must be greater than"},
    {"exclusiveMaximum", "Must be less than"},
    {"multipleOf", "Must be a multiple of"},
    {"minimum", "Must be at least"},
    {"maximum", "Must be at most"},
    {"minLength", "Shortest length:"},
    {"maxLength", "Longest length:"},
    {"minItems", "Fewest items:"},
    {"maxItems", "Most items:"},
    {"minProperties", "Fewest properties:"},
    {"maxProperties", "Most properties:"},
    {"pattern", "Must match"},
    {"format", "Format:"},
};

/* Takes one limit out and says it in words. */
static bool
put_into_words(struct schema_walk *w, struct sn *n, const char *keyword)
{
	struct sn *limit = sn_take(n, keyword);

	if (limit == NULL || limit->type == 'o' || limit->type == 'a' || limit->type == 't' ||
	    limit->type == 'f' || limit->type == '0')
		return true;
	for (size_t i = 0; i < NELEM(told); i++)
		if (strcmp(told[i].keyword, keyword) == 0)
			return tell(w, n, told[i].words, limit->raw);
	return true;
}

static bool
all_into_words(struct schema_walk *w, struct sn *n, const char *const *keywords)
{
	for (; *keywords != NULL; keywords++)
		if (!put_into_words(w, n, *keywords))
			return false;
	return true;
}

/* ---- shared steps ---- */

static bool
has_property(const struct sn *properties, const struct sn *name)
{
	return name->type == 's' && sn_find(properties, inside(name)) != NULL;
}

/* required: only names that are there; none: no member. */
static void
trim_required(struct sn *n)
{
	struct sn *required = sn_get(n, "required"), *properties = sn_get(n, "properties");

	if (required == NULL)
		return;
	if (is_array(required) && is_object(properties)) {
		for (struct sn **at = &required->child; *at != NULL;) {
			if (has_property(properties, *at))
				at = &(*at)->next;
			else
				*at = (*at)->next;
		}
	} else if (is_array(required)) {
		required->child = NULL;
	}
	if (!is_array(required) || required->child == NULL)
		sn_take(n, "required");
}

/* Type words in one case. */
static bool
spell_type(struct schema_walk *w, struct sn *type, bool upper)
{
	char *copy;

	if (type->type == 'a') {
		sn_each (t, type)
			if (!spell_type(w, t, upper))
				return false;
		return true;
	}
	if (type->type != 's')
		return true;
	if ((copy = arena_strndup(w->arena, type->raw.p, type->raw.n)) == NULL)
		return false;
	for (size_t i = 0; i < type->raw.n; i++)
		if ((copy[i] | 0x20) >= 'a' && (copy[i] | 0x20) <= 'z')
			copy[i] = (char)(upper ? copy[i] & ~0x20 : copy[i] | 0x20);
	type->raw.p = copy;
	return true;
}

static bool
array_has_items(struct schema_walk *w, struct sn *n)
{
	struct sn *items;

	if (!sn_is_text(sn_get(n, "type"), "array") || sn_get(n, "items") != NULL ||
	    sn_get(n, "prefixItems") != NULL)
		return true;
	items = sn_object(w->arena);
	return items != NULL && sn_set(items, "type", sn_raw(w->arena, "\"string\"")) &&
	       sn_set(n, "items", items);
}

/* ---- Gemini: the OpenAPI subset ---- */

/* prefixItems, and items as a list → items: any of them. */
static bool
join_items(struct schema_walk *w, struct sn *n)
{
	struct sn *list = sn_take(n, "prefixItems"), *items = sn_get(n, "items"), *any;

	if (list == NULL && is_array(items))
		list = sn_take(n, "items");
	if (list == NULL || sn_get(n, "items") != NULL || !is_array(list) || list->child == NULL)
		return true;
	any = sn_object(w->arena);
	if (any == NULL)
		return false;
	if (list->child->next == NULL)
		any = list->child;
	else if (!sn_set(any, "anyOf", list))
		return false;
	return sn_set(n, "items", any);
}

/* ["string","null"] → string, nullable; several → anyOf. */
static bool
split_type(struct schema_walk *w, struct sn *n)
{
	struct sn *type = sn_get(n, "type"), *any, *one = NULL;
	unsigned kinds = 0;

	if (!is_array(type))
		return true;
	sn_each (t, type) {
		if (sn_is_text(t, "null")) {
			if (!sn_set(n, "nullable", sn_raw(w->arena, "true")))
				return false;
			continue;
		}
		kinds++;
		one = t;
	}
	sn_take(n, "type");
	if (kinds == 0)
		return true;
	if (kinds == 1)
		return sn_set(n, "type", one);
	if ((any = sn_array(w->arena)) == NULL)
		return false;
	for (struct sn *t = type->child, *next; t != NULL; t = next) {
		struct sn *branch = sn_object(w->arena);

		next = t->next;
		t->next = NULL;
		if (sn_is_text(t, "null"))
			continue;
		if (!sn_set(branch, "type", t))
			return false;
		sn_add(any, branch);
	}
	return sn_set(n, "anyOf", any);
}

/* Only strings may be listed; other values are told in words. */
static bool
plain_enum(struct schema_walk *w, struct sn *n)
{
	struct sn *constant = sn_take(n, "const"), *values = sn_get(n, "enum");
	bool strings = true;

	if (constant != NULL && values == NULL) {
		if ((values = sn_array(w->arena)) == NULL)
			return false;
		sn_add(values, constant);
		sn_set(n, "enum", values);
	}
	if (!is_array(values))
		return true;
	for (struct sn **at = &values->child; *at != NULL;) {
		bool null = (*at)->type == '0';

		if (null && !sn_set(n, "nullable", sn_raw(w->arena, "true")))
			return false;
		strings = strings && (null || (*at)->type == 's');
		if (null || ((*at)->type == 's' && (*at)->raw.n == 2))
			*at = (*at)->next;
		else
			at = &(*at)->next;
	}
	if (strings && values->child != NULL)
		return true;
	sn_take(n, "enum");
	if (values->child == NULL)
		return true;
	struct buf b = BUF_INIT(65536);
	sn_each (v, values) {
		if (b.len > 0)
			buf_str(&b, ", ");
		sn_print(&b, v);
	}
	bool ok = !buf_ok(&b) || tell(w, n, "Allowed values:", (struct span){b.data, b.len});
	buf_clear(&b);
	return ok;
}

/* Members of `from` that `to` lacks; properties are united. */
static bool
unite(struct schema_walk *w, struct sn *to, struct sn *from, bool all)
{
	for (struct sn *m = from->child, *next; m != NULL; m = next) {
		struct sn *mine = sn_find(to, m->name);

		next = m->next;
		m->next = NULL;
		if (mine == NULL) {
			if (!all && span_is(m->name, "required"))
				continue; /* an alternative does not demand */
			sn_put(to, m->name, m);
		} else if (span_is(m->name, "properties") && is_object(m) && is_object(mine)) {
			for (struct sn *p = m->child, *after; p != NULL; p = after) {
				after = p->next;
				p->next = NULL;
				if (sn_find(mine, p->name) == NULL)
					sn_put(mine, p->name, p);
			}
		} else if (all && span_is(m->name, "required") && is_array(m) && is_array(mine)) {
			for (struct sn *p = m->child, *after; p != NULL; p = after) {
				after = p->next;
				p->next = NULL;
				sn_add(mine, p);
			}
		}
	}
	(void)w;
	return true;
}

static bool
merge_all_of(struct schema_walk *w, struct sn *n)
{
	struct sn *list = sn_take(n, "allOf");

	if (is_array(list))
		sn_each (branch, list)
			if (is_object(branch) && !unite(w, n, branch, true))
				return false;
	return true;
}

/* A node with anyOf keeps only that: its other members go into each branch. */
static bool
lone_any_of(struct schema_walk *w, struct sn *n)
{
	static const char *const stays[] = {"description", "nullable", NULL};
	struct sn *one = sn_take(n, "oneOf"), *any = sn_get(n, "anyOf");

	if (any == NULL && is_array(one)) {
		any = one;
		sn_set(n, "anyOf", any);
	}
	if (!is_array(any))
		return true;
	for (struct sn **at = &any->child; *at != NULL;) {
		if (is_object(*at) && sn_is_text(sn_get(*at, "type"), "null")) {
			*at = (*at)->next;
			if (!sn_set(n, "nullable", sn_raw(w->arena, "true")))
				return false;
		} else {
			at = &(*at)->next;
		}
	}
	if (any->child == NULL) {
		sn_take(n, "anyOf");
		return true;
	}
	if (any->child->next == NULL) {
		sn_take(n, "anyOf");
		return !is_object(any->child) || unite(w, n, any->child, true);
	}
	for (struct sn **at = &n->child; *at != NULL;) {
		struct sn *m = *at;

		if (m == any || span_is(m->name, stays[0]) || span_is(m->name, stays[1])) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		sn_each (branch, any) {
			struct sn *copy;

			if (!is_object(branch) || sn_find(branch, m->name) != NULL)
				continue;
			if ((copy = arena_alloc(w->arena, sizeof *copy)) == NULL)
				return false;
			*copy = *m;
			sn_put(branch, m->name, copy);
		}
	}
	return true;
}

/* exclusiveMinimum of an integer has an equal in the subset. */
static bool
open_limits(struct schema_walk *w, struct sn *n)
{
	static const struct {
		const char *open, *closed;
		int step;
	} pairs[] = {{"exclusiveMinimum", "minimum", 1}, {"exclusiveMaximum", "maximum", -1}};

	if (!sn_is_text(sn_get(n, "type"), "integer"))
		return true;
	for (size_t i = 0; i < NELEM(pairs); i++) {
		struct sn *limit = sn_get(n, pairs[i].open);
		double v;
		char text[32], *copy;

		if (limit == NULL || limit->type != 'n' || !canon_number(limit->raw, &v) ||
		    v < -1e15 || v > 1e15 || sn_get(n, pairs[i].closed) != NULL)
			continue;
		sn_take(n, pairs[i].open);
		snprintf(text, sizeof text, "%" PRId64, (int64_t)v + pairs[i].step);
		if ((copy = arena_strndup(w->arena, text, strlen(text))) == NULL ||
		    !sn_set(n, pairs[i].closed, sn_raw(w->arena, copy)))
			return false;
	}
	return true;
}

static const char *const subset_words[] = {
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", NULL};
static const char *const subset_kept[] = {"type", "format", "title", "description", "nullable",
    "enum", "maxItems", "minItems", "properties", "required", "minProperties", "maxProperties",
    "minLength", "maxLength", "pattern", "minimum", "maximum", "anyOf", "items", "propertyOrdering",
    NULL};

static bool
in(const char *const *list, struct span name)
{
	for (; *list != NULL; list++)
		if (span_is(name, *list))
			return true;
	return false;
}

static void
keep_only(struct sn *n, const char *const *kept)
{
	for (struct sn **at = &n->child; *at != NULL;) {
		if (in(kept, (*at)->name))
			at = &(*at)->next;
		else
			*at = (*at)->next;
	}
}

static void
known_format(struct sn *n)
{
	static const char *const strings[] = {"enum", "date-time", NULL};
	static const char *const numbers[] = {"int32", "int64", "float", "double", NULL};
	struct sn *format = sn_get(n, "format"), *type = sn_get(n, "type");
	bool number = sn_is_text(type, "integer") || sn_is_text(type, "number");

	if (format != NULL &&
	    (format->type != 's' || !in(number ? numbers : strings, inside(format))))
		sn_take(n, "format");
}

static bool
finish_subset(struct schema_walk *w, struct sn *n)
{
	struct sn *type, *properties;

	if ((type = sn_get(n, "type")) != NULL && !spell_type(w, type, false))
		return false;
	if (!merge_all_of(w, n) || !split_type(w, n) || !plain_enum(w, n) || !lone_any_of(w, n) ||
	    !join_items(w, n) || !open_limits(w, n) || !all_into_words(w, n, subset_words))
		return false;
	known_format(n);
	keep_only(n, subset_kept);
	properties = sn_get(n, "properties");
	if (is_object(properties) && sn_get(n, "type") == NULL && sn_get(n, "anyOf") == NULL &&
	    !sn_set(n, "type", sn_raw(w->arena, "\"object\"")))
		return false;
	if (is_object(properties) && properties->child == NULL)
		sn_take(n, "properties");
	trim_required(n);
	return array_has_items(w, n);
}

/* ---- the others ---- */

static bool
finish_gemini_json(struct schema_walk *w, struct sn *n)
{
	struct sn *type = sn_get(n, "type");

	if (type != NULL && !spell_type(w, type, false))
		return false;
	if (sn_get(n, "properties") != NULL)
		trim_required(n);
	return array_has_items(w, n);
}

static bool
closed_object(struct schema_walk *w, struct sn *n)
{
	bool object = sn_is_text(sn_get(n, "type"), "object") || is_object(sn_get(n, "properties"));

	return !object || sn_set(n, "additionalProperties", sn_raw(w->arena, "false"));
}

static bool
finish_anthropic_strict(struct schema_walk *w, struct sn *n)
{
	static const char *const words[] = {
	    "minimum", "maximum", "multipleOf", "minLength", "maxLength", "maxItems", NULL};
	struct sn *least = sn_get(n, "minItems");

	if (!all_into_words(w, n, words))
		return false;
	if (least != NULL && !span_is(least->raw, "0") && !span_is(least->raw, "1") &&
	    !put_into_words(w, n, "minItems"))
		return false;
	return closed_object(w, n);
}

/* A property that need not be there may be null instead. */
static bool
or_null(struct schema_walk *w, struct sn *properties, struct sn *p)
{
	struct sn *both = sn_object(w->arena), *list = sn_array(w->arena),
		  *null = sn_object(w->arena);
	struct sn *copy = arena_alloc(w->arena, sizeof *copy);
	struct sn *type = sn_get(p, "type");

	if (sn_is_text(type, "null") || is_array(type))
		return true;
	if (both == NULL || list == NULL || null == NULL || copy == NULL ||
	    !sn_set(null, "type", sn_raw(w->arena, "\"null\"")))
		return false;
	*copy = *p;
	sn_add(list, copy);
	sn_add(list, null);
	if (!sn_set(both, "anyOf", list))
		return false;
	sn_put(properties, p->name, both);
	return true;
}

static bool
is_required(const struct sn *required, struct span name)
{
	if (is_array(required))
		sn_each (r, required)
			if (r->type == 's' && span_same(inside(r), name))
				return true;
	return false;
}

static bool
require_all(struct schema_walk *w, struct sn *n)
{
	struct sn *properties = sn_get(n, "properties"), *required = sn_get(n, "required"), *all;

	if (!is_object(properties))
		return true;
	if ((all = sn_array(w->arena)) == NULL)
		return false;
	for (struct sn *p = properties->child, *next; p != NULL; p = next) {
		struct sn *name = sn_copy(
		    w->arena, &(struct json){.type = 's', .raw = {p->name.p - 1, p->name.n + 2}});

		next = p->next;
		if (name == NULL)
			return false;
		sn_add(all, name);
		if (is_object(p) && !is_required(required, p->name) && !or_null(w, properties, p))
			return false;
	}
	return sn_set(n, "required", all);
}

static bool
finish_openai_strict(struct schema_walk *w, struct sn *n)
{
	static const char *const words[] = {"minProperties", "maxProperties", NULL};
	static const char *const formats[] = {"date-time", "time", "date", "duration", "email",
	    "hostname", "ipv4", "ipv6", "uuid", NULL};
	struct sn *one = sn_take(n, "oneOf"), *format = sn_get(n, "format");

	if (one != NULL && sn_get(n, "anyOf") == NULL)
		sn_set(n, "anyOf", one);
	if (!merge_all_of(w, n) || !all_into_words(w, n, words))
		return false;
	if (format != NULL && (format->type != 's' || !in(formats, inside(format))) &&
	    !put_into_words(w, n, "format"))
		return false;
	return require_all(w, n) && closed_object(w, n) && array_has_items(w, n);
}

static bool
finish_common(struct schema_walk *w, struct sn *n)
{
	static const char *const formats[] = {"date-time", "time", "date", "duration", "email",
	    "hostname", "ipv4", "ipv6", "uuid", NULL};
	struct sn *format = sn_get(n, "format");

	(void)w;
	if (format != NULL && (format->type != 's' || !in(formats, inside(format))))
		sn_take(n, "format");
	return true;
}

/* ---- the root ---- */

static bool
merge_root(struct schema_walk *w, struct sn *top)
{
	static const char *const unions[] = {"anyOf", "oneOf", "allOf"};

	for (size_t i = 0; i < NELEM(unions); i++) {
		struct sn *list = sn_take(top, unions[i]);

		if (is_array(list))
			sn_each (branch, list)
				if (is_object(branch) && !unite(w, top, branch, i == 2))
					return false;
	}
	return true;
}

/* The subset spells types in capitals. What is left of a schema stands at these three places. */
static bool
spell_all(struct schema_walk *w, struct sn *n)
{
	struct sn *type = sn_get(n, "type"), *items = sn_get(n, "items"), *any = sn_get(n, "anyOf");
	struct sn *properties = sn_get(n, "properties");

	if (type != NULL && !spell_type(w, type, true))
		return false;
	if (is_object(items) && !spell_all(w, items))
		return false;
	if (is_array(any))
		sn_each (branch, any)
			if (is_object(branch) && !spell_all(w, branch))
				return false;
	if (is_object(properties))
		sn_each (p, properties)
			if (is_object(p) && !spell_all(w, p))
				return false;
	return true;
}

bool
schema_root(struct schema_walk *w, struct sn *top)
{
	static const char *const plain[] = {"type", "properties", "required", NULL};
	bool subset = w->rule->finish == finish_subset;
	struct sn *type;

	if (!w->rule->root_object)
		return true;
	if (!merge_root(w, top))
		return false;
	type = sn_get(top, "type");
	if (!sn_is_text(type, "object") && !sn_set(top, "type", sn_raw(w->arena, "\"object\"")))
		return false;
	if (!subset && sn_get(top, "properties") == NULL &&
	    !sn_set(top, "properties", sn_object(w->arena)))
		return false;
	/* what was merged has come behind the first time */
	if (w->rule->finish != NULL && !w->rule->finish(w, top))
		return false;
	if (w->rule->root_plain)
		keep_only(top, plain);
	return !subset || spell_all(w, top);
}

static const char *const common_drop[] = {"$schema", "$id", "patternProperties", NULL};
static const char *const nova_drop[] = {"$schema", "additionalProperties", NULL};
static const char *const gemini_drop[] = {"$schema", "$id", NULL};
static const char *const strict_drop[] = {"$schema", "default", "not", "if", "then", "else",
    "patternProperties", "propertyNames", "uniqueItems", "contains", "minContains", "maxContains",
    "unevaluatedProperties", "unevaluatedItems", "dependentSchemas", NULL};

static const struct schema_rule rules[SCHEMAS] = {
    [SCHEMA_OPENAI] = {.root_object = true},
    [SCHEMA_ANTHROPIC] = {.root_object = true},
    [SCHEMA_GEMINI_JSON] = {.inline_refs = true,
	.no_bool = true,
	.drop = gemini_drop,
	.finish = finish_gemini_json,
	.root_object = true},
    [SCHEMA_GEMINI_SUBSET] = {.inline_refs = true,
	.no_bool = true,
	.finish = finish_subset,
	.root_object = true},
    [SCHEMA_COMMON] = {.inline_refs = true,
	.drop = common_drop,
	.finish = finish_common,
	.root_object = true},
    [SCHEMA_NOVA] = {.inline_refs = true,
	.drop = nova_drop,
	.root_object = true,
	.root_plain = true},
    [SCHEMA_OPENAI_STRICT] = {.inline_refs = true,
	.no_bool = true,
	.drop = strict_drop,
	.finish = finish_openai_strict,
	.root_object = true},
    [SCHEMA_ANTHROPIC_STRICT] = {.inline_refs = true, .finish = finish_anthropic_strict},
};

const struct schema_rule *
schema_rule(enum profile_schema rule)
{
	return rule == SCHEMA_AS_IS ? NULL : &rules[rule];
}
