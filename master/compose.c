#include "master/compose.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/registry.h"
#include "providers/catalog.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/snapshot.h"

#define URL_MAX 4096
#define HEADER_MAX 65536

struct composer {
	struct master *m;
	struct snapshot_builder *b;
	struct {
		char *id;
		int index;
	} * provider; /* those added so far */
	unsigned nproviders;
};

static struct snap_str
text(struct composer *k, const char *s)
{
	return s != NULL ? snapshot_string(k->b, s, strlen(s)) : (struct snap_str){0};
}

/* ---- settings ---- */

static void
add_settings(struct composer *k)
{
	static const enum require_key require[] = {
	    REQUIRE_KEY_AUTO, REQUIRE_KEY_NEVER, REQUIRE_KEY_ALWAYS};
	const struct conf *c = k->m->conf;
	struct snap_str format = text(k, c->access_log_format), ca = text(k, c->upstream_ca_file);
	struct snap_settings *s = snapshot_settings(k->b);

	s->require_key = require[c->require_api_key];
	s->http2 = (uint32_t)c->upstream_http2;
	s->allow_private = (uint32_t)c->allow_private_provider_urls;
	s->fetch_private = (uint32_t)c->fetch_private;
	s->max_header_size = (uint32_t)c->max_header_size;
	s->max_headers = (uint32_t)c->max_headers;
	s->max_body_size = (uint64_t)c->max_body_size;
	s->max_body_memory = (uint64_t)c->max_body_memory;
	s->max_response_size = (uint64_t)c->max_response_size;
	s->max_event_size = (uint64_t)c->max_event_size;
	s->stream_buffer = (uint32_t)c->stream_buffer;
	s->max_connections = (uint32_t)c->max_connections;
	s->header_timeout_ms = (uint32_t)c->header_timeout;
	s->body_timeout_ms = (uint32_t)c->body_timeout;
	s->keepalive_timeout_ms = (uint32_t)c->keepalive_timeout;
	s->keepalive_interval_ms = (uint32_t)c->keepalive_interval;
	s->response_store_s = (uint32_t)((c->response_store_ttl + 999) / 1000);
	s->send_timeout_ms = (uint32_t)c->send_timeout;
	s->connect_timeout_ms = (uint32_t)c->connect_timeout;
	s->first_byte_timeout_ms = (uint32_t)c->first_byte_timeout;
	s->idle_timeout_ms = (uint32_t)c->idle_timeout;
	s->total_timeout_ms = (uint32_t)c->total_timeout;
	s->shutdown_timeout_ms = (uint32_t)c->shutdown_timeout;
	s->upstream_keepalive = (uint32_t)c->upstream_keepalive;
	s->cooldown_base_ms = (uint32_t)c->cooldown_base;
	s->cooldown_steps = (uint32_t)c->cooldown_steps;
	s->log_level = (uint32_t)c->log_level;
	s->log_json = (uint32_t)c->log_format;
	memcpy(s->key_salt, k->m->key_salt, sizeof s->key_salt);
	s->access_log_format = format;
	s->ca_file = ca;
}

static int
add_listeners(struct composer *k, const struct listen_set *set)
{
	int r = 0;

	for (unsigned i = 0; i < set->n && r >= 0; i++) {
		const struct listener *l = &set->v[i];
		struct snap_listener row = {.ordinal = i,
		    .kind = l->is_unix ? LISTENER_UNIX : LISTENER_TCP,
		    .loopback = l->loopback,
		    .tls = l->tls,
		    .name = text(k, l->name)};

		if (l->tls) {
			row.certificate =
			    snapshot_string(k->b, l->certificate.data, l->certificate.len);
			row.private_key =
			    snapshot_string(k->b, l->private_key.data, l->private_key.len);
		}
		r = snapshot_add_listener(k->b, &row);
	}
	for (unsigned i = 0; i < k->m->conf->ntrusted && r >= 0; i++) {
		const struct conf_net *n = &k->m->conf->trusted[i];
		struct snap_net row = {.bits = n->bits};

		memcpy(row.addr, &n->addr, sizeof row.addr);
		r = snapshot_add_net(k->b, &row);
	}
	return MIN(r, 0);
}

/* ---- providers and connections ---- */

static int
provider_remember(struct composer *k, const char *id, int index)
{
	void *more = realloc(k->provider, (k->nproviders + 1) * sizeof *k->provider);

	if (more == NULL)
		return E_NOMEM;
	k->provider = more;
	if ((k->provider[k->nproviders].id = strdup(id)) == NULL)
		return E_NOMEM;
	k->provider[k->nproviders++].index = index;
	return index;
}

