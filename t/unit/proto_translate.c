/*
 * Exchanges between dialects, from our own fixtures in t/data/translate: <dialect>.request,
 * .stream, .whole, and what the client is sent for them: <upstream>-<client>.out.
 * OMNIROUTE_GOLDEN=write writes the last ones anew.
 */
#include "t/unit/proto_events.h"

#include "proto/translate.h"

#define DATA "t/data/translate/"

struct exchange {
	struct arena *arena;
	struct translate *t;
	struct buf out;
	struct canon_error err;
	struct profile profile;
};

static const char *const short_names[DIALECTS] = {[DIALECT_CHAT] = "chat",
    [DIALECT_RESPONSES] = "responses",
    [DIALECT_MESSAGES] = "messages",
    [DIALECT_GEMINI] = "gemini"};

static struct span
slurp(struct arena *a, const char *name)
{
	char *path = arena_printf(a, DATA "%s", name), *text;
	FILE *f = fopen(path, "rb");
	size_t n;

	if (f == NULL)
		return (struct span){NULL, 0};
	text = arena_alloc(a, 1 << 20);
	n = fread(text, 1, 1 << 20, f);
	fclose(f);
	return (struct span){text, n};
}

static void
exchange_open(
    struct exchange *x, enum dialect_id client, enum dialect_id upstream, const char *request)
{
	struct translate_setup setup = {.client = client,
	    .now_s = 1700000000,
	    .seed = "0123456789abcde",
	    .max_event = 1 << 20,
	    .max_response = 1 << 22};
	struct decode_request q = {0};
	struct buf body = BUF_INIT(1 << 20);

	*x = (struct exchange){.arena = arena_new(256 << 20), .out = BUF_INIT(1 << 22)};
	setup.arena = q.arena = x->arena;
	q.body = request != NULL
		     ? span_of(request)
		     : slurp(x->arena, arena_printf(x->arena, "%s.request", short_names[client]));
	if (client == DIALECT_GEMINI) {
		q.model = span_of("any");
		q.stream = true;
	}
	x->t = translate_new(&setup);
	assert_non_null(x->t);
	assert_int_equal(translate_request(x->t, &q, &x->err), 0);
	profile_init(&x->profile, upstream);
	assert_int_equal(translate_target(x->t, &x->profile, span_of("model-x"), &x->err), 0);
	assert_int_equal(translate_body(x->t, &body), 0);
	assert_true(body.len > 0);
	buf_clear(&body);
}

static void
exchange_close(struct exchange *x)
{
	translate_free(x->t);
	buf_clear(&x->out);
	arena_free(x->arena);
}

static void
feed(struct exchange *x, struct span answer, size_t piece)
{
	for (size_t at = 0; at < answer.n;) {
		size_t n = piece == 0 ? answer.n : MIN(piece, answer.n - at);

		assert_int_equal(translate_take(x->t, answer.p + at, n, &x->out), 0);
		at += n;
	}
}

static void
stream(struct exchange *x, struct span answer, int framing, size_t piece)
{
	buf_reset(&x->out);
	assert_int_equal(translate_open(x->t, framing), 0);
	feed(x, answer, piece);
	assert_int_equal(translate_end(x->t, &x->out), 0);
}

static bool
has(const struct exchange *x, const char *text)
{
	return x->out.len > 0 && memmem(x->out.data, x->out.len, text, strlen(text)) != NULL;
}

static void
compare(struct exchange *x, const char *name)
{
	const char *mode = getenv("OMNIROUTE_GOLDEN");
	struct span want;

	if (mode != NULL && strcmp(mode, "write") == 0) {
		FILE *f = fopen(arena_printf(x->arena, DATA "%s", name), "wb");
		assert_non_null(f);
		fwrite(x->out.data, 1, x->out.len, f);
		fclose(f);
	}
	want = slurp(x->arena, name);
	assert_non_null(want.p);
	assert_string_equal(buf_cstr(&x->out), arena_strndup(x->arena, want.p, want.n));
}

/* ---- what clients see of our fixtures ---- */

static const enum dialect_id fours[] = {
    DIALECT_CHAT, DIALECT_RESPONSES, DIALECT_MESSAGES, DIALECT_GEMINI};

static void
each_client_of_each_stream(void **state)
{
	static const enum dialect_id upstreams[] = {DIALECT_CHAT, DIALECT_MESSAGES, DIALECT_GEMINI};
	static const size_t pieces[] = {0, 1, 7};

	(void)state;
	for (size_t u = 0; u < NELEM(upstreams); u++)
		for (size_t c = 0; c < NELEM(fours); c++) {
			struct exchange x;
			struct span answer;

			if (fours[c] == upstreams[u])
				continue;
			exchange_open(&x, fours[c], upstreams[u], NULL);
			answer = slurp(
			    x.arena, arena_printf(x.arena, "%s.stream", short_names[upstreams[u]]));
			for (size_t i = 0; i < NELEM(pieces); i++) {
				stream(&x, answer, FRAMING_SSE, pieces[i]);
				assert_true(translate_state(x.t)->ended);
				compare(&x, arena_printf(x.arena, "%s-%s.out",
						short_names[upstreams[u]], short_names[fours[c]]));
			}
			exchange_close(&x);
		}
}

