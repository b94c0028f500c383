/* What the tests of the Messages dialect share: an arena, JSON by value, a stream as text. */
#ifndef OMNIROUTE_T_UNIT_PROTO_MESSAGES_H
#define OMNIROUTE_T_UNIT_PROTO_MESSAGES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/dialect.h"
#include "proto/json.h"
#include "proto/profile.h"
#include "proto/serial.h"
#include "proto/sse.h"
#include "shared/buf.h"
#include "shared/err.h"

#define ARENA_MAX (256u << 20)

struct bench {
	struct arena *a, *scratch;
	struct profile profile;
	struct encode_ctx ctx;
	struct canon_request *asked;
	struct canon_error err;
};

static int
bench_open(void **state)
{
	struct bench *t = calloc(1, sizeof *t);

	assert_non_null(t);
	t->a = arena_new(ARENA_MAX);
	t->scratch = arena_new(ARENA_MAX);
	assert_non_null(t->a);
	assert_non_null(t->scratch);
	profile_init(&t->profile, DIALECT_MESSAGES);
	t->asked = canon_request_new(t->a, DIALECT_MESSAGES);
	assert_non_null(t->asked);
	t->ctx = (struct encode_ctx){
	    .arena = t->a, .now_s = 1700000000, .profile = &t->profile, .asked = t->asked};
	memcpy(t->ctx.seed, "0123456789abcdef", 16);
	*state = t;
	return 0;
}

static int
bench_close(void **state)
{
	struct bench *t = *state;

	arena_free(t->a);
	arena_free(t->scratch);
	free(t);
	return 0;
}

static inline const struct json *
parse(struct bench *t, struct span text)
{
	const struct json *j = NULL;

	if (json_parse(t->a, text, &j) != 0)
		fail_msg("not JSON: %.*s", (int)MIN(text.n, (size_t)2000), text.p);
	return j;
}

static inline struct span
bytes_of(const struct buf *b)
{
	return (struct span){b->data, b->len};
}

/* The same value; shows both when it is not. */
static inline void
assert_json(struct bench *t, struct span got, struct span want)
{
	const struct json *g = parse(t, got), *w = parse(t, want);

	if (!json_same(g, w))
		fail_msg("got  %.*s\nwant %.*s", (int)got.n, got.p, (int)want.n, want.p);
}

static inline void
assert_text(struct span got, const char *want)
{
	if (got.n != strlen(want) || memcmp(got.p, want, got.n) != 0)
		fail_msg("got  <%.*s>\nwant <%s>", (int)got.n, got.p, want);
}

static inline int
decode_request(struct bench *t, struct span body, struct canon_request **q)
{
	struct decode_request in = {.arena = t->a, .body = body};

	return dialect_messages.decode_request(&in, q, &t->err);
}

/* ---- a stream as text: one line for each thing that was said, deltas joined ---- */

struct record {
	struct buf text, *out; /* out: also encoded into it; NULL */
	void *encoder;
	struct serial *serial;
	uint32_t part; /* whose delta was written last; UINT32_MAX: none */
	bool failed, ended;
	struct canon_error error;
	char code[64];
	struct canon_usage usage;
	enum canon_finish_reason reason;
};

static inline void
record_span(struct record *r, const char *name, struct span s)
{
	if (s.p == NULL)
		return;
	buf_addf(&r->text, " %s=", name);
	buf_add(&r->text, s.p, s.n);
}

