/* The body for an upstream. What came in this dialect keeps its members and their spelling. */
#include <string.h>

#include "proto/profile.h"
#include "proto/responses/responses.h"
#include "shared/err.h"

#define MAX_OUT_LEAST 16

static bool
is_native(const struct canon_request *q)
{
	return q->from == DIALECT_RESPONSES && q->root != NULL;
}

static const struct json *
original(const struct canon_request *q, const char *name)
{
	return is_native(q) ? json_want(q->root, name) : NULL;
}

/* ---- the conversation ---- */

static bool
is_system(const struct canon_turn *t)
{
	return t->role == ROLE_SYSTEM || t->role == ROLE_DEVELOPER;
}

/* Does this turn go into `instructions`? Of what came from elsewhere the leading run does. */
static bool
is_instruction(const struct canon_request *q, const struct canon_turn *t)
{
	if (is_native(q))
		return t->src.from == DIALECT_RESPONSES && (t->src.hint & HINT_INSTRUCTIONS) != 0;
	return is_system(t);
}

/* Returns the first turn behind the instructions. */
static const struct canon_turn *
put_instructions(struct jsonw *w, const struct canon_request *q)
{
	const struct canon_turn *t = TAILQ_FIRST(&q->turns);
	const struct canon_part *p;
	bool any = false;

	if (t == NULL || !is_instruction(q, t))
		return t;
	jsonw_name(w, "instructions");
	jsonw_begin_string(w);
	for (; t != NULL && is_instruction(q, t); t = TAILQ_NEXT(t, link))
		TAILQ_FOREACH (p, &t->parts, link)
			if (p->kind == PART_TEXT && p->text.p != NULL) {
				if (any)
					jsonw_part(w, span_of("\n\n"));
				jsonw_part(w, p->text);
				any = true;
			}
	jsonw_end_string(w);
	return t;
}

/* System text in the middle is told by the developer, unless the client itself had it so. */
static enum canon_role
role_of(const struct canon_request *q, const struct canon_turn *t)
{
	return t->role == ROLE_SYSTEM && !is_native(q) ? ROLE_DEVELOPER : t->role;
}

static bool
put_string_input(struct jsonw *w, const struct canon_request *q, const struct canon_turn *t)
{
	const struct canon_part *p = t != NULL ? TAILQ_FIRST(&t->parts) : NULL;

	if (!is_native(q) || !(q->src.hint & HINT_INPUT_STRING) || t == NULL ||
	    TAILQ_NEXT(t, link) != NULL || t->role != ROLE_USER || p == NULL ||
	    p->kind != PART_TEXT || TAILQ_NEXT(p, link) != NULL)
		return false;
	jsonw_m_text(w, "input", p->text);
	return true;
}

static void
put_input(struct jsonw *w, const struct canon_request *q, const struct encode_ctx *ctx,
    const struct canon_turn *t)
{
	struct responses_writer rw = {.w = w, .ctx = ctx, .status = "completed"};
	const struct canon_part *p;

	if (put_string_input(w, q, t) ||
	    (t == NULL && is_native(q) && (q->src.hint & HINT_NO_INPUT)))
		return;
	jsonw_m_open(w, "input", '[');
	for (; t != NULL; t = TAILQ_NEXT(t, link)) {
		TAILQ_FOREACH (p, &t->parts, link)
			responses_put_part(&rw, p, role_of(q, t));
		responses_put_end(&rw);
	}
	jsonw_close(w, ']');
}

/* ---- parameters ---- */

static void
put_sampling(struct jsonw *w, const struct canon_request *q)
{
	if (q->has_max)
		jsonw_m_i64(w, "max_output_tokens",
		    is_native(q) ? q->max_out : MAX(q->max_out, MAX_OUT_LEAST));
	jsonw_m_raw(w, "temperature", q->temperature);
	jsonw_m_raw(w, "top_p", q->top_p);
	jsonw_m_raw(w, "top_logprobs", q->top_logprobs);
}

static const char *
summary_word(enum canon_show show)
{
	switch (show) {
	case SHOW_AUTO:
	case SHOW_FULL:
		return "auto";
	case SHOW_CONCISE:
		return "concise";
	case SHOW_DETAILED:
		return "detailed";
	default:
		return NULL;
	}
}

/* An effort whose word is not known here was the client's, and goes on as it is. */
static void
put_reasoning(struct jsonw *w, const struct canon_request *q, struct arena *a)
{
	static const char *const known[] = {"effort", "summary", NULL};
	const struct json *j = original(q, "reasoning"), *word = json_want(j, "effort");
	const char *effort = canon_effort_word(q->reasoning.effort);
	const char *summary = summary_word(q->reasoning.show);

	if (json_want(j, "summary") == NULL && json_want(j, "generate_summary") != NULL)
		summary = NULL;
	if (effort == NULL && summary == NULL && j == NULL)
		return;
	jsonw_m_open(w, "reasoning", '{');
	if (effort != NULL)
		jsonw_m_cstr(w, "effort", effort);
	else if (word != NULL && canon_effort_of(json_text(a, word)) == EFFORT_UNSET)
		jsonw_m_raw(w, "effort", word->raw);
	if (summary != NULL)
		jsonw_m_cstr(w, "summary", summary);
	else if (json_want(j, "summary") != NULL && q->reasoning.show == SHOW_UNSET)
		jsonw_m_raw(w, "summary", json_want(j, "summary")->raw);
	canon_put_rest(w, j, known);
	jsonw_close(w, '}');
}

