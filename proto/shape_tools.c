/* Declarations of tools (spec translation 6.1, 6.7). */
#include <string.h>

#include "proto/shape_own.h"
#include "shared/err.h"

#define NO_PARAMETERS "{\"type\":\"object\",\"properties\":{}}"

#define EACH_SAFE(it, head, next) \
	for ((it) = TAILQ_FIRST(head); (it) != NULL && ((next) = TAILQ_NEXT(it, link), true); \
	     (it) = (next))

bool
shape_has_functions(const struct shaping *s)
{
	const struct canon_tool *t;

	TAILQ_FOREACH (t, &s->q->tools, link)
		if (t->kind == TOOL_FUNCTION || t->kind == TOOL_CUSTOM)
			return true;
	return false;
}

/* ---- schemas ---- */

int
shape_schema_fit(
    struct shaping *s, struct span *schema, enum profile_schema rule, const char *where)
{
	int r = 0;
	struct span out;

	if (schema->p == NULL || rule == SCHEMA_AS_IS)
		return 0;
	out = shape_schema(s->a, *schema, rule, &r);
	if (out.p == NULL)
		return r == E_TOO_LONG || r == E_DEPTH
			   ? canon_fail(s->a, s->err, ERROR_BAD_REQUEST, where,
				 "The JSON schema is nested too deeply or too large.")
		       : r == E_SYNTAX ? canon_fail(s->a, s->err, ERROR_BAD_REQUEST, where,
					     "The schema is not valid JSON.")
				       : E_NOMEM;
	*schema = out;
	return 0;
}

bool
shape_schema_is_strict(struct shaping *s, struct span schema)
{
	const struct json *before, *after;
	int r = 0;
	struct span out;

	if (schema.p == NULL)
		return false;
	out = shape_schema(s->a, schema, SCHEMA_OPENAI_STRICT, &r);
	return out.p != NULL && json_parse(s->a, schema, &before) == 0 &&
	       json_parse(s->a, out, &after) == 0 && json_same(before, after);
}

/* Responses says strict where nothing is said, all others say not. */
static enum profile_schema
settle_strict(struct shaping *s, struct canon_tool *t)
{
	enum profile_schema rule = s->p->schema;

	if (s->same)
		return t->strict == 1 ? SCHEMA_AS_IS : rule;
	if (s->p->dialect == DIALECT_RESPONSES && t->strict < 0)
		t->strict = 0;
	else if (s->asked->from == DIALECT_RESPONSES && t->strict < 0 && s->p->openai)
		t->strict = shape_schema_is_strict(s, t->schema) ? 1 : -1;
	if (t->strict == 1 && s->p->openai)
		return SCHEMA_OPENAI_STRICT;
	if (t->strict == 1 && s->p->anthropic && !s->m->no_schema && !s->m->unknown)
		return SCHEMA_ANTHROPIC_STRICT;
	if (!s->p->openai)
		t->strict = -1;
	return rule;
}

/* ---- functions ---- */

static int
append_description(struct shaping *s, struct canon_tool *t, const char *title, struct span text)
{
	size_t before = t->description.n, head = strlen(title);
	char *out = arena_alloc(s->a, before + 2 + head + text.n), *at = out;

	if (out == NULL)
		return E_NOMEM;
	if (before > 0) {
		memcpy(at, t->description.p, before);
		memcpy(at + before, "\n\n", 2);
		at += before + 2;
	}
	memcpy(at, title, head);
	memcpy(at + head, text.p, text.n);
	t->description = (struct span){out, (size_t)(at - out) + head + text.n};
	return 0;
}

static int
settle_function(struct shaping *s, struct canon_tool *t)
{
	enum profile_schema rule = settle_strict(s, t);
	int r;

	if (t->kind == TOOL_CUSTOM)
		return 0;
	if (t->description.n == 0 && !s->same)
		t->description =
		    s->p->dialect == DIALECT_CONVERSE ? t->name : (struct span){NULL, 0};
	if (t->schema.p == NULL &&
	    (s->p->dialect == DIALECT_MESSAGES || s->p->dialect == DIALECT_CONVERSE))
		t->schema = span_of(NO_PARAMETERS);
	if (!s->same && s->p->dialect != DIALECT_MESSAGES && t->examples.p != NULL) {
		if ((r = append_description(s, t, "Examples: ", t->examples)) != 0)
			return r;
		t->examples = (struct span){NULL, 0};
	}
	if (!s->same && s->p->dialect != DIALECT_MESSAGES && s->p->dialect != DIALECT_RESPONSES)
		t->defer_loading = false;
	return shape_schema_fit(s, &t->schema, rule, "tools");
}

