/* Events of an upstream's stream → canonical events (spec 17.4). */
#include <string.h>

#include "proto/profile.h"
#include "proto/responses/responses_stream.h"
#include "proto/signature.h"
#include "shared/err.h"

void *
responses_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p)
{
	struct responses_decoder *d = arena_zalloc(a, 1, sizeof *d);

	if (d == NULL)
		return NULL;
	d->a = a;
	d->scratch = scratch;
	d->origin = p != NULL && p->origin != ORIGIN_NONE ? p->origin : ORIGIN_OPENAI;
	d->eof_is_end = p != NULL && p->eof_is_end;
	return d;
}

static int
fail(struct responses_decoder *d, const struct canon_error *e)
{
	d->ended = true;
	return stream_emit(d, &(struct canon_event){.type = EVENT_FAIL, .error = e});
}

static int
fail_server(struct responses_decoder *d, const char *code, const char *message)
{
	return fail(
	    d, &(struct canon_error){
		   .class = ERROR_SERVER, .code = span_of(code), .message = span_of(message)});
}

/* ---- the beginning ---- */

static int
begin(struct responses_decoder *d, const struct json *response)
{
	struct canon_event ev = {.type = EVENT_BEGIN};
	static const struct canon_usage unknown;
	int64_t at;

	if (d->begun)
		return 0;
	d->begun = true;
	ev.id = canon_copy(d->a, responses_word(d->scratch, response, "id"));
	ev.model = canon_copy(d->a, responses_word(d->scratch, response, "model"));
	ev.usage = &unknown;
	if (json_int(json_get(response, "created_at"), &at) && at > 0)
		ev.created = (uint64_t)at;
	d->family = signature_family(ev.model);
	return stream_emit(d, &ev);
}

static int
on_created(struct responses_decoder *d, const struct json *j)
{
	return begin(d, json_get(j, "response"));
}

/* ---- items ---- */

static int
on_item_added(struct responses_decoder *d, const struct json *j)
{
	struct stream_item *it;
	int r = stream_item_of(d, j, STREAM_OTHER, true, &it);

	return r != 0 ? r : stream_item_added(d, it, json_get(j, "item"));
}

static int
on_item_done(struct responses_decoder *d, const struct json *j)
{
	struct stream_item *it;
	int r;

	if (!json_is(json_get(j, "item"), 'o'))
		return 0;
	r = stream_item_of(d, j, STREAM_OTHER, false, &it);
	return r != 0 ? r : stream_item_done(d, it, json_get(j, "item"));
}

static int64_t
index_of(const struct json *j, const char *name)
{
	int64_t n;

	return json_int(json_get(j, name), &n) ? n : 0;
}

static int
content_of(struct responses_decoder *d, const struct json *j, enum canon_part_kind kind,
    struct stream_content **out)
{
	struct stream_item *it;
	int r = stream_item_of(d, j, STREAM_MESSAGE, false, &it);

	return r != 0 ? r : stream_content_open(d, it, index_of(j, "content_index"), kind, out);
}

/* false: not a part of a message */
static bool
content_kind(const struct json *part, enum canon_part_kind *kind)
{
	const struct json *type = json_get(part, "type");

	*kind = json_equals(type, "refusal") ? PART_REFUSAL : PART_TEXT;
	return *kind == PART_REFUSAL || json_equals(type, "output_text") ||
	       json_equals(type, "text");
}

static int
on_part_added(struct responses_decoder *d, const struct json *j)
{
	enum canon_part_kind kind;
	struct stream_content *c;

	return content_kind(json_get(j, "part"), &kind) ? content_of(d, j, kind, &c) : 0;
}

static int
on_part_done(struct responses_decoder *d, const struct json *j)
{
	enum canon_part_kind kind;
	struct stream_content *c;
	int r;

	if (!content_kind(json_get(j, "part"), &kind))
		return 0;
	r = content_of(d, j, kind, &c);
	return r != 0 ? r : stream_content_done(d, c, json_get(j, "part"));
}

static int
emit_logprobs(struct responses_decoder *d, const struct json *list)
{
	static const char head[] = "{\"content\":";
	size_t n = sizeof head - 1;
	char *text;

	if (!json_is(list, 'a') || list->count == 0)
		return 0;
	if ((text = arena_alloc(d->scratch, n + list->raw.n + 1)) == NULL)
		return E_NOMEM;
	memcpy(text, head, n);
	memcpy(text + n, list->raw.p, list->raw.n);
	text[n + list->raw.n] = '}';
	return stream_emit(
	    d, &(struct canon_event){.type = EVENT_LOGPROBS, .text = {text, n + list->raw.n + 1}});
}

