/*
 * ollama: Ollama's /api/chat, what its files share (spec translation 19.2).
 *
 * ollama_read_message  parts of a message.
 * ollama_read_args     arguments of a call as JSON.
 * ollama_read_usage    the counts of an answer. ollama_finish: its end.
 * ollama_put_message   thinking, images, calls; role, content and extras are the caller's.
 */
#ifndef OMNIROUTE_PROTO_OLLAMA_H
#define OMNIROUTE_PROTO_OLLAMA_H

#include "proto/dialect.h"
#include "proto/wire.h"

/* How a request was spelled. */
enum { HINT_OPTIONS = 1, HINT_NO_TOOLS = 2, HINT_ONE_STOP = 4 };

extern const char *const ollama_options[]; /* members of `options` that the model has a place for */

int ollama_read_message(struct arena *a, const struct json *m, struct canon_parts *out) must_check;
struct span ollama_read_args(struct arena *a, const struct json *args);
void ollama_read_usage(const struct json *o, struct canon_usage *out);
void ollama_finish(struct arena *a, const struct json *o, struct canon_finish *out);
uint64_t ollama_time(struct span rfc3339);        /* s since 1970; 0: unreadable */
void ollama_put_time(struct wire *o, uint64_t s); /* created_at */
void ollama_put_end(struct wire *o, const struct canon_finish *f,
    const struct canon_usage *u); /* done, why, counts */
void ollama_put_message(struct wire *o, const struct canon_parts *parts);

int ollama_decode_request(
    const struct decode_request *q, struct canon_request **out, struct canon_error *err);
int ollama_encode_request(
    const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out);
int ollama_decode_response(
    struct arena *a, struct span body, struct canon_response *out, struct canon_error *err);
int ollama_encode_response(
    const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out);

void *ollama_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p);
int ollama_decode(void *state, const struct frame *f, const struct canon_sink *sink);
int ollama_decode_end(void *state, const struct canon_sink *sink);

void *ollama_encoder_new(struct arena *a, const struct encode_ctx *ctx);
int ollama_encode(void *state, const struct canon_event *ev, struct buf *out);
void ollama_encoder_free(void *state);

#endif
