/*
 * Reasoning of earlier turns (spec translation 8.4, 8.5): a thought goes back only to who made it,
 * exactly as it came; what cannot go is dropped whole, and never becomes text.
 */
#include <string.h>

#include "proto/shape_own.h"
#include "proto/signature.h"
#include "shared/err.h"

/* Google's documented stand-in for a signature that nobody has. */
#define NO_SIGNATURE "skip_thought_signature_validator"

/* Whose signatures come without an envelope in a dialect. */
static const enum canon_origin native[DIALECTS] = {
    [DIALECT_RESPONSES] = ORIGIN_OPENAI,
    [DIALECT_MESSAGES] = ORIGIN_ANTHROPIC,
    [DIALECT_GEMINI] = ORIGIN_GOOGLE,
};

/* A target that verifies nothing gets back what its own client has from it. */
static enum canon_origin
wanted(const struct shaping *s)
{
	return s->p->origin == ORIGIN_NONE && s->same ? native[s->p->dialect] : s->p->origin;
}

/* OpenAI's are of one family of models only. In the client's own dialect its name of the model may
 * be one of ours. */
static bool
is_ours(const struct shaping *s, const struct canon_signature *sign)
{
	enum canon_origin origin = wanted(s);
	uint32_t family = origin == ORIGIN_OPENAI && !s->same ? signature_family(s->model) : 0;

	return sign->data.p != NULL && sign->origin == origin && origin != ORIGIN_NONE &&
	       (sign->family == 0 || family == 0 || sign->family == family);
}

/* Somebody else's; or nobody knows whose, and it was not this dialect that it came in. */
static bool
is_foreign(const struct shaping *s, const struct canon_signature *sign)
{
	if (sign->origin == ORIGIN_NONE)
		return sign->data.p != NULL && !s->same;
	return !is_ours(s, sign) && !(sign->data.p == NULL && sign->origin == wanted(s));
}

static bool
keeps(const struct shaping *s, const struct canon_part *p, bool in_loop)
{
	if (is_foreign(s, &p->sign))
		return false;
	if (p->sign.data.p != NULL)
		return s->same || is_ours(s, &p->sign);
	/* unsigned, or its envelope was empty */
	if (s->p->dialect == DIALECT_MESSAGES)
		return s->same && !s->p->anthropic;
	if (s->same && s->p->dialect != DIALECT_CHAT)
		return true;
	if (p->sign.encrypted || p->text.n == 0)
		return false;
	return s->p->replay == REPLAY_ALL || (s->p->replay == REPLAY_LOOP && in_loop);
}

/* An item of Responses whose thought is gone goes without its id (spec 8.4.9). */
static void
forget_item(struct canon_part *p)
{
	for (p = TAILQ_NEXT(p, link); p != NULL && p->kind != PART_REASONING;
	     p = TAILQ_NEXT(p, link))
		p->item_id = (struct span){NULL, 0};
}

static void
filter_turn(struct shaping *s, struct canon_turn *t, bool in_loop)
{
	struct canon_part *p, *next;
	bool lost = false;

	for (p = TAILQ_FIRST(&t->parts); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->kind == PART_REASONING && !keeps(s, p, in_loop)) {
			lost = true;
			forget_item(p);
			TAILQ_REMOVE(&t->parts, p, link);
		} else if (p->kind != PART_REASONING && is_foreign(s, &p->sign)) {
			lost = true;
			p->sign = (struct canon_signature){0};
			p->carrier = false;
		}
	}
	s->lost = s->lost || lost;
	/* Chat keeps all details of a message in one piece: that holds what has gone, too */
	TAILQ_FOREACH (p, &t->parts, link)
		if (lost && p->kind == PART_REASONING && p->src.from == DIALECT_CHAT)
			p->raw = (struct span){NULL, 0};
}

static struct canon_part *
first_call(const struct canon_turn *t)
{
	struct canon_part *p;

	TAILQ_FOREACH (p, &t->parts, link)
		if (p->kind == PART_TOOL_CALL)
			return p;
	return NULL;
}

static bool
has_reasoning(const struct canon_turn *t)
{
	const struct canon_part *p = TAILQ_FIRST(&t->parts);

	return p != NULL && p->kind == PART_REASONING;
}

/* What the target wants to find at the calls of the running loop (spec 8.4.7, 8, 10). */
static int
repair_loop(struct shaping *s, struct canon_turn *t, bool first)
{
	struct canon_part *call = first_call(t), *p;

	if (call == NULL)
		return 0;
	if (first && shape_is_claude(s) && !has_reasoning(t))
		s->mute_loop = true;
	if (shape_is_new_gemini(s) && s->p->ai_studio && !s->p->vertex && call->sign.data.p == NULL)
		call->sign = (struct canon_signature){
		    .data = span_of(NO_SIGNATURE), .origin = ORIGIN_GOOGLE};
	if (s->p->dialect == DIALECT_CHAT && s->p->replay != REPLAY_DROP && !has_reasoning(t)) {
		if ((p = canon_part_new(s->a, PART_REASONING)) == NULL)
			return E_NOMEM;
		p->text = span_of("");
		TAILQ_INSERT_HEAD(&t->parts, p, link);
	}
	return 0;
}

/* A loop without its thought cannot go on thinking: the service would refuse it. */
static void
stop_thinking(struct shaping *s)
{
	struct canon_reasoning *m = &s->q->reasoning;

	if (s->mute_loop && s->p->dialect == DIALECT_MESSAGES && m->mode == THINK_ON) {
		m->mode = THINK_OFF;
		m->has_budget = false;
	}
}

int
shape_reason(struct shaping *s)
{
	struct canon_turn *user = shape_last_user(s), *t;
	bool in_loop = user == NULL, first = true;
	int r;

	TAILQ_FOREACH (t, &s->q->turns, link) {
		in_loop = in_loop || t == user;
		filter_turn(s, t, in_loop);
	}
	if (s->same && s->p->dialect != DIALECT_CHAT && !s->lost)
		return 0;
	for (t = user != NULL ? user : TAILQ_FIRST(&s->q->turns); t != NULL;
	     t = TAILQ_NEXT(t, link)) {
		if (t->role != ROLE_ASSISTANT)
			continue;
		if ((r = repair_loop(s, t, first)) != 0)
			return r;
		first = false;
	}
	if (s->same && s->p->dialect != DIALECT_CHAT)
		stop_thinking(s);
	shape_bare_turns(s);
	return 0;
}
