/*
 * wire: what the encoders and decoders of the upstreams' own dialects have in common.
 *
 * wire_put_rest    the members of a JSON object but those named, null ones left out too.
 * wire_put_extras  extras of a thing that came in dialect `to`, but those named.
 * wire_extra       value of the extra of that name, if it came in dialect `to`; p NULL.
 * wire_number      a number as written, also when it stands in a string; p NULL: none.
 * wire_text_of     all text of a turn or result, joined by `between`: text documents in tags, a
 *                  refusal as text, media that have no place as a note. "" if there is none; p NULL:
 *                  out of memory.
 * wire_result      text of a tool result: its object if it was one; "Error: " in front of an error
 *                  that does not say so.
 * wire_schema      a tool's schema, or that of no parameters.
 * wire_media_word  "image/png" → "png" for one of the words of the list; NULL. wire_media_type: the
 *                  way back, p NULL.
 */
#ifndef OMNIROUTE_PROTO_WIRE_H
#define OMNIROUTE_PROTO_WIRE_H

#include "proto/canon.h"

struct wire_media {
	const char *word, *type;
};

/* Writing one body. `error`: the first that happened. */
struct wire {
	struct jsonw w;
	struct arena *a;
	int error;
};

int wire_end(struct wire *o) must_check; /* 0, E_NOMEM, E_TOO_LONG, … */
void wire_put_rest(struct wire *o, struct span object, const char *const *known);
void wire_put_extras(
    struct wire *o, const struct canon_source *s, enum dialect_id to, const char *const *except);
struct span wire_extra(const struct canon_source *s, enum dialect_id to, const char *name);
void wire_m_text(struct wire *o, const char *name, struct span text); /* p NULL is out of memory */

struct span wire_number(struct arena *a, const struct json *j);
struct span wire_text_of(struct arena *a, const struct canon_parts *parts, const char *between);
struct span wire_result(struct arena *a, const struct canon_part *p);
struct span wire_schema(const struct canon_tool *t);
bool wire_turn_has(const struct canon_turn *t, enum canon_part_kind kind);
const char *wire_media_word(const struct wire_media *list, struct span type);
struct span wire_media_type(const struct wire_media *list, struct span word);

#endif
