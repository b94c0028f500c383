/*
 * start: the whole life of a master, from the parsed command line to its exit code.
 *
 * master_main        enum master_exit.
 * master_serving     a first worker is ready: pid file, first password, banner; acts once.
 * master_give_up     nothing can be served and never was: the reason is printed and the master
 *                    leaves with 1.
 * master_idle        for whoever has seen the last child go, or buried it: ends the loop of a
 *                    master that stops.
 * master_generation  a number that no process of this data directory ever had. 0: the store
 *                    refuses (full disk).
 */
#ifndef OMNIROUTE_MASTER_START_H
#define OMNIROUTE_MASTER_START_H

#include "master/master.h"
#include "master/options.h"

int master_main(const struct options *o, char **argv);
void master_serving(struct master *m);
void master_give_up(struct master *m, const char *why);
void master_idle(struct master *m);
uint64_t master_generation(struct master *m);

#endif
