/*
 * What must hold of every shaped conversation (spec translation 23.2, 23.9, 23.11), for generated
 * ones: every client, every target, rows of providers with their whims. And that shaping costs time
 * in proportion to what it is given.
 */
#include <glob.h>
#include <stdlib.h>
#include <time.h>

#include "proto/dialect.h"
#include "t/unit/proto_shape_fixture.h"

#define ROUNDS 400

/* ---- conversations ---- */

static uint64_t seed;

static unsigned
pick(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 33) % n;
}

static const char *const texts[] = {
    "hi", "", " \n", "a longer text ", "x-anthropic-billing-header: 1", ".", "tail\n"};
static const char *const ids[] = {NULL, "call_0", "call_1", "toolu_01A", "functions.f:0", "",
    "call_0123456789012345678901234567890123456789012345678901234567890123456789", "abcDEF123",
    "c\xc3\xa4"};
static const char *const names[] = {"get", "get_weather", "a.b", "a_b", "1st", "mcp__x", "-x",
    "a_very_long_name_of_a_tool_that_does_not_fit_into_sixty_four_characters",
    "gr\xc3\xbc\xc3\x9f"};
static const char *const args[] = {"", "{}", "{\"a\":1.0}", "[1]", "no json", "\"{\\\"a\\\":1}\""};
static const char *const media[] = {
    "AAAA", "iVBORw0KGgoAAAANSUhEUg==", "/9j/4AAQSkZJRg", "data:image/png;base64,iVBORw0KGgo="};

static struct canon_part *
new_part(struct fixture *f, enum canon_part_kind kind)
{
	struct canon_part *p = canon_part_new(f->a, kind);

	assert_non_null(p);
	p->src.from = f->q->from;
	p->cache.set = pick(8) == 0;
	return p;
}

static void
random_signature(struct canon_signature *s)
{
	if (pick(2) == 0)
		*s = (struct canon_signature){
		    .data = span_of("sig"), .origin = (enum canon_origin)pick(ORIGINS)};
}

static struct canon_part *
random_image(struct fixture *f)
{
	struct canon_part *p = new_part(f, pick(4) == 0 ? PART_FILE : PART_IMAGE);

	p->media.source = pick(2) == 0 ? MEDIA_BASE64 : MEDIA_URL;
	p->media.data =
	    span_of(p->media.source == MEDIA_URL && pick(2) == 0 ? "https://h/x"
								 : media[pick(NELEM(media))]);
	if (p->kind == PART_FILE && p->media.source == MEDIA_BASE64)
		p->media.type = span_of(pick(2) == 0 ? "text/plain" : "application/pdf");
	return p;
}

static struct canon_part *
random_text(struct fixture *f)
{
	struct canon_part *p = new_part(f, PART_TEXT);

	p->text = span_of(texts[pick(NELEM(texts))]);
	return p;
}

static struct canon_part *
random_result(struct fixture *f)
{
	struct canon_part *p = new_part(f, PART_TOOL_RESULT);

	p->id = span_of(ids[pick(NELEM(ids))]);
	p->name = span_of(names[pick(NELEM(names))]);
	for (unsigned n = pick(3); n > 0; n--) {
		struct canon_part *c = pick(4) == 0 ? random_image(f) : random_text(f);

		TAILQ_INSERT_TAIL(&p->content, c, link);
	}
	return p;
}

static struct canon_part *
random_assistant(struct fixture *f)
{
	struct canon_part *p;

	switch (pick(8)) {
	case 0:
	case 1:
		p = new_part(f, PART_REASONING);
		p->text = span_of(texts[pick(NELEM(texts))]);
		random_signature(&p->sign);
		return p;
	case 2:
		return random_image(f);
	case 3:
		p = new_part(f, PART_REFUSAL);
		p->text = span_of("no");
		return p;
	case 4:
	case 5:
		return random_text(f);
	default:
		p = new_part(f, PART_TOOL_CALL);
		p->id = span_of(ids[pick(NELEM(ids))]);
		p->name = span_of(names[pick(NELEM(names))]);
		p->args = span_of(args[pick(NELEM(args))]);
		p->custom = pick(5) == 0;
		if (pick(8) == 0)
			p->namespace = span_of("n.s");
		if (pick(4) == 0)
			random_signature(&p->sign);
		return p;
	}
}

