#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/dialect_id.h"

#include "shared/live.h"
#include "shared/snapshot.h"
#include "worker/metrics.h"

#define NOW (1000 * NS_PER_SEC)
#define ODD_NAME "a\"b\\c\nd"

struct fixture {
	struct live *live;
	struct snapshot *snap;
	struct buf page;
};

static struct snap_str
str(struct snapshot_builder *b, const char *s)
{
	return snapshot_string(b, s, strlen(s));
}

static struct snapshot *
snapshot_with_names(void)
{
	struct snapshot_builder *b = snapshot_builder_new(42);
	struct snap_provider p = {
	    .id = str(b, "echo"), .alias = str(b, "e"), .name = str(b, "Echo"), .slot = 3};
	struct snap_conn c = {
	    .id = str(b, "id-1"), .name = str(b, ODD_NAME), .slot = 7, .enabled = 1};
	struct snapshot *s;
	int fd, provider;

	assert_true((provider = snapshot_add_provider(b, &p)) >= 0);
	c.provider = (uint32_t)provider;
	c.id_hash = snapshot_hash("id-1", 4);
	c.url[DIALECT_CHAT] = str(b, "http://127.0.0.1/v1/chat/completions");
	c.dialect = DIALECT_CHAT;
	assert_true(snapshot_add_conn(b, &c) >= 0);
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(snapshot_open(fd, &s), 0);
	close(fd);
	return s;
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	int fd;

	if (f == NULL || live_create(&fd) != 0 || live_map(fd, &f->live) != 0)
		return -1;
	close(fd);
	f->snap = snapshot_with_names();
	buf_init(&f->page, 1u << 24);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	buf_clear(&f->page);
	snapshot_put(f->snap);
	live_unmap(f->live);
	free(f);
	return 0;
}

static struct live_worker *
worker_taken(struct fixture *f, uint64_t generation)
{
	int slot = live_worker_take(f->live, 1, generation);

	assert_true(slot >= 0);
	return &f->live->worker[slot];
}

static const char *
page_of(struct fixture *f)
{
	const char *text;

	buf_reset(&f->page);
	metrics_write(&f->page, f->live, f->snap, NOW);
	assert_true(buf_ok(&f->page));
	assert_non_null(text = buf_cstr(&f->page));
	return text;
}

static void
assert_line(const char *page, const char *line)
{
	size_t n = strlen(line);

	for (const char *p = page; p != NULL; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (strncmp(p, line, n) == 0 && p[n] == '\n')
			return;
	}
	fail_msg("no line: %s", line);
}

/* A slot that another worker has now counts on; a free one that was used still counts. */
static void
counters_are_summed(void **state)
{
	struct fixture *f = *state;
	struct live_worker *a = worker_taken(f, 1), *b = worker_taken(f, 2);
	const char *page;

	live_bump(&a->counter[CTR_requests], 5);
	live_bump(&b->counter[CTR_requests], 7);
	live_bump(&b->counter[CTR_log_lines_lost], 1);
	live_worker_release(f->live, 0);
	page = page_of(f);
	assert_line(page, "# TYPE omniroute_requests_total counter");
	assert_line(page, "omniroute_requests_total 12");
	assert_line(page, "omniroute_worker_requests_total{worker=\"0\"} 5");
	assert_line(page, "omniroute_worker_requests_total{worker=\"1\"} 7");
	assert_line(page, "omniroute_log_lines_lost_total 1");
	assert_null(strstr(page, "worker=\"2\""));
}

