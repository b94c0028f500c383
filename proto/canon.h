/*
 * canon: the canonical model: what every dialect is decoded into and encoded from (spec translation, section 3). Hub and
 * spoke: no file knows two dialects.
 *
 * Memory: everything lives in the arena of its request, or is a span of the text that it was decoded from; both outlive
 * it. Nothing is freed singly. Texts are unescaped UTF-8. A span with p NULL is "not there"; an empty text has p != NULL.
 * `raw`, `args`, `schema` and numbers are JSON exactly as it stood in its source (white space included), never printed anew.
 *
 * Extras: members that the model has no place for are kept beside the thing they stood in, with the dialect they came in, and
 * are written again when that same dialect is the target (canon_put_extras). So decode → encode of one dialect gives back
 * every member. `hint` is private to the dialect named in `from`: how a thing was spelled (string or list, …), 0 when it
 * was made by anybody else.
 *
 * Numbers of sampling are spans, so that a temperature leaves as it was written; canon_number reads one.
 */
#ifndef OMNIROUTE_PROTO_CANON_H
#define OMNIROUTE_PROTO_CANON_H

#include <sys/queue.h>

#include "proto/dialect_id.h"
#include "proto/json.h"
#include "proto/jsonw.h"
#include "shared/arena.h"
#include "shared/base.h"
#include "shared/buf.h"

struct canon_extra {
	struct canon_extra *next;
	struct span name;  /* as written between its quotes */
	struct span value; /* JSON */
};

/* Where it came from, its unknown members, its spelling there. */
struct canon_source {
	enum dialect_id from;
	uint32_t hint;
	struct canon_extra *extra, **extra_end;
};

/* Who can read a signature or an encrypted thought (spec 8.4). */
enum canon_origin {
	ORIGIN_NONE, /* unsigned, or nobody knows */
	ORIGIN_ANTHROPIC, /* also on Bedrock and Vertex */
	ORIGIN_GOOGLE,
	ORIGIN_OPENAI,
	ORIGIN_OPENROUTER,
	ORIGIN_KIRO,
	ORIGINS
};

struct canon_signature {
	struct span data; /* opaque, byte for byte, without our envelope; p NULL: none */
	enum canon_origin origin;
	uint32_t family; /* FNV-1a of the model's family; 0: unknown */
	bool encrypted;  /* it is the thought itself (redacted_thinking, encrypted_content), not a proof of its text */
};

struct canon_cache {
	bool set;
	struct span ttl;
};

enum canon_media_source { MEDIA_BASE64, MEDIA_URL, MEDIA_FILE_ID, MEDIA_TEXT };

struct canon_media {
	enum canon_media_source source;
	struct span data; /* standard base64 with padding · URL · id · text */
	struct span type; /* media type; p NULL: unknown */
	struct span filename, title, context, detail, format;
	int citations; /* 1 on, 0 off, -1 unset */
};

/* Start and end count code points of the text of the part; -1: unknown. */
struct canon_annotation {
	TAILQ_ENTRY(canon_annotation) link;
	enum { CITE_URL, CITE_FILE, CITE_PAGE, CITE_CHAR, CITE_BLOCK } kind;
	int64_t start, end;
	struct span url, title, file_id, quoted;
	struct span raw; /* whole, for the dialect `from` */
	enum dialect_id from;
};
TAILQ_HEAD(canon_annotations, canon_annotation);

enum canon_part_kind {
	PART_TEXT,
	PART_IMAGE,
	PART_AUDIO,
	PART_VIDEO,
	PART_FILE,
	PART_TOOL_CALL,
	PART_TOOL_RESULT,
	PART_REASONING,
	PART_REFUSAL,
	PART_SERVER_CALL,   /* of a tool that runs at the provider */
	PART_SERVER_RESULT,
	PART_OPAQUE, /* raw, for its own dialect only */
};

struct canon_text_list {
	struct canon_text_list *next;
	struct span text;
};

TAILQ_HEAD(canon_parts, canon_part);
struct canon_part {
	TAILQ_ENTRY(canon_part) link;
	enum canon_part_kind kind;
	struct span text; /* text, reasoning, refusal; transcript of audio */
	struct canon_annotations annotations; /* of a text; canon_part_new makes it empty */
	struct canon_media media;
	/* calls and results */
	struct span id;        /* of the call; of a result: of its call. p NULL: the dialect has none */
	struct span item_id;   /* Responses: id of the item */
	struct span name, namespace;
	struct span args;      /* of a call: JSON text as the model wrote it; custom: plain text */
	bool custom;           /* a free-form call, or its result */
	bool is_error;
	struct canon_parts content; /* of a result */
	struct span structured;     /* of a result: the JSON object that it was, if it was one */
	/* reasoning */
	struct canon_signature sign; /* also of a Gemini call or text */
	bool carrier; /* Gemini: the signature stood alone, in a part with an empty text */
	struct canon_text_list *summary; /* Responses: `text` in its pieces; NULL: one piece */
	struct canon_cache cache;
	struct span raw; /* server_*, opaque: the whole block */
	struct canon_source src;
};

