/* Requests of the Responses dialect: what a client says, and what an upstream is sent. */
#include "t/unit/proto_responses.h"

static struct canon_turn *
turn_at(struct canon_request *q, unsigned i)
{
	struct canon_turn *t;

	TAILQ_FOREACH (t, &q->turns, link)
		if (i-- == 0)
			return t;
	fail_msg("no such turn");
	return NULL;
}

static struct canon_part *
part_at(struct canon_turn *t, unsigned i)
{
	struct canon_part *p;

	TAILQ_FOREACH (p, &t->parts, link)
		if (i-- == 0)
			return p;
	fail_msg("no such part");
	return NULL;
}

/* Every member comes back, whatever it is. */
static void
all_members_come_back(void **state)
{
	static const char body[] =
	    "{\"model\":\"gpt-5\",\"instructions\":\"Be brief.\",\"input\":["
	    "{\"role\":\"developer\",\"content\":\"d\"},"
	    "{\"role\":\"user\",\"content\":\"plain\"},"
	    "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
	    "\"text\":\"a\",\"x_mark\":{\"k\":1}},"
	    "{\"type\":\"input_image\",\"image_url\":\"data:image/"
	    "png;base64,iVBORw0KGgo=\",\"detail\":\"low\"},"
	    "{\"type\":\"input_image\",\"file_id\":\"file-1\"},"
	    "{\"type\":\"input_file\",\"file_url\":\"https://a.example/b.pdf\"},"
	    "{\"type\":\"input_hologram\",\"beam\":[1]}]},"
	    "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\","
	    "\"text\":\"one\"},"
	    "{\"type\":\"summary_text\",\"text\":\"two\"}],\"content\":[{\"type\":\"reasoning_"
	    "text\",\"text\":\"raw\"}],"
	    "\"encrypted_content\":\"gAAA\",\"status\":\"completed\"},"
	    "{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"status\":"
	    "\"completed\",\"phase\":\"commentary\","
	    "\"content\":[{\"type\":\"output_text\",\"text\":\"b\",\"annotations\":[],\"logprobs\":"
	    "[]},"
	    "{\"type\":\"refusal\",\"refusal\":\"no\"}]},"
	    "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[]},"
	    "{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"call_1\",\"namespace\":"
	    "\"ns\",\"name\":\"f\","
	    "\"arguments\":\"{\\\"a\\\": 1.0}\",\"status\":\"completed\"},"
	    "{\"type\":\"custom_tool_call\",\"id\":\"ctc_1\",\"call_id\":\"call_2\",\"name\":\"g\","
	    "\"input\":\"free\"},"
	    "{\"type\":\"local_shell_call\",\"id\":\"lsh_1\",\"call_id\":\"call_3\",\"action\":{"
	    "\"type\":\"exec\",\"command\":[\"ls\"]}},"
	    "{\"type\":\"function_call_output\",\"call_id\":\"call_1\",\"output\":[{\"type\":"
	    "\"input_text\",\"text\":\"r\"}]},"
	    "{\"type\":\"custom_tool_call_output\",\"call_id\":\"call_2\",\"output\":\"ok\"},"
	    "{\"type\":\"local_shell_call_output\",\"call_id\":\"call_3\",\"output\":\"x\"},"
	    "{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\",\"action\":{"
	    "\"type\":\"search\",\"query\":\"q\"}},"
	    "{\"type\":\"mcp_approval_response\",\"approve\":true,\"approval_request_id\":\"m\"},"
	    "{\"type\":\"compaction\",\"encrypted_content\":\"zz\"},{\"id\":\"msg_7\"},"
	    "{\"type\":\"from_the_future\",\"y\":[1,{\"z\":null}]}],"
	    "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"description\":\"\",\"parameters\":{"
	    "\"type\":\"object\",\"z\":1.50},"
	    "\"strict\":true,\"x\":2},{\"type\":\"custom\",\"name\":\"g\",\"format\":{\"type\":"
	    "\"text\"}},"
	    "{\"type\":\"namespace\",\"name\":\"ns\",\"description\":\"group\",\"tools\":[{"
	    "\"type\":\"function\",\"name\":\"f\","
	    "\"parameters\":{}},{\"type\":\"function\",\"name\":\"h\",\"parameters\":{},\"defer_"
	    "loading\":true}]},"
	    "{\"type\":\"mcp\",\"server_label\":\"s\",\"server_url\":\"https://s.example\"}],"
	    "\"tool_choice\":{\"type\":\"allowed_tools\",\"mode\":\"required\",\"tools\":[{"
	    "\"type\":\"mcp\",\"server_label\":\"s\"}]},"
	    "\"parallel_tool_calls\":false,\"max_output_tokens\":5,\"temperature\":0.50,\"top_p\":"
	    "1,\"top_logprobs\":2,"
	    "\"reasoning\":{\"effort\":\"ultra\",\"summary\":\"detailed\",\"context\":\"all\"},"
	    "\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\",\"schema\":{\"type\":"
	    "\"object\"},\"strict\":false},"
	    "\"verbosity\":\"low\",\"x\":1},\"include\":[\"a\",\"b\"],\"stream\":false,\"stream_"
	    "options\":{\"include_obfuscation\":false},"
	    "\"user\":\"u\",\"safety_identifier\":\"s\",\"metadata\":{\"a\":\"b\"},\"prompt_cache_"
	    "key\":\"k\","
	    "\"prompt_cache_retention\":\"24h\",\"service_tier\":\"flex\",\"store\":false,"
	    "\"previous_response_id\":\"resp_1\","
	    "\"conversation\":{\"id\":\"conv_1\"},\"truncation\":\"auto\",\"background\":false,"
	    "\"max_tool_calls\":3,\"x_new\":{\"q\":[]}}";
	struct bench *t = *state;
	struct canon_request *q = ask(t, body);

	send_on(t, q);
	assert_json(t, held(&t->out), body);
	assert_null(memmem(t->out.data, t->out.len, "0.5,", 4)); /* spelled as it was */
	assert_non_null(memmem(t->out.data, t->out.len, "0.50", 4));
}

