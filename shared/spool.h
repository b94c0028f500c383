/*
 * spool: where usage records go when nobody reads the ring. The master opens <data_dir>/spool/<generation> for each
 * worker, takes an exclusive flock(2) on it, lets the worker inherit the descriptor and closes its own: the lock lives
 * exactly as long as the worker. A worker that finds its master gone appends, before it leaves, the records that
 * were not consumed. A master looks through the folder at start and now and then: a file that it can lock belongs to a
 * worker that is gone; its records are stored (storing one twice changes nothing) and the file is removed.
 *
 * File: records of struct usage_record, each behind a 16-byte BLAKE2b checksum. A torn last record is ignored.
 */
#ifndef OMNIROUTE_SHARED_SPOOL_H
#define OMNIROUTE_SHARED_SPOOL_H

#include "shared/base.h"
#include "shared/ring.h"

int spool_create(const char *dir, uint64_t generation, int *fd) must_check;
/* Worker: everything that is still in the ring, and open cells as unknown. fsync'ed. */
int spool_write(int fd, struct ring *r) must_check;
/*
 * Master: calls fn for each record of each abandoned file; removes a file when fn returned 0 for all of them. Returns the
 * first error, after all files.
 */
int spool_collect(const char *dir, int (*fn)(void *ctx, const struct usage_record *recs, size_t n), void *ctx) must_check;
/* Master, before it has workers: those of an earlier one still live. */
bool spool_in_use(const char *dir);

#endif