enum canon_role { ROLE_SYSTEM, ROLE_DEVELOPER, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL };

/* A tool turn holds only results. Decoders make one of each unbroken run of results. */
TAILQ_HEAD(canon_turns, canon_turn);
struct canon_turn {
	TAILQ_ENTRY(canon_turn) link;
	enum canon_role role;
	struct canon_parts parts;
	struct span name, phase, id;
	struct canon_source src;
};

enum canon_tool_kind {
	TOOL_FUNCTION,
	TOOL_CUSTOM,
	TOOL_WEB_SEARCH,
	TOOL_WEB_FETCH,
	TOOL_CODE,
	TOOL_FILE_SEARCH,
	TOOL_IMAGE,
	TOOL_COMPUTER,
	TOOL_SHELL,
	TOOL_EDITOR,
	TOOL_MEMORY,
	TOOL_MCP,
	TOOL_SEARCH,
	TOOL_OTHER
};

TAILQ_HEAD(canon_tools, canon_tool);
struct canon_tool {
	TAILQ_ENTRY(canon_tool) link;
	enum canon_tool_kind kind;
	struct span name, namespace, description;
	struct span schema;   /* JSON; p NULL: none was given */
	struct span grammar;  /* of a custom tool: its `format` as JSON */
	struct span examples; /* JSON */
	int strict;           /* 1, 0, -1 unset */
	bool defer_loading;
	struct canon_cache cache;
	struct span raw; /* the declaration as it came, of server tools */
	struct canon_source src;
};

enum canon_choice_kind { CHOICE_UNSET, CHOICE_AUTO, CHOICE_NONE, CHOICE_ANY, CHOICE_NAMED, CHOICE_ALLOWED };

struct canon_tool_choice {
	enum canon_choice_kind kind;
	struct span name;               /* NAMED */
	bool allowed_any;               /* ALLOWED: one of them must be called */
	struct canon_text_list *allowed; /* ALLOWED: names */
	struct span raw;                /* as it stood, for its own dialect */
};

enum canon_effort { EFFORT_UNSET, EFFORT_NONE, EFFORT_MINIMAL, EFFORT_LOW, EFFORT_MEDIUM, EFFORT_HIGH, EFFORT_XHIGH, EFFORT_MAX };
enum canon_think { THINK_UNSET, THINK_OFF, THINK_ON, THINK_ADAPTIVE };
enum canon_show { SHOW_UNSET, SHOW_NONE, SHOW_AUTO, SHOW_CONCISE, SHOW_DETAILED, SHOW_FULL, SHOW_OMITTED };

struct canon_reasoning {
	enum canon_think mode;
	enum canon_effort effort;
	bool has_budget;
	int64_t budget; /* tokens; -1: dynamic */
	enum canon_show show;
};

enum canon_format_kind { FORMAT_UNSET, FORMAT_TEXT, FORMAT_JSON, FORMAT_SCHEMA };

struct canon_format {
	enum canon_format_kind kind;
	struct span name, description, schema;
	int strict;
	struct span raw; /* as it stood, for its own dialect */
};

struct canon_request {
	enum dialect_id from;
	const struct json *root; /* the body */
	struct span model;       /* as the client wrote it; the encoder takes it from encode_ctx */
	struct canon_turns turns;
	struct canon_tools tools;
	struct canon_tool_choice tool_choice;
	int parallel_tools; /* 1, 0, -1 unset */
	struct canon_format format;
	bool has_max;
	int64_t max_out;
	bool max_is_visible; /* without reasoning (`max_tokens` of Chat); else the total */
	/* sampling: numbers as written; p NULL: unset */
	struct span temperature, top_p, top_k, min_p, frequency_penalty, presence_penalty, repetition_penalty, seed;
	int64_t n;    /* 0: unset */
	int logprobs; /* 1, 0, -1 unset */
	struct span top_logprobs, logit_bias;
	struct canon_text_list *stop;
	struct canon_reasoning reasoning;
	struct span verbosity;
	bool stream, stream_usage;
	struct span modalities, audio_out; /* JSON */
	struct span web_search;            /* JSON of web_search_options: asked for by a parameter */
	struct span safety;                /* JSON: Gemini settings, guardrail */
	struct canon_cache cache; /* of the whole request */
	struct span cache_key, cache_retention, cached_content;
	struct span user, safety_id, metadata, service_tier;
	int store; /* 1, 0, -1 unset */
	struct span prev_id, conversation, truncation, include; /* Responses; include: JSON */
	int background;
	bool legacy_functions; /* the answer uses function_call */
	bool legacy_completion; /* /v1/completions: the answer is a text_completion */
	struct canon_source src;
};

