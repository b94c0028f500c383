/*
 * One exchange between any two dialects: byte 0 says which and how the answer comes, two bytes how
 * long the request is, the rest is request and answer. The answer is fed in one piece and byte by
 * byte: the client must be sent the same; a cut answer is never both ended and failed; what failed
 * before a word leaves no byte behind.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/translate.h"

#define LIMIT (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const enum dialect_id clients[] = {
    DIALECT_CHAT, DIALECT_RESPONSES, DIALECT_MESSAGES, DIALECT_GEMINI};

struct exchange {
	struct arena *arena;
	struct translate *t;
	const struct dialect *upstream;
	int framing;
	struct span answer;
	struct canon_error err;
};

static const char *const usual[DIALECTS] = {
    [DIALECT_CHAT] =
	"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stop\":\"STOP\"}",
    [DIALECT_RESPONSES] = "{\"model\":\"m\",\"input\":\"hi\"}",
    [DIALECT_MESSAGES] =
	"{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
    [DIALECT_GEMINI] = "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]}",
};

static bool
begin(struct exchange *x, enum dialect_id client, struct span request, const struct profile *p)
{
	struct translate_setup setup = {.arena = x->arena,
	    .client = client,
	    .now_s = 1700000000,
	    .max_event = LIMIT,
	    .max_response = LIMIT};
	struct decode_request q = {.arena = x->arena, .body = request, .stream = true};
	struct buf body = BUF_INIT(LIMIT);
	bool ok;

	if (client == DIALECT_GEMINI)
		q.model = span_of("m");
	if ((x->t = translate_new(&setup)) == NULL)
		return false;
	ok = translate_request(x->t, &q, &x->err) == 0 &&
	     translate_target(x->t, p, span_of("m"), &x->err) == 0 &&
	     translate_body(x->t, &body) == 0;
	buf_clear(&body);
	return ok;
}

static void
stream(struct exchange *x, size_t piece, struct buf *out)
{
	const struct translate_state *st;
	int r = translate_open(x->t, x->framing);

	for (size_t at = 0; r == 0 && at < x->answer.n; at += piece) {
		r = translate_take(x->t, x->answer.p + at, MIN(piece, x->answer.n - at), out);
		if (r == 0)
			r = translate_idle(x->t, out);
	}
	if (r == 0)
		r = translate_end(x->t, out);
	st = translate_state(x->t);
	if (r == 0 && st->ended == st->failed)
		abort();
	if (st->failed && !st->begun && out->len > 0)
		abort();
}

/* Without keep-alives, which come once for each piece. */
static void
compare(struct exchange *x)
{
	struct buf one = BUF_INIT(16 * LIMIT), two = BUF_INIT(16 * LIMIT);
	const struct translate_state *st;
	bool ended, ended_again;

	stream(x, x->answer.n + 1, &one);
	st = translate_state(x->t);
	ended = st->ended;
	if (translate_open(x->t, x->framing) != 0)
		goto out;
	for (size_t at = 0; at < x->answer.n; at++)
		if (translate_take(x->t, x->answer.p + at, 1, &two) != 0)
			goto out;
	if (translate_end(x->t, &two) != 0)
		goto out;
	ended_again = translate_state(x->t)->ended;
	if (ended != ended_again)
		abort();
	buf_reset(&one);
	if (translate_open(x->t, x->framing) != 0 ||
	    translate_take(x->t, x->answer.p, x->answer.n, &one) != 0 ||
	    translate_end(x->t, &one) != 0)
		goto out;
	if (one.len != two.len || (one.len > 0 && memcmp(one.data, two.data, one.len) != 0))
		abort();
out:
	buf_clear(&one);
	buf_clear(&two);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct exchange x = {0};
	struct buf out = BUF_INIT(16 * LIMIT);
	enum dialect_id client, upstream;
	struct span request;
	struct profile p;
	size_t n;

	if (size < 3)
		return 0;
	client = clients[data[0] & 3];
	upstream = (enum dialect_id)(1 + (data[0] >> 2 & 15) % (DIALECTS - 1));
	x.framing = data[0] >> 6 == 3 ? WHOLE : (int)dialect_get(upstream)->framing;
	n = MIN((size_t)(data[1] << 8 | data[2]), size - 3);
	request = n > 0 ? (struct span){(const char *)data + 3, n} : span_of(usual[client]);
	x.answer = (struct span){(const char *)data + 3 + n, size - 3 - n};
	x.arena = arena_new(256u << 20);
	profile_init(&p, upstream);
	if (n > 0 && (data[0] >> 6) == 1)
		p.tags = TAGS_AUTO;
	if (begin(&x, client, request, &p)) {
		compare(&x);
		if (translate_whole(x.t, x.answer, x.framing, &out, &x.err) != 0 && out.len > 0)
			out.len = 0;
	}
	translate_free(x.t);
	buf_clear(&out);
	arena_free(x.arena);
	return 0;
}
