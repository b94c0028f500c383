#include "proto/sniff.h"

#include "shared/err.h"

#define SCRATCH_MAX (512u << 20) /* events are bounded by who frames them */

struct sniff {
	struct arena *arena, *scratch;
	const struct dialect *dialect;
	void *decoder;
	struct buf raw;
	struct translate_state st;
};

static int
note_usage(struct sniff *s, const struct canon_usage *u)
{
	canon_usage_merge(&s->st.usage, u);
	if (u->raw.p == NULL)
		return 0;
	buf_reset(&s->raw);
	if (buf_add(&s->raw, u->raw.p, u->raw.n) != 0)
		return E_NOMEM;
	s->st.usage.raw = (struct span){s->raw.data, s->raw.len};
	return 0;
}

static int
note_fail(struct sniff *s, const struct canon_error *e)
{
	s->st.failed = true;
	s->st.error = *e;
	return canon_keep(s->arena, &s->st.error.message) == 0 &&
		       canon_keep(s->arena, &s->st.error.code) == 0 &&
		       canon_keep(s->arena, &s->st.error.param) == 0
		   ? 0
		   : E_NOMEM;
}

static int
note_finish(struct sniff *s, const struct canon_finish *f)
{
	s->st.finished = true;
	s->st.finish = *f;
	return canon_keep(s->arena, &s->st.finish.raw) == 0 &&
		       canon_keep(s->arena, &s->st.finish.stop_sequence) == 0 &&
		       canon_keep(s->arena, &s->st.finish.details) == 0
		   ? 0
		   : E_NOMEM;
}

static int
take(void *ctx, const struct canon_event *ev)
{
	struct sniff *s = ctx;

	switch (ev->type) {
	case EVENT_BEGIN:
		return ev->usage != NULL ? note_usage(s, ev->usage) : 0;
	case EVENT_USAGE:
		return note_usage(s, ev->usage);
	case EVENT_OPEN:
		if (ev->meta->kind != PART_TEXT && ev->meta->kind != PART_REASONING)
			s->st.useful = true;
		return 0;
	case EVENT_DELTA:
		s->st.text_bytes += ev->text.n;
		s->st.useful = s->st.useful || ev->text.n > 0;
		return 0;
	case EVENT_SIGN:
		s->st.useful = true;
		return 0;
	case EVENT_FINISH:
		return note_finish(s, ev->finish);
	case EVENT_FAIL:
		return note_fail(s, ev->error);
	case EVENT_END:
		s->st.ended = true;
		return 0;
	case EVENT_CITE:
	case EVENT_CLOSE:
	case EVENT_LOGPROBS:
	case EVENT_IDLE:
		break;
	}
	return 0;
}

struct sniff *
sniff_new(struct arena *a, enum dialect_id dialect, const struct profile *p)
{
	struct sniff *s = arena_zalloc(a, 1, sizeof *s);

	if (s == NULL || (s->scratch = arena_new(SCRATCH_MAX)) == NULL)
		return NULL;
	s->arena = a;
	s->dialect = dialect_get(dialect);
	buf_init(&s->raw, 1u << 20);
	if ((s->decoder = s->dialect->decoder_new(a, s->scratch, p)) == NULL) {
		sniff_free(s);
		return NULL;
	}
	return s;
}

int
sniff_frame(struct sniff *s, const struct frame *f)
{
	const struct canon_sink sink = {take, s};
	int r;

	if (s->st.ended || s->st.failed)
		return 0;
	r = s->dialect->decode(s->decoder, f, &sink);
	arena_reset(s->scratch);
	return r;
}

int
sniff_end(struct sniff *s)
{
	const struct canon_sink sink = {take, s};

	return s->st.ended || s->st.failed ? 0 : s->dialect->decode_end(s->decoder, &sink);
}

const struct translate_state *
sniff_state(const struct sniff *s)
{
	return &s->st;
}

void
sniff_free(struct sniff *s)
{
	if (s == NULL)
		return;
	arena_free(s->scratch);
	buf_clear(&s->raw);
	s->scratch = NULL;
}

static void
add_part(struct translate_state *st, const struct canon_part *p)
{
	st->text_bytes += p->text.n + p->args.n;
	if (p->text.n > 0 || (p->kind != PART_TEXT && p->kind != PART_REASONING))
		st->useful = true;
}

bool
sniff_whole(struct arena *a, enum dialect_id dialect, struct span body, struct translate_state *out)
{
	struct canon_response r = {0};
	const struct canon_part *p;
	int e;

	*out = (struct translate_state){0};
	e = dialect_get(dialect)->decode_response(a, body, &r, &out->error);
	out->failed = e == E_DENIED;
	if (e != 0)
		return e == E_DENIED;
	out->usage = r.usage;
	out->ended = true;
	for (const struct canon_choice *c = r.choices; c != NULL; c = c->next) {
		out->finish = c->finish;
		out->finished = true;
		TAILQ_FOREACH (p, &c->parts, link)
			add_part(out, p);
	}
	return true;
}
