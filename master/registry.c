#include "master/registry.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/registry_doc.h"
#include "providers/catalog.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"

#define ID_PREFIX_MIN 8

static const char *
file_name(const struct master *m)
{
	return m->conf->file ? m->conf->file : "the configuration file";
}

/* ---- walking connections ---- */

static int
conf_row(struct master *m, const struct conf_connection *f, struct connection *c)
{
	*c = (struct connection){.name = strdup(f->name),
	    .provider = registry_strdup(f->provider),
	    .base_url = registry_strdup(f->base_url),
	    .dialect = registry_strdup(f->dialect),
	    .secret = registry_strdup(f->key),
	    .priority = f->priority,
	    .http2 = f->http2,
	    .enabled = f->enabled,
	    .insecure = f->insecure,
	    .from_file = true};
	if (!c->provider)
		c->provider = strdup(f->name);
	c->models = calloc(f->nmodels ? f->nmodels : 1, sizeof *c->models);
	if (!c->name || !c->provider || !c->models)
		return E_NOMEM;
	for (unsigned i = 0; i < f->nmodels; i++) {
		c->models[i] = strdup(f->models[i]);
		if (!c->models[i])
			return E_NOMEM;
		c->nmodels++;
	}
	return slot_of_name(m, SLOT_CONNECTION, c->name, &c->slot, c->id);
}

static bool
connection_in_file(const struct master *m, const char *name)
{
	for (unsigned i = 0; i < m->conf->nconnections; i++)
		if (strcmp(m->conf->connection[i].name, name) == 0)
			return true;
	return false;
}

/* A row of the file that breaks a rule is left out, loudly: the rest of the configuration is in
 * force already. */
static int
each_file_connection(struct master *m, int (*fn)(void *, const struct connection *), void *ctx)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < m->conf->nconnections; i++) {
		struct buf why = BUF_INIT(1024);
		struct connection c;

		r = conf_row(m, &m->conf->connection[i], &c);
		if (r == 0 && connection_check(m, &c, &why) < 0)
			log_error("connection %s of %s is not used: %s", c.name, file_name(m),
			    buf_cstr(&why) ? why.data : "out of memory");
		else if (r == 0)
			r = fn(ctx, &c);
		connection_clear(&c);
		buf_clear(&why);
	}
	return r;
}

int
registry_each_connection(
    struct master *m, int (*fn)(void *ctx, const struct connection *c), void *ctx)
{
	struct doc_list l;
	int r = each_file_connection(m, fn, ctx);

	if (r != 0)
		return r;
	r = doc_list_load(m, DOC_CONNECTION, &l);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < l.n; i++) {
		struct connection c;
		int bad = connection_decode(m, &l.v[i], &c);

		if (bad == E_NOMEM)
			r = bad;
		else if (bad < 0)
			log_error("the stored connection %s cannot be read and is not used: %s",
			    l.v[i].id, err_text(bad));
		else if (!connection_in_file(m, c.name))
			r = fn(ctx, &c);
		connection_clear(&c);
	}
	doc_list_clear(&l);
	return r;
}

/* ---- finding ---- */

struct search {
	const char *which, *not_id; /* not_id: the row that may have the name, NULL: none */
	bool name_only;
	unsigned exact, by_prefix;
	struct connection *conn;
	struct client_key *key;
};

enum match { MATCH_NONE, MATCH_PREFIX, MATCH_EXACT };

static enum match
match(const struct search *s, const char *id, const char *name)
{
	size_t n = strlen(s->which);

	if (strcmp(name, s->which) == 0)
		return s->not_id && strcmp(s->not_id, id) == 0 ? MATCH_NONE : MATCH_EXACT;
	if (s->name_only)
		return MATCH_NONE;
	if (strcmp(id, s->which) == 0)
		return MATCH_EXACT;
	return n >= ID_PREFIX_MIN && strncmp(id, s->which, n) == 0 ? MATCH_PREFIX : MATCH_NONE;
}

/* True: this row is the better find so far, take a copy of it. */
static bool
search_take(struct search *s, const char *id, const char *name)
{
	switch (match(s, id, name)) {
	case MATCH_EXACT:
		return s->exact++ == 0;
	case MATCH_PREFIX:
		return s->by_prefix++ == 0 && s->exact == 0;
	default:
		return false;
	}
}

static int
connection_copy(const struct connection *from, struct connection *to)
{
	*to = *from;
	to->name = strdup(from->name);
	to->provider = strdup(from->provider);
	to->base_url = registry_strdup(from->base_url);
	to->dialect = registry_strdup(from->dialect);
	to->secret = registry_strdup(from->secret);
	to->models = calloc(from->nmodels ? from->nmodels : 1, sizeof *to->models);
	to->nmodels = 0;
	for (unsigned i = 0; to->models && i < from->nmodels; i++) {
		to->models[i] = strdup(from->models[i]);
		if (!to->models[i])
			break;
		to->nmodels++;
	}
	if (to->name && to->provider && to->models && to->nmodels == from->nmodels &&
	    (to->base_url || !from->base_url) && (to->dialect || !from->dialect) &&
	    (to->secret || !from->secret))
		return 0;
	connection_clear(to);
	return E_NOMEM;
}

static int
search_connection(void *ctx, const struct connection *c)
{
	struct search *s = ctx;

	if (!search_take(s, c->id, c->name) || !s->conn)
		return 0;
	connection_clear(s->conn);
	return connection_copy(c, s->conn);
}

