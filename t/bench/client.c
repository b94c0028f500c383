/*
 * Answers are framed by Content-Length or chunked; of chunked ones only the end and the origin's
 * time stamps are looked for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "t/bench/client.h"

char *
request_make(const struct target *t, size_t body, size_t reply, unsigned chunks, unsigned interval,
    size_t *len)
{
	static const char *const head[] = {
	    [WIRE_CHAT] = "POST /v1/chat/completions HTTP/1.1\r\n",
	    [WIRE_MESSAGES] = "POST /v1/messages HTTP/1.1\r\nanthropic-version: 2023-06-01\r\n",
	};
	char auth[160] = "";
	size_t total;
	char *text = prompt_make(t->client, t->model, body, chunks > 0, t->prose, &total);
	char *req = malloc(total + 1024);
	int n;

	if (req == NULL)
		abort();
	if (t->key[0] != '\0')
		snprintf(auth, sizeof(auth), "Authorization: Bearer %s\r\n", t->key);
	n = sprintf(req,
	    "%sHost: 127.0.0.1\r\nUser-Agent: bench\r\n%s"
	    "Content-Type: application/json\r\n" ORIGIN_HEADER
	    ": 00-%zu-%u-%u\r\nContent-Length: %zu\r\n\r\n",
	    head[t->client], auth, reply, chunks, interval, total);
	memcpy(req + n, text, total);
	free(text);
	*len = (size_t)n + total;
	return req;
}

static int
dial(int port)
{
	struct sockaddr_in sin = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd >= 0 && connect(fd, (struct sockaddr *)&sin, sizeof(sin)) != 0) {
		close(fd);
		return -1;
	}
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

int
client_open(struct load *l, struct client *c)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

	c->fd = dial(l->port);
	c->len = c->seen = 0;
	c->busy = c->closing = false;
	return c->fd < 0 ? -1 : epoll_ctl(l->loop, EPOLL_CTL_ADD, c->fd, &ev);
}

void
client_send(struct client *c, const char *req, size_t len, uint64_t due)
{
	size_t off = 0;

	c->due_ns = due;
	c->busy = true;
	c->first = false;
	c->len = c->seen = 0;
	while (off < len) {
		ssize_t n = send(c->fd, req + off, len - off, MSG_NOSIGNAL);

		if (n < 0)
			break; /* seen as an end of file when reading */
		off += (size_t)n;
	}
}

/* Status of a complete answer in the buffer; 0: not complete; -1: not HTTP. */
static int
complete(const struct client *c)
{
	const char *end, *cl;
	size_t head;

	if (c->len < 12)
		return 0;
	end = memmem(c->in, c->len, "\r\n\r\n", 4);
	if (end == NULL)
		return 0;
	head = (size_t)(end - c->in) + 4;
	cl = strcasestr(c->in, "content-length:");
	if (cl != NULL && cl < end) {
		if (c->len < head + strtoul(cl + 15, NULL, 10))
			return 0;
	} else if (c->len < head + 5 || memcmp(c->in + c->len - 5, "0\r\n\r\n", 5) != 0) {
		return 0;
	}
	return memcmp(c->in, "HTTP/1.", 7) == 0 ? atoi(c->in + 9) : -1;
}

/* Takes the delay of every chunk that has come, and of the first byte of the body. */
static void
stamps(struct load *l, struct client *c, uint64_t now)
{
	char *p;

	while ((p = memmem(c->in + c->seen, c->len - c->seen, STAMP, sizeof(STAMP) - 1)) != NULL) {
		char *after;
		uint64_t sent = strtoull(p + sizeof(STAMP) - 1, &after, 10);
		double us = now > sent ? (double)(now - sent) / 1e3 : 0;

		if (after == c->in + c->len)
			return; /* the number may go on in the next packet */
		if (!c->first) {
			c->first = true;
			samples_add(&l->r->latency, (double)(now - c->due_ns) / 1e3);
		}
		samples_add(&l->r->chunk, us);
		if (us > 35000)
			l->r->stalls++;
		c->seen = (size_t)(after - c->in);
	}
}

/* 1: an answer is complete; 0: more to come; -1: the connection is gone. */
int
client_read(struct load *l, struct client *c)
{
	ssize_t n;
	int status;

	if (c->cap - c->len < 16384) {
		c->cap = c->cap ? c->cap * 2 : 32768;
		c->in = realloc(c->in, c->cap);
		if (c->in == NULL)
			abort();
	}
	n = recv(c->fd, c->in + c->len, c->cap - c->len - 1, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n <= 0)
		return -1;
	c->len += (size_t)n;
	c->in[c->len] = '\0';
	if (l->stream)
		stamps(l, c, now_ns());
	status = complete(c);
	if (status == 0)
		return 0;
	c->status = status;
	c->closing = strcasestr(c->in, "\r\nconnection: close\r\n") != NULL;
	l->r->requests++;
	if (status != 200 ||
	    (l->marker != NULL && memmem(c->in, c->len, l->marker, strlen(l->marker)) == NULL))
		l->r->errors++;
	c->busy = false;
	return 1;
}
