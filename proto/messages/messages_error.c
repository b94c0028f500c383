/* Failures (spec 16). */
#include <string.h>

#include "proto/canon_error.h"
#include "proto/messages/messages.h"
#include "shared/err.h"

#define LONG_PROMPT "prompt is too long"
#define SENTENCE_TOKENS_MIN \
	256 /* smaller numbers in such a sentence are not sizes of a context \
	     */

void
messages_read_error(struct arena *a, struct span body, struct span type, struct canon_error *out)
{
	struct canon_error_source src = {.status = 200, .body = body, .type = type};

	canon_error_read(a, &src, out);
}

/* The next number of the text that stands alone ("gpt-4-0613" holds none); thousands may have
 * commas. */
static bool
next_number(const char **at, const char *end, uint64_t *out)
{
	for (const char *p = *at; p < end; p++) {
		bool alone = p == *at || p[-1] == ' ' || p[-1] == '(' || p[-1] == '\n';
		uint64_t n = 0;

		if (*p < '0' || *p > '9')
			continue;
		for (; p < end && ((*p >= '0' && *p <= '9') || *p == ','); p++)
			n = *p == ',' || n > UINT64_MAX / 100 ? n : n * 10 + (uint64_t)(*p - '0');
		*at = p;
		*out = n;
		if (alone && n >= SENTENCE_TOKENS_MIN)
			return true;
		p--;
	}
	return false;
}

/* Clients look for these words, and for the two numbers, to make their conversation shorter. */
static void
put_context_message(struct jsonw *w, struct span m)
{
	const char *at = m.p, *end = m.n > 0 ? m.p + m.n : m.p;
	uint64_t least = UINT64_MAX, most = 0, n;
	struct buf head = BUF_INIT(256);

	while (m.n > 0 && next_number(&at, end, &n)) {
		least = MIN(least, n);
		most = MAX(most, n);
	}
	if (least < most)
		buf_addf(&head, LONG_PROMPT ": %llu tokens > %llu maximum",
		    (unsigned long long)most, (unsigned long long)least);
	else
		buf_str(&head, LONG_PROMPT);
	jsonw_begin_string(w);
	jsonw_part(w, (struct span){head.data, head.len});
	if (m.n > 0) {
		jsonw_part(w, span_of(least < most ? " (" : ": "));
		jsonw_part(w, m);
		jsonw_part(w, span_of(least < most ? ")" : ""));
	}
	jsonw_end_string(w);
	buf_clear(&head);
}

void
messages_put_error(struct jsonw *w, const struct canon_error *e)
{
	const struct canon_error_row *row = canon_error_class(e->class);
	const size_t n = sizeof LONG_PROMPT - 1;

	jsonw_open(w, '{');
	jsonw_m_cstr(w, "type", row->messages_type);
	jsonw_name(w, "message");
	if (e->class == ERROR_CONTEXT_WINDOW &&
	    (e->message.n < n || memmem(e->message.p, e->message.n, LONG_PROMPT, n) == NULL))
		put_context_message(w, e->message);
	else
		jsonw_text(w, e->message.p != NULL ? e->message : span_of(""));
	jsonw_close(w, '}');
}

int
messages_encode_error(const struct canon_error *e, struct span request_id, struct buf *out)
{
	struct jsonw w = {.b = out};

	jsonw_open(&w, '{');
	jsonw_m_cstr(&w, "type", "error");
	jsonw_name(&w, "error");
	messages_put_error(&w, e);
	jsonw_name(&w, "request_id");
	if (request_id.n > 0)
		jsonw_text(&w, request_id);
	else
		jsonw_lit(&w, "null");
	jsonw_close(&w, '}');
	return buf_ok(out) ? 0 : E_TOO_LONG;
}

int
messages_error_status(const struct canon_error *e)
{
	const struct canon_error_row *row = canon_error_class(e->class);

	if (e->status != 0)
		return e->status;
	return row->messages_status != 0 ? row->messages_status : row->status;
}
