/*
 * An upstream's stream → events (spec 17.2, 17.9).
 *
 * A chunk says neither what begins nor what ends: a part is opened by the first of its deltas; text
 * and thought are closed when something else begins, calls at the end, because their deltas may be
 * interleaved. finish_reason is only remembered: more may follow.
 */
#include <string.h>

#include "proto/chat/chat.h"
#include "shared/err.h"

#define CALLS_MAX 1024 /* in one answer */
#define CHOICES_MAX 128
#define WAITING_MAX (1u << 20) /* arguments that came before their call had a name */

enum said { SAID_TEXT, SAID_REFUSAL, SAID_REASONING, SAID_KINDS };

struct call {
	struct call *next; /* newest first */
	int64_t wire;      /* index of the upstream; -1: it gave none */
	struct span id;
	uint32_t part;
	bool open; /* OPEN was sent */
	struct canon_part *meta;
	struct buf waiting; /* arguments, until the name is known */
};

struct choice {
	struct choice *next;
	uint32_t index;
	bool open[SAID_KINDS];
	uint32_t part[SAID_KINDS];
	struct call *calls;
	unsigned ncalls;
	struct canon_finish finish;
};

struct decoder {
	struct arena *a, *scratch;
	bool eof_is_end, begun, done, ended, useful;
	uint32_t parts;
	unsigned nchoices;
	struct choice *choices;
	struct span model;
	struct canon_usage usage;
	char *usage_raw;
	size_t usage_cap;
};

void *
chat_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p)
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
begin(struct decoder *d, const struct json *root, const struct canon_sink *sink)
{
	struct chat_reader r = {.a = d->scratch};
	struct canon_event ev = {.type = EVENT_BEGIN, .usage = &d->usage};
	int64_t created;

	if (d->begun)
		return 0;
	d->begun = true;
	ev.id = chat_text(&r, root, "id");
	ev.model = d->model = chat_text(&r, root, "model");
	if (r.error != 0 || canon_keep(d->a, &d->model) != 0)
		return E_NOMEM;
	if (json_int(json_get(root, "created"), &created) && created > 0)
		ev.created = (uint64_t)created;
	return send(sink, &ev);
}

/* Cumulative, where it stands in every chunk: the last one counts. */
static int
take_usage(struct decoder *d, const struct json *root, const struct canon_sink *sink)
{
	struct canon_usage news;

	if (!chat_read_usage(root, &news))
		return 0;
	if (news.raw.n > d->usage_cap) {
		d->usage_cap = 2 * news.raw.n;
		if ((d->usage_raw = arena_alloc(d->a, d->usage_cap)) == NULL)
			return E_NOMEM;
	}
	memcpy(d->usage_raw, news.raw.p, news.raw.n);
	news.raw.p = d->usage_raw;
	canon_usage_merge(&d->usage, &news);
	return send(sink, &(struct canon_event){.type = EVENT_USAGE, .usage = &d->usage});
}

/* ---- parts ---- */

static int
open_part(struct decoder *d, const struct choice *c, const struct canon_part *meta, uint32_t *part,
    const struct canon_sink *sink)
{
	*part = d->parts++;
	d->useful = true;
	return send(sink, &(struct canon_event){
			      .type = EVENT_OPEN, .choice = c->index, .part = *part, .meta = meta});
}

static int
close_part(const struct choice *c, uint32_t part, const struct canon_sink *sink)
{
	return send(
	    sink, &(struct canon_event){.type = EVENT_CLOSE, .choice = c->index, .part = part});
}

/* Text and thought, but for `stays`. */
static int
close_said(struct choice *c, int stays, const struct canon_sink *sink)
{
	for (int i = 0; i < SAID_KINDS; i++) {
		int r;

		if (i == stays || !c->open[i])
			continue;
		c->open[i] = false;
		if ((r = close_part(c, c->part[i], sink)) != 0)
			return r;
	}
	return 0;
}

static int
open_said(struct decoder *d, struct choice *c, enum said what, const struct canon_sink *sink)
{
	static const enum canon_part_kind kinds[SAID_KINDS] = {
	    PART_TEXT, PART_REFUSAL, PART_REASONING};
	struct canon_part *meta;
	int r;

	if ((r = close_said(c, what, sink)) != 0 || c->open[what])
		return r;
	if ((meta = canon_part_new(d->a, kinds[what])) == NULL)
		return E_NOMEM;
	c->open[what] = true;
	return open_part(d, c, meta, &c->part[what], sink);
}

