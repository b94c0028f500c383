/*
 * Ends (spec 14). An end is kept until the stream is over, because usage and more content may
 * follow it; so whoever comes behind sees usage first, then the ends, then END. And calls without
 * arguments get {}, unless they were cut.
 */
#include "proto/filter_own.h"
#include "shared/err.h"

/* ---- {} ---- */

struct argued_part {
	struct filter_part p;
	TAILQ_ENTRY(argued_part) link; /* closed without arguments, and not said so yet */
	bool argued;
};
TAILQ_HEAD(argued_list, argued_part);

struct arguments {
	struct filters *f;
	struct canon_sink next;
	struct filter_table parts;
	struct argued_list closed;
};

static int
flush(struct arguments *g, const struct canon_finish *finish)
{
	bool cut = finish != NULL &&
		   (finish->reason == FINISH_LENGTH || finish->reason == FINISH_CONTEXT_WINDOW);
	struct argued_part *p;
	int r = 0;

	while (r == 0 && (p = TAILQ_FIRST(&g->closed)) != NULL) {
		struct canon_event ev = {.type = EVENT_DELTA,
		    .choice = p->p.choice,
		    .part = p->p.number,
		    .text = span_of("{}")};

		TAILQ_REMOVE(&g->closed, p, link);
		if (!cut || !TAILQ_EMPTY(&g->closed)) /* the last one is the one that was cut */
			r = filter_send(&g->next, &ev);
		if (r == 0)
			r = filter_close(&g->next, p->p.choice, p->p.number);
	}
	return r;
}

static bool
is_blank(struct span s)
{
	size_t i = 0;

	while (i < s.n && (unsigned char)s.p[i] <= ' ')
		i++;
	return i == s.n;
}

static int
arguments_take(void *ctx, const struct canon_event *ev)
{
	struct arguments *g = ctx;
	struct argued_part *p;
	int r = 0;

	switch (ev->type) {
	case EVENT_OPEN:
		r = flush(g, NULL);
		if (r == 0 && ev->meta->kind == PART_TOOL_CALL && !ev->meta->custom &&
		    filter_part_add(g->f->arena, &g->parts, sizeof *p, ev) == NULL)
			return E_NOMEM;
		break;
	case EVENT_DELTA:
		if ((p = filter_part_find(&g->parts, ev->part)) != NULL && !is_blank(ev->text))
			p->argued = true;
		break;
	case EVENT_CLOSE:
		if ((p = filter_part_find(&g->parts, ev->part)) != NULL && !p->argued) {
			p->argued = true;
			TAILQ_INSERT_TAIL(&g->closed, p, link);
			return 0;
		}
		break;
	case EVENT_FINISH:
		r = flush(g, ev->finish);
		break;
	case EVENT_END:
		r = flush(g, NULL);
		break;
	default:
		break;
	}
	return r == 0 ? filter_send(&g->next, ev) : r;
}

int
filter_arguments(struct filters *f)
{
	struct arguments *g = arena_zalloc(f->arena, 1, sizeof *g);

	if (g == NULL)
		return E_NOMEM;
	g->f = f;
	TAILQ_INIT(&g->closed);
	g->next = f->head;
	f->head = (struct canon_sink){arguments_take, g};
	return 0;
}

/* ---- ends ---- */

struct end_choice {
	struct end_choice *next;
	uint32_t choice;
	bool said, called, thought; /* anything was said; a call; reasoning */
	bool finished;
	struct canon_finish finish;
};

struct ends {
	struct filters *f;
	struct canon_sink next;
	struct filter_table parts;
	struct end_choice *choices;
	uint64_t out_total;
	bool over;
};

static struct end_choice *
choice_of(struct ends *e, uint32_t choice)
{
	struct end_choice **at = &e->choices, *c;

	while (*at != NULL && (*at)->choice < choice)
		at = &(*at)->next;
	if (*at != NULL && (*at)->choice == choice)
		return *at;
	if ((c = arena_zalloc(e->f->arena, 1, sizeof *c)) == NULL)
		return NULL;
	c->choice = choice;
	c->next = *at;
	*at = c;
	return c;
}

static int
fail(struct ends *e, const char *code, const char *message)
{
	const struct canon_error error = {.class = ERROR_SERVER,
	    .status = 502,
	    .code = span_of(code),
	    .message = span_of(message)};
	const struct canon_event ev = {.type = EVENT_FAIL, .error = &error};

	e->over = true;
	return filter_send(&e->next, &ev);
}