static void
random_conversation(struct fixture *f)
{
	static const enum canon_role roles[] = {ROLE_USER, ROLE_USER, ROLE_ASSISTANT,
	    ROLE_ASSISTANT, ROLE_ASSISTANT, ROLE_TOOL, ROLE_TOOL, ROLE_SYSTEM, ROLE_DEVELOPER};

	for (unsigned n = pick(14); n > 0; n--) {
		struct canon_turn *t = canon_turn_new(f->a, roles[pick(NELEM(roles))]);

		assert_non_null(t);
		for (unsigned m = pick(4); m > 0; m--) {
			struct canon_part *p = t->role == ROLE_ASSISTANT ? random_assistant(f)
					       : t->role == ROLE_TOOL    ? random_result(f)
					       : t->role == ROLE_USER && pick(3) == 0
						   ? random_image(f)
						   : random_text(f);

			TAILQ_INSERT_TAIL(&t->parts, p, link);
		}
		TAILQ_INSERT_TAIL(&f->q->turns, t, link);
	}
	for (unsigned n = pick(5); n > 0; n--) {
		struct canon_tool *t = fixture_tool(f, names[pick(NELEM(names))]);

		if (pick(4) == 0)
			t->kind = TOOL_CUSTOM;
		t->cache.set = pick(3) == 0;
	}
	f->q->tool_choice.kind = (enum canon_choice_kind)pick(CHOICE_NAMED);
	f->q->reasoning.effort = (enum canon_effort)pick(EFFORT_MAX + 1);
	for (unsigned n = pick(10); n > 0; n--)
		assert_int_equal(
		    canon_text_add(f->a, &f->q->stop, span_of(texts[pick(NELEM(texts))])), 0);
}

/* ---- targets ---- */

static const struct {
	enum dialect_id dialect;
	const char *model;
} targets[] = {
    {DIALECT_CHAT, "llama-3.3-70b"},
    {DIALECT_CHAT, "gpt-5.2"},
    {DIALECT_RESPONSES, "gpt-5"},
    {DIALECT_MESSAGES, "claude-sonnet-4-20250514"},
    {DIALECT_MESSAGES, "claude-opus-4-8"},
    {DIALECT_GEMINI, "gemini-2.5-flash"},
    {DIALECT_GEMINI, "gemini-3-pro-preview"},
    {DIALECT_COHERE, "command-a-03-2025"},
    {DIALECT_OLLAMA, "gpt-oss:20b"},
    {DIALECT_CONVERSE, "anthropic.claude-sonnet-4-20250514-v1:0"},
    {DIALECT_CONVERSE, "amazon.nova-pro-v1:0"},
};

static void
random_row(struct profile *p)
{
	if (p->dialect == DIALECT_GEMINI && pick(2) == 0) {
		p->vertex = true;
		p->ai_studio = false;
	}
	if (p->dialect != DIALECT_CHAT)
		return;
	p->openai = p->developer_role = pick(4) == 0;
	p->single_system = pick(4) == 0;
	p->needs_user_turn = pick(4) == 0;
	p->alternation = pick(4) == 0;
	p->prompt_cache = pick(4) == 0;
	p->image_url = pick(4) != 0;
	p->ids = pick(4) == 0 ? IDS_MISTRAL : IDS_ANY;
	p->replay = (enum profile_replay)pick(3);
	p->origin = pick(4) == 0 ? ORIGIN_OPENROUTER : ORIGIN_NONE;
	p->max_stops = pick(5);
}

/* ---- what must hold ---- */

static bool
is_merging(const struct fixture *f)
{
	enum dialect_id d = f->p.dialect;

	return d == DIALECT_MESSAGES || d == DIALECT_GEMINI || d == DIALECT_CONVERSE ||
	       f->p.alternation;
}

static bool
is_system(const struct canon_turn *t)
{
	return t->role == ROLE_SYSTEM || t->role == ROLE_DEVELOPER;
}

static bool
is_user(const struct canon_turn *t)
{
	return t->role == ROLE_USER || t->role == ROLE_TOOL;
}

