/*
 * The texts of an error's body, in any provider's shape (spec 16.2), and the waiting time in it
 * (16.3).
 */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "proto/canon_error_own.h"
#include "proto/json.h"
#include "proto/scan.h"
#include "shared/log.h"

#define BODY_MAX (1u << 20) /* what is longer is no error message */
#define MESSAGE_MAX 4096u
#define TITLE_MAX 200u
#define NESTING 3u /* an error in a string in an error … */
#define SECRET_MIN 8u
#define DAY 86400u
#define MIDNIGHT 28800u /* of the Pacific coast, in UTC; in summer it is an hour earlier */

static const struct span none;

/* ---- waiting times ---- */

/* "7.66s", "6m0s", "120ms", "33" (seconds), in ms; 0: no time. */
static uint64_t
duration(struct span s)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"ms", 1}, {"milliseconds", 1}, {"s", 1000}, {"seconds", 1000},
	    {"second", 1000}, {"m", 60000}, {"minutes", 60000}, {"minute", 60000}, {"h", 3600000},
	    {"hours", 3600000}, {"hour", 3600000}, {"d", 86400000}, {"days", 86400000}};
	double sum = 0;
	size_t i = 0;

	while (i < s.n && isdigit((unsigned char)s.p[i])) {
		double v = 0, scale = 1, ms = 1000;
		size_t word, len;

		for (; i < s.n && isdigit((unsigned char)s.p[i]); i++)
			v = v * 10 + (s.p[i] - '0');
		if (i + 1 < s.n && s.p[i] == '.' && isdigit((unsigned char)s.p[i + 1]))
			for (i++; i < s.n && isdigit((unsigned char)s.p[i]); i++)
				v += (s.p[i] - '0') * (scale /= 10);
		for (word = i; word < s.n && s.p[word] == ' ';)
			word++;
		for (len = 0; word + len < s.n && isalpha((unsigned char)s.p[word + len]);)
			len++;
		for (size_t k = 0; k < NELEM(units); k++)
			if (strlen(units[k].unit) == len &&
			    memcmp(units[k].unit, s.p + word, len) == 0) {
				ms = units[k].ms;
				i = word + len;
			}
		sum += v * ms;
	}
	return sum > 0 && sum < 365.0 * DAY * 1000 ? (uint64_t)(sum + 0.5) : 0;
}

static uint64_t
retry_in_text(struct span text)
{
	static const char *const before[] = {"try again in ", "retry in ", "retry after "};

	for (size_t k = 0; k < NELEM(before); k++) {
		size_t n = strlen(before[k]);
		for (size_t i = 0; i + n < text.n; i++)
			if (strncasecmp(text.p + i, before[k], n) == 0)
				return duration((struct span){text.p + i + n, text.n - i - n});
	}
	return 0;
}

static bool
ends_with(struct span s, const char *tail)
{
	size_t n = strlen(tail);

	return s.n >= n && memcmp(s.p + s.n - n, tail, n) == 0;
}

static bool
is_per_day(struct arena *a, const struct json *quota)
{
	json_each (v, json_get(quota, "violations")) {
		struct span id = json_text(a, json_get(v, "quotaId"));
		if (id.n > 0 && memmem(id.p, id.n, "PerDay", 6) != NULL)
			return true;
	}
	return false;
}

/* Google's details[]. */
static void
read_details(struct arena *a, const struct json *details, uint64_t now_s, struct error_texts *out)
{
	uint64_t delay = 0, day = 0;

	json_each (d, details) {
		struct span type = json_text(a, json_get(d, "@type")), text;

		text = json_text(a, json_want(d, "reason"));
		if (text.p != NULL && out->reason.p == NULL)
			out->reason = text;
		if (ends_with(type, "RetryInfo")) {
			text = json_text(a, json_get(d, "retryDelay"));
			delay = text.p != NULL ? duration(text) : 0;
		} else if (ends_with(type, "QuotaFailure") && now_s != 0 && is_per_day(a, d)) {
			day = (DAY - (now_s + DAY - MIDNIGHT) % DAY) * 1000;
		}
	}
	if (out->retry_ms == 0)
		out->retry_ms = delay != 0 ? delay : day;
}

