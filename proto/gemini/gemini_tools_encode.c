/* Tools and the choice between them, written. */
#include <string.h>

#include "proto/gemini/gemini.h"
#include "shared/err.h"

static bool
own(const struct canon_source *s)
{
	return s->from == DIALECT_GEMINI;
}

/* Google's own tool for a purpose; NULL: it has none. */
static const char *
foreign_tool(enum canon_tool_kind kind)
{
	switch (kind) {
	case TOOL_WEB_SEARCH:
		return "googleSearch";
	case TOOL_WEB_FETCH:
		return "urlContext";
	case TOOL_CODE:
		return "codeExecution";
	default:
		return NULL;
	}
}

static bool
is_declared(const struct canon_tool *t)
{
	return t->kind == TOOL_FUNCTION || t->kind == TOOL_CUSTOM;
}

static void
put_declaration(struct gemini_writer *o, const struct canon_tool *t)
{
	bool full = o->profile == NULL || o->profile->schema != SCHEMA_GEMINI_SUBSET;

	o->snake = gemini_hint(&t->src, HINT_SNAKE);
	jsonw_open(&o->w, '{');
	jsonw_m_text(&o->w, "name", t->name);
	if (t->description.n > 0 || own(&t->src))
		gemini_m_text(o, "description", t->description);
	if (!gemini_hint(&t->src, HINT_SUBSET))
		gemini_m_raw(o, full ? "parametersJsonSchema" : "parameters", t->schema);
	gemini_put_extras(o, &t->src, NULL);
	jsonw_close(&o->w, '}');
	o->snake = false;
}

/* Where the elements of `tools` and the list of declarations stand. */
struct place {
	bool element, list, rest;
};

static void
close_element(struct gemini_writer *o, struct place *at)
{
	if (at->list)
		jsonw_close(&o->w, ']');
	if (at->element)
		jsonw_close(&o->w, '}');
	*at = (struct place){0};
}

static void
put_tool(struct gemini_writer *o, const struct canon_tool *t, struct place *at)
{
	bool declared = is_declared(t);
	const char *name = declared ? NULL : foreign_tool(t->kind);

	if (!declared && !own(&t->src) && name == NULL)
		return;
	if (gemini_hint(&t->src, HINT_START) || !at->element ||
	    (!own(&t->src) && !(declared && at->list)) || (declared && !at->list && at->rest)) {
		close_element(o, at);
		jsonw_open(&o->w, '{');
		at->element = true;
	}
	if (declared && !at->list) {
		o->snake = gemini_hint(&t->src, HINT_SNAKE_CONFIG);
		gemini_m_open(o, "functionDeclarations", '[');
		at->list = true;
	}
	if (declared) {
		put_declaration(o, t);
		return;
	}
	if (at->list)
		jsonw_close(&o->w, ']');
	at->list = false;
	at->rest = true;
	if (own(&t->src))
		gemini_put_extras(o, &t->src, NULL);
	else
		jsonw_m_lit(&o->w, name, "{}");
}

static bool
goes(const struct canon_tool *t)
{
	return is_declared(t) || own(&t->src) || foreign_tool(t->kind) != NULL;
}

/* Functions of others stand in one list, in front. */
void
gemini_put_tools(struct gemini_writer *o, const struct canon_request *q)
{
	bool mine = q->from == DIALECT_GEMINI, any = false,
	     search = q->web_search.p != NULL && !mine;
	const struct canon_tool *t;
	struct place at = {0};

	TAILQ_FOREACH (t, &q->tools, link) {
		any = any || goes(t);
		search = search && t->kind != TOOL_WEB_SEARCH;
	}
	if (!any && !search)
		return;
	jsonw_m_open(&o->w, "tools", '[');
	TAILQ_FOREACH (t, &q->tools, link)
		if (mine || is_declared(t))
			put_tool(o, t, &at);
	TAILQ_FOREACH (t, &q->tools, link)
		if (!mine && !is_declared(t))
			put_tool(o, t, &at);
	close_element(o, &at);
	if (search)
		jsonw_lit(&o->w, "{\"googleSearch\":{}}");
	jsonw_close(&o->w, ']');
	o->snake = false;
}

/* The client's own word, as long as it still says what the model says. */
static const char *
own_mode(struct gemini_writer *o, const struct canon_request *q, struct span *word)
{
	const struct canon_tool_choice *c = &q->tool_choice;
	const struct json *raw, *mode, *names;
	int r;

	if (q->from != DIALECT_GEMINI || c->raw.p == NULL)
		return NULL;
	if ((r = json_parse(o->a, c->raw, &raw)) != 0) {
		o->error = r;
		return NULL;
	}
	mode = gemini_get(raw, "mode");
	names = gemini_get(raw, "allowedFunctionNames");
	if (gemini_choice_of(mode, json_is(names, 'a') ? names->count : 0) != c->kind)
		return NULL;
	*word = json_text(o->a, mode);
	return word->p;
}

static void
put_names(struct gemini_writer *o, const struct canon_tool_choice *c)
{
	if (c->kind != CHOICE_NAMED && c->kind != CHOICE_ALLOWED)
		return;
	gemini_m_open(o, "allowedFunctionNames", '[');
	if (c->kind == CHOICE_NAMED)
		jsonw_text(&o->w, c->name);
	else
		for (const struct canon_text_list *n = c->allowed; n != NULL; n = n->next)
			jsonw_text(&o->w, n->text);
	jsonw_close(&o->w, ']');
}

void
gemini_put_choice(struct gemini_writer *o, const struct canon_request *q)
{
	static const char *const words[] = {[CHOICE_UNSET] = NULL,
	    [CHOICE_AUTO] = "AUTO",
	    [CHOICE_NONE] = "NONE",
	    [CHOICE_ANY] = "ANY",
	    [CHOICE_NAMED] = "ANY",
	    [CHOICE_ALLOWED] = "VALIDATED"};
	static const char *const known[] = {"functionCallingConfig", NULL};
	const struct canon_tool_choice *c = &q->tool_choice;
	bool mine = q->from == DIALECT_GEMINI;
	struct span word = {NULL, 0};

	if (own_mode(o, q, &word) == NULL && c->kind != CHOICE_UNSET)
		word =
		    span_of(c->kind == CHOICE_ALLOWED && c->allowed_any ? "ANY" : words[c->kind]);
	if (word.p == NULL && !gemini_has_extra(&q->src, "toolConfig"))
		return;
	o->snake = gemini_hint(&q->src, HINT_SNAKE);
	gemini_m_open(o, "toolConfig", '{');
	o->snake = gemini_hint(&q->src, HINT_SNAKE_CHOICE);
	if (word.p != NULL) {
		gemini_m_open(o, "functionCallingConfig", '{');
		jsonw_m_text(&o->w, "mode", word);
		put_names(o, c);
		jsonw_close(&o->w, '}');
	}
	if (mine)
		gemini_put_rest(o, &q->src, "toolConfig", known);
	jsonw_close(&o->w, '}');
	o->snake = false;
}