static int
search_outcome(const struct search *s, const char *what, struct buf *err)
{
	if (s->exact || s->by_prefix == 1)
		return 0;
	if (s->by_prefix)
		buf_addf(err, "%u %ss have an id that begins with \"%.40s\": give more of it",
		    s->by_prefix, what, s->which);
	else
		buf_addf(err, "there is no %s \"%.80s\"", what, s->which);
	return E_NOT_FOUND;
}

int
registry_find_connection(
    struct master *m, const char *which, struct connection *out, struct buf *err)
{
	struct search s = {.which = which, .conn = out};
	int r;

	*out = (struct connection){0};
	r = registry_each_connection(m, search_connection, &s);
	if (r < 0)
		buf_addf(err, "the store cannot be read: %s", err_text(r));
	else
		r = search_outcome(&s, "connection", err);
	if (r < 0)
		connection_clear(out);
	return r;
}

/* ---- changing connections ---- */

struct clash {
	const struct connection *c;
	char *other; /* name of the connection that is in the way */
};

/* Of two connections one has the name of the other's provider, and is of another itself. */
static int
find_clash(void *ctx, const struct connection *d)
{
	struct clash *k = ctx;
	const struct catalog_provider *mine = catalog_find(k->c->name),
				      *its = catalog_find(d->name);

	if (strcmp(d->provider, k->c->provider) == 0 || strcmp(d->id, k->c->id) == 0)
		return 0;
	if (!(mine && strcmp(mine->id, d->provider) == 0) &&
	    !(its && strcmp(its->id, k->c->provider) == 0))
		return 0;
	k->other = strdup(d->name);
	return k->other ? 1 : E_NOMEM;
}

static int
name_is_clear(struct master *m, const struct connection *c, struct buf *err)
{
	struct clash k = {.c = c};
	int r = registry_each_connection(m, find_clash, &k);

	if (r <= 0)
		return r;
	buf_addf(err,
	    "\"%s/…\" could mean two things: there is the connection \"%s\"; choose another name "
	    "for "
	    "one of them",
	    catalog_find(c->name) ? c->name : k.other, k.other);
	free(k.other);
	return E_EXISTS;
}

static int
name_is_free(struct master *m, const struct connection *c, struct buf *err)
{
	struct search s = {.which = c->name, .not_id = c->id, .name_only = true};
	int r;

	if (connection_in_file(m, c->name)) {
		buf_addf(err, "there is a connection \"%s\" in %s", c->name, file_name(m));
		return E_EXISTS;
	}
	r = registry_each_connection(m, search_connection, &s);
	if (r < 0)
		return r;
	if (!s.exact)
		return name_is_clear(m, c, err);
	buf_addf(err, "there is a connection \"%s\" already", c->name);
	return E_EXISTS;
}

static int
put_connection(struct master *m, const struct connection *c)
{
	char *text = connection_encode(m, c);
	int r = text ? doc_put(m, DOC_CONNECTION, c->id, text) : E_NOMEM;

	doc_text_free(text);
	return r;
}

/* An error that has not put its sentence into `err` yet is the store's. */
static int
explain(int r, struct buf *err)
{
	if (r < 0 && err->len == 0)
		buf_addf(err, "the change was not stored: %s", err_text(r));
	return r;
}

int
registry_add_connection(struct master *m, struct connection *c, struct buf *err)
{
	int r;

	c->id[0] = '\0';
	r = connection_check(m, c, err);
	if (r == 0)
		r = name_is_free(m, c, err);
	if (r == 0) {
		r = slot_of_row(m, SLOT_CONNECTION, &c->slot);
		if (r == E_FULL)
			buf_addf(
			    err, "there is room for %d connections, and all are taken", LIVE_CONNS);
	}
	if (r < 0)
		return explain(r, err);
	uuid4(c->id);
	c->created_wall_us = c->updated_wall_us = clock_wall_us();
	return explain(put_connection(m, c), err);
}

static int
refuse_file_row(const struct master *m, const char *what, const char *name, struct buf *err)
{
	buf_addf(
	    err, "%s \"%s\" stands in %s: change it there and reload", what, name, file_name(m));
	return E_DENIED;
}

int
registry_update_connection(struct master *m, const struct connection *c, struct buf *err)
{
	struct connection row;
	int r;

	if (c->from_file)
		return refuse_file_row(m, "connection", c->name, err);
	if (c->broken && !c->secret) {
		buf_addf(err, "the credential of \"%s\" cannot be decrypted: give it a new key",
		    c->name);
		return E_CRYPTO;
	}
	r = connection_copy(c, &row);
	if (r < 0)
		return explain(r, err);
	r = connection_check(m, &row, err);
	if (r == 0)
		r = name_is_free(m, &row, err);
	row.updated_wall_us = clock_wall_us();
	if (r == 0)
		r = put_connection(m, &row);
	connection_clear(&row);
	return explain(r, err);
}

int
registry_remove_connection(struct master *m, const char *which, struct buf *err)
{
	struct connection c;
	int r = registry_find_connection(m, which, &c, err);

	if (r < 0)
		return r;
	if (c.from_file)
		r = refuse_file_row(m, "connection", c.name, err);
	else
		r = explain(doc_del(m, DOC_CONNECTION, c.id), err);
	connection_clear(&c);
	return r;
}

int
registry_provider_slot(struct master *m, const char *provider, unsigned *slot)
{
	char id[UUID_LEN];

	return slot_of_name(m, SLOT_PROVIDER, provider, slot, id);
}
