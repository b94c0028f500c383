/* Shaping the conversation (spec translation 4.3, 5, 6.6, 8.4, 9): what goes in, what the target
 * gets. */
#include "t/unit/proto_shape_fixture.h"

#define NONE "(no result recorded for this tool call)"
#define GO_ON "Continue exactly from where the previous message stops; do not repeat it."
#define PNG "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
#define PDF "JVBERi0xLjQKJcOkw7zDtsOf"

#define OLD_CLAUDE "claude-sonnet-4-20250514"
#define NEW_CLAUDE "claude-opus-4-8"
#define GEMINI_2 "gemini-2.5-flash"
#define GEMINI_3 "gemini-3-flash-preview"

static const struct {
	const char *what;
	enum dialect_id from, to;
	const char *model, *in, *out;
} cases[] = {
    /* ---- 5.1 */
    {"leading system text stays apart", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
	"s=a\nd=b\nu=hi", "s=a\ns=b\nu=hi"},
    {"later system text is a reminder, never hoisted", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
	"s=a\nu=hi\na=yo\ns=b;;=c\nu=go",
	"s=a\nu=hi\na=yo\nu=<system-reminder>\\nb\\n\\nc\\n</system-reminder>;;=go"},
    {"a newer Claude takes it in place behind the user", DIALECT_CHAT, DIALECT_MESSAGES, NEW_CLAUDE,
	"u=hi\ns=b\na=yo\ns=c\nu=go",
	"u=hi\ns=b\na=yo\nu=<system-reminder>\\nc\\n</system-reminder>;;=go"},
    {"Responses keeps later ones as developer", DIALECT_MESSAGES, DIALECT_RESPONSES, "gpt-4o",
	"s=a\nu=hi\ns=b\nu=go", "s=a\nu=hi\nd=b\nu=go"},
    {"Cohere wraps", DIALECT_CHAT, DIALECT_COHERE, "command-a", "s=a\nu=hi\ns=b\nu=x",
	"s=a\nu=hi\nu=<system-reminder>\\nb\\n</system-reminder>\nu=x"},
    {"trap: developer role: Ollama gets system", DIALECT_CHAT, DIALECT_OLLAMA, "llama3",
	"s=a\nu=hi\nd=b\nu=x", "s=a\nu=hi\ns=b\nu=x"},
    {"trap: changing billing line goes", DIALECT_MESSAGES, DIALECT_CONVERSE, OLD_CLAUDE,
	"s=x-anthropic-billing-header: cc=1;;=real\nu=hi", "s=real\nu=hi"},
    {"the billing line of a longer block", DIALECT_MESSAGES, DIALECT_GEMINI, GEMINI_2,
	"s=x-anthropic-billing-header: cc=1\\nreal\nu=hi", "s=real\nu=hi"},
    /* ---- 5.2 */
    {"trap: empty text blocks go, and turns without any", DIALECT_CHAT, DIALECT_MESSAGES,
	OLD_CLAUDE, "u=hi;;=\na=\nu= \\n;;=x\na=y\nu=z", "u=hi;;=x\na=y\nu=z"},
    {"blank text may stay where it is taken", DIALECT_MESSAGES, DIALECT_RESPONSES, "gpt-4o",
	"u= \na=y\nu=", "u= \na=y"},
    {"a mark moves to the part before", DIALECT_MESSAGES, DIALECT_CONVERSE, OLD_CLAUDE,
	"u=a;;*=\na=b\nu=c", "u*=a\na=b\nu=c"},
    {"nothing but system text", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, "s=a", "s=a\nu=."},
    {"not where nobody minds", DIALECT_CHAT, DIALECT_OLLAMA, "llama3", "s=a", "s=a"},
    {"an empty result stays", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, "u=q\na!c1,f,{}\nt@c1,f,",
	"u=q\na!c1,f,{}\nt@c1,f,"},
    {"a refusal is a text for others", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, "u=q\na?no\nu=r",
	"u=q\na=no\nu=r"},
    /* ---- 5.3 */
    {"trap: parallel results in separate messages: one turn, in call order, user text behind",
	DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
	"u=q\na!c1,f,{};;!c2,g,{}\nt@c2,-,two\nu=wait\nt@c1,-,one\nu=go",
	"u=q\na!c1,f,{};;!c2,g,{}\nt@c1,f,one;;@c2,g,two\nu=wait;;=go"},
    {"trap: missing tool result: one is made, also at the end", DIALECT_CHAT, DIALECT_MESSAGES,
	OLD_CLAUDE, "u=q\na!c1,f,{}\nu=go\na!c2,f,{}",
	"u=q\na!c1,f,{}\nt@*c1,f," NONE "\nu=go\na!c2,f,{}\nt@*c2,f," NONE},
    {"trap: orphan tool result: it becomes text", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
	"u=q\nt@c9,f,found\nt@c8,-,\nt@c7,-,x\na=b\nu=c",
	"u=q;;=Result of tool f: found;;=Result of tool c7: x\na=b\nu=c"},
    {"a late result goes to its call", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
	"u=q\na!c1,f,{}\nu=hm\na=ok\nt@c1,f,late\nu=go",
	"u=q\na!c1,f,{}\nt@c1,f,late\nu=hm\na=ok\nu=go"},
    {"of two results the last", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
	"u=q\na!c1,f,{}\nt@c1,f,old;;@c1,f,new\nu=x", "u=q\na!c1,f,{}\nt@c1,f,new\nu=x"},
    {"trap: call ids that repeat in each round", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
	"u=q\na!call_0,f,{}\nt@call_0,f,1\na!call_0,f,{}\nt@call_0,f,2\na!call_0,f,{}\nt@call_0,f,"
	"3",
	"u=q\na!call_0,f,{}\nt@call_0,f,1\na!call_0_2,f,{}\nt@call_0_2,f,2\na!call_0_3,f,{}\nt@"
	"call_0_3,f,3"},
    {"twins in one round", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
	"u=q\na!c,f,{};;!c,g,{}\nt@c,-,1;;@c,-,2", "u=q\na!c,f,{};;!c_2,g,{}\nt@c,f,1;;@c_2,g,2"},
    {"trap: no ids: by name, in order, as many results as calls", DIALECT_GEMINI, DIALECT_MESSAGES,
	OLD_CLAUDE, "u=q\na!-,f,{};;!-,f,{};;!-,g,{}\nt@-,g,3;;@-,f,1;;@-,f,2",
	"u=q\na!call_000000000000000000000000,f,{};;!call_000000000000000000000001,f,{};;"
	"!call_000000000000000000000002,g,{}\n"
	"t@call_000000000000000000000000,f,1;;@call_000000000000000000000001,f,2;;"
	"@call_000000000000000000000002,g,3"},
    {"history that begins with results", DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2,
	"t@c1,f,found\na=b\nu=c", "u=Result of tool f: found\na=b\nu=c"},
    {"a Chat client on Chat keeps what it wrote", DIALECT_CHAT, DIALECT_CHAT, "llama",
	"s=a\nu=\na!c1,f,{}\nu=x\nd=b", "s=a\nu=\na!c1,f,{}\nu=x\ns=b"},
    {"a Messages client on Messages, too", DIALECT_MESSAGES, DIALECT_MESSAGES, OLD_CLAUDE,
	"s=x-anthropic-billing-header: 1\nu=\na!c.1,f.,{};;~Asig/t\nu=y\na=end ",
	"s=x-anthropic-billing-header: 1\nu=\na!c.1,f.,{};;~Asig/t\nu=y\na=end "},
    /* ---- 5.4, 5.5 */
    {"neighbours are merged, texts are not", DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2,
	"u=a\nu=b\na=c\na=d\nu=e", "u=a;;=b\na=c;;=d\nu=e"},
    {"Chat stays apart", DIALECT_MESSAGES, DIALECT_CHAT, "llama", "u=a\nu=b\na=c\na=d",
	"u=a\nu=b\na=c\na=d"},
    {"assistant first", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, "s=x\na=hi\nu=yo",
	"s=x\nu=.\na=hi\nu=yo"},
    {"trap: trailing white space of the final assistant text is stripped", DIALECT_CHAT,
	DIALECT_MESSAGES, OLD_CLAUDE, "u=a\na=b \\n", "u=a\na=b"},
    {"trap: prefill to a newer Claude: go on", DIALECT_CHAT, DIALECT_MESSAGES, NEW_CLAUDE,
	"u=a\na=b", "u=a\na=b\nu=" GO_ON},
    {"no prefill: an empty one goes", DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2, "u=a\na=", "u=a"},
    {"Cohere ends with the user", DIALECT_CHAT, DIALECT_COHERE, "command-a", "u=a\na=b",
	"u=a\na=b\nu=" GO_ON},
    {"other chat providers get it as it is", DIALECT_MESSAGES, DIALECT_CHAT, "llama", "u=a\na=b ",
	"u=a\na=b "},
    /* ---- 8.4 */
    {"its own thought comes back, exactly", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
	"u=a\na~Asig/ t \\n;;=x\nu=c", "u=a\na~Asig/ t \\n;;=x\nu=c"},
    {"trap: thinking block with empty text but a signature is kept", DIALECT_CHAT, DIALECT_MESSAGES,
	OLD_CLAUDE, "u=a\na~Asig/;;=x\nu=c", "u=a\na~Asig/;;=x\nu=c"},
    {"trap: signature of another provider: the thought goes, and is no text", DIALECT_CHAT,
	DIALECT_MESSAGES, OLD_CLAUDE, "u=a\na~Gsig/t;;=x\nu=c", "u=a\na=x\nu=c"},
    {"unsigned, too", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, "u=a\na~-/t;;=x\nu=c",
	"u=a\na=x\nu=c"},
    {"no thought for Chat", DIALECT_MESSAGES, DIALECT_CHAT, "llama", "u=a\na~Asig/t;;=x\nu=c",
	"u=a\na=x\nu=c"},
    {"trap: encrypted thought only for its maker", DIALECT_CHAT, DIALECT_RESPONSES, "gpt-5.2",
	"u=a\na~Osig/;;=x\na~Asig/t\nu=c", "u=a\na~Osig/;;=x\nu=c"},
    {"within Messages: what is another's", DIALECT_MESSAGES, DIALECT_MESSAGES, OLD_CLAUDE,
	"u=a\na~Gsig/t;;~Asig/t;;~-/u;;=x\nu=c", "u=a\na~Asig/t;;=x\nu=c"},
    {"trap: Gemini 3 history without signature: the dummy, once a step, in the running turn",
	DIALECT_CHAT, DIALECT_GEMINI, GEMINI_3,
	"u=p\na!a,f,{}\nt@a,f,0\nu=q\na!b,f,{};;!c,f,{}\nt@b,f,1;;@c,f,2\na!d,f,{}\nt@d,f,3",
	"u=p\na!a,f,{}\nt@a,f,0\nu=q\na!b,f,{}>skip_thought_signature_validator;;!c,f,{}\nt@b,f,1;;"
	"@c,f,2\n"
	"a!d,f,{}>skip_thought_signature_validator\nt@d,f,3"},
    {"Gemini 2.5 does not, and has no ids", DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2,
	"u=q\na!b,f,{}\nt@b,f,1", "u=q\na!-,f,{}\nt@-,f,1"},
    {"a signature of a text", DIALECT_GEMINI, DIALECT_MESSAGES, OLD_CLAUDE, "u=a\na>Gs/x\nu=b",
	"u=a\na=x\nu=b"},
    /* ---- 6.6, 9 */
    {"trap: image inside a result is not lost: it moves behind the round", DIALECT_MESSAGES,
	DIALECT_CHAT, "llama",
	"u=q\na!c1,f,{};;!c2,g,{}\nt@c1,-,see+%image/png," PNG ";;@c2,-,ok\nu=go",
	"u=q\na!c1,f,{};;!c2,g,{}\nt@c1,f,see+(image follows);;@c2,g,ok\nu=Image returned by f "
	"(c1):;;%image/png," PNG "\nu=go"},
    {"it stays inside where it may", DIALECT_RESPONSES, DIALECT_MESSAGES, OLD_CLAUDE,
	"u=q\na!c1,f,{}\nt@c1,-,see+%image/png," PNG, "u=q\na!c1,f,{}\nt@c1,f,see+%image/png," PNG},
    {"before Gemini 3 it comes after the responses", DIALECT_MESSAGES, DIALECT_GEMINI, GEMINI_2,
	"u=q\na!c1,f,{}\nt@c1,-,%image/png," PNG,
	"u=q\na!-,f,{}\nt@-,f,(image follows)\nu=Image returned by f (c1):;;%image/png," PNG},
    {"Cohere has no place for it", DIALECT_MESSAGES, DIALECT_COHERE, "command-a",
	"u=q\na!c1,f,{}\nt@c1,-,see+%image/png," PNG, "u=q\na!c1,f,{}\nt@c1,f,see"},
    {"data URL", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, "u#data:image/png;base64," PNG,
	"u%image/png," PNG},
    {"data URL in capitals, URL-safe, broken lines, no padding", DIALECT_CHAT, DIALECT_MESSAGES,
	OLD_CLAUDE, "u#DATA:;charset=x;BASE64,_9j_\\n4AA", "u%image/jpeg,/9j/4AA="},
    {"percent-encoded", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, "u#data:text/plain,a%20b",
	"u%text/plain,YSBi"},
    {"the first bytes win", DIALECT_MESSAGES, DIALECT_CHAT, "llama", "u%image/jpeg," PNG,
	"u%image/png," PNG},
    {"image/jpg", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, "u%image/jpg,AAAA",
	"u%image/jpeg,AAAA"},
    {"a URL that may stay", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, "u#https://h/x.png",
	"u#https://h/x.png"},
    {"a text document is a text", DIALECT_MESSAGES, DIALECT_CHAT, "llama", "u\"hello",
	"u=<document>\\nhello\\n</document>"},
    {"a text document stays one for Messages", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
	"u^text/plain,aGVsbG8=", "u\"hello"},
    {"a PDF", DIALECT_MESSAGES, DIALECT_GEMINI, GEMINI_2, "u^-," PDF, "u^application/pdf," PDF},
    {"a document beside nothing at Converse", DIALECT_MESSAGES, DIALECT_CONVERSE, OLD_CLAUDE,
	"u^application/pdf," PDF, "u^application/pdf," PDF ";;=."},
    {"what it drew is shown by the user", DIALECT_GEMINI, DIALECT_MESSAGES, OLD_CLAUDE,
	"u=draw\na=here;;%image/png," PNG "\nu=more", "u=draw\na=here\nu%image/png," PNG ";;=more"},
    {"what it spoke is what it said", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
	"u=say\na<hello\nu=more", "u=say\na=hello\nu=more"},
    {"an old sound is left out", DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, "u|AAAA\na=b\nu=c",
	"u=[audio omitted]\na=b\nu=c"},
};

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct fixture f;

		fixture_open(&f, cases[i].from, cases[i].to, cases[i].model);
		fixture_say(&f, cases[i].in);
		if (fixture_shape(&f) != 0)
			fail_msg("%s: refused: %s", cases[i].what, fixture_cstr(&f, f.err.message));
		if (strcmp(fixture_print(&f, f.out.q), cases[i].out) != 0)
			fail_msg("%s:\n%s\nwanted:\n%s", cases[i].what, fixture_print(&f, f.out.q),
			    cases[i].out);
		fixture_close(&f);
	}
}

