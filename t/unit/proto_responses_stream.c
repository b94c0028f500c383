/* Streams of the Responses dialect: what upstreams send, and the events of a client. */
#include "t/unit/proto_responses.h"

#define USAGE \
	"\"usage\":{\"input_tokens\":5,\"input_tokens_details\":{\"cached_tokens\":1}," \
	"\"output_tokens\":7,\"output_tokens_details\":{\"reasoning_tokens\":3},\"total_tokens\":" \
	"12}"
#define CREATED \
	"{\"type\":\"response.created\",\"response\":{\"id\":\"resp_9\",\"model\":\"gpt-5\"," \
	"\"created_at\":3}}"

static const char *const whole[] = {CREATED,
    "{\"type\":\"response.in_progress\",\"response\":{\"id\":\"resp_9\"}}",
    "{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"reasoning\","
    "\"id\":\"rs_1\",\"summary\":[]}}",
    "{\"type\":\"response.reasoning_summary_part.added\",\"item_id\":\"rs_1\",\"output_index\":0,"
    "\"summary_index\":0}",
    "{\"type\":\"response.reasoning_summary_text.delta\",\"item_id\":\"rs_1\",\"output_index\":0,"
    "\"summary_index\":0,\"delta\":\"one\"}",
    "{\"type\":\"response.reasoning_summary_text.done\",\"item_id\":\"rs_1\",\"output_index\":0,"
    "\"summary_index\":0,\"text\":\"one\"}",
    "{\"type\":\"response.reasoning_summary_part.added\",\"item_id\":\"rs_1\",\"output_index\":0,"
    "\"summary_index\":1}",
    "{\"type\":\"response.reasoning_summary_text.delta\",\"item_id\":\"rs_1\",\"output_index\":0,"
    "\"summary_index\":1,\"delta\":\"two\"}",
    "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"reasoning\","
    "\"id\":\"rs_1\",\"summary\":[{\"type\":"
    "\"summary_text\",\"text\":\"one\"},{\"type\":\"summary_text\",\"text\":\"two\"}],\"encrypted_"
    "content\":\"SEAL\"}}",
    "{\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"type\":\"message\","
    "\"id\":\"msg_1\",\"status\":\"in_progress\","
    "\"phase\":\"final_answer\",\"role\":\"assistant\",\"content\":[]}}",
    "{\"type\":\"response.content_part.added\",\"item_id\":\"msg_1\",\"output_index\":1,\"content_"
    "index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\"}}",
    "{\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"output_index\":1,\"content_"
    "index\":0,\"delta\":\"Hel\"}",
    "{\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"output_index\":1,\"content_"
    "index\":0,\"delta\":\"lo\","
    "\"logprobs\":[{\"token\":\"lo\",\"logprob\":-1}]}",
    "{\"type\":\"response.output_text.annotation.added\",\"item_id\":\"msg_1\",\"output_index\":1,"
    "\"content_index\":0,\"annotation_index\":0,"
    "\"annotation\":{\"type\":\"url_citation\",\"start_index\":0,\"end_index\":5,\"url\":\"https://"
    "a.example\",\"title\":\"A\"}}",
    "{\"type\":\"response.output_text.done\",\"item_id\":\"msg_1\",\"output_index\":1,\"content_"
    "index\":0,\"text\":\"Hello\"}",
    "{\"type\":\"response.content_part.done\",\"item_id\":\"msg_1\",\"output_index\":1,\"content_"
    "index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"Hello\"}}",
    "{\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"type\":\"message\","
    "\"id\":\"msg_1\",\"role\":\"assistant\","
    "\"content\":[{\"type\":\"output_text\",\"text\":\"Hello\"}]}}",
    "{\"type\":\"response.output_item.added\",\"output_index\":2,\"item\":{\"type\":\"function_"
    "call\",\"id\":\"fc_1\",\"call_id\":\"call_1\",\"name\":\"f\",\"arguments\":\"\"}}",
    "{\"type\":\"response.function_call_arguments.delta\",\"item_id\":\"fc_1\",\"output_index\":2,"
    "\"delta\":\"{\\\"a\\\":\"}",
    "{\"type\":\"response.function_call_arguments.delta\",\"item_id\":\"fc_1\",\"output_index\":2,"
    "\"delta\":\"1}\"}",
    "{\"type\":\"response.function_call_arguments.done\",\"item_id\":\"fc_1\",\"output_index\":2,"
    "\"arguments\":\"{\\\"a\\\":1}\"}",
    "{\"type\":\"response.output_item.done\",\"output_index\":2,\"item\":{\"type\":\"function_"
    "call\",\"id\":\"fc_1\",\"call_id\":\"call_1\",\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}"
    "}",
    "{\"type\":\"response.completed\",\"response\":{\"id\":\"resp_9\",\"status\":\"completed\","
    "\"output\":[]," USAGE "}}",
    NULL};

