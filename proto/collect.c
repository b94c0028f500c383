/* A whole answer from the events of a stream. */
#include "proto/collect.h"

#include <stdlib.h>
#include <string.h>

#include "proto/scan.h"
#include "shared/err.h"

#define BUCKETS 32u

struct collect_part {
	struct collect_part *next; /* in order */
	struct collect_part *peer; /* of the same bucket */
	uint32_t number, choice;
	struct canon_part *part;
	struct buf text;
};

struct collect_choice {
	struct canon_choice *choice;
	struct collect_choice *next;
	bool finished;
	struct buf content, refusal; /* of logprobs: elements */
	bool has_content, has_refusal;
};

struct collect {
	struct arena *arena;
	struct collect_part *parts, **parts_end, *buckets[BUCKETS];
	struct collect_choice *choices;
	struct canon_response r;
	struct canon_error error;
	bool failed, ended;
	size_t bytes, max;
};

struct collect *
collect_new(struct arena *a, size_t max)
{
	struct collect *c = arena_zalloc(a, 1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->arena = a;
	c->max = max;
	c->parts_end = &c->parts;
	canon_source_init(&c->r.src, DIALECT_NONE);
	return c;
}

void
collect_free(struct collect *c)
{
	if (c == NULL)
		return;
	for (struct collect_part *p = c->parts; p != NULL; p = p->next)
		buf_clear(&p->text);
	for (struct collect_choice *k = c->choices; k != NULL; k = k->next) {
		buf_clear(&k->content);
		buf_clear(&k->refusal);
	}
}

/* ---- small things ---- */

static int
add(struct collect *c, struct buf *b, struct span text)
{
	if (text.n > c->max - c->bytes)
		return E_TOO_LONG;
	c->bytes += text.n;
	return text.n > 0 ? buf_add(b, text.p, text.n) : 0;
}

/* In the order of their numbers. NULL: out of memory. */
static struct collect_choice *
choice_of(struct collect *c, uint32_t index)
{
	struct collect_choice **at = &c->choices, *k;

	while (*at != NULL && (*at)->choice->index < index)
		at = &(*at)->next;
	if (*at != NULL && (*at)->choice->index == index)
		return *at;
	if ((k = arena_zalloc(c->arena, 1, sizeof *k)) == NULL ||
	    (k->choice = canon_choice_new(c->arena, index)) == NULL)
		return NULL;
	buf_init(&k->content, c->max);
	buf_init(&k->refusal, c->max);
	k->next = *at;
	*at = k;
	return k;
}

/* ---- events ---- */

/* What was only guessed before may be known now. */
static int
take_usage(struct collect *c, const struct canon_usage *u)
{
	struct span raw = u->raw;

	canon_usage_merge(&c->r.usage, u);
	c->r.usage.estimated = u->estimated;
	if (canon_keep(c->arena, &raw) != 0)
		return E_NOMEM;
	if (raw.p != NULL)
		c->r.usage.raw = raw;
	return 0;
}

static int
take_begin(struct collect *c, const struct canon_event *ev)
{
	struct span id = ev->id, model = ev->model;

	if (canon_keep(c->arena, &id) != 0 || canon_keep(c->arena, &model) != 0)
		return E_NOMEM;
	c->r.id = id;
	c->r.model = model;
	c->r.created = ev->created;
	return ev->usage != NULL ? take_usage(c, ev->usage) : 0;
}

static int
take_open(struct collect *c, const struct canon_event *ev)
{
	struct collect_part *p = arena_zalloc(c->arena, 1, sizeof *p);

	if (p == NULL || (p->part = canon_part_new(c->arena, ev->meta->kind)) == NULL ||
	    choice_of(c, ev->choice) == NULL)
		return E_NOMEM;
	*p->part = *ev->meta;
	TAILQ_INIT(&p->part->annotations);
	TAILQ_INIT(&p->part->content);
	p->number = ev->part;
	p->choice = ev->choice;
	buf_init(&p->text, c->max);
	p->peer = c->buckets[p->number % BUCKETS];
	c->buckets[p->number % BUCKETS] = p;
	*c->parts_end = p;
	c->parts_end = &p->next;
	return 0;
}

static int
take_sign(struct collect *c, struct canon_part *p, const struct canon_signature *sign)
{
	p->sign = *sign;
	if (sign->data.n > c->max - c->bytes)
		return E_TOO_LONG;
	c->bytes += sign->data.n;
	return canon_keep(c->arena, &p->sign.data);
}

static int
take_cite(struct collect *c, struct canon_part *p, const struct canon_annotation *n)
{
	struct canon_annotation *mine = canon_annotation_new(c->arena);

	if (mine == NULL)
		return E_NOMEM;
	*mine = *n;
	TAILQ_INSERT_TAIL(&p->annotations, mine, link);
	return 0;
}

static int
take_part(struct collect *c, const struct canon_event *ev)
{
	struct collect_part *p = c->buckets[ev->part % BUCKETS];

	while (p != NULL && p->number != ev->part)
		p = p->peer;
	if (p == NULL)
		return 0;
	switch (ev->type) {
	case EVENT_DELTA:
		return add(c, &p->text, ev->text);
	case EVENT_SIGN:
		return take_sign(c, p->part, ev->sign);
	case EVENT_CITE:
		return take_cite(c, p->part, ev->annotation);
	default:
		return 0;
	}
}

/* The elements of one more list behind those that are there. */
static int
add_elements(struct collect *c, struct buf *b, bool *has, struct span list)
{
	int r = 0;

	if (scan_type(list) != 'a')
		return 0;
	*has = true;
	list = (struct span){list.p + 1, list.n - 2};
	while (list.n > 0 && (unsigned char)*list.p <= ' ') {
		list.p++;
		list.n--;
	}
	if (list.n == 0)
		return 0;
	if (b->len > 0)
		r = add(c, b, span_of(","));
	return r == 0 ? add(c, b, list) : r;
}

static int
take_logprobs(struct collect *c, const struct canon_event *ev)
{
	struct collect_choice *k = choice_of(c, ev->choice);
	struct scan_want want[] = {{.name = "content"}, {.name = "refusal"}};
	size_t at;
	int r;

	if (k == NULL)
		return E_NOMEM;
	if (ev->text.n == 0 || scan_members(ev->text.p, ev->text.n, want, NELEM(want), &at) != 0)
		return 0;
	r = add_elements(c, &k->content, &k->has_content, want[0].value);
	return r == 0 ? add_elements(c, &k->refusal, &k->has_refusal, want[1].value) : r;
}

static int
take_finish(struct collect *c, const struct canon_event *ev)
{
	struct collect_choice *k = choice_of(c, ev->choice);
	struct canon_finish *f;

	if (k == NULL)
		return E_NOMEM;
	k->finished = true;
	f = &k->choice->finish;
	*f = *ev->finish;
	return canon_keep(c->arena, &f->raw) == 0 && canon_keep(c->arena, &f->stop_sequence) == 0 &&
		       canon_keep(c->arena, &f->details) == 0
		   ? 0
		   : E_NOMEM;
}

static int
take_fail(struct collect *c, const struct canon_error *e)
{
	c->failed = true;
	c->error = *e;
	return canon_keep(c->arena, &c->error.message) == 0 && canon_keep(c->arena, &c->error.code) == 0 &&
		       canon_keep(c->arena, &c->error.param) == 0
		   ? 0
		   : E_NOMEM;
}

int
collect_take(void *collect, const struct canon_event *ev)
{
	struct collect *c = collect;

	if (c->failed || c->ended)
		return 0;
	switch (ev->type) {
	case EVENT_BEGIN:
		return take_begin(c, ev);
	case EVENT_OPEN:
		return take_open(c, ev);
	case EVENT_LOGPROBS:
		return take_logprobs(c, ev);
	case EVENT_USAGE:
		return take_usage(c, ev->usage);
	case EVENT_FINISH:
		return take_finish(c, ev);
	case EVENT_FAIL:
		return take_fail(c, ev->error);
	case EVENT_END:
		c->ended = true;
		return 0;
	case EVENT_IDLE:
		return 0;
	case EVENT_DELTA:
	case EVENT_SIGN:
	case EVENT_CITE:
	case EVENT_CLOSE:
		break;
	}
	return take_part(c, ev);
}

/* ---- the whole ---- */

static bool
is_cut(enum canon_finish_reason r)
{
	return r == FINISH_LENGTH || r == FINISH_CONTEXT_WINDOW;
}

/* What says nothing, and a call that was cut in the middle (spec 18.6), is not there. */
static bool
is_left_out(const struct canon_part *p, enum canon_finish_reason end)
{
	size_t at;

	switch (p->kind) {
	case PART_TEXT:
	case PART_REASONING:
	case PART_REFUSAL:
		return p->text.n == 0 && p->sign.data.n == 0 && TAILQ_EMPTY(&p->annotations);
	case PART_TOOL_CALL:
		return is_cut(end) && !p->custom &&
		       (p->args.n == 0 || scan_check(p->args.p, p->args.n, &at) != 0);
	default:
		return false;
	}
}

static void
place_parts(struct collect *c)
{
	struct collect_choice *k;

	for (struct collect_part *p = c->parts; p != NULL; p = p->next) {
		struct span text = {p->text.len > 0 ? p->text.data : "", p->text.len};

		for (k = c->choices; k->choice->index != p->choice;)
			k = k->next;
		if (p->part->kind == PART_TOOL_CALL || p->part->kind == PART_SERVER_CALL)
			p->part->args = text;
		else
			p->part->text = text;
		if (!is_left_out(p->part, k->choice->finish.reason))
			TAILQ_INSERT_TAIL(&k->choice->parts, p->part, link);
	}
}

static int
place_logprobs(struct arena *a, struct collect_choice *k)
{
	char *text;

	if (!k->has_content && !k->has_refusal)
		return 0;
	text = arena_printf(a, "{\"content\":%s%.*s%s,\"refusal\":%s%.*s%s}",
	    k->has_content ? "[" : "null", (int)k->content.len,
	    k->content.len > 0 ? k->content.data : "", k->has_content ? "]" : "",
	    k->has_refusal ? "[" : "null", (int)k->refusal.len,
	    k->refusal.len > 0 ? k->refusal.data : "", k->has_refusal ? "]" : "");
	if (text == NULL)
		return E_NOMEM;
	k->choice->logprobs = span_of(text);
	return 0;
}

static bool
is_whole(const struct collect *c)
{
	for (const struct collect_choice *k = c->choices; k != NULL; k = k->next)
		if (!k->finished)
			return false;
	return c->ended && c->choices != NULL;
}

int
collect_end(struct collect *c, struct canon_response *out, struct canon_error *err)
{
	struct canon_choice **end = &c->r.choices;

	if (!c->failed && !is_whole(c)) {
		canon_fail(c->arena, &c->error, ERROR_SERVER, NULL,
		    "The provider's answer ended before it was complete");
		c->error.status = 502;
		c->error.code = span_of("upstream_stream_cut");
		c->failed = true;
	}
	if (c->failed) {
		*err = c->error;
		return E_DENIED;
	}
	place_parts(c);
	for (struct collect_choice *k = c->choices; k != NULL; k = k->next) {
		if (place_logprobs(c->arena, k) != 0)
			return E_NOMEM;
		*end = k->choice;
		end = &k->choice->next;
	}
	*out = c->r;
	return 0;
}
