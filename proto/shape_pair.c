/*
 * Calls and their results (spec translation 5.3): each assistant turn with calls is a round; the
 * tool turn right behind it holds one result for each of its calls, in their order, wherever the
 * results stood. Linear: calls are found by their id, or by their name where a dialect has no ids,
 * through a table.
 */
#include <stdio.h>
#include <string.h>

#include "proto/shape_own.h"
#include "shared/digest.h"
#include "shared/err.h"

#define NO_RESULT "(no result recorded for this tool call)"

struct call {
	struct call *next; /* of all, in order */
	struct call *twin; /* next in the round with the same id or name */
	struct call *name_twin;
	struct canon_part *part, *result;
	struct canon_turn *turn;
};

/* Calls of one round that share an id (or a name); of older rounds with the same key nothing is
 * kept. */
struct group {
	struct group *next;
	struct span key;
	bool by_name;
	const struct canon_turn *turn;
	struct call *first, *last,
	    *open;     /* open: the first that has no result, or one in front of it */
	uint32_t used; /* how often the id was given away */
};

struct pairing {
	struct shaping *s;
	struct group **table;
	size_t mask;
	struct call *calls, **end;
	uint32_t made;
};

/* ---- the table ---- */

/* Not to be steered by who chooses the ids. */
static size_t
hash(struct span key)
{
	uint8_t sum[SHA256_BYTES];
	uint64_t h;

	digest_sha256(&key, 1, sum);
	memcpy(&h, sum, sizeof h);
	return (size_t)h;
}

static struct group *
find_in(struct group *g, struct span key, bool by_name)
{
	while (g != NULL && (g->by_name != by_name || !span_same(g->key, key)))
		g = g->next;
	return g;
}

static struct group *
find(const struct pairing *p, struct span key, bool by_name)
{
	return find_in(p->table[hash(key) & p->mask], key, by_name);
}

static struct group *
find_or_add(struct pairing *p, struct span key, bool by_name)
{
	struct group **at = &p->table[hash(key) & p->mask], *g = find_in(*at, key, by_name);

	if (g != NULL || (g = arena_zalloc(p->s->a, 1, sizeof *g)) == NULL)
		return g;
	g->key = key;
	g->by_name = by_name;
	g->next = *at;
	*at = g;
	return g;
}

static int
make_table(struct pairing *p)
{
	const struct canon_turn *t;
	const struct canon_part *c;
	size_t n = 16, calls = 0;

	TAILQ_FOREACH (t, &p->s->q->turns, link)
		TAILQ_FOREACH (c, &t->parts, link)
			calls += c->kind == PART_TOOL_CALL;
	while (n < 2 * calls)
		n *= 2;
	p->mask = n - 1;
	p->table = arena_zalloc(p->s->a, n, sizeof(struct group *));
	return p->table == NULL ? E_NOMEM : 0;
}

/* ---- reading the conversation ---- */

static int
add_to_group(struct pairing *p, struct call *c, struct span key, bool by_name)
{
	struct group *g = find_or_add(p, key, by_name);

	if (g == NULL)
		return E_NOMEM;
	if (g->turn != c->turn) {
		g->turn = c->turn;
		g->first = g->open = c;
	} else if (by_name) {
		g->last->name_twin = c;
	} else {
		g->last->twin = c;
	}
	g->last = c;
	return 0;
}

static int
add_call(struct pairing *p, struct canon_turn *t, struct canon_part *part)
{
	struct call *c = arena_zalloc(p->s->a, 1, sizeof *c);
	int r;

	if (c == NULL)
		return E_NOMEM;
	c->part = part;
	c->turn = t;
	*p->end = c;
	p->end = &c->next;
	if (part->id.n > 0 && (r = add_to_group(p, c, part->id, false)) != 0)
		return r;
	return add_to_group(p, c, part->name, true);
}

/* Two results for one call: the last one counts. */
static bool
add_result(struct pairing *p, struct canon_part *result)
{
	bool by_name = result->id.n == 0;
	struct group *g = find(p, by_name ? result->name : result->id, by_name);

	if (g == NULL || g->first == NULL)
		return false;
	while (g->open != NULL && g->open->result != NULL)
		g->open = by_name ? g->open->name_twin : g->open->twin;
	*(g->open != NULL ? &g->open->result : &g->last->result) = result;
	return true;
}

/* ---- orphans ---- */

