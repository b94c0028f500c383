/* The configuration from its four sources, and what changes between two of them. */
#include "master/conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/conf_option.h"
#include "providers/catalog.h"
#include "shared/err.h"
#include "shared/log.h"

#define DEFAULT_HOST "127.0.0.1"
#define DEFAULT_PORT 20128

/* ---- life ------------------------------------------------------------------------------- */

static void
connection_free(struct conf_connection *n)
{
	free(n->name);
	free(n->provider);
	free(n->base_url);
	free(n->dialect);
	secret_free(n->key);
	for (unsigned i = 0; i < n->nmodels; i++)
		free(n->models[i]);
	free(n->models);
}

void
conf_free(struct conf *c)
{
	if (c == NULL)
		return;
	option_free(c);
	for (unsigned i = 0; i < c->nlisten; i++) {
		free(c->listen[i].name);
		free(c->listen[i].certificate);
		free(c->listen[i].private_key);
	}
	for (unsigned i = 0; i < c->nconnections; i++)
		connection_free(&c->connection[i]);
	for (unsigned i = 0; i < c->nkeys; i++) {
		free(c->key[i].name);
		secret_free(c->key[i].key);
	}
	free(c->listen);
	free(c->connection);
	free(c->key);
	free(c->trusted);
	secret_free(c->initial_password);
	free(c->file);
	free(c);
}

static struct conf *
conf_new(void)
{
	struct conf *c = calloc(1, sizeof *c);

	if (c != NULL && (catalog_load() < 0 || option_defaults(c) < 0)) {
		conf_free(c);
		return NULL;
	}
	return c;
}

/* ---- environment and command line ------------------------------------------------------- */

int
env_apply(struct conf *c, const struct env *e, struct buf *err)
{
	struct buf why = BUF_INIT(2048);
	int r = 0;

	for (unsigned i = 0; r == 0 && i < noptions; i++) {
		const char *origin, *value;

		if (options[i].env == NULL || (value = env_get(e, options[i].env, &origin)) == NULL)
			continue;
		/* Which .env is read depends on data_dir, so .env has no say in it. */
		if (strcmp(options[i].name, "data_dir") == 0)
			continue;
		r = option_set(&options[i], c, value, &why);
		if (r < 0)
			buf_addf(err, "%s: %s: %.*s", origin, options[i].env, (int)why.len,
			    why.data != NULL ? why.data : "");
	}
	buf_clear(&why);
	return r;
}

/*
 * HOSTNAME is where to listen, but shells and containers put the machine's name there. Only what is
 * an address counts.
 */
static const char *
env_host(const struct env *e)
{
	const char *origin, *value = env_get(e, "HOSTNAME", &origin);
	struct in6_addr any;

	if (value == NULL)
		return NULL;
	if (strcmp(value, "localhost") == 0)
		return DEFAULT_HOST;
	if (inet_pton(AF_INET, value, &any) == 1 || inet_pton(AF_INET6, value, &any) == 1)
		return value;
	log_info("HOSTNAME is not an address and is ignored value=%s", value);
	return NULL;
}

static int
env_port(const struct env *e, int *port, struct buf *err)
{
	const char *origin, *value = env_get(e, "PORT", &origin);
	int64_t n;

	if (value == NULL)
		return 0;
	if (number_parse(value, "", 1, 65535, &n) < 0) {
		buf_addf(err, "%s: PORT: value \"%.100s\" is not allowed; allowed: 1 to 65535",
		    origin, value);
		return E_RANGE;
	}
	*port = (int)n;
	return 0;
}

/* The first TCP listener; one is made when there is none. */
static struct conf_listen *
tcp_listener(struct conf *c)
{
	struct conf_listen *grown;

	for (unsigned i = 0; i < c->nlisten; i++)
		if (strncmp(c->listen[i].name, "unix:", 5) != 0)
			return &c->listen[i];
	grown = realloc(c->listen, (c->nlisten + 1) * sizeof *grown);
	if (grown == NULL)
		return NULL;
	c->listen = grown;
	grown += c->nlisten;
	*grown = (struct conf_listen){.mode = 0600};
	if (asprintf(&grown->name, "%s:%d", DEFAULT_HOST, DEFAULT_PORT) < 0)
		return NULL;
	c->nlisten++;
	return grown;
}

/* PORT and HOSTNAME move the first TCP listener and leave the others alone. */
static int
move_listener(struct conf *c, const char *host, int port, struct buf *err)
{
	struct conf_listen *l = tcp_listener(c);
	char old[64], *name;
	int old_port;

	if (l == NULL)
		return E_NOMEM;
	if (listen_split(l->name, old, &old_port) < 0)
		bug("listener %s was not checked", l->name);
	if (host == NULL)
		host = old;
	if (port == 0)
		port = old_port;
	if (asprintf(&name, strchr(host, ':') != NULL ? "[%s]:%d" : "%s:%d", host, port) < 0)
		return E_NOMEM;
	free(l->name);
	l->name = name;
	for (unsigned i = 0; i < c->nlisten; i++)
		if (&c->listen[i] != l && strcmp(c->listen[i].name, name) == 0) {
			buf_addf(err, "PORT or HOSTNAME makes two listeners at %s", name);
			return E_EXISTS;
		}
	return 0;
}

