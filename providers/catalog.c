#include "providers/catalog.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "providers/catalog_data.h"
#include "shared/buf.h"
#include "shared/err.h"

#define HEADERS_MAX 4096

/* The strings of a provider live in its document. */
struct entry {
	struct catalog_provider p;
	json_t *document;
	struct catalog_model *models;
	struct buf headers;
	char *profile;
};

static struct entry *entries;
static unsigned nentries;

/* ---- dialects ---- */

/* What every service of a dialect has in common. */
static const struct {
	const char *path, *header, *scheme;
} usual[DIALECTS] = {
    [DIALECT_CHAT] = {"/chat/completions", "Authorization", "Bearer"},
    [DIALECT_RESPONSES] = {"/responses", "Authorization", "Bearer"},
    [DIALECT_MESSAGES] = {"/messages", "x-api-key", ""},
    [DIALECT_GEMINI] = {"/models/{model}", "x-goog-api-key", ""},
    [DIALECT_COHERE] = {"/v2/chat", "Authorization", "Bearer"},
    [DIALECT_OLLAMA] = {"/api/chat", "Authorization", "Bearer"},
    [DIALECT_CONVERSE] = {"/model/{model}", "Authorization", "Bearer"},
};

const char *
catalog_path(enum dialect_id dialect)
{
	return usual[dialect].path;
}

void
catalog_auth(const struct catalog_provider *p, enum dialect_id dialect, const char **header,
    const char **scheme)
{
	bool own = p != NULL && (p->path[dialect] != NULL || p->auth_header == NULL);

	*header = own ? p->auth_header : usual[dialect].header;
	*scheme = own ? p->auth_scheme : usual[dialect].scheme;
}

/* A string member; NULL when it is absent or null. */
static const char *
text_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static const char *
text_or(const json_t *object, const char *name, const char *otherwise)
{
	const char *s = text_of(object, name);

	return s != NULL ? s : otherwise;
}

static uint32_t
number_of(const json_t *object, const char *name)
{
	json_int_t n = json_integer_value(json_object_get(object, name));

	return n > 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
}

static int
load_headers(struct entry *e)
{
	json_t *headers = json_object_get(e->document, "headers");

	buf_init(&e->headers, HEADERS_MAX);
	for (void *at = json_object_iter(headers); at != NULL;
	     at = json_object_iter_next(headers, at))
		buf_addf(&e->headers, "%s: %s\n", json_object_iter_key(at),
		    json_string_value(json_object_iter_value(at)));
	e->p.headers = buf_cstr(&e->headers);
	return e->p.headers != NULL && buf_ok(&e->headers) ? 0 : E_NOMEM;
}

static int
load_models(struct entry *e)
{
	const json_t *models = json_object_get(e->document, "models");
	size_t n = json_array_size(models);

	if (n == 0)
		return 0;
	e->models = calloc(n, sizeof *e->models);
	if (e->models == NULL)
		return E_NOMEM;
	for (size_t i = 0; i < n; i++) {
		const json_t *m = json_array_get(models, i);

		e->models[i] = (struct catalog_model){.id = text_of(m, "id"),
		    .name = text_of(m, "name"),
		    .context_length = number_of(m, "context_length"),
		    .max_output_tokens = number_of(m, "max_output_tokens")};
		if (e->models[i].id == NULL || e->models[i].name == NULL)
			return E_SYNTAX;
	}
	e->p.models = e->models;
	e->p.nmodels = (unsigned)n;
	return 0;
}

/* "dialects": a list of words, the first is the one that is spoken to clients of others. */
static int
load_dialects(struct entry *e, const json_t *dialects)
{
	size_t n = json_array_size(dialects);

	if (e->p.builtin)
		return 0;
	e->p.dialect =
	    n > 0 ? dialect_of(json_string_value(json_array_get(dialects, 0))) : DIALECT_CHAT;
	for (size_t i = 0; i < n; i++) {
		enum dialect_id d = dialect_of(json_string_value(json_array_get(dialects, i)));

		if (d == DIALECT_NONE)
			return E_SYNTAX;
		e->p.path[d] = usual[d].path;
	}
	if (e->p.chat_path[0] != '\0')
		e->p.path[DIALECT_CHAT] = e->p.chat_path;
	return e->p.path[e->p.dialect] != NULL ? 0 : E_SYNTAX;
}

static int
load_profile(struct entry *e, const json_t *profile)
{
	if (profile == NULL)
		return 0;
	e->profile = json_dumps(profile, JSON_COMPACT);
	if (e->profile == NULL)
		return E_NOMEM;
	e->p.profile = e->profile;
	return 0;
}

static int
load_entry(struct entry *e, const struct catalog_text *text)
{
	const json_t *d, *auth;
	int r;

	e->document = json_loadb(text->json, text->len, JSON_REJECT_DUPLICATES, NULL);
	d = e->document;
	auth = json_object_get(d, "auth");
	if (d == NULL || text_of(d, "id") == NULL || text_of(d, "name") == NULL || auth == NULL)
		return E_SYNTAX;
	e->p = (struct catalog_provider){.id = text_of(d, "id"),
	    .alias = text_or(d, "alias", ""),
	    .name = text_of(d, "name"),
	    .category = text_or(d, "category", ""),
	    .website = text_or(d, "website", ""),
	    .notes = text_or(d, "notes", ""),
	    .base_url = text_of(d, "base_url"),
	    .chat_path = text_or(d, "chat_path", ""),
	    .models_path = text_of(d, "models_path"),
	    .auth_header = text_of(auth, "header"),
	    .auth_scheme = text_or(auth, "scheme", ""),
	    .profile = "",
	    .sigv4 = strcmp(text_or(auth, "sign", ""), "sigv4") == 0,
	    .local = json_is_true(json_object_get(d, "local")),
	    .builtin = json_is_true(json_object_get(d, "builtin")),
	    .key_required = json_is_true(json_object_get(auth, "required"))};
	r = load_headers(e);
	if (r == 0)
		r = load_dialects(e, json_object_get(d, "dialects"));
	if (r == 0)
		r = load_profile(e, json_object_get(d, "profile"));
	return r < 0 ? r : load_models(e);
}

int
catalog_load(void)
{
	int r = 0;

	if (entries != NULL)
		return 0;
	entries = calloc(catalog_ntexts, sizeof *entries);
	if (entries == NULL)
		return E_NOMEM;
	nentries = catalog_ntexts;
	for (unsigned i = 0; r == 0 && i < nentries; i++)
		r = load_entry(&entries[i], &catalog_texts[i]);
	if (r < 0)
		catalog_free();
	return r;
}

void
catalog_free(void)
{
	for (unsigned i = 0; i < nentries; i++) {
		json_decref(entries[i].document);
		free(entries[i].models);
		free(entries[i].profile);
		buf_clear(&entries[i].headers);
	}
	free(entries);
	entries = NULL;
	nentries = 0;
}

unsigned
catalog_count(void)
{
	return nentries;
}

const struct catalog_provider *
catalog_at(unsigned i)
{
	return i < nentries ? &entries[i].p : NULL;
}

const struct catalog_provider *
catalog_find(const char *id_or_alias)
{
	if (*id_or_alias == '\0')
		return NULL;
	for (unsigned i = 0; i < nentries; i++)
		if (strcmp(entries[i].p.id, id_or_alias) == 0 ||
		    strcmp(entries[i].p.alias, id_or_alias) == 0)
			return &entries[i].p;
	return NULL;
}
