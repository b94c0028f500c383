/* Parts of contents: the same in requests, answers and streams. */
#include <string.h>

#include "proto/gemini/gemini.h"
#include "proto/signature.h"
#include "shared/err.h"

#define SUMMARY_MAX (64u << 20)

static const char *const blob_known[] = {"mimeType", "data", "displayName", NULL};
static const char *const file_known[] = {"mimeType", "fileUri", "displayName", NULL};

static int
read_signature(struct gemini_reader *r, const struct json *part, struct canon_part *p)
{
	struct span text;
	int e = gemini_get_text(r->a, part, "thoughtSignature", &text);

	if (e != 0 || text.n == 0)
		return e;
	if (signature_unwrap(r->a, text, ORIGIN_GOOGLE, &p->sign))
		p->src.hint |= HINT_ENVELOPE;
	else if (r->model.p != NULL)
		p->sign.family = signature_family(r->model);
	return 0;
}

/* ---- the kinds; each gets the part and the member that it is named for ---- */

typedef int reader(
    struct gemini_reader *r, const struct json *part, const struct json *m, struct canon_part *p);

static int
read_text(
    struct gemini_reader *r, const struct json *part, const struct json *m, struct canon_part *p)
{
	static const char *const known[] = {"text", "thought", "thoughtSignature", NULL};
	int e = read_signature(r, part, p);

	p->kind = json_yes(gemini_get(part, "thought")) ? PART_REASONING : PART_TEXT;
	p->text = json_is(m, 's') ? json_text(r->a, m) : span_of("");
	if (e != 0 || p->text.p == NULL)
		return e != 0 ? e : E_NOMEM;
	p->carrier = p->kind == PART_TEXT && p->text.n == 0 && gemini_get(part, "thoughtSignature");
	return gemini_keep(r->a, &p->src, part, known, HINT_SNAKE);
}

static enum canon_part_kind
kind_of_type(struct span type)
{
	static const struct {
		const char *prefix;
		enum canon_part_kind kind;
	} map[] = {{"image/", PART_IMAGE}, {"audio/", PART_AUDIO}, {"video/", PART_VIDEO}};

	for (size_t i = 0; i < NELEM(map); i++)
		if (type.n >= 6 && memcmp(type.p, map[i].prefix, 6) == 0)
			return map[i].kind;
	return PART_FILE;
}

static int
read_blob(
    struct gemini_reader *r, const struct json *part, const struct json *m, struct canon_part *p)
{
	static const char *const known[] = {"inlineData", "thoughtSignature", NULL};
	int e;

	p->media.source = MEDIA_BASE64;
	if ((e = gemini_get_text(r->a, m, "data", &p->media.data)) != 0 ||
	    (e = gemini_get_text(r->a, m, "mimeType", &p->media.type)) != 0 ||
	    (e = gemini_get_text(r->a, m, "displayName", &p->media.filename)) != 0 ||
	    (e = read_signature(r, part, p)) != 0 ||
	    (e = gemini_keep_rest(r->a, &p->src, m, blob_known, HINT_SNAKE)) != 0)
		return e;
	if (p->media.data.p == NULL)
		p->media.data = span_of("");
	p->kind = kind_of_type(p->media.type);
	return gemini_keep(r->a, &p->src, part, known, HINT_SNAKE);
}

/* A file of YouTube is a film, whatever its type, which is mostly not said. */
static bool
is_youtube(struct span uri)
{
	static const char *const hosts[] = {
	    "://www.youtube.com/", "://youtube.com/", "://m.youtube.com/", "://youtu.be/"};

	for (size_t i = 0; i < NELEM(hosts); i++)
		if (uri.n > 0 && memmem(uri.p, MIN(uri.n, 32), hosts[i], strlen(hosts[i])) != NULL)
			return true;
	return false;
}

static int
read_file(
    struct gemini_reader *r, const struct json *part, const struct json *m, struct canon_part *p)
{
	static const char *const known[] = {"fileData", "thoughtSignature", NULL};
	int e;

	p->media.source = MEDIA_URL;
	if ((e = gemini_get_text(r->a, m, "fileUri", &p->media.data)) != 0 ||
	    (e = gemini_get_text(r->a, m, "mimeType", &p->media.type)) != 0 ||
	    (e = gemini_get_text(r->a, m, "displayName", &p->media.filename)) != 0 ||
	    (e = read_signature(r, part, p)) != 0 ||
	    (e = gemini_keep_rest(r->a, &p->src, m, file_known, HINT_SNAKE)) != 0)
		return e;
	if (p->media.data.p == NULL)
		p->media.data = span_of("");
	p->kind = is_youtube(p->media.data) ? PART_VIDEO : kind_of_type(p->media.type);
	return gemini_keep(r->a, &p->src, part, known, HINT_SNAKE);
}

static int
read_call(
    struct gemini_reader *r, const struct json *part, const struct json *m, struct canon_part *p)
{
	static const char *const known[] = {"functionCall", "thoughtSignature", NULL};
	static const char *const inner[] = {"id", "name", "args", NULL};
	const struct json *args = gemini_get(m, "args");
	int e;

	p->kind = PART_TOOL_CALL;
	if ((e = gemini_get_text(r->a, m, "id", &p->id)) != 0 ||
	    (e = gemini_get_text(r->a, m, "name", &p->name)) != 0 ||
	    (e = read_signature(r, part, p)) != 0 ||
	    (e = gemini_keep_rest(r->a, &p->src, m, inner, HINT_SNAKE)) != 0)
		return e;
	if (p->id.n == 0)
		p->id = (struct span){NULL, 0};
	if (p->name.p == NULL)
		p->name = span_of("");
	p->args = args != NULL ? args->raw : span_of("{}");
	p->src.hint |= args == NULL ? HINT_NO_ARGS : 0;
	return gemini_keep(r->a, &p->src, part, known, HINT_SNAKE);
}

