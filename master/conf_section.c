/* What the sections of the file may hold: listeners, connections, client keys, trusted proxies. */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "master/conf_option.h"
#include "providers/catalog.h"
#include "providers/sigv4.h"
#include "shared/err.h"
#include "shared/snapshot.h"

#define NAME_MAX_LEN 64
#define KEY_MIN 16 /* of a client key: shorter ones can be guessed */
#define KEY_MAX 512

static const char name_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

/* ---- listeners -------------------------------------------------------------------------- */

int
listen_split(const char *name, char host[64], int *port)
{
	const char *colon = strrchr(name, ':'), *from = name;
	struct in6_addr any;
	int64_t number;
	size_t n;

	if (colon == NULL || number_parse(colon + 1, "", 1, 65535, &number) < 0)
		return E_SYNTAX;
	n = (size_t)(colon - name);
	if (n >= 2 && name[0] == '[' && name[n - 1] == ']') {
		from = name + 1;
		n -= 2;
	}
	if (n == 0 || n >= 64)
		return E_SYNTAX;
	memcpy(host, from, n);
	host[n] = '\0';
	*port = (int)number;
	if (from != name)
		return inet_pton(AF_INET6, host, &any) == 1 ? 0 : E_SYNTAX;
	if (strcmp(host, "*") == 0 || strcmp(host, "localhost") == 0)
		return 0;
	return inet_pton(AF_INET, host, &any) == 1 ? 0 : E_SYNTAX;
}

static int
no_passphrase(char *into, int n, int writing, void *ctx)
{
	(void)into;
	(void)n;
	(void)writing;
	(void)ctx;
	return -1;
}

/* A pair that OpenSSL does not take would stop every worker: find out now. */
static int
tls_check(const struct conf_listen *l, struct buf *err)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	int r = E_NOMEM;

	if (ctx == NULL)
		goto out;
	ERR_clear_error();
	r = E_SYNTAX;
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	if (SSL_CTX_use_certificate_chain_file(ctx, l->certificate) != 1)
		buf_addf(err, "certificate %s cannot be used", l->certificate);
	else if (SSL_CTX_use_PrivateKey_file(ctx, l->private_key, SSL_FILETYPE_PEM) != 1)
		buf_addf(err,
		    "private_key %s cannot be used, or does not belong to the certificate",
		    l->private_key);
	else
		r = 0;
	if (r < 0)
		buf_addf(err, " (%s); allowed: PEM files, the key without a passphrase",
		    ERR_reason_error_string(ERR_peek_last_error()));
out:
	SSL_CTX_free(ctx);
	ERR_clear_error();
	return r;
}

static int
unix_check(const struct conf_listen *l, struct buf *err)
{
	const char *path = l->name + strlen("unix:");

	if (path[0] != '/' || strlen(path) >= sizeof((struct sockaddr_un *)NULL)->sun_path) {
		buf_addf(err, "allowed: unix: and an absolute path of at most %zu bytes",
		    sizeof((struct sockaddr_un *)NULL)->sun_path - 1);
		return E_RANGE;
	}
	return 0;
}

/* "localhost" is what every resolver of this machine would make of it. */
static int
unname(struct conf_listen *l, int port)
{
	char *name;

	if (strncmp(l->name, "localhost:", 10) != 0)
		return 0;
	if (asprintf(&name, "127.0.0.1:%d", port) < 0)
		return E_NOMEM;
	free(l->name);
	l->name = name;
	return 0;
}

int
listen_check(struct conf_listen *l, struct buf *err)
{
	char host[64];
	int port, r;

	if (strncmp(l->name, "unix:", 5) == 0) {
		r = unix_check(l, err);
	} else if (listen_split(l->name, host, &port) == 0) {
		r = unname(l, port);
	} else {
		buf_str(err, "this is no address; allowed: \"127.0.0.1:20128\", \"[::1]:20128\", "
			     "\"*:443\" (every address), \"unix:/path\"");
		return E_RANGE;
	}
	if (r < 0)
		return r;
	if (l->tls && (l->certificate == NULL || l->private_key == NULL)) {
		buf_str(err, "tls needs both certificate and private_key");
		return E_RANGE;
	}
	if (!l->tls && (l->certificate != NULL || l->private_key != NULL)) {
		buf_str(err, "certificate and private_key need tls = true");
		return E_RANGE;
	}
	return l->tls ? tls_check(l, err) : 0;
}

/* ---- connections and keys --------------------------------------------------------------- */

static int
name_check(const char *name, struct buf *err)
{
	size_t n = strlen(name);

	if (n >= 1 && n <= NAME_MAX_LEN && strspn(name, name_chars) == n && name[0] != '.' &&
	    name[0] != '-')
		return 0;
	buf_addf(err,
	    "the name is not allowed; allowed: 1 to %d letters, digits, '.', '_', '-', "
	    "beginning with a letter, a digit or '_'",
	    NAME_MAX_LEN);
	return E_RANGE;
}

static const char *
name_of_provider(const void *ctx, unsigned i)
{
	(void)ctx;
	return catalog_at(i)->id;
}

/*
 * What stands before the slash of a model id must mean one thing. Of the presets for local servers
 * one may have the name of another as long as no connection is of that other one, as in the
 * registry.
 */
static bool
name_is_clear(
    const struct conf *c, const struct catalog_provider *p, const struct catalog_provider *named)
{
	if (named == NULL || named == p)
		return true;
	if (!named->local || !p->local)
		return false;
	for (unsigned i = 0; i < c->nconnections; i++)
		if (c->connection[i].provider != NULL &&
		    catalog_find(c->connection[i].provider) == named)
			return false;
	return true;
}

