/* Known traps of usage. */
#include "t/unit/proto_traps.h"

#define M_USAGE_START(usage) \
	"{'type':'message_start','message':{'id':'msg_1','type':'message','role':'assistant','" \
	"model':" \
	"'m','content':[],'stop_reason':null,'usage':{" usage "}}}\n"
#define M_USAGE_END(usage) \
	M_TEXT(0) \
	M_WORDS(0, "a") \
	M_CLOSE(0) "{'type':'message_delta','delta':{'stop_reason':'end_turn'}," \
		   "'usage':{" usage "}}\n{'type':'message_stop'}\n"
#define C_USED(usage) C("'content':'a'") C_FINISH("stop") C_HEAD "],'usage':{" usage "}}\n[DONE]\n"

/* The usage that the client is told, at its place. */
static const struct json *
used(struct trap *x)
{
	static const char *const paths[DIALECTS] = {[DIALECT_CHAT] = "[-1].usage",
	    [DIALECT_RESPONSES] = "[-1].response.usage",
	    [DIALECT_MESSAGES] = "[-2].usage",
	    [DIALECT_GEMINI] = "[-1].usageMetadata"};

	return trap_node(trap_events(x), paths[x->client]);
}

static void
is(enum dialect_id client, enum dialect_id upstream, const char *lines, const char *want[][2])
{
	struct trap x;

	trap_open(&x, client, upstream);
	trap_stream(&x, lines);
	for (size_t i = 0; want[i][0] != NULL; i++)
		trap_want(&x, used(&x), want[i][0], want[i][1]);
	trap_free(&x);
}
#define IS(client, upstream, lines, ...) \
	is(client, upstream, lines, (const char *[][2]){__VA_ARGS__, {NULL, NULL}})

/* Wrong: cached tokens are added or taken off twice. Right: a part of the prompt there, beside it
 * here. */
static void
cached_tokens_count_once(void **state)
{
	static const char claude[] =
	    M_USAGE_START("'input_tokens':10,'cache_read_input_tokens':100,"
			  "'cache_creation_input_tokens':1000,'output_tokens':1")
		M_USAGE_END("'output_tokens':5");
	static const char openai[] =
	    C_USED("'prompt_tokens':1110,'completion_tokens':5,'total_tokens':1115,"
		   "'prompt_tokens_details':{'cached_tokens':100}");

	(void)state;
	IS(DIALECT_CHAT, DIALECT_MESSAGES, claude, {"prompt_tokens", "1110"},
	    {"prompt_tokens_details.cached_tokens", "100"}, {"total_tokens", "1115"});
	IS(DIALECT_RESPONSES, DIALECT_MESSAGES, claude, {"input_tokens", "1110"},
	    {"input_tokens_details.cached_tokens", "100"}, {"total_tokens", "1115"});
	IS(DIALECT_GEMINI, DIALECT_MESSAGES, claude, {"promptTokenCount", "1110"},
	    {"cachedContentTokenCount", "100"}, {"totalTokenCount", "1115"});
	IS(DIALECT_MESSAGES, DIALECT_CHAT, openai, {"input_tokens", "1010"},
	    {"cache_read_input_tokens", "100"}, {"cache_creation_input_tokens", "0"},
	    {"output_tokens", "5"});
	IS(DIALECT_MESSAGES, DIALECT_CONVERSE,
	    B_START B_TEXT(0, "a")
		B_CLOSE(0) "messageStop {'stopReason':'end_turn'}\n"
			   "metadata {'usage':{'inputTokens':10,'outputTokens':5,"
			   "'totalTokens':1115,'cacheReadInputTokens':100,"
			   "'cacheWriteInputTokens':1000}}\n",
	    {"input_tokens", "10"}, {"cache_read_input_tokens", "100"},
	    {"cache_creation_input_tokens", "1000"});
	IS(DIALECT_CHAT, DIALECT_CONVERSE,
	    B_START B_TEXT(0, "a")
		B_CLOSE(0) "messageStop {'stopReason':'end_turn'}\n"
			   "metadata {'usage':{'inputTokens':10,'outputTokens':5,"
			   "'totalTokens':1115,'cacheReadInputTokens':100,"
			   "'cacheWriteInputTokens':1000}}\n",
	    {"prompt_tokens", "1110"}, {"prompt_tokens_details.cached_tokens", "100"});
}

/* Wrong: the numbers of message_start and message_delta are added or mixed. Right: later ones
 * replace, the input as a group from one event. */
static void
later_numbers_replace(void **state)
{
	(void)state;
	IS(DIALECT_CHAT, DIALECT_MESSAGES,
	    M_USAGE_START("'input_tokens':10,'cache_read_input_tokens':100,'output_tokens':1")
		M_USAGE_END("'input_tokens':30,'output_tokens':5"),
	    {"prompt_tokens", "30"}, {"completion_tokens", "5"}, {"total_tokens", "35"});
	IS(DIALECT_CHAT, DIALECT_MESSAGES,
	    M_USAGE_START("'input_tokens':10,'cache_read_input_tokens':100,'output_tokens':1")
		M_USAGE_END("'output_tokens':5"),
	    {"prompt_tokens", "110"}, {"completion_tokens", "5"});
	IS(DIALECT_CHAT, DIALECT_GEMINI,
	    G_LAST("{'text':'a'}", "STOP") G_LAST("{'text':'b'}", "STOP"), {"prompt_tokens", "7"},
	    {"completion_tokens", "3"});
}

