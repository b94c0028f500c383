/* The canonical request → an upstream's body (spec 4, 8.1, 11, 12). */
#include "proto/messages/messages.h"
#include "proto/scan.h"
#include "shared/err.h"

#define MAX_TOKENS 8192 /* where nobody said anything: the API takes no request without */

/* Extras that are written in a place of their own. */
static const char *const placed[] = {"cache_control", "thinking", "output_config", "metadata",
    "tool_choice", "anthropic_beta", "anthropic_version", NULL};

static bool
is_system(const struct canon_turn *t)
{
	return t->role == ROLE_SYSTEM || t->role == ROLE_DEVELOPER;
}

static bool
is_user(const struct canon_turn *t)
{
	return t->role == ROLE_USER || t->role == ROLE_TOOL;
}

/* ---- content ---- */

/* A content that came as a string leaves as one, if it still is one text. */
static bool
put_string(struct messages_writer *o, const struct canon_turn *t, const char *name)
{
	const struct canon_part *p = TAILQ_FIRST(&t->parts);

	if (!messages_hint(&t->src, HINT_STRING) || p == NULL || p->kind != PART_TEXT ||
	    TAILQ_NEXT(p, link) != NULL || p->cache.set || p->src.extra != NULL)
		return false;
	jsonw_m_text(&o->w, name, p->text);
	return true;
}

static bool
any_goes(const struct messages_writer *o, const struct canon_turn *t)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, &t->parts, link)
		if (messages_part_goes(o, p))
			return true;
	return false;
}

static void
put_parts(struct messages_writer *o, const struct canon_turn *t)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, &t->parts, link)
		if (messages_part_goes(o, p))
			messages_put_part(o, p);
}

/* The leading run of system turns; the turn behind it. */
static const struct canon_turn *
put_system(struct messages_writer *o, const struct canon_request *q)
{
	const struct canon_turn *first = TAILQ_FIRST(&q->turns), *t, *end = first;
	bool any = false;

	for (; end != NULL && is_system(end); end = TAILQ_NEXT(end, link))
		any = any || any_goes(o, end);
	if (!any)
		return end;
	if (TAILQ_NEXT(first, link) == end && put_string(o, first, "system"))
		return end;
	jsonw_m_open(&o->w, "system", '[');
	for (t = first; t != end; t = TAILQ_NEXT(t, link))
		put_parts(o, t);
	jsonw_close(&o->w, ']');
	return end;
}

/*
 * Does `next` go on with the message of `t`? Results and the user's text behind them are one
 * message; two messages of a client of this dialect stay two.
 */
static bool
joins(const struct canon_turn *t, const struct canon_turn *next)
{
	if (next == NULL || !is_user(t) || !is_user(next))
		return false;
	if (messages_own(&next->src) && !messages_hint(&next->src, HINT_START))
		return true;
	if (t->role != ROLE_TOOL)
		return false;
	return next->role == ROLE_TOOL || !messages_hint(&t->src, HINT_START) ||
	       !messages_own(&next->src);
}

/* One message: the turns from `t` on that make it; the turn behind them. */
static const struct canon_turn *
put_message(struct messages_writer *o, const struct canon_turn *t)
{
	const struct canon_turn *end = t, *it;
	bool goes = false, empty = true;

	do {
		goes = goes || any_goes(o, end);
		empty = empty && TAILQ_EMPTY(&end->parts);
		it = end;
		end = TAILQ_NEXT(end, link);
	} while (joins(it, end));
	if (!goes && !(empty && messages_own(&t->src)))
		return end; /* nothing of it has a form here */
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "role", is_system(t) ? "system" : is_user(t) ? "user" : "assistant");
	if (TAILQ_NEXT(t, link) != end || !put_string(o, t, "content")) {
		jsonw_m_open(&o->w, "content", '[');
		for (it = t; it != end; it = TAILQ_NEXT(it, link))
			put_parts(o, it);
		jsonw_close(&o->w, ']');
	}
	for (it = t; it != end; it = TAILQ_NEXT(it, link))
		messages_put_extras(o, &it->src, NULL);
	jsonw_close(&o->w, '}');
	return end;
}

