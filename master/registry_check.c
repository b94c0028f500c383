/* What a connection or a client key may look like. Every face goes through here: control, and rows
 * read back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/registry_doc.h"
#include "providers/catalog.h"
#include "providers/sigv4.h"
#include "shared/err.h"
#include "shared/rate.h"
#include "shared/snapshot.h"

#define NAME_MAX_LEN 64
#define URL_MAX_LEN 2048
#define SECRET_MAX_LEN 10000
#define MODEL_MAX_LEN 200
#define MODELS_MAX 1000
#define PRIORITY_MAX 1000

static const char name_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

/* 8-4-4-4-12 hexadecimal digits: such a name could not be told from an id. */
static bool
looks_like_id(const char *s)
{
	if (strlen(s) != UUID_LEN - 1)
		return false;
	for (int i = 0; i < UUID_LEN - 1; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? s[i] != '-' : !strchr("0123456789abcdefABCDEF", s[i]))
			return false;
	}
	return true;
}

static int
check_name(const char *name, struct buf *err)
{
	size_t n = name ? strlen(name) : 0;

	if (n >= 1 && n <= NAME_MAX_LEN && strspn(name, name_chars) == n && name[0] != '-' &&
	    name[0] != '.' && !looks_like_id(name))
		return 0;
	buf_addf(err,
	    "name \"%.80s\" is not allowed: 1 to %d letters, digits, '.', '_' and '-', not "
	    "beginning with '.' "
	    "or '-', not in the form of an id",
	    name ? name : "", NAME_MAX_LEN);
	return E_RANGE;
}

/* No byte that could end a header line or a log line; `spaces` inside are another matter. */
static bool
is_printable(const char *s, bool spaces)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f || (*s == ' ' && !spaces))
			return false;
	return true;
}

static int
check_base_url(const struct master *m, const struct connection *c, const struct catalog_provider *p,
    struct buf *err)
{
	bool private = m->conf->allow_private_provider_urls || (p && p->local);
	int r;

	if (!c->base_url) {
		if (p && (p->base_url || p->builtin))
			return 0;
		buf_addf(err, "base_url is required for %s: the address up to and including /v1",
		    p ? p->id : "a connection without a catalogue provider");
		return E_RANGE;
	}
	if (p && p->builtin) {
		buf_addf(err, "%s is built in: it takes no base_url", p->id);
		return E_RANGE;
	}
	if (strlen(c->base_url) > URL_MAX_LEN || !is_printable(c->base_url, false)) {
		buf_addf(err,
		    "base_url must be at most %d characters, without spaces and control characters",
		    URL_MAX_LEN);
		return E_RANGE;
	}
	r = catalog_base_url_check(c->base_url, private);
	if (r == E_DENIED)
		buf_addf(err,
		    "base_url \"%s\" is not allowed: link-local and metadata addresses never are; "
		    "private "
		    "addresses are for local providers (for example \"local\"), or for every "
		    "provider with "
		    "allow_private_provider_urls = true",
		    c->base_url);
	else if (r < 0)
		buf_addf(err, "base_url is not valid: http:// or https://, a host, no user or "
			      "password, no query, no "
			      "fragment");
	return r;
}

static int
check_dialect(const struct connection *c, const struct catalog_provider *p, struct buf *err)
{
	if (!c->dialect || (!(p && p->builtin) && dialect_of(c->dialect) != DIALECT_NONE))
		return 0;
	if (p && p->builtin) {
		buf_addf(err, "%s is built in: it takes no dialect", p->id);
		return E_RANGE;
	}
	buf_addf(err, "dialect \"%.40s\" is not known; allowed:", c->dialect);
	for (unsigned d = DIALECT_NONE + 1; d < DIALECTS; d++)
		buf_addf(err, " %s", dialect_word((enum dialect_id)d));
	return E_RANGE;
}