/* What it found must not be lost, though the call cannot be replayed. */
static int
orphan(struct shaping *s, struct canon_parts *list, struct canon_part *result)
{
	struct span text = canon_join(s->a, &result->content, "\n\n"), name = result->name;
	struct canon_part *said = NULL, *p, *next;
	char *out;
	int n;

	if (name.n == 0)
		name = result->id;
	if (text.n > 0) {
		size_t room = text.n + MIN(name.n, 256) + 32;

		if ((out = arena_alloc(s->a, room)) == NULL)
			return E_NOMEM;
		n = snprintf(out, room, "Result of tool %.*s: ", (int)MIN(name.n, 256),
		    name.n > 0 ? name.p : "");
		memcpy(out + n, text.p, text.n);
		if ((said = shape_text_part(s, (struct span){out, (size_t)n + text.n})) == NULL)
			return E_NOMEM;
		TAILQ_INSERT_BEFORE(result, said, link);
	}
	for (p = TAILQ_FIRST(&result->content); p != NULL; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->kind != PART_TEXT) {
			TAILQ_REMOVE(&result->content, p, link);
			TAILQ_INSERT_BEFORE(result, p, link);
		}
	}
	TAILQ_REMOVE(list, result, link);
	return 0;
}

static int
read_turn(struct pairing *p, struct canon_turn *t)
{
	struct canon_part *part, *next;
	int r = 0;

	for (part = TAILQ_FIRST(&t->parts); part != NULL && r == 0; part = next) {
		next = TAILQ_NEXT(part, link);
		if (part->kind == PART_TOOL_CALL) {
			if (t->role == ROLE_ASSISTANT)
				r = add_call(p, t, part);
			else
				TAILQ_REMOVE(&t->parts, part, link);
		} else if (part->kind == PART_TOOL_RESULT) {
			if (add_result(p, part))
				TAILQ_REMOVE(&t->parts, part, link);
			else
				r = orphan(p->s, &t->parts, part);
		}
	}
	if (t->role == ROLE_TOOL && !TAILQ_EMPTY(&t->parts))
		t->role = ROLE_USER;
	return r;
}

/* ---- writing it ---- */

/* Ids are unique over the conversation; twins get a number behind, the same one in every later
 * request. */
static int
name_once(struct pairing *p, struct call *c)
{
	struct span id = c->part->id;
	struct group *g, *other;
	char *text;

	if (id.n == 0) {
		if ((text = arena_printf(p->s->a, "call_%024x", p->made++)) == NULL)
			return E_NOMEM;
		id = span_of(text);
	}
	if ((g = other = find_or_add(p, id, false)) == NULL)
		return E_NOMEM;
	while (other->used > 0) { /* the next number is kept: many twins cost no search */
		struct span twin;

		if ((text = arena_alloc(p->s->a, id.n + 12)) == NULL)
			return E_NOMEM;
		memcpy(text, id.p, id.n);
		twin.n = id.n + (size_t)snprintf(text + id.n, 12, "_%u", ++g->used);
		twin.p = text;
		if ((other = find_or_add(p, twin, false)) == NULL)
			return E_NOMEM;
		c->part->id = twin;
	}
	if (other == g)
		c->part->id = id;
	other->used = 1;
	return 0;
}

static struct canon_part *
no_result(struct shaping *s)
{
	struct canon_part *p = canon_part_new(s->a, PART_TOOL_RESULT),
			  *text = shape_text_part(s, span_of(NO_RESULT));

	if (p == NULL || text == NULL)
		return NULL;
	TAILQ_INSERT_TAIL(&p->content, text, link);
	p->is_error = true;
	return p;
}

static int
put_result(struct pairing *p, struct call *c, struct canon_turn *tools)
{
	int r;

	if (c->result == NULL && (c->result = no_result(p->s)) == NULL)
		return E_NOMEM;
	if ((r = name_once(p, c)) != 0)
		return r;
	c->result->id = c->part->id;
	c->result->name = c->part->name;
	c->result->namespace = c->part->namespace;
	c->result->custom = c->part->custom;
	TAILQ_INSERT_TAIL(&tools->parts, c->result, link);
	return 0;
}

static int
put_rounds(struct pairing *p)
{
	struct canon_turn *tools = NULL, *turn = NULL;
	int r = 0;

	for (struct call *c = p->calls; c != NULL && r == 0; c = c->next) {
		if (c->turn != turn) {
			turn = c->turn;
			if ((tools = canon_turn_new(p->s->a, ROLE_TOOL)) == NULL)
				return E_NOMEM;
			TAILQ_INSERT_AFTER(&p->s->q->turns, turn, tools, link);
		}
		r = put_result(p, c, tools);
	}
	return r;
}

int
shape_pair(struct shaping *s)
{
	struct pairing p = {.s = s};
	struct canon_turn *t;
	int r;

	if (s->same && !s->p->alternation && !s->p->tool_name && s->p->ids == IDS_ANY)
		return 0;
	p.end = &p.calls;
	if ((r = make_table(&p)) != 0)
		return r;
	TAILQ_FOREACH (t, &s->q->turns, link)
		if ((r = read_turn(&p, t)) != 0)
			return r;
	r = put_rounds(&p);
	shape_bare_turns(s);
	return r;
}
