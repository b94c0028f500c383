/* Whole answers. */

#include "proto/responses/responses.h"
#include "proto/signature.h"
#include "shared/err.h"

#define OUTPUT_MAX (256u << 20)

/* ---- reading ---- */

static bool
has_calls(const struct canon_parts *parts)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, parts, link)
		if (p->kind == PART_TOOL_CALL)
			return true;
	return false;
}

/* {"content": […]} of the first text that has any. */
static int
keep_logprobs(struct arena *a, struct canon_choice *c)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, &c->parts, link) {
		const struct canon_extra *x =
		    p->kind == PART_TEXT ? canon_extra_find(&p->src, "logprobs") : NULL;
		char *json;

		if (x == NULL || x->value.n < 3 || x->value.p[0] != '[')
			continue;
		if (x->value.n > INT32_MAX || (json = arena_printf(a, "{\"content\":%.*s}",
						   (int)x->value.n, x->value.p)) == NULL)
			return E_NOMEM;
		c->logprobs = span_of(json);
		return 0;
	}
	return 0;
}

static int
read_output(struct arena *a, const struct json *output, struct canon_response *r)
{
	struct responses_reader rd = {
	    .a = a, .answer = true, .origin = ORIGIN_OPENAI, .family = signature_family(r->model)};
	enum canon_role role;
	int e = 0;

	if (json_is(output, 'a'))
		for (const struct json *j = output->child; j != NULL && e == 0; j = j->next)
			e = responses_item_read(&rd, j, &r->choices->parts, &role);
	return e != 0 ? e : keep_logprobs(a, r->choices);
}

static int
read_members(struct arena *a, const struct json *root, struct canon_response *r)
{
	static const char *const known[] = {"id", "object", "created_at", "completed_at", "status",
	    "background", "error", "incomplete_details", "instructions", "max_output_tokens",
	    "max_tool_calls", "model", "output", "parallel_tool_calls", "previous_response_id",
	    "prompt_cache_key", "reasoning", "safety_identifier", "service_tier", "store",
	    "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation",
	    "usage", "user", "metadata", "output_text", NULL};
	const struct json *created = json_get(root, "created_at");
	int64_t at;
	double seconds;

	r->id = responses_word(a, root, "id");
	r->model = responses_word(a, root, "model");
	if (json_int(created, &at) && at > 0)
		r->created = (uint64_t)at;
	else if (json_is(created, 'n') && canon_number(created->raw, &seconds) && seconds > 0 &&
		 seconds < 1e12)
		r->created = (uint64_t)seconds;
	r->service_tier = responses_word(a, root, "service_tier");
	responses_usage_read(json_want(root, "usage"), &r->usage);
	return canon_extras(a, &r->src, root, known);
}

int
responses_decode_response(
    struct arena *a, struct span body, struct canon_response *out, struct canon_error *err)
{
	const struct json *root;
	int r = json_parse(a, body, &root);

	*out = (struct canon_response){.from = DIALECT_RESPONSES};
	if (r != 0)
		return r == E_NOMEM ? r : E_SYNTAX;
	if (root->type != 'o')
		return E_SYNTAX;
	if (json_want(root, "error") == NULL && json_get(root, "output") == NULL &&
	    json_want(root, "status") == NULL)
		return E_SYNTAX;
	out->root = root;
	canon_source_init(&out->src, DIALECT_RESPONSES);
	if ((r = read_members(a, root, out)) != 0)
		return r;
	if ((out->choices = canon_choice_new(a, 0)) == NULL)
		return E_NOMEM;
	if ((r = read_output(a, json_get(root, "output"), out)) != 0)
		return r;
	if (!responses_finish_read(
		a, root, has_calls(&out->choices->parts), &out->choices->finish, err))
		return E_DENIED;
	return 0;
}

/* ---- writing ---- */

static bool
has_refusal(const struct canon_parts *parts)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, parts, link)
		if (p->kind == PART_REFUSAL && p->text.n > 0)
			return true;
	return false;
}

