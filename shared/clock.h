/*
 * clock: the only place that reads the time. Everything else takes `now` as a parameter.
 *
 * clock_now_ns      CLOCK_MONOTONIC in nanoseconds: for durations and for the live region.
 * clock_wall_us     CLOCK_REALTIME in microseconds since 1970: for what is stored or shown.
 * clock_format_iso  writes 2026-01-31T12:34:56.789Z (25 bytes with NUL) for a wall time.
 */
#ifndef OMNIROUTE_SHARED_CLOCK_H
#define OMNIROUTE_SHARED_CLOCK_H

#include "shared/base.h"

#define CLOCK_ISO_LEN 25

uint64_t clock_now_ns(void);
uint64_t clock_wall_us(void);
void clock_format_iso(uint64_t wall_us, char out[CLOCK_ISO_LEN]);

#endif
