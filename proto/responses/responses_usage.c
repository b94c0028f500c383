/* Tokens. Both details objects are always written: the SDKs read them unguarded. */
#include "proto/responses/responses.h"

static uint64_t
count(const struct json *o, const char *name, bool *known)
{
	int64_t n = 0;
	bool ok = json_int(json_get(o, name), &n) && n >= 0;

	if (known != NULL)
		*known = ok;
	return ok ? (uint64_t)n : 0;
}

void
responses_usage_read(const struct json *j, struct canon_usage *u)
{
	const struct json *in = json_want(j, "input_tokens_details");
	const struct json *out = json_want(j, "output_tokens_details");

	*u = (struct canon_usage){0};
	if (!json_is(j, 'o'))
		return;
	u->in_total = count(j, "input_tokens", &u->has_in);
	u->in_cached = count(in, "cached_tokens", NULL);
	u->in_cache_write = count(in, "cache_write_tokens", NULL);
	u->out_total = count(j, "output_tokens", &u->has_out);
	u->out_reasoning = count(out, "reasoning_tokens", NULL);
	u->raw = j->raw;
	u->from = DIALECT_RESPONSES;
}

static uint64_t
sum(uint64_t x, uint64_t y)
{
	return x > UINT64_MAX - y ? UINT64_MAX : x + y;
}

void
responses_usage_put(struct jsonw *w, const struct canon_usage *u, struct arena *a)
{
	static const char *const known[] = {"input_tokens", "input_tokens_details", "output_tokens",
	    "output_tokens_details", "total_tokens", NULL};
	static const char *const known_in[] = {"cached_tokens", "cache_write_tokens", NULL};
	static const char *const known_out[] = {"reasoning_tokens", NULL};
	const struct json *j = NULL, *in;

	if (u->from == DIALECT_RESPONSES && u->raw.n > 0 && json_parse(a, u->raw, &j) != 0)
		j = NULL;
	in = json_want(j, "input_tokens_details");
	jsonw_open(w, '{');
	jsonw_m_u64(w, "input_tokens", u->in_total);
	jsonw_m_open(w, "input_tokens_details", '{');
	jsonw_m_u64(w, "cached_tokens", u->in_cached);
	if (u->in_cache_write > 0 || json_want(in, "cache_write_tokens") != NULL)
		jsonw_m_u64(w, "cache_write_tokens", u->in_cache_write);
	canon_put_rest(w, in, known_in);
	jsonw_close(w, '}');
	jsonw_m_u64(w, "output_tokens", u->out_total);
	jsonw_m_open(w, "output_tokens_details", '{');
	jsonw_m_u64(w, "reasoning_tokens", u->out_reasoning);
	canon_put_rest(w, json_want(j, "output_tokens_details"), known_out);
	jsonw_close(w, '}');
	jsonw_m_u64(w, "total_tokens", sum(u->in_total, u->out_total));
	canon_put_rest(w, j, known);
	jsonw_close(w, '}');
}
