/* Classes of failures: what they are called, and by what signs they are known (spec 16.1). */
#include "proto/canon_error.h"

#include <string.h>
#include <strings.h>

#include "proto/canon_error_own.h"

#define BAD_REQUEST "invalid_request_error"
#define SERVER "server_error"
#define SIGN_WITHIN 8192u /* bytes of a text in which signs are looked for */

static const struct canon_error_row rows[ERROR_CLASSES] = {
    [ERROR_BAD_REQUEST] = {400, 400, BAD_REQUEST, NULL, BAD_REQUEST, "INVALID_ARGUMENT"},
    [ERROR_CONTEXT_WINDOW] = {400, 400, BAD_REQUEST, "context_length_exceeded", BAD_REQUEST,
	"INVALID_ARGUMENT"},
    [ERROR_AUTH] = {401, 401, "authentication_error", "invalid_api_key", "authentication_error",
	"UNAUTHENTICATED"},
    [ERROR_BILLING] = {402, 402, "insufficient_quota", "insufficient_quota", "billing_error",
	"FAILED_PRECONDITION"},
    [ERROR_PERMISSION] = {403, 403, "permission_error", "permission_denied", "permission_error",
	"PERMISSION_DENIED"},
    [ERROR_NOT_FOUND] = {404, 404, BAD_REQUEST, "model_not_found", "not_found_error", "NOT_FOUND"},
    [ERROR_TOO_LARGE] = {413, 413, BAD_REQUEST, "request_too_large", "request_too_large",
	"INVALID_ARGUMENT"},
    [ERROR_RATE_LIMIT] = {429, 429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error",
	"RESOURCE_EXHAUSTED"},
    [ERROR_OVERLOADED] = {503, 529, SERVER, "overloaded", "overloaded_error", "UNAVAILABLE"},
    [ERROR_SERVER] = {500, 500, SERVER, "internal_server_error", "api_error", "INTERNAL"},
    [ERROR_TIMEOUT] = {504, 504, SERVER, "timeout", "timeout_error", "DEADLINE_EXCEEDED"},
    [ERROR_CONTENT_POLICY] = {400, 400, BAD_REQUEST, "content_policy_violation", BAD_REQUEST,
	"INVALID_ARGUMENT"},
    [ERROR_UNSUPPORTED] = {400, 400, BAD_REQUEST, "unsupported_value", BAD_REQUEST,
	"INVALID_ARGUMENT"},
};

const struct canon_error_row *
canon_error_class(enum canon_error_class c)
{
	return &rows[c];
}

enum canon_error_class
canon_error_of_status(int status)
{
	static const struct {
		int status;
		enum canon_error_class class;
	} map[] = {
	    {401, ERROR_AUTH},
	    {402, ERROR_BILLING},
	    {403, ERROR_PERMISSION},
	    {404, ERROR_NOT_FOUND},
	    {408, ERROR_TIMEOUT},
	    {413, ERROR_TOO_LARGE},
	    {424, ERROR_TIMEOUT},
	    {429, ERROR_RATE_LIMIT},
	    {503, ERROR_OVERLOADED},
	    {504, ERROR_TIMEOUT},
	    {529, ERROR_OVERLOADED},
	};

	for (size_t i = 0; i < NELEM(map); i++)
		if (map[i].status == status)
			return map[i].class;
	return status >= 400 && status < 500 ? ERROR_BAD_REQUEST : ERROR_SERVER;
}

/* ---- signs ---- */

/* Where a sign counts: statuses that mean many things, those of a refusal for now, errors without a
 * status. */
enum { IN_REQUEST = 1, IN_LIMIT = 2, IN_SERVER = 4, IN_200 = 8 };
#define IN_ANY (IN_REQUEST | IN_LIMIT | IN_SERVER | IN_200)
#define IN_MESSAGE 16 /* also in the sentence, not only among the words */

