/*
 * rate: an exact sliding window, "at most `limit` in any `window_ms`", over all processes.
 *
 * The times of the last RATE_ENTRIES admissions stand in a circle of words. head counts admissions; the word it points
 * at holds the oldest one and is free once that is a window old. An admission is one CAS of that word, then one CAS
 * that moves head on; whoever finds the word taken but head not moved (its taker died or is slow) moves head itself.
 *
 * word  [lap:16][count:12][time, ms of CLOCK_MONOTONIC:36]. lap = head / entries + 1, so that a word of this lap, of
 *       the last lap and a stale one are told apart. Zeroed memory is an empty window.
 * A limit above RATE_ENTRIES groups ceil(limit / RATE_ENTRIES) admissions in a word with the time of the last: never
 * more than the limit in a window, and a window may close early by at most one group.
 * There is no burst allowance on top: the whole limit may be used at once, and then nothing until it slides out.
 *
 * rate_take   true: admitted. false: *retry_ms is when the next one can be. limit 0 means unlimited.
 */
#ifndef OMNIROUTE_SHARED_RATE_H
#define OMNIROUTE_SHARED_RATE_H

#include <stdatomic.h>

#include "shared/base.h"

#define RATE_ENTRIES 256
#define RATE_LIMIT_MAX (RATE_ENTRIES * 4095u)

struct rate_log {
	_Atomic uint64_t head;
	_Atomic uint64_t limit; /* the limit the circle was laid out for; a change of limit clears it */
	_Atomic uint64_t entry[RATE_ENTRIES];
};

bool rate_take(struct rate_log *r, uint64_t limit, uint64_t window_ms, uint64_t now_ms, uint64_t *retry_ms);
/* Admissions in the window that ends now; for display. */
uint64_t rate_used(const struct rate_log *r, uint64_t limit, uint64_t window_ms, uint64_t now_ms);

#endif
