/*
 * endpoint: from a path to who answers it. One table; keys are checked here, before anything of a
 * body is read.
 *
 * A head is matched by canonical path: /api/v1/x and /v1/x are one, as are the paths that clients
 * without /v1 in their base URL use. Then the key (auth.h). Unknown path: 404; known path, other
 * method: 405 with Allow, or 204 for OPTIONS, which browsers send without a key; a body that is
 * compressed: 415. Then `head`. All of these errors are told in the dialect of the path.
 *
 * head   replies at once, or calls http_accept_body. `tail` is what a pattern ending in "/" leaves,
 *        without the slash. `caller` lives as long as the call; the key in it as long as the
 *        snapshot.
 * body, drain, gone  as in http.h; NULL where they cannot come. r->ctx is the endpoint's own: it
 *        points to an object whose first member is `const struct endpoint *`, or to the endpoint
 *        itself, so that the call finds its way back.
 */
#ifndef OMNIROUTE_WORKER_ENDPOINT_H
#define OMNIROUTE_WORKER_ENDPOINT_H

#include "shared/base.h"
#include "worker/ask.h"
#include "worker/http.h"

struct snap_key;
struct snapshot;

struct caller {
	struct snapshot *snap;      /* that the key was found in; borrowed */
	const struct snap_key *key; /* NULL: no key was sent, and none was needed */
};

enum access {
	ACCESS_OPEN,    /* anybody (healthz, readyz) */
	ACCESS_NOWHERE, /* an unknown path or method: a key is not needed, but a wrong one is told
			 */
	ACCESS_CLIENT,  /* a valid key, or none where that is allowed */
	ACCESS_MANAGE,  /* a loopback or Unix peer, or a key with SCOPE_MANAGE */
};

struct endpoint {
	const char *path;
	unsigned methods; /* 1u << enum http_method; HEAD comes with GET */
	enum access access;
	void (*head)(struct http_req *r, const struct endpoint *ep, const struct caller *caller,
	    struct span tail);
	void (*body)(struct http_req *r);
	void (*drain)(struct http_req *r);
	void (*gone)(struct http_req *r);
	enum dialect_id dialect; /* of the exchange's rows */
	enum ask_kind kind;
	bool completion;
};

/* The handler that http_server_new is given. */
extern const struct http_handler endpoint_handler;

#endif
