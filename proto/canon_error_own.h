/*
 * canon_error_own: what the two halves of canon_error share: the texts of a body, and what they mean.
 */
#ifndef OMNIROUTE_PROTO_CANON_ERROR_OWN_H
#define OMNIROUTE_PROTO_CANON_ERROR_OWN_H

#include "proto/canon_error.h"

struct error_texts {
	struct span message; /* p NULL: none */
	struct span code, type, status, reason; /* words of the provider; p NULL: none */
	struct span param;
	int number;          /* HTTP status that stands in the body; 0: none */
	uint64_t retry_ms;   /* 0: none */
};

/* Everything lives in `a` or points into the body. */
void error_texts_read(struct arena *a, struct span body, uint64_t now_s, struct error_texts *out);
/* A message for a client: secrets out, one line, bounded. p NULL: nothing is left. */
struct span error_text_clean(struct arena *a, struct span provider, struct span text, struct span secret);

#endif
