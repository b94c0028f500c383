#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "master/ctl/ctl.h"

#define TEST_MS 25000

/* ---- options into parameters ---- */

/* "a,b , c" as a list of strings; empty members are left out. */
static json_t *
split(const char *text)
{
	json_t *a = json_array();

	while (*text) {
		size_t n = strcspn(text, ","), begin = strspn(text, " "), end = n;

		while (end > begin && text[end - 1] == ' ')
			end--;
		if (end > begin)
			json_array_append_new(a, json_stringn(text + begin, end - begin));
		text += n + (text[n] == ',');
	}
	return a;
}

static int
set_word(const struct ctl *c, json_t *params, const char *option, const char *member)
{
	const char *v = ctl_value(c, option);
	json_t *s;

	if (!v)
		return CTL_OK;
	s = json_string(v);
	if (!s)
		return ctl_fail(c, CTL_USAGE, "--%s is not valid UTF-8", option);
	json_object_set_new(params, member, s);
	return CTL_OK;
}

/* on, off, and for some auto (null: as configured). */
static int
set_switch(const struct ctl *c, json_t *params, const char *name, bool automatic)
{
	const char *v = ctl_value(c, name);

	if (!v)
		return CTL_OK;
	if (strcmp(v, "on") == 0 || strcmp(v, "off") == 0)
		json_object_set_new(params, name, json_boolean(strcmp(v, "on") == 0));
	else if (automatic && strcmp(v, "auto") == 0)
		json_object_set_new(params, name, json_null());
	else
		return ctl_fail(c, CTL_USAGE, "--%s \"%.40s\": on%s off%s", name, v,
		    automatic ? "," : " or", automatic ? " or auto" : "");
	return CTL_OK;
}

int
ctl_connection_options(const struct ctl *c, json_t *params)
{
	const char *priority = ctl_value(c, "priority"), *models = ctl_value(c, "models");
	int64_t n;
	int r = set_word(c, params, "name", "name");

	if (r == CTL_OK)
		r = set_word(c, params, "base-url", "base_url");
	if (r == CTL_OK)
		r = set_word(c, params, "dialect", "dialect");
	if (r == CTL_OK)
		r = set_switch(c, params, "http2", true);
	if (r == CTL_OK)
		r = set_switch(c, params, "insecure", false);
	if (r != CTL_OK)
		return r;
	if (priority && !ctl_parse_number(priority, 1, 1000, &n))
		return ctl_fail(
		    c, CTL_USAGE, "--priority \"%.40s\": a number from 1 to 1000", priority);
	if (priority)
		json_object_set_new(params, "priority", json_integer(n));
	if (models)
		json_object_set_new(params, "models", split(models));
	return CTL_OK;
}

static int
set_secret(const struct ctl *c, json_t *params, char *secret)
{
	json_t *s;

	if (!secret)
		return CTL_OK;
	s = json_string(secret);
	ctl_free_secret(secret);
	if (!s)
		return ctl_fail(c, CTL_USAGE, "the key is not valid UTF-8");
	json_object_set_new(params, "key", s);
	return CTL_OK;
}

int
ctl_connection_secret(const struct ctl *c, json_t *params)
{
	char *secret = NULL;
	int r = ctl_read_secret(c, &secret);

	return r == CTL_OK ? set_secret(c, params, secret) : r;
}

/* ---- the provider that is meant ---- */

static int
unknown_provider(const struct ctl *c, const char *word)
{
	const char *best = NULL;
	unsigned distance = 3;
	const json_t *p;
	json_t *all;
	size_t i;
	int r = ctl_call(c, "provider.list", NULL, CTL_TIMEOUT_MS, &all);

	if (r != CTL_OK)
		return r;
	json_array_foreach(json_object_get(all, "providers"), i, p)
	{
		unsigned d = ctl_distance(word, ctl_str(p, "id"));

		if (d < distance) {
			distance = d;
			best = ctl_str(p, "id");
		}
	}
	r = ctl_fail(c, CTL_NOT_FOUND,
	    "there is no provider \"%.60s\"%s%s%s; omniroute-ctl providers available --search "
	    "TEXT finds one; any OpenAI-compatible server: openai-compatible",
	    word, best ? "; did you mean " : "", best ? best : "", best ? "?" : "");
	json_decref(all);
	return r;
}

