/* Known traps of schemas, names and parameters. */
#include "t/unit/proto_traps.h"

#define CHAT \
	{ \
		DIALECT_CHAT, "model-x", NULL \
	}
#define OPENAI \
	{ \
		DIALECT_CHAT, "gpt-5.2", \
		    "{'openai':true,'schema':'openai','max_completion_tokens':true}" \
	}
#define RESPONSES \
	{ \
		DIALECT_RESPONSES, "gpt-5.2", NULL \
	}
#define CLAUDE \
	{ \
		DIALECT_MESSAGES, "claude-sonnet-4-5", NULL \
	}
#define SUBSET \
	{ \
		DIALECT_GEMINI, "gemini-2.5-pro", "{'schema':'gemini-subset'}" \
	}
#define FULL \
	{ \
		DIALECT_GEMINI, "gemini-2.5-pro", NULL \
	}
#define ASK "'messages':[{'role':'user','content':'Hi'}]"
#define FUNCTION(name, schema) \
	"{'type':'function','function':{'name':'" name "','parameters':" schema "}}"
#define TOOL(schema) "{'model':'m'," ASK ",'tools':[" FUNCTION("f", schema) "]}"
#define OBJECT(properties) "{'type':'object','properties':{" properties "}}"
#define AT "tools[0].functionDeclarations[0].parameters."
#define P AT "properties."

/* one property of a schema for the subset of Gemini */
#define ROW(schema, path, want) \
	{ \
		DIALECT_CHAT, SUBSET, TOOL(OBJECT("'x':" schema)), P path, want \
	}

/* Wrong: properties that are named like keywords are deleted. Right: only keywords of schema nodes.
 */
static void
properties_named_like_keywords(void **state)
{
	static const char *const names[] = {
	    "title", "format", "default", "pattern", "$ref", "const"};
	static const struct trap_target targets[] = {SUBSET, FULL, CLAUDE, CHAT};
	static const char *const roots[] = {"tools[0].functionDeclarations[0].parameters",
	    "tools[0].functionDeclarations[0].parametersJsonSchema", "tools[0].input_schema",
	    "tools[0].function.parameters"};

	(void)state;
	for (size_t t = 0; t < NELEM(targets); t++)
		for (size_t i = 0; i < NELEM(names); i++) {
			struct trap x;
			char request[512];

			snprintf(request, sizeof request, TOOL(OBJECT("'%s':{'type':'integer'}")),
			    names[i]);
			trap_ask(&x, DIALECT_CHAT, &targets[t], request);
			assert_int_equal(x.r, 0);
			if (t == 2 && names[i][0] == '$') /* a key that Anthropic does not take */
				assert_int_equal(
				    trap_node(x.body, "tools[0].input_schema.properties")->count,
				    1);
			else
				assert_non_null(json_get(
				    json_get(trap_node(x.body, roots[t]), "properties"), names[i]));
			trap_free(&x);
		}
}

/* Wrong: one keyword that Gemini does not know fails the whole request. Right: what is known is
 * kept, on every way in. */
