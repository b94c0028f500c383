/* Where system and developer text stands (spec translation 4.3, 5.1). */
#include <string.h>

#include "proto/shape_own.h"
#include "shared/err.h"

#define BILLING "x-anthropic-billing-header:"

/* ---- a line that changes from call to call ---- */

static bool
is_billing(const struct canon_part *p)
{
	return p->kind == PART_TEXT && p->text.n >= sizeof BILLING - 1 &&
	       memcmp(p->text.p, BILLING, sizeof BILLING - 1) == 0;
}

static void
cut_billing(struct canon_turn *t)
{
	struct canon_part *p = TAILQ_FIRST(&t->parts), *next;
	const char *end;

	for (; p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		while (is_billing(p) && (end = memchr(p->text.p, '\n', p->text.n)) != NULL) {
			p->text.n -= (size_t)(end - p->text.p) + 1;
			p->text.p = end + 1;
		}
		if (is_billing(p))
			TAILQ_REMOVE(&t->parts, p, link);
	}
}

/* ---- roles ---- */

static enum canon_role
role_of(const struct shaping *s, const struct canon_turn *t, bool leading)
{
	bool takes = s->p->developer_role && (s->m->developer_role || s->m->unknown);

	if (s->p->dialect == DIALECT_RESPONSES)
		return leading ? t->role : ROLE_DEVELOPER;
	if (s->p->dialect != DIALECT_CHAT || !takes)
		return ROLE_SYSTEM;
	return !s->same && shape_is_o(s) ? ROLE_DEVELOPER : t->role;
}

/* ---- reminders ---- */

/* Later system text where no place is for it: a user turn, never the top (the cached prefix and the
 * meaning are lost there). */
static int
wrap(struct shaping *s, struct canon_turn *t)
{
	static const char open[] = "<system-reminder>\n", close[] = "\n</system-reminder>";
	struct span text = canon_join(s->a, &t->parts, "\n\n");
	struct canon_part *p, *next, *w;
	char *out;

	t->role = ROLE_USER;
	canon_source_init(&t->src, DIALECT_NONE);
	if (text.p == NULL)
		return 0;
	if ((out = arena_alloc(s->a, sizeof open + sizeof close + text.n)) == NULL)
		return E_NOMEM;
	memcpy(out, open, sizeof open - 1);
	memcpy(out + sizeof open - 1, text.p, text.n);
	memcpy(out + sizeof open - 1 + text.n, close, sizeof close - 1);
	if ((w = shape_text_part(s, (struct span){out, sizeof open + sizeof close - 2 + text.n})) ==
	    NULL)
		return E_NOMEM;
	for (p = TAILQ_FIRST(&t->parts); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->kind == PART_TEXT)
			TAILQ_REMOVE(&t->parts, p, link);
	}
	TAILQ_INSERT_HEAD(&t->parts, w, link);
	return 0;
}

static bool
may_stay(const struct shaping *s, const struct canon_turn *t)
{
	const struct canon_turn *before = TAILQ_PREV(t, canon_turns, link);

	if (!s->want.wrap_system)
		return true;
	return s->p->dialect == DIALECT_MESSAGES && s->m->mid_system && before != NULL &&
	       (before->role == ROLE_USER || before->role == ROLE_TOOL);
}

/* ---- one, or none ---- */

static int
join_leading(struct shaping *s)
{
	struct canon_turn *first = TAILQ_FIRST(&s->q->turns), *t;
	struct span text;
	struct canon_part *p;

	if (first == NULL || !shape_is_system(first))
		return 0;
	while ((t = TAILQ_NEXT(first, link)) != NULL && shape_is_system(t)) {
		TAILQ_CONCAT(&first->parts, &t->parts, link);
		TAILQ_REMOVE(&s->q->turns, t, link);
	}
	if ((text = canon_join(s->a, &first->parts, "\n\n")).p == NULL)
		return 0;
	if ((p = shape_text_part(s, text)) == NULL)
		return E_NOMEM;
	TAILQ_INIT(&first->parts);
	TAILQ_INSERT_TAIL(&first->parts, p, link);
	return 0;
}

