/* generationConfig, read. */
#include <stddef.h>
#include <string.h>

#include "proto/gemini/gemini.h"
#include "proto/scan.h"
#include "shared/err.h"

static const char *const known[] = {"maxOutputTokens", "temperature", "topP", "topK",
    "frequencyPenalty", "presencePenalty", "seed", "candidateCount", "stopSequences",
    "responseLogprobs", "logprobs", "responseMimeType", "responseSchema", "responseJsonSchema",
    "thinkingConfig", "responseModalities", NULL};
static const char *const thinking_known[] = {
    "thinkingBudget", "thinkingLevel", "includeThoughts", NULL};

static const struct {
	const char *name;
	size_t at;
} numbers[] = {
    {"temperature", offsetof(struct canon_request, temperature)},
    {"topP", offsetof(struct canon_request, top_p)},
    {"topK", offsetof(struct canon_request, top_k)},
    {"frequencyPenalty", offsetof(struct canon_request, frequency_penalty)},
    {"presencePenalty", offsetof(struct canon_request, presence_penalty)},
    {"seed", offsetof(struct canon_request, seed)},
    {"logprobs", offsetof(struct canon_request, top_logprobs)},
};

static int
refuse(struct gemini_reader *r, const char *name, const char *what)
{
	char param[64] = "generationConfig.";

	strncat(param, name, sizeof param - strlen(param) - 1);
	return canon_fail(r->a, r->err, ERROR_BAD_REQUEST, param, "'%s' must be %s", param, what);
}

static int
read_numbers(struct gemini_reader *r, const struct json *c, struct canon_request *q)
{
	for (size_t i = 0; i < NELEM(numbers); i++) {
		const struct json *m = gemini_get(c, numbers[i].name);
		struct span n;

		if (m == NULL)
			continue;
		n = json_is(m, 's') ? (struct span){m->raw.p + 1, m->raw.n - 2} : m->raw;
		if (n.n == 0 || scan_type(n) != 'n' || scan_check(n.p, n.n, NULL) != 0)
			return refuse(r, numbers[i].name, "a number");
		*(struct span *)(void *)((char *)q + numbers[i].at) = n;
	}
	return 0;
}

static int
read_limits(struct gemini_reader *r, const struct json *c, struct canon_request *q)
{
	const struct json *m = gemini_get(c, "maxOutputTokens");

	if (m != NULL) {
		if (!json_int(m, &q->max_out))
			return refuse(r, "maxOutputTokens", "an integer");
		q->has_max = true;
	}
	if ((m = gemini_get(c, "candidateCount")) != NULL && (!json_int(m, &q->n) || q->n < 0))
		return refuse(r, "candidateCount", "a positive integer");
	q->logprobs = json_tri(gemini_get(c, "responseLogprobs"));
	if ((m = gemini_get(c, "responseModalities")) != NULL)
		q->modalities = m->raw;
	return 0;
}

static int
read_stops(struct gemini_reader *r, const struct json *c, struct canon_request *q)
{
	const struct json *m = gemini_get(c, "stopSequences");
	struct canon_text_list **tail = &q->stop;

	if (m != NULL && !json_is(m, 'a'))
		return refuse(r, "stopSequences", "a list of strings");
	json_each (it, m) {
		struct span text = json_text(r->a, it);
		int e;

		if (!json_is(it, 's'))
			return refuse(r, "stopSequences", "a list of strings");
		if (text.p == NULL)
			return E_NOMEM;
		if ((e = canon_text_add(r->a, tail, text)) != 0)
			return e;
		tail = &(*tail)->next;
	}
	return 0;
}

static int
read_thinking(struct gemini_reader *r, const struct json *c, struct canon_request *q)
{
	const struct json *t = gemini_get(c, "thinkingConfig");
	const struct json *budget = gemini_get(t, "thinkingBudget");
	bool snake = false;
	struct canon_reasoning *why = &q->reasoning;
	struct span level;
	int e, show = json_tri(gemini_get(t, "includeThoughts"));

	if (t != NULL && gemini_name_is(t->name, "thinkingConfig", &snake) && snake)
		q->src.hint |= HINT_SNAKE_THINKING;
	if (budget != NULL && !json_int(budget, &why->budget))
		return refuse(r, "thinkingConfig.thinkingBudget", "an integer");
	if ((e = gemini_get_text(r->a, t, "thinkingLevel", &level)) != 0)
		return e;
	if (budget != NULL) {
		why->has_budget = true;
		why->mode = why->budget == 0 ? THINK_OFF : THINK_ON;
	}
	if (level.n > 0 && (why->effort = canon_effort_of(level)) != EFFORT_UNSET) {
		why->mode = why->mode == THINK_UNSET ? THINK_ON : why->mode;
		q->src.hint |= level.p[0] >= 'A' && level.p[0] <= 'Z' ? HINT_UPPER : 0;
	}
	why->show = show == 1 ? SHOW_FULL : show == 0 ? SHOW_NONE : SHOW_UNSET;
	return gemini_keep_rest(r->a, &q->src, t, thinking_known, HINT_SNAKE_THINKING);
}

static int
read_format(struct gemini_reader *r, const struct json *c, struct canon_request *q)
{
	const struct json *full = gemini_get(c, "responseJsonSchema");
	const struct json *subset = full == NULL ? gemini_get(c, "responseSchema") : NULL;
	const struct json *type = gemini_get(c, "responseMimeType");
	struct canon_format *f = &q->format;

	if (full != NULL || subset != NULL) {
		f->kind = FORMAT_SCHEMA;
		f->raw = f->schema = full != NULL ? full->raw : subset->raw;
		q->src.hint |= json_equals(type, "text/x.enum") ? HINT_ENUM : 0;
		if (subset != NULL) {
			q->src.hint |= HINT_SUBSET;
			return gemini_read_schema(
			    r, subset->raw, "generationConfig.responseSchema", &f->schema);
		}
	} else if (json_equals(type, "application/json")) {
		f->kind = FORMAT_JSON;
	} else if (json_equals(type, "text/plain")) {
		f->kind = FORMAT_TEXT;
	} else if (type != NULL) {
		return canon_fail(r->a, r->err, ERROR_UNSUPPORTED,
		    "generationConfig.responseMimeType",
		    "'generationConfig.responseMimeType' must be text/plain, application/json or, "
		    "with a schema, text/x.enum");
	}
	return 0;
}

int
gemini_read_config(struct gemini_reader *r, const struct json *c, struct canon_request *q)
{
	int e;

	if (c == NULL)
		return 0;
	q->src.hint |= HINT_CONFIG;
	if (!json_is(c, 'o'))
		return canon_fail(r->a, r->err, ERROR_BAD_REQUEST, "generationConfig",
		    "'generationConfig' must be an object");
	if ((e = read_numbers(r, c, q)) != 0 || (e = read_limits(r, c, q)) != 0 ||
	    (e = read_stops(r, c, q)) != 0 || (e = read_thinking(r, c, q)) != 0 ||
	    (e = read_format(r, c, q)) != 0)
		return e;
	return gemini_keep_rest(r->a, &q->src, c, known, HINT_SNAKE_CONFIG);
}
