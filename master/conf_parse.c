/*
 * libConfuse at work: its tables, made from ours, and the way from its values to struct conf. Every
 * value is a string to libConfuse and is checked in a call-back, where the line is known.
 */
#include <confuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "master/conf_option.h"
#include "shared/err.h"
#include "shared/rate.h"
#include "shared/snapshot.h"

#define LIST_MAX 4096 /* rows of one kind, members of one list */

/* libConfuse's call-backs carry no context; one configuration is parsed at a time. */
static struct parse {
	struct conf *c;
	const struct source *s;
	const struct env *env;
	bool quick;
	int error;
	struct buf *err;
} * now;

/* ---- messages --------------------------------------------------------------------------- */

/* "file:line: " and, inside a section, `connection "x": `. */
static void
place(cfg_t *cfg, int line)
{
	const char *file;
	int at;

	source_where(now->s, line, &file, &at);
	buf_addf(now->err, "%s:%d: ", file, at);
	if (cfg->title != NULL)
		buf_addf(now->err, "%s \"%s\": ", cfg->name, cfg->title);
}

static int
refuse(cfg_t *cfg, const char *option, int error, const struct buf *why)
{
	now->error = error;
	place(cfg, cfg->line);
	buf_addf(now->err, "option \"%s\": %.*s", option, (int)why->len,
	    why->data != NULL ? why->data : "");
	return -1;
}

static const char *
name_of_opt(const void *ctx, unsigned i)
{
	return ((const cfg_opt_t *)ctx)[i].name;
}

static void
unknown_option(cfg_t *cfg, const char *name)
{
	const char *near;
	unsigned n = 0;

	while (cfg->opts[n].name != NULL)
		n++;
	near = option_nearest(name, name_of_opt, cfg->opts, n);
	buf_addf(now->err, "option \"%.100s\": there is no such option%s%s%s", name,
	    near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
	    near != NULL ? "\"?" : "; omniroute.conf(5) lists them");
}

/* libConfuse's own complaints. Its words may quote a value, and a value may be a secret: only names
 * are repeated. */
static void
on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	if (now->error != 0)
		return; /* the call-back has said it better */
	now->error = E_SYNTAX;
	place(cfg, cfg->line);
	if (strncmp(fmt, "no such option", 14) == 0) {
		unknown_option(cfg, va_arg(ap, const char *));
	} else if (strncmp(fmt, "found duplicate title", 21) == 0) {
		buf_addf(
		    now->err, "there is already one named \"%.100s\"", va_arg(ap, const char *));
	} else if (strncmp(fmt, "missing equal sign", 18) == 0) {
		buf_addf(now->err, "option \"%.100s\": an equal sign is missing",
		    va_arg(ap, const char *));
	} else if (strncmp(fmt, "premature end", 13) == 0) {
		buf_str(now->err, "the file ends too early; is a brace or a value missing?");
	} else if (strncmp(fmt, "unexpected", 10) == 0) {
		buf_str(now->err,
		    "syntax error; values other than plain words and numbers want quotes, "
		    "lists and sections want braces");
	} else {
		buf_str(now->err, "syntax error");
	}
}

/* ---- call-backs: scalar options --------------------------------------------------------- */

/* What libConfuse keeps is not looked at again: the value goes straight into the configuration. */
static int
keep(void *result)
{
	*(const char **)result = "";
	return 0;
}

static int
on_option(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	const struct option *o = option_find(opt->name);
	struct buf why = BUF_INIT(4096);
	int r;

	if (now->quick && strcmp(o->name, "data_dir") != 0)
		return keep(result);
	r = option_set(o, now->c, value, &why);
	r = r < 0 ? refuse(cfg, opt->name, r, &why) : keep(result);
	buf_clear(&why);
	return r;
}

/* Room for one more row; the array is zeroed where it is new. */
static void *
append(void *list, unsigned *n, size_t size)
{
	char *grown = *n < LIST_MAX ? realloc(*(void **)list, (*n + 1) * size) : NULL;

	if (grown == NULL)
		return NULL;
	memset(grown + *n * size, 0, size);
	*(void **)list = grown;
	return grown + (*n)++ * size;
}

static int
full(cfg_t *cfg, cfg_opt_t *opt)
{
	struct buf why = BUF_INIT(256);
	int r;

	buf_addf(&why, "out of memory, or more than %d of them", LIST_MAX);
	r = refuse(cfg, opt->name, E_FULL, &why);
	buf_clear(&why);
	return r;
}

