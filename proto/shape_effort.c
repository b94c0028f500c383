/*
 * How hard the target shall think: effort, budget, level or adaptive, out of whatever the client
 * said (spec translation 8.2), and room for it in the limit of the answer (8.3, 10.1).
 */
#include "proto/shape_own.h"

#include "shared/err.h"

#define BUDGET_LEAST 1024 /* of Claude; and what is left for the answer */
#define ROOM_MOST 32000
#define ROOM_UNKNOWN 8192
#define MODEL_MOST (-1) /* in the table: as much as the model takes */

/* Effort → tokens. */
static const struct {
	int64_t claude, gemini, other;
} budgets[] = {
    [EFFORT_UNSET] = {10240, 8192, 8192},
    [EFFORT_NONE] = {0, 0, 0},
    [EFFORT_MINIMAL] = {1024, 512, 512},
    [EFFORT_LOW] = {2048, 2048, 2048},
    [EFFORT_MEDIUM] = {10240, 8192, 8192},
    [EFFORT_HIGH] = {24576, 24576, 24576},
    [EFFORT_XHIGH] = {49152, MODEL_MOST, 32768},
    [EFFORT_MAX] = {MODEL_MOST, MODEL_MOST, 32768},
};

/* Tokens → effort: up to this many. */
static const struct {
	int64_t most;
	enum canon_effort effort;
} efforts[] = {
    {0, EFFORT_NONE},
    {4096, EFFORT_LOW},
    {16384, EFFORT_MEDIUM},
    {32768, EFFORT_HIGH},
    {INT64_MAX, EFFORT_XHIGH},
};

/* ---- what was asked ---- */

struct wish {
	bool said;    /* anything at all */
	bool dynamic; /* as much as it likes */
	bool tokens;  /* the client gave a number, and its dialect counts like the target's */
	enum canon_effort effort; /* UNSET: think, no matter how much */
	int64_t budget;
};

static enum canon_effort
effort_of(int64_t budget)
{
	size_t i = 0;

	while (budget > efforts[i].most)
		i++;
	return budget < 0 ? EFFORT_UNSET : efforts[i].effort;
}

static struct wish
read_wish(const struct canon_reasoning *m)
{
	struct wish w = {.effort = m->effort};

	w.said = m->mode != THINK_UNSET || m->effort != EFFORT_UNSET || m->has_budget;
	w.tokens = m->has_budget && m->budget > 0;
	w.dynamic = m->has_budget && m->budget < 0;
	w.budget = w.tokens ? m->budget : 0;
	if (m->mode == THINK_OFF || (m->has_budget && m->budget == 0)) {
		w.effort = EFFORT_NONE;
		w.tokens = false;
	} else if (w.effort == EFFORT_UNSET && m->has_budget) {
		w.effort = effort_of(m->budget);
	}
	if (w.effort == EFFORT_NONE)
		w.tokens = w.dynamic = false;
	return w;
}

/* ---- what the model has ---- */

static bool
has(const struct model_facts *m, enum canon_effort e)
{
	return (m->efforts & 1u << e) != 0;
}

/* The nearest lower one, else the lowest. */
static enum canon_effort
clamp(const struct model_facts *m, enum canon_effort e)
{
	int i;

	if (e == EFFORT_UNSET || m->efforts == 0 || has(m, e))
		return e;
	if (e == EFFORT_XHIGH && m->thinking == THINKS_ADAPTIVE && has(m, EFFORT_MAX))
		return EFFORT_MAX;
	if (e == EFFORT_MEDIUM && m->thinking == THINKS_LEVEL && has(m, EFFORT_HIGH))
		return EFFORT_HIGH;
	for (i = (int)e - 1; i > EFFORT_UNSET; i--)
		if (has(m, (enum canon_effort)i) && i != EFFORT_NONE)
			return (enum canon_effort)i;
	for (i = EFFORT_MINIMAL; i <= EFFORT_MAX; i++)
		if (has(m, (enum canon_effort)i))
			return (enum canon_effort)i;
	return e;
}

static void
say_nothing(struct shaping *s)
{
	s->q->reasoning = (struct canon_reasoning){.show = s->q->reasoning.show};
}

static void
cannot(struct shaping *s, const struct wish *w)
{
	say_nothing(s);
	if (w->effort != EFFORT_NONE)
		shape_note(s, DROP_EFFORT);
}

/* ---- limits ---- */

static int64_t
least(int64_t x, int64_t y)
{
	return x < y ? x : y;
}

static int64_t
room_of(const struct shaping *s)
{
	if (s->q->has_max)
		return s->q->max_out;
	return s->m->cap != 0 ? least(s->m->cap, ROOM_MOST) : ROOM_UNKNOWN;
}

