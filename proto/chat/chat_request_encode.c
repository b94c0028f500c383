/* A request for an upstream (spec 4.1, 8.1, 10). Policy has been applied by shape.h. */
#include "proto/chat/chat.h"
#include "proto/wire.h"
#include "shared/err.h"

/* ---- messages ---- */

static void
put_result(struct chat_writer *o, const struct canon_part *p)
{
	bool old = chat_hint(&p->src, HINT_FUNCTION);
	struct span text = {NULL, 0};

	if (p->kind != PART_TOOL_RESULT)
		return;
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "role", old ? "function" : "tool");
	if (!old)
		jsonw_m_text(&o->w, "tool_call_id", p->id);
	if (old || o->ctx->profile->tool_name || p->src.from == DIALECT_CHAT)
		jsonw_m_text(&o->w, "name", p->name);
	if (p->src.from != DIALECT_CHAT && (text = wire_result(o->ctx->arena, p)).p == NULL)
		o->error = E_NOMEM;
	if (chat_hint(&p->src, HINT_NULL))
		jsonw_m_lit(&o->w, "content", "null");
	else if (text.p != NULL)
		jsonw_m_text(&o->w, "content", text);
	else
		chat_put_content(o, &p->content, chat_hint(&p->src, HINT_STRING));
	chat_put_cache(o, &p->cache);
	canon_put_extras(&o->w, &p->src, DIALECT_CHAT);
	jsonw_close(&o->w, '}');
}

static const char *
role_word(const struct chat_writer *o, enum canon_role role)
{
	switch (role) {
	case ROLE_DEVELOPER:
		return o->ctx->profile->developer_role ? "developer" : "system";
	case ROLE_SYSTEM:
		return "system";
	default:
		return "user";
	}
}

/* Mistral, DeepSeek: the answer goes on from this text. */
static bool
is_prefix(const struct chat_writer *o, const struct canon_turn *t)
{
	return o->ctx->profile->prefix_flag && TAILQ_NEXT(t, link) == NULL &&
	       canon_extra_find(&t->src, "prefix") == NULL;
}

static void
put_turn(struct chat_writer *o, const struct canon_turn *t)
{
	const struct canon_part *p, *only = TAILQ_FIRST(&t->parts);
	bool string = t->src.from == DIALECT_CHAT ? (t->src.hint & HINT_STRING) != 0
						  : only == NULL || TAILQ_NEXT(only, link) == NULL;

	if (t->role == ROLE_TOOL) {
		TAILQ_FOREACH (p, &t->parts, link)
			put_result(o, p);
		return;
	}
	jsonw_open(&o->w, '{');
	if (t->role == ROLE_ASSISTANT) {
		chat_put_assistant(o, &t->parts, &t->src);
		jsonw_m_text(&o->w, "name", t->name);
		if (is_prefix(o, t))
			jsonw_m_bool(&o->w, "prefix", true);
	} else {
		jsonw_m_cstr(&o->w, "role", role_word(o, t->role));
		if (chat_hint(&t->src, HINT_NULL) && only == NULL)
			jsonw_m_lit(&o->w, "content", "null");
		else
			chat_put_content(o, &t->parts, string);
		jsonw_m_text(&o->w, "name", t->name);
		canon_put_extras(&o->w, &t->src, DIALECT_CHAT);
	}
	jsonw_close(&o->w, '}');
}

/* /v1/completions, for an upstream that speaks it: only where bytes would have passed anyway. */
static void
put_messages(struct chat_writer *o, const struct canon_request *q)
{
	const struct canon_turn *t;

	jsonw_m_open(&o->w, "messages", '[');
	TAILQ_FOREACH (t, &q->turns, link)
		put_turn(o, t);
	jsonw_close(&o->w, ']');
}

/* ---- parameters ---- */

static void
put_limit(struct chat_writer *o, const struct canon_request *q)
{
	const struct profile *p = o->ctx->profile;
	bool new_field = p->max_completion_tokens;

	if (!q->has_max)
		return;
	if (q->from == DIALECT_CHAT && new_field && !model_facts_of(o->ctx->model)->max_field_new)
		new_field = (q->src.hint & HINT_MAX_NEW) != 0; /* it takes both */
	jsonw_m_i64(&o->w, new_field ? "max_completion_tokens" : "max_tokens", q->max_out);
}

