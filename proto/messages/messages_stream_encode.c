/*
 * Events → a client's stream (spec 18.3), behind serial.h: one part is open at a time.
 *
 *   BEGIN ──► message_start; input_tokens as the upstream said early, else the estimate
 *   OPEN  ──► nothing yet: content_block_start waits for the first content, so that no block is
 *             empty. A call has its content in its name and opens at once
 *   END   ──► message_delta with the whole usage, message_stop
 *
 * A signature waits until its block is closed: the SDK wants exactly one, behind the text.
 */
#include <string.h>

#include "proto/canon_ids.h"
#include "proto/messages/messages.h"
#include "proto/tokens.h"
#include "shared/err.h"

enum block_state { BLOCK_NONE, BLOCK_WAITING, BLOCK_OPEN, BLOCK_SKIPPED };

struct encoder {
	struct arena *a;
	struct encode_ctx ctx;
	bool started, pinged, done, called, refused, own;
	uint32_t blocks; /* that were sent; the index of the next */
	/* the part that is open */
	enum block_state state;
	const struct canon_part *meta;
	bool argued;                 /* a byte of arguments that is no white space was sent */
	bool thought;                /* a byte of reasoning was sent */
	struct canon_signature sign; /* its data in `sign_copy` */
	char *sign_copy;
	size_t sign_cap;
	/* for the end */
	struct canon_usage usage;
	char *raw_copy;
	size_t raw_cap;
	struct canon_finish finish;
	uint64_t said; /* bytes: an estimate where nobody counted */
};

/* One event of the stream while it is written. */
struct line {
	struct messages_writer o;
	size_t from;
};

void *
messages_encoder_new(struct arena *a, const struct encode_ctx *ctx)
{
	struct encoder *e = arena_zalloc(a, 1, sizeof *e);

	if (e == NULL)
		return NULL;
	e->a = a;
	e->ctx = *ctx;
	return e;
}

static struct line
line_begin(struct encoder *e, struct buf *out, const char *type)
{
	struct line l = {.o = {.w = {.b = out},
			     .a = e->a,
			     .answer = true,
			     .assistant = true,
			     .seed = e->ctx.seed}};

	buf_str(out, "event: ");
	buf_str(out, type);
	buf_str(out, "\ndata: ");
	l.from = out->len;
	jsonw_open(&l.o.w, '{');
	jsonw_m_cstr(&l.o.w, "type", type);
	return l;
}

static int
line_end(struct line *l)
{
	struct buf *out = l->o.w.b;

	jsonw_close(&l->o.w, '}');
	if (!buf_ok(out))
		return E_TOO_LONG;
	jsonw_one_line(out, l->from);
	if (l->o.error != 0)
		return l->o.error;
	return buf_str(out, "\n\n");
}

static int
keep(struct arena *a, char **copy, size_t *cap, struct span *s)
{
	if (s->p == NULL)
		return 0;
	if (*copy == NULL || s->n > *cap) {
		*cap = MAX(s->n, 64) * 2;
		if ((*copy = arena_alloc(a, *cap)) == NULL)
			return E_NOMEM;
	}
	memcpy(*copy, s->p, s->n);
	s->p = *copy;
	return 0;
}

/* ---- start ---- */

static int
take_usage(struct encoder *e, const struct canon_usage *u)
{
	struct canon_usage news;

	if (u == NULL)
		return 0;
	news = *u;
	e->own = e->own || (u->raw.p != NULL && u->from == DIALECT_MESSAGES);
	if (news.raw.p != NULL && keep(e->a, &e->raw_copy, &e->raw_cap, &news.raw) != 0)
		return E_NOMEM;
	canon_usage_merge(&e->usage, &news);
	return 0;
}

static int
start(struct encoder *e, const struct canon_event *ev, struct buf *out)
{
	struct span id = ev->id, model = ev->model.n > 0 ? ev->model : e->ctx.model;
	struct canon_usage early;
	struct line l;
	int r;

	if (e->started)
		return 0;
	if ((r = take_usage(e, ev->usage)) != 0)
		return r;
	early = e->usage;
	if (!early.has_in || early.in_total == 0)
		early.in_total = tokens_request(e->ctx.asked, DIALECT_MESSAGES);
	if (!early.has_out)
		early.out_total = 1;
	if (!e->own || id.n == 0)
		id = canon_id(e->a, e->ctx.seed, ID_MSG, 0);
	if (id.p == NULL)
		return E_NOMEM;
	l = line_begin(e, out, "message_start");
	jsonw_m_open(&l.o.w, "message", '{');
	jsonw_m_text(&l.o.w, "id", id);
	jsonw_m_cstr(&l.o.w, "type", "message");
	jsonw_m_cstr(&l.o.w, "role", "assistant");
	jsonw_m_text(&l.o.w, "model", model.p != NULL ? model : span_of(""));
	jsonw_m_lit(&l.o.w, "content", "[]");
	jsonw_m_lit(&l.o.w, "stop_reason", "null");
	jsonw_m_lit(&l.o.w, "stop_sequence", "null");
	messages_put_usage(&l.o, &early);
	jsonw_close(&l.o.w, '}');
	e->started = true;
	return line_end(&l);
}

