/* Content of messages, of requests and of answers (spec 4.2, 13.2). */
#include <string.h>

#include "proto/canon_ids.h"
#include "proto/chat/chat.h"
#include "proto/signature.h"
#include "shared/err.h"

/* ---- media ---- */

/* "data:image/png;base64,…" as the inside of a string. */
static void
put_data_url(struct chat_writer *o, const struct canon_media *m, const char *usual)
{
	jsonw_begin_string(&o->w);
	if (m->source == MEDIA_BASE64) {
		jsonw_part(&o->w, span_of("data:"));
		jsonw_part(&o->w, m->type.n > 0 ? m->type : span_of(usual));
		jsonw_part(&o->w, span_of(";base64,"));
	}
	jsonw_part(&o->w, m->data);
	jsonw_end_string(&o->w);
}

void
chat_put_cache(struct chat_writer *o, const struct canon_cache *c)
{
	if (!c->set)
		return;
	jsonw_m_open(&o->w, "cache_control", '{');
	jsonw_m_cstr(&o->w, "type", "ephemeral");
	jsonw_m_text(&o->w, "ttl", c->ttl);
	jsonw_close(&o->w, '}');
}

void
chat_put_image(struct chat_writer *o, const struct canon_media *m)
{
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "type", "image_url");
	jsonw_m_open(&o->w, "image_url", '{');
	jsonw_name(&o->w, "url");
	put_data_url(o, m, "image/png");
	jsonw_m_text(&o->w, "detail", m->detail);
	jsonw_close(&o->w, '}');
	jsonw_close(&o->w, '}');
}

static void
put_image(struct chat_writer *o, const struct canon_part *p)
{
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "type", "image_url");
	jsonw_name(&o->w, "image_url");
	if (chat_hint(&p->src, HINT_URL_STRING)) {
		put_data_url(o, &p->media, "image/png");
	} else {
		jsonw_open(&o->w, '{');
		jsonw_name(&o->w, "url");
		put_data_url(o, &p->media, "image/png");
		jsonw_m_text(&o->w, "detail", p->media.detail);
		jsonw_close(&o->w, '}');
	}
	chat_put_cache(o, &p->cache);
	canon_put_extras(&o->w, &p->src, DIALECT_CHAT);
	jsonw_close(&o->w, '}');
}

static const char *
audio_format(const struct canon_media *m)
{
	return span_is(m->type, "audio/mp3") || span_is(m->type, "audio/mpeg") ? "mp3" : "wav";
}

static void
put_audio(struct chat_writer *o, const struct canon_part *p)
{
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "type", "input_audio");
	jsonw_m_open(&o->w, "input_audio", '{');
	jsonw_m_text(&o->w, "data", p->media.data);
	jsonw_m_text(&o->w, "format",
	    p->media.format.p != NULL ? p->media.format : span_of(audio_format(&p->media)));
	jsonw_close(&o->w, '}');
	jsonw_close(&o->w, '}');
}

static void
put_file(struct chat_writer *o, const struct canon_part *p)
{
	struct span name = p->media.filename.p != NULL ? p->media.filename : p->media.title;

	jsonw_open(&o->w, '{');
	if (p->raw.p != NULL && p->src.from == DIALECT_CHAT && p->media.source == MEDIA_URL) {
		jsonw_m_cstr(&o->w, "type", "document_url");
		jsonw_m_text(&o->w, "document_url", p->media.data);
		jsonw_close(&o->w, '}');
		return;
	}
	jsonw_m_cstr(&o->w, "type", "file");
	jsonw_m_open(&o->w, "file", '{');
	if (p->media.source == MEDIA_FILE_ID) {
		jsonw_m_text(&o->w, "file_id", p->media.data);
		jsonw_m_text(&o->w, "filename", p->media.filename);
	} else {
		jsonw_m_text(&o->w, "filename", name.n > 0 ? name : span_of("document.pdf"));
		jsonw_name(&o->w, "file_data");
		put_data_url(o, &p->media, "application/pdf");
	}
	jsonw_close(&o->w, '}');
	chat_put_cache(o, &p->cache);
	jsonw_close(&o->w, '}');
}

static void
put_text(struct chat_writer *o, const struct canon_part *p)
{
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "type", "text");
	jsonw_m_text(&o->w, "text", p->text);
	chat_put_cache(o, &p->cache);
	canon_put_extras(&o->w, &p->src, DIALECT_CHAT);
	jsonw_close(&o->w, '}');
}

