/*
 * One part is open on the wire at a time. A part whose turn has not come has a list of what was
 * said of it; the lists stand in the order in which the parts were opened.
 *
 *   open on the wire │ waiting: its events │ waiting: its events │ …
 */
#include "proto/serial.h"

#include <stdlib.h>
#include <string.h>

#include "shared/err.h"

/* Whether the arguments of a call are one whole JSON object or array by now. */
struct braces {
	unsigned depth;
	bool text, escape, whole;
};

struct held {
	STAILQ_ENTRY(held) link;
	struct canon_event ev;
	struct canon_signature sign;
	size_t size;
	char bytes[]; /* of the text, or of the signature */
};
STAILQ_HEAD(held_list, held);

enum place { PART_WAITS, PART_IS_OPEN, PART_IS_CLOSED };

struct serial_part {
	TAILQ_ENTRY(serial_part) link; /* while it waits */
	struct serial_part *next;      /* of the same bucket */
	uint32_t in, out, choice;
	enum place place;
	const struct canon_part *meta;
	struct braces args;
	struct held_list held;
};
TAILQ_HEAD(waiting, serial_part);

#define BUCKETS 32u

struct serial {
	struct arena *arena;
	struct canon_sink next;
	struct serial_part *buckets[BUCKETS], *open; /* open: on the wire; NULL */
	struct waiting waiting;
	uint32_t opened;
	size_t bytes, max;
	bool over;
};

/* ---- arguments ---- */

static void
braces_add(struct braces *b, struct span text)
{
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];

		if (b->text) {
			if (b->escape)
				b->escape = false;
			else if (c == '\\')
				b->escape = true;
			else
				b->text = c != '"';
		} else if (c == '"') {
			b->text = true;
			b->whole = false;
		} else if (c == '{' || c == '[') {
			b->depth++;
			b->whole = false;
		} else if ((c == '}' || c == ']') && b->depth > 0) {
			b->whole = --b->depth == 0;
		} else if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
			b->whole = false;
		}
	}
}

/* Another part may take its place. */
static bool
can_yield(const struct serial_part *p)
{
	return p->meta->kind != PART_TOOL_CALL || (!p->meta->custom && p->args.whole);
}

/* ---- parts ---- */

static struct serial_part *
find(const struct serial *s, uint32_t in)
{
	struct serial_part *p = s->buckets[in % BUCKETS];

	while (p != NULL && p->in != in)
		p = p->next;
	return p;
}

static struct serial_part *
part_new(struct serial *s, uint32_t in, uint32_t choice, const struct canon_part *meta)
{
	struct serial_part *p = arena_zalloc(s->arena, 1, sizeof *p);

	if (p == NULL)
		return NULL;
	p->in = in;
	p->choice = choice;
	p->meta = meta;
	p->next = s->buckets[in % BUCKETS]; /* before an older one of the same number */
	s->buckets[in % BUCKETS] = p;
	STAILQ_INIT(&p->held);
	TAILQ_INSERT_TAIL(&s->waiting, p, link);
	return p;
}

static int
hold(struct serial *s, struct serial_part *p, const struct canon_event *ev)
{
	struct span bytes = ev->type == EVENT_SIGN ? ev->sign->data : ev->text;
	size_t size = sizeof(struct held) + bytes.n;
	struct held *h;

	if (size > s->max - s->bytes)
		return E_TOO_LONG;
	if ((h = malloc(size)) == NULL)
		return E_NOMEM;
	h->ev = *ev;
	h->size = size;
	if (bytes.n > 0)
		memcpy(h->bytes, bytes.p, bytes.n);
	h->ev.text = (struct span){h->bytes, bytes.n};
	if (ev->type == EVENT_SIGN) {
		h->sign = *ev->sign;
		if (bytes.p != NULL)
			h->sign.data = (struct span){h->bytes, bytes.n};
		h->ev.sign = &h->sign;
	}
	s->bytes += size;
	STAILQ_INSERT_TAIL(&p->held, h, link);
	return 0;
}

static void
drop(struct serial *s, struct serial_part *p, struct held *h)
{
	STAILQ_REMOVE_HEAD(&p->held, link);
	s->bytes -= h->size;
	free(h);
}

/* ---- the wire ---- */

/* Nothing behind a failure, also one of our own. */
static int
tell(struct serial *s, const struct canon_event *ev)
{
	if (s->over)
		return 0;
	s->over = ev->type == EVENT_FAIL;
	return s->next.take(s->next.ctx, ev);
}

static int
send_close(struct serial *s)
{
	struct serial_part *p = s->open;
	const struct canon_event ev = {.type = EVENT_CLOSE, .choice = p->choice, .part = p->out};

	p->place = PART_IS_CLOSED;
	s->open = NULL;
	return tell(s, &ev);
}

