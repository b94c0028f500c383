#include "worker/route.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "providers/catalog.h"
#include "shared/live.h"
#include "shared/snapshot.h"

/*
 * An unknown model is what OpenAI calls model_not_found; the rest is as the guide has it. A
 * connection that was asked for by name and cannot serve the model is a constraint that nothing
 * meets.
 */
static const struct route_error errors[ROUTE_RESULTS] = {
    [ROUTE_OK] = {200, NULL},
    [ROUTE_FORMAT] = {400, "invalid_model_format"},
    [ROUTE_UNKNOWN] = {404, "model_not_found"},
    [ROUTE_AMBIGUOUS] = {400, "ambiguous_model"},
    [ROUTE_NO_CREDENTIALS] = {400, "no_credentials"},
    [ROUTE_NOT_ELIGIBLE] = {503, NULL},
};

const struct route_error *
route_error(enum route_result r)
{
	return &errors[r];
}

static enum route_result printf_like(3, 4)
    refuse(struct route *rt, enum route_result r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(rt->note, sizeof rt->note, fmt, ap);
	va_end(ap);
	return r;
}

static enum route_result
take(struct route *rt, const struct snap_name *name, const char *model)
{
	rt->provider = snapshot_provider(rt->snap, name->provider);
	rt->model = model;
	rt->list = snapshot_name_list(rt->snap, name);
	rt->n = name->list_len;
	if (rt->provider == NULL || (rt->n == 0 && !rt->provider->builtin))
		return refuse(rt, ROUTE_NO_CREDENTIALS, "No credentials for provider: %s",
		    snapshot_cstr(rt->snap, name->name));
	return ROUTE_OK;
}

/* The name that a listed model goes by: its provider, or the connection whose own model it is. */
static const struct snap_name *
name_of(const struct snapshot *snap, const struct snap_model *m)
{
	struct span id = snapshot_span(snap, m->id), root = snapshot_span(snap, m->root);
	const struct snap_name *owner = snapshot_find_name(snap, snapshot_span(snap, m->owned_by));

	if (owner != NULL &&
	    (owner->list_len > 0 || snapshot_provider(snap, owner->provider)->builtin))
		return owner;
	if (id.n <= root.n + 1)
		return NULL;
	return snapshot_find_name(snap, (struct span){id.p, id.n - root.n - 1});
}

static enum route_result
resolve_bare(struct route *rt, const char *id)
{
	const struct snap_name *found = NULL, *name;
	size_t len = strlen(id);

	for (uint32_t i = 0; i < snapshot_head(rt->snap)->models.count; i++) {
		const struct snap_model *m = snapshot_model(rt->snap, i);
		struct span root = snapshot_span(rt->snap, m->root);

		if (root.n != len || memcmp(root.p, id, len) != 0 ||
		    (name = name_of(rt->snap, m)) == NULL || name == found)
			continue;
		if (found != NULL && found->provider != name->provider)
			return refuse(rt, ROUTE_AMBIGUOUS,
			    "Ambiguous model '%s'. Use provider/model prefix (ex: %s/%s or %s/%s).",
			    id, snapshot_cstr(rt->snap, found->name), id,
			    snapshot_cstr(rt->snap, name->name), id);
		found = found != NULL ? found : name;
	}
	if (found == NULL)
		return refuse(rt, ROUTE_UNKNOWN,
		    "The model `%s` does not exist or you do not have access to it", id);
	return take(rt, found, id);
}

/*
 * A provider of the catalogue that nobody has connected. The catalogue is read when it is first
 * asked for: most workers never need it.
 */
static bool
is_catalogued(const char *prefix, size_t n, char id[64])
{
	if (n >= 64)
		return false;
	memcpy(id, prefix, n);
	id[n] = '\0';
	return catalog_load() == 0 && catalog_find(id) != NULL;
}

static enum route_result
force(struct route *rt, struct span forced)
{
	const struct snap_name *name = snapshot_find_name(rt->snap, forced);
	const uint32_t *list = name != NULL ? snapshot_name_list(rt->snap, name) : NULL;

	for (uint32_t i = 0; list != NULL && name->list_len == 1 && i < rt->n; i++)
		if (rt->list[i] == list[0]) {
			rt->forced = list[0];
			rt->list = &rt->forced;
			rt->n = 1;
			return ROUTE_OK;
		}
	return refuse(rt, ROUTE_NOT_ELIGIBLE,
	    "No eligible connections matched the requested routing constraints");
}

enum route_result
route_resolve(struct route *rt, const struct snapshot *snap, const char *id, struct span forced)
{
	size_t prefix = strcspn(id, "/");
	bool split = id[prefix] == '/';
	const struct snap_name *name = NULL;
	enum route_result r;
	char known[64];

	*rt = (struct route){.snap = snap};
	if (split && (prefix == 0 || id[prefix + 1] == '\0'))
		return refuse(rt, ROUTE_FORMAT, "Invalid model format");
	if (split)
		name = snapshot_find_name(snap, (struct span){id, prefix});
	r = name != NULL ? take(rt, name, id + prefix + 1) : resolve_bare(rt, id);
	if (r == ROUTE_UNKNOWN && split && is_catalogued(id, prefix, known))
		return refuse(rt, ROUTE_NO_CREDENTIALS, "No credentials for provider: %s", known);
	if (r == ROUTE_OK && forced.p != NULL)
		r = force(rt, forced);
	return r;
}

const struct snap_conn route_builtin;

struct span
route_conn_name(const struct route *rt, const struct snap_conn *conn)
{
	return snapshot_span(rt->snap, conn == &route_builtin ? rt->provider->id : conn->name);
}

const struct snap_conn *
route_next(struct route *rt, const struct live *live, uint64_t now_ns)
{
	if (rt->provider->builtin && rt->n == 0 && rt->at == 0) {
		rt->at = 1;
		return &route_builtin;
	}
	while (rt->at < rt->n) {
		const struct snap_conn *c = snapshot_conn(rt->snap, rt->list[rt->at++]);

		if (c != NULL && live_conn_available(live, c->slot, now_ns, NULL))
			return c;
	}
	return NULL;
}

const struct snap_conn *
route_first_free(
    const struct route *rt, const struct live *live, uint64_t now_ns, uint64_t *until_ns)
{
	const struct snap_conn *first = NULL;

	*until_ns = UINT64_MAX;
	for (uint32_t i = 0; i < rt->n; i++) {
		const struct snap_conn *c = snapshot_conn(rt->snap, rt->list[i]);
		uint64_t until;

		if (c == NULL || live_conn_available(live, c->slot, now_ns, &until) ||
		    until >= *until_ns)
			continue;
		*until_ns = until;
		first = c;
	}
	return first;
}

uint64_t
route_wait_s(uint64_t until_ns, uint64_t now_ns)
{
	uint64_t left = until_ns > now_ns + NS_PER_MS ? until_ns - now_ns - NS_PER_MS : 1;

	return (left + NS_PER_SEC - 1) / NS_PER_SEC;
}
