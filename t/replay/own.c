/* A recording in its own dialect: what is decoded and encoded again is what it was. */
#include <string.h>

#include "proto/collect.h"
#include "proto/framing.h"
#include "shared/err.h"
#include "t/replay/replay.h"

static void
init_ctx(struct encode_ctx *ctx, struct arena *a, const struct recording *r,
    const struct profile *p, const struct canon_request *asked)
{
	*ctx = (struct encode_ctx){
	    .arena = a,
	    .model = recording_model(a, r),
	    .now_s = 1700000000,
	    .profile = p,
	    .asked = asked,
	};
	memset(ctx->seed, 7, sizeof ctx->seed);
}

static const struct canon_request *
own_request(struct arena *a, const struct recording *r)
{
	const struct dialect *d = dialect_get(r->dialect);
	struct decode_request call = recording_call(a, r);
	struct canon_request *q = NULL;
	struct canon_error err = {0};
	struct encode_ctx ctx;
	struct profile p;
	struct buf out = BUF_INIT(64 << 20), again = BUF_INIT(64 << 20);
	int result;

	if (r->request.n == 0)
		return NULL;
	if (d->decode_request == NULL || d->encode_request == NULL) {
		say(r, "absent", "request");
		return NULL;
	}
	if ((result = d->decode_request(&call, &q, &err)) != 0) {
		say(r, "request-refused", "%s: %.*s", err_text(result), (int)err.message.n,
		    err.message.p != NULL ? err.message.p : "");
		return NULL;
	}
	recording_profile(r, &p);
	init_ctx(&ctx, a, r, &p, q);
	if ((result = d->encode_request(q, &ctx, &out)) != 0)
		say(r, "request-unencoded", "%s", err_text(result));
	else
		diff(r, "request", r->request, (struct span){out.data, out.len});
	if (d->encode_request(q, &ctx, &again) == 0 &&
	    (again.len != out.len || (out.len > 0 && memcmp(again.data, out.data, out.len) != 0)))
		say(r, "unstable", "request");
	buf_clear(&out);
	buf_clear(&again);
	return q;
}

static void
own_response(struct arena *a, const struct recording *r, const struct canon_request *q)
{
	const struct dialect *d = dialect_get(r->dialect);
	struct canon_response resp = {0};
	struct canon_error err = {0};
	struct encode_ctx ctx;
	struct profile p;
	struct buf out = BUF_INIT(64 << 20);
	int result;

	if (d->encode_response == NULL) {
		say(r, "absent", "response");
		return;
	}
	if ((result = d->decode_response(a, r->answer, &resp, &err)) != 0) {
		say(r, result == E_DENIED ? "answer-error" : "answer-unreadable", "%.*s",
		    (int)err.message.n, err.message.p != NULL ? err.message.p : "");
		return;
	}
	recording_profile(r, &p);
	init_ctx(&ctx, a, r, &p, q);
	if ((result = d->encode_response(&resp, &ctx, &out)) != 0)
		say(r, "answer-unencoded", "%s", err_text(result));
	else
		diff(r, "answer", r->answer, (struct span){out.data, out.len});
	buf_clear(&out);
}

/* The events of a stream as text. */
struct trace {
	struct buf text;
	bool failed, ended;
	struct canon_error error;
	unsigned after; /* events behind the end */
};

static int
trace_take(void *ctx, const struct canon_event *ev)
{
	static const char *const names[] = {"begin", "open", "delta", "sign", "cite", "close",
	    "logprobs", "usage", "finish", "fail", "idle", "end"};
	struct trace *t = ctx;

	if (t->failed || t->ended)
		t->after++;
	t->failed = t->failed || ev->type == EVENT_FAIL;
	t->ended = t->ended || ev->type == EVENT_END;
	if (ev->type == EVENT_USAGE) /* may be repeated */
		return 0;
	buf_addf(&t->text, "%s %u %u ", names[ev->type], ev->choice, ev->part);
	if (ev->type == EVENT_OPEN)
		buf_addf(&t->text, "%d %.*s %.*s", ev->meta->kind, (int)ev->meta->id.n,
		    ev->meta->id.n ? ev->meta->id.p : "", (int)ev->meta->name.n,
		    ev->meta->name.n ? ev->meta->name.p : "");
	if (ev->type == EVENT_SIGN)
		buf_add(&t->text, ev->sign->data.p, ev->sign->data.n);
	if (ev->type == EVENT_FINISH)
		buf_addf(&t->text, "%d", ev->finish->reason);
	if (ev->type == EVENT_FAIL)
		buf_addf(&t->text, "%.*s", (int)ev->error->message.n, ev->error->message.p);
	buf_add(&t->text, ev->text.p, ev->text.n);
	buf_str(&t->text, "\n");
	return 0;
}

static void
trace(struct arena *a, const struct recording *r, struct span bytes, size_t piece, struct trace *t)
{
	struct canon_sink sink = {.take = trace_take, .ctx = t};
	int result;

	*t = (struct trace){.text = BUF_INIT(256 << 20)};
	if ((result = decode_stream(a, r, bytes, piece, &sink)) != 0)
		buf_addf(&t->text, "result %s\n", err_text(result));
}

