/*
 * Canonical events → the client's stream (spec 18.4). Parts come one behind the other (serial.h).
 *
 * An item is opened with its first part and stays open until the next one begins, or the answer
 * ends: only then is it known whether it was cut. What is told at the end of a part, of an item and
 * of the answer is the same text; it is kept in buffers with a ceiling.
 */
#include <string.h>

#include "proto/responses/responses_encoder.h"
#include "proto/scan.h"
#include "shared/err.h"

#define KEPT_MAX (64u << 20)

void *
responses_encoder_new(struct arena *a, const struct encode_ctx *ctx)
{
	struct encoder *e = arena_zalloc(a, 1, sizeof *e);

	if (e == NULL)
		return NULL;
	e->ctx = *ctx;
	e->ctx.arena = a;
	e->encrypted = responses_wants_encrypted(ctx->asked);
	buf_init(&e->output, KEPT_MAX);
	buf_init(&e->content, KEPT_MAX);
	buf_init(&e->text, KEPT_MAX);
	buf_init(&e->annotations, KEPT_MAX);
	buf_init(&e->logprobs, KEPT_MAX);
	return e;
}

void
responses_encoder_free(void *state)
{
	struct encoder *e = state;

	buf_clear(&e->output);
	buf_clear(&e->content);
	buf_clear(&e->text);
	buf_clear(&e->annotations);
	buf_clear(&e->logprobs);
}

static void
response_event(struct encoder *e, struct buf *out, const char *type, struct responses_object *o)
{
	struct jsonw w = encoder_event_open(e, out, type);

	o->id = e->id;
	o->model = e->model;
	o->created = e->created;
	jsonw_name(&w, "response");
	responses_object_put(&w, o, &e->ctx);
	encoder_event_close(e, &w);
}

static void
put_in_progress(struct encoder *e, struct buf *out, const char *type)
{
	struct responses_object o = {.status = span_of("in_progress")};

	response_event(e, out, type, &o);
}

/* ---- parts ---- */

static bool
is_raw(const struct canon_part *p)
{
	return responses_is_native(&p->src, HINT_RAW) && p->raw.n > 0 && p->kind != PART_REASONING;
}

static void
open_content(struct encoder *e, struct buf *out, const struct canon_part *meta)
{
	struct jsonw w;

	if (e->item != ITEM_MESSAGE ||
	    (e->contents > 0 && responses_is_native(&meta->src, HINT_START)))
		encoder_item_open(e, out, ITEM_MESSAGE, meta);
	e->refused = e->refused || meta->kind == PART_REFUSAL;
	w = encoder_part_event(e, out, "response.content_part.added");
	jsonw_name(&w, "part");
	encoder_put_content(e, &w);
	encoder_event_close(e, &w);
}

static void
put_delta(struct encoder *e, struct buf *out, const char *type, struct span text)
{
	struct jsonw w = e->item == ITEM_CALL ? encoder_item_event(e, out, type)
					      : encoder_part_event(e, out, type);

	jsonw_m_text(&w, "delta", text);
	if (e->meta->kind == PART_TEXT)
		jsonw_m_lit(&w, "logprobs", "[]");
	encoder_event_close(e, &w);
}

static void
tell_summary(struct encoder *e, struct buf *out, const char *type, struct span text)
{
	struct jsonw w = encoder_part_event(e, out, type);

	jsonw_m_open(&w, "part", '{');
	jsonw_m_cstr(&w, "type", "summary_text");
	jsonw_m_text(&w, "text", text);
	jsonw_close(&w, '}');
	encoder_event_close(e, &w);
}

static bool
is_current(const struct encoder *e, const struct canon_event *ev)
{
	return e->open && ev->part == e->part;
}

static void
take_delta(struct encoder *e, struct buf *out, const struct canon_event *ev)
{
	if (!is_current(e, ev) || ev->text.n == 0)
		return;
	buf_add(&e->text, ev->text.p, ev->text.n);
	switch (is_raw(e->meta) ? PART_OPAQUE : e->meta->kind) {
	case PART_TEXT:
		put_delta(e, out, "response.output_text.delta", ev->text);
		break;
	case PART_REFUSAL:
		put_delta(e, out, "response.refusal.delta", ev->text);
		break;
	case PART_TOOL_CALL:
		put_delta(e, out,
		    e->meta->custom ? "response.custom_tool_call_input.delta"
				    : "response.function_call_arguments.delta",
		    ev->text);
		break;
	case PART_REASONING:
		if (!e->told)
			tell_summary(e, out, "response.reasoning_summary_part.added", span_of(""));
		e->told = true;
		put_delta(e, out, "response.reasoning_summary_text.delta", ev->text);
		break;
	default:
		break;
	}
}

