#include "t/unit/proto_events.h"

#include "proto/canon_ids.h"

static const uint8_t seed[16] = "a seed of bytes";

static void
forms(void **state)
{
	static const struct {
		enum canon_id_kind kind;
		const char *prefix;
		size_t length;
		bool hex;
	} rows[] = {{ID_CHATCMPL, "chatcmpl-", 29, false}, {ID_CMPL, "cmpl-", 29, false},
	    {ID_CALL, "call_", 24, false}, {ID_TOOLU, "toolu_", 24, false},
	    {ID_MSG, "msg_", 24, false}, {ID_RESP, "resp_", 48, true},
	    {ID_ITEM_MSG, "msg_", 48, true}, {ID_ITEM_FC, "fc_", 48, true},
	    {ID_ITEM_RS, "rs_", 48, true}, {ID_ITEM_WS, "ws_", 48, true},
	    {ID_ITEM_CTC, "ctc_", 48, true}, {ID_ITEM_IG, "ig_", 48, true},
	    {ID_GEMINI, "", 22, false}};
	struct arena *a = arena_new(1 << 20);

	(void)state;
	assert_int_equal(NELEM(rows), ID_KINDS);
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct span id = canon_id(a, seed, rows[i].kind, 3);
		size_t n = strlen(rows[i].prefix);

		assert_int_equal(id.n, n + rows[i].length);
		assert_memory_equal(id.p, rows[i].prefix, n);
		for (; n < id.n; n++)
			assert_non_null(strchr(rows[i].hex ? "0123456789abcdef"
							   : "0123456789abcdefghijklmnopqrstuvwxyz"
							     "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
			    id.p[n]));
	}
	arena_free(a);
}

static void
the_same_again_and_never_twice(void **state)
{
	static const uint8_t other[16] = {1};
	struct arena *a = arena_new(1 << 22);
	struct span ids[512];

	(void)state;
	for (uint32_t i = 0; i < NELEM(ids); i++) {
		ids[i] = canon_id(a, seed, ID_CALL, i * 257);
		assert_true(span_same(ids[i], canon_id(a, seed, ID_CALL, i * 257)));
		assert_false(span_same(ids[i], canon_id(a, other, ID_CALL, i * 257)));
		for (uint32_t k = 0; k < i; k++)
			assert_false(span_same(ids[i], ids[k]));
	}
	assert_memory_not_equal(
	    canon_id(a, seed, ID_CALL, 0).p + 5, canon_id(a, seed, ID_TOOLU, 0).p + 6, 24);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(forms),
	    cmocka_unit_test(the_same_again_and_never_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
