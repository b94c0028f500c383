#include <stdlib.h>
#include <string.h>

#include "master/control.h"
#include "master/registry.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/failure.h"
#include "shared/store.h"

#define RECENT_DEFAULT 50

/* Names of connections and keys by id, as they are called today. */
static int
note_connection(void *ctx, const struct connection *c)
{
	return json_object_set_new(ctx, c->id, json_string(c->name)) == 0 ? 0 : E_NOMEM;
}

static int
note_key(void *ctx, const struct client_key *k)
{
	return json_object_set_new(ctx, k->id, json_string(k->name)) == 0 ? 0 : E_NOMEM;
}

static int
load_names(struct master *m, json_t *names)
{
	int r = names ? registry_each_connection(m, note_connection, names) : E_NOMEM;

	return r < 0 ? r : registry_each_key(m, note_key, names);
}

/* The name of an id; the id itself when its row is gone; null for none. */
static json_t *
name_of(const json_t *names, const char *id)
{
	const char *name = json_string_value(json_object_get(names, id));

	return *id ? json_string(name ? name : id) : json_null();
}

static json_t *
cost(int64_t udollar)
{
	return json_real((double)udollar / 1e6);
}

struct listing {
	json_t *list, *names;
	uint64_t since_us, next_us;
};

static void
add_flags(json_t *o, uint32_t flags)
{
	static const struct {
		const char *name;
		uint32_t bit;
	} table[] = {{"stream", USAGE_STREAM}, {"estimated", USAGE_ESTIMATED},
	    {"aborted", USAGE_ABORTED}, {"unknown", USAGE_UNKNOWN}, {"cut", USAGE_CUT}};

	for (size_t i = 0; i < NELEM(table); i++)
		json_object_set_new(o, table[i].name, json_boolean(flags & table[i].bit));
}

/* What a client sent may be cut in the middle of a character. */
static json_t *
text(const char *s)
{
	json_t *v = json_string(s);

	return v ? v : json_string("?");
}

static int
list_record(void *ctx, const struct usage_record *u)
{
	struct listing *l = ctx;
	json_t *o;

	if (u->end_wall_us && u->end_wall_us < l->since_us)
		return 1; /* newest first: all others are older */
	o = json_pack("{s:o, s:o, s:o, s:i, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, "
		      "s:I, s:o, s:i, s:s, s:o}",
	    "request_id", text(u->request_id), "started_at", control_iso(u->start_wall_us),
	    "ended_at", control_iso(u->end_wall_us), "status", (int)u->status, "latency_us",
	    (json_int_t)u->latency_us, "ttft_us", (json_int_t)u->ttft_us, "provider",
	    text(u->provider), "connection", name_of(l->names, u->connection), "key",
	    name_of(l->names, u->key_id), "model_asked", text(u->model_asked), "model_used",
	    text(u->model_used), "tokens_in", (json_int_t)u->tokens_in, "tokens_out",
	    (json_int_t)u->tokens_out, "tokens_cached", (json_int_t)u->tokens_cached,
	    "tokens_cache_write", (json_int_t)u->tokens_cache_write, "tokens_reasoning",
	    (json_int_t)u->tokens_reasoning, "cost_usd", cost(u->cost_udollar),
	    "attempts", (int)u->attempts, "failure", failure_info((enum failure)u->error)->label,
	    "dialect", text(u->dialect));
	if (!o || json_array_append_new(l->list, o) != 0)
		return E_NOMEM;
	json_object_set_new(o, "bytes_in", json_integer((json_int_t)u->bytes_in));
	json_object_set_new(o, "bytes_out", json_integer((json_int_t)u->bytes_out));
	add_flags(o, u->flags);
	l->next_us = u->end_wall_us ? u->end_wall_us : u->start_wall_us;
	return 0;
}

void
control_usage_recent(struct master *m, struct control_job *job)
{
	struct listing l = {.list = json_array(),
	    .names = json_object(),
	    .since_us = (uint64_t)control_job_integer(job, "since", 0) * 1000000};
	size_t limit = (size_t)control_job_integer(job, "limit", RECENT_DEFAULT);
	int r = l.list ? load_names(m, l.names) : E_NOMEM;

	if (r == 0)
		r = store_recent_usage(m->store, (uint64_t)control_job_integer(job, "before_us", 0),
		    limit, list_record, &l);
	if (r >= 0) {
		bool more = r == 0 && json_array_size(l.list) == limit;

		control_job_reply(
		    job, json_pack("{s:O, s:o}", "records", l.list, "next_before_us",
			     more ? json_integer((json_int_t)l.next_us) : json_null()));
	} else {
		control_job_fail_err(job, r, NULL);
	}
	json_decref(l.list);
	json_decref(l.names);
}

static int
list_total(void *ctx, const struct usage_total *t)
{
	struct listing *l = ctx;
	json_t *o = json_pack("{s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "day",
	    t->day, "provider", text(t->provider), "model", text(t->model), "key",
	    name_of(l->names, t->key_id), "requests", (json_int_t)t->requests, "errors",
	    (json_int_t)t->errors, "unknown", (json_int_t)t->unknown, "tokens_in",
	    (json_int_t)t->tokens_in, "tokens_out", (json_int_t)t->tokens_out, "tokens_cached",
	    (json_int_t)t->tokens_cached, "tokens_reasoning", (json_int_t)t->tokens_reasoning,
	    "cost_usd", cost(t->cost_udollar));

	return o && json_array_append_new(l->list, o) == 0 ? 0 : E_NOMEM;
}

/* 2026-01-31; whether the day exists does not matter for a comparison. */
static bool
is_day(const char *s)
{
	for (int i = 0; i < 10; i++)
		if (i == 4 || i == 7 ? s[i] != '-' : s[i] < '0' || s[i] > '9')
			return false;
	return s[10] == '\0';
}

void
control_usage_total(struct master *m, struct control_job *job)
{
	const char *from = control_job_string(job, "from"), *to = control_job_string(job, "to");
	struct listing l = {.list = json_array(), .names = json_object()};
	int r;

	if ((from && !is_day(from)) || (to && !is_day(to))) {
		control_job_fail(job, CONTROL_PARAMS, "from and to are days like 2026-01-31");
		r = 1;
	} else {
		r = l.list ? load_names(m, l.names) : E_NOMEM;
		if (r == 0)
			r = store_each_total(m->store, from ? from : "0000-00-00",
			    to ? to : "9999-99-99", list_total, &l);
	}
	if (r == 0)
		control_job_reply(job, json_pack("{s:O}", "totals", l.list));
	else if (r < 0)
		control_job_fail_err(job, r, NULL);
	json_decref(l.list);
	json_decref(l.names);
}
