#include "master/registry_doc.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "shared/err.h"
#include "shared/log.h"
#include "shared/store.h"

/* ---- documents ---- */

char *
registry_strdup(const char *s)
{
	return s ? strdup(s) : NULL;
}

void
doc_text_free(char *json)
{
	if (!json)
		return;
	sodium_memzero(json, strlen(json));
	free(json);
}

static int
collect(void *ctx, const char *id, const char *json, size_t n)
{
	struct doc_list *l = ctx;

	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		struct doc *v = reallocarray(l->v, cap, sizeof *v);

		if (!v)
			return E_NOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n] = (struct doc){.id = strdup(id), .json = malloc(n + 1), .n = n};
	if (!l->v[l->n].id || !l->v[l->n].json) {
		free(l->v[l->n].id);
		free(l->v[l->n].json);
		return E_NOMEM;
	}
	memcpy(l->v[l->n].json, json, n);
	l->v[l->n++].json[n] = '\0';
	return 0;
}

int
doc_list_load(struct master *m, const char *kind, struct doc_list *l)
{
	int r;

	*l = (struct doc_list){0};
	r = store_each_doc(m->store, kind, collect, l);
	if (r < 0)
		doc_list_clear(l);
	return r;
}

void
doc_list_clear(struct doc_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->v[i].id);
		free(l->v[i].json);
	}
	free(l->v);
	*l = (struct doc_list){0};
}

struct doc_write {
	const char *kind, *id, *json;
};

static int
write_doc(struct store_txn *t, void *ctx)
{
	const struct doc_write *w = ctx;

	if (!w->json)
		return store_del_doc(t, w->kind, w->id);
	return store_put_doc(t, w->kind, w->id, w->json, strlen(w->json));
}

int
doc_put(struct master *m, const char *kind, const char *id, const char *json)
{
	return store_write(m->store, write_doc, &(struct doc_write){kind, id, json});
}

int
doc_del(struct master *m, const char *kind, const char *id)
{
	return store_write(m->store, write_doc, &(struct doc_write){kind, id, NULL});
}

/* ---- connections ---- */

static json_t *
models_to_json(const struct connection *c)
{
	json_t *a = json_array();

	for (unsigned i = 0; a && i < c->nmodels; i++)
		json_array_append_new(a, json_string(c->models[i]));
	return a;
}

char *
connection_encode(const struct master *m, const struct connection *c)
{
	char *sealed = NULL, *text = NULL;
	json_t *o;

	if (c->secret) {
		sealed = seal_text(&m->seal, c->id, c->secret, strlen(c->secret));
		if (!sealed)
			return NULL;
	}
	o = json_pack("{s:s, s:s, s:s*, s:s*, s:s*, s:o, s:i, s:o, s:b, s:b, s:i, s:I, s:I}", "name",
	    c->name, "provider", c->provider, "base_url", c->base_url, "dialect", c->dialect, "secret", sealed, "models",
	    models_to_json(c), "priority", c->priority, "http2",
	    c->http2 < 0 ? json_null() : json_boolean(c->http2), "enabled", c->enabled, "insecure",
	    c->insecure, "slot", (int)c->slot, "created_us", (json_int_t)c->created_wall_us,
	    "updated_us", (json_int_t)c->updated_wall_us);
	if (o)
		text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	seal_free(sealed);
	return text;
}

static int
models_from_json(const json_t *a, struct connection *c)
{
	size_t n = json_array_size(a);

	if (n == 0)
		return 0;
	c->models = calloc(n, sizeof *c->models);
	if (!c->models)
		return E_NOMEM;
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(a, i));

		if (!s)
			return E_SYNTAX;
		c->models[i] = strdup(s);
		if (!c->models[i])
			return E_NOMEM;
		c->nmodels++;
	}
	return 0;
}

static void
open_secret(const struct master *m, const char *sealed, struct connection *c)
{
	size_t n;

	if (!sealed)
		return;
	c->secret = seal_open(&m->seal, c->id, sealed, &n);
	if (c->secret)
		return;
	c->broken = true;
	c->enabled = false;
	log_error(
	    "the credential of connection %s cannot be decrypted with the key file of this data "
	    "directory: the connection is not used; give it the credential again",
	    c->name);
}