static const char *
check_alternation(const struct fixture *f)
{
	const struct canon_turn *t = TAILQ_FIRST(&f->out.q->turns), *before = NULL;

	while (t != NULL && is_system(t))
		t = TAILQ_NEXT(t, link);
	if (t == NULL)
		return f->p.dialect == DIALECT_CHAT || f->p.dialect == DIALECT_OLLAMA ? NULL
										      : "no turn";
	if (is_merging(f) && !is_user(t))
		return "the user does not begin";
	for (; t != NULL; before = t, t = TAILQ_NEXT(t, link)) {
		if (is_system(t)) {
			bool late =
			    f->p.dialect == DIALECT_CHAT || f->p.dialect == DIALECT_RESPONSES ||
			    f->p.dialect == DIALECT_OLLAMA ||
			    (f->p.dialect == DIALECT_MESSAGES && before != NULL && is_user(before));

			if (!late || f->p.single_system)
				return "late system text";
		}
		if (!is_merging(f) || before == NULL || is_system(t) || is_system(before))
			continue;
		if (is_user(t) == is_user(before) &&
		    !(before->role == ROLE_TOOL && t->role == ROLE_USER))
			return "two neighbours of one role";
	}
	if ((f->p.dialect == DIALECT_GEMINI || f->p.dialect == DIALECT_COHERE) && !is_user(before))
		return "the user does not end";
	return NULL;
}

static bool
seen_before(const struct fixture *f, const struct canon_part *call)
{
	const struct canon_turn *t;
	const struct canon_part *p;

	TAILQ_FOREACH (t, &f->out.q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link) {
			if (p == call)
				return false;
			if (p->kind == PART_TOOL_CALL && span_same(p->id, call->id))
				return true;
		}
	return false;
}

static const char *
check_pairing(const struct fixture *f)
{
	const struct canon_turn *t, *tools;
	const struct canon_part *p, *r;
	unsigned rounds = 0, turns = 0;

	TAILQ_FOREACH (t, &f->out.q->turns, link) {
		bool any = false;

		turns += t->role == ROLE_TOOL;
		tools = TAILQ_NEXT(t, link);
		r = tools != NULL && tools->role == ROLE_TOOL ? TAILQ_FIRST(&tools->parts) : NULL;
		TAILQ_FOREACH (p, &t->parts, link) {
			if ((p->kind == PART_TOOL_RESULT) != (t->role == ROLE_TOOL))
				return "a result where none may be";
			if (p->kind != PART_TOOL_CALL)
				continue;
			any = true;
			if (r == NULL || !span_same(r->id, p->id) || !span_same(r->name, p->name))
				return "a call without its result";
			if (p->id.p != NULL && seen_before(f, p))
				return "an id twice";
			r = TAILQ_NEXT(r, link);
		}
		if (any && r != NULL)
			return "more results than calls";
		rounds += any;
	}
	return rounds == turns ? NULL : "results without calls";
}

static const char *
check_texts(const struct fixture *f)
{
	const struct canon_turn *t;
	const struct canon_part *p;
	bool blank = f->p.dialect == DIALECT_MESSAGES || f->p.dialect == DIALECT_CONVERSE;

	TAILQ_FOREACH (t, &f->out.q->turns, link) {
		if (TAILQ_EMPTY(&t->parts))
			return "an empty turn";
		TAILQ_FOREACH (p, &t->parts, link) {
			if (p->kind == PART_TEXT && p->sign.data.p == NULL &&
			    (p->text.n == 0 ||
				(blank &&
				    strspn(fixture_cstr((struct fixture *)(uintptr_t)f, p->text),
					" \n") == p->text.n)))
				return "an empty text";
			if (blank && p->kind == PART_TEXT && t->role == ROLE_ASSISTANT &&
			    TAILQ_NEXT(t, link) == NULL && TAILQ_NEXT(p, link) == NULL &&
			    (p->text.p[p->text.n - 1] == ' ' || p->text.p[p->text.n - 1] == '\n'))
				return "white space at the end";
		}
	}
	return NULL;
}

