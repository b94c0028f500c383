/* Known traps of tool calls in streams. */
#include "t/unit/proto_traps.h"

/* What all four clients are told of one stream. */
static void
all_told(
    enum dialect_id upstream, const char *lines, const char *parts, const char *const finish[4])
{
	for (size_t i = 0; i < NELEM(trap_clients); i++) {
		struct trap x;

		trap_open(&x, trap_clients[i], upstream);
		trap_stream(&x, lines);
		trap_told_is(&x, arena_printf(x.a, "%sfinish %s\n", parts, finish[i]));
		trap_free(&x);
	}
}

static const char *const called[] = {"tool_calls", "completed", "tool_use", "STOP"};
#define TWO_CALLS "call c_1 f {'x':1}\ncall c_2 g {'y':2}\n"

/* Wrong: every call of a Messages stream gets index 0. Right: its rank among the calls. */
static void
messages_calls_have_own_indexes(void **state)
{
	(void)state;
	all_told(DIALECT_MESSAGES,
	    M_START M_TEXT(0) M_WORDS(0, "so") M_CLOSE(0) M_CALL(1, "c_1", "f")
		M_ARGS(1, "{\\'x\\'") M_ARGS(1, ":1}") M_CLOSE(1) M_CALL(2, "c_2", "g")
		    M_ARGS(2, "{\\'y\\':2}") M_CLOSE(2) M_END("tool_use"),
	    "text so\n" TWO_CALLS, called);
}

/* Wrong: parallel calls of Gemini all at index 0, so that clients merge them. Right: counted over
 * the whole stream. */
static void
gemini_calls_have_own_indexes(void **state)
{
	(void)state;
	all_told(DIALECT_GEMINI,
	    G("{'functionCall':{'id':'c_1','name':'f','args':{'x':1}}}")
		G_LAST("{'functionCall':{'id':'c_2','name':'g','args':{'y':2}}}", "STOP"),
	    TWO_CALLS, called);
	all_told(DIALECT_GEMINI,
	    G_LAST("{'functionCall':{'id':'c_1','name':'f','args':{'x':1}}},"
		   "{'functionCall':{'id':'c_2','name':'g','args':{'y':2}}}",
		"STOP"),
	    TWO_CALLS, called);
}

/* Wrong: another id at a known index goes on with the same call. Right: it begins a new one. */
static void
other_id_at_index_0_is_a_new_call(void **state)
{
	(void)state;
	all_told(DIALECT_CHAT,
	    C_CALL(0, "c_1", "f", "{\\'x\\':1}") C_CALL(0, "c_2", "g", "{\\'y\\'") C_ARGS(0, ":2}")
		C_END("tool_calls"),
	    TWO_CALLS, called);
}

/* Wrong: the second parallel call of a Converse stream is lost. Right: a part for each block. */
static void
converse_keeps_the_second_call(void **state)
{
	(void)state;
	all_told(DIALECT_CONVERSE,
	    B_START B_CALL(0, "c_1", "f") B_ARGS(0, "{\\'x\\'") B_ARGS(0, ":1}") B_CLOSE(0)
		B_CALL(1, "c_2", "g") B_ARGS(1, "{\\'y\\':2}") B_CLOSE(1) B_END("tool_use"),
	    TWO_CALLS, called);
}

/* Wrong: an id that is repeated with each delta opens a block each time. Right: it is the same
 * call. */
static void
repeated_id_is_the_same_call(void **state)
{
	(void)state;
	all_told(DIALECT_CHAT,
	    C_CALL(0, "c_1", "f", "{\\'x\\'")
		C("'tool_calls':[{'index':0,'id':'c_1','function':{'name':'f','arguments':':1}'}}]")
		    C_CALL(1, "c_2", "g", "{\\'y\\'")
			C("'tool_calls':[{'index':1,'id':'c_2','function':{'arguments':':2}'}}]")
			    C_END("tool_calls"),
	    TWO_CALLS, called);
}

/* Wrong: a call without a name, because id and name came apart. Right: opened when the name is
 * known. */
static void
id_and_name_in_two_chunks(void **state)
{
	(void)state;
	all_told(DIALECT_CHAT,
	    C("'tool_calls':[{'index':0,'id':'c_1','type':'function'}]") C_ARGS(0, "{\\'x\\'")
		C("'tool_calls':[{'index':0,'function':{'name':'f'}}]") C_ARGS(0, ":1}")
		    C_CALL(1, "c_2", "g", "{\\'y\\':2}") C_END("tool_calls"),
	    TWO_CALLS, called);
}

