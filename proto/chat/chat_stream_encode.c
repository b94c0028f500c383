/*
 * Events → a stream for the client (spec 18.2, 18.7, 18.8): data: lines only, every chunk with the
 * same id, created and model; role once, first; of a call id, type and name once; finish_reason
 * always; usage if it was asked for; [DONE].
 */
#include <string.h>

#include "proto/canon_ids.h"
#include "proto/chat/chat.h"
#include "shared/err.h"

struct part {
	enum canon_part_kind kind;
	uint32_t rank; /* of a call among the calls of its choice */
	bool custom;
	int64_t before; /* code points of text in front of it */
};

struct choice {
	struct choice *next;
	uint32_t index, calls, signs;
	bool begun;
	int64_t points; /* code points of text said */
};

struct encoder {
	struct arena *a;
	const struct encode_ctx *ctx;
	struct span id, model;
	uint64_t created;
	struct part *part;
	uint32_t parts, room;
	struct choice *choices;
	struct canon_usage usage;
	char *usage_raw;
	size_t usage_cap;
	size_t chunk; /* where the last one begins */
	bool ended;
};

void *
chat_encoder_new(struct arena *a, const struct encode_ctx *ctx)
{
	struct encoder *e = arena_zalloc(a, 1, sizeof *e);

	if (e == NULL)
		return NULL;
	e->a = a;
	e->ctx = ctx;
	return e;
}

/* ---- state ---- */

static struct choice *
find_choice(struct encoder *e, uint32_t index)
{
	struct choice **at = &e->choices;

	for (; *at != NULL; at = &(*at)->next)
		if ((*at)->index == index)
			return *at;
	if ((*at = arena_zalloc(e->a, 1, sizeof **at)) != NULL)
		(*at)->index = index;
	return *at;
}

static struct part *
find_part(struct encoder *e, uint32_t n)
{
	struct part *grown;
	uint32_t room;

	if (n < e->room)
		return &e->part[n];
	if (n > 1u << 20)
		return NULL;
	room = MAX(2 * e->room, n + 8);
	if ((grown = arena_zalloc(e->a, room, sizeof *grown)) == NULL)
		return NULL;
	if (e->room > 0)
		memcpy(grown, e->part, e->room * sizeof *grown);
	e->part = grown;
	e->room = room;
	return &e->part[n];
}

static int
begin(struct encoder *e, const struct canon_event *ev)
{
	bool completion = e->ctx->asked->legacy_completion;
	const char *own = completion ? "cmpl-" : "chatcmpl-";
	struct span id = ev->id, model = ev->model.n > 0 ? ev->model : e->ctx->model;

	if (id.n < strlen(own) || memcmp(id.p, own, strlen(own)) != 0)
		id = canon_id(e->a, e->ctx->seed, completion ? ID_CMPL : ID_CHATCMPL, 0);
	e->id = (struct span){id.p != NULL ? arena_strndup(e->a, id.p, id.n) : NULL, id.n};
	e->model = (struct span){arena_strndup(e->a, model.n > 0 ? model.p : "", model.n), model.n};
	e->created = ev->created != 0 ? ev->created : e->ctx->now_s;
	return e->id.p != NULL && e->model.p != NULL ? 0 : E_NOMEM;
}

static int
keep_usage(struct encoder *e, const struct canon_usage *u)
{
	struct span raw = u->raw;

	e->usage = *u;
	if (u->from != DIALECT_CHAT || raw.p == NULL) {
		e->usage.raw = (struct span){NULL, 0};
		return 0;
	}
	if (raw.n > e->usage_cap) {
		e->usage_cap = 2 * raw.n;
		if ((e->usage_raw = arena_alloc(e->a, e->usage_cap)) == NULL)
			return E_NOMEM;
	}
	memcpy(e->usage_raw, raw.p, raw.n);
	e->usage.raw.p = e->usage_raw;
	return 0;
}

/* ---- chunks ---- */

