/* Items other than messages, and the head of a message. */
#include <string.h>

#include "proto/responses/responses.h"
#include "shared/digest.h"

enum canon_id_kind
responses_id_kind(const struct canon_part *p)
{
	switch (p->kind) {
	case PART_TOOL_CALL:
		return p->custom ? ID_ITEM_CTC : ID_ITEM_FC;
	case PART_REASONING:
		return ID_ITEM_RS;
	case PART_IMAGE:
		return ID_ITEM_IG;
	case PART_SERVER_CALL:
		return ID_ITEM_WS;
	default:
		return ID_ITEM_MSG;
	}
}

struct span
responses_item_id(const struct encode_ctx *ctx, const struct canon_part *p, uint32_t index)
{
	if (p->src.from == DIALECT_RESPONSES && p->item_id.n > 0)
		return p->item_id;
	return canon_id(ctx->arena, ctx->seed, responses_id_kind(p), index);
}

static bool
begins(struct span s, const char *prefix)
{
	return s.n > strlen(prefix) && memcmp(s.p, prefix, strlen(prefix)) == 0;
}

/* Of an input item: only what OpenAI itself made, and never to pair by. */
static void
put_input_id(struct jsonw *w, const struct canon_part *p, const char *prefix)
{
	if (p->src.from == DIALECT_RESPONSES && begins(p->item_id, prefix))
		jsonw_m_text(w, "id", p->item_id);
}

void
responses_put_message_open(
    struct responses_writer *rw, const struct canon_part *first, enum canon_role role)
{
	static const char *const words[] = {
	    [ROLE_SYSTEM] = "system",
	    [ROLE_DEVELOPER] = "developer",
	    [ROLE_USER] = "user",
	    [ROLE_ASSISTANT] = "assistant",
	    [ROLE_TOOL] = "user",
	};
	struct jsonw *w = rw->w;

	jsonw_open(w, '{');
	if (rw->answer) {
		jsonw_m_text(w, "id", responses_item_id(rw->ctx, first, rw->items));
		jsonw_m_cstr(w, "type", "message");
		jsonw_m_cstr(w, "status", rw->status);
	} else {
		if (!responses_is_native(&first->src, HINT_START) ||
		    responses_is_native(&first->src, HINT_TYPED))
			jsonw_m_cstr(w, "type", "message");
		put_input_id(w, first, "msg_");
	}
	jsonw_m_cstr(w, "role", words[role]);
}

/* ---- calls ---- */

void
responses_put_call(struct responses_writer *rw, const struct canon_part *p, struct span args)
{
	struct jsonw *w = rw->w;

	jsonw_open(w, '{');
	if (rw->answer)
		jsonw_m_text(w, "id", responses_item_id(rw->ctx, p, rw->items));
	jsonw_m_cstr(w, "type", p->custom ? "custom_tool_call" : "function_call");
	if (!rw->answer)
		put_input_id(w, p, p->custom ? "ctc_" : "fc_");
	else
		jsonw_m_cstr(w, "status", rw->status);
	jsonw_m_text(w, "call_id",
	    p->id.p != NULL ? p->id : canon_id(rw->ctx->arena, rw->ctx->seed, ID_CALL, rw->items));
	jsonw_m_text(w, "namespace", p->namespace);
	jsonw_m_text(w, "name", p->name.p != NULL ? p->name : span_of(""));
	jsonw_m_text(w, p->custom ? "input" : "arguments", args.p != NULL ? args : span_of(""));
	responses_put_content_extras(w, &p->src);
	jsonw_close(w, '}');
}

/* ---- results ---- */

static bool
only_texts(const struct canon_parts *parts)
{
	const struct canon_part *p;

	TAILQ_FOREACH (p, parts, link)
		if (p->kind != PART_TEXT)
			return false;
	return true;
}

static void
put_output_string(struct responses_writer *rw, const struct canon_part *p)
{
	struct span text = canon_join(rw->ctx->arena, &p->content, "\n");

	jsonw_name(rw->w, "output");
	jsonw_begin_string(rw->w);
	if (p->is_error && !(text.n >= 6 && memcmp(text.p, "Error:", 6) == 0))
		jsonw_part(rw->w, span_of("Error: "));
	if (text.n > 0)
		jsonw_part(rw->w, text);
	jsonw_end_string(rw->w);
}

static void
put_result(struct responses_writer *rw, const struct canon_part *p)
{
	struct jsonw *w = rw->w;
	const struct canon_part *c;

	jsonw_open(w, '{');
	jsonw_m_cstr(w, "type", p->custom ? "custom_tool_call_output" : "function_call_output");
	if (p->src.from == DIALECT_RESPONSES)
		jsonw_m_text(w, "id", p->item_id);
	jsonw_m_text(w, "call_id", p->id.p != NULL ? p->id : span_of(""));
	if (only_texts(&p->content) && !responses_is_native(&p->src, HINT_LIST)) {
		put_output_string(rw, p);
	} else {
		jsonw_m_open(w, "output", '[');
		if (p->is_error)
			jsonw_lit(w, "{\"type\":\"input_text\",\"text\":\"Error:\"}");
		TAILQ_FOREACH (c, &p->content, link)
			if (responses_is_content(c, false))
				responses_put_content(rw, c, ROLE_TOOL);
		jsonw_close(w, ']');
	}
	responses_put_content_extras(w, &p->src);
	jsonw_close(w, '}');
}