/* ---- answers ---- */

enum canon_finish_reason {
	FINISH_NONE, /* not known yet */
	FINISH_STOP,
	FINISH_LENGTH,
	FINISH_TOOL_CALLS,
	FINISH_STOP_SEQUENCE,
	FINISH_CONTENT_FILTER,
	FINISH_REFUSAL,
	FINISH_PAUSE,
	FINISH_CONTEXT_WINDOW,
	FINISH_MALFORMED,
	FINISH_ERROR,
	FINISH_UNKNOWN, /* a word that is in no table: `raw` */
	FINISHES
};

struct canon_finish {
	enum canon_finish_reason reason;
	struct span raw; /* the upstream's word */
	struct span stop_sequence;
	struct span details; /* JSON, for its own dialect */
};

/* Tokens. has_in, has_out: the totals are known; details that are not known are 0. */
struct canon_usage {
	bool has_in, has_out;
	uint64_t in_total;  /* the whole prompt, cached or not */
	uint64_t in_cached, in_cache_write, in_cache_write_5m, in_cache_write_1h, in_tool, in_audio, in_image;
	uint64_t out_total; /* visible and reasoning */
	uint64_t out_reasoning, out_audio;
	uint64_t searches, fetches;
	bool estimated;
	struct span raw; /* JSON, for its own dialect */
	enum dialect_id from;
};

struct canon_choice {
	struct canon_choice *next;
	uint32_t index;
	struct canon_parts parts; /* in order: order is meaning */
	struct canon_finish finish;
	struct span logprobs; /* JSON of Chat's form {"content":[…]} */
	struct canon_source src, message; /* extras of the choice, and of the message in it */
};

struct canon_response {
	enum dialect_id from;
	const struct json *root;
	struct span id, model;
	uint64_t created; /* s since 1970; 0: unknown */
	struct canon_choice *choices; /* at least one */
	struct canon_usage usage;
	struct span service_tier;
	struct canon_source src;
};

/* ---- failures (spec 16) ---- */

enum canon_error_class {
	ERROR_BAD_REQUEST,
	ERROR_CONTEXT_WINDOW,
	ERROR_AUTH,
	ERROR_BILLING,
	ERROR_PERMISSION,
	ERROR_NOT_FOUND,
	ERROR_TOO_LARGE,
	ERROR_RATE_LIMIT,
	ERROR_OVERLOADED,
	ERROR_SERVER,
	ERROR_TIMEOUT,
	ERROR_CONTENT_POLICY,
	ERROR_UNSUPPORTED,
	ERROR_CLASSES
};

struct canon_error {
	enum canon_error_class class;
	int status;           /* for the client; 0: the usual one of the class in its dialect */
	struct span message;
	struct span code, param; /* p NULL: the usual one of the class; none */
	uint64_t retry_after_ms; /* 0: not known */
};

/* ---- events of a stream (spec 3.6) ---- */

enum canon_event_type {
	EVENT_BEGIN,  /* id, model, created, usage (early, may be empty): first, once */
	EVENT_OPEN,   /* choice, part, meta: what kind of part begins. Numbers rise from 0 over all choices */
	EVENT_DELTA,  /* part, text: complete UTF-8; of a call a raw fragment of its arguments */
	EVENT_SIGN,   /* part, sign: any time between open and close */
	EVENT_CITE,   /* part, annotation */
	EVENT_CLOSE,  /* part */
	EVENT_LOGPROBS, /* choice, text: JSON of Chat's form, for what was just said */
	EVENT_USAGE,  /* usage: the whole of what is known by now, merged */
	EVENT_FINISH, /* choice, finish: once for each choice */
	EVENT_FAIL,   /* error: the end of the stream instead of finish */
	EVENT_IDLE,   /* from the gateway's clock: time for a keep-alive */
	EVENT_END,    /* once, behind finish and usage */
};