/* The request that was decoded is for the next target as it was. */
static void
test_asked_is_not_changed(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(cases); i++) {
		struct fixture f;
		const char *before;

		fixture_open(&f, cases[i].from, cases[i].to, cases[i].model);
		fixture_say(&f, cases[i].in);
		before = fixture_print(&f, f.q);
		assert_int_equal(fixture_shape(&f), 0);
		assert_string_equal(fixture_print(&f, f.q), before);
		fixture_close(&f);
	}
}

static const struct {
	enum dialect_id from, to;
	const char *model, *in, *param;
	enum canon_error_class class;
} refusals[] = {
    {DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE, "s=x\nu=a\nu=see;;$file-1",
	"messages[2].content[1]", ERROR_UNSUPPORTED},
    {DIALECT_MESSAGES, DIALECT_CHAT, OLD_CLAUDE, "s=x\nu=a\nu=see;;$file-1",
	"messages[1].content[1]", ERROR_UNSUPPORTED},
    {DIALECT_MESSAGES, DIALECT_CHAT, "x", "s=x\nu=q\na!c1,f,{}\nt@c1,-,see+$id\nu=x",
	"messages[2].content[0]", ERROR_UNSUPPORTED},
    {DIALECT_MESSAGES, DIALECT_CHAT, "x", "s=x\nu=q\na!c1,f,{}\nt@c1,-,see\nu$id",
	"messages[2].content[1]", ERROR_UNSUPPORTED},
    {DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE,
	"s=x\nu=q\na!c1,f,{};;!c2,f,{}\nt@c1,-,see;;@c2,-,$id", "messages[4].content",
	ERROR_UNSUPPORTED},
    {DIALECT_RESPONSES, DIALECT_CHAT, "x",
	"u=q\na=t;;!c1,f,{};;!c2,f,{}\nt@c1,-,see;;@c2,-,x\nu$id", "input[6].content[0]",
	ERROR_UNSUPPORTED},
    {DIALECT_RESPONSES, DIALECT_CHAT, "x", "u%image/png,@@@@", "input[0].content[0]",
	ERROR_BAD_REQUEST},
    {DIALECT_GEMINI, DIALECT_MESSAGES, OLD_CLAUDE, "s=x\nu=a;;|AAAA", "contents[0].parts[1]",
	ERROR_UNSUPPORTED},
    {DIALECT_CHAT, DIALECT_OLLAMA, "llama3", "u^application/pdf," PDF, "messages[0].content[0]",
	ERROR_UNSUPPORTED},
    {DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2, "u#ftp://h/x.png", "messages[0].content[0]",
	ERROR_BAD_REQUEST},
};

