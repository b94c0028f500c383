/* Items of input and output lists: messages, calls, results, thoughts, and what is only carried. */
#include <string.h>

#include "proto/responses/responses.h"
#include "proto/signature.h"
#include "shared/err.h"

static struct canon_part *
add_part(struct responses_reader *rd, enum canon_part_kind kind, struct canon_parts *to)
{
	struct canon_part *p = canon_part_new(rd->a, kind);

	if (p != NULL) {
		canon_source_init(&p->src, DIALECT_RESPONSES);
		TAILQ_INSERT_TAIL(to, p, link);
	}
	return p;
}

static int
refuse(struct responses_reader *rd, const char *member)
{
	return canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "input",
	    "Missing required parameter: 'input[%u].%s'.", rd->index, member);
}

/* Arguments as text: a string, or an object as it stands. */
static int
take_args(struct responses_reader *rd, const struct json *j, struct span *out)
{
	if (json_is(j, 'o')) {
		*out = j->raw;
		return 0;
	}
	return responses_text_take(rd->a, j, out);
}

/* ---- messages ---- */

static bool
role_of(const struct json *j, enum canon_role *role)
{
	static const struct {
		const char *word;
		enum canon_role role;
	} words[] = {
	    {"user", ROLE_USER},
	    {"assistant", ROLE_ASSISTANT},
	    {"system", ROLE_SYSTEM},
	    {"developer", ROLE_DEVELOPER},
	};

	for (size_t i = 0; i < NELEM(words); i++)
		if (json_equals(j, words[i].word)) {
			*role = words[i].role;
			return true;
		}
	return false;
}

/* What belongs to the item is kept at its first content, behind the mark. */
static int
read_message(struct responses_reader *rd, const struct json *item, struct canon_parts *to,
    enum canon_role *role)
{
	static const char *const known[] = {"type", "role", "content", "id", NULL};
	static const char *const known_answer[] = {"type", "role", "content", "id", "status", NULL};
	struct canon_parts parts;
	struct canon_part *first;
	int r;

	TAILQ_INIT(&parts);
	*role = ROLE_ASSISTANT;
	if (!role_of(json_get(item, "role"), role) && !rd->answer)
		return canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "input",
		    "Invalid value for 'input[%u].role': supported values are 'assistant', "
		    "'system', "
		    "'developer' and 'user'.",
		    rd->index);
	if ((r = responses_content_read(rd, json_get(item, "content"), &parts)) != 0)
		return r;
	if ((first = TAILQ_FIRST(&parts)) == NULL)
		return 0;
	first->src.hint |= HINT_START | (json_want(item, "type") != NULL ? HINT_TYPED : 0);
	first->item_id = responses_word(rd->a, item, "id");
	TAILQ_CONCAT(to, &parts, link);
	if ((r = responses_extra_mark(rd->a, &first->src)) != 0)
		return r;
	return canon_extras(rd->a, &first->src, item, rd->answer ? known_answer : known);
}

/* ---- calls ---- */

static int
read_call(struct responses_reader *rd, const struct json *item, struct canon_part *p, bool custom)
{
	static const char *const known[] = {
	    "type", "id", "call_id", "name", "namespace", "arguments", "input", NULL};
	static const char *const known_answer[] = {
	    "type", "id", "call_id", "name", "namespace", "arguments", "input", "status", NULL};
	int r;

	p->custom = custom;
	p->item_id = responses_word(rd->a, item, "id");
	p->id = responses_word(rd->a, item, "call_id");
	if (p->id.p == NULL)
		p->id = p->item_id;
	p->name = responses_word(rd->a, item, "name");
	p->namespace = responses_word(rd->a, item, "namespace");
	if (!rd->answer && p->name.p == NULL)
		return refuse(rd, "name");
	if (!rd->answer && p->id.p == NULL)
		return refuse(rd, "call_id");
	r = take_args(rd, json_get(item, custom ? "input" : "arguments"), &p->args);
	return r != 0 ? r : canon_extras(rd->a, &p->src, item, rd->answer ? known_answer : known);
}

static int
read_function(struct responses_reader *rd, const struct json *item, struct canon_part *p)
{
	return read_call(rd, item, p, false);
}

static int
read_custom(struct responses_reader *rd, const struct json *item, struct canon_part *p)
{
	return read_call(rd, item, p, true);
}

/* Calls of tools that run at the client, but are no functions here: their action is the arguments.
 */
static int
read_action(struct responses_reader *rd, const struct json *item, struct canon_part *p)
{
	const struct json *action = json_want(item, "action");

	if (action == NULL)
		action = json_want(item, "operation");
	p->item_id = responses_word(rd->a, item, "id");
	p->id = responses_word(rd->a, item, "call_id");
	if (p->id.p == NULL)
		p->id = p->item_id;
	p->name = responses_word(rd->a, item, "type");
	p->name.n -= sizeof "_call" - 1;
	p->args = action != NULL ? action->raw : span_of("{}");
	p->raw = item->raw;
	p->src.hint |= HINT_RAW;
	return 0;
}

/* ---- results ---- */

