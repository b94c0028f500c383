/* An answer that came whole. */
#include "proto/canon_error.h"
#include "proto/cohere/cohere.h"
#include "shared/err.h"

/* ---- decoding ---- */

static bool
read_count(const struct json *o, const char *name, uint64_t *out)
{
	int64_t n;

	if (!json_int(json_get(o, name), &n) || n < 0)
		return false;
	*out = (uint64_t)n;
	return true;
}

/* billed_units are about money and leave out what the service adds to the prompt. */
void
cohere_read_usage(const struct json *usage, struct canon_usage *out)
{
	const struct json *tokens = json_get(usage, "tokens");

	*out = (struct canon_usage){.from = DIALECT_COHERE};
	out->has_in = read_count(tokens, "input_tokens", &out->in_total);
	out->has_out = read_count(tokens, "output_tokens", &out->out_total);
	read_count(tokens, "image_tokens", &out->in_image);
	read_count(usage, "cached_tokens", &out->in_cached);
	out->in_cached = MIN(out->in_cached, out->in_total);
}

bool
cohere_failed(struct span word)
{
	enum canon_finish_reason reason = canon_finish_of(word);

	return reason == FINISH_ERROR || (word.n > 6 && __builtin_memcmp(word.p, "ERROR_", 6) == 0);
}

void
cohere_error(struct arena *a, const struct json *o, struct canon_error *out)
{
	canon_error_decode(a, 200, o->raw, (struct span){NULL, 0}, out);
	if (json_equals(json_get(o, "finish_reason"), "TIMEOUT"))
		out->class = ERROR_TIMEOUT;
	if (out->code.p == NULL)
		out->code = span_of("upstream_malformed");
}

/* Where a citation's offsets count: in the content that it names, or in the first. */
static struct canon_part *
cited_text(const struct json *citation, struct canon_parts *parts)
{
	struct canon_part *p;
	int64_t index = -1, i = 0;

	json_int(json_get(citation, "content_index"), &index);
	TAILQ_FOREACH (p, parts, link) {
		if (p->src.hint & HINT_PLAN)
			continue;
		if (p->kind == PART_TEXT && (index < 0 || i == index))
			return p;
		i++;
	}
	return NULL;
}

static int
add_citations(struct arena *a, const struct json *citations, struct canon_parts *parts)
{
	struct canon_annotation *n;
	int r;

	json_each (it, json_is(citations, 'a') ? citations : NULL) {
		struct canon_part *p = cited_text(it, parts);
		if (p == NULL)
			continue;
		if ((r = cohere_citation(a, it, &n)) != 0)
			return r;
		if (n != NULL)
			TAILQ_INSERT_TAIL(&p->annotations, n, link);
	}
	return 0;
}

int
cohere_decode_response(
    struct arena *a, struct span body, struct canon_response *out, struct canon_error *err)
{
	static const char *const known[] = {"id", "message", "finish_reason", "usage", NULL};
	/* Citations are extras, too: those that others have no form for go back from there. */
	static const char *const known_message[] = {
	    "role", "content", "tool_plan", "tool_calls", NULL};
	const struct json *root, *message, *usage;
	struct canon_choice *c;
	int r = json_parse(a, body, &root);

	if (r != 0)
		return r == E_NOMEM ? r : E_SYNTAX;
	message = json_get(root, "message");
	if (json_want(root, "error") != NULL || json_is(message, 's')) {
		canon_error_decode(a, 200, body, (struct span){NULL, 0}, err);
		return E_DENIED;
	}
	if (!json_is(message, 'o'))
		return E_SYNTAX;
	if ((c = canon_choice_new(a, 0)) == NULL)
		return E_NOMEM;
	c->finish.raw = json_text(a, json_get(root, "finish_reason"));
	if (cohere_failed(c->finish.raw)) {
		cohere_error(a, root, err);
		return E_DENIED;
	}
	c->finish.reason = canon_finish_of(c->finish.raw);
	*out = (struct canon_response){.from = DIALECT_COHERE, .root = root, .choices = c};
	out->id = json_text(a, json_get(root, "id"));
	usage = json_want(root, "usage");
	cohere_read_usage(usage, &out->usage);
	if (usage != NULL)
		out->usage.raw = usage->raw;
	canon_source_init(&out->src, DIALECT_COHERE);
	canon_source_init(&c->message, DIALECT_COHERE);
	if ((r = cohere_read_message(a, message, &c->parts, &c->message.hint)) != 0 ||
	    (r = add_citations(a, json_get(message, "citations"), &c->parts)) != 0 ||
	    (r = canon_extras(a, &c->message, message, known_message)) != 0)
		return r;
	return canon_extras(a, &out->src, root, known);
}

/* ---- encoding ---- */

static const char *const words[FINISHES] = {
    [FINISH_NONE] = "COMPLETE",
    [FINISH_STOP] = "COMPLETE",
    [FINISH_LENGTH] = "MAX_TOKENS",
    [FINISH_TOOL_CALLS] = "TOOL_CALL",
    [FINISH_STOP_SEQUENCE] = "STOP_SEQUENCE",
    [FINISH_CONTENT_FILTER] = "ERROR",
    [FINISH_REFUSAL] = "COMPLETE",
    [FINISH_PAUSE] = "MAX_TOKENS",
    [FINISH_CONTEXT_WINDOW] = "MAX_TOKENS",
    [FINISH_MALFORMED] = "ERROR",
    [FINISH_ERROR] = "ERROR",
    [FINISH_UNKNOWN] = "COMPLETE",
};

const char *
cohere_word(enum canon_finish_reason reason)
{
	return words[reason];
}

void
cohere_put_usage(struct wire *o, const struct canon_usage *u)
{
	if (u->from == DIALECT_COHERE && u->raw.p != NULL) {
		jsonw_m_raw(&o->w, "usage", u->raw);
		return;
	}
	jsonw_m_open(&o->w, "usage", '{');
	jsonw_m_open(&o->w, "tokens", '{');
	jsonw_m_u64(&o->w, "input_tokens", u->in_total);
	jsonw_m_u64(&o->w, "output_tokens", u->out_total);
	jsonw_close(&o->w, '}');
	jsonw_m_u64(&o->w, "cached_tokens", u->in_cached);
	jsonw_close(&o->w, '}');
}

int
cohere_encode_response(
    const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out)
{
	const struct canon_choice *c = r->choices;
	bool own = r->from == DIALECT_COHERE;
	struct wire o = {.w = {.b = out}, .a = ctx->arena};

	jsonw_open(&o.w, '{');
	jsonw_m_text(&o.w, "id", r->id);
	jsonw_m_open(&o.w, "message", '{');
	jsonw_m_cstr(&o.w, "role", "assistant");
	cohere_put_message(&o, &c->parts, &c->message, true);
	wire_put_extras(&o, &c->message, DIALECT_COHERE, NULL);
	jsonw_close(&o.w, '}');
	if (own && c->finish.raw.n > 0)
		jsonw_m_text(&o.w, "finish_reason", c->finish.raw);
	else
		jsonw_m_cstr(&o.w, "finish_reason", cohere_word(c->finish.reason));
	cohere_put_usage(&o, &r->usage);
	wire_put_extras(&o, &r->src, DIALECT_COHERE, NULL);
	jsonw_close(&o.w, '}');
	return wire_end(&o);
}
