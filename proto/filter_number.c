/*
 * The last filters: who may read a signature (spec 8.4.3), ids of calls (6.4), what is not shown,
 * and numbers.
 */
#include <string.h>

#include "proto/canon_ids.h"
#include "proto/filter_own.h"
#include "proto/signature.h"
#include "shared/err.h"

/* ---- signatures ---- */

struct signed_part {
	struct filter_part p;
	bool signed_, spoken;
};

struct signatures {
	struct filters *f;
	struct canon_sink next;
	struct filter_table parts;
	uint32_t family;
};

static enum canon_origin
native(enum dialect_id client)
{
	switch (client) {
	case DIALECT_MESSAGES:
		return ORIGIN_ANTHROPIC;
	case DIALECT_GEMINI:
		return ORIGIN_GOOGLE;
	case DIALECT_RESPONSES:
		return ORIGIN_OPENAI;
	case DIALECT_CHAT:
		return ORIGIN_OPENROUTER;
	default:
		return ORIGIN_NONE;
	}
}

static int
send_sign(struct signatures *s, const struct canon_event *in, const struct canon_signature *sign)
{
	struct canon_event ev = {.type = EVENT_SIGN, .choice = in->choice, .part = in->part};
	struct canon_signature wrapped = *sign;

	if (wrapped.family == 0)
		wrapped.family = s->family;
	if ((wrapped.data = signature_wrap(s->f->arena, &wrapped)).p == NULL)
		return E_NOMEM;
	ev.sign = &wrapped;
	return filter_send(&s->next, &ev);
}

/* Unsigned reasoning must come back with something that is no signature of anybody's, not with "".
 */
static int
close_part(struct signatures *s, const struct canon_event *ev)
{
	static const struct canon_signature unsigned_ = {.origin = ORIGIN_NONE};
	struct signed_part *p = filter_part_find(&s->parts, ev->part);
	int r = 0;

	if (p != NULL && !p->signed_ && p->spoken && s->f->client == DIALECT_MESSAGES)
		r = send_sign(s, ev, &unsigned_);
	return r == 0 ? filter_send(&s->next, ev) : r;
}

static int
signatures_take(void *ctx, const struct canon_event *ev)
{
	struct signatures *s = ctx;
	struct signed_part *p;

	switch (ev->type) {
	case EVENT_BEGIN:
		s->family = signature_family(ev->model);
		break;
	case EVENT_OPEN:
		if (ev->meta->kind == PART_REASONING &&
		    filter_part_add(s->f->arena, &s->parts, sizeof *p, ev) == NULL)
			return E_NOMEM;
		break;
	case EVENT_DELTA:
		if ((p = filter_part_find(&s->parts, ev->part)) != NULL)
			p->spoken = true;
		break;
	case EVENT_SIGN:
		if ((p = filter_part_find(&s->parts, ev->part)) != NULL)
			p->signed_ = true;
		if (ev->sign->origin != native(s->f->client))
			return send_sign(s, ev, ev->sign);
		break;
	case EVENT_CLOSE:
		return close_part(s, ev);
	default:
		break;
	}
	return filter_send(&s->next, ev);
}

int
filter_signatures(struct filters *f)
{
	struct signatures *s = arena_zalloc(f->arena, 1, sizeof *s);

	if (s == NULL)
		return E_NOMEM;
	s->f = f;
	s->next = f->head;
	f->head = (struct canon_sink){signatures_take, s};
	return 0;
}

/* ---- ids of calls ---- */

struct ids {
	struct filters *f;
	struct canon_sink next;
	struct canon_text_list *seen;
	uint32_t calls;
};

/* Only the first ones are compared, so that an answer of very many calls stays linear. */
#define SEEN_MAX 256u

static bool
fits(const struct ids *d, struct span id)
{
	static const enum profile_ids rules[DIALECTS] = {[DIALECT_CHAT] = IDS_ANY,
	    [DIALECT_RESPONSES] = IDS_64,
	    [DIALECT_MESSAGES] = IDS_WORD,
	    [DIALECT_GEMINI] = IDS_ANY};

	if (id.n == 0 || !shape_call_id_fits(id, rules[d->f->client]))
		return false;
	for (const struct canon_text_list *l = d->seen; l != NULL; l = l->next)
		if (span_same(l->text, id))
			return false;
	return true;
}

