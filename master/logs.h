/*
 * logs: the error log and the access log of master and workers. The master opens the files (workers
 * may run as a user who cannot) and sends the descriptors. A gateway in the background whose
 * log_file is stderr logs to omniroute.log in the data directory.
 *
 * logs_open    opens both as configured and puts level and format in force; what cannot be opened
 *              leaves the old sink, with a sentence in `err`: E_SYSTEM.
 * logs_path    of the error log; empty: standard error. E_TOO_LONG.
 * logs_send    the current descriptors to one worker (a channel).
 * logs_detach  background: standard input, output and error become /dev/null.
 */
#ifndef OMNIROUTE_MASTER_LOGS_H
#define OMNIROUTE_MASTER_LOGS_H

#include <limits.h>

#include "master/master.h"

int logs_open(struct master *m, const struct conf *c, struct buf *err) must_check;
int logs_path(const struct master *m, const struct conf *c, char path[PATH_MAX]) must_check;
int logs_send(const struct master *m, int channel) must_check;
void logs_detach(void);

#endif
