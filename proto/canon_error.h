/*
 * canon_error: what an upstream's refusal means (spec 16).
 *
 * canon_error_decode  class, message and waiting time out of status and body of any provider (headers that carry a time are the
 *                     caller's). `status` below 400: an error inside an answer that said it was fine. `secret` (p NULL: none) is
 *                     cut out of the message, and so is what looks like a key, an account or a private host. The message lives
 *                     in `a`. Always gives an error, whatever the body.
 * canon_error_read    the same, with what more is known.
 * canon_error_class   the row of the table: status, words of each dialect.
 */
#ifndef OMNIROUTE_PROTO_CANON_ERROR_H
#define OMNIROUTE_PROTO_CANON_ERROR_H

#include "proto/canon.h"

struct canon_error_row {
	int status;          /* for the client */
	int messages_status; /* where Messages has its own */
	const char *chat_type, *chat_code, *messages_type, *gemini_status;
};

struct canon_error_source {
	int status;
	struct span body;
	struct span secret;   /* p NULL: none */
	struct span type;     /* value of x-amzn-errortype, or :exception-type; p NULL: none */
	struct span provider; /* for the prefix "[groq] "; p NULL: no prefix */
	uint64_t now_s;       /* for waiting times that are given as a moment; 0: they are not read */
};

void canon_error_read(struct arena *a, const struct canon_error_source *src, struct canon_error *out);
void canon_error_decode(struct arena *a, int status, struct span body, struct span secret, struct canon_error *out);
const struct canon_error_row *canon_error_class(enum canon_error_class c);
enum canon_error_class canon_error_of_status(int status);

#endif
