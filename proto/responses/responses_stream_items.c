/* Items of a stream: found, opened, completed by what their last event says, closed. */
#include <string.h>

#include "proto/responses/responses_stream.h"
#include "shared/err.h"

#define ITEMS_MAX 4096u
#define CONTENTS_MAX 4096u /* of one item */

int
stream_emit(struct responses_decoder *d, const struct canon_event *ev)
{
	return d->sink->take(d->sink->ctx, ev);
}

static int
emit_close(struct responses_decoder *d, uint32_t part)
{
	return stream_emit(d, &(struct canon_event){.type = EVENT_CLOSE, .part = part});
}

static int
emit_open(struct responses_decoder *d, const struct canon_part *meta, uint32_t *part)
{
	*part = d->parts++;
	d->said = true;
	return stream_emit(
	    d, &(struct canon_event){.type = EVENT_OPEN, .part = *part, .meta = meta});
}

static int
emit_delta(struct responses_decoder *d, uint32_t part, struct span text, bool whole)
{
	if (text.n == 0)
		return 0;
	return stream_emit(d,
	    &(struct canon_event){.type = EVENT_DELTA, .part = part, .text = text, .whole = whole});
}

/* A copy that lives as long as the stream. */
static struct span
keep_word(struct responses_decoder *d, const struct json *o, const char *name)
{
	return canon_copy(d->a, responses_word(d->scratch, o, name));
}

/* ---- finding ---- */

static struct stream_item *
by_index(const struct responses_decoder *d, int64_t index)
{
	for (size_t i = d->count; i-- > 0;)
		if (d->items[i]->index == index)
			return d->items[i];
	return NULL;
}

static struct stream_item *
by_id(const struct responses_decoder *d, struct span id)
{
	for (size_t i = d->count; i-- > 0 && id.n > 0;)
		if (span_same(d->items[i]->id, id))
			return d->items[i];
	return NULL;
}

static int
add_item(struct responses_decoder *d, int64_t index, struct span id, enum stream_kind kind,
    struct stream_item **out)
{
	struct stream_item *it;

	if (d->count == ITEMS_MAX)
		return E_TOO_LONG;
	if (d->count == d->room) {
		size_t room = d->room == 0 ? 8 : d->room * 2;
		struct stream_item **items = arena_zalloc(d->a, room, sizeof(struct stream_item *));

		if (items == NULL)
			return E_NOMEM;
		if (d->count > 0)
			memcpy(items, d->items, d->count * sizeof *items);
		d->items = items;
		d->room = room;
	}
	if ((it = arena_zalloc(d->a, 1, sizeof *it)) == NULL)
		return E_NOMEM;
	it->index = index;
	it->id = canon_copy(d->a, id);
	it->kind = kind;
	d->items[d->count++] = it;
	*out = it;
	return 0;
}

static enum stream_kind
kind_of(const struct json *item, enum stream_kind usual)
{
	const struct json *type = json_want(item, "type");

	if (type == NULL)
		return usual;
	if (json_equals(type, "message"))
		return STREAM_MESSAGE;
	if (json_equals(type, "function_call") || json_equals(type, "custom_tool_call"))
		return STREAM_CALL;
	return json_equals(type, "reasoning") ? STREAM_REASONING : STREAM_OTHER;
}

int
stream_item_of(struct responses_decoder *d, const struct json *event, enum stream_kind kind,
    bool fresh, struct stream_item **out)
{
	const struct json *item = json_want(event, "item");
	struct span id = responses_word(d->scratch, event, "item_id");
	struct stream_item *it = NULL;
	int64_t index = -1;

	if (item != NULL)
		id = responses_word(d->scratch, item, "id");
	kind = kind_of(item, kind);
	if (json_int(json_get(event, "output_index"), &index))
		it = by_index(d, index);
	else if ((it = by_id(d, id)) == NULL && id.p == NULL && d->count > 0)
		it = d->items[d->count - 1];
	/* Some number everything 0. */
	if (it != NULL && fresh &&
	    (it->done || (it->id.n > 0 && id.n > 0 && !span_same(it->id, id))))
		it = NULL;
	if (it != NULL && it->kind != kind)
		it = NULL;
	*out = it;
	return it != NULL ? 0 : add_item(d, index, id, kind, out);
}

/* ---- contents of a message ---- */

