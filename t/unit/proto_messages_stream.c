#include "t/unit/proto_messages.h"

#include "shared/digest.h"

/* Frames, one on each line, through a new decoder; `whole`: to the end of input. */
static struct record
read_frames(struct bench *t, const char *lines, bool whole)
{
	struct record r = {.text = BUF_INIT(1u << 22), .part = UINT32_MAX};
	struct canon_sink sink = {record_take, &r};
	struct feed f = {.t = t, .sink = &sink};
	const char *end;

	f.decoder = dialect_messages.decoder_new(t->a, t->scratch, &t->profile);
	for (; *lines != '\0'; lines = *end == '\n' ? end + 1 : end) {
		end = lines + strcspn(lines, "\n");
		struct frame frame = {.data = {lines, (size_t)(end - lines)}};
		feed_frame(&f, &frame);
	}
	assert_int_equal(f.error, 0);
	if (whole)
		assert_int_equal(dialect_messages.decode_end(f.decoder, &sink), 0);
	return r;
}

static void
assert_events(struct bench *t, const char *lines, const char *want)
{
	struct record r = read_frames(t, lines, true);

	if (r.text.len != strlen(want) || memcmp(r.text.data, want, r.text.len) != 0)
		fail_msg("got  %.*s\nwant %s", (int)r.text.len, r.text.data, want);
	buf_clear(&r.text);
}

#define START \
	"{\"type\":\"message_start\",\"message\":{\"id\":\"i\",\"model\":\"m\",\"usage\":{" \
	"\"input_tokens\":5,\"output_tokens\":1}}}\n"
#define BLOCK(i, block) \
	"{\"type\":\"content_block_start\",\"index\":" #i ",\"content_block\":" block "}\n"
#define DELTA(i, delta) "{\"type\":\"content_block_delta\",\"index\":" #i ",\"delta\":" delta "}\n"
#define CLOSE(i) "{\"type\":\"content_block_stop\",\"index\":" #i "}\n"
#define FINISH(word) \
	"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" word \
	"\"},\"usage\":{\"output_tokens\":7}}\n"
#define STOP "{\"type\":\"message_stop\"}\n"

/* ---- decoding ---- */

static void
read_file(const char *path, struct buf *b)
{
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	b->len = fread(buf_reserve(b, 1u << 16), 1, 1u << 16, f);
	fclose(f);
}

/* The same events at every chunking. */
static void
test_fixture(void **state)
{
	static const char want[] =
	    "\nbegin"
	    "\nopen 0 reasoning\ndelta 0 Let me see.\nsign 0 origin=1 encrypted=0 "
	    "data=c2lnbmF0dXJl\nclose 0"
	    "\nopen 1 reasoning\nsign 1 origin=1 encrypted=1 data=b3BhcXVl\nclose 1"
	    "\nopen 2 text\ndelta 2 Fenster \xc3\xb6"
	    "ffnen \xf0\x9f\x98\x80\ncite 2 quoted=quote\nclose 2"
	    "\nopen 3 call id=toolu_01 name=read\ndelta 3 {\"path\": \"a.txt\"}\nclose 3"
	    "\nopen 4 call id=toolu_02 name=now\ndelta 4 {}\nclose 4"
	    "\nopen 5 server_call id=srvtoolu_01 name=web_search\ndelta 5 {\"query\":\"q\"}\nclose "
	    "5"
	    "\nopen 6 server_result id=srvtoolu_01\nclose 6"
	    "\nfinish 3 raw=tool_use "
	    "details={\"container\":{\"id\":\"c1\"},\"context_management\":{\"applied_edits\":[]}}"
	    "\nend";
	struct bench *t = *state;
	struct buf text = BUF_INIT(1u << 20);

	read_file("t/data/messages/stream.sse", &text);
	for (size_t step = 1; step < 4096; step = step * 3 + 1) {
		struct record r = {.text = BUF_INIT(1u << 20), .part = UINT32_MAX};
		struct canon_sink sink = {record_take, &r};
		struct feed f = {.t = t, .sink = &sink};
		f.decoder = dialect_messages.decoder_new(t->a, t->scratch, &t->profile);
		feed_sse(&f, bytes_of(&text), step);
		assert_int_equal(dialect_messages.decode_end(f.decoder, &sink), 0);
		assert_text(bytes_of(&r.text), want);
		/* the input is that of the last event as a group: with tools of the server it has
		 * grown */
		assert_int_equal(r.usage.in_total, 152);
		assert_int_equal(r.usage.in_cached, 50);
		assert_int_equal(r.usage.out_total, 44);
		buf_clear(&r.text);
	}
	buf_clear(&text);
}

