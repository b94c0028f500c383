/* A body of /converse → the canonical request. Its model stands in the path. */
#include "proto/converse/converse.h"

#include "shared/err.h"

/* ---- messages ---- */

/* A message with results between its blocks is several turns (spec 3.2). */
static struct canon_turn *
turn_for(struct arena *a, struct canon_request *q, enum canon_role role)
{
	return wire_turn_add(a, q, role, DIALECT_CONVERSE);
}

static int
add_message(struct arena *a, struct canon_request *q, const struct json *m)
{
	static const char *const known[] = {"role", "content", NULL};
	const struct json *content = json_get(m, "content");
	bool assistant = json_equals(json_get(m, "role"), "assistant");
	struct canon_turn *first = turn_for(a, q, assistant ? ROLE_ASSISTANT : ROLE_USER),
			  *t = first;
	int r;

	if (t == NULL)
		return E_NOMEM;
	json_each (it, json_is(content, 'a') ? content : NULL) {
		bool result = !assistant && json_want(it, "toolResult") != NULL;
		/* the cache point behind a result marks that */
		bool same = result == (t->role == ROLE_TOOL) ||
			    json_want(it, "cachePoint") != NULL || assistant;

		if (!same && TAILQ_EMPTY(&t->parts))
			t->role = result ? ROLE_TOOL : ROLE_USER;
		else if (!same && (t = turn_for(a, q, result ? ROLE_TOOL : ROLE_USER)) == NULL)
			return E_NOMEM;
		if ((r = converse_read_block(a, it, &t->parts)) != 0)
			return r;
	}
	return canon_extras(a, &first->src, m, known);
}

static int
add_system(struct arena *a, struct canon_request *q, const struct json *system)
{
	struct canon_turn *t;
	int r;

	if (!json_is(system, 'a'))
		return 0;
	q->src.hint |= HINT_SYSTEM;
	if (system->count == 0)
		return 0;
	if ((t = turn_for(a, q, ROLE_SYSTEM)) == NULL)
		return E_NOMEM;
	json_each (it, system)
		if ((r = converse_read_block(a, it, &t->parts)) != 0)
			return r;
	return 0;
}

/* ---- tools ---- */

static int
add_function(struct arena *a, struct canon_request *q, const struct json *spec)
{
	static const char *const known[] = {"name", "description", "inputSchema", "strict", NULL};
	const struct json *schema = json_want(json_get(spec, "inputSchema"), "json");
	struct canon_tool *t = canon_tool_new(a, TOOL_FUNCTION);

	if (t == NULL)
		return E_NOMEM;
	t->name = json_text(a, json_get(spec, "name"));
	t->description = json_text(a, json_get(spec, "description"));
	if (schema != NULL)
		t->schema = schema->raw;
	t->strict = json_tri(json_get(spec, "strict"));
	canon_source_init(&t->src, DIALECT_CONVERSE);
	TAILQ_INSERT_TAIL(&q->tools, t, link);
	return canon_extras(a, &t->src, spec, known);
}

static int
add_tool(struct arena *a, struct canon_request *q, const struct json *j)
{
	const struct json *spec = json_want(j, "toolSpec"), *point = json_want(j, "cachePoint");
	struct canon_tool *t = TAILQ_LAST(&q->tools, canon_tools);

	if (spec != NULL)
		return add_function(a, q, spec);
	if (point != NULL && t != NULL && !t->cache.set) {
		t->cache.set = true;
		t->cache.ttl = json_text(a, json_get(point, "ttl"));
		return 0;
	}
	if (!json_is(j, 'o'))
		return 0;
	if ((t = canon_tool_new(a, TOOL_OTHER)) == NULL)
		return E_NOMEM;
	t->name = json_text(a, json_get(json_get(j, "systemTool"), "name"));
	t->raw = j->raw;
	canon_source_init(&t->src, DIALECT_CONVERSE);
	TAILQ_INSERT_TAIL(&q->tools, t, link);
	return 0;
}

