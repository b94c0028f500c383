/* A whole answer (spec 13). */
#include <string.h>

#include "proto/canon_ids.h"
#include "proto/chat/chat.h"
#include "shared/err.h"

static const char *const known[] = {
    "id", "object", "created", "model", "choices", "usage", "service_tier", NULL};

/* ---- decoding ---- */

static bool
has_calls(const struct canon_parts *parts)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, parts, link)
		if (p->kind == PART_TOOL_CALL)
			return true;
	return false;
}

static bool
says_something(const struct canon_parts *parts)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, parts, link)
		if (p->kind != PART_TEXT || p->text.n > 0)
			return true;
	return false;
}

static void
drop_empty_texts(struct canon_parts *parts)
{
	struct canon_part *p, *next;

	for (p = TAILQ_FIRST(parts); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->kind == PART_TEXT && p->text.n == 0 && TAILQ_EMPTY(&p->annotations))
			TAILQ_REMOVE(parts, p, link);
	}
}

static struct canon_choice *
read_choice(struct chat_reader *r, const struct json *j, uint32_t index)
{
	static const char *const names[] = {
	    "index", "message", "finish_reason", "logprobs", "text", "usage", NULL};
	struct canon_choice *c = canon_choice_new(r->a, index);
	const struct json *message = json_want(j, "message"), *logprobs = json_want(j, "logprobs");
	struct canon_part *p;
	struct span text;
	int64_t n;

	if (c == NULL) {
		r->error = E_NOMEM;
		return NULL;
	}
	c->src.from = DIALECT_CHAT;
	if (json_int(json_get(j, "index"), &n) && n >= 0 && n < UINT32_MAX)
		c->index = (uint32_t)n;
	if (json_is(message, 'o'))
		chat_read_assistant(r, message, &c->parts, &c->message);
	else if ((text = chat_text(r, j, "text")).p != NULL &&
		 (p = chat_part(r, &c->parts, PART_TEXT)) != NULL)
		p->text = text;
	drop_empty_texts(&c->parts);
	c->logprobs = logprobs != NULL ? logprobs->raw : (struct span){NULL, 0};
	c->finish.raw = chat_text(r, j, "finish_reason");
	c->finish.reason = canon_finish_of(c->finish.raw);
	if (c->finish.reason == FINISH_NONE)
		c->finish.reason = has_calls(&c->parts)        ? FINISH_TOOL_CALLS
				   : says_something(&c->parts) ? FINISH_STOP
							       : FINISH_ERROR;
	chat_extras(r, &c->src, j, names);
	return c;
}

/* Copilot: one choice with the text and one with the calls, both with index 0. */
static void
merge_twins(struct canon_choice *first)
{
	for (struct canon_choice **at = &first->next; *at != NULL;) {
		struct canon_choice *c = *at;

		if (c->index != first->index) {
			at = &c->next;
			continue;
		}
		TAILQ_CONCAT(&first->parts, &c->parts, link);
		if (c->finish.reason == FINISH_TOOL_CALLS)
			first->finish = c->finish;
		*at = c->next;
	}
}

static bool
is_failure(const struct json *root)
{
	const struct json *error = json_want(root, "error"), *status;
	int64_t code;

	if (chat_is_failure(error))
		return true;
	status = json_want(json_want(root, "base_resp"), "status_code");
	return json_int(status, &code) && code != 0; /* MiniMax */
}

int
chat_decode_response(
    struct arena *a, struct span body, struct canon_response *out, struct canon_error *err)
{
	struct chat_reader r = {.a = a};
	struct canon_choice **end = &out->choices;
	const struct json *root, *choices;
	uint32_t index = 0;
	int64_t created;
	int e;