static void
gauges_show_what_is_there(void **state)
{
	struct fixture *f = *state;
	struct live_worker *a = worker_taken(f, 1), *b = worker_taken(f, 2);
	const char *page;

	worker_taken(f, 3);
	atomic_store(&a->state, WORKER_READY);
	atomic_store(&b->state, WORKER_RETIRING);
	atomic_store(&a->exchanges[XS_RELAY], 3);
	atomic_store(&b->exchanges[XS_RELAY], 2);
	atomic_store(&b->exchanges[XS_BODY], -1); /* never below 0 on the page */
	atomic_store(&a->conns, 10);
	atomic_store(&b->conns, 1);
	atomic_store(&a->heartbeat_ns, NOW - 1500 * NS_PER_MS);
	atomic_store(&a->started_ns, NOW - 61 * NS_PER_SEC);
	atomic_store(&b->heartbeat_ns, NOW + 5);
	atomic_store(&a->rss_kb, 3);
	atomic_store(&a->have_snap, 41);
	page = page_of(f);
	assert_line(page, "omniroute_workers{state=\"ready\"} 1");
	assert_line(page, "omniroute_workers{state=\"retiring\"} 1");
	assert_line(page, "omniroute_workers{state=\"starting\"} 1");
	assert_line(page, "omniroute_in_flight{state=\"relay\"} 5");
	assert_line(page, "omniroute_in_flight{state=\"body\"} 0");
	assert_line(page, "omniroute_worker_in_flight{worker=\"1\",state=\"relay\"} 2");
	assert_line(page, "omniroute_client_connections 11");
	assert_line(page, "omniroute_worker_heartbeat_age_seconds{worker=\"0\"} 1.500");
	assert_line(page, "omniroute_worker_heartbeat_age_seconds{worker=\"1\"} 0.000");
	assert_line(page, "omniroute_worker_uptime_seconds{worker=\"0\"} 61.000");
	assert_line(page, "omniroute_worker_resident_bytes{worker=\"0\"} 3072");
	assert_line(page, "omniroute_worker_snapshot_number{worker=\"0\"} 41");
	assert_line(page, "omniroute_snapshot_number 42");
	assert_line(page, "omniroute_build_info{version=\"" OMNIROUTE_VERSION "\"} 1");
}

static void
histograms_add_up(void **state)
{
	struct fixture *f = *state;
	struct live_worker *a = worker_taken(f, 1), *b = worker_taken(f, 2);
	const char *page;

	live_hist_add(&a->latency, 1);        /* below the first bound */
	live_hist_add(&b->latency, 1000);     /* [724 .. 1024) */
	live_hist_add(&b->latency, 30000000); /* past the last bound */
	page = page_of(f);
	assert_line(page, "omniroute_request_duration_seconds_bucket{le=\"0.000064\"} 1");
	assert_line(page, "omniroute_request_duration_seconds_bucket{le=\"0.000725\"} 1");
	assert_line(page, "omniroute_request_duration_seconds_bucket{le=\"0.001024\"} 2");
	assert_line(page, "omniroute_request_duration_seconds_bucket{le=\"+Inf\"} 3");
	assert_line(page, "omniroute_request_duration_seconds_sum 30.001001");
	assert_line(page, "omniroute_request_duration_seconds_count 3");
	assert_line(page, "omniroute_time_to_first_token_seconds_count 0");
}

static void
providers_and_connections_have_names(void **state)
{
	struct fixture *f = *state;
	struct live_worker *a = worker_taken(f, 1), *b = worker_taken(f, 2);
	const char *page;

	live_bump(&a->provider[3].requests, 2);
	live_bump(&b->provider[3].requests, 3);
	live_bump(&b->provider[3].errors, 1);
	live_bump(&b->provider[3].tokens_in, 100);
	live_bump(&b->provider[3].tokens_out, 200);
	live_hist_add(&b->provider[3].ttft, 100);
	live_conn_enter(f->live, 7, 0);
	live_conn_enter(f->live, 7, 1);
	live_conn_failed(f->live, 7, NOW, 2500, 0, 0);
	page = page_of(f);
	assert_line(page, "omniroute_provider_requests_total{provider=\"echo\"} 5");
	assert_line(page, "omniroute_provider_errors_total{provider=\"echo\"} 1");
	assert_line(page, "omniroute_provider_tokens_in_total{provider=\"echo\"} 100");
	assert_line(page, "omniroute_provider_tokens_out_total{provider=\"echo\"} 200");
	assert_line(page, "omniroute_provider_time_to_first_token_seconds_bucket{provider=\"echo\","
			  "le=\"0.000128\"} 1");
	assert_line(
	    page, "omniroute_provider_time_to_first_token_seconds_sum{provider=\"echo\"} 0.000100");
	assert_line(page, "omniroute_connection_in_flight{connection=\"a\\\"b\\\\c\\nd\",id=\"id-"
			  "1\",provider=\"echo\"} 2");
	assert_line(page,
	    "omniroute_connection_cooldown_seconds{connection=\"a\\\"b\\\\c\\nd\",id=\"id-1\","
	    "provider=\"echo\"} 2.500000");
}

