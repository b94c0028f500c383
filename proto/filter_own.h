/*
 * filter_own: what the filters of filter.h have in common.
 *
 * Each filter_x puts itself before `head` and becomes the new head: 0, E_NOMEM. Its state lives in
 * the arena; buffers that grow are given to filter_buf, which frees them with the chain. Numbers of
 * parts may be anything between filters: the last one (filter_number) counts them anew.
 */
#ifndef OMNIROUTE_PROTO_FILTER_OWN_H
#define OMNIROUTE_PROTO_FILTER_OWN_H

#include "proto/filter.h"

#define FILTER_BUCKETS 32u
#define FILTER_HELD_MAX (64u << 20) /* bytes that one part may have to wait with */

/* First member of what a filter knows of a part. */
struct filter_part {
	struct filter_part *peer;
	uint32_t number, choice;
	const struct canon_part *meta;
};

struct filter_table {
	struct filter_part *buckets[FILTER_BUCKETS];
};

struct filter_buf {
	struct filter_buf *next;
	struct buf b;
};

struct filters {
	struct arena *arena;
	struct canon_sink head;
	struct filter_buf *bufs;
	const struct canon_request *asked;
	const struct shaped *shaped;
	enum dialect_id client, upstream;
	uint8_t seed[16];
	bool cut;
	bool whole; /* the answer is played: a filter may wait for the end of a part */
};

static inline int
filter_send(const struct canon_sink *next, const struct canon_event *ev)
{
	return next->take(next->ctx, ev);
}

int filter_text(const struct canon_sink *next, uint32_t choice, uint32_t part, struct span text);
int filter_close(const struct canon_sink *next, uint32_t choice, uint32_t part);
int filter_open(
    const struct canon_sink *next, uint32_t choice, uint32_t part, const struct canon_part *meta);

/* NULL: unknown. The newest of a number counts. */
void *filter_part_find(const struct filter_table *t, uint32_t number);
/* `size` bytes, cleared, from the event that opens it. NULL: out of memory. */
void *filter_part_add(
    struct arena *a, struct filter_table *t, size_t size, const struct canon_event *ev);
struct buf *filter_buf(struct filters *f); /* NULL: out of memory */

/* The first index from i that is no JSON white space. */
size_t filter_skip_space(struct span s, size_t i);
/* A wrapper's tokens, with white space between them, in front of s. 1: all of them, *n bytes; 0: it may become so; -1: no. */
int filter_head(const char *const *tokens, size_t count, struct span s, size_t *n);

int filter_think(struct filters *f, enum profile_tags tags);
int filter_names(struct filters *f);
int filter_json_tool(struct filters *f);
int filter_fence(struct filters *f);
int filter_stops(struct filters *f);
int filter_arguments(struct filters *f);
int filter_finish(struct filters *f);
int filter_signatures(struct filters *f);
int filter_ids(struct filters *f);
int filter_number(struct filters *f);

#endif
