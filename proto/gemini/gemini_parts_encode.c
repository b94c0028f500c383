/* Parts of contents, written: for upstreams and for clients. */
#include <string.h>

#include "proto/gemini/gemini.h"
#include "proto/scan.h"
#include "proto/shape.h"
#include "proto/signature.h"
#include "shared/err.h"

static bool
own(const struct canon_part *p)
{
	return p->src.from == DIALECT_GEMINI;
}

/* An upstream gets only what Google made; a client gets what others made in our envelope. */
struct span
gemini_signature(struct gemini_writer *o, const struct canon_signature *s)
{
	struct span none = {NULL, 0}, wrapped;

	if (s->data.p == NULL)
		return none;
	if (s->origin == ORIGIN_GOOGLE && !s->encrypted)
		return s->data;
	if (o->profile != NULL)
		return none;
	wrapped = signature_wrap(o->a, s);
	if (wrapped.p == NULL)
		o->error = E_NOMEM;
	return wrapped;
}

bool
gemini_part_goes(const struct gemini_writer *o, const struct canon_part *p)
{
	switch (p->kind) {
	case PART_SERVER_CALL:
	case PART_SERVER_RESULT:
	case PART_OPAQUE:
		return own(p) && p->raw.p != NULL;
	case PART_REASONING:
		return o->thoughts || o->profile != NULL || p->sign.data.p != NULL;
	default:
		return true;
	}
}

static void
put_carrier(struct gemini_writer *o, struct span signature, bool text)
{
	jsonw_open(&o->w, '{');
	if (text)
		jsonw_m_lit(&o->w, "text", "\"\"");
	gemini_m_text(o, "thoughtSignature", signature);
	jsonw_close(&o->w, '}');
}

/* A thought that the client did not ask for is only its signature. */
static void
put_text(struct gemini_writer *o, const struct canon_part *p)
{
	struct span signature = gemini_signature(o, &p->sign), text = p->text;
	bool thought = p->kind == PART_REASONING, apart;

	if (thought && o->profile == NULL && !o->thoughts)
		text = span_of("");
	apart = p->carrier && text.n > 0 && signature.p != NULL;
	jsonw_open(&o->w, '{');
	if (text.n > 0 || !gemini_hint(&p->src, HINT_NO_TEXT))
		gemini_m_text(o, "text", text.p != NULL ? text : span_of(""));
	if (thought)
		jsonw_m_bool(&o->w, "thought", true);
	if (!apart)
		gemini_m_text(o, "thoughtSignature", signature);
	gemini_put_extras(o, &p->src, NULL);
	jsonw_close(&o->w, '}');
	if (apart)
		put_carrier(o, signature, !gemini_hint(&p->src, HINT_NO_TEXT));
}

static struct span
media_type(const struct canon_part *p)
{
	static const char *const usual[] = {
	    [PART_IMAGE] = "image/png", [PART_AUDIO] = "audio/wav", [PART_VIDEO] = "video/mp4"};

	if (p->media.type.n > 0)
		return p->media.type;
	if (p->kind == PART_AUDIO && span_is(p->media.format, "mp3"))
		return span_of("audio/mp3");
	if (p->kind < NELEM(usual) && usual[p->kind] != NULL)
		return span_of(usual[p->kind]);
	return span_of("application/octet-stream");
}

static void
put_document(struct gemini_writer *o, const struct canon_part *p)
{
	const struct canon_media *m = &p->media;
	struct span title = m->title.p != NULL ? m->title : m->filename;

	jsonw_name(&o->w, "text");
	jsonw_begin_string(&o->w);
	if (title.n > 0) {
		jsonw_part(&o->w, span_of("<document title=\""));
		jsonw_part(&o->w, title);
		jsonw_part(&o->w, span_of("\">\n"));
	} else {
		jsonw_part(&o->w, span_of("<document>\n"));
	}
	jsonw_part(&o->w, m->data);
	jsonw_part(&o->w, span_of("\n</document>"));
	jsonw_end_string(&o->w);
}

static void
put_blob(struct gemini_writer *o, const struct canon_part *p)
{
	static const char *const known[] = {"mimeType", "data", "displayName", NULL};
	static const char *const file_known[] = {"mimeType", "fileUri", "displayName", NULL};
	bool inlined = p->media.source == MEDIA_BASE64;
	const char *name = inlined ? "inlineData" : "fileData";

	gemini_m_open(o, name, '{');
	if (inlined || p->media.type.n > 0)
		gemini_m_text(o, "mimeType", own(p) ? p->media.type : media_type(p));
	gemini_m_text(o, inlined ? "data" : "fileUri", p->media.data);
	if (own(p)) /* AI Studio does not know it: only where the client said it */
		gemini_m_text(o, "displayName", p->media.filename);
	gemini_put_rest(o, &p->src, name, inlined ? known : file_known);
	jsonw_close(&o->w, '}');
}

