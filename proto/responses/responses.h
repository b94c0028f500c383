/*
 * responses: the OpenAI Responses dialect (spec translation 4, 6, 8, 9, 13 to 18). Private to this
 * folder.
 *
 * Input and output are flat lists of items. An item becomes one part of a turn, except a message,
 * whose contents are one part each: the first of them has HINT_START, and carries what belongs to
 * the item (item_id, extras behind a mark). Consecutive items of the assistant are one turn,
 * results one tool turn. What has no kind in the model is PART_OPAQUE, in its place, with `name`
 * the type of the item and `raw` the whole of it. An item that is written back as it came has
 * HINT_RAW.
 *
 * Extras of a part: those of the content, then a mark (an extra without a name), then those of its
 * message item.
 */
#ifndef OMNIROUTE_PROTO_RESPONSES_H
#define OMNIROUTE_PROTO_RESPONSES_H

#include "proto/canon_ids.h"
#include "proto/dialect.h"

/* canon_source.hint of a part that came in this dialect */
#define HINT_START 0x01u   /* first part of a message item */
#define HINT_CONTENT 0x02u /* stands in the content of a message */
#define HINT_STRING 0x04u  /* the content was a string, not a list */
#define HINT_TYPED 0x08u   /* the message said "type" */
#define HINT_EMPTY 0x10u   /* the content was an empty list */
#define HINT_RAW 0x20u     /* `raw` is the item */
#define HINT_LIST 0x40u    /* of a result: its output was a list */
#define HINT_TEXT 0x80u    /* its type was "text" */
#define HINT_INPUT 0x100u  /* "input_text" */
#define HINT_OUTPUT 0x200u /* "output_text" */
#define HINT_GROUP \
	0x400u /* of a tool: the first of its namespace; extras of the namespace stand behind the \
		  mark */

/* canon_source.hint of a turn */
#define HINT_INSTRUCTIONS 0x01u

/* canon_source.hint of a request */
#define HINT_INPUT_STRING 0x01u
#define HINT_NO_INPUT 0x02u

struct responses_reader {
	struct arena *a;
	bool answer;     /* of an upstream: annotations are parts of the model, signatures native */
	uint32_t family; /* of the model that answers */
	enum canon_origin origin;
	struct canon_error *err; /* requests */
	uint32_t index;          /* of the item, for errors */
};

/* ---- reading (responses_items.c, responses_content.c, responses_media.c) ---- */

/* Parts of one item, at the end of `to`, and whose turn they stand in. 0, E_NOMEM, E_DENIED
 * (requests). */
int responses_item_read(struct responses_reader *rd, const struct json *item,
    struct canon_parts *to, enum canon_role *role);
/* String, list or null. */
int responses_content_read(
    struct responses_reader *rd, const struct json *content, struct canon_parts *to);
struct canon_annotation *responses_annotation_read(struct arena *a, const struct json *j);
/* A mark, behind which extras of the item are kept. */
int responses_extra_mark(struct arena *a, struct canon_source *s);
bool responses_is_native(const struct canon_source *s, uint32_t hint);
/* data URL, or plain base64 → media. False: neither, or no memory. */
bool responses_data_url_read(struct arena *a, struct span url, struct canon_media *m);
/* Member as text; p NULL when it is absent, null, or no string. */
struct span responses_text(struct arena *a, const struct json *o, const char *name);
/* Text of a string; "" of anything else. 0, E_NOMEM. */
int responses_text_take(struct arena *a, const struct json *j, struct span *out) must_check;
/* As responses_text, and "" is absent. */
struct span responses_word(struct arena *a, const struct json *o, const char *name);

/* ---- writing (responses_put.c, responses_put_items.c) ---- */

struct responses_writer {
	struct jsonw *w;
	const struct encode_ctx *ctx;
	bool answer;        /* output of an answer; else input of a request */
	bool encrypted;     /* answers: the client wants encrypted_content */
	const char *status; /* answers: of what is written next */
	uint32_t items;     /* so far */
	bool in_message, is_string;
	const struct canon_part *message; /* its first part */
	struct span logprobs;             /* answers: JSON list for the next text; p NULL: none */
};

void responses_put_part(
    struct responses_writer *rw, const struct canon_part *p, enum canon_role role);
