/*
 * lock: the data directory belongs to one master (two, during an upgrade), and the pid file says
 * which.
 *
 * lock_dir     makes `dir` (mode 0700) and what is above it. E_SYSTEM, with a sentence in `err`.
 * lock_take    flock on <dir>/omniroute.lock; `inherited` is the predecessor's descriptor, or -1.
 *              The lock goes with the last master that holds it: workers never have the
 *              descriptor. E_BUSY: `err` says who holds it.
 * lock_sign    writes our pid into the lock file: we are the one in charge.
 * pidfile_write       atomic: never half a pid, never none. E_SYSTEM.
 * pidfile_remove      unless it names another process.
 * pidfile_set_aside   to "<path>.oldbin" while the next master runs; pidfile_bring_back when that
 *                     one is gone. pidfile_forget_old: the old master is gone, however it ended.
 */
#ifndef OMNIROUTE_MASTER_LOCK_H
#define OMNIROUTE_MASTER_LOCK_H

#include "shared/base.h"
#include "shared/buf.h"

int lock_dir(const char *dir, struct buf *err) must_check;
int lock_take(const char *dir, int inherited, int *fd, struct buf *err) must_check;
void lock_sign(int fd);

int pidfile_write(const char *path) must_check;
void pidfile_remove(const char *path);
void pidfile_set_aside(const char *path);
void pidfile_bring_back(const char *path);
void pidfile_forget_old(const char *path);

#endif