static void
test_starts(void **state)
{
	struct bench *t = *state;

	/* a whole input in the start is a delta; without any, {} */
	assert_events(t,
	    START BLOCK(
		0, "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{\"x\":1}}")
		CLOSE(0) FINISH("tool_use") STOP,
	    "\nbegin\nopen 0 call id=a name=f\ndelta 0 {\"x\":1}\nclose 0\nfinish 3 "
	    "raw=tool_use\nend");
	assert_events(t,
	    START BLOCK(
		0, "{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\",\"input\":{\"x\":1}}")
		DELTA(0, "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"x\\\":1}\"}")
		    CLOSE(0) FINISH("tool_use") STOP,
	    "\nbegin\nopen 0 call id=a name=f\ndelta 0 {\"x\":1}\nclose 0\nfinish 3 "
	    "raw=tool_use\nend");
	/* initial text and thinking; a block that was never started; one that was never closed; no
	 * message_start */
	assert_events(t,
	    BLOCK(0, "{\"type\":\"text\",\"text\":\"a\"}")
		DELTA(0, "{\"type\":\"text_delta\",\"text\":\"b\"}") DELTA(
		    7, "{\"type\":\"thinking_delta\",\"thinking\":\"c\"}") FINISH("end_turn") STOP,
	    "\nbegin\nopen 0 text\ndelta 0 ab\nopen 1 reasoning\ndelta 1 c\nclose 0\nclose "
	    "1\nfinish 1 raw=end_turn\nend");
	/* unknown events, deltas and blocks; a second start; pings */
	assert_events(t,
	    "{\"type\":\"ping\"}\n" START START "{\"type\":\"of_tomorrow\"}\n[1]\n" BLOCK(
		3, "{\"type\":\"of_tomorrow\",\"x\":1}") DELTA(3, "{\"type\":\"of_tomorrow\"}")
		DELTA(9, "{\"type\":\"input_json_delta\",\"partial_json\":\"{\"}") CLOSE(3) CLOSE(4)
		    FINISH("pause_turn") STOP,
	    "\nbegin\nopen 0 opaque\nclose 0\nfinish 7 raw=pause_turn\nend");
	assert_events(t,
	    START BLOCK(0, "{\"type\":\"compaction\",\"content\":null,\"k\":1}")
		DELTA(0, "{\"type\":\"compaction_delta\",\"content\":\"c\"}") CLOSE(0)
		    FINISH("end_turn") STOP,
	    "\nbegin\nopen 0 opaque\nclose 0\nfinish 1 raw=end_turn\nend");
}

