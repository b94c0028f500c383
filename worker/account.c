#include "worker/account.h"

#include <stdio.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/snapshot.h"
#include "worker/ask.h"
#include "worker/http.h"
#include "worker/route.h"
#include "worker/worker.h"

#define CHARS_PER_TOKEN 4 /* of the estimate */

/* As the record has room for. */
static const char *const dialect_labels[DIALECTS] = {
    [DIALECT_CHAT] = "openai-chat",
    [DIALECT_RESPONSES] = "responses",
    [DIALECT_MESSAGES] = "messages",
    [DIALECT_GEMINI] = "gemini",
};

static void
count(enum live_counter c, uint64_t by)
{
	live_bump(&worker.me->counter[c], by);
}

static struct live_worker_provider *
provider_of(const struct account *a)
{
	return &worker.me->provider[a->provider_slot % LIVE_PROVIDERS];
}

static void
show_open(void)
{
	atomic_store_explicit(&worker.me->open, ring_open_count(worker.ring), memory_order_relaxed);
}

static void
set_text(char *out, size_t size, struct span v)
{
	size_t n = MIN(v.n, size - 1);

	if (n > 0)
		memcpy(out, v.p, n);
	out[n] = '\0';
}

void
account_init(struct account *a)
{
	*a = (struct account){.cell = -1};
}

int
account_open(struct account *a, const struct http_req *r, const struct snapshot *snap,
    const struct snap_key *key, const struct ask *ask, bool stream)
{
	uint64_t ago_us = (clock_now_ns() - r->start_ns) / NS_PER_US;
	int cell = ring_open(worker.ring);
	struct usage_record *rec;

	if (cell < 0)
		return cell;
	a->cell = cell;
	a->snap = snap;
	a->start_ns = r->start_ns;
	a->rec = rec = ring_record(worker.ring, cell);
	rec->start_wall_us = clock_wall_us() - ago_us;
	rec->flags = stream ? USAGE_STREAM : 0;
	rec->bytes_in = r->body.n;
	set_text(rec->request_id, sizeof rec->request_id,
	    (struct span){r->request_id, strlen(r->request_id)});
	if (key != NULL)
		set_text(rec->key_id, sizeof rec->key_id, snapshot_span(snap, key->id));
	set_text(rec->model_asked, sizeof rec->model_asked,
	    (struct span){ask->chat.model, strlen(ask->chat.model)});
	strcpy(rec->dialect, dialect_labels[ask->dialect]);
	show_open();
	return 0;
}

/* Named in the record before it is sent, so that what a worker leaves behind says where the money
 * may have gone. */
void
account_attempt(struct account *a, const struct snap_provider *p, const struct snap_conn *conn,
    const char *model)
{
	struct usage_record *rec = a->rec;

	a->provider_slot = rec->provider_slot = p->slot;
	a->conn = conn != &route_builtin ? &worker.live->conn[conn->slot] : NULL;
	a->conn_slot = rec->conn_slot = a->conn != NULL ? conn->slot : UINT32_MAX;
	set_text(rec->connection, sizeof rec->connection,
	    a->conn != NULL ? snapshot_span(a->snap, conn->id) : (struct span){NULL, 0});
	set_text(rec->provider, sizeof rec->provider, snapshot_span(a->snap, p->id));
	set_text(rec->model_used, sizeof rec->model_used, (struct span){model, strlen(model)});
	count(CTR_upstream_attempts, 1);
	if (rec->attempts++ > 0)
		count(CTR_fallbacks, 1);
	live_bump(&provider_of(a)->requests, 1);
	if (a->conn != NULL)
		live_conn_enter(worker.live, a->conn_slot, worker.slot);
	a->in_flight = true;
}

