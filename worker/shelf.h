/*
 * shelf: a worker's way to the stored responses: reads the cache itself, hands to the master what is to be kept or forgotten. Nothing
 * here waits; what does not fit into the channel, or into SHELF_WAITING_MAX bytes that the master has not answered for, is not kept
 * and counted.
 *
 * shelf_open   when serving begins; a cache that cannot be read is told in the log, and nothing is found then.
 * shelf_hand   h: op, owner, id and what else is known; see stored_pack. `done` (may be NULL) is called from the loop when the
 *              master has answered or has not for SHELF_WAIT_MS; shelf_forsake takes it back. Errors of stored_pack; E_FULL.
 * shelf_kept   the master's answer (inbox).
 * shelf_find   a record by id, or by the id of an item of it, in `a`. E_NOT_FOUND. *late: it may still be under way from some
 *              worker to the cache: ask again.
 * shelf_seek   calls `look` every few milliseconds until it returns true; with `last` set when there is no more use in waiting.
 *              shelf_seek_stop: may be called at any time, and when none runs.
 */
#ifndef OMNIROUTE_WORKER_SHELF_H
#define OMNIROUTE_WORKER_SHELF_H

#include <event2/event_struct.h>

#include "shared/arena.h"
#include "shared/stored.h"

#define SHELF_WAITING_MAX (128u << 20)
#define SHELF_WAIT_MS 10000u

struct shelf_seek {
	struct event timer;
	bool running;
	uint64_t until_ns;
	bool (*look)(void *ctx, bool last);
	void *ctx;
};

void shelf_open(void);
void shelf_close(void);
void shelf_tick(void);
int shelf_hand(struct stored_head *h, const struct span *item, struct span answer, struct span input,
    void (*done)(void *ctx, int error), void *ctx) must_check;
void shelf_forsake(const void *ctx);
void shelf_kept(uint64_t number, int error);
int shelf_find(struct arena *a, const uint8_t *owner, struct span id, bool item, const struct stored_head **out,
    bool *late) must_check;
int shelf_seek(struct shelf_seek *s, bool (*look)(void *ctx, bool last), void *ctx) must_check;
void shelf_seek_stop(struct shelf_seek *s);

#endif
