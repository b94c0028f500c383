/* Known traps of errors in streams, signs of life and framing. */
#include "t/unit/proto_traps.h"

#define M_ERROR "{'type':'error','error':{'type':'overloaded_error','message':'busy'}}\n"
#define C_ERROR "{'error':{'message':'busy','type':'server_error','code':503}}\n"
#define G_ERROR "{'error':{'code':503,'message':'busy','status':'UNAVAILABLE'}}\n"

static const struct {
	enum dialect_id upstream;
	const char *first, *error;
} failures[] = {{DIALECT_CHAT, C("'content':'half'"), C_ERROR},
    {DIALECT_MESSAGES, M_START M_TEXT(0) M_WORDS(0, "half"), M_ERROR},
    {DIALECT_GEMINI, G("{'text':'half'}"), G_ERROR},
    {DIALECT_RESPONSES, R_START R_ITEM("added", 0, R_MESSAGE("in_progress", "")) R_WORDS(0, "half"),
	"{'type':'error','code':'server_error','message':'busy','param':null,'sequence_number':3}"
	"\n"},
    {DIALECT_OLLAMA, "{'model':'m','message':{'role':'assistant','content':'half'},'done':false}\n",
	"{'error':'busy'}\n"}};

/* Wrong: an error in a stream that began with 200 is ignored. Right: told in the client's dialect;
 * before the first word nothing is out and another target can be asked. */
static void
an_error_in_a_stream_is_told(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(failures); i++)
		for (size_t c = 0; c < NELEM(trap_clients); c++) {
			struct trap x;
			const char *told;

			trap_open(&x, trap_clients[c], failures[i].upstream);
			trap_stream(
			    &x, arena_printf(x.a, "%s%s", failures[i].first, failures[i].error));
			told = trap_told(&x);
			if (strstr(told, "error ") == NULL || strstr(told, "busy") == NULL ||
			    strstr(told, "finish") != NULL)
				fail_msg("%s of %s: %s", trap_words[trap_clients[c]],
				    trap_words[failures[i].upstream], told);
			trap_stream(&x, failures[i].error);
			assert_int_equal(x.out.len, 0);
			assert_true(translate_state(x.t)->failed);
			trap_free(&x);
		}
}

/* Wrong: an error chunk with ordinary choices beside it is taken for content. Right: `error` wins.
 */
static void
error_beside_choices_wins(void **state)
{
	static const char both[] =
	    C("'content':'half'") "{'id':'c1','object':'chat.completion.chunk','created':1,'model':"
				  "'m',"
				  "'error':{'code':502,'message':'busy'},'choices':[{'index':0,'"
				  "delta':{"
				  "'content':''},'finish_reason':'error'}]}\n[DONE]\n";
	struct trap x;

	(void)state;
	trap_stream_told(DIALECT_MESSAGES, DIALECT_CHAT, both, "text half\nerror busy\n");
	trap_stream_told(DIALECT_GEMINI, DIALECT_CHAT, both, "text half\nerror busy\n");
	trap_open(&x, DIALECT_MESSAGES, DIALECT_CHAT);
	trap_whole(&x,
	    "{'id':'c','object':'chat.completion','model':'m','error':{'code':502,'message':"
	    "'busy'},'choices':[{'index':0,'message':{'role':'assistant','content':'half'},"
	    "'finish_reason':'stop'}]}");
	assert_int_equal(x.r, E_DENIED);
	assert_true(span_is(x.err.message, "busy"));
	trap_free(&x);
}

/* Wrong: a character or a CRLF cut by a read garbles the text. Right: decoded as it comes. */
static void
cut_characters_and_line_ends(void **state)
{
	static const char lines[] =
	    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":"
	    "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\xa6\"}}]}\r\n\r\n"
	    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"!\"},"
	    "\"finish_reason\":\"stop\"}]}\r\r\ndata: [DONE]\r\n\r\n";
	static const char *const finish[] = {"stop", "completed", "end_turn", "STOP"};

	(void)state;
	for (size_t c = 0; c < NELEM(trap_clients); c++) {
		struct trap x;

		trap_open(&x, trap_clients[c], DIALECT_CHAT);
		trap_bytes(&x, span_of(lines)); /* one byte at a time, too */
		trap_told_is(
		    &x, arena_printf(x.a, "text \xc3\xa4\xe2\x82\xac\xf0\x9f\x8c\xa6!\nfinish %s\n",
			    finish[c]));
		trap_free(&x);
	}
}

