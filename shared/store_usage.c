/*
 * store_usage: usage records and their sums per day, provider, model and key. A record and what it
 * adds to the sums are one transaction, and a record is known again by its key, so storing a batch
 * twice counts it once.
 */
#include "shared/store.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "shared/err.h"
#include "shared/store_internal.h"

#define RECORD_VERSION 1
#define STATUS_CLIENT_LEFT 499

struct usage_key {
	uint64_t time, generation, seq; /* big endian: in order of time */
};
static_assert(sizeof(struct usage_key) == 24, "keys of stored records depend on it");

struct usage_value {
	uint8_t version;
	uint8_t rec[sizeof(struct usage_record)];
};
static_assert(sizeof(struct usage_value) == 1 + sizeof(struct usage_record), "packed");

/* As stored. A later release may add members at the end: what is missing in an old row is 0. */
struct sums {
	uint64_t requests, errors, unknown, tokens_in, tokens_out, tokens_cached, tokens_reasoning;
	int64_t cost_udollar;
};
static_assert(sizeof(struct sums) == 64, "stored sums depend on it");

/* When a request never ended, it counts where it began. */
static uint64_t
time_of(const struct usage_record *rec)
{
	return rec->end_wall_us != 0 ? rec->end_wall_us : rec->start_wall_us;
}

/* ---- sums ---- */

static void
format_day(uint64_t wall_us, char day[11])
{
	time_t sec = (time_t)(wall_us / 1000000);
	struct tm tm;

	if (gmtime_r(&sec, &tm) == NULL || tm.tm_year > 9999 - 1900)
		memcpy(day, "9999-12-31", 11);
	else
		strftime(day, 11, "%Y-%m-%d", &tm);
}

/* A slash separates the parts of a key; only a model may hold one. */
static void
copy_part(char *to, const char *from, size_t size)
{
	size_t i;

	for (i = 0; i + 1 < size && from[i] != '\0'; i++)
		to[i] = from[i] == '/' ? '_' : from[i];
	to[i] = '\0';
}

static struct span
total_key(char key[STORE_KEY_MAX + 1], const struct usage_record *rec)
{
	char day[11], provider[sizeof rec->provider], key_id[sizeof rec->key_id];
	const char *model = *rec->model_used != '\0' ? rec->model_used : rec->model_asked;
	int n;

	format_day(time_of(rec), day);
	copy_part(provider, rec->provider, sizeof provider);
	copy_part(key_id, rec->key_id, sizeof key_id);
	n = snprintf(key, STORE_KEY_MAX + 1, "%s/%s/%s/%s", day, provider, model, key_id);
	return (struct span){key, (size_t)n};
}

static bool
part(char *to, size_t size, const char *from, const char *end)
{
	size_t n = (size_t)(end - from);

	if (n >= size)
		return false;
	memcpy(to, from, n);
	to[n] = '\0';
	return true;
}

static bool
parse_total_key(struct span key, struct usage_total *t)
{
	const char *end = key.p + key.n;
	const char *a = memchr(key.p, '/', key.n);
	const char *b = a == NULL ? NULL : memchr(a + 1, '/', (size_t)(end - a - 1));
	const char *c = memrchr(key.p, '/', key.n);

	return b != NULL && c > b && part(t->day, sizeof t->day, key.p, a) &&
	       part(t->provider, sizeof t->provider, a + 1, b) &&
	       part(t->model, sizeof t->model, b + 1, c) &&
	       part(t->key_id, sizeof t->key_id, c + 1, end);
}

static void
add(uint64_t *sum, uint64_t by)
{
	if (__builtin_add_overflow(*sum, by, sum))
		*sum = UINT64_MAX;
}

static bool
is_error(const struct usage_record *rec)
{
	return (rec->status >= 400 && rec->status != STATUS_CLIENT_LEFT) ||
	       (rec->flags & USAGE_CUT) != 0;
}

static void
sums_add(struct sums *s, const struct usage_record *rec)
{
	bool unknown = (rec->flags & USAGE_UNKNOWN) != 0;

	add(&s->requests, 1);
	add(&s->unknown, unknown);
	add(&s->errors, !unknown && is_error(rec));
	add(&s->tokens_in, rec->tokens_in);
	add(&s->tokens_out, rec->tokens_out);
	add(&s->tokens_cached, rec->tokens_cached);
	add(&s->tokens_reasoning, rec->tokens_reasoning);
	if (__builtin_add_overflow(s->cost_udollar, rec->cost_udollar, &s->cost_udollar))
		s->cost_udollar = rec->cost_udollar < 0 ? INT64_MIN : INT64_MAX;
}

