/*
 * Recorded exchanges, where they are at hand: what is decoded and encoded again in its own dialect
 * is what it was; a stream that is told again says the same; a stream that is cut anywhere is no
 * success.
 */
#include "t/unit/proto_responses.h"

#include <dirent.h>

#include "proto/serial.h"
#include "proto/sse.h"

#define RECORDINGS "../shared/recordings/openai-responses"

/* ---- the same, member for member ---- */

/*
 * What may be added to an answer: the SDK reads it, the server left it out. Null and absent are the
 * same. completed_at, background, service_tier …   older servers and compatibles leave them out
 *   logprobs, annotations                      of a text
 * What may change: status "complete" of a compatible is "completed".
 */
static const char *const additions[] = {"completed_at", "background", "logprobs", "annotations",
    "reasoning", "service_tier", "store", "temperature", "text", "tool_choice", "tools",
    "top_logprobs", "top_p", "truncation", "usage", "metadata", "parallel_tool_calls", NULL};

static bool
may_be_added(const struct json *m)
{
	for (const char *const *a = additions; *a != NULL; a++)
		if (json_name_is(m, *a))
			return true;
	return false;
}

static bool same(const struct json *was, const struct json *is, bool answer);

static bool
same_members(const struct json *was, const struct json *is, bool answer)
{
	json_each (m, was) {
		const struct json *found = NULL;

		json_each (o, is)
			if (span_same(m->name, o->name))
				found = o;
		if (m->type == '0' && found == NULL)
			continue;
		if (answer && json_equals(m, "complete") && json_equals(found, "completed"))
			continue;
		if (found == NULL || !same(m, found, answer)) {
			print_message("# %.*s: %.200s\n", (int)m->name.n, m->name.p, m->raw.p);
			return false;
		}
	}
	json_each (o, is) {
		const struct json *found = NULL;

		json_each (m, was)
			if (span_same(m->name, o->name))
				found = m;
		if (found == NULL && o->type != '0' && !(answer && may_be_added(o))) {
			print_message("# added %.*s\n", (int)o->name.n, o->name.p);
			return false;
		}
	}
	return true;
}

static bool
same(const struct json *was, const struct json *is, bool answer)
{
	if (was->type == '0' && answer)
		return true;
	if (was->type == 'o' && is->type == 'o')
		return same_members(was, is, answer);
	if (was->type != 'a' || is->type != 'a')
		return json_same(was, is);
	if (was->count != is->count)
		return false;
	for (const struct json *m = was->child, *o = is->child; m != NULL; m = m->next, o = o->next)
		if (!same(m, o, answer))
			return false;
	return true;
}

/* ---- what a stream says ---- */

struct said {
	struct bench *t;
	struct buf text, args, thought, names, seals, opaque;
	uint64_t in, out;
	enum canon_finish_reason finish;
	unsigned ends, fails, cites;
	enum canon_part_kind kinds[EVENTS_MAX];
	const struct canon_sink *next;
};

static int
listen(void *ctx, const struct canon_event *ev)
{
	struct said *s = ctx;
	enum canon_part_kind *k = &s->kinds[ev->part % EVENTS_MAX];

	switch (ev->type) {
	case EVENT_OPEN:
		*k = ev->meta->kind;
		if (ev->meta->kind == PART_TOOL_CALL) {
			buf_add(&s->names, ev->meta->name.p, ev->meta->name.n);
			buf_add(&s->names, ev->meta->id.p, ev->meta->id.n);
		}
		if (ev->meta->raw.n > 0)
			buf_add(&s->opaque, ev->meta->raw.p, ev->meta->raw.n);
		break;
	case EVENT_DELTA:
		buf_add(*k == PART_TOOL_CALL   ? &s->args
			: *k == PART_REASONING ? &s->thought
			: *k == PART_TEXT      ? &s->text
					       : &s->opaque,
		    ev->text.p, ev->text.n);
		break;
	case EVENT_SIGN:
		buf_add(&s->seals, ev->sign->data.p, ev->sign->data.n);
		break;
	case EVENT_CITE:
		s->cites++;
		break;
	case EVENT_USAGE:
		s->in = ev->usage->in_total;
		s->out = ev->usage->out_total;
		break;
	case EVENT_FINISH:
		s->finish = ev->finish->reason;
		break;
	case EVENT_END:
		s->ends++;
		break;
	case EVENT_FAIL:
		s->fails++;
		break;
	default:
		break;
	}
	return s->next != NULL ? s->next->take(s->next->ctx, ev) : 0;
}

static struct said *
said_new(struct bench *t)
{
	struct said *s = arena_zalloc(t->a, 1, sizeof *s);

	assert_non_null(s);
	s->t = t;
	buf_init(&s->text, CEILING);
	buf_init(&s->args, CEILING);
	buf_init(&s->thought, CEILING);
	buf_init(&s->names, CEILING);
	buf_init(&s->seals, CEILING);
	buf_init(&s->opaque, CEILING);
	return s;
}

static void
said_free(struct said *s)
{
	buf_clear(&s->text);
	buf_clear(&s->args);
	buf_clear(&s->thought);
	buf_clear(&s->names);
	buf_clear(&s->seals);
	buf_clear(&s->opaque);
}

struct writer {
	void *encoder;
	struct buf *out;
};

static int
write_out(void *ctx, const struct canon_event *ev)
{
	struct writer *w = ctx;

	return d->encode(w->encoder, ev, w->out);
}

