#include "master/stored.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/proc.h"
#include "master/spawn.h"
#include "master/supervise.h"
#include "shared/channel.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/stored_cache.h"

#define SPACING_MS 20            /* between two commits */
#define BATCH 64                 /* records of one commit */
#define BATCH_BYTES (8u << 20)   /* and their bytes, but for the first */
#define WAITING_MAX (128u << 20) /* bytes that wait for a commit */
#define RECORD_MAX (STORED_MAX + sizeof(struct stored_head) + STORED_ITEMS * STORED_ID_SIZE)
#define TICK_S 30

struct waiting {
	TAILQ_ENTRY(waiting) link;
	uint64_t generation, number; /* of the worker, and of its message */
	size_t n;
	struct stored_head head; /* the record begins here */
};

struct stored {
	struct stored_cache *cache; /* NULL: it cannot be used */
	TAILQ_HEAD(, waiting) waiting;
	size_t bytes;
	struct event *soon, *tick;
};

/* ---- to the worker ---- */

/* A worker that takes no message is hung, or gone: it gives up by itself. */
static void
tell(struct master *m, uint64_t generation, uint64_t number, int error)
{
	const struct channel_msg msg = {
	    .type = MSG_KEPT, .arg = number, .arg2 = (uint64_t)(int64_t)error};
	const struct proc *p;

	if (m->supervisor == NULL)
		return;
	TAILQ_FOREACH (p, supervise_procs(m), link)
		if (p->generation == generation && p->channel != -1) {
			(void)!channel_send(p->channel, &msg, NULL, 0);
			return;
		}
}

/* ---- commits ---- */

static size_t
next_batch(const struct stored *s, const struct stored_head **rec)
{
	const struct waiting *w;
	size_t n = 0, bytes = 0;

	TAILQ_FOREACH (w, &s->waiting, link) {
		if (n == BATCH || (n > 0 && bytes + w->n > BATCH_BYTES))
			break;
		rec[n++] = &w->head;
		bytes += w->n;
	}
	return n;
}

/* One commit. False: nothing waits any more. */
static bool
store_some(struct master *m)
{
	struct stored *s = m->stored;
	const struct stored_head *rec[BATCH];
	int error[BATCH] = {0}, r = E_DENIED;
	size_t n = next_batch(s, rec);

	if (s->cache != NULL)
		r = stored_cache_write(s->cache, rec, n, clock_wall_us() / 1000000, error);
	for (size_t i = 0; i < n; i++) {
		struct waiting *w = TAILQ_FIRST(&s->waiting);

		tell(m, w->generation, w->number, r != 0 ? r : error[i]);
		TAILQ_REMOVE(&s->waiting, w, link);
		s->bytes -= w->n;
		free(w);
	}
	return !TAILQ_EMPTY(&s->waiting);
}

static void
store_soon(struct stored *s)
{
	const struct timeval tv = {.tv_usec = SPACING_MS * 1000};

	if (!event_pending(s->soon, EV_TIMEOUT, NULL))
		event_add(s->soon, &tv);
}

static void
on_soon(evutil_socket_t fd, short what, void *ctx)
{
	struct master *m = ctx;

	(void)fd;
	(void)what;
	if (store_some(m))
		store_soon(m->stored);
}

/* What has expired leaves although nobody stores anything. */
static void
on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct master *m = ctx;

	(void)fd;
	(void)what;
	if (m->stored->cache != NULL && TAILQ_EMPTY(&m->stored->waiting))
		(void)store_some(m);
}

/* ---- from the worker ---- */

/* A worker may be anything once it is not what it was: its record is copied before it is looked at.
 */
static int
read_record(int fd, struct waiting **out)
{
	struct stat st;
	struct waiting *w;
	size_t have = 0, n;
	ssize_t got = 1;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < 0 ||
	    (uint64_t)st.st_size < sizeof(struct stored_head) || (uint64_t)st.st_size > RECORD_MAX)
		return E_SYNTAX;
	n = (size_t)st.st_size;
	if ((w = malloc(offsetof(struct waiting, head) + n)) == NULL)
		return E_NOMEM;
	while (have < n && (got > 0 || errno == EINTR)) {
		got = pread(fd, (char *)&w->head + have, n - have, (off_t)have);
		if (got == 0)
			break;
		have += got > 0 ? (size_t)got : 0;
	}
	w->n = n;
	if (have == n && stored_check(&w->head, n) == 0) {
		*out = w;
		return 0;
	}
	free(w);
	return E_SYNTAX;
}

int
stored_take(struct proc *p, const struct channel_msg *msg, const int *fds, unsigned nfds)
{
	struct stored *s = p->m->stored;
	struct waiting *w;
	int r;

	if (nfds != 1)
		return E_SYNTAX;
	r = s == NULL || s->bytes > WAITING_MAX ? E_FULL : read_record(fds[0], &w);
	if (r == E_SYNTAX)
		return r;
	if (r != 0) {
		tell(p->m, p->generation, msg->arg, r);
		return 0;
	}
	w->generation = p->generation;
	w->number = msg->arg;
	s->bytes += w->n;
	TAILQ_INSERT_TAIL(&s->waiting, w, link);
	store_soon(s);
	return 0;
}

void
stored_reap(struct master *m)
{
	if (m->stored == NULL)
		return;
	while (!TAILQ_EMPTY(&m->stored->waiting) && store_some(m))
		continue;
	if (m->stored->cache != NULL)
		stored_cache_reap(m->stored->cache);
}

/* ---- life ---- */

static void
open_cache(struct master *m, struct stored *s)
{
	struct spawn_identity id;
	struct buf dir = BUF_INIT(8192), err = BUF_INIT(512);
	gid_t gid = (gid_t)-1;

	buf_addf(&dir, "%s/cache", m->conf->data_dir);
	if (spawn_identity(m->conf->user, &id, &err) == 0 && id.change)
		gid = id.gid;
	if (buf_cstr(&dir) != NULL &&
	    stored_cache_open(dir.data, (uint64_t)m->conf->response_store_size, gid, &s->cache) ==
		0)
		m->cache_fd = open(dir.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	else
		log_error("responses cannot be stored: %s", buf_cstr(&dir) ? dir.data : "cache");
	buf_clear(&dir);
	buf_clear(&err);
}

int
stored_start(struct master *m)
{
	const struct timeval tick = {.tv_sec = TICK_S};
	struct stored *s = calloc(1, sizeof *s);

	if (s == NULL)
		return E_NOMEM;
	m->stored = s;
	TAILQ_INIT(&s->waiting);
	open_cache(m, s);
	if (m->cache_fd == -1) /* a worker inherits something under this number in any case */
		m->cache_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	s->soon = event_new(m->base, -1, 0, on_soon, m);
	s->tick = event_new(m->base, -1, EV_PERSIST, on_tick, m);
	if (s->soon == NULL || s->tick == NULL || event_add(s->tick, &tick) != 0)
		return E_NOMEM;
	return 0;
}

void
stored_free(struct master *m)
{
	struct stored *s = m->stored;

	if (s == NULL)
		return;
	while (store_some(m))
		continue;
	if (s->soon != NULL)
		event_free(s->soon);
	if (s->tick != NULL)
		event_free(s->tick);
	stored_cache_close(s->cache);
	free(s);
	m->stored = NULL;
	if (m->cache_fd != -1)
		close(m->cache_fd);
	m->cache_fd = -1;
}
