/* What the tests of the Chat dialect share: an arena, events as lines of text, encoders on one
 * call. */
#ifndef OMNIROUTE_T_UNIT_PROTO_CHAT_H
#define OMNIROUTE_T_UNIT_PROTO_CHAT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/dialect.h"
#include "proto/profile.h"
#include "shared/err.h"

static const struct dialect *const chat = &dialect_chat;

struct bench {
	struct arena *a, *scratch;
	struct profile profile;
	struct encode_ctx ctx;
	struct canon_request asked;
	struct canon_error err;
	struct buf out;
};

static inline void
bench_open(struct bench *b)
{
	memset(b, 0, sizeof *b);
	b->a = arena_new(64u << 20);
	b->scratch = arena_new(64u << 20);
	assert_non_null(b->a);
	assert_non_null(b->scratch);
	profile_init(&b->profile, DIALECT_CHAT);
	b->ctx = (struct encode_ctx){.arena = b->a,
	    .model = span_of("m"),
	    .now_s = 1700000000,
	    .profile = &b->profile,
	    .asked = &b->asked};
	buf_init(&b->out, 64u << 20);
}

static inline void
bench_close(struct bench *b)
{
	buf_clear(&b->out);
	arena_free(b->a);
	arena_free(b->scratch);
}

static inline const char *
text_of(struct bench *b)
{
	const char *s = buf_cstr(&b->out);

	assert_non_null(s);
	return s;
}

/* The JSON that was written means the same as `want`. */
static inline void
assert_json(struct bench *b, const char *want)
{
	const struct json *x, *y;

	if (json_parse(b->a, (struct span){b->out.data, b->out.len}, &x) != 0)
		fail_msg("no JSON: %s", text_of(b));
	assert_int_equal(json_parse(b->a, span_of(want), &y), 0);
	if (!json_same(x, y))
		fail_msg("got  %s\nwant %s", text_of(b), want);
}

/* One event as a line. */
static inline int
trace_take(void *ctx, const struct canon_event *ev)
{
	static const char *const kinds[] = {"text", "image", "audio", "video", "file", "call",
	    "result", "thought", "refusal", "server_call", "server_result", "opaque"};
	struct buf *t = ctx;

	switch (ev->type) {
	case EVENT_BEGIN:
		buf_addf(t, "begin %.*s %.*s\n", (int)ev->id.n, ev->id.n ? ev->id.p : "",
		    (int)ev->model.n, ev->model.n ? ev->model.p : "");
		break;
	case EVENT_OPEN:
		buf_addf(t, "open %u.%u %s", ev->choice, ev->part, kinds[ev->meta->kind]);
		if (ev->meta->kind == PART_TOOL_CALL)
			buf_addf(t, " %.*s %.*s", (int)ev->meta->id.n,
			    ev->meta->id.n ? ev->meta->id.p : "", (int)ev->meta->name.n,
			    ev->meta->name.n ? ev->meta->name.p : "");
		buf_str(t, "\n");
		break;
	case EVENT_DELTA:
		buf_addf(
		    t, "delta %u.%u %.*s\n", ev->choice, ev->part, (int)ev->text.n, ev->text.p);
		break;
	case EVENT_SIGN:
		buf_addf(t, "sign %u.%u %.*s\n", ev->choice, ev->part, (int)ev->sign->data.n,
		    ev->sign->data.p);
		break;
	case EVENT_CITE:
		buf_addf(t, "cite %u.%u %.*s\n", ev->choice, ev->part, (int)ev->annotation->url.n,
		    ev->annotation->url.p);
		break;
	case EVENT_CLOSE:
		buf_addf(t, "close %u.%u\n", ev->choice, ev->part);
		break;
	case EVENT_LOGPROBS:
		buf_addf(t, "logprobs %u\n", ev->choice);
		break;
	case EVENT_USAGE:
		buf_addf(t, "usage %llu %llu\n", (unsigned long long)ev->usage->in_total,
		    (unsigned long long)ev->usage->out_total);
		break;
	case EVENT_FINISH:
		buf_addf(t, "finish %u %d\n", ev->choice, ev->finish->reason);
		break;
	case EVENT_FAIL:
		buf_addf(t, "fail %d %.*s\n", ev->error->class, (int)ev->error->code.n,
		    ev->error->code.n ? ev->error->code.p : "");
		break;
	case EVENT_IDLE:
		break;
	case EVENT_END:
		buf_str(t, "end\n");
		break;
	}
	return 0;
}

/* Frames, then the end of input: the events as lines in b->out. */
static inline const char *
decode(struct bench *b, const char *const *frames)
{
	struct canon_sink sink = {trace_take, &b->out};
	void *d = chat->decoder_new(b->a, b->scratch, &b->profile);

	assert_non_null(d);
	for (; *frames != NULL; frames++) {
		struct frame f = {.data = span_of(*frames)};

		assert_int_equal(chat->decode(d, &f, &sink), 0);
		arena_reset(b->scratch);
	}
	assert_int_equal(chat->decode_end(d, &sink), 0);
	return text_of(b);
}

/* Deltas of choice 0, a finish and [DONE] around them; without the lines begin and end. */
static inline void
assert_deltas(const char *const *deltas, const char *finish, const char *want)
{
	const char *frames[32];
	struct bench b;
	size_t n = 0;

	bench_open(&b);
	for (; *deltas != NULL; deltas++)
		assert_non_null(frames[n++] = arena_printf(b.a,
				    "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,"
				    "\"delta\":%s,\"finish_reason\":null}]}",
				    *deltas));
	assert_non_null(frames[n++] = arena_printf(b.a,
			    "{\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},"
			    "\"finish_reason\":\"%s\"}]}",
			    finish));
	frames[n++] = "[DONE]";
	frames[n] = NULL;
	assert_string_equal(decode(&b, frames), arena_printf(b.a, "begin c m\n%send\n", want));
	bench_close(&b);
}
#define DELTAS(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline struct canon_request *
read_request(struct bench *b, const char *body)
{
	struct decode_request in = {.arena = b->a, .body = span_of(body)};
	struct canon_request *q = NULL;

	assert_int_equal(chat->decode_request(&in, &q, &b->err), 0);
	assert_non_null(q);
	return q;
}

#endif
