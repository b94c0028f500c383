/*
 * notify: what the service manager wants to know, one datagram each to $NOTIFY_SOCKET
 * (sd_notify(3)). Nothing happens when that is not set. Never blocks; a lost datagram is logged.
 */
#ifndef OMNIROUTE_MASTER_NOTIFY_H
#define OMNIROUTE_MASTER_NOTIFY_H

#include "shared/base.h"

void notify_ready(void); /* this process is the main one and serves; also ends a reload */
void notify_reloading(void);
void notify_stopping(void);

#endif
