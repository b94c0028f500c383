/*
 * The Messages dialect. The first byte chooses: a request, an answer, a stream (a frame on each
 * line), the same in the frames of Bedrock. Whatever was decoded is encoded, and what was encoded
 * stays the same for ever.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/dialect.h"
#include "proto/profile.h"
#include "proto/scan.h"
#include "proto/serial.h"
#include "proto/sse.h"
#include "shared/digest.h"

#define ARENA_MAX (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dialect *const d = &dialect_messages;

struct run {
	struct arena *a, *scratch;
	struct profile profile;
	struct encode_ctx ctx;
	struct canon_error err;
};

static void
run_open(struct run *r)
{
	memset(r, 0, sizeof *r);
	if ((r->a = arena_new(ARENA_MAX)) == NULL || (r->scratch = arena_new(ARENA_MAX)) == NULL)
		abort();
	profile_init(&r->profile, DIALECT_MESSAGES);
	r->ctx = (struct encode_ctx){.arena = r->a, .model = span_of("m"), .profile = &r->profile};
	if ((r->ctx.asked = canon_request_new(r->a, DIALECT_MESSAGES)) == NULL)
		abort();
}

static void
run_close(struct run *r)
{
	arena_free(r->a);
	arena_free(r->scratch);
}

static void
must_be_json(const struct buf *b)
{
	size_t at;

	if (scan_check(b->data, b->len, &at) != 0)
		abort();
}

static bool
request(struct run *r, struct span body, struct buf *out)
{
	struct decode_request in = {.arena = r->a, .body = body, .betas = span_of(body.n % 2 == 0 ? "a, b" : NULL)};
	struct canon_request *q;
	int e = d->decode_request(&in, &q, &r->err);

	if (e != 0) {
		if (d->encode_error(&r->err, span_of("req"), out) != 0)
			abort();
		must_be_json(out);
		return false;
	}
	if (d->encode_request(q, &r->ctx, out) != 0)
		return false;
	must_be_json(out);
	return true;
}

static bool
answer(struct run *r, struct span body, struct buf *out)
{
	struct canon_response answer;

	if (d->decode_response(r->a, body, &answer, &r->err) != 0 ||
	    d->encode_response(&answer, &r->ctx, out) != 0)
		return false;
	must_be_json(out);
	return true;
}

static void
twice(struct run *r, struct span body, bool (*one)(struct run *, struct span, struct buf *))
{
	struct buf first = BUF_INIT(ARENA_MAX), second = BUF_INIT(ARENA_MAX);

	if (one(r, body, &first)) {
		if (!one(r, (struct span){first.data, first.len}, &second) ||
		    first.len != second.len || memcmp(first.data, second.data, first.len) != 0)
			abort();
	}
	buf_clear(&first);
	buf_clear(&second);
}

/* ---- streams ---- */

struct stream {
	void *encoder;
	struct buf out;
	bool began, ended, failed;
	uint32_t parts;
};

static int
encode(void *ctx, const struct canon_event *ev)
{
	struct stream *s = ctx;

	s->ended = s->ended || ev->type == EVENT_END;
	s->failed = s->failed || ev->type == EVENT_FAIL;
	return d->encode(s->encoder, ev, &s->out);
}

/* The events are those that canon.h promises. */
static int
check(void *ctx, const struct canon_event *ev)
{
	struct stream *s = ctx;

	if (s->ended || s->failed ||
	    (!s->began && ev->type != EVENT_BEGIN && ev->type != EVENT_FAIL) ||
	    (s->began && ev->type == EVENT_BEGIN) ||
	    (ev->type == EVENT_OPEN && ev->part != s->parts) ||
	    ((ev->type == EVENT_DELTA || ev->type == EVENT_CLOSE) && ev->part >= s->parts))
		abort();
	s->began = true;
	s->parts += ev->type == EVENT_OPEN;
	s->ended = ev->type == EVENT_END;
	s->failed = ev->type == EVENT_FAIL;
	return 0;
}

struct both {
	struct canon_sink one, two;
};

static int
take_both(void *ctx, const struct canon_event *ev)
{
	struct both *b = ctx;
	int e = b->one.take(b->one.ctx, ev);

	return e != 0 ? e : b->two.take(b->two.ctx, ev);
}

/* What a client was sent is a stream that can be read, and its end is the end. */
static void
read_back(struct run *r, const struct stream *sent)
{
	struct stream seen = {0};
	struct canon_sink sink = {check, &seen};
	void *decoder = d->decoder_new(r->a, r->scratch, &r->profile);
	struct sse *s = sse_new(r->a, ARENA_MAX);
	struct sse_event ev;

	if (decoder == NULL || s == NULL || sse_feed(s, sent->out.data, sent->out.len) != 0)
		abort();
	while (sse_next(s, &ev) == SSE_EVENT) {
		struct frame f = {.type = ev.event, .data = ev.data};
		if (d->decode(decoder, &f, &sink) != 0)
			abort();
		arena_reset(r->scratch);
	}
	if (d->decode_end(decoder, &sink) != 0 ||
	    (sent->ended && !sent->failed && !seen.ended && !seen.failed))
		abort();
	if (seen.ended && !sent->ended)
		abort();
	sse_free(s);
}

static void
stream(struct run *r, const char *p, size_t n, bool chunks)
{
	struct stream sent = {.out = BUF_INIT(ARENA_MAX)}, seen = {0};
	struct canon_sink encoder = {encode, &sent};
	struct serial *serial = serial_new(r->a, &encoder, 1u << 20);
	struct both both = {{check, &seen}, {serial_take, serial}};
	struct canon_sink sink = {take_both, &both};
	void *decoder = d->decoder_new(r->a, r->scratch, &r->profile);
	const char *end = p + n;
	int e = 0;

	sent.encoder = d->encoder_new(r->a, &r->ctx);
	if (serial == NULL || decoder == NULL || sent.encoder == NULL)
		abort();
	while (p < end && e == 0) {
		const char *line = memchr(p, '\n', (size_t)(end - p)),
			   *stop = line != NULL ? line : end;
		struct frame f = {.data = {p, (size_t)(stop - p)}};
		struct buf chunk = BUF_INIT(ARENA_MAX);
		if (chunks) {
			buf_str(&chunk, "{\"bytes\":\"");
			if (f.data.n > 0 && base64_encode(&chunk, f.data.p, f.data.n) != 0)
				abort();
			buf_str(&chunk, "\"}");
			f = (struct frame){
			    .type = span_of("chunk"), .data = {chunk.data, chunk.len}};
		}
		e = d->decode(decoder, &f, &sink);
		buf_clear(&chunk);
		arena_reset(r->scratch);
		p = line != NULL ? line + 1 : end;
	}
	if (e == 0)
		e = d->decode_end(decoder, &sink);
	if (e == 0 && sent.out.len > 0)
		read_back(r, &sent);
	serial_free(serial);
	buf_clear(&sent.out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run r;
	struct span body;

	if (size < 2)
		return 0;
	body = (struct span){(const char *)data + 1, size - 1};
	run_open(&r);
	switch (data[0] % 4) {
	case 0:
		twice(&r, body, request);
		break;
	case 1:
		twice(&r, body, answer);
		break;
	case 2:
		stream(&r, body.p, body.n, false);
		break;
	default:
		stream(&r, body.p, body.n, true);
		break;
	}
	run_close(&r);
	return 0;
}
