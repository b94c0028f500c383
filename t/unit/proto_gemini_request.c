/* Requests of Google's generateContent: read, written, and both. */
#include "proto/signature.h"
#include "t/unit/proto_gemini.h"

static struct canon_request *
decode(const char *body)
{
	struct decode_request in = {.arena = arena,
	    .body = span_of(body),
	    .model = span_of("gemini-3-pro"),
	    .stream = true};
	struct canon_request *q = NULL;

	assert_int_equal(dialect_gemini.decode_request(&in, &q, &error), 0);
	return q;
}

static void
assert_encodes(const struct canon_request *q, const char *want)
{
	struct encode_ctx ctx = context(NULL);
	struct buf b = BUF_INIT(1u << 20);

	assert_int_equal(dialect_gemini.encode_request(q, &ctx, &b), 0);
	assert_bytes(&b, want);
}

static struct canon_part *
nth(const struct canon_turn *t, unsigned n)
{
	struct canon_part *p = TAILQ_FIRST(&t->parts);

	while (n-- > 0)
		p = TAILQ_NEXT(p, link);
	assert_non_null(p);
	return p;
}

/* ---- there and back ---- */

static void
round_trip(const char *name)
{
	struct span text = fixture(name);
	struct decode_request in = {.arena = arena, .body = text, .model = span_of("gemini-3-pro")};
	struct canon_request *q = NULL;
	struct encode_ctx ctx = context(NULL);
	struct buf b = BUF_INIT(1u << 20);

	assert_int_equal(dialect_gemini.decode_request(&in, &q, &error), 0);
	assert_int_equal(dialect_gemini.encode_request(q, &ctx, &b), 0);
	if (!json_same(parsed(text), parsed((struct span){b.data, b.len})))
		fail_msg("got %.*s", (int)b.len, b.data);
	buf_clear(&b);
}

static void
test_own_agent(void **state)
{
	(void)state;
	round_trip("request-agent.json");
}

static void
test_own_snake(void **state)
{
	(void)state;
	round_trip("request-snake.json");
}

/* ---- reading ---- */

static void
test_turns_are_split(void **state)
{
	struct canon_request *q = decode(
	    "{\"contents\":[{\"parts\":[{\"text\":\"a\"},{\"functionResponse\":{\"name\":\"f\","
	    "\"id\":\"1\","
	    "\"response\":{\"output\":\"x\"}}},{\"function_response\":{\"name\":\"g\",\"response\":"
	    "{\"error\":\"bad\"}}},{\"text\":\"b\"}]}]}");
	struct canon_turn *t = TAILQ_FIRST(&q->turns);
	struct canon_part *p;

	(void)state;
	assert_int_equal(t->role, ROLE_USER);
	t = TAILQ_NEXT(t, link);
	assert_int_equal(t->role, ROLE_TOOL);
	p = nth(t, 0);
	assert_text(p->id, "1");
	assert_text(p->name, "f");
	assert_false(p->is_error);
	assert_text(TAILQ_FIRST(&p->content)->text, "x");
	assert_text(p->structured, "{\"output\":\"x\"}");
	p = nth(t, 1);
	assert_null(p->id.p);
	assert_true(p->is_error);
	assert_text(TAILQ_FIRST(&p->content)->text, "bad");
	t = TAILQ_NEXT(t, link);
	assert_int_equal(t->role, ROLE_USER);
	assert_text(nth(t, 0)->text, "b");
	assert_null(TAILQ_NEXT(t, link));
	assert_true(q->stream);
}

static void
test_response_of_many_members_is_its_json(void **state)
{
	struct canon_request *q =
	    decode("{\"contents\":[{\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":"
		   "{ \"a\" : [ 1.0 ], \"error\":\"x\" }}}]}]}");
	struct canon_part *p = nth(TAILQ_FIRST(&q->turns), 0);

	(void)state;
	assert_false(p->is_error);
	assert_text(TAILQ_FIRST(&p->content)->text, "{\"a\":[1.0],\"error\":\"x\"}");
}

