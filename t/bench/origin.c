/*
 * origin: an upstream that answers at once, so that what is measured is the proxy. One process,
 * epoll, no parsing beyond what it needs. Each streamed chunk carries the time of its write ("t"),
 * from which the receiver takes its delay.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "t/bench/bench.h"

struct peer {
	int fd;
	char *in;
	size_t len, cap;
	unsigned chunks, chunks_left, interval_ms;
	enum wire wire;
	uint64_t next_ns;
	struct peer *next; /* list of those that stream */
	bool streaming;
};

static struct peer *streams;
static int loop_fd, timer_fd;

uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void
peer_close(struct peer *p)
{
	for (struct peer **q = &streams; *q != NULL; q = &(*q)->next)
		if (*q == p) {
			*q = p->next;
			break;
		}
	close(p->fd);
	free(p->in);
	free(p);
}

static bool
send_all(struct peer *p, const char *s, size_t n)
{
	while (n > 0) {
		ssize_t w = send(p->fd, s, n, MSG_NOSIGNAL);

		if (w < 0 && errno == EAGAIN)
			continue; /* the buffers of a loopback socket hold any answer of ours; rare
				   */
		if (w < 0)
			return false;
		s += w;
		n -= (size_t)w;
	}
	return true;
}

static bool
send_chunk(struct peer *p)
{
	char ev[1024], out[1100];
	size_t n = event_make(p->wire, p->chunks - p->chunks_left, p->chunks, now_ns(), ev);
	int m = snprintf(out, sizeof(out), "%zx\r\n%.*s\r\n%s", n, (int)n, ev,
	    p->chunks_left == 1 ? "0\r\n\r\n" : "");

	p->chunks_left--;
	return send_all(p, out, (size_t)m);
}

/* The body of an answer that is not streamed: valid JSON of `want` bytes, with usage. Made once for
 * each size. */
static const char *
json_body(enum wire w, size_t want)
{
	static char *cached[2];
	static size_t cached_n[2];

	if (cached_n[w] == want)
		return cached[w];
	free(cached[w]);
	cached[w] = reply_make(w, want, &cached_n[w]);
	return cached[w];
}

static bool
answer(struct peer *p, const char *head)
{
	unsigned long bytes = 1024, chunks = 0, interval = 0;
	const char *wish = strcasestr(head, ORIGIN_HEADER ":");
	char line[256];
	int n;

	p->wire = strncmp(head, "POST /v1/messages", 17) == 0 ? WIRE_MESSAGES : WIRE_CHAT;
	if (wish != NULL)
		sscanf(wish + sizeof(ORIGIN_HEADER), " 00-%lu-%lu-%lu", &bytes, &chunks, &interval);
	if (chunks == 0) {
		n = snprintf(line, sizeof(line),
		    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
		    "%lu\r\n\r\n",
		    bytes);
		if (bytes <= 4096) {
			char both[8192];

			memcpy(both, line, (size_t)n);
			memcpy(both + n, json_body(p->wire, bytes), bytes);
			return send_all(p, both, (size_t)n + bytes);
		}
		return send_all(p, line, (size_t)n) &&
		       send_all(p, json_body(p->wire, bytes), bytes);
	}
	n = snprintf(line, sizeof(line),
	    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: "
	    "chunked\r\n\r\n");
	p->chunks = p->chunks_left = (unsigned)chunks;
	p->interval_ms = (unsigned)interval;
	p->next_ns = now_ns() + interval * NS_PER_MS;
	if (!send_all(p, line, (size_t)n) || !send_chunk(p))
		return false;
	if (p->chunks_left > 0 && !p->streaming) {
		p->streaming = true;
		p->next = streams;
		streams = p;
	}
	return true;
}

/* Serves every complete request in the buffer. */
static bool
serve(struct peer *p)
{
	for (;;) {
		char *end = memmem(p->in, p->len, "\r\n\r\n", 4);
		const char *cl;
		size_t head, body = 0;

		if (end == NULL)
			return true;
		head = (size_t)(end - p->in) + 4;
		*end = '\0';
		cl = strcasestr(p->in, "content-length:");
		if (cl != NULL)
			body = strtoul(cl + 15, NULL, 10);
		if (p->len < head + body) {
			*end = '\r';
			return true;
		}
		if (!answer(p, p->in))
			return false;
		memmove(p->in, p->in + head + body, p->len - head - body);
		p->len -= head + body;
	}
}

static bool
readable(struct peer *p)
{
	ssize_t n;

	if (p->cap - p->len < 65536) {
		p->cap = p->len + 131072;
		p->in = realloc(p->in, p->cap);
		if (p->in == NULL)
			abort();
	}
	n = recv(p->fd, p->in + p->len, p->cap - p->len - 1, 0);
	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0)
		return false;
	p->len += (size_t)n;
	p->in[p->len] = '\0';
	if (!serve(p))
		return false;
	if (p->len == 0 && p->streaming) { /* thousands of open streams must not hold 128 KB each */
		free(p->in);
		p->in = NULL;
		p->cap = 0;
	}
	return true;
}

static void
tick(void)
{
	uint64_t now = now_ns(), junk;
	struct peer *p, *next;

	if (read(timer_fd, &junk, sizeof(junk)) < 0)
		return;
	for (p = streams; p != NULL; p = next) {
		next = p->next;
		if (p->next_ns > now)
			continue;
		p->next_ns += p->interval_ms * NS_PER_MS;
		if (!send_chunk(p)) {
			peer_close(p);
		} else if (p->chunks_left == 0) {
			for (struct peer **q = &streams; *q != NULL; q = &(*q)->next)
				if (*q == p) {
					*q = p->next;
					break;
				}
			p->streaming = false;
		}
	}
}

static _Noreturn void
run(int listen_fd)
{
	struct epoll_event ev = {.events = EPOLLIN}, evs[256];
	struct itimerspec every = {.it_interval.tv_nsec = 1000000, .it_value.tv_nsec = 1000000};
	static int listener, timer;

	loop_fd = epoll_create1(0);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	timerfd_settime(timer_fd, 0, &every, NULL);
	ev.data.ptr = &listener;
	epoll_ctl(loop_fd, EPOLL_CTL_ADD, listen_fd, &ev);
	ev.data.ptr = &timer;
	epoll_ctl(loop_fd, EPOLL_CTL_ADD, timer_fd, &ev);
	for (;;) {
		int n = epoll_wait(loop_fd, evs, NELEM(evs), -1);

		for (int i = 0; i < n; i++) {
			if (evs[i].data.ptr == &listener) {
				int one = 1, fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK);
				struct peer *p;

				if (fd < 0)
					continue;
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
				p = calloc(1, sizeof(*p));
				if (p == NULL)
					abort();
				p->fd = fd;
				ev.data.ptr = p;
				epoll_ctl(loop_fd, EPOLL_CTL_ADD, fd, &ev);
			} else if (evs[i].data.ptr == &timer) {
				/* last: it may close peers that still stand in evs */
			} else if (!readable(evs[i].data.ptr)) {
				peer_close(evs[i].data.ptr);
			}
		}
		tick();
	}
}

pid_t
origin_start(int cpu, int *port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	pid_t pid;

	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, sizeof(sin)) != 0 ||
	    listen(fd, 8192) != 0 || getsockname(fd, (struct sockaddr *)&sin, &len) != 0)
		return -1;
	*port = ntohs(sin.sin_port);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin(0, cpu);
		run(fd);
	}
	close(fd);
	return pid;
}