static void
only_known_keywords_to_gemini(void **state)
{
	static const char *const unknown[] = {"additionalProperties", "uniqueItems", "prefixItems",
	    "$ref", "const", "enumDescriptions", "$schema", "exclusiveMinimum", "multipleOf", "if",
	    "examples", "patternProperties", "$defs", "oneOf", "allOf", "not"};
#define BAD \
	"{'$schema':'s','type':'object','additionalProperties':false,'$defs':{'d':{'type':'" \
	"string'}}," \
	"'properties':{'a':{'type':'array','uniqueItems':true,'prefixItems':[{'type':'string'}]}," \
	"'b':{'$ref':" \
	"'#/$defs/" \
	"d'},'c':{'const':'k'},'d':{'type':'string','enum':['u'],'enumDescriptions':['v']},'e':{" \
	"'type':'integer','exclusiveMinimum':1,'multipleOf':5},'g':{'type':'object','" \
	"patternProperties':{" \
	"'x':{}},'if':{},'not':{},'examples':[1]},'h':{'oneOf':[{'type':'string'},{'type':'" \
	"integer'}]},'i':{" \
	"'allOf':[{'type':'string'}]}}}"
	static const struct {
		enum dialect_id client;
		const char *request, *path;
	} ways[] = {{DIALECT_CHAT, TOOL(BAD), "tools[0].functionDeclarations[0].parameters"},
	    {DIALECT_RESPONSES,
		"{'model':'m','input':'Hi','tools':[{'type':'function','name':'f','parameters':" BAD
		"}]}",
		"tools[0].functionDeclarations[0].parameters"},
	    {DIALECT_MESSAGES,
		"{'model':'m','max_tokens':9," ASK ",'tools':[{'name':'f','input_schema':" BAD
		"}]}",
		"tools[0].functionDeclarations[0].parameters"},
	    {DIALECT_CHAT,
		"{'model':'m'," ASK
		",'response_format':{'type':'json_schema','json_schema':{'name':'r',"
		"'schema':" BAD "}}}",
		"generationConfig.responseSchema"}};
	static const struct trap_target to = SUBSET;

	(void)state;
	for (size_t w = 0; w < NELEM(ways); w++) {
		struct trap x;
		const char *schema;

		trap_ask(&x, ways[w].client, &to, ways[w].request);
		assert_int_equal(x.r, 0);
		schema = trap_at(&x, x.body, ways[w].path);
		assert_non_null(schema);
		assert_int_equal(
		    trap_node(trap_node(x.body, ways[w].path), "properties")->count, 8);
		for (size_t i = 0; i < NELEM(unknown); i++)
			if (strstr(schema, arena_printf(x.a, "\"%s\":", unknown[i])) != NULL)
				fail_msg("%s in %s", unknown[i], schema);
		trap_free(&x);
	}
}

/* Wrong: $ref is inlined in properties only. Right: anywhere. */
static void
references_at_any_depth(void **state)
{
#define DEEP \
	TOOL("{'type':'object','$defs':{'d':{'type':'string'}},'properties':{'x':{'type':'array'," \
	     "'items':{" \
	     "'type':'object','properties':{'y':{'anyOf':[{'$ref':'#/$defs/" \
	     "d'},{'type':'array','items':{" \
	     "'$ref':'#/$defs/d'}}]}}}}}}")
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, SUBSET, DEEP, P "x.items.properties.y.anyOf[0].type", "'STRING'"},
	    {DIALECT_CHAT, SUBSET, DEEP, P "x.items.properties.y.anyOf[1].items.type", "'STRING'"},
	    {DIALECT_CHAT, SUBSET, DEEP, AT "$defs", NULL}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: enum on numbers. Right: told in the description. */