static void
take_cite(struct encoder *e, struct buf *out, const struct canon_event *ev)
{
	struct jsonw list = {.b = &e->annotations, .comma = e->cited > 0}, w;

	if (!is_current(e, ev) || e->meta->kind != PART_TEXT)
		return;
	responses_put_annotation(&list, ev->annotation);
	w = encoder_part_event(e, out, "response.output_text.annotation.added");
	jsonw_m_u64(&w, "annotation_index", e->cited++);
	jsonw_name(&w, "annotation");
	responses_put_annotation(&w, ev->annotation);
	encoder_event_close(e, &w);
}

/* The seal of a thought: the last one counts. */
static int
take_sign(struct encoder *e, const struct canon_event *ev)
{
	char *copy;

	if (!is_current(e, ev) || e->item != ITEM_REASONING || !e->encrypted ||
	    ev->sign->data.n == 0)
		return 0;
	if ((copy = arena_strndup(e->ctx.arena, ev->sign->data.p, ev->sign->data.n)) == NULL)
		return E_NOMEM;
	e->sign = (struct span){copy, ev->sign->data.n};
	return 0;
}

/* [a,b] without its brackets, behind what is there. */
static void
take_logprobs(struct encoder *e, const struct canon_event *ev)
{
	struct span list = scan_path(ev->text, "content");

	if (!e->open || e->meta->kind != PART_TEXT || scan_type(list) != 'a' || list.n <= 2)
		return;
	if (e->logprobs.len > 0)
		buf_add(&e->logprobs, ",", 1);
	buf_add(&e->logprobs, list.p + 1, list.n - 2);
}

/* ---- ends of parts ---- */

static void
close_content(struct encoder *e, struct buf *out)
{
	struct jsonw kept = {.b = &e->content, .comma = e->contents > 0};
	bool refusal = e->meta->kind == PART_REFUSAL;
	struct jsonw w = encoder_part_event(
	    e, out, refusal ? "response.refusal.done" : "response.output_text.done");

	jsonw_m_text(&w, refusal ? "refusal" : "text", held(&e->text));
	if (!refusal) {
		jsonw_m_open(&w, "logprobs", '[');
		buf_add(out, held(&e->logprobs).p, e->logprobs.len);
		jsonw_close(&w, ']');
	}
	encoder_event_close(e, &w);
	w = encoder_part_event(e, out, "response.content_part.done");
	jsonw_name(&w, "part");
	encoder_put_content(e, &w);
	encoder_event_close(e, &w);
	encoder_put_content(e, &kept);
	e->contents++;
}

/* A call without arguments has an empty object of them: clients parse what they get. */
static void
close_call(struct encoder *e, struct buf *out)
{
	bool custom = e->meta->custom;
	struct jsonw w;

	if (e->text.len == 0 && !custom)
		take_delta(e, out, &(struct canon_event){.part = e->part, .text = span_of("{}")});
	w = encoder_item_event(e, out,
	    custom ? "response.custom_tool_call_input.done"
		   : "response.function_call_arguments.done");
	if (!custom)
		jsonw_m_text(&w, "name", e->meta->name.p != NULL ? e->meta->name : span_of(""));
	jsonw_m_text(&w, custom ? "input" : "arguments", held(&e->text));
	encoder_event_close(e, &w);
}

static void
close_reasoning(struct encoder *e, struct buf *out)
{
	struct jsonw w;

	if (!e->told)
		return;
	w = encoder_part_event(e, out, "response.reasoning_summary_text.done");
	jsonw_m_text(&w, "text", held(&e->text));
	encoder_event_close(e, &w);
	tell_summary(e, out, "response.reasoning_summary_part.done", held(&e->text));
}

static void
put_whole(struct encoder *e, struct jsonw *w, const char *status)
{
	struct responses_writer rw = {
	    .w = w, .ctx = &e->ctx, .answer = true, .status = status, .items = e->items};

	if (is_raw(e->meta))
		jsonw_raw(w, e->meta->raw);
	else if (e->meta->kind == PART_IMAGE)
		responses_put_image(&rw, e->meta);
	else
		responses_put_search(&rw, e->meta, held(&e->text));
}

