/* The canonical request → a body of /api/chat. */
#include "proto/ollama/ollama.h"

#include "proto/tokens.h"
#include "shared/err.h"

#define SERVER_CONTEXT \
	4096u /* what the server takes where nobody says more; it cuts longer prompts without a \
		 word */
#define CONTEXT_MAX (1u << 20)
#define ANSWER_ROOM 2048u

/* ---- messages ---- */

static void
put_turn(struct wire *o, const struct canon_turn *t)
{
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "role", wire_role_word(t->role));
	wire_m_text(
	    o, "content", wire_text_of(o->a, &t->parts, t->role == ROLE_ASSISTANT ? "" : "\n\n"));
	ollama_put_message(o, &t->parts);
	wire_put_extras(o, &t->src, DIALECT_OLLAMA, NULL);
	jsonw_close(&o->w, '}');
}

static void
put_result(struct wire *o, const struct canon_part *p)
{
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "role", "tool");
	wire_m_text(o, "content", wire_result(o->a, p));
	jsonw_m_text(&o->w, "tool_name", p->name);
	if (p->src.from == DIALECT_OLLAMA)
		jsonw_m_text(&o->w, "tool_call_id", p->id);
	ollama_put_message(o, &p->content);
	wire_put_extras(o, &p->src, DIALECT_OLLAMA, NULL);
	jsonw_close(&o->w, '}');
}

static void
put_messages(struct wire *o, const struct canon_request *q)
{
	const struct canon_turn *t;
	const struct canon_part *p;

	jsonw_m_open(&o->w, "messages", '[');
	TAILQ_FOREACH (t, &q->turns, link) {
		if (t->role != ROLE_TOOL) {
			put_turn(o, t);
			continue;
		}
		TAILQ_FOREACH (p, &t->parts, link)
			if (p->kind == PART_TOOL_RESULT)
				put_result(o, p);
	}
	jsonw_close(&o->w, ']');
}

/* ---- tools ---- */

static bool
has_calls(const struct canon_request *q)
{
	const struct canon_turn *t;

	TAILQ_FOREACH (t, &q->turns, link)
		if (wire_turn_has(t, PART_TOOL_CALL))
			return true;
	return false;
}

/* There is no choice here: one that forbids calls is said by leaving the tools out, unless the
 * history needs them. */
static void
put_tools(struct wire *o, const struct canon_request *q)
{
	if (q->src.from == DIALECT_OLLAMA && q->src.hint & HINT_NO_TOOLS && TAILQ_EMPTY(&q->tools))
		jsonw_m_lit(&o->w, "tools", "[]");
	if (q->tool_choice.kind == CHOICE_NONE && !has_calls(q))
		return;
	wire_put_functions(o, q, DIALECT_OLLAMA, false);
}

/* ---- parameters ---- */

static void
put_stop(struct wire *o, const struct canon_request *q)
{
	const struct canon_text_list *t = q->stop;

	if (t != NULL && t->next == NULL && q->src.from == DIALECT_OLLAMA &&
	    q->src.hint & HINT_ONE_STOP)
		jsonw_m_text(&o->w, "stop", t->text);
	else
		wire_put_texts(o, "stop", t);
}

/* Doubled, not fitted: each other size makes the server load the model anew. 0: the server's own is
 * enough. */
static uint64_t
context_for(const struct canon_request *q)
{
	uint64_t need = tokens_request(q, DIALECT_OLLAMA), size = SERVER_CONTEXT;

	need += q->has_max && q->max_out > 0 ? MIN((uint64_t)q->max_out, CONTEXT_MAX) : ANSWER_ROOM;
	if (need <= SERVER_CONTEXT)
		return 0;
	while (size < need && size < CONTEXT_MAX)
		size *= 2;
	return size;
}

static void
put_options(struct wire *o, const struct canon_request *q)
{
	struct span own = wire_extra(&q->src, DIALECT_OLLAMA, "options");
	uint64_t context = q->from != DIALECT_OLLAMA ? context_for(q) : 0;
	bool any = q->has_max || q->temperature.p != NULL || q->top_p.p != NULL ||
		   q->top_k.p != NULL || q->min_p.p != NULL || q->seed.p != NULL ||
		   q->stop != NULL || q->repetition_penalty.p != NULL ||
		   q->frequency_penalty.p != NULL || q->presence_penalty.p != NULL || context > 0 ||
		   own.p != NULL;

	if (!any)
		return;
	jsonw_m_open(&o->w, "options", '{');
	if (q->has_max)
		jsonw_m_i64(&o->w, "num_predict", q->max_out);
	jsonw_m_raw(&o->w, "temperature", q->temperature);
	jsonw_m_raw(&o->w, "top_p", q->top_p);
	jsonw_m_raw(&o->w, "top_k", q->top_k);
	jsonw_m_raw(&o->w, "min_p", q->min_p);
	put_stop(o, q);
	jsonw_m_raw(&o->w, "seed", q->seed);
	if (context > 0)
		jsonw_m_u64(&o->w, "num_ctx", context);
	jsonw_m_raw(&o->w, "repeat_penalty", q->repetition_penalty);
	jsonw_m_raw(&o->w, "frequency_penalty", q->frequency_penalty);
	jsonw_m_raw(&o->w, "presence_penalty", q->presence_penalty);
	if (own.p != NULL && q->src.hint & HINT_OPTIONS)
		wire_put_rest(o, own, ollama_options);
	jsonw_close(&o->w, '}');
}

static void
put_format(struct wire *o, const struct canon_request *q)
{
	const struct canon_format *f = &q->format;

	if (q->from == DIALECT_OLLAMA)
		jsonw_m_raw(&o->w, "format", f->raw);
	else if (f->kind == FORMAT_JSON || (f->kind == FORMAT_SCHEMA && f->schema.p == NULL))
		jsonw_m_cstr(&o->w, "format", "json");
	else if (f->kind == FORMAT_SCHEMA)
		jsonw_m_raw(&o->w, "format", f->schema);
}

/* Shaping leaves an effort only to the models that have words for it (spec 8.2); the others think or do not. */
static void
put_think(struct wire *o, const struct canon_request *q)
{
	const struct canon_reasoning *m = &q->reasoning;
	struct span own = wire_extra(&q->src, DIALECT_OLLAMA, "think");

	if (own.p != NULL)
		jsonw_m_raw(&o->w, "think", own);
	else if (wire_is_off(m))
		jsonw_m_bool(&o->w, "think", false);
	else if (m->effort != EFFORT_UNSET)
		jsonw_m_cstr(&o->w, "think", wire_three_levels(m->effort));
	else if (m->mode != THINK_UNSET || m->has_budget)
		jsonw_m_bool(&o->w, "think", true);
}

int
ollama_encode_request(const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out)
{
	static const char *const placed[] = {"options", "think", NULL};
	struct wire o = {.w = {.b = out}, .a = ctx->arena};

	jsonw_open(&o.w, '{');
	jsonw_m_text(&o.w, "model", ctx->model);
	put_messages(&o, q);
	put_tools(&o, q);
	put_format(&o, q);
	put_think(&o, q);
	jsonw_m_bool(&o.w, "stream", q->stream);
	put_options(&o, q);
	wire_put_extras(&o, &q->src, DIALECT_OLLAMA, placed);
	jsonw_close(&o.w, '}');
	return wire_end(&o);
}
