/* GET and DELETE /v1/responses/ID: what is kept, for the key that it was made with. */
#include "worker/responses.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "proto/scan.h"
#include "proto/translate.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/snapshot.h"
#include "worker/worker.h"

#define ARENA_MAX (512u << 20)
#define REPLAY_MAX (256u << 20)

/* One request; r->ctx. */
struct lookup {
	const struct endpoint *ep; /* first: the endpoint's way back */
	struct http_req *req;
	struct arena *arena;
	struct shelf_seek seek;
	struct span id;
	uint8_t owner[STORED_OWNER];
};

static void
lookup_free(struct lookup *l)
{
	shelf_seek_stop(&l->seek);
	shelf_forsake(l);
	if (l->req != NULL)
		l->req->ctx = (void *)(uintptr_t)l->ep;
	arena_free(l->arena);
}

/* ---- replies ---- */

static void
not_found(struct http_req *r, struct span id)
{
	char text[STORED_ID_SIZE + 64];
	struct canon_error e = {
	    .class = ERROR_NOT_FOUND, .status = 404, .code = span_of("response_not_found")};

	snprintf(text, sizeof text, "Response with id '%.*s' not found.",
	    (int)MIN(id.n, STORED_ID_SIZE), id.p);
	e.message = span_of(text);
	http_fail(r, &e);
}

static void
reply_deleted(struct lookup *l)
{
	struct buf b = BUF_INIT(8 * STORED_ID_SIZE);

	buf_str(&b, "{\"id\":\"");
	scan_escape(&b, l->id.p, l->id.n);
	buf_str(&b, "\",\"object\":\"response\",\"deleted\":true}");
	if (buf_ok(&b))
		http_reply(l->req, 200, "application/json", b.data, b.len);
	else
		http_error(l->req, 500, NULL, NULL);
	buf_clear(&b);
}

/* ---- events of an answer that is stored ---- */

/* The events that the answer would have been, in the grammar of the dialect. */
static int
play(struct lookup *l, struct span answer, struct buf *out)
{
	static const char asked[] = "{\"model\":\"stored\",\"input\":[],\"stream\":true}";
	const struct decode_request q = {.arena = l->arena, .body = {asked, sizeof asked - 1}};
	struct translate_setup s = {.arena = l->arena,
	    .client = DIALECT_RESPONSES,
	    .now_s = clock_wall_us() / 1000000,
	    .max_event = REPLAY_MAX,
	    .max_response = REPLAY_MAX};
	struct canon_error err;
	struct profile p;
	struct translate *t;
	int r;

	randombytes_buf(s.seed, sizeof s.seed);
	if ((t = translate_new(&s)) == NULL)
		return E_NOMEM;
	profile_init(&p, DIALECT_RESPONSES);
	if ((r = translate_request(t, &q, &err)) == 0 &&
	    (r = translate_target(t, &p, span_of("stored"), &err)) == 0 &&
	    (r = translate_open(t, WHOLE)) == 0 &&
	    (r = translate_take(t, answer.p, answer.n, out)) == 0)
		r = translate_end(t, out);
	translate_free(t);
	return r;
}

/* Appends an event, but for its `response`, which is the stored answer itself where it is the last.
 */
static void
put_event(struct buf *out, struct span event, struct span data, struct span answer, uint64_t after)
{
	struct scan_want want[] = {
	    {.name = "type"}, {.name = "sequence_number"}, {.name = "response"}};
	uint64_t number;
	char type[64];
	size_t at;

	if (scan_members(data.p, data.n, want, NELEM(want), &at) != 0 ||
	    !scan_u64(want[1].value, &number) ||
	    scan_string(want[0].value, type, sizeof type) < 0 ||
	    (after != UINT64_MAX && number <= after))
		return;
	if (want[2].value.p == NULL || strcmp(type, "response.created") == 0 ||
	    strcmp(type, "response.in_progress") == 0) {
		buf_add(out, event.p, event.n);
		return;
	}
	buf_addf(out,
	    "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%llu,\"response\":", type, type,
	    (unsigned long long)number);
	buf_add(out, answer.p, answer.n);
	buf_str(out, "}\n\n");
}

static void
put_events(struct buf *out, struct span all, struct span answer, uint64_t after)
{
	while (all.n > 0) {
		const char *end = memmem(all.p, all.n, "\n\n", 2);
		size_t n = end != NULL ? (size_t)(end - all.p) + 2 : all.n;
		const char *data = memmem(all.p, n, "data: ", 6);

		if (data != NULL && end != NULL)
			put_event(out, (struct span){all.p, n},
			    (struct span){data + 6, (size_t)(end - data) - 6}, answer, after);
		all = (struct span){all.p + n, all.n - n};
	}
}

