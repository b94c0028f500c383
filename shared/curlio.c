/*
 * libcurl takes a socket off the list at the end of each transfer and puts it back for the next one
 * on the same connection. Followed to the letter that costs two system calls per request, so a
 * socket that is no longer wanted keeps its event until the event fires unwanted, or until libcurl
 * closes the socket and says so (close_socket).
 *
 *   sock->want    what libcurl asks for now; 0: nothing
 *   sock->armed   what the event is registered for; 0: not registered
 *
 * The timer is as lazy: a later deadline leaves the armed event alone, which finds out when it
 * fires.
 */
#include "shared/curlio.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/log.h"

#define NEVER UINT64_MAX

struct curlio_sock {
	struct curlio *c;
	struct event ev;
	int fd;
	short want, armed; /* EV_READ | EV_WRITE */
	bool lazy;         /* its close goes through close_socket */
};

enum job_state {
	JOB_WAITING, /* on c->waiting: not yet given to libcurl */
	JOB_RUNNING, /* on c->running: in the multi handle */
	JOB_FAILED,  /* on c->failed: out of the multi handle, `done` is due */
};

struct curlio_job {
	struct curlio *c;
	CURL *easy;
	curlio_done *done;
	void *ctx;
	enum job_state state;
	CURLcode code;
	bool unpause; /* asked for while libcurl was busy */
	TAILQ_ENTRY(curlio_job) link;
};
TAILQ_HEAD(job_list, curlio_job);

struct curlio {
	struct event_base *base;
	CURLM *multi;
	struct event timer, soon; /* soon: in this turn of the loop, without asking the kernel */
	uint64_t due_ns, armed_ns;
	struct job_list waiting, running, failed;
	struct curlio_sock **sock; /* by descriptor */
	size_t nsock;
	bool inside; /* libcurl is on the stack */
	bool kick;   /* libcurl wants to run now */
	bool keep;   /* idle connections are kept */
	bool lazy;
	unsigned unpauses;
};

/* ---- sockets
 * -------------------------------------------------------------------------------------------------------
 */

static void run_libcurl(struct curlio *c, curl_socket_t fd, int flags);

static void
disarm(struct curlio_sock *s)
{
	if (s->armed != 0)
		event_del(&s->ev);
	s->armed = 0;
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
	struct curlio_sock *s = arg;
	int flags = 0;

	if ((what & s->want) == 0) {
		disarm(s);
		return;
	}
	if (what & EV_READ)
		flags |= CURL_CSELECT_IN;
	if (what & EV_WRITE)
		flags |= CURL_CSELECT_OUT;
	run_libcurl(s->c, fd, flags);
}

/* Upstream connections are closed by close_socket; descriptors of the resolver's threads are not.
 */
static bool
closed_by_us(int fd)
{
	int domain = 0;
	socklen_t len = sizeof domain;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       (domain == AF_INET || domain == AF_INET6);
}

static struct curlio_sock *
sock_get(struct curlio *c, int fd)
{
	struct curlio_sock *s;

	if ((size_t)fd >= c->nsock) {
		size_t n = MAX((size_t)fd + 1, c->nsock * 2);
		struct curlio_sock **grown = realloc(c->sock, n * sizeof *grown);

		if (grown == NULL)
			return NULL;
		memset(grown + c->nsock, 0, (n - c->nsock) * sizeof *grown);
		c->sock = grown;
		c->nsock = n;
	}
	if (c->sock[fd] != NULL)
		return c->sock[fd];
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return NULL;
	s->c = c;
	s->fd = fd;
	s->lazy = c->lazy && closed_by_us(fd);
	c->sock[fd] = s;
	return s;
}

static void
sock_forget(struct curlio *c, int fd)
{
	struct curlio_sock *s = fd >= 0 && (size_t)fd < c->nsock ? c->sock[fd] : NULL;

	if (s == NULL)
		return;
	disarm(s);
	c->sock[fd] = NULL;
	free(s);
}

static void
sock_want(struct curlio_sock *s, short want)
{
	s->want = want;
	if (want == s->armed)
		return;
	disarm(s);
	event_assign(&s->ev, s->c->base, s->fd, (short)(want | EV_PERSIST), on_socket, s);
	if (event_add(&s->ev, NULL) == 0)
		s->armed = want;
	else
		log_error("an upstream socket cannot be watched fd=%d", s->fd);
}

/*
 * An error from here would fail every transfer. A socket that cannot be watched for want of memory
 * costs its own transfer, which runs into its time limit.
 */
static int
socket_wanted(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
	struct curlio *c = ctx;
	struct curlio_sock *s;

	(void)easy;
	(void)unused;
	if (what == CURL_POLL_REMOVE) {
		s = (size_t)fd < c->nsock ? c->sock[fd] : NULL;
		if (s != NULL && s->lazy)
			s->want = 0;
		else
			sock_forget(c, fd);
		return 0;
	}
	s = sock_get(c, fd);
	if (s == NULL) {
		log_error("out of memory: an upstream socket is not watched fd=%d", fd);
		return 0;
	}
	sock_want(s,
	    (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0)));
	return 0;
}

