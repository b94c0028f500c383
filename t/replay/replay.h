/*
 * replay: recorded exchanges through proto/, without a process. The program prints one JSON object
 * per line of what it found; t/030-replay.t judges.
 *
 *   replay own FILE …          each recording to its own dialect and back: request, answer, stream;
 * cut at every place replay cross FILE …        each recording as clients of the four dialects see
 * it
 *
 * recording_load   parses a file; false: it is none (a line says so). All lives in `a`.
 * dump_response    what an answer says, as JSON: text, calls, reasoning, finish, usage; for
 * comparing. diff             where two JSON values differ: "messages[*].content: missing", one
 * line of output each.
 */
#ifndef OMNIROUTE_T_REPLAY_H
#define OMNIROUTE_T_REPLAY_H

#include "proto/dialect.h"
#include "proto/translate.h"

struct collect;

struct recording {
	const char *name;
	enum dialect_id dialect;
	bool stream;
	int framing; /* enum framing, WHOLE */
	int status;
	struct span provider, path, betas;
	struct span request; /* JSON */
	struct span answer;  /* bytes as they came */
};

bool recording_load(struct arena *a, const char *path, struct recording *r);
/* What a decoder is told of the request beside its body. */
struct decode_request recording_call(struct arena *a, const struct recording *r);
void recording_profile(const struct recording *r, struct profile *p);
struct span recording_model(struct arena *a, const struct recording *r);

void dump_response(struct buf *b, const struct canon_response *r);
void say(const struct recording *r, const char *what, const char *fmt, ...) printf_like(3, 4);
void diff(const struct recording *r, const char *what, struct span want, struct span got);

/* Feeds an answer in pieces of `piece` bytes (0: all at once) through framing and decoder. */
int decode_stream(struct arena *a, const struct recording *r, struct span bytes, size_t piece,
    const struct canon_sink *sink);
int collect_stream(struct arena *a, const struct recording *r, struct span bytes, size_t piece,
    struct collect **c, struct canon_response *out, struct canon_error *err);

void replay_own(const struct recording *r);
void replay_cross(const struct recording *r);

#endif
