/*
 * Structured output that the target does not have (spec 11): the arguments of a tool that stands
 * for it are the text of the answer, without the {"value": …} that they may be wrapped in; and a
 * Markdown fence around JSON goes.
 */
#include <string.h>

#include "proto/filter_own.h"
#include "proto/scan.h"
#include "shared/err.h"

/* ---- the tool ---- */

struct json_part {
	struct filter_part p;
	struct buf *head; /* what may be the head; NULL: not wrapped, or it is passed */
	bool wrapped, string, escape, ended;
	unsigned depth;
};

struct json_tool {
	struct filters *f;
	struct canon_sink next;
	struct filter_table parts;
	struct canon_part *meta; /* of the text */
};

static const char *const head[] = {"{", "\"value\"", ":"};

/* Up to the brace or comma that ends the value. */
static int
take_value(struct json_tool *t, struct json_part *p, struct span text)
{
	size_t i = 0;

	for (; i < text.n && !p->ended; i++) {
		char c = text.p[i];

		if (p->string) {
			if (p->escape)
				p->escape = false;
			else if (c == '\\')
				p->escape = true;
			else
				p->string = c != '"';
		} else if (c == '"') {
			p->string = true;
		} else if (c == '{' || c == '[') {
			p->depth++;
		} else if (p->depth == 0 && (c == '}' || c == ',')) {
			p->ended = true;
			break;
		} else if (c == '}' || c == ']') {
			p->depth--;
		}
	}
	return filter_text(&t->next, p->p.choice, p->p.number, (struct span){text.p, i});
}

static int
take_arguments(struct json_tool *t, struct json_part *p, struct span text)
{
	size_t n = 0;
	struct span all;
	int r, m;

	if (p->wrapped)
		return p->ended ? 0 : take_value(t, p, text);
	if (p->head == NULL)
		return filter_text(&t->next, p->p.choice, p->p.number, text);
	if (text.n > 0 && (r = buf_add(p->head, text.p, text.n)) != 0)
		return r;
	all = (struct span){p->head->data, p->head->len};
	if ((m = filter_head(head, NELEM(head), all, &n)) == 0)
		return 0;
	p->wrapped = m > 0;
	if (m > 0)
		r = take_value(t, p, (struct span){all.p + n, all.n - n});
	else
		r = filter_text(&t->next, p->p.choice, p->p.number, all);
	buf_clear(p->head);
	p->head = NULL;
	return r;
}

static int
json_open(struct json_tool *t, const struct canon_event *ev)
{
	struct json_part *p;

	if (ev->meta->kind != PART_TOOL_CALL || !span_same(ev->meta->name, t->f->shaped->json_tool))
		return filter_send(&t->next, ev);
	if ((p = filter_part_add(t->f->arena, &t->parts, sizeof *p, ev)) == NULL)
		return E_NOMEM;
	if (t->f->shaped->json_value && (p->head = filter_buf(t->f)) == NULL)
		return E_NOMEM;
	return filter_open(&t->next, ev->choice, ev->part, t->meta);
}

static int
json_take(void *ctx, const struct canon_event *ev)
{
	struct json_tool *t = ctx;
	struct json_part *p;
	int r = 0;

	if (ev->type == EVENT_OPEN)
		return json_open(t, ev);
	if ((ev->type != EVENT_DELTA && ev->type != EVENT_CLOSE && ev->type != EVENT_SIGN) ||
	    (p = filter_part_find(&t->parts, ev->part)) == NULL)
		return filter_send(&t->next, ev);
	if (ev->type == EVENT_SIGN) /* of a call that the client never sees */
		return 0;
	if (ev->type == EVENT_DELTA)
		return take_arguments(t, p, ev->text);
	if (p->head != NULL && p->head->len > 0)
		r = filter_text(
		    &t->next, p->p.choice, p->p.number, (struct span){p->head->data, p->head->len});
	return r == 0 ? filter_send(&t->next, ev) : r;
}

int
filter_json_tool(struct filters *f)
{
	struct json_tool *t = arena_zalloc(f->arena, 1, sizeof *t);

	if (t == NULL || (t->meta = canon_part_new(f->arena, PART_TEXT)) == NULL)
		return E_NOMEM;
	t->f = f;
	t->next = f->head;
	f->head = (struct canon_sink){json_take, t};
	return 0;
}

/* ---- the fence ---- */

enum fence_state { FENCE_START, FENCE_INSIDE, FENCE_PLAIN };

struct fence_part {
	struct filter_part p;
	enum fence_state state;
	struct buf *held;
};

struct fence {
	struct filters *f;
	struct canon_sink next;
	struct filter_table parts;
};

