#include "worker/exchange.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/scan.h"
#include "providers/catalog.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/snapshot.h"
#include "worker/echo.h"
#include "worker/exchange_own.h"
#include "worker/refusal.h"
#include "worker/worker.h"

#define ARENA_MAX (16u << 20) /* of one exchange; bodies do not live there */

static unsigned in_hand;

/* ---- states ---- */

#define TO(s) (1u << (s))
static const uint8_t may_go_to[XS_COUNT] = {
    [XS_BODY] = TO(XS_ROUTE) | TO(XS_DONE),
    [XS_ROUTE] = TO(XS_CONNECT) | TO(XS_DONE),                /* done: no target left */
    [XS_CONNECT] = TO(XS_RELAY) | TO(XS_ROUTE) | TO(XS_DONE), /* route: next target */
    [XS_RELAY] = TO(XS_DONE),                                 /* a byte is out: no way back */
};

static void
count_state(enum live_exchange_state s, int by)
{
	_Atomic int32_t *n = &worker.me->exchanges[s];

	atomic_store_explicit(
	    n, atomic_load_explicit(n, memory_order_relaxed) + by, memory_order_relaxed);
}

/* The counts by state are moved here and nowhere else; XS_DONE is not counted. */
void
exchange_set_state(struct exchange *x, enum live_exchange_state to)
{
	if ((may_go_to[x->state] & TO(to)) == 0)
		bug("exchange %p: state %d cannot become %d", (void *)x, (int)x->state, (int)to);
	count_state(x->state, -1);
	x->state = to;
	if (to != XS_DONE)
		count_state(to, 1);
}

/* ---- birth and death ---- */

static struct exchange *
exchange_new(struct http_req *r, const struct endpoint *ep, const struct caller *caller)
{
	struct arena *a = arena_new(ARENA_MAX);
	struct exchange *x = a != NULL ? arena_zalloc(a, 1, sizeof *x) : NULL;

	if (x == NULL) {
		arena_free(a);
		return NULL;
	}
	x->ep = ep;
	x->req = r;
	x->arena = a;
	x->snap = snapshot_get(caller->snap);
	x->key = caller->key;
	account_init(&x->account);
	x->state = XS_BODY;
	count_state(XS_BODY, 1);
	in_hand++;
	return x;
}

static void
exchange_enter(struct exchange *x)
{
	x->busy++;
}

/* The last one out frees an exchange that is done. */
static void
exchange_leave(struct exchange *x)
{
	if (--x->busy > 0 || x->state != XS_DONE)
		return;
	answer_reset(x);
	snapshot_put(x->snap);
	in_hand--;
	arena_free(x->arena);
}

static void
cancel_upstream(struct exchange *x)
{
	if (x->relay != NULL)
		relay_cancel(x->relay);
	if (x->echo != NULL)
		echo_cancel(x->echo);
	x->relay = NULL;
	x->echo = NULL;
}

void
exchange_end(struct exchange *x, int status, uint32_t flags, const struct chat_stream *st,
    struct chat_usage *booked)
{
	cancel_upstream(x);
	room_leave(&x->seat);
	if (x->account.in_flight)
		account_attempt_end(&x->account, FAIL_NONE, 0, 0, false);
	account_close(&x->account, status, flags, st, x->chat.messages.n, x->bytes_out, booked);
	x->req->ctx = (void *)(uintptr_t)x->ep;
	exchange_set_state(x, XS_DONE);
}

unsigned
exchange_count(void)
{
	return in_hand;
}

void
exchange_shutdown(void)
{
	relay_shutdown();
	room_close();
	catalog_free();
}

/* ---- targets ---- */

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

static const struct relay_handler handler = {on_data, on_done};

/* The client's body with another model value: three pieces, the first and the last where they lie.
 */
static int
splice_body(struct exchange *x, struct span piece[3])
{
	struct span body = x->req->body, model = x->chat.model_value;
	size_t before = (size_t)(model.p - body.p);
	struct buf b = BUF_INIT(8 * MODEL_MAX + 64);
	char *value = NULL;

	buf_str(&b, "\"");
	scan_escape(&b, x->route.model, strlen(x->route.model));
	buf_str(&b, x->add_stream ? "\",\"stream\":true" : "\"");
	if (buf_ok(&b))
		value = arena_strndup(x->arena, b.data, b.len);
	piece[0] = (struct span){body.p, before};
	piece[1] = (struct span){value, b.len};
	piece[2] = (struct span){model.p + model.n, body.n - before - model.n};
	buf_clear(&b);
	return value != NULL ? 0 : E_NOMEM;
}

static uint64_t
deadline_of(const struct exchange *x)
{
	uint32_t total_ms = snapshot_head(x->snap)->settings.total_timeout_ms;

	return total_ms != 0 ? x->req->start_ns + total_ms * NS_PER_MS : 0;
}

