/* One target: what it is sent, and how. */
#include <sodium.h>
#include <string.h>

#include "proto/scan.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/snapshot.h"
#include "worker/echo.h"
#include "worker/exchange_own.h"
#include "worker/fetch.h"
#include "worker/responses.h"
#include "worker/sign.h"
#include "worker/worker.h"

#define SENT_ROOM (64u << 20) /* a body may grow by so much when it is translated, and fourfold */

/* ---- the call-backs of relay and echo ---- */

static enum relay_verdict
on_data(void *ctx, const char *p, size_t n)
{
	struct exchange *x = ctx;
	enum relay_verdict v;

	exchange_enter(x);
	v = answer_data(x, p, n);
	exchange_leave(x);
	return v;
}

static void
on_done(void *ctx, enum failure f)
{
	struct exchange *x = ctx;

	x->relay = NULL;
	x->echo = NULL;
	exchange_enter(x);
	answer_done(x, f);
	exchange_leave(x);
}

static void
on_head(void *ctx)
{
	struct exchange *x = ctx;

	if (x->streamed && x->head.status < 300)
		quiet_start(x, false);
}

static const struct relay_handler handler = {on_data, on_done, on_head};

/* ---- translated ---- */

static const struct snap_settings *
settings(const struct exchange *x)
{
	return &snapshot_head(x->snap)->settings;
}

static int
begin_translation(struct exchange *x)
{
	struct translate_setup s = {.arena = x->arena,
	    .client = x->ask.dialect,
	    .now_s = clock_wall_us() / 1000000,
	    .max_event = settings(x)->max_event_size,
	    .max_response = settings(x)->max_response_size,
	    .array = x->ask.array};

	randombytes_buf(s.seed, sizeof s.seed);
	x->translate = translate_new(&s);
	buf_init(&x->out, s.max_event + s.max_response);
	return x->translate != NULL ? 0 : E_NOMEM;
}

/* The client's request is read once; what is wrong with it is wrong for every target. */
static int
decode(struct exchange *x)
{
	struct decode_request q = {.arena = x->arena,
	    .body = responses_body(x),
	    .resolved = x->recalled != NULL && !x->recalled->missing,
	    .model = x->ask.path_model,
	    .stream = x->streamed,
	    .completion = x->ask.completion,
	    .betas = http_header_get(x->req, "anthropic-beta")};
	int r;

	if (x->decoded)
		return 0;
	if (x->translate != NULL)
		return E_DENIED; /* it was tried already */
	if ((r = begin_translation(x)) != 0)
		return r;
	r = translate_request(x->translate, &q, &x->denied);
	x->is_denied = r == E_DENIED;
	x->decoded = r == 0;
	return r;
}

static int
write_body(struct exchange *x)
{
	buf_clear(&x->sent);
	buf_init(&x->sent, SENT_ROOM + 4 * x->req->body.n + arena_size(x->arena));
	return translate_body(x->translate, &x->sent);
}

static void
on_fetched(void *ctx, const struct canon_error *why)
{
	struct exchange *x = ctx;
	struct canon_error e = {.class = ERROR_SERVER, .message = span_of("Out of memory")};

	x->fetch = NULL;
	if (why == NULL && write_body(x) != 0)
		why = &e;
	exchange_fetched(x, why);
}

static int
translate(struct exchange *x)
{
	struct shaped_media *media;
	int r = decode(x);

	if (r == 0) {
		r = translate_target(
		    x->translate, &x->target.profile, span_of(x->route.model), &x->denied);
		x->is_denied |= r == E_DENIED;
	}
	if (r != 0)
		return r;
	if ((media = translate_media(x->translate)) == NULL)
		return write_body(x);
	x->fetch = fetch_media(x->arena, x->snap, media, on_fetched, x);
	return x->fetch != NULL ? E_AGAIN : E_NOMEM;
}

int
attempt_retell(struct exchange *x)
{
	int r = decode(x);

	if (r == 0)
		r = translate_target(
		    x->translate, &x->target.profile, span_of(x->route.model), &x->denied);
	x->target.translate = r == 0;
	return r;
}

