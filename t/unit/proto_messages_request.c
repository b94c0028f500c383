#include "t/unit/proto_messages.h"

#include "proto/signature.h"

static const char simple[] =
    "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]";

/* A request made of the simple one and more members, decoded. */
static struct canon_request *
ask(struct bench *t, const char *more)
{
	const char *text = arena_printf(t->a, "%s%s%s}", simple, *more != '\0' ? "," : "", more);
	struct canon_request *q = NULL;
	int r = decode_request(t, span_of(text), &q);

	if (r != 0)
		fail_msg("%s: %.*s", more, (int)t->err.message.n, t->err.message.p);
	return q;
}

static struct canon_request *
ask_messages(struct bench *t, const char *messages)
{
	const char *text = arena_printf(t->a, "{\"model\":\"m\",\"messages\":[%s]}", messages);
	struct canon_request *q = NULL;

	assert_int_equal(decode_request(t, span_of(text), &q), 0);
	return q;
}

static const struct json *
encode(struct bench *t, const struct canon_request *q)
{
	struct buf out = BUF_INIT(1u << 22);
	const struct json *j;

	assert_int_equal(dialect_messages.encode_request(q, &t->ctx, &out), 0);
	j = parse(t, (struct span){arena_strndup(t->a, out.data, out.len), out.len});
	buf_clear(&out);
	return j;
}

static void
assert_member(struct bench *t, const struct json *o, const char *name, const char *want)
{
	const struct json *m = json_get(o, name);

	if (want == NULL) {
		assert_null(m);
		return;
	}
	if (m == NULL)
		fail_msg("no %s in %.*s", name, (int)o->raw.n, o->raw.p);
	assert_json(t, m->raw, span_of(want));
}

static struct canon_turn *
turn_at(const struct canon_request *q, unsigned i)
{
	struct canon_turn *t = TAILQ_FIRST(&q->turns);

	while (i-- > 0)
		t = TAILQ_NEXT(t, link);
	return t;
}

static struct canon_part *
add_part(struct bench *t, struct canon_turn *turn, enum canon_part_kind kind, const char *text)
{
	struct canon_part *p = canon_part_new(t->a, kind);

	p->text = span_of(text);
	TAILQ_INSERT_TAIL(&turn->parts, p, link);
	return p;
}

static struct canon_turn *
add_turn(struct bench *t, struct canon_request *q, enum canon_role role)
{
	struct canon_turn *turn = canon_turn_new(t->a, role);

	TAILQ_INSERT_TAIL(&q->turns, turn, link);
	return turn;
}

/* ---- own dialect ---- */

/* Every member comes back, known or not, and a second time in the same bytes. */
static void
test_fixture(void **state)
{
	struct bench *t = *state;
	struct buf body = BUF_INIT(1u << 20), out = BUF_INIT(1u << 20), again = BUF_INIT(1u << 20);
	struct canon_request *q;
	FILE *f = fopen("t/data/messages/request.json", "r");

	assert_non_null(f);
	body.len = fread(buf_reserve(&body, 1u << 16), 1, 1u << 16, f);
	fclose(f);
	assert_int_equal(decode_request(t, bytes_of(&body), &q), 0);
	t->ctx.model = span_of("claude-test-1");
	assert_int_equal(dialect_messages.encode_request(q, &t->ctx, &out), 0);
	assert_json(t, bytes_of(&out), bytes_of(&body));
	/* numbers and blocks as they were spelled */
	assert_non_null(memmem(out.data, out.len, "\"temperature\":1.0,", 18));
	assert_non_null(memmem(out.data, out.len, "{\"path\": \"notes.txt\", \"n\": 1.0}", 31));
	assert_non_null(memmem(out.data, out.len,
	    "{\"type\": \"of_tomorrow\", \"anything\": [1, 2.50, {\"a\": null}]}", 59));
	assert_int_equal(dialect_messages.encode_request(q, &t->ctx, &again), 0);
	assert_int_equal(out.len, again.len);
	assert_memory_equal(out.data, again.data, out.len);
	t->ctx.model = (struct span){NULL, 0};
	buf_clear(&body);
	buf_clear(&out);
	buf_clear(&again);
}

