/*
 * Conversations as text, for the tests of shaping: read into a canonical request, and a shaped one
 * printed the same way.
 *
 * One turn a line: its role (s d u a t), then parts with ";;" between them. A star before a part:
 * it has a cache mark.
 *
 *   =text            !id,name,args     call         &id,name,text   free-form call     ?text
 * refusal
 *   @id,name,text    result (@* with an error; media in it behind a '+')
 *   ~sig/text        reasoning; sig begins with its maker (A G O R) and may be "-"     >sig/text
 * text with a signature #url             image by URL      %type,base64  image          $id image
 * by id ^type,base64     file              "text         text document  <text     audio of the
 * assistant, with its transcript |base64          audio
 *
 * "\n" is a line feed. An absent id is printed as "-".
 */
#ifndef OMNIROUTE_T_UNIT_PROTO_SHAPE_FIXTURE_H
#define OMNIROUTE_T_UNIT_PROTO_SHAPE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "proto/shape.h"
#include "shared/err.h"

#define FIXTURE_MAX (64u << 20)

struct fixture {
	struct arena *a;
	struct canon_request *q;
	struct profile p;
	const char *model;
	struct shaped out;
	struct canon_error err;
};

static inline struct span
fixture_text(struct arena *a, const char *p, size_t n)
{
	char *out = arena_alloc(a, n + 1), *at = out;

	assert_non_null(out);
	for (size_t i = 0; i < n; i++)
		if (p[i] == '\\' && i + 1 < n && p[i + 1] == 'n') {
			*at++ = '\n';
			i++;
		} else {
			*at++ = p[i];
		}
	return (struct span){out, (size_t)(at - out)};
}

/* The next field up to `end`, which is taken, too. */
static inline struct span
fixture_field(struct arena *a, struct span *s, char end)
{
	const char *stop = s->n > 0 ? memchr(s->p, end, s->n) : NULL;
	size_t n = stop != NULL ? (size_t)(stop - s->p) : s->n;
	struct span f = fixture_text(a, s->p, n);

	s->p += n + (stop != NULL);
	s->n -= n + (stop != NULL);
	return n == 1 && f.p[0] == '-' ? (struct span){NULL, 0} : f;
}

static inline void
fixture_sign(struct span sig, struct canon_signature *out)
{
	static const char makers[] = {[ORIGIN_ANTHROPIC] = 'A',
	    [ORIGIN_GOOGLE] = 'G',
	    [ORIGIN_OPENAI] = 'O',
	    [ORIGIN_OPENROUTER] = 'R'};

	if (sig.p == NULL)
		return;
	out->data = sig;
	for (unsigned i = 1; i < NELEM(makers); i++)
		if (makers[i] == sig.p[0])
			out->origin = (enum canon_origin)i;
}

