#include "worker/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/snapshot.h"
#include "worker/worker.h"

#define PAGE_MAX (16u << 20)
#define PREFIX "omniroute_"
#define CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
/* Buckets below 64 microseconds are summed into one: nothing that answers is as quick. */
#define FIRST_BUCKET 11

/* Everything that a family may look at. */
struct page {
	struct buf *b;
	const struct live *live;
	struct snapshot *snap;
	uint64_t now_ns;
	unsigned used[LIVE_WORKERS]; /* slots that ever had a worker; the others hold nothing */
	unsigned nused;
};

struct hist_sum {
	uint64_t bucket[LIVE_HIST], sum_us;
};

static uint64_t
load(const _Atomic uint64_t *word)
{
	return atomic_load_explicit(word, memory_order_relaxed);
}

/* ---- lines ---- */

static void
put_label_value(struct buf *b, const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '\n')
			buf_str(b, "\\n");
		else if (*s == '"' || *s == '\\')
			buf_addf(b, "\\%c", *s);
		else
			buf_add(b, s, 1);
	}
}

static void
put_head(struct page *g, const char *name, const char *type, const char *help)
{
	buf_addf(g->b, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
}

/* One label at most; NULL: none. */
static void
put_labelled(struct page *g, const char *name, const char *label, const char *value)
{
	buf_addf(g->b, PREFIX "%s", name);
	if (label != NULL) {
		buf_addf(g->b, "{%s=\"", label);
		put_label_value(g->b, value);
		buf_str(g->b, "\"}");
	}
}

static void
put_u64(struct page *g, const char *name, const char *label, const char *value, uint64_t n)
{
	put_labelled(g, name, label, value);
	buf_addf(g->b, " %" PRIu64 "\n", n);
}

static void
put_seconds(struct page *g, const char *name, const char *label, const char *value, uint64_t ns)
{
	put_labelled(g, name, label, value);
	buf_addf(
	    g->b, " %" PRIu64 ".%03" PRIu64 "\n", ns / NS_PER_SEC, ns % NS_PER_SEC / NS_PER_MS);
}

static void
put_micros(struct buf *b, uint64_t us)
{
	buf_addf(b, "%" PRIu64 ".%06" PRIu64, us / 1000000, us % 1000000);
}

/* ---- histograms ---- */

static void
hist_add(struct hist_sum *sum, const struct live_hist *h)
{
	for (unsigned i = 0; i < LIVE_HIST; i++)
		sum->bucket[i] += load(&h->bucket[i]);
	sum->sum_us += load(&h->sum_us);
}

/*
 * A bucket's upper bound is the first whole microsecond above it; Prometheus counts the bound in.
 * The count is that of the buckets, so that it agrees with them while workers write.
 */
static void
put_hist(struct page *g, const char *name, const char *provider, const struct hist_sum *h)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < LIVE_HIST; i++) {
		n += h->bucket[i];
		if (i < FIRST_BUCKET)
			continue;
		buf_addf(g->b, PREFIX "%s_bucket{", name);
		if (provider != NULL) {
			buf_str(g->b, "provider=\"");
			put_label_value(g->b, provider);
			buf_str(g->b, "\",");
		}
		buf_str(g->b, "le=\"");
		if (i < LIVE_HIST - 1)
			put_micros(g->b, live_hist_bound_us(i));
		else
			buf_str(g->b, "+Inf");
		buf_addf(g->b, "\"} %" PRIu64 "\n", n);
	}
	for (unsigned i = 0; i < 2; i++) {
		buf_addf(g->b, PREFIX "%s_%s", name, i == 0 ? "sum" : "count");
		if (provider != NULL) {
			buf_str(g->b, "{provider=\"");
			put_label_value(g->b, provider);
			buf_str(g->b, "\"}");
		}
		buf_str(g->b, " ");
		if (i == 0)
			put_micros(g->b, h->sum_us);
		else
			buf_addf(g->b, "%" PRIu64, n);
		buf_str(g->b, "\n");
	}
}