/* Index of the provider's row; `p` NULL: a connection that is its own provider. */
static int
provider_row(struct composer *k, const char *id, const struct catalog_provider *p)
{
	struct snap_provider row = {0};
	unsigned slot;
	int r;

	for (unsigned i = 0; i < k->nproviders; i++)
		if (strcmp(k->provider[i].id, id) == 0)
			return k->provider[i].index;
	if ((r = registry_provider_slot(k->m, id, &slot)) != 0)
		return r;
	row.slot = slot;
	row.id = text(k, id);
	row.name = text(k, p != NULL && p->name != NULL ? p->name : id);
	if (p != NULL) {
		row.alias = text(k, p->alias);
		row.local = p->local;
		row.builtin = p->builtin;
		row.profile = text(k, p->profile);
	}
	if ((r = snapshot_add_provider(k->b, &row)) < 0)
		return r;
	return provider_remember(k, id, r);
}

/*
 * An operator who pasted the complete URL means just that; and a base URL with the /v1 that the path
 * begins with has it once.
 */
static struct snap_str
whole_url(struct composer *k, const char *base, const char *path)
{
	static const char version[] = "/v1";
	struct buf url = BUF_INIT(URL_MAX);
	struct snap_str s = {0};
	size_t n = strlen(base), tail = strlen(path), v = sizeof version - 1;

	while (n > 0 && base[n - 1] == '/')
		n--;
	if (n >= v && memcmp(base + n - v, version, v) == 0 && strncmp(path, "/v1/", v + 1) == 0)
		n -= v;
	buf_add(&url, base, n);
	if (n < tail || memcmp(base + n - tail, path, tail) != 0)
		buf_str(&url, path);
	if (buf_ok(&url))
		s = snapshot_string(k->b, url.data, url.len);
	buf_clear(&url);
	return s;
}

/* What a connection speaks: what it was told to, else what its provider does, else Chat. */
static void
add_urls(struct composer *k, struct snap_conn *row, const struct connection *c,
    const struct catalog_provider *p, const char *base)
{
	enum dialect_id own = c->dialect != NULL ? dialect_of(c->dialect) : DIALECT_NONE;

	static_assert(DIALECTS <= SNAP_DIALECTS, "every dialect has its URL");
	if (own == DIALECT_NONE && (p == NULL || p->dialect == DIALECT_NONE))
		own = DIALECT_CHAT;
	row->dialect = own != DIALECT_NONE ? own : p->dialect;
	for (unsigned d = DIALECT_NONE + 1; d < DIALECTS && base != NULL; d++) {
		const char *path = p != NULL ? p->path[d] : NULL;

		if (own == d && path == NULL)
			path = catalog_path(own);
		if (path != NULL && (own == DIALECT_NONE || own == d))
			row->url[d] = whole_url(k, base, path);
	}
}

static struct snap_str
auth_header(struct composer *k, const struct catalog_provider *p, enum dialect_id dialect,
    const char *secret)
{
	const char *name, *scheme;
	struct buf line = BUF_INIT(HEADER_MAX);
	struct snap_str s = {0};

	catalog_auth(p, dialect, &name, &scheme);
	if (name == NULL || secret == NULL || secret[0] == '\0')
		return s;
	buf_addf(&line, "%s: ", name);
	if (scheme != NULL && scheme[0] != '\0')
		buf_addf(&line, "%s ", scheme);
	buf_str(&line, secret);
	if (buf_ok(&line))
		s = snapshot_string(k->b, line.data, line.len);
	buf_wipe(&line);
	return s;
}

/* Parts of "ACCESS:SECRET:SESSION" stand alone in what an upstream may repeat. */
static void
hide_secret(const struct connection *c, const struct catalog_provider *p)
{
	const char *parts = c->secret != NULL && p != NULL && p->sigv4 ? strchr(c->secret, ':') : NULL;
	char *copy = parts != NULL ? strdup(parts + 1) : NULL, *session;

	log_secret(c->secret != NULL ? c->secret : "");
	if (copy == NULL)
		return;
	if ((session = strchr(copy, ':')) != NULL) {
		*session = '\0';
		log_secret(session + 1);
		explicit_bzero(session + 1, strlen(session + 1));
	}
	log_secret(copy);
	explicit_bzero(copy, strlen(copy));
	free(copy);
}

