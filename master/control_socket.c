/*
 * data_dir/control.sock: who may connect, and lines in and out.
 *
 * Bounds: CLIENTS_MAX clients; CONTROL_LINE_MAX bytes of input; one request at a time per client,
 * the next is taken only when the answer to the last has left, so that a client that does not read
 * costs one answer; a client that is silent, or does not read, for longer than the timeouts is
 * closed.
 */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "master/control.h"
#include "shared/buf.h"
#include "shared/err.h"
#include "shared/log.h"

#define CLIENTS_MAX 64
#define SILENT_S 120 /* between two requests */
#define UNREAD_S 20  /* an answer that is not read */
#define PAUSE_S 1    /* after an accept that failed: there are no descriptors, say */

struct control_client {
	TAILQ_ENTRY(control_client) link;
	struct control *control;
	struct bufferevent *bev;
	struct control_job *job; /* the one request in hand */
	bool closing;            /* after the answer has left */
	bool eof;                /* nothing more will come; what came is still answered */
	uid_t uid;
	pid_t pid;
};

struct control {
	struct master *m;
	struct evconnlistener *listener;
	struct event *again; /* accepts again after a pause */
	bool paused;
	char path[PATH_MAX];
	unsigned nclients;
	TAILQ_HEAD(, control_client) clients;
};

/* ---- clients ---- */

/* Sends `line` (wiped and freed). No memory for it: the client goes, from the loop. */
static void
client_send(struct control_client *c, char *line)
{
	if (!line || bufferevent_write(c->bev, line, strlen(line)) != 0) {
		c->closing = true;
		bufferevent_trigger(c->bev, EV_WRITE, BEV_OPT_DEFER_CALLBACKS);
	}
	if (line)
		explicit_bzero(line, strlen(line));
	free(line);
}

void
control_client_answer(struct control_client *c, char *line)
{
	c->job = NULL;
	client_send(c, line);
}

static void
client_free(struct control_client *c)
{
	if (c->job)
		control_job_orphan(c->job);
	TAILQ_REMOVE(&c->control->clients, c, link);
	c->control->nclients--;
	bufferevent_free(c->bev);
	free(c);
}

/* For a peer that is not served: one line and good-bye. */
static void
client_refuse(struct control_client *c, int code, const char *why)
{
	c->closing = true;
	bufferevent_disable(c->bev, EV_READ);
	client_send(c, control_error(NULL, code, why, NULL));
}

static void
client_request(struct control_client *c, const char *line, size_t n)
{
	c->job = control_job_new(c->control->m, c, c->uid, c->pid);
	if (c->job)
		control_job_run(c->job, line, n);
	else
		client_refuse(c, CONTROL_INTERNAL, "out of memory");
}

/* Takes one request, when none is in hand and the last answer has left. */
static void
client_next(struct control_client *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);
	size_t n;
	char *line;

	while (!c->job && !c->closing && evbuffer_get_length(bufferevent_get_output(c->bev)) == 0) {
		line = evbuffer_readln(in, &n, EVBUFFER_EOL_LF);
		if (!line)
			break;
		if (n > 0 && n <= CONTROL_LINE_MAX) {
			client_request(c, line, n);
			explicit_bzero(line, n);
			free(line);
			return;
		}
		explicit_bzero(line, n);
		free(line);
		if (n > 0) {
			client_refuse(c, CONTROL_INVALID, "the message is too long");
			return;
		}
	}
	if (!c->job && !c->closing && evbuffer_get_length(in) > CONTROL_LINE_MAX &&
	    evbuffer_search_eol(in, NULL, NULL, EVBUFFER_EOL_LF).pos == -1)
		client_refuse(c, CONTROL_INVALID, "the message is too long");
}

static void
on_read(struct bufferevent *bev, void *ctx)
{
	(void)bev;
	client_next(ctx);
}

static void
on_drained(struct bufferevent *bev, void *ctx)
{
	struct control_client *c = ctx;

	if (evbuffer_get_length(bufferevent_get_output(bev)) > 0)
		return;
	client_next(c);
	if (!c->job && (c->closing || c->eof) &&
	    evbuffer_get_length(bufferevent_get_output(bev)) == 0)
		client_free(c);
}

static void
on_event(struct bufferevent *bev, short what, void *ctx)
{
	struct control_client *c = ctx;

	bool busy = c->job || evbuffer_get_length(bufferevent_get_output(bev)) > 0;

	/* Silence does not count while an answer is being made: the test of a connection takes its
	 * time. */
	if ((what & BEV_EVENT_TIMEOUT) && (what & BEV_EVENT_READING) && busy) {
		bufferevent_enable(bev, EV_READ);
		return;
	}
	if ((what & BEV_EVENT_EOF) && busy) {
		c->eof = true;
		return;
	}
	client_free(c);
}

static bool
peer_allowed(int fd, struct ucred *peer)
{
	socklen_t n = sizeof *peer;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &n) != 0)
		return false;
	return peer->uid == 0 || peer->uid == geteuid();
}

