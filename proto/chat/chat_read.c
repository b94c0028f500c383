/* What stands in messages, of requests and of answers alike (spec 4.2, 13.2, 13.3). */
#include <string.h>
#include <strings.h>

#include "proto/chat/chat.h"
#include "proto/signature.h"
#include "shared/digest.h"
#include "shared/err.h"

static struct span
string(struct chat_reader *r, const struct json *j)
{
	struct span s = {NULL, 0};

	if (json_is(j, 's') && (s = json_text(r->a, j)).p == NULL)
		r->error = E_NOMEM;
	return s;
}

struct span
chat_text(struct chat_reader *r, const struct json *o, const char *name)
{
	return string(r, json_get(o, name));
}

struct canon_part *
chat_part(struct chat_reader *r, struct canon_parts *to, enum canon_part_kind kind)
{
	struct canon_part *p = canon_part_new(r->a, kind);

	if (p == NULL) {
		r->error = E_NOMEM;
		return NULL;
	}
	p->src.from = DIALECT_CHAT;
	TAILQ_INSERT_TAIL(to, p, link);
	return p;
}

void
chat_extras(
    struct chat_reader *r, struct canon_source *s, const struct json *o, const char *const *known)
{
	int e = canon_extras(r->a, s, o, known);

	if (e != 0)
		r->error = e;
}

/* ---- media ---- */

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "%41b" → base64 of "Ab" */
static struct span
percent_to_base64(struct chat_reader *r, struct span text)
{
	char *plain = arena_alloc(r->a, text.n + 1), *copy;
	struct buf b = BUF_INIT(2 * text.n + 8);
	size_t n = 0;
	struct span out = {"", 0};

	for (size_t i = 0; plain != NULL && i < text.n; i++) {
		int hi = text.p[i] == '%' && i + 2 < text.n ? hex(text.p[i + 1]) : -1;
		int lo = hi >= 0 ? hex(text.p[i + 2]) : -1;

		plain[n++] = lo >= 0 ? (char)(hi << 4 | lo) : text.p[i];
		i += lo >= 0 ? 2 : 0;
	}
	if (plain == NULL || base64_encode(&b, plain, n) != 0 ||
	    (copy = arena_strndup(r->a, b.data, b.len)) == NULL)
		r->error = E_NOMEM;
	else
		out = (struct span){copy, b.len};
	buf_clear(&b);
	return out;
}

void
chat_read_url(struct chat_reader *r, struct span url, struct canon_media *m)
{
	const char *comma;
	struct span head;
	bool base64 = false;

	m->source = MEDIA_URL;
	m->data = url;
	if (url.n < 5 || strncasecmp(url.p, "data:", 5) != 0 ||
	    (comma = memchr(url.p, ',', url.n)) == NULL)
		return;
	head = (struct span){url.p + 5, (size_t)(comma - url.p) - 5};
	m->source = MEDIA_BASE64;
	m->data = (struct span){comma + 1, (size_t)(url.p + url.n - comma) - 1};
	for (const char *p = head.p, *end = head.p + head.n; p < end;) {
		const char *semicolon = memchr(p, ';', (size_t)(end - p));
		size_t n = (size_t)((semicolon != NULL ? semicolon : end) - p);

		if (p == head.p && n > 0)
			m->type = (struct span){p, n};
		else if (n == 6 && strncasecmp(p, "base64", 6) == 0)
			base64 = true;
		p += n + 1;
	}
	if (!base64)
		m->data = percent_to_base64(r, m->data);
}

static void
read_image(struct chat_reader *r, const struct json *j, struct canon_parts *to)
{
	static const char *const known[] = {"type", "image_url", "cache_control", NULL};
	const struct json *image = json_want(j, "image_url");
	struct canon_part *p = chat_part(r, to, PART_IMAGE);
	struct span url;

	if (p == NULL)
		return;
	if (json_is(image, 's')) {
		p->src.hint |= HINT_URL_STRING;
		url = string(r, image);
	} else {
		url = chat_text(r, image, "url");
		p->media.detail = chat_text(r, image, "detail");
	}
	chat_read_url(r, url, &p->media);
	chat_extras(r, &p->src, j, known);
}

static void
read_audio(struct chat_reader *r, const struct json *j, struct canon_parts *to)
{
	const struct json *audio = json_want(j, "input_audio");
	struct canon_part *p = chat_part(r, to, PART_AUDIO);

	if (p == NULL)
		return;
	p->media.source = MEDIA_BASE64;
	p->media.data = chat_text(r, audio, "data");
	p->media.format = chat_text(r, audio, "format");
	if (span_is(p->media.format, "wav"))
		p->media.type = span_of("audio/wav");
	else if (span_is(p->media.format, "mp3"))
		p->media.type = span_of("audio/mp3");
}

