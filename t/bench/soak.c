/*
 * soak: load without end, for the tests that reload, upgrade and kill. CONNECTIONS keep-alive
 * connections ask for plain answers one after another, STREAMS connections for streams of about two
 * seconds. A connection that closes after an answer that said so is opened again; everything else
 * that breaks is counted. When standard input ends nothing new is started, what is open is
 * finished, and one line of JSON is printed:
 *
 *   {"requests":n,"streams":n,"failed":n,"cut":n,"refused":n,"max_ms":n,"errors":["…"]}
 *
 * failed: plain requests without a 200 of full length. cut: streams that began and did not reach
 * [DONE]. refused: connections that could not be made. A line "s N" on standard output tells each
 * second how many answers there were.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "t/bench/client.h"

struct soak {
	struct load l;
	struct load_result r;
	char *plain, *stream;
	size_t plain_len, stream_len;
	uint64_t requests, streams, failed, cut, refused, max_ns;
	unsigned open;
	bool ending;
	char errors[8][160];
	unsigned nerrors;
};

static void
note(struct soak *s, const struct client *c, bool closed)
{
	char head[64];
	size_t n = 0;

	/* Connections that closed leave room for answers that were wrong: those say why. */
	if (s->nerrors == NELEM(s->errors) || (closed && s->nerrors >= NELEM(s->errors) / 2))
		return;
	for (size_t i = 0; i < c->len && n < sizeof(head) - 1; i++)
		if (c->in[i] >= ' ' && c->in[i] != '"' && c->in[i] != '\\')
			head[n++] = c->in[i];
	head[n] = '\0';
	snprintf(s->errors[s->nerrors++], sizeof(s->errors[0]), "%s: %s after %llu ms: %s",
	    c->streams ? "stream" : "plain", closed ? "connection closed" : "not a whole 200",
	    (unsigned long long)((now_ns() - c->due_ns) / NS_PER_MS), head);
}

static void
ask(struct soak *s, struct client *c)
{
	if (c->fd < 0 && client_open(&s->l, c) != 0) {
		s->refused++;
		return;
	}
	client_send(c, c->streams ? s->stream : s->plain, c->streams ? s->stream_len : s->plain_len,
	    now_ns());
	s->open++;
}

static void
drop(struct client *c)
{
	close(c->fd);
	c->fd = -1;
}

static void
answered(struct soak *s, struct client *c, int done)
{
	bool whole = done > 0 && c->status == 200 &&
		     (!c->streams || memmem(c->in, c->len, "data: [DONE]", 12) != NULL);

	s->open--;
	if (whole) {
		s->max_ns = MAX(s->max_ns, c->streams ? 0 : now_ns() - c->due_ns);
		*(c->streams ? &s->streams : &s->requests) += 1;
	} else {
		note(s, c, done < 0);
		*(c->streams && c->len > 0 ? &s->cut : &s->failed) += 1;
	}
	if (done < 0 || c->closing)
		drop(c);
}

static void
handle(struct soak *s, struct client *c)
{
	bool was_busy = c->busy;
	int done = client_read(&s->l, c);

	if (done == 0)
		return;
	if (was_busy)
		answered(s, c, done);
	else
		drop(c); /* an idle connection was closed: no harm done */
	if (!s->ending)
		ask(s, c);
}

static void
report(struct soak *s)
{
	printf("{\"requests\":%llu,\"streams\":%llu,\"failed\":%llu,\"cut\":%llu,\"refused\":%llu,"
	       "\"max_ms\":%llu,\"errors\":[",
	    (unsigned long long)s->requests, (unsigned long long)s->streams,
	    (unsigned long long)s->failed, (unsigned long long)s->cut,
	    (unsigned long long)s->refused, (unsigned long long)(s->max_ns / NS_PER_MS));
	for (unsigned i = 0; i < s->nerrors; i++)
		printf("%s\"%s\"", i ? "," : "", s->errors[i]);
	printf("]}\n");
	fflush(stdout);
}

/* Once a second: the running count, and another try for connections that were refused. */
static void
each_second(struct soak *s)
{
	printf("s %llu\n", (unsigned long long)(s->requests + s->streams));
	fflush(stdout);
	for (unsigned i = 0; i < s->l.n && !s->ending; i++)
		if (s->l.c[i].fd < 0)
			ask(s, &s->l.c[i]);
}

int
soak(char **argv)
{
	static struct soak s;
	unsigned conns = (unsigned)atoi(argv[3]), streams = (unsigned)atoi(argv[4]);
	uint64_t second = now_ns() + NS_PER_SEC;
	struct target t = {.model = argv[2]};

	s.l = (struct load){.port = atoi(argv[0]),
	    .n = conns + streams,
	    .r = &s.r,
	    .loop = epoll_create1(EPOLL_CLOEXEC)};
	s.l.c = calloc(s.l.n, sizeof(*s.l.c));
	snprintf(t.key, sizeof(t.key), "%s", argv[1]);
	s.plain = request_make(&t, 1024, 1024, 0, 0, &s.plain_len);
	s.stream = request_make(&t, 1024, 0, 40, 50, &s.stream_len);
	if (s.l.c == NULL || s.l.loop < 0)
		return 1;
	for (unsigned i = 0; i < s.l.n; i++) {
		s.l.c[i].fd = -1;
		s.l.c[i].streams = i >= conns;
		ask(&s, &s.l.c[i]);
	}
	while (!s.ending || s.open > 0) {
		struct epoll_event evs[128];
		struct pollfd in = {.fd = 0, .events = POLLIN};
		char junk[64];
		int n = epoll_wait(s.l.loop, evs, NELEM(evs), 50);

		for (int i = 0; i < n; i++)
			handle(&s, evs[i].data.ptr);
		if (!s.ending && poll(&in, 1, 0) > 0 && read(0, junk, sizeof(junk)) <= 0)
			s.ending = true;
		if (now_ns() >= second) {
			second += NS_PER_SEC;
			each_second(&s);
		}
	}
	report(&s);
	for (unsigned i = 0; i < s.l.n; i++) {
		if (s.l.c[i].fd >= 0)
			close(s.l.c[i].fd);
		free(s.l.c[i].in);
	}
	free(s.l.c);
	free(s.plain);
	free(s.stream);
	samples_free(&s.r.latency);
	samples_free(&s.r.chunk);
	return 0;
}