static void
test_model(void **state)
{
	struct bench *t = *state;
	struct canon_request *q = ask(t,
	    "\"system\":\"S\",\"temperature\":0.50,\"top_k\":7,\"stop_sequences\":[\"x\",\"y\"],"
	    "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000},\"output_config\":{"
	    "\"effort\":\"max\"},"
	    "\"metadata\":{\"user_id\":\"u\"},\"container\":\"c\"");

	assert_text(q->model, "m");
	assert_int_equal(q->max_out, 5);
	assert_false(q->max_is_visible);
	assert_text(q->temperature, "0.50");
	assert_text(q->top_k, "7");
	assert_text(q->stop->text, "x");
	assert_text(q->stop->next->text, "y");
	assert_null(q->stop->next->next);
	assert_int_equal(q->reasoning.mode, THINK_ON);
	assert_int_equal(q->reasoning.budget, 2000);
	assert_int_equal(q->reasoning.effort, EFFORT_MAX);
	assert_text(q->user, "u");
	assert_null(q->metadata.p);
	assert_int_equal(turn_at(q, 0)->role, ROLE_SYSTEM);
	assert_text(canon_turn_text(turn_at(q, 0))->text, "S");
	assert_int_equal(turn_at(q, 1)->role, ROLE_USER);
	assert_non_null(canon_extra_find(&q->src, "container"));
	assert_false(q->stream);
}

/* Spec 3.2: a user message is a tool turn and a user turn, and one message again. */
static void
test_results(void **state)
{
	static const char message[] =
	    "{\"role\":\"user\",\"content\":["
	    "{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":\"one\"},"
	    "{\"type\":\"tool_result\",\"tool_use_id\":\"b\",\"is_error\":true},"
	    "{\"type\":\"text\",\"text\":\"go\"}]}";
	struct bench *t = *state;
	struct canon_request *q = ask_messages(t, message);
	struct canon_part *p;

	assert_int_equal(turn_at(q, 0)->role, ROLE_TOOL);
	p = TAILQ_FIRST(&turn_at(q, 0)->parts);
	assert_text(p->id, "a");
	assert_text(TAILQ_FIRST(&p->content)->text, "one");
	assert_false(p->is_error);
	p = TAILQ_NEXT(p, link);
	assert_true(p->is_error);
	assert_true(TAILQ_EMPTY(&p->content));
	assert_null(TAILQ_NEXT(p, link));
	assert_int_equal(turn_at(q, 1)->role, ROLE_USER);
	assert_null(turn_at(q, 2));
	assert_member(t, encode(t, q), "messages", arena_printf(t->a, "[%s]", message));

	/* an unbroken run over two messages is one turn */
	q = ask_messages(t,
	    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\"}]},"
	    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"b\"}]}");
	assert_null(turn_at(q, 1));
	assert_int_equal(json_get(encode(t, q), "messages")->count, 1);

	/* a reminder that shaping puts behind the results goes into their message */
	TAILQ_INSERT_TAIL(&q->turns, canon_turn_new(t->a, ROLE_USER), link);
	add_part(t, turn_at(q, 1), PART_TEXT, "reminder");
	assert_int_equal(json_get(encode(t, q), "messages")->count, 1);

	/* the user's own next message stays one */
	q = ask_messages(t,
	    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"a\"}]},"
	    "{\"role\":\"user\",\"content\":\"b\"}");
	assert_int_equal(json_get(encode(t, q), "messages")->count, 2);
}

