/*
 * sniff: reads along where bytes pass untouched: usage, finish, failure, without changing anything. The decoder of the
 * dialect does the reading; its events end here.
 *
 * sniff_new    NULL: out of memory.  sniff_frame: one frame.  sniff_end: end of input.
 * sniff_whole  a whole 2xx body. False: it is not an answer of this dialect.
 * sniff_free   frees what is not in the arena.
 */
#ifndef OMNIROUTE_PROTO_SNIFF_H
#define OMNIROUTE_PROTO_SNIFF_H

#include "proto/dialect.h"
#include "proto/translate.h"

struct sniff;
struct sniff *sniff_new(struct arena *a, enum dialect_id dialect, const struct profile *p) must_check;
int sniff_frame(struct sniff *s, const struct frame *f) must_check;
int sniff_end(struct sniff *s) must_check;
const struct translate_state *sniff_state(const struct sniff *s);
bool sniff_whole(struct arena *a, enum dialect_id dialect, struct span body, struct translate_state *out);
void sniff_free(struct sniff *s);

#endif
