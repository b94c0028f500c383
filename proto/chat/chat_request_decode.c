/* A client's request (spec 4.1, 4.2, 8.1). */
#include <string.h>

#include "proto/chat/chat.h"
#include "proto/scan.h"
#include "shared/err.h"

static const char *const known[] = {"model", "messages", "prompt", "tools", "functions",
    "tool_choice", "function_call", "parallel_tool_calls", "response_format", "max_tokens",
    "max_completion_tokens", "temperature", "top_p", "top_k", "min_p", "frequency_penalty",
    "presence_penalty", "repetition_penalty", "seed", "random_seed", "n", "logprobs",
    "top_logprobs", "logit_bias", "stop", "reasoning_effort", "verbosity", "stream",
    "stream_options", "modalities", "audio", "web_search_options", "prompt_cache_key",
    "prompt_cache_retention", "user", "safety_identifier", "metadata", "service_tier", "store",
    NULL};

/* ---- messages ---- */

static struct canon_turn *
add_turn(struct chat_reader *r, struct canon_request *q, enum canon_role role)
{
	struct canon_turn *t = canon_turn_new(r->a, role);

	if (t == NULL) {
		r->error = E_NOMEM;
		return NULL;
	}
	t->src.from = DIALECT_CHAT;
	t->src.hint = HINT_START;
	TAILQ_INSERT_TAIL(&q->turns, t, link);
	return t;
}

/* One message for each result: an unbroken run of them is one turn. */
static void
read_result(struct chat_reader *r, const struct json *m, struct canon_request *q, bool old)
{
	static const char *const names[] = {
	    "role", "content", "tool_call_id", "name", "cache_control", NULL};
	const struct json *cache = json_want(m, "cache_control");
	struct canon_turn *t = TAILQ_LAST(&q->turns, canon_turns);
	struct canon_part *p;

	if (t == NULL || t->role != ROLE_TOOL)
		t = add_turn(r, q, ROLE_TOOL);
	if (t == NULL || (p = chat_part(r, &t->parts, PART_TOOL_RESULT)) == NULL)
		return;
	p->id = chat_text(r, m, "tool_call_id");
	p->name = chat_text(r, m, "name");
	p->src.hint = chat_read_content(r, json_get(m, "content"), &p->content);
	p->src.hint |= old ? HINT_FUNCTION : 0;
	p->cache.set = cache != NULL;
	p->cache.ttl = chat_text(r, cache, "ttl");
	chat_extras(r, &p->src, m, names);
}

static void
read_plain(
    struct chat_reader *r, const struct json *m, struct canon_request *q, enum canon_role role)
{
	static const char *const names[] = {"role", "content", "name", NULL};
	struct canon_turn *t = add_turn(r, q, role);

	if (t == NULL)
		return;
	t->name = chat_text(r, m, "name");
	t->src.hint |= chat_read_content(r, json_get(m, "content"), &t->parts);
	chat_extras(r, &t->src, m, names);
}

static bool
read_message(struct chat_reader *r, const struct json *m, struct canon_request *q)
{
	const struct json *role = json_get(m, "role");
	struct canon_turn *t;

	if (json_equals(role, "assistant") || json_equals(role, "model")) {
		if ((t = add_turn(r, q, ROLE_ASSISTANT)) == NULL)
			return true;
		t->name = chat_text(r, m, "name");
		chat_read_assistant(r, m, &t->parts, &t->src);
	} else if (json_equals(role, "user")) {
		read_plain(r, m, q, ROLE_USER);
	} else if (json_equals(role, "system")) {
		read_plain(r, m, q, ROLE_SYSTEM);
	} else if (json_equals(role, "developer")) {
		read_plain(r, m, q, ROLE_DEVELOPER);
	} else if (json_equals(role, "tool")) {
		read_result(r, m, q, false);
	} else if (json_equals(role, "function")) {
		read_result(r, m, q, true);
	} else {
		return false;
	}
	return true;
}

static int
read_messages(struct chat_reader *r, const struct json *root, struct canon_request *q,
    struct canon_error *err)
{
	const struct json *list = json_want(root, "messages");
	unsigned i = 0;

	if (list == NULL) {
		int e = canon_fail(r->a, err, ERROR_BAD_REQUEST, "messages",
		    json_want(root, "input") != NULL ? "Missing required parameter: 'messages'. A "
						       "request with 'input' goes to /v1/responses"
						     : "Missing required parameter: 'messages'");

		err->code = span_of("missing_required_parameter");
		return e;
	}
	if (!json_is(list, 'a'))
		return canon_fail(
		    r->a, err, ERROR_BAD_REQUEST, "messages", "'messages' must be an array");
	json_each (m, list) {
		char where[40] = "";

		if (json_is(m, 'o') && read_message(r, m, q)) {
			i++;
			continue;
		}
		(void)__builtin_snprintf(where, sizeof where, "messages[%u]", i);
		return canon_fail(r->a, err, ERROR_BAD_REQUEST, where,
		    json_is(m, 'o') ? "%s: unknown role" : "%s is no object", where);
	}
	return 0;
}

