#include "proto/emit.h"

#include "shared/err.h"

static int
take(struct emit *e, const struct canon_event *ev)
{
	return e->over ? 0 : e->sink->take(e->sink->ctx, ev);
}

int
emit_begin(struct emit *e, struct span id, struct span model, uint64_t created)
{
	struct canon_event ev = {
	    .type = EVENT_BEGIN, .id = id, .model = model, .created = created, .usage = &e->usage};

	if (e->begun)
		return 0;
	e->begun = true;
	return take(e, &ev);
}

static int
begun(struct emit *e)
{
	return emit_begin(e, (struct span){NULL, 0}, (struct span){NULL, 0}, 0);
}

int
emit_open(struct emit *e, const struct canon_part *meta, uint32_t *part)
{
	struct canon_event ev = {.type = EVENT_OPEN, .part = e->parts, .meta = meta};
	int r = begun(e);

	*part = e->parts++;
	return r != 0 ? r : take(e, &ev);
}

int
emit_delta(struct emit *e, uint32_t part, struct span text)
{
	struct canon_event ev = {.type = EVENT_DELTA, .part = part, .text = text};

	return text.n == 0 ? 0 : take(e, &ev);
}

int
emit_arguments(struct emit *e, uint32_t part, struct span whole)
{
	struct canon_event ev = {.type = EVENT_DELTA, .part = part, .text = whole, .whole = true};

	return take(e, &ev);
}

int
emit_sign(struct emit *e, uint32_t part, const struct canon_signature *sign)
{
	struct canon_event ev = {.type = EVENT_SIGN, .part = part, .sign = sign};

	return take(e, &ev);
}

int
emit_cite(struct emit *e, uint32_t part, const struct canon_annotation *n)
{
	struct canon_event ev = {.type = EVENT_CITE, .part = part, .annotation = n};

	return take(e, &ev);
}

int
emit_close(struct emit *e, uint32_t part)
{
	struct canon_event ev = {.type = EVENT_CLOSE, .part = part};

	return take(e, &ev);
}

int
emit_call(struct emit *e, const struct canon_part *meta, struct span args)
{
	uint32_t part;
	int r;

	if ((r = emit_open(e, meta, &part)) != 0)
		return r;
	if ((r = emit_arguments(e, part, args)) != 0)
		return r;
	return emit_close(e, part);
}

int
emit_usage(struct emit *e, const struct canon_usage *news)
{
	struct canon_event ev = {.type = EVENT_USAGE, .usage = &e->usage};
	int r = begun(e);

	canon_usage_merge(&e->usage, news);
	return r != 0 ? r : take(e, &ev);
}

int
emit_finish(struct emit *e, const struct canon_finish *f)
{
	struct canon_event ev = {.type = EVENT_FINISH, .finish = f};
	int r = begun(e);

	return r != 0 ? r : take(e, &ev);
}

int
emit_end(struct emit *e)
{
	struct canon_event ev = {.type = EVENT_END};
	int r = take(e, &ev);

	e->over = true;
	return r;
}

int
emit_fail(struct emit *e, const struct canon_error *error)
{
	struct canon_event ev = {.type = EVENT_FAIL, .error = error};
	int r = take(e, &ev);

	e->over = true;
	return r;
}

int
emit_cut(struct emit *e)
{
	struct canon_error error = {
	    .class = ERROR_SERVER,
	    .code = span_of("upstream_stream_cut"),
	    .message = span_of("The stream ended before the answer did"),
	};

	return emit_fail(e, &error);
}

static int
not_json(struct emit *e)
{
	struct canon_error error = {
	    .class = ERROR_SERVER,
	    .message = span_of("The upstream sent something that is not JSON"),
	};

	return emit_fail(e, &error);
}

int
emit_root(struct emit *e, struct arena *scratch, struct span data, const struct json **root)
{
	int r = json_parse(scratch, data, root);

	if (r == E_NOMEM)
		return r;
	if (r == 0 && json_is(*root, 'o'))
		return 0;
	*root = NULL;
	return not_json(e);
}