static void
test_carrier(void **state)
{
	struct canon_request *q =
	    decode("{\"contents\":[{\"role\":\"model\",\"parts\":[{\"text\":\"a\"},{\"text\":\"\","
		   "\"thoughtSignature\":\"QQ==\"},{\"text\":\"\",\"thoughtSignature\":\"Qg==\"},"
		   "{\"functionCall\":{\"name\":\"f\"}},{\"text\":\"\",\"thoughtSignature\":\"Qw=="
		   "\"}]}]}");
	struct canon_turn *t = TAILQ_FIRST(&q->turns);

	(void)state;
	assert_true(nth(t, 0)->carrier);
	assert_text(nth(t, 0)->sign.data, "QQ==");
	assert_int_equal(nth(t, 0)->sign.origin, ORIGIN_GOOGLE);
	/* a second one, and one behind a call, stay where they are */
	assert_true(nth(t, 1)->carrier);
	assert_text(nth(t, 1)->text, "");
	assert_text(nth(t, 1)->sign.data, "Qg==");
	assert_null(nth(t, 2)->sign.data.p);
	assert_text(nth(t, 2)->args, "{}");
	assert_text(nth(t, 3)->sign.data, "Qw==");
	assert_encodes(q,
	    "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"text\":\"a\"},{\"text\":\"\","
	    "\"thoughtSignature\":\"QQ==\"},{\"text\":\"\",\"thoughtSignature\":\"Qg==\"},"
	    "{\"functionCall\":{\"name\":\"f\"}},{\"text\":\"\",\"thoughtSignature\":\"Qw==\"}]}]"
	    "}");
}

/* As a client keeps a stream: one content for each chunk. */
static void
test_chunks_are_one_turn(void **state)
{
	const char *body = "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"text\":\"a\","
			   "\"thought\":true}]},{\"role\":\"model\","
			   "\"parts\":[{\"text\":\"b\"},{\"text\":\"c\"}]},{\"role\":\"model\","
			   "\"parts\":[{\"text\":\"\"}]}]}";
	struct canon_request *q = decode(body);
	struct canon_turn *t = TAILQ_FIRST(&q->turns);

	(void)state;
	assert_null(TAILQ_NEXT(t, link));
	assert_text(nth(t, 2)->text, "c");
	assert_encodes(q, body);
}

static void
test_thought_of_others_is_whole_again(void **state)
{
	struct canon_signature s = {.data = span_of("sig"), .origin = ORIGIN_ANTHROPIC};
	struct span envelope = signature_wrap(arena, &s);
	char body[1024];
	struct canon_turn *t;

	(void)state;
	snprintf(body, sizeof body,
	    "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"text\":\"no\",\"thought\":true,"
	    "\"thoughtSignature\":\"QQ==\"}]},"
	    "{\"role\":\"model\",\"parts\":[{\"text\":\"one "
	    "\",\"thought\":true}]},{\"role\":\"model\",\"parts\":[{\"text\":"
	    "\"two\",\"thought\":true}]},{\"role\":\"model\",\"parts\":[{\"text\":\"\",\"thought\":"
	    "true,"
	    "\"thoughtSignature\":\"%.*s\"}]},{\"role\":\"model\",\"parts\":[{\"text\":\"x\","
	    "\"thought\":true}]}]}",
	    (int)envelope.n, envelope.p);
	t = TAILQ_FIRST(&decode(body)->turns);
	assert_text(nth(t, 0)->text, "no");
	assert_text(nth(t, 1)->text, "one two");
	assert_text(nth(t, 1)->sign.data, "sig");
	assert_int_equal(nth(t, 1)->sign.origin, ORIGIN_ANTHROPIC);
	assert_text(nth(t, 2)->text, "x");
	assert_null(TAILQ_NEXT(nth(t, 2), link));
}