static void
on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len, void *ctx)
{
	static const struct timeval silent = {.tv_sec = SILENT_S}, unread = {.tv_sec = UNREAD_S};
	struct control *control = ctx;
	struct control_client *c = calloc(1, sizeof *c);
	struct ucred peer = {.pid = -1, .uid = (uid_t)-1};
	bool allowed = peer_allowed(fd, &peer);

	(void)l;
	(void)sa;
	(void)len;
	if (c)
		c->bev = bufferevent_socket_new(control->m->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c || !c->bev) {
		free(c);
		close(fd);
		return;
	}
	c->control = control;
	c->uid = peer.uid;
	c->pid = peer.pid;
	TAILQ_INSERT_TAIL(&control->clients, c, link);
	control->nclients++;
	bufferevent_setcb(c->bev, on_read, on_drained, on_event, c);
	bufferevent_setwatermark(c->bev, EV_READ, 0, CONTROL_LINE_MAX + 2);
	bufferevent_set_timeouts(c->bev, &silent, &unread);
	if (!allowed) {
		log_warn("control: refused uid=%ld pid=%ld", (long)peer.uid, (long)peer.pid);
		client_refuse(c, CONTROL_DENIED,
		    "only the user that OmniRoute runs as, and root, may do this");
	} else if (control->nclients > CLIENTS_MAX) {
		client_refuse(c, CONTROL_FAILED, "too many control connections");
	} else {
		bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	}
}

/* What made it fail is still there in the next turn of the loop. */
static void
on_accept_error(struct evconnlistener *l, void *ctx)
{
	static const struct timeval pause = {.tv_sec = PAUSE_S};
	struct control *c = ctx;

	log_error("control: accept: %s", strerror(errno));
	if (event_add(c->again, &pause) == 0)
		evconnlistener_disable(l);
}

static void
on_again(evutil_socket_t fd, short what, void *ctx)
{
	struct control *c = ctx;

	(void)fd;
	(void)what;
	if (!c->paused)
		evconnlistener_enable(c->listener);
}

/* ---- the socket ---- */

/* The data directory is locked by us: a socket that is there is a dead master's. */
static int
bind_socket(struct control *c)
{
	struct sockaddr_un sun;
	mode_t mask;
	int dir, fd, r = control_address(c->path, &sun, &dir);

	if (r != 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(c->path);
	mask = umask(0177);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof sun) != 0 ||
	    listen(fd, CLIENTS_MAX) != 0)
		r = E_SYSTEM;
	umask(mask);
	if (r != 0)
		log_error("control: %s: %s", c->path, strerror(errno));
	if (dir >= 0)
		close(dir);
	if (r == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return r;
}

int
control_start(struct master *m, int inherited_fd)
{
	struct control *c = calloc(1, sizeof *c);
	int n, fd = inherited_fd, r = E_NOMEM;

	if (!c)
		return E_NOMEM;
	c->m = m;
	TAILQ_INIT(&c->clients);
	n = snprintf(c->path, sizeof c->path, "%s/control.sock", m->conf->data_dir);
	if (n < 0 || (size_t)n >= sizeof c->path) {
		r = E_TOO_LONG;
		goto out;
	}
	if (fd < 0)
		fd = bind_socket(c);
	if (fd < 0) {
		r = fd;
		goto out;
	}
	/* A line of several masters' listeners: what two of them share must not block either. */
	if (evutil_make_socket_nonblocking(fd) != 0 || evutil_make_socket_closeonexec(fd) != 0) {
		r = E_SYSTEM;
		goto out;
	}
	c->listener = evconnlistener_new(
	    m->base, on_accept, c, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!c->listener)
		goto out;
	fd = -1; /* the listener's */
	if ((c->again = event_new(m->base, -1, 0, on_again, c)) == NULL)
		goto out;
	evconnlistener_set_error_cb(c->listener, on_accept_error);
	m->control = c;
	return 0;
out:
	if (c->listener)
		evconnlistener_free(c->listener);
	if (fd >= 0)
		close(fd);
	free(c);
	return r;
}

int
control_listen_fd(const struct master *m)
{
	return m->control ? evconnlistener_get_fd(m->control->listener) : -1;
}

void
control_pause(struct master *m, bool paused)
{
	if (!m->control)
		return;
	m->control->paused = paused;
	if (paused)
		evconnlistener_disable(m->control->listener);
	else
		evconnlistener_enable(m->control->listener);
}

void
control_free(struct master *m, bool unlink_socket)
{
	struct control *c = m->control;
	struct control_client *client, *next_client;

	if (!c)
		return;
	m->control = NULL;
	for (client = TAILQ_FIRST(&c->clients); client; client = next_client) {
		next_client = TAILQ_NEXT(client, link);
		client_free(client);
	}
	control_jobs_free();
	event_free(c->again);
	evconnlistener_free(c->listener);
	if (unlink_socket)
		unlink(c->path);
	free(c);
}