static void
items_are_turns(void **state)
{
	struct bench *t = *state;
	struct canon_request *q = ask(t,
	    "{\"model\":\"m\",\"instructions\":\"I\",\"input\":[{\"role\":\"system\",\"content\":"
	    "\"S\"},"
	    "{\"role\":\"user\",\"content\":\"U\"},{\"type\":\"reasoning\",\"id\":\"rs_1\","
	    "\"encrypted_content\":\"E\","
	    "\"summary\":[{\"type\":\"summary_text\",\"text\":\"a\"},{\"type\":\"summary_text\","
	    "\"text\":\"b\"}]},"
	    "{\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"T\"}]},"
	    "{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"f\",\"arguments\":\"{}\"},"
	    "{\"type\":\"shell_call\",\"call_id\":\"c2\",\"action\":{\"commands\":[\"ls\"]}},"
	    "{\"type\":\"function_call_output\",\"call_id\":\"c1\",\"output\":{\"k\":1}},"
	    "{\"type\":\"shell_call_output\",\"call_id\":\"c2\",\"output\":[{\"stdout\":\"x\"}]},"
	    "{\"role\":\"user\",\"content\":\"V\"}]}");
	struct canon_turn *a = turn_at(q, 3), *r = turn_at(q, 4);

	assert_int_equal(turn_at(q, 0)->role, ROLE_SYSTEM);
	assert_span(part_at(turn_at(q, 0), 0)->text, "I");
	assert_int_equal(turn_at(q, 1)->role, ROLE_SYSTEM);
	assert_span(part_at(turn_at(q, 1), 0)->text, "S");
	assert_int_equal(turn_at(q, 2)->role, ROLE_USER);
	assert_int_equal(a->role, ROLE_ASSISTANT);
	assert_int_equal(part_at(a, 0)->kind, PART_REASONING);
	assert_span(part_at(a, 0)->text, "a\n\nb");
	assert_span(part_at(a, 0)->sign.data, "E");
	assert_true(part_at(a, 0)->sign.encrypted);
	assert_int_equal(part_at(a, 0)->sign.origin, ORIGIN_OPENAI);
	assert_int_equal(part_at(a, 1)->kind, PART_TEXT);
	assert_int_equal(part_at(a, 2)->kind, PART_TOOL_CALL);
	assert_span(part_at(a, 2)->id, "c1");
	assert_span(part_at(a, 3)->name, "shell");
	assert_span(part_at(a, 3)->args, "{\"commands\":[\"ls\"]}");
	assert_int_equal(r->role, ROLE_TOOL);
	assert_span(part_at(r, 0)->structured, "{\"k\":1}");
	assert_span(part_at(r, 1)->id, "c2");
	assert_span(TAILQ_FIRST(&part_at(r, 1)->content)->text, "[{\"stdout\":\"x\"}]");
	assert_int_equal(turn_at(q, 5)->role, ROLE_USER);
}

