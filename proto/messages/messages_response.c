/* A whole answer (spec 13, 14). */
#include <string.h>

#include "proto/canon_ids.h"
#include "proto/messages/messages.h"
#include "shared/err.h"

static const char *const known[] = {"id", "type", "role", "model", "content", "stop_reason",
    "stop_sequence", "stop_details", "container", "context_management", "usage", NULL};

/* What the parts say about an end that nobody gave a reason for. */
static enum canon_finish_reason
guess_reason(const struct canon_parts *parts)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, parts, link)
		if (p->kind == PART_TOOL_CALL)
			return FINISH_TOOL_CALLS;
	return TAILQ_EMPTY(parts) ? FINISH_ERROR : FINISH_STOP;
}

static int
read_finish(struct arena *a, const struct json *body, struct canon_choice *c)
{
	struct canon_finish *f = &c->finish;
	int r;

	if ((r = messages_get_text(a, body, "stop_reason", &f->raw)) != 0 ||
	    (r = messages_get_text(a, body, "stop_sequence", &f->stop_sequence)) != 0 ||
	    (r = messages_read_details(a, body, body, &f->details)) != 0)
		return r;
	f->reason = f->raw.n > 0 ? canon_finish_of(f->raw) : guess_reason(&c->parts);
	return 0;
}

int
messages_decode_response(
    struct arena *a, struct span body, struct canon_response *out, struct canon_error *err)
{
	struct messages_reader r = {.a = a, .answer = true};
	const struct json *root, *content;
	struct canon_choice *c;
	int e;

	*out = (struct canon_response){.from = DIALECT_MESSAGES};
	canon_source_init(&out->src, DIALECT_MESSAGES);
	if ((e = json_parse(a, body, &root)) != 0)
		return e == E_NOMEM ? e : E_SYNTAX;
	if (json_equals(json_get(root, "type"), "error") || json_want(root, "error") != NULL) {
		messages_read_error(a, body, (struct span){NULL, 0}, err);
		return E_DENIED;
	}
	content = json_want(root, "content");
	if (!json_is(root, 'o') ||
	    (!json_is(content, 'a') && (content != NULL || json_want(root, "stop_reason") == NULL)))
		return E_SYNTAX;
	out->root = root;
	if ((out->choices = c = canon_choice_new(a, 0)) == NULL)
		return E_NOMEM;
	if ((e = messages_get_text(a, root, "id", &out->id)) != 0 ||
	    (e = messages_get_text(a, root, "model", &out->model)) != 0)
		return e;
	r.model = out->model;
	if ((e = messages_read_content(&r, content, "content", &c->parts)) != 0 ||
	    (e = read_finish(a, root, c)) != 0)
		return e;
	messages_read_usage(json_want(root, "usage"), &out->usage);
	if ((e = messages_get_text(
		 a, json_want(root, "usage"), "service_tier", &out->service_tier)) != 0)
		return e;
	return canon_extras(a, &out->src, root, known);
}

static void
put_content(struct messages_writer *o, const struct canon_choice *c)
{
	const struct canon_part *p;

	jsonw_m_open(&o->w, "content", '[');
	TAILQ_FOREACH (p, &c->parts, link) {
		if (!messages_part_goes(o, p))
			continue;
		messages_put_part(o, p);
		o->called = o->called || p->kind == PART_TOOL_CALL;
	}
	jsonw_close(&o->w, ']');
}

static void
put_finish(struct messages_writer *o, const struct canon_finish *f, bool own, const char *word)
{
	jsonw_name(&o->w, "stop_reason");
	if (own && f->reason == FINISH_UNKNOWN && f->raw.n > 0)
		jsonw_text(&o->w, f->raw);
	else
		jsonw_cstr(&o->w, word);
	jsonw_name(&o->w, "stop_sequence");
	if (f->stop_sequence.p != NULL)
		jsonw_text(&o->w, f->stop_sequence);
	else
		jsonw_lit(&o->w, "null");
}

int
messages_encode_response(
    const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out)
{
	struct messages_writer o = {
	    .w = {.b = out}, .a = ctx->arena, .answer = true, .assistant = true, .seed = ctx->seed};
	bool own = r->from == DIALECT_MESSAGES || /* collected from a stream */
		   (r->usage.raw.p != NULL && r->usage.from == DIALECT_MESSAGES);
	const struct canon_finish *f = &r->choices->finish;
	struct span id = own && r->id.n > 0 ? r->id : canon_id(ctx->arena, ctx->seed, ID_MSG, 0);
	const char *word;

	if (id.p == NULL)
		return E_NOMEM;
	jsonw_open(&o.w, '{');
	jsonw_m_text(&o.w, "id", id);
	jsonw_m_cstr(&o.w, "type", "message");
	jsonw_m_cstr(&o.w, "role", "assistant");
	jsonw_m_text(&o.w, "model", r->model.n > 0 ? r->model : ctx->model);
	put_content(&o, r->choices);
	if ((word = messages_stop_word(f, own, o.called, o.refused)) == NULL)
		return E_DENIED; /* malformed, error: never an answer */
	put_finish(&o, f, own, word);
	if (own)
		messages_put_details(&o, f->details, false);
	if (own)
		messages_put_details(&o, f->details, true);
	messages_put_usage(&o, &r->usage);
	messages_put_extras(&o, &r->src, NULL);
	jsonw_close(&o.w, '}');
	return o.error != 0 ? o.error : buf_ok(out) ? 0 : E_TOO_LONG;
}
