/*
 * Recorded exchanges with Anthropic, and with Claude on Bedrock, where they are at hand: what is
 * decoded and encoded again in its own dialect is what it was.
 */
#include "t/unit/proto_messages.h"

#include <dirent.h>

#define RECORDINGS "../shared/recordings" /* or $OMNIROUTE_RECORDINGS */

struct recording {
	char path[512];
	struct buf text;
	const struct json *root;
	bool bedrock;
};

/* ---- the same, member for member ---- */

/*
 * What may differ, and why. Absent and null are the same everywhere.
 *   usage.cache_*        older servers leave them out; the SDK reads them
 *   citations []         of a block that has none
 *   caller, …            none: they come back
 */
static const struct {
	const char *name, *value;
} defaults[] = {
    {"cache_creation_input_tokens", "0"},
    {"cache_read_input_tokens", "0"},
    {"citations", "[]"},
};

static bool
may_lack(const struct json *m)
{
	if (m->type == '0')
		return true;
	for (size_t i = 0; i < NELEM(defaults); i++)
		if (json_name_is(m, defaults[i].name) && span_is(m->raw, defaults[i].value))
			return true;
	return false;
}

static bool
same(struct arena *a, const struct json *x, const struct json *y, const char *path)
{
	const struct json *other;
	char deeper[512];

	if (x->type != y->type || (x->type == 'a' && x->count != y->count)) {
		print_message("%s: %.*s, %.*s\n", path, (int)MIN(x->raw.n, 300), x->raw.p,
		    (int)MIN(y->raw.n, 300), y->raw.p);
		return false;
	}
	if (x->type == 'a') {
		other = y->child;
		json_each (m, x) {
			(void)snprintf(deeper, sizeof deeper, "%.400s[]", path);
			if (!same(a, m, other, deeper))
				return false;
			other = other->next;
		}
		return true;
	}
	if (x->type != 'o') {
		if (!json_same(x, y))
			print_message("%s: %.*s, %.*s\n", path, (int)MIN(x->raw.n, 300), x->raw.p,
			    (int)MIN(y->raw.n, 300), y->raw.p);
		return json_same(x, y);
	}
	json_each (m, x) {
		struct span name = json_name(a, m);
		(void)snprintf(
		    deeper, sizeof deeper, "%.400s.%.*s", path, (int)MIN(name.n, 60), name.p);
		other = json_want(y, arena_strndup(a, name.p, name.n));
		if (other == NULL && may_lack(m))
			continue;
		if (other == NULL) {
			print_message("%s: lost %.*s\n", deeper, (int)MIN(m->raw.n, 300), m->raw.p);
			return false;
		}
		if (!same(a, m, other, deeper))
			return false;
	}
	json_each (m, y) {
		struct span name = json_name(a, m);
		if (json_get(x, arena_strndup(a, name.p, name.n)) == NULL && !may_lack(m)) {
			print_message("%s: added %.*s: %.*s\n", path, (int)name.n, name.p,
			    (int)MIN(m->raw.n, 300), m->raw.p);
			return false;
		}
	}
	return true;
}

/* ---- all of them ---- */

static void
each_recording(struct bench *t, void (*check)(struct bench *t, const struct recording *r))
{
	static const char *const folders[] = {"anthropic-messages", "bedrock-invoke-anthropic"};
	const char *root = getenv("OMNIROUTE_RECORDINGS");
	struct bench fresh;
	unsigned seen = 0;

	for (size_t i = 0; i < NELEM(folders); i++) {
		char path[200];
		struct dirent *e;
		(void)snprintf(
		    path, sizeof path, "%.150s/%s", root != NULL ? root : RECORDINGS, folders[i]);
		DIR *dir = opendir(path);
		if (dir == NULL)
			continue;
		while ((e = readdir(dir)) != NULL) {
			struct recording r = {.text = BUF_INIT(64u << 20), .bedrock = i == 1};
			char *room;
			size_t n;
			FILE *f;
			if (e->d_name[0] == '.')
				continue;
			(void)snprintf(r.path, sizeof r.path, "%s/%s", path, e->d_name);
			if ((f = fopen(r.path, "r")) == NULL)
				continue;
			while ((room = buf_reserve(&r.text, 65536)) != NULL &&
			       (n = fread(room, 1, 65536, f)) > 0)
				r.text.len += n;
			fclose(f);
			fresh = *t;
			fresh.a = arena_new(ARENA_MAX);
			fresh.ctx.arena = fresh.a;
			fresh.ctx.profile = &fresh.profile;
			fresh.profile.invoke = r.bedrock;
			r.root = parse(&fresh, bytes_of(&r.text));
			check(&fresh, &r);
			arena_free(fresh.a);
			buf_clear(&r.text);
			seen++;
		}
		closedir(dir);
	}
	if (seen == 0)
		skip();
}

static const struct json *
at(const struct recording *r, const char *side, const char *name)
{
	return json_want(json_want(r->root, side), name);
}

static void
check_request(struct bench *t, const struct recording *r)
{
	const struct json *body = at(r, "request", "body");
	struct decode_request in = {.arena = t->a, .body = body->raw};
	struct buf out = BUF_INIT(64u << 20);
	struct canon_request *q;

	if (r->bedrock)
		in.model = span_of("claude");
	if (dialect_messages.decode_request(&in, &q, &t->err) != 0)
		fail_msg("%s: %.*s", r->path, (int)t->err.message.n, t->err.message.p);
	assert_int_equal(dialect_messages.encode_request(q, &t->ctx, &out), 0);
	if (!same(t->a, body, parse(t, bytes_of(&out)), ""))
		fail_msg("%s", r->path);
	buf_clear(&out);
}

