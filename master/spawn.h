/*
 * spawn: birth of a worker: fork and exec of our own program (the file that was open since our
 * start, not what lies on disk now) with exactly the descriptors of shared/channel.h, default
 * signals, a clean environment and, when the master is root and a user is configured, that user's
 * rights.
 *
 * spawn_identity  looks the user up; E_NOT_FOUND. At start and at a reload only: it reads files.
 * spawn_worker    0 with *pid and the master's end of the channel, E_SYSTEM. `spool` stays the
 *                 caller's to close.
 */
#ifndef OMNIROUTE_MASTER_SPAWN_H
#define OMNIROUTE_MASTER_SPAWN_H

#include <sys/types.h>

#include "master/listen.h"
#include "master/master.h"

#define SPAWN_ROLE "omniroute: worker"
#define SPAWN_GROUPS 64

struct spawn_identity {
	bool change;
	uid_t uid;
	gid_t gid, groups[SPAWN_GROUPS];
	int ngroups;
};

int spawn_identity(const char *user, struct spawn_identity *id, struct buf *err) must_check;

struct spawn_order {
	unsigned slot;
	uint64_t generation;
	const struct listen_set *listen;
	const struct spawn_identity *identity;
	int spool;
};
int spawn_worker(
    struct master *m, const struct spawn_order *o, pid_t *pid, int *channel) must_check;

/* Signals of a child between fork and exec: blocked ones before, defaults and none blocked after.
 */
void spawn_block_signals(void *old_mask);
void spawn_child_signals(void);
void spawn_unblock_signals(const void *old_mask);

#endif
