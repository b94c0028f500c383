/* Known traps of the order of events, and of what must not be missing. */
#include "t/unit/proto_traps.h"

#define ONE_CALL C_CALL(0, "c_1", "f", "{\\'x\\':1}") C_END("tool_calls")
#define TWO_WORDS C("'content':'Hel'") C("'content':'lo'") C_END("stop")

/* Wrong: an empty text block before every answer. Right: the first block is of what comes first. */
static void
no_ghost_block_before_a_call(void **state)
{
	(void)state;
	trap_stream_told(DIALECT_MESSAGES, DIALECT_CHAT,
	    C("'role':'assistant','content':''") C("'content':null") ONE_CALL,
	    "call c_1 f {'x':1}\nfinish tool_use\n");
	trap_stream_told(DIALECT_RESPONSES, DIALECT_CHAT,
	    C("'role':'assistant','content':''") ONE_CALL,
	    "call c_1 f {'x':1}\nfinish completed\n");
	trap_stream_told(DIALECT_MESSAGES, DIALECT_GEMINI,
	    G("{'text':''}")
		G_LAST("{'functionCall':{'id':'c_1','name':'f','args':{'x':1}}}", "STOP"),
	    "call c_1 f {'x':1}\nfinish tool_use\n");
}

/* Wrong: message_start twice, where the upstream begins more than once. Right: once. */
static void
message_start_comes_once(void **state)
{
	static const struct {
		enum dialect_id upstream;
		const char *lines;
	} rows[] = {{DIALECT_CHAT, C("'role':'assistant'") C("'role':'assistant','content':'a'")
				       C("'role':'assistant','content':'b'") C_END("stop")},
	    {DIALECT_RESPONSES, R_START
		"{'type':'response.in_progress','sequence_number':1,'response':{'id':'resp_1',"
		"'status':'in_progress','model':'m','output':[]}}\n" R_START R_WORDS(0, "ab")
		    R_END("completed", "", R_MESSAGE("completed", R_TEXT("ab")))},
	    {DIALECT_CONVERSE, B_START B_START B_TEXT(0, "ab") B_CLOSE(0) B_END("end_turn")},
	    {DIALECT_GEMINI, G("{'text':'a'}") G_LAST("{'text':'b'}", "STOP")}};

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct trap x;

		trap_open(&x, DIALECT_MESSAGES, rows[i].upstream);
		trap_stream(&x, rows[i].lines);
		assert_int_equal(trap_count(trap_events(&x), "message_start"), 1);
		trap_told_is(&x, "text ab\nfinish end_turn\n");
		trap_free(&x);
	}
}

/* Wrong: reasoning that comes again is added to a block that is closed. Right: a new block. */
static void
second_reasoning_is_a_new_block(void **state)
{
	(void)state;
	trap_stream_told(DIALECT_MESSAGES, DIALECT_CHAT,
	    C("'reasoning_content':'one'") C("'content':'so'") C("'reasoning_content':'two'")
		C("'content':'then'") C_END("stop"),
	    "reasoning one (signed)\ntext so\nreasoning two (signed)\ntext then\nfinish "
	    "end_turn\n");
	trap_stream_told(DIALECT_RESPONSES, DIALECT_CHAT,
	    C("'reasoning_content':'one'") C("'content':'so'") C("'reasoning_content':'two'")
		C("'content':'then'") C_END("stop"),
	    "reasoning one\ntext so\nreasoning two\ntext then\nfinish completed\n");
}

static void
types_are(struct trap *x, const struct json *events, const char *const *types, size_t n)
{
	assert_int_equal(events->count, n);
	for (uint32_t i = 0; i < n; i++)
		trap_want(x, json_at(events, i), "type", arena_printf(x->a, "'%s'", types[i]));
}

/* Wrong: output_item.added and content_part.added are left out. Right: the whole order, always. */
static void
responses_order_is_complete(void **state)
{
	static const char *const text[] = {"response.created", "response.in_progress",
	    "response.output_item.added", "response.content_part.added",
	    "response.output_text.delta", "response.output_text.delta", "response.output_text.done",
	    "response.content_part.done", "response.output_item.done", "response.completed"};
	static const char *const call[] = {"response.created", "response.in_progress",
	    "response.output_item.added", "response.function_call_arguments.delta",
	    "response.function_call_arguments.done", "response.output_item.done",
	    "response.completed"};
	struct trap x;

	(void)state;
	trap_open(&x, DIALECT_RESPONSES, DIALECT_CHAT);
	trap_stream(&x, TWO_WORDS);
	types_are(&x, trap_events(&x), text, NELEM(text));
	trap_stream(&x, ONE_CALL);
	types_are(&x, trap_events(&x), call, NELEM(call));
	trap_free(&x);
}

