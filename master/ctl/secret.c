#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "master/ctl/ctl.h"

#define SECRET_MAX 16384
#define INTERRUPT 3 /* ^C */

void
ctl_free_secret(char *secret)
{
	if (!secret)
		return;
	explicit_bzero(secret, strlen(secret));
	free(secret);
}

/* White space at both ends is what editors and here-documents leave there. */
static int
take(const struct ctl *c, const char *from, char *p, size_t n, char **secret)
{
	while (n > 0 && strchr(" \t\r\n", p[n - 1]))
		n--;
	while (n > 0 && strchr(" \t\r\n", *p)) {
		p++;
		n--;
	}
	if (n == 0)
		return ctl_fail(c, CTL_USAGE, "%s holds no key", from);
	if (memchr(p, '\n', n) || memchr(p, '\0', n))
		return ctl_fail(c, CTL_USAGE, "%s holds more than one line", from);
	*secret = strndup(p, n);
	return *secret ? CTL_OK : ctl_fail(c, CTL_FAILED, "out of memory");
}

static int
read_all(const struct ctl *c, int fd, const char *from, char **secret)
{
	char *p = malloc(SECRET_MAX + 1);
	size_t n = 0;
	ssize_t got = 1;
	int r;

	while (p && n <= SECRET_MAX && got > 0) {
		got = read(fd, p + n, SECRET_MAX + 1 - n);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			n += (size_t)got;
	}
	if (!p)
		r = ctl_fail(c, CTL_FAILED, "out of memory");
	else if (got < 0)
		r = ctl_fail(c, CTL_FAILED, "%s: %s", from, strerror(errno));
	else if (n > SECRET_MAX)
		r = ctl_fail(c, CTL_USAGE, "%s is longer than a key can be", from);
	else
		r = take(c, from, p, n, secret);
	if (p)
		explicit_bzero(p, SECRET_MAX + 1);
	free(p);
	return r;
}

static int
from_file(const struct ctl *c, const char *path, char **secret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), r;

	if (fd < 0)
		return ctl_fail(c, CTL_USAGE, "--key-file %s: %s", path, strerror(errno));
	r = read_all(c, fd, path, secret);
	close(fd);
	return r;
}

static int
from_env(const struct ctl *c, const char *name, char **secret)
{
	char from[128];
	const char *v = getenv(name);

	if (!v)
		return ctl_fail(c, CTL_USAGE,
		    "--key-env %s: there is no such variable in the environment", name);
	snprintf(from, sizeof from, "the environment variable %s", name);
	return take(c, from, (char *)(uintptr_t)v, strlen(v), secret);
}

int
ctl_read_secret(const struct ctl *c, char **secret)
{
	const char *file = ctl_value(c, "key-file"), *env = ctl_value(c, "key-env");
	bool in = ctl_flag(c, "key-stdin"), no = ctl_flag(c, "no-key");

	*secret = NULL;
	if ((file != NULL) + (env != NULL) + in + no > 1)
		return ctl_fail(
		    c, CTL_USAGE, "only one of --key-stdin, --key-file, --key-env and --no-key");
	if (in && isatty(STDIN_FILENO))
		return ctl_ask_secret(c, "Key: ", secret);
	if (in)
		return read_all(c, STDIN_FILENO, "standard input", secret);
	if (file)
		return from_file(c, file, secret);
	return env ? from_env(c, env, secret) : CTL_OK;
}

/* The terminal is put back even when ^C ends the question. */
int
ctl_ask_secret(const struct ctl *c, const char *prompt, char **secret)
{
	struct termios old, quiet;
	sigset_t block, before;
	char line[SECRET_MAX];
	size_t n = 0;
	ssize_t got;
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC), r;

	if (fd < 0 || tcgetattr(fd, &old) != 0) {
		if (fd >= 0)
			close(fd);
		return ctl_fail(c, CTL_USAGE,
		    "there is no terminal to ask for the key: use --key-stdin, --key-file or "
		    "--key-env");
	}
	sigemptyset(&block);
	sigaddset(&block, SIGINT);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGTSTP);
	sigprocmask(SIG_BLOCK, &block, &before);
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	tcsetattr(fd, TCSAFLUSH, &quiet);
	dprintf(fd, "%s", prompt);
	while ((got = read(fd, line + n, 1)) == 1 && line[n] != '\n' && line[n] != INTERRUPT &&
	       n < sizeof line - 1)
		n++;
	tcsetattr(fd, TCSAFLUSH, &old);
	dprintf(fd, "\n");
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(fd);
	if (got == 1 && line[n] == '\n')
		r = take(c, "the answer", line, n, secret);
	else /* half a key is none */
		r = ctl_fail(c, CTL_USAGE, "no key was given");
	explicit_bzero(line, sizeof line);
	return r;
}
