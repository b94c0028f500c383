#include "worker/inbox.h"

#include <event2/event.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "shared/channel.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/snapshot.h"
#include "worker/accesslog.h"
#include "worker/shelf.h"
#include "worker/worker.h"

/* Snapshots that may come within one turn of the loop; more wait in the channel. */
#define STALE_MAX 64

struct inbox inbox;

static struct {
	int fd;
	struct event *readable, *deferred;
	struct snapshot *current, *stale[STALE_MAX];
	unsigned nstale;
	uint64_t seen; /* highest number that was read, or given up on */
	bool owe_taken, owe_ready;
} box = {.fd = -1};

/* ---- to the master ---- */

static bool
tell(uint32_t type, uint64_t arg, uint64_t arg2)
{
	struct channel_msg m = {.type = type, .arg = arg, .arg2 = arg2};

	return channel_send(box.fd, &m, NULL, 0) != E_AGAIN;
}

int
inbox_send(const struct channel_msg *m, const int *fds, unsigned nfds)
{
	return channel_send(box.fd, m, fds, nfds);
}

void
inbox_tick(void)
{
	if (box.owe_ready)
		box.owe_ready = !tell(MSG_READY, 0, 0);
	if (box.owe_taken)
		box.owe_taken = !tell(MSG_TAKEN, snapshot_head(box.current)->number, 0);
}

void
inbox_ready(void)
{
	box.owe_ready = true;
	inbox_tick();
}

void
inbox_taken(void)
{
	while (box.nstale > 0)
		snapshot_put(box.stale[--box.nstale]);
	if (!inbox.changed)
		return;
	inbox.changed = false;
	box.owe_taken = true;
	inbox_tick();
}

/* ---- from the master ---- */

static void
put_in_force(struct snapshot *s)
{
	const struct snap_head *h = snapshot_head(s);

	if (box.current != NULL)
		box.stale[box.nstale++] = box.current;
	box.current = s;
	inbox.changed = true;
	inbox.refused = 0;
	log_set_level((enum log_level)MIN(h->settings.log_level, LOG_LV_DEBUG));
	log_set_json(h->settings.log_json != 0);
	live_bump(&worker.me->counter[CTR_snapshots], 1);
	atomic_store_explicit(&worker.me->have_snap, h->number, memory_order_release);
}

static void
read_snapshot(const struct channel_msg *m, const int *fds, unsigned nfds)
{
	struct snapshot *s = NULL;
	int r = nfds == 1 ? snapshot_open(fds[0], &s) : E_SYNTAX;

	if (r == 0 && snapshot_head(s)->number != m->arg)
		r = E_SYNTAX;
	box.seen = MAX(box.seen, m->arg);
	if (r == 0) {
		put_in_force(s);
		return;
	}
	snapshot_put(s);
	inbox.refused = r;
	log_error("snapshot %" PRIu64 " refused: %s", m->arg, err_text(r));
	if (!tell(MSG_REFUSED, m->arg, (uint64_t)(int64_t)r))
		log_warn("the master cannot be told of it: its channel is full");
}

/* The descriptors that are used up here are set to -1. */
static void
read_logs(const struct channel_msg *m, int *fds, unsigned nfds)
{
	bool access = (m->arg & 1) != 0 && nfds > 1;

	if (nfds == 0)
		return;
	log_use_fd(fds[0]);
	accesslog_use_fd(access ? fds[1] : -1);
	fds[0] = -1;
	if (access)
		fds[1] = -1;
}

static void
read_message(const struct channel_msg *m, int *fds, unsigned nfds)
{
	switch ((enum channel_type)m->type) {
	case MSG_SNAPSHOT:
		read_snapshot(m, fds, nfds);
		break;
	case MSG_LOGS:
		read_logs(m, fds, nfds);
		break;
	case MSG_RETIRE:
		inbox.retire = true;
		break;
	case MSG_KEPT:
		shelf_kept(m->arg, (int)(int64_t)m->arg2);
		break;
	case MSG_STOP:
		inbox.stop = true;
		break;
	default:
		log_error("message %" PRIu32 " is not for a worker", m->type);
		inbox.error = E_SYNTAX;
	}
	for (unsigned i = 0; i < nfds; i++)
		if (fds[i] != -1)
			close(fds[i]);
}

/* All that is there; E_AGAIN: nothing is left. */
static int
read_all(void)
{
	int fds[CHANNEL_FDS], r = 0;
	struct channel_msg m;
	unsigned nfds;

	while (box.nstale < STALE_MAX && (r = channel_recv(box.fd, &m, fds, &nfds)) == 0) {
		read_message(&m, fds, nfds);
		event_active(box.deferred, 0, 0);
	}
	if (r == 0 || r == E_AGAIN)
		return r;
	if (r == E_CLOSED)
		inbox.closed = true;
	else
		inbox.error = r;
	event_del(box.readable);
	event_active(box.deferred, 0, 0);
	return r;
}

static void
on_readable(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)ctx;
	read_all();
}

/*
 * The master announces a number after it has sent the packet: what is announced can be read now. If
 * it cannot, the master has broken its word; that is said once for each number, and the snapshot
 * that we have stays in force.
 */
struct snapshot *
worker_snapshot(void)
{
	uint64_t want = atomic_load_explicit(&worker.me->want_snap, memory_order_acquire);

	if (want <= box.seen || inbox.closed || inbox.error != 0)
		return box.current;
	if (read_all() == E_AGAIN && box.seen < want) {
		log_error("snapshot %" PRIu64 " was announced and is not there; %" PRIu64
			  " stays in force",
		    want, box.current != NULL ? snapshot_head(box.current)->number : 0);
		box.seen = want;
	}
	return box.current;
}

/* ---- life ---- */

static void
on_deferred(evutil_socket_t fd, short what, void *ctx)
{
	void (*act)(void) = *(void (**)(void))ctx;

	(void)fd;
	(void)what;
	act();
}

int
inbox_open(struct event_base *base, int fd, void (*act)(void))
{
	static void (*call)(void);

	call = act;
	box.fd = fd;
	box.deferred = event_new(base, -1, 0, on_deferred, &call);
	box.readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, NULL);
	if (box.deferred == NULL || box.readable == NULL)
		return E_NOMEM;
	return event_add(box.readable, NULL) == 0 ? 0 : E_SYSTEM;
}

void
inbox_close(void)
{
	while (box.nstale > 0)
		snapshot_put(box.stale[--box.nstale]);
	snapshot_put(box.current);
	if (box.readable != NULL)
		event_free(box.readable);
	if (box.deferred != NULL)
		event_free(box.deferred);
	memset(&box, 0, sizeof box);
	box.fd = -1;
}
