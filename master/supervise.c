#include "master/supervise.h"

#include <event2/event.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/proc.h"
#include "master/publish.h"
#include "master/spawn.h"
#include "master/start.h"
#include "master/stored.h"
#include "master/usage.h"
#include "shared/channel.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/store.h"

#define TICK_MS 250
#define GIVE_UP_AFTER 5 /* early deaths before anything was ever served */
/* A worker that serves this long makes earlier deaths forgotten. */
#define FORGIVE_NS (10 * NS_PER_SEC)
#define FULL_MS 500 /* until slots are looked for again */
#define REFUSED_MS \
	10000u /* until those that said "never again" are asked again, if nobody else serves */

struct supervisor {
	struct proc_list procs;
	struct event *tick, *birth;
	struct throttle throttle;
	struct spawn_identity identity;
	uint64_t tick_ns;        /* when it last ran */
	uint64_t birth_ns;       /* not before */
	unsigned epoch, refused; /* refused: workers of this epoch that said "never again" */
	bool retired, stopping;
};

/* ---- views ---- */

struct proc_list *
supervise_procs(const struct master *m)
{
	return &m->supervisor->procs;
}

unsigned
supervise_count(const struct master *m)
{
	const struct proc *p;
	unsigned n = 0;

	TAILQ_FOREACH (p, &m->supervisor->procs, link)
		n++;
	return n;
}

unsigned
supervise_view(const struct master *m, struct worker_view *out, unsigned max)
{
	static const enum live_worker_state shown[] = {
	    [PROC_STARTING] = WORKER_STARTING,
	    [PROC_READY] = WORKER_READY,
	    [PROC_RETIRING] = WORKER_RETIRING,
	    [PROC_STOPPING] = WORKER_RETIRING,
	    [PROC_KILLED] = WORKER_RETIRING,
	};
	const struct proc *p;
	unsigned n = 0;

	TAILQ_FOREACH (p, &m->supervisor->procs, link) {
		if (n < max)
			out[n] = (struct worker_view){.slot = p->slot,
			    .pid = (int)p->pid,
			    .generation = p->generation,
			    .state = shown[p->state],
			    .started_ns = p->started_ns};
		n++;
	}
	return MIN(n, max);
}

static unsigned
cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof set, &set) != 0)
		return 1;
	return (unsigned)MIN(CPU_COUNT(&set), LIVE_WORKERS / 2);
}

static unsigned
wanted(const struct master *m)
{
	const struct supervisor *s = m->supervisor;
	unsigned n = m->conf->workers > 0 ? (unsigned)MIN(m->conf->workers, LIVE_WORKERS) : cores();

	if (s->retired || s->stopping)
		return 0;
	return n - MIN(n, s->refused);
}

/* ---- what a worker says ---- */

static void
proc_ready(struct proc *p)
{
	struct master *m = p->m;

	if (p->state != PROC_STARTING)
		return;
	p->state = PROC_READY;
	p->deadline_ns = 0;
	p->ready_ns = clock_now_ns();
	log_info("worker %d ready worker=%u generation=%llu", (int)p->pid, p->slot,
	    (unsigned long long)p->generation);
	master_serving(m);
	supervise_check(m);
}

static void
on_message(evutil_socket_t fd, short what, void *ctx)
{
	struct proc *p = ctx;
	struct channel_msg msg;
	int fds[CHANNEL_FDS], r = 0;
	unsigned nfds;

	(void)what;
	while (p->state != PROC_KILLED && (r = channel_recv(fd, &msg, fds, &nfds)) == 0) {
		switch (msg.type) {
		case MSG_READY:
			proc_ready(p);
			break;
		case MSG_TAKEN:
			publish_taken(p, msg.arg);
			break;
		case MSG_REFUSED:
			publish_refused(p, msg.arg, (int)(int64_t)msg.arg2);
			break;
		case MSG_KEEP:
			r = stored_take(p, &msg, fds, nfds);
			break;
		default:
			r = E_SYNTAX;
		}
		for (unsigned i = 0; i < nfds; i++)
			close(fds[i]);
		if (r != 0)
			break;
	}
	if (r == E_AGAIN)
		return;
	event_del(p->readable); /* its end comes with SIGCHLD */
	if (r != E_CLOSED && p->state != PROC_KILLED)
		proc_kill(p, "its message makes no sense");
}

/* ---- the rule ---- */

