/* Parts as items, in their order; contents of messages. */
#include <string.h>

#include "proto/responses/responses.h"

/* ---- extras ---- */

static bool
is_mark(const struct canon_extra *x)
{
	return x->name.p == NULL;
}

static void
put_extra(struct jsonw *w, const struct canon_extra *x)
{
	jsonw_name_raw(w, x->name);
	jsonw_raw(w, x->value);
}

void
responses_put_content_extras(struct jsonw *w, const struct canon_source *s)
{
	if (s->from == DIALECT_RESPONSES)
		for (const struct canon_extra *x = s->extra; x != NULL && !is_mark(x); x = x->next)
			put_extra(w, x);
}

static const struct canon_extra *
behind_mark(const struct canon_source *s)
{
	const struct canon_extra *x = s->from == DIALECT_RESPONSES ? s->extra : NULL;

	while (x != NULL && !is_mark(x))
		x = x->next;
	return x != NULL ? x->next : NULL;
}

void
responses_put_item_extras(struct jsonw *w, const struct canon_source *s)
{
	for (const struct canon_extra *x = behind_mark(s); x != NULL; x = x->next)
		put_extra(w, x);
}

static bool
has_extra(const struct canon_source *s, const char *name)
{
	return s->from == DIALECT_RESPONSES && canon_extra_find(s, name) != NULL;
}

/* ---- annotations ---- */

void
responses_put_annotation(struct jsonw *w, const struct canon_annotation *n)
{
	if (n->from == DIALECT_RESPONSES && n->raw.p != NULL) {
		jsonw_raw(w, n->raw);
		return;
	}
	jsonw_open(w, '{');
	if (n->kind == CITE_URL) {
		jsonw_m_cstr(w, "type", "url_citation");
		jsonw_m_i64(w, "start_index", MAX(n->start, 0));
		jsonw_m_i64(w, "end_index", MAX(n->end, 0));
		jsonw_m_text(w, "url", n->url.p != NULL ? n->url : span_of(""));
		jsonw_m_text(w, "title", n->title.p != NULL ? n->title : span_of(""));
	} else {
		jsonw_m_cstr(w, "type", "file_citation");
		jsonw_m_text(w, "file_id", n->file_id.p != NULL ? n->file_id : span_of(""));
		jsonw_m_text(w, "filename", n->title.p != NULL ? n->title : span_of(""));
		jsonw_m_i64(w, "index", MAX(n->end, 0));
	}
	jsonw_close(w, '}');
}

void
responses_put_annotations(struct jsonw *w, const struct canon_annotations *list)
{
	const struct canon_annotation *n;

	jsonw_open(w, '[');
	TAILQ_FOREACH (n, list, link)
		responses_put_annotation(w, n);
	jsonw_close(w, ']');
}

/* ---- contents ---- */

static const char *
text_type(const struct canon_part *p, enum canon_role role)
{
	if (responses_is_native(&p->src, HINT_INPUT))
		return "input_text";
	if (responses_is_native(&p->src, HINT_OUTPUT))
		return "output_text";
	if (responses_is_native(&p->src, HINT_TEXT))
		return "text";
	return role == ROLE_ASSISTANT ? "output_text" : "input_text";
}

static void
put_text(struct responses_writer *rw, const struct canon_part *p, enum canon_role role)
{
	struct jsonw *w = rw->w;

	jsonw_open(w, '{');
	jsonw_m_cstr(w, "type", rw->answer ? "output_text" : text_type(p, role));
	jsonw_m_text(w, "text", p->text.p != NULL ? p->text : span_of(""));
	if (rw->answer) {
		jsonw_name(w, "annotations");
		responses_put_annotations(w, &p->annotations);
		if (!has_extra(&p->src, "logprobs")) {
			jsonw_name(w, "logprobs");
			jsonw_raw(w, rw->logprobs.p != NULL ? rw->logprobs : span_of("[]"));
			rw->logprobs = (struct span){NULL, 0};
		}
	}
	responses_put_content_extras(w, &p->src);
	jsonw_close(w, '}');
}

static void
put_data_url(struct jsonw *w, const struct canon_media *m, const char *type)
{
	jsonw_begin_string(w);
	jsonw_part(w, span_of("data:"));
	jsonw_part(w, m->type.p != NULL ? m->type : span_of(type));
	jsonw_part(w, span_of(";base64,"));
	jsonw_part(w, m->data);
	jsonw_end_string(w);
}

static void
put_image(struct jsonw *w, const struct canon_part *p)
{
	const struct canon_media *m = &p->media;

	jsonw_open(w, '{');
	jsonw_m_cstr(w, "type", "input_image");
	if (m->source == MEDIA_BASE64) {
		jsonw_name(w, "image_url");
		put_data_url(w, m, "image/png");
	} else {
		jsonw_m_text(w, m->source == MEDIA_URL ? "image_url" : "file_id", m->data);
	}
	jsonw_m_text(w, "detail", m->detail);
	responses_put_content_extras(w, &p->src);
	jsonw_close(w, '}');
}

