/*
 * throttle: is a death the worker's own fault, and how long to wait before the next birth.
 *
 * A worker that has served for a while, or that somebody outside has killed while it served, is
 * replaced at once, however often that happens. One that dies young by itself would only do it
 * again.
 */
#include <signal.h>
#include <sys/wait.h>

#include "master/supervise.h"
#include "shared/channel.h"

#define LIVED_LONG_ENOUGH NS_PER_SEC

static const unsigned delays_ms[] = {0, 100, 200, 500, 1000, 2000, 5000, 10000};

/* Signals that a process brings upon itself. */
static bool
is_own_fault(int signo)
{
	switch (signo) {
	case SIGABRT:
	case SIGBUS:
	case SIGFPE:
	case SIGILL:
	case SIGSEGV:
	case SIGSYS:
	case SIGTRAP:
		return true;
	default:
		return false;
	}
}

enum death
supervise_judge(int status, bool asked, uint64_t ready_ns, uint64_t now_ns)
{
	bool killed = WIFSIGNALED(status) && !is_own_fault(WTERMSIG(status));

	if (asked)
		return DEATH_ASKED;
	if (WIFEXITED(status) && WEXITSTATUS(status) == WORKER_EXIT_NO_RETRY)
		return DEATH_NO_RETRY;
	if (ready_ns != 0 && (killed || now_ns - ready_ns >= LIVED_LONG_ENOUGH))
		return DEATH_FINE;
	return DEATH_EARLY;
}

unsigned
throttle_delay_ms(const struct throttle *t)
{
	return delays_ms[MIN((size_t)t->early, NELEM(delays_ms) - 1)];
}

void
throttle_died(struct throttle *t, enum death how)
{
	if (how == DEATH_EARLY && t->early < NELEM(delays_ms))
		t->early++;
	else if (how == DEATH_FINE)
		t->early = 0;
}
