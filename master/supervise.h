/*
 * supervise: how many workers there are, and of which configuration. One rule, run after every
 * event: missing workers of the current epoch are born (throttled when they die young), and when
 * enough of them are ready, those of earlier epochs retire. So there is always somebody who serves.
 *
 * supervise_start      the first workers. supervise_free: all must be gone.
 * supervise_reap       a child has ended; false: it was no worker.
 * supervise_check      the rule; for whoever has changed something that it looks at.
 * supervise_roll       new configuration: a new epoch.
 * supervise_retire     WINCH: none wanted until supervise_resume (HUP), which also forgets who died young
 *                      or refused to start.
 * supervise_stop       none wanted any more; gracefully or at once.
 * supervise_count      processes that still live.
 */
#ifndef OMNIROUTE_MASTER_SUPERVISE_H
#define OMNIROUTE_MASTER_SUPERVISE_H

#include <sys/types.h>

#include "master/master.h"
#include "master/proc.h"

/* How a worker ended, and what follows from it. Pure; the tests own the clock. */
struct throttle {
	unsigned early; /* deaths in a row that came too early */
};
enum death { DEATH_ASKED, DEATH_FINE, DEATH_EARLY, DEATH_NO_RETRY };
enum death supervise_judge(int wait_status, bool asked, uint64_t ready_ns, uint64_t now_ns);
/* ms until the next birth. */
unsigned throttle_delay_ms(const struct throttle *t);
void throttle_died(struct throttle *t, enum death how);

int supervise_start(struct master *m) must_check;
void supervise_free(struct master *m);
void supervise_check(struct master *m);
bool supervise_reap(struct master *m, pid_t pid, int status);
void supervise_roll(struct master *m);
void supervise_retire(struct master *m);
void supervise_resume(struct master *m);
void supervise_stop(struct master *m, bool graceful);
unsigned supervise_count(const struct master *m);
struct proc_list *supervise_procs(const struct master *m);

#endif
