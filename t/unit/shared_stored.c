#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/err.h"
#include "shared/log.h"
#include "shared/stored_cache.h"

#define BOUND (UINT64_C(1) << 20)

static char top[64], dir[96];
static struct arena *arena;
static struct stored_cache *cache;

static int
setup(void **state)
{
	char logfile[96];

	(void)state;
	snprintf(top, sizeof top, "/tmp/omniroute-stored-XXXXXX");
	if (mkdtemp(top) == NULL)
		return -1;
	snprintf(dir, sizeof dir, "%s/cache", top);
	snprintf(logfile, sizeof logfile, "%s/log", top);
	arena = arena_new(64u << 20);
	cache = NULL;
	return log_open(logfile);
}

static int
teardown(void **state)
{
	static const char *const files[] = {"cache/data.mdb", "cache/lock.mdb", "cache", "log"};
	char path[128];

	(void)state;
	stored_cache_close(cache);
	arena_free(arena);
	log_use_fd(2);
	for (unsigned i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "%s/%s", top, files[i]);
		remove(path);
	}
	return rmdir(top);
}

static struct span
span(const char *s)
{
	return (struct span){s, strlen(s)};
}

/* A record as the master would have it: copied out of the memfd. */
static const struct stored_head *
record(const char *key, const char *id, uint64_t expires_s, const char *item, struct span answer)
{
	struct stored_head h = {.op = STORED_KEEP, .expires_s = expires_s, .items = item != NULL};
	struct span items[1] = {item != NULL ? span(item) : (struct span){NULL, 0}};
	struct stat st;
	void *copy;
	int fd;