static int
ping(struct buf *out)
{
	return buf_str(out, "event: ping\ndata: {\"type\": \"ping\"}\n\n");
}

/* ---- blocks ---- */

static const char *const cache_control[] = {"cache_control", NULL};

static void
put_call_start(struct encoder *e, struct messages_writer *o, const struct canon_part *m)
{
	struct span id = m->id;

	if (id.n == 0)
		id = canon_id(e->a, e->ctx.seed, ID_TOOLU, e->blocks);
	if (id.p == NULL)
		o->error = E_NOMEM;
	jsonw_m_cstr(&o->w, "type", "tool_use");
	jsonw_m_text(&o->w, "id", id.p != NULL ? id : span_of(""));
	jsonw_m_text(&o->w, "name", m->name.p != NULL ? m->name : span_of(""));
	jsonw_m_lit(&o->w, "input", "{}");
	messages_put_extras(o, &m->src, cache_control);
	e->called = true;
}

/* A call at the provider: its block as it came; `deltas`: its arguments follow. */
static void
put_whole_start(struct messages_writer *o, const struct canon_part *m, bool deltas)
{
	static const char *const input[] = {"input", NULL};

	messages_put_members(o, m->raw, deltas ? input : NULL);
	if (deltas)
		jsonw_m_lit(&o->w, "input", "{}");
}

static void
put_block(struct encoder *e, struct messages_writer *o, bool deltas)
{
	const struct canon_part *m = e->meta;
	struct span data;

	if (m->raw.p != NULL && messages_hint(&m->src, HINT_RAW)) {
		put_whole_start(o, m, deltas && m->kind == PART_SERVER_CALL);
	} else if (m->kind == PART_TOOL_CALL) {
		put_call_start(e, o, m);
	} else if (m->kind == PART_REASONING && !deltas && e->sign.encrypted) {
		data = messages_client_signature(e->a, &e->sign);
		o->error = data.p == NULL ? E_NOMEM : o->error;
		jsonw_m_cstr(&o->w, "type", "redacted_thinking");
		jsonw_m_text(&o->w, "data", data);
	} else if (m->kind == PART_REASONING) {
		jsonw_m_cstr(&o->w, "type", "thinking");
		jsonw_m_lit(&o->w, "thinking", "\"\"");
		jsonw_m_lit(&o->w, "signature", "\"\"");
	} else {
		jsonw_m_cstr(&o->w, "type", "text");
		jsonw_m_lit(&o->w, "text", "\"\"");
	}
}

static int put_delta(
    struct encoder *e, struct buf *out, const char *type, const char *member, struct span text);

/* `deltas`: content follows; else all of it is in the start. */
static int
open_block(struct encoder *e, struct buf *out, bool deltas)
{
	struct line l = line_begin(e, out, "content_block_start");
	int r;

	jsonw_m_u64(&l.o.w, "index", e->blocks);
	jsonw_m_open(&l.o.w, "content_block", '{');
	put_block(e, &l.o, deltas);
	jsonw_close(&l.o.w, '}');
	e->state = BLOCK_OPEN;
	if ((r = line_end(&l)) != 0)
		return r;
	if (!e->pinged && (r = ping(out)) != 0)
		return r;
	e->pinged = true;
	if (e->meta->kind == PART_TOOL_CALL)
		return put_delta(e, out, "input_json_delta", "partial_json", span_of(""));
	return 0;
}

static int
put_delta(
    struct encoder *e, struct buf *out, const char *type, const char *member, struct span text)
{
	struct line l = line_begin(e, out, "content_block_delta");

	jsonw_m_u64(&l.o.w, "index", e->blocks);
	jsonw_m_open(&l.o.w, "delta", '{');
	jsonw_m_cstr(&l.o.w, "type", type);
	jsonw_m_text(&l.o.w, member, text);
	jsonw_close(&l.o.w, '}');
	return line_end(&l);
}

