/* Shaping of all but the turns (spec translation 6, 8.2, 8.3, 10 to 12). */
#include "t/unit/proto_shape_fixture.h"

#define OLD_CLAUDE "claude-sonnet-4-20250514"
#define NEW_CLAUDE "claude-opus-4-8"
#define GEMINI_2 "gemini-2.5-flash"
#define GEMINI_3 "gemini-3-flash-preview"

static void
check(struct fixture *f, const char *in)
{
	fixture_say(f, in);
	if (fixture_shape(f) != 0)
		fail_msg("refused: %s", fixture_cstr(f, f->err.message));
}

static void
check_span(struct fixture *f, struct span got, const char *want)
{
	assert_string_equal(fixture_cstr(f, got), want != NULL ? want : "-");
}

/* ---- 6.3, 6.4, 6.5: the pure ones ---- */

static void
test_tool_names(void **state)
{
	static const struct {
		enum profile_names rule;
		const char *in, *out;
	} table[] = {
	    {NAMES_64, "get_weather-2", "get_weather-2"},
	    {NAMES_64, "get.weather", "get_weather"},
	    {NAMES_64, "1get", "1get"},
	    {NAMES_GEMINI, "1get", "_1get"},
	    {NAMES_GEMINI, "-get", "_-get"},
	    {NAMES_GEMINI, "a.b:c", "a.b:c"},
	    {NAMES_GEMINI, "gr\xc3\xbc\xc3\x9f", "gr____"},
	    {NAMES_COHERE, "a-b", "a_b"},
	    {NAMES_COHERE, "9", "_9"},
	    {NAMES_64, "", "_e3b0c442"},
	    {NAMES_64, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_635361c4"},
	    {NAMES_128, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
	};
	struct arena *a = arena_new(1u << 20);

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct span in = span_of(table[i].in), out = shape_tool_name(a, in, table[i].rule),
			    again = shape_tool_name(a, out, table[i].rule);

		assert_int_equal(out.n, strlen(table[i].out));
		assert_memory_equal(out.p, table[i].out, out.n);
		assert_ptr_equal(again.p, out.p);
		if (span_same(in, out))
			assert_ptr_equal(out.p, in.p);
	}
	arena_free(a);
}

static void
test_call_ids(void **state)
{
	static const struct {
		enum profile_ids rule;
		const char *in, *out;
	} table[] = {
	    {IDS_ANY, "call 1/\xc3\xa4", "call 1/\xc3\xa4"},
	    {IDS_WORD, "toolu_01-A", "toolu_01-A"},
	    {IDS_WORD, "call.1", "call_1_e8b7b7b3793f991d"},
	    {IDS_WORD64, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_635361c48bb9eab1"},
	    {IDS_64, "functions.a:0", "functions.a:0"},
	    {IDS_MISTRAL, "abcDEF123", "abcDEF123"},
	    {IDS_MISTRAL, "abcDEF12_", NULL},
	    {IDS_MISTRAL, "call_1", "RWu906W5H"},
	    {IDS_WORD, "", "_e3b0c44298fc1c14"},
	};
	struct arena *a = arena_new(1u << 20);

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct span in = span_of(table[i].in), out = shape_call_id(a, in, table[i].rule);

		if (table[i].out != NULL) {
			assert_int_equal(out.n, strlen(table[i].out));
			assert_memory_equal(out.p, table[i].out, out.n);
		}
		assert_true(shape_call_id_fits(out, table[i].rule));
		assert_int_equal(shape_call_id_fits(in, table[i].rule), span_same(in, out));
	}
	arena_free(a);
}

static void
test_arguments(void **state)
{
	static const struct {
		bool custom;
		const char *in, *out;
	} table[] = {
	    {false, "", "{}"},
	    {false, " \n", "{}"},
	    {false, "{ \"a\" : 1.0 }", "{ \"a\" : 1.0 }"},
	    {false, "[1,2]", "{\"_raw\":\"[1,2]\"}"},
	    {false, "{\"a\":", "{\"_raw\":\"{\\\"a\\\":\"}"},
	    {false, "null", "{\"_raw\":\"null\"}"},
	    {false, "\"{\\\"a\\\":1}\"", "{\"a\":1}"},
	    {false, "\"text\"", "{\"_raw\":\"\\\"text\\\"\"}"},
	    {true, "ls -l", "{\"input\":\"ls -l\"}"},
	    {true, "", "{\"input\":\"\"}"},
	    {true, "{\"a\":1}", "{\"input\":\"{\\\"a\\\":1}\"}"},
	};
	struct arena *a = arena_new(1u << 20);

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct span out = shape_arguments_object(a, span_of(table[i].in), table[i].custom);

		assert_int_equal(out.n, strlen(table[i].out));
		assert_memory_equal(out.p, table[i].out, out.n);
	}
	assert_memory_equal(shape_arguments_object(a, (struct span){NULL, 0}, false).p, "{}", 2);
	arena_free(a);
}

/* ---- names in the conversation ---- */

static void
test_names_on_the_wire(void **state)
{
	struct fixture f;
	struct canon_tool *t;

	(void)state;
	fixture_open(&f, DIALECT_RESPONSES, DIALECT_CHAT, "llama");
	fixture_tool(&f, "a.b");
	fixture_tool(&f, "a_b");
	fixture_tool(&f, "a.b");
	t = fixture_tool(&f, "run");
	t->namespace = span_of("mcp");
	t = fixture_tool(&f, "patch");
	t->kind = TOOL_CUSTOM;
	f.q->tool_choice = (struct canon_tool_choice){.kind = CHOICE_NAMED, .name = span_of("a.b")};
	check(&f, "u=q\na!1,a.b,{};;!2,a_b,{};;&3,patch,do \"it\"\nt@1,-,x;;@2,-,y;;@3,-,z");
	/* the one that fits keeps its name, the other gets a hash; of twins the first counts */
	assert_string_equal(fixture_print(&f, f.out.q),
	    "u=q\na!1,a_b_2e7336dc,{};;!2,a_b,{};;!3,patch,{\"input\":\"do \\\"it\\\"\"}\n"
	    "t@1,a_b_2e7336dc,x;;@2,a_b,y;;@3,patch,z");
	t = TAILQ_FIRST(&f.out.q->tools);
	check_span(&f, t->name, "a_b_2e7336dc");
	check_span(&f, (t = TAILQ_NEXT(t, link))->name, "a_b");
	check_span(&f, (t = TAILQ_NEXT(t, link))->name, "mcp__run");
	assert_null(t->namespace.p);
	check_span(&f, (t = TAILQ_NEXT(t, link))->name, "patch");
	assert_int_equal(t->kind, TOOL_FUNCTION);
	assert_non_null(memmem(t->schema.p, t->schema.n, "\"input\"", 7));
	assert_null(TAILQ_NEXT(t, link));
	check_span(&f, f.out.q->tool_choice.name, "a_b_2e7336dc");
	check_span(&f, f.out.tools->wire, "a_b_2e7336dc");
	check_span(&f, f.out.tools->name, "a.b");
	check_span(&f, f.out.tools->next->namespace, "mcp");
	check_span(&f, f.out.tools->next->name, "run");
	check_span(&f, f.out.tools->next->next->wire, "patch");
	assert_true(f.out.tools->next->next->custom);
	assert_null(f.out.tools->next->next->next);
	fixture_close(&f);

	/* OpenAI has free-form tools itself */
	fixture_open(&f, DIALECT_RESPONSES, DIALECT_CHAT, "gpt-5.2");
	f.p.openai = true;
	t = fixture_tool(&f, "patch");
	t->kind = TOOL_CUSTOM;
	check(&f, "u=q\na&3,patch,do\nt@3,-,z");
	assert_string_equal(fixture_print(&f, f.out.q), "u=q\na&3,patch,do\nt@3,patch,z");
	assert_null(f.out.tools);
	fixture_close(&f);
}

