/*
 * worker: the process that serves clients: what its parts share, and its life.
 *
 *   worker    start, loop, heartbeat, end            http      connections, requests, replies
 *   inbox     messages of the master, the snapshot   exchange  one chat: targets, relay, accounting
 *   endpoint  path to handler, keys before bodies    view      models, health
 *   auth      who asks, and may they                 metrics, accesslog
 *
 * There is one worker in a process and one thread in a worker, so that it is a plain object.
 * worker_main (shared/channel.h) fills it in before anything else runs.
 *
 * worker_snapshot     the snapshot in force, borrowed: snapshot_get it to keep it past this
 *                     call-back. When the live region says that a newer one was sent (want_snap),
 *                     it is taken first, so that a key that was removed is refused from the moment
 *                     at which the removal was answered.
 * worker_wake_master  after ring_close: the master looks at the rings, a moment later or, when
 *                     there are many records, at once. Cheap, never blocks.
 *
 * Orders come over the channel. MSG_RETIRE, or its end of file: no new connections, what is in hand
 * is finished within shutdown_timeout. MSG_STOP: everything is broken off and booked. Of the
 * signals only TERM means something, the same as MSG_STOP; INT, QUIT and HUP are ignored, for a
 * terminal sends them to the whole group and the master decides. Without a master the records that
 * nobody read go to the spool. The exit code is one of enum worker_exit.
 */
#ifndef OMNIROUTE_WORKER_WORKER_H
#define OMNIROUTE_WORKER_WORKER_H

#include "shared/base.h"
#include "shared/live.h"

struct event_base;
struct ring_writer;
struct curlio;
struct http_server;
struct snapshot;

struct worker {
	struct event_base *base;
	struct live *live;
	struct live_worker *me;
	unsigned slot;
	uint64_t generation;
	struct ring_writer *ring;
	struct curlio *curl;
	struct http_server *http;
	bool retiring;
};
extern struct worker worker;

struct snapshot *worker_snapshot(void);
void worker_wake_master(void);

#endif