static void
set_total(struct shaping *s, int64_t total)
{
	s->q->has_max = true;
	s->q->max_is_visible = false;
	s->q->max_out = total;
}

/*
 * Fits `budget` and the answer into the model's limit. 0: there is no room to think. What the
 * client counted itself only keeps below its own limit.
 */
static int64_t
fit(struct shaping *s, int64_t budget, bool counted)
{
	const struct canon_request *q = s->q;
	int64_t cap = s->m->cap != 0 ? s->m->cap : INT64_MAX, room = room_of(s), total,
		asked = budget;

	if (q->has_max && !q->max_is_visible) {
		total = least(room, cap);
		if (counted)
			budget = least(budget, total - 1);
		else
			budget = least(budget,
			    least(total - BUDGET_LEAST, total / 10 * 8 + total % 10 * 8 / 10));
	} else {
		total = least(room > INT64_MAX - budget ? INT64_MAX : room + budget, cap);
		budget = total - least(room, total);
		if (budget < least(asked, BUDGET_LEAST))
			budget = total - BUDGET_LEAST;
		if (budget > asked)
			budget = asked;
	}
	if (budget < least(asked, BUDGET_LEAST)) {
		budget = 0;
		total = least(room, cap);
	}
	set_total(s, total);
	return budget;
}

static int64_t
tokens_of(const struct shaping *s, const struct wish *w)
{
	const struct model_facts *m = s->m;
	int64_t most = m->budget_max > 0 ? m->budget_max : m->cap > 0 ? m->cap - 1 : 32768;
	int64_t n = s->p->dialect == DIALECT_GEMINI ? budgets[w->effort].gemini
		    : shape_is_claude(s)            ? budgets[w->effort].claude
						    : budgets[w->effort].other;

	if (w->tokens)
		n = w->budget;
	if (n == MODEL_MOST || n > most)
		n = most;
	return n < m->budget_min ? m->budget_min : n;
}

/* ---- Claude ---- */

static void
think_not(struct shaping *s)
{
	struct canon_reasoning *r = &s->q->reasoning;

	*r = (struct canon_reasoning){.mode = THINK_OFF, .show = r->show};
}

static void
claude_budget(struct shaping *s, const struct wish *w)
{
	bool counted =
	    w->tokens && (s->asked->from == DIALECT_MESSAGES || s->asked->from == DIALECT_GEMINI);
	struct canon_reasoning *r = &s->q->reasoning;
	int64_t budget;

	if (w->effort == EFFORT_NONE || s->mute_loop) {
		think_not(s);
		return;
	}
	budget = tokens_of(s, w);
	budget = fit(s, budget < BUDGET_LEAST ? BUDGET_LEAST : budget, counted);
	if (budget < BUDGET_LEAST)
		think_not(s);
	else
		*r = (struct canon_reasoning){
		    .mode = THINK_ON, .has_budget = true, .budget = budget};
}

static void
claude_adaptive(struct shaping *s, const struct wish *w)
{
	struct canon_reasoning *r = &s->q->reasoning;
	enum canon_show show = r->show;
	enum canon_effort effort = clamp(s->m, w->effort);

	if (w->effort == EFFORT_NONE && s->m->can_be_off) {
		think_not(s);
		return;
	}
	if (fit(s, tokens_of(s, w), false) == 0)
		effort = EFFORT_LOW;
	if (show == SHOW_UNSET && s->asked->from != DIALECT_RESPONSES &&
	    s->asked->from != DIALECT_GEMINI)
		show = SHOW_AUTO; /* newer models show nothing unless they are asked to */
	*r = (struct canon_reasoning){.mode = THINK_ADAPTIVE, .effort = effort, .show = show};
}

static void
claude(struct shaping *s, const struct wish *w)
{
	switch (s->m->thinking) {
	case THINKS_ADAPTIVE:
		claude_adaptive(s, w);
		break;
	case THINKS_BUDGET:
		claude_budget(s, w);
		break;
	default:
		if (s->m->unknown)
			claude_budget(s, w);
		else
			cannot(s, w);
	}
}

/* ---- the others ---- */

static void
gemini(struct shaping *s, const struct wish *w)
{
	struct canon_reasoning *r = &s->q->reasoning;
	enum canon_show show = r->show;
	int64_t budget;

	if (show == SHOW_UNSET && w->effort != EFFORT_NONE && s->asked->from != DIALECT_RESPONSES)
		show = SHOW_AUTO;
	if (s->m->thinking == THINKS_NOT) {
		cannot(s, w);
		return;
	}
	if (s->m->thinking != THINKS_BUDGET) {
		*r = (struct canon_reasoning){.effort = clamp(s->m, w->effort), .show = show};
		return;
	}
	if (w->effort == EFFORT_NONE && s->m->can_be_off) {
		*r = (struct canon_reasoning){.mode = THINK_OFF, .has_budget = true};
		return;
	}
	budget = w->dynamic || (w->effort == EFFORT_UNSET && !w->tokens) ? -1 : tokens_of(s, w);
	if (budget > 0 && s->q->has_max)
		budget = fit(s, budget, w->tokens && s->asked->from == DIALECT_MESSAGES);
	if (budget == 0)
		budget = s->m->can_be_off ? 0 : s->m->budget_min;
	*r = (struct canon_reasoning){.mode = budget == 0 ? THINK_OFF : THINK_ON,
	    .has_budget = true,
	    .budget = budget,
	    .show = show};
}