/* ---- 6.1 ---- */

static void
test_declarations(void **state)
{
	struct fixture f;
	struct canon_tool *t;

	(void)state;
	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	t = fixture_tool(&f, "f");
	t->schema = (struct span){NULL, 0};
	t->description = span_of("");
	check(&f, "u=q");
	t = TAILQ_FIRST(&f.out.q->tools);
	check_span(&f, t->schema, "{\"type\":\"object\",\"properties\":{}}");
	assert_null(t->description.p);
	fixture_close(&f);

	fixture_open(&f, DIALECT_MESSAGES, DIALECT_CONVERSE, OLD_CLAUDE);
	t = fixture_tool(&f, "f");
	t->examples = span_of("[{\"x\":1}]");
	t->defer_loading = true;
	check(&f, "u=q");
	t = TAILQ_FIRST(&f.out.q->tools);
	check_span(&f, t->description, "f\n\nExamples: [{\"x\":1}]");
	assert_null(t->examples.p);
	assert_false(t->defer_loading);
	fixture_close(&f);

	/* trap: strict by default at Responses makes optional parameters required */
	fixture_open(&f, DIALECT_CHAT, DIALECT_RESPONSES, "gpt-4o");
	fixture_tool(&f, "f");
	check(&f, "u=q");
	assert_int_equal(TAILQ_FIRST(&f.out.q->tools)->strict, 0);
	fixture_close(&f);
	for (int strict = 0; strict < 2; strict++) {
		fixture_open(&f, DIALECT_RESPONSES, DIALECT_CHAT, "gpt-4o");
		f.p.openai = true;
		t = fixture_tool(&f, "f");
		if (strict)
			t->schema = span_of(
			    "{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"string\"}},"
			    "\"required\":[\"x\"],\"additionalProperties\":false}");
		check(&f, "u=q");
		assert_int_equal(TAILQ_FIRST(&f.out.q->tools)->strict, strict ? 1 : -1);
		fixture_close(&f);
	}

	/* who asks for strict gets it: optional ones become required */
	fixture_open(&f, DIALECT_MESSAGES, DIALECT_RESPONSES, "gpt-4o");
	fixture_tool(&f, "f")->strict = 1;
	check(&f, "u=q");
	t = TAILQ_FIRST(&f.out.q->tools);
	assert_int_equal(t->strict, 1);
	assert_non_null(memmem(t->schema.p, t->schema.n, "\"required\":[\"x\"]", 16));
	fixture_close(&f);
	for (int old = 0; old < 2; old++) {
		fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, old ? OLD_CLAUDE : NEW_CLAUDE);
		t = fixture_tool(&f, "f");
		t->strict = 1;
		t->schema = span_of("{\"type\":\"object\",\"properties\":{\"x\":{\"type\":"
				    "\"integer\",\"minimum\":1}}}");
		check(&f, "u=q");
		t = TAILQ_FIRST(&f.out.q->tools);
		assert_int_equal(t->strict, old ? -1 : 1);
		assert_int_equal(memmem(t->schema.p, t->schema.n, "\"minimum\"", 9) != NULL, old);
		fixture_close(&f);
	}
	/* others do not know the word */
	fixture_open(&f, DIALECT_MESSAGES, DIALECT_CHAT, "llama");
	fixture_tool(&f, "f")->strict = 1;
	check(&f, "u=q");
	assert_int_equal(TAILQ_FIRST(&f.out.q->tools)->strict, -1);
	fixture_close(&f);

	/* trap: Converse without tools though the history has some */
	fixture_open(&f, DIALECT_CHAT, DIALECT_CONVERSE, OLD_CLAUDE);
	check(&f, "u=q\na!1,f.x,{};;!2,g,{};;!3,g,{}\nt@1,-,a");
	t = TAILQ_FIRST(&f.out.q->tools);
	check_span(&f, t->name, "f_x");
	check_span(&f, (t = TAILQ_NEXT(t, link))->name, "g");
	assert_null(TAILQ_NEXT(t, link));
	fixture_close(&f);

	/* trap: tool_choice without tools */
	fixture_open(&f, DIALECT_CHAT, DIALECT_RESPONSES, "gpt-4o");
	f.q->tool_choice.kind = CHOICE_ANY;
	f.q->parallel_tools = 0;
	check(&f, "u=q");
	assert_int_equal(f.out.q->tool_choice.kind, CHOICE_UNSET);
	assert_int_equal(f.out.q->parallel_tools, -1);
	fixture_close(&f);

	/* a schema beyond all limits */
	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	t = fixture_tool(&f, "f");
	{
		struct buf b = BUF_INIT(1u << 20);

		for (int i = 0; i < 100; i++)
			buf_str(&b, "{\"type\":\"array\",\"items\":");
		buf_str(&b, "{}");
		for (int i = 0; i < 100; i++)
			buf_str(&b, "}");
		t->schema = (struct span){arena_strndup(f.a, b.data, b.len), b.len};
		buf_clear(&b);
	}
	fixture_say(&f, "u=q");
	assert_int_equal(fixture_shape(&f), E_DENIED);
	assert_int_equal(f.err.class, ERROR_BAD_REQUEST);
	fixture_close(&f);
}

/* ---- 6.7 ---- */

static void
test_server_tools(void **state)
{
	static const struct {
		enum dialect_id to;
		const char *model;
		bool function, row, kept, parameter;
	} table[] = {
	    {DIALECT_MESSAGES, NEW_CLAUDE, true, true, true, false},
	    {DIALECT_MESSAGES, NEW_CLAUDE, true, false, false, false},
	    {DIALECT_GEMINI, GEMINI_2, false, true, true, false},
	    {DIALECT_GEMINI, GEMINI_2, true, true, false, false},
	    {DIALECT_GEMINI, GEMINI_3, true, true, true, false},
	    {DIALECT_CHAT, "gpt-4o-search-preview", true, true, false, true},
	    {DIALECT_COHERE, "command-a", true, true, false, false},
	};
	struct canon_tool *t;
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		bool noted = !table[i].kept && !table[i].parameter;

		fixture_open(&f, DIALECT_RESPONSES, table[i].to, table[i].model);
		f.p.web_search = table[i].row;
		if (table[i].function)
			fixture_tool(&f, "f");
		t = fixture_tool(&f, "web_search");
		t->kind = TOOL_WEB_SEARCH;
		t->raw = span_of("{\"type\":\"web_search\"}");
		check(&f, "u=q");
		t = TAILQ_LAST(&f.out.q->tools, canon_tools);
		assert_int_equal(t != NULL && t->kind == TOOL_WEB_SEARCH, table[i].kept);
		assert_int_equal(f.out.q->web_search.p != NULL, table[i].parameter);
		check_span(&f, f.out.dropped, noted ? "tools" : NULL);
		fixture_close(&f);
	}

	/* chosen, but not to be had */
	fixture_open(&f, DIALECT_RESPONSES, DIALECT_COHERE, "command-a");
	t = fixture_tool(&f, "web_search");
	t->kind = TOOL_WEB_SEARCH;
	f.q->tool_choice = (struct canon_tool_choice){.kind = CHOICE_NAMED, .name = t->name};
	fixture_say(&f, "u=q");
	assert_int_equal(fixture_shape(&f), E_DENIED);
	check_span(&f, f.err.param, "tool_choice");
	assert_int_equal(f.err.class, ERROR_UNSUPPORTED);
	fixture_close(&f);
}

