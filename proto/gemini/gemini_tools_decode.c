/* Tools and the choice between them, read. */
#include <string.h>

#include "proto/gemini/gemini.h"
#include "shared/err.h"

static int
read_function(struct gemini_reader *r, const struct json *d, struct canon_tool *t)
{
	static const char *const known[] = {
	    "name", "description", "parameters", "parametersJsonSchema", NULL};
	static const char *const subset[] = {"name", "description", "parametersJsonSchema", NULL};
	const struct json *full = gemini_get(d, "parametersJsonSchema");
	const struct json *part = gemini_get(d, "parameters");
	int e;

	if ((e = gemini_get_text(r->a, d, "name", &t->name)) != 0 ||
	    (e = gemini_get_text(r->a, d, "description", &t->description)) != 0)
		return e;
	if (t->name.p == NULL)
		return canon_fail(r->a, r->err, ERROR_BAD_REQUEST,
		    "tools.functionDeclarations.name", "A function declaration has no name");
	if (full != NULL) {
		t->schema = full->raw;
		return gemini_keep(r->a, &t->src, d, known, HINT_SNAKE);
	}
	if (part != NULL) { /* as it came, for its own dialect: among the extras */
		t->src.hint |= HINT_SUBSET;
		e = gemini_read_schema(
		    r, part->raw, "tools.functionDeclarations.parameters", &t->schema);
	}
	return e != 0 ? e : gemini_keep(r->a, &t->src, d, subset, HINT_SNAKE);
}

static int
add_tool(struct gemini_reader *r, struct canon_request *q, enum canon_tool_kind kind, bool *start,
    struct canon_tool **out)
{
	struct canon_tool *t = *out = canon_tool_new(r->a, kind);

	if (t == NULL)
		return E_NOMEM;
	canon_source_init(&t->src, DIALECT_GEMINI);
	t->src.hint = *start ? HINT_START : 0;
	*start = false;
	TAILQ_INSERT_TAIL(&q->tools, t, link);
	return 0;
}

static enum canon_tool_kind
kind_of(struct span name)
{
	static const struct {
		const char *name;
		enum canon_tool_kind kind;
	} map[] = {
	    {"googleSearch", TOOL_WEB_SEARCH},
	    {"googleSearchRetrieval", TOOL_WEB_SEARCH},
	    {"urlContext", TOOL_WEB_FETCH},
	    {"codeExecution", TOOL_CODE},
	    {"fileSearch", TOOL_FILE_SEARCH},
	    {"computerUse", TOOL_COMPUTER},
	    {"mcpServers", TOOL_MCP},
	};
	bool snake = false;

	for (size_t i = 0; i < NELEM(map); i++)
		if (gemini_name_is(name, map[i].name, &snake))
			return map[i].kind;
	return TOOL_OTHER;
}

static int
read_element(struct gemini_reader *r, const struct json *element, struct canon_request *q)
{
	bool start = true, snake = false;
	struct canon_tool *t;
	int e;

	json_each (m, element) {
		if (json_is(m, '0'))
			continue;
		if (gemini_name_is(m->name, "functionDeclarations", &snake) && json_is(m, 'a')) {
			json_each (d, m) {
				if ((e = add_tool(r, q, TOOL_FUNCTION, &start, &t)) != 0 ||
				    (e = read_function(r, d, t)) != 0)
					return e;
				t->src.hint |= snake ? HINT_SNAKE_CONFIG : 0;
			}
			continue;
		}
		if ((e = add_tool(r, q, kind_of(m->name), &start, &t)) != 0 ||
		    (e = canon_extra_add(r->a, &t->src, m)) != 0)
			return e;
		t->raw = m->raw;
	}
	return 0;
}

int
gemini_read_tools(struct gemini_reader *r, const struct json *tools, struct canon_request *q)
{
	int e;

	if (json_is(tools, 'o')) /* one element without its list */
		return read_element(r, tools, q);
	if (tools != NULL && !json_is(tools, 'a'))
		return canon_fail(
		    r->a, r->err, ERROR_BAD_REQUEST, "tools", "'tools' must be an array");
	json_each (it, tools)
		if ((e = read_element(r, it, q)) != 0)
			return e;
	return 0;
}

enum canon_choice_kind
gemini_choice_of(const struct json *mode, uint32_t names)
{
	if (json_equals(mode, "NONE"))
		return CHOICE_NONE;
	if (json_equals(mode, "ANY"))
		return names == 0 ? CHOICE_ANY : names == 1 ? CHOICE_NAMED : CHOICE_ALLOWED;
	if (json_equals(mode, "AUTO") || json_equals(mode, "VALIDATED"))
		return names == 0 ? CHOICE_AUTO : CHOICE_ALLOWED;
	return CHOICE_UNSET;
}

int
gemini_read_choice(struct gemini_reader *r, const struct json *config, struct canon_request *q)
{
	static const char *const known[] = {"functionCallingConfig", NULL};
	static const char *const inner[] = {"mode", "allowedFunctionNames", NULL};
	const struct json *c = gemini_get(config, "functionCallingConfig");
	const struct json *mode = gemini_get(c, "mode");
	const struct json *names = gemini_get(c, "allowedFunctionNames");
	struct canon_tool_choice *choice = &q->tool_choice;
	struct canon_text_list **tail = &choice->allowed;
	int e;

	if ((e = gemini_keep_rest(r->a, &q->src, config, known, HINT_SNAKE_CHOICE)) != 0)
		return e;
	if (!json_is(c, 'o'))
		return 0;
	json_each (it, c) {
		bool snake = false;
		if (gemini_listed(it->name, inner, &snake) && snake)
			q->src.hint |= HINT_SNAKE_CHOICE;
	}
	choice->raw = c->raw;
	choice->kind = gemini_choice_of(mode, json_is(names, 'a') ? names->count : 0);
	choice->allowed_any = json_equals(mode, "ANY");
	if (choice->kind != CHOICE_NAMED && choice->kind != CHOICE_ALLOWED)
		return 0;
	json_each (it, names) {
		struct span name = json_text(r->a, it);

		if (!json_is(it, 's'))
			return canon_fail(r->a, r->err, ERROR_BAD_REQUEST,
			    "toolConfig.functionCallingConfig.allowedFunctionNames",
			    "The names of allowed functions must be strings");
		if (name.p == NULL)
			return E_NOMEM;
		if (choice->kind == CHOICE_NAMED) {
			choice->name = name;
			continue;
		}
		if ((e = canon_text_add(r->a, tail, name)) != 0)
			return e;
		tail = &(*tail)->next;
	}
	return 0;
}
