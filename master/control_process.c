/* What signals do as well: reload, reopen, stop, quit, upgrade. */
#include <event2/event.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "master/control.h"
#include "shared/err.h"
#include "shared/log.h"

/* A bad file changes nothing; a good one is answered when all workers have it. */
void
control_reload(struct master *m, struct control_job *job)
{
	struct buf why = BUF_INIT(4096);
	int r = master_reload(m, &why);

	if (r < 0 && why.len)
		control_job_fail(
		    job, CONTROL_FAILED, "%s", buf_cstr(&why) ? why.data : err_text(r));
	else if (r < 0)
		control_job_fail(job, CONTROL_FAILED, "%s", err_text(r));
	else
		control_job_publish(
		    job, json_pack("{s:i, s:s?, s:s*}", "pid", (int)getpid(), "config_file",
			     m->conf->file, "note", why.len ? buf_cstr(&why) : NULL));
	buf_clear(&why);
}

void
control_reopen(struct master *m, struct control_job *job)
{
	master_reopen(m);
	control_job_reply(job, json_pack("{s:i}", "pid", (int)getpid()));
}

/* The answer leaves before the master does: the loop writes it in its next turn. */
static const struct timeval after_answer = {.tv_usec = 20000};

static void
stop_now(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	master_stop(ctx, false);
}

static void
quit_now(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	master_stop(ctx, true);
}

static void
leave(struct master *m, struct control_job *job, event_callback_fn how)
{
	if (event_base_once(m->base, -1, EV_TIMEOUT, how, m, &after_answer) != 0) {
		control_job_fail(job, CONTROL_INTERNAL, "out of memory");
		return;
	}
	control_job_reply(job, json_pack("{s:i}", "pid", (int)getpid()));
}

void
control_stop(struct master *m, struct control_job *job)
{
	leave(m, job, stop_now);
}

void
control_quit(struct master *m, struct control_job *job)
{
	leave(m, job, quit_now);
}

static void
on_upgraded(void *ctx, int error, int new_pid, const char *why)
{
	struct control_job *job = ctx;

	if (!control_job_alive(job))
		return;
	if (error)
		control_job_fail(job, CONTROL_FAILED, "%s", why && *why ? why : err_text(error));
	else
		control_job_reply(
		    job, json_pack("{s:i, s:i}", "pid", new_pid, "old_pid", (int)getpid()));
}

void
control_upgrade(struct master *m, struct control_job *job)
{
	master_upgrade(m, on_upgraded, job);
}
