#include "proto/profile.h"

#include <stdio.h>
#include <string.h>

#include "shared/err.h"

/* ---- defaults ---- */

/* Chat: what nearly every compatible service understands. The others: the vendor's own service. */
static const struct profile defaults[DIALECTS] = {
    [DIALECT_CHAT] =
	{
	    .stream_options = true,
	    .extra_pass = true,
	    .ids = IDS_ANY,
	    .names = NAMES_64,
	    .schema = SCHEMA_COMMON,
	    .json = JSON_SCHEMA,
	    .reasoning = REASON_EFFORT,
	    .image_url = true,
	    .pdf = true,
	    .audio = true,
	    .max_stops = 4,
	},
    [DIALECT_RESPONSES] =
	{
	    .origin = ORIGIN_OPENAI,
	    .openai = true,
	    .developer_role = true,
	    .ids = IDS_64,
	    .names = NAMES_64,
	    .schema = SCHEMA_OPENAI,
	    .json = JSON_SCHEMA,
	    .image_url = true,
	    .pdf = true,
	    .image_in_result = true,
	    .web_search = true,
	},
    [DIALECT_MESSAGES] =
	{
	    .origin = ORIGIN_ANTHROPIC,
	    .anthropic = true,
	    .ids = IDS_WORD,
	    .names = NAMES_128,
	    .schema = SCHEMA_ANTHROPIC,
	    .json = JSON_SCHEMA,
	    .prompt_cache = true,
	    .image_url = true,
	    .pdf = true,
	    .image_in_result = true,
	    .max_stops = 8191,
	    .web_search = true,
	},
    [DIALECT_GEMINI] =
	{
	    .origin = ORIGIN_GOOGLE,
	    .ai_studio = true,
	    .ids = IDS_ANY,
	    .names = NAMES_GEMINI,
	    .schema = SCHEMA_GEMINI_JSON,
	    .json = JSON_SCHEMA,
	    .pdf = true,
	    .audio = true,
	    .max_stops = 5,
	    .web_search = true,
	},
    [DIALECT_COHERE] =
	{
	    .ids = IDS_ANY,
	    .names = NAMES_COHERE,
	    .schema = SCHEMA_COMMON,
	    .json = JSON_SCHEMA,
	    .image_url = true,
	    .max_stops = 5,
	},
    [DIALECT_OLLAMA] =
	{
	    .ids = IDS_NONE,
	    .names = NAMES_64,
	    .schema = SCHEMA_AS_IS,
	    .json = JSON_SCHEMA,
	    .max_stops = 16,
	},
    [DIALECT_CONVERSE] =
	{
	    .origin = ORIGIN_ANTHROPIC,
	    .ids = IDS_WORD64,
	    .names = NAMES_64,
	    .schema = SCHEMA_ANTHROPIC,
	    .json = JSON_NONE,
	    .prompt_cache = true,
	    .pdf = true,
	    .image_in_result = true,
	    .max_stops = 4,
	},
};

void
profile_init(struct profile *p, enum dialect_id dialect)
{
	*p = defaults[dialect];
	p->dialect = dialect;
}

/* ---- a provider's row ---- */

enum row_kind { ROW_BOOL, ROW_WORD, ROW_NUMBER };

#define WORDS_MAX 8

static const struct row {
	const char *name;
	enum row_kind kind;
	size_t offset;
	const char *words[WORDS_MAX];
} rows[] = {
#define BOOL(name) {#name, ROW_BOOL, offsetof(struct profile, name), {NULL}},
#define WORD(name, ...) {#name, ROW_WORD, offsetof(struct profile, name), {__VA_ARGS__}},
#define NUMBER(name) {#name, ROW_NUMBER, offsetof(struct profile, name), {NULL}},
#include "proto/profile.def"
#undef BOOL
#undef WORD
#undef NUMBER
};

/* Every enum of struct profile starts at 0 and is as wide as this. */
_Static_assert(sizeof(enum profile_ids) == sizeof(unsigned), "enums are written as unsigned");

static bool
set(struct profile *p, const struct row *row, const struct json *value)
{
	char *at = (char *)p + row->offset;
	int64_t n;

	switch (row->kind) {
	case ROW_BOOL: {
		bool on = json_yes(value);

		memcpy(at, &on, sizeof on);
		return json_is_bool(value);
	}
	case ROW_NUMBER: {
		uint32_t u;

		if (!json_int(value, &n) || n < 0 || n > UINT32_MAX)
			return false;
		u = (uint32_t)n;
		memcpy(at, &u, sizeof u);
		return true;
	}
	case ROW_WORD:
		for (unsigned i = 0; i < WORDS_MAX && row->words[i] != NULL; i++)
			if (json_equals(value, row->words[i])) {
				memcpy(at, &i, sizeof i);
				return true;
			}
		return false;
	}
	return false;
}

static const struct row *
find_row(const struct json *member)
{
	for (size_t i = 0; i < NELEM(rows); i++)
		if (json_name_is(member, rows[i].name))
			return &rows[i];
	return NULL;
}

int
profile_parse(struct arena *a, enum dialect_id dialect, struct span json, struct profile *out,
    const char **why)
{
	const struct json *root;
	int r;

	profile_init(out, dialect);
	*why = "a profile is a JSON object";
	if (json.n == 0)
		return 0;
	if ((r = json_parse(a, json, &root)) != 0)
		return r == E_NOMEM ? r : E_SYNTAX;
	if (!json_is(root, 'o'))
		return E_SYNTAX;
	json_each (m, root) {
		const struct row *row = find_row(m);

		if (row != NULL && set(out, row, m))
			continue;
		*why = arena_printf(a, "profile: %s \"%.*s\"",
		    row == NULL ? "unknown member" : "wrong value of", (int)MIN(m->name.n, 64),
		    m->name.p);
		if (*why == NULL)
			*why = "profile: wrong";
		return E_SYNTAX;
	}
	return 0;
}
