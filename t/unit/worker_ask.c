#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "proto/canon.h"
#include "shared/err.h"
#include "worker/ask.h"

static struct span
span(const char *s)
{
	return (struct span){s, strlen(s)};
}

static void
test_gemini_path(void **state)
{
	static const struct {
		const char *tail, *query, *model;
		enum ask_kind kind;
		bool stream, array, fits;
	} table[] = {
	    {"gemini-2.5-pro:generateContent", "", "gemini-2.5-pro", ASK_ANSWER, false, false,
		true},
	    {"p/m:streamGenerateContent", "alt=sse", "p/m", ASK_ANSWER, true, false, true},
	    {"p/m:streamGenerateContent", "key=k&alt=sse", "p/m", ASK_ANSWER, true, false, true},
	    {"p/m:streamGenerateContent", "alt=json", "p/m", ASK_ANSWER, true, true, true},
	    {"p/m:streamGenerateContent", "xalt=sse", "p/m", ASK_ANSWER, true, true, true},
	    {"ollama/llama3:8b:countTokens", "", "ollama/llama3:8b", ASK_COUNT, false, false, true},
	    {"m:embedContent", "", NULL, 0, false, false, false},
	    {":generateContent", "", NULL, 0, false, false, false},
	    {"generateContent", "", NULL, 0, false, false, false},
	    {"m:generateContentX", "", NULL, 0, false, false, false},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct ask q = {.dialect = DIALECT_GEMINI};
		const char *why = NULL;

		assert_int_equal(
		    ask_path(&q, span(table[i].tail), span(table[i].query), &why), table[i].fits);
		if (!table[i].fits) {
			assert_non_null(why);
			continue;
		}
		assert_int_equal(q.kind, table[i].kind);
		assert_int_equal(q.stream, table[i].stream);
		assert_int_equal(q.array, table[i].array);
		assert_int_equal(ask_body(&q, span("{\"contents\":[]}"), &why), 0);
		assert_string_equal(q.chat.model, table[i].model);
		assert_null(q.model_value.p);
		assert_int_equal(q.said, 2);
	}
}

static void
test_bodies(void **state)
{
	static const struct {
		enum dialect_id dialect;
		bool completion;
		const char *body, *model; /* NULL: refused */
		bool stream, given;
		size_t said;
	} table[] = {
	    {DIALECT_MESSAGES, false, "{\"model\":\"a/b\",\"messages\":[1]}", "a/b", false, false,
		3},
	    {DIALECT_MESSAGES, false, "{\"stream\":true,\"model\":\"x\\u0041\"}", "xA", true, true,
		0},
	    {DIALECT_MESSAGES, false, "{\"stream\":null,\"model\":\"m\"}", "m", false, false, 0},
	    {DIALECT_RESPONSES, false, "{\"model\":\"m\",\"input\":\"hi\",\"stream\":false}", "m",
		false, true, 4},
	    {DIALECT_CHAT, true, "{\"model\":\"m\",\"prompt\":\"hi\"}", "m", false, false, 4},
	    {DIALECT_CHAT, false, "{\"model\":\"m\",\"messages\":[{}],\"stream\":true}", "m", true,
		true, 4},
	    {DIALECT_MESSAGES, false, "{\"messages\":[]}", NULL, false, false, 0},
	    {DIALECT_MESSAGES, false, "{\"model\":7}", NULL, false, false, 0},
	    {DIALECT_MESSAGES, false, "{\"model\":\"\"}", NULL, false, false, 0},
	    {DIALECT_MESSAGES, false, "{\"model\":\"a\\u0000b\"}", NULL, false, false, 0},
	    {DIALECT_MESSAGES, false, "{\"model\":\"m\",\"stream\":1}", NULL, false, false, 0},
	    {DIALECT_MESSAGES, false, "{\"model\":\"m\",\"model\":\"n\"}", NULL, false, false, 0},
	    {DIALECT_MESSAGES, false, "{\"model\":\"m\"", NULL, false, false, 0},
	    {DIALECT_MESSAGES, false, "[\"model\"]", NULL, false, false, 0},
	    {DIALECT_MESSAGES, false, "", NULL, false, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct ask q = {.dialect = table[i].dialect, .completion = table[i].completion};
		const char *why = NULL;
		int r = ask_body(&q, span(table[i].body), &why);

		if (table[i].model == NULL) {
			assert_true(r < 0);
			assert_true(why != NULL && *why != '\0');
			continue;
		}
		assert_int_equal(r, 0);
		assert_string_equal(q.chat.model, table[i].model);
		assert_int_equal(q.stream, table[i].stream);
		assert_int_equal(q.stream_given, table[i].given);
		assert_int_equal(q.said, table[i].said);
		assert_true(q.model_value.p[0] == '"');
	}
}

static void
test_model_too_long(void **state)
{
	char body[512], tail[512];
	struct ask q = {.dialect = DIALECT_RESPONSES};
	const char *why = NULL;

	(void)state;
	snprintf(body, sizeof body, "{\"model\":\"%0*d\"}", MODEL_MAX, 0);
	assert_int_equal(ask_body(&q, span(body), &why), 0);
	snprintf(body, sizeof body, "{\"model\":\"%0*d\"}", MODEL_MAX + 1, 0);
	assert_int_equal(ask_body(&q, span(body), &why), E_SYNTAX);
	snprintf(tail, sizeof tail, "%0*d:generateContent", MODEL_MAX + 1, 0);
	q = (struct ask){.dialect = DIALECT_GEMINI};
	assert_true(ask_path(&q, span(tail), span(""), &why));
	assert_int_equal(ask_body(&q, span("{}"), &why), E_SYNTAX);
}

static void
test_query(void **state)
{
	char out[8];

	(void)state;
	assert_true(ask_query(span("a=1&key=x%2Fy+z&key=w"), "key", out, sizeof out));
	assert_string_equal(out, "x/y z");
	assert_true(ask_query(span("key="), "key", out, sizeof out));
	assert_string_equal(out, "");
	assert_true(ask_query(span("key=%zz%4"), "key", out, sizeof out));
	assert_string_equal(out, "%zz%4");
	assert_false(ask_query(span("monkey=1"), "key", out, sizeof out));
	assert_false(ask_query(span("key"), "key", out, sizeof out));
	assert_false(ask_query(span("key=12345678"), "key", out, sizeof out));
	assert_false(ask_query(span("key=a%00b"), "key", out, sizeof out));
	assert_false(ask_query((struct span){NULL, 0}, "key", out, sizeof out));
}

static void
test_member(void **state)
{
	(void)state;
	assert_true(ask_member(span("{\"a\":{\"stream\":1}}"), "stream").p == NULL);
	assert_int_equal(ask_member(span("{\"stream\": [1] }"), "stream").n, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_gemini_path),
	    cmocka_unit_test(test_bodies),
	    cmocka_unit_test(test_model_too_long),
	    cmocka_unit_test(test_query),
	    cmocka_unit_test(test_member),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
