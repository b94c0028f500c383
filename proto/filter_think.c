/*
 * <think>…</think> at the start of an answer becomes reasoning (spec 8.6).
 *
 *   START ──opening tag──► INSIDE ──closing tag──► GAP ──first other character──► PLAIN
 *     └──────────── anything else, or reasoning of its own ──────────────────────►┘
 *
 * With `implied` it starts INSIDE. Whatever could still be a tag is held back, so that the cuts of
 * the stream do not matter.
 */
#include <string.h>

#include "proto/filter_own.h"
#include "shared/err.h"

#define REASONING 0x80000000u /* number of the reasoning that came out of a text */

static const char *const names[] = {"think>", "thinking>", "reasoning>", "thought>"};

enum think_state { THINK_START, THINK_INSIDE, THINK_GAP, THINK_PLAIN };

struct think_choice {
	struct think_choice *next;
	uint32_t choice;
	enum think_state state;
	bool implied;           /* begun without a tag, and no end of it was seen yet */
	bool fresh;             /* INSIDE, and the implied opening tag may still come */
	bool other;             /* a call, a text or anything else was said, too */
	unsigned name;          /* of the tag that is open */
	bool thinking;          /* its part is open */
	bool texting;           /* the text part is open */
	struct buf *held, *all; /* all: the thought, in case that it turns out to be the answer */
	uint32_t part;
	const struct canon_part *meta; /* of the text */
};

struct think {
	struct filters *f;
	struct canon_sink next;
	enum profile_tags tags;
	struct think_choice *choices;
	struct canon_part *meta; /* of the reasoning */
};

