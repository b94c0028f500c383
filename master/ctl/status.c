#include <string.h>

#include "master/ctl/ctl.h"

#define TEXT 32

static void
print_head(const json_t *o)
{
	char up[TEXT], memory[TEXT];
	const json_t *l;
	size_t i;

	printf("OmniRoute %s  %s, pid %lld, up %s, snapshot %lld, %s\n", ctl_str(o, "version"),
	    ctl_str(o, "state"), (long long)ctl_int(o, "pid"),
	    ctl_span_text(up, sizeof up, (uint64_t)ctl_int(o, "uptime_s")),
	    (long long)ctl_int(o, "snapshot"),
	    ctl_size_text(memory, sizeof memory, (uint64_t)ctl_int(o, "memory_kb")));
	json_array_foreach(json_object_get(o, "listeners"), i, l)
	    printf("listening  %s%s\n", ctl_str(l, "name"), ctl_bool(l, "tls") ? " (TLS)" : "");
	printf("data       %s\n", ctl_str(o, "data_dir"));
	printf("config     %s\n",
	    *ctl_str(o, "config_file") ? ctl_str(o, "config_file") : "none (defaults)");
}

static void
print_workers(const json_t *list)
{
	struct ctl_table *t =
	    ctl_table_new(">WORKER|>PID|STATE|UP|>SNAPSHOT|>IN FLIGHT|>REQUESTS|>ERRORS|>MEMORY");
	char up[TEXT], memory[TEXT];
	const json_t *w;
	size_t i;

	json_array_foreach(list, i, w)
	{
		ctl_table_cell(t, "%lld", (long long)ctl_int(w, "slot"));
		ctl_table_cell(t, "%lld", (long long)ctl_int(w, "pid"));
		ctl_table_cell(t, "%s", ctl_str(w, "state"));
		ctl_table_cell(
		    t, "%s", ctl_span_text(up, sizeof up, (uint64_t)ctl_int(w, "uptime_s")));
		ctl_table_cell(t, "%lld", (long long)ctl_int(w, "snapshot"));
		ctl_table_cell(t, "%lld", (long long)ctl_int(w, "in_flight"));
		ctl_table_cell(t, "%lld", (long long)ctl_int(w, "requests"));
		ctl_table_cell(t, "%lld", (long long)ctl_int(w, "errors"));
		ctl_table_cell(t, "%s",
		    ctl_size_text(memory, sizeof memory, (uint64_t)ctl_int(w, "memory_kb")));
	}
	putchar('\n');
	ctl_table_print(t, stdout, ctl_width());
}

static void
print_connections(const json_t *list)
{
	struct ctl_table *t;
	char left[TEXT];
	const json_t *k;
	size_t i;

	if (json_array_size(list) == 0) {
		puts("\nNo connections yet: omniroute-ctl connections add --help");
		return;
	}
	t = ctl_table_new("~CONNECTION|~PROVIDER|STATE|>IN FLIGHT|>FAILURES|~LAST ERROR");
	json_array_foreach(list, i, k)
	{
		const json_t *e = json_object_get(k, "last_error");
		uint64_t cooling_s = ((uint64_t)ctl_int(k, "cooldown_ms") + 999) / 1000;

		ctl_table_cell(t, "%s", ctl_str(k, "name"));
		ctl_table_cell(t, "%s", ctl_str(k, "provider"));
		if (cooling_s)
			ctl_table_cell(t, "%s %s", ctl_str(k, "state"),
			    ctl_span_text(left, sizeof left, cooling_s));
		else
			ctl_table_cell(t, "%s", ctl_str(k, "state"));
		ctl_table_cell(t, "%lld", (long long)ctl_int(k, "in_flight"));
		ctl_table_cell(t, "%lld", (long long)ctl_int(k, "failures"));
		ctl_table_cell(t, "%s", json_is_object(e) ? ctl_str(e, "failure") : "");
	}
	putchar('\n');
	ctl_table_print(t, stdout, ctl_width());
}

int
ctl_run_status(struct ctl *c)
{
	const json_t *total;
	json_t *o;
	int r = ctl_call(c, "status", NULL, CTL_TIMEOUT_MS, &o);

	if (r != CTL_OK)
		return r;
	if (c->json) {
		ctl_print_json(o);
		json_decref(o);
		return CTL_OK;
	}
	total = json_object_get(o, "totals");
	print_head(o);
	print_workers(json_object_get(o, "workers"));
	print_connections(json_object_get(o, "connections"));
	printf("\n%lld requests, %lld in flight, %lld streams, %lld denied, %lld limited\n",
	    (long long)ctl_int(total, "requests"), (long long)ctl_int(total, "in_flight"),
	    (long long)ctl_int(total, "streams"), (long long)ctl_int(total, "denied"),
	    (long long)ctl_int(total, "limited"));
	printf("%lld tokens in, %lld tokens out, %lld upstream errors\n",
	    (long long)ctl_int(total, "tokens_in"), (long long)ctl_int(total, "tokens_out"),
	    (long long)ctl_int(total, "upstream_errors"));
	json_decref(o);
	return CTL_OK;
}

int
ctl_run_methods(struct ctl *c)
{
	struct ctl_table *t;
	const json_t *m, *p;
	json_t *o;
	size_t i, k;
	int r = ctl_call(c, "methods", NULL, CTL_TIMEOUT_MS, &o);

	if (r != CTL_OK)
		return r;
	if (c->json) {
		ctl_print_json(o);
		json_decref(o);
		return CTL_OK;
	}
	t = ctl_table_new("METHOD|SCOPE|~HELP|~PARAMETERS");
	json_array_foreach(json_object_get(o, "methods"), i, m)
	{
		char list[256] = "";

		json_array_foreach(json_object_get(m, "params"), k, p)
		{
			size_t n = strlen(list);

			snprintf(list + n, sizeof list - n, "%s%s%s", k ? " " : "",
			    ctl_str(p, "name"), ctl_bool(p, "required") ? "!" : "");
		}
		ctl_table_cell(t, "%s", ctl_str(m, "name"));
		ctl_table_cell(t, "%s", ctl_str(m, "scope"));
		ctl_table_cell(t, "%s", ctl_str(m, "help"));
		ctl_table_cell(t, "%s", list);
	}
	ctl_table_print(t, stdout, ctl_width());
	json_decref(o);
	return CTL_OK;
}
