/* Events of a stream, written down and made: shared by the tests of what stands between decoder and
 * encoder. */
#ifndef OMNIROUTE_T_UNIT_PROTO_EVENTS_H
#define OMNIROUTE_T_UNIT_PROTO_EVENTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/canon.h"
#include "shared/buf.h"
#include "shared/err.h"

/* One line for each event; deltas of one part in a row are one, so that their cuts do not show. */
struct notes {
	struct buf b;
	bool in_delta;
	uint32_t part;
};

static const char *const part_words[] = {"text", "image", "audio", "video", "file", "call",
    "result", "reasoning", "refusal", "server_call", "server_result", "opaque"};
static const char *const finish_words[] = {"none", "stop", "length", "tool_calls", "stop_sequence",
    "content_filter", "refusal", "pause", "context_window", "malformed", "error", "unknown"};

static inline void
notes_span(struct notes *n, const char *name, struct span s)
{
	if (s.p != NULL)
		buf_addf(&n->b, " %s=%.*s", name, (int)s.n, s.p);
}

static inline void
notes_open(struct notes *n, const struct canon_event *ev)
{
	buf_addf(&n->b, "open %u.%u %s", ev->choice, ev->part, part_words[ev->meta->kind]);
	notes_span(n, "name", ev->meta->name);
	notes_span(n, "ns", ev->meta->namespace);
	notes_span(n, "id", ev->meta->id);
	if (ev->meta->custom)
		buf_str(&n->b, " custom");
}

static inline void
notes_usage(struct notes *n, const struct canon_usage *u)
{
	buf_addf(&n->b, "usage in=%d:%lu out=%d:%lu%s", u->has_in, (unsigned long)u->in_total,
	    u->has_out, (unsigned long)u->out_total, u->estimated ? " estimated" : "");
}

static inline int
notes_take(void *ctx, const struct canon_event *ev)
{
	struct notes *n = ctx;

	if (ev->type == EVENT_DELTA && n->in_delta && n->part == ev->part) {
		n->b.len--; /* the line goes on */
		buf_add(&n->b, ev->text.p, ev->text.n);
		return buf_str(&n->b, "\n");
	}
	n->in_delta = ev->type == EVENT_DELTA;
	n->part = ev->part;
	switch (ev->type) {
	case EVENT_BEGIN:
		buf_str(&n->b, "begin");
		notes_span(n, "id", ev->id);
		break;
	case EVENT_OPEN:
		notes_open(n, ev);
		break;
	case EVENT_DELTA:
		buf_addf(&n->b, "delta %u.%u ", ev->choice, ev->part);
		if (ev->text.n > 0)
			buf_add(&n->b, ev->text.p, ev->text.n);
		break;
	case EVENT_SIGN:
		buf_addf(&n->b, "sign %u.%u %.*s", ev->choice, ev->part, (int)ev->sign->data.n,
		    ev->sign->data.n > 0 ? ev->sign->data.p : "");
		break;
	case EVENT_CITE:
		buf_addf(&n->b, "cite %u.%u", ev->choice, ev->part);
		notes_span(n, "url", ev->annotation->url);
		break;
	case EVENT_CLOSE:
		buf_addf(&n->b, "close %u.%u", ev->choice, ev->part);
		break;
	case EVENT_LOGPROBS:
		buf_addf(&n->b, "logprobs %u", ev->choice);
		break;
	case EVENT_USAGE:
		notes_usage(n, ev->usage);
		break;
	case EVENT_FINISH:
		buf_addf(&n->b, "finish %u %s", ev->choice, finish_words[ev->finish->reason]);
		notes_span(n, "stop", ev->finish->stop_sequence);
		break;
	case EVENT_FAIL:
		buf_addf(&n->b, "fail %d", ev->error->status);
		notes_span(n, "code", ev->error->code);
		break;
	case EVENT_IDLE:
		buf_str(&n->b, "idle");
		break;
	case EVENT_END:
		buf_str(&n->b, "end");
		break;
	}
	return buf_str(&n->b, "\n");
}

/* ---- a stream from a script ---- */

/*
 * One command a line:  begin · text N · reasoning N · call N ID NAME · custom N ID NAME · + N DATA
 * · sign N DATA · cite N URL · close N · usage IN OUT · finish WORD · fail · end.  `\n` in DATA is
 * a line end. Choice c is written N@c.
 */
struct script {
	struct arena *arena;
	const struct canon_sink *sink;
	size_t piece; /* bytes of one delta; 0: all */
	enum canon_origin origin;
};

static inline struct span
script_word(struct script *s, const char **p, bool rest)
{
	struct buf b = BUF_INIT(1 << 20);
	struct span out;

	while (!rest && **p == ' ')
		++*p;
	while (**p != '\0' && **p != '\n' && (rest || **p != ' ')) {
		if ((*p)[0] == '\\' && (*p)[1] == 'n') {
			buf_str(&b, "\n");
			*p += 2;
		} else {
			buf_add(&b, (*p)++, 1);
		}
	}
	out = (struct span){arena_strndup(s->arena, b.len > 0 ? b.data : "", b.len), b.len};
	buf_clear(&b);
	return out;
}

