/*
 * auth: who asks, and may they. From the head alone, before anything of a body is read.
 *
 * A key comes as "Authorization: Bearer KEY", x-api-key or x-goog-api-key. Every key that is
 * presented must be valid, else 401, wherever the request comes from; of several the first in this
 * order says who it is. An Authorization of another scheme is a key that is not valid; an empty
 * value is none at all, and a header that stands twice is not valid. Without any key a client is
 * served on loopback and Unix listeners, or everywhere or nowhere, as require_api_key says.
 *
 * auth_check   true and *caller, or false after the reply (401, 403) was sent. Sets r->note.key.
 * auth_admit   takes one request from the key's rate window; false after the reply (429) was sent.
 *              No key, no limit.
 * auth_decide  the rules alone, for tests and for auth_check: 0, or the status to refuse with and
 *              a text.
 */
#ifndef OMNIROUTE_WORKER_AUTH_H
#define OMNIROUTE_WORKER_AUTH_H

#include "shared/snapshot.h"
#include "worker/endpoint.h"

#define AUTH_CREDENTIALS 4

/* What may carry a key, as it came; p NULL: not there. In the order of auth.c's table; the last one
 * is the parameter "key" of the query, which only Gemini's clients use. */
struct auth_presented {
	struct span value[AUTH_CREDENTIALS];
	bool several;  /* one of them stands twice: which one counts is anybody's guess */
	bool local;    /* http_req.local */
	bool loopback; /* http_req.loopback */
};

struct auth_refusal {
	const char *code, *message;
};

int auth_decide(const struct auth_presented *p, enum access access, struct snapshot *snap,
    uint64_t now_wall_s, const struct snap_key **key, struct auth_refusal *why) must_check;
bool auth_check(struct http_req *r, enum access access, struct snapshot *snap,
    struct caller *caller) must_check;
bool auth_admit(struct http_req *r, const struct caller *caller) must_check;

#endif
