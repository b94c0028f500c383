/* Streams of Google's generateContent: events out of chunks, chunks out of events. */
#include "t/unit/proto_gemini.h"

/* ---- decoding: each event is a line ---- */

static struct buf trace;

static int
take(void *ctx, const struct canon_event *ev)
{
	(void)ctx;
	switch (ev->type) {
	case EVENT_BEGIN:
		buf_addf(&trace, "begin %.*s %.*s\n", (int)ev->id.n, ev->id.p, (int)ev->model.n,
		    ev->model.p);
		break;
	case EVENT_OPEN:
		buf_addf(&trace, "open %u.%u kind %d%s %.*s %.*s\n", ev->choice, ev->part,
		    ev->meta->kind, ev->meta->carrier ? " carrier" : "", (int)ev->meta->id.n,
		    ev->meta->id.n > 0 ? ev->meta->id.p : "", (int)ev->meta->name.n,
		    ev->meta->name.n > 0 ? ev->meta->name.p : "");
		break;
	case EVENT_DELTA:
		buf_addf(&trace, "delta %u %.*s%s\n", ev->part, (int)ev->text.n, ev->text.p,
		    ev->whole ? " whole" : "");
		break;
	case EVENT_SIGN:
		buf_addf(
		    &trace, "sign %u %.*s\n", ev->part, (int)ev->sign->data.n, ev->sign->data.p);
		break;
	case EVENT_CITE:
		buf_addf(&trace, "cite %u %d-%d %.*s\n", ev->part, (int)ev->annotation->start,
		    (int)ev->annotation->end, (int)ev->annotation->url.n, ev->annotation->url.p);
		break;
	case EVENT_CLOSE:
		buf_addf(&trace, "close %u\n", ev->part);
		break;
	case EVENT_USAGE:
		buf_addf(&trace, "usage %u %u\n", (unsigned)ev->usage->in_total,
		    (unsigned)ev->usage->out_total);
		break;
	case EVENT_FINISH:
		buf_addf(&trace, "finish %u %d\n", ev->choice, ev->finish->reason);
		break;
	case EVENT_FAIL:
		buf_addf(&trace, "fail %d %.*s\n", ev->error->class, (int)ev->error->code.n,
		    ev->error->code.n > 0 ? ev->error->code.p : "");
		break;
	default:
		buf_addf(&trace, "%s\n", ev->type == EVENT_END ? "end" : "other");
	}
	return 0;
}

/* The scratch memory is emptied behind each frame, and the frame's own bytes are gone. */
static void
decode(const char *const *chunks, bool to_end, const char *want)
{
	static const struct canon_sink sink = {.take = take};
	struct arena *scratch = arena_new(16u << 20);
	void *state = dialect_gemini.decoder_new(arena, scratch, &profile);

	trace = (struct buf)BUF_INIT(1u << 20);
	for (; *chunks != NULL; chunks++) {
		char *copy = strdup(*chunks);
		struct frame f = {.data = span_of(copy)};

		assert_int_equal(dialect_gemini.decode(state, &f, &sink), 0);
		memset(copy, '#', strlen(copy));
		free(copy);
		arena_reset(scratch);
	}
	if (to_end)
		assert_int_equal(dialect_gemini.decode_end(state, &sink), 0);
	arena_free(scratch);
	assert_bytes(&trace, want);
}

#define PARTS(parts) "{\"candidates\":[{\"content\":{\"parts\":[" parts "],\"role\":\"model\"}}]}"
#define STOP \
	"{\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":2," \
	"\"totalTokenCount\":5}}"

