#include "master/upgrade.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/inherit.h"
#include "master/lock.h"
#include "master/notify.h"
#include "master/peer.h"
#include "master/spawn.h"
#include "master/start.h"
#include "master/supervise.h"
#include "shared/channel.h"
#include "shared/err.h"
#include "shared/log.h"

#define START_SECONDS 30
#define LIFE_SECONDS 40 /* of one that does not serve and has lost us; master_serving lifts it */
#define EXIT_NO_EXEC 127

extern char **environ;

struct upgrade {
	pid_t pid;
	bool serving;
	char failure[1000]; /* what we know better than its exit code */
	struct event *timeout;
	upgrade_done *done;
	void *ctx;
};

bool
upgrade_alive(const struct master *m)
{
	return m->upgrade != NULL || m->predecessor != NULL;
}

char *
upgrade_program(const char *argv0)
{
	char path[PATH_MAX], cwd[PATH_MAX];
	ssize_t n;

	if (strchr(argv0, '/') == NULL) {
		if ((n = readlink("/proc/self/exe", path, sizeof path - 1)) <= 0)
			return NULL;
		path[n] = '\0';
	} else if (argv0[0] == '/') {
		return strdup(argv0);
	} else if (getcwd(cwd, sizeof cwd) == NULL ||
		   (size_t)snprintf(path, sizeof path, "%s/%s", cwd, argv0) >= sizeof path) {
		return NULL;
	}
	return strdup(path);
}

static void
report(struct master *m, int error, const char *why)
{
	struct upgrade *u = m->upgrade;
	upgrade_done *done = u->done;

	u->done = NULL;
	if (done != NULL)
		done(u->ctx, error, (int)u->pid, why);
}

void
upgrade_free(struct master *m)
{
	struct upgrade *u = m->upgrade;

	if (u == NULL)
		return;
	report(m, E_CLOSED, "this master is leaving");
	if (u->timeout != NULL)
		event_free(u->timeout);
	free(u);
	m->upgrade = NULL;
}

/* ---- birth ---- */

/* The environment with the inheritance; the strings but the last are environ's. */
static char **
next_environment(struct master *m, int peer, char **variable)
{
	struct buf text = BUF_INIT(INHERIT_MAX);
	size_t n = 0;
	char **env;

	buf_str(&text, INHERIT_VARIABLE "=");
	inherit_write(&text, "live", m->live_fd, "");
	inherit_write(&text, "lock", m->lock_fd, "");
	inherit_write(&text, "peer", peer, "");
	inherit_write(&text, "control", control_listen_fd(m), "");
	for (unsigned i = 0; i < m->listen->n; i++)
		inherit_write(&text, "listen", m->listen->v[i].fd, m->listen->v[i].name);
	while (environ[n] != NULL)
		n++;
	env = calloc(n + 2, sizeof *env);
	*variable = buf_cstr(&text) != NULL && buf_ok(&text) ? text.data : NULL;
	if (env == NULL || *variable == NULL) {
		free(env);
		buf_clear(&text);
		*variable = NULL;
		return NULL;
	}
	memcpy(env, environ, n * sizeof *env);
	env[n] = *variable;
	return env;
}

static void
keep_open(int fd)
{
	if (fd != -1)
		fcntl(fd, F_SETFD, 0);
}

_Noreturn static void
child_run(struct master *m, int peer, int control, char **env)
{
	spawn_child_signals();
	close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC); /* libraries forget some */
	keep_open(m->live_fd);
	keep_open(m->lock_fd);
	keep_open(peer);
	keep_open(control);
	for (unsigned i = 0; i < m->listen->n; i++)
		keep_open(m->listen->v[i].fd);
	alarm(LIFE_SECONDS);
	execve(m->exe_path, m->argv, env);
	_exit(EXIT_NO_EXEC);
}

static pid_t
start_next(struct master *m, int peer)
{
	char *variable, **env = next_environment(m, peer, &variable);
	int control = control_listen_fd(m);
	sigset_t old;
	pid_t pid;

	if (env == NULL) {
		errno = ENOMEM;
		return -1;
	}
	spawn_block_signals(&old);
	if ((pid = fork()) == 0)
		child_run(m, peer, control, env);
	spawn_unblock_signals(&old);
	free(env);
	free(variable);
	return pid;
}

static void
on_timeout(evutil_socket_t fd, short what, void *ctx)
{
	struct master *m = ctx;

	(void)fd;
	(void)what;
	upgrade_failed(m, "it did not serve in time");
	kill(m->upgrade->pid, SIGKILL);
}

static void
refuse(upgrade_done *done, void *ctx, int error, const char *why)
{
	log_error("upgrade refused: %s", why);
	if (done != NULL)
		done(ctx, error, 0, why);
}