static int
close_socket(void *ctx, curl_socket_t fd)
{
	sock_forget(ctx, fd);
	return close(fd);
}

/* ---- time
 * ----------------------------------------------------------------------------------------------------------
 */

static void
arm_timer(struct curlio *c, uint64_t now_ns)
{
	uint64_t us = (c->due_ns - MIN(now_ns, c->due_ns)) / NS_PER_US;
	struct timeval tv = {
	    .tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};

	if (c->due_ns == NEVER || c->due_ns >= c->armed_ns)
		return;
	if (event_add(&c->timer, &tv) == 0)
		c->armed_ns = c->due_ns;
	else
		event_active(&c->soon, EV_TIMEOUT, 1);
}

static int
timer_wanted(CURLM *multi, long timeout_ms, void *ctx)
{
	struct curlio *c = ctx;
	uint64_t now;

	(void)multi;
	c->due_ns = NEVER;
	if (timeout_ms == 0) {
		c->kick = true;
		event_active(&c->soon, EV_TIMEOUT, 1);
	} else if (timeout_ms > 0) {
		now = clock_now_ns();
		c->due_ns = now + (uint64_t)timeout_ms * NS_PER_MS;
		arm_timer(c, now);
	}
	return 0;
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct curlio *c = arg;
	uint64_t now = clock_now_ns();

	(void)fd;
	(void)what;
	c->armed_ns = NEVER;
	if (c->due_ns == NEVER)
		return;
	if (c->due_ns > now) {
		arm_timer(c, now);
		return;
	}
	run_libcurl(c, CURL_SOCKET_TIMEOUT, 0);
}

/* ---- jobs
 * ----------------------------------------------------------------------------------------------------------
 */

static struct job_list *
list_of(struct curlio_job *job)
{
	switch (job->state) {
	case JOB_WAITING:
		return &job->c->waiting;
	case JOB_RUNNING:
		return &job->c->running;
	case JOB_FAILED:
		return &job->c->failed;
	}
	bug("curlio job %p: state %d", (void *)job, (int)job->state);
}

static void
job_set_state(struct curlio_job *job, enum job_state to)
{
	TAILQ_REMOVE(list_of(job), job, link);
	job->state = to;
	TAILQ_INSERT_TAIL(list_of(job), job, link);
}

/* Out of libcurl's hands; a transfer that is not through takes its connection along. */
static void
job_detach(struct curlio_job *job, bool whole)
{
	struct curlio *c = job->c;
	CURLMcode rc;

	if (job->unpause)
		c->unpauses--;
	job->unpause = false;
	if (!whole)
		curl_easy_setopt(job->easy, CURLOPT_FORBID_REUSE, 1L);
	c->inside = true;
	rc = curl_multi_remove_handle(c->multi, job->easy);
	c->inside = false;
	if (rc != CURLM_OK)
		bug("curl_multi_remove_handle: %s", curl_multi_strerror(rc));
}

static void
job_finish(struct curlio_job *job)
{
	struct curlio_job last = *job;

	TAILQ_REMOVE(list_of(job), job, link);
	free(job);
	last.done(last.ctx, last.easy, last.code);
}

static void
job_fail(struct curlio_job *job, CURLcode code)
{
	job->code = code;
	job_set_state(job, JOB_FAILED);
	event_active(&job->c->soon, EV_TIMEOUT, 1);
}

/* Lets libcurl have the handle; what goes wrong is told from the loop. */
static void
job_run(struct curlio_job *job)
{
	CURLMcode rc = curl_multi_add_handle(job->c->multi, job->easy);

	if (rc == CURLM_OK)
		job_set_state(job, JOB_RUNNING);
	else
		job_fail(job, rc == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : CURLE_FAILED_INIT);
}

static void
job_unpause(struct curlio_job *job)
{
	struct curlio *c = job->c;
	CURLcode code;

	c->inside = true;
	code = curl_easy_pause(job->easy, CURLPAUSE_CONT);
	c->inside = false;
	if (code != CURLE_OK) { /* a call-back refused what had been held back */
		job_detach(job, false);
		job_fail(job, code);
	}
}

/* Does what had to wait while libcurl was on the stack, then reports what has ended. */
static void
settle(struct curlio *c)
{
	struct curlio_job *job, *next;
	CURLMsg *msg;
	int left;

	while ((job = TAILQ_FIRST(&c->waiting)) != NULL)
		job_run(job);
	for (job = c->unpauses > 0 ? TAILQ_FIRST(&c->running) : NULL; job != NULL; job = next) {
		next = TAILQ_NEXT(job, link);
		if (!job->unpause)
			continue;
		job->unpause = false;
		c->unpauses--;
		job_unpause(job);
	}
	while ((job = TAILQ_FIRST(&c->failed)) != NULL)
		job_finish(job);
	while ((msg = curl_multi_info_read(c->multi, &left)) != NULL) {
		char *priv = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &priv);
		job = (struct curlio_job *)(void *)priv;
		job->code = msg->data.result; /* msg dies with the next line */
		job_detach(job, true);
		job_finish(job);
	}
}

