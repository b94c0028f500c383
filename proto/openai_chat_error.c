/* Errors in the shape of OpenAI Chat Completions. */
#include <string.h>

#include "proto/openai_chat.h"
#include "proto/scan.h"

#define REQUEST "invalid_request_error"
#define SERVER "server_error"

static const struct chat_error_kind kinds[] = {
    {400, REQUEST, "bad_request", "Bad request"},
    {401, "authentication_error", "invalid_api_key", "Invalid API key provided"},
    {402, "billing_error", "payment_required", "Payment required"},
    {403, "permission_error", "insufficient_quota", "You exceeded your current quota"},
    {404, REQUEST, "model_not_found", "Model not found"},
    {405, REQUEST, "method_not_allowed", "Method not allowed"},
    {406, REQUEST, "model_not_supported", "Model not supported"},
    {408, REQUEST, "request_timeout", "The request did not arrive in time"},
    {413, "payload_too_large", "PAYLOAD_TOO_LARGE", "Request body too large"},
    {414, REQUEST, "uri_too_long", "The request target is too long"},
    {415, REQUEST, "unsupported_media_type", "The content type or coding is not supported"},
    {417, REQUEST, "expectation_failed", "The expectation is not supported"},
    {429, "rate_limit_error", "rate_limit_exceeded", "Rate limit exceeded"},
    {431, REQUEST, "headers_too_large", "The request head is too large"},
    {499, REQUEST, "client_closed_request", "Request aborted"},
    {500, SERVER, "internal_server_error", "Internal server error"},
    {501, SERVER, "not_implemented", "Not implemented"},
    {502, SERVER, "bad_gateway", "Bad gateway - upstream provider error"},
    {503, SERVER, "service_unavailable", "Service temporarily unavailable"},
    {504, SERVER, "gateway_timeout", "Gateway timeout"},
    {505, REQUEST, "http_version_not_supported", "The HTTP version is not supported"},
};

const struct chat_error_kind *
chat_error_kind(int status)
{
	static const struct chat_error_kind server = {
	    0, SERVER, "internal_server_error", "An error occurred"};
	static const struct chat_error_kind other = {0, REQUEST, "", "An error occurred"};
	for (size_t i = 0; i < NELEM(kinds); i++)
		if (kinds[i].status == status)
			return &kinds[i];
	return status >= 500 ? &server : &other;
}

static int
add_member(struct buf *b, const char *name, const char *value)
{
	int r = buf_addf(b, "\"%s\":\"", name);
	if (r == 0)
		r = scan_escape(b, value, strlen(value));
	return r == 0 ? buf_str(b, "\"") : r;
}

/* All of it or nothing. */
static int
add_error(struct buf *b, const char *before, int status, const char *type, const char *code,
    const char *message, const char *after)
{
	const struct chat_error_kind *kind = chat_error_kind(status);
	size_t len = b->len;
	int r = buf_addf(b, "%s{\"error\":{", before);
	if (r == 0)
		r = add_member(b, "message", message != NULL ? message : kind->message);
	if (r == 0)
		r = buf_str(b, ",");
	if (r == 0)
		r = add_member(b, "type", type != NULL ? type : kind->type);
	if (r == 0)
		r = buf_str(b, ",");
	if (r == 0)
		r = add_member(b, "code", code != NULL ? code : kind->code);
	if (r == 0)
		r = buf_addf(b, "}}%s", after);
	if (r != 0)
		b->len = len;
	return r;
}

int
chat_error_body(struct buf *b, int status, const char *type, const char *code, const char *message)
{
	return add_error(b, "", status, type, code, message, "");
}

int
chat_error_event(struct buf *b, int status, const char *type, const char *code, const char *message)
{
	return add_error(b, "data: ", status, type, code, message, "\n\n");
}