static void
test_refused(void **state)
{
	static const struct {
		const char *body, *message;
	} rows[] = {
	    {"{", "not valid JSON"},
	    {"[]", "should be a JSON object"},
	    {"{\"messages\":[]}", "model: Field required"},
	    {"{\"model\":\"m\"}", "messages: Field required"},
	    {"{\"model\":\"m\",\"messages\":{}}", "messages: Input should be a valid list"},
	    {"{\"model\":\"m\",\"messages\":[1]}", "messages.0: Input should be an object"},
	    {"{\"model\":\"m\",\"messages\":[{\"role\":\"x\",\"content\":\"\"}]}",
		"messages.0.role: Input should be"},
	    {"{\"model\":\"m\",\"messages\":[{\"content\":\"\"}]}",
		"messages.0.role: Field required"},
	    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":1}]}",
		"messages.0.content: Input"},
	    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
	     "\"text\":\"\"},1]}]}",
		"messages.0.content.1: Input should be an object"},
	    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\","
	     "\"text\":5}]}]}",
		"messages.0.content.0.text: Input should be a valid string"},
	    {"{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_"
	     "use\",\"id\":\"a\"}]}]}",
		"messages.0.content.0.name: Input should be a valid string"},
	    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_"
	     "result\",\"tool_use_id\":\"a\","
	     "\"content\":[{\"type\":\"text\"}]}]}]}",
		"tool_result.content.0.text: Input should be a valid string"},
	    {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"tool_"
	     "result\"}]}]}",
		"messages.0.content.0.tool_use_id: Input should be a valid string"},
	    {"{\"model\":\"m\",\"messages\":[],\"max_tokens\":0}",
		"max_tokens: Input should be greater"},
	    {"{\"model\":\"m\",\"messages\":[],\"max_tokens\":\"x\"}",
		"max_tokens: Input should be a valid integer"},
	    {"{\"model\":\"m\",\"messages\":[],\"temperature\":\"[]\"}",
		"temperature: Input should be a valid number"},
	    {"{\"model\":\"m\",\"messages\":[],\"temperature\":\"inf\"}",
		"temperature: Input should be a valid number"},
	    {"{\"model\":\"m\",\"messages\":[],\"system\":1}", "system: Input should be"},
	    {"{\"model\":\"m\",\"messages\":[],\"tools\":{}}",
		"tools: Input should be a valid list"},
	    {"{\"model\":\"m\",\"messages\":[],\"tools\":[{}]}", "tools.0.name: Field required"},
	    {"{\"model\":\"m\",\"messages\":[],\"stop_sequences\":[1]}", "stop_sequences: Input"},
	    {"{\"model\":\"m\",\"messages\":[],\"thinking\":{\"type\":\"maybe\"}}",
		"thinking.type: Input should be"},
	    {"{\"model\":\"m\",\"messages\":[],\"output_config\":{\"effort\":\"huge\"}}",
		"output_config.effort: Input"},
	};
	struct bench *t = *state;
	struct canon_request *q;

	for (size_t i = 0; i < NELEM(rows); i++) {
		t->err = (struct canon_error){0};
		assert_int_equal(decode_request(t, span_of(rows[i].body), &q), E_DENIED);
		assert_int_equal(t->err.class, ERROR_BAD_REQUEST);
		if (memmem(t->err.message.p, t->err.message.n, rows[i].message,
			strlen(rows[i].message)) == NULL)
			fail_msg("%s: %.*s", rows[i].body, (int)t->err.message.n, t->err.message.p);
	}
}

/* ---- from others ---- */

static void
test_foreign_turns(void **state)
{
	struct bench *t = *state;
	struct canon_request *q = canon_request_new(t->a, DIALECT_CHAT);
	struct canon_turn *turn;
	struct canon_part *p;
	const struct json *body;

	add_part(t, add_turn(t, q, ROLE_SYSTEM), PART_TEXT, "one");
	add_part(t, add_turn(t, q, ROLE_DEVELOPER), PART_TEXT, "two")->cache.set = true;
	add_part(t, add_turn(t, q, ROLE_USER), PART_TEXT, "hi");
	turn = add_turn(t, q, ROLE_ASSISTANT);
	p = add_part(t, turn, PART_TOOL_CALL, "");
	p->id = span_of("c1");
	p->name = span_of("f");
	p->args = span_of(" ");
	turn = add_turn(t, q, ROLE_TOOL);
	p = add_part(t, turn, PART_TOOL_RESULT, "");
	p->id = span_of("c1");
	p->is_error = true;
	p = canon_part_new(t->a, PART_TEXT);
	p->text = span_of("bad");
	TAILQ_INSERT_TAIL(&TAILQ_FIRST(&turn->parts)->content, p, link);
	turn = add_turn(t, q, ROLE_USER);
	add_part(t, turn, PART_TEXT, "and?");
	add_part(t, turn, PART_AUDIO, ""); /* no block: left out */
	add_part(t, add_turn(t, q, ROLE_SYSTEM), PART_TEXT, "later");

	body = encode(t, q);
	assert_member(t, body, "system",
	    "[{\"type\":\"text\",\"text\":\"one\"},"
	    "{\"type\":\"text\",\"text\":\"two\",\"cache_control\":{\"type\":\"ephemeral\"}}]");
	assert_member(t, body, "messages",
	    "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"}]},"
	    "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"c1\",\"name\":"
	    "\"f\",\"input\":{}}]},"
	    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"c1\","
	    "\"content\":"
	    "[{\"type\":\"text\",\"text\":\"bad\"}],\"is_error\":true},{\"type\":\"text\",\"text\":"
	    "\"and?\"}]},"
	    "{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"later\"}]}]");
	assert_member(t, body, "max_tokens", "8192");
	assert_member(t, body, "stream", NULL);
	assert_member(t, body, "tools", NULL);
}