/* ---- 6.2 ---- */

static const struct {
	enum dialect_id to;
	const char *model;
	enum canon_choice_kind in, out;
	const char *dropped, *tools, *turns; /* NULL: as they were */
} choices[] = {
    {DIALECT_MESSAGES, OLD_CLAUDE, CHOICE_AUTO, CHOICE_AUTO, NULL, "fg", NULL},
    {DIALECT_MESSAGES, OLD_CLAUDE, CHOICE_ANY, CHOICE_ANY, NULL, "fg", NULL},
    {DIALECT_MESSAGES, OLD_CLAUDE, CHOICE_NAMED, CHOICE_NAMED, NULL, "fg", NULL},
    {DIALECT_MESSAGES, "claude-fable-5", CHOICE_ANY, CHOICE_AUTO, "tool_choice", "fg", NULL},
    {DIALECT_MESSAGES, OLD_CLAUDE, CHOICE_ALLOWED, CHOICE_AUTO, NULL, "g", NULL},
    {DIALECT_GEMINI, GEMINI_2, CHOICE_ALLOWED, CHOICE_ALLOWED, NULL, "fg", NULL},
    {DIALECT_COHERE, "command-a", CHOICE_AUTO, CHOICE_UNSET, NULL, "fg", NULL},
    {DIALECT_COHERE, "command-a", CHOICE_NAMED, CHOICE_ANY, NULL, "g", NULL},
    {DIALECT_COHERE, "command-a", CHOICE_NONE, CHOICE_NONE, NULL, "fg", NULL},
    {DIALECT_CONVERSE, OLD_CLAUDE, CHOICE_NONE, CHOICE_UNSET, NULL, "fg",
	"s=Do not call tools in this reply.\nu=q"},
    {DIALECT_OLLAMA, "llama3", CHOICE_NONE, CHOICE_UNSET, NULL, "", NULL},
    {DIALECT_OLLAMA, "llama3", CHOICE_ANY, CHOICE_UNSET, "tool_choice", "fg", NULL},
    {DIALECT_OLLAMA, "llama3", CHOICE_NAMED, CHOICE_UNSET, "tool_choice", "fg", NULL},
    {DIALECT_RESPONSES, "gpt-5", CHOICE_NAMED, CHOICE_NAMED, NULL, "fg", NULL},
};

static void
test_choice(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(choices); i++) {
		struct canon_text_list g = {.text = span_of("g")};
		char tools[8] = "";
		struct canon_tool *t;
		struct fixture f;

		fixture_open(&f, DIALECT_CHAT, choices[i].to, choices[i].model);
		fixture_tool(&f, "f");
		fixture_tool(&f, "g");
		f.q->tool_choice = (struct canon_tool_choice){
		    .kind = choices[i].in, .name = span_of("g"), .allowed = &g};
		check(&f, "u=q");
		assert_int_equal(f.out.q->tool_choice.kind, choices[i].out);
		check_span(&f, f.out.dropped, choices[i].dropped);
		TAILQ_FOREACH (t, &f.out.q->tools, link)
			strncat(tools, t->name.p, 1);
		assert_string_equal(tools, choices[i].tools);
		assert_string_equal(fixture_print(&f, f.out.q),
		    choices[i].turns != NULL ? choices[i].turns : "u=q");
		fixture_close(&f);
	}
}

static void
test_choice_more(void **state)
{
	struct canon_text_list g = {.text = span_of("g")};
	struct fixture f;

	(void)state;
	/* a tool that an earlier call used cannot go */
	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	fixture_tool(&f, "f");
	fixture_tool(&f, "g");
	f.q->tool_choice =
	    (struct canon_tool_choice){.kind = CHOICE_ALLOWED, .allowed = &g, .allowed_any = true};
	check(&f, "u=q\na!1,f,{}\nt@1,-,x");
	assert_int_equal(f.out.q->tool_choice.kind, CHOICE_ANY);
	assert_non_null(TAILQ_NEXT(TAILQ_FIRST(&f.out.q->tools), link));
	fixture_close(&f);

	/* a tool that is not there */
	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	fixture_tool(&f, "f");
	f.q->tool_choice = (struct canon_tool_choice){.kind = CHOICE_NAMED, .name = span_of("z")};
	fixture_say(&f, "u=q");
	assert_int_equal(fixture_shape(&f), E_DENIED);
	fixture_close(&f);

	/* trap: forced tool choice with thinking */
	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	fixture_tool(&f, "f");
	f.q->tool_choice.kind = CHOICE_ANY;
	f.q->reasoning.effort = EFFORT_HIGH;
	check(&f, "u=q");
	assert_int_equal(f.out.q->tool_choice.kind, CHOICE_AUTO);
	check_span(&f, f.out.dropped, "tool_choice");
	fixture_close(&f);

	/* rows that know less */
	for (int named = 0; named < 2; named++) {
		fixture_open(&f, DIALECT_MESSAGES, DIALECT_CHAT, "kimi-k2");
		f.p.no_required_choice = !named;
		f.p.no_named_choice = named;
		f.p.no_parallel_tools = true;
		fixture_tool(&f, "f");
		f.q->parallel_tools = 0;
		f.q->tool_choice = (struct canon_tool_choice){
		    .kind = named ? CHOICE_NAMED : CHOICE_ANY, .name = span_of("f")};
		check(&f, "u=q");
		assert_int_equal(f.out.q->tool_choice.kind, CHOICE_AUTO);
		assert_int_equal(f.out.q->parallel_tools, -1);
		check_span(&f, f.out.dropped, "tool_choice,parallel_tool_calls");
		fixture_close(&f);
	}

	/* one call at a time: said inside the choice, and not where nobody can say it */
	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	fixture_tool(&f, "f");
	f.q->parallel_tools = 0;
	check(&f, "u=q");
	assert_int_equal(f.out.q->tool_choice.kind, CHOICE_AUTO);
	assert_int_equal(f.out.q->parallel_tools, 0);
	fixture_close(&f);
	fixture_open(&f, DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2);
	fixture_tool(&f, "f");
	f.q->parallel_tools = 0;
	check(&f, "u=q");
	assert_int_equal(f.out.q->parallel_tools, -1);
	check_span(&f, f.out.dropped, "parallel_tool_calls");
	fixture_close(&f);
}

