/* What can be connected to, and what can be asked for. */
#include <string.h>
#include <strings.h>

#include "master/control.h"
#include "master/registry.h"
#include "providers/catalog.h"
#include "shared/err.h"

static bool
contains(const char *text, const char *part)
{
	return text && strcasestr(text, part);
}

static bool
provider_wanted(const struct catalog_provider *p, const char *id, const char *search)
{
	if (id && catalog_find(id) != p)
		return false;
	return !search || contains(p->id, search) || contains(p->alias, search) ||
	       contains(p->name, search) || contains(p->category, search);
}

/* The catalogue has "" where a provider has none. */
static const char *
some(const char *s)
{
	return s && *s ? s : NULL;
}

static json_t *
provider_to_json(const struct catalog_provider *p)
{
	return json_pack("{s:s, s:s?, s:s, s:s, s:s?, s:s?, s:s?, s:b, s:b, s:b, s:i}", "id", p->id,
	    "alias", some(p->alias), "name", p->name, "category", p->category, "website",
	    some(p->website), "notes", some(p->notes), "base_url", some(p->base_url),
	    "key_required", p->key_required, "local", p->local, "builtin", p->builtin, "models",
	    (int)p->nmodels);
}

static void
note_category(json_t *categories, const char *category)
{
	const json_t *v;
	size_t i;

	json_array_foreach(
	    categories, i, v) if (strcmp(json_string_value(v), category) == 0) return;
	json_array_append_new(categories, json_string(category));
}

void
control_provider_list(struct master *m, struct control_job *job)
{
	const char *id = control_job_string(job, "id"), *search = control_job_string(job, "search");
	json_t *list = json_array(), *categories = json_array();

	(void)m;
	for (unsigned i = 0; list && categories && i < catalog_count(); i++) {
		const struct catalog_provider *p = catalog_at(i);

		if (!provider_wanted(p, id, search))
			continue;
		json_array_append_new(list, provider_to_json(p));
		note_category(categories, p->category);
	}
	control_job_reply(job, json_pack("{s:i, s:o, s:o}", "count", (int)json_array_size(list),
				   "categories", categories, "providers", list));
}

struct listing {
	const char *search;
	json_t *list;
};

static int
list_model(void *ctx, const struct registry_model *r)
{
	struct listing *l = ctx;
	json_t *o;

	if (l->search && !contains(r->id, l->search))
		return 0;
	o = json_pack("{s:s, s:s, s:s?, s:o, s:o}", "id", r->id, "provider", r->owned_by,
	    "connection", r->connection, "context_length",
	    r->context_length ? json_integer(r->context_length) : json_null(), "max_output_tokens",
	    r->max_output_tokens ? json_integer(r->max_output_tokens) : json_null());
	return o && json_array_append_new(l->list, o) == 0 ? 0 : E_NOMEM;
}

void
control_model_list(struct master *m, struct control_job *job)
{
	struct listing l = {.search = control_job_string(job, "search"), .list = json_array()};
	int r = l.list ? registry_each_model(m, list_model, &l) : E_NOMEM;

	if (r == 0) {
		control_job_reply(job, json_pack("{s:i, s:o}", "count",
					   (int)json_array_size(l.list), "models", l.list));
		return;
	}
	json_decref(l.list);
	control_job_fail_err(job, r, NULL);
}
