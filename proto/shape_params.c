/*
 * Parameters (spec translation 10): which dialect has which, in which range; what a model or a
 * provider refuses; stop sequences and the limit of the answer. What equals the default is not
 * sent, what cannot be sent is noted, what changes the meaning is refused.
 */
#include <string.h>

#include "proto/shape_own.h"
#include "shared/err.h"

#define ROOM_MOST 32000
#define ROOM_UNKNOWN 8192
#define RESPONSES_LEAST 16

#define ON(d) (1u << DIALECT_##d)
#define MESSAGES_LIKE (ON(MESSAGES) | ON(CONVERSE))
#define ALL_ON ((1u << DIALECTS) - 1)

/* ---- numbers ---- */

/* `usual`: what a missing one means; NULL: not known. */
static const struct param {
	enum shape_drop drop;
	size_t at;
	uint32_t in; /* dialects that have it */
	const char *usual;
} params[] = {
    {DROP_TEMPERATURE, offsetof(struct canon_request, temperature), ALL_ON, NULL},
    {DROP_TOP_P, offsetof(struct canon_request, top_p), ALL_ON, "1"},
    {DROP_TOP_K, offsetof(struct canon_request, top_k),
	ON(CHAT) | ON(GEMINI) | ON(COHERE) | ON(OLLAMA) | MESSAGES_LIKE, NULL},
    {DROP_MIN_P, offsetof(struct canon_request, min_p), ON(CHAT) | ON(OLLAMA), NULL},
    {DROP_FREQUENCY_PENALTY, offsetof(struct canon_request, frequency_penalty),
	ON(CHAT) | ON(GEMINI) | ON(COHERE) | ON(OLLAMA), "0"},
    {DROP_PRESENCE_PENALTY, offsetof(struct canon_request, presence_penalty),
	ON(CHAT) | ON(GEMINI) | ON(COHERE) | ON(OLLAMA), "0"},
    {DROP_REPETITION_PENALTY, offsetof(struct canon_request, repetition_penalty),
	ON(CHAT) | ON(OLLAMA), "1"},
    {DROP_SEED, offsetof(struct canon_request, seed),
	ON(CHAT) | ON(GEMINI) | ON(COHERE) | ON(OLLAMA), NULL},
    {DROP_LOGIT_BIAS, offsetof(struct canon_request, logit_bias), ON(CHAT), NULL},
    {DROP_TOP_LOGPROBS, offsetof(struct canon_request, top_logprobs),
	ON(CHAT) | ON(RESPONSES) | ON(GEMINI), "0"},
};

static struct span *
place(struct canon_request *q, const struct param *p)
{
	return (struct span *)(void *)((char *)q + p->at);
}

static const struct param *
param_of(enum shape_drop d)
{
	size_t i = 0;

	while (params[i].drop != d)
		i++;
	return &params[i];
}

static void
drop(struct shaping *s, enum shape_drop d)
{
	struct span *v = place(s->q, param_of(d));

	if (v->p == NULL)
		return;
	*v = (struct span){NULL, 0};
	shape_note(s, d);
}

static bool
same_number(struct span v, const char *text)
{
	double x, y;

	return canon_number(v, &x) && canon_number(span_of(text), &y) && !(x < y) && !(x > y);
}

/* ---- ranges ---- */

/* A value beyond is the bound, as it is written here. */
static const struct range {
	uint32_t in;
	enum shape_drop drop;
	const char *least, *most;
} ranges[] = {
    {ON(CHAT) | ON(RESPONSES) | ON(GEMINI) | ON(OLLAMA), DROP_TEMPERATURE, "0", "2"},
    {MESSAGES_LIKE | ON(COHERE), DROP_TEMPERATURE, "0", "1"},
    {ALL_ON & ~ON(COHERE), DROP_TOP_P, "0", "1"},
    {ON(COHERE), DROP_TOP_P, "0.01", "0.99"},
    {MESSAGES_LIKE | ON(GEMINI), DROP_TOP_K, "1", "100000"},
    {ON(COHERE), DROP_TOP_K, "0", "500"},
    {ON(CHAT) | ON(GEMINI), DROP_FREQUENCY_PENALTY, "-2", "2"},
    {ON(CHAT) | ON(GEMINI), DROP_PRESENCE_PENALTY, "-2", "2"},
    {ON(COHERE), DROP_FREQUENCY_PENALTY, "0", "1"},
    {ON(COHERE), DROP_PRESENCE_PENALTY, "0", "1"},
    {ON(GEMINI), DROP_SEED, "-2147483648", "2147483647"},
};

static void
bound(struct shaping *s, enum shape_drop d, struct span least, struct span most)
{
	struct span *v = place(s->q, param_of(d));
	double x, low, high;

	if (v->p == NULL)
		return;
	if (!canon_number(*v, &x)) {
		drop(s, d); /* no number at all */
		return;
	}
	if (!canon_number(least, &low) || !canon_number(most, &high) || (x >= low && x <= high))
		return;
	*v = x < low ? least : most;
	shape_note(s, d);
}

