/*
 * route: from the model id that a client asks for to the connections that may serve it, in order.
 *
 *   prefix/model   prefix is a provider's id or alias, or a connection's name or id; model may
 *                  hold further slashes
 *   model          also with slashes, when no prefix is known: a model that exactly one provider
 *                  lists
 *
 * route_resolve   ROUTE_OK, or why not: then `note` is the sentence for the client, and
 *                 route_error has status and code. `forced` (from x-omniroute-connection, p NULL:
 *                 none) leaves only that connection. *rt must not be copied.
 * route_next      the next connection that is not cooling down; each is handed out once. NULL: no
 *                 more.
 * route_builtin   stands for the connection of a provider that answers by itself and has none; no
 *                 string of it may be read.
 * route_first_free  of those that cool down: the one that is free again first, and when. NULL:
 *                 none is cooling.
 */
#ifndef OMNIROUTE_WORKER_ROUTE_H
#define OMNIROUTE_WORKER_ROUTE_H

#include "shared/base.h"

struct live;
struct snap_conn;
struct snap_provider;
struct snapshot;

enum route_result {
	ROUTE_OK,
	ROUTE_FORMAT,
	ROUTE_UNKNOWN,
	ROUTE_AMBIGUOUS,
	ROUTE_NO_CREDENTIALS,
	ROUTE_NOT_ELIGIBLE,
	ROUTE_RESULTS
};

struct route {
	const struct snapshot *snap;
	const struct snap_provider *provider;
	const char *model; /* for the upstream; points into the id that was resolved */
	const uint32_t *list;
	uint32_t n, at;
	uint32_t forced; /* the list when there is one forced connection */
	char note[320];
};

enum route_result route_resolve(
    struct route *rt, const struct snapshot *snap, const char *id, struct span forced) must_check;
const struct snap_conn *route_next(struct route *rt, const struct live *live, uint64_t now_ns);
const struct snap_conn *route_first_free(
    const struct route *rt, const struct live *live, uint64_t now_ns, uint64_t *until_ns);
/* Whole seconds for Retry-After, at least 1. `until` was rounded up to a ms. */
uint64_t route_wait_s(uint64_t until_ns, uint64_t now_ns);
extern const struct snap_conn route_builtin;
/* How the operator calls it. */
struct span route_conn_name(const struct route *rt, const struct snap_conn *conn);
/* Status and code of an error; code NULL: the usual one of the status. */
struct route_error {
	int status;
	const char *code;
};
const struct route_error *route_error(enum route_result r);

#endif
