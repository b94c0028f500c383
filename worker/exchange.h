/*
 * exchange: one chat from request to usage record: the state machine, its arena, its targets in
 * turn. The states are enum live_exchange_state; they change in exchange_set_state and nowhere
 * else, which also moves the counts in the live region.
 *
 *   XS_BODY     the head is accepted, the body is on its way
 *   XS_ROUTE    choosing the next target
 *   XS_CONNECT  sent (or being sent) upstream, no byte of an answer that counts has come: the next
 *               target may still be tried
 *   XS_RELAY    a byte is out to the client: no way back
 *   XS_DONE     accounted; on its way out of memory
 *
 * exchange_head/_body/_drain/_gone are the endpoint's calls for POST /v1/chat/completions.
 * exchange_gone cancels the upstream at once and books what was used. exchange_count: how many are
 * in hand. exchange_shutdown frees what is kept between requests, before curlio_free; none may be
 * in hand.
 */
#ifndef OMNIROUTE_WORKER_EXCHANGE_H
#define OMNIROUTE_WORKER_EXCHANGE_H

#include "worker/endpoint.h"

void exchange_head(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);
void exchange_body(struct http_req *r);
void exchange_drain(struct http_req *r);
void exchange_gone(struct http_req *r);
unsigned exchange_count(void);
void exchange_shutdown(void);

#endif