static int
bound_all(struct shaping *s)
{
	uint32_t most = s->p->max_temperature;
	const char *text;

	for (size_t i = 0; i < NELEM(ranges); i++)
		if (ranges[i].in & 1u << s->p->dialect)
			bound(s, ranges[i].drop, span_of(ranges[i].least), span_of(ranges[i].most));
	if (most == 0)
		return 0;
	text = most % 100 == 0 ? arena_printf(s->a, "%u", most / 100)
			       : arena_printf(s->a, "%u.%02u", most / 100, most % 100);
	if (text == NULL)
		return E_NOMEM;
	bound(s, DROP_TEMPERATURE, span_of("0"), span_of(text));
	return 0;
}

/* ---- who refuses what ---- */

/* Also logprobs, which is no number. */
static void
drop_logprobs(struct shaping *s)
{
	if (s->q->logprobs == 1)
		shape_note(s, DROP_LOGPROBS);
	s->q->logprobs = -1;
	drop(s, DROP_TOP_LOGPROBS);
}

static bool
no_sampling(const struct shaping *s)
{
	return s->m->no_sampling;
}

static bool
no_penalties(const struct shaping *s)
{
	return s->p->no_penalties;
}

static bool
no_logprobs(const struct shaping *s)
{
	return s->p->no_logprobs;
}

static bool
no_seed(const struct shaping *s)
{
	return s->p->no_seed;
}

/* A chat service has top_k when its row says so, or when its own client sent it there and it may
 * have unknown members. */
static bool
no_top_k(const struct shaping *s)
{
	return s->p->dialect == DIALECT_CHAT && !s->p->top_k &&
	       (!s->same || s->p->openai || !s->p->extra_pass);
}

/* Of one vendor's tokens. */
static bool
other_tokens(const struct shaping *s)
{
	return !s->same;
}

static bool
openai_thinks(const struct shaping *s)
{
	enum canon_effort e = s->q->reasoning.effort;

	return shape_is_o(s) && (e != EFFORT_UNSET ? e : s->m->usual) != EFFORT_NONE;
}

static bool
claude_thinks(const struct shaping *s)
{
	return shape_is_claude(s) && shape_thinks(s);
}

static bool
claude_thinks_narrow(const struct shaping *s)
{
	double p;

	return claude_thinks(s) && !(canon_number(s->q->top_p, &p) && p >= 0.95);
}

static bool
both_samplers(const struct shaping *s)
{
	return s->m->no_temperature_and_top_p && s->q->temperature.p != NULL;
}

static const struct {
	bool (*when)(const struct shaping *s);
	uint32_t what; /* bits of enum shape_drop */
} refusals[] = {
#define BIT(d) (1u << DROP_##d)
    {openai_thinks, BIT(TEMPERATURE) | BIT(TOP_P) | BIT(PRESENCE_PENALTY) | BIT(FREQUENCY_PENALTY) |
			BIT(LOGIT_BIAS) | BIT(LOGPROBS) | BIT(TOP_LOGPROBS)},
    {claude_thinks, BIT(TEMPERATURE) | BIT(TOP_K)},
    {claude_thinks_narrow, BIT(TOP_P)},
    {no_sampling, BIT(TEMPERATURE) | BIT(TOP_P) | BIT(TOP_K)},
    {both_samplers, BIT(TOP_P)},
    {no_penalties, BIT(PRESENCE_PENALTY) | BIT(FREQUENCY_PENALTY) | BIT(LOGIT_BIAS)},
    {no_logprobs, BIT(LOGPROBS) | BIT(TOP_LOGPROBS) | BIT(LOGIT_BIAS)},
    {no_seed, BIT(SEED)},
    {no_top_k, BIT(TOP_K) | BIT(MIN_P) | BIT(REPETITION_PENALTY)},
    {other_tokens, BIT(LOGIT_BIAS)},
#undef BIT
};

static bool
has_logprobs(const struct shaping *s)
{
	return ((ON(CHAT) | ON(RESPONSES) | ON(GEMINI) | ON(COHERE)) & 1u << s->p->dialect) != 0;
}

static void
refuse_all(struct shaping *s)
{
	if (s->q->temperature.p != NULL && (claude_thinks(s) || openai_thinks(s)) &&
	    same_number(s->q->temperature, "1"))
		s->q->temperature = (struct span){NULL, 0}; /* that is how they think */
	for (size_t i = 0; i < NELEM(params); i++)
		if (!(params[i].in & 1u << s->p->dialect))
			drop(s, params[i].drop);
	if (!has_logprobs(s))
		drop_logprobs(s);
	for (size_t i = 0; i < NELEM(refusals); i++) {
		if (!refusals[i].when(s))
			continue;
		if (refusals[i].what & 1u << DROP_LOGPROBS)
			drop_logprobs(s);
		for (size_t k = 0; k < NELEM(params); k++)
			if (refusals[i].what & 1u << params[k].drop)
				drop(s, params[k].drop);
	}
}

