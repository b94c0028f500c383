/*
 * A stream for a client (spec 18.5): each chunk is a whole answer with the parts that are new.
 * Texts go out as they come; calls are held until they are whole and leave in the order in which
 * they were opened; the end waits for the usage.
 */
#include <string.h>

#include "proto/canon_ids.h"
#include "proto/gemini/gemini.h"
#include "proto/scan.h"
#include "shared/err.h"

#define ARGS_MAX (64u << 20)
#define USAGE_RAW_MAX 4096u

/* A part that is open, or a call that waits. */
struct sent_part {
	struct sent_part *next;
	uint32_t number, choice;
	const struct canon_part *meta;
	struct canon_signature sign; /* not sent yet */
	struct buf args;
	bool closed, drop;
};

struct sent_choice {
	struct sent_choice *next;
	uint32_t index;
	bool finished;
	struct canon_finish finish;
	struct canon_annotations cites;
	struct textmap map;
	uint64_t from; /* code points before the text that is open */
};

struct sent {
	struct arena *a;
	struct buf *out;
	size_t chunk; /* where in it the chunk began */
	bool array, thoughts, begun, over;
	struct span id, model;
	struct sent_part *parts, *spare; /* by rising number */
	struct sent_choice *choices;
	struct canon_usage usage;
	char usage_raw[USAGE_RAW_MAX];
};

