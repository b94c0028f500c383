/* The events that a whole answer would have been. */
#include <string.h>

#include "proto/collect.h"
#include "shared/err.h"

#define SLICE 4096u

static int
send_text(const struct canon_sink *sink, struct canon_event ev, struct span text, bool sliced)
{
	int r = 0;

	ev.type = EVENT_DELTA;
	while (r == 0 && text.n > 0) {
		size_t n = sliced && text.n > SLICE ? SLICE : text.n;

		while (n < text.n && n > 1 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
			n--;
		ev.text = (struct span){text.p, n};
		text.p += n;
		text.n -= n;
		r = sink->take(sink->ctx, &ev);
	}
	return r;
}

static bool
has_arguments(const struct canon_part *p)
{
	return p->kind == PART_TOOL_CALL || p->kind == PART_SERVER_CALL;
}

static int
send_content(
    const struct canon_part *p, struct canon_event ev, bool sliced, const struct canon_sink *sink)
{
	const struct canon_annotation *n;
	int r = 0;

	if (has_arguments(p)) {
		ev.type = EVENT_DELTA;
		ev.text = p->args;
		ev.whole = true;
		if (p->args.n > 0)
			r = sink->take(sink->ctx, &ev);
		ev.text = (struct span){NULL, 0};
		ev.whole = false;
	} else {
		r = send_text(sink, ev, p->text, sliced);
	}
	if (r == 0 && p->sign.data.p != NULL) {
		ev.type = EVENT_SIGN;
		ev.sign = &p->sign;
		r = sink->take(sink->ctx, &ev);
		ev.sign = NULL;
	}
	ev.type = EVENT_CITE;
	TAILQ_FOREACH (n, &p->annotations, link) {
		ev.annotation = n;
		if (r == 0)
			r = sink->take(sink->ctx, &ev);
	}
	return r;
}

static int
send_part(struct arena *a, const struct canon_part *p, struct canon_event ev, bool sliced,
    const struct canon_sink *sink)
{
	struct canon_part *meta = canon_part_new(a, p->kind);
	int r;

	if (meta == NULL)
		return E_NOMEM;
	*meta = *p;
	meta->text = meta->args = (struct span){NULL, 0};
	meta->sign = (struct canon_signature){0};
	TAILQ_INIT(&meta->annotations);
	TAILQ_INIT(&meta->content);
	ev.type = EVENT_OPEN;
	ev.meta = meta;
	r = sink->take(sink->ctx, &ev);
	ev.meta = NULL;
	if (r == 0)
		r = send_content(p, ev, sliced, sink);
	ev.type = EVENT_CLOSE;
	return r == 0 ? sink->take(sink->ctx, &ev) : r;
}

static int
send_choice(struct arena *a, const struct canon_choice *c, uint32_t *number, bool sliced,
    const struct canon_sink *sink)
{
	struct canon_event ev = {.choice = c->index};
	const struct canon_part *p;
	int r = 0;

	TAILQ_FOREACH (p, &c->parts, link) {
		ev.part = *number;
		if (r == 0)
			r = send_part(a, p, ev, sliced, sink);
		++*number;
	}
	if (r == 0 && c->logprobs.n > 0) {
		ev.type = EVENT_LOGPROBS;
		ev.text = c->logprobs;
		r = sink->take(sink->ctx, &ev);
	}
	return r;
}

int
play(struct arena *a, const struct canon_response *r, bool sliced, const struct canon_sink *sink)
{
	struct canon_event ev = {.type = EVENT_BEGIN,
	    .id = r->id,
	    .model = r->model,
	    .created = r->created,
	    .usage = &r->usage};
	uint32_t number = 0;
	int e = sink->take(sink->ctx, &ev);

	for (const struct canon_choice *c = r->choices; c != NULL && e == 0; c = c->next)
		e = send_choice(a, c, &number, sliced, sink);
	ev = (struct canon_event){.type = EVENT_USAGE, .usage = &r->usage};
	if (e == 0)
		e = sink->take(sink->ctx, &ev);
	ev = (struct canon_event){.type = EVENT_FINISH};
	for (const struct canon_choice *c = r->choices; c != NULL && e == 0; c = c->next) {
		ev.choice = c->index;
		ev.finish = &c->finish;
		e = sink->take(sink->ctx, &ev);
	}
	ev = (struct canon_event){.type = EVENT_END};
	return e == 0 ? sink->take(sink->ctx, &ev) : e;
}
