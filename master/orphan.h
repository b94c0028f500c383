/*
 * orphan: worker slots whose master is gone. Two masters share the live region during an upgrade;
 * when one of them dies, its workers leave by themselves (end of file on their channel) and nobody
 * is left to give their slots back.
 *
 * A slot of another master whose worker process is gone is normally given back within milliseconds
 * by that master. One that stays like that for some turns has lost it, and whoever exchanges the
 * owner's word gets it. A worker is known by the generation on its command line: process ids come
 * back, generations do not.
 *
 * foreign_slots_take  once a second: bit mask of the slots that are ours now; drain and release
 *                     them.
 * worker_lives        does this process still run as the worker of this generation?
 */
#ifndef OMNIROUTE_MASTER_ORPHAN_H
#define OMNIROUTE_MASTER_ORPHAN_H

#include "shared/base.h"
#include "shared/live.h"

#define FOREIGN_TURNS 3         /* seen dead that often in a row */
#define FOREIGN_TURNS_UNBORN 30 /* taken, but without a process yet */

struct foreign_slots {
	uint8_t turns[LIVE_WORKERS];
};

uint64_t foreign_slots_take(struct foreign_slots *f, struct live *live, uint64_t owner);
bool worker_lives(int pid, uint64_t generation);

#endif
