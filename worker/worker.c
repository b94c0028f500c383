#include "worker/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "shared/channel.h"
#include "shared/clock.h"
#include "shared/curlio.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/seal.h"
#include "shared/snapshot.h"
#include "shared/spool.h"
#include "worker/accesslog.h"
#include "worker/endpoint.h"
#include "worker/exchange.h"
#include "worker/http.h"
#include "worker/inbox.h"
#include "worker/lean.h"
#include "worker/shelf.h"
#include "worker/view.h"

#define TICK_MS 500
/* Records wait this long for company before the master is woken, unless there are many. */
#define WAKE_MS 50
#define WAKE_AT (RING_CELLS / 8)
#define WAKE_STEP 64 /* and not for each of them again while it is at work */

struct worker worker;

static struct {
	unsigned listeners;
	bool serving, leaving;
	int code;
	struct event *tick, *wake, *term, *deadline;
	int statm;
	uint64_t lost; /* log lines already counted */
	char context[32];
} life;

/* ---- leaving ---- */

static void
leave(int code)
{
	if (!life.leaving)
		life.code = code;
	life.leaving = true;
	event_base_loopbreak(worker.base);
}

static void
on_idle(void *ctx)
{
	(void)ctx;
	log_info("idle, leaving");
	leave(WORKER_EXIT_OK);
}

static void
on_deadline(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)ctx;
	log_notice("shutdown_timeout is over: %u connections and %u chats are broken off",
	    http_connections(worker.http), exchange_count());
	leave(WORKER_EXIT_OK);
}

static void
on_term(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)ctx;
	log_notice("signal TERM: leaving at once");
	leave(WORKER_EXIT_OK);
}

static struct timeval
timeval_ms(uint32_t ms)
{
	return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
}

static void
retire(void)
{
	uint32_t ms = snapshot_head(worker_snapshot())->settings.shutdown_timeout_ms;
	struct timeval tv = timeval_ms(ms);

	if (inbox.closed)
		log_warn("the master is gone: finishing what is in hand, then leaving");
	worker.retiring = true;
	atomic_store(&worker.me->state, WORKER_RETIRING);
	if (ms > 0)
		event_add(life.deadline, &tv);
	http_retire(worker.http, on_idle, NULL);
}

/* ---- signs of life ---- */

static uint32_t
resident_kb(void)
{
	unsigned long size, resident;
	char text[64];
	ssize_t n = life.statm == -1 ? -1 : pread(life.statm, text, sizeof text - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	if (sscanf(text, "%lu %lu", &size, &resident) != 2)
		return 0;
	return (uint32_t)(resident * (unsigned long)sysconf(_SC_PAGESIZE) / 1024);
}

static void
count_lost_lines(void)
{
	uint64_t lost = log_lost() + accesslog_lost();

	if (lost > life.lost)
		live_bump(&worker.me->counter[CTR_log_lines_lost], lost - life.lost);
	life.lost = lost;
}

static void
on_tick(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)ctx;
	atomic_store(&worker.me->heartbeat_ns, clock_now_ns());
	atomic_store(&worker.me->rss_kb, resident_kb());
	count_lost_lines();
	inbox_tick();
	if (life.serving)
		shelf_tick();
}

static void
wake_now(void)
{
	uint64_t one = 1;

	/* EAGAIN: the counter is full, so that it is awake already. */
	if (write(WORKER_FD_EVENT, &one, sizeof one) != sizeof one && errno != EAGAIN)
		log_debug("the master cannot be woken: %s", strerror(errno));
}

static void
on_wake(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)ctx;
	wake_now();
}

void
worker_wake_master(void)
{
	struct timeval tv = timeval_ms(WAKE_MS);
	uint64_t pending = ring_pending(&worker.me->ring);

	if (pending >= WAKE_AT && pending % WAKE_STEP == 0)
		wake_now();
	if (life.wake != NULL && !event_pending(life.wake, EV_TIMEOUT, NULL))
		event_add(life.wake, &tv);
}

/* ---- serving ---- */

static void
settings_applied(void)
{
	struct snapshot *snap = worker_snapshot();

	accesslog_format(snapshot_cstr(snap, snapshot_head(snap)->settings.access_log_format));
	if (worker.http != NULL)
		http_settings_changed(worker.http);
}

static int
serve(void)
{
	const struct snap_settings *set = &snapshot_head(worker_snapshot())->settings;
	int r;

	worker.curl = curlio_new(worker.base, set->upstream_keepalive);
	worker.ring = ring_writer_new(&worker.me->ring, worker.generation);
	if (worker.curl == NULL || worker.ring == NULL)
		return E_NOMEM;
	worker.http = http_server_new(
	    worker.base, &endpoint_handler, worker_snapshot, worker.me, worker.live->worker);
	if (worker.http == NULL)
		return E_NOMEM;
	settings_applied();
	shelf_open();
	for (unsigned i = 0; i < life.listeners; i++)
		if ((r = http_listen(worker.http, WORKER_FD_LISTEN + (int)i, i)) != 0)
			return r;
	life.serving = true;
	atomic_store(&worker.me->state, WORKER_READY);
	inbox_ready();
	lean_drop_startup();
	log_info("serving on %u listeners", life.listeners);
	return 0;
}

/* The first snapshot, or none: to be started again, or not. */
static void
begin(void)
{
	int r;

	if (inbox.retire || inbox.closed) {
		leave(WORKER_EXIT_OK);
	} else if (inbox.changed) {
		if ((r = serve()) != 0) {
			log_error("cannot serve: %s", err_text(r));
			leave(WORKER_EXIT_FAILED);
		}
	} else if (inbox.refused != 0) {
		leave(inbox.refused == E_VERSION ? WORKER_EXIT_NO_RETRY : WORKER_EXIT_FAILED);
	}
}