void
gemini_put_media(struct gemini_writer *o, const struct canon_part *p)
{
	static const char *const except[] = {"inlineData", "fileData", NULL};

	jsonw_open(&o->w, '{');
	if (p->media.source == MEDIA_TEXT)
		put_document(o, p);
	else
		put_blob(o, p);
	gemini_m_text(o, "thoughtSignature", gemini_signature(o, &p->sign));
	gemini_put_extras(o, &p->src, except);
	jsonw_close(&o->w, '}');
}

void
gemini_put_call(
    struct gemini_writer *o, const struct canon_part *p, struct span args, struct span signature)
{
	static const char *const known[] = {"id", "name", "args", NULL};
	static const char *const except[] = {"functionCall", NULL};

	args = shape_arguments_object(o->a, args, p->custom);
	if (args.p == NULL)
		o->error = E_NOMEM;
	jsonw_open(&o->w, '{');
	gemini_m_open(o, "functionCall", '{');
	if (p->id.n > 0)
		jsonw_m_text(&o->w, "id", p->id);
	jsonw_m_text(&o->w, "name", p->name);
	if (!gemini_hint(&p->src, HINT_NO_ARGS))
		jsonw_m_raw(&o->w, "args", args);
	gemini_put_rest(o, &p->src, "functionCall", known);
	jsonw_close(&o->w, '}');
	gemini_m_text(o, "thoughtSignature", signature);
	gemini_put_extras(o, &p->src, except);
	jsonw_close(&o->w, '}');
}

/* Google refuses objects that look like schemas: such a thing goes as a text. */
static bool
looks_like_schema(struct span json)
{
	return memmem(json.p, json.n, "\"$ref\"", 6) != NULL ||
	       memmem(json.p, json.n, "\"$schema\"", 9) != NULL;
}

static void
put_response(struct gemini_writer *o, const struct canon_part *p)
{
	struct span text = canon_join(o->a, &p->content, "\n");

	if (own(p) && p->structured.p != NULL) {
		gemini_m_raw(o, "response", p->structured);
		return;
	}
	if (text.p == NULL)
		text = span_of("");
	if (!p->is_error && scan_type(text) == 'o' && scan_check(text.p, text.n, NULL) == 0 &&
	    !looks_like_schema(text)) {
		gemini_m_raw(o, "response", text);
		return;
	}
	gemini_m_open(o, "response", '{');
	gemini_m_text(o, p->is_error ? "error" : "result", text);
	jsonw_close(&o->w, '}');
}

static bool
is_media(const struct canon_part *p)
{
	return p->kind == PART_IMAGE || p->kind == PART_AUDIO || p->kind == PART_VIDEO ||
	       p->kind == PART_FILE;
}

static void
put_result(struct gemini_writer *o, const struct canon_part *p)
{
	static const char *const known[] = {"id", "name", "response", "parts", NULL};
	static const char *const except[] = {"functionResponse", NULL};
	const struct canon_part *c;
	bool open = false;

	jsonw_open(&o->w, '{');
	gemini_m_open(o, "functionResponse", '{');
	if (p->id.n > 0)
		jsonw_m_text(&o->w, "id", p->id);
	gemini_m_text(o, "name", p->name);
	if (!own(p) || !TAILQ_EMPTY(&p->content))
		put_response(o, p);
	TAILQ_FOREACH (c, &p->content, link) {
		if (!is_media(c) || !(own(p) || o->profile == NULL || o->profile->image_in_result))
			continue;
		if (!open)
			jsonw_m_open(&o->w, "parts", '[');
		open = true;
		gemini_put_media(o, c);
	}
	if (open)
		jsonw_close(&o->w, ']');
	gemini_put_rest(o, &p->src, "functionResponse", known);
	jsonw_close(&o->w, '}');
	gemini_m_text(o, "thoughtSignature", gemini_signature(o, &p->sign));
	gemini_put_extras(o, &p->src, except);
	jsonw_close(&o->w, '}');
}

void
gemini_put_result_media(struct gemini_writer *o, const struct canon_part *p)
{
	const struct canon_part *c;

	if (own(p) || o->profile == NULL || o->profile->image_in_result)
		return;
	TAILQ_FOREACH (c, &p->content, link)
		if (is_media(c))
			gemini_put_media(o, c);
}

void
gemini_put_part(struct gemini_writer *o, const struct canon_part *p)
{
	bool snake = o->snake;

	o->snake = gemini_hint(&p->src, HINT_SNAKE);
	switch (p->kind) {
	case PART_TOOL_CALL:
		gemini_put_call(o, p, p->args, gemini_signature(o, &p->sign));
		break;
	case PART_TOOL_RESULT:
		put_result(o, p);
		break;
	case PART_IMAGE:
	case PART_AUDIO:
	case PART_VIDEO:
	case PART_FILE:
		gemini_put_media(o, p);
		break;
	case PART_SERVER_CALL:
	case PART_SERVER_RESULT:
	case PART_OPAQUE:
		jsonw_raw(&o->w, p->raw);
		break;
	default:
		put_text(o, p);
	}
	o->snake = snake;
}
