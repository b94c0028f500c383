/*
 * canon_error: what an upstream's refusal means (spec 16).
 *
 * canon_error_decode  class, message and waiting time out of status and body of any provider; headers that carry a time are
 *                     given as canon_error_times. `secret` (p NULL: none) is cut out of the message. The message lives in `a`.
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

void canon_error_decode(struct arena *a, int status, struct span body, struct span secret, struct canon_error *out);
const struct canon_error_row *canon_error_class(enum canon_error_class c);
enum canon_error_class canon_error_of_status(int status);

#endif