	stored_owner(span(key), h.owner);
	snprintf(h.id, sizeof h.id, "%s", id);
	assert_int_equal(stored_pack(&h, items, answer, span("{\"in\":1}"), &fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_non_null(copy = arena_alloc(arena, (size_t)st.st_size));
	assert_int_equal(pread(fd, copy, (size_t)st.st_size, 0), st.st_size);
	assert_int_equal(stored_check(copy, (size_t)st.st_size), 0);
	assert_int_equal(
	    fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	close(fd);
	return copy;
}

static int
store(const struct stored_head *h, uint64_t now_s)
{
	int error = -99, r = stored_cache_write(cache, &h, 1, now_s, &error);

	return r != 0 ? r : error;
}

static int
forget(const char *key, const char *id)
{
	struct stored_head h = {.op = STORED_FORGET, .version = STORED_VERSION};

	stored_owner(span(key), h.owner);
	snprintf(h.id, sizeof h.id, "%s", id);
	return store(&h, 1);
}

static int
get(const char *key, const char *id, bool item, uint64_t now_s, const struct stored_head **out)
{
	uint8_t owner[STORED_OWNER];

	stored_owner(span(key), owner);
	return item ? stored_cache_item(cache, arena, owner, span(id), now_s, out)
		    : stored_cache_get(cache, arena, owner, span(id), now_s, out);
}

static void
open_cache(void)
{
	assert_int_equal(stored_cache_open(dir, BOUND, (gid_t)-1, &cache), 0);
}

/* ---- records ---- */

static void
records_hold_together(void **state)
{
	struct stored_head *h;
	const struct stored_head *good = record("k", "resp_1", 9, "msg_1", span("{\"a\":2}"));
	size_t n = sizeof *good + STORED_ID_SIZE + 7 + 8;

	(void)state;
	assert_string_equal(stored_items(good), "msg_1");
	assert_int_equal(stored_answer(good).n, 7);
	assert_memory_equal(stored_answer(good).p, "{\"a\":2}", 7);
	assert_memory_equal(stored_input(good).p, "{\"in\":1}", 8);
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(stored_check(good, cut), E_SYNTAX);
	h = arena_alloc(arena, n);
	memcpy(h, good, n);
	h->answer_len = UINT64_MAX - 6;
	assert_int_equal(stored_check(h, n), E_SYNTAX);
	memcpy(h, good, n);
	h->items = UINT32_MAX;
	assert_int_equal(stored_check(h, n), E_SYNTAX);
	memcpy(h, good, n);
	h->op = 7;
	assert_int_equal(stored_check(h, n), E_SYNTAX);
	memcpy(h, good, n);
	memset(h->id, 'x', sizeof h->id);
	assert_int_equal(stored_check(h, n), E_SYNTAX);
	memcpy(h, good, n);
	memset(h + 1, 'x', STORED_ID_SIZE);
	assert_int_equal(stored_check(h, n), E_SYNTAX);
	memcpy(h, good, n);
	h->version++;
	assert_int_equal(stored_check(h, n), E_VERSION);
}

static void
what_cannot_be_packed(void **state)
{
	struct stored_head h = {.op = STORED_KEEP, .id = "resp_1", .items = 1};
	char *big = calloc(1, STORED_MAX + 1);
	struct span item = span("msg_1");
	int fd;

	(void)state;
	assert_int_equal(
	    stored_pack(&h, &item, (struct span){big, STORED_MAX + 1}, span(""), &fd), E_TOO_LONG);
	assert_int_equal(
	    stored_pack(&h, &item, (struct span){big, STORED_MAX}, span("x"), &fd), E_TOO_LONG);
	assert_int_equal(fd, -1);
	item.n = STORED_ID_SIZE;
	item.p = big;
	assert_int_equal(stored_pack(&h, &item, span("{}"), span(""), &fd), E_RANGE);
	h.items = 0;
	h.id[0] = '\0';
	assert_int_equal(stored_pack(&h, &item, span("{}"), span(""), &fd), E_RANGE);
	free(big);
}

/* ---- the cache ---- */

static void
kept_and_forgotten(void **state)
{
	const struct stored_head *h;

	(void)state;
	open_cache();
	assert_int_equal(store(record("k", "resp_1", 100, "msg_1", span("{\"a\":2}")), 1), 0);
	assert_int_equal(get("k", "resp_1", false, 99, &h), 0);
	assert_memory_equal(stored_answer(h).p, "{\"a\":2}", 7);
	assert_int_equal(get("k", "msg_1", true, 99, &h), 0);
	assert_string_equal(h->id, "resp_1");
	assert_int_equal(get("other", "resp_1", false, 99, &h), E_NOT_FOUND);
	assert_int_equal(get("other", "msg_1", true, 99, &h), E_NOT_FOUND);
	assert_int_equal(get("k", "resp_2", false, 99, &h), E_NOT_FOUND);
	assert_int_equal(get("k", "", false, 99, &h), E_NOT_FOUND);
	assert_int_equal(get("k", "resp_1", false, 100, &h), E_NOT_FOUND); /* expired */

	assert_int_equal(forget("other", "resp_1"), E_NOT_FOUND);
	assert_int_equal(get("k", "resp_1", false, 99, &h), 0);
	assert_int_equal(forget("k", "resp_1"), 0);
	assert_int_equal(get("k", "resp_1", false, 99, &h), E_NOT_FOUND);
	assert_int_equal(get("k", "msg_1", true, 99, &h), E_NOT_FOUND);
	assert_int_equal(forget("k", "resp_1"), E_NOT_FOUND);
}

static void
another_takes_its_place(void **state)
{
	const struct stored_head *h;

	(void)state;
	open_cache();
	assert_int_equal(store(record("k", "resp_1", 100, "msg_1", span("{}")), 1), 0);
	assert_int_equal(store(record("k", "resp_1", 200, "msg_2", span("{\"new\":1}")), 1), 0);
	assert_int_equal(get("k", "resp_1", false, 150, &h), 0);
	assert_int_equal(stored_answer(h).n, 9);
	assert_int_equal(get("k", "msg_1", true, 150, &h), E_NOT_FOUND);
	assert_int_equal(get("k", "msg_2", true, 150, &h), 0);
	/* the row of the first expiry does not take the second with it */
	assert_int_equal(stored_cache_write(cache, NULL, 0, 150, NULL), 0);
	assert_int_equal(get("k", "resp_1", false, 150, &h), 0);
}

static void
what_has_expired_leaves(void **state)
{
	const struct stored_head *h;
	char id[32];

	(void)state;
	open_cache();
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof id, "resp_%d", i);
		assert_int_equal(
		    store(record("k", id, 100 + (uint64_t)(i % 2), NULL, span("{}")), 1), 0);
	}
	assert_int_equal(stored_cache_write(cache, NULL, 0, 100, NULL), 0);
	/* gone from the disk: also for a clock that goes back */
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof id, "resp_%d", i);
		assert_int_equal(get("k", id, false, 1, &h), i % 2 == 0 ? E_NOT_FOUND : 0);
	}
}

