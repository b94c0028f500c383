#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <lmdb.h>

#include "shared/err.h"
#include "shared/log.h"
#include "shared/store.h"

/* An environment is opened once per process: a test that wants two forks before it opens its own.
 */

static char top[64], dir[96], logfile[96];

static int
setup(void **state)
{
	(void)state;
	snprintf(top, sizeof top, "/tmp/omniroute-store-XXXXXX");
	if (mkdtemp(top) == NULL)
		return -1;
	snprintf(dir, sizeof dir, "%s/store", top);
	snprintf(logfile, sizeof logfile, "%s/log", top);
	return log_open(logfile);
}

static int
teardown(void **state)
{
	static const char *const files[] = {"store/data.mdb", "store/lock.mdb", "store", "log"};
	char path[128];

	(void)state;
	log_use_fd(2);
	for (unsigned i = 0; i < NELEM(files); i++) {
		snprintf(path, sizeof path, "%s/%s", top, files[i]);
		remove(path);
	}
	return rmdir(top);
}

/* A child that does not outlive its test. */
static pid_t
fork_child(void)
{
	pid_t pid = fork();

	if (pid == 0)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	return pid;
}

static struct store *
open_store(void)
{
	struct store *s;

	assert_int_equal(store_open(dir, &s), 0);
	assert_non_null(s);
	return s;
}

/* Lines of the log with these words. */
static unsigned
log_count(const char *words)
{
	char line[4096];
	FILE *f = fopen(logfile, "r");
	unsigned n = 0;

	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		n += strstr(line, words) != NULL;
	if (f != NULL)
		fclose(f);
	return n;
}

static bool
log_says(const char *words)
{
	static char text[65536];
	FILE *f = fopen(logfile, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof text - 1, f);
	text[n] = '\0';
	fclose(f);
	return strstr(text, words) != NULL;
}

static size_t
file_size(void)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof path, "%s/data.mdb", dir);
	assert_int_equal(stat(path, &st), 0);
	return (size_t)st.st_size;
}

/* ---- documents ---- */

struct doc {
	const char *kind, *id, *json;
	int runs, result;
};

static int
put(struct store_txn *t, void *ctx)
{
	struct doc *d = ctx;

	d->runs++;
	return store_put_doc(t, d->kind, d->id, d->json, strlen(d->json));
}

static int
del(struct store_txn *t, void *ctx)
{
	struct doc *d = ctx;

	return store_del_doc(t, d->kind, d->id);
}

static void
put_doc(struct store *s, const char *kind, const char *id, const char *json)
{
	struct doc d = {.kind = kind, .id = id, .json = json};

	assert_int_equal(store_write(s, put, &d), 0);
}

static void
assert_doc(struct store *s, const char *kind, const char *id, const char *json)
{
	char *got;
	size_t n;
	int r = store_get_doc(s, kind, id, &got, &n);

	if (json == NULL) {
		assert_int_equal(r, E_NOT_FOUND);
		assert_null(got);
		return;
	}
	assert_int_equal(r, 0);
	assert_int_equal(n, strlen(json));
	assert_string_equal(got, json);
	free(got);
}

struct seen {
	char text[4096];
	unsigned n, stop_at;
};

static int
see_doc(void *ctx, const char *id, const char *json, size_t n)
{
	struct seen *seen = ctx;

	assert_int_equal(strlen(json), n);
	if (seen->n < 32)
		snprintf(seen->text + strlen(seen->text), sizeof seen->text - strlen(seen->text),
		    "%s=%s ", id, json);
	return ++seen->n == seen->stop_at ? 77 : 0;
}