/* Spec 17.9: no proof, no success. */
static void
test_proof(void **state)
{
	struct bench *t = *state;
	struct record r;

	assert_events(t, "", "\nfail 9");
	assert_events(t, START BLOCK(0, "{\"type\":\"text\",\"text\":\"a\"}") CLOSE(0),
	    "\nbegin\nopen 0 text\ndelta 0 a\nclose 0\nfail 9");
	/* a middle message_delta without a reason proves nothing */
	r = read_frames(t,
	    START "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null},\"usage\":{"
		  "\"output_tokens\":3}}\n",
	    true);
	assert_true(r.failed);
	assert_string_equal(r.code, "upstream_stream_cut");
	assert_int_equal(r.usage.out_total, 3);
	buf_clear(&r.text);
	assert_events(t, START FINISH("end_turn"), "\nbegin\nfinish 1 raw=end_turn\nend");
	assert_events(t, START STOP, "\nbegin\nfinish 1\nend");
	/* nor does it take back what was said */
	assert_events(t,
	    START FINISH(
		"end_turn") "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null}}\n",
	    "\nbegin\nfinish 1 raw=end_turn\nend");
	t->profile.eof_is_end = true;
	assert_events(t, START BLOCK(0, "{\"type\":\"text\",\"text\":\"a\"}"),
	    "\nbegin\nopen 0 text\ndelta 0 a\nclose 0\nfinish 1\nend");
	assert_events(t, START, "\nbegin\nfail 9");
	t->profile.eof_is_end = false;
	/* nothing behind the end */
	assert_events(t, START FINISH("end_turn") STOP START "{\"type\":\"error\",\"error\":{}}\n",
	    "\nbegin\nfinish 1 raw=end_turn\nend");
}

static void
test_failures(void **state)
{
	struct bench *t = *state;
	struct record r = read_frames(t,
	    START BLOCK(
		0, "{\"type\":\"text\",\"text\":\"a\"}") "{\"type\":\"error\",\"error\":{\"type\":"
							 "\"overloaded_error\",\"message\":"
							 "\"Overloaded\"}}\n" STOP,
	    true);
	struct canon_sink sink = {record_take, &r};
	struct feed f = {.t = t, .sink = &sink};
	struct frame frame = {.type = span_of("throttlingException"),
	    .data = span_of("{\"message\":\"Too many requests\"}"),
	    .exception = true};

	assert_text(bytes_of(&r.text),
	    "\nbegin\nopen 0 text\ndelta 0 a\nfail 8"); /* not closed: it is not whole */
	buf_clear(&r.text);
	r = read_frames(t, "{\"type\":", true);
	assert_true(r.failed);
	assert_int_equal(r.error.class, ERROR_SERVER);
	buf_clear(&r.text);

	r = (struct record){.text = BUF_INIT(1u << 20), .part = UINT32_MAX};
	f.decoder = dialect_messages.decoder_new(t->a, t->scratch, &t->profile);
	assert_int_equal(dialect_messages.decode(f.decoder, &frame, &sink), 0);
	assert_true(r.failed);
	assert_int_equal(r.error.class, ERROR_RATE_LIMIT);
	buf_clear(&r.text);
}

/* Too many blocks at once are refused, and memory for them is used again. */
static void
test_many_blocks(void **state)
{
	struct bench *t = *state;
	struct buf b = BUF_INIT(1u << 24);
	struct record r;

	buf_str(&b, START);
	for (unsigned i = 0; i < 300; i++)
		buf_addf(&b,
		    "{\"type\":\"content_block_start\",\"index\":%u,\"content_block\":{\"type\":"
		    "\"text\"}}\n",
		    i);
	r = read_frames(t, buf_cstr(&b), true);
	assert_true(r.failed);
	assert_string_equal(r.code, "upstream_malformed");
	buf_clear(&r.text);
	buf_clear(&b);
}

/* Bedrock: each event is base64 in a frame; what it has counted is taken where nobody else has. */
static void
test_chunks(void **state)
{
	static const char *const events[] = {
	    "{\"type\":\"message_start\",\"message\":{\"id\":\"i\",\"model\":\"m\"}}",
	    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
	    "\"text\":\"a\"}}",
	    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}",
	    "{\"type\":\"message_stop\",\"amazon-bedrock-invocationMetrics\":{\"inputTokenCount\":"
	    "3,\"outputTokenCount\":2,\"cacheReadInputTokenCount\":4}}"};
	struct bench *t = *state;
	struct record r = {.text = BUF_INIT(1u << 20), .part = UINT32_MAX};
	struct canon_sink sink = {record_take, &r};
	struct feed f = {.t = t, .sink = &sink};

	f.decoder = dialect_messages.decoder_new(t->a, t->scratch, &t->profile);
	for (size_t i = 0; i < NELEM(events); i++) {
		struct buf b = BUF_INIT(1u << 16);
		buf_str(&b, "{\"bytes\":\"");
		assert_int_equal(base64_encode(&b, events[i], strlen(events[i])), 0);
		buf_str(&b, "\",\"p\":\"abcd\"}");
		struct frame frame = {.type = span_of("chunk"), .data = bytes_of(&b)};
		feed_frame(&f, &frame);
		buf_clear(&b);
	}
	assert_text(bytes_of(&r.text),
	    "\nbegin\nopen 0 text\ndelta 0 a\nclose 0\nfinish 1 raw=end_turn\nend");
	assert_int_equal(r.usage.in_total, 7);
	assert_int_equal(r.usage.in_cached, 4);
	assert_int_equal(r.usage.out_total, 2);
	buf_clear(&r.text);
}