static void
read_file(struct chat_reader *r, const struct json *j, struct canon_parts *to)
{
	const struct json *file = json_want(j, "file");
	struct canon_part *p = chat_part(r, to, PART_FILE);
	struct span data;

	if (p == NULL)
		return;
	p->media.filename = chat_text(r, file, "filename");
	if ((data = chat_text(r, file, "file_data")).p != NULL) {
		chat_read_url(r, data, &p->media);
		if (p->media.source == MEDIA_URL && memmem(data.p, data.n, "://", 3) == NULL)
			p->media.source = MEDIA_BASE64;
		return;
	}
	p->media.source = MEDIA_FILE_ID;
	p->media.data = chat_text(r, file, "file_id");
}

static void
read_address(struct chat_reader *r, const struct json *j, const char *name,
    enum canon_part_kind kind, struct canon_parts *to)
{
	const struct json *at = json_want(j, name);
	struct canon_part *p = chat_part(r, to, kind);

	if (p == NULL)
		return;
	p->raw = j->raw;
	chat_read_url(r, json_is(at, 's') ? string(r, at) : chat_text(r, at, "url"), &p->media);
}

/* ---- content ---- */

/* Mistral: {"type":"thinking","thinking":[{"type":"text","text":…}]} */
static void
read_thinking(struct chat_reader *r, const struct json *j, struct canon_parts *to)
{
	const struct json *list = json_want(j, "thinking");
	struct canon_part *p = chat_part(r, to, PART_REASONING);
	struct canon_parts texts = TAILQ_HEAD_INITIALIZER(texts);

	if (p == NULL)
		return;
	p->raw = j->raw;
	if (json_is(list, 's')) {
		p->text = string(r, list);
		return;
	}
	json_each (t, list) {
		struct canon_part *text = chat_part(r, &texts, PART_TEXT);

		if (text != NULL)
			text->text = chat_text(r, t, "text");
	}
	p->text = canon_join(r->a, &texts, "");
	if (p->text.p == NULL)
		p->text = span_of("");
}

static void
read_text(struct chat_reader *r, const struct json *j, struct canon_parts *to)
{
	static const char *const known[] = {"type", "text", "cache_control", "annotations", NULL};
	const struct json *cache = json_want(j, "cache_control");
	struct canon_part *p = chat_part(r, to, PART_TEXT);

	if (p == NULL)
		return;
	p->text = chat_text(r, j, "text");
	if (p->text.p == NULL)
		p->text = span_of("");
	p->cache.set = cache != NULL;
	p->cache.ttl = chat_text(r, cache, "ttl");
	chat_extras(r, &p->src, j, known);
}

static void
read_piece(struct chat_reader *r, const struct json *j, struct canon_parts *to)
{
	const struct json *type = json_get(j, "type");
	struct canon_part *p;

	if (json_is(j, 's')) {
		if ((p = chat_part(r, to, PART_TEXT)) != NULL)
			p->text = string(r, j);
	} else if (json_equals(type, "text") || json_equals(type, "output_text") ||
		   json_equals(type, "input_text")) {
		read_text(r, j, to);
	} else if (json_equals(type, "image_url")) {
		read_image(r, j, to);
	} else if (json_equals(type, "input_audio")) {
		read_audio(r, j, to);
	} else if (json_equals(type, "file")) {
		read_file(r, j, to);
	} else if (json_equals(type, "document_url")) {
		read_address(r, j, "document_url", PART_FILE, to);
	} else if (json_equals(type, "video_url")) {
		read_address(r, j, "video_url", PART_VIDEO, to);
	} else if (json_equals(type, "thinking")) {
		read_thinking(r, j, to);
	} else if (json_equals(type, "refusal")) {
		if ((p = chat_part(r, to, PART_REFUSAL)) != NULL) {
			p->text = chat_text(r, j, "refusal");
			p->src.hint |= HINT_STRING;
		}
	} else if ((p = chat_part(r, to, PART_OPAQUE)) != NULL) {
		p->raw = j->raw;
	}
}

uint32_t
chat_read_content(struct chat_reader *r, const struct json *content, struct canon_parts *to)
{
	struct canon_part *p;

	if (content == NULL)
		return HINT_ABSENT;
	if (json_is(content, 's')) {
		struct span text = json_text(r->a, content);

		if (text.p == NULL)
			r->error = E_NOMEM;
		else if ((p = chat_part(r, to, PART_TEXT)) != NULL)
			p->text = text;
		return HINT_STRING;
	}
	if (json_is(content, 'a')) {
		json_each (j, content)
			read_piece(r, j, to);
		return 0;
	}
	if (json_is(content, 'o'))
		read_piece(r, content, to);
	return json_is(content, '0') ? HINT_NULL : 0;
}