static void
forget_usual(struct shaping *s)
{
	struct span *bias = &s->q->logit_bias;
	bool empty = bias->p != NULL;

	for (size_t i = 0; i < NELEM(params); i++) {
		struct span *v = place(s->q, &params[i]);

		if (v->p != NULL && params[i].usual != NULL && same_number(*v, params[i].usual) &&
		    !(params[i].drop == DROP_TOP_LOGPROBS && s->q->logprobs == 1))
			*v = (struct span){NULL, 0};
	}
	for (size_t i = 0; i < bias->n && empty; i++)
		empty = memchr("{} \t\r\n", bias->p[i], 6) != NULL;
	if (empty)
		*bias = (struct span){NULL, 0};
	if (s->q->logprobs == 0)
		s->q->logprobs = -1;
	if (s->q->n == 1)
		s->q->n = 0;
}

static int
check_n(struct shaping *s)
{
	bool has =
	    s->p->dialect == DIALECT_GEMINI || (s->p->dialect == DIALECT_CHAT && !s->p->no_n);

	if (s->q->n < 0)
		return canon_fail(s->a, s->err, ERROR_BAD_REQUEST, "n",
		    "The number of answers must be at least 1.");
	if (s->q->n <= 1 || (has && !openai_thinks(s)))
		return 0;
	return canon_fail(s->a, s->err, ERROR_UNSUPPORTED, "n",
	    "This model gives one answer to a request, not %lld.", (long long)s->q->n);
}

/* ---- stop sequences ---- */

static bool
is_blank(struct span text)
{
	for (size_t i = 0; i < text.n; i++)
		if (memchr(" \t\r\n", text.p[i], 4) == NULL)
			return false;
	return true;
}

static bool
is_in(const struct canon_text_list *l, const struct canon_text_list *end, struct span text)
{
	for (; l != end; l = l->next)
		if (span_same(l->text, text))
			return true;
	return false;
}

/* At most `max` of them, none twice, none empty. */
static int
copy_stops(struct shaping *s, uint32_t max)
{
	struct canon_text_list *kept = NULL, **end = &kept, *copy;
	bool blank = s->p->dialect == DIALECT_MESSAGES || s->p->dialect == DIALECT_CONVERSE;
	uint32_t n = 0;

	for (const struct canon_text_list *l = s->q->stop; l != NULL; l = l->next) {
		if (l->text.n == 0)
			continue;
		if (n == max || (blank && is_blank(l->text))) {
			shape_note(s, DROP_STOP);
			if (n == max)
				break;
			continue;
		}
		if (n <= 64 && is_in(kept, NULL, l->text))
			continue;
		if ((copy = arena_alloc(s->a, sizeof *copy)) == NULL)
			return E_NOMEM;
		*copy = (struct canon_text_list){.text = l->text};
		*end = copy;
		end = &copy->next;
		n++;
	}
	s->q->stop = kept;
	return 0;
}

/* Who has none gets none, and the gateway looks for them itself. */
static int
settle_stops(struct shaping *s)
{
	bool none = s->p->max_stops == 0 || s->p->no_stop ||
		    (s->m->no_stop &&
			(s->p->dialect == DIALECT_CHAT || s->p->dialect == DIALECT_RESPONSES));
	int r;

	if (s->q->stop == NULL)
		return 0;
	if ((r = copy_stops(s, none ? UINT32_MAX : s->p->max_stops)) != 0)
		return r;
	if (!none || s->q->stop == NULL)
		return 0;
	s->out->emulate_stop = true;
	s->q->stop = NULL;
	return 0;
}

/* ---- the limit of the answer ---- */

static int
settle_max(struct shaping *s)
{
	struct canon_request *q = s->q;
	uint32_t cap = s->m->cap;

	if (q->has_max && q->max_out <= 0)
		return canon_fail(s->a, s->err, ERROR_BAD_REQUEST, "max_tokens",
		    "The limit of the answer must be at least 1 token.");
	if (!q->has_max && s->p->dialect == DIALECT_MESSAGES) {
		q->has_max = true;
		q->max_is_visible = false;
		q->max_out = cap != 0 ? MIN(cap, ROOM_MOST) : ROOM_UNKNOWN;
	}
	if (q->has_max && cap != 0 && q->max_out > cap)
		q->max_out = cap;
	if (q->has_max && s->p->dialect == DIALECT_RESPONSES && q->max_out < RESPONSES_LEAST)
		q->max_out = RESPONSES_LEAST;
	return 0;
}

int
shape_params(struct shaping *s)
{
	int r;

	forget_usual(s);
	if ((r = check_n(s)) != 0)
		return r;
	refuse_all(s);
	if ((r = bound_all(s)) != 0 || (r = settle_stops(s)) != 0)
		return r;
	return settle_max(s);
}
