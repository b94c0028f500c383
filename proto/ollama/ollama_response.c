/* An answer that came whole. */
#include <stdio.h>

#include "proto/canon_error.h"
#include "proto/ollama/ollama.h"
#include "shared/err.h"

static const char *const known[] = {
    "model", "message", "done", "done_reason", "prompt_eval_count", "eval_count", NULL};
static const char *const known_message[] = {
    "role", "content", "thinking", "images", "tool_calls", NULL};

/* ---- time ---- */

static bool
take_number(struct span *s, size_t digits, int *out)
{
	if (s->n < digits)
		return false;
	*out = 0;
	for (size_t i = 0; i < digits; i++) {
		if (s->p[i] < '0' || s->p[i] > '9')
			return false;
		*out = *out * 10 + (s->p[i] - '0');
	}
	*s = (struct span){s->p + digits, s->n - digits};
	if (s->n > 0 && (s->p[0] == '-' || s->p[0] == 'T' || s->p[0] == ':'))
		*s = (struct span){s->p + 1, s->n - 1};
	return true;
}

/* Days since 1970 of a date: years begin in March, so that the odd day is the last. */
static int64_t
days_of(int year, int month, int day)
{
	int64_t y = year - (month <= 2), m = (month + 9) % 12;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

/* The server's own clock, in UTC or with an offset that is of no interest. */
uint64_t
ollama_time(struct span s)
{
	int f[6];
	int64_t t;

	for (unsigned i = 0; i < 6; i++)
		if (!take_number(&s, i == 0 ? 4 : 2, &f[i]))
			return 0;
	if (f[1] < 1 || f[1] > 12)
		return 0;
	t = days_of(f[0], f[1], f[2]) * 86400 + f[3] * 3600 + f[4] * 60 + f[5];
	return t > 0 ? (uint64_t)t : 0;
}

void
ollama_put_time(struct wire *o, uint64_t s)
{
	uint64_t days = MIN(s / 86400, (uint64_t)2932896) + 719468, rest = s % 86400, year, in_year,
		 month;
	char text[32];

	year = (400 * days + 400 * 365 - 1) / 146097;
	while (365 * year + year / 4 - year / 100 + year / 400 > days)
		year--;
	in_year = days - (365 * year + year / 4 - year / 100 + year / 400);
	month = (5 * in_year + 2) / 153;
	in_year -= (153 * month + 2) / 5;
	month = month < 10 ? month + 3 : month - 9;
	snprintf(text, sizeof text, "%04u-%02u-%02uT%02u:%02u:%02uZ",
	    (unsigned)(year + (month <= 2)), (unsigned)month, (unsigned)in_year + 1,
	    (unsigned)(rest / 3600), (unsigned)(rest / 60 % 60), (unsigned)(rest % 60));
	jsonw_m_cstr(&o->w, "created_at", text);
}

/* ---- decoding ---- */

void
ollama_read_usage(const struct json *o, struct canon_usage *out)
{
	int64_t n;

	*out = (struct canon_usage){.from = DIALECT_OLLAMA};
	if (json_int(json_get(o, "prompt_eval_count"), &n) && n >= 0) {
		out->has_in = true;
		out->in_total = (uint64_t)n;
	}
	if (json_int(json_get(o, "eval_count"), &n) && n >= 0) {
		out->has_out = true;
		out->out_total = (uint64_t)n;
	}
}

void
ollama_finish(struct arena *a, const struct json *o, struct canon_finish *out)
{
	*out = (struct canon_finish){.raw = json_text(a, json_get(o, "done_reason"))};
	out->reason = canon_finish_of(out->raw);
	if (out->reason == FINISH_NONE) /* older servers give no reason */
		out->reason = FINISH_STOP;
}

int
ollama_decode_response(
    struct arena *a, struct span body, struct canon_response *out, struct canon_error *err)
{
	const struct json *root, *message;
	struct canon_choice *c;
	int r = json_parse(a, body, &root);

	if (r != 0)
		return r == E_NOMEM ? r : E_SYNTAX;
	if (json_want(root, "error") != NULL) {
		canon_error_decode(a, 200, body, (struct span){NULL, 0}, err);
		return E_DENIED;
	}
	message = json_get(root, "message");
	if (!json_is(message, 'o'))
		return E_SYNTAX;
	if (json_is(json_get(root, "done"), 'f')) {
		canon_fail(a, err, ERROR_SERVER, NULL, "The answer ends before its end");
		err->code = span_of("upstream_stream_cut");
		return E_DENIED;
	}
	if ((c = canon_choice_new(a, 0)) == NULL)
		return E_NOMEM;
	*out = (struct canon_response){.from = DIALECT_OLLAMA, .root = root, .choices = c};
	out->model = json_text(a, json_get(root, "model"));
	out->created = ollama_time(json_text(a, json_get(root, "created_at")));
	ollama_read_usage(root, &out->usage);
	ollama_finish(a, root, &c->finish);
	canon_source_init(&out->src, DIALECT_OLLAMA);
	canon_source_init(&c->message, DIALECT_OLLAMA);
	if ((r = ollama_read_message(a, message, &c->parts)) != 0 ||
	    (r = canon_extras(a, &c->message, message, known_message)) != 0)
		return r;
	return canon_extras(a, &out->src, root, known);
}

/* ---- encoding ---- */

static const char *
reason_word(const struct canon_finish *f)
{
	return f->reason == FINISH_LENGTH || f->reason == FINISH_CONTEXT_WINDOW ||
		       f->reason == FINISH_PAUSE
		   ? "length"
		   : "stop";
}

void
ollama_put_end(struct wire *o, const struct canon_finish *f, const struct canon_usage *u)
{
	jsonw_m_bool(&o->w, "done", true);
	if (u->from == DIALECT_OLLAMA && f->raw.n > 0)
		jsonw_m_text(&o->w, "done_reason", f->raw);
	else
		jsonw_m_cstr(&o->w, "done_reason", reason_word(f));
	if (u->has_in)
		jsonw_m_u64(&o->w, "prompt_eval_count", u->in_total);
	if (u->has_out)
		jsonw_m_u64(&o->w, "eval_count", u->out_total);
}

int
ollama_encode_response(
    const struct canon_response *r, const struct encode_ctx *ctx, struct buf *out)
{
	static const char *const placed[] = {"created_at", NULL};
	const struct canon_choice *c = r->choices;
	struct span created = wire_extra(&r->src, DIALECT_OLLAMA, "created_at");
	struct wire o = {.w = {.b = out}, .a = ctx->arena};

	jsonw_open(&o.w, '{');
	jsonw_m_text(&o.w, "model", r->model.p != NULL ? r->model : ctx->model);
	if (created.p != NULL)
		jsonw_m_raw(&o.w, "created_at", created);
	else
		ollama_put_time(&o, r->created != 0 ? r->created : ctx->now_s);
	jsonw_m_open(&o.w, "message", '{');
	jsonw_m_cstr(&o.w, "role", "assistant");
	wire_m_text(&o, "content", wire_text_of(o.a, &c->parts, ""));
	ollama_put_message(&o, &c->parts);
	wire_put_extras(&o, &c->message, DIALECT_OLLAMA, NULL);
	jsonw_close(&o.w, '}');
	ollama_put_end(&o, &c->finish, &r->usage);
	wire_put_extras(&o, &r->src, DIALECT_OLLAMA, placed);
	jsonw_close(&o.w, '}');
	return wire_end(&o);
}
