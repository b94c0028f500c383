#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "proto/signature.h"
#include "shared/arena.h"
#include "shared/err.h"
#include "shared/snapshot.h"
#include "worker/target.h"

static struct snapshot *snap;
static struct arena *arena;
enum { OPENAI, STRICT, PLAIN, ANTHROPIC, GOOGLE, AWS };

static struct snap_str
str(struct snapshot_builder *b, const char *s)
{
	return snapshot_string(b, s, strlen(s));
}

static void
add(struct snapshot_builder *b, const char *name, const char *profile, enum dialect_id first,
    const char *url, enum dialect_id second, const char *other)
{
	struct snap_provider p = {
	    .id = str(b, name), .name = str(b, name), .profile = str(b, profile)};
	struct snap_conn c = {
	    .id = str(b, name), .name = str(b, name), .enabled = 1, .dialect = first};
	int i = snapshot_add_provider(b, &p);

	assert_true(i >= 0);
	c.provider = (uint32_t)i;
	c.url[first] = str(b, url);
	if (second != DIALECT_NONE)
		c.url[second] = str(b, other);
	assert_true(snapshot_add_conn(b, &c) >= 0);
}

static int
setup(void **state)
{
	struct snapshot_builder *b = snapshot_builder_new(1);
	int fd;

	(void)state;
	assert_non_null(b);
	add(b, "openai", "{\"max_completion_tokens\":true,\"developer_role\":true}", DIALECT_CHAT,
	    "https://o/v1/chat/completions", DIALECT_RESPONSES, "https://o/v1/responses");
	add(b, "strict", "{\"ids\":\"mistral\",\"no_seed\":true,\"stream_options\":false}",
	    DIALECT_CHAT, "https://s/v1/chat/completions", DIALECT_NONE, NULL);
	add(b, "plain", "", DIALECT_CHAT, "https://p/v1/chat/completions", DIALECT_NONE, NULL);
	add(b, "anthropic", "", DIALECT_MESSAGES, "https://a/v1/messages", DIALECT_NONE, NULL);
	add(b, "google", "", DIALECT_GEMINI, "https://g/v1beta/models/{model}", DIALECT_NONE, NULL);
	add(b, "aws", "", DIALECT_CONVERSE, "https://w/model/{model}", DIALECT_NONE, NULL);
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(snapshot_open(fd, &snap), 0);
	close(fd);
	assert_non_null(arena = arena_new(1u << 20));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	target_free();
	snapshot_put(snap);
	arena_free(arena);
	return 0;
}

static int
choose(struct target *t, uint32_t conn, const struct ask *ask, const char *model, const char *body,
    bool streamed)
{
	const struct target_request q = {.snap = snap,
	    .provider = snapshot_provider(snap, conn),
	    .conn = snapshot_conn(snap, conn),
	    .model = model,
	    .ask = ask,
	    .body = {body, strlen(body)},
	    .streamed = streamed};

	return target_choose(t, arena, &q);
}

static void
test_dialect_and_url(void **state)
{
	static const struct {
		uint32_t conn;
		enum dialect_id client;
		enum ask_kind kind;
		const char *model;
		bool streamed;
		enum dialect_id upstream;
		const char *url; /* NULL: it cannot */
		bool translate;
	} table[] = {
	    {OPENAI, DIALECT_CHAT, ASK_ANSWER, "m", false, DIALECT_CHAT,
		"https://o/v1/chat/completions", false},
	    {OPENAI, DIALECT_RESPONSES, ASK_ANSWER, "m", true, DIALECT_RESPONSES,
		"https://o/v1/responses", false},
	    {OPENAI, DIALECT_MESSAGES, ASK_ANSWER, "m", false, DIALECT_CHAT,
		"https://o/v1/chat/completions", true},
	    {OPENAI, DIALECT_RESPONSES, ASK_COMPACT, "m", false, DIALECT_RESPONSES,
		"https://o/v1/responses/compact", false},
	    {OPENAI, DIALECT_MESSAGES, ASK_COUNT, "m", false, DIALECT_NONE, NULL, false},
	    {ANTHROPIC, DIALECT_RESPONSES, ASK_COMPACT, "m", false, DIALECT_NONE, NULL, false},
	    {ANTHROPIC, DIALECT_MESSAGES, ASK_COUNT, "m", false, DIALECT_MESSAGES,
		"https://a/v1/messages/count_tokens", false},
	    {ANTHROPIC, DIALECT_GEMINI, ASK_ANSWER, "m", true, DIALECT_MESSAGES,
		"https://a/v1/messages", true},
	    {GOOGLE, DIALECT_GEMINI, ASK_ANSWER, "gemini-2.5-pro", false, DIALECT_GEMINI,
		"https://g/v1beta/models/gemini-2.5-pro:generateContent", false},
	    {GOOGLE, DIALECT_CHAT, ASK_ANSWER, "a/b?c", true, DIALECT_GEMINI,
		"https://g/v1beta/models/a%2Fb%3Fc:streamGenerateContent?alt=sse", true},
	    {GOOGLE, DIALECT_GEMINI, ASK_COUNT, "m", false, DIALECT_GEMINI,
		"https://g/v1beta/models/m:countTokens", false},
	    {AWS, DIALECT_MESSAGES, ASK_ANSWER, "us.x-v1:0", true, DIALECT_CONVERSE,
		"https://w/model/us.x-v1%3A0/converse-stream", true},
	    {AWS, DIALECT_CHAT, ASK_ANSWER, "m", false, DIALECT_CONVERSE,
		"https://w/model/m/converse", true},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		const struct ask ask = {.dialect = table[i].client, .kind = table[i].kind};
		struct target t;
		int r = choose(&t, table[i].conn, &ask, table[i].model, "{}", table[i].streamed);

		assert_int_equal(r, table[i].url != NULL ? 0 : E_DENIED);
		if (r != 0)
			continue;
		assert_int_equal(t.dialect, table[i].upstream);
		assert_string_equal(t.url, table[i].url);
		assert_int_equal(t.translate, table[i].translate);
		assert_int_equal(t.profile.dialect, table[i].upstream);
	}
}

