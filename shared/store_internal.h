/*
 * store_internal: what store.c offers to store_doc.c and store_usage.c, and to nobody else.
 *
 * store_txn_get  *val points into the map until the transaction ends or is written to. E_NOT_FOUND.
 * store_txn_put  E_EXISTS with MDB_NOOVERWRITE. Every other failure sticks to the transaction: it
 * will not be committed. store_txn_del  E_NOT_FOUND. store_scan     rows in order of key, in
 * batches: each batch is copied in a read transaction of its own, which has ended before `row` sees
 * the first of them. So a call-back may do with the store what it likes, and no reader is ever old.
 * A value is followed by a NUL that is not counted. What `row` returns, if not 0, ends the scan and
 * is returned; SCAN_END ends it with 0.
 */
#ifndef OMNIROUTE_SHARED_STORE_INTERNAL_H
#define OMNIROUTE_SHARED_STORE_INTERNAL_H

#include <limits.h>
#include <lmdb.h>

#include "shared/base.h"
#include "shared/store.h"

#define STORE_KEY_MAX 511 /* of LMDB */
#define SCAN_END INT_MIN

enum store_table { STORE_META, STORE_CONFIG, STORE_USAGE, STORE_TOTAL, STORE_TABLES };

struct store {
	MDB_env *env; /* NULL: has to be opened again */
	MDB_dbi dbi[STORE_TABLES];
	bool broken, writing;
	int reported; /* the error that the log knows of; 0: none since the last commit */
	char dir[];
};

struct store_txn {
	struct store *store;
	MDB_txn *txn;
	int error; /* first failure */
	bool full; /* the map has to grow */
};

struct store_scan {
	enum store_table table;
	bool backward;
	struct span from; /* forward: the first key is not below it; backward: it is below. Empty:
			     the end */
	int (*row)(void *ctx, struct span key, struct span val);
	void *ctx;
};

int store_txn_get(
    struct store_txn *t, enum store_table table, struct span key, struct span *val) must_check;
int store_txn_put(struct store_txn *t, enum store_table table, struct span key, struct span val,
    unsigned flags) must_check;
int store_txn_del(struct store_txn *t, enum store_table table, struct span key) must_check;
int store_txn_fail(struct store_txn *t, const char *what, int rc);
int store_read(struct store *s, struct store_txn *t) must_check; /* then store_read_end */
void store_read_end(struct store_txn *t);
int store_scan(struct store *s, const struct store_scan *scan) must_check;

#endif
