#include "proto/filter_own.h"

#include <string.h>

#include "shared/err.h"

/* ---- what the filters share ---- */

int
filter_text(const struct canon_sink *next, uint32_t choice, uint32_t part, struct span text)
{
	const struct canon_event ev = {
	    .type = EVENT_DELTA, .choice = choice, .part = part, .text = text};

	return text.n > 0 ? filter_send(next, &ev) : 0;
}

int
filter_close(const struct canon_sink *next, uint32_t choice, uint32_t part)
{
	const struct canon_event ev = {.type = EVENT_CLOSE, .choice = choice, .part = part};

	return filter_send(next, &ev);
}

int
filter_open(
    const struct canon_sink *next, uint32_t choice, uint32_t part, const struct canon_part *meta)
{
	const struct canon_event ev = {
	    .type = EVENT_OPEN, .choice = choice, .part = part, .meta = meta};

	return filter_send(next, &ev);
}

void *
filter_part_find(const struct filter_table *t, uint32_t number)
{
	struct filter_part *p = t->buckets[number % FILTER_BUCKETS];

	while (p != NULL && p->number != number)
		p = p->peer;
	return p;
}

void *
filter_part_add(struct arena *a, struct filter_table *t, size_t size, const struct canon_event *ev)
{
	struct filter_part *p = arena_zalloc(a, 1, size);

	if (p == NULL)
		return NULL;
	p->number = ev->part;
	p->choice = ev->choice;
	p->meta = ev->meta;
	p->peer = t->buckets[p->number % FILTER_BUCKETS];
	t->buckets[p->number % FILTER_BUCKETS] = p;
	return p;
}

struct buf *
filter_buf(struct filters *f)
{
	struct filter_buf *b = arena_zalloc(f->arena, 1, sizeof *b);

	if (b == NULL)
		return NULL;
	buf_init(&b->b, FILTER_HELD_MAX);
	b->next = f->bufs;
	f->bufs = b;
	return &b->b;
}

/* ---- the chain, from its end ---- */

static int
build(struct filters *f)
{
	const struct shaped *s = f->shaped;
	int r = filter_number(f);

	if (r == 0)
		r = filter_signatures(f);
	if (r == 0)
		r = filter_ids(f);
	if (r == 0)
		r = filter_finish(f);
	if (r == 0)
		r = filter_arguments(f);
	if (r == 0 && s->emulate_stop && f->asked->stop != NULL)
		r = filter_stops(f);
	if (r == 0 && s->strip_fence)
		r = filter_fence(f);
	if (r == 0 && s->json_tool.p != NULL)
		r = filter_json_tool(f);
	if (r == 0)
		r = filter_names(f);
	if (r == 0 && s->tags != TAGS_NONE)
		r = filter_think(f, s->tags);
	return r;
}

struct filters *
filters_new(struct arena *a, const struct shaped *shaped, const struct canon_request *asked,
    enum dialect_id client, enum dialect_id upstream, const uint8_t seed[16],
    const struct canon_sink *next)
{
	struct filters *f = arena_zalloc(a, 1, sizeof *f);

	if (f == NULL)
		return NULL;
	f->arena = a;
	f->shaped = shaped;
	f->asked = asked;
	f->client = client;
	f->upstream = upstream;
	__builtin_memcpy(f->seed, seed, sizeof f->seed);
	f->head = *next;
	if (build(f) != 0) {
		filters_free(f);
		return NULL;
	}
	return f;
}

void
filters_whole(struct filters *f)
{
	f->whole = true;
}

int
filters_take(void *filters, const struct canon_event *ev)
{
	struct filters *f = filters;

	return filter_send(&f->head, ev);
}

bool
filters_cut(const struct filters *f)
{
	return f->cut;
}

void
filters_free(struct filters *f)
{
	if (f == NULL)
		return;
	for (struct filter_buf *b = f->bufs; b != NULL; b = b->next)
		buf_clear(&b->b);
}

/* ---- what some of them share ---- */

size_t
filter_skip_space(struct span s, size_t i)
{
	while (i < s.n && (s.p[i] == ' ' || s.p[i] == '\n' || s.p[i] == '\r' || s.p[i] == '\t'))
		i++;
	return i;
}

int
filter_head(const char *const *tokens, size_t count, struct span s, size_t *n)
{
	size_t i = 0;

	for (size_t k = 0; k < count; k++) {
		size_t len = strlen(tokens[k]), have;

		i = filter_skip_space(s, i);
		have = MIN(s.n - i, len);
		if (memcmp(s.p + i, tokens[k], have) != 0)
			return -1;
		if (have < len)
			return 0;
		i += len;
	}
	*n = i;
	return 1;
}
