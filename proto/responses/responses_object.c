/*
 * The response object: what stands around the output, in whole answers and in the events created,
 * in_progress and at the end. What the client asked for is told back as it asked for it; an
 * upstream of this dialect fills in what the client left out.
 */
#include "proto/responses/responses.h"

/* Where a member comes from: the client's words, then the upstream's, then what is usual. */
static struct span
member(const struct responses_object *o, const struct encode_ctx *ctx, const char *name,
    const char *usual)
{
	const struct canon_request *asked = ctx->asked;
	const struct json *j = NULL;

	if (asked->from == DIALECT_RESPONSES)
		j = json_want(asked->root, name);
	if (j == NULL && o->r != NULL && o->r->from == DIALECT_RESPONSES)
		j = json_want(o->r->root, name);
	return j != NULL ? j->raw : span_of(usual);
}

static void
put(struct jsonw *w, const struct responses_object *o, const struct encode_ctx *ctx,
    const char *name, const char *usual)
{
	jsonw_m_raw(w, name, member(o, ctx, name, usual));
}

/* The upstream of this dialect says it with its defaults filled in. */
static const struct json *
upstreams(const struct responses_object *o, const char *name)
{
	return o->r != NULL && o->r->from == DIALECT_RESPONSES ? json_want(o->r->root, name) : NULL;
}

static const struct json *
asked_for(const struct encode_ctx *ctx, const char *name)
{
	return ctx->asked->from == DIALECT_RESPONSES ? json_want(ctx->asked->root, name) : NULL;
}

static void
put_tools(struct jsonw *w, const struct responses_object *o, const struct encode_ctx *ctx)
{
	const struct json *up = upstreams(o, "tools"), *own = asked_for(ctx, "tools");

	if (json_is(up, 'a'))
		jsonw_m_raw(w, "tools", up->raw);
	else
		jsonw_m_raw(w, "tools", json_is(own, 'a') ? own->raw : span_of("[]"));
}

static void
put_reasoning(struct jsonw *w, const struct responses_object *o, const struct encode_ctx *ctx)
{
	static const char *const known[] = {"effort", "summary", NULL};
	const struct json *up = upstreams(o, "reasoning"), *own = asked_for(ctx, "reasoning"), *j;

	if (up != NULL) {
		jsonw_m_raw(w, "reasoning", up->raw);
		return;
	}
	jsonw_m_open(w, "reasoning", '{');
	j = json_want(own, "effort");
	jsonw_m_raw(w, "effort", j != NULL ? j->raw : span_of("null"));
	j = json_want(own, "summary");
	jsonw_m_raw(w, "summary", j != NULL ? j->raw : span_of("null"));
	canon_put_rest(w, own, known);
	jsonw_close(w, '}');
}

static void
put_text(struct jsonw *w, const struct responses_object *o, const struct encode_ctx *ctx)
{
	static const char *const known[] = {"format", "verbosity", NULL};
	const struct json *up = upstreams(o, "text"), *own = asked_for(ctx, "text"), *j;

	if (up != NULL) {
		jsonw_m_raw(w, "text", up->raw);
		return;
	}
	jsonw_m_open(w, "text", '{');
	j = json_want(own, "format");
	jsonw_m_raw(w, "format", j != NULL ? j->raw : span_of("{\"type\":\"text\"}"));
	j = json_want(own, "verbosity");
	jsonw_m_raw(w, "verbosity", j != NULL ? j->raw : span_of("\"medium\""));
	canon_put_rest(w, own, known);
	jsonw_close(w, '}');
}

static void
put_error(struct jsonw *w, const struct canon_error *e)
{
	jsonw_name(w, "error");
	if (e == NULL) {
		jsonw_lit(w, "null");
		return;
	}
	jsonw_open(w, '{');
	jsonw_m_text(w, "code", e->code.n > 0 ? e->code : span_of(responses_error_code(e->class)));
	jsonw_m_text(w, "message", e->message.p != NULL ? e->message : span_of(""));
	jsonw_close(w, '}');
}