/* ---- thoughts ---- */

/* Input items must have an id. One that is made of what it signs stays the same from call to call.
 */
static struct span
made_id(struct responses_writer *rw, const struct canon_part *p)
{
	const struct span pieces[] = {p->sign.data, p->text};
	uint8_t sum[SHA256_BYTES];

	digest_sha256(pieces, NELEM(pieces), sum);
	return canon_id(rw->ctx->arena, sum, ID_ITEM_RS, 0);
}

static void
put_summary(struct jsonw *w, struct span text)
{
	jsonw_open(w, '{');
	jsonw_m_cstr(w, "type", "summary_text");
	jsonw_m_text(w, "text", text);
	jsonw_close(w, '}');
}

void
responses_put_reasoning(struct responses_writer *rw, const struct canon_part *p, struct span text)
{
	struct jsonw *w = rw->w;

	jsonw_open(w, '{');
	if (rw->answer)
		jsonw_m_text(w, "id", responses_item_id(rw->ctx, p, rw->items));
	else
		jsonw_m_text(w, "id",
		    p->src.from == DIALECT_RESPONSES && p->item_id.n > 0 ? p->item_id
									 : made_id(rw, p));
	jsonw_m_cstr(w, "type", "reasoning");
	if (rw->answer && strcmp(rw->status, "completed") != 0)
		jsonw_m_cstr(w, "status", rw->status);
	jsonw_m_open(w, "summary", '[');
	if (p->summary != NULL)
		for (const struct canon_text_list *t = p->summary; t != NULL; t = t->next)
			put_summary(w, t->text);
	else if (text.n > 0)
		put_summary(w, text);
	jsonw_close(w, ']');
	if (!rw->answer || rw->encrypted)
		jsonw_m_text(w, "encrypted_content", p->sign.data);
	jsonw_close(w, '}');
}

/* ---- of the provider ---- */

void
responses_put_image(struct responses_writer *rw, const struct canon_part *p)
{
	struct jsonw *w = rw->w;
	struct span type = p->media.type;

	jsonw_open(w, '{');
	jsonw_m_text(w, "id", responses_item_id(rw->ctx, p, rw->items));
	jsonw_m_cstr(w, "type", "image_generation_call");
	jsonw_m_cstr(w, "status", rw->answer ? rw->status : "completed");
	if (begins(type, "image/"))
		jsonw_m_text(w, "output_format", (struct span){type.p + 6, type.n - 6});
	jsonw_m_text(w, "result", p->media.data);
	jsonw_close(w, '}');
}

/* What it looked for, out of the arguments of the call. */
void
responses_put_search(struct responses_writer *rw, const struct canon_part *p, struct span args)
{
	struct jsonw *w = rw->w;
	const struct json *j = NULL;
	struct span query = {NULL, 0};

	if (args.n > 0 && json_parse(rw->ctx->arena, args, &j) == 0)
		query = responses_text(rw->ctx->arena, j, "query");
	jsonw_open(w, '{');
	jsonw_m_text(w, "id", responses_item_id(rw->ctx, p, rw->items));
	jsonw_m_cstr(w, "type", "web_search_call");
	jsonw_m_cstr(w, "status", rw->status);
	jsonw_m_open(w, "action", '{');
	jsonw_m_cstr(w, "type", "search");
	jsonw_m_text(w, "query", query.p != NULL ? query : span_of(""));
	jsonw_close(w, '}');
	jsonw_close(w, '}');
}

bool
responses_shows_search(const struct canon_request *asked, const struct canon_part *p)
{
	const struct canon_tool *t;

	if (p->kind != PART_SERVER_CALL || !span_is(p->name, "web_search"))
		return false;
	TAILQ_FOREACH (t, &asked->tools, link)
		if (t->kind == TOOL_WEB_SEARCH)
			return true;
	return false;
}

/* Who is to read an item as it came is this dialect; nothing of it is known elsewhere. */
static bool
put_raw(struct responses_writer *rw, const struct canon_part *p)
{
	if (!responses_is_native(&p->src, HINT_RAW) || p->raw.n == 0)
		return false;
	jsonw_raw(rw->w, p->raw);
	return true;
}

void
responses_put_item(struct responses_writer *rw, const struct canon_part *p)
{
	if (put_raw(rw, p)) {
		rw->items++;
		return;
	}
	switch (p->kind) {
	case PART_TOOL_CALL:
		responses_put_call(rw, p, p->args);
		break;
	case PART_TOOL_RESULT:
		put_result(rw, p);
		break;
	case PART_REASONING:
		responses_put_reasoning(rw, p, p->text);
		break;
	case PART_IMAGE:
		responses_put_image(rw, p);
		break;
	case PART_SERVER_CALL:
		if (!rw->answer || !responses_shows_search(rw->ctx->asked, p))
			return;
		responses_put_search(rw, p, p->args);
		break;
	default:
		return;
	}
	rw->items++;
}
