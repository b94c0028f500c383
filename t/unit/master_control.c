#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "master/control.h"
#include "providers/catalog.h"
#include "shared/clock.h"
#include "shared/log.h"

#define ROOM (1u << 22)
#define DEADLINE_NS (10 * NS_PER_SEC)
#define VERSION "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"version\"}\n"

static struct master m;
static struct conf conf;
static char dir[64], path[96];
static char *got; /* of the last receive, NUL-terminated */

static int
setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/omniroute-control-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof path, "%s/control.sock", dir);
	memset(&m, 0, sizeof m);
	memset(&conf, 0, sizeof conf);
	conf.data_dir = dir;
	m.conf = &conf;
	m.generation = 77;
	m.base = event_base_new();
	got = malloc(ROOM);
	return m.base && got ? control_start(&m, -1) : -1;
}

static int
teardown(void **state)
{
	(void)state;
	control_free(&m, true);
	event_base_free(m.base);
	free(got);
	return access(path, F_OK) == 0 ? -1 : rmdir(dir);
}

static int
client(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	strcpy(sun.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof sun), 0);
	return fd;
}

static void
turn(void)
{
	assert_true(event_base_loop(m.base, EVLOOP_NONBLOCK) >= 0);
}

/* Sends all of it while the loop runs; how much the other side took. */
static size_t
give(int fd, const char *p, size_t n)
{
	uint64_t end = clock_now_ns() + DEADLINE_NS;
	size_t sent = 0;

	while (sent < n && clock_now_ns() < end) {
		ssize_t w = send(fd, p + sent, n - sent, MSG_NOSIGNAL);

		if (w > 0)
			sent += (size_t)w;
		else if (errno != EAGAIN)
			break;
		turn();
	}
	return sent;
}

/* Receives until there are `lines` of them, or the end of file; whether that came. */
static bool
take(int fd, unsigned lines)
{
	uint64_t end = clock_now_ns() + DEADLINE_NS;
	unsigned seen = 0;
	size_t n = 0;

	while (seen < lines && clock_now_ns() < end) {
		ssize_t r;

		turn();
		r = recv(fd, got + n, ROOM - 1 - n, 0);
		for (ssize_t i = 0; i < r; i++)
			seen += got[n + (size_t)i] == '\n';
		if (r > 0)
			n += (size_t)r;
		got[n] = '\0';
		if (r == 0 || (r < 0 && errno != EAGAIN))
			return true;
	}
	assert_true(seen >= lines);
	return false;
}

static void
say(int fd, const char *text)
{
	assert_int_equal(give(fd, text, strlen(text)), strlen(text));
}

static void
assert_got(const char *part)
{
	if (!strstr(got, part))
		fail_msg("\"%.300s\" does not hold \"%s\"", got, part);
}

static void
socket_is_ours_alone(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_true(fcntl(control_listen_fd(&m), F_GETFD) & FD_CLOEXEC);
}

static void
requests_in_order(void **state)
{
	char line[128];
	int fd = client();

	(void)state;
	for (int i = 1; i <= 50; i++) {
		snprintf(line, sizeof line, VERSION, i);
		say(fd, line);
	}
	assert_false(take(fd, 50));
	for (int i = 1; i <= 50; i++) {
		const char *lf = strchr(got, '\n');

		assert_non_null(lf);
		snprintf(line, sizeof line, "\"id\":%d,", i);
		assert_got(line);
		memmove(got, lf + 1, strlen(lf + 1) + 1);
	}
	close(fd);
}

static void
request_in_pieces(void **state)
{
	char line[128];
	int fd = client();

	(void)state;
	snprintf(line, sizeof line, VERSION, 5);
	for (size_t i = 0; line[i]; i++) {
		assert_int_equal(give(fd, line + i, 1), 1);
		turn();
	}
	assert_false(take(fd, 1));
	assert_got("\"generation\":77");
	close(fd);
}