/* One piece of a content list; what has no form here is left out. */
static void
put_piece(struct chat_writer *o, const struct canon_part *p)
{
	switch (p->kind) {
	case PART_TEXT:
		put_text(o, p);
		break;
	case PART_IMAGE:
		put_image(o, p);
		break;
	case PART_AUDIO:
		put_audio(o, p);
		break;
	case PART_FILE:
		if (p->media.source == MEDIA_TEXT)
			put_text(o, &(struct canon_part){.kind = PART_TEXT, .text = p->media.data});
		else
			put_file(o, p);
		break;
	case PART_REFUSAL:
		jsonw_open(&o->w, '{');
		jsonw_m_cstr(&o->w, "type", "refusal");
		jsonw_m_text(&o->w, "refusal", p->text);
		jsonw_close(&o->w, '}');
		break;
	case PART_REASONING:
	case PART_OPAQUE:
	case PART_VIDEO:
		if (p->raw.p != NULL && p->src.from == DIALECT_CHAT)
			jsonw_raw(&o->w, p->raw);
		break;
	default:
		break;
	}
}

static void
put_joined(struct chat_writer *o, const struct canon_parts *parts)
{
	const struct canon_part *p;

	jsonw_begin_string(&o->w);
	TAILQ_FOREACH (p, parts, link)
		if (p->kind == PART_TEXT)
			jsonw_part(&o->w, p->text);
	jsonw_end_string(&o->w);
}

/* Nothing but texts that carry nothing of their own. */
static bool
is_plain(const struct canon_parts *parts, unsigned *texts)
{
	const struct canon_part *p;

	*texts = 0;
	TAILQ_FOREACH (p, parts, link) {
		if (p->kind != PART_TEXT || p->cache.set ||
		    (p->src.from == DIALECT_CHAT && p->src.extra != NULL))
			return false;
		++*texts;
	}
	return true;
}

void
chat_put_content(struct chat_writer *o, const struct canon_parts *parts, bool string)
{
	const struct canon_part *p;
	unsigned texts;
	bool plain = is_plain(parts, &texts);

	jsonw_name(&o->w, "content");
	if (plain && (string || texts == 0)) {
		put_joined(o, parts);
		return;
	}
	jsonw_open(&o->w, '[');
	TAILQ_FOREACH (p, parts, link)
		put_piece(o, p);
	jsonw_close(&o->w, ']');
}

/* ---- an assistant's message ---- */

static bool
in_content(const struct canon_part *p)
{
	switch (p->kind) {
	case PART_TEXT:
	case PART_OPAQUE:
		return true;
	case PART_REFUSAL:
		return chat_hint(&p->src, HINT_STRING);
	case PART_REASONING: /* Mistral's piece */
		return p->src.from == DIALECT_CHAT && p->raw.p != NULL &&
		       (p->src.hint & (HINT_DETAILS | HINT_PLAIN)) == 0;
	default:
		return false;
	}
}

static void
put_said(struct chat_writer *o, const struct canon_parts *parts, const struct canon_source *s)
{
	const struct canon_part *p;
	bool any = false, text = false, list = false, calls = false;

	TAILQ_FOREACH (p, parts, link) {
		any = any || in_content(p);
		text = text || p->kind == PART_TEXT;
		list = list || (in_content(p) &&
				   (p->kind != PART_TEXT || p->cache.set ||
				       (p->src.from == DIALECT_CHAT && p->src.extra != NULL)));
		calls = calls || p->kind == PART_TOOL_CALL;
	}
	if (!any && chat_hint(s, HINT_ABSENT))
		return;
	jsonw_name(&o->w, "content");
	if (!any && o->request && o->ctx->profile->empty_content) {
		jsonw_lit(&o->w, "\"\"");
	} else if (!any && (!o->request || calls || chat_hint(s, HINT_NULL))) {
		jsonw_lit(&o->w, "null");
	} else if (list ||
		   (text && s->from == DIALECT_CHAT && !chat_hint(s, HINT_STRING) && o->request)) {
		jsonw_open(&o->w, '[');
		TAILQ_FOREACH (p, parts, link)
			if (in_content(p))
				put_piece(o, p);
		jsonw_close(&o->w, ']');
	} else {
		put_joined(o, parts);
	}
}