static int
on_proxy(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	struct buf why = BUF_INIT(1024);
	struct conf_net net, *row;
	int r;

	if (now->quick)
		return keep(result);
	r = net_parse(value, &net);
	if (r < 0) {
		buf_addf(&why,
		    "value \"%.100s\" is not allowed; allowed: an address or a range such as "
		    "10.0.0.0/8",
		    value);
		r = refuse(cfg, opt->name, r, &why);
		buf_clear(&why);
		return r;
	}
	row = append(&now->c->trusted, &now->c->ntrusted, sizeof *row);
	if (row == NULL)
		return full(cfg, opt);
	*row = net;
	return keep(result);
}

/* ---- call-backs: members of sections ---------------------------------------------------- */

/* The row that a section fills: the one of its title, made at its first member. */
#define ROW(kind, list, count) \
	static struct kind *row_of_##kind(const char *title) \
	{ \
		for (unsigned i = 0; i < now->c->count; i++) \
			if (strcmp(now->c->list[i].name, title) == 0) \
				return &now->c->list[i]; \
		return NULL; \
	}
ROW(conf_listen, listen, nlisten)
ROW(conf_connection, connection, nconnections)
ROW(conf_key, key, nkeys)

struct member {
	const char *section, *name;
	/* `row` is the section's; 0, or an error with the reason in `why`. */
	int (*set)(void *row, const char *value, struct buf *why);
};

static int
set_text(char **slot, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return E_NOMEM;
	free(*slot);
	*slot = copy;
	return 0;
}

static int
set_path(char **slot, const char *value)
{
	char *dir = NULL, *path;
	const char *slash = now->c->file != NULL ? strrchr(now->c->file, '/') : NULL;

	if (slash != NULL && (dir = strndup(now->c->file, (size_t)(slash - now->c->file))) == NULL)
		return E_NOMEM;
	path = path_absolute(value, dir);
	free(dir);
	if (path == NULL)
		return E_NOMEM;
	free(*slot);
	*slot = path;
	return 0;
}

static int
not_allowed(const char *value, const char *allowed, struct buf *why)
{
	buf_addf(why, "value \"%.100s\" is not allowed; allowed: %s", value, allowed);
	return E_RANGE;
}

static int
set_flag(bool *slot, const char *value, struct buf *why)
{
	int flag = bool_parse(value);

	if (flag < 0)
		return not_allowed(value, "false, true", why);
	*slot = flag == 1;
	return 0;
}

static int
set_key(char **slot, char *fresh, struct buf *why)
{
	const char *fault = NULL;

	if (fresh == NULL)
		return E_NOMEM;
	if (*fresh == '\0')
		fault = "the key is empty";
	else if (*slot != NULL)
		fault = "there is a key already; allowed: one of key, key_file, key_env";
	for (const char *p = fresh; fault == NULL && *p != '\0'; p++)
		if (*p < '!' || *p > '~')
			fault =
			    "the key holds a space, a control character or a letter beyond ASCII";
	if (fault != NULL) {
		buf_str(why, fault);
		secret_free(fresh);
		return E_RANGE;
	}
	secret_set(slot, fresh);
	return 0;
}

static int
key_from_file(char **slot, const char *value, struct buf *why)
{
	char *path = NULL, *fresh = NULL;
	int r = set_path(&path, value);

	if (r == 0)
		r = secret_read(path, &fresh, why);
	free(path);
	return r < 0 ? r : set_key(slot, fresh, why);
}

static int
key_from_env(char **slot, const char *value, struct buf *why)
{
	const char *found = now->env != NULL ? env_get(now->env, value, NULL) : NULL;

	if (found == NULL) {
		buf_addf(why, "the environment variable %.100s is not set", value);
		return E_NOT_FOUND;
	}
	return set_key(slot, strdup(found), why);
}

#define SETTER(name, type, body) \
	static int name(void *row, const char *value, struct buf *why) \
	{ \
		struct type *x = row; \
		(void)why; \
		body \
	}
SETTER(listen_tls, conf_listen, return set_flag(&x->tls, value, why);)
SETTER(listen_certificate, conf_listen, return set_path(&x->certificate, value);)
SETTER(listen_private_key, conf_listen, return set_path(&x->private_key, value);)
SETTER(connection_provider, conf_connection, return set_text(&x->provider, value);)
SETTER(connection_base_url, conf_connection, return set_text(&x->base_url, value);)
SETTER(connection_key, conf_connection, return set_key(&x->key, strdup(value), why);)
SETTER(connection_key_file, conf_connection, return key_from_file(&x->key, value, why);)
SETTER(connection_key_env, conf_connection, return key_from_env(&x->key, value, why);)
SETTER(connection_enabled, conf_connection, return set_flag(&x->enabled, value, why);)
SETTER(connection_insecure, conf_connection, return set_flag(&x->insecure, value, why);)
SETTER(key_key, conf_key, return set_key(&x->key, strdup(value), why);)
SETTER(key_key_file, conf_key, return key_from_file(&x->key, value, why);)
SETTER(key_key_env, conf_key, return key_from_env(&x->key, value, why);)

