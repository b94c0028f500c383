/* The blocks of an upstream's stream → parts (spec 17.3). */
#include "proto/messages/messages_stream.h"

#include <string.h>

#include "shared/err.h"

#define OPEN_MAX 256 /* blocks open at the same time; Anthropic has one */

static struct stream_block *
find_block(struct stream_decoder *d, int64_t index)
{
	for (struct stream_block *b = d->open; b != NULL; b = b->next)
		if (b->index == index)
			return b;
	return NULL;
}

static void
forget_block(struct stream_decoder *d, struct stream_block *b)
{
	struct stream_block **at = &d->open;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	b->next = d->unused;
	d->unused = b;
	d->opened--;
}

static int
send_open(struct stream_decoder *d, struct stream_block *b, const struct canon_sink *sink)
{
	b->part = d->parts++;
	d->useful = true;
	d->called = d->called || b->kind == PART_TOOL_CALL;
	return messages_stream_send(
	    sink, &(struct canon_event){.type = EVENT_OPEN, .part = b->part, .meta = b->meta});
}

static int
send_delta(struct stream_block *b, struct span text, bool whole, const struct canon_sink *sink)
{
	struct canon_event ev = {
	    .type = EVENT_DELTA, .part = b->part, .text = text, .whole = whole};

	if (text.n == 0)
		return 0;
	b->said = true;
	return messages_stream_send(sink, &ev);
}

static int
send_signature(struct stream_decoder *d, struct stream_block *b, struct span text, bool encrypted,
    const struct canon_sink *sink)
{
	struct messages_reader r = {.a = d->scratch};
	struct canon_signature s = {.encrypted = encrypted};

	if (text.n == 0 || b->kind != PART_REASONING)
		return 0;
	if (!messages_read_signature(&r, text, &s))
		s.family = d->family;
	return messages_stream_send(
	    sink, &(struct canon_event){.type = EVENT_SIGN, .part = b->part, .sign = &s});
}

static int
send_citation(struct stream_decoder *d, struct stream_block *b, const struct json *c,
    const struct canon_sink *sink)
{
	struct canon_annotation *n;

	if (b->kind != PART_TEXT || !json_is(c, 'o'))
		return 0;
	if ((n = messages_read_citation(d->a, c, true)) == NULL)
		return E_NOMEM;
	return messages_stream_send(
	    sink, &(struct canon_event){.type = EVENT_CITE, .part = b->part, .annotation = n});
}

/* What the block says at its start goes out as deltas do. */
static int
send_start(struct stream_decoder *d, struct stream_block *b, const struct json *j,
    const struct canon_sink *sink)
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
make_meta(struct stream_decoder *d, struct stream_block *b, const struct json *j)
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
static struct stream_block *
new_block(struct stream_decoder *d, int64_t index, const struct canon_sink *sink, int *r)
{
	struct stream_block *b = d->unused;

	if (d->opened == OPEN_MAX) {
		*r = messages_stream_fail(d, "upstream_malformed",
		    "The upstream opened too many content blocks at the same time", sink);
		return NULL;
	}
	if (b != NULL)
		d->unused = b->next;
	else if ((b = arena_alloc(d->a, sizeof *b)) == NULL) {
		*r = E_NOMEM;
		return NULL;
	}
	*b = (struct stream_block){.index = index, .next = d->open};
	d->open = b;
	d->opened++;
	return b;
}

static int close_block(
    struct stream_decoder *d, struct stream_block *b, const struct canon_sink *sink);

int
messages_stream_start_block(
    struct stream_decoder *d, const struct json *ev, const struct canon_sink *sink)
{
	const struct json *j = json_want(ev, "content_block");
	struct stream_block *b;
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
take_compaction(struct stream_decoder *d, struct stream_block *b, const struct json *delta)
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
close_block(struct stream_decoder *d, struct stream_block *b, const struct canon_sink *sink)
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
	return messages_stream_send(sink, &ev);
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
imply_block(struct stream_decoder *d, int64_t index, const struct json *type,
    const struct canon_sink *sink, struct stream_block **out)
{
	const char *text = implied_block(type);
	const struct json *j;
	struct stream_block *b;
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

int
messages_stream_take_delta(
    struct stream_decoder *d, const struct json *ev, const struct canon_sink *sink)
{
	const struct json *delta = json_want(ev, "delta"), *type = json_get(delta, "type");
	struct stream_block *b;
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

/* ---- closing ---- */

int
messages_stream_close_all(struct stream_decoder *d, const struct canon_sink *sink)
{
	struct stream_block *b, *first;
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

int
messages_stream_stop_block(
    struct stream_decoder *d, const struct json *ev, const struct canon_sink *sink)
{
	struct stream_block *b;
	int64_t index = 0;

	(void)json_int(json_get(ev, "index"), &index);
	b = find_block(d, index);
	return b != NULL ? close_block(d, b, sink) : 0;
}