static int
apply_listen(struct conf *c, const struct env *e, const struct conf_override *over, struct buf *err)
{
	const char *host = env_host(e);
	int port = 0, r;

	r = env_port(e, &port, err);
	if (r < 0)
		return r;
	if (over->port != 0) {
		if (over->port < 1 || over->port > 65535) {
			buf_addf(err,
			    "command line: port: value \"%d\" is not allowed; allowed: 1 to 65535",
			    over->port);
			return E_RANGE;
		}
		port = over->port;
	}
	if (host == NULL && port == 0 && c->nlisten > 0)
		return 0;
	return move_listener(c, host, port, err);
}

static int
apply_password(struct conf *c, const struct env *e)
{
	const char *value = env_get(e, "INITIAL_PASSWORD", NULL);

	if (value == NULL)
		return 0;
	secret_set(&c->initial_password, strdup(value));
	return c->initial_password != NULL ? 0 : E_NOMEM;
}

/* ---- files ------------------------------------------------------------------------------ */

static char *
full_path(const char *path)
{
	char here[PATH_MAX];

	return path_absolute(path, getcwd(here, sizeof here));
}

/* The folder that relative paths of the file stand behind; malloc'ed. */
static char *
folder_of(const char *file)
{
	const char *slash = strrchr(file, '/');

	return slash == NULL || slash == file ? strdup("/") : strndup(file, (size_t)(slash - file));
}

/* DATA_DIR, or the default; of these the one that no file has changed. */
static char *
first_data_dir(void)
{
	const char *value = getenv("DATA_DIR");

	return full_path(value != NULL && *value != '\0' ? value : option_find("data_dir")->text);
}

static int
choose_file(const struct conf_override *over, char **out)
{
	char *dir, *file;

	*out = NULL;
	if (over->file != NULL) {
		*out = full_path(over->file);
		return *out != NULL ? 0 : E_NOMEM;
	}
	dir = first_data_dir();
	if (dir == NULL || asprintf(&file, "%s/omniroute.conf", dir) < 0) {
		free(dir);
		return E_NOMEM;
	}
	free(dir);
	/* One that is there and cannot be read is an error, not a reason to run without. */
	if (access(file, F_OK) == 0 || errno == EACCES) {
		*out = file;
		return 0;
	}
	free(file);
	if (access(OMNIROUTE_SYSCONFDIR "/omniroute/omniroute.conf", F_OK) == 0) {
		*out = strdup(OMNIROUTE_SYSCONFDIR "/omniroute/omniroute.conf");
		return *out != NULL ? 0 : E_NOMEM;
	}
	return 0;
}

/*
 * The data directory must be known before .env can be read, and .env before the file can: a first
 * look at the file for this one option. What is wrong with the file is found, and said, by the
 * second.
 */
static int
find_data_dir(const char *file, const struct env *e, char **out)
{
	struct buf unsaid = BUF_INIT(65536);
	struct source *s = NULL;
	struct conf *c = NULL;
	const char *value = getenv("DATA_DIR");
	char *dir = NULL;
	int r = 0;

	*out = NULL;
	if ((value == NULL || *value == '\0') && file != NULL) {
		c = conf_new();
		dir = folder_of(file);
		if (c == NULL || dir == NULL) {
			r = E_NOMEM;
			goto out;
		}
		if (source_read(file, e, true, &s, &unsaid) == 0 &&
		    conf_parse(s, e, c, true, &unsaid) == 0)
			*out = path_absolute(c->data_dir, dir);
	}
	if (*out == NULL)
		*out = first_data_dir();
	if (*out == NULL)
		r = E_NOMEM;
out:
	source_free(s);
	conf_free(c);
	free(dir);
	buf_wipe(&unsaid);
	return r;
}

static bool
has_secret(const struct conf *c)
{
	for (unsigned i = 0; i < c->nconnections; i++)
		if (c->connection[i].key != NULL)
			return true;
	return c->nkeys > 0;
}

static int
load_file(struct conf *c, const struct env *e, struct buf *err)
{
	struct source *s = NULL;
	const char *public;
	char *dir;
	int r = source_read(c->file, e, false, &s, err);

	if (r == 0)
		r = conf_parse(s, e, c, false, err);
	if (r == 0 && source_is_public(s, &public) && has_secret(c))
		log_warn("%s may be read by everybody, and keys stand in the configuration; chmod "
			 "o-r helps",
		    public);
	source_free(s);
	if (r < 0)
		return r;
	dir = folder_of(c->file);
	r = dir != NULL ? option_paths(c, dir) : E_NOMEM;
	free(dir);
	return r;
}

/* `c->file` is known; everything else follows. */
static int
load(struct conf *c, const struct conf_override *over, struct env *e, struct buf *err)
{
	char *data_dir = NULL;
	int r = find_data_dir(c->file, e, &data_dir);

	if (r == 0)
		r = env_load(e, data_dir, err);
	if (r == 0 && c->file != NULL)
		r = load_file(c, e, err);
	else if (r == 0)
		r = env_apply(c, e, err);
	if (r == 0)
		r = option_paths(c, NULL);
	if (r == 0)
		r = apply_listen(c, e, over, err);
	if (r == 0)
		r = apply_password(c, e);
	if (data_dir != NULL) {
		free(c->data_dir);
		c->data_dir = data_dir;
	}
	return r;
}

