#include "t/unit/proto_upstream.h"

#define D (&dialect_cohere)

static void
test_request(void **state)
{
	(void)state;
	check_request(D, "cohere", "command-a-03-2025");
}

static void
test_answer(void **state)
{
	struct arena *a = arena();
	struct canon_response r = {0};
	struct canon_error err = {0};
	struct canon_part *p;
	const struct canon_annotation *n;

	(void)state;
	check_answer(D, "cohere");
	/* thought, plan, text, call: in this order; one citation has a document */
	assert_int_equal(D->decode_response(a, load(a, "cohere", "answer.json"), &r, &err), 0);
	p = TAILQ_FIRST(&r.choices->parts);
	assert_int_equal(p->kind, PART_REASONING);
	p = TAILQ_NEXT(p, link);
	assert_true(span_is(p->text, "I save it."));
	p = TAILQ_NEXT(p, link);
	assert_true(span_is(p->text, "A fern is a plant."));
	n = TAILQ_FIRST(&p->annotations);
	assert_true(span_is(n->file_id, "d1") && span_is(n->url, "https://example.org/f") &&
		    n->kind == CITE_FILE);
	assert_null(TAILQ_NEXT(n, link));
	assert_int_equal(TAILQ_NEXT(p, link)->kind, PART_TOOL_CALL);
	assert_int_equal(r.choices->finish.reason, FINISH_TOOL_CALLS);
	assert_int_equal(r.usage.in_total, 70);
	assert_int_equal(r.usage.in_cached, 64);
	assert_int_equal(r.usage.out_total, 8);
	arena_free(a);
}

static void
test_stream(void **state)
{
	struct arena *a = arena();

	(void)state;
	check_stream(D, load(a, "cohere", "stream.sse"), "cohere");
	check_again(D, load(a, "cohere", "stream.sse"), "cohere");
	arena_free(a);
}