/* The first that is found decides. */
static const struct {
	const char *sign;
	unsigned where;
	enum canon_error_class class;
} signs[] = {
    {"context_length_exceeded", (IN_ANY & ~IN_LIMIT) | IN_MESSAGE, ERROR_CONTEXT_WINDOW},
    {"maximum context length", (IN_ANY & ~IN_LIMIT) | IN_MESSAGE, ERROR_CONTEXT_WINDOW},
    {"prompt is too long", (IN_ANY & ~IN_LIMIT) | IN_MESSAGE, ERROR_CONTEXT_WINDOW},
    {"exceeds the maximum number of tokens", (IN_ANY & ~IN_LIMIT) | IN_MESSAGE,
	ERROR_CONTEXT_WINDOW},
    {"too many tokens", IN_REQUEST | IN_MESSAGE, ERROR_CONTEXT_WINDOW},
    {"input is too long", (IN_ANY & ~IN_LIMIT) | IN_MESSAGE, ERROR_CONTEXT_WINDOW},
    {"content_length_exceeds_threshold", (IN_ANY & ~IN_LIMIT) | IN_MESSAGE, ERROR_CONTEXT_WINDOW},
    {"insufficient_quota", IN_ANY, ERROR_BILLING},
    {"credit balance is too low", IN_ANY | IN_MESSAGE, ERROR_BILLING},
    {"billing_error", IN_ANY, ERROR_BILLING},
    {"billing_hard_limit_reached", IN_ANY, ERROR_BILLING},
    {"api_key_invalid", IN_REQUEST | IN_200 | IN_MESSAGE, ERROR_AUTH},
    {"api key not valid", IN_REQUEST | IN_200 | IN_MESSAGE, ERROR_AUTH},
    {"invalid_api_key", IN_REQUEST | IN_200, ERROR_AUTH},
    {"accessdenied", IN_REQUEST | IN_200, ERROR_AUTH},
    {"authentication_error", IN_200, ERROR_AUTH},
    {"unauthenticated", IN_200, ERROR_AUTH},
    {"content_policy_violation", IN_REQUEST | IN_200, ERROR_CONTENT_POLICY},
    {"responsibleaipolicyviolation", IN_REQUEST | IN_200, ERROR_CONTENT_POLICY},
    {"content_filter", IN_REQUEST | IN_200, ERROR_CONTENT_POLICY},
    {"content management policy", IN_REQUEST | IN_MESSAGE, ERROR_CONTENT_POLICY},
    {"moderation_blocked", IN_REQUEST | IN_200, ERROR_CONTENT_POLICY},
    {"model_not_found", IN_REQUEST | IN_200, ERROR_NOT_FOUND},
    {"not_found_error", IN_200, ERROR_NOT_FOUND},
    {"invalid_model", IN_REQUEST | IN_200, ERROR_NOT_FOUND},
    {"is not a valid model", IN_REQUEST | IN_MESSAGE, ERROR_NOT_FOUND},
    {"provided model identifier is invalid", IN_REQUEST | IN_MESSAGE, ERROR_NOT_FOUND},
    {"usage_limit_reached", IN_ANY, ERROR_RATE_LIMIT},
    {"throttling", IN_ANY, ERROR_RATE_LIMIT},
    {"rate_limit", IN_ANY, ERROR_RATE_LIMIT},
    {"too_many_requests", IN_200, ERROR_RATE_LIMIT},
    {"resource_exhausted", IN_200, ERROR_RATE_LIMIT},
    {"servicequotaexceeded", IN_ANY, ERROR_RATE_LIMIT},
    {"overloaded", IN_SERVER | IN_LIMIT | IN_200, ERROR_OVERLOADED},
    {"serviceunavailable", IN_ANY, ERROR_OVERLOADED},
    {"modelnotready", IN_ANY, ERROR_OVERLOADED},
    {"slow_down", IN_ANY, ERROR_OVERLOADED},
    {"unavailable", IN_200, ERROR_OVERLOADED},
    {"modelstreamerror", IN_ANY, ERROR_TIMEOUT},
    {"modeltimeout", IN_ANY, ERROR_TIMEOUT},
    {"timeout", IN_200, ERROR_TIMEOUT},
    {"deadline_exceeded", IN_SERVER | IN_200, ERROR_TIMEOUT},
    {"internalserver", IN_200, ERROR_SERVER},
    {"permission", IN_200, ERROR_PERMISSION},
    {"request_too_large", IN_REQUEST | IN_200, ERROR_TOO_LARGE},
    {"validation", IN_200, ERROR_BAD_REQUEST},
    {"invalid_request", IN_200, ERROR_BAD_REQUEST},
    {"invalid_argument", IN_200, ERROR_BAD_REQUEST},
};

static bool
contains(struct span text, const char *sign)
{
	size_t n = strlen(sign), end = MIN(text.n, SIGN_WITHIN);

	for (size_t i = 0; end >= n && i <= end - n; i++)
		if (strncasecmp(text.p + i, sign, n) == 0)
			return true;
	return false;
}

static unsigned
place_of(int status)
{
	if (status < 400)
		return IN_200;
	if (status == 429)
		return IN_LIMIT;
	return status < 500 ? IN_REQUEST : IN_SERVER;
}

static enum canon_error_class
class_of(int status, const struct error_texts *t, struct span header)
{
	const struct span words[] = {t->code, t->type, t->status, t->reason, header};
	unsigned place = place_of(status);

	for (size_t i = 0; i < NELEM(signs); i++) {
		if ((signs[i].where & place) == 0)
			continue;
		for (unsigned k = 0; k < NELEM(words); k++)
			if (contains(words[k], signs[i].sign))
				return signs[i].class;
		if ((signs[i].where & IN_MESSAGE) != 0 && contains(t->message, signs[i].sign))
			return signs[i].class;
	}
	return canon_error_of_status(status);
}

/* The status for the client, where it is not the class's: what is the client's own fault keeps it.
 */
static void
set_status(int status, struct canon_error *out)
{
	switch (out->class) {
	case ERROR_BAD_REQUEST:
		if (status > 400 && status < 500)
			out->status = status;
		break;
	case ERROR_BILLING:
		if (status == 429)
			out->status = 429;
		break;
	case ERROR_SERVER:
		if (status != 500) {
			out->status = 502;
			out->code = span_of("bad_gateway");
		}
		break;
	default:
		break;
	}
}

void
canon_error_read(struct arena *a, const struct canon_error_source *src, struct canon_error *out)
{
	struct error_texts t;
	int status = src->status;

	*out = (struct canon_error){.class = ERROR_SERVER};
	error_texts_read(a, src->body, src->now_s, &t);
	if (status < 400 && t.number >= 400)
		status = t.number;
	out->class = class_of(status, &t, src->type);
	if (out->class == ERROR_BAD_REQUEST)
		out->code = error_text_clean(a, (struct span){NULL, 0}, t.code, src->secret);
	out->param = error_text_clean(a, (struct span){NULL, 0}, t.param, src->secret);
	set_status(status, out);
	out->retry_after_ms = t.retry_ms;
	out->message = error_text_clean(a, src->provider, t.message, src->secret);
	if (out->message.p == NULL)
		out->message = span_of(status >= 400 && status < 500
					   ? "The provider refused the request without saying why"
					   : "The provider failed without saying why");
}

void
canon_error_decode(
    struct arena *a, int status, struct span body, struct span secret, struct canon_error *out)
{
	const struct canon_error_source src = {.status = status, .body = body, .secret = secret};

	canon_error_read(a, &src, out);
}
