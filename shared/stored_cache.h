/*
 * stored_cache: the LMDB environment `cache`: records of stored.h by owner and id, until they expire. Written by masters, read
 * by workers; each process has it open once, none across fork. Single-threaded use.
 *
 * Tables: "answer" (owner:16 | id → record), "item" (owner:16 | id of an item → id of its answer), "expiry" (expires_s BE:8 |
 * owner:16 | id → size BE:8), "total" ("bytes" → sum of sizes:8).
 *
 * The sum of all sizes stays below the bound that it was opened with: what expires first goes first. The map has twice that
 * room, so that pages that a reader still looks at can be waited for.
 *
 * stored_cache_open   master. Makes the folder and the files; `gid` (-1: as they are) may read data and take reader slots, and
 *                     no more. E_SYNTAX: damaged; E_FULL, E_DENIED, E_NOMEM, E_SYSTEM.
 * stored_cache_view   worker: the folder behind this descriptor, for reading.
 * stored_cache_write  master: records that were checked, kept or forgotten in order in one transaction that is on disk when this
 *                     returns, and what has expired by now_s dropped (some of it; call again). error[i] for each. E_FULL, …:
 *                     nothing of them was done.
 * stored_cache_get    worker or master: a copy of the record, in `a`. E_NOT_FOUND: none, or expired.
 * stored_cache_item   by the id of an item of its answer.
 * stored_cache_reap   master: reader slots of dead workers are cleared.
 */
#ifndef OMNIROUTE_SHARED_STORED_CACHE_H
#define OMNIROUTE_SHARED_STORED_CACHE_H

#include <sys/types.h>

#include "shared/arena.h"
#include "shared/stored.h"

struct stored_cache;

int stored_cache_open(const char *dir, uint64_t bound, gid_t gid, struct stored_cache **c) must_check;
int stored_cache_view(int dir_fd, struct stored_cache **c) must_check;
void stored_cache_close(struct stored_cache *c);
int stored_cache_write(struct stored_cache *c, const struct stored_head *const *rec, size_t n, uint64_t now_s, int *error) must_check;
int stored_cache_get(struct stored_cache *c, struct arena *a, const uint8_t owner[STORED_OWNER], struct span id,
    uint64_t now_s, const struct stored_head **out) must_check;
int stored_cache_item(struct stored_cache *c, struct arena *a, const uint8_t owner[STORED_OWNER], struct span item,
    uint64_t now_s, const struct stored_head **out) must_check;
void stored_cache_reap(struct stored_cache *c);

#endif
