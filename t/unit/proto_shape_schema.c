/* Schemas for targets that do not take all of them (spec translation 7): golden texts, and what
 * must hold of all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/shape.h"
#include "shared/err.h"

static const struct {
	const char *what;
	enum profile_schema rule;
	const char *in, *out;
} cases[] = {
    {"as it is", SCHEMA_AS_IS, "{ \"$schema\" : 1 }", "{ \"$schema\" : 1 }"},
    {"root gets its type and properties", SCHEMA_OPENAI, "{}",
	"{\"type\":\"object\",\"properties\":{}}"},
    {"root union is merged, alternatives do not demand", SCHEMA_ANTHROPIC,
	"{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"a\":{}},\"required\":[\"a\"]},{"
	"\"properties\":{\"b\":{}}}]}",
	"{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}}}"},
    {"anthropic keeps references", SCHEMA_ANTHROPIC,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
	"x\"}},\"$defs\":{\"x\":{\"type\":\"string\"}}}",
	"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
	"x\"}},\"$defs\":{\"x\":{\"type\":\"string\"}}}"},
    {"common inlines, and what stands beside a reference wins", SCHEMA_COMMON,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
	"x\",\"description\":\"mine\"}},"
	"\"$defs\":{\"x\":{\"type\":\"string\",\"description\":\"theirs\",\"format\":\"uri\"}}}",
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"description\":\"mine\"}}"
	"}"},
    {"a cycle is cut", SCHEMA_COMMON,
	"{\"type\":\"object\",\"properties\":{\"next\":{\"$ref\":\"#\"}}}",
	"{\"type\":\"object\",\"properties\":{\"next\":{\"type\":\"object\"}}}"},
    {"a reference at any depth, and one that leads nowhere", SCHEMA_COMMON,
	"{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\",\"items\":{\"anyOf\":[{\"$"
	"ref\":\"#/definitions/a~1b\"},"
	"{\"$ref\":\"http://x/y\"}]}}},\"definitions\":{\"a/b\":{\"type\":\"number\"}}}",
	"{\"type\":\"object\",\"properties\":{\"l\":{\"type\":\"array\",\"items\":{\"anyOf\":[{"
	"\"type\":\"number\"},{\"type\":\"object\"}]}}}}"},
    {"properties that are named like keywords", SCHEMA_GEMINI_SUBSET,
	"{\"type\":\"object\",\"properties\":{\"title\":{\"type\":\"string\"},\"format\":{\"type\":"
	"\"string\"},\"default\":{\"type\":\"string\"},"
	"\"pattern\":{\"type\":\"string\"},\"$ref\":{\"type\":\"string\"}},\"required\":[\"title\","
	"\"gone\"]}",
	"{\"type\":\"OBJECT\",\"properties\":{\"title\":{\"type\":\"STRING\"},\"format\":{\"type\":"
	"\"STRING\"},\"default\":{\"type\":\"STRING\"},"
	"\"pattern\":{\"type\":\"STRING\"},\"$ref\":{\"type\":\"STRING\"}},\"required\":[\"title\"]"
	"}"},
    {"enum, const and default are data", SCHEMA_COMMON,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[{\"$ref\":\"#/"
	"x\"}],\"default\":{\"$schema\":1}}}}",
	"{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[{\"$ref\":\"#/"
	"x\"}],\"default\":{\"$schema\":1}}}}"},
    {"nullable", SCHEMA_GEMINI_SUBSET,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":[\"string\",\"null\"]}}}",
	"{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"nullable\":true,\"type\":\"STRING\"}}}"},
    {"several types", SCHEMA_GEMINI_SUBSET,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":[\"string\",\"integer\"],"
	"\"description\":\"d\"}}}",
	"{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"description\":\"d\",\"anyOf\":[{\"type\":"
	"\"STRING\"},{\"type\":\"INTEGER\"}]}}}"},
    {"anyOf stands alone", SCHEMA_GEMINI_SUBSET,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"oneOf\":[{\"required\":["
	"\"x\"]},{\"properties\":{\"y\":{\"type\":\"null\"}}}],"
	"\"properties\":{\"x\":{\"type\":\"string\"}}}}}",
	"{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"anyOf\":[{\"type\":\"OBJECT\","
	"\"properties\":{\"x\":{\"type\":\"STRING\"}}},"
	"{\"properties\":{\"y\":{\"type\":\"NULL\"}},\"type\":\"OBJECT\"}]}}}"},
    {"anyOf with null", SCHEMA_GEMINI_SUBSET,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":"
	"\"null\"}],\"description\":\"d\"}}}",
	"{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"description\":\"d\",\"nullable\":true,"
	"\"type\":\"STRING\"}}}"},
    {"const, and an enum of numbers", SCHEMA_GEMINI_SUBSET,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"const\":\"x\"},\"b\":{\"type\":\"integer\","
	"\"enum\":[1,2,null]},\"c\":{\"enum\":[\"\",\"y\"]}}}",
	"{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"enum\":[\"x\"]},\"b\":{\"type\":\"INTEGER\","
	"\"nullable\":true,\"description\":\"Allowed values: 1, 2.\"},"
	"\"c\":{\"enum\":[\"y\"]}}}"},
    {"allOf is merged", SCHEMA_GEMINI_SUBSET,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"allOf\":[{\"properties\":{\"x\":{\"type\":"
	"\"string\"}},\"required\":[\"x\"]},"
	"{\"properties\":{\"y\":{\"type\":\"string\"}},\"required\":[\"y\"]}]}}}",
	"{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"properties\":{\"x\":{\"type\":\"STRING\"},"
	"\"y\":{\"type\":\"STRING\"}},\"required\":[\"x\",\"y\"],\"type\":\"OBJECT\"}}}"},
    {"limits: in the subset's form, or in words", SCHEMA_GEMINI_SUBSET,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"exclusiveMinimum\":0,"
	"\"multipleOf\":5,\"description\":\"Say \\\"n\\\".\"},"
	"\"b\":{\"type\":\"number\",\"exclusiveMaximum\":1.5}}}",
	"{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"type\":\"INTEGER\",\"description\":\"Say "
	"\\\"n\\\". Must be a multiple of 5.\",\"minimum\":1},"
	"\"b\":{\"type\":\"NUMBER\",\"description\":\"Must be less than 1.5.\"}}}"},
    {"arrays have items; a list of them becomes one", SCHEMA_GEMINI_SUBSET,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\"},\"b\":{\"type\":\"array\","
	"\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"number\"}]}}}",
	"{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"type\":\"ARRAY\",\"items\":{\"type\":"
	"\"STRING\"}},\"b\":{\"type\":\"ARRAY\","
	"\"items\":{\"anyOf\":[{\"type\":\"STRING\"},{\"type\":\"NUMBER\"}]}}}}"},
    {"what is no schema object", SCHEMA_GEMINI_SUBSET,
	"{\"type\":\"object\",\"properties\":{\"a\":\"string\",\"b\":true,\"c\":false,\"d\":7}}",
	"{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"type\":\"STRING\"},\"b\":{},\"d\":{}}}"},
    {"a keep-list: vendor keys go", SCHEMA_GEMINI_SUBSET,
	"{\"type\":\"object\",\"x-y\":1,\"~z\":2,\"additionalProperties\":false,\"properties\":{"
	"\"a\":{\"type\":\"string\",\"uniqueItems\":true,\"format\":\"uri\"}}}",
	"{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"type\":\"STRING\"}}}"},
    {"an object without properties in the subset", SCHEMA_GEMINI_SUBSET,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"object\",\"properties\":{},"
	"\"required\":[\"q\"]}}}",
	"{\"type\":\"OBJECT\",\"properties\":{\"a\":{\"type\":\"OBJECT\"}}}"},
    {"gemini's JSON form keeps keywords", SCHEMA_GEMINI_JSON,
	"{\"$schema\":\"s\",\"type\":\"OBJECT\",\"additionalProperties\":false,\"properties\":{"
	"\"a\":{\"type\":\"ARRAY\"}},\"required\":[\"b\"]}",
	"{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"a\":{\"type\":"
	"\"array\",\"items\":{\"type\":\"string\"}}}}"},
    {"strict: closed, limits in words", SCHEMA_ANTHROPIC_STRICT,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"minimum\":1}},"
	"\"required\":[\"a\"]}",
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"description\":\"Must "
	"be at least 1.\"}},\"required\":[\"a\"],\"additionalProperties\":false}"},
    {"strict: all required, or null", SCHEMA_OPENAI_STRICT,
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"default\":1},\"b\":{"
	"\"type\":\"string\"}},\"required\":[\"b\"]}",
	"{\"type\":\"object\",\"properties\":{\"a\":{\"anyOf\":[{\"type\":\"integer\"},{\"type\":"
	"\"null\"}]},\"b\":{\"type\":\"string\"}},"
	"\"required\":[\"a\",\"b\"],\"additionalProperties\":false}"},
    {"nova: a bare root", SCHEMA_NOVA,
	"{\"$schema\":\"s\",\"title\":\"t\",\"type\":\"object\",\"properties\":{\"a\":{"
	"\"additionalProperties\":{}}}}",
	"{\"type\":\"object\",\"properties\":{\"a\":{}}}"},
};

static struct span
shape(struct arena *a, const char *in, enum profile_schema rule, int *r)
{
	return shape_schema(a, span_of(in), rule, r);
}

static void
golden(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct arena *a = arena_new(1 << 20);
		int r;
		struct span out = shape(a, cases[i].in, cases[i].rule, &r);
		char *text = arena_strndup(a, out.p, out.n);

		assert_int_equal(r, 0);
		print_message("# %s\n", cases[i].what);
		assert_string_equal(text, cases[i].out);
		arena_free(a);
	}
}

/* What a target has been given once, it would be given again. */
static void
idempotent(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(cases); i++)
		for (unsigned rule = 0; rule < SCHEMAS; rule++) {
			struct arena *a = arena_new(1 << 20);
			int r;
			struct span once = shape(a, cases[i].in, rule, &r), twice;
			char *x = arena_strndup(a, once.p, once.n), *y;

			assert_int_equal(r, 0);
			twice = shape_schema(a, once, rule, &r);
			assert_int_equal(r, 0);
			y = arena_strndup(a, twice.p, twice.n);
			assert_string_equal(x, y);
			arena_free(a);
		}
}

