#include "worker/ask.h"

#include <stdio.h>
#include <string.h>

#include "proto/canon.h"
#include "proto/scan.h"
#include "shared/err.h"

/* ---- paths ---- */

static int
hex(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static bool
unescape(struct span v, char *out, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i] == '+' ? ' ' : v.p[i];

		if (c == '%' && i + 2 < v.n && hex(v.p[i + 1]) >= 0 && hex(v.p[i + 2]) >= 0) {
			c = (char)(hex(v.p[i + 1]) << 4 | hex(v.p[i + 2]));
			i += 2;
		}
		if (at + 1 >= n || c == '\0')
			return false;
		out[at++] = c;
	}
	out[at] = '\0';
	return true;
}

bool
ask_query(struct span query, const char *name, char *out, size_t n)
{
	size_t len = strlen(name);

	while (query.n > 0) {
		const char *amp = memchr(query.p, '&', query.n);
		struct span pair = {query.p, amp != NULL ? (size_t)(amp - query.p) : query.n};
		size_t taken = pair.n + (amp != NULL);

		if (pair.n > len && pair.p[len] == '=' && memcmp(pair.p, name, len) == 0)
			return unescape((struct span){pair.p + len + 1, pair.n - len - 1}, out, n);
		query = (struct span){query.p + taken, query.n - taken};
	}
	return false;
}

static const struct {
	const char *verb;
	enum ask_kind kind;
	bool stream;
} verbs[] = {
    {"generateContent", ASK_ANSWER, false},
    {"streamGenerateContent", ASK_ANSWER, true},
    {"countTokens", ASK_COUNT, false},
};

/* "<model>:<verb>": a model's id may hold colons and slashes, a verb does not. */
static bool
gemini_path(struct ask *q, struct span tail, struct span query, const char **why)
{
	const char *colon = tail.n > 0 ? memrchr(tail.p, ':', tail.n) : NULL;
	struct span verb = {NULL, 0};
	char alt[8];

	if (colon != NULL)
		verb = (struct span){colon + 1, (size_t)(tail.p + tail.n - colon) - 1};
	for (size_t i = 0; i < NELEM(verbs); i++) {
		if (!span_is(verb, verbs[i].verb))
			continue;
		q->kind = verbs[i].kind;
		q->stream = verbs[i].stream;
		q->array = q->stream &&
			   !(ask_query(query, "alt", alt, sizeof alt) && strcmp(alt, "sse") == 0);
		q->path_model = (struct span){tail.p, (size_t)(colon - tail.p)};
		if (q->path_model.n > 0)
			return true;
	}
	*why = "The path must end with models/{model}:generateContent, :streamGenerateContent or "
	       ":countTokens";
	return false;
}

bool
ask_path(struct ask *q, struct span tail, struct span query, const char **why)
{
	return q->dialect != DIALECT_GEMINI || gemini_path(q, tail, query, why);
}

/* ---- bodies ---- */

static int
refuse(struct ask *q, const char **why, const char *text)
{
	snprintf(q->chat.note, sizeof q->chat.note, "%s", text);
	*why = q->chat.note;
	return E_SYNTAX;
}

static int
take_model(struct ask *q, struct span value, const char **why)
{
	ptrdiff_t n;

	if (scan_type(value) == 0 || scan_type(value) == '0')
		return refuse(q, why, "Missing model");
	if (scan_type(value) != 's')
		return refuse(q, why, "model must be a string");
	n = scan_string(value, q->chat.model, sizeof q->chat.model);
	if (n == E_TOO_LONG)
		return refuse(q, why, "model must be at most 200 characters long");
	if (n < 0 || strlen(q->chat.model) != (size_t)n)
		return refuse(q, why, "model is not a valid string");
	if (n == 0)
		return refuse(q, why, "Missing model");
	q->model_value = value;
	return 0;
}

static int
take_path_model(struct ask *q, const char **why)
{
	if (q->path_model.n >= sizeof q->chat.model)
		return refuse(q, why, "model must be at most 200 characters long");
	memcpy(q->chat.model, q->path_model.p, q->path_model.n);
	q->chat.model[q->path_model.n] = '\0';
	return 0;
}

static int
take_stream(struct ask *q, struct span value, const char **why)
{
	int type = scan_type(value);

	if (type == 0 || type == '0')
		return 0;
	if (type != 't' && type != 'f')
		return refuse(q, why, "stream must be true or false");
	q->stream = type == 't';
	q->stream_given = true;
	return 0;
}

/* What holds the conversation, by dialect; Chat's own reader knows its. */
static const char *
said_member(const struct ask *q)
{
	switch (q->dialect) {
	case DIALECT_RESPONSES:
		return "input";
	case DIALECT_GEMINI:
		return "contents";
	default:
		return q->completion ? "prompt" : "messages";
	}
}

static int
take_members(struct ask *q, struct span body, const char **why)
{
	struct scan_want want[] = {{.name = "model"}, {.name = "stream"}, {.name = said_member(q)}};
	size_t at;
	int r = scan_members(body.p, body.n, want, NELEM(want), &at);

	if (r == E_EXISTS)
		return refuse(q, why, "A member of the body stands twice");
	if (r != 0 || scan_type(body) != 'o') {
		snprintf(q->chat.note, sizeof q->chat.note, "Invalid JSON body: %s at byte %zu",
		    r != 0 ? err_text(r) : "no object", r != 0 ? at : 0);
		*why = q->chat.note;
		return E_SYNTAX;
	}
	q->said = want[2].value.n;
	if (q->dialect == DIALECT_GEMINI)
		return take_path_model(q, why);
	r = take_model(q, want[0].value, why);
	return r != 0 ? r : take_stream(q, want[1].value, why);
}

int
ask_body(struct ask *q, struct span body, const char **why)
{
	int r;

	if (q->dialect != DIALECT_CHAT || q->completion)
		return take_members(q, body, why);
	if ((r = chat_request(body.p, body.n, &q->chat, why)) != 0)
		return r;
	q->model_value = q->chat.model_value;
	q->stream = q->chat.stream;
	q->stream_given = q->chat.stream_given;
	q->said = q->chat.messages.n;
	return 0;
}

struct span
ask_member(struct span body, const char *name)
{
	struct scan_want want = {.name = name};
	size_t at;

	if (scan_members(body.p, body.n, &want, 1, &at) != 0)
		return (struct span){NULL, 0};
	return want.value;
}