/* What can be a block here. */
static bool
has_block(const struct canon_part *m)
{
	switch (m->kind) {
	case PART_SERVER_CALL:
	case PART_SERVER_RESULT:
	case PART_OPAQUE:
		return m->raw.p != NULL && messages_hint(&m->src, HINT_RAW);
	case PART_TOOL_RESULT:
		return false;
	case PART_TEXT:
	case PART_IMAGE:
	case PART_AUDIO:
	case PART_VIDEO:
	case PART_FILE:
	case PART_TOOL_CALL:
	case PART_REASONING:
	case PART_REFUSAL:
		break;
	}
	return true;
}

static int
open_part(struct encoder *e, const struct canon_event *ev, struct buf *out)
{
	const struct canon_part *m = ev->meta;
	struct span note;
	int r;

	e->meta = m;
	e->argued = e->thought = false;
	e->sign = (struct canon_signature){0};
	e->state = has_block(m) && ev->choice == 0 ? BLOCK_WAITING : BLOCK_SKIPPED;
	if (e->state == BLOCK_SKIPPED)
		return 0;
	e->own = e->own || messages_own(&m->src);
	e->refused = e->refused || m->kind == PART_REFUSAL;
	if (m->kind == PART_TOOL_CALL)
		return open_block(e, out, true);
	if (messages_hint(&m->src, HINT_RAW) ||
	    (m->kind != PART_IMAGE && m->kind != PART_VIDEO && m->kind != PART_FILE))
		return 0;
	if ((note = messages_media_note(e->a, m)).p == NULL)
		return E_NOMEM;
	if ((r = open_block(e, out, true)) != 0)
		return r;
	return put_delta(e, out, "text_delta", "text", note);
}

static bool
is_blank(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (strchr(" \t\r\n", s.p[i]) == NULL || s.p[i] == '\0')
			return false;
	return true;
}

static int
take_delta(struct encoder *e, const struct canon_event *ev, struct buf *out)
{
	enum canon_part_kind kind;
	int r;

	if (e->state == BLOCK_NONE || e->state == BLOCK_SKIPPED || ev->text.n == 0)
		return 0;
	kind = e->meta->kind;
	if (kind == PART_SERVER_RESULT || kind == PART_OPAQUE || kind == PART_IMAGE ||
	    kind == PART_VIDEO || kind == PART_FILE)
		return 0;
	if (e->state == BLOCK_WAITING && (r = open_block(e, out, true)) != 0)
		return r;
	e->said += ev->text.n;
	switch (kind) {
	case PART_TOOL_CALL:
	case PART_SERVER_CALL:
		e->argued = e->argued || !is_blank(ev->text);
		return put_delta(e, out, "input_json_delta", "partial_json", ev->text);
	case PART_REASONING:
		e->thought = true;
		return put_delta(e, out, "thinking_delta", "thinking", ev->text);
	default:
		return put_delta(e, out, "text_delta", "text", ev->text);
	}
}

static int
take_signature(struct encoder *e, const struct canon_event *ev)
{
	if (e->meta == NULL || e->meta->kind != PART_REASONING || e->state == BLOCK_SKIPPED)
		return 0;
	e->sign = *ev->sign;
	return keep(e->a, &e->sign_copy, &e->sign_cap, &e->sign.data);
}

static int
take_citation(struct encoder *e, const struct canon_event *ev, struct buf *out)
{
	struct line l;
	int r;

	if (ev->annotation->from != DIALECT_MESSAGES || ev->annotation->raw.p == NULL ||
	    e->meta == NULL || e->meta->kind != PART_TEXT || e->state == BLOCK_SKIPPED)
		return 0;
	if (e->state == BLOCK_WAITING && (r = open_block(e, out, true)) != 0)
		return r;
	l = line_begin(e, out, "content_block_delta");
	jsonw_m_u64(&l.o.w, "index", e->blocks);
	jsonw_m_open(&l.o.w, "delta", '{');
	jsonw_m_cstr(&l.o.w, "type", "citations_delta");
	jsonw_m_raw(&l.o.w, "citation", ev->annotation->raw);
	jsonw_close(&l.o.w, '}');
	return line_end(&l);
}

/* What must stand in a block before it ends. */
static int
complete_block(struct encoder *e, struct buf *out)
{
	struct span signature;
	int r;

	if (e->meta->kind == PART_TOOL_CALL && !e->argued)
		return put_delta(e, out, "input_json_delta", "partial_json", span_of("{}"));
	if (e->meta->kind != PART_REASONING || (e->sign.encrypted && !e->thought))
		return 0;
	if ((signature = messages_client_signature(e->a, &e->sign)).p == NULL)
		return E_NOMEM;
	r = put_delta(e, out, "signature_delta", "signature", signature);
	return r;
}