static void
test_media(void **state)
{
	static const struct {
		enum canon_part_kind kind;
		struct canon_media media;
		const char *want;
	} rows[] = {
	    {PART_IMAGE, {.source = MEDIA_BASE64, .data = {"QUJD", 4}, .type = {"image/jpeg", 10}},
		"{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/"
		"jpeg\",\"data\":\"QUJD\"}}"},
	    {PART_IMAGE, {.source = MEDIA_URL, .data = {"https://x/", 10}},
		"{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x/\"}}"},
	    {PART_FILE, {.source = MEDIA_BASE64, .data = {"JVBE", 4}, .filename = {"a.pdf", 5}},
		"{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":"
		"\"application/pdf\",\"data\":\"JVBE\"},\"title\":\"a.pdf\"}"},
	    {PART_FILE,
		{.source = MEDIA_BASE64, .data = {"aMOpIQ==", 8}, .type = {"text/markdown", 13}},
		"{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/"
		"plain\",\"data\":\"h\xc3\xa9!\"}}"},
	    {PART_FILE,
		{.source = MEDIA_TEXT, .data = {"t", 1}, .context = {"c", 1}, .citations = 1},
		"{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/"
		"plain\",\"data\":\"t\"},\"context\":\"c\",\"citations\":{\"enabled\":true}}"},
	    {PART_FILE, {.source = MEDIA_BASE64, .data = {"QUJD", 4}, .type = {"image/png", 9}},
		"{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"media_type\":\"image/"
		"png\",\"data\":\"QUJD\"}}"},
	};
	struct bench *t = *state;

	for (size_t i = 0; i < NELEM(rows); i++) {
		struct canon_request *q = canon_request_new(t->a, DIALECT_CHAT);
		struct canon_part *p = add_part(t, add_turn(t, q, ROLE_USER), rows[i].kind, "");
		p->media = rows[i].media;
		if (p->media.citations == 0)
			p->media.citations = -1;
		assert_member(t, encode(t, q), "messages",
		    arena_printf(t->a, "[{\"role\":\"user\",\"content\":[%s]}]", rows[i].want));
	}
}

static void
test_parameters(void **state)
{
	struct bench *t = *state;
	struct canon_request *q = canon_request_new(t->a, DIALECT_CHAT);
	struct canon_tool *tool = canon_tool_new(t->a, TOOL_FUNCTION);
	const struct json *body, *tools;

	tool->name = span_of("f");
	tool->description = span_of("");
	TAILQ_INSERT_TAIL(&q->tools, tool, link);
	tool = canon_tool_new(t->a, TOOL_WEB_SEARCH);
	TAILQ_INSERT_TAIL(&q->tools, tool, link);
	q->parallel_tools = 0;
	q->reasoning.effort = EFFORT_NONE;
	q->format = (struct canon_format){.kind = FORMAT_SCHEMA,
	    .name = span_of("n"),
	    .schema = span_of("{\"a\":1}"),
	    .strict = 1};
	body = encode(t, q);
	tools = json_get(body, "tools");
	assert_json(t, json_at(tools, 0)->raw,
	    span_of("{\"name\":\"f\",\"input_schema\":{\"type\":\"object\",\"properties\":{}}}"));
	assert_json(t, json_at(tools, 1)->raw,
	    span_of("{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}"));
	assert_member(
	    t, body, "tool_choice", "{\"type\":\"auto\",\"disable_parallel_tool_use\":true}");
	assert_member(t, body, "thinking", "{\"type\":\"disabled\"}");
	assert_member(t, body, "output_config",
	    "{\"format\":{\"type\":\"json_schema\",\"schema\":{\"a\":1}}}");

	q->tool_choice.kind = CHOICE_NONE;
	q->reasoning.effort = EFFORT_MINIMAL;
	q->user = span_of("plain");
	body = encode(t, q);
	assert_member(t, body, "tool_choice", "{\"type\":\"none\"}");
	assert_member(t, body, "thinking", NULL);
	assert_member(t, json_get(body, "output_config"), "effort", "\"low\"");
	assert_member(t, body, "metadata", "{\"user_id\":\"plain\"}");
	q->tool_choice = (struct canon_tool_choice){.kind = CHOICE_NAMED, .name = span_of("f")};
	q->parallel_tools = 1;
	assert_member(t, encode(t, q), "tool_choice", "{\"type\":\"tool\",\"name\":\"f\"}");
	TAILQ_INIT(&q->tools);
	assert_member(t, encode(t, q), "tool_choice", NULL); /* without tools it would be refused */
}

