#include "worker/refusal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "proto/canon_error.h"
#include "proto/dialect.h"
#include "proto/openai_chat.h"
#include "proto/scan.h"
#include "shared/err.h"

#define EXCERPT_MAX 400 /* bytes shown of a text that is not JSON */
#define SECRET_MIN 4    /* what is shorter than this cannot be told from ordinary text */

enum failure
refusal_class(int status)
{
	switch (status) {
	case 401:
	case 402:
	case 403:
		return FAIL_STATUS_AUTH;
	case 429:
		return FAIL_STATUS_429;
	case 408:
		return FAIL_STATUS_5XX;
	default:
		return status >= 500 ? FAIL_STATUS_5XX : FAIL_STATUS_4XX;
	}
}

int
refusal_told(struct span body)
{
	struct span error = scan_path(body, "error"), code;
	uint64_t n = 0;

	if (scan_type(error) != 'o' && scan_type(error) != 's')
		return 0;
	if (scan_type(error) == 'o') {
		code = scan_path(error, "code");
		if (!scan_u64(code, &n))
			(void)scan_u64(scan_path(error, "status"), &n);
	}
	return n >= 400 && n < 600 ? (int)n : 502;
}

/* ---- hints in the text ---- */

/* "1h2m3.5s", "250ms", "20 seconds", "20": in ms; 0: no number. */
static uint64_t
parse_wait(const char *p, const char *end)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"ms", 1}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
	double ms = 0;

	while (p < end && *p >= '0' && *p <= '9') {
		char *after;
		double v = strtod(p, &after);
		size_t i = 0;

		p = after;
		while (p < end && *p == ' ')
			p++;
		while (
		    i < NELEM(units) && strncasecmp(p, units[i].unit, strlen(units[i].unit)) != 0)
			i++;
		if (i == NELEM(units))
			return (uint64_t)(ms + v * 1000);
		ms += v * units[i].ms;
		p += strlen(units[i].unit);
	}
	return ms >= HEADERS_HINT_MAX ? HEADERS_HINT_MAX : (uint64_t)ms;
}

static uint64_t
hint_in_text(struct span body)
{
	static const char *const phrases[] = {"try again in ", "reset after ", "retry after ",
	    "\"retryDelay\": \"", "\"retryDelay\":\""};
	char text[2048];
	size_t n = MIN(body.n, sizeof text - 1);

	if (n == 0)
		return 0;
	memcpy(text, body.p, n);
	text[n] = '\0';
	for (size_t i = 0; i < NELEM(phrases); i++) {
		const char *at = strcasestr(text, phrases[i]);
		uint64_t ms = at != NULL ? parse_wait(at + strlen(phrases[i]), text + n) : 0;

		if (ms > 0)
			return ms;
	}
	return 0;
}

/* ---- hints in fields: the limit that is used up, and when it is whole again ---- */

static bool
is_zero(struct span v)
{
	return v.n == 1 && v.p[0] == '0';
}

/* "2026-01-27T16:34:05Z": ms from now. */
static uint64_t
until_date(struct span v, uint64_t wall_s)
{
	struct tm tm = {0};
	const char *end = v.n > 0 ? strptime(v.p, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	time_t at = end != NULL ? timegm(&tm) : 0;

	return at > (time_t)wall_s ? MIN((uint64_t)(at - (time_t)wall_s) * 1000, HEADERS_HINT_MAX)
				   : 0;
}

/* Values are NUL-terminated, see headers_take_line. */
static uint64_t
hint_in_limits(const struct reply_head *head, uint64_t wall_s)
{
	static const struct {
		const char *left, *reset;
		bool date; /* else a duration: "6m0s", "120ms", "7" */
	} limits[] = {
	    {"x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", false},
	    {"x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", false},
	    {"anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset", true},
	    {"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset", true},
	    {"anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset",
		true},
	    {"anthropic-ratelimit-output-tokens-remaining",
		"anthropic-ratelimit-output-tokens-reset", true},
	};
	uint64_t longest = 0;

	for (size_t i = 0; i < NELEM(limits); i++) {
		struct span reset = headers_get(head, limits[i].reset);

		if (!is_zero(headers_get(head, limits[i].left)) || reset.n == 0)
			continue;
		longest = MAX(longest, limits[i].date ? until_date(reset, wall_s)
						      : parse_wait(reset.p, reset.p + reset.n));
	}
	return longest;
}

uint64_t
refusal_hint_ms(const struct reply_head *head, struct span body, uint64_t wall_s)
{
	uint64_t ms = headers_hint_ms(head, wall_s);

	if (ms == 0 && head->status == 429)
		ms = hint_in_limits(head, wall_s);
	if (ms == 0 && head->status >= 400)
		ms = hint_in_text(body);
	return ms;
}

/* ---- what the client is shown ---- */

/* Copies `body` with every copy of the secret replaced. */
static int
scrub(struct buf *out, struct span body, struct span secret)
{
	const char *p = body.p, *end = body.p + body.n, *hit;

	while (secret.n >= SECRET_MIN && p < end &&
	       (hit = memmem(p, (size_t)(end - p), secret.p, secret.n)) != NULL) {
		buf_add(out, p, (size_t)(hit - p));
		buf_str(out, "***");
		p = hit + secret.n;
	}
	buf_add(out, p, (size_t)(end - p));
	return buf_ok(out) ? 0 : E_NOMEM;
}

/* In JSON a secret may be written with escapes. */
static int
scrub_all(struct buf *out, struct span body, struct span secret)
{
	struct buf escaped = BUF_INIT(65536), once = BUF_INIT(2 * REFUSAL_MAX);
	int r = scan_escape(&escaped, secret.p, secret.n);

	if (r == 0)
		r = scrub(&once, body, secret);
	if (r == 0)
		r = scrub(out, (struct span){once.data, once.len},
		    (struct span){escaped.data, escaped.len});
	buf_wipe(&escaped);
	buf_wipe(&once);
	return r;
}

static bool
is_openai(struct span body)
{
	return scan_check(body.p, body.n, NULL) == 0 && scan_type(body) == 'o' &&
	       scan_type(scan_path(body, "error")) == 'o' &&
	       scan_type(scan_path(body, "error.message")) == 's';
}

/* The sentence in an error body of another shape; else the body itself. NUL-terminated, without
 * control characters. */
static void
sentence(struct span body, char out[EXCERPT_MAX + 1])
{
	static const char *const places[] = {
	    "error.message", "error", "message", "detail", "[0].error.message"};
	struct span v = {NULL, 0};
	ptrdiff_t n = -1;

	for (size_t i = 0; scan_check(body.p, body.n, NULL) == 0 && i < NELEM(places); i++) {
		v = scan_path(body, places[i]);
		if (scan_type(v) == 's' && (n = scan_string(v, out, EXCERPT_MAX)) >= 0)
			break;
	}
	if (n < 0) {
		n = (ptrdiff_t)MIN(body.n, EXCERPT_MAX);
		if (n > 0)
			memcpy(out, body.p, (size_t)n);
	}
	out[n] = '\0';
	for (ptrdiff_t i = 0; i < n; i++)
		if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f)
			out[i] = ' ';
}

