/* A body of /v2/chat → the canonical request. */
#include "proto/cohere/cohere.h"

#include "shared/err.h"

/* ---- messages ---- */

static int
add_result(struct arena *a, struct canon_request *q, const struct json *m)
{
	static const char *const known[] = {"role", "content", "tool_call_id", NULL};
	struct canon_part *p = wire_result_add(a, q, DIALECT_COHERE);
	int r;

	if (p == NULL)
		return E_NOMEM;
	p->id = json_text(a, json_get(m, "tool_call_id"));
	if ((r = cohere_read_message(a, m, &p->content, &p->src.hint)) != 0)
		return r;
	return canon_extras(a, &p->src, m, known);
}

static int
add_message(struct arena *a, struct canon_request *q, const struct json *m)
{
	static const char *const known[] = {"role", "content", "tool_plan", "tool_calls", NULL};
	enum canon_role role = wire_role(m);
	struct canon_turn *t;
	int r;

	if (role == ROLE_TOOL)
		return add_result(a, q, m);
	if ((t = wire_turn_add(a, q, role, DIALECT_COHERE)) == NULL)
		return E_NOMEM;
	if ((r = cohere_read_message(a, m, &t->parts, &t->src.hint)) != 0)
		return r;
	return canon_extras(a, &t->src, m, known);
}

/* ---- parameters ---- */

static void
read_numbers(struct arena *a, struct canon_request *q, const struct json *root)
{
	struct {
		const char *name;
		struct span *to;
	} const numbers[] = {
	    {"temperature", &q->temperature},
	    {"p", &q->top_p},
	    {"k", &q->top_k},
	    {"seed", &q->seed},
	    {"frequency_penalty", &q->frequency_penalty},
	    {"presence_penalty", &q->presence_penalty},
	};

	for (size_t i = 0; i < NELEM(numbers); i++)
		*numbers[i].to = wire_number(a, json_get(root, numbers[i].name));
	q->has_max = json_int(json_get(root, "max_tokens"), &q->max_out);
	q->logprobs = json_tri(json_get(root, "logprobs"));
	q->stream = json_yes(json_get(root, "stream"));
}

static void
read_choice(struct canon_request *q, const struct json *choice)
{
	if (choice == NULL)
		return;
	q->tool_choice.raw = choice->raw;
	if (json_equals(choice, "REQUIRED"))
		q->tool_choice.kind = CHOICE_ANY;
	else if (json_equals(choice, "NONE"))
		q->tool_choice.kind = CHOICE_NONE;
}

static void
read_format(struct canon_request *q, const struct json *f)
{
	const struct json *schema = json_want(f, "json_schema");

	if (f == NULL)
		return;
	q->format.raw = f->raw;
	schema = schema != NULL ? schema : json_want(f, "schema");
	if (schema != NULL) {
		q->format.kind = FORMAT_SCHEMA;
		q->format.schema = schema->raw;
	} else {
		q->format.kind =
		    json_equals(json_get(f, "type"), "json_object") ? FORMAT_JSON : FORMAT_TEXT;
	}
}

static void
read_thinking(struct canon_request *q, const struct json *thinking)
{
	struct canon_reasoning *m = &q->reasoning;

	if (!json_is(thinking, 'o'))
		return;
	m->mode = json_equals(json_get(thinking, "type"), "disabled") ? THINK_OFF : THINK_ON;
	m->has_budget = json_int(json_get(thinking, "token_budget"), &m->budget);
}

static int
read_lists(struct arena *a, struct canon_request *q, const struct json *root)
{
	const struct json *tools = json_get(root, "tools");
	int r;

	json_each (it, json_get(root, "messages"))
		if (json_is(it, 'o') && (r = add_message(a, q, it)) != 0)
			return r;
	json_each (it, json_is(tools, 'a') ? tools : NULL)
		if ((r = wire_tool_add(a, q, it, DIALECT_COHERE)) != 0)
			return r;
	return wire_texts(a, &q->stop, json_get(root, "stop_sequences"));
}

int
cohere_decode_request(
    const struct decode_request *in, struct canon_request **out, struct canon_error *err)
{
	static const char *const known[] = {"model", "messages", "tools", "tool_choice",
	    "response_format", "temperature", "p", "k", "seed", "frequency_penalty",
	    "presence_penalty", "max_tokens", "logprobs", "stream", "stop_sequences", NULL};
	struct arena *a = in->arena;
	const struct json *root;
	struct canon_request *q;
	int r = wire_read_root(a, in->body, &root, err);

	if (r != 0)
		return r;
	if ((q = canon_request_new(a, DIALECT_COHERE)) == NULL)
		return E_NOMEM;
	q->root = root;
	q->model = json_text(a, json_get(root, "model"));
	read_numbers(a, q, root);
	read_choice(q, json_want(root, "tool_choice"));
	read_format(q, json_want(root, "response_format"));
	read_thinking(q, json_get(root, "thinking"));
	if ((r = read_lists(a, q, root)) != 0 || (r = canon_extras(a, &q->src, root, known)) != 0)
		return r;
	*out = q;
	return 0;
}
