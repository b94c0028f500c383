/*
 * The exchange's insides, for exchange.c (states, targets) and answer.c (what comes back) alone.
 *
 *   exchange.c ── connect ──► relay or echo ── data, done ──► exchange.c ──► answer.c
 *   answer.c ── exchange_attempt_failed (next target or answer_error), exchange_end ──► exchange.c
 *
 * An exchange can end inside any call to http_write (the client has left): it is in XS_DONE then,
 * and its memory stays until the call-back that stands on it returns (`busy`). So answer.c looks
 * at the state after each write.
 */
#ifndef OMNIROUTE_WORKER_EXCHANGE_OWN_H
#define OMNIROUTE_WORKER_EXCHANGE_OWN_H

#include "proto/openai_chat.h"
#include "shared/arena.h"
#include "shared/buf.h"
#include "shared/failure.h"
#include "shared/live.h"
#include "worker/account.h"
#include "worker/endpoint.h"
#include "worker/headers.h"
#include "worker/relay.h"
#include "worker/room.h"
#include "worker/route.h"
#include "worker/stream.h"

#define ATTEMPTS_MAX 30 /* targets tried for one request */

struct echo;

/* What is coming back, from its status and media type. */
enum answer {
	ANSWER_UNKNOWN, /* nothing has come */
	ANSWER_REFUSAL, /* not 2xx */
	ANSWER_WHOLE,   /* one JSON object, as asked */
	ANSWER_STREAM,  /* events, as asked */
	ANSWER_ODD,     /* 2xx, but no events although they were asked for */
	ANSWER_UNASKED, /* events although none were asked for */
	ANSWERS
};

struct attempt {
	const struct snap_conn *conn;
	enum failure failure;
	int status; /* of the upstream; 0: none came */
};

struct exchange {
	const struct endpoint *ep; /* first: the endpoint's way back */
	enum live_exchange_state state;
	unsigned busy; /* call-backs that stand on this exchange */
	struct http_req *req;
	struct arena *arena;
	struct snapshot *snap;
	const struct snap_key *key;
	struct chat_request chat;
	bool streamed, add_stream; /* as asked; the body does not say so and must */
	struct route route;
	struct account account;
	struct room_seat seat; /* while no usage record is free */

	/* the attempt in hand */
	const struct snap_conn *conn;
	struct relay *relay;
	struct echo *echo;
	struct reply_head head;
	enum answer answer;
	enum failure failure; /* found in the answer; FAIL_NONE: none so far */
	int refused;          /* status of a refusal: the upstream's, or told by an error object */
	struct buf body;      /* of an answer that is collected */
	struct stream stream;
	bool blocked; /* the client has enough for now */

	struct attempt attempt[ATTEMPTS_MAX]; /* that failed */
	unsigned attempts;
	uint64_t bytes_out;
};

/* The only writer of x->state. */
void exchange_set_state(struct exchange *x, enum live_exchange_state to);
/* The attempt in hand has failed: on to the next target, or the end. */
void exchange_attempt_failed(struct exchange *x, enum failure f);
/* The attempt in hand has answered, well or (`told`) in a way that can no longer be mended. */
void exchange_attempt_ended(struct exchange *x, enum failure told);
/* Accounts, and lets go of the upstream; XS_DONE. The reply is finished by the caller, behind it:
 * what a client has seen is on record. `booked` may be NULL. */
void exchange_end(struct exchange *x, int status, uint32_t flags, const struct chat_stream *st,
    struct chat_usage *booked);

enum relay_verdict answer_data(struct exchange *x, const char *p, size_t n);
void answer_done(struct exchange *x, enum failure f);
/* Replies with the failure of the last attempt, and ends. */
void answer_error(struct exchange *x);
void answer_reset(struct exchange *x); /* before the next attempt */

#endif