static inline struct canon_part *
fixture_part(struct arena *a, struct span s)
{
	static const struct {
		char sign;
		enum canon_part_kind kind;
		enum canon_media_source source;
	} kinds[] = {{'=', PART_TEXT, 0}, {'!', PART_TOOL_CALL, 0}, {'&', PART_TOOL_CALL, 0},
	    {'?', PART_REFUSAL, 0}, {'@', PART_TOOL_RESULT, 0}, {'~', PART_REASONING, 0},
	    {'>', PART_TEXT, 0}, {'#', PART_IMAGE, MEDIA_URL}, {'%', PART_IMAGE, MEDIA_BASE64},
	    {'$', PART_IMAGE, MEDIA_FILE_ID}, {'^', PART_FILE, MEDIA_BASE64},
	    {'"', PART_FILE, MEDIA_TEXT}, {'<', PART_AUDIO, MEDIA_FILE_ID},
	    {'|', PART_AUDIO, MEDIA_BASE64}};
	struct canon_part *p = canon_part_new(a, PART_OPAQUE), *c;
	size_t i = 0;

	assert_non_null(p);
	if (s.p[0] == '*') {
		p->cache.set = true;
		s.p++, s.n--;
	}
	while (i < NELEM(kinds) - 1 && kinds[i].sign != s.p[0])
		i++;
	assert_int_equal(kinds[i].sign, s.p[0]);
	p->kind = kinds[i].kind;
	p->media.source = kinds[i].source;
	s.p++, s.n--;
	switch (kinds[i].sign) {
	case '!':
	case '&':
		p->custom = kinds[i].sign == '&';
		p->id = fixture_field(a, &s, ',');
		p->name = fixture_field(a, &s, ',');
		p->args = fixture_text(a, s.p, s.n);
		break;
	case '@':
		if (s.n > 0 && s.p[0] == '*') {
			p->is_error = true;
			s.p++, s.n--;
		}
		p->id = fixture_field(a, &s, ',');
		p->name = fixture_field(a, &s, ',');
		while (s.n > 0) {
			struct span f = fixture_field(a, &s, '+');
			bool media = f.n > 0 && strchr("#%^$\"", f.p[0]) != NULL;

			c = media ? fixture_part(a, f) : canon_part_new(a, PART_TEXT);
			if (!media)
				c->text = f;
			TAILQ_INSERT_TAIL(&p->content, c, link);
		}
		break;
	case '~':
	case '>':
		fixture_sign(fixture_field(a, &s, '/'), &p->sign);
		p->text = fixture_text(a, s.p, s.n);
		break;
	case '%':
	case '^':
		p->media.type = fixture_field(a, &s, ',');
		p->media.data = fixture_text(a, s.p, s.n);
		break;
	case '#':
	case '$':
	case '"':
	case '|':
		p->media.data = fixture_text(a, s.p, s.n);
		break;
	default:
		p->text = fixture_text(a, s.p, s.n);
	}
	return p;
}

static inline void
fixture_say(struct fixture *f, const char *text)
{
	static const char roles[] = {[ROLE_SYSTEM] = 's',
	    [ROLE_DEVELOPER] = 'd',
	    [ROLE_USER] = 'u',
	    [ROLE_ASSISTANT] = 'a',
	    [ROLE_TOOL] = 't'};

	while (*text != '\0') {
		const char *end = strchr(text, '\n');
		size_t n = end != NULL ? (size_t)(end - text) : strlen(text);
		struct span line = {text + 1, n - 1};
		struct canon_turn *t;
		const char *role = memchr(roles, text[0], sizeof roles), *gap;

		assert_non_null(role);
		t = canon_turn_new(f->a, (enum canon_role)(role - roles));
		t->src.from = f->q->from;
		while (line.n > 0) {
			struct span one = line;
			struct canon_part *p;

			if ((gap = memmem(line.p, line.n, ";;", 2)) != NULL)
				one.n = (size_t)(gap - line.p);
			p = fixture_part(f->a, one);
			p->src.from = f->q->from;
			TAILQ_INSERT_TAIL(&t->parts, p, link);
			line.p += one.n + (gap != NULL ? 2 : 0);
			line.n -= one.n + (gap != NULL ? 2 : 0);
		}
		TAILQ_INSERT_TAIL(&f->q->turns, t, link);
		text += n + (end != NULL);
	}
}

static inline void
fixture_open(struct fixture *f, enum dialect_id from, enum dialect_id to, const char *model)
{
	*f = (struct fixture){.model = model};
	f->a = arena_new(FIXTURE_MAX);
	assert_non_null(f->a);
	f->q = canon_request_new(f->a, from);
	assert_non_null(f->q);
	profile_init(&f->p, to);
}

static inline void
fixture_close(struct fixture *f)
{
	arena_free(f->a);
}

static inline struct canon_tool *
fixture_tool(struct fixture *f, const char *name)
{
	struct canon_tool *t = canon_tool_new(f->a, TOOL_FUNCTION);

	assert_non_null(t);
	t->name = span_of(name);
	t->schema = span_of("{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"string\"}}}");
	TAILQ_INSERT_TAIL(&f->q->tools, t, link);
	return t;
}

static inline int
fixture_shape(struct fixture *f)
{
	return shape_request(f->a, f->q, &f->p, span_of(f->model), &f->out, &f->err);
}

