/* A client's request. */
#include "proto/responses/responses.h"
#include "shared/err.h"

struct reading {
	struct arena *a;
	const struct json *root;
	struct canon_request *q;
	struct canon_error *err;
	bool resolved; /* previous_response_id stands for what is in the input already */
};

/* ---- the conversation ---- */

static struct canon_turn *
add_turn(struct reading *rd, enum canon_role role)
{
	struct canon_turn *t = canon_turn_new(rd->a, role);

	if (t != NULL) {
		canon_source_init(&t->src, DIALECT_RESPONSES);
		TAILQ_INSERT_TAIL(&rd->q->turns, t, link);
	}
	return t;
}

static int
add_text_turn(struct reading *rd, enum canon_role role, const struct json *text, uint32_t hint)
{
	struct canon_turn *t = add_turn(rd, role);
	struct canon_part *p = t != NULL ? canon_part_new(rd->a, PART_TEXT) : NULL;

	if (p == NULL)
		return E_NOMEM;
	t->src.hint = hint;
	canon_source_init(&p->src, DIALECT_RESPONSES);
	p->src.hint = HINT_START | HINT_CONTENT | HINT_STRING;
	TAILQ_INSERT_TAIL(&t->parts, p, link);
	return responses_text_take(rd->a, text, &p->text);
}

/* Consecutive items of the assistant, and consecutive results, are one turn. */
static int
read_item(struct reading *rd, const struct json *item, uint32_t index)
{
	struct responses_reader ir = {
	    .a = rd->a, .origin = ORIGIN_OPENAI, .err = rd->err, .index = index};
	struct canon_turn *last = TAILQ_LAST(&rd->q->turns, canon_turns);
	struct canon_parts parts;
	enum canon_role role;
	int r;

	TAILQ_INIT(&parts);
	if ((r = responses_item_read(&ir, item, &parts, &role)) != 0)
		return r;
	if (last == NULL || last->role != role || (role != ROLE_ASSISTANT && role != ROLE_TOOL))
		last = add_turn(rd, role);
	if (last == NULL)
		return E_NOMEM;
	TAILQ_CONCAT(&last->parts, &parts, link);
	return 0;
}

static int
read_input(struct reading *rd)
{
	const struct json *input = json_want(rd->root, "input");
	uint32_t index = 0;
	int r = 0;

	if (input == NULL) {
		rd->q->src.hint |= HINT_NO_INPUT;
		if (json_want(rd->root, "prompt") == NULL && rd->q->prev_id.p == NULL &&
		    rd->q->conversation.p == NULL)
			return canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "input",
			    "Missing required parameter: 'input'.");
		return 0;
	}
	if (input->type == 's') {
		rd->q->src.hint |= HINT_INPUT_STRING;
		return add_text_turn(rd, ROLE_USER, input, 0);
	}
	if (input->type != 'a')
		return canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "input",
		    "Invalid type for 'input': expected a string or a list of items.");
	for (const struct json *j = input->child; j != NULL && r == 0; j = j->next)
		r = read_item(rd, j, index++);
	return r;
}

static int
read_instructions(struct reading *rd)
{
	const struct json *j = json_want(rd->root, "instructions");

	if (j == NULL)
		return 0;
	if (j->type != 's')
		return canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "instructions",
		    "Invalid type for 'instructions': expected a string.");
	return add_text_turn(rd, ROLE_SYSTEM, j, HINT_INSTRUCTIONS);
}

/* ---- parameters ---- */

/* A number as it is written; one in quotes is taken, too. */
static int
read_number(struct reading *rd, const char *name, struct span *out)
{
	const struct json *j = json_want(rd->root, name);
	struct span n = json_text(rd->a, j);
	double unused;

	if (j == NULL)
		return 0;
	if (json_is(j, 'n'))
		n = j->raw;
	if (n.p == NULL || !canon_number(n, &unused))
		return canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, name,
		    "Invalid type for '%s': expected a number.", name);
	*out = n;
	return 0;
}

static int
read_limit(struct reading *rd)
{
	const struct json *j = json_want(rd->root, "max_output_tokens");

	if (j == NULL)
		return 0;
	if (!json_int(j, &rd->q->max_out))
		return canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "max_output_tokens",
		    "Invalid type for 'max_output_tokens': expected an integer.");
	if (rd->q->max_out <= 0)
		return canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "max_output_tokens",
		    "Invalid 'max_output_tokens': integer below minimum value.");
	rd->q->has_max = true;
	return 0;
}

static int
read_sampling(struct reading *rd)
{
	int r;

	if ((r = read_limit(rd)) != 0 ||
	    (r = read_number(rd, "temperature", &rd->q->temperature)) != 0 ||
	    (r = read_number(rd, "top_p", &rd->q->top_p)) != 0)
		return r;
	return read_number(rd, "top_logprobs", &rd->q->top_logprobs);
}

static void
read_reasoning(struct reading *rd)
{
	static const struct {
		const char *word;
		enum canon_show show;
	} shows[] = {
	    {"auto", SHOW_AUTO},
	    {"concise", SHOW_CONCISE},
	    {"detailed", SHOW_DETAILED},
	    {"none", SHOW_NONE},
	};
	const struct json *j = json_want(rd->root, "reasoning"), *summary;

	rd->q->reasoning.effort = canon_effort_of(responses_text(rd->a, j, "effort"));
	if (rd->q->reasoning.effort != EFFORT_UNSET)
		rd->q->reasoning.mode =
		    rd->q->reasoning.effort == EFFORT_NONE ? THINK_OFF : THINK_ON;
	if ((summary = json_want(j, "summary")) == NULL)
		summary = json_want(j, "generate_summary");
	for (size_t i = 0; i < NELEM(shows); i++)
		if (json_equals(summary, shows[i].word))
			rd->q->reasoning.show = shows[i].show;
}