static int
say(struct decoder *d, struct choice *c, enum said what, struct span text,
    const struct canon_sink *sink)
{
	int r;

	if (text.n == 0)
		return 0;
	if ((r = open_said(d, c, what, sink)) != 0)
		return r;
	return send(sink,
	    &(struct canon_event){
		.type = EVENT_DELTA, .choice = c->index, .part = c->part[what], .text = text});
}

/* ---- calls ---- */

/* The newest of this index (or of all, where none was given): but an id that is known is that call,
 * and an id that is new on an index is a new call. */
static struct call *
find_call(struct choice *c, bool has_index, int64_t wire, struct span id)
{
	struct call *newest = NULL;

	for (struct call *k = c->calls; k != NULL; k = k->next) {
		if (has_index && k->wire != wire)
			continue;
		if (id.n > 0 && span_same(k->id, id))
			return k;
		if (newest == NULL)
			newest = k;
	}
	if (newest == NULL || id.n == 0)
		return newest;
	return has_index && newest->id.n == 0 ? newest : NULL;
}

static struct call *
new_call(struct decoder *d, struct choice *c, int64_t wire)
{
	struct call *k = c->ncalls < CALLS_MAX ? arena_zalloc(d->a, 1, sizeof *k) : NULL;

	if (k == NULL || (k->meta = canon_part_new(d->a, PART_TOOL_CALL)) == NULL)
		return NULL;
	buf_init(&k->waiting, WAITING_MAX);
	k->wire = wire;
	k->next = c->calls;
	c->calls = k;
	c->ncalls++;
	return k;
}

static int
send_arguments(const struct choice *c, const struct call *k, struct span text, bool whole,
    const struct canon_sink *sink)
{
	if (text.n == 0)
		return 0;
	return send(sink, &(struct canon_event){.type = EVENT_DELTA,
			      .choice = c->index,
			      .part = k->part,
			      .text = text,
			      .whole = whole});
}

static int
open_call(struct decoder *d, struct choice *c, struct call *k, const struct canon_sink *sink)
{
	int r;

	if ((r = close_said(c, -1, sink)) != 0)
		return r;
	k->open = true;
	k->meta->id = k->id;
	if ((r = open_part(d, c, k->meta, &k->part, sink)) != 0)
		return r;
	if (k->meta->sign.data.n > 0 && (r = send(sink, &(struct canon_event){.type = EVENT_SIGN,
							    .choice = c->index,
							    .part = k->part,
							    .sign = &k->meta->sign})) != 0)
		return r;
	r = send_arguments(c, k, (struct span){k->waiting.data, k->waiting.len}, false, sink);
	buf_clear(&k->waiting);
	return r;
}

/* One element of delta.tool_calls, or delta.function_call. */
struct call_delta {
	const struct json *f; /* name, arguments */
	bool has_index, custom, whole;
	int64_t wire;
	struct span id, name, arguments;
	struct canon_signature sign;
};

static int
take_call_delta(
    struct decoder *d, struct choice *c, const struct call_delta *x, const struct canon_sink *sink)
{
	struct call *k = find_call(c, x->has_index, x->wire, x->id);
	int r = 0;

	if (k == NULL && (k = new_call(d, c, x->has_index ? x->wire : -1)) == NULL)
		return c->ncalls < CALLS_MAX ? E_NOMEM : E_TOO_LONG;
	if (k->id.n == 0 && x->id.n > 0) {
		k->id = x->id;
		r = canon_keep(d->a, &k->id);
	}
	if (r == 0 && k->meta->name.n == 0 && x->name.n > 0) {
		k->meta->name = x->name;
		r = canon_keep(d->a, &k->meta->name);
	}
	if (r == 0 && x->sign.data.n > 0 && !k->open) {
		k->meta->sign = x->sign;
		r = canon_keep(d->a, &k->meta->sign.data);
	}
	k->meta->custom = k->meta->custom || x->custom;
	if (r == 0 && !k->open && k->meta->name.n > 0)
		r = open_call(d, c, k, sink);
	if (r != 0)
		return r;
	if (k->open)
		return send_arguments(c, k, x->arguments, x->whole, sink);
	return x->arguments.n > 0 ? buf_add(&k->waiting, x->arguments.p, x->arguments.n) : 0;
}

