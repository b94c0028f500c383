/*
 * client: one connection of the load: sends a prepared request, reads until the answer is complete.
 *
 * client_read  1: an answer is complete (status in c->status); 0: more to come; -1: the connection
 * is gone. c->closing: the other side closes after this answer, so the next request needs
 * client_open again.
 */
#ifndef OMNIROUTE_T_BENCH_CLIENT_H
#define OMNIROUTE_T_BENCH_CLIENT_H

#include "t/bench/bench.h"

struct client {
	int fd;
	char *in;
	size_t len, cap;
	size_t seen; /* streams: bytes already searched for time stamps */
	uint64_t due_ns;
	int status;
	bool busy, first, closing;
	bool streams; /* soak: this one asks for streams */
};

struct load {
	int port;
	struct client *c;
	unsigned n;
	char *req;
	size_t req_len;
	int loop;
	bool stream;
	const char *marker; /* stands in each good answer; NULL: only the status counts */
	struct load_result *r;
};

char *request_make(const struct target *t, size_t body, size_t reply, unsigned chunks,
    unsigned interval, size_t *len);
int client_open(struct load *l, struct client *c);
void client_send(struct client *c, const char *req, size_t len, uint64_t due);
int client_read(struct load *l, struct client *c);

#endif
