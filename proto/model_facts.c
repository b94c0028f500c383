#include <string.h>

#include "proto/profile.h"

#define ID_MAX 128

enum {
	NEW_FIELD = 1 << 0, /* max_completion_tokens */
	DEVELOPER = 1 << 1, /* takes the role developer */
	NO_STOP = 1 << 2,
	NO_SYSTEM = 1 << 3,   /* neither system nor developer */
	ONE_SAMPLER = 1 << 4, /* temperature or top_p */
	NO_PREFILL = 1 << 5,
	NO_SAMPLING = 1 << 6,
	NO_FORCED = 1 << 7,  /* tool choice */
	MID_SYSTEM = 1 << 8, /* system messages between the others */
	NO_SCHEMA = 1 << 9,  /* no structured output of its own */
	UNKNOWN = 1 << 10,
	OPENAI_THINKS = NEW_FIELD | DEVELOPER | NO_STOP,
	OLD_CLAUDE = NO_SCHEMA,
	NEW_CLAUDE = NO_SAMPLING | ONE_SAMPLER | NO_PREFILL,
};

#define N (1u << EFFORT_NONE)
#define I (1u << EFFORT_MINIMAL)
#define L (1u << EFFORT_LOW)
#define M (1u << EFFORT_MEDIUM)
#define H (1u << EFFORT_HIGH)
#define X (1u << EFFORT_XHIGH)
#define A (1u << EFFORT_MAX)

static const struct model_facts facts[] = {
#define NONE 0
#define MODEL(glob, thinks, words, off, standard, from, to, most, flags) \
	{ \
	    .pattern = (glob), \
	    .thinking = THINKS_##thinks, \
	    .efforts = (words), \
	    .can_be_off = (off), \
	    .usual = EFFORT_##standard, \
	    .budget_min = (from), \
	    .budget_max = (to), \
	    .cap = (most), \
	    .no_sampling = ((flags)&NO_SAMPLING) != 0, \
	    .no_temperature_and_top_p = ((flags)&ONE_SAMPLER) != 0, \
	    .no_stop = ((flags)&NO_STOP) != 0, \
	    .no_prefill = ((flags)&NO_PREFILL) != 0, \
	    .no_forced_choice = ((flags)&NO_FORCED) != 0, \
	    .no_system_role = ((flags)&NO_SYSTEM) != 0, \
	    .max_field_new = ((flags)&NEW_FIELD) != 0, \
	    .developer_role = ((flags)&DEVELOPER) != 0, \
	    .mid_system = ((flags)&MID_SYSTEM) != 0, \
	    .no_schema = ((flags)&NO_SCHEMA) != 0, \
	    .unknown = ((flags)&UNKNOWN) != 0, \
	},
#include "proto/model_facts.def"
#undef MODEL
#undef NONE
};

/* ---- the id as the patterns spell it ---- */

static bool
digits(struct span s, size_t from, size_t n)
{
	for (size_t i = from; i < from + n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return true;
}

/* "-20250514", "@20250514", "-2025-08-07" */
static bool
cut_date(struct span *s)
{
	if (s->n > 9 && (s->p[s->n - 9] == '-' || s->p[s->n - 9] == '@') && s->p[s->n - 8] == '2' &&
	    digits(*s, s->n - 8, 8)) {
		s->n -= 9;
		return true;
	}
	if (s->n > 11 && s->p[s->n - 11] == '-' && digits(*s, s->n - 10, 4) &&
	    s->p[s->n - 6] == '-' && digits(*s, s->n - 5, 2) && s->p[s->n - 3] == '-' &&
	    digits(*s, s->n - 2, 2)) {
		s->n -= 11;
		return true;
	}
	return false;
}

static bool
cut_end(struct span *s, const char *end)
{
	size_t n = strlen(end);

	if (s->n <= n || memcmp(s->p + s->n - n, end, n) != 0)
		return false;
	s->n -= n;
	return true;
}

/* "-v1:0", ":0", "-v2" */
static bool
cut_revision(struct span *s)
{
	size_t n = s->n;

	while (n > 0 && s->p[n - 1] >= '0' && s->p[n - 1] <= '9')
		n--;
	if (n == s->n || n < 3)
		return false;
	if (s->p[n - 1] == ':') {
		s->n = n - 1;
		return true;
	}
	if (s->p[n - 1] == 'v' && s->p[n - 2] == '-') {
		s->n = n - 2;
		return true;
	}
	return false;
}

static bool
cut_vendor(struct span *s)
{
	static const char *const vendors[] = {"us.", "eu.", "apac.", "global.", "jp.", "au.",
	    "us-gov.", "anthropic.", "amazon.", "openai.", "google.", "mistral.", "deepseek."};

	for (size_t i = 0; i < NELEM(vendors); i++) {
		size_t n = strlen(vendors[i]);

		if (s->n > n && memcmp(s->p, vendors[i], n) == 0) {
			s->p += n;
			s->n -= n;
			return true;
		}
	}
	return false;
}

static size_t
spell(struct span model, char out[ID_MAX])
{
	const char *slash = model.n > 0 ? memrchr(model.p, '/', model.n) : NULL;
	size_t n;

	if (slash != NULL)
		model = (struct span){slash + 1, (size_t)(model.p + model.n - slash - 1)};
	while (cut_vendor(&model))
		;
	while (cut_revision(&model) || cut_date(&model) || cut_end(&model, "-latest") ||
	       cut_end(&model, ":free") || cut_end(&model, ":thinking"))
		;
	n = MIN(model.n, ID_MAX);
	for (size_t i = 0; i < n; i++) {
		char c = model.p[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c | 0x20);
		out[i] = c == '.' || c == '_' ? '-' : c;
	}
	return n;
}

/* ---- patterns ---- */

/* Only the last star may be widened again: what stands before it fits already. */
static bool
fits(const char *glob, const char *id, size_t n)
{
	const char *star = NULL, *end = id + n, *again = id;

	while (id < end || *glob == '*') {
		if (*glob == '*') {
			star = ++glob;
			again = id;
		} else if (id < end && *glob == *id) {
			glob++;
			id++;
		} else if (star != NULL && again < end) {
			glob = star;
			id = ++again;
		} else {
			return false;
		}
	}
	return *glob == '\0';
}

const struct model_facts *
model_facts_of(struct span model)
{
	char id[ID_MAX];
	size_t n = spell(model, id), i = 0;

	while (i < NELEM(facts) - 1 && !fits(facts[i].pattern, id, n))
		i++;
	return &facts[i];
}
