#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/err.h"
#include "shared/spool.h"

static char dir[] = "/tmp/omniroute-spool.XXXXXX";
static char spool[64];
static struct ring *ring;

static int
setup(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(spool, sizeof(spool), "%s/spool", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return rmdir(spool) == 0 && rmdir(dir) == 0 ? 0 : -1; /* nothing is left */
}

struct seen {
	size_t n, unknown;
	uint64_t seq[64];
	int answer;
};

static int
see(void *ctx, const struct usage_record *recs, size_t n)
{
	struct seen *s = ctx;

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(recs[i].generation, 42);
		s->seq[s->n++] = recs[i].seq;
		s->unknown += (recs[i].flags & USAGE_UNKNOWN) != 0;
	}
	return s->answer;
}

/* Three records are done, one is open. */
static void
fill_ring(void)
{
	struct ring_writer *w;
	int cell[4];

	ring = mmap(NULL, sizeof(*ring), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	w = ring_writer_new(ring, 42);
	for (int i = 0; i < 4; i++)
		cell[i] = ring_open(w);
	for (int i = 0; i < 3; i++) {
		ring_record(w, cell[i])->status = 200;
		ring_record(w, cell[i])->end_wall_us = 1;
		ring_close(w, cell[i]);
	}
	ring_writer_free(w);
}

static void
written_and_collected(void **state)
{
	struct seen s = {0};
	int fd;

	(void)state;
	fill_ring();
	assert_int_equal(spool_collect(spool, see, &s), 0); /* no folder yet */
	assert_false(spool_in_use(spool));
	assert_int_equal(spool_create(spool, 42, &fd), 0);
	assert_int_equal(spool_write(fd, ring), 0);
	assert_int_equal(spool_collect(spool, see, &s), 0);
	assert_int_equal(s.n, 0); /* its owner lives */
	assert_true(spool_in_use(spool));
	close(fd);
	assert_false(spool_in_use(spool));
	s.answer = E_FULL;
	assert_int_equal(spool_collect(spool, see, &s), E_FULL);
	assert_int_equal(s.n, 4);
	s = (struct seen){0};
	assert_int_equal(spool_collect(spool, see, &s), 0); /* kept as long as it was not stored */
	assert_int_equal(s.n, 4);
	assert_int_equal(s.unknown, 1);
	for (size_t i = 0; i < 4; i++)
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(s.seq[i], s.seq[j]);
	s = (struct seen){0};
	assert_int_equal(spool_collect(spool, see, &s), 0);
	assert_int_equal(s.n, 0);
	munmap(ring, sizeof(*ring));
}

/* The lock belongs to the worker alone: it ends with it, however it ends. */
static void
a_killed_owner_lets_go(void **state)
{
	struct seen s = {0};
	int fd, status;
	pid_t pid;

	(void)state;
	fill_ring();
	assert_int_equal(spool_create(spool, 42, &fd), 0);
	pid = fork();
	if (pid == 0) {
		if (spool_write(fd, ring) != 0)
			_exit(1);
		raise(SIGKILL);
	}
	close(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(spool_collect(spool, see, &s), 0);
	assert_int_equal(s.n, 4);
	munmap(ring, sizeof(*ring));
}

static void
torn_and_damaged_records(void **state)
{
	struct seen s = {0};
	char path[96], byte = 'x';
	struct stat st;
	int fd;

	(void)state;
	fill_ring();
	assert_int_equal(spool_create(spool, 42, &fd), 0);
	assert_int_equal(spool_write(fd, ring), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size % 4, 0);
	assert_int_equal(ftruncate(fd, st.st_size - 5), 0); /* the last one is torn */
	snprintf(path, sizeof(path), "%s/42", spool);
	close(fd);
	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, &byte, 1, 100), 1); /* the first one is damaged */
	close(fd);
	assert_int_equal(spool_collect(spool, see, &s), 0);
	assert_int_equal(s.n, 2);
	munmap(ring, sizeof(*ring));
}

static void
names_that_are_taken(void **state)
{
	struct seen s = {0};
	int a, b;

	(void)state;
	assert_int_equal(spool_create(spool, 42, &a), 0);
	assert_int_equal(spool_create(spool, 42, &b), 0);
	close(a);
	close(b);
	assert_int_equal(spool_collect(spool, see, &s), 0);
	assert_int_equal(s.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(written_and_collected),
	    cmocka_unit_test(a_killed_owner_lets_go),
	    cmocka_unit_test(torn_and_damaged_records),
	    cmocka_unit_test(names_that_are_taken),
	};
	return cmocka_run_group_tests_name("shared/spool", tests, setup, teardown);
}
