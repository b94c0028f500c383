/* What the bodies of all requests of a worker take together. */
#include "t/unit/worker_http.h"

#define H "Host: h\r\n"
#define SIZED(n) "POST /wait HTTP/1.1\r\n" H "Content-Length: " #n "\r\n\r\n"
#define CHUNKED "POST /wait HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
#define REFUSAL \
	"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nX-Request-Id: " \
	"*\r\n" \
	"Retry-After: 1\r\nContent-Length: 136\r\nConnection: close\r\n\r\n" \
	"{\"error\":{\"message\":\"The gateway holds as many request bodies as it may; try " \
	"again\"," \
	"\"type\":\"server_error\",\"code\":\"service_unavailable\"}}"

static char filler[400000];

static void
limit(uint64_t bytes)
{
	settings.max_body_memory = bytes;
	snapshot_make();
	http_settings_changed(server);
	memset(filler, 'x', sizeof(filler));
}

/* A client whose request begins so, followed by n bytes of its body. */
static int
upload(const char *head, size_t n)
{
	int fd = client();
	say(fd, head);
	say_n(fd, filler, n);
	turn();
	return fd;
}

static void
chunk(int fd, size_t n)
{
	char line[32];
	snprintf(line, sizeof(line), "%zx\r\n", n);
	say(fd, line);
	say_n(fd, filler, n);
	say(fd, "\r\n");
}

static void
leave(int fd)
{
	close(fd);
	turn();
}

static void
refused(int fd, uint64_t times)
{
	expect(fd, REFUSAL, CLOSED);
	assert_int_equal(counter(CTR_refused_memory), times);
	leave(fd);
}

/* A length for which there is no room is refused before the body is sent; one that fits is served.
 */
static void
test_sized(void **state)
{
	(void)state;
	limit(300000);
	int a = upload(SIZED(200000), 190000);
	assert_in_range(server->bodies, 190000, 200000);
	refused(upload(SIZED(110001), 0), 1);
	assert_in_range(server->bodies, 190000, 200000);
	int b = upload(SIZED(100000), 100000);
	assert_non_null(waiting);
	assert_in_range(server->bodies, 290000, 300000);
	seen_take();
	refused(upload(SIZED(20000), 0), 2);
	assert_string_equal(seen_take(), "head(/wait)gone(/wait)done(503,136)");
	leave(a);
	assert_int_equal(server->bodies, 100000);
	/* Held until the reply is out. */
	http_reply(waiting, 204, NULL, NULL, 0);
	turn();
	assert_int_equal(server->bodies, 0);
	leave(b);
}

/* What was announced and does not come takes no room from anybody. */
static void
test_idle_uploads(void **state)
{
	int idle[20];
	(void)state;
	limit(300000);
	for (size_t i = 0; i < NELEM(idle); i++)
		idle[i] = upload(SIZED(290000), 0);
	assert_int_equal(server->bodies, 0);
	int fd = upload(SIZED(290000), 290000);
	assert_non_null(waiting);
	http_reply(waiting, 200, NULL, "ok", 2);
	leave(fd);
	assert_int_equal(counter(CTR_refused_memory), 0);
	for (size_t i = 0; i < NELEM(idle); i++)
		leave(idle[i]);
	assert_int_equal(server->bodies, 0);
}

/* Two lengths that fit one by one, and not together, are told apart when they have come. */
static void
test_sized_grows(void **state)
{
	(void)state;
	limit(300000);
	int a = upload(SIZED(200000), 10), b = upload(SIZED(200000), 10);
	say_n(a, filler, 180000);
	assert_in_range(server->bodies, 180000, 200020 + 65536);
	size_t sent = 0;
	while (sent < 190000 && send(b, filler, 10000, MSG_NOSIGNAL) == 10000) {
		sent += 10000;
		turn();
		assert_in_range(server->bodies, 180000, 300000);
	}
	refused(b, 1);
	say_n(a, filler, 19990);
	assert_non_null(waiting);
	assert_int_equal(waiting->body.n, 200000);
	assert_int_equal(server->bodies, 200000);
	leave(a);
	assert_int_equal(server->bodies, 0);
}

static void
test_chunked_grows(void **state)
{
	(void)state;
	limit(300000);
	int a = upload(SIZED(200000), 199000), b = upload(CHUNKED, 0);
	for (unsigned i = 0; i < 4; i++)
		chunk(b, 10000);
	assert_in_range(server->bodies, 239000, 300000);
	assert_int_equal(counter(CTR_refused_memory), 0);
	seen_take();
	while (counter(CTR_refused_memory) == 0) {
		chunk(b, 10000);
		assert_in_range(server->bodies, 199000, 300000);
	}
	assert_in_range(server->bodies, 199000, 200000); /* what was refused is given back */
	assert_string_equal(seen_take(), "gone(/wait)done(503,136)");
	refused(b, 1);
	say_n(a, filler, 1000);
	assert_non_null(waiting);
	leave(a);
	assert_int_equal(server->bodies, 0);
}

