/* What stands inside of a section: one row for each member, and what its value may look like. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "master/conf_option.h"
#include "shared/err.h"
#include "shared/rate.h"
#include "shared/snapshot.h"

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
set_path(char **slot, const char *value, const struct member_from *from)
{
	char *dir = NULL, *path;
	const char *slash = from->file != NULL ? strrchr(from->file, '/') : NULL;

	if (slash != NULL && (dir = strndup(from->file, (size_t)(slash - from->file))) == NULL)
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
key_from_file(char **slot, const char *value, const struct member_from *from, struct buf *why)
{
	char *path = NULL, *fresh = NULL;
	int r = set_path(&path, value, from);

	if (r == 0)
		r = secret_read(path, &fresh, why);
	free(path);
	return r < 0 ? r : set_key(slot, fresh, why);
}

static int
key_from_env(char **slot, const char *value, const struct member_from *from, struct buf *why)
{
	const char *found = from->env != NULL ? env_get(from->env, value, NULL) : NULL;

	if (found == NULL) {
		buf_addf(why, "the environment variable %.100s is not set", value);
		return E_NOT_FOUND;
	}
	return set_key(slot, strdup(found), why);
}

#define SETTER(name, type, body) \
	static int name( \
	    void *row, const char *value, const struct member_from *from, struct buf *why) \
	{ \
		struct type *x = row; \
		(void)from; \
		(void)why; \
		body \
	}
SETTER(listen_tls, conf_listen, return set_flag(&x->tls, value, why);)
SETTER(listen_certificate, conf_listen, return set_path(&x->certificate, value, from);)
SETTER(listen_private_key, conf_listen, return set_path(&x->private_key, value, from);)
SETTER(connection_provider, conf_connection, return set_text(&x->provider, value);)
SETTER(connection_base_url, conf_connection, return set_text(&x->base_url, value);)
SETTER(connection_dialect, conf_connection, return set_text(&x->dialect, value);)
SETTER(connection_key, conf_connection, return set_key(&x->key, strdup(value), why);)
SETTER(connection_key_file, conf_connection, return key_from_file(&x->key, value, from, why);)
SETTER(connection_key_env, conf_connection, return key_from_env(&x->key, value, from, why);)
SETTER(connection_enabled, conf_connection, return set_flag(&x->enabled, value, why);)
SETTER(connection_insecure, conf_connection, return set_flag(&x->insecure, value, why);)
SETTER(key_key, conf_key, return set_key(&x->key, strdup(value), why);)
SETTER(key_key_file, conf_key, return key_from_file(&x->key, value, from, why);)
SETTER(key_key_env, conf_key, return key_from_env(&x->key, value, from, why);)

static int
listen_mode(void *row, const char *value, const struct member_from *from, struct buf *why)
{
	struct conf_listen *l = row;
	char *end;
	long mode = strtol(value, &end, 8);

	(void)from;
	if (*value < '0' || *value > '7' || *end != '\0' || mode < 0 || mode > 0777)
		return not_allowed(value, "the permissions of a file, such as 0660", why);
	l->mode = (int)mode;
	return 0;
}

static int
connection_models(void *row, const char *value, const struct member_from *from, struct buf *why)
{
	struct conf_connection *n = row;
	char **slot;

	(void)from;
	if (*value == '\0' || strlen(value) > 200 || strcspn(value, " \t\r\n") != strlen(value))
		return not_allowed(value, "ids of models, 1 to 200 characters without spaces", why);
	slot = list_append(&n->models, &n->nmodels, sizeof *slot);
	return slot == NULL ? E_FULL : set_text(slot, value);
}

static int
connection_priority(void *row, const char *value, const struct member_from *from, struct buf *why)
{
	struct conf_connection *n = row;
	int64_t priority;

	(void)from;
	if (number_parse(value, "", 1, 1000, &priority) < 0)
		return not_allowed(value, "1 to 1000, the lower is asked first", why);
	n->priority = (int)priority;
	return 0;
}

static int
connection_http2(void *row, const char *value, const struct member_from *from, struct buf *why)
{
	struct conf_connection *n = row;
	bool on = false;
	int r = set_flag(&on, value, why);

	(void)from;
	if (r == 0)
		n->http2 = on;
	return r;
}

static int
key_scopes(void *row, const char *value, const struct member_from *from, struct buf *why)
{
	struct conf_key *k = row;

	(void)from;
	if (strcmp(value, "chat") == 0)
		k->scopes |= SCOPE_CHAT;
	else if (strcmp(value, "manage") == 0)
		k->scopes |= SCOPE_MANAGE;
	else
		return not_allowed(value, "chat, manage", why);
	return 0;
}

static int
key_rpm(void *row, const char *value, const struct member_from *from, struct buf *why)
{
	struct conf_key *k = row;
	int64_t rpm;

	(void)from;
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

const struct member members[] = {
    {"listen", "tls", listen_tls, false},
    {"listen", "certificate", listen_certificate, false},
    {"listen", "private_key", listen_private_key, false},
    {"listen", "mode", listen_mode, false},
    {"connection", "provider", connection_provider, false},
    {"connection", "base_url", connection_base_url, false},
    {"connection", "dialect", connection_dialect, false},
    {"connection", "key", connection_key, false},
    {"connection", "key_file", connection_key_file, false},
    {"connection", "key_env", connection_key_env, false},
    {"connection", "models", connection_models, true},
    {"connection", "priority", connection_priority, false},
    {"connection", "enabled", connection_enabled, false},
    {"connection", "insecure", connection_insecure, false},
    {"connection", "http2", connection_http2, false},
    {"key", "key", key_key, false},
    {"key", "key_file", key_key_file, false},
    {"key", "key_env", key_key_env, false},
    {"key", "scopes", key_scopes, true},
    {"key", "rpm", key_rpm, false},
};
const unsigned nmembers = NELEM(members);
static_assert(NELEM(members) <= MEMBERS_MAX, "raise MEMBERS_MAX");