/* What the master sent, in a fixed order; called from the loop alone. */
static void
act(void)
{
	if (life.leaving)
		return;
	if (inbox.error != 0) {
		log_error("channel: %s", err_text(inbox.error));
		leave(WORKER_EXIT_FAILED);
		return;
	}
	if (inbox.stop) {
		leave(WORKER_EXIT_OK);
		return;
	}
	if (!life.serving)
		begin();
	else if (inbox.changed)
		settings_applied();
	if (life.leaving)
		return;
	inbox_taken();
	if (life.serving && (inbox.retire || inbox.closed) && !worker.retiring)
		retire();
}

/* ---- start and end ---- */

/* ^C and ^\ of a terminal go to every process of its group: the master alone decides what they
 * mean. */
static void
ignore_signals(void)
{
	static const int ignored[] = {SIGPIPE, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};

	for (size_t i = 0; i < NELEM(ignored); i++)
		signal(ignored[i], SIG_IGN);
}

static struct event_base *
base_new(void)
{
	struct event_config *cfg = event_config_new();
	struct event_base *base = NULL;

	if (cfg != NULL && event_config_set_flag(cfg,
			       EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0)
		base = event_base_new_with_config(cfg);
	if (cfg != NULL)
		event_config_free(cfg);
	return base;
}

static int
events_new(void)
{
	struct timeval tv = timeval_ms(TICK_MS);

	life.tick = event_new(worker.base, -1, EV_PERSIST, on_tick, NULL);
	life.wake = evtimer_new(worker.base, on_wake, NULL);
	life.deadline = evtimer_new(worker.base, on_deadline, NULL);
	life.term = evsignal_new(worker.base, SIGTERM, on_term, NULL);
	if (life.tick == NULL || life.wake == NULL || life.deadline == NULL || life.term == NULL)
		return E_NOMEM;
	if (event_add(life.tick, &tv) != 0 || event_add(life.term, NULL) != 0)
		return E_SYSTEM;
	on_tick(-1, 0, NULL);
	return inbox_open(worker.base, WORKER_FD_CHANNEL, act);
}

/* The slot must be the one that the master has taken for us: everything in it has one writer. */
static int
slot_open(const struct worker_args *args)
{
	int r = live_map(WORKER_FD_LIVE, &worker.live);

	if (r != 0)
		return r;
	if (args->slot >= LIVE_WORKERS ||
	    atomic_load(&worker.live->worker[args->slot].generation) != args->generation)
		return E_RANGE;
	worker.me = &worker.live->worker[args->slot];
	worker.slot = args->slot;
	worker.generation = args->generation;
	return 0;
}

static int
start(const struct worker_args *args)
{
	int r;

	life.listeners = args->listeners;
	life.statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	accesslog_use_fd(WORKER_FD_ACCESS);
	snprintf(life.context, sizeof life.context, "worker=%u", args->slot);
	log_context(life.context);
	if ((r = seal_init()) != 0) {
		log_error("libsodium: %s", err_text(r));
		return WORKER_EXIT_FAILED;
	}
	if ((r = slot_open(args)) != 0) {
		log_error("live region: slot %u of generation %" PRIu64 ": %s", args->slot,
		    args->generation, err_text(r));
		return r == E_SYSTEM ? WORKER_EXIT_FAILED : WORKER_EXIT_NO_RETRY;
	}
	if ((worker.base = base_new()) == NULL || (r = events_new()) != 0) {
		log_error("event loop: %s", err_text(worker.base == NULL ? E_NOMEM : r));
		return WORKER_EXIT_FAILED;
	}
	return WORKER_EXIT_OK;
}

static bool
master_is_gone(void)
{
	struct pollfd p = {.fd = WORKER_FD_CHANNEL, .events = 0};

	return inbox.closed || (poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0);
}

/* Closing the server ends what is in hand and books it; only then nothing more is added to the
 * ring. */
static void
stop_serving(void)
{
	int r;

	if (worker.http != NULL)
		http_server_free(worker.http);
	exchange_shutdown();
	shelf_close();
	curlio_free(worker.curl);
	worker.http = NULL;
	worker.curl = NULL;
	if (worker.ring == NULL)
		return;
	if (!master_is_gone())
		wake_now();
	else if ((r = spool_write(WORKER_FD_SPOOL, &worker.me->ring)) != 0)
		log_error("usage records cannot be kept: %s: %s", err_text(r), strerror(errno));
	ring_writer_free(worker.ring);
	worker.ring = NULL;
}

static void
end(void)
{
	struct event **events[] = {&life.tick, &life.wake, &life.deadline, &life.term};

	stop_serving();
	if (worker.me != NULL)
		count_lost_lines();
	accesslog_close();
	view_free();
	inbox_close();
	for (size_t i = 0; i < NELEM(events); i++) {
		if (*events[i] != NULL)
			event_free(*events[i]);
		*events[i] = NULL;
	}
	if (worker.base != NULL)
		event_base_free(worker.base);
	libevent_global_shutdown();
	if (life.statm != -1)
		close(life.statm);
	live_unmap(worker.live);
	worker = (struct worker){0};
}

int
worker_main(const struct worker_args *args)
{
	if (prctl(PR_SET_DUMPABLE, 0) != 0)
		return WORKER_EXIT_FAILED;
	ignore_signals();
	log_set_role("worker");
	log_use_fd(WORKER_FD_LOG);
	if ((life.code = start(args)) == WORKER_EXIT_OK && event_base_dispatch(worker.base) == -1) {
		log_error("the event loop failed: %s", strerror(errno));
		life.code = WORKER_EXIT_FAILED;
	}
	end();
	return life.code;
}