static void
open_chunk(struct encoder *e, struct chat_writer *o)
{
	buf_str(o->w.b, "data: ");
	e->chunk = o->w.b->len;
	o->w.comma = false;
	jsonw_open(&o->w, '{');
	jsonw_m_text(&o->w, "id", e->id);
	jsonw_m_cstr(&o->w, "object",
	    e->ctx->asked->legacy_completion ? "text_completion" : "chat.completion.chunk");
	jsonw_m_u64(&o->w, "created", e->created);
	jsonw_m_text(&o->w, "model", e->model);
	jsonw_m_open(&o->w, "choices", '[');
}

/* Behind the choices. */
static void
close_chunk(struct encoder *e, struct chat_writer *o, bool usage)
{
	jsonw_close(&o->w, ']');
	if (usage)
		chat_put_usage(&o->w, &e->usage);
	else if (e->ctx->asked->stream_usage)
		jsonw_m_lit(&o->w, "usage", "null");
	jsonw_close(&o->w, '}');
	jsonw_one_line(o->w.b, e->chunk);
	buf_str(o->w.b, "\n\n");
}

static void
open_delta(struct encoder *e, struct chat_writer *o, const struct choice *c)
{
	open_chunk(e, o);
	jsonw_open(&o->w, '{');
	jsonw_m_u64(&o->w, "index", c->index);
	if (!e->ctx->asked->legacy_completion)
		jsonw_m_open(&o->w, "delta", '{');
}

static void
close_delta(struct encoder *e, struct chat_writer *o, struct span logprobs, const char *finish)
{
	if (!e->ctx->asked->legacy_completion)
		jsonw_close(&o->w, '}');
	jsonw_name(&o->w, "logprobs");
	jsonw_raw(&o->w, logprobs);
	jsonw_name(&o->w, "finish_reason");
	if (finish != NULL)
		jsonw_cstr(&o->w, finish);
	else
		jsonw_lit(&o->w, "null");
	jsonw_close(&o->w, '}');
	close_chunk(e, o, false);
}

static const struct span no_logprobs = {NULL, 0};

/* The first delta of a choice says the role. */
static void
say_role(struct encoder *e, struct chat_writer *o, struct choice *c, bool call)
{
	if (c->begun)
		return;
	c->begun = true;
	if (e->ctx->asked->legacy_completion)
		return;
	open_delta(e, o, c);
	jsonw_m_cstr(&o->w, "role", "assistant");
	jsonw_m_lit(&o->w, "content", call ? "null" : "\"\"");
	close_delta(e, o, no_logprobs, NULL);
}

/* A delta with one member, a text. */
static void
say_text(struct encoder *e, struct chat_writer *o, const struct choice *c, const char *name,
    struct span text)
{
	open_delta(e, o, c);
	jsonw_m_text(&o->w, name, text);
	close_delta(e, o, no_logprobs, NULL);
}

/* ---- parts ---- */

/* The old form has one call and no ids; a second one cannot be said. */
static bool
is_unsayable(const struct encoder *e, const struct part *p)
{
	return (e->ctx->asked->legacy_functions && p->rank > 0) || e->ctx->asked->legacy_completion;
}

static void
open_call(struct encoder *e, struct chat_writer *o, struct choice *c, const struct part *p,
    const struct canon_part *meta)
{
	if (is_unsayable(e, p))
		return;
	open_delta(e, o, c);
	if (e->ctx->asked->legacy_functions) {
		jsonw_m_open(&o->w, "function_call", '{');
		jsonw_m_text(&o->w, "name", meta->name);
		jsonw_m_cstr(&o->w, "arguments", "");
		jsonw_close(&o->w, '}');
	} else {
		struct canon_part plain = *meta;

		o->calls = p->rank + (c->index << 12);
		canon_source_init(&plain.src, DIALECT_NONE);
		jsonw_m_open(&o->w, "tool_calls", '[');
		jsonw_open(&o->w, '{');
		jsonw_m_u64(&o->w, "index", p->rank);
		chat_put_call(o, &plain, span_of(""));
		jsonw_close(&o->w, '}');
		jsonw_close(&o->w, ']');
	}
	close_delta(e, o, no_logprobs, NULL);
}

