#include "t/unit/proto_upstream.h"

#define D (&dialect_ollama)

static void
test_request(void **state)
{
	(void)state;
	check_request(D, "ollama", "qwen3:8b");
}

static void
test_answer(void **state)
{
	(void)state;
	check_answer(D, "ollama");
}

static void
test_stream(void **state)
{
	struct arena *a = arena();

	(void)state;
	check_stream(D, load(a, "ollama", "stream.ndjson"), "ollama");
	check_again(D, load(a, "ollama", "stream.ndjson"), "ollama");
	arena_free(a);
}

/* How it was spelled: a lone stop, empty lists and objects, no stream at all. */
static void
test_spelling(void **state)
{
	static const char *const bodies[] = {
	    "{\"model\":\"x\",\"messages\":[],\"tools\":[],\"stream\":true,\"format\":\"\","
	    "\"options\":{}}",
	    "{\"model\":\"x\",\"messages\":[],\"stream\":true,\"options\":{\"stop\":\"a\"},"
	    "\"format\":\"json\"}",
	    "{\"model\":\"x\",\"messages\":[],\"stream\":false,\"think\":false}",
	};
	struct arena *a = arena();
	struct buf out = BUF_INIT(ROOM);

	(void)state;
	for (size_t i = 0; i < NELEM(bodies); i++) {
		buf_reset(&out);
		encode_request(a, D, decode_request(a, D, span_of(bodies[i])), "x", &out);
		assert_json(a, span_of(bodies[i]), &out);
	}
	/* a stream is what it makes unless it is told not to */
	assert_true(decode_request(a, D, span_of("{\"messages\":[]}"))->stream);
	buf_clear(&out);
	arena_free(a);
}

static struct canon_request *
asked(struct arena *a, const char *text)
{
	struct canon_request *q = decode_request(a, D,
	    span_of("{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"tools\":["
		    "{\"function\":{\"name\":\"f\"}}]}"));

	estrange(q);
	if (text != NULL)
		TAILQ_FIRST(&TAILQ_FIRST(&q->turns)->parts)->text = span_of(text);
	return q;
}

static void
test_think(void **state)
{
	struct arena *a = arena();
	struct canon_request *q = asked(a, NULL);

	(void)state;
	assert_null(strstr(body_of(a, D, q, "m"), "\"think\""));
	q->reasoning.effort = EFFORT_XHIGH;
	assert_non_null(strstr(body_of(a, D, q, "m"), "\"think\":\"high\""));
	q->reasoning = (struct canon_reasoning){.mode = THINK_ON};
	assert_non_null(strstr(body_of(a, D, q, "m"), "\"think\":true"));
	q->reasoning = (struct canon_reasoning){.mode = THINK_OFF};
	assert_non_null(strstr(body_of(a, D, q, "m"), "\"think\":false"));
	arena_free(a);
}

/* A long prompt would be cut by the server: it is told to take more. */
static void
test_context(void **state)
{
	static char text[200001];
	struct arena *a = arena();

	(void)state;
	for (size_t i = 0; i < sizeof text - 1; i++)
		text[i] = i % 5 == 4 ? ' ' : 'a';
	assert_null(strstr(body_of(a, D, asked(a, NULL), "m"), "num_ctx"));
	assert_non_null(strstr(body_of(a, D, asked(a, text), "m"), "\"num_ctx\":65536"));
	arena_free(a);
}

/* No choice among tools exists: "none" leaves them out, but not those of the history. */
static void
test_choice(void **state)
{
	struct arena *a = arena();
	struct canon_request *q = asked(a, NULL);
	struct canon_turn *t = canon_turn_new(a, ROLE_ASSISTANT);
	struct canon_part *p = canon_part_new(a, PART_TOOL_CALL);

	(void)state;
	q->tool_choice.kind = CHOICE_NONE;
	assert_null(strstr(body_of(a, D, q, "m"), "\"tools\""));
	p->name = span_of("f");
	TAILQ_INSERT_TAIL(&t->parts, p, link);
	TAILQ_INSERT_TAIL(&q->turns, t, link);
	assert_non_null(strstr(body_of(a, D, q, "m"), "\"tools\":[{"));
	assert_non_null(strstr(body_of(a, D, q, "m"), "\"arguments\":{}"));
	arena_free(a);
}

