/*
 * The Chat dialect. The first byte chooses: a request, a prompt of /v1/completions, an answer, a
 * stream (a frame on each line). Whatever was decoded is encoded; what was encoded is JSON, is
 * decoded again, and from the second time on gives the same
 * bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/dialect.h"
#include "proto/profile.h"
#include "proto/scan.h"

#define ARENA_MAX (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dialect *const d = &dialect_chat;

struct run {
	struct arena *a, *scratch;
	struct profile profile;
	struct encode_ctx ctx;
	struct canon_request *asked;
	struct canon_error err;
};

static void
run_open(struct run *r)
{
	memset(r, 0, sizeof *r);
	if ((r->a = arena_new(ARENA_MAX)) == NULL || (r->scratch = arena_new(ARENA_MAX)) == NULL)
		abort();
	profile_init(&r->profile, DIALECT_CHAT);
	if ((r->asked = canon_request_new(r->a, DIALECT_CHAT)) == NULL)
		abort();
	r->ctx = (struct encode_ctx){
	    .arena = r->a, .model = span_of("m"), .profile = &r->profile, .asked = r->asked};
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
request(struct run *r, struct span body, bool completion, struct buf *out)
{
	struct decode_request in = {.arena = r->a, .body = body, .completion = completion};
	struct canon_request *q;

	if (d->decode_request(&in, &q, &r->err) != 0 || d->encode_request(q, &r->ctx, out) != 0)
		return false;
	must_be_json(out);
	return true;
}

static bool
answer(struct run *r, struct span body, struct buf *out)
{
	struct canon_response resp;

	if (d->decode_response(r->a, body, &resp, &r->err) != 0 ||
	    d->encode_response(&resp, &r->ctx, out) != 0)
		return false;
	must_be_json(out);
	return true;
}

struct sink_state {
	void *encoder;
	struct buf *out;
	unsigned ends;
};

static int
take(void *ctx, const struct canon_event *ev)
{
	struct sink_state *s = ctx;

	if (s->ends > 0)
		abort(); /* nothing comes behind an end */
	s->ends += ev->type == EVENT_END || ev->type == EVENT_FAIL;
	return d->encode(s->encoder, ev, s->out);
}

static void
stream(struct run *r, struct span text, struct buf *out)
{
	struct sink_state s = {.encoder = d->encoder_new(r->a, &r->ctx), .out = out};
	struct canon_sink sink = {take, &s};
	void *decoder = d->decoder_new(r->a, r->scratch, &r->profile);
	int e = 0;

	if (s.encoder == NULL || decoder == NULL)
		abort();
	while (text.n > 0 && e == 0) {
		const char *nl = memchr(text.p, '\n', text.n);
		size_t n = nl != NULL ? (size_t)(nl - text.p) : text.n;
		struct frame f = {.data = {text.p, n}};

		e = d->decode(decoder, &f, &sink);
		arena_reset(r->scratch);
		text.p += nl != NULL ? n + 1 : n;
		text.n -= nl != NULL ? n + 1 : n;
	}
	if (d->decode_end(decoder, &sink) == 0 && e == 0 && s.ends != 1)
		abort(); /* one end, always */
	if (d->encoder_free != NULL)
		d->encoder_free(s.encoder);
}

static bool
once(struct run *r, unsigned what, struct span body, struct buf *out)
{
	if (what == 2)
		return answer(r, body, out);
	return request(r, body, what == 1, out);
}

/* Encodes `from` into `to`, with the same request behind it. */
static bool
round_trip(unsigned what, unsigned flags, struct span from, struct buf *to)
{
	struct run r;
	bool done = true;

	run_open(&r);
	r.asked->stream_usage = (flags & 4) != 0;
	r.asked->legacy_functions = (flags & 8) != 0;
	r.asked->legacy_completion = (flags & 16) != 0;
	if (what == 3)
		stream(&r, from, to);
	else
		done = once(&r, what, from, to);
	run_close(&r);
	return done;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf x = BUF_INIT(ARENA_MAX), y = BUF_INIT(ARENA_MAX), z = BUF_INIT(ARENA_MAX);
	unsigned flags = size > 0 ? data[0] : 0, what = flags % 4;

	if (size == 0)
		return 0;
	/* the first encoding may fill in what was left out; from the second on nothing changes */
	if (round_trip(what, flags, (struct span){(const char *)data + 1, size - 1}, &x) &&
	    (what == 0 || what == 2) && (flags & 24) == 0 &&
	    (!round_trip(what, flags, (struct span){x.data, x.len}, &y) ||
		!round_trip(what, flags, (struct span){y.data, y.len}, &z) || y.len != z.len ||
		memcmp(y.data, z.data, y.len) != 0))
		abort();
	buf_clear(&x);
	buf_clear(&y);
	buf_clear(&z);
	return 0;
}
