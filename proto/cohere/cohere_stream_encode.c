/* Events → the events of the service. Content and calls are numbered apart; the end waits for the usage. */
#include "proto/cohere/cohere.h"

#include "shared/err.h"

#define OPEN_MAX 64

struct piece {
	const struct canon_part *meta;
	uint32_t part, index;
};

struct encoder {
	struct arena *arena;
	struct piece open[OPEN_MAX];
	unsigned opens;
	uint32_t contents, calls, citations;
	struct canon_usage usage;
	enum canon_finish_reason reason;
};

void *
cohere_encoder_new(struct arena *a, const struct encode_ctx *ctx)
{
	struct encoder *e = arena_zalloc(a, 1, sizeof *e);

	(void)ctx;
	if (e != NULL)
		e->arena = a;
	return e;
}

static struct piece *
find(struct encoder *e, uint32_t part)
{
	for (unsigned i = 0; i < e->opens; i++)
		if (e->open[i].part == part)
			return &e->open[i];
	return NULL;
}

static bool
is_plan(const struct canon_part *p)
{
	return p->kind == PART_TEXT && p->src.from == DIALECT_COHERE && p->src.hint & HINT_PLAN;
}

/* ---- frames ---- */

static void
begin_event(struct wire *o, const char *type)
{
	buf_addf(o->w.b, "event: %s\ndata: ", type);
	o->w.comma = false;
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "type", type);
}

static void
begin_message(struct wire *o, const char *type, uint32_t index)
{
	begin_event(o, type);
	jsonw_m_u64(&o->w, "index", index);
	jsonw_m_open(&o->w, "delta", '{');
	jsonw_m_open(&o->w, "message", '{');
}

static int
end_event(struct wire *o, unsigned open)
{
	while (open-- > 0)
		jsonw_close(&o->w, '}');
	buf_str(o->w.b, "\n\n");
	return wire_end(o);
}

static int
put_bare(struct wire *o, const char *type, uint32_t index)
{
	begin_event(o, type);
	jsonw_m_u64(&o->w, "index", index);
	return end_event(o, 1);
}

/* ---- parts ---- */

static int
put_begin(struct wire *o, const struct canon_event *ev)
{
	begin_event(o, "message-start");
	jsonw_m_text(&o->w, "id", ev->id);
	jsonw_m_lit(&o->w, "delta",
	    "{\"message\":{\"role\":\"assistant\",\"content\":[],\"tool_plan\":\"\",\"tool_calls\":"
	    "[],\"citations\":[]}}");
	return end_event(o, 1);
}

static int
put_open(struct encoder *e, struct wire *o, const struct canon_event *ev)
{
	const struct canon_part *m = ev->meta;
	bool call = m->kind == PART_TOOL_CALL, thought = m->kind == PART_REASONING;
	struct piece *p;

	if (!call && !thought && m->kind != PART_TEXT && m->kind != PART_REFUSAL)
		return 0;
	if (e->opens == OPEN_MAX)
		return E_TOO_LONG;
	p = &e->open[e->opens++];
	*p = (struct piece){.meta = m, .part = ev->part};
	if (is_plan(m))
		return 0;
	p->index = call ? e->calls++ : e->contents++;
	begin_message(o, call ? "tool-call-start" : "content-start", p->index);
	if (call) {
		jsonw_m_open(&o->w, "tool_calls", '{');
		jsonw_m_text(&o->w, "id", m->id);
		jsonw_m_cstr(&o->w, "type", "function");
		jsonw_m_open(&o->w, "function", '{');
		jsonw_m_text(&o->w, "name", m->name);
		jsonw_m_cstr(&o->w, "arguments", "");
		jsonw_close(&o->w, '}');
		return end_event(o, 4);
	}
	jsonw_m_open(&o->w, "content", '{');
	jsonw_m_cstr(&o->w, "type", thought ? "thinking" : "text");
	jsonw_m_cstr(&o->w, thought ? "thinking" : "text", "");
	return end_event(o, 4);
}

static int
put_delta(struct encoder *e, struct wire *o, const struct canon_event *ev)
{
	const struct piece *p = find(e, ev->part);

	if (p == NULL)
		return 0;
	if (is_plan(p->meta)) {
		begin_event(o, "tool-plan-delta");
		jsonw_m_open(&o->w, "delta", '{');
		jsonw_m_open(&o->w, "message", '{');
		jsonw_m_text(&o->w, "tool_plan", ev->text);
		return end_event(o, 3);
	}
	if (p->meta->kind == PART_TOOL_CALL) {
		begin_message(o, "tool-call-delta", p->index);
		jsonw_m_open(&o->w, "tool_calls", '{');
		jsonw_m_open(&o->w, "function", '{');
		jsonw_m_text(&o->w, "arguments", ev->text);
		return end_event(o, 5);
	}
	begin_message(o, "content-delta", p->index);
	jsonw_m_open(&o->w, "content", '{');
	jsonw_m_text(&o->w, p->meta->kind == PART_REASONING ? "thinking" : "text", ev->text);
	return end_event(o, 4);
}

static int
put_close(struct encoder *e, struct wire *o, const struct canon_event *ev)
{
	struct piece *p = find(e, ev->part), it;

	if (p == NULL)
		return 0;
	it = *p;
	*p = e->open[--e->opens];
	if (is_plan(it.meta))
		return 0;
	return put_bare(
	    o, it.meta->kind == PART_TOOL_CALL ? "tool-call-end" : "content-end", it.index);
}

static int
put_citation(struct encoder *e, struct wire *o, const struct canon_event *ev)
{
	size_t from;
	int r;

	if (ev->annotation->from != DIALECT_COHERE || ev->annotation->raw.p == NULL)
		return 0;
	begin_message(o, "citation-start", e->citations);
	from = o->w.b->len;
	jsonw_m_raw(&o->w, "citations", ev->annotation->raw);
	jsonw_one_line(o->w.b, from);
	r = end_event(o, 3);
	return r != 0 ? r : put_bare(o, "citation-end", e->citations++);
}

static int
put_end(struct encoder *e, struct wire *o, const struct canon_error *error)
{
	begin_event(o, "message-end");
	jsonw_m_open(&o->w, "delta", '{');
	jsonw_m_cstr(&o->w, "finish_reason", error != NULL ? "ERROR" : cohere_word(e->reason));
	if (error != NULL)
		jsonw_m_text(&o->w, "error", error->message);
	cohere_put_usage(o, &e->usage);
	end_event(o, 2);
	buf_str(o->w.b, "data: [DONE]\n\n");
	return wire_end(o);
}

int
cohere_encode(void *state, const struct canon_event *ev, struct buf *out)
{
	struct encoder *e = state;
	struct wire o = {.w = {.b = out}, .a = e->arena};

	switch (ev->type) {
	case EVENT_BEGIN:
		return put_begin(&o, ev);
	case EVENT_OPEN:
		return put_open(e, &o, ev);
	case EVENT_DELTA:
		return put_delta(e, &o, ev);
	case EVENT_CITE:
		return put_citation(e, &o, ev);
	case EVENT_CLOSE:
		return put_close(e, &o, ev);
	case EVENT_USAGE:
		e->usage = *ev->usage;
		e->usage.raw = (struct span){NULL, 0}; /* dies with the event */
		break;
	case EVENT_FINISH:
		e->reason = ev->finish->reason;
		break;
	case EVENT_FAIL:
		return put_end(e, &o, ev->error);
	case EVENT_END:
		return put_end(e, &o, NULL);
	case EVENT_SIGN:
	case EVENT_LOGPROBS:
	case EVENT_IDLE:
		break;
	}
	return 0;
}