static inline void
record_line(struct record *r, const struct canon_event *ev)
{
	static const char *const words[] = {[EVENT_BEGIN] = "begin",
	    [EVENT_OPEN] = "open",
	    [EVENT_DELTA] = "delta",
	    [EVENT_SIGN] = "sign",
	    [EVENT_CITE] = "cite",
	    [EVENT_CLOSE] = "close",
	    [EVENT_LOGPROBS] = "logprobs",
	    [EVENT_USAGE] = "usage",
	    [EVENT_FINISH] = "finish",
	    [EVENT_FAIL] = "fail",
	    [EVENT_IDLE] = "idle",
	    [EVENT_END] = "end"};
	static const char *const kinds[] = {[PART_TEXT] = "text",
	    [PART_IMAGE] = "image",
	    [PART_AUDIO] = "audio",
	    [PART_VIDEO] = "video",
	    [PART_FILE] = "file",
	    [PART_TOOL_CALL] = "call",
	    [PART_TOOL_RESULT] = "result",
	    [PART_REASONING] = "reasoning",
	    [PART_REFUSAL] = "refusal",
	    [PART_SERVER_CALL] = "server_call",
	    [PART_SERVER_RESULT] = "server_result",
	    [PART_OPAQUE] = "opaque"};

	if (ev->type == EVENT_DELTA && r->part == ev->part) {
		buf_add(&r->text, ev->text.p, ev->text.n);
		return;
	}
	r->part = ev->type == EVENT_DELTA ? ev->part : UINT32_MAX;
	buf_addf(&r->text, "\n%s", words[ev->type]);
	if (ev->type >= EVENT_OPEN && ev->type <= EVENT_CLOSE)
		buf_addf(&r->text, " %u", ev->part);
	if (ev->meta != NULL && ev->type == EVENT_OPEN) {
		buf_addf(&r->text, " %s", kinds[ev->meta->kind]);
		record_span(r, "id", ev->meta->id);
		record_span(r, "name", ev->meta->name);
	}
	if (ev->type == EVENT_DELTA) {
		buf_str(&r->text, " ");
		buf_add(&r->text, ev->text.p, ev->text.n);
	}
	if (ev->type == EVENT_SIGN) {
		buf_addf(&r->text, " origin=%d encrypted=%d", (int)ev->sign->origin,
		    ev->sign->encrypted);
		record_span(r, "data", ev->sign->data);
	}
	if (ev->type == EVENT_CITE)
		record_span(r, "quoted", ev->annotation->quoted);
}

static inline int
record_take(void *ctx, const struct canon_event *ev)
{
	struct record *r = ctx;

	if (r->ended || r->failed)
		fail_msg("an event behind the end");
	if (ev->type == EVENT_BEGIN || ev->type == EVENT_USAGE) {
		if (ev->usage != NULL)
			r->usage = *ev->usage;
		r->usage.raw = (struct span){NULL, 0};
	}
	if (ev->type == EVENT_USAGE)
		return 0;
	record_line(r, ev);
	if (ev->type == EVENT_FINISH) {
		r->reason = ev->finish->reason;
		buf_addf(&r->text, " %d", (int)ev->finish->reason);
		record_span(r, "raw", ev->finish->raw);
		record_span(r, "stop", ev->finish->stop_sequence);
		record_span(r, "details", ev->finish->details);
	}
	r->ended = ev->type == EVENT_END;
	if (ev->type == EVENT_FAIL) {
		r->failed = true;
		r->error = *ev->error;
		(void)snprintf(r->code, sizeof r->code, "%.*s", (int)ev->error->code.n,
		    ev->error->code.p != NULL ? ev->error->code.p : "");
		buf_addf(&r->text, " %d", (int)ev->error->class);
	}
	return 0;
}

/* Into the encoder, as the gateway does it; idle events of upstreams are not in between. */
static inline int
encode_take(void *ctx, const struct canon_event *ev)
{
	struct record *r = ctx;

	return dialect_messages.encode(r->encoder, ev, r->out);
}

/* ---- SSE ---- */

struct feed {
	struct bench *t;
	void *decoder;
	const struct canon_sink *sink;
	unsigned events, stop_after; /* 0: all */
	int error;
};

static inline void
feed_frame(struct feed *f, const struct frame *frame)
{
	if (f->stop_after != 0 && f->events >= f->stop_after)
		return;
	f->events++;
	if (f->error == 0)
		f->error = dialect_messages.decode(f->decoder, frame, f->sink);
	arena_reset(f->t->scratch);
}

/* Events of an SSE text that is whole: `step` bytes at a time. */
static inline void
feed_sse(struct feed *f, struct span text, size_t step)
{
	struct arena *a = arena_new(ARENA_MAX);
	struct sse *s = sse_new(a, 64u << 20);

	for (size_t at = 0; at < text.n; at += step) {
		struct sse_event ev;
		size_t n = MIN(step, text.n - at);
		assert_int_equal(sse_feed(s, text.p + at, n), 0);
		while (sse_next(s, &ev) == SSE_EVENT) {
			struct frame frame = {
			    .type = ev.event.n > 0 ? ev.event : (struct span){NULL, 0},
			    .data = ev.data};
			feed_frame(f, &frame);
		}
	}
	sse_free(s);
	arena_free(a);
}

#endif
