/* Tools, tool_choice, and their old forms (spec 6.1, 6.2). */
#include "proto/chat/chat.h"
#include "shared/err.h"

/* ---- reading ---- */

static void
read_function(struct chat_reader *r, struct canon_tool *t, const struct json *f)
{
	const struct json *schema = json_want(f, "parameters");
	static const char *const known[] = {"name", "description", "parameters", "strict", NULL};

	t->name = chat_text(r, f, "name");
	if (t->name.p == NULL)
		t->name = span_of("");
	t->description = chat_text(r, f, "description");
	t->strict = json_tri(json_get(f, "strict"));
	if (schema != NULL)
		t->schema = schema->raw;
	chat_extras(r, &t->src, f, known);
}

static void
read_tool(struct chat_reader *r, const struct json *j, struct canon_request *q, bool old)
{
	const struct json *f = json_want(j, "function"), *custom = json_want(j, "custom"), *format;
	const struct json *cache = json_want(j, "cache_control");
	enum canon_tool_kind kind = custom != NULL     ? TOOL_CUSTOM
				    : old || f != NULL ? TOOL_FUNCTION
						       : TOOL_OTHER;
	struct canon_tool *t = canon_tool_new(r->a, kind);

	if (t == NULL) {
		r->error = E_NOMEM;
		return;
	}
	canon_source_init(&t->src, DIALECT_CHAT);
	TAILQ_INSERT_TAIL(&q->tools, t, link);
	t->raw = kind == TOOL_OTHER ? j->raw : (struct span){NULL, 0};
	t->cache.set = cache != NULL;
	t->cache.ttl = chat_text(r, cache, "ttl");
	if (kind == TOOL_FUNCTION) {
		read_function(r, t, old ? j : f);
	} else if (kind == TOOL_CUSTOM) {
		t->name = chat_text(r, custom, "name");
		t->description = chat_text(r, custom, "description");
		if ((format = json_want(custom, "format")) != NULL)
			t->grammar = format->raw;
	} else if (json_is(json_get(j, "type"), 's')) {
		t->name = chat_text(r, j, "type");
	}
	if (t->name.p == NULL)
		t->name = span_of("");
}

static void
read_allowed(struct chat_reader *r, const struct json *choice, struct canon_tool_choice *to)
{
	const struct json *allowed = json_want(choice, "allowed_tools");

	to->kind = CHOICE_ALLOWED;
	to->allowed_any = json_equals(json_get(allowed, "mode"), "required");
	json_each (t, json_want(allowed, "tools")) {
		struct span name = chat_text(r, json_want(t, "function"), "name");

		if (name.p == NULL)
			name = chat_text(r, json_want(t, "custom"), "name");
		if (name.p != NULL && canon_text_add(r->a, &to->allowed, name) != 0)
			r->error = E_NOMEM;
	}
}

static void
read_choice(struct chat_reader *r, const struct json *choice, struct canon_tool_choice *to)
{
	static const struct {
		const char *word;
		enum canon_choice_kind kind;
	} words[] = {{"auto", CHOICE_AUTO}, {"none", CHOICE_NONE}, {"required", CHOICE_ANY},
	    {"any", CHOICE_ANY}};
	const struct json *named = json_want(choice, "function");

	if (choice == NULL)
		return;
	to->raw = choice->raw;
	for (size_t i = 0; i < NELEM(words); i++)
		if (json_equals(choice, words[i].word) ||
		    json_equals(json_get(choice, "type"), words[i].word))
			to->kind = words[i].kind;
	if (json_equals(json_get(choice, "type"), "allowed_tools"))
		read_allowed(r, choice, to);
	if (named == NULL)
		named = json_want(choice, "custom");
	if (named == NULL && json_get(choice, "name") != NULL)
		named = choice;
	if (named == NULL)
		return;
	to->name = chat_text(r, named, "name");
	to->kind = to->name.p != NULL ? CHOICE_NAMED : CHOICE_UNSET;
}

void
chat_read_tools(struct chat_reader *r, const struct json *root, struct canon_request *q)
{
	const struct json *tools = json_want(root, "tools"),
			  *functions = json_want(root, "functions");

	if (json_is(tools, 'a'))
		json_each (t, tools)
			read_tool(r, t, q, false);
	if (json_is(functions, 'a')) {
		q->legacy_functions = tools == NULL;
		json_each (f, functions)
			read_tool(r, f, q, true);
	}
	read_choice(r, json_want(root, "tool_choice"), &q->tool_choice);
	if (q->tool_choice.kind == CHOICE_UNSET)
		read_choice(r, json_want(root, "function_call"), &q->tool_choice);
}

/* ---- writing ---- */

