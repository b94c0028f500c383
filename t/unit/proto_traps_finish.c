/* Known traps of finish reasons. */
#include "t/unit/proto_traps.h"

struct row {
	enum dialect_id client, upstream;
	const char *lines, *want;
};

static void
run(const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		trap_stream_told(rows[i].client, rows[i].upstream, rows[i].lines, rows[i].want);
}

/* Wrong: `stop` although calls were made, so that the client's loop ends. Right: calls are a
 * reason. */
static void
calls_are_a_reason(void **state)
{
	static const char *const finish[] = {"tool_calls", "completed", "tool_use", "STOP"};
	static const struct row rows[] = {
	    {0, DIALECT_CHAT, C_CALL(0, "c_1", "f", "{}") C_END("stop"), NULL},
	    {0, DIALECT_MESSAGES, M_START M_CALL(0, "c_1", "f") M_CLOSE(0) M_END("end_turn"), NULL},
	    {0, DIALECT_CONVERSE, B_START B_CALL(0, "c_1", "f") B_CLOSE(0) B_END("end_turn"), NULL},
	    {0, DIALECT_RESPONSES,
		R_START R_END("completed", "",
		    "{'id':'fc_1','type':'function_call','status':'completed','call_id':'c_1','"
		    "name':"
		    "'f','arguments':'{}'}"),
		NULL}};

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++)
		for (size_t c = 0; c < NELEM(trap_clients); c++) {
			struct trap x;
			trap_open(&x, trap_clients[c], rows[i].upstream);
			trap_stream(&x, rows[i].lines);
			trap_told_is(
			    &x, arena_printf(x.a, "call c_1 f {}\nfinish %s\n", finish[c]));
			trap_free(&x);
		}
}

/* Wrong: Gemini's STOP with calls is passed on as `stop`. Right: tool_calls. */
static void
gemini_stop_with_calls(void **state)
{
	static const char *const paths[] = {
	    "choices[0].finish_reason", "status", "stop_reason", "candidates[0].finishReason"};
	static const char *const words[] = {"'tool_calls'", "'completed'", "'tool_use'", "'STOP'"};

	(void)state;
	for (size_t c = 0; c < NELEM(trap_clients); c++) {
		struct trap x;

		trap_open(&x, trap_clients[c], DIALECT_GEMINI);
		trap_whole(&x,
		    "{'candidates':[{'content':{'role':'model','parts':[{'functionCall':{"
		    "'name':'f','args':{}}}]},'finishReason':'STOP','index':0}],"
		    "'usageMetadata':{'promptTokenCount':1,'candidatesTokenCount':1,"
		    "'totalTokenCount':2}}");
		assert_int_equal(x.r, 0);
		trap_want(&x, trap_out(&x), paths[c], words[c]);
		trap_free(&x);
	}
}

/* Wrong: a malformed call, or a candidate without content, is an empty success. Right: an error
 * that another target can mend, as a whole and before the first byte of a stream. */
static void
malformed_is_an_error(void **state)
{
	static const char *const bodies[] = {
	    "{'candidates':[{'finishReason':'MALFORMED_FUNCTION_CALL','index':0}],'usageMetadata':{"
	    "'promptTokenCount':1,'totalTokenCount':1}}",
	    "{'candidates':[{'content':{'role':'model'},'finishReason':'UNEXPECTED_TOOL_CALL'}]}",
	    "{'candidates':[{'content':{'parts':[{'text':'so'}]},'finishReason':"
	    "'MALFORMED_FUNCTION_CALL'}]}",
	    "{'candidates':[{'finishReason':'OTHER','index':0}]}",
	    "{'candidates':[{'index':0}],'usageMetadata':{'promptTokenCount':1,'totalTokenCount':1}"
	    "}",
	    "{'candidates':[]}", "{'candidates':[{'content':{'parts':[]},'finishReason':'STOP'}]}"};

	(void)state;
	for (size_t i = 0; i < NELEM(bodies); i++)
		for (size_t c = 0; c < NELEM(trap_clients); c++) {
			struct trap x;

			if (trap_clients[c] == DIALECT_GEMINI)
				continue;
			trap_open(&x, trap_clients[c], DIALECT_GEMINI);
			trap_whole(&x, bodies[i]);
			if (x.r != E_DENIED)
				fail_msg(
				    "%s: %s", bodies[i], x.out.len > 0 ? buf_cstr(&x.out) : "");
			assert_int_equal(x.err.class, ERROR_SERVER);
			buf_reset(&x.out);
			if (i != 2) {
				trap_stream(&x, bodies[i]);
				assert_int_equal(x.out.len, 0);
			} else {
				trap_stream(&x, bodies[i]);
				assert_non_null(strstr(trap_told(&x), "error "));
			}
			assert_true(translate_state(x.t)->failed);
			assert_int_equal(translate_state(x.t)->error.class, ERROR_SERVER);
			trap_free(&x);
		}
}

