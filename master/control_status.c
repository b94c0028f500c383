#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master/control.h"
#include "master/registry.h"
#include "shared/clock.h"
#include "shared/err.h"

static const char *const worker_states[] = {"free", "starting", "ready", "retiring"};

static const char *const counter_names[CTR_COUNT] = {
#define X(name, prom, help) [CTR_##name] = #name,
#include "shared/counters.def"
#undef X
};

/* Resident memory of this process, in KiB; 0 when the kernel does not say. */
static json_int_t
own_memory_kb(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long size, resident = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	fclose(f);
	return (json_int_t)resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static uint64_t
counter(const struct live_worker *w, enum live_counter c)
{
	return atomic_load_explicit(&w->counter[c], memory_order_relaxed);
}

/* States of exchanges are written by one worker each and read without a lock: never shown below
 * zero. */
static json_int_t
in_flight(const struct live_worker *w)
{
	json_int_t n = 0;

	for (unsigned i = 0; i < XS_COUNT; i++)
		n +=
		    i == XS_DONE ? 0 : atomic_load_explicit(&w->exchanges[i], memory_order_relaxed);
	return MAX(n, 0);
}

static json_t *
worker_to_json(const struct master *m, const struct worker_view *v, uint64_t now)
{
	const struct live_worker *w = &m->live->worker[v->slot];
	uint64_t beat = atomic_load(&w->heartbeat_ns);

	return json_pack("{s:i, s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "slot",
	    (int)v->slot, "pid", v->pid, "state",
	    v->state < NELEM(worker_states) ? worker_states[v->state] : "free", "uptime_s",
	    (json_int_t)((now - MIN(v->started_ns, now)) / NS_PER_SEC), "generation",
	    (json_int_t)v->generation, "snapshot", (json_int_t)atomic_load(&w->have_snap),
	    "in_flight", in_flight(w), "connections", (json_int_t)atomic_load(&w->conns),
	    "requests", (json_int_t)counter(w, CTR_requests), "errors",
	    (json_int_t)counter(w, CTR_replies_5xx) + (json_int_t)counter(w, CTR_stream_errors),
	    "memory_kb", (json_int_t)atomic_load(&w->rss_kb), "silent_ms",
	    (json_int_t)(beat && beat < now ? (now - beat) / NS_PER_MS : 0));
}

static json_t *
workers_to_json(const struct master *m, uint64_t now)
{
	struct worker_view v[LIVE_WORKERS];
	unsigned n = supervise_view(m, v, NELEM(v));
	json_t *a = json_array();

	for (unsigned i = 0; a && i < n; i++)
		json_array_append_new(a, worker_to_json(m, &v[i], now));
	return a;
}

/* Sums over all slots: what workers counted that are gone stays in them. */
static json_t *
totals_to_json(const struct master *m)
{
	json_t *o = json_object();
	json_int_t flying = 0;

	for (unsigned c = 0; o && c < CTR_COUNT; c++) {
		uint64_t sum = 0;

		for (unsigned s = 0; s < LIVE_WORKERS; s++)
			sum += counter(&m->live->worker[s], c);
		json_object_set_new(o, counter_names[c], json_integer((json_int_t)sum));
	}
	for (unsigned s = 0; s < LIVE_WORKERS; s++)
		flying += in_flight(&m->live->worker[s]);
	json_object_set_new(o, "in_flight", json_integer(flying));
	return o;
}

static json_t *
listeners_to_json(const struct conf *conf)
{
	json_t *a = json_array();

	for (unsigned i = 0; a && i < conf->nlisten; i++)
		json_array_append_new(a, json_pack("{s:s, s:b}", "name", conf->listen[i].name,
					     "tls", conf->listen[i].tls));
	return a;
}

struct listing {
	const struct master *m;
	json_t *list;
	uint64_t now;
};

static int
list_connection(void *ctx, const struct connection *c)
{
	struct listing *l = ctx;
	json_t *o = connection_to_json(l->m, c, l->now);

	return o && json_array_append_new(l->list, o) == 0 ? 0 : E_NOMEM;
}

void
control_status(struct master *m, struct control_job *job)
{
	struct listing l = {.m = m, .list = json_array(), .now = clock_now_ns()};
	int r = l.list ? registry_each_connection(m, list_connection, &l) : E_NOMEM;

	if (r < 0) {
		json_decref(l.list);
		control_job_fail_err(job, r, NULL);
		return;
	}
	control_job_reply(job,
	    json_pack("{s:s, s:i, s:s, s:I, s:o, s:I, s:s, s:s?, s:I, s:I, s:o, s:o, s:o, s:o}",
		"version", OMNIROUTE_VERSION, "pid", (int)getpid(), "state",
		m->stopping ? "stopping" : "running", "generation", (json_int_t)m->generation,
		"started_at", control_iso(m->started_wall_us), "uptime_s",
		(json_int_t)((l.now - MIN(m->started_ns, l.now)) / NS_PER_SEC), "data_dir",
		m->conf->data_dir, "config_file", m->conf->file, "snapshot",
		(json_int_t)publish_number(m), "memory_kb", own_memory_kb(), "listeners",
		listeners_to_json(m->conf), "workers", workers_to_json(m, l.now), "connections",
		l.list, "totals", totals_to_json(m)));
}

void
control_version(struct master *m, struct control_job *job)
{
	control_job_reply(job, json_pack("{s:s, s:i, s:I}", "version", OMNIROUTE_VERSION, "pid",
				   (int)getpid(), "generation", (json_int_t)m->generation));
}