static int
read_output(struct responses_reader *rd, const struct json *output, struct canon_part *p)
{
	struct canon_part *text;

	if (json_is(output, 'a')) {
		p->src.hint |= HINT_LIST;
		return output->count > 0 ? responses_content_read(rd, output, &p->content) : 0;
	}
	if ((text = add_part(rd, PART_TEXT, &p->content)) == NULL)
		return E_NOMEM;
	if (output == NULL || output->type == 's' || output->type == '0')
		return responses_text_take(rd->a, output, &text->text);
	text->text = output->raw;
	if (output->type == 'o')
		p->structured = output->raw;
	return 0;
}

static int
read_result(struct responses_reader *rd, const struct json *item, struct canon_part *p)
{
	static const char *const known[] = {"type", "id", "call_id", "output", NULL};
	int r;

	p->item_id = responses_word(rd->a, item, "id");
	p->id = responses_word(rd->a, item, "call_id");
	if (!rd->answer && p->id.p == NULL)
		return refuse(rd, "call_id");
	if ((r = read_output(rd, json_get(item, "output"), p)) != 0)
		return r;
	return canon_extras(rd->a, &p->src, item, known);
}

static int
read_custom_result(struct responses_reader *rd, const struct json *item, struct canon_part *p)
{
	p->custom = true;
	return read_result(rd, item, p);
}

/* A list of {stdout, stderr, outcome} is told as its JSON. */
static int
read_action_result(struct responses_reader *rd, const struct json *item, struct canon_part *p)
{
	const struct json *output = json_want(item, "output");
	struct canon_part *text;

	p->id = responses_word(rd->a, item, "call_id");
	if (p->id.p == NULL)
		p->id = responses_word(rd->a, item, "id");
	p->is_error = json_equals(json_get(item, "status"), "failed");
	p->raw = item->raw;
	p->src.hint |= HINT_RAW;
	if ((text = add_part(rd, PART_TEXT, &p->content)) == NULL)
		return E_NOMEM;
	if (output == NULL || output->type == 's')
		return responses_text_take(rd->a, output, &text->text);
	text->text = output->raw;
	return 0;
}

/* ---- thoughts ---- */

static struct span
join(struct arena *a, const struct canon_text_list *list)
{
	size_t n = 0;
	char *out, *at;

	if (list == NULL || list->next == NULL)
		return list != NULL ? list->text : (struct span){NULL, 0};
	for (const struct canon_text_list *t = list; t != NULL; t = t->next)
		n += t->text.n + 2;
	if ((out = at = arena_alloc(a, n)) == NULL)
		return (struct span){NULL, 0};
	for (const struct canon_text_list *t = list; t != NULL; t = t->next) {
		if (at != out) {
			memcpy(at, "\n\n", 2);
			at += 2;
		}
		if (t->text.n > 0)
			memcpy(at, t->text.p, t->text.n);
		at += t->text.n;
	}
	return (struct span){out, (size_t)(at - out)};
}

static int
read_texts(struct arena *a, const struct json *list, struct canon_text_list **to)
{
	struct canon_text_list **end = to;
	int r = 0;

	if (json_is(list, 'a'))
		for (const struct json *j = list->child; j != NULL && r == 0; j = j->next) {
			struct span text;

			if (!json_is(json_get(j, "text"), 's'))
				continue;
			if ((r = responses_text_take(a, json_get(j, "text"), &text)) == 0 &&
			    (r = canon_text_add(a, end, text)) == 0)
				end = &(*end)->next;
		}
	return r;
}

/* The whole item is kept, unless its signature was in an envelope of ours. What says nothing to
 * anybody but OpenAI (an id that stands for what is stored there) is opaque. */
static int
read_reasoning(struct responses_reader *rd, const struct json *item, struct canon_part *p)
{
	struct span encrypted = responses_word(rd->a, item, "encrypted_content");
	struct canon_text_list *content = NULL;
	bool envelope = false;
	int r;

	p->item_id = responses_word(rd->a, item, "id");
	p->raw = item->raw;
	p->name = span_of("reasoning");
	if ((r = read_texts(rd->a, json_get(item, "summary"), &p->summary)) != 0 ||
	    (r = read_texts(rd->a, json_get(item, "content"), &content)) != 0)
		return r;
	p->text = join(rd->a, content != NULL ? content : p->summary);
	if (p->text.p == NULL && (content != NULL || p->summary != NULL))
		return E_NOMEM;
	if (encrypted.p != NULL && rd->answer)
		p->sign = (struct canon_signature){.data = encrypted,
		    .origin = rd->origin,
		    .family = rd->family,
		    .encrypted = true};
	else if (encrypted.p != NULL &&
		 !(envelope = signature_unwrap(rd->a, encrypted, rd->origin, &p->sign)))
		p->sign.encrypted = true;
	if (!envelope)
		p->src.hint |= HINT_RAW;
	if (encrypted.p == NULL && p->text.n == 0)
		p->kind = PART_OPAQUE;
	if (p->text.p == NULL)
		p->text = (struct span){"", 0};
	return 0;
}

