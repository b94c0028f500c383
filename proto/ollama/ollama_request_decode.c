/* A body of /api/chat → the canonical request. */
#include "proto/ollama/ollama.h"

#include "shared/err.h"

const char *const ollama_options[] = {"num_predict", "temperature", "top_p", "top_k", "min_p",
    "stop", "seed", "repeat_penalty", "frequency_penalty", "presence_penalty", NULL};

/* ---- messages ---- */

static int
add_result(struct arena *a, struct canon_request *q, const struct json *m)
{
	static const char *const known[] = {"role", "content", "images", "thinking", "tool_calls",
	    "tool_name", "tool_call_id", NULL};
	struct canon_part *p = wire_result_add(a, q, DIALECT_OLLAMA);
	int r;

	if (p == NULL)
		return E_NOMEM;
	p->name = json_text(a, json_get(m, "tool_name"));
	p->id = json_text(a, json_get(m, "tool_call_id"));
	if ((r = ollama_read_message(a, m, &p->content)) != 0)
		return r;
	return canon_extras(a, &p->src, m, known);
}

static int
add_message(struct arena *a, struct canon_request *q, const struct json *m)
{
	static const char *const known[] = {
	    "role", "content", "images", "thinking", "tool_calls", NULL};
	enum canon_role role = wire_role(m);
	struct canon_turn *t;
	int r;

	if (role == ROLE_TOOL)
		return add_result(a, q, m);
	if ((t = wire_turn_add(a, q, role, DIALECT_OLLAMA)) == NULL)
		return E_NOMEM;
	if ((r = ollama_read_message(a, m, &t->parts)) != 0)
		return r;
	return canon_extras(a, &t->src, m, known);
}

/* ---- parameters ---- */

static int
read_stop(struct arena *a, struct canon_request *q, const struct json *stop)
{
	if (json_is(stop, 's')) {
		q->src.hint |= HINT_ONE_STOP;
		return canon_text_add(a, &q->stop, json_text(a, stop));
	}
	return wire_texts(a, &q->stop, stop);
}

static int
read_options(struct arena *a, struct canon_request *q, const struct json *o)
{
	struct {
		const char *name;
		struct span *to;
	} const numbers[] = {
	    {"temperature", &q->temperature},
	    {"top_p", &q->top_p},
	    {"top_k", &q->top_k},
	    {"min_p", &q->min_p},
	    {"seed", &q->seed},
	    {"repeat_penalty", &q->repetition_penalty},
	    {"frequency_penalty", &q->frequency_penalty},
	    {"presence_penalty", &q->presence_penalty},
	};

	if (!json_is(o, 'o'))
		return 0;
	q->src.hint |= HINT_OPTIONS;
	for (size_t i = 0; i < NELEM(numbers); i++)
		*numbers[i].to = wire_number(a, json_get(o, numbers[i].name));
	q->has_max = json_int(json_get(o, "num_predict"), &q->max_out);
	return read_stop(a, q, json_get(o, "stop"));
}

static void
read_format(struct canon_request *q, const struct json *f)
{
	if (f == NULL)
		return;
	q->format.raw = f->raw;
	if (json_equals(f, "json"))
		q->format.kind = FORMAT_JSON;
	if (!json_is(f, 'o'))
		return;
	q->format.kind = FORMAT_SCHEMA;
	q->format.schema = f->raw;
}

static void
read_think(struct arena *a, struct canon_request *q, const struct json *think)
{
	if (json_is(think, 'f'))
		q->reasoning.mode = THINK_OFF;
	else if (json_is(think, 't') || json_is(think, 's'))
		q->reasoning.mode = THINK_ON;
	q->reasoning.effort = canon_effort_of(json_text(a, think));
}

static int
read_lists(struct arena *a, struct canon_request *q, const struct json *root)
{
	const struct json *tools = json_get(root, "tools");
	int r;

	json_each (it, json_get(root, "messages"))
		if (json_is(it, 'o') && (r = add_message(a, q, it)) != 0)
			return r;
	if (json_is(tools, 'a') && tools->count == 0)
		q->src.hint |= HINT_NO_TOOLS;
	json_each (it, json_is(tools, 'a') ? tools : NULL)
		if ((r = wire_tool_add(a, q, it, DIALECT_OLLAMA)) != 0)
			return r;
	return 0;
}

int
ollama_decode_request(
    const struct decode_request *in, struct canon_request **out, struct canon_error *err)
{
	/* `think` and `options` are extras, too: what is in them beyond the model goes back from
	 * there. */
	static const char *const known[] = {"model", "messages", "tools", "stream", "format", NULL};
	struct arena *a = in->arena;
	const struct json *root;
	struct canon_request *q;
	int r = wire_read_root(a, in->body, &root, err);

	if (r != 0)
		return r;
	if ((q = canon_request_new(a, DIALECT_OLLAMA)) == NULL)
		return E_NOMEM;
	q->root = root;
	q->model = json_text(a, json_get(root, "model"));
	q->stream = !json_is(json_get(root, "stream"), 'f');
	read_format(q, json_want(root, "format"));
	read_think(a, q, json_get(root, "think"));
	if ((r = read_lists(a, q, root)) != 0 ||
	    (r = read_options(a, q, json_get(root, "options"))) != 0 ||
	    (r = canon_extras(a, &q->src, root, known)) != 0)
		return r;
	*out = q;
	return 0;
}