/* A response with one text in it is that text; anything else is its JSON (spec 4.4). */
static int
read_response(struct gemini_reader *r, const struct json *response, struct canon_part *p)
{
	static const char *const wraps[] = {"result", "output", "content", "error", NULL};
	const struct json *only = response->count == 1 ? response->child : NULL;
	struct canon_part *text = canon_part_new(r->a, PART_TEXT);
	struct buf b = BUF_INIT(SUMMARY_MAX);
	bool snake = false, alone;

	if (text == NULL)
		return E_NOMEM;
	p->is_error = only != NULL && json_name_is(only, "error");
	alone = only != NULL && gemini_listed(only->name, wraps, &snake);
	if (json_is(response, 's')) {
		text->text = json_text(r->a, response);
	} else if (alone && json_is(only, 's')) {
		text->text = json_text(r->a, only);
	} else {
		(void)json_compact(&b, p->is_error ? only : response);
		text->text = gemini_take(r->a, &b);
	}
	if (text->text.p == NULL)
		return E_NOMEM;
	TAILQ_INSERT_TAIL(&p->content, text, link);
	return 0;
}

int
gemini_read_result(struct gemini_reader *r, const struct json *o, struct canon_part *p)
{
	const struct json *response = gemini_get(o, "response"), *parts = gemini_get(o, "parts");
	int e;

	if (response != NULL && (e = read_response(r, response, p)) != 0)
		return e;
	if (json_is(response, 'o'))
		p->structured = response->raw;
	return json_is(parts, 'a') ? gemini_read_parts(r, parts, &p->content) : 0;
}

static int
read_result(
    struct gemini_reader *r, const struct json *part, const struct json *m, struct canon_part *p)
{
	static const char *const known[] = {"functionResponse", "thoughtSignature", NULL};
	static const char *const inner[] = {"id", "name", "response", "parts", NULL};
	int e;

	p->kind = PART_TOOL_RESULT;
	if ((e = gemini_get_text(r->a, m, "id", &p->id)) != 0 ||
	    (e = gemini_get_text(r->a, m, "name", &p->name)) != 0 ||
	    (e = read_signature(r, part, p)) != 0 || (e = gemini_read_result(r, m, p)) != 0 ||
	    (e = gemini_keep_rest(r->a, &p->src, m, inner, HINT_SNAKE)) != 0)
		return e;
	if (p->id.n == 0)
		p->id = (struct span){NULL, 0};
	return gemini_keep(r->a, &p->src, part, known, HINT_SNAKE);
}

/* What runs at Google: the whole part goes back as it came. */
static int
read_server(
    struct gemini_reader *r, const struct json *part, const struct json *m, struct canon_part *p)
{
	bool snake = false, call = gemini_name_is(m->name, "toolCall", &snake) ||
				   gemini_name_is(m->name, "executableCode", &snake);
	const struct json *args = gemini_get(m, "args");
	int e;

	p->kind = call ? PART_SERVER_CALL : PART_SERVER_RESULT;
	p->raw = part->raw;
	if ((e = gemini_get_text(r->a, m, "id", &p->id)) != 0 ||
	    (e = gemini_get_text(r->a, m, "toolType", &p->name)) != 0)
		return e;
	if (p->name.p == NULL)
		p->name = span_of("code_execution");
	if (call)
		p->args = args != NULL ? args->raw : m->raw;
	return 0;
}

static const struct {
	const char *name;
	reader *read;
} kinds[] = {
    {"functionCall", read_call},
    {"functionResponse", read_result},
    {"inlineData", read_blob},
    {"fileData", read_file},
    {"toolCall", read_server},
    {"toolResponse", read_server},
    {"executableCode", read_server},
    {"codeExecutionResult", read_server},
    {"text", read_text},
};

int
gemini_read_part(struct gemini_reader *r, const struct json *part, struct canon_part **out)
{
	struct canon_part *p = *out = canon_part_new(r->a, PART_OPAQUE);
	const struct json *m;

	if (p == NULL)
		return E_NOMEM;
	canon_source_init(&p->src, DIALECT_GEMINI);
	for (size_t i = 0; i < NELEM(kinds); i++) {
		m = gemini_get(part, kinds[i].name);
		if (m != NULL && (json_is(m, 'o') || kinds[i].read == read_text))
			return kinds[i].read(r, part, m, p);
	}
	if (gemini_get(part, "thoughtSignature") != NULL) {
		p->src.hint |= HINT_NO_TEXT;
		return read_text(r, part, NULL, p);
	}
	p->raw = part->raw;
	return 0;
}

/* A signature that stood alone belongs to the text before it. */
static bool
carry(struct canon_parts *parts, const struct canon_part *carrier)
{
	struct canon_part *last = TAILQ_LAST(parts, canon_parts);

	if (!carrier->carrier || carrier->src.extra != NULL || last == NULL ||
	    (last->kind != PART_TEXT && last->kind != PART_REASONING) || last->carrier ||
	    last->sign.data.p != NULL)
		return false;
	last->sign = carrier->sign;
	last->carrier = true;
	last->src.hint |= carrier->src.hint & HINT_NO_TEXT;
	return true;
}

int
gemini_read_parts(struct gemini_reader *r, const struct json *parts, struct canon_parts *out)
{
	struct canon_part *p;
	int e;

	json_each (it, parts) {
		if ((e = gemini_read_part(r, it, &p)) != 0)
			return e;
		if (!carry(out, p))
			TAILQ_INSERT_TAIL(out, p, link);
	}
	return 0;
}