static void
say_arguments(struct encoder *e, struct chat_writer *o, const struct choice *c, struct part *p,
    struct span text)
{
	if (text.n == 0 || is_unsayable(e, p))
		return;
	open_delta(e, o, c);
	if (e->ctx->asked->legacy_functions) {
		jsonw_m_open(&o->w, "function_call", '{');
		jsonw_m_text(&o->w, "arguments", text);
		jsonw_close(&o->w, '}');
	} else {
		jsonw_m_open(&o->w, "tool_calls", '[');
		jsonw_open(&o->w, '{');
		jsonw_m_u64(&o->w, "index", p->rank);
		jsonw_m_open(&o->w, p->custom ? "custom" : "function", '{');
		jsonw_m_text(&o->w, p->custom ? "input" : "arguments", text);
		jsonw_close(&o->w, '}');
		jsonw_close(&o->w, '}');
		jsonw_close(&o->w, ']');
	}
	close_delta(e, o, no_logprobs, NULL);
}

static int
open_part(struct encoder *e, struct chat_writer *o, struct choice *c, const struct canon_event *ev)
{
	struct part *p = find_part(e, ev->part);

	if (p == NULL)
		return E_NOMEM;
	*p = (struct part){.kind = ev->meta->kind, .custom = ev->meta->custom, .before = c->points};
	say_role(e, o, c, p->kind == PART_TOOL_CALL);
	if (p->kind == PART_TOOL_CALL) {
		p->rank = c->calls++;
		open_call(e, o, c, p, ev->meta);
	} else if (p->kind == PART_IMAGE && !e->ctx->asked->legacy_completion) {
		open_delta(e, o, c);
		jsonw_m_open(&o->w, "images", '[');
		chat_put_image(o, &ev->meta->media);
		jsonw_close(&o->w, ']');
		close_delta(e, o, no_logprobs, NULL);
	}
	return 0;
}

static void
say(struct encoder *e, struct chat_writer *o, struct choice *c, struct part *p, struct span text)
{
	bool completion = e->ctx->asked->legacy_completion;

	switch (p->kind) {
	case PART_TEXT:
		c->points += chat_code_points(text);
		say_text(e, o, c, completion ? "text" : "content", text);
		break;
	case PART_REASONING:
		if (!completion)
			say_text(e, o, c, "reasoning_content", text);
		break;
	case PART_REFUSAL:
		say_text(e, o, c, completion ? "text" : "refusal", text);
		break;
	case PART_TOOL_CALL:
		say_arguments(e, o, c, p, text);
		break;
	default:
		break;
	}
}

static void
sign(struct encoder *e, struct chat_writer *o, struct choice *c, const struct part *p,
    const struct canon_signature *s)
{
	if (e->ctx->asked->legacy_completion || s->data.n == 0 ||
	    (p->kind == PART_TOOL_CALL && e->ctx->asked->legacy_functions))
		return;
	open_delta(e, o, c);
	if (p->kind == PART_TOOL_CALL) {
		jsonw_m_open(&o->w, "tool_calls", '[');
		jsonw_open(&o->w, '{');
		jsonw_m_u64(&o->w, "index", p->rank);
		jsonw_m_open(&o->w, "extra_content", '{');
		jsonw_m_open(&o->w, "google", '{');
		jsonw_m_text(&o->w, "thought_signature", s->data);
		jsonw_close(&o->w, '}');
		jsonw_close(&o->w, '}');
		jsonw_close(&o->w, '}');
		jsonw_close(&o->w, ']');
	} else {
		jsonw_m_open(&o->w, "reasoning_details", '[');
		chat_put_detail(o, s, span_of(""), c->signs++);
		jsonw_close(&o->w, ']');
	}
	close_delta(e, o, no_logprobs, NULL);
}

