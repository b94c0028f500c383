/* Known traps of reasoning and its signatures. */
#include "t/unit/proto_traps.h"

#define CLAUDE \
	{ \
		DIALECT_MESSAGES, "claude-sonnet-4-5", NULL \
	}
#define CLAUDE_NEW \
	{ \
		DIALECT_MESSAGES, "claude-opus-4-7", NULL \
	}
#define GEMINI_3 \
	{ \
		DIALECT_GEMINI, "gemini-3-pro-preview", NULL \
	}
#define VERTEX_3 \
	{ \
		DIALECT_GEMINI, "gemini-3-pro-preview", "{'vertex':true,'ai_studio':false}" \
	}
#define OPENAI \
	{ \
		DIALECT_RESPONSES, "gpt-5.2", NULL \
	}
#define DEEPSEEK \
	{ \
		DIALECT_CHAT, "deepseek-reasoner", "{'reasoning':'thinking','replay':'loop'}" \
	}

#define THINKS "'model':'m','max_tokens':8192,'thinking':{'type':'enabled','budget_tokens':2048},"
#define TOOL "'tools':[{'name':'f','input_schema':{'type':'object'}}],"
#define LOOP(blocks) \
	"{" THINKS TOOL \
	"'messages':[{'role':'user','content':'Hi'},{'role':'assistant','content':[" blocks \
	"{'type':'tool_use','id':'toolu_1','name':'f','input':{}}]},{'role':'user','content':[{'" \
	"type':" \
	"'tool_result','tool_use_id':'toolu_1','content':'ok'}]}]}"

/* Wrong: a signature of another provider goes to Anthropic, which refuses it for ever. Right: it
 * carries its origin, and is dropped where it does not belong. */
static void
signatures_stay_with_their_provider(void **state)
{
	static const struct trap_target claude = CLAUDE, gemini = GEMINI_3;
	struct trap x, y;
	const char *envelope, *history;

	(void)state;
	/* from Gemini, as a Messages client keeps it */
	trap_ask(&x, DIALECT_MESSAGES, &gemini, trap_request(DIALECT_MESSAGES));
	trap_stream(&x,
	    G("{'text':'hm','thought':true}") G_LAST(
		"{'functionCall':{'name':'f','args':{}},'thoughtSignature':'c2lnbg=='}", "STOP"));
	envelope = strstr(buf_cstr(&x.out), "T01OSTAx");
	assert_non_null(envelope);
	history = arena_printf(x.a, LOOP("{'type':'thinking','thinking':'hm','signature':'%.*s'},"),
	    (int)strcspn(envelope, "\""), envelope);
	trap_ask(&y, DIALECT_MESSAGES, &claude, history);
	assert_int_equal(y.r, 0);
	trap_want(&y, y.body, "messages[1].content[0].type", "'tool_use'");
	assert_null(strstr(trap_compact(y.a, y.body), "T01OST"));
	assert_null(strstr(trap_compact(y.a, y.body), "hm"));
	trap_free(&y);
	trap_free(&x);
	/* Anthropic's own goes back as it came */
	trap_ask(&y, DIALECT_MESSAGES, &claude,
	    LOOP("{'type':'thinking','thinking':'hm','signature':'U2ln+/=='},"));
	trap_want(&y, y.body, "messages[1].content[0]",
	    "{'type':'thinking','thinking':'hm','signature':'U2ln+/=='}");
	/* and never to Google */
	trap_target(&y, &gemini);
	assert_null(strstr(trap_compact(y.a, y.body), "U2ln"));
	trap_free(&y);
}