static void
test_texts_and_thoughts(void **state)
{
	static const char *const chunks[] = {"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":"
					     "\"h\",\"thought\":true}]}}],\"responseId\":\"r\","
					     "\"modelVersion\":\"m\"}",
	    PARTS("{\"text\":\"m\",\"thought\":true}"), PARTS("{\"text\":\"a\"},{\"text\":\"\"}"),
	    PARTS("{\"text\":\"b\",\"thoughtSignature\":\"QQ==\"}"), PARTS("{\"text\":\"c\"}"),
	    STOP, NULL};

	(void)state;
	decode(chunks, true,
	    "begin r m\nopen 0.0 kind 7  \ndelta 0 h\ndelta 0 m\nclose 0\nopen 0.1 kind 0  \ndelta "
	    "1 a\n"
	    "sign 1 QQ==\ndelta 1 b\nclose 1\nopen 0.2 kind 0  \ndelta 2 c\nusage 2 3\nclose 2\n"
	    "finish 0 1\nusage 2 3\nend\n");
}

static void
test_carrier_and_calls(void **state)
{
	static const char *const chunks[] = {
	    PARTS(
		"{\"text\":\"a\"},{\"functionCall\":{\"name\":\"f\",\"args\":{ \"x\" : 1.0 }},"
		"\"thoughtSignature\":\"QQ==\"},{\"functionCall\":{\"id\":\"i\",\"name\":\"g\"}}"),
	    PARTS("{\"text\":\"\",\"thoughtSignature\":\"Qg==\"}"), STOP, NULL};

	(void)state;
	decode(chunks, true,
	    "begin  \nopen 0.0 kind 0  \ndelta 0 a\nclose 0\nopen 0.1 kind 5  f\nsign 1 QQ==\n"
	    "delta 1 { \"x\" : 1.0 } whole\nclose 1\nopen 0.2 kind 5 i g\ndelta 2 {} whole\nclose "
	    "2\n"
	    "open 0.3 kind 0 carrier  \nsign 3 Qg==\nclose 3\nusage 2 3\nfinish 0 3\nusage 2 "
	    "3\nend\n");
}

static void
test_arguments_in_pieces(void **state)
{
	static const char *const chunks[] = {
	    PARTS("{\"functionCall\":{\"name\":\"f\",\"willContinue\":true},\"thoughtSignature\":"
		  "\"QQ==\"}"),
	    PARTS("{\"functionCall\":{\"partialArgs\":[{\"jsonPath\":\"$.to.city\",\"stringValue\":"
		  "\"Os\","
		  "\"willContinue\":true}],\"willContinue\":true}}"),
	    PARTS("{\"functionCall\":{\"partialArgs\":[{\"jsonPath\":\"$.to.city\",\"stringValue\":"
		  "\"lo\\\"\"},"
		  "{\"jsonPath\":\"$.n[1]\",\"numberValue\":2.50},{\"jsonPath\":\"$['a "
		  "b']\",\"boolValue\":true},"
		  "{\"jsonPath\":\"$.z\",\"nullValue\":\"NULL_VALUE\"}],\"willContinue\":true}}"),
	    PARTS("{\"functionCall\":{}}"),
	    PARTS("{\"functionCall\":{\"name\":\"g\",\"args\":{}}}"), STOP, NULL};

	(void)state;
	decode(chunks, true,
	    "begin  \nopen 0.0 kind 5  f\nsign 0 QQ==\n"
	    "delta 0 {\"to\":{\"city\":\"Oslo\\\"\"},\"n\":[null,2.50],\"a b\":true,\"z\":null} "
	    "whole\nclose 0\n"
	    "open 0.1 kind 5  g\ndelta 1 {} whole\nclose 1\nusage 2 3\nfinish 0 3\nusage 2 "
	    "3\nend\n");
}

static void
test_citations_come_at_close(void **state)
{
	static const char *const chunks[] = {PARTS("{\"text\":\"Größe\"}"),
	    PARTS("{\"text\":\" da\"}"),
	    "{\"candidates\":[{\"finishReason\":\"STOP\",\"groundingMetadata\":{"
	    "\"groundingChunks\":[{\"web\":"
	    "{\"uri\":\"u\"}}],\"groundingSupports\":[{\"segment\":{\"startIndex\":2,\"endIndex\":"
	    "7},"
	    "\"groundingChunkIndices\":[0,9]},{\"segment\":{\"endIndex\":10},"
	    "\"groundingChunkIndices\":[0]}]}}]}",
	    NULL};

	(void)state;
	decode(chunks, true,
	    "begin  \nopen 0.0 kind 0  \ndelta 0 Größe\ndelta 0  da\ncite 0 2-5 u\ncite 0 0-8 "
	    "u\nclose 0\n"
	    "finish 0 1\nusage 0 0\nend\n");
}

