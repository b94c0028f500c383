/* The copy that shaping works on: turns, parts and tools anew, what they point to shared. */
#include <stdio.h>

#include "proto/shape_own.h"
#include "shared/err.h"

struct place {
	uint32_t turn, item;
	bool in_result;
};

static int copy_parts(
    struct shaping *s, const struct canon_parts *from, struct canon_parts *to, struct place at);

static int
copy_part(struct shaping *s, const struct canon_part *from, struct canon_parts *to, struct place at)
{
	struct shape_part *c = arena_alloc(s->a, sizeof *c);

	if (c == NULL)
		return E_NOMEM;
	*c = (struct shape_part){
	    .part = *from, .turn = at.turn, .item = at.item, .in_result = at.in_result};
	if (TAILQ_EMPTY(&from->annotations))
		TAILQ_INIT(&c->part.annotations);
	TAILQ_INIT(&c->part.content);
	TAILQ_INSERT_TAIL(to, &c->part, link);
	at.in_result = true;
	return copy_parts(s, &from->content, &c->part.content, at);
}

/* Results hold no results: more levels than that cannot be said in any dialect. */
static int
copy_parts(
    struct shaping *s, const struct canon_parts *from, struct canon_parts *to, struct place at)
{
	const struct canon_part *p;
	bool nested = at.in_result;
	int r;

	TAILQ_FOREACH (p, from, link) {
		if (nested && p->kind == PART_TOOL_RESULT)
			continue;
		if ((r = copy_part(s, p, to, at)) != 0)
			return r;
		if (!nested)
			at.item++;
	}
	return 0;
}

static int
copy_turns(struct shaping *s)
{
	const struct canon_turn *t;
	struct canon_turn *c;
	struct place at = {0};
	bool top = s->asked->from != DIALECT_CHAT;
	int r;

	TAILQ_INIT(&s->q->turns);
	TAILQ_FOREACH (t, &s->asked->turns, link) {
		if ((c = arena_alloc(s->a, sizeof *c)) == NULL)
			return E_NOMEM;
		*c = *t;
		TAILQ_INIT(&c->parts);
		at.item = 0;
		if ((r = copy_parts(s, &t->parts, &c->parts, at)) != 0)
			return r;
		TAILQ_INSERT_TAIL(&s->q->turns, c, link);
		/* system text at the top is no message; Chat has a message for each result */
		top = top && shape_is_system(t);
		if (s->asked->from == DIALECT_CHAT && t->role == ROLE_TOOL)
			at.turn += at.item;
		else if (!top)
			at.turn++;
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
