#include <string.h>
#include <time.h>

#include "master/ctl/ctl.h"
#include "shared/clock.h"

static int
set_expiry(const struct ctl *c, json_t *params)
{
	const char *v = ctl_value(c, "expires");
	int64_t now = (int64_t)(clock_wall_us() / 1000000), span, at;

	if (!v)
		return CTL_OK;
	if (ctl_parse_span(v, &span))
		at = now + span;
	else if (!ctl_parse_time(v, now, &at))
		return ctl_fail(c, CTL_USAGE,
		    "--expires \"%.40s\": a span such as 30d, or a day such as 2027-01-31", v);
	if (at <= now)
		return ctl_fail(c, CTL_USAGE, "--expires \"%.40s\" is not in the future", v);
	json_object_set_new(params, "expires_at", json_integer(at));
	return CTL_OK;
}

static int
set_scopes(const struct ctl *c, json_t *params)
{
	const char *v = ctl_value(c, "scope");
	json_t *list;

	if (!v)
		return CTL_OK;
	list = json_array();
	while (*v) {
		size_t n = strcspn(v, ",");

		if (n && json_array_append_new(list, json_stringn(v, n)) != 0) {
			json_decref(list);
			return ctl_fail(c, CTL_USAGE, "--scope: chat, manage");
		}
		v += n + (v[n] == ',');
	}
	json_object_set_new(params, "scopes", list);
	return CTL_OK;
}

static int
key_params(const struct ctl *c, json_t *params)
{
	const char *rpm = ctl_value(c, "rpm");
	int64_t n;

	if (rpm && !ctl_parse_number(rpm, 0, 1000000, &n))
		return ctl_fail(
		    c, CTL_USAGE, "--rpm \"%.40s\": a number from 0 (unlimited) to 1000000", rpm);
	if (rpm)
		json_object_set_new(params, "rpm", json_integer(n));
	return set_scopes(c, params);
}

int
ctl_run_keys_add(struct ctl *c)
{
	json_t *params = json_pack("{s:s}", "name", c->arg[0]), *o;
	const json_t *k;
	int r =
	    params ? key_params(c, params) : ctl_fail(c, CTL_USAGE, "the name is not valid UTF-8");

	if (r == CTL_OK)
		r = set_expiry(c, params);
	if (r != CTL_OK) {
		json_decref(params);
		return r;
	}
	r = ctl_call(c, "key.create", params, CTL_TIMEOUT_MS, &o);
	if (r != CTL_OK)
		return r;
	k = json_object_get(o, "key");
	if (c->json) {
		ctl_print_json(o);
	} else {
		/* The key alone on standard output, so that it can be piped. */
		fprintf(stderr, "Key %s, shown only now:\n", ctl_str(k, "name"));
		printf("%s\n", ctl_str(k, "key"));
	}
	json_decref(o);
	return CTL_OK;
}

static void
print_scopes(struct ctl_table *t, const json_t *list)
{
	char text[64] = "";
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		size_t n = strlen(text);

		snprintf(text + n, sizeof text - n, "%s%s", i ? "," : "", json_string_value(v));
	}
	ctl_table_cell(t, "%s", text);
}

static void
print_key(struct ctl_table *t, const json_t *k)
{
	const char *expires = ctl_str(k, "expires_at"), *used = ctl_str(k, "last_used_at");

	ctl_table_cell(t, "%.8s", ctl_str(k, "id"));
	ctl_table_cell(t, "%s", ctl_str(k, "name"));
	ctl_table_cell(t, "%s…", ctl_str(k, "prefix"));
	print_scopes(t, json_object_get(k, "scopes"));
	if (ctl_int(k, "rpm"))
		ctl_table_cell(t, "%lld", (long long)ctl_int(k, "rpm"));
	else
		ctl_table_cell(t, "-");
	ctl_table_cell(t, "%s", ctl_bool(k, "expired") ? "expired" : "");
	ctl_table_cell(t, "%.10s", *expires ? expires : "never");
	ctl_table_cell(t, "%.16s", *used ? used : "never");
	ctl_table_cell(t, "%s", ctl_str(k, "source"));
}

int
ctl_run_keys_list(struct ctl *c)
{
	struct ctl_table *t;
	const json_t *k;
	json_t *o = NULL;
	size_t i;
	int r = ctl_call(c, "key.list", NULL, CTL_TIMEOUT_MS, &o);

	if (r != CTL_OK)
		return r;
	if (c->json) {
		ctl_print_json(o);
	} else if (json_array_size(json_object_get(o, "keys")) == 0) {
		puts("No keys yet: omniroute-ctl keys add NAME");
	} else {
		t = ctl_table_new("ID|~NAME|~KEY|SCOPE|>RPM|STATE|EXPIRES|LAST USED|SOURCE");
		json_array_foreach(json_object_get(o, "keys"), i, k) print_key(t, k);
		ctl_table_print(t, stdout, ctl_width());
	}
	json_decref(o);
	return CTL_OK;
}

int
ctl_run_keys_remove(struct ctl *c)
{
	json_t *params = json_pack("{s:s}", "key", c->arg[0]), *o = NULL;
	int r = params ? ctl_call(c, "key.delete", params, CTL_TIMEOUT_MS, &o)
		       : ctl_fail(c, CTL_USAGE, "the name is not valid UTF-8");

	if (r != CTL_OK)
		return r;
	if (c->json)
		ctl_print_json(o);
	else
		printf("Key %s removed: it is refused from now on\n", ctl_str(o, "name"));
	json_decref(o);
	return CTL_OK;
}