/* ---- 8.2, 8.3 ---- */

static const struct {
	enum dialect_id from, to;
	const char *model;
	struct canon_reasoning in;
	int64_t max; /* 0: unset; negative: a visible limit */
	enum canon_think mode;
	enum canon_effort effort;
	int64_t budget, total; /* 0: none */
	const char *dropped;
} efforts[] = {
    {DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, {0}, 0, THINK_UNSET, EFFORT_UNSET, 0, 32000, NULL},
    {DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, {.effort = EFFORT_LOW}, 0, THINK_ON, EFFORT_UNSET,
	2048, 34048, NULL},
    {DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, {.effort = EFFORT_MEDIUM}, -1000, THINK_ON,
	EFFORT_UNSET, 10240, 11240, NULL},
    {DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, {.effort = EFFORT_MEDIUM}, 8000, THINK_ON,
	EFFORT_UNSET, 6400, 8000, NULL},
    {DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, {.effort = EFFORT_MEDIUM}, 2000, THINK_OFF,
	EFFORT_UNSET, 0, 2000, NULL},
    {DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, {.effort = EFFORT_XHIGH}, 0, THINK_ON,
	EFFORT_UNSET, 32000, 64000, NULL},
    {DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, {.effort = EFFORT_NONE}, 0, THINK_OFF,
	EFFORT_UNSET, 0, 32000, NULL},
    {DIALECT_CHAT, DIALECT_MESSAGES, "claude-3-5-haiku-latest", {.effort = EFFORT_LOW}, 0,
	THINK_UNSET, EFFORT_UNSET, 0, 8192, "reasoning_effort"},
    {DIALECT_CHAT, DIALECT_MESSAGES, "some-model", {.effort = EFFORT_LOW}, 0, THINK_ON,
	EFFORT_UNSET, 2048, 10240, NULL},
    {DIALECT_GEMINI, DIALECT_MESSAGES, OLD_CLAUDE, {.has_budget = true, .budget = 128}, 4000,
	THINK_ON, EFFORT_UNSET, 1024, 4000, NULL},
    {DIALECT_GEMINI, DIALECT_MESSAGES, OLD_CLAUDE, {.has_budget = true, .budget = 9000}, 4000,
	THINK_ON, EFFORT_UNSET, 3999, 4000, NULL},
    {DIALECT_GEMINI, DIALECT_MESSAGES, OLD_CLAUDE, {.has_budget = true, .budget = 0}, 4000,
	THINK_OFF, EFFORT_UNSET, 0, 4000, NULL},
    {DIALECT_CHAT, DIALECT_MESSAGES, "claude-opus-4-6", {.effort = EFFORT_XHIGH}, 0, THINK_ADAPTIVE,
	EFFORT_MAX, 0, 81152, NULL},
    {DIALECT_CHAT, DIALECT_MESSAGES, NEW_CLAUDE, {.effort = EFFORT_XHIGH}, 0, THINK_ADAPTIVE,
	EFFORT_XHIGH, 0, 81152, NULL},
    {DIALECT_CHAT, DIALECT_MESSAGES, NEW_CLAUDE, {.effort = EFFORT_MINIMAL}, 0, THINK_ADAPTIVE,
	EFFORT_LOW, 0, 33024, NULL},
    {DIALECT_CHAT, DIALECT_MESSAGES, NEW_CLAUDE, {.effort = EFFORT_HIGH}, 1500, THINK_ADAPTIVE,
	EFFORT_LOW, 0, 1500, NULL},
    {DIALECT_CHAT, DIALECT_MESSAGES, "claude-fable-5", {.effort = EFFORT_NONE}, 5000,
	THINK_ADAPTIVE, EFFORT_LOW, 0, 5000, NULL},
    {DIALECT_GEMINI, DIALECT_MESSAGES, NEW_CLAUDE, {.has_budget = true, .budget = 20000}, 0,
	THINK_ADAPTIVE, EFFORT_HIGH, 0, 52000, NULL},
    {DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2, {.effort = EFFORT_MINIMAL}, 0, THINK_ON, EFFORT_UNSET,
	512, 0, NULL},
    {DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2, {.effort = EFFORT_XHIGH}, 0, THINK_ON, EFFORT_UNSET,
	24576, 0, NULL},
    {DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2, {.effort = EFFORT_MEDIUM}, -500, THINK_ON,
	EFFORT_UNSET, 8192, 8692, NULL},
    {DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2, {.effort = EFFORT_NONE}, 0, THINK_OFF, EFFORT_UNSET, 0,
	0, NULL},
    {DIALECT_CHAT, DIALECT_GEMINI, "gemini-2.5-pro", {.effort = EFFORT_NONE}, 0, THINK_ON,
	EFFORT_UNSET, 128, 0, NULL},
    {DIALECT_CHAT, DIALECT_GEMINI, "gemini-2.5-pro", {.effort = EFFORT_HIGH}, 1100, THINK_ON,
	EFFORT_UNSET, 128, 1100, NULL},
    {DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2, {.effort = EFFORT_HIGH}, 1100, THINK_OFF, EFFORT_UNSET,
	0, 1100, NULL},
    {DIALECT_MESSAGES, DIALECT_GEMINI, GEMINI_2, {.mode = THINK_ADAPTIVE}, 0, THINK_ON,
	EFFORT_UNSET, -1, 0, NULL},
    {DIALECT_CHAT, DIALECT_GEMINI, GEMINI_3, {.effort = EFFORT_MAX}, 0, THINK_UNSET, EFFORT_HIGH, 0,
	0, NULL},
    {DIALECT_CHAT, DIALECT_GEMINI, GEMINI_3, {.effort = EFFORT_NONE}, 0, THINK_UNSET,
	EFFORT_MINIMAL, 0, 0, NULL},
    {DIALECT_CHAT, DIALECT_GEMINI, "gemini-3-pro-preview", {.effort = EFFORT_MEDIUM}, 0,
	THINK_UNSET, EFFORT_HIGH, 0, 0, NULL},
    {DIALECT_CHAT, DIALECT_GEMINI, "gemini-2.0-flash", {.effort = EFFORT_LOW}, 0, THINK_UNSET,
	EFFORT_UNSET, 0, 0, "reasoning_effort"},
    {DIALECT_MESSAGES, DIALECT_CHAT, "gpt-5",
	{.mode = THINK_ON, .has_budget = true, .budget = 4096}, 0, THINK_ON, EFFORT_LOW, 0, 0,
	NULL},
    {DIALECT_MESSAGES, DIALECT_CHAT, "gpt-5",
	{.mode = THINK_ON, .has_budget = true, .budget = 50000}, 0, THINK_ON, EFFORT_HIGH, 0, 0,
	NULL},
    {DIALECT_MESSAGES, DIALECT_CHAT, "gpt-5", {.mode = THINK_OFF}, 0, THINK_OFF, EFFORT_MINIMAL, 0,
	0, NULL},
    {DIALECT_MESSAGES, DIALECT_RESPONSES, "gpt-5.2", {.mode = THINK_OFF}, 0, THINK_OFF, EFFORT_NONE,
	0, 0, NULL},
    {DIALECT_MESSAGES, DIALECT_CHAT, "llama-3.3", {.mode = THINK_OFF}, 0, THINK_UNSET, EFFORT_UNSET,
	0, 0, NULL},
    {DIALECT_MESSAGES, DIALECT_CHAT, "llama-3.3", {.mode = THINK_ADAPTIVE}, 0, THINK_UNSET,
	EFFORT_UNSET, 0, 0, NULL},
    {DIALECT_MESSAGES, DIALECT_CHAT, "llama-3.3", {.effort = EFFORT_MAX}, 0, THINK_ON, EFFORT_HIGH,
	0, 0, NULL},
    {DIALECT_CHAT, DIALECT_CHAT, "gpt-4o", {.effort = EFFORT_LOW}, 0, THINK_UNSET, EFFORT_UNSET, 0,
	0, "reasoning_effort"},
    {DIALECT_CHAT, DIALECT_CHAT, "o3", {.effort = EFFORT_XHIGH}, 0, THINK_ON, EFFORT_HIGH, 0, 0,
	NULL},
    {DIALECT_CHAT, DIALECT_COHERE, "command-a-reasoning", {.effort = EFFORT_MEDIUM}, 0, THINK_ON,
	EFFORT_UNSET, 8192, 0, NULL},
    {DIALECT_CHAT, DIALECT_COHERE, "command-r", {.effort = EFFORT_MEDIUM}, 0, THINK_UNSET,
	EFFORT_UNSET, 0, 0, "reasoning_effort"},
    {DIALECT_CHAT, DIALECT_OLLAMA, "gpt-oss:20b", {.effort = EFFORT_MAX}, 0, THINK_ON, EFFORT_HIGH,
	0, 0, NULL},
    {DIALECT_CHAT, DIALECT_OLLAMA, "qwen3", {.effort = EFFORT_LOW}, 0, THINK_ON, EFFORT_UNSET, 0, 0,
	NULL},
    {DIALECT_CHAT, DIALECT_CONVERSE, "us.anthropic.claude-sonnet-4-20250514-v1:0",
	{.effort = EFFORT_LOW}, 0, THINK_ON, EFFORT_UNSET, 2048, 34048, NULL},
};