static void
read_resets(const struct json *o, uint64_t now_s, struct error_texts *out)
{
	int64_t v;

	if (out->retry_ms != 0)
		return;
	if ((json_int(json_get(o, "resets_in_seconds"), &v) ||
		json_int(json_get(o, "retry_after"), &v)) &&
	    v > 0 && v < 365 * (int64_t)DAY)
		out->retry_ms = (uint64_t)v * 1000;
	else if (json_int(json_get(o, "resets_at"), &v) && now_s != 0 && v > 0 &&
		 (uint64_t)v > now_s && (uint64_t)v - now_s < 365 * (uint64_t)DAY)
		out->retry_ms = ((uint64_t)v - now_s) * 1000;
}

/* ---- texts ---- */

static void
first(struct span *into, struct span text)
{
	if (into->p == NULL && text.n > 0)
		*into = text;
}

/* [{"loc":["body","messages",0],"msg":"field required"}] */
static struct span
read_detail(struct arena *a, const struct json *d)
{
	const struct json *e = json_at(d, 0);
	struct span msg, loc;
	char *text;

	if (json_is(d, 's'))
		return json_text(a, d);
	msg = json_text(a, json_get(e, "msg"));
	if (msg.n == 0)
		return json_text(a, json_get(e, "message"));
	loc = json_get(e, "loc") != NULL ? json_get(e, "loc")->raw : none;
	if (loc.n == 0 || loc.n > TITLE_MAX || msg.n > MESSAGE_MAX)
		return msg;
	text = arena_printf(a, "%.*s: %.*s", (int)loc.n, loc.p, (int)msg.n, msg.p);
	return text != NULL ? span_of(text) : msg;
}

static void read_object(
    struct arena *a, const struct json *o, uint64_t now_s, unsigned depth, struct error_texts *out);

/* A text that is an error in JSON itself is read in its stead. */
static struct span
unfold(struct arena *a, struct span text, uint64_t now_s, unsigned depth, struct error_texts *out)
{
	const struct json *inner;
	struct error_texts t = {0};

	if (text.n == 0 || text.p[0] != '{' || depth >= NESTING || json_parse(a, text, &inner) != 0)
		return text;
	read_object(a, inner, now_s, depth + 1, &t);
	first(&out->code, t.code);
	first(&out->type, t.type);
	first(&out->status, t.status);
	first(&out->reason, t.reason);
	if (out->retry_ms == 0)
		out->retry_ms = t.retry_ms;
	return t.message.p != NULL ? t.message : text;
}

static void
read_words(struct arena *a, const struct json *o, struct error_texts *out)
{
	const struct json *code = json_want(o, "code");
	int64_t n;

	if (json_is(code, 's'))
		first(&out->code, json_text(a, code));
	if (out->number == 0 && (json_int(code, &n) || json_int(json_get(o, "status"), &n)) &&
	    n >= 400 && n < 600)
		out->number = (int)n;
	first(&out->type, json_text(a, json_get(o, "type")));
	first(&out->type, json_text(a, json_get(o, "__type")));
	first(&out->status, json_text(a, json_get(o, "status")));
	first(&out->param, json_text(a, json_get(o, "param")));
}

/* OpenRouter: the real cause as a string of JSON, and who said it. */
static struct span
read_metadata(
    struct arena *a, const struct json *m, uint64_t now_s, unsigned depth, struct error_texts *out)
{
	struct span raw = json_text(a, json_get(m, "raw"));
	struct span who = json_text(a, json_get(m, "provider_name"));
	char *text;

