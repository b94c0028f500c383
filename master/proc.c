#include "master/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/publish.h"
#include "master/spawn.h"
#include "master/start.h"
#include "shared/channel.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/spool.h"

#define START_NS (60 * NS_PER_SEC) /* from exec to ready */
#define STOP_NS (5 * NS_PER_SEC)   /* from "leave at once" to SIGKILL */
/* A worker ends its own retirement; this much later it is told to stop. */
#define GRACE_NS (2 * NS_PER_SEC)

bool
proc_is_working(const struct proc *p)
{
	return p->state == PROC_STARTING || p->state == PROC_READY;
}

/* ---- towards the end of a worker ---- */

void
proc_kill(struct proc *p, const char *why)
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
		proc_kill(p, "it reads none of its messages");
}

void
proc_stop(struct proc *p)
{
	if (p->state >= PROC_STOPPING)
		return;
	p->state = PROC_STOPPING;
	p->deadline_ns = clock_now_ns() + STOP_NS;
	tell(p, MSG_STOP);
}

void
proc_retire(struct proc *p)
{
	uint64_t timeout = (uint64_t)p->m->conf->shutdown_timeout * NS_PER_MS;

	if (!proc_is_working(p))
		return;
	p->state = PROC_RETIRING;
	p->deadline_ns = timeout == 0 ? 0 : clock_now_ns() + timeout + GRACE_NS;
	tell(p, MSG_RETIRE);
}

void
proc_escalate(struct proc *p)
{
	switch (p->state) {
	case PROC_STARTING:
		proc_kill(p, "it did not become ready");
		break;
	case PROC_RETIRING:
		log_warn("worker %d is still busy at the end of its time worker=%u", (int)p->pid,
		    p->slot);
		proc_stop(p);
		break;
	case PROC_STOPPING:
		proc_kill(p, "it did not leave");
		break;
	case PROC_READY:
	case PROC_KILLED:
		break;
	}
}

void
proc_free(struct proc *p)
{
	TAILQ_REMOVE(supervise_procs(p->m), p, link);
	if (p->readable != NULL)
		event_free(p->readable);
	if (p->channel != -1)
		close(p->channel);
	listen_put(p->listen);
	free(p);
}

/* ---- birth ---- */

static struct proc *
proc_new(struct master *m, unsigned slot, uint64_t generation, unsigned epoch)
{
	struct proc *p = calloc(1, sizeof *p);

	if (p == NULL)
		return NULL;
	p->m = m;
	p->slot = slot;
	p->generation = generation;
	p->epoch = epoch;
	p->state = PROC_STARTING;
	p->started_ns = clock_now_ns();
	p->deadline_ns = p->started_ns + START_NS;
	p->channel = -1;
	p->listen = listen_get(m->listen);
	TAILQ_INSERT_TAIL(supervise_procs(m), p, link);
	return p;
}

static int
proc_execute(struct proc *p, const struct spawn_identity *identity)
{
	struct master *m = p->m;
	struct spawn_order order = {.slot = p->slot,
	    .generation = p->generation,
	    .listen = p->listen,
	    .identity = identity};
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

int
proc_start(struct master *m, unsigned epoch, const struct spawn_identity *identity,
    event_callback_fn on_message)
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
	if ((p = proc_new(m, (unsigned)slot, generation, epoch)) == NULL) {
		r = E_NOMEM;
		goto failed;
	}
	atomic_store(&w->started_ns, p->started_ns);
	if ((r = proc_execute(p, identity)) != 0)
		goto failed;
	atomic_store(&w->pid, p->pid);
	p->readable = event_new(m->base, p->channel, EV_READ | EV_PERSIST, on_message, p);
	if (p->readable == NULL || event_add(p->readable, NULL) != 0 || publish_first(p) != 0)
		proc_kill(p, "it cannot be given a snapshot");
	return 0;
failed:
	if (p != NULL)
		proc_free(p);
	live_worker_release(m->live, (unsigned)slot);
	return r;
}
