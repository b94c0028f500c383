/* Requests of the dialects whose messages are Chat's in outline. */
#include "proto/wire.h"

#include "shared/err.h"

/* ---- reading ---- */

int
wire_read_root(struct arena *a, struct span body, const struct json **root, struct canon_error *err)
{
	int r = json_parse(a, body, root);

	if (r == E_NOMEM)
		return r;
	if (r != 0 || !json_is(*root, 'o'))
		return canon_fail(a, err, ERROR_BAD_REQUEST, NULL, "The body is not a JSON object");
	if (!json_is(json_get(*root, "messages"), 'a'))
		return canon_fail(
		    a, err, ERROR_BAD_REQUEST, "messages", "messages: a list is required");
	return 0;
}

enum canon_role
wire_role(const struct json *m)
{
	static const struct {
		const char *word;
		enum canon_role role;
	} roles[] = {{"system", ROLE_SYSTEM}, {"developer", ROLE_DEVELOPER},
	    {"assistant", ROLE_ASSISTANT}, {"tool", ROLE_TOOL}};
	const struct json *role = json_get(m, "role");

	for (size_t i = 0; i < NELEM(roles); i++)
		if (json_equals(role, roles[i].word))
			return roles[i].role;
	return ROLE_USER;
}

struct canon_turn *
wire_turn_add(struct arena *a, struct canon_request *q, enum canon_role role, enum dialect_id from)
{
	struct canon_turn *t = canon_turn_new(a, role);

	if (t == NULL)
		return NULL;
	canon_source_init(&t->src, from);
	TAILQ_INSERT_TAIL(&q->turns, t, link);
	return t;
}

struct canon_part *
wire_result_add(struct arena *a, struct canon_request *q, enum dialect_id from)
{
	struct canon_turn *t = TAILQ_LAST(&q->turns, canon_turns);
	struct canon_part *p = canon_part_new(a, PART_TOOL_RESULT);

	if (p == NULL)
		return NULL;
	if ((t == NULL || t->role != ROLE_TOOL) &&
	    (t = wire_turn_add(a, q, ROLE_TOOL, from)) == NULL)
		return NULL;
	canon_source_init(&p->src, from);
	TAILQ_INSERT_TAIL(&t->parts, p, link);
	return p;
}

int
wire_tool_add(struct arena *a, struct canon_request *q, const struct json *j, enum dialect_id from)
{
	static const char *const known[] = {"type", "function", NULL};
	static const char *const known_in[] = {"name", "description", "parameters", NULL};
	const struct json *f = json_get(j, "function"), *schema = json_want(f, "parameters");
	struct canon_source rest;
	struct canon_tool *t;
	int r;

	if (!json_is(f, 'o'))
		return 0;
	if ((t = canon_tool_new(a, TOOL_FUNCTION)) == NULL)
		return E_NOMEM;
	t->name = json_text(a, json_get(f, "name"));
	t->description = json_text(a, json_get(f, "description"));
	if (schema != NULL)
		t->schema = schema->raw;
	canon_source_init(&t->src, from);
	canon_source_init(&rest, from);
	TAILQ_INSERT_TAIL(&q->tools, t, link);
	if ((r = canon_extras(a, &t->src, j, known)) != 0 ||
	    (r = canon_extras(a, &rest, f, known_in)) != 0)
		return r;
	return rest.extra != NULL ? canon_extra_add(a, &t->src, f) : 0;
}

int
wire_texts(struct arena *a, struct canon_text_list **to, const struct json *list)
{
	int r;

	json_each (it, json_is(list, 'a') ? list : NULL)
		if (json_is(it, 's') && (r = canon_text_add(a, to, json_text(a, it))) != 0)
			return r;
	return 0;
}

/* ---- writing ---- */

const char *
wire_role_word(enum canon_role role)
{
	static const char *const words[] = {
	    [ROLE_SYSTEM] = "system",
	    [ROLE_DEVELOPER] = "system",
	    [ROLE_USER] = "user",
	    [ROLE_ASSISTANT] = "assistant",
	    [ROLE_TOOL] = "tool",
	};

	return words[role];
}

static void
put_function(struct wire *o, const struct canon_tool *t, enum dialect_id to, bool empty)
{
	static const char *const known[] = {"name", "description", "parameters", NULL};
	static const char *const function[] = {"function", NULL};
	struct span rest = wire_extra(&t->src, to, "function");
	bool own = t->src.from == to;

	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "type", "function");
	jsonw_m_open(&o->w, "function", '{');
	jsonw_m_text(&o->w, "name", t->name);
	if (t->description.n > 0 || (own && empty))
		jsonw_m_text(&o->w, "description", t->description);
	if (t->schema.p != NULL || !own)
		jsonw_m_raw(&o->w, "parameters", wire_schema(t));
	if (rest.p != NULL)
		wire_put_rest(o, rest, known);
	jsonw_close(&o->w, '}');
	wire_put_extras(o, &t->src, to, function);
	jsonw_close(&o->w, '}');
}

bool
wire_put_functions(struct wire *o, const struct canon_request *q, enum dialect_id to, bool empty)
{
	const struct canon_tool *t;
	bool any = false;

	TAILQ_FOREACH (t, &q->tools, link) {
		if (t->kind != TOOL_FUNCTION && t->kind != TOOL_CUSTOM)
			continue;
		if (!any)
			jsonw_m_open(&o->w, "tools", '[');
		any = true;
		put_function(o, t, to, empty);
	}
	if (any)
		jsonw_close(&o->w, ']');
	return any;
}

void
wire_put_texts(struct wire *o, const char *name, const struct canon_text_list *t)
{
	if (t == NULL)
		return;
	jsonw_m_open(&o->w, name, '[');
	for (; t != NULL; t = t->next)
		jsonw_text(&o->w, t->text);
	jsonw_close(&o->w, ']');
}

bool
wire_is_off(const struct canon_reasoning *m)
{
	return m->mode == THINK_OFF || m->effort == EFFORT_NONE ||
	       (m->has_budget && m->budget == 0);
}

const char *
wire_three_levels(enum canon_effort effort)
{
	static const char *const words[EFFORT_MAX + 1] = {
	    [EFFORT_MINIMAL] = "low",
	    [EFFORT_LOW] = "low",
	    [EFFORT_MEDIUM] = "medium",
	    [EFFORT_HIGH] = "high",
	    [EFFORT_XHIGH] = "high",
	    [EFFORT_MAX] = "high",
	};

	return words[effort];
}
