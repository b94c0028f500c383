/*
 * wire: what the encoders and decoders of the upstreams' own dialects have in common.
 *
 * wire_put_rest    the members of a JSON object but those named, null ones left out too.
 * wire_put_extras  extras of a thing that came in dialect `to`, but those named.
 * wire_extra       value of the extra of that name, if it came in dialect `to`; p NULL.
 * wire_number      a number as written, also when it stands in a string; p NULL: none.
 * wire_text_of     all text of a turn or result, joined by `between`: text documents in tags, a
 *                  refusal as text, media that have no place as a note. "" if there is none; p
 * NULL: out of memory. wire_result      text of a tool result: its object if it was one; "Error: "
 * in front of an error that does not say so. wire_schema      a tool's schema, or that of no
 * parameters. wire_read_root   a chat request's body: an object with a list `messages`. E_DENIED:
 * *err says what is wrong with it. E_NOMEM. wire_role        of a message, by its word; the user's
 * if that is unknown. wire_role_word: back. wire_turn_add    a turn at the end. wire_result_add:
 * the result of one message of role tool; those in a row are one turn. NULL: out of memory.
 * wire_tool_add    {"type":"function","function":{…}} at the end of the tools; what is in the
 * function beyond the model is an extra. wire_put_functions: all of them as the member `tools`,
 * false if there are none; `empty`: what came from `to` keeps a description that is "". wire_texts
 * the strings in a list. wire_put_texts: that list as a member; nothing if NULL. wire_is_off the
 * client wants no thought. wire_three_levels: "low", "medium" or "high"; NULL. wire_media_word
 * "image/png" → "png" for one of the words of the list; NULL. wire_media_type: the way back, p
 * NULL.
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

int wire_read_root(struct arena *a, struct span body, const struct json **root,
    struct canon_error *err) must_check;
enum canon_role wire_role(const struct json *m);
struct canon_turn *wire_turn_add(
    struct arena *a, struct canon_request *q, enum canon_role role, enum dialect_id from);
struct canon_part *wire_result_add(struct arena *a, struct canon_request *q, enum dialect_id from);
int wire_tool_add(struct arena *a, struct canon_request *q, const struct json *j,
    enum dialect_id from) must_check;
int wire_texts(struct arena *a, struct canon_text_list **to, const struct json *list) must_check;

const char *wire_role_word(enum canon_role role);
bool wire_put_functions(
    struct wire *o, const struct canon_request *q, enum dialect_id to, bool empty);
void wire_put_texts(struct wire *o, const char *name, const struct canon_text_list *t);
bool wire_is_off(const struct canon_reasoning *m);
const char *wire_three_levels(enum canon_effort effort);

struct span wire_number(struct arena *a, const struct json *j);
struct span wire_text_of(struct arena *a, const struct canon_parts *parts, const char *between);
struct span wire_result(struct arena *a, const struct canon_part *p);
struct span wire_schema(const struct canon_tool *t);
bool wire_turn_has(const struct canon_turn *t, enum canon_part_kind kind);
const char *wire_media_word(const struct wire_media *list, struct span type);
struct span wire_media_type(const struct wire_media *list, struct span word);

#endif
