/* generationConfig, written. */
#include <string.h>

#include "proto/gemini/gemini.h"
#include "shared/err.h"

#define WORD_MAX 32

static void
put_sampling(struct gemini_writer *o, const struct canon_request *q)
{
	const struct {
		const char *name;
		struct span value;
	} numbers[] = {
	    {"temperature", q->temperature},
	    {"topP", q->top_p},
	    {"topK", q->top_k},
	    {"frequencyPenalty", q->frequency_penalty},
	    {"presencePenalty", q->presence_penalty},
	    {"seed", q->seed},
	};

	for (size_t i = 0; i < NELEM(numbers); i++)
		gemini_m_raw(o, numbers[i].name, numbers[i].value);
	if (q->has_max) {
		gemini_name(o, "maxOutputTokens");
		jsonw_i64(&o->w, q->max_out);
	}
	if (q->n > 1 || (q->n == 1 && q->from == DIALECT_GEMINI)) {
		gemini_name(o, "candidateCount");
		jsonw_i64(&o->w, q->n);
	}
	if (q->stop != NULL) {
		gemini_m_open(o, "stopSequences", '[');
		for (const struct canon_text_list *s = q->stop; s != NULL; s = s->next)
			gemini_put_string(o, s->text);
		jsonw_close(&o->w, ']');
	}
	if (q->logprobs == 1 || (q->logprobs == 0 && q->from == DIALECT_GEMINI)) {
		gemini_name(o, "responseLogprobs");
		jsonw_bool(&o->w, q->logprobs == 1);
	}
	gemini_m_raw(o, "logprobs", q->top_logprobs);
}

static void
put_format(struct gemini_writer *o, const struct canon_request *q)
{
	const struct canon_format *f = &q->format;
	bool mine = q->from == DIALECT_GEMINI, subset;

	if (f->kind == FORMAT_UNSET || (f->kind == FORMAT_TEXT && !mine))
		return;
	if (f->kind == FORMAT_TEXT) {
		gemini_m_text(o, "responseMimeType", span_of("text/plain"));
		return;
	}
	gemini_m_text(o, "responseMimeType",
	    span_of(gemini_hint(&q->src, HINT_ENUM) ? "text/x.enum" : "application/json"));
	if (f->kind != FORMAT_SCHEMA || f->schema.p == NULL)
		return;
	if (gemini_hint(&q->src, HINT_SUBSET)) {
		gemini_m_raw(o, "responseSchema", f->raw.p != NULL ? f->raw : f->schema);
		return;
	}
	subset = o->profile != NULL && o->profile->schema == SCHEMA_GEMINI_SUBSET;
	gemini_m_raw(o, subset ? "responseSchema" : "responseJsonSchema", f->schema);
}

/* Capitals where a client of this dialect wrote them. */
static void
put_level(struct gemini_writer *o, const struct canon_request *q)
{
	enum canon_effort e = MIN(q->reasoning.effort, EFFORT_HIGH);
	const char *word;
	char upper[WORD_MAX];
	size_t n;

	if (e == EFFORT_NONE) /* it cannot be off: the least there is */
		e = EFFORT_LOW;
	word = canon_effort_word(e);
	n = MIN(strlen(word), sizeof upper);
	for (size_t i = 0; i < n; i++)
		upper[i] = (char)(word[i] - 'a' + 'A');
	gemini_m_text(o, "thinkingLevel",
	    gemini_hint(&q->src, HINT_UPPER) ? (struct span){upper, n} : span_of(word));
}

