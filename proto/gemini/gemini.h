/*
 * gemini: what the files of the Google generateContent dialect share. Private to this folder.
 *
 * Google reads every member in camelCase and in snake_case. Both are read here, of the same name the last one; what came in
 * snake_case in its own dialect leaves so, all else in camelCase. Hints (canon_source.hint of what came in this dialect):
 *
 *   HINT_SNAKE         members of this object, or of the one in it, were in snake_case
 *   HINT_SNAKE_CONFIG  request: those of generationConfig; tool: the name of its list
 *   HINT_SNAKE_THINKING  request: those of thinkingConfig
 *   HINT_CONFIG        request: there was a generationConfig, perhaps an empty one
 *   HINT_SNAKE_CHOICE  request: those of toolConfig
 *   HINT_START         turn, tool: a content, an element of tools began with it; without it, it goes on with the one before
 *                      part of a model turn: a further content of the model began with it
 *   HINT_ENVELOPE      reasoning: its signature came in our envelope
 *   HINT_NO_ROLE       turn: it had none. HINT_FUNCTION: it was "function"
 *   HINT_NO_ARGS       call: it had no args
 *   HINT_NO_TEXT       carrier: it had no text, not an empty one
 *   HINT_SUBSET        request: the schema of the answer, tool: the schema came in OpenAPI's subset
 *   HINT_ENUM          request: text/x.enum
 *   HINT_UPPER         request: thinkingLevel in capitals
 *   HINT_ABSENT        choice: there was no candidate; message of a choice: no content
 *   HINT_NO_INDEX      choice: the candidate had no index
 *   HINT_NO_PARTS      turn, message of a choice: it had no list of parts
 *
 * An object that has a place in the model (inlineData, generationConfig, …) is kept whole as an extra when there is more in it:
 * what the model knows is written from the model, the rest from the extra.
 */
#ifndef OMNIROUTE_PROTO_GEMINI_GEMINI_H
#define OMNIROUTE_PROTO_GEMINI_GEMINI_H

#include "proto/dialect.h"
#include "proto/profile.h"

enum {
	HINT_SNAKE = 1u << 0,
	HINT_SNAKE_CONFIG = 1u << 1,
	HINT_SNAKE_CHOICE = 1u << 2,
	HINT_START = 1u << 3,
	HINT_NO_ROLE = 1u << 4,
	HINT_FUNCTION = 1u << 5,
	HINT_NO_ARGS = 1u << 6,
	HINT_NO_TEXT = 1u << 7,
	HINT_SUBSET = 1u << 8,
	HINT_ENUM = 1u << 9,
	HINT_UPPER = 1u << 10,
	HINT_ABSENT = 1u << 11,
	HINT_NO_PARTS = 1u << 12,
	HINT_NO_INDEX = 1u << 13,
	HINT_SNAKE_THINKING = 1u << 14,
	HINT_CONFIG = 1u << 15,
	HINT_ENVELOPE = 1u << 16,
};

static inline bool
gemini_hint(const struct canon_source *s, uint32_t hint)
{
	return s->from == DIALECT_GEMINI && (s->hint & hint) != 0;
}

/* ---- reading (gemini_read.c); names in camelCase ---- */

/* The name is `camel` or the same in snake_case; *snake is set in the second case. */
bool gemini_name_is(struct span name, const char *camel, bool *snake);
/* NULL: absent or null. */
const struct json *gemini_get(const struct json *o, const char *camel);
/* A member that is a string: its text. Absent or no string: p NULL. E_NOMEM. */
int gemini_get_text(struct arena *a, const struct json *o, const char *camel, struct span *out) must_check;
/* Keeps the members that are not in `known`; sets `snake` in the hint when one of the known was in snake_case. */
int gemini_keep(struct arena *a, struct canon_source *s, const struct json *o, const char *const *known, uint32_t snake) must_check;
/* Keeps member `m` whole when something in it is not in `known`. */
int gemini_keep_rest(struct arena *a, struct canon_source *s, const struct json *m, const char *const *known, uint32_t snake) must_check;
bool gemini_listed(struct span name, const char *const *known, bool *snake);
/* What the buf holds moves to the arena and the buf is cleared. */
struct span gemini_take(struct arena *a, struct buf *b);

/* ---- parts (gemini_parts_decode.c) ---- */

struct gemini_reader {
	struct arena *a;
	struct canon_error *err;
	struct span model; /* whose signatures these are; p NULL: unknown */
};

/* One part; any object gives one. */
int gemini_read_part(struct gemini_reader *r, const struct json *part, struct canon_part **out) must_check;
/* A list of parts, carriers put to the part before them. */
int gemini_read_parts(struct gemini_reader *r, const struct json *parts, struct canon_parts *out) must_check;
/* Where it is a function response: its content, text and media. */
int gemini_read_result(struct gemini_reader *r, const struct json *o, struct canon_part *p) must_check;

/* ---- tools (gemini_tools_decode.c), configuration (gemini_config_decode.c) ---- */

int gemini_read_tools(struct gemini_reader *r, const struct json *tools, struct canon_request *q) must_check;
int gemini_read_choice(struct gemini_reader *r, const struct json *config, struct canon_request *q) must_check;
int gemini_read_config(struct gemini_reader *r, const struct json *config, struct canon_request *q) must_check;
/* OpenAPI's subset as JSON schema for everybody else: lower-case types, no `nullable`. */
int gemini_read_schema(struct gemini_reader *r, struct span subset, const char *param, struct span *out) must_check;
enum canon_choice_kind gemini_choice_of(const struct json *mode, uint32_t names);

/* ---- writing ---- */

