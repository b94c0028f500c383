/*
 * Who asks, and what is said about the request itself (spec translation 4.1, 10.4, 12): identity,
 * metadata, tier, storage, caches, and members that only one vendor has.
 */
#include <string.h>
#include <strings.h>

#include "proto/shape_own.h"
#include "shared/digest.h"
#include "shared/err.h"

#define USER_MESSAGES 256
#define USER_OPENAI 64

static bool
is_openai_like(const struct shaping *s)
{
	return s->p->dialect == DIALECT_CHAT || s->p->dialect == DIALECT_RESPONSES;
}

static void
clear(struct span *v)
{
	*v = (struct span){NULL, 0};
}

static void
clear_noted(struct shaping *s, struct span *v, enum shape_drop d)
{
	if (v->p != NULL)
		shape_note(s, d);
	clear(v);
}

/* ---- who ---- */

static int
digest(struct shaping *s, struct span *text)
{
	uint8_t sum[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];

	digest_sha256(text, 1, sum);
	digest_hex(sum, sizeof sum, hex);
	text->p = arena_strndup(s->a, hex, sizeof hex - 1);
	text->n = sizeof hex - 1;
	return text->p == NULL ? E_NOMEM : 0;
}

/* An account's name never reaches another vendor as it is. */
static int
to_messages(struct shaping *s)
{
	struct canon_request *q = s->q;

	if (q->user.n == 0)
		q->user = q->safety_id;
	clear(&q->safety_id);
	if (q->user.n > USER_MESSAGES ||
	    (q->user.n > 0 && memchr(q->user.p, '@', q->user.n) != NULL))
		return digest(s, &q->user);
	return 0;
}

static int
settle_user(struct shaping *s)
{
	struct canon_request *q = s->q;

	if (q->user.n == 0)
		clear(&q->user);
	if (s->p->no_user || !(is_openai_like(s) || s->p->dialect == DIALECT_MESSAGES)) {
		clear_noted(s, &q->user, DROP_USER);
		clear_noted(s, &q->safety_id, DROP_USER);
		return 0;
	}
	if (s->p->dialect == DIALECT_MESSAGES)
		return to_messages(s);
	if (s->asked->from == DIALECT_MESSAGES) {
		q->safety_id = q->user;
		clear(&q->user);
	}
	if (!s->p->openai && !s->same)
		clear_noted(s, &q->safety_id, DROP_USER);
	if (s->asked->from == DIALECT_MESSAGES && q->safety_id.n > USER_OPENAI)
		return digest(s, &q->safety_id);
	return 0;
}

/* ---- what belongs to one vendor ---- */

/* OpenAI keeps metadata of Chat only with what it stores. */
static void
settle_stored(struct shaping *s)
{
	struct canon_request *q = s->q;
	bool openai = is_openai_like(s) && s->p->openai;

	if (s->same && !s->p->no_user)
		return;
	if (!openai || (s->p->dialect == DIALECT_CHAT && q->store != 1))
		clear_noted(s, &q->metadata, DROP_METADATA);
	if (!openai)
		q->store = -1;
}

static void
settle_tier(struct shaping *s)
{
	struct span *tier = &s->q->service_tier;
	bool usual = span_is(*tier, "auto") || span_is(*tier, "default");

	if (s->same || tier->p == NULL ||
	    (is_openai_like(s) && s->p->openai && s->asked->from != DIALECT_MESSAGES &&
		s->asked->from != DIALECT_GEMINI) ||
	    (s->p->dialect == DIALECT_MESSAGES && span_is(*tier, "auto")))
		return;
	if (!usual)
		shape_note(s, DROP_TIER);
	clear(tier);
}

static void
settle_openai(struct shaping *s)
{
	struct canon_request *q = s->q;

	if (is_openai_like(s) && (s->same || s->p->openai))
		return;
	clear_noted(s, &q->verbosity, DROP_VERBOSITY);
	clear_noted(s, &q->cache_key, DROP_CACHE_KEY);
	clear(&q->cache_retention);
}

/* What the answer shall be besides text. */
static bool
wants_more_than_text(struct shaping *s)
{
	const struct json *list;
	struct span word;

	if (s->q->modalities.p == NULL || json_parse(s->a, s->q->modalities, &list) != 0)
		return false;
	json_each (j, list) {
		word = json_text(s->a, j);
		if (word.n != 4 || strncasecmp(word.p, "text", 4) != 0)
			return true;
	}
	return false;
}