static int
start_echo(struct exchange *x)
{
	struct echo_request q = {
	    .body = x->req->body,
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
	    .headers = headers_upstream(x->arena, x->req, x->snap, x->conn, x->streamed),
	    .deadline_ns = deadline_of(x),
	    .head = &x->head,
	};

	if (q.headers == NULL || splice_body(x, q.body) != 0)
		return E_NOMEM;
	x->relay = relay_start(&q, &handler, x);
	return x->relay != NULL ? 0 : E_NOMEM;
}

static void
exchange_connect(struct exchange *x, const struct snap_conn *conn)
{
	int r;

	answer_reset(x);
	x->conn = conn;
	exchange_set_state(x, XS_CONNECT);
	account_attempt(&x->account, x->route.provider, conn, x->route.model);
	r = x->route.provider->builtin ? start_echo(x) : start_relay(x);
	if (r != 0)
		exchange_attempt_failed(x, FAIL_INTERNAL); /* which is not tried again */
}

/* Nothing is free: says for how long, and what ails the one that will be free first. */
static void
refuse_cooling(struct exchange *x)
{
	uint64_t now = clock_now_ns(), until;
	const struct snap_conn *c = route_first_free(&x->route, worker.live, now, &until);
	uint64_t word, s;
	const struct failure_info *info;
	char after[24];

	if (c == NULL) { /* it has become free since we looked */
		http_header(x->req, "Retry-After", "1");
		http_error(x->req, 503, NULL, NULL);
		return;
	}
	word = atomic_load_explicit(&worker.live->conn[c->slot].last_error, memory_order_relaxed);
	info = failure_info((enum failure)(word & 0xff));
	s = route_wait_s(until, now);
	snprintf(after, sizeof after, "%llu", (unsigned long long)s);
	http_header(x->req, "Retry-After", after);
	http_error(x->req, (word >> 8 & 0xffff) == 429 ? 429 : 503, NULL,
	    "[%s/%s] %s (reset after %lluh %llum %llus)",
	    snapshot_cstr(x->snap, x->route.provider->id), x->route.model, info->message,
	    (unsigned long long)(s / 3600), (unsigned long long)(s / 60 % 60),
	    (unsigned long long)(s % 60));
}

static int
reserve(struct exchange *x)
{
	return account_open(&x->account, x->req, x->snap, x->key, &x->chat, x->streamed);
}

static void
refuse_full(struct exchange *x)
{
	live_bump(&worker.me->counter[CTR_refused_full], 1);
	exchange_end(x, 503, 0, NULL, NULL);
	http_header(x->req, "Retry-After", "1");
	http_error(x->req, 503, NULL, "No usage record is free; try again");
}

/* A usage record may be free again for the target that was chosen. */
static bool
on_room(void *ctx, bool late)
{
	struct exchange *x = ctx;
	bool reserved = reserve(x) == 0;

	if (!reserved && !late)
		return false;
	exchange_enter(x);
	if (reserved)
		exchange_connect(x, x->conn);
	else
		refuse_full(x);
	exchange_leave(x);
	return true;
}

/* In XS_ROUTE: the next target, or the reply that there is none. */
static void
exchange_next(struct exchange *x)
{
	const struct snap_conn *conn = NULL;

	if (x->attempts < ATTEMPTS_MAX)
		conn = route_next(&x->route, worker.live, clock_now_ns());
	if (conn == NULL && x->attempts > 0) {
		answer_error(x);
	} else if (conn == NULL) {
		exchange_end(x, 503, 0, NULL, NULL);
		refuse_cooling(x);
	} else if (x->account.cell >= 0 || reserve(x) == 0) {
		exchange_connect(x, conn);
	} else {
		x->conn = conn;
		live_bump(&worker.me->counter[CTR_waited_full], 1);
		if (room_wait(&x->seat, on_room, x) != 0)
			refuse_full(x);
	}
}

static void
log_failure(const struct exchange *x, enum failure f, int status, const char *where)
{
	struct span name = route_conn_name(&x->route, x->conn);

	log_info("upstream failed %s request_id=%s connection=%.*s failure=%s status=%d attempt=%u",
	    where, x->req->request_id, (int)name.n, name.p, failure_info(f)->label, status,
	    x->attempts + 1);
}

void
exchange_attempt_ended(struct exchange *x, enum failure told)
{
	struct span name = route_conn_name(&x->route, x->conn);

	account_attempt_end(&x->account, told, x->head.status, 0, true);
	snprintf(
	    x->req->note.connection, sizeof x->req->note.connection, "%.*s", (int)name.n, name.p);
	if (told != FAIL_NONE)
		log_failure(x, told, x->head.status, "in the middle of its answer");
}

