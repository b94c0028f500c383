/* Parts → blocks of content: the same in requests and answers. */
#include <string.h>

#include "proto/canon_ids.h"
#include "proto/messages/messages.h"
#include "proto/scan.h"
#include "proto/shape.h"
#include "proto/signature.h"
#include "shared/digest.h"
#include "shared/err.h"

#define TEXT_MAX (64u << 20)

static const char *const cache_only[] = {"cache_control", NULL};

static bool
is_in(struct span name, const char *const *list)
{
	for (; list != NULL && *list != NULL; list++)
		if (span_is(name, *list))
			return true;
	return false;
}

void
messages_put_members(struct messages_writer *o, struct span raw, const char *const *except)
{
	const struct json *tree;
	int r = json_parse(o->a, raw, &tree);

	if (r != 0) {
		o->error = o->error != 0 ? o->error : r;
		return;
	}
	json_each (m, json_is(tree, 'o') ? tree : NULL) {
		if (is_in(m->name, except))
			continue;
		jsonw_name_raw(&o->w, m->name);
		jsonw_raw(&o->w, m->raw);
	}
}

void
messages_put_extras(
    struct messages_writer *o, const struct canon_source *s, const char *const *except)
{
	canon_put_extras_but(&o->w, s, DIALECT_MESSAGES, except);
}

void
messages_put_cache(
    struct messages_writer *o, const struct canon_cache *c, const struct canon_source *s)
{
	static const char *const ttl[] = {"ttl", NULL};
	const struct canon_extra *x;

	if (!c->set)
		return;
	jsonw_m_open(&o->w, "cache_control", '{');
	x = messages_own(s) ? canon_extra_find(s, "cache_control") : NULL;
	if (x != NULL)
		messages_put_members(o, x->value, ttl);
	else
		jsonw_m_cstr(&o->w, "type", "ephemeral");
	jsonw_m_text(&o->w, "ttl", c->ttl);
	jsonw_close(&o->w, '}');
}

/* Cache mark and extras: the end of every block. */
static void
put_tail(struct messages_writer *o, const struct canon_part *p)
{
	messages_put_cache(o, &p->cache, &p->src);
	messages_put_extras(o, &p->src, cache_only);
}

/* ---- text ---- */

/* Others' citations cannot be read back here, and what a search found cannot without its index. */
static bool
citation_goes(const struct messages_writer *o, const struct canon_annotation *n)
{
	struct span index;

	if (n->from != DIALECT_MESSAGES || n->raw.p == NULL)
		return false;
	if (o->answer || n->kind != CITE_URL)
		return true;
	index = scan_path(n->raw, "type");
	if (!span_is(index, "\"web_search_result_location\""))
		return true;
	index = scan_path(n->raw, "encrypted_index");
	return index.n > 2 && index.p[0] == '"';
}

static void
put_text(struct messages_writer *o, const struct canon_part *p)
{
	const struct canon_annotation *n;
	bool any = false;

	jsonw_m_cstr(&o->w, "type", "text");
	jsonw_m_text(&o->w, "text", p->text.p != NULL ? p->text : span_of(""));
	TAILQ_FOREACH (n, &p->annotations, link) {
		if (!citation_goes(o, n))
			continue;
		if (!any)
			jsonw_m_open(&o->w, "citations", '[');
		any = true;
		jsonw_raw(&o->w, n->raw);
	}
	if (any)
		jsonw_close(&o->w, ']');
	put_tail(o, p);
}

/* ---- media ---- */

struct span
messages_media_note(struct arena *a, const struct canon_part *p)
{
	static const char *const words[] = {[PART_IMAGE] = "image",
	    [PART_AUDIO] = "audio",
	    [PART_VIDEO] = "video",
	    [PART_FILE] = "file"};
	const struct canon_media *m = &p->media;
	size_t bytes = m->source == MEDIA_BASE64 ? m->data.n / 4 * 3 : 0;
	int type = (int)MIN(m->type.n, (size_t)100);
	const char *text;

	if (bytes > 0)
		text = arena_printf(a, "[%s generated: %.*s, %zu KB]", words[p->kind], type,
		    type > 0 ? m->type.p : "", (bytes + 1023) / 1024);
	else
		text = arena_printf(
		    a, "[%s generated: %.*s]", words[p->kind], type, type > 0 ? m->type.p : "");
	return span_of(text);
}

static bool
begins(struct span s, const char *with)
{
	size_t n = strlen(with);

	return s.n >= n && memcmp(s.p, with, n) == 0;
}

/* The bytes of a text that came as base64; what is not UTF-8 becomes U+FFFD on the way out. */
static void
put_decoded(struct messages_writer *o, const char *name, struct span base64)
{
	struct buf text = BUF_INIT(TEXT_MAX);

	if (base64_decode(&text, base64) != 0)
		buf_reset(&text);
	jsonw_m_text(&o->w, name, (struct span){text.len > 0 ? text.data : "", text.len});
	buf_clear(&text);
}

