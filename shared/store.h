/*
 * store: the durable truth, one LMDB environment in `dir`, opened by the master alone (during a binary upgrade by both
 * masters: LMDB's own lock orders their writes). Not across fork. Single-threaded use.
 *
 * Tables: "meta" (schema version, counters), "config" (documents, key = "<kind>/<id>", value = JSON text),
 * "usage" (key = end time us BE:8 | generation BE:8 | seq BE:8; value = version byte + struct usage_record),
 * "total" (key = "<day>/<provider>/<model>/<key id>", value = sums).
 *
 * A write is a transaction: store_begin … store_commit (synchronous: on return it is on disk) or store_abort. Growth of
 * the map (MDB_MAP_FULL) is handled inside: commit or put returns E_AGAIN after the map was grown, and the caller
 * runs the whole transaction again (store_write does this loop). E_FULL: the disk is full. E_VERSION: a newer schema.
 */
#ifndef OMNIROUTE_SHARED_STORE_H
#define OMNIROUTE_SHARED_STORE_H

#include "shared/base.h"
#include "shared/ring.h"

struct store;
struct store_txn;

int store_open(const char *dir, struct store **s) must_check;
void store_close(struct store *s);
/* Clears the reader slots of dead processes; how many there were. */
int store_reap_readers(struct store *s);

/* Runs `fn` in a write transaction and commits; again from the start when the map had to grow. fn's error aborts. */
int store_write(struct store *s, int (*fn)(struct store_txn *t, void *ctx), void *ctx) must_check;

/* Documents. Inside store_write. */
int store_put_doc(struct store_txn *t, const char *kind, const char *id, const char *json, size_t n) must_check;
int store_del_doc(struct store_txn *t, const char *kind, const char *id) must_check;
/* Reading, in a transaction of its own that ends before the return. malloc'ed; E_NOT_FOUND. */
int store_get_doc(struct store *s, const char *kind, const char *id, char **json, size_t *n) must_check;
/* Every document of a kind in order of id; a non-zero return of `fn` ends the walk and is returned. */
int store_each_doc(struct store *s, const char *kind,
    int (*fn)(void *ctx, const char *id, const char *json, size_t n), void *ctx) must_check;

/* A durable counter: reserves `n` numbers, *first is the first of them. Never repeats, across crashes too. */
int store_reserve(struct store *s, const char *counter, uint64_t n, uint64_t *first) must_check;

/* Usage. A record whose key exists already changes nothing (a batch may be stored twice). Inside store_write. */
int store_put_usage(struct store_txn *t, const struct usage_record *rec) must_check;
/* Newest first, at most `max`, ended before `before_us` (0 = now). */
int store_recent_usage(struct store *s, uint64_t before_us, size_t max,
    int (*fn)(void *ctx, const struct usage_record *rec), void *ctx) must_check;
struct usage_total {
	char day[11]; /* 2026-01-31, UTC */
	char provider[32], model[96], key_id[40];
	uint64_t requests, errors, unknown, tokens_in, tokens_out, tokens_cached, tokens_reasoning;
	int64_t cost_udollar;
};
int store_each_total(struct store *s, const char *from_day, const char *to_day,
    int (*fn)(void *ctx, const struct usage_total *t), void *ctx) must_check;

#endif
