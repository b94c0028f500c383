/* Blocks of content → parts: the same in requests and answers. */
#include <string.h>

#include "proto/messages/messages.h"
#include "proto/signature.h"
#include "shared/err.h"

int
messages_get_text(struct arena *a, const struct json *o, const char *name, struct span *out)
{
	const struct json *m = json_want(o, name);

	*out = json_text(a, m);
	return json_is(m, 's') && out->p == NULL ? E_NOMEM : 0;
}

int
messages_keep_rest(
    struct arena *a, struct canon_source *s, const struct json *m, const char *const *known)
{
	json_each (it, m) {
		const char *const *k = known;
		while (*k != NULL && !json_name_is(it, *k))
			k++;
		if (*k == NULL)
			return canon_extra_add(a, s, m);
	}
	return 0;
}

int
messages_get_cache(
    struct arena *a, const struct json *o, struct canon_cache *c, struct canon_source *s)
{
	static const char *const known[] = {"type", "ttl", NULL};
	const struct json *m = json_want(o, "cache_control");
	int r;

	if (!json_is(m, 'o'))
		return 0;
	c->set = true;
	if ((r = messages_get_text(a, m, "ttl", &c->ttl)) != 0)
		return r;
	return messages_keep_rest(a, s, m, known);
}

bool
messages_read_signature(struct messages_reader *r, struct span text, struct canon_signature *out)
{
	bool encrypted = out->encrypted;

	*out = (struct canon_signature){0};
	if (signature_unwrap(r->a, text, ORIGIN_ANTHROPIC, out)) {
		out->encrypted = out->encrypted || encrypted;
		return true;
	}
	out->encrypted = encrypted;
	if (r->model.p != NULL)
		out->family = signature_family(r->model);
	return false;
}

/* A member that a block of a request cannot be without. An upstream's answer is taken as it comes.
 */
static int
get_needed(struct messages_reader *r, const struct json *b, const char *name, struct span *out)
{
	int e = messages_get_text(r->a, b, name, out);

	if (e == 0 && out->p == NULL && r->err != NULL) {
		r->wrong = name;
		return E_SYNTAX;
	}
	return e;
}

/* ---- the kinds ---- */

struct canon_annotation *
messages_read_citation(struct arena *a, const struct json *c, bool copy)
{
	struct canon_annotation *n = canon_annotation_new(a);
	char *kept;

	if (n == NULL)
		return NULL;
	n->from = DIALECT_MESSAGES;
	n->raw = c->raw;
	if (copy) {
		if ((kept = arena_strndup(a, c->raw.p, c->raw.n)) == NULL)
			return NULL;
		n->raw = (struct span){kept, c->raw.n};
		if (json_parse(a, n->raw, &c) != 0)
			return NULL;
	}
	n->kind = json_equals(json_get(c, "type"), "char_location")            ? CITE_CHAR
		  : json_equals(json_get(c, "type"), "page_location")          ? CITE_PAGE
		  : json_equals(json_get(c, "type"), "content_block_location") ? CITE_BLOCK
									       : CITE_URL;
	if (messages_get_text(a, c, "url", &n->url) != 0 ||
	    (n->url.p == NULL && messages_get_text(a, c, "source", &n->url) != 0) ||
	    messages_get_text(a, c, "title", &n->title) != 0 ||
	    (n->title.p == NULL && messages_get_text(a, c, "document_title", &n->title) != 0) ||
	    messages_get_text(a, c, "cited_text", &n->quoted) != 0 ||
	    messages_get_text(a, c, "file_id", &n->file_id) != 0)
		return NULL;
	return n;
}

static int
read_text(struct messages_reader *r, const struct json *b, struct canon_part *p)
{
	static const char *const known[] = {"type", "text", "citations", "cache_control", NULL};
	const struct json *cites = json_want(b, "citations");
	int e;

	p->kind = PART_TEXT;
	if ((e = get_needed(r, b, "text", &p->text)) != 0)
		return e;
	if (p->text.p == NULL)
		p->text = span_of("");
	if (json_is(cites, 'a'))
		json_each (c, cites) {
			struct canon_annotation *n = messages_read_citation(r->a, c, false);
			if (n == NULL)
				return E_NOMEM;
			TAILQ_INSERT_TAIL(&p->annotations, n, link);
		}
	return canon_extras(r->a, &p->src, b, known);
}

