/*
 * An upstream's stream → events (spec 17.3, 17.9). On Bedrock an event comes as base64 in a frame
 * "chunk".
 *
 *   message_start ──► BEGIN         content_block_start ──► OPEN     message_delta ──► USAGE
 * (finish is remembered) …_delta ──► DELTA SIGN CITE      message_stop ──► FINISH END
 *                                   content_block_stop ──► CLOSE
 *
 * Nothing is closed in front of a FAIL: what was cut is not whole.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/messages/messages.h"
#include "proto/signature.h"
#include "shared/digest.h"
#include "shared/err.h"

#define OPEN_MAX 256 /* blocks open at the same time; Anthropic has one */

struct block {
	struct block *next;
	int64_t index;
	uint32_t part;
	enum canon_part_kind kind;
	bool said;         /* arguments or text were seen */
	bool held;         /* OPEN waits for the whole block: compaction */
	struct span input; /* arguments that stood in the start */
	struct canon_part *meta;
};

/* A text that is replaced in place; its memory is used again. */
struct kept {
	char *p;
	size_t cap;
};

struct decoder {
	struct arena *a, *scratch;
	bool eof_is_end, begun, ended, useful, called;
	uint32_t parts;
	unsigned opened;
	struct block *open, *unused;
	uint32_t family;
	struct canon_usage usage;
	struct kept usage_raw, stop_raw, stop_sequence, details;
	struct canon_finish finish;
};

void *
messages_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p)
{
	struct decoder *d = arena_zalloc(a, 1, sizeof *d);

	if (d == NULL)
		return NULL;
	d->a = a;
	d->scratch = scratch;
	d->eof_is_end = p != NULL && p->eof_is_end;
	return d;
}

static int
send(const struct canon_sink *sink, const struct canon_event *ev)
{
	return sink->take(sink->ctx, ev);
}

/* Copies what has to outlive its frame. */
static int
keep(struct decoder *d, struct kept *k, struct span *s)
{
	if (s->p == NULL)
		return 0;
	if (k->p == NULL || s->n > k->cap) {
		size_t cap = MAX(s->n, 64) * 2;
		if ((k->p = arena_alloc(d->a, cap)) == NULL)
			return E_NOMEM;
		k->cap = cap;
	}
	memcpy(k->p, s->p, s->n);
	s->p = k->p;
	return 0;
}

static int
fail(struct decoder *d, const struct canon_error *e, const struct canon_sink *sink)
{
	d->ended = true;
	return send(sink, &(struct canon_event){.type = EVENT_FAIL, .error = e});
}

static int
fail_server(struct decoder *d, const char *code, const char *message, const struct canon_sink *sink)
{
	struct canon_error e = {
	    .class = ERROR_SERVER, .message = span_of(message), .code = span_of(code)};

	return fail(d, &e, sink);
}

/* ---- begin, usage ---- */

static int
take_usage(struct decoder *d, const struct json *u)
{
	struct canon_usage news;
	int r;

	messages_read_usage(u, &news);
	if ((r = keep(d, &d->usage_raw, &news.raw)) != 0)
		return r;
	canon_usage_merge(&d->usage, &news);
	return 0;
}

/* The first event, also when the upstream has forgotten its own. */
static int
begin(struct decoder *d, const struct json *message, const struct canon_sink *sink)
{
	struct canon_event ev = {.type = EVENT_BEGIN, .usage = &d->usage};
	int r;

	if (d->begun)
		return 0;
	d->begun = true;
	if ((r = messages_get_text(d->scratch, message, "id", &ev.id)) != 0 ||
	    (r = messages_get_text(d->scratch, message, "model", &ev.model)) != 0)
		return r;
	if (ev.model.n > 0)
		d->family = signature_family(ev.model);
	return send(sink, &ev);
}

/* ---- blocks ---- */

static struct block *
find_block(struct decoder *d, int64_t index)
{
	for (struct block *b = d->open; b != NULL; b = b->next)
		if (b->index == index)
			return b;
	return NULL;
}

static void
forget_block(struct decoder *d, struct block *b)
{
	struct block **at = &d->open;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	b->next = d->unused;
	d->unused = b;
	d->opened--;
}