static void
usual(struct bench *t)
{
	ask(t, "{\"model\":\"m\",\"input\":\"x\",\"stream\":true,\"store\":false}");
}

static void
stream_is_told_again(void **state)
{
	struct bench *t = *state;
	const struct json *last, *item;

	usual(t);
	stream(t, whole, EVENTS_MAX);
	assert_string_equal(t->log, "BODDDSCODDLACODDCUFE");
	assert_span(held(&t->text), "Hello");
	assert_span(held(&t->thought), "one\n\ntwo");
	assert_span(held(&t->args), "{\"a\":1}");
	assert_int_equal(t->finish, FINISH_TOOL_CALLS);
	assert_grammar(t);
	assert_types(t, "created in_progress output_item.added reasoning_summary_part.added "
			"reasoning_summary_text.delta "
			"reasoning_summary_text.delta reasoning_summary_text.delta "
			"reasoning_summary_text.done reasoning_summary_part.done "
			"output_item.done output_item.added content_part.added output_text.delta "
			"output_text.delta "
			"output_text.annotation.added output_text.done content_part.done "
			"output_item.done output_item.added "
			"function_call_arguments.delta function_call_arguments.delta "
			"function_call_arguments.done output_item.done completed ");
	last = json_get(t->events[t->count - 1], "response");
	assert_json(t, json_get(last, "id")->raw, "\"resp_9\"");
	assert_json(t, json_get(last, "usage")->raw,
	    "{\"input_tokens\":5,\"input_tokens_details\":{\"cached_tokens\":1},\"output_tokens\":"
	    "7,"
	    "\"output_tokens_details\":{\"reasoning_tokens\":3},\"total_tokens\":12}");
	assert_json(t, json_at(json_get(last, "output"), 0)->raw,
	    "{\"id\":\"rs_1\",\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\","
	    "\"text\":\"one\\n\\ntwo\"}],\"encrypted_content\":\"SEAL\"}");
	item = json_at(json_get(last, "output"), 1);
	assert_json(t, item->raw,
	    "{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"completed\",\"role\":"
	    "\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hello\","
	    "\"annotations\":[{\"type\":\"url_citation\",\"start_index\":0,\"end_index\":5,\"url\":"
	    "\"https://a.example\",\"title\":\"A\"}],"
	    "\"logprobs\":[{\"token\":\"lo\",\"logprob\":-1}]}],\"phase\":\"final_answer\"}");
	assert_json(t, json_at(json_get(last, "output"), 2)->raw,
	    "{\"id\":\"fc_1\",\"type\":\"function_call\",\"status\":\"completed\",\"call_id\":"
	    "\"call_1\",\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}");
}

