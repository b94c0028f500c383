/* One message → parts: the same in requests and answers. */
#include "proto/cohere/cohere.h"

#include "shared/err.h"

static struct canon_part *
part_new(struct arena *a, enum canon_part_kind kind, struct canon_parts *out)
{
	struct canon_part *p = canon_part_new(a, kind);

	if (p == NULL)
		return NULL;
	canon_source_init(&p->src, DIALECT_COHERE);
	TAILQ_INSERT_TAIL(out, p, link);
	return p;
}

static int
add_text(struct arena *a, struct span text, enum canon_part_kind kind, struct canon_parts *out,
    const struct json *item, const char *const *known)
{
	struct canon_part *p;

	if (text.p == NULL)
		return 0;
	if ((p = part_new(a, kind, out)) == NULL)
		return E_NOMEM;
	p->text = text;
	return item != NULL ? canon_extras(a, &p->src, item, known) : 0;
}

static int
add_image(struct arena *a, const struct json *item, struct canon_parts *out)
{
	static const char *const known[] = {"type", "image_url", NULL};
	const struct json *image = json_get(item, "image_url");
	struct canon_part *p = part_new(a, PART_IMAGE, out);

	if (p == NULL)
		return E_NOMEM;
	p->media.source = MEDIA_URL;
	p->media.data = json_text(a, json_is(image, 's') ? image : json_get(image, "url"));
	p->media.detail = json_text(a, json_get(image, "detail"));
	return canon_extras(a, &p->src, item, known);
}

static int
add_item(struct arena *a, const struct json *item, struct canon_parts *out)
{
	static const char *const text[] = {"type", "text", NULL};
	static const char *const thinking[] = {"type", "thinking", NULL};
	const struct json *type = json_get(item, "type");
	struct canon_part *p;

	if (json_equals(type, "thinking"))
		return add_text(a, json_text(a, json_get(item, "thinking")), PART_REASONING, out,
		    item, thinking);
	if (json_equals(type, "image_url"))
		return add_image(a, item, out);
	if (json_equals(type, "text") || (type == NULL && json_get(item, "text") != NULL))
		return add_text(
		    a, json_text(a, json_get(item, "text")), PART_TEXT, out, item, text);
	if ((p = part_new(a, PART_OPAQUE, out)) == NULL)
		return E_NOMEM;
	p->raw = item->raw;
	return 0;
}

static int
add_content(struct arena *a, const struct json *content, struct canon_parts *out, uint32_t *how)
{
	int r;

	if (content != NULL)
		*how |= HINT_CONTENT;
	if (!json_is(content, 'a'))
		return add_text(a, json_text(a, content), PART_TEXT, out, NULL, NULL);
	*how |= HINT_LIST;
	json_each (it, content)
		if (json_is(it, 'o') && (r = add_item(a, it, out)) != 0)
			return r;
	return 0;
}

/* The plan was said before the content, but thought comes first. */
static int
add_plan(struct arena *a, const struct json *plan, struct canon_parts *out)
{
	struct span text = json_text(a, plan);
	struct canon_part *p, *before = TAILQ_FIRST(out);

	if (text.p == NULL)
		return 0;
	if ((p = canon_part_new(a, PART_TEXT)) == NULL)
		return E_NOMEM;
	canon_source_init(&p->src, DIALECT_COHERE);
	p->src.hint = HINT_PLAN;
	p->text = text;
	while (before != NULL && before->kind == PART_REASONING)
		before = TAILQ_NEXT(before, link);
	if (before != NULL)
		TAILQ_INSERT_BEFORE(before, p, link);
	else
		TAILQ_INSERT_TAIL(out, p, link);
	return 0;
}

static int
add_call(struct arena *a, const struct json *call, struct canon_parts *out)
{
	static const char *const known[] = {"id", "type", "function", NULL};
	const struct json *f = json_get(call, "function"), *args = json_get(f, "arguments");
	struct canon_part *p;

	if (!json_is(f, 'o'))
		return 0;
	if ((p = part_new(a, PART_TOOL_CALL, out)) == NULL)
		return E_NOMEM;
	p->id = json_text(a, json_get(call, "id"));
	p->name = json_text(a, json_get(f, "name"));
	p->args = json_text(a, args);
	if (p->args.p == NULL && json_is(args, 'o'))
		p->args = args->raw;
	if (p->args.p == NULL)
		p->args = span_of("{}");
	return canon_extras(a, &p->src, call, known);
}

int
cohere_read_message(struct arena *a, const struct json *m, struct canon_parts *out, uint32_t *how)
{
	const struct json *calls = json_get(m, "tool_calls");
	int r;

	*how = 0;
	if ((r = add_content(a, json_want(m, "content"), out, how)) != 0 ||
	    (r = add_plan(a, json_want(m, "tool_plan"), out)) != 0)
		return r;
	json_each (it, json_is(calls, 'a') ? calls : NULL)
		if ((r = add_call(a, it, out)) != 0)
			return r;
	return 0;
}

/* ---- citations ---- */

/* The first source that is a document; those from tools mean nothing to others (spec 13.4). */
static const struct json *
document_source(const struct json *citation)
{
	const struct json *sources = json_get(citation, "sources");

	json_each (it, json_is(sources, 'a') ? sources : NULL)
		if (json_equals(json_get(it, "type"), "document"))
			return it;
	return NULL;
}

int
cohere_citation(struct arena *a, const struct json *j, struct canon_annotation **out)
{
	const struct json *source = document_source(j), *document = json_get(source, "document");
	struct canon_annotation *n;

	*out = NULL;
	if (source == NULL)
		return 0;
	if ((n = canon_annotation_new(a)) == NULL)
		return E_NOMEM;
	n->kind = CITE_FILE;
	if (!json_int(json_get(j, "start"), &n->start) || !json_int(json_get(j, "end"), &n->end))
		n->start = n->end = -1;
	n->quoted = json_text(a, json_get(j, "text"));
	n->file_id = json_text(a, json_get(source, "id"));
	n->title = json_text(a, json_get(document, "title"));
	n->url = json_text(a, json_get(document, "url"));
	n->raw = j->raw;
	n->from = DIALECT_COHERE;
	*out = n;
	return 0;
}
