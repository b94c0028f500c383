/* An upstream's body. */
#include "proto/gemini/gemini.h"
#include "shared/err.h"

static bool
is_system(const struct canon_turn *t)
{
	return t->role == ROLE_SYSTEM || t->role == ROLE_DEVELOPER;
}

/* The leading system turns. Returns the first turn behind them. */
static const struct canon_turn *
put_system(struct gemini_writer *o, const struct canon_request *q)
{
	const struct canon_turn *t = TAILQ_FIRST(&q->turns);
	const struct canon_part *p;

	if (t == NULL || !is_system(t))
		return t;
	o->snake = gemini_hint(&q->src, HINT_SNAKE);
	gemini_m_open(o, "systemInstruction", '{');
	gemini_put_extras(o, &t->src, NULL);
	jsonw_m_open(&o->w, "parts", '[');
	for (; t != NULL && is_system(t); t = TAILQ_NEXT(t, link))
		TAILQ_FOREACH (p, &t->parts, link)
			if (gemini_part_goes(o, p))
				gemini_put_part(o, p);
	jsonw_close(&o->w, ']');
	jsonw_close(&o->w, '}');
	o->snake = false;
	return t;
}

static void
put_role(struct gemini_writer *o, const struct canon_turn *t)
{
	if (gemini_hint(&t->src, HINT_NO_ROLE))
		return;
	jsonw_m_cstr(&o->w, "role",
	    t->role == ROLE_ASSISTANT             ? "model"
	    : gemini_hint(&t->src, HINT_FUNCTION) ? "function"
						  : "user");
}

static void
put_parts(struct gemini_writer *o, const struct canon_turn *t)
{
	const struct canon_part *p;
	bool any = false;

	TAILQ_FOREACH (p, &t->parts, link) {
		if (!gemini_part_goes(o, p))
			continue;
		if (any && gemini_hint(&p->src, HINT_START)) {
			jsonw_close(&o->w, ']');
			jsonw_close(&o->w, '}');
			jsonw_open(&o->w, '{');
			jsonw_m_cstr(&o->w, "role", "model");
			jsonw_m_open(&o->w, "parts", '[');
		}
		any = true;
		gemini_put_part(o, p);
	}
	TAILQ_FOREACH (p, &t->parts, link)
		if (p->kind == PART_TOOL_RESULT)
			gemini_put_result_media(o, p);
}

/* One content: this turn and those that go on with it. Returns the first turn behind them. */
static const struct canon_turn *
put_content(struct gemini_writer *o, const struct canon_turn *t)
{
	bool model = t->role == ROLE_ASSISTANT;

	jsonw_open(&o->w, '{');
	put_role(o, t);
	gemini_put_extras(o, &t->src, NULL);
	if (!TAILQ_EMPTY(&t->parts) || !gemini_hint(&t->src, HINT_NO_PARTS)) {
		jsonw_m_open(&o->w, "parts", '[');
		do {
			put_parts(o, t);
			t = TAILQ_NEXT(t, link);
		} while (t != NULL && (t->role == ROLE_ASSISTANT) == model &&
			 !gemini_hint(&t->src, HINT_START));
		jsonw_close(&o->w, ']');
	} else {
		t = TAILQ_NEXT(t, link);
	}
	jsonw_close(&o->w, '}');
	return t;
}

int
gemini_encode_request(const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out)
{
	static const char *const except[] = {
	    "toolConfig", "generationConfig", "thinkingConfig", "generateContentRequest", NULL};
	struct gemini_writer o = {
	    .w = {.b = out}, .a = ctx->arena, .profile = ctx->profile, .thoughts = true};
	struct profile usual;
	const struct canon_turn *t;
	bool mine = q->from == DIALECT_GEMINI;

	if (o.profile == NULL) {
		profile_init(&usual, DIALECT_GEMINI);
		o.profile = &usual;
	}
	jsonw_open(&o.w, '{');
	t = put_system(&o, q);
	jsonw_m_open(&o.w, "contents", '[');
	while (t != NULL)
		t = put_content(&o, t);
	jsonw_close(&o.w, ']');
	gemini_put_tools(&o, q);
	gemini_put_choice(&o, q);
	gemini_put_config(&o, q);
	o.snake = gemini_hint(&q->src, HINT_SNAKE);
	if (mine) {
		gemini_m_raw(&o, "safetySettings", q->safety);
		gemini_m_text(&o, "cachedContent", q->cached_content);
	}
	gemini_put_extras(&o, &q->src, except);
	jsonw_close(&o.w, '}');
	return gemini_written(&o);
}
