/*
 * publish: the snapshots of this master: one number at a time, for every set of listeners that a
 * living worker has. Changes that come together are one snapshot; the call-back of each comes when
 * a snapshot that includes it is in use everywhere: on our workers, and on those of another master
 * that runs beside us (see peer.h).
 *
 * want_snap is stored after the message was sent, so that a worker that sees it finds the message.
 *
 * publish_start    builds the first snapshot; an error means that nothing can be served.
 * publish_flush    builds and sends at once what is due, not at the end of this turn of the loop.
 * publish_first    to a newborn worker: the snapshot in force, before anything else.
 * publish_taken, publish_refused  answers.
 * publish_recheck  somebody who was waited for is gone, or has answered.
 * publish_for_peer the other master changed the store: our workers follow, then it is told.
 */
#ifndef OMNIROUTE_MASTER_PUBLISH_H
#define OMNIROUTE_MASTER_PUBLISH_H

#include "master/master.h"
#include "master/supervise.h"

int publish_start(struct master *m) must_check;
void publish_free(struct master *m);
void publish_flush(struct master *m);
int publish_first(struct proc *p) must_check;
void publish_taken(struct proc *p, uint64_t number);
void publish_refused(struct proc *p, uint64_t number, int error);
void publish_recheck(struct master *m);
void publish_for_peer(struct master *m, publish_done *done, void *ctx);

#endif