static int
listen_mode(void *row, const char *value, struct buf *why)
{
	struct conf_listen *l = row;
	char *end;
	long mode = strtol(value, &end, 8);

	if (*value < '0' || *value > '7' || *end != '\0' || mode < 0 || mode > 0777)
		return not_allowed(value, "the permissions of a file, such as 0660", why);
	l->mode = (int)mode;
	return 0;
}

static int
connection_models(void *row, const char *value, struct buf *why)
{
	struct conf_connection *n = row;
	char **slot;

	if (*value == '\0' || strlen(value) > 200 || strcspn(value, " \t\r\n") != strlen(value))
		return not_allowed(value, "ids of models, 1 to 200 characters without spaces", why);
	slot = append(&n->models, &n->nmodels, sizeof *slot);
	return slot == NULL ? E_FULL : set_text(slot, value);
}

static int
connection_priority(void *row, const char *value, struct buf *why)
{
	struct conf_connection *n = row;
	int64_t priority;

	if (number_parse(value, "", 1, 1000, &priority) < 0)
		return not_allowed(value, "1 to 1000, the lower is asked first", why);
	n->priority = (int)priority;
	return 0;
}

static int
connection_http2(void *row, const char *value, struct buf *why)
{
	struct conf_connection *n = row;
	bool on = false;
	int r = set_flag(&on, value, why);

	if (r == 0)
		n->http2 = on;
	return r;
}

static int
key_scopes(void *row, const char *value, struct buf *why)
{
	struct conf_key *k = row;

	if (strcmp(value, "chat") == 0)
		k->scopes |= SCOPE_CHAT;
	else if (strcmp(value, "manage") == 0)
		k->scopes |= SCOPE_MANAGE;
	else
		return not_allowed(value, "chat, manage", why);
	return 0;
}

static int
key_rpm(void *row, const char *value, struct buf *why)
{
	struct conf_key *k = row;
	int64_t rpm;

	if (number_parse(value, "", 0, RATE_LIMIT_MAX, &rpm) < 0) {
		buf_addf(why,
		    "value \"%.100s\" is not allowed; allowed: 0 (no limit) to %d requests a "
		    "minute",
		    value, (int)RATE_LIMIT_MAX);
		return E_RANGE;
	}
	k->rpm = (uint32_t)rpm;
	return 0;
}

static const struct member members[] = {
    {"listen", "tls", listen_tls},
    {"listen", "certificate", listen_certificate},
    {"listen", "private_key", listen_private_key},
    {"listen", "mode", listen_mode},
    {"connection", "provider", connection_provider},
    {"connection", "base_url", connection_base_url},
    {"connection", "key", connection_key},
    {"connection", "key_file", connection_key_file},
    {"connection", "key_env", connection_key_env},
    {"connection", "models", connection_models},
    {"connection", "priority", connection_priority},
    {"connection", "enabled", connection_enabled},
    {"connection", "insecure", connection_insecure},
    {"connection", "http2", connection_http2},
    {"key", "key", key_key},
    {"key", "key_file", key_key_file},
    {"key", "key_env", key_key_env},
    {"key", "scopes", key_scopes},
    {"key", "rpm", key_rpm},
};

static void *
row_new(const char *section, const char *title)
{
	struct conf *c = now->c;

	if (strcmp(section, "listen") == 0) {
		struct conf_listen *l = append(&c->listen, &c->nlisten, sizeof *l);

		if (l != NULL)
			*l = (struct conf_listen){.name = strdup(title), .mode = 0600};
		return l != NULL && l->name != NULL ? l : NULL;
	}
	if (strcmp(section, "connection") == 0) {
		struct conf_connection *n = append(&c->connection, &c->nconnections, sizeof *n);

		if (n != NULL)
			*n = (struct conf_connection){
			    .name = strdup(title), .priority = 100, .enabled = true, .http2 = -1};
		return n != NULL && n->name != NULL ? n : NULL;
	}
	struct conf_key *k = append(&c->key, &c->nkeys, sizeof *k);

	if (k != NULL)
		k->name = strdup(title);
	return k != NULL && k->name != NULL ? k : NULL;
}

static void *
row_get(const char *section, const char *title)
{
	void *row;

	if (strcmp(section, "listen") == 0)
		row = row_of_conf_listen(title);
	else if (strcmp(section, "connection") == 0)
		row = row_of_conf_connection(title);
	else
		row = row_of_conf_key(title);
	return row != NULL ? row : row_new(section, title);
}