/* The first `limit` events of it; `out`: told again. Returns how many there were. */
static unsigned
hear(struct bench *t, struct span text, unsigned limit, struct said *s, struct buf *out)
{
	struct writer w = {.out = out};
	const struct canon_sink last = {write_out, &w}, first = {listen, s};
	struct canon_sink middle = {serial_take, NULL};
	struct sse *sse = sse_new(t->a, CEILING);
	void *decoder = d->decoder_new(t->a, t->scratch, &t->profile);
	struct sse_event ev;
	unsigned n = 0;

	if (out != NULL) {
		w.encoder = d->encoder_new(t->a, &t->ctx);
		middle.ctx = serial_new(t->a, &last, CEILING);
		s->next = &middle;
	}
	assert_int_equal(sse_feed(sse, text.p, text.n), 0);
	while (n < limit && sse_next(sse, &ev) == SSE_EVENT) {
		struct frame f = {.type = ev.event, .data = ev.data};

		if (ev.data.p == NULL)
			continue;
		assert_int_equal(d->decode(decoder, &f, &first), 0);
		arena_reset(t->scratch);
		n++;
	}
	assert_int_equal(d->decode_end(decoder, &first), 0);
	sse_free(sse);
	if (out != NULL) {
		d->encoder_free(w.encoder);
		serial_free(middle.ctx);
		s->next = NULL;
	}
	return n;
}

static void
assert_same_bytes(const struct buf *x, const struct buf *y)
{
	assert_int_equal(x->len, y->len);
	if (x->len > 0)
		assert_memory_equal(x->data, y->data, x->len);
}

static bool
asks_for_seals(const struct canon_request *q)
{
	return q->store == 0 ||
	       (q->include.n > 0 &&
		   memmem(q->include.p, q->include.n, "reasoning.encrypted_content", 27) != NULL);
}

static void
check_stream(struct bench *t, struct span text)
{
	struct said *was = said_new(t), *is = said_new(t);
	unsigned n = hear(t, text, UINT32_MAX, was, &t->out);

	assert_int_equal(was->ends, 1);
	(void)hear(t, held(&t->out), UINT32_MAX, is, NULL);
	assert_same_bytes(&was->text, &is->text);
	assert_same_bytes(&was->args, &is->args);
	assert_same_bytes(&was->thought, &is->thought);
	assert_same_bytes(&was->names, &is->names);
	assert_same_bytes(&was->opaque, &is->opaque);
	if (asks_for_seals(t->ctx.asked))
		assert_same_bytes(&was->seals, &is->seals);
	assert_int_equal(was->cites, is->cites);
	assert_int_equal(was->in, is->in);
	assert_int_equal(was->out, is->out);
	assert_int_equal(was->finish, is->finish);
	read_events(t);
	assert_grammar(t);
	for (unsigned i = 0; i < n; i++) {
		struct said *cut;

		if (i > 40 && i + 10 < n)
			continue; /* in the middle of a long text */
		cut = said_new(t);
		(void)hear(t, text, i, cut, NULL);
		assert_int_equal(cut->ends, 0);
		assert_int_equal(cut->fails, 1);
		said_free(cut);
	}
	said_free(was);
	said_free(is);
}

/* ---- files ---- */

static void
check_request(struct bench *t, const struct json *body)
{
	struct canon_request *q = ask(t, arena_strndup(t->a, body->raw.p, body->raw.n));

	send_on(t, q);
	assert_true(same(body, parse(t, held(&t->out)), false));
}

static void
check_answer(struct bench *t, const struct json *body)
{
	struct canon_response r;
	int e = d->decode_response(t->a, body->raw, &r, &t->err);

	if (json_want(body, "error") != NULL) {
		assert_int_equal(e, E_DENIED);
		assert_true(t->err.message.n > 0);
		return;
	}
	if (json_get(body, "output") == NULL) {
		assert_int_equal(e, E_SYNTAX); /* a count of tokens */
		return;
	}
	assert_int_equal(e, 0);
	buf_reset(&t->out);
	assert_int_equal(d->encode_response(&r, &t->ctx, &t->out), 0);
	assert_true(same(body, parse(t, held(&t->out)), true));
}

static void
check_file(struct bench *t, const char *path)
{
	FILE *f = fopen(path, "rb");
	struct buf text = BUF_INIT(CEILING);
	const struct json *root, *request, *response;
	size_t n;
	char *p;

	assert_non_null(f);
	do {
		assert_non_null(p = buf_reserve(&text, 65536));
		text.len += n = fread(p, 1, 65536, f);
	} while (n > 0);
	fclose(f);
	root = parse(t, held(&text));
	request = json_want(json_get(root, "request"), "body");
	response = json_want(json_get(root, "response"), "body");
	if (json_is(request, 'o'))
		check_request(t, request);
	else
		(void)ask(t, "{\"model\":\"m\",\"input\":\"x\"}");
	buf_reset(&t->out);
	if (json_is(response, 'o'))
		check_answer(t, response);
	else if (json_is(response, 's'))
		check_stream(t, json_text(t->a, response));
	buf_clear(&text);
}

static void
recordings_come_back(void **state)
{
	DIR *dir = opendir(RECORDINGS);
	struct dirent *e;
	char path[512];
	unsigned files = 0;

	(void)state;
	if (dir == NULL) {
		print_message("no recordings at hand\n");
		skip();
	}
	while ((e = readdir(dir)) != NULL) {
		void *bench;

		if (strstr(e->d_name, ".json") == NULL)
			continue;
		snprintf(path, sizeof path, RECORDINGS "/%s", e->d_name);
		assert_int_equal(bench_open(&bench), 0);
		check_file(bench, path);
		bench_close(&bench);
		files++;
	}
	closedir(dir);
	assert_true(files > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(recordings_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
