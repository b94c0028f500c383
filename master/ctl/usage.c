#include <string.h>
#include <time.h>

#include "master/ctl/ctl.h"
#include "shared/clock.h"

static const char *
outcome(const json_t *u)
{
	static const char *const flags[] = {"unknown", "aborted", "cut", "estimated"};

	for (size_t i = 0; i < NELEM(flags); i++)
		if (ctl_bool(u, flags[i]))
			return flags[i];
	return strcmp(ctl_str(u, "failure"), "none") == 0 ? "" : ctl_str(u, "failure");
}

static void
print_records(const json_t *list)
{
	struct ctl_table *t =
	    ctl_table_new("TIME (UTC)|~MODEL|~CONNECTION|~KEY|>STATUS|>MS|>IN|>OUT|~NOTE");
	const json_t *u;
	size_t i;

	json_array_foreach(list, i, u)
	{
		char at[32];

		snprintf(at, sizeof at, "%.19s", ctl_str(u, "started_at"));
		if (strlen(at) > 10)
			at[10] = ' ';
		ctl_table_cell(t, "%s", at);
		ctl_table_cell(t, "%s", ctl_str(u, "model_asked"));
		ctl_table_cell(t, "%s", *ctl_str(u, "connection") ? ctl_str(u, "connection") : "-");
		ctl_table_cell(t, "%s", *ctl_str(u, "key") ? ctl_str(u, "key") : "-");
		ctl_table_cell(t, "%lld", (long long)ctl_int(u, "status"));
		ctl_table_cell(t, "%.1f", (double)ctl_int(u, "latency_us") / 1000);
		ctl_table_cell(t, "%lld", (long long)ctl_int(u, "tokens_in"));
		ctl_table_cell(t, "%lld", (long long)ctl_int(u, "tokens_out"));
		ctl_table_cell(t, "%s", outcome(u));
	}
	ctl_table_print(t, stdout, ctl_width());
}

static void
print_totals(const json_t *list)
{
	struct ctl_table *t =
	    ctl_table_new("DAY|~PROVIDER|~MODEL|~KEY|>REQUESTS|>ERRORS|>IN|>OUT|>COST");
	json_int_t requests = 0, in = 0, out = 0;
	const json_t *u;
	size_t i;

	json_array_foreach(list, i, u)
	{
		ctl_table_cell(t, "%s", ctl_str(u, "day"));
		ctl_table_cell(t, "%s", ctl_str(u, "provider"));
		ctl_table_cell(t, "%s", ctl_str(u, "model"));
		ctl_table_cell(t, "%s", *ctl_str(u, "key") ? ctl_str(u, "key") : "-");
		ctl_table_cell(t, "%lld", (long long)ctl_int(u, "requests"));
		ctl_table_cell(t, "%lld", (long long)ctl_int(u, "errors"));
		ctl_table_cell(t, "%lld", (long long)ctl_int(u, "tokens_in"));
		ctl_table_cell(t, "%lld", (long long)ctl_int(u, "tokens_out"));
		ctl_table_cell(t, "%.4f", json_number_value(json_object_get(u, "cost_usd")));
		requests += ctl_int(u, "requests");
		in += ctl_int(u, "tokens_in");
		out += ctl_int(u, "tokens_out");
	}
	ctl_table_print(t, stdout, ctl_width());
	printf("%lld requests, %lld tokens in, %lld tokens out\n", (long long)requests,
	    (long long)in, (long long)out);
}

static int
parse_since(const struct ctl *c, int64_t *since_s)
{
	const char *v = ctl_value(c, "since");

	*since_s = 0;
	if (!v || ctl_parse_time(v, (int64_t)(clock_wall_us() / 1000000), since_s))
		return CTL_OK;
	return ctl_fail(c, CTL_USAGE,
	    "--since \"%.40s\": a span such as 24h or 7d, or a day such as 2026-01-31", v);
}

static int
recent(struct ctl *c, int64_t since_s, json_t **o)
{
	const char *limit = ctl_value(c, "limit");
	json_t *params = json_pack("{s:I}", "since", (json_int_t)MAX(since_s, 0));
	int64_t n;

	if (limit && !ctl_parse_number(limit, 1, 1000, &n)) {
		json_decref(params);
		return ctl_fail(c, CTL_USAGE, "--limit \"%.40s\": a number from 1 to 1000", limit);
	}
	if (limit)
		json_object_set_new(params, "limit", json_integer(n));
	return ctl_call(c, "usage.recent", params, CTL_TIMEOUT_MS, o);
}

static int
total(struct ctl *c, int64_t since_s, json_t **o)
{
	json_t *params = json_object();
	time_t t = (time_t)MAX(since_s, 0);
	struct tm tm;
	char day[16];

	if (since_s && gmtime_r(&t, &tm) && strftime(day, sizeof day, "%Y-%m-%d", &tm))
		json_object_set_new(params, "from", json_string(day));
	return ctl_call(c, "usage.total", params, CTL_TIMEOUT_MS, o);
}

int
ctl_run_usage(struct ctl *c)
{
	bool sums = ctl_flag(c, "total");
	int64_t since_s;
	const json_t *list;
	json_t *o;
	int r = parse_since(c, &since_s);

	if (r == CTL_OK && sums && ctl_value(c, "limit"))
		r = ctl_fail(c, CTL_USAGE, "--limit does not go with --total");
	if (r == CTL_OK)
		r = sums ? total(c, since_s, &o) : recent(c, since_s, &o);
	if (r != CTL_OK)
		return r;
	list = json_object_get(o, sums ? "totals" : "records");
	if (c->json)
		ctl_print_json(o);
	else if (json_array_size(list) == 0)
		puts("No usage yet");
	else if (sums)
		print_totals(list);
	else
		print_records(list);
	json_decref(o);
	return CTL_OK;
}
