/*
 * The one table of what an operator can do. Every face (omniroute-ctl, later the HTTP management
 * API) uses it; parameters are checked here, their meaning in the registry. omniroute-ctl(8)
 * describes each method; t/001-manual.t holds it against this table.
 */
#include "master/control.h"

#include <string.h>

#include "shared/err.h"
#include "shared/log.h"
#include "shared/rate.h"

#define NAME_LEN 64
#define END \
	{ \
		.name = NULL \
	}

static const struct control_param none[] = {END};

#define CONNECTION_FIELDS \
	{"base_url", P_STRING, false, true, false, 1, 2048, \
	    "Address up to and including /v1; null: the catalogue's"}, \
	    {"dialect", P_STRING, false, true, false, 1, 40, \
		"The only one spoken to it; null: the provider's, else openai-chat"}, \
	    {"key", P_STRING, false, true, true, 1, 10000, \
		"Credential of the provider; null: none"}, \
	    {"models", P_LIST, false, false, false, 0, 1000, \
		"Models offered as <connection>/<model>"}, \
	    {"priority", P_INTEGER, false, false, false, 1, 1000, "The lower is asked first"}, \
	    {"enabled", P_BOOLEAN, false, false, false, 0, 0, "Take part in routing"}, \
	    {"http2", P_BOOLEAN, false, true, false, 0, 0, \
		"Offer HTTP/2; null: as upstream_http2 says"}, \
	    {"insecure", P_BOOLEAN, false, false, false, 0, 0, \
		"Do not verify the upstream's certificate"}, \
	    END

static const struct control_param connection_create_params[] = {
    {"provider", P_STRING, false, false, false, 1, NAME_LEN,
	"Id or alias from the catalogue; left out: a bare base_url"},
    {"name", P_STRING, false, false, false, 1, NAME_LEN,
	"Unique; left out: the provider's id, with a number when taken"},
    CONNECTION_FIELDS};
static const struct control_param connection_update_params[] = {
    {"connection", P_STRING, true, false, false, 1, NAME_LEN,
	"Name, id, or 8 and more first characters of the id"},
    {"name", P_STRING, false, false, false, 1, NAME_LEN, "New name"}, CONNECTION_FIELDS};
static const struct control_param connection_which[] = {
    {"connection", P_STRING, true, false, false, 1, NAME_LEN,
	"Name, id, or 8 and more first characters of the id"},
    END};
static const struct control_param key_create_params[] = {
    {"name", P_STRING, true, false, false, 1, NAME_LEN, "Unique"},
    {"rpm", P_INTEGER, false, false, false, 0, RATE_LIMIT_MAX,
	"Requests in any minute; 0: unlimited"},
    {"scopes", P_LIST, false, false, false, 1, 2, "chat, manage; left out: chat"},
    {"expires_at", P_INTEGER, false, false, false, 0, INT64_C(253402300799),
	"Seconds since 1970; 0: never"},
    END};
static const struct control_param key_which[] = {
    {"key", P_STRING, true, false, false, 1, NAME_LEN,
	"Name, id, or 8 and more first characters of the id"},
    END};
static const struct control_param provider_list_params[] = {
    {"id", P_STRING, false, false, false, 1, NAME_LEN, "Exactly this id or alias"},
    {"search", P_STRING, false, false, false, 1, 200, "Part of id, alias, name or category"}, END};
static const struct control_param model_list_params[] = {
    {"search", P_STRING, false, false, false, 1, 200, "Part of the id"}, END};
static const struct control_param usage_recent_params[] = {
    {"limit", P_INTEGER, false, false, false, 1, 1000, "Most records; left out: 50"},
    {"since", P_INTEGER, false, false, false, 0, INT64_MAX / 1000000,
	"Ended at or after; seconds since 1970"},
    {"before_us", P_INTEGER, false, false, false, 1, INT64_MAX,
	"Ended before; microseconds since 1970, for the next page"},
    END};
