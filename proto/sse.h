/*
 * sse: finding the events in a stream of server-sent events (WHATWG HTML, 9.2). Pure.
 *
 * LF, CR LF and CR end a line; an empty line ends an event; a BOM at the very start is skipped; lines with ":" first are
 * comments; several data lines are joined by LF. The raw bytes are kept, so that a stream can be passed on untouched.
 *
 * sse_new    a decoder in arena `a`. `max`: longest event accepted. NULL when the arena is at its ceiling.
 * sse_feed   takes all of p[0..n). Then sse_next until it returns SSE_MORE.
 * sse_next   SSE_EVENT: *ev is valid until the next call of any function; ev->raw are the bytes from the end of the
 *            last event to the end of this one (comments and blank lines included). SSE_MORE: nothing complete.
 *            E_TOO_LONG: final.
 * sse_rest   what has come since the last complete event.
 * sse_free   frees the buffer that grows with the event; the rest dies with the arena.
 */
#ifndef OMNIROUTE_PROTO_SSE_H
#define OMNIROUTE_PROTO_SSE_H

#include "shared/arena.h"
#include "shared/base.h"

struct sse;
struct sse_event {
	struct span raw, event, data, id; /* event empty: "message"; data p NULL: no data line (a comment only) */
};
enum sse_result { SSE_MORE, SSE_EVENT };

struct sse *sse_new(struct arena *a, size_t max) must_check;
int sse_feed(struct sse *s, const char *p, size_t n) must_check;
int sse_next(struct sse *s, struct sse_event *ev) must_check;
struct span sse_rest(const struct sse *s);
void sse_free(struct sse *s);

#endif
