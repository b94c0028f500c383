#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "master/conntest.h"
#include "master/control.h"
#include "master/registry.h"
#include "providers/catalog.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/failure.h"
#include "shared/snapshot.h"

#define NAME_ROOM 80
#define PRIORITY_MAX 1000

/* ---- how a connection looks ---- */

static json_t *
last_error_to_json(const struct live_conn *l)
{
	uint64_t word = atomic_load(&l->last_error);
	uint64_t wall_s = word >> 24;

	if (!word)
		return json_null();
	return json_pack("{s:o, s:i, s:s}", "at", control_iso(wall_s * 1000000), "status",
	    (int)(word >> 8 & 0xffff), "failure", failure_info((enum failure)(word & 0xff))->label);
}

/* A slot that another row had before is not ours until the next publish has bound it. */
static void
add_live(const struct master *m, const struct connection *c, uint64_t now_ns, json_t *o)
{
	const struct live_conn *l = &m->live->conn[c->slot];
	bool ours = atomic_load(&l->id) == snapshot_hash(c->id, strlen(c->id));
	uint64_t until = 0;
	bool ready = !ours || live_conn_available(m->live, c->slot, now_ns, &until);
	const char *state = c->broken     ? "broken"
			    : !c->enabled ? "disabled"
			    : ready       ? "ready"
					  : "cooling";
	uint64_t left_ms = ready || until <= now_ns ? 0 : (until - now_ns) / NS_PER_MS;

	json_object_set_new(o, "state", json_string(state));
	json_object_set_new(o, "cooldown_ms", json_integer((json_int_t)left_ms));
	json_object_set_new(
	    o, "failures", json_integer(ours ? (json_int_t)(atomic_load(&l->health) >> 48) : 0));
	json_object_set_new(
	    o, "in_flight", json_integer(ours ? live_conn_inflight(m->live, c->slot) : 0));
	json_object_set_new(o, "last_used_at",
	    ours ? control_iso(atomic_load(&l->last_used_wall_ms) * 1000) : json_null());
	json_object_set_new(o, "last_error", ours ? last_error_to_json(l) : json_null());
}

/* What is spoken to a client whose own dialect it does not have; NULL: it is built in. */
static const char *
first_dialect(const struct connection *c, const struct catalog_provider *p)
{
	if (c->dialect)
		return c->dialect;
	if (!p)
		return dialect_word(DIALECT_CHAT);
	return p->dialect != DIALECT_NONE ? dialect_word(p->dialect) : NULL;
}

json_t *
connection_to_json(const struct master *m, const struct connection *c, uint64_t now_ns)
{
	const struct catalog_provider *p = catalog_find(c->provider);
	const char *url = c->base_url ? c->base_url : p ? p->base_url : NULL;
	json_t *models = json_array(), *o;

	for (unsigned i = 0; models && i < c->nmodels; i++)
		json_array_append_new(models, json_string(c->models[i]));
	o = json_pack(
	    "{s:s, s:s, s:s, s:s?, s:s?, s:b, s:b, s:o, s:i, s:b, s:o, s:b, s:s, s:i, s:o, s:o}",
	    "id", c->id, "name", c->name, "provider", c->provider, "base_url", url, "dialect",
	    first_dialect(c, p), "node", !p, "has_key", c->secret || c->broken, "models", models,
	    "priority", c->priority, "enabled", c->enabled, "http2",
	    c->http2 < 0 ? json_null() : json_boolean(c->http2), "insecure", c->insecure, "source",
	    c->from_file ? "file" : "store", "slot", (int)c->slot, "created_at",
	    control_iso(c->created_wall_us), "updated_at", control_iso(c->updated_wall_us));
	if (o && m->live)
		add_live(m, c, now_ns, o);
	return o;
}

/* ---- reading ---- */

struct listing {
	const struct master *m;
	json_t *list;
	uint64_t now_ns;
};

static int
list_connection(void *ctx, const struct connection *c)
{
	struct listing *l = ctx;
	json_t *o = connection_to_json(l->m, c, l->now_ns);

	return o && json_array_append_new(l->list, o) == 0 ? 0 : E_NOMEM;
}

void
control_connection_list(struct master *m, struct control_job *job)
{
	struct listing l = {.m = m, .list = json_array(), .now_ns = clock_now_ns()};
	int r = l.list ? registry_each_connection(m, list_connection, &l) : E_NOMEM;

	if (r == 0) {
		control_job_reply(job, json_pack("{s:o}", "connections", l.list));
		return;
	}
	json_decref(l.list);
	control_job_fail_err(job, r, NULL);
}