static int
send_open(struct decoder *d, struct block *b, const struct canon_sink *sink)
{
	b->part = d->parts++;
	d->useful = true;
	d->called = d->called || b->kind == PART_TOOL_CALL;
	return send(
	    sink, &(struct canon_event){.type = EVENT_OPEN, .part = b->part, .meta = b->meta});
}

static int
send_delta(struct block *b, struct span text, bool whole, const struct canon_sink *sink)
{
	struct canon_event ev = {
	    .type = EVENT_DELTA, .part = b->part, .text = text, .whole = whole};

	if (text.n == 0)
		return 0;
	b->said = true;
	return send(sink, &ev);
}

static int
send_signature(struct decoder *d, struct block *b, struct span text, bool encrypted,
    const struct canon_sink *sink)
{
	struct messages_reader r = {.a = d->scratch};
	struct canon_signature s = {.encrypted = encrypted};

	if (text.n == 0 || b->kind != PART_REASONING)
		return 0;
	if (!messages_read_signature(&r, text, &s))
		s.family = d->family;
	return send(sink, &(struct canon_event){.type = EVENT_SIGN, .part = b->part, .sign = &s});
}

static int
send_citation(
    struct decoder *d, struct block *b, const struct json *c, const struct canon_sink *sink)
{
	struct canon_annotation *n;

	if (b->kind != PART_TEXT || !json_is(c, 'o'))
		return 0;
	if ((n = messages_read_citation(d->a, c, true)) == NULL)
		return E_NOMEM;
	return send(
	    sink, &(struct canon_event){.type = EVENT_CITE, .part = b->part, .annotation = n});
}

/* What the block says at its start goes out as deltas do. */
static int
send_start(struct decoder *d, struct block *b, const struct json *j, const struct canon_sink *sink)
{
	struct span text, signature;
	int r;

	if (b->kind == PART_REASONING) {
		const char *name = json_get(j, "data") != NULL ? "data" : "signature";
		if ((r = messages_get_text(d->scratch, j, "thinking", &text)) != 0 ||
		    (r = messages_get_text(d->scratch, j, name, &signature)) != 0 ||
		    (r = send_delta(b, text, false, sink)) != 0)
			return r;
		return send_signature(d, b, signature, *name == 'd', sink);
	}
	if (b->kind != PART_TEXT || b->meta->raw.p != NULL)
		return 0;
	if ((r = messages_get_text(d->scratch, j, "text", &text)) != 0 ||
	    (r = send_delta(b, text, false, sink)) != 0)
		return r;
	json_each (c, json_want(j, "citations"))
		if ((r = send_citation(d, b, c, sink)) != 0)
			return r;
	return 0;
}

/* `meta` lives as long as the stream: it is read from a copy of the block. */
static int
make_meta(struct decoder *d, struct block *b, const struct json *j)
{
	struct messages_reader r = {.a = d->a, .answer = true};
	char *copy = arena_strndup(d->a, j->raw.p, j->raw.n);
	const struct json *input;
	int e;

	if (copy == NULL || json_parse(d->a, (struct span){copy, j->raw.n}, &j) != 0)
		return E_NOMEM;
	if ((e = messages_read_block(&r, j, &b->meta)) != 0)
		return e;
	b->kind = b->meta->kind;
	b->held = json_equals(json_get(j, "type"), "compaction");
	input = json_want(j, "input");
	if (json_is(input, 'o') && input->count > 0)
		b->input = input->raw;
	b->meta->text = b->meta->args = (struct span){NULL, 0};
	b->meta->sign = (struct canon_signature){0};
	TAILQ_INIT(&b->meta->annotations);
	return 0;
}

/* NULL: `*r` says why; 0: the stream has failed. */
static struct block *
new_block(struct decoder *d, int64_t index, const struct canon_sink *sink, int *r)
{
	struct block *b = d->unused;

	if (d->opened == OPEN_MAX) {
		*r = fail_server(d, "upstream_malformed",
		    "The upstream opened too many content blocks at the same time", sink);
		return NULL;
	}
	if (b != NULL)
		d->unused = b->next;
	else if ((b = arena_alloc(d->a, sizeof *b)) == NULL) {
		*r = E_NOMEM;
		return NULL;
	}
	*b = (struct block){.index = index, .next = d->open};
	d->open = b;
	d->opened++;
	return b;
}

static int close_block(struct decoder *d, struct block *b, const struct canon_sink *sink);