static const struct control_param usage_total_params[] = {
    {"from", P_STRING, false, false, false, 10, 10, "First day, 2026-01-31, UTC; left out: all"},
    {"to", P_STRING, false, false, false, 10, 10, "Last day; left out: today"}, END};

static const struct control_method methods[] = {
    {"connection.create", control_connection_create, CONTROL_CHANGE, true, "name",
	connection_create_params, "Adds a connection to a provider"},
    {"connection.delete", control_connection_delete, CONTROL_CHANGE, true, "connection",
	connection_which, "Removes a connection"},
    {"connection.get", control_connection_get, CONTROL_READ, false, NULL, connection_which,
	"Shows a connection"},
    {"connection.list", control_connection_list, CONTROL_READ, false, NULL, none,
	"Lists the connections"},
    {"connection.test", control_connection_test, CONTROL_READ, true, "connection", connection_which,
	"Asks the upstream of a connection for its models"},
    {"connection.update", control_connection_update, CONTROL_CHANGE, true, "connection",
	connection_update_params, "Changes a connection"},
    {"key.create", control_key_create, CONTROL_CHANGE, true, "name", key_create_params,
	"Makes a client key; the answer shows it once"},
    {"key.delete", control_key_delete, CONTROL_CHANGE, true, "key", key_which,
	"Removes a client key"},
    {"key.list", control_key_list, CONTROL_READ, false, NULL, none, "Lists the client keys"},
    {"methods", control_methods, CONTROL_READ, false, NULL, none, "Describes the methods"},
    {"model.list", control_model_list, CONTROL_READ, false, NULL, model_list_params,
	"Lists the models that can be asked for"},
    {"provider.list", control_provider_list, CONTROL_READ, false, NULL, provider_list_params,
	"Lists the catalogue of providers"},
    {"quit", control_quit, CONTROL_PROCESS, true, NULL, none,
	"Stops gracefully: what is in hand is finished"},
    {"reload", control_reload, CONTROL_PROCESS, true, NULL, none, "Reads the configuration again"},
    {"reopen", control_reopen, CONTROL_PROCESS, true, NULL, none, "Opens the log files again"},
    {"status", control_status, CONTROL_READ, false, NULL, none,
	"Shows master, workers, connections and counters"},
    {"stop", control_stop, CONTROL_PROCESS, true, NULL, none, "Stops at once"},
    {"upgrade", control_upgrade, CONTROL_PROCESS, true, NULL, none,
	"Starts the program that is now on disk beside this one"},
    {"usage.recent", control_usage_recent, CONTROL_READ, false, NULL, usage_recent_params,
	"Newest usage records"},
    {"usage.total", control_usage_total, CONTROL_READ, false, NULL, usage_total_params,
	"Sums of usage by day, provider, model and key"},
    {"version", control_version, CONTROL_READ, false, NULL, none,
	"Version and process id of the master"},
};

static const char *const type_names[] = {"string", "integer", "boolean", "list of strings"};
static const char *const type_phrases[] = {
    "a string", "an integer", "a boolean", "a list of strings"};
static const char *const scope_names[] = {"read", "change", "process"};

const struct control_method *
control_find_method(const char *name)
{
	for (size_t i = 0; i < NELEM(methods); i++)
		if (strcmp(methods[i].name, name) == 0)
			return &methods[i];
	return NULL;
}

/* ---- parameters ---- */

static void
list_params(const struct control_method *method, struct buf *why)
{
	if (!method->params->name)
		buf_str(why, "; it takes none");
	for (const struct control_param *p = method->params; p->name; p++)
		buf_addf(why, "%s%s", p == method->params ? "; allowed: " : ", ", p->name);
}

static int
check_list(const struct control_param *p, const json_t *v, struct buf *why)
{
	size_t n = json_array_size(v);

	if ((int64_t)n < p->min || (int64_t)n > p->max) {
		buf_addf(why, "%s has %zu members: %lld to %lld are allowed", p->name, n,
		    (long long)p->min, (long long)p->max);
		return E_RANGE;
	}
	for (size_t i = 0; i < n; i++)
		if (!json_is_string(json_array_get(v, i))) {
			buf_addf(why, "%s must be a list of strings", p->name);
			return E_SYNTAX;
		}
	return 0;
}

