/* Known traps of the conversation's shape. */
#include "t/unit/proto_traps.h"

#define TRAPS 103 /* lines of t/data/traps */

#define CHAT \
	{ \
		DIALECT_CHAT, "model-x", NULL \
	}
#define CLAUDE \
	{ \
		DIALECT_MESSAGES, "claude-sonnet-4-5", NULL \
	}
#define GEMINI \
	{ \
		DIALECT_GEMINI, "gemini-2.5-pro", NULL \
	}
#define CONVERSE \
	{ \
		DIALECT_CONVERSE, "anthropic.claude-sonnet-4-5-v1:0", NULL \
	}
#define MISTRAL \
	{ \
		DIALECT_CHAT, "mistral-large", "{'ids':'mistral'}" \
	}
#define RESPONSES \
	{ \
		DIALECT_RESPONSES, "gpt-5.2", NULL \
	}

#define ASK "{'role':'user','content':'Hi'}"
#define CHAT_CALL(id) "{'id':'" id "','type':'function','function':{'name':'f','arguments':'{}'}}"
#define CALLS(calls) "{'role':'assistant','content':null,'tool_calls':[" calls "]}"
#define RESULT(id, text) "{'role':'tool','tool_call_id':'" id "','content':'" text "'}"
#define TOOL "'tools':[{'type':'function','function':{'name':'f'}}]"
#define TALK(messages) "{'model':'m','messages':[" messages "]," TOOL "}"