static void
test_choices_side_by_side(void **state)
{
	static const char *const chunks[] = {"{\"candidates\":[{\"index\":1,\"content\":{\"parts\":"
					     "[{\"text\":\"b\"}]}},{\"index\":0,\"content\":"
					     "{\"parts\":[{\"text\":\"a\"}]}}]}",
	    "{\"candidates\":[{\"index\":1,\"content\":{\"parts\":[{\"text\":\"B\"}]},"
	    "\"finishReason\":\"MAX_TOKENS\"}]}",
	    "{\"candidates\":[{\"index\":0,\"finishReason\":\"STOP\"}]}", NULL};

	(void)state;
	decode(chunks, true,
	    "begin  \nopen 1.0 kind 0  \ndelta 0 b\nopen 0.1 kind 0  \ndelta 1 a\ndelta 0 B\nclose "
	    "1\n"
	    "finish 0 1\nclose 0\nfinish 1 2\nusage 0 0\nend\n");
}

static void
test_streams_that_fail(void **state)
{
	static const struct {
		const char *chunks[3];
		const char *want;
	} rows[] = {
	    {{NULL}, "fail 9 upstream_stream_cut\n"},
	    {{PARTS("{\"text\":\"a\"}"), NULL},
		"begin  \nopen 0.0 kind 0  \ndelta 0 a\nfail 9 upstream_stream_cut\n"},
	    {{PARTS("{\"text\":\"a\"}"),
		 "{\"candidates\":[{\"finishReason\":\"MALFORMED_FUNCTION_CALL\"}]}", NULL},
		"begin  \nopen 0.0 kind 0  \ndelta 0 a\nfail 9 upstream_malformed\n"},
	    {{"{\"candidates\":[{\"finishReason\":\"STOP\"}]}", NULL},
		"begin  \nfail 9 empty_response\n"},
	    {{PARTS("{\"text\":\"a\"}"), "{\"candidates\":", NULL},
		"begin  \nopen 0.0 kind 0  \ndelta 0 a\nfail 9 upstream_malformed\n"},
	};

	(void)state;
	for (size_t i = 0; i < NELEM(rows); i++)
		decode(rows[i].chunks, true, rows[i].want);
}

static void
test_error_in_the_stream(void **state)
{
	static const char *const chunks[] = {PARTS("{\"text\":\"a\"}"),
	    "[{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}]",
	    PARTS("{\"text\":\"b\"}"), NULL};

	(void)state;
	decode(chunks, true, "begin  \nopen 0.0 kind 0  \ndelta 0 a\nfail 8 \n");
}

static void
test_blocked_prompt(void **state)
{
	static const char *const chunks[] = {"{\"promptFeedback\":{\"blockReason\":\"A_NEW_"
					     "REASON\"},\"usageMetadata\":{\"promptTokenCount\":4,"
					     "\"totalTokenCount\":4}}",
	    NULL};

	(void)state;
	decode(chunks, true, "begin  \nusage 4 0\nfinish 0 5\nusage 4 0\nend\n");
}

static int
take_details(void *c, const struct canon_event *ev)
{
	if (ev->type == EVENT_FINISH)
		*(struct span *)c = ev->finish->details;
	return 0;
}

