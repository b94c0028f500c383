/* providers available, models */
#include <string.h>

#include "master/ctl/ctl.h"

static int
list(struct ctl *c, const char *method, json_t **o)
{
	const char *search = ctl_value(c, "search");
	json_t *params = search && *search ? json_pack("{s:s}", "search", search) : json_object();

	if (!params)
		return ctl_fail(c, CTL_USAGE, "--search is not valid UTF-8");
	return ctl_call(c, method, params, CTL_TIMEOUT_MS, o);
}

int
ctl_run_providers_available(struct ctl *c)
{
	struct ctl_table *t;
	const json_t *p;
	json_t *o = NULL;
	size_t i;
	int r = list(c, "provider.list", &o);

	if (r != CTL_OK)
		return r;
	if (c->json) {
		ctl_print_json(o);
		json_decref(o);
		return CTL_OK;
	}
	t = ctl_table_new("ID|ALIAS|CATEGORY|~NAME|KEY|>MODELS|~BASE URL");
	json_array_foreach(json_object_get(o, "providers"), i, p)
	{
		ctl_table_cell(t, "%s", ctl_str(p, "id"));
		ctl_table_cell(t, "%s", ctl_str(p, "alias"));
		ctl_table_cell(t, "%s", ctl_str(p, "category"));
		ctl_table_cell(t, "%s", ctl_str(p, "name"));
		ctl_table_cell(t, "%s", ctl_bool(p, "key_required") ? "needed" : "");
		ctl_table_cell(t, "%lld", (long long)ctl_int(p, "models"));
		ctl_table_cell(t, "%s", ctl_str(p, "base_url"));
	}
	ctl_table_print(t, stdout, ctl_width());
	printf("%lld providers\n", (long long)ctl_int(o, "count"));
	json_decref(o);
	return CTL_OK;
}

static void
tokens_cell(struct ctl_table *t, const json_t *m, const char *member)
{
	if (ctl_int(m, member))
		ctl_table_cell(t, "%lld", (long long)ctl_int(m, member));
	else
		ctl_table_cell(t, "-");
}

int
ctl_run_models(struct ctl *c)
{
	struct ctl_table *t;
	const json_t *m;
	json_t *o = NULL;
	size_t i;
	int r = list(c, "model.list", &o);

	if (r != CTL_OK)
		return r;
	if (c->json) {
		ctl_print_json(o);
		json_decref(o);
		return CTL_OK;
	}
	t = ctl_table_new("~MODEL|~PROVIDER|>CONTEXT|>MAX OUTPUT");
	json_array_foreach(json_object_get(o, "models"), i, m)
	{
		ctl_table_cell(t, "%s", ctl_str(m, "id"));
		ctl_table_cell(t, "%s", ctl_str(m, "provider"));
		tokens_cell(t, m, "context_length");
		tokens_cell(t, m, "max_output_tokens");
	}
	ctl_table_print(t, stdout, ctl_width());
	printf("%lld models\n", (long long)ctl_int(o, "count"));
	json_decref(o);
	return CTL_OK;
}
