/*
 * tokens: the estimate of spec translation 21, for contexts, missing usage and count_tokens where the upstream has no counter.
 *
 * tokens_request   of what the client sent (not of what shaping adds). Never 0 for a request that says something.
 * tokens_text      of one text.
 */
#ifndef OMNIROUTE_PROTO_TOKENS_H
#define OMNIROUTE_PROTO_TOKENS_H

#include "proto/canon.h"

uint64_t tokens_request(const struct canon_request *q, enum dialect_id target);
uint64_t tokens_text(struct span text);

#endif
