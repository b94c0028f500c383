/*
 * store: the durable truth, one LMDB environment in `dir`, opened by the master alone (during a binary upgrade by both
 * masters: LMDB's own lock orders their writes). Not across fork. Single-threaded use.
 *
 * Tables: "meta" (schema version, counters), "config" (documents, key = "<kind>/<id>", value = JSON text),
 * "usage" (key = end time us BE:8 | generation BE:8 | seq BE:8; value = version byte + struct usage_record; a record
 * without an end stands where it began), "total" (key = "<day>/<provider>/<model>/<key id>", value = sums).
 *
 * A write is a transaction, store_write: when it returns 0 everything in it is on disk, otherwise nothing is. A put that
 * failed fails the whole transaction, whatever `fn` returns. When the map has to grow (a put returns E_AGAIN, which `fn`
 * hands on) or another process has grown it, `fn` is run again from the start: it must not count or free as it goes.
 *
 * Nothing is locked and no transaction is open while a call-back of a walk (store_each_doc, store_recent_usage,
 * store_each_total) runs, so it may read and write; a walk is not one picture when somebody writes meanwhile. Inside
 * store_write reads see what was there before it; a store_write inside another is a bug().
 *
 * E_FULL: the disk is full. E_VERSION: a newer schema. E_TOO_LONG, E_RANGE: kind, id or document. E_SYNTAX: a damaged
 * file. E_SYSTEM, E_DENIED, E_BUSY, E_NOMEM; the log says more.
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
/* E_NOT_FOUND when there is none; that alone does not fail the transaction. */
int store_del_doc(struct store_txn *t, const char *kind, const char *id) must_check;
/* Reading, in a transaction of its own that ends before the return. malloc'ed, NUL-terminated; E_NOT_FOUND. */
int store_get_doc(struct store *s, const char *kind, const char *id, char **json, size_t *n) must_check;
/* Every document of a kind in order of id, NUL-terminated; a non-zero return of `fn` ends the walk and is returned. */
int store_each_doc(struct store *s, const char *kind,
    int (*fn)(void *ctx, const char *id, const char *json, size_t n), void *ctx) must_check;

/* A durable counter: reserves `n` numbers, *first (from 1) is the first of them. Never repeats, across crashes too. */
int store_reserve(struct store *s, const char *counter, uint64_t n, uint64_t *first) must_check;

/* Usage. A record whose key exists already changes nothing (a batch may be stored twice). Inside store_write. */
int store_put_usage(struct store_txn *t, const struct usage_record *rec) must_check;
/* Newest first, at most `max`, ended before `before_us` (0 = now). */
int store_recent_usage(struct store *s, uint64_t before_us, size_t max,
    int (*fn)(void *ctx, const struct usage_record *rec), void *ctx) must_check;
/*
 * errors: status of 400 and above except 499 (the client left), or cut mid-stream; unknown: the worker died; not counted in
 * errors. model: as used, or as asked when none was.
 */
struct usage_total {
	char day[11]; /* 2026-01-31, UTC */
	char provider[32], model[96], key_id[40];
	uint64_t requests, errors, unknown, tokens_in, tokens_out, tokens_cached, tokens_reasoning;
	int64_t cost_udollar;
};
/* In order of day, both ends included; NULL: no bound. */
int store_each_total(struct store *s, const char *from_day, const char *to_day,
    int (*fn)(void *ctx, const struct usage_total *t), void *ctx) must_check;

#endif
