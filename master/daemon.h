/*
 * daemon: -d. The parent waits until the gateway serves or has failed, prints what it is told and
 * leaves.
 *
 * daemon_fork    true in the child, with the line to the parent in *line; false in the parent,
 *                when all is said, with its exit code.
 * daemon_report  once: the text for the parent's standard output (serves) or standard error.
 *                Closes the line.
 */
#ifndef OMNIROUTE_MASTER_DAEMON_H
#define OMNIROUTE_MASTER_DAEMON_H

#include "shared/base.h"

bool daemon_fork(int *line, int *exit_code);
void daemon_report(int *line, bool serves, struct span text);

#endif
