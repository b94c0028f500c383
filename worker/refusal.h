/*
 * refusal: an upstream's own error reply: what class it is, how long it wants to be left alone,
 * and what the client is shown of it. Pure.
 *
 * refusal_class    failure class of a status (not 2xx, not 3xx).
 * refusal_told     the status that an error object inside a 2xx answer means: its numeric code if
 *                  that is an error status, else 502; 0: there is no error object. The text must
 *                  be valid JSON.
 * refusal_hint_ms  from the header fields, else from the text ("try again in 20s", "reset after
 *                  1h2m3s"); 0: none.
 * refusal_body     what the client gets. A body that is OpenAI's already
 *                  ({"error":{"message":"…"}}) passes as it is; anything else is put into that
 *                  shape, "[status]: text". Every copy of `secret` in it becomes ***. `attempts`
 *                  (a JSON array; NULL: none) is added to the error object.
 */
#ifndef OMNIROUTE_WORKER_REFUSAL_H
#define OMNIROUTE_WORKER_REFUSAL_H

#include "proto/canon.h"
#include "shared/base.h"
#include "shared/buf.h"
#include "shared/failure.h"
#include "worker/headers.h"

#define REFUSAL_MAX 65536u /* bytes kept of an error body */

/* An error for the client: what an upstream has said, or what was found in its answer. */
struct refusal {
	enum dialect_id client, upstream;
	int status;                     /* of the upstream */
	struct span body, secret;       /* p NULL: none */
	struct span type;               /* x-amzn-errortype */
	struct span request_id;
	struct span provider;           /* its id, for a sentence in another dialect */
	const struct canon_error *told; /* known already; NULL: it is in the body */
	const char *attempts;           /* JSON for the member of that name; NULL: none */
	uint64_t wall_s;
};

enum failure refusal_class(int status);
/* In the client's dialect, with *status for it: an upstream's own body, if it is of that dialect,
 * else its meaning. */
int refusal_tell(struct arena *a, struct buf *out, const struct refusal *q, int *status) must_check;
int refusal_told(struct span body);
uint64_t refusal_hint_ms(const struct reply_head *head, struct span body, uint64_t wall_s);
int refusal_body(struct buf *out, int status, struct span body, struct span secret,
    const char *attempts) must_check;

#endif
