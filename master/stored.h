/*
 * stored: responses that workers hand over (channel message KEEP) go into the cache, some of them with one commit; the worker
 * is told of each when it is on disk, or why it is not (KEPT).
 *
 * stored_start  opens <data_dir>/cache. Without it the gateway serves all the same: whatever is handed over is refused, and the log
 *               says why. 0, E_NOMEM.
 * stored_take   a message of a worker and its descriptors, which stay the caller's. E_SYNTAX: it makes no sense.
 * stored_free   what waits is stored first.
 * stored_reap   a worker is gone: what it has handed over is stored before another takes its place and calls it settled.
 */
#ifndef OMNIROUTE_MASTER_STORED_H
#define OMNIROUTE_MASTER_STORED_H

#include "master/master.h"

struct channel_msg;
struct proc;

int stored_start(struct master *m) must_check;
int stored_take(struct proc *p, const struct channel_msg *msg, const int *fds, unsigned nfds) must_check;
void stored_reap(struct master *m);
void stored_free(struct master *m);

#endif
