/*
 * An echo is a plan (what to say, and how) and a place in it. A timer takes one step at a time,
 * never from inside echo_start; a piece that was not taken (RELAY_PAUSE) waits in `out` for
 * echo_resume.
 */
#include "worker/echo.h"

#include <ctype.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/openai_chat.h"
#include "proto/scan.h"
#include "shared/buf.h"
#include "shared/clock.h"
#include "worker/worker.h"

#define TEXT_MAX 65536u /* of a message that is repeated; the rest is left out */
#define WORD_MS 5u      /* between words */
#define SLOW_MAX_MS 10000u
#define NAME_MAX_LEN 128u /* of a tool */

#define PAUSED_MS 60000u /* how often one that is paused looks at its deadline, at the least */

enum step { STEP_ROLE, STEP_WORDS, STEP_TOOL, STEP_FINISH, STEP_USAGE, STEP_DONE, STEP_END };

struct echo {
	struct event timer;
	const struct relay_handler *h;
	void *ctx;
	struct reply_head *head;
	bool inside, dead, paused;
	bool streamed, include_usage, cut;
	enum step step;
	unsigned word_ms;
	uint64_t deadline_ns; /* 0: none */
	int status;           /* of an error that was asked for; 0: none */
	char id[48];
	uint64_t created;
	char *model;
	char *text;   /* NUL-terminated */
	size_t n, at; /* its length; what was said */
	unsigned words_in, words_out, words_max;
	char tool[NAME_MAX_LEN]; /* to call; empty: none */
	struct buf out;          /* the piece on its way */
};

/* ---- reading the request ---- */

static size_t
words_of(const char *p, size_t n)
{
	size_t words = 0;

	for (size_t i = 0; i < n; i++)
		words +=
		    !isspace((unsigned char)p[i]) && (i == 0 || isspace((unsigned char)p[i - 1]));
	return words;
}

static bool
value_is(struct span v, const char *text)
{
	size_t n = strlen(text);

	return v.n == n + 2 && memcmp(v.p + 1, text, n) == 0;
}

static void
add_text(struct buf *b, struct span v)
{
	char *room;
	ptrdiff_t n;

	if (scan_type(v) != 's' || (room = buf_reserve(b, scan_string_len(v) + 1)) == NULL)
		return;
	n = scan_string(v, room, scan_string_len(v) + 1);
	b->len += n > 0 ? (size_t)n : 0;
}

/* A text, or the texts of a list of parts. */
static void
add_content(struct buf *b, struct span content)
{
	struct scan s;
	struct span name, part;

	if (scan_type(content) != 'a') {
		add_text(b, content);
		return;
	}
	scan_open(&s, content.p, content.n);
	if (!scan_enter(&s, 'a'))
		return;
	while (scan_next(&s, &name))
		if (scan_skip(&s, &part))
			add_text(b, scan_path(part, "text"));
}

static struct span
last_user_content(struct span body)
{
	struct span messages = scan_path(body, "messages"), name, v, last = {NULL, 0};
	struct scan s;

	scan_open(&s, messages.p, messages.n);
	if (messages.p == NULL || !scan_enter(&s, 'a'))
		return scan_path(body, "prompt");
	while (scan_next(&s, &name))
		if (scan_skip(&s, &v) && value_is(scan_path(v, "role"), "user"))
			last = v;
	return last.p != NULL ? scan_path(last, "content") : last;
}

static bool
read_text(struct echo *e, struct span body)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2); /* the body it comes from is bounded */
	size_t n;

	add_content(&b, last_user_content(body));
	n = MIN(b.len, TEXT_MAX);
	while (n < b.len && n > 0 && ((unsigned char)b.data[n] & 0xc0) == 0x80)
		n--;
	e->text = calloc(1, n + 1);
	if (e->text != NULL && n > 0)
		memcpy(e->text, b.data, n);
	e->n = n;
	buf_clear(&b);
	return e->text != NULL;
}

/* The first tool of that name, or the first of all (`want` empty), in one walk: the list may be as
 * long as a body. */