void responses_put_end(struct responses_writer *rw); /* closes a message that is open */
/* Extras of the content, of the item. */
void responses_put_content_extras(struct jsonw *w, const struct canon_source *s);
void responses_put_item_extras(struct jsonw *w, const struct canon_source *s);
void responses_put_annotation(struct jsonw *w, const struct canon_annotation *n);
void responses_put_annotations(struct jsonw *w, const struct canon_annotations *list);

/* Id of an item of an answer: the upstream's own, or one that is made. */
struct span responses_item_id(
    const struct encode_ctx *ctx, const struct canon_part *p, uint32_t index);
void responses_put_item(
    struct responses_writer *rw, const struct canon_part *p); /* all but messages */
void responses_put_call(struct responses_writer *rw, const struct canon_part *p, struct span args);
void responses_put_reasoning(
    struct responses_writer *rw, const struct canon_part *p, struct span text);
void responses_put_image(struct responses_writer *rw, const struct canon_part *p);
void responses_put_search(
    struct responses_writer *rw, const struct canon_part *p, struct span args);
void responses_put_message_open(struct responses_writer *rw, const struct canon_part *first,
    enum canon_role role); /* up to the role */
void responses_put_content(
    struct responses_writer *rw, const struct canon_part *p, enum canon_role role);
bool responses_is_content(const struct canon_part *p, bool answer); /* it stands in a message */
bool responses_shows_search(const struct canon_request *asked, const struct canon_part *p);
enum canon_id_kind responses_id_kind(const struct canon_part *p);

/* ---- tools (responses_tools.c, responses_tools_put.c) ---- */

int responses_tools_read(
    struct arena *a, const struct json *tools, struct canon_tools *to, struct canon_error *err);
int responses_choice_read(struct arena *a, const struct json *choice, struct canon_tool_choice *to);
void responses_tools_put(
    struct jsonw *w, const struct canon_request *q, const struct encode_ctx *ctx);
void responses_choice_put(
    struct jsonw *w, const struct canon_request *q, const struct encode_ctx *ctx);

/* ---- answers (responses_object.c, responses_usage.c, responses_status.c) ---- */

struct responses_object {
	struct span id, model;
	uint64_t created;
	struct span status;
	struct span incomplete; /* JSON of incomplete_details; p NULL: null */
	const struct canon_error *error;
	const struct canon_usage *usage; /* NULL: null */
	struct span service_tier;
	struct span output;             /* the items, without their brackets */
	const struct canon_response *r; /* a whole answer: its upstream's members; NULL */
};
void responses_object_put(
    struct jsonw *w, const struct responses_object *o, const struct encode_ctx *ctx);
bool responses_wants_encrypted(const struct canon_request *asked);

void responses_usage_read(const struct json *j, struct canon_usage *u);
void responses_usage_put(struct jsonw *w, const struct canon_usage *u, struct arena *a);

/* Why the answer ended; false: it failed, *err. */
bool responses_finish_read(struct arena *a, const struct json *response, bool calls,
    struct canon_finish *f, struct canon_error *err);
void responses_error_read(struct arena *a, const struct json *error, struct canon_error *err);
const char *responses_error_code(enum canon_error_class class); /* of a response that failed */
/* "completed", "incomplete" or "failed"; *reason: of incomplete_details, or NULL. */
const char *responses_status_of(enum canon_finish_reason reason, bool refused, const char **why);

/* ---- members of struct dialect ---- */

int responses_decode_request(
    const struct decode_request *q, struct canon_request **out, struct canon_error *err);
int responses_encode_request(
    const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out);
int responses_decode_response(
    struct arena *a, struct span body, struct canon_response *out, struct canon_error *err);
int responses_encode_response(
    const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out);
void *responses_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p);
int responses_decode(void *state, const struct frame *f, const struct canon_sink *sink);
int responses_decode_end(void *state, const struct canon_sink *sink);
void *responses_encoder_new(struct arena *a, const struct encode_ctx *ctx);
int responses_encode(void *state, const struct canon_event *ev, struct buf *out);
void responses_encoder_free(void *state);
int responses_encode_error(const struct canon_error *e, struct span request_id, struct buf *out);
int responses_error_status(const struct canon_error *e);

#endif
