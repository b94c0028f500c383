/*
 * The Gemini dialect: byte 0 picks request, answer or stream; the rest is what came. What was
 * understood is written, and what was written is understood and written again: the same bytes. A
 * stream is cut into frames at each byte 0x1e.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/dialect.h"
#include "proto/framing.h"
#include "proto/profile.h"
#include "proto/scan.h"
#include "shared/err.h"

#define MEMORY_MAX ((size_t)512 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dialect *const d = &dialect_gemini;

static void
must(bool yes)
{
	if (!yes)
		abort();
}

static bool
is_json(const struct buf *b)
{
	return scan_check(b->data, b->len, NULL) == 0;
}

/* Decodes and encodes; false: it was refused, which has to say why. */
static bool
request_once(struct arena *a, struct span body, struct encode_ctx *ctx, struct buf *out)
{
	struct decode_request in = {.arena = a, .body = body, .model = span_of("gemini-3-pro")};
	struct canon_request *q = NULL;
	struct canon_error err = {0};
	int r = d->decode_request(&in, &q, &err);

	if (r != 0) {
		must(r != E_DENIED || err.message.n > 0);
		return false;
	}
	r = d->encode_request(q, ctx, out);
	must(r != 0 || is_json(out));
	return r == 0;
}

static bool
answer_once(struct arena *a, struct span body, struct encode_ctx *ctx, struct buf *out)
{
	struct canon_response resp = {0};
	struct canon_error err = {0};
	int r = d->decode_response(a, body, &resp, &err);

	if (r != 0) {
		must(r != E_DENIED || err.message.n > 0);
		return false;
	}
	must(resp.choices != NULL);
	r = d->encode_response(&resp, ctx, out);
	must(r != 0 || is_json(out));
	return r == 0;
}

struct stream {
	void *encoder;
	struct buf *out;
	bool ended, finished;
	uint32_t parts, open;
};

static int
take(void *ctx, const struct canon_event *ev)
{
	struct stream *s = ctx;

	must(!s->ended);
	if (ev->type == EVENT_OPEN)
		must(ev->part == s->parts++ && ev->meta != NULL);
	s->open += (uint32_t)(ev->type == EVENT_OPEN) - (uint32_t)(ev->type == EVENT_CLOSE);
	must(ev->type != EVENT_FINISH || ev->finish->reason != FINISH_UNKNOWN);
	must(ev->type != EVENT_END || s->open == 0);
	s->ended = ev->type == EVENT_END || ev->type == EVENT_FAIL;
	return d->encode(s->encoder, ev, s->out);
}

static void
stream_once(struct arena *a, struct span text, struct encode_ctx *ctx, struct buf *out)
{
	struct arena *scratch = arena_new(MEMORY_MAX);
	struct profile p;
	struct stream s = {.encoder = d->encoder_new(a, ctx), .out = out};
	struct canon_sink sink = {.take = take, .ctx = &s};
	int r = 0;

	profile_init(&p, DIALECT_GEMINI);
	void *state = d->decoder_new(a, scratch, &p);
	while (text.n > 0 && r == 0) {
		const char *cut = memchr(text.p, 0x1e, text.n);
		size_t n = cut != NULL ? (size_t)(cut - text.p) : text.n;
		/* a copy of its own, gone behind the frame */
		char *copy = malloc(n + 1);
		struct frame f = {.data = {copy, n}};

		memcpy(copy, text.p, n);
		r = d->decode(state, &f, &sink);
		free(copy);
		arena_reset(scratch);
		n += cut != NULL;
		text = (struct span){text.p + n, text.n - n};
	}
	if (r == 0 && (r = d->decode_end(state, &sink)) == 0)
		must(s.ended);
	d->encoder_free(s.encoder);
	must(ctx->array == false || r != 0 || is_json(out));
	arena_free(scratch);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(MEMORY_MAX);
	struct buf one = BUF_INIT(64u << 20), two = BUF_INIT(64u << 20);
	struct canon_request *asked = canon_request_new(a, DIALECT_GEMINI);
	struct profile p;
	struct encode_ctx ctx = {.arena = a, .model = span_of("m"), .profile = &p, .asked = asked};
	struct span body = {(const char *)data + 1, size - 1};
	bool (*once)(struct arena *, struct span, struct encode_ctx *, struct buf *) =
	    size > 0 && data[0] % 4 == 1 ? answer_once : request_once;

	profile_init(&p, DIALECT_GEMINI);
	asked->reasoning.show = SHOW_FULL;
	if (size > 0 && data[0] % 4 >= 2) {
		ctx.array = data[0] % 4 == 3;
		stream_once(a, body, &ctx, &one);
	} else if (size > 0 && once(a, body, &ctx, &one)) {
		must(once(a, (struct span){one.data, one.len}, &ctx, &two));
		must(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
	}
	buf_clear(&one);
	buf_clear(&two);
	arena_free(a);
	return 0;
}