static int
add_connection(void *ctx, const struct connection *c)
{
	struct composer *k = ctx;
	const struct catalog_provider *p = catalog_find(c->provider);
	const char *base = c->base_url != NULL ? c->base_url : p != NULL ? p->base_url : NULL;
	bool builtin = p != NULL && p->builtin;
	int provider = provider_row(k, p != NULL ? p->id : c->provider, p), r;
	struct snap_conn row = {.priority = c->priority,
	    .slot = c->slot,
	    .enabled = c->enabled && (base != NULL || builtin),
	    .insecure = c->insecure,
	    .id_hash = snapshot_hash(c->id, strlen(c->id))};

	if (provider < 0)
		return provider;
	if (c->enabled && base == NULL && !builtin)
		log_error("connection %s is not used: provider %s needs a base URL", c->name,
		    c->provider);
	row.provider = (uint32_t)provider;
	row.http2 = (uint32_t)(c->http2 < 0 ? k->m->conf->upstream_http2 : c->http2);
	row.id = text(k, c->id);
	row.name = text(k, c->name);
	add_urls(k, &row, c, p, base);
	row.sign = p != NULL && p->sigv4 ? SIGN_SIGV4 : SIGN_NONE;
	row.auth_header = auth_header(k, p, (enum dialect_id)row.dialect, c->secret);
	row.secret = text(k, c->secret);
	row.headers = text(k, p != NULL ? p->headers : NULL);
	if ((r = snapshot_add_conn(k->b, &row)) < 0)
		return r;
	live_conn_bind(k->m->live, c->slot, row.id_hash);
	hide_secret(c, p);
	return 0;
}

static int
add_providers(struct composer *k)
{
	int r = 0;

	for (unsigned i = 0; i < catalog_count() && r >= 0; i++)
		if (catalog_at(i)->builtin)
			r = provider_row(k, catalog_at(i)->id, catalog_at(i));
	return r < 0 ? r : registry_each_connection(k->m, add_connection, k);
}

/* ---- models and keys ---- */

static int
add_model(void *ctx, const struct registry_model *r)
{
	struct composer *k = ctx;
	const struct snap_model row = {.id = text(k, r->id),
	    .owned_by = text(k, r->owned_by),
	    .root = text(k, r->root),
	    .context_length = r->context_length,
	    .max_output_tokens = r->max_output_tokens,
	    .created = r->created};

	return MIN(snapshot_add_model(k->b, &row), 0);
}

static int
add_key(void *ctx, const struct client_key *c)
{
	struct composer *k = ctx;
	struct snap_key row = {.id = text(k, c->id),
	    .name = text(k, c->name),
	    .id_hash = snapshot_hash(c->id, strlen(c->id)),
	    .slot = c->slot,
	    .scopes = c->scopes,
	    .rpm = c->rpm,
	    .expires_wall_s = c->expires_wall_s};
	int r;

	memcpy(row.digest, c->digest, sizeof row.digest);
	if ((r = snapshot_add_key(k->b, &row)) < 0)
		return r;
	live_key_bind(k->m->live, c->slot, row.id_hash);
	return 0;
}

/* ---- the whole ---- */

/* Our own work, read as a worker will read it. */
static int
check_again(int fd)
{
	struct snapshot *s;
	int r = snapshot_open(fd, &s);

	if (r == 0)
		snapshot_put(s);
	return r;
}

static int
fill(struct composer *k, const struct listen_set *listen, const char **part)
{
	int r;

	*part = "listeners";
	if ((r = add_listeners(k, listen)) != 0)
		return r;
	*part = "connections";
	if ((r = add_providers(k)) != 0)
		return r;
	*part = "models";
	if ((r = registry_each_model(k->m, add_model, k)) != 0)
		return r;
	*part = "keys";
	return registry_each_key(k->m, add_key, k);
}

int
compose_snapshot(struct master *m, uint64_t number, const struct listen_set *listen, int *fd)
{
	struct composer k = {.m = m, .b = snapshot_builder_new(number)};
	const char *part = "memory";
	int r = E_NOMEM;

	*fd = -1;
	if (k.b == NULL)
		goto out;
	add_settings(&k);
	if ((r = fill(&k, listen, &part)) != 0)
		goto out;
	part = "whole";
	if ((r = snapshot_build(k.b, fd)) == 0 && (r = check_again(*fd)) != 0) {
		close(*fd);
		*fd = -1;
	}
out:
	if (r != 0)
		log_error("snapshot %llu cannot be made: %s: %s", (unsigned long long)number, part,
		    err_text(r));
	for (unsigned i = 0; i < k.nproviders; i++)
		free(k.provider[i].id);
	free(k.provider);
	snapshot_builder_free(k.b);
	return r;
}