static int
start_block(struct decoder *d, const struct json *ev, const struct canon_sink *sink)
{
	const struct json *j = json_want(ev, "content_block");
	struct block *b;
	int64_t index = 0;
	int r = 0;

	if (!json_is(j, 'o'))
		return 0;
	(void)json_int(json_get(ev, "index"), &index);
	if ((b = find_block(d, index)) != NULL && (r = close_block(d, b, sink)) != 0)
		return r;
	if ((b = new_block(d, index, sink, &r)) == NULL)
		return r;
	if ((r = make_meta(d, b, j)) != 0 || b->held)
		return r;
	if ((r = send_open(d, b, sink)) != 0)
		return r;
	return send_start(d, b, j, sink);
}

/*
 * A compaction is one opaque block; its content comes in a delta of its own and replaces what stood
 * there. OPEN waits until the block is whole.
 */
static int
take_compaction(struct decoder *d, struct block *b, const struct json *delta)
{
	const struct json *old, *content = json_want(delta, "content");
	struct buf text = BUF_INIT(64u << 20);
	struct jsonw w = {.b = &text};
	char *kept;

	if (!b->held || content == NULL)
		return 0;
	if (json_parse(d->scratch, b->meta->raw, &old) != 0)
		return E_NOMEM;
	jsonw_open(&w, '{');
	json_each (m, old) {
		if (json_name_is(m, "content"))
			continue;
		jsonw_name_raw(&w, m->name);
		jsonw_raw(&w, m->raw);
	}
	jsonw_m_raw(&w, "content", content->raw);
	jsonw_close(&w, '}');
	kept = buf_ok(&text) ? arena_strndup(d->a, text.data, text.len) : NULL;
	if (kept != NULL)
		b->meta->raw = (struct span){kept, text.len};
	buf_clear(&text);
	return kept != NULL ? 0 : E_NOMEM;
}

static int
close_block(struct decoder *d, struct block *b, const struct canon_sink *sink)
{
	struct canon_event ev = {.type = EVENT_CLOSE};
	int r = 0;

	if (b->held && (r = send_open(d, b, sink)) != 0)
		return r;
	if (!b->said && b->kind == PART_TOOL_CALL)
		r = send_delta(b, b->input.n > 0 ? b->input : span_of("{}"), true, sink);
	else if (!b->said && b->kind == PART_SERVER_CALL)
		r = send_delta(b, b->input, true, sink);
	if (r != 0)
		return r;
	ev.part = b->part;
	forget_block(d, b);
	return send(sink, &ev);
}

/* ---- deltas ---- */

/* Of which kind a block is that was never started; NULL: it cannot be known. */
static const char *
implied_block(const struct json *type)
{
	if (json_equals(type, "text_delta"))
		return "{\"type\":\"text\",\"text\":\"\"}";
	if (json_equals(type, "thinking_delta") || json_equals(type, "signature_delta"))
		return "{\"type\":\"thinking\",\"thinking\":\"\"}";
	return NULL;
}

static int
imply_block(struct decoder *d, int64_t index, const struct json *type,
    const struct canon_sink *sink, struct block **out)
{
	const char *text = implied_block(type);
	const struct json *j;
	struct block *b;
	int r = 0;

	*out = NULL;
	if (text == NULL)
		return 0;
	if (json_parse(d->scratch, span_of(text), &j) != 0)
		return E_NOMEM;
	if ((b = new_block(d, index, sink, &r)) == NULL)
		return r;
	if ((r = make_meta(d, b, j)) != 0 || (r = send_open(d, b, sink)) != 0)
		return r;
	*out = b;
	return 0;
}

static const struct {
	const char *type, *member;
	enum canon_part_kind kind;
} deltas[] = {
    {"text_delta", "text", PART_TEXT},
    {"thinking_delta", "thinking", PART_REASONING},
    {"input_json_delta", "partial_json", PART_TOOL_CALL},
    {"input_json_delta", "partial_json", PART_SERVER_CALL},
};

