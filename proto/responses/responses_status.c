/* How an answer ended: status and incomplete_details (spec 14). */
#include "proto/responses/responses.h"

static enum canon_finish_reason
incomplete_reason(struct arena *a, const struct json *response)
{
	struct span word = responses_word(a, json_want(response, "incomplete_details"), "reason");
	enum canon_finish_reason r = canon_finish_of(word);

	/* Whatever it was: it must never look like a normal end. */
	return r == FINISH_CONTENT_FILTER || r == FINISH_CONTEXT_WINDOW || r == FINISH_REFUSAL
		   ? r
		   : FINISH_LENGTH;
}

bool
responses_finish_read(struct arena *a, const struct json *response, bool calls,
    struct canon_finish *f, struct canon_error *err)
{
	const struct json *status = json_want(response, "status"),
			  *error = json_want(response, "error");
	const struct json *details = json_want(response, "incomplete_details");

	*f = (struct canon_finish){.raw = responses_word(a, response, "status")};
	if (error != NULL || json_equals(status, "failed")) {
		responses_error_read(a, error, err);
		return false;
	}
	if (json_equals(status, "cancelled")) {
		*err = (struct canon_error){.class = ERROR_SERVER,
		    .code = span_of("cancelled"),
		    .message = span_of("The upstream cancelled the response.")};
		return false;
	}
	if (json_equals(status, "queued") || json_equals(status, "in_progress"))
		return true;
	if (json_equals(status, "incomplete")) {
		f->reason = incomplete_reason(a, response);
		if (details != NULL)
			f->details = details->raw;
		return true;
	}
	f->reason = calls ? FINISH_TOOL_CALLS : FINISH_STOP;
	return true;
}

const char *
responses_status_of(enum canon_finish_reason reason, bool refused, const char **why)
{
	*why = NULL;
	switch (reason) {
	case FINISH_LENGTH:
	case FINISH_CONTEXT_WINDOW:
	case FINISH_PAUSE:
		*why = "max_output_tokens";
		return "incomplete";
	case FINISH_CONTENT_FILTER:
		*why = "content_filter";
		return "incomplete";
	case FINISH_REFUSAL:
		if (refused)
			return "completed";
		*why = "content_filter";
		return "incomplete";
	case FINISH_NONE:
	case FINISH_MALFORMED:
	case FINISH_ERROR:
		return "failed";
	default:
		return "completed";
	}
}
