/*
 * Shaping: any request that a client's dialect can say, for any target. Byte 0: the client; byte 1:
 * the target's dialect and model; byte 2: whims of its row; the rest is the body. What can be
 * shaped can be encoded, as JSON, the same way twice, and calls have their results.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/dialect.h"
#include "proto/profile.h"
#include "proto/scan.h"
#include "proto/shape.h"
#include "shared/err.h"

#define ROOM ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
	enum dialect_id dialect;
	const char *model;
} targets[] = {
    {DIALECT_CHAT, "llama-3.3"},
    {DIALECT_CHAT, "gpt-5.2"},
    {DIALECT_RESPONSES, "gpt-5"},
    {DIALECT_MESSAGES, "claude-sonnet-4-20250514"},
    {DIALECT_MESSAGES, "claude-opus-4-8"},
    {DIALECT_GEMINI, "gemini-2.5-flash"},
    {DIALECT_GEMINI, "gemini-3-pro-preview"},
    {DIALECT_COHERE, "command-a"},
    {DIALECT_OLLAMA, "gpt-oss"},
    {DIALECT_CONVERSE, "anthropic.claude-sonnet-4-20250514-v1:0"},
};

static void
must(bool is)
{
	if (!is)
		abort();
}

static void
row(struct profile *p, uint8_t whims)
{
	if (p->dialect == DIALECT_CHAT) {
		p->openai = p->developer_role = (whims & 1) != 0;
		p->single_system = (whims & 2) != 0;
		p->alternation = (whims & 4) != 0;
		p->ids = whims & 8 ? IDS_MISTRAL : IDS_ANY;
		p->replay = whims & 16 ? REPLAY_LOOP : REPLAY_DROP;
		p->extra_pass = (whims & 32) == 0;
		p->json = whims & 64 ? JSON_OBJECT : JSON_SCHEMA;
	}
	p->image_url = (whims & 128) != 0;
}

static void
check_pairs(const struct canon_request *q)
{
	const struct canon_turn *t, *next;
	const struct canon_part *p, *r;

	TAILQ_FOREACH (t, &q->turns, link) {
		next = TAILQ_NEXT(t, link);
		r = next != NULL && next->role == ROLE_TOOL ? TAILQ_FIRST(&next->parts) : NULL;
		TAILQ_FOREACH (p, &t->parts, link) {
			if (p->kind != PART_TOOL_CALL)
				continue;
			must(r != NULL && span_same(r->id, p->id) && span_same(r->name, p->name));
			r = TAILQ_NEXT(r, link);
		}
	}
}

static void
encode(struct arena *a, const struct canon_request *q, const struct profile *p, const char *model,
    struct buf *out)
{
	struct encode_ctx ctx = {.arena = a, .model = span_of(model), .profile = p, .asked = q};
	struct shaped shaped;
	struct canon_error err = {0};
	int r = shape_request(a, q, p, span_of(model), &shaped, &err);
	size_t at;

	must(r != E_DENIED || err.message.n > 0);
	if (r != 0)
		return;
	if (q->from != p->dialect)
		check_pairs(shaped.q);
	r = dialect_get(p->dialect)->encode_request(shaped.q, &ctx, out);
	must(r == 0 || r == E_NOMEM || r == E_TOO_LONG);
	if (r == 0)
		must(scan_check(out->data, out->len, &at) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dialect_id clients[] = {
	    DIALECT_CHAT, DIALECT_RESPONSES, DIALECT_MESSAGES, DIALECT_GEMINI};
	struct buf first = BUF_INIT(ROOM), second = BUF_INIT(ROOM);
	struct canon_request *q;
	struct canon_error err = {0};
	struct profile p;
	struct arena *a;
	size_t t;

	if (size < 3 || (a = arena_new(ROOM)) == NULL)
		return 0;
	t = data[1] % NELEM(targets);
	struct decode_request in = {
	    .arena = a, .body = {(const char *)data + 3, size - 3}, .model = {"m", 1}};
	if (dialect_get(clients[data[0] % NELEM(clients)])->decode_request(&in, &q, &err) == 0) {
		profile_init(&p, targets[t].dialect);
		row(&p, data[2]);
		encode(a, q, &p, targets[t].model, &first);
		encode(a, q, &p, targets[t].model, &second);
		must(first.len == second.len &&
		     (first.len == 0 || memcmp(first.data, second.data, first.len) == 0));
	}
	buf_clear(&first);
	buf_clear(&second);
	arena_free(a);
	return 0;
}
