/* What the tests of the Responses dialect share: an arena, JSON by value, streams as lists of
 * events. */
#ifndef OMNIROUTE_T_UNIT_PROTO_RESPONSES_H
#define OMNIROUTE_T_UNIT_PROTO_RESPONSES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/dialect.h"
#include "proto/profile.h"
#include "proto/scan.h"
#include "shared/err.h"

#define CEILING (256u << 20)
#define EVENTS_MAX 4096u

static const struct dialect *const d = &dialect_responses;

struct bench {
	struct arena *a, *scratch;
	struct profile profile;
	struct encode_ctx ctx;
	struct canon_error err;
	struct buf out;
	/* of the last stream */
	struct json const *events[EVENTS_MAX];
	unsigned count;
	/* canonical events, one letter each */
	char log[EVENTS_MAX + 1];
	unsigned logged;
	struct buf text, args, thought;
	enum canon_finish_reason finish;
	enum canon_error_class failed;
	char code[64];
};

static int
bench_open(void **state)
{
	struct bench *t = calloc(1, sizeof *t);

	assert_non_null(t);
	assert_non_null(t->a = arena_new(CEILING));
	assert_non_null(t->scratch = arena_new(CEILING));
	profile_init(&t->profile, DIALECT_RESPONSES);
	t->ctx = (struct encode_ctx){
	    .arena = t->a, .model = span_of("m"), .now_s = 1700000000, .profile = &t->profile};
	memcpy(t->ctx.seed, "0123456789abcdef", 16);
	buf_init(&t->out, CEILING);
	buf_init(&t->text, CEILING);
	buf_init(&t->args, CEILING);
	buf_init(&t->thought, CEILING);
	*state = t;
	return 0;
}

static int
bench_close(void **state)
{
	struct bench *t = *state;

	buf_clear(&t->out);
	buf_clear(&t->text);
	buf_clear(&t->args);
	buf_clear(&t->thought);
	arena_free(t->a);
	arena_free(t->scratch);
	free(t);
	return 0;
}

static inline struct span
held(const struct buf *b)
{
	return (struct span){b->data != NULL ? b->data : "", b->len};
}

static inline const struct json *
parse(struct bench *t, struct span text)
{
	const struct json *j = NULL;

	if (json_parse(t->a, text, &j) != 0)
		fail_msg("not JSON: %.*s", (int)MIN(text.n, (size_t)2000), text.p);
	return j;
}

static inline void
assert_json(struct bench *t, struct span got, const char *want)
{
	if (!json_same(parse(t, got), parse(t, span_of(want))))
		fail_msg("got  %.*s\nwant %s", (int)got.n, got.p, want);
}

static inline void
assert_span(struct span got, const char *want)
{
	if (!span_is(got, want))
		fail_msg("got  %.*s\nwant %s", (int)got.n, got.p != NULL ? got.p : "", want);
}

/* Value at a path of the last output. */
static inline struct span
at(const struct bench *t, const char *path)
{
	return scan_path(held(&t->out), path);
}

static inline struct canon_request *
ask(struct bench *t, const char *body)
{
	struct decode_request in = {.arena = t->a, .body = span_of(body)};
	struct canon_request *q = NULL;
	int r = d->decode_request(&in, &q, &t->err);

	if (r != 0)
		fail_msg("%s: %.*s", err_text(r), (int)t->err.message.n, t->err.message.p);
	t->ctx.asked = q;
	t->ctx.model = q->model;
	return q;
}

static inline void
refuse(struct bench *t, const char *body, const char *param)
{
	struct decode_request in = {.arena = t->a, .body = span_of(body)};
	struct canon_request *q = NULL;

	t->err = (struct canon_error){0};
	assert_int_equal(d->decode_request(&in, &q, &t->err), E_DENIED);
	assert_int_equal(t->err.class, ERROR_BAD_REQUEST);
	assert_true(t->err.message.n > 0);
	if (param != NULL)
		assert_span(t->err.param, param);
	assert_int_equal(d->error_status(&t->err), 400);
}

static inline void
send_on(struct bench *t, const struct canon_request *q)
{
	buf_reset(&t->out);
	assert_int_equal(d->encode_request(q, &t->ctx, &t->out), 0);
	(void)parse(t, held(&t->out));
}

/* ---- streams ---- */

struct tap {
	struct bench *t;
	void *encoder;
};

static inline int
tap_take(void *ctx, const struct canon_event *ev)
{
	static const char letters[] = "BODSACLUFXIE";
	struct tap *p = ctx;
	struct bench *t = p->t;
	static enum canon_part_kind kinds[EVENTS_MAX];

	if (t->logged < EVENTS_MAX)
		t->log[t->logged++] = letters[ev->type];
	if (ev->type == EVENT_OPEN)
		kinds[ev->part % EVENTS_MAX] = ev->meta->kind;
	if (ev->type == EVENT_DELTA) {
		enum canon_part_kind k = kinds[ev->part % EVENTS_MAX];

		buf_add(k == PART_TOOL_CALL   ? &t->args
			: k == PART_REASONING ? &t->thought
					      : &t->text,
		    ev->text.p, ev->text.n);
	}
	if (ev->type == EVENT_FINISH)
		t->finish = ev->finish->reason;
	if (ev->type == EVENT_FAIL) {
		t->failed = ev->error->class;
		snprintf(t->code, sizeof t->code, "%.*s", (int)ev->error->code.n,
		    ev->error->code.p != NULL ? ev->error->code.p : "");
	}
	return p->encoder != NULL ? d->encode(p->encoder, ev, &t->out) : 0;
}