static void
put_source(struct messages_writer *o, const struct canon_media *m, const char *usual)
{
	static const char *const types[] = {[MEDIA_BASE64] = "base64",
	    [MEDIA_URL] = "url",
	    [MEDIA_FILE_ID] = "file",
	    [MEDIA_TEXT] = "text"};
	static const char *const members[] = {[MEDIA_BASE64] = "data",
	    [MEDIA_URL] = "url",
	    [MEDIA_FILE_ID] = "file_id",
	    [MEDIA_TEXT] = "data"};
	bool decode = m->source == MEDIA_BASE64 && begins(m->type, "text/");

	jsonw_m_open(&o->w, "source", '{');
	jsonw_m_cstr(&o->w, "type", decode ? "text" : types[m->source]);
	if (decode || m->source == MEDIA_TEXT)
		jsonw_m_cstr(&o->w, "media_type", "text/plain");
	else if (m->source == MEDIA_BASE64)
		jsonw_m_text(&o->w, "media_type", m->type.n > 0 ? m->type : span_of(usual));
	if (decode)
		put_decoded(o, "data", m->data);
	else
		jsonw_m_text(&o->w, members[m->source], m->data.p != NULL ? m->data : span_of(""));
	jsonw_close(&o->w, '}');
}

static void
put_image(struct messages_writer *o, const struct canon_part *p)
{
	struct span note;

	if ((o->answer || o->assistant) && !messages_own(&p->src)) {
		note = messages_media_note(o->a, p);
		jsonw_m_cstr(&o->w, "type", "text");
		jsonw_m_text(&o->w, "text", note);
		return;
	}
	jsonw_m_cstr(&o->w, "type", "image");
	put_source(o, &p->media, "image/png");
	put_tail(o, p);
}

static void
put_document(struct messages_writer *o, const struct canon_part *p)
{
	const struct canon_media *m = &p->media;

	if (begins(m->type, "image/") || ((o->answer || o->assistant) && !messages_own(&p->src))) {
		put_image(o, p);
		return;
	}
	jsonw_m_cstr(&o->w, "type", "document");
	put_source(o, m, "application/pdf");
	jsonw_m_text(&o->w, "title", m->title.p != NULL ? m->title : m->filename);
	jsonw_m_text(&o->w, "context", m->context);
	if (m->citations >= 0) {
		jsonw_m_open(&o->w, "citations", '{');
		jsonw_m_bool(&o->w, "enabled", m->citations == 1);
		jsonw_close(&o->w, '}');
	}
	put_tail(o, p);
}

/* ---- tools ---- */

static void
put_call(struct messages_writer *o, const struct canon_part *p)
{
	struct span id = p->id;
	struct span args = shape_arguments_object(o->a, p->args, p->custom);

	if (id.n == 0 && o->seed != NULL)
		id = canon_id(o->a, o->seed, ID_TOOLU, o->calls);
	o->calls++;
	o->called = true;
	if (args.p == NULL || id.p == NULL)
		o->error = o->error != 0 || o->seed == NULL ? o->error : E_NOMEM;
	jsonw_m_cstr(&o->w, "type", "tool_use");
	jsonw_m_text(&o->w, "id", id.p != NULL ? id : span_of(""));
	jsonw_m_text(&o->w, "name", p->name.p != NULL ? p->name : span_of(""));
	jsonw_m_raw(&o->w, "input", args.p != NULL ? args : span_of("{}"));
	put_tail(o, p);
}

static void
put_result_content(struct messages_writer *o, const struct canon_part *p)
{
	const struct canon_part *c = TAILQ_FIRST(&p->content);
	bool any = false;

	if (messages_hint(&p->src, HINT_STRING) && c != NULL && c->kind == PART_TEXT &&
	    TAILQ_NEXT(c, link) == NULL && !c->cache.set) {
		jsonw_m_text(&o->w, "content", c->text);
		return;
	}
	TAILQ_FOREACH (c, &p->content, link)
		any = any || messages_part_goes(o, c);
	if (!any && !messages_hint(&p->src, HINT_LIST))
		return;
	jsonw_m_open(&o->w, "content", '[');
	TAILQ_FOREACH (c, &p->content, link)
		if (messages_part_goes(o, c))
			messages_put_part(o, c);
	jsonw_close(&o->w, ']');
}

/* Results do not nest: what is inside is a text, an image, a document or whole. */
static void
put_result(struct messages_writer *o, const struct canon_part *p)
{
	bool assistant = o->assistant;

	o->assistant = false;
	jsonw_m_cstr(&o->w, "type", "tool_result");
	jsonw_m_text(&o->w, "tool_use_id", p->id.p != NULL ? p->id : span_of(""));
	put_result_content(o, p);
	if (p->is_error || messages_hint(&p->src, HINT_FALSE))
		jsonw_m_bool(&o->w, "is_error", p->is_error);
	put_tail(o, p);
	o->assistant = assistant;
}

