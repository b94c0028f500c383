/*
 * upgrade: the next master: the program that is now on disk where ours was found, with our
 * arguments. It inherits the live region, the listening sockets, the lock and the control socket,
 * and both serve until one of them is told to leave. Nobody waits in a queue that nobody accepts
 * from: the sockets are the same.
 *
 *   USR2            pid file set aside, fork, exec
 *   SERVING         on the line between the two: the control socket is the new one's
 *   QUIT to the old the upgrade is done
 *   the new one fails or leaves
 *                   pid file, lock and control socket come back, and workers that were retired
 *
 * upgrade_serving  the new one says that it serves. upgrade_failed: why it will not.
 * upgrade_reap     our child ended; false: it was not the new one.
 * upgrade_alive    another master runs, or is starting: the files of the sockets are its own too.
 * upgrade_program  absolute path at which the program is found again. malloc'ed, NULL: not found.
 */
#ifndef OMNIROUTE_MASTER_UPGRADE_H
#define OMNIROUTE_MASTER_UPGRADE_H

#include <sys/types.h>

#include "master/master.h"

void upgrade_serving(struct master *m);
void upgrade_failed(struct master *m, const char *why);
bool upgrade_reap(struct master *m, pid_t pid, int status);
bool upgrade_alive(const struct master *m);
void upgrade_free(struct master *m);

char *upgrade_program(const char *argv0) must_check;

#endif
