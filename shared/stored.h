/*
 * stored: an answer that a client may come back to (Responses API): its record, as a worker hands it to the master and as the
 * cache holds it (see stored_cache.h). Host byte order, lengths in bytes:
 *
 *   struct stored_head | items x STORED_ID_SIZE: ids of what was answered | answer | input
 *
 * answer  the response object, as the client was given it. input: all items that led to it, the history included, without the
 *         brackets of their list.
 * owner   says who may see it: a hash of the client key's id, or of nothing for those without a key.
 *
 * stored_owner   of a key's id (empty: no key).
 * stored_pack    a sealed memfd with the record; lengths and counts of *h are filled in from the pieces. E_TOO_LONG past
 *                STORED_MAX, E_RANGE for an id that is empty or too long, E_NOMEM, E_SYSTEM.
 * stored_check   a record from elsewhere: 0, or E_SYNTAX, E_VERSION when it does not hold together.
 * stored_items, stored_answer, stored_input   parts of a record that was checked.
 */
#ifndef OMNIROUTE_SHARED_STORED_H
#define OMNIROUTE_SHARED_STORED_H

#include "shared/base.h"

#define STORED_VERSION 1u
#define STORED_ID_SIZE 128u /* of an id with its NUL */
#define STORED_ITEMS 256u
#define STORED_OWNER 16u
#define STORED_MAX (16u << 20)

enum stored_op { STORED_KEEP = 1, STORED_FORGET = 2 };
enum stored_flag {
	STORED_PARTIAL = 1u << 0, /* something that came before is not in `input`: only its upstream knows it */
};

struct stored_head {
	uint32_t version, op;
	uint8_t owner[STORED_OWNER];
	char id[STORED_ID_SIZE];
	char issuer[40]; /* id of the connection whose upstream knows this answer by the same id; empty: none does */
	uint64_t created_s, expires_s;
	uint32_t flags, items;
	uint64_t answer_len, input_len;
};

void stored_owner(struct span key_id, uint8_t owner[STORED_OWNER]);
int stored_pack(struct stored_head *h, const struct span *item, struct span answer, struct span input, int *fd) must_check;
int stored_check(const void *p, size_t n) must_check;
const char *stored_items(const struct stored_head *h); /* h->items x STORED_ID_SIZE, each with its NUL */
struct span stored_answer(const struct stored_head *h);
struct span stored_input(const struct stored_head *h);

#endif
