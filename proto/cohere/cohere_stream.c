/*
 * The stream (spec 19.1). Content and calls are numbered apart; the plan has no number. A text
 * stays open behind its end until the next thing begins, because citations may follow it.
 */
#include "proto/canon_error.h"
#include "proto/cohere/cohere.h"
#include "proto/emit.h"
#include "shared/err.h"

#define OPEN_MAX 64 /* parts open at once; the service has one or two */

enum space { SPACE_CONTENT, SPACE_CALL, SPACE_PLAN };

struct piece {
	enum space space;
	enum canon_part_kind kind;
	int64_t index;
	uint32_t part;
	bool ended; /* a text that waits for its citations */
	bool said;  /* a call: arguments have come */
};

struct decoder {
	struct arena *arena, *scratch;
	struct emit emit;
	struct piece open[OPEN_MAX];
	unsigned opens;
};

void *
cohere_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p)
{
	struct decoder *d = arena_zalloc(a, 1, sizeof *d);

	(void)p;
	if (d == NULL)
		return NULL;
	d->arena = a;
	d->scratch = scratch;
	return d;
}

/* ---- the pieces ---- */

static struct piece *
find(struct decoder *d, enum space space, int64_t index)
{
	for (unsigned i = d->opens; i-- > 0;)
		if (d->open[i].space == space && d->open[i].index == index)
			return &d->open[i];
	return NULL;
}

static int
close_piece(struct decoder *d, struct piece *p)
{
	struct piece it = *p;
	int r = 0;

	*p = d->open[--d->opens];
	if (it.space == SPACE_CALL && !it.said)
		r = emit_arguments(&d->emit, it.part, span_of("{}"));
	return r != 0 ? r : emit_close(&d->emit, it.part);
}

/* Before something new: the plan and the texts that had ended; `all`: whatever is open. */
static int
close_pieces(struct decoder *d, bool all)
{
	int r;

	for (unsigned i = 0; i < d->opens;) {
		struct piece *p = &d->open[i];
		if (!all && !p->ended && p->space != SPACE_PLAN)
			i++;
		else if ((r = close_piece(d, p)) != 0)
			return r;
	}
	return 0;
}

static int
open_piece(struct decoder *d, enum space space, int64_t index, const struct canon_part *meta,
    struct piece **out)
{
	struct piece *p;
	int r;

	if (meta == NULL)
		return E_NOMEM;
	if ((r = close_pieces(d, false)) != 0)
		return r;
	if ((p = find(d, space, index)) != NULL && (r = close_piece(d, p)) != 0)
		return r;
	if (d->opens == OPEN_MAX)
		return E_TOO_LONG;
	p = *out = &d->open[d->opens++];
	*p = (struct piece){.space = space, .kind = meta->kind, .index = index};
	return emit_open(&d->emit, meta, &p->part);
}

/* ---- events ---- */

struct event {
	const struct json *root, *delta, *message;
	int64_t index;
};

static int
take_begin(struct decoder *d, const struct event *e)
{
	return emit_begin(
	    &d->emit, json_text(d->scratch, json_get(e->root, "id")), (struct span){NULL, 0}, 0);
}

static int
take_plan(struct decoder *d, const struct event *e)
{
	struct span text = json_text(d->scratch, json_get(e->message, "tool_plan"));
	struct piece *p = find(d, SPACE_PLAN, 0);
	struct canon_part *meta;
	int r;

	if (text.n == 0)
		return 0;
	if (p != NULL)
		return emit_delta(&d->emit, p->part, text);
	if ((meta = canon_part_new(d->arena, PART_TEXT)) == NULL)
		return E_NOMEM;
	canon_source_init(&meta->src, DIALECT_COHERE);
	meta->src.hint = HINT_PLAN;
	if ((r = open_piece(d, SPACE_PLAN, 0, meta, &p)) != 0)
		return r;
	return emit_delta(&d->emit, p->part, text);
}

/* Start and delta of content have the same form; a delta without its start opens. */
static int
take_content(struct decoder *d, const struct event *e, bool start)
{
	const struct json *content = json_get(e->message, "content");
	struct span text = json_text(d->scratch, json_get(content, "text"));
	struct span thinking = json_text(d->scratch, json_get(content, "thinking"));
	bool thinks = json_equals(json_get(content, "type"), "thinking") ||
		      (text.p == NULL && thinking.p != NULL);
	struct piece *p = start ? NULL : find(d, SPACE_CONTENT, e->index);
	int r;

	if (p == NULL && !start && text.n == 0 && thinking.n == 0)
		return 0;
	if (p == NULL &&
	    (r = open_piece(d, SPACE_CONTENT, e->index,
		 canon_part_new(d->arena, thinks ? PART_REASONING : PART_TEXT), &p)) != 0)
		return r;
	return emit_delta(&d->emit, p->part, p->kind == PART_REASONING ? thinking : text);
}

static int
take_content_start(struct decoder *d, const struct event *e)
{
	return take_content(d, e, true);
}

static int
take_content_delta(struct decoder *d, const struct event *e)
{
	return take_content(d, e, false);
}

static int
take_content_end(struct decoder *d, const struct event *e)
{
	struct piece *p = find(d, SPACE_CONTENT, e->index);

	if (p == NULL)
		return 0;
	if (p->kind != PART_TEXT)
		return close_piece(d, p);
	p->ended = true;
	return 0;
}

static const struct json *
call_of(const struct event *e)
{
	const struct json *call = json_get(e->message, "tool_calls");

	return json_is(call, 'a') ? json_at(call, 0) : call;
}

