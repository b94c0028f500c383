#include "master/signals.h"

#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/supervise.h"
#include "master/upgrade.h"
#include "shared/err.h"
#include "shared/log.h"

static void
reap(struct master *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (!supervise_reap(m, pid, status) && !upgrade_reap(m, pid, status))
			log_debug("child %d that nobody knows has ended", (int)pid);
}

static void
stop_fast(struct master *m)
{
	master_stop(m, false);
}

static void
stop_gracefully(struct master *m)
{
	master_stop(m, true);
}

static void
reload(struct master *m)
{
	struct buf err = BUF_INIT(8192);

	if (master_reload(m, &err) != 0)
		log_debug("the reload asked for by a signal changed nothing");
	buf_clear(&err);
}

static void
upgrade(struct master *m)
{
	master_upgrade(m, NULL, NULL);
}

/* The kernel sends WINCH to whoever stands in the foreground of a terminal that is resized; that is
 * nobody's order. */
static bool
terminal_resized(struct winsize *last)
{
	struct winsize now;
	int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);
	bool resized = false;

	if (fd == -1)
		return false;
	if (ioctl(fd, TIOCGWINSZ, &now) == 0) {
		resized = memcmp(&now, last, sizeof now) != 0;
		*last = now;
	}
	close(fd);
	return resized;
}

static const struct row {
	int signo;
	const char *name;
	void (*act)(struct master *m);
} table[] = {
    {SIGCHLD, "CHLD", reap},
    {SIGTERM, "TERM", stop_fast},
    {SIGINT, "INT", stop_fast},
    {SIGQUIT, "QUIT", stop_gracefully},
    {SIGHUP, "HUP", reload},
    {SIGUSR1, "USR1", master_reopen},
    {SIGUSR2, "USR2", upgrade},
    {SIGWINCH, "WINCH", master_retire},
};

struct signals {
	struct event *event[NELEM(table)], *drain;
	unsigned pending; /* a bit per row */
	struct winsize terminal;
};

static void
on_signal(evutil_socket_t signo, short what, void *ctx)
{
	struct signals *s = ((struct master *)ctx)->signals;

	(void)what;
	for (size_t i = 0; i < NELEM(table); i++)
		if (table[i].signo == signo)
			s->pending |= 1u << i;
	event_active(s->drain, EV_TIMEOUT, 0);
}

static void
on_drain(evutil_socket_t fd, short what, void *ctx)
{
	struct master *m = ctx;
	unsigned pending = m->signals->pending;

	(void)fd;
	(void)what;
	m->signals->pending = 0;
	for (size_t i = 0; i < NELEM(table); i++) {
		if ((pending >> i & 1) == 0 ||
		    (table[i].signo == SIGWINCH && terminal_resized(&m->signals->terminal)))
			continue;
		if (table[i].signo != SIGCHLD)
			log_notice("signal %s", table[i].name);
		table[i].act(m);
	}
}

int
signals_start(struct master *m)
{
	struct signals *s = calloc(1, sizeof *s);

	if (s == NULL)
		return E_NOMEM;
	m->signals = s;
	(void)terminal_resized(&s->terminal);
	if ((s->drain = event_new(m->base, -1, 0, on_drain, m)) == NULL)
		return E_NOMEM;
	for (size_t i = 0; i < NELEM(table); i++) {
		s->event[i] = evsignal_new(m->base, table[i].signo, on_signal, m);
		if (s->event[i] == NULL || event_add(s->event[i], NULL) != 0)
			return E_NOMEM;
	}
	return 0;
}

void
signals_free(struct master *m)
{
	struct signals *s = m->signals;

	if (s == NULL)
		return;
	for (size_t i = 0; i < NELEM(table); i++)
		if (s->event[i] != NULL)
			event_free(s->event[i]);
	if (s->drain != NULL)
		event_free(s->drain);
	free(s);
	m->signals = NULL;
}