static int
take_delta(struct decoder *d, const struct json *ev, const struct canon_sink *sink)
{
	const struct json *delta = json_want(ev, "delta"), *type = json_get(delta, "type");
	struct block *b;
	struct span text;
	int64_t index = 0;
	int r;

	(void)json_int(json_get(ev, "index"), &index);
	if ((b = find_block(d, index)) == NULL &&
	    ((r = imply_block(d, index, type, sink, &b)) != 0 || b == NULL))
		return r;
	for (size_t i = 0; i < NELEM(deltas); i++) {
		if (b->kind != deltas[i].kind || !json_equals(type, deltas[i].type))
			continue;
		if ((r = messages_get_text(d->scratch, delta, deltas[i].member, &text)) != 0)
			return r;
		return send_delta(b, text, false, sink);
	}
	if (json_equals(type, "signature_delta")) {
		if ((r = messages_get_text(d->scratch, delta, "signature", &text)) != 0)
			return r;
		return send_signature(d, b, text, false, sink);
	}
	if (json_equals(type, "citations_delta"))
		return send_citation(d, b, json_want(delta, "citation"), sink);
	return json_equals(type, "compaction_delta") ? take_compaction(d, b, delta) : 0;
}

/* ---- the end ---- */

static int
take_message_delta(struct decoder *d, const struct json *ev, const struct canon_sink *sink)
{
	const struct json *delta = json_want(ev, "delta"), *usage = json_want(ev, "usage");
	struct span raw, sequence, details;
	int r;

	if ((r = messages_get_text(d->scratch, delta, "stop_reason", &raw)) != 0 ||
	    (r = messages_get_text(d->scratch, delta, "stop_sequence", &sequence)) != 0 ||
	    (r = messages_read_details(d->scratch, delta, ev, &details)) != 0)
		return r;
	if ((r = keep(d, &d->stop_sequence, &sequence)) != 0 ||
	    (r = keep(d, &d->details, &details)) != 0)
		return r;
	if (details.p != NULL)
		d->finish.details = details;
	if (raw.n > 0) {
		if ((r = keep(d, &d->stop_raw, &raw)) != 0)
			return r;
		d->finish.raw = raw;
		d->finish.reason = canon_finish_of(raw);
		d->finish.stop_sequence = sequence;
	}
	if (usage == NULL)
		return 0;
	if ((r = take_usage(d, usage)) != 0)
		return r;
	return send(sink, &(struct canon_event){.type = EVENT_USAGE, .usage = &d->usage});
}

/* Everything that is open is closed, in the order in which it was opened. */
static int
close_all(struct decoder *d, const struct canon_sink *sink)
{
	struct block *b, *first;
	int r;

	while ((first = d->open) != NULL) {
		for (b = first; b != NULL; b = b->next)
			if (first->held || (!b->held && b->part < first->part))
				first = b;
		if ((r = close_block(d, first, sink)) != 0)
			return r;
	}
	return 0;
}

static int
finish(struct decoder *d, const struct canon_sink *sink)
{
	int r;

	if ((r = begin(d, NULL, sink)) != 0 || (r = close_all(d, sink)) != 0)
		return r;
	d->ended = true;
	if (d->finish.reason == FINISH_NONE)
		d->finish.reason = d->called ? FINISH_TOOL_CALLS : FINISH_STOP;
	if ((r = send(sink, &(struct canon_event){.type = EVENT_FINISH, .finish = &d->finish})) !=
	    0)
		return r;
	return send(sink, &(struct canon_event){.type = EVENT_END});
}

/* What Bedrock has counted: only where the events themselves said nothing. */
static int
take_metrics(struct decoder *d, const struct json *m, const struct canon_sink *sink)
{
	struct canon_usage news = {0};
	int64_t in = 0, read = 0, write = 0, out = 0;

	if (!json_is(m, 'o') || (d->usage.has_in && d->usage.has_out))
		return 0;
	(void)json_int(json_get(m, "cacheReadInputTokenCount"), &read);
	(void)json_int(json_get(m, "cacheWriteInputTokenCount"), &write);
	if (!d->usage.has_in && json_int(json_get(m, "inputTokenCount"), &in) && in >= 0 &&
	    in < INT32_MAX && read >= 0 && read < INT32_MAX && write >= 0 && write < INT32_MAX) {
		news.has_in = true;
		news.in_cached = (uint64_t)read;
		news.in_cache_write = (uint64_t)write;
		news.in_total = (uint64_t)(in + read + write);
	}
	if (!d->usage.has_out && json_int(json_get(m, "outputTokenCount"), &out) && out >= 0) {
		news.has_out = true;
		news.out_total = (uint64_t)out;
	}
	canon_usage_merge(&d->usage, &news);
	return send(sink, &(struct canon_event){.type = EVENT_USAGE, .usage = &d->usage});
}