/* Asks for the key that the provider needs and no option gave. */
static int
ask_key(const struct ctl *c, const json_t *provider, char **secret)
{
	char prompt[160];

	if (*secret || ctl_flag(c, "no-key") || !ctl_bool(provider, "key_required"))
		return CTL_OK;
	if (!isatty(STDIN_FILENO))
		return ctl_fail(c, CTL_USAGE,
		    "%s needs a key: --key-stdin, --key-file FILE or --key-env NAME",
		    ctl_str(provider, "id"));
	snprintf(prompt, sizeof prompt, "Key for %.100s: ", ctl_str(provider, "name"));
	return ctl_ask_secret(c, prompt, secret);
}

static int
check_provider(const struct ctl *c, const char *word, json_t *params, char **secret)
{
	json_t *o, *id = json_string(word);
	const json_t *p;
	int r;

	if (!id || json_string_length(id) == 0 || json_string_length(id) > 64) {
		json_decref(id);
		return unknown_provider(c, id ? word : "");
	}
	json_object_set(params, "provider", id);
	r = ctl_call(c, "provider.list", json_pack("{s:o}", "id", id), CTL_TIMEOUT_MS, &o);
	if (r != CTL_OK)
		return r;
	p = json_array_get(json_object_get(o, "providers"), 0);
	r = p ? ask_key(c, p, secret) : unknown_provider(c, word);
	json_decref(o);
	return r;
}

/* ---- showing ---- */

static void
print_line(const char *label, const char *value)
{
	char *clean = strdup(value);

	printf("%-12s %s\n", label, clean ? ctl_clean(clean) : "");
	free(clean);
}

static void
print_models(const json_t *list)
{
	const json_t *v;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	printf("%-12s ", "models");
	json_array_foreach(list, i, v) printf("%s%s", i ? ", " : "", json_string_value(v));
	putchar('\n');
}

static void
print_last_error(const json_t *e)
{
	char text[160];

	if (!json_is_object(e))
		return;
	snprintf(text, sizeof text, "%s, status %lld, %s", ctl_str(e, "failure"),
	    (long long)ctl_int(e, "status"), ctl_str(e, "at"));
	print_line("last error", text);
}

static void
print_connection(const json_t *k)
{
	const json_t *http2 = json_object_get(k, "http2");
	char text[64];

	print_line("name", ctl_str(k, "name"));
	print_line("id", ctl_str(k, "id"));
	print_line("provider", ctl_str(k, "provider"));
	print_line("base URL", ctl_str(k, "base_url"));
	if (*ctl_str(k, "dialect"))
		print_line("dialect", ctl_str(k, "dialect"));
	print_line("key", ctl_bool(k, "has_key") ? "stored" : "none");
	print_models(json_object_get(k, "models"));
	snprintf(text, sizeof text, "%lld", (long long)ctl_int(k, "priority"));
	print_line("priority", text);
	print_line("state", ctl_str(k, "state"));
	if (ctl_int(k, "cooldown_ms")) {
		snprintf(text, sizeof text, "%.1f s more, after %lld failures",
		    (double)ctl_int(k, "cooldown_ms") / 1000, (long long)ctl_int(k, "failures"));
		print_line("cooling", text);
	}
	print_line("HTTP/2", json_is_null(http2)   ? "as configured"
			     : json_is_true(http2) ? "on"
						   : "off");
	print_line("certificate", ctl_bool(k, "insecure") ? "not verified" : "verified");
	print_line(
	    "source", strcmp(ctl_str(k, "source"), "file") == 0 ? "configuration file" : "store");
	snprintf(text, sizeof text, "%lld", (long long)ctl_int(k, "in_flight"));
	print_line("in flight", text);
	if (*ctl_str(k, "last_used_at"))
		print_line("last used", ctl_str(k, "last_used_at"));
	print_last_error(json_object_get(k, "last_error"));
}