static struct canon_request *
asked(struct arena *a)
{
	struct canon_request *q = decode_request(a, D,
	    span_of("{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":["
		    "{\"function\":{\"name\":\"f\"}},{\"function\":{\"name\":\"g\"}}]}"));

	estrange(q);
	return q;
}

static void
test_choice(void **state)
{
	static const struct {
		enum canon_choice_kind kind;
		const char *word;
	} choices[] = {{CHOICE_ANY, "\"tool_choice\":\"REQUIRED\""},
	    {CHOICE_NONE, "\"tool_choice\":\"NONE\""},
	    {CHOICE_NAMED, "\"tool_choice\":\"REQUIRED\""}, {CHOICE_AUTO, NULL},
	    {CHOICE_UNSET, NULL}};
	struct arena *a = arena();
	struct canon_request *q = asked(a);

	(void)state;
	for (size_t i = 0; i < NELEM(choices); i++) {
		const char *body;
		q->tool_choice =
		    (struct canon_tool_choice){.kind = choices[i].kind, .name = span_of("f")};
		body = body_of(a, D, q, "m");
		if (choices[i].word != NULL)
			assert_non_null(strstr(body, choices[i].word));
		else
			assert_null(strstr(body, "tool_choice"));
	}
	TAILQ_INIT(&q->tools); /* a choice without tools is refused there */
	q->tool_choice.kind = CHOICE_ANY;
	assert_null(strstr(body_of(a, D, q, "m"), "tool_choice"));
	arena_free(a);
}

static void
test_thinking(void **state)
{
	static const struct {
		struct canon_reasoning reasoning;
		const char *want;
	} cases[] = {
	    {{.effort = EFFORT_MEDIUM},
		"\"thinking\":{\"type\":\"enabled\",\"token_budget\":8192}"},
	    {{.effort = EFFORT_MAX}, "\"thinking\":{\"type\":\"enabled\",\"token_budget\":32768}"},
	    {{.effort = EFFORT_NONE}, "\"thinking\":{\"type\":\"disabled\"}"},
	    {{.mode = THINK_OFF}, "\"thinking\":{\"type\":\"disabled\"}"},
	    {{.has_budget = true, .budget = 77},
		"\"thinking\":{\"type\":\"enabled\",\"token_budget\":77}"},
	    {{.has_budget = true, .budget = -1}, "\"thinking\":{\"type\":\"enabled\"}"},
	};
	struct arena *a = arena();
	struct canon_request *q = asked(a);

	(void)state;
	assert_null(strstr(body_of(a, D, q, "m"), "thinking"));
	for (size_t i = 0; i < NELEM(cases); i++) {
		q->reasoning = cases[i].reasoning;
		assert_non_null(strstr(body_of(a, D, q, "m"), cases[i].want));
	}
	arena_free(a);
}

/* Text beside calls is the plan; an image that is held here becomes a data URL. */
static void
test_parts(void **state)
{
	struct arena *a = arena();
	struct canon_request *q = asked(a);
	struct canon_turn *t = canon_turn_new(a, ROLE_ASSISTANT), *user = TAILQ_FIRST(&q->turns);
	struct canon_part *call = canon_part_new(a, PART_TOOL_CALL),
			  *text = canon_part_new(a, PART_TEXT),
			  *image = canon_part_new(a, PART_IMAGE);
	const char *body;

	(void)state;
	call->name = span_of("f");
	call->id = span_of("f_1");
	call->args = span_of("");
	text->text = span_of("Well.");
	image->media.data = span_of("iVBORw0KGgo=");
	image->media.type = span_of("image/webp");
	TAILQ_INSERT_TAIL(&t->parts, text, link);
	TAILQ_INSERT_TAIL(&t->parts, call, link);
	TAILQ_INSERT_TAIL(&q->turns, t, link);
	TAILQ_INSERT_TAIL(&user->parts, image, link);
	body = body_of(a, D, q, "m");
	assert_non_null(strstr(body, "{\"role\":\"assistant\",\"tool_plan\":\"Well.\",\"tool_"
				     "calls\":[{\"id\":\"f_1\",\"type\":\"function\","
				     "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}"));
	assert_non_null(strstr(body, "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/"
				     "webp;base64,iVBORw0KGgo=\"}}"));
	arena_free(a);
}

/* Trap: the words of this service are not known, and a cut answer looks whole. */
static void
test_words(void **state)
{
	static const struct {
		const char *word;
		enum canon_finish_reason reason;
	} words[] = {{"COMPLETE", FINISH_STOP}, {"TOOL_CALL", FINISH_TOOL_CALLS},
	    {"STOP_SEQUENCE", FINISH_STOP_SEQUENCE}, {"MAX_TOKENS", FINISH_LENGTH},
	    {"SOMETHING_NEW", FINISH_UNKNOWN}};
	struct arena *a = arena();

	(void)state;
	for (size_t i = 0; i < NELEM(words); i++) {
		struct canon_response r = {0};
		struct canon_error err = {0};
		const char *body = arena_printf(
		    a, "{\"message\":{\"content\":\"a\"},\"finish_reason\":\"%s\"}", words[i].word);

		assert_int_equal(D->decode_response(a, span_of(body), &r, &err), 0);
		assert_int_equal(r.choices->finish.reason, words[i].reason);
		assert_true(span_is(r.choices->finish.raw, words[i].word));
	}
	arena_free(a);
}

static void
test_failures(void **state)
{
	struct arena *a = arena();

	(void)state;
	refused(a, D, "{\"message\":\"invalid request\"}");
	assert_int_equal(
	    refused(a, D,
		"{\"id\":\"x\",\"finish_reason\":\"TIMEOUT\",\"message\":{\"role\":\"assistant\"}}")
		.class,
	    ERROR_TIMEOUT);
	/* trap: an error inside a stream that began well is passed over;
	 * what the service says of its failure is kept, and what was used is counted */
	check_events(D,
	    span_of("data: "
		    "{\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":"
		    "\"invalid tool generation\","
		    "\"usage\":{\"tokens\":{\"input_tokens\":7,\"output_tokens\":1}}}}\n\ndata: "
		    "[DONE]\n\n"),
	    "begin\nusage in=1:7 cached=0 written=0/0/0 out=1:1\nfail class=9 code=bad_gateway "
	    "message=invalid tool generation\n");
	check_events(D,
	    span_of("data: "
		    "{\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{"
		    "\"text\":\"a\"}}}}\n\n"
		    "data: {\"message\":\"too many requests\"}\n\n"),
	    "begin\nopen 0 text\ndelta 0 text=a\nfail class=9 code=bad_gateway message=too many "
	    "requests\n");
	check_events(D, span_of("data: no\n\n"),
	    "fail class=9 message=The upstream sent something that is not JSON\n");
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_request),
	    cmocka_unit_test(test_answer),
	    cmocka_unit_test(test_stream),
	    cmocka_unit_test(test_choice),
	    cmocka_unit_test(test_thinking),
	    cmocka_unit_test(test_parts),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_failures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
