/*
 * canon_ids: ids in each dialect's form, made from the seed of the exchange and a number: nothing random, nothing counted
 * globally (spec 6.4, 12.2).
 *
 * canon_id       prefix + `length` characters of `alphabet` from SHA-256(seed, kind of prefix, number).
 */
#ifndef OMNIROUTE_PROTO_CANON_IDS_H
#define OMNIROUTE_PROTO_CANON_IDS_H

#include "shared/arena.h"
#include "shared/base.h"

enum canon_id_kind {
	ID_CHATCMPL, /* chatcmpl- + 29 */
	ID_CMPL,
	ID_CALL,     /* call_ + 24 */
	ID_TOOLU,    /* toolu_ + 24 */
	ID_MSG,      /* msg_ + 24: Messages */
	ID_RESP,     /* resp_ + 48 hex */
	ID_ITEM_MSG, /* msg_ + 48 hex: Responses */
	ID_ITEM_FC,  /* fc_ + 48 hex */
	ID_ITEM_RS,
	ID_ITEM_WS,
	ID_ITEM_CTC,
	ID_ITEM_IG,
	ID_GEMINI,   /* 22 */
	ID_KINDS
};

/* p NULL: out of memory. */
struct span canon_id(struct arena *a, const uint8_t seed[16], enum canon_id_kind kind, uint32_t number);

#endif
