/* The answer of a Responses request, and what led to it, on their way to the master. */
#include <string.h>

#include "proto/scan.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/snapshot.h"
#include "worker/exchange_own.h"
#include "worker/responses.h"
#include "worker/worker.h"

static bool
is_kept(const struct exchange *x)
{
	return x->ask.dialect == DIALECT_RESPONSES && x->ask.kind == ASK_ANSWER && !x->kept &&
	       snapshot_head(x->snap)->settings.response_store_s != 0 &&
	       scan_type(ask_member(x->req->body, "store")) != 'f';
}

/* Ids of what was answered, as far as there is room for them; how many. */
static uint32_t
item_ids(struct arena *a, struct span output, struct span *id)
{
	struct span name, item, value;
	char text[STORED_ID_SIZE];
	struct scan s;
	ptrdiff_t len;
	uint32_t n = 0;

	scan_open(&s, output.p, output.n);
	if (output.p == NULL || !scan_enter(&s, 'a'))
		return 0;
	while (n < STORED_ITEMS && scan_next(&s, &name) && scan_skip(&s, &item)) {
		value = scan_type(item) == 'o' ? ask_member(item, "id") : (struct span){NULL, 0};
		len = scan_type(value) == 's' ? scan_string(value, text, sizeof text) : 0;
		if (len <= 0 || strlen(text) != (size_t)len ||
		    (id[n].p = arena_strndup(a, text, (size_t)len)) == NULL)
			continue;
		id[n++].n = (size_t)len;
	}
	return n;
}

/* The upstream knows its own answer by its id when the bytes of both have passed. */
static void
note_issuer(const struct exchange *x, struct stored_head *h)
{
	struct span id;

	if (x->target.translate || x->target.dialect != DIALECT_RESPONSES ||
	    x->conn == &route_builtin)
		return;
	id = snapshot_span(x->snap, x->conn->id);
	if (id.n < sizeof h->issuer)
		memcpy(h->issuer, id.p, id.n);
}

static int
hand(struct exchange *x, struct stored_head *h, struct span output, struct span answer)
{
	struct span *id = arena_zalloc(x->arena, STORED_ITEMS, sizeof *id);
	const struct recalled *rc = x->recalled;
	struct buf own = BUF_INIT(STORED_MAX);
	struct span input = {NULL, 0};
	int r;

	if (id == NULL)
		return E_NOMEM;
	h->items = item_ids(x->arena, output, id);
	if (rc != NULL && rc->input.p != NULL) {
		input = rc->input;
	} else {
		responses_put_items(&own, ask_member(x->req->body, "input"));
		input = (struct span){own.data, own.len};
	}
	if (rc != NULL && rc->partial)
		h->flags |= STORED_PARTIAL;
	r = buf_ok(&own) ? shelf_hand(h, id, answer, input, NULL, NULL) : E_TOO_LONG;
	buf_clear(&own);
	return r;
}

void
responses_keep(struct exchange *x, struct span answer)
{
	struct scan_want want[] = {{.name = "id"}, {.name = "output"}};
	struct stored_head h = {.op = STORED_KEEP};
	size_t at;
	int r;

	if (!is_kept(x) || scan_members(answer.p, answer.n, want, NELEM(want), &at) != 0 ||
	    scan_type(want[0].value) != 's' || scan_string(want[0].value, h.id, sizeof h.id) <= 0)
		return;
	x->kept = true;
	h.created_s = clock_wall_us() / 1000000;
	h.expires_s = h.created_s + 1 + snapshot_head(x->snap)->settings.response_store_s;
	responses_owner(x, h.owner);
	note_issuer(x, &h);
	if ((r = hand(x, &h, want[1].value, answer)) != 0) {
		live_bump(&worker.me->counter[CTR_responses_handed], 1);
		live_bump(&worker.me->counter[CTR_responses_lost], 1);
		log_info("response not stored request_id=%s: %s", x->req->request_id, err_text(r));
	}
}

/* ---- streams ---- */

static const char *const last_events[] = {
    "response.completed", "response.incomplete", "response.failed"};

static bool
is_last(struct span type)
{
	char text[32];

	if (scan_type(type) != 's' || scan_string(type, text, sizeof text) <= 0)
		return false;
	for (size_t i = 0; i < NELEM(last_events); i++)
		if (strcmp(text, last_events[i]) == 0)
			return true;
	return false;
}

static bool
may_be_last(struct span text)
{
	for (size_t i = 0; i < NELEM(last_events); i++)
		if (memmem(text.p, text.n, last_events[i], strlen(last_events[i])) != NULL)
			return true;
	return false;
}

/* A line of data: an event of this dialect is one object, on one line. */
static void
look_at_line(struct exchange *x, struct span line)
{
	struct scan_want want[] = {{.name = "type"}, {.name = "response"}};
	size_t at;

	if (line.n < 5 || memcmp(line.p, "data:", 5) != 0 || !may_be_last(line))
		return;
	line = (struct span){line.p + 5, line.n - 5};
	if (scan_members(line.p, line.n, want, NELEM(want), &at) == 0 && is_last(want[0].value) &&
	    scan_type(want[1].value) == 'o')
		responses_keep(x, want[1].value);
}

void
responses_watch(struct exchange *x, struct span out)
{
	if (x->ask.dialect != DIALECT_RESPONSES || !may_be_last(out) || !is_kept(x))
		return;
	while (out.n > 0) {
		const char *end = memchr(out.p, '\n', out.n);
		size_t n = end != NULL ? (size_t)(end - out.p) : out.n;

		look_at_line(x, (struct span){out.p, n > 0 && out.p[n - 1] == '\r' ? n - 1 : n});
		n += end != NULL;
		out = (struct span){out.p + n, out.n - n};
	}
}