/* ---- families of the whole gateway ---- */

static void
emit_build(struct page *g, const char *name)
{
	put_u64(g, name, "version", OMNIROUTE_VERSION, 1);
}

static void
emit_snapshot(struct page *g, const char *name)
{
	put_u64(g, name, NULL, NULL, snapshot_head(g->snap)->number);
}

static void
emit_workers(struct page *g, const char *name)
{
	static const char *const states[] = {
	    [WORKER_STARTING] = "starting",
	    [WORKER_READY] = "ready",
	    [WORKER_RETIRING] = "retiring",
	};
	uint64_t n[NELEM(states)] = {0};

	for (unsigned i = 0; i < g->nused; i++) {
		const struct live_worker *w = &g->live->worker[g->used[i]];
		uint32_t state = atomic_load_explicit(&w->state, memory_order_relaxed);

		if (load(&w->owner) != 0 && state < NELEM(states))
			n[state]++;
	}
	for (unsigned i = WORKER_STARTING; i < NELEM(states); i++)
		put_u64(g, name, "state", states[i], n[i]);
}

static const char *const exchange_states[XS_DONE] = {
    [XS_BODY] = "body",
    [XS_ROUTE] = "route",
    [XS_CONNECT] = "connect",
    [XS_RELAY] = "relay",
};

/* Gauges of one worker are never below 0; read while they move between states they might seem so.
 */
static uint64_t
exchanges_of(const struct live_worker *w, unsigned state)
{
	return (uint64_t)MAX(atomic_load_explicit(&w->exchanges[state], memory_order_relaxed), 0);
}

static void
emit_in_flight(struct page *g, const char *name)
{
	for (unsigned s = 0; s < XS_DONE; s++) {
		uint64_t n = 0;

		for (unsigned i = 0; i < g->nused; i++)
			n += exchanges_of(&g->live->worker[g->used[i]], s);
		put_u64(g, name, "state", exchange_states[s], n);
	}
}

static void
emit_connections(struct page *g, const char *name)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < g->nused; i++)
		n += atomic_load_explicit(&g->live->worker[g->used[i]].conns, memory_order_relaxed);
	put_u64(g, name, NULL, NULL, n);
}

static void
emit_records_open(struct page *g, const char *name)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < g->nused; i++)
		n += atomic_load_explicit(&g->live->worker[g->used[i]].open, memory_order_relaxed);
	put_u64(g, name, NULL, NULL, n);
}

static void
emit_records_pending(struct page *g, const char *name)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < g->nused; i++)
		n += ring_pending(&g->live->worker[g->used[i]].ring);
	put_u64(g, name, NULL, NULL, n);
}

static void
emit_latency(struct page *g, const char *name)
{
	struct hist_sum sum = {0};

	for (unsigned i = 0; i < g->nused; i++)
		hist_add(&sum, &g->live->worker[g->used[i]].latency);
	put_hist(g, name, NULL, &sum);
}

static void
emit_ttft(struct page *g, const char *name)
{
	struct hist_sum sum = {0};

	for (unsigned i = 0; i < g->nused; i++)
		hist_add(&sum, &g->live->worker[g->used[i]].ttft);
	put_hist(g, name, NULL, &sum);
}

/* ---- families by worker: those that are there now ---- */

typedef void each_worker(
    struct page *g, const char *name, const char *slot, const struct live_worker *w);

static void
by_worker(struct page *g, const char *name, each_worker *put)
{
	char slot[12];

	for (unsigned i = 0; i < g->nused; i++) {
		const struct live_worker *w = &g->live->worker[g->used[i]];

		if (load(&w->owner) == 0)
			continue;
		snprintf(slot, sizeof slot, "%u", g->used[i]);
		put(g, name, slot, w);
	}
}

static void
put_in_flight(struct page *g, const char *name, const char *slot, const struct live_worker *w)
{
	for (unsigned s = 0; s < XS_DONE; s++)
		buf_addf(g->b, PREFIX "%s{worker=\"%s\",state=\"%s\"} %" PRIu64 "\n", name, slot,
		    exchange_states[s], exchanges_of(w, s));
}

