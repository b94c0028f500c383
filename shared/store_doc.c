/*
 * store_doc: documents and durable counters.
 */
#include "shared/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/err.h"
#include "shared/store_internal.h"

#define DOC_MAX (16u << 20)

struct doc_key {
	char text[STORE_KEY_MAX + 1];
	size_t len;
};

/* "<kind>/<id>"; an id may hold slashes, a kind may not. Without an id: the start of all keys of
 * that kind. */
static int
doc_key(struct doc_key *k, const char *kind, const char *id)
{
	int n = snprintf(k->text, sizeof k->text, "%s/%s", kind, id);

	if (n < 0 || (size_t)n >= sizeof k->text)
		return E_TOO_LONG;
	k->len = (size_t)n;
	return *kind == '\0' || strchr(kind, '/') != NULL ? E_RANGE : 0;
}

static struct span
key_span(const struct doc_key *k)
{
	return (struct span){k->text, k->len};
}

int
store_put_doc(struct store_txn *t, const char *kind, const char *id, const char *json, size_t n)
{
	struct doc_key k = {.len = 0};
	int r = *id == '\0' ? E_RANGE : doc_key(&k, kind, id);

	if (r == 0 && n > DOC_MAX)
		r = E_TOO_LONG;
	if (r == 0)
		return store_txn_put(t, STORE_CONFIG, key_span(&k), (struct span){json, n}, 0);
	if (t->error == 0)
		t->error = r; /* a transaction is all of it or nothing */
	return r;
}

int
store_del_doc(struct store_txn *t, const char *kind, const char *id)
{
	struct doc_key k = {.len = 0};
	int r = doc_key(&k, kind, id);

	return r != 0 ? r : store_txn_del(t, STORE_CONFIG, key_span(&k));
}

int
store_get_doc(struct store *s, const char *kind, const char *id, char **json, size_t *n)
{
	struct doc_key k = {.len = 0};
	struct store_txn t;
	struct span val;
	int r = doc_key(&k, kind, id);

	*json = NULL;
	*n = 0;
	if (r != 0 || (r = store_read(s, &t)) != 0)
		return r;
	if ((r = store_txn_get(&t, STORE_CONFIG, key_span(&k), &val)) == 0) {
		if ((*json = malloc(val.n + 1)) != NULL) {
			memcpy(*json, val.p, val.n);
			(*json)[val.n] = '\0';
			*n = val.n;
		} else {
			r = E_NOMEM;
		}
	}
	store_read_end(&t);
	return r;
}

struct doc_walk {
	struct doc_key prefix;
	int (*fn)(void *ctx, const char *id, const char *json, size_t n);
	void *ctx;
};

static int
doc_row(void *ctx, struct span key, struct span val)
{
	struct doc_walk *w = ctx;
	char id[STORE_KEY_MAX + 1];
	size_t n = w->prefix.len;

	if (key.n < n || memcmp(key.p, w->prefix.text, n) != 0)
		return SCAN_END;
	memcpy(id, key.p + n, key.n - n);
	id[key.n - n] = '\0';
	return w->fn(w->ctx, id, val.p, val.n);
}

int
store_each_doc(struct store *s, const char *kind,
    int (*fn)(void *ctx, const char *id, const char *json, size_t n), void *ctx)
{
	struct doc_walk w = {.fn = fn, .ctx = ctx};
	struct store_scan scan = {.table = STORE_CONFIG, .row = doc_row, .ctx = &w};
	int r = doc_key(&w.prefix, kind, "");

	if (r != 0)
		return r;
	scan.from = key_span(&w.prefix);
	return store_scan(s, &scan);
}

/* ---- counters ---- */

struct reservation {
	struct doc_key key;
	uint64_t n, first;
};

/* What is stored is the last number given out. */
static int
reserve(struct store_txn *t, void *ctx)
{
	struct reservation *res = ctx;
	uint64_t last = 0, next;
	struct span val;
	int r = store_txn_get(t, STORE_META, key_span(&res->key), &val);

	if (r == 0 && val.n != sizeof last)
		return E_SYNTAX;
	if (r == 0)
		memcpy(&last, val.p, sizeof last);
	else if (r != E_NOT_FOUND)
		return r;
	if (__builtin_add_overflow(last, res->n, &next))
		return E_RANGE;
	res->first = last + 1;
	return store_txn_put(
	    t, STORE_META, key_span(&res->key), (struct span){(const char *)&next, sizeof next}, 0);
}

int
store_reserve(struct store *s, const char *counter, uint64_t n, uint64_t *first)
{
	struct reservation res = {.n = n};
	int r = n == 0 ? E_RANGE : doc_key(&res.key, "counter", counter);

	if (r == 0)
		r = store_write(s, reserve, &res);
	if (r == 0)
		*first = res.first;
	return r;
}
