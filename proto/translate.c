/*
 *   stream for a stream   framing → decoder → filters → book → [serial] → encoder → hold | out
 *   stream for a whole    framing → decoder → filters → book → collect → encode_response
 *   whole for a stream    decode_response → play → filters → book → [serial] → encoder
 *   whole for a whole     decode_response → play → filters → book → collect → encode_response
 *
 * The book (translate_book.c) knows what is known of the answer, and keeps everything back until
 * something was said.
 */
#include "proto/translate.h"

#include <string.h>

#include "proto/canon_error.h"
#include "proto/translate_own.h"
#include "shared/err.h"

#define SCRATCH_MIN (4u << 20)

/* ---- the request ---- */

struct translate *
translate_new(const struct translate_setup *s)
{
	struct translate *t = arena_zalloc(s->arena, 1, sizeof *t);

	if (t == NULL)
		return NULL;
	t->setup = *s;
	t->arena = s->arena;
	t->client = dialect_get(s->client);
	buf_init(&t->hold, s->max_response);
	buf_init(&t->body, s->max_response);
	buf_init(&t->usage_raw, s->max_event);
	return t;
}

int
translate_request(struct translate *t, const struct decode_request *q, struct canon_error *err)
{
	struct canon_request *asked = NULL;
	int r = t->client->decode_request(q, &asked, err);

	if (r == 0)
		t->asked = asked;
	return r;
}

const struct canon_request *
translate_asked(const struct translate *t)
{
	return t->asked;
}

int
translate_target(
    struct translate *t, const struct profile *p, struct span model, struct canon_error *err)
{
	struct encode_ctx *ctx = &t->ctx;

	translate_forget(t);
	t->shaped = (struct shaped){0};
	t->profile = p;
	t->upstream = dialect_get(p->dialect);
	*ctx = (struct encode_ctx){.arena = t->arena,
	    .model = model,
	    .now_s = t->setup.now_s,
	    .profile = p,
	    .asked = t->asked,
	    .array = t->setup.array};
	memcpy(ctx->seed, t->setup.seed, sizeof ctx->seed);
	t->answer = *ctx;
	t->answer.profile = NULL;
	t->answer.model = t->asked->model;
	return shape_request(t->arena, t->asked, p, model, &t->shaped, err);
}

struct shaped_media *
translate_media(const struct translate *t)
{
	return t->shaped.fetch;
}

struct span
translate_dropped(const struct translate *t)
{
	return t->shaped.dropped;
}

int
translate_body(struct translate *t, struct buf *out)
{
	return t->upstream->encode_request(t->shaped.q, &t->ctx, out);
}

/* ---- the way of an answer ---- */

/* Everything of the last answer goes. */
void
translate_forget(struct translate *t)
{
	framing_free(t->reader);
	filters_free(t->filters);
	serial_free(t->serial);
	collect_free(t->collect);
	if (t->encoder != NULL && t->client->encoder_free != NULL)
		t->client->encoder_free(t->encoder);
	arena_free(t->scratch);
	buf_clear(&t->hold);
	buf_clear(&t->body);
	buf_clear(&t->usage_raw);
	t->reader = NULL;
	t->filters = NULL;
	t->serial = NULL;
	t->collect = NULL;
	t->encoder = t->decoder = NULL;
	t->scratch = NULL;
	t->st = (struct translate_state){0};
}

void
translate_free(struct translate *t)
{
	if (t != NULL)
		translate_forget(t);
}

const struct translate_state *
translate_state(const struct translate *t)
{
	return &t->st;
}

/* From the filters on. */
static int
open_filters(struct translate *t)
{
	const struct canon_sink book = {book_take, t};

	t->filters = filters_new(
	    t->arena, &t->shaped, t->asked, t->setup.client, t->upstream->id, t->setup.seed, &book);
	return t->filters != NULL ? 0 : E_NOMEM;
}

static int
open_encoder(struct translate *t)
{
	const struct canon_sink last = {book_encode, t};

	if ((t->encoder = t->client->encoder_new(t->arena, &t->answer)) == NULL)
		return E_NOMEM;
	t->next = last;
	if (t->client->sequential) {
		if ((t->serial = serial_new(t->arena, &last, t->setup.max_response)) == NULL)
			return E_NOMEM;
		t->next = (struct canon_sink){serial_take, t->serial};
	}
	return open_filters(t);
}

static int
open_collect(struct translate *t)
{
	if ((t->collect = collect_new(t->arena, t->setup.max_response)) == NULL)
		return E_NOMEM;
	t->next = (struct canon_sink){collect_take, t->collect};
	return open_filters(t);
}

static int
open_decoder(struct translate *t, enum framing framing)
{
	size_t room = t->setup.max_event > SIZE_MAX / 8 ? SIZE_MAX : t->setup.max_event * 8;

	t->scratch = arena_new(MAX(room, SCRATCH_MIN));
	t->reader = framing_new(t->arena, framing, t->setup.max_event);
	if (t->scratch == NULL || t->reader == NULL)
		return E_NOMEM;
	t->decoder = t->upstream->decoder_new(t->arena, t->scratch, t->profile);
	return t->decoder != NULL ? 0 : E_NOMEM;
}

static bool
is_over(const struct translate *t)
{
	return t->st.ended || t->st.failed;
}

static int
fail(struct translate *t, const char *code, const char *message)
{
	const struct canon_error e = {.class = ERROR_SERVER,
	    .status = 502,
	    .code = span_of(code),
	    .message = span_of(message)};
	const struct canon_event ev = {.type = EVENT_FAIL, .error = &e};

	return is_over(t) ? 0 : book_take(t, &ev);
}

