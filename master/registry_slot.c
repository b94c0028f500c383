/*
 * Slots in the live region. A row of the store carries its own; a row of the configuration file and
 * a provider keep theirs by name, in documents of kind "slot", for as long as there is room: names
 * that nobody uses any more give way only then.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/registry_doc.h"
#include "providers/catalog.h"
#include "shared/err.h"
#include "shared/store.h"

static const struct kind {
	const char *name,
	    *doc; /* doc: kind of the documents that carry a slot themselves; NULL: none */
	unsigned slots;
} kinds[SLOT_KINDS] = {
    [SLOT_CONNECTION] = {"connection", DOC_CONNECTION, LIVE_CONNS},
    [SLOT_KEY] = {"key", DOC_KEY, LIVE_KEYS},
    [SLOT_PROVIDER] = {"provider", NULL, LIVE_PROVIDERS},
};

struct slot_map {
	bool used[LIVE_KEYS];
};
static_assert(LIVE_KEYS >= LIVE_CONNS && LIVE_KEYS >= LIVE_PROVIDERS, "slot_map is too small");

static bool
slot_in_doc(const struct doc *d, unsigned limit, unsigned *slot, char id[UUID_LEN])
{
	json_t *o = json_loadb(d->json, d->n, 0, NULL);
	json_int_t v = json_is_integer(json_object_get(o, "slot"))
			   ? json_integer_value(json_object_get(o, "slot"))
			   : -1;
	const char *s = json_string_value(json_object_get(o, "id"));

	if (v >= 0 && v < (json_int_t)limit)
		*slot = (unsigned)v;
	if (id)
		snprintf(id, UUID_LEN, "%s", s ? s : "");
	json_decref(o);
	return v >= 0 && v < (json_int_t)limit;
}

/* The name in a slot document of this kind; NULL: of another. */
static const char *
slot_doc_name(const struct doc *d, const struct kind *k)
{
	size_t n = strlen(k->name);

	return strncmp(d->id, k->name, n) == 0 && d->id[n] == '/' ? d->id + n + 1 : NULL;
}

static int
mark_used(struct master *m, const struct kind *k, struct slot_map *map)
{
	struct doc_list l;
	unsigned slot;
	int r;

	memset(map, 0, sizeof *map);
	if (k->doc) {
		r = doc_list_load(m, k->doc, &l);
		if (r < 0)
			return r;
		for (size_t i = 0; i < l.n; i++)
			if (slot_in_doc(&l.v[i], k->slots, &slot, NULL))
				map->used[slot] = true;
		doc_list_clear(&l);
	}
	r = doc_list_load(m, DOC_SLOT, &l);
	if (r < 0)
		return r;
	for (size_t i = 0; i < l.n; i++)
		if (slot_doc_name(&l.v[i], k) && slot_in_doc(&l.v[i], k->slots, &slot, NULL))
			map->used[slot] = true;
	doc_list_clear(&l);
	return 0;
}

/* ---- names that nobody uses ---- */

struct wanted {
	const char *name;
	bool found;
};

static int
is_wanted_connection(void *ctx, const struct connection *c)
{
	struct wanted *w = ctx;

	if (strcmp(c->provider, w->name) == 0)
		w->found = true;
	return w->found;
}

static int
is_wanted(struct master *m, enum slot_kind kind, const char *name)
{
	struct wanted w = {.name = name};
	const struct conf *c = m->conf;

	for (unsigned i = 0; kind == SLOT_CONNECTION && i < c->nconnections; i++)
		w.found = w.found || strcmp(c->connection[i].name, name) == 0;
	for (unsigned i = 0; kind == SLOT_KEY && i < c->nkeys; i++)
		w.found = w.found || strcmp(c->key[i].name, name) == 0;
	if (kind == SLOT_PROVIDER) {
		const struct catalog_provider *p = catalog_find(name);
		int r = registry_each_connection(m, is_wanted_connection, &w);

		if (r < 0)
			return r;
		w.found = w.found || (p && p->builtin);
	}
	return w.found;
}

static int
forget_unused(struct master *m, enum slot_kind kind)
{
	struct doc_list l;
	int r = doc_list_load(m, DOC_SLOT, &l), wanted;

	for (size_t i = 0; r == 0 && i < l.n; i++) {
		const char *name = slot_doc_name(&l.v[i], &kinds[kind]);

		if (!name)
			continue;
		wanted = is_wanted(m, kind, name);
		if (wanted < 0)
			r = wanted;
		else if (!wanted)
			r = doc_del(m, DOC_SLOT, l.v[i].id);
	}
	doc_list_clear(&l);
	return r;
}

/* ---- picking ---- */

/* A slot in which nothing is in flight is better: what an old exchange still reports would count
 * for the new owner. */
static bool
is_quiet(const struct master *m, enum slot_kind kind, unsigned slot)
{
	return kind != SLOT_CONNECTION || !m->live || live_conn_inflight(m->live, slot) == 0;
}

static int
pick(struct master *m, enum slot_kind kind, unsigned *slot)
{
	struct slot_map *map = malloc(sizeof *map);
	int r = map ? mark_used(m, &kinds[kind], map) : E_NOMEM;

	if (r == 0)
		r = E_FULL;
	for (unsigned i = 0; r == E_FULL && i < kinds[kind].slots; i++)
		if (!map->used[i] && is_quiet(m, kind, i)) {
			*slot = i;
			r = 0;
		}
	for (unsigned i = 0; r == E_FULL && i < kinds[kind].slots; i++)
		if (!map->used[i]) {
			*slot = i;
			r = 0;
		}
	free(map);
	return r;
}

int
slot_of_row(struct master *m, enum slot_kind kind, unsigned *slot)
{
	int r = pick(m, kind, slot);

	if (r != E_FULL)
		return r;
	r = forget_unused(m, kind);
	return r < 0 ? r : pick(m, kind, slot);
}

int
slot_of_name(
    struct master *m, enum slot_kind kind, const char *name, unsigned *slot, char id[UUID_LEN])
{
	char doc_id[128], text[128];
	struct doc d = {0};
	bool known = false;
	int r;

	snprintf(doc_id, sizeof doc_id, "%s/%s", kinds[kind].name, name);
	r = store_get_doc(m->store, DOC_SLOT, doc_id, &d.json, &d.n);
	if (r < 0 && r != E_NOT_FOUND)
		return r;
	if (r == 0) {
		known = slot_in_doc(&d, kinds[kind].slots, slot, id) && *id;
		free(d.json);
	}
	if (known)
		return 0;
	r = slot_of_row(m, kind, slot);
	if (r < 0)
		return r;
	uuid4(id);
	snprintf(text, sizeof text, "{\"slot\":%u,\"id\":\"%s\"}", *slot, id);
	return doc_put(m, DOC_SLOT, doc_id, text);
}