/* What the official events of an item are between its added and its done. */
static const struct {
	const char *name;
	const char *events[3];
} steps[] = {
    {"web_search", {"response.web_search_call.in_progress", "response.web_search_call.searching",
		       "response.web_search_call.completed"}},
    {"file_search", {"response.file_search_call.in_progress", "response.file_search_call.searching",
			"response.file_search_call.completed"}},
    {"code_interpreter", {"response.code_interpreter_call.in_progress",
			     "response.code_interpreter_call.interpreting",
			     "response.code_interpreter_call.completed"}},
    {"image_generation_call",
	{"response.image_generation_call.in_progress", "response.image_generation_call.generating",
	    "response.image_generation_call.completed"}},
    {"mcp", {"response.mcp_call.in_progress", "response.mcp_call.completed", NULL}},
    {"mcp_list_tools",
	{"response.mcp_list_tools.in_progress", "response.mcp_list_tools.completed", NULL}},
};

static void
tell_steps(struct encoder *e, struct buf *out)
{
	struct span name =
	    e->meta->kind == PART_IMAGE ? span_of("image_generation_call") : e->meta->name;

	e->item_id = responses_item_id(&e->ctx, e->meta, e->items);
	for (size_t i = 0; i < NELEM(steps); i++)
		for (size_t k = 0;
		     k < 3 && span_is(name, steps[i].name) && steps[i].events[k] != NULL; k++) {
			struct jsonw w = encoder_item_event(e, out, steps[i].events[k]);

			encoder_event_close(e, &w);
		}
}

static void
close_whole(struct encoder *e, struct buf *out)
{
	struct span item = encoder_keep_item(e, put_whole, "completed");
	struct jsonw w = encoder_event_open(e, out, "response.output_item.added");

	jsonw_m_u64(&w, "output_index", e->items);
	jsonw_m_raw(&w, "item", item);
	encoder_event_close(e, &w);
	tell_steps(e, out);
	encoder_item_done(e, out, item);
}

static bool
is_whole(const struct encoder *e)
{
	return is_raw(e->meta) || e->meta->kind == PART_IMAGE ||
	       responses_shows_search(e->ctx.asked, e->meta);
}

static void
part_close(struct encoder *e, struct buf *out)
{
	if (!e->open)
		return;
	if (is_whole(e))
		close_whole(e, out);
	else if (responses_is_content(e->meta, true))
		close_content(e, out);
	else if (e->meta->kind == PART_TOOL_CALL)
		close_call(e, out);
	else if (e->meta->kind == PART_REASONING)
		close_reasoning(e, out);
	e->open = false;
}

/* What is told as a whole when it ends has no item until then. */
static void
take_open(struct encoder *e, struct buf *out, const struct canon_event *ev)
{
	part_close(e, out);
	if (e->item != ITEM_MESSAGE) /* its text is still in the buffer */
		encoder_item_close(e, out, "completed");
	e->part = ev->part;
	e->meta = ev->meta;
	e->told = false;
	e->cited = 0;
	buf_reset(&e->text);
	buf_reset(&e->annotations);
	buf_reset(&e->logprobs);
	if (is_raw(ev->meta))
		encoder_item_close(e, out, "completed");
	else if (responses_is_content(ev->meta, true))
		open_content(e, out, ev->meta);
	else if (ev->meta->kind == PART_TOOL_CALL)
		encoder_item_open(e, out, ITEM_CALL, ev->meta);
	else if (ev->meta->kind == PART_REASONING)
		encoder_item_open(e, out, ITEM_REASONING, ev->meta);
	else if (ev->meta->kind == PART_IMAGE || responses_shows_search(e->ctx.asked, ev->meta))
		encoder_item_close(e, out, "completed");
	else
		return;
	e->open = true;
}

/* ---- beginning and end ---- */

static int
begin(struct encoder *e, struct buf *out, const struct canon_event *ev)
{
	struct arena *a = e->ctx.arena;
	char *copy;

	if (e->begun)
		return 0;
	e->begun = true;
	e->id = e->model = (struct span){NULL, 0};
	if (ev->type == EVENT_BEGIN && ev->id.n > 5 && memcmp(ev->id.p, "resp_", 5) == 0) {
		if ((copy = arena_strndup(a, ev->id.p, ev->id.n)) == NULL)
			return E_NOMEM;
		e->id = (struct span){copy, ev->id.n};
	} else if ((e->id = canon_id(a, e->ctx.seed, ID_RESP, 0)).p == NULL) {
		return E_NOMEM;
	}
	if (ev->type == EVENT_BEGIN && ev->model.n > 0) {
		if ((copy = arena_strndup(a, ev->model.p, ev->model.n)) == NULL)
			return E_NOMEM;
		e->model = (struct span){copy, ev->model.n};
	} else {
		e->model = e->ctx.model;
	}
	e->created = ev->type == EVENT_BEGIN && ev->created != 0 ? ev->created : e->ctx.now_s;
	put_in_progress(e, out, "response.created");
	put_in_progress(e, out, "response.in_progress");
	return 0;
}

