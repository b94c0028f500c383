/* nodes: connections without a provider of the catalogue: a base URL and its dialect. */
#include "master/ctl/ctl.h"

/* A name of the catalogue would make it a connection to that provider. */
static int
check_name(const struct ctl *c, json_t *name)
{
	json_t *o;
	int r;

	if (json_string_length(name) == 0 || json_string_length(name) > 64)
		return ctl_fail(c, CTL_USAGE, "a node's name is 1 to 64 characters");
	r = ctl_call(c, "provider.list", json_pack("{s:O}", "id", name), CTL_TIMEOUT_MS, &o);
	if (r != CTL_OK)
		return r;
	if (json_array_size(json_object_get(o, "providers")) > 0)
		r = ctl_fail(c, CTL_EXISTS,
		    "name \"%s\" is that of a provider of the catalogue: choose another, or "
		    "omniroute-ctl connections add %s",
		    c->arg[0], c->arg[0]);
	json_decref(o);
	return r;
}

int
ctl_run_nodes_add(struct ctl *c)
{
	json_t *name = json_string(c->arg[0]), *params = json_object();
	int r;

	if (!name)
		r = ctl_fail(c, CTL_USAGE, "the node's name is not valid UTF-8");
	else if (!ctl_value(c, "base-url"))
		r = ctl_fail(c, CTL_USAGE, "give the --base-url of the node");
	else
		r = check_name(c, name);
	if (r == CTL_OK)
		r = ctl_connection_options(c, params);
	json_object_set_new(params, "name", name);
	if (r == CTL_OK)
		r = ctl_connection_secret(c, params);
	if (r == CTL_OK && ctl_flag(c, "disabled"))
		json_object_set_new(params, "enabled", json_false());
	if (r == CTL_OK)
		return ctl_connection_change(c, "connection.create", params, "added");
	json_decref(params);
	return r;
}

int
ctl_run_nodes_list(struct ctl *c)
{
	json_t *o, *nodes = json_array();
	json_t *k;
	size_t i;
	int r = ctl_call(c, "connection.list", NULL, CTL_TIMEOUT_MS, &o);

	if (r == CTL_OK) {
		json_array_foreach(json_object_get(o, "connections"), i, k)
		{
			if (ctl_bool(k, "node"))
				json_array_append(nodes, k);
		}
		json_decref(o);
		o = json_pack("{s:O}", "nodes", nodes);
		if (c->json)
			ctl_print_json(o);
		else if (json_array_size(nodes) == 0)
			puts("No nodes yet: omniroute-ctl nodes add --help");
		else
			ctl_connection_table(nodes);
		json_decref(o);
	}
	json_decref(nodes);
	return r;
}

/* A connection to a provider of the catalogue is not removed by this name. */
static int
find_node(const struct ctl *c, json_t **id)
{
	json_t *o, *k, *params = json_pack("{s:s}", "connection", c->arg[0]);
	int r;

	if (!params)
		return ctl_fail(c, CTL_USAGE, "the node's name is not valid UTF-8");
	r = ctl_call(c, "connection.get", params, CTL_TIMEOUT_MS, &o);
	if (r != CTL_OK)
		return r;
	k = json_object_get(o, "connection");
	if (ctl_bool(k, "node"))
		*id = json_incref(json_object_get(k, "id"));
	else
		r = ctl_fail(c, CTL_NOT_FOUND,
		    "%s is no node but a connection to %s: omniroute-ctl connections remove",
		    ctl_str(k, "name"), ctl_str(k, "provider"));
	json_decref(o);
	return r;
}

int
ctl_run_nodes_remove(struct ctl *c)
{
	json_t *o, *id = NULL;
	int r = find_node(c, &id);

	if (r == CTL_OK)
		r = ctl_call(c, "connection.delete", json_pack("{s:o}", "connection", id),
		    CTL_TIMEOUT_MS, &o);
	if (r != CTL_OK)
		return r;
	r = ctl_connection_removed(c, "Node", o);
	json_decref(o);
	return r;
}