static void
stream_for_a_whole_client(void **state)
{
	static const enum dialect_id upstreams[] = {DIALECT_CHAT, DIALECT_MESSAGES, DIALECT_GEMINI};

	(void)state;
	for (size_t u = 0; u < NELEM(upstreams); u++)
		for (size_t c = 0; c < NELEM(fours); c++) {
			struct exchange x;
			struct span answer;

			exchange_open(&x, fours[c], upstreams[u], NULL);
			answer = slurp(
			    x.arena, arena_printf(x.arena, "%s.stream", short_names[upstreams[u]]));
			assert_int_equal(
			    translate_whole(x.t, answer, FRAMING_SSE, &x.out, &x.err), 0);
			assert_true(has(&x, "Graz") && has(&x, "weather"));
			compare(&x, arena_printf(x.arena, "%s-%s.json", short_names[upstreams[u]],
					short_names[fours[c]]));
			exchange_close(&x);
		}
}

/* Cut anywhere: a failure, unless the end was proved. */
static void
truncation_is_never_a_success(void **state)
{
	static const struct {
		enum dialect_id dialect;
		const char *proof;
	} rows[] = {{DIALECT_CHAT, "\"finish_reason\": \"stop\""},
	    {DIALECT_MESSAGES, "\"stop_reason\": \"tool_use\""}, {DIALECT_GEMINI, "\"STOP\""}};

	(void)state;
	for (size_t u = 0; u < NELEM(rows); u++) {
		struct exchange x;
		struct span answer;
		size_t proved;

		exchange_open(&x,
		    rows[u].dialect == DIALECT_RESPONSES ? DIALECT_MESSAGES : DIALECT_RESPONSES,
		    rows[u].dialect, NULL);
		answer = slurp(
		    x.arena, arena_printf(x.arena, "%s.stream", short_names[rows[u].dialect]));
		proved = (size_t)((const char *)memmem(
				      answer.p, answer.n, rows[u].proof, strlen(rows[u].proof)) -
				  answer.p);
		for (size_t n = 0; n < proved; n += 1 + n % 3) {
			stream(&x, (struct span){answer.p, n}, FRAMING_SSE, 0);
			assert_false(translate_state(x.t)->ended);
			assert_true(translate_state(x.t)->failed);
			assert_false(has(&x, "response.completed"));
			assert_int_equal(translate_state(x.t)->begun, x.out.len > 0);
			assert_int_equal(has(&x, "response.failed"), x.out.len > 0);
		}
		exchange_close(&x);
	}
}

/* ---- before and behind the first word ---- */

static const char overloaded[] =
    "event: error\ndata: "
    "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";

static void
nothing_is_out_before_a_word(void **state)
{
	struct exchange x;
	struct span all;
	const char *word;

	(void)state;
	exchange_open(&x, DIALECT_RESPONSES, DIALECT_MESSAGES, NULL);
	all = slurp(x.arena, "messages.stream");
	word = memmem(all.p, all.n, "event: content_block_delta", 26);
	assert_int_equal(translate_open(x.t, FRAMING_SSE), 0);
	feed(&x, (struct span){all.p, (size_t)(word - all.p)}, 5);
	assert_int_equal(x.out.len, 0);
	assert_false(translate_state(x.t)->begun);
	assert_int_equal(translate_idle(x.t, &x.out), 0);
	assert_int_equal(x.out.len, 0);
	feed(&x, span_of(overloaded), 0);
	assert_int_equal(x.out.len, 0);
	assert_true(translate_state(x.t)->failed);
	assert_int_equal(translate_state(x.t)->error.class, ERROR_OVERLOADED);
	assert_true(span_is(translate_state(x.t)->error.message, "Overloaded"));
	assert_int_equal(translate_state(x.t)->usage.in_total, 80);
	/* the next target starts anew */
	assert_int_equal(translate_target(x.t, &x.profile, span_of("model-y"), &x.err), 0);
	stream(&x, all, FRAMING_SSE, 0);
	assert_true(translate_state(x.t)->ended);
	exchange_close(&x);
}

static void
a_failure_behind_a_word_is_told(void **state)
{
	struct exchange x;
	struct span all;
	const char *word;
	const struct canon_error late = {.class = ERROR_TIMEOUT, .message = span_of("too slow")};
	size_t n;

	(void)state;
	exchange_open(&x, DIALECT_RESPONSES, DIALECT_MESSAGES, NULL);
	all = slurp(x.arena, "messages.stream");
	word = memmem(all.p, all.n, "event: message_delta", 20);
	assert_int_equal(translate_open(x.t, FRAMING_SSE), 0);
	feed(&x, (struct span){all.p, (size_t)(word - all.p)}, 0);
	assert_true(translate_state(x.t)->begun && x.out.len > 0);
	feed(&x, span_of(overloaded), 0);
	assert_true(has(&x, "event: response.failed") && has(&x, "Overloaded"));
	n = x.out.len;
	assert_int_equal(translate_end(x.t, &x.out), 0);
	assert_int_equal(translate_fail(x.t, &late, &x.out), 0);
	assert_int_equal(x.out.len, n);
	/* the gateway's own */
	buf_reset(&x.out);
	assert_int_equal(translate_open(x.t, FRAMING_SSE), 0);
	assert_int_equal(translate_fail(x.t, &late, &x.out), 0);
	assert_int_equal(x.out.len, 0);
	assert_int_equal(translate_state(x.t)->error.class, ERROR_TIMEOUT);
	assert_int_equal(translate_open(x.t, FRAMING_SSE), 0);
	feed(&x, (struct span){all.p, (size_t)(word - all.p)}, 0);
	assert_int_equal(translate_fail(x.t, &late, &x.out), 0);
	assert_true(has(&x, "event: response.failed") && has(&x, "too slow"));
	exchange_close(&x);
}