/* Wrong: output_text.done after the first delta. Right: once, at the end, with the whole text. */
static void
text_is_done_once(void **state)
{
	struct trap x;
	const struct json *e;

	(void)state;
	trap_open(&x, DIALECT_RESPONSES, DIALECT_MESSAGES);
	trap_stream(&x, M_START M_TEXT(0) M_WORDS(0, "a") M_WORDS(0, "b") M_WORDS(0, "c") M_CLOSE(0)
			    M_END("end_turn"));
	e = trap_events(&x);
	assert_int_equal(trap_count(e, "response.output_text.delta"), 3);
	assert_int_equal(trap_count(e, "response.output_text.done"), 1);
	trap_want(&x, trap_event(e, "response.output_text.done", 0), "text", "'abc'");
	trap_want(&x, json_at(e, 7), "type", "'response.output_text.done'");
	trap_free(&x);
}

/* Wrong: a message item is announced without content. Right: with an empty list. */
static void
added_message_has_a_list_of_content(void **state)
{
	struct trap x;

	(void)state;
	trap_open(&x, DIALECT_RESPONSES, DIALECT_CHAT);
	trap_stream(&x, TWO_WORDS);
	trap_want(
	    &x, trap_event(trap_events(&x), "response.output_item.added", 0), "item.content", "[]");
	trap_free(&x);
}

/* Wrong: output_index is always 0, ids change between events. Right: counted; made once. */
static void
output_index_counts_and_ids_stay(void **state)
{
	struct trap x;
	const struct json *e, *added;

	(void)state;
	trap_open(&x, DIALECT_RESPONSES, DIALECT_CHAT);
	trap_stream(&x, C("'content':'so'") C_CALL(0, "c_1", "f", "{}") C_CALL(1, "c_2", "g", "{}")
			    C_END("tool_calls"));
	e = trap_events(&x);
	assert_int_equal(trap_count(e, "response.output_item.added"), 3);
	for (unsigned i = 0; i < 3; i++) {
		added = trap_event(e, "response.output_item.added", i);
		trap_want(&x, added, "output_index", arena_printf(x.a, "%u", i));
		trap_want(&x, trap_event(e, "response.output_item.done", i), "output_index",
		    arena_printf(x.a, "%u", i));
		assert_true(json_same(trap_node(added, "item.id"),
		    trap_node(trap_event(e, "response.output_item.done", i), "item.id")));
		assert_true(json_same(trap_node(added, "item.id"),
		    json_get(json_at(trap_node(
					 trap_event(e, "response.completed", 0), "response.output"),
				 i),
			"id")));
	}
	json_each (one, e)
		if (json_get(one, "item_id") != NULL) {
			int64_t at = 0;
			assert_true(json_int(json_get(one, "output_index"), &at));
			assert_true(json_same(json_get(one, "item_id"),
			    trap_node(trap_event(e, "response.output_item.added", (unsigned)at),
				"item.id")));
		}
	trap_free(&x);
}

/* Wrong: the output of response.completed is empty or partial. Right: all items, equal to the done
 * events. */
static void
completed_has_every_item(void **state)
{
	struct trap x;
	const struct json *e, *output;

	(void)state;
	trap_open(&x, DIALECT_RESPONSES, DIALECT_CHAT);
	trap_stream(&x, C("'reasoning_content':'hm'") C("'content':'so'") C_CALL(0, "c_1", "f",
			    "{\\'x\\':1}") C_CALL(1, "c_2", "g", "{}") C_END("tool_calls"));
	e = trap_events(&x);
	output = trap_node(trap_event(e, "response.completed", 0), "response.output");
	assert_int_equal(output->count, 4);
	for (uint32_t i = 0; i < 4; i++)
		assert_true(json_same(json_at(output, i),
		    json_get(trap_event(e, "response.output_item.done", i), "item")));
	trap_free(&x);
}

