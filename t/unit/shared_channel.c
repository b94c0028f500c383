#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/channel.h"
#include "shared/err.h"

static int end[2];

static int
setup(void **state)
{
	(void)state;
	return channel_pair(end);
}

static int
teardown(void **state)
{
	(void)state;
	close(end[0]);
	close(end[1]);
	return 0;
}

static unsigned
count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

/* A packet that channel_send would never make. */
static void
send_raw(const void *p, size_t n, const int *fds, unsigned nfds)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(16 * sizeof(int))] = {0};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;

	if (nfds > 0) {
		mh.msg_control = control;
		mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	assert_int_equal(sendmsg(end[0], &mh, 0), (ssize_t)n);
}

static void
message_and_descriptors(void **state)
{
	struct channel_msg out = {.type = MSG_LOGS, .arg = UINT64_C(1) << 40, .arg2 = 7}, in;
	int pipes[2], got[CHANNEL_FDS];
	unsigned n = 99;
	char c = 0;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(channel_recv(end[1], &in, got, &n), E_AGAIN);
	assert_int_equal(n, 0);
	assert_int_equal(channel_send(end[0], &out, pipes, 2), 0);
	out.type = MSG_RETIRE;
	assert_int_equal(channel_send(end[0], &out, NULL, 0), 0);

	assert_int_equal(channel_recv(end[1], &in, got, &n), 0);
	assert_int_equal(in.version, CHANNEL_VERSION);
	assert_int_equal(in.type, MSG_LOGS);
	assert_true(in.arg == UINT64_C(1) << 40);
	assert_int_equal(in.arg2, 7);
	assert_int_equal(n, 2);
	assert_int_equal(fcntl(got[0], F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(got[1], F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(got[1], "x", 1), 1); /* the same pipe, in the same order */
	assert_int_equal(read(pipes[0], &c, 1), 1);
	assert_int_equal(c, 'x');

	assert_int_equal(channel_recv(end[1], &in, pipes, &n), 0);
	assert_int_equal(in.type, MSG_RETIRE);
	assert_int_equal(n, 0);
	for (unsigned i = 0; i < 2; i++)
		close(got[i]);
	close(pipes[0]);
	close(pipes[1]);
}

static void
both_ends_are_close_on_exec_and_never_block(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(fcntl(end[i], F_GETFD), FD_CLOEXEC);
		assert_true(fcntl(end[i], F_GETFL) & O_NONBLOCK);
	}
}

static void
refused_packets_leave_no_descriptor(void **state)
{
	struct {
		struct channel_msg m;
		char more[8];
	} big = {.m = {.version = CHANNEL_VERSION, .type = MSG_READY}};
	struct channel_msg m = {.version = CHANNEL_VERSION, .type = MSG_READY}, in;
	int fds[16], got[CHANNEL_FDS];
	unsigned before, n;

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		fds[i] = end[0];
	before = count_fds();
	send_raw(&m, sizeof m - 1, fds, 1);
	send_raw(&big, sizeof big, fds, 2);
	send_raw(&m, sizeof m, fds, CHANNEL_FDS + 1);
	send_raw(&m, sizeof m, fds, 16); /* more than fit: cut by the kernel */
	m.version++;
	send_raw(&m, sizeof m, fds, 2);
	m.version--;
	m.type = MSG_TYPES;
	send_raw(&m, sizeof m, fds, 2);
	for (unsigned i = 0; i < 6; i++) {
		n = 99;
		assert_int_equal(channel_recv(end[1], &in, got, &n), E_SYNTAX);
		assert_int_equal(n, 0);
		assert_int_equal(count_fds(), before);
	}
	m.type = MSG_READY; /* and the channel still works */
	send_raw(&m, sizeof m, NULL, 0);
	assert_int_equal(channel_recv(end[1], &in, got, &n), 0);
}

static void
full_socket(void **state)
{
	struct channel_msg m = {.type = MSG_STOP}, in;
	int got[CHANNEL_FDS], r;
	unsigned sent = 0, received = 0, n;

	(void)state;
	while ((r = channel_send(end[0], &m, NULL, 0)) == 0 && sent < 1000000) {
		m.arg = ++sent;
	}
	assert_int_equal(r, E_AGAIN);
	assert_true(sent > 1);
	while (channel_recv(end[1], &in, got, &n) == 0)
		assert_int_equal(in.arg, received++);
	assert_int_equal(received, sent);
	assert_int_equal(channel_send(end[0], &m, NULL, 0), 0);
}

static void
end_of_file(void **state)
{
	struct channel_msg m = {.type = MSG_TAKEN, .arg = 5}, in;
	int got[CHANNEL_FDS];
	unsigned n;

	(void)state;
	assert_int_equal(channel_send(end[0], &m, NULL, 0), 0);
	close(end[0]);
	assert_int_equal(channel_recv(end[1], &in, got, &n), 0); /* what was sent is still read */
	assert_int_equal(in.arg, 5);
	assert_int_equal(channel_recv(end[1], &in, got, &n), E_CLOSED);
	assert_int_equal(channel_send(end[1], &m, NULL, 0), E_CLOSED); /* and no SIGPIPE */
	assert_int_equal(channel_recv(end[0], &in, got, &n), E_SYSTEM);
	end[0] = dup(end[1]);
}

static void
peer_gone_with_unread_message(void **state)
{
	struct channel_msg m = {.type = MSG_READY}, in;
	int got[CHANNEL_FDS];
	unsigned n;

	(void)state;
	assert_int_equal(channel_send(end[1], &m, NULL, 0), 0);
	m.type = MSG_TAKEN;
	assert_int_equal(channel_send(end[0], &m, NULL, 0), 0);
	close(end[0]); /* with a packet in its queue: the kernel resets */
	assert_int_equal(channel_recv(end[1], &in, got, &n), 0); /* what it has said is not lost */
	assert_int_equal(in.type, MSG_TAKEN);
	assert_int_equal(channel_recv(end[1], &in, got, &n), E_CLOSED);
	end[0] = dup(end[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(message_and_descriptors, setup, teardown),
	    cmocka_unit_test_setup_teardown(
		both_ends_are_close_on_exec_and_never_block, setup, teardown),
	    cmocka_unit_test_setup_teardown(refused_packets_leave_no_descriptor, setup, teardown),
	    cmocka_unit_test_setup_teardown(full_socket, setup, teardown),
	    cmocka_unit_test_setup_teardown(end_of_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(peer_gone_with_unread_message, setup, teardown),
	};

	return cmocka_run_group_tests_name("shared/channel", tests, NULL, NULL);
}
