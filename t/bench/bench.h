/*
 * bench: compares a direct connection, nginx proxy_pass and OmniRoute, alternating in one run on
 * one machine.
 *
 *   core 0   the proxy's one worker          core 1   load generator, upstream, OmniRoute's master
 *
 * origin.c   the instant upstream        load.c    closed loop, fixed rate and streams
 * client.c   one connection of it    soak.c    endless load that counts what fails
 * target.c   starts and pins nginx and OmniRoute      stats.c   percentiles
 * cross.c    one dialect to another, against OmniRoute's own pass-through
 * inner.c    the same translation without a process around it       prompt.c   their texts
 */
#ifndef OMNIROUTE_T_BENCH_H
#define OMNIROUTE_T_BENCH_H

#include <stdio.h>
#include <sys/types.h>

#include "shared/base.h"

/* Requests carry the wish in a header, so that one origin serves all measurements. */
#define ORIGIN_HEADER \
	"traceparent" /* passes every proxy: 00-<reply bytes>-<chunks>-<interval ms> */

/* A child process that serves on 127.0.0.1; returns its pid and the port. */
pid_t origin_start(int cpu, int *port);

/* What is spoken on a connection: by the client to the proxy, and to the origin, which knows both.
 */
enum wire { WIRE_CHAT, WIRE_MESSAGES };

enum target_kind { TARGET_DIRECT, TARGET_NGINX, TARGET_OMNIROUTE, TARGET_KINDS };

struct target {
	enum target_kind kind;
	const char *name;
	int port;
	pid_t pid, worker; /* worker: the process that proxies; 0 for direct */
	char key[96];      /* client key; empty: none */
	char dir[128];
	const char *model; /* what clients ask for */
	enum wire client;  /* what they speak */
	bool prose;        /* what they say: prompt.c; else one letter again and again */
};

int target_start(
    struct target *t, enum target_kind kind, const char *build, int origin_port, int cpu);
void target_stop(struct target *t);
/* CPU time of worker and master so far, ns; of the worker alone. */
uint64_t target_cpu_ns(const struct target *t);
uint64_t target_worker_ns(const struct target *t);
/* Memory of the worker in KB: resident, and its own share of shared pages (PSS). */
void target_memory(const struct target *t, uint64_t *rss_kb, uint64_t *pss_kb);

struct samples {
	double *v; /* microseconds */
	size_t n, cap;
};
void samples_add(struct samples *s, double v);
double samples_at(struct samples *s, double quantile); /* sorts */
void samples_free(struct samples *s);

struct load_result {
	uint64_t requests, errors;
	double seconds;
	struct samples latency; /* rate and stream: to the first byte of the body for streams */
	struct samples chunk;   /* streams: delay of each chunk from the origin's write to here */
	uint64_t stalls;        /* chunks later than 35 ms */
};
void load_result_free(struct load_result *r);

/* `conns` keep-alive connections, each sends the next request when its answer is complete. Bodies
 * of `body` bytes, answers of `reply`. */
int load_closed(const struct target *t, unsigned conns, size_t body, size_t reply, double seconds,
    struct load_result *r);
/* Requests at a fixed rate; latency counts from the moment at which a request was due. */
int load_rate(const struct target *t, unsigned conns, size_t body, double rate, double seconds,
    struct load_result *r);
/* `conns` streams at once of `chunks` events, one each `interval_ms`; `held` (may be NULL) is
 * called when all are open. */
int load_streams(const struct target *t, unsigned conns, unsigned chunks, unsigned interval_ms,
    void (*held)(void *ctx), void *ctx, struct load_result *r);

/* The second table: `t` is OmniRoute. How many bars were missed. */
int cross(const struct target *t, FILE *out);

/* CPU time of the translation alone, in this process, from one dialect to the other: microseconds
 * for a request of `body` bytes, a whole answer of `reply` bytes, one chunk of a stream. */
struct inner {
	double request, whole, chunk;
};
int inner_measure(
    enum wire client, enum wire upstream, size_t body, size_t reply, struct inner *in);

/* A request of `body` bytes without HTTP around it, malloc'ed; *len is exact unless `body` is
 * smaller than what has to be said. */
char *prompt_make(
    enum wire w, const char *model, size_t body, bool stream, bool prose, size_t *len);
/* A whole answer of `want` bytes, likewise. */
char *reply_make(enum wire w, size_t want, size_t *len);
/* Event `i` of `n` of a stream, with the time in its text (STAMP); bytes written, < 1024. */
#define STAMP "@t="
size_t event_make(enum wire w, unsigned i, unsigned n, uint64_t ns, char out[1024]);

/* soak PORT KEY MODEL CONNECTIONS STREAMS; see soak.c. */
int soak(char **argv);

uint64_t now_ns(void);
void pin(pid_t pid, int cpu);

#endif