/* An error of a tool says so; a document is text in tags. */
static void
test_result(void **state)
{
	struct arena *a = arena();
	struct canon_request *q = asked(a, NULL);
	struct canon_turn *t = canon_turn_new(a, ROLE_TOOL);
	struct canon_part *p = canon_part_new(a, PART_TOOL_RESULT),
			  *in = canon_part_new(a, PART_TEXT), *file = canon_part_new(a, PART_FILE);

	(void)state;
	p->is_error = true;
	p->name = span_of("f");
	in->text = span_of("no such town");
	file->media.source = MEDIA_TEXT;
	file->media.title = span_of("notes");
	file->media.data = span_of("dry");
	TAILQ_INSERT_TAIL(&p->content, in, link);
	TAILQ_INSERT_TAIL(&t->parts, p, link);
	TAILQ_INSERT_TAIL(&q->turns, t, link);
	assert_non_null(strstr(body_of(a, D, q, "m"), "\"content\":\"Error: no such town\""));
	in->text = span_of("ERROR: twice is too much");
	assert_non_null(strstr(body_of(a, D, q, "m"), "\"content\":\"ERROR: twice is too much\""));
	TAILQ_INSERT_TAIL(&p->content, file, link);
	assert_non_null(strstr(body_of(a, D, q, "m"),
	    "too much\\n<document title=\\\"notes\\\">\\ndry\\n</document>\""));
	arena_free(a);
}

static void
test_words(void **state)
{
	static const struct {
		const char *word;
		enum canon_finish_reason reason;
	} words[] = {{"stop", FINISH_STOP}, {"length", FINISH_LENGTH}, {"load", FINISH_UNKNOWN},
	    {"unload", FINISH_UNKNOWN}};
	struct arena *a = arena();

	(void)state;
	for (size_t i = 0; i < NELEM(words); i++) {
		struct canon_response r = {0};
		struct canon_error err = {0};
		const char *body = arena_printf(a,
		    "{\"message\":{\"content\":\"a\"},\"done\":true,\"done_reason\":\"%s\"}",
		    words[i].word);

		assert_int_equal(D->decode_response(a, span_of(body), &r, &err), 0);
		assert_int_equal(r.choices->finish.reason, words[i].reason);
		assert_true(span_is(r.choices->finish.raw, words[i].word));
	}
	arena_free(a);
}

/* A moment survives being written and read. */
static void
test_time(void **state)
{
	static const char body[] = "{\"message\":{\"content\":\"a\"},\"done\":true}";
	struct arena *a = arena();
	struct encode_ctx ctx = {.arena = a, .model = span_of("m")};

	(void)state;
	for (uint64_t t = 86399; t < UINT64_C(7258118400); t += 86400 * 17 + 3607) {
		struct canon_response r = {0}, again = {0};
		struct canon_error err = {0};
		struct buf out = BUF_INIT(ROOM);

		assert_int_equal(D->decode_response(a, span_of(body), &r, &err), 0);
		r.created = t;
		assert_int_equal(D->encode_response(&r, &ctx, &out), 0);
		assert_int_equal(
		    D->decode_response(a, (struct span){out.data, out.len}, &again, &err), 0);
		assert_int_equal(again.created, t);
		buf_clear(&out);
	}
	arena_free(a);
}

static void
test_failures(void **state)
{
	struct arena *a = arena();

	(void)state;
	refused(a, D, "{\"error\":\"model \\\"x\\\" not found\"}");
	assert_true(span_is(refused(a, D, "{\"message\":{\"content\":\"a\"},\"done\":false}").code,
	    "upstream_stream_cut"));
	check_events(D,
	    span_of(
		"{\"message\":{\"content\":\"a\"}}\n{\"error\":\"an error was encountered\"}\n"),
	    "begin\nopen 0 text\ndelta 0 text=a\nfail class=9 code=bad_gateway message=an error "
	    "was encountered\n");
	check_events(D, span_of("<html>\n{}\n"),
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
	    cmocka_unit_test(test_spelling),
	    cmocka_unit_test(test_think),
	    cmocka_unit_test(test_context),
	    cmocka_unit_test(test_choice),
	    cmocka_unit_test(test_result),
	    cmocka_unit_test(test_time),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_failures),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
