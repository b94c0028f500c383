/*
 * A stream: whole answers, each with the parts that are new (spec 17.5). A text or a thought goes
 * on until something else comes, or a piece behind one that was signed. Nothing ends before the
 * input does: usage and citations may follow the finish.
 */
#include <string.h>

#include "proto/canon_error.h"
#include "proto/gemini/gemini.h"
#include "shared/err.h"

#define CHOICES_MAX 128u
#define USAGE_RAW_MAX 4096u /* longer ones are not passed on as they came */

struct stream_choice {
	struct stream_choice *next;
	uint32_t index;
	bool open, sealed;         /* a text or thought; it has its signature */
	enum canon_part_kind kind; /* of the open part */
	uint32_t part;
	struct textmap map; /* of all texts of the choice */
	uint64_t from;      /* where in it the open text began */
	struct canon_annotations cites;
	struct canon_part *call; /* comes in pieces */
	struct partial_args *args;
	bool said, called, proved, cited;
	struct span word, details;
};

struct stream {
	struct arena *a, *scratch;
	const struct profile *profile;
	const struct canon_sink *sink; /* of the call that runs */
	bool begun, over;
	uint32_t parts, choice_count;
	struct stream_choice *choices;
	struct canon_usage usage;
	char usage_raw[USAGE_RAW_MAX];
	struct span model;
};

void *
gemini_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p)
{
	struct stream *s = arena_zalloc(a, 1, sizeof *s);

	if (s != NULL) {
		s->a = a;
		s->scratch = scratch;
		s->profile = p;
	}
	return s;
}

static int
emit(struct stream *s, const struct canon_event *ev)
{
	return s->sink->take(s->sink->ctx, ev);
}

static int
emit_part(struct stream *s, enum canon_event_type type, const struct stream_choice *c)
{
	return emit(s, &(struct canon_event){.type = type, .choice = c->index, .part = c->part});
}

static int
fail(struct stream *s, const struct canon_error *e)
{
	s->over = true;
	return emit(s, &(struct canon_event){.type = EVENT_FAIL, .error = e});
}

static int
fail_code(struct stream *s, const char *code, const char *message)
{
	return fail(s, &(struct canon_error){.class = ERROR_SERVER,
			   .status = 502,
			   .message = span_of(message),
			   .code = span_of(code)});
}

/* ---- parts ---- */

/* What Google said about this text, as far as it lies in it. */
static int
cite(struct stream *s, struct stream_choice *c)
{
	struct canon_annotation *n, *next;
	int e;

	for (n = TAILQ_FIRST(&c->cites); n != NULL; n = next) {
		next = TAILQ_NEXT(n, link);
		if ((uint64_t)n->start < c->from || (uint64_t)n->start >= c->map.bytes)
			continue;
		TAILQ_REMOVE(&c->cites, n, link);
		n->start -= (int64_t)c->from;
		if (n->end >= 0)
			n->end = MAX(n->end - (int64_t)c->from, n->start);
		gemini_ground(n, &c->map, c->from);
		e = emit(s,
		    &(struct canon_event){
			.type = EVENT_CITE, .choice = c->index, .part = c->part, .annotation = n});
		if (e != 0)
			return e;
	}
	return 0;
}

static int
close_part(struct stream *s, struct stream_choice *c)
{
	int e;

	if (!c->open)
		return 0;
	if (c->kind == PART_TEXT && (e = cite(s, c)) != 0)
		return e;
	c->open = c->sealed = false;
	return emit_part(s, EVENT_CLOSE, c);
}

/* `meta` lives in the arena of the stream. */
static int
open_part(struct stream *s, struct stream_choice *c, const struct canon_part *meta)
{
	int e = close_part(s, c);

	if (e != 0)
		return e;
	c->part = s->parts++;
	c->kind = meta->kind;
	c->from = c->map.bytes;
	c->open = true;
	return emit(s, &(struct canon_event){
			   .type = EVENT_OPEN, .choice = c->index, .part = c->part, .meta = meta});
}

static int
sign(struct stream *s, struct stream_choice *c, const struct canon_part *p)
{
	if (p->sign.data.p == NULL)
		return 0;
	c->sealed = true;
	return emit(
	    s, &(struct canon_event){
		   .type = EVENT_SIGN, .choice = c->index, .part = c->part, .sign = &p->sign});
}

static int
delta(struct stream *s, struct stream_choice *c, struct span text, bool whole)
{
	return emit(s, &(struct canon_event){.type = EVENT_DELTA,
			   .choice = c->index,
			   .part = c->part,
			   .text = text,
			   .whole = whole});
}

