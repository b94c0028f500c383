#include <stdio.h>
#include <string.h>

#include "t/replay/replay.h"

static const char *const kinds[] = {
    [PART_TEXT] = "text",
    [PART_IMAGE] = "image",
    [PART_AUDIO] = "audio",
    [PART_VIDEO] = "video",
    [PART_FILE] = "file",
    [PART_TOOL_CALL] = "call",
    [PART_TOOL_RESULT] = "result",
    [PART_REASONING] = "reasoning",
    [PART_REFUSAL] = "refusal",
    [PART_SERVER_CALL] = "server_call",
    [PART_SERVER_RESULT] = "server_result",
    [PART_OPAQUE] = "opaque",
};

static const char *const finishes[] = {
    [FINISH_NONE] = "none",
    [FINISH_STOP] = "stop",
    [FINISH_LENGTH] = "length",
    [FINISH_TOOL_CALLS] = "tool_calls",
    [FINISH_STOP_SEQUENCE] = "stop_sequence",
    [FINISH_CONTENT_FILTER] = "content_filter",
    [FINISH_REFUSAL] = "refusal",
    [FINISH_PAUSE] = "pause",
    [FINISH_CONTEXT_WINDOW] = "context_window",
    [FINISH_MALFORMED] = "malformed",
    [FINISH_ERROR] = "error",
    [FINISH_UNKNOWN] = "unknown",
};

static void
dump_part(struct jsonw *w, const struct canon_part *p)
{
	jsonw_open(w, '{');
	jsonw_m_cstr(w, "kind", kinds[p->kind]);
	switch (p->kind) {
	case PART_TOOL_CALL:
		jsonw_m_text(w, "id", p->id);
		jsonw_m_text(w, "name", p->name);
		jsonw_m_text(w, "namespace", p->namespace);
		jsonw_m_text(w, "args", p->args);
		jsonw_m_bool(w, "custom", p->custom);
		break;
	case PART_IMAGE:
	case PART_AUDIO:
	case PART_FILE:
		jsonw_m_u64(w, "bytes", p->media.data.n);
		break;
	case PART_SERVER_CALL:
	case PART_SERVER_RESULT:
	case PART_OPAQUE:
		break;
	default:
		jsonw_m_text(w, "text", p->text);
		if (p->sign.data.p != NULL)
			jsonw_m_u64(w, "signature", p->sign.data.n);
	}
	jsonw_close(w, '}');
}

static void
dump_usage(struct jsonw *w, const struct canon_usage *u)
{
	jsonw_m_open(w, "usage", '{');
	jsonw_m_bool(w, "estimated", u->estimated);
	jsonw_m_bool(w, "has", u->has_in && u->has_out);
	jsonw_m_u64(w, "in", u->in_total);
	jsonw_m_u64(w, "cached", u->in_cached);
	jsonw_m_u64(w, "cache_write", u->in_cache_write);
	jsonw_m_u64(w, "out", u->out_total);
	jsonw_m_u64(w, "reasoning", u->out_reasoning);
	jsonw_close(w, '}');
}

void
dump_response(struct buf *b, const struct canon_response *r)
{
	struct jsonw w = {.b = b};

	jsonw_open(&w, '{');
	jsonw_m_text(&w, "model", r->model);
	jsonw_m_open(&w, "choices", '[');
	for (const struct canon_choice *c = r->choices; c != NULL; c = c->next) {
		const struct canon_part *p;

		jsonw_open(&w, '{');
		jsonw_m_cstr(&w, "finish", finishes[c->finish.reason]);
		jsonw_m_text(&w, "stop_sequence", c->finish.stop_sequence);
		jsonw_m_open(&w, "parts", '[');
		TAILQ_FOREACH (p, &c->parts, link)
			dump_part(&w, p);
		jsonw_close(&w, ']');
		jsonw_close(&w, '}');
	}
	jsonw_close(&w, ']');
	dump_usage(&w, &r->usage);
	jsonw_close(&w, '}');
}

/* ---- differences ---- */

struct differ {
	const struct recording *r;
	const char *what;
	char path[512];
};

static void
differs(const struct differ *d, const char *how, const struct json *j)
{
	say(d->r, d->what, "%s %s %.*s", d->path, how, j != NULL ? (int)MIN(j->raw.n, 160) : 0,
	    j != NULL ? j->raw.p : "");
}

static void compare(struct differ *d, const struct json *want, const struct json *got);

static void
compare_members(struct differ *d, const struct json *want, const struct json *got)
{
	size_t n = strlen(d->path);

	json_each (m, want) {
		char name[128];
		const struct json *o;

		snprintf(name, sizeof name, "%.*s", (int)MIN(m->name.n, 100), m->name.p);
		o = json_get(got, name);
		snprintf(d->path + n, sizeof d->path - n, ".%s", name);
		if (o == NULL)
			differs(d, "missing", m);
		else
			compare(d, m, o);
	}
	json_each (m, got) {
		char name[128];

		snprintf(name, sizeof name, "%.*s", (int)MIN(m->name.n, 100), m->name.p);
		snprintf(d->path + n, sizeof d->path - n, ".%s", name);
		if (json_get(want, name) == NULL)
			differs(d, "added", m);
	}
	d->path[n] = '\0';
}

static void
compare(struct differ *d, const struct json *want, const struct json *got)
{
	size_t n = strlen(d->path);

	if (want->type == 'o' && got->type == 'o') {
		compare_members(d, want, got);
	} else if (want->type == 'a' && got->type == 'a') {
		snprintf(d->path + n, sizeof d->path - n, "[]");
		if (want->count != got->count)
			differs(d, "count", got);
		for (const struct json *x = want->child, *y = got->child; x != NULL && y != NULL;
		     x = x->next, y = y->next)
			compare(d, x, y);
		d->path[n] = '\0';
	} else if (!json_same(want, got)) {
		differs(d, "want", want);
		differs(d, "got", got);
	}
}

void
diff(const struct recording *r, const char *what, struct span want, struct span got)
{
	struct arena *a = arena_new(256 << 20);
	struct differ d = {.r = r, .what = what};
	const struct json *x, *y;

	if (json_parse(a, want, &x) != 0)
		say(r, what, "the recording is no JSON");
	else if (json_parse(a, got, &y) != 0)
		say(r, what, "what came out is no JSON: %.*s", (int)MIN(got.n, 300), got.p);
	else
		compare(&d, x, y);
	arena_free(a);
}