static void
test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < NELEM(refusals); i++) {
		struct fixture f;

		fixture_open(&f, refusals[i].from, refusals[i].to, refusals[i].model);
		fixture_say(&f, refusals[i].in);
		assert_int_equal(fixture_shape(&f), E_DENIED);
		assert_int_equal(f.err.class, refusals[i].class);
		assert_string_equal(fixture_cstr(&f, f.err.param), refusals[i].param);
		assert_true(f.err.message.n > 0);
		fixture_close(&f);
	}
}

static void
test_profile_rows(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f, DIALECT_CHAT, DIALECT_CHAT, "qwen3");
	f.p.single_system = true;
	fixture_expect(&f, "s=a\ns=b\nu=x\ns=c\nu=y",
	    "s=a\\n\\nb\nu=x\nu=<system-reminder>\\nc\\n</system-reminder>\nu=y");
	fixture_close(&f);

	fixture_open(&f, DIALECT_MESSAGES, DIALECT_CHAT, "o1-mini");
	f.p.openai = f.p.developer_role = true;
	fixture_expect(&f, "s=a\nu=x", "u=a;;=x");
	fixture_close(&f);

	fixture_open(&f, DIALECT_MESSAGES, DIALECT_CHAT, "gpt-5.2");
	f.p.openai = f.p.developer_role = true;
	fixture_expect(&f, "s=a\nu=x\na=b", "d=a\nu=x\na=b\nu=" GO_ON);
	fixture_close(&f);

	fixture_open(&f, DIALECT_CHAT, DIALECT_CHAT, "gpt-5");
	f.p.openai = f.p.developer_role = true;
	fixture_expect(&f, "s=a\nu=x\nd=b", "s=a\nu=x\nd=b");
	fixture_close(&f);

	fixture_open(&f, DIALECT_CHAT, DIALECT_CHAT, "sonar");
	f.p.alternation = true;
	fixture_expect(&f, "a=z\nu=x\nu=y", "u=.\na=z\nu=x;;=y");
	fixture_close(&f);

	fixture_open(&f, DIALECT_CHAT, DIALECT_CHAT, "mistral-large");
	f.p.needs_user_turn = true;
	f.p.ids = IDS_MISTRAL;
	fixture_expect(&f, "s=x\na!call_1,f,{}\nt@call_1,f,1\na!abcDEF123,f,{}",
	    "s=x\nu=.\na!RWu906W5H,f,{}\nt@RWu906W5H,f,1\na!abcDEF123,f,{}\nt@*abcDEF123,f," NONE);
	fixture_close(&f);
}