static void
idle_after_a_word(enum dialect_id client, const char *want)
{
	struct trap x;
	struct span first;
	size_t n;

	trap_open(&x, client, client == DIALECT_CHAT ? DIALECT_GEMINI : DIALECT_CHAT);
	first =
	    trap_frames(&x, client == DIALECT_CHAT ? G("{'text':'half'}") : C("'content':'half'"));
	assert_int_equal(translate_open(x.t, FRAMING_SSE), 0);
	assert_int_equal(translate_take(x.t, first.p, first.n, &x.out), 0);
	n = x.out.len;
	assert_true(n > 0);
	assert_int_equal(translate_idle(x.t, &x.out), 0);
	if (strstr(buf_cstr(&x.out) + n, trap_text(x.a, want)) == NULL)
		fail_msg("%s: %s", trap_words[client], x.out.data + n);
	trap_free(&x);
}

/* Wrong: a comment, which does not wind the timer of a Responses client. Right: an event with data.
 */
static void
responses_sign_of_life_has_data(void **state)
{
	(void)state;
	idle_after_a_word(DIALECT_RESPONSES,
	    "event: response.in_progress\ndata: {'type':'response.in_progress',");
}

/* Wrong: nothing on a slow Messages stream. Right: a ping. */
static void
slow_messages_streams_ping(void **state)
{
	(void)state;
	idle_after_a_word(DIALECT_MESSAGES, "event: ping\ndata: {'type': 'ping'}\n\n");
	idle_after_a_word(DIALECT_CHAT, ": keepalive\n\n");
}

/* Wrong: a comment, at which Google's reader of lines fails. Right: a chunk with an empty text, and
 * nothing before the first. */
static void
no_comments_for_gemini(void **state)
{
	struct trap x;

	(void)state;
	idle_after_a_word(DIALECT_GEMINI,
	    "data: {'candidates':[{'content':{'parts':[{'text':''}],'role':'model'}");
	trap_open(&x, DIALECT_GEMINI, DIALECT_CHAT);
	assert_int_equal(translate_open(x.t, FRAMING_SSE), 0);
	assert_int_equal(translate_idle(x.t, &x.out), 0);
	assert_int_equal(x.out.len, 0);
	assert_int_equal(translate_begin(x.t, &x.out), 0);
	assert_int_equal(translate_idle(x.t, &x.out), 0);
	assert_true(x.out.len == 0 || memchr(x.out.data, ':', 1) == NULL);
	trap_free(&x);
}

/* Wrong: an error for a Gemini stream as an event, which its SDK does not see. Right: bare JSON. */
static void
gemini_error_is_bare(void **state)
{
	struct trap x;
	const char *at;

	(void)state;
	trap_open(&x, DIALECT_GEMINI, DIALECT_CHAT);
	trap_stream(&x, C("'content':'half'") C_ERROR);
	at = strstr(buf_cstr(&x.out), "{\"error\":");
	assert_non_null(at);
	assert_memory_equal(at - 2, "\r\n", 2); /* the line begins with it */
	assert_string_equal(at + strlen(at) - 2, "\n\n");
	trap_want(&x, trap_parse(x.a, at, strlen(at)), "error.status", "'UNAVAILABLE'");
	trap_want(&x, trap_parse(x.a, at, strlen(at)), "error.code", "503");
	trap_free(&x);
}

static void
tagged(const char *tags, const char *lines, const char *want)
{
	struct trap_target to = {DIALECT_CHAT, "model-x", tags};
	struct trap x;

	trap_ask(&x, DIALECT_CHAT, &to, trap_request(DIALECT_CHAT));
	assert_int_equal(x.r, 0);
	trap_stream(&x, lines);
	trap_told_is(&x, want);
	trap_free(&x);
}

/* Wrong: tags cut over chunks leak, an orphan stays, tags in code are eaten. Right: only at the
 * start, wherever they are cut. */
static void
think_tags_in_text(void **state)
{
	(void)state;
	tagged("{'tags':'auto'}",
	    C("'content':' <th'") C("'content':'ink>hm</thi'") C("'content':'nk> so'")
		C_END("stop"),
	    "reasoning hm\ntext so\nfinish stop\n");
	tagged(
	    "{'tags':'auto'}", C("'content':'</think>so'") C_END("stop"), "text so\nfinish stop\n");
	tagged("{'tags':'auto'}", C("'content':'use `<think>x</think>`'") C_END("stop"),
	    "text use `<think>x</think>`\nfinish stop\n");
	tagged("{'tags':'auto'}", C("'content':'<th'") C("'content':'ird>'") C_END("stop"),
	    "text <third>\nfinish stop\n");
	tagged("{'tags':'implied'}", C("'content':'hm</th'") C("'content':'ink>so'") C_END("stop"),
	    "reasoning hm\ntext so\nfinish stop\n");
	tagged("{'tags':'implied'}", C("'content':'only'") C("'content':' text'") C_END("stop"),
	    "reasoning only text\ntext only text\nfinish stop\n");
	tagged("{'tags':'none'}", C("'content':'<think>x</think>'") C_END("stop"),
	    "text <think>x</think>\nfinish stop\n");
}