static void
test_kinds_of_parts(void **state)
{
	static const struct {
		const char *part;
		enum canon_part_kind kind;
	} rows[] = {
	    {"{\"text\":\"x\"}", PART_TEXT},
	    {"{\"text\":\"x\",\"thought\":true}", PART_REASONING},
	    {"{\"inline_data\":{\"mime_type\":\"image/png\",\"data\":\"\"}}", PART_IMAGE},
	    {"{\"inlineData\":{\"mimeType\":\"audio/wav\",\"data\":\"\"}}", PART_AUDIO},
	    {"{\"inlineData\":{\"mimeType\":\"application/pdf\",\"data\":\"\"}}", PART_FILE},
	    {"{\"fileData\":{\"mimeType\":\"video/mp4\",\"fileUri\":\"gs://b/v\"}}", PART_VIDEO},
	    {"{\"fileData\":{\"fileUri\":\"https://www.youtube.com/watch?v=1\"}}", PART_VIDEO},
	    {"{\"executableCode\":{}}", PART_SERVER_CALL},
	    {"{\"toolCall\":{\"toolType\":\"FILE_SEARCH\"}}", PART_SERVER_CALL},
	    {"{\"codeExecutionResult\":{}}", PART_SERVER_RESULT},
	    {"{\"tool_response\":{}}", PART_SERVER_RESULT},
	    {"{\"surprise\":{}}", PART_OPAQUE},
	    {"7", PART_OPAQUE},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		char body[256];

		snprintf(body, sizeof body, "{\"contents\":[{\"parts\":[%s]}]}", rows[i].part);
		struct canon_request *q = decode(body);
		assert_int_equal(nth(TAILQ_FIRST(&q->turns), 0)->kind, rows[i].kind);
	}
}

static void
test_choice(void **state)
{
	static const struct {
		const char *config;
		enum canon_choice_kind kind;
		bool any;
	} rows[] = {
	    {"{\"mode\":\"AUTO\"}", CHOICE_AUTO, false},
	    {"{\"mode\":\"NONE\"}", CHOICE_NONE, false},
	    {"{\"mode\":\"ANY\"}", CHOICE_ANY, true},
	    {"{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\"]}", CHOICE_NAMED, true},
	    {"{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\",\"g\"]}", CHOICE_ALLOWED, true},
	    {"{\"mode\":\"VALIDATED\"}", CHOICE_AUTO, false},
	    {"{\"mode\":\"VALIDATED\",\"allowedFunctionNames\":[\"f\"]}", CHOICE_ALLOWED, false},
	    {"{\"mode\":\"MODE_UNSPECIFIED\"}", CHOICE_UNSET, false},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		char body[256], want[300];

		snprintf(body, sizeof body,
		    "{\"contents\":[],\"toolConfig\":{\"functionCallingConfig\":%s}}",
		    rows[i].config);
		struct canon_request *q = decode(body);
		assert_int_equal(q->tool_choice.kind, rows[i].kind);
		if (rows[i].kind == CHOICE_ALLOWED)
			assert_int_equal(q->tool_choice.allowed_any, rows[i].any);
		if (rows[i].kind == CHOICE_NAMED)
			assert_text(q->tool_choice.name, "f");
		snprintf(want, sizeof want, "%s", body);
		assert_encodes(q, want);
	}
}

/* The subset's types are no JSON schema: others get one, Google gets what the client wrote. */
static void
test_subset_schema(void **state)
{
	const char *body = "{\"contents\":[],\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\","
			   "\"parameters\":{\"type\":"
			   "\"OBJECT\",\"properties\":{\"type\":{\"type\":\"STRING\",\"nullable\":"
			   "true,\"enum\":[\"A\"]}}}}]}]}";
	struct canon_request *q = decode(body);

	(void)state;
	assert_text(TAILQ_FIRST(&q->tools)->schema,
	    "{\"type\":\"object\",\"properties\":{\"type\":{\"type\":[\"string\",\"null\"],"
	    "\"enum\":[\"A\"]}}}");
	assert_encodes(q, body);
}