static int
add_arguments(struct decoder *d, struct piece *p, const struct json *f)
{
	struct span args = json_text(d->scratch, json_get(f, "arguments"));

	p->said = p->said || args.n > 0;
	return emit_delta(&d->emit, p->part, args);
}

static int
take_call_start(struct decoder *d, const struct event *e)
{
	const struct json *call = call_of(e), *f = json_get(call, "function");
	struct canon_part *meta = canon_part_new(d->arena, PART_TOOL_CALL);
	struct piece *p;
	int r;

	if (meta != NULL) {
		meta->id = canon_copy(d->arena, json_text(d->scratch, json_get(call, "id")));
		meta->name = canon_copy(d->arena, json_text(d->scratch, json_get(f, "name")));
	}
	if ((r = open_piece(d, SPACE_CALL, e->index, meta, &p)) != 0)
		return r;
	return add_arguments(d, p, f);
}

static int
take_call_delta(struct decoder *d, const struct event *e)
{
	struct piece *p = find(d, SPACE_CALL, e->index);

	return p != NULL ? add_arguments(d, p, json_get(call_of(e), "function")) : 0;
}

static int
take_call_end(struct decoder *d, const struct event *e)
{
	struct piece *p = find(d, SPACE_CALL, e->index);

	return p != NULL ? close_piece(d, p) : 0;
}

/* What the annotation points to goes with the frame: a copy lives until the stream ends. */
static int
take_citation(struct decoder *d, const struct event *e)
{
	const struct json *j = json_get(e->message, "citations");
	struct canon_annotation *n;
	struct piece *p = NULL;
	int64_t index = -1;
	int r;

	json_int(json_get(j, "content_index"), &index);
	for (unsigned i = d->opens; i-- > 0;)
		if (d->open[i].space == SPACE_CONTENT && d->open[i].kind == PART_TEXT &&
		    (p == NULL || d->open[i].index == index))
			p = &d->open[i];
	if (p == NULL || (r = cohere_citation(d->arena, j, &n)) != 0)
		return p == NULL ? 0 : r;
	if (n == NULL)
		return 0;
	n->quoted = canon_copy(d->arena, n->quoted);
	n->file_id = canon_copy(d->arena, n->file_id);
	n->title = canon_copy(d->arena, n->title);
	n->url = canon_copy(d->arena, n->url);
	n->raw = canon_copy(d->arena, n->raw);
	return emit_cite(&d->emit, p->part, n);
}

static int
take_end(struct decoder *d, const struct event *e)
{
	struct canon_usage usage;
	struct canon_finish f = {.raw = json_text(d->scratch, json_get(e->delta, "finish_reason"))};
	struct canon_error error;
	int r;

	cohere_read_usage(json_get(e->delta, "usage"), &usage);
	if ((r = close_pieces(d, true)) != 0 || (r = emit_usage(&d->emit, &usage)) != 0)
		return r;
	if (cohere_failed(f.raw)) {
		cohere_error(d->scratch, e->delta, &error);
		return emit_fail(&d->emit, &error);
	}
	f.reason = f.raw.n > 0 ? canon_finish_of(f.raw) : FINISH_UNKNOWN;
	if ((r = emit_finish(&d->emit, &f)) != 0)
		return r;
	return emit_end(&d->emit);
}

static const struct {
	const char *type;
	int (*take)(struct decoder *d, const struct event *e);
} events[] = {
    {"content-delta", take_content_delta},
    {"tool-call-delta", take_call_delta},
    {"tool-plan-delta", take_plan},
    {"message-start", take_begin},
    {"content-start", take_content_start},
    {"content-end", take_content_end},
    {"tool-call-start", take_call_start},
    {"tool-call-end", take_call_end},
    {"citation-start", take_citation},
    {"message-end", take_end},
};

/* An error has no type, or that of the SSE event; it is told by what stands in it. */
static bool
is_error(const struct frame *f, const struct json *root, const struct json *type)
{
	if (span_is(f->type, "error") || json_want(root, "error") != NULL)
		return true;
	return type == NULL && json_is(json_get(root, "message"), 's');
}

static int
take_event(struct decoder *d, const struct frame *f, const struct json *root)
{
	const struct json *type = json_want(root, "type");
	struct span word = type != NULL ? json_text(d->scratch, type) : f->type;
	struct event e = {.root = root, .delta = json_get(root, "delta")};
	struct canon_error error;

	if (is_error(f, root, type)) {
		canon_error_decode(d->scratch, 200, f->data, (struct span){NULL, 0}, &error);
		return emit_fail(&d->emit, &error);
	}
	e.message = json_get(e.delta, "message");
	json_int(json_get(root, "index"), &e.index);
	for (size_t i = 0; i < NELEM(events); i++)
		if (span_is(word, events[i].type))
			return events[i].take(d, &e);
	return 0;
}

int
cohere_decode(void *state, const struct frame *f, const struct canon_sink *sink)
{
	struct decoder *d = state;
	const struct json *root;
	int r;

	d->emit.sink = sink;
	if (d->emit.over || (f->data.n == 6 && span_is(f->data, "[DONE]")))
		return 0;
	if ((r = emit_root(&d->emit, d->scratch, f->data, &root)) != 0 || root == NULL)
		return r;
	return take_event(d, f, root);
}

int
cohere_decode_end(void *state, const struct canon_sink *sink)
{
	struct decoder *d = state;

	d->emit.sink = sink;
	return emit_cut(&d->emit);
}
