/* Parts → one message: the same in requests and answers. */
#include "proto/cohere/cohere.h"

static bool
is_plan(const struct canon_part *p)
{
	return p->src.from == DIALECT_COHERE && p->src.hint & HINT_PLAN;
}

static bool
has(const struct canon_parts *parts, enum canon_part_kind kind)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, parts, link)
		if (p->kind == kind)
			return true;
	return false;
}

/* ---- content ---- */

static void
put_url(struct wire *o, const struct canon_media *m)
{
	jsonw_name(&o->w, "url");
	if (m->source != MEDIA_BASE64) {
		jsonw_text(&o->w, m->data);
		return;
	}
	jsonw_begin_string(&o->w);
	jsonw_part(&o->w, span_of("data:"));
	jsonw_part(&o->w, m->type.n > 0 ? m->type : span_of("image/png"));
	jsonw_part(&o->w, span_of(";base64,"));
	jsonw_part(&o->w, m->data);
	jsonw_end_string(&o->w);
}

/* What has no place of its own is text: documents in tags, a note for the rest. */
static struct span
text_of(struct wire *o, const struct canon_part *p)
{
	struct canon_parts alone = TAILQ_HEAD_INITIALIZER(alone);
	struct canon_part *copy;

	if (p->kind == PART_TEXT || p->kind == PART_REFUSAL)
		return p->text.p != NULL ? p->text : span_of("");
	if ((copy = canon_part_new(o->a, p->kind)) == NULL)
		return (struct span){NULL, 0};
	copy->media = p->media;
	TAILQ_INSERT_TAIL(&alone, copy, link);
	return wire_text_of(o->a, &alone, "");
}

static void
put_item(struct wire *o, const struct canon_part *p)
{
	if (p->kind == PART_OPAQUE) {
		jsonw_raw(&o->w, p->raw);
		return;
	}
	jsonw_open(&o->w, '{');
	if (p->kind == PART_REASONING) {
		jsonw_m_cstr(&o->w, "type", "thinking");
		jsonw_m_text(&o->w, "thinking", p->text);
	} else if (p->kind == PART_IMAGE) {
		jsonw_m_cstr(&o->w, "type", "image_url");
		jsonw_m_open(&o->w, "image_url", '{');
		put_url(o, &p->media);
		if (p->src.from == DIALECT_COHERE)
			jsonw_m_text(&o->w, "detail", p->media.detail);
		jsonw_close(&o->w, '}');
	} else {
		jsonw_m_cstr(&o->w, "type", "text");
		wire_m_text(o, "text", text_of(o, p));
	}
	wire_put_extras(o, &p->src, DIALECT_COHERE, NULL);
	jsonw_close(&o->w, '}');
}

/* Is it an item of the content, given whether text is the plan? */
static bool
is_item(const struct canon_part *p, bool plan)
{
	switch (p->kind) {
	case PART_TEXT:
	case PART_REFUSAL:
		return !plan && !is_plan(p);
	case PART_REASONING:
		return p->text.n > 0;
	case PART_OPAQUE:
		return p->src.from == DIALECT_COHERE && p->raw.p != NULL;
	case PART_IMAGE:
	case PART_AUDIO:
	case PART_VIDEO:
	case PART_FILE:
		return true;
	case PART_TOOL_CALL:
	case PART_TOOL_RESULT:
	case PART_SERVER_CALL:
	case PART_SERVER_RESULT:
		break;
	}
	return false;
}

static void
put_content(struct wire *o, const struct canon_parts *parts, const struct canon_source *s,
    bool plan, bool answer)
{
	const struct canon_part *p, *first = NULL;
	bool own = s->from == DIALECT_COHERE, list = answer && !own;
	unsigned items = 0;

	TAILQ_FOREACH (p, parts, link)
		if (is_item(p, plan)) {
			first = first != NULL ? first : p;
			items++;
		}
	if (items == 0 && (own ? !(s->hint & HINT_CONTENT) : plan))
		return;
	list = list || (own && s->hint & HINT_LIST) || items > 1 ||
	       (items == 1 && first->kind != PART_TEXT);
	if (!list) {
		jsonw_m_text(&o->w, "content", first != NULL ? first->text : span_of(""));
		return;
	}
	jsonw_m_open(&o->w, "content", '[');
	TAILQ_FOREACH (p, parts, link)
		if (is_item(p, plan))
			put_item(o, p);
	jsonw_close(&o->w, ']');
}

/* ---- plan and calls ---- */

static void
put_plan(struct wire *o, const struct canon_parts *parts, bool all)
{
	const struct canon_part *p;
	bool any = false;

	TAILQ_FOREACH (p, parts, link) {
		if (p->kind != PART_TEXT || (!all && !is_plan(p)))
			continue;
		if (!any) {
			jsonw_name(&o->w, "tool_plan");
			jsonw_begin_string(&o->w);
		}
		any = true;
		jsonw_part(&o->w, p->text);
	}
	if (any)
		jsonw_end_string(&o->w);
}

static void
put_call(struct wire *o, const struct canon_part *p)
{
	jsonw_open(&o->w, '{');
	jsonw_m_text(&o->w, "id", p->id);
	jsonw_m_cstr(&o->w, "type", "function");
	jsonw_m_open(&o->w, "function", '{');
	jsonw_m_text(&o->w, "name", p->name);
	jsonw_m_text(&o->w, "arguments", p->args.n > 0 ? p->args : span_of("{}"));
	jsonw_close(&o->w, '}');
	wire_put_extras(o, &p->src, DIALECT_COHERE, NULL);
	jsonw_close(&o->w, '}');
}

/* Text beside calls is the plan, unless it came as content. */
void
cohere_put_message(
    struct wire *o, const struct canon_parts *parts, const struct canon_source *s, bool answer)
{
	bool calls = has(parts, PART_TOOL_CALL), own = s->from == DIALECT_COHERE,
	     plan = calls && !own;
	const struct canon_part *p;

	put_content(o, parts, s, plan, answer);
	put_plan(o, parts, plan);
	if (!calls)
		return;
	jsonw_m_open(&o->w, "tool_calls", '[');
	TAILQ_FOREACH (p, parts, link)
		if (p->kind == PART_TOOL_CALL)
			put_call(o, p);
	jsonw_close(&o->w, ']');
}