static void
documents(void **state)
{
	struct store *s = open_store();
	struct doc d = {.kind = "key", .id = "none"};
	struct seen seen = {.n = 0};
	struct stat st;
	char path[128];

	(void)state;
	put_doc(s, "key", "b", "{\"n\":2}");
	put_doc(s, "key", "a", "{\"n\":1}");
	put_doc(s, "key", "a/b", "{}");
	put_doc(s, "keyring", "z", "no");
	put_doc(s, "ke", "y", "no");
	put_doc(s, "key", "b", "{\"n\":3}"); /* replaced */
	assert_doc(s, "key", "b", "{\"n\":3}");
	assert_doc(s, "key", "c", NULL);
	assert_int_equal(store_each_doc(s, "key", see_doc, &seen), 0);
	assert_string_equal(seen.text, "a={\"n\":1} a/b={} b={\"n\":3} ");
	seen = (struct seen){.stop_at = 2};
	assert_int_equal(store_each_doc(s, "key", see_doc, &seen), 77);
	assert_int_equal(seen.n, 2);
	seen = (struct seen){.n = 0};
	assert_int_equal(store_each_doc(s, "zz", see_doc, &seen), 0);
	assert_int_equal(seen.n, 0);

	assert_int_equal(store_write(s, del, &d), E_NOT_FOUND);
	d.id = "a";
	assert_int_equal(store_write(s, del, &d), 0);
	assert_doc(s, "key", "a", NULL);
	store_close(s);

	s = open_store(); /* from disk */
	assert_doc(s, "key", "b", "{\"n\":3}");
	assert_doc(s, "key", "a", NULL);
	assert_doc(s, "ke", "y", "no");
	store_close(s);
	store_close(NULL);

	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
bad_names_are_refused(void **state)
{
	struct store *s = open_store();
	char big[600];
	struct doc bad[] = {
	    {.kind = "", .id = "x", .result = E_RANGE},
	    {.kind = "a/b", .id = "x", .result = E_RANGE},
	    {.kind = "a", .id = "", .result = E_RANGE},
	    {.kind = "a", .id = big, .result = E_TOO_LONG},
	};

	(void)state;
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	for (unsigned i = 0; i < NELEM(bad); i++) {
		bad[i].json = "{}";
		assert_int_equal(store_write(s, put, &bad[i]), bad[i].result);
	}
	big[509] = '\0'; /* "a/" and 509 bytes: the longest key */
	put_doc(s, "a", big, "{}");
	assert_doc(s, "a", big, "{}");
	store_close(s);
}

static int
put_two_and_fail(struct store_txn *t, void *ctx)
{
	int r = store_put_doc(t, "k", "one", "1", 1);

	if (r == 0)
		r = store_put_doc(t, "k", "two", "2", 1);
	return r != 0 ? r : *(int *)ctx;
}

static int
put_good_and_bad(struct store_txn *t, void *ctx)
{
	(void)ctx;
	(void)!store_put_doc(t, "k", "one", "1", 1);
	(void)!store_put_doc(t, "", "bad", "1", 1);
	return 0; /* as if nothing had happened */
}

static void
all_or_nothing(void **state)
{
	struct store *s = open_store();
	int result = E_RANGE;

	(void)state;
	assert_int_equal(store_write(s, put_two_and_fail, &result), E_RANGE);
	assert_doc(s, "k", "one", NULL);
	assert_doc(s, "k", "two", NULL);
	assert_int_equal(store_write(s, put_good_and_bad, NULL), E_RANGE);
	assert_doc(s, "k", "one", NULL);
	result = 0;
	assert_int_equal(store_write(s, put_two_and_fail, &result), 0);
	assert_doc(s, "k", "one", "1");
	assert_doc(s, "k", "two", "2");
	store_close(s);
}

/* A walk over more than one batch, whose call-back removes what it sees and reads and writes
 * besides. */
static int
see_and_delete(void *ctx, const char *id, const char *json, size_t n)
{
	struct store *s = ctx;
	struct doc d = {.kind = "many", .id = id};

	(void)n;
	assert_doc(s, "many", id, json);
	if (store_write(s, del, &d) != 0)
		return E_SYSTEM;
	put_doc(s, "seen", id, json);
	return 0;
}

static int
put_many(struct store_txn *t, void *ctx)
{
	char id[32];
	int r = 0;

	for (unsigned i = 0; i < *(unsigned *)ctx && r == 0; i++) {
		snprintf(id, sizeof id, "%06u", i);
		r = store_put_doc(t, "many", id, id, strlen(id));
	}
	return r;
}

static void
walks_may_write(void **state)
{
	struct store *s = open_store();
	struct seen seen = {.n = 0};
	unsigned n = 1300;

	(void)state;
	assert_int_equal(store_write(s, put_many, &n), 0);
	assert_int_equal(store_each_doc(s, "many", see_doc, &seen), 0);
	assert_int_equal(seen.n, n);
	assert_int_equal(store_each_doc(s, "many", see_and_delete, s), 0);
	seen = (struct seen){.n = 0};
	assert_int_equal(store_each_doc(s, "many", see_doc, &seen), 0);
	assert_int_equal(seen.n, 0);
	assert_int_equal(store_each_doc(s, "seen", see_doc, &seen), 0);
	assert_int_equal(seen.n, n);
	store_close(s);
}

static int
read_inside_write(struct store_txn *t, void *ctx)
{
	int r = store_put_doc(t, "k", "x", "new", 3);

	assert_doc(ctx, "k", "x", "old");
	return r;
}

static void
reads_inside_a_write_see_what_was(void **state)
{
	struct store *s = open_store();

	(void)state;
	put_doc(s, "k", "x", "old");
	assert_int_equal(store_write(s, read_inside_write, s), 0);
	assert_doc(s, "k", "x", "new");
	store_close(s);
}

/* ---- counters ---- */

static void
counters_never_repeat(void **state)
{
	struct store *s = open_store();
	uint64_t first = 0;

	(void)state;
	assert_int_equal(store_reserve(s, "generation", 10, &first), 0);
	assert_int_equal(first, 1);
	assert_int_equal(store_reserve(s, "generation", 1, &first), 0);
	assert_int_equal(first, 11);
	assert_int_equal(store_reserve(s, "other", 1, &first), 0);
	assert_int_equal(first, 1);
	store_close(s);
	s = open_store();
	assert_int_equal(store_reserve(s, "generation", 1, &first), 0);
	assert_int_equal(first, 12);
	assert_int_equal(store_reserve(s, "generation", UINT64_MAX, &first), E_RANGE);
	assert_int_equal(store_reserve(s, "generation", 0, &first), E_RANGE);
	assert_int_equal(store_reserve(s, "generation", 1, &first), 0);
	assert_int_equal(first, 13);
	store_close(s);
}

/* ---- usage ---- */

#define DAY_US UINT64_C(86400000000)
#define T0 UINT64_C(1769817600000000) /* 2026-01-31T00:00:00Z */

static struct usage_record
record(uint64_t seq, uint64_t end_us)
{
	struct usage_record r = {.generation = 3,
	    .seq = seq,
	    .start_wall_us = end_us - 1000,
	    .end_wall_us = end_us,
	    .tokens_in = 10,
	    .tokens_out = 20,
	    .tokens_cached = 3,
	    .tokens_reasoning = 4,
	    .cost_udollar = 7,
	    .status = 200,
	    .key_id = "key-1",
	    .provider = "openai",
	    .model_asked = "openai/gpt-4o",
	    .model_used = "gpt-4o"};

	return r;
}

struct batch {
	const struct usage_record *recs;
	size_t n;
};

static int
put_batch(struct store_txn *t, void *ctx)
{
	const struct batch *b = ctx;
	int r = 0;

	for (size_t i = 0; i < b->n && r == 0; i++)
		r = store_put_usage(t, &b->recs[i]);
	return r;
}

static int
put_records(struct store *s, const struct usage_record *recs, size_t n)
{
	struct batch b = {recs, n};

	return store_write(s, put_batch, &b);
}

struct usage_seen {
	struct usage_record rec[64];
	struct usage_total total[64];
	unsigned n;
};

static int
see_usage(void *ctx, const struct usage_record *rec)
{
	struct usage_seen *u = ctx;

	if (u->n < 64)
		u->rec[u->n] = *rec;
	u->n++;
	return 0;
}

static int
see_total(void *ctx, const struct usage_total *t)
{
	struct usage_seen *u = ctx;

	assert_true(u->n < 64);
	u->total[u->n++] = *t;
	return 0;
}

static struct usage_seen *
totals(struct store *s, const char *from, const char *to)
{
	static struct usage_seen u;

	memset(&u, 0, sizeof u);
	assert_int_equal(store_each_total(s, from, to, see_total, &u), 0);
	return &u;
}

static void
records_newest_first(void **state)
{
	struct store *s = open_store();
	struct usage_record in[40];
	struct usage_seen u = {.n = 0};

	(void)state;
	for (unsigned i = 0; i < 40; i++)
		in[i] = record(i + 1, T0 + (i * 7 % 40) * 1000);
	assert_int_equal(put_records(s, in, 40), 0);
	assert_int_equal(store_recent_usage(s, 0, 1000, see_usage, &u), 0);
	assert_int_equal(u.n, 40);
	for (unsigned i = 0; i < 40; i++)
		assert_true(u.rec[i].end_wall_us == T0 + (39 - i) * 1000);
	assert_memory_equal(&u.rec[39], &in[0], sizeof in[0]); /* byte for byte */
	u.n = 0;
	assert_int_equal(store_recent_usage(s, T0 + 10000, 3, see_usage, &u), 0);
	assert_int_equal(u.n, 3);
	assert_true(u.rec[0].end_wall_us == T0 + 9000); /* before, not at */
	assert_true(u.rec[2].end_wall_us == T0 + 7000);
	u.n = 0;
	assert_int_equal(store_recent_usage(s, UINT64_MAX, 2, see_usage, &u), 0);
	assert_int_equal(u.n, 2); /* later than the last */
	assert_true(u.rec[0].end_wall_us == T0 + 39000);
	u.n = 0;
	assert_int_equal(store_recent_usage(s, T0, 3, see_usage, &u), 0);
	assert_int_equal(u.n, 0);
	assert_int_equal(store_recent_usage(s, 0, 0, see_usage, &u), 0);
	assert_int_equal(u.n, 0);
	store_close(s);
}

static void
stored_twice_counts_once(void **state)
{
	struct store *s = open_store();
	struct usage_record in[5];
	struct usage_seen *t, u = {.n = 0};

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		in[i] = record(i + 1, T0 + i);
	assert_int_equal(put_records(s, in, 3), 0);
	assert_int_equal(put_records(s, in, 5), 0); /* three again and two new */
	assert_int_equal(put_records(s, in, 5), 0);
	in[1].tokens_in = 999; /* another content under a known key changes nothing either */
	assert_int_equal(put_records(s, in, 5), 0);
	assert_int_equal(store_recent_usage(s, 0, 100, see_usage, &u), 0);
	assert_int_equal(u.n, 5);
	t = totals(s, NULL, NULL);
	assert_int_equal(t->n, 1);
	assert_int_equal(t->total[0].requests, 5);
	assert_int_equal(t->total[0].tokens_in, 50);
	store_close(s);
}

static void
totals_by_day_and_owner(void **state)
{
	struct store *s = open_store();
	struct usage_record in[10];
	struct usage_seen *t;

	(void)state;
	for (unsigned i = 0; i < 10; i++)
		in[i] = record(i + 1, T0 + i);
	in[1].status = 500;
	in[2].status = 499; /* the client left: no error */
	in[3].flags = USAGE_CUT;
	in[4].flags = USAGE_UNKNOWN; /* ended never: counts where it began */
	in[4].end_wall_us = 0;
	in[4].start_wall_us = T0 + 99;
	in[4].status = 500;         /* as far as it had come */
	in[5].end_wall_us = T0 - 1; /* the day before */
	in[6].end_wall_us = T0 + DAY_US;
	strcpy(in[7].model_used, "");
	strcpy(in[7].model_asked, "meta/llama/70b");
	strcpy(in[7].provider, "a/b"); /* from a worker that lost its mind */
	strcpy(in[7].key_id, "");
	in[8].cost_udollar = INT64_MAX;
	in[9].tokens_in = UINT64_MAX;
	assert_int_equal(put_records(s, in, 10), 0);

	t = totals(s, NULL, NULL);
	assert_int_equal(t->n, 4);
	assert_string_equal(t->total[0].day, "2026-01-30");
	assert_int_equal(t->total[0].requests, 1);
	assert_string_equal(t->total[1].day, "2026-01-31");
	assert_string_equal(t->total[1].provider, "a_b");
	assert_string_equal(t->total[1].model, "meta/llama/70b");
	assert_string_equal(t->total[1].key_id, "");
	assert_string_equal(t->total[2].provider, "openai");
	assert_string_equal(t->total[2].model, "gpt-4o");
	assert_string_equal(t->total[2].key_id, "key-1");
	assert_int_equal(t->total[2].requests, 7);
	assert_int_equal(t->total[2].errors, 2);
	assert_int_equal(t->total[2].unknown, 1);
	assert_int_equal(t->total[2].tokens_out, 7 * 20);
	assert_int_equal(t->total[2].tokens_cached, 7 * 3);
	assert_int_equal(t->total[2].tokens_reasoning, 7 * 4);
	assert_true(t->total[2].tokens_in == UINT64_MAX); /* saturated, not wrapped */
	assert_true(t->total[2].cost_udollar == INT64_MAX);
	assert_string_equal(t->total[3].day, "2026-02-01");

	t = totals(s, "2026-01-31", "2026-01-31");
	assert_int_equal(t->n, 2);
	assert_string_equal(t->total[0].day, "2026-01-31");
	t = totals(s, "2026-02-01", NULL);
	assert_int_equal(t->n, 1);
	t = totals(s, NULL, "2026-01-30");
	assert_int_equal(t->n, 1);
	t = totals(s, "2027-01-01", "2026-01-01");
	assert_int_equal(t->n, 0);
	store_close(s);
}

/* ---- growth ---- */

static int
put_run(struct store_txn *t, void *ctx)
{
	static struct usage_record rec;
	uint64_t *next = ctx;
	int r = 0;

	for (uint64_t i = 0; i < 1000 && r == 0; i++) {
		rec = record(*next + i, T0 + *next + i);
		r = store_put_usage(t, &rec);
	}
	return r;
}

static int
count_usage(void *ctx, const struct usage_record *rec)
{
	uint64_t *expected = ctx;

	assert_int_equal(rec->seq, (*expected)--);
	return 0;
}

static void
map_grows(void **state)
{
	struct store *s = open_store();
	uint64_t next = 1, expected;

	(void)state;
	while (file_size() < (9u << 20)) { /* from one megabyte over 2, 4, 8 to 16 */
		assert_int_equal(store_write(s, put_run, &next), 0);
		next += 1000;
		assert_true(next < 100000);
	}
	expected = next - 1;
	assert_int_equal(store_recent_usage(s, 0, SIZE_MAX, count_usage, &expected), 0);
	assert_int_equal(expected, 0);
	assert_int_equal(totals(s, NULL, NULL)->total[0].requests, next - 1);
	store_close(s);

	s = open_store();
	expected = next - 1;
	assert_int_equal(store_recent_usage(s, 0, SIZE_MAX, count_usage, &expected), 0);
	assert_int_equal(expected, 0);
	assert_int_equal(store_write(s, put_run, &next), 0); /* and it goes on growing */
	store_close(s);
}

static void
one_document_larger_than_the_map(void **state)
{
	struct store *s = open_store();
	size_t n = 10u << 20;
	char *big = malloc(n + 1);
	struct doc d = {.kind = "k", .id = "big", .json = big};

	(void)state;
	memset(big, 'x', n);
	big[n] = '\0';
	assert_int_equal(store_write(s, put, &d), 0);
	assert_int_equal(d.runs, 5); /* 1, 2, 4, 8, 16 MB */
	assert_doc(s, "k", "big", big);
	store_close(s);
	free(big);
}

/* ---- other processes ---- */

static void
expect_ok(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
wait_line(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char c;

	assert_int_equal(poll(&p, 1, 20000), 1);
	assert_int_equal(read(fd, &c, 1), 1);
}

/* Another process makes the map four times as big; we then read and write what lies beyond our own
 * map. */
static void
grown_by_another_process(void **state)
{
	uint64_t next = 1, expected;
	int go[2], done[2];
	struct store *s;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(go), 0);
	assert_int_equal(pipe(done), 0);
	pid = fork_child();
	assert_true(pid >= 0);
	if (pid == 0) {
		s = open_store();
		wait_line(go[0]);
		for (unsigned i = 0; i < 12; i++, next += 1000)
			if (store_write(s, put_run, &next) != 0)
				_exit(1);
		(void)!write(done[1], "x", 1);
		wait_line(go[0]);
		assert_doc(s, "k", "from parent", "1");
		store_close(s);
		_exit(0);
	}
	s = open_store();
	put_doc(s, "k", "early", "0");
	(void)!write(go[1], "x", 1);
	wait_line(done[0]);
	assert_true(file_size() > (4u << 20));
	expected = 12000;
	assert_int_equal(store_recent_usage(s, 0, SIZE_MAX, count_usage, &expected), 0);
	assert_int_equal(expected, 0);
	put_doc(s, "k", "from parent", "1");
	assert_doc(s, "k", "early", "0");
	(void)!write(go[1], "x", 1);
	expect_ok(pid);
	store_close(s);
	for (unsigned i = 0; i < 2; i++) {
		close(go[i]);
		close(done[i]);
	}
}

static int
add_one(struct store_txn *t, void *ctx)
{
	const struct usage_record *rec = ctx;

	return store_put_usage(t, rec);
}

/* Two masters at once: every write of both counts, and their numbers are all different. */
static void
two_writers(void **state)
{
	enum { EACH = 150 };
	uint8_t *taken =
	    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct store *s;
	pid_t pid[2];

	(void)state;
	assert_true(taken != MAP_FAILED);
	for (unsigned who = 0; who < 2; who++) {
		pid[who] = fork_child();
		assert_true(pid[who] >= 0);
		if (pid[who] == 0) {
			s = open_store();
			for (unsigned i = 0; i < EACH; i++) {
				struct usage_record rec = record(i + 1, T0 + i);
				uint64_t n = 0;

				rec.generation = who + 1;
				if (store_write(s, add_one, &rec) != 0 ||
				    store_reserve(s, "n", 1, &n) != 0 || n >= 4096)
					_exit(1);
				__atomic_fetch_add(&taken[n], 1, __ATOMIC_SEQ_CST);
			}
			store_close(s);
			_exit(0);
		}
	}
	expect_ok(pid[0]);
	expect_ok(pid[1]);
	for (unsigned i = 1; i <= 2 * EACH; i++)
		assert_int_equal(taken[i], 1);
	s = open_store();
	assert_int_equal(totals(s, NULL, NULL)->total[0].requests, 2 * EACH);
	store_close(s);
	munmap(taken, 4096);
}

/* ---- kill -9 ---- */

struct progress {
	_Atomic uint64_t doc, usage, number;
};

/* Writes for ever, and says after each write how far it has come. */
static void
write_until_killed(struct progress *p)
{
	struct store *s;
	char id[32];

	if (store_open(dir, &s) != 0)
		_exit(1);
	for (;;) {
		struct doc d = {.kind = "doc", .id = id, .json = id};
		struct usage_record recs[7];
		uint64_t n;

		snprintf(id, sizeof id, "%08llu", (unsigned long long)p->doc + 1);
		if (store_write(s, put, &d) != 0)
			_exit(2);
		p->doc++;
		for (unsigned i = 0; i < NELEM(recs); i++)
			recs[i] = record(p->usage + i + 1, T0 + p->usage + i);
		if (put_records(s, recs, NELEM(recs)) != 0)
			_exit(3);
		p->usage += NELEM(recs);
		if (store_reserve(s, "n", 1, &n) != 0 || n <= p->number)
			_exit(4); /* given out before */
		p->number = n;
	}
}

static void
check_after_kill(const struct progress *p)
{
	struct store *s = open_store();
	struct usage_seen *t;
	struct seen seen = {.n = 0};
	uint64_t n, expected;
	char id[32];

	assert_int_equal(store_each_doc(s, "doc", see_doc, &seen), 0);
	assert_true(seen.n == p->doc || seen.n == p->doc + 1); /* the one that was not answered */
	for (uint64_t i = 1; i <= p->doc; i++) {
		snprintf(id, sizeof id, "%08llu", (unsigned long long)i);
		assert_doc(s, "doc", id, id);
	}
	t = totals(s, NULL, NULL);
	if (p->usage > 0) {
		assert_true(t->total[0].requests == p->usage ||
			    t->total[0].requests == p->usage + 7); /* a batch is whole or absent */
		assert_int_equal(t->total[0].tokens_out, t->total[0].requests * 20);
	}
	expected = t->total[0].requests;
	assert_int_equal(store_recent_usage(s, 0, SIZE_MAX, count_usage, &expected), 0);
	assert_int_equal(expected, 0);
	assert_int_equal(store_reserve(s, "n", 1, &n), 0);
	assert_true(n > p->number);
	assert_true(store_reap_readers(s) >= 0);
	store_close(s);
}

static void
killed_at_any_moment(void **state)
{
	struct progress *p =
	    mmap(NULL, sizeof *p, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned seed = 12345;
	int status;

	(void)state;
	assert_true(p != MAP_FAILED);
	for (unsigned round = 0; round < 40; round++) {
		uint64_t before = p->doc;
		pid_t pid = fork_child();

		assert_true(pid >= 0);
		if (pid == 0)
			write_until_killed(p);
		while (p->doc < before + 1 + round % 3 && waitpid(pid, &status, WNOHANG) == 0)
			usleep(100);
		seed = seed * 1103515245u + 12345u;
		usleep(seed / 65536 % 4000); /* anywhere in the next few writes */
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		check_after_kill(p);
		/* what was written and not answered counts from here on */
		{
			struct store *s = open_store();
			struct seen seen = {.n = 0};

			assert_int_equal(store_each_doc(s, "doc", see_doc, &seen), 0);
			p->doc = seen.n;
			p->usage = totals(s, NULL, NULL)->total[0].requests;
			store_close(s);
		}
	}
	munmap(p, sizeof *p);
}

static int
stop_inside(struct store_txn *t, void *ctx)
{
	int fd = *(int *)ctx;

	(void)!store_put_doc(t, "k", "half", "1", 1);
	(void)!write(fd, "x", 1);
	pause();
	return E_SYSTEM;
}

/* A writer that dies inside its transaction holds the lock of the store: the next one takes it
 * over. */
static void
killed_with_the_lock(void **state)
{
	int ready[2], go[2], status;
	struct store *s;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(go), 0);
	pid = fork_child();
	assert_true(pid >= 0);
	if (pid == 0) {
		s = open_store();
		(void)!write(ready[1], "x", 1);
		wait_line(go[0]);
		_exit(store_write(s, stop_inside, &ready[1]));
	}
	wait_line(ready[0]);
	s = open_store();
	(void)!write(go[1], "x", 1);
	wait_line(ready[0]); /* now it is in the middle */
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	put_doc(s, "k", "whole", "1");
	assert_doc(s, "k", "half", NULL);
	assert_doc(s, "k", "whole", "1");
	store_close(s);
	for (unsigned i = 0; i < 2; i++) {
		close(ready[i]);
		close(go[i]);
	}
}

/* A reader that dies inside its transaction would keep all later pages from being used again. */
static void
dead_readers_are_reaped(void **state)
{
	int ready[2], status;
	struct store *s;
	pid_t pid;

	(void)state;
	s = open_store();
	put_doc(s, "k", "x", "1");
	store_close(s);
	assert_int_equal(pipe(ready), 0);
	pid = fork_child();
	assert_true(pid >= 0);
	if (pid == 0) {
		MDB_env *env;
		MDB_txn *txn;

		if (mdb_env_create(&env) != 0 || mdb_env_set_maxdbs(env, 4) != 0 ||
		    mdb_env_open(env, dir, MDB_NOTLS | MDB_RDONLY, 0600) != 0 ||
		    mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
			_exit(1);
		(void)!write(ready[1], "x", 1);
		for (;;)
			pause();
	}
	wait_line(ready[0]);
	s = open_store();
	assert_int_equal(store_reap_readers(s), 0); /* it lives */
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(store_reap_readers(s), 1);
	assert_int_equal(store_reap_readers(s), 0);
	assert_doc(s, "k", "x", "1");
	store_close(s);
	close(ready[0]);
	close(ready[1]);
}

/* ---- a full disk ---- */

/* RLIMIT_FSIZE stands in for it: writes fail beyond the limit, whoever runs the test. */
static void
disk_gets_full(void **state)
{
	struct store *s;
	uint64_t next = 1, n, expected;
	struct rlimit lim = {.rlim_cur = 3u << 20, .rlim_max = 3u << 20};
	struct doc d = {.kind = "k", .id = "small", .json = "lost"};
	int report[2], r = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(report), 0);
	pid = fork_child();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGXFSZ, SIG_IGN);
		if (setrlimit(RLIMIT_FSIZE, &lim) != 0)
			_exit(1);
		s = open_store();
		while (next < 100000 && (r = store_write(s, put_run, &next)) == 0)
			next += 1000;
		if (r != E_FULL || next < 2000)
			_exit(2);
		for (unsigned i = 0; i < 5; i++)
			if (store_write(s, put_run, &next) != E_FULL) /* and it stays so, calmly */
				_exit(3);
		expected = next - 1; /* what was answered is there */
		if (store_recent_usage(s, 0, SIZE_MAX, count_usage, &expected) != 0 ||
		    expected != 0)
			_exit(4);
		put_doc(s, "k", "small", "fits"); /* into pages that are free */
		lim.rlim_cur = 8192;              /* now not even one page can be written */
		if (setrlimit(RLIMIT_FSIZE, &lim) != 0 || store_write(s, put, &d) != E_FULL)
			_exit(5);
		assert_doc(s, "k", "small", "fits");
		store_close(s);
		(void)!write(report[1], &next, sizeof next);
		_exit(0);
	}
	expect_ok(pid);
	assert_int_equal(read(report[0], &n, sizeof n), sizeof n);
	s = open_store();
	expected = n - 1;
	assert_int_equal(store_recent_usage(s, 0, SIZE_MAX, count_usage, &expected), 0);
	assert_int_equal(expected, 0);
	assert_doc(s, "k", "small", "fits");
	assert_int_equal(store_write(s, put_run, &n), 0); /* there is room again */
	store_close(s);
	assert_int_equal(log_count(" error "), 2); /* each time that it became full */
	assert_int_equal(log_count("writing works again"), 1);
	close(report[0]);
	close(report[1]);
}

