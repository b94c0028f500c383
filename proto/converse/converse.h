/*
 * converse: AWS Bedrock's Converse, what its files share (spec translation 19.3).
 *
 * converse_read_block     one block → a part behind `out`; a cache point marks the part before it.
 * converse_read_sign      a redacted thought as it stands on the wire → what its maker wrote.
 * converse_read_citation  an annotation; its texts point into `j`.
 * converse_read_usage     the `usage` of an answer.
 * converse_word           the service's word for an end.
 * converse_put_usage      the member `usage`. converse_put_redacted: that of a redacted thought.
 * converse_put_block      one part, with its cache point. converse_goes: it has a form here.
 */
#ifndef OMNIROUTE_PROTO_CONVERSE_H
#define OMNIROUTE_PROTO_CONVERSE_H

#include "proto/dialect.h"
#include "proto/wire.h"

enum {
	HINT_SYSTEM = 1, /* of a request: it had a list of system blocks, even if empty */
	HINT_STATUS = 1, /* of a result: it had a status */
};

/* In front of a redacted thought that is not text, in base64. No text of Claude's begins so. */
#define CONVERSE_BLOB "blob:"

struct converse_writer {
	struct wire o;
	const struct profile *profile; /* NULL: an answer */
	unsigned documents;
};

extern const struct wire_media converse_images[], converse_documents[], converse_videos[];

int converse_read_block(
    struct arena *a, const struct json *block, struct canon_parts *out) must_check;
int converse_read_sign(struct arena *a, struct span base64, struct canon_signature *out) must_check;
int converse_read_citation(
    struct arena *a, const struct json *j, struct canon_annotation **out) must_check;
void converse_read_usage(const struct json *usage, struct canon_usage *out);

const char *converse_word(enum canon_finish_reason reason);
void converse_put_usage(struct wire *o, const struct canon_usage *u);
void converse_put_redacted(struct wire *o, struct span data);
bool converse_goes(const struct canon_part *p);
void converse_put_block(struct converse_writer *c, const struct canon_part *p);
void converse_put_cache(
    struct converse_writer *c, const struct canon_cache *cache, const struct canon_source *s);
void converse_put_fields(struct wire *o, const struct canon_request *q,
    struct span model); /* additionalModelRequestFields */

int converse_decode_request(
    const struct decode_request *q, struct canon_request **out, struct canon_error *err);
int converse_encode_request(
    const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out);
int converse_decode_response(
    struct arena *a, struct span body, struct canon_response *out, struct canon_error *err);
int converse_encode_response(
    const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out);

void *converse_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p);
int converse_decode(void *state, const struct frame *f, const struct canon_sink *sink);
int converse_decode_end(void *state, const struct canon_sink *sink);

void *converse_encoder_new(struct arena *a, const struct encode_ctx *ctx);
int converse_encode(void *state, const struct canon_event *ev, struct buf *out);
void converse_encoder_free(void *state);

#endif
