#include "master/first.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "master/listen.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/store.h"

#define KIND "admin"
#define SALT_ID "key-salt"
#define PASSWORD_ID "password"
#define PASSWORD_BYTES 15 /* 20 characters */

/* ---- documents of one string ---- */

struct put {
	const char *id, *json;
};

static int
put_doc(struct store_txn *t, void *ctx)
{
	const struct put *p = ctx;

	return store_put_doc(t, KIND, p->id, p->json, strlen(p->json));
}

static int
doc_write(struct master *m, const char *id, const char *member, const char *value)
{
	json_t *doc =
	    json_pack("{s:s, s:I}", member, value, "created_us", (json_int_t)clock_wall_us());
	char *text = doc != NULL ? json_dumps(doc, JSON_COMPACT) : NULL;
	struct put p = {.id = id, .json = text};
	int r = text != NULL ? store_write(m->store, put_doc, &p) : E_NOMEM;

	json_decref(doc);
	free(text);
	return r;
}

/* malloc'ed in *value. E_NOT_FOUND. */
static int
doc_read(struct master *m, const char *id, const char *member, char **value)
{
	const char *text;
	char *json;
	size_t n;
	json_t *doc;
	int r = store_get_doc(m->store, KIND, id, &json, &n);

	*value = NULL;
	if (r != 0)
		return r;
	doc = json_loadb(json, n, 0, NULL);
	free(json);
	r = E_SYNTAX;
	if ((text = json_string_value(json_object_get(doc, member))) != NULL)
		r = (*value = strdup(text)) != NULL ? 0 : E_NOMEM;
	json_decref(doc);
	return r;
}

/* ---- salt ---- */

static int
salt_make(struct master *m)
{
	char *sealed;
	int r = E_CRYPTO;

	randombytes_buf(m->key_salt, sizeof m->key_salt);
	sealed = seal_text(&m->seal, SALT_ID, (const char *)m->key_salt, sizeof m->key_salt);
	if (sealed != NULL)
		r = doc_write(m, SALT_ID, "salt", sealed);
	free(sealed);
	return r;
}

int
first_salt(struct master *m, struct buf *err)
{
	char *sealed, *salt = NULL;
	size_t n = 0;
	int r = doc_read(m, SALT_ID, "salt", &sealed);

	if (r == E_NOT_FOUND) {
		r = salt_make(m);
	} else if (r == 0) {
		salt = seal_open(&m->seal, SALT_ID, sealed, &n);
		r = salt != NULL && n == sizeof m->key_salt ? 0 : E_CRYPTO;
		if (r == 0)
			memcpy(m->key_salt, salt, n);
		if (salt != NULL)
			sodium_memzero(salt, n);
		free(salt);
	}
	free(sealed);
	if (r == E_CRYPTO)
		buf_addf(err,
		    "%s/omniroute.key is not the key that this data directory was made with",
		    m->conf->data_dir);
	else if (r != 0)
		buf_addf(err, "the store in %s: %s", m->conf->data_dir, err_text(r));
	return r;
}

/* ---- password ---- */

int
first_password(struct master *m, char **shown)
{
	const char *given = m->conf->initial_password;
	char *made = NULL, *hash;
	int r = doc_read(m, PASSWORD_ID, "hash", &hash);

	*shown = NULL;
	free(hash);
	if (r != E_NOT_FOUND)
		return r;
	if (given == NULL || given[0] == '\0') {
		if ((made = random_token("", PASSWORD_BYTES)) == NULL)
			return E_NOMEM;
		given = made;
	}
	r = E_CRYPTO;
	if ((hash = password_hash(given)) != NULL)
		r = doc_write(m, PASSWORD_ID, "hash", hash);
	free(hash);
	if (r == 0)
		*shown = made;
	else if (made != NULL)
		seal_free(made);
	return r;
}

/* ---- banner ---- */

static const char first_chat[] =
    "/v1/chat/completions -H 'Content-Type: application/json' \\\n"
    "      -d "
    "'{\"model\":\"echo/"
    "echo-1\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hello, "
    "OmniRoute\"}]}'\n";

static const struct listener *
first_tcp(const struct listen_set *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!s->v[i].is_unix)
			return &s->v[i];
	return NULL;
}

/* An address that stands for all of them is reached by loopback. */
static void
add_address(struct buf *out, const struct listener *l)
{
	const char *port = strrchr(l->name, ':');
	size_t host = (size_t)(port - l->name);
	bool any =
	    (host == 1 && l->name[0] == '*') || (host == 7 && strncmp(l->name, "0.0.0.0", 7) == 0);

	buf_str(out, l->tls ? "https://" : "http://");
	if (any)
		buf_addf(out, "127.0.0.1%s", port);
	else if (host == 4 && strncmp(l->name, "[::]", 4) == 0)
		buf_addf(out, "[::1]%s", port);
	else
		buf_str(out, l->name);
}

void
first_banner(const struct master *m, const char *password, bool quiet, struct buf *out)
{
	const struct listener *l = first_tcp(m->listen);

	if (!quiet && l != NULL) {
		buf_str(out, "OmniRoute " OMNIROUTE_VERSION " serves ");
		add_address(out, l);
		buf_str(out, "/v1\n");
	} else if (!quiet) {
		buf_addf(out, "OmniRoute " OMNIROUTE_VERSION " serves on %s\n",
		    m->listen->n > 0 ? m->listen->v[0].name : "no address");
	}
	if (password != NULL)
		buf_addf(out, "First-run password (shown only now): %s\n", password);
	if (quiet || m->listen->n == 0)
		return;
	buf_str(out, "\nA first request:\n\n    curl -N ");
	if (l != NULL) {
		add_address(out, l);
	} else {
		buf_addf(out, "--unix-socket %s http://localhost",
		    m->listen->v[0].name + strlen("unix:"));
	}
	buf_str(out, first_chat);
	buf_addf(out, "\n%s status shows what runs, %s quit stops it. Data: %s\n", m->argv[0],
	    m->argv[0], m->conf->data_dir);
}
