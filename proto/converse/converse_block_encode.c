/* Parts → blocks of content: the same in requests and answers. */
#include <stdio.h>
#include <string.h>

#include "proto/converse/converse.h"
#include "proto/profile.h"
#include "proto/shape.h"
#include "shared/digest.h"
#include "shared/err.h"

#define BLOB_MAX ((size_t)64 << 20)
#define NAME_MAX_BYTES 160

static bool
own(const struct canon_source *s)
{
	return s->from == DIALECT_CONVERSE;
}

/* ---- text ---- */

/* The service refuses a NUL in a text (spec 2.8). */
static void
put_text(struct wire *o, const char *name, struct span text)
{
	const char *nul;

	if (text.p == NULL && o->error == 0)
		o->error = E_NOMEM;
	jsonw_name(&o->w, name);
	jsonw_begin_string(&o->w);
	while (text.n > 0 && (nul = memchr(text.p, '\0', text.n)) != NULL) {
		size_t n = (size_t)(nul - text.p);
		jsonw_part(&o->w, (struct span){text.p, n});
		text = (struct span){nul + 1, text.n - n - 1};
	}
	jsonw_part(&o->w, text);
	jsonw_end_string(&o->w);
}

static void
put_text_block(struct wire *o, struct span text)
{
	jsonw_open(&o->w, '{');
	put_text(o, "text", text);
	jsonw_close(&o->w, '}');
}

/* A part that has no block of its own, as text. */
static void
put_as_text(struct wire *o, const struct canon_part *p)
{
	struct canon_parts alone = TAILQ_HEAD_INITIALIZER(alone);
	struct canon_part *copy =
	    canon_part_new(o->a, p->kind == PART_IMAGE ? PART_VIDEO : p->kind);

	if (copy == NULL) {
		o->error = E_NOMEM;
		return;
	}
	if (p->kind == PART_IMAGE) {
		put_text_block(o, span_of("[image omitted]"));
		return;
	}
	copy->media = p->media;
	TAILQ_INSERT_TAIL(&alone, copy, link);
	put_text_block(o, wire_text_of(o->a, &alone, ""));
}

/* ---- media ---- */

static void
put_source(struct wire *o, const struct canon_media *m)
{
	jsonw_m_open(&o->w, "source", '{');
	if (m->source == MEDIA_BASE64) {
		jsonw_m_text(&o->w, "bytes", m->data);
	} else {
		jsonw_m_open(&o->w, "s3Location", '{');
		jsonw_m_text(&o->w, "uri", m->data);
		jsonw_close(&o->w, '}');
	}
	jsonw_close(&o->w, '}');
}

static bool
has_source(const struct canon_media *m)
{
	return m->source == MEDIA_BASE64 ||
	       (m->source == MEDIA_URL && m->data.n > 5 && memcmp(m->data.p, "s3://", 5) == 0);
}

static bool
is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '(' || c == ')' || c == '[' || c == ']' || c == '-';
}

/* Without the ending, which the format tells. */
static size_t
stem(struct span s)
{
	for (size_t i = s.n; i > 1 && s.n - i < 6; i--)
		if (s.p[i - 1] == '.')
			return i - 1;
	return s.n;
}

/*
 * Few characters are allowed, one space at a time, and no name twice. The first keeps its own
 * unless that begins with a digit; the others begin with their number.
 */
static void
put_document_name(struct converse_writer *c, const struct canon_media *m)
{
	struct span from = m->title.n > 0 ? m->title : m->filename;
	char name[NAME_MAX_BYTES], whole[NAME_MAX_BYTES + 16];
	size_t n = 0, end = MIN(stem(from), sizeof name);
	int length;

	for (size_t i = 0; i < end; i++) {
		char ch = is_plain(from.p[i]) ? from.p[i] : ' ';
		if (ch != ' ' || (n > 0 && name[n - 1] != ' '))
			name[n++] = ch;
	}
	while (n > 0 && name[n - 1] == ' ')
		n--;
	if (n == 0)
		memcpy(name, "Document", n = 8);
	if (++c->documents > 1 || (name[0] >= '0' && name[0] <= '9'))
		length = snprintf(whole, sizeof whole, "%u %.*s", c->documents, (int)n, name);
	else
		length = snprintf(whole, sizeof whole, "%.*s", (int)n, name);
	jsonw_m_text(&c->o.w, "name", (struct span){whole, (size_t)length});
}

