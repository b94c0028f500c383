#include "t/unit/proto_events.h"

#include "proto/signature.h"

static void
an_envelope_gives_back_what_was_in_it(void **state)
{
	static const char bytes[] = "c2ln\0\xff+/=";
	struct arena *a = arena_new(1 << 20);

	(void)state;
	for (unsigned origin = 0; origin < ORIGINS; origin++)
		for (size_t n = 0; n < sizeof bytes; n++) {
			const struct canon_signature in = {.data = {bytes, n},
			    .origin = (enum canon_origin)origin,
			    .family = 0x80010203u + origin,
			    .encrypted = n % 2 == 1};
			struct canon_signature out;
			struct span text = signature_wrap(a, &in);

			assert_memory_equal(text.p, SIGNATURE_MARK, sizeof SIGNATURE_MARK - 1);
			assert_int_equal(text.n % 4, 0);
			assert_true(signature_unwrap(a, text, ORIGIN_OPENAI, &out));
			assert_true(span_same(out.data, in.data));
			assert_int_equal(out.data.p == NULL, n == 0);
			assert_int_equal(out.origin, in.origin);
			assert_int_equal(out.family, in.family);
			assert_int_equal(out.encrypted, in.encrypted);
		}
	arena_free(a);
}

static void
never_two_envelopes(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct canon_signature s = {.data = span_of("abc"), .origin = ORIGIN_GOOGLE};
	struct span once = signature_wrap(a, &s);

	(void)state;
	s.data = once;
	assert_true(span_same(signature_wrap(a, &s), once));
	arena_free(a);
}

static void
others_are_native(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct canon_signature out;

	(void)state;
	assert_false(signature_unwrap(a, span_of("EqQBCg=="), ORIGIN_ANTHROPIC, &out));
	assert_true(span_is(out.data, "EqQBCg=="));
	assert_int_equal(out.origin, ORIGIN_ANTHROPIC);
	/* what was tampered with is nobody's: no provider gets it */
	assert_true(signature_unwrap(a, span_of(SIGNATURE_MARK "!!"), ORIGIN_ANTHROPIC, &out));
	assert_int_equal(out.origin, ORIGIN_NONE);
	assert_null(out.data.p);
	assert_true(signature_unwrap(a, span_of(SIGNATURE_MARK), ORIGIN_ANTHROPIC, &out));
	assert_int_equal(out.origin, ORIGIN_NONE);
	assert_true(
	    signature_unwrap(a, span_of(SIGNATURE_MARK "fwAAAABhYmM="), ORIGIN_ANTHROPIC, &out));
	assert_int_equal(out.origin, ORIGIN_NONE);
	arena_free(a);
}

static void
present_in_a_body(void **state)
{
	(void)state;
	assert_true(signature_present(span_of("{\"signature\":\"" SIGNATURE_MARK "AAAA\"}")));
	assert_false(signature_present(span_of("{\"text\":\"about " SIGNATURE_MARK "\"}")));
	assert_false(signature_present((struct span){NULL, 0}));
}

static void
families(void **state)
{
	uint32_t claude = signature_family(span_of("claude-opus-4-5"));

	(void)state;
	assert_int_equal(
	    claude, signature_family(span_of("us.anthropic.claude-sonnet-4-5-20250929-v1:0")));
	assert_int_equal(claude, signature_family(span_of("anthropic/Claude-3")));
	assert_int_not_equal(claude, signature_family(span_of("gemini-3-pro")));
	assert_int_equal(
	    signature_family(span_of("gemini-2.5-pro")), signature_family(span_of("gemini-3-pro")));
	assert_int_equal(signature_family(span_of("")), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_envelope_gives_back_what_was_in_it),
	    cmocka_unit_test(never_two_envelopes),
	    cmocka_unit_test(others_are_native),
	    cmocka_unit_test(present_in_a_body),
	    cmocka_unit_test(families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
