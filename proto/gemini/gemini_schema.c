/* OpenAPI's subset, as Google's older members take it, read as JSON schema. */
#include "proto/gemini/gemini.h"
#include "shared/err.h"

#define SCHEMA_MAX (16u << 20)

enum place { PLACE_DATA, PLACE_SCHEMA, PLACE_LIST, PLACE_MAP };

static enum place
place_of(struct span name)
{
	static const struct {
		const char *word;
		enum place place;
	} places[] = {
	    {"properties", PLACE_MAP},
	    {"defs", PLACE_MAP},
	    {"$defs", PLACE_MAP},
	    {"items", PLACE_SCHEMA},
	    {"additionalProperties", PLACE_SCHEMA},
	    {"anyOf", PLACE_LIST},
	    {"prefixItems", PLACE_LIST},
	};
	bool snake = false;

	for (size_t i = 0; i < NELEM(places); i++)
		if (gemini_name_is(name, places[i].word, &snake))
			return places[i].place;
	return PLACE_DATA;
}

/* Lower case; with "null" beside it where the node is nullable. */
static void
put_type(struct jsonw *w, struct span type, bool nullable)
{
	char word[16];
	size_t n = MIN(type.n, sizeof word);

	for (size_t i = 0; i < n; i++)
		word[i] = type.p[i] >= 'A' && type.p[i] <= 'Z' ? (char)(type.p[i] + 32) : type.p[i];
	if (nullable)
		jsonw_open(w, '[');
	jsonw_text(w, (struct span){word, n});
	if (nullable) {
		jsonw_cstr(w, "null");
		jsonw_close(w, ']');
	}
}

static void put_node(struct jsonw *w, const struct json *node);

/* A map or a list of schemas. */
static void
put_nodes(struct jsonw *w, const struct json *m, char bracket)
{
	jsonw_open(w, bracket);
	json_each (it, m) {
		if (bracket == '{')
			jsonw_name_raw(w, it->name);
		put_node(w, it);
	}
	jsonw_close(w, bracket == '{' ? '}' : ']');
}

/* As deep as the parser goes. */
static void
put_node(struct jsonw *w, const struct json *node)
{
	bool nullable = json_yes(json_get(node, "nullable"));

	if (!json_is(node, 'o')) {
		jsonw_raw(w, node->raw);
		return;
	}
	jsonw_open(w, '{');
	json_each (m, node) {
		enum place place = place_of(m->name);
		bool type = json_name_is(m, "type") && json_is(m, 's') && !m->escaped;

		if (json_name_is(m, "nullable") && json_is_bool(m) &&
		    json_is(json_get(node, "type"), 's'))
			continue;
		jsonw_name_raw(w, m->name);
		if (type)
			put_type(w, (struct span){m->raw.p + 1, m->raw.n - 2}, nullable);
		else if (place == PLACE_MAP && json_is(m, 'o'))
			put_nodes(w, m, '{');
		else if (place == PLACE_LIST && json_is(m, 'a'))
			put_nodes(w, m, '[');
		else if (place == PLACE_SCHEMA)
			put_node(w, m);
		else
			jsonw_raw(w, m->raw);
	}
	jsonw_close(w, '}');
}

int
gemini_read_schema(struct gemini_reader *r, struct span subset, const char *param, struct span *out)
{
	struct buf b = BUF_INIT(SCHEMA_MAX);
	struct jsonw w = {.b = &b};
	const struct json *node;
	int e = json_parse(r->a, subset, &node);

	if (e != 0)
		return e;
	put_node(&w, node);
	if (!buf_ok(&b)) {
		buf_clear(&b);
		return canon_fail(r->a, r->err, ERROR_BAD_REQUEST, param,
		    "The schema is longer than %u bytes", SCHEMA_MAX);
	}
	*out = gemini_take(r->a, &b);
	return out->p == NULL ? E_NOMEM : 0;
}
