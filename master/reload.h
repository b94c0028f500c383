/*
 * reload: the next configuration, complete before anything of it is in force.
 *
 * reload_complete  fills in what the configuration leaves to us: the pid file's place. E_NOMEM.
 */
#ifndef OMNIROUTE_MASTER_RELOAD_H
#define OMNIROUTE_MASTER_RELOAD_H

#include "master/conf.h"

int reload_complete(struct conf *c) must_check;

#endif
