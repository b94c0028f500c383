/*
 * account: what one exchange costs and how it went: its usage record, and the counters, histograms
 * and connection health in the live region. Nothing here waits.
 *
 * account_open     reserves the usage record; before anything is sent. E_FULL: no record is free.
 * account_attempt  a request goes to `conn` (may be route_builtin): in flight until
 *                  account_attempt_end.
 * account_attempt_end  `told`: the attempt says something of its connection: FAIL_NONE, that it is
 *                  well; otherwise it cools down if the failure is of that kind, for hint_ms
 *                  (headers_hint_ms) if that is not 0. Not told: the client has left.
 * account_first_byte  the first byte of the answer is about to go to the client.
 * account_close    writes the record for good and wakes the master. `status` as the client saw it,
 *                  499: it left. `st` NULL: nothing of an answer came. `asked`: bytes of the
 *                  messages. *booked (may be NULL): the tokens that were written down.
 *
 * Tokens are what the upstream said, to the number. Where it said nothing of an answer that was
 * given, a quarter of the bytes of the question and of the text is written down, and
 * USAGE_ESTIMATED; also for the one of the two numbers that an answer that was broken off lacks.
 */
#ifndef OMNIROUTE_WORKER_ACCOUNT_H
#define OMNIROUTE_WORKER_ACCOUNT_H

#include "proto/translate.h"
#include "shared/base.h"
#include "shared/failure.h"

struct ask;
struct http_req;
struct live_conn;
struct snap_conn;
struct snap_key;
struct snap_provider;
struct snapshot;
struct usage_record;

struct account {
	int cell; /* in the ring; -1: none */
	struct usage_record *rec;
	const struct snapshot *snap;
	uint64_t start_ns, first_byte_ns;
	uint32_t provider_slot, conn_slot;
	struct live_conn *conn; /* of the attempt; NULL: built in */
	bool in_flight;
};

void account_init(struct account *a);
int account_open(struct account *a, const struct http_req *r, const struct snapshot *snap,
    const struct snap_key *key, const struct ask *ask, bool stream) must_check;
void account_attempt(struct account *a, const struct snap_provider *p, const struct snap_conn *conn,
    const char *model);
void account_attempt_end(
    struct account *a, enum failure f, int status, uint64_t hint_ms, bool told);
void account_first_byte(struct account *a);
/* `st` NULL: nothing of an answer came. `asked` is the size of the messages. *booked (may be NULL):
 * what was written down. */
void account_close(struct account *a, int status, uint32_t flags, const struct translate_state *st,
    size_t asked, uint64_t bytes_out, struct canon_usage *booked);

#endif
