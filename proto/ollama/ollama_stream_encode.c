/*
 * Events → lines. A call is one piece here: its arguments are gathered until it closes. The line with "done" waits for the
 * end, because the usage may come behind the finish.
 */
#include "proto/ollama/ollama.h"

#include "shared/err.h"

#define ARGS_MAX ((size_t)16 << 20)
#define CALLS_MAX 64 /* open at once */

struct call {
	const struct canon_part *meta;
	uint32_t part;
	struct buf args;
};

struct encoder {
	struct arena *arena;
	struct span model;
	uint64_t created;
	struct call calls[CALLS_MAX];
	unsigned open;
	struct canon_usage usage;
	enum canon_finish_reason reason;
	uint32_t text, thought; /* the parts that were opened last, + 1 */
};

void *
ollama_encoder_new(struct arena *a, const struct encode_ctx *ctx)
{
	struct encoder *e = arena_zalloc(a, 1, sizeof *e);

	if (e == NULL)
		return NULL;
	e->arena = a;
	e->model = ctx->model;
	e->created = ctx->now_s;
	return e;
}

void
ollama_encoder_free(void *state)
{
	struct encoder *e = state;

	for (unsigned i = 0; i < e->open; i++)
		buf_clear(&e->calls[i].args);
}

static struct call *
find(struct encoder *e, uint32_t part)
{
	for (unsigned i = 0; i < e->open; i++)
		if (e->calls[i].part == part)
			return &e->calls[i];
	return NULL;
}

/* ---- lines ---- */

static void
begin_line(struct encoder *e, struct wire *o)
{
	jsonw_open(&o->w, '{');
	jsonw_m_text(&o->w, "model", e->model);
	ollama_put_time(o, e->created);
	jsonw_m_open(&o->w, "message", '{');
	jsonw_m_cstr(&o->w, "role", "assistant");
}

static int
end_line(struct wire *o, size_t from)
{
	jsonw_m_bool(&o->w, "done", false);
	jsonw_close(&o->w, '}');
	jsonw_one_line(o->w.b, from);
	buf_str(o->w.b, "\n");
	return wire_end(o);
}

static int
put_text(struct encoder *e, const struct canon_event *ev, struct wire *o)
{
	bool thought = e->thought == ev->part + 1;
	size_t from = o->w.b->len;

	if (!thought && e->text != ev->part + 1)
		return 0; /* of a kind that has no place here */
	begin_line(e, o);
	jsonw_m_text(&o->w, "content", thought ? span_of("") : ev->text);
	if (thought)
		jsonw_m_text(&o->w, "thinking", ev->text);
	jsonw_close(&o->w, '}');
	return end_line(o, from);
}

static int
put_call(struct encoder *e, struct call *c, struct wire *o)
{
	struct canon_parts parts = TAILQ_HEAD_INITIALIZER(parts);
	struct canon_part p = *c->meta;
	size_t from = o->w.b->len;
	int r;

	p.args = (struct span){c->args.data, c->args.len};
	TAILQ_INSERT_TAIL(&parts, &p, link);
	begin_line(e, o);
	jsonw_m_cstr(&o->w, "content", "");
	ollama_put_message(o, &parts);
	jsonw_close(&o->w, '}');
	r = end_line(o, from);
	buf_clear(&c->args);
	*c = e->calls[--e->open];
	return r;
}

static int
put_end(struct encoder *e, struct wire *o)
{
	struct canon_finish f = {.reason = e->reason};

	begin_line(e, o);
	jsonw_m_cstr(&o->w, "content", "");
	jsonw_close(&o->w, '}');
	ollama_put_end(o, &f, &e->usage);
	jsonw_close(&o->w, '}');
	buf_str(o->w.b, "\n");
	return wire_end(o);
}

/* ---- events ---- */

static int
open_part(struct encoder *e, const struct canon_event *ev)
{
	if (ev->meta->kind == PART_REASONING)
		e->thought = ev->part + 1;
	if (ev->meta->kind == PART_TEXT || ev->meta->kind == PART_REFUSAL)
		e->text = ev->part + 1;
	if (ev->meta->kind != PART_TOOL_CALL)
		return 0;
	if (e->open == CALLS_MAX)
		return E_TOO_LONG;
	e->calls[e->open++] =
	    (struct call){.meta = ev->meta, .part = ev->part, .args = BUF_INIT(ARGS_MAX)};
	return 0;
}

int
ollama_encode(void *state, const struct canon_event *ev, struct buf *out)
{
	struct encoder *e = state;
	struct wire o = {.w = {.b = out}, .a = e->arena};
	struct call *c;

	switch (ev->type) {
	case EVENT_BEGIN:
		if (ev->created != 0)
			e->created = ev->created;
		break;
	case EVENT_OPEN:
		return open_part(e, ev);
	case EVENT_DELTA:
		if ((c = find(e, ev->part)) != NULL)
			return buf_add(&c->args, ev->text.p, ev->text.n);
		return put_text(e, ev, &o);
	case EVENT_CLOSE:
		return (c = find(e, ev->part)) != NULL ? put_call(e, c, &o) : 0;
	case EVENT_USAGE:
		e->usage = *ev->usage;
		break;
	case EVENT_FINISH:
		e->reason = ev->finish->reason;
		break;
	case EVENT_FAIL:
		jsonw_open(&o.w, '{');
		jsonw_m_text(
		    &o.w, "error", ev->error->message.p != NULL ? ev->error->message : span_of(""));
		jsonw_close(&o.w, '}');
		buf_str(out, "\n");
		return wire_end(&o);
	case EVENT_END:
		return put_end(e, &o);
	case EVENT_SIGN:
	case EVENT_CITE:
	case EVENT_LOGPROBS:
	case EVENT_IDLE:
		break;
	}
	return 0;
}
