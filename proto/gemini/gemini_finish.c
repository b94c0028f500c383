/* finishReason (spec 14). */
#include "proto/gemini/gemini.h"

#define EMPTY "empty_response"
#define MALFORMED "upstream_malformed"

/* Google says STOP also behind calls. What is in no table is an end if something was said. */
bool
gemini_finish(struct span word, bool called, bool said, bool counted, struct canon_finish *out,
    const char **why)
{
	*out = (struct canon_finish){.reason = canon_finish_of(word), .raw = word};
	switch (out->reason) {
	case FINISH_MALFORMED:
	case FINISH_ERROR:
		*why = MALFORMED;
		return false;
	case FINISH_UNKNOWN:
		if (!said && !called) {
			*why = MALFORMED;
			return false;
		}
		out->reason = called ? FINISH_TOOL_CALLS : FINISH_STOP;
		return true;
	case FINISH_NONE:
	case FINISH_STOP:
	case FINISH_TOOL_CALLS:
		if (!said && !called && !counted) {
			*why = EMPTY;
			return false;
		}
		out->reason = called ? FINISH_TOOL_CALLS : FINISH_STOP;
		return true;
	default:
		return true;
	}
}

void
gemini_failure(struct arena *a, struct span word, const char *why, struct canon_error *e)
{
	if (word.n > 0)
		(void)canon_fail(a, e, ERROR_SERVER, NULL, "The model ended with %.*s",
		    (int)MIN(word.n, 64), word.p);
	else
		(void)canon_fail(a, e, ERROR_SERVER, NULL, "The model answered nothing");
	e->status = 502;
	e->code = span_of(why);
}

struct span
gemini_finish_word(const struct canon_finish *f, bool own)
{
	static const char *const words[FINISHES] = {
	    [FINISH_NONE] = "STOP",
	    [FINISH_STOP] = "STOP",
	    [FINISH_LENGTH] = "MAX_TOKENS",
	    [FINISH_TOOL_CALLS] = "STOP",
	    [FINISH_STOP_SEQUENCE] = "STOP",
	    [FINISH_CONTENT_FILTER] = "SAFETY",
	    [FINISH_REFUSAL] = "SAFETY",
	    [FINISH_PAUSE] = "MAX_TOKENS",
	    [FINISH_CONTEXT_WINDOW] = "MAX_TOKENS",
	    [FINISH_MALFORMED] = "MALFORMED_FUNCTION_CALL",
	    [FINISH_ERROR] = "OTHER",
	    [FINISH_UNKNOWN] = "OTHER",
	};

	if (own && f->raw.n > 0)
		return f->raw;
	return span_of(words[f->reason]);
}
