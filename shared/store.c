/*
 * store: environment, transactions, growth.
 *
 * Flags. MDB_NOTLS: a reader slot belongs to a transaction and not to the thread, so a read inside
 * a call-back of a write is possible. No MDB_NOLOCK: during a binary upgrade two masters write. No
 * MDB_NOSYNC, MDB_NOMETASYNC: a commit that was answered is on disk. No MDB_WRITEMAP: a stray
 * pointer must not reach the file. No MDB_NOMEMINIT: what lies behind a page's data on disk is
 * zeros, not our memory.
 *
 * A writer that is killed leaves the old root in force; its lock is a robust mutex that the next
 * writer takes over.
 *
 * The map is remapped only between transactions, and there is never one open when a call comes in.
 */
#include "shared/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/err.h"
#include "shared/log.h"
#include "shared/store_internal.h"

#define SCHEMA 1
#define MAP_FIRST (UINT64_C(1) << 20)
#define MAP_LAST (UINT64_C(1) << 40)
#define GROW_TRIES 32

static const char *const table_name[STORE_TABLES] = {
    [STORE_META] = "meta",
    [STORE_CONFIG] = "config",
    [STORE_USAGE] = "usage",
    [STORE_TOTAL] = "total",
};

/* A short write ends as EIO in LMDB: on a disk that works that is a full disk. */
static int
error_of(int rc)
{
	switch (rc) {
	case 0:
		return 0;
	case MDB_NOTFOUND:
		return E_NOT_FOUND;
	case MDB_KEYEXIST:
		return E_EXISTS;
	case MDB_VERSION_MISMATCH:
		return E_VERSION;
	case MDB_INVALID:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INCOMPATIBLE:
		return E_SYNTAX;
	case MDB_BAD_VALSIZE:
	case MDB_TXN_FULL:
		return E_TOO_LONG;
	case MDB_READERS_FULL:
		return E_BUSY;
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

/* Said once: what is tried again every second fails with the same words until it works. */
static int
report(struct store *s, const char *what, int rc)
{
	if (rc != s->reported)
		log_error("store %s: %s: %s", s->dir, what, mdb_strerror(rc));
	s->reported = rc;
	return error_of(rc);
}

static MDB_val
val_of(struct span s)
{
	return (MDB_val){.mv_size = s.n, .mv_data = (void *)(uintptr_t)s.p};
}

static struct span
span_of(MDB_val v)
{
	return (struct span){v.mv_data, v.mv_size};
}

/* ---- the environment ---- */

static void
env_close(struct store *s)
{
	if (s->env != NULL)
		mdb_env_close(s->env);
	s->env = NULL;
	s->broken = false;
}

/* Our data directory's entry, and ours in it, must be on disk before a commit can be. */
static int
sync_directories(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), up, r = -1;

	if (fd == -1)
		return E_SYSTEM;
	up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fsync(fd) == 0 && (up == -1 || fsync(up) == 0))
		r = 0;
	if (up != -1)
		close(up);
	close(fd);
	return r == 0 ? 0 : E_SYSTEM;
}

static int
env_open(struct store *s)
{
	int rc = mdb_env_create(&s->env);

	if (rc == 0)
		rc = mdb_env_set_maxdbs(s->env, STORE_TABLES);
	if (rc == 0)
		rc = mdb_env_set_mapsize(s->env, MAP_FIRST); /* or what is in use, if more */
	if (rc == 0)
		rc = mdb_env_open(s->env, s->dir, MDB_NOTLS, 0600);
	if (rc == 0)
		return 0;
	env_close(s);
	return report(s, "cannot be opened", rc);
}

/* Another map size; 0 takes over what another process has made of it. */
static int
env_resize(struct store *s, size_t size)
{
	int rc = mdb_env_set_mapsize(s->env, size);

	if (rc == 0)
		return 0;
	s->broken = true; /* the old map is gone */
	return report(s, "map size", rc);
}

static int
env_grow(struct store *s)
{
	MDB_envinfo info;

	if (mdb_env_info(s->env, &info) != 0)
		return E_SYSTEM;
	if (info.me_mapsize > MAP_LAST / 2)
		return E_FULL;
	log_debug("store %s: map grows from %zu to %zu bytes", s->dir, info.me_mapsize,
	    info.me_mapsize * 2);
	return env_resize(s, info.me_mapsize * 2);
}

/* ---- transactions ---- */

int
store_txn_fail(struct store_txn *t, const char *what, int rc)
{
	int r;

	if (rc == MDB_MAP_FULL) {
		t->full = true;
		r = E_AGAIN;
	} else {
		t->store->broken |= rc == MDB_PANIC;
		r = report(t->store, what, rc);
	}
	if (t->error == 0)
		t->error = r;
	return r;
}

static int
txn_begin(struct store *s, struct store_txn *t, unsigned flags)
{
	int rc = 0, dead, r;

	*t = (struct store_txn){.store = s};
	for (unsigned i = 0; i < 3; i++) {
		rc = mdb_txn_begin(s->env, NULL, flags, &t->txn);
		if (rc == MDB_MAP_RESIZED && !s->writing) {
			if ((r = env_resize(s, 0)) != 0)
				return r;
		} else if (rc == MDB_READERS_FULL) {
			(void)mdb_reader_check(s->env, &dead);
		} else {
			break;
		}
	}
	return rc == 0 ? 0 : store_txn_fail(t, "transaction", rc);
}