/* ---- encoding ---- */

struct client {
	struct bench *t;
	void *encoder;
	struct buf out;
	uint32_t parts;
};

static void
client_open(struct client *c, struct bench *t)
{
	*c = (struct client){.t = t, .out = BUF_INIT(1u << 22)};
	c->encoder = dialect_messages.encoder_new(t->a, &t->ctx);
	assert_non_null(c->encoder);
}

static void
say(struct client *c, struct canon_event ev)
{
	assert_int_equal(dialect_messages.encode(c->encoder, &ev, &c->out), 0);
}

static void
say_begin(struct client *c)
{
	static const struct canon_usage none;

	say(c,
	    (struct canon_event){
		.type = EVENT_BEGIN, .id = span_of("x"), .model = span_of("gpt"), .usage = &none});
}

static void
say_open(struct client *c, enum canon_part_kind kind, const char *id, const char *name)
{
	struct canon_part *m = canon_part_new(c->t->a, kind);

	m->id = span_of(id);
	m->name = span_of(name);
	say(c, (struct canon_event){.type = EVENT_OPEN, .part = c->parts, .meta = m});
}

static void
say_delta(struct client *c, const char *text)
{
	say(c, (struct canon_event){.type = EVENT_DELTA, .part = c->parts, .text = span_of(text)});
}

static void
say_close(struct client *c)
{
	say(c, (struct canon_event){.type = EVENT_CLOSE, .part = c->parts++});
}

static void
say_end(struct client *c, enum canon_finish_reason reason)
{
	struct canon_finish f = {.reason = reason};

	say(c, (struct canon_event){.type = EVENT_FINISH, .finish = &f});
	say(c, (struct canon_event){.type = EVENT_END});
}

/* What was written since the last look. */
static void
assert_said(struct client *c, const char *want)
{
	assert_text(bytes_of(&c->out), want);
	buf_reset(&c->out);
}

#define E(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"" rest "}\n\n"
#define PING "event: ping\ndata: {\"type\": \"ping\"}\n\n"

/* Traps: an empty text block in front of every answer; tool input in content_block_start;
 * message_delta without usage. */
