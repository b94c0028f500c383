#include "proto/wire.h"

#include <string.h>
#include <strings.h>

#include "shared/err.h"

#define TEXT_MAX ((size_t)256 << 20)

/* ---- writing ---- */

int
wire_end(struct wire *o)
{
	if (o->error != 0)
		return o->error;
	if (buf_ok(o->w.b))
		return 0;
	return o->w.b->len >= o->w.b->max / 2 ? E_TOO_LONG : E_NOMEM;
}

void
wire_put_rest(struct wire *o, struct span object, const char *const *known)
{
	const struct json *tree;
	int r = json_parse(o->a, object, &tree);

	if (r != 0) {
		o->error = o->error != 0 ? o->error : r;
		return;
	}
	canon_put_rest(&o->w, tree, known);
}

void
wire_put_extras(
    struct wire *o, const struct canon_source *s, enum dialect_id to, const char *const *except)
{
	canon_put_extras_but(&o->w, s, to, except);
}

struct span
wire_extra(const struct canon_source *s, enum dialect_id to, const char *name)
{
	const struct canon_extra *x = s->from == to ? canon_extra_find(s, name) : NULL;

	return x != NULL ? x->value : (struct span){NULL, 0};
}

void
wire_m_text(struct wire *o, const char *name, struct span text)
{
	if (text.p == NULL && o->error == 0)
		o->error = E_NOMEM;
	jsonw_m_text(&o->w, name, text);
}

/* ---- reading ---- */

struct span
wire_number(struct arena *a, const struct json *j)
{
	struct span text;
	double value;

	if (json_is(j, 'n'))
		return j->raw;
	text = json_text(a, j);
	if (text.n > 0 && (text.p[0] == '-' || (text.p[0] >= '0' && text.p[0] <= '9')) &&
	    canon_number(text, &value)) {
		const struct json *number;
		if (json_parse(a, text, &number) == 0 && json_is(number, 'n'))
			return text;
	}
	return (struct span){NULL, 0};
}

/* ---- texts ---- */

static const char *const media_words[] = {
    [PART_IMAGE] = "image", [PART_AUDIO] = "audio", [PART_VIDEO] = "video", [PART_FILE] = "file"};

static void
add_document(struct buf *b, const struct canon_media *m)
{
	struct span title = m->title.n > 0 ? m->title : m->filename;

	buf_str(b, "<document");
	if (title.n > 0) {
		buf_str(b, " title=\"");
		buf_add(b, title.p, title.n);
		buf_str(b, "\"");
	}
	buf_str(b, ">\n");
	buf_add(b, m->data.p, m->data.n);
	buf_str(b, "\n</document>");
}

/* False: it is no text, and nothing was added. */
static bool
add_part(struct buf *b, const struct canon_part *p)
{
	switch (p->kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		buf_add(b, p->text.p, p->text.n);
		return p->text.n > 0;
	case PART_FILE:
		if (p->media.source == MEDIA_TEXT) {
			add_document(b, &p->media);
			return true;
		}
		/* fallthrough */
	case PART_AUDIO:
	case PART_VIDEO:
		buf_addf(b, "[%s omitted]", media_words[p->kind]);
		return true;
	case PART_IMAGE: /* has a place of its own */
	case PART_TOOL_CALL:
	case PART_TOOL_RESULT:
	case PART_REASONING:
	case PART_SERVER_CALL:
	case PART_SERVER_RESULT:
	case PART_OPAQUE:
		break;
	}
	return false;
}

static bool
only_texts(const struct canon_parts *parts)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, parts, link)
		if (p->kind == PART_REFUSAL || p->kind == PART_FILE || p->kind == PART_AUDIO ||
		    p->kind == PART_VIDEO)
			return false;
	return true;
}

static struct span
keep(struct arena *a, struct buf *b)
{
	struct span out = {NULL, 0};
	const char *copy = buf_ok(b) ? arena_strndup(a, b->len > 0 ? b->data : "", b->len) : NULL;

	if (copy != NULL)
		out = (struct span){copy, b->len};
	buf_clear(b);
	return out;
}

struct span
wire_text_of(struct arena *a, const struct canon_parts *parts, const char *between)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	const struct canon_part *p;
	struct span one = canon_join(a, parts, between);

	if (only_texts(parts) && one.p != NULL)
		return one;
	TAILQ_FOREACH (p, parts, link) {
		size_t before = b.len;
		if (before > 0)
			buf_str(&b, between);
		if (!add_part(&b, p))
			b.len = before;
	}
	return keep(a, &b);
}

static bool
begins(struct span s, const char *with)
{
	size_t n = strlen(with);

	return s.n >= n && strncasecmp(s.p, with, n) == 0;
}

struct span
wire_result(struct arena *a, const struct canon_part *p)
{
	struct span text;
	struct buf b = BUF_INIT(TEXT_MAX);

	text = TAILQ_EMPTY(&p->content) && p->structured.p != NULL
		   ? p->structured
		   : wire_text_of(a, &p->content, "\n");
	if (!p->is_error || text.p == NULL || begins(text, "error:"))
		return text;
	buf_str(&b, "Error: ");
	buf_add(&b, text.p, text.n);
	return keep(a, &b);
}

/* ---- tools ---- */

struct span
wire_schema(const struct canon_tool *t)
{
	return t->schema.p != NULL ? t->schema : span_of("{\"type\":\"object\",\"properties\":{}}");
}

bool
wire_turn_has(const struct canon_turn *t, enum canon_part_kind kind)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, &t->parts, link)
		if (p->kind == kind)
			return true;
	return false;
}

/* ---- media ---- */

const char *
wire_media_word(const struct wire_media *list, struct span type)
{
	for (; list->word != NULL; list++)
		if (type.n == strlen(list->type) && strncasecmp(type.p, list->type, type.n) == 0)
			return list->word;
	return NULL;
}

struct span
wire_media_type(const struct wire_media *list, struct span word)
{
	for (; list->word != NULL; list++)
		if (span_is(word, list->word))
			return span_of(list->type);
	return (struct span){NULL, 0};
}
