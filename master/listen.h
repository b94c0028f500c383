/*
 * listen: the listening sockets of one configuration, in its order, with the certificates of those
 * that speak TLS. A worker inherits the sockets of one set and is sent snapshots that list exactly
 * that set, so that its descriptors and the ordinals in the snapshot agree even while a reload
 * replaces the listeners.
 *
 * listen_open     a set for `c`. What `old` or the inherited descriptors have of the same name is
 *                 duplicated, the rest is bound; an address that is taken is tried again for
 *                 wait_ms (workers of a killed master leave it within that time). A Unix socket's
 *                 file is replaced only when nobody answers on it. 0, or an error with a sentence
 *                 in `err`; nothing has changed then.
 * listen_same     the same names in the same order: no worker has to be replaced.
 * listen_renew    moves the certificates of `from` into `to`; the sets are listen_same.
 * listen_get/_put references. The last put closes the sockets and wipes the keys.
 * listen_close    closes the sockets now: nobody shall wait in a queue that is not served. The
 *                 names stay.
 * listen_unlink   removes the files of the Unix sockets of `s` that `keep` (may be NULL) does not
 *                 have.
 */
#ifndef OMNIROUTE_MASTER_LISTEN_H
#define OMNIROUTE_MASTER_LISTEN_H

#include "master/conf.h"
#include "shared/base.h"
#include "shared/buf.h"

struct listener {
	char *name;
	int fd;
	bool is_unix, loopback, tls;
	bool bound;                          /* the file of a Unix socket is ours to remove */
	struct buf certificate, private_key; /* PEM */
};

struct listen_set {
	unsigned refs, n;
	struct listener *v;
};

/* A listening socket handed over by the predecessor. */
struct listen_inherited {
	char *name;
	int fd; /* -1: used up */
};

int listen_open(const struct conf *c, const struct listen_set *old,
    const struct listen_inherited *inherited, unsigned ninherited, unsigned wait_ms,
    struct listen_set **out, struct buf *err) must_check;
bool listen_same(const struct listen_set *a, const struct listen_set *b);
void listen_renew(struct listen_set *to, struct listen_set *from);
struct listen_set *listen_get(struct listen_set *s);
void listen_put(struct listen_set *s);
void listen_close(struct listen_set *s);
void listen_unlink(const struct listen_set *s, const struct listen_set *keep);

#endif