static struct upgrade *
upgrade_new(struct master *m, upgrade_done *done, void *ctx)
{
	const struct timeval limit = {.tv_sec = START_SECONDS};
	struct upgrade *u = calloc(1, sizeof *u);

	if (u == NULL)
		return NULL;
	u->done = done;
	u->ctx = ctx;
	u->timeout = event_new(m->base, -1, 0, on_timeout, m);
	if (u->timeout == NULL || event_add(u->timeout, &limit) != 0) {
		if (u->timeout != NULL)
			event_free(u->timeout);
		free(u);
		return NULL;
	}
	return u;
}

void
master_upgrade(struct master *m, upgrade_done *done, void *ctx)
{
	struct upgrade *u;
	int pair[2];

	if (m->stopping || !m->serving || m->upgrade != NULL) {
		refuse(done, ctx, E_BUSY,
		    m->upgrade != NULL ? "an upgrade is under way: its new master still runs"
		    : m->stopping      ? "this master is leaving"
				       : "this master does not serve yet");
		return;
	}
	if (m->exe_path == NULL || access(m->exe_path, X_OK) != 0) {
		refuse(done, ctx, E_NOT_FOUND,
		    "the program is not where it was, or cannot be executed");
		return;
	}
	if ((u = upgrade_new(m, done, ctx)) == NULL || channel_pair(pair) != 0) {
		if (u != NULL)
			event_free(u->timeout);
		free(u);
		refuse(done, ctx, E_SYSTEM, "no memory or descriptors");
		return;
	}
	m->upgrade = u;
	pidfile_set_aside(m->conf->pid_file);
	u->pid = start_next(m, pair[1]);
	close(pair[1]);
	if (u->pid == -1 || peer_new(m, PEER_SUCCESSOR, pair[0]) == NULL) {
		log_error("the new master cannot be started: %s", strerror(errno));
		if (u->pid > 0) {
			upgrade_failed(m, "no memory for its line");
			kill(u->pid, SIGKILL);
			return; /* upgrade_reap goes on */
		}
		close(pair[0]);
		pidfile_bring_back(m->conf->pid_file);
		report(m, E_SYSTEM, "it cannot be started");
		upgrade_free(m);
		return;
	}
	log_notice("new master %d is starting from %s", (int)u->pid, m->exe_path);
}

/* ---- life and death ---- */

void
upgrade_serving(struct master *m)
{
	struct upgrade *u = m->upgrade;

	if (u == NULL || u->serving)
		return;
	u->serving = true;
	event_del(u->timeout);
	control_pause(m, true);
	log_notice("new master %d serves; QUIT to this one ends the upgrade, HUP to this one and "
		   "QUIT to that one undoes it",
	    (int)u->pid);
	report(m, 0, "");
}

void
upgrade_failed(struct master *m, const char *why)
{
	if (m->upgrade != NULL)
		snprintf(m->upgrade->failure, sizeof m->upgrade->failure, "%s", why);
}

/* How it ended, unless it has said so itself. */
static void
note_end(struct upgrade *u, int status)
{
	char why[sizeof u->failure];

	if (u->failure[0] != '\0')
		return;
	if (WIFSIGNALED(status))
		snprintf(why, sizeof why, "it was ended by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) == EXIT_NO_EXEC)
		snprintf(why, sizeof why, "the program cannot be executed");
	else
		snprintf(why, sizeof why, "it exited with code %d%s", WEXITSTATUS(status),
		    u->serving ? "" : " before it served");
	memcpy(u->failure, why, sizeof why);
}

static void
log_end(struct upgrade *u, int status)
{
	bool in_order =
	    u->serving && u->failure[0] == '\0' && WIFEXITED(status) && WEXITSTATUS(status) == 0;

	note_end(u, status);
	if (in_order)
		log_notice("new master %d has left", (int)u->pid);
	else
		log_error("new master %d %s: %s", (int)u->pid, u->serving ? "has left" : "failed",
		    u->failure);
}

bool
upgrade_reap(struct master *m, pid_t pid, int status)
{
	struct upgrade *u = m->upgrade;

	if (u == NULL || u->pid != pid)
		return false;
	peer_read(m->successor); /* its last words */
	log_end(u, status);
	peer_free(m->successor);
	report(m, E_SYSTEM, u->failure);
	upgrade_free(m);
	lock_sign(m->lock_fd);
	pidfile_bring_back(m->conf->pid_file);
	if (!m->stopping) {
		control_pause(m, false);
		notify_ready();
		supervise_resume(m);
	}
	master_idle(m);
	return true;
}