static struct span
incomplete_details(struct arena *a, const struct canon_response *r, const char *why)
{
	char *json;

	if (why == NULL)
		return (struct span){NULL, 0};
	if (r->from == DIALECT_RESPONSES && r->choices->finish.details.p != NULL)
		return r->choices->finish.details;
	json = arena_printf(a, "{\"reason\":\"%s\"}", why);
	return json != NULL ? span_of(json) : (struct span){NULL, 0};
}

static struct span
logprobs_of(struct arena *a, const struct canon_choice *c)
{
	const struct json *j;

	if (c->logprobs.n == 0 || json_parse(a, c->logprobs, &j) != 0 ||
	    !json_is(json_get(j, "content"), 'a'))
		return (struct span){NULL, 0};
	return json_get(j, "content")->raw;
}

/* The last item of an answer that was cut is not complete. */
static void
put_output(
    struct buf *b, const struct canon_response *r, const struct encode_ctx *ctx, const char *status)
{
	struct jsonw w = {.b = b};
	struct responses_writer rw = {.w = &w,
	    .ctx = ctx,
	    .answer = true,
	    .status = "completed",
	    .encrypted = responses_wants_encrypted(ctx->asked),
	    .logprobs = logprobs_of(ctx->arena, r->choices)};
	const struct canon_part *p, *last = TAILQ_LAST(&r->choices->parts, canon_parts),
				    *first = last;

	for (p = last; p != NULL && responses_is_content(p, true);
	     p = TAILQ_PREV(p, canon_parts, link)) {
		first = p;
		if (responses_is_native(&p->src, HINT_START))
			break;
	}
	TAILQ_FOREACH (p, &r->choices->parts, link) {
		if (p == first && p->kind != PART_TOOL_CALL &&
		    span_is(span_of(status), "incomplete"))
			rw.status = status;
		responses_put_part(&rw, p, ROLE_ASSISTANT);
	}
	responses_put_end(&rw);
}

static struct span
id_of(const struct canon_response *r, const struct encode_ctx *ctx)
{
	if (r->from == DIALECT_RESPONSES && r->id.n > 0)
		return r->id;
	return canon_id(ctx->arena, ctx->seed, ID_RESP, 0);
}

/* An answer that is still in the making upstream says so itself. */
static struct span
status_of(const struct canon_response *r, const char *made)
{
	if (r->from == DIALECT_RESPONSES && r->choices->finish.reason == FINISH_NONE &&
	    r->choices->finish.raw.n > 0)
		return r->choices->finish.raw;
	return span_of(made);
}

int
responses_encode_response(
    const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out)
{
	static const struct canon_error failed = {.class = ERROR_SERVER,
	    .code = {"upstream_malformed", sizeof "upstream_malformed" - 1},
	    .message = {"The model's answer was malformed.",
		sizeof "The model's answer was malformed." - 1}};
	struct buf output = BUF_INIT(OUTPUT_MAX);
	struct jsonw w = {.b = out};
	const char *why;
	const char *status =
	    responses_status_of(r->choices->finish.reason, has_refusal(&r->choices->parts), &why);
	struct responses_object o = {.id = id_of(r, ctx),
	    .model = r->model.n > 0 ? r->model : ctx->model,
	    .created = r->created != 0 ? r->created : ctx->now_s,
	    .status = status_of(r, status),
	    .incomplete = incomplete_details(ctx->arena, r, why),
	    .service_tier = r->service_tier,
	    .r = r};

	put_output(&output, r, ctx, status);
	o.output = (struct span){output.data, output.len};
	if (span_is(o.status, "failed"))
		o.error = &failed;
	if (r->usage.has_in || r->usage.has_out || r->choices->finish.reason != FINISH_NONE)
		o.usage = &r->usage;
	responses_object_put(&w, &o, ctx);
	if (!buf_ok(&output))
		out->failed = true;
	buf_clear(&output);
	return buf_ok(out) ? 0 : E_TOO_LONG;
}
