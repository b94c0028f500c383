/*
 * The stream (spec 19.3). Texts and thoughts have no start, they open with their first delta; what
 * a tool of the service's own did is passed over. The usage comes behind the stop.
 */
#include "proto/canon_error.h"
#include "proto/converse/converse.h"
#include "proto/emit.h"
#include "shared/err.h"

#define OPEN_MAX 64 /* blocks open at once; the service has one */

struct block {
	int64_t index;
	enum canon_part_kind kind; /* PART_SERVER_CALL: passed over */
	uint32_t part;
	bool said; /* a call: arguments have come */
};

struct decoder {
	struct arena *arena, *scratch;
	struct emit emit;
	struct block open[OPEN_MAX];
	unsigned opens;
	bool stopped;
};

void *
converse_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p)
{
	struct decoder *d = arena_zalloc(a, 1, sizeof *d);

	(void)p;
	if (d == NULL)
		return NULL;
	d->arena = a;
	d->scratch = scratch;
	return d;
}

/* ---- blocks ---- */

static struct block *
find(struct decoder *d, int64_t index)
{
	for (unsigned i = d->opens; i-- > 0;)
		if (d->open[i].index == index)
			return &d->open[i];
	return NULL;
}

static int
close_block(struct decoder *d, struct block *b)
{
	struct block it = *b;
	int r = 0;

	*b = d->open[--d->opens];
	if (it.kind == PART_SERVER_CALL)
		return 0;
	if (it.kind == PART_TOOL_CALL && !it.said)
		r = emit_arguments(&d->emit, it.part, span_of("{}"));
	return r != 0 ? r : emit_close(&d->emit, it.part);
}

static int
close_all(struct decoder *d)
{
	int r = 0;

	while (r == 0 && d->opens > 0)
		r = close_block(d, &d->open[0]);
	return r;
}

static int
open_block(struct decoder *d, int64_t index, const struct canon_part *meta, struct block **out)
{
	struct block *b = find(d, index);
	int r;

	if (meta == NULL)
		return E_NOMEM;
	if (b != NULL && (r = close_block(d, b)) != 0)
		return r;
	if (d->opens == OPEN_MAX)
		return E_TOO_LONG;
	b = *out = &d->open[d->opens++];
	*b = (struct block){.index = index, .kind = meta->kind};
	return meta->kind != PART_SERVER_CALL ? emit_open(&d->emit, meta, &b->part) : 0;
}

/* The block of a delta: opened if it is new, or of another kind. */
static int
block_for(struct decoder *d, int64_t index, enum canon_part_kind kind, struct block **out)
{
	struct block *b = *out = find(d, index);

	if (b != NULL && (b->kind == kind || b->kind == PART_SERVER_CALL))
		return 0;
	return open_block(d, index, canon_part_new(d->arena, kind), out);
}

/* ---- deltas ---- */

static int
take_text(struct decoder *d, int64_t index, enum canon_part_kind kind, struct span text)
{
	struct block *b;
	int r;

	if (text.n == 0)
		return 0;
	if ((r = block_for(d, index, kind, &b)) != 0 || b->kind == PART_SERVER_CALL)
		return r;
	return emit_delta(&d->emit, b->part, text);
}

static int
take_sign(struct decoder *d, int64_t index, const struct canon_signature *sign)
{
	struct block *b;
	int r;

	if (sign->data.n == 0)
		return 0;
	if ((r = block_for(d, index, PART_REASONING, &b)) != 0 || b->kind == PART_SERVER_CALL)
		return r;
	return emit_sign(&d->emit, b->part, sign);
}

static int
take_reasoning(struct decoder *d, int64_t index, const struct json *j)
{
	struct arena *s = d->scratch;
	struct canon_signature sign = {.origin = ORIGIN_ANTHROPIC};
	const struct json *redacted = json_get(j, "redactedContent");
	int r;

	if ((r = take_text(d, index, PART_REASONING, json_text(s, json_get(j, "text")))) != 0)
		return r;
	sign.data = json_text(s, json_get(j, "signature"));
	if ((r = take_sign(d, index, &sign)) != 0 || !json_is(redacted, 's'))
		return r;
	if ((r = converse_read_sign(s, json_text(s, redacted), &sign)) != 0)
		return r;
	return take_sign(d, index, &sign);
}

static int
take_input(struct decoder *d, int64_t index, const struct json *j)
{
	struct block *b = find(d, index);
	struct span text = json_text(d->scratch, json_get(j, "input"));

	if (b == NULL || b->kind != PART_TOOL_CALL || text.n == 0)
		return 0;
	b->said = true;
	return emit_delta(&d->emit, b->part, text);
}