static void
put_function(struct chat_writer *o, const struct canon_tool *t)
{
	jsonw_m_text(&o->w, "name", t->name);
	if (t->description.n > 0)
		jsonw_m_text(&o->w, "description", t->description);
	else if (t->src.from == DIALECT_CHAT)
		jsonw_m_text(&o->w, "description", t->description);
	jsonw_m_raw(&o->w, "parameters", t->schema);
	jsonw_m_tri(&o->w, "strict", t->strict);
	canon_put_extras(&o->w, &t->src, DIALECT_CHAT);
}

static void
put_tool(struct chat_writer *o, const struct canon_tool *t)
{
	if (t->kind != TOOL_FUNCTION && t->kind != TOOL_CUSTOM) {
		if (t->raw.p != NULL && t->src.from == DIALECT_CHAT)
			jsonw_raw(&o->w, t->raw);
		return;
	}
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "type", t->kind == TOOL_CUSTOM ? "custom" : "function");
	jsonw_m_open(&o->w, t->kind == TOOL_CUSTOM ? "custom" : "function", '{');
	if (t->kind == TOOL_CUSTOM) {
		jsonw_m_text(&o->w, "name", t->name);
		jsonw_m_text(&o->w, "description", t->description);
		jsonw_m_raw(&o->w, "format", t->grammar);
	} else {
		put_function(o, t);
	}
	jsonw_close(&o->w, '}');
	chat_put_cache(o, &t->cache);
	jsonw_close(&o->w, '}');
}

static void
put_named(struct chat_writer *o, struct span name, bool custom)
{
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "type", custom ? "custom" : "function");
	jsonw_m_open(&o->w, custom ? "custom" : "function", '{');
	jsonw_m_text(&o->w, "name", name);
	jsonw_close(&o->w, '}');
	jsonw_close(&o->w, '}');
}

static bool
is_custom(const struct canon_request *q, struct span name)
{
	const struct canon_tool *t;

	TAILQ_FOREACH (t, &q->tools, link)
		if (t->kind == TOOL_CUSTOM && span_same(t->name, name))
			return true;
	return false;
}

static void
put_choice(struct chat_writer *o, const struct canon_request *q)
{
	const struct canon_tool_choice *c = &q->tool_choice;

	if (c->kind == CHOICE_UNSET)
		return;
	jsonw_name(&o->w, "tool_choice");
	switch (c->kind) {
	case CHOICE_NONE:
		jsonw_lit(&o->w, "\"none\"");
		break;
	case CHOICE_ANY:
		jsonw_lit(&o->w, o->ctx->profile->required_is_any ? "\"any\"" : "\"required\"");
		break;
	case CHOICE_NAMED:
		put_named(o, c->name, is_custom(q, c->name));
		break;
	case CHOICE_ALLOWED:
		jsonw_open(&o->w, '{');
		jsonw_m_cstr(&o->w, "type", "allowed_tools");
		jsonw_m_open(&o->w, "allowed_tools", '{');
		jsonw_m_cstr(&o->w, "mode", c->allowed_any ? "required" : "auto");
		jsonw_m_open(&o->w, "tools", '[');
		for (const struct canon_text_list *n = c->allowed; n != NULL; n = n->next)
			put_named(o, n->text, is_custom(q, n->text));
		jsonw_close(&o->w, ']');
		jsonw_close(&o->w, '}');
		jsonw_close(&o->w, '}');
		break;
	default:
		jsonw_lit(&o->w, "\"auto\"");
	}
}

static void
put_functions(struct chat_writer *o, const struct canon_request *q)
{
	const struct canon_tool *t;
	const struct canon_tool_choice *c = &q->tool_choice;

	jsonw_m_open(&o->w, "functions", '[');
	TAILQ_FOREACH (t, &q->tools, link) {
		jsonw_open(&o->w, '{');
		put_function(o, t);
		jsonw_close(&o->w, '}');
	}
	jsonw_close(&o->w, ']');
	if (c->kind == CHOICE_UNSET)
		return;
	jsonw_name(&o->w, "function_call");
	if (c->kind != CHOICE_NAMED) {
		jsonw_lit(&o->w, c->kind == CHOICE_NONE ? "\"none\"" : "\"auto\"");
		return;
	}
	jsonw_open(&o->w, '{');
	jsonw_m_text(&o->w, "name", c->name);
	jsonw_close(&o->w, '}');
}

void
chat_put_tools(struct chat_writer *o, const struct canon_request *q)
{
	const struct canon_tool *t;

	if (TAILQ_EMPTY(&q->tools))
		return;
	if (q->legacy_functions && q->from == DIALECT_CHAT) {
		put_functions(o, q);
		return;
	}
	jsonw_m_open(&o->w, "tools", '[');
	TAILQ_FOREACH (t, &q->tools, link)
		put_tool(o, t);
	jsonw_close(&o->w, ']');
	put_choice(o, q);
	jsonw_m_tri(&o->w, "parallel_tool_calls", q->parallel_tools);
}
