/*
 * Turns: what travels only within its own dialect (spec 4.2, 4.3), empty content (5.2), neighbours
 * (5.4), the first and the last turn (5.5).
 */
#include <string.h>

#include "proto/shape_own.h"
#include "shared/err.h"

#define GO_ON "Continue exactly from where the previous message stops; do not repeat it."

/* TAILQ_FOREACH in which the element may be removed. */
#define EACH_SAFE(it, head, next) \
	for ((it) = TAILQ_FIRST(head); (it) != NULL && ((next) = TAILQ_NEXT(it, link), true); \
	     (it) = (next))

struct canon_part *
shape_text_part(struct shaping *s, struct span text)
{
	struct canon_part *p = canon_part_new(s->a, PART_TEXT);

	if (p != NULL)
		p->text = text;
	return p;
}

struct canon_turn *
shape_text_turn(struct shaping *s, enum canon_role role, struct span text)
{
	struct canon_turn *t = canon_turn_new(s->a, role);
	struct canon_part *p = shape_text_part(s, text);

	if (t == NULL || p == NULL)
		return NULL;
	TAILQ_INSERT_TAIL(&t->parts, p, link);
	return t;
}

struct canon_turn *
shape_last_user(const struct shaping *s)
{
	struct canon_turn *t;

	TAILQ_FOREACH_REVERSE(t, &s->q->turns, canon_turns, link)
	if (t->role == ROLE_USER)
		return t;
	return NULL;
}

/* ---- of one dialect only ---- */

static const struct {
	const char *type, *why;
} refused[] = {
    {"compaction", "This conversation was compacted by another provider; it can only go on there."},
    {"mcp_approval_request", "Approvals of remote tools cannot be given to this model."},
    {"mcp_approval_response", "Approvals of remote tools cannot be given to this model."},
    {"computer_call", "Calls of the computer tool cannot be given to this model."},
    {"computer_call_output", "Calls of the computer tool cannot be given to this model."},
    {"item_reference", "The item that is referred to was not found."},
};

static int
foreign_part(struct shaping *s, struct canon_parts *in, struct canon_part *p)
{
	if (p->kind == PART_REFUSAL && s->p->dialect != DIALECT_CHAT &&
	    s->p->dialect != DIALECT_RESPONSES)
		p->kind = PART_TEXT;
	if (p->kind != PART_OPAQUE && p->kind != PART_SERVER_CALL && p->kind != PART_SERVER_RESULT)
		return 0;
	for (size_t i = 0; i < NELEM(refused) && p->kind == PART_OPAQUE; i++)
		if (p->src.from == DIALECT_RESPONSES && span_is(p->name, refused[i].type))
			return canon_fail(
			    s->a, s->err, ERROR_UNSUPPORTED, "input", "%s", refused[i].why);
	TAILQ_REMOVE(in, p, link);
	return 0;
}

int
shape_foreign(struct shaping *s)
{
	struct canon_turn *t;
	struct canon_part *p, *next, *c, *after;
	int r;

	if (s->same)
		return 0;
	TAILQ_FOREACH (t, &s->q->turns, link)
		EACH_SAFE(p, &t->parts, next)
		{
			EACH_SAFE(c, &p->content, after)
			if ((r = foreign_part(s, &p->content, c)) != 0)
				return r;
			if ((r = foreign_part(s, &t->parts, p)) != 0)
				return r;
		}
	return 0;
}

/* ---- empty content ---- */

static bool
is_blank(struct span text)
{
	for (size_t i = 0; i < text.n; i++)
		if (memchr(" \t\r\n\f\v", text.p[i], 6) == NULL)
			return false;
	return true;
}

/* A signature that stands alone has an empty text, and its maker wants it back there. */
static bool
is_empty(const struct shaping *s, const struct canon_part *p)
{
	if (p->kind != PART_TEXT && p->kind != PART_REFUSAL)
		return false;
	if (p->sign.data.p != NULL && p->sign.origin == s->p->origin)
		return false;
	return p->text.n == 0 || (s->want.empty == BLANK_GOES && is_blank(p->text));
}

int
shape_remove_nul(struct shaping *s, struct span *text)
{
	bool takes = s->p->dialect != DIALECT_GEMINI && s->p->dialect != DIALECT_CONVERSE;
	char *out, *at;

	if (takes || text->n == 0 || memchr(text->p, '\0', text->n) == NULL)
		return 0;
	if ((out = at = arena_alloc(s->a, text->n)) == NULL)
		return E_NOMEM;
	for (size_t i = 0; i < text->n; i++)
		if (text->p[i] != '\0')
			*at++ = text->p[i];
	*text = (struct span){out, (size_t)(at - out)};
	return 0;
}

