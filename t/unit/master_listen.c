#include "t/unit/master_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "shared/buf.h"

static struct conf_listen rows[3];
static struct conf conf = {.listen = rows};
static char name[3][96], dir[64];
static struct buf err = BUF_INIT(4096);

static int
up(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/omniroute-unit.XXXXXX");
	assert_non_null(mkdtemp(dir));
	memset(rows, 0, sizeof rows);
	for (unsigned i = 0; i < 3; i++)
		rows[i] = (struct conf_listen){.name = name[i], .mode = 0600};
	buf_reset(&err);
	return 0;
}

static int
down(void **state)
{
	(void)state;
	buf_clear(&err);
	return nftw(dir, fixture_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static uint16_t
port_of(int fd)
{
	struct sockaddr_in a;
	socklen_t len = sizeof a;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	return ntohs(a.sin_port);
}

static struct listen_set *
open_set(unsigned n, const struct listen_set *old)
{
	struct listen_set *s;

	conf.nlisten = n;
	if (listen_open(&conf, old, NULL, 0, 0, &s, &err) != 0)
		fail_msg("%s", buf_cstr(&err));
	return s;
}

static int
open_fails(unsigned n, const struct listen_set *old)
{
	struct listen_set *s;
	int r;

	conf.nlisten = n;
	r = listen_open(&conf, old, NULL, 0, 0, &s, &err);
	assert_int_not_equal(r, 0);
	assert_null(s);
	assert_non_null(buf_cstr(&err));
	return r;
}

static void
test_names_become_sockets(void **state)
{
	struct listen_set *s;
	struct stat st;

	(void)state;
	snprintf(name[0], sizeof name[0], "127.0.0.1:0");
	snprintf(name[1], sizeof name[1], "*:0");
	snprintf(name[2], sizeof name[2], "unix:%s/s", dir);
	rows[2].mode = 0666;
	s = open_set(3, NULL);
	assert_true(s->v[0].loopback);
	assert_false(s->v[1].loopback);
	assert_true(s->v[2].is_unix);
	assert_false(s->v[2].loopback);
	assert_int_equal(stat(name[2] + 5, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0666);
	assert_int_equal(fcntl(s->v[0].fd, F_GETFD), FD_CLOEXEC);
	listen_unlink(s, NULL);
	assert_int_equal(stat(name[2] + 5, &st), -1);
	listen_put(s);
}

static void
test_same_name_keeps_its_socket(void **state)
{
	struct listen_set *a, *b;

	(void)state;
	snprintf(name[0], sizeof name[0], "127.0.0.1:0");
	snprintf(name[1], sizeof name[1], "unix:%s/s", dir);
	a = open_set(2, NULL);
	b = open_set(2, a);
	assert_true(listen_same(a, b));
	assert_int_equal(port_of(a->v[0].fd), port_of(b->v[0].fd));
	assert_int_not_equal(a->v[0].fd, b->v[0].fd);
	listen_put(b);
	b = open_set(1, a);
	assert_false(listen_same(a, b));
	listen_unlink(a, b);
	assert_int_equal(access(name[1] + 5, F_OK), -1);
	listen_put(a);
	listen_put(b);
}

static void
test_taken_address_is_named(void **state)
{
	struct listen_set *s;

	(void)state;
	snprintf(name[0], sizeof name[0], "127.0.0.1:0");
	s = open_set(1, NULL);
	snprintf(name[0], sizeof name[0], "127.0.0.1:%u", port_of(s->v[0].fd));
	assert_int_equal(open_fails(1, NULL), E_SYSTEM);
	assert_non_null(strstr(err.data, name[0]));
	assert_non_null(strstr(err.data, "in use"));
	listen_put(s);
}

static void
test_only_a_stale_socket_file_is_replaced(void **state)
{
	struct listen_set *s, *second;
	FILE *f;

	(void)state;
	snprintf(name[0], sizeof name[0], "unix:%s/s", dir);
	s = open_set(1, NULL);
	open_fails(1, NULL);
	assert_int_equal(access(name[0] + 5, F_OK), 0);
	listen_put(s); /* closed, but the file is there */
	assert_int_equal(access(name[0] + 5, F_OK), 0);
	second = open_set(1, NULL);
	listen_unlink(second, NULL);
	listen_put(second);
	assert_non_null(f = fopen(name[0] + 5, "w"));
	fclose(f);
	open_fails(1, NULL);
	assert_int_equal(access(name[0] + 5, F_OK), 0);
}

static void
test_what_fails_leaves_nothing(void **state)
{
	(void)state;
	snprintf(name[0], sizeof name[0], "unix:%s/s", dir);
	snprintf(name[1], sizeof name[1], "127.0.0.1");
	assert_int_equal(open_fails(2, NULL), E_SYNTAX);
	assert_non_null(strstr(err.data, "127.0.0.1"));
	assert_int_equal(access(name[0] + 5, F_OK), -1);
}

static void
test_certificate_and_key_must_fit(void **state)
{
	(void)state;
	snprintf(name[0], sizeof name[0], "127.0.0.1:0");
	rows[0].tls = true;
	rows[0].certificate = "/nonexistent.pem";
	rows[0].private_key = "/nonexistent.key";
	assert_int_equal(open_fails(1, NULL), E_SYSTEM);
	assert_non_null(strstr(err.data, "/nonexistent.pem"));
	buf_reset(&err);
	rows[0].certificate = rows[0].private_key = "/etc/hostname";
	assert_int_equal(open_fails(1, NULL), E_SYNTAX);
	assert_non_null(strstr(err.data, "certificate in PEM"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_names_become_sockets, up, down),
	    cmocka_unit_test_setup_teardown(test_same_name_keeps_its_socket, up, down),
	    cmocka_unit_test_setup_teardown(test_taken_address_is_named, up, down),
	    cmocka_unit_test_setup_teardown(test_only_a_stale_socket_file_is_replaced, up, down),
	    cmocka_unit_test_setup_teardown(test_what_fails_leaves_nothing, up, down),
	    cmocka_unit_test_setup_teardown(test_certificate_and_key_must_fit, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
