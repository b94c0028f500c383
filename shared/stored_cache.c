#include "shared/stored_cache.h"

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/err.h"
#include "shared/log.h"

#define KEY_MAX (8 + STORED_OWNER + STORED_ID_SIZE)
#define MAP_SPARE (UINT64_C(64) << 20)
#define EXPIRED_AT_ONCE 64 /* dropped with one transaction */

enum table { T_ANSWER, T_ITEM, T_EXPIRY, T_TOTAL, TABLES };
static const char *const names[TABLES] = {"answer", "item", "expiry", "total"};

struct stored_cache {
	MDB_env *env;
	MDB_dbi dbi[TABLES];
	bool open; /* dbi are known */
	uint64_t bound;
	int reported; /* the error that the log knows of */
};

struct key {
	char p[KEY_MAX];
	size_t n;
};

static int
error_of(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return E_NOT_FOUND;
	case MDB_INVALID:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INCOMPATIBLE:
		return E_SYNTAX;
	case MDB_VERSION_MISMATCH:
		return E_VERSION;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case EIO:
		return E_FULL;
	case ENOMEM:
		return E_NOMEM;
	case EACCES:
	case EPERM:
	case EROFS:
		return E_DENIED;
	default:
		return E_SYSTEM;
	}
}

/* Said once, until it works again. */
static int
report(struct stored_cache *c, const char *what, int rc)
{
	if (rc != c->reported)
		log_error("cache of stored responses: %s: %s", what, mdb_strerror(rc));
	c->reported = rc;
	return error_of(rc);
}

static void
put_be64(char *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (char)(v & 0xff);
}

static uint64_t
get_be64(const char *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | (unsigned char)p[i];
	return v;
}

/* False: no id that could stand in a table. */
static bool
key_of(struct key *k, const uint8_t *owner, struct span id)
{
	if (id.n == 0 || id.n >= STORED_ID_SIZE)
		return false;
	memcpy(k->p, owner, STORED_OWNER);
	memcpy(k->p + STORED_OWNER, id.p, id.n);
	k->n = STORED_OWNER + id.n;
	return true;
}

static void
expiry_key(struct key *k, uint64_t expires_s, const struct key *answer)
{
	put_be64(k->p, expires_s);
	memcpy(k->p + 8, answer->p, answer->n);
	k->n = 8 + answer->n;
}

static MDB_val
val(const void *p, size_t n)
{
	return (MDB_val){.mv_size = n, .mv_data = (void *)(uintptr_t)p};
}

static MDB_val
val_of_key(const struct key *k)
{
	return val(k->p, k->n);
}

/* ---- the environment ---- */

static int
open_tables(struct stored_cache *c, MDB_txn *txn, unsigned flags)
{
	int rc = 0;

	for (int i = 0; i < TABLES && rc == 0; i++)
		rc = mdb_dbi_open(txn, names[i], flags, &c->dbi[i]);
	return rc;
}

/* Workers of another user: data to read, reader slots to take. */
static int
share(const char *dir, gid_t gid)
{
	static const struct {
		const char *name;
		mode_t mode;
	} files[] = {{"", 0710}, {"/data.mdb", 0640}, {"/lock.mdb", 0660}};
	char path[4096];

	for (size_t i = 0; i < NELEM(files); i++) {
		int n = snprintf(path, sizeof path, "%s%s", dir, files[i].name);

		if (n < 0 || (size_t)n >= sizeof path)
			return ENAMETOOLONG;
		if (chown(path, (uid_t)-1, gid) != 0 || chmod(path, files[i].mode) != 0)
			return errno;
	}
	return 0;
}

static int
env_new(struct stored_cache *c, const char *dir, uint64_t map, unsigned flags)
{
	int rc = mdb_env_create(&c->env);

	if (rc == 0)
		rc = mdb_env_set_maxdbs(c->env, TABLES);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(c->env, 256);
	if (rc == 0 && map > 0)
		rc = mdb_env_set_mapsize(c->env, map);
	return rc == 0 ? mdb_env_open(c->env, dir, MDB_NOTLS | flags, 0600) : rc;
}