/* Trap: Vertex takes neither the dummy nor ids. Rows for what a provider cannot see, and what could
 * not be kept. */
static void
test_more_rows(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f, DIALECT_CHAT, DIALECT_GEMINI, GEMINI_3);
	f.p.vertex = true;
	fixture_expect(&f, "u=q\na!b,f,{}\nt@b,f,1", "u=q\na!-,f,{}\nt@-,f,1");
	fixture_close(&f);

	fixture_open(&f, DIALECT_MESSAGES, DIALECT_COHERE, "command-a");
	fixture_expect(&f, "u=q\na!c1,f,{}\nt@c1,-,%image/png," PNG, "u=q\na!c1,f,{}\nt@c1,f,");
	assert_string_equal(fixture_cstr(&f, f.out.dropped), "images");
	fixture_close(&f);

	for (enum dialect_id from = DIALECT_CHAT; from <= DIALECT_RESPONSES; from++) {
		fixture_open(&f, from, DIALECT_CHAT, "deepseek-chat");
		f.p.no_image = true;
		fixture_expect(&f, "u%image/png," PNG "\na=b\nu=c", "u=[image omitted]\na=b\nu=c");
		fixture_close(&f);
		fixture_open(&f, from, DIALECT_CHAT, "deepseek-chat");
		f.p.no_image = true;
		fixture_say(&f, "u%image/png," PNG);
		assert_int_equal(fixture_shape(&f), E_DENIED);
		assert_int_equal(f.err.class, ERROR_UNSUPPORTED);
		fixture_close(&f);
	}

	fixture_open(&f, DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2);
	fixture_say(&f, "u=aXb");
	((char *)(uintptr_t)TAILQ_FIRST(&TAILQ_FIRST(&f.q->turns)->parts)->text.p)[1] = '\0';
	assert_int_equal(fixture_shape(&f), 0);
	assert_string_equal(fixture_print(&f, f.out.q), "u=ab");
	fixture_close(&f);
}

