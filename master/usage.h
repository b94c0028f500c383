/*
 * usage: records from the workers' rings and from abandoned spool files into the store; the end of
 * a dead worker's slot.
 *
 * A record leaves its ring only after the store has committed it; a master that dies in between
 * stores it again under the same key. When the disk is full records stay where they are and
 * workers refuse new requests once their ring has no free cell; it is tried again every second.
 *
 * usage_start  the event of m->event_fd, timers; collects the spool.
 * usage_bury   the worker of this slot is gone: its ring is drained, what it had in hand is booked
 *              as unknown, the slot is given back. At once when possible, else later; never before
 *              all of it is stored.
 * usage_idle   nothing is left to bury.
 * usage_free   a last round; what cannot be stored is counted in the log.
 *
 * Slots of a master that died while we ran are taken over once their worker is gone (orphan.h).
 */
#ifndef OMNIROUTE_MASTER_USAGE_H
#define OMNIROUTE_MASTER_USAGE_H

#include "master/master.h"

int usage_start(struct master *m) must_check;
void usage_free(struct master *m);
void usage_bury(struct master *m, unsigned slot);
bool usage_idle(const struct master *m);

#endif