/* False: the job has been answered. */
static bool
find(struct master *m, struct control_job *job, struct connection *c)
{
	struct buf why = BUF_INIT(1024);
	int r = registry_find_connection(m, control_job_string(job, "connection"), c, &why);

	if (r < 0)
		control_job_fail_err(job, r, &why);
	buf_clear(&why);
	return r == 0;
}

void
control_connection_get(struct master *m, struct control_job *job)
{
	struct connection c;

	if (!find(m, job, &c))
		return;
	control_job_reply(
	    job, json_pack("{s:o}", "connection", connection_to_json(m, &c, clock_now_ns())));
	connection_clear(&c);
}

/* ---- changing ---- */

static void
wipe(char **s)
{
	if (*s)
		sodium_memzero(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

/* Replaces *field when the parameter was given; null and "" empty it. */
static int
set_string(struct control_job *job, const char *name, char **field)
{
	const char *v = control_job_string(job, name);

	if (!control_job_has(job, name))
		return 0;
	wipe(field);
	if (!v || !*v)
		return 0;
	*field = strdup(v);
	return *field ? 0 : E_NOMEM;
}

static int
set_models(struct control_job *job, struct connection *c)
{
	json_t *list = json_object_get(control_job_params(job), "models"), *v;
	size_t i;

	if (!list)
		return 0;
	for (unsigned k = 0; k < c->nmodels; k++)
		free(c->models[k]);
	free(c->models);
	c->nmodels = 0;
	c->models = calloc(json_array_size(list) + 1, sizeof *c->models);
	if (!c->models)
		return E_NOMEM;
	json_array_foreach(list, i, v)
	{
		c->models[i] = strdup(json_string_value(v));
		if (!c->models[i])
			return E_NOMEM;
		c->nmodels++;
	}
	return 0;
}

static int
set_fields(struct control_job *job, struct connection *c)
{
	const json_t *http2 = json_object_get(control_job_params(job), "http2");
	int r = set_string(job, "base_url", &c->base_url);

	if (r == 0)
		r = set_string(job, "dialect", &c->dialect);
	if (r == 0)
		r = set_string(job, "key", &c->secret);
	if (r == 0)
		r = set_models(job, c);
	if (c->secret)
		c->broken = false;
	c->priority = (int)control_job_integer(job, "priority", c->priority);
	c->enabled = control_job_boolean(job, "enabled", c->enabled);
	c->insecure = control_job_boolean(job, "insecure", c->insecure);
	if (http2)
		c->http2 = json_is_null(http2) ? -1 : json_is_true(http2);
	return r;
}

struct free_name {
	const char *base;
	const char *provider;
	bool taken[100]; /* [0], [1]: the base itself; [n]: <base>-n */
	int priority;    /* highest of this provider */
};

static int
note_name(void *ctx, const struct connection *c)
{
	struct free_name *f = ctx;
	size_t n = strlen(f->base);
	unsigned number = 0;
	char more;

	if (strcmp(c->provider, f->provider) == 0)
		f->priority = MAX(f->priority, c->priority);
	if (strncmp(c->name, f->base, n) != 0)
		return 0;
	if (!c->name[n])
		f->taken[1] = true;
	else if (sscanf(c->name + n, "-%u%c", &number, &more) == 1 && number < NELEM(f->taken))
		f->taken[number] = true;
	return 0;
}

/* Without a name: the provider's id, or the first <id>-2, <id>-3 … that is free. Without a
 * priority: behind its sisters. */
static int
set_defaults(struct master *m, struct control_job *job, struct connection *c)
{
	const struct catalog_provider *p = c->provider ? catalog_find(c->provider) : NULL;
	struct free_name f = {.base = p         ? p->id
				      : c->name ? c->name
						: "",
	    .provider = p             ? p->id
			: c->provider ? c->provider
				      : ""};
	char name[NAME_ROOM];
	unsigned n = 1;
	int r;

	r = registry_each_connection(m, note_name, &f);
	if (r < 0)
		return r;
	if (!control_job_has(job, "priority"))
		c->priority = MIN(f.priority + 1, PRIORITY_MAX);
	if (!c->name) {
		while (n < NELEM(f.taken) && f.taken[n])
			n++;
		if (n == 1)
			snprintf(name, sizeof name, "%s", f.base);
		else
			snprintf(name, sizeof name, "%s-%u", f.base, n);
		c->name = strdup(name);
	}
	if (c->name && !c->provider)
		c->provider = strdup(c->name);
	return c->name && c->provider ? 0 : E_NOMEM;
}

static void
reply_changed(struct master *m, struct control_job *job, const struct connection *c)
{
	control_job_publish(
	    job, json_pack("{s:o}", "connection", connection_to_json(m, c, clock_now_ns())));
}

void
control_connection_create(struct master *m, struct control_job *job)
{
	struct connection c = {.http2 = -1, .enabled = true, .priority = 1};
	struct buf why = BUF_INIT(2048);
	int r = set_string(job, "name", &c.name);

	if (r == 0)
		r = set_string(job, "provider", &c.provider);
	if (r == 0)
		r = set_fields(job, &c);
	if (r == 0 && !c.provider && !(c.base_url && c.name)) {
		buf_addf(&why, "give a provider of the catalogue, or a name and a base_url");
		r = E_RANGE;
	}
	if (r == 0)
		r = set_defaults(m, job, &c);
	if (r == 0)
		r = registry_add_connection(m, &c, &why);
	if (r == 0)
		reply_changed(m, job, &c);
	else
		control_job_fail_err(job, r, &why);
	connection_clear(&c);
	buf_clear(&why);
}

/* A bare base URL is its own provider, under its own name: the two are renamed together. */
static int
rename_connection(struct control_job *job, struct connection *c)
{
	bool bare = strcmp(c->name, c->provider) == 0 && !catalog_find(c->provider);
	int r = set_string(job, "name", &c->name);

	if (r < 0 || !bare || !c->name)
		return r;
	free(c->provider);
	c->provider = strdup(c->name);
	return c->provider ? 0 : E_NOMEM;
}

void
control_connection_update(struct master *m, struct control_job *job)
{
	struct buf why = BUF_INIT(2048);
	struct connection c;
	int r;

	if (!find(m, job, &c))
		return;
	r = rename_connection(job, &c);
	if (r == 0)
		r = set_fields(job, &c);
	if (r == 0)
		r = registry_update_connection(m, &c, &why);
	if (r == 0) {
		connection_clear(&c);
		r = registry_find_connection(m,
		    control_job_string(job, "name") ? control_job_string(job, "name")
						    : control_job_string(job, "connection"),
		    &c, &why);
	}
	if (r == 0)
		reply_changed(m, job, &c);
	else
		control_job_fail_err(job, r, &why);
	connection_clear(&c);
	buf_clear(&why);
}

void
control_connection_delete(struct master *m, struct control_job *job)
{
	struct buf why = BUF_INIT(1024);
	struct connection c;
	int r;

	if (!find(m, job, &c))
		return;
	r = registry_remove_connection(m, c.id, &why);
	if (r == 0)
		control_job_publish(job, json_pack("{s:s, s:s}", "id", c.id, "name", c.name));
	else
		control_job_fail_err(job, r, &why);
	connection_clear(&c);
	buf_clear(&why);
}

/* ---- testing ---- */

struct test {
	struct control_job *job;
	struct conntest *running;
	unsigned slot;
	char id[UUID_LEN];
	char name[NAME_ROOM];
};

static void
test_cancel(void *what)
{
	struct test *t = what;

	conntest_cancel(t->running);
	free(t);
}

/* An upstream that answers as it should need not cool down any longer. */
static void
test_done(void *ctx, const struct conntest_outcome *o)
{
	struct test *t = ctx;
	const struct master *m = control_job_master(t->job);

	if (o->valid && m->live &&
	    atomic_load(&m->live->conn[t->slot].id) == snapshot_hash(t->id, strlen(t->id)))
		live_conn_succeeded(m->live, t->slot);
	control_job_reply(t->job,
	    json_pack("{s:s, s:s, s:b, s:o, s:i, s:i, s:s, s:s}", "id", t->id, "name", t->name,
		"valid", o->valid, "status", o->status ? json_integer(o->status) : json_null(),
		"latency_ms", (int)o->latency_ms, "models", (int)o->models, "failure", o->failure,
		"message", o->message));
	free(t);
}

void
control_connection_test(struct master *m, struct control_job *job)
{
	struct connection c;
	struct test *t;

	if (!find(m, job, &c))
		return;
	if (c.broken) {
		control_job_fail(job, CONTROL_FAILED,
		    "the credential of \"%s\" cannot be decrypted: give it a new key", c.name);
		connection_clear(&c);
		return;
	}
	t = calloc(1, sizeof *t);
	if (t) {
		t->job = job;
		t->slot = c.slot;
		snprintf(t->id, sizeof t->id, "%s", c.id);
		snprintf(t->name, sizeof t->name, "%s", c.name);
		t->running = conntest_start(m, &c, test_done, t);
	}
	if (t && t->running) {
		control_job_wait(job, t, test_cancel);
	} else {
		free(t);
		control_job_fail(job, CONTROL_INTERNAL, "out of memory");
	}
	connection_clear(&c);
}