/* ---- what runs at the provider, and all others ---- */

static int
read_raw(struct responses_reader *rd, const struct json *item, struct canon_part *p)
{
	p->name = responses_word(rd->a, item, "type");
	if (p->name.p == NULL && json_want(item, "id") != NULL)
		p->name = span_of("item_reference");
	p->item_id = responses_word(rd->a, item, "id");
	p->id = responses_word(rd->a, item, "call_id");
	p->raw = item->raw;
	p->src.hint |= HINT_RAW;
	return 0;
}

/* web_search_call → web_search {"query"}, and the like. */
static int
read_server_call(struct responses_reader *rd, const struct json *item, struct canon_part *p)
{
	static const char tail[] = "_call";
	size_t n = sizeof tail - 1;
	const struct json *action = json_want(item, "action");
	int r = read_raw(rd, item, p);

	if (p->name.n > n && memcmp(p->name.p + p->name.n - n, tail, n) == 0)
		p->name.n -= n;
	if (json_is(action, 'o'))
		p->args = action->raw;
	return r;
}

static int
read_image_call(struct responses_reader *rd, const struct json *item, struct canon_part *p)
{
	struct span format = responses_word(rd->a, item, "output_format");
	struct span data = responses_word(rd->a, item, "result");
	char *type;

	if (data.p == NULL || !responses_data_url_read(rd->a, data, &p->media)) {
		p->kind = PART_SERVER_CALL;
		return read_server_call(rd, item, p);
	}
	if (p->media.type.p == NULL) {
		if (format.p == NULL || format.n > 16)
			format = span_of("png");
		if ((type = arena_printf(rd->a, "image/%.*s", (int)format.n, format.p)) == NULL)
			return E_NOMEM;
		p->media.type = span_of(type);
	}
	return read_raw(rd, item, p);
}

static const struct {
	const char *type;
	enum canon_part_kind kind;
	enum canon_role role;
	int (*read)(struct responses_reader *rd, const struct json *item, struct canon_part *p);
} kinds[] = {
    {"function_call", PART_TOOL_CALL, ROLE_ASSISTANT, read_function},
    {"custom_tool_call", PART_TOOL_CALL, ROLE_ASSISTANT, read_custom},
    {"local_shell_call", PART_TOOL_CALL, ROLE_ASSISTANT, read_action},
    {"shell_call", PART_TOOL_CALL, ROLE_ASSISTANT, read_action},
    {"apply_patch_call", PART_TOOL_CALL, ROLE_ASSISTANT, read_action},
    {"function_call_output", PART_TOOL_RESULT, ROLE_TOOL, read_result},
    {"custom_tool_call_output", PART_TOOL_RESULT, ROLE_TOOL, read_custom_result},
    {"local_shell_call_output", PART_TOOL_RESULT, ROLE_TOOL, read_action_result},
    {"shell_call_output", PART_TOOL_RESULT, ROLE_TOOL, read_action_result},
    {"apply_patch_call_output", PART_TOOL_RESULT, ROLE_TOOL, read_action_result},
    {"reasoning", PART_REASONING, ROLE_ASSISTANT, read_reasoning},
    {"web_search_call", PART_SERVER_CALL, ROLE_ASSISTANT, read_server_call},
    {"file_search_call", PART_SERVER_CALL, ROLE_ASSISTANT, read_server_call},
    {"code_interpreter_call", PART_SERVER_CALL, ROLE_ASSISTANT, read_server_call},
    {"image_generation_call", PART_IMAGE, ROLE_ASSISTANT, read_image_call},
    {"mcp_call", PART_SERVER_CALL, ROLE_ASSISTANT, read_server_call},
    {"mcp_list_tools", PART_SERVER_RESULT, ROLE_ASSISTANT, read_raw},
    {"tool_search_call", PART_SERVER_CALL, ROLE_ASSISTANT, read_server_call},
    {"tool_search_output", PART_SERVER_RESULT, ROLE_ASSISTANT, read_raw},
};

int
responses_item_read(struct responses_reader *rd, const struct json *item, struct canon_parts *to,
    enum canon_role *role)
{
	const struct json *type = json_want(item, "type");
	struct canon_part *p;

	*role = ROLE_ASSISTANT;
	if (item->type != 'o')
		return rd->answer
			   ? 0
			   : canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "input",
				 "Invalid type for 'input[%u]': expected an object.", rd->index);
	if (json_equals(type, "message") || (type == NULL && json_want(item, "role") != NULL))
		return read_message(rd, item, to, role);
	if (!rd->answer && type == NULL && json_want(item, "id") == NULL)
		return refuse(rd, "type");
	for (size_t i = 0; i < NELEM(kinds); i++)
		if (json_equals(type, kinds[i].type)) {
			if ((p = add_part(rd, kinds[i].kind, to)) == NULL)
				return E_NOMEM;
			*role = kinds[i].role;
			return kinds[i].read(rd, item, p);
		}
	return (p = add_part(rd, PART_OPAQUE, to)) == NULL ? E_NOMEM : read_raw(rd, item, p);
}
