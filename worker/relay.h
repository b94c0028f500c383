/*
 * relay: one request to one upstream over libcurl, and its time limits. Knows HTTP, not the
 * dialect.
 *
 * relay_start   sends `q` to its connection; the call-backs come from the event loop, never from
 *               inside relay_start. NULL: out of memory. What `q` points to must live until the
 *               end.
 * data          a piece of the (unpacked) body. RELAY_GO: taken. RELAY_PAUSE: not taken; it comes
 *               again after relay_resume. RELAY_STOP: no more is wanted; `done` follows, with
 *               FAIL_NONE. Status and fields of the answer are in *q.head by then. Not called for
 *               a redirect.
 * head          the head of the answer is complete (NULL: not wanted). Nothing of the relay may be called.
 * done          the end, exactly once unless relay_cancel came first; the relay is gone when it is
 *               called.
 * relay_cancel  at once: the upstream sees its connection or stream closed, no call-back comes any
 *               more. May be called from inside `data`.
 * relay_resume  after RELAY_PAUSE. May call `data` before it returns. Not from inside `data`.
 * relay_linger  the answer is complete as far as its dialect goes: wait at most `ms` for its end,
 *               which then is no failure.
 * relay_shutdown  frees the idle handles; nothing may be running.
 *
 * Limits: connect_timeout until the connection (TLS included) stands; first_byte_timeout without
 * progress until the head of the answer; idle_timeout between pieces of it, but not while paused;
 * `deadline_ns` for all of it. A resolved address in a range that is not allowed is not connected
 * to, and a connection kept from before to such an address is not used.
 */
#ifndef OMNIROUTE_WORKER_RELAY_H
#define OMNIROUTE_WORKER_RELAY_H

#include "shared/base.h"
#include "shared/failure.h"
#include "worker/headers.h"

enum relay_verdict { RELAY_GO, RELAY_PAUSE, RELAY_STOP };

struct relay;
struct relay_handler {
	enum relay_verdict (*data)(void *ctx, const char *p, size_t n);
	void (*done)(void *ctx, enum failure f);
	void (*head)(void *ctx);
};

struct relay_request {
	struct arena *arena;
	const struct snapshot *snap;
	const struct snap_conn *conn;
	const char *url;
	struct curl_slist *headers; /* only read */
	struct span body[3];     /* sent one behind the other */
	uint64_t deadline_ns;    /* 0: none */
	struct reply_head *head; /* filled in before the first `data` */
};

struct relay *relay_start(
    const struct relay_request *q, const struct relay_handler *h, void *ctx) must_check;
void relay_cancel(struct relay *r);
void relay_resume(struct relay *r);
void relay_linger(struct relay *r, unsigned ms);
void relay_shutdown(void);

#endif
