/* additionalModelRequestFields: what only some models know, in their maker's words
 * (spec 8.1, 19.3). */
#include <string.h>

#include "proto/converse/converse.h"
#include "proto/profile.h"

enum maker { MAKER_OTHER, MAKER_CLAUDE, MAKER_NOVA, MAKER_NOVA_2, MAKER_OSS };

/* By the name in the model's id; that of a profile's ARN does not tell. */
static enum maker
maker_of(struct span model)
{
	static const struct {
		const char *word;
		enum maker maker;
	} words[] = {
	    {"claude", MAKER_CLAUDE},
	    {"nova-2", MAKER_NOVA_2},
	    {"nova", MAKER_NOVA},
	    {"gpt-oss", MAKER_OSS},
	};

	for (size_t i = 0; i < NELEM(words); i++)
		if (model.n > 0 &&
		    memmem(model.p, model.n, words[i].word, strlen(words[i].word)) != NULL)
			return words[i].maker;
	return MAKER_OTHER;
}

static bool
is_asked(const struct canon_reasoning *m)
{
	return !wire_is_off(m) && (m->mode != THINK_UNSET || m->effort != EFFORT_UNSET || m->has_budget);
}

/* Open the object with its first member. */
static void
open_fields(struct wire *o, bool *open)
{
	if (!*open)
		jsonw_m_open(&o->w, "additionalModelRequestFields", '{');
	*open = true;
}

static const char *
display_word(enum canon_show show)
{
	if (show == SHOW_UNSET)
		return NULL;
	return show == SHOW_NONE || show == SHOW_OMITTED ? "omitted" : "summarized";
}

static void
put_claude(
    struct wire *o, const struct canon_request *q, const struct model_facts *facts, bool *open)
{
	const struct canon_reasoning *m = &q->reasoning;
	bool budget = m->mode == THINK_ON && m->has_budget && m->budget > 0;
	const char *effort = wire_is_off(m) ? NULL : canon_effort_word(m->effort);

	if (budget || m->mode == THINK_ADAPTIVE || wire_is_off(m)) {
		open_fields(o, open);
		jsonw_m_open(&o->w, "thinking", '{');
		jsonw_m_cstr(&o->w, "type",
		    wire_is_off(m) ? "disabled"
		    : budget  ? "enabled"
			      : "adaptive");
		if (budget)
			jsonw_m_i64(&o->w, "budget_tokens", m->budget);
		else if (!wire_is_off(m))
			jsonw_m_cstr(&o->w, "display", display_word(m->show));
		jsonw_close(&o->w, '}');
	}
	if (effort != NULL && facts->efforts & 1u << m->effort) {
		open_fields(o, open);
		jsonw_m_open(&o->w, "output_config", '{');
		jsonw_m_cstr(&o->w, "effort", effort);
		jsonw_close(&o->w, '}');
	}
	if (q->top_k.p != NULL) {
		open_fields(o, open);
		jsonw_m_raw(&o->w, "top_k", q->top_k);
	}
}

static void
put_nova(struct wire *o, const struct canon_request *q, bool thinks, bool *open)
{
	const struct canon_reasoning *m = &q->reasoning;

	if (thinks && is_asked(m)) {
		open_fields(o, open);
		jsonw_m_open(&o->w, "reasoningConfig", '{');
		jsonw_m_cstr(&o->w, "type", "enabled");
		jsonw_m_cstr(&o->w, "maxReasoningEffort",
		    m->effort != EFFORT_UNSET ? wire_three_levels(m->effort) : "medium");
		jsonw_close(&o->w, '}');
	}
	if (q->top_k.p != NULL) {
		open_fields(o, open);
		jsonw_m_open(&o->w, "inferenceConfig", '{');
		jsonw_m_raw(&o->w, "topK", q->top_k);
		jsonw_close(&o->w, '}');
	}
}

void
converse_put_fields(struct wire *o, const struct canon_request *q, struct span model)
{
	struct span own = wire_extra(&q->src, DIALECT_CONVERSE, "additionalModelRequestFields");
	enum maker maker = maker_of(model);
	bool open = false;

	if (own.p != NULL) {
		jsonw_m_raw(&o->w, "additionalModelRequestFields", own);
		return;
	}
	if (maker == MAKER_CLAUDE)
		put_claude(o, q, model_facts_of(model), &open);
	if (maker == MAKER_NOVA || maker == MAKER_NOVA_2)
		put_nova(o, q, maker == MAKER_NOVA_2, &open);
	if (maker == MAKER_OSS && is_asked(&q->reasoning) && q->reasoning.effort != EFFORT_UNSET) {
		open_fields(o, &open);
		jsonw_m_cstr(&o->w, "reasoning_effort", wire_three_levels(q->reasoning.effort));
	}
	if (open)
		jsonw_close(&o->w, '}');
}