/* The whole block is kept; what the model has a place for is there for others. */
static int
keep_raw(const struct json *b, struct canon_part *p)
{
	p->raw = b->raw;
	p->src.hint |= HINT_RAW | (json_is(json_want(b, "cache_control"), 'o') ? HINT_MARKED : 0);
	return 0;
}

static int
read_opaque(struct messages_reader *r, const struct json *b, struct canon_part *p)
{
	(void)r;
	p->kind = PART_OPAQUE;
	return keep_raw(b, p);
}

/* The texts of a string or of a list of text blocks. */
static int
read_texts(struct messages_reader *r, const struct json *content, struct span *out)
{
	struct canon_parts parts = TAILQ_HEAD_INITIALIZER(parts);

	*out = span_of("");
	json_each (b, json_is(content, 'a') ? content : NULL) {
		struct canon_part *p;
		if (!json_equals(json_get(b, "type"), "text"))
			continue;
		if ((p = canon_part_new(r->a, PART_TEXT)) == NULL ||
		    messages_get_text(r->a, b, "text", &p->text) != 0)
			return E_NOMEM;
		TAILQ_INSERT_TAIL(&parts, p, link);
	}
	if (json_is(content, 's')) {
		*out = json_text(r->a, content);
	} else if (!TAILQ_EMPTY(&parts)) {
		*out = canon_join(r->a, &parts, "\n");
	}
	return out->p == NULL ? E_NOMEM : 0;
}

static const struct {
	const char *type;
	enum canon_media_source source;
	const char *data;
} sources[] = {
    {"base64", MEDIA_BASE64, "data"},
    {"text", MEDIA_TEXT, "data"},
    {"url", MEDIA_URL, "url"},
    {"file", MEDIA_FILE_ID, "file_id"},
};

/* 1: a source of no known kind, or with more in it than the model holds: the block stays whole. */
static int
read_source(struct messages_reader *r, const struct json *b, struct canon_media *m)
{
	const struct json *s = json_want(b, "source"), *type = json_get(s, "type");
	int e;

	if (json_equals(type, "content")) {
		m->source = MEDIA_TEXT;
		e = read_texts(r, json_want(s, "content"), &m->data);
		return e != 0 ? e : 1;
	}
	for (size_t i = 0; i < NELEM(sources); i++) {
		if (!json_equals(type, sources[i].type))
			continue;
		m->source = sources[i].source;
		if ((e = messages_get_text(r->a, s, sources[i].data, &m->data)) != 0 ||
		    (e = messages_get_text(r->a, s, "media_type", &m->type)) != 0)
			return e;
		return m->data.p != NULL &&
			       s->count == (json_want(s, "media_type") != NULL ? 3u : 2u)
			   ? 0
			   : 1;
	}
	return 1;
}

static int
read_image(struct messages_reader *r, const struct json *b, struct canon_part *p)
{
	static const char *const known[] = {"type", "source", "cache_control", NULL};
	int e = read_source(r, b, &p->media);

	p->kind = PART_IMAGE;
	if (e == 1 && p->media.data.p == NULL)
		return read_opaque(r, b, p);
	if (e == 1)
		return keep_raw(b, p);
	return e != 0 ? e : canon_extras(r->a, &p->src, b, known);
}

static int
read_document(struct messages_reader *r, const struct json *b, struct canon_part *p)
{
	static const char *const known[] = {
	    "type", "source", "title", "context", "citations", "cache_control", NULL};
	struct canon_media *m = &p->media;
	int e = read_source(r, b, m);

	p->kind = PART_FILE;
	if (e == 1 && m->data.p == NULL)
		return read_opaque(r, b, p);
	if (e < 0 || (e == 0 && (e = canon_extras(r->a, &p->src, b, known)) != 0))
		return e;
	if (messages_get_text(r->a, b, "title", &m->title) != 0 ||
	    messages_get_text(r->a, b, "context", &m->context) != 0)
		return E_NOMEM;
	m->citations = json_tri(json_get(json_want(b, "citations"), "enabled"));
	return e == 1 ? keep_raw(b, p) : 0;
}