/* What another maker's details held does not come back in the piece that Chat keeps. */
static void
test_details_in_one_piece(void **state)
{
	struct canon_part *p;
	struct fixture f;

	(void)state;
	fixture_open(&f, DIALECT_CHAT, DIALECT_CHAT, "x");
	f.p.replay = REPLAY_ALL;
	f.p.origin = ORIGIN_OPENROUTER;
	fixture_say(&f, "u=a\na~Rs/r;;~As/t;;=x\nu=b");
	p = TAILQ_FIRST(&TAILQ_NEXT(TAILQ_FIRST(&f.q->turns), link)->parts);
	p->raw = span_of("[{},{}]");
	assert_int_equal(fixture_shape(&f), 0);
	assert_string_equal(fixture_print(&f, f.out.q), "u=a\na~Rs/r;;=x\nu=b");
	p = TAILQ_FIRST(&TAILQ_NEXT(TAILQ_FIRST(&f.out.q->turns), link)->parts);
	assert_null(p->raw.p);
	fixture_close(&f);
}

/* Spec 8.4.9: what a dropped thought led to goes without its id. */
static void
test_item_ids(void **state)
{
	struct canon_turn *t;
	struct fixture f;

	(void)state;
	for (int foreign = 0; foreign < 2; foreign++) {
		fixture_open(&f, DIALECT_RESPONSES, DIALECT_RESPONSES, "gpt-5");
		fixture_say(&f,
		    foreign ? "u=a\na~As/t;;!c,f,{}\nt@c,f,1" : "u=a\na~Os/t;;!c,f,{}\nt@c,f,1");
		t = TAILQ_NEXT(TAILQ_FIRST(&f.q->turns), link);
		TAILQ_LAST(&t->parts, canon_parts)->item_id = span_of("fc_1");
		assert_int_equal(fixture_shape(&f), 0);
		t = TAILQ_NEXT(TAILQ_FIRST(&f.out.q->turns), link);
		assert_int_equal(TAILQ_LAST(&t->parts, canon_parts)->item_id.p != NULL, !foreign);
		fixture_close(&f);
	}
}