static void
test_effort(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(efforts); i++) {
		const struct canon_reasoning *r;
		struct fixture f;
		bool good;

		fixture_open(&f, efforts[i].from, efforts[i].to, efforts[i].model);
		f.q->reasoning = efforts[i].in;
		f.q->has_max = efforts[i].max != 0;
		f.q->max_is_visible = efforts[i].max < 0;
		f.q->max_out = efforts[i].max < 0 ? -efforts[i].max : efforts[i].max;
		check(&f, "u=q");
		r = &f.out.q->reasoning;
		good = r->mode == efforts[i].mode && r->effort == efforts[i].effort &&
		       (r->has_budget ? r->budget : 0) == efforts[i].budget &&
		       (f.out.q->has_max ? f.out.q->max_out : 0) == efforts[i].total;
		if (!good)
			fail_msg("row %zu: mode %d effort %d budget %d %lld max %lld", i, r->mode,
			    r->effort, r->has_budget, (long long)r->budget,
			    (long long)f.out.q->max_out);
		check_span(&f, f.out.dropped, efforts[i].dropped);
		fixture_close(&f);
	}
}

/* How a chat service is told is a matter of its row. */
static void
test_effort_rows(void **state)
{
	static const struct {
		enum profile_effort row;
		struct canon_reasoning in;
		enum canon_think mode;
		enum canon_effort effort;
		int64_t budget;
		const char *dropped;
	} table[] = {
	    {REASON_NONE, {.effort = EFFORT_HIGH}, THINK_UNSET, EFFORT_UNSET, 0,
		"reasoning_effort"},
	    {REASON_OPENROUTER, {.mode = THINK_ON, .has_budget = true, .budget = 5000}, THINK_ON,
		EFFORT_MEDIUM, 5000, NULL},
	    {REASON_OPENROUTER, {.effort = EFFORT_LOW}, THINK_ON, EFFORT_LOW, 0, NULL},
	    {REASON_ENABLE, {.effort = EFFORT_LOW}, THINK_ON, EFFORT_LOW, 2048, NULL},
	    {REASON_ENABLE, {.mode = THINK_OFF}, THINK_OFF, EFFORT_NONE, 0, NULL},
	    {REASON_THINKING, {.mode = THINK_OFF}, THINK_OFF, EFFORT_NONE, 0, NULL},
	    {REASON_THINKING, {.mode = THINK_ADAPTIVE}, THINK_ON, EFFORT_MEDIUM, 0, NULL},
	    {REASON_EFFORT, {.mode = THINK_ADAPTIVE}, THINK_UNSET, EFFORT_UNSET, 0, NULL},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		const struct canon_reasoning *r;
		struct fixture f;

		fixture_open(&f, DIALECT_MESSAGES, DIALECT_CHAT, "qwen-max");
		f.p.reasoning = table[i].row;
		f.q->reasoning = table[i].in;
		check(&f, "u=q");
		r = &f.out.q->reasoning;
		assert_int_equal(r->mode, table[i].mode);
		assert_int_equal(r->effort, table[i].effort);
		assert_int_equal(r->has_budget ? r->budget : 0, table[i].budget);
		check_span(&f, f.out.dropped, table[i].dropped);
		fixture_close(&f);
	}
}

static void
test_who_sees_thoughts(void **state)
{
	static const struct {
		enum dialect_id from;
		struct canon_reasoning in;
		bool hidden;
	} table[] = {
	    {DIALECT_CHAT, {0}, false},
	    {DIALECT_CHAT, {.show = SHOW_NONE}, true},
	    {DIALECT_MESSAGES, {0}, false},
	    {DIALECT_MESSAGES, {.mode = THINK_OFF}, true},
	    {DIALECT_GEMINI, {0}, true},
	    {DIALECT_GEMINI, {.show = SHOW_FULL}, false},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct fixture f;

		fixture_open(&f, table[i].from, DIALECT_OLLAMA, "qwen3");
		f.q->reasoning = table[i].in;
		check(&f, "u=q");
		assert_int_equal(f.out.no_reasoning, table[i].hidden);
		fixture_close(&f);
	}
}

/* ---- 10 ---- */

static void
set_all(struct canon_request *q)
{
	q->temperature = span_of("0.50");
	q->top_p = span_of("0.9");
	q->top_k = span_of("40");
	q->min_p = span_of("0.1");
	q->frequency_penalty = span_of("0.5");
	q->presence_penalty = span_of("0.5");
	q->repetition_penalty = span_of("1.1");
	q->seed = span_of("7");
	q->logit_bias = span_of("{\"1\":2}");
	q->logprobs = 1;
	q->top_logprobs = span_of("3");
}