static int
read_search_result(struct messages_reader *r, const struct json *b, struct canon_part *p)
{
	struct canon_media *m = &p->media;

	p->kind = PART_FILE;
	m->source = MEDIA_TEXT;
	m->type = span_of("text/plain");
	if (read_texts(r, json_want(b, "content"), &m->data) != 0 ||
	    messages_get_text(r->a, b, "title", &m->title) != 0 ||
	    messages_get_text(r->a, b, "source", &m->context) != 0)
		return E_NOMEM;
	return keep_raw(b, p);
}

static int
read_call(struct messages_reader *r, const struct json *b, struct canon_part *p)
{
	static const char *const known[] = {"type", "id", "name", "input", "cache_control", NULL};
	const struct json *input = json_want(b, "input");
	int e;

	p->kind = PART_TOOL_CALL;
	p->args = input != NULL ? input->raw : span_of("{}");
	if ((e = get_needed(r, b, "id", &p->id)) != 0 ||
	    (e = get_needed(r, b, "name", &p->name)) != 0)
		return e;
	if (p->name.p == NULL)
		p->name = span_of("");
	if (p->id.n == 0)
		p->id = (struct span){NULL, 0};
	return canon_extras(r->a, &p->src, b, known);
}

static int
read_server_call(struct messages_reader *r, const struct json *b, struct canon_part *p)
{
	const struct json *input = json_want(b, "input");

	p->kind = PART_SERVER_CALL;
	if (input != NULL)
		p->args = input->raw;
	if (messages_get_text(r->a, b, "id", &p->id) != 0 ||
	    messages_get_text(r->a, b, "name", &p->name) != 0)
		return E_NOMEM;
	return keep_raw(b, p);
}

static int
read_server_result(struct messages_reader *r, const struct json *b, struct canon_part *p)
{
	p->kind = PART_SERVER_RESULT;
	if (messages_get_text(r->a, b, "tool_use_id", &p->id) != 0)
		return E_NOMEM;
	return keep_raw(b, p);
}

static int
read_result(struct messages_reader *r, const struct json *b, struct canon_part *p)
{
	static const char *const known[] = {
	    "type", "tool_use_id", "content", "is_error", "cache_control", NULL};
	const struct json *content = json_want(b, "content"), *flag = json_get(b, "is_error");
	int e;

	if (r->nested || r->answer)
		return read_opaque(r, b, p);
	p->kind = PART_TOOL_RESULT;
	p->is_error = json_yes(flag);
	p->src.hint |= json_is(flag, 'f') ? HINT_FALSE : 0;
	p->src.hint |= json_is(content, 's') ? HINT_STRING : json_is(content, 'a') ? HINT_LIST : 0;
	if ((e = get_needed(r, b, "tool_use_id", &p->id)) != 0)
		return e;
	r->nested = true;
	e = messages_read_content(r, content, "tool_result.content", &p->content);
	r->nested = false;
	return e != 0 ? e : canon_extras(r->a, &p->src, b, known);
}

static int
read_thinking(struct messages_reader *r, const struct json *b, struct canon_part *p)
{
	static const char *const known[] = {"type", "thinking", "signature", "cache_control", NULL};
	struct span signature;

	p->kind = PART_REASONING;
	if (messages_get_text(r->a, b, "thinking", &p->text) != 0 ||
	    messages_get_text(r->a, b, "signature", &signature) != 0)
		return E_NOMEM;
	if (p->text.p == NULL)
		p->text = span_of("");
	if (signature.n != 0 && messages_read_signature(r, signature, &p->sign))
		p->src.hint |= HINT_ENVELOPE;
	return canon_extras(r->a, &p->src, b, known);
}

