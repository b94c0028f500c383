/* Usage, ends, failures: the words of this dialect (spec 14 to 16). */
#include <string.h>

#include "proto/canon_error.h"
#include "proto/chat/chat.h"
#include "shared/err.h"

/* ---- usage ---- */

static uint64_t
count(const struct json *o, const char *name)
{
	int64_t n;

	return json_int(json_want(o, name), &n) && n > 0 ? (uint64_t)n : 0;
}

/* xAI counts reasoning beside completion_tokens: the sum tells. */
static void
read_out(const struct json *u, struct canon_usage *out, uint64_t total)
{
	out->has_out = json_want(u, "completion_tokens") != NULL;
	out->out_total = count(u, "completion_tokens");
	if (out->out_reasoning > 0 && total == out->in_total + out->out_total + out->out_reasoning)
		out->out_total += out->out_reasoning;
}

static void
read_usage(const struct json *u, struct canon_usage *out)
{
	const struct json *in = json_want(u, "prompt_tokens_details"),
			  *details = json_want(u, "completion_tokens_details");

	*out = (struct canon_usage){.raw = u->raw, .from = DIALECT_CHAT};
	out->has_in = json_want(u, "prompt_tokens") != NULL;
	out->in_total = count(u, "prompt_tokens");
	out->in_cached = count(in, "cached_tokens");
	if (out->in_cached == 0)
		out->in_cached = count(u, "prompt_cache_hit_tokens");
	if (out->in_cached == 0)
		out->in_cached = count(u, "cached_tokens");
	out->in_cache_write = count(in, "cache_write_tokens");
	if (out->in_cache_write == 0)
		out->in_cache_write = count(u, "cache_creation_input_tokens");
	/* OpenRouter on Gemini calls the same tokens read and written. */
	if (out->has_in && out->in_cached + out->in_cache_write > out->in_total)
		out->in_cache_write = out->in_total - MIN(out->in_total, out->in_cached);
	out->in_audio = count(in, "audio_tokens");
	out->in_image = count(in, "image_tokens");
	out->out_reasoning = count(details, "reasoning_tokens");
	out->out_audio = count(details, "audio_tokens");
	read_out(u, out, count(u, "total_tokens"));
}

bool
chat_read_usage(const struct json *holder, struct canon_usage *out)
{
	const struct json *u = json_want(holder, "usage");

	if (u == NULL)
		u = json_want(json_want(holder, "x_groq"), "usage");
	if (u == NULL) /* Moonshot: in the last chunk's choice */
		u = json_want(json_at(json_want(holder, "choices"), 0), "usage");
	if (!json_is(u, 'o'))
		return false;
	read_usage(u, out);
	return out->has_in || out->has_out;
}

void
chat_put_usage(struct jsonw *w, const struct canon_usage *u)
{
	if (u->from == DIALECT_CHAT && u->raw.p != NULL && u->has_in && u->has_out) {
		jsonw_m_raw(w, "usage", u->raw);
		return;
	}
	jsonw_m_open(w, "usage", '{');
	jsonw_m_u64(w, "prompt_tokens", u->in_total);
	jsonw_m_u64(w, "completion_tokens", u->out_total);
	jsonw_m_u64(w, "total_tokens", u->in_total + u->out_total);
	jsonw_m_open(w, "prompt_tokens_details", '{');
	jsonw_m_u64(w, "cached_tokens", u->in_cached);
	jsonw_m_u64(w, "audio_tokens", u->in_audio);
	if (u->in_cache_write > 0)
		jsonw_m_u64(w, "cache_write_tokens", u->in_cache_write);
	jsonw_close(w, '}');
	jsonw_m_open(w, "completion_tokens_details", '{');
	jsonw_m_u64(w, "reasoning_tokens", u->out_reasoning);
	jsonw_m_u64(w, "audio_tokens", u->out_audio);
	jsonw_m_u64(w, "accepted_prediction_tokens", 0);
	jsonw_m_u64(w, "rejected_prediction_tokens", 0);
	jsonw_close(w, '}');
	jsonw_close(w, '}');
}

/* ---- ends ---- */

const char *
chat_finish_word(const struct canon_finish *f, bool legacy)
{
	static const char *const words[FINISHES] = {
	    [FINISH_STOP] = "stop",
	    [FINISH_LENGTH] = "length",
	    [FINISH_TOOL_CALLS] = "tool_calls",
	    [FINISH_STOP_SEQUENCE] = "stop",
	    [FINISH_CONTENT_FILTER] = "content_filter",
	    [FINISH_REFUSAL] = "content_filter",
	    [FINISH_PAUSE] = "length",
	    [FINISH_CONTEXT_WINDOW] = "length",
	    [FINISH_NONE] = "stop",
	    [FINISH_UNKNOWN] = "stop",
	};

	if (f->reason == FINISH_TOOL_CALLS && legacy)
		return "function_call";
	return words[f->reason];
}

/* ---- failures ---- */

/* What is empty, or false, is no error. */
bool
chat_is_failure(const struct json *error)
{
	return error != NULL && !json_is(error, 'f') && !json_equals(error, "");
}

void
chat_read_error(struct arena *a, struct span body, struct canon_error *out)
{
	struct canon_error_source src = {.status = 200, .body = body};

	canon_error_read(a, &src, out);
}

void
chat_put_error(struct jsonw *w, const struct canon_error *e)
{
	const struct canon_error_row *row = canon_error_class(e->class);

	jsonw_m_open(w, "error", '{');
	jsonw_m_text(
	    w, "message", e->message.p != NULL ? e->message : span_of("The request failed"));
	jsonw_m_cstr(w, "type", row->chat_type);
	jsonw_name(w, "param");
	if (e->param.p != NULL)
		jsonw_text(w, e->param);
	else
		jsonw_lit(w, "null");
	jsonw_name(w, "code");
	if (e->code.p != NULL)
		jsonw_text(w, e->code);
	else if (row->chat_code != NULL)
		jsonw_cstr(w, row->chat_code);
	else
		jsonw_lit(w, "null");
	jsonw_close(w, '}');
}

int
chat_encode_error(const struct canon_error *e, struct span request_id, struct buf *out)
{
	struct jsonw w = {.b = out};

	(void)request_id; /* in a header only */
	jsonw_open(&w, '{');
	chat_put_error(&w, e);
	jsonw_close(&w, '}');
	return buf_ok(out) ? 0 : E_TOO_LONG;
}

int
chat_error_status(const struct canon_error *e)
{
	return e->status != 0 ? e->status : canon_error_class(e->class)->status;
}
