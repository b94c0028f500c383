#include "proto/canon.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/err.h"

#define SENTENCE_MAX 512

/* ---- making one ---- */

struct canon_part *
canon_part_new(struct arena *a, enum canon_part_kind kind)
{
	struct canon_part *p = arena_zalloc(a, 1, sizeof *p);

	if (p == NULL)
		return NULL;
	p->kind = kind;
	p->media.citations = -1;
	TAILQ_INIT(&p->annotations);
	TAILQ_INIT(&p->content);
	canon_source_init(&p->src, DIALECT_NONE);
	return p;
}

struct canon_turn *
canon_turn_new(struct arena *a, enum canon_role role)
{
	struct canon_turn *t = arena_zalloc(a, 1, sizeof *t);

	if (t == NULL)
		return NULL;
	t->role = role;
	TAILQ_INIT(&t->parts);
	canon_source_init(&t->src, DIALECT_NONE);
	return t;
}

struct canon_tool *
canon_tool_new(struct arena *a, enum canon_tool_kind kind)
{
	struct canon_tool *t = arena_zalloc(a, 1, sizeof *t);

	if (t == NULL)
		return NULL;
	t->kind = kind;
	t->strict = -1;
	canon_source_init(&t->src, DIALECT_NONE);
	return t;
}

struct canon_request *
canon_request_new(struct arena *a, enum dialect_id from)
{
	struct canon_request *q = arena_zalloc(a, 1, sizeof *q);

	if (q == NULL)
		return NULL;
	q->from = from;
	q->parallel_tools = q->logprobs = q->store = q->background = -1;
	q->format.strict = -1;
	TAILQ_INIT(&q->turns);
	TAILQ_INIT(&q->tools);
	canon_source_init(&q->src, from);
	return q;
}

struct canon_choice *
canon_choice_new(struct arena *a, uint32_t index)
{
	struct canon_choice *c = arena_zalloc(a, 1, sizeof *c);

	if (c == NULL)
		return NULL;
	c->index = index;
	TAILQ_INIT(&c->parts);
	canon_source_init(&c->src, DIALECT_NONE);
	canon_source_init(&c->message, DIALECT_NONE);
	return c;
}

struct canon_annotation *
canon_annotation_new(struct arena *a)
{
	struct canon_annotation *n = arena_zalloc(a, 1, sizeof *n);

	if (n != NULL)
		n->start = n->end = -1;
	return n;
}

int
canon_text_add(struct arena *a, struct canon_text_list **list, struct span text)
{
	struct canon_text_list *t = arena_alloc(a, sizeof *t);

	if (t == NULL)
		return E_NOMEM;
	*t = (struct canon_text_list){.text = text};
	while (*list != NULL)
		list = &(*list)->next;
	*list = t;
	return 0;
}

/* ---- extras ---- */

void
canon_source_init(struct canon_source *s, enum dialect_id from)
{
	*s = (struct canon_source){.from = from};
}

/* A copy of a source has its own end, which points into the list they share: nothing may be added
 * to either any more. */
int
canon_extra_add(struct arena *a, struct canon_source *s, const struct json *m)
{
	struct canon_extra *x = arena_alloc(a, sizeof *x);

	if (x == NULL)
		return E_NOMEM;
	*x = (struct canon_extra){.name = m->name, .value = m->raw};
	if (s->extra == NULL)
		s->extra = x;
	else
		*s->extra_end = x;
	s->extra_end = &x->next;
	return 0;
}

static bool
is_known(const struct json *m, const char *const *known)
{
	for (; *known != NULL; known++)
		if (json_name_is(m, *known))
			return true;
	return false;
}

int
canon_extras(
    struct arena *a, struct canon_source *s, const struct json *o, const char *const *known)
{
	if (!json_is(o, 'o'))
		return 0;
	json_each (m, o)
		if (m->type != '0' && !is_known(m, known)) {
			int r = canon_extra_add(a, s, m);
			if (r != 0)
				return r;
		}
	return 0;
}

static bool
is_in(struct span name, const char *const *list)
{
	for (; list != NULL && *list != NULL; list++)
		if (span_is(name, *list))
			return true;
	return false;
}

void
canon_put_extras_but(
    struct jsonw *w, const struct canon_source *s, enum dialect_id to, const char *const *except)
{
	if (s->from != to)
		return;
	for (const struct canon_extra *x = s->extra; x != NULL; x = x->next) {
		if (is_in(x->name, except))
			continue;
		jsonw_name_raw(w, x->name);
		jsonw_raw(w, x->value);
	}
}

