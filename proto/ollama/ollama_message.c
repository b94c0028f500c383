/* One message, both ways: the same in requests and answers. */
#include "proto/ollama/ollama.h"

#include "proto/shape.h"
#include "shared/err.h"

/* ---- reading ---- */

static int
add_text(struct arena *a, const struct json *j, enum canon_part_kind kind, struct canon_parts *out)
{
	struct span text = json_text(a, j);
	struct canon_part *p;

	if (text.n == 0)
		return 0;
	if ((p = canon_part_new(a, kind)) == NULL)
		return E_NOMEM;
	p->text = text;
	canon_source_init(&p->src, DIALECT_OLLAMA);
	TAILQ_INSERT_TAIL(out, p, link);
	return 0;
}

static int
add_images(struct arena *a, const struct json *images, struct canon_parts *out)
{
	json_each (it, json_is(images, 'a') ? images : NULL) {
		struct canon_part *p = canon_part_new(a, PART_IMAGE);

		if (p == NULL)
			return E_NOMEM;
		p->media.source = MEDIA_BASE64;
		if ((p->media.data = json_text(a, it)).p == NULL)
			continue;
		canon_source_init(&p->src, DIALECT_OLLAMA);
		TAILQ_INSERT_TAIL(out, p, link);
	}
	return 0;
}

/* An object; some servers send a string, as Chat does. */
struct span
ollama_read_args(struct arena *a, const struct json *args)
{
	struct span text = json_text(a, args);

	if (text.p != NULL)
		return text.n > 0 ? text : span_of("{}");
	return args != NULL && args->type != '0' ? args->raw : span_of("{}");
}

static int
add_call(struct arena *a, const struct json *call, struct canon_parts *out)
{
	static const char *const known[] = {"id", "function", NULL};
	static const char *const known_in[] = {"name", "arguments", NULL};
	const struct json *f = json_get(call, "function");
	struct canon_source rest;
	struct canon_part *p;
	int r;

	if (!json_is(f, 'o'))
		return 0;
	if ((p = canon_part_new(a, PART_TOOL_CALL)) == NULL)
		return E_NOMEM;
	p->id = json_text(a, json_get(call, "id"));
	if (p->id.n == 0)
		p->id.p = NULL;
	p->name = json_text(a, json_get(f, "name"));
	p->args = ollama_read_args(a, json_get(f, "arguments"));
	canon_source_init(&p->src, DIALECT_OLLAMA);
	canon_source_init(&rest, DIALECT_OLLAMA);
	TAILQ_INSERT_TAIL(out, p, link);
	if ((r = canon_extras(a, &p->src, call, known)) != 0 ||
	    (r = canon_extras(a, &rest, f, known_in)) != 0)
		return r;
	return rest.extra != NULL ? canon_extra_add(a, &p->src, f) : 0;
}

int
ollama_read_message(struct arena *a, const struct json *m, struct canon_parts *out)
{
	const struct json *calls = json_get(m, "tool_calls");
	int r;

	if ((r = add_text(a, json_get(m, "thinking"), PART_REASONING, out)) != 0 ||
	    (r = add_text(a, json_get(m, "content"), PART_TEXT, out)) != 0 ||
	    (r = add_images(a, json_get(m, "images"), out)) != 0)
		return r;
	json_each (it, json_is(calls, 'a') ? calls : NULL)
		if ((r = add_call(a, it, out)) != 0)
			return r;
	return 0;
}

/* ---- writing ---- */

static void
put_images(struct wire *o, const struct canon_parts *parts)
{
	const struct canon_part *p;
	bool any = false;

	TAILQ_FOREACH (p, parts, link) {
		if (p->kind != PART_IMAGE || p->media.source != MEDIA_BASE64)
			continue;
		if (!any)
			jsonw_m_open(&o->w, "images", '[');
		any = true;
		jsonw_text(&o->w, p->media.data);
	}
	if (any)
		jsonw_close(&o->w, ']');
}

static void
put_call(struct wire *o, const struct canon_part *p)
{
	static const char *const function[] = {"function", NULL};
	static const char *const known[] = {"name", "arguments", NULL};
	struct span rest = wire_extra(&p->src, DIALECT_OLLAMA, "function");

	jsonw_open(&o->w, '{');
	if (p->src.from == DIALECT_OLLAMA)
		jsonw_m_text(&o->w, "id", p->id);
	jsonw_m_open(&o->w, "function", '{');
	jsonw_m_text(&o->w, "name", p->name.p != NULL ? p->name : span_of(""));
	jsonw_m_raw(&o->w, "arguments", shape_arguments_object(o->a, p->args, p->custom));
	if (rest.p != NULL)
		wire_put_rest(o, rest, known);
	jsonw_close(&o->w, '}');
	wire_put_extras(o, &p->src, DIALECT_OLLAMA, function);
	jsonw_close(&o->w, '}');
}

static void
put_calls(struct wire *o, const struct canon_parts *parts)
{
	const struct canon_part *p;
	bool any = false;

	TAILQ_FOREACH (p, parts, link) {
		if (p->kind != PART_TOOL_CALL)
			continue;
		if (!any)
			jsonw_m_open(&o->w, "tool_calls", '[');
		any = true;
		put_call(o, p);
	}
	if (any)
		jsonw_close(&o->w, ']');
}

/* Only one reasoning has a place: what was thought in pieces is one text here. */
static void
put_thinking(struct wire *o, const struct canon_parts *parts)
{
	const struct canon_part *p;
	bool any = false;

	TAILQ_FOREACH (p, parts, link) {
		if (p->kind != PART_REASONING || p->text.n == 0)
			continue;
		if (!any) {
			jsonw_name(&o->w, "thinking");
			jsonw_begin_string(&o->w);
		} else {
			jsonw_part(&o->w, span_of("\n\n"));
		}
		any = true;
		jsonw_part(&o->w, p->text);
	}
	if (any)
		jsonw_end_string(&o->w);
}

void
ollama_put_message(struct wire *o, const struct canon_parts *parts)
{
	put_thinking(o, parts);
	put_images(o, parts);
	put_calls(o, parts);
}
