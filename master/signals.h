/*
 * signals: arrive through the loop, set a flag, and are served in the fixed order of one table:
 * children first, then the end, then the configuration, then the rest.
 */
#ifndef OMNIROUTE_MASTER_SIGNALS_H
#define OMNIROUTE_MASTER_SIGNALS_H

#include "master/master.h"

int signals_start(struct master *m) must_check;
void signals_free(struct master *m);

#endif
