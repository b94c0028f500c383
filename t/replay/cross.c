/*
 * A recording as a client of another dialect sees it: the recorded request in the client's dialect
 * goes through translate.h to the recorded upstream, the recorded answer comes back, and what the
 * client was sent is decoded as the client would.
 */
#include <stdio.h>
#include <string.h>

#include "proto/collect.h"
#include "proto/shape.h"
#include "shared/digest.h"
#include "shared/err.h"
#include "t/replay/replay.h"

#define LIMIT ((size_t)256 << 20)

struct crossing {
	const struct recording *r;
	enum dialect_id client;
	struct arena *arena;
	struct span request; /* in the client's dialect */
	struct span model;
	struct profile upstream;
	struct buf out;
	struct canon_error error;
	int result;
};

/* ---- the request as this client would have put it ---- */

static const char *const plain[DIALECTS] = {
    [DIALECT_CHAT] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
		     "\"stream\":$,\"reasoning_effort\":\"medium\","
		     "\"stream_options\":{\"include_usage\":true}}",
    [DIALECT_RESPONSES] = "{\"model\":\"m\",\"input\":\"hi\",\"stream\":$,\"reasoning\":{"
			  "\"effort\":\"medium\",\"summary\":\"auto\"},"
			  "\"include\":[\"reasoning.encrypted_content\"]}",
    [DIALECT_MESSAGES] = "{\"model\":\"m\",\"max_tokens\":4096,\"messages\":[{\"role\":\"user\","
			 "\"content\":\"hi\"}],\"stream\":$,"
			 "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048}}",
    [DIALECT_GEMINI] = "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}],"
		       "\"generationConfig\":{\"thinkingConfig\":"
		       "{\"includeThoughts\":true}}}",
};

static struct span
plain_request(struct crossing *x)
{
	const char *text = plain[x->client], *at = strchr(text, '$');
	char *whole;

	if (at == NULL)
		return span_of(text);
	whole = arena_printf(
	    x->arena, "%.*s%s%s", (int)(at - text), text, x->r->stream ? "true" : "false", at + 1);
	return span_of(whole);
}

/* The client wants to see all there is. */
static void
show_all(struct canon_request *q, const struct recording *r)
{
	q->stream = r->stream;
	q->stream_usage = true;
	q->n = 0;
	q->legacy_functions = false;
	if (q->reasoning.mode == THINK_UNSET && q->reasoning.effort == EFFORT_UNSET)
		q->reasoning.effort = EFFORT_MEDIUM;
	if (q->reasoning.mode == THINK_OFF)
		q->reasoning.mode = THINK_UNSET;
	if (q->reasoning.effort == EFFORT_NONE)
		q->reasoning.effort = EFFORT_MEDIUM;
	q->reasoning.show = SHOW_FULL;
	q->include = span_of("[\"reasoning.encrypted_content\"]");
}

static void
make_request(struct crossing *x)
{
	const struct dialect *from = dialect_get(x->r->dialect), *to = dialect_get(x->client);
	struct decode_request call = recording_call(x->arena, x->r);
	struct canon_request *q = NULL;
	struct canon_error err = {0};
	struct shaped shaped = {0};
	struct profile p;
	struct buf b = BUF_INIT(LIMIT);
	char *copy;

	x->model = recording_model(x->arena, x->r);
	x->request = plain_request(x);
	if (x->r->request.n == 0 || from->decode_request == NULL ||
	    from->decode_request(&call, &q, &err) != 0)
		return;
	show_all(q, x->r);
	profile_init(&p, x->client);
	struct encode_ctx ctx = {.arena = x->arena, .model = x->model, .profile = &p, .asked = q};
	if (shape_request(x->arena, q, &p, x->model, &shaped, &err) == 0 && shaped.fetch == NULL &&
	    to->encode_request(shaped.q, &ctx, &b) == 0 &&
	    (copy = arena_strndup(x->arena, b.data, b.len)) != NULL)
		x->request = (struct span){copy, b.len};
	else
		say(x->r, "request-not-for-client", "%s: %.*s", dialect_word(x->client),
		    (int)err.message.n, err.message.n ? err.message.p : "no reason");
	buf_clear(&b);
}

/* ---- there and back ---- */

static int
feed(struct translate *t, const struct recording *r, size_t piece, struct buf *out)
{
	int result = translate_open(t, r->framing);

	for (size_t at = 0; result == 0 && at < r->answer.n;) {
		size_t n = MIN(piece == 0 ? r->answer.n : piece, r->answer.n - at);
		const char *line;

		if (piece == SIZE_MAX) { /* by the line */
			line = memchr(r->answer.p + at, '\n', r->answer.n - at);
			n = line != NULL ? (size_t)(line - r->answer.p) - at + 1 : r->answer.n - at;
		}
		result = translate_take(t, r->answer.p + at, n, out);
		at += n;
	}
	return result != 0 ? result : translate_end(t, out);
}