/* Wrong: a thinking block without text is thrown away with its signature. Right: kept. */
static void
empty_thought_with_signature_is_kept(void **state)
{
	static const struct trap_row rows[] = {{DIALECT_MESSAGES, CLAUDE,
	    LOOP("{'type':'thinking','thinking':'','signature':'U2lnbg=='},"),
	    "messages[1].content[0]", "{'type':'thinking','thinking':'','signature':'U2lnbg=='}"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
	trap_stream_told(DIALECT_MESSAGES, DIALECT_MESSAGES,
	    M_START M_OPEN(0, "'type':'thinking','thinking':'','signature':''")
		M_DELTA(0, "'type':'signature_delta','signature':'U2lnbg=='") M_CLOSE(0) M_TEXT(1)
		    M_WORDS(1, "a") M_CLOSE(1) M_END("end_turn"),
	    "reasoning  (signed)\ntext a\nfinish end_turn\n");
}

/* Wrong: only the first of several thoughts is kept, redacted ones are lost. Right: all, in order.
 */
static void
all_thoughts_in_their_order(void **state)
{
	static const struct trap_row rows[] = {{DIALECT_MESSAGES, CLAUDE,
	    LOOP("{'type':'thinking','thinking':'one','signature':'QQ=='},"
		 "{'type':'redacted_thinking','data':'UQ=='},"
		 "{'type':'thinking','thinking':'two','signature':'Qg=='},{'type':'text','text':'"
		 "so'},"),
	    "messages[1].content",
	    "[{'type':'thinking','thinking':'one','signature':'QQ=='},{'type':'redacted_thinking',"
	    "'data':'UQ=='},{'type':'thinking','thinking':'two','signature':'Qg=='},{'type':'text',"
	    "'text':'so'},{'type':'tool_use','id':'toolu_1','name':'f','input':{}}]"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: thinking behind tool_use. Right: reasoning, text, calls, as Anthropic wants them. */
static void
thinking_comes_first(void **state)
{
	static const struct trap_target to = CLAUDE;
	struct trap x;
	const char *body, *thought, *call;

	(void)state;
	/* a Chat client keeps reasoning and calls side by side */
	trap_ask(&x, DIALECT_CHAT, &to,
	    "{'model':'m','reasoning_effort':'low','max_tokens':8192,'tools':[{'type':'function',"
	    "'function':{'name':'f'}}],'messages':[{'role':'user','content':'Hi'},{'role':'"
	    "assistant',"
	    "'content':'so','tool_calls':[{'id':'toolu_1','type':'function','function':{'name':'f',"
	    "'arguments':'{}'}}],'reasoning_details':[{'type':'reasoning.text','text':'hm','"
	    "signature':"
	    "'QQ==','format':'anthropic-claude-v1','index':0}]},{'role':'tool','tool_call_id':'"
	    "toolu_1',"
	    "'content':'ok'}]}");
	body = trap_at(&x, x.body, "messages[1].content");
	thought = strstr(body, "\"thinking\"");
	call = strstr(body, "\"tool_use\"");
	assert_non_null(call);
	assert_true(thought != NULL && thought < call);
	assert_true(strstr(body, "\"so\"") < call);
	trap_free(&x);
}

#define FOREIGN \
	"{'model':'m','messages':[{'role':'user','content':'Hi'},{'role':'assistant','content':" \
	"null," \
	"'tool_calls':[{'id':'c_1','type':'function','function':{'name':'f','arguments':'{}'}},{'" \
	"id':" \
	"'c_2','type':'function','function':{'name':'f','arguments':'{}'}}]},{'role':'tool'," \
	"'tool_call_id':'c_1','content':'ok'},{'role':'tool','tool_call_id':'c_2','content':'ok'}" \
	"]," \
	"'tools':[{'type':'function','function':{'name':'f'}}]}"

/* Wrong: a call in Gemini 3's running turn without thoughtSignature is refused. Right: the
 * documented dummy on the first of them. */
static void
gemini_3_gets_the_dummy(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, GEMINI_3, FOREIGN, "contents[1].parts[0].thoughtSignature",
		"'skip_thought_signature_validator'"},
	    {DIALECT_CHAT, GEMINI_3, FOREIGN, "contents[1].parts[1].thoughtSignature", NULL},
	    {DIALECT_CHAT, {DIALECT_GEMINI, "gemini-2.5-pro", NULL}, FOREIGN,
		"contents[1].parts[0].thoughtSignature", NULL}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: the dummy or an id goes to Vertex. Right: neither. */
static void
vertex_gets_neither_dummy_nor_id(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, VERTEX_3, FOREIGN, "contents[1].parts[0].thoughtSignature", NULL},
	    {DIALECT_CHAT, VERTEX_3, FOREIGN, "contents[1].parts[0].functionCall.id", NULL},
	    {DIALECT_CHAT, VERTEX_3, FOREIGN, "contents[2].parts[0].functionResponse.id", NULL}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: a reasoning item without what it led to, or a follower with an id whose reasoning is gone.
 * Right: both or none of the ids. */
static void
reasoning_items_and_their_followers(void **state)
{
	static const struct trap_target to = OPENAI;
	struct trap x;

	(void)state;
	/* foreign reasoning is dropped, and with it the id of the call */
	trap_ask(&x, DIALECT_RESPONSES, &to,
	    "{'model':'m','input':[{'role':'user','content':'Hi'},{'type':'reasoning','id':'rs_1','"
	    "summary':"
	    "[],'encrypted_content':'T01OSTAxAgAAAAB4'},{'type':'function_call','id':'fc_1','call_"
	    "id':'c_1',"
	    "'name':'f','arguments':'{}'},{'type':'function_call_output','call_id':'c_1','output':'"
	    "ok'}]}");
	assert_int_equal(x.r, 0);
	assert_null(strstr(trap_compact(x.a, x.body), "rs_1"));
	assert_null(strstr(trap_compact(x.a, x.body), "fc_1"));
	assert_null(strstr(trap_compact(x.a, x.body), "T01OST"));
	trap_want(&x, x.body, "input[1].call_id", "'c_1'");
	trap_free(&x);
	/* its own stays, in front of what it led to */
	trap_ask(&x, DIALECT_RESPONSES, &to,
	    "{'model':'m','input':[{'role':'user','content':'Hi'},{'type':'reasoning','id':'rs_1','"
	    "summary':"
	    "[],'encrypted_content':'gAAAx'},{'type':'function_call','id':'fc_1','call_id':'c_1','"
	    "name':"
	    "'f','arguments':'{}'},{'type':'function_call_output','call_id':'c_1','output':'ok'}]"
	    "}");
	trap_want(&x, x.body, "input[1].type", "'reasoning'");
	trap_want(&x, x.body, "input[1].encrypted_content", "'gAAAx'");
	trap_want(&x, x.body, "input[2].type", "'function_call'");
	trap_free(&x);
}

#define KIMI_LOOP(extra) \
	"{'model':'m','reasoning_effort':'high','messages':[{'role':'user','content':'Hi'},{'" \
	"role':" \
	"'assistant','content':null," extra \
	"'tool_calls':[{'id':'c_1','type':'function','function':{" \
	"'name':'f','arguments':'{}'}}]},{'role':'tool','tool_call_id':'c_1','content':'ok'}],'" \
	"tools':[{" \
	"'type':'function','function':{'name':'f'}}]}"

/* Wrong: reasoning_content is missing behind tool calls. Right: replayed in the running loop; ""
 * where it was lost. */
static void
reasoning_is_replayed_in_the_loop(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, DEEPSEEK, KIMI_LOOP("'reasoning_content':'hm',"),
		"messages[1].reasoning_content", "'hm'"},
	    {DIALECT_CHAT, DEEPSEEK, KIMI_LOOP(""), "messages[1].reasoning_content", "''"},
	    {DIALECT_CHAT, {DIALECT_CHAT, "x", "{'replay':'drop'}"},
		KIMI_LOOP("'reasoning_content':'hm',"), "messages[1].reasoning_content", NULL}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: a forced tool together with a budget of thinking. Right: the choice is kept where thinking
 * was only a default, else it becomes auto and is named as dropped. */
static void
forced_choice_with_thinking(void **state)
{
	static const struct trap_target to = CLAUDE;
	struct trap x;

	(void)state;
	trap_ask(&x, DIALECT_CHAT, &to,
	    "{'model':'m','reasoning_effort':'high','max_tokens':32000,'tool_choice':'required',"
	    "'messages':[{'role':'user','content':'Hi'}],'tools':[{'type':'function','function':{'"
	    "name':"
	    "'f'}}]}");
	assert_int_equal(x.r, 0);
	trap_want(&x, x.body, "thinking.type", "'enabled'");
	trap_want(&x, x.body, "tool_choice.type", "'auto'");
	assert_non_null(
	    memmem(translate_dropped(x.t).p, translate_dropped(x.t).n, "tool_choice", 11));
	trap_free(&x);
}

/* Wrong: max_tokens beyond the model's limit, or not beyond the budget. Right: fitted. */
static void
limits_fit_the_model_and_the_budget(void **state)
{
	static const struct trap_target to = CLAUDE;
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, CLAUDE,
		"{'model':'m','max_tokens':999999,'messages':[{'role':'user','content':'Hi'}]}",
		"max_tokens", "64000"},
	    {DIALECT_CHAT, CLAUDE,
		"{'model':'m','max_completion_tokens':4096,'reasoning_effort':'high','messages':[{'"
		"role':"
		"'user','content':'Hi'}]}",
		"thinking.budget_tokens", "3072"}};
	static const char *const efforts[] = {"minimal", "low", "medium", "high", "xhigh"};
	static const int limits[] = {1, 500, 1500, 2048, 4096, 16000, 64000, 999999};

	(void)state;
	trap_rows(rows, NELEM(rows));
	for (size_t e = 0; e < NELEM(efforts); e++)
		for (size_t i = 0; i < 2 * NELEM(limits); i++) {
			struct trap x;
			int64_t max, budget;
			char request[256];

			snprintf(request, sizeof request,
			    "{'model':'m','%s':%d,'reasoning_effort':'%s','messages':[{'role':'"
			    "user',"
			    "'content':'Hi'}]}",
			    i % 2 == 0 ? "max_tokens" : "max_completion_tokens", limits[i / 2],
			    efforts[e]);
			trap_ask(&x, DIALECT_CHAT, &to, request);
			assert_int_equal(x.r, 0);
			assert_true(json_int(json_get(x.body, "max_tokens"), &max));
			assert_true(max > 0 && max <= 64000);
			if (json_int(trap_node(x.body, "thinking.budget_tokens"), &budget))
				assert_true(budget >= 1024 && budget < max);
			trap_free(&x);
		}
}

#define SAMPLED \
	"{'model':'m','temperature':0.5,'top_p':0.9,'messages':[{'role':'user','content':'Hi'}]}"

/* Wrong: temperature together with top_p. Right: top_p is dropped; newer models get neither. */
static void
temperature_or_top_p(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, CLAUDE, SAMPLED, "temperature", "0.5"},
	    {DIALECT_CHAT, CLAUDE, SAMPLED, "top_p", NULL},
	    {DIALECT_CHAT, CLAUDE_NEW, SAMPLED, "temperature", NULL},
	    {DIALECT_CHAT, CLAUDE_NEW, SAMPLED, "top_p", NULL},
	    {DIALECT_CHAT, {DIALECT_MESSAGES, "claude-3-5-sonnet", NULL}, SAMPLED, "top_p", "0.9"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

#define PREFILLED \
	"{'model':'m','messages':[{'role':'user','content':'Hi'},{'role':'assistant','content':'" \
	"So, '}]}"

/* Wrong: a turn to be continued goes to a model that refuses it. Right: a user turn behind it asks.
 */
static void
no_prefill_for_new_claude(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, CLAUDE_NEW, PREFILLED, "messages[-1].role", "'user'"},
	    {DIALECT_CHAT, CLAUDE_NEW, PREFILLED, "messages[1].role", "'assistant'"},
	    {DIALECT_CHAT, {DIALECT_MESSAGES, "claude-sonnet-4-6", NULL}, PREFILLED,
		"messages[-1].role", "'user'"},
	    {DIALECT_CHAT, CLAUDE, PREFILLED, "messages[-1].role", "'assistant'"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(signatures_stay_with_their_provider),
	    cmocka_unit_test(empty_thought_with_signature_is_kept),
	    cmocka_unit_test(all_thoughts_in_their_order),
	    cmocka_unit_test(thinking_comes_first),
	    cmocka_unit_test(gemini_3_gets_the_dummy),
	    cmocka_unit_test(vertex_gets_neither_dummy_nor_id),
	    cmocka_unit_test(reasoning_items_and_their_followers),
	    cmocka_unit_test(reasoning_is_replayed_in_the_loop),
	    cmocka_unit_test(forced_choice_with_thinking),
	    cmocka_unit_test(limits_fit_the_model_and_the_budget),
	    cmocka_unit_test(temperature_or_top_p),
	    cmocka_unit_test(no_prefill_for_new_claude),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