/* In front of what the user says first. */
static int
give_to_user(struct shaping *s)
{
	struct canon_turn *first = TAILQ_FIRST(&s->q->turns), *user;

	if (first == NULL || !shape_is_system(first))
		return 0;
	for (user = first; user != NULL && user->role != ROLE_USER;)
		user = TAILQ_NEXT(user, link);
	if (user == NULL) {
		first->role = ROLE_USER;
		return 0;
	}
	TAILQ_REMOVE(&s->q->turns, first, link);
	TAILQ_CONCAT(&first->parts, &user->parts, link);
	TAILQ_CONCAT(&user->parts, &first->parts, link);
	return 0;
}

int
shape_system(struct shaping *s)
{
	struct canon_turn *t;
	bool leading = true;
	int r = 0;

	TAILQ_FOREACH (t, &s->q->turns, link) {
		leading = leading && shape_is_system(t);
		if (!shape_is_system(t))
			continue;
		if (!s->p->anthropic)
			cut_billing(t);
		if (leading || may_stay(s, t))
			t->role = role_of(s, t, leading);
		else if ((r = wrap(s, t)) != 0)
			return r;
	}
	shape_bare_turns(s);
	if (s->p->single_system || s->m->no_system_role)
		r = join_leading(s);
	if (r == 0 && s->m->no_system_role)
		r = give_to_user(s);
	return r;
}

/* What stood behind a turn that is gone may have lost its place. */
int
shape_system_late(struct shaping *s)
{
	struct canon_turn *t;
	bool leading = true;
	int r;

	TAILQ_FOREACH (t, &s->q->turns, link) {
		leading = leading && shape_is_system(t);
		if (!leading && shape_is_system(t) && !may_stay(s, t) && (r = wrap(s, t)) != 0)
			return r;
	}
	return 0;
}

/* ---- what the gateway has to say itself ---- */

static struct canon_turn *
last_leading(const struct shaping *s)
{
	struct canon_turn *t, *last = NULL;

	TAILQ_FOREACH (t, &s->q->turns, link) {
		if (!shape_is_system(t))
			break;
		last = t;
	}
	return last;
}

static int
add_turn(struct shaping *s, struct span text)
{
	enum canon_role role = ROLE_SYSTEM;
	struct canon_turn *t;

	if ((t = shape_text_turn(s, role, text)) == NULL)
		return E_NOMEM;
	t->role = role_of(s, t, true);
	TAILQ_INSERT_HEAD(&s->q->turns, t, link);
	return 0;
}

/* Blocks stay apart where there are any: what was cached of the system text stays as it was. */
int
shape_system_add(struct shaping *s, struct span text)
{
	struct canon_turn *t = last_leading(s);
	struct canon_part *p, *last;
	const char *joined;

	if (s->m->no_system_role) {
		t = TAILQ_FIRST(&s->q->turns);
		if (t == NULL || t->role != ROLE_USER) {
			if ((t = shape_text_turn(s, ROLE_USER, text)) == NULL)
				return E_NOMEM;
			TAILQ_INSERT_HEAD(&s->q->turns, t, link);
			return 0;
		}
	} else if (t == NULL) {
		return add_turn(s, text);
	}
	last = TAILQ_LAST(&t->parts, canon_parts);
	if (!s->want.top_system && !s->m->no_system_role && last != NULL &&
	    last->kind == PART_TEXT) {
		size_t n = last->text.n + 2 + text.n;
		char *out = arena_alloc(s->a, n);

		if ((joined = out) == NULL)
			return E_NOMEM;
		memcpy(out, last->text.p, last->text.n);
		memcpy(out + last->text.n, "\n\n", 2);
		memcpy(out + last->text.n + 2, text.p, text.n);
		last->text = (struct span){joined, n};
		return 0;
	}
	if ((p = shape_text_part(s, text)) == NULL)
		return E_NOMEM;
	if (s->m->no_system_role)
		TAILQ_INSERT_HEAD(&t->parts, p, link);
	else
		TAILQ_INSERT_TAIL(&t->parts, p, link);
	return 0;
}