/* The first content tells what is known of its item. */
static int
describe_message(struct responses_decoder *d, const struct stream_item *it, struct canon_part *p)
{
	static const struct json no_name = {.name = {"phase", 5}};
	struct json phase = no_name;
	int r;

	p->item_id = it->id;
	p->src.hint = HINT_CONTENT;
	if (it->contents != NULL)
		return 0;
	p->src.hint |= HINT_START | HINT_TYPED;
	if (it->phase.p == NULL)
		return 0;
	phase.raw = it->phase;
	if ((r = responses_extra_mark(d->a, &p->src)) != 0)
		return r;
	return canon_extra_add(d->a, &p->src, &phase);
}

/* Most often the one that came last. */
static struct stream_content *
find_content(const struct stream_item *it, int64_t index)
{
	struct stream_content *c = it->contents;

	if (it->last != NULL && it->last->index == index)
		return it->last;
	while (c != NULL && c->index != index)
		c = c->next;
	return c;
}

int
stream_content_open(struct responses_decoder *d, struct stream_item *it, int64_t index,
    enum canon_part_kind kind, struct stream_content **out)
{
	struct stream_content *c;
	struct canon_part *meta;
	int r;

	if ((c = find_content(it, index)) != NULL) {
		*out = c;
		return 0;
	}
	if (it->count++ == CONTENTS_MAX)
		return E_TOO_LONG;
	if ((c = arena_zalloc(d->a, 1, sizeof *c)) == NULL ||
	    (meta = canon_part_new(d->a, kind)) == NULL)
		return E_NOMEM;
	canon_source_init(&meta->src, DIALECT_RESPONSES);
	if ((r = describe_message(d, it, meta)) != 0)
		return r;
	c->index = index;
	c->kind = kind;
	if (it->last != NULL)
		it->last->next = c;
	else
		it->contents = c;
	it->last = *out = c;
	return emit_open(d, meta, &c->part);
}

int
stream_content_delta(struct responses_decoder *d, struct stream_content *c, const struct json *text)
{
	struct span s;
	int r = responses_text_take(d->scratch, text, &s);

	if (r != 0 || c->closed)
		return r;
	c->sent += s.n;
	return emit_delta(d, c->part, s, false);
}

/* What stands behind the first `sent` bytes. */
static struct span
behind(struct span s, size_t sent)
{
	if (s.n <= sent || ((unsigned char)s.p[sent] & 0xc0) == 0x80)
		return (struct span){NULL, 0};
	return (struct span){s.p + sent, s.n - sent};
}

int
stream_content_rest(struct responses_decoder *d, struct stream_content *c, const struct json *text)
{
	struct span s;
	int r = responses_text_take(d->scratch, text, &s);

	if (r != 0 || c->closed)
		return r;
	s = behind(s, c->sent);
	c->sent += s.n;
	return emit_delta(d, c->part, s, false);
}

int
stream_content_cite(
    struct responses_decoder *d, struct stream_content *c, const struct json *annotation)
{
	struct canon_annotation *n;
	const struct json *kept;
	struct span raw;

	if (!json_is(annotation, 'o') || c->closed)
		return 0;
	raw = canon_copy(d->a, annotation->raw);
	if (raw.p == NULL || json_parse(d->a, raw, &kept) != 0 ||
	    (n = responses_annotation_read(d->a, kept)) == NULL)
		return E_NOMEM;
	c->cited++;
	return stream_emit(
	    d, &(struct canon_event){.type = EVENT_CITE, .part = c->part, .annotation = n});
}

int
stream_content_done(struct responses_decoder *d, struct stream_content *c, const struct json *part)
{
	const struct json *list = json_get(part, "annotations");
	uint32_t i = 0, seen = c->cited;
	int r;

	if (c->closed)
		return 0;
	r = stream_content_rest(d, c, json_get(part, c->kind == PART_REFUSAL ? "refusal" : "text"));
	if (json_is(list, 'a'))
		for (const struct json *j = list->child; j != NULL && r == 0; j = j->next)
			if (i++ >= seen)
				r = stream_content_cite(d, c, j);
	if (r != 0)
		return r;
	c->closed = true;
	return emit_close(d, c->part);
}

static int
close_contents(struct responses_decoder *d, struct stream_item *it)
{
	int r = 0;

	for (struct stream_content *c = it->contents; c != NULL && r == 0; c = c->next)
		r = stream_content_done(d, c, NULL);
	return r;
}