/* /v1/completions: a prompt is what a user says. Several prompts would be several answers. */
static int
read_prompt(struct chat_reader *r, const struct json *root, struct canon_request *q,
    struct canon_error *err)
{
	const struct json *prompt = json_want(root, "prompt");
	struct canon_turn *t;

	if (json_is(prompt, 'a') && prompt->count == 1)
		prompt = prompt->child;
	if (!json_is(prompt, 's')) {
		int e = canon_fail(r->a, err, ERROR_BAD_REQUEST, "prompt",
		    prompt == NULL ? "Missing required parameter: 'prompt'"
				   : "'prompt' must be one string");

		if (prompt == NULL)
			err->code = span_of("missing_required_parameter");
		return e;
	}
	q->legacy_completion = true;
	if ((t = add_turn(r, q, ROLE_USER)) != NULL)
		t->src.hint |= chat_read_content(r, prompt, &t->parts);
	return 0;
}

/* ---- parameters ---- */

/* Also one that stands in quotes. */
static struct span
number(const struct json *root, const char *name)
{
	const struct json *j = json_get(root, name);
	struct span inside;
	double value;

	if (json_is(j, 'n'))
		return j->raw;
	if (!json_is(j, 's'))
		return (struct span){NULL, 0};
	inside = (struct span){j->raw.p + 1, j->raw.n - 2};
	return scan_type(inside) == 'n' && scan_check(inside.p, inside.n, NULL) == 0 &&
		       canon_number(inside, &value)
		   ? inside
		   : (struct span){NULL, 0};
}

static struct span
raw(const struct json *root, const char *name)
{
	const struct json *j = json_want(root, name);

	return j != NULL ? j->raw : (struct span){NULL, 0};
}

static void
add_stop(struct chat_reader *r, struct canon_request *q, const struct json *j)
{
	struct span text = json_text(r->a, j);

	if (text.p == NULL || canon_text_add(r->a, &q->stop, text) != 0)
		r->error = E_NOMEM;
}

static void
read_stop(struct chat_reader *r, const struct json *root, struct canon_request *q)
{
	const struct json *stop = json_want(root, "stop");

	if (json_is(stop, 's')) {
		q->src.hint |= HINT_STOP_STRING;
		add_stop(r, q, stop);
	}
	if (json_is(stop, 'a'))
		json_each (s, stop)
			if (json_is(s, 's'))
				add_stop(r, q, s);
}

static void
read_limit(const struct json *root, struct canon_request *q)
{
	const struct json *total = json_want(root, "max_completion_tokens"),
			  *visible = json_want(root, "max_tokens");

	q->has_max = json_int(total != NULL ? total : visible, &q->max_out);
	q->max_is_visible = total == NULL;
	if (total != NULL)
		q->src.hint |= HINT_MAX_NEW;
}

/* Any of the ways in which thinking is switched on or off. */
static bool
says(const struct json *root, const struct json *thinking, const struct json *router, bool on)
{
	const struct json *switches[] = {
	    json_get(root, "enable_thinking"),
	    json_get(router, "enabled"),
	    json_get(json_want(root, "chat_template_kwargs"), "enable_thinking"),
	    json_get(json_want(root, "chat_template_kwargs"), "thinking"),
	};

	if (json_equals(json_get(thinking, "type"), on ? "enabled" : "disabled"))
		return true;
	if (on && json_equals(json_get(root, "prompt_mode"), "reasoning"))
		return true;
	for (size_t i = 0; i < NELEM(switches); i++)
		if (json_is(switches[i], on ? 't' : 'f'))
			return true;
	return false;
}

/* The members by which services other than OpenAI are told stay as extras: they go out as they came
 * where the target is of this dialect. */
static void
read_reasoning(struct chat_reader *r, const struct json *root, struct canon_request *q)
{
	const struct json *router = json_want(root, "reasoning"),
			  *thinking = json_want(root, "thinking");
	struct canon_reasoning *to = &q->reasoning;
	const struct json *budget = json_want(router, "max_tokens");

	to->effort = canon_effort_of(chat_text(r, root, "reasoning_effort"));
	if (to->effort == EFFORT_UNSET)
		to->effort = canon_effort_of(chat_text(r, router, "effort"));
	if (says(root, thinking, router, false) || to->effort == EFFORT_NONE)
		to->mode = THINK_OFF;
	else if (says(root, thinking, router, true))
		to->mode = THINK_ON;
	if (budget == NULL)
		budget = json_want(root, "thinking_budget");
	if (budget == NULL)
		budget = json_want(thinking, "budget_tokens");
	to->has_budget = json_int(budget, &to->budget);
	if (json_yes(json_get(router, "exclude")) ||
	    json_equals(json_get(root, "reasoning_format"), "hidden") ||
	    json_is(json_get(root, "include_reasoning"), 'f'))
		to->show = SHOW_NONE;
}