/* Of a search without citations its own dialect keeps the whole; with some they carry it. */
static void
test_details(void **state)
{
	static const char *const supports[] = {"",
	    ",\"groundingChunks\":[{}],\"groundingSupports\":[{\"groundingChunkIndices\":[0]}]"};
	static const char *const want[] = {
	    "{\"finishMessage\":\"f\",\"groundingMetadata\":{\"webSearchQueries\":[\"q\"]}}",
	    "{\"finishMessage\":\"f\"}"};

	(void)state;
	for (size_t i = 0; i < NELEM(want); i++) {
		struct span details = {NULL, 0};
		struct canon_sink sink = {.take = take_details, .ctx = &details};
		void *decoder = dialect_gemini.decoder_new(arena, arena, &profile);
		char chunk[512];
		struct frame f;

		snprintf(chunk, sizeof chunk,
		    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":"
		    "\"STOP\","
		    "\"finishMessage\":\"f\",\"groundingMetadata\":{\"webSearchQueries\":[\"q\"]%s}"
		    "}]}",
		    supports[i]);
		f = (struct frame){.data = span_of(chunk)};
		assert_int_equal(dialect_gemini.decode(decoder, &f, &sink), 0);
		assert_int_equal(dialect_gemini.decode_end(decoder, &sink), 0);
		assert_text(details, want[i]);
	}
}

/* ---- encoding ---- */

static struct buf wire;
static struct encode_ctx ctx;
static void *encoder;

static void
begin_encoding(bool array, enum canon_show show)
{
	struct canon_request *q = canon_request_new(arena, DIALECT_GEMINI);

	q->reasoning.show = show;
	ctx = context(q);
	ctx.array = array;
	wire = (struct buf)BUF_INIT(1u << 20);
	encoder = dialect_gemini.encoder_new(arena, &ctx);
	assert_non_null(encoder);
}

static void
send_event(struct canon_event ev)
{
	assert_int_equal(dialect_gemini.encode(encoder, &ev, &wire), 0);
}

static void
send_open(uint32_t part, enum canon_part_kind kind, const char *id, const char *name)
{
	struct canon_part *p = canon_part_new(arena, kind);

	p->id = span_of(id);
	p->name = span_of(name);
	send_event((struct canon_event){.type = EVENT_OPEN, .part = part, .meta = p});
}

static void
send_delta(uint32_t part, const char *text)
{
	send_event((struct canon_event){.type = EVENT_DELTA, .part = part, .text = span_of(text)});
}

static void
send_close(uint32_t part)
{
	send_event((struct canon_event){.type = EVENT_CLOSE, .part = part});
}

static void
send_sign(uint32_t part, const char *data)
{
	struct canon_signature s = {.data = span_of(data), .origin = ORIGIN_GOOGLE};

	send_event((struct canon_event){.type = EVENT_SIGN, .part = part, .sign = &s});
}

static void
send_finish(enum canon_finish_reason reason)
{
	struct canon_finish f = {.reason = reason, .raw = span_of("their_word")};

	send_event((struct canon_event){.type = EVENT_FINISH, .finish = &f});
}

static void
send_usage_and_end(void)
{
	struct canon_usage u = {
	    .has_in = true, .has_out = true, .in_total = 3, .out_total = 4, .from = DIALECT_CHAT};

	send_event((struct canon_event){.type = EVENT_USAGE, .usage = &u});
	send_event((struct canon_event){.type = EVENT_END});
}

/* Takes the made id out of what was written, and gives up the encoder. */
static void
assert_wire(const char *want)
{
	static const char head[] = "\"responseId\":\"";
	char *p = wire.data, *end = wire.data + wire.len;

	while ((p = memmem(p, (size_t)(end - p), head, sizeof head - 1)) != NULL) {
		p += sizeof head - 1;
		assert_true(end - p > 22 && p[22] == '"');
		memmove(p, p + 22, (size_t)(end - p) - 22);
		end -= 22;
		wire.len -= 22;
	}
	dialect_gemini.encoder_free(encoder);
	assert_bytes(&wire, want);
}

#define CHUNK(parts) \
	"{\"candidates\":[{\"content\":{\"parts\":[" parts \
	"],\"role\":\"model\"},\"index\":0}],\"modelVersion\":\"m\",\"responseId\":\"\"}"