static void
test_what_may_pass(void **state)
{
	static const struct {
		uint32_t conn;
		const char *model, *body;
		bool translate;
	} table[] = {
	    {PLAIN, "m", "{\"max_completion_tokens\":5,\"seed\":1}", false}, /* it has no row */
	    {OPENAI, "gpt-4o", "{\"max_tokens\":5}", false},
	    {OPENAI, "gpt-5.2", "{\"max_tokens\":5}", true},
	    {OPENAI, "gpt-5.2", "{\"max_tokens\":null}", false},
	    {OPENAI, "gpt-5.2", "{\"max_completion_tokens\":5}", false},
	    {OPENAI, "m", "{\"messages\":[{\"role\":\"developer\"}]}", false},
	    {STRICT, "m", "{\"messages\":[{\"role\":\"developer\"}]}", true},
	    {STRICT, "m", "{\"messages\":[{\"role\":\"user\"}]}", false},
	    {STRICT, "m", "{\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"call_1\"}]}", true},
	    {STRICT, "m", "{\"max_completion_tokens\":5}", true},
	    {STRICT, "m", "{\"seed\":1}", true},
	    {STRICT, "m", "{\"stream_options\":{}}", true},
	    {PLAIN, "m", "{\"x\":\"" SIGNATURE_MARK "abcd\"}", true},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		const struct ask ask = {.dialect = DIALECT_CHAT};
		struct target t;

		assert_int_equal(
		    choose(&t, table[i].conn, &ask, table[i].model, table[i].body, false), 0);
		if (t.translate != table[i].translate)
			print_error("row %zu\n", i);
		assert_int_equal(t.translate, table[i].translate);
	}
}

static void
test_other_forms_of_answer(void **state)
{
	struct ask ask = {.dialect = DIALECT_CHAT, .completion = true};
	struct target t;

	(void)state;
	assert_int_equal(choose(&t, PLAIN, &ask, "m", "{}", false), 0);
	assert_true(t.translate);
	ask = (struct ask){.dialect = DIALECT_GEMINI, .array = true};
	assert_int_equal(choose(&t, GOOGLE, &ask, "m", "{}", true), 0);
	assert_true(t.translate);
}

static void
test_usage_is_asked_for(void **state)
{
	const struct ask ask = {.dialect = DIALECT_CHAT};
	struct target t;

	(void)state;
	assert_int_equal(choose(&t, OPENAI, &ask, "m", "{}", true), 0);
	assert_true(t.ask_usage);
	assert_int_equal(choose(&t, OPENAI, &ask, "m", "{}", false), 0);
	assert_false(t.ask_usage);
	assert_int_equal(choose(&t, OPENAI, &ask, "m", "{\"stream_options\":{}}", true), 0);
	assert_false(t.ask_usage);
	assert_int_equal(choose(&t, PLAIN, &ask, "m", "{}", true), 0);
	assert_false(t.ask_usage);
	assert_int_equal(choose(&t, STRICT, &ask, "m", "{}", true), 0);
	assert_false(t.ask_usage);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_dialect_and_url),
	    cmocka_unit_test(test_what_may_pass),
	    cmocka_unit_test(test_other_forms_of_answer),
	    cmocka_unit_test(test_usage_is_asked_for),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
