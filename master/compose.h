/*
 * compose: what a snapshot says: the configuration, the registry and the catalogue, with the
 * listeners of one set.
 *
 * compose_snapshot  a sealed, validated memfd in *fd (the caller's); 0 or an error that is logged
 * with its reason. Binds the slots of the live region to the connections and keys in it.
 */
#ifndef OMNIROUTE_MASTER_COMPOSE_H
#define OMNIROUTE_MASTER_COMPOSE_H

#include "master/listen.h"
#include "master/master.h"

int compose_snapshot(
    struct master *m, uint64_t number, const struct listen_set *listen, int *fd) must_check;

#endif