/* ---- opening ---- */

/* Writes a schema of the future behind the store's back. */
static void
set_schema(const char *text)
{
	pid_t pid = fork_child();

	assert_true(pid >= 0);
	if (pid == 0) {
		MDB_env *env;
		MDB_txn *txn;
		MDB_dbi dbi;
		MDB_val k = {6, (void *)(uintptr_t) "schema"};
		MDB_val v = {strlen(text), (void *)(uintptr_t)text};

		_exit(mdb_env_create(&env) != 0 || mdb_env_set_maxdbs(env, 4) != 0 ||
		      mdb_env_open(env, dir, 0, 0600) != 0 ||
		      mdb_txn_begin(env, NULL, 0, &txn) != 0 ||
		      mdb_dbi_open(txn, "meta", 0, &dbi) != 0 ||
		      mdb_put(txn, dbi, &k, &v, 0) != 0 || mdb_txn_commit(txn) != 0);
	}
	expect_ok(pid);
}

static void
newer_schema(void **state)
{
	struct store *s = open_store();

	(void)state;
	put_doc(s, "k", "x", "1");
	store_close(s);
	set_schema("2");
	assert_int_equal(store_open(dir, &s), E_VERSION);
	assert_null(s);
	assert_true(log_says("has schema 2; this program knows 1"));
	set_schema("rubbish");
	assert_int_equal(store_open(dir, &s), E_SYNTAX);
	set_schema("1");
	s = open_store();
	assert_doc(s, "k", "x", "1");
	store_close(s);
}