/* Known trap: a stream that was cut is no success, wherever it was cut. */
static void
cut_stream_fails(void **state)
{
	struct bench *t = *state;

	usual(t);
	for (unsigned n = 0; whole[n + 1] != NULL; n++) {
		stream(t, whole, n);
		assert_int_equal(t->log[t->logged - 1], 'X');
		assert_string_equal(t->code, "upstream_stream_cut");
		assert_int_equal(t->failed, ERROR_SERVER);
		assert_true(event_is(t, t->count - 1, "response.failed"));
	}
}

/* Known trap: compatibles that leave out added events, or send done events only. */
static void
gaps_are_filled(void **state)
{
	static const char *const no_added[] = {"{\"type\":\"response.output_text.delta\",\"output_"
					       "index\":0,\"content_index\":0,\"delta\":\"He\"}",
	    "{\"type\":\"response.output_text.done\",\"output_index\":0,\"content_index\":0,"
	    "\"text\":\"Hello\"}",
	    "{\"type\":\"response.function_call_arguments.delta\",\"output_index\":1,\"delta\":\"{"
	    "\"}",
	    "{\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"type\":"
	    "\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"}}",
	    "{\"type\":\"response.completed\",\"response\":{\"output\":null}}", NULL};
	static const char *const only_done[] = {CREATED,
	    "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":"
	    "\"reasoning\",\"id\":\"r\",\"summary\":[],\"content\":[{\"type\":\"reasoning_text\","
	    "\"text\":\"hm\"}]}}",
	    "{\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"type\":"
	    "\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hello\"}]}}",
	    "{\"type\":\"response.output_item.done\",\"output_index\":2,\"item\":{\"type\":"
	    "\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"f\",\"input\":\"{}\"}}",
	    "{\"type\":\"response.completed\",\"response\":{}}", NULL};
	static const char *const only_end[] = {
	    "{\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"output\":[{"
	    "\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hello\"}]},"
	    "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"}]}}",
	    NULL};
	static const char *const same_index[] = {CREATED,
	    "{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":"
	    "\"message\",\"id\":\"a\"}}",
	    "{\"type\":\"response.output_text.delta\",\"output_index\":0,\"item_id\":\"a\","
	    "\"delta\":\"Hello\"}",
	    "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":"
	    "\"message\",\"id\":\"b\"}}",
	    "{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":"
	    "\"function_call\",\"id\":\"c\",\"name\":\"f\",\"call_id\":\"c\"}}",
	    "{\"type\":\"response.function_call_arguments.delta\",\"output_index\":0,\"delta\":\"{}"
	    "\"}",
	    "{\"type\":\"response.completed\",\"response\":{}}", NULL};
	static const char *const *const all[] = {no_added, only_done, only_end, same_index};
	struct bench *t = *state;

	usual(t);
	for (size_t i = 0; i < NELEM(all); i++) {
		stream(t, all[i], EVENTS_MAX);
		assert_span(held(&t->text), "Hello");
		assert_span(held(&t->args), "{}");
		assert_int_equal(t->finish, FINISH_TOOL_CALLS);
		assert_int_equal(t->log[t->logged - 1], 'E');
		assert_grammar(t);
	}
}

static void
ends_are_understood(void **state)
{
	static const struct {
		const char *event;
		enum canon_finish_reason reason;
		const char *type;
	} rows[] = {
	    {"{\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\","
	     "\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}}",
		FINISH_LENGTH, "response.incomplete"},
	    {"{\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\","
	     "\"incomplete_details\":{\"reason\":\"content_filter\"}}}",
		FINISH_CONTENT_FILTER, "response.incomplete"},
	    {"{\"type\":\"response.incomplete\",\"response\":{}}", FINISH_LENGTH,
		"response.incomplete"},
	    {"{\"type\":\"response.completed\",\"response\":{\"status\":\"incomplete\"}}",
		FINISH_LENGTH, "response.incomplete"},
	    {"{\"type\":\"response.completed\",\"response\":{\"status\":\"in_progress\"}}",
		FINISH_STOP, "response.completed"},
	};
	struct bench *t = *state;

	usual(t);
	for (size_t i = 0; i < NELEM(rows); i++) {
		const char *lines[] = {CREATED,
		    "{\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"x\"}",
		    rows[i].event, NULL};

		stream(t, lines, EVENTS_MAX);
		assert_int_equal(t->finish, rows[i].reason);
		assert_true(event_is(t, t->count - 1, rows[i].type));
		assert_grammar(t);
		assert_json(t,
		    json_get(
			json_at(
			    json_get(json_get(t->events[t->count - 1], "response"), "output"), 0),
			"status")
			->raw,
		    rows[i].reason == FINISH_STOP ? "\"completed\"" : "\"incomplete\"");
	}
}

