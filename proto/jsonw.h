/*
 * jsonw: writing JSON into a buf, commas included. Nothing is returned: look at buf_ok(b) at the
 * end.
 *
 *     struct jsonw w = {.b = b};
 *     jsonw_open(&w, '{');
 *     jsonw_name(&w, "id");      jsonw_text(&w, id);
 *     jsonw_name(&w, "usage");   jsonw_open(&w, '{'); … jsonw_close(&w, '}');
 *     jsonw_close(&w, '}');
 *
 * jsonw_name   a constant name that needs no escaping. jsonw_name_raw: one as it stood in its
 * source (json.name). jsonw_text   a string from its unescaped text; what is not UTF-8 becomes
 * U+FFFD. jsonw_cstr: the same. jsonw_raw    a value that is JSON already. An empty span writes
 * null, so that the text stays JSON. jsonw_begin_string, jsonw_part, jsonw_end_string   a string in
 * several pieces. The m_ forms write a member: name and value; m_text, m_raw and m_cstr write
 * nothing at all when the value is absent (p NULL).
 * jsonw_one_line   what was written since `from` (length of the buf then) becomes one line: a value
 * that was JSON already may have line ends, between its tokens and only there; they become spaces.
 */
#ifndef OMNIROUTE_PROTO_JSONW_H
#define OMNIROUTE_PROTO_JSONW_H

#include "shared/base.h"
#include "shared/buf.h"

struct jsonw {
	struct buf *b;
	bool comma; /* something stands before, at this level */
};

void jsonw_open(struct jsonw *w, char bracket);
void jsonw_close(struct jsonw *w, char bracket);
void jsonw_name(struct jsonw *w, const char *name);
void jsonw_name_raw(struct jsonw *w, struct span name);
void jsonw_name_text(struct jsonw *w, struct span name); /* escapes */
void jsonw_text(struct jsonw *w, struct span text);
void jsonw_cstr(struct jsonw *w, const char *text);
void jsonw_raw(struct jsonw *w, struct span json);
void jsonw_lit(struct jsonw *w, const char *json); /* "null", "[]", "{\"type\":\"auto\"}" … */
void jsonw_u64(struct jsonw *w, uint64_t n);
void jsonw_i64(struct jsonw *w, int64_t n);
void jsonw_bool(struct jsonw *w, bool v);
void jsonw_begin_string(struct jsonw *w);
void jsonw_part(struct jsonw *w, struct span text);
void jsonw_end_string(struct jsonw *w);
void jsonw_one_line(struct buf *b, size_t from);

void jsonw_m_text(struct jsonw *w, const char *name, struct span text);
void jsonw_m_cstr(struct jsonw *w, const char *name, const char *text);
void jsonw_m_raw(struct jsonw *w, const char *name, struct span json);
void jsonw_m_lit(struct jsonw *w, const char *name, const char *json);
void jsonw_m_u64(struct jsonw *w, const char *name, uint64_t n);
void jsonw_m_i64(struct jsonw *w, const char *name, int64_t n);
void jsonw_m_bool(struct jsonw *w, const char *name, bool v);
void jsonw_m_tri(struct jsonw *w, const char *name, int tri); /* nothing when < 0 */
void jsonw_m_open(struct jsonw *w, const char *name, char bracket);

#endif
