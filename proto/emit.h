/*
 * emit: what a stream decoder says, in the order that canon.h demands: BEGIN once and first, parts
 * numbered from 0, END or FAIL once and last, nothing behind it. For the dialects that are only
 * spoken by upstreams.
 *
 * Each returns 0 or what the sink returned. emit_begin does nothing the second time; the others
 * begin by themselves.
 *
 * emit_open      the number of the part goes to *part.
 * emit_delta     nothing for an empty text. emit_arguments: those of a call, whole.
 * emit_call      a call that came whole.
 * emit_usage     what is known now, merged into what was known before.
 * emit_cut       end of input without proof of the end (spec 17.9).
 * emit_root      the object that a frame is; root NULL: it is none, which has been said. E_NOMEM.
 */
#ifndef OMNIROUTE_PROTO_EMIT_H
#define OMNIROUTE_PROTO_EMIT_H

#include "proto/canon.h"

struct emit {
	const struct canon_sink *sink; /* of this frame */
	uint32_t parts;
	bool begun, over;
	struct canon_usage usage;
};

int emit_begin(struct emit *e, struct span id, struct span model, uint64_t created) must_check;
int emit_open(struct emit *e, const struct canon_part *meta, uint32_t *part) must_check;
int emit_delta(struct emit *e, uint32_t part, struct span text) must_check;
int emit_arguments(struct emit *e, uint32_t part, struct span whole) must_check;
int emit_sign(struct emit *e, uint32_t part, const struct canon_signature *sign) must_check;
int emit_cite(struct emit *e, uint32_t part, const struct canon_annotation *n) must_check;
int emit_close(struct emit *e, uint32_t part) must_check;
int emit_call(struct emit *e, const struct canon_part *meta, struct span args) must_check;
int emit_usage(
    struct emit *e, const struct canon_usage *news) must_check; /* merged into what was known */
int emit_finish(struct emit *e, const struct canon_finish *f) must_check;
int emit_end(struct emit *e) must_check;
int emit_fail(struct emit *e, const struct canon_error *error) must_check;
int emit_cut(struct emit *e) must_check;
int emit_root(struct emit *e, struct arena *scratch, struct span data,
    const struct json **root) must_check;

#endif
