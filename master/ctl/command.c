/* The commands of omniroute-ctl. Help and parser read this table; omniroute-ctl(8) describes each
 * row. */
#include <string.h>

#include "master/ctl/ctl.h"

#define NO_KEY_OPTION \
	"a key on the command line can be read by every user of this machine: use --key-stdin, " \
	"--key-file FILE or --key-env NAME"

#define NODE_OPTIONS \
	{"base-url", "URL", "Address of the upstream, up to and with its /v1", NULL}, \
	    {"dialect", "WORD", "The only dialect spoken to it, as anthropic-messages", NULL}, \
	    {"priority", "N", "1 to 1000, the lower is asked first", NULL}, \
	    {"models", "A,B", "Models offered as CONNECTION/MODEL besides the catalogue's", NULL}, \
	    {"http2", "on|off|auto", "Offer HTTP/2 to the upstream; auto: as upstream_http2 says", \
		NULL}, \
	    {"insecure", "on|off", "Accept any certificate of the upstream", NULL}, \
	    {"key-stdin", NULL, "Read the provider's key from standard input", NULL}, \
	    {"key-file", "FILE", "Read it from a file", NULL}, \
	    {"key-env", "NAME", "Read it from an environment variable", NULL}, \
	    {"no-key", NULL, "Use no key", NULL}, \
	    {"test", NULL, "Test the connection afterwards", NULL}, \
	    {"key", "", NULL, NO_KEY_OPTION}, \
	{ \
		"api-key", "", NULL, NO_KEY_OPTION \
	}

#define CONNECTION_OPTIONS {"name", "NAME", "Name of the connection", NULL}, NODE_OPTIONS

static const struct ctl_option none[] = {{NULL, NULL, NULL, NULL}};
static const struct ctl_option connection_add[] = {CONNECTION_OPTIONS,
    {"disabled", NULL, "Add it, but do not use it yet", NULL}, {NULL, NULL, NULL, NULL}};
static const struct ctl_option node_add[] = {NODE_OPTIONS,
    {"disabled", NULL, "Add it, but do not use it yet", NULL}, {NULL, NULL, NULL, NULL}};
static const struct ctl_option connection_update[] = {CONNECTION_OPTIONS, {NULL, NULL, NULL, NULL}};
static const struct ctl_option key_add[] = {
    {"rpm", "N", "Requests in any minute; 0: unlimited", NULL},
    {"scope", "A,B", "chat, manage; default chat", NULL},
    {"expires", "WHEN", "A span from now, such as 30d, or a day, such as 2027-01-31", NULL},
    {NULL, NULL, NULL, NULL}};
static const struct ctl_option search[] = {
    {"search", "TEXT", "Only what contains this", NULL}, {NULL, NULL, NULL, NULL}};
static const struct ctl_option usage[] = {
    {"since", "WHEN", "A span, such as 24h or 7d, or a day, such as 2026-01-31", NULL},
    {"limit", "N", "Most records, 1 to 1000; default 50", NULL},
    {"total", NULL, "Sums by day, provider, model and key", NULL}, {NULL, NULL, NULL, NULL}};
static const struct ctl_option stop[] = {
    {"timeout", "WHEN", "How long to wait for the end, such as 90s", NULL},
    {NULL, NULL, NULL, NULL}};
static const struct ctl_option upgrade[] = {
    {"keep-old", NULL, "Leave the old master and its workers running", NULL},
    {"timeout", "WHEN", "How long to wait for the old master's end", NULL},
    {NULL, NULL, NULL, NULL}};

const struct ctl_option ctl_globals[] = {
    {"data-dir", "DIR", "Data directory of the gateway; default $DATA_DIR, then ~/.omniroute",
	NULL},
    {"socket", "PATH", "Control socket; default control.sock in the data directory", NULL},
    {"json", NULL, "One JSON document instead of text", NULL}, {"help", NULL, "This text", NULL},
    {"version", NULL, "The version of omniroute-ctl", NULL}, {NULL, NULL, NULL, NULL}};