static int
read_format(struct reading *rd)
{
	const struct json *text = json_want(rd->root, "text"), *j = json_want(text, "format");
	const struct json *type = json_get(j, "type"), *schema = json_want(j, "schema");
	struct canon_format *f = &rd->q->format;

	rd->q->verbosity = responses_word(rd->a, text, "verbosity");
	if (j == NULL)
		return 0;
	f->raw = j->raw;
	if (json_equals(type, "text"))
		f->kind = FORMAT_TEXT;
	else if (json_equals(type, "json_object"))
		f->kind = FORMAT_JSON;
	if (!json_equals(type, "json_schema"))
		return 0;
	f->kind = FORMAT_SCHEMA;
	if (schema == NULL)
		return canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "text.format.schema",
		    "Missing required parameter: 'text.format.schema'.");
	f->name = responses_word(rd->a, j, "name");
	f->description = responses_word(rd->a, j, "description");
	f->schema = schema->raw;
	f->strict = json_tri(json_get(j, "strict"));
	return 0;
}

static void
read_include(struct reading *rd)
{
	const struct json *list = json_want(rd->root, "include");

	if (!json_is(list, 'a'))
		return;
	rd->q->include = list->raw;
	json_each (j, list)
		if (json_equals(j, "message.output_text.logprobs"))
			rd->q->logprobs = 1;
}

static struct span
raw_of(const struct json *j)
{
	return j != NULL ? j->raw : (struct span){NULL, 0};
}

static void
read_identity(struct reading *rd)
{
	struct canon_request *q = rd->q;
	const struct json *conversation = json_want(rd->root, "conversation");

	q->stream = json_yes(json_get(rd->root, "stream"));
	q->parallel_tools = json_tri(json_get(rd->root, "parallel_tool_calls"));
	q->store = json_tri(json_get(rd->root, "store"));
	q->background = json_tri(json_get(rd->root, "background"));
	q->user = responses_word(rd->a, rd->root, "user");
	q->safety_id = responses_word(rd->a, rd->root, "safety_identifier");
	q->metadata = raw_of(json_want(rd->root, "metadata"));
	q->service_tier = responses_word(rd->a, rd->root, "service_tier");
	q->cache_key = responses_word(rd->a, rd->root, "prompt_cache_key");
	q->cache_retention = responses_word(rd->a, rd->root, "prompt_cache_retention");
	q->prev_id = responses_word(rd->a, rd->root, "previous_response_id");
	q->truncation = responses_word(rd->a, rd->root, "truncation");
	q->conversation = json_is(conversation, 'o')
			      ? responses_word(rd->a, conversation, "id")
			      : responses_word(rd->a, rd->root, "conversation");
}

static int
read_all(struct reading *rd)
{
	static const char *const known[] = {"model", "input", "instructions", "max_output_tokens",
	    "temperature", "top_p", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls",
	    "text", "reasoning", "include", "stream", "user", "safety_identifier", "metadata",
	    "prompt_cache_key", "prompt_cache_retention", "service_tier", "store",
	    "previous_response_id", "conversation", "truncation", "background", NULL};
	int r;

	read_identity(rd);
	if (rd->resolved)
		rd->q->prev_id = (struct span){NULL, 0};
	if ((r = read_instructions(rd)) != 0 || (r = read_input(rd)) != 0 ||
	    (r = read_sampling(rd)) != 0 || (r = read_format(rd)) != 0)
		return r;
	read_reasoning(rd);
	read_include(rd);
	if ((r = responses_tools_read(
		 rd->a, json_want(rd->root, "tools"), &rd->q->tools, rd->err)) != 0 ||
	    (r = responses_choice_read(
		 rd->a, json_want(rd->root, "tool_choice"), &rd->q->tool_choice)) != 0)
		return r;
	return canon_extras(rd->a, &rd->q->src, rd->root, known);
}

int
responses_decode_request(
    const struct decode_request *in, struct canon_request **out, struct canon_error *err)
{
	struct reading rd = {.a = in->arena, .err = err, .resolved = in->resolved};
	int r = json_parse(in->arena, in->body, &rd.root);

	*out = NULL;
	if (r == E_NOMEM)
		return r;
	if (r != 0)
		return canon_fail(in->arena, err, ERROR_BAD_REQUEST, NULL,
		    "The body of the request is not valid JSON: %s.", err_text(r));
	if (rd.root->type != 'o')
		return canon_fail(in->arena, err, ERROR_BAD_REQUEST, NULL,
		    "The body of the request must be a JSON object.");
	if ((rd.q = canon_request_new(in->arena, DIALECT_RESPONSES)) == NULL)
		return E_NOMEM;
	rd.q->root = rd.root;
	rd.q->model = in->model.p != NULL ? in->model : responses_word(in->arena, rd.root, "model");
	if (rd.q->model.p == NULL)
		return canon_fail(in->arena, err, ERROR_BAD_REQUEST, "model",
		    "Missing required parameter: 'model'.");
	if ((r = read_all(&rd)) == 0)
		*out = rd.q;
	return r;
}
