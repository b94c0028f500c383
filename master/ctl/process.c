/* reload, reopen, stop, quit, upgrade: each waits for its outcome. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "master/ctl/ctl.h"
#include "shared/clock.h"

#define STOP_S 60
#define UPGRADE_CALL_MS 120000
#define QUIT_S INT64_C(315360000) /* shutdown_timeout bounds it, if anything does */

int
ctl_run_reload(struct ctl *c)
{
	const json_t *force;
	json_t *o;
	int r = ctl_call(c, "reload", NULL, CTL_TIMEOUT_MS, &o);

	if (r != CTL_OK)
		return r;
	force = json_object_get(o, "in_force");
	if (c->json) {
		ctl_print_json(o);
	} else {
		printf("The configuration is in force: snapshot %lld on %lld workers",
		    (long long)ctl_int(force, "snapshot"), (long long)ctl_int(force, "workers"));
		if (ctl_int(force, "late"))
			printf(", %lld more will take it before they serve again",
			    (long long)ctl_int(force, "late"));
		putchar('\n');
		if (*ctl_str(o, "note"))
			printf("%s\n", ctl_str(o, "note"));
	}
	json_decref(o);
	return CTL_OK;
}

int
ctl_run_reopen(struct ctl *c)
{
	json_t *o;
	int r = ctl_call(c, "reopen", NULL, CTL_TIMEOUT_MS, &o);

	if (r != CTL_OK)
		return r;
	if (c->json)
		ctl_print_json(o);
	else
		puts("The log files are open again");
	json_decref(o);
	return CTL_OK;
}

/* A descriptor that becomes readable when the process ends, whoever's child it is. */
static int
watch(const struct ctl *c, pid_t pid, int *fd)
{
	*fd = pidfd_open(pid, 0);
	if (*fd >= 0 || errno == ESRCH)
		return CTL_OK;
	return ctl_fail(
	    c, CTL_FAILED, "process %d cannot be watched: %s", (int)pid, strerror(errno));
}

static int
wait_gone(const struct ctl *c, int fd, pid_t pid, int64_t timeout_s)
{
	uint64_t deadline = clock_now_ns() + (uint64_t)timeout_s * NS_PER_SEC;
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (fd >= 0) {
		uint64_t now = clock_now_ns();
		int n;

		if (now >= deadline)
			return ctl_fail(c, CTL_FAILED,
			    "the master (pid %d) still runs after %lld s", (int)pid,
			    (long long)timeout_s);
		n = poll(&p, 1, (int)MIN((deadline - now) / NS_PER_MS + 1, UINT64_C(60000)));
		if (n > 0)
			break;
		if (n < 0 && errno != EINTR)
			return ctl_fail(
			    c, CTL_FAILED, "waiting for process %d: %s", (int)pid, strerror(errno));
	}
	return CTL_OK;
}

static int
timeout_of(const struct ctl *c, int64_t otherwise, int64_t *seconds)
{
	const char *v = ctl_value(c, "timeout");

	*seconds = otherwise;
	if (!v || ctl_parse_span(v, seconds))
		return CTL_OK;
	return ctl_fail(c, CTL_USAGE, "--timeout \"%.40s\" is not a span such as 90s, 5m or 1h", v);
}

static int
master_pid(const struct ctl *c, pid_t *pid)
{
	json_t *o;
	int r = ctl_call(c, "version", NULL, CTL_TIMEOUT_MS, &o);

	if (r != CTL_OK)
		return r;
	*pid = (pid_t)ctl_int(o, "pid");
	json_decref(o);
	return *pid > 0 ? CTL_OK
			: ctl_fail(c, CTL_FAILED, "the master does not say which process it is");
}

static int
leave(struct ctl *c, const char *method, int64_t default_s)
{
	int64_t timeout_s;
	json_t *o = NULL;
	pid_t pid;
	int fd = -1;
	int r = timeout_of(c, default_s, &timeout_s);

	if (r == CTL_OK)
		r = master_pid(c, &pid);
	if (r == CTL_OK)
		r = watch(c, pid, &fd);
	if (r == CTL_OK)
		r = ctl_call(c, method, NULL, CTL_TIMEOUT_MS, &o);
	if (r == CTL_OK)
		r = wait_gone(c, fd, pid, timeout_s);
	if (r == CTL_OK && c->json)
		ctl_print_json(o);
	else if (r == CTL_OK)
		printf("OmniRoute (pid %d) has stopped\n", (int)pid);
	json_decref(o);
	if (fd >= 0)
		close(fd);
	return r;
}

int
ctl_run_stop(struct ctl *c)
{
	return leave(c, "stop", STOP_S);
}

int
ctl_run_quit(struct ctl *c)
{
	return leave(c, "quit", QUIT_S);
}

/* The new master serves; now the old one goes, unless it is to stay. */
static int
retire_old(const struct ctl *c, int fd, pid_t old, int64_t timeout_s)
{
	pid_t now;
	int r;

	if (fd >= 0 && pidfd_send_signal(fd, SIGQUIT, NULL, 0) != 0 && errno != ESRCH)
		return ctl_fail(c, CTL_FAILED,
		    "the new master serves, but the old one (pid %d) cannot be told to quit: "
		    "%s",
		    (int)old, strerror(errno));
	r = wait_gone(c, fd, old, timeout_s);
	if (r == CTL_OK)
		r = master_pid(c, &now);
	if (r == CTL_OK && now == old)
		r = ctl_fail(c, CTL_FAILED, "the old master still answers");
	return r;
}

int
ctl_run_upgrade(struct ctl *c)
{
	int64_t timeout_s;
	json_t *o = NULL;
	pid_t old;
	int fd = -1;
	int r = timeout_of(c, QUIT_S, &timeout_s);

	if (r == CTL_OK)
		r = master_pid(c, &old);
	if (r == CTL_OK)
		r = watch(c, old, &fd);
	if (r == CTL_OK)
		r = ctl_call(c, "upgrade", NULL, UPGRADE_CALL_MS, &o);
	if (r == CTL_OK && !ctl_flag(c, "keep-old"))
		r = retire_old(c, fd, old, timeout_s);
	if (r == CTL_OK && c->json)
		ctl_print_json(o);
	else if (r == CTL_OK && ctl_flag(c, "keep-old"))
		printf("The new master (pid %lld) serves beside the old one (pid %d)\n",
		    (long long)ctl_int(o, "pid"), (int)old);
	else if (r == CTL_OK)
		printf("The new master (pid %lld) serves; the old one (pid %d) has gone\n",
		    (long long)ctl_int(o, "pid"), (int)old);
	json_decref(o);
	if (fd >= 0)
		close(fd);
	return r;
}
