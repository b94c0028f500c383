/*
 * dialect: what each dialect can do. One folder proto/<dialect>/ per dialect, which knows its own wire and canon.h and no other
 * dialect. All functions are pure and total: any bytes give a result or an error, never a crash.
 *
 * Decoders are liberal (a missing member, null, "" for absent, numbers as strings, unknown events: no error), encoders strict
 * (every member that the official SDK of that dialect reads without a guard is there). Encoders write members in a fixed
 * order and are deterministic: clock, seed and ids come in encode_ctx.
 *
 *   request    client's body → canon_request → (shape, shape.h) → upstream's body
 *   answer     upstream's body → canon_response → client's body
 *   stream     framing → decoder → canon_events → encoder → bytes for the client
 *   error      upstream's body → canon_error (canon_error.h) → client's body
 */
#ifndef OMNIROUTE_PROTO_DIALECT_H
#define OMNIROUTE_PROTO_DIALECT_H

#include "proto/canon.h"

struct profile;

enum framing {
	FRAMING_SSE,
	FRAMING_NDJSON,
	FRAMING_JSON_ARRAY,  /* Gemini without alt=sse */
	FRAMING_EVENTSTREAM, /* AWS, binary */
};

/* A client's request, with what it said outside its body. */
struct decode_request {
	struct arena *arena;
	struct span body;
	struct span model;  /* from the path (Gemini); p NULL: it is in the body */
	bool stream;        /* from the path (Gemini) */
	bool completion;    /* Chat: /v1/completions */
	bool resolved;      /* Responses: the input holds what previous_response_id stands for */
	struct span betas;  /* value of anthropic-beta; p NULL: none */
};

struct encode_ctx {
	struct arena *arena;
	struct span model;  /* what goes on the wire */
	uint64_t now_s;
	uint8_t seed[16];   /* of the exchange: ids are made from it */
	const struct profile *profile; /* of the target; requests only */
	const struct canon_request *asked; /* answers: the client's request as it was decoded; never NULL */
	bool array;         /* Gemini client without alt=sse: the stream is one JSON array */
};

/* One piece of a stream, unframed: an SSE event, a line, an element, a binary frame. */
struct frame {
	struct span type; /* SSE `event:`, `:event-type` or `:exception-type`; p NULL: none */
	struct span data;
	bool exception;   /* AWS: :message-type is exception or error */
};

struct dialect {
	enum dialect_id id;
	const char *name;
	enum framing framing; /* of its streams */
	bool sequential; /* its stream holds one open part at a time: serial.h stands before the encoder */

	/* 0; E_DENIED: *err says why, for the client (canon_fail); E_NOMEM, E_TOO_LONG. */
	int (*decode_request)(const struct decode_request *q, struct canon_request **out, struct canon_error *err);
	int (*encode_request)(const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out);
	/* 0; E_DENIED: the 2xx body is an error, *err; E_SYNTAX: not an answer of this dialect. */
	int (*decode_response)(struct arena *a, struct span body, struct canon_response *out, struct canon_error *err);
	int (*encode_response)(const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out);

	/* State of one stream, in `a`; NULL: out of memory. `scratch` is emptied by the caller between two frames. */
	void *(*decoder_new)(struct arena *a, struct arena *scratch, const struct profile *p);
	/* One frame → any number of events. 0 or what the sink returned. A frame that is no JSON: EVENT_FAIL, class server. */
	int (*decode)(void *state, const struct frame *f, const struct canon_sink *sink);
	/* End of input: closes what is open; FINISH and END when the end is proved (spec 17.9), else EVENT_FAIL with the code
	 * upstream_stream_cut. Nothing after an END or FAIL. */
	int (*decode_end)(void *state, const struct canon_sink *sink);

	/* Bytes are appended to `out`, framed for the client. The sink of canon_events, with (state, out). */
	void *(*encoder_new)(struct arena *a, const struct encode_ctx *ctx);
	int (*encode)(void *state, const struct canon_event *ev, struct buf *out);
	void (*encoder_free)(void *state); /* what is not in the arena; NULL: nothing */

	/* {"error":…} in this dialect and its status (0 in e->status: the class's). request_id may be empty. */
	int (*encode_error)(const struct canon_error *e, struct span request_id, struct buf *out);
	int (*error_status)(const struct canon_error *e);
};

/* NULL members: this dialect is never a client's (Cohere, Ollama, Converse: no decode_request, encode_response, encode*). */
const struct dialect *dialect_get(enum dialect_id id); /* never NULL for a valid id */

extern const struct dialect dialect_chat, dialect_responses, dialect_messages, dialect_gemini, dialect_cohere, dialect_ollama,
    dialect_converse;

#endif