static int
message_done(struct responses_decoder *d, struct stream_item *it, const struct json *item)
{
	const struct json *list = json_get(item, "content");
	struct stream_content *c;
	int64_t index = 0;
	int r = 0;

	if (json_is(list, 'a'))
		for (const struct json *j = list->child; j != NULL && r == 0;
		     j = j->next, index++) {
			bool refusal = json_equals(json_get(j, "type"), "refusal");

			if (!refusal && !json_is(json_get(j, "text"), 's'))
				continue;
			r = stream_content_open(
			    d, it, index, refusal ? PART_REFUSAL : PART_TEXT, &c);
			if (r == 0)
				r = stream_content_done(d, c, j);
		}
	return r != 0 ? r : close_contents(d, it);
}

/* ---- calls ---- */

static int
open_call(struct responses_decoder *d, struct stream_item *it, const struct json *item)
{
	struct canon_part *meta;
	struct span name = keep_word(d, item, "name");

	if (it->open || name.p == NULL)
		return 0;
	if ((meta = canon_part_new(d->a, PART_TOOL_CALL)) == NULL)
		return E_NOMEM;
	canon_source_init(&meta->src, DIALECT_RESPONSES);
	it->custom = meta->custom = json_equals(json_get(item, "type"), "custom_tool_call");
	meta->name = name;
	meta->namespace = keep_word(d, item, "namespace");
	meta->item_id = it->id;
	meta->id = keep_word(d, item, "call_id");
	if (meta->id.p == NULL)
		meta->id = it->id;
	it->open = true;
	d->calls = true;
	return emit_open(d, meta, &it->part);
}

int
stream_args_delta(struct responses_decoder *d, struct stream_item *it, const struct json *text)
{
	struct span s;
	int r = responses_text_take(d->scratch, text, &s);

	if (r != 0 || !it->open || it->closed)
		return r;
	it->sent += s.n;
	return emit_delta(d, it->part, s, false);
}

int
stream_args_rest(struct responses_decoder *d, struct stream_item *it, const struct json *text)
{
	struct span s;
	bool whole = it->sent == 0;
	int r = 0;

	if (json_is(text, 'o'))
		s = text->raw;
	else
		r = responses_text_take(d->scratch, text, &s);
	if (r != 0 || !it->open || it->closed)
		return r;
	s = behind(s, it->sent);
	it->sent += s.n;
	return emit_delta(d, it->part, s, whole);
}

static int
call_done(struct responses_decoder *d, struct stream_item *it, const struct json *item)
{
	int r = open_call(d, it, item);

	if (r == 0)
		r = stream_args_rest(d, it, json_get(item, it->custom ? "input" : "arguments"));
	return r;
}

/* ---- thoughts ---- */

static int
open_thought(struct responses_decoder *d, struct stream_item *it)
{
	struct canon_part *meta;

	if (it->open)
		return 0;
	if ((meta = canon_part_new(d->a, PART_REASONING)) == NULL)
		return E_NOMEM;
	canon_source_init(&meta->src, DIALECT_RESPONSES);
	meta->item_id = it->id;
	it->open = true;
	return emit_open(d, meta, &it->part);
}

/* Pieces are set apart by an empty line. */
int
stream_thought_piece(struct responses_decoder *d, struct stream_item *it, int64_t index)
{
	bool next = index > it->piece && it->sent > 0;

	if (index == it->piece || !it->open || it->closed)
		return 0;
	it->piece = index;
	it->piece_sent = 0;
	if (!next)
		return 0;
	it->sent += 2;
	return emit_delta(d, it->part, span_of("\n\n"), false);
}

static bool
is_other_form(struct stream_item *it, bool summary)
{
	if (!it->in_summary && !it->in_content) {
		it->in_summary = summary;
		it->in_content = !summary;
	}
	return summary ? !it->in_summary : !it->in_content;
}

static int
put_thought(struct responses_decoder *d, struct stream_item *it, int64_t index, struct span s)
{
	int r;

	if (s.n == 0)
		return 0;
	if ((r = open_thought(d, it)) != 0 || (r = stream_thought_piece(d, it, index)) != 0)
		return r;
	it->sent += s.n;
	it->piece_sent += s.n;
	return emit_delta(d, it->part, s, false);
}

int
stream_thought_delta(struct responses_decoder *d, struct stream_item *it, bool summary,
    int64_t index, const struct json *text)
{
	struct span s;
	int r = responses_text_take(d->scratch, text, &s);

	if (r != 0 || s.n == 0 || it->closed || is_other_form(it, summary))
		return r;
	return put_thought(d, it, index, s);
}

int
stream_thought_rest(struct responses_decoder *d, struct stream_item *it, bool summary,
    int64_t index, const struct json *text)
{
	struct span s;
	int r = responses_text_take(d->scratch, text, &s);

	if (r != 0 || s.n == 0 || it->closed || is_other_form(it, summary))
		return r;
	if (index == it->piece || it->sent == 0)
		s = behind(s, it->piece_sent);
	else if (index < it->piece)
		return 0;
	return put_thought(d, it, index, s);
}