static int
send_open(struct serial *s, struct serial_part *p)
{
	struct canon_event ev = {.type = EVENT_OPEN, .choice = p->choice, .meta = p->meta};

	TAILQ_REMOVE(&s->waiting, p, link);
	p->out = ev.part = s->opened++;
	p->place = PART_IS_OPEN;
	s->open = p;
	return tell(s, &ev);
}

static int
send_part(struct serial *s, struct serial_part *p, const struct canon_event *in)
{
	struct canon_event ev = *in;

	if (ev.type == EVENT_CLOSE)
		return send_close(s);
	if (ev.type == EVENT_DELTA && p->meta->kind == PART_TOOL_CALL)
		braces_add(&p->args, ev.text);
	ev.part = p->out;
	return tell(s, &ev);
}

static bool
is_space(struct span text)
{
	size_t i = 0;

	while (i < text.n &&
	       (text.p[i] == ' ' || text.p[i] == '\n' || text.p[i] == '\r' || text.p[i] == '\t'))
		i++;
	return i == text.n;
}

static int
fail(struct serial *s)
{
	const struct canon_error error = {.class = ERROR_SERVER,
	    .status = 502,
	    .message = span_of("The provider went on with a tool call that had ended"),
	    .code = span_of("upstream_malformed")};
	const struct canon_event ev = {.type = EVENT_FAIL, .error = &error};

	return tell(s, &ev);
}

/* A part that is closed on the wire already: what still belongs to it waits as a new part of its
 * kind. */
static int
take_late(struct serial *s, struct serial_part *p, const struct canon_event *ev)
{
	struct serial_part *again;

	if (ev->type == EVENT_DELTA && p->meta->kind == PART_TOOL_CALL)
		return is_space(ev->text) ? 0 : fail(s);
	if ((ev->type != EVENT_DELTA || ev->text.n == 0) &&
	    (ev->type != EVENT_SIGN || p->meta->kind != PART_REASONING))
		return 0;
	if ((again = part_new(s, p->in, p->choice, p->meta)) == NULL)
		return E_NOMEM;
	return hold(s, again, ev);
}

/* The first that waits is opened, and all that is known of it said. */
static int
advance(struct serial *s)
{
	struct serial_part *p = TAILQ_FIRST(&s->waiting);
	struct held *h;
	int r = s->open != NULL ? send_close(s) : 0;

	if (r == 0)
		r = send_open(s, p);
	while ((h = STAILQ_FIRST(&p->held)) != NULL) {
		if (r == 0)
			r = p->place == PART_IS_OPEN ? send_part(s, p, &h->ev)
						     : take_late(s, p, &h->ev);
		drop(s, p, h);
	}
	return r;
}

static int
run(struct serial *s, bool all)
{
	int r = 0;

	while (
	    r == 0 && !TAILQ_EMPTY(&s->waiting) && (all || s->open == NULL || can_yield(s->open)))
		r = advance(s);
	return r;
}

/* ---- events ---- */

static int
take_part(struct serial *s, const struct canon_event *ev)
{
	struct serial_part *p = find(s, ev->part);
	int r;

	if (p == NULL)
		return 0;
	switch (p->place) {
	case PART_WAITS:
		return hold(s, p, ev);
	case PART_IS_OPEN:
		r = send_part(s, p, ev);
		return r == 0 ? run(s, false) : r;
	default:
		r = take_late(s, p, ev);
		return r == 0 ? run(s, false) : r;
	}
}

static int
finish(struct serial *s, const struct canon_event *ev)
{
	int r = run(s, true);

	if (r == 0 && s->open != NULL)
		r = send_close(s);
	return r == 0 ? tell(s, ev) : r;
}

int
serial_take(void *serial, const struct canon_event *ev)
{
	struct serial *s = serial;

	switch (ev->type) {
	case EVENT_OPEN:
		if (part_new(s, ev->part, ev->choice, ev->meta) == NULL)
			return E_NOMEM;
		return run(s, false);
	case EVENT_DELTA:
	case EVENT_SIGN:
	case EVENT_CITE:
	case EVENT_CLOSE:
		return take_part(s, ev);
	case EVENT_FINISH:
	case EVENT_END:
		return finish(s, ev);
	case EVENT_BEGIN:
	case EVENT_LOGPROBS:
	case EVENT_USAGE:
	case EVENT_FAIL:
	case EVENT_IDLE:
		break;
	}
	return tell(s, ev);
}

struct serial *
serial_new(struct arena *a, const struct canon_sink *next, size_t max)
{
	struct serial *s = arena_zalloc(a, 1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->arena = a;
	s->next = *next;
	s->max = max;
	TAILQ_INIT(&s->waiting);
	return s;
}

void
serial_free(struct serial *s)
{
	struct serial_part *p;
	struct held *h;

	if (s == NULL)
		return;
	TAILQ_FOREACH (p, &s->waiting, link)
		while ((h = STAILQ_FIRST(&p->held)) != NULL)
			drop(s, p, h);
}
