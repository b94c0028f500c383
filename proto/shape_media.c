/*
 * Media (spec translation 6.6, 9): what the target takes as it is, what has to be fetched or
 * spelled anew for it, what goes as text, what moves into a turn of the user's, and what is
 * refused.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/shape_own.h"
#include "shared/err.h"

#define EACH_SAFE(it, head, next) \
	for ((it) = TAILQ_FIRST(head); (it) != NULL && ((next) = TAILQ_NEXT(it, link), true); \
	     (it) = (next))

static bool
is_media(const struct canon_part *p)
{
	return p->kind == PART_IMAGE || p->kind == PART_AUDIO || p->kind == PART_VIDEO ||
	       p->kind == PART_FILE;
}

static const char *
word_of(const struct canon_part *p)
{
	switch (p->kind) {
	case PART_IMAGE:
		return "image";
	case PART_AUDIO:
		return "audio";
	case PART_VIDEO:
		return "video";
	default:
		return "file";
	}
}

static bool
begins(struct span s, const char *with)
{
	size_t n = strlen(with);

	return s.n >= n && strncasecmp(s.p, with, n) == 0;
}

static void
become_text(struct canon_part *p, struct span text)
{
	p->kind = PART_TEXT;
	p->text = text;
	p->media = (struct canon_media){.citations = -1};
	p->raw = (struct span){NULL, 0};
	canon_source_init(&p->src, DIALECT_NONE);
}

/* ---- documents ---- */

static int
document_as_text(struct shaping *s, struct canon_part *p)
{
	const struct canon_media *m = &p->media;
	struct span title = m->title.n > 0 ? m->title : m->filename;
	size_t room = MIN(title.n, 256) + m->data.n + 64;
	char *out = arena_alloc(s->a, room);
	int n;

	if (out == NULL)
		return E_NOMEM;
	if (title.n == 0)
		n = snprintf(out, room, "<document>\n");
	else
		n = snprintf(
		    out, room, "<document title=\"%.*s\">\n", (int)MIN(title.n, 256), title.p);
	for (char *c = out + 17; title.n > 0 && c < out + n - 3; c++)
		if (*c == '"' || *c == '\n') /* the title stays one attribute */
			*c = '\'';
	memcpy(out + n, m->data.p, m->data.n);
	n = snprintf(out + n + m->data.n, room - (size_t)n - m->data.n, "\n</document>") + n;
	become_text(p, (struct span){out, (size_t)n + m->data.n});
	return 0;
}