/* What an event points to lives until the sink returns; `meta` and the annotation until the stream ends. */
struct canon_event {
	enum canon_event_type type;
	uint32_t choice, part;
	const struct canon_part *meta; /* OPEN: kind, id, item_id, name, namespace, custom, media, raw; no text, no args */
	struct span text;
	const struct canon_signature *sign;
	const struct canon_annotation *annotation;
	const struct canon_usage *usage;
	const struct canon_finish *finish;
	const struct canon_error *error;
	struct span id, model; /* BEGIN */
	uint64_t created;
	bool whole; /* DELTA of a call: this is all of its arguments */
};

/* Takes an event; 0, or a negative error that ends the stream (E_NOMEM, E_TOO_LONG). */
struct canon_sink {
	int (*take)(void *ctx, const struct canon_event *ev);
	void *ctx;
};

/* ---- making one ---- */

/* Each: cleared, lists empty; NULL: out of memory. The first two are not in any list yet. */
struct canon_part *canon_part_new(struct arena *a, enum canon_part_kind kind) must_check;
struct canon_turn *canon_turn_new(struct arena *a, enum canon_role role) must_check;
struct canon_tool *canon_tool_new(struct arena *a, enum canon_tool_kind kind) must_check;
struct canon_request *canon_request_new(struct arena *a, enum dialect_id from) must_check; /* tri-states are -1 */
struct canon_choice *canon_choice_new(struct arena *a, uint32_t index) must_check;
struct canon_annotation *canon_annotation_new(struct arena *a) must_check;
int canon_text_add(struct arena *a, struct canon_text_list **list, struct span text) must_check; /* at its end */

void canon_source_init(struct canon_source *s, enum dialect_id from);
/* Keeps member `m` of the source. */
int canon_extra_add(struct arena *a, struct canon_source *s, const struct json *m) must_check;
/* Keeps every member of object `o` that is not in `known` (a list that ends with NULL) and is not null. */
int canon_extras(struct arena *a, struct canon_source *s, const struct json *o, const char *const *known) must_check;
/* Writes the extras as members, if they came in this dialect; _but: without those in `except` (NULL: with all). */
void canon_put_extras(struct jsonw *w, const struct canon_source *s, enum dialect_id to);
void canon_put_extras_but(struct jsonw *w, const struct canon_source *s, enum dialect_id to, const char *const *except);
/* Writes every member of object `o` that is not in `known` and is not null: what canon_extras would keep. */
void canon_put_rest(struct jsonw *w, const struct json *o, const char *const *known);
const struct canon_extra *canon_extra_find(const struct canon_source *s, const char *name);

/* The bytes behind *s are copied into `a`: 0, or E_NOMEM and *s is as it was. canon_copy: the same by value; p NULL: none, or no
 * memory. */
int canon_keep(struct arena *a, struct span *s) must_check;
struct span canon_copy(struct arena *a, struct span s);

struct canon_part *canon_turn_text(struct canon_turn *t); /* its only part, when that is a text; NULL */
/* The texts of a list of parts (PART_TEXT only) joined by `between`; one text is not copied. p NULL: none, or no memory. */
struct span canon_join(struct arena *a, const struct canon_parts *parts, const char *between);
bool canon_number(struct span n, double *out);
/* An error of ours for the client: a sentence, with printf's rules. Returns E_DENIED, for `return canon_fail(…)`. */
int canon_fail(struct arena *a, struct canon_error *e, enum canon_error_class class, const char *param, const char *fmt, ...)
    printf_like(5, 6);
/* Member by member over what is known (spec 15.3). */
void canon_usage_merge(struct canon_usage *into, const struct canon_usage *news);

/* Words: enum ↔ text. */
const char *canon_effort_word(enum canon_effort e); /* NULL for UNSET */
enum canon_effort canon_effort_of(struct span word); /* UNSET: unknown */
/* Any upstream's word for the end (spec 14); FINISH_UNKNOWN. */
enum canon_finish_reason canon_finish_of(struct span word);

static inline struct span
span_of(const char *s)
{
	return (struct span){s, s != NULL ? __builtin_strlen(s) : 0};
}
static inline bool
span_is(struct span s, const char *text)
{
	return s.p != NULL && s.n == __builtin_strlen(text) && __builtin_memcmp(s.p, text, s.n) == 0;
}
static inline bool
span_same(struct span x, struct span y)
{
	return x.n == y.n && (x.n == 0 || __builtin_memcmp(x.p, y.p, x.n) == 0);
}

#endif