/* Wrong: events without sequence_number, texts without logprobs. Right: always there. */
static void
numbers_and_logprobs_are_always_there(void **state)
{
	static const char *const with[] = {
	    "response.output_text.delta", "response.output_text.done"};
	struct trap x;
	const struct json *e;

	(void)state;
	trap_open(&x, DIALECT_RESPONSES, DIALECT_GEMINI);
	trap_stream(&x, G("{'text':'a'}") G_LAST("{'text':'b'}", "STOP"));
	e = trap_events(&x);
	for (uint32_t i = 0; i < e->count; i++)
		trap_want(&x, json_at(e, i), "sequence_number", arena_printf(x.a, "%u", i));
	for (size_t i = 0; i < NELEM(with); i++)
		trap_want(&x, trap_event(e, with[i], 0), "logprobs", "[]");
	trap_want(&x, trap_event(e, "response.content_part.added", 0), "part.logprobs", "[]");
	trap_want(&x, trap_event(e, "response.content_part.done", 0), "part.annotations", "[]");
	trap_free(&x);
}

/* Wrong: response.completed without usage, or without its details. Right: complete, whatever the
 * upstream said. */
static void
completed_has_all_of_usage(void **state)
{
	struct trap x;
	const struct json *u;
	int64_t n;

	(void)state;
	trap_open(&x, DIALECT_RESPONSES, DIALECT_CHAT);
	trap_stream(&x, TWO_WORDS);
	trap_want(&x, trap_event(trap_events(&x), "response.completed", 0), "response.usage",
	    "{'input_tokens':7,'input_tokens_details':{'cached_tokens':0},'output_tokens':3,"
	    "'output_tokens_details':{'reasoning_tokens':0},'total_tokens':10}");
	trap_stream(&x, C("'content':'Hello'") C_FINISH("stop") "[DONE]\n");
	u = trap_node(trap_event(trap_events(&x), "response.completed", 0), "response.usage");
	assert_true(json_int(json_get(u, "input_tokens"), &n) && n > 0);
	assert_true(json_int(json_get(u, "output_tokens"), &n) && n > 0);
	trap_want(&x, u, "input_tokens_details.cached_tokens", "0");
	trap_want(&x, u, "output_tokens_details.reasoning_tokens", "0");
	trap_free(&x);
}

/* Wrong: [DONE] without a chunk that has finish_reason. Right: always one, also after calls. */
static void
finish_reason_before_done(void **state)
{
	(void)state;
	trap_stream_told(DIALECT_CHAT, DIALECT_MESSAGES,
	    M_START M_CALL(0, "c_1", "f") M_CLOSE(0) M_END("tool_use"),
	    "call c_1 f {}\nfinish tool_calls\n");
	/* the upstream proves the end without message_stop */
	trap_stream_told(DIALECT_CHAT, DIALECT_MESSAGES,
	    M_START M_TEXT(0) M_WORDS(0, "a") M_CLOSE(0) M_FINISH("end_turn"),
	    "text a\nfinish stop\n");
	trap_stream_told(
	    DIALECT_CHAT, DIALECT_GEMINI, G_LAST("{'text':'a'}", "STOP"), "text a\nfinish stop\n");
}

/* Wrong: the client waits on, because the upstream pings after its last event. Right: the end is
 * the terminal event. */
static void
the_terminal_event_is_the_end(void **state)
{
	struct trap x;
	struct span first, pings;
	size_t n;

	(void)state;
	trap_open(&x, DIALECT_MESSAGES, DIALECT_RESPONSES);
	first = trap_frames(&x,
	    R_START R_ITEM("added", 0, R_MESSAGE("in_progress", "")) R_WORDS(0, "ab")
		R_END("completed", "", R_MESSAGE("completed", R_TEXT("ab"))));
	pings = trap_frames(&x, ": ping\n\n{'type':'keepalive','sequence_number':9}\n");
	assert_int_equal(translate_open(x.t, FRAMING_SSE), 0);
	assert_int_equal(translate_take(x.t, first.p, first.n, &x.out), 0);
	assert_true(translate_state(x.t)->ended);
	trap_told_is(&x, "text ab\nfinish end_turn\n");
	n = x.out.len;
	assert_int_equal(translate_take(x.t, pings.p, pings.n, &x.out), 0);
	assert_int_equal(translate_idle(x.t, &x.out), 0);
	assert_int_equal(translate_end(x.t, &x.out), 0);
	assert_int_equal(x.out.len, n);
	trap_free(&x);
}

/* Wrong: an empty list of choices is taken for the end. Right: it is nothing. */
static void
no_choices_are_not_the_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(trap_clients); i++) {
		static const char *const finish[] = {"stop", "completed", "end_turn", "STOP"};
		struct trap x;

		trap_open(&x, trap_clients[i], DIALECT_CHAT);
		trap_stream(&x, C_HEAD "],'prompt_filter_results':[]}\n" C("'content':'a'") C_HEAD
		    "]}\n" C("'content':'b'") C_END("stop"));
		trap_told_is(&x, arena_printf(x.a, "text ab\nfinish %s\n", finish[i]));
		trap_free(&x);
	}
}

