/* A client's body. */
#include <string.h>

#include "proto/gemini/gemini.h"
#include "shared/err.h"

static int
new_turn(struct gemini_reader *r, struct canon_request *q, enum canon_role role, uint32_t hint,
    struct canon_turn **out)
{
	struct canon_turn *t = *out = canon_turn_new(r->a, role);

	if (t == NULL)
		return E_NOMEM;
	canon_source_init(&t->src, DIALECT_GEMINI);
	t->src.hint = hint;
	TAILQ_INSERT_TAIL(&q->turns, t, link);
	return 0;
}

/* The results of a content are turns of their own; all but the first turn go on with the content.
 */
static int
split_turn(struct gemini_reader *r, struct canon_request *q, struct canon_turn *t)
{
	struct canon_parts parts = TAILQ_HEAD_INITIALIZER(parts);
	struct canon_part *p;
	bool first = true;
	int e;

	TAILQ_CONCAT(&parts, &t->parts, link);
	while ((p = TAILQ_FIRST(&parts)) != NULL) {
		enum canon_role role = p->kind == PART_TOOL_RESULT ? ROLE_TOOL : ROLE_USER;

		if (first)
			t->role = role;
		else if (t->role != role && (e = new_turn(r, q, role, 0, &t)) != 0)
			return e;
		first = false;
		TAILQ_REMOVE(&parts, p, link);
		TAILQ_INSERT_TAIL(&t->parts, p, link);
	}
	return 0;
}

/*
 * Google's clients keep each chunk of a stream as a content of its own: all that the model said on
 * end is one turn. What begins with a content that says more than its parts stays apart.
 */
static void
join_turn(struct canon_request *q, struct canon_turn *t)
{
	struct canon_turn *before = TAILQ_PREV(t, canon_turns, link);
	struct canon_part *first = TAILQ_FIRST(&t->parts);

	if (before == NULL || before->role != ROLE_ASSISTANT || TAILQ_EMPTY(&before->parts) ||
	    first == NULL || t->src.extra != NULL)
		return;
	first->src.hint |= HINT_START;
	TAILQ_CONCAT(&before->parts, &t->parts, link);
	TAILQ_REMOVE(&q->turns, t, link);
}

/* The thought from `first` to `last`, whose signature is of the whole. */
static int
join_thought(struct gemini_reader *r, struct canon_turn *t, struct canon_part *first,
    struct canon_part *last)
{
	struct canon_part *p, *next;
	size_t n = last->text.n;
	char *text, *at;

	for (p = first; p != last; p = TAILQ_NEXT(p, link))
		n += p->text.n;
	if ((text = at = arena_alloc(r->a, MAX(n, 1))) == NULL)
		return E_NOMEM;
	last->src.hint |= first->src.hint & HINT_START;
	for (p = first;; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->text.n > 0)
			memcpy(at, p->text.p, p->text.n);
		at += p->text.n;
		if (p == last)
			break;
		TAILQ_REMOVE(&t->parts, p, link);
	}
	last->text = (struct span){text, n};
	return 0;
}

/* A thought of another provider was streamed in pieces, and its signature came behind them: it goes
 * back as one. */
static int
join_thoughts(struct gemini_reader *r, struct canon_turn *t)
{
	struct canon_part *p, *first = NULL;
	int e;

	TAILQ_FOREACH (p, &t->parts, link) {
		bool sealed = gemini_hint(&p->src, HINT_ENVELOPE);

		if (p->kind != PART_REASONING || (p->sign.data.p != NULL && !sealed)) {
			first = NULL;
		} else if (!sealed) {
			first = first == NULL ? p : first;
		} else {
			if (first != NULL && (e = join_thought(r, t, first, p)) != 0)
				return e;
			first = NULL;
		}
	}
	return 0;
}

static int
read_content(
    struct gemini_reader *r, const struct json *c, uint32_t number, struct canon_request *q)
{
	static const char *const known[] = {"role", "parts", NULL};
	const struct json *role = gemini_get(c, "role"), *parts = gemini_get(c, "parts");
	bool model = json_equals(role, "model");
	struct canon_turn *t;
	static const char *const where = "contents";
	int e;

	if (!json_is(c, 'o') || (parts != NULL && !json_is(parts, 'a')))
		return canon_fail(r->a, r->err, ERROR_BAD_REQUEST, where,
		    "contents[%u] must be an object with a list of parts", number);
	if (role != NULL && !model && !json_equals(role, "user") &&
	    !json_equals(role, "function") && !json_equals(role, ""))
		return canon_fail(r->a, r->err, ERROR_BAD_REQUEST, where,
		    "contents[%u]: the role must be user or model", number);
	if ((e = new_turn(r, q, model ? ROLE_ASSISTANT : ROLE_USER, HINT_START, &t)) != 0 ||
	    (e = gemini_read_parts(r, parts, &t->parts)) != 0 ||
	    (e = gemini_keep(r->a, &t->src, c, known, 0)) != 0)
		return e;
	t->src.hint |= role == NULL ? HINT_NO_ROLE : 0;
	t->src.hint |= json_equals(role, "function") ? HINT_FUNCTION : 0;
	t->src.hint |= parts == NULL ? HINT_NO_PARTS : 0;
	if (!model)
		return split_turn(r, q, t);
	join_turn(q, t);
	return 0;
}

