/*
 * Structured output (spec translation 11): the target's own; or a tool whose arguments are the
 * answer; or an instruction. Never two of them.
 */
#include <stdio.h>
#include <string.h>

#include "proto/scan.h"
#include "proto/shape_own.h"
#include "shared/err.h"

#define TOOL_NAME "json_output"
#define ASK_JSON "Answer in JSON."
#define ASK_ONLY_JSON "Answer only with JSON, no prose, no code fence."
#define ASK_SCHEMA "Answer only with JSON that matches this schema, no prose, no code fence: "

static enum profile_json
native(const struct shaping *s)
{
	enum profile_json json = s->p->json;

	if (json == JSON_SCHEMA && s->m->no_schema)
		json = s->p->dialect == DIALECT_MESSAGES || s->p->dialect == DIALECT_CONVERSE
			   ? JSON_NONE
			   : JSON_OBJECT;
	/* there, one or the other */
	if (shape_has_functions(s) &&
	    (s->p->dialect == DIALECT_COHERE ||
		(s->p->dialect == DIALECT_GEMINI && !shape_is_new_gemini(s))))
		return JSON_NONE;
	return json;
}

/* ---- in words ---- */

static int
instruct(struct shaping *s)
{
	struct span schema = s->q->format.schema;
	char *out;

	s->out->strip_fence = true;
	if (schema.p == NULL)
		return shape_system_add(s, span_of(ASK_ONLY_JSON));
	if ((out = arena_alloc(s->a, sizeof ASK_SCHEMA + schema.n)) == NULL)
		return E_NOMEM;
	memcpy(out, ASK_SCHEMA, sizeof ASK_SCHEMA - 1);
	memcpy(out + sizeof ASK_SCHEMA - 1, schema.p, schema.n);
	return shape_system_add(s, (struct span){out, sizeof ASK_SCHEMA - 1 + schema.n});
}

/* ---- by a tool ---- */

static bool
is_object_schema(struct shaping *s, struct span schema)
{
	const struct json *j;

	if (json_parse(s->a, schema, &j) != 0 || !json_is(j, 'o'))
		return false;
	return json_equals(json_get(j, "type"), "object") ||
	       (json_get(j, "type") == NULL && json_is(json_get(j, "properties"), 'o'));
}

/* References would lose their root: they are resolved first. */
static int
wrap_value(struct shaping *s, struct span *schema)
{
	static const char head[] = "{\"type\":\"object\",\"properties\":{\"value\":",
			  tail[] = "},\"required\":[\"value\"],\"additionalProperties\":false}";
	size_t n;
	char *out;
	const struct json *j;

	if (json_parse(s->a, *schema, &j) != 0)
		return canon_fail(s->a, s->err, ERROR_BAD_REQUEST, "response_format",
		    "The schema is not valid JSON.");
	n = sizeof head - 1 + schema->n + sizeof tail - 1;
	if ((out = arena_alloc(s->a, n)) == NULL)
		return E_NOMEM;
	memcpy(out, head, sizeof head - 1);
	memcpy(out + sizeof head - 1, schema->p, schema->n);
	memcpy(out + sizeof head - 1 + schema->n, tail, sizeof tail - 1);
	*schema = (struct span){out, n};
	s->out->json_value = true;
	return 0;
}

static bool
may_use_tool(const struct shaping *s)
{
	return s->q->format.schema.p != NULL && TAILQ_EMPTY(&s->q->tools) &&
	       s->q->tool_choice.kind == CHOICE_UNSET && !shape_thinks(s) &&
	       !s->m->no_forced_choice && !s->p->no_named_choice &&
	       s->p->dialect != DIALECT_OLLAMA && s->p->dialect != DIALECT_COHERE;
}