static void
sums_read(struct sums *s, struct span val)
{
	memset(s, 0, sizeof *s);
	memcpy(s, val.p, MIN(val.n, sizeof *s));
}

static int
add_to_total(struct store_txn *t, const struct usage_record *rec)
{
	char text[STORE_KEY_MAX + 1];
	struct span key = total_key(text, rec), val;
	struct sums sums = {0};
	int r = store_txn_get(t, STORE_TOTAL, key, &val);

	if (r != 0 && r != E_NOT_FOUND)
		return r;
	if (r == 0)
		sums_read(&sums, val);
	sums_add(&sums, rec);
	return store_txn_put(
	    t, STORE_TOTAL, key, (struct span){(const char *)&sums, sizeof sums}, 0);
}

/* ---- records ---- */

int
store_put_usage(struct store_txn *t, const struct usage_record *rec)
{
	struct usage_record own = *rec;
	struct usage_key key = {htobe64(time_of(rec)), htobe64(rec->generation), htobe64(rec->seq)};
	struct usage_value value = {.version = RECORD_VERSION};
	int r;

	usage_end_strings(&own);
	memcpy(value.rec, &own, sizeof own);
	r = store_txn_put(t, STORE_USAGE, (struct span){(const char *)&key, sizeof key},
	    (struct span){(const char *)&value, sizeof value}, MDB_NOOVERWRITE);
	if (r == E_EXISTS)
		return 0;
	return r != 0 ? r : add_to_total(t, &own);
}

struct usage_walk {
	size_t left;
	int (*fn)(void *ctx, const struct usage_record *rec);
	void *ctx;
};

static int
usage_row(void *ctx, struct span key, struct span val)
{
	struct usage_walk *w = ctx;
	struct usage_record rec;
	int r;

	(void)key;
	if (val.n != sizeof(struct usage_value) || val.p[0] != RECORD_VERSION)
		return E_SYNTAX;
	memcpy(&rec, val.p + offsetof(struct usage_value, rec), sizeof rec);
	r = w->fn(w->ctx, &rec);
	if (r != 0)
		return r;
	return --w->left == 0 ? SCAN_END : 0;
}

int
store_recent_usage(struct store *s, uint64_t before_us, size_t max,
    int (*fn)(void *ctx, const struct usage_record *rec), void *ctx)
{
	struct usage_walk w = {.left = max, .fn = fn, .ctx = ctx};
	uint64_t time = htobe64(before_us);
	struct store_scan scan = {
	    .table = STORE_USAGE, .backward = true, .row = usage_row, .ctx = &w};

	if (before_us != 0)
		scan.from = (struct span){(const char *)&time, sizeof time};
	return max == 0 ? 0 : store_scan(s, &scan);
}

struct total_walk {
	const char *to_day;
	int (*fn)(void *ctx, const struct usage_total *t);
	void *ctx;
};

static int
total_row(void *ctx, struct span key, struct span val)
{
	struct total_walk *w = ctx;
	struct usage_total t;
	struct sums s;

	memset(&t, 0, sizeof t);
	if (!parse_total_key(key, &t))
		return E_SYNTAX;
	if (w->to_day != NULL && strcmp(t.day, w->to_day) > 0)
		return SCAN_END;
	sums_read(&s, val);
	t.requests = s.requests;
	t.errors = s.errors;
	t.unknown = s.unknown;
	t.tokens_in = s.tokens_in;
	t.tokens_out = s.tokens_out;
	t.tokens_cached = s.tokens_cached;
	t.tokens_reasoning = s.tokens_reasoning;
	t.cost_udollar = s.cost_udollar;
	return w->fn(w->ctx, &t);
}

int
store_each_total(struct store *s, const char *from_day, const char *to_day,
    int (*fn)(void *ctx, const struct usage_total *t), void *ctx)
{
	struct total_walk w = {.to_day = to_day, .fn = fn, .ctx = ctx};
	struct store_scan scan = {.table = STORE_TOTAL, .row = total_row, .ctx = &w};

	if (from_day != NULL)
		scan.from = (struct span){from_day, strlen(from_day)};
	return store_scan(s, &scan);
}