static void
read_function(struct chat_reader *r, struct call_delta *x)
{
	const struct json *arguments = json_want(x->f, x->custom ? "input" : "arguments");

	x->name = chat_text(r, x->f, "name");
	x->whole = json_is(arguments, 'o');
	x->arguments =
	    x->whole ? arguments->raw : chat_text(r, x->f, x->custom ? "input" : "arguments");
}

static int
take_calls(
    struct decoder *d, struct choice *c, const struct json *delta, const struct canon_sink *sink)
{
	const struct json *list = json_want(delta, "tool_calls"),
			  *old = json_want(delta, "function_call");
	struct chat_reader reader = {.a = d->scratch, .model = d->model};
	int r = 0;

	if (json_is(list, 'a'))
		json_each (j, list) {
			struct call_delta x = {.f = json_want(j, "function")};

			if (x.f == NULL && (x.f = json_want(j, "custom")) != NULL)
				x.custom = true;
			x.has_index = json_int(json_want(j, "index"), &x.wire);
			x.id = chat_text(&reader, j, "id");
			read_function(&reader, &x);
			chat_read_call_signature(&reader, j, &x.sign);
			if (reader.error != 0 || (r = take_call_delta(d, c, &x, sink)) != 0)
				return reader.error != 0 ? reader.error : r;
		}
	if (json_is(old, 'o')) {
		struct call_delta x = {.f = old, .has_index = true};

		read_function(&reader, &x);
		r = reader.error != 0 ? reader.error : take_call_delta(d, c, &x, sink);
	}
	return r;
}

/* ---- text, thought, media ---- */

static int
take_piece(
    struct decoder *d, struct choice *c, const struct canon_part *p, const struct canon_sink *sink)
{
	uint32_t part;
	int r;

	switch (p->kind) {
	case PART_TEXT:
		return say(d, c, SAID_TEXT, p->text, sink);
	case PART_REFUSAL:
		return say(d, c, SAID_REFUSAL, p->text, sink);
	case PART_REASONING:
		return say(d, c, SAID_REASONING, p->text, sink);
	case PART_IMAGE:
		if ((r = close_said(c, -1, sink)) != 0 ||
		    (r = open_part(d, c, p, &part, sink)) != 0)
			return r;
		return close_part(c, part, sink);
	default:
		return 0;
	}
}

static int
take_content(
    struct decoder *d, struct choice *c, const struct json *content, const struct canon_sink *sink)
{
	struct canon_parts pieces = TAILQ_HEAD_INITIALIZER(pieces);
	struct chat_reader reader = {.a = d->scratch, .model = d->model};
	const struct canon_part *p;
	int r = 0;

	if (json_is(content, 's')) {
		struct span text = json_text(d->scratch, content);

		return text.p == NULL ? E_NOMEM : say(d, c, SAID_TEXT, text, sink);
	}
	if (content == NULL)
		return 0;
	(void)chat_read_content(&reader, content, &pieces);
	TAILQ_FOREACH (p, &pieces, link)
		if (r == 0)
			r = take_piece(d, c, p, sink);
	return reader.error != 0 ? reader.error : r;
}

static int
take_details(struct decoder *d, struct choice *c, const struct json *delta, bool said,
    const struct canon_sink *sink)
{
	const struct json *details = json_want(delta, "reasoning_details");
	struct chat_reader reader = {.a = d->scratch, .model = d->model};
	int r = 0;

	if (!json_is(details, 'a'))
		return 0;
	json_each (j, details) {
		struct canon_signature sign;
		struct span text = chat_text(&reader, j, "text");

		if (text.p == NULL)
			text = chat_text(&reader, j, "summary");
		if (!said && (r = say(d, c, SAID_REASONING, text, sink)) != 0)
			return r;
		if (!chat_read_detail(&reader, j, &sign))
			continue;
		if ((r = open_said(d, c, SAID_REASONING, sink)) != 0 ||
		    (r = send(sink, &(struct canon_event){.type = EVENT_SIGN,
					.choice = c->index,
					.part = c->part[SAID_REASONING],
					.sign = &sign})) != 0)
			return r;
	}
	return reader.error;
}

