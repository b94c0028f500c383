/*
 * collect, play: a whole answer from the events of a stream, and the events that a whole answer would have been (spec 18.9).
 *
 * collect_new    NULL: out of memory. `max`: bytes of text and arguments in all; beyond: E_TOO_LONG. Texts are kept in buffers that
 *                collect_free frees; the response that collect_end gives points into them.
 * collect_take   a canon_sink's take.
 * collect_end    0; E_DENIED: the stream failed or was cut, *err. A call that was cut at a limit is left out (spec 18.6).
 * play           one delta for each text and each arguments (texts in slices of at most 4 KB when `sliced`).
 */
#ifndef OMNIROUTE_PROTO_COLLECT_H
#define OMNIROUTE_PROTO_COLLECT_H

#include "proto/canon.h"

struct collect;
struct collect *collect_new(struct arena *a, size_t max) must_check;
int collect_take(void *collect, const struct canon_event *ev);
int collect_end(struct collect *c, struct canon_response *out, struct canon_error *err) must_check;
void collect_free(struct collect *c);

int play(struct arena *a, const struct canon_response *r, bool sliced, const struct canon_sink *sink) must_check;

#endif
