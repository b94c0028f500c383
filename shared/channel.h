/*
 * channel: messages between a master and one of its workers, over an inherited SOCK_SEQPACKET pair. One message is one
 * packet: struct channel_msg and up to CHANNEL_FDS descriptors. A packet of another size or version is refused
 * (E_SYNTAX): fatal to the receiver in a worker, death of that worker in the master. End of file (E_CLOSED) means that
 * the other side is gone: a worker then leaves, gracefully.
 *
 * channel_send  never blocks: E_AGAIN when the socket is full (the master counts such a worker as hung). Fills in the
 *               version. The descriptors stay the caller's.
 * channel_recv  never blocks: E_AGAIN when there is nothing. Received descriptors are close-on-exec and the caller's.
 */
#ifndef OMNIROUTE_SHARED_CHANNEL_H
#define OMNIROUTE_SHARED_CHANNEL_H

#include "shared/base.h"

#define CHANNEL_VERSION 2
#define CHANNEL_FDS 2

enum channel_type {
	/* master to worker */
	MSG_SNAPSHOT, /* arg: number; fd 0: the memfd */
	MSG_RETIRE,   /* stop accepting, finish what is in hand within the shutdown timeout, leave */
	MSG_STOP,     /* leave at once */
	MSG_LOGS,     /* fd 0: error log, fd 1: access log (arg bit 0: there is one) */
	/* worker to master */
	MSG_READY,    /* serving */
	MSG_TAKEN,    /* arg: number of the snapshot now in use */
	MSG_REFUSED,  /* arg: number of a snapshot that is not valid; arg2: the error */
	MSG_KEEP,     /* arg: a number; fd 0: a record of shared/stored.h */
	/* master to worker */
	MSG_KEPT,     /* arg: that number; arg2: 0 when it is on disk, or the error */
	MSG_TYPES
};

struct channel_msg {
	uint32_t version;
	uint32_t type; /* enum channel_type */
	uint64_t arg, arg2;
};

int channel_pair(int fds[2]) must_check;
int channel_send(int fd, const struct channel_msg *m, const int *fds, unsigned nfds) must_check;
int channel_recv(int fd, struct channel_msg *m, int fds[CHANNEL_FDS], unsigned *nfds) must_check;

/*
 * What a worker inherits, by number. The master dup2()s them there between fork and exec; listening sockets follow
 * from WORKER_FD_LISTEN on, in the order of the snapshot's ordinals.
 */
enum worker_fd {
	WORKER_FD_CHANNEL = 3,
	WORKER_FD_LIVE = 4,
	WORKER_FD_EVENT = 5,  /* eventfd: "look at the rings" */
	WORKER_FD_SPOOL = 6,  /* locked file that takes the unread ring when the master is gone (see shared/spool.h) */
	WORKER_FD_LOG = 7,    /* error log */
	WORKER_FD_ACCESS = 8, /* access log, or /dev/null */
	WORKER_FD_CACHE = 9,  /* folder of the cache (see shared/stored_cache.h), or /dev/null */
	WORKER_FD_LISTEN = 10,
};

/*
 * The worker role. argv: omniroute: worker --slot N --generation G --listeners K. Runs until it is told to leave; the
 * exit code is one of enum worker_exit. Defined in worker/worker.c, called by main alone.
 */
enum worker_exit {
	WORKER_EXIT_OK = 0,
	WORKER_EXIT_FAILED = 1,    /* start again, with back-off */
	WORKER_EXIT_NO_RETRY = 2,  /* it would only happen again: bad snapshot version, live region refused */
};
struct worker_args {
	unsigned slot, listeners;
	uint64_t generation;
};
int worker_main(const struct worker_args *args);

#endif