/* A document that is a text is told as a text. */
static void
put_document(struct jsonw *w, const struct canon_media *m)
{
	jsonw_open(w, '{');
	jsonw_m_cstr(w, "type", "input_text");
	jsonw_name(w, "text");
	jsonw_begin_string(w);
	jsonw_part(w, span_of("<document"));
	if (m->title.p != NULL || m->filename.p != NULL) {
		jsonw_part(w, span_of(" title=\""));
		jsonw_part(w, m->title.p != NULL ? m->title : m->filename);
		jsonw_part(w, span_of("\""));
	}
	jsonw_part(w, span_of(">\n"));
	jsonw_part(w, m->data);
	jsonw_part(w, span_of("\n</document>"));
	jsonw_end_string(w);
	jsonw_close(w, '}');
}

static void
put_file(struct jsonw *w, const struct canon_part *p)
{
	const struct canon_media *m = &p->media;

	if (m->source == MEDIA_TEXT) {
		put_document(w, m);
		return;
	}
	jsonw_open(w, '{');
	jsonw_m_cstr(w, "type", "input_file");
	if (m->source == MEDIA_BASE64) {
		jsonw_name(w, "file_data");
		put_data_url(w, m, "application/pdf");
		jsonw_m_text(w, "filename",
		    m->filename.p != NULL              ? m->filename
		    : p->src.from == DIALECT_RESPONSES ? m->filename
		    : m->title.p != NULL               ? m->title
						       : span_of("document.pdf"));
	} else {
		jsonw_m_text(w, m->source == MEDIA_URL ? "file_url" : "file_id", m->data);
		if (p->src.from == DIALECT_RESPONSES)
			jsonw_m_text(w, "filename", m->filename);
	}
	responses_put_content_extras(w, &p->src);
	jsonw_close(w, '}');
}

static void
put_audio(struct jsonw *w, const struct canon_part *p)
{
	jsonw_open(w, '{');
	jsonw_m_cstr(w, "type", "input_audio");
	jsonw_m_open(w, "input_audio", '{');
	jsonw_m_text(w, "data", p->media.data);
	jsonw_m_text(w, "format", p->media.format);
	jsonw_close(w, '}');
	responses_put_content_extras(w, &p->src);
	jsonw_close(w, '}');
}

void
responses_put_content(struct responses_writer *rw, const struct canon_part *p, enum canon_role role)
{
	struct jsonw *w = rw->w;

	switch (p->kind) {
	case PART_TEXT:
		put_text(rw, p, role);
		break;
	case PART_REFUSAL:
		jsonw_open(w, '{');
		jsonw_m_cstr(w, "type", "refusal");
		jsonw_m_text(w, "refusal", p->text.p != NULL ? p->text : span_of(""));
		responses_put_content_extras(w, &p->src);
		jsonw_close(w, '}');
		break;
	case PART_IMAGE:
		put_image(w, p);
		break;
	case PART_FILE:
		put_file(w, p);
		break;
	case PART_AUDIO:
		put_audio(w, p);
		break;
	case PART_OPAQUE:
		jsonw_raw(w, p->raw);
		break;
	default:
		break;
	}
}

/* ---- parts ---- */

bool
responses_is_content(const struct canon_part *p, bool answer)
{
	switch (p->kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		return true;
	case PART_IMAGE:
		return !responses_is_native(&p->src, HINT_RAW) && !answer;
	case PART_FILE:
	case PART_AUDIO:
		return !answer;
	case PART_OPAQUE:
		return responses_is_native(&p->src, HINT_CONTENT);
	default:
		return false;
	}
}

/* The only content of a message that had none is an empty text. */
static bool
is_nothing(const struct canon_part *p)
{
	return p->kind == PART_TEXT && p->text.n == 0 && responses_is_native(&p->src, HINT_EMPTY);
}

static bool
is_plain_string(const struct canon_part *p, const struct canon_part *next)
{
	return p->kind == PART_TEXT && responses_is_native(&p->src, HINT_STRING | HINT_START) &&
	       (next == NULL || !responses_is_content(next, false) ||
		   responses_is_native(&next->src, HINT_START));
}

static void
put_message_part(struct responses_writer *rw, const struct canon_part *p, enum canon_role role)
{
	if (rw->in_message && responses_is_native(&p->src, HINT_START))
		responses_put_end(rw);
	if (!rw->in_message) {
		rw->message = p;
		rw->in_message = true;
		responses_put_message_open(rw, p, role);
		if (!rw->answer && is_plain_string(p, TAILQ_NEXT(p, link))) {
			rw->is_string = true;
			jsonw_m_text(rw->w, "content", p->text.p != NULL ? p->text : span_of(""));
			return;
		}
		jsonw_m_open(rw->w, "content", '[');
	}
	if (!is_nothing(p))
		responses_put_content(rw, p, role);
}

void
responses_put_end(struct responses_writer *rw)
{
	if (!rw->in_message)
		return;
	if (!rw->is_string)
		jsonw_close(rw->w, ']');
	responses_put_item_extras(rw->w, &rw->message->src);
	jsonw_close(rw->w, '}');
	rw->in_message = rw->is_string = false;
	rw->items++;
}

void
responses_put_part(struct responses_writer *rw, const struct canon_part *p, enum canon_role role)
{
	if (responses_is_content(p, rw->answer)) {
		put_message_part(rw, p, role);
		return;
	}
	responses_put_end(rw);
	responses_put_item(rw, p);
}
