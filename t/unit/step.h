/*
 * step: a function in a child process, one instruction at a time. What a kill at that place would
 * leave behind in shared memory is there to be looked at, and what others do meanwhile can be done.
 *
 * step_start  forks; the child stops before `fn`. False: tracing is not allowed here.
 * step_once   one instruction. False: `fn` has returned, and the child is gone.
 * step_rest   lets the child run to its end.
 */
#ifndef OMNIROUTE_T_UNIT_STEP_H
#define OMNIROUTE_T_UNIT_STEP_H

#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEP_MAX 200000u

/* For a child that does not end by itself: a test that fails must not leave it behind. */
static inline void
die_with_parent(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(3);
}

struct step {
	pid_t pid;
	unsigned n;             /* instructions done */
	_Atomic unsigned *done; /* in shared memory: `fn` has returned */
};

static inline bool
step_start(struct step *t, _Atomic unsigned *done, void (*fn)(void))
{
	pid_t parent = getpid();
	int status;

	*t = (struct step){.pid = fork(), .done = done};
	*done = 0;
	assert_true(t->pid >= 0);
	if (t->pid == 0) {
		die_with_parent(parent);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
			_exit(3);
		raise(SIGSTOP);
		fn();
		*done = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
	return WIFSTOPPED(status);
}

static inline void
step_rest(struct step *t)
{
	int status;

	assert_int_equal(ptrace(PTRACE_DETACH, t->pid, NULL, NULL), 0);
	assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
	assert_int_equal(status, 0);
}

static inline bool
step_once(struct step *t)
{
	int status;

	if (*t->done != 0 || t->n == STEP_MAX) {
		step_rest(t);
		return false;
	}
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, t->pid, NULL, NULL), 0);
	assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
	assert_true(WIFSTOPPED(status));
	t->n++;
	return true;
}

#endif