/* Wrong: a missing or empty index, id, type or name wipes the real one. Right: empty is absent. */
static void
members_missing_or_empty(void **state)
{
	static const char *const streams[] = {
	    /* later ones empty */
	    C_CALL(0, "c_1", "f", "") C("'tool_calls':[{'index':0,'id':'','type':'','function':{"
					"'name':'','arguments':'{\\'x\\':1}'}}]")
		C_CALL(1, "c_2", "g", "{\\'y\\':2}") C_END("tool_calls"),
	    /* null */
	    C_CALL(0, "c_1", "f", "")
		C("'tool_calls':[{'index':0,'id':null,'type':null,'function':{"
		  "'name':null,'arguments':'{\\'x\\':1}'}}]") C_CALL(1, "c_2", "g", "{\\'y\\':2}")
		    C_END("tool_calls"),
	    /* no index, no type: by id, then the last */
	    C("'tool_calls':[{'id':'c_1','function':{'name':'f','arguments':'{\\'x\\''}}]")
		C("'tool_calls':[{'function':{'arguments':':1}'}}]") C(
		    "'tool_calls':[{'id':'c_2','function':{'name':'g','arguments':'{\\'y\\':2}'}}]")
		    C_END("tool_calls"),
	};

	(void)state;
	for (size_t i = 0; i < NELEM(streams); i++)
		all_told(DIALECT_CHAT, streams[i], TWO_CALLS, called);
}

/* Wrong: arguments stand in content_block_start.input, where clients do not look. Right: {} there
 * and the arguments in deltas, the other way round as well. */
static void
input_comes_in_deltas_only(void **state)
{
	struct trap x;
	const struct json *e;

	(void)state;
	trap_open(&x, DIALECT_MESSAGES, DIALECT_GEMINI);
	trap_stream(&x, G_LAST("{'functionCall':{'id':'c_1','name':'f','args':{'x':1}}}", "STOP"));
	e = trap_events(&x);
	trap_want(&x, trap_event(e, "content_block_start", 0), "content_block",
	    "{'type':'tool_use','id':'c_1','name':'f','input':{}}");
	trap_want(&x, trap_event(e, "content_block_delta", 0), "delta.partial_json", "''");
	trap_told_is(&x, "call c_1 f {'x':1}\nfinish tool_use\n");
	trap_free(&x);
	all_told(DIALECT_MESSAGES,
	    M_START M_OPEN(0, "'type':'tool_use','id':'c_1','name':'f','input':{'x':1}") M_CLOSE(0)
		M_END("tool_use"),
	    "call c_1 f {'x':1}\n", called);
}

/* Wrong: arguments are sent to a block of text. Right: one block open, of the type of its deltas.
 */
static void
arguments_never_go_to_a_text_block(void **state)
{
	(void)state;
	trap_stream_told(DIALECT_MESSAGES, DIALECT_CHAT,
	    C("'content':'so'") C_CALL(0, "c_1", "f", "{\\'x\\'") C("'content':' then'")
		C_ARGS(0, ":1}") C_CALL(1, "c_2", "g", "{\\'y\\'") C_ARGS(1, ":2}")
		    C("'content':'!'") C_END("tool_calls"),
	    "text so\ncall c_1 f {'x':1}\ntext  then\ncall c_2 g {'y':2}\ntext !\nfinish "
	    "tool_use\n");
	/* two calls whose fragments are mixed */
	all_told(DIALECT_CHAT,
	    C_CALL(0, "c_1", "f", "{") C_CALL(1, "c_2", "g", "{") C_ARGS(0, "\\'x\\'")
		C_ARGS(1, "\\'y\\'") C_ARGS(0, ":1}") C_ARGS(1, ":2}") C_END("tool_calls"),
	    TWO_CALLS, called);
}

/* Wrong: reasoning that turns into a call spoils its arguments. Right: the one is closed, the other
 * opened. */
static void
reasoning_turns_into_a_call(void **state)
{
	(void)state;
	trap_stream_told(DIALECT_MESSAGES, DIALECT_CHAT,
	    C("'reasoning_content':'hm'") C("'reasoning_content':'','tool_calls':[{'index':0,'id':"
					    "'c_1','type':'function','function':{'name':'f',"
					    "'arguments':'{\\'x\\''}}]")
		C("'reasoning_content':null,'tool_calls':[{'index':0,'function':{'arguments':':1}'}"
		  "}]") C_END("tool_calls"),
	    "reasoning hm (signed)\ncall c_1 f {'x':1}\nfinish tool_use\n");
	trap_stream_told(DIALECT_RESPONSES, DIALECT_CHAT,
	    C("'reasoning_content':'hm','tool_calls':[{'index':0,'id':'c_1','type':'function',"
	      "'function':{'name':'f','arguments':'{\\'x\\':1}'}}]") C_END("tool_calls"),
	    "reasoning hm\ncall c_1 f {'x':1}\nfinish completed\n");
}

