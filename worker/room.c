#include "worker/room.h"

#include <event2/event.h>

#include "shared/clock.h"
#include "shared/err.h"
#include "worker/worker.h"

#define LOOK_MS \
	5 /* the master stores thousands of records at a time: no need to look more often \
	   */

unsigned room_wait_ms = 10000;

static TAILQ_HEAD(seats, room_seat) seats = TAILQ_HEAD_INITIALIZER(seats);
static struct event *look;

static int
look_again(void)
{
	const struct timeval soon = {.tv_usec = LOOK_MS * 1000};

	return event_add(look, &soon) == 0 ? 0 : E_NOMEM;
}

static void
on_look(evutil_socket_t fd, short what, void *ctx)
{
	uint64_t now = clock_now_ns();
	struct room_seat *s;

	(void)fd;
	(void)what;
	(void)ctx;
	while ((s = TAILQ_FIRST(&seats)) != NULL) {
		uint64_t until = s->until_ns;

		/* The call may end the request, and its memory with it. */
		room_leave(s);
		if (s->call(s->ctx, now >= until))
			continue;
		s->until_ns = until;
		TAILQ_INSERT_HEAD(&seats, s, link);
		break;
	}
	if (!TAILQ_EMPTY(&seats) && look_again() != 0)
		event_active(look, EV_TIMEOUT, 0);
}

int
room_wait(struct room_seat *s, bool (*call)(void *ctx, bool late), void *ctx)
{
	if (look == NULL && (look = event_new(worker.base, -1, 0, on_look, NULL)) == NULL)
		return E_NOMEM;
	if (!event_pending(look, EV_TIMEOUT, NULL) && look_again() != 0)
		return E_NOMEM;
	s->call = call;
	s->ctx = ctx;
	s->until_ns = clock_now_ns() + room_wait_ms * NS_PER_MS;
	TAILQ_INSERT_TAIL(&seats, s, link);
	return 0;
}

void
room_leave(struct room_seat *s)
{
	if (s->until_ns == 0)
		return;
	TAILQ_REMOVE(&seats, s, link);
	s->until_ns = 0;
}

void
room_close(void)
{
	if (look != NULL)
		event_free(look);
	look = NULL;
}