void
ctl_connection_table(const json_t *rows)
{
	struct ctl_table *t =
	    ctl_table_new("ID|~NAME|~PROVIDER|>PRIORITY|STATE|KEY|SOURCE|DIALECT|~BASE URL");
	const json_t *k;
	size_t i;

	json_array_foreach(rows, i, k)
	{
		ctl_table_cell(t, "%.8s", ctl_str(k, "id"));
		ctl_table_cell(t, "%s", ctl_str(k, "name"));
		ctl_table_cell(t, "%s", ctl_str(k, "provider"));
		ctl_table_cell(t, "%lld", (long long)ctl_int(k, "priority"));
		ctl_table_cell(t, "%s", ctl_str(k, "state"));
		ctl_table_cell(t, "%s", ctl_bool(k, "has_key") ? "yes" : "no");
		ctl_table_cell(t, "%s", ctl_str(k, "source"));
		ctl_table_cell(t, "%s", ctl_str(k, "dialect"));
		ctl_table_cell(t, "%s", ctl_str(k, "base_url"));
	}
	ctl_table_print(t, stdout, ctl_width());
}

int
ctl_run_connections_list(struct ctl *c)
{
	json_t *o;
	int r = ctl_call(c, "connection.list", NULL, CTL_TIMEOUT_MS, &o);

	if (r != CTL_OK)
		return r;
	if (c->json)
		ctl_print_json(o);
	else if (json_array_size(json_object_get(o, "connections")) == 0)
		puts("No connections yet: omniroute-ctl connections add --help");
	else
		ctl_connection_table(json_object_get(o, "connections"));
	json_decref(o);
	return CTL_OK;
}

static int
which(const struct ctl *c, json_t **params)
{
	*params = json_pack("{s:s}", "connection", c->arg[0]);
	return *params ? CTL_OK
		       : ctl_fail(c, CTL_USAGE, "the connection's name is not valid UTF-8");
}

int
ctl_run_connections_show(struct ctl *c)
{
	json_t *o, *params;
	int r = which(c, &params);

	if (r == CTL_OK)
		r = ctl_call(c, "connection.get", params, CTL_TIMEOUT_MS, &o);
	if (r != CTL_OK)
		return r;
	if (c->json)
		ctl_print_json(o);
	else
		print_connection(json_object_get(o, "connection"));
	json_decref(o);
	return CTL_OK;
}

/* ---- testing and changing ---- */

/* The outcome goes into *o as "test" when that is not NULL, else to standard output. */
static int
test(const struct ctl *c, const char *id, json_t *into)
{
	json_t *o;
	bool valid;
	int r = ctl_call(c, "connection.test", json_pack("{s:s}", "connection", id), TEST_MS, &o);

	if (r != CTL_OK)
		return r;
	valid = ctl_bool(o, "valid");
	if (!c->json)
		printf("%s: %s (%lld ms)\n", valid ? "valid" : "NOT valid", ctl_str(o, "message"),
		    (long long)ctl_int(o, "latency_ms"));
	else if (into)
		json_object_set(into, "test", o);
	else
		ctl_print_json(o);
	json_decref(o);
	return valid ? CTL_OK : CTL_FAILED;
}

int
ctl_run_connections_test(struct ctl *c)
{
	return test(c, c->arg[0], NULL);
}

static void
warn_late(const json_t *o)
{
	json_int_t late = ctl_int(json_object_get(o, "in_force"), "late");

	if (late)
		fprintf(stderr,
		    "omniroute-ctl: %lld workers are slow: they take the change before they serve "
		    "again\n",
		    (long long)late);
}

