/* Blocks of content → parts: the same in requests and answers. */
#include <string.h>

#include "proto/converse/converse.h"
#include "shared/digest.h"
#include "shared/err.h"

#define BLOB_MAX ((size_t)64 << 20)

const struct wire_media converse_images[] = {{"png", "image/png"}, {"jpeg", "image/jpeg"},
    {"jpeg", "image/jpg"}, {"gif", "image/gif"}, {"webp", "image/webp"}, {NULL, NULL}};
const struct wire_media converse_documents[] = {{"pdf", "application/pdf"}, {"csv", "text/csv"},
    {"doc", "application/msword"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"xls", "application/vnd.ms-excel"},
    {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"html", "text/html"}, {"txt", "text/plain"}, {"md", "text/markdown"}, {NULL, NULL}};
const struct wire_media converse_videos[] = {{"mp4", "video/mp4"}, {"mov", "video/quicktime"},
    {"mkv", "video/x-matroska"}, {"webm", "video/webm"}, {"flv", "video/x-flv"},
    {"mpeg", "video/mpeg"}, {"mpg", "video/mpg"}, {"wmv", "video/x-ms-wmv"},
    {"three_gp", "video/3gpp"}, {NULL, NULL}};

static struct canon_part *
part_new(struct arena *a, enum canon_part_kind kind, struct canon_parts *out)
{
	struct canon_part *p = canon_part_new(a, kind);

	if (p == NULL)
		return NULL;
	canon_source_init(&p->src, DIALECT_CONVERSE);
	TAILQ_INSERT_TAIL(out, p, link);
	return p;
}

/* ---- text ---- */

static int
read_text(struct arena *a, const struct json *block, const struct json *j, struct canon_parts *out)
{
	struct canon_part *p;

	(void)block;
	if (!json_is(j, 's'))
		return 0;
	if ((p = part_new(a, PART_TEXT, out)) == NULL || (p->text = json_text(a, j)).p == NULL)
		return E_NOMEM;
	return 0;
}

static void
read_place(const struct json *location, struct canon_annotation *n)
{
	static const struct {
		const char *name;
		int kind;
	} places[] = {{"documentChar", CITE_CHAR}, {"documentPage", CITE_PAGE},
	    {"documentChunk", CITE_BLOCK}};

	for (size_t i = 0; i < NELEM(places); i++) {
		const struct json *place = json_get(location, places[i].name);
		if (place == NULL)
			continue;
		n->kind = places[i].kind;
		return;
	}
}

int
converse_read_citation(struct arena *a, const struct json *j, struct canon_annotation **out)
{
	const struct json *location = json_get(j, "location"), *web = json_get(location, "web");
	struct canon_annotation *n = *out = canon_annotation_new(a);

	if (n == NULL)
		return E_NOMEM;
	n->title = json_text(a, json_get(j, "title"));
	n->quoted = json_text(a, json_get(json_at(json_get(j, "sourceContent"), 0), "text"));
	n->raw = j->raw;
	n->from = DIALECT_CONVERSE;
	n->kind = CITE_BLOCK;
	if (web != NULL) {
		n->kind = CITE_URL;
		n->url = json_text(a, json_get(web, "url"));
	}
	read_place(location, n);
	return 0;
}

/* A text with its sources. It goes back as it stood. */
static int
read_cited(struct arena *a, const struct json *block, const struct json *j, struct canon_parts *out)
{
	const struct json *content = json_get(j, "content"), *citations = json_get(j, "citations");
	struct canon_part *p = part_new(a, PART_TEXT, out), *piece;
	struct canon_parts texts = TAILQ_HEAD_INITIALIZER(texts);
	struct canon_annotation *n;
	int r;

	if (p == NULL)
		return E_NOMEM;
	p->raw = block->raw;
	json_each (it, json_is(content, 'a') ? content : NULL) {
		if ((piece = part_new(a, PART_TEXT, &texts)) == NULL)
			return E_NOMEM;
		piece->text = json_text(a, json_get(it, "text"));
	}
	if ((p->text = canon_join(a, &texts, "")).p == NULL)
		p->text = span_of("");
	json_each (it, json_is(citations, 'a') ? citations : NULL) {
		if ((r = converse_read_citation(a, it, &n)) != 0)
			return r;
		TAILQ_INSERT_TAIL(&p->annotations, n, link);
	}
	return 0;
}