#define INCOMPLETE(reason) \
	R_START R_ITEM("added", 0, R_MESSAGE("in_progress", "")) R_WORDS(0, "ab") \
	    R_END("incomplete", "'incomplete_details':{'reason':'" reason "'},", \
		R_MESSAGE("incomplete", R_TEXT("ab")))

/* Wrong: an incomplete response looks complete. Right: length, and incomplete_details. */
static void
incomplete_is_not_completed(void **state)
{
	static const struct row rows[] = {
	    {DIALECT_CHAT, DIALECT_RESPONSES, INCOMPLETE("max_output_tokens"),
		"text ab\nfinish length\n"},
	    {DIALECT_MESSAGES, DIALECT_RESPONSES, INCOMPLETE("max_output_tokens"),
		"text ab\nfinish max_tokens\n"},
	    {DIALECT_GEMINI, DIALECT_RESPONSES, INCOMPLETE("max_output_tokens"),
		"text ab\nfinish MAX_TOKENS\n"},
	    {DIALECT_CHAT, DIALECT_RESPONSES, INCOMPLETE("content_filter"),
		"text ab\nfinish content_filter\n"},
	    {DIALECT_MESSAGES, DIALECT_RESPONSES, INCOMPLETE("content_filter"),
		"text ab\nfinish refusal\n"},
	    {DIALECT_RESPONSES, DIALECT_CHAT, C("'content':'ab'") C_END("length"),
		"text ab\nfinish incomplete\n"},
	    {DIALECT_RESPONSES, DIALECT_MESSAGES,
		M_START M_TEXT(0) M_WORDS(0, "ab") M_CLOSE(0)
		    M_END("model_context_window_exceeded"),
		"text ab\nfinish incomplete\n"}};
	struct trap x;

	(void)state;
	run(rows, NELEM(rows));
	trap_open(&x, DIALECT_RESPONSES, DIALECT_CHAT);
	trap_stream(&x, C("'content':'ab'") C_END("length"));
	trap_want(&x, trap_event(trap_events(&x), "response.incomplete", 0),
	    "response.incomplete_details", "{'reason':'max_output_tokens'}");
	trap_want(&x, trap_event(trap_events(&x), "response.output_item.done", 0), "item.status",
	    "'incomplete'");
	trap_free(&x);
}

#define SAID(word) M_START M_TEXT(0) M_WORDS(0, "ab") M_CLOSE(0) M_END(word)

/* Wrong: `refusal` and `pause_turn` become `stop`. Right: words of the table, none of them a
 * success. */
static void
refusal_and_pause_are_told(void **state)
{
	static const struct row rows[] = {
	    {DIALECT_CHAT, DIALECT_MESSAGES, SAID("pause_turn"), "text ab\nfinish length\n"},
	    {DIALECT_RESPONSES, DIALECT_MESSAGES, SAID("pause_turn"),
		"text ab\nfinish incomplete\n"},
	    {DIALECT_GEMINI, DIALECT_MESSAGES, SAID("pause_turn"), "text ab\nfinish MAX_TOKENS\n"},
	    {DIALECT_MESSAGES, DIALECT_MESSAGES, SAID("pause_turn"),
		"text ab\nfinish pause_turn\n"},
	    {DIALECT_CHAT, DIALECT_MESSAGES, SAID("refusal"), "text ab\nfinish content_filter\n"},
	    {DIALECT_GEMINI, DIALECT_MESSAGES, SAID("refusal"), "text ab\nfinish SAFETY\n"},
	    {DIALECT_MESSAGES, DIALECT_MESSAGES, SAID("refusal"), "text ab\nfinish refusal\n"},
	    {DIALECT_CHAT, DIALECT_MESSAGES, M_START M_END("refusal"), "finish content_filter\n"},
	    {DIALECT_RESPONSES, DIALECT_MESSAGES, M_START M_END("refusal"), "finish incomplete\n"},
	    {DIALECT_MESSAGES, DIALECT_GEMINI, G("{'text':'ab'}") G_LAST("", "SAFETY"),
		"text ab\nfinish refusal\n"}};

	(void)state;
	run(rows, NELEM(rows));
}

