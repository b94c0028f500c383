/*
 * spool: a file must never be taken for abandoned between its creation and its lock. A collector
 * that gets in between finds it empty, removes it and lets go: the creator sees that its lock was
 * refused, or that the file has no name any more, and takes the next name. Names mean nothing to a
 * collector.
 */
#include "shared/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/err.h"
#include "shared/log.h"

#define SUM_LEN 16
#define BATCH 128
#define CREATE_TRIES 8

struct entry {
	uint8_t sum[SUM_LEN];
	struct usage_record rec;
};
static_assert(sizeof(struct entry) == SUM_LEN + sizeof(struct usage_record), "entries are packed");

static void
entry_sum(const struct usage_record *rec, uint8_t sum[SUM_LEN])
{
	crypto_generichash(sum, SUM_LEN, (const unsigned char *)rec, sizeof *rec, NULL, 0);
}

/* ---- creation: master ---- */

/* E_AGAIN: a collector was faster. */
static int
create_locked(const char *path, int *fd)
{
	struct stat st;

	*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (*fd == -1)
		return errno == EEXIST ? E_AGAIN : E_SYSTEM;
	if (flock(*fd, LOCK_EX | LOCK_NB) == 0 && fstat(*fd, &st) == 0 && st.st_nlink == 1)
		return 0;
	close(*fd);
	*fd = -1;
	return E_AGAIN;
}

int
spool_create(const char *dir, uint64_t generation, int *fd)
{
	char path[PATH_MAX];
	int n, r = E_AGAIN;

	*fd = -1;
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return E_SYSTEM;
	for (unsigned i = 0; i < CREATE_TRIES && r == E_AGAIN; i++) {
		n = snprintf(path, sizeof path, i == 0 ? "%s/%" PRIu64 : "%s/%" PRIu64 ".%u", dir,
		    generation, i);
		if (n < 0 || (size_t)n >= sizeof path)
			return E_TOO_LONG;
		r = create_locked(path, fd);
	}
	return r == E_AGAIN ? E_EXISTS : r;
}

/* ---- writing: a worker without master ---- */

struct writer {
	int fd, error;
	size_t n;
	struct entry batch[BATCH];
};

static void
writer_flush(struct writer *w)
{
	const char *p = (const char *)w->batch;
	size_t left = w->n * sizeof w->batch[0];
	ssize_t n;

	while (left > 0 && w->error == 0) {
		n = write(w->fd, p, left);
		if (n > 0) {
			p += n;
			left -= (size_t)n;
		} else if (n == 0 || errno != EINTR) {
			w->error = E_SYSTEM;
		}
	}
	w->n = 0;
}

static void
writer_add(void *ctx, const struct usage_record *rec)
{
	struct writer *w = ctx;
	struct entry *e = &w->batch[w->n++];

	e->rec = *rec;
	entry_sum(rec, e->sum);
	if (w->n == BATCH)
		writer_flush(w);
}

int
spool_write(int fd, struct ring *r)
{
	struct writer *w = calloc(1, sizeof *w);
	struct usage_record rec;
	int error, result;

	if (w == NULL)
		return E_NOMEM;
	w->fd = fd;
	for (uint64_t i = 0; ring_peek(r, i, &rec, &error); i++)
		if (error == 0)
			writer_add(w, &rec);
	ring_each_orphan(r, writer_add, w);
	writer_flush(w);
	if (w->error == 0 && fsync(fd) != 0)
		w->error = E_SYSTEM;
	result = w->error;
	free(w);
	return result;
}

/* ---- collecting: master ---- */

struct collector {
	int dir;
	int (*fn)(void *ctx, const struct usage_record *recs, size_t n);
	void *ctx;
	struct entry in[BATCH];
	struct usage_record out[BATCH];
};

/* Whole entries, up to BATCH; *n is 0 at the end of the file. What is torn at the end is not
 * counted. */
static int
read_batch(int fd, struct entry *in, off_t at, size_t *n)
{
	size_t have = 0, size = BATCH * sizeof in[0];
	ssize_t got;

	while (have < size) {
		got = pread(fd, (char *)in + have, size - have, at + (off_t)have);
		if (got == 0)
			break;
		if (got > 0)
			have += (size_t)got;
		else if (errno != EINTR)
			return E_SYSTEM;
	}
	*n = have / sizeof in[0];
	return 0;
}

static int
hand_over(struct collector *c, const char *name, size_t n)
{
	uint8_t sum[SUM_LEN];
	size_t good = 0;

	for (size_t i = 0; i < n; i++) {
		entry_sum(&c->in[i].rec, sum);
		if (sodium_memcmp(sum, c->in[i].sum, SUM_LEN) == 0)
			c->out[good++] = c->in[i].rec;
	}
	if (good < n)
		log_warn("spool file %s: %zu damaged records skipped", name, n - good);
	return good > 0 ? c->fn(c->ctx, c->out, good) : 0;
}

static int
collect_locked(struct collector *c, const char *name, int fd)
{
	off_t at = 0;
	size_t n;
	int r;

	do {
		if ((r = read_batch(fd, c->in, at, &n)) != 0 || (r = hand_over(c, name, n)) != 0)
			return r;
		at += (off_t)(n * sizeof c->in[0]);
	} while (n > 0);
	return unlinkat(c->dir, name, 0) == 0 || errno == ENOENT ? 0 : E_SYSTEM;
}

/* A file that cannot be locked is in use; one without a name was collected by another master a
 * moment ago. */
static int
collect_file(struct collector *c, const char *name)
{
	int fd = openat(c->dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), r = 0;
	struct stat st;

	if (fd == -1)
		return errno == ENOENT || errno == ELOOP ? 0 : E_SYSTEM;
	if (fstat(fd, &st) != 0)
		r = E_SYSTEM;
	else if (S_ISREG(st.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 &&
		 st.st_nlink > 0)
		r = collect_locked(c, name, fd);
	close(fd);
	return r;
}

int
spool_collect(
    const char *dir, int (*fn)(void *ctx, const struct usage_record *recs, size_t n), void *ctx)
{
	DIR *d = opendir(dir);
	struct collector *c = NULL;
	const struct dirent *e;
	int r = 0, one;

	if (d == NULL)
		return errno == ENOENT ? 0 : E_SYSTEM;
	if ((c = malloc(sizeof *c)) == NULL) {
		r = E_NOMEM;
		goto out;
	}
	c->dir = dirfd(d);
	c->fn = fn;
	c->ctx = ctx;
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && (one = collect_file(c, e->d_name)) != 0 && r == 0)
			r = one; /* the other files are looked at all the same */
out:
	free(c);
	closedir(d);
	return r;
}

bool
spool_in_use(const char *dir)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	bool used = false;
	int fd;

	while (d != NULL && !used && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd == -1)
			continue;
		used = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
		close(fd);
	}
	if (d != NULL)
		closedir(d);
	return used;
}
