/*
 * target: one connection as the target of one request: which dialect is spoken to it, where, and
 * whether the client's bytes may pass as they are.
 *
 * target_choose  the client's own dialect if the connection has it, else the connection's first.
 * The URL lives in `a`. Bytes do not pass when the dialects differ, when an answer has to be told
 * in another form than it comes in, when the body holds a signature in our envelope, or when the
 * provider's row wants something of it changed. `conn` may be route_builtin, which has no URL.
 * E_DENIED: it cannot do what is asked at all; E_NOMEM. target_counts  whether a connection has a
 * counter of tokens for this request. target_free    the rows that were read; at exit.
 *
 * The rows of providers are read once for each snapshot.
 */
#ifndef OMNIROUTE_WORKER_TARGET_H
#define OMNIROUTE_WORKER_TARGET_H

#include "proto/profile.h"
#include "worker/ask.h"

struct snap_conn;
struct snap_provider;
struct snapshot;

struct target {
	enum dialect_id dialect;
	struct profile profile;
	const char *url;
	bool translate;
	bool ask_usage; /* bytes pass, but for a usage chunk that is asked for and kept from the
			   client */
};

struct target_request {
	const struct snapshot *snap;
	const struct snap_provider *provider;
	const struct snap_conn *conn;
	const char *model; /* for the upstream */
	const struct ask *ask;
	struct span body;
	bool streamed;
};

int target_choose(struct target *t, struct arena *a, const struct target_request *q) must_check;
void target_free(void);

#endif
