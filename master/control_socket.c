/*
 * data_dir/control.sock: who may connect, lines in and out, and the life of a job.
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
#include <stdarg.h>
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
#include "shared/clock.h"
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

struct control_job {
	TAILQ_ENTRY(control_job) link;
	struct control *control;
	struct control_client *client; /* NULL: gone */
	struct control_request req;
	const struct control_method *method;
	json_t *result; /* waits for the publish */
	void *waiting;
	void (*cancel)(void *waiting);
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

/* Outlives struct control, so that a late call-back finds out that its job is no more. */
static TAILQ_HEAD(, control_job) jobs = TAILQ_HEAD_INITIALIZER(jobs);

/* ---- jobs ---- */

static void
job_free(struct control_job *job)
{
	TAILQ_REMOVE(&jobs, job, link);
	if (job->client)
		job->client->job = NULL;
	json_decref(job->result);
	control_request_clear(&job->req);
	free(job);
}

bool
control_job_alive(const struct control_job *job)
{
	const struct control_job *j;

	TAILQ_FOREACH (j, &jobs, link)
		if (j == job)
			return true;
	return false;
}

void
control_job_wait(struct control_job *job, void *what, void (*cancel)(void *what))
{
	job->waiting = what;
	job->cancel = cancel;
}

json_t *
control_job_params(const struct control_job *job)
{
	return job->req.params;
}

const char *
control_job_string(const struct control_job *job, const char *name)
{
	return json_string_value(json_object_get(job->req.params, name));
}

bool
control_job_has(const struct control_job *job, const char *name)
{
	return json_object_get(job->req.params, name) != NULL;
}

int64_t
control_job_integer(const struct control_job *job, const char *name, int64_t otherwise)
{
	const json_t *v = json_object_get(job->req.params, name);

	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

bool
control_job_boolean(const struct control_job *job, const char *name, bool otherwise)
{
	const json_t *v = json_object_get(job->req.params, name);

	return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

struct master *
control_job_master(const struct control_job *job)
{
	return job->control->m;
}

const char *
control_job_method_name(const struct control_job *job)
{
	return job->req.method;
}

void
control_job_set_method(struct control_job *job, const struct control_method *method)
{
	job->method = method;
}

/* Control characters are escaped by the log; only the subject is named, never another parameter. */
static void
audit(const struct control_job *job, const char *outcome)
{
	const char *subject;

	if (!job->method || !job->method->audit)
		return;
	subject = job->method->subject ? control_job_string(job, job->method->subject) : NULL;
	log_notice("control: %s%s%.80s by uid=%ld pid=%ld: %.300s", job->method->name,
	    subject ? " " : "", subject ? subject : "", (long)job->uid, (long)job->pid, outcome);
}

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

/* Ends the job; its client's next request is taken when the answer has left. Steals `line`. */
static void
job_end(struct control_job *job, char *line)
{
	struct control_client *c = job->client;

	job_free(job);
	if (c)
		client_send(c, line);
	else
		free(line);
}

void
control_job_reply(struct control_job *job, json_t *result)
{
	audit(job, result ? "done" : "out of memory");
	job_end(job, result ? control_reply(job->req.id, result)
			    : control_error(job->req.id, CONTROL_INTERNAL, "out of memory", NULL));
}

static void
job_fail(struct control_job *job, int code, const char *why, json_t *data)
{
	audit(job, why);
	job_end(job, control_error(job->req.id, code, why, data));
}

void
control_job_fail(struct control_job *job, int code, const char *fmt, ...)
{
	char why[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	job_fail(job, code, why, NULL);
}

static int
code_of(int error)
{
	switch (error) {
	case E_NOT_FOUND:
		return CONTROL_NOT_FOUND;
	case E_EXISTS:
		return CONTROL_EXISTS;
	case E_DENIED:
		return CONTROL_DENIED;
	case E_RANGE:
	case E_SYNTAX:
	case E_TOO_LONG:
	case E_BAD_UTF8:
		return CONTROL_PARAMS;
	case E_NOMEM:
		return CONTROL_INTERNAL;
	default:
		return CONTROL_FAILED;
	}
}

void
control_job_fail_err(struct control_job *job, int error, const struct buf *why)
{
	if (why && why->len)
		control_job_fail(job, code_of(error), "%.*s", (int)MIN(why->len, 1000), why->data);
	else
		control_job_fail(job, code_of(error), "%s", err_text(error));
}

/* ---- publishing a change ---- */

static void
on_published(void *ctx, const struct publish_outcome *o)
{
	struct control_job *job = ctx;
	json_t *result;
	char why[256];

	if (!control_job_alive(job))
		return;
	result = job->result;
	job->result = NULL;
	if (o->error) {
		snprintf(why, sizeof why,
		    "stored, but not in force: the snapshot could not be made, or was refused "
		    "(%s); "
		    "a reload tries again",
		    err_text(o->error));
		json_object_set_new(result, "stored", json_true());
		job_fail(job, CONTROL_FAILED, why, result);
		return;
	}
	json_object_set_new(result, "in_force",
	    json_pack("{s:I, s:i, s:i}", "snapshot", (json_int_t)o->number, "workers",
		(int)o->workers, "late", (int)o->late));
	control_job_reply(job, result);
}

void
control_job_publish(struct control_job *job, json_t *result)
{
	job->result = result ? result : json_object();
	publish_now(job->control->m, on_published, job);
}

json_t *
control_iso(uint64_t wall_us)
{
	char iso[CLOCK_ISO_LEN];

	if (!wall_us)
		return json_null();
	clock_format_iso(wall_us, iso);
	return json_string(iso);
}

/* ---- clients ---- */

static void
client_free(struct control_client *c)
{
	if (c->job)
		c->job->client = NULL;
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
	struct control_job *job = calloc(1, sizeof *job);
	char *error = NULL;
	int r;

	if (!job) {
		client_refuse(c, CONTROL_INTERNAL, "out of memory");
		return;
	}
	job->control = c->control;
	job->client = c;
	job->uid = c->uid;
	job->pid = c->pid;
	c->job = job;
	TAILQ_INSERT_TAIL(&jobs, job, link);
	r = control_parse_request(line, n, &job->req, &error);
	if (r < 0)
		job_end(job, error);
	else
		control_dispatch(c->control->m, job);
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
	struct control_job *job, *next_job;

	if (!c)
		return;
	m->control = NULL;
	for (job = TAILQ_FIRST(&jobs); job; job = next_job) {
		next_job = TAILQ_NEXT(job, link);
		if (job->cancel)
			job->cancel(job->waiting);
		job_free(job);
	}
	for (client = TAILQ_FIRST(&c->clients); client; client = next_client) {
		next_client = TAILQ_NEXT(client, link);
		client_free(client);
	}
	event_free(c->again);
	evconnlistener_free(c->listener);
	if (unlink_socket)
		unlink(c->path);
	free(c);
}
