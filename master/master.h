/*
 * master: what the parts of the master share. One process, one libevent loop; nothing here blocks but the store's
 * commits. The parts call each other only through this header and their own.
 *
 *   conf       the configuration in force            registry   connections and client keys, in the store
 *   start      from nothing to serving, and back     compose    what a snapshot says
 *   spawn      birth of a worker                     publish    snapshots: build, send, wait for all
 *   supervise  death, respawn, heartbeat, retiring   usage      rings and spool into the store
 *   signals    flags drained in a fixed order        control    the method table on control.sock
 *   reload     the next configuration                listen     listening sockets and their certificates
 *   upgrade    the next master                       peer       the line between two masters
 *   stored     responses that clients may come back to, in the cache
 *   lock       data directory, pid file              notify     sd_notify
 */
#ifndef OMNIROUTE_MASTER_MASTER_H
#define OMNIROUTE_MASTER_MASTER_H

#include "master/conf.h"
#include "shared/base.h"
#include "shared/live.h"
#include "shared/seal.h"

struct event_base;
struct store;
struct curlio;
struct supervisor;
struct publisher;
struct control;
struct listen_set;
struct usage;
struct signals;
struct peer;
struct stored;
struct upgrade;

struct master {
	struct event_base *base;
	struct conf *conf;
	struct conf_override override;
	struct store *store;
	struct seal_key seal;
	uint8_t key_salt[32];   /* for key_digest; in the store, sealed */
	struct live *live;
	int live_fd, event_fd;  /* inherited by workers */
	struct curlio *curl;    /* connection tests; later health, OAuth */
	uint64_t generation;    /* of this master; live_worker.owner */
	uint64_t started_ns, started_wall_us;
	struct supervisor *supervisor;
	struct publisher *publisher;
	struct control *control;
	bool stopping;
	int exit_code;

	struct listen_set *listen; /* in force; workers of an earlier configuration may hold another */
	struct usage *usage;
	struct stored *stored;
	int cache_fd;   /* inherited by workers: the folder of the cache, or /dev/null */
	struct signals *signals;
	struct peer *predecessor, *successor; /* NULL: no such master runs */
	struct upgrade *upgrade;              /* NULL: no next master was started */
	uint64_t next_generation, last_generation; /* reserved in the store */
	int exe_fd;      /* our own program, whatever lies on disk now */
	char *exe_path;  /* where the next master is found */
	char **argv;     /* as we were started */
	int lock_fd, access_fd;
	bool daemon;     /* -d: started in the background */
	bool serving;    /* a worker has been ready */
};

/* publish: a change of the store or the configuration goes to all workers. */
struct publish_outcome {
	int error;             /* 0, or why no snapshot could be built (nothing was changed then) */
	uint64_t number;
	unsigned workers;      /* that have taken it into use */
	unsigned late;         /* that have not yet (hung); they cannot serve with the old one: see live_worker.want_snap */
};
typedef void publish_done(void *ctx, const struct publish_outcome *o);
/* `done` may be NULL. It is called once, from the loop, when all workers have answered or after 2 s. */
void publish_now(struct master *m, publish_done *done, void *ctx);
uint64_t publish_number(const struct master *m);

/* supervise: one row per worker of this master, for status. */
struct worker_view {
	unsigned slot;
	int pid;
	uint64_t generation;
	enum live_worker_state state;
	uint64_t started_ns;
};
unsigned supervise_view(const struct master *m, struct worker_view *out, unsigned max);

/* Actions of signals and control methods; each is idempotent. They return at once; the outcome shows in the log. */
int master_reload(struct master *m, struct buf *err) must_check; /* HUP: 0, or the reason why the old one stays */
void master_reopen(struct master *m);                            /* USR1 */
void master_retire(struct master *m);                            /* WINCH */
void master_stop(struct master *m, bool graceful);               /* QUIT, TERM/INT */
typedef void upgrade_done(void *ctx, int error, int new_pid, const char *why);
/* USR2: starts the next master; `done` (may be NULL) when it serves or has failed. */
void master_upgrade(struct master *m, upgrade_done *done, void *ctx);

/* control */
int control_start(struct master *m, int inherited_fd) must_check; /* -1: bind data_dir/control.sock */
int control_listen_fd(const struct master *m);
void control_pause(struct master *m, bool paused); /* while another master answers the same socket */
void control_free(struct master *m, bool unlink_socket);

/* Test of a connection (control method connection.test): one models call, asynchronous. */

#endif
