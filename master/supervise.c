#include "master/supervise.h"

#include <errno.h>
#include <event2/event.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/publish.h"
#include "master/spawn.h"
#include "master/start.h"
#include "master/usage.h"
#include "shared/channel.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/spool.h"
#include "shared/store.h"

#define TICK_MS 250
#define START_NS (60 * NS_PER_SEC) /* from exec to ready */
#define GRACE_NS \
	(2 * NS_PER_SEC) /* a worker ends its own retirement; this much later it is told to stop \
			  */
#define STOP_NS (5 * NS_PER_SEC) /* from "leave at once" to SIGKILL */
#define GIVE_UP_AFTER 5          /* early deaths before anything was ever served */
#define FORGIVE_NS \
	(10 * NS_PER_SEC) /* a worker that serves this long makes earlier deaths forgotten */

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

static bool
is_working(const struct proc *p)
{
	return p->state == PROC_STARTING || p->state == PROC_READY;
}

/* ---- towards the end of a worker ---- */

void
supervise_kill(struct proc *p, const char *why)
{
	if (p->state == PROC_KILLED)
		return;
	log_warn("worker %d killed: %s worker=%u", (int)p->pid, why, p->slot);
	p->deadline_ns = 0;
	p->state = PROC_KILLED;
	kill(p->pid, SIGKILL);
}

static void
tell(struct proc *p, enum channel_type type)
{
	const struct channel_msg msg = {.type = type};

	if (channel_send(p->channel, &msg, NULL, 0) == E_AGAIN)
		supervise_kill(p, "it reads none of its messages");
}

static void
proc_stop(struct proc *p)
{
	if (p->state >= PROC_STOPPING)
		return;
	p->state = PROC_STOPPING;
	p->deadline_ns = clock_now_ns() + STOP_NS;
	tell(p, MSG_STOP);
}

static void
proc_retire(struct proc *p)
{
	uint64_t timeout = (uint64_t)p->m->conf->shutdown_timeout * NS_PER_MS;

	if (!is_working(p))
		return;
	p->state = PROC_RETIRING;
	p->deadline_ns = timeout == 0 ? 0 : clock_now_ns() + timeout + GRACE_NS;
	tell(p, MSG_RETIRE);
}

static void
proc_escalate(struct proc *p)
{
	switch (p->state) {
	case PROC_STARTING:
		supervise_kill(p, "it did not become ready");
		break;
	case PROC_RETIRING:
		log_warn("worker %d is still busy at the end of its time worker=%u", (int)p->pid,
		    p->slot);
		proc_stop(p);
		break;
	case PROC_STOPPING:
		supervise_kill(p, "it did not leave");
		break;
	case PROC_READY:
	case PROC_KILLED:
		break;
	}
}

static void
proc_free(struct proc *p)
{
	TAILQ_REMOVE(&p->m->supervisor->procs, p, link);
	if (p->readable != NULL)
		event_free(p->readable);
	if (p->channel != -1)
		close(p->channel);
	listen_put(p->listen);
	free(p);
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
		for (unsigned i = 0; i < nfds; i++)
			close(fds[i]);
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
		default:
			r = E_SYNTAX;
		}
		if (r != 0)
			break;
	}
	if (r == E_AGAIN)
		return;
	event_del(p->readable); /* its end comes with SIGCHLD */
	if (r != E_CLOSED && p->state != PROC_KILLED)
		supervise_kill(p, "its message makes no sense");
}

/* ---- birth ---- */

static struct proc *
proc_new(struct master *m, unsigned slot, uint64_t generation)
{
	struct supervisor *s = m->supervisor;
	struct proc *p = calloc(1, sizeof *p);

	if (p == NULL)
		return NULL;
	p->m = m;
	p->slot = slot;
	p->generation = generation;
	p->epoch = s->epoch;
	p->state = PROC_STARTING;
	p->started_ns = clock_now_ns();
	p->deadline_ns = p->started_ns + START_NS;
	p->channel = -1;
	p->listen = listen_get(m->listen);
	TAILQ_INSERT_TAIL(&s->procs, p, link);
	return p;
}

