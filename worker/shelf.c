#include "worker/shelf.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "shared/channel.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/stored_cache.h"
#include "worker/inbox.h"
#include "worker/worker.h"

#define LOOK_MS 5
#define SEEK_MS 3000 /* a record that is under way for longer is not waited for */
#define WAITING_RECORDS 4096

/* Handed over, not answered for. */
struct handed {
	TAILQ_ENTRY(handed) link;
	uint64_t number, since_ns;
	size_t bytes;
	bool answered;
	int error;
	void (*done)(void *ctx, int error);
	void *ctx;
};

static struct {
	struct stored_cache *cache;
	TAILQ_HEAD(, handed) handed;
	uint64_t next;
	size_t bytes, records;
	struct event *answered;
} shelf;

static void
count(enum live_counter c, uint64_t by)
{
	live_bump(&worker.me->counter[c], by);
}

/* ---- under way ---- */

static uint64_t
counter_of(const struct live_worker *w, enum live_counter c)
{
	return atomic_load_explicit(&w->counter[c], memory_order_relaxed);
}

/* What a worker before us in this slot has left unsettled is nobody's any more. */
static void
settle_predecessor(void)
{
	uint64_t handed = counter_of(worker.me, CTR_responses_handed),
		 settled = counter_of(worker.me, CTR_responses_kept) +
			   counter_of(worker.me, CTR_responses_lost);

	if (handed > settled)
		count(CTR_responses_lost, handed - settled);
}

static bool
any_under_way(void)
{
	for (unsigned i = 0; i < LIVE_WORKERS; i++) {
		const struct live_worker *w = &worker.live->worker[i];

		if (atomic_load_explicit(&w->owner, memory_order_relaxed) != 0 &&
		    counter_of(w, CTR_responses_handed) >
			counter_of(w, CTR_responses_kept) + counter_of(w, CTR_responses_lost))
			return true;
	}
	return false;
}

/* ---- handing over ---- */

static void
settle(struct handed *h, int error)
{
	TAILQ_REMOVE(&shelf.handed, h, link);
	shelf.bytes -= h->bytes;
	shelf.records--;
	count(error == 0 || error == E_NOT_FOUND ? CTR_responses_kept : CTR_responses_lost, 1);
	if (h->done != NULL)
		h->done(h->ctx, error);
	free(h);
}

static void
on_answered(evutil_socket_t fd, short what, void *ctx)
{
	struct handed *h, *next;

	(void)fd;
	(void)what;
	(void)ctx;
	for (h = TAILQ_FIRST(&shelf.handed); h != NULL; h = next) {
		next = TAILQ_NEXT(h, link);
		if (h->answered)
			settle(h, h->error);
	}
}

void
shelf_kept(uint64_t number, int error)
{
	struct handed *h;

	TAILQ_FOREACH (h, &shelf.handed, link)
		if (h->number == number) {
			h->answered = true;
			h->error = error;
			event_active(shelf.answered, EV_TIMEOUT, 0);
			return;
		}
}

/* A master that does not answer is gone, or has more to do than it can. */
void
shelf_tick(void)
{
	uint64_t now = clock_now_ns();
	struct handed *h;

	while ((h = TAILQ_FIRST(&shelf.handed)) != NULL &&
	       (inbox.closed || now - h->since_ns > SHELF_WAIT_MS * NS_PER_MS))
		settle(h, E_CLOSED);
}

static int
send_record(struct handed *h, int fd)
{
	const struct channel_msg m = {.type = MSG_KEEP, .arg = h->number};
	int r = inbox_send(&m, &fd, 1);

	close(fd);
	return r == 0 ? 0 : E_FULL;
}

int
shelf_hand(struct stored_head *h, const struct span *item, struct span answer, struct span input,
    void (*done)(void *ctx, int error), void *ctx)
{
	struct handed *e;
	int fd, r;

	if (shelf.answered == NULL || shelf.records >= WAITING_RECORDS ||
	    answer.n + input.n > SHELF_WAITING_MAX - shelf.bytes)
		return E_FULL;
	if ((e = calloc(1, sizeof *e)) == NULL)
		return E_NOMEM;
	e->number = ++shelf.next;
	e->since_ns = clock_now_ns();
	e->bytes = answer.n + input.n;
	e->done = done;
	e->ctx = ctx;
	if ((r = stored_pack(h, item, answer, input, &fd)) != 0 || (r = send_record(e, fd)) != 0) {
		free(e);
		return r;
	}
	count(CTR_responses_handed, 1);
	TAILQ_INSERT_TAIL(&shelf.handed, e, link);
	shelf.bytes += e->bytes;
	shelf.records++;
	return 0;
}

void
shelf_forsake(const void *ctx)
{
	struct handed *h;

	TAILQ_FOREACH (h, &shelf.handed, link)
		if (h->ctx == ctx)
			h->done = NULL;
}

/* ---- finding ---- */

int
shelf_find(struct arena *a, const uint8_t *owner, struct span id, bool item,
    const struct stored_head **out, bool *late)
{
	uint64_t now_s = clock_wall_us() / 1000000;
	int r = E_NOT_FOUND;

	*late = any_under_way(); /* asked first: what is settled by then is found */
	if (shelf.cache == NULL)
		return E_NOT_FOUND;
	r = item ? stored_cache_item(shelf.cache, a, owner, id, now_s, out)
		 : stored_cache_get(shelf.cache, a, owner, id, now_s, out);
	if (r != 0 && r != E_NOT_FOUND && r != E_NOMEM) {
		log_warn("a stored response cannot be read: %s", err_text(r));
		r = E_NOT_FOUND;
	}
	return r;
}

static void
seek_later(struct shelf_seek *s)
{
	const struct timeval tv = {.tv_usec = LOOK_MS * 1000};

	s->running = event_add(&s->timer, &tv) == 0;
}

static void
on_seek(evutil_socket_t fd, short what, void *ctx)
{
	struct shelf_seek *s = ctx;
	bool last = clock_now_ns() >= s->until_ns || !any_under_way();

	(void)fd;
	(void)what;
	s->running = false;
	seek_later(s); /* `look` may end whoever holds us */
	if (!s->running)
		last = true;
	if (s->look(s->ctx, last))
		return;
	if (last)
		bug("a search that does not end");
}

int
shelf_seek(struct shelf_seek *s, bool (*look)(void *ctx, bool last), void *ctx)
{
	*s = (struct shelf_seek){
	    .look = look, .ctx = ctx, .until_ns = clock_now_ns() + SEEK_MS * NS_PER_MS};
	event_assign(&s->timer, worker.base, -1, 0, on_seek, s);
	seek_later(s);
	return s->running ? 0 : E_NOMEM;
}

void
shelf_seek_stop(struct shelf_seek *s)
{
	if (s->running)
		event_del(&s->timer);
	s->running = false;
}

/* ---- life ---- */

void
shelf_open(void)
{
	int r;

	TAILQ_INIT(&shelf.handed);
	settle_predecessor();
	shelf.answered = event_new(worker.base, -1, 0, on_answered, NULL);
	if ((r = stored_cache_view(WORKER_FD_CACHE, &shelf.cache)) != 0)
		log_warn("stored responses cannot be read: %s", err_text(r));
}

void
shelf_close(void)
{
	struct handed *h;

	while (shelf.answered != NULL && (h = TAILQ_FIRST(&shelf.handed)) != NULL)
		settle(h, E_CLOSED);
	if (shelf.answered != NULL)
		event_free(shelf.answered);
	shelf.answered = NULL;
	stored_cache_close(shelf.cache);
	shelf.cache = NULL;
}