static void
limits(void **state)
{
	struct buf b = BUF_INIT(8 << 20);
	int r;

	(void)state;
	for (int i = 0; i < 100; i++)
		buf_str(&b, "{\"items\":");
	buf_str(&b, "{}");
	for (int i = 0; i < 100; i++)
		buf_str(&b, "}");
	struct arena *a = arena_new(64 << 20);
	assert_null(shape_schema(a, (struct span){b.data, b.len}, SCHEMA_COMMON, &r).p);
	assert_int_equal(r, E_DEPTH);
	buf_reset(&b);
	/* each level names the one below twice: 2^20 nodes if it were let */
	buf_str(&b, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{\"d20\":{}");
	for (int i = 0; i < 20; i++)
		buf_addf(&b,
		    ",\"d%d\":{\"properties\":{\"a\":{\"$ref\":\"#/$defs/"
		    "d%d\"},\"b\":{\"$ref\":\"#/$defs/d%d\"}}}",
		    i, i + 1, i + 1);
	buf_str(&b, "}}");
	assert_null(shape_schema(a, (struct span){b.data, b.len}, SCHEMA_GEMINI_SUBSET, &r).p);
	assert_int_equal(r, E_TOO_LONG);
	assert_null(shape(a, "{", SCHEMA_COMMON, &r).p);
	assert_int_not_equal(r, 0);
	assert_non_null(shape(a, "[]", SCHEMA_COMMON, &r).p);
	arena_free(a);
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(golden),
	    cmocka_unit_test(idempotent),
	    cmocka_unit_test(limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
