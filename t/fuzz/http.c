/*
 * Bytes of a client through the real reader of a worker: the first byte steers how they are cut,
 * what the handler does and when the client leaves. Whatever comes: nothing but well-formed replies
 * goes out, the buffers stay within their bounds, the handler's calls come in order, and nothing is
 * left when the client has gone.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/clock.h"
#include "worker/http_conn.h"

#define HEAD_MAX 2048u
#define BODY_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct event_base *base;
static struct http_server *server;
static struct snapshot *snap;
static struct live *live;
static unsigned steer;
static struct http_req *open_request; /* told, not yet replied to or gone */

static struct snapshot *
current(void)
{
	return snap;
}

static void
must(bool good)
{
	if (!good)
		abort();
}

static void
inside(struct span s, const struct http_conn *c)
{
	must(s.n == 0 || (s.p >= c->head && s.p + s.n <= c->head + c->head_alloc));
}

static void
answer(struct http_req *r)
{
	open_request = NULL;
	switch (steer >> 4 & 3) {
	case 0:
		http_reply(r, 200, "text/plain", r->body.p, r->body.n);
		break;
	case 1:
		http_start(r, 200, "text/plain", -1);
		http_write(r, "a", 1);
		http_write(r, "bc", 2);
		http_end(r);
		break;
	case 2:
		http_error(r, 429, NULL, NULL);
		break;
	default:
		http_header_span(r, "X-Target", r->target);
		http_start(r, 200, NULL, 3);
		http_write(r, "abc", 3);
		http_end(r);
	}
}

static void
on_head(struct http_req *r)
{
	const struct http_conn *c = r->conn;
	must(open_request == NULL);
	open_request = r;
	if (r->target.n != 1) /* an absolute-form without a path means a constant "/" */
		inside(r->target, c);
	inside(r->path, c);
	inside(r->query, c);
	inside(r->method_text, c);
	inside(http_header_get(r, "Host"), c);
	must(r->path.n > 0 && c->head_len <= HEAD_MAX);
	if (steer & 8)
		answer(r);
	else
		http_accept_body(r, BODY_MAX);
}

static void
on_body(struct http_req *r)
{
	must(open_request == r && r->body.n <= BODY_MAX);
	if (!(steer & 4))
		answer(r);
}

static void
on_drain(struct http_req *r)
{
	must(open_request == r);
}

static void
on_gone(struct http_req *r)
{
	must(open_request == r);
	open_request = NULL;
}

static void
on_done(struct http_req *r)
{
	must(open_request != r && r->status >= 200);
}

static const struct http_handler handler = {on_head, on_body, on_drain, on_gone, on_done, NULL};

static void
set_up(void)
{
	struct snapshot_builder *b = snapshot_builder_new(1);
	int fd, live_fd;
	*snapshot_settings(b) = (struct snap_settings){.max_header_size = HEAD_MAX,
	    .max_headers = 16,
	    .stream_buffer = 16384,
	    .max_event_size = 65536,
	    .max_connections = 10,
	    .header_timeout_ms = 10000,
	    .body_timeout_ms = 10000,
	    .keepalive_timeout_ms = 10000,
	    .send_timeout_ms = 10000};
	struct snap_net net = {.addr = {[10] = 0xff, [11] = 0xff, [12] = 127}, .bits = 104};
	must(snapshot_add_net(b, &net) == 0);
	must(snapshot_build(b, &fd) == 0 && snapshot_open(fd, &snap) == 0);
	snapshot_builder_free(b);
	close(fd);
	must(live_create(&live_fd) == 0 && live_map(live_fd, &live) == 0);
	base = event_base_new();
	server = http_server_new(base, &handler, current, &live->worker[0], live->worker);
	must(base != NULL && server != NULL);
}

static void
turns(unsigned n)
{
	while (n-- > 0)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

/* Takes what came; a reply always begins like one. */
static void
hear(int fd, bool *begun)
{
	char text[65536];
	ssize_t n;
	while ((n = recv(fd, text, sizeof(text), 0)) > 0) {
		must(*begun || n < 9 || memcmp(text, "HTTP/1.1 ", 9) == 0);
		*begun = true;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	bool begun = false;
	int pair[2];
	if (size < 1)
		return 0;
	if (server == NULL)
		set_up();
	steer = *data++;
	size--;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	struct http_conn *c = conn_open(server, pair[0], (struct sockaddr *)&sin, 0);
	must(c != NULL);
	size_t step = steer & 1 ? 1 + (steer >> 6) * 5u : 4096;
	for (size_t i = 0; i < size; i += step) {
		ssize_t n = send(pair[1], data + i, MIN(step, size - i), MSG_NOSIGNAL);
		turns(1);
		if (http_connections(server) > 0)
			must(c->in.len <= HTTP_READ_MAX + HEAD_MAX && c->body.len <= BODY_MAX);
		hear(pair[1], &begun);
		if (n < 0 && errno != EAGAIN)
			break;
	}
	turns(2);
	if (open_request != NULL && (steer & 2)) {
		struct http_req *r = open_request;
		answer(r);
		turns(2);
	}
	hear(pair[1], &begun);
	close(pair[1]);
	turns(3);
	must(http_connections(server) == 0 && open_request == NULL);
	return 0;
}