/* A thought that is nothing but an id is for its own provider alone. */
static void
empty_thought_is_opaque(void **state)
{
	struct bench *t = *state;
	struct canon_request *q = ask(t,
	    "{\"model\":\"m\",\"input\":[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]},"
	    "{\"type\":\"computer_call\",\"id\":\"cu_1\"}]}");

	assert_int_equal(part_at(turn_at(q, 0), 0)->kind, PART_OPAQUE);
	assert_span(part_at(turn_at(q, 0), 0)->name, "reasoning");
	assert_int_equal(part_at(turn_at(q, 0), 1)->kind, PART_OPAQUE);
	assert_span(part_at(turn_at(q, 0), 1)->name, "computer_call");
}

/* "OMNI01", Anthropic, encrypted or not, family 0, "sig" */
static void
envelope_is_opened(void **state)
{
	struct bench *t = *state;
	struct canon_request *q = ask(t,
	    "{\"model\":\"m\",\"input\":[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[],"
	    "\"encrypted_content\":\"T01OSTAxAQAAAABzaWc=\"}]}");
	struct canon_part *p = part_at(turn_at(q, 0), 0);

	assert_int_equal(p->kind, PART_REASONING);
	assert_span(p->sign.data, "sig");
	assert_int_equal(p->sign.origin, ORIGIN_ANTHROPIC);
	assert_false(p->sign.encrypted);
	send_on(t, q);
	assert_null(memmem(t->out.data, t->out.len, "T01OSTAx", 8));
}