static struct think_choice *
choice_of(struct think *t, uint32_t choice)
{
	struct think_choice *c;

	for (c = t->choices; c != NULL; c = c->next)
		if (c->choice == choice)
			return c;
	if ((c = arena_zalloc(t->f->arena, 1, sizeof *c)) == NULL ||
	    (c->held = filter_buf(t->f)) == NULL || (c->all = filter_buf(t->f)) == NULL)
		return NULL;
	c->choice = choice;
	if (t->tags == TAGS_IMPLIED) {
		c->state = THINK_INSIDE;
		c->implied = c->fresh = true;
	}
	c->next = t->choices;
	t->choices = c;
	return c;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static size_t
spaces(const struct buf *b)
{
	size_t n = 0;

	while (n < b->len && is_space(b->data[n]))
		n++;
	return n;
}

/* ---- out ---- */

static int
say_text(struct think *t, struct think_choice *c, struct span text)
{
	int r = 0;

	if (text.n == 0)
		return 0;
	if (!c->texting) {
		c->texting = c->other = true;
		r = filter_open(&t->next, c->choice, c->part, c->meta);
	}
	return r == 0 ? filter_text(&t->next, c->choice, c->part, text) : r;
}

static int
say_thought(struct think *t, struct think_choice *c, struct span text)
{
	int r = 0;

	if (text.n == 0)
		return 0;
	if (c->implied && (r = buf_add(c->all, text.p, text.n)) != 0)
		return r;
	if (!c->thinking) {
		c->thinking = true;
		r = filter_open(&t->next, c->choice, c->part | REASONING, t->meta);
	}
	return r == 0 ? filter_text(&t->next, c->choice, c->part | REASONING, text) : r;
}

static int
end_thought(struct think *t, struct think_choice *c)
{
	if (!c->thinking)
		return 0;
	c->thinking = false;
	return filter_close(&t->next, c->choice, c->part | REASONING);
}

/* ---- tags ---- */

enum match { MATCH_NONE, MATCH_MAYBE, MATCH_TAG };

/* What p begins with. */
static enum match
match(struct span p, const char *before, unsigned *name, size_t *n)
{
	size_t head = strlen(before);
	enum match m = MATCH_NONE;

	if (p.n < head)
		return memcmp(p.p, before, p.n) == 0 ? MATCH_MAYBE : MATCH_NONE;
	if (memcmp(p.p, before, head) != 0)
		return MATCH_NONE;
	for (unsigned i = 0; i < NELEM(names); i++) {
		size_t len = strlen(names[i]), have = MIN(p.n - head, len);

		if (memcmp(p.p + head, names[i], have) != 0)
			continue;
		if (have < len) {
			m = MATCH_MAYBE;
			continue;
		}
		*name = i;
		*n = head + len;
		return MATCH_TAG;
	}
	return m;
}

/* The closing tag of the open one, or how much of the end may be its beginning. */
static bool
find_close(const struct buf *b, unsigned name, size_t *at, size_t *n)
{
	char tag[16] = "</";
	const char *found;
	size_t keep;

	strcpy(tag + 2, names[name]);
	*n = strlen(tag);
	if ((found = memmem(b->data, b->len, tag, *n)) != NULL) {
		*at = (size_t)(found - b->data);
		return true;
	}
	for (keep = MIN(*n - 1, b->len); keep > 0; keep--)
		if (memcmp(b->data + b->len - keep, tag, keep) == 0)
			break;
	*at = b->len - keep;
	return false;
}

/* Each step takes something from the front of `held` and tells whether it can go on. */
static int
step_start(struct think_choice *c, bool *more)
{
	size_t from = spaces(c->held), n = 0;
	struct span rest = {c->held->data + from, c->held->len - from};
	unsigned name = 0;
	enum match open, close;

	*more = false;
	if (rest.n == 0)
		return 0;
	open = match(rest, "<", &name, &n);
	if (open == MATCH_TAG) {
		c->name = name;
		c->state = THINK_INSIDE;
		buf_drop(c->held, from + n);
		*more = true;
		return 0;
	}
	close = match(rest, "</", &name, &n);
	if (close == MATCH_TAG) { /* an orphan */
		c->state = THINK_GAP;
		buf_drop(c->held, from + n);
		*more = true;
		return 0;
	}
	if (open == MATCH_MAYBE || close == MATCH_MAYBE)
		return 0;
	c->state = THINK_PLAIN;
	*more = true;
	return 0;
}

/* The opening tag that the template has said already, said again. */
static bool
skip_opening(struct think_choice *c)
{
	size_t from = spaces(c->held), n = 0;
	struct span rest = {c->held->data + from, c->held->len - from};
	unsigned name = 0;
	enum match m = rest.n == 0 ? MATCH_MAYBE : match(rest, "<", &name, &n);

	if (m == MATCH_MAYBE)
		return false;
	if (m == MATCH_TAG) {
		c->name = name;
		buf_drop(c->held, from + n);
	}
	c->fresh = false;
	return true;
}

static int
step_inside(struct think *t, struct think_choice *c, bool *more)
{
	size_t at, n;
	bool closed;
	int r;

	*more = false;
	if (c->fresh && !skip_opening(c))
		return 0;
	closed = find_close(c->held, c->name, &at, &n);
	r = say_thought(t, c, (struct span){c->held->data, at});
	buf_drop(c->held, closed ? at + n : at);
	if (!closed || r != 0)
		return r;
	c->implied = false;
	c->state = THINK_GAP;
	*more = true;
	return end_thought(t, c);
}

static int
step(struct think *t, struct think_choice *c, bool *more)
{
	size_t n;
	int r;

	switch (c->state) {
	case THINK_START:
		return step_start(c, more);
	case THINK_INSIDE:
		return step_inside(t, c, more);
	case THINK_GAP:
		n = spaces(c->held);
		buf_drop(c->held, n);
		if ((*more = c->held->len > 0))
			c->state = THINK_PLAIN;
		return 0;
	default:
		*more = false;
		r = say_text(t, c, (struct span){c->held->data, c->held->len});
		buf_reset(c->held);
		return r;
	}
}

static int
take_text(struct think *t, struct think_choice *c, struct span text)
{
	bool more = true;
	int r;

	if (c->state == THINK_PLAIN && c->held->len == 0)
		return say_text(t, c, text);
	r = text.n > 0 ? buf_add(c->held, text.p, text.n) : 0;
	while (r == 0 && more && c->held->len > 0)
		r = step(t, c, &more);
	return r;
}

/* The text is over: what was held back is what it looks like. */
static int
end_text(struct think *t, struct think_choice *c)
{
	struct span rest = {c->held->data, c->held->len};
	int r;

	if (c->state == THINK_INSIDE)
		r = say_thought(t, c, rest);
	else
		r = c->state == THINK_GAP ? 0 : say_text(t, c, rest);
	buf_reset(c->held);
	if (r == 0)
		r = end_thought(t, c);
	if (r == 0 && c->texting)
		r = filter_close(&t->next, c->choice, c->part);
	c->texting = false;
	c->meta = NULL;
	if (c->state != THINK_GAP)
		c->state = THINK_PLAIN;
	return r;
}

/* No end of the thought was ever seen, and nothing else: it was the answer. */
static int
take_finish(struct think *t, struct think_choice *c, const struct canon_event *ev)
{
	int r = 0;

	if (c->implied && !c->other && c->all->len > 0) {
		struct canon_part *meta = canon_part_new(t->f->arena, PART_TEXT);

		if (meta == NULL)
			return E_NOMEM;
		r = filter_open(&t->next, c->choice, REASONING - 1, meta);
		if (r == 0)
			r = filter_text(&t->next, c->choice, REASONING - 1,
			    (struct span){c->all->data, c->all->len});
		if (r == 0)
			r = filter_close(&t->next, c->choice, REASONING - 1);
	}
	c->implied = false;
	return r == 0 ? filter_send(&t->next, ev) : r;
}

static int
take_open(struct think *t, struct think_choice *c, const struct canon_event *ev)
{
	int r = c->meta != NULL ? end_text(t, c) : 0;

	if (r != 0)
		return r;
	if (ev->meta->kind == PART_TEXT && c->state != THINK_PLAIN) {
		c->part = ev->part;
		c->meta = ev->meta;
		return 0;
	}
	c->state = THINK_PLAIN;
	if (ev->meta->kind == PART_REASONING)
		c->implied = false;
	else
		c->other = true;
	return filter_send(&t->next, ev);
}

static int
think_take(void *ctx, const struct canon_event *ev)
{
	struct think *t = ctx;
	struct think_choice *c;

	if (ev->type == EVENT_BEGIN || ev->type == EVENT_USAGE || ev->type == EVENT_IDLE ||
	    ev->type == EVENT_FAIL || ev->type == EVENT_END)
		return filter_send(&t->next, ev);
	if ((c = choice_of(t, ev->choice)) == NULL)
		return E_NOMEM;
	if (ev->type == EVENT_OPEN)
		return take_open(t, c, ev);
	if (ev->type == EVENT_FINISH)
		return take_finish(t, c, ev);
	if (ev->type == EVENT_LOGPROBS || c->meta == NULL || ev->part != c->part)
		return filter_send(&t->next, ev);
	if (ev->type == EVENT_DELTA)
		return take_text(t, c, ev->text);
	if (ev->type == EVENT_CLOSE)
		return end_text(t, c);
	return c->texting ? filter_send(&t->next, ev) : 0;
}

int
filter_think(struct filters *f, enum profile_tags tags)
{
	struct think *t = arena_zalloc(f->arena, 1, sizeof *t);

	if (t == NULL || (t->meta = canon_part_new(f->arena, PART_REASONING)) == NULL)
		return E_NOMEM;
	t->f = f;
	t->tags = tags;
	t->next = f->head;
	f->head = (struct canon_sink){think_take, t};
	return 0;
}
