#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/registry_doc.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"

#define KEY_PREFIX "or-"
#define KEY_BYTES 32
#define KEY_SHOWN 12 /* characters of a key that are kept to recognise it */
#define ID_PREFIX_MIN 8

/* Never more than a third of a key, so that a short one from the file stays secret. */
static void
set_prefix(struct client_key *k, const char *secret)
{
	size_t n = MIN(strlen(secret) / 3, (size_t)KEY_SHOWN);

	memcpy(k->prefix, secret, n);
	k->prefix[n] = '\0';
}

static bool
key_in_file(const struct master *m, const char *name)
{
	for (unsigned i = 0; i < m->conf->nkeys; i++)
		if (strcmp(m->conf->key[i].name, name) == 0)
			return true;
	return false;
}

static int
each_file_key(struct master *m, int (*fn)(void *, const struct client_key *), void *ctx)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < m->conf->nkeys; i++) {
		const struct conf_key *f = &m->conf->key[i];
		struct client_key k = {.scopes = f->scopes, .rpm = f->rpm, .from_file = true};

		k.name = strdup(f->name);
		r = k.name ? slot_of_name(m, SLOT_KEY, k.name, &k.slot, k.id) : E_NOMEM;
		if (r == 0) {
			set_prefix(&k, f->key);
			key_digest(m->key_salt, f->key, strlen(f->key), k.digest);
			r = fn(ctx, &k);
		}
		client_key_clear(&k);
	}
	return r;
}

int
registry_each_key(struct master *m, int (*fn)(void *ctx, const struct client_key *k), void *ctx)
{
	struct doc_list l;
	int r = each_file_key(m, fn, ctx);

	if (r != 0)
		return r;
	r = doc_list_load(m, DOC_KEY, &l);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < l.n; i++) {
		struct client_key k;
		int bad = client_key_decode(&l.v[i], &k);

		if (bad == E_NOMEM)
			r = bad;
		else if (bad < 0)
			log_error("the stored key %s cannot be read and is refused: %s", l.v[i].id,
			    err_text(bad));
		else if (!key_in_file(m, k.name))
			r = fn(ctx, &k);
		client_key_clear(&k);
	}
	doc_list_clear(&l);
	return r;
}

struct key_search {
	const char *which;
	unsigned exact, by_prefix;
	struct client_key *out;
};

static int
search_key(void *ctx, const struct client_key *k)
{
	struct key_search *s = ctx;
	size_t n = strlen(s->which);
	bool take = false;

	if (strcmp(k->name, s->which) == 0 || strcmp(k->id, s->which) == 0)
		take = s->exact++ == 0;
	else if (n >= ID_PREFIX_MIN && strncmp(k->id, s->which, n) == 0)
		take = s->by_prefix++ == 0 && s->exact == 0;
	if (!take)
		return 0;
	client_key_clear(s->out);
	*s->out = *k;
	s->out->name = strdup(k->name);
	return s->out->name ? 0 : E_NOMEM;
}

int
registry_find_key(struct master *m, const char *which, struct client_key *out, struct buf *err)
{
	struct key_search s = {.which = which, .out = out};
	int r;

	*out = (struct client_key){0};
	r = registry_each_key(m, search_key, &s);
	if (r < 0) {
		buf_addf(err, "the store cannot be read: %s", err_text(r));
	} else if (!s.exact && s.by_prefix != 1) {
		r = E_NOT_FOUND;
		if (s.by_prefix)
			buf_addf(err,
			    "%u keys have an id that begins with \"%.40s\": give more of it",
			    s.by_prefix, which);
		else
			buf_addf(err, "there is no key \"%.80s\"", which);
	}
	if (r < 0)
		client_key_clear(out);
	return r;
}

static int
key_name_is_free(struct master *m, const char *name, struct buf *err)
{
	struct buf ignored = BUF_INIT(256);
	struct client_key other;
	int r = registry_find_key(m, name, &other, &ignored);

	buf_clear(&ignored);
	if (r == E_NOT_FOUND)
		return 0;
	if (r < 0)
		return r;
	client_key_clear(&other);
	buf_addf(err, "there is a key \"%s\" already", name);
	return E_EXISTS;
}

int
registry_add_key(struct master *m, struct client_key *k, char **secret, struct buf *err)
{
	uint64_t now = clock_wall_us();
	char *text = NULL;
	int r;

	*secret = NULL;
	r = client_key_check(k, now / 1000000, err);
	if (r == 0)
		r = key_name_is_free(m, k->name, err);
	if (r == 0) {
		r = slot_of_row(m, SLOT_KEY, &k->slot);
		if (r == E_FULL)
			buf_addf(err, "there is room for %d keys, and all are taken", LIVE_KEYS);
	}
	if (r < 0)
		goto out;
	*secret = random_token(KEY_PREFIX, KEY_BYTES);
	if (!*secret) {
		r = E_NOMEM;
		goto out;
	}
	uuid4(k->id);
	k->created_wall_us = now;
	set_prefix(k, *secret);
	key_digest(m->key_salt, *secret, strlen(*secret), k->digest);
	text = client_key_encode(k);
	r = text ? doc_put(m, DOC_KEY, k->id, text) : E_NOMEM;
out:
	doc_text_free(text);
	if (r < 0) {
		seal_free(*secret);
		*secret = NULL;
		if (err->len == 0)
			buf_addf(err, "the key was not stored: %s", err_text(r));
	}
	return r;
}

int
registry_remove_key(struct master *m, const char *which, struct buf *err)
{
	struct client_key k;
	int r = registry_find_key(m, which, &k, err);

	if (r < 0)
		return r;
	if (k.from_file) {
		buf_addf(err, "key \"%s\" stands in %s: remove it there and reload", k.name,
		    m->conf->file ? m->conf->file : "the configuration file");
		r = E_DENIED;
	} else {
		r = doc_del(m, DOC_KEY, k.id);
		if (r < 0)
			buf_addf(err, "the change was not stored: %s", err_text(r));
	}
	client_key_clear(&k);
	return r;
}
