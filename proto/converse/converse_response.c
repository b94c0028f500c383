/* An answer that came whole. */
#include "proto/canon_error.h"
#include "proto/converse/converse.h"
#include "shared/err.h"

/* ---- decoding ---- */

static uint64_t
count_of(const struct json *o, const char *name, bool *has)
{
	int64_t n;

	*has = json_int(json_get(o, name), &n) && n >= 0;
	return *has ? (uint64_t)n : 0;
}

static void
read_split(const struct json *details, struct canon_usage *out)
{
	bool has;

	json_each (it, json_is(details, 'a') ? details : NULL) {
		uint64_t n = count_of(it, "inputTokens", &has);
		if (json_equals(json_get(it, "ttl"), "1h"))
			out->in_cache_write_1h = n;
		else if (json_equals(json_get(it, "ttl"), "5m"))
			out->in_cache_write_5m = n;
	}
}

/* What was cached stands beside inputTokens, not in it (spec 15.2). */
void
converse_read_usage(const struct json *usage, struct canon_usage *out)
{
	bool has;
	uint64_t fresh;

	*out = (struct canon_usage){.from = DIALECT_CONVERSE};
	fresh = count_of(usage, "inputTokens", &out->has_in);
	out->in_cached = count_of(usage, "cacheReadInputTokens", &has);
	out->in_cache_write = count_of(usage, "cacheWriteInputTokens", &has);
	if (__builtin_add_overflow(fresh, out->in_cached, &out->in_total) ||
	    __builtin_add_overflow(out->in_total, out->in_cache_write, &out->in_total))
		out->in_total = UINT64_MAX;
	out->out_total = count_of(usage, "outputTokens", &out->has_out);
	read_split(json_get(usage, "cacheDetails"), out);
}

int
converse_decode_response(
    struct arena *a, struct span body, struct canon_response *out, struct canon_error *err)
{
	static const char *const known[] = {"output", "stopReason", "usage", NULL};
	static const char *const known_output[] = {"message", NULL};
	static const char *const known_message[] = {"role", "content", NULL};
	const struct json *root, *output, *message, *content, *usage;
	struct canon_choice *c;
	int r = json_parse(a, body, &root);

	if (r != 0)
		return r == E_NOMEM ? r : E_SYNTAX;
	output = json_get(root, "output");
	message = json_get(output, "message");
	if (!json_is(message, 'o')) {
		if (json_get(root, "message") == NULL && json_get(root, "Message") == NULL)
			return E_SYNTAX;
		canon_error_decode(a, 200, body, (struct span){NULL, 0}, err);
		return E_DENIED;
	}
	if ((c = canon_choice_new(a, 0)) == NULL)
		return E_NOMEM;
	*out = (struct canon_response){.from = DIALECT_CONVERSE, .root = root, .choices = c};
	canon_source_init(&out->src, DIALECT_CONVERSE);
	canon_source_init(&c->src, DIALECT_CONVERSE);
	canon_source_init(&c->message, DIALECT_CONVERSE);
	c->finish.raw = json_text(a, json_get(root, "stopReason"));
	c->finish.reason = canon_finish_of(c->finish.raw);
	usage = json_want(root, "usage");
	converse_read_usage(usage, &out->usage);
	if (usage != NULL)
		out->usage.raw = usage->raw;
	content = json_get(message, "content");
	json_each (it, json_is(content, 'a') ? content : NULL)
		if ((r = converse_read_block(a, it, &c->parts)) != 0)
			return r;
	if ((r = canon_extras(a, &c->src, output, known_output)) != 0 ||
	    (r = canon_extras(a, &c->message, message, known_message)) != 0)
		return r;
	return canon_extras(a, &out->src, root, known);
}

/* ---- encoding ---- */

static const char *const words[FINISHES] = {
    [FINISH_NONE] = "end_turn",
    [FINISH_STOP] = "end_turn",
    [FINISH_LENGTH] = "max_tokens",
    [FINISH_TOOL_CALLS] = "tool_use",
    [FINISH_STOP_SEQUENCE] = "stop_sequence",
    [FINISH_CONTENT_FILTER] = "content_filtered",
    [FINISH_REFUSAL] = "content_filtered",
    [FINISH_PAUSE] = "max_tokens",
    [FINISH_CONTEXT_WINDOW] = "model_context_window_exceeded",
    [FINISH_MALFORMED] = "malformed_model_output",
    [FINISH_ERROR] = "malformed_model_output",
    [FINISH_UNKNOWN] = "end_turn",
};

const char *
converse_word(enum canon_finish_reason reason)
{
	return words[reason];
}

static void
put_detail(struct wire *o, const char *ttl, uint64_t n)
{
	if (n == 0)
		return;
	jsonw_open(&o->w, '{');
	jsonw_m_cstr(&o->w, "ttl", ttl);
	jsonw_m_u64(&o->w, "inputTokens", n);
	jsonw_close(&o->w, '}');
}

void
converse_put_usage(struct wire *o, const struct canon_usage *u)
{
	uint64_t cached = u->in_cached + u->in_cache_write;

	if (u->from == DIALECT_CONVERSE && u->raw.p != NULL) {
		jsonw_m_raw(&o->w, "usage", u->raw);
		return;
	}
	jsonw_m_open(&o->w, "usage", '{');
	jsonw_m_u64(&o->w, "inputTokens", u->in_total > cached ? u->in_total - cached : 0);
	jsonw_m_u64(&o->w, "outputTokens", u->out_total);
	jsonw_m_u64(&o->w, "totalTokens", u->in_total + u->out_total);
	jsonw_m_u64(&o->w, "cacheReadInputTokens", u->in_cached);
	jsonw_m_u64(&o->w, "cacheWriteInputTokens", u->in_cache_write);
	if (u->in_cache_write_5m + u->in_cache_write_1h > 0) {
		jsonw_m_open(&o->w, "cacheDetails", '[');
		put_detail(o, "5m", u->in_cache_write_5m);
		put_detail(o, "1h", u->in_cache_write_1h);
		jsonw_close(&o->w, ']');
	}
	jsonw_close(&o->w, '}');
}

int
converse_encode_response(
    const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out)
{
	struct converse_writer c = {.o = {.w = {.b = out}, .a = ctx->arena}};
	const struct canon_choice *choice = r->choices;
	bool own = r->from == DIALECT_CONVERSE;
	struct wire *o = &c.o;
	const struct canon_part *p;

	jsonw_open(&o->w, '{');
	jsonw_m_open(&o->w, "output", '{');
	jsonw_m_open(&o->w, "message", '{');
	jsonw_m_cstr(&o->w, "role", "assistant");
	jsonw_m_open(&o->w, "content", '[');
	TAILQ_FOREACH (p, &choice->parts, link)
		if (converse_goes(p))
			converse_put_block(&c, p);
	jsonw_close(&o->w, ']');
	wire_put_extras(o, &choice->message, DIALECT_CONVERSE, NULL);
	jsonw_close(&o->w, '}');
	wire_put_extras(o, &choice->src, DIALECT_CONVERSE, NULL);
	jsonw_close(&o->w, '}');
	if (own && choice->finish.raw.n > 0)
		jsonw_m_text(&o->w, "stopReason", choice->finish.raw);
	else
		jsonw_m_cstr(&o->w, "stopReason", converse_word(choice->finish.reason));
	converse_put_usage(o, &r->usage);
	wire_put_extras(o, &r->src, DIALECT_CONVERSE, NULL);
	jsonw_close(&o->w, '}');
	return wire_end(o);
}