/* ---- hosts ---- */

static void
test_hosts(void **state)
{
	struct bench *t = *state;
	struct decode_request in = {.arena = t->a,
	    .body = span_of("{\"model\":\"m\",\"messages\":[],\"stream\":true}"),
	    .betas = span_of("one-2025, two ,,")};
	struct canon_request *q;
	const struct json *body;

	assert_int_equal(dialect_messages.decode_request(&in, &q, &t->err), 0);
	body = encode(t, q);
	assert_member(t, body, "model", "\"m\"");
	assert_member(t, body, "stream", "true");
	assert_member(t, body, "anthropic_beta", NULL);
	t->profile.invoke = true;
	body = encode(t, q);
	assert_member(t, body, "model", NULL);
	assert_member(t, body, "stream", NULL);
	assert_member(t, body, "anthropic_version", "\"bedrock-2023-05-31\"");
	assert_member(t, body, "anthropic_beta", "[\"one-2025\",\"two\"]");
	t->profile.invoke = false;
	t->profile.vertex = true;
	body = encode(t, q);
	assert_member(t, body, "model", NULL);
	assert_member(t, body, "stream", "true");
	assert_member(t, body, "anthropic_version", "\"vertex-2023-10-16\"");
	assert_member(t, body, "anthropic_beta", NULL);
	t->profile.vertex = false;
}

static void
test_old_format(void **state)
{
	struct bench *t = *state;
	struct canon_request *q =
	    ask(t, "\"output_format\":{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\"}}");
	const struct json *body = encode(t, q);

	assert_int_equal(q->format.kind, FORMAT_SCHEMA);
	assert_member(t, body, "output_format",
	    "{\"type\":\"json_schema\",\"schema\":{\"type\":\"object\"}}");
	assert_member(t, body, "output_config", NULL);
}

/* ---- signatures (spec 8.4) ---- */

static const char *
thinking_with(struct bench *t, const struct canon_signature *s)
{
	struct span text = signature_wrap(t->a, s);

	return arena_printf(t->a,
	    "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"h\","
	    "\"signature\":\"%.*s\"},{\"type\":\"text\",\"text\":\"t\"}]}",
	    (int)text.n, text.p);
}

/* Trap: a signature of another provider sent to Anthropic. */
static void
test_no_foreign_signature(void **state)
{
	static const char left[] =
	    "[{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"t\"}]}]";
	struct bench *t = *state;
	struct canon_signature s = {.data = span_of("sig"), .origin = ORIGIN_GOOGLE};
	struct canon_request *q = ask_messages(t, thinking_with(t, &s));
	struct canon_part *p = TAILQ_FIRST(&turn_at(q, 0)->parts);

	assert_int_equal(p->sign.origin, ORIGIN_GOOGLE);
	assert_text(p->sign.data, "sig");
	assert_member(t, encode(t, q), "messages", left);
	s.origin = ORIGIN_NONE; /* unsigned, shown by us in an empty envelope */
	s.data = (struct span){NULL, 0};
	assert_member(t, encode(t, ask_messages(t, thinking_with(t, &s))), "messages", left);
	s = (struct canon_signature){.data = span_of("real"), .origin = ORIGIN_ANTHROPIC};
	assert_member(t, encode(t, ask_messages(t, thinking_with(t, &s))), "messages",
	    "[{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"h\","
	    "\"signature\":\"real\"},"
	    "{\"type\":\"text\",\"text\":\"t\"}]}]");
}

