/* The canonical request → a body of /converse or /converse-stream. */
#include "proto/converse/converse.h"

#include "proto/profile.h"
#include "shared/err.h"

static bool
is_system(const struct canon_turn *t)
{
	return t->role == ROLE_SYSTEM || t->role == ROLE_DEVELOPER;
}

/* ---- messages ---- */

static bool
any_goes(const struct canon_turn *t)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, &t->parts, link)
		if (converse_goes(p))
			return true;
	return false;
}

static void
put_parts(struct converse_writer *c, const struct canon_turn *t)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, &t->parts, link)
		if (converse_goes(p))
			converse_put_block(c, p);
}

/* The leading run of system turns; the turn behind it. */
static const struct canon_turn *
put_system(struct converse_writer *c, const struct canon_request *q)
{
	const struct canon_turn *first = TAILQ_FIRST(&q->turns), *end = first, *t;
	bool any = q->from == DIALECT_CONVERSE && q->src.hint & HINT_SYSTEM;

	for (; end != NULL && is_system(end); end = TAILQ_NEXT(end, link))
		any = any || any_goes(end);
	if (!any)
		return end;
	jsonw_m_open(&c->o.w, "system", '[');
	for (t = first; t != end; t = TAILQ_NEXT(t, link))
		put_parts(c, t);
	jsonw_close(&c->o.w, ']');
	return end;
}

/* Roles alternate strictly: all turns that have one role on the wire are one message. The turn
 * behind it. */
static const struct canon_turn *
put_message(struct converse_writer *c, const struct canon_turn *t)
{
	bool assistant = t->role == ROLE_ASSISTANT, goes = t->src.from == DIALECT_CONVERSE;
	const struct canon_turn *end = t, *it;

	for (; end != NULL && (end->role == ROLE_ASSISTANT) == assistant;
	     end = TAILQ_NEXT(end, link))
		goes = goes || any_goes(end);
	if (!goes)
		return end;
	jsonw_open(&c->o.w, '{');
	jsonw_m_cstr(&c->o.w, "role", assistant ? "assistant" : "user");
	jsonw_m_open(&c->o.w, "content", '[');
	for (it = t; it != end; it = TAILQ_NEXT(it, link))
		put_parts(c, it);
	jsonw_close(&c->o.w, ']');
	for (it = t; it != end; it = TAILQ_NEXT(it, link))
		wire_put_extras(&c->o, &it->src, DIALECT_CONVERSE, NULL);
	jsonw_close(&c->o.w, '}');
	return end;
}

/* ---- tools ---- */

static void
put_tool(struct converse_writer *c, const struct canon_tool *t)
{
	struct wire *o = &c->o;
	bool own = t->src.from == DIALECT_CONVERSE;

	jsonw_open(&o->w, '{');
	jsonw_m_open(&o->w, "toolSpec", '{');
	jsonw_m_text(&o->w, "name", t->name);
	if (own || t->description.n > 0)
		jsonw_m_text(&o->w, "description", t->description);
	else
		jsonw_m_text(&o->w, "description", t->name); /* an empty one is refused */
	jsonw_m_open(&o->w, "inputSchema", '{');
	jsonw_m_raw(&o->w, "json", wire_schema(t));
	jsonw_close(&o->w, '}');
	if (own || t->strict == 1)
		jsonw_m_tri(&o->w, "strict", t->strict);
	wire_put_extras(o, &t->src, DIALECT_CONVERSE, NULL);
	jsonw_close(&o->w, '}');
	jsonw_close(&o->w, '}');
}

static bool
is_sent(const struct canon_tool *t)
{
	if (t->kind == TOOL_FUNCTION || t->kind == TOOL_CUSTOM)
		return true;
	return t->src.from == DIALECT_CONVERSE && t->raw.p != NULL;
}

static void
put_choice(struct wire *o, const struct canon_request *q)
{
	const struct canon_tool_choice *c = &q->tool_choice;

	if (q->from == DIALECT_CONVERSE) {
		jsonw_m_raw(&o->w, "toolChoice", c->raw);
		return;
	}
	switch (c->kind) {
	case CHOICE_UNSET:
	case CHOICE_NONE: /* is said in the system text */
		break;
	case CHOICE_AUTO:
		jsonw_m_lit(&o->w, "toolChoice", "{\"auto\":{}}");
		break;
	case CHOICE_ALLOWED:
		jsonw_m_lit(&o->w, "toolChoice", c->allowed_any ? "{\"any\":{}}" : "{\"auto\":{}}");
		break;
	case CHOICE_ANY:
		jsonw_m_lit(&o->w, "toolChoice", "{\"any\":{}}");
		break;
	case CHOICE_NAMED:
		jsonw_m_open(&o->w, "toolChoice", '{');
		jsonw_m_open(&o->w, "tool", '{');
		jsonw_m_text(&o->w, "name", c->name);
		jsonw_close(&o->w, '}');
		jsonw_close(&o->w, '}');
		break;
	}
}