/* Wrong: reasoning beside completion_tokens is lost. Right: where the total says so, it is added.
 */
static void
reasoning_beside_completion(void **state)
{
	(void)state;
	IS(DIALECT_MESSAGES, DIALECT_CHAT,
	    C_USED("'prompt_tokens':7,'completion_tokens':3,'total_tokens':110,"
		   "'completion_tokens_details':{'reasoning_tokens':100}"),
	    {"output_tokens", "103"});
	IS(DIALECT_MESSAGES, DIALECT_CHAT,
	    C_USED("'prompt_tokens':7,'completion_tokens':103,'total_tokens':110,"
		   "'completion_tokens_details':{'reasoning_tokens':100}"),
	    {"output_tokens", "103"});
	IS(DIALECT_RESPONSES, DIALECT_CHAT,
	    C_USED("'prompt_tokens':7,'completion_tokens':3,'total_tokens':110,"
		   "'completion_tokens_details':{'reasoning_tokens':100}"),
	    {"output_tokens", "103"}, {"output_tokens_details.reasoning_tokens", "100"});
}

/* Wrong: input_tokens 0 in message_start, so that a client's meter stands still. Right: what the
 * upstream said, else an estimate. */
static void
message_start_has_an_estimate(void **state)
{
	struct trap x;
	int64_t n;

	(void)state;
	trap_open(&x, DIALECT_MESSAGES, DIALECT_CHAT);
	trap_stream(&x, C_USED("'prompt_tokens':7,'completion_tokens':3,'total_tokens':10"));
	assert_true(
	    json_int(trap_node(trap_events(&x), "[0].message.usage.input_tokens"), &n) && n > 0);
	trap_want(&x, used(&x), "input_tokens", "7");
	trap_free(&x);
	trap_open(&x, DIALECT_MESSAGES, DIALECT_CONVERSE);
	trap_stream(&x, B_START B_TEXT(0, "a") B_CLOSE(0) B_END("end_turn"));
	assert_true(
	    json_int(trap_node(trap_events(&x), "[0].message.usage.input_tokens"), &n) && n > 0);
	trap_free(&x);
}

/* Wrong: the split of cache writes by their life is lost. Right: both are carried. */
static void
cache_writes_keep_their_split(void **state)
{
	struct trap x;
	const struct canon_usage *u;

	(void)state;
	trap_open(&x, DIALECT_MESSAGES, DIALECT_MESSAGES);
	trap_stream(&x, M_USAGE_START("'input_tokens':10,'cache_creation_input_tokens':300,"
				      "'cache_creation':{'ephemeral_5m_input_tokens':100,"
				      "'ephemeral_1h_input_tokens':200},'output_tokens':1")
			    M_USAGE_END("'output_tokens':5"));
	u = &translate_state(x.t)->usage;
	assert_int_equal(u->in_cache_write, 300);
	assert_int_equal(u->in_cache_write_5m, 100);
	assert_int_equal(u->in_cache_write_1h, 200);
	trap_want(&x, trap_events(&x), "[0].message.usage.cache_creation",
	    "{'ephemeral_5m_input_tokens':100,'ephemeral_1h_input_tokens':200}");
	trap_free(&x);
}

/* Wrong: usage is not asked for and 0 is put down. Right: always asked for where it is known; who
 * did not ask is not sent it. */
static void
usage_is_always_asked_for(void **state)
{
	static const struct trap_row rows[] = {{DIALECT_MESSAGES, {DIALECT_CHAT, "model-x", NULL},
						   "{'model':'m','max_tokens':9,'stream':true,'"
						   "messages':[{'role':'user','content':'Hi'}]}",
						   "stream_options", "{'include_usage':true}"},
	    {DIALECT_CHAT, {DIALECT_CHAT, "model-x", NULL},
		"{'model':'m','stream':true,'messages':[{'role':'user','content':'Hi'}]}",
		"stream_options", "{'include_usage':true}"},
	    {DIALECT_MESSAGES, {DIALECT_CHAT, "model-x", NULL},
		"{'model':'m','max_tokens':9,'messages':[{'role':'user','content':'Hi'}]}",
		"stream_options", NULL},
	    {DIALECT_MESSAGES, {DIALECT_CHAT, "model-x", "{'stream_options':false}"},
		"{'model':'m','max_tokens':9,'stream':true,'messages':[{'role':'user','content':'"
		"Hi'}]}",
		"stream_options", NULL}};
	struct trap x;

	(void)state;
	trap_rows(rows, NELEM(rows));
	trap_ask(&x, rows[1].client, &rows[1].to, rows[1].request);
	trap_stream(&x, C_USED("'prompt_tokens':7,'completion_tokens':3,'total_tokens':10"));
	json_each (e, trap_events(&x))
		assert_null(json_get(e, "usage"));
	assert_int_equal(translate_state(x.t)->usage.in_total, 7);
	trap_free(&x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cached_tokens_count_once),
	    cmocka_unit_test(later_numbers_replace),
	    cmocka_unit_test(reasoning_beside_completion),
	    cmocka_unit_test(message_start_has_an_estimate),
	    cmocka_unit_test(cache_writes_keep_their_split),
	    cmocka_unit_test(usage_is_always_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
