/*
 * libConfuse at work: its tables, made from ours, and the way from its values to struct conf. Every
 * value is a string to libConfuse and is checked in a call-back, where the line is known.
 */
#include <assert.h>
#include <confuse.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "master/conf_option.h"
#include "shared/err.h"
#include "shared/snapshot.h"

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

static void
complain(cfg_t *cfg, const char *what)
{
	now->error = E_SYNTAX;
	place(cfg, cfg->line);
	buf_str(now->err, what);
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
	row = list_append(&now->c->trusted, &now->c->ntrusted, sizeof *row);
	if (row == NULL)
		return full(cfg, opt);
	*row = net;
	return keep(result);
}

/* ---- call-backs: members of sections ---------------------------------------------------- */

/* Where the rows of a kind of section are. Each begins with its name. */
static const struct kind {
	const char *section;
	size_t list, count, size;
} kinds[] = {
    {"listen", offsetof(struct conf, listen), offsetof(struct conf, nlisten),
	sizeof(struct conf_listen)},
    {"connection", offsetof(struct conf, connection), offsetof(struct conf, nconnections),
	sizeof(struct conf_connection)},
    {"key", offsetof(struct conf, key), offsetof(struct conf, nkeys), sizeof(struct conf_key)},
};
static_assert(offsetof(struct conf_listen, name) == 0, "row_name");
static_assert(offsetof(struct conf_connection, name) == 0, "row_name");
static_assert(offsetof(struct conf_key, name) == 0, "row_name");

static const struct kind *
kind_of(const char *section)
{
	const struct kind *k = kinds;

	while (strcmp(k->section, section) != 0)
		k++;
	return k;
}

static unsigned
row_count(const struct kind *k)
{
	unsigned n;

	memcpy(&n, (char *)now->c + k->count, sizeof n);
	return n;
}

static void *
row_at(const struct kind *k, unsigned i)
{
	char *list;

	memcpy(&list, (char *)now->c + k->list, sizeof list);
	return list + i * k->size;
}

static const char *
row_name(const void *row)
{
	const char *name;

	memcpy(&name, row, sizeof name);
	return name;
}

static void *row_new(const char *section, const char *title);

/* The row of the section with this title, made when it is not there. */
static void *
row_get(const char *section, const char *title)
{
	const struct kind *k = kind_of(section);

	for (unsigned i = 0; i < row_count(k); i++)
		if (strcmp(row_name(row_at(k, i)), title) == 0)
			return row_at(k, i);
	return row_new(section, title);
}

/* Rows are made by the first member of their section; they shall stand in the order of the file. */
static void *
row_place(const struct kind *k, const char *title, unsigned i)
{
	char keep[MAX(sizeof(struct conf_connection), sizeof(struct conf_listen))];
	void *row = row_get(k->section, title), *at;

	static_assert(sizeof keep >= sizeof(struct conf_key), "a row must fit");
	if (row == NULL)
		return NULL;
	at = row_at(k, i);
	if (row != at) {
		memcpy(keep, at, k->size);
		memcpy(at, row, k->size);
		memcpy(row, keep, k->size);
	}
	return at;
}

static void *
row_new(const char *section, const char *title)
{
	struct conf *c = now->c;

	if (strcmp(section, "listen") == 0) {
		struct conf_listen *l = list_append(&c->listen, &c->nlisten, sizeof *l);

		if (l != NULL)
			*l = (struct conf_listen){.name = strdup(title), .mode = 0600};
		return l != NULL && l->name != NULL ? l : NULL;
	}
	if (strcmp(section, "connection") == 0) {
		struct conf_connection *n =
		    list_append(&c->connection, &c->nconnections, sizeof *n);

		if (n != NULL)
			*n = (struct conf_connection){
			    .name = strdup(title), .priority = 100, .enabled = true, .http2 = -1};
		return n != NULL && n->name != NULL ? n : NULL;
	}
	struct conf_key *k = list_append(&c->key, &c->nkeys, sizeof *k);

	if (k != NULL)
		k->name = strdup(title);
	return k != NULL && k->name != NULL ? k : NULL;
}

static int
on_member(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	const struct member_from from = {.file = now->c->file, .env = now->env};
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
	r = m->set(row, value, &from, &why);
	r = r < 0 ? refuse(cfg, opt->name, r, &why) : keep(result);
	buf_wipe(&why);
	return r;
}

/* ---- sections as a whole ---------------------------------------------------------------- */

static int
section_check(const struct kind *k, unsigned i, struct buf *why)
{
	void *row = row_at(k, i);
	struct conf_key *key = row;
	int r;

	if (strcmp(k->section, "connection") == 0)
		return connection_complete(now->c, row, why);
	if (strcmp(k->section, "key") == 0) {
		if (key->scopes == 0)
			key->scopes = SCOPE_CHAT;
		return key_complete(key, why);
	}
	r = listen_check(row, why);
	for (unsigned j = 0; r == 0 && j < i; j++)
		if (strcmp(row_name(row_at(k, j)), row_name(row)) == 0) {
			buf_str(why, "there is already one at this address");
			r = E_EXISTS;
		}
	return r;
}

static int
sections_check(cfg_t *cfg, const struct kind *k)
{
	unsigned n = cfg_size(cfg, k->section);
	struct buf why = BUF_INIT(4096);
	int r = 0;

	for (unsigned i = 0; i < n; i++)
		if (row_place(k, cfg_getnsec(cfg, k->section, i)->title, i) == NULL) {
			buf_addf(now->err, "%s: out of memory, or more than %d of them", k->section,
			    LIST_MAX);
			return E_FULL;
		}
	for (unsigned i = 0; r == 0 && i < n; i++) {
		cfg_t *sec = cfg_getnsec(cfg, k->section, i);

		r = section_check(k, i, &why);
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
	int r;

	cfg_set_error_function(cfg, on_error);
	if (cfg_parse_buf(cfg, source_cstr(now->s)) != CFG_SUCCESS) {
		if (now->error == 0) /* it can fail without a word */
			complain(cfg, "syntax error");
		return now->error;
	}
	if (now->quick)
		return 0;
	r = now->env != NULL ? env_apply(now->c, now->env, now->err) : 0;
	for (size_t i = 0; r == 0 && i < NELEM(kinds); i++)
		r = sections_check(cfg, &kinds[i]);
	return r;
}

/* The members of a section as libConfuse wants them. */
static void
member_opts(const char *section, cfg_opt_t *out)
{
	for (unsigned i = 0; i < nmembers; i++) {
		cfg_opt_t one = CFG_STR_CB(members[i].name, NULL, CFGF_NODEFAULT, on_member);
		cfg_opt_t list = CFG_STR_LIST_CB(members[i].name, NULL, CFGF_NODEFAULT, on_member);

		if (strcmp(members[i].section, section) == 0)
			*out++ = members[i].list ? list : one;
	}
	*out = (cfg_opt_t)CFG_END();
}

int
conf_parse(
    const struct source *s, const struct env *env, struct conf *c, bool quick, struct buf *err)
{
	struct parse p = {.c = c, .s = s, .env = env, .quick = quick, .err = err};
	cfg_opt_t in_listen[MEMBERS_MAX + 1], in_connection[MEMBERS_MAX + 1],
	    in_key[MEMBERS_MAX + 1];
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
		/* cfg_init takes the locale of the environment, and on_error would not know the
		 * words. */
		setlocale(LC_ALL, "C");
		now = &p;
		r = parse_text(cfg);
		now = NULL;
		cfg_free(cfg);
	}
	free(opts);
	return r;
}