static void
enum_of_numbers_is_described(void **state)
{
	static const struct trap_row rows[] = {
	    ROW("{'type':'integer','enum':[1,2]}", "x.enum", NULL),
	    ROW("{'type':'integer','description':'Size.','enum':[1,2]}", "x.description",
		"'Size. Allowed values: 1, 2.'"),
	    ROW("{'type':'string','enum':['a','b']}", "x.enum", "['a','b']")};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: an array without items. Right: items are added. */
static void
arrays_have_items(void **state)
{
	static const struct trap_row rows[] = {ROW("{'type':'array'}", "x.items.type", "'STRING'"),
	    {DIALECT_CHAT, FULL, TOOL(OBJECT("'x':{'type':'array'}")),
		"tools[0].functionDeclarations[0].parametersJsonSchema.properties.x.items.type",
		"'string'"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: a property whose value is no schema. Right: a type word is one, all else is any. */
static void
values_that_are_no_schemas(void **state)
{
	static const struct trap_row rows[] = {ROW("'string'", "x.type", "'STRING'"),
	    ROW("'nonsense'", "x", "{}"), ROW("7", "x", "{}"), ROW("true", "x", "{}")};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: anyOf with siblings. Right: alone at its node. */
static void
any_of_stands_alone(void **state)
{
	static const char row[] = TOOL(OBJECT(
	    "'x':{'type':'object','description':'d','properties':{'a':{'type':'string'}},'anyOf':["
	    "{'required':['a']},{'properties':{'b':{'type':'string'}}}]}"));
	static const struct trap_row rows[] = {{DIALECT_CHAT, SUBSET, row, P "x.type", NULL},
	    {DIALECT_CHAT, SUBSET, row, P "x.properties", NULL},
	    {DIALECT_CHAT, SUBSET, row, P "x.description", "'d'"},
	    {DIALECT_CHAT, SUBSET, row, P "x.anyOf[0].type", "'OBJECT'"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: keys of vendors pass. Right: dropped. */
static void
vendor_keys_are_dropped(void **state)
{
	static const struct trap_row rows[] = {
	    ROW("{'type':'string','~standard':{},'x-order':1}", "x.~standard", NULL),
	    ROW("{'type':'string','~standard':{},'x-order':1}", "x.x-order", NULL),
	    ROW("{'type':'string','x-order':1}", "x.type", "'STRING'")};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: a root without a type. Right: object. */
static void
the_root_is_an_object(void **state)
{
	static const char request[] = TOOL("{'properties':{'x':{'type':'string'}}}");
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, SUBSET, request, AT "type", "'OBJECT'"},
	    {DIALECT_CHAT, OPENAI, request, "tools[0].function.parameters.type", "'object'"},
	    {DIALECT_CHAT, RESPONSES, request, "tools[0].parameters.type", "'object'"},
	    {DIALECT_CHAT, CLAUDE, request, "tools[0].input_schema.type", "'object'"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: names that begin with a digit. Right: `_` in front, and the client's own in the answer. */
static void
names_that_begin_with_a_digit(void **state)
{
	static const struct trap_target to = FULL;
	struct trap x;

	(void)state;
	trap_ask(&x, DIALECT_CHAT, &to,
	    "{'model':'m','stream':true," ASK
	    ",'tools':[" FUNCTION("3d", "{'type':'object'}") "]}");
	trap_want(&x, x.body, "tools[0].functionDeclarations[0].name", "'_3d'");
	trap_stream(&x, G_LAST("{'functionCall':{'id':'c_1','name':'_3d','args':{}}}", "STOP"));
	trap_told_is(&x, "call c_1 3d {}\nfinish tool_calls\n");
	trap_free(&x);
}

/* Wrong: $ref within a tool's result is taken for a schema. Right: data is data. */
static void
references_in_results_are_data(void **state)
{
	static const char request[] =
	    "{'model':'m','messages':[{'role':'user','content':'Hi'},{'role':'assistant','content':"
	    "null,"
	    "'tool_calls':[{'id':'c_1','type':'function','function':{'name':'f','arguments':'{\\'$"
	    "ref\\':"
	    "\\'#/a\\'}'}}]},{'role':'tool','tool_call_id':'c_1','content':'{\\'$ref\\':\\'#/"
	    "b\\'}'}],"
	    "'tools':[" FUNCTION("f", "{'type':'object'}") "]}";
	static const struct trap_target targets[] = {SUBSET, FULL, CLAUDE, RESPONSES, CHAT};

	(void)state;
	for (size_t i = 0; i < NELEM(targets); i++) {
		struct trap x;
		const char *body;

		trap_ask(&x, DIALECT_CHAT, &targets[i], request);
		assert_int_equal(x.r, 0);
		body = trap_compact(x.a, x.body);
		assert_non_null(strstr(body, "#/a"));
		assert_non_null(strstr(body, "#/b"));
		if (i < 2) /* which Gemini refuses as an object */
			trap_want(&x, x.body, "contents[2].parts[0].functionResponse.response",
			    "{'result':'{\\'$ref\\':\\'#/b\\'}'}");
		trap_free(&x);
	}
}

#define LONG_NAME \
	"name_" \
	"456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"

/* Wrong: names of more than 64 characters reach who takes 64. Right: cut with a hash, and mapped
 * back. */
static void
long_names_are_cut_and_mapped_back(void **state)
{
	static const struct trap_target targets[] = {OPENAI, CLAUDE};
	struct trap x;
	const struct json *name;

	(void)state;
	for (size_t i = 0; i < NELEM(targets); i++) {
		trap_ask(&x, DIALECT_MESSAGES, &targets[i],
		    "{'model':'m','max_tokens':9,'stream':true," ASK ",'tools':[{'name':'" LONG_NAME
		    "','input_schema':{'type':'object'}}]}");
		assert_int_equal(x.r, 0);
		if (i == 1) {
			trap_want(&x, x.body, "tools[0].name", "'" LONG_NAME "'");
		} else {
			name = trap_node(x.body, "tools[0].function.name");
			assert_int_equal(name->raw.n, 64 + 2);
			trap_stream(
			    &x, arena_printf(x.a,
				    C("'tool_calls':[{'index':0,'id':'c_1','type':'function',"
				      "'function':{'name':%.*s,'arguments':'{}'}}]")
					C_END("tool_calls"),
				    (int)name->raw.n, name->raw.p));
			trap_told_is(&x, "call c_1 " LONG_NAME " {}\nfinish tool_use\n");
		}
		trap_free(&x);
	}
}

#define LIMITED "{'model':'m','max_tokens':100," ASK "}"
#define LIMITED_NEW "{'model':'m','max_completion_tokens':100," ASK "}"

/* Wrong: max_tokens to reasoning models of OpenAI, max_completion_tokens to others. Right: by row
 * and model. */
static void
the_limit_has_the_targets_name(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, OPENAI, LIMITED, "max_completion_tokens", "100"},
	    {DIALECT_CHAT, OPENAI, LIMITED, "max_tokens", NULL},
	    {DIALECT_CHAT, CHAT, LIMITED_NEW, "max_tokens", "100"},
	    {DIALECT_CHAT, CHAT, LIMITED_NEW, "max_completion_tokens", NULL}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

#define STOPS "{'model':'m','stream':true,'stop':['a','b','','c','c','d','e','END']," ASK "}"

/* Wrong: too many stop sequences are sent, or all dropped in silence. Right: cut and named; done by
 * the gateway where the target has none. */
static void
stops_are_cut_or_emulated(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, CHAT, STOPS, "stop", "['a','b','c','d']"},
	    {DIALECT_CHAT, FULL, STOPS, "generationConfig.stopSequences", "['a','b','c','d','e']"},
	    {DIALECT_CHAT, RESPONSES, STOPS, "stop", NULL}};
	static const struct trap_target none = RESPONSES, four = CHAT;
	struct trap x;

	(void)state;
	trap_rows(rows, NELEM(rows));
	trap_ask(&x, DIALECT_CHAT, &four, STOPS);
	assert_non_null(memmem(translate_dropped(x.t).p, translate_dropped(x.t).n, "stop", 4));
	trap_free(&x);
	trap_ask(&x, DIALECT_MESSAGES, &none,
	    "{'model':'m','max_tokens':99,'stream':true,'stop_sequences':['END']," ASK "}");
	assert_int_equal(x.r, 0);
	trap_stream(&x,
	    R_START R_ITEM("added", 0, R_MESSAGE("in_progress", "")) R_WORDS(0, "so E") R_WORDS(0,
		"ND more") R_END("completed", "", R_MESSAGE("completed", R_TEXT("so END more"))));
	trap_told_is(&x, "text so \nfinish stop_sequence\n");
	trap_free(&x);
}

#define SHAPED \
	"'response_format':{'type':'json_schema','json_schema':{'name':'r','schema':{'type':'" \
	"object'," \
	"'properties':{'n':{'type':'integer'}}}}}"
#define OLD \
	{ \
		DIALECT_MESSAGES, "claude-3-5-sonnet", NULL \
	}

/* Wrong: the tool that stands for a JSON mode swallows the client's tools, or is seen as a call.
 * Right: only where there are no others, and its arguments are the text. */
static void
the_json_tool_is_not_seen(void **state)
{
	static const struct trap_target to = OLD;
	struct trap x;
	const char *name;

	(void)state;
	trap_ask(&x, DIALECT_CHAT, &to, "{'model':'m','stream':true," SHAPED "," ASK "}");
	assert_int_equal(x.r, 0);
	trap_want(&x, x.body, "tool_choice.type", "'tool'");
	name = trap_at(&x, x.body, "tools[0].name");
	trap_stream(
	    &x, arena_printf(x.a,
		    M_START "{'type':'content_block_start','index':0,'content_block':{'type':"
			    "'tool_use','id':'c_1','name':%s,'input':{}}}\n" M_ARGS(0, "{\\'n\\':")
				M_ARGS(0, "1}") M_CLOSE(0) M_END("tool_use"),
		    name));
	trap_told_is(&x, "text {'n':1}\nfinish stop\n");
	trap_free(&x);
	trap_ask(&x, DIALECT_CHAT, &to,
	    "{'model':'m'," SHAPED "," ASK ",'tools':[" FUNCTION("f", "{'type':'object'}") "]}");
	assert_int_equal(x.r, 0);
	assert_int_equal(json_get(x.body, "tools")->count, 1);
	trap_want(&x, x.body, "tools[0].name", "'f'");
	trap_want(&x, x.body, "tool_choice", NULL);
	trap_free(&x);
}

/* Wrong: the default of Responses makes optional parameters required. Right: strict:false is sent.
 */
static void
strict_is_said_to_responses(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, RESPONSES, TOOL(OBJECT("'x':{'type':'string'}")), "tools[0].strict",
		"false"},
	    {DIALECT_MESSAGES, RESPONSES,
		"{'model':'m','max_tokens':99," ASK
		",'tools':[{'name':'f','input_schema':{'type':'object'}}]}",
		"tools[0].strict", "false"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

/* Wrong: max_output_tokens under 16. Right: raised. */
static void
the_least_limit_of_responses(void **state)
{
	static const struct trap_row rows[] = {
	    {DIALECT_CHAT, RESPONSES, "{'model':'m','max_tokens':1," ASK "}", "max_output_tokens",
		"16"},
	    {DIALECT_CHAT, RESPONSES, LIMITED, "max_output_tokens", "100"}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

#define CHOSEN "{'model':'m','tools':[],'tool_choice':'auto','parallel_tool_calls':true," ASK "}"

/* Wrong: tool_choice without tools. Right: dropped. */
static void
no_choice_without_tools(void **state)
{
	static const struct trap_row rows[] = {{DIALECT_CHAT, CHAT, CHOSEN, "tool_choice", NULL},
	    {DIALECT_CHAT, OPENAI, CHOSEN, "tool_choice", NULL},
	    {DIALECT_CHAT, OPENAI, CHOSEN, "parallel_tool_calls", NULL},
	    {DIALECT_CHAT, RESPONSES, CHOSEN, "tool_choice", NULL},
	    {DIALECT_CHAT, CLAUDE, CHOSEN, "tool_choice", NULL},
	    {DIALECT_CHAT, FULL, CHOSEN, "toolConfig", NULL}};

	(void)state;
	trap_rows(rows, NELEM(rows));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(properties_named_like_keywords),
	    cmocka_unit_test(only_known_keywords_to_gemini),
	    cmocka_unit_test(references_at_any_depth),
	    cmocka_unit_test(enum_of_numbers_is_described),
	    cmocka_unit_test(arrays_have_items),
	    cmocka_unit_test(values_that_are_no_schemas),
	    cmocka_unit_test(any_of_stands_alone),
	    cmocka_unit_test(vendor_keys_are_dropped),
	    cmocka_unit_test(the_root_is_an_object),
	    cmocka_unit_test(names_that_begin_with_a_digit),
	    cmocka_unit_test(references_in_results_are_data),
	    cmocka_unit_test(long_names_are_cut_and_mapped_back),
	    cmocka_unit_test(the_limit_has_the_targets_name),
	    cmocka_unit_test(stops_are_cut_or_emulated),
	    cmocka_unit_test(the_json_tool_is_not_seen),
	    cmocka_unit_test(strict_is_said_to_responses),
	    cmocka_unit_test(the_least_limit_of_responses),
	    cmocka_unit_test(no_choice_without_tools),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
