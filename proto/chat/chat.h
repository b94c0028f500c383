/*
 * chat: what the files of the OpenAI Chat Completions dialect share. Private to this folder.
 *
 * Hints (canon_source.hint of what came in this dialect) tell how a thing was spelled, so that it leaves as it came:
 *
 *   HINT_STRING       message, result: content was a string, not a list
 *   HINT_NULL         assistant message: content was null;  HINT_ABSENT: there was none
 *   HINT_START        turn: a message began with it; without it, it goes on with the message of the turn before
 *   HINT_REASONING    reasoning part: its text stood in `reasoning`, not in `reasoning_content`
 *   HINT_BOTH         reasoning part: in both
 *   HINT_DETAILS      reasoning part: `raw` is the list reasoning_details; HINT_PLAIN: the plain member was there, too
 *   HINT_FUNCTION     call, result: the old form (function_call, role function);  request: functions
 *   HINT_MAX_NEW      request: max_completion_tokens
 *   HINT_STOP_STRING  request: stop was a string
 *   HINT_FALSE        request: stream: false was said
 *   HINT_URL_STRING   image: image_url was a string (Mistral)
 */
#ifndef OMNIROUTE_PROTO_CHAT_CHAT_H
#define OMNIROUTE_PROTO_CHAT_CHAT_H

#include "proto/dialect.h"
#include "proto/profile.h"

enum {
	HINT_STRING = 1u << 0,
	HINT_NULL = 1u << 1,
	HINT_START = 1u << 2,
	HINT_REASONING = 1u << 3,
	HINT_BOTH = 1u << 4,
	HINT_DETAILS = 1u << 5,
	HINT_FUNCTION = 1u << 6,
	HINT_MAX_NEW = 1u << 7,
	HINT_STOP_STRING = 1u << 8,
	HINT_FALSE = 1u << 9,
	HINT_URL_STRING = 1u << 10,
	HINT_ABSENT = 1u << 11,
	HINT_PLAIN = 1u << 12,
};

/* ---- reading: an error sticks, and what is read behind it is empty ---- */

struct chat_reader {
	struct arena *a;
	struct span model; /* whose signatures these are; p NULL: unknown */
	int error;
};

/* Text of a string member; p NULL: absent or no string. An empty string is there. */
struct span chat_text(struct chat_reader *r, const struct json *o, const char *name);
struct canon_part *chat_part(struct chat_reader *r, struct canon_parts *to, enum canon_part_kind kind);
void chat_extras(struct chat_reader *r, struct canon_source *s, const struct json *o, const char *const *known);
/* "data:image/png;base64,…" or an address. */
void chat_read_url(struct chat_reader *r, struct span url, struct canon_media *m);
/* content: string, list or null. Returns the hint of its spelling. */
uint32_t chat_read_content(struct chat_reader *r, const struct json *content, struct canon_parts *to);
/* An assistant's message: reasoning, content, refusal, audio, images, calls. */
void chat_read_assistant(struct chat_reader *r, const struct json *m, struct canon_parts *to, struct canon_source *s);
/* reasoning_content, reasoning, thinking: text of whichever is there; *hint as above. */
struct span chat_reasoning_text(struct chat_reader *r, const struct json *m, uint32_t *hint);
struct canon_annotation *chat_read_annotation(struct chat_reader *r, const struct json *j);
/* One signature out of an element of reasoning_details; false: it has none. */
bool chat_read_detail(struct chat_reader *r, const struct json *detail, struct canon_signature *out);
/* extra_content.google.thought_signature of a call. */
void chat_read_call_signature(struct chat_reader *r, const struct json *call, struct canon_signature *out);
/* From an answer or a chunk; false: there is none. */
bool chat_read_usage(const struct json *holder, struct canon_usage *u);

static inline bool
chat_hint(const struct canon_source *s, uint32_t hint)
{
	return s->from == DIALECT_CHAT && (s->hint & hint) != 0;
}

/* ---- writing ---- */

struct chat_writer {
	struct jsonw w;
	const struct encode_ctx *ctx;
	bool request;
	uint32_t calls; /* that had no id */
	int error;
};

/* The member cache_control, if the mark is set. */
void chat_put_cache(struct chat_writer *o, const struct canon_cache *c);
/* The member `content` of a message that is no assistant's: a string where that says it all. */
void chat_put_content(struct chat_writer *o, const struct canon_parts *parts, bool string);
void chat_put_assistant(struct chat_writer *o, const struct canon_parts *parts, const struct canon_source *s);
/* {"type":"reasoning.text",…} of a signature, for reasoning_details. */
void chat_put_detail(struct chat_writer *o, const struct canon_signature *s, struct span text, uint32_t index);
/* Of UTF-8. */
int64_t chat_code_points(struct span s);
void chat_put_annotation(struct chat_writer *o, const struct canon_annotation *n, int64_t shift);
/* {"id","type","function":{"name","arguments"}}; args p NULL: "". */
void chat_put_call(struct chat_writer *o, const struct canon_part *p, struct span args);
struct span chat_call_id(struct chat_writer *o, struct span id);
void chat_put_usage(struct jsonw *w, const struct canon_usage *u);
void chat_put_image(struct chat_writer *o, const struct canon_media *m);
/* NULL: this end is a failure. */
const char *chat_finish_word(const struct canon_finish *f, bool legacy);
void chat_put_tools(struct chat_writer *o, const struct canon_request *q);
void chat_put_error(struct jsonw *w, const struct canon_error *e);
/* The member `error` of an answer or a chunk says that it is none. */
bool chat_is_failure(const struct json *error);
/* The error object inside an answer that said it was fine. */
void chat_read_error(struct arena *a, struct span body, struct canon_error *out);

/* ---- the vtable's functions ---- */

int chat_decode_request(const struct decode_request *q, struct canon_request **out, struct canon_error *err);
int chat_encode_request(const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out);
int chat_decode_response(struct arena *a, struct span body, struct canon_response *out, struct canon_error *err);
int chat_encode_response(const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out);
void *chat_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p);
int chat_decode(void *state, const struct frame *f, const struct canon_sink *sink);
int chat_decode_end(void *state, const struct canon_sink *sink);
void *chat_encoder_new(struct arena *a, const struct encode_ctx *ctx);
int chat_encode(void *state, const struct canon_event *ev, struct buf *out);
int chat_encode_error(const struct canon_error *e, struct span request_id, struct buf *out);
int chat_error_status(const struct canon_error *e);

/* tools and tool_choice, functions and function_call */
void chat_read_tools(struct chat_reader *r, const struct json *root, struct canon_request *q);

#endif