static void
run_libcurl(struct curlio *c, curl_socket_t fd, int flags)
{
	CURLMcode rc;
	int running;

	if (fd == CURL_SOCKET_TIMEOUT) {
		c->kick = false;
		c->due_ns = NEVER;
	}
	c->inside = true;
	rc = curl_multi_socket_action(c->multi, fd, flags, &running);
	c->inside = false;
	if (rc != CURLM_OK)
		log_error("curl_multi_socket_action: %s", curl_multi_strerror(rc));
	settle(c);
}

static void
on_soon(evutil_socket_t fd, short what, void *arg)
{
	struct curlio *c = arg;

	(void)fd;
	(void)what;
	if (c->kick)
		run_libcurl(c, CURL_SOCKET_TIMEOUT, 0);
	else
		settle(c);
}

/* ---- the outside
 * ---------------------------------------------------------------------------------------------------
 */

static int
multi_setup(struct curlio *c, unsigned max_idle)
{
	CURLM *m = c->multi;

	if (curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, socket_wanted) != CURLM_OK ||
	    curl_multi_setopt(m, CURLMOPT_SOCKETDATA, c) != CURLM_OK ||
	    curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, timer_wanted) != CURLM_OK ||
	    curl_multi_setopt(m, CURLMOPT_TIMERDATA, c) != CURLM_OK ||
	    curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, (long)MAX(max_idle, 1)) != CURLM_OK ||
	    curl_multi_setopt(m, CURLMOPT_PIPELINING, CURLPIPE_NOTHING) != CURLM_OK)
		return -1;
	return 0;
}

struct curlio *
curlio_new(struct event_base *base, unsigned max_idle)
{
	struct curlio *c;

	/* Stays initialised until the process ends: easy handles may outlive the loop. */
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return NULL;
	c = calloc(1, sizeof *c);
	if (c == NULL)
		return NULL;
	c->base = base;
	c->due_ns = c->armed_ns = NEVER;
	c->keep = max_idle > 0;
	/* A resolver that opens and closes sockets of its own would close them behind our back. */
	c->lazy = curl_version_info(CURLVERSION_NOW)->ares == NULL;
	TAILQ_INIT(&c->waiting);
	TAILQ_INIT(&c->running);
	TAILQ_INIT(&c->failed);
	event_assign(&c->timer, base, -1, 0, on_timer, c);
	event_assign(&c->soon, base, -1, 0, on_soon, c);
	c->multi = curl_multi_init();
	if (c->multi == NULL || multi_setup(c, max_idle) != 0) {
		if (c->multi != NULL)
			curl_multi_cleanup(c->multi);
		free(c);
		return NULL;
	}
	return c;
}

void
curlio_free(struct curlio *c)
{
	if (c == NULL)
		return;
	if (!TAILQ_EMPTY(&c->waiting) || !TAILQ_EMPTY(&c->running) || !TAILQ_EMPTY(&c->failed))
		bug("curlio_free: transfers are still running");
	c->inside = true;
	curl_multi_cleanup(c->multi); /* closes the idle connections, through close_socket */
	event_del(&c->timer);
	event_del(&c->soon);
	for (size_t fd = 0; fd < c->nsock; fd++)
		sock_forget(c, (int)fd);
	free(c->sock);
	free(c);
}

static int
easy_setup(struct curlio_job *job)
{
	CURL *e = job->easy;

	/* QUICK_EXIT: cancelling does not wait for a resolver thread that hangs. */
	if (curl_easy_setopt(e, CURLOPT_PRIVATE, job) != CURLE_OK ||
	    curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket) != CURLE_OK ||
	    curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, job->c) != CURLE_OK ||
	    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) != CURLE_OK ||
	    curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) != CURLE_OK ||
	    curl_easy_setopt(e, CURLOPT_FORBID_REUSE, (long)!job->c->keep) != CURLE_OK)
		return -1;
	return 0;
}

struct curlio_job *
curlio_start(struct curlio *c, CURL *easy, curlio_done *done, void *ctx)
{
	struct curlio_job *job = calloc(1, sizeof *job);

	if (job == NULL)
		return NULL;
	*job = (struct curlio_job){
	    .c = c, .easy = easy, .done = done, .ctx = ctx, .state = JOB_WAITING};
	if (easy_setup(job) != 0) {
		free(job);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&c->waiting, job, link);
	if (c->inside)
		event_active(&c->soon, EV_TIMEOUT, 1);
	else
		job_run(job);
	return job;
}

void
curlio_cancel(struct curlio_job *job)
{
	if (job->state == JOB_RUNNING) {
		if (job->c->inside)
			bug("curlio_cancel from inside a call-back of libcurl");
		job_detach(job, false);
	}
	TAILQ_REMOVE(list_of(job), job, link);
	free(job);
}

void
curlio_unpause(struct curlio_job *job)
{
	if (job->state != JOB_RUNNING || job->unpause)
		return;
	if (!job->c->inside) {
		job_unpause(job);
		return;
	}
	job->unpause = true;
	job->c->unpauses++;
	event_active(&job->c->soon, EV_TIMEOUT, 1);
}