static void
failures_are_failures(void **state)
{
	static const struct {
		const char *event;
		enum canon_error_class class;
		const char *code;
	} rows[] = {
	    {"{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{"
	     "\"code\":\"rate_limit_exceeded\",\"message\":\"m\"}}}",
		ERROR_RATE_LIMIT, "rate_limit_exceeded"},
	    {"{\"type\":\"error\",\"code\":\"context_length_exceeded\",\"message\":\"m\"}",
		ERROR_CONTEXT_WINDOW, "context_length_exceeded"},
	    {"{\"type\":\"error\",\"error\":{\"type\":\"insufficient_quota\",\"message\":\"m\"}}",
		ERROR_BILLING, ""},
	    {"{\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}", ERROR_SERVER,
		"server_error"},
	    {"{\"type\":\"response.completed\",\"response\":{\"error\":{\"code\":\"slow_down\","
	     "\"message\":\"m\"}}}",
		ERROR_OVERLOADED, "slow_down"},
	    {"{\"type\":\"response.completed\",\"response\":{\"output\":[]}}", ERROR_SERVER,
		"empty_response"},
	    {"{\"type\":", ERROR_SERVER, "upstream_malformed"},
	};
	struct bench *t = *state;

	usual(t);
	for (size_t i = 0; i < NELEM(rows); i++) {
		const char *lines[] = {CREATED, rows[i].event, CREATED, NULL};

		stream(t, lines, EVENTS_MAX);
		assert_int_equal(t->log[t->logged - 1], 'X');
		assert_int_equal(t->failed, rows[i].class);
		assert_string_equal(t->code, rows[i].code);
		assert_true(event_is(t, t->count - 1, "response.failed"));
	}
}

/* Those of the done event that did not come before, and no other. */
static void
citations_come_once(void **state)
{
	static const char *const lines[] = {CREATED,
	    "{\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"x\"}",
	    "{\"type\":\"response.output_text.annotation.added\",\"output_index\":0,\"annotation\":"
	    "{\"type\":\"url_citation\",\"url\":\"a\"}}",
	    "{\"type\":\"response.content_part.done\",\"output_index\":0,\"part\":{\"type\":"
	    "\"output_text\",\"text\":\"x\",\"annotations\":["
	    "{\"type\":\"url_citation\",\"url\":\"a\"},{\"type\":\"url_citation\",\"url\":\"b\"}]}"
	    "}",
	    "{\"type\":\"response.completed\",\"response\":{}}", NULL};
	struct bench *t = *state;
	const struct json *output;

	usual(t);
	stream(t, lines, EVENTS_MAX);
	assert_string_equal(t->log, "BODAACFE");
	output = json_get(json_get(t->events[t->count - 1], "response"), "output");
	assert_json(t,
	    json_get(json_at(json_get(json_at(output, 0), "content"), 0), "annotations")->raw,
	    "[{\"type\":\"url_citation\",\"url\":\"a\"},{\"type\":\"url_citation\",\"url\":\"b\"}"
	    "]");
}

/* Unknown events, [DONE] and keep-alives say nothing. */
static void
noise_is_ignored(void **state)
{
	static const char *const lines[] = {"", "[DONE]", "{\"type\":\"keepalive\"}", "7",
	    "{\"type\":\"response.audio.delta\",\"delta\":\"x\"}", NULL};
	struct bench *t = *state;

	usual(t);
	stream(t, lines, EVENTS_MAX);
	assert_string_equal(t->log, "X");
}