static int
on_text_delta(struct responses_decoder *d, const struct json *j)
{
	struct stream_content *c;
	int r = content_of(d, j, PART_TEXT, &c);

	if (r == 0)
		r = stream_content_delta(d, c, json_get(j, "delta"));
	return r != 0 ? r : emit_logprobs(d, json_get(j, "logprobs"));
}

static int
on_text_done(struct responses_decoder *d, const struct json *j)
{
	struct stream_content *c;
	int r = content_of(d, j, PART_TEXT, &c);

	return r != 0 ? r : stream_content_rest(d, c, json_get(j, "text"));
}

static int
on_refusal_delta(struct responses_decoder *d, const struct json *j)
{
	struct stream_content *c;
	int r = content_of(d, j, PART_REFUSAL, &c);

	return r != 0 ? r : stream_content_delta(d, c, json_get(j, "delta"));
}

static int
on_refusal_done(struct responses_decoder *d, const struct json *j)
{
	struct stream_content *c;
	int r = content_of(d, j, PART_REFUSAL, &c);

	return r != 0 ? r : stream_content_rest(d, c, json_get(j, "refusal"));
}

static int
on_annotation(struct responses_decoder *d, const struct json *j)
{
	struct stream_content *c;
	int r = content_of(d, j, PART_TEXT, &c);

	return r != 0 ? r : stream_content_cite(d, c, json_get(j, "annotation"));
}

static int
on_args_delta(struct responses_decoder *d, const struct json *j)
{
	struct stream_item *it;
	int r = stream_item_of(d, j, STREAM_CALL, false, &it);

	return r != 0 ? r : stream_args_delta(d, it, json_get(j, "delta"));
}

static int
on_args_done(struct responses_decoder *d, const struct json *j)
{
	const struct json *args = json_want(j, "arguments");
	struct stream_item *it;
	int r = stream_item_of(d, j, STREAM_CALL, false, &it);

	return r != 0 ? r : stream_args_rest(d, it, args != NULL ? args : json_get(j, "input"));
}

static int
on_summary_added(struct responses_decoder *d, const struct json *j)
{
	struct stream_item *it;
	int r = stream_item_of(d, j, STREAM_REASONING, false, &it);

	return r != 0 ? r : stream_thought_piece(d, it, index_of(j, "summary_index"));
}

static int
thought(struct responses_decoder *d, const struct json *j, bool summary, bool delta)
{
	int64_t index = index_of(j, summary ? "summary_index" : "content_index");
	struct stream_item *it;
	int r = stream_item_of(d, j, STREAM_REASONING, false, &it);

	if (r != 0)
		return r;
	return delta ? stream_thought_delta(d, it, summary, index, json_get(j, "delta"))
		     : stream_thought_rest(d, it, summary, index, json_get(j, "text"));
}

static int
on_summary_delta(struct responses_decoder *d, const struct json *j)
{
	return thought(d, j, true, true);
}

static int
on_summary_done(struct responses_decoder *d, const struct json *j)
{
	return thought(d, j, true, false);
}

static int
on_thought_delta(struct responses_decoder *d, const struct json *j)
{
	return thought(d, j, false, true);
}

static int
on_thought_done(struct responses_decoder *d, const struct json *j)
{
	return thought(d, j, false, false);
}

/* ---- the end ---- */

static int
end(struct responses_decoder *d, const struct canon_finish *f)
{
	int r = stream_emit(d, &(struct canon_event){.type = EVENT_FINISH, .finish = f});

	d->ended = true;
	return r != 0 ? r : stream_emit(d, &(struct canon_event){.type = EVENT_END});
}

/* completed and incomplete: what was never streamed is told now. */
static int
on_end(struct responses_decoder *d, const struct json *j)
{
	const struct json *response = json_get(j, "response"),
			  *output = json_get(response, "output");
	struct canon_finish finish;
	struct canon_error err;
	struct canon_usage usage;
	uint32_t index = 0;
	int r = begin(d, response);

	if (json_is(output, 'a'))
		for (const struct json *item = output->child; item != NULL && r == 0;
		     item = item->next)
			r = stream_item_repair(d, item, index++);
	if (r == 0)
		r = stream_close_all(d);
	if (r != 0)
		return r;
	responses_usage_read(json_want(response, "usage"), &usage);
	if ((usage.has_in || usage.has_out) &&
	    (r = stream_emit(d, &(struct canon_event){.type = EVENT_USAGE, .usage = &usage})) != 0)
		return r;
	if (!responses_finish_read(d->scratch, response, d->calls, &finish, &err))
		return fail(d, &err);
	if (json_equals(json_get(j, "type"), "response.incomplete") &&
	    finish.reason != FINISH_CONTENT_FILTER && finish.reason != FINISH_CONTEXT_WINDOW &&
	    finish.reason != FINISH_REFUSAL)
		finish.reason = FINISH_LENGTH;
	else if (finish.reason == FINISH_NONE)
		finish.reason = d->calls ? FINISH_TOOL_CALLS : FINISH_STOP;
	if (!d->said && finish.reason == FINISH_STOP && usage.out_total == 0)
		return fail_server(d, "empty_response", "The upstream's answer was empty.");
	return end(d, &finish);
}

