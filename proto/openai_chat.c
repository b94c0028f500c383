#include "proto/openai_chat.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/scan.h"
#include "shared/err.h"

/* ---- request --------------------------------------------------------------------------------- */

enum { MODEL, STREAM, MESSAGES, INPUT, PROMPT, TOOLS, TOOL_CHOICE, WANTS };

static int printf_like(3, 4) refuse(struct chat_request *req, int r, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(req->note, sizeof(req->note), fmt, ap);
	va_end(ap);
	return r;
}

static int
refuse_json(struct chat_request *req, int r, const char *body, size_t n, size_t at)
{
	struct span rest = {body + at, n - at};
	if (r == E_EXISTS) {
		const char *end = memchr(rest.p + 1, '"', rest.n - 1);
		int len = end != NULL ? (int)MIN(end - rest.p + 1, 40) : 0;
		return refuse(req, r, "Invalid JSON body: member %.*s stands twice (at byte %zu)",
		    len, rest.p, at);
	}
	if (r == E_SYNTAX && scan_check(body, n, NULL) == 0)
		return refuse(req, r, "Invalid JSON body: it must be an object");
	return refuse(req, r, "Invalid JSON body: %s at byte %zu", err_text(r), at);
}

static int
take_model(struct chat_request *req, struct span v)
{
	if (scan_type(v) == 0 || scan_type(v) == '0')
		return refuse(req, E_NOT_FOUND, "Missing model");
	if (scan_type(v) != 's')
		return refuse(req, E_RANGE, "\"model\" must be a string");
	ptrdiff_t len = scan_string(v, req->model, sizeof(req->model));
	if (len == 0)
		return refuse(req, E_NOT_FOUND, "Missing model");
	if (len == E_TOO_LONG)
		return refuse(
		    req, E_TOO_LONG, "\"model\" must not be longer than %d bytes", MODEL_MAX);
	bool good = len > 0 && strstr(req->model, "../") == NULL;
	for (ptrdiff_t i = 0; good && i < len; i++)
		good = (unsigned char)req->model[i] >= 0x20 && req->model[i] != 0x7f;
	if (!good)
		return refuse(req, E_RANGE, "\"model\" holds characters that are not allowed");
	req->model_value = v;
	return 0;
}

static int
take_stream(struct chat_request *req, struct span v)
{
	int type = scan_type(v);
	if (type == 0 || type == '0')
		return 0;
	if (type != 't' && type != 'f')
		return refuse(req, E_RANGE, "\"stream\" must be true or false");
	req->stream_given = true;
	req->stream = type == 't';
	return 0;
}

static bool
array_empty(struct span v)
{
	struct scan s;
	struct span name;
	scan_open(&s, v.p, v.n);
	return scan_enter(&s, 'a') && !scan_next(&s, &name);
}

static int
take_messages(struct chat_request *req, const struct scan_want *want)
{
	struct span v = want[MESSAGES].value;
	if (v.p != NULL && (scan_type(v) != 'a' || array_empty(v)))
		return refuse(req, E_RANGE, "\"messages\" must be an array that is not empty");
	for (unsigned i = MESSAGES; i <= PROMPT; i++) {
		int type = scan_type(want[i].value);
		if (type != 0 && type != '0')
			return 0;
	}
	return refuse(req, E_NOT_FOUND, "Missing messages");
}

int
chat_request(const char *body, size_t n, struct chat_request *req, const char **why)
{
	struct scan_want want[WANTS] = {
	    [MODEL] = {.name = "model"},
	    [STREAM] = {.name = "stream"},
	    [MESSAGES] = {.name = "messages"},
	    [INPUT] = {.name = "input"},
	    [PROMPT] = {.name = "prompt"},
	    [TOOLS] = {.name = "tools"},
	    [TOOL_CHOICE] = {.name = "tool_choice"},
	};
	size_t at;
	memset(req, 0, sizeof(*req));
	*why = req->note;
	int r = scan_members(body, n, want, WANTS, &at);
	if (r != 0)
		return refuse_json(req, r, body, n, at);
	req->messages = want[MESSAGES].value;
	req->tools = want[TOOLS].value;
	req->tool_choice = want[TOOL_CHOICE].value;
	if ((r = take_model(req, want[MODEL].value)) != 0)
		return r;
	if ((r = take_stream(req, want[STREAM].value)) != 0)
		return r;
	return take_messages(req, want);
}

/* ---- replies and chunks ---------------------------------------------------------------------- */

/*
 * One pass over a reply or chunk: each object that matters has a table of the members that matter,
 * the rest is skipped. A reader takes the value ahead, whatever its type.
 */
struct reading {
	struct chat_stream st;
	bool counted; /* the usage ahead has a number of tokens */
};

struct member {
	const char *name;
	void (*read)(struct scan *s, struct reading *r);
};

static void
read_object(struct scan *s, struct reading *r, const struct member *table, size_t rows)
{
	struct span name;
	if (!scan_enter(s, 'o')) {
		scan_skip(s, NULL);
		return;
	}
	while (scan_next(s, &name)) {
		size_t i = 0;
		while (i < rows && !scan_name_is(name, table[i].name))
			i++;
		if (i < rows)
			table[i].read(s, r);
		else
			scan_skip(s, NULL);
	}
}

static bool
read_u64(struct scan *s, uint64_t *out)
{
	struct span v;
	return scan_skip(s, &v) && scan_u64(v, out);
}

static void
read_prompt(struct scan *s, struct reading *r)
{
	r->counted |= read_u64(s, &r->st.usage.in);
}

