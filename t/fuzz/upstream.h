/*
 * What the fuzz targets of the dialects that only upstreams speak have in common. Byte 0 picks what is done with the rest:
 *
 *   0  a request: decoded and encoded, twice: the second time nothing changes; then as if it came from elsewhere
 *   1  an answer: the same
 *   2  a stream: wherever it is cut the same events, and they keep the order that canon.h demands; encoded
 *      again it ends as it did
 */
#ifndef OMNIROUTE_T_FUZZ_UPSTREAM_H
#define OMNIROUTE_T_FUZZ_UPSTREAM_H

#include <stdlib.h>
#include <string.h>

#include "proto/dialect.h"
#include "proto/framing.h"
#include "proto/profile.h"
#include "proto/scan.h"
#include "shared/err.h"

#define ROOM ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void
must(bool is)
{
	if (!is)
		abort();
}

/* ---- requests and answers ---- */

static inline bool
request_once(struct arena *a, const struct dialect *d, struct span body, struct canon_request **q,
    struct buf *out)
{
	struct decode_request in = {.arena = a, .body = body, .model = {"m", 1}};
	struct profile p;
	struct encode_ctx ctx = {
	    .arena = a, .model = {"us.anthropic.claude-sonnet-4-5", 30}, .profile = &p};
	struct canon_error err = {0};
	int r;

	profile_init(&p, d->id);
	if ((r = d->decode_request(&in, q, &err)) != 0) {
		must(r != E_DENIED || err.message.n > 0);
		return false;
	}
	ctx.asked = *q;
	must(d->encode_request(*q, &ctx, out) == 0);
	must(scan_check(out->data, out->len, NULL) == 0);
	return true;
}

static inline bool
answer_once(struct arena *a, const struct dialect *d, struct span body, struct buf *out)
{
	struct encode_ctx ctx = {.arena = a, .model = {"m", 1}, .now_s = 1700000000};
	struct canon_response resp = {0};
	struct canon_error err = {0};
	int r = d->decode_response(a, body, &resp, &err);

	if (r != 0) {
		must(r != E_DENIED || err.message.n > 0);
		return false;
	}
	must(d->encode_response(&resp, &ctx, out) == 0);
	must(scan_check(out->data, out->len, NULL) == 0);
	return true;
}

static inline void
forget_parts(struct canon_parts *parts)
{
	struct canon_part *p;

	TAILQ_FOREACH (p, parts, link) {
		canon_source_init(&p->src, DIALECT_NONE);
		p->raw = (struct span){NULL, 0};
		forget_parts(&p->content);
	}
}

/* As if another dialect had been its source. */
static inline void
forget(struct canon_request *q)
{
	struct canon_turn *t;
	struct canon_tool *tool;

	q->from = DIALECT_CHAT;
	canon_source_init(&q->src, DIALECT_CHAT);
	TAILQ_FOREACH (t, &q->turns, link) {
		canon_source_init(&t->src, DIALECT_NONE);
		forget_parts(&t->parts);
	}
	TAILQ_FOREACH (tool, &q->tools, link)
		canon_source_init(&tool->src, DIALECT_NONE);
}