static struct canon_part *
new_meta(struct stream *s, const struct canon_part *p)
{
	struct canon_part *m = canon_part_new(s->a, p->kind);

	if (m != NULL)
		canon_source_init(&m->src, DIALECT_GEMINI);
	return m;
}

/* The signature goes before the text that it stood on, so that one who writes this dialect can put
 * both into one part again. */
static int
take_text(struct stream *s, struct stream_choice *c, const struct canon_part *p)
{
	bool fits = c->open && c->kind == p->kind && !c->sealed && !p->carrier;
	struct canon_part *meta;
	int e;

	if (p->text.n == 0 && p->sign.data.p == NULL)
		return 0;
	if (!fits) {
		if ((meta = new_meta(s, p)) == NULL)
			return E_NOMEM;
		meta->carrier = p->carrier;
		if ((e = open_part(s, c, meta)) != 0)
			return e;
	}
	if ((e = sign(s, c, p)) != 0)
		return e;
	if (p->carrier)
		return close_part(s, c);
	if (p->text.n == 0)
		return 0;
	c->said = true;
	if (p->kind == PART_TEXT && (e = textmap_add(s->a, &c->map, p->text)) != 0)
		return e;
	return delta(s, c, p->text, false);
}

static int
send_call(
    struct stream *s, struct stream_choice *c, const struct canon_part *meta, struct span args)
{
	struct canon_part signature = {.sign = meta->sign};
	int e;

	c->called = c->said = true;
	if ((e = open_part(s, c, meta)) != 0 || (e = sign(s, c, &signature)) != 0 ||
	    (e = delta(s, c, args, true)) != 0)
		return e;
	return close_part(s, c);
}

static int
copy_call(struct stream *s, const struct canon_part *p, struct canon_part **out)
{
	struct canon_part *m = *out = new_meta(s, p);

	if (m == NULL)
		return E_NOMEM;
	m->id = canon_copy(s->a, p->id);
	m->name = canon_copy(s->a, p->name);
	m->sign = p->sign;
	m->sign.data = canon_copy(s->a, p->sign.data);
	if ((p->id.p != NULL && m->id.p == NULL) || m->name.p == NULL ||
	    (p->sign.data.p != NULL && m->sign.data.p == NULL))
		return E_NOMEM;
	return 0;
}

static int
end_call(struct stream *s, struct stream_choice *c)
{
	struct canon_part *meta = c->call;
	struct span args;

	if (meta == NULL)
		return 0;
	args = partial_args_text(c->args);
	c->call = NULL;
	c->args = NULL;
	return args.p == NULL ? E_NOMEM : send_call(s, c, meta, args);
}

/* Whole, or in pieces: the first names the function, each says whether more comes, the last may be
 * empty. */
static int
take_call(
    struct stream *s, struct stream_choice *c, const struct json *part, const struct canon_part *p)
{
	const struct json *call = gemini_get(part, "functionCall");
	const struct json *pieces = gemini_get(call, "partialArgs");
	bool more = json_yes(gemini_get(call, "willContinue"));
	struct canon_part *meta;
	int e;

	if (c->call != NULL && p->name.n > 0 && (e = end_call(s, c)) != 0)
		return e;
	if (c->call == NULL) {
		if ((e = copy_call(s, p, &meta)) != 0)
			return e;
		if (!more && pieces == NULL)
			return send_call(s, c, meta, p->args);
		c->call = meta;
		if ((c->args = partial_args_new(s->a)) == NULL)
			return E_NOMEM;
	}
	if (pieces != NULL && (e = partial_args_add(c->args, pieces)) != 0)
		return e;
	return more ? 0 : end_call(s, c);
}

static int
take_whole(struct stream *s, struct stream_choice *c, const struct canon_part *p)
{
	struct canon_part *m = new_meta(s, p);
	int e;

	if (m == NULL)
		return E_NOMEM;
	m->media = p->media;
	m->media.data = canon_copy(s->a, p->media.data);
	m->media.type = canon_copy(s->a, p->media.type);
	m->media.filename = canon_copy(s->a, p->media.filename);
	m->id = canon_copy(s->a, p->id);
	m->name = canon_copy(s->a, p->name);
	m->args = canon_copy(s->a, p->args);
	m->raw = canon_copy(s->a, p->raw);
	if ((p->raw.p != NULL && m->raw.p == NULL) ||
	    (p->media.data.p != NULL && m->media.data.p == NULL))
		return E_NOMEM;
	c->said = true;
	if ((e = open_part(s, c, m)) != 0 || (e = sign(s, c, p)) != 0)
		return e;
	return close_part(s, c);
}

