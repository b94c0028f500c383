/*
 * What the tests of known traps have in common: one exchange between a client and an upstream, and
 * the answer as the client's SDK reads it. Texts are written with ' for ".
 *
 * trap_ask     a request is decoded, shaped for a target and encoded: x->body, or x->err with x->r
 * = E_DENIED. trap_at      what stands at a path of a JSON value ("messages[0].content[-1].text";
 * -1: the last), compact; NULL: nothing. trap_stream  frames of an upstream, one a line, through
 * translate, in several pieces: x->out is the client's stream. trap_whole   the same for a whole
 * answer. trap_told    (proto_traps_told.h) x->out as the client's SDK reads it, a line for each
 * part: text, reasoning, call ID NAME ARGUMENTS, finish WORD, error MESSAGE. Fails where an SDK
 * would throw.
 */
#ifndef OMNIROUTE_T_UNIT_PROTO_TRAPS_H
#define OMNIROUTE_T_UNIT_PROTO_TRAPS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/json.h"
#include "proto/translate.h"
#include "shared/err.h"
#include "t/unit/proto_eventstream.h"
#include "t/unit/proto_traps_wire.h"

static const enum dialect_id trap_clients[] = {
    DIALECT_CHAT, DIALECT_RESPONSES, DIALECT_MESSAGES, DIALECT_GEMINI};
static const char *const trap_words[DIALECTS] = {[DIALECT_CHAT] = "chat",
    [DIALECT_RESPONSES] = "responses",
    [DIALECT_MESSAGES] = "messages",
    [DIALECT_GEMINI] = "gemini",
    [DIALECT_COHERE] = "cohere",
    [DIALECT_OLLAMA] = "ollama",
    [DIALECT_CONVERSE] = "converse"};

/* Where a request goes. */
struct trap_target {
	enum dialect_id dialect;
	const char *model;
	const char *profile; /* members over the defaults; NULL: none */
};

struct trap {
	struct arena *a;
	struct translate *t;
	enum dialect_id client;
	struct profile profile;
	int r;
	struct canon_error err;
	const struct json *body; /* what the upstream is sent */
	struct buf out;          /* what the client is sent */
};

static inline char *
trap_text(struct arena *a, const char *s)
{
	char *copy = arena_strndup(a, s, strlen(s));

	assert_non_null(copy);
	for (char *p = copy; *p != '\0'; p++)
		if (*p == '\'')
			*p = '"';
	return copy;
}

static inline const struct json *
trap_parse(struct arena *a, const char *p, size_t n)
{
	const struct json *j = NULL;

	if (json_parse(a, (struct span){p, n}, &j) != 0)
		fail_msg("no JSON: %.*s", (int)n, p);
	return j;
}

static inline const char *
trap_compact(struct arena *a, const struct json *j)
{
	struct buf b = BUF_INIT(64 << 20);
	const char *s;

	if (j == NULL)
		return NULL;
	assert_int_equal(json_compact(&b, j), 0);
	s = arena_strndup(a, b.data, b.len);
	buf_clear(&b);
	return s;
}

static inline const struct json *
trap_node(const struct json *j, const char *path)
{
	char name[128];

	while (*path != '\0' && j != NULL) {
		if (*path == '[') {
			long i = strtol(path + 1, (char **)&path, 10);
			assert_true(*path == ']' && j->type == 'a');
			path++;
			j = json_at(j, i < 0 ? (uint32_t)((long)j->count + i) : (uint32_t)i);
		} else {
			size_t n;
			path += *path == '.';
			n = strcspn(path, ".[");
			assert_true(n < sizeof name);
			memcpy(name, path, n);
			name[n] = '\0';
			j = json_get(j, name);
			path += n;
		}
	}
	return j;
}

static inline const char *
trap_at(struct trap *x, const struct json *j, const char *path)
{
	return trap_compact(x->a, trap_node(j, path));
}

/* want: JSON with ' for "; NULL: there is nothing. */
static inline void
trap_want(struct trap *x, const struct json *j, const char *path, const char *want)
{
	const struct json *got = trap_node(j, path), *wanted;

	if (want == NULL) {
		if (got != NULL)
			fail_msg("%s: wanted nothing, got %s", path, trap_compact(x->a, got));
		return;
	}
	want = trap_text(x->a, want);
	wanted = trap_parse(x->a, want, strlen(want));
	if (got == NULL || !json_same(got, wanted))
		fail_msg("%s: wanted %s\ngot %s\nin %s", path, want,
		    got != NULL ? trap_compact(x->a, got) : "nothing", trap_compact(x->a, j));
}

/* ---- one exchange ---- */