	raw = raw.n > 0 ? unfold(a, raw, now_s, depth, out) : none;
	if (raw.n == 0 || who.n == 0 || who.n > TITLE_MAX || raw.n > MESSAGE_MAX)
		return raw;
	text = arena_printf(a, "%.*s: %.*s", (int)who.n, who.p, (int)raw.n, raw.p);
	return text != NULL ? span_of(text) : raw;
}

static struct span
read_message(struct arena *a, const struct json *o)
{
	const struct json *m = json_want(o, "message");

	return json_is(m, 'o') ? read_detail(a, json_get(m, "detail")) : json_text(a, m);
}

static void
read_object(
    struct arena *a, const struct json *o, uint64_t now_s, unsigned depth, struct error_texts *out)
{
	const struct json *error;
	struct span text;

	if (json_is(o, 'a'))
		o = json_at(o, 0);
	if (!json_is(o, 'o'))
		return;
	error = json_want(o, "error");
	if (error == NULL)
		error = json_want(json_get(o, "response"), "error");
	if (json_is(error, 'o')) {
		read_words(a, error, out);
		read_details(a, json_get(error, "details"), now_s, out);
		read_resets(error, now_s, out);
		first(&out->message,
		    read_metadata(a, json_get(error, "metadata"), now_s, depth, out));
		text = read_message(a, error);
		first(&out->message, text.n > 0 ? unfold(a, text, now_s, depth, out) : none);
	} else {
		text = json_text(a, error);
		first(&out->message, text.n > 0 ? unfold(a, text, now_s, depth, out) : none);
	}
	read_words(a, o, out);
	read_resets(o, now_s, out);
	text = read_message(a, o);
	first(&out->message, text.n > 0 ? unfold(a, text, now_s, depth, out) : none);
	first(&out->message, read_detail(a, json_want(o, "detail")));
	first(&out->message, json_text(a, json_get(json_at(json_get(o, "errors"), 0), "message")));
	first(&out->message, json_text(a, json_get(o, "Message")));
	first(&out->message, json_text(a, json_get(json_get(o, "base_resp"), "status_msg")));
}

/* What stands between <title> and its end. */
static struct span
read_html(struct span body)
{
	static const char open[] = "<title";
	size_t n = MIN(body.n, 65536), i, from;

	for (i = 0; i + sizeof open < n; i++)
		if (strncasecmp(body.p + i, open, sizeof open - 1) == 0)
			break;
	if (i + sizeof open >= n)
		return none;
	while (i < n && body.p[i] != '>')
		i++;
	for (from = ++i; i < n && body.p[i] != '<';)
		i++;
	if (from >= n)
		return none;
	return (struct span){body.p + from, MIN(i - from, TITLE_MAX)};
}

void
error_texts_read(struct arena *a, struct span body, uint64_t now_s, struct error_texts *out)
{
	const struct json *root;

	*out = (struct error_texts){0};
	while (body.n > 0 && isspace((unsigned char)*body.p)) {
		body.p++;
		body.n--;
	}
	if (body.n == 0 || body.n > BODY_MAX)
		return;
	if (body.p[0] == '<') {
		out->message = read_html(body);
		return;
	}
	if (json_parse(a, body, &root) != 0) {
		if (body.p[0] != '{' && body.p[0] != '[')
			out->message = (struct span){body.p, MIN(body.n, TITLE_MAX)};
		return;
	}
	if (json_is(root, 's'))
		out->message = json_text(a, root);
	else
		read_object(a, root, now_s, 0, out);
	if (out->retry_ms == 0)
		out->retry_ms = retry_in_text(out->message);
}

/* ---- cleaning ---- */

static bool
is_token(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '*' || c == '.' ||
	       c == ':' || c == '/';
}

/* Dotted numbers with or without a port; hosts that are not spoken to over TLS. */
static bool
is_private(struct span t)
{
	unsigned dots = 0, digits = 0;

	if (t.n >= 7 && strncasecmp(t.p, "http://", 7) == 0)
		return true;
	for (size_t i = 0; i < t.n; i++) {
		if (t.p[i] == '.')
			dots++;
		else if (isdigit((unsigned char)t.p[i]))
			digits++;
		else if (t.p[i] != ':' || dots != 3)
			return false;
	}
	return dots >= 3 && digits >= 4;
}