static void
put_schema(struct jsonw *w, const struct canon_format *f)
{
	jsonw_open(w, '{');
	jsonw_m_cstr(w, "type", "json_schema");
	jsonw_m_text(w, "name", f->name.n > 0 ? f->name : span_of("response"));
	jsonw_m_text(w, "description", f->description);
	jsonw_m_raw(w, "schema", f->schema);
	jsonw_m_tri(w, "strict", f->strict);
	jsonw_close(w, '}');
}

static void
put_format(struct jsonw *w, const struct canon_request *q)
{
	const struct canon_format *f = &q->format;

	if (f->kind == FORMAT_UNSET && !(is_native(q) && f->raw.p != NULL))
		return;
	jsonw_name(w, "format");
	if (f->kind == FORMAT_SCHEMA)
		put_schema(w, f);
	else if (is_native(q) && f->raw.p != NULL)
		jsonw_raw(w, f->raw);
	else
		jsonw_lit(w,
		    f->kind == FORMAT_JSON ? "{\"type\":\"json_object\"}" : "{\"type\":\"text\"}");
}

static void
put_text(struct jsonw *w, const struct canon_request *q)
{
	static const char *const known[] = {"format", "verbosity", NULL};
	const struct json *j = original(q, "text");

	if (q->format.kind == FORMAT_UNSET && q->verbosity.p == NULL && j == NULL)
		return;
	jsonw_m_open(w, "text", '{');
	put_format(w, q);
	jsonw_m_text(w, "verbosity", q->verbosity);
	canon_put_rest(w, j, known);
	jsonw_close(w, '}');
}

/* Nothing is stored for a client that did not speak this dialect; what its thoughts need to be sent
 * back must then be in the answer. */
static void
put_include(struct jsonw *w, const struct canon_request *q, const struct encode_ctx *ctx)
{
	bool encrypted = q->store != 1 && model_facts_of(ctx->model)->thinking != THINKS_NOT;

	if (is_native(q)) {
		const struct json *j = original(q, "include");

		if (j != NULL)
			jsonw_m_raw(w, "include", j->raw);
		return;
	}
	if (!encrypted && q->logprobs != 1)
		return;
	jsonw_m_open(w, "include", '[');
	if (encrypted)
		jsonw_cstr(w, "reasoning.encrypted_content");
	if (q->logprobs == 1)
		jsonw_cstr(w, "message.output_text.logprobs");
	jsonw_close(w, ']');
}

static void
put_identity(struct jsonw *w, const struct canon_request *q)
{
	const struct json *conversation = original(q, "conversation");

	if (is_native(q))
		jsonw_m_tri(w, "store", q->store);
	else
		jsonw_m_bool(w, "store", q->store == 1);
	jsonw_m_raw(w, "metadata", q->metadata);
	jsonw_m_text(w, "user", q->user);
	jsonw_m_text(w, "safety_identifier", q->safety_id);
	jsonw_m_text(w, "prompt_cache_key", q->cache_key);
	jsonw_m_text(w, "prompt_cache_retention", q->cache_retention);
	jsonw_m_text(w, "service_tier", q->service_tier);
	if (!is_native(q))
		return;
	jsonw_m_text(w, "previous_response_id", q->prev_id);
	if (conversation != NULL && q->conversation.p != NULL)
		jsonw_m_raw(w, "conversation", conversation->raw);
	jsonw_m_text(w, "truncation", q->truncation);
	jsonw_m_tri(w, "background", q->background);
}

int
responses_encode_request(
    const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out)
{
	struct jsonw w = {.b = out};
	const struct canon_turn *rest;

	jsonw_open(&w, '{');
	jsonw_m_text(&w, "model", ctx->model);
	rest = put_instructions(&w, q);
	put_input(&w, q, ctx, rest);
	responses_tools_put(&w, q, ctx);
	responses_choice_put(&w, q, ctx);
	if (is_native(q) || !TAILQ_EMPTY(&q->tools))
		jsonw_m_tri(&w, "parallel_tool_calls", q->parallel_tools);
	put_sampling(&w, q);
	put_reasoning(&w, q, ctx->arena);
	put_text(&w, q);
	put_include(&w, q, ctx);
	put_identity(&w, q);
	if (q->stream || json_is_bool(original(q, "stream")))
		jsonw_m_bool(&w, "stream", q->stream);
	canon_put_extras(&w, &q->src, DIALECT_RESPONSES);
	jsonw_close(&w, '}');
	return buf_ok(out) ? 0 : E_TOO_LONG;
}