/* Takes the transaction to its end, one way or the other. */
static int
txn_end(struct store_txn *t, int r)
{
	int rc;

	if (t->full)
		r = E_AGAIN;
	else if (r == 0)
		r = t->error;
	if (r != 0) {
		mdb_txn_abort(t->txn);
		return r;
	}
	if ((rc = mdb_txn_commit(t->txn)) != 0)
		return store_txn_fail(t, "commit", rc);
	if (t->store->reported != 0)
		log_notice("store %s: writing works again", t->store->dir);
	t->store->reported = 0;
	return 0;
}

int
store_txn_get(struct store_txn *t, enum store_table table, struct span key, struct span *val)
{
	MDB_val k = val_of(key), v;
	int rc = mdb_get(t->txn, t->store->dbi[table], &k, &v);

	if (rc == 0)
		*val = span_of(v);
	return rc == 0 ? 0 : rc == MDB_NOTFOUND ? E_NOT_FOUND : store_txn_fail(t, "read", rc);
}

int
store_txn_put(
    struct store_txn *t, enum store_table table, struct span key, struct span val, unsigned flags)
{
	MDB_val k = val_of(key), v = val_of(val);
	int rc = mdb_put(t->txn, t->store->dbi[table], &k, &v, flags);

	return rc == 0 ? 0 : rc == MDB_KEYEXIST ? E_EXISTS : store_txn_fail(t, "write", rc);
}

int
store_txn_del(struct store_txn *t, enum store_table table, struct span key)
{
	MDB_val k = val_of(key);
	int rc = mdb_del(t->txn, t->store->dbi[table], &k, NULL);

	return rc == 0 ? 0 : rc == MDB_NOTFOUND ? E_NOT_FOUND : store_txn_fail(t, "delete", rc);
}

/* Runs `fn` and commits, as often as the map has to grow for it. */
static int
write_growing(struct store *s, int (*fn)(struct store_txn *t, void *ctx), void *ctx)
{
	struct store_txn t;
	int r = E_AGAIN;

	for (unsigned i = 0; i < GROW_TRIES && r == E_AGAIN; i++) {
		if ((r = txn_begin(s, &t, 0)) != 0)
			return r;
		s->writing = true;
		r = fn(&t, ctx);
		s->writing = false;
		r = txn_end(&t, r);
		if (!t.full)
			return r;
		if ((r = env_grow(s)) != 0)
			return r;
		r = E_AGAIN;
	}
	return E_FULL;
}

/* ---- opening ---- */

static int
open_tables(struct store_txn *t, enum store_table first, enum store_table end)
{
	int rc;

	for (enum store_table i = first; i < end; i++)
		if ((rc = mdb_dbi_open(t->txn, table_name[i], MDB_CREATE, &t->store->dbi[i])) != 0)
			return store_txn_fail(t, table_name[i], rc);
	return 0;
}

/* The version stands in "meta" as decimal text. A store of the future is left as it is. */
static int
set_up_schema(struct store_txn *t, void *ctx)
{
	static const struct span key = {"schema", 6};
	struct span val = {NULL, 0};
	char text[16];
	unsigned long version;
	int r, n;

	(void)ctx;
	if ((r = open_tables(t, STORE_META, STORE_META + 1)) != 0)
		return r;
	if ((r = store_txn_get(t, STORE_META, key, &val)) == 0) {
		n = snprintf(text, sizeof text, "%.*s", (int)MIN(val.n, sizeof text), val.p);
		version = strtoul(text, NULL, 10);
		if (n <= 0 || version == 0)
			return E_SYNTAX;
		if (version > SCHEMA) {
			log_error("store %s has schema %lu; this program knows %d", t->store->dir,
			    version, SCHEMA);
			return E_VERSION;
		}
	} else if (r == E_NOT_FOUND) {
		n = snprintf(text, sizeof text, "%d", SCHEMA);
		r = store_txn_put(t, STORE_META, key, (struct span){text, (size_t)n}, 0);
	}
	return r != 0 ? r : open_tables(t, STORE_META + 1, STORE_TABLES);
}

/* Opens what is not open: the first time, and after an error that made the old environment useless.
 */
static int
store_ready(struct store *s)
{
	int r;

	if (s->writing)
		return 0;
	if (s->broken)
		env_close(s);
	if (s->env != NULL)
		return 0;
	if ((r = env_open(s)) != 0)
		return r;
	if ((r = write_growing(s, set_up_schema, NULL)) == 0)
		r = sync_directories(s->dir);
	if (r != 0)
		env_close(s);
	return r;
}

int
store_open(const char *dir, struct store **out)
{
	size_t n = strlen(dir) + 1;
	struct store *s = calloc(1, sizeof *s + n);
	int r;

	*out = NULL;
	if (s == NULL)
		return E_NOMEM;
	memcpy(s->dir, dir, n);
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		r = report(s, "folder cannot be made", errno);
	else
		r = store_ready(s);
	if (r != 0) {
		free(s);
		return r;
	}
	*out = s;
	return 0;
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	env_close(s);
	free(s);
}

int
store_reap_readers(struct store *s)
{
	int dead = 0, rc, r = store_ready(s);

	if (r != 0)
		return r;
	rc = mdb_reader_check(s->env, &dead);
	return rc == 0 ? dead : report(s, "reader check", rc);
}

int
store_write(struct store *s, int (*fn)(struct store_txn *t, void *ctx), void *ctx)
{
	int r;

	if (s->writing)
		bug("a write inside a write of the store");
	r = store_ready(s);
	return r != 0 ? r : write_growing(s, fn, ctx);
}

/* ---- reading ---- */

int
store_read(struct store *s, struct store_txn *t)
{
	int r = store_ready(s);

	return r != 0 ? r : txn_begin(s, t, MDB_RDONLY);
}

void
store_read_end(struct store_txn *t)
{
	mdb_txn_abort(t->txn);
}
