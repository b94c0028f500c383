/* The list of models, from the catalogue and the connections. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "master/registry_doc.h"
#include "providers/catalog.h"
#include "shared/err.h"

#define MODEL_ID_MAX 400

struct lister {
	int (*fn)(void *ctx, const struct registry_model *r);
	void *ctx;
	json_t *seen; /* ids, as a set */
};

static int
offer(struct lister *l, const char *prefix, struct registry_model *r)
{
	char id[MODEL_ID_MAX];
	int n = snprintf(id, sizeof id, "%s/%s", prefix, r->root);

	if (n < 0 || (size_t)n >= sizeof id || json_object_get(l->seen, id))
		return 0;
	if (json_object_set_new_nocheck(l->seen, id, json_true()) != 0)
		return E_NOMEM;
	r->id = id;
	return l->fn(l->ctx, r);
}

static int
offer_catalogue(struct lister *l, const struct catalog_provider *p)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < p->nmodels; i++) {
		struct registry_model row = {.owned_by = p->id,
		    .root = p->models[i].id,
		    .context_length = p->models[i].context_length,
		    .max_output_tokens = p->models[i].max_output_tokens};

		r = offer(l, p->id, &row);
	}
	return r;
}

static int
offer_connection(void *ctx, const struct connection *c)
{
	const struct catalog_provider *p = catalog_find(c->provider);
	struct lister *l = ctx;
	int r = 0;

	if (!c->enabled)
		return 0;
	if (p)
		r = offer_catalogue(l, p);
	for (unsigned i = 0; r == 0 && i < c->nmodels; i++) {
		struct registry_model row = {.owned_by = c->provider,
		    .root = c->models[i],
		    .connection = c->name,
		    .created = (uint32_t)(c->created_wall_us / 1000000)};

		r = offer(l, c->name, &row);
	}
	return r;
}

int
registry_each_model(
    struct master *m, int (*fn)(void *ctx, const struct registry_model *r), void *ctx)
{
	struct lister l = {.fn = fn, .ctx = ctx, .seen = json_object()};
	int r = l.seen ? 0 : E_NOMEM;

	for (unsigned i = 0; r == 0 && i < catalog_count(); i++)
		if (catalog_at(i)->builtin)
			r = offer_catalogue(&l, catalog_at(i));
	if (r == 0)
		r = registry_each_connection(m, offer_connection, &l);
	json_decref(l.seen);
	return r;
}