/* ---- printing ---- */

static inline void
fixture_put(struct buf *b, struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '\n')
			buf_str(b, "\\n");
		else
			buf_add(b, s.p + i, 1);
	if (s.p == NULL)
		buf_str(b, "-");
}

static inline void
fixture_put_part(struct buf *b, const struct canon_part *p)
{
	const struct canon_part *c;
	bool first = true;

	if (p->cache.set)
		buf_str(b, "*");
	switch (p->kind) {
	case PART_TEXT:
		if (p->sign.data.p != NULL) {
			buf_str(b, ">");
			fixture_put(b, p->sign.data);
			buf_str(b, "/");
		} else {
			buf_str(b, "=");
		}
		fixture_put(b, p->text);
		break;
	case PART_REFUSAL:
		buf_str(b, "?");
		fixture_put(b, p->text);
		break;
	case PART_REASONING:
		buf_str(b, "~");
		fixture_put(b, p->sign.data);
		buf_str(b, "/");
		fixture_put(b, p->text);
		break;
	case PART_TOOL_CALL:
		buf_str(b, p->custom ? "&" : "!");
		fixture_put(b, p->id);
		buf_str(b, ",");
		fixture_put(b, p->name);
		buf_str(b, ",");
		fixture_put(b, p->args);
		if (p->sign.data.p != NULL) {
			buf_str(b, ">");
			fixture_put(b, p->sign.data);
		}
		break;
	case PART_TOOL_RESULT:
		buf_str(b, p->is_error ? "@*" : "@");
		fixture_put(b, p->id);
		buf_str(b, ",");
		fixture_put(b, p->name);
		buf_str(b, ",");
		TAILQ_FOREACH (c, &p->content, link) {
			if (!first)
				buf_str(b, "+");
			first = false;
			if (c->kind == PART_TEXT)
				fixture_put(b, c->text);
			else
				fixture_put_part(b, c);
		}
		break;
	default:
		if (p->media.source == MEDIA_TEXT) {
			buf_str(b, "\"");
		} else if (p->media.source == MEDIA_BASE64) {
			buf_str(b, p->kind == PART_IMAGE ? "%" : p->kind == PART_AUDIO ? "|" : "^");
			fixture_put(b, p->media.type);
			buf_str(b, ",");
		} else {
			buf_str(b, p->media.source == MEDIA_URL ? "#" : "$");
		}
		fixture_put(b, p->media.data);
	}
}

static inline const char *
fixture_print(struct fixture *f, const struct canon_request *q)
{
	static const char roles[] = {[ROLE_SYSTEM] = 's',
	    [ROLE_DEVELOPER] = 'd',
	    [ROLE_USER] = 'u',
	    [ROLE_ASSISTANT] = 'a',
	    [ROLE_TOOL] = 't'};
	struct buf b = BUF_INIT(FIXTURE_MAX);
	const struct canon_turn *t;
	const struct canon_part *p;
	char *out;

	TAILQ_FOREACH (t, &q->turns, link) {
		if (b.len > 0)
			buf_str(&b, "\n");
		buf_add(&b, &roles[t->role], 1);
		TAILQ_FOREACH (p, &t->parts, link) {
			if (p != TAILQ_FIRST(&t->parts))
				buf_str(&b, ";;");
			fixture_put_part(&b, p);
		}
	}
	assert_true(buf_ok(&b));
	out = arena_strndup(f->a, b.data != NULL ? b.data : "", b.len);
	assert_non_null(out);
	buf_clear(&b);
	return out;
}

static inline const char *
fixture_cstr(struct fixture *f, struct span s)
{
	return s.p == NULL ? "-" : arena_strndup(f->a, s.p, s.n);
}

/* Shapes `in` for a target and compares the turns. */
static inline void
fixture_expect(struct fixture *f, const char *in, const char *out)
{
	fixture_say(f, in);
	if (fixture_shape(f) != 0)
		fail_msg("refused: %s", fixture_cstr(f, f->err.message));
	assert_string_equal(fixture_print(f, f->out.q), out);
}

#endif