static int
close_part(struct encoder *e, struct buf *out)
{
	bool whole = e->state == BLOCK_WAITING &&
		     (messages_hint(&e->meta->src, HINT_RAW) ||
			 (e->meta->kind == PART_REASONING && e->sign.data.p != NULL));
	struct line l;
	int r = 0;

	/* nothing was said in it: no block, unless all of it is in its start or in its signature */
	if (whole)
		r = open_block(e, out, e->meta->kind == PART_REASONING && !e->sign.encrypted);
	if (r == 0 && e->state == BLOCK_OPEN) {
		if ((r = complete_block(e, out)) != 0)
			return r;
		l = line_begin(e, out, "content_block_stop");
		jsonw_m_u64(&l.o.w, "index", e->blocks++);
		r = line_end(&l);
	}
	e->state = BLOCK_NONE;
	e->meta = NULL;
	return r;
}

/* ---- the end ---- */

static int
put_failure(struct encoder *e, const struct canon_error *error, struct buf *out)
{
	struct line l = line_begin(e, out, "error");

	e->done = true;
	jsonw_name(&l.o.w, "error");
	messages_put_error(&l.o.w, error);
	return line_end(&l);
}

static int
take_finish(struct encoder *e, const struct canon_event *ev)
{
	struct canon_finish *f = &e->finish;

	if (ev->choice != 0)
		return 0;
	*f = *ev->finish;
	return canon_keep(e->a, &f->raw) != 0 || canon_keep(e->a, &f->stop_sequence) != 0 ||
		       canon_keep(e->a, &f->details) != 0
		   ? E_NOMEM
		   : 0;
}

/* Where the upstream has not counted, an estimate is better than 0. */
static void
complete_usage(struct encoder *e)
{
	struct canon_usage *u = &e->usage;

	if (!u->has_in)
		u->in_total = tokens_request(e->ctx.asked, DIALECT_MESSAGES);
	if (!u->has_out)
		u->out_total = (e->said + 3) / 4;
}

static void
put_stop(struct encoder *e, struct messages_writer *o, const char *word)
{
	const struct canon_finish *f = &e->finish;

	jsonw_m_open(&o->w, "delta", '{');
	jsonw_name(&o->w, "stop_reason");
	if (e->own && f->reason == FINISH_UNKNOWN && f->raw.n > 0)
		jsonw_text(&o->w, f->raw);
	else
		jsonw_cstr(&o->w, word);
	jsonw_name(&o->w, "stop_sequence");
	if (f->stop_sequence.p != NULL)
		jsonw_text(&o->w, f->stop_sequence);
	else
		jsonw_lit(&o->w, "null");
	if (e->own)
		messages_put_details(o, f->details, false);
	jsonw_close(&o->w, '}');
}

static int
end(struct encoder *e, struct buf *out)
{
	struct canon_error malformed = {.class = ERROR_SERVER,
	    .message = span_of("The upstream ended its answer with an error")};
	const char *word = messages_stop_word(&e->finish, e->own, e->called, e->refused);
	struct line l;
	int r;

	if (word == NULL || (e->finish.reason == FINISH_UNKNOWN && !e->own && e->blocks == 0))
		return put_failure(e, &malformed, out);
	if (e->state != BLOCK_NONE && (r = close_part(e, out)) != 0)
		return r;
	complete_usage(e);
	l = line_begin(e, out, "message_delta");
	put_stop(e, &l.o, word);
	messages_put_usage(&l.o, &e->usage);
	if (e->own)
		messages_put_details(&l.o, e->finish.details, true);
	if ((r = line_end(&l)) != 0)
		return r;
	e->done = true;
	l = line_begin(e, out, "message_stop");
	return line_end(&l);
}

int
messages_encode(void *state, const struct canon_event *ev, struct buf *out)
{
	struct encoder *e = state;
	int r;

	if (e->done)
		return 0;
	if (ev->type == EVENT_IDLE)
		return e->started ? ping(out) : buf_str(out, ": keepalive\n\n");
	if (ev->type == EVENT_USAGE)
		return take_usage(e, ev->usage);
	if (ev->type == EVENT_FAIL)
		return put_failure(e, ev->error, out);
	if ((r = start(e, ev, out)) != 0)
		return r;
	switch (ev->type) {
	case EVENT_OPEN:
		return open_part(e, ev, out);
	case EVENT_DELTA:
		return take_delta(e, ev, out);
	case EVENT_SIGN:
		return take_signature(e, ev);
	case EVENT_CITE:
		return take_citation(e, ev, out);
	case EVENT_CLOSE:
		return e->state != BLOCK_NONE ? close_part(e, out) : 0;
	case EVENT_FINISH:
		return take_finish(e, ev);
	case EVENT_END:
		return end(e, out);
	default:
		return 0;
	}
}