static int
check_secret(const struct connection *c, const struct catalog_provider *p, struct buf *err)
{
	if (!c->secret || !*c->secret) {
		if (!p || !p->key_required || c->broken)
			return 0;
		buf_addf(err, "%s needs a key", p->id);
		return E_RANGE;
	}
	if (p && p->builtin) {
		buf_addf(err, "%s is built in: it takes no key", p->id);
		return E_RANGE;
	}
	if (p && p->sigv4 &&
	    sigv4_key_parse((struct span){c->secret, strlen(c->secret)}, &(struct sigv4_key){0}) != 0) {
		buf_addf(err, "the key of %s is ACCESS_KEY_ID:SECRET_ACCESS_KEY, with :SESSION_TOKEN "
			      "behind it for temporary ones", p->id);
		return E_RANGE;
	}
	if (strlen(c->secret) <= SECRET_MAX_LEN && is_printable(c->secret, true))
		return 0;
	buf_addf(err, "the key must be one line of at most %d characters", SECRET_MAX_LEN);
	return E_RANGE;
}

static int
check_models(const struct connection *c, struct buf *err)
{
	if (c->nmodels > MODELS_MAX) {
		buf_addf(err, "models: at most %d", MODELS_MAX);
		return E_RANGE;
	}
	for (unsigned i = 0; i < c->nmodels; i++) {
		size_t n = strlen(c->models[i]);

		if (n >= 1 && n <= MODEL_MAX_LEN && is_printable(c->models[i], false))
			continue;
		buf_addf(err,
		    "models: each is 1 to %d characters without spaces and control characters",
		    MODEL_MAX_LEN);
		return E_RANGE;
	}
	return 0;
}

/*
 * The provider by id or alias, or the connection's own name: a bare base URL. Then the name: what
 * stands before the slash of a model id must mean one thing, so another provider's name is refused.
 */
static int
check_provider(struct connection *c, const struct catalog_provider **found, struct buf *err)
{
	const struct catalog_provider *p = catalog_find(c->provider),
				      *named = catalog_find(c->name);
	char *id;

	*found = p;
	if (!p && strcmp(c->provider, c->name) != 0) {
		buf_addf(err, "there is no provider \"%.80s\" in the catalogue", c->provider);
		return E_NOT_FOUND;
	}
	if (named && named != p && !(named->local && p && p->local)) {
		buf_addf(err, "name \"%s\" is that of the provider %s (%s): choose another",
		    c->name, named->id, named->name);
		return E_EXISTS;
	}
	if (!p || strcmp(p->id, c->provider) == 0)
		return 0;
	id = strdup(p->id);
	if (!id)
		return E_NOMEM;
	free(c->provider);
	c->provider = id;
	return 0;
}

static void
cut_slashes(char *url)
{
	size_t n = url ? strlen(url) : 0;

	while (n > 0 && url[n - 1] == '/')
		url[--n] = '\0';
}

int
connection_check(const struct master *m, struct connection *c, struct buf *err)
{
	const struct catalog_provider *p = NULL;
	int r = check_name(c->name, err);

	if (r == 0)
		r = check_provider(c, &p, err);
	if (r < 0)
		return r;
	cut_slashes(c->base_url);
	if (c->base_url && !*c->base_url) {
		free(c->base_url);
		c->base_url = NULL;
	}
	r = check_base_url(m, c, p, err);
	if (r == 0)
		r = check_dialect(c, p, err);
	if (r == 0)
		r = check_secret(c, p, err);
	if (r == 0)
		r = check_models(c, err);
	if (r == 0 && (c->priority < 1 || c->priority > PRIORITY_MAX)) {
		buf_addf(err, "priority is %d: 1 to %d, the lower is asked first", c->priority,
		    PRIORITY_MAX);
		r = E_RANGE;
	}
	return r;
}

int
client_key_check(const struct client_key *k, uint64_t now_wall_s, struct buf *err)
{
	int r = check_name(k->name, err);

	if (r < 0)
		return r;
	if (!k->scopes || (k->scopes & ~(uint32_t)(SCOPE_CHAT | SCOPE_MANAGE))) {
		buf_addf(err, "scopes: at least one of chat, manage");
		return E_RANGE;
	}
	if (k->rpm > RATE_LIMIT_MAX) {
		buf_addf(err, "rpm is %u: 0 (unlimited) to %u requests a minute", k->rpm,
		    RATE_LIMIT_MAX);
		return E_RANGE;
	}
	if (k->expires_wall_s && k->expires_wall_s <= now_wall_s) {
		buf_addf(err, "expires_at lies in the past");
		return E_RANGE;
	}
	return 0;
}