static int
read_contents(struct gemini_reader *r, const struct json *contents, struct canon_request *q)
{
	uint32_t number = 0;
	int e;

	if (json_is(contents, 'o')) /* one content without its list */
		return read_content(r, contents, 0, q);
	if (!json_is(contents, 'a'))
		return canon_fail(r->a, r->err, ERROR_BAD_REQUEST, "contents",
		    contents == NULL ? "'contents' is missing" : "'contents' must be an array");
	json_each (c, contents)
		if ((e = read_content(r, c, number++, q)) != 0)
			return e;
	return 0;
}

static int
read_system(struct gemini_reader *r, const struct json *s, struct canon_request *q)
{
	static const char *const known[] = {"role", "parts", NULL};
	static const char *const roles[] = {"parts", NULL};
	const struct json *parts = gemini_get(s, "parts");
	struct canon_turn *t;
	struct canon_part *p;
	int e;

	if (s == NULL)
		return 0;
	if ((e = new_turn(r, q, ROLE_SYSTEM, HINT_START, &t)) != 0)
		return e;
	if (json_is(parts, 'a')) {
		if ((e = gemini_read_parts(r, parts, &t->parts)) != 0)
			return e;
		/* the role says nothing here, and goes back as it came */
		return gemini_keep(r->a, &t->src, s, roles, 0);
	}
	if (json_is(s, 's')) {
		if ((p = canon_part_new(r->a, PART_TEXT)) == NULL)
			return E_NOMEM;
		canon_source_init(&p->src, DIALECT_GEMINI);
		if ((p->text = json_text(r->a, s)).p == NULL)
			return E_NOMEM;
	} else if (json_is(s, 'o') && (json_is(parts, 'o') || parts == NULL)) {
		if ((e = gemini_read_part(r, parts != NULL ? parts : s, &p)) != 0 ||
		    (parts != NULL && (e = gemini_keep(r->a, &t->src, s, known, 0)) != 0))
			return e;
	} else {
		return canon_fail(r->a, r->err, ERROR_BAD_REQUEST, "systemInstruction",
		    "'systemInstruction' must be a content with a list of parts");
	}
	TAILQ_INSERT_TAIL(&t->parts, p, link);
	return 0;
}

static int
read_root(struct gemini_reader *r, const struct json *root, struct canon_request *q)
{
	static const char *const known[] = {"contents", "systemInstruction", "tools", "toolConfig",
	    "generationConfig", "safetySettings", "cachedContent", "model", NULL};
	const struct json *safety = gemini_get(root, "safetySettings");
	struct canon_turn *t;
	int e;

	if ((e = read_system(r, gemini_get(root, "systemInstruction"), q)) != 0 ||
	    (e = read_contents(r, gemini_get(root, "contents"), q)) != 0 ||
	    (e = gemini_read_tools(r, gemini_get(root, "tools"), q)) != 0 ||
	    (e = gemini_read_choice(r, gemini_get(root, "toolConfig"), q)) != 0 ||
	    (e = gemini_read_config(r, gemini_get(root, "generationConfig"), q)) != 0 ||
	    (e = gemini_get_text(r->a, root, "cachedContent", &q->cached_content)) != 0)
		return e;
	TAILQ_FOREACH (t, &q->turns, link)
		if (t->role == ROLE_ASSISTANT && (e = join_thoughts(r, t)) != 0)
			return e;
	if (safety != NULL)
		q->safety = safety->raw;
	return gemini_keep(r->a, &q->src, root, known, HINT_SNAKE);
}

int
gemini_decode_request(
    const struct decode_request *in, struct canon_request **out, struct canon_error *err)
{
	struct gemini_reader r = {.a = in->arena, .err = err, .model = in->model};
	struct canon_request *q = canon_request_new(in->arena, DIALECT_GEMINI);
	const struct json *root, *counted;
	int e;

	if (q == NULL)
		return E_NOMEM;
	if ((e = json_parse(in->arena, in->body, &root)) == E_NOMEM)
		return e;
	if (e != 0 || !json_is(root, 'o'))
		return canon_fail(in->arena, err, ERROR_BAD_REQUEST, NULL,
		    "The body is not a JSON object (%s)",
		    e != 0 ? err_text(e) : "it is something else");
	q->root = root;
	q->model = in->model;
	q->stream = q->stream_usage = in->stream;
	if (q->model.p == NULL && (e = gemini_get_text(in->arena, root, "model", &q->model)) != 0)
		return e;
	/* countTokens may wrap the request that it asks about */
	counted = gemini_get(root, "generateContentRequest");
	if (json_is(counted, 'o') && gemini_get(root, "contents") == NULL)
		root = counted;
	if ((e = read_root(&r, root, q)) != 0)
		return e;
	*out = q;
	return 0;
}