static int
clean_parts(struct shaping *s, struct canon_parts *parts)
{
	struct canon_part *p, *next, *before;
	int r;

	EACH_SAFE(p, parts, next)
	{
		if (p->kind == PART_TEXT && (r = shape_remove_nul(s, &p->text)) != 0)
			return r;
		if (p->kind == PART_TOOL_RESULT && (r = clean_parts(s, &p->content)) != 0)
			return r;
		if (!is_empty(s, p))
			continue;
		before = TAILQ_PREV(p, canon_parts, link);
		if (p->cache.set && before != NULL && !before->cache.set)
			before->cache = p->cache;
		TAILQ_REMOVE(parts, p, link);
	}
	return 0;
}

void
shape_bare_turns(struct shaping *s)
{
	struct canon_turn *t, *next;

	EACH_SAFE(t, &s->q->turns, next)
	if (TAILQ_EMPTY(&t->parts))
		TAILQ_REMOVE(&s->q->turns, t, link);
}

int
shape_empties(struct shaping *s)
{
	struct canon_turn *t;
	int r;

	if (s->same)
		return 0;
	TAILQ_FOREACH (t, &s->q->turns, link)
		if ((r = clean_parts(s, &t->parts)) != 0)
			return r;
	shape_bare_turns(s);
	return 0;
}

/* ---- neighbours ---- */

static void
merge(struct shaping *s)
{
	struct canon_turn *t = TAILQ_FIRST(&s->q->turns), *next;

	while (t != NULL && (next = TAILQ_NEXT(t, link)) != NULL) {
		if (t->role != next->role || shape_is_system(t)) {
			t = next;
			continue;
		}
		TAILQ_CONCAT(&t->parts, &next->parts, link);
		TAILQ_REMOVE(&s->q->turns, next, link);
	}
}

/* ---- the ends ---- */

static void
strip_end(struct canon_turn *t)
{
	struct canon_part *p = TAILQ_LAST(&t->parts, canon_parts);

	while (p != NULL && p->kind == PART_TEXT && p->text.n > 0 &&
	       is_blank((struct span){p->text.p + p->text.n - 1, 1}))
		p->text.n--;
}

static bool
says_something(const struct canon_turn *t)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, &t->parts, link)
		if (p->kind != PART_REASONING)
			return true;
	return false;
}

/* An assistant's turn at the end is the beginning of the answer, where the target goes on with it.
 */
static int
last_turn(struct shaping *s)
{
	struct canon_turn *t = TAILQ_LAST(&s->q->turns, canon_turns), *more;
	bool prefill = !s->want.user_last && !(shape_is_claude(s) && shape_thinks(s));

	while (!prefill && t != NULL && t->role == ROLE_ASSISTANT && !says_something(t)) {
		TAILQ_REMOVE(&s->q->turns, t, link);
		t = TAILQ_LAST(&s->q->turns, canon_turns);
	}
	if (t == NULL || t->role != ROLE_ASSISTANT)
		return 0;
	if (prefill) {
		if (s->want.empty == BLANK_GOES)
			strip_end(t);
		return 0;
	}
	if ((more = shape_text_turn(s, ROLE_USER, span_of(GO_ON))) == NULL)
		return E_NOMEM;
	TAILQ_INSERT_TAIL(&s->q->turns, more, link);
	return 0;
}

static bool
has_user(const struct shaping *s)
{
	return shape_last_user(s) != NULL;
}

static int
first_turn(struct shaping *s)
{
	struct canon_turn *t = TAILQ_FIRST(&s->q->turns), *dot;
	bool missing;

	while (t != NULL && shape_is_system(t))
		t = TAILQ_NEXT(t, link);
	missing = (t == NULL && s->want.needs_turn) ||
		  (t != NULL && t->role == ROLE_ASSISTANT && s->want.user_first) ||
		  (s->p->needs_user_turn && !has_user(s));
	if (!missing)
		return 0;
	if ((dot = shape_text_turn(s, ROLE_USER, span_of("."))) == NULL)
		return E_NOMEM;
	if (t != NULL)
		TAILQ_INSERT_BEFORE(t, dot, link);
	else
		TAILQ_INSERT_TAIL(&s->q->turns, dot, link);
	return 0;
}

int
shape_ends(struct shaping *s)
{
	int r;

	shape_bare_turns(s);
	if ((r = shape_system_late(s)) != 0)
		return r;
	if (s->want.merge)
		merge(s);
	r = last_turn(s);
	return r != 0 ? r : first_turn(s);
}
