/*
 * ask: what a client asks, as far as the gateway must know it to choose a target and to pass the
 * bytes on: from the path, and from one look over the body. What a dialect means in full is
 * proto/translate.h's.
 *
 * ask_path   from the endpoint's row, and for Gemini "<model>:<verb>" of the path and the query.
 * False: the path names no such method; *why is a sentence for the client. ask_body   model, stream
 * and what is said. E_SYNTAX with *why, a sentence for the client that lives in *q or is constant.
 * ask_member value of a member at the top of a body that ask_body has accepted; p NULL: it is not
 * there. ask_query  the value of a parameter of a query, unescaped into `out`; false: not there, or
 * longer.
 */
#ifndef OMNIROUTE_WORKER_ASK_H
#define OMNIROUTE_WORKER_ASK_H

#include "proto/dialect_id.h"
#include "proto/openai_chat.h"

enum ask_kind {
	ASK_ANSWER,
	ASK_COUNT,   /* tokens of the request, no answer */
	ASK_COMPACT, /* Responses: a shorter conversation, in the upstream's own secret form */
};

struct ask {
	enum dialect_id dialect;
	enum ask_kind kind;
	bool completion; /* Chat: /v1/completions */
	bool array;      /* Gemini: the stream is one JSON array */
	bool stream, stream_given;
	struct span path_model;   /* Gemini; else p NULL */
	struct span model_value;  /* with quotes, in the body: the span to replace; p NULL: it is in
				     the path */
	size_t said;              /* bytes of messages, input, contents: for an estimate */
	struct chat_request chat; /* Chat: what it found; of all: model */
};

bool ask_path(struct ask *q, struct span tail, struct span query, const char **why) must_check;
int ask_body(struct ask *q, struct span body, const char **why) must_check;
struct span ask_member(struct span body, const char *name);
bool ask_query(struct span query, const char *name, char *out, size_t n);

#endif