int
connection_decode(const struct master *m, const struct doc *d, struct connection *c)
{
	json_t *o = json_loadb(d->json, d->n, 0, NULL), *models = NULL, *http2 = NULL;
	const char *name, *provider, *base_url = NULL, *dialect = NULL, *sealed = NULL;
	int enabled, insecure, slot, r = E_SYNTAX;
	json_int_t created, updated;

	*c = (struct connection){0};
	if (!o || strlen(d->id) >= sizeof c->id)
		goto out;
	if (json_unpack(o, "{s:s, s:s, s?s, s?s, s?s, s:o, s:i, s:o, s:b, s:b, s:i, s:I, s:I}", "name",
		&name, "provider", &provider, "base_url", &base_url, "dialect", &dialect, "secret", &sealed, "models",
		&models, "priority", &c->priority, "http2", &http2, "enabled", &enabled, "insecure",
		&insecure, "slot", &slot, "created_us", &created, "updated_us", &updated) != 0)
		goto out;
	if (slot < 0 || slot >= LIVE_CONNS)
		goto out;
	strcpy(c->id, d->id);
	c->name = strdup(name);
	c->provider = strdup(provider);
	c->base_url = registry_strdup(base_url);
	c->dialect = registry_strdup(dialect);
	c->http2 = json_is_null(http2) ? -1 : json_is_true(http2);
	c->enabled = enabled;
	c->insecure = insecure;
	c->slot = (unsigned)slot;
	c->created_wall_us = (uint64_t)created;
	c->updated_wall_us = (uint64_t)updated;
	r = c->name && c->provider && (c->base_url || !base_url) && (c->dialect || !dialect)
		? models_from_json(models, c)
								 : E_NOMEM;
	if (r == 0)
		open_secret(m, sealed, c);
out:
	json_decref(o);
	if (r < 0)
		connection_clear(c);
	return r;
}

void
connection_clear(struct connection *c)
{
	if (c->secret)
		sodium_memzero(c->secret, strlen(c->secret));
	free(c->secret);
	free(c->name);
	free(c->provider);
	free(c->base_url);
	free(c->dialect);
	for (unsigned i = 0; i < c->nmodels; i++)
		free(c->models[i]);
	free(c->models);
	*c = (struct connection){0};
}

/* ---- keys ---- */

char *
client_key_encode(const struct client_key *k)
{
	char hex[2 * sizeof k->digest + 1], *text = NULL;
	json_t *o;

	sodium_bin2hex(hex, sizeof hex, k->digest, sizeof k->digest);
	o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:I}", "name", k->name, "prefix",
	    k->prefix, "digest", hex, "scopes", (json_int_t)k->scopes, "rpm", (json_int_t)k->rpm,
	    "expires_s", (json_int_t)k->expires_wall_s, "slot", (int)k->slot, "created_us",
	    (json_int_t)k->created_wall_us);
	if (o)
		text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return text;
}

int
client_key_decode(const struct doc *d, struct client_key *k)
{
	json_t *o = json_loadb(d->json, d->n, 0, NULL);
	const char *name, *prefix, *digest;
	json_int_t scopes, rpm, expires, created;
	size_t len;
	int slot, r = E_SYNTAX;

	*k = (struct client_key){0};
	if (!o || strlen(d->id) >= sizeof k->id)
		goto out;
	if (json_unpack(o, "{s:s, s:s, s:s, s:I, s:I, s:I, s:i, s:I}", "name", &name, "prefix",
		&prefix, "digest", &digest, "scopes", &scopes, "rpm", &rpm, "expires_s", &expires,
		"slot", &slot, "created_us", &created) != 0)
		goto out;
	if (slot < 0 || slot >= LIVE_KEYS || strlen(prefix) >= sizeof k->prefix)
		goto out;
	if (sodium_hex2bin(k->digest, sizeof k->digest, digest, strlen(digest), NULL, &len, NULL) !=
		0 ||
	    len != sizeof k->digest)
		goto out;
	strcpy(k->id, d->id);
	strcpy(k->prefix, prefix);
	k->scopes = (uint32_t)scopes;
	k->rpm = (uint32_t)rpm;
	k->expires_wall_s = (uint64_t)expires;
	k->created_wall_us = (uint64_t)created;
	k->slot = (unsigned)slot;
	k->name = strdup(name);
	r = k->name ? 0 : E_NOMEM;
out:
	json_decref(o);
	if (r < 0)
		client_key_clear(k);
	return r;
}

void
client_key_clear(struct client_key *k)
{
	free(k->name);
	*k = (struct client_key){0};
}
