/*
 * cohere: Cohere's /v2/chat, what its files share (spec translation 19.1).
 *
 * cohere_read_message  parts of a message (role tool: of its content). `how` gets the HINT_ bits of
 *                      how it was spelled.
 * cohere_read_usage    the `usage` of an answer.
 * cohere_citation      the annotation that a citation is for others; NULL in *out: for nobody.
 * cohere_error         what an end by an error says; `o`: where finish_reason and error stand.
 * cohere_word          the service's word for an end. cohere_put_usage: the member `usage`.
 * cohere_put_message   all members of a message but its role and extras.
 */
#ifndef OMNIROUTE_PROTO_COHERE_H
#define OMNIROUTE_PROTO_COHERE_H

#include "proto/dialect.h"
#include "proto/wire.h"

enum {
	/* of a message */
	HINT_LIST = 1,    /* its content was a list */
	HINT_CONTENT = 2, /* there was one */
	/* of a text */
	HINT_PLAN = 1, /* it was the tool_plan */
};

int cohere_read_message(
    struct arena *a, const struct json *m, struct canon_parts *out, uint32_t *how) must_check;
void cohere_read_usage(const struct json *usage, struct canon_usage *out);
int cohere_citation(
    struct arena *a, const struct json *j, struct canon_annotation **out) must_check;
bool cohere_failed(struct span word);
void cohere_error(struct arena *a, const struct json *o, struct canon_error *out);
const char *cohere_word(enum canon_finish_reason reason);
void cohere_put_usage(struct wire *o, const struct canon_usage *u);
void cohere_put_message(
    struct wire *o, const struct canon_parts *parts, const struct canon_source *s, bool answer);

int cohere_decode_request(
    const struct decode_request *q, struct canon_request **out, struct canon_error *err);
int cohere_encode_request(
    const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out);
int cohere_decode_response(
    struct arena *a, struct span body, struct canon_response *out, struct canon_error *err);
int cohere_encode_response(
    const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out);

void *cohere_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p);
int cohere_decode(void *state, const struct frame *f, const struct canon_sink *sink);
int cohere_decode_end(void *state, const struct canon_sink *sink);

void *cohere_encoder_new(struct arena *a, const struct encode_ctx *ctx);
int cohere_encode(void *state, const struct canon_event *ev, struct buf *out);

#endif