static void
provider_items_travel_whole(void **state)
{
	static const char *const lines[] = {CREATED,
	    "{\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"web_"
	    "search_call\",\"id\":\"ws_1\",\"status\":\"in_progress\"}}",
	    "{\"type\":\"response.web_search_call.searching\",\"output_index\":0,\"item_id\":\"ws_"
	    "1\"}",
	    "{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"web_"
	    "search_call\",\"id\":\"ws_1\",\"status\":\"completed\",\"x\":[1]}}",
	    "{\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"type\":"
	    "\"reasoning\",\"id\":\"rs_1\",\"summary\":[]}}",
	    "{\"type\":\"response.output_item.done\",\"output_index\":2,\"item\":{\"type\":"
	    "\"compaction\",\"id\":\"cmp_1\",\"encrypted_content\":\"zz\"}}",
	    "{\"type\":\"response.completed\",\"response\":{}}", NULL};
	struct bench *t = *state;
	const struct json *output;

	usual(t);
	stream(t, lines, EVENTS_MAX);
	assert_grammar(t);
	assert_types(t, "created in_progress output_item.added web_search_call.in_progress "
			"web_search_call.searching web_search_call.completed "
			"output_item.done output_item.added output_item.done output_item.added "
			"output_item.done completed ");
	output = json_get(json_get(t->events[t->count - 1], "response"), "output");
	assert_json(t, json_at(output, 0)->raw,
	    "{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\",\"x\":[1]}");
	assert_json(
	    t, json_at(output, 1)->raw, "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]}");
	assert_json(t, json_at(output, 2)->raw,
	    "{\"type\":\"compaction\",\"id\":\"cmp_1\",\"encrypted_content\":\"zz\"}");
}

/* ---- the encoder alone ---- */

struct feed {
	struct bench *t;
	void *encoder;
};

static void
feed_open(struct bench *t, struct feed *f)
{
	*f = (struct feed){t, d->encoder_new(t->a, &t->ctx)};
	buf_reset(&t->out);
	assert_non_null(f->encoder);
}

static void
feed(struct feed *f, const struct canon_event *ev)
{
	assert_int_equal(d->encode(f->encoder, ev, &f->t->out), 0);
}

static void
feed_part(struct feed *f, uint32_t n, const struct canon_part *meta, const char *text)
{
	feed(f, &(struct canon_event){.type = EVENT_OPEN, .part = n, .meta = meta});
	if (text != NULL)
		feed(f,
		    &(struct canon_event){.type = EVENT_DELTA, .part = n, .text = span_of(text)});
	feed(f, &(struct canon_event){.type = EVENT_CLOSE, .part = n});
}

static void
feed_end(struct feed *f, enum canon_finish_reason reason)
{
	const struct canon_finish finish = {.reason = reason};
	const struct canon_usage u = {
	    .has_in = true, .in_total = 3, .in_cached = 1, .has_out = true, .out_total = 4};

	feed(f, &(struct canon_event){.type = EVENT_FINISH, .finish = &finish});
	feed(f, &(struct canon_event){.type = EVENT_USAGE, .usage = &u});
	feed(f, &(struct canon_event){.type = EVENT_END});
	d->encoder_free(f->encoder);
	read_events(f->t);
}

static struct canon_part *
meta(struct bench *t, enum canon_part_kind kind, const char *name)
{
	struct canon_part *p = canon_part_new(t->a, kind);

	assert_non_null(p);
	if (name != NULL)
		p->name = span_of(name);
	if (kind == PART_TOOL_CALL)
		p->id = span_of("call_x");
	return p;
}

static const struct canon_event start = {
    .type = EVENT_BEGIN, .id = {"msg_01", 6}, .model = {"claude", 6}};

