/* Events → messages of an event stream. The usage stands behind the stop. */
#include "proto/converse/converse.h"

#include "proto/framing.h"
#include "shared/err.h"

#define EVENT_MAX ((size_t)16 << 20)
#define OPEN_MAX 64

struct encoder {
	struct arena *arena;
	struct buf payload; /* of the message at hand */
	struct canon_usage usage;
	struct open {
		uint32_t part;
		enum canon_part_kind kind;
	} open[OPEN_MAX];
	unsigned opens;
};

void *
converse_encoder_new(struct arena *a, const struct encode_ctx *ctx)
{
	struct encoder *e = arena_zalloc(a, 1, sizeof *e);

	(void)ctx;
	if (e == NULL)
		return NULL;
	e->arena = a;
	buf_init(&e->payload, EVENT_MAX);
	return e;
}

void
converse_encoder_free(void *state)
{
	buf_clear(&((struct encoder *)state)->payload);
}

static struct open *
find(struct encoder *e, uint32_t part)
{
	for (unsigned i = 0; i < e->opens; i++)
		if (e->open[i].part == part)
			return &e->open[i];
	return NULL;
}

/* ---- messages ---- */

static struct wire
begin(struct encoder *e)
{
	struct wire o = {.w = {.b = &e->payload}, .a = e->arena};

	buf_reset(&e->payload);
	jsonw_open(&o.w, '{');
	return o;
}

static struct wire
begin_block(struct encoder *e, uint32_t index)
{
	struct wire o = begin(e);

	jsonw_m_u64(&o.w, "contentBlockIndex", index);
	return o;
}

static int
end(struct wire *o, const char *type, bool exception, unsigned open, struct buf *out)
{
	int r;

	while (open-- > 0)
		jsonw_close(&o->w, '}');
	if ((r = wire_end(o)) != 0)
		return r;
	return framing_put_message(out, exception, type, (struct span){o->w.b->data, o->w.b->len});
}

/* ---- parts ---- */

static int
put_open(struct encoder *e, const struct canon_event *ev, struct buf *out)
{
	const struct canon_part *m = ev->meta;
	struct wire o;

	if (m->kind != PART_TEXT && m->kind != PART_REFUSAL && m->kind != PART_REASONING &&
	    m->kind != PART_TOOL_CALL)
		return 0;
	if (e->opens == OPEN_MAX)
		return E_TOO_LONG;
	e->open[e->opens++] = (struct open){ev->part, m->kind};
	if (m->kind != PART_TOOL_CALL)
		return 0;
	o = begin_block(e, ev->part);
	jsonw_m_open(&o.w, "start", '{');
	jsonw_m_open(&o.w, "toolUse", '{');
	jsonw_m_text(&o.w, "toolUseId", m->id.p != NULL ? m->id : span_of(""));
	jsonw_m_text(&o.w, "name", m->name.p != NULL ? m->name : span_of(""));
	return end(&o, "contentBlockStart", false, 3, out);
}

static int
put_delta(struct encoder *e, const struct canon_event *ev, struct buf *out)
{
	const struct open *p = find(e, ev->part);
	struct wire o;

	if (p == NULL)
		return 0;
	o = begin_block(e, ev->part);
	jsonw_m_open(&o.w, "delta", '{');
	if (p->kind == PART_TOOL_CALL || p->kind == PART_REASONING) {
		bool call = p->kind == PART_TOOL_CALL;
		jsonw_m_open(&o.w, call ? "toolUse" : "reasoningContent", '{');
		jsonw_m_text(&o.w, call ? "input" : "text", ev->text);
		jsonw_close(&o.w, '}');
	} else {
		jsonw_m_text(&o.w, "text", ev->text);
	}
	return end(&o, "contentBlockDelta", false, 2, out);
}

