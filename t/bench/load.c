/*
 * load: closed loop, fixed rate, streams. One thread, epoll.
 */
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "t/bench/client.h"

static int
load_open(struct load *l, const struct target *t, unsigned conns, struct load_result *r)
{
	static const char *const markers[] = {
	    [WIRE_CHAT] = "\"object\":\"chat.completion", [WIRE_MESSAGES] = "\"type\":\"message"};

	*l = (struct load){.port = t->port, .n = conns, .marker = markers[t->client], .r = r};
	*r = (struct load_result){0};
	l->c = calloc(conns, sizeof(*l->c));
	l->loop = epoll_create1(EPOLL_CLOEXEC);
	if (l->c == NULL || l->loop < 0)
		return -1;
	for (unsigned i = 0; i < conns; i++)
		l->c[i].fd = -1;
	for (unsigned i = 0; i < conns; i++)
		if (client_open(l, &l->c[i]) != 0)
			return -1;
	return 0;
}

static void
load_close(struct load *l)
{
	for (unsigned i = 0; l->c != NULL && i < l->n; i++) {
		if (l->c[i].fd >= 0)
			close(l->c[i].fd);
		free(l->c[i].in);
	}
	free(l->c);
	free(l->req);
	if (l->loop >= 0)
		close(l->loop);
}

/* A connection that broke: one error, and a new one. */
static void
client_again(struct load *l, struct client *c)
{
	if (c->busy)
		l->r->errors++;
	close(c->fd);
	c->fd = -1;
	if (client_open(l, c) != 0)
		l->r->errors++;
}

int
load_closed(const struct target *t, unsigned conns, size_t body, size_t reply, double seconds,
    struct load_result *r)
{
	struct load l;
	struct epoll_event evs[128];
	uint64_t start, end;
	int rc = load_open(&l, t, conns, r);

	l.req = request_make(t, body, reply, 0, 0, &l.req_len);
	start = now_ns();
	end = start + (uint64_t)(seconds * 1e9);
	for (unsigned i = 0; rc == 0 && i < conns; i++)
		client_send(&l.c[i], l.req, l.req_len, now_ns());
	while (rc == 0 && now_ns() < end) {
		int n = epoll_wait(l.loop, evs, NELEM(evs), 100);

		for (int i = 0; i < n; i++) {
			struct client *c = evs[i].data.ptr;
			int done = client_read(&l, c);

			if (done < 0 || (done > 0 && c->closing))
				client_again(&l, c);
			if (done > 0)
				samples_add(&r->latency, (double)(now_ns() - c->due_ns) / 1e3);
			if (done != 0 && c->fd >= 0)
				client_send(c, l.req, l.req_len, now_ns());
		}
	}
	r->seconds = (double)(now_ns() - start) / 1e9;
	load_close(&l);
	return rc;
}

int
load_rate(const struct target *t, unsigned conns, size_t body, double rate, double seconds,
    struct load_result *r)
{
	struct load l;
	struct epoll_event evs[128], ev = {.events = EPOLLIN, .data.ptr = NULL};
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), rc = load_open(&l, t, conns, r);
	uint64_t start, due, left = (uint64_t)(rate * seconds), open = 0;
	unsigned next = 0;

	l.req = request_make(t, body, body, 0, 0, &l.req_len);
	epoll_ctl(l.loop, EPOLL_CTL_ADD, timer, &ev);
	start = due = now_ns() + 10 * NS_PER_MS;
	while (rc == 0 && (left > 0 || open > 0)) {
		struct itimerspec at = {
		    .it_value = {(time_t)(due / NS_PER_SEC), (long)(due % NS_PER_SEC)}};
		uint64_t junk;
		int n;

		if (left > 0)
			timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
		n = epoll_wait(l.loop, evs, NELEM(evs), 5000);
		if (n <= 0)
			break;
		for (int i = 0; i < n; i++) {
			struct client *c = evs[i].data.ptr;
			int done;

			if (c == NULL) {
				if (read(timer, &junk, sizeof(junk)) < 0)
					continue;
				while (left > 0 && due <= now_ns()) {
					for (unsigned k = 0; k < conns && l.c[next % conns].busy;
					     k++)
						next++;
					client_send(&l.c[next++ % conns], l.req, l.req_len, due);
					due += (uint64_t)(1e9 / rate);
					left--;
					open++;
				}
				continue;
			}
			done = client_read(&l, c);
			if (done == 0)
				continue;
			if (done > 0)
				samples_add(&r->latency, (double)(now_ns() - c->due_ns) / 1e3);
			else
				client_again(&l, c);
			open -= open > 0;
		}
	}
	r->errors += open;
	r->seconds = (double)(now_ns() - start) / 1e9;
	close(timer);
	load_close(&l);
	return rc;
}

int
load_streams(const struct target *t, unsigned conns, unsigned chunks, unsigned interval_ms,
    void (*held)(void *ctx), void *ctx, struct load_result *r)
{
	struct load l;
	struct epoll_event evs[256];
	unsigned open = 0, sent = 0, first = 0;
	bool told = false;
	int rc = load_open(&l, t, conns, r);
	uint64_t next = now_ns(), start = next;

	l.stream = true;
	l.req = request_make(t, 1024, 0, chunks, interval_ms, &l.req_len);
	while (rc == 0 && (sent < conns || open > 0)) {
		int n;

		/* one every 500 us: the origin and the proxy are measured, not a burst of
		 * connections */
		if (sent < conns && now_ns() >= next) {
			client_send(&l.c[sent++], l.req, l.req_len, now_ns());
			open++;
			next += 500 * NS_PER_US;
		}
		n = epoll_wait(l.loop, evs, NELEM(evs), sent < conns ? 0 : 5000);
		if (n == 0 && sent == conns)
			break;
		for (int i = 0; i < n; i++) {
			struct client *c = evs[i].data.ptr;
			bool before = c->first;
			int done = client_read(&l, c);

			first += !before && c->first;
			if (done == 0)
				continue;
			if (done < 0)
				epoll_ctl(l.loop, EPOLL_CTL_DEL, c->fd, NULL);
			r->errors += done < 0 && c->busy;
			open -= open > 0;
		}
		if (!told && held != NULL && first == conns) {
			told = true;
			held(ctx);
		}
	}
	r->errors += open;
	r->seconds = (double)(now_ns() - start) / 1e9;
	load_close(&l);
	return rc;
}