static void
put_messages(struct messages_writer *o, const struct canon_turn *t)
{
	jsonw_m_open(&o->w, "messages", '[');
	while (t != NULL) {
		o->assistant = t->role == ROLE_ASSISTANT;
		t = put_message(o, t);
	}
	jsonw_close(&o->w, ']');
}

/* ---- parameters ---- */

static const char *
display_word(enum canon_show show)
{
	switch (show) {
	case SHOW_UNSET:
		return NULL;
	case SHOW_NONE:
	case SHOW_OMITTED:
		return "omitted";
	case SHOW_AUTO:
	case SHOW_CONCISE:
	case SHOW_DETAILED:
	case SHOW_FULL:
		break;
	}
	return "summarized";
}

static void
put_thinking(struct messages_writer *o, const struct canon_request *q)
{
	static const char *const known[] = {"type", "budget_tokens", "display", NULL};
	static const char *const no_display[] = {"type", "budget_tokens", NULL};
	static const char *const words[] = {[THINK_UNSET] = NULL,
	    [THINK_OFF] = "disabled",
	    [THINK_ON] = "enabled",
	    [THINK_ADAPTIVE] = "adaptive"};
	const struct canon_reasoning *m = &q->reasoning;
	const char *word = words[m->mode];
	const struct canon_extra *x =
	    messages_own(&q->src) ? canon_extra_find(&q->src, "thinking") : NULL;

	if (word == NULL && m->effort == EFFORT_NONE)
		word = "disabled";
	if (word == NULL)
		return;
	jsonw_m_open(&o->w, "thinking", '{');
	jsonw_m_cstr(&o->w, "type", word);
	if (m->mode == THINK_ON && m->has_budget)
		jsonw_m_i64(&o->w, "budget_tokens", m->budget);
	if (m->mode == THINK_ON || m->mode == THINK_ADAPTIVE)
		jsonw_m_cstr(&o->w, "display", display_word(m->show));
	if (x != NULL && m->mode != THINK_OFF)
		messages_put_members(o, x->value, m->show == SHOW_UNSET ? no_display : known);
	jsonw_close(&o->w, '}');
}

static void
put_format(struct messages_writer *o, const struct canon_request *q, const char *name)
{
	static const char *const known[] = {"type", "schema", NULL};
	const struct canon_format *f = &q->format;

	if (f->kind != FORMAT_SCHEMA) { /* a kind not known here */
		jsonw_m_raw(&o->w, name, f->raw);
		return;
	}
	jsonw_m_open(&o->w, name, '{');
	jsonw_m_cstr(&o->w, "type", "json_schema");
	jsonw_m_raw(
	    &o->w, "schema", f->schema.p != NULL ? f->schema : span_of("{\"type\":\"object\"}"));
	if (messages_own(&q->src) && f->raw.p != NULL)
		messages_put_members(o, f->raw, known);
	jsonw_close(&o->w, '}');
}

static void
put_output(struct messages_writer *o, const struct canon_request *q)
{
	static const char *const known[] = {"effort", "format", NULL};
	bool own = messages_own(&q->src), old = messages_hint(&q->src, HINT_OLD_FORMAT);
	bool format = q->format.kind == FORMAT_SCHEMA ||
		      (own && q->format.kind == FORMAT_UNSET && q->format.raw.p != NULL);
	const struct canon_extra *x = own ? canon_extra_find(&q->src, "output_config") : NULL;
	enum canon_effort effort = q->reasoning.effort;
	const char *word = effort == EFFORT_NONE      ? NULL
			   : effort == EFFORT_MINIMAL ? "low"
						      : canon_effort_word(effort);

	if (format && old)
		put_format(o, q, "output_format");
	format = format && !old;
	if (word == NULL && !format && x == NULL)
		return;
	jsonw_m_open(&o->w, "output_config", '{');
	jsonw_m_cstr(&o->w, "effort", word);
	if (format)
		put_format(o, q, "format");
	if (x != NULL)
		messages_put_members(o, x->value, known);
	jsonw_close(&o->w, '}');
}

