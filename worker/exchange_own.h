/*
 * The exchange's insides, for the files that it is made of alone.
 *
 *   exchange.c  states, targets in turn, the endpoint's calls
 *   attempt.c   one target: its dialect, the body that it is sent, media, the start of relay or
 * echo answer.c    what comes back, where bytes pass; retell.c: where they are translated quiet.c
 * signs of life for a client whose stream is silent
 *
 *   exchange.c ── attempt_start ──► relay or echo ── data, done ──► attempt.c ──► answer.c,
 * retell.c answer.c, retell.c ── exchange_attempt_failed (next target or answer_error),
 * exchange_end ──► exchange.c
 *
 * An exchange can end inside any call to http_write (the client has left): it is in XS_DONE then,
 * and its memory stays until the call-back that stands on it returns (`busy`). So answer.c looks
 * at the state after each write.
 */
#ifndef OMNIROUTE_WORKER_EXCHANGE_OWN_H
#define OMNIROUTE_WORKER_EXCHANGE_OWN_H

#include <event2/event_struct.h>

#include "proto/translate.h"
#include "shared/arena.h"
#include "shared/buf.h"
#include "shared/failure.h"
#include "shared/live.h"
#include "worker/account.h"
#include "worker/ask.h"
#include "worker/endpoint.h"
#include "worker/headers.h"
#include "worker/relay.h"
#include "worker/room.h"
#include "worker/route.h"
#include "worker/stream.h"
#include "worker/target.h"

#define ATTEMPTS_MAX 30 /* targets tried for one request */

struct echo;
struct fetch;
struct recalled;

/* What is coming back, from its status and media type. */
enum answer {
	ANSWER_UNKNOWN,  /* nothing has come */
	ANSWER_REFUSAL,  /* not 2xx */
	ANSWER_WHOLE,    /* one JSON object, as asked */
	ANSWER_STREAM,   /* events, as asked */
	ANSWER_ODD,      /* 2xx, but no events although they were asked for */
	ANSWER_UNASKED,  /* events although none were asked for */
	ANSWER_RETOLD,   /* a stream, translated */
	ANSWER_GATHERED, /* a whole answer or a stream that is one for the client, to be translated
			  */
	ANSWERS
};

struct attempt {
	const struct snap_conn *conn;
	enum failure failure;
	int status; /* of the upstream; 0: none came */
	enum dialect_id dialect;
};

struct exchange {
	const struct endpoint *ep; /* first: the endpoint's way back */
	enum live_exchange_state state;
	unsigned busy; /* call-backs that stand on this exchange */
	struct http_req *req;
	struct arena *arena;
	struct snapshot *snap;
	const struct snap_key *key;
	struct ask ask;
	bool streamed, add_stream;   /* as asked; the body does not say so and must */
	struct translate *translate; /* NULL: bytes have passed so far */
	bool decoded;                /* the client's request has been */
	struct recalled *recalled; /* what the request refers to; NULL: nothing */
	bool kept;                 /* the answer was handed over to be stored */
	bool is_denied;
	struct canon_error denied; /* why a target that was not asked cannot do it */
	struct route route;
	struct account account;
	struct room_seat seat; /* while no usage record is free */

	/* the attempt in hand */
	const struct snap_conn *conn;
	struct target target;
	struct buf sent;     /* the body, where it is translated */
	struct fetch *fetch; /* of media that the target wants in the body */
	struct relay *relay;
	struct echo *echo;
	struct reply_head head;
	enum answer answer;
	enum failure failure; /* found in the answer; FAIL_NONE: none so far */
	int refused;          /* status of a refusal: the upstream's, or told by an error object */
	struct buf body;      /* of an answer that is collected */
	int framing;          /* of an answer that is gathered */
	struct stream stream;
	struct buf out;          /* translated, for the client */
	struct canon_error told; /* found in a 2xx answer that was translated */
	bool is_told;
	bool blocked;       /* the client has enough for now */
	struct event quiet; /* see quiet.c */
	bool quiet_set;
	uint64_t wrote_ns; /* when the client was last given something of a stream */

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
void exchange_end(struct exchange *x, int status, uint32_t flags, const struct translate_state *st,
    struct canon_usage *booked);
/* Media have come, or (`why`) have not. */
void exchange_fetched(struct exchange *x, const struct canon_error *why);
/* What the request refers to was found, or not (0), or cannot be had (E_NOMEM). */
void exchange_recalled(struct exchange *x, int error);
/* A call-back begins and ends: x may be gone after exchange_leave. */
void exchange_enter(struct exchange *x);
void exchange_leave(struct exchange *x);

/*
 * attempt_prepare  for x->conn: the target, and what it is to be sent. 0: attempt_start may follow.
 * E_AGAIN: media are on their way, exchange_fetched is called. E_DENIED: this target cannot do it,
 * x->denied says why. E_NOMEM. attempt_start    sends. 0, E_NOMEM. attempt_cancel   lets go of
 * upstream and media.
 */
int attempt_prepare(struct exchange *x) must_check;
int attempt_start(struct exchange *x) must_check;
/* An answer whose bytes were to pass cannot be given so: from here on it is translated into its own
 * dialect. */
int attempt_retell(struct exchange *x) must_check;
void attempt_cancel(struct exchange *x);

enum relay_verdict answer_data(struct exchange *x, const char *p, size_t n);
void answer_done(struct exchange *x, enum failure f);
/* Replies with the failure of the last attempt, and ends. */
void answer_error(struct exchange *x);
/* Nothing of a body has come: whether its head alone says that it is a stream, which is open then.
 */
bool answer_early(struct exchange *x);
void answer_reset(struct exchange *x); /* before the next attempt */
/* The state of the answer in hand; NULL: nothing of one came. */
const struct translate_state *answer_state(struct exchange *x);

/* What answer.c, answer_error.c and retell.c share. */
struct canon_error answer_failure(enum failure f);
void answer_say_source(struct exchange *x);
void answer_say_number(struct http_req *r, const char *name, uint64_t n);
void answer_begin(struct exchange *x); /* of a stream: its head */
void answer_forward(struct exchange *x, struct span out);
/* The whole body for the client; the end. */
void answer_give(
    struct exchange *x, const struct translate_state *st, struct span body, const char *type);
const char *answer_type(const struct exchange *x);

/* retell_framing: of a 2xx answer; false: neither events nor JSON. */
bool retell_framing(const struct exchange *x, char first, int *framing);
int retell_open(struct exchange *x) must_check;
enum relay_verdict retell_take(struct exchange *x, const char *p, size_t n);
void retell_end(struct exchange *x, enum failure f);
void retell_gathered(struct exchange *x);

void quiet_start(
    struct exchange *x, bool begun); /* a head has come; or (begun) the first bytes are out */
void quiet_stop(struct exchange *x);

/* The answer to a request for a number of tokens that no upstream has counted. */
void count_reply(struct exchange *x);

#endif