/* Spec 8.4.10: thoughts of the running loop go back, and the member is there when the client lost
 * it. */
static void
test_replay(void **state)
{
	struct fixture f;

	(void)state;
	fixture_open(&f, DIALECT_CHAT, DIALECT_CHAT, "deepseek-reasoner");
	f.p.replay = REPLAY_LOOP;
	fixture_expect(&f, "u=a\na~-/old;;=x\nu=b\na~-/new;;!c,f,{}\nt@c,f,1\na!d,f,{}\nt@d,f,2",
	    "u=a\na=x\nu=b\na~-/new;;!c,f,{}\nt@c,f,1\na~-/;;!d,f,{}\nt@d,f,2");
	fixture_close(&f);

	fixture_open(&f, DIALECT_MESSAGES, DIALECT_CHAT, "openrouter/x");
	f.p.replay = REPLAY_ALL;
	f.p.origin = ORIGIN_OPENROUTER;
	fixture_expect(&f, "u=a\na~-/old;;~Rs/r;;~As/t;;=x\nu=b", "u=a\na~-/old;;~Rs/r;;=x\nu=b");
	fixture_close(&f);
}

/* Spec 8.4.8: a loop that lost its thought stops thinking in budget mode, not in adaptive mode. */
static void
test_loop_without_thought(void **state)
{
	static const char mute[] = "u=a\na!c,f,{}\nt@c,f,1",
			  loud[] = "u=a\na~As/t;;!c,f,{}\nt@c,f,1";
	static const struct {
		enum dialect_id from;
		const char *model, *in;
		enum canon_think mode;
	} table[] = {
	    {DIALECT_CHAT, OLD_CLAUDE, mute, THINK_OFF}, {DIALECT_CHAT, OLD_CLAUDE, loud, THINK_ON},
	    {DIALECT_CHAT, NEW_CLAUDE, mute, THINK_ADAPTIVE},
	    {DIALECT_MESSAGES, OLD_CLAUDE, "u=a\na~Gs/t;;!c,f,{}\nt@c,f,1", THINK_OFF},
	    {DIALECT_MESSAGES, OLD_CLAUDE, mute,
		THINK_ON}, /* nothing was taken away: not ours to change */
	};

	(void)state;
	for (size_t i = 0; i < NELEM(table); i++) {
		struct fixture f;

		fixture_open(&f, table[i].from, DIALECT_MESSAGES, table[i].model);
		f.q->reasoning =
		    (struct canon_reasoning){.mode = THINK_ON, .has_budget = true, .budget = 4000};
		fixture_say(&f, table[i].in);
		assert_int_equal(fixture_shape(&f), 0);
		assert_int_equal(f.out.q->reasoning.mode, table[i].mode);
		fixture_close(&f);
	}
}

