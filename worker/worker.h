/*
 * worker: the process that serves clients: what its parts share, and its life.
 *
 *   worker    loop, channel, snapshots, heartbeat    http      connections, requests, replies
 *   endpoint  path to handler, keys before bodies    exchange  one chat: targets, relay, accounting
 *   view      models, health, metrics                accesslog
 *
 * There is one worker in a process and one thread in a worker, so that it is a plain object. worker_main
 * (shared/channel.h) fills it in before anything else runs.
 *
 * worker_snapshot     the snapshot in force, borrowed: snapshot_get it to keep it past this call-back. When the
 *                     live region says that a newer one was sent (want_snap), it is taken first, so that a key that was
 *                     removed is refused from the moment at which the removal was answered.
 * worker_wake_master  after ring_close: the master looks at the rings. Cheap, never blocks.
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
