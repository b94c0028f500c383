/* groundingMetadata ↔ citations (spec 13.4). Google counts bytes of UTF-8, the model code points.
 */
#include <string.h>

#include "proto/gemini/gemini.h"
#include "shared/err.h"

#define CITES_MAX 4096u /* of one answer; more are not looked at */
#define CHUNKS_MAX 4096u
#define OFFSET_MAX (INT64_C(1) << 40) /* no text is longer */

static int
add_cite(struct arena *a, const struct json *segment, const struct json *chunk, struct span raw,
    struct canon_annotations *out)
{
	static const char *const homes[] = {"web", "retrievedContext", "maps"};
	struct canon_annotation *n = canon_annotation_new(a);
	const struct json *home = NULL;
	int64_t at;
	int e;

	if (n == NULL)
		return E_NOMEM;
	for (size_t i = 0; i < NELEM(homes) && home == NULL; i++)
		home = gemini_get(chunk, homes[i]);
	if ((e = gemini_get_text(a, home, "uri", &n->url)) != 0 ||
	    (e = gemini_get_text(a, home, "title", &n->title)) != 0 ||
	    (e = gemini_get_text(a, segment, "text", &n->quoted)) != 0)
		return e;
	n->kind = n->url.p != NULL ? CITE_URL : CITE_FILE;
	n->start =
	    json_int(gemini_get(segment, "startIndex"), &at) && at > 0 ? MIN(at, OFFSET_MAX) : 0;
	n->end = json_int(gemini_get(segment, "endIndex"), &at) && at >= n->start
		     ? MIN(at, OFFSET_MAX)
		     : -1;
	n->raw = raw;
	n->from = DIALECT_GEMINI;
	TAILQ_INSERT_TAIL(out, n, link);
	return 0;
}

/* Chunks by number, so that a long list is walked once. */
static uint32_t
index_chunks(struct arena *a, const struct json *chunks, const struct json ***out)
{
	uint32_t n = json_is(chunks, 'a') ? MIN(chunks->count, CHUNKS_MAX) : 0, i = 0;

	*out = arena_zalloc(a, MAX(n, 1), sizeof **out);
	if (*out == NULL)
		return 0;
	json_each (it, chunks)
		if (i < n)
			(*out)[i++] = it;
	return n;
}

int
gemini_read_grounding(struct arena *a, const struct json *grounding, struct canon_annotations *out)
{
	const struct json *supports, **chunk, *g = grounding;
	uint32_t chunks, cites = 0;
	struct span raw;
	int64_t number;
	int e;

	TAILQ_INIT(out);
	if (!json_is(grounding, 'o'))
		return 0;
	raw = canon_copy(a, grounding->raw);
	if (raw.p == NULL || json_parse(a, raw, &g) != 0)
		return E_NOMEM;
	chunks = index_chunks(a, gemini_get(g, "groundingChunks"), &chunk);
	if (chunk == NULL)
		return E_NOMEM;
	supports = gemini_get(g, "groundingSupports");
	json_each (s, json_is(supports, 'a') ? supports : NULL) {
		const struct json *list = gemini_get(s, "groundingChunkIndices");

		json_each (i, json_is(list, 'a') ? list : NULL) {
			if (!json_int(i, &number) || number < 0 || number >= chunks)
				continue;
			if (cites++ == CITES_MAX)
				return 0;
			e = add_cite(a, gemini_get(s, "segment"), chunk[number], raw, out);
			if (e != 0)
				return e;
		}
	}
	return 0;
}

void
gemini_ground(struct canon_annotation *n, const struct textmap *m, uint64_t from)
{
	uint64_t before = textmap_points(m, from);

	n->start = (int64_t)(textmap_points(m, from + (uint64_t)n->start) - before);
	if (n->end >= 0)
		n->end = (int64_t)(textmap_points(m, from + (uint64_t)n->end) - before);
}

struct canon_annotation *
gemini_move_cite(struct arena *a, const struct canon_annotation *n, uint64_t points)
{
	struct canon_annotation *copy = canon_annotation_new(a);

	if (copy == NULL)
		return NULL;
	*copy = *n;
	copy->start = n->start >= 0 ? MIN(n->start, OFFSET_MAX) + (int64_t)points : -1;
	copy->end = n->end >= 0 ? MIN(n->end, OFFSET_MAX) + (int64_t)points : -1;
	return copy;
}

static void
put_support(struct gemini_writer *o, const struct canon_annotation *n, const struct textmap *m,
    uint64_t number)
{
	jsonw_open(&o->w, '{');
	jsonw_m_open(&o->w, "segment", '{');
	if (n->start > 0)
		jsonw_m_u64(&o->w, "startIndex", textmap_byte(m, (uint64_t)n->start));
	if (n->end >= 0)
		jsonw_m_u64(&o->w, "endIndex", textmap_byte(m, (uint64_t)n->end));
	jsonw_m_text(&o->w, "text", n->quoted);
	jsonw_close(&o->w, '}');
	jsonw_m_open(&o->w, "groundingChunkIndices", '[');
	jsonw_u64(&o->w, number);
	jsonw_close(&o->w, ']');
	jsonw_close(&o->w, '}');
}

void
gemini_put_grounding(
    struct gemini_writer *o, const struct canon_annotations *list, const struct textmap *m)
{
	const struct canon_annotation *n = TAILQ_FIRST(list);
	uint64_t number = 0;

	if (n != NULL && n->from == DIALECT_GEMINI && n->raw.p != NULL) {
		jsonw_m_raw(&o->w, "groundingMetadata", n->raw);
		return;
	}
	while (n != NULL && n->url.p == NULL)
		n = TAILQ_NEXT(n, link);
	if (n == NULL)
		return;
	jsonw_m_open(&o->w, "groundingMetadata", '{');
	jsonw_m_open(&o->w, "groundingChunks", '[');
	TAILQ_FOREACH (n, list, link) {
		if (n->url.p == NULL)
			continue;
		jsonw_open(&o->w, '{');
		jsonw_m_open(&o->w, "web", '{');
		jsonw_m_text(&o->w, "uri", n->url);
		jsonw_m_text(&o->w, "title", n->title);
		jsonw_close(&o->w, '}');
		jsonw_close(&o->w, '}');
	}
	jsonw_close(&o->w, ']');
	jsonw_m_open(&o->w, "groundingSupports", '[');
	TAILQ_FOREACH (n, list, link)
		if (n->url.p != NULL)
			put_support(o, n, m, number++);
	jsonw_close(&o->w, ']');
	jsonw_close(&o->w, '}');
}