/* Types of documents that Converse has a word for, besides text. */
static const char *const converse_types[] = {"application/pdf", "text/csv", "text/html",
    "text/plain", "text/markdown", "application/msword", "application/vnd.ms-excel",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"};

static bool
takes_document(const struct shaping *s, struct span type)
{
	if (s->p->dialect == DIALECT_CONVERSE) {
		for (size_t i = 0; i < NELEM(converse_types); i++)
			if (span_is(type, converse_types[i]))
				return true;
		return false;
	}
	/* OpenAI reads office formats, too; whoever does not says so */
	if (s->p->dialect == DIALECT_CHAT || s->p->dialect == DIALECT_RESPONSES)
		return s->p->pdf;
	return s->p->pdf && span_is(type, "application/pdf");
}

/* Also tells images that were sent as files, and the other way round. */
static int
settle_document(struct shaping *s, struct canon_part *p)
{
	struct canon_media *m = &p->media;
	bool inline_text = m->source == MEDIA_BASE64 && shape_blob_is_text(m->type) &&
			   !(s->p->dialect == DIALECT_CONVERSE && takes_document(s, m->type));
	int r;

	if (begins(m->type, "image/") && p->kind == PART_FILE)
		p->kind = PART_IMAGE;
	if (span_is(m->type, "application/pdf"))
		p->kind = PART_FILE;
	if (p->kind != PART_FILE)
		return 0;
	if (inline_text) {
		if ((m->data = shape_blob_text(s->a, m->data)).p == NULL)
			return E_NOMEM;
		m->source = MEDIA_TEXT;
	}
	if (m->source == MEDIA_TEXT && (r = shape_remove_nul(s, &m->data)) != 0)
		return r;
	if (m->source == MEDIA_TEXT) {
		m->type = span_of("text/plain");
		return s->p->dialect == DIALECT_MESSAGES ? 0 : document_as_text(s, p);
	}
	if (m->filename.p == NULL && span_is(m->type, "application/pdf") &&
	    (s->p->dialect == DIALECT_CHAT || s->p->dialect == DIALECT_RESPONSES))
		m->filename = span_of("document.pdf");
	return 0;
}

/* ---- what the target takes ---- */

static bool
takes(const struct shaping *s, const struct canon_part *p)
{
	switch (p->kind) {
	case PART_IMAGE:
		return !s->p->no_image;
	case PART_AUDIO:
		return s->p->audio;
	case PART_VIDEO:
		return s->p->dialect == DIALECT_GEMINI;
	case PART_FILE:
		return p->media.source == MEDIA_TEXT || takes_document(s, p->media.type) ||
		       (p->media.source == MEDIA_URL && s->p->pdf);
	default:
		return true;
	}
}

/* What the end of a URL's path tells. */
static const struct {
	const char *end;
	enum canon_part_kind kind;
	bool text;
} ends[] = {
    {".png", PART_IMAGE, false},
    {".jpg", PART_IMAGE, false},
    {".jpeg", PART_IMAGE, false},
    {".gif", PART_IMAGE, false},
    {".webp", PART_IMAGE, false},
    {".mp3", PART_AUDIO, false},
    {".wav", PART_AUDIO, false},
    {".mp4", PART_VIDEO, false},
    {".webm", PART_VIDEO, false},
    {".txt", PART_FILE, true},
    {".md", PART_FILE, true},
    {".csv", PART_FILE, true},
    {".json", PART_FILE, true},
    {".html", PART_FILE, true},
};

/* A file by URL may be of another kind; true: it is text, which goes as text. */
static bool
look_at_url(struct canon_part *p)
{
	struct span path = p->media.data;

	if (p->kind != PART_FILE || p->media.source != MEDIA_URL)
		return false;
	for (size_t i = 0; i < path.n; i++)
		if (path.p[i] == '?' || path.p[i] == '#')
			path.n = i;
	for (size_t i = 0; i < NELEM(ends); i++) {
		size_t n = strlen(ends[i].end);

		if (path.n <= n || strncasecmp(path.p + path.n - n, ends[i].end, n) != 0)
			continue;
		p->kind = ends[i].kind;
		return ends[i].text;
	}
	return false;
}

/* Gemini reads its own store, Google's buckets and YouTube by itself. */
static bool
is_google_url(struct span url)
{
	return begins(url, "gs://") || begins(url, "https://generativelanguage.googleapis.com/") ||
	       begins(url, "https://www.youtube.com/") || begins(url, "https://youtu.be/");
}

static bool
takes_url(const struct shaping *s, const struct canon_part *p)
{
	struct span url = p->media.data;

	switch (s->p->dialect) {
	case DIALECT_GEMINI:
		return is_google_url(url) || (p->kind == PART_IMAGE && s->p->image_url);
	case DIALECT_MESSAGES:
		return s->p->image_url && begins(url, "https://");
	case DIALECT_RESPONSES:
		return s->p->image_url;
	default:
		return p->kind == PART_IMAGE && s->p->image_url;
	}
}

static int
add_fetch(struct shaping *s, struct canon_part *p)
{
	struct shaped_media *m, **end = &s->out->fetch;

	if (!begins(p->media.data, "http://") && !begins(p->media.data, "https://"))
		return canon_fail(s->a, s->err, ERROR_BAD_REQUEST, shape_path(s, p),
		    "The %s has a URL that this model cannot read; give an http(s) or a data URL.",
		    word_of(p));
	if ((m = arena_zalloc(s->a, 1, sizeof *m)) == NULL)
		return E_NOMEM;
	m->part = p;
	m->param = span_of(shape_path(s, p));
	if (s->fetch_end != NULL)
		end = s->fetch_end;
	*end = m;
	s->fetch_end = &m->next;
	return 0;
}

/* The last thing that was asked cannot be answered without what it is about; older ones can be
 * talked about. */
static int
refuse(struct shaping *s, struct canon_part *p, bool now)
{
	const char *note;

	if (now)
		return canon_fail(s->a, s->err, ERROR_UNSUPPORTED, shape_path(s, p),
		    "This model does not take %s input%s.", word_of(p),
		    p->kind == PART_FILE ? " of this type" : "");
	if ((note = arena_printf(s->a, "[%s omitted]", word_of(p))) == NULL)
		return E_NOMEM;
	become_text(p, span_of(note));
	return 0;
}

static int
settle(struct shaping *s, struct canon_part *p, bool now)
{
	struct canon_media *m = &p->media;
	bool text = look_at_url(p);
	int r;

	if (m->source == MEDIA_FILE_ID)
		return canon_fail(s->a, s->err, ERROR_UNSUPPORTED, shape_path(s, p),
		    "A file that is given by its id belongs to one provider; send the %s itself.",
		    word_of(p));
	if ((r = shape_blob_settle(s->a, m)) == E_SYNTAX)
		return canon_fail(s->a, s->err, ERROR_BAD_REQUEST, shape_path(s, p),
		    "The %s is neither valid base64 nor a valid data URL.", word_of(p));
	if (r == E_TOO_LONG)
		return canon_fail(s->a, s->err, ERROR_TOO_LARGE, shape_path(s, p),
		    "The %s is too large.", word_of(p));
	if (r != 0 || (r = settle_document(s, p)) != 0)
		return r;
	if (p->kind == PART_TEXT)
		return 0;
	if (!takes(s, p) && !text)
		return refuse(s, p, now);
	if (m->source != MEDIA_URL ||
	    (takes_url(s, p) && !(text && s->p->dialect == DIALECT_MESSAGES)))
		return 0;
	return add_fetch(s, p);
}

/* The client's own dialect: only what the provider cannot read at all. */
static int
settle_same(struct shaping *s, struct canon_part *p, bool now)
{
	if (p->kind != PART_IMAGE)
		return 0;
	if (s->p->no_image)
		return refuse(s, p, now);
	if (p->media.source != MEDIA_URL || s->p->image_url || begins(p->media.data, "data:"))
		return 0;
	return add_fetch(s, p);
}

static int
settle_all(struct shaping *s, struct canon_parts *parts, bool now)
{
	struct canon_part *p;
	int r = 0;

	TAILQ_FOREACH (p, parts, link) {
		if (is_media(p) && p->raw.p != NULL && p->media.data.p == NULL && !s->same)
			become_text(
			    p, span_of("[omitted]")); /* of a form that only its dialect knows */
		else if (is_media(p))
			r = s->same ? settle_same(s, p, now) : settle(s, p, now);
		else if (p->kind == PART_TOOL_RESULT)
			r = settle_all(s, &p->content, now);
		if (r != 0)
			return r;
	}
	return 0;
}

/* ---- media that move ---- */

static bool
result_holds(const struct shaping *s, const struct canon_part *p)
{
	if (p->kind == PART_FILE && p->media.source == MEDIA_TEXT)
		return true;
	if (shape_is_new_gemini(s))
		return p->kind == PART_IMAGE || p->kind == PART_FILE;
	return s->p->image_in_result;
}

static int
move_from_result(struct shaping *s, struct canon_part *result, struct canon_turn *to)
{
	struct canon_part *p, *next, *note, *head;
	const char *said, *title;

	EACH_SAFE(p, &result->content, next)
	{
		if (!is_media(p) || result_holds(s, p))
			continue;
		TAILQ_REMOVE(&result->content, p, link);
		if (s->p->dialect == DIALECT_COHERE) {
			shape_note(s, DROP_IMAGES);
			continue;
		}
		said = arena_printf(s->a, "(%s follows)", word_of(p));
		title = arena_printf(s->a,
		    "%s returned by %.*s (%.*s):", p->kind == PART_IMAGE ? "Image" : "File",
		    (int)MIN(result->name.n, 128), result->name.n > 0 ? result->name.p : "",
		    (int)MIN(result->id.n, 128), result->id.n > 0 ? result->id.p : "");
		if (said == NULL || title == NULL ||
		    (note = shape_text_part(s, span_of(said))) == NULL ||
		    (head = shape_text_part(s, span_of(title))) == NULL)
			return E_NOMEM;
		if (next != NULL)
			TAILQ_INSERT_BEFORE(next, note, link);
		else
			TAILQ_INSERT_TAIL(&result->content, note, link);
		TAILQ_INSERT_TAIL(&to->parts, head, link);
		TAILQ_INSERT_TAIL(&to->parts, p, link);
	}
	return 0;
}

/* What the assistant drew is shown to it as if the user had. */
static void
move_from_assistant(struct shaping *s, struct canon_turn *t, struct canon_turn *to)
{
	struct canon_part *p, *next;

	EACH_SAFE(p, &t->parts, next)
	if (is_media(p) && s->p->dialect != DIALECT_GEMINI) {
		TAILQ_REMOVE(&t->parts, p, link);
		TAILQ_INSERT_TAIL(&to->parts, p, link);
	}
}

/* What it spoke is what it said. */
static void
speak(struct shaping *s, struct canon_turn *t)
{
	struct canon_part *p;

	TAILQ_FOREACH (p, &t->parts, link)
		if (p->kind == PART_AUDIO && p->text.n > 0 && s->p->dialect != DIALECT_GEMINI)
			become_text(p, p->text);
}

/* Where a new user turn goes: behind the results of the round. */
static struct canon_turn *
end_of_round(struct canon_turn *t)
{
	struct canon_turn *next = TAILQ_NEXT(t, link);

	return next != NULL && next->role == ROLE_TOOL ? next : t;
}

static int
move_all(struct shaping *s)
{
	struct canon_turn *t, *next, *user;
	struct canon_part *p;
	int r;

	EACH_SAFE(t, &s->q->turns, next)
	{
		if (t->role != ROLE_TOOL && t->role != ROLE_ASSISTANT)
			continue;
		if ((user = canon_turn_new(s->a, ROLE_USER)) == NULL)
			return E_NOMEM;
		if (t->role == ROLE_ASSISTANT)
			move_from_assistant(s, t, user);
		else
			TAILQ_FOREACH (p, &t->parts, link)
				if ((r = move_from_result(s, p, user)) != 0)
					return r;
		if (!TAILQ_EMPTY(&user->parts))
			TAILQ_INSERT_AFTER(&s->q->turns, end_of_round(t), user, link);
	}
	return 0;
}

/* A document at Converse stands beside a text. */
static int
text_beside(struct shaping *s)
{
	struct canon_turn *t;
	struct canon_part *p;

	TAILQ_FOREACH (t, &s->q->turns, link) {
		bool file = false, text = false;

		TAILQ_FOREACH (p, &t->parts, link) {
			file = file || p->kind == PART_FILE;
			text = text || p->kind == PART_TEXT;
		}
		if (!file || text)
			continue;
		if ((p = shape_text_part(s, span_of("."))) == NULL)
			return E_NOMEM;
		TAILQ_INSERT_TAIL(&t->parts, p, link);
	}
	return 0;
}

int
shape_media(struct shaping *s)
{
	struct canon_turn *last = shape_last_user(s), *t;
	bool now = last == NULL;
	int r;

	if (!s->same)
		TAILQ_FOREACH (t, &s->q->turns, link)
			if (t->role == ROLE_ASSISTANT)
				speak(s, t);
	TAILQ_FOREACH (t, &s->q->turns, link) {
		now = now || t == last;
		if ((r = settle_all(s, &t->parts, now && t->role != ROLE_ASSISTANT)) != 0)
			return r;
	}
	if (s->same)
		return 0;
	if ((r = move_all(s)) != 0)
		return r;
	return s->p->dialect == DIALECT_CONVERSE ? text_beside(s) : 0;
}

int
shape_media_fetched(struct arena *a, const struct profile *p, struct shaped_media *m,
    struct span base64, struct span type, struct canon_error *err)
{
	struct shaping s = {.a = a, .p = p, .err = err};
	struct canon_part *part = m->part;
	int r;

	part->media.source = MEDIA_BASE64;
	part->media.data = base64;
	part->media.type = type;
	if ((r = shape_blob_settle(a, &part->media)) == 0)
		r = settle_document(&s, part);
	if (r == E_NOMEM || (r == 0 && (part->kind == PART_TEXT || takes(&s, part))))
		return r;
	return canon_fail(a, err, ERROR_BAD_REQUEST, m->param.p,
	    "What the URL of the %s leads to is nothing that this model takes.", word_of(part));
}