static int
proc_execute(struct proc *p)
{
	struct master *m = p->m;
	struct spawn_order order = {.slot = p->slot,
	    .generation = p->generation,
	    .listen = p->listen,
	    .identity = &m->supervisor->identity};
	struct buf dir = BUF_INIT(8192);
	int r;

	buf_addf(&dir, "%s/spool", m->conf->data_dir);
	r = buf_cstr(&dir) == NULL ? E_NOMEM : spool_create(dir.data, p->generation, &order.spool);
	buf_clear(&dir);
	if (r != 0) {
		log_error("cannot make the spool file of a worker: %s",
		    r == E_SYSTEM ? strerror(errno) : err_text(r));
		return r;
	}
	r = spawn_worker(m, &order, &p->pid, &p->channel);
	close(order.spool);
	return r;
}

/* E_FULL: no slot in the live region. */
static int
proc_start(struct master *m)
{
	uint64_t generation = master_generation(m);
	struct live_worker *w;
	struct proc *p = NULL;
	int slot, r;

	if (generation == 0)
		return E_SYSTEM;
	if ((slot = live_worker_take(m->live, m->generation, generation)) < 0)
		return slot;
	w = &m->live->worker[slot];
	if ((p = proc_new(m, (unsigned)slot, generation)) == NULL) {
		r = E_NOMEM;
		goto failed;
	}
	atomic_store(&w->started_ns, p->started_ns);
	if ((r = proc_execute(p)) != 0)
		goto failed;
	atomic_store(&w->pid, p->pid);
	p->readable = event_new(m->base, p->channel, EV_READ | EV_PERSIST, on_message, p);
	if (p->readable == NULL || event_add(p->readable, NULL) != 0 || (r = publish_first(p)) != 0)
		supervise_kill(p, "it cannot be given a snapshot");
	return 0;
failed:
	if (p != NULL)
		proc_free(p);
	live_worker_release(m->live, (unsigned)slot);
	return r;
}

static void
birth_later(struct supervisor *s, unsigned ms)
{
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	s->birth_ns = clock_now_ns() + ms * NS_PER_MS;
	event_add(s->birth, &tv);
}

/* ---- the rule ---- */

/* Retires one that is not of the current epoch; false: there is none. */
static bool
make_room(struct supervisor *s)
{
	struct proc *p;

	TAILQ_FOREACH (p, &s->procs, link) {
		if (p->epoch != s->epoch && is_working(p)) {
			proc_retire(p);
			return true;
		}
	}
	return false;
}

static void
bear(struct master *m, unsigned missing)
{
	struct supervisor *s = m->supervisor;
	int r = 0;

	if (clock_now_ns() < s->birth_ns)
		return; /* s->birth is armed */
	while (missing-- > 0 && (r = proc_start(m)) == 0)
		continue;
	if (r == E_FULL) {
		make_room(s); /* the death of the retired one comes back here */
		return;
	}
	if (r != 0) {
		throttle_died(&s->throttle, DEATH_EARLY);
		birth_later(s, MAX(throttle_delay_ms(&s->throttle), 100u));
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
		if (p->epoch != s->epoch || !is_working(p))
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
		supervise_kill(p, "its heart has stopped");
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
	if (!m->serving && !s->stopping && s->throttle.early >= GIVE_UP_AFTER)
		master_give_up(m, "the workers die as soon as they are started");
	else if (!m->serving && !s->stopping && s->refused > 0 && wanted(m) == 0)
		master_give_up(m, "the workers refuse to start");
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
	proc_free(p);
	usage_bury(m, slot);
	(void)store_reap_readers(m->store);
	if (current)
		after_death(m, how);
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
	if (!m->supervisor->retired)
		return;
	m->supervisor->retired = false;
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