int
attempt_prepare(struct exchange *x)
{
	const struct target_request q = {.snap = x->snap,
	    .provider = x->route.provider,
	    .conn = x->conn,
	    .model = x->route.model,
	    .ask = &x->ask,
	    .body = x->req->body,
	    .streamed = x->streamed};
	int r = target_choose(&x->target, x->arena, &q);

	if (r == E_DENIED && !x->is_denied) {
		x->is_denied = true;
		x->denied = (struct canon_error){.class = ERROR_UNSUPPORTED,
		    .message = span_of("No connection for this model has this method")};
	}
	if (r == 0)
		r = responses_fit(x);
	return r == 0 && x->target.translate ? translate(x) : r;
}

/* ---- sent ---- */

/* The client's body with another model value: three pieces, the first and the last where they lie.
 */
static int
splice_body(struct exchange *x, struct span piece[3])
{
	struct span body = x->req->body, model = x->ask.model_value;
	size_t before = (size_t)(model.p - body.p);
	struct buf b = BUF_INIT(8 * MODEL_MAX + 128);
	char *value = NULL;

	buf_str(&b, "\"");
	scan_escape(&b, x->route.model, strlen(x->route.model));
	buf_str(&b, x->add_stream ? "\",\"stream\":true" : "\"");
	if (x->target.ask_usage)
		buf_str(&b, ",\"stream_options\":{\"include_usage\":true}");
	if (buf_ok(&b))
		value = arena_strndup(x->arena, b.data, b.len);
	piece[0] = (struct span){body.p, before};
	piece[1] = (struct span){value, b.len};
	piece[2] = (struct span){model.p + model.n, body.n - before - model.n};
	buf_clear(&b);
	return value != NULL ? 0 : E_NOMEM;
}

static int
body_pieces(struct exchange *x, struct span piece[3])
{
	if (!x->target.translate && x->ask.model_value.p != NULL)
		return splice_body(x, piece);
	piece[0] = x->target.translate ? (struct span){x->sent.data, x->sent.len} : x->req->body;
	piece[1] = piece[2] = (struct span){NULL, 0};
	return 0;
}

static uint64_t
deadline_of(const struct exchange *x)
{
	uint32_t total_ms = settings(x)->total_timeout_ms;

	return total_ms != 0 ? x->req->start_ns + total_ms * NS_PER_MS : 0;
}

static int
start_echo(struct exchange *x)
{
	struct echo_request q = {
	    .body = x->target.translate ? (struct span){x->sent.data, x->sent.len} : x->req->body,
	    .model = x->route.model,
	    .streamed = x->streamed,
	    .deadline_ns = deadline_of(x),
	    .head = &x->head,
	};

	x->echo = echo_start(&q, &handler, x);
	return x->echo != NULL ? 0 : E_NOMEM;
}

static int
start_relay(struct exchange *x)
{
	struct relay_request q = {
	    .arena = x->arena,
	    .snap = x->snap,
	    .conn = x->conn,
	    .url = x->target.url,
	    .deadline_ns = deadline_of(x),
	    .head = &x->head,
	};
	struct header_wish wish = {
	    .client = x->ask.dialect, .upstream = x->target.dialect, .stream = x->streamed};

	if (body_pieces(x, q.body) != 0)
		return E_NOMEM;
	wish.body = q.body[0].n + q.body[1].n + q.body[2].n;
	q.headers = headers_upstream(x->arena, x->req, x->snap, x->conn, &wish);
	if (q.headers == NULL ||
	    sign_request(x->arena, x->snap, x->conn, q.url, q.body[0], q.headers) != 0)
		return E_NOMEM;
	x->relay = relay_start(&q, &handler, x);
	return x->relay != NULL ? 0 : E_NOMEM;
}

int
attempt_start(struct exchange *x)
{
	return x->route.provider->builtin ? start_echo(x) : start_relay(x);
}

void
attempt_cancel(struct exchange *x)
{
	if (x->relay != NULL)
		relay_cancel(x->relay);
	if (x->echo != NULL)
		echo_cancel(x->echo);
	if (x->fetch != NULL)
		fetch_cancel(x->fetch);
	x->relay = NULL;
	x->echo = NULL;
	x->fetch = NULL;
}