/* ---- annotations ---- */

struct canon_annotation *
chat_read_annotation(struct chat_reader *r, const struct json *j)
{
	const struct json *url = json_want(j, "url_citation");
	struct canon_annotation *n = canon_annotation_new(r->a);

	if (n == NULL) {
		r->error = E_NOMEM;
		return NULL;
	}
	n->raw = j->raw;
	n->from = DIALECT_CHAT;
	n->kind = CITE_FILE;
	if (url == NULL && json_get(j, "url") != NULL)
		url = j;
	if (url == NULL) {
		n->file_id = chat_text(r, json_want(j, "file_citation"), "file_id");
		return n;
	}
	n->kind = CITE_URL;
	n->url = chat_text(r, url, "url");
	n->title = chat_text(r, url, "title");
	n->quoted = chat_text(r, url, "content");
	(void)json_int(json_get(url, "start_index"), &n->start);
	(void)json_int(json_get(url, "end_index"), &n->end);
	return n;
}

static void
read_annotations(struct chat_reader *r, const struct json *m, struct canon_parts *to)
{
	const struct json *list = json_want(m, "annotations");
	struct canon_part *text = NULL, *p;

	TAILQ_FOREACH (p, to, link)
		if (p->kind == PART_TEXT)
			text = p;
	if (text == NULL)
		return;
	json_each (j, list) {
		struct canon_annotation *n = chat_read_annotation(r, j);

		if (n != NULL)
			TAILQ_INSERT_TAIL(&text->annotations, n, link);
	}
}

/* ---- reasoning ---- */

struct span
chat_reasoning_text(struct chat_reader *r, const struct json *m, uint32_t *hint)
{
	struct span content = chat_text(r, m, "reasoning_content"),
		    plain = chat_text(r, m, "reasoning"), old = chat_text(r, m, "thinking");

	*hint = HINT_PLAIN;
	if (content.p != NULL) {
		*hint |= plain.p != NULL ? HINT_BOTH : 0;
		return content.n == 0 && plain.n > 0 ? plain : content;
	}
	*hint |= HINT_REASONING;
	if (plain.p != NULL)
		return plain;
	*hint = 0;
	return old;
}

/* OpenRouter names the maker in `format`. */
static enum canon_origin
origin_of(const struct json *detail)
{
	static const struct {
		const char *format;
		enum canon_origin origin;
	} formats[] = {
	    {"anthropic-claude-v1", ORIGIN_ANTHROPIC},
	    {"google-gemini-v1", ORIGIN_GOOGLE},
	    {"openai-responses-v1", ORIGIN_OPENAI},
	};

	for (size_t i = 0; i < NELEM(formats); i++)
		if (json_equals(json_get(detail, "format"), formats[i].format))
			return formats[i].origin;
	return ORIGIN_OPENROUTER;
}

bool
chat_read_detail(struct chat_reader *r, const struct json *detail, struct canon_signature *out)
{
	struct span data = chat_text(r, detail, "data"),
		    signature = chat_text(r, detail, "signature");

	if (data.n == 0 && signature.n == 0)
		return false;
	if (!signature_unwrap(r->a, data.n > 0 ? data : signature, origin_of(detail), out))
		out->family = r->model.n > 0 ? signature_family(r->model) : 0;
	out->encrypted = data.n > 0;
	return true;
}

/* One part for the plain text and what reasoning_details say of it; one more for each further
 * signature. */
static void
read_reasoning(struct chat_reader *r, const struct json *m, struct canon_parts *to)
{
	const struct json *details = json_want(m, "reasoning_details");
	uint32_t hint;
	struct span text = chat_reasoning_text(r, m, &hint);
	struct canon_parts texts = TAILQ_HEAD_INITIALIZER(texts);
	struct canon_part *p;

	if (text.p == NULL && !json_is(details, 'a'))
		return;
	if (text.p == NULL)
		json_each (d, details)
			if ((p = chat_part(r, &texts, PART_TEXT)) != NULL &&
			    (p->text = chat_text(r, d, "text")).p == NULL)
				p->text = chat_text(r, d, "summary");
	if ((p = chat_part(r, to, PART_REASONING)) == NULL)
		return;
	p->text = text.p != NULL ? text : canon_join(r->a, &texts, "");
	if (p->text.p == NULL)
		p->text = span_of("");
	p->src.hint |= hint;
	if (!json_is(details, 'a'))
		return;
	p->raw = details->raw;
	p->src.hint |= HINT_DETAILS;
	json_each (d, details) {
		struct canon_signature sign;

		if (!chat_read_detail(r, d, &sign))
			continue;
		if (p->sign.data.p != NULL && (p = chat_part(r, to, PART_REASONING)) == NULL)
			return;
		if (p->text.p == NULL) {
			p->text = span_of("");
			p->src.hint |= HINT_DETAILS; /* written by the first */
		}
		p->sign = sign;
	}
}

