/*
 * peer: the line between the two masters of a binary upgrade: a SOCK_SEQPACKET pair. Its end of
 * file is the other's end.
 *
 *   SERVING    new to old: my workers serve; the control socket is mine
 *   PUBLISH    the store has changed: give your workers what it says now
 *   PUBLISHED  they have it; arg as in PUBLISH
 *
 * A change that is answered is thus in force on the workers of both. peers_behind says whether one
 * has still to answer for this snapshot of ours.
 *
 * peer_new   takes `fd`. NULL: out of memory.
 */
#ifndef OMNIROUTE_MASTER_PEER_H
#define OMNIROUTE_MASTER_PEER_H

#include "master/master.h"

enum peer_side { PEER_PREDECESSOR, PEER_SUCCESSOR };

struct peer *peer_new(struct master *m, enum peer_side side, int fd) must_check;
void peer_free(struct peer *p);
void peer_serving(struct peer *p);
void peers_publish(struct master *m, uint64_t number, bool ours);
bool peers_behind(const struct master *m, uint64_t number);

#endif
