/*
 * translate: one exchange between a client of one dialect and upstreams of any: the whole way of spec translation as one
 * object, pure, so that it can be replayed without a process. Used by the worker where the dialects differ, or where bytes
 * cannot pass as they are.
 *
 *   translate_new → translate_request (once) → for each target: translate_target → (fetch media) → translate_body →
 *     a whole answer:  translate_whole
 *     a stream:        translate_open → translate_take … → translate_end | translate_fail
 *
 * translate_request  decodes. 0; E_DENIED: *err for the client; E_NOMEM.
 * translate_target   shapes for a target. May be called again for the next one: the state of the last answer is gone then.
 * translate_media    what has to be fetched before translate_body. NULL: nothing.
 * translate_body     the upstream's request. Its path is the caller's business.
 * translate_whole    the upstream's 2xx body (`framing` tells a whole one from a stream that came unasked: WHOLE or an enum
 *                    framing) → the client's whole body. E_DENIED: *err: it was an error; state->usage may be known all the same.
 * translate_open     an answer begins that the client wants as a stream; `framing` is how it comes (WHOLE: a JSON object although a
 *                    stream was asked for: it is played).
 * translate_take     bytes of it; what may go to the client is appended to `out`. Nothing is written before the first event that says
 *                    something (spec 18.7), so that a failure before it leaves `out` empty and can still fall back.
 * translate_end      the upstream has ended as HTTP wants it. translate_fail: it has not, or the gateway gives up: an error in the
 *                    client's form is appended if a byte is out already, else only state->failed.
 * translate_idle     time for a keep-alive: bytes, or none.
 * translate_begin    10 s of silence behind a 2xx: what must be sent so that keep-alives may follow. Nothing can fall back then.
 * translate_free     frees buffers; the rest is in the arena.
 *
 * All but translate_request, _target: 0, E_NOMEM, E_TOO_LONG, or as said.
 */
#ifndef OMNIROUTE_PROTO_TRANSLATE_H
#define OMNIROUTE_PROTO_TRANSLATE_H

#include "proto/dialect.h"
#include "proto/profile.h"
#include "proto/shape.h"

#define WHOLE (-1)

struct translate_setup {
	struct arena *arena;
	enum dialect_id client;
	uint64_t now_s;
	uint8_t seed[16];
	size_t max_event, max_response;
	bool array; /* Gemini client without alt=sse */
};

/* What is known of the answer by now. */
struct translate_state {
	bool begun;    /* a byte went to the client */
	bool useful;   /* text, a call or reasoning was seen */
	bool finished; /* a finish was seen */
	bool ended;    /* the whole of it is out */
	bool failed;   /* error says why */
	bool cut;      /* a stop sequence was found by the gateway: the upstream can be left */
	struct canon_error error;
	struct canon_usage usage;
	struct canon_finish finish;
	uint64_t text_bytes; /* of texts, reasoning and arguments */
};

struct translate;
struct translate *translate_new(const struct translate_setup *s) must_check;
int translate_request(struct translate *t, const struct decode_request *q, struct canon_error *err) must_check;
const struct canon_request *translate_asked(const struct translate *t);
int translate_target(struct translate *t, const struct profile *p, struct span model, struct canon_error *err) must_check;
struct shaped_media *translate_media(const struct translate *t);
struct span translate_dropped(const struct translate *t); /* p NULL: nothing */
int translate_body(struct translate *t, struct buf *out) must_check;

int translate_whole(struct translate *t, struct span body, int framing, struct buf *out, struct canon_error *err) must_check;

int translate_open(struct translate *t, int framing) must_check;
int translate_take(struct translate *t, const char *p, size_t n, struct buf *out) must_check;
int translate_end(struct translate *t, struct buf *out) must_check;
int translate_fail(struct translate *t, const struct canon_error *e, struct buf *out) must_check;
int translate_idle(struct translate *t, struct buf *out) must_check;
int translate_begin(struct translate *t, struct buf *out) must_check;
const struct translate_state *translate_state(const struct translate *t);
void translate_free(struct translate *t);

#endif