static void
put_user(struct messages_writer *o, const struct canon_request *q)
{
	static const char *const known[] = {"user_id", NULL};
	const struct canon_extra *x =
	    messages_own(&q->src) ? canon_extra_find(&q->src, "metadata") : NULL;

	if (q->user.p == NULL && x == NULL)
		return;
	jsonw_m_open(&o->w, "metadata", '{');
	jsonw_m_text(&o->w, "user_id", q->user);
	if (x != NULL)
		messages_put_members(o, x->value, known);
	jsonw_close(&o->w, '}');
}

static void
put_number(struct messages_writer *o, const char *name, struct span n)
{
	size_t at;

	if (n.p != NULL && scan_type(n) == 'n' && scan_check(n.p, n.n, &at) == 0)
		jsonw_m_raw(&o->w, name, n);
}

static void
put_stops(struct messages_writer *o, const struct canon_request *q)
{
	if (q->stop == NULL)
		return;
	jsonw_m_open(&o->w, "stop_sequences", '[');
	for (const struct canon_text_list *s = q->stop; s != NULL; s = s->next)
		jsonw_text(&o->w, s->text);
	jsonw_close(&o->w, ']');
}

/* Hosts other than Anthropic take the model from the path and the version from the body. */
static void
put_head(struct messages_writer *o, const struct encode_ctx *ctx, const struct canon_request *q)
{
	const struct profile *p = ctx->profile;
	bool invoke = p != NULL && p->invoke, vertex = p != NULL && p->vertex;
	const struct canon_extra *betas =
	    messages_own(&q->src) ? canon_extra_find(&q->src, "anthropic_beta") : NULL;

	if (invoke)
		jsonw_m_cstr(&o->w, "anthropic_version", "bedrock-2023-05-31");
	else if (vertex)
		jsonw_m_cstr(&o->w, "anthropic_version", "vertex-2023-10-16");
	else
		jsonw_m_text(&o->w, "model", ctx->model.p != NULL ? ctx->model : q->model);
	if (invoke && betas != NULL)
		jsonw_m_raw(&o->w, "anthropic_beta", betas->value);
	jsonw_m_i64(&o->w, "max_tokens", q->has_max ? q->max_out : MAX_TOKENS);
	if (!invoke && (q->stream || messages_hint(&q->src, HINT_FALSE)))
		jsonw_m_bool(&o->w, "stream", q->stream);
}

static void
put_tier(struct messages_writer *o, const struct canon_request *q)
{
	/* words of other vendors mean nothing here, but one is the same */
	if (q->service_tier.p != NULL &&
	    (messages_own(&q->src) || span_is(q->service_tier, "auto")))
		jsonw_m_text(&o->w, "service_tier", q->service_tier);
}

int
messages_encode_request(
    const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out)
{
	struct messages_writer o = {.w = {.b = out}, .a = ctx->arena, .seed = ctx->seed};
	const struct canon_turn *rest;

	jsonw_open(&o.w, '{');
	put_head(&o, ctx, q);
	messages_put_tools(&o, q);
	rest = put_system(&o, q);
	put_messages(&o, rest);
	messages_put_tool_choice(&o, q);
	put_number(&o, "temperature", q->temperature);
	put_number(&o, "top_p", q->top_p);
	put_number(&o, "top_k", q->top_k);
	put_stops(&o, q);
	put_thinking(&o, q);
	put_output(&o, q);
	put_user(&o, q);
	put_tier(&o, q);
	messages_put_cache(&o, &q->cache, &q->src);
	messages_put_extras(&o, &q->src, placed);
	jsonw_close(&o.w, '}');
	return o.error != 0 ? o.error : buf_ok(out) ? 0 : E_TOO_LONG;
}