/* ---- media ---- */

static int
read_media(struct arena *a, const struct json *block, const struct json *j,
    enum canon_part_kind kind, const struct wire_media *words, struct canon_parts *out)
{
	const struct json *source = json_get(j, "source");
	struct canon_part *p = part_new(a, kind, out);
	struct canon_media *m;

	if (p == NULL)
		return E_NOMEM;
	m = &p->media;
	p->raw = block->raw;
	m->type = wire_media_type(words, json_text(a, json_get(j, "format")));
	m->title = json_text(a, json_get(j, "name"));
	m->context = json_text(a, json_get(j, "context"));
	m->citations = json_tri(json_get(json_get(j, "citations"), "enabled"));
	m->source = MEDIA_BASE64;
	if ((m->data = json_text(a, json_get(source, "bytes"))).p != NULL)
		return 0;
	m->source = MEDIA_TEXT;
	if ((m->data = json_text(a, json_get(source, "text"))).p != NULL)
		return 0;
	m->source = MEDIA_URL;
	m->data = json_text(a, json_get(json_get(source, "s3Location"), "uri"));
	return 0;
}

static int
read_image(struct arena *a, const struct json *block, const struct json *j, struct canon_parts *out)
{
	return read_media(a, block, j, PART_IMAGE, converse_images, out);
}

static int
read_document(
    struct arena *a, const struct json *block, const struct json *j, struct canon_parts *out)
{
	return read_media(a, block, j, PART_FILE, converse_documents, out);
}

static int
read_video(struct arena *a, const struct json *block, const struct json *j, struct canon_parts *out)
{
	return read_media(a, block, j, PART_VIDEO, converse_videos, out);
}

/* ---- tools ---- */

static int
read_call(struct arena *a, const struct json *block, const struct json *j, struct canon_parts *out)
{
	static const char *const known[] = {"toolUseId", "name", "input", NULL};
	bool server = json_equals(json_get(j, "type"), "server_tool_use");
	const struct json *input = json_want(j, "input");
	struct canon_part *p = part_new(a, server ? PART_SERVER_CALL : PART_TOOL_CALL, out);

	if (p == NULL)
		return E_NOMEM;
	p->id = json_text(a, json_get(j, "toolUseId"));
	p->name = json_text(a, json_get(j, "name"));
	p->args = input != NULL ? input->raw : span_of("{}");
	if (server)
		p->raw = block->raw;
	return server ? 0 : canon_extras(a, &p->src, j, known);
}

static int
read_json(struct arena *a, const struct json *block, const struct json *j, struct canon_parts *out)
{
	struct canon_part *p = part_new(a, PART_TEXT, out);

	(void)block;
	if (p == NULL)
		return E_NOMEM;
	p->text = j->raw;
	return 0;
}

/* `content` is an extra, too: a result goes back as it stood. */
static int
read_result(
    struct arena *a, const struct json *block, const struct json *j, struct canon_parts *out)
{
	static const char *const known[] = {"toolUseId", "status", NULL};
	const struct json *content = json_get(j, "content"), *status = json_want(j, "status"),
			  *first;
	bool server = json_is(json_get(j, "type"), 's');
	struct canon_part *p = part_new(a, server ? PART_SERVER_RESULT : PART_TOOL_RESULT, out);
	int r;