static int
wrap(struct buf *out, int status, struct span body)
{
	char text[EXCERPT_MAX + 1], message[EXCERPT_MAX + 32];
	const char *p = text;

	sentence(body, text);
	p += strspn(p, " ");
	snprintf(message, sizeof message, "[%d]: %s", status,
	    *p != '\0' ? p : failure_info(refusal_class(status))->message);
	return chat_error_body(out, status, NULL, NULL, message);
}

/* Puts "attempts":… in front of the first member of the error object. */
static int
add_attempts(struct buf *out, struct span body, const char *attempts)
{
	struct span error = scan_path(body, "error");
	size_t at = (size_t)(error.p - body.p) + 1;

	buf_add(out, body.p, at);
	buf_addf(out, "\"attempts\":%s,", attempts);
	buf_add(out, body.p + at, body.n - at);
	return buf_ok(out) ? 0 : E_NOMEM;
}

int
refusal_body(
    struct buf *out, int status, struct span body, struct span secret, const char *attempts)
{
	struct buf clean = BUF_INIT(2 * REFUSAL_MAX), shaped = BUF_INIT(2 * REFUSAL_MAX);
	struct span text;
	int r = scrub_all(&clean, body, secret);

	text = (struct span){clean.data, clean.len};
	if (r == 0 && !is_openai(text)) {
		r = wrap(&shaped, status, text);
		text = (struct span){shaped.data, shaped.len};
	}
	if (r == 0)
		r = attempts != NULL ? add_attempts(out, text, attempts)
				     : buf_add(out, text.p, text.n);
	buf_clear(&clean);
	buf_clear(&shaped);
	return r;
}

/* ---- in any dialect ---- */

/* Whether a body is an error of this dialect, so that it may pass. */
static bool
is_native(enum dialect_id dialect, struct span body)
{
	struct span error;

	if (scan_check(body.p, body.n, NULL) != 0 || scan_type(body) != 'o')
		return false;
	error = scan_path(body, "error");
	if (scan_type(error) != 'o' || scan_type(scan_path(body, "error.message")) != 's')
		return false;
	if (dialect == DIALECT_MESSAGES)
		return scan_type(scan_path(body, "error.type")) == 's' &&
		       scan_type(scan_path(body, "type")) == 's';
	return dialect != DIALECT_GEMINI || scan_type(scan_path(body, "error.status")) == 's';
}

static int
encode(struct arena *a, struct buf *out, const struct refusal *q, int *status)
{
	const struct dialect *d = dialect_get(q->client);
	const struct canon_error_source src = {.status = q->status,
	    .body = q->body,
	    .secret = q->secret,
	    .type = q->type,
	    .provider = q->provider,
	    .now_s = q->wall_s};
	struct canon_error e;

	if (q->told != NULL)
		e = *q->told;
	else
		canon_error_read(a, &src, &e);
	*status = d->error_status(&e);
	return d->encode_error(&e, q->request_id, out);
}

int
refusal_tell(struct arena *a, struct buf *out, const struct refusal *q, int *status)
{
	struct buf text = BUF_INIT(2 * REFUSAL_MAX);
	bool same = q->client == q->upstream && q->told == NULL;
	bool openai = q->client == DIALECT_CHAT || q->client == DIALECT_RESPONSES;
	int r;

	*status = q->status;
	if (same && openai)
		return refusal_body(out, q->status, q->body, q->secret, q->attempts);
	if (same && is_native(q->client, q->body))
		r = scrub_all(&text, q->body, q->secret);
	else
		r = encode(a, &text, q, status);
	if (r == 0) {
		struct span body = {text.data, text.len};

		r = q->attempts != NULL ? add_attempts(out, body, q->attempts)
					: buf_add(out, body.p, body.n);
	}
	buf_clear(&text);
	return r;
}
