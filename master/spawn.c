#include "master/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shared/channel.h"
#include "shared/err.h"
#include "shared/log.h"

#define CHILD_FDS (WORKER_FD_LISTEN + 256)

/* What of our environment a worker is given; a name that ends in '*' is a prefix. Keys and
 * passwords are not here. */
static const char *const environment_kept[] = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_*",
    "TZ", "TMPDIR", "LD_*", "MALLOC_*", "GLIBC_TUNABLES", "RES_OPTIONS", "LOCALDOMAIN",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS",
    "TSAN_OPTIONS", "LLVM_PROFILE_FILE"};

/* GnuTLS comes with libcurl's other protocols, which no worker speaks: its constructor's self
 * tests would only map a megabyte of it into each. */
static char *const environment_added[] = {"GNUTLS_NO_IMPLICIT_INIT=1"};

extern char **environ;

/* ---- user ---- */

int
spawn_identity(const char *user, struct spawn_identity *id, struct buf *err)
{
	const struct passwd *pw;

	memset(id, 0, sizeof *id);
	if (user == NULL || user[0] == '\0' || geteuid() != 0)
		return 0;
	errno = 0;
	if ((pw = getpwnam(user)) == NULL) {
		buf_addf(err, "user \"%s\": %s", user,
		    errno != 0 ? strerror(errno) : "no such user on this system");
		return E_NOT_FOUND;
	}
	id->uid = pw->pw_uid;
	id->gid = pw->pw_gid;
	id->ngroups = SPAWN_GROUPS;
	if (getgrouplist(user, pw->pw_gid, id->groups, &id->ngroups) == -1) {
		buf_addf(err, "user \"%s\": is in more than %d groups", user, SPAWN_GROUPS);
		return E_RANGE;
	}
	id->change = true;
	return 0;
}

/* ---- environment ---- */

static bool
is_kept(const char *entry)
{
	for (size_t i = 0; i < NELEM(environment_kept); i++) {
		const char *name = environment_kept[i];
		size_t n = strlen(name);

		if (name[n - 1] == '*' ? strncmp(entry, name, n - 1) == 0
				       : strncmp(entry, name, n) == 0 && entry[n] == '=')
			return true;
	}
	return false;
}

static char **
worker_environment(void)
{
	size_t n = 0, kept = 0;
	char **env;

	while (environ[n] != NULL)
		n++;
	if ((env = calloc(n + NELEM(environment_added) + 1, sizeof *env)) == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (is_kept(environ[i]))
			env[kept++] = environ[i];
	for (size_t i = 0; i < NELEM(environment_added); i++)
		env[kept++] = environment_added[i];
	return env;
}

/* ---- signals ---- */

void
spawn_block_signals(void *old_mask)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, old_mask);
}

void
spawn_unblock_signals(const void *old_mask)
{
	sigprocmask(SIG_SETMASK, old_mask, NULL);
}

/* The loop's handlers write to a descriptor that we share: none of them may run in the child. */
void
spawn_child_signals(void)
{
	sigset_t none;

	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* ---- the child ---- */

struct child {
	int fd[CHILD_FDS]; /* what goes to which number; fd[0..2] unused */
	int nfd, exe_fd;
	rlim_t nofile;
	bool detached; /* standard error is somebody else's, who may wait for its end */
	const struct spawn_identity *identity;
	char **argv, **env;
};

/* Sources may lie on each other's targets: all move above the targets first. */
static bool
place_descriptors(struct child *c)
{
	int null = open("/dev/null", O_RDWR);

	if (null == -1 || dup2(null, STDIN_FILENO) == -1 || dup2(null, STDOUT_FILENO) == -1)
		return false;
	if (c->detached && dup2(null, STDERR_FILENO) == -1)
		return false;
	if ((c->exe_fd = fcntl(c->exe_fd, F_DUPFD_CLOEXEC, c->nfd)) == -1)
		return false;
	for (int i = WORKER_FD_CHANNEL; i < c->nfd; i++)
		if ((c->fd[i] = fcntl(c->fd[i], F_DUPFD_CLOEXEC, c->nfd)) == -1)
			return false;
	for (int i = WORKER_FD_CHANNEL; i < c->nfd; i++)
		if (dup2(c->fd[i], i) == -1)
			return false;
	return close_range((unsigned)c->nfd, ~0u, CLOSE_RANGE_CLOEXEC) == 0;
}

static bool
drop_rights(const struct spawn_identity *id)
{
	return !id->change || (setgroups((size_t)id->ngroups, id->groups) == 0 &&
				  setgid(id->gid) == 0 && setuid(id->uid) == 0 && setuid(0) != 0);
}

/* Only what is safe between fork and exec. The exit code tells the step. */
_Noreturn static void
child_run(struct child *c)
{
	struct rlimit limit;

	spawn_child_signals();
	if (!place_descriptors(c))
		_exit(WORKER_EXIT_FAILED);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = c->nofile != 0 ? MIN(c->nofile, limit.rlim_max) : limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (!drop_rights(c->identity) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		_exit(WORKER_EXIT_NO_RETRY);
	fexecve(c->exe_fd, c->argv, c->env);
	_exit(WORKER_EXIT_FAILED);
}

/* ---- the parent ---- */

static pid_t
fork_child(struct child *c)
{
	sigset_t old;
	pid_t pid;

	spawn_block_signals(&old);
	if ((pid = fork()) == 0)
		child_run(c);
	spawn_unblock_signals(&old);
	return pid;
}

int
spawn_worker(struct master *m, const struct spawn_order *o, pid_t *pid, int *channel)
{
	char slot[16], generation[24], listeners[16];
	char *argv[] = {
	    SPAWN_ROLE, "--slot", slot, "--generation", generation, "--listeners", listeners, NULL};
	struct child c = {.nfd = WORKER_FD_LISTEN + (int)o->listen->n,
	    .exe_fd = m->exe_fd,
	    .nofile = (rlim_t)m->conf->rlimit_nofile,
	    .detached = m->daemon,
	    .identity = o->identity,
	    .argv = argv};
	int pair[2], r = channel_pair(pair);

	if (r != 0)
		return r;
	if (c.nfd > CHILD_FDS || (c.env = worker_environment()) == NULL) {
		close(pair[0]);
		close(pair[1]);
		return E_NOMEM;
	}
	snprintf(slot, sizeof slot, "%u", o->slot);
	snprintf(generation, sizeof generation, "%llu", (unsigned long long)o->generation);
	snprintf(listeners, sizeof listeners, "%u", o->listen->n);
	c.fd[WORKER_FD_CHANNEL] = pair[1];
	c.fd[WORKER_FD_LIVE] = m->live_fd;
	c.fd[WORKER_FD_EVENT] = m->event_fd;
	c.fd[WORKER_FD_SPOOL] = o->spool;
	c.fd[WORKER_FD_LOG] = log_fd();
	c.fd[WORKER_FD_ACCESS] = m->access_fd;
	c.fd[WORKER_FD_CACHE] = m->cache_fd;
	for (unsigned i = 0; i < o->listen->n; i++)
		c.fd[WORKER_FD_LISTEN + i] = o->listen->v[i].fd;
	*pid = fork_child(&c);
	free(c.env);
	close(pair[1]);
	if (*pid == -1) {
		log_error("cannot start a worker: %s", strerror(errno));
		close(pair[0]);
		return E_SYSTEM;
	}
	*channel = pair[0];
	return 0;
}
