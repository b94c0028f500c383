/*
 * rate: an exact sliding window, "at most `limit` in any `window_ms`", over all processes.
 *
 * The times of the last `limit` admissions stand in a circle of words. head points at the oldest of them, which is free
 * once it is a window old. An admission is one CAS of that word, then one CAS that moves head on; whoever finds the
 * word taken but head not moved (its taker died or is slow) moves head itself. rate.c has the proof.
 *
 * head  [limit:20][lap:36][index:8]. limit is the one the circle was laid out for. A change of limit lays it out anew and
 *       empty, in the same CAS.
 * word  [lap:16][count:12][time, ms of CLOCK_MONOTONIC:36]. lap is that of head, so that a word of this lap, of the last
 *       lap and a stale one are told apart; 0 was never taken. Zeroed memory is an empty window.
 * A limit above RATE_ENTRIES puts ceil(limit / RATE_ENTRIES) admissions into one word, with the time of the last: never
 * more than the limit in a window, and a window may close early by at most one such group.
 * There is no burst allowance on top: the whole limit may be used at once, and then nothing until it slides out.
 *
 * rate_take   true: admitted. false: *retry_ms is when the next one can be. limit 0 means unlimited; what is above
 *             RATE_LIMIT_MAX counts as RATE_LIMIT_MAX. window_ms is at most RATE_WINDOW_MAX.
 * rate_used   admissions in the window that ends now; for display.
 * rate_clear  forgets all; one store.
 */
#ifndef OMNIROUTE_SHARED_RATE_H
#define OMNIROUTE_SHARED_RATE_H

#include <stdatomic.h>

#include "shared/base.h"

#define RATE_ENTRIES 256
#define RATE_LIMIT_MAX (RATE_ENTRIES * 4095u)
#define RATE_WINDOW_MAX (UINT64_C(1) << 35)

struct rate_log {
	_Atomic uint64_t head;
	_Atomic uint64_t entry[RATE_ENTRIES];
};

bool rate_take(struct rate_log *r, uint64_t limit, uint64_t window_ms, uint64_t now_ms, uint64_t *retry_ms);
uint64_t rate_used(const struct rate_log *r, uint64_t limit, uint64_t window_ms, uint64_t now_ms);
void rate_clear(struct rate_log *r);

#endif