/* A body that is alone always fits; while there is another it does not. */
static void
test_alone(void **state)
{
	static const char *const heads[] = {SIZED(400000), CHUNKED};
	(void)state;
	limit(1000);
	int other = upload(SIZED(500), 499);
	refused(upload(SIZED(400000), 0), 1);
	leave(other);
	for (unsigned i = 0; i < NELEM(heads); i++) {
		int fd = upload(heads[i], i == 0 ? 400000 : 0);
		if (i == 1) {
			chunk(fd, 400000);
			say(fd, "0\r\n\r\n");
		}
		assert_non_null(waiting);
		assert_int_equal(waiting->body.n, 400000);
		assert_true(server->bodies >= 400000);
		refused(upload(SIZED(1), 0), i + 2);
		http_reply(waiting, 200, NULL, "ok", 2);
		leave(fd);
		assert_int_equal(server->bodies, 0);
		waiting = NULL;
	}
}

static void
test_no_limit(void **state)
{
	int fd[8];
	(void)state;
	limit(0);
	for (size_t i = 0; i < NELEM(fd); i++)
		fd[i] = upload(SIZED(400000), 399999);
	assert_int_equal(counter(CTR_refused_memory), 0);
	assert_in_range(server->bodies, 8 * 399999, 8 * 400000);
	for (size_t i = 0; i < NELEM(fd); i++)
		leave(fd[i]);
	assert_int_equal(server->bodies, 0);
}

/* A limit that is lowered lets go on what is there, and nothing more. */
static void
test_lowered(void **state)
{
	(void)state;
	limit(0);
	int a = upload(SIZED(200000), 199999), b = upload(SIZED(300000), 100000);
	limit(50000);
	say(a, "x");
	assert_non_null(waiting);
	for (unsigned i = 0; i < 20 && counter(CTR_refused_memory) == 0; i++) {
		(void)send(b, filler, 10000, MSG_NOSIGNAL);
		turn();
	}
	refused(b, 1);
	leave(a);
	assert_int_equal(server->bodies, 0);
}

/* Whatever becomes of a request, its body is given back. */
static void
test_given_back(void **state)
{
	int end;
	(void)state;
	limit(300000);
	leave(upload(SIZED(5000), 4000)); /* gone in the body */
	assert_int_equal(server->bodies, 0);
	leave(upload(SIZED(5000), 5000)); /* gone while it is answered */
	assert_null(waiting);
	assert_int_equal(server->bodies, 0);
	int fd = upload(SIZED(5000), 5000);
	assert_int_equal(server->bodies, 5000);
	http_abort(waiting);
	assert_int_equal(server->bodies, 0);
	leave(fd);
	fd = upload(CHUNKED, 0);
	chunk(fd, 5000);
	assert_true(server->bodies >= 5000);
	say(fd, "no size\r\n");
	assert_memory_equal(hear(fd, CLOSED, &end), "HTTP/1.1 400 ", 13);
	assert_int_equal(server->bodies, 0);
	leave(fd);
	fd = upload("POST /small HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 0);
	chunk(fd, 5);
	assert_true(server->bodies >= 5);
	say(fd, "5\r\nabcde\r\n");
	assert_memory_equal(hear(fd, CLOSED, &end), "HTTP/1.1 413 ", 13);
	assert_int_equal(server->bodies, 0);
	leave(fd);
	settings.body_timeout_ms = 30;
	limit(300000);
	fd = upload(SIZED(5000), 4000);
	assert_memory_equal(hear(fd, CLOSED, &end), "HTTP/1.1 408 ", 13);
	assert_int_equal(server->bodies, 0);
	leave(fd);
	/* One behind the other on a connection. */
	fd = client();
	for (unsigned i = 0; i < 3; i++) {
		say(fd, SIZED(2));
		say(fd, "ab");
		assert_int_equal(server->bodies, 2);
		http_reply(waiting, 204, NULL, NULL, 0);
		turn();
		assert_int_equal(server->bodies, 0);
	}
	leave(fd);
}

/* Fields of one name, in their order. */
static void
test_fields(void **state)
{
	(void)state;
	int fd = client();
	say(fd, "POST /wait HTTP/1.1\r\n" H "A: 1\r\nB: 2\r\na:\r\nAA: 3\r\nA: 4\r\n\r\n");
	assert_non_null(waiting);
	assert_int_equal(http_header_count(waiting, "a"), 3);
	struct span v = http_header_nth(waiting, "a", 0);
	assert_int_equal(v.n, 1);
	assert_memory_equal(v.p, "1", 1);
	v = http_header_nth(waiting, "a", 1);
	assert_non_null(v.p);
	assert_int_equal(v.n, 0);
	v = http_header_nth(waiting, "A", 2);
	assert_int_equal(v.n, 1);
	assert_memory_equal(v.p, "4", 1);
	assert_null(http_header_nth(waiting, "a", 3).p);
	assert_null(http_header_nth(waiting, "c", 0).p);
	leave(fd);
}

#define BODY(name) cmocka_unit_test_setup_teardown(name, server_start, server_stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    BODY(test_sized),
	    BODY(test_idle_uploads),
	    BODY(test_sized_grows),
	    BODY(test_chunked_grows),
	    BODY(test_alone),
	    BODY(test_no_limit),
	    BODY(test_lowered),
	    BODY(test_given_back),
	    BODY(test_fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
