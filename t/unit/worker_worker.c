#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "shared/ring.h"
#include "shared/spool.h"
#include "t/unit/worker_fixture.h"

/*
 * A worker in a process of its own, with the descriptors that a master leaves it. The test plays
 * master and client; `worker` here is the test's own map of the slot.
 */
#define GENERATION 77u
#define HIGH 100 /* where descriptors are out of the way of the numbers that a worker knows */

static struct {
	pid_t pid;
	bool nobody; /* the worker is not to be root */
	int live, event, spool, log, access, listener, channel;
} world;

static int
high(int fd)
{
	int to = fcntl(fd, F_DUPFD, HIGH);

	assert_true(to >= HIGH);
	close(fd);
	return to;
}

static void
listener_new(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	fx.port = ntohs(a.sin_port);
	world.listener = high(fd);
}

static int
setup(void **state)
{
	int pair[2], fd, slot;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	fx = (struct fixture){0};
	world.nobody = false;
	worker = (struct worker){0};
	buf_init(&fx.reply, 1u << 22);
	assert_int_equal(live_create(&fd), 0);
	assert_int_equal(live_map(fd, &worker.live), 0);
	world.live = high(fd);
	assert_true((slot = live_worker_take(worker.live, 1, GENERATION)) >= 0);
	worker.slot = (unsigned)slot;
	worker.me = &worker.live->worker[slot];
	assert_int_equal(channel_pair(pair), 0);
	fx.master = high(pair[0]);
	fcntl(fx.master, F_SETFD, FD_CLOEXEC);
	world.channel = high(pair[1]);
	world.event = high(eventfd(0, EFD_NONBLOCK));
	world.spool = high(memfd_create("spool", 0));
	world.log = high(memfd_create("log", 0));
	world.access = high(memfd_create("access", 0));
	listener_new();
	return seal_init();
}