/* Calls the method, says what happened, tests when asked. Steals params. */
int
ctl_connection_change(const struct ctl *c, const char *method, json_t *params, const char *done)
{
	const json_t *k;
	json_t *o;
	int r = ctl_call(c, method, params, CTL_TIMEOUT_MS, &o);

	if (r != CTL_OK)
		return r;
	k = json_object_get(o, "connection");
	warn_late(o);
	if (!c->json && ctl_bool(k, "enabled"))
		printf("Connection %s %s; its models: %s/…\n", ctl_str(k, "name"), done,
		    ctl_str(k, "name"));
	else if (!c->json)
		printf("Connection %s %s; it is not used\n", ctl_str(k, "name"), done);
	if (ctl_flag(c, "test"))
		r = test(c, ctl_str(k, "id"), o);
	if (c->json && (r == CTL_OK || json_object_get(o, "test")))
		ctl_print_json(o);
	json_decref(o);
	return r;
}

int
ctl_run_connections_add(struct ctl *c)
{
	json_t *params = json_object();
	char *secret = NULL;
	int r = ctl_connection_options(c, params);

	if (r == CTL_OK && c->nargs == 0 && !(ctl_value(c, "name") && ctl_value(c, "base-url")))
		r = ctl_fail(c, CTL_USAGE,
		    "name a PROVIDER (omniroute-ctl providers available), or give --name and "
		    "--base-url");
	if (r == CTL_OK)
		r = ctl_read_secret(c, &secret);
	if (r == CTL_OK && c->nargs)
		r = check_provider(c, c->arg[0], params, &secret);
	if (r == CTL_OK && ctl_flag(c, "disabled"))
		json_object_set_new(params, "enabled", json_false());
	if (r == CTL_OK) {
		r = set_secret(c, params, secret);
		secret = NULL;
	}
	if (r == CTL_OK)
		return ctl_connection_change(c, "connection.create", params, "added");
	ctl_free_secret(secret);
	json_decref(params);
	return r;
}

int
ctl_run_connections_update(struct ctl *c)
{
	json_t *params;
	char *secret = NULL;
	int r = which(c, &params);

	if (r != CTL_OK)
		return r;
	r = ctl_connection_options(c, params);
	if (r == CTL_OK)
		r = ctl_read_secret(c, &secret);
	if (r == CTL_OK)
		r = set_secret(c, params, secret);
	if (r == CTL_OK && ctl_flag(c, "no-key"))
		json_object_set_new(params, "key", json_null());
	if (r == CTL_OK && json_object_size(params) == 1)
		r = ctl_fail(
		    c, CTL_USAGE, "nothing to change: omniroute-ctl connections update --help");
	if (r == CTL_OK)
		return ctl_connection_change(c, "connection.update", params, "changed");
	json_decref(params);
	return r;
}

static int
set_enabled(struct ctl *c, bool enabled)
{
	json_t *params;
	int r = which(c, &params);

	if (r != CTL_OK)
		return r;
	json_object_set_new(params, "enabled", json_boolean(enabled));
	return ctl_connection_change(
	    c, "connection.update", params, enabled ? "enabled" : "disabled");
}

int
ctl_run_connections_enable(struct ctl *c)
{
	return set_enabled(c, true);
}

int
ctl_run_connections_disable(struct ctl *c)
{
	return set_enabled(c, false);
}

int
ctl_connection_removed(const struct ctl *c, const char *what, const json_t *o)
{
	warn_late(o);
	if (c->json)
		ctl_print_json(o);
	else
		printf("%s %s removed\n", what, ctl_str(o, "name"));
	return CTL_OK;
}

int
ctl_run_connections_remove(struct ctl *c)
{
	json_t *o, *params;
	int r = which(c, &params);

	if (r == CTL_OK)
		r = ctl_call(c, "connection.delete", params, CTL_TIMEOUT_MS, &o);
	if (r != CTL_OK)
		return r;
	r = ctl_connection_removed(c, "Connection", o);
	json_decref(o);
	return r;
}
