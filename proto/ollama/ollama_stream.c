/* The stream: each line is a piece of an answer; the line with "done" is its end (spec 19.2). */
#include "proto/canon_error.h"
#include "proto/emit.h"
#include "proto/ollama/ollama.h"
#include "shared/err.h"

struct decoder {
	struct arena *arena, *scratch;
	struct emit emit;
	enum canon_part_kind kind; /* of the open part */
	bool open;
	uint32_t part;
};

void *
ollama_decoder_new(struct arena *a, struct arena *scratch, const struct profile *p)
{
	struct decoder *d = arena_zalloc(a, 1, sizeof *d);

	(void)p;
	if (d == NULL)
		return NULL;
	d->arena = a;
	d->scratch = scratch;
	return d;
}

static int
close_part(struct decoder *d)
{
	if (!d->open)
		return 0;
	d->open = false;
	return emit_close(&d->emit, d->part);
}

static int
take_text(struct decoder *d, const struct json *j, enum canon_part_kind kind)
{
	struct span text = json_text(d->scratch, j);
	struct canon_part *meta;
	int r;

	if (text.n == 0)
		return 0;
	if (d->open && d->kind != kind && (r = close_part(d)) != 0)
		return r;
	if (!d->open) {
		if ((meta = canon_part_new(d->arena, kind)) == NULL)
			return E_NOMEM;
		d->open = true;
		d->kind = kind;
		if ((r = emit_open(&d->emit, meta, &d->part)) != 0)
			return r;
	}
	return emit_delta(&d->emit, d->part, text);
}

static int
take_call(struct decoder *d, const struct json *call)
{
	const struct json *f = json_get(call, "function");
	struct canon_part *meta;
	int r;

	if (!json_is(f, 'o'))
		return 0;
	if ((r = close_part(d)) != 0)
		return r;
	if ((meta = canon_part_new(d->arena, PART_TOOL_CALL)) == NULL)
		return E_NOMEM;
	canon_source_init(&meta->src, DIALECT_OLLAMA);
	meta->id = canon_copy(d->arena, json_text(d->scratch, json_get(call, "id")));
	if (meta->id.n == 0)
		meta->id.p = NULL;
	meta->name = canon_copy(d->arena, json_text(d->scratch, json_get(f, "name")));
	return emit_call(&d->emit, meta, ollama_read_args(d->scratch, json_get(f, "arguments")));
}

static int
take_message(struct decoder *d, const struct json *m)
{
	const struct json *calls = json_get(m, "tool_calls");
	int r;

	if ((r = take_text(d, json_get(m, "thinking"), PART_REASONING)) != 0 ||
	    (r = take_text(d, json_get(m, "content"), PART_TEXT)) != 0)
		return r;
	json_each (it, json_is(calls, 'a') ? calls : NULL)
		if ((r = take_call(d, it)) != 0)
			return r;
	return 0;
}

static int
finish(struct decoder *d, const struct json *line)
{
	struct canon_usage usage;
	struct canon_finish f;
	int r;

	ollama_read_usage(line, &usage);
	ollama_finish(d->scratch, line, &f);
	if ((r = close_part(d)) != 0 || (r = emit_usage(&d->emit, &usage)) != 0 ||
	    (r = emit_finish(&d->emit, &f)) != 0)
		return r;
	return emit_end(&d->emit);
}

int
ollama_decode(void *state, const struct frame *f, const struct canon_sink *sink)
{
	struct decoder *d = state;
	struct arena *s = d->scratch;
	const struct json *line;
	struct canon_error error;
	int r;

	d->emit.sink = sink;
	if (d->emit.over)
		return 0;
	if ((r = emit_root(&d->emit, s, f->data, &line)) != 0 || line == NULL)
		return r;
	if (json_want(line, "error") != NULL) {
		canon_error_decode(s, 200, f->data, (struct span){NULL, 0}, &error);
		return emit_fail(&d->emit, &error);
	}
	r = emit_begin(&d->emit, (struct span){NULL, 0}, json_text(s, json_get(line, "model")),
	    ollama_time(json_text(s, json_get(line, "created_at"))));
	if (r == 0)
		r = take_message(d, json_get(line, "message"));
	if (r == 0 && json_yes(json_get(line, "done")))
		r = finish(d, line);
	return r;
}

int
ollama_decode_end(void *state, const struct canon_sink *sink)
{
	struct decoder *d = state;

	d->emit.sink = sink;
	return emit_cut(&d->emit);
}
