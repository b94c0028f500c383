/*
 * peer: the line between the two masters of a binary upgrade: a SOCK_SEQPACKET pair. Its end of
 * file is the other's end.
 *
 *   SERVING    new to old: my workers serve; the control socket is mine
 *   PUBLISH    the store has changed: give your workers what it says now
 *   PUBLISHED  they have it; arg as in PUBLISH
 *   FAILED     new to old: why I cannot serve, a sentence
 *
 * A change that is answered is thus in force on the workers of both. peers_behind says whether one
 * has still to answer for this snapshot of ours.
 *
 * peer_new     takes `fd`. NULL: out of memory.
 * peer_failed  on the bare descriptor: the new one may fail before it has a loop.
 * peer_read    what has come so far; for whoever learns of the other's end in another way.
 */
#ifndef OMNIROUTE_MASTER_PEER_H
#define OMNIROUTE_MASTER_PEER_H

#include "master/master.h"

enum peer_side { PEER_PREDECESSOR, PEER_SUCCESSOR };

struct peer *peer_new(struct master *m, enum peer_side side, int fd) must_check;
void peer_free(struct peer *p);
void peer_serving(struct peer *p);
int peer_fd(const struct peer *p);
void peer_failed(int fd, const char *why);
void peer_read(struct peer *p);
void peers_publish(struct master *m, uint64_t number, bool ours);
bool peers_behind(const struct master *m, uint64_t number);

#endif
