#include "master/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master/options.h"
#include "shared/buf.h"

#define REPORT_MAX 65536
#define SERVES '+'
#define FAILED '-'

static int
wait_for_report(int line)
{
	struct buf text = BUF_INIT(REPORT_MAX);
	ssize_t n = -1;
	char *room;
	bool serves;

	while ((room = buf_reserve(&text, 4096)) != NULL) {
		do
			n = read(line, room, 4096);
		while (n == -1 && errno == EINTR);
		if (n <= 0)
			break;
		text.len += (size_t)n;
	}
	serves = text.len > 0 && text.data[0] == SERVES;
	if (text.len > 1)
		fwrite(text.data + 1, 1, text.len - 1, serves ? stdout : stderr);
	else if (!serves)
		fputs(
		    "omniroute: the gateway ended before it served; its log may say why\n", stderr);
	fflush(stdout);
	buf_wipe(&text);
	return serves ? MASTER_EXIT_OK : MASTER_EXIT_FAILED;
}

bool
daemon_fork(int *line, int *exit_code)
{
	int pair[2];
	pid_t pid;

	*exit_code = MASTER_EXIT_FAILED;
	if (pipe2(pair, O_CLOEXEC) != 0 || (pid = fork()) == -1) {
		fprintf(stderr, "omniroute: cannot go into the background: %s\n", strerror(errno));
		return false;
	}
	if (pid == 0) {
		close(pair[0]);
		setsid();
		*line = pair[1];
		return true;
	}
	close(pair[1]);
	*exit_code = wait_for_report(pair[0]);
	close(pair[0]);
	return false;
}

void
daemon_report(int *line, bool serves, struct span text)
{
	char kind = serves ? SERVES : FAILED;
	size_t sent = 0;
	ssize_t n = write(*line, &kind, 1);

	while (n > 0 && sent < text.n)
		if ((n = write(*line, text.p + sent, text.n - sent)) > 0)
			sent += (size_t)n;
	close(*line);
	*line = -1;
}
