/*
 * inherit: what one master leaves to the next: descriptors by number, named in the environment
 * variable OMNIROUTE_INHERIT, one per line: "<kind> <number> <name>". Kinds: live, lock, peer,
 * control, listen.
 *
 * inherit_take   reads the variable, removes it, makes the descriptors close-on-exec. false: we
 *                were not started by a master.
 * inherit_clear  closes the listening sockets: whoever wanted one has duplicated it.
 * inherit_write  adds a line; buf_ok(out) tells.
 */
#ifndef OMNIROUTE_MASTER_INHERIT_H
#define OMNIROUTE_MASTER_INHERIT_H

#include "master/listen.h"
#include "shared/base.h"
#include "shared/buf.h"

#define INHERIT_VARIABLE "OMNIROUTE_INHERIT"
#define INHERIT_MAX 65536
#define INHERIT_LISTENERS 256

struct inherit {
	int live, lock, peer, control; /* -1: none */
	struct listen_inherited *listener;
	unsigned nlisteners;
};

bool inherit_take(struct inherit *in);
/* The same, from text: for the tests. Does not touch the descriptors. */
bool inherit_parse(const char *text, struct inherit *in);
void inherit_clear(struct inherit *in);
void inherit_write(struct buf *out, const char *kind, int fd, const char *name);

#endif
