/* Stop sequences that the target does not know (spec 10.3). Text only: thoughts and arguments are
 * not looked at. */
#include <string.h>

#include "proto/filter_own.h"
#include "shared/err.h"

struct stop_choice {
	struct stop_choice *next;
	uint32_t choice;
	bool cut;
};

struct stop_part {
	struct filter_part p;
	struct buf *held; /* what may begin a sequence; NULL: not a text */
	bool open;
};

struct stops {
	struct filters *f;
	struct canon_sink next;
	struct filter_table parts;
	struct stop_choice *choices;
	bool first[256]; /* a sequence begins with this byte */
};

static struct stop_choice *
choice_of(struct stops *s, uint32_t choice)
{
	struct stop_choice *c;

	for (c = s->choices; c != NULL; c = c->next)
		if (c->choice == choice)
			return c;
	if ((c = arena_zalloc(s->f->arena, 1, sizeof *c)) == NULL)
		return NULL;
	c->choice = choice;
	c->next = s->choices;
	s->choices = c;
	return c;
}

/* 2: a whole sequence stands here (the shortest, so that the cuts of the stream do not matter), 1:
 * one may begin here, 0: none. */
static int
look(const struct stops *s, struct span at, struct span *stop)
{
	int best = 0;

	for (const struct canon_text_list *l = s->f->asked->stop; l != NULL; l = l->next) {
		size_t n = MIN(at.n, l->text.n);

		if (l->text.n == 0 || memcmp(at.p, l->text.p, n) != 0)
			continue;
		if (n < l->text.n) {
			best = MAX(best, 1);
		} else if (best < 2 || n < stop->n) {
			*stop = l->text;
			best = 2;
		}
	}
	return best;
}

static int
cut(struct stops *s, struct stop_choice *c, struct stop_part *p, struct span stop)
{
	const struct canon_finish finish = {.reason = FINISH_STOP_SEQUENCE, .stop_sequence = stop};
	const struct canon_event ev = {
	    .type = EVENT_FINISH, .choice = c->choice, .finish = &finish};
	int r = filter_close(&s->next, p->p.choice, p->p.number);

	p->open = false;
	c->cut = true;
	buf_reset(p->held);
	/* with several choices the others go on */
	s->f->cut = s->f->asked->n <= 1;
	return r == 0 ? filter_send(&s->next, &ev) : r;
}

static int
take_text(struct stops *s, struct stop_choice *c, struct stop_part *p, struct span text)
{
	struct span all, stop = {NULL, 0};
	int r = 0, seen = 0;
	size_t i = 0;

	if (p->held->len > 0) {
		if (text.n > 0 && (r = buf_add(p->held, text.p, text.n)) != 0)
			return r;
		all = (struct span){p->held->data, p->held->len};
	} else {
		all = text;
	}
	for (; i < all.n; i++)
		if (s->first[(unsigned char)all.p[i]] &&
		    (seen = look(s, (struct span){all.p + i, all.n - i}, &stop)) != 0)
			break;
	r = filter_text(&s->next, p->p.choice, p->p.number, (struct span){all.p, i});
	if (r != 0)
		return r;
	if (seen == 2)
		return cut(s, c, p, stop);
	if (p->held->len > 0)
		buf_drop(p->held, i);
	else if (i < all.n)
		r = buf_add(p->held, all.p + i, all.n - i);
	return r;
}

static int
take_open(struct stops *s, const struct canon_event *ev)
{
	struct stop_part *p = filter_part_add(s->f->arena, &s->parts, sizeof *p, ev);

	if (p == NULL)
		return E_NOMEM;
	p->open = true;
	if (ev->meta->kind == PART_TEXT && (p->held = filter_buf(s->f)) == NULL)
		return E_NOMEM;
	return filter_send(&s->next, ev);
}

static int
take_part(struct stops *s, struct stop_choice *c, const struct canon_event *ev)
{
	struct stop_part *p = filter_part_find(&s->parts, ev->part);
	int r = 0;

	if (p == NULL || !p->open)
		return 0;
	if (ev->type == EVENT_DELTA && p->held != NULL)
		return take_text(s, c, p, ev->text);
	if (ev->type == EVENT_CLOSE) {
		p->open = false;
		if (p->held != NULL && p->held->len > 0)
			r = filter_text(&s->next, p->p.choice, p->p.number,
			    (struct span){p->held->data, p->held->len});
		if (p->held != NULL)
			buf_clear(p->held);
	}
	return r == 0 ? filter_send(&s->next, ev) : r;
}

static int
stops_take(void *ctx, const struct canon_event *ev)
{
	struct stops *s = ctx;
	struct stop_choice *c;

	switch (ev->type) {
	case EVENT_BEGIN:
	case EVENT_USAGE:
	case EVENT_IDLE:
	case EVENT_END:
		return filter_send(&s->next, ev);
	case EVENT_FAIL: /* behind the end that the client asked for */
		return s->f->cut ? 0 : filter_send(&s->next, ev);
	default:
		break;
	}
	if ((c = choice_of(s, ev->choice)) == NULL)
		return E_NOMEM;
	if (c->cut)
		return 0;
	if (ev->type == EVENT_OPEN)
		return take_open(s, ev);
	if (ev->type == EVENT_FINISH || ev->type == EVENT_LOGPROBS)
		return filter_send(&s->next, ev);
	return take_part(s, c, ev);
}

int
filter_stops(struct filters *f)
{
	struct stops *s = arena_zalloc(f->arena, 1, sizeof *s);

	if (s == NULL)
		return E_NOMEM;
	s->f = f;
	for (const struct canon_text_list *l = f->asked->stop; l != NULL; l = l->next)
		if (l->text.n > 0)
			s->first[(unsigned char)*l->text.p] = true;
	s->next = f->head;
	f->head = (struct canon_sink){stops_take, s};
	return 0;
}
