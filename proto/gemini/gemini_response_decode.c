/* An upstream's whole answer. */
#include "proto/canon_error.h"
#include "proto/gemini/gemini.h"
#include "shared/err.h"

/* Members of a candidate that have a place of their own; groundingMetadata and logprobsResult are
 * kept whole beside what is read out of them. */
static const char *const candidate_known[] = {"content", "finishReason", "index", NULL};

static int
read_content(struct gemini_reader *r, const struct json *content, struct canon_choice *c)
{
	static const char *const known[] = {"role", "parts", NULL};
	const struct json *parts = gemini_get(content, "parts");
	int e;

	canon_source_init(&c->message, DIALECT_GEMINI);
	c->message.hint = !json_is(content, 'o') ? HINT_ABSENT : parts == NULL ? HINT_NO_PARTS : 0;
	if (gemini_get(content, "role") == NULL)
		c->message.hint |= HINT_NO_ROLE;
	if ((e = gemini_keep(r->a, &c->message, content, known, 0)) != 0)
		return e;
	return json_is(parts, 'a') ? gemini_read_parts(r, parts, &c->parts) : 0;
}

/* Google numbers the parts of the content; thoughts stand among them. A text that is not there is
 * the first text. */
static int
read_grounding(struct arena *a, const struct json *candidate, struct canon_choice *c)
{
	struct canon_annotations list;
	struct canon_annotation *n;
	struct canon_part *p, *text = NULL;
	struct textmap map = {0};
	int e = gemini_read_grounding(a, gemini_get(candidate, "groundingMetadata"), &list);

	if (e != 0 || TAILQ_EMPTY(&list))
		return e;
	TAILQ_FOREACH (p, &c->parts, link)
		if (p->kind == PART_TEXT && p->text.n > 0) {
			text = text == NULL ? p : text;
			if ((e = textmap_add(a, &map, p->text)) != 0)
				return e;
		}
	while (text != NULL && (n = TAILQ_FIRST(&list)) != NULL) {
		uint64_t from = 0, start = (uint64_t)n->start;

		TAILQ_REMOVE(&list, n, link);
		/* several texts are one for its numbers */
		for (p = text; p != NULL; p = TAILQ_NEXT(p, link)) {
			if (p->kind != PART_TEXT || p->text.n == 0)
				continue;
			if (start < from + p->text.n)
				break;
			from += p->text.n;
		}
		if (p == NULL)
			continue;
		n->start -= (int64_t)from;
		if (n->end >= 0)
			n->end = MAX(n->end - (int64_t)from, n->start);
		gemini_ground(n, &map, from);
		TAILQ_INSERT_TAIL(&p->annotations, n, link);
	}
	return 0;
}

static bool
says_something(const struct canon_choice *c, bool *called)
{
	const struct canon_part *p;
	bool said = false;

	*called = false;
	TAILQ_FOREACH (p, &c->parts, link) {
		*called = *called || p->kind == PART_TOOL_CALL;
		said = said || (p->kind != PART_TEXT && p->kind != PART_REASONING) || p->text.n > 0;
	}
	return said;
}

static int
read_candidate(struct gemini_reader *r, const struct json *candidate, uint32_t number,
    const struct canon_usage *usage, struct canon_choice **out)
{
	const struct json *content = gemini_get(candidate, "content");
	struct canon_choice *c = *out = canon_choice_new(r->a, number);
	struct span word;
	const char *why;
	int64_t index;
	bool called, said;
	int e;

	if (c == NULL)
		return E_NOMEM;
	canon_source_init(&c->src, DIALECT_GEMINI);
	if (json_int(gemini_get(candidate, "index"), &index) && index >= 0 && index < UINT32_MAX)
		c->index = (uint32_t)index;
	else
		c->src.hint |= HINT_NO_INDEX;
	if ((e = read_content(r, content, c)) != 0 ||
	    (e = gemini_get_text(r->a, candidate, "finishReason", &word)) != 0 ||
	    (e = gemini_keep(r->a, &c->src, candidate, candidate_known, HINT_SNAKE)) != 0 ||
	    (e = read_grounding(r->a, candidate, c)) != 0)
		return e;
	if (gemini_get(candidate, "logprobsResult") != NULL)
		c->logprobs = gemini_read_logprobs(r->a, gemini_get(candidate, "logprobsResult"));
	said = says_something(c, &called);
	if (gemini_finish(word, called, said, usage->out_total > 0, &c->finish, &why))
		return 0;
	gemini_failure(r->a, word, why, r->err);
	return E_DENIED;
}

static int
read_blocked(struct gemini_reader *r, const struct json *feedback, struct canon_choice **out)
{
	struct canon_choice *c = *out = canon_choice_new(r->a, 0);
	int e;

	if (c == NULL)
		return E_NOMEM;
	canon_source_init(&c->src, DIALECT_GEMINI);
	canon_source_init(&c->message, DIALECT_GEMINI);
	c->src.hint = HINT_ABSENT;
	c->finish.reason = FINISH_CONTENT_FILTER;
	e = gemini_get_text(r->a, feedback, "blockReason", &c->finish.raw);
	return e;
}

static int
read_candidates(struct gemini_reader *r, const struct json *root, struct canon_response *out)
{
	const struct json *list = gemini_get(root, "candidates");
	const struct json *feedback = gemini_get(root, "promptFeedback");
	struct canon_choice **tail = &out->choices;
	uint32_t number = 0;
	int e;

	json_each (it, json_is(list, 'a') ? list : NULL) {
		if (!json_is(it, 'o'))
			continue;
		if ((e = read_candidate(r, it, number++, &out->usage, tail)) != 0)
			return e;
		tail = &(*tail)->next;
	}
	if (out->choices != NULL)
		return 0;
	if (json_is(gemini_get(feedback, "blockReason"), 's'))
		return read_blocked(r, feedback, tail);
	if (list == NULL && gemini_get(root, "usageMetadata") == NULL)
		return E_SYNTAX;
	gemini_failure(r->a, (struct span){NULL, 0}, "empty_response", r->err);
	return E_DENIED;
}

int
gemini_decode_response(
    struct arena *a, struct span body, struct canon_response *out, struct canon_error *err)
{
	static const char *const known[] = {
	    "candidates", "usageMetadata", "modelVersion", "responseId", NULL};
	struct gemini_reader r = {.a = a, .err = err};
	const struct json *root;
	int e;

	*out = (struct canon_response){.from = DIALECT_GEMINI};
	canon_source_init(&out->src, DIALECT_GEMINI);
	if ((e = json_parse(a, body, &root)) != 0)
		return e == E_NOMEM ? e : E_SYNTAX;
	if (gemini_error_in(root) != NULL) {
		canon_error_decode(a, 0, body, (struct span){NULL, 0}, err);
		return E_DENIED;
	}
	if (!json_is(root, 'o'))
		return E_SYNTAX;
	out->root = root;
	if ((e = gemini_get_text(a, root, "responseId", &out->id)) != 0 ||
	    (e = gemini_get_text(a, root, "modelVersion", &out->model)) != 0 ||
	    (e = gemini_keep(a, &out->src, root, known, 0)) != 0)
		return e;
	r.model = out->model;
	gemini_read_usage(gemini_get(root, "usageMetadata"), &out->usage);
	return read_candidates(&r, root, out);
}