static void
test_parameters(void **state)
{
	static const struct {
		enum dialect_id from, to;
		const char *model, *dropped;
	} table[] = {
	    {DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
		"min_p,frequency_penalty,presence_penalty,repetition_penalty,seed,logit_bias,"
		"logprobs,top_logprobs"},
	    {DIALECT_CHAT, DIALECT_MESSAGES, NEW_CLAUDE,
		"temperature,top_p,top_k,min_p,frequency_penalty,presence_penalty,repetition_"
		"penalty,seed,logit_bias,logprobs,top_logprobs"},
	    {DIALECT_CHAT, DIALECT_MESSAGES, "claude-sonnet-4-5",
		"top_p,min_p,frequency_penalty,presence_penalty,repetition_penalty,seed,logit_bias,"
		"logprobs,top_logprobs"},
	    {DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2, "min_p,repetition_penalty,logit_bias"},
	    {DIALECT_CHAT, DIALECT_RESPONSES, "gpt-4o",
		"top_k,min_p,frequency_penalty,presence_penalty,repetition_penalty,seed,logit_"
		"bias"},
	    {DIALECT_CHAT, DIALECT_RESPONSES, "gpt-5",
		"temperature,top_p,top_k,min_p,frequency_penalty,presence_penalty,repetition_"
		"penalty,seed,logit_bias,logprobs,top_logprobs"},
	    {DIALECT_CHAT, DIALECT_COHERE, "command-a",
		"min_p,repetition_penalty,logit_bias,top_logprobs"},
	    {DIALECT_CHAT, DIALECT_OLLAMA, "llama3", "logit_bias,logprobs,top_logprobs"},
	    {DIALECT_CHAT, DIALECT_CHAT, "llama", NULL},
	    {DIALECT_MESSAGES, DIALECT_CHAT, "llama", "top_k,min_p,repetition_penalty,logit_bias"},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct fixture f;

		fixture_open(&f, table[i].from, table[i].to, table[i].model);
		set_all(f.q);
		check(&f, "u=q");
		check_span(&f, f.out.dropped, table[i].dropped);
		if (f.out.q->temperature.p != NULL) /* as it was written */
			check_span(&f, f.out.q->temperature, "0.50");
		fixture_close(&f);
	}
}

static void
test_rows_of_parameters(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f, DIALECT_CHAT, DIALECT_CHAT, "llama");
	f.p.no_penalties = f.p.no_logprobs = f.p.no_seed = true;
	set_all(f.q);
	check(&f, "u=q");
	check_span(&f, f.out.dropped,
	    "frequency_penalty,presence_penalty,seed,logit_bias,logprobs,top_logprobs");
	fixture_close(&f);

	/* OpenAI's thinking models, by default and switched off */
	for (int off = 0; off < 2; off++) {
		fixture_open(&f, DIALECT_CHAT, DIALECT_CHAT, off ? "gpt-5.2" : "gpt-5");
		f.p.openai = f.p.top_k = true;
		set_all(f.q);
		check(&f, "u=q");
		check_span(&f, f.out.dropped,
		    off ? NULL
			: "temperature,top_p,frequency_penalty,presence_penalty,logit_bias,"
			  "logprobs,top_logprobs");
		fixture_close(&f);
	}

	/* trap: temperature to a Claude that thinks */
	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	f.q->reasoning.effort = EFFORT_LOW;
	f.q->temperature = span_of("1.0");
	f.q->top_p = span_of("0.97");
	f.q->top_k = span_of("4");
	check(&f, "u=q");
	assert_null(f.out.q->temperature.p);
	check_span(&f, f.out.q->top_p, "0.97");
	check_span(&f, f.out.dropped, "top_k");
	fixture_close(&f);
}

static void
test_ranges_and_usual_values(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	f.q->temperature = span_of("1.7");
	check(&f, "u=q");
	check_span(&f, f.out.q->temperature, "1");
	check_span(&f, f.out.dropped, "temperature");
	fixture_close(&f);

	fixture_open(&f, DIALECT_CHAT, DIALECT_CHAT, "mistral-small");
	f.p.max_temperature = 150;
	f.q->temperature = span_of("1.7");
	check(&f, "u=q");
	check_span(&f, f.out.q->temperature, "1.50");
	fixture_close(&f);

	fixture_open(&f, DIALECT_GEMINI, DIALECT_COHERE, "command-a");
	f.q->top_p = span_of("0");
	f.q->frequency_penalty = span_of("-1");
	f.q->top_k = span_of("1000");
	check(&f, "u=q");
	check_span(&f, f.out.q->top_p, "0.01");
	check_span(&f, f.out.q->frequency_penalty, "0");
	check_span(&f, f.out.q->top_k, "500");
	check_span(&f, f.out.dropped, "top_p,top_k,frequency_penalty");
	fixture_close(&f);

	/* what says nothing is not missed */
	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	f.q->frequency_penalty = span_of("0.0");
	f.q->presence_penalty = span_of("0");
	f.q->top_p = span_of("1.0");
	f.q->logit_bias = span_of("{ }");
	f.q->logprobs = 0;
	f.q->n = 1;
	f.q->user = span_of("");
	check(&f, "u=q");
	check_span(&f, f.out.dropped, NULL);
	assert_int_equal(f.out.q->n, 0);
	assert_null(f.out.q->user.p);
	assert_null(f.out.q->top_p.p);
	fixture_close(&f);
}

static void
test_n_and_limits(void **state)
{
	static const struct {
		enum dialect_id to;
		const char *model;
		bool has;
		int64_t in, out; /* out < 0: refused */
	} limits[] = {
	    {DIALECT_MESSAGES, OLD_CLAUDE, false, 0, 32000},
	    {DIALECT_MESSAGES, "claude-3-5-sonnet-20241022", false, 0, 8192},
	    {DIALECT_MESSAGES, "unknown", false, 0, 8192},
	    {DIALECT_MESSAGES, OLD_CLAUDE, true, 1000000, 64000},
	    {DIALECT_RESPONSES, "gpt-4o", true, 3, 16},
	    {DIALECT_GEMINI, GEMINI_2, false, 0, 0},
	    {DIALECT_GEMINI, GEMINI_2, true, 0, -1},
	    {DIALECT_CHAT, "deepseek-chat", true, 9000, 8192},
	    {DIALECT_CHAT, "x", true, -5, -1},
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < NELEM(limits); i++) {
		fixture_open(&f, DIALECT_CHAT, limits[i].to, limits[i].model);
		f.q->has_max = limits[i].has;
		f.q->max_out = limits[i].in;
		fixture_say(&f, "u=q");
		assert_int_equal(fixture_shape(&f), limits[i].out < 0 ? E_DENIED : 0);
		if (limits[i].out >= 0) {
			assert_int_equal(f.out.q->has_max, limits[i].out > 0);
			assert_int_equal(limits[i].out > 0 ? f.out.q->max_out : 0, limits[i].out);
		}
		fixture_close(&f);
	}
	for (enum dialect_id to = DIALECT_CHAT; to < DIALECTS; to++) {
		fixture_open(&f, DIALECT_CHAT, to, "unknown");
		f.q->n = 2;
		fixture_say(&f, "u=q");
		if (to == DIALECT_CHAT || to == DIALECT_GEMINI) {
			assert_int_equal(fixture_shape(&f), 0);
			assert_int_equal(f.out.q->n, 2);
		} else {
			assert_int_equal(fixture_shape(&f), E_DENIED);
			assert_int_equal(f.err.class, ERROR_UNSUPPORTED);
			check_span(&f, f.err.param, "n");
		}
		fixture_close(&f);
	}
}

