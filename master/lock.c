#include "master/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/err.h"
#include "shared/log.h"

#define PID_MAX_LEN 24

/* ---- data directory ---- */

static int
make_one(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) == 0 ||
	    (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
		return 0;
	return E_SYSTEM;
}

int
lock_dir(const char *dir, struct buf *err)
{
	char path[PATH_MAX];
	size_t n = strlen(dir);
	int r = 0;

	if (n == 0 || n >= sizeof path) {
		buf_addf(err, "data directory \"%s\": its name must have 1 to %d characters", dir,
		    PATH_MAX - 1);
		return E_TOO_LONG;
	}
	memcpy(path, dir, n + 1);
	for (char *p = path + 1; *p != '\0' && r == 0; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (access(path, F_OK) != 0)
			r = make_one(path);
		*p = '/';
	}
	if (r == 0)
		r = make_one(path);
	if (r == 0 && access(path, R_OK | W_OK | X_OK) != 0)
		r = E_SYSTEM;
	if (r != 0)
		buf_addf(err, "data directory %s: %s", dir, strerror(errno));
	return r;
}

/* ---- lock ---- */

static long
pid_read(int fd)
{
	char text[PID_MAX_LEN];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return strtol(text, NULL, 10);
}

void
lock_sign(int fd)
{
	char text[PID_MAX_LEN];
	int n = snprintf(text, sizeof text, "%d\n", (int)getpid());

	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
		log_warn("the lock file cannot be signed: %s", strerror(errno));
}

int
lock_take(const char *dir, int inherited, int *fd, struct buf *err)
{
	char path[PATH_MAX];
	long holder;

	*fd = inherited;
	if (inherited != -1)
		return 0;
	if ((size_t)snprintf(path, sizeof path, "%s/omniroute.lock", dir) >= sizeof path) {
		buf_addf(err, "data directory %s: its name is too long", dir);
		return E_TOO_LONG;
	}
	*fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd != -1 && flock(*fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (*fd == -1 || errno != EWOULDBLOCK) {
		buf_addf(err, "%s: %s", path, strerror(errno));
	} else if ((holder = pid_read(*fd)) > 0) {
		buf_addf(err,
		    "data directory %s is in use by the gateway with process id %ld; "
		    "to stop that one: kill -QUIT %ld",
		    dir, holder, holder);
	} else {
		buf_addf(err, "data directory %s is in use by another gateway", dir);
	}
	if (*fd == -1)
		return E_SYSTEM;
	close(*fd);
	*fd = -1;
	return E_BUSY;
}

/* ---- pid file ---- */

static bool
beside(char out[PATH_MAX], const char *path, const char *suffix)
{
	return (size_t)snprintf(out, PATH_MAX, "%s%s", path, suffix) < PATH_MAX;
}

int
pidfile_write(const char *path)
{
	char tmp[PATH_MAX], suffix[PID_MAX_LEN];
	int fd, r = E_SYSTEM;

	snprintf(suffix, sizeof suffix, ".%d", (int)getpid());
	if (!beside(tmp, path, suffix))
		return E_TOO_LONG;
	unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd == -1)
		return E_SYSTEM;
	if (fchmod(fd, 0644) == 0 && dprintf(fd, "%d\n", (int)getpid()) > 0)
		r = 0;
	if (close(fd) != 0 || r != 0 || rename(tmp, path) != 0) {
		unlink(tmp);
		r = E_SYSTEM;
	}
	return r;
}

static bool
is_ours(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	long pid;

	if (fd == -1)
		return false;
	pid = pid_read(fd);
	close(fd);
	return pid == (long)getpid();
}

void
pidfile_remove(const char *path)
{
	char old[PATH_MAX];

	if (is_ours(path))
		unlink(path);
	if (beside(old, path, ".oldbin") && is_ours(old))
		unlink(old);
}

void
pidfile_set_aside(const char *path)
{
	char old[PATH_MAX];

	if (beside(old, path, ".oldbin") && is_ours(path) && rename(path, old) != 0)
		log_warn("%s: cannot be renamed to %s: %s", path, old, strerror(errno));
}

void
pidfile_bring_back(const char *path)
{
	char old[PATH_MAX];

	if (!beside(old, path, ".oldbin") || !is_ours(old))
		return;
	if (rename(old, path) != 0)
		log_warn("%s: cannot be renamed to %s: %s", old, path, strerror(errno));
}

void
pidfile_forget_old(const char *path)
{
	char old[PATH_MAX];

	if (beside(old, path, ".oldbin"))
		unlink(old);
}