static void
reply_stream(struct lookup *l, struct span answer)
{
	struct buf all = BUF_INIT(REPLAY_MAX), out = BUF_INIT(REPLAY_MAX);
	char text[24];
	uint64_t after = UINT64_MAX;

	if (ask_query(l->req->query, "starting_after", text, sizeof text) && text[0] != '\0')
		after = strtoull(text, NULL, 10);
	if (play(l, answer, &all) == 0)
		put_events(&out, (struct span){all.data, all.len}, answer, after);
	if (all.len > 0 && buf_ok(&out)) {
		http_header(l->req, "Cache-Control", "no-cache, no-transform");
		http_reply(l->req, 200, "text/event-stream; charset=utf-8", out.data, out.len);
	} else {
		http_error(l->req, 500, NULL, NULL);
	}
	buf_clear(&all);
	buf_clear(&out);
}

static void
reply_answer(struct lookup *l, const struct stored_head *h)
{
	struct span answer = stored_answer(h);
	char stream[8];

	if (ask_query(l->req->query, "stream", stream, sizeof stream) &&
	    strcmp(stream, "true") == 0) {
		reply_stream(l, answer);
		return;
	}
	http_header(l->req, "Cache-Control", "no-cache");
	http_reply(l->req, 200, "application/json", answer.p, answer.n);
}

/* ---- looking, forgetting ---- */

static void
on_forgotten(void *ctx, int error)
{
	struct lookup *l = ctx;

	if (error == 0 || error == E_NOT_FOUND) {
		reply_deleted(l);
	} else {
		http_header(l->req, "Retry-After", "1");
		http_error(l->req, 503, NULL, "The response cannot be deleted now; try again");
	}
	l->req = NULL;
	lookup_free(l);
}

/* True: it is on its way to the master. */
static bool
forget(struct lookup *l)
{
	struct stored_head h = {.op = STORED_FORGET};
	struct span none = {NULL, 0};

	memcpy(h.owner, l->owner, sizeof h.owner);
	memcpy(h.id, l->id.p, l->id.n);
	if (shelf_hand(&h, NULL, none, none, on_forgotten, l) == 0) {
		http_accept_body(l->req, 0);
		return true;
	}
	http_header(l->req, "Retry-After", "1");
	http_error(l->req, 503, NULL, "The response cannot be deleted now; try again");
	return false;
}

/* True: done, one way or the other. */
static bool
look(struct lookup *l, bool last)
{
	const struct stored_head *h = NULL;
	bool late;
	int r = shelf_find(l->arena, l->owner, l->id, false, &h, &late);

	if (r == E_NOT_FOUND && late && !last)
		return false;
	shelf_seek_stop(&l->seek);
	if (r == 0 && l->req->method == HTTP_DELETE && forget(l))
		return true; /* which replies */
	if (r == 0 && l->req->method != HTTP_DELETE)
		reply_answer(l, h);
	else if (r == E_NOT_FOUND)
		not_found(l->req, l->id);
	else if (r != 0)
		http_error(l->req, 500, NULL, NULL);
	l->req = NULL;
	lookup_free(l);
	return true;
}

static bool
on_look(void *ctx, bool last)
{
	return look(ctx, last);
}

void
responses_head(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	struct arena *a;
	struct lookup *l;
	char *id;

	r->dialect = DIALECT_RESPONSES;
	if (tail.n >= STORED_ID_SIZE || memchr(tail.p, '/', tail.n) != NULL ||
	    memchr(tail.p, '\0', tail.n) != NULL) {
		not_found(r, tail);
		return;
	}
	a = arena_new(ARENA_MAX);
	l = a != NULL ? arena_zalloc(a, 1, sizeof *l) : NULL;
	id = a != NULL ? arena_strndup(a, tail.p, tail.n) : NULL;
	if (l == NULL || id == NULL) {
		arena_free(a);
		http_error(r, 500, NULL, NULL);
		return;
	}
	*l = (struct lookup){.ep = ep, .req = r, .arena = a, .id = {id, tail.n}};
	stored_owner(caller->key != NULL ? snapshot_span(caller->snap, caller->key->id)
					 : (struct span){NULL, 0},
	    l->owner);
	r->ctx = l;
	if (look(l, false))
		return;
	http_accept_body(r, 0);
	if (shelf_seek(&l->seek, on_look, l) != 0) {
		http_error(r, 500, NULL, NULL);
		l->req = NULL;
		lookup_free(l);
	}
}

void
responses_gone(struct http_req *r)
{
	struct lookup *l = r->ctx;

	lookup_free(l);
}
