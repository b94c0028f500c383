/*
 * openai_chat: what the gateway has to know of OpenAI Chat Completions when it passes it through: where model and stream
 * stand, usage, whether a stream came to its end, and the shape of errors. Facts: spec client-api 5 and 7. Pure.
 *
 * chat_request     finds and checks the members that steer the exchange. On error *why is a sentence for the client, which
 *                  lives in *req.
 * chat_usage       usage of a whole reply, or of one streamed chunk; false: it has none.
 * chat_chunk       looks at one chunk of a stream and updates the state. What is not a JSON object changes nothing.
 *                  True: it is JSON, and nothing but.
 * chat_error_body  {"error":{"message","type","code"}}: type and code from the table for `status` unless given.
 * chat_error_event the same as an SSE event: "data: {…}\n\n".
 */
#ifndef OMNIROUTE_PROTO_OPENAI_CHAT_H
#define OMNIROUTE_PROTO_OPENAI_CHAT_H

#include "shared/base.h"
#include "shared/buf.h"

#define MODEL_MAX 200

struct chat_request {
	char model[MODEL_MAX + 1];
	struct span model_value; /* with quotes, in the body: the span to replace */
	bool stream, stream_given;
	struct span messages, tools, tool_choice;
	char note[128]; /* what *why points to */
};

struct chat_usage {
	uint64_t in, out, cached, reasoning;
};

struct chat_stream {
	bool finished; /* a finish_reason was seen */
	bool done;     /* [DONE] */
	bool error;    /* an error object was seen inside the stream */
	bool useful;   /* a delta with content, a tool call or reasoning was seen */
	bool has_usage;
	struct chat_usage usage;
	uint64_t text_bytes; /* of the deltas, for an estimate where the upstream gives no usage */
};

int chat_request(const char *body, size_t n, struct chat_request *req, const char **why) must_check;
bool chat_usage(struct span json, struct chat_usage *u);
bool chat_chunk(struct chat_stream *st, struct span data);
int chat_error_body(struct buf *b, int status, const char *type, const char *code, const char *message);
int chat_error_event(struct buf *b, int status, const char *type, const char *code, const char *message);
/* "invalid_request_error" … and its code and default message for a status. */
struct chat_error_kind {
	int status;
	const char *type, *code, *message;
};
const struct chat_error_kind *chat_error_kind(int status);

#endif