/* ---- calls ---- */

/* Arguments are a string; some send the object itself. */
static struct span
read_arguments(struct chat_reader *r, const struct json *f, const char *name)
{
	const struct json *args = json_want(f, name);

	if (json_is(args, 's'))
		return chat_text(r, f, name);
	return args != NULL ? args->raw : span_of("");
}

void
chat_read_call_signature(
    struct chat_reader *r, const struct json *call, struct canon_signature *out)
{
	const struct json *google = json_want(json_want(call, "extra_content"), "google");
	struct span text = chat_text(r, google, "thought_signature");

	if (text.n > 0 && !signature_unwrap(r->a, text, ORIGIN_GOOGLE, out))
		out->family = r->model.n > 0 ? signature_family(r->model) : 0;
}

static void
read_call(struct chat_reader *r, const struct json *call, struct canon_parts *to)
{
	static const char *const known[] = {
	    "id", "type", "index", "function", "custom", "extra_content", NULL};
	const struct json *custom = json_want(call, "custom"), *f = json_want(call, "function");
	struct canon_part *p;

	struct span name = chat_text(r, custom != NULL ? custom : f, "name");

	/* Snowflake fills in what is not there with empty strings. */
	if (name.n == 0 && chat_text(r, call, "id").n == 0)
		return;
	if ((p = chat_part(r, to, PART_TOOL_CALL)) == NULL)
		return;
	p->id = chat_text(r, call, "id");
	p->custom = custom != NULL;
	p->name = name;
	p->args =
	    read_arguments(r, custom != NULL ? custom : f, custom != NULL ? "input" : "arguments");
	if (p->name.p == NULL)
		p->name = span_of("");
	chat_read_call_signature(r, call, &p->sign);
	chat_extras(r, &p->src, call, known);
}

static void
read_function_call(struct chat_reader *r, const struct json *m, struct canon_parts *to)
{
	const struct json *f = json_want(m, "function_call");
	struct canon_part *p;

	if (chat_text(r, f, "name").n == 0 || (p = chat_part(r, to, PART_TOOL_CALL)) == NULL)
		return;
	p->src.hint |= HINT_FUNCTION;
	p->name = chat_text(r, f, "name");
	p->args = read_arguments(r, f, "arguments");
	if (p->name.p == NULL)
		p->name = span_of("");
}

/* ---- an assistant's message ---- */

static void
read_refusal(struct chat_reader *r, const struct json *m, struct canon_parts *to)
{
	struct span text = chat_text(r, m, "refusal");
	struct canon_part *p;

	if (text.n > 0 && (p = chat_part(r, to, PART_REFUSAL)) != NULL)
		p->text = text;
}

static void
read_said_audio(struct chat_reader *r, const struct json *m, struct canon_parts *to)
{
	const struct json *audio = json_want(m, "audio");
	struct canon_part *p;

	if (!json_is(audio, 'o') || (p = chat_part(r, to, PART_AUDIO)) == NULL)
		return;
	p->media.source = MEDIA_BASE64;
	p->media.data = chat_text(r, audio, "data");
	p->id = chat_text(r, audio, "id");
	p->text = chat_text(r, audio, "transcript");
	p->raw = audio->raw;
}

void
chat_read_assistant(
    struct chat_reader *r, const struct json *m, struct canon_parts *to, struct canon_source *s)
{
	static const char *const known[] = {"role", "content", "refusal", "audio", "images",
	    "tool_calls", "function_call", "annotations", "reasoning", "reasoning_content",
	    "reasoning_details", "name", NULL};

	s->from = DIALECT_CHAT;
	read_reasoning(r, m, to);
	s->hint |= chat_read_content(r, json_get(m, "content"), to);
	read_annotations(r, m, to);
	read_refusal(r, m, to);
	read_said_audio(r, m, to);
	json_each (image, json_want(m, "images"))
		read_image(r, image, to);
	if (json_is(json_want(m, "tool_calls"), 'a'))
		json_each (call, json_want(m, "tool_calls"))
			read_call(r, call, to);
	read_function_call(r, m, to);
	chat_extras(r, s, m, known);
}