static inline void
script_number(struct script *s, const char **p, struct canon_event *ev)
{
	struct span w = script_word(s, p, false);
	const char *at = strchr(w.p, '@');

	ev->part = (uint32_t)atoi(w.p);
	ev->choice = at != NULL ? (uint32_t)atoi(at + 1) : 0;
}

static inline int
script_delta(struct script *s, struct canon_event *ev, struct span text)
{
	int r = 0;

	ev->type = EVENT_DELTA;
	while (r == 0 && text.n > 0) {
		size_t n = s->piece == 0 ? text.n : MIN(s->piece, text.n);

		while (n < text.n && ((unsigned char)text.p[n] & 0xc0) == 0x80)
			n++;
		ev->text = (struct span){text.p, n};
		text.p += n;
		text.n -= n;
		r = s->sink->take(s->sink->ctx, ev);
	}
	return r;
}

static inline int
script_open(struct script *s, const char **p, struct canon_event *ev, enum canon_part_kind kind,
    bool custom)
{
	struct canon_part *meta = canon_part_new(s->arena, kind);

	ev->type = EVENT_OPEN;
	ev->meta = meta;
	script_number(s, p, ev);
	if (kind == PART_TOOL_CALL) {
		meta->id = script_word(s, p, false);
		if (span_is(meta->id, "-"))
			meta->id = (struct span){NULL, 0};
		meta->name = script_word(s, p, false);
		meta->custom = custom;
	}
	return s->sink->take(s->sink->ctx, ev);
}

static inline int
script_line(struct script *s, const char *p)
{
	struct canon_event ev = {.type = EVENT_BEGIN};
	struct canon_usage usage = {.has_in = true, .has_out = true};
	struct canon_finish finish = {.reason = FINISH_NONE};
	struct canon_error error = {
	    .class = ERROR_OVERLOADED, .status = 503, .message = span_of("busy")};
	struct canon_signature sign = {.origin = s->origin};
	struct canon_annotation *n;
	struct span word = script_word(s, &p, false);

	if (span_is(word, "begin")) {
		ev.id = span_of("id1");
		ev.model = span_of("model-1");
	} else if (span_is(word, "text")) {
		return script_open(s, &p, &ev, PART_TEXT, false);
	} else if (span_is(word, "reasoning")) {
		return script_open(s, &p, &ev, PART_REASONING, false);
	} else if (span_is(word, "call")) {
		return script_open(s, &p, &ev, PART_TOOL_CALL, false);
	} else if (span_is(word, "custom")) {
		return script_open(s, &p, &ev, PART_TOOL_CALL, true);
	} else if (span_is(word, "+")) {
		script_number(s, &p, &ev);
		p++;
		return script_delta(s, &ev, script_word(s, &p, true));
	} else if (span_is(word, "sign")) {
		ev.type = EVENT_SIGN;
		script_number(s, &p, &ev);
		sign.data = script_word(s, &p, false);
		ev.sign = &sign;
	} else if (span_is(word, "cite")) {
		ev.type = EVENT_CITE;
		script_number(s, &p, &ev);
		n = canon_annotation_new(s->arena);
		n->url = script_word(s, &p, false);
		ev.annotation = n;
	} else if (span_is(word, "close")) {
		ev.type = EVENT_CLOSE;
		script_number(s, &p, &ev);
	} else if (span_is(word, "usage")) {
		ev.type = EVENT_USAGE;
		usage.in_total = (uint64_t)atoi(script_word(s, &p, false).p);
		usage.out_total = (uint64_t)atoi(script_word(s, &p, false).p);
		ev.usage = &usage;
	} else if (span_is(word, "finish")) {
		ev.type = EVENT_FINISH;
		word = script_word(s, &p, false);
		while (!span_is(word, finish_words[finish.reason]))
			finish.reason++;
		if (*p == ' ')
			ev.choice = (uint32_t)atoi(script_word(s, &p, false).p);
		ev.finish = &finish;
	} else if (span_is(word, "logprobs")) {
		ev.type = EVENT_LOGPROBS;
		ev.text = script_word(s, &p, true);
	} else if (span_is(word, "fail")) {
		ev.type = EVENT_FAIL;
		ev.error = &error;
	} else {
		assert_true(span_is(word, "end"));
		ev.type = EVENT_END;
	}
	return s->sink->take(s->sink->ctx, &ev);
}

static inline int
script_run(struct script *s, const char *text)
{
	int r = 0;

	while (r == 0 && *text != '\0') {
		const char *end = strchr(text, '\n');

		if (end == NULL)
			end = text + strlen(text);
		r = script_line(s, arena_strndup(s->arena, text, (size_t)(end - text)));
		text = *end == '\n' ? end + 1 : end;
	}
	return r;
}

#endif