void *
gemini_encoder_new(struct arena *a, const struct encode_ctx *ctx)
{
	struct sent *s = arena_zalloc(a, 1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->a = a;
	s->array = ctx->array;
	s->thoughts = ctx->asked != NULL && ctx->asked->reasoning.show == SHOW_FULL;
	s->model = ctx->model;
	s->id = canon_id(a, ctx->seed, ID_GEMINI, 0);
	return s->id.p != NULL ? s : NULL;
}

void
gemini_encoder_free(void *state)
{
	struct sent *s = state;

	for (struct sent_part *p = s != NULL ? s->parts : NULL; p != NULL; p = p->next)
		buf_clear(&p->args);
}

/* ---- chunks ---- */

static struct gemini_writer
writer(struct sent *s)
{
	return (struct gemini_writer){.w = {.b = s->out}, .a = s->a, .thoughts = s->thoughts};
}

static void
open_chunk(struct sent *s, struct gemini_writer *o)
{
	buf_str(s->out, !s->array ? "data: " : s->begun ? ",\r\n" : "[");
	s->chunk = s->out->len;
	s->begun = true;
	jsonw_open(&o->w, '{');
	jsonw_m_open(&o->w, "candidates", '[');
	jsonw_open(&o->w, '{');
	jsonw_m_open(&o->w, "content", '{');
	jsonw_m_open(&o->w, "parts", '[');
}

static void
close_content(struct gemini_writer *o)
{
	jsonw_close(&o->w, ']');
	jsonw_m_cstr(&o->w, "role", "model");
	jsonw_close(&o->w, '}');
}

static int
close_chunk(struct sent *s, struct gemini_writer *o, uint32_t choice, bool usage)
{
	jsonw_m_u64(&o->w, "index", choice);
	jsonw_close(&o->w, '}');
	jsonw_close(&o->w, ']');
	if (usage)
		gemini_put_usage(o, &s->usage);
	jsonw_m_text(&o->w, "modelVersion", s->model);
	jsonw_m_text(&o->w, "responseId", s->id);
	jsonw_close(&o->w, '}');
	if (!buf_ok(s->out))
		return gemini_written(o);
	if (!s->array) {
		jsonw_one_line(s->out, s->chunk);
		buf_str(s->out, "\r\n\r\n");
	}
	return gemini_written(o);
}

/* A part that was made for the moment. */
static int
send_part(struct sent *s, const struct canon_part *p, uint32_t choice)
{
	struct gemini_writer o = writer(s);

	if (!gemini_part_goes(&o, p))
		return 0;
	open_chunk(s, &o);
	gemini_put_part(&o, p);
	close_content(&o);
	return close_chunk(s, &o, choice, s->usage.has_in && s->usage.has_out);
}

static int
send_text(struct sent *s, const struct sent_part *p, struct span text)
{
	struct canon_part part = {
	    .kind = p->meta->kind == PART_REASONING ? PART_REASONING : PART_TEXT,
	    .text = text,
	    .sign = p->sign};

	return send_part(s, &part, p->choice);
}

/* ---- what is known of parts and choices ---- */

static struct sent_choice *
choice_of(struct sent *s, uint32_t index)
{
	struct sent_choice **at = &s->choices, *c;

	while (*at != NULL && (*at)->index < index)
		at = &(*at)->next;
	if (*at != NULL && (*at)->index == index)
		return *at;
	if ((c = arena_zalloc(s->a, 1, sizeof *c)) == NULL)
		return NULL;
	c->index = index;
	TAILQ_INIT(&c->cites);
	c->next = *at;
	*at = c;
	return c;
}

static struct sent_part *
part_of(struct sent *s, const struct canon_event *ev)
{
	for (struct sent_part *p = s->parts; p != NULL; p = p->next)
		if (p->number == ev->part && !p->closed)
			return p;
	return NULL;
}

static void
forget(struct sent *s, struct sent_part *gone)
{
	struct sent_part **at = &s->parts;

	while (*at != gone)
		at = &(*at)->next;
	*at = gone->next;
	buf_clear(&gone->args);
	gone->next = s->spare;
	s->spare = gone;
}

static int
open_part(struct sent *s, const struct canon_event *ev)
{
	struct sent_choice *c = choice_of(s, ev->choice);
	struct sent_part *p = s->spare, **at = &s->parts;

	if (c == NULL)
		return E_NOMEM;
	if (p != NULL)
		s->spare = p->next;
	else if ((p = arena_alloc(s->a, sizeof *p)) == NULL)
		return E_NOMEM;
	*p = (struct sent_part){
	    .number = ev->part, .choice = ev->choice, .meta = ev->meta, .args = BUF_INIT(ARGS_MAX)};
	while (*at != NULL)
		at = &(*at)->next;
	*at = p;
	if (ev->meta->kind == PART_TEXT)
		c->from = c->map.points;
	return 0;
}

/* ---- calls ---- */

static bool
is_whole(const struct sent_part *p)
{
	return p->meta->custom || p->args.len == 0 ||
	       scan_check(p->args.data, p->args.len, NULL) == 0;
}

static int
send_call(struct sent *s, const struct sent_part *p)
{
	struct gemini_writer o = writer(s);
	struct canon_part part = {.kind = PART_TOOL_CALL,
	    .id = p->meta->id,
	    .name = p->meta->name,
	    .custom = p->meta->custom};
	struct span args = {p->args.data, p->args.len};

	open_chunk(s, &o);
	gemini_put_call(
	    &o, &part, args.p != NULL ? args : span_of(""), gemini_signature(&o, &p->sign));
	close_content(&o);
	return close_chunk(s, &o, p->choice, s->usage.has_in && s->usage.has_out);
}

/* Those that are closed and have none before them that is not. */
static int
flush_calls(struct sent *s)
{
	struct sent_part *p, *next;
	int e;

	for (p = s->parts; p != NULL; p = next) {
		next = p->next;
		if (p->meta->kind != PART_TOOL_CALL)
			continue;
		if (!p->closed)
			return 0;
		if (!p->drop && (e = send_call(s, p)) != 0)
			return e;
		forget(s, p);
	}
	return 0;
}

/* ---- events ---- */

static int
take_delta(struct sent *s, const struct canon_event *ev)
{
	struct sent_part *p = part_of(s, ev);
	struct sent_choice *c;
	int e;

	if (p == NULL || ev->text.n == 0)
		return 0;
	switch (p->meta->kind) {
	case PART_TOOL_CALL:
		return buf_add(&p->args, ev->text.p, ev->text.n);
	case PART_TEXT:
		if ((c = choice_of(s, p->choice)) == NULL)
			return E_NOMEM;
		if ((e = textmap_add(s->a, &c->map, ev->text)) != 0)
			return e;
		break;
	case PART_REFUSAL:
		break;
	case PART_REASONING:
		if (!s->thoughts)
			return 0;
		break;
	default:
		return 0;
	}
	e = send_text(s, p, ev->text);
	p->sign = (struct canon_signature){0};
	return e;
}

static int
take_sign(struct sent *s, const struct canon_event *ev)
{
	struct sent_part *p = part_of(s, ev);

	if (p == NULL || ev->sign == NULL || ev->sign->data.p == NULL)
		return 0;
	p->sign = *ev->sign;
	p->sign.data = canon_copy(s->a, ev->sign->data);
	return p->sign.data.p != NULL ? 0 : E_NOMEM;
}

/* Citations count from the start of their part; on the wire from the start of the answer. */
static int
take_cite(struct sent *s, const struct canon_event *ev)
{
	struct sent_choice *c = choice_of(s, ev->choice);
	struct canon_annotation *n;

	if (c == NULL || (n = gemini_move_cite(s->a, ev->annotation, c->from)) == NULL)
		return E_NOMEM;
	TAILQ_INSERT_TAIL(&c->cites, n, link);
	return 0;
}

static int
close_part(struct sent *s, const struct canon_event *ev)
{
	struct sent_part *p = part_of(s, ev);
	struct canon_part part;
	int e = 0;

	if (p == NULL)
		return 0;
	switch (p->meta->kind) {
	case PART_TOOL_CALL:
		if (!is_whole(p)) /* cut, or badly written: the finish tells */
			return 0;
		p->closed = true;
		return flush_calls(s);
	case PART_TEXT:
	case PART_REFUSAL:
	case PART_REASONING:
		if (p->sign.data.p != NULL)
			e = send_text(s, p, span_of(""));
		break;
	default:
		part = *p->meta;
		part.sign = p->sign;
		e = send_part(s, &part, p->choice);
	}
	forget(s, p);
	return e;
}

static int
take_finish(struct sent *s, const struct canon_event *ev)
{
	struct sent_choice *c = choice_of(s, ev->choice);
	bool cut =
	    ev->finish->reason == FINISH_LENGTH || ev->finish->reason == FINISH_CONTEXT_WINDOW;

	if (c == NULL)
		return E_NOMEM;
	c->finished = true;
	c->finish = *ev->finish;
	c->finish.raw = canon_copy(s->a, ev->finish->raw);
	c->finish.details = canon_copy(s->a, ev->finish->details);
	for (struct sent_part *p = s->parts; p != NULL; p = p->next)
		if (p->choice == ev->choice && p->meta->kind == PART_TOOL_CALL) {
			p->drop = cut && !is_whole(p);
			p->closed = true;
		}
	return flush_calls(s);
}

static int
take_usage(struct sent *s, const struct canon_usage *u)
{
	if (u == NULL || (!u->has_in && !u->has_out && u->raw.p == NULL))
		return 0;
	s->usage = *u;
	if (u->raw.p == NULL || u->raw.n > sizeof s->usage_raw) {
		s->usage.raw = (struct span){NULL, 0};
		return 0;
	}
	memcpy(s->usage_raw, u->raw.p, u->raw.n);
	s->usage.raw = (struct span){s->usage_raw, u->raw.n};
	return 0;
}

/* What this dialect's own decoder kept of the last chunk. */
static void
put_details(struct gemini_writer *o, const struct sent_choice *c, bool mine)
{
	const struct json *object;

	if (!mine || c->finish.details.p == NULL ||
	    json_parse(o->a, c->finish.details, &object) != 0)
		return;
	json_each (m, object) {
		jsonw_name_raw(&o->w, m->name);
		jsonw_raw(&o->w, m->raw);
	}
}

static int
send_end(struct sent *s, const struct sent_choice *c)
{
	struct gemini_writer o = writer(s);
	bool mine = s->usage.from == DIALECT_GEMINI;

	open_chunk(s, &o);
	jsonw_lit(&o.w, "{\"text\":\"\"}");
	close_content(&o);
	jsonw_m_text(&o.w, "finishReason", gemini_finish_word(&c->finish, mine));
	gemini_put_grounding(&o, &c->cites, &c->map);
	put_details(&o, c, mine);
	return close_chunk(s, &o, c->index, true);
}

static int
take_end(struct sent *s)
{
	int e;

	for (const struct sent_choice *c = s->choices; c != NULL; c = c->next)
		if (c->finished && (e = send_end(s, c)) != 0)
			return e;
	if (s->array)
		buf_str(s->out, s->begun ? "]" : "[]");
	s->over = true;
	return buf_ok(s->out) ? 0 : E_TOO_LONG;
}

/* Google's own clients know a failure in mid-stream only as bare JSON. */
static int
take_fail(struct sent *s, const struct canon_error *e)
{
	struct jsonw w = {.b = s->out};

	if (s->array)
		buf_str(s->out, s->begun ? ",\r\n" : "[");
	gemini_put_error(&w, e, false);
	buf_str(s->out, s->array ? "]" : "\n\n");
	s->over = true;
	return buf_ok(s->out) ? 0 : E_TOO_LONG;
}

static int
take_idle(struct sent *s)
{
	struct gemini_writer o = writer(s);
	uint32_t choice = s->choices != NULL ? s->choices->index : 0;

	if (!s->begun)
		return 0;
	open_chunk(s, &o);
	jsonw_lit(&o.w, "{\"text\":\"\"}");
	close_content(&o);
	return close_chunk(s, &o, choice, false);
}

static int
take_logprobs(struct sent *s, const struct canon_event *ev)
{
	struct gemini_writer o = writer(s);

	open_chunk(s, &o);
	jsonw_lit(&o.w, "{\"text\":\"\"}");
	close_content(&o);
	gemini_put_logprobs(&o, ev->text);
	return close_chunk(s, &o, ev->choice, false);
}

static int
take_begin(struct sent *s, const struct canon_event *ev)
{
	if (ev->model.n > 0 && (s->model = canon_copy(s->a, ev->model)).p == NULL)
		return E_NOMEM;
	return take_usage(s, ev->usage);
}

int
gemini_encode(void *state, const struct canon_event *ev, struct buf *out)
{
	struct sent *s = state;

	if (s->over)
		return 0;
	s->out = out;
	switch (ev->type) {
	case EVENT_BEGIN:
		return take_begin(s, ev);
	case EVENT_OPEN:
		return open_part(s, ev);
	case EVENT_DELTA:
		return take_delta(s, ev);
	case EVENT_SIGN:
		return take_sign(s, ev);
	case EVENT_CITE:
		return take_cite(s, ev);
	case EVENT_CLOSE:
		return close_part(s, ev);
	case EVENT_LOGPROBS:
		return take_logprobs(s, ev);
	case EVENT_USAGE:
		return take_usage(s, ev->usage);
	case EVENT_FINISH:
		return take_finish(s, ev);
	case EVENT_FAIL:
		return take_fail(s, ev->error);
	case EVENT_IDLE:
		return take_idle(s);
	case EVENT_END:
		return take_end(s);
	}
	return 0;
}
