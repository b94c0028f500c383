/* Events of the client's stream: their frame, and the items that they begin and end. */
#include <string.h>

#include "proto/responses/responses_encoder.h"

/* ---- one event ---- */

struct jsonw
encoder_event_open(struct encoder *e, struct buf *out, const char *type)
{
	struct jsonw w = {.b = out};

	buf_str(out, "event: ");
	buf_str(out, type);
	buf_str(out, "\ndata: ");
	e->start = out->len;
	jsonw_open(&w, '{');
	jsonw_m_cstr(&w, "type", type);
	jsonw_m_u64(&w, "sequence_number", e->sequence++);
	return w;
}

void
encoder_event_close(const struct encoder *e, struct jsonw *w)
{
	jsonw_close(w, '}');
	jsonw_one_line(w->b, e->start);
	buf_str(w->b, "\n\n");
}

/* … about the open item */
struct jsonw
encoder_item_event(struct encoder *e, struct buf *out, const char *type)
{
	struct jsonw w = encoder_event_open(e, out, type);

	jsonw_m_text(&w, "item_id", e->item_id);
	jsonw_m_u64(&w, "output_index", e->items);
	return w;
}

/* … about the open part of a message, or the summary of a thought */
struct jsonw
encoder_part_event(struct encoder *e, struct buf *out, const char *type)
{
	struct jsonw w = encoder_item_event(e, out, type);

	jsonw_m_u64(&w, e->item == ITEM_REASONING ? "summary_index" : "content_index",
	    e->item == ITEM_REASONING ? 0 : e->contents);
	return w;
}

/* ---- items ---- */

static void
put_lists(struct encoder *e, struct jsonw *w)
{
	jsonw_m_open(w, "annotations", '[');
	buf_add(w->b, held(&e->annotations).p, e->annotations.len);
	jsonw_close(w, ']');
	jsonw_m_open(w, "logprobs", '[');
	buf_add(w->b, held(&e->logprobs).p, e->logprobs.len);
	jsonw_close(w, ']');
}

/* The open part with the text it has by now. */
void
encoder_put_content(struct encoder *e, struct jsonw *w)
{
	bool refusal = e->meta->kind == PART_REFUSAL;

	jsonw_open(w, '{');
	jsonw_m_cstr(w, "type", refusal ? "refusal" : "output_text");
	jsonw_m_text(w, refusal ? "refusal" : "text", held(&e->text));
	if (!refusal)
		put_lists(e, w);
	jsonw_close(w, '}');
}

/* The open item, whose text and contents are what the buffers hold. */
static void
put_item(struct encoder *e, struct jsonw *w, const char *status)
{
	struct responses_writer rw = {.w = w,
	    .ctx = &e->ctx,
	    .answer = true,
	    .encrypted = e->encrypted,
	    .status = status,
	    .items = e->items};
	struct canon_part thought;

	switch (e->item) {
	case ITEM_MESSAGE:
		responses_put_message_open(&rw, e->first, ROLE_ASSISTANT);
		jsonw_m_open(w, "content", '[');
		buf_add(w->b, held(&e->content).p, e->content.len);
		jsonw_close(w, ']');
		responses_put_item_extras(w, &e->first->src);
		jsonw_close(w, '}');
		break;
	case ITEM_CALL:
		responses_put_call(&rw, e->first, held(&e->text));
		break;
	case ITEM_REASONING:
		thought = *e->first;
		thought.summary = NULL;
		thought.sign.data = e->sign;
		if (strcmp(status, "in_progress") == 0)
			rw.status = "completed";
		responses_put_reasoning(&rw, &thought, held(&e->text));
		break;
	default:
		jsonw_lit(w, "null");
		break;
	}
}

/* An item that is told twice, in its done event and at the end, is written once. */
struct span
encoder_keep_item(struct encoder *e,
    void (*put)(struct encoder *e, struct jsonw *w, const char *status), const char *status)
{
	struct jsonw w = {.b = &e->output, .comma = e->output.len > 0};
	size_t at = e->output.len + (w.comma ? 1 : 0);

	put(e, &w, status);
	e->broken = e->broken || !buf_ok(&e->output) || at > e->output.len;
	return e->broken ? span_of("null") : (struct span){e->output.data + at, e->output.len - at};
}

void
encoder_item_done(struct encoder *e, struct buf *out, struct span item)
{
	struct jsonw w = encoder_event_open(e, out, "response.output_item.done");

	jsonw_m_u64(&w, "output_index", e->items);
	jsonw_m_raw(&w, "item", item);
	encoder_event_close(e, &w);
	e->items++;
}

void
encoder_item_close(struct encoder *e, struct buf *out, const char *status)
{
	if (e->item == ITEM_NONE)
		return;
	encoder_item_done(e, out, encoder_keep_item(e, put_item, status));
	e->item = ITEM_NONE;
	e->open = false;
}

static void
item_added(struct encoder *e, struct buf *out)
{
	struct jsonw w = encoder_event_open(e, out, "response.output_item.added");

	jsonw_m_u64(&w, "output_index", e->items);
	jsonw_name(&w, "item");
	put_item(e, &w, "in_progress");
	encoder_event_close(e, &w);
}

void
encoder_item_open(
    struct encoder *e, struct buf *out, enum item_kind kind, const struct canon_part *meta)
{
	encoder_item_close(e, out, "completed");
	e->item = kind;
	e->first = meta;
	e->item_id = responses_item_id(&e->ctx, meta, e->items);
	e->contents = 0;
	e->sign = (struct span){NULL, 0};
	buf_reset(&e->content);
	buf_reset(&e->text);
	item_added(e, out);
}
