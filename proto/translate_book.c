/* What is known of an answer, and what of it may go to the client by now (spec 18.7). */
#include <string.h>

#include "proto/tokens.h"
#include "proto/translate_own.h"
#include "shared/err.h"

int
book_release(struct translate *t)
{
	int r = 0;

	t->st.begun = true;
	if (t->hold.len > 0)
		r = buf_add(t->out, t->hold.data, t->hold.len);
	buf_clear(&t->hold);
	return r;
}

int
book_encode(void *translate, const struct canon_event *ev)
{
	struct translate *t = translate;

	if (ev->type == EVENT_FAIL && !t->st.failed) { /* found on the way here */
		t->st.failed = true;
		t->st.error = *ev->error;
	}
	return t->client->encode(t->encoder, ev, t->st.begun ? t->out : &t->hold);
}

/* ---- usage ---- */

static int
note_usage(struct translate *t, const struct canon_usage *u)
{
	int r;

	canon_usage_merge(&t->st.usage, u);
	if (u->raw.p == NULL)
		return 0;
	buf_reset(&t->usage_raw);
	if ((r = buf_add(&t->usage_raw, u->raw.p, u->raw.n)) != 0)
		return r;
	t->st.usage.raw = (struct span){t->usage_raw.data, t->usage_raw.len};
	return 0;
}

static void
estimate(struct translate *t, struct canon_usage *u)
{
	if (!u->has_in) {
		u->in_total = tokens_request(t->asked, t->upstream->id);
		u->has_in = u->estimated = true;
	}
}

static int
send_usage(struct translate *t)
{
	const struct canon_event ev = {.type = EVENT_USAGE, .usage = &t->st.usage};

	return t->next.take(t->next.ctx, &ev);
}

/* Where the provider said nothing, before the ends go out. */
static int
complete_usage(struct translate *t)
{
	struct canon_usage *u = &t->st.usage;

	if (u->has_in && u->has_out)
		return 0;
	estimate(t, u);
	if (!u->has_out) {
		u->out_total = (t->st.text_bytes + 3) / 4;
		u->has_out = u->estimated = true;
	}
	return send_usage(t);
}

/* ---- events ---- */

/* Clients of Messages read the size of the context from the first event. */
static int
take_begin(struct translate *t, const struct canon_event *in)
{
	struct canon_event ev = *in;
	struct canon_usage early;
	int r = in->usage != NULL ? note_usage(t, in->usage) : 0;

	if (r != 0)
		return r;
	early = t->st.usage;
	if (t->setup.client == DIALECT_MESSAGES)
		estimate(t, &early);
	ev.usage = &early;
	return t->next.take(t->next.ctx, &ev);
}

/* Before anything was said the failure is the caller's to handle: another target may do better. */
static int
take_fail(struct translate *t, const struct canon_event *ev)
{
	struct canon_error *e = &t->st.error;

	t->st.failed = true;
	*e = *ev->error;
	if (canon_keep(t->arena, &e->message) != 0 || canon_keep(t->arena, &e->code) != 0 ||
	    canon_keep(t->arena, &e->param) != 0)
		return E_NOMEM;
	return t->st.begun && t->encoder != NULL ? t->next.take(t->next.ctx, ev) : 0;
}

static int
take_finish(struct translate *t, const struct canon_event *ev)
{
	int r = complete_usage(t);

	t->st.finished = true;
	t->st.finish = *ev->finish;
	return r == 0 ? t->next.take(t->next.ctx, ev) : r;
}

int
book_take(void *translate, const struct canon_event *ev)
{
	struct translate *t = translate;
	int r;

	if (t->st.ended || t->st.failed)
		return 0;
	switch (ev->type) {
	case EVENT_BEGIN:
		return take_begin(t, ev);
	case EVENT_USAGE:
		r = note_usage(t, ev->usage);
		return r == 0 ? send_usage(t) : r;
	case EVENT_FAIL:
		return take_fail(t, ev);
	case EVENT_LOGPROBS:
	case EVENT_IDLE:
		return t->next.take(t->next.ctx, ev);
	case EVENT_FINISH:
		r = take_finish(t, ev);
		break;
	case EVENT_END:
		r = t->next.take(t->next.ctx, ev);
		t->st.ended = r == 0 && !t->st.failed;
		break;
	case EVENT_DELTA:
		t->st.text_bytes += ev->text.n;
		t->st.useful = true;
		r = t->next.take(t->next.ctx, ev);
		break;
	default:
		t->st.useful = true;
		r = t->next.take(t->next.ctx, ev);
		break;
	}
	/* an end without a word is an answer, too: the filters have seen to that */
	if (r == 0 && t->encoder != NULL && !t->st.begun)
		r = book_release(t);
	return r;
}
