/* A client's request → the canonical one (spec 4, 8.1, 11, 12). */
#include <stdio.h>
#include <string.h>

#include "proto/messages/messages.h"
#include "proto/scan.h"
#include "shared/err.h"

/* What the model has a place for. All else is kept as extras: container, context_management,
 * mcp_servers, … */
static const char *const known[] = {"model", "messages", "system", "max_tokens", "temperature",
    "top_p", "top_k", "stop_sequences", "stream", "tools", "tool_choice", "thinking",
    "output_config", "output_format", "metadata", "service_tier", "cache_control",
    "anthropic_version", "anthropic_beta", NULL};

struct request_reader {
	struct messages_reader r;
	struct canon_request *q;
	const struct json *root;
};

/* ---- messages ---- */

static struct canon_turn *
add_turn(struct request_reader *d, enum canon_role role, uint32_t hint)
{
	struct canon_turn *t = canon_turn_new(d->r.a, role);

	if (t == NULL)
		return NULL;
	canon_source_init(&t->src, DIALECT_MESSAGES);
	t->src.hint = hint;
	TAILQ_INSERT_TAIL(&d->q->turns, t, link);
	return t;
}

/*
 * A user's blocks go to turns: results to a tool turn, the rest to user turns. A message that
 * begins with results goes on with the tool turn before it, if it has nothing of its own to keep.
 */
static int
split_user(struct request_reader *d, const struct json *m, struct canon_parts *parts, uint32_t hint)
{
	static const char *const plain[] = {"role", "content", NULL};
	struct canon_turn *t = NULL, *last = TAILQ_LAST(&d->q->turns, canon_turns);
	struct canon_part *p = TAILQ_FIRST(parts);
	struct canon_source own;
	int r;

	canon_source_init(&own, DIALECT_MESSAGES);
	if ((r = canon_extras(d->r.a, &own, m, plain)) != 0)
		return r;
	own.hint = hint | HINT_START;
	if (p != NULL && p->kind == PART_TOOL_RESULT && last != NULL && last->role == ROLE_TOOL &&
	    own.extra == NULL)
		t = last;
	if (p == NULL)
		return (t = add_turn(d, ROLE_USER, 0)) != NULL ? (t->src = own, 0) : E_NOMEM;
	while ((p = TAILQ_FIRST(parts)) != NULL) {
		enum canon_role role = p->kind == PART_TOOL_RESULT ? ROLE_TOOL : ROLE_USER;

		if (t == NULL || t->role != role) {
			bool first = t == NULL;
			if ((t = add_turn(d, role, hint)) == NULL)
				return E_NOMEM;
			if (first)
				t->src = own;
		}
		TAILQ_REMOVE(parts, p, link);
		TAILQ_INSERT_TAIL(&t->parts, p, link);
	}
	return 0;
}

static int
refuse(struct request_reader *d, const char *where, const char *what)
{
	return canon_fail(d->r.a, d->r.err, ERROR_BAD_REQUEST, where, "%s: %s", where, what);
}

static int
read_message(struct request_reader *d, const struct json *m, unsigned i)
{
	static const char *const plain[] = {"role", "content", NULL};
	const struct json *content = json_want(m, "content"), *role = json_get(m, "role");
	struct canon_parts parts = TAILQ_HEAD_INITIALIZER(parts);
	uint32_t hint = json_is(content, 's') ? HINT_STRING : 0;
	char where[64];
	struct canon_turn *t;
	int r;

	(void)snprintf(where, sizeof where, "messages.%u", i);
	if (!json_is(m, 'o'))
		return refuse(d, where, "Input should be an object");
	(void)snprintf(where, sizeof where, "messages.%u.content", i);
	if (content != NULL && content->type != 's' && content->type != 'a')
		return refuse(d, where, "Input should be a string or a list of blocks");
	if ((r = messages_read_content(&d->r, content, where, &parts)) != 0)
		return r;
	if (json_equals(role, "user"))
		return split_user(d, m, &parts, hint);
	(void)snprintf(where, sizeof where, "messages.%u.role", i);
	if (!json_equals(role, "assistant") && !json_equals(role, "system"))
		return refuse(d, where,
		    role == NULL ? "Field required"
				 : "Input should be 'user', 'assistant' or 'system'");
	t = add_turn(
	    d, json_equals(role, "system") ? ROLE_SYSTEM : ROLE_ASSISTANT, hint | HINT_START);
	if (t == NULL)
		return E_NOMEM;
	TAILQ_CONCAT(&t->parts, &parts, link);
	return canon_extras(d->r.a, &t->src, m, plain);
}

static int
read_messages(struct request_reader *d)
{
	const struct json *list = json_want(d->root, "messages");
	unsigned i = 0;
	int r;

	if (list == NULL)
		return refuse(d, "messages", "Field required");
	if (list->type != 'a')
		return refuse(d, "messages", "Input should be a valid list");
	json_each (m, list)
		if ((r = read_message(d, m, i++)) != 0)
			return r;
	return 0;
}