/* ---- reasoning ---- */

/* Anthropic takes its own signatures only; what is unsigned goes back to who said it that way. */
static bool
reasoning_goes(const struct messages_writer *o, const struct canon_part *p)
{
	if (o->answer)
		return true;
	if (p->sign.origin == ORIGIN_ANTHROPIC)
		return p->sign.data.p != NULL;
	return p->sign.origin == ORIGIN_NONE && p->sign.data.p == NULL && messages_own(&p->src) &&
	       !messages_hint(&p->src, HINT_ENVELOPE);
}

struct span
messages_client_signature(struct arena *a, const struct canon_signature *s)
{
	const size_t mark = sizeof SIGNATURE_MARK - 1;

	if (s->data.n > 0 &&
	    (s->origin == ORIGIN_ANTHROPIC ||
		(s->data.n >= mark && memcmp(s->data.p, SIGNATURE_MARK, mark) == 0)))
		return s->data;
	return signature_wrap(a, s);
}

static void
put_reasoning(struct messages_writer *o, const struct canon_part *p)
{
	bool unsigned_own = messages_own(&p->src) && p->sign.data.p == NULL;
	bool redacted = p->sign.encrypted && p->sign.data.p != NULL && p->text.n == 0;
	struct span sign = p->sign.data;

	if (o->answer && !unsigned_own) {
		sign = messages_client_signature(o->a, &p->sign);
		if (sign.p == NULL)
			o->error = o->error != 0 ? o->error : E_NOMEM;
	}
	if (redacted) {
		jsonw_m_cstr(&o->w, "type", "redacted_thinking");
		jsonw_m_text(&o->w, "data", sign);
	} else {
		jsonw_m_cstr(&o->w, "type", "thinking");
		jsonw_m_text(&o->w, "thinking", p->text.p != NULL ? p->text : span_of(""));
		jsonw_m_text(&o->w, "signature", sign.p != NULL ? sign : span_of(""));
	}
	put_tail(o, p);
}

/* ---- whole blocks ---- */

/* The arguments of a call stand in its block unless they came in deltas. */
static bool
args_apart(const struct canon_part *p)
{
	return p->kind == PART_SERVER_CALL && p->args.n > 0 &&
	       !(p->args.p >= p->raw.p && p->args.p < p->raw.p + p->raw.n);
}

/* A mark that shaping took away, or arguments that came apart from their block, are not in `raw`.
 */
static void
put_raw(struct messages_writer *o, const struct canon_part *p)
{
	static const char *const input[] = {"cache_control", "input", NULL};
	bool call = args_apart(p);

	messages_put_members(o, p->raw, call ? input : cache_only);
	if (call)
		jsonw_m_raw(&o->w, "input", shape_arguments_object(o->a, p->args, false));
	messages_put_cache(o, &p->cache, &p->src);
}

/* ---- the table ---- */

static void
put_said(struct messages_writer *o, const struct canon_part *p)
{
	o->refused = o->refused || p->kind == PART_REFUSAL;
	put_text(o, p);
}

static void (*const kinds[])(struct messages_writer *o, const struct canon_part *p) = {
    [PART_TEXT] = put_text,
    [PART_IMAGE] = put_image,
    [PART_AUDIO] = put_said,
    [PART_FILE] = put_document,
    [PART_TOOL_CALL] = put_call,
    [PART_TOOL_RESULT] = put_result,
    [PART_REASONING] = put_reasoning,
    [PART_REFUSAL] = put_said,
    [PART_OPAQUE] = NULL,
};

static bool
is_whole(const struct canon_part *p)
{
	return p->raw.p != NULL && messages_hint(&p->src, HINT_RAW);
}

bool
messages_part_goes(const struct messages_writer *o, const struct canon_part *p)
{
	if (is_whole(p))
		return true;
	if ((size_t)p->kind >= NELEM(kinds) || kinds[p->kind] == NULL)
		return false;
	if (p->kind == PART_REASONING)
		return reasoning_goes(o, p);
	if (p->kind ==
	    PART_AUDIO) /* no block holds a sound: what was said in it, if anybody wrote it down */
		return p->text.n > 0;
	if (p->kind == PART_TEXT || p->kind == PART_REFUSAL)
		return p->text.n > 0 || messages_own(&p->src);
	return true;
}

void
messages_put_part(struct messages_writer *o, const struct canon_part *p)
{
	if (is_whole(p) && !messages_hint(&p->src, HINT_MARKED) && !p->cache.set &&
	    !args_apart(p)) {
		jsonw_raw(&o->w, p->raw); /* byte for byte */
		return;
	}
	jsonw_open(&o->w, '{');
	if (is_whole(p))
		put_raw(o, p);
	else
		kinds[p->kind](o, p);
	jsonw_close(&o->w, '}');
}