void
chat_put_detail(
    struct chat_writer *o, const struct canon_signature *s, struct span text, uint32_t index)
{
	static const char *const formats[ORIGINS] = {
	    [ORIGIN_ANTHROPIC] = "anthropic-claude-v1",
	    [ORIGIN_GOOGLE] = "google-gemini-v1",
	    [ORIGIN_OPENAI] = "openai-responses-v1",
	};
	const char *format = formats[s->origin];

	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "type", s->encrypted ? "reasoning.encrypted" : "reasoning.text");
	if (!s->encrypted)
		jsonw_m_text(&o->w, "text", text);
	jsonw_m_text(&o->w, s->encrypted ? "data" : "signature", s->data);
	jsonw_m_cstr(&o->w, "format", format != NULL ? format : "unknown");
	jsonw_m_u64(&o->w, "index", index);
	jsonw_close(&o->w, '}');
}

static void
put_details(struct chat_writer *o, const struct canon_parts *parts)
{
	const struct canon_part *p;
	bool any = false;
	uint32_t index = 0;

	TAILQ_FOREACH (p, parts, link) {
		if (p->kind != PART_REASONING)
			continue;
		if (p->src.from == DIALECT_CHAT && p->raw.p != NULL &&
		    chat_hint(&p->src, HINT_DETAILS)) {
			jsonw_m_raw(&o->w, "reasoning_details", p->raw);
			return;
		}
		any = any || (p->sign.data.p != NULL && !in_content(p));
	}
	if (!any)
		return;
	jsonw_m_open(&o->w, "reasoning_details", '[');
	TAILQ_FOREACH (p, parts, link)
		if (p->kind == PART_REASONING && p->sign.data.p != NULL)
			chat_put_detail(o, &p->sign, p->text, index++);
	jsonw_close(&o->w, ']');
}

static void
put_reasoning(struct chat_writer *o, const struct canon_parts *parts)
{
	const struct canon_part *p;
	bool text = false, plain = false, both = false, foreign = false;

	TAILQ_FOREACH (p, parts, link) {
		if (p->kind != PART_REASONING || in_content(p))
			continue;
		/* an empty thought that shaping has put there is said: DeepSeek wants the member */
		text = text || p->text.n > 0 || chat_hint(&p->src, HINT_PLAIN) ||
		       (o->request && p->src.from == DIALECT_NONE && p->sign.data.p == NULL);
		plain = plain || chat_hint(&p->src, HINT_REASONING);
		both = both || chat_hint(&p->src, HINT_BOTH);
		foreign =
		    foreign || (p->src.from != DIALECT_CHAT) || chat_hint(&p->src, HINT_PLAIN);
	}
	for (int i = 0; text && foreign && i < 2; i++) {
		if (!both && plain != (i == 1))
			continue;
		jsonw_name(&o->w, i == 0 ? "reasoning_content" : "reasoning");
		jsonw_begin_string(&o->w);
		TAILQ_FOREACH (p, parts, link)
			if (p->kind == PART_REASONING && !in_content(p))
				jsonw_part(&o->w, p->text);
		jsonw_end_string(&o->w);
	}
	put_details(o, parts);
}

struct span
chat_call_id(struct chat_writer *o, struct span id)
{
	if (id.n == 0 &&
	    (id = canon_id(o->ctx->arena, o->ctx->seed, ID_CALL, 0x10000 + o->calls++)).p == NULL)
		o->error = E_NOMEM;
	return id.p != NULL ? id : span_of("");
}

void
chat_put_call(struct chat_writer *o, const struct canon_part *p, struct span args)
{
	jsonw_m_text(&o->w, "id", chat_call_id(o, p->id));
	jsonw_m_cstr(&o->w, "type", p->custom ? "custom" : "function");
	jsonw_m_open(&o->w, p->custom ? "custom" : "function", '{');
	jsonw_m_text(&o->w, "name", p->name);
	jsonw_m_text(&o->w, p->custom ? "input" : "arguments", args.p != NULL ? args : span_of(""));
	jsonw_close(&o->w, '}');
	if (p->sign.data.n > 0) {
		jsonw_m_open(&o->w, "extra_content", '{');
		jsonw_m_open(&o->w, "google", '{');
		jsonw_m_text(&o->w, "thought_signature", p->sign.data);
		jsonw_close(&o->w, '}');
		jsonw_close(&o->w, '}');
	}
	canon_put_extras(&o->w, &p->src, DIALECT_CHAT);
}

static void
put_old_call(struct chat_writer *o, const struct canon_part *p)
{
	jsonw_m_open(&o->w, "function_call", '{');
	jsonw_m_text(&o->w, "name", p->name);
	jsonw_m_text(&o->w, "arguments", p->args.n > 0 ? p->args : span_of("{}"));
	jsonw_close(&o->w, '}');
}