static int
provider_check(const struct conf *c, const struct conf_connection *n,
    const struct catalog_provider *p, struct buf *err)
{
	const struct catalog_provider *named = catalog_find(n->name);
	const char *near;

	if (n->provider == NULL) {
		buf_str(err, "provider is missing; for any server with a base_url it is "
			     "\"openai-compatible\", or \"local\" in one's own network");
		return E_RANGE;
	}
	if (p == NULL) {
		near = option_nearest(n->provider, name_of_provider, NULL, catalog_count());
		buf_addf(err, "option \"provider\": value \"%.100s\" is not in the catalogue%s%s%s",
		    n->provider, near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
		    near != NULL ? "\"?" : "; omniroute-ctl providers available lists it");
		return E_NOT_FOUND;
	}
	if (!name_is_clear(c, p, named)) {
		buf_addf(err, "the name is that of the provider %s (%s); allowed: any other",
		    named->id, named->name);
		return E_EXISTS;
	}
	return 0;
}

static int
base_url_check(const struct conf *c, const struct conf_connection *n,
    const struct catalog_provider *p, struct buf *err)
{
	int r;

	if (n->base_url == NULL) {
		if (p->builtin || p->base_url != NULL)
			return 0;
		buf_addf(err,
		    "base_url is missing: the address up to and with /v1; %s has none of its own",
		    p->id);
		return E_RANGE;
	}
	if (p->builtin) {
		buf_addf(err, "%s is built in and takes no base_url", p->id);
		return E_RANGE;
	}
	r = catalog_base_url_check(n->base_url, p->local || c->allow_private_provider_urls);
	if (r == E_DENIED)
		buf_addf(err,
		    "option \"base_url\": value \"%.200s\" is not allowed: link-local and metadata "
		    "addresses never are; "
		    "private ones are for provider = \"local\", or for all with "
		    "allow_private_provider_urls = true",
		    n->base_url);
	else if (r < 0) /* it may hold a password: not repeated */
		buf_str(err, "option \"base_url\": value is not allowed; allowed: http:// or "
			     "https://, a host, "
			     "perhaps a port and a path; no user, password, query or fragment");
	return r;
}

static int
dialect_check(const struct conf_connection *n, const struct catalog_provider *p, struct buf *err)
{
	if (n->dialect == NULL || (!p->builtin && dialect_of(n->dialect) != DIALECT_NONE))
		return 0;
	if (p->builtin) {
		buf_addf(err, "%s is built in and takes no dialect", p->id);
		return E_RANGE;
	}
	buf_addf(err, "option \"dialect\": value \"%.40s\" is not known; allowed:", n->dialect);
	for (unsigned d = DIALECT_NONE + 1; d < DIALECTS; d++)
		buf_addf(err, " %s", dialect_word((enum dialect_id)d));
	return E_RANGE;
}

int
connection_complete(const struct conf *c, const struct conf_connection *n, struct buf *err)
{
	const struct catalog_provider *p = n->provider != NULL ? catalog_find(n->provider) : NULL;
	int r = name_check(n->name, err);

	if (r == 0)
		r = provider_check(c, n, p, err);
	if (r == 0)
		r = base_url_check(c, n, p, err);
	if (r == 0)
		r = dialect_check(n, p, err);
	if (r == 0 && n->key == NULL && p->key_required) {
		buf_addf(err, "%s needs a key; allowed: one of key, key_file, key_env", p->id);
		r = E_RANGE;
	}
	if (r == 0 && n->key != NULL && p->sigv4 &&
	    sigv4_key_parse((struct span){n->key, strlen(n->key)}, &(struct sigv4_key){0}) != 0) {
		buf_addf(err, "the key of %s must be ACCESS_KEY_ID:SECRET_ACCESS_KEY, with :SESSION_TOKEN "
			      "behind it for temporary ones", p->id);
		r = E_RANGE;
	}
	if (r == 0 && n->key != NULL && p->builtin) {
		buf_addf(err, "%s is built in and takes no key", p->id);
		r = E_RANGE;
	}
	return r;
}

int
key_complete(const struct conf_key *k, struct buf *err)
{
	size_t n = k->key != NULL ? strlen(k->key) : 0;
	int r = name_check(k->name, err);

	if (r < 0)
		return r;
	if (n >= KEY_MIN && n <= KEY_MAX)
		return 0;
	if (k->key == NULL)
		buf_str(err, "the key is missing; allowed: one of key, key_file, key_env");
	else
		buf_addf(err, "the key has %zu characters; allowed: %d to %d", n, KEY_MIN, KEY_MAX);
	return E_RANGE;
}

/* ---- address ranges --------------------------------------------------------------------- */

int
net_parse(const char *text, struct conf_net *out)
{
	const char *slash = strchr(text, '/');
	unsigned most = 128, before = 0;
	char address[64];
	int64_t bits;
	struct in_addr v4;
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);

	if (n >= sizeof address)
		return E_SYNTAX;
	memcpy(address, text, n);
	address[n] = '\0';
	*out = (struct conf_net){0};
	if (inet_pton(AF_INET, address, &v4) == 1) {
		out->addr.s6_addr[10] = out->addr.s6_addr[11] = 0xff;
		memcpy(&out->addr.s6_addr[12], &v4, sizeof v4);
		most = 32;
		before = 96;
	} else if (inet_pton(AF_INET6, address, &out->addr) != 1) {
		return E_SYNTAX;
	}
	bits = most;
	if (slash != NULL && number_parse(slash + 1, "", 0, most, &bits) < 0)
		return E_SYNTAX;
	out->bits = (unsigned)bits + before;
	for (unsigned i = out->bits; i < 128; i++)
		out->addr.s6_addr[i / 8] &= (uint8_t) ~(0x80u >> (i % 8));
	return 0;
}
