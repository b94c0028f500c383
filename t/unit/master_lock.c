#include "t/unit/master_fixture.h"

#include <sys/wait.h>

#include "master/inherit.h"
#include "master/lock.h"
#include "master/orphan.h"
#include "shared/buf.h"

static char dir[64], path[96], old[128];

static int
up(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/omniroute-unit.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/pid", dir);
	snprintf(old, sizeof old, "%s.oldbin", path);
	return 0;
}

static int
down(void **state)
{
	(void)state;
	return nftw(dir, fixture_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static long
number_in(const char *file)
{
	FILE *f = fopen(file, "r");
	long n = -1;

	if (f == NULL)
		return -1;
	if (fscanf(f, "%ld", &n) != 1)
		n = -2;
	fclose(f);
	return n;
}

static void
write_number(const char *file, long n)
{
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	fprintf(f, "%ld\n", n);
	fclose(f);
}

static void
test_second_master_is_told_who_holds_it(void **state)
{
	struct buf err = BUF_INIT(4096);
	char expected[64];
	int fd, second;

	(void)state;
	assert_int_equal(lock_take(dir, -1, &fd, &err), 0);
	lock_sign(fd);
	assert_int_equal(lock_take(dir, -1, &second, &err), E_BUSY);
	assert_int_equal(second, -1);
	snprintf(expected, sizeof expected, "process id %d", (int)getpid());
	assert_non_null(strstr(buf_cstr(&err), expected));
	assert_non_null(strstr(err.data, dir));
	buf_reset(&err);
	assert_int_equal(lock_take(dir, fd, &second, &err), 0); /* inherited */
	assert_int_equal(second, fd);
	close(fd);
	assert_int_equal(lock_take(dir, -1, &fd, &err), 0);
	close(fd);
	buf_clear(&err);
}

static void
test_data_directory_is_ours_alone(void **state)
{
	struct buf err = BUF_INIT(4096);
	char deep[128];
	struct stat st;

	(void)state;
	snprintf(deep, sizeof deep, "%s/a/b", dir);
	assert_int_equal(lock_dir(deep, &err), 0);
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(lock_dir(deep, &err), 0);
	write_number(path, 1);
	snprintf(deep, sizeof deep, "%s/pid/x", dir);
	assert_int_equal(lock_dir(deep, &err), E_SYSTEM);
	assert_non_null(strstr(buf_cstr(&err), deep));
	buf_clear(&err);
}

static void
test_pid_file_goes_aside_and_comes_back(void **state)
{
	(void)state;
	assert_int_equal(pidfile_write(path), 0);
	assert_int_equal(number_in(path), getpid());
	pidfile_set_aside(path);
	assert_int_equal(number_in(path), -1);
	assert_int_equal(number_in(old), getpid());
	write_number(path, 1); /* the next master */
	pidfile_remove(path);
	assert_int_equal(number_in(path), 1);
	assert_int_equal(number_in(old), -1);
	assert_int_equal(pidfile_write(path), 0);
	pidfile_set_aside(path);
	pidfile_bring_back(path);
	assert_int_equal(number_in(path), getpid());
	pidfile_remove(path);
	assert_int_equal(number_in(path), -1);
}

static void
test_pid_file_of_another_stays(void **state)
{
	(void)state;
	write_number(path, 1);
	pidfile_remove(path);
	pidfile_set_aside(path);
	assert_int_equal(number_in(path), 1);
	write_number(old, 1);
	pidfile_bring_back(path);
	assert_int_equal(number_in(old), 1);
}

static void
test_inheritance_reads_what_was_written(void **state)
{
	struct buf text = BUF_INIT(4096);
	struct inherit in;

	(void)state;
	inherit_write(&text, "live", 5, "");
	inherit_write(&text, "lock", 6, "");
	inherit_write(&text, "peer", 7, "");
	inherit_write(&text, "control", -1, "");
	inherit_write(&text, "listen", 1000, "[::1]:443");
	inherit_write(&text, "listen", 1001, "unix:/a path/s");
	assert_true(inherit_parse(buf_cstr(&text), &in));
	assert_int_equal(in.live, 5);
	assert_int_equal(in.lock, 6);
	assert_int_equal(in.peer, 7);
	assert_int_equal(in.control, -1);
	assert_int_equal(in.nlisteners, 2);
	assert_string_equal(in.listener[0].name, "[::1]:443");
	assert_int_equal(in.listener[0].fd, 1000);
	assert_string_equal(in.listener[1].name, "unix:/a path/s");
	inherit_clear(&in);
	buf_clear(&text);
}

static void
test_broken_inheritance_is_refused(void **state)
{
	static const char *const broken[] = {"", "lock 6 \n", "peer 7 \n", "lock 6 \npeer x \n",
	    "lock 6 \npeer 2 \n", "lock 6 \npeer 7 \nlisten 8 \n", "lock 6 \npeer 7 \nwhat 9 \n",
	    "lock 6 \npeer 7"};
	struct inherit in;

	(void)state;
	for (size_t i = 0; i < NELEM(broken); i++) {
		if (inherit_parse(broken[i], &in))
			fail_msg("\"%s\"", broken[i]);
		inherit_clear(&in);
	}
}

static void
test_worker_is_known_by_its_generation(void **state)
{
	int line[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(line, O_CLOEXEC), 0);
	if ((pid = fork()) == 0) {
		dup2(line[0], STDIN_FILENO);
		execlp("sh", "worker", "-c", "echo; read x; :", "x", "--generation", "77",
		    "--listeners", "1", (char *)NULL);
		_exit(1);
	}
	assert_true(pid > 0);
	for (int i = 0; i < 1000 && !worker_lives(pid, 77); i++)
		usleep(1000); /* until it has executed */
	assert_true(worker_lives(pid, 77));
	assert_false(worker_lives(pid, 78));
	assert_false(worker_lives(getpid(), 77));
	assert_false(worker_lives(0, 77));
	close(line[1]);
	close(line[0]);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_false(worker_lives(pid, 77)); /* a zombie */
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_second_master_is_told_who_holds_it, up, down),
	    cmocka_unit_test_setup_teardown(test_data_directory_is_ours_alone, up, down),
	    cmocka_unit_test_setup_teardown(test_pid_file_goes_aside_and_comes_back, up, down),
	    cmocka_unit_test_setup_teardown(test_pid_file_of_another_stays, up, down),
	    cmocka_unit_test(test_inheritance_reads_what_was_written),
	    cmocka_unit_test(test_broken_inheritance_is_refused),
	    cmocka_unit_test(test_worker_is_known_by_its_generation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
