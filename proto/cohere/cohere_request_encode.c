/* The canonical request → a body of /v2/chat. */
#include "proto/cohere/cohere.h"

/* ---- messages ---- */

static void
put_result(struct wire *o, const struct canon_part *p)
{
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "role", "tool");
	jsonw_m_text(&o->w, "tool_call_id", p->id);
	if (p->src.from == DIALECT_COHERE)
		cohere_put_message(o, &p->content, &p->src, false);
	else
		wire_m_text(o, "content", wire_result(o->a, p));
	wire_put_extras(o, &p->src, DIALECT_COHERE, NULL);
	jsonw_close(&o->w, '}');
}

static void
put_turn(struct wire *o, const struct canon_turn *t)
{
	const struct canon_part *p;

	if (t->role == ROLE_TOOL) {
		TAILQ_FOREACH (p, &t->parts, link)
			if (p->kind == PART_TOOL_RESULT)
				put_result(o, p);
		return;
	}
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "role", wire_role_word(t->role));
	cohere_put_message(o, &t->parts, &t->src, false);
	wire_put_extras(o, &t->src, DIALECT_COHERE, NULL);
	jsonw_close(&o->w, '}');
}

/* ---- tools ---- */

/* A choice of some tools was made by shaping: only those are left. */
static void
put_tools(struct wire *o, const struct canon_request *q)
{
	const struct canon_tool_choice *c = &q->tool_choice;
	bool any = wire_put_functions(o, q, DIALECT_COHERE, true);

	if (q->from == DIALECT_COHERE && c->raw.p != NULL)
		jsonw_m_raw(&o->w, "tool_choice", c->raw);
	else if (any && c->kind == CHOICE_NONE)
		jsonw_m_cstr(&o->w, "tool_choice", "NONE");
	else if (any && (c->kind == CHOICE_ANY || c->kind == CHOICE_NAMED ||
			    (c->kind == CHOICE_ALLOWED && c->allowed_any)))
		jsonw_m_cstr(&o->w, "tool_choice", "REQUIRED");
}

/* ---- parameters ---- */

static void
put_format(struct wire *o, const struct canon_request *q)
{
	const struct canon_format *f = &q->format;

	if (q->from == DIALECT_COHERE) {
		jsonw_m_raw(&o->w, "response_format", f->raw);
		return;
	}
	if (f->kind != FORMAT_JSON && f->kind != FORMAT_SCHEMA)
		return;
	jsonw_m_open(&o->w, "response_format", '{');
	jsonw_m_cstr(&o->w, "type", "json_object");
	if (f->kind == FORMAT_SCHEMA)
		jsonw_m_raw(&o->w, "json_schema", f->schema);
	jsonw_close(&o->w, '}');
}

static void
put_thinking(struct wire *o, const struct canon_request *q)
{
	static const int64_t budgets[] = {
	    [EFFORT_MINIMAL] = 512,
	    [EFFORT_LOW] = 2048,
	    [EFFORT_MEDIUM] = 8192,
	    [EFFORT_HIGH] = 24576,
	    [EFFORT_XHIGH] = 32768,
	    [EFFORT_MAX] = 32768,
	};
	const struct canon_reasoning *m = &q->reasoning;
	struct span own = wire_extra(&q->src, DIALECT_COHERE, "thinking");
	bool off = wire_is_off(m);

	if (own.p != NULL) {
		jsonw_m_raw(&o->w, "thinking", own);
		return;
	}
	if (m->mode == THINK_UNSET && m->effort == EFFORT_UNSET && !m->has_budget)
		return;
	jsonw_m_open(&o->w, "thinking", '{');
	jsonw_m_cstr(&o->w, "type", off ? "disabled" : "enabled");
	if (!off && m->has_budget && m->budget > 0)
		jsonw_m_i64(&o->w, "token_budget", m->budget);
	else if (!off && !m->has_budget && m->effort != EFFORT_UNSET)
		jsonw_m_i64(&o->w, "token_budget", budgets[m->effort]);
	jsonw_close(&o->w, '}');
}

static void
put_sampling(struct wire *o, const struct canon_request *q)
{
	if (q->has_max)
		jsonw_m_i64(&o->w, "max_tokens", q->max_out);
	jsonw_m_raw(&o->w, "temperature", q->temperature);
	jsonw_m_raw(&o->w, "p", q->top_p);
	jsonw_m_raw(&o->w, "k", q->top_k);
	jsonw_m_raw(&o->w, "seed", q->seed);
	jsonw_m_raw(&o->w, "frequency_penalty", q->frequency_penalty);
	jsonw_m_raw(&o->w, "presence_penalty", q->presence_penalty);
	wire_put_texts(o, "stop_sequences", q->stop);
	jsonw_m_tri(&o->w, "logprobs", q->logprobs);
}

int
cohere_encode_request(const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out)
{
	static const char *const placed[] = {"thinking", NULL};
	struct wire o = {.w = {.b = out}, .a = ctx->arena};
	const struct canon_turn *t;

	jsonw_open(&o.w, '{');
	jsonw_m_text(&o.w, "model", ctx->model);
	jsonw_m_open(&o.w, "messages", '[');
	TAILQ_FOREACH (t, &q->turns, link)
		put_turn(&o, t);
	jsonw_close(&o.w, ']');
	put_tools(&o, q);
	put_format(&o, q);
	put_thinking(&o, q);
	put_sampling(&o, q);
	jsonw_m_bool(&o.w, "stream", q->stream);
	wire_put_extras(&o, &q->src, DIALECT_COHERE, placed);
	jsonw_close(&o.w, '}');
	return wire_end(&o);
}
