/* Failures: read out of an answer, and written for a client. */
#include <string.h>

#include "proto/canon_error.h"
#include "proto/responses/responses.h"
#include "shared/err.h"

/* `code` or `type` of an error that stands in an answer with status 200. */
static const struct {
	const char *word;
	enum canon_error_class class;
} words[] = {
    {"rate_limit_exceeded", ERROR_RATE_LIMIT},
    {"rate_limit_error", ERROR_RATE_LIMIT},
    {"usage_limit_reached", ERROR_RATE_LIMIT},
    {"usage_not_included", ERROR_PERMISSION},
    {"too_many_requests", ERROR_RATE_LIMIT},
    {"tokens", ERROR_RATE_LIMIT},
    {"requests", ERROR_RATE_LIMIT},
    {"insufficient_quota", ERROR_BILLING},
    {"billing_hard_limit_reached", ERROR_BILLING},
    {"context_length_exceeded", ERROR_CONTEXT_WINDOW},
    {"string_above_max_length", ERROR_BAD_REQUEST},
    {"invalid_prompt", ERROR_BAD_REQUEST},
    {"invalid_request", ERROR_BAD_REQUEST},
    {"invalid_encrypted_content", ERROR_BAD_REQUEST},
    {"previous_response_not_found", ERROR_BAD_REQUEST},
    {"invalid_image", ERROR_BAD_REQUEST},
    {"invalid_image_format", ERROR_BAD_REQUEST},
    {"invalid_base64_image", ERROR_BAD_REQUEST},
    {"invalid_image_url", ERROR_BAD_REQUEST},
    {"image_too_large", ERROR_BAD_REQUEST},
    {"image_too_small", ERROR_BAD_REQUEST},
    {"image_parse_error", ERROR_BAD_REQUEST},
    {"failed_to_download_image", ERROR_BAD_REQUEST},
    {"image_content_policy_violation", ERROR_CONTENT_POLICY},
    {"content_policy_violation", ERROR_CONTENT_POLICY},
    {"content_filter", ERROR_CONTENT_POLICY},
    {"cyber_policy", ERROR_CONTENT_POLICY},
    {"bio_policy", ERROR_CONTENT_POLICY},
    {"model_not_found", ERROR_NOT_FOUND},
    {"invalid_api_key", ERROR_AUTH},
    {"authentication_error", ERROR_AUTH},
    {"permission_error", ERROR_PERMISSION},
    {"server_is_overloaded", ERROR_OVERLOADED},
    {"slow_down", ERROR_OVERLOADED},
    {"overloaded", ERROR_OVERLOADED},
    {"overloaded_error", ERROR_OVERLOADED},
    {"service_unavailable", ERROR_OVERLOADED},
    {"vector_store_timeout", ERROR_TIMEOUT},
    {"timeout", ERROR_TIMEOUT},
    {"server_error", ERROR_SERVER},
    {"internal_server_error", ERROR_SERVER},
    /* types, which are broader than codes: last */
    {"invalid_request_error", ERROR_BAD_REQUEST},
};

static bool
class_of(const struct json *word, enum canon_error_class *class)
{
	for (size_t i = 0; i < NELEM(words); i++)
		if (json_equals(word, words[i].word)) {
			*class = words[i].class;
			return true;
		}
	return false;
}

void
responses_error_read(struct arena *a, const struct json *error, struct canon_error *err)
{
	struct span message =
	    json_is(error, 's') ? json_text(a, error) : responses_word(a, error, "message");
	int64_t seconds;

	*err = (struct canon_error){.class = ERROR_SERVER};
	if (!class_of(json_get(error, "code"), &err->class))
		(void)class_of(json_get(error, "type"), &err->class);
	err->code = canon_copy(a, responses_word(a, error, "code"));
	err->param = canon_copy(a, responses_word(a, error, "param"));
	err->message = canon_copy(a, message);
	if (err->message.n == 0)
		err->message = span_of("The upstream reported an error without saying which.");
	if (json_int(json_get(error, "resets_in_seconds"), &seconds) && seconds > 0 &&
	    seconds < INT64_C(366) * 86400)
		err->retry_after_ms = (uint64_t)seconds * 1000;
}

/* Codex goes by these words: it waits at one, gives up at the other. */
const char *responses_error_code(enum canon_error_class class)
{
	const char *code;

	switch (class) {
	case ERROR_SERVER:
		return "server_error";
	case ERROR_OVERLOADED:
		return "server_is_overloaded";
	case ERROR_BAD_REQUEST:
		return "invalid_prompt";
	default:
		code = canon_error_class(class)->chat_code;
		return code != NULL ? code : "server_error";
	}
}

int
responses_encode_error(const struct canon_error *e, struct span request_id, struct buf *out)
{
	const struct canon_error_row *row = canon_error_class(e->class);
	struct jsonw w = {.b = out};

	(void)request_id; /* goes in a header */
	jsonw_open(&w, '{');
	jsonw_m_open(&w, "error", '{');
	jsonw_m_text(&w, "message", e->message.p != NULL ? e->message : span_of(""));
	jsonw_m_cstr(&w, "type", row->chat_type);
	jsonw_name(&w, "param");
	if (e->param.p != NULL)
		jsonw_text(&w, e->param);
	else
		jsonw_lit(&w, "null");
	jsonw_name(&w, "code");
	if (e->code.p != NULL)
		jsonw_text(&w, e->code);
	else if (row->chat_code != NULL)
		jsonw_cstr(&w, row->chat_code);
	else
		jsonw_lit(&w, "null");
	jsonw_close(&w, '}');
	jsonw_close(&w, '}');
	return buf_ok(out) ? 0 : E_TOO_LONG;
}

int
responses_error_status(const struct canon_error *e)
{
	return e->status != 0 ? e->status : canon_error_class(e->class)->status;
}
