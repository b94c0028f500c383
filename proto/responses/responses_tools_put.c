/* Tools and the choice among them, written. */
#include <string.h>

#include "proto/responses/responses.h"

/* Names of a choice whose kind is looked up: a list of each length must not cost its square. */
#define LOOKUPS_MAX 256u

static bool
is_declared(const struct canon_tool *t)
{
	return t->kind == TOOL_FUNCTION || t->kind == TOOL_CUSTOM;
}

/* A schema is demanded; what came from elsewhere without `strict` must not be made strict by
 * default. */
static void
put_function(struct jsonw *w, const struct canon_tool *t)
{
	bool native = t->src.from == DIALECT_RESPONSES;

	jsonw_m_text(w, "name", t->name);
	if (native || t->description.n > 0)
		jsonw_m_text(w, "description", t->description);
	jsonw_name(w, "parameters");
	if (t->schema.p != NULL)
		jsonw_raw(w, t->schema);
	else
		jsonw_lit(w, native ? "null" : "{\"type\":\"object\",\"properties\":{}}");
	if (native || t->strict >= 0)
		jsonw_m_tri(w, "strict", t->strict);
	else
		jsonw_m_bool(w, "strict", false);
}

static void
put_declared(struct jsonw *w, const struct canon_tool *t)
{
	jsonw_open(w, '{');
	if (t->kind == TOOL_FUNCTION) {
		jsonw_m_cstr(w, "type", "function");
		put_function(w, t);
	} else {
		jsonw_m_cstr(w, "type", "custom");
		jsonw_m_text(w, "name", t->name);
		jsonw_m_text(w, "description", t->description);
		jsonw_m_raw(w, "format", t->grammar);
	}
	if (t->defer_loading)
		jsonw_m_bool(w, "defer_loading", true);
	responses_put_content_extras(w, &t->src);
	jsonw_close(w, '}');
}

/* One group; returns the tool behind it. */
static const struct canon_tool *
put_namespace(struct jsonw *w, const struct canon_tool *first)
{
	const struct canon_tool *t = first;

	jsonw_open(w, '{');
	jsonw_m_cstr(w, "type", "namespace");
	jsonw_m_text(w, "name", first->namespace);
	responses_put_item_extras(w, &first->src);
	jsonw_m_open(w, "tools", '[');
	do {
		put_declared(w, t);
		t = TAILQ_NEXT(t, link);
	} while (t != NULL && is_declared(t) && t->namespace.p != NULL &&
		 span_same(t->namespace, first->namespace) &&
		 !responses_is_native(&t->src, HINT_GROUP));
	jsonw_close(w, ']');
	jsonw_close(w, '}');
	return t;
}

/* ---- tools of the provider ---- */

/* Members that have the same name and meaning wherever a search is declared. */
static void
put_search(struct jsonw *w, const struct encode_ctx *ctx, struct span options)
{
	const struct json *j = NULL, *where, *in;

	jsonw_open(w, '{');
	jsonw_m_cstr(w, "type", "web_search");
	if (options.n > 0 && json_parse(ctx->arena, options, &j) == 0) {
		if (json_is(json_get(j, "allowed_domains"), 'a')) {
			jsonw_m_open(w, "filters", '{');
			jsonw_m_raw(w, "allowed_domains", json_get(j, "allowed_domains")->raw);
			jsonw_close(w, '}');
		}
		if (json_is(where = json_want(j, "user_location"), 'o')) {
			in = json_want(where, "approximate");
			jsonw_m_open(w, "user_location", '{');
			jsonw_m_cstr(w, "type", "approximate");
			canon_put_rest(w, json_is(in, 'o') ? in : where,
			    (const char *const[]){"type", "approximate", NULL});
			jsonw_close(w, '}');
		}
		if (json_is(json_get(j, "search_context_size"), 's'))
			jsonw_m_raw(
			    w, "search_context_size", json_get(j, "search_context_size")->raw);
	}
	jsonw_close(w, '}');
}

static void
put_server(struct jsonw *w, const struct encode_ctx *ctx, const struct canon_tool *t)
{
	if (t->src.from == DIALECT_RESPONSES) {
		jsonw_raw(w, t->raw);
		return;
	}
	switch (t->kind) {
	case TOOL_WEB_SEARCH:
		put_search(w, ctx, t->raw);
		break;
	case TOOL_CODE:
		jsonw_lit(w, "{\"type\":\"code_interpreter\",\"container\":{\"type\":\"auto\"}}");
		break;
	case TOOL_IMAGE:
		jsonw_lit(w, "{\"type\":\"image_generation\"}");
		break;
	default:
		break;
	}
}