static int
read_system(struct request_reader *d)
{
	const struct json *system = json_want(d->root, "system");
	struct canon_turn *t;

	if (system == NULL || (system->type == 'a' && system->count == 0))
		return 0;
	if (system->type != 's' && system->type != 'a')
		return refuse(d, "system", "Input should be a string or a list of blocks");
	t = add_turn(d, ROLE_SYSTEM, system->type == 's' ? HINT_STRING : 0);
	if (t == NULL)
		return E_NOMEM;
	return messages_read_content(&d->r, system, "system", &t->parts);
}

/* ---- parameters ---- */

static int
read_number(struct request_reader *d, const char *name, struct span *out)
{
	const struct json *m = json_want(d->root, name);
	struct span n = {NULL, 0};
	size_t at;

	if (m == NULL)
		return 0;
	if (m->type == 'n')
		n = m->raw;
	else if (m->type == 's')
		n = json_text(d->r.a, m);
	if (n.p == NULL || scan_type(n) != 'n' || scan_check(n.p, n.n, &at) != 0)
		return refuse(d, name, "Input should be a valid number");
	*out = n;
	return 0;
}

static int
read_limit(struct request_reader *d)
{
	const struct json *m = json_want(d->root, "max_tokens");

	if (m == NULL)
		return 0;
	if (!json_int(m, &d->q->max_out))
		return refuse(d, "max_tokens", "Input should be a valid integer");
	if (d->q->max_out < 1)
		return refuse(d, "max_tokens", "Input should be greater than or equal to 1");
	d->q->has_max = true;
	return 0;
}

static int
read_stops(struct request_reader *d)
{
	const struct json *list = json_want(d->root, "stop_sequences");
	struct canon_text_list **end = &d->q->stop;
	struct span text;
	int r;

	if (list != NULL && list->type != 'a')
		return refuse(d, "stop_sequences", "Input should be a valid list");
	json_each (s, list) {
		if (s->type != 's')
			return refuse(d, "stop_sequences", "Input should be a list of strings");
		if ((text = json_text(d->r.a, s)).p == NULL)
			return E_NOMEM;
		if ((r = canon_text_add(d->r.a, end, text)) != 0)
			return r;
		end = &(*end)->next; /* the list may be long: never from its start again */
	}
	return 0;
}

static int
read_thinking(struct request_reader *d)
{
	static const char *const members[] = {"type", "budget_tokens", "display", NULL};
	static const struct {
		const char *word;
		enum canon_think mode;
	} modes[] = {{"enabled", THINK_ON}, {"adaptive", THINK_ADAPTIVE}, {"disabled", THINK_OFF}};
	const struct json *m = json_want(d->root, "thinking"), *type = json_get(m, "type");
	const struct json *display = json_want(m, "display");
	struct canon_reasoning *to = &d->q->reasoning;

	if (m == NULL)
		return 0;
	if (m->type != 'o')
		return refuse(d, "thinking", "Input should be an object");
	for (size_t i = 0; i < NELEM(modes); i++)
		if (json_equals(type, modes[i].word))
			to->mode = modes[i].mode;
	if (to->mode == THINK_UNSET)
		return refuse(
		    d, "thinking.type", "Input should be 'enabled', 'adaptive' or 'disabled'");
	if (json_want(m, "budget_tokens") != NULL) {
		if (!json_int(json_get(m, "budget_tokens"), &to->budget) || to->budget < 0)
			return refuse(
			    d, "thinking.budget_tokens", "Input should be a valid integer");
		to->has_budget = true;
	}
	if (json_equals(display, "summarized"))
		to->show = SHOW_AUTO;
	else if (json_equals(display, "omitted"))
		to->show = SHOW_OMITTED;
	else if (display != NULL)
		return canon_extra_add(d->r.a, &d->q->src, m);
	return messages_keep_rest(d->r.a, &d->q->src, m, members);
}

static int
read_format(struct request_reader *d, const struct json *f)
{
	struct canon_format *to = &d->q->format;
	const struct json *schema = json_want(f, "schema");

	if (!json_is(f, 'o'))
		return 0;
	to->raw = f->raw;
	if (json_equals(json_get(f, "type"), "json_schema") && schema != NULL) {
		to->kind = FORMAT_SCHEMA;
		to->schema = schema->raw;
	}
	return messages_get_text(d->r.a, f, "name", &to->name);
}

static int
read_output(struct request_reader *d)
{
	static const char *const members[] = {"effort", "format", NULL};
	const struct json *m = json_want(d->root, "output_config");
	const struct json *old = json_want(d->root, "output_format");
	struct span effort;
	int r;

	if (old != NULL) {
		d->q->src.hint |= HINT_OLD_FORMAT;
		if ((r = read_format(d, old)) != 0)
			return r;
	}
	if (m == NULL)
		return 0;
	if (m->type != 'o')
		return refuse(d, "output_config", "Input should be an object");
	if (json_want(m, "format") != NULL) {
		d->q->src.hint &= ~(uint32_t)HINT_OLD_FORMAT;
		if ((r = read_format(d, json_get(m, "format"))) != 0)
			return r;
	}
	if ((r = messages_get_text(d->r.a, m, "effort", &effort)) != 0)
		return r;
	d->q->reasoning.effort = canon_effort_of(effort);
	if (effort.p != NULL && d->q->reasoning.effort == EFFORT_UNSET)
		return refuse(d, "output_config.effort",
		    "Input should be 'low', 'medium', 'high', 'xhigh' or 'max'");
	return messages_keep_rest(d->r.a, &d->q->src, m, members);
}

