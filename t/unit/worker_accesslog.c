#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/clock.h"
#include "worker/accesslog.h"
#include "worker/worker.h"

#define SPAN(s) ((struct span){s, sizeof(s) - 1})

static struct http_req
request(void)
{
	struct http_req r = {.method = HTTP_GET,
	    .method_text = SPAN("GET"),
	    .target = SPAN("/v1/models?x=1"),
	    .path = SPAN("/v1/models"),
	    .request_id = "id-1",
	    .minor = 1,
	    .start_ns = clock_now_ns(),
	    .status = 200,
	    .bytes_sent = 1234};

	inet_pton(AF_INET6, "::ffff:192.0.2.7", &r.peer);
	return r;
}

/* What `format` makes of the request, by way of a file. */
static const char *
logged(const char *format, struct http_req *r)
{
	static char text[8192];
	int fd = memfd_create("access", 0), again = dup(fd);
	ssize_t n;

	accesslog_use_fd(fd);
	accesslog_format(format);
	accesslog_write(r);
	n = pread(again, text, sizeof text - 1, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	close(again);
	return text;
}

static void
fields_are_written(void **state)
{
	struct http_req r = request();

	(void)state;
	worker.slot = 5;
	snprintf(r.note.key, sizeof r.note.key, "laptop");
	snprintf(r.note.model, sizeof r.note.model, "echo/echo-1");
	assert_string_equal(
	    logged(
		"$remote_addr \"$request\" $status $bytes_sent $request_id $key $model $connection",
		&r),
	    "192.0.2.7 \"GET /v1/models?x=1 HTTP/1.1\" 200 1234 id-1 laptop echo/echo-1 -\n");
	assert_string_equal(logged("$method $path $scheme $worker", &r), "GET /v1/models http 5\n");
	inet_pton(AF_INET6, "2001:db8::1", &r.peer);
	r.tls = true;
	assert_string_equal(logged("$remote_addr $scheme", &r), "2001:db8::1 https\n");
	r.peer = in6addr_any; /* of a Unix socket, or what a proxy could not name */
	assert_string_equal(logged("$remote_addr", &r), "-\n");
	r.local = true;
	assert_string_equal(logged("$remote_addr", &r), "unix:\n");
	r.minor = 0;
	assert_string_equal(logged("$request", &r), "GET /v1/models?x=1 HTTP/1.0\n");
}

static void
times_are_told(void **state)
{
	struct http_req r = request();
	unsigned long ms;
	const char *text;
	double s;

	(void)state;
	r.start_ns -= 2500 * NS_PER_MS;
	text = logged("$request_time_ms $request_time $time", &r);
	assert_int_equal(sscanf(text, "%lu %lf", &ms, &s), 2);
	assert_in_range(ms, 2500, 60000);
	assert_true(s >= 2.5 && s < 60);
	assert_non_null(strstr(text, "Z\n"));
	assert_int_equal(strlen(strrchr(text, ' ') + 1), CLOCK_ISO_LEN); /* with LF for NUL */
	r.start_ns = clock_now_ns() + NS_PER_SEC;
	assert_string_equal(logged("$request_time_ms", &r), "0\n");
}

/* http's own replies to what was no request. */
static void
a_request_may_have_nothing(void **state)
{
	struct http_req r = {.status = 400};

	(void)state;
	assert_string_equal(
	    logged("\"$request\" $method $path $status $key", &r), "\"-\" - - 400 -\n");
}

static void
credentials_do_not_get_there(void **state)
{
	struct http_req r = request();
	char target[4096];

	(void)state;
	r.target = SPAN("/v1/models?key=abcdefgh12345&x=1");
	assert_string_equal(logged("$request", &r), "GET /v1/models?key=***&x=1 HTTP/1.1\n");
	/* one that is cut in two where the value ends */
	memset(target, 'p', sizeof target);
	target[0] = '/';
	memcpy(target + 2030, "sk-abcdefghijklmnopqrstuvwxyz", 29);
	r.target = (struct span){target, sizeof target};
	assert_null(strstr(logged("$request", &r), "sk-"));
}

static void
a_full_sink_loses_lines_and_counts(void **state)
{
	struct http_req r = request();
	char page[65536];
	uint64_t before = accesslog_lost();
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fcntl(fds[1], F_SETPIPE_SZ, 4096), 4096);
	memset(page, 'x', sizeof page);
	assert_int_equal(write(fds[1], page, 4096), 4096);
	accesslog_use_fd(fds[1]); /* blocking, as a pipe of an operator's is */
	accesslog_format("$status");
	accesslog_write(&r);
	accesslog_write(&r);
	assert_int_equal(accesslog_lost() - before, 2);
	assert_int_equal(read(fds[0], page, sizeof page), 4096);
	accesslog_write(&r);
	assert_int_equal(accesslog_lost() - before, 2);
	assert_int_equal(read(fds[0], page, sizeof page), 4);
	assert_memory_equal(page, "200\n", 4);
	close(fds[0]);
	accesslog_write(&r); /* SIGPIPE is ignored in a worker; here by main */
	assert_int_equal(accesslog_lost() - before, 3);
}

static void
a_socket_does_not_block(void **state)
{
	struct http_req r = request();
	uint64_t before = accesslog_lost();
	unsigned sent = 0;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
	accesslog_use_fd(fds[1]);
	accesslog_format("$status");
	while (accesslog_lost() == before && sent++ < 100000)
		accesslog_write(&r);
	assert_int_equal(accesslog_lost(), before + 1);
	close(fds[0]);
}

/* The old descriptor is closed, the null device means none, a bad format changes nothing. */
static void
sinks_and_formats_change(void **state)
{
	struct http_req r = request();
	int a = memfd_create("a", 0);

	(void)state;
	accesslog_use_fd(a);
	accesslog_format("$status");
	accesslog_format("$nonsense");
	accesslog_write(&r);
	assert_int_equal(lseek(a, 0, SEEK_END), 4);
	accesslog_use_fd(open("/dev/null", O_WRONLY));
	assert_int_equal(fcntl(a, F_GETFD), -1);
	accesslog_write(&r);
	accesslog_use_fd(-1);
	accesslog_write(&r);
	assert_string_equal(logged("$status!", &r), "200!\n");
}

static int
setup(void **state)
{
	(void)state;
	return signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -1 : 0;
}

static int
teardown(void **state)
{
	(void)state;
	accesslog_close();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fields_are_written),
	    cmocka_unit_test(times_are_told),
	    cmocka_unit_test(a_request_may_have_nothing),
	    cmocka_unit_test(credentials_do_not_get_there),
	    cmocka_unit_test(a_full_sink_loses_lines_and_counts),
	    cmocka_unit_test(a_socket_does_not_block),
	    cmocka_unit_test(sinks_and_formats_change),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
