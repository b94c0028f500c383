/* The error that a client is told when no target has answered. */
#include <stdio.h>
#include <string.h>

#include "proto/canon_error.h"
#include "proto/openai_chat.h"
#include "proto/scan.h"
#include "shared/clock.h"
#include "shared/snapshot.h"
#include "worker/exchange_own.h"
#include "worker/refusal.h"
#include "worker/worker.h"

/* What was tried: [{"connection":"a","failure":"status_429","status":429},…]. NULL: one attempt,
 * which the error itself tells. */
static char *
attempts_json(struct exchange *x)
{
	struct buf b = BUF_INIT(16384);
	char *copy = NULL;

	if (x->attempts < 2)
		return NULL;
	for (unsigned i = 0; i < x->attempts; i++) {
		const struct attempt *a = &x->attempt[i];
		struct span name = route_conn_name(&x->route, a->conn);

		buf_str(&b, i == 0 ? "[{\"connection\":\"" : ",{\"connection\":\"");
		scan_escape(&b, name.p, name.n);
		buf_addf(&b, "\",\"failure\":\"%s\"", failure_info(a->failure)->label);
		if (a->status != 0)
			buf_addf(&b, ",\"status\":%d", a->status);
		buf_str(&b, "}");
	}
	buf_str(&b, "]");
	if (buf_ok(&b))
		copy = arena_strndup(x->arena, b.data, b.len);
	buf_clear(&b);
	return copy;
}

/* A failure that the gateway has found itself, in Chat's shape. */
static int
own_chat(struct buf *b, enum failure f)
{
	const struct failure_info *info = failure_info(f);
	char message[256];

	switch (f) {
	case FAIL_EMPTY:
		return chat_error_body(
		    b, info->status, "stream_timeout", "STREAM_READINESS_TIMEOUT", info->message);
	case FAIL_NOT_JSON:
	case FAIL_UNASKED_SSE:
	case FAIL_INTERNAL:
		return chat_error_body(b, info->status, NULL, NULL, info->message);
	default:
		snprintf(message, sizeof message, "[%d]: %s", info->status, info->message);
		return chat_error_body(b, info->status, NULL, NULL, message);
	}
}

/* What a failure is called in a client's dialect. */
struct canon_error
answer_failure(enum failure f)
{
	const struct failure_info *info = failure_info(f);

	return (struct canon_error){.class = canon_error_of_status(info->status),
	    .status = info->status,
	    .message = span_of(info->message)};
}

static bool
is_openai(const struct exchange *x)
{
	return x->ask.dialect == DIALECT_CHAT || x->ask.dialect == DIALECT_RESPONSES;
}

/* Every 429 and 503 that knows a time says it. */
static void
say_retry(struct exchange *x, int status)
{
	uint64_t now = clock_now_ns(), until;

	if ((status != 429 && status != 503) || headers_get(&x->head, "retry-after").p != NULL)
		return;
	if (route_first_free(&x->route, worker.live, now, &until) != NULL)
		answer_say_number(x->req, "Retry-After", route_wait_s(until, now));
}

/* The error as the client is to see it, and its status. */
static int
write_error(struct exchange *x, const struct attempt *last, struct buf *out, int *status)
{
	struct buf own = BUF_INIT(4096);
	struct canon_error e = answer_failure(last->failure);
	struct refusal q = {.client = x->ask.dialect,
	    .upstream = last->dialect,
	    .status = last->status,
	    .body = (struct span){x->body.data, x->body.len},
	    .type = headers_get(&x->head, "x-amzn-errortype"),
	    .provider = snapshot_span(x->snap, x->route.provider->id),
	    .request_id = span_of(x->req->request_id),
	    .told = x->is_told ? &x->told : NULL,
	    .attempts = attempts_json(x),
	    .wall_s = clock_wall_us() / 1000000};
	int r = 0;

	if (last->conn != &route_builtin)
		q.secret = snapshot_span(x->snap, last->conn->secret);
	if (e.status != 0) { /* one of ours */
		q.told = &e;
		q.status = e.status;
		if (is_openai(x) && (r = own_chat(&own, last->failure)) == 0) {
			q.told = NULL;
			q.upstream = q.client;
			q.body = (struct span){own.data, own.len};
		}
	}
	if (r == 0)
		r = refusal_tell(x->arena, out, &q, status);
	buf_clear(&own);
	return r;
}

void
answer_error(struct exchange *x)
{
	const struct attempt *last = &x->attempt[x->attempts - 1];
	struct buf out = BUF_INIT(4 * REFUSAL_MAX);
	int status = 500, r;

	if (failure_info(last->failure)->status == 0)
		headers_send(x->req, &x->head);
	r = write_error(x, last, &out, &status);
	say_retry(x, status);
	x->bytes_out = r == 0 ? out.len : 0;
	exchange_end(x, r == 0 ? status : 500, 0, NULL, NULL);
	if (r == 0)
		http_reply(x->req, status, "application/json", out.data, out.len);
	else
		http_error(x->req, 500, NULL, NULL);
	buf_clear(&out);
}