static void
cite(struct encoder *e, struct chat_writer *o, struct choice *c, const struct part *p,
    const struct canon_annotation *n)
{
	if (e->ctx->asked->legacy_completion || (n->kind != CITE_URL && n->from != DIALECT_CHAT))
		return;
	open_delta(e, o, c);
	jsonw_m_open(&o->w, "annotations", '[');
	chat_put_annotation(o, n, p->before);
	jsonw_close(&o->w, ']');
	close_delta(e, o, no_logprobs, NULL);
}

/* ---- ends ---- */

static int
finish(struct encoder *e, struct chat_writer *o, struct choice *c, const struct canon_finish *f)
{
	const char *word = chat_finish_word(f, e->ctx->asked->legacy_functions);

	say_role(e, o, c, false);
	open_delta(e, o, c);
	if (e->ctx->asked->legacy_completion)
		jsonw_m_cstr(&o->w, "text", "");
	close_delta(e, o, no_logprobs, word != NULL ? word : "stop");
	return 0;
}

static void
end(struct encoder *e, struct chat_writer *o)
{
	if (e->ctx->asked->stream_usage) {
		open_chunk(e, o);
		close_chunk(e, o, true);
	}
	buf_str(o->w.b, "data: [DONE]\n\n");
	e->ended = true;
}

static void
fail(struct encoder *e, struct chat_writer *o, const struct canon_error *error)
{
	buf_str(o->w.b, "data: ");
	o->w.comma = false;
	jsonw_open(&o->w, '{');
	chat_put_error(&o->w, error);
	jsonw_close(&o->w, '}');
	buf_str(o->w.b, "\n\ndata: [DONE]\n\n");
	e->ended = true;
}

/* Events of one part. */
static int
encode_part(struct encoder *e, struct chat_writer *o, const struct canon_event *ev)
{
	struct choice *c = find_choice(e, ev->choice);
	struct part *p;

	if (c == NULL)
		return E_NOMEM;
	if (ev->type == EVENT_OPEN)
		return open_part(e, o, c, ev);
	if (ev->part >= e->room)
		return 0; /* never opened */
	p = find_part(e, ev->part);
	if (ev->type == EVENT_DELTA)
		say(e, o, c, p, ev->text);
	else if (ev->type == EVENT_SIGN)
		sign(e, o, c, p, ev->sign);
	else if (ev->type == EVENT_CITE)
		cite(e, o, c, p, ev->annotation);
	return 0;
}

static int
encode(struct encoder *e, struct chat_writer *o, const struct canon_event *ev)
{
	struct choice *c;

	switch (ev->type) {
	case EVENT_BEGIN:
		return begin(e, ev);
	case EVENT_OPEN:
	case EVENT_DELTA:
	case EVENT_SIGN:
	case EVENT_CITE:
	case EVENT_CLOSE:
		return encode_part(e, o, ev);
	case EVENT_LOGPROBS:
		if ((c = find_choice(e, ev->choice)) == NULL)
			return E_NOMEM;
		say_role(e, o, c, false);
		open_delta(e, o, c);
		close_delta(e, o, ev->text, NULL);
		return 0;
	case EVENT_USAGE:
		return keep_usage(e, ev->usage);
	case EVENT_FINISH:
		if ((c = find_choice(e, ev->choice)) == NULL)
			return E_NOMEM;
		return finish(e, o, c, ev->finish);
	case EVENT_FAIL:
		fail(e, o, ev->error);
		return 0;
	case EVENT_IDLE:
		buf_str(o->w.b, ": keepalive\n\n");
		return 0;
	case EVENT_END:
		end(e, o);
		return 0;
	}
	return 0;
}

int
chat_encode(void *state, const struct canon_event *ev, struct buf *out)
{
	struct encoder *e = state;
	struct chat_writer o = {.w = {.b = out}, .ctx = e->ctx};
	int r;

	if (e->ended)
		return 0;
	r = encode(e, &o, ev);
	if (r == 0)
		r = o.error;
	return r != 0 ? r : buf_ok(out) ? 0 : E_TOO_LONG;
}