static void
close_all(void)
{
	int *fds[] = {&world.live, &world.event, &world.spool, &world.log, &world.access,
	    &world.listener, &world.channel, &fx.master};

	for (size_t i = 0; i < NELEM(fds); i++) {
		if (*fds[i] != -1)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

static int
teardown(void **state)
{
	(void)state;
	if (world.pid > 0) {
		kill(world.pid, SIGKILL);
		waitpid(world.pid, NULL, 0);
		world.pid = 0;
	}
	close_all();
	live_unmap(worker.live);
	buf_clear(&fx.reply);
	return 0;
}

/* Never returns: the exit runs the sanitizer's look for leaks. */
static void
be_worker(uint64_t generation)
{
	struct worker_args args = {.slot = worker.slot, .listeners = 1, .generation = generation};
	const struct {
		int from, to;
	} map[] = {{world.channel, WORKER_FD_CHANNEL}, {world.live, WORKER_FD_LIVE},
	    {world.event, WORKER_FD_EVENT}, {world.spool, WORKER_FD_SPOOL},
	    {world.log, WORKER_FD_LOG}, {world.access, WORKER_FD_ACCESS},
	    {world.listener, WORKER_FD_LISTEN}};

	for (size_t i = 0; i < NELEM(map); i++)
		if (dup2(map[i].from, map[i].to) == -1)
			_exit(99);
	close_all();
	live_unmap(worker.live);
	buf_clear(&fx.reply);
	worker = (struct worker){0};
	if (world.nobody && geteuid() == 0 && setuid(65534) != 0)
		_exit(99);
	if (world.nobody && prctl(PR_SET_DUMPABLE, 1) != 0)
		_exit(99);
	exit(worker_main(&args));
}

static void
start(uint64_t generation)
{
	fflush(NULL);
	if ((world.pid = fork()) == 0)
		be_worker(generation);
	assert_true(world.pid > 0);
	close(world.channel); /* else its end would never be seen */
	close(world.listener);
	world.channel = world.listener = -1;
}

/* The worker's next message. */
static void
expect(uint32_t type, struct channel_msg *m)
{
	struct pollfd p = {.fd = fx.master, .events = POLLIN};
	int fds[CHANNEL_FDS];
	unsigned nfds;

	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(channel_recv(fx.master, m, fds, &nfds), 0);
	assert_int_equal(m->type, type);
}

static void
publish_and_wait(void)
{
	struct snapshot_builder *b = fixture_builder(1, true);
	struct channel_msg m;

	fixture_add_key(b, "or-chat", 1, SCOPE_CHAT, 0);
	fixture_publish(b);
	if (fx.number == 1)
		expect(MSG_READY, &m);
	expect(MSG_TAKEN, &m);
	assert_int_equal(m.arg, fx.number);
}

static void
order(uint32_t type)
{
	struct channel_msg m = {.type = type};

	assert_int_equal(channel_send(fx.master, &m, NULL, 0), 0);
}

static int
exit_code(void)
{
	uint64_t until = clock_now_ns() + DEADLINE;
	int status;
	pid_t pid;

	while ((pid = waitpid(world.pid, &status, WNOHANG)) == 0) {
		assert_true(clock_now_ns() < until);
		poll(NULL, 0, 5);
	}
	assert_int_equal(pid, world.pid);
	world.pid = 0;
	if (!WIFEXITED(status))
		fail_msg("ended by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static int
connected(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_port = htons(fx.port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval tv = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

/* A request on `fd`; the status of its reply, whose head must come in one piece. */
static int
ask(int fd, const char *path)
{
	char text[4096];
	int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);

	assert_int_equal(send(fd, text, (size_t)n, 0), n);
	n = (int)recv(fd, text, sizeof text - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	return fixture_status(text);
}

static size_t
log_contains(const char *text)
{
	static char log[65536];
	ssize_t n = pread(world.log, log, sizeof log - 1, 0);

	assert_true(n >= 0);
	log[n] = '\0';
	return strstr(log, text) != NULL;
}

static void
it_serves_and_shows_life(void **state)
{
	uint64_t first, until = clock_now_ns() + DEADLINE;
	int fd;

	(void)state;
	start(GENERATION);
	publish_and_wait();
	assert_int_equal(atomic_load(&worker.me->state), WORKER_READY);
	assert_int_equal(atomic_load(&worker.me->have_snap), 1);
	fd = connected();
	assert_int_equal(ask(fd, "/healthz"), 200);
	assert_int_equal(ask(fd, "/readyz"), 200);
	assert_int_equal(atomic_load(&worker.me->conns), 1);
	assert_true(atomic_load(&worker.me->rss_kb) > 1000);
	first = atomic_load(&worker.me->heartbeat_ns);
	assert_int_not_equal(first, 0);
	while (atomic_load(&worker.me->heartbeat_ns) == first) {
		assert_true(clock_now_ns() < until);
		poll(NULL, 0, 5);
	}
	assert_true(atomic_load(&worker.me->heartbeat_ns) - first <= NS_PER_SEC);
	close(fd);
	publish_and_wait();
	order(MSG_STOP);
	assert_int_equal(exit_code(), WORKER_EXIT_OK);
}

/* Its memory is nobody's business: what may not be dumped belongs to root in /proc. */
static void
it_cannot_be_dumped(void **state)
{
	struct stat st;
	char path[32];

	(void)state;
	world.nobody = true;
	start(GENERATION);
	publish_and_wait();
	snprintf(path, sizeof path, "/proc/%d/maps", (int)world.pid);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
}

/* What is open may send one more request; then it is over. */
static void
it_retires_gracefully(void **state)
{
	uint64_t until = clock_now_ns() + DEADLINE;
	char c;
	int fd;

	(void)state;
	start(GENERATION);
	publish_and_wait();
	fd = connected();
	assert_int_equal(ask(fd, "/healthz"), 200);
	order(MSG_RETIRE);
	while (atomic_load(&worker.me->state) != WORKER_RETIRING) {
		assert_true(clock_now_ns() < until);
		poll(NULL, 0, 1);
	}
	assert_int_equal(ask(fd, "/readyz"), 503);
	assert_int_equal(recv(fd, &c, 1, 0), 0);
	close(fd);
	assert_int_equal(exit_code(), WORKER_EXIT_OK);
	assert_int_equal(atomic_load(&worker.me->conns), 0);
}

static void
retiring_has_an_end(void **state)
{
	struct snapshot_builder *b;
	struct channel_msg m;
	int fd;

	(void)state;
	start(GENERATION);
	b = fixture_builder(1, true);
	snapshot_settings(b)->shutdown_timeout_ms = 50;
	fixture_publish(b);
	expect(MSG_READY, &m);
	fd = connected();
	/* half a request stays open until header_timeout, which is long */
	assert_int_equal(send(fd, "GET /healthz HT", 15, 0), 15);
	while (atomic_load(&worker.me->conns) == 0)
		poll(NULL, 0, 1);
	order(MSG_RETIRE);
	assert_int_equal(exit_code(), WORKER_EXIT_OK);
	assert_true(log_contains("shutdown_timeout"));
	close(fd);
}

static int
collect(void *ctx, const struct usage_record *recs, size_t n)
{
	(void)recs;
	*(size_t *)ctx += n;
	return 0;
}

/*
 * The master is gone: no new connections, what is open is finished, what nobody has read is kept. A
 * record is put into the ring by the test, before the worker has it.
 */
static void
it_leaves_when_its_master_is_gone(void **state)
{
	char dir[] = "/tmp/omniroute-test-XXXXXX", spool[64];
	struct ring_writer *w;
	size_t found = 0;
	struct stat st;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(spool, sizeof spool, "%s/spool", dir);
	close(world.spool);
	assert_int_equal(spool_create(spool, GENERATION, &fd), 0);
	world.spool = high(fd);
	start(GENERATION);
	publish_and_wait();
	assert_non_null(w = ring_writer_new(&worker.me->ring, GENERATION));
	ring_close(w, ring_open(w));
	ring_writer_free(w);
	fd = connected();
	assert_int_equal(ask(fd, "/healthz"), 200);
	close(fx.master);
	fx.master = -1;
	assert_int_equal(ask(fd, "/healthz"), 200);
	close(fd);
	assert_int_equal(exit_code(), WORKER_EXIT_OK);
	assert_int_equal(fstat(world.spool, &st), 0);
	assert_true(st.st_size >= (off_t)sizeof(struct usage_record));
	assert_true(log_contains("master is gone"));
	close(world.spool);
	world.spool = -1;
	assert_int_equal(spool_collect(spool, collect, &found), 0);
	assert_int_equal(found, 1);
	rmdir(spool);
	rmdir(dir);
}

/* With a master the ring is read by it: nothing goes to the spool. */
static void
a_living_master_reads_the_ring_itself(void **state)
{
	struct ring_writer *w;
	uint64_t woken = 0;
	struct stat st;

	(void)state;
	start(GENERATION);
	publish_and_wait();
	assert_non_null(w = ring_writer_new(&worker.me->ring, GENERATION));
	ring_close(w, ring_open(w));
	ring_writer_free(w);
	order(MSG_STOP);
	assert_int_equal(exit_code(), WORKER_EXIT_OK);
	assert_int_equal(fstat(world.spool, &st), 0);
	assert_int_equal(st.st_size, 0);
	assert_int_equal(read(world.event, &woken, sizeof woken), sizeof woken);
	assert_true(woken > 0);
}

static void
signals_of_a_terminal_are_ignored(void **state)
{
	static const int ignored[] = {SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGWINCH};
	int fd;

	(void)state;
	start(GENERATION);
	publish_and_wait();
	for (size_t i = 0; i < NELEM(ignored); i++)
		assert_int_equal(kill(world.pid, ignored[i]), 0);
	fd = connected();
	assert_int_equal(ask(fd, "/healthz"), 200);
	assert_int_equal(kill(world.pid, SIGTERM), 0);
	assert_int_equal(exit_code(), WORKER_EXIT_OK);
	close(fd);
}

static void
it_says_when_another_try_is_useless(void **state)
{
	(void)state;
	start(GENERATION + 1);
	assert_int_equal(exit_code(), WORKER_EXIT_NO_RETRY);
	assert_true(log_contains("live region"));
}

static void
a_live_region_of_another_version_is_refused(void **state)
{
	(void)state;
	worker.live->head.major++;
	start(GENERATION);
	assert_int_equal(exit_code(), WORKER_EXIT_NO_RETRY);
}

static void
without_a_valid_snapshot_it_does_not_serve(void **state)
{
	struct channel_msg m = {.type = MSG_SNAPSHOT, .arg = 1};
	int fd = memfd_create("bad", 0);

	(void)state;
	start(GENERATION);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(channel_send(fx.master, &m, &fd, 1), 0);
	close(fd);
	expect(MSG_REFUSED, &m);
	assert_int_equal(m.arg, 1);
	assert_int_equal(exit_code(), WORKER_EXIT_FAILED);
}

static void
a_later_bad_snapshot_does_no_harm(void **state)
{
	struct channel_msg m = {.type = MSG_SNAPSHOT, .arg = 2};
	int fd = memfd_create("bad", 0), client;

	(void)state;
	start(GENERATION);
	publish_and_wait();
	assert_int_equal(channel_send(fx.master, &m, &fd, 1), 0);
	close(fd);
	expect(MSG_REFUSED, &m);
	client = connected();
	assert_int_equal(ask(client, "/healthz"), 200);
	close(client);
	fx.number = 2;
	publish_and_wait();
}

static void
a_broken_channel_ends_it(void **state)
{
	(void)state;
	start(GENERATION);
	publish_and_wait();
	assert_int_equal(send(fx.master, "garbage", 7, MSG_NOSIGNAL), 7);
	assert_int_equal(exit_code(), WORKER_EXIT_FAILED);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(it_serves_and_shows_life),
	    T(it_cannot_be_dumped),
	    T(it_retires_gracefully),
	    T(retiring_has_an_end),
	    T(it_leaves_when_its_master_is_gone),
	    T(a_living_master_reads_the_ring_itself),
	    T(signals_of_a_terminal_are_ignored),
	    T(it_says_when_another_try_is_useless),
	    T(a_live_region_of_another_version_is_refused),
	    T(without_a_valid_snapshot_it_does_not_serve),
	    T(a_later_bad_snapshot_does_no_harm),
	    T(a_broken_channel_ends_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
