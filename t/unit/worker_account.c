#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shared/err.h"
#include "t/unit/worker_fixture.h"
#include "worker/account.h"
#include "worker/ask.h"
#include "worker/route.h"

static struct snapshot *snap;
static struct snap_provider *provider_row;
static struct http_req req;
static struct ask ask = {.dialect = DIALECT_CHAT};

static int
setup(void **state)
{
	struct snapshot_builder *b = snapshot_builder_new(1);
	struct snap_provider p = {.slot = 7};
	struct snap_conn c = {.slot = 5, .enabled = 1};
	struct snap_settings *s = snapshot_settings(b);
	int fd;

	(void)state;
	worker = (struct worker){.slot = 2};
	assert_int_equal(live_create(&fd), 0);
	assert_int_equal(live_map(fd, &worker.live), 0);
	close(fd);
	worker.me = &worker.live->worker[2];
	assert_non_null(worker.ring = ring_writer_new(&worker.me->ring, 9));
	s->cooldown_base_ms = 1000;
	s->cooldown_steps = 2;
	p.id = fixture_str(b, "acme");
	assert_int_equal(snapshot_add_provider(b, &p), 0);
	c.id = c.name = fixture_str(b, "a-connection-with-a-name-that-is-longer-than-its-place");
	assert_int_equal(snapshot_add_conn(b, &c), 0);
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(snapshot_open(fd, &snap), 0);
	close(fd);
	provider_row = (struct snap_provider *)(uintptr_t)snapshot_provider(snap, 0);
	req = (struct http_req){.start_ns = clock_now_ns(), .body = {"12345", 5}};
	snprintf(req.request_id, sizeof req.request_id, "r-1");
	snprintf(ask.chat.model, sizeof ask.chat.model, "acme/m");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	ring_writer_free(worker.ring);
	snapshot_put(snap);
	live_unmap(worker.live);
	return 0;
}

static struct account
opened(bool stream)
{
	struct account a;

	account_init(&a);
	assert_int_equal(account_open(&a, &req, snap, NULL, &ask, stream), 0);
	return a;
}

static struct usage_record
record(void)
{
	struct usage_record rec;
	int error;

	assert_true(ring_peek(&worker.me->ring, 0, &rec, &error));
	assert_int_equal(error, 0);
	ring_consume(&worker.me->ring, 1);
	return rec;
}

/* What a worker that dies now leaves behind. */
static struct usage_record orphan;
static void
see_orphan(void *ctx, const struct usage_record *rec)
{
	++*(unsigned *)ctx;
	orphan = *rec;
}

static void
test_reserved(void **state)
{
	struct account a = opened(true);
	unsigned orphans = 0;

	(void)state;
	assert_int_equal(worker.me->open, 1);
	account_attempt(&a, provider_row, snapshot_conn(snap, 0), "m");
	assert_int_equal(live_conn_inflight(worker.live, 5), 1);
	assert_int_equal(worker.live->conn[5].inflight[2], 1);
	ring_each_orphan(&worker.me->ring, see_orphan, &orphans);
	assert_int_equal(orphans, 1);
	assert_string_equal(orphan.provider, "acme");
	assert_string_equal(orphan.model_asked, "acme/m");
	assert_string_equal(orphan.model_used, "m");
	assert_string_equal(orphan.request_id, "r-1");
	assert_int_equal(strlen(orphan.connection), sizeof orphan.connection - 1);
	assert_int_equal(orphan.conn_slot, 5);
	assert_int_equal(orphan.bytes_in, 5);
	assert_int_equal(orphan.flags, USAGE_STREAM | USAGE_UNKNOWN);
	account_attempt_end(&a, FAIL_NONE, 200, 0, true);
	account_close(&a, 200, 0, NULL, 0, 0, NULL);
	account_close(&a, 200, 0, NULL, 0, 0, NULL); /* changes nothing */
	assert_int_equal(worker.me->open, 0);
	assert_int_equal(ring_pending(&worker.me->ring), 1);
	assert_int_equal(live_conn_inflight(worker.live, 5), 0);
}

