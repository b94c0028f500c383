#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/err.h"
#include "shared/log.h"
#include "shared/seal.h"

static char dir[64], path[128], logfile[128];

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/omniroute-seal-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/secret.key", dir);
	snprintf(logfile, sizeof logfile, "%s/log", dir);
	unsetenv("CREDENTIALS_DIRECTORY");
	return log_open(logfile);
}

static unsigned
list_and_remove(const char *d, bool remove_them)
{
	DIR *dp = opendir(d);
	struct dirent *e;
	unsigned n = 0;
	char p[512];

	assert_non_null(dp);
	while ((e = readdir(dp)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		snprintf(p, sizeof p, "%s/%s", d, e->d_name);
		if (remove_them)
			unlink(p);
	}
	closedir(dp);
	return n;
}

static int
teardown(void **state)
{
	(void)state;
	log_use_fd(2);
	list_and_remove(dir, true);
	return rmdir(dir);
}

static bool
log_says(const char *words)
{
	static char text[8192];
	FILE *f = fopen(logfile, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	fclose(f);
	return strstr(text, words) != NULL;
}

static void
write_file(const char *p, const void *bytes, size_t n, mode_t mode)
{
	int fd = open(p, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), (ssize_t)n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

/* ---- key file ---- */

static void
key_is_made_once(void **state)
{
	static const struct seal_key zero;
	struct seal_key a, b;
	struct stat st;

	(void)state;
	assert_int_equal(seal_key_load(path, false, &a), E_NOT_FOUND);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(seal_key_load(path, true, &a), 0);
	assert_memory_not_equal(&a, &zero, sizeof a);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 32);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(list_and_remove(dir, false), 2); /* key and log: nothing is left over */
	assert_int_equal(seal_key_load(path, true, &b), 0);
	assert_memory_equal(&a, &b, sizeof a);
	seal_key_wipe(&a);
	assert_memory_equal(&a, &zero, sizeof a);
	seal_key_wipe(&b);
}

static void
key_that_others_can_read(void **state)
{
	static const struct seal_key zero;
	struct seal_key k;
	static const mode_t modes[] = {0640, 0604, 0620, 0601};

	(void)state;
	assert_int_equal(seal_key_load(path, true, &k), 0);
	for (unsigned i = 0; i < NELEM(modes); i++) {
		assert_int_equal(chmod(path, modes[i]), 0);
		assert_int_equal(seal_key_load(path, true, &k), E_DENIED);
		assert_memory_equal(&k, &zero, sizeof k);
	}
	assert_true(log_says("has mode 0640"));
	assert_true(log_says("chmod 600"));
	assert_true(log_says(path));
	assert_int_equal(chmod(path, 0400), 0);
	assert_int_equal(seal_key_load(path, true, &k), 0);
	seal_key_wipe(&k);
}

static void
key_of_another_length(void **state)
{
	static const uint8_t bytes[40] = {1};
	struct seal_key k;
	struct stat st;

	(void)state;
	write_file(path, bytes, 31, 0600);
	assert_int_equal(seal_key_load(path, true, &k), E_SYNTAX);
	assert_true(log_says("has less than 32 bytes"));
	write_file(path, bytes, 33, 0600);
	assert_int_equal(seal_key_load(path, true, &k), E_SYNTAX);
	assert_true(log_says("has more than 32 bytes"));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 33); /* left as it is */
	write_file(path, bytes, 0, 0600);
	assert_int_equal(seal_key_load(path, true, &k), E_SYNTAX);
}

static void
key_behind_a_link_or_in_no_file(void **state)
{
	struct seal_key k;
	char target[160];

	(void)state;
	snprintf(target, sizeof target, "%s/elsewhere", dir);
	write_file(target, "0123456789abcdef0123456789abcdef", 32, 0600);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(seal_key_load(path, true, &k), E_SYSTEM);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(seal_key_load(path, true, &k), E_SYNTAX); /* and does not hang */
	snprintf(target, sizeof target, "%s/no/such/folder", dir);
	assert_int_equal(seal_key_load(target, true, &k), E_SYSTEM);
	assert_true(log_says("No such file or directory"));
}

static void
key_of_another_user(void **state)
{
	struct seal_key k;
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip(); /* only root can make a file of somebody else's */
	assert_int_equal(seal_key_load(path, true, &k), 0);
	assert_int_equal(chown(path, 12345, 12345), 0);
	assert_int_equal(seal_key_load(path, true, &k), 0); /* root, before it becomes that user */
	seal_key_wipe(&k);
	assert_int_equal(chmod(dir, 0755), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (setuid(12345) != 0)
			_exit(99);
		_exit(seal_key_load(path, true, &k) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (setuid(12346) != 0)
			_exit(99);
		_exit(seal_key_load(path, true, &k) == E_SYSTEM ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
key_from_the_service_manager(void **state)
{
	static const uint8_t bytes[32] = {42, 1, 2, 3};
	struct seal_key k;
	char cred[160];

	(void)state;
	snprintf(cred, sizeof cred, "%s/omniroute.key", dir);
	write_file(cred, bytes, sizeof bytes, 0440);
	setenv("CREDENTIALS_DIRECTORY", dir, 1);
	assert_int_equal(seal_key_load(path, true, &k), 0);
	assert_memory_equal(k.bytes, bytes, 32);
	assert_int_equal(access(path, F_OK), -1); /* no second key is made */
	write_file(cred, bytes, 5, 0440);
	assert_int_equal(seal_key_load(path, true, &k), E_SYNTAX);
	unlink(cred);
	assert_int_equal(seal_key_load(path, true, &k), 0); /* the directory holds other things only */
	assert_int_equal(access(path, F_OK), 0);
	seal_key_wipe(&k);
	unsetenv("CREDENTIALS_DIRECTORY");
}

/* Many at once: all end with one and the same key. */
static void
key_made_by_many(void **state)
{
	struct seal_key k, first;
	int gate[2], answer[2], status;
	char c;

	(void)state;
	assert_int_equal(pipe(gate), 0);
	assert_int_equal(pipe(answer), 0);
	for (unsigned i = 0; i < 8; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0) {
			close(gate[1]);
			(void)!read(gate[0], &c, 1); /* end of file opens the gate */
			if (seal_key_load(path, true, &k) != 0 || write(answer[1], k.bytes, 32) != 32)
				_exit(1);
			_exit(0);
		}
	}
	close(gate[0]);
	close(gate[1]);
	for (unsigned i = 0; i < 8; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(read(answer[0], first.bytes, 32), 32);
	for (unsigned i = 1; i < 8; i++) {
		assert_int_equal(read(answer[0], k.bytes, 32), 32);
		assert_memory_equal(k.bytes, first.bytes, 32);
	}
	close(answer[0]);
	close(answer[1]);
	assert_int_equal(list_and_remove(dir, false), 2);
}

/* ---- sealed texts ---- */

static const struct seal_key key = {.bytes = {1, 2, 3}};

static void
seal_and_open(void **state)
{
	char *a = seal_text(&key, "row-1", "sk-secret", 9), *b, *out;
	size_t n = 99;

	(void)state;
	assert_non_null(a);
	assert_memory_equal(a, "s1:", 3);
	assert_int_equal(
	    strspn(a + 3, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
	    (24 + 9 + 16) * 4 / 3 + 1);
	assert_null(strstr(a, "secret"));
	out = seal_open(&key, "row-1", a, &n);
	assert_non_null(out);
	assert_int_equal(n, 9);
	assert_string_equal(out, "sk-secret");
	seal_free(out);
	b = seal_text(&key, "row-1", "sk-secret", 9);
	assert_string_not_equal(a, b); /* never the same nonce */
	seal_free(b);

	assert_null(seal_open(&key, "row-2", a, &n)); /* moved to another row */
	assert_int_equal(n, 0);
	assert_null(seal_open(&(struct seal_key){.bytes = {1, 2, 4}}, "row-1", a, &n));
	seal_free(a);

	a = seal_text(&key, "", "", 0);
	out = seal_open(&key, "", a, &n);
	assert_non_null(out);
	assert_int_equal(n, 0);
	assert_string_equal(out, "");
	seal_free(out);
	seal_free(a);
	seal_free(NULL);
}

static void
every_damage_is_seen(void **state)
{
	char *a = seal_text(&key, "row", "value", 5), *out;
	size_t len = strlen(a), n;

	(void)state;
	for (size_t i = 0; i < len; i++) {
		char keep = a[i];

		a[i] = keep == 'A' ? 'B' : 'A';
		out = seal_open(&key, "row", a, &n);
		/* the last character has bits that mean nothing; they must be 0 */
		assert_null(out);
		a[i] = '\0';
		assert_null(seal_open(&key, "row", a, &n));
		a[i] = keep;
	}
	out = seal_open(&key, "row", a, &n);
	assert_non_null(out);
	seal_free(out);
	assert_null(seal_open(&key, "row", "", &n));
	assert_null(seal_open(&key, "row", "s1:", &n));
	assert_null(seal_open(&key, "row", "s1:!!!!", &n));
	assert_null(seal_open(&key, "row", "s2:AAAA", &n));
	seal_free(a);
}

static void
large_text(void **state)
{
	size_t n = 100000, got;
	char *text = malloc(n), *a, *out;

	(void)state;
	for (size_t i = 0; i < n; i++)
		text[i] = (char)(i * 31);
	a = seal_text(&key, "row", text, n);
	assert_non_null(a);
	out = seal_open(&key, "row", a, &got);
	assert_non_null(out);
	assert_int_equal(got, n);
	assert_memory_equal(out, text, n);
	assert_int_equal(out[n], '\0');
	free(out);
	seal_free(a);
	free(text);
}

/* ---- the others ---- */

static void
passwords(void **state)
{
	char *h = password_hash("correct horse");

	(void)state;
	assert_non_null(h);
	assert_memory_equal(h, "$argon2id$v=19$m=19456,t=2,p=1$", 31);
	assert_true(password_check(h, "correct horse"));
	assert_false(password_check(h, "correct horsf"));
	assert_false(password_check(h, ""));
	assert_false(password_check("", ""));
	assert_false(password_check("plain", "plain"));
	seal_free(h);
}

static void
digests(void **state)
{
	static const uint8_t salt[32] = {7}, other[32] = {8};
	/* BLAKE2b, 32 bytes of output, key 07 00..00 (32 bytes), input "or-abc": by Python's
	 * hashlib */
	static const char expected[] =
	    "0e56bfa78b5baa0585bc7a0f487d82081dcb133495815e9ed403fda1a7de62c8";
	uint8_t a[32], b[32];
	char hex[65];

	(void)state;
	key_digest(salt, "or-abc", 6, a);
	for (unsigned i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", a[i]);
	assert_string_equal(hex, expected);
	key_digest(salt, "or-abd", 6, b);
	assert_memory_not_equal(a, b, 32);
	key_digest(other, "or-abc", 6, b);
	assert_memory_not_equal(a, b, 32);
}

static void
tokens_and_ids(void **state)
{
	char *t = random_token("or-", 32), *u = random_token("or-", 32);
	char id[UUID_LEN], id2[UUID_LEN];

	(void)state;
	assert_memory_equal(t, "or-", 3);
	assert_int_equal(strlen(t), 3 + 43);
	assert_string_not_equal(t, u);
	assert_int_equal(
	    strspn(t + 3, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 43);
	seal_free(t);
	seal_free(u);
	for (unsigned i = 0; i < 100; i++) {
		uuid4(id);
		assert_int_equal(strlen(id), 36);
		for (unsigned j = 0; j < 36; j++)
			if (j == 8 || j == 13 || j == 18 || j == 23)
				assert_int_equal(id[j], '-');
			else
				assert_non_null(strchr("0123456789abcdef", id[j]));
		assert_int_equal(id[14], '4');
		assert_non_null(strchr("89ab", id[19]));
	}
	uuid4(id2);
	assert_string_not_equal(id, id2);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_FOLDER(key_is_made_once),
	    IN_FOLDER(key_that_others_can_read),
	    IN_FOLDER(key_of_another_length),
	    IN_FOLDER(key_behind_a_link_or_in_no_file),
	    IN_FOLDER(key_of_another_user),
	    IN_FOLDER(key_from_the_service_manager),
	    IN_FOLDER(key_made_by_many),
	    cmocka_unit_test(seal_and_open),
	    cmocka_unit_test(every_damage_is_seen),
	    cmocka_unit_test(large_text),
	    cmocka_unit_test(passwords),
	    cmocka_unit_test(digests),
	    cmocka_unit_test(tokens_and_ids),
	};

	if (seal_init() != 0)
		return 1;
	return cmocka_run_group_tests_name("shared/seal", tests, NULL, NULL);
}