#define LAST(word) \
	"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"}," \
	"\"finishReason\":\"" word "\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":3," \
	"\"candidatesTokenCount\":4,\"totalTokenCount\":7},\"modelVersion\":\"m\"," \
	"\"responseId\":\"\"}"
#define EVENT(chunk) "data: " chunk "\r\n\r\n"

static void
test_chunks(void **state)
{
	(void)state;
	begin_encoding(false, SHOW_FULL);
	send_event((struct canon_event){.type = EVENT_IDLE}); /* nothing before the first chunk */
	send_event((struct canon_event){.type = EVENT_BEGIN, .id = span_of("chatcmpl-1")});
	assert_int_equal(wire.len, 0);
	send_open(0, PART_REASONING, NULL, NULL);
	send_delta(0, "hm");
	send_sign(0, "QQ==");
	send_close(0);
	send_event((struct canon_event){.type = EVENT_IDLE});
	send_open(1, PART_TEXT, NULL, NULL);
	send_sign(1, "Qg==");
	send_delta(1, "a\"");
	send_delta(1, "b");
	send_sign(1, "Qw==");
	send_close(1);
	send_finish(FINISH_STOP);
	send_usage_and_end();
	assert_wire(EVENT(CHUNK("{\"text\":\"hm\",\"thought\":true}"))
		EVENT(CHUNK("{\"text\":\"\",\"thought\":true,\"thoughtSignature\":\"QQ==\"}"))
		    EVENT(CHUNK("{\"text\":\"\"}"))
			EVENT(CHUNK("{\"text\":\"a\\\"\",\"thoughtSignature\":\"Qg==\"}"))
			    EVENT(CHUNK("{\"text\":\"b\"}"))
				EVENT(CHUNK("{\"text\":\"\",\"thoughtSignature\":\"Qw==\"}"))
				    EVENT(LAST("STOP")));
}

static void
test_thoughts_that_nobody_asked_for(void **state)
{
	(void)state;
	begin_encoding(false, SHOW_UNSET);
	send_open(0, PART_REASONING, NULL, NULL);
	send_delta(0, "secret");
	send_sign(0, "QQ==");
	send_close(0);
	send_finish(FINISH_LENGTH);
	send_usage_and_end();
	assert_wire(EVENT(CHUNK("{\"text\":\"\",\"thought\":true,\"thoughtSignature\":\"QQ==\"}"))
		EVENT(LAST("MAX_TOKENS")));
}

static void
test_interleaved_calls(void **state)
{
	(void)state;
	begin_encoding(false, SHOW_UNSET);
	send_open(0, PART_TOOL_CALL, "i", "f");
	send_open(1, PART_TOOL_CALL, NULL, "g");
	send_delta(1, "{\"y\":\n2}");
	send_delta(0, "{\"x\"");
	send_close(1); /* waits for the one before it */
	assert_int_equal(wire.len, 0);
	send_sign(0, "QQ==");
	send_delta(0, ":1}");
	send_close(0);
	send_open(2, PART_TOOL_CALL, "", "h");
	send_close(2);
	send_finish(FINISH_TOOL_CALLS);
	send_usage_and_end();
	assert_wire(
	    EVENT(CHUNK("{\"functionCall\":{\"id\":\"i\",\"name\":\"f\",\"args\":{\"x\":1}},"
			"\"thoughtSignature\":\"QQ==\"}"))
		EVENT(CHUNK("{\"functionCall\":{\"name\":\"g\",\"args\":{\"y\": 2}}}")) EVENT(
		    CHUNK("{\"functionCall\":{\"name\":\"h\",\"args\":{}}}")) EVENT(LAST("STOP")));
}

