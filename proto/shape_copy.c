/* The copy that shaping works on: turns, parts and tools anew, what they point to shared. */
#include <stdio.h>

#include "proto/shape_own.h"
#include "shared/err.h"

struct place {
	uint32_t turn, item;
	bool in_result;
};

static int copy_part(struct shaping *s, const struct canon_part *from, struct canon_parts *to,
    const struct place *at);

/* Results hold no results: more levels than that cannot be said in any dialect. */
static int
copy_content(
    struct shaping *s, const struct canon_part *from, struct canon_part *to, const struct place *at)
{
	struct place inside = {.turn = at->turn, .item = at->item, .in_result = true};
	const struct canon_part *p;
	int r;

	TAILQ_INIT(&to->content);
	if (at->in_result)
		return 0;
	TAILQ_FOREACH (p, &from->content, link)
		if (p->kind != PART_TOOL_RESULT &&
		    (r = copy_part(s, p, &to->content, &inside)) != 0)
			return r;
	return 0;
}

static int
copy_part(struct shaping *s, const struct canon_part *from, struct canon_parts *to,
    const struct place *at)
{
	struct shape_part *c = arena_alloc(s->a, sizeof *c);

	if (c == NULL)
		return E_NOMEM;
	*c = (struct shape_part){
	    .part = *from, .turn = at->turn, .item = at->item, .in_result = at->in_result};
	if (TAILQ_EMPTY(&from->annotations))
		TAILQ_INIT(&c->part.annotations);
	TAILQ_INSERT_TAIL(to, &c->part, link);
	return copy_content(s, from, &c->part, at);
}

static int
copy_parts(
    struct shaping *s, const struct canon_parts *from, struct canon_parts *to, struct place *at)
{
	const struct canon_part *p;
	int r;

	TAILQ_FOREACH (p, from, link) {
		if ((r = copy_part(s, p, to, at)) != 0)
			return r;
		at->item++;
	}
	return 0;
}

/* Parts of an assistant's turn that are items of their own at Responses; a run of the others is one
 * message. */
static uint32_t
items_of(const struct canon_turn *t)
{
	const struct canon_part *p;
	uint32_t items = 0;
	bool message = false;

	TAILQ_FOREACH (p, &t->parts, link) {
		bool content = p->kind == PART_TEXT || p->kind == PART_REFUSAL;

		items += !content || !message;
		message = content;
	}
	return items;
}

/* How many of the client's messages (items, contents) a turn was; results and the text behind them
 * may be one. */
static uint32_t
messages_of(const struct shaping *s, const struct canon_turn *t, bool top)
{
	const struct canon_turn *next = TAILQ_NEXT(t, link);

	switch (s->asked->from) {
	case DIALECT_CHAT:
		return t->role == ROLE_TOOL ? items_of(t) : 1;
	case DIALECT_RESPONSES:
		if (t == TAILQ_FIRST(&s->asked->turns) && top &&
		    json_want(s->asked->root, "instructions") != NULL)
			return 0;
		return t->role == ROLE_TOOL || t->role == ROLE_ASSISTANT ? items_of(t) : 1;
	default:
		return !top && !(t->role == ROLE_TOOL && next != NULL && next->role == ROLE_USER);
	}
}

static int
copy_turns(struct shaping *s)
{
	const struct canon_turn *t;
	struct canon_turn *c;
	struct place at = {0};
	bool top = true;
	uint32_t n;
	int r;

	TAILQ_INIT(&s->q->turns);
	TAILQ_FOREACH (t, &s->asked->turns, link) {
		if ((c = arena_alloc(s->a, sizeof *c)) == NULL)
			return E_NOMEM;
		*c = *t;
		TAILQ_INIT(&c->parts);
		if ((r = copy_parts(s, &t->parts, &c->parts, &at)) != 0)
			return r;
		TAILQ_INSERT_TAIL(&s->q->turns, c, link);
		top = top && shape_is_system(t);
		n = messages_of(s, t, top);
		at.turn += n;
		if (n > 0 || top)
			at.item = 0;
	}
	return 0;
}

static int
copy_tools(struct shaping *s)
{
	const struct canon_tool *t;
	struct canon_tool *c;

	TAILQ_INIT(&s->q->tools);
	TAILQ_FOREACH (t, &s->asked->tools, link) {
		if ((c = arena_alloc(s->a, sizeof *c)) == NULL)
			return E_NOMEM;
		*c = *t;
		TAILQ_INSERT_TAIL(&s->q->tools, c, link);
	}
	return 0;
}

int
shape_copy(struct shaping *s)
{
	int r;

	if ((s->q = arena_alloc(s->a, sizeof *s->q)) == NULL)
		return E_NOMEM;
	*s->q = *s->asked;
	r = copy_turns(s);
	return r != 0 ? r : copy_tools(s);
}

/* ---- where a part stood ---- */

static const struct {
	const char *turns, *parts;
} words[DIALECTS] = {
    [DIALECT_CHAT] = {"messages", "content"},
    [DIALECT_RESPONSES] = {"input", "content"},
    [DIALECT_MESSAGES] = {"messages", "content"},
    [DIALECT_GEMINI] = {"contents", "parts"},
};

const char *
shape_path(const struct shaping *s, const struct canon_part *p)
{
	const struct shape_part *c = (const struct shape_part *)p;
	enum dialect_id from = s->asked->from;
	const char *path = NULL;

	if (words[from].turns != NULL)
		path = c->in_result && from == DIALECT_CHAT
			   ? arena_printf(s->a, "%s[%u].%s", words[from].turns, c->turn + c->item,
				 words[from].parts)
			   : arena_printf(s->a, "%s[%u].%s[%u]", words[from].turns, c->turn,
				 words[from].parts, c->item);
	return path != NULL ? path : "";
}