void
canon_put_extras(struct jsonw *w, const struct canon_source *s, enum dialect_id to)
{
	canon_put_extras_but(w, s, to, NULL);
}

void
canon_put_rest(struct jsonw *w, const struct json *o, const char *const *known)
{
	json_each (m, json_is(o, 'o') ? o : NULL) {
		if (m->type == '0' || is_known(m, known))
			continue;
		jsonw_name_raw(w, m->name);
		jsonw_raw(w, m->raw);
	}
}

const struct canon_extra *
canon_extra_find(const struct canon_source *s, const char *name)
{
	for (const struct canon_extra *x = s->extra; x != NULL; x = x->next)
		if (span_is(x->name, name))
			return x;
	return NULL;
}

/* ---- texts ---- */

int
canon_keep(struct arena *a, struct span *s)
{
	char *p;

	if (s->p == NULL)
		return 0;
	if ((p = arena_strndup(a, s->p, s->n)) == NULL)
		return E_NOMEM;
	s->p = p;
	return 0;
}

struct span
canon_copy(struct arena *a, struct span s)
{
	return canon_keep(a, &s) == 0 ? s : (struct span){NULL, 0};
}

struct canon_part *
canon_turn_text(struct canon_turn *t)
{
	struct canon_part *p = TAILQ_FIRST(&t->parts);

	return p != NULL && p->kind == PART_TEXT && TAILQ_NEXT(p, link) == NULL ? p : NULL;
}

struct span
canon_join(struct arena *a, const struct canon_parts *parts, const char *between)
{
	size_t gap = strlen(between), n = 0;
	unsigned texts = 0;
	const struct canon_part *p;
	struct span one = {NULL, 0};
	char *out, *at;
	bool first = true;

	TAILQ_FOREACH (p, parts, link)
		if (p->kind == PART_TEXT && p->text.p != NULL) {
			one = p->text;
			n += p->text.n + gap; /* texts are disjoint spans of memory: no overflow */
			texts++;
		}
	if (texts <= 1)
		return one;
	if ((out = at = arena_alloc(a, n)) == NULL)
		return (struct span){NULL, 0};
	TAILQ_FOREACH (p, parts, link) {
		if (p->kind != PART_TEXT || p->text.p == NULL)
			continue;
		if (!first) {
			memcpy(at, between, gap);
			at += gap;
		}
		first = false;
		memcpy(at, p->text.p, p->text.n);
		at += p->text.n;
	}
	return (struct span){out, (size_t)(at - out)};
}

bool
canon_number(struct span n, double *out)
{
	char text[64], *end;

	if (n.n == 0 || n.n >= sizeof text)
		return false;
	memcpy(text, n.p, n.n);
	text[n.n] = '\0';
	*out = strtod(text, &end);
	return *end == '\0' && end != text;
}

int
canon_fail(struct arena *a, struct canon_error *e, enum canon_error_class class, const char *param,
    const char *fmt, ...)
{
	char text[SENTENCE_MAX];
	const char *kept;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	*e = (struct canon_error){.class = class};
	e->message = span_of("The request cannot be served");
	if ((kept = arena_strndup(a, text, strlen(text))) != NULL)
		e->message = span_of(kept);
	if (param != NULL && (kept = arena_strndup(a, param, strlen(param))) != NULL)
		e->param = span_of(kept);
	return E_DENIED;
}

/* ---- usage ---- */

/* The input is taken as a group from one event: its parts are not comparable across events. */
void
canon_usage_merge(struct canon_usage *into, const struct canon_usage *news)
{
	if (news->has_in) {
		into->has_in = true;
		into->in_total = news->in_total;
		into->in_cached = news->in_cached;
		into->in_cache_write = news->in_cache_write;
		into->in_cache_write_5m = news->in_cache_write_5m;
		into->in_cache_write_1h = news->in_cache_write_1h;
		into->in_tool = news->in_tool;
		into->in_audio = news->in_audio;
		into->in_image = news->in_image;
	}
	if (news->has_out) {
		into->has_out = true;
		into->out_total = news->out_total;
		if (news->out_reasoning != 0)
			into->out_reasoning = news->out_reasoning;
		if (news->out_audio != 0)
			into->out_audio = news->out_audio;
	}
	if (news->searches != 0)
		into->searches = news->searches;
	if (news->fetches != 0)
		into->fetches = news->fetches;
	into->estimated = into->estimated || news->estimated;
	if (news->raw.p != NULL) {
		into->raw = news->raw;
		into->from = news->from;
	}
}