static int
put_sign(struct encoder *e, const struct canon_event *ev, struct buf *out)
{
	const struct open *p = find(e, ev->part);
	struct wire o;

	if (p == NULL || p->kind != PART_REASONING || ev->sign->origin != ORIGIN_ANTHROPIC)
		return 0;
	o = begin_block(e, ev->part);
	jsonw_m_open(&o.w, "delta", '{');
	jsonw_m_open(&o.w, "reasoningContent", '{');
	if (ev->sign->encrypted)
		converse_put_redacted(&o, ev->sign->data);
	else
		jsonw_m_text(&o.w, "signature", ev->sign->data);
	return end(&o, "contentBlockDelta", false, 3, out);
}

static int
put_citation(struct encoder *e, const struct canon_event *ev, struct buf *out)
{
	struct wire o;

	if (find(e, ev->part) == NULL || ev->annotation->from != DIALECT_CONVERSE ||
	    ev->annotation->raw.p == NULL)
		return 0;
	o = begin_block(e, ev->part);
	jsonw_m_open(&o.w, "delta", '{');
	jsonw_m_raw(&o.w, "citation", ev->annotation->raw);
	return end(&o, "contentBlockDelta", false, 2, out);
}

static int
put_close(struct encoder *e, const struct canon_event *ev, struct buf *out)
{
	struct open *p = find(e, ev->part);
	struct wire o;

	if (p == NULL)
		return 0;
	*p = e->open[--e->opens];
	o = begin_block(e, ev->part);
	return end(&o, "contentBlockStop", false, 1, out);
}

/* ---- the whole ---- */

static int
put_begin(struct encoder *e, struct buf *out)
{
	struct wire o = begin(e);

	jsonw_m_cstr(&o.w, "role", "assistant");
	return end(&o, "messageStart", false, 1, out);
}

static int
put_finish(struct encoder *e, const struct canon_event *ev, struct buf *out)
{
	struct wire o = begin(e);

	jsonw_m_cstr(&o.w, "stopReason", converse_word(ev->finish->reason));
	return end(&o, "messageStop", false, 1, out);
}

static int
put_end(struct encoder *e, struct buf *out)
{
	struct wire o = begin(e);

	converse_put_usage(&o, &e->usage);
	return end(&o, "metadata", false, 1, out);
}

static int
put_failure(struct encoder *e, const struct canon_event *ev, struct buf *out)
{
	static const char *const types[ERROR_CLASSES] = {
	    [ERROR_BAD_REQUEST] = "validationException",
	    [ERROR_CONTEXT_WINDOW] = "validationException",
	    [ERROR_RATE_LIMIT] = "throttlingException",
	    [ERROR_OVERLOADED] = "serviceUnavailableException",
	    [ERROR_TIMEOUT] = "modelTimeoutException",
	};
	const char *type = types[ev->error->class];
	struct wire o = begin(e);

	jsonw_m_text(&o.w, "message", ev->error->message);
	return end(&o, type != NULL ? type : "internalServerException", true, 1, out);
}

int
converse_encode(void *state, const struct canon_event *ev, struct buf *out)
{
	struct encoder *e = state;

	switch (ev->type) {
	case EVENT_BEGIN:
		return put_begin(e, out);
	case EVENT_OPEN:
		return put_open(e, ev, out);
	case EVENT_DELTA:
		return put_delta(e, ev, out);
	case EVENT_SIGN:
		return put_sign(e, ev, out);
	case EVENT_CITE:
		return put_citation(e, ev, out);
	case EVENT_CLOSE:
		return put_close(e, ev, out);
	case EVENT_USAGE:
		e->usage = *ev->usage;
		e->usage.raw = (struct span){NULL, 0}; /* dies with the event */
		break;
	case EVENT_FINISH:
		return put_finish(e, ev, out);
	case EVENT_FAIL:
		return put_failure(e, ev, out);
	case EVENT_END:
		return put_end(e, out);
	case EVENT_LOGPROBS:
	case EVENT_IDLE:
		break;
	}
	return 0;
}
