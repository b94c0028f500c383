/*
 * proc: one worker of this master, from birth to burial. supervise.c decides when.
 *
 * proc_start     takes a slot, executes a worker in it and gives it the snapshot in force. E_FULL:
 *                no slot in the live region. `on_message`: its channel has something.
 * proc_retire    tells it to finish and leave; proc_stop: to leave at once. Each has a deadline,
 *                after which proc_escalate takes the next harder step.
 * proc_kill      a worker that breaks the rules.
 * proc_free      its process has ended.
 */
#ifndef OMNIROUTE_MASTER_PROC_H
#define OMNIROUTE_MASTER_PROC_H

#include <event2/event.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "master/listen.h"
#include "master/master.h"

struct spawn_identity;

enum proc_state {
	PROC_STARTING, /* executed, not yet ready */
	PROC_READY,    /* serves */
	PROC_RETIRING, /* told to finish and leave */
	PROC_STOPPING, /* told to leave at once */
	PROC_KILLED,   /* SIGKILL is on its way */
};

struct proc {
	TAILQ_ENTRY(proc) link;
	struct master *m;
	unsigned slot, epoch;
	pid_t pid;
	uint64_t generation;
	enum proc_state state;
	uint64_t started_ns, ready_ns; /* ready_ns 0: never was */
	uint64_t deadline_ns;          /* of this state: then the next harder one; 0: none */
	int channel;                   /* -1: closed */
	struct event *readable;
	struct listen_set *listen;  /* a reference */
	uint64_t born, sent, taken; /* snapshot numbers: given at birth, sent, in use */
};
TAILQ_HEAD(proc_list, proc);

int proc_start(struct master *m, unsigned epoch, const struct spawn_identity *identity,
    event_callback_fn on_message) must_check;
bool proc_is_working(const struct proc *p); /* starting or ready */
void proc_retire(struct proc *p);
void proc_stop(struct proc *p);
void proc_escalate(struct proc *p);
void proc_kill(struct proc *p, const char *why);
void proc_free(struct proc *p);

#endif