int
conf_load(const struct conf_override *over, struct conf **out, struct buf *err)
{
	struct env *e = env_new();
	struct conf *c = conf_new();
	int r = E_NOMEM;

	if (e != NULL && c != NULL)
		r = choose_file(over, &c->file);
	if (r == 0)
		r = load(c, over, e, err);
	if (r < 0 && err->len == 0)
		buf_str(err, err_text(r));
	env_free(e);
	if (r < 0) {
		conf_free(c);
		return r;
	}
	*out = c;
	return 0;
}

int
conf_parse_text(const char *text, size_t n, struct conf **out, struct buf *err)
{
	struct source *s = NULL;
	struct conf *c = conf_new();
	int r = E_NOMEM;

	if (c != NULL)
		r = source_text(text, n, &s, err);
	if (r == 0)
		r = conf_parse(s, NULL, c, false, err);
	if (r == 0 && c->nlisten == 0 && tcp_listener(c) == NULL)
		r = E_NOMEM;
	source_free(s);
	if (r < 0) {
		if (err->len == 0)
			buf_str(err, err_text(r));
		conf_free(c);
		return r;
	}
	*out = c;
	return 0;
}

/* ---- differences ------------------------------------------------------------------------ */

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
same_option(const struct option *o, const struct conf *a, const struct conf *b)
{
	const char *x = (const char *)a + o->offset, *y = (const char *)b + o->offset;
	const char *s, *t;

	switch (o->kind) {
	case OPTION_INT:
		return memcmp(x, y, sizeof(int64_t)) == 0;
	case OPTION_ENUM:
		return memcmp(x, y, sizeof(int)) == 0;
	case OPTION_STR:
		memcpy(&s, x, sizeof s);
		memcpy(&t, y, sizeof t);
		return same_text(s, t);
	}
	bug("option %s: kind %d", o->name, (int)o->kind);
}

/* Which sockets, and whether they speak TLS, is settled when a worker starts. */
static bool
same_listeners(const struct conf *a, const struct conf *b)
{
	if (a->nlisten != b->nlisten)
		return false;
	for (unsigned i = 0; i < a->nlisten; i++)
		if (!same_text(a->listen[i].name, b->listen[i].name) ||
		    a->listen[i].tls != b->listen[i].tls || a->listen[i].mode != b->listen[i].mode)
			return false;
	return true;
}

static bool
same_certificates(const struct conf *a, const struct conf *b)
{
	for (unsigned i = 0; i < MIN(a->nlisten, b->nlisten); i++)
		if (!same_text(a->listen[i].certificate, b->listen[i].certificate) ||
		    !same_text(a->listen[i].private_key, b->listen[i].private_key))
			return false;
	return true;
}

static bool
same_connection(const struct conf_connection *a, const struct conf_connection *b)
{
	if (!same_text(a->name, b->name) || !same_text(a->provider, b->provider) ||
	    !same_text(a->base_url, b->base_url) || !same_text(a->dialect, b->dialect) ||
	    !same_text(a->key, b->key) ||
	    a->nmodels != b->nmodels || a->priority != b->priority || a->enabled != b->enabled ||
	    a->insecure != b->insecure || a->http2 != b->http2)
		return false;
	for (unsigned i = 0; i < a->nmodels; i++)
		if (!same_text(a->models[i], b->models[i]))
			return false;
	return true;
}

static bool
same_rows(const struct conf *a, const struct conf *b)
{
	if (a->nconnections != b->nconnections || a->nkeys != b->nkeys ||
	    a->ntrusted != b->ntrusted)
		return false;
	for (unsigned i = 0; i < a->nconnections; i++)
		if (!same_connection(&a->connection[i], &b->connection[i]))
			return false;
	for (unsigned i = 0; i < a->nkeys; i++)
		if (!same_text(a->key[i].name, b->key[i].name) ||
		    !same_text(a->key[i].key, b->key[i].key) ||
		    a->key[i].scopes != b->key[i].scopes || a->key[i].rpm != b->key[i].rpm)
			return false;
	return a->ntrusted == 0 ||
	       memcmp(a->trusted, b->trusted, a->ntrusted * sizeof *a->trusted) == 0;
}

int
conf_diff(const struct conf *old, const struct conf *new, struct buf *err)
{
	int change = CONF_SAME;

	for (unsigned i = 0; i < noptions; i++) {
		const struct option *o = &options[i];

		if (same_option(o, old, new))
			continue;
		if (o->apply == CONF_START)
			buf_addf(err, "%s%s", change & CONF_START ? ", " : "", o->name);
		change |= (int)o->apply;
	}
	if (!same_listeners(old, new))
		change |= CONF_ROLL;
	if (!same_certificates(old, new) || !same_rows(old, new))
		change |= CONF_HOT;
	return change;
}
