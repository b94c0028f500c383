/*
 * room: where requests wait when no usage record is free. The ring is full only while the master
 * cannot store as fast as we answer (a disk that stalls), so waiting turns seconds of a slow disk
 * into latency; what waits longer than room_wait_ms is refused.
 *
 * room_wait   takes the last seat. `call` comes from the loop, in order of arrival: false says that
 *             there is still no room, and the seat stays the first. late: the wait is over.
 * room_leave  gives the seat up; nothing happens when there is none.
 * room_close  at the end of the process.
 */
#ifndef OMNIROUTE_WORKER_ROOM_H
#define OMNIROUTE_WORKER_ROOM_H

#include <sys/queue.h>

#include "shared/base.h"

extern unsigned room_wait_ms; /* 10 s; tests have less time */

struct room_seat {
	TAILQ_ENTRY(room_seat) link;
	uint64_t until_ns; /* 0: no seat is taken */
	bool (*call)(void *ctx, bool late);
	void *ctx;
};

int room_wait(struct room_seat *s, bool (*call)(void *ctx, bool late), void *ctx) must_check;
void room_leave(struct room_seat *s);
void room_close(void);

#endif