static int
on_failed(struct responses_decoder *d, const struct json *j)
{
	const struct json *response = json_get(j, "response"),
			  *error = json_want(response, "error");
	struct canon_usage usage;
	struct canon_error err;
	int r = begin(d, response);

	if (r != 0)
		return r;
	responses_usage_read(json_want(response, "usage"), &usage);
	if ((usage.has_in || usage.has_out) &&
	    (r = stream_emit(d, &(struct canon_event){.type = EVENT_USAGE, .usage = &usage})) != 0)
		return r;
	if (error == NULL)
		error = json_want(j, "error");
	responses_error_read(d->scratch, error, &err);
	return fail(d, &err);
}

/* Flat, or with a member `error`. */
static int
on_error(struct responses_decoder *d, const struct json *j)
{
	const struct json *error = json_want(j, "error");
	struct canon_error err;

	responses_error_read(d->scratch, error != NULL ? error : j, &err);
	return fail(d, &err);
}

/* The most frequent first. */
static const struct {
	const char *type;
	int (*take)(struct responses_decoder *d, const struct json *j);
} events[] = {
    {"response.output_text.delta", on_text_delta},
    {"response.function_call_arguments.delta", on_args_delta},
    {"response.reasoning_summary_text.delta", on_summary_delta},
    {"response.reasoning_text.delta", on_thought_delta},
    {"response.custom_tool_call_input.delta", on_args_delta},
    {"response.output_item.added", on_item_added},
    {"response.output_item.done", on_item_done},
    {"response.content_part.added", on_part_added},
    {"response.content_part.done", on_part_done},
    {"response.output_text.done", on_text_done},
    {"response.output_text.annotation.added", on_annotation},
    {"response.refusal.delta", on_refusal_delta},
    {"response.refusal.done", on_refusal_done},
    {"response.function_call_arguments.done", on_args_done},
    {"response.custom_tool_call_input.done", on_args_done},
    {"response.reasoning_summary_part.added", on_summary_added},
    {"response.reasoning_summary_text.done", on_summary_done},
    {"response.reasoning_text.done", on_thought_done},
    {"response.created", on_created},
    {"response.in_progress", on_created},
    {"response.queued", on_created},
    {"response.completed", on_end},
    {"response.incomplete", on_end},
    {"response.failed", on_failed},
    {"response.cancelled", on_failed},
    {"error", on_error},
};

static int
dispatch(struct responses_decoder *d, const struct frame *f, const struct json *j)
{
	const struct json *type = json_want(j, "type");

	if (span_is(f->type, "error"))
		return on_error(d, j);
	for (size_t i = 0; i < NELEM(events); i++)
		if (type != NULL ? json_equals(type, events[i].type)
				 : span_is(f->type, events[i].type)) {
			int r = events[i].take == on_error ? 0 : begin(d, json_get(j, "response"));

			return r != 0 ? r : events[i].take(d, j);
		}
	return type == NULL && json_want(j, "error") != NULL ? on_error(d, j) : 0;
}

static bool
is_blank(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (strchr(" \t\r\n", s.p[i]) == NULL)
			return false;
	return true;
}

int
responses_decode(void *state, const struct frame *f, const struct canon_sink *sink)
{
	struct responses_decoder *d = state;
	const struct json *j;
	int r;

	if (d->ended || is_blank(f->data) || span_is(f->data, "[DONE]"))
		return 0;
	d->sink = sink;
	r = json_parse(d->scratch, f->data, &j);
	if (r == E_NOMEM)
		return r;
	if (r != 0)
		return fail_server(
		    d, "upstream_malformed", "The upstream sent an event that is not JSON.");
	if (j->type != 'o')
		return 0;
	return dispatch(d, f, j);
}

int
responses_decode_end(void *state, const struct canon_sink *sink)
{
	struct responses_decoder *d = state;
	struct canon_finish finish = {.reason = d->calls ? FINISH_TOOL_CALLS : FINISH_STOP};
	int r;

	if (d->ended)
		return 0;
	d->sink = sink;
	if (!d->eof_is_end || !d->said)
		return fail_server(d, "upstream_stream_cut",
		    "The upstream's stream ended before its answer was complete.");
	if ((r = stream_close_all(d)) != 0)
		return r;
	return end(d, &finish);
}