static void
read_completion(struct scan *s, struct reading *r)
{
	r->counted |= read_u64(s, &r->st.usage.out);
}

/* Upstreams have several places for it; some fill one with 0 and another with the number. */
static void
read_cached(struct scan *s, struct reading *r)
{
	uint64_t n;
	if (read_u64(s, &n))
		r->st.usage.cached = MAX(r->st.usage.cached, n);
}

static void
read_reasoning(struct scan *s, struct reading *r)
{
	(void)read_u64(s, &r->st.usage.reasoning);
}

static void
read_prompt_details(struct scan *s, struct reading *r)
{
	static const struct member table[] = {{"cached_tokens", read_cached}};
	read_object(s, r, table, NELEM(table));
}

static void
read_completion_details(struct scan *s, struct reading *r)
{
	static const struct member table[] = {{"reasoning_tokens", read_reasoning}};
	read_object(s, r, table, NELEM(table));
}

static void
read_usage(struct scan *s, struct reading *r)
{
	static const struct member table[] = {
	    {"prompt_tokens", read_prompt},
	    {"completion_tokens", read_completion},
	    {"prompt_tokens_details", read_prompt_details},
	    {"completion_tokens_details", read_completion_details},
	    {"prompt_cache_hit_tokens", read_cached},
	    {"cached_tokens", read_cached},
	};
	struct chat_usage before = r->st.usage;
	r->st.usage = (struct chat_usage){0};
	r->counted = false;
	read_object(s, r, table, NELEM(table));
	if (r->counted)
		r->st.has_usage = true;
	else
		r->st.usage = before;
}

static void
read_x_groq(struct scan *s, struct reading *r)
{
	static const struct member table[] = {{"usage", read_usage}};
	read_object(s, r, table, NELEM(table));
}

static void
read_error(struct scan *s, struct reading *r)
{
	int type = scan_peek(s);
	r->st.error |= type == 'o' || type == 's';
	scan_skip(s, NULL);
}

static void
read_finish(struct scan *s, struct reading *r)
{
	struct span v;
	/* Some upstreams write "" in every chunk where others write null. */
	if (scan_skip(s, &v) && scan_type(v) == 's' && v.n > 2)
		r->st.finished = true;
}

static void
take_text(struct reading *r, struct span v)
{
	r->st.useful |= v.n > 2;
	r->st.text_bytes += scan_string_len(v);
}

/* Text in parts, tool calls: the strings in them that the model has written. */
static void
read_parts(struct scan *s, struct reading *r)
{
	static const char *const written[] = {"arguments", "name", "text", "thinking"};
	unsigned base = s->depth;
	struct span name, v;
	if (!scan_enter(s, 'a') && !scan_enter(s, 'o')) {
		if (scan_skip(s, &v) && scan_type(v) == 's')
			take_text(r, v);
		return;
	}
	while (s->error == 0 && s->depth > base) {
		if (!scan_next(s, &name) || scan_enter(s, 'a') || scan_enter(s, 'o') ||
		    !scan_skip(s, &v))
			continue;
		r->st.useful = true;
		for (size_t i = 0; scan_type(v) == 's' && i < NELEM(written); i++)
			if (scan_name_is(name, written[i]))
				r->st.text_bytes += scan_string_len(v);
	}
}

/* Says again what stands beside it, or is no text: shows that the model works, and is not counted.
 */
static void
read_useful(struct scan *s, struct reading *r)
{
	uint64_t before = r->st.text_bytes;
	read_parts(s, r);
	r->st.text_bytes = before;
}

static void
read_delta(struct scan *s, struct reading *r)
{
	static const struct member table[] = {
	    {"content", read_parts},
	    {"tool_calls", read_parts},
	    {"reasoning_content", read_parts},
	    {"reasoning", read_parts},
	    {"reasoning_details", read_useful},
	    {"refusal", read_parts},
	    {"function_call", read_parts},
	    {"audio", read_useful},
	    {"images", read_useful},
	};
	read_object(s, r, table, NELEM(table));
}

static void
read_choices(struct scan *s, struct reading *r)
{
	static const struct member table[] = {
	    {"delta", read_delta},
	    {"finish_reason", read_finish},
	    {"message", read_delta},
	    {"text", read_parts},
	};
	struct span name;
	if (!scan_enter(s, 'a')) {
		scan_skip(s, NULL);
		return;
	}
	while (scan_next(s, &name))
		read_object(s, r, table, NELEM(table));
}

static const struct member usage_members[] = {{"usage", read_usage}, {"x_groq", read_x_groq}};
static const struct member chunk_members[] = {
    {"choices", read_choices},
    {"usage", read_usage},
    {"x_groq", read_x_groq},
    {"error", read_error},
};

bool
chat_usage(struct span json, struct chat_usage *u)
{
	struct reading r = {0};
	struct scan s;
	scan_open(&s, json.p, json.n);
	read_object(&s, &r, usage_members, NELEM(usage_members));
	if (scan_end(&s) != 0 || !r.st.has_usage)
		return false;
	*u = r.st.usage;
	return true;
}

bool
chat_chunk(struct chat_stream *st, struct span data)
{
	struct reading r = {.st = *st};
	struct scan s;
	if (data.n == 6 && memcmp(data.p, "[DONE]", 6) == 0) {
		st->done = true;
		return false;
	}
	scan_open(&s, data.p, data.n);
	read_object(&s, &r, chunk_members, NELEM(chunk_members));
	if (scan_end(&s) != 0)
		return false;
	*st = r.st;
	return true;
}