static void
put_thinking(struct gemini_writer *o, const struct canon_request *q)
{
	static const char *const known[] = {
	    "thinkingBudget", "thinkingLevel", "includeThoughts", NULL};
	const struct canon_reasoning *r = &q->reasoning;
	bool mine = q->from == DIALECT_GEMINI;
	bool level = !r->has_budget && r->effort != EFFORT_UNSET;
	bool off = !r->has_budget && !level && r->mode == THINK_OFF;
	bool show = r->show != SHOW_UNSET && r->show != SHOW_NONE && r->show != SHOW_OMITTED;
	bool hide = mine && r->show == SHOW_NONE;

	if (!r->has_budget && !level && !off && !show && !hide &&
	    !gemini_has_extra(&q->src, "thinkingConfig"))
		return;
	o->snake = gemini_hint(&q->src, HINT_SNAKE_THINKING);
	gemini_m_open(o, "thinkingConfig", '{');
	if (r->has_budget || off) {
		gemini_name(o, "thinkingBudget");
		jsonw_i64(&o->w, off ? 0 : r->budget);
	}
	if (level)
		put_level(o, q);
	if (show || hide) {
		gemini_name(o, "includeThoughts");
		jsonw_bool(&o->w, show);
	}
	gemini_put_rest(o, &q->src, "thinkingConfig", known);
	jsonw_close(&o->w, '}');
	o->snake = gemini_hint(&q->src, HINT_SNAKE_CONFIG);
}

/* Chat's ["text","image"] are TEXT and IMAGE here. */
static void
put_modalities(struct gemini_writer *o, const struct canon_request *q)
{
	const struct json *list;
	int r;

	if (q->modalities.p == NULL)
		return;
	if (q->from == DIALECT_GEMINI) {
		gemini_m_raw(o, "responseModalities", q->modalities);
		return;
	}
	if ((r = json_parse(o->a, q->modalities, &list)) != 0) {
		o->error = r;
		return;
	}
	gemini_m_open(o, "responseModalities", '[');
	json_each (it, list) {
		if (json_equals(it, "image"))
			jsonw_cstr(&o->w, "IMAGE");
		else if (json_equals(it, "audio"))
			jsonw_cstr(&o->w, "AUDIO");
		else
			jsonw_cstr(&o->w, "TEXT");
	}
	jsonw_close(&o->w, ']');
}

/* `detail` of images is one word for all of them here: the best that was asked for. */
static void
put_resolution(struct gemini_writer *o, const struct canon_request *q)
{
	bool low = false, high = false, other = false;
	const struct canon_turn *t;
	const struct canon_part *p;

	if (q->from == DIALECT_GEMINI)
		return;
	TAILQ_FOREACH (t, &q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link) {
			if (p->kind != PART_IMAGE)
				continue;
			low = low || span_is(p->media.detail, "low");
			high = high || span_is(p->media.detail, "high");
			other = other || !span_is(p->media.detail, "low");
		}
	if (high)
		gemini_m_text(o, "mediaResolution", span_of("MEDIA_RESOLUTION_HIGH"));
	else if (low && !other)
		gemini_m_text(o, "mediaResolution", span_of("MEDIA_RESOLUTION_LOW"));
}

/* An object with nothing in it is taken back. */
void
gemini_put_config(struct gemini_writer *o, const struct canon_request *q)
{
	static const char *const known[] = {"maxOutputTokens", "temperature", "topP", "topK",
	    "frequencyPenalty", "presencePenalty", "seed", "candidateCount", "stopSequences",
	    "responseLogprobs", "logprobs", "responseMimeType", "responseSchema",
	    "responseJsonSchema", "thinkingConfig", "responseModalities", NULL};
	size_t before = o->w.b->len, inside;
	bool comma = o->w.comma;

	o->snake = gemini_hint(&q->src, HINT_SNAKE);
	gemini_m_open(o, "generationConfig", '{');
	inside = o->w.b->len;
	o->snake = gemini_hint(&q->src, HINT_SNAKE_CONFIG);
	put_sampling(o, q);
	put_format(o, q);
	put_thinking(o, q);
	put_modalities(o, q);
	put_resolution(o, q);
	gemini_put_rest(o, &q->src, "generationConfig", known);
	if (o->w.b->len == inside && !o->w.b->failed && !gemini_hint(&q->src, HINT_CONFIG)) {
		o->w.b->len = before;
		o->w.comma = comma;
	} else {
		jsonw_close(&o->w, '}');
	}
	o->snake = false;
}