int
stored_cache_open(const char *dir, uint64_t bound, gid_t gid, struct stored_cache **out)
{
	struct stored_cache *c = calloc(1, sizeof *c);
	MDB_txn *txn;
	int rc, r;

	*out = NULL;
	if (c == NULL)
		return E_NOMEM;
	c->bound = bound;
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		rc = errno;
	else
		rc = env_new(c, dir, 2 * bound + MAP_SPARE, 0);
	if (rc == 0 && (rc = mdb_txn_begin(c->env, NULL, 0, &txn)) == 0) {
		rc = open_tables(c, txn, MDB_CREATE);
		if (rc == 0)
			rc = mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
	if (rc == 0 && gid != (gid_t)-1)
		rc = share(dir, gid);
	if (rc != 0) {
		r = report(c, dir, rc);
		stored_cache_close(c);
		return r;
	}
	c->open = true;
	*out = c;
	return 0;
}

int
stored_cache_view(int dir_fd, struct stored_cache **out)
{
	struct stored_cache *c = calloc(1, sizeof *c);
	char path[64];
	int rc;

	*out = NULL;
	if (c == NULL)
		return E_NOMEM;
	snprintf(path, sizeof path, "/proc/self/fd/%d", dir_fd);
	if ((rc = env_new(c, path, 0, MDB_RDONLY)) != 0) {
		stored_cache_close(c);
		return error_of(rc);
	}
	*out = c;
	return 0;
}

void
stored_cache_close(struct stored_cache *c)
{
	if (c == NULL)
		return;
	if (c->env != NULL)
		mdb_env_close(c->env);
	free(c);
}

void
stored_cache_reap(struct stored_cache *c)
{
	int dead;

	(void)mdb_reader_check(c->env, &dead);
}

/* ---- reading ---- */

static int
read_begin(struct stored_cache *c, MDB_txn **txn)
{
	int rc = mdb_txn_begin(c->env, NULL, MDB_RDONLY, txn);

	/* Another master has given the map another size. */
	if (rc == MDB_MAP_RESIZED && (rc = mdb_env_set_mapsize(c->env, 0)) == 0)
		rc = mdb_txn_begin(c->env, NULL, MDB_RDONLY, txn);
	if (rc != 0 || c->open)
		return rc;
	if ((rc = open_tables(c, *txn, 0)) == 0 && (rc = mdb_txn_commit(*txn)) == 0) {
		c->open = true; /* handles are for ever once their transaction is committed */
		return mdb_txn_begin(c->env, NULL, MDB_RDONLY, txn);
	}
	mdb_txn_abort(*txn);
	return rc;
}

static int
copy_record(struct arena *a, MDB_val v, uint64_t now_s, const struct stored_head **out)
{
	void *copy = arena_alloc(a, v.mv_size + 1);

	if (copy == NULL)
		return E_NOMEM;
	memcpy(copy, v.mv_data, v.mv_size);
	if (stored_check(copy, v.mv_size) != 0)
		return E_SYNTAX;
	*out = copy;
	return (*out)->expires_s > now_s ? 0 : E_NOT_FOUND;
}

static int
find(struct stored_cache *c, struct arena *a, const uint8_t *owner, struct span id, bool by_item,
    uint64_t now_s, const struct stored_head **out)
{
	struct key k;
	MDB_txn *txn;
	MDB_val key, v;
	int rc, r;

	if (!key_of(&k, owner, id))
		return E_NOT_FOUND;
	if ((rc = read_begin(c, &txn)) != 0)
		return error_of(rc);
	key = val_of_key(&k);
	rc = by_item ? mdb_get(txn, c->dbi[T_ITEM], &key, &v) : 0;
	if (rc == 0 && by_item && !key_of(&k, owner, (struct span){v.mv_data, v.mv_size}))
		rc = MDB_CORRUPTED;
	key = val_of_key(&k);
	if (rc == 0)
		rc = mdb_get(txn, c->dbi[T_ANSWER], &key, &v);
	r = rc == 0 ? copy_record(a, v, now_s, out) : error_of(rc);
	mdb_txn_abort(txn);
	return r;
}

int
stored_cache_get(struct stored_cache *c, struct arena *a, const uint8_t owner[STORED_OWNER],
    struct span id, uint64_t now_s, const struct stored_head **out)
{
	return find(c, a, owner, id, false, now_s, out);
}

int
stored_cache_item(struct stored_cache *c, struct arena *a, const uint8_t owner[STORED_OWNER],
    struct span item, uint64_t now_s, const struct stored_head **out)
{
	return find(c, a, owner, item, true, now_s, out);
}

/* ---- writing ---- */

struct write {
	struct stored_cache *c;
	MDB_txn *txn;
	uint64_t total;
};

static int
total_load(struct write *w)
{
	MDB_val k = val("bytes", 5), v;
	int rc = mdb_get(w->txn, w->c->dbi[T_TOTAL], &k, &v);

	w->total = 0;
	if (rc == 0 && v.mv_size == sizeof w->total)
		memcpy(&w->total, v.mv_data, sizeof w->total);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int
total_save(struct write *w)
{
	MDB_val k = val("bytes", 5), v = val(&w->total, sizeof w->total);

	return mdb_put(w->txn, w->c->dbi[T_TOTAL], &k, &v, 0);
}

static int
del(struct write *w, enum table t, const struct key *k)
{
	MDB_val key = val_of_key(k);
	int rc = mdb_del(w->txn, w->c->dbi[t], &key, NULL);

	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Its rows in the other tables are named by the record itself, which is gone with the last step. */
static int
forget(struct write *w, const struct key *k)
{
	MDB_val key = val_of_key(k), v;
	const struct stored_head *h;
	struct key other;
	int rc = mdb_get(w->txn, w->c->dbi[T_ANSWER], &key, &v);
	void *copy;

	if (rc != 0)
		return rc;
	if ((copy = malloc(v.mv_size)) == NULL) /* pages may move under a deletion */
		return ENOMEM;
	memcpy(copy, v.mv_data, v.mv_size);
	h = copy;
	if (stored_check(h, v.mv_size) == 0) {
		expiry_key(&other, h->expires_s, k);
		rc = del(w, T_EXPIRY, &other);
		for (uint32_t i = 0; i < h->items && rc == 0; i++) {
			const char *id = stored_items(h) + (size_t)i * STORED_ID_SIZE;

			if (key_of(&other, h->owner, (struct span){id, strlen(id)}))
				rc = del(w, T_ITEM, &other);
		}
	}
	w->total -= MIN(w->total, v.mv_size);
	free(copy);
	return rc == 0 ? del(w, T_ANSWER, k) : rc;
}

/* The one that expires first; false in *any: there is none, or (`now_s` not 0) none that has. */
static int
forget_first(struct write *w, uint64_t now_s, bool *any)
{
	MDB_cursor *cursor;
	MDB_val k, v;
	struct key answer, expiry = {.n = 0};
	int rc = mdb_cursor_open(w->txn, w->c->dbi[T_EXPIRY], &cursor);

	*any = false;
	if (rc != 0)
		return rc;
	rc = mdb_cursor_get(cursor, &k, &v, MDB_FIRST);
	if (rc == 0 && k.mv_size > 8 + STORED_OWNER && k.mv_size <= KEY_MAX &&
	    (now_s == 0 || get_be64(k.mv_data) <= now_s)) {
		*any = true;
		expiry.n = k.mv_size;
		memcpy(expiry.p, k.mv_data, k.mv_size);
		answer.n = k.mv_size - 8;
		memcpy(answer.p, (char *)k.mv_data + 8, answer.n);
	}
	mdb_cursor_close(cursor);
	if (rc == MDB_NOTFOUND || !*any)
		return rc == MDB_NOTFOUND ? 0 : rc;
	rc = forget(w, &answer);
	return rc == 0 || rc == MDB_NOTFOUND ? del(w, T_EXPIRY, &expiry) : rc;
}

static int
keep(struct write *w, const struct stored_head *h, const struct key *k)
{
	struct span input = stored_input(h);
	size_t size = (size_t)(input.p + input.n - (const char *)h);
	char sum[8];
	struct key other;
	bool any = true;
	MDB_val key = val_of_key(k), v = val(h, size), row;
	int rc = forget(w, k);

	if (rc != 0 && rc != MDB_NOTFOUND)
		return rc;
	for (rc = 0; rc == 0 && any && w->total + size > w->c->bound;)
		rc = forget_first(w, 0, &any);
	if (rc == 0)
		rc = mdb_put(w->txn, w->c->dbi[T_ANSWER], &key, &v, 0);
	put_be64(sum, size);
	expiry_key(&other, h->expires_s, k);
	row = val(sum, sizeof sum);
	key = val_of_key(&other);
	if (rc == 0)
		rc = mdb_put(w->txn, w->c->dbi[T_EXPIRY], &key, &row, 0);
	for (uint32_t i = 0; i < h->items && rc == 0; i++) {
		const char *id = stored_items(h) + (size_t)i * STORED_ID_SIZE;

		if (!key_of(&other, h->owner, (struct span){id, strlen(id)}))
			continue;
		key = val_of_key(&other);
		row = val(h->id, strlen(h->id));
		rc = mdb_put(w->txn, w->c->dbi[T_ITEM], &key, &row, 0);
	}
	w->total += size;
	return rc;
}

static int
write_one(struct write *w, const struct stored_head *h, int *error)
{
	struct span input = stored_input(h);
	struct key k;
	int rc;

	*error = 0;
	if (!key_of(&k, h->owner, (struct span){h->id, strlen(h->id)}) ||
	    (uint64_t)(input.p + input.n - (const char *)h) > w->c->bound / 2) {
		*error = E_TOO_LONG;
		return 0;
	}
	rc = h->op == STORED_KEEP ? keep(w, h, &k) : forget(w, &k);
	if (rc == MDB_NOTFOUND) {
		*error = E_NOT_FOUND;
		return 0;
	}
	return rc;
}

int
stored_cache_write(struct stored_cache *c, const struct stored_head *const *rec, size_t n,
    uint64_t now_s, int *error)
{
	struct write w = {.c = c};
	bool any = true;
	int rc = mdb_txn_begin(c->env, NULL, 0, &w.txn);

	if (rc == MDB_MAP_RESIZED && (rc = mdb_env_set_mapsize(c->env, 0)) == 0)
		rc = mdb_txn_begin(c->env, NULL, 0, &w.txn);
	if (rc != 0)
		return report(c, "transaction", rc);
	rc = total_load(&w);
	for (unsigned i = 0; i < EXPIRED_AT_ONCE && any && rc == 0; i++)
		rc = forget_first(&w, now_s, &any);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = write_one(&w, rec[i], &error[i]);
	if (rc == 0)
		rc = total_save(&w);
	if (rc != 0) {
		mdb_txn_abort(w.txn);
		return report(c, "write", rc);
	}
	if ((rc = mdb_txn_commit(w.txn)) != 0)
		return report(c, "commit", rc);
	c->reported = 0;
	return 0;
}
