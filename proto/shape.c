/* The order of the steps, the demands of each dialect, and what was dropped (spec translation 5).
 */
#include "proto/shape.h"

#include <string.h>

#include "proto/shape_own.h"
#include "shared/err.h"

static const struct shape_demand demands[DIALECTS] = {
    [DIALECT_CHAT] = {.custom_tools = true},
    [DIALECT_RESPONSES] = {.needs_turn = true, .custom_tools = true, .namespaces = true},
    [DIALECT_MESSAGES] = {.top_system = true,
	.wrap_system = true,
	.merge = true,
	.user_first = true,
	.needs_turn = true,
	.empty = BLANK_GOES},
    [DIALECT_GEMINI] = {.top_system = true,
	.wrap_system = true,
	.merge = true,
	.user_first = true,
	.user_last = true,
	.needs_turn = true},
    [DIALECT_COHERE] = {.wrap_system = true, .user_last = true, .needs_turn = true},
    [DIALECT_OLLAMA] = {.merge = false},
    [DIALECT_CONVERSE] = {.top_system = true,
	.wrap_system = true,
	.merge = true,
	.user_first = true,
	.needs_turn = true,
	.empty = BLANK_GOES},
};

/* The row of the provider and the facts of the model sharpen what the dialect demands. */
static void
demand(struct shaping *s)
{
	struct shape_demand *d = &s->want;

	*d = demands[s->p->dialect];
	d->merge = d->merge || s->p->alternation;
	d->user_first = d->user_first || s->p->alternation;
	d->needs_turn = d->needs_turn || s->p->needs_user_turn;
	d->wrap_system = d->wrap_system || s->p->single_system || s->m->no_system_role;
	d->custom_tools = d->custom_tools && s->p->openai;
	if (s->p->dialect == DIALECT_MESSAGES || s->p->dialect == DIALECT_CONVERSE)
		d->user_last = s->m->no_prefill;
	if (!s->same && shape_is_o(s))
		d->user_last = true;
}

static const char *const drop_words[DROPS] = {
    [DROP_TEMPERATURE] = "temperature",
    [DROP_TOP_P] = "top_p",
    [DROP_TOP_K] = "top_k",
    [DROP_MIN_P] = "min_p",
    [DROP_FREQUENCY_PENALTY] = "frequency_penalty",
    [DROP_PRESENCE_PENALTY] = "presence_penalty",
    [DROP_REPETITION_PENALTY] = "repetition_penalty",
    [DROP_SEED] = "seed",
    [DROP_LOGIT_BIAS] = "logit_bias",
    [DROP_LOGPROBS] = "logprobs",
    [DROP_TOP_LOGPROBS] = "top_logprobs",
    [DROP_STOP] = "stop",
    [DROP_TOOLS] = "tools",
    [DROP_TOOL_CHOICE] = "tool_choice",
    [DROP_PARALLEL] = "parallel_tool_calls",
    [DROP_EFFORT] = "reasoning_effort",
    [DROP_VERBOSITY] = "verbosity",
    [DROP_SEARCH] = "web_search_options",
    [DROP_IMAGES] = "images",
    [DROP_MODALITIES] = "modalities",
    [DROP_SAFETY] = "safety_settings",
    [DROP_CACHE_KEY] = "prompt_cache_key",
    [DROP_USER] = "user",
    [DROP_METADATA] = "metadata",
    [DROP_TIER] = "service_tier",
    [DROP_TRUNCATION] = "truncation",
    [DROP_BACKGROUND] = "background",
};

#define EXTRAS_MAX 32 /* names of unknown members that are listed */

static int
list_dropped(struct shaping *s)
{
	struct span words[DROPS + EXTRAS_MAX];
	unsigned n = 0, extras = 0;
	size_t len = 0;
	char *out, *at;

	for (unsigned d = 0; d < DROPS; d++)
		if (s->dropped & UINT64_C(1) << d)
			words[n++] = span_of(drop_words[d]);
	for (const struct canon_text_list *x = s->dropped_extras; x != NULL && extras < EXTRAS_MAX;
	     x = x->next, extras++)
		words[n++] = x->text;
	if (n == 0)
		return 0;
	for (unsigned i = 0; i < n; i++)
		len += words[i].n + 1;
	if ((out = at = arena_alloc(s->a, len)) == NULL)
		return E_NOMEM;
	for (unsigned i = 0; i < n; i++) {
		if (i > 0)
			*at++ = ',';
		memcpy(at, words[i].p, words[i].n);
		at += words[i].n;
	}
	s->out->dropped = (struct span){out, (size_t)(at - out)};
	return 0;
}

/* Nothing but thoughts that their makers would not know (spec 2.1, 8.4). */
static int (*const untouched[])(struct shaping *) = {shape_copy, shape_reason};

static int (*const steps[])(struct shaping *) = {
    shape_copy,
    shape_foreign,
    shape_system,
    shape_empties,
    shape_pair,
    shape_reason,
    shape_media,
    shape_effort, /* decides whether there is a thought to come, which the next ones ask */
    shape_ends,
    shape_tools,
    shape_choice,
    shape_format,
    shape_names,
    shape_params,
    shape_identity,
};

int
shape_request(struct arena *a, const struct canon_request *asked, const struct profile *p,
    struct span model, struct shaped *out, struct canon_error *err)
{
	struct shaping s = {.a = a,
	    .asked = asked,
	    .p = p,
	    .m = model_facts_of(model),
	    .model = model,
	    .out = out,
	    .err = err,
	    .same = asked->from == p->dialect};
	bool all = !s.same || p->dialect == DIALECT_CHAT;
	size_t n = all ? NELEM(steps) : NELEM(untouched);
	int r = 0;

	*out = (struct shaped){.tags = p->tags};
	s.dropped_end = &s.dropped_extras;
	demand(&s);
	for (size_t i = 0; i < n && r == 0; i++)
		r = (all ? steps : untouched)[i](&s);
	if (r != 0)
		return r;
	if (all)
		shape_cache(&s);
	out->q = s.q;
	return list_dropped(&s);
}