static void
test_config(void **state)
{
	struct canon_request *q =
	    decode("{\"contents\":[],\"generationConfig\":{\"temperature\":1.0,\"top_k\":\"5\","
		   "\"maxOutputTokens\":9,"
		   "\"stopSequences\":[\"a\",\"b\"],\"candidateCount\":2,\"responseLogprobs\":true,"
		   "\"responseMimeType\":\"application/"
		   "json\",\"thinkingConfig\":{\"thinkingLevel\":\"high\","
		   "\"includeThoughts\":true}}}");

	(void)state;
	assert_text(q->temperature, "1.0");
	assert_text(q->top_k, "5");
	assert_true(q->has_max);
	assert_int_equal(q->max_out, 9);
	assert_false(q->max_is_visible);
	assert_text(q->stop->next->text, "b");
	assert_int_equal(q->n, 2);
	assert_int_equal(q->logprobs, 1);
	assert_int_equal(q->format.kind, FORMAT_JSON);
	assert_int_equal(q->reasoning.effort, EFFORT_HIGH);
	assert_int_equal(q->reasoning.show, SHOW_FULL);
	q = decode(
	    "{\"contents\":[],\"generationConfig\":{\"thinkingConfig\":{\"thinkingBudget\":0}}}");
	assert_int_equal(q->reasoning.mode, THINK_OFF);
	q = decode(
	    "{\"contents\":[],\"generationConfig\":{\"thinkingConfig\":{\"thinkingBudget\":-1}}}");
	assert_true(q->reasoning.has_budget);
	assert_int_equal(q->reasoning.budget, -1);
}

static void
test_count_tokens_wrapper(void **state)
{
	struct canon_request *q =
	    decode("{\"generateContentRequest\":{\"model\":\"models/m\",\"contents\":"
		   "{\"parts\":[{\"text\":\"x\"}]}}}");

	(void)state;
	assert_text(nth(TAILQ_FIRST(&q->turns), 0)->text, "x");
}

static void
test_refusals(void **state)
{
	static const struct {
		const char *body, *param;
	} rows[] = {
	    {"[]", NULL},
	    {"{", NULL},
	    {"{}", "contents"},
	    {"{\"contents\":\"x\"}", "contents"},
	    {"{\"contents\":[{\"parts\":{}}]}", "contents"},
	    {"{\"contents\":[{\"role\":\"system\",\"parts\":[]}]}", "contents"},
	    {"{\"contents\":[],\"tools\":7}", "tools"},
	    {"{\"contents\":[],\"tools\":[{\"functionDeclarations\":[{}]}]}",
		"tools.functionDeclarations.name"},
	    {"{\"contents\":[],\"systemInstruction\":7}", "systemInstruction"},
	    {"{\"contents\":[],\"generationConfig\":[]}", "generationConfig"},
	    {"{\"contents\":[],\"generationConfig\":{\"temperature\":\"hot\"}}",
		"generationConfig.temperature"},
	    {"{\"contents\":[],\"generationConfig\":{\"maxOutputTokens\":1.5}}",
		"generationConfig.maxOutputTokens"},
	    {"{\"contents\":[],\"generationConfig\":{\"stopSequences\":[1]}}",
		"generationConfig.stopSequences"},
	    {"{\"contents\":[],\"generationConfig\":{\"responseMimeType\":\"image/png\"}}",
		"generationConfig.responseMimeType"},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++) {
		struct decode_request in = {.arena = arena, .body = span_of(rows[i].body)};
		struct canon_request *q = NULL;

		error = (struct canon_error){0};
		assert_int_equal(dialect_gemini.decode_request(&in, &q, &error), E_DENIED);
		assert_true(error.message.n > 0);
		assert_text(error.param, rows[i].param);
	}
}

/* ---- writing what others asked ---- */

static struct canon_turn *
add_turn(struct canon_request *q, enum canon_role role)
{
	struct canon_turn *t = canon_turn_new(arena, role);

	TAILQ_INSERT_TAIL(&q->turns, t, link);
	return t;
}

static struct canon_part *
add_part(struct canon_parts *parts, enum canon_part_kind kind, const char *text)
{
	struct canon_part *p = canon_part_new(arena, kind);

	p->text = span_of(text);
	TAILQ_INSERT_TAIL(parts, p, link);
	return p;
}