/* Shaping has declared the tools of the history, which the service wants also when none may be
 * called any more. */
static void
put_tools(struct converse_writer *c, const struct canon_request *q)
{
	static const char *const known[] = {"tools", "toolChoice", NULL};
	struct span own = wire_extra(&q->src, DIALECT_CONVERSE, "toolConfig");
	struct wire *o = &c->o;
	const struct canon_tool *t;
	bool any = false;

	TAILQ_FOREACH (t, &q->tools, link)
		any = any || is_sent(t);
	if (!any)
		return;
	jsonw_m_open(&o->w, "toolConfig", '{');
	jsonw_m_open(&o->w, "tools", '[');
	TAILQ_FOREACH (t, &q->tools, link) {
		if (!is_sent(t))
			continue;
		if (t->raw.p != NULL && t->src.from == DIALECT_CONVERSE)
			jsonw_raw(&o->w, t->raw);
		else
			put_tool(c, t);
		converse_put_cache(c, &t->cache, &t->src);
	}
	jsonw_close(&o->w, ']');
	put_choice(o, q);
	if (own.p != NULL)
		wire_put_rest(o, own, known);
	jsonw_close(&o->w, '}');
}

/* ---- parameters ---- */

static void
put_inference(struct wire *o, const struct canon_request *q)
{
	static const char *const known[] = {
	    "maxTokens", "temperature", "topP", "stopSequences", NULL};
	struct span own = wire_extra(&q->src, DIALECT_CONVERSE, "inferenceConfig");

	if (own.p == NULL && !q->has_max && q->temperature.p == NULL && q->top_p.p == NULL &&
	    q->stop == NULL)
		return;
	jsonw_m_open(&o->w, "inferenceConfig", '{');
	if (q->has_max)
		jsonw_m_i64(&o->w, "maxTokens", q->max_out);
	jsonw_m_raw(&o->w, "temperature", q->temperature);
	jsonw_m_raw(&o->w, "topP", q->top_p);
	wire_put_texts(o, "stopSequences", q->stop);
	if (own.p != NULL)
		wire_put_rest(o, own, known);
	jsonw_close(&o->w, '}');
}

/* The schema travels as a string. */
static void
put_format(struct wire *o, const struct canon_request *q)
{
	const struct canon_format *f = &q->format;
	struct span own = wire_extra(&q->src, DIALECT_CONVERSE, "outputConfig");

	if (own.p != NULL) {
		jsonw_m_raw(&o->w, "outputConfig", own);
		return;
	}
	if (f->kind != FORMAT_SCHEMA || f->schema.p == NULL)
		return;
	jsonw_m_open(&o->w, "outputConfig", '{');
	jsonw_m_open(&o->w, "textFormat", '{');
	jsonw_m_cstr(&o->w, "type", "json_schema");
	jsonw_m_open(&o->w, "structure", '{');
	jsonw_m_open(&o->w, "jsonSchema", '{');
	jsonw_m_text(&o->w, "name", f->name.n > 0 ? f->name : span_of("response"));
	jsonw_m_text(&o->w, "description", f->description);
	jsonw_m_text(&o->w, "schema", f->schema);
	for (unsigned i = 0; i < 4; i++)
		jsonw_close(&o->w, '}');
}

int
converse_encode_request(
    const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out)
{
	static const char *const placed[] = {
	    "inferenceConfig", "toolConfig", "additionalModelRequestFields", "outputConfig", NULL};
	struct converse_writer c = {
	    .o = {.w = {.b = out}, .a = ctx->arena}, .profile = ctx->profile};
	struct wire *o = &c.o;
	const struct canon_turn *t;

	jsonw_open(&o->w, '{');
	t = put_system(&c, q);
	jsonw_m_open(&o->w, "messages", '[');
	while (t != NULL)
		t = put_message(&c, t);
	jsonw_close(&o->w, ']');
	put_inference(o, q);
	put_tools(&c, q);
	converse_put_fields(o, q, ctx->model);
	put_format(o, q);
	wire_put_extras(o, &q->src, DIALECT_CONVERSE, placed);
	jsonw_close(&o->w, '}');
	return wire_end(o);
}