static void
test_grammar(void **state)
{
	struct bench *t = *state;
	struct client c;
	struct canon_usage u = {
	    .has_in = true, .has_out = true, .in_total = 9, .in_cached = 4, .out_total = 6};

	client_open(&c, t);
	say(&c, (struct canon_event){.type = EVENT_IDLE});
	assert_said(&c, ": keepalive\n\n");
	say_begin(&c);
	buf_reset(&c.out);
	say(&c, (struct canon_event){.type = EVENT_IDLE});
	assert_said(&c, PING);
	say_open(&c, PART_TEXT, NULL, NULL);
	say_delta(&c, "");
	say_close(&c);
	assert_said(&c, ""); /* nothing was said: no block */
	say_open(&c, PART_TEXT, NULL, NULL);
	say_delta(&c, "h\"i");
	assert_said(&c,
	    E("content_block_start",
		",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}")
		PING E("content_block_delta",
		    ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"h\\\"i\"}"));
	say_close(&c);
	assert_said(&c, E("content_block_stop", ",\"index\":0"));
	say_open(&c, PART_TOOL_CALL, "toolu_1", "f");
	assert_said(&c,
	    E("content_block_start",
		",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":"
		"\"toolu_1\",\"name\":\"f\",\"input\":{}}") E("content_block_delta",
		",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}"));
	say_delta(&c, "{\"a\":");
	say_delta(&c, "1}");
	say_close(&c);
	assert_said(&c,
	    E("content_block_delta", ",\"index\":1,\"delta\":{\"type\":\"input_json_delta\","
				     "\"partial_json\":\"{\\\"a\\\":\"}") E("content_block_delta",
		",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"1}\"}")
		E("content_block_stop", ",\"index\":1"));
	say_open(&c, PART_TOOL_CALL, "toolu_2", "g");
	buf_reset(&c.out);
	say_close(&c); /* a call with no arguments at all */
	assert_said(&c,
	    E("content_block_delta",
		",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{}\"}")
		E("content_block_stop", ",\"index\":2"));
	/* usage comes late, the end comes behind it; stop with calls is tool_use */
	say(&c, (struct canon_event){
		    .type = EVENT_FINISH, .finish = &(struct canon_finish){.reason = FINISH_STOP}});
	assert_said(&c, "");
	say(&c, (struct canon_event){.type = EVENT_USAGE, .usage = &u});
	assert_said(&c, "");
	say(&c, (struct canon_event){.type = EVENT_END});
	assert_said(
	    &c, E("message_delta", ",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":"
				   "null},\"usage\":{\"input_tokens\":5,"
				   "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":"
				   "4,\"output_tokens\":6}") E("message_stop", ""));
	say(&c, (struct canon_event){.type = EVENT_IDLE});
	assert_said(&c, "");
	buf_clear(&c.out);
}

/* Trap: input_tokens 0 in message_start breaks the client's context meter. */
static void
test_start(void **state)
{
	struct bench *t = *state;
	struct client c;
	struct canon_usage early = {.has_in = true, .in_total = 12, .in_cached = 2};
	struct canon_request *q;
	const struct json *message;
	int64_t n;

	assert_int_equal(decode_request(t,
			     span_of("{\"model\":\"m\",\"messages\":[{\"role\":\"user\","
				     "\"content\":\"How long is a piece of string?\"}]}"),
			     &q),
	    0);
	t->ctx.asked = q;
	client_open(&c, t);
	say_begin(&c);
	say_begin(&c); /* trap: message_start twice */
	assert_memory_equal(c.out.data, "event: message_start\ndata: ", 27);
	assert_null(memmem(c.out.data + 27, c.out.len - 27, "event:", 6));
	message = json_get(parse(t, (struct span){c.out.data + 27, c.out.len - 29}), "message");
	assert_true(json_int(json_get(json_get(message, "usage"), "input_tokens"), &n));
	assert_true(n > 3 && n < 60);
	assert_json(t, json_get(message, "content")->raw, span_of("[]"));
	assert_memory_equal(json_get(message, "id")->raw.p, "\"msg_", 5);
	buf_clear(&c.out);

	client_open(&c, t);
	say(&c, (struct canon_event){.type = EVENT_BEGIN, .usage = &early});
	assert_non_null(memmem(c.out.data, c.out.len,
	    "\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":0,\"cache_read_input_"
	    "tokens\":2,\"output_tokens\":1}",
	    99));
	buf_clear(&c.out);
	t->ctx.asked = t->asked;
}

static void
say_sign(struct client *c, const char *data, enum canon_origin origin, bool encrypted)
{
	struct canon_signature s = {
	    .data = span_of(data), .origin = origin, .encrypted = encrypted};

	say(c, (struct canon_event){.type = EVENT_SIGN, .part = c->parts, .sign = &s});
}