void
exchange_attempt_failed(struct exchange *x, enum failure f)
{
	uint64_t hint = refusal_hint_ms(
	    &x->head, (struct span){x->body.data, x->body.len}, clock_wall_us() / 1000000);
	int status = x->refused != 0 ? x->refused : x->head.status;

	cancel_upstream(x);
	account_attempt_end(&x->account, f, status, hint, true);
	log_failure(x, f, status, "before its answer");
	x->attempt[x->attempts++] = (struct attempt){x->conn, f, status};
	exchange_set_state(x, XS_ROUTE);
	if (failure_info(f)->retry)
		exchange_next(x);
	else
		answer_error(x);
}

/* ---- the endpoint's calls ---- */

void
exchange_head(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	struct exchange *x;

	(void)tail;
	if (!r->expects_body) {
		http_error(r, 400, NULL, "Invalid JSON body: the request has none");
		return;
	}
	if ((x = exchange_new(r, ep, caller)) == NULL) {
		http_error(r, 500, NULL, "Out of memory");
		return;
	}
	r->ctx = x;
	http_accept_body(r, snapshot_head(x->snap)->settings.max_body_size);
}

/* ";q=0" and ";q=0.000" say: anything but this. */
static bool
is_refused(struct span item)
{
	for (size_t i = 0; i + 2 < item.n; i++) {
		bool q = item.p[i] == ';' || item.p[i] == ' ' || item.p[i] == '\t';

		if (!q || (item.p[i + 1] | 0x20) != 'q' || item.p[i + 2] != '=')
			continue;
		for (i += 3; i < item.n && (item.p[i] == '0' || item.p[i] == '.'); i++)
			continue;
		return i == item.n || item.p[i] < '1' || item.p[i] > '9';
	}
	return false;
}

/* Does a list of media types name this one? */
static bool
names_type(struct span list, const char *type)
{
	while (list.n > 0) {
		const char *comma = memchr(list.p, ',', list.n);
		size_t n = comma != NULL ? (size_t)(comma - list.p) : list.n, blank = 0;
		struct span item;

		while (blank < n && (list.p[blank] == ' ' || list.p[blank] == '\t'))
			blank++;
		item = (struct span){list.p + blank, n - blank};
		if (headers_media_type(item, type) && !is_refused(item))
			return true;
		n += comma != NULL;
		list = (struct span){list.p + n, list.n - n};
	}
	return false;
}

/* A list may be spread over several fields. */
static bool
accepts(const struct http_req *r, const char *type)
{
	struct span list;

	for (unsigned i = 0; (list = http_header_nth(r, "accept", i)).p != NULL; i++)
		if (names_type(list, type))
			return true;
	return false;
}

static bool
has_member(struct span body, const char *name)
{
	struct scan_want want = {.name = name};
	size_t at;

	return scan_members(body.p, body.n, &want, 1, &at) == 0 && want.value.p != NULL;
}

/* The body decides; where it says nothing at all, Accept does. */
static void
decide_stream(struct exchange *x)
{
	x->streamed = x->chat.stream;
	if (!x->chat.stream_given && accepts(x->req, "text/event-stream") &&
	    !has_member(x->req->body, "stream"))
		x->streamed = x->add_stream = true;
}

static void
exchange_route(struct exchange *x)
{
	struct http_req *r = x->req;
	struct span forced = http_header_get(r, "x-omniroute-connection");
	enum route_result route = route_resolve(&x->route, x->snap, x->chat.model, forced);

	if (route != ROUTE_OK) {
		exchange_end(x, route_error(route)->status, 0, NULL, NULL);
		http_error(
		    r, route_error(route)->status, route_error(route)->code, "%s", x->route.note);
		return;
	}
	exchange_next(x);
}

void
exchange_body(struct http_req *r)
{
	struct exchange *x = r->ctx;
	const char *why;

	exchange_enter(x);
	exchange_set_state(x, XS_ROUTE);
	if (chat_request(r->body.p, r->body.n, &x->chat, &why) != 0) {
		live_bump(&worker.me->counter[CTR_bad_requests], 1);
		exchange_end(x, 400, 0, NULL, NULL);
		http_error(r, 400, NULL, "%s", why);
	} else {
		snprintf(r->note.model, sizeof r->note.model, "%s", x->chat.model);
		decide_stream(x);
		exchange_route(x);
	}
	exchange_leave(x);
}

void
exchange_drain(struct http_req *r)
{
	struct exchange *x = r->ctx;

	exchange_enter(x);
	x->blocked = false;
	if (x->relay != NULL)
		relay_resume(x->relay);
	if (x->echo != NULL)
		echo_resume(x->echo);
	exchange_leave(x);
}

/* A client that left after it had the whole of a stream has been served. */
void
exchange_gone(struct http_req *r)
{
	struct exchange *x = r->ctx;
	const struct chat_stream *st = x->answer == ANSWER_STREAM ? &x->stream.st : NULL;
	bool served = x->state == XS_RELAY && st != NULL && st->done;

	exchange_enter(x);
	if (served)
		exchange_attempt_ended(x, FAIL_NONE);
	exchange_end(x, served ? 200 : 499, served ? 0 : USAGE_ABORTED, st, NULL);
	exchange_leave(x);
}
