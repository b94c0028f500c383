/*
 * fetch: what a request points to by URL and its target wants in the body: images and documents,
 * over http and https, guarded: no forbidden address (link-local, metadata, …) and, unless
 * fetch_private says so, no private one, for each address that a name resolves to and each of at
 * most 3 redirects; no user or password; at most 20 MB and 15 s each, 32 of them and 64 MB in all.
 *
 * fetch_media   begins with all of `list`. Then `done`, once, from the event loop and never from
 * inside fetch_media: `why` NULL: each part is MEDIA_BASE64 now, its bytes in `a`; else an error
 * for the client, with the parameter. NULL: out of memory. fetch_cancel  at once; no `done`.
 */
#ifndef OMNIROUTE_WORKER_FETCH_H
#define OMNIROUTE_WORKER_FETCH_H

#include "proto/shape.h"

struct fetch;
struct snapshot;

typedef void fetch_done(void *ctx, const struct canon_error *why);

struct fetch *fetch_media(struct arena *a, const struct snapshot *snap, struct shaped_media *list,
    fetch_done *done, void *ctx) must_check;
void fetch_cancel(struct fetch *f);

#endif
