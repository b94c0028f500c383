/* Declarations of tools and the choice among them (spec 6.1, 6.2, 6.7). */
#include <string.h>

#include "proto/messages/messages.h"
#include "shared/err.h"

#define NO_PARAMETERS "{\"type\":\"object\",\"properties\":{}}"

/* Types of server tools carry a date behind their name. */
static const struct {
	const char *prefix;
	enum canon_tool_kind kind;
} kinds[] = {
    {"web_search_", TOOL_WEB_SEARCH},
    {"web_fetch_", TOOL_WEB_FETCH},
    {"code_execution_", TOOL_CODE},
    {"computer_", TOOL_COMPUTER},
    {"bash_", TOOL_SHELL},
    {"text_editor_", TOOL_EDITOR},
    {"memory_", TOOL_MEMORY},
    {"tool_search_tool_", TOOL_SEARCH},
    {"mcp_toolset", TOOL_MCP},
};

static enum canon_tool_kind
kind_of(struct span type)
{
	if (type.n == 0 || span_is(type, "custom"))
		return TOOL_FUNCTION;
	for (size_t i = 0; i < NELEM(kinds); i++)
		if (type.n >= strlen(kinds[i].prefix) &&
		    memcmp(type.p, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
			return kinds[i].kind;
	return TOOL_OTHER;
}

static int
read_function(struct arena *a, const struct json *t, struct canon_tool *tool)
{
	static const char *const known[] = {"type", "name", "description", "input_schema", "strict",
	    "defer_loading", "input_examples", "cache_control", NULL};
	const struct json *schema = json_want(t, "input_schema"), *m;
	int r;

	if ((r = messages_get_text(a, t, "description", &tool->description)) != 0)
		return r;
	if (schema != NULL)
		tool->schema = schema->raw;
	tool->strict = json_tri(json_get(t, "strict"));
	m = json_get(t, "defer_loading");
	tool->defer_loading = json_yes(m);
	tool->src.hint |= json_is(m, 'f') ? HINT_FALSE : 0;
	tool->src.hint |= json_want(t, "type") != NULL ? HINT_TYPED : 0;
	if ((m = json_want(t, "input_examples")) != NULL)
		tool->examples = m->raw;
	return canon_extras(a, &tool->src, t, known);
}

static int
read_tool(struct arena *a, const struct json *t, struct canon_tool **out)
{
	struct canon_tool *tool;
	struct span type;
	int r;

	if ((r = messages_get_text(a, t, "type", &type)) != 0)
		return r;
	if ((*out = tool = canon_tool_new(a, kind_of(type))) == NULL)
		return E_NOMEM;
	canon_source_init(&tool->src, DIALECT_MESSAGES);
	if ((r = messages_get_text(a, t, "name", &tool->name)) != 0)
		return r;
	if (tool->kind == TOOL_FUNCTION) {
		if ((r = read_function(a, t, tool)) != 0)
			return r;
	} else {
		tool->raw = t->raw;
		tool->defer_loading = json_yes(json_get(t, "defer_loading"));
		tool->src.hint |= HINT_RAW;
		tool->src.hint |= json_is(json_want(t, "cache_control"), 'o') ? HINT_MARKED : 0;
	}
	return messages_get_cache(a, t, &tool->cache, &tool->src);
}

int
messages_read_tools(
    struct arena *a, const struct json *tools, struct canon_request *q, struct canon_error *err)
{
	struct canon_tool *tool;
	unsigned i = 0;
	int r;

	if (tools != NULL && tools->type != 'a')
		return canon_fail(
		    a, err, ERROR_BAD_REQUEST, "tools", "tools: Input should be a valid list");
	json_each (t, tools) {
		if (!json_is(t, 'o'))
			return canon_fail(a, err, ERROR_BAD_REQUEST, "tools",
			    "tools.%u: Input should be an object", i);
		if ((r = read_tool(a, t, &tool)) != 0)
			return r;
		if (tool->kind == TOOL_FUNCTION && tool->name.n == 0)
			return canon_fail(
			    a, err, ERROR_BAD_REQUEST, "tools", "tools.%u.name: Field required", i);
		TAILQ_INSERT_TAIL(&q->tools, tool, link);
		i++;
	}
	return 0;
}

/* ---- the choice ---- */

static const struct {
	const char *word;
	enum canon_choice_kind kind;
} choices[] = {
    {"auto", CHOICE_AUTO},
    {"any", CHOICE_ANY},
    {"none", CHOICE_NONE},
    {"tool", CHOICE_NAMED},
};

int
messages_read_tool_choice(struct arena *a, const struct json *choice, struct canon_request *q)
{
	static const char *const known[] = {"type", "name", "disable_parallel_tool_use", NULL};
	struct canon_tool_choice *c = &q->tool_choice;
	struct span type;
	int r, single;

	if (!json_is(choice, 'o'))
		return 0;
	c->raw = choice->raw;
	if ((r = messages_get_text(a, choice, "type", &type)) != 0 ||
	    (r = messages_get_text(a, choice, "name", &c->name)) != 0)
		return r;
	for (size_t i = 0; i < NELEM(choices); i++)
		if (span_is(type, choices[i].word))
			c->kind = choices[i].kind;
	single = json_tri(json_get(choice, "disable_parallel_tool_use"));
	q->parallel_tools = single < 0 ? -1 : !single;
	return messages_keep_rest(a, &q->src, choice, known);
}

void
messages_put_tool_choice(struct messages_writer *o, const struct canon_request *q)
{
	static const char *const known[] = {"type", "name", "disable_parallel_tool_use", NULL};
	static const char *const words[] = {[CHOICE_UNSET] = NULL,
	    [CHOICE_AUTO] = "auto",
	    [CHOICE_NONE] = "none",
	    [CHOICE_ANY] = "any",
	    [CHOICE_NAMED] = "tool",
	    [CHOICE_ALLOWED] = "auto"};
	const struct canon_tool_choice *c = &q->tool_choice;
	bool own = messages_own(&q->src);
	const char *word = words[c->kind];
	const struct canon_extra *x;

	if (TAILQ_EMPTY(&q->tools) && !own)
		return;
	if (c->kind == CHOICE_UNSET && own && c->raw.p != NULL) { /* of a type not known here */
		jsonw_m_raw(&o->w, "tool_choice", c->raw);
		return;
	}
	if (c->kind == CHOICE_ALLOWED && c->allowed_any)
		word = "any";
	if (word == NULL && q->parallel_tools == 0 && !TAILQ_EMPTY(&q->tools))
		word = "auto";
	if (word == NULL)
		return;
	jsonw_m_open(&o->w, "tool_choice", '{');
	jsonw_m_cstr(&o->w, "type", word);
	if (c->kind == CHOICE_NAMED)
		jsonw_m_text(&o->w, "name", c->name);
	if (c->kind != CHOICE_NONE && (q->parallel_tools == 0 || (own && q->parallel_tools == 1)))
		jsonw_m_bool(&o->w, "disable_parallel_tool_use", q->parallel_tools == 0);
	if (own && (x = canon_extra_find(&q->src, "tool_choice")) != NULL)
		messages_put_members(o, x->value, known);
	jsonw_close(&o->w, '}');
}

/* ---- declarations out ---- */

static const char *const cache_only[] = {"cache_control", NULL};

static void
put_function(struct messages_writer *o, const struct canon_tool *t)
{
	bool own = messages_own(&t->src);

	if (messages_hint(&t->src, HINT_TYPED))
		jsonw_m_cstr(&o->w, "type", "custom");
	jsonw_m_text(&o->w, "name", t->name);
	if (t->description.n > 0 || own)
		jsonw_m_text(&o->w, "description", t->description);
	jsonw_m_raw(
	    &o->w, "input_schema", t->schema.p != NULL ? t->schema : span_of(NO_PARAMETERS));
	jsonw_m_tri(&o->w, "strict", own || t->strict == 1 ? t->strict : -1);
	if (t->defer_loading || messages_hint(&t->src, HINT_FALSE))
		jsonw_m_bool(&o->w, "defer_loading", t->defer_loading);
	jsonw_m_raw(&o->w, "input_examples", t->examples);
	messages_put_cache(o, &t->cache, &t->src);
	messages_put_extras(o, &t->src, cache_only);
}

/* Where an option of another dialect names the place: {"type":"approximate","approximate":{…}}. */
static void
put_location(struct messages_writer *o, struct span options)
{
	const struct json *tree, *place;

	if (options.p == NULL || json_parse(o->a, options, &tree) != 0)
		return;
	place = json_want(json_want(tree, "user_location"), "approximate");
	if (!json_is(place, 'o'))
		return;
	jsonw_m_open(&o->w, "user_location", '{');
	jsonw_m_cstr(&o->w, "type", "approximate");
	for (unsigned i = 0; i < 4; i++) {
		static const char *const names[] = {"city", "region", "country", "timezone"};
		const struct json *m = json_want(place, names[i]);
		if (m != NULL)
			jsonw_m_raw(&o->w, names[i], m->raw);
	}
	jsonw_close(&o->w, '}');
}

static const struct {
	enum canon_tool_kind kind;
	const char *type, *name;
} servers[] = {
    {TOOL_WEB_SEARCH, "web_search_20250305", "web_search"},
    {TOOL_WEB_FETCH, "web_fetch_20250910", "web_fetch"},
    {TOOL_CODE, "code_execution_20250825", "code_execution"},
};

static void
put_server(struct messages_writer *o, enum canon_tool_kind kind, struct span options)
{
	for (size_t i = 0; i < NELEM(servers); i++) {
		if (servers[i].kind != kind)
			continue;
		jsonw_open(&o->w, '{');
		jsonw_m_cstr(&o->w, "type", servers[i].type);
		jsonw_m_cstr(&o->w, "name", servers[i].name);
		put_location(o, options);
		jsonw_close(&o->w, '}');
	}
}

static void
put_tool(struct messages_writer *o, const struct canon_tool *t)
{
	bool whole = messages_hint(&t->src, HINT_RAW) && t->raw.p != NULL;

	if (t->kind != TOOL_FUNCTION && t->kind != TOOL_CUSTOM && !whole) {
		put_server(o, t->kind, (struct span){NULL, 0});
		return;
	}
	if (whole && !messages_hint(&t->src, HINT_MARKED) && !t->cache.set) {
		jsonw_raw(&o->w, t->raw);
		return;
	}
	jsonw_open(&o->w, '{');
	if (whole) {
		messages_put_members(o, t->raw, cache_only);
		messages_put_cache(o, &t->cache, &t->src);
	} else {
		put_function(o, t);
	}
	jsonw_close(&o->w, '}');
}

void
messages_put_tools(struct messages_writer *o, const struct canon_request *q)
{
	const struct canon_tool *t;
	bool search = q->web_search.p != NULL;

	if (TAILQ_EMPTY(&q->tools) && !search)
		return;
	jsonw_m_open(&o->w, "tools", '[');
	TAILQ_FOREACH (t, &q->tools, link) {
		put_tool(o, t);
		search = search && t->kind != TOOL_WEB_SEARCH;
	}
	if (search)
		put_server(o, TOOL_WEB_SEARCH, q->web_search);
	jsonw_close(&o->w, ']');
}