static int
take_reasoning(
    struct decoder *d, struct choice *c, const struct json *delta, const struct canon_sink *sink)
{
	struct chat_reader reader = {.a = d->scratch};
	uint32_t hint;
	struct span text = chat_reasoning_text(&reader, delta, &hint);
	int r = reader.error != 0 ? reader.error : say(d, c, SAID_REASONING, text, sink);

	return r != 0 ? r : take_details(d, c, delta, text.n > 0, sink);
}

static int
take_annotations(
    struct decoder *d, struct choice *c, const struct json *delta, const struct canon_sink *sink)
{
	const struct json *list = json_want(delta, "annotations");
	struct chat_reader reader = {.a = d->a};

	if (!json_is(list, 'a') || !c->open[SAID_TEXT])
		return 0;
	json_each (j, list) {
		struct canon_annotation *n;
		struct span raw = j->raw;
		const struct json *copy;
		int r;

		if (canon_keep(d->a, &raw) != 0 || json_parse(d->a, raw, &copy) != 0 ||
		    (n = chat_read_annotation(&reader, copy)) == NULL)
			return E_NOMEM;
		if ((r = send(sink, &(struct canon_event){.type = EVENT_CITE,
					.choice = c->index,
					.part = c->part[SAID_TEXT],
					.annotation = n})) != 0)
			return r;
	}
	return reader.error;
}

/* What is spoken reaches other dialects as its transcript. */
static int
take_media(
    struct decoder *d, struct choice *c, const struct json *delta, const struct canon_sink *sink)
{
	struct chat_reader reader = {.a = d->scratch};
	struct span transcript = chat_text(&reader, json_want(delta, "audio"), "transcript");
	const struct json *images = json_want(delta, "images");
	struct canon_parts made = TAILQ_HEAD_INITIALIZER(made);
	const struct canon_part *p;
	int r = reader.error != 0 ? reader.error : say(d, c, SAID_TEXT, transcript, sink);

	if (r != 0 || !json_is(images, 'a'))
		return r;
	(void)chat_read_content(&reader, images, &made);
	TAILQ_FOREACH (p, &made, link)
		if (r == 0)
			r = take_piece(d, c, p, sink);
	return r;
}

/* ---- choices ---- */

static struct choice *
find_choice(struct decoder *d, const struct json *j)
{
	struct choice **at = &d->choices;
	int64_t index = 0;

	(void)json_int(json_want(j, "index"), &index);
	for (; *at != NULL; at = &(*at)->next)
		if ((*at)->index == (uint32_t)index)
			return *at;
	if (d->nchoices == CHOICES_MAX || (*at = arena_zalloc(d->a, 1, sizeof **at)) == NULL)
		return NULL;
	d->nchoices++;
	(*at)->index = (uint32_t)index;
	return *at;
}

static int
take_finish(struct decoder *d, struct choice *c, const struct json *j)
{
	struct chat_reader reader = {.a = d->scratch};
	struct span word = chat_text(&reader, j, "finish_reason");

	if (reader.error != 0 || word.n == 0)
		return reader.error;
	if (!span_same(word, c->finish.raw)) {
		c->finish.raw = word;
		if (canon_keep(d->a, &c->finish.raw) != 0)
			return E_NOMEM;
	}
	c->finish.reason = canon_finish_of(word);
	return 0;
}

static int
take_choice(struct decoder *d, const struct json *j, const struct canon_sink *sink)
{
	const struct json *delta = json_want(j, "delta"), *logprobs = json_want(j, "logprobs");
	struct choice *c = find_choice(d, j);
	struct chat_reader reader = {.a = d->scratch};
	int r;

	if (c == NULL)
		return d->nchoices == CHOICES_MAX ? E_TOO_LONG : E_NOMEM;
	if (!json_is(delta, 'o'))
		delta = json_want(j, "message");
	if ((r = take_reasoning(d, c, delta, sink)) != 0 ||
	    (r = take_content(d, c, json_want(delta, "content"), sink)) != 0 ||
	    (r = take_media(d, c, delta, sink)) != 0 ||
	    (r = say(d, c, SAID_REFUSAL, chat_text(&reader, delta, "refusal"), sink)) != 0 ||
	    (r = take_annotations(d, c, delta, sink)) != 0)
		return r;
	if (delta == NULL && (r = say(d, c, SAID_TEXT, chat_text(&reader, j, "text"), sink)) != 0)
		return r;
	if (json_is(logprobs, 'o') && (r = send(sink, &(struct canon_event){.type = EVENT_LOGPROBS,
							  .choice = c->index,
							  .text = logprobs->raw})) != 0)
		return r;
	if ((r = take_calls(d, c, delta, sink)) != 0)
		return r;
	return reader.error != 0 ? reader.error : take_finish(d, c, j);
}