static void
parameters_are_read(void **state)
{
	struct bench *t = *state;
	struct canon_request *q =
	    ask(t, "{\"model\":\"m\",\"input\":\"x\",\"max_output_tokens\":50,\"temperature\":\"0."
		   "7\",\"reasoning\":{\"effort\":\"low\","
		   "\"summary\":\"auto\"},\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":"
		   "\"n\",\"schema\":{\"a\":1},\"strict\":true}},"
		   "\"include\":[\"message.output_text.logprobs\"],\"store\":false,\"stream\":true,"
		   "\"conversation\":\"conv_1\","
		   "\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},\"tools\":[{\"type\":"
		   "\"function\",\"name\":\"f\"},"
		   "{\"type\":\"web_search_preview_2025_03_11\"},{\"type\":\"namespace\",\"name\":"
		   "\"ns\",\"tools\":[{\"type\":\"custom\",\"name\":\"g\"}]}]}");
	struct canon_tool *f = TAILQ_FIRST(&q->tools), *s = TAILQ_NEXT(f, link),
			  *g = TAILQ_NEXT(s, link);

	assert_true(q->has_max);
	assert_int_equal(q->max_out, 50);
	assert_false(q->max_is_visible);
	assert_span(q->temperature, "0.7");
	assert_int_equal(q->reasoning.effort, EFFORT_LOW);
	assert_int_equal(q->reasoning.show, SHOW_AUTO);
	assert_int_equal(q->format.kind, FORMAT_SCHEMA);
	assert_span(q->format.schema, "{\"a\":1}");
	assert_int_equal(q->format.strict, 1);
	assert_int_equal(q->logprobs, 1);
	assert_int_equal(q->store, 0);
	assert_true(q->stream);
	assert_span(q->conversation, "conv_1");
	assert_int_equal(q->tool_choice.kind, CHOICE_NAMED);
	assert_span(q->tool_choice.name, "f");
	assert_int_equal(f->strict, -1);
	assert_int_equal(s->kind, TOOL_WEB_SEARCH);
	assert_span(s->name, "web_search");
	assert_int_equal(g->kind, TOOL_CUSTOM);
	assert_span(g->namespace, "ns");
	assert_false(ask(t, "{\"model\":\"m\",\"input\":\"x\"}")->stream); /* absent means false */
}

static void
wrong_requests_are_refused(void **state)
{
	struct bench *t = *state;

	refuse(t, "{", NULL);
	refuse(t, "[]", NULL);
	refuse(t, "{\"input\":\"x\"}", "model");
	refuse(t, "{\"model\":\"m\"}", "input");
	refuse(t, "{\"model\":\"m\",\"input\":7}", "input");
	refuse(t, "{\"model\":\"m\",\"input\":[7]}", "input");
	refuse(t, "{\"model\":\"m\",\"input\":[{\"role\":\"robot\",\"content\":\"x\"}]}", "input");
	refuse(t, "{\"model\":\"m\",\"input\":[{\"type\":\"function_call\",\"call_id\":\"c\"}]}",
	    "input");
	refuse(t,
	    "{\"model\":\"m\",\"input\":[{\"type\":\"function_call_output\",\"output\":\"\"}]}",
	    "input");
	refuse(t, "{\"model\":\"m\",\"input\":\"x\",\"max_output_tokens\":0}", "max_output_tokens");
	refuse(t, "{\"model\":\"m\",\"input\":\"x\",\"temperature\":\"warm\"}", "temperature");
	refuse(t, "{\"model\":\"m\",\"input\":\"x\",\"tools\":{}}", "tools");
	refuse(t, "{\"model\":\"m\",\"input\":\"x\",\"instructions\":[]}", "instructions");
}

/* ---- from elsewhere ---- */

static struct canon_part *
say(struct bench *t, struct canon_request *q, enum canon_role role, enum canon_part_kind kind,
    const char *text)
{
	struct canon_turn *turn = TAILQ_LAST(&q->turns, canon_turns);
	struct canon_part *p = canon_part_new(t->a, kind);

	if (turn == NULL || turn->role != role || role == ROLE_SYSTEM) {
		assert_non_null(turn = canon_turn_new(t->a, role));
		TAILQ_INSERT_TAIL(&q->turns, turn, link);
	}
	assert_non_null(p);
	if (text != NULL)
		p->text = span_of(text);
	TAILQ_INSERT_TAIL(&turn->parts, p, link);
	return p;
}