static int
on_member(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	struct buf why = BUF_INIT(4096);
	const struct member *m = members;
	void *row;
	int r;

	if (now->quick)
		return keep(result);
	while (strcmp(m->section, cfg->name) != 0 || strcmp(m->name, opt->name) != 0)
		m++;
	row = row_get(cfg->name, cfg->title);
	if (row == NULL)
		return full(cfg, opt);
	r = m->set(row, value, &why);
	r = r < 0 ? refuse(cfg, opt->name, r, &why) : keep(result);
	buf_wipe(&why);
	return r;
}

/* ---- sections as a whole ---------------------------------------------------------------- */

static int
section_check(cfg_t *sec, struct buf *why)
{
	void *row = row_get(sec->name, sec->title);

	if (row == NULL) {
		buf_addf(why, "out of memory, or more than %d of them", LIST_MAX);
		return E_FULL;
	}
	if (strcmp(sec->name, "listen") == 0)
		return listen_check(row, why);
	if (strcmp(sec->name, "connection") == 0)
		return connection_complete(now->c, row, why);
	if (((struct conf_key *)row)->scopes == 0)
		((struct conf_key *)row)->scopes = SCOPE_CHAT;
	return key_complete(row, why);
}

static int
sections_check(cfg_t *cfg, const char *name)
{
	struct buf why = BUF_INIT(4096);
	int r = 0;

	for (unsigned i = 0; r == 0 && i < cfg_size(cfg, name); i++) {
		cfg_t *sec = cfg_getnsec(cfg, name, i);

		r = section_check(sec, &why);
		if (r < 0) {
			place(sec, sec->line);
			buf_addf(now->err, "%.*s", (int)why.len, why.data != NULL ? why.data : "");
		}
	}
	buf_clear(&why);
	return r;
}

/* ---- the whole -------------------------------------------------------------------------- */

static int
parse_text(cfg_t *cfg)
{
	static const char *const sections[] = {"listen", "connection", "key"};
	int r;

	cfg_set_error_function(cfg, on_error);
	if (cfg_parse_buf(cfg, source_cstr(now->s)) != CFG_SUCCESS)
		return now->error != 0 ? now->error : E_SYNTAX;
	if (now->quick)
		return 0;
	r = now->env != NULL ? env_apply(now->c, now->env, now->err) : 0;
	for (size_t i = 0; r == 0 && i < NELEM(sections); i++)
		r = sections_check(cfg, sections[i]);
	return r;
}

#define LISTED(name) (strcmp(name, "models") == 0 || strcmp(name, "scopes") == 0)

/* The members of a section as libConfuse wants them. */
static void
member_opts(const char *section, cfg_opt_t *out)
{
	for (size_t i = 0; i < NELEM(members); i++) {
		cfg_opt_t one = CFG_STR_CB(members[i].name, NULL, CFGF_NODEFAULT, on_member);
		cfg_opt_t list = CFG_STR_LIST_CB(members[i].name, NULL, CFGF_NODEFAULT, on_member);

		if (strcmp(members[i].section, section) == 0)
			*out++ = LISTED(members[i].name) ? list : one;
	}
	*out = (cfg_opt_t)CFG_END();
}

int
conf_parse(
    const struct source *s, const struct env *env, struct conf *c, bool quick, struct buf *err)
{
	struct parse p = {.c = c, .s = s, .env = env, .quick = quick, .err = err};
	cfg_opt_t in_listen[NELEM(members) + 1], in_connection[NELEM(members) + 1],
	    in_key[NELEM(members) + 1];
	const cfg_flag_t many = CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES;
	cfg_opt_t tail[] = {
	    CFG_SEC("listen", in_listen, many),
	    CFG_SEC("connection", in_connection, many),
	    CFG_SEC("key", in_key, many),
	    CFG_STR_LIST_CB("trusted_proxies", NULL, CFGF_NODEFAULT, on_proxy),
	    CFG_END(),
	};
	cfg_opt_t *opts = calloc(noptions + NELEM(tail), sizeof *opts);
	cfg_t *cfg;
	int r = E_NOMEM;

	if (opts == NULL)
		return E_NOMEM;
	for (unsigned i = 0; i < noptions; i++) {
		cfg_opt_t one = CFG_STR_CB(options[i].name, NULL, CFGF_NODEFAULT, on_option);

		opts[i] = one;
	}
	memcpy(opts + noptions, tail, sizeof tail);
	member_opts("listen", in_listen);
	member_opts("connection", in_connection);
	member_opts("key", in_key);
	cfg = cfg_init(opts, CFGF_NONE);
	if (cfg != NULL) {
		now = &p;
		r = parse_text(cfg);
		now = NULL;
		cfg_free(cfg);
	}
	free(opts);
	return r;
}