static int
take_stop(struct decoder *d, const struct json *ev, const struct canon_sink *sink)
{
	int r = begin(d, NULL, sink);

	if (r == 0)
		r = take_metrics(d, json_want(ev, "amazon-bedrock-invocationMetrics"), sink);
	return r != 0 ? r : finish(d, sink);
}

int
messages_decode_end(void *state, const struct canon_sink *sink)
{
	struct decoder *d = state;

	if (d->ended)
		return 0;
	if (d->finish.reason != FINISH_NONE || (d->eof_is_end && d->useful))
		return finish(d, sink);
	return fail_server(d, "upstream_stream_cut",
	    "The upstream's stream ended before the answer was complete", sink);
}

/* ---- events ---- */

static int
take_start(struct decoder *d, const struct json *ev, const struct canon_sink *sink)
{
	const struct json *message = json_want(ev, "message");
	int r = take_usage(d, json_want(message, "usage"));

	return r != 0 ? r : begin(d, message, sink);
}

static int
take_block_stop(struct decoder *d, const struct json *ev, const struct canon_sink *sink)
{
	struct block *b;
	int64_t index = 0;

	(void)json_int(json_get(ev, "index"), &index);
	b = find_block(d, index);
	return b != NULL ? close_block(d, b, sink) : 0;
}

static const struct {
	const char *type;
	int (*take)(struct decoder *d, const struct json *ev, const struct canon_sink *sink);
	bool begins; /* BEGIN must have been sent */
} events[] = {
    {"content_block_delta", take_delta, true},
    {"content_block_start", start_block, true},
    {"content_block_stop", take_block_stop, true},
    {"message_start", take_start, false},
    {"message_delta", take_message_delta, true},
    {"message_stop", take_stop, false},
};

static int
take_error(struct decoder *d, const struct frame *f, const struct canon_sink *sink)
{
	struct canon_error e;

	messages_read_error(
	    d->scratch, f->data, f->exception ? f->type : (struct span){NULL, 0}, &e);
	return fail(d, &e, sink);
}

static int
take_event(struct decoder *d, const struct frame *f, const struct canon_sink *sink)
{
	const struct json *root, *type;
	int r = json_parse(d->scratch, f->data, &root);

	if (r == E_NOMEM)
		return r;
	type = r == 0 ? json_get(root, "type") : NULL;
	if (f->exception || span_is(f->type, "error") || json_equals(type, "error") ||
	    (json_is(root, 'o') && type == NULL && json_want(root, "error") != NULL))
		return take_error(d, f, sink);
	if (r != 0)
		return fail_server(d, "upstream_malformed",
		    "The upstream sent an event that is not valid JSON", sink);
	for (size_t i = 0; i < NELEM(events); i++) {
		if (!json_equals(type, events[i].type))
			continue;
		if (events[i].begins && (r = begin(d, NULL, sink)) != 0)
			return r;
		return events[i].take(d, root, sink);
	}
	return 0;
}

/* {"bytes":"<base64 of one event>"} */
static int
take_chunk(struct decoder *d, const struct frame *f, const struct canon_sink *sink)
{
	const struct json *root;
	struct buf text = BUF_INIT(f->data.n);
	struct frame inner = {0};
	struct span bytes;
	int r = json_parse(d->scratch, f->data, &root);

	if (r == E_NOMEM)
		return r;
	if (r != 0 || (bytes = json_text(d->scratch, json_get(root, "bytes"))).p == NULL)
		return take_event(d, f, sink);
	if ((r = base64_decode(&text, bytes)) == E_SYNTAX)
		r = fail_server(d, "upstream_malformed",
		    "The upstream sent a chunk that is not valid base64", sink);
	else if (r == 0 && text.len > 0) {
		inner.data = (struct span){text.data, text.len};
		r = take_event(d, &inner, sink);
	}
	buf_clear(&text);
	return r;
}

int
messages_decode(void *state, const struct frame *f, const struct canon_sink *sink)
{
	struct decoder *d = state;

	if (d->ended || (f->data.n == 0 && !f->exception) || span_is(f->data, "[DONE]"))
		return 0;
	if (span_is(f->type, "chunk") && !f->exception)
		return take_chunk(d, f, sink);
	return take_event(d, f, sink);
}