static int
ids_take(void *ctx, const struct canon_event *in)
{
	struct ids *d = ctx;
	struct canon_event ev = *in;
	struct canon_text_list *seen;
	struct canon_part *meta;

	if (in->type != EVENT_OPEN || in->meta->kind != PART_TOOL_CALL ||
	    (d->f->client == DIALECT_GEMINI && in->meta->id.n == 0))
		return filter_send(&d->next, in);
	if ((meta = canon_part_new(d->f->arena, PART_TOOL_CALL)) == NULL)
		return E_NOMEM;
	*meta = *in->meta;
	TAILQ_INIT(&meta->annotations);
	TAILQ_INIT(&meta->content);
	if (!fits(d, meta->id))
		meta->id = canon_id(d->f->arena, d->f->seed,
		    d->f->client == DIALECT_MESSAGES ? ID_TOOLU
		    : d->f->client == DIALECT_GEMINI ? ID_GEMINI
						     : ID_CALL,
		    d->calls);
	if (meta->id.p == NULL)
		return E_NOMEM;
	if (d->calls++ < SEEN_MAX) {
		if ((seen = arena_alloc(d->f->arena, sizeof *seen)) == NULL)
			return E_NOMEM;
		*seen = (struct canon_text_list){.next = d->seen, .text = meta->id};
		d->seen = seen;
	}
	ev.meta = meta;
	return filter_send(&d->next, &ev);
}

int
filter_ids(struct filters *f)
{
	struct ids *d = arena_zalloc(f->arena, 1, sizeof *d);

	if (d == NULL)
		return E_NOMEM;
	d->f = f;
	d->next = f->head;
	f->head = (struct canon_sink){ids_take, d};
	return 0;
}

/* ---- numbers ---- */

struct numbered_part {
	struct filter_part p;
	uint32_t out;
	bool open, hidden;
};

struct numbers {
	struct filters *f;
	struct canon_sink next;
	struct filter_table parts;
	uint32_t opened;
};

/* Texts are opened with their first word, so that nobody gets an empty one. */
static bool
is_lazy(enum canon_part_kind kind)
{
	return kind == PART_TEXT || kind == PART_REASONING || kind == PART_REFUSAL;
}

static int
open_part(struct numbers *n, struct numbered_part *p)
{
	p->open = true;
	p->out = n->opened++;
	return filter_open(&n->next, p->p.choice, p->out, p->p.meta);
}

static int
new_part(struct numbers *n, const struct canon_event *ev)
{
	struct numbered_part *p = filter_part_add(n->f->arena, &n->parts, sizeof *p, ev);

	if (p == NULL)
		return E_NOMEM;
	p->hidden = n->f->shaped->no_reasoning && ev->meta->kind == PART_REASONING;
	return is_lazy(ev->meta->kind) ? 0 : open_part(n, p);
}

static int
numbers_take(void *ctx, const struct canon_event *in)
{
	struct numbers *n = ctx;
	struct canon_event ev = *in;
	struct numbered_part *p;
	int r = 0;

	if (in->type == EVENT_OPEN)
		return new_part(n, in);
	if (in->type != EVENT_DELTA && in->type != EVENT_SIGN && in->type != EVENT_CITE &&
	    in->type != EVENT_CLOSE)
		return filter_send(&n->next, in);
	if ((p = filter_part_find(&n->parts, in->part)) == NULL || p->hidden)
		return 0;
	if (!p->open) {
		if (in->type == EVENT_CLOSE || (in->type == EVENT_DELTA && in->text.n == 0))
			return 0;
		r = open_part(n, p);
	}
	if (in->type == EVENT_CLOSE)
		p->hidden = true; /* over */
	ev.part = p->out;
	return r == 0 ? filter_send(&n->next, &ev) : r;
}

int
filter_number(struct filters *f)
{
	struct numbers *n = arena_zalloc(f->arena, 1, sizeof *n);

	if (n == NULL)
		return E_NOMEM;
	n->f = f;
	n->next = f->head;
	f->head = (struct canon_sink){numbers_take, n};
	return 0;
}