/* Wrong: a connection that is cut ends as `end_turn`. Right: an error, in each dialect. */
static void
a_cut_is_no_end(void **state)
{
	static const struct {
		enum dialect_id upstream;
		const char *lines;
	} rows[] = {{DIALECT_CHAT, C("'content':'half'")},
	    {DIALECT_CHAT, C("'content':'half'") "[DONE]\n"},
	    {DIALECT_MESSAGES, M_START M_TEXT(0) M_WORDS(0, "half") M_CLOSE(0)},
	    {DIALECT_GEMINI, G("{'text':'half'}")},
	    {DIALECT_RESPONSES,
		R_START R_ITEM("added", 0, R_MESSAGE("in_progress", "")) R_WORDS(0, "half")},
	    {DIALECT_CONVERSE, B_START B_TEXT(0, "half") B_CLOSE(0)},
	    {DIALECT_OLLAMA,
		"{'model':'m','message':{'role':'assistant','content':'half'},'done':false}\n"},
	    {DIALECT_COHERE,
		"{'type':'message-start','id':'1','delta':{'message':{'role':'assistant'}}}\n"
		"{'type':'content-start','index':0,'delta':{'message':{'content':{'type':'text',"
		"'text':''}}}}\n"
		"{'type':'content-delta','index':0,'delta':{'message':{'content':{'text':'half'}}}}"
		"\n"}};

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++)
		for (size_t c = 0; c < NELEM(trap_clients); c++) {
			struct trap x;
			const char *told;

			trap_open(&x, trap_clients[c], rows[i].upstream);
			trap_stream(&x, rows[i].lines);
			told = trap_told(&x);
			if (strstr(told, "error ") == NULL || strstr(told, "finish") != NULL)
				fail_msg("%s of %s: %s", trap_words[trap_clients[c]],
				    trap_words[rows[i].upstream], told);
			assert_true(
			    span_is(translate_state(x.t)->error.code, "upstream_stream_cut"));
			trap_free(&x);
		}
}

/* Wrong: words of other vendors are not known. Right: each has its place in the table. */
static void
words_of_other_vendors(void **state)
{
#define COHERE(word) \
	"{'type':'message-start','id':'1','delta':{'message':{'role':'assistant'}}}\n" \
	"{'type':'content-start','index':0,'delta':{'message':{'content':{'type':'text','text':''" \
	"}}}}\n" \
	"{'type':'content-delta','index':0,'delta':{'message':{'content':{'text':'ab'}}}}\n" \
	"{'type':'content-end','index':0}\n" \
	"{'type':'message-end','delta':{'finish_reason':'" word \
	"','usage':{'tokens':{'input_tokens':7,'output_tokens':3}}}}\n[DONE]\n"
	static const struct row rows[] = {
	    {DIALECT_CHAT, DIALECT_COHERE, COHERE("COMPLETE"), "text ab\nfinish stop\n"},
	    {DIALECT_CHAT, DIALECT_COHERE, COHERE("MAX_TOKENS"), "text ab\nfinish length\n"},
	    {DIALECT_MESSAGES, DIALECT_COHERE, COHERE("STOP_SEQUENCE"),
		"text ab\nfinish stop_sequence\n"},
	    {DIALECT_MESSAGES, DIALECT_CHAT, C("'content':'ab'") C_END("COMPLETE"),
		"text ab\nfinish end_turn\n"},
	    {DIALECT_MESSAGES, DIALECT_CHAT, C("'content':'ab'") C_END("model_length"),
		"text ab\nfinish max_tokens\n"},
	    {DIALECT_MESSAGES, DIALECT_CHAT, C("'content':'ab'") C_END("sensitive"),
		"text ab\nfinish refusal\n"}};

	(void)state;
	run(rows, NELEM(rows));
}

/* Wrong: `eos` is unknown. Right: stop. */
static void
eos_is_stop(void **state)
{
	static const struct row rows[] = {
	    {DIALECT_MESSAGES, DIALECT_CHAT, C("'content':'ab'") C_END("eos"),
		"text ab\nfinish end_turn\n"},
	    {DIALECT_RESPONSES, DIALECT_CHAT, C("'content':'ab'") C_END("eos"),
		"text ab\nfinish completed\n"}};

	(void)state;
	run(rows, NELEM(rows));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(calls_are_a_reason),
	    cmocka_unit_test(gemini_stop_with_calls),
	    cmocka_unit_test(malformed_is_an_error),
	    cmocka_unit_test(incomplete_is_not_completed),
	    cmocka_unit_test(refusal_and_pause_are_told),
	    cmocka_unit_test(a_cut_is_no_end),
	    cmocka_unit_test(words_of_other_vendors),
	    cmocka_unit_test(eos_is_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
