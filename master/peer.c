#include "master/peer.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "master/lock.h"
#include "master/publish.h"
#include "master/upgrade.h"
#include "shared/err.h"
#include "shared/log.h"

#define PEER_VERSION 1

#define TEXT_MAX 1000

enum peer_type { PEER_SERVING, PEER_PUBLISH, PEER_PUBLISHED, PEER_FAILED };

/* One packet; the text only with PEER_FAILED, NUL-terminated. */
struct peer_msg {
	uint32_t version, type;
	uint64_t arg;
	char text[TEXT_MAX];
};
#define BARE offsetof(struct peer_msg, text)

struct peer {
	struct master *m;
	enum peer_side side;
	int fd;
	struct event *readable;
	uint64_t serial;           /* tells one peer from the next at the same place */
	uint64_t asked, published; /* our snapshot numbers */
};

static struct peer **
place(struct master *m, enum peer_side side)
{
	return side == PEER_SUCCESSOR ? &m->successor : &m->predecessor;
}

static bool
peer_send(struct peer *p, enum peer_type type, uint64_t arg)
{
	const struct peer_msg msg = {.version = PEER_VERSION, .type = type, .arg = arg};

	if (send(p->fd, &msg, BARE, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)BARE)
		return true;
	log_warn("the other master was not told: %s", strerror(errno));
	return false;
}

/* ---- the other one publishes ---- */

struct errand {
	struct master *m;
	enum peer_side side;
	uint64_t serial, number;
};

static void
errand_done(void *ctx, const struct publish_outcome *o)
{
	struct errand *e = ctx;
	struct peer *p = *place(e->m, e->side);

	if (p != NULL && p->serial == e->serial && o->error == 0)
		peer_send(p, PEER_PUBLISHED, e->number);
	free(e);
}

static void
publish_errand(struct peer *p, uint64_t number)
{
	struct errand *e = calloc(1, sizeof *e);

	if (e == NULL) {
		log_error("no memory to publish what the other master has changed");
		return;
	}
	*e = (struct errand){.m = p->m, .side = p->side, .serial = p->serial, .number = number};
	publish_for_peer(p->m, errand_done, e);
}

/* ---- messages ---- */

static void
peer_gone(struct peer *p)
{
	struct master *m = p->m;
	enum peer_side side = p->side;

	peer_free(p);
	if (side == PEER_PREDECESSOR) {
		log_notice("the old master has left");
		pidfile_forget_old(m->conf->pid_file);
	}
	publish_recheck(m);
}

static void
handle(struct peer *p, struct peer_msg *msg)
{
	switch (msg->type) {
	case PEER_SERVING:
		if (p->side == PEER_SUCCESSOR)
			upgrade_serving(p->m);
		break;
	case PEER_FAILED:
		if (p->side == PEER_SUCCESSOR)
			upgrade_failed(p->m, msg->text);
		break;
	case PEER_PUBLISH:
		publish_errand(p, msg->arg);
		break;
	case PEER_PUBLISHED:
		p->published = MAX(p->published, MIN(msg->arg, p->asked));
		publish_recheck(p->m);
		break;
	default:
		break; /* a newer master may say more */
	}
}

/* False: that was all. */
static bool
read_all(struct peer *p)
{
	struct peer_msg msg;
	ssize_t n;

	while ((n = recv(p->fd, &msg, sizeof msg, MSG_DONTWAIT)) >= (ssize_t)BARE &&
	       msg.version == PEER_VERSION) {
		msg.text[MIN((size_t)n - BARE, sizeof msg.text - 1)] = '\0';
		handle(p, &msg);
	}
	return n == -1 && (errno == EAGAIN || errno == EINTR);
}

static void
on_readable(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	if (!read_all(ctx))
		peer_gone(ctx);
}

void
peer_read(struct peer *p)
{
	if (p != NULL)
		(void)read_all(p);
}

/* ---- asking ---- */

void
peer_serving(struct peer *p)
{
	peer_send(p, PEER_SERVING, 0);
}

int
peer_fd(const struct peer *p)
{
	return p->fd;
}

void
peer_failed(int fd, const char *why)
{
	struct peer_msg msg = {.version = PEER_VERSION, .type = PEER_FAILED};
	size_t n = MIN(strlen(why), sizeof msg.text - 1);

	memcpy(msg.text, why, n);
	(void)send(fd, &msg, BARE + n + 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* What one peer asked for goes on to the other, not back. Only a successor has somebody behind us.
 */
void
peers_publish(struct master *m, uint64_t number, bool ours)
{
	struct peer *old = m->predecessor, *new = m->successor;

	if (old != NULL && (ours || new != NULL) && peer_send(old, PEER_PUBLISH, number))
		old->asked = number;
	if (new != NULL && ours &&peer_send(new, PEER_PUBLISH, number))
		new->asked = number;
}

static bool
is_behind(const struct peer *p, uint64_t number)
{
	return p != NULL && p->asked >= number && p->published < number;
}

bool
peers_behind(const struct master *m, uint64_t number)
{
	return is_behind(m->predecessor, number) || is_behind(m->successor, number);
}

struct peer *
peer_new(struct master *m, enum peer_side side, int fd)
{
	static uint64_t serial;
	struct peer *p = calloc(1, sizeof *p);

	if (p == NULL) {
		close(fd);
		return NULL;
	}
	p->m = m;
	p->side = side;
	p->fd = fd;
	p->serial = ++serial;
	p->readable = event_new(m->base, fd, EV_READ | EV_PERSIST, on_readable, p);
	if (p->readable == NULL || event_add(p->readable, NULL) != 0) {
		peer_free(p);
		return NULL;
	}
	*place(m, side) = p;
	return p;
}

void
peer_free(struct peer *p)
{
	if (p == NULL)
		return;
	if (*place(p->m, p->side) == p)
		*place(p->m, p->side) = NULL;
	if (p->readable != NULL)
		event_free(p->readable);
	close(p->fd);
	free(p);
}