static int
read_redacted(struct messages_reader *r, const struct json *b, struct canon_part *p)
{
	static const char *const known[] = {"type", "data", "cache_control", NULL};
	struct span data;

	p->kind = PART_REASONING;
	p->sign.encrypted = true;
	if (messages_get_text(r->a, b, "data", &data) != 0)
		return E_NOMEM;
	if (data.p == NULL)
		return read_opaque(r, b, p);
	if (messages_read_signature(r, data, &p->sign))
		p->src.hint |= HINT_ENVELOPE;
	return canon_extras(r->a, &p->src, b, known);
}

/* Names of tools that were found: for others a text. */
static int
read_reference(struct messages_reader *r, const struct json *b, struct canon_part *p)
{
	struct span name;
	const char *text;

	if (messages_get_text(r->a, b, "tool_name", &name) != 0)
		return E_NOMEM;
	if (name.n == 0 || !r->nested)
		return read_opaque(r, b, p);
	if (name.n > 256 || (text = arena_printf(r->a, "Tool: %.*s", (int)name.n, name.p)) == NULL)
		return name.n > 256 ? read_opaque(r, b, p) : E_NOMEM;
	p->kind = PART_TEXT;
	p->text = span_of(text);
	return keep_raw(b, p);
}

/* ---- the table ---- */

static const struct {
	const char *type;
	int (*read)(struct messages_reader *r, const struct json *b, struct canon_part *p);
} kinds[] = {
    {"text", read_text},
    {"tool_use", read_call},
    {"tool_result", read_result},
    {"thinking", read_thinking},
    {"redacted_thinking", read_redacted},
    {"image", read_image},
    {"document", read_document},
    {"search_result", read_search_result},
    {"tool_reference", read_reference},
    {"server_tool_use", read_server_call},
    {"mcp_tool_use", read_server_call},
};

int
messages_read_block(struct messages_reader *r, const struct json *b, struct canon_part **out)
{
	static const char suffix[] = "_tool_result";
	int (*read)(struct messages_reader *, const struct json *, struct canon_part *) =
	    read_opaque;
	struct canon_part *p = canon_part_new(r->a, PART_OPAQUE);
	struct span type;
	int e;

	if (p == NULL || messages_get_text(r->a, b, "type", &type) != 0)
		return E_NOMEM;
	canon_source_init(&p->src, DIALECT_MESSAGES);
	for (size_t i = 0; i < NELEM(kinds); i++)
		if (span_is(type, kinds[i].type))
			read = kinds[i].read;
	if (type.n >= sizeof suffix &&
	    memcmp(type.p + type.n - (sizeof suffix - 1), suffix, sizeof suffix - 1) == 0)
		read = read_server_result;
	*out = p;
	if ((e = read(r, b, p)) != 0)
		return e;
	return messages_get_cache(r->a, b, &p->cache, &p->src);
}

static int
add_text(struct messages_reader *r, const struct json *s, struct canon_parts *out)
{
	struct canon_part *p = canon_part_new(r->a, PART_TEXT);

	if (p == NULL)
		return E_NOMEM;
	canon_source_init(&p->src, DIALECT_MESSAGES);
	p->text = json_text(r->a, s);
	TAILQ_INSERT_TAIL(out, p, link);
	return p->text.p == NULL ? E_NOMEM : 0;
}

int
messages_read_content(struct messages_reader *r, const struct json *content, const char *where,
    struct canon_parts *out)
{
	struct canon_part *p;
	unsigned i = 0;
	int e = 0;

	if (json_is(content, 's'))
		return add_text(r, content, out);
	json_each (b, json_is(content, 'a') ? content : NULL) {
		if (json_is(b, 's')) {
			e = add_text(r, b, out);
		} else if (!json_is(b, 'o')) {
			if (r->err != NULL)
				return canon_fail(r->a, r->err, ERROR_BAD_REQUEST, where,
				    "%s.%u: Input should be an object", where, i);
		} else if ((e = messages_read_block(r, b, &p)) == 0) {
			TAILQ_INSERT_TAIL(out, p, link);
		} else if (e == E_SYNTAX) {
			return canon_fail(r->a, r->err, ERROR_BAD_REQUEST, where,
			    "%s.%u.%s: Input should be a valid string", where, i, r->wrong);
		}
		if (e != 0)
			return e;
		i++;
	}
	return 0;
}