/* Those of the new form in their list, and behind it the first of the old form: a second one of
 * those cannot be said. */
static void
put_calls(struct chat_writer *o, const struct canon_parts *parts)
{
	const struct canon_part *p, *old = NULL;
	bool legacy = !o->request && o->ctx->asked->legacy_functions, open = false;

	TAILQ_FOREACH (p, parts, link) {
		if (p->kind != PART_TOOL_CALL)
			continue;
		if (legacy || chat_hint(&p->src, HINT_FUNCTION)) {
			old = old == NULL ? p : old;
			continue;
		}
		if (!open)
			jsonw_m_open(&o->w, "tool_calls", '[');
		open = true;
		jsonw_open(&o->w, '{');
		chat_put_call(o, p,
		    p->args.n > 0 || p->custom || p->src.from == DIALECT_CHAT ? p->args
									      : span_of("{}"));
		jsonw_close(&o->w, '}');
	}
	if (open)
		jsonw_close(&o->w, ']');
	if (old != NULL)
		put_old_call(o, old);
}

static void
put_made(struct chat_writer *o, const struct canon_parts *parts)
{
	const struct canon_part *p;
	bool open = false;

	TAILQ_FOREACH (p, parts, link)
		if (p->kind == PART_AUDIO && p->raw.p != NULL && p->src.from == DIALECT_CHAT) {
			jsonw_m_raw(&o->w, "audio", p->raw);
			break;
		}
	TAILQ_FOREACH (p, parts, link) {
		if (p->kind != PART_IMAGE)
			continue;
		if (!open)
			jsonw_m_open(&o->w, "images", '[');
		open = true;
		put_image(o, p);
	}
	if (open)
		jsonw_close(&o->w, ']');
}

/* Of a part, within the whole text; upstreams may count to anything. */
static int64_t
place(int64_t at, int64_t shift)
{
	return at < 0 ? shift : MIN(at, INT64_MAX - shift) + shift;
}

void
chat_put_annotation(struct chat_writer *o, const struct canon_annotation *n, int64_t shift)
{
	if (n->from == DIALECT_CHAT && n->raw.p != NULL) {
		jsonw_raw(&o->w, n->raw);
		return;
	}
	if (n->kind != CITE_URL)
		return;
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "type", "url_citation");
	jsonw_m_open(&o->w, "url_citation", '{');
	jsonw_m_i64(&o->w, "start_index", place(n->start, shift));
	jsonw_m_i64(&o->w, "end_index", place(n->end, shift));
	jsonw_m_text(&o->w, "url", n->url.p != NULL ? n->url : span_of(""));
	jsonw_m_text(&o->w, "title", n->title.p != NULL ? n->title : span_of(""));
	jsonw_close(&o->w, '}');
	jsonw_close(&o->w, '}');
}

int64_t
chat_code_points(struct span s)
{
	int64_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
	return n;
}

static void
put_annotations(struct chat_writer *o, const struct canon_parts *parts, bool always)
{
	const struct canon_part *p;
	const struct canon_annotation *n;
	int64_t shift = 0;
	bool open = false;

	TAILQ_FOREACH (p, parts, link) {
		if (p->kind != PART_TEXT)
			continue;
		TAILQ_FOREACH (n, &p->annotations, link) {
			if (!open)
				jsonw_m_open(&o->w, "annotations", '[');
			open = true;
			chat_put_annotation(o, n, shift);
		}
		shift += chat_code_points(p->text);
	}
	if (open)
		jsonw_close(&o->w, ']');
	else if (always)
		jsonw_m_lit(&o->w, "annotations", "[]");
}

void
chat_put_assistant(
    struct chat_writer *o, const struct canon_parts *parts, const struct canon_source *s)
{
	const struct canon_part *p;

	jsonw_m_cstr(&o->w, "role", "assistant");
	put_said(o, parts, s);
	put_reasoning(o, parts);
	TAILQ_FOREACH (p, parts, link)
		if (p->kind == PART_REFUSAL && !in_content(p)) {
			jsonw_m_text(&o->w, "refusal", p->text);
			break;
		}
	if (p == NULL && !o->request)
		jsonw_m_lit(&o->w, "refusal", "null");
	put_annotations(o, parts, !o->request && s->from != DIALECT_CHAT);
	put_made(o, parts);
	put_calls(o, parts);
	canon_put_extras(&o->w, s, DIALECT_CHAT);
}