static struct translate *
begin(struct crossing *x)
{
	struct translate_setup setup = {
	    .arena = x->arena,
	    .client = x->client,
	    .now_s = 1700000000,
	    .max_event = LIMIT,
	    .max_response = LIMIT,
	};
	struct decode_request call = {.arena = x->arena, .body = x->request};
	struct translate *t;
	struct buf body = BUF_INIT(LIMIT);

	memset(setup.seed, 7, sizeof setup.seed);
	if (x->client == DIALECT_GEMINI) {
		call.model = span_of("m");
		call.stream = x->r->stream;
	}
	if ((t = translate_new(&setup)) == NULL)
		return NULL;
	recording_profile(x->r, &x->upstream);
	if ((x->result = translate_request(t, &call, &x->error)) == 0 &&
	    (x->result = translate_target(t, &x->upstream, x->model, &x->error)) == 0)
		x->result = translate_body(t, &body);
	if (x->result != 0)
		say(x->r, "no-way-there", "%s: %s %.*s", dialect_word(x->client),
		    err_text(x->result), (int)x->error.message.n,
		    x->error.message.n ? x->error.message.p : "");
	buf_clear(&body);
	return t;
}

static void
print_result(struct crossing *x, const char *want, size_t want_n, const char *got, size_t got_n)
{
	struct buf b = BUF_INIT(4 * LIMIT);
	struct jsonw w = {.b = &b};
	struct span bytes = {x->out.data, x->out.len};
	uint8_t digest[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];

	digest_sha256(&bytes, 1, digest);
	digest_hex(digest, sizeof digest, hex);
	jsonw_open(&w, '{');
	jsonw_m_cstr(&w, "name", x->r->name);
	jsonw_m_cstr(&w, "what", "crossing");
	jsonw_m_cstr(&w, "upstream", dialect_word(x->r->dialect));
	jsonw_m_cstr(&w, "client", dialect_word(x->client));
	jsonw_m_bool(&w, "stream", x->r->stream);
	jsonw_m_cstr(&w, "result", x->result == 0 ? "ok" : err_text(x->result));
	jsonw_m_text(&w, "error", x->error.message);
	jsonw_m_cstr(&w, "digest", hex);
	jsonw_m_text(&w, "output", bytes.p != NULL ? bytes : span_of(""));
	jsonw_m_raw(&w, "want", (struct span){want, want_n});
	jsonw_m_raw(&w, "got", (struct span){got, got_n});
	jsonw_close(&w, '}');
	printf("%.*s\n", (int)b.len, b.data);
	buf_clear(&b);
}

/* What the upstream said, and what the client understood. */
static void
compare_views(struct crossing *x)
{
	const struct recording *r = x->r;
	const struct dialect *d = dialect_get(r->dialect), *c = dialect_get(x->client);
	struct recording seen = *r;
	struct canon_response one = {0}, two = {0};
	struct canon_error err = {0};
	struct collect *c1 = NULL, *c2 = NULL;
	struct buf want = BUF_INIT(LIMIT), got = BUF_INIT(LIMIT);
	struct span bytes = {x->out.data, x->out.len};
	int result;

	seen.dialect = x->client;
	seen.framing = r->stream ? (int)c->framing : WHOLE;
	result = r->framing == WHOLE ? d->decode_response(x->arena, r->answer, &one, &err)
				     : collect_stream(x->arena, r, r->answer, 0, &c1, &one, &err);
	if (result == 0)
		dump_response(&want, &one);
	result = r->stream ? collect_stream(x->arena, &seen, bytes, 0, &c2, &two, &err)
			   : c->decode_response(x->arena, bytes, &two, &err);
	if (result == 0)
		dump_response(&got, &two);
	else
		say(r, "client-cannot-read", "%s: %s %.*s", dialect_word(x->client),
		    err_text(result), (int)err.message.n, err.message.n ? err.message.p : "");
	print_result(x, want.data, want.len, got.data, got.len);
	if (c1 != NULL)
		collect_free(c1);
	if (c2 != NULL)
		collect_free(c2);
	buf_clear(&want);
	buf_clear(&got);
}

static void
cross_stream(struct crossing *x)
{
	static const size_t pieces[] = {1, SIZE_MAX};
	struct translate *t = begin(x);

	if (x->result == 0)
		x->result = feed(t, x->r, 0, &x->out);
	if (x->result == 0)
		x->error = translate_state(t)->error;
	translate_free(t);
	for (size_t i = 0; i < NELEM(pieces) && x->result == 0; i++) {
		struct buf again = BUF_INIT(LIMIT);

		t = begin(x);
		if (feed(t, x->r, pieces[i], &again) != 0 || again.len != x->out.len ||
		    (again.len > 0 && memcmp(again.data, x->out.data, again.len) != 0))
			say(x->r, "pieces", "%s: other bytes in pieces of %zd",
			    dialect_word(x->client), (ptrdiff_t)pieces[i]);
		translate_free(t);
		buf_clear(&again);
	}
}

static void
cross_whole(struct crossing *x)
{
	struct translate *t = begin(x);

	if (x->result == 0)
		x->result = translate_whole(t, x->r->answer, x->r->framing, &x->out, &x->error);
	translate_free(t);
}

void
replay_cross(const struct recording *r)
{
	static const enum dialect_id clients[] = {
	    DIALECT_CHAT, DIALECT_RESPONSES, DIALECT_MESSAGES, DIALECT_GEMINI};

	if (r->status != 200)
		return;
	for (size_t i = 0; i < NELEM(clients); i++) {
		struct crossing x = {.r = r, .client = clients[i], .out = BUF_INIT(LIMIT)};

		if (clients[i] == r->dialect)
			continue;
		x.arena = arena_new((size_t)1 << 30);
		make_request(&x);
		if (r->stream)
			cross_stream(&x);
		else
			cross_whole(&x);
		compare_views(&x);
		buf_clear(&x.out);
		arena_free(x.arena);
	}
}