static int
read_tools(struct arena *a, struct canon_request *q, const struct json *config)
{
	const struct json *tools = json_get(config, "tools"),
			  *choice = json_want(config, "toolChoice");
	struct canon_tool_choice *c = &q->tool_choice;
	int r;

	json_each (it, json_is(tools, 'a') ? tools : NULL)
		if ((r = add_tool(a, q, it)) != 0)
			return r;
	if (choice == NULL)
		return 0;
	c->raw = choice->raw;
	if (json_get(choice, "auto") != NULL)
		c->kind = CHOICE_AUTO;
	else if (json_get(choice, "any") != NULL)
		c->kind = CHOICE_ANY;
	else if ((c->name = json_text(a, json_get(json_get(choice, "tool"), "name"))).p != NULL)
		c->kind = CHOICE_NAMED;
	return 0;
}

/* ---- parameters ---- */

static int
read_inference(struct arena *a, struct canon_request *q, const struct json *o)
{
	q->temperature = wire_number(a, json_get(o, "temperature"));
	q->top_p = wire_number(a, json_get(o, "topP"));
	q->has_max = json_int(json_get(o, "maxTokens"), &q->max_out);
	return wire_texts(a, &q->stop, json_get(o, "stopSequences"));
}

static void
read_fields(struct arena *a, struct canon_request *q, const struct json *fields)
{
	const struct json *thinking = json_get(fields, "thinking"),
			  *type = json_get(thinking, "type");
	struct canon_reasoning *m = &q->reasoning;

	q->top_k = wire_number(a, json_get(fields, "top_k"));
	if (json_equals(type, "enabled"))
		m->mode = THINK_ON;
	else if (json_equals(type, "adaptive"))
		m->mode = THINK_ADAPTIVE;
	else if (json_equals(type, "disabled"))
		m->mode = THINK_OFF;
	m->has_budget = json_int(json_get(thinking, "budget_tokens"), &m->budget);
	m->effort =
	    canon_effort_of(json_text(a, json_get(json_get(fields, "output_config"), "effort")));
}

static void
read_format(struct arena *a, struct canon_request *q, const struct json *config)
{
	const struct json *schema =
	    json_get(json_get(json_get(config, "textFormat"), "structure"), "jsonSchema");

	if (!json_is(schema, 'o'))
		return;
	q->format.kind = FORMAT_SCHEMA;
	q->format.name = json_text(a, json_get(schema, "name"));
	q->format.description = json_text(a, json_get(schema, "description"));
	q->format.schema = json_text(a, json_get(schema, "schema"));
}

int
converse_decode_request(
    const struct decode_request *in, struct canon_request **out, struct canon_error *err)
{
	/* The configurations are extras, too: what is in them beyond the model goes back from
	 * there. */
	static const char *const known[] = {"messages", "system", NULL};
	struct arena *a = in->arena;
	const struct json *root;
	struct canon_request *q;
	int r = wire_read_root(a, in->body, &root, err);

	if (r != 0)
		return r;
	if ((q = canon_request_new(a, DIALECT_CONVERSE)) == NULL)
		return E_NOMEM;
	q->root = root;
	q->model = in->model;
	q->stream = in->stream;
	if ((r = add_system(a, q, json_get(root, "system"))) != 0)
		return r;
	json_each (it, json_get(root, "messages"))
		if (json_is(it, 'o') && (r = add_message(a, q, it)) != 0)
			return r;
	read_fields(a, q, json_get(root, "additionalModelRequestFields"));
	read_format(a, q, json_get(root, "outputConfig"));
	if ((r = read_inference(a, q, json_get(root, "inferenceConfig"))) != 0 ||
	    (r = read_tools(a, q, json_get(root, "toolConfig"))) != 0 ||
	    (r = canon_extras(a, &q->src, root, known)) != 0)
		return r;
	*out = q;
	return 0;
}
