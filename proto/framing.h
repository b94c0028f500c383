/*
 * framing: frames out of a stream that is not SSE, in one form with SSE (which sse.h does): lines of JSON, the elements of a JSON
 * array, AWS event stream (vnd.amazon.eventstream: big-endian, CRC-32 of prelude and message; spec translation 17.1).
 *
 * framing_new    `max`: longest frame. NULL: out of memory.
 * framing_feed   takes all of p[0..n). Then framing_next until it returns 0.
 * framing_next   1: *f is valid until the next call; 0: nothing complete; E_TOO_LONG, E_SYNTAX, E_CHECKSUM: final.
 * framing_end    end of input: a last SSE event or line whose JSON is complete counts. Then framing_next again.
 * framing_free   frees the buffer that grows.
 *
 * framing_put_message  appends one message of an AWS event stream: a JSON event, or an exception, of that type.
 */
#ifndef OMNIROUTE_PROTO_FRAMING_H
#define OMNIROUTE_PROTO_FRAMING_H

#include "proto/dialect.h"

struct framing_reader;
struct framing_reader *framing_new(struct arena *a, enum framing kind, size_t max) must_check;
int framing_feed(struct framing_reader *r, const char *p, size_t n) must_check;
int framing_next(struct framing_reader *r, struct frame *f) must_check;
int framing_end(struct framing_reader *r) must_check;
void framing_free(struct framing_reader *r);

int framing_put_message(
    struct buf *out, bool exception, const char *type, struct span payload) must_check;

#endif