const struct ctl_command ctl_commands[] = {
    {"status", NULL, "", 0, 0, none, ctl_run_status,
	"Show master, workers, connections and counters", NULL},
    {"reload", NULL, "", 0, 0, none, ctl_run_reload,
	"Read the configuration again; returns when it is in force", NULL},
    {"reopen", NULL, "", 0, 0, none, ctl_run_reopen, "Open the log files again", NULL},
    {"quit", NULL, "", 0, 0, stop, ctl_run_quit, "Stop gracefully; returns when the master is gone",
	"What is in hand is finished, bounded by shutdown_timeout."},
    {"stop", NULL, "", 0, 0, stop, ctl_run_stop, "Stop at once; returns when the master is gone",
	NULL},
    {"upgrade", NULL, "", 0, 0, upgrade, ctl_run_upgrade,
	"Go over to the program that is now on disk",
	"The new master serves before the old one is told to quit, which is then waited for."},
    {"connections", "add", "[PROVIDER]", 0, 1, connection_add, ctl_run_connections_add,
	"Add a connection to a provider",
	"PROVIDER is an id or alias of `providers available`. Without it, --name and --base-url "
	"make a bare connection. The key of a provider that needs one is asked for on the terminal "
	"when no --key option is given."},
    {"connections", "list", "", 0, 0, none, ctl_run_connections_list, "List the connections", NULL},
    {"connections", "show", "CONNECTION", 1, 1, none, ctl_run_connections_show, "Show a connection",
	NULL},
    {"connections", "update", "CONNECTION", 1, 1, connection_update, ctl_run_connections_update,
	"Change a connection", NULL},
    {"connections", "remove", "CONNECTION", 1, 1, none, ctl_run_connections_remove,
	"Remove a connection", NULL},
    {"connections", "enable", "CONNECTION", 1, 1, none, ctl_run_connections_enable,
	"Use a connection again", NULL},
    {"connections", "disable", "CONNECTION", 1, 1, none, ctl_run_connections_disable,
	"Keep a connection, but do not use it", NULL},
    {"connections", "test", "CONNECTION", 1, 1, none, ctl_run_connections_test,
	"Ask the upstream of a connection for its models", NULL},
    {"nodes", "add", "NAME", 1, 1, node_add, ctl_run_nodes_add,
	"Add a server of your own, by its base URL and dialect",
	"A node is a connection without a provider of the catalogue. Its models are asked for as "
	"NAME/MODEL; every client speaks its own dialect to it. Without --dialect it is a server "
	"that is compatible with OpenAI Chat."},
    {"nodes", "list", "", 0, 0, none, ctl_run_nodes_list, "List the nodes", NULL},
    {"nodes", "remove", "NODE", 1, 1, none, ctl_run_nodes_remove, "Remove a node", NULL},
    {"keys", "add", "NAME", 1, 1, key_add, ctl_run_keys_add, "Make a client key and print it, once",
	NULL},
    {"keys", "list", "", 0, 0, none, ctl_run_keys_list, "List the client keys", NULL},
    {"keys", "remove", "KEY", 1, 1, none, ctl_run_keys_remove, "Remove a client key", NULL},
    {"providers", "available", "", 0, 0, search, ctl_run_providers_available,
	"List the catalogue of providers", NULL},
    {"models", NULL, "", 0, 0, search, ctl_run_models, "List the models that can be asked for",
	NULL},
    {"usage", NULL, "", 0, 0, usage, ctl_run_usage, "Show the newest usage records, or sums", NULL},
    {"methods", NULL, "", 0, 0, none, ctl_run_methods, "List the methods of the control protocol",
	NULL},
    {NULL, NULL, NULL, 0, 0, NULL, NULL, NULL, NULL}};

const char *
ctl_group_alias(const char *word)
{
	static const char *const table[][2] = {{"connection", "connections"}, {"node", "nodes"},
	    {"key", "keys"}, {"provider", "providers"}, {"model", "models"}};

	for (size_t i = 0; i < NELEM(table); i++)
		if (strcmp(table[i][0], word) == 0)
			return table[i][1];
	return word;
}