static void
put_connections(struct page *g, const char *name, const char *slot, const struct live_worker *w)
{
	put_u64(g, name, "worker", slot, atomic_load_explicit(&w->conns, memory_order_relaxed));
}

/* A time of the worker's that lies after `now` was written after `now` was read. */
static void
put_age(struct page *g, const char *name, const char *slot, uint64_t since_ns)
{
	put_seconds(g, name, "worker", slot, g->now_ns > since_ns ? g->now_ns - since_ns : 0);
}

static void
put_heartbeat(struct page *g, const char *name, const char *slot, const struct live_worker *w)
{
	uint64_t beat = load(&w->heartbeat_ns);

	if (beat != 0)
		put_age(g, name, slot, beat);
}

static void
put_uptime(struct page *g, const char *name, const char *slot, const struct live_worker *w)
{
	uint64_t started = load(&w->started_ns);

	if (started != 0)
		put_age(g, name, slot, started);
}

static void
put_resident(struct page *g, const char *name, const char *slot, const struct live_worker *w)
{
	put_u64(g, name, "worker", slot,
	    (uint64_t)atomic_load_explicit(&w->rss_kb, memory_order_relaxed) * 1024);
}

static void
put_have_snap(struct page *g, const char *name, const char *slot, const struct live_worker *w)
{
	put_u64(g, name, "worker", slot, load(&w->have_snap));
}

#define BY_WORKER(emit, put) \
	static void emit(struct page *g, const char *name) \
	{ \
		by_worker(g, name, put); \
	}
BY_WORKER(emit_worker_in_flight, put_in_flight)
BY_WORKER(emit_worker_connections, put_connections)
BY_WORKER(emit_worker_heartbeat, put_heartbeat)
BY_WORKER(emit_worker_uptime, put_uptime)
BY_WORKER(emit_worker_resident, put_resident)
BY_WORKER(emit_worker_snapshot, put_have_snap)
#undef BY_WORKER

/* ---- families by provider and connection ---- */

#define PROVIDER_WORD(emit, word) \
	static void emit(struct page *g, const char *name) \
	{ \
		for (uint32_t i = 0; i < snapshot_head(g->snap)->providers.count; i++) { \
			const struct snap_provider *p = snapshot_provider(g->snap, i); \
			uint64_t n = 0; \
\
			if (p->slot >= LIVE_PROVIDERS) \
				continue; \
			for (unsigned w = 0; w < g->nused; w++) \
				n += load(&g->live->worker[g->used[w]].provider[p->slot].word); \
			put_u64(g, name, "provider", snapshot_cstr(g->snap, p->id), n); \
		} \
	}
PROVIDER_WORD(emit_provider_requests, requests)
PROVIDER_WORD(emit_provider_errors, errors)
PROVIDER_WORD(emit_provider_tokens_in, tokens_in)
PROVIDER_WORD(emit_provider_tokens_out, tokens_out)
#undef PROVIDER_WORD

#define PROVIDER_HIST(emit, hist) \
	static void emit(struct page *g, const char *name) \
	{ \
		for (uint32_t i = 0; i < snapshot_head(g->snap)->providers.count; i++) { \
			const struct snap_provider *p = snapshot_provider(g->snap, i); \
			struct hist_sum sum = {0}; \
\
			if (p->slot >= LIVE_PROVIDERS) \
				continue; \
			for (unsigned w = 0; w < g->nused; w++) \
				hist_add( \
				    &sum, &g->live->worker[g->used[w]].provider[p->slot].hist); \
			put_hist(g, name, snapshot_cstr(g->snap, p->id), &sum); \
		} \
	}
PROVIDER_HIST(emit_provider_latency, latency)
PROVIDER_HIST(emit_provider_ttft, ttft)
#undef PROVIDER_HIST