static int
use_tool(struct shaping *s)
{
	struct canon_format *f = &s->q->format;
	struct canon_tool *t = canon_tool_new(s->a, TOOL_FUNCTION);
	int r;

	if (t == NULL)
		return E_NOMEM;
	t->name = span_of(TOOL_NAME);
	t->schema = f->schema;
	t->description = f->description.n > 0 ? f->description : span_of("Gives the answer.");
	if (!is_object_schema(s, t->schema) && (r = wrap_value(s, &t->schema)) != 0)
		return r;
	if ((r = shape_schema_fit(s, &t->schema, s->p->schema, "response_format")) != 0)
		return r;
	TAILQ_INSERT_TAIL(&s->q->tools, t, link);
	s->q->tool_choice = (struct canon_tool_choice){.kind = CHOICE_NAMED, .name = t->name};
	s->out->json_tool = t->name;
	return 0;
}

/* ---- the target's own ---- */

static bool
says_json(struct span text)
{
	for (size_t i = 0; i + 4 <= text.n; i++)
		if ((text.p[i] | 0x20) == 'j' && (text.p[i + 1] | 0x20) == 's' &&
		    (text.p[i + 2] | 0x20) == 'o' && (text.p[i + 3] | 0x20) == 'n')
			return true;
	return false;
}

/* OpenAI wants the word somewhere. */
static int
say_json(struct shaping *s)
{
	const struct canon_turn *t;
	const struct canon_part *p;

	if (!s->p->openai || s->same)
		return 0;
	TAILQ_FOREACH (t, &s->q->turns, link)
		TAILQ_FOREACH (p, &t->parts, link)
			if (p->kind == PART_TEXT && says_json(p->text))
				return 0;
	return shape_system_add(s, span_of(ASK_JSON));
}

static int
fit_schema(struct shaping *s)
{
	struct canon_format *f = &s->q->format;
	enum profile_schema rule = s->p->schema;
	const char *before = f->schema.p;
	int r;

	if (s->p->dialect == DIALECT_MESSAGES)
		rule = SCHEMA_ANTHROPIC_STRICT;
	else if (s->p->openai && f->strict == 1)
		rule = s->same ? SCHEMA_AS_IS : SCHEMA_OPENAI_STRICT;
	else if (s->p->openai && s->same)
		rule = SCHEMA_AS_IS;
	if (!s->same && (s->p->dialect == DIALECT_CHAT || s->p->dialect == DIALECT_RESPONSES)) {
		f->name =
		    shape_tool_name(s->a, f->name.n > 0 ? f->name : span_of("response"), NAMES_64);
		if (f->name.p == NULL)
			return E_NOMEM;
	}
	r = shape_schema_fit(s, &f->schema, rule, "response_format");
	if (f->schema.p != before)
		f->raw = (struct span){NULL, 0}; /* it holds the schema as it was */
	return r;
}

static int
by_words(struct shaping *s)
{
	int r = may_use_tool(s) ? use_tool(s) : instruct(s);

	s->q->format = (struct canon_format){.kind = FORMAT_UNSET, .strict = -1};
	return r;
}

int
shape_format(struct shaping *s)
{
	struct canon_format *f = &s->q->format;
	enum profile_json has = native(s);

	if (!s->same)
		f->raw = (struct span){NULL, 0};
	if (f->kind == FORMAT_SCHEMA && f->schema.p == NULL)
		f->kind = FORMAT_JSON;
	if (f->kind != FORMAT_JSON && f->kind != FORMAT_SCHEMA)
		return 0;
	/* Messages and Converse know schemas only */
	if (f->kind == FORMAT_JSON && (has == JSON_NONE || s->p->dialect == DIALECT_MESSAGES ||
					  s->p->dialect == DIALECT_CONVERSE))
		return by_words(s);
	if (f->kind == FORMAT_JSON)
		return say_json(s);
	if (has == JSON_SCHEMA)
		return fit_schema(s);
	if (has == JSON_NONE)
		return by_words(s);
	f->kind = FORMAT_JSON;
	f->raw = (struct span){NULL, 0};
	return instruct(s);
}