static inline void
trap_target(struct trap *x, const struct trap_target *to)
{
	struct buf body = BUF_INIT(64 << 20);
	const char *why = NULL;

	profile_init(&x->profile, to->dialect);
	if (to->profile != NULL &&
	    profile_parse(
		x->a, to->dialect, span_of(trap_text(x->a, to->profile)), &x->profile, &why) != 0)
		fail_msg("%s", why);
	x->body = NULL;
	x->r = translate_target(x->t, &x->profile, span_of(to->model), &x->err);
	if (x->r != 0)
		return;
	assert_int_equal(translate_body(x->t, &body), 0);
	x->body = trap_parse(x->a, arena_strndup(x->a, body.data, body.len), body.len);
	buf_clear(&body);
}

static inline void
trap_ask(struct trap *x, enum dialect_id client, const struct trap_target *to, const char *request)
{
	struct translate_setup setup = {.client = client,
	    .now_s = 1700000000,
	    .seed = "0123456789abcde",
	    .max_event = 1 << 20,
	    .max_response = 1 << 22};
	struct decode_request q = {0};

	*x = (struct trap){
	    .a = arena_new((size_t)256 << 20), .client = client, .out = BUF_INIT(1 << 22)};
	setup.arena = q.arena = x->a;
	q.body = span_of(trap_text(x->a, request));
	if (client == DIALECT_GEMINI) {
		q.model = span_of("any");
		q.stream = true;
	}
	x->t = translate_new(&setup);
	assert_non_null(x->t);
	x->r = translate_request(x->t, &q, &x->err);
	if (x->r == 0)
		trap_target(x, to);
}

static inline void
trap_free(struct trap *x)
{
	translate_free(x->t);
	buf_clear(&x->out);
	arena_free(x->a);
}

/* A request of the client that wants tools, reasoning, usage and a stream. */
static inline const char *
trap_request(enum dialect_id client)
{
	switch (client) {
	case DIALECT_CHAT:
		return "{'model':'m','messages':[{'role':'user','content':'Hi'}],'stream':true,"
		       "'stream_options':{'include_usage':true},'reasoning_effort':'low','tools':["
		       "{'type':'function','function':{'name':'f','parameters':{'type':'object',"
		       "'properties':{'x':{'type':'integer'}}}}},"
		       "{'type':'function','function':{'name':'g'}}]}";
	case DIALECT_RESPONSES:
		return "{'model':'m','input':'Hi','stream':true,'reasoning':{'effort':'low'},'"
		       "tools':["
		       "{'type':'function','name':'f','parameters':{'type':'object','properties':"
		       "{'x':{'type':'integer'}}}},{'type':'function','name':'g','parameters':null}"
		       "]}";
	case DIALECT_MESSAGES:
		return "{'model':'m','max_tokens':4096,'messages':[{'role':'user','content':'Hi'}],"
		       "'stream':true,'thinking':{'type':'enabled','budget_tokens':2048},'tools':["
		       "{'name':'f','input_schema':{'type':'object','properties':{'x':{'type':"
		       "'integer'}}}},{'name':'g','input_schema':{'type':'object'}}]}";
	default:
		return "{'contents':[{'role':'user','parts':[{'text':'Hi'}]}],'generationConfig':"
		       "{'thinkingConfig':{'includeThoughts':true}},'tools':[{'"
		       "functionDeclarations':["
		       "{'name':'f','parameters':{'type':'object','properties':{'x':{'type':"
		       "'integer'}}}},{'name':'g'}]}]}";
	}
}

static inline void
trap_open(struct trap *x, enum dialect_id client, enum dialect_id upstream)
{
	const struct trap_target to = {.dialect = upstream, .model = "model-x"};

	trap_ask(x, client, &to, trap_request(client));
	assert_int_equal(x->r, 0);
}

/* ---- answers ---- */

/* Frames, one a line, as the upstream frames them. */
static inline struct span
trap_frames(struct trap *x, const char *lines)
{
	struct buf b = BUF_INIT(1 << 22);
	struct span out;

	for (const char *p = trap_text(x->a, lines); *p != '\0';) {
		size_t n = strcspn(p, "\n");

		switch (x->profile.dialect) {
		case DIALECT_OLLAMA:
			buf_addf(&b, "%.*s\n", (int)n, p);
			break;
		case DIALECT_CONVERSE: { /* TYPE JSON */
			size_t word = strcspn(p, " ");
			put_event(&b, "event", ":event-type", (struct span){p, word},
			    (struct span){p + word + 1, n - word - 1});
			break;
		}
		default: /* a line that is no JSON or [DONE] stands for itself */
			if (*p == '{' || *p == '[')
				buf_addf(&b, "data: %.*s\n\n", (int)n, p);
			else
				buf_addf(&b, "%.*s\n", (int)n, p);
		}
		p += n + (p[n] == '\n');
	}
	out = (struct span){arena_strndup(x->a, b.len > 0 ? b.data : "", b.len), b.len};
	buf_clear(&b);
	return out;
}