/* Texts behind one another are contents of one message; a text behind a call is a new message. */
static void
runs_of_text_are_one_message(void **state)
{
	struct bench *t = *state;
	struct feed f;
	const struct json *response, *output;

	usual(t);
	feed_open(t, &f);
	feed(&f, &start);
	feed_part(&f, 0, meta(t, PART_TEXT, NULL), "a");
	feed_part(&f, 1, meta(t, PART_REFUSAL, NULL), "no");
	feed_part(&f, 2, meta(t, PART_TOOL_CALL, "f"), NULL);
	feed_part(&f, 3, meta(t, PART_TEXT, NULL), "c");
	feed_end(&f, FINISH_TOOL_CALLS);
	assert_grammar(t);
	response = json_get(t->events[t->count - 1], "response");
	output = json_get(response, "output");
	assert_int_equal(output->count, 3);
	assert_json(t, json_get(json_at(output, 0), "content")->raw,
	    "[{\"type\":\"output_text\",\"text\":\"a\",\"annotations\":[],\"logprobs\":[]},{"
	    "\"type\":\"refusal\",\"refusal\":\"no\"}]");
	assert_json(t, json_get(json_at(output, 1), "arguments")->raw, "\"{}\"");
	assert_memory_equal(json_get(json_at(output, 1), "id")->raw.p, "\"fc_", 4);
	assert_memory_equal(json_get(response, "id")->raw.p, "\"resp_", 6);
	assert_json(t, json_get(response, "model")->raw, "\"claude\"");
	assert_json(t, json_get(response, "usage")->raw,
	    "{\"input_tokens\":3,\"input_tokens_details\":{\"cached_tokens\":1},\"output_tokens\":"
	    "4,"
	    "\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":7}");
}

static void
custom_calls_have_their_events(void **state)
{
	struct bench *t = *state;
	struct canon_part *p = meta(t, PART_TOOL_CALL, "patch");
	struct feed f;

	usual(t);
	p->custom = true;
	feed_open(t, &f);
	feed(&f, &start);
	feed_part(&f, 0, p, "*** \"x\"");
	feed_end(&f, FINISH_TOOL_CALLS);
	assert_grammar(t);
	assert_types(t, "created in_progress output_item.added custom_tool_call_input.delta "
			"custom_tool_call_input.done output_item.done completed ");
	assert_json(t, json_get(t->events[4], "input")->raw, "\"*** \\\"x\\\"\"");
	assert_memory_equal(json_get(t->events[4], "item_id")->raw.p, "\"ctc_", 5);
}

/* Spec 18.6: the call that was cut is incomplete, as it was streamed; a call before it is not. */
static void
cut_call_is_incomplete(void **state)
{
	struct bench *t = *state;
	struct feed f;
	const struct json *output;

	usual(t);
	feed_open(t, &f);
	feed(&f, &start);
	feed_part(&f, 0, meta(t, PART_TOOL_CALL, "f"), "{}");
	feed_part(&f, 1, meta(t, PART_TOOL_CALL, "g"), "{\"a\":");
	feed_end(&f, FINISH_LENGTH);
	assert_grammar(t);
	output = json_get(json_get(t->events[t->count - 1], "response"), "output");
	assert_json(t, json_get(json_at(output, 0), "status")->raw, "\"completed\"");
	assert_json(t, json_get(json_at(output, 1), "status")->raw, "\"incomplete\"");
	assert_json(t, json_get(json_at(output, 1), "arguments")->raw, "\"{\\\"a\\\":\"");
	assert_true(event_is(t, t->count - 1, "response.incomplete"));
}