static void
test_cut_call(void **state)
{
	(void)state;
	for (int cut = 0; cut < 2; cut++) {
		begin_encoding(false, SHOW_UNSET);
		send_open(0, PART_TOOL_CALL, NULL, "f");
		send_delta(0, "{\"x\":");
		send_close(0);
		send_finish(cut ? FINISH_LENGTH : FINISH_TOOL_CALLS);
		send_usage_and_end();
		assert_wire(
		    cut ? EVENT(LAST("MAX_TOKENS"))
			: EVENT(CHUNK("{\"functionCall\":{\"name\":\"f\",\"args\":{\"_raw\":\"{"
				      "\\\"x\\\":\"}}}")) EVENT(LAST("STOP")));
	}
}

static void
test_array(void **state)
{
	struct canon_error e = {.class = ERROR_OVERLOADED, .message = span_of("busy")};

	(void)state;
	begin_encoding(true, SHOW_UNSET);
	send_open(0, PART_TEXT, NULL, NULL);
	send_delta(0, "a");
	send_close(0);
	send_finish(FINISH_STOP);
	send_usage_and_end();
	assert_wire("[" CHUNK("{\"text\":\"a\"}") ",\r\n" LAST("STOP") "]");
	begin_encoding(true, SHOW_UNSET);
	send_open(0, PART_TEXT, NULL, NULL);
	send_delta(0, "a");
	send_event((struct canon_event){.type = EVENT_FAIL, .error = &e});
	send_delta(0, "b");
	assert_wire(
	    "[" CHUNK("{\"text\":\"a\"}") ",\r\n{\"error\":{\"code\":503,\"message\":\"busy\","
					  "\"status\":\"UNAVAILABLE\"}}]");
}

static void
test_failure_is_bare(void **state)
{
	struct canon_error e = {.class = ERROR_OVERLOADED, .message = span_of("busy")};

	(void)state;
	begin_encoding(false, SHOW_UNSET);
	send_open(0, PART_TEXT, NULL, NULL);
	send_delta(0, "a");
	send_event((struct canon_event){.type = EVENT_FAIL, .error = &e});
	send_event((struct canon_event){.type = EVENT_IDLE});
	assert_wire(EVENT(
	    CHUNK("{\"text\":\"a\"}")) "{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":"
				       "\"UNAVAILABLE\"}}\n\n");
}

static void
test_citations_in_bytes(void **state)
{
	struct canon_annotation n = {.kind = CITE_URL, .start = 0, .end = 1, .url = span_of("u")};

	(void)state;
	begin_encoding(false, SHOW_UNSET);
	send_open(0, PART_TEXT, NULL, NULL);
	send_delta(0, "é");
	send_close(0);
	send_open(1, PART_TEXT, NULL, NULL);
	send_delta(1, "µx");
	send_event((struct canon_event){.type = EVENT_CITE, .part = 1, .annotation = &n});
	send_close(1);
	send_finish(FINISH_STOP);
	wire.len = 0;
	send_usage_and_end();
	assert_wire(
	    EVENT("{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},"
		  "\"finishReason\":\"STOP\",\"groundingMetadata\":{\"groundingChunks\":[{\"web\":{"
		  "\"uri\":"
		  "\"u\"}}],\"groundingSupports\":[{\"segment\":{\"startIndex\":2,\"endIndex\":4},"
		  "\"groundingChunkIndices\":[0]}]},\"index\":0}],\"usageMetadata\":{"
		  "\"promptTokenCount\":3,"
		  "\"candidatesTokenCount\":4,\"totalTokenCount\":7},\"modelVersion\":\"m\","
		  "\"responseId\":\"\"}"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(test_texts_and_thoughts),
	    T(test_carrier_and_calls),
	    T(test_arguments_in_pieces),
	    T(test_citations_come_at_close),
	    T(test_choices_side_by_side),
	    T(test_streams_that_fail),
	    T(test_error_in_the_stream),
	    T(test_blocked_prompt),
	    T(test_details),
	    T(test_chunks),
	    T(test_thoughts_that_nobody_asked_for),
	    T(test_interleaved_calls),
	    T(test_cut_call),
	    T(test_array),
	    T(test_failure_is_bare),
	    T(test_citations_in_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
