/*
 * Usage (spec 15) and what else an answer says at its end. Here the cached tokens stand beside
 * input_tokens; in the model in_total holds all of them.
 */
#include "proto/messages/messages.h"
#include "shared/err.h"

static bool
get_count(const struct json *o, const char *name, uint64_t *out)
{
	int64_t n;

	if (!json_int(json_want(o, name), &n) || n < 0)
		return false;
	*out = (uint64_t)n;
	return true;
}

/* Three numbers below 2^63 could pass 2^64. */
static uint64_t
add(uint64_t x, uint64_t y)
{
	return x > UINT64_MAX - y ? UINT64_MAX : x + y;
}

void
messages_read_usage(const struct json *u, struct canon_usage *out)
{
	const struct json *split = json_want(u, "cache_creation");
	const struct json *server = json_want(u, "server_tool_use");
	uint64_t input;

	*out = (struct canon_usage){0};
	if (!json_is(u, 'o'))
		return;
	out->raw = u->raw;
	out->from = DIALECT_MESSAGES;
	get_count(u, "cache_read_input_tokens", &out->in_cached);
	get_count(u, "cache_creation_input_tokens", &out->in_cache_write);
	get_count(split, "ephemeral_5m_input_tokens", &out->in_cache_write_5m);
	get_count(split, "ephemeral_1h_input_tokens", &out->in_cache_write_1h);
	if (get_count(u, "input_tokens", &input)) {
		out->has_in = true;
		out->in_total = add(add(input, out->in_cached), out->in_cache_write);
	}
	out->has_out = get_count(u, "output_tokens", &out->out_total);
	get_count(json_want(u, "output_tokens_details"), "thinking_tokens", &out->out_reasoning);
	get_count(server, "web_search_requests", &out->searches);
	get_count(server, "web_fetch_requests", &out->fetches);
}

static void
put_split(struct messages_writer *o, const struct canon_usage *u)
{
	jsonw_m_open(&o->w, "cache_creation", '{');
	jsonw_m_u64(&o->w, "ephemeral_5m_input_tokens", u->in_cache_write_5m);
	jsonw_m_u64(&o->w, "ephemeral_1h_input_tokens", u->in_cache_write_1h);
	jsonw_close(&o->w, '}');
}

static void
put_servers(struct messages_writer *o, const struct canon_usage *u)
{
	jsonw_m_open(&o->w, "server_tool_use", '{');
	jsonw_m_u64(&o->w, "web_search_requests", u->searches);
	if (u->fetches > 0)
		jsonw_m_u64(&o->w, "web_fetch_requests", u->fetches);
	jsonw_close(&o->w, '}');
}

void
messages_put_usage(struct messages_writer *o, const struct canon_usage *u)
{
	static const char *const written[] = {"input_tokens", "cache_creation_input_tokens",
	    "cache_read_input_tokens", "output_tokens", NULL};
	uint64_t cached = add(u->in_cached, u->in_cache_write);

	jsonw_m_open(&o->w, "usage", '{');
	jsonw_m_u64(&o->w, "input_tokens", u->in_total > cached ? u->in_total - cached : 0);
	jsonw_m_u64(&o->w, "cache_creation_input_tokens", u->in_cache_write);
	jsonw_m_u64(&o->w, "cache_read_input_tokens", u->in_cached);
	jsonw_m_u64(&o->w, "output_tokens", u->out_total);
	if (u->from == DIALECT_MESSAGES && u->raw.p != NULL) {
		messages_put_members(o, u->raw, written);
	} else {
		if (u->in_cache_write_5m > 0 || u->in_cache_write_1h > 0)
			put_split(o, u);
		if (u->searches > 0 || u->fetches > 0)
			put_servers(o, u);
		if (u->out_reasoning > 0) {
			jsonw_m_open(&o->w, "output_tokens_details", '{');
			jsonw_m_u64(&o->w, "thinking_tokens", u->out_reasoning);
			jsonw_close(&o->w, '}');
		}
	}
	jsonw_close(&o->w, '}');
}

/* ---- the end ---- */

static void
keep_member(struct jsonw *w, const char *name, const struct json *o)
{
	const struct json *m = json_get(o, name);

	if (m != NULL)
		jsonw_m_raw(w, name, m->raw);
}

int
messages_read_details(
    struct arena *a, const struct json *delta, const struct json *event, struct span *out)
{
	struct buf text = BUF_INIT(16u << 20);
	struct jsonw w = {.b = &text};
	char *kept;

	*out = (struct span){NULL, 0};
	if (json_get(delta, "stop_details") == NULL && json_get(delta, "container") == NULL &&
	    json_get(event, "context_management") == NULL)
		return 0;
	jsonw_open(&w, '{');
	keep_member(&w, "stop_details", delta);
	keep_member(&w, "container", delta);
	keep_member(&w, "context_management", event);
	jsonw_close(&w, '}');
	kept = buf_ok(&text) ? arena_strndup(a, text.data, text.len) : NULL;
	*out = (struct span){kept, kept != NULL ? text.len : 0};
	buf_clear(&text);
	return kept != NULL ? 0 : E_NOMEM;
}

void
messages_put_details(struct messages_writer *o, struct span details, bool of_event)
{
	static const char *const delta[] = {"stop_details", "container", NULL};
	static const char *const event[] = {"context_management", NULL};

	if (details.p != NULL)
		messages_put_members(o, details, of_event ? delta : event);
}

/* Spec 14. A word of this dialect that the model does not know comes back as it was. */
const char *
messages_stop_word(const struct canon_finish *f, bool own, bool called, bool refused)
{
	static const char *const words[FINISHES] = {[FINISH_STOP] = "end_turn",
	    [FINISH_LENGTH] = "max_tokens",
	    [FINISH_TOOL_CALLS] = "tool_use",
	    [FINISH_STOP_SEQUENCE] = "stop_sequence",
	    [FINISH_CONTENT_FILTER] = "refusal",
	    [FINISH_REFUSAL] = "refusal",
	    [FINISH_PAUSE] = "pause_turn",
	    [FINISH_CONTEXT_WINDOW] = "model_context_window_exceeded",
	    [FINISH_UNKNOWN] = "end_turn"};

	if (f->reason == FINISH_STOP && called)
		return "tool_use";
	if (f->reason == FINISH_STOP && refused)
		return "refusal";
	if (f->reason == FINISH_TOOL_CALLS && !called && !own)
		return "end_turn";
	return words[f->reason];
}