static inline void
trap_bytes(struct trap *x, struct span bytes)
{
	static const size_t pieces[] = {0, 1, 7};
	char *first = NULL;
	int framing = (int)dialect_get(x->profile.dialect)->framing;

	for (size_t i = 0; i < NELEM(pieces); i++) {
		buf_reset(&x->out);
		assert_int_equal(translate_open(x->t, framing), 0);
		for (size_t at = 0, n; at < bytes.n; at += n) {
			n = pieces[i] == 0 ? bytes.n : MIN(pieces[i], bytes.n - at);
			assert_int_equal(translate_take(x->t, bytes.p + at, n, &x->out), 0);
		}
		assert_int_equal(translate_end(x->t, &x->out), 0);
		if (i == 0)
			first = arena_strndup(x->a, x->out.len > 0 ? x->out.data : "", x->out.len);
		else if (strcmp(first, x->out.len > 0 ? buf_cstr(&x->out) : "") != 0)
			fail_msg("cut elsewhere it differs\n%s\n%s", first, buf_cstr(&x->out));
	}
}

static inline void
trap_stream(struct trap *x, const char *lines)
{
	trap_bytes(x, trap_frames(x, lines));
}

static inline void
trap_whole(struct trap *x, const char *body)
{
	buf_reset(&x->out);
	x->r = translate_whole(x->t, span_of(trap_text(x->a, body)), WHOLE, &x->out, &x->err);
}

/* The client's stream as one JSON array of its events; every line is one of its grammar. */
static inline const struct json *
trap_events(struct trap *x)
{
	struct buf b = BUF_INIT(1 << 22);
	const char *text = arena_strndup(x->a, x->out.len > 0 ? x->out.data : "", x->out.len);
	const struct json *j;

	buf_str(&b, "[");
	while (*text != '\0') {
		size_t n = strcspn(text, "\r\n");
		const char *data = strncmp(text, "data: ", 6) == 0 ? text + 6
				   : *text == '{'                  ? text
								   : NULL;

		if (data != NULL && *data != '[') {
			size_t size = n - (size_t)(data - text);
			trap_parse(x->a, arena_strndup(x->a, data, size), size);
			buf_addf(&b, "%s%.*s", b.len > 1 ? "," : "", (int)size, data);
		} else if (n > 0 && data == NULL && strncmp(text, "event: ", 7) != 0) {
			fail_msg("no line of an event: %.*s", (int)n, text);
		}
		text += n;
		text += *text == '\r';
		text += *text == '\n';
	}
	buf_str(&b, "]");
	j = trap_parse(x->a, arena_strndup(x->a, b.data, b.len), b.len);
	buf_clear(&b);
	return j;
}

static inline const struct json *
trap_out(struct trap *x)
{
	return trap_parse(x->a, arena_strndup(x->a, x->out.data, x->out.len), x->out.len);
}

/* The nth event of this type; NULL: there are not so many. */
static inline const struct json *
trap_event(const struct json *events, const char *type, unsigned n)
{
	json_each (e, events)
		if (json_equals(json_get(e, "type"), type) && n-- == 0)
			return e;
	return NULL;
}

static inline unsigned
trap_count(const struct json *events, const char *type)
{
	unsigned n = 0;

	while (trap_event(events, type, n) != NULL)
		n++;
	return n;
}

#include "t/unit/proto_traps_told.h"

static inline void
trap_told_is(struct trap *x, const char *want)
{
	const char *told = trap_told(x);

	want = trap_text(x->a, want);
	if (strcmp(told, want) != 0)
		fail_msg("%s client of %s: wanted\n%sgot\n%sfrom\n%s", trap_words[x->client],
		    trap_words[x->profile.dialect], want, told,
		    x->out.len > 0 ? buf_cstr(&x->out) : "");
}

static inline void
trap_stream_told(
    enum dialect_id client, enum dialect_id upstream, const char *lines, const char *want)
{
	struct trap x;

	trap_open(&x, client, upstream);
	trap_stream(&x, lines);
	trap_told_is(&x, want);
	trap_free(&x);
}

/* One request and what must stand in it upstream. */
struct trap_row {
	enum dialect_id client;
	struct trap_target to;
	const char *request;
	const char *path, *want;
};

static inline void
trap_rows(const struct trap_row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct trap x;

		trap_ask(&x, rows[i].client, &rows[i].to, rows[i].request);
		if (x.r != 0)
			fail_msg(
			    "row %zu: refused: %.*s", i, (int)x.err.message.n, x.err.message.p);
		trap_want(&x, x.body, rows[i].path, rows[i].want);
		trap_free(&x);
	}
}

#endif
