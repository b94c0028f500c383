/*
 * signature: the envelope in which a signature travels through a client of another dialect (spec 8.4.3):
 * base64("OMNI01" + origin + 4 bytes of the model family's hash + payload). It always begins with SIGNATURE_MARK.
 *
 * signature_wrap     `s` for a client; p NULL: out of memory. An unsigned thought has an envelope with an empty payload.
 *                    What is in an envelope already stays as it is.
 * signature_unwrap   true: it was an envelope, *out is what was in it. False: *out is the text itself with `native` as its origin.
 * signature_present  an envelope stands somewhere in these bytes: the pass-through path must not be taken.
 */
#ifndef OMNIROUTE_PROTO_SIGNATURE_H
#define OMNIROUTE_PROTO_SIGNATURE_H

#include "proto/canon.h"

#define SIGNATURE_MARK "T01OSTAx"

struct span signature_wrap(struct arena *a, const struct canon_signature *s);
bool signature_unwrap(struct arena *a, struct span text, enum canon_origin native, struct canon_signature *out);
bool signature_present(struct span body);
uint32_t signature_family(struct span model);

#endif
