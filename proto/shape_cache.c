/* Cache marks (spec translation 12.1): only where they are taken, never more than four, the long
 * ones in front. */
#include "proto/shape_own.h"

#define MARKS_MAX 4

/* Marks in the order of the prompt: tools, system text, messages. */
struct marks {
	struct canon_cache *last_tool, *last_system,
	    *late[2]; /* late[1]: the last block of a message */
	unsigned n;
	bool short_seen;
};

static bool
may_bear(const struct shaping *s, const struct canon_part *p)
{
	return p->kind != PART_REASONING &&
	       !(s->p->dialect == DIALECT_CONVERSE && p->kind == PART_FILE);
}

/* Long-lived marks stand before short-lived ones. */
static void
count(struct marks *m, struct canon_cache *c)
{
	if (!c->set)
		return;
	m->n++;
	if (!span_is(c->ttl, "1h"))
		m->short_seen = true;
	else if (m->short_seen)
		c->ttl = (struct span){NULL, 0};
}

static void
clear(struct canon_cache *c)
{
	*c = (struct canon_cache){0};
}

static void
count_part(struct shaping *s, struct marks *m, const struct canon_turn *t, struct canon_part *p)
{
	struct canon_part *in;

	TAILQ_FOREACH (in, &p->content, link)
		clear(&in->cache);
	if (!s->p->prompt_cache || !may_bear(s, p))
		clear(&p->cache);
	if (!p->cache.set)
		return;
	count(m, &p->cache);
	if (shape_is_system(t)) {
		m->last_system = &p->cache;
	} else {
		m->late[0] = m->late[1];
		m->late[1] = &p->cache;
	}
}

static void
thin(struct shaping *s, const struct marks *m)
{
	struct canon_tool *tool;
	struct canon_turn *t;
	struct canon_part *p;

	TAILQ_FOREACH (tool, &s->q->tools, link)
		if (&tool->cache != m->last_tool)
			clear(&tool->cache);
	TAILQ_FOREACH (t, &s->q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link)
			if (&p->cache != m->last_system && &p->cache != m->late[1] &&
			    (&p->cache != m->late[0] || (s->q->cache.set && m->last_tool != NULL &&
							    m->last_system != NULL)))
				clear(&p->cache);
}

void
shape_cache(struct shaping *s)
{
	struct marks m = {0};
	struct canon_tool *tool;
	struct canon_turn *t;
	struct canon_part *p;

	if (!s->p->prompt_cache || s->p->dialect != DIALECT_MESSAGES)
		clear(&s->q->cache);
	TAILQ_FOREACH (tool, &s->q->tools, link) {
		if (!s->p->prompt_cache || tool->defer_loading)
			clear(&tool->cache);
		if (tool->cache.set)
			m.last_tool = &tool->cache;
		count(&m, &tool->cache);
	}
	TAILQ_FOREACH (t, &s->q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link)
			count_part(s, &m, t, p);
	count(&m, &s->q->cache);
	if (m.n > MARKS_MAX)
		thin(s, &m);
}