static void
test_fetch(void **state)
{
	struct fixture f;
	struct shaped_media *m;

	(void)state;
	fixture_open(&f, DIALECT_CHAT, DIALECT_GEMINI, GEMINI_2);
	fixture_expect(&f, "u=see;;#http://h/1.png\na=ok\nu#https://h/2.png;;#https://youtu.be/x",
	    "u=see;;#http://h/1.png\na=ok\nu#https://h/2.png;;#https://youtu.be/x");
	m = f.out.fetch;
	assert_non_null(m);
	assert_string_equal(fixture_cstr(&f, m->param), "messages[0].content[1]");
	assert_string_equal(fixture_cstr(&f, m->next->param), "messages[2].content[0]");
	assert_null(m->next->next);
	assert_int_equal(
	    shape_media_fetched(f.a, &f.p, m, span_of(PNG), span_of("image/jpeg"), &f.err), 0);
	assert_int_equal(
	    shape_media_fetched(f.a, &f.p, m->next, span_of("aGk="), span_of("text/html"), &f.err),
	    0);
	assert_string_equal(fixture_print(&f, f.out.q),
	    "u=see;;%image/png," PNG "\na=ok\nu%text/html,aGk=;;#https://youtu.be/x");
	fixture_close(&f);

	/* a file by URL may be anything */
	static const struct {
		const char *url;
		bool refused, fetched;
		enum canon_part_kind kind;
	} files[] = {
	    {"https://h/a.pdf", false, false, PART_FILE},
	    {"https://h/a", false, false, PART_FILE},
	    {"https://h/a.PNG?x=.txt", false, false, PART_IMAGE},
	    {"https://h/a.txt#x", false, true, PART_FILE},
	    {"https://h/a.mp3", true, false, PART_AUDIO},
	};
	for (size_t i = 0; i < NELEM(files); i++) {
		struct canon_part *p;

		fixture_open(&f, DIALECT_RESPONSES, DIALECT_MESSAGES, OLD_CLAUDE);
		fixture_say(&f, "u^-,x");
		p = TAILQ_FIRST(&TAILQ_FIRST(&f.q->turns)->parts);
		p->media.source = MEDIA_URL;
		p->media.data = span_of(files[i].url);
		assert_int_equal(fixture_shape(&f), files[i].refused ? E_DENIED : 0);
		if (!files[i].refused) {
			assert_int_equal(f.out.fetch != NULL, files[i].fetched);
			p = TAILQ_FIRST(&TAILQ_FIRST(&f.out.q->turns)->parts);
			assert_int_equal(p->kind, files[i].kind);
		}
		fixture_close(&f);
	}

	/* plain http is not for Anthropic; the client's own dialect is left alone */
	fixture_open(&f, DIALECT_CHAT, DIALECT_MESSAGES, OLD_CLAUDE);
	fixture_expect(&f, "u#http://h/1.png", "u#http://h/1.png");
	assert_non_null(f.out.fetch);
	fixture_close(&f);
	fixture_open(&f, DIALECT_CHAT, DIALECT_CHAT, "x");
	fixture_expect(
	    &f, "u#http://h/1.png;;%image/jpeg," PNG, "u#http://h/1.png;;%image/jpeg," PNG);
	assert_null(f.out.fetch);
	fixture_close(&f);
}