static void
foreign_turns_are_items(void **state)
{
	struct bench *t = *state;
	struct canon_request *q = canon_request_new(t->a, DIALECT_MESSAGES);
	struct canon_part *p, *c;

	say(t, q, ROLE_SYSTEM, PART_TEXT, "one");
	say(t, q, ROLE_SYSTEM, PART_TEXT, "two");
	say(t, q, ROLE_USER, PART_TEXT, "hi");
	p = say(t, q, ROLE_USER, PART_FILE, NULL);
	p->media = (struct canon_media){.source = MEDIA_BASE64,
	    .data = span_of("JVBERi0x"),
	    .type = span_of("application/pdf")};
	say(t, q, ROLE_SYSTEM, PART_TEXT, "later");
	p = say(t, q, ROLE_ASSISTANT, PART_REASONING, "hm");
	p->sign = (struct canon_signature){
	    .data = span_of("SEAL"), .origin = ORIGIN_OPENAI, .encrypted = true};
	say(t, q, ROLE_ASSISTANT, PART_TEXT, "a");
	say(t, q, ROLE_ASSISTANT, PART_TEXT, "b");
	p = say(t, q, ROLE_ASSISTANT, PART_TOOL_CALL, NULL);
	p->id = span_of("toolu_1");
	p->item_id = span_of("toolu_1");
	p->name = span_of("f");
	p->args = span_of("{\"k\": 1}");
	p = say(t, q, ROLE_TOOL, PART_TOOL_RESULT, NULL);
	p->id = span_of("toolu_1");
	p->is_error = true;
	assert_non_null(c = canon_part_new(t->a, PART_TEXT));
	c->text = span_of("gone");
	TAILQ_INSERT_TAIL(&p->content, c, link);
	q->has_max = true;
	q->max_out = 3;
	send_on(t, q);
	assert_json(t, at(t, "instructions"), "\"one\\n\\ntwo\"");
	assert_json(t, at(t, "input[0]"),
	    "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
	    "\"text\":\"hi\"},"
	    "{\"type\":\"input_file\",\"file_data\":\"data:application/"
	    "pdf;base64,JVBERi0x\",\"filename\":\"document.pdf\"}]}");
	assert_json(t, at(t, "input[1]"),
	    "{\"type\":\"message\",\"role\":\"developer\",\"content\":[{\"type\":\"input_text\","
	    "\"text\":\"later\"}]}");
	assert_json(t, at(t, "input[2].summary"), "[{\"type\":\"summary_text\",\"text\":\"hm\"}]");
	assert_json(t, at(t, "input[2].encrypted_content"), "\"SEAL\"");
	assert_memory_equal(at(t, "input[2].id").p, "\"rs_", 4);
	assert_json(t, at(t, "input[3]"),
	    "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","
	    "\"text\":\"a\"},"
	    "{\"type\":\"output_text\",\"text\":\"b\"}]}");
	assert_json(t, at(t, "input[4]"),
	    "{\"type\":\"function_call\",\"call_id\":\"toolu_1\",\"name\":\"f\",\"arguments\":\"{"
	    "\\\"k\\\": 1}\"}");
	assert_json(t, at(t, "input[5]"),
	    "{\"type\":\"function_call_output\",\"call_id\":\"toolu_1\",\"output\":\"Error: "
	    "gone\"}");
	assert_json(t, at(t, "max_output_tokens"), "16");
	assert_json(t, at(t, "store"), "false");
	assert_null(at(t, "stream").p);
}

/* Known trap: strict is true by default here, and would make optional members required. */
static void
foreign_tools_are_not_strict(void **state)
{
	struct bench *t = *state;
	struct canon_request *q = canon_request_new(t->a, DIALECT_CHAT);
	struct canon_tool *f = canon_tool_new(t->a, TOOL_FUNCTION),
			  *g = canon_tool_new(t->a, TOOL_FUNCTION);

	say(t, q, ROLE_USER, PART_TEXT, "hi");
	f->name = span_of("f");
	f->schema = span_of("{\"type\":\"object\"}");
	TAILQ_INSERT_TAIL(&q->tools, f, link);
	g->name = span_of("g");
	g->strict = 1;
	TAILQ_INSERT_TAIL(&q->tools, g, link);
	q->web_search = span_of("{\"search_context_size\":\"low\",\"user_location\":{\"type\":"
				"\"approximate\",\"approximate\":{\"city\":\"Rome\"}}}");
	q->tool_choice = (struct canon_tool_choice){.kind = CHOICE_NAMED, .name = span_of("g")};
	send_on(t, q);
	assert_json(t, at(t, "tools"),
	    "[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"type\":\"object\"},"
	    "\"strict\":false},"
	    "{\"type\":\"function\",\"name\":\"g\",\"parameters\":{\"type\":\"object\","
	    "\"properties\":{}},\"strict\":true},"
	    "{\"type\":\"web_search\",\"search_context_size\":\"low\",\"user_location\":{\"type\":"
	    "\"approximate\",\"city\":\"Rome\"}}]");
	assert_json(t, at(t, "tool_choice"), "{\"type\":\"function\",\"name\":\"g\"}");
}

