/* The content of messages and of results: texts, refusals, images, files. */
#include <string.h>
#include <strings.h>

#include "proto/responses/responses.h"
#include "shared/err.h"

struct span
responses_text(struct arena *a, const struct json *o, const char *name)
{
	return json_text(a, json_get(o, name));
}

struct span
responses_word(struct arena *a, const struct json *o, const char *name)
{
	struct span s = responses_text(a, o, name);

	return s.n > 0 ? s : (struct span){NULL, 0};
}

int
responses_text_take(struct arena *a, const struct json *j, struct span *out)
{
	*out = json_text(a, j);
	if (out->p != NULL)
		return 0;
	*out = (struct span){"", 0};
	return json_is(j, 's') ? E_NOMEM : 0;
}

bool
responses_is_native(const struct canon_source *s, uint32_t hint)
{
	return s->from == DIALECT_RESPONSES && (s->hint & hint) == hint;
}

int
responses_extra_mark(struct arena *a, struct canon_source *s)
{
	static const struct json mark;

	return canon_extra_add(a, s, &mark);
}

/* ---- annotations ---- */

static int64_t
position(const struct json *o, const char *name)
{
	int64_t n;

	return json_int(json_get(o, name), &n) && n >= 0 ? n : -1;
}

/* Flat as OpenAI has it, or nested as Chat. */
struct canon_annotation *
responses_annotation_read(struct arena *a, const struct json *j)
{
	struct canon_annotation *n = canon_annotation_new(a);
	const struct json *in = json_want(j, "url_citation");

	if (n == NULL)
		return NULL;
	n->from = DIALECT_RESPONSES;
	n->raw = j->raw;
	n->kind = json_equals(json_get(j, "type"), "url_citation") ? CITE_URL : CITE_FILE;
	if (in == NULL)
		in = j;
	n->start = position(in, "start_index");
	n->end = position(in, "end_index");
	n->url = responses_word(a, in, "url");
	n->file_id = responses_word(a, in, "file_id");
	n->title = responses_word(a, in, n->kind == CITE_URL ? "title" : "filename");
	return n;
}

static int
read_annotations(struct arena *a, const struct json *list, struct canon_annotations *to)
{
	if (json_is(list, 'a'))
		json_each (j, list) {
			struct canon_annotation *n;

			if (j->type != 'o')
				continue;
			if ((n = responses_annotation_read(a, j)) == NULL)
				return E_NOMEM;
			TAILQ_INSERT_TAIL(to, n, link);
		}
	return 0;
}

/* ---- each kind ---- */

/* In a request annotations and logprobs are only carried. */
static int
read_text(struct responses_reader *rd, const struct json *j, struct canon_part *p)
{
	static const char *const known[] = {"type", "text", NULL};
	static const char *const known_answer[] = {"type", "text", "annotations", NULL};
	const struct json *type = json_get(j, "type");
	int r;

	if ((r = responses_text_take(rd->a, json_get(j, "text"), &p->text)) != 0)
		return r;
	p->src.hint |= json_equals(type, "input_text")    ? HINT_INPUT
		       : json_equals(type, "output_text") ? HINT_OUTPUT
							  : HINT_TEXT;
	if (rd->answer &&
	    (r = read_annotations(rd->a, json_get(j, "annotations"), &p->annotations)) != 0)
		return r;
	return canon_extras(rd->a, &p->src, j, rd->answer ? known_answer : known);
}

static int
read_refusal(struct responses_reader *rd, const struct json *j, struct canon_part *p)
{
	static const char *const known[] = {"type", "refusal", NULL};

	int r = responses_text_take(rd->a, json_get(j, "refusal"), &p->text);

	return r != 0 ? r : canon_extras(rd->a, &p->src, j, known);
}

/* An image by URL may stand as {"url"}, as Chat has it. */
static int
read_image(struct responses_reader *rd, const struct json *j, struct canon_part *p)
{
	static const char *const known[] = {"type", "image_url", "file_id", "detail", NULL};
	const struct json *u = json_want(j, "image_url");
	struct span url = json_is(u, 'o') ? responses_word(rd->a, u, "url") : json_text(rd->a, u);

	p->media.detail = responses_word(rd->a, j, "detail");
	if (url.n >= 5 && strncasecmp(url.p, "data:", 5) == 0) {
		if (!responses_data_url_read(rd->a, url, &p->media))
			return rd->answer
				   ? 0
				   : canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "input",
					 "Invalid 'input[%u]': the image is not a valid data URL.",
					 rd->index);
	} else if (url.n > 0) {
		p->media.source = MEDIA_URL;
		p->media.data = url;
	} else {
		p->media.source = MEDIA_FILE_ID;
		p->media.data = responses_word(rd->a, j, "file_id");
	}
	return canon_extras(rd->a, &p->src, j, known);
}

