#include "worker/exchange.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/dialect.h"
#include "providers/catalog.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/snapshot.h"
#include "worker/echo.h"
#include "worker/exchange_own.h"
#include "worker/refusal.h"
#include "worker/responses.h"
#include "worker/worker.h"

#define ARENA_MAX (256u << 20) /* of one exchange: a request that is translated, with its media */

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
	buf_init(&x->sent, SIZE_MAX);
	x->ask =
	    (struct ask){.dialect = ep->dialect, .kind = ep->kind, .completion = ep->completion};
	x->state = XS_BODY;
	count_state(XS_BODY, 1);
	in_hand++;
	return x;
}

void
exchange_enter(struct exchange *x)
{
	x->busy++;
}

/* The last one out frees an exchange that is done. */
void
exchange_leave(struct exchange *x)
{
	if (--x->busy > 0 || x->state != XS_DONE)
		return;
	answer_reset(x);
	buf_clear(&x->sent);
	if (x->translate != NULL)
		translate_free(x->translate);
	snapshot_put(x->snap);
	in_hand--;
	arena_free(x->arena);
}

void
exchange_end(struct exchange *x, int status, uint32_t flags, const struct translate_state *st,
    struct canon_usage *booked)
{
	attempt_cancel(x);
	quiet_stop(x);
	room_leave(&x->seat);
	responses_cancel(x);
	if (x->account.in_flight)
		account_attempt_end(&x->account, FAIL_NONE, 0, 0, false);
	account_close(&x->account, status, flags, st, x->ask.said, x->bytes_out, booked);
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
	target_free();
	catalog_free();
}

/* ---- targets ---- */

static void
exchange_connect(struct exchange *x)
{
	answer_reset(x);
	exchange_set_state(x, XS_CONNECT);
	account_attempt(&x->account, x->route.provider, x->conn, x->route.model);
	if (attempt_start(x) != 0)
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
	return account_open(&x->account, x->req, x->snap, x->key, &x->ask, x->streamed);
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
		exchange_connect(x);
	else
		refuse_full(x);
	exchange_leave(x);
	return true;
}

/* The target stands, and its body: a usage record, and off. */
static void
exchange_go(struct exchange *x)
{
	if (x->account.cell >= 0 || reserve(x) == 0) {
		exchange_connect(x);
	} else {
		live_bump(&worker.me->counter[CTR_waited_full], 1);
		if (room_wait(&x->seat, on_room, x) != 0)
			refuse_full(x);
	}
}

static void
refuse_denied(struct exchange *x)
{
	int status = dialect_get(x->ask.dialect)->error_status(&x->denied);

	live_bump(&worker.me->counter[CTR_bad_requests], status < 500);
	exchange_end(x, status, 0, NULL, NULL);
	http_fail(x->req, &x->denied);
}

/* No target is left. */
static void
exchange_give_up(struct exchange *x)
{
	if (x->ask.kind == ASK_COUNT) {
		count_reply(x);
	} else if (x->attempts > 0) {
		answer_error(x);
	} else if (x->is_denied) {
		refuse_denied(x);
	} else {
		exchange_end(x, 503, 0, NULL, NULL);
		refuse_cooling(x);
	}
}

/* In XS_ROUTE: the next target, or the reply that there is none. */
static void
exchange_next(struct exchange *x)
{
	int r = E_DENIED;

	while (r == E_DENIED) {
		x->conn = x->attempts < ATTEMPTS_MAX
			      ? route_next(&x->route, worker.live, clock_now_ns())
			      : NULL;
		if (x->conn == NULL) {
			exchange_give_up(x);
			return;
		}
		r = attempt_prepare(x);
	}
	if (r == 0) {
		exchange_go(x);
	} else if (r != E_AGAIN) {
		exchange_end(x, 500, 0, NULL, NULL);
		http_error(x->req, 500, NULL, NULL);
	}
}

