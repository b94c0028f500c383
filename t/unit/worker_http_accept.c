/* Who is let in: listeners, limits of connections and descriptors, and who a client is. */
#include <sys/resource.h>

#include "t/unit/worker_http.h"

#define H "Host: h\r\n"
#define POST_WAIT "POST /wait HTTP/1.1\r\n" H "\r\n"
#define GET_HELLO "GET /hello HTTP/1.1\r\n" H "\r\n"
#define HELLO_HEAD \
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Request-Id: *\r\nContent-Length: 6\r\n"
#define HELLO HELLO_HEAD "\r\nhello\n"

static void
settings_change(void)
{
	snapshot_make();
	http_settings_changed(server);
}

static void
expect_status(int fd, const char *status, const char *code, int how)
{
	int end;
	const char *text = hear(fd, how, &end);
	if (strncmp(text, status, strlen(status)) != 0 || strstr(text, code) == NULL || end != how)
		fail_msg("%s %s: %d %s", status, code, end, text);
	close(fd);
	turn();
}

static struct sockaddr_in where;

static void
listen_tcp(void)
{
	socklen_t n = sizeof(where);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	where =
	    (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)&where, n), 0);
	assert_int_equal(listen(fd, 100), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&where, &n), 0);
	assert_int_equal(http_listen(server, fd, 0), 0);
}

static int
dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&where, sizeof(where)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void
test_accept(void **state)
{
	(void)state;
	listen_tcp();
	int fd = dial();
	say(fd, GET_HELLO);
	expect(fd, HELLO, OPEN);
	assert_true(last.local);
	assert_int_equal(counter(CTR_connections), 1);
	assert_int_equal(atomic_load(&live->worker[0].conns), 1);
	/* A reset during a reply is seen as well, with more in the socket than is read. */
	say(fd, POST_WAIT);
	for (int i = 0; i < 2000 && send(fd, GET_HELLO, strlen(GET_HELLO), MSG_NOSIGNAL) > 0; i++)
		turn();
	turn();
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
	close(fd);
	turn_ms(5);
	assert_null(waiting);
	assert_int_equal(http_connections(server), 0);
}

static unsigned
accept_within(unsigned wanted, unsigned ms)
{
	uint64_t start = clock_now_ns();
	while (http_connections(server) < wanted && clock_now_ns() - start < ms * NS_PER_MS)
		turn_ms(1);
	return http_connections(server);
}

static void
test_accept_fairly(void **state)
{
	struct live_worker *other = &live->worker[1];
	int fd[6];
	(void)state;
	listen_tcp();
	atomic_store(&other->owner, 1);
	atomic_store(&other->state, WORKER_READY);
	atomic_store(&other->heartbeat_ns, clock_now_ns());
	for (int i = 0; i < 2; i++)
		fd[i] = dial();
	assert_int_equal(accept_within(2, 1000), 2);
	assert_int_equal(counter(CTR_accept_deferred), 0);
	for (int i = 2; i < 6; i++)
		fd[i] = dial();
	/* Left to the other for a moment; since it does not come, taken. */
	turn();
	assert_int_equal(http_connections(server), 2);
	assert_int_equal(counter(CTR_accept_deferred), 1);
	assert_int_equal(accept_within(6, 1000), 6);
	for (int i = 0; i < 6; i++)
		close(fd[i]);
	turn_ms(5);
	assert_int_equal(http_connections(server), 0);
	/* One that is stopped is not waited for. */
	uint64_t deferred = counter(CTR_accept_deferred);
	atomic_store(&other->heartbeat_ns, 1);
	for (int i = 0; i < 6; i++)
		fd[i] = dial();
	assert_int_equal(accept_within(6, 1000), 6);
	assert_int_equal(counter(CTR_accept_deferred), deferred);
	for (int i = 0; i < 6; i++)
		close(fd[i]);
}

static void
test_max_connections(void **state)
{
	int fd[9];
	(void)state;
	settings.max_connections = 8;
	settings_change();
	listen_tcp();
	for (int i = 0; i < 9; i++) {
		fd[i] = dial();
		assert_int_equal(accept_within((unsigned)i + 1, 1000), i + 1);
	}
	say(fd[8], GET_HELLO);
	expect_status(fd[8], "HTTP/1.1 503 ", "\r\nRetry-After: 1\r\n", CLOSED);
	say(fd[7], GET_HELLO);
	expect(fd[7], HELLO, OPEN);
	close(fd[0]);
	turn_ms(5);
	fd[8] = dial();
	say(fd[8], GET_HELLO);
	expect(fd[8], HELLO, OPEN);
	for (int i = 1; i < 9; i++)
		close(fd[i]);
}