static int
read_file(struct responses_reader *rd, const struct json *j, struct canon_part *p)
{
	static const char *const known[] = {
	    "type", "file_data", "file_url", "file_id", "filename", NULL};
	struct span data = responses_word(rd->a, j, "file_data");

	p->media.filename = responses_word(rd->a, j, "filename");
	if (data.n > 0) {
		if (!responses_data_url_read(rd->a, data, &p->media))
			return rd->answer
				   ? 0
				   : canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "input",
					 "Invalid 'input[%u]': file_data is not a valid data URL.",
					 rd->index);
	} else if ((p->media.data = responses_word(rd->a, j, "file_url")).n > 0) {
		p->media.source = MEDIA_URL;
	} else {
		p->media.source = MEDIA_FILE_ID;
		p->media.data = responses_word(rd->a, j, "file_id");
	}
	return canon_extras(rd->a, &p->src, j, known);
}

static int
read_audio(struct responses_reader *rd, const struct json *j, struct canon_part *p)
{
	static const char *const known[] = {"type", "input_audio", NULL};
	const struct json *audio = json_get(j, "input_audio");

	p->media.source = MEDIA_BASE64;
	p->media.data = responses_word(rd->a, audio, "data");
	p->media.format = responses_word(rd->a, audio, "format");
	return canon_extras(rd->a, &p->src, j, known);
}

static int
read_opaque(struct responses_reader *rd, const struct json *j, struct canon_part *p)
{
	p->name = responses_word(rd->a, j, "type");
	p->raw = j->raw;
	return 0;
}

static const struct {
	const char *type;
	enum canon_part_kind kind;
	int (*read)(struct responses_reader *rd, const struct json *j, struct canon_part *p);
} kinds[] = {
    {"input_text", PART_TEXT, read_text},
    {"output_text", PART_TEXT, read_text},
    {"text", PART_TEXT, read_text},
    {"refusal", PART_REFUSAL, read_refusal},
    {"input_image", PART_IMAGE, read_image},
    {"input_file", PART_FILE, read_file},
    {"input_audio", PART_AUDIO, read_audio},
};

static int
add_part(struct responses_reader *rd, enum canon_part_kind kind, uint32_t hint,
    struct canon_parts *to, struct canon_part **out)
{
	struct canon_part *p = canon_part_new(rd->a, kind);

	if (p == NULL)
		return E_NOMEM;
	canon_source_init(&p->src, DIALECT_RESPONSES);
	p->src.hint = HINT_CONTENT | hint;
	TAILQ_INSERT_TAIL(to, p, link);
	*out = p;
	return 0;
}

static int
add_text(
    struct responses_reader *rd, const struct json *text, uint32_t hint, struct canon_parts *to)
{
	struct canon_part *p;
	int r = add_part(rd, PART_TEXT, hint, to, &p);

	return r != 0 ? r : responses_text_take(rd->a, text, &p->text);
}

static int
read_one(struct responses_reader *rd, const struct json *j, struct canon_parts *to)
{
	const struct json *type = json_get(j, "type");
	struct canon_part *p;
	int r;

	if (j->type == 's')
		return add_text(rd, j, HINT_INPUT, to);
	if (j->type != 'o')
		return rd->answer ? 0
				  : canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "input",
					"Invalid type for 'input[%u].content': expected a string "
					"or a list of objects.",
					rd->index);
	for (size_t i = 0; i < NELEM(kinds); i++)
		if (json_equals(type, kinds[i].type)) {
			r = add_part(rd, kinds[i].kind, 0, to, &p);
			return r != 0 ? r : kinds[i].read(rd, j, p);
		}
	r = add_part(rd, PART_OPAQUE, 0, to, &p);
	return r != 0 ? r : read_opaque(rd, j, p);
}

int
responses_content_read(
    struct responses_reader *rd, const struct json *content, struct canon_parts *to)
{
	int r = 0;

	if (content == NULL || content->type == '0')
		return add_text(rd, NULL, HINT_EMPTY, to);
	if (content->type == 's')
		return add_text(rd, content, HINT_STRING, to);
	if (content->type == 'o')
		return read_one(rd, content, to);
	if (content->type != 'a')
		return rd->answer ? add_text(rd, NULL, HINT_EMPTY, to)
				  : canon_fail(rd->a, rd->err, ERROR_BAD_REQUEST, "input",
					"Invalid type for 'input[%u].content': expected a string "
					"or a list of objects.",
					rd->index);
	if (content->count == 0)
		return add_text(rd, NULL, HINT_EMPTY, to);
	for (const struct json *j = content->child; j != NULL && r == 0; j = j->next)
		r = read_one(rd, j, to);
	return r;
}