int
shape_tool_wrap(struct shaping *s, struct canon_tool *t)
{
	static const char schema[] =
	    "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},"
	    "\"required\":[\"input\"],\"additionalProperties\":false}";
	struct buf b = BUF_INIT(6 * t->grammar.n + 256);
	struct jsonw w = {.b = &b};
	const char *kept;
	int r = 0;

	t->kind = TOOL_FUNCTION;
	t->schema = span_of(schema);
	if (t->grammar.p != NULL) {
		jsonw_open(&w, '{');
		jsonw_m_cstr(&w, "type", "object");
		jsonw_m_open(&w, "properties", '{');
		jsonw_m_open(&w, "input", '{');
		jsonw_m_cstr(&w, "type", "string");
		jsonw_name(&w, "description");
		jsonw_begin_string(&w);
		jsonw_part(&w, span_of("The whole input as text, in this format: "));
		jsonw_part(&w, t->grammar);
		jsonw_end_string(&w);
		jsonw_close(&w, '}');
		jsonw_close(&w, '}');
		jsonw_m_lit(&w, "required", "[\"input\"]");
		jsonw_m_bool(&w, "additionalProperties", false);
		jsonw_close(&w, '}');
		kept = buf_ok(&b) ? arena_strndup(s->a, b.data, b.len) : NULL;
		t->schema = (struct span){kept, kept != NULL ? b.len : 0};
		r = kept == NULL ? E_NOMEM : 0;
		buf_clear(&b);
	}
	t->grammar = (struct span){NULL, 0};
	t->strict = -1;
	if (t->description.n == 0 && s->p->dialect == DIALECT_CONVERSE)
		t->description = t->name;
	return r != 0 ? r : shape_schema_fit(s, &t->schema, s->p->schema, "tools");
}

/* ---- tools that run at the provider ---- */

#define ON(d) (1u << DIALECT_##d)

/* Which dialects have it. */
static const uint32_t servers[TOOL_OTHER + 1] = {
    [TOOL_WEB_SEARCH] = ON(CHAT) | ON(RESPONSES) | ON(MESSAGES) | ON(GEMINI),
    [TOOL_WEB_FETCH] = ON(MESSAGES) | ON(GEMINI),
    [TOOL_CODE] = ON(RESPONSES) | ON(MESSAGES) | ON(GEMINI),
};

static bool
chosen(const struct shaping *s, const struct canon_tool *t)
{
	const struct canon_tool_choice *c = &s->q->tool_choice;

	return c->kind == CHOICE_NAMED && t->name.n > 0 && span_same(c->name, t->name);
}

static int
settle_server(struct shaping *s, struct canon_tool *t, bool functions)
{
	bool has = s->p->web_search && (servers[t->kind] & 1u << s->p->dialect) != 0 &&
		   !(functions && s->p->dialect == DIALECT_GEMINI && !shape_is_new_gemini(s));

	if (has && s->p->dialect != DIALECT_CHAT) {
		t->raw = (struct span){NULL, 0};
		return 0;
	}
	if (has && s->q->web_search.p == NULL) /* there it is a parameter */
		s->q->web_search = span_of("{}");
	TAILQ_REMOVE(&s->q->tools, t, link);
	if (has)
		return 0;
	shape_note(s, DROP_TOOLS);
	if (chosen(s, t))
		return canon_fail(s->a, s->err, ERROR_UNSUPPORTED, "tool_choice",
		    "The tool '%.*s' runs at another provider; this model does not have it.",
		    (int)MIN(t->name.n, 128), t->name.p);
	return 0;
}

/* ---- history ---- */

static const struct canon_part *
next_call(const struct canon_turn **t, const struct canon_part *p)
{
	p = p != NULL ? TAILQ_NEXT(p, link) : TAILQ_FIRST(&(*t)->parts);
	for (;;) {
		for (; p != NULL; p = TAILQ_NEXT(p, link))
			if (p->kind == PART_TOOL_CALL)
				return p;
		if ((*t = TAILQ_NEXT(*t, link)) == NULL)
			return NULL;
		p = TAILQ_FIRST(&(*t)->parts);
	}
}

/* Converse wants tools declared when there are calls in the history (twins go with the names). */
static int
declare_history(struct shaping *s)
{
	const struct canon_turn *t = TAILQ_FIRST(&s->q->turns);
	const struct canon_part *p = NULL;
	struct canon_tool *tool;

	if (s->p->dialect != DIALECT_CONVERSE || !TAILQ_EMPTY(&s->q->tools) || t == NULL)
		return 0;
	while ((p = next_call(&t, p)) != NULL) {
		if ((tool = canon_tool_new(s->a, TOOL_FUNCTION)) == NULL)
			return E_NOMEM;
		tool->name = p->name;
		tool->namespace = p->namespace;
		tool->description = p->name;
		tool->schema = span_of(NO_PARAMETERS);
		TAILQ_INSERT_TAIL(&s->q->tools, tool, link);
	}
	return 0;
}

int
shape_tools(struct shaping *s)
{
	struct canon_tool *t, *next;
	bool functions = shape_has_functions(s);
	int r;

	EACH_SAFE(t, &s->q->tools, next)
	{
		bool named = t->kind == TOOL_FUNCTION || t->kind == TOOL_CUSTOM;

		if (s->same && !named)
			continue;
		if ((r = named ? settle_function(s, t) : settle_server(s, t, functions)) != 0)
			return r;
	}
	return declare_history(s);
}
