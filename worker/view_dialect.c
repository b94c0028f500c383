/* The models as Anthropic's and Google's clients list them. Made anew for each request: few ask. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shared/clock.h"
#include "shared/snapshot.h"
#include "worker/view.h"

#define DUMP_FLAGS (JSON_COMPACT | JSON_ENSURE_ASCII)
#define INPUT_UNKNOWN 128000 /* tokens, where the catalogue does not know */
#define OUTPUT_UNKNOWN 8192

static json_t *
json_span(struct span s)
{
	return json_stringn(s.p != NULL ? s.p : "", s.n);
}

static void
reply_object(struct http_req *r, json_t *o)
{
	char *text = o != NULL ? json_dumps(o, DUMP_FLAGS) : NULL;

	json_decref(o);
	if (text == NULL) {
		http_error(r, 500, NULL, NULL);
		return;
	}
	http_header(r, "Cache-Control", "no-cache");
	http_reply(r, 200, "application/json", text, strlen(text));
	free(text);
}

/* ---- Anthropic ---- */

static json_t *
messages_model(const struct snapshot *snap, const struct snap_model *m)
{
	time_t created = (time_t)(m->created != 0 ? m->created : clock_wall_us() / 1000000);
	char text[32];
	struct tm tm;

	if (gmtime_r(&created, &tm) == NULL ||
	    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return NULL;
	return json_pack("{s:s, s:o, s:o, s:s}", "type", "model", "id",
	    json_span(snapshot_span(snap, m->id)), "display_name",
	    json_span(snapshot_span(snap, m->root)), "created_at", text);
}

void
view_messages_models(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	uint32_t n = snapshot_head(caller->snap)->models.count;
	json_t *data = json_array(), *first = json_null(), *last = json_null();

	(void)ep;
	(void)tail;
	for (uint32_t i = 0; data != NULL && i < n; i++)
		(void)json_array_append_new(
		    data, messages_model(caller->snap, snapshot_model(caller->snap, i)));
	if (json_array_size(data) > 0) {
		first = json_incref(json_object_get(json_array_get(data, 0), "id"));
		last = json_incref(
		    json_object_get(json_array_get(data, json_array_size(data) - 1), "id"));
	}
	reply_object(r, json_pack("{s:o, s:b, s:o, s:o}", "data", data, "has_more", 0, "first_id",
			    first, "last_id", last));
}

void
view_messages_model(struct http_req *r, const struct caller *caller, const struct snap_model *m)
{
	reply_object(r, messages_model(caller->snap, m));
}

/* ---- Google ---- */

static json_t *
gemini_model(const struct snapshot *snap, const struct snap_model *m)
{
	struct span root = snapshot_span(snap, m->root);

	return json_pack("{s:s+, s:o, s:o, s:[sss], s:I, s:I}", "name", "models/",
	    snapshot_cstr(snap, m->id), "displayName", json_span(root), "description",
	    json_span(root), "supportedGenerationMethods", "generateContent",
	    "streamGenerateContent", "countTokens", "inputTokenLimit",
	    (json_int_t)(m->context_length != 0 ? m->context_length : INPUT_UNKNOWN),
	    "outputTokenLimit",
	    (json_int_t)(m->max_output_tokens != 0 ? m->max_output_tokens : OUTPUT_UNKNOWN));
}

void
view_gemini_models(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	json_t *models = json_array();

	(void)ep;
	(void)tail;
	for (uint32_t i = 0; models != NULL && i < snapshot_head(caller->snap)->models.count; i++)
		(void)json_array_append_new(
		    models, gemini_model(caller->snap, snapshot_model(caller->snap, i)));
	reply_object(r, json_pack("{s:o}", "models", models));
}

void
view_gemini_model(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	const struct snap_model *m = snapshot_find_model(caller->snap, tail);

	(void)ep;
	if (m == NULL)
		http_error(r, 404, "model_not_found",
		    "Model \"%.*s\" not found; GET /v1beta/models lists them",
		    (int)MIN(tail.n, 200), tail.p);
	else
		reply_object(r, gemini_model(caller->snap, m));
}