static void
test_tokens(void **state)
{
	static const struct {
		struct translate_state st;
		uint64_t in, out;
		uint32_t flags;
	} table[] = {
	    {{.useful = true,
		 .text_bytes = 900,
		 .usage = {.has_in = true, .has_out = true, .in_total = 10, .out_total = 20,
		     .in_cached = 3, .in_cache_write = 6, .out_reasoning = 4}},
		10, 20, 0},
	    {{.useful = true, .text_bytes = 900, .usage = {.has_in = true, .has_out = true}}, 0, 0,
		0}, /* it said 0 */
	    {{.useful = true, .text_bytes = 9}, 25, 3, USAGE_ESTIMATED},
	    {{.useful = true, .text_bytes = 9, .usage = {.has_in = true, .in_total = 40}}, 40, 3,
		USAGE_ESTIMATED}, /* it broke off before it said the rest */
	    {{.usage = {.has_in = true, .in_total = 41}}, 41, 0, 0},
	    {{.text_bytes = 9}, 0, 0, 0}, /* nothing was answered */
	};
	uint64_t in = 0, out = 0;

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct account a = opened(false);
		struct canon_usage booked;
		struct usage_record rec;

		account_attempt(&a, provider_row, snapshot_conn(snap, 0), "m");
		account_attempt_end(&a, FAIL_NONE, 200, 0, true);
		account_first_byte(&a);
		account_close(&a, 200, 0, &table[i].st, 100, 77, &booked);
		rec = record();
		assert_int_equal(rec.tokens_in, table[i].in);
		assert_int_equal(rec.tokens_out, table[i].out);
		assert_int_equal(rec.tokens_cached, table[i].st.usage.in_cached);
		assert_int_equal(rec.tokens_reasoning, table[i].st.usage.out_reasoning);
		assert_int_equal(rec.tokens_cache_write, table[i].st.usage.in_cache_write);
		assert_int_equal(rec.flags, table[i].flags);
		assert_int_equal(rec.bytes_out, 77);
		assert_int_equal(booked.in_total, table[i].in);
		assert_int_equal(booked.out_total, table[i].out);
		in += table[i].in;
		out += table[i].out;
	}
	assert_int_equal(worker.me->counter[CTR_tokens_in], in);
	assert_int_equal(worker.me->counter[CTR_tokens_out], out);
	assert_int_equal(worker.me->provider[7].tokens_in, in);
	assert_int_equal(worker.me->provider[7].tokens_out, out);
	assert_int_equal(worker.me->provider[7].requests, NELEM(table));
	assert_int_equal(worker.me->provider[7].latency.count, NELEM(table));
	assert_int_equal(worker.me->ttft.count, NELEM(table));
}

static uint64_t
cooling_ms(void)
{
	uint64_t now = clock_now_ns(), until;

	live_conn_available(worker.live, 5, now, &until);
	return until == 0 ? 0 : (until - now) / NS_PER_MS;
}

static void
test_health(void **state)
{
	static const struct {
		enum failure f;
		int status;
		uint64_t hint_ms;
		bool told;
		uint64_t cools; /* about so many ms */
	} table[] = {
	    {FAIL_STATUS_429, 429, 0, true, 1000},
	    {FAIL_STATUS_429, 429, 30000, true, 30000},
	    {FAIL_RESET, 0, 0, true, 1000},
	    {FAIL_STATUS_4XX, 400, 5000, true, 0},
	    {FAIL_TOTAL_TIMEOUT, 0, 0, true, 0},
	    {FAIL_NONE, 200, 0, true, 0},
	    {FAIL_RESET, 0, 0, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct account a = opened(false);
		uint64_t word, cools;

		atomic_store(&worker.live->conn[5].health, 0);
		atomic_store(&worker.live->conn[5].last_error, 0);
		account_attempt(&a, provider_row, snapshot_conn(snap, 0), "m");
		account_attempt_end(
		    &a, table[i].f, table[i].status, table[i].hint_ms, table[i].told);
		account_close(&a, 502, 0, NULL, 0, 0, NULL);
		cools = cooling_ms();
		assert_true(cools + 500 >= table[i].cools && cools <= table[i].cools);
		word = worker.live->conn[5].last_error;
		if (table[i].told && table[i].f != FAIL_NONE) {
			assert_int_equal(word & 0xff, table[i].f);
			assert_int_equal(word >> 8 & 0xffff, table[i].status);
			assert_true(word >> 24 > 1000000000);
		} else {
			assert_int_equal(word, 0);
		}
		assert_int_equal(record().error, table[i].f);
		assert_int_equal(live_conn_inflight(worker.live, 5), 0);
	}
	assert_int_equal(worker.me->counter[CTR_upstream_errors], 5);
	assert_int_equal(worker.me->provider[7].errors, 5);
}

/* Two attempts make one record, which names the last. What is built in has no connection to cool
 * down. */
static void
test_attempts(void **state)
{
	struct account a = opened(false);
	struct usage_record rec;

	(void)state;
	account_attempt(&a, provider_row, snapshot_conn(snap, 0), "m");
	account_attempt_end(&a, FAIL_CONNECT, 0, 0, true);
	account_attempt(&a, provider_row, &route_builtin, "m");
	account_attempt_end(&a, FAIL_STATUS_429, 429, 0, true);
	account_close(&a, 429, 0, NULL, 0, 0, NULL);
	rec = record();
	assert_int_equal(rec.attempts, 2);
	assert_int_equal(rec.error, FAIL_STATUS_429);
	assert_int_equal(rec.status, 429);
	assert_int_equal(rec.conn_slot, UINT32_MAX);
	assert_string_equal(rec.connection, "");
	assert_int_equal(worker.me->counter[CTR_fallbacks], 1);
	assert_int_equal(worker.me->counter[CTR_upstream_attempts], 2);
}

static void
test_full(void **state)
{
	struct account a;

	(void)state;
	while (ring_open(worker.ring) >= 0)
		continue;
	account_init(&a);
	assert_int_equal(account_open(&a, &req, snap, NULL, &ask, false), E_FULL);
	account_close(&a, 503, 0, NULL, 0, 0, NULL);
	assert_int_equal(ring_pending(&worker.me->ring), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_reserved, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_tokens, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_health, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_attempts, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_full, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
