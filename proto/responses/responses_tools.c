/* Declarations of tools and the choice among them, read. */
#include <string.h>

#include "proto/responses/responses.h"
#include "shared/err.h"

/* Types end with a date or a version at some: the longest beginning that fits. */
static const struct {
	const char *prefix;
	enum canon_tool_kind kind;
	const char *name;
} servers[] = {
    {"web_search", TOOL_WEB_SEARCH, "web_search"},
    {"file_search", TOOL_FILE_SEARCH, "file_search"},
    {"code_interpreter", TOOL_CODE, "code_interpreter"},
    {"image_generation", TOOL_IMAGE, "image_generation"},
    {"computer", TOOL_COMPUTER, "computer"},
    {"local_shell", TOOL_SHELL, "local_shell"},
    {"shell", TOOL_SHELL, "shell"},
    {"apply_patch", TOOL_EDITOR, "apply_patch"},
    {"mcp", TOOL_MCP, "mcp"},
    {"tool_search", TOOL_SEARCH, "tool_search"},
};

static enum canon_tool_kind
server_kind(struct span type, struct span *name)
{
	*name = type;
	for (size_t i = 0; i < NELEM(servers); i++) {
		size_t n = strlen(servers[i].prefix);

		if (type.n >= n && memcmp(type.p, servers[i].prefix, n) == 0) {
			*name = span_of(servers[i].name);
			return servers[i].kind;
		}
	}
	return TOOL_OTHER;
}

static struct canon_tool *
add_tool(struct arena *a, enum canon_tool_kind kind, const struct json *j, struct canon_tools *to)
{
	struct canon_tool *t = canon_tool_new(a, kind);

	if (t == NULL)
		return NULL;
	canon_source_init(&t->src, DIALECT_RESPONSES);
	t->raw = kind == TOOL_FUNCTION || kind == TOOL_CUSTOM ? (struct span){NULL, 0} : j->raw;
	TAILQ_INSERT_TAIL(to, t, link);
	return t;
}

static int
read_function(
    struct arena *a, const struct json *j, struct canon_tools *to, struct canon_error *err)
{
	static const char *const known[] = {
	    "type", "name", "description", "parameters", "strict", "defer_loading", NULL};
	struct canon_tool *t = add_tool(a, TOOL_FUNCTION, j, to);
	const struct json *schema = json_want(j, "parameters");

	if (t == NULL)
		return E_NOMEM;
	t->name = responses_word(a, j, "name");
	if (t->name.p == NULL)
		return canon_fail(a, err, ERROR_BAD_REQUEST, "tools",
		    "Missing required parameter: 'tools[].name'.");
	t->description = responses_text(a, j, "description");
	if (schema != NULL)
		t->schema = schema->raw;
	t->strict = json_tri(json_get(j, "strict"));
	t->defer_loading = json_yes(json_get(j, "defer_loading"));
	return canon_extras(a, &t->src, j, known);
}

static int
read_custom(struct arena *a, const struct json *j, struct canon_tools *to, struct canon_error *err)
{
	static const char *const known[] = {
	    "type", "name", "description", "format", "defer_loading", NULL};
	struct canon_tool *t = add_tool(a, TOOL_CUSTOM, j, to);
	const struct json *format = json_want(j, "format");

	if (t == NULL)
		return E_NOMEM;
	t->name = responses_word(a, j, "name");
	if (t->name.p == NULL)
		return canon_fail(a, err, ERROR_BAD_REQUEST, "tools",
		    "Missing required parameter: 'tools[].name'.");
	t->description = responses_text(a, j, "description");
	if (format != NULL)
		t->grammar = format->raw;
	t->defer_loading = json_yes(json_get(j, "defer_loading"));
	return canon_extras(a, &t->src, j, known);
}

static int
read_server(struct arena *a, const struct json *j, struct canon_tools *to)
{
	struct span name, type = responses_word(a, j, "type");
	enum canon_tool_kind kind = server_kind(type.p != NULL ? type : span_of(""), &name);
	struct canon_tool *t = add_tool(a, kind, j, to);

	if (t == NULL)
		return E_NOMEM;
	t->name = name;
	return 0;
}

static bool
is_plain(const struct json *j)
{
	return json_equals(json_get(j, "type"), "function") ||
	       json_equals(json_get(j, "type"), "custom");
}