static void
keep_alives_after_a_silence(void **state)
{
	struct exchange x;

	(void)state;
	exchange_open(&x, DIALECT_MESSAGES, DIALECT_GEMINI, NULL);
	assert_int_equal(translate_open(x.t, FRAMING_SSE), 0);
	assert_int_equal(translate_idle(x.t, &x.out), 0);
	assert_int_equal(x.out.len, 0);
	assert_int_equal(translate_begin(x.t, &x.out), 0);
	assert_true(x.out.len > 0 && translate_state(x.t)->begun);
	feed(&x, slurp(x.arena, "gemini.stream"), 0);
	assert_int_equal(translate_end(x.t, &x.out), 0);
	assert_true(has(&x, "message_stop"));
	exchange_close(&x);
}

/* ---- whole answers ---- */

static void
whole_for_a_stream_client(void **state)
{
	struct exchange x;

	(void)state;
	exchange_open(&x, DIALECT_RESPONSES, DIALECT_MESSAGES, NULL);
	stream(&x, slurp(x.arena, "messages.whole"), WHOLE, 3);
	assert_true(has(&x, "response.output_text.delta") && has(&x, "It rains.") &&
		    has(&x, "response.completed"));
	assert_int_equal(translate_state(x.t)->usage.out_total, 4);
	stream(&x,
	    span_of("{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
		    "\"Overloaded\"}}"),
	    WHOLE, 0);
	assert_int_equal(x.out.len, 0);
	assert_true(translate_state(x.t)->failed);
	stream(&x, span_of("<html>"), WHOLE, 0);
	assert_int_equal(x.out.len, 0);
	assert_true(translate_state(x.t)->failed);
	exchange_close(&x);
}

static void
bad_wholes_are_errors(void **state)
{
	static const char *const bodies[] = {"", "{", "<html>", "[]",
	    "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"x\"}}"};
	struct exchange x;

	(void)state;
	exchange_open(&x, DIALECT_RESPONSES, DIALECT_MESSAGES, NULL);
	for (size_t i = 0; i < NELEM(bodies); i++) {
		assert_int_equal(
		    translate_whole(x.t, span_of(bodies[i]), WHOLE, &x.out, &x.err), E_DENIED);
		assert_int_equal(x.err.class, ERROR_SERVER);
		assert_true(x.err.message.n > 0);
		assert_int_equal(x.out.len, 0);
		assert_true(translate_state(x.t)->failed);
	}
	exchange_close(&x);
}

/* ---- usage ---- */

static void
unknown_usage_is_estimated(void **state)
{
	static const char bare[] = "data: "
				   "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{"
				   "\"text\":\"12345678\"}]},\"finishReason\":\"STOP\"}]}\r\n\r\n";
	struct exchange x;
	const struct translate_state *st;

	(void)state;
	exchange_open(&x, DIALECT_MESSAGES, DIALECT_GEMINI, NULL);
	stream(&x, span_of(bare), FRAMING_SSE, 0);
	st = translate_state(x.t);
	assert_true(st->ended && st->usage.estimated);
	assert_int_equal(st->usage.out_total, 2);
	assert_true(st->usage.in_total > 10);
	assert_int_equal(st->text_bytes, 8);
	assert_true(has(&x, "\"output_tokens\":2"));
	assert_false(has(&x, "\"input_tokens\":0"));
	/* known: as it was said */
	stream(&x, slurp(x.arena, "gemini.stream"), FRAMING_SSE, 0);
	st = translate_state(x.t);
	assert_false(st->usage.estimated);
	assert_int_equal(st->usage.in_total, 30);
	assert_int_equal(st->usage.out_total, 16);
	exchange_close(&x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_client_of_each_stream),
	    cmocka_unit_test(stream_for_a_whole_client),
	    cmocka_unit_test(truncation_is_never_a_success),
	    cmocka_unit_test(nothing_is_out_before_a_word),
	    cmocka_unit_test(a_failure_behind_a_word_is_told),
	    cmocka_unit_test(keep_alives_after_a_silence),
	    cmocka_unit_test(whole_for_a_stream_client),
	    cmocka_unit_test(bad_wholes_are_errors),
	    cmocka_unit_test(unknown_usage_is_estimated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
