/* usageMetadata (spec 15). */
#include "proto/gemini/gemini.h"

static bool
get_count(const struct json *o, const char *name, uint64_t *out)
{
	int64_t n;

	if (!json_int(gemini_get(o, name), &n) || n < 0)
		return false;
	*out = (uint64_t)n;
	return true;
}

/* Of [{"modality","tokenCount"}]. */
static uint64_t
of_modality(const struct json *list, const char *modality)
{
	uint64_t n;

	json_each (it, list)
		if (json_equals(gemini_get(it, "modality"), modality) &&
		    get_count(it, "tokenCount", &n))
			return n;
	return 0;
}

/* Google leaves out what is 0: with a total, a missing number of output tokens is known. */
void
gemini_read_usage(const struct json *u, struct canon_usage *out)
{
	const struct json *prompt = gemini_get(u, "promptTokensDetails");
	uint64_t in = 0, visible = 0, total = 0;
	bool seen, counted;

	*out = (struct canon_usage){0};
	if (!json_is(u, 'o'))
		return;
	out->raw = u->raw;
	out->from = DIALECT_GEMINI;
	out->has_in = get_count(u, "promptTokenCount", &in);
	(void)get_count(u, "toolUsePromptTokenCount", &out->in_tool);
	(void)get_count(u, "cachedContentTokenCount", &out->in_cached);
	out->in_total = in + out->in_tool;
	out->in_audio = of_modality(prompt, "AUDIO");
	out->in_image = of_modality(prompt, "IMAGE");
	seen = get_count(u, "candidatesTokenCount", &visible);
	seen = get_count(u, "thoughtsTokenCount", &out->out_reasoning) || seen;
	out->out_total = visible + out->out_reasoning;
	out->out_audio = of_modality(gemini_get(u, "candidatesTokensDetails"), "AUDIO");
	counted = get_count(u, "totalTokenCount", &total);
	if (!seen && counted && total >= out->in_total)
		out->out_total = total - out->in_total;
	out->has_out = seen || counted;
}

static void
put_count(struct gemini_writer *o, const char *name, uint64_t n)
{
	if (n > 0)
		jsonw_m_u64(&o->w, name, n);
}

void
gemini_put_usage(struct gemini_writer *o, const struct canon_usage *u)
{
	uint64_t in_tool = MIN(u->in_tool, u->in_total);
	uint64_t thought = MIN(u->out_reasoning, u->out_total);

	if (u->from == DIALECT_GEMINI && u->raw.p != NULL && !u->estimated) {
		jsonw_m_raw(&o->w, "usageMetadata", u->raw);
		return;
	}
	jsonw_m_open(&o->w, "usageMetadata", '{');
	jsonw_m_u64(&o->w, "promptTokenCount", u->in_total - in_tool);
	jsonw_m_u64(&o->w, "candidatesTokenCount", u->out_total - thought);
	put_count(o, "thoughtsTokenCount", thought);
	put_count(o, "cachedContentTokenCount", u->in_cached);
	put_count(o, "toolUsePromptTokenCount", in_tool);
	jsonw_m_u64(&o->w, "totalTokenCount", u->in_total + u->out_total);
	jsonw_close(&o->w, '}');
}
