/* The choice among tools, and what becomes of it where the target has no such choice (spec
 * translation 6.2). */
#include <string.h>

#include "proto/shape_own.h"
#include "shared/err.h"

#define NO_CALLS "Do not call tools in this reply."

#define ALLOWED_MAX 256 /* longer lists of names do not narrow the tools */

#define EACH_SAFE(it, head, next) \
	for ((it) = TAILQ_FIRST(head); (it) != NULL && ((next) = TAILQ_NEXT(it, link), true); \
	     (it) = (next))

/* What each dialect has. */
static const struct {
	bool automatic, none, forced, named, parallel, allowed;
} choices[DIALECTS] = {
    [DIALECT_CHAT] = {true, true, true, true, true, true},
    [DIALECT_RESPONSES] = {true, true, true, true, true, true},
    [DIALECT_MESSAGES] = {true, true, true, true, true, false},
    [DIALECT_GEMINI] = {true, true, true, true, false, true},
    [DIALECT_COHERE] = {false, true, true, false, false, false},
    [DIALECT_OLLAMA] = {false, false, false, false, false, false},
    [DIALECT_CONVERSE] = {true, false, true, true, false, false},
};

static void
set(struct shaping *s, enum canon_choice_kind kind)
{
	s->q->tool_choice = (struct canon_tool_choice){.kind = kind};
}

static bool
is_listed(const struct canon_text_list *l, struct span name)
{
	for (; l != NULL; l = l->next)
		if (span_same(l->text, name))
			return true;
	return false;
}

static bool
is_declared(const struct shaping *s, struct span name)
{
	const struct canon_tool *t;

	TAILQ_FOREACH (t, &s->q->tools, link)
		if (span_same(t->name, name) ||
		    (t->kind != TOOL_FUNCTION && t->kind != TOOL_CUSTOM))
			return true;
	return false;
}

static bool
history_calls(const struct shaping *s, const struct canon_text_list *but)
{
	const struct canon_turn *t;
	const struct canon_part *p;

	TAILQ_FOREACH (t, &s->q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link)
			if (p->kind == PART_TOOL_CALL && !is_listed(but, p->name))
				return true;
	return false;
}

static void
keep_only(struct shaping *s, const struct canon_text_list *names)
{
	struct canon_tool *t, *next;

	EACH_SAFE(t, &s->q->tools, next)
	if (!is_listed(names, t->name))
		TAILQ_REMOVE(&s->q->tools, t, link);
}

/* A tool that an earlier call used stays declared, and then the others do, too. */
static void
settle_allowed(struct shaping *s)
{
	struct canon_tool_choice *c = &s->q->tool_choice;
	const struct canon_text_list *allowed = c->allowed;
	bool any = c->allowed_any;
	unsigned n = 0;

	if (choices[s->p->dialect].allowed &&
	    (s->same || s->p->openai || s->p->dialect == DIALECT_GEMINI))
		return;
	for (const struct canon_text_list *l = allowed; l != NULL && n <= ALLOWED_MAX; l = l->next)
		n++;
	if (n <= ALLOWED_MAX && !history_calls(s, allowed))
		keep_only(s, allowed);
	set(s, any ? CHOICE_ANY : CHOICE_AUTO);
}

static int
settle_none(struct shaping *s)
{
	if (choices[s->p->dialect].none)
		return 0;
	set(s, CHOICE_UNSET);
	if (s->p->dialect == DIALECT_OLLAMA && !history_calls(s, NULL)) {
		TAILQ_INIT(&s->q->tools);
		return 0;
	}
	return shape_system_add(s, span_of(NO_CALLS));
}

/* Where a choice cannot be forced. */
static bool
cannot_force(const struct shaping *s)
{
	bool named = s->q->tool_choice.kind == CHOICE_NAMED;

	if (s->m->no_forced_choice || (s->p->no_named_choice && named) ||
	    (s->p->no_required_choice && !named))
		return true;
	if (!shape_thinks(s))
		return false;
	if (s->p->dialect == DIALECT_MESSAGES)
		return s->q->reasoning.mode == THINK_ON;
	return s->p->dialect == DIALECT_CONVERSE ||
	       (s->p->dialect == DIALECT_CHAT && s->p->reasoning == REASON_ENABLE);
}

static int
settle_forced(struct shaping *s)
{
	struct canon_tool_choice *c = &s->q->tool_choice;

	if (!s->same && c->kind == CHOICE_NAMED && !is_declared(s, c->name))
		return canon_fail(s->a, s->err, ERROR_BAD_REQUEST, "tool_choice",
		    "The tool '%.*s' that was chosen is not among the tools.",
		    (int)MIN(c->name.n, 128), c->name.n > 0 ? c->name.p : "");
	if (!choices[s->p->dialect].forced) {
		set(s, CHOICE_UNSET);
		shape_note(s, DROP_TOOL_CHOICE);
	} else if (cannot_force(s)) {
		set(s, CHOICE_AUTO);
		shape_note(s, DROP_TOOL_CHOICE);
	} else if (c->kind == CHOICE_NAMED && !choices[s->p->dialect].named) {
		struct canon_text_list only = {.text = c->name};

		keep_only(s, &only);
		set(s, CHOICE_ANY);
	}
	return 0;
}

static void
settle_parallel(struct shaping *s)
{
	struct canon_tool_choice *c = &s->q->tool_choice;

	if (s->q->parallel_tools < 0)
		return;
	if (!choices[s->p->dialect].parallel || s->p->no_parallel_tools) {
		if (s->q->parallel_tools == 0)
			shape_note(s, DROP_PARALLEL);
		s->q->parallel_tools = -1;
	} else if (s->p->dialect == DIALECT_MESSAGES) {
		if (c->kind == CHOICE_NONE || s->q->parallel_tools == 1)
			s->q->parallel_tools = -1;
		else if (c->kind == CHOICE_UNSET)
			c->kind = CHOICE_AUTO; /* it is said inside the choice */
	}
}

int
shape_choice(struct shaping *s)
{
	struct canon_tool_choice *c = &s->q->tool_choice;
	int r = 0;

	if (!s->same)
		c->raw = (struct span){NULL, 0};
	if (c->kind == CHOICE_ALLOWED)
		settle_allowed(s);
	if (TAILQ_EMPTY(&s->q->tools)) {
		set(s, CHOICE_UNSET);
		s->q->parallel_tools = -1;
		return 0;
	}
	if (c->kind == CHOICE_NONE)
		r = settle_none(s);
	else if (c->kind == CHOICE_ANY || c->kind == CHOICE_NAMED)
		r = settle_forced(s);
	if (r != 0)
		return r;
	if (c->kind == CHOICE_AUTO && !choices[s->p->dialect].automatic)
		set(s, CHOICE_UNSET);
	settle_parallel(s);
	return 0;
}