/* What is wrong with the answer ends it; no memory is the caller's business. */
static int
settle(struct translate *t, int r)
{
	switch (r) {
	case 0:
	case E_NOMEM:
		return r;
	case E_TOO_LONG:
		return fail(
		    t, "upstream_too_large", "The provider's answer is larger than its limit");
	default:
		return fail(t, "upstream_malformed", "The provider's answer is malformed");
	}
}

static int
frames(struct translate *t)
{
	const struct canon_sink sink = {filters_take, t->filters};
	const struct canon_event end = {.type = EVENT_END};
	struct frame f;
	int r = 0, n;

	while (r == 0 && !is_over(t) && (n = framing_next(t->reader, &f)) != 0) {
		if (n < 0)
			return n;
		r = t->upstream->decode(t->decoder, &f, &sink);
		arena_reset(t->scratch);
		if (r == 0 && filters_cut(t->filters) && !is_over(t)) {
			t->st.cut = true;
			r = filters_take(t->filters, &end);
		}
	}
	return r;
}

/* End of input. */
static int
frames_end(struct translate *t)
{
	const struct canon_sink sink = {filters_take, t->filters};
	int r = framing_end(t->reader);

	if (r == 0)
		r = frames(t);
	if (r == 0 && !is_over(t))
		r = t->upstream->decode_end(t->decoder, &sink);
	if (r == 0)
		r = fail(
		    t, "upstream_stream_cut", "The provider's answer ended before it was complete");
	return r;
}

/* A whole body as events. */
static int
play_body(struct translate *t, struct span body, bool sliced, struct canon_response *r)
{
	const struct canon_sink sink = {filters_take, t->filters};
	struct canon_error err = {.class = ERROR_SERVER};
	const struct canon_event ev = {.type = EVENT_FAIL, .error = &err};
	int e = t->upstream->decode_response(t->arena, body, r, &err);

	if (e == E_DENIED)
		return book_take(t, &ev);
	if (e != 0)
		return e == E_NOMEM ? e : E_SYNTAX;
	filters_whole(t->filters);
	if ((e = play(t->arena, r, sliced, &sink)) != 0)
		return e;
	return fail(t, "upstream_stream_cut", "The provider's answer ended before it was complete");
}

/* ---- whole answers ---- */

/* The events have no place for what stood around the parts; it is put back for its own dialect. */
static void
restore(struct canon_response *out, const struct canon_response *in)
{
	out->from = in->from;
	out->root = in->root;
	out->service_tier = in->service_tier;
	out->src = in->src;
	for (struct canon_choice *c = out->choices; c != NULL; c = c->next)
		for (const struct canon_choice *k = in->choices; k != NULL; k = k->next)
			if (k->index == c->index) {
				c->src = k->src;
				c->message = k->message;
				break;
			}
}

static int
read_whole(struct translate *t, struct span body, int framing, struct canon_response *r)
{
	int e;

	if (framing == WHOLE)
		return play_body(t, body, false, r);
	if ((e = open_decoder(t, (enum framing)framing)) == 0)
		e = framing_feed(t->reader, body.p, body.n);
	if (e == 0)
		e = frames(t);
	return e == 0 ? frames_end(t) : e;
}

int
translate_whole(
    struct translate *t, struct span body, int framing, struct buf *out, struct canon_error *err)
{
	struct canon_response decoded = {.from = t->upstream->id}, r;
	int e;

	translate_forget(t);
	e = open_collect(t);
	if (e == 0)
		e = settle(t, read_whole(t, body, framing, &decoded));
	if (e != 0)
		return e;
	if (t->st.failed) {
		*err = t->st.error;
		return E_DENIED;
	}
	if ((e = collect_end(t->collect, &r, err)) != 0)
		return e;
	restore(&r, &decoded);
	if ((e = t->client->encode_response(&r, &t->answer, out)) == 0)
		t->st.begun = true;
	return e;
}

/* ---- streams ---- */

int
translate_open(struct translate *t, int framing)
{
	int r;

	translate_forget(t);
	r = open_encoder(t);
	if (r == 0 && framing != WHOLE)
		r = open_decoder(t, (enum framing)framing);
	return r;
}

int
translate_take(struct translate *t, const char *p, size_t n, struct buf *out)
{
	int r;

	if (is_over(t) || n == 0)
		return 0;
	t->out = out;
	if (t->reader == NULL)
		return settle(t, buf_add(&t->body, p, n));
	r = framing_feed(t->reader, p, n);
	return settle(t, r == 0 ? frames(t) : r);
}

int
translate_end(struct translate *t, struct buf *out)
{
	const struct span body = {t->body.data, t->body.len};
	struct canon_response decoded = {.from = t->upstream->id};

	if (is_over(t))
		return 0;
	t->out = out;
	if (t->reader == NULL)
		return settle(t, play_body(t, body, true, &decoded));
	return settle(t, frames_end(t));
}

int
translate_fail(struct translate *t, const struct canon_error *e, struct buf *out)
{
	const struct canon_event ev = {.type = EVENT_FAIL, .error = e};

	if (is_over(t))
		return 0;
	t->out = out;
	return book_take(t, &ev);
}

int
translate_idle(struct translate *t, struct buf *out)
{
	const struct canon_event ev = {.type = EVENT_IDLE};

	if (!t->st.begun || is_over(t))
		return 0;
	return t->client->encode(t->encoder, &ev, out);
}

int
translate_begin(struct translate *t, struct buf *out)
{
	if (t->st.begun || is_over(t))
		return 0;
	t->out = out;
	if (book_release(t) != 0)
		return E_NOMEM;
	return translate_idle(t, out);
}