static bool
find_tool(struct span tools, const char *want, char out[NAME_MAX_LEN])
{
	struct scan s;
	struct span member, tool;

	scan_open(&s, tools.p, tools.n);
	if (!scan_enter(&s, 'a'))
		return false;
	while (scan_next(&s, &member))
		if (scan_skip(&s, &tool) &&
		    scan_string(scan_path(tool, "function.name"), out, NAME_MAX_LEN) > 0 &&
		    (*want == '\0' || strcmp(out, want) == 0))
			return true;
	return false;
}

/* Behind "call <tool>" in the message, the rest; else NULL. */
static const char *
message_calls(const char *text, char out[NAME_MAX_LEN])
{
	int end = 0;

	if (strncasecmp(text, "call ", 5) != 0 || sscanf(text + 5, " %127s%n", out, &end) != 1)
		return NULL;
	return text + 5 + end;
}

static void
read_tool(struct echo *e, struct span body)
{
	struct span tools = scan_path(body, "tools"), choice = scan_path(body, "tool_choice");
	char want[NAME_MAX_LEN] = "", found[NAME_MAX_LEN];
	const char *rest = message_calls(e->text, want);
	bool named = rest != NULL;

	if (tools.p == NULL || value_is(choice, "none"))
		return;
	if (scan_type(choice) == 'o')
		named = scan_string(scan_path(choice, "function.name"), want, sizeof want) > 0;
	else if (!named && !value_is(choice, "required"))
		return;
	if (scan_type(choice) == 'o' && !named)
		return;
	if (find_tool(tools, want, found))
		memcpy(e->tool, found, sizeof e->tool);
}

/* "error <status> [text]" and "slow <ms> [text]". */
static void
read_orders(struct echo *e)
{
	unsigned n;
	int end = 0;

	if (sscanf(e->text, "error %3u%n", &n, &end) == 1 && end > 0 && n >= 400 && n < 600) {
		e->status = (int)n;
		e->at = (size_t)end;
		while (e->text[e->at] == ' ')
			e->at++;
	} else if (sscanf(e->text, "slow %5u%n", &n, &end) == 1 && end > 0) {
		e->word_ms = MIN(n, SLOW_MAX_MS);
	}
}

static bool
read_request(struct echo *e, const struct echo_request *q)
{
	static uint64_t serial;
	uint64_t max;

	if (!read_text(e, q->body) || (e->model = strdup(q->model)) == NULL)
		return false;
	e->streamed = q->streamed;
	e->word_ms = WORD_MS;
	e->created = clock_wall_us() / 1000000;
	snprintf(e->id, sizeof e->id, "chatcmpl-echo-%u-%llu", worker.slot,
	    (unsigned long long)++serial);
	e->words_in = (unsigned)words_of(e->text, e->n);
	e->words_max = UINT32_MAX;
	if (scan_u64(scan_path(q->body, "max_completion_tokens"), &max) ||
	    scan_u64(scan_path(q->body, "max_tokens"), &max))
		e->words_max = (unsigned)MIN(max, UINT32_MAX);
	e->include_usage = scan_type(scan_path(q->body, "stream_options.include_usage")) == 't';
	read_orders(e);
	read_tool(e, q->body);
	return true;
}

/* ---- writing the answer ---- */

/* The next word with the space around it; n 0: all is said, or as much as was allowed. */
static struct span
next_word(struct echo *e)
{
	size_t from = e->at, to = from;

	if (e->words_out >= e->words_max) {
		e->cut = from < e->n;
		return (struct span){NULL, 0};
	}
	while (to < e->n && isspace((unsigned char)e->text[to]))
		to++;
	while (to < e->n && !isspace((unsigned char)e->text[to]))
		to++;
	while (to < e->n && isspace((unsigned char)e->text[to]))
		to++;
	e->at = to;
	e->words_out += to > from;
	return (struct span){e->text + from, to - from};
}

/* The JSON object in a "call" message as it stands; else the message in an object. */
static void
add_arguments(struct buf *b, const struct echo *e)
{
	char name[NAME_MAX_LEN];
	struct buf json = BUF_INIT(8 * TEXT_MAX);
	const char *rest = message_calls(e->text, name);

	if (rest != NULL)
		rest += strspn(rest, " ");
	if (rest != NULL && *rest == '{' && scan_check(rest, strlen(rest), NULL) == 0) {
		buf_str(&json, rest);
	} else {
		buf_str(&json, "{\"input\":\"");
		scan_escape(&json, e->text, e->n);
		buf_str(&json, "\"}");
	}
	scan_escape(b, json.data, json.len);
	buf_clear(&json);
}