/* What the annotation points to goes with the frame: a copy lives until the stream ends. */
static int
take_citation(struct decoder *d, int64_t index, const struct json *j)
{
	struct canon_annotation *n;
	struct block *b;
	int r;

	if ((r = block_for(d, index, PART_TEXT, &b)) != 0 || b->kind != PART_TEXT)
		return r;
	if ((r = converse_read_citation(d->arena, j, &n)) != 0)
		return r;
	n->title = canon_copy(d->arena, n->title);
	n->quoted = canon_copy(d->arena, n->quoted);
	n->url = canon_copy(d->arena, n->url);
	n->raw = canon_copy(d->arena, n->raw);
	return emit_cite(&d->emit, b->part, n);
}

/* ---- events ---- */

static int64_t
index_of(const struct json *root)
{
	int64_t index = 0;

	json_int(json_get(root, "contentBlockIndex"), &index);
	return index;
}

static int
take_begin(struct decoder *d, const struct json *root)
{
	(void)root;
	return emit_begin(&d->emit, (struct span){NULL, 0}, (struct span){NULL, 0}, 0);
}

static int
take_start(struct decoder *d, const struct json *root)
{
	const struct json *start = json_get(root, "start"), *call = json_get(start, "toolUse");
	bool server = json_get(start, "toolResult") != NULL ||
		      json_equals(json_get(call, "type"), "server_tool_use");
	struct canon_part *meta;
	struct block *b;

	if (call == NULL && !server)
		return 0;
	meta = canon_part_new(d->arena, server ? PART_SERVER_CALL : PART_TOOL_CALL);
	if (meta != NULL) {
		meta->id = canon_copy(d->arena, json_text(d->scratch, json_get(call, "toolUseId")));
		meta->name = canon_copy(d->arena, json_text(d->scratch, json_get(call, "name")));
	}
	return open_block(d, index_of(root), meta, &b);
}

static int
take_delta(struct decoder *d, const struct json *root)
{
	const struct json *delta = json_get(root, "delta"), *j;
	int64_t index = index_of(root);

	if ((j = json_want(delta, "text")) != NULL)
		return take_text(d, index, PART_TEXT, json_text(d->scratch, j));
	if ((j = json_want(delta, "toolUse")) != NULL)
		return take_input(d, index, j);
	if ((j = json_want(delta, "reasoningContent")) != NULL)
		return take_reasoning(d, index, j);
	if ((j = json_want(delta, "citation")) != NULL)
		return take_citation(d, index, j);
	return 0;
}

static int
take_stop(struct decoder *d, const struct json *root)
{
	struct block *b = find(d, index_of(root));

	return b != NULL ? close_block(d, b) : 0;
}

static int
take_message_stop(struct decoder *d, const struct json *root)
{
	struct canon_finish f = {.raw = json_text(d->scratch, json_get(root, "stopReason"))};
	int r;

	if (d->stopped)
		return 0;
	d->stopped = true;
	f.reason = f.raw.n > 0 ? canon_finish_of(f.raw) : FINISH_UNKNOWN;
	if ((r = close_all(d)) != 0)
		return r;
	return emit_finish(&d->emit, &f);
}

static int
take_metadata(struct decoder *d, const struct json *root)
{
	const struct json *usage = json_want(root, "usage");
	struct canon_usage u;
	int r = 0;

	if (usage != NULL) {
		converse_read_usage(usage, &u);
		r = emit_usage(&d->emit, &u);
	}
	return r == 0 && d->stopped ? emit_end(&d->emit) : r;
}

static const struct {
	const char *type;
	int (*take)(struct decoder *d, const struct json *root);
} events[] = {
    {"contentBlockDelta", take_delta},
    {"contentBlockStart", take_start},
    {"contentBlockStop", take_stop},
    {"messageStart", take_begin},
    {"messageStop", take_message_stop},
    {"metadata", take_metadata},
};

static int
fail(struct decoder *d, const struct frame *f)
{
	struct canon_error_source src = {.status = 200, .body = f->data, .type = f->type};
	struct canon_error error;

	canon_error_read(d->scratch, &src, &error);
	return emit_fail(&d->emit, &error);
}

int
converse_decode(void *state, const struct frame *f, const struct canon_sink *sink)
{
	struct decoder *d = state;
	const struct json *root;
	int r;

	d->emit.sink = sink;
	if (d->emit.over)
		return 0;
	if (f->exception)
		return fail(d, f);
	if ((r = emit_root(&d->emit, d->scratch, f->data, &root)) != 0 || root == NULL)
		return r;
	for (size_t i = 0; i < NELEM(events); i++)
		if (span_is(f->type, events[i].type))
			return events[i].take(d, root);
	return 0;
}

int
converse_decode_end(void *state, const struct canon_sink *sink)
{
	struct decoder *d = state;

	d->emit.sink = sink;
	return d->stopped && !d->emit.over ? emit_end(&d->emit) : emit_cut(&d->emit);
}
