/*
 * What the tests of the dialects that only upstreams speak have in common. Fixtures are in t/data/<folder>:
 *
 *   request.json   to its own dialect and back it is the same; request.foreign is what is sent when it came from elsewhere
 *   answer.json    the same for an answer
 *   stream.*       its events are those of stream.events, wherever it is cut; cut off before its end it fails
 *
 * A golden file that differs is printed whole.
 */
#ifndef OMNIROUTE_T_UNIT_PROTO_UPSTREAM_H
#define OMNIROUTE_T_UNIT_PROTO_UPSTREAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/dialect.h"
#include "proto/framing.h"
#include "proto/profile.h"
#include "shared/err.h"

#define ROOM ((size_t)64 << 20)

static inline struct arena *
arena(void)
{
	struct arena *a = arena_new(ROOM);

	assert_non_null(a);
	return a;
}

static inline struct span
load(struct arena *a, const char *folder, const char *name)
{
	const char *path = arena_printf(a, "t/data/%s/%s", folder, name);
	FILE *f = fopen(path, "rb");
	struct buf b = BUF_INIT(ROOM);
	struct span out;
	char part[4096];
	size_t n;

	if (f == NULL)
		fail_msg("%s cannot be read", path);
	while ((n = fread(part, 1, sizeof part, f)) > 0)
		assert_int_equal(buf_add(&b, part, n), 0);
	fclose(f);
	out = (struct span){arena_strndup(a, b.data, b.len), b.len};
	buf_clear(&b);
	return out;
}

static inline void
assert_json(struct arena *a, struct span want, const struct buf *got)
{
	const struct json *x, *y;

	assert_int_equal(json_parse(a, want, &x), 0);
	if (json_parse(a, (struct span){got->data, got->len}, &y) != 0 || !json_same(x, y))
		fail_msg("wanted %.*s\ngot    %.*s", (int)want.n, want.p, (int)got->len, got->data);
}

/* ---- requests ---- */

static inline struct canon_request *
decode_request(struct arena *a, const struct dialect *d, struct span body)
{
	struct decode_request in = {
	    .arena = a, .body = body, .model = span_of("m"), .stream = true};
	struct canon_request *q = NULL;
	struct canon_error err = {0};

	assert_int_equal(d->decode_request(&in, &q, &err), 0);
	return q;
}

static inline void
encode_request(struct arena *a, const struct dialect *d, const struct canon_request *q,
    const char *model, struct buf *out)
{
	struct profile p;
	struct encode_ctx ctx = {
	    .arena = a, .model = span_of(model), .now_s = 1700000000, .profile = &p, .asked = q};
	size_t start = out->len;

	profile_init(&p, d->id);
	assert_int_equal(d->encode_request(q, &ctx, out), 0);
	/* the same once more: the same bytes */
	struct buf again = BUF_INIT(ROOM);
	assert_int_equal(d->encode_request(q, &ctx, &again), 0);
	assert_int_equal(again.len, out->len - start);
	assert_memory_equal(again.data, out->data + start, again.len);
	buf_clear(&again);
}

static inline void
estrange_parts(struct canon_parts *parts)
{
	struct canon_part *p;

	TAILQ_FOREACH (p, parts, link) {
		canon_source_init(&p->src, DIALECT_NONE);
		p->raw = (struct span){NULL, 0};
		estrange_parts(&p->content);
	}
}

/* As if another dialect had been its source. */
static inline void
estrange(struct canon_request *q)
{
	struct canon_turn *t;
	struct canon_tool *tool;

	q->from = DIALECT_CHAT;
	canon_source_init(&q->src, DIALECT_CHAT);
	q->format.raw = q->tool_choice.raw = (struct span){NULL, 0};
	TAILQ_FOREACH (t, &q->turns, link) {
		canon_source_init(&t->src, DIALECT_NONE);
		estrange_parts(&t->parts);
	}
	TAILQ_FOREACH (tool, &q->tools, link)
		canon_source_init(&tool->src, DIALECT_NONE);
}

static inline void
check_request(const struct dialect *d, const char *folder, const char *model)
{
	struct arena *a = arena();
	struct span body = load(a, folder, "request.json");
	struct canon_request *q = decode_request(a, d, body);
	struct buf out = BUF_INIT(ROOM);

	encode_request(a, d, q, model, &out);
	assert_json(a, body, &out);
	buf_reset(&out);
	estrange(q);
	encode_request(a, d, q, model, &out);
	assert_json(a, load(a, folder, "request.foreign"), &out);
	buf_clear(&out);
	arena_free(a);
}

