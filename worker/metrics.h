/*
 * metrics: GET /metrics in the text format of Prometheus, 0.0.4: summed over all workers from the
 * live region, whichever answers. The families stand in metrics.def and shared/counters.def;
 * omniroute-internals(7) lists them.
 *
 * metrics_head   the head of the endpoint.
 * metrics_write  the page, into `b`; buf_ok says whether all of it fits. `snap` gives providers and
 *                connections their names; what is no longer in it is not shown.
 */
#ifndef OMNIROUTE_WORKER_METRICS_H
#define OMNIROUTE_WORKER_METRICS_H

#include "shared/buf.h"
#include "worker/endpoint.h"

struct live;

void metrics_head(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);
void metrics_write(struct buf *b, const struct live *live, struct snapshot *snap, uint64_t now_ns);

#endif