static int
emit_raw(struct responses_decoder *d, const struct json *item)
{
	struct responses_reader rd = {
	    .a = d->a, .answer = true, .origin = d->origin, .family = d->family};
	struct canon_parts parts;
	const struct canon_part *p;
	struct span raw = canon_copy(d->a, item->raw);
	const struct json *kept;
	enum canon_role role;
	uint32_t part;
	int r;

	TAILQ_INIT(&parts);
	if (raw.p == NULL || json_parse(d->a, raw, &kept) != 0)
		return E_NOMEM;
	if ((r = responses_item_read(&rd, kept, &parts, &role)) != 0)
		return r;
	TAILQ_FOREACH (p, &parts, link) {
		d->calls = d->calls || p->kind == PART_TOOL_CALL;
		if ((r = emit_open(d, p, &part)) != 0 ||
		    (r = emit_delta(d, part, p->args, true)) != 0 || (r = emit_close(d, part)) != 0)
			return r;
	}
	return 0;
}

/* A thought without a word and without a seal means something to its own provider only. */
static int
thought_done(struct responses_decoder *d, struct stream_item *it, const struct json *item)
{
	struct responses_reader rd = {
	    .a = d->scratch, .answer = true, .origin = d->origin, .family = d->family};
	struct canon_parts parts;
	struct canon_part *p;
	enum canon_role role;
	int r;

	TAILQ_INIT(&parts);
	if ((r = responses_item_read(&rd, item, &parts, &role)) != 0)
		return r;
	if ((p = TAILQ_FIRST(&parts)) == NULL)
		return 0;
	if (p->kind == PART_OPAQUE && !it->open)
		return emit_raw(d, item);
	if (it->sent == 0 && (r = put_thought(d, it, 0, p->text)) != 0)
		return r;
	if (p->sign.data.p == NULL)
		return 0;
	if ((r = open_thought(d, it)) != 0)
		return r;
	return stream_emit(
	    d, &(struct canon_event){.type = EVENT_SIGN, .part = it->part, .sign = &p->sign});
}

/* ---- all ---- */

int
stream_item_added(struct responses_decoder *d, struct stream_item *it, const struct json *item)
{
	const struct json *phase = json_want(item, "phase");

	if (it->kind == STREAM_MESSAGE && phase != NULL && it->phase.p == NULL) {
		if ((it->phase = canon_copy(d->a, phase->raw)).p == NULL)
			return E_NOMEM;
	}
	return it->kind == STREAM_CALL ? open_call(d, it, item) : 0;
}

static int
close_item(struct responses_decoder *d, struct stream_item *it)
{
	if (it->kind == STREAM_MESSAGE)
		return close_contents(d, it);
	if (!it->open || it->closed)
		return 0;
	it->closed = true;
	return emit_close(d, it->part);
}

int
stream_item_done(struct responses_decoder *d, struct stream_item *it, const struct json *item)
{
	int r;

	if (it->done)
		return 0;
	if ((r = stream_item_added(d, it, item)) != 0)
		return r;
	switch (it->kind) {
	case STREAM_MESSAGE:
		r = message_done(d, it, item);
		break;
	case STREAM_CALL:
		r = call_done(d, it, item);
		break;
	case STREAM_REASONING:
		r = thought_done(d, it, item);
		break;
	case STREAM_OTHER:
		r = json_is(item, 'o') ? emit_raw(d, item) : 0;
		break;
	}
	it->done = true;
	return r != 0 ? r : close_item(d, it);
}

int
stream_item_repair(struct responses_decoder *d, const struct json *item, uint32_t index)
{
	enum stream_kind kind = kind_of(item, STREAM_MESSAGE);
	struct span id = responses_word(d->scratch, item, "id");
	struct stream_item *it = NULL;
	int r = 0;

	if (index < d->count && d->items[index]->index == index)
		it = d->items[index];
	if (it == NULL && (it = by_index(d, index)) == NULL)
		it = by_id(d, id);
	if (it != NULL && it->kind != kind)
		it = by_id(d, id);
	if (it == NULL)
		r = add_item(d, index, id, kind, &it);
	return r != 0 ? r : stream_item_done(d, it, item);
}

int
stream_close_all(struct responses_decoder *d)
{
	int r = 0;

	for (size_t i = 0; i < d->count && r == 0; i++)
		r = close_item(d, d->items[i]);
	return r;
}
