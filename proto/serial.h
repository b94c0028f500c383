/*
 * serial: puts the parts of a stream one behind the other, for clients that hold at most one open part (spec 18.1). Events
 * of a part that has to wait are kept; nothing is ever sent to the wrong part. Parts are numbered anew in the order in which
 * they are opened.
 *
 * serial_new    NULL: out of memory. `max`: bytes that may wait; beyond: E_TOO_LONG.
 * serial_take   a canon_sink's take, ctx = the serial.
 * serial_free   what waits is not in the arena.
 */
#ifndef OMNIROUTE_PROTO_SERIAL_H
#define OMNIROUTE_PROTO_SERIAL_H

#include "proto/canon.h"

struct serial;
struct serial *serial_new(struct arena *a, const struct canon_sink *next, size_t max) must_check;
int serial_take(void *serial, const struct canon_event *ev);
void serial_free(struct serial *s);

#endif