/* ---- our own ---- */

/* Raw JSON of an upstream that prints it pretty: wherever it is repeated to a client, no line end
 * of it comes into a line of the stream. */
static void
no_line_end_inside_a_line(void **state)
{
	static const char request[] =
	    "{'model':'m','stream':true,'stream_options':{'include_usage':true},"
	    "'logprobs':true,\n'messages':[{'role':'user','content':'Hi'}],"
	    "'tools':[{\n'type':'function','function':{\n'name':'f',"
	    "'parameters':{\n'type':\n'object'}}}]}";
	static const char responses[] =
	    "{'model':'m','stream':true,'input':'Hi','include':['message.output_text.logprobs'],"
	    "'metadata':{\n'a':\n'b'},'text':{\n'format':{\n'type':'text'}},'tool_choice':{\n'type'"
	    ":"
	    "'function',\n'name':'f'},'tools':[{\n'type':'function',\n'name':'f','parameters':{\n"
	    "'type':\n'object',\n'properties':{\n}}}]}";
	static const struct {
		enum dialect_id upstream;
		const char *lines; /* ~ stands for a line end within a frame */
	} rows[] = {
	    {DIALECT_CHAT, C_HEAD
		"{'index':0,'delta':{~'content':'a',~'annotations':[~{~'type':'url_citation',~"
		"'url_citation':{~'start_index':0,'end_index':1,~'url':'https://a',~'title':'t'"
		"}~}~],'reasoning_details':[{~'type':'reasoning.text',~'text':'h',"
		"'signature':~'s','index':0~}]},~'logprobs':{~'content':[~{~'token':'a',~"
		"'logprob':~-0.5,'bytes':[~97~],'top_logprobs':[~]~}~]~},~'finish_reason':null"
		"}]}\n" C("~'tool_calls':[{~'index':0,'id':'c_1','function':{~'name':'f',"
			  "'arguments':{~'x':~1~}}}]") C_FINISH("tool_calls") C_HEAD
		"],'usage':{~'prompt_tokens':7,~'completion_tokens':3,~'cost':~0.5,"
		"'prompt_tokens_details':{~'cached_tokens':1~}}}\n[DONE]\n"},
	    {DIALECT_MESSAGES,
		M_START M_OPEN(0,
		    "~'type':'server_tool_use',~'id':'srvtoolu_1','name':'web_search',"
		    "'input':{~}") M_CLOSE(0) M_OPEN(1,
		    "~'type':'web_search_tool_result','tool_use_id':'srvtoolu_1',"
		    "'content':[~{~'type':'web_search_result','url':'https://a',"
		    "'title':'t','encrypted_content':'e'~}~]") M_CLOSE(1) M_TEXT(2) M_WORDS(2,
		    "a") M_DELTA(2, "~'type':'citations_delta','citation':{~'type':"
				    "'web_search_result_location',~'url':'https://a','title':'t',"
				    "'cited_text':'c','encrypted_index':'i'~}") M_CLOSE(2) M_OPEN(3,
		    "'type':'tool_use','id':'c_1','name':'f',"
		    "'input':{~'x':~1~}")
		    M_CLOSE(
			3) "{'type':'message_delta','delta':{'stop_reason':'tool_use'},~'usage':"
			   "{~'output_tokens':3,~'server_tool_use':{~'web_search_requests':1~}}"
			   "}\n{'type':'message_stop'}\n"},
	    {DIALECT_GEMINI,
		"{'candidates':[{~'content':{'parts':[{~'text':'a'},{~'executableCode':{~'language'"
		":"
		"'PYTHON','code':'1'~}},{'codeExecutionResult':{~'outcome':'OUTCOME_OK','output':'"
		"1'~}"
		"},{~'functionCall':{~'name':'f','args':{~'x':~1~}},~'thoughtSignature':'c2ln'}]},"
		"'finishReason':'STOP','groundingMetadata':{~'webSearchQueries':[~'q'],"
		"'groundingChunks':[{~'web':{~'uri':'https://"
		"a','title':'t'}}],'groundingSupports':[{~"
		"'segment':{~'startIndex':0,'endIndex':1,'text':'a'},'groundingChunkIndices':[~0]}]"
		"},"
		"'logprobsResult':{~'chosenCandidates':[{~'token':'a','logProbability':~-0.5}],"
		"'topCandidates':[{~'candidates':[{~'token':'a','logProbability':-0.5}]}]},'index':"
		"0}],"
		"~'usageMetadata':{~'promptTokenCount':7,~'candidatesTokenCount':3,"
		"'promptTokensDetails':[{~'modality':'TEXT','tokenCount':7}]}}\n"},
	    {DIALECT_RESPONSES,
		R_START R_ITEM("added", 0,
		    "{~'id':'ws_1',~'type':'web_search_call','status':"
		    "'completed','action':{~'type':'search','query':'q'}}") R_ITEM("done", 0,
		    "{~'id':'ws_1',~'type':'web_search_call','status':'completed',"
		    "'action':{~'type':'search',~'query':'q'}}")
		    R_ITEM("added", 1, R_MESSAGE("in_progress", "")) R_WORDS(1, "a")
			R_END("completed", "'metadata':{~},",
			    "{~'id':'ws_1',~'type':'web_search_call','status':'completed',"
			    "'action':{~'type':'search'}}," R_MESSAGE("completed",
				"{~'type':'output_text','text':'a','annotations':[{~'type':"
				"'url_citation','start_index':0,'end_index':1,'url':'https://a',"
				"'title':'t'}],'logprobs':[{~'token':'a','logprob':~-0.5,'bytes':[~"
				"97],'top_logprobs':[]}]}") ",{~'type':'function_call','id':'fc_1',"
							    "'call_id':'c_1','name':'f','arguments'"
							    ":'{\\n}'}")}};

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++)
		for (size_t c = 0; c < NELEM(trap_clients); c++) {
			const struct trap_target to = {rows[i].upstream, "model-x", NULL};
			enum dialect_id client = trap_clients[c];
			struct trap x;
			char *lines, *p;
			struct span bytes;

			trap_ask(&x, client, &to,
			    client == DIALECT_CHAT        ? request
			    : client == DIALECT_RESPONSES ? responses
							  : trap_request(client));
			assert_int_equal(x.r, 0);
			/* one `data:` for each line of a frame */
			bytes = trap_frames(&x, rows[i].lines);
			p = lines = arena_alloc(x.a, 8 * bytes.n);
			assert_non_null(lines);
			for (size_t k = 0; k < bytes.n; k++)
				if (bytes.p[k] == '~')
					p = stpcpy(p, "\ndata: ");
				else
					*p++ = bytes.p[k];
			trap_bytes(&x, (struct span){lines, (size_t)(p - lines)});
			if (!translate_state(x.t)->ended)
				fail_msg("%s of %s did not end: %s", trap_words[client],
				    trap_words[rows[i].upstream],
				    x.out.len > 0 ? buf_cstr(&x.out) : "nothing");
			assert_non_null(strstr(trap_told(&x), "finish ")); /* parses each line */
			trap_free(&x);
		}
}