/* Ids of organisations, projects and accounts, and keys that were shown with stars. */
static bool
is_account(struct span t)
{
	static const char *const starts[] = {
	    "org-", "proj_", "proj-", "arn:aws", "user-", "acct_", "account/", "projects/"};
	unsigned digits = 0;

	for (size_t i = 0; i < NELEM(starts); i++) {
		size_t n = strlen(starts[i]);
		if (t.n >= n + 6 && memcmp(t.p, starts[i], n) == 0)
			return true;
	}
	if (t.n >= 6 && memmem(t.p, t.n, "***", 3) != NULL)
		return true;
	for (size_t i = 0; i < t.n; i++)
		digits += isdigit((unsigned char)t.p[i]) != 0;
	return t.n == 12 && digits == 12;
}

/* In place, never longer. */
static size_t
hide_tokens(char *p, size_t n)
{
	size_t in = 0, out = 0;

	while (in < n) {
		size_t len = 0, tail = 0;

		while (in + len < n && is_token(p[in + len]))
			len++;
		while (
		    tail < len && (p[in + len - tail - 1] == '.' || p[in + len - tail - 1] == ':'))
			tail++;
		if (len - tail >= 6 && (is_private((struct span){p + in, len - tail}) ||
					   is_account((struct span){p + in, len - tail}))) {
			memcpy(p + out, "***", 3);
			out += 3;
			in += len - tail;
			len = tail;
		}
		if (len == 0 && in < n)
			len = 1;
		memmove(p + out, p + in, len);
		out += len;
		in += len;
	}
	return out;
}

static size_t
hide_secret(char *p, size_t n, struct span secret)
{
	size_t in = 0, out = 0;

	if (secret.p == NULL || secret.n < SECRET_MIN)
		return n;
	while (in < n) {
		const char *at = memmem(p + in, n - in, secret.p, secret.n);
		size_t len = at != NULL ? (size_t)(at - p) - in : n - in;

		memmove(p + out, p + in, len);
		out += len;
		in += len;
		if (at != NULL) {
			memcpy(p + out, "***", 3);
			out += 3;
			in += secret.n;
		}
	}
	return out;
}

/* Characters are not cut in two. */
static size_t
cut_at(const char *p, size_t n, size_t max)
{
	if (n <= max)
		return n;
	for (n = max; n > 0 && ((unsigned char)p[n] & 0xc0) == 0x80;)
		n--;
	return n;
}

struct span
error_text_clean(struct arena *a, struct span provider, struct span text, struct span secret)
{
	size_t head, n;
	char *p;

	while (text.n > 0 && isspace((unsigned char)*text.p)) {
		text.p++;
		text.n--;
	}
	/* what is cut off later must not leave half of a secret, so that it goes first */
	if (text.n == 0 || text.n > BODY_MAX ||
	    (p = arena_alloc(a, provider.n + text.n + 4)) == NULL)
		return none;
	head = provider.n > 0 ? provider.n + 3 : 0;
	if (head > 0) {
		p[0] = '[';
		memcpy(p + 1, provider.p, provider.n);
		memcpy(p + 1 + provider.n, "] ", 2);
	}
	memcpy(p + head, text.p, text.n);
	n = hide_secret(p + head, text.n, secret);
	n = log_redact(p + head, n);
	n = hide_tokens(p + head, n);
	n = cut_at(p + head, n, MESSAGE_MAX);
	for (size_t i = head; i < head + n; i++)
		if ((unsigned char)p[i] < ' ' && p[i] != '\n' && p[i] != '\t')
			p[i] = ' ';
	while (n > 0 && isspace((unsigned char)p[head + n - 1]))
		n--;
	return n > 0 ? (struct span){p, head + n} : none;
}