static int
check_value(const struct control_param *p, const json_t *v, struct buf *why)
{
	const bool fits[] = {
	    json_is_string(v), json_is_integer(v), json_is_boolean(v), json_is_array(v)};
	int64_t n;

	if (json_is_null(v) && p->nullable)
		return 0;
	if (!fits[p->type]) {
		buf_addf(why, "%s must be %s%s", p->name, type_phrases[p->type],
		    p->nullable ? " or null" : "");
		return E_SYNTAX;
	}
	if (p->type == P_LIST)
		return check_list(p, v, why);
	if (p->type == P_BOOLEAN)
		return 0;
	n = p->type == P_STRING ? (int64_t)json_string_length(v) : json_integer_value(v);
	if (n >= p->min && n <= p->max)
		return 0;
	if (p->type == P_STRING)
		buf_addf(why, "%s has %lld bytes: %lld to %lld are allowed", p->name, (long long)n,
		    (long long)p->min, (long long)p->max);
	else
		buf_addf(why, "%s is %lld: %lld to %lld is allowed", p->name, (long long)n,
		    (long long)p->min, (long long)p->max);
	return E_RANGE;
}

static const struct control_param *
find_param(const struct control_method *method, const char *name)
{
	for (const struct control_param *p = method->params; p->name; p++)
		if (strcmp(p->name, name) == 0)
			return p;
	return NULL;
}

static int
check_params(const struct control_method *method, json_t *params, struct buf *why)
{
	const char *name;
	json_t *value;

	json_object_foreach(params, name, value)
	{
		const struct control_param *p = find_param(method, name);
		int r;

		if (!p) {
			buf_addf(why, "%s has no parameter \"%.60s\"", method->name, name);
			list_params(method, why);
			return E_SYNTAX;
		}
		r = check_value(p, value, why);
		if (r < 0)
			return r;
	}
	for (const struct control_param *p = method->params; p->name; p++)
		if (p->required && !json_object_get(params, p->name)) {
			buf_addf(why, "%s needs the parameter %s", method->name, p->name);
			return E_SYNTAX;
		}
	return 0;
}

/* ---- dispatch ---- */

void
control_dispatch(struct master *m, struct control_job *job)
{
	const struct control_method *method = control_find_method(control_job_method_name(job));
	struct buf why = BUF_INIT(4096);

	if (!method) {
		control_job_fail(job, CONTROL_NO_METHOD,
		    "there is no method \"%s\"; \"methods\" lists them",
		    control_job_method_name(job));
		return;
	}
	control_job_set_method(job, method);
	if (check_params(method, control_job_params(job), &why) < 0)
		control_job_fail(
		    job, CONTROL_PARAMS, "%s", buf_cstr(&why) ? why.data : "wrong parameters");
	else
		method->run(m, job);
	buf_clear(&why);
}

static json_t *
describe_params(const struct control_method *method)
{
	json_t *a = json_array();

	for (const struct control_param *p = method->params; a && p->name; p++) {
		json_t *o = json_pack("{s:s, s:s, s:b, s:b, s:s}", "name", p->name, "type",
		    type_names[p->type], "required", p->required, "nullable", p->nullable, "help",
		    p->help);

		if (p->type != P_BOOLEAN) {
			json_object_set_new(o, "min", json_integer(p->min));
			json_object_set_new(o, "max", json_integer(p->max));
		}
		json_array_append_new(a, o);
	}
	return a;
}

void
control_methods(struct master *m, struct control_job *job)
{
	json_t *a = json_array();

	(void)m;
	for (size_t i = 0; a && i < NELEM(methods); i++)
		json_array_append_new(
		    a, json_pack("{s:s, s:s, s:b, s:s, s:o}", "name", methods[i].name, "scope",
			   scope_names[methods[i].scope], "audit", methods[i].audit, "help",
			   methods[i].help, "params", describe_params(&methods[i])));
	control_job_reply(job, json_pack("{s:o}", "methods", a));
}