/* ---- the rules of the format ---- */

struct seen {
	char name[512][96];
	size_t n;
};

/* Families come in one piece: HELP, TYPE, samples; each once. */
static void
family_begins(struct seen *seen, const char *line, char *name, size_t size)
{
	size_t n = strcspn(line + 7, " ");

	assert_in_range(n, 1, size - 1);
	memcpy(name, line + 7, n);
	name[n] = '\0';
	for (size_t i = 0; i < seen->n; i++)
		assert_string_not_equal(seen->name[i], name);
	assert_true(seen->n < NELEM(seen->name));
	snprintf(seen->name[seen->n++], sizeof seen->name[0], "%s", name);
	assert_int_equal(strncmp(name, "omniroute_", 10), 0);
	assert_true(strlen(line) > 8 + n); /* some help */
}

static void
sample_is_of(const char *line, const char *family, const char *type)
{
	static const char *const suffixes[] = {"_bucket{", "_sum", "_count"};
	size_t n = strlen(family);
	bool fits = false;

	assert_int_equal(strncmp(line, family, n), 0);
	if (strcmp(type, "histogram") != 0)
		fits = line[n] == ' ' || line[n] == '{';
	for (size_t i = 0; i < NELEM(suffixes) && strcmp(type, "histogram") == 0; i++)
		fits |= strncmp(line + n, suffixes[i], strlen(suffixes[i])) == 0;
	assert_true(fits);
	if (strcmp(type, "counter") == 0)
		assert_string_equal(family + n - 6, "_total");
	line = strrchr(line, ' ');
	assert_non_null(line);
	assert_int_equal(strspn(line + 1, "0123456789."), strlen(line + 1));
}

static void
the_format_is_kept(void **state)
{
	struct fixture *f = *state;
	char name[96] = "", type[16] = "", *line, *rest;
	struct seen *seen = calloc(1, sizeof *seen);
	bool typed = true;

	worker_taken(f, 1);
	page_of(f);
	for (line = strtok_r(f->page.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (strncmp(line, "# HELP ", 7) == 0) {
			assert_true(typed);
			family_begins(seen, line, name, sizeof name);
			typed = false;
		} else if (strncmp(line, "# TYPE ", 7) == 0) {
			assert_false(typed);
			assert_int_equal(strncmp(line + 7, name, strlen(name)), 0);
			snprintf(type, sizeof type, "%s", line + 8 + strlen(name));
			typed = true;
		} else {
			assert_true(typed);
			sample_is_of(line, name, type);
		}
	}
	assert_true(seen->n > 2 * CTR_COUNT);
	free(seen);
}

/* Bounds must rise, or the same series would stand there twice. */
static void
bounds_rise(void **state)
{
	struct fixture *f = *state;
	const char *p = page_of(f), *key = "omniroute_request_duration_seconds_bucket{le=\"";
	double last = 0, le;
	unsigned n = 0;

	while ((p = strstr(p, key)) != NULL) {
		p += strlen(key);
		le = *p == '+' ? 1e9 : strtod(p, NULL);
		assert_true(le > last);
		last = le;
		n++;
	}
	assert_true(n > 30 && last == 1e9);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(counters_are_summed),
	    T(gauges_show_what_is_there),
	    T(histograms_add_up),
	    T(providers_and_connections_have_names),
	    T(the_format_is_kept),
	    T(bounds_rise),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
