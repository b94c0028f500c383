/*
 * channel: descriptors are the dangerous part. Whatever makes a packet unacceptable, those that
 * came with it are closed here, and none of them is ever seen by a program that we execute.
 */
#include "shared/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shared/err.h"

/* Room for more than we take: a packet with one descriptor too many is refused, not cut. */
#define FDS_ROOM (CHANNEL_FDS + 6)

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(FDS_ROOM * sizeof(int))];
};

int
channel_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0
		   ? 0
		   : E_SYSTEM;
}

static int
error_of_errno(void)
{
	switch (errno) {
	case EAGAIN:
	case ENOBUFS:
	case ETOOMANYREFS: /* too many descriptors under way */
		return E_AGAIN;
	case EPIPE:
	case ECONNRESET:
	case ENOTCONN:
		return E_CLOSED;
	default:
		return E_SYSTEM;
	}
}

int
channel_send(int fd, const struct channel_msg *m, const int *fds, unsigned nfds)
{
	struct channel_msg out = *m;
	struct iovec iov = {.iov_base = &out, .iov_len = sizeof out};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;
	struct cmsghdr *c;
	ssize_t n;

	if (nfds > CHANNEL_FDS || m->type >= MSG_TYPES)
		bug("channel message %u with %u descriptors", m->type, nfds);
	out.version = CHANNEL_VERSION;
	if (nfds > 0) {
		memset(&control, 0, sizeof control);
		mh.msg_control = control.bytes;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	do
		n = sendmsg(fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	return n == -1 ? error_of_errno() : 0;
}

/* All descriptors of a packet, at most FDS_ROOM; how many. */
static unsigned
take_fds(struct msghdr *mh, int fds[FDS_ROOM])
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c != NULL; c = CMSG_NXTHDR(mh, c)) {
		size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= bytes && n < FDS_ROOM; at += sizeof(int))
			memcpy(&fds[n++], CMSG_DATA(c) + at, sizeof(int));
	}
	return n;
}

static bool
is_acceptable(const struct channel_msg *m, ssize_t n, int flags, unsigned nfds)
{
	return n == (ssize_t)sizeof *m && (flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 &&
	       nfds <= CHANNEL_FDS && m->version == CHANNEL_VERSION && m->type < MSG_TYPES;
}

int
channel_recv(int fd, struct channel_msg *m, int fds[CHANNEL_FDS], unsigned *nfds)
{
	struct iovec iov = {.iov_base = m, .iov_len = sizeof *m};
	union control control;
	struct msghdr mh = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.bytes,
	    .msg_controllen = sizeof control.bytes};
	int all[FDS_ROOM];
	unsigned nall, resets = 0;
	ssize_t n;

	*nfds = 0;
	/* Who dies with messages unread leaves a reset, once, in front of what it has said before. */
	do
		n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n == -1 && (errno == EINTR || (errno == ECONNRESET && resets++ == 0)));
	if (n == -1)
		return error_of_errno();
	nall = take_fds(&mh, all);
	if (n > 0 && is_acceptable(m, n, mh.msg_flags, nall)) {
		memcpy(fds, all, nall * sizeof all[0]);
		*nfds = nall;
		return 0;
	}
	for (unsigned i = 0; i < nall; i++)
		close(all[i]);
	return n == 0 ? E_CLOSED : E_SYNTAX;
}