static void
add_tool_call(struct buf *b, const struct echo *e, bool indexed)
{
	buf_addf(b,
	    "\"tool_calls\":[{%s\"id\":\"call_%s\",\"type\":\"function\",\"function\":{\"name\":\"",
	    indexed ? "\"index\":0," : "", e->id + 9);
	scan_escape(b, e->tool, strlen(e->tool));
	buf_str(b, "\",\"arguments\":\"");
	add_arguments(b, e);
	buf_str(b, "\"}}]");
}

static void
add_usage(struct buf *b, const struct echo *e)
{
	buf_addf(b, "\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":%u,\"total_tokens\":%u}",
	    e->words_in, e->words_out, e->words_in + e->words_out);
}

static void
add_head(struct buf *b, const struct echo *e, const char *object)
{
	buf_addf(b, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%llu,\"model\":\"", e->id, object,
	    (unsigned long long)e->created);
	scan_escape(b, e->model, strlen(e->model));
	buf_str(b, "\",");
}

static const char *
finish_reason(const struct echo *e)
{
	return e->tool[0] != '\0' ? "tool_calls" : e->cut ? "length" : "stop";
}

static void
add_whole(struct echo *e)
{
	struct buf *b = &e->out;
	struct span word;

	add_head(b, e, "chat.completion");
	buf_str(b, "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
	if (e->tool[0] != '\0') {
		e->words_out = 1;
		buf_str(b, "null,");
		add_tool_call(b, e, false);
	} else {
		buf_str(b, "\"");
		while ((word = next_word(e)).n > 0)
			scan_escape(b, word.p, word.n);
		buf_str(b, "\"");
	}
	buf_addf(b, "},\"logprobs\":null,\"finish_reason\":\"%s\"}],", finish_reason(e));
	add_usage(b, e);
	buf_str(b, "}");
}

/* A chunk whose delta is `inside`, which is closed by the caller's chunk_end. */
static void
chunk_begin(struct echo *e)
{
	buf_str(&e->out, "data: ");
	add_head(&e->out, e, "chat.completion.chunk");
	buf_str(&e->out, "\"choices\":[{\"index\":0,\"delta\":{");
}

static void
chunk_end(struct echo *e, const char *reason)
{
	if (reason != NULL)
		buf_addf(&e->out, "},\"finish_reason\":\"%s\"}]", reason);
	else
		buf_str(&e->out, "},\"finish_reason\":null}]");
	buf_str(&e->out, e->include_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

/* The next piece of a stream into `out`; each step says which follows. */
static void
add_next(struct echo *e)
{
	struct span word;

	switch (e->step) {
	case STEP_ROLE:
		chunk_begin(e);
		buf_str(&e->out, "\"role\":\"assistant\",\"content\":\"\"");
		chunk_end(e, NULL);
		e->step = e->tool[0] != '\0' ? STEP_TOOL : STEP_WORDS;
		return;
	case STEP_TOOL:
		e->words_out = 1;
		chunk_begin(e);
		add_tool_call(&e->out, e, true);
		chunk_end(e, NULL);
		e->step = STEP_FINISH;
		return;
	case STEP_WORDS:
		if ((word = next_word(e)).n > 0) {
			chunk_begin(e);
			buf_str(&e->out, "\"content\":\"");
			scan_escape(&e->out, word.p, word.n);
			buf_str(&e->out, "\"");
			chunk_end(e, NULL);
			return;
		}
		/* fall through */
	case STEP_FINISH:
		chunk_begin(e);
		chunk_end(e, finish_reason(e));
		e->step = e->include_usage ? STEP_USAGE : STEP_DONE;
		return;
	case STEP_USAGE:
		buf_str(&e->out, "data: ");
		add_head(&e->out, e, "chat.completion.chunk");
		buf_str(&e->out, "\"choices\":[],");
		add_usage(&e->out, e);
		buf_str(&e->out, "}\n\n");
		e->step = STEP_DONE;
		return;
	case STEP_DONE:
		buf_str(&e->out, "data: [DONE]\n\n");
		e->step = STEP_END;
		return;
	case STEP_END:
		return;
	}
}

static void
add_error(struct echo *e)
{
	static const struct reply_field retry = {"Retry-After", {"retry-after", 11}, {"1", 1}};

	e->head->status = e->status;
	if (e->status == 429 || e->status == 503)
		e->head->field[e->head->fields++] = retry;
	chat_error_body(
	    &e->out, e->status, NULL, NULL, e->text[e->at] != '\0' ? e->text + e->at : NULL);
	e->step = STEP_END;
}

/* ---- life ---- */

static void
echo_free(struct echo *e)
{
	event_del(&e->timer);
	buf_clear(&e->out);
	free(e->model);
	free(e->text);
	free(e);
}

static void
echo_finish(struct echo *e, enum failure f)
{
	const struct relay_handler *h = e->h;
	void *ctx = e->ctx;

	echo_free(e);
	h->done(ctx, f);
}

/* But not beyond the deadline. */
static void
wait_ms(struct echo *e, uint64_t ms)
{
	uint64_t now = e->deadline_ns != 0 ? clock_now_ns() : 0;
	struct timeval tv;

	if (e->deadline_ns != 0)
		ms = MIN(ms, (MAX(e->deadline_ns, now) - now + NS_PER_MS - 1) / NS_PER_MS);
	tv = (struct timeval){
	    .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000};
	(void)event_add(&e->timer, &tv);
}

static void
prepare(struct echo *e)
{
	static char json[] = "application/json", sse[] = "text/event-stream; charset=utf-8";
	bool events = e->streamed && e->status == 0;
	const char *type = events ? sse : json;

	if (e->out.len > 0)
		return;
	e->head->content_type = (struct span){type, strlen(type)};
	if (e->status != 0) {
		add_error(e);
	} else if (!e->streamed) {
		e->head->status = 200;
		add_whole(e);
		e->step = STEP_END;
	} else {
		e->head->status = 200;
		add_next(e);
	}
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct echo *e = arg;
	enum relay_verdict v;
	unsigned ms;

	(void)fd;
	(void)what;
	if (e->deadline_ns != 0 && clock_now_ns() >= e->deadline_ns) {
		echo_finish(e, FAIL_TOTAL_TIMEOUT);
		return;
	}
	if (e->paused) {
		wait_ms(e, PAUSED_MS);
		return;
	}
	prepare(e);
	if (!buf_ok(&e->out)) {
		echo_finish(e, FAIL_INTERNAL);
		return;
	}
	ms = e->step == STEP_WORDS || e->step == STEP_FINISH ? e->word_ms : 0;
	e->inside = true;
	v = e->h->data(e->ctx, e->out.data, e->out.len);
	e->inside = false;
	if (e->dead) {
		echo_free(e);
	} else if (v == RELAY_PAUSE) {
		e->paused = true;
		if (e->deadline_ns != 0)
			wait_ms(e, PAUSED_MS);
	} else {
		buf_reset(&e->out);
		if (v == RELAY_STOP || e->step == STEP_END)
			echo_finish(e, FAIL_NONE);
		else
			wait_ms(e, ms);
	}
}

struct echo *
echo_start(const struct echo_request *q, const struct relay_handler *h, void *ctx)
{
	struct echo *e = calloc(1, sizeof *e);

	if (e == NULL)
		return NULL;
	e->h = h;
	e->ctx = ctx;
	e->head = q->head;
	e->deadline_ns = q->deadline_ns;
	e->head->status = 0;
	e->head->fields = 0;
	buf_init(&e->out, 16 * TEXT_MAX);
	evtimer_assign(&e->timer, worker.base, on_timer, e);
	if (!read_request(e, q)) {
		echo_free(e);
		return NULL;
	}
	/* "slow" holds back even an answer that is not streamed. */
	wait_ms(e, e->word_ms > WORD_MS ? e->word_ms : 0);
	return e;
}

void
echo_cancel(struct echo *e)
{
	e->dead = true;
	if (!e->inside)
		echo_free(e);
}

void
echo_resume(struct echo *e)
{
	if (!e->paused)
		return;
	e->paused = false;
	wait_ms(e, 0);
}