static void
birth_later(struct supervisor *s, unsigned ms)
{
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	s->birth_ns = clock_now_ns() + ms * NS_PER_MS;
	event_add(s->birth, &tv);
}

/* Retires one that is not of the current epoch; false: there is none. */
static bool
make_room(struct supervisor *s)
{
	struct proc *p;

	TAILQ_FOREACH (p, &s->procs, link) {
		if (p->epoch != s->epoch && proc_is_working(p)) {
			proc_retire(p);
			return true;
		}
	}
	return false;
}

/* Nothing was ever served, and nothing tells that it will be. */
static void
check_hope(struct master *m)
{
	const struct supervisor *s = m->supervisor;

	if (m->serving || s->stopping)
		return;
	if (s->throttle.early >= GIVE_UP_AFTER)
		master_give_up(m, "the workers die as soon as they are started");
	else if (s->refused > 0 && wanted(m) == 0)
		master_give_up(m, "the workers refuse to start");
}

static void
bear(struct master *m, unsigned missing)
{
	struct supervisor *s = m->supervisor;
	int r = 0;

	if (clock_now_ns() < s->birth_ns)
		return; /* s->birth is armed */
	while (missing-- > 0 && (r = proc_start(m, s->epoch, &s->identity, on_message)) == 0)
		continue;
	if (r == E_FULL) {
		make_room(s);
		birth_later(s, FULL_MS); /* another master's slots become free without a word */
	} else if (r != 0) {
		throttle_died(&s->throttle, DEATH_EARLY);
		birth_later(s, MAX(throttle_delay_ms(&s->throttle), 100u));
		check_hope(m);
	}
}

void
supervise_check(struct master *m)
{
	struct supervisor *s = m->supervisor;
	unsigned want, have = 0, ready = 0;
	struct proc *p;

	if (s == NULL)
		return;
	want = wanted(m);
	TAILQ_FOREACH (p, &s->procs, link) {
		if (p->epoch != s->epoch || !proc_is_working(p))
			continue;
		if (have == want) {
			proc_retire(p);
			continue;
		}
		have++;
		if (p->state == PROC_READY)
			ready++;
	}
	if (have < want)
		bear(m, want - have);
	if (ready >= want && (want > 0 || s->retired || s->stopping))
		while (make_room(s))
			continue;
}

static void
on_birth(evutil_socket_t fd, short what, void *ctx)
{
	struct master *m = ctx;

	(void)fd;
	(void)what;
	m->supervisor->birth_ns = 0;
	m->supervisor->refused = 0;
	supervise_check(m);
}

/* ---- the clock ---- */

static void
check_heartbeat(struct master *m, struct proc *p, uint64_t now)
{
	uint64_t timeout = (uint64_t)m->conf->heartbeat_timeout * NS_PER_MS;
	uint64_t beat =
	    atomic_load_explicit(&m->live->worker[p->slot].heartbeat_ns, memory_order_relaxed);

	beat = MAX(beat, p->ready_ns);
	if (timeout != 0 && p->ready_ns != 0 && p->state != PROC_KILLED && now > beat &&
	    now - beat > timeout)
		proc_kill(p, "its heart has stopped");
}

/* A master that was stopped itself knows nothing of its workers' hearts: that turn is left out. */
static void
on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct master *m = ctx;
	struct supervisor *s = m->supervisor;
	uint64_t now = clock_now_ns();
	bool late = now - s->tick_ns > NS_PER_SEC + TICK_MS * NS_PER_MS;
	struct proc *p;

	(void)fd;
	(void)what;
	s->tick_ns = now;
	TAILQ_FOREACH (p, &s->procs, link) {
		if (!late)
			check_heartbeat(m, p, now);
		if (p->deadline_ns != 0 && now >= p->deadline_ns)
			proc_escalate(p);
		if (p->epoch == s->epoch && p->state == PROC_READY &&
		    now - p->ready_ns > FORGIVE_NS)
			s->throttle.early = 0;
	}
}

/* ---- death ---- */

static void
log_death(const struct proc *p, int status, enum death how)
{
	enum log_level level = how == DEATH_ASKED ? LOG_LV_INFO : LOG_LV_ERROR;

	if (WIFSIGNALED(status))
		log_write(level, "worker %d ended by signal %d (%s) worker=%u", (int)p->pid,
		    WTERMSIG(status), strsignal(WTERMSIG(status)), p->slot);
	else
		log_write(level, "worker %d exited with code %d%s worker=%u", (int)p->pid,
		    WEXITSTATUS(status), how == DEATH_NO_RETRY ? " and will not be replaced" : "",
		    p->slot);
}