static void
put_media(
    struct converse_writer *c, const struct canon_part *p, const char *block, const char *format)
{
	struct wire *o = &c->o;

	jsonw_open(&o->w, '{');
	jsonw_m_open(&o->w, block, '{');
	jsonw_m_cstr(&o->w, "format", format);
	if (p->kind == PART_FILE)
		put_document_name(c, &p->media);
	put_source(o, &p->media);
	if (p->kind == PART_FILE && p->media.context.n > 0)
		put_text(o, "context", p->media.context);
	if (p->kind == PART_FILE && p->media.citations == 1)
		jsonw_m_lit(&o->w, "citations", "{\"enabled\":true}");
	jsonw_close(&o->w, '}');
	jsonw_close(&o->w, '}');
}

static void
put_media_block(struct converse_writer *c, const struct canon_part *p)
{
	static const struct {
		const char *block;
		const struct wire_media *words;
	} kinds[] = {
	    [PART_IMAGE] = {"image", converse_images},
	    [PART_VIDEO] = {"video", converse_videos},
	    [PART_FILE] = {"document", converse_documents},
	};
	const char *format = NULL;

	if (p->kind != PART_AUDIO && has_source(&p->media))
		format = wire_media_word(kinds[p->kind].words, p->media.type);
	if (format == NULL)
		put_as_text(&c->o, p);
	else
		put_media(c, p, kinds[p->kind].block, format);
}

/* ---- tools ---- */

static void
put_call(struct wire *o, const struct canon_part *p)
{
	jsonw_open(&o->w, '{');
	jsonw_m_open(&o->w, "toolUse", '{');
	jsonw_m_text(&o->w, "toolUseId", p->id.p != NULL ? p->id : span_of(""));
	jsonw_m_text(&o->w, "name", p->name.p != NULL ? p->name : span_of(""));
	jsonw_m_raw(&o->w, "input", shape_arguments_object(o->a, p->args, p->custom));
	wire_put_extras(o, &p->src, DIALECT_CONVERSE, NULL);
	jsonw_close(&o->w, '}');
	jsonw_close(&o->w, '}');
}

/* Blank text is refused, and so is a list without blocks. */
static bool
is_blank(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != ' ' && s.p[i] != '\t' && s.p[i] != '\n' && s.p[i] != '\r')
			return false;
	return true;
}

static void
put_result_content(struct converse_writer *c, const struct canon_part *p)
{
	const struct canon_part *it;
	unsigned blocks = 0;

	jsonw_m_open(&c->o.w, "content", '[');
	if (p->structured.p != NULL) {
		jsonw_open(&c->o.w, '{');
		jsonw_m_raw(&c->o.w, "json", p->structured);
		jsonw_close(&c->o.w, '}');
		blocks++;
	}
	TAILQ_FOREACH (it, &p->content, link) {
		bool text = it->kind == PART_TEXT;
		if ((text && (is_blank(it->text) || p->structured.p != NULL)) || !converse_goes(it))
			continue;
		if (text)
			put_text_block(&c->o, it->text);
		else
			put_media_block(c, it);
		blocks++;
	}
	if (blocks == 0)
		put_text_block(&c->o, span_of("(no output)"));
	jsonw_close(&c->o.w, ']');
}

static void
put_result(struct converse_writer *c, const struct canon_part *p)
{
	static const char *const placed[] = {"content", NULL};
	struct span content = wire_extra(&p->src, DIALECT_CONVERSE, "content");
	struct wire *o = &c->o;

	jsonw_open(&o->w, '{');
	jsonw_m_open(&o->w, "toolResult", '{');
	jsonw_m_text(&o->w, "toolUseId", p->id.p != NULL ? p->id : span_of(""));
	if (content.p != NULL)
		jsonw_m_raw(&o->w, "content", content);
	else
		put_result_content(c, p);
	if (p->is_error)
		jsonw_m_cstr(&o->w, "status", "error");
	else if (own(&p->src) && p->src.hint & HINT_STATUS)
		jsonw_m_cstr(&o->w, "status", "success");
	wire_put_extras(o, &p->src, DIALECT_CONVERSE, placed);
	jsonw_close(&o->w, '}');
	jsonw_close(&o->w, '}');
}

