/*
 * admin: the requests for the upstream itself.
 */
#include <stdlib.h>
#include <string.h>

#include "t/upstream/upstream.h"

static void
reply(struct conn *c, int status, const char *text)
{
	evbuffer_add_printf(bufferevent_get_output(c->bev),
	    "HTTP/1.1 %d Admin\r\nContent-Type: application/json\r\nContent-Length: "
	    "%zu\r\n\r\n%s",
	    status, strlen(text), text);
}

static void
change_script(struct conn *c, bool append)
{
	size_t n = evbuffer_get_length(c->rec->body);
	char why[200], text[300];

	if (script_load((char *)evbuffer_pullup(c->rec->body, -1), n, append, why, sizeof(why)) ==
	    0) {
		reply(c, 200, "{}");
		return;
	}
	json_t *o = json_pack("{s:s}", "error", why);
	text[MIN(json_dumpb(o, text, sizeof(text), 0), sizeof(text) - 1)] = '\0';
	json_decref(o);
	reply(c, 400, text);
}

bool
admin_handle(struct conn *c)
{
	const struct record *r = c->rec;
	bool script = strcmp(r->target, "/_script") == 0, log = strcmp(r->target, "/_log") == 0;

	if (!script && !log)
		return false;
	c->rec->hidden = true;
	if (script && (strcmp(r->method, "PUT") == 0 || strcmp(r->method, "POST") == 0)) {
		change_script(c, *r->method == 'P' && r->method[1] == 'O');
	} else if (strcmp(r->method, "DELETE") == 0) {
		if (script)
			script_clear();
		record_clear(false, script);
		reply(c, 200, "{}");
	} else if (log && strcmp(r->method, "GET") == 0) {
		json_t *all = record_log();
		char *text = json_dumps(all, JSON_COMPACT);
		reply(c, 200, text != NULL ? text : "[]");
		free(text);
		json_decref(all);
	} else {
		reply(c, 405, "{}");
	}
	return true;
}