void
exchange_fetched(struct exchange *x, const struct canon_error *why)
{
	exchange_enter(x);
	if (why == NULL) {
		exchange_go(x);
	} else {
		x->denied = *why;
		refuse_denied(x);
	}
	exchange_leave(x);
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
	uint64_t hint = x->is_told && x->told.retry_after_ms != 0
			    ? x->told.retry_after_ms
			    : refusal_hint_ms(&x->head, (struct span){x->body.data, x->body.len},
				  clock_wall_us() / 1000000);
	int status = x->refused != 0 ? x->refused : x->head.status;

	attempt_cancel(x);
	quiet_stop(x);
	account_attempt_end(&x->account, f, status, hint, true);
	log_failure(x, f, status, "before its answer");
	x->attempt[x->attempts++] = (struct attempt){x->conn, f, status, x->target.dialect};
	exchange_set_state(x, XS_ROUTE);
	if (failure_info(f)->retry)
		exchange_next(x);
	else
		exchange_give_up(x);
}

/* ---- the endpoint's calls ---- */

void
exchange_head(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	struct exchange *x;
	const char *why;

	if (!r->expects_body) {
		http_error(r, 400, NULL, "Invalid JSON body: the request has none");
		return;
	}
	if ((x = exchange_new(r, ep, caller)) == NULL) {
		http_error(r, 500, NULL, "Out of memory");
		return;
	}
	r->ctx = x;
	r->dialect = ep->dialect;
	if (!ask_path(&x->ask, tail, r->query, &why)) {
		exchange_enter(x);
		exchange_end(x, 404, 0, NULL, NULL);
		http_error(r, 404, NULL, "%s", why);
		exchange_leave(x);
		return;
	}
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

/* The body, or Gemini's path, decides; where it says nothing at all, Accept does. */
static void
decide_stream(struct exchange *x)
{
	const struct ask *q = &x->ask;

	x->streamed = q->stream && q->kind == ASK_ANSWER;
	if (q->kind == ASK_ANSWER && !q->stream_given && q->dialect != DIALECT_GEMINI &&
	    accepts(x->req, "text/event-stream") && ask_member(x->req->body, "stream").p == NULL)
		x->streamed = x->add_stream = true;
}

static void
exchange_route(struct exchange *x)
{
	struct http_req *r = x->req;
	struct span forced = http_header_get(r, "x-omniroute-connection");
	enum route_result route = route_resolve(&x->route, x->snap, x->ask.chat.model, forced);

	if (route != ROUTE_OK && x->ask.kind == ASK_COUNT) {
		count_reply(x);
		return;
	}
	if (route != ROUTE_OK) {
		exchange_end(x, route_error(route)->status, 0, NULL, NULL);
		http_error(
		    r, route_error(route)->status, route_error(route)->code, "%s", x->route.note);
		return;
	}
	exchange_next(x);
}

void
exchange_recalled(struct exchange *x, int error)
{
	exchange_enter(x);
	if (error == 0) {
		exchange_route(x);
	} else {
		exchange_end(x, 500, 0, NULL, NULL);
		http_error(x->req, 500, NULL, NULL);
	}
	exchange_leave(x);
}

/* Its body is read: on, when what it refers to is known. */
static void
exchange_recall(struct exchange *x)
{
	int r = responses_recall(x);

	if (r != E_AGAIN)
		exchange_recalled(x, r);
}

void
exchange_body(struct http_req *r)
{
	struct exchange *x = r->ctx;
	const char *why;

	exchange_enter(x);
	exchange_set_state(x, XS_ROUTE);
	if (ask_body(&x->ask, r->body, &why) != 0) {
		live_bump(&worker.me->counter[CTR_bad_requests], 1);
		exchange_end(x, 400, 0, NULL, NULL);
		http_error(r, 400, NULL, "%s", why);
	} else {
		snprintf(r->note.model, sizeof r->note.model, "%.*s", (int)sizeof r->note.model - 1,
		    x->ask.chat.model);
		decide_stream(x);
		exchange_recall(x);
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
	bool streams = x->answer == ANSWER_STREAM || x->answer == ANSWER_RETOLD;
	const struct translate_state *st = streams ? answer_state(x) : NULL;
	bool served = x->state == XS_RELAY && st != NULL && st->ended;

	exchange_enter(x);
	if (served)
		exchange_attempt_ended(x, FAIL_NONE);
	exchange_end(x, served ? 200 : 499, served ? 0 : USAGE_ABORTED, st, NULL);
	exchange_leave(x);
}