static struct canon_part *
add_result(struct canon_turn *t, const char *id, const char *text, bool is_error)
{
	struct canon_part *p = add_part(&t->parts, PART_TOOL_RESULT, NULL);

	p->id = span_of(id);
	p->name = span_of("f");
	p->is_error = is_error;
	add_part(&p->content, PART_TEXT, text);
	return p;
}

static void
test_foreign_conversation(void **state)
{
	struct canon_request *q = canon_request_new(arena, DIALECT_MESSAGES);
	struct canon_turn *t;
	struct canon_part *p;

	(void)state;
	add_part(&add_turn(q, ROLE_SYSTEM)->parts, PART_TEXT, "one");
	add_part(&add_turn(q, ROLE_DEVELOPER)->parts, PART_TEXT, "two");
	add_part(&add_turn(q, ROLE_USER)->parts, PART_TEXT, "hi");
	t = add_turn(q, ROLE_ASSISTANT);
	p = add_part(&t->parts, PART_TOOL_CALL, NULL);
	p->id = span_of("c1");
	p->name = span_of("f");
	p->args = span_of(" {\"a\": 1.0} ");
	p->sign = (struct canon_signature){.data = span_of("QQ=="), .origin = ORIGIN_ANTHROPIC};
	t = add_turn(q, ROLE_TOOL);
	add_result(t, "c1", "plain", false);
	add_result(t, "c2", "{\"x\":1}", false);
	add_result(t, "c3", "{\"$ref\":1}", false);
	add_result(t, "c4", "bad", true);
	add_part(&add_turn(q, ROLE_USER)->parts, PART_TEXT, "next");
	assert_encodes(q,
	    "{\"systemInstruction\":{\"parts\":[{\"text\":\"one\"},{\"text\":\"two\"}]},"
	    "\"contents\":["
	    "{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\",\"parts\":[{"
	    "\"functionCall\":"
	    "{\"id\":\"c1\",\"name\":\"f\",\"args\":{\"a\": 1.0}"
	    "}}]},{\"role\":\"user\",\"parts\":["
	    "{\"functionResponse\":{\"id\":\"c1\",\"name\":\"f\",\"response\":{\"result\":"
	    "\"plain\"}}},"
	    "{\"functionResponse\":{\"id\":\"c2\",\"name\":\"f\",\"response\":{\"x\":1}}},"
	    "{\"functionResponse\":{\"id\":\"c3\",\"name\":\"f\",\"response\":{\"result\":\"{\\\"$"
	    "ref\\\":1}\"}}},"
	    "{\"functionResponse\":{\"id\":\"c4\",\"name\":\"f\",\"response\":{\"error\":\"bad\"}}}"
	    ","
	    "{\"text\":\"next\"}]}]}");
}

static void
test_foreign_media(void **state)
{
	struct canon_request *q = canon_request_new(arena, DIALECT_CHAT);
	struct canon_turn *t = add_turn(q, ROLE_TOOL);
	struct canon_part *p = add_result(t, "c", "see", false), *i;

	(void)state;
	i = add_part(&p->content, PART_IMAGE, NULL);
	i->media.data = span_of("AAAA");
	p = add_part(&t->parts, PART_FILE, NULL);
	p->media = (struct canon_media){
	    .source = MEDIA_TEXT, .data = span_of("body"), .title = span_of("T")};
	p = add_part(&t->parts, PART_TEXT, NULL);
	p->text = (struct span){"a\0b", 3};
	p = add_part(&t->parts, PART_IMAGE, NULL);
	p->media = (struct canon_media){
	    .source = MEDIA_URL, .data = span_of("https://x/y"), .detail = span_of("low")};
	profile.image_in_result = false;
	assert_encodes(q, "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"functionResponse\":{"
			  "\"id\":\"c\",\"name\":\"f\","
			  "\"response\":{\"result\":\"see\"}}},{\"text\":\"<document "
			  "title=\\\"T\\\">\\nbody\\n</document>\"},"
			  "{\"text\":\"ab\"},{\"fileData\":{\"fileUri\":\"https://x/y\"}},"
			  "{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"AAAA\"}}]}],"
			  "\"generationConfig\":{\"mediaResolution\":\"MEDIA_RESOLUTION_LOW\"}}");
}

