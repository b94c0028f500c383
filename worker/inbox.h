/*
 * inbox: what the master sends a worker, and the snapshot in force.
 *
 * Messages are read from the loop, and ahead of it by worker_snapshot when the live region says
 * that a newer snapshot is under way. A snapshot is in force from the moment it is read. Everything
 * else, the acknowledgement included, is done by `act`, which is called from the loop and never
 * from inside another call-back. The snapshot before is kept until then, for whoever borrowed it in
 * this turn.
 *
 * inbox_open   `act` is called after each arrival.
 * inbox_tick   to be called now and then: sends what did not fit before.
 * inbox_ready  tells the master that we serve.
 * inbox_close  drops the snapshots.
 */
#ifndef OMNIROUTE_WORKER_INBOX_H
#define OMNIROUTE_WORKER_INBOX_H

#include "shared/base.h"

struct channel_msg;
struct event_base;

struct inbox {
	bool changed; /* a new snapshot is in force; act takes the flag down through inbox_taken */
	bool retire, stop; /* ordered by the master */
	bool closed;       /* the master is gone */
	int error;         /* 0, or why the channel cannot be read any more */
	int refused;       /* 0, or why the last snapshot was refused */
};
extern struct inbox inbox;

int inbox_open(struct event_base *base, int fd, void (*act)(void)) must_check;
void inbox_taken(void); /* acknowledges the snapshot in force, lets the ones before go */
void inbox_tick(void);
void inbox_ready(void);
int inbox_send(const struct channel_msg *m, const int *fds, unsigned nfds) must_check; /* as channel_send */
void inbox_close(void);

#endif