static int
take_part(struct stream *s, struct stream_choice *c, const struct json *part)
{
	struct gemini_reader r = {.a = s->scratch, .model = s->model};
	struct canon_part *p;
	int e = gemini_read_part(&r, part, &p);

	if (e != 0)
		return e;
	if (c->call != NULL && p->kind != PART_TOOL_CALL && (e = end_call(s, c)) != 0)
		return e;
	switch (p->kind) {
	case PART_TEXT:
	case PART_REASONING:
		return take_text(s, c, p);
	case PART_TOOL_CALL:
		return take_call(s, c, part, p);
	default:
		return take_whole(s, c, p);
	}
}

/* ---- frames ---- */

static int
find_choice(struct stream *s, const struct json *candidate, struct stream_choice **out)
{
	struct stream_choice **at = &s->choices;
	int64_t index = 0;

	(void)json_int(gemini_get(candidate, "index"), &index);
	if (index < 0 || index >= CHOICES_MAX)
		index = 0;
	while (*at != NULL && (*at)->index < (uint32_t)index)
		at = &(*at)->next;
	if (*at == NULL || (*at)->index != (uint32_t)index) {
		struct stream_choice *c = arena_zalloc(s->a, 1, sizeof *c);
		if (c == NULL)
			return E_NOMEM;
		c->index = (uint32_t)index;
		TAILQ_INIT(&c->cites);
		c->next = *at;
		*at = c;
	}
	*out = *at;
	return 0;
}

/* What else was said about the end, for this dialect; of a search also what no citation carries. */
static int
read_details(struct stream *s, const struct json *candidate, struct stream_choice *c)
{
	static const char *const known[] = {
	    "content", "finishReason", "index", "logprobsResult", "groundingMetadata", NULL};
	static const char *const cited[] = {"groundingMetadata", NULL};
	struct buf b = BUF_INIT(1u << 20);
	struct jsonw w = {.b = &b};
	bool snake = false, any = false;

	jsonw_open(&w, '{');
	json_each (m, candidate) {
		bool whole = !c->cited && gemini_listed(m->name, cited, &snake);

		if (json_is(m, '0') || (!whole && gemini_listed(m->name, known, &snake)))
			continue;
		jsonw_name_raw(&w, m->name);
		jsonw_raw(&w, m->raw);
		any = true;
	}
	jsonw_close(&w, '}');
	if (!any || !buf_ok(&b)) {
		buf_clear(&b);
		return 0;
	}
	c->details = gemini_take(s->a, &b);
	return c->details.p == NULL ? E_NOMEM : 0;
}

static int
read_end(struct stream *s, const struct json *candidate, struct stream_choice *c)
{
	struct span word;
	int e = gemini_get_text(s->scratch, candidate, "finishReason", &word);

	if (e != 0 || word.n == 0)
		return e;
	c->proved = true;
	if (!span_same(c->word, word) && (c->word = canon_copy(s->a, word)).p == NULL)
		return E_NOMEM;
	return read_details(s, candidate, c);
}

static int
take_candidate(struct stream *s, const struct json *candidate)
{
	const struct json *grounding = gemini_get(candidate, "groundingMetadata");
	const struct json *parts = gemini_get(gemini_get(candidate, "content"), "parts");
	const struct json *chances = gemini_get(candidate, "logprobsResult");
	struct stream_choice *c;
	struct canon_event ev;
	int e;

	if ((e = find_choice(s, candidate, &c)) != 0)
		return e;
	if (grounding != NULL && (e = gemini_read_grounding(s->a, grounding, &c->cites)) != 0)
		return e;
	c->cited = c->cited || !TAILQ_EMPTY(&c->cites);
	json_each (it, json_is(parts, 'a') ? parts : NULL)
		if ((e = take_part(s, c, it)) != 0)
			return e;
	if (chances != NULL) {
		ev = (struct canon_event){.type = EVENT_LOGPROBS, .choice = c->index};
		ev.text = gemini_read_logprobs(s->scratch, chances);
		if (ev.text.p != NULL && (e = emit(s, &ev)) != 0)
			return e;
	}
	return read_end(s, candidate, c);
}

/* The raw object is kept by value: one comes with each frame, the last one counts. */
static void
take_usage(struct stream *s, const struct json *u)
{
	struct canon_usage news;

	gemini_read_usage(u, &news);
	if (news.raw.n <= sizeof s->usage_raw && news.raw.p != NULL) {
		memcpy(s->usage_raw, news.raw.p, news.raw.n);
		news.raw.p = s->usage_raw;
	} else {
		news.raw = (struct span){NULL, 0};
	}
	s->usage = news;
}