static void
test_reasoning(void **state)
{
	struct bench *t = *state;
	struct client c;

	client_open(&c, t);
	say_begin(&c);
	buf_reset(&c.out);
	say_open(&c, PART_REASONING, NULL, NULL);
	say_sign(
	    &c, "early", ORIGIN_ANTHROPIC, false); /* once, behind the text, and the last one */
	say_delta(&c, "hm");
	say_sign(&c, "late", ORIGIN_ANTHROPIC, false);
	say_close(&c);
	assert_said(&c,
	    E("content_block_start",
		",\"index\":0,\"content_block\":{\"type\":\"thinking\","
		"\"thinking\":\"\",\"signature\":\"\"}") PING E("content_block_delta",
		",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}")
		E("content_block_delta",
		    ",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"late\"}")
		    E("content_block_stop", ",\"index\":0"));
	say_open(&c, PART_REASONING, NULL, NULL);
	say_close(&c);
	assert_said(&c, "");
	/* trap: a thinking block with an empty text but a signature */
	say_open(&c, PART_REASONING, NULL, NULL);
	say_sign(&c, "alone", ORIGIN_ANTHROPIC, false);
	say_close(&c);
	assert_said(&c,
	    E("content_block_start", ",\"index\":1,\"content_block\":{\"type\":\"thinking\","
				     "\"thinking\":\"\",\"signature\":\"\"}")
		E("content_block_delta",
		    ",\"index\":1,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"alone\"}")
		    E("content_block_stop", ",\"index\":1"));
	say_open(&c, PART_REASONING, NULL, NULL);
	say_sign(&c, "data", ORIGIN_ANTHROPIC, true);
	say_close(&c);
	assert_said(&c,
	    E("content_block_start",
		",\"index\":2,\"content_block\":{\"type\":\"redacted_thinking\",\"data\":\"data\"}")
		E("content_block_stop", ",\"index\":2"));
	/* unsigned: an envelope */
	say_open(&c, PART_REASONING, NULL, NULL);
	say_delta(&c, "hm");
	buf_reset(&c.out);
	say_close(&c);
	assert_non_null(
	    memmem(c.out.data, c.out.len, "\"signature_delta\",\"signature\":\"T01OSTAx", 38));
	buf_clear(&c.out);
}