static void
after_death(struct master *m, enum death how)
{
	struct supervisor *s = m->supervisor;

	throttle_died(&s->throttle, how);
	if (how == DEATH_EARLY) {
		birth_later(s, throttle_delay_ms(&s->throttle));
		if (s->throttle.early > 1)
			log_warn("workers die young: the next one starts in %u ms",
			    throttle_delay_ms(&s->throttle));
	}
	check_hope(m);
	if (how == DEATH_NO_RETRY && m->serving && wanted(m) == 0 && !s->stopping && !s->retired) {
		log_error(
		    "no worker is left that would serve: another attempt in %u s, or at a reload",
		    REFUSED_MS / 1000);
		birth_later(s, REFUSED_MS);
	}
}

bool
supervise_reap(struct master *m, pid_t pid, int status)
{
	struct supervisor *s = m->supervisor;
	struct proc *p;
	enum death how;
	unsigned slot;
	bool current;

	TAILQ_FOREACH (p, &s->procs, link)
		if (p->pid == pid)
			break;
	if (p == NULL)
		return false;
	current = p->epoch == s->epoch;
	slot = p->slot;
	how = supervise_judge(status, p->state == PROC_RETIRING || p->state == PROC_STOPPING,
	    p->ready_ns, clock_now_ns());
	log_death(p, status, how);
	if (how == DEATH_NO_RETRY && current)
		s->refused++;
	if (p->channel != -1)
		on_message(p->channel, 0, p); /* what it said last */
	stored_reap(m);
	proc_free(p);
	if (current)
		after_death(m, how); /* first: the burial asks for the next birth */
	usage_bury(m, slot);
	(void)store_reap_readers(m->store);
	publish_recheck(m);
	supervise_check(m);
	master_idle(m);
	return true;
}

/* ---- orders ---- */

void
supervise_roll(struct master *m)
{
	struct supervisor *s = m->supervisor;
	struct buf err = BUF_INIT(512);

	if (spawn_identity(m->conf->user, &s->identity, &err) != 0)
		log_error("%s: workers keep the old user", buf_cstr(&err) ? err.data : "user");
	buf_clear(&err);
	s->epoch++;
	s->refused = 0;
	s->throttle.early = 0;
	s->birth_ns = 0;
	supervise_check(m);
}

void
supervise_retire(struct master *m)
{
	m->supervisor->retired = true;
	supervise_check(m);
}

void
supervise_resume(struct master *m)
{
	struct supervisor *s = m->supervisor;

	s->retired = false;
	s->refused = 0;
	s->throttle.early = 0;
	s->birth_ns = 0;
	supervise_check(m);
}

void
supervise_stop(struct master *m, bool graceful)
{
	struct proc *p;

	if (m->supervisor == NULL)
		return;
	m->supervisor->stopping = true;
	TAILQ_FOREACH (p, &m->supervisor->procs, link) {
		if (graceful)
			proc_retire(p);
		else
			proc_stop(p);
	}
}

int
supervise_start(struct master *m)
{
	const struct timeval tick = {.tv_usec = TICK_MS * 1000};
	struct supervisor *s = calloc(1, sizeof *s);
	struct buf err = BUF_INIT(512);
	int r;

	if (s == NULL)
		return E_NOMEM;
	m->supervisor = s;
	TAILQ_INIT(&s->procs);
	s->tick_ns = clock_now_ns();
	s->tick = event_new(m->base, -1, EV_PERSIST, on_tick, m);
	s->birth = event_new(m->base, -1, 0, on_birth, m);
	if (s->tick == NULL || s->birth == NULL || event_add(s->tick, &tick) != 0)
		return E_NOMEM;
	if ((r = spawn_identity(m->conf->user, &s->identity, &err)) != 0)
		log_error("%s", buf_cstr(&err) ? err.data : err_text(r));
	else
		supervise_check(m);
	buf_clear(&err);
	return r;
}

void
supervise_free(struct master *m)
{
	struct supervisor *s = m->supervisor;
	struct proc *p;

	if (s == NULL)
		return;
	while ((p = TAILQ_FIRST(&s->procs)) != NULL)
		proc_free(p);
	if (s->tick != NULL)
		event_free(s->tick);
	if (s->birth != NULL)
		event_free(s->birth);
	free(s);
	m->supervisor = NULL;
}