static bool
name_is_good(const struct profile *p, struct span name)
{
	static const char word[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
	const char *also = p->names == NAMES_GEMINI ? "-.:" : p->names == NAMES_COHERE ? "" : "-";
	bool letter = p->names == NAMES_GEMINI || p->names == NAMES_COHERE;

	if (name.n == 0 || name.n > (p->names == NAMES_128         ? 128
					: p->names == NAMES_COHERE ? 256
								   : 64))
		return false;
	if (letter && memchr(word, name.p[0], 53) == NULL)
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (memchr(word, name.p[i], 63) == NULL && strchr(also, name.p[i]) == NULL)
			return false;
	return true;
}

static const char *
check_names_and_ids(const struct fixture *f)
{
	bool custom =
	    f->p.dialect == DIALECT_RESPONSES || (f->p.dialect == DIALECT_CHAT && f->p.openai);
	const struct canon_turn *t;
	const struct canon_part *p;
	const struct canon_tool *tool, *other;

	TAILQ_FOREACH (t, &f->out.q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link) {
			if (p->kind != PART_TOOL_CALL && p->kind != PART_TOOL_RESULT)
				continue;
			if (!name_is_good(&f->p, p->name))
				return "a name";
			if (p->id.p != NULL
				? !shape_call_id_fits(p->id, f->p.ids)
				: f->p.dialect != DIALECT_GEMINI && f->p.dialect != DIALECT_OLLAMA)
				return "an id";
			if ((p->custom && !custom) ||
			    (p->namespace.p != NULL && f->p.dialect != DIALECT_RESPONSES))
				return "a free-form call";
		}
	TAILQ_FOREACH (tool, &f->out.q->tools, link) {
		if (tool->kind != TOOL_FUNCTION && tool->kind != TOOL_CUSTOM)
			continue;
		if (!name_is_good(&f->p, tool->name) || (tool->kind == TOOL_CUSTOM && !custom))
			return "a tool";
		for (other = TAILQ_NEXT(tool, link); other != NULL; other = TAILQ_NEXT(other, link))
			if (span_same(other->name, tool->name))
				return "two tools of one name";
	}
	return NULL;
}

static const char *
check_signatures(const struct fixture *f)
{
	const struct canon_turn *t;
	const struct canon_part *p;

	TAILQ_FOREACH (t, &f->out.q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link) {
			if (p->sign.data.p != NULL && p->sign.origin != f->p.origin)
				return "a signature for somebody who did not make it";
			if (p->kind == PART_REASONING && p->sign.data.p == NULL &&
			    f->p.replay == REPLAY_DROP)
				return "an unsigned thought";
		}
	return NULL;
}

static bool
is_fetched(const struct fixture *f, const struct canon_part *p)
{
	for (const struct shaped_media *m = f->out.fetch; m != NULL; m = m->next)
		if (m->part == p)
			return true;
	return false;
}

static const char *
check_media(const struct fixture *f)
{
	const struct canon_turn *t;
	const struct canon_part *p, *c;

	TAILQ_FOREACH (t, &f->out.q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link) {
			TAILQ_FOREACH (c, &p->content, link)
				if (c->kind == PART_IMAGE && !f->p.image_in_result &&
				    f->p.dialect != DIALECT_GEMINI)
					return "an image in a result";
			if (p->kind != PART_IMAGE && p->kind != PART_FILE)
				continue;
			if (p->media.source == MEDIA_URL && !f->p.image_url && !is_fetched(f, p))
				return "a URL that nobody reads";
			if (p->media.source == MEDIA_BASE64 &&
			    (p->media.data.n % 4 != 0 || p->media.data.n == 0))
				return "base64 without padding";
			if (t->role == ROLE_ASSISTANT && f->p.dialect != DIALECT_GEMINI)
				return "an image of the assistant";
		}
	return NULL;
}

static const char *
check_marks(const struct fixture *f)
{
	const struct canon_turn *t;
	const struct canon_part *p;
	const struct canon_tool *tool;
	unsigned n = f->out.q->cache.set, stops = 0;

	TAILQ_FOREACH (tool, &f->out.q->tools, link)
		n += tool->cache.set;
	TAILQ_FOREACH (t, &f->out.q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link) {
			n += p->cache.set;
			if (p->cache.set && p->kind == PART_REASONING)
				return "a mark on a thought";
		}
	for (const struct canon_text_list *l = f->out.q->stop; l != NULL; l = l->next)
		stops++;
	if (stops > f->p.max_stops)
		return "too many stop sequences";
	return n <= (f->p.prompt_cache ? 4 : 0) ? NULL : "too many marks";
}

static const char *(*const checks[])(const struct fixture *) = {check_alternation, check_pairing,
    check_texts, check_names_and_ids, check_signatures, check_media, check_marks};

/* Shaped once more: nothing is left to do. */
static const char *
check_again(struct fixture *f, const char *printed)
{
	struct shaped out;
	struct canon_error err;

	/* media that moved behind a round look like the user's next word */
	if (f->out.fetch != NULL || f->p.replay != REPLAY_DROP)
		return NULL;
	if (shape_request(f->a, f->out.q, &f->p, span_of(f->model), &out, &err) != 0)
		return "refused the second time";
	return strcmp(fixture_print(f, out.q), printed) == 0 ? NULL : fixture_print(f, out.q);
}

static void
one(enum dialect_id from, size_t target, uint64_t number)
{
	const char *asked, *printed, *wrong = NULL;
	struct fixture f;

	seed = (number + 1) * UINT64_C(0x9e3779b97f4a7c15) + target * 977 + from;
	fixture_open(&f, from, targets[target].dialect, targets[target].model);
	random_row(&f.p);
	random_conversation(&f);
	asked = fixture_print(&f, f.q);
	if (fixture_shape(&f) == 0) {
		printed = fixture_print(&f, f.out.q);
		for (size_t i = 0; i < NELEM(checks) && wrong == NULL; i++)
			wrong = checks[i](&f);
		if (wrong == NULL)
			wrong = check_again(&f, printed);
		if (wrong == NULL && fixture_shape(&f) == 0 &&
		    strcmp(fixture_print(&f, f.out.q), printed) != 0)
			wrong = "another result the second time";
		if (wrong != NULL)
			fail_msg("%s → %s (%s) number %llu: %s\n%s\n---\n%s", dialect_word(from),
			    dialect_word(f.p.dialect), f.model, (unsigned long long)number, wrong,
			    asked, printed);
	} else {
		assert_true(f.err.message.n > 0);
	}
	assert_string_equal(fixture_print(&f, f.q), asked);
	fixture_close(&f);
}

static void
test_invariants(void **state)
{
	static const enum dialect_id clients[] = {
	    DIALECT_CHAT, DIALECT_RESPONSES, DIALECT_MESSAGES, DIALECT_GEMINI};

	(void)state;
	for (size_t c = 0; c < NELEM(clients); c++)
		for (size_t t = 0; t < NELEM(targets); t++)
			for (uint64_t i = 0; i < ROUNDS && clients[c] != targets[t].dialect; i++)
				one(clients[c], t, i);
}

/* ---- little memory ---- */

/* Wherever the arena ends: an error, or the same as ever. */
static void
test_memory(void **state)
{
	static const enum dialect_id clients[] = {
	    DIALECT_CHAT, DIALECT_RESPONSES, DIALECT_MESSAGES, DIALECT_GEMINI};

	(void)state;
	for (size_t t = 0; t < NELEM(targets); t++) {
		struct canon_error err;
		struct shaped out;
		struct fixture f;
		unsigned short_of = 0;
		int r = E_NOMEM;

		seed = 77 + t;
		fixture_open(&f, clients[t % NELEM(clients)], targets[t].dialect, targets[t].model);
		for (int i = 0; i < 3; i++)
			random_conversation(&f);
		fixture_tool(&f, "f.x")->namespace = span_of("n");
		f.q->format = (struct canon_format){
		    .kind = FORMAT_SCHEMA, .schema = span_of("[1]"), .strict = 1};
		f.q->user = span_of("a@b");
		for (size_t room = 4096; r == E_NOMEM && room < FIXTURE_MAX;
		     room += 1 + room / 64) {
			struct arena *a = arena_new(room);

			assert_non_null(a);
			r = shape_request(a, f.q, &f.p, span_of(f.model), &out, &err);
			short_of += r == E_NOMEM;
			arena_free(a);
		}
		assert_true(r == 0 || r == E_DENIED);
		assert_true(short_of > 0 || f.q->from == f.p.dialect || r == E_DENIED);
		fixture_close(&f);
	}
}

/* ---- recorded requests ---- */

static const struct {
	const char *word;
	enum dialect_id dialect;
} recorded[] = {
    {"openai-chat", DIALECT_CHAT},
    {"groq-chat", DIALECT_CHAT},
    {"mistral-chat", DIALECT_CHAT},
    {"openai-responses", DIALECT_RESPONSES},
    {"anthropic-messages", DIALECT_MESSAGES},
    {"gemini", DIALECT_GEMINI},
};

static struct span
read_file(struct arena *a, const char *path)
{
	FILE *f = fopen(path, "r");
	struct span s = {NULL, 0};
	long n;

	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	n = ftell(f);
	rewind(f);
	s.p = arena_alloc(a, (size_t)n + 1);
	assert_non_null(s.p);
	s.n = fread((char *)(uintptr_t)s.p, 1, (size_t)n, f);
	fclose(f);
	return s;
}

/* False: no request of a client's dialect, or one that its decoder refuses. */
static bool
open_recorded(struct fixture *f, const char *path, size_t target)
{
	const struct json *root, *body;
	struct decode_request in;
	size_t i = 0;

	fixture_open(f, DIALECT_CHAT, targets[target].dialect, targets[target].model);
	assert_int_equal(json_parse(f->a, read_file(f->a, path), &root), 0);
	while (i < NELEM(recorded) && !json_equals(json_get(root, "dialect"), recorded[i].word))
		i++;
	body = json_want(json_get(root, "request"), "body");
	in = (struct decode_request){.arena = f->a, .model = {"m", 1}};
	if (i == NELEM(recorded) || body == NULL)
		return false;
	in.body = body->raw;
	return dialect_get(recorded[i].dialect)->decode_request(&in, &f->q, &f->err) == 0;
}

static void
test_recorded(void **state)
{
	unsigned shaped = 0;
	glob_t files;

	(void)state;
	if (glob("../shared/recordings/*/*.json", 0, NULL, &files) != 0) {
		print_message("no recordings beside this tree\n");
		skip();
	}
	for (size_t i = 0; i < files.gl_pathc; i++)
		for (size_t t = 0; t < NELEM(targets); t++) {
			const char *wrong = NULL;
			struct fixture f;

			if (open_recorded(&f, files.gl_pathv[i], t) && f.q->from != f.p.dialect &&
			    fixture_shape(&f) == 0) {
				for (size_t c = 0; c < NELEM(checks) && wrong == NULL; c++)
					wrong = checks[c](&f);
				if (wrong == NULL)
					wrong = check_again(&f, fixture_print(&f, f.out.q));
				if (wrong != NULL)
					fail_msg(
					    "%s for %s: %s", files.gl_pathv[i], f.model, wrong);
				shaped++;
			}
			fixture_close(&f);
		}
	globfree(&files);
	assert_true(shaped > 500);
}

/* ---- time ---- */

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define LIMIT_MS 500
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define LIMIT_MS 500
#endif
#ifndef LIMIT_MS
#define LIMIT_MS 50
#endif
#define TURNS 5000

enum load { LOAD_PLAIN, LOAD_TWINS, LOAD_ORPHANS, LOAD_NAMELESS, LOAD_TEXTS, LOADS };

static void
make_load(struct fixture *f, enum load load)
{
	for (unsigned i = 0; i < TURNS; i += 2) {
		struct canon_turn *call = canon_turn_new(
				      f->a, load == LOAD_TEXTS ? ROLE_SYSTEM : ROLE_ASSISTANT),
				  *answer = canon_turn_new(
				      f->a, load == LOAD_TEXTS ? ROLE_USER : ROLE_TOOL);
		struct canon_part *c, *r, *text;

		if (load == LOAD_TEXTS) {
			c = random_text(f);
			r = random_text(f);
			c->text = r->text = span_of("text");
		} else {
			c = new_part(f, PART_TOOL_CALL);
			r = new_part(f, PART_TOOL_RESULT);
			text = random_text(f);
			text->text = span_of("found");
			TAILQ_INSERT_TAIL(&r->content, text, link);
			c->args = span_of("{}");
			c->name = r->name =
			    span_of(arena_printf(f->a, "tool.%u", load == LOAD_NAMELESS ? 0 : i));
			c->id = span_of(arena_printf(f->a, "call.%u", load == LOAD_TWINS ? 0 : i));
			r->id =
			    load == LOAD_ORPHANS ? span_of(arena_printf(f->a, "o%u", i)) : c->id;
			if (load == LOAD_NAMELESS)
				c->id = r->id = (struct span){NULL, 0};
		}
		TAILQ_INSERT_TAIL(&call->parts, c, link);
		TAILQ_INSERT_TAIL(&answer->parts, r, link);
		TAILQ_INSERT_TAIL(&f->q->turns, call, link);
		TAILQ_INSERT_TAIL(&f->q->turns, answer, link);
	}
}

static double
cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void
test_time(void **state)
{
	(void)state;
	for (enum load load = 0; load < LOADS; load++) {
		double best = 1e9;

		for (int run = 0; run < 3; run++) {
			struct fixture f;
			double from;

			seed = 1;
			fixture_open(
			    &f, DIALECT_CHAT, DIALECT_MESSAGES, "claude-sonnet-4-20250514");
			make_load(&f, load);
			from = cpu_ms();
			assert_int_equal(fixture_shape(&f), 0);
			best = MIN(best, cpu_ms() - from);
			fixture_close(&f);
		}
		print_message("load %d: %.1f ms\n", (int)load, best);
		if (best > LIMIT_MS)
			fail_msg("load %d: %.1f ms for %d turns", (int)load, best, TURNS);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_invariants),
	    cmocka_unit_test(test_memory),
	    cmocka_unit_test(test_recorded),
	    cmocka_unit_test(test_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
