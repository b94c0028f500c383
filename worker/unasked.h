/*
 * unasked: an upstream has streamed though nobody asked for it: its events, put together into the
 * one JSON object that was asked for. Off the ordinary path: a JSON tree. Pure.
 *
 * unasked_join   appends a chat.completion made of the chunks in `sse` to `out`. E_TRUNCATED: the
 *                stream has no end (finish_reason or [DONE]) or no content; E_SYNTAX: what it has
 *                are no chunks; E_TOO_LONG, E_NOMEM.
 */
#ifndef OMNIROUTE_WORKER_UNASKED_H
#define OMNIROUTE_WORKER_UNASKED_H

#include "shared/arena.h"
#include "shared/base.h"
#include "shared/buf.h"

int unasked_join(struct arena *a, struct span sse, size_t max_event, struct buf *out) must_check;

#endif
