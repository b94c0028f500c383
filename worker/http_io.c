/* One client socket, plain or TLS: reading, writing, and what the loop watches it for. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "shared/err.h"
#include "worker/http_conn.h"

ptrdiff_t
conn_read(struct http_conn *c, void *p, size_t n)
{
	if (c->ssl != NULL)
		return tls_read(c, p, n);
	ssize_t got;
	do
		got = recv(c->fd, p, n, 0);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		return got;
	if (got == 0)
		return E_CLOSED;
	return errno == EAGAIN ? E_AGAIN : E_SYSTEM;
}

ptrdiff_t
conn_writev(struct http_conn *c, const struct iovec *iov, unsigned n)
{
	if (c->ssl != NULL)
		return tls_writev(c, iov, n);
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n};
	ssize_t sent;
	do
		sent = sendmsg(c->fd, &m, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return sent;
	return errno == EAGAIN ? E_AGAIN : E_SYSTEM;
}

void
conn_shutdown(struct http_conn *c)
{
	tls_shutdown(c);
	(void)shutdown(c->fd, SHUT_WR);
}

static bool
reads_all(enum http_phase phase)
{
	return phase != PH_WAIT && phase != PH_REPLY && phase != PH_FLUSH;
}

/*
 * While a reply is in progress and enough of what the client pipelined waits, nothing more is read,
 * but the client's leaving must still be seen. Edge-triggered then: unread bytes do not wake us
 * again and again, a FIN or RST does.
 */
static short
wanted(const struct http_conn *c)
{
	short flags = 0;
	if (!c->eof)
		flags |= EV_READ | EV_CLOSED;
	if ((c->out_len > 0 && !c->write_wants_read) || c->read_wants_write)
		flags |= EV_WRITE;
	if (flags != 0 && !c->eof && !reads_all(c->phase) &&
	    c->in.len >= http_settings(c->s)->max_header_size)
		flags |= EV_ET;
	return flags == 0 ? 0 : flags | EV_PERSIST;
}

void
conn_watch(struct http_conn *c)
{
	short flags = wanted(c);
	if (flags == c->watching)
		return;
	if (event_initialized(&c->io))
		event_del(&c->io);
	event_assign(&c->io, c->s->base, c->fd, flags, conn_event, c);
	c->watching = flags;
	if (flags != 0 && event_add(&c->io, NULL) != 0) {
		c->watching = 0;
		c->broken = c->kicked = true; /* the handler is told from the loop */
	}
	if (c->kicked)
		event_active(&c->io, EV_TIMEOUT, 0);
}

/* With an edge-triggered event, an error of the socket comes as readable and writable. */
static bool
has_left(const struct http_conn *c, short what)
{
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
	if (what & EV_CLOSED)
		return true;
	return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static void
on_kick(struct http_conn *c)
{
	c->kicked = false;
	if (c->broken)
		conn_gone(c);
	else
		conn_flush(c);
	if (!c->dead)
		conn_feed(c, NULL, 0);
	if (!c->dead && !c->eof && tls_pending(c))
		conn_readable(c);
}

void
conn_event(evutil_socket_t fd, short what, void *arg)
{
	struct http_conn *c = arg;
	(void)fd;
	conn_enter(c);
	if (c->phase == PH_TLS && !c->broken) {
		tls_handshake(c);
		conn_leave(c);
		return;
	}
	if (c->kicked)
		on_kick(c);
	if (!c->dead && ((what & EV_WRITE) || ((what & EV_READ) && c->write_wants_read)))
		conn_flush(c);
	bool reads = what & (EV_READ | EV_CLOSED) || ((what & EV_WRITE) && c->read_wants_write);
	if (!c->dead && reads && !c->eof) {
		if (!(c->watching & EV_ET))
			conn_readable(c);
		else if (has_left(c, what))
			conn_left(c, !(what & EV_CLOSED));
	}
	conn_leave(c);
}