	if (p == NULL)
		return E_NOMEM;
	p->id = json_text(a, json_get(j, "toolUseId"));
	if (server) {
		p->raw = block->raw;
		return 0;
	}
	p->is_error = json_equals(status, "error");
	p->src.hint = status != NULL ? HINT_STATUS : 0;
	first = json_get(json_at(content, 0), "json");
	if (json_is(content, 'a') && content->count == 1 && json_is(first, 'o'))
		p->structured = first->raw;
	json_each (it, json_is(content, 'a') ? content : NULL)
		if ((r = converse_read_block(a, it, &p->content)) != 0)
			return r;
	return canon_extras(a, &p->src, j, known);
}

/* ---- reasoning ---- */

/*
 * The wire has bytes, in base64. Claude's are themselves text, which is what its maker's own API
 * shows; others' are kept in base64 behind CONVERSE_BLOB.
 */
int
converse_read_sign(struct arena *a, struct span base64, struct canon_signature *out)
{
	struct buf b = BUF_INIT(BLOB_MAX);
	bool text = base64_decode(&b, base64) == 0 && b.len > 0;
	const char *kept;

	for (size_t i = 0; text && i < b.len; i++)
		text = b.data[i] > ' ' && b.data[i] < 0x7f;
	if (!text) {
		buf_reset(&b);
		buf_str(&b, CONVERSE_BLOB);
		buf_add(&b, base64.p, base64.n);
	}
	kept = buf_ok(&b) ? arena_strndup(a, b.data, b.len) : NULL;
	*out = (struct canon_signature){
	    .data = {kept, b.len}, .origin = ORIGIN_ANTHROPIC, .encrypted = true};
	buf_clear(&b);
	return kept != NULL ? 0 : E_NOMEM;
}

static int
read_reasoning(
    struct arena *a, const struct json *block, const struct json *j, struct canon_parts *out)
{
	const struct json *text = json_get(j, "reasoningText"),
			  *redacted = json_get(j, "redactedContent");
	struct canon_part *p = part_new(a, PART_REASONING, out);

	if (p == NULL)
		return E_NOMEM;
	p->raw = block->raw;
	p->text = json_text(a, json_get(text, "text"));
	if (p->text.p == NULL)
		p->text = span_of("");
	if (json_is(redacted, 's'))
		return converse_read_sign(a, json_text(a, redacted), &p->sign);
	p->sign.data = json_text(a, json_get(text, "signature"));
	if (p->sign.data.n == 0)
		p->sign.data.p = NULL;
	else
		p->sign.origin = ORIGIN_ANTHROPIC;
	return 0;
}

/* ---- the block ---- */

static int
read_cache(struct arena *a, const struct json *block, const struct json *j, struct canon_parts *out)
{
	struct canon_part *p = TAILQ_LAST(out, canon_parts);

	if (p != NULL && !p->cache.set && p->kind != PART_OPAQUE) {
		p->cache.set = true;
		p->cache.ttl = json_text(a, json_get(j, "ttl"));
		return 0;
	}
	if ((p = part_new(a, PART_OPAQUE, out)) == NULL)
		return E_NOMEM;
	p->raw = block->raw;
	return 0;
}

static const struct {
	const char *name;
	int (*read)(struct arena *a, const struct json *block, const struct json *j,
	    struct canon_parts *out);
} blocks[] = {
    {"text", read_text},
    {"toolUse", read_call},
    {"toolResult", read_result},
    {"reasoningContent", read_reasoning},
    {"image", read_image},
    {"document", read_document},
    {"video", read_video},
    {"cachePoint", read_cache},
    {"citationsContent", read_cited},
    {"json", read_json},
};

int
converse_read_block(struct arena *a, const struct json *block, struct canon_parts *out)
{
	struct canon_part *p;

	for (size_t i = 0; i < NELEM(blocks); i++) {
		const struct json *j = json_want(block, blocks[i].name);
		if (j != NULL)
			return blocks[i].read(a, block, j, out);
	}
	if (!json_is(block, 'o'))
		return 0;
	if ((p = part_new(a, PART_OPAQUE, out)) == NULL)
		return E_NOMEM;
	p->raw = block->raw;
	return 0;
}