	*out = (struct canon_response){.from = DIALECT_CHAT};
	canon_source_init(&out->src, DIALECT_CHAT);
	if ((e = json_parse(a, body, &root)) != 0)
		return e == E_NOMEM ? e : E_SYNTAX;
	if (is_failure(root)) {
		chat_read_error(a, body, err);
		return E_DENIED;
	}
	choices = json_want(root, "choices");
	if (!json_is(root, 'o') || !json_is(choices, 'a') || choices->count == 0)
		return E_SYNTAX;
	out->root = root;
	out->id = chat_text(&r, root, "id");
	out->model = r.model = chat_text(&r, root, "model");
	out->service_tier = chat_text(&r, root, "service_tier");
	if (json_int(json_get(root, "created"), &created) && created > 0)
		out->created = (uint64_t)created;
	json_each (j, choices) {
		if ((*end = read_choice(&r, j, index++)) == NULL)
			return E_NOMEM;
		end = &(*end)->next;
	}
	merge_twins(out->choices);
	(void)chat_read_usage(root, &out->usage);
	chat_extras(&r, &out->src, root, known);
	return r.error;
}

/* ---- encoding ---- */

static void
put_message(struct chat_writer *o, const struct canon_choice *c)
{
	jsonw_m_open(&o->w, "message", '{');
	chat_put_assistant(o, &c->parts, &c->message);
	jsonw_close(&o->w, '}');
}

/* /v1/completions */
static void
put_text(struct chat_writer *o, const struct canon_choice *c)
{
	const struct canon_part *p;

	jsonw_name(&o->w, "text");
	jsonw_begin_string(&o->w);
	TAILQ_FOREACH (p, &c->parts, link)
		if (p->kind == PART_TEXT)
			jsonw_part(&o->w, p->text);
	jsonw_end_string(&o->w);
}

static int
put_choice(struct chat_writer *o, const struct canon_choice *c, bool own)
{
	const struct canon_request *asked = o->ctx->asked;
	const char *word = chat_finish_word(&c->finish, asked->legacy_functions);

	if (word == NULL)
		return E_DENIED; /* malformed, error: never an answer */
	jsonw_open(&o->w, '{');
	jsonw_m_u64(&o->w, "index", c->index);
	if (asked->legacy_completion)
		put_text(o, c);
	else
		put_message(o, c);
	jsonw_name(&o->w, "logprobs");
	jsonw_raw(&o->w, c->logprobs);
	jsonw_name(&o->w, "finish_reason");
	if (own && c->finish.raw.n > 0 && canon_finish_of(c->finish.raw) == c->finish.reason)
		jsonw_text(&o->w, c->finish.raw);
	else
		jsonw_cstr(&o->w, word);
	canon_put_extras(&o->w, &c->src, DIALECT_CHAT);
	jsonw_close(&o->w, '}');
	return 0;
}

int
chat_encode_response(const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out)
{
	struct chat_writer o = {.w = {.b = out}, .ctx = ctx};
	bool own = r->from == DIALECT_CHAT, completion = ctx->asked->legacy_completion;
	struct span id =
	    own && !completion && r->id.n > 0
		? r->id
		: canon_id(ctx->arena, ctx->seed, completion ? ID_CMPL : ID_CHATCMPL, 0);
	int e;

	if (id.p == NULL)
		return E_NOMEM;
	jsonw_open(&o.w, '{');
	jsonw_m_text(&o.w, "id", id);
	jsonw_m_cstr(&o.w, "object", completion ? "text_completion" : "chat.completion");
	jsonw_m_u64(&o.w, "created", r->created != 0 ? r->created : ctx->now_s);
	jsonw_m_text(&o.w, "model",
	    r->model.n > 0         ? r->model
	    : ctx->model.p != NULL ? ctx->model
				   : span_of(""));
	jsonw_m_open(&o.w, "choices", '[');
	for (const struct canon_choice *c = r->choices; c != NULL; c = c->next)
		if ((e = put_choice(&o, c, own)) != 0)
			return e;
	jsonw_close(&o.w, ']');
	chat_put_usage(&o.w, &r->usage);
	jsonw_m_text(&o.w, "service_tier", r->service_tier);
	canon_put_extras(&o.w, &r->src, DIALECT_CHAT);
	jsonw_close(&o.w, '}');
	return o.error != 0 ? o.error : buf_ok(out) ? 0 : E_TOO_LONG;
}
