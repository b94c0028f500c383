#include "master/orphan.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shared/log.h"

#define GENERATION_ARGUMENT "--generation"

bool
worker_lives(int pid, uint64_t generation)
{
	char path[64], text[512];
	const char *p, *end;
	ssize_t n;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
	if (pid <= 0 || (fd = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		return false;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return false; /* a zombie has none */
	text[n] = '\0';
	for (p = text, end = text + n; p < end; p += strlen(p) + 1)
		if (strcmp(p, GENERATION_ARGUMENT) == 0 && p + sizeof GENERATION_ARGUMENT < end)
			return strtoull(p + sizeof GENERATION_ARGUMENT, NULL, 10) == generation;
	return false;
}

uint64_t
foreign_slots_take(struct foreign_slots *f, struct live *live, uint64_t owner)
{
	uint64_t taken = 0;

	for (unsigned slot = 0; slot < LIVE_WORKERS; slot++) {
		struct live_worker *w = &live->worker[slot];
		uint64_t other = atomic_load(&w->owner);
		int pid = atomic_load(&w->pid);

		if (other == 0 || other == owner ||
		    worker_lives(pid, atomic_load(&w->generation))) {
			f->turns[slot] = 0;
			continue;
		}
		if (++f->turns[slot] < (pid == 0 ? FOREIGN_TURNS_UNBORN : FOREIGN_TURNS))
			continue;
		f->turns[slot] = 0;
		if (atomic_compare_exchange_strong(&w->owner, &other, owner)) {
			log_notice("worker slot %u of a master that is gone is taken over", slot);
			taken |= UINT64_C(1) << slot;
		}
	}
	return taken;
}
