/*
 * responses: what the Responses API keeps between two requests: an answer and all that led to it, for the client key that it was made
 * with.
 *
 * responses_recall   reads what a request refers to (previous_response_id, item_reference, conversation). 0: exchange_route may
 *                    follow; E_AGAIN: something may be under way from another worker; exchange_recalled is called. E_NOMEM.
 * responses_body     the request for a translation: with the history in place of the reference.
 * responses_fit      after target_choose: the upstream that made an answer itself, and only that, is given the reference as it
 *                    stands, and so is any upstream of this dialect one that is not known here. 0; E_DENIED: x->denied says why.
 * responses_keep     the whole answer for the client is known.
 * responses_watch    a piece of a stream for the client, in whole events.
 * responses_cancel   the exchange is over.
 * responses_head, responses_gone   GET and DELETE /v1/responses/ID.
 */
#ifndef OMNIROUTE_WORKER_RESPONSES_H
#define OMNIROUTE_WORKER_RESPONSES_H

#include "proto/canon.h"
#include "worker/endpoint.h"
#include "worker/shelf.h"

struct exchange;

struct recalled {
	struct shelf_seek seek;
	struct span previous;    /* id; p NULL: none */
	struct span given;       /* value of "input"; p NULL: there is none */
	bool refers;             /* items of the input, too */
	bool missing;            /* something was not found: `why` */
	bool partial;            /* of `input` something is missing */
	struct canon_error why;
	const char *issuer;      /* id of the connection that knows all of it by these ids; NULL: none */
	struct span input;       /* all items, without brackets */
	struct span body;        /* the request with them */
};

int responses_recall(struct exchange *x) must_check;
struct span responses_body(const struct exchange *x);
int responses_fit(struct exchange *x) must_check;
void responses_keep(struct exchange *x, struct span answer);
void responses_watch(struct exchange *x, struct span out);
void responses_cancel(struct exchange *x);
void responses_head(struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);
void responses_gone(struct http_req *r);

/* Items of the value of "input" at the end of `out`, without brackets: a text is a message of the user. */
void responses_put_items(struct buf *out, struct span input);
void responses_owner(const struct exchange *x, uint8_t owner[STORED_OWNER]);

#endif