static void
test_foreign_items(void **state)
{
	static const char *const names[] = {"compaction", "computer_call", "item_reference"};
	struct canon_part *p;
	struct fixture f;

	(void)state;
	for (size_t i = 0; i <= NELEM(names); i++) {
		fixture_open(&f, DIALECT_RESPONSES, DIALECT_MESSAGES, OLD_CLAUDE);
		fixture_say(&f, "u=a\na=b\nu=c");
		p = canon_part_new(f.a, PART_OPAQUE);
		p->src.from = DIALECT_RESPONSES;
		p->name = span_of(i < NELEM(names) ? names[i] : "web_search_call");
		TAILQ_INSERT_HEAD(&TAILQ_NEXT(TAILQ_FIRST(&f.q->turns), link)->parts, p, link);
		assert_int_equal(fixture_shape(&f), i < NELEM(names) ? E_DENIED : 0);
		if (i == NELEM(names))
			assert_string_equal(fixture_print(&f, f.out.q), "u=a\na=b\nu=c");
		fixture_close(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cases),
	    cmocka_unit_test(test_asked_is_not_changed),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_profile_rows),
	    cmocka_unit_test(test_more_rows),
	    cmocka_unit_test(test_details_in_one_piece),
	    cmocka_unit_test(test_item_ids),
	    cmocka_unit_test(test_replay),
	    cmocka_unit_test(test_loop_without_thought),
	    cmocka_unit_test(test_fetch),
	    cmocka_unit_test(test_foreign_items),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