/* Wrong: an empty text block, which Anthropic refuses. Right: removed. */
static void
empty_text_is_removed(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, CLAUDE,
		TALK("{'role':'user','content':[{'type':'text','text':''},{'type':'text','text':'"
		     "Hi'}]}"),
		"messages[0].content", "[{'type':'text','text':'Hi'}]"},
	    {DIALECT_CHAT, CLAUDE, TALK(ASK ",{'role':'assistant','content':''}," ASK),
		"messages[1]", NULL},
	    {DIALECT_CHAT, CLAUDE,
		TALK(ASK ",{'role':'assistant','content':' \\n','tool_calls':[" CHAT_CALL(
		    "c_1") "]}," RESULT("c_1", "ok")),
		"messages[1].content[0].type", "'tool_use'"},
	    {DIALECT_CHAT, CONVERSE,
		TALK("{'role':'user','content':[{'type':'text','text':'  "
		     "'},{'type':'text','text':'Hi'}]}"),
		"messages[0].content", "[{'text':'Hi'}]"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: white space at the end of the last assistant text. Right: stripped. */
static void
trailing_space_is_stripped(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, CLAUDE, TALK(ASK ",{'role':'assistant','content':'So: \\n '}"),
		"messages[1].content[0].text", "'So:'"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: results without a call, calls without a result. Right: text; a result that says so. */
static void
orphans_are_mended(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, CLAUDE, TALK(ASK "," RESULT("c_9", "found it")),
		"messages[0].content[1].text", "'Result of tool c_9: found it'"},
	    {DIALECT_CHAT, CLAUDE, TALK(ASK "," CALLS(CHAT_CALL("c_1")) "," ASK),
		"messages[2].content[0].tool_use_id", "'c_1'"},
	    {DIALECT_CHAT, CLAUDE, TALK(ASK "," CALLS(CHAT_CALL("c_1")) "," ASK),
		"messages[2].content[0].is_error", "true"},
	    {DIALECT_CHAT, CLAUDE, TALK(ASK "," CALLS(CHAT_CALL("c_1")) "," ASK),
		"messages[2].content[1].text", "'Hi'"},
	    {DIALECT_MESSAGES, CHAT,
		"{'model':'m','max_tokens':9,'messages':[" ASK
		",{'role':'assistant','content':[{'type':"
		"'tool_use','id':'c_1','name':'f','input':{}}]}]}",
		"messages[2]",
		"{'role':'tool','tool_call_id':'c_1','content':'Error: (no result recorded for "
		"this tool "
		"call)'}"},
	    {DIALECT_MESSAGES, RESPONSES,
		"{'model':'m','max_tokens':9,'messages':[" ASK
		",{'role':'assistant','content':[{'type':"
		"'tool_use','id':'c_1','name':'f','input':{}}]}," ASK "]}",
		"input[2].type", "'function_call_output'"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* in another order than the calls, with a word between */
#define ROUND \
	TALK(ASK "," CALLS(CHAT_CALL("c_1") "," CHAT_CALL("c_2")) "," RESULT( \
	    "c_2", "two") "," ASK "," RESULT("c_1", "one"))

/* Wrong: parallel results in messages of their own. Right: one message, in the order of the calls.
 */
static void
parallel_results_are_one_message(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, CLAUDE, ROUND, "messages[2].content[0].tool_use_id", "'c_1'"},
	    {DIALECT_CHAT, CLAUDE, ROUND, "messages[2].content[1].tool_use_id", "'c_2'"},
	    {DIALECT_CHAT, CLAUDE, ROUND, "messages[2].content[2].text", "'Hi'"},
	    {DIALECT_CHAT, CLAUDE, ROUND, "messages[3]", NULL},
	    {DIALECT_CHAT, CONVERSE, ROUND, "messages[2].content[0].toolResult.toolUseId", "'c_1'"},
	    {DIALECT_CHAT, CONVERSE, ROUND, "messages[2].content[1].toolResult.toolUseId", "'c_2'"},
	    {DIALECT_CHAT, CONVERSE, ROUND, "messages[3]", NULL}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: Gemini's parallel calls over several contents, or not as many responses as calls. Right:
 * one content each, equal numbers. */
static void
gemini_calls_and_responses_are_equal(void **state)
{
	static const struct trap_target to = GEMINI;
	static const char *const talks[] = {ROUND,
	    TALK(ASK "," CALLS(CHAT_CALL("c_1") "," CHAT_CALL("c_2")) "," RESULT("c_2", "two"))};

	(void)state;
	for (size_t i = 0; i < NELEM(talks); i++) {
		struct trap x;
		unsigned responses = 0;

		trap_ask(&x, DIALECT_CHAT, &to, talks[i]);
		assert_int_equal(x.r, 0);
		assert_int_equal(trap_node(x.body, "contents[1].parts")->count, 2);
		assert_non_null(trap_node(x.body, "contents[1].parts[1].functionCall"));
		json_each (p, trap_node(x.body, "contents[2].parts"))
			responses += json_get(p, "functionResponse") != NULL;
		assert_int_equal(responses, 2);
		assert_non_null(trap_node(x.body, "contents[2].parts[1].functionResponse"));
		trap_free(&x);
	}
}

/* Wrong: functionResponse without a name. Right: that of its call. */
static void
gemini_response_has_a_name(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, GEMINI, ROUND, "contents[2].parts[0].functionResponse.name", "'f'"},
	    {DIALECT_RESPONSES, GEMINI,
		"{'model':'m','input':[" ASK ",{'type':'function_call','call_id':'c_1','name':'f',"
		"'arguments':'{}'},{'type':'function_call_output','call_id':'c_1','output':'ok'}]}",
		"contents[2].parts[0].functionResponse.name", "'f'"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: ids that are the same in every round. Right: unique over the conversation, results too. */
static void
ids_of_two_rounds_are_unique(void **state)
{
	static const char two[] = TALK(ASK "," CALLS(CHAT_CALL("call_0")) "," RESULT(
	    "call_0", "one") "," CALLS(CHAT_CALL("call_0")) "," RESULT("call_0", "two"));
	static const struct trap_target claude = CLAUDE;
	const char *told, *second;
	struct trap x;

	(void)state;
	trap_ask(&x, DIALECT_CHAT, &claude, two);
	assert_int_equal(x.r, 0);
	assert_false(json_same(trap_node(x.body, "messages[1].content[0].id"),
	    trap_node(x.body, "messages[3].content[0].id")));
	assert_true(json_same(trap_node(x.body, "messages[3].content[0].id"),
	    trap_node(x.body, "messages[4].content[0].tool_use_id")));
	trap_want(&x, x.body, "messages[2].content[0].tool_use_id", "'call_0'");
	trap_free(&x);
	/* two answers whose calls have no ids of their own */
	trap_open(&x, DIALECT_CHAT, DIALECT_GEMINI);
	trap_stream(&x,
	    G_LAST(
		"{'functionCall':{'name':'f','args':{}}},{'functionCall':{'name':'g','args':{}}}",
		"STOP"));
	told = trap_told(&x);
	second = strstr(told, "\ncall ");
	assert_true(second != NULL && strncmp(told, "call call_", 10) == 0);
	assert_true(strncmp(told, second + 1, 15) != 0);
	trap_free(&x);
}

/* Wrong: a history with tools without toolConfig. Right: they are declared. */
static void
converse_declares_the_tools_of_history(void **state)
{
	static const char history[] = "{'model':'m','messages':[" ASK
				      "," CALLS(CHAT_CALL("c_1")) "," RESULT("c_1", "ok") "]}";
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, CONVERSE, history, "toolConfig.tools[0].toolSpec.name", "'f'"},
	    {DIALECT_CHAT, CONVERSE, history, "toolConfig.tools[0].toolSpec.inputSchema.json.type",
		"'object'"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

#define DEVELOPER "{'model':'m','messages':[{'role':'developer','content':'Be kind'}," ASK "]}"

/* Wrong: role developer for a provider that does not know it. Right: system. */
static void
developer_is_system_elsewhere(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, CHAT, DEVELOPER, "messages[0].role", "'system'"},
	    {DIALECT_CHAT, {DIALECT_CHAT, "gpt-5.2", "{'openai':true,'developer_role':true}"},
		DEVELOPER, "messages[0].role", "'developer'"},
	    {DIALECT_CHAT, CLAUDE, DEVELOPER, "messages[0].role", "'user'"},
	    {DIALECT_RESPONSES, CHAT,
		"{'model':'m','input':[{'role':'developer','content':'Be kind'}," ASK "]}",
		"messages[0].role", "'system'"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

#define PIXEL \
	"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+" \
	"M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
#define SEEN \
	"{'model':'m','max_tokens':9,'messages':[" ASK \
	",{'role':'assistant','content':[{'type':'tool_use'," \
	"'id':'c_1','name':'f','input':{}}]},{'role':'user','content':[{'type':'tool_result','" \
	"tool_use_id':" \
	"'c_1','content':[{'type':'text','text':'a'},{'type':'text','text':'b'},{'type':'image','" \
	"source':{" \
	"'type':'base64','media_type':'image/png','data':'" PIXEL "'}}]}]}]}"

/* Wrong: content lists become nothing, images within results are lost. Right: parts, and an image
 * for each target at a place that it knows. */
static void
images_in_results_survive(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_MESSAGES, CHAT, SEEN, "messages[2].tool_call_id", "'c_1'"},
	    {DIALECT_MESSAGES, CHAT, SEEN, "messages[3].role", "'user'"},
	    {DIALECT_MESSAGES, CHAT, SEEN, "messages[3].content[-1].image_url.url",
		"'data:image/png;base64," PIXEL "'"},
	    {DIALECT_MESSAGES, RESPONSES, SEEN, "input[2].output[-1].image_url",
		"'data:image/png;base64," PIXEL "'"},
	    {DIALECT_MESSAGES, GEMINI, SEEN, "contents[2].parts[-1].inlineData.data",
		"'" PIXEL "'"},
	    {DIALECT_MESSAGES, CONVERSE, SEEN,
		"messages[2].content[0].toolResult.content[-1].image.format", "'png'"},
	    {DIALECT_CHAT, CLAUDE,
		TALK("{'role':'user','content':[{'type':'text','text':'a'},{'type':'image_url','"
		     "image_url':{"
		     "'url':'data:image/png;base64," PIXEL "'}}]}"),
		"messages[0].content[1].source.data", "'" PIXEL "'"}};
	static const struct trap_target chat = CHAT;
	struct trap x;

	(void)state;
	trap_rows(rows, NELEM(rows));
	trap_ask(&x, DIALECT_MESSAGES, &chat, SEEN);
	assert_non_null(strchr(trap_at(&x, x.body, "messages[2].content"), 'a'));
	assert_non_null(strchr(trap_at(&x, x.body, "messages[2].content"), 'b'));
	trap_free(&x);
}

#define BILLED \
	"{'model':'m','max_tokens':9,'system':[{'type':'text','text':'x-anthropic-billing-header:" \
	" cc=1; n=7'}," \
	"{'type':'text','text':'Be kind','cache_control':{'type':'ephemeral'}}],'messages':[" ASK \
	"]}"

/* Wrong: a line that changes from call to call, or marks that move, spoil the prompt's cache.
 * Right: the line goes, the marks stay. */
static void
prompt_cache_is_not_spoilt(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_MESSAGES, CHAT, BILLED, "messages[0].content", "'Be kind'"},
	    {DIALECT_MESSAGES, CONVERSE, BILLED, "system[0].text", "'Be kind'"},
	    {DIALECT_MESSAGES, CLAUDE, BILLED, "system[0].text",
		"'x-anthropic-billing-header: cc=1; n=7'"},
	    {DIALECT_MESSAGES, CLAUDE, BILLED, "system[1].cache_control", "{'type':'ephemeral'}"},
	    {DIALECT_MESSAGES, CLAUDE, BILLED, "messages[0]", "{'role':'user','content':'Hi'}"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

#define MARKED(text) "{'type':'text','text':'" text "','cache_control':{'type':'ephemeral'}}"

/* Wrong: more than four marks. Right: the last tool, the last system block, the two latest of
 * messages. */
static void
four_marks_at_most(void **state)
{
	static const struct trap_target to = CLAUDE;
	static const char *const kept[] = {"tools[1].cache_control",
	    "messages[1].content[0].cache_control", "messages[2].content[0].cache_control",
	    "system[1].cache_control"};
	static const char *const gone[] = {"tools[0].cache_control",
	    "messages[0].content[0].cache_control", "system[0].cache_control"};
	struct trap x;

	(void)state;
	trap_ask(&x, DIALECT_CHAT, &to,
	    "{'model':'m','messages':[{'role':'system','content':[" MARKED("s1") "," MARKED(
		"s2") "]},{'role':"
		      "'user','content':[" MARKED("a") "]},{'role':'assistant','content':[" MARKED(
			  "b") "]},{'role':"
			       "'user','content':[" MARKED(
				   "c") "]}],'tools':[{'type':'function','function':{'name':'f'},"
					"'cache_control':{'type':'ephemeral'}},{'type':'function','"
					"function':{'name':'g'},"
					"'cache_control':{'type':'ephemeral'}}]}");
	assert_int_equal(x.r, 0);
	for (size_t i = 0; i < NELEM(kept); i++)
		trap_want(&x, x.body, kept[i], "{'type':'ephemeral'}");
	for (size_t i = 0; i < NELEM(gone); i++)
		trap_want(&x, x.body, gone[i], NULL);
	trap_free(&x);
}

#define LONG_ID "call_0123456789012345678901234567890123456789012345678901234567890123456789"

/* Wrong: an id of more than 64 characters is cut on one side only. Right: one pure function for
 * both. */
static void
long_ids_are_cut_on_both_sides(void **state)
{
	static const struct trap_target targets[] = {RESPONSES, CONVERSE};
	static const char *const paths[][2] = {{"input[1].call_id", "input[2].call_id"},
	    {"messages[1].content[0].toolUse.toolUseId",
		"messages[2].content[0].toolResult.toolUseId"}};

	(void)state;
	for (size_t i = 0; i < NELEM(targets); i++) {
		struct trap x;
		const struct json *call;

		trap_ask(&x, DIALECT_CHAT, &targets[i],
		    TALK(ASK "," CALLS(CHAT_CALL(LONG_ID)) "," RESULT(LONG_ID, "ok")));
		assert_int_equal(x.r, 0);
		call = trap_node(x.body, paths[i][0]);
		assert_true(json_is(call, 's') && call->raw.n <= 64 + 2);
		assert_true(json_same(call, trap_node(x.body, paths[i][1])));
		trap_free(&x);
	}
}

/* Wrong: input items with an empty id. Right: none. */
static void
no_empty_ids_on_items(void **state)
{
	static const char items[] =
	    "{'model':'m','input':[{'type':'message','id':'','role':'user','content':'Hi'},{'type':"
	    "'function_call','id':'','call_id':'c_1','name':'f','arguments':'{}'},{'type':"
	    "'function_call_output','id':'','call_id':'c_1','output':'ok'}]}";
	static const struct trap_target to = RESPONSES;
	struct trap x;

	(void)state;
	trap_ask(&x, DIALECT_RESPONSES, &to, items);
	assert_int_equal(x.r, 0);
	json_each (i, json_get(x.body, "input"))
		assert_null(json_get(i, "id"));
	trap_free(&x);
	trap_ask(
	    &x, DIALECT_CHAT, &to, TALK(ASK "," CALLS(CHAT_CALL("c_1")) "," RESULT("c_1", "ok")));
	json_each (i, json_get(x.body, "input"))
		assert_null(json_get(i, "id"));
	trap_free(&x);
}

/* Wrong: ids that Mistral does not take. Right: nine letters or digits, the same for call and
 * result. */
static void
mistral_ids_are_nine_alphanumerics(void **state)
{
	static const struct trap_target to = MISTRAL;
	struct trap x;
	const struct json *id;

	(void)state;
	trap_ask(&x, DIALECT_CHAT, &to,
	    TALK(ASK "," CALLS(CHAT_CALL("call_1")) "," RESULT("call_1", "ok")));
	assert_int_equal(x.r, 0);
	id = trap_node(x.body, "messages[1].tool_calls[0].id");
	assert_int_equal(id->raw.n, 9 + 2);
	assert_int_equal(
	    strspn(id->raw.p + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
	    9);
	assert_true(json_same(id, trap_node(x.body, "messages[2].tool_call_id")));
	trap_free(&x);
}

/* A line for each trap in t/data/traps: SECTION.ROW FILE NAME. The test of that name is in that
 * file. */
static void
each_trap_has_its_test(void **state)
{
	FILE *list = fopen("t/data/traps", "rb");
	char line[512], row[32], path[128], name[128];
	char *text = malloc(1 << 20);
	unsigned traps = 0;

	(void)state;
	assert_non_null(list);
	assert_non_null(text);
	while (fgets(line, sizeof line, list) != NULL) {
		FILE *f;
		bool unit;

		if (line[0] == '#')
			continue;
		assert_int_equal(sscanf(line, "%31s %127s %127[^\n]", row, path, name), 3);
		f = fopen(path, "rb");
		if (f == NULL)
			fail_msg("%s: no %s", row, path);
		text[fread(text, 1, (1 << 20) - 1, f)] = '\0';
		fclose(f);
		unit = strstr(path, ".c") != NULL;
		snprintf(line, sizeof line, unit ? "cmocka_unit_test(%s)" : "subtest '%s'", name);
		if (strstr(text, line) == NULL)
			fail_msg("%s: no test %s in %s", row, name, path);
		traps++;
	}
	fclose(list);
	free(text);
	assert_int_equal(traps, TRAPS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(empty_text_is_removed),
	    cmocka_unit_test(trailing_space_is_stripped),
	    cmocka_unit_test(orphans_are_mended),
	    cmocka_unit_test(parallel_results_are_one_message),
	    cmocka_unit_test(gemini_calls_and_responses_are_equal),
	    cmocka_unit_test(gemini_response_has_a_name),
	    cmocka_unit_test(ids_of_two_rounds_are_unique),
	    cmocka_unit_test(converse_declares_the_tools_of_history),
	    cmocka_unit_test(developer_is_system_elsewhere),
	    cmocka_unit_test(images_in_results_survive),
	    cmocka_unit_test(prompt_cache_is_not_spoilt),
	    cmocka_unit_test(four_marks_at_most),
	    cmocka_unit_test(long_ids_are_cut_on_both_sides),
	    cmocka_unit_test(no_empty_ids_on_items),
	    cmocka_unit_test(mistral_ids_are_nine_alphanumerics),
	    cmocka_unit_test(each_trap_has_its_test),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
