/* {"error":{"code","message","status","details"}} (spec 16.2). */
#include "proto/canon_error.h"
#include "proto/gemini/gemini.h"
#include "shared/err.h"

const struct json *
gemini_error_in(const struct json *root)
{
	if (json_is(root, 'a') && root->count == 1)
		root = root->child;
	root = json_want(root, "error");
	return json_is(root, 'o') || json_is(root, 's') ? root : NULL;
}

int
gemini_error_status(const struct canon_error *e)
{
	return e->status != 0 ? e->status : canon_error_class(e->class)->status;
}

void
gemini_put_error(struct jsonw *w, const struct canon_error *e, bool details)
{
	jsonw_open(w, '{');
	jsonw_m_open(w, "error", '{');
	jsonw_m_i64(w, "code", gemini_error_status(e));
	jsonw_m_text(w, "message", e->message.p != NULL ? e->message : span_of(""));
	jsonw_m_cstr(w, "status", canon_error_class(e->class)->gemini_status);
	if (details)
		jsonw_m_lit(w, "details", "[]");
	jsonw_close(w, '}');
	jsonw_close(w, '}');
}

int
gemini_encode_error(const struct canon_error *e, struct span request_id, struct buf *out)
{
	struct jsonw w = {.b = out};

	(void)request_id; /* it has no place in this shape: a header carries it */
	gemini_put_error(&w, e, true);
	return buf_ok(out) ? 0 : E_TOO_LONG;
}