/* Wrong: a fragment of arguments is parsed. Right: it passes, wherever it is cut. */
static void
fragments_are_never_parsed(void **state)
{
	(void)state;
	all_told(DIALECT_CHAT,
	    C_CALL(0, "c_1", "f", "{\\'x\\':\\'a\\\\\\\\") C_ARGS(0, "\\\\n\\\\u00")
		C_ARGS(0, "e4\\'") C_ARGS(0, "}") C_END("tool_calls"),
	    "call c_1 f {'x':'a\\\\\\n\\u00e4'}\n", called);
}

/* Wrong: a call without arguments arrives as "". Right: {}. */
static void
no_arguments_are_an_empty_object(void **state)
{
	(void)state;
	all_told(
	    DIALECT_CHAT, C_CALL(0, "c_1", "f", "") C_END("tool_calls"), "call c_1 f {}\n", called);
	all_told(DIALECT_MESSAGES, M_START M_CALL(0, "c_1", "f") M_CLOSE(0) M_END("tool_use"),
	    "call c_1 f {}\n", called);
	all_told(DIALECT_GEMINI, G_LAST("{'functionCall':{'id':'c_1','name':'f'}}", "STOP"),
	    "call c_1 f {}\n", called);
	all_told(DIALECT_CONVERSE, B_START B_CALL(0, "c_1", "f") B_CLOSE(0) B_END("tool_use"),
	    "call c_1 f {}\n", called);
}

/* Wrong: arguments that come as an object are taken for a fragment, and doubled. Right: whole,
 * once. */
static void
arguments_as_an_object_are_whole(void **state)
{
	(void)state;
	all_told(DIALECT_CHAT,
	    C("'tool_calls':[{'index':0,'id':'c_1','type':'function','function':{'name':'f',"
	      "'arguments':{'x':1}}}]") C_END("tool_calls"),
	    "call c_1 f {'x':1}\n", called);
}

/* Wrong: a free-form tool is answered as an ordinary function. Right: wrapped for the upstream, its
 * input unwrapped for the client. */
static void
custom_tools_are_wrapped_and_unwrapped(void **state)
{
	static const struct trap_target to = {DIALECT_MESSAGES, "claude-sonnet-4-5", NULL};
	struct trap x;
	const struct json *e;

	(void)state;
	trap_ask(&x, DIALECT_RESPONSES, &to,
	    "{'model':'m','input':'Hi','stream':true,'tools':[{'type':'custom','name':'patch',"
	    "'description':'d','format':{'type':'text'}}]}");
	assert_int_equal(x.r, 0);
	trap_want(&x, x.body, "tools[0].input_schema.properties.input.type", "'string'");
	trap_want(&x, x.body, "tools[0].input_schema.required", "['input']");
	trap_stream(&x, M_START M_CALL(0, "c_1", "patch") M_ARGS(0, "{\\'input\\':\\'a\\\\")
			    M_ARGS(0, "nb\\'}") M_CLOSE(0) M_END("tool_use"));
	e = trap_events(&x);
	assert_int_equal(trap_count(e, "response.function_call_arguments.delta"), 0);
	assert_true(trap_count(e, "response.custom_tool_call_input.delta") > 0);
	trap_want(
	    &x, trap_event(e, "response.output_item.done", 0), "item.type", "'custom_tool_call'");
	trap_want(&x, trap_event(e, "response.output_item.done", 0), "item.input", "'a\\nb'");
	trap_want(&x, trap_event(e, "response.output_item.done", 0), "item.call_id", "'c_1'");
	trap_free(&x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(messages_calls_have_own_indexes),
	    cmocka_unit_test(gemini_calls_have_own_indexes),
	    cmocka_unit_test(other_id_at_index_0_is_a_new_call),
	    cmocka_unit_test(converse_keeps_the_second_call),
	    cmocka_unit_test(repeated_id_is_the_same_call),
	    cmocka_unit_test(id_and_name_in_two_chunks),
	    cmocka_unit_test(members_missing_or_empty),
	    cmocka_unit_test(input_comes_in_deltas_only),
	    cmocka_unit_test(arguments_never_go_to_a_text_block),
	    cmocka_unit_test(reasoning_turns_into_a_call),
	    cmocka_unit_test(fragments_are_never_parsed),
	    cmocka_unit_test(no_arguments_are_an_empty_object),
	    cmocka_unit_test(arguments_as_an_object_are_whole),
	    cmocka_unit_test(custom_tools_are_wrapped_and_unwrapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