static int
begin(struct stream *s, const struct json *root)
{
	struct canon_event ev = {.type = EVENT_BEGIN, .usage = &s->usage};
	int e;

	if (s->begun)
		return 0;
	s->begun = true;
	if ((e = gemini_get_text(s->scratch, root, "responseId", &ev.id)) != 0 ||
	    (e = gemini_get_text(s->scratch, root, "modelVersion", &ev.model)) != 0)
		return e;
	if (ev.model.p != NULL && (s->model = canon_copy(s->a, ev.model)).p == NULL)
		return E_NOMEM;
	return emit(s, &ev);
}

static int
take_blocked(struct stream *s, const struct json *root)
{
	const struct json *feedback = gemini_get(root, "promptFeedback");
	struct stream_choice *c;
	struct span word;
	int e = gemini_get_text(s->scratch, feedback, "blockReason", &word);

	if (e != 0 || word.n == 0 || s->choices != NULL)
		return e;
	if ((e = find_choice(s, NULL, &c)) != 0)
		return e;
	c->proved = true;
	/* a prompt that was blocked is filtered, whatever the word for it */
	c->word = span_of("PROHIBITED_CONTENT");
	return 0;
}

static int
take_root(struct stream *s, const struct json *root)
{
	const struct json *usage = gemini_get(root, "usageMetadata");
	const struct json *list = gemini_get(root, "candidates");
	int e;

	if (usage != NULL)
		take_usage(s, usage);
	if ((e = begin(s, root)) != 0)
		return e;
	json_each (it, json_is(list, 'a') ? list : NULL)
		if (json_is(it, 'o') && (e = take_candidate(s, it)) != 0)
			return e;
	if ((e = take_blocked(s, root)) != 0)
		return e;
	if (usage == NULL)
		return 0;
	return emit(s, &(struct canon_event){.type = EVENT_USAGE, .usage = &s->usage});
}

int
gemini_decode(void *state, const struct frame *f, const struct canon_sink *sink)
{
	struct stream *s = state;
	const struct json *root;
	struct canon_error error;
	int e;

	s->sink = sink;
	if (s->over || f->data.n == 0 || span_is(f->data, "[DONE]"))
		return 0;
	if ((e = json_parse(s->scratch, f->data, &root)) == E_NOMEM)
		return e;
	if (e == 0 && gemini_error_in(root) != NULL) {
		canon_error_decode(s->scratch, 0, f->data, (struct span){NULL, 0}, &error);
		return fail(s, &error);
	}
	if (e != 0 || !json_is(root, 'o'))
		return fail_code(
		    s, "upstream_malformed", "The provider sent something that is not JSON");
	return take_root(s, root);
}

/* ---- the end ---- */

/* 0: the choice ended well, and *f says how. */
static int
judge(struct stream *s, struct stream_choice *c, struct canon_finish *f)
{
	struct canon_error error;
	const char *why;

	if (!c->proved && !(s->profile != NULL && s->profile->eof_is_end && c->said)) {
		(void)fail_code(s, "upstream_stream_cut", "The provider's stream ended too early");
		return 1;
	}
	if (!gemini_finish(c->word, c->called, c->said, s->usage.out_total > 0, f, &why)) {
		gemini_failure(s->scratch, c->word, why, &error);
		(void)fail(s, &error);
		return 1;
	}
	f->details = c->details;
	return 0;
}

static int
finish(struct stream *s)
{
	struct canon_finish f;
	int e;

	for (struct stream_choice *c = s->choices; c != NULL; c = c->next) {
		if ((e = close_part(s, c)) != 0)
			return e;
		if (judge(s, c, &f) != 0)
			return 0;
		e = emit(s,
		    &(struct canon_event){.type = EVENT_FINISH, .choice = c->index, .finish = &f});
		if (e != 0)
			return e;
	}
	if ((e = emit(s, &(struct canon_event){.type = EVENT_USAGE, .usage = &s->usage})) != 0)
		return e;
	return emit(s, &(struct canon_event){.type = EVENT_END});
}

int
gemini_decode_end(void *state, const struct canon_sink *sink)
{
	struct stream *s = state;
	struct canon_finish f;
	int e;

	s->sink = sink;
	if (s->over)
		return 0;
	if (s->choices == NULL)
		return fail_code(s, "upstream_stream_cut", "The provider's stream ended too early");
	for (struct stream_choice *c = s->choices; c != NULL; c = c->next) {
		if (c->proved && (e = end_call(s, c)) != 0)
			return e;
		if (judge(s, c, &f) != 0)
			return 0;
	}
	e = finish(s);
	s->over = true;
	return e;
}