static void
test_ends(void **state)
{
	struct bench *t = *state;
	struct client c;
	struct canon_error e = {.class = ERROR_OVERLOADED, .message = span_of("busy")};

	/* an empty answer: no block */
	client_open(&c, t);
	say_begin(&c);
	buf_reset(&c.out);
	say_end(&c, FINISH_STOP);
	assert_memory_equal(c.out.data,
	    "event: message_delta\ndata: "
	    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"",
	    83);
	buf_clear(&c.out);

	/* spec 18.7: open blocks are not closed, no message_delta, no message_stop */
	client_open(&c, t);
	say_begin(&c);
	say_open(&c, PART_TEXT, NULL, NULL);
	say_delta(&c, "a");
	buf_reset(&c.out);
	say(&c, (struct canon_event){.type = EVENT_FAIL, .error = &e});
	assert_said(
	    &c, E("error", ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}"));
	say_end(&c, FINISH_STOP);
	assert_said(&c, "");
	buf_clear(&c.out);

	/* trap: the upstream says end_turn although there is a call; the client's loop would stop
	 */
	client_open(&c, t);
	say_begin(&c);
	say_open(&c, PART_TOOL_CALL, "toolu_1", "f");
	say_close(&c);
	buf_reset(&c.out);
	say(&c,
	    (struct canon_event){.type = EVENT_USAGE,
		.usage = &(struct canon_usage){.raw = span_of("{}"), .from = DIALECT_MESSAGES}});
	say(&c, (struct canon_event){.type = EVENT_FINISH,
		    .finish =
			&(struct canon_finish){.reason = FINISH_STOP, .raw = span_of("end_turn")}});
	say(&c, (struct canon_event){.type = EVENT_END});
	assert_non_null(memmem(c.out.data, c.out.len, "\"stop_reason\":\"tool_use\"", 24));
	buf_clear(&c.out);

	/* an end that is a failure is never a success */
	client_open(&c, t);
	say_begin(&c);
	buf_reset(&c.out);
	say_end(&c, FINISH_MALFORMED);
	assert_memory_equal(c.out.data, "event: error\n", 13);
	assert_null(memmem(c.out.data, c.out.len, "message_stop", 12));
	buf_clear(&c.out);

	/* spec 18.6: a call that was cut stays as it was streamed, and the reason says so */
	client_open(&c, t);
	say_begin(&c);
	say_open(&c, PART_TOOL_CALL, "toolu_1", "f");
	say_delta(&c, "{\"a");
	say_close(&c);
	buf_reset(&c.out);
	say_end(&c, FINISH_LENGTH);
	assert_non_null(memmem(c.out.data, c.out.len, "\"stop_reason\":\"max_tokens\"", 26));
	buf_clear(&c.out);
}

/* The fixture for a client of the same dialect: what it reads is what was said; line ends inside
 * JSON do not cut events. */
static void
test_back(void **state)
{
	struct bench *t = *state;
	struct buf text = BUF_INIT(1u << 20), out = BUF_INIT(1u << 20);
	struct record first = {.text = BUF_INIT(1u << 20), .part = UINT32_MAX},
		      second = {.text = BUF_INIT(1u << 20), .part = UINT32_MAX};
	struct record encoding = {.out = &out};
	struct canon_sink one = {record_take, &first}, two = {encode_take, &encoding},
			  three = {record_take, &second};
	struct feed f = {.t = t, .sink = &one};

	read_file("t/data/messages/stream.sse", &text);
	f.decoder = dialect_messages.decoder_new(t->a, t->scratch, &t->profile);
	feed_sse(&f, bytes_of(&text), 100);
	encoding.encoder = dialect_messages.encoder_new(t->a, &t->ctx);
	f.decoder = dialect_messages.decoder_new(t->a, t->scratch, &t->profile);
	f.sink = &two;
	feed_sse(&f, bytes_of(&text), 100);
	f.decoder = dialect_messages.decoder_new(t->a, t->scratch, &t->profile);
	f.sink = &three;
	feed_sse(&f, bytes_of(&out), 1);
	assert_true(second.ended);
	assert_int_equal(first.text.len, second.text.len);
	assert_memory_equal(first.text.data, second.text.data, first.text.len);
	assert_int_equal(first.usage.in_total, second.usage.in_total);
	/* members that only this dialect has */
	assert_non_null(memmem(out.data, out.len, "\"container\":{\"id\":\"c1\"}}", 24));
	assert_non_null(
	    memmem(out.data, out.len, "\"context_management\":{\"applied_edits\":[]}}\n\n", 44));
	assert_non_null(memmem(out.data, out.len, "\"id\":\"msg_01Test\"", 17));
	buf_clear(&text);
	buf_clear(&out);
	buf_clear(&first.text);
	buf_clear(&second.text);
}

static void
test_line_ends(void **state)
{
	struct bench *t = *state;
	struct client c;
	struct canon_annotation *n = canon_annotation_new(t->a);

	n->from = DIALECT_MESSAGES;
	n->raw = span_of("{\r\n\"cited_text\":\n\"a\\nb\"}");
	client_open(&c, t);
	say_begin(&c);
	say_open(&c, PART_TEXT, NULL, NULL);
	say_delta(&c, "x");
	buf_reset(&c.out);
	say(&c, (struct canon_event){.type = EVENT_CITE, .annotation = n});
	assert_said(
	    &c, E("content_block_delta", ",\"index\":0,\"delta\":{\"type\":\"citations_delta\","
					 "\"citation\":{  \"cited_text\": \"a\\nb\"}}"));
	buf_clear(&c.out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fixture),
	    cmocka_unit_test(test_starts),
	    cmocka_unit_test(test_proof),
	    cmocka_unit_test(test_failures),
	    cmocka_unit_test(test_many_blocks),
	    cmocka_unit_test(test_chunks),
	    cmocka_unit_test(test_grammar),
	    cmocka_unit_test(test_start),
	    cmocka_unit_test(test_reasoning),
	    cmocka_unit_test(test_ends),
	    cmocka_unit_test(test_back),
	    cmocka_unit_test(test_line_ends),
	};

	return cmocka_run_group_tests(tests, bench_open, bench_close);
}