static void
put_conn(struct page *g, const char *name, const struct snap_conn *c)
{
	buf_addf(g->b, PREFIX "%s{connection=\"", name);
	put_label_value(g->b, snapshot_cstr(g->snap, c->name));
	buf_str(g->b, "\",id=\"");
	put_label_value(g->b, snapshot_cstr(g->snap, c->id));
	buf_str(g->b, "\",provider=\"");
	put_label_value(g->b, snapshot_cstr(g->snap, snapshot_provider(g->snap, c->provider)->id));
	buf_str(g->b, "\"} ");
}

static void
emit_conn_in_flight(struct page *g, const char *name)
{
	for (uint32_t i = 0; i < snapshot_head(g->snap)->conns.count; i++) {
		const struct snap_conn *c = snapshot_conn(g->snap, i);

		if (c->slot >= LIVE_CONNS)
			continue;
		put_conn(g, name, c);
		buf_addf(g->b, "%" PRIu32 "\n", live_conn_inflight(g->live, c->slot));
	}
}

static void
emit_conn_cooldown(struct page *g, const char *name)
{
	for (uint32_t i = 0; i < snapshot_head(g->snap)->conns.count; i++) {
		const struct snap_conn *c = snapshot_conn(g->snap, i);
		uint64_t until = 0;

		if (c->slot >= LIVE_CONNS)
			continue;
		live_conn_available(g->live, c->slot, g->now_ns, &until);
		put_conn(g, name, c);
		put_micros(g->b, until > g->now_ns ? (until - g->now_ns) / NS_PER_US : 0);
		buf_str(g->b, "\n");
	}
}

/* ---- the page ---- */

static const struct {
	const char *name, *type, *help;
	void (*emit)(struct page *g, const char *name);
} families[] = {
#define X(emit, name, type, help) {name, type, help, emit_##emit},
#include "worker/metrics.def"
#undef X
};

static const struct {
	const char *name, *worker_name, *help;
} counters[CTR_COUNT] = {
#define X(name, prom, help) {prom, "worker_" prom, help},
#include "shared/counters.def"
#undef X
};

static void
write_counters(struct page *g)
{
	char slot[12];

	for (unsigned c = 0; c < CTR_COUNT; c++) {
		uint64_t n = 0;

		for (unsigned i = 0; i < g->nused; i++)
			n += load(&g->live->worker[g->used[i]].counter[c]);
		put_head(g, counters[c].name, "counter", counters[c].help);
		put_u64(g, counters[c].name, NULL, NULL, n);
	}
	for (unsigned c = 0; c < CTR_COUNT; c++) {
		put_head(g, counters[c].worker_name, "counter", counters[c].help);
		for (unsigned i = 0; i < g->nused; i++) {
			snprintf(slot, sizeof slot, "%u", g->used[i]);
			put_u64(g, counters[c].worker_name, "worker", slot,
			    load(&g->live->worker[g->used[i]].counter[c]));
		}
	}
}

void
metrics_write(struct buf *b, const struct live *live, struct snapshot *snap, uint64_t now_ns)
{
	struct page g = {.b = b, .live = live, .snap = snap, .now_ns = now_ns};

	for (unsigned i = 0; i < LIVE_WORKERS; i++)
		if (load(&live->worker[i].generation) != 0)
			g.used[g.nused++] = i;
	write_counters(&g);
	for (size_t i = 0; i < NELEM(families); i++) {
		put_head(&g, families[i].name, families[i].type, families[i].help);
		families[i].emit(&g, families[i].name);
	}
}

void
metrics_head(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	struct buf b = BUF_INIT(PAGE_MAX);

	(void)ep;
	(void)tail;
	metrics_write(&b, worker.live, caller->snap, clock_now_ns());
	http_header(r, "Cache-Control", "no-store");
	if (buf_ok(&b))
		http_reply(r, 200, CONTENT_TYPE, b.data, b.len);
	else
		http_error(r, 500, NULL, "The page of metrics does not fit into memory");
	buf_clear(&b);
}
