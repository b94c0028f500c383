/*
 * The Responses dialect. The first byte picks what the rest is: 0 a request, 1 an answer, else the
 * events of a stream, one a line. What was decoded is encoded. A request that is decoded again
 * gives the same bytes; whatever comes out is JSON; a stream ends once.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/dialect.h"
#include "proto/profile.h"
#include "proto/scan.h"
#include "proto/serial.h"
#include "shared/err.h"

#define CEILING (64u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dialect *const d = &dialect_responses;

static void
must_be_json(const struct buf *b)
{
	size_t at;

	if (scan_check(b->data, b->len, &at) != 0)
		abort();
}

static struct canon_request *
ask(struct arena *a, struct span body)
{
	struct decode_request q = {.arena = a, .body = body};
	struct canon_request *out = NULL;
	struct canon_error err = {0};
	int r = d->decode_request(&q, &out, &err);

	if (r == E_DENIED) {
		struct buf b = BUF_INIT(CEILING);

		if (d->encode_error(&err, (struct span){"", 0}, &b) != 0 ||
		    d->error_status(&err) < 400)
			abort();
		must_be_json(&b);
		buf_clear(&b);
	}
	return r == 0 ? out : NULL;
}

static struct canon_request *
ask_usual(struct arena *a)
{
	static const char body[] =
	    "{\"model\":\"m\",\"input\":\"x\",\"include\":[\"reasoning.encrypted_content\"]}";
	struct canon_request *q = ask(a, (struct span){body, sizeof body - 1});

	if (q == NULL)
		abort();
	return q;
}

static void
request(struct arena *a, struct span text)
{
	struct buf once = BUF_INIT(CEILING), twice = BUF_INIT(CEILING);
	struct profile p;
	struct encode_ctx ctx = {.arena = a, .profile = &p};
	struct canon_request *q = ask(a, text), *again;

	profile_init(&p, DIALECT_RESPONSES);
	if (q != NULL) {
		ctx.model = q->model;
		if (d->encode_request(q, &ctx, &once) != 0)
			abort();
		must_be_json(&once);
		if ((again = ask(a, (struct span){once.data, once.len})) == NULL ||
		    d->encode_request(again, &ctx, &twice) != 0 || once.len != twice.len ||
		    memcmp(once.data, twice.data, once.len) != 0)
			abort();
	}
	buf_clear(&once);
	buf_clear(&twice);
}

static void
answer(struct arena *a, struct span text)
{
	struct canon_response r;
	struct canon_error err = {0};
	struct buf out = BUF_INIT(CEILING);
	struct encode_ctx ctx = {.arena = a, .model = {"m", 1}, .now_s = 1, .asked = ask_usual(a)};

	if (d->decode_response(a, text, &r, &err) == 0) {
		if (d->encode_response(&r, &ctx, &out) != 0)
			abort();
		must_be_json(&out);
	}
	buf_clear(&out);
}

struct sink {
	void *encoder;
	struct buf *out;
	struct serial *serial;
	unsigned ends;
};

static int
write_out(void *ctx, const struct canon_event *ev)
{
	struct sink *s = ctx;

	return d->encode(s->encoder, ev, s->out);
}

static int
count(void *ctx, const struct canon_event *ev)
{
	struct sink *s = ctx;

	if (s->ends > 0)
		abort();
	if (ev->type == EVENT_END || ev->type == EVENT_FAIL)
		s->ends++;
	return serial_take(s->serial, ev);
}

/* Every event is one line of JSON, numbered from 0. */
static void
check_stream(const struct buf *b)
{
	const char *p = b->data, *end = b->data + b->len, *line;
	size_t at;

	while (p < end && (line = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		if (line - p > 6 && memcmp(p, "data: ", 6) == 0 &&
		    scan_check(p + 6, (size_t)(line - p) - 6, &at) != 0)
			abort();
		p = line + 1;
	}
	if (p != end)
		abort();
}

static void
stream(struct arena *a, struct span text)
{
	struct arena *scratch = arena_new(CEILING);
	struct buf out = BUF_INIT(CEILING);
	struct encode_ctx ctx = {.arena = a, .model = {"m", 1}, .now_s = 1, .asked = ask_usual(a)};
	struct sink s = {.encoder = d->encoder_new(a, &ctx), .out = &out};
	struct canon_sink last = {write_out, &s}, first = {count, &s};
	void *decoder = d->decoder_new(a, scratch, NULL);
	int r = 0;

	s.serial = serial_new(a, &last, CEILING);
	if (scratch == NULL || s.encoder == NULL || decoder == NULL || s.serial == NULL)
		abort();
	while (r == 0 && text.n > 0) {
		const char *line = memchr(text.p, '\n', text.n);
		size_t n = line != NULL ? (size_t)(line - text.p) : text.n;

		r = d->decode(decoder, &(struct frame){.data = {text.p, n}}, &first);
		arena_reset(scratch);
		n += line != NULL ? 1 : 0;
		text = (struct span){text.p + n, text.n - n};
	}
	if (r == 0 && d->decode_end(decoder, &first) == 0 && s.ends != 1)
		abort();
	if (out.len > 0)
		check_stream(&out);
	d->encoder_free(s.encoder);
	serial_free(s.serial);
	buf_clear(&out);
	arena_free(scratch);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new(CEILING);
	struct span text = {(const char *)data + 1, size > 0 ? size - 1 : 0};

	if (size > 0 && a != NULL) {
		if (data[0] == 0 || data[0] == '0')
			request(a, text);
		else if (data[0] == 1 || data[0] == '1')
			answer(a, text);
		else
			stream(a, text);
	}
	arena_free(a);
	return 0;
}