/* Spec 18.7: finished items stay, the open one does not. */
static void
failure_keeps_what_is_finished(void **state)
{
	struct bench *t = *state;
	const struct canon_error e = {.class = ERROR_OVERLOADED, .message = span_of("busy")};
	struct feed f;
	const struct json *response;

	usual(t);
	feed_open(t, &f);
	feed(&f, &start);
	feed_part(&f, 0, meta(t, PART_TOOL_CALL, "f"), "{}");
	feed(&f,
	    &(struct canon_event){.type = EVENT_OPEN, .part = 1, .meta = meta(t, PART_TEXT, NULL)});
	feed(&f, &(struct canon_event){.type = EVENT_DELTA, .part = 1, .text = span_of("half")});
	feed(&f, &(struct canon_event){.type = EVENT_FAIL, .error = &e});
	feed(&f, &(struct canon_event){.type = EVENT_END});
	d->encoder_free(f.encoder);
	read_events(t);
	assert_true(event_is(t, t->count - 1, "response.failed"));
	response = json_get(t->events[t->count - 1], "response");
	assert_json(t, json_get(response, "status")->raw, "\"failed\"");
	assert_json(t, json_get(response, "error")->raw,
	    "{\"code\":\"server_is_overloaded\",\"message\":\"busy\"}");
	assert_int_equal(json_get(response, "output")->count, 1);
}

/* Known trap: comments do not reset the idle timer of Codex. */
static void
keep_alive_is_an_event(void **state)
{
	struct bench *t = *state;
	struct feed f;

	usual(t);
	feed_open(t, &f);
	feed(&f, &(struct canon_event){.type = EVENT_IDLE});
	assert_span(held(&t->out), ": keepalive\n\n");
	feed(&f, &start);
	feed(&f, &(struct canon_event){.type = EVENT_IDLE});
	feed_part(&f, 0, meta(t, PART_TEXT, NULL), "x");
	feed_end(&f, FINISH_STOP);
	assert_true(event_is(t, 2, "response.in_progress"));
	assert_true(event_is(t, t->count - 1, "response.completed"));
}

/* An end without a reason for it is no success. */
static void
end_without_finish_fails(void **state)
{
	struct bench *t = *state;
	struct feed f;

	usual(t);
	feed_open(t, &f);
	feed(&f, &start);
	feed(&f, &(struct canon_event){.type = EVENT_END});
	d->encoder_free(f.encoder);
	read_events(t);
	assert_true(event_is(t, t->count - 1, "response.failed"));
}

/* A client may spread its body over lines; an event may not. */
static void
events_are_one_line(void **state)
{
	struct bench *t = *state;

	ask(t, "{\"model\":\"m\",\"input\":\"x\",\"tools\":[\n{\"type\":\r\n\"mcp\"}\n],"
	       "\"metadata\":{\n}}");
	stream(t, whole, EVENTS_MAX);
	assert_null(memchr(t->out.data, '\r', t->out.len));
	assert_json(
	    t, json_get(json_get(t->events[0], "response"), "tools")->raw, "[{\"type\":\"mcp\"}]");
	assert_grammar(t);
}

/* Same seed, same bytes. */
static void
output_is_stable(void **state)
{
	struct bench *t = *state;
	struct buf once = BUF_INIT(CEILING);

	usual(t);
	stream(t, whole, EVENTS_MAX);
	buf_add(&once, t->out.data, t->out.len);
	stream(t, whole, EVENTS_MAX);
	assert_int_equal(once.len, t->out.len);
	assert_memory_equal(once.data, t->out.data, once.len);
	buf_clear(&once);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(stream_is_told_again, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(cut_stream_fails, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(gaps_are_filled, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(ends_are_understood, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(failures_are_failures, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(citations_come_once, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(noise_is_ignored, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(provider_items_travel_whole, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(runs_of_text_are_one_message, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(
		custom_calls_have_their_events, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(cut_call_is_incomplete, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(
		failure_keeps_what_is_finished, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(keep_alive_is_an_event, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(end_without_finish_fails, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(events_are_one_line, bench_open, bench_close),
	    cmocka_unit_test_setup_teardown(output_is_stable, bench_open, bench_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
