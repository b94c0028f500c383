#include <stdlib.h>
#include <string.h>

#include "master/control.h"
#include "master/registry.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/snapshot.h"

#define MINUTE_MS 60000

static const struct {
	const char *name;
	uint32_t bit;
} scopes[] = {{"chat", SCOPE_CHAT}, {"manage", SCOPE_MANAGE}};

static json_t *
scopes_to_json(uint32_t bits)
{
	json_t *a = json_array();

	for (size_t i = 0; a && i < NELEM(scopes); i++)
		if (bits & scopes[i].bit)
			json_array_append_new(a, json_string(scopes[i].name));
	return a;
}

static int
scopes_from_json(const json_t *list, uint32_t *bits, struct buf *why)
{
	const json_t *v;
	size_t i;

	if (!list)
		return 0;
	*bits = 0;
	json_array_foreach(list, i, v)
	{
		size_t k = 0;

		while (k < NELEM(scopes) && strcmp(scopes[k].name, json_string_value(v)) != 0)
			k++;
		if (k == NELEM(scopes)) {
			buf_addf(why, "scope \"%.40s\" is not known: chat, manage",
			    json_string_value(v));
			return E_RANGE;
		}
		*bits |= scopes[k].bit;
	}
	return 0;
}

static json_t *
key_to_json(const struct master *m, const struct client_key *k)
{
	uint64_t wall_us = clock_wall_us(), used = 0, last = 0;
	bool expired = k->expires_wall_s && k->expires_wall_s <= wall_us / 1000000;

	if (m->live &&
	    atomic_load(&m->live->key[k->slot].id) == snapshot_hash(k->id, strlen(k->id))) {
		used = rate_used(
		    &m->live->key[k->slot].rpm, k->rpm, MINUTE_MS, clock_now_ns() / NS_PER_MS);
		last = atomic_load(&m->live->key[k->slot].last_used_wall_ms);
	}
	return json_pack("{s:s, s:s, s:s, s:o, s:I, s:I, s:o, s:b, s:o, s:o, s:s, s:i}", "id",
	    k->id, "name", k->name, "prefix", k->prefix, "scopes", scopes_to_json(k->scopes), "rpm",
	    (json_int_t)k->rpm, "rpm_used", (json_int_t)used, "expires_at",
	    control_iso(k->expires_wall_s * 1000000), "expired", expired, "created_at",
	    control_iso(k->created_wall_us), "last_used_at", control_iso(last * 1000), "source",
	    k->from_file ? "file" : "store", "slot", (int)k->slot);
}

void
control_key_create(struct master *m, struct control_job *job)
{
	struct client_key k = {.scopes = SCOPE_CHAT};
	struct buf why = BUF_INIT(1024);
	char *secret = NULL;
	json_t *key;
	int r =
	    scopes_from_json(json_object_get(control_job_params(job), "scopes"), &k.scopes, &why);

	k.rpm = (uint32_t)control_job_integer(job, "rpm", 0);
	k.expires_wall_s = (uint64_t)control_job_integer(job, "expires_at", 0);
	k.name = strdup(control_job_string(job, "name"));
	if (r == 0)
		r = k.name ? registry_add_key(m, &k, &secret, &why) : E_NOMEM;
	if (r == 0) {
		key = key_to_json(m, &k);
		json_object_set_new(key, "key", json_string(secret));
		control_job_publish(job, json_pack("{s:o}", "key", key));
	} else {
		control_job_fail_err(job, r, &why);
	}
	seal_free(secret);
	client_key_clear(&k);
	buf_clear(&why);
}

struct listing {
	const struct master *m;
	json_t *list;
};

static int
list_key(void *ctx, const struct client_key *k)
{
	struct listing *l = ctx;
	json_t *o = key_to_json(l->m, k);

	return o && json_array_append_new(l->list, o) == 0 ? 0 : E_NOMEM;
}

void
control_key_list(struct master *m, struct control_job *job)
{
	struct listing l = {.m = m, .list = json_array()};
	int r = l.list ? registry_each_key(m, list_key, &l) : E_NOMEM;

	if (r == 0) {
		control_job_reply(job, json_pack("{s:o}", "keys", l.list));
		return;
	}
	json_decref(l.list);
	control_job_fail_err(job, r, NULL);
}

void
control_key_delete(struct master *m, struct control_job *job)
{
	struct buf why = BUF_INIT(1024);
	struct client_key k;
	int r = registry_find_key(m, control_job_string(job, "key"), &k, &why);

	if (r == 0)
		r = registry_remove_key(m, k.id, &why);
	if (r == 0)
		control_job_publish(job, json_pack("{s:s, s:s}", "id", k.id, "name", k.name));
	else
		control_job_fail_err(job, r, &why);
	client_key_clear(&k);
	buf_clear(&why);
}