/* Trap: a thinking block with an empty text loses its signature. */
static void
test_empty_thinking(void **state)
{
	static const char message[] =
	    "[{\"role\":\"assistant\",\"content\":["
	    "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"c2ln\"},"
	    "{\"type\":\"redacted_thinking\",\"data\":\"ZGF0\"}]}]";
	struct bench *t = *state;
	struct canon_request *q;
	struct canon_part *p;

	q = ask_messages(t, arena_strndup(t->a, message + 1, strlen(message) - 2));
	p = TAILQ_FIRST(&turn_at(q, 0)->parts);
	assert_int_equal(p->sign.origin, ORIGIN_ANTHROPIC);
	assert_false(p->sign.encrypted);
	assert_true(TAILQ_NEXT(p, link)->sign.encrypted);
	assert_member(t, encode(t, q), "messages", message);
}

/* ---- marks and citations ---- */

/* A mark that shaping has taken away is not brought back by a block that is kept whole. */
static void
test_marks(void **state)
{
	struct bench *t = *state;
	struct canon_request *q =
	    ask(t, "\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\","
		   "\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\",\"scope\":\"x\"}}]");
	struct canon_tool *tool = TAILQ_FIRST(&q->tools);

	assert_true(tool->cache.set);
	assert_text(tool->cache.ttl, "1h");
	assert_member(t, encode(t, q), "tools",
	    "[{\"type\":\"web_search_20250305\",\"name\":\"web_search\","
	    "\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\",\"scope\":\"x\"}}]");
	tool->cache.ttl = (struct span){NULL, 0};
	assert_member(t, encode(t, q), "tools",
	    "[{\"type\":\"web_search_20250305\",\"name\":\"web_search\","
	    "\"cache_control\":{\"type\":\"ephemeral\",\"scope\":\"x\"}}]");
	tool->cache.set = false;
	assert_member(t, encode(t, q), "tools",
	    "[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}]");
}

static void
test_citations(void **state)
{
	struct bench *t = *state;
	struct canon_request *q = ask_messages(t,
	    "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"t\","
	    "\"citations\":[{\"type\":\"web_search_result_location\",\"url\":\"u\",\"title\":\"T\","
	    "\"cited_text\":\"c\",\"encrypted_index\":\"\"}]}]}");
	struct canon_part *p = TAILQ_FIRST(&turn_at(q, 0)->parts);

	assert_int_equal(TAILQ_FIRST(&p->annotations)->kind, CITE_URL);
	assert_text(TAILQ_FIRST(&p->annotations)->url, "u");
	assert_text(TAILQ_FIRST(&p->annotations)->quoted, "c");
	assert_member(t, encode(t, q), "messages",
	    "[{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"t\"}]}]");
}

/* ---- large and hostile ---- */

static void
test_deep(void **state)
{
	struct bench *t = *state;
	struct buf b = BUF_INIT(1u << 20);
	struct canon_request *q;

	buf_str(&b, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[");
	for (unsigned i = 0; i < 200; i++)
		buf_str(&b, "{\"type\":\"tool_result\",\"tool_use_id\":\"a\",\"content\":[");
	for (unsigned i = 0; i < 200; i++)
		buf_str(&b, "]}");
	buf_str(&b, "]}]}");
	assert_int_equal(decode_request(t, bytes_of(&b), &q), 0);
	encode(t, q);
	buf_reset(&b);
	for (unsigned i = 0; i < 10000; i++)
		buf_str(&b, "[");
	assert_int_equal(decode_request(t, bytes_of(&b), &q), E_DENIED);
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fixture),
	    cmocka_unit_test(test_model),
	    cmocka_unit_test(test_results),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_foreign_turns),
	    cmocka_unit_test(test_media),
	    cmocka_unit_test(test_parameters),
	    cmocka_unit_test(test_hosts),
	    cmocka_unit_test(test_old_format),
	    cmocka_unit_test(test_no_foreign_signature),
	    cmocka_unit_test(test_empty_thinking),
	    cmocka_unit_test(test_marks),
	    cmocka_unit_test(test_citations),
	    cmocka_unit_test(test_deep),
	};

	return cmocka_run_group_tests(tests, bench_open, bench_close);
}
