/*
 * conf: the configuration in force: command line over environment (and .env in the data directory) over file over
 * default. Built complete beside the old one; a bad one changes nothing.
 *
 * conf_load   `file` NULL: the first of <data_dir>/omniroute.conf, /etc/omniroute/omniroute.conf that exists, else none. 0 and
 *             *out, or an error with a message in `err` that names file, line, option, value and what is allowed. Paths come
 *             out absolute: "~/" is the home directory, a relative one of the file stands behind the file's folder, DATA_DIR
 *             and -c behind the current one. Calls catalog_load. At least one listener is in it.
 * conf_free   wipes secrets.
 * conf_diff   what a reload from `old` to `new` has to do; bits of enum conf_change. START options that differ are named in
 *             `err`. Other listeners: ROLL. What stands in certificate files is not compared.
 *
 * PORT (or -p) and HOSTNAME move the first TCP listener, or make one where there is none, and leave the others alone.
 * HOSTNAME counts only when it is an address or "localhost": shells and containers put the machine's name there.
 * Parts: conf_option (table, values), conf_env (.env), conf_source (files, comments, include, ${NAME}), conf_parse
 * (libConfuse), conf_member and conf_section (listen, connection, key), conf_dump.
 */
#ifndef OMNIROUTE_MASTER_CONF_H
#define OMNIROUTE_MASTER_CONF_H

#include <netinet/in.h>

#include "shared/base.h"
#include "shared/buf.h"

struct conf_listen {
	char *name;    /* "127.0.0.1:20128", "[::1]:20128", "*:443", "unix:/path" */
	bool tls;
	char *certificate, *private_key; /* paths */
	int mode;      /* of a Unix socket */
};

/* A connection or key that stands in the file; it wins over one of the same name in the store. */
struct conf_connection {
	char *name, *provider, *base_url, *dialect, *key; /* key: from key, key_file or key_env; NULL: none */
	char **models;
	unsigned nmodels;
	int priority;
	bool enabled, insecure;
	int http2; /* -1: as upstream_http2 */
};
struct conf_key {
	char *name, *key;
	uint32_t scopes, rpm;
};

struct conf_net {
	struct in6_addr addr; /* IPv4 mapped */
	unsigned bits;
};

struct conf {
	char *file; /* NULL: none */
#define O_INT(name, def, min, max, unit, apply, env, help) int64_t name;
#define O_STR(name, def, apply, env, help) char *name;
#define O_ENUM(name, def, values, apply, env, help) int name; /* index into values */
#include "shared/options.def"
#undef O_INT
#undef O_STR
#undef O_ENUM
	struct conf_listen *listen;
	unsigned nlisten;
	struct conf_net *trusted;
	unsigned ntrusted;
	struct conf_connection *connection;
	unsigned nconnections;
	struct conf_key *key;
	unsigned nkeys;
	char *initial_password; /* INITIAL_PASSWORD */
};

/* What the command line said; NULL or 0: nothing. */
struct conf_override {
	const char *file;
	int port;
};

enum conf_change { CONF_SAME = 0, CONF_HOT = 1, CONF_ROLL = 2, CONF_START = 4 };

int conf_load(const struct conf_override *over, struct conf **out, struct buf *err) must_check;
void conf_free(struct conf *c);
int conf_diff(const struct conf *old, const struct conf *new, struct buf *err) must_check;
/* -T: every option with its value, defaults included, secrets masked. */
void conf_dump(const struct conf *c, struct buf *out);
/* For the fuzz target: parses `text` as a configuration file, without environment. */
int conf_parse_text(const char *text, size_t n, struct conf **out, struct buf *err) must_check;

#endif
