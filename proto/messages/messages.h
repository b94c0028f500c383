/*
 * messages: what the files of the Anthropic Messages dialect share. Private to this folder.
 *
 * Hints (canon_source.hint of what came in this dialect) say how a thing was spelled, so that it
 * leaves as it came:
 *
 *   HINT_STRING      content or system was a string, not a list of blocks
 *   HINT_LIST        content of a tool_result was a list, perhaps an empty one
 *   HINT_RAW         part: its `raw` is the whole block
 *   HINT_MARKED      part, tool: a cache mark stands in `raw`
 *   HINT_FALSE       false was said where it is the default (is_error, defer_loading, stream)
 *   HINT_TYPED       tool: type "custom" was said
 *   HINT_START       turn: a message began with it; else it goes on with the one before
 *   HINT_OLD_FORMAT  request: output_format stood at top level
 *   HINT_ENVELOPE    reasoning: its signature came in our envelope
 *
 * Objects with a place of their own in the model (cache_control, thinking, output_config, metadata)
 * are kept whole as an extra when something in them is unknown; what the model knows of them is
 * written from the model, the rest from the extra.
 */
#ifndef OMNIROUTE_PROTO_MESSAGES_MESSAGES_H
#define OMNIROUTE_PROTO_MESSAGES_MESSAGES_H

#include "proto/dialect.h"
#include "proto/profile.h"

enum {
	HINT_STRING = 1u << 0,
	HINT_LIST = 1u << 1,
	HINT_RAW = 1u << 2,
	HINT_MARKED = 1u << 3,
	HINT_FALSE = 1u << 4,
	HINT_TYPED = 1u << 5,
	HINT_START = 1u << 6,
	HINT_OLD_FORMAT = 1u << 7,
	HINT_ENVELOPE = 1u << 8,
};

/* ---- reading ---- */

/* err NULL: nothing is refused. */
struct messages_reader {
	struct arena *a;
	struct canon_error *err;
	struct span model; /* whose signatures these are; p NULL: unknown */
	bool nested;       /* inside a tool_result */
	bool answer;       /* results of the client's tools have no place in it */
	const char *wrong; /* member of a block that made reading it E_SYNTAX */
};

/* A member that is a string: its text. Absent or no string: p NULL. E_NOMEM. */
int messages_get_text(
    struct arena *a, const struct json *o, const char *name, struct span *out) must_check;
int messages_get_cache(struct arena *a, const struct json *o, struct canon_cache *c,
    struct canon_source *s) must_check;
/* Keeps object `m` as an extra if a member stands in it that is not in `known`. */
int messages_keep_rest(struct arena *a, struct canon_source *s, const struct json *m,
    const char *const *known) must_check;
/* One block of content. Any object gives a part: what is unknown stays whole. E_SYNTAX, with an err
 * only: r->wrong. */
int messages_read_block(
    struct messages_reader *r, const struct json *block, struct canon_part **out) must_check;
/* Content: a string or a list. `where`: for errors. */
int messages_read_content(struct messages_reader *r, const struct json *content, const char *where,
    struct canon_parts *out) must_check;
/* Lives as long as `a`; the raw text is copied when `copy`. NULL: out of memory. */
struct canon_annotation *messages_read_citation(
    struct arena *a, const struct json *c, bool copy) must_check;
/* An envelope of ours gives back what was in it (true); anything else is Anthropic's. `encrypted`
 * is kept. */
bool messages_read_signature(
    struct messages_reader *r, struct span text, struct canon_signature *out);

void messages_read_usage(const struct json *usage, struct canon_usage *out);
/* A refusal inside an answer. `type`: of an AWS exception; p NULL: none. */
void messages_read_error(
    struct arena *a, struct span body, struct span type, struct canon_error *out);
/*
 * What only this dialect says about an end, as one object for canon_finish.details: stop_details
 * and container (of an answer, or of the delta of message_delta), context_management (of an answer,
 * or of message_delta itself). p NULL: nothing.
 */
int messages_read_details(struct arena *a, const struct json *delta, const struct json *event,
    struct span *out) must_check;

/* ---- writing ---- */

struct messages_writer {
	struct jsonw w;
	struct arena *a;
	bool answer;    /* for the client; else for an upstream */
	bool assistant; /* whose content this is */
	const uint8_t *seed;
	uint32_t calls;       /* that had no id */
	bool called, refused; /* a tool_use, a refusal was written */
	int error;            /* the first, sticks */
};

static inline bool
messages_own(const struct canon_source *s)
{
	return s->from == DIALECT_MESSAGES;
}
static inline bool
messages_hint(const struct canon_source *s, uint32_t hint)
{
	return s->from == DIALECT_MESSAGES && (s->hint & hint) != 0;
}

/* Every member of object `raw` but those in `except` (NULL: all). */
void messages_put_members(struct messages_writer *o, struct span raw, const char *const *except);
/* Extras that came in this dialect, but those in `except`. */
void messages_put_extras(
    struct messages_writer *o, const struct canon_source *s, const char *const *except);
void messages_put_cache(
    struct messages_writer *o, const struct canon_cache *c, const struct canon_source *s);
/* False: the part has no block here and nothing is written for it. */
bool messages_part_goes(const struct messages_writer *o, const struct canon_part *p);
void messages_put_part(struct messages_writer *o, const struct canon_part *p);
/* What stands instead of media that an answer cannot hold. p NULL: out of memory. */
struct span messages_media_note(struct arena *a, const struct canon_part *p);
/* What is written as `signature` or `data` for a client: as it is, or in our envelope. p NULL: out
 * of memory. */
struct span messages_client_signature(struct arena *a, const struct canon_signature *s);
void messages_put_tools(struct messages_writer *o, const struct canon_request *q);
void messages_put_tool_choice(struct messages_writer *o, const struct canon_request *q);
int messages_read_tools(struct arena *a, const struct json *tools, struct canon_request *q,
    struct canon_error *err) must_check;
int messages_read_tool_choice(
    struct arena *a, const struct json *choice, struct canon_request *q) must_check;

/* The member `usage`, with all that the SDK reads. */
void messages_put_usage(struct messages_writer *o, const struct canon_usage *u);
/* NULL: this end is a failure. `own`: raw is a word of this dialect. */
const char *messages_stop_word(const struct canon_finish *f, bool own, bool called, bool refused);
/* `details`: of messages_read_details; of_event: what stands in message_delta itself. */
void messages_put_details(struct messages_writer *o, struct span details, bool of_event);
/* {"type":…,"message":…} */
void messages_put_error(struct jsonw *w, const struct canon_error *e);

/* ---- the vtable's functions ---- */

int messages_decode_request(
    const struct decode_request *q, struct canon_request **out, struct canon_error *err);
int messages_encode_request(
    const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out);
int messages_decode_response(
    struct arena *a, struct span body, struct canon_response *out, struct canon_error *err);
int messages_encode_response(
    const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out);
void *messages_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p);
int messages_decode(void *state, const struct frame *f, const struct canon_sink *sink);
int messages_decode_end(void *state, const struct canon_sink *sink);
void *messages_encoder_new(struct arena *a, const struct encode_ctx *ctx);
int messages_encode(void *state, const struct canon_event *ev, struct buf *out);
int messages_encode_error(const struct canon_error *e, struct span request_id, struct buf *out);
int messages_error_status(const struct canon_error *e);

#endif