static int
settle_modalities(struct shaping *s)
{
	if (s->same || s->p->dialect == DIALECT_GEMINI || s->p->dialect == DIALECT_CHAT)
		return 0;
	if (wants_more_than_text(s))
		return canon_fail(s->a, s->err, ERROR_UNSUPPORTED, "modalities",
		    "This model answers with text only.");
	clear(&s->q->modalities);
	clear_noted(s, &s->q->audio_out, DROP_MODALITIES);
	return 0;
}

static void
settle_search(struct shaping *s)
{
	bool has = s->p->web_search && (is_openai_like(s) || s->p->dialect == DIALECT_MESSAGES ||
					   s->p->dialect == DIALECT_GEMINI);

	if (!s->same && !has)
		clear_noted(s, &s->q->web_search, DROP_SEARCH);
}

/* The history behind an id is put in before (spec 12.3); what is left of it says nothing to others.
 */
static void
settle_responses(struct shaping *s)
{
	struct canon_request *q = s->q;

	if (s->asked->from != DIALECT_RESPONSES)
		return;
	if (span_is(q->truncation, "auto"))
		shape_note(s, DROP_TRUNCATION);
	if (q->background == 1)
		shape_note(s, DROP_BACKGROUND);
	q->background = -1;
	clear(&q->truncation);
	clear(&q->include);
	clear(&q->prev_id);
	clear(&q->conversation);
}

/* ---- members that the model has no place for ---- */

/* The client is told of these when its own dialect is not the target's. */
static const char *const told[] = {"container", "context_management", "mcp_servers",
    "inference_geo", "speed", "max_tool_calls", "moderation", "prediction"};

static bool
is_told(struct span name)
{
	for (size_t i = 0; i < NELEM(told); i++)
		if (span_is(name, told[i]))
			return true;
	return false;
}

static int
note_extra(struct shaping *s, struct span name)
{
	struct canon_text_list *l = arena_alloc(s->a, sizeof *l);

	if (l == NULL)
		return E_NOMEM;
	*l = (struct canon_text_list){.text = name};
	*s->dropped_end = l;
	s->dropped_end = &l->next;
	return 0;
}

/* A header holds words, nothing else. */
static bool
is_plain(struct span name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!(name.p[i] >= 'a' && name.p[i] <= 'z') &&
		    !(name.p[i] >= 'A' && name.p[i] <= 'Z') &&
		    !(name.p[i] >= '0' && name.p[i] <= '9') && name.p[i] != '_')
			return false;
	return name.n > 0 && name.n <= 64;
}

static void
clear_inner(struct shaping *s)
{
	struct canon_turn *t;
	struct canon_part *p;
	struct canon_tool *tool;

	TAILQ_FOREACH (t, &s->q->turns, link) {
		t->src.extra = NULL;
		TAILQ_FOREACH (p, &t->parts, link)
			p->src.extra = NULL;
	}
	TAILQ_FOREACH (tool, &s->q->tools, link)
		tool->src.extra = NULL;
}

static int
settle_extras(struct shaping *s)
{
	int r;

	if (s->same && s->p->extra_pass)
		return 0;
	for (const struct canon_extra *x = s->q->src.extra; x != NULL; x = x->next) {
		if (!s->same && span_is(x->name, "prompt") && s->asked->from == DIALECT_RESPONSES)
			return canon_fail(s->a, s->err, ERROR_UNSUPPORTED, "prompt",
			    "The text of a stored prompt is at OpenAI; this model cannot read it.");
		if ((s->same ? is_plain(x->name) : is_told(x->name)) &&
		    (r = note_extra(s, x->name)) != 0)
			return r;
	}
	s->q->src.extra = NULL;
	if (s->same)
		clear_inner(s);
	return 0;
}

int
shape_identity(struct shaping *s)
{
	int r;

	if (!s->same && s->q->cached_content.p != NULL)
		return canon_fail(s->a, s->err, ERROR_UNSUPPORTED, "cachedContent",
		    "Cached content is at Google; this model cannot read it.");
	if ((r = settle_user(s)) != 0 || (r = settle_modalities(s)) != 0 ||
	    (r = settle_extras(s)) != 0)
		return r;
	if (!s->same && s->asked->from == DIALECT_GEMINI)
		clear_noted(s, &s->q->safety, DROP_SAFETY);
	settle_stored(s);
	settle_tier(s);
	settle_openai(s);
	settle_search(s);
	if (!s->same)
		settle_responses(s);
	return 0;
}