/* Cut anywhere, the events are the same. */
static void
own_pieces(const struct recording *r, const struct trace *whole)
{
	static const size_t pieces[] = {1, 2, 3, 7, 64, 1000};

	for (size_t i = 0; i < NELEM(pieces); i++) {
		struct arena *a = arena_new(256 << 20);
		struct trace t;

		trace(a, r, r->answer, pieces[i], &t);
		if (t.text.len != whole->text.len ||
		    (t.text.len > 0 && memcmp(t.text.data, whole->text.data, t.text.len) != 0))
			say(r, "pieces", "other events in pieces of %zu", pieces[i]);
		buf_clear(&t.text);
		arena_free(a);
	}
}

/* Where the whole stream proves its end, the same stream cut before its last tenth may prove it
 * too or fail, but it never ends without either. */
static void
own_truncated(const struct recording *r)
{
	for (size_t n = 0; n < r->answer.n; n += MAX(r->answer.n / 200, 1)) {
		struct arena *a = arena_new(256 << 20);
		struct trace t;

		trace(a, r, (struct span){r->answer.p, n}, 0, &t);
		if (t.failed == t.ended || t.after != 0)
			say(r, "truncated", "at %zu of %zu: failed %d, ended %d, %u events behind",
			    n, r->answer.n, t.failed, t.ended, t.after);
		if (t.ended && n < r->answer.n / 2)
			say(r, "truncated", "at %zu of %zu: a success", n, r->answer.n);
		buf_clear(&t.text);
		arena_free(a);
	}
}

static int
encode_take(void *ctx, const struct canon_event *ev)
{
	void **p = ctx;
	const struct dialect *d = p[0];

	return d->encode(p[1], ev, p[2]);
}

/* Encoded and decoded again it says the same. */
static void
own_stream(struct arena *a, const struct recording *r, const struct canon_request *q)
{
	const struct dialect *d = dialect_get(r->dialect);
	struct trace whole;
	struct encode_ctx ctx;
	struct profile p;
	struct buf bytes = BUF_INIT(256 << 20), x = BUF_INIT(64 << 20), y = BUF_INIT(64 << 20);
	struct collect *c1, *c2 = NULL;
	struct canon_response one = {0}, two = {0};
	struct canon_error err = {0};
	struct recording again = *r;
	int result;

	trace(a, r, r->answer, 0, &whole);
	if (whole.after != 0 || (!whole.failed && !whole.ended))
		say(r, "stream", "failed %d, ended %d, %u events behind", whole.failed, whole.ended,
		    whole.after);
	if (whole.failed)
		say(r, "stream-failed", "%.*s", (int)MIN(whole.text.len, 300), whole.text.data);
	own_pieces(r, &whole);
	own_truncated(r);
	buf_clear(&whole.text);
	if (d->encoder_new == NULL) {
		say(r, "absent", "stream");
		return;
	}
	if ((result = collect_stream(a, r, r->answer, 0, &c1, &one, &err)) != 0) {
		say(r, "stream-uncollected", "%s %.*s", err_text(result), (int)err.message.n,
		    err.message.n ? err.message.p : "");
		collect_free(c1);
		return;
	}
	recording_profile(r, &p);
	init_ctx(&ctx, a, r, &p, q);
	void *state = d->encoder_new(a, &ctx);
	void *to[] = {(void *)(uintptr_t)d, state, &bytes};
	struct canon_sink sink = {.take = encode_take, .ctx = to};
	result = decode_stream(a, r, r->answer, 0, &sink);
	if (d->encoder_free != NULL)
		d->encoder_free(state);
	again.framing = (int)d->framing;
	if (result != 0) {
		say(r, "stream-unencoded", "%s", err_text(result));
	} else if ((result = collect_stream(a, &again, (struct span){bytes.data, bytes.len}, 0, &c2,
			&two, &err)) != 0) {
		say(r, "stream-again", "%s %.*s", err_text(result), (int)err.message.n,
		    err.message.n ? err.message.p : "");
	} else {
		dump_response(&x, &one);
		dump_response(&y, &two);
		diff(r, "stream", (struct span){x.data, x.len}, (struct span){y.data, y.len});
	}
	collect_free(c1);
	if (c2 != NULL)
		collect_free(c2);
	buf_clear(&bytes);
	buf_clear(&x);
	buf_clear(&y);
}

void
replay_own(const struct recording *r)
{
	struct arena *a = arena_new((size_t)1 << 30);
	const struct canon_request *q = own_request(a, r);
	struct canon_request asked;

	if (q == NULL)
		q = canon_request_new(a, r->dialect);
	asked = *q; /* the client wants to see what was counted */
	asked.stream_usage = true;
	q = &asked;
	if (r->status == 200 && r->framing != WHOLE)
		own_stream(a, r, q);
	else if (r->status == 200)
		own_response(a, r, q);
	arena_free(a);
}