/* Far more than there is room for: the newest are there, the sum of all is bounded, nothing fails.
 */
static void
the_bound_holds(void **state)
{
	char *text = malloc(40000), id[32];
	const struct stored_head *h;
	unsigned there = 0;

	(void)state;
	memset(text, 'x', 40000);
	open_cache();
	for (uint64_t i = 0; i < 1000; i++) {
		snprintf(id, sizeof id, "resp_%u", (unsigned)i);
		assert_int_equal(
		    store(record("k", id, 1000 + i, "msg", (struct span){text, 40000}), 1), 0);
		arena_reset(arena);
	}
	for (uint64_t i = 0; i < 1000; i++) {
		snprintf(id, sizeof id, "resp_%u", (unsigned)i);
		if (get("k", id, false, 1, &h) == 0)
			there++;
		else
			assert_true(i < 980);
	}
	assert_true(there >= 20 && there * 40000 <= BOUND);
	free(text);
	text = calloc(1, BOUND);
	assert_int_equal(
	    store(record("k", "big", 9999, NULL, (struct span){text, BOUND / 2}), 1), E_TOO_LONG);
	assert_int_equal(get("k", "resp_999", false, 1, &h), 0);
	free(text);
}

/* A worker: another process, another user, with nothing but the descriptor of the folder. */
static int
worker_finds(int fd, int until)
{
	const struct stored_head *h;
	struct arena *a = arena_new(1u << 20);
	uint8_t owner[STORED_OWNER];
	char go;
	int r = -1;

	if (read(until, &go, 1) != 1 ||
	    (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)))
		return 10;
	stored_owner(span("k"), owner);
	if (stored_cache_view(fd, &cache) != 0)
		return 11;
	r = stored_cache_get(cache, a, owner, span("resp_1"), 1, &h);
	stored_cache_close(cache);
	arena_free(a);
	return r == 0 ? 0 : 12;
}

static void
a_worker_reads(void **state)
{
	int fd, go[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_true((fd = open(dir, O_RDONLY | O_DIRECTORY)) >= 0);
	assert_int_equal(pipe(go), 0);
	if ((pid = fork()) == 0)
		_exit(worker_finds(fd, go[0]));
	assert_int_equal(
	    stored_cache_open(dir, BOUND, geteuid() == 0 ? 65534 : (gid_t)-1, &cache), 0);
	assert_int_equal(store(record("k", "resp_1", 100, NULL, span("{}")), 1), 0);
	assert_int_equal(write(go[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fd);
	close(go[0]);
	close(go[1]);
}

static void
no_cache_is_no_cache(void **state)
{
	int fd = open("/dev/null", O_RDONLY);

	(void)state;
	assert_int_not_equal(stored_cache_view(fd, &cache), 0);
	assert_null(cache);
	close(fd);
}

static void
a_damaged_file_is_told(void **state)
{
	char path[128], text[8192];
	int fd;

	(void)state;
	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	memset(text, 'x', sizeof text);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, text, sizeof text), sizeof text);
	close(fd);
	assert_int_equal(stored_cache_open(dir, BOUND, (gid_t)-1, &cache), E_SYNTAX);
	assert_null(cache);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(records_hold_together),
	    T(what_cannot_be_packed),
	    T(kept_and_forgotten),
	    T(another_takes_its_place),
	    T(what_has_expired_leaves),
	    T(the_bound_holds),
	    T(a_worker_reads),
	    T(no_cache_is_no_cache),
	    T(a_damaged_file_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
