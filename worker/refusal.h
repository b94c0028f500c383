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

#include "shared/base.h"
#include "shared/buf.h"
#include "shared/failure.h"
#include "worker/headers.h"

#define REFUSAL_MAX 65536u /* bytes kept of an error body */

enum failure refusal_class(int status);
int refusal_told(struct span body);
uint64_t refusal_hint_ms(const struct reply_head *head, struct span body, uint64_t wall_s);
int refusal_body(struct buf *out, int status, struct span body, struct span secret,
    const char *attempts) must_check;

#endif