static void
parameters(void **state)
{
	static const char *const table[][2] = {
	    {"\"usage.recent\",\"params\":{\"limit\":0}", "limit is 0: 1 to 1000 is allowed"},
	    {"\"usage.recent\",\"params\":{\"limit\":1001}", "limit is 1001: 1 to 1000 is allowed"},
	    {"\"usage.recent\",\"params\":{\"limit\":1.5}", "limit must be an integer"},
	    {"\"usage.recent\",\"params\":{\"limit\":null}", "limit must be an integer"},
	    {"\"usage.total\",\"params\":{\"from\":\"2026-1-31\"}", "from has 9 bytes"},
	    {"\"usage.total\",\"params\":{\"from\":\"2026/01/31\"}", "days like 2026-01-31"},
	    {"\"connection.get\"", "connection.get needs the parameter connection"},
	    {"\"connection.get\",\"params\":{\"connection\":\"\"}",
		"connection has 0 bytes: 1 to 64"},
	    {"\"connection.update\",\"params\":{\"connection\":\"x\",\"models\":[1]}",
		"models must be a list of strings"},
	    {"\"connection.update\",\"params\":{\"connection\":\"x\",\"enabled\":1}",
		"enabled must be a boolean"},
	    {"\"key.create\",\"params\":{\"name\":\"x\",\"scopes\":[]}",
		"scopes has 0 members: 1 to 2"},
	    {"\"status\",\"params\":{\"x\":1}", "status has no parameter \\\"x\\\"; it takes none"},
	    {"\"status\",\"params\":[]", "must be an object"}};
	char line[256];
	int fd = client();

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		snprintf(line, sizeof line, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":%s}\n",
		    table[i][0]);
		say(fd, line);
		assert_false(take(fd, 1));
		assert_got(table[i][1]);
		assert_null(strstr(got, "\"result\""));
	}
	close(fd);
}

static void
line_has_a_ceiling(void **state)
{
	char *big = malloc(2 * CONTROL_LINE_MAX);
	int fd = client();

	(void)state;
	memset(big, 'x', 2 * CONTROL_LINE_MAX);
	assert_true(give(fd, big, 2 * CONTROL_LINE_MAX) < 2 * CONTROL_LINE_MAX);
	assert_true(take(fd, 9));
	close(fd);
	free(big);
	fd = client();
	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\"}\n");
	assert_false(take(fd, 1));
	assert_got("\"generation\":77");
	close(fd);
}

/* A client that asks and does not read costs one answer: the rest of its requests wait in the
 * kernel, then with it. */
static void
reader_that_does_not_read(void **state)
{
	static const char line[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"provider.list\"}\n";
	int fd = client(), small = 4096;
	unsigned asked = 0;
	size_t before = mallinfo2().uordblks;

	(void)state;
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
	for (int i = 0; i < 400; i++) {
		if (send(fd, line, sizeof line - 1, MSG_NOSIGNAL) == (ssize_t)(sizeof line - 1))
			asked++;
		turn();
	}
	assert_int_equal(asked, 400);
	assert_in_range(mallinfo2().uordblks - MIN(before, mallinfo2().uordblks), 0,
	    1u << 20); /* not 400 answers */
	assert_false(take(fd, 3));
	close(fd);
	turn();
}

static void
half_closed_is_answered(void **state)
{
	char line[128];
	int fd = client();

	(void)state;
	snprintf(line, sizeof line, VERSION VERSION, 1, 2);
	say(fd, line);
	shutdown(fd, SHUT_WR);
	assert_true(take(fd, 3));
	assert_got("\"id\":1,");
	assert_got("\"id\":2,");
	close(fd);
}

static void
too_many_clients(void **state)
{
	int fd[70];
	unsigned refused = 0;

	(void)state;
	for (size_t i = 0; i < NELEM(fd); i++) {
		fd[i] = client();
		turn();
	}
	for (size_t i = 0; i < NELEM(fd); i++) {
		if (recv(fd[i], got, 20, MSG_DONTWAIT) > 0)
			refused++;
		close(fd[i]);
	}
	assert_int_equal(refused, 6);
	turn();
	fd[0] = client();
	say(fd[0], "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\"}\n");
	assert_false(take(fd[0], 1));
	assert_got("\"generation\":77");
	close(fd[0]);
}

static void
paused_for_another_master(void **state)
{
	int fd;

	(void)state;
	control_pause(&m, true);
	fd = client();
	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"version\"}\n");
	for (int i = 0; i < 20; i++)
		turn();
	assert_int_equal(recv(fd, got, 1, MSG_DONTWAIT), -1);
	control_pause(&m, false);
	assert_false(take(fd, 1));
	assert_got("\"generation\":77");
	close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {TEST(socket_is_ours_alone), TEST(requests_in_order),
	    TEST(request_in_pieces), TEST(parameters), TEST(line_has_a_ceiling),
	    TEST(reader_that_does_not_read), TEST(half_closed_is_answered), TEST(too_many_clients),
	    TEST(paused_for_another_master)};
	int r;

	signal(SIGPIPE, SIG_IGN); /* as the master does */
	if (catalog_load() != 0)
		return 1;
	log_set_level(LOG_LV_ERROR);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	catalog_free();
	libevent_global_shutdown();
	return r;
}