static void
test_stops(void **state)
{
	static const struct {
		enum dialect_id to;
		const char *model;
		unsigned kept;
		bool emulated;
		const char *dropped;
	} table[] = {
	    {DIALECT_CHAT, "llama", 4, false, "stop"},        /* a, b, blank, c; then no more */
	    {DIALECT_MESSAGES, OLD_CLAUDE, 5, false, "stop"}, /* no blank one */
	    {DIALECT_GEMINI, GEMINI_2, 5, false, "stop"},
	    {DIALECT_RESPONSES, "gpt-4o", 0, true, NULL},
	    {DIALECT_CHAT, "o3", 0, true, NULL},
	    {DIALECT_OLLAMA, "x", 6, false, NULL},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		static const char *const words[] = {"a", "", "b", "a", " \n", "c", "d", "e"};
		struct fixture f;
		unsigned n = 0;

		fixture_open(&f, DIALECT_CHAT, table[i].to, table[i].model);
		for (size_t k = 0; k < NELEM(words); k++)
			assert_int_equal(canon_text_add(f.a, &f.q->stop, span_of(words[k])), 0);
		check(&f, "u=q");
		for (const struct canon_text_list *l = f.out.q->stop; l != NULL; l = l->next)
			n++;
		assert_int_equal(n, table[i].kept);
		assert_int_equal(f.out.emulate_stop, table[i].emulated);
		check_span(&f, f.out.dropped, table[i].dropped);
		fixture_close(&f);
	}
}

/* ---- 11 ---- */

#define OBJECT \
	"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]," \
	"\"additionalProperties\":false}"
#define ASK "Answer only with JSON that matches this schema, no prose, no code fence: "

static void
test_formats(void **state)
{
	static const struct {
		enum dialect_id to;
		const char *model, *schema; /* NULL: json_object */
		bool tool, think;
		enum canon_format_kind kind;
		bool by_tool, value, fence;
		const char *turns;
	} table[] = {
	    {DIALECT_RESPONSES, "gpt-4o", OBJECT, false, false, FORMAT_SCHEMA, false, false, false,
		"u=q"},
	    {DIALECT_MESSAGES, "claude-sonnet-4-5", OBJECT, true, false, FORMAT_SCHEMA, false,
		false, false, "u=q"},
	    {DIALECT_MESSAGES, OLD_CLAUDE, OBJECT, false, false, FORMAT_UNSET, true, false, false,
		"u=q"},
	    {DIALECT_MESSAGES, OLD_CLAUDE, "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}",
		false, false, FORMAT_UNSET, true, true, false, "u=q"},
	    {DIALECT_MESSAGES, OLD_CLAUDE, OBJECT, true, false, FORMAT_UNSET, false, false, true,
		"s=" ASK OBJECT "\nu=q"},
	    {DIALECT_MESSAGES, OLD_CLAUDE, OBJECT, false, true, FORMAT_UNSET, false, false, true,
		"s=" ASK OBJECT "\nu=q"},
	    {DIALECT_MESSAGES, OLD_CLAUDE, NULL, false, false, FORMAT_UNSET, false, false, true,
		"s=Answer only with JSON, no prose, no code fence.\nu=q"},
	    {DIALECT_CONVERSE, OLD_CLAUDE, OBJECT, false, false, FORMAT_UNSET, true, false, false,
		"u=q"},
	    {DIALECT_GEMINI, GEMINI_2, OBJECT, false, false, FORMAT_SCHEMA, false, false, false,
		"u=q"},
	    {DIALECT_GEMINI, GEMINI_2, OBJECT, true, false, FORMAT_UNSET, false, false, true,
		"s=" ASK OBJECT "\nu=q"},
	    {DIALECT_GEMINI, GEMINI_3, OBJECT, true, false, FORMAT_SCHEMA, false, false, false,
		"u=q"},
	    {DIALECT_COHERE, "command-a", OBJECT, true, false, FORMAT_UNSET, false, false, true,
		"s=" ASK OBJECT "\nu=q"},
	    {DIALECT_COHERE, "command-a", NULL, false, false, FORMAT_JSON, false, false, false,
		"u=q"},
	    {DIALECT_RESPONSES, "gpt-4o", NULL, false, false, FORMAT_JSON, false, false, false,
		"s=Answer in JSON.\nu=q"},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct fixture f;

		fixture_open(&f, DIALECT_CHAT, table[i].to, table[i].model);
		f.q->format.kind = table[i].schema != NULL ? FORMAT_SCHEMA : FORMAT_JSON;
		if (table[i].schema != NULL)
			f.q->format.schema = span_of(table[i].schema);
		if (table[i].tool)
			fixture_tool(&f, "f");
		if (table[i].think)
			f.q->reasoning.effort = EFFORT_LOW;
		check(&f, "u=q");
		if (strcmp(fixture_print(&f, f.out.q), table[i].turns) != 0 ||
		    f.out.q->format.kind != table[i].kind || f.out.json_value != table[i].value ||
		    f.out.strip_fence != table[i].fence)
			fail_msg("row %zu: kind %d value %d fence %d\n%s", i, f.out.q->format.kind,
			    f.out.json_value, f.out.strip_fence, fixture_print(&f, f.out.q));
		check_span(&f, f.out.json_tool, table[i].by_tool ? "json_output" : NULL);
		if (table[i].by_tool) {
			assert_int_equal(f.out.q->tool_choice.kind, CHOICE_NAMED);
			assert_non_null(TAILQ_FIRST(&f.out.q->tools));
		}
		fixture_close(&f);
	}
}

static void
test_format_names(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f, DIALECT_GEMINI, DIALECT_RESPONSES, "gpt-4o");
	f.q->format =
	    (struct canon_format){.kind = FORMAT_SCHEMA, .schema = span_of(OBJECT), .strict = -1};
	check(&f, "u=q");
	check_span(&f, f.out.q->format.name, "response");
	fixture_close(&f);

	/* one that knows json_object only, on Chat */
	fixture_open(&f, DIALECT_CHAT, DIALECT_CHAT, "deepseek-chat");
	f.p.json = JSON_OBJECT;
	f.q->format = (struct canon_format){
	    .kind = FORMAT_SCHEMA, .schema = span_of(OBJECT), .strict = -1, .raw = span_of("{}")};
	check(&f, "s=x\nu=q");
	assert_int_equal(f.out.q->format.kind, FORMAT_JSON);
	assert_null(f.out.q->format.raw.p);
	assert_string_equal(fixture_print(&f, f.out.q), "s=x\\n\\n" ASK OBJECT "\nu=q");
	fixture_close(&f);
}

/* ---- 12.1; trap: more than four marks ---- */