static void
note_health(struct account *a, enum failure f, int status, uint64_t hint_ms, uint64_t wall_ms)
{
	const struct snap_settings *s = &snapshot_head(a->snap)->settings;

	if (f == FAIL_NONE) {
		live_conn_succeeded(worker.live, a->conn_slot);
		return;
	}
	atomic_store_explicit(&a->conn->last_error,
	    wall_ms / 1000 << 24 | (uint64_t)((unsigned)status & 0xffff) << 8 | (uint64_t)f,
	    memory_order_relaxed);
	if (failure_info(f)->retry)
		live_conn_failed(worker.live, a->conn_slot, clock_now_ns(), s->cooldown_base_ms,
		    s->cooldown_steps, hint_ms);
}

void
account_attempt_end(struct account *a, enum failure f, int status, uint64_t hint_ms, bool told)
{
	uint64_t wall_ms = clock_wall_us() / 1000;

	a->in_flight = false;
	a->rec->error = f;
	if (told && f != FAIL_NONE) {
		count(CTR_upstream_errors, 1);
		live_bump(&provider_of(a)->errors, 1);
	}
	if (a->conn == NULL)
		return;
	live_conn_leave(worker.live, a->conn_slot, worker.slot);
	atomic_store_explicit(&a->conn->last_used_wall_ms, wall_ms, memory_order_relaxed);
	if (told)
		note_health(a, f, status, hint_ms, wall_ms);
}

void
account_first_byte(struct account *a)
{
	if (a->first_byte_ns == 0)
		a->first_byte_ns = clock_now_ns();
}

static uint64_t
estimate(uint64_t bytes)
{
	return bytes / CHARS_PER_TOKEN + (bytes % CHARS_PER_TOKEN != 0);
}

static uint32_t
to_u32(uint64_t v)
{
	return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static void
write_tokens(
    struct account *a, const struct translate_state *st, size_t asked, struct canon_usage *booked)
{
	struct canon_usage u = {0};
	struct usage_record *rec = a->rec;

	if (st != NULL && (st->useful || st->finished || st->usage.has_in || st->usage.has_out))
		u = st->usage;
	if (st != NULL && (st->useful || st->finished)) {
		u.estimated |= !u.has_in || !u.has_out;
		if (!u.has_in)
			u.in_total = estimate(asked);
		if (!u.has_out)
			u.out_total = estimate(st->text_bytes);
	}
	if (u.estimated)
		rec->flags |= USAGE_ESTIMATED;
	rec->tokens_in = u.in_total;
	rec->tokens_out = u.out_total;
	rec->tokens_cached = u.in_cached;
	rec->tokens_reasoning = u.out_reasoning;
	rec->tokens_cache_write = to_u32(u.in_cache_write);
	if (booked != NULL)
		*booked = u;
	count(CTR_tokens_in, u.in_total);
	count(CTR_tokens_out, u.out_total);
	live_bump(&provider_of(a)->tokens_in, u.in_total);
	live_bump(&provider_of(a)->tokens_out, u.out_total);
}

static void
write_times(struct account *a)
{
	uint64_t us = (clock_now_ns() - a->start_ns) / NS_PER_US;

	a->rec->end_wall_us = clock_wall_us();
	a->rec->latency_us = to_u32(us);
	live_hist_add(&worker.me->latency, us);
	live_hist_add(&provider_of(a)->latency, us);
	if (a->first_byte_ns == 0)
		return;
	us = (a->first_byte_ns - a->start_ns) / NS_PER_US;
	a->rec->ttft_us = to_u32(us);
	live_hist_add(&worker.me->ttft, us);
	live_hist_add(&provider_of(a)->ttft, us);
}

void
account_close(struct account *a, int status, uint32_t flags, const struct translate_state *st,
    size_t asked, uint64_t bytes_out, struct canon_usage *booked)
{
	if (a->cell < 0)
		return;
	if (a->in_flight)
		bug("account closed with a request in flight");
	a->rec->status = (uint16_t)status;
	a->rec->flags |= flags;
	a->rec->bytes_out = bytes_out;
	write_tokens(a, st, asked, booked);
	write_times(a);
	ring_close(worker.ring, a->cell);
	a->cell = -1;
	a->rec = NULL;
	show_open();
	worker_wake_master();
}