static int
keep(struct ends *e, struct end_choice *c, const struct canon_finish *finish)
{
	struct span *const texts[] = {&c->finish.raw, &c->finish.stop_sequence, &c->finish.details};

	c->finished = true;
	c->finish = *finish;
	for (size_t i = 0; i < NELEM(texts); i++) {
		char *p = NULL;

		if (texts[i]->p == NULL)
			continue;
		if ((p = arena_strndup(e->f->arena, texts[i]->p, texts[i]->n)) == NULL)
			return E_NOMEM;
		texts[i]->p = p;
	}
	return 0;
}

/* An empty answer is one only where it is proved that it was meant (spec 17.9). */
static bool
may_be_empty(const struct ends *e)
{
	return e->out_total > 0 || e->f->upstream == DIALECT_MESSAGES;
}

/* What the end means, given what was said. False: it is a failure. */
static bool
repair(struct ends *e, struct end_choice *c)
{
	enum canon_finish_reason *r = &c->finish.reason;
	bool any = c->said || c->called || c->thought;

	switch (*r) {
	case FINISH_NONE:
	case FINISH_UNKNOWN:
	case FINISH_TOOL_CALLS:
		*r = c->called ? FINISH_TOOL_CALLS : FINISH_STOP;
		return any ||
		       (c->finish.reason == FINISH_STOP && e->f->upstream == DIALECT_MESSAGES);
	case FINISH_STOP:
		if (c->called)
			*r = FINISH_TOOL_CALLS;
		return any || may_be_empty(e);
	case FINISH_MALFORMED:
	case FINISH_ERROR:
		return false;
	default:
		return true;
	}
}

static int
release(struct ends *e, const struct canon_event *end)
{
	struct canon_event ev = {.type = EVENT_FINISH};
	int r = 0;

	for (struct end_choice *c = e->choices; c != NULL; c = c->next) {
		enum canon_finish_reason said = c->finish.reason;

		if (!c->finished)
			return fail(e, "upstream_stream_cut",
			    "The provider's answer ended before it was complete");
		if (repair(e, c))
			continue;
		if (said == FINISH_MALFORMED || said == FINISH_ERROR)
			return fail(e, "upstream_malformed",
			    "The provider ended its answer with an error or a malformed call");
		return fail(e, "empty_response", "The provider's answer was empty");
	}
	if (e->choices == NULL)
		return fail(e, "empty_response", "The provider's answer was empty");
	for (struct end_choice *c = e->choices; c != NULL && r == 0; c = c->next) {
		ev.choice = c->choice;
		ev.finish = &c->finish;
		r = filter_send(&e->next, &ev);
	}
	e->over = true;
	return r == 0 ? filter_send(&e->next, end) : r;
}

/* What was opened but never said anything does not count. */
static int
note(struct ends *e, const struct canon_event *ev)
{
	const struct filter_part *p;
	struct end_choice *c = choice_of(e, ev->choice);

	if (c == NULL)
		return E_NOMEM;
	switch (ev->type) {
	case EVENT_OPEN:
		if (filter_part_add(e->f->arena, &e->parts, sizeof *p, ev) == NULL)
			return E_NOMEM;
		if (ev->meta->kind == PART_TOOL_CALL)
			c->called = true;
		else if (ev->meta->kind != PART_TEXT && ev->meta->kind != PART_REASONING)
			c->said = true;
		return 0;
	case EVENT_DELTA:
	case EVENT_SIGN:
		if ((p = filter_part_find(&e->parts, ev->part)) == NULL)
			return 0;
		if (p->meta->kind == PART_REASONING)
			c->thought = true;
		else if (ev->text.n > 0)
			c->said = true;
		return 0;
	default:
		return 0;
	}
}

static int
ends_take(void *ctx, const struct canon_event *ev)
{
	struct ends *e = ctx;
	struct end_choice *c;
	int r = 0;

	if (e->over)
		return 0;
	switch (ev->type) {
	case EVENT_USAGE:
		if (ev->usage->has_out)
			e->out_total = ev->usage->out_total;
		break;
	case EVENT_FINISH:
		if ((c = choice_of(e, ev->choice)) == NULL)
			return E_NOMEM;
		return keep(e, c, ev->finish);
	case EVENT_END:
		return release(e, ev);
	case EVENT_FAIL:
		e->over = true;
		break;
	case EVENT_BEGIN:
	case EVENT_IDLE:
		break;
	default:
		r = note(e, ev);
		break;
	}
	return r == 0 ? filter_send(&e->next, ev) : r;
}

int
filter_finish(struct filters *f)
{
	struct ends *e = arena_zalloc(f->arena, 1, sizeof *e);

	if (e == NULL)
		return E_NOMEM;
	e->f = f;
	e->next = f->head;
	f->head = (struct canon_sink){ends_take, e};
	return 0;
}
