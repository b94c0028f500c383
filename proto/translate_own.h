/*
 * translate_own: one exchange, as the files of translate know it.
 *
 * book_take     a canon_sink's take behind the filters; ctx = the translate.
 * book_encode   the last sink: the client's encoder.
 * book_release  what was held back goes to the client; from here on everything goes at once.
 */
#ifndef OMNIROUTE_PROTO_TRANSLATE_OWN_H
#define OMNIROUTE_PROTO_TRANSLATE_OWN_H

#include "proto/collect.h"
#include "proto/filter.h"
#include "proto/framing.h"
#include "proto/serial.h"
#include "proto/translate.h"

struct translate {
	struct translate_setup setup;
	struct arena *arena;
	const struct dialect *client, *upstream;
	const struct canon_request *asked;
	/* of the target */
	const struct profile *profile;
	struct shaped shaped;
	struct encode_ctx ctx;    /* of its request */
	struct encode_ctx answer; /* of the client's answer; encoders point to it */
	/* of the answer */
	struct arena *scratch;         /* of one frame */
	struct framing_reader *reader; /* NULL: it comes whole */
	void *decoder, *encoder;
	struct filters *filters;
	struct serial *serial;
	struct collect *collect;
	struct canon_sink next; /* behind the book */
	struct buf hold;        /* encoded, but not for the client yet */
	struct buf body;        /* of a whole answer that is played */
	struct buf usage_raw;
	struct buf *out;
	struct translate_state st;
};

void translate_forget(struct translate *t);
int book_take(void *translate, const struct canon_event *ev);
int book_encode(void *translate, const struct canon_event *ev);
int book_release(struct translate *t) must_check;

#endif