static void
test_requests(void **state)
{
	each_recording(*state, check_request);
}

static void
check_response(struct bench *t, const struct recording *r)
{
	const struct json *body = at(r, "response", "body");
	struct buf out = BUF_INIT(64u << 20);
	struct canon_response answer;
	int e;

	if (!json_equals(json_get(r->root, "framing"), "json"))
		return;
	e = dialect_messages.decode_response(t->a, body->raw, &answer, &t->err);
	if (json_equals(json_get(body, "type"), "error")) {
		const struct json *message = json_get(json_get(body, "error"), "message");
		struct span text = json_text(t->a, message);
		assert_int_equal(e, E_DENIED);
		assert_non_null(memmem(t->err.message.p, t->err.message.n, text.p, text.n));
		return;
	}
	assert_int_equal(e, 0);
	assert_int_equal(dialect_messages.encode_response(&answer, &t->ctx, &out), 0);
	if (!same(t->a, body, parse(t, bytes_of(&out)), ""))
		fail_msg("%s", r->path);
	buf_clear(&out);
}

static void
test_responses(void **state)
{
	each_recording(*state, check_response);
}

/* ---- streams ---- */

static void
feed_recording(struct feed *f, const struct recording *r)
{
	const struct json *body = at(r, "response", "body");

	json_each (e, at(r, "response", "events")) {
		struct frame frame = {
		    .type = span_of("chunk"), .data = json_get(e, "payload")->raw};
		feed_frame(f, &frame);
	}
	if (body != NULL)
		feed_sse(f, json_text(f->t->a, body), 4096);
}

static struct record
decode_stream(struct bench *t, const struct recording *r, unsigned stop_after, unsigned *events)
{
	struct record rec = {.text = BUF_INIT(64u << 20), .part = UINT32_MAX};
	struct canon_sink sink = {record_take, &rec};
	struct feed f = {.t = t, .sink = &sink, .stop_after = stop_after};

	f.decoder = dialect_messages.decoder_new(t->a, t->scratch, &t->profile);
	feed_recording(&f, r);
	assert_int_equal(f.error, 0);
	assert_int_equal(dialect_messages.decode_end(f.decoder, &sink), 0);
	if (events != NULL)
		*events = f.events;
	return rec;
}

/* Decoded, encoded for a client, decoded again: the same content, the same end, the same numbers.
 */
static void
check_stream(struct bench *t, const struct recording *r)
{
	struct record first, second = {.text = BUF_INIT(64u << 20), .part = UINT32_MAX};
	struct buf out = BUF_INIT(64u << 20);
	struct record encoding = {.out = &out};
	struct canon_sink encode = {encode_take, &encoding}, serial, sink = {record_take, &second};
	struct feed f = {.t = t, .sink = &serial};

	if (json_yes(json_get(r->root, "stream")) == false)
		return;
	first = decode_stream(t, r, 0, NULL);
	assert_true(first.ended);
	encoding.encoder = dialect_messages.encoder_new(t->a, &t->ctx);
	encoding.serial = serial_new(t->a, &encode, 1u << 20);
	serial = (struct canon_sink){serial_take, encoding.serial};
	f.decoder = dialect_messages.decoder_new(t->a, t->scratch, &t->profile);
	feed_recording(&f, r);
	assert_int_equal(f.error, 0);
	assert_int_equal(dialect_messages.decode_end(f.decoder, &serial), 0);
	serial_free(encoding.serial);

	f = (struct feed){.t = t, .sink = &sink};
	f.decoder = dialect_messages.decoder_new(t->a, t->scratch, &t->profile);
	feed_sse(&f, bytes_of(&out), 7);
	assert_int_equal(dialect_messages.decode_end(f.decoder, &sink), 0);
	if (first.text.len != second.text.len ||
	    memcmp(first.text.data, second.text.data, first.text.len) != 0)
		fail_msg("%s\n%.*s\n----\n%.*s", r->path, (int)first.text.len, first.text.data,
		    (int)second.text.len, second.text.data);
	assert_true(first.usage.has_in && first.usage.has_out);
	assert_memory_equal(&first.usage, &second.usage, sizeof first.usage);
	buf_clear(&first.text);
	buf_clear(&second.text);
	buf_clear(&out);
}

static void
test_streams(void **state)
{
	each_recording(*state, check_stream);
}

/* Cut behind every event: a failure, or the end that was proved. */
static void
check_cuts(struct bench *t, const struct recording *r)
{
	unsigned events, proved = 0;
	struct record rec;

	if (json_yes(json_get(r->root, "stream")) == false)
		return;
	rec = decode_stream(t, r, 0, &events);
	buf_clear(&rec.text);
	for (unsigned n = 1; n < events; n++) {
		rec = decode_stream(t, r, n, NULL);
		assert_true(rec.failed != rec.ended);
		if (rec.failed) {
			assert_string_equal(rec.code, "upstream_stream_cut");
			assert_int_equal(rec.error.class, ERROR_SERVER);
			assert_int_equal(proved, 0);
		}
		proved += rec.ended;
		buf_clear(&rec.text);
	}
	assert_int_equal(proved, 1); /* between message_delta and message_stop */
}

static void
test_cuts(void **state)
{
	each_recording(*state, check_cuts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_requests),
	    cmocka_unit_test(test_responses),
	    cmocka_unit_test(test_streams),
	    cmocka_unit_test(test_cuts),
	};

	return cmocka_run_group_tests(tests, bench_open, bench_close);
}