static void
not_a_store(void **state)
{
	char path[128];
	struct store *s;
	FILE *f;

	(void)state;
	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(path, sizeof path, "%s/data.mdb", dir);
	f = fopen(path, "w");
	for (unsigned i = 0; i < 3000; i++)
		fputs("not a database ", f);
	fclose(f);
	assert_int_equal(store_open(dir, &s), E_SYNTAX);
	assert_true(log_says("cannot be opened"));
	assert_int_equal(store_open("/proc/no/such", &s), E_SYSTEM);
	assert_null(s);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_FOLDER(documents),
	    IN_FOLDER(bad_names_are_refused),
	    IN_FOLDER(all_or_nothing),
	    IN_FOLDER(walks_may_write),
	    IN_FOLDER(reads_inside_a_write_see_what_was),
	    IN_FOLDER(counters_never_repeat),
	    IN_FOLDER(records_newest_first),
	    IN_FOLDER(stored_twice_counts_once),
	    IN_FOLDER(totals_by_day_and_owner),
	    IN_FOLDER(map_grows),
	    IN_FOLDER(one_document_larger_than_the_map),
	    IN_FOLDER(grown_by_another_process),
	    IN_FOLDER(two_writers),
	    IN_FOLDER(killed_at_any_moment),
	    IN_FOLDER(killed_with_the_lock),
	    IN_FOLDER(dead_readers_are_reaped),
	    IN_FOLDER(disk_gets_full),
	    IN_FOLDER(newer_schema),
	    IN_FOLDER(not_a_store),
	};

	return cmocka_run_group_tests_name("shared/store", tests, NULL, NULL);
}