static int
take_usage(struct encoder *e, const struct canon_usage *u)
{
	struct canon_usage news = *u;

	news.raw = (struct span){NULL, 0};
	if (u->from == DIALECT_RESPONSES && u->raw.n > 0) {
		char *copy = arena_strndup(e->ctx.arena, u->raw.p, u->raw.n);

		if (copy == NULL)
			return E_NOMEM;
		news.raw = (struct span){copy, u->raw.n};
	}
	e->usage = news;
	return 0;
}

static void
put_failed(struct encoder *e, struct buf *out, const struct canon_error *err)
{
	struct responses_object o = {
	    .status = span_of("failed"), .error = err, .output = held(&e->output)};

	if (e->usage.has_in || e->usage.has_out)
		o.usage = &e->usage;
	response_event(e, out, "response.failed", &o);
	e->ended = true;
}

/* The call that was cut is the one whose arguments are not complete. */
static const char *
last_status(const struct encoder *e, const char *status)
{
	if (strcmp(status, "incomplete") != 0)
		return "completed";
	if (e->item == ITEM_CALL && !e->first->custom &&
	    scan_check(held(&e->text).p, e->text.len, &(size_t){0}) == 0)
		return "completed";
	return status;
}

static void
put_end(struct encoder *e, struct buf *out)
{
	static const struct canon_error malformed = {.class = ERROR_SERVER,
	    .code = {"upstream_malformed", sizeof "upstream_malformed" - 1},
	    .message = {"The model's answer was malformed.",
		sizeof "The model's answer was malformed." - 1}};
	struct responses_object o = {.usage = &e->usage};
	const char *why, *status = responses_status_of(e->finish, e->refused, &why);
	char *details = NULL;

	if (strcmp(status, "failed") == 0) {
		put_failed(e, out, &malformed);
		return;
	}
	part_close(e, out);
	encoder_item_close(e, out, last_status(e, status));
	if (why != NULL)
		details = arena_printf(e->ctx.arena, "{\"reason\":\"%s\"}", why);
	o.status = span_of(status);
	o.incomplete = (struct span){details, details != NULL ? strlen(details) : 0};
	o.output = held(&e->output);
	response_event(e, out, why != NULL ? "response.incomplete" : "response.completed", &o);
	e->ended = true;
}

static void
take_idle(struct encoder *e, struct buf *out)
{
	if (e->begun)
		put_in_progress(e, out, "response.in_progress");
	else
		buf_str(out, ": keepalive\n\n");
}

static int
take(struct encoder *e, const struct canon_event *ev, struct buf *out)
{
	switch (ev->type) {
	case EVENT_OPEN:
		if (ev->choice == 0)
			take_open(e, out, ev);
		break;
	case EVENT_DELTA:
		take_delta(e, out, ev);
		break;
	case EVENT_SIGN:
		return take_sign(e, ev);
	case EVENT_CITE:
		take_cite(e, out, ev);
		break;
	case EVENT_CLOSE:
		if (is_current(e, ev))
			part_close(e, out);
		break;
	case EVENT_LOGPROBS:
		take_logprobs(e, ev);
		break;
	case EVENT_FINISH:
		if (ev->choice == 0)
			e->finish = ev->finish->reason;
		break;
	case EVENT_FAIL:
		put_failed(e, out, ev->error);
		break;
	case EVENT_END:
		put_end(e, out);
		break;
	default:
		break;
	}
	return 0;
}

static bool
is_kept(const struct encoder *e)
{
	return !e->broken && buf_ok(&e->output) && buf_ok(&e->content) && buf_ok(&e->text) &&
	       buf_ok(&e->annotations) && buf_ok(&e->logprobs);
}

int
responses_encode(void *state, const struct canon_event *ev, struct buf *out)
{
	struct encoder *e = state;
	int r = 0;

	if (e->ended)
		return 0;
	if (ev->type == EVENT_IDLE)
		take_idle(e, out);
	else if (ev->usage != NULL && (ev->type == EVENT_USAGE || ev->type == EVENT_BEGIN))
		r = take_usage(e, ev->usage);
	if (r == 0 && ev->type != EVENT_IDLE && ev->type != EVENT_USAGE)
		r = begin(e, out, ev);
	if (r == 0)
		r = take(e, ev, out);
	if (r != 0)
		return r;
	return buf_ok(out) && is_kept(e) ? 0 : E_TOO_LONG;
}