/* ---- reasoning ---- */

void
converse_put_redacted(struct wire *o, struct span data)
{
	struct buf b = BUF_INIT(BLOB_MAX);
	size_t mark = strlen(CONVERSE_BLOB);

	if (data.n > mark && memcmp(data.p, CONVERSE_BLOB, mark) == 0)
		buf_add(&b, data.p + mark, data.n - mark);
	else
		base64_encode(&b, data.p, data.n);
	if (!buf_ok(&b))
		o->error = E_NOMEM;
	else
		jsonw_m_text(&o->w, "redactedContent", (struct span){b.data, b.len});
	buf_clear(&b);
}

/* Only what its maker can verify has a signature here. */
static void
put_reasoning(struct wire *o, const struct canon_part *p)
{
	bool ours = p->sign.data.p != NULL && p->sign.origin == ORIGIN_ANTHROPIC;

	jsonw_open(&o->w, '{');
	jsonw_m_open(&o->w, "reasoningContent", '{');
	if (ours && p->sign.encrypted) {
		converse_put_redacted(o, p->sign.data);
	} else {
		jsonw_m_open(&o->w, "reasoningText", '{');
		jsonw_m_text(&o->w, "text",
		    p->text.p != NULL ? p->text : span_of("")); /* byte for byte: it is signed */
		if (ours)
			jsonw_m_text(&o->w, "signature", p->sign.data);
		jsonw_close(&o->w, '}');
	}
	jsonw_close(&o->w, '}');
	jsonw_close(&o->w, '}');
}

/* ---- the block ---- */

/* Not behind a document, which the service refuses (spec 12.1). */
void
converse_put_cache(
    struct converse_writer *c, const struct canon_cache *cache, const struct canon_source *s)
{
	struct wire *o = &c->o;

	if (!cache->set || (!own(s) && c->profile != NULL && !c->profile->prompt_cache))
		return;
	jsonw_open(&o->w, '{');
	jsonw_m_open(&o->w, "cachePoint", '{');
	jsonw_m_cstr(&o->w, "type", "default");
	if (own(s) ||
	    !span_is(cache->ttl, "5m")) /* which is the usual one, and not known to all models */
		jsonw_m_text(&o->w, "ttl", cache->ttl);
	jsonw_close(&o->w, '}');
	jsonw_close(&o->w, '}');
}

bool
converse_goes(const struct canon_part *p)
{
	switch (p->kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		return p->text.n > 0 || own(&p->src);
	case PART_OPAQUE:
	case PART_SERVER_CALL:
	case PART_SERVER_RESULT:
		return own(&p->src) && p->raw.p != NULL;
	case PART_IMAGE:
	case PART_AUDIO:
	case PART_VIDEO:
	case PART_FILE:
	case PART_TOOL_CALL:
	case PART_TOOL_RESULT:
	case PART_REASONING:
		break;
	}
	return true;
}

void
converse_put_block(struct converse_writer *c, const struct canon_part *p)
{
	if (own(&p->src) && p->raw.p != NULL)
		jsonw_raw(&c->o.w, p->raw);
	else if (p->kind == PART_TEXT || p->kind == PART_REFUSAL)
		put_text_block(&c->o, p->text);
	else if (p->kind == PART_TOOL_CALL)
		put_call(&c->o, p);
	else if (p->kind == PART_TOOL_RESULT)
		put_result(c, p);
	else if (p->kind == PART_REASONING)
		put_reasoning(&c->o, p);
	else
		put_media_block(c, p);
	if (p->kind != PART_FILE || own(&p->src))
		converse_put_cache(c, &p->cache, &p->src);
}