/* Silence and half a head make room for who has something to say; work in hand does not. */
static void
test_room_is_made(void **state)
{
	int fd[9], end;
	(void)state;
	settings.max_connections = 8;
	settings_change();
	listen_tcp();
	for (int i = 0; i < 8; i++) {
		fd[i] = dial();
		assert_int_equal(accept_within((unsigned)i + 1, 1000), i + 1);
	}
	say(fd[0], "POST /wait HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n");
	say(fd[1], "GET /hel");
	say(fd[2], GET_HELLO);
	expect(fd[2], HELLO, OPEN);
	turn_ms(HTTP_SPARE_MS + 20);
	say(fd[1], "lo HTT");
	fd[8] = dial();
	say(fd[8], GET_HELLO);
	expect(fd[8], HELLO, OPEN);
	expect(fd[1], "", CLOSED); /* it was the first to wait */
	assert_non_null(waiting);
	for (int i = 3; i < 8; i++)
		assert_true(recv(fd[i], &end, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
	say(fd[2], GET_HELLO);
	expect(fd[2], HELLO, OPEN);
	for (int i = 0; i < 9; i++)
		close(fd[i]);
}

/* Nor does it help to be refused and to go on sending. */
static void
test_refused_make_room(void **state)
{
	int fd[9];
	(void)state;
	settings.max_connections = 8;
	settings_change();
	listen_tcp();
	for (int i = 0; i < 8; i++) {
		fd[i] = dial();
		say(fd[i], "POST /early HTTP/1.1\r\n" H "Content-Length: 50000000\r\n\r\n");
		assert_int_equal(accept_within((unsigned)i + 1, 1000), i + 1);
	}
	for (unsigned ms = 0; ms < HTTP_SPARE_MS + 50; ms += 50) {
		for (int i = 0; i < 8; i++)
			(void)send(fd[i], "xxxx", 4, MSG_NOSIGNAL);
		turn_ms(50);
	}
	assert_int_equal(http_connections(server), 8);
	fd[8] = dial();
	say(fd[8], GET_HELLO);
	expect(fd[8], HELLO, OPEN);
	for (int i = 0; i < 9; i++)
		close(fd[i]);
}

static void
test_no_descriptors(void **state)
{
	struct rlimit old, low;
	(void)state;
	listen_tcp();
	int fd = dial(), probe = dup(fd);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	close(probe);
	low = (struct rlimit){(rlim_t)probe, old.rlim_max};
	assert_int_equal(send(fd, GET_HELLO, strlen(GET_HELLO), 0), strlen(GET_HELLO));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	turn_ms(5);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	expect_status(fd, "HTTP/1.1 503 ", "service_unavailable", CLOSED);
	assert_int_not_equal(server->spare_fd, -1);
	fd = dial();
	assert_int_equal(accept_within(1, 1000), 1);
	close(fd);
}

static const char *
peer_text(void)
{
	static char text[INET6_ADDRSTRLEN];
	return inet_ntop(AF_INET6, &last.peer, text, sizeof(text));
}

static void
test_peer(void **state)
{
	static const struct {
		const char *from, *fields, *peer;
		bool local;
	} peers[] = {
	    {"127.0.0.1", "", "::ffff:127.0.0.1", true},
	    {"192.0.2.7", "", "::ffff:192.0.2.7", false},
	    {"192.0.2.7", "X-Forwarded-For: 127.0.0.1\r\n", "::ffff:192.0.2.7", false},
	    {"127.0.0.1", "", "::ffff:127.0.0.1", true},
	    {"127.0.0.1", "X-Forwarded-For: 127.0.0.1\r\n", "::ffff:127.0.0.1", false},
	    {"127.0.0.1", "X-Forwarded-For: 198.51.100.1\r\n", "::ffff:127.0.0.1", false},
	    {"127.0.0.1", "Forwarded: for=198.51.100.1\r\n", "::ffff:127.0.0.1", false},
	    {"10.1.2.3", "X-Forwarded-For: 198.51.100.1\r\n", "::ffff:198.51.100.1", false},
	    {"10.1.2.3", "X-Forwarded-For: 127.0.0.1, 198.51.100.1\r\n", "::ffff:198.51.100.1",
		false},
	    {"10.1.2.3", "X-Forwarded-For: 127.0.0.1, 198.51.100.1, 10.9.9.9\r\n",
		"::ffff:198.51.100.1", false},
	    {"10.1.2.3", "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 10.0.0.1\r\n",
		"::ffff:198.51.100.1", false},
	    {"10.1.2.3", "X-Forwarded-For: [2001:db8::5]:443\r\n", "2001:db8::5", false},
	    {"10.1.2.3", "X-Forwarded-For: 198.51.100.1:99\r\n", "::ffff:198.51.100.1", false},
	    {"10.1.2.3", "X-Forwarded-For: 127.0.0.1\r\n", "::ffff:127.0.0.1", true},
	    {"10.1.2.3", "X-Forwarded-For: 127.0.0.1, unknown\r\n", "::", false},
	    {"10.1.2.3", "X-Real-IP: 198.51.100.2\r\n", "::ffff:198.51.100.2", false},
	    {"10.1.2.3", "X-Real-IP: bad\r\n", "::", false},
	    {"10.1.2.3", "", "::ffff:10.1.2.3", false},
	    {"11.1.2.3", "X-Real-IP: 127.0.0.1\r\n", "::ffff:11.1.2.3", false},
	};
	(void)state;
	nets[0] = (struct snap_net){.addr = {[10] = 0xff, [11] = 0xff, [12] = 10}, .bits = 104};
	net_count = 1;
	settings_change();
	for (size_t i = 0; i < NELEM(peers); i++) {
		char text[512];
		int fd = client_from(peers[i].from, 0);
		snprintf(text, sizeof(text), "GET /hello HTTP/1.1\r\n" H "%s\r\n", peers[i].fields);
		say(fd, text);
		if (strcmp(peer_text(), peers[i].peer) != 0 || last.local != peers[i].local)
			fail_msg("row %zu: %s %d", i, peer_text(), last.local);
		close(fd);
	}
	int fd = client_from("127.0.0.1", 1); /* a listener that is not on loopback */
	say(fd, GET_HELLO);
	assert_false(last.local);
	assert_true(last.loopback);
	close(fd);
}

/* What a proxy on another machine calls loopback is not this one. */
static void
test_peer_loopback(void **state)
{
	static const struct {
		const char *from, *fields;
		bool loopback;
	} peers[] = {
	    {"127.0.0.1", "", true},
	    {"127.0.0.1", "X-Forwarded-For: 127.0.0.1\r\n", true},
	    {"127.0.0.1", "X-Forwarded-For: ::1\r\n", true},
	    {"127.0.0.1", "X-Forwarded-For: 192.0.2.1\r\n", false},
	    {"127.0.0.1", "X-Forwarded-For: unknown\r\n", false},
	    {"10.1.2.3", "", false},
	    {"10.1.2.3", "X-Forwarded-For: 127.0.0.1\r\n", false},
	    {"11.1.2.3", "X-Forwarded-For: 127.0.0.1\r\n", false},
	};
	(void)state;
	nets[0] = (struct snap_net){.addr = {[10] = 0xff, [11] = 0xff, [12] = 10}, .bits = 104};
	nets[1] = (struct snap_net){.addr = {[10] = 0xff, [11] = 0xff, [12] = 127}, .bits = 104};
	net_count = 2;
	settings_change();
	for (size_t i = 0; i < NELEM(peers); i++) {
		char text[512];
		int fd = client_from(peers[i].from, 0);
		snprintf(text, sizeof(text), "GET /hello HTTP/1.1\r\n" H "%s\r\n", peers[i].fields);
		say(fd, text);
		if (last.loopback != peers[i].loopback)
			fail_msg("row %zu: %s %d", i, peer_text(), last.loopback);
		close(fd);
	}
}

#define ACCEPT(name) cmocka_unit_test_setup_teardown(name, server_start, server_stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    ACCEPT(test_accept),
	    ACCEPT(test_accept_fairly),
	    ACCEPT(test_max_connections),
	    ACCEPT(test_room_is_made),
	    ACCEPT(test_refused_make_room),
	    ACCEPT(test_no_descriptors),
	    ACCEPT(test_peer),
	    ACCEPT(test_peer_loopback),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