/* Who the user is; other members of metadata stay in this dialect. */
static int
read_metadata(struct request_reader *d)
{
	static const char *const members[] = {"user_id", NULL};
	const struct json *m = json_want(d->root, "metadata");
	int r;

	if (!json_is(m, 'o'))
		return 0;
	if ((r = messages_get_text(d->r.a, m, "user_id", &d->q->user)) != 0)
		return r;
	return messages_keep_rest(d->r.a, &d->q->src, m, members);
}

/* Betas stand in the header here and in the body of some hosts' variant: "a,b" → ["a","b"]. */
static int
keep_betas(struct request_reader *d, struct span header)
{
	const struct json *body = json_want(d->root, "anthropic_beta");
	struct buf text = BUF_INIT(1u << 16);
	struct jsonw w = {.b = &text};
	struct json *m;
	const char *kept, *end;

	if (json_is(body, 'a'))
		return canon_extra_add(d->r.a, &d->q->src, body);
	if (header.n == 0)
		return 0;
	end = header.p + header.n;
	jsonw_open(&w, '[');
	for (const char *p = header.p; p < end;) {
		const char *comma = memchr(p, ',', (size_t)(end - p)), *stop;
		stop = comma != NULL ? comma : end;
		const char *next = comma != NULL ? comma + 1 : end;
		while (p < stop && (*p == ' ' || *p == '\t'))
			p++;
		while (stop > p && (stop[-1] == ' ' || stop[-1] == '\t'))
			stop--;
		if (stop > p)
			jsonw_text(&w, (struct span){p, (size_t)(stop - p)});
		p = next;
	}
	jsonw_close(&w, ']');
	kept = buf_ok(&text) ? arena_strndup(d->r.a, text.data, text.len) : NULL;
	m = arena_zalloc(d->r.a, 1, sizeof *m);
	if (kept != NULL && m != NULL)
		*m = (struct json){.name = span_of("anthropic_beta"), .raw = {kept, text.len}};
	buf_clear(&text);
	return kept != NULL && m != NULL ? canon_extra_add(d->r.a, &d->q->src, m) : E_NOMEM;
}

static int
read_parameters(struct request_reader *d)
{
	const struct json *stream = json_get(d->root, "stream");
	struct canon_request *q = d->q;
	int r;

	if ((r = read_limit(d)) != 0 || (r = read_number(d, "temperature", &q->temperature)) != 0 ||
	    (r = read_number(d, "top_p", &q->top_p)) != 0 ||
	    (r = read_number(d, "top_k", &q->top_k)) != 0 || (r = read_stops(d)) != 0 ||
	    (r = read_thinking(d)) != 0 || (r = read_output(d)) != 0 ||
	    (r = read_metadata(d)) != 0 ||
	    (r = messages_get_text(d->r.a, d->root, "service_tier", &q->service_tier)) != 0 ||
	    (r = messages_get_cache(d->r.a, d->root, &q->cache, &q->src)) != 0)
		return r;
	q->stream = json_yes(stream);
	q->stream_usage = q->stream;
	q->src.hint |= json_is(stream, 'f') ? HINT_FALSE : 0;
	return canon_extras(d->r.a, &q->src, d->root, known);
}

int
messages_decode_request(
    const struct decode_request *in, struct canon_request **out, struct canon_error *err)
{
	struct request_reader d = {.r = {.a = in->arena, .err = err}};
	int r = json_parse(in->arena, in->body, &d.root);

	if (r == E_NOMEM)
		return r;
	if (r != 0)
		return canon_fail(in->arena, err, ERROR_BAD_REQUEST, NULL,
		    "The request body is not valid JSON: %s", err_text(r));
	if (!json_is(d.root, 'o'))
		return canon_fail(in->arena, err, ERROR_BAD_REQUEST, NULL,
		    "The request body should be a JSON object");
	if ((d.q = canon_request_new(in->arena, DIALECT_MESSAGES)) == NULL)
		return E_NOMEM;
	d.q->root = d.root;
	if ((r = messages_get_text(in->arena, d.root, "model", &d.q->model)) != 0)
		return r;
	if (d.q->model.n == 0)
		d.q->model = in->model;
	if (d.q->model.n == 0)
		return refuse(&d, "model", "Field required");
	if ((r = read_system(&d)) != 0 || (r = read_messages(&d)) != 0 ||
	    (r = read_parameters(&d)) != 0 || (r = keep_betas(&d, in->betas)) != 0 ||
	    (r = messages_read_tools(in->arena, json_want(d.root, "tools"), d.q, err)) != 0 ||
	    (r = messages_read_tool_choice(in->arena, json_want(d.root, "tool_choice"), d.q)) != 0)
		return r;
	*out = d.q;
	return 0;
}