/* Nothing is stored, so what a thought needs to come back must be in the answer; only where there
 * are thoughts. */
static void
sealed_thoughts_are_asked_for(void **state)
{
	struct bench *t = *state;
	struct canon_request *q = canon_request_new(t->a, DIALECT_CHAT);

	say(t, q, ROLE_USER, PART_TEXT, "hi");
	t->ctx.model = span_of("gpt-5");
	send_on(t, q);
	assert_json(t, at(t, "include"), "[\"reasoning.encrypted_content\"]");
	t->ctx.model = span_of("gpt-4o");
	send_on(t, q);
	assert_null(at(t, "include").p);
}

/* A choice that was changed on the way is not written as it stood. */
static void
changed_choice_is_written_anew(void **state)
{
	struct bench *t = *state;
	struct canon_request *q =
	    ask(t, "{\"model\":\"m\",\"input\":\"x\",\"tools\":[{\"type\":\"custom\",\"name\":"
		   "\"g\"}],\"tool_choice\":\"required\"}");

	q->tool_choice.kind = CHOICE_NAMED;
	q->tool_choice.name = span_of("g");
	send_on(t, q);
	assert_json(t, at(t, "tool_choice"), "{\"type\":\"custom\",\"name\":\"g\"}");
}

static void
data_urls_are_understood(void **state)
{
	static const struct {
		const char *url, *type, *data;
	} rows[] = {
	    {"data:image/png;base64,iVBORw0KGgo=", "image/png", "iVBORw0KGgo="},
	    {"DATA:image/png;BASE64,iVBORw0KGgo", "image/png", "iVBORw0KGgo="},
	    {"data:;base64,_-8=", NULL, "/+8="},
	    {"data:image/png;charset=x;base64,iVBO\\nRw0KGgo=", "image/png", "iVBORw0KGgo="},
	    {"data:text/plain,a%20b", "text/plain", "YSBi"},
	    {"data:image/png;base64,iVBORw0KGgo%3D", "image/png", "iVBORw0KGgo="},
	};
	struct bench *t = *state;
	char body[512];

	for (size_t i = 0; i < NELEM(rows); i++) {
		const struct canon_media *m;

		snprintf(body, sizeof body,
		    "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_"
		    "image\",\"image_url\":\"%s\"}]}]}",
		    rows[i].url);
		m = &part_at(turn_at(ask(t, body), 0), 0)->media;
		assert_int_equal(m->source, MEDIA_BASE64);
		assert_span(m->data, rows[i].data);
		if (rows[i].type != NULL)
			assert_span(m->type, rows[i].type);
		else
			assert_null(m->type.p);
	}
	refuse(t,
	    "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":[{\"type\":\"input_image\","
	    "\"image_url\":\"data:image/png;base64,!!\"}]}]}",
	    "input");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(all_members_come_back, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(items_are_turns, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(empty_thought_is_opaque, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(envelope_is_opened, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(parameters_are_read, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(wrong_requests_are_refused, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(foreign_turns_are_items, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(foreign_tools_are_not_strict, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(sealed_thoughts_are_asked_for, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(
		changed_choice_is_written_anew, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(data_urls_are_understood, bench_open, bench_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