static void
test_cache(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f, DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2);
	fixture_expect(&f, "s*=a\nu*=b", "s=a\nu=b");
	fixture_close(&f);

	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	fixture_tool(&f, "f")->cache.set = true;
	fixture_tool(&f, "g")->cache.set = true;
	fixture_expect(&f, "s*=a;;*=b\nu*=c\na*=d\nu*=e", "s=a;;*=b\nu=c\na*=d\nu*=e");
	assert_false(TAILQ_FIRST(&f.out.q->tools)->cache.set);
	assert_true(TAILQ_LAST(&f.out.q->tools, canon_tools)->cache.set);
	fixture_close(&f);

	/* four may stay; not on thoughts, not inside results */
	fixture_open(&f, DIALECT_CHAT, DIALECT_CONVERSE, OLD_CLAUDE);
	fixture_expect(
	    &f, "s*=a;;*=b\nu*=c\na*~As/t;;=x\nu*=e", "s*=a;;*=b\nu*=c\na~As/t;;=x\nu*=e");
	fixture_close(&f);

	/* an hour before five minutes */
	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	fixture_tool(&f, "f")->cache = (struct canon_cache){true, span_of("1h")};
	fixture_say(&f, "s*=a\nu*=b");
	TAILQ_FIRST(&TAILQ_LAST(&f.q->turns, canon_turns)->parts)->cache.ttl = span_of("1h");
	assert_int_equal(fixture_shape(&f), 0);
	check_span(&f, TAILQ_FIRST(&f.out.q->tools)->cache.ttl, "1h");
	assert_null(TAILQ_FIRST(&TAILQ_LAST(&f.out.q->turns, canon_turns)->parts)->cache.ttl.p);
	fixture_close(&f);
}

/* ---- 12.2 and the rest ---- */

#define LONG "0123456789012345678901234567890123456789012345678901234567890123456789"

static void
test_identity(void **state)
{
	static const struct {
		enum dialect_id from, to;
		bool openai;
		const char *user, *got, *safety, *dropped;
	} table[] = {
	    {DIALECT_CHAT, DIALECT_MESSAGES, false, "u1", "u1", NULL, NULL},
	    {DIALECT_CHAT, DIALECT_MESSAGES, false, "a@b",
		"7508d8b5018ea640b85269861a101203f0c26900555268e930025dac844b0f35", NULL, NULL},
	    {DIALECT_MESSAGES, DIALECT_RESPONSES, true, "u1", NULL, "u1", NULL},
	    {DIALECT_MESSAGES, DIALECT_RESPONSES, true, LONG, NULL,
		"57445fa40b08c60cdcba7ca39c756de614d11482e3f15a925f548688c19e58f4", NULL},
	    {DIALECT_MESSAGES, DIALECT_CHAT, false, "u1", NULL, NULL, "user"},
	    {DIALECT_RESPONSES, DIALECT_CHAT, false, "u1", "u1", NULL, NULL},
	    {DIALECT_CHAT, DIALECT_GEMINI, false, "u1", NULL, NULL, "user"},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct fixture f;

		fixture_open(&f, table[i].from, table[i].to, "gpt-4o");
		f.p.openai = table[i].openai;
		f.q->user = span_of(table[i].user);
		check(&f, "u=q");
		check_span(&f, f.out.q->user, table[i].got);
		check_span(&f, f.out.q->safety_id, table[i].safety);
		check_span(&f, f.out.dropped, table[i].dropped);
		fixture_close(&f);
	}
}

static const struct json *
parse(struct fixture *f, const char *text)
{
	const struct json *j = NULL;

	assert_int_equal(json_parse(f->a, span_of(text), &j), 0);
	return j;
}

static void
test_rest(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f, DIALECT_RESPONSES, DIALECT_MESSAGES, OLD_CLAUDE);
	f.q->verbosity = span_of("low");
	f.q->metadata = span_of("{\"a\":\"b\"}");
	f.q->service_tier = span_of("flex");
	f.q->cache_key = span_of("k");
	f.q->truncation = span_of("auto");
	f.q->background = 1;
	f.q->store = 1;
	f.q->web_search = span_of("{}");
	f.p.web_search = false;
	assert_int_equal(
	    canon_extra_add(f.a, &f.q->src, parse(&f, "{\"max_tool_calls\":3}")->child), 0);
	assert_int_equal(canon_extra_add(f.a, &f.q->src, parse(&f, "{\"whatever\":3}")->child), 0);
	check(&f, "u=q");
	check_span(&f, f.out.dropped,
	    "verbosity,web_search_options,prompt_cache_key,metadata,service_tier,truncation,"
	    "background,max_tool_calls");
	assert_int_equal(f.out.q->store, -1);
	fixture_close(&f);

	fixture_open(&f, DIALECT_RESPONSES, DIALECT_CHAT, "x");
	assert_int_equal(canon_extra_add(f.a, &f.q->src, parse(&f, "{\"prompt\":{}}")->child), 0);
	fixture_say(&f, "u=q");
	assert_int_equal(fixture_shape(&f), E_DENIED);
	check_span(&f, f.err.param, "prompt");
	fixture_close(&f);

	/* a row that passes no unknown members */
	for (int pass = 0; pass < 2; pass++) {
		fixture_open(&f, DIALECT_CHAT, DIALECT_CHAT, "x");
		f.p.extra_pass = pass;
		assert_int_equal(
		    canon_extra_add(f.a, &f.q->src, parse(&f, "{\"foo\":3}")->child), 0);
		check(&f, "u=q");
		check_span(&f, f.out.dropped, pass ? NULL : "foo");
		assert_int_equal(f.out.q->src.extra != NULL, pass);
		fixture_close(&f);
	}

	fixture_open(&f, DIALECT_GEMINI, DIALECT_CHAT, "x");
	f.q->cached_content = span_of("cachedContents/1");
	fixture_say(&f, "u=q");
	assert_int_equal(fixture_shape(&f), E_DENIED);
	fixture_close(&f);

	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	f.q->modalities = span_of("[\"text\",\"audio\"]");
	fixture_say(&f, "u=q");
	assert_int_equal(fixture_shape(&f), E_DENIED);
	check_span(&f, f.err.param, "modalities");
	fixture_close(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_tool_names),
	    cmocka_unit_test(test_call_ids),
	    cmocka_unit_test(test_arguments),
	    cmocka_unit_test(test_names_on_the_wire),
	    cmocka_unit_test(test_declarations),
	    cmocka_unit_test(test_server_tools),
	    cmocka_unit_test(test_choice),
	    cmocka_unit_test(test_choice_more),
	    cmocka_unit_test(test_effort),
	    cmocka_unit_test(test_effort_rows),
	    cmocka_unit_test(test_who_sees_thoughts),
	    cmocka_unit_test(test_parameters),
	    cmocka_unit_test(test_rows_of_parameters),
	    cmocka_unit_test(test_ranges_and_usual_values),
	    cmocka_unit_test(test_n_and_limits),
	    cmocka_unit_test(test_stops),
	    cmocka_unit_test(test_formats),
	    cmocka_unit_test(test_format_names),
	    cmocka_unit_test(test_cache),
	    cmocka_unit_test(test_identity),
	    cmocka_unit_test(test_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