static void
put_usage(struct jsonw *w, const struct responses_object *o, struct arena *a)
{
	jsonw_name(w, "usage");
	if (o->usage != NULL)
		responses_usage_put(w, o->usage, a);
	else
		jsonw_lit(w, "null");
}

/* An upstream of this dialect says it itself: it is among the extras. */
static void
put_conversation(struct jsonw *w, const struct responses_object *o, const struct encode_ctx *ctx)
{
	if (ctx->asked->conversation.p == NULL || upstreams(o, "conversation") != NULL)
		return;
	jsonw_m_open(w, "conversation", '{');
	jsonw_m_text(w, "id", ctx->asked->conversation);
	jsonw_close(w, '}');
}

static void
put_head(struct jsonw *w, const struct responses_object *o, const struct encode_ctx *ctx)
{
	const struct json *done = upstreams(o, "completed_at");

	jsonw_m_text(w, "id", o->id);
	jsonw_m_cstr(w, "object", "response");
	jsonw_m_u64(w, "created_at", o->created);
	jsonw_name(w, "completed_at");
	if (!span_is(o->status, "completed"))
		jsonw_lit(w, "null");
	else if (done != NULL)
		jsonw_raw(w, done->raw);
	else
		jsonw_u64(w, MAX(ctx->now_s, o->created));
	jsonw_m_text(w, "status", o->status);
	jsonw_m_raw(w, "background",
	    upstreams(o, "background") != NULL ? upstreams(o, "background")->raw
					       : span_of("false"));
	put_error(w, o->error);
	jsonw_m_raw(
	    w, "incomplete_details", o->incomplete.p != NULL ? o->incomplete : span_of("null"));
}

void
responses_object_put(
    struct jsonw *w, const struct responses_object *o, const struct encode_ctx *ctx)
{
	jsonw_open(w, '{');
	put_head(w, o, ctx);
	put(w, o, ctx, "instructions", "null");
	put(w, o, ctx, "max_output_tokens", "null");
	put(w, o, ctx, "max_tool_calls", "null");
	jsonw_m_text(w, "model", o->model);
	jsonw_m_open(w, "output", '[');
	if (o->output.n > 0)
		buf_add(w->b, o->output.p, o->output.n);
	jsonw_close(w, ']');
	put(w, o, ctx, "parallel_tool_calls", "true");
	put(w, o, ctx, "previous_response_id", "null");
	put(w, o, ctx, "prompt_cache_key", "null");
	put_reasoning(w, o, ctx);
	put(w, o, ctx, "safety_identifier", "null");
	jsonw_m_text(
	    w, "service_tier", o->service_tier.n > 0 ? o->service_tier : span_of("default"));
	put(w, o, ctx, "store", "true");
	put(w, o, ctx, "temperature", "1.0");
	put_text(w, o, ctx);
	put(w, o, ctx, "tool_choice", "\"auto\"");
	put_tools(w, o, ctx);
	put(w, o, ctx, "top_logprobs", "0");
	put(w, o, ctx, "top_p", "1.0");
	put(w, o, ctx, "truncation", "\"disabled\"");
	put_usage(w, o, ctx->arena);
	put(w, o, ctx, "user", "null");
	put(w, o, ctx, "metadata", "{}");
	put_conversation(w, o, ctx);
	if (o->r != NULL)
		canon_put_extras(w, &o->r->src, DIALECT_RESPONSES);
	jsonw_close(w, '}');
}

bool
responses_wants_encrypted(const struct canon_request *asked)
{
	const struct json *include =
	    asked->from == DIALECT_RESPONSES ? json_want(asked->root, "include") : NULL;

	if (asked->store == 0)
		return true;
	if (json_is(include, 'a'))
		json_each (j, include)
			if (json_equals(j, "reasoning.encrypted_content"))
				return true;
	return false;
}