static void
read_format(struct chat_reader *r, const struct json *root, struct canon_request *q)
{
	const struct json *format = json_want(root, "response_format"),
			  *schema = json_want(format, "json_schema"),
			  *type = json_get(format, "type");
	struct canon_format *to = &q->format;

	if (!json_is(format, 'o'))
		return;
	to->raw = format->raw;
	if (json_equals(type, "json_object")) {
		to->kind = FORMAT_JSON;
	} else if (json_equals(type, "json_schema") && schema != NULL) {
		to->kind = FORMAT_SCHEMA;
		to->name = chat_text(r, schema, "name");
		to->description = chat_text(r, schema, "description");
		to->strict = json_tri(json_get(schema, "strict"));
		to->schema = raw(schema, "schema");
		if (to->schema.p == NULL)
			to->schema = span_of("{}");
	} else {
		to->kind = FORMAT_TEXT;
	}
}

static void
read_sampling(const struct json *root, struct canon_request *q)
{
	const struct {
		const char *name;
		struct span *to;
	} numbers[] = {
	    {"temperature", &q->temperature},
	    {"top_p", &q->top_p},
	    {"top_k", &q->top_k},
	    {"min_p", &q->min_p},
	    {"frequency_penalty", &q->frequency_penalty},
	    {"presence_penalty", &q->presence_penalty},
	    {"repetition_penalty", &q->repetition_penalty},
	    {"seed", &q->seed},
	    {"top_logprobs", &q->top_logprobs},
	};

	for (size_t i = 0; i < NELEM(numbers); i++)
		*numbers[i].to = number(root, numbers[i].name);
	if (q->seed.p == NULL)
		q->seed = number(root, "random_seed");
	(void)json_int(json_want(root, "n"), &q->n);
	q->logprobs = json_tri(json_get(root, "logprobs"));
	if (q->legacy_completion && json_is(json_get(root, "logprobs"), 'n')) {
		q->top_logprobs = number(root, "logprobs"); /* their old form: how many */
		q->logprobs = 1;
	}
	q->logit_bias = raw(root, "logit_bias");
}

static void
read_rest(struct chat_reader *r, const struct json *root, struct canon_request *q)
{
	const struct json *options = json_want(root, "stream_options"),
			  *stream = json_get(root, "stream");

	q->model = chat_text(r, root, "model");
	q->stream = json_yes(stream);
	q->src.hint |= json_is(stream, 'f') ? HINT_FALSE : 0;
	q->stream_usage = json_yes(json_get(options, "include_usage"));
	q->parallel_tools = json_tri(json_get(root, "parallel_tool_calls"));
	q->verbosity = chat_text(r, root, "verbosity");
	q->modalities = raw(root, "modalities");
	q->audio_out = raw(root, "audio");
	q->web_search = raw(root, "web_search_options");
	q->cache_key = chat_text(r, root, "prompt_cache_key");
	q->cache_retention = chat_text(r, root, "prompt_cache_retention");
	q->user = chat_text(r, root, "user");
	q->safety_id = chat_text(r, root, "safety_identifier");
	q->metadata = raw(root, "metadata");
	q->service_tier = chat_text(r, root, "service_tier");
	q->store = json_tri(json_get(root, "store"));
}

int
chat_decode_request(
    const struct decode_request *in, struct canon_request **out, struct canon_error *err)
{
	struct chat_reader r = {.a = in->arena};
	struct canon_request *q = canon_request_new(in->arena, DIALECT_CHAT);
	const struct json *root;
	int e;

	if (q == NULL)
		return E_NOMEM;
	if ((e = json_parse(in->arena, in->body, &root)) == E_NOMEM)
		return e;
	if (e != 0 || !json_is(root, 'o'))
		return canon_fail(in->arena, err, ERROR_BAD_REQUEST, NULL,
		    "The body is no JSON object%s%s", e != 0 ? ": " : "",
		    e != 0 ? err_text(e) : "");
	q->root = root;
	e = in->completion ? read_prompt(&r, root, q, err) : read_messages(&r, root, q, err);
	if (e != 0)
		return e;
	read_rest(&r, root, q);
	read_sampling(root, q);
	read_limit(root, q);
	read_stop(&r, root, q);
	read_reasoning(&r, root, q);
	read_format(&r, root, q);
	chat_read_tools(&r, root, q);
	chat_extras(&r, &q->src, root, known);
	*out = q;
	return r.error;
}