/* Wrong: a chunk without choices for a client that did not ask for usage. Right: only who asked. */
static void
no_choices_only_for_who_asked(void **state)
{
	static const struct trap_target to = {DIALECT_MESSAGES, "claude-sonnet-4-5", NULL};
	struct trap x;
	unsigned empty = 0;

	(void)state;
	trap_ask(&x, DIALECT_CHAT, &to,
	    "{'model':'m','stream':true,'messages':[{'role':'user','content':'Hi'}]}");
	trap_stream(&x, M_START M_TEXT(0) M_WORDS(0, "a") M_CLOSE(0) M_END("end_turn"));
	json_each (e, trap_events(&x)) {
		assert_int_equal(json_get(e, "choices")->count, 1);
		assert_null(json_get(e, "usage"));
	}
	trap_free(&x);
	trap_open(&x, DIALECT_CHAT, DIALECT_MESSAGES);
	trap_stream(&x, M_START M_TEXT(0) M_WORDS(0, "a") M_CLOSE(0) M_END("end_turn"));
	json_each (e, trap_events(&x)) {
		empty += json_get(e, "choices")->count == 0;
		assert_non_null(json_get(e, "usage"));
	}
	assert_int_equal(empty, 1);
	trap_free(&x);
}

/* Wrong: a finish in the middle ends the stream, and what follows is lost. Right: at the end of
 * input, the last one. */
static void
finish_in_the_middle_is_not_the_end(void **state)
{
	(void)state;
	trap_stream_told(DIALECT_MESSAGES, DIALECT_CHAT,
	    C("'content':'a'") C_FINISH("stop") C("'content':'b'") C_END("length"),
	    "text ab\nfinish max_tokens\n");
	trap_stream_told(DIALECT_CHAT, DIALECT_GEMINI,
	    G_LAST("{'text':'a'}", "STOP") G_LAST("{'text':'b'}", "MAX_TOKENS"),
	    "text ab\nfinish length\n");
	trap_stream_told(DIALECT_RESPONSES, DIALECT_GEMINI,
	    G_LAST("{'text':'a'}", "STOP") G("{'functionCall':{'id':'c_1','name':'f','args':{}}}"),
	    "text a\ncall c_1 f {}\nfinish completed\n");
}

/* Wrong: message_delta without usage. Right: always with it. */
static void
message_delta_has_usage(void **state)
{
	struct trap x;
	const struct json *d;
	int64_t n;

	(void)state;
	trap_open(&x, DIALECT_MESSAGES, DIALECT_CHAT);
	trap_stream(&x, C("'content':'Hello'") C_FINISH("stop") "[DONE]\n");
	d = trap_event(trap_events(&x), "message_delta", 0);
	assert_true(json_int(trap_node(d, "usage.output_tokens"), &n) && n > 0);
	assert_true(json_int(trap_node(d, "usage.input_tokens"), &n) && n > 0);
	trap_stream(&x, TWO_WORDS);
	d = trap_event(trap_events(&x), "message_delta", 0);
	trap_want(&x, d, "usage.output_tokens", "3");
	trap_want(&x, d, "usage.input_tokens", "7");
	trap_free(&x);
}

#define CHOICE(n, delta) C_HEAD "{'index':" #n ",'delta':{" delta "},'finish_reason':null}]}\n"
#define CHOICE_END(n, word) C_HEAD "{'index':" #n ",'delta':{},'finish_reason':'" word "'}]}\n"