/* Arguments for a call that has ended on the wire: an error, and nothing behind it. */
static void
a_failure_found_on_the_way_is_the_last(void **state)
{
	struct trap x;

	(void)state;
	trap_open(&x, DIALECT_MESSAGES, DIALECT_CHAT);
	trap_stream(&x, C_CALL(0, "c_1", "f", "{}") C_CALL(1, "c_2", "g", "{") C_ARGS(0, "{}")
			    C("'content':'more'") C_END("tool_calls"));
	trap_told_is(
	    &x, "call c_1 f {}\nerror The provider went on with a tool call that had ended\n");
	assert_true(translate_state(x.t)->failed);
	assert_false(translate_state(x.t)->ended);
	trap_free(&x);
}

/* Nothing at all, from an upstream of each dialect: a failure that another target may mend. */
static void
an_empty_stream_is_a_failure(void **state)
{
	(void)state;
	for (int d = DIALECT_CHAT; d < DIALECTS; d++)
		for (size_t c = 0; c < NELEM(trap_clients); c++) {
			struct trap x;

			trap_open(&x, trap_clients[c], (enum dialect_id)d);
			trap_bytes(&x, span_of(""));
			assert_int_equal(x.out.len, 0);
			assert_true(translate_state(x.t)->failed);
			trap_free(&x);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_error_in_a_stream_is_told),
	    cmocka_unit_test(error_beside_choices_wins),
	    cmocka_unit_test(cut_characters_and_line_ends),
	    cmocka_unit_test(responses_sign_of_life_has_data),
	    cmocka_unit_test(slow_messages_streams_ping),
	    cmocka_unit_test(no_comments_for_gemini),
	    cmocka_unit_test(gemini_error_is_bare),
	    cmocka_unit_test(think_tags_in_text),
	    cmocka_unit_test(no_line_end_inside_a_line),
	    cmocka_unit_test(an_empty_stream_is_a_failure),
	    cmocka_unit_test(a_failure_found_on_the_way_is_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