/* ---- the end ---- */

static int
end_choice(struct decoder *d, struct choice *c, const struct canon_sink *sink)
{
	struct call *oldest = NULL, *next;
	int r = close_said(c, -1, sink);

	for (struct call *k = c->calls; k != NULL; k = next) { /* in the order in which they came */
		next = k->next;
		k->next = oldest;
		oldest = k;
	}
	c->calls = oldest;
	for (struct call *k = oldest; k != NULL && r == 0; k = k->next) {
		if (!k->open && k->waiting.len > 0) /* a call that was never named */
			r = open_call(d, c, k, sink);
		if (r == 0 && k->open)
			r = close_part(c, k->part, sink);
	}
	return r;
}

static void
free_waiting(struct decoder *d)
{
	for (struct choice *c = d->choices; c != NULL; c = c->next)
		for (struct call *k = c->calls; k != NULL; k = k->next)
			buf_clear(&k->waiting);
}

static bool
is_proved(const struct decoder *d)
{
	bool any = false;

	for (const struct choice *c = d->choices; c != NULL; c = c->next) {
		if (c->finish.reason == FINISH_NONE)
			return false;
		any = true;
	}
	return any;
}

static int
finish(struct decoder *d, const struct canon_sink *sink)
{
	int r = 0;

	d->ended = true;
	for (struct choice *c = d->choices; c != NULL && r == 0; c = c->next)
		r = end_choice(d, c, sink);
	for (struct choice *c = d->choices; c != NULL && r == 0; c = c->next) {
		if (c->finish.reason == FINISH_NONE)
			c->finish.reason = FINISH_STOP;
		r = send(sink, &(struct canon_event){
				   .type = EVENT_FINISH, .choice = c->index, .finish = &c->finish});
	}
	free_waiting(d);
	return r != 0 ? r : send(sink, &(struct canon_event){.type = EVENT_END});
}

int
chat_decode_end(void *state, const struct canon_sink *sink)
{
	struct decoder *d = state;

	if (d->ended)
		return 0;
	if (is_proved(d) || (d->eof_is_end && d->useful))
		return finish(d, sink);
	free_waiting(d);
	return fail_server(
	    d, "upstream_stream_cut", "The stream ended before the answer did", sink);
}

int
chat_decode(void *state, const struct frame *f, const struct canon_sink *sink)
{
	struct decoder *d = state;
	const struct json *root, *error, *choices;
	int r;

	if (d->ended || f->data.n == 0)
		return 0;
	if (span_is(f->data, "[DONE]"))
		return chat_decode_end(state, sink);
	if ((r = json_parse(d->scratch, f->data, &root)) == E_NOMEM)
		return r;
	if (r != 0 || !json_is(root, 'o')) {
		free_waiting(d);
		return fail_server(
		    d, "upstream_malformed", "The stream holds something that is no JSON", sink);
	}
	error = json_want(root, "error");
	if (chat_is_failure(error) || span_is(f->type, "error")) {
		struct canon_error e;

		chat_read_error(d->scratch, f->data, &e);
		free_waiting(d);
		return fail(d, &e, sink);
	}
	choices = json_want(root, "choices");
	if (!d->begun && json_is(choices, 'a') && choices->count == 0 &&
	    json_equals(json_get(root, "model"), ""))
		return take_usage(
		    d, root, sink); /* Azure's word on the prompt: nothing has begun */
	if ((r = begin(d, root, sink)) != 0)
		return r;
	if (json_is(choices, 'a'))
		json_each (j, choices)
			if ((r = take_choice(d, j, sink)) != 0)
				return r;
	return take_usage(d, root, sink);
}