/* The body for a request that is made of `json` in the dialect itself. */
static inline const char *
body_of(struct arena *a, const struct dialect *d, const struct canon_request *q, const char *model)
{
	struct buf out = BUF_INIT(ROOM);
	const char *copy;

	encode_request(a, d, q, model, &out);
	copy = arena_strndup(a, out.data, out.len);
	buf_clear(&out);
	assert_non_null(copy);
	return copy;
}

/* ---- answers ---- */

static inline void
check_answer(const struct dialect *d, const char *folder)
{
	struct arena *a = arena();
	struct span body = load(a, folder, "answer.json");
	struct encode_ctx ctx = {.arena = a, .model = span_of("m"), .now_s = 1700000000};
	struct canon_response r = {0};
	struct canon_error err = {0};
	struct buf out = BUF_INIT(ROOM);

	assert_int_equal(d->decode_response(a, body, &r, &err), 0);
	assert_int_equal(d->encode_response(&r, &ctx, &out), 0);
	assert_json(a, body, &out);
	buf_clear(&out);
	arena_free(a);
}

static inline struct canon_error
refused(struct arena *a, const struct dialect *d, const char *body)
{
	struct canon_response r = {0};
	struct canon_error err = {0};

	assert_int_equal(d->decode_response(a, span_of(body), &r, &err), E_DENIED);
	assert_true(err.message.n > 0);
	return err;
}

/* ---- streams ---- */

static inline void
note_span(struct buf *b, const char *name, struct span s)
{
	if (s.p == NULL)
		return;
	buf_addf(b, " %s=", name);
	buf_add(b, s.p, s.n);
}

static inline void
note_usage(struct buf *b, const struct canon_usage *u)
{
	buf_addf(b, " in=%d:%lu cached=%lu written=%lu/%lu/%lu out=%d:%lu", u->has_in,
	    (unsigned long)u->in_total, (unsigned long)u->in_cached,
	    (unsigned long)u->in_cache_write, (unsigned long)u->in_cache_write_5m,
	    (unsigned long)u->in_cache_write_1h, u->has_out, (unsigned long)u->out_total);
}

/* One line for each event. */
static inline int
note(void *ctx, const struct canon_event *ev)
{
	static const char *const words[] = {"begin", "open", "delta", "sign", "cite", "close",
	    "logprobs", "usage", "finish", "fail", "idle", "end"};
	static const char *const kinds[] = {"text", "image", "audio", "video", "file", "call",
	    "result", "reasoning", "refusal", "server_call", "server_result", "opaque"};
	static const char *const ends[] = {"none", "stop", "length", "tool_calls", "stop_sequence",
	    "content_filter", "refusal", "pause", "context_window", "malformed", "error",
	    "unknown"};
	struct buf *b = ctx;

	buf_str(b, words[ev->type]);
	if (ev->type >= EVENT_OPEN && ev->type <= EVENT_CLOSE)
		buf_addf(b, " %u", ev->part);
	note_span(b, "id", ev->id);
	note_span(b, "model", ev->model);
	if (ev->created != 0)
		buf_addf(b, " created=%lu", (unsigned long)ev->created);
	if (ev->meta != NULL) {
		buf_addf(b, " %s", kinds[ev->meta->kind]);
		note_span(b, "id", ev->meta->id);
		note_span(b, "name", ev->meta->name);
	}
	note_span(b, "text", ev->text);
	if (ev->sign != NULL) {
		buf_addf(
		    b, " origin=%d%s", ev->sign->origin, ev->sign->encrypted ? " encrypted" : "");
		note_span(b, "data", ev->sign->data);
	}
	if (ev->annotation != NULL) {
		buf_addf(b, " kind=%d %ld-%ld", ev->annotation->kind, (long)ev->annotation->start,
		    (long)ev->annotation->end);
		note_span(b, "url", ev->annotation->url);
		note_span(b, "file", ev->annotation->file_id);
		note_span(b, "title", ev->annotation->title);
		note_span(b, "quoted", ev->annotation->quoted);
	}
	if (ev->type == EVENT_USAGE)
		note_usage(b, ev->usage);
	if (ev->finish != NULL) {
		buf_addf(b, " %s", ends[ev->finish->reason]);
		note_span(b, "raw", ev->finish->raw);
	}
	if (ev->error != NULL) {
		buf_addf(b, " class=%d", ev->error->class);
		note_span(b, "code", ev->error->code);
		note_span(b, "message", ev->error->message);
	}
	return buf_str(b, "\n");
}