static void
put_stop(struct chat_writer *o, const struct canon_request *q)
{
	if (q->stop == NULL)
		return;
	jsonw_name(&o->w, "stop");
	if (chat_hint(&q->src, HINT_STOP_STRING) && q->stop->next == NULL) {
		jsonw_text(&o->w, q->stop->text);
		return;
	}
	jsonw_open(&o->w, '[');
	for (const struct canon_text_list *s = q->stop; s != NULL; s = s->next)
		jsonw_text(&o->w, s->text);
	jsonw_close(&o->w, ']');
}

static void
put_sampling(struct chat_writer *o, const struct canon_request *q)
{
	struct jsonw *w = &o->w;

	jsonw_m_raw(w, "temperature", q->temperature);
	jsonw_m_raw(w, "top_p", q->top_p);
	jsonw_m_raw(w, "top_k", q->top_k);
	jsonw_m_raw(w, "min_p", q->min_p);
	jsonw_m_raw(w, "frequency_penalty", q->frequency_penalty);
	jsonw_m_raw(w, "presence_penalty", q->presence_penalty);
	jsonw_m_raw(w, "repetition_penalty", q->repetition_penalty);
	jsonw_m_raw(w, o->ctx->profile->random_seed ? "random_seed" : "seed", q->seed);
	if (q->n != 0)
		jsonw_m_i64(w, "n", q->n);
	jsonw_m_tri(w, "logprobs", q->logprobs);
	jsonw_m_raw(w, "top_logprobs", q->top_logprobs);
	jsonw_m_raw(w, "logit_bias", q->logit_bias);
	put_stop(o, q);
}

static bool
said_otherwise(const struct canon_request *q)
{
	static const char *const members[] = {
	    "reasoning", "thinking", "enable_thinking", "thinking_budget"};

	for (size_t i = 0; i < NELEM(members); i++)
		if (q->src.from == DIALECT_CHAT && canon_extra_find(&q->src, members[i]) != NULL)
			return true;
	return false;
}

static void
put_router(struct chat_writer *o, const struct canon_reasoning *r)
{
	jsonw_m_open(&o->w, "reasoning", '{');
	if (r->has_budget && r->budget > 0)
		jsonw_m_i64(&o->w, "max_tokens", r->budget);
	else if (r->effort != EFFORT_UNSET)
		jsonw_m_cstr(&o->w, "effort", canon_effort_word(r->effort));
	else
		jsonw_m_bool(&o->w, "enabled", r->mode != THINK_OFF);
	if (r->show == SHOW_NONE || r->show == SHOW_OMITTED)
		jsonw_m_bool(&o->w, "exclude", true);
	jsonw_close(&o->w, '}');
}

static void
put_reasoning(struct chat_writer *o, const struct canon_request *q)
{
	const struct canon_reasoning *r = &q->reasoning;
	bool off = r->mode == THINK_OFF || r->effort == EFFORT_NONE;

	if (said_otherwise(
		q)) { /* it stands among the extras; what they do not say, is said here */
		if (r->effort != EFFORT_UNSET && json_want(q->root, "reasoning_effort") != NULL)
			jsonw_m_cstr(&o->w, "reasoning_effort", canon_effort_word(r->effort));
		return;
	}
	if (r->mode == THINK_UNSET && r->effort == EFFORT_UNSET && !r->has_budget)
		return;
	switch (o->ctx->profile->reasoning) {
	case REASON_OPENROUTER:
		put_router(o, r);
		break;
	case REASON_THINKING:
		jsonw_m_open(&o->w, "thinking", '{');
		jsonw_m_cstr(&o->w, "type", off ? "disabled" : "enabled");
		jsonw_close(&o->w, '}');
		if (!off && r->effort != EFFORT_UNSET && q->from == DIALECT_CHAT)
			jsonw_m_cstr(&o->w, "reasoning_effort", canon_effort_word(r->effort));
		break;
	case REASON_ENABLE:
		jsonw_m_bool(&o->w, "enable_thinking", !off);
		if (!off && r->has_budget && r->budget > 0)
			jsonw_m_i64(&o->w, "thinking_budget", r->budget);
		break;
	case REASON_FORMAT:
	case REASON_EFFORT:
		if (r->effort != EFFORT_UNSET)
			jsonw_m_cstr(&o->w, "reasoning_effort", canon_effort_word(r->effort));
		if (o->ctx->profile->reasoning == REASON_FORMAT && !off && q->from != DIALECT_CHAT)
			jsonw_m_cstr(&o->w, "reasoning_format", "parsed");
		break;
	case REASON_NONE:
		break;
	}
}