/* Wrong: several choices are mixed into one text. Right: state for each. */
static void
choices_are_kept_apart(void **state)
{
	static const struct trap_target to = {DIALECT_CHAT, "model-x", NULL};
	static const struct trap_target gemini = {DIALECT_GEMINI, "gemini-2.5-pro", NULL};
	static const char request[] = "{'model':'m','n':2,'stream':true,'messages':[{'role':'user',"
				      "'content':'Hi'}]}";
	struct trap x;

	(void)state;
	trap_ask(&x, DIALECT_CHAT, &to, request);
	assert_int_equal(x.r, 0);
	trap_stream(&x, CHOICE(0, "'content':'a'") CHOICE(1, "'content':'x'")
			    CHOICE(0, "'content':'b'") CHOICE(1, "'content':'y'")
				CHOICE_END(1, "length") CHOICE_END(0, "stop") "[DONE]\n");
	trap_told_is(&x, "text ab\nfinish stop\ntext xy\nfinish length\n");
	trap_free(&x);
	trap_ask(&x, DIALECT_CHAT, &gemini, request);
	assert_int_equal(x.r, 0);
	trap_want(&x, x.body, "generationConfig.candidateCount", "2");
	trap_stream(&x,
	    "{'candidates':[{'index':1,'content':{'parts':[{'text':'x'}]}},{'index':0,'content':{"
	    "'parts':[{'text':'a'}]}}]}\n"
	    "{'candidates':[{'index':0,'content':{'parts':[{'text':'b'}]},'finishReason':'STOP'},"
	    "{'index':1,'content':{'parts':[{'text':'y'}]},'finishReason':'MAX_TOKENS'}]" G_USAGE);
	trap_told_is(&x, "text ab\nfinish stop\ntext xy\nfinish length\n");
	trap_free(&x);
}

/* Wrong: a Responses request without `stream` is answered with events. Right: it means false. */
static void
responses_without_stream_is_whole(void **state)
{
	static const struct trap_target to = {DIALECT_CHAT, "model-x", NULL};
	struct trap x;

	(void)state;
	trap_ask(&x, DIALECT_RESPONSES, &to, "{'model':'m','input':'Hi'}");
	assert_int_equal(x.r, 0);
	assert_false(translate_asked(x.t)->stream);
	assert_false(json_yes(json_get(x.body, "stream")));
	trap_whole(&x,
	    "{'id':'c','object':'chat.completion','created':1,'model':'m','choices':[{"
	    "'index':0,'message':{'role':'assistant','content':'Hello'},'finish_reason':"
	    "'stop'}],'usage':{'prompt_tokens':7,'completion_tokens':3,'total_tokens':10}}");
	assert_int_equal(x.r, 0);
	trap_want(&x, trap_out(&x), "object", "'response'");
	trap_want(&x, trap_out(&x), "output[0].content[0].text", "'Hello'");
	trap_free(&x);
}

/* Wrong: an error behind /v1/responses in another dialect's shape. Right: the client's, always. */
static void
errors_are_in_the_clients_shape(void **state)
{
	static const char *const shapes[] = {
	    "{'error':{'message':'no','type':'rate_limit_error','param':"
	    "null,'code':'rate_limit_exceeded'}}",
	    "{'error':{'message':'no','type':'rate_limit_error','param':null,'code':"
	    "'rate_limit_exceeded'}}",
	    "{'type':'error','error':{'type':'rate_limit_error','message':'no'},'request_id':'r'}",
	    "{'error':{'code':429,'message':'no','status':'RESOURCE_EXHAUSTED','details':[]}}"};
	const struct canon_error e = {
	    .class = ERROR_RATE_LIMIT, .status = 429, .message = span_of("no")};

	(void)state;
	for (size_t i = 0; i < NELEM(trap_clients); i++) {
		struct trap x;

		trap_open(&x, trap_clients[i], DIALECT_CHAT);
		assert_int_equal(
		    dialect_get(trap_clients[i])->encode_error(&e, span_of("r"), &x.out), 0);
		trap_want(&x, trap_out(&x), "", shapes[i]);
		assert_int_equal(dialect_get(trap_clients[i])->error_status(&e), 429);
		trap_free(&x);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_ghost_block_before_a_call),
	    cmocka_unit_test(message_start_comes_once),
	    cmocka_unit_test(second_reasoning_is_a_new_block),
	    cmocka_unit_test(responses_order_is_complete),
	    cmocka_unit_test(text_is_done_once),
	    cmocka_unit_test(added_message_has_a_list_of_content),
	    cmocka_unit_test(output_index_counts_and_ids_stay),
	    cmocka_unit_test(completed_has_every_item),
	    cmocka_unit_test(numbers_and_logprobs_are_always_there),
	    cmocka_unit_test(completed_has_all_of_usage),
	    cmocka_unit_test(finish_reason_before_done),
	    cmocka_unit_test(the_terminal_event_is_the_end),
	    cmocka_unit_test(no_choices_are_not_the_end),
	    cmocka_unit_test(no_choices_only_for_who_asked),
	    cmocka_unit_test(finish_in_the_middle_is_not_the_end),
	    cmocka_unit_test(message_delta_has_usage),
	    cmocka_unit_test(choices_are_kept_apart),
	    cmocka_unit_test(responses_without_stream_is_whole),
	    cmocka_unit_test(errors_are_in_the_clients_shape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