static struct canon_tool *
add_tool(struct canon_request *q, enum canon_tool_kind kind, const char *name)
{
	struct canon_tool *t = canon_tool_new(arena, kind);

	t->name = span_of(name);
	TAILQ_INSERT_TAIL(&q->tools, t, link);
	return t;
}

static void
test_foreign_tools(void **state)
{
	struct canon_request *q = canon_request_new(arena, DIALECT_RESPONSES);

	(void)state;
	add_tool(q, TOOL_FUNCTION, "f")->schema = span_of("{\"type\":\"object\"}");
	add_tool(q, TOOL_WEB_SEARCH, "web");
	add_tool(q, TOOL_FILE_SEARCH, "files");
	add_tool(q, TOOL_FUNCTION, "g")->description = span_of("d");
	q->tool_choice.kind = CHOICE_ANY;
	q->safety = span_of("[1]");
	assert_encodes(q, "{\"contents\":[],\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\","
			  "\"parametersJsonSchema\":"
			  "{\"type\":\"object\"}},{\"name\":\"g\",\"description\":\"d\"}]},{"
			  "\"googleSearch\":{}}],"
			  "\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"ANY\"}}}");
	profile.schema = SCHEMA_GEMINI_SUBSET;
	TAILQ_REMOVE(&q->tools, TAILQ_NEXT(TAILQ_FIRST(&q->tools), link), link);
	q->web_search = span_of("{}");
	q->tool_choice.kind = CHOICE_UNSET;
	q->format = (struct canon_format){.kind = FORMAT_SCHEMA, .schema = span_of("{}")};
	assert_encodes(q,
	    "{\"contents\":[],\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"parameters\":"
	    "{\"type\":\"object\"}},{\"name\":\"g\",\"description\":\"d\"}]},{\"googleSearch\":{}}]"
	    ","
	    "\"generationConfig\":{\"responseMimeType\":\"application/"
	    "json\",\"responseSchema\":{}}}");
}

static void
test_foreign_thinking(void **state)
{
	struct canon_request *q = canon_request_new(arena, DIALECT_CHAT);

	(void)state;
	q->reasoning = (struct canon_reasoning){.effort = EFFORT_XHIGH, .show = SHOW_AUTO};
	q->modalities = span_of("[\"text\",\"image\"]");
	q->temperature = span_of("1.0");
	assert_encodes(q,
	    "{\"contents\":[],\"generationConfig\":{\"temperature\":1.0,\"thinkingConfig\":{"
	    "\"thinkingLevel\":"
	    "\"high\",\"includeThoughts\":true},\"responseModalities\":[\"TEXT\",\"IMAGE\"]}}");
	q = canon_request_new(arena, DIALECT_CHAT);
	q->reasoning =
	    (struct canon_reasoning){.effort = EFFORT_LOW, .has_budget = true, .budget = 2048};
	assert_encodes(q, "{\"contents\":[],\"generationConfig\":{\"thinkingConfig\":{"
			  "\"thinkingBudget\":2048}}}");
	q = canon_request_new(arena, DIALECT_CHAT);
	q->reasoning.mode = THINK_OFF;
	assert_encodes(q,
	    "{\"contents\":[],\"generationConfig\":{\"thinkingConfig\":{\"thinkingBudget\":0}}}");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_own_agent),
	    T(test_own_snake),
	    T(test_turns_are_split),
	    T(test_response_of_many_members_is_its_json),
	    T(test_carrier),
	    T(test_chunks_are_one_turn),
	    T(test_thought_of_others_is_whole_again),
	    T(test_kinds_of_parts),
	    T(test_choice),
	    T(test_subset_schema),
	    T(test_config),
	    T(test_count_tokens_wrapper),
	    T(test_refusals),
	    T(test_foreign_conversation),
	    T(test_foreign_media),
	    T(test_foreign_tools),
	    T(test_foreign_thinking),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