static inline void
fuzz_body(const struct dialect *d, struct span body, bool answer)
{
	struct arena *a = arena_new(ROOM);
	struct buf one = {.max = ROOM}, two = {.max = ROOM}, foreign = {.max = ROOM};
	struct canon_request *q = NULL;
	struct encode_ctx ctx = {.arena = a, .model = {"m", 1}};
	bool ok = answer ? answer_once(a, d, body, &one) : request_once(a, d, body, &q, &one);

	if (ok) {
		struct span again = {one.data, one.len};
		must(answer ? answer_once(a, d, again, &two) : request_once(a, d, again, &q, &two));
		must(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
	}
	if (ok && !answer) {
		forget(q);
		must(d->encode_request(q, &ctx, &foreign) == 0);
		must(scan_check(foreign.data, foreign.len, NULL) == 0);
	}
	buf_clear(&one);
	buf_clear(&two);
	buf_clear(&foreign);
	arena_free(a);
}

/* ---- streams ---- */

#define PARTS 4096

struct watch {
	struct buf text;              /* the events, written down */
	const struct dialect *encode; /* NULL: they are not encoded again */
	void *encoder;
	struct buf out;
	bool begun, over, failed, full;
	uint8_t part[PARTS]; /* 1 open, 2 closed */
	uint32_t parts;
};

static inline void
watch_part(struct watch *w, const struct canon_event *ev)
{
	if (ev->type == EVENT_OPEN) {
		must(ev->part == w->parts && ev->meta != NULL);
		w->parts++;
	}
	if (ev->part >= PARTS)
		return;
	if (ev->type == EVENT_OPEN)
		w->part[ev->part] = 1;
	must(w->part[ev->part] == 1);
	if (ev->type == EVENT_CLOSE)
		w->part[ev->part] = 2;
}

static inline int
watch(void *ctx, const struct canon_event *ev)
{
	struct watch *w = ctx;

	must(!w->over);
	must(ev->type == EVENT_BEGIN ? !w->begun : w->begun || ev->type == EVENT_FAIL);
	w->begun = true;
	w->failed = ev->type == EVENT_FAIL;
	w->over = w->failed || ev->type == EVENT_END;
	if (w->encode != NULL && !w->full)
		w->full = w->encode->encode(w->encoder, ev, &w->out) != 0;
	if (ev->type >= EVENT_OPEN && ev->type <= EVENT_CLOSE)
		watch_part(w, ev);
	if (ev->type == EVENT_FINISH)
		for (uint32_t i = 0; i < MIN(w->parts, PARTS); i++)
			must(w->part[i] == 2);
	buf_addf(&w->text, "%d %u ", ev->type, ev->part);
	buf_add(&w->text, ev->text.p, ev->text.n);
	if (ev->meta != NULL)
		buf_add(&w->text, ev->meta->name.p, ev->meta->name.n);
	if (ev->sign != NULL)
		buf_add(&w->text, ev->sign->data.p, ev->sign->data.n);
	if (ev->annotation != NULL)
		buf_add(&w->text, ev->annotation->raw.p, ev->annotation->raw.n);
	if (ev->error != NULL)
		buf_add(&w->text, ev->error->message.p, ev->error->message.n);
	return 0;
}

static inline void
run(const struct dialect *d, struct span bytes, size_t step, struct watch *w)
{
	struct arena *a = arena_new(ROOM), *scratch = arena_new(ROOM);
	struct framing_reader *r = framing_new(a, d->framing, 65536);
	void *state = d->decoder_new(a, scratch, NULL);
	struct canon_sink sink = {.take = watch, .ctx = w};
	struct frame f;
	int got = 0;

	for (size_t i = 0, n = 1; n > 0 && got >= 0; i += n) {
		n = MIN(step, bytes.n - i);
		got = n > 0 ? framing_feed(r, bytes.p + i, n) : framing_end(r);
		while (got >= 0 && (got = framing_next(r, &f)) == 1) {
			arena_reset(scratch);
			got = d->decode(state, &f, &sink);
		}
	}
	if (got >= 0) {
		must(d->decode_end(state, &sink) == 0);
		must(w->over);
	}
	framing_free(r);
	arena_free(scratch);
	arena_free(a);
}

static inline void
fuzz_stream(const struct dialect *d, struct span bytes, size_t step)
{
	struct watch one = {.text = {.max = ROOM}},
		     two = {.text = {.max = ROOM}, .encode = d, .out = {.max = ROOM}},
		     three = {.text = {.max = ROOM}};
	struct arena *a = arena_new(ROOM);
	struct encode_ctx ctx = {.arena = a, .model = {"m", 1}, .now_s = 1700000000};

	two.encoder = d->encoder_new(a, &ctx);
	run(d, bytes, ROOM, &one);
	run(d, bytes, step, &two);
	must(one.text.len == two.text.len &&
	     (one.text.len == 0 || memcmp(one.text.data, two.text.data, one.text.len) == 0));
	if (two.over && !two.full) {
		run(d, (struct span){two.out.data, two.out.len}, ROOM, &three);
		must(three.failed == two.failed);
	}
	if (d->encoder_free != NULL)
		d->encoder_free(two.encoder);
	buf_clear(&two.out);
	buf_clear(&one.text);
	buf_clear(&two.text);
	buf_clear(&three.text);
	arena_free(a);
}

static inline int
fuzz_upstream(const struct dialect *d, const uint8_t *data, size_t size)
{
	struct span rest = {(const char *)data + 1, size - 1};

	if (size == 0)
		return 0;
	if (data[0] % 3 == 2)
		fuzz_stream(d, rest, 1 + data[0] / 3 % 16);
	else
		fuzz_body(d, rest, data[0] % 3 == 1);
	return 0;
}

#endif