static inline void
run_stream(const struct dialect *d, struct span bytes, size_t step, struct buf *out)
{
	struct arena *a = arena(), *scratch = arena();
	struct framing_reader *r = framing_new(a, d->framing, 1 << 20);
	void *state = d->decoder_new(a, scratch, NULL);
	struct canon_sink sink = {.take = note, .ctx = out};
	struct frame f;
	int got;

	assert_non_null(r);
	assert_non_null(state);
	for (size_t i = 0, n = 1; n > 0; i += n) {
		n = MIN(step, bytes.n - i);
		char *copy = malloc(n + 1); /* dies with the call */
		assert_non_null(copy);
		memcpy(copy, bytes.p + i, n);
		assert_int_equal(n > 0 ? framing_feed(r, copy, n) : framing_end(r), 0);
		memset(copy, '#', n);
		while ((got = framing_next(r, &f)) == 1) {
			arena_reset(scratch);
			assert_int_equal(d->decode(state, &f, &sink), 0);
		}
		assert_int_equal(got, 0);
		free(copy);
	}
	assert_int_equal(d->decode_end(state, &sink), 0);
	framing_free(r);
	arena_free(scratch);
	arena_free(a);
}

static inline void
assert_text(const char *want, struct buf *got)
{
	assert_non_null(buf_cstr(got));
	if (strcmp(want, got->data) != 0)
		fail_msg("wanted\n%s\ngot\n%s", want, got->data);
}

/* These events, wherever the stream is cut: also inside a character or a line end (a trap). */
static inline void
check_events(const struct dialect *d, struct span bytes, const char *want)
{
	static const size_t steps[] = {ROOM, 1, 2, 3, 5, 7, 64};

	for (size_t i = 0; i < NELEM(steps); i++) {
		struct buf out = BUF_INIT(ROOM);
		run_stream(d, bytes, steps[i], &out);
		assert_text(want, &out);
		buf_clear(&out);
	}
}

/* Trap: a connection that was cut looks like an end. Without its tail a stream fails, once and at last, or it had ended already (spec 23.5). */
static inline void
check_cut(const struct dialect *d, struct span bytes)
{
	unsigned ends = 0;

	for (size_t n = 0; n < bytes.n; n++) {
		struct buf out = BUF_INIT(ROOM);
		const char *last;
		run_stream(d, (struct span){bytes.p, n}, ROOM, &out);
		assert_non_null(buf_cstr(&out));
		last = strstr(out.data, "fail class=");
		if (last == NULL)
			ends++;
		else
			assert_non_null(strstr(last, "code=upstream_stream_cut"));
		assert_true((last == NULL) == (strstr(out.data, "end\n") != NULL));
		buf_clear(&out);
	}
	assert_true(ends < bytes.n / 2);
}

static inline void
check_stream(const struct dialect *d, struct span bytes, const char *folder)
{
	struct arena *a = arena();

	check_events(d, bytes, load(a, folder, "stream.events").p);
	check_cut(d, bytes);
	arena_free(a);
}

/* The events of a stream, encoded again and decoded: the same. */
struct second {
	const struct dialect *d;
	void *state;
	struct buf *out;
};

static inline int
encode_event(void *ctx, const struct canon_event *ev)
{
	struct second *s = ctx;

	return s->d->encode(s->state, ev, s->out);
}

static inline void
check_again(const struct dialect *d, struct span bytes, const char *folder)
{
	struct arena *a = arena(), *scratch = arena();
	struct buf out = BUF_INIT(ROOM);
	struct encode_ctx ctx = {.arena = a, .model = span_of("qwen3:8b"), .now_s = 1700000000};
	struct second to = {d, d->encoder_new(a, &ctx), &out};
	struct canon_sink sink = {.take = encode_event, .ctx = &to};
	struct framing_reader *r = framing_new(a, d->framing, 1 << 20);
	void *state = d->decoder_new(a, scratch, NULL);
	struct frame f;
	int got;

	assert_int_equal(framing_feed(r, bytes.p, bytes.n), 0);
	while ((got = framing_next(r, &f)) == 1) {
		arena_reset(scratch);
		assert_int_equal(d->decode(state, &f, &sink), 0);
	}
	assert_int_equal(got, 0);
	if (d->encoder_free != NULL)
		d->encoder_free(to.state);
	framing_free(r);
	check_events(d, (struct span){out.data, out.len}, load(a, folder, "stream.events").p);
	buf_clear(&out);
	arena_free(scratch);
	arena_free(a);
}

#endif