struct gemini_writer {
	struct jsonw w;
	struct arena *a;
	const struct profile *profile; /* NULL: for a client */
	bool snake;
	bool thoughts; /* are shown */
	int error;     /* the first, sticks */
};

void gemini_name(struct gemini_writer *o, const char *camel);
void gemini_m_text(struct gemini_writer *o, const char *camel, struct span text);
void gemini_m_raw(struct gemini_writer *o, const char *camel, struct span json);
void gemini_m_open(struct gemini_writer *o, const char *camel, char bracket);
/* The extras of this dialect but those in `except` (NULL: all). */
void gemini_put_extras(struct gemini_writer *o, const struct canon_source *s, const char *const *except);
/* The members of the extra `camel` that are not in `known`. */
void gemini_put_rest(struct gemini_writer *o, const struct canon_source *s, const char *camel, const char *const *known);
int gemini_written(const struct gemini_writer *o); /* 0, or what went wrong */
bool gemini_has_extra(const struct canon_source *s, const char *camel);

/* Whether anything is written for it. */
bool gemini_part_goes(const struct gemini_writer *o, const struct canon_part *p);
/* One part, and a carrier behind it where its signature stood alone. */
void gemini_put_part(struct gemini_writer *o, const struct canon_part *p);
/* {"functionCall":…}; args is JSON of any kind or nothing. */
void gemini_put_call(struct gemini_writer *o, const struct canon_part *p, struct span args, struct span signature);
void gemini_put_media(struct gemini_writer *o, const struct canon_part *p);
/* Media of results that the model takes only beside them. */
void gemini_put_result_media(struct gemini_writer *o, const struct canon_part *p);
/* A string as Google takes it: without NUL. */
void gemini_put_string(struct gemini_writer *o, struct span text);
/* What is written as thoughtSignature; p NULL: nothing. */
struct span gemini_signature(struct gemini_writer *o, const struct canon_signature *s);
void gemini_put_tools(struct gemini_writer *o, const struct canon_request *q);
void gemini_put_choice(struct gemini_writer *o, const struct canon_request *q);
void gemini_put_config(struct gemini_writer *o, const struct canon_request *q);

/* ---- what answers and streams share ---- */

void gemini_read_usage(const struct json *usage, struct canon_usage *out);
void gemini_put_usage(struct gemini_writer *o, const struct canon_usage *u);

/* What an end means (spec 14), with what came before it. False: it is a failure, *why its code. */
bool gemini_finish(struct span word, bool called, bool said, bool counted, struct canon_finish *out, const char **why);
/* Never NULL. `own`: raw is a word of this dialect. */
struct span gemini_finish_word(const struct canon_finish *f, bool own);
/* Fills *e for such a failure. */
void gemini_failure(struct arena *a, struct span word, const char *why, struct canon_error *e);

/* logprobsResult ↔ Chat's form. p NULL: none, or no memory. */
struct span gemini_read_logprobs(struct arena *a, const struct json *result);
void gemini_put_logprobs(struct gemini_writer *o, struct span chat);

/* Which bytes of a text begin a code point: between Google's bytes and the model's code points. All zero is an empty text. */
#define TEXTMAP_BYTES 4096u
struct textmap_block {
	struct textmap_block *next;
	uint64_t before; /* code points before this block */
	uint8_t starts[TEXTMAP_BYTES / 8];
};
struct textmap {
	struct textmap_block *first, *last;
	uint64_t bytes, points;
};
int textmap_add(struct arena *a, struct textmap *m, struct span text) must_check;
uint64_t textmap_points(const struct textmap *m, uint64_t byte);
uint64_t textmap_byte(const struct textmap *m, uint64_t point);

/* Citations of groundingMetadata; start and end count bytes. raw is the whole object, in `a`. */
int gemini_read_grounding(struct arena *a, const struct json *grounding, struct canon_annotations *out) must_check;
/* The same with code points, for a text that begins at byte `from` of what is in the map. */
void gemini_ground(struct canon_annotation *n, const struct textmap *m, uint64_t from);
/* A copy whose places are moved by so many code points; NULL: out of memory. */
struct canon_annotation *gemini_move_cite(struct arena *a, const struct canon_annotation *n, uint64_t points);
/* The member groundingMetadata, or nothing. */
void gemini_put_grounding(struct gemini_writer *o, const struct canon_annotations *list, const struct textmap *m);

/* Arguments that come in pieces {"jsonPath","stringValue",…} (Vertex). */
struct partial_args;
struct partial_args *partial_args_new(struct arena *a) must_check;
int partial_args_add(struct partial_args *p, const struct json *pieces) must_check;
struct span partial_args_text(struct partial_args *p); /* p NULL: out of memory */

/* An object {"error":…}, or a list with one in it. NULL: none. */
const struct json *gemini_error_in(const struct json *root);
void gemini_put_error(struct jsonw *w, const struct canon_error *e, bool details);

/* ---- the vtable's functions ---- */

int gemini_decode_request(const struct decode_request *q, struct canon_request **out, struct canon_error *err);
int gemini_encode_request(const struct canon_request *q, const struct encode_ctx *ctx, struct buf *out);
int gemini_decode_response(struct arena *a, struct span body, struct canon_response *out, struct canon_error *err);
int gemini_encode_response(const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out);
void *gemini_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p);
int gemini_decode(void *state, const struct frame *f, const struct canon_sink *sink);
int gemini_decode_end(void *state, const struct canon_sink *sink);
void *gemini_encoder_new(struct arena *a, const struct encode_ctx *ctx);
int gemini_encode(void *state, const struct canon_event *ev, struct buf *out);
void gemini_encoder_free(void *state);
int gemini_encode_error(const struct canon_error *e, struct span request_id, struct buf *out);
int gemini_error_status(const struct canon_error *e);

#endif