/* A group of functions is taken apart; one that holds anything else is carried as it is. */
static int
read_namespace(
    struct arena *a, const struct json *j, struct canon_tools *to, struct canon_error *err)
{
	static const char *const known[] = {"type", "name", "tools", NULL};
	const struct json *list = json_get(j, "tools");
	struct span name = responses_word(a, j, "name");
	struct canon_tools group;
	struct canon_tool *t;
	int r;

	if (!json_is(list, 'a') || list->count == 0 || name.p == NULL)
		return read_server(a, j, to);
	json_each (m, list)
		if (!is_plain(m))
			return read_server(a, j, to);
	TAILQ_INIT(&group);
	json_each (m, list) {
		r = json_equals(json_get(m, "type"), "custom") ? read_custom(a, m, &group, err)
							       : read_function(a, m, &group, err);
		if (r != 0)
			return r;
	}
	TAILQ_FOREACH (t, &group, link)
		t->namespace = name;
	t = TAILQ_FIRST(&group);
	t->src.hint |= HINT_GROUP;
	if ((r = responses_extra_mark(a, &t->src)) != 0 ||
	    (r = canon_extras(a, &t->src, j, known)) != 0)
		return r;
	TAILQ_CONCAT(to, &group, link);
	return 0;
}

int
responses_tools_read(
    struct arena *a, const struct json *tools, struct canon_tools *to, struct canon_error *err)
{
	int r = 0;

	if (tools == NULL)
		return 0;
	if (tools->type != 'a')
		return canon_fail(a, err, ERROR_BAD_REQUEST, "tools",
		    "Invalid type for 'tools': expected a list.");
	for (const struct json *j = tools->child; j != NULL && r == 0; j = j->next) {
		const struct json *type = json_get(j, "type");

		if (j->type != 'o')
			return canon_fail(a, err, ERROR_BAD_REQUEST, "tools",
			    "Invalid type for 'tools': expected objects.");
		if (json_equals(type, "function") || type == NULL)
			r = read_function(a, j, to, err);
		else if (json_equals(type, "custom"))
			r = read_custom(a, j, to, err);
		else if (json_equals(type, "namespace"))
			r = read_namespace(a, j, to, err);
		else
			r = read_server(a, j, to);
	}
	return r;
}

/* ---- the choice ---- */

static int
read_allowed(struct arena *a, const struct json *choice, struct canon_tool_choice *to)
{
	const struct json *list = json_get(choice, "tools");
	struct canon_text_list **end = &to->allowed;

	to->kind = CHOICE_ALLOWED;
	to->allowed_any = json_equals(json_get(choice, "mode"), "required");
	if (json_is(list, 'a'))
		json_each (j, list) {
			struct span name = responses_word(a, j, "name");

			if (name.p == NULL)
				(void)server_kind(responses_word(a, j, "type"), &name);
			if (name.n == 0)
				continue;
			if (canon_text_add(a, end, name) != 0)
				return E_NOMEM;
			end = &(*end)->next;
		}
	return 0;
}

int
responses_choice_read(struct arena *a, const struct json *choice, struct canon_tool_choice *to)
{
	static const struct {
		const char *word;
		enum canon_choice_kind kind;
	} words[] = {
	    {"auto", CHOICE_AUTO},
	    {"none", CHOICE_NONE},
	    {"required", CHOICE_ANY},
	    {"any", CHOICE_ANY},
	};
	struct span type;

	if (choice == NULL)
		return 0;
	to->raw = choice->raw;
	for (size_t i = 0; i < NELEM(words); i++)
		if (json_equals(choice, words[i].word))
			to->kind = words[i].kind;
	if (choice->type != 'o')
		return 0;
	type = responses_text(a, choice, "type");
	if (span_is(type, "allowed_tools"))
		return read_allowed(a, choice, to);
	to->kind = CHOICE_NAMED;
	to->name = responses_word(a, choice, "name");
	if (to->name.p == NULL && json_is(json_get(choice, "function"), 'o'))
		to->name = responses_word(a, json_get(choice, "function"), "name");
	if (to->name.p == NULL)
		(void)server_kind(type.p != NULL ? type : span_of(""), &to->name);
	if (to->name.n == 0)
		to->kind = CHOICE_UNSET;
	return 0;
}