static void
put_format(struct chat_writer *o, const struct canon_request *q)
{
	const struct canon_format *f = &q->format;

	if (f->kind == FORMAT_UNSET)
		return;
	jsonw_name(&o->w, "response_format");
	if (q->from == DIALECT_CHAT && f->raw.p != NULL) {
		jsonw_raw(&o->w, f->raw);
		return;
	}
	jsonw_open(&o->w, '{');
	if (f->kind == FORMAT_SCHEMA) {
		jsonw_m_cstr(&o->w, "type", "json_schema");
		jsonw_m_open(&o->w, "json_schema", '{');
		jsonw_m_text(&o->w, "name", f->name.n > 0 ? f->name : span_of("response"));
		jsonw_m_text(&o->w, "description", f->description);
		jsonw_m_raw(&o->w, "schema", f->schema);
		jsonw_m_tri(&o->w, "strict", f->strict);
		jsonw_close(&o->w, '}');
	} else {
		jsonw_m_cstr(&o->w, "type", f->kind == FORMAT_JSON ? "json_object" : "text");
	}
	jsonw_close(&o->w, '}');
}

/* Usage is always asked for, where it can be: the gateway keeps count (spec 18.2). */
static void
put_stream(struct chat_writer *o, const struct canon_request *q)
{
	const struct json *options =
	    q->from == DIALECT_CHAT ? json_want(q->root, "stream_options") : NULL;

	if (!q->stream) {
		if (chat_hint(&q->src, HINT_FALSE))
			jsonw_m_bool(&o->w, "stream", false);
		return;
	}
	jsonw_m_bool(&o->w, "stream", true);
	if (!o->ctx->profile->stream_options)
		return;
	jsonw_m_open(&o->w, "stream_options", '{');
	json_each (m, json_is(options, 'o') ? options : NULL)
		if (!json_name_is(m, "include_usage")) {
			jsonw_name_raw(&o->w, m->name);
			jsonw_raw(&o->w, m->raw);
		}
	jsonw_m_bool(&o->w, "include_usage", true);
	jsonw_close(&o->w, '}');
}

static void
put_identity(struct chat_writer *o, const struct canon_request *q)
{
	struct jsonw *w = &o->w;

	jsonw_m_text(w, "verbosity", q->verbosity);
	jsonw_m_raw(w, "modalities", q->modalities);
	jsonw_m_raw(w, "audio", q->audio_out);
	jsonw_m_raw(w, "web_search_options", q->web_search);
	jsonw_m_text(w, "prompt_cache_key", q->cache_key);
	jsonw_m_text(w, "prompt_cache_retention", q->cache_retention);
	jsonw_m_text(w, "user", q->user);
	jsonw_m_text(w, "safety_identifier", q->safety_id);
	jsonw_m_raw(w, "metadata", q->metadata);
	jsonw_m_text(w, "service_tier", q->service_tier);
	jsonw_m_tri(w, "store", q->store);
}

int
chat_encode_request(const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out)
{
	struct chat_writer o = {.w = {.b = out}, .ctx = ctx, .request = true};

	jsonw_open(&o.w, '{');
	jsonw_m_text(&o.w, "model", ctx->model.p != NULL ? ctx->model : q->model);
	put_messages(&o, q);
	chat_put_tools(&o, q);
	put_format(&o, q);
	put_limit(&o, q);
	put_sampling(&o, q);
	put_reasoning(&o, q);
	put_identity(&o, q);
	put_stream(&o, q);
	canon_put_extras(&o.w, &q->src, DIALECT_CHAT);
	jsonw_close(&o.w, '}');
	return o.error != 0 ? o.error : buf_ok(out) ? 0 : E_TOO_LONG;
}
