/* A client's whole answer. */
#include "proto/canon_ids.h"
#include "proto/gemini/gemini.h"
#include "proto/scan.h"
#include "shared/err.h"

/* A call that was cut is left out (spec 18.6). */
static bool
is_cut(const struct canon_choice *c, const struct canon_part *p)
{
	return p->kind == PART_TOOL_CALL && !p->custom &&
	       (c->finish.reason == FINISH_LENGTH || c->finish.reason == FINISH_CONTEXT_WINDOW) &&
	       (p->args.n == 0 || scan_check(p->args.p, p->args.n, NULL) != 0);
}

static void
put_content(struct gemini_writer *o, const struct canon_choice *c)
{
	const struct canon_part *p;
	bool none = TAILQ_EMPTY(&c->parts);

	if (none && gemini_hint(&c->message, HINT_ABSENT))
		return;
	jsonw_m_open(&o->w, "content", '{');
	if (!none || !gemini_hint(&c->message, HINT_NO_PARTS)) {
		jsonw_m_open(&o->w, "parts", '[');
		TAILQ_FOREACH (p, &c->parts, link)
			if (gemini_part_goes(o, p) && !is_cut(c, p))
				gemini_put_part(o, p);
		jsonw_close(&o->w, ']');
	}
	if (!gemini_hint(&c->message, HINT_NO_ROLE))
		jsonw_m_cstr(&o->w, "role", "model");
	gemini_put_extras(o, &c->message, NULL);
	jsonw_close(&o->w, '}');
}

/* All citations of a choice, over its texts as if they were one. */
static void
put_grounding(struct gemini_writer *o, const struct canon_choice *c)
{
	struct canon_annotations list = TAILQ_HEAD_INITIALIZER(list);
	struct textmap map = {0};
	const struct canon_part *p;
	const struct canon_annotation *n;
	bool cited = false;
	int e = 0;

	TAILQ_FOREACH (p, &c->parts, link)
		cited = cited || !TAILQ_EMPTY(&p->annotations);
	if (!cited)
		return;
	TAILQ_FOREACH (p, &c->parts, link) {
		uint64_t from = map.points;

		if (p->kind != PART_TEXT)
			continue;
		e = e != 0 ? e : textmap_add(o->a, &map, p->text);
		TAILQ_FOREACH (n, &p->annotations, link) {
			struct canon_annotation *copy = gemini_move_cite(o->a, n, from);
			if (copy == NULL) {
				o->error = E_NOMEM;
				return;
			}
			TAILQ_INSERT_TAIL(&list, copy, link);
		}
	}
	o->error = e != 0 ? e : o->error;
	gemini_put_grounding(o, &list, &map);
}

static void
put_candidate(struct gemini_writer *o, const struct canon_response *r, const struct canon_choice *c)
{
	bool mine = c->src.from == DIALECT_GEMINI;

	jsonw_open(&o->w, '{');
	put_content(o, c);
	if (!mine || c->finish.raw.p != NULL || c->finish.reason == FINISH_NONE)
		jsonw_m_text(&o->w, "finishReason",
		    gemini_finish_word(&c->finish, r->from == DIALECT_GEMINI));
	if (!gemini_hint(&c->src, HINT_NO_INDEX))
		jsonw_m_u64(&o->w, "index", c->index);
	if (!gemini_has_extra(&c->src, "groundingMetadata"))
		put_grounding(o, c);
	if (!gemini_has_extra(&c->src, "logprobsResult"))
		gemini_put_logprobs(o, c->logprobs);
	gemini_put_extras(o, &c->src, NULL);
	jsonw_close(&o->w, '}');
}

int
gemini_encode_response(
    const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out)
{
	struct gemini_writer o = {.w = {.b = out},
	    .a = ctx->arena,
	    .thoughts = ctx->asked != NULL && ctx->asked->reasoning.show == SHOW_FULL};
	bool mine = r->from == DIALECT_GEMINI, open = false;
	struct span id = mine ? r->id : (struct span){NULL, 0};

	if (!mine && (id = canon_id(ctx->arena, ctx->seed, ID_GEMINI, 0)).p == NULL)
		return E_NOMEM;
	jsonw_open(&o.w, '{');
	for (const struct canon_choice *c = r->choices; c != NULL; c = c->next) {
		if (gemini_hint(&c->src, HINT_ABSENT))
			continue;
		if (!open)
			jsonw_m_open(&o.w, "candidates", '[');
		open = true;
		put_candidate(&o, r, c);
	}
	if (open)
		jsonw_close(&o.w, ']');
	if (!mine || r->usage.raw.p != NULL || r->usage.has_in || r->usage.has_out)
		gemini_put_usage(&o, &r->usage);
	jsonw_m_text(&o.w, "modelVersion", mine || r->model.n > 0 ? r->model : ctx->model);
	jsonw_m_text(&o.w, "responseId", id);
	gemini_put_extras(&o, &r->src, NULL);
	jsonw_close(&o.w, '}');
	return gemini_written(&o);
}