/* 1: an opening fence, *n bytes with its line end; 0: it may become one; -1: it is none. */
static int
match_fence(struct span s, size_t *n)
{
	size_t i = filter_skip_space(s, 0), ticks = 0, word = 0;

	while (i < s.n && ticks < 3 && s.p[i] == '`') {
		i++;
		ticks++;
	}
	if (ticks < 3)
		return i < s.n ? -1 : 0;
	while (i < s.n && s.p[i] != '\n') {
		if (++word > 16 || s.p[i] == '`' || s.p[i] == '{' || s.p[i] == '[')
			return -1;
		i++;
	}
	if (i == s.n)
		return 0;
	*n = i + 1;
	return 1;
}

/* From here on it may be the closing fence: white space, up to three ticks, white space, end. */
static size_t
closing(struct span s)
{
	size_t n = s.n;
	unsigned ticks = 0;

	while (n > 0 && (unsigned char)s.p[n - 1] <= ' ')
		n--;
	for (; n > 0 && ticks < 3 && s.p[n - 1] == '`'; ticks++)
		n--;
	while (n > 0 && (unsigned char)s.p[n - 1] <= ' ')
		n--;
	return n;
}

static int
say(struct fence *t, struct fence_part *p, struct span text)
{
	return filter_text(&t->next, p->p.choice, p->p.number, text);
}

static int
step_inside(struct fence *t, struct fence_part *p)
{
	size_t n = closing((struct span){p->held->data, p->held->len});
	int r = say(t, p, (struct span){p->held->data, n});

	buf_drop(p->held, n);
	return r;
}

static int
fence_text(struct fence *t, struct fence_part *p, struct span text)
{
	size_t n = 0;
	int r, m;

	if (p->state == FENCE_PLAIN)
		return say(t, p, text);
	if (text.n > 0 && (r = buf_add(p->held, text.p, text.n)) != 0)
		return r;
	if (t->f->whole)
		return 0;
	if (p->state == FENCE_INSIDE)
		return step_inside(t, p);
	m = match_fence((struct span){p->held->data, p->held->len}, &n);
	if (m == 0)
		return 0;
	if (m > 0) {
		p->state = FENCE_INSIDE;
		buf_drop(p->held, n);
		return step_inside(t, p);
	}
	p->state = FENCE_PLAIN;
	r = say(t, p, (struct span){p->held->data, p->held->len});
	buf_clear(p->held);
	return r;
}

/* The JSON in a whole text: without its fence, or from its first bracket to its last one, if that
 * is JSON. */
static struct span
bare(struct span s)
{
	size_t n = 0, at, from = 0, end = s.n;

	if (match_fence(s, &n) == 1) {
		struct span inner = {s.p + n, s.n - n};
		inner.n = closing(inner);
		return inner;
	}
	while (from < s.n && s.p[from] != '{' && s.p[from] != '[')
		from++;
	while (end > from && s.p[end - 1] != '}' && s.p[end - 1] != ']')
		end--;
	if (from < end && scan_check(s.p + from, end - from, &at) == 0)
		return (struct span){s.p + from, end - from};
	return s;
}

static int
fence_close(struct fence *t, struct fence_part *p)
{
	struct span rest = {p->held->data, p->held->len};
	int r = 0;

	if (t->f->whole && p->state == FENCE_START && rest.n > 0)
		rest = bare(rest);
	else if (p->state == FENCE_INSIDE) {
		/* a fence that was opened is closed, or what looked like its close is text */
		size_t i = filter_skip_space(rest, 0);
		if (rest.n - i >= 3 && memcmp(rest.p + i, "```", 3) == 0)
			rest.n = 0;
	}
	if (p->state != FENCE_PLAIN)
		r = say(t, p, rest);
	buf_clear(p->held);
	p->state = FENCE_PLAIN;
	return r;
}

static int
fence_take(void *ctx, const struct canon_event *ev)
{
	struct fence *t = ctx;
	struct fence_part *p = NULL;
	int r;

	if (ev->type == EVENT_OPEN && ev->meta->kind == PART_TEXT) {
		p = filter_part_add(t->f->arena, &t->parts, sizeof *p, ev);
		if (p == NULL || (p->held = filter_buf(t->f)) == NULL)
			return E_NOMEM;
	} else if ((ev->type == EVENT_DELTA || ev->type == EVENT_CLOSE) &&
		   (p = filter_part_find(&t->parts, ev->part)) != NULL) {
		if (ev->type == EVENT_DELTA)
			return fence_text(t, p, ev->text);
		if ((r = fence_close(t, p)) != 0)
			return r;
	}
	return filter_send(&t->next, ev);
}

int
filter_fence(struct filters *f)
{
	struct fence *t = arena_zalloc(f->arena, 1, sizeof *t);

	if (t == NULL)
		return E_NOMEM;
	t->f = f;
	t->next = f->head;
	f->head = (struct canon_sink){fence_take, t};
	return 0;
}
