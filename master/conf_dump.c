/* The configuration as text that could be read back. Keys are not shown. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "master/conf_option.h"
#include "shared/snapshot.h"

#define HIDDEN \
	"****************" /* as long as a client key must be, so that the text can be tested */

static void
put_quoted(struct buf *out, const char *s)
{
	buf_str(out, "\"");
	for (; *s != '\0'; s++) {
		if (*s == '\\' || *s == '"' || (s[0] == '$' && s[1] == '{'))
			buf_str(out, "\\");
		buf_add(out, s, 1);
	}
	buf_str(out, "\"");
}

static void
put_text(struct buf *out, const char *name, const char *value)
{
	if (value == NULL)
		return;
	buf_addf(out, "\t%s = ", name);
	put_quoted(out, value);
	buf_str(out, "\n");
}

static void
put_open(struct buf *out, const char *section, const char *title)
{
	buf_addf(out, "\n%s ", section);
	put_quoted(out, title);
	buf_str(out, " {\n");
}

static const char *
word(bool flag)
{
	return flag ? "true" : "false";
}

static void
put_option(struct buf *out, const struct conf *c, const struct option *o)
{
	const char *at = (const char *)c + o->offset, *text;
	int64_t number;
	int choice;

	buf_addf(out, "%s = ", o->name);
	switch (o->kind) {
	case OPTION_INT:
		memcpy(&number, at, sizeof number);
		buf_addf(out, "%lld", (long long)number);
		break;
	case OPTION_STR:
		memcpy(&text, at, sizeof text);
		put_quoted(out, text);
		break;
	case OPTION_ENUM:
		memcpy(&choice, at, sizeof choice);
		text = o->values;
		for (int i = 0; i < choice; i++)
			text += strcspn(text, "|") + 1;
		buf_add(out, text, strcspn(text, "|"));
		break;
	}
	buf_str(out, "\n");
}

static void
put_nets(struct buf *out, const struct conf *c)
{
	char text[INET6_ADDRSTRLEN];

	buf_str(out, "trusted_proxies = {");
	for (unsigned i = 0; i < c->ntrusted; i++) {
		const struct conf_net *n = &c->trusted[i];
		bool v4 = IN6_IS_ADDR_V4MAPPED(&n->addr) && n->bits >= 96;

		inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? &n->addr.s6_addr[12] : n->addr.s6_addr,
		    text, sizeof text);
		buf_addf(out, "%s\"%s/%u\"", i > 0 ? ", " : "", text, n->bits - (v4 ? 96 : 0));
	}
	buf_str(out, "}\n");
}

static void
put_listen(struct buf *out, const struct conf_listen *l)
{
	put_open(out, "listen", l->name);
	if (l->tls)
		buf_str(out, "\ttls = true\n");
	put_text(out, "certificate", l->certificate);
	put_text(out, "private_key", l->private_key);
	if (strncmp(l->name, "unix:", 5) == 0)
		buf_addf(out, "\tmode = 0%o\n", (unsigned)l->mode);
	buf_str(out, "}\n");
}

static void
put_connection(struct buf *out, const struct conf_connection *n)
{
	put_open(out, "connection", n->name);
	put_text(out, "provider", n->provider);
	put_text(out, "base_url", n->base_url);
	put_text(out, "dialect", n->dialect);
	put_text(out, "key", n->key != NULL ? HIDDEN : NULL);
	if (n->nmodels > 0) {
		buf_str(out, "\tmodels = {");
		for (unsigned i = 0; i < n->nmodels; i++) {
			if (i > 0)
				buf_str(out, ", ");
			put_quoted(out, n->models[i]);
		}
		buf_str(out, "}\n");
	}
	buf_addf(out, "\tpriority = %d\n\tenabled = %s\n\tinsecure = %s\n", n->priority,
	    word(n->enabled), word(n->insecure));
	if (n->http2 >= 0)
		buf_addf(out, "\thttp2 = %s\n", word(n->http2 != 0));
	buf_str(out, "}\n");
}

static void
put_key(struct buf *out, const struct conf_key *k)
{
	bool both = (k->scopes & SCOPE_CHAT) && (k->scopes & SCOPE_MANAGE);

	put_open(out, "key", k->name);
	put_text(out, "key", HIDDEN);
	buf_addf(out, "\tscopes = {%s%s%s}\n\trpm = %u\n}\n", k->scopes & SCOPE_CHAT ? "chat" : "",
	    both ? ", " : "", k->scopes & SCOPE_MANAGE ? "manage" : "", k->rpm);
}

void
conf_dump(const struct conf *c, struct buf *out)
{
	buf_addf(out, "# %s\n", c->file != NULL ? c->file : "no configuration file");
	for (unsigned i = 0; i < noptions; i++)
		put_option(out, c, &options[i]);
	put_nets(out, c);
	for (unsigned i = 0; i < c->nlisten; i++)
		put_listen(out, &c->listen[i]);
	for (unsigned i = 0; i < c->nconnections; i++)
		put_connection(out, &c->connection[i]);
	for (unsigned i = 0; i < c->nkeys; i++)
		put_key(out, &c->key[i]);
}