/* The frames of the output: `event` is the type inside, numbers rise from 0, an end ends it. */
static inline void
read_events(struct bench *t)
{
	const char *p = t->out.data, *end = t->out.data + t->out.len;

	t->count = 0;
	while (p < end) {
		const char *blank = memmem(p, (size_t)(end - p), "\n\n", 2), *data;
		const struct json *j;
		struct span type;
		int64_t n;

		assert_non_null(blank);
		if (*p == ':') {
			p = blank + 2;
			continue;
		}
		assert_memory_equal(p, "event: ", 7);
		assert_non_null(data = memmem(p, (size_t)(blank - p), "\ndata: ", 7));
		j = parse(t, (struct span){data + 7, (size_t)(blank - data) - 7});
		type = json_text(t->a, json_get(j, "type"));
		assert_true(span_same(type, (struct span){p + 7, (size_t)(data - p) - 7}));
		assert_true(json_int(json_get(j, "sequence_number"), &n));
		assert_int_equal(n, t->count);
		assert_true(t->count < EVENTS_MAX);
		t->events[t->count++] = j;
		p = blank + 2;
	}
}

/* Events as their JSON; `count` of them, or up to a NULL. Then the end of input. */
static inline void
stream(struct bench *t, const char *const *lines, unsigned count)
{
	struct tap p = {t, d->encoder_new(t->a, &t->ctx)};
	const struct canon_sink sink = {tap_take, &p};
	void *decoder = d->decoder_new(t->a, t->scratch, &t->profile);

	t->logged = 0;
	t->finish = FINISH_NONE;
	t->code[0] = '\0';
	buf_reset(&t->out);
	buf_reset(&t->text);
	buf_reset(&t->args);
	buf_reset(&t->thought);
	for (unsigned i = 0; i < count && lines[i] != NULL; i++) {
		struct frame f = {.data = span_of(lines[i])};

		assert_int_equal(d->decode(decoder, &f, &sink), 0);
		arena_reset(t->scratch);
	}
	assert_int_equal(d->decode_end(decoder, &sink), 0);
	t->log[t->logged] = '\0';
	d->encoder_free(p.encoder);
	read_events(t);
}

static inline bool
event_is(const struct bench *t, unsigned i, const char *type)
{
	return i < t->count && json_equals(json_get(t->events[i], "type"), type);
}

/* The types without "response.", each followed by a space. */
static inline void
assert_types(struct bench *t, const char *want)
{
	struct buf b = BUF_INIT(CEILING);

	for (unsigned i = 0; i < t->count; i++) {
		struct span s = json_text(t->a, json_get(t->events[i], "type"));

		if (s.n > 9 && memcmp(s.p, "response.", 9) == 0)
			s = (struct span){s.p + 9, s.n - 9};
		buf_add(&b, s.p, s.n);
		buf_str(&b, " ");
	}
	assert_string_equal(buf_cstr(&b), want);
	buf_clear(&b);
}

/* What every stream has to keep: items one behind the other with one id each, the final output made
 * of the done events. */
static inline void
assert_grammar(struct bench *t)
{
	const struct json *done[EVENTS_MAX], *output;
	unsigned dones = 0;
	struct span open = {NULL, 0};

	assert_true(t->count >= 3);
	assert_true(event_is(t, 0, "response.created"));
	assert_true(event_is(t, 1, "response.in_progress"));
	for (unsigned i = 2; i < t->count; i++) {
		const struct json *e = t->events[i], *item = json_get(e, "item");
		struct span id = json_text(t->a, json_get(e, "item_id"));
		int64_t index;

		if (json_get(e, "output_index") != NULL) {
			assert_true(json_int(json_get(e, "output_index"), &index));
			assert_int_equal(index, dones);
		}
		if (event_is(t, i, "response.output_item.added")) {
			assert_null(open.p);
			open = json_text(t->a, json_get(item, "id"));
		}
		if (id.p != NULL)
			assert_true(span_same(id, open));
		if (event_is(t, i, "response.output_item.done")) {
			assert_true(span_same(json_text(t->a, json_get(item, "id")), open));
			open.p = NULL;
			done[dones++] = item;
		}
	}
	output = json_get(json_get(t->events[t->count - 1], "response"), "output");
	assert_int_equal(output->count, dones);
	for (unsigned i = 0; i < dones; i++)
		assert_true(json_same(json_at(output, i), done[i]));
}

#endif
