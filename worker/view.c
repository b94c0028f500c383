#include "worker/view.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/log.h"
#include "shared/snapshot.h"
#include "worker/worker.h"

#define JSON_TYPE "application/json"
#define DUMP_FLAGS (JSON_COMPACT | JSON_ENSURE_ASCII)

/* The list, as text, of the snapshot with this number. */
static struct {
	uint64_t number;
	char *text;
} list;

/* ---- models ---- */

static json_t *
json_span(struct span s)
{
	return json_stringn(s.p != NULL ? s.p : "", s.n);
}

/* NULL: out of memory, or a name that is not UTF-8. */
static json_t *
model_json(struct snapshot *snap, const struct snap_model *m)
{
	uint64_t created = m->created != 0 ? m->created : clock_wall_us() / 1000000;
	json_t *o = json_object();
	int r = o == NULL ? -1 : 0;

	r |= json_object_set_new(o, "id", json_span(snapshot_span(snap, m->id)));
	r |= json_object_set_new(o, "object", json_string("model"));
	r |= json_object_set_new(o, "created", json_integer((json_int_t)created));
	r |= json_object_set_new(o, "owned_by", json_span(snapshot_span(snap, m->owned_by)));
	r |= json_object_set_new(o, "permission", json_array());
	r |= json_object_set_new(o, "root", json_span(snapshot_span(snap, m->root)));
	r |= json_object_set_new(o, "parent", json_null());
	if (m->context_length != 0)
		r |= json_object_set_new(o, "context_length", json_integer(m->context_length));
	if (m->max_output_tokens != 0)
		r |=
		    json_object_set_new(o, "max_output_tokens", json_integer(m->max_output_tokens));
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}

static char *
list_dump(struct snapshot *snap)
{
	json_t *data = json_array(), *all;
	char *text;

	for (uint32_t i = 0; data != NULL && i < snapshot_head(snap)->models.count; i++) {
		const struct snap_model *m = snapshot_model(snap, i);

		if (json_array_append_new(data, model_json(snap, m)) != 0)
			log_warn("model %s cannot be listed", snapshot_cstr(snap, m->id));
	}
	all = json_pack("{s:s, s:o}", "object", "list", "data", data);
	text = all != NULL ? json_dumps(all, DUMP_FLAGS) : NULL;
	json_decref(all);
	return text;
}

/* For the snapshot in force the text is kept; NULL: out of memory. */
static const char *
list_text(struct snapshot *snap)
{
	uint64_t number = snapshot_head(snap)->number;

	if (list.text != NULL && list.number == number)
		return list.text;
	free(list.text);
	list.text = list_dump(snap);
	list.number = number;
	return list.text;
}

static void
reply_json(struct http_req *r, const char *text)
{
	if (text == NULL) {
		http_error(r, 500, NULL, NULL);
		return;
	}
	http_header(r, "Cache-Control", "no-cache");
	http_reply(r, 200, JSON_TYPE, text, strlen(text));
}

void
view_models(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	(void)ep;
	(void)tail;
	http_header(r, "X-Model-Catalog-Version", "model-metadata-v1:static");
	reply_json(r, list_text(caller->snap));
}

void
view_model(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	const struct snap_model *m = snapshot_find_model(caller->snap, tail);
	json_t *o;
	char *text;

	(void)ep;
	if (m == NULL) {
		http_error(r, 404, "model_not_found",
		    "Model \"%.*s\" not found; GET /v1/models lists them", (int)MIN(tail.n, 200),
		    tail.p);
		return;
	}
	if (r->dialect == DIALECT_MESSAGES) {
		view_messages_model(r, caller, m);
		return;
	}
	o = model_json(caller->snap, m);
	text = o != NULL ? json_dumps(o, DUMP_FLAGS) : NULL;
	json_decref(o);
	reply_json(r, text);
	free(text);
}

/* ---- health ---- */

static void
reply_state(struct http_req *r, int status, const char *text)
{
	http_header(r, "Cache-Control", "no-store");
	http_reply(r, status, JSON_TYPE, text, strlen(text));
}

void
view_health(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	(void)ep;
	(void)caller;
	(void)tail;
	reply_state(r, 200, "{\"status\":\"ok\"}");
}

static bool
any_ready(const struct live *live)
{
	for (unsigned i = 0; i < LIVE_WORKERS; i++) {
		const struct live_worker *w = &live->worker[i];

		if (atomic_load_explicit(&w->owner, memory_order_relaxed) != 0 &&
		    atomic_load_explicit(&w->state, memory_order_relaxed) == WORKER_READY)
			return true;
	}
	return false;
}

void
view_ready(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	(void)ep;
	(void)caller;
	(void)tail;
	if (any_ready(worker.live))
		reply_state(r, 200, "{\"status\":\"ready\"}");
	else
		reply_state(r, 503, "{\"status\":\"draining\"}");
}

void
view_free(void)
{
	free(list.text);
	list.text = NULL;
}
