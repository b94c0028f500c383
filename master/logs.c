#include "master/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shared/channel.h"
#include "shared/err.h"
#include "shared/log.h"

int
logs_path(const struct master *m, const struct conf *c, char path[PATH_MAX])
{
	bool none =
	    c->log_file == NULL || c->log_file[0] == '\0' || strcmp(c->log_file, "stderr") == 0;
	int n = none && m->daemon ? snprintf(path, PATH_MAX, "%s/omniroute.log", c->data_dir)
				  : snprintf(path, PATH_MAX, "%s", none ? "" : c->log_file);

	return n >= 0 && n < PATH_MAX ? 0 : E_TOO_LONG;
}

static int
error_log_open(const struct master *m, const struct conf *c, struct buf *err)
{
	char path[PATH_MAX];
	int r = logs_path(m, c, path);

	if (r != 0)
		return r;
	if (log_open(path[0] != '\0' ? path : NULL) == 0)
		return 0;
	buf_addf(err, "log_file %s: %s", path, strerror(errno));
	return E_SYSTEM;
}

static int
access_log_open(const struct conf *c, int *out, struct buf *err)
{
	bool none = c->access_log == NULL || c->access_log[0] == '\0';
	const char *path = none ? "/dev/null" : c->access_log;
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY | O_CLOEXEC, 0640);

	if (fd == -1) {
		buf_addf(err, "access_log %s: %s", path, strerror(errno));
		return E_SYSTEM;
	}
	*out = fd;
	return 0;
}

int
logs_open(struct master *m, const struct conf *c, struct buf *err)
{
	int access, r = access_log_open(c, &access, err);

	if (r != 0)
		return r;
	if ((r = error_log_open(m, c, err)) != 0) {
		close(access);
		return r;
	}
	if (m->access_fd != -1)
		close(m->access_fd);
	m->access_fd = access;
	log_set_level((enum log_level)c->log_level);
	log_set_json(c->log_format == 1);
	return 0;
}

int
logs_send(const struct master *m, int channel)
{
	bool access = m->conf->access_log != NULL && m->conf->access_log[0] != '\0';
	const struct channel_msg msg = {.type = MSG_LOGS, .arg = access};
	int fds[] = {log_fd(), m->access_fd};

	return channel_send(channel, &msg, fds, access ? 2 : 1);
}

void
logs_detach(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null == -1)
		return;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fd != log_fd())
			dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
}