static void
by_effort(struct shaping *s, const struct wish *w)
{
	struct canon_reasoning *r = &s->q->reasoning;
	enum canon_effort e = w->effort == EFFORT_UNSET && !w->dynamic ? EFFORT_MEDIUM : w->effort;
	enum canon_think mode = e == EFFORT_NONE ? THINK_OFF : THINK_ON;

	if (s->m->thinking == THINKS_NOT ||
	    (s->p->dialect == DIALECT_CHAT && s->p->reasoning == REASON_NONE)) {
		cannot(s, w);
		return;
	}
	/* who is not known to think is neither told to stop nor to do as it likes, unless it has a
	 * switch for it */
	if ((e == EFFORT_NONE || w->effort == EFFORT_UNSET) && s->m->unknown && !s->same &&
	    s->p->reasoning == REASON_EFFORT) {
		say_nothing(s);
		return;
	}
	if ((s->m->thinking == THINKS_BUDGET || (s->m->unknown && !s->same)) && e > EFFORT_HIGH)
		e = EFFORT_HIGH;
	*r = (struct canon_reasoning){.mode = mode, .effort = clamp(s->m, e), .show = r->show};
	if (s->p->dialect != DIALECT_CHAT || mode == THINK_OFF)
		return;
	if (s->p->reasoning == REASON_ENABLE ||
	    (s->p->reasoning == REASON_OPENROUTER && w->tokens)) {
		r->has_budget = true;
		r->budget = w->tokens ? w->budget : budgets[e].other;
	}
}

static void
by_tokens(struct shaping *s, const struct wish *w)
{
	struct canon_reasoning *r = &s->q->reasoning;

	if (s->m->thinking != THINKS_BUDGET)
		cannot(s, w);
	else if (w->effort == EFFORT_NONE)
		think_not(s);
	else
		*r = (struct canon_reasoning){.mode = THINK_ON,
		    .has_budget = true,
		    .budget = tokens_of(s, w),
		    .show = r->show};
}

/* Words only for gpt-oss, a switch for the rest. */
static void
ollama(struct shaping *s, const struct wish *w)
{
	bool words = s->m->thinking == THINKS_EFFORT && !s->m->unknown;
	struct canon_reasoning *r = &s->q->reasoning;

	*r = (struct canon_reasoning){.mode = w->effort == EFFORT_NONE ? THINK_OFF : THINK_ON,
	    .effort = words && w->effort != EFFORT_NONE ? clamp(s->m, w->effort) : EFFORT_UNSET,
	    .show = r->show};
}

static void
converse(struct shaping *s, const struct wish *w)
{
	if (s->m->unknown)
		cannot(s, w);
	else if (shape_is_claude(s))
		claude(s, w);
	else
		by_effort(s, w);
}

/* The client sees no thoughts that it did not ask for. */
static bool
hides(const struct canon_request *q)
{
	if (q->reasoning.show == SHOW_NONE)
		return true;
	if (q->from == DIALECT_MESSAGES)
		return q->reasoning.mode == THINK_OFF;
	return q->from == DIALECT_GEMINI &&
	       (q->reasoning.show == SHOW_UNSET || q->reasoning.show == SHOW_OMITTED);
}

int
shape_effort(struct shaping *s)
{
	static void (*const tell[DIALECTS])(struct shaping *, const struct wish *) = {
	    [DIALECT_CHAT] = by_effort,
	    [DIALECT_RESPONSES] = by_effort,
	    [DIALECT_MESSAGES] = claude,
	    [DIALECT_GEMINI] = gemini,
	    [DIALECT_COHERE] = by_tokens,
	    [DIALECT_OLLAMA] = ollama,
	    [DIALECT_CONVERSE] = converse,
	};
	struct wish w = read_wish(&s->asked->reasoning);

	s->out->no_reasoning = !s->same && hides(s->asked);
	if (w.said)
		tell[s->p->dialect](s, &w);
	else
		say_nothing(s);
	return 0;
}

bool
shape_thinks(const struct shaping *s)
{
	return s->q->reasoning.mode == THINK_ON || s->q->reasoning.mode == THINK_ADAPTIVE;
}