static bool
can_be_put(const struct canon_tool *t)
{
	return is_declared(t) || t->src.from == DIALECT_RESPONSES || t->kind == TOOL_WEB_SEARCH ||
	       t->kind == TOOL_CODE || t->kind == TOOL_IMAGE;
}

static bool
has_any(const struct canon_request *q)
{
	const struct canon_tool *t;

	TAILQ_FOREACH (t, &q->tools, link)
		if (can_be_put(t))
			return true;
	return q->web_search.p != NULL;
}

void
responses_tools_put(struct jsonw *w, const struct canon_request *q, const struct encode_ctx *ctx)
{
	const struct canon_tool *t = TAILQ_FIRST(&q->tools);
	bool search = q->web_search.p != NULL;

	if (!has_any(q))
		return;
	jsonw_m_open(w, "tools", '[');
	while (t != NULL) {
		search = search && t->kind != TOOL_WEB_SEARCH;
		if (is_declared(t) && t->namespace.p != NULL) {
			t = put_namespace(w, t);
			continue;
		}
		if (is_declared(t))
			put_declared(w, t);
		else
			put_server(w, ctx, t);
		t = TAILQ_NEXT(t, link);
	}
	if (search)
		put_search(w, ctx, q->web_search);
	jsonw_close(w, ']');
}

/* ---- the choice ---- */

/* What was read from `raw` is still what is wanted. */
static bool
is_untouched(const struct canon_tool_choice *c, struct arena *a)
{
	struct canon_tool_choice was = {0};
	const struct canon_text_list *x, *y;
	const struct json *j;

	if (c->raw.p == NULL || json_parse(a, c->raw, &j) != 0 ||
	    responses_choice_read(a, j, &was) != 0)
		return false;
	if (was.kind != c->kind || !span_same(was.name, c->name) ||
	    was.allowed_any != c->allowed_any)
		return false;
	for (x = was.allowed, y = c->allowed; x != NULL && y != NULL; x = x->next, y = y->next)
		if (!span_same(x->text, y->text))
			return false;
	return x == NULL && y == NULL;
}

static const struct canon_tool *
find_tool(const struct canon_request *q, struct span name)
{
	const struct canon_tool *t;

	TAILQ_FOREACH (t, &q->tools, link)
		if (span_same(t->name, name))
			return t;
	return NULL;
}

static void
put_named(struct jsonw *w, const struct canon_tool *t, struct span name)
{
	jsonw_open(w, '{');
	switch (t != NULL ? t->kind : TOOL_FUNCTION) {
	case TOOL_WEB_SEARCH:
		jsonw_m_cstr(w, "type", "web_search");
		break;
	case TOOL_CODE:
		jsonw_m_cstr(w, "type", "code_interpreter");
		break;
	case TOOL_IMAGE:
		jsonw_m_cstr(w, "type", "image_generation");
		break;
	default:
		jsonw_m_cstr(
		    w, "type", t != NULL && t->kind == TOOL_CUSTOM ? "custom" : "function");
		jsonw_m_text(w, "name", name);
		break;
	}
	jsonw_close(w, '}');
}

void
responses_choice_put(struct jsonw *w, const struct canon_request *q, const struct encode_ctx *ctx)
{
	const struct canon_tool_choice *c = &q->tool_choice;
	bool native = q->from == DIALECT_RESPONSES;
	unsigned looked = 0;

	if ((c->kind == CHOICE_UNSET && !(native && c->raw.p != NULL)) || (!has_any(q) && !native))
		return;
	jsonw_name(w, "tool_choice");
	if (native && is_untouched(c, ctx->arena)) {
		jsonw_raw(w, c->raw);
		return;
	}
	switch (c->kind) {
	case CHOICE_NONE:
		jsonw_cstr(w, "none");
		break;
	case CHOICE_ANY:
		jsonw_cstr(w, "required");
		break;
	case CHOICE_NAMED:
		put_named(w, find_tool(q, c->name), c->name);
		break;
	case CHOICE_ALLOWED:
		jsonw_open(w, '{');
		jsonw_m_cstr(w, "type", "allowed_tools");
		jsonw_m_cstr(w, "mode", c->allowed_any ? "required" : "auto");
		jsonw_m_open(w, "tools", '[');
		for (const struct canon_text_list *n = c->allowed; n != NULL; n = n->next)
			put_named(
			    w, looked++ < LOOKUPS_MAX ? find_tool(q, n->text) : NULL, n->text);
		jsonw_close(w, ']');
		jsonw_close(w, '}');
		break;
	default:
		jsonw_cstr(w, "auto");
		break;
	}
}
