/*
 * conntest: does a connection work? One GET of its models, asynchronous, over m->curl: at most 15
 * s, 4 MiB of answer, no redirect, no proxy of the environment; the address is checked again when
 * connecting. A built-in provider needs no call.
 *
 * conntest_start   copies what it needs of `c`. `done` is called once, from the loop; the outcome
 * is valid inside it. NULL: out of memory. conntest_cancel  no call-back after this. Not from
 * `done`.
 */
#ifndef OMNIROUTE_MASTER_CONNTEST_H
#define OMNIROUTE_MASTER_CONNTEST_H

#include "master/registry.h"

struct conntest;

struct conntest_outcome {
	bool valid;
	int status; /* HTTP; 0: none came */
	uint32_t latency_ms;
	unsigned models;     /* that the upstream listed */
	const char *failure; /* label of shared/failure.def; "none" */
	const char *message; /* a sentence, without secrets */
};
typedef void conntest_done(void *ctx, const struct conntest_outcome *o);

struct conntest *conntest_start(
    struct master *m, const struct connection *c, conntest_done *done, void *ctx) must_check;
void conntest_cancel(struct conntest *t);

#endif
