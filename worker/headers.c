#include "worker/headers.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/canon.h"
#include "shared/err.h"
#include "shared/snapshot.h"
#include "worker/http.h"

#define EXPECT_FROM \
	500000u /* libcurl says "Expect: 100-continue" from 1 MB on, unless told not to */

/*
 * From the client to the upstream. Not here, and why: Authorization, x-api-key (the upstream's
 * credential is the connection's); openai-organization, openai-project (they choose whose account
 * pays); idempotency-key (two clients share one upstream account, and one must not be given the
 * answer of the other); user-agent, x-stainless-* (describe the client's machine); accept-encoding
 * (how the upstream packs is between it and us); everything hop-by-hop.
 */
static const struct {
	const char *name;
	uint32_t dialects;     /* bits 1 << enum dialect_id: both sides must speak the same one of
				  these; 0: always */
	const char *otherwise; /* with the upstream in one of them, where the client does not say
				  it; NULL: nothing */
} to_upstream[] = {
    {"openai-beta", 1u << DIALECT_CHAT | 1u << DIALECT_RESPONSES, NULL},
    {"anthropic-version", 1u << DIALECT_MESSAGES, "2023-06-01"},
    {"anthropic-beta", 1u << DIALECT_MESSAGES, NULL},
    {"traceparent", 0, NULL},
    {"tracestate", 0, NULL},
};

/* From the upstream to the client. A name that ends in "-" stands for all that begin with it. */
static const struct reply_rule {
	const char *name, *as; /* as NULL: under the same name; "": it is only read */
} to_client[] = {
    {"retry-after", NULL},
    {"retry-after-ms", NULL},
    {"x-should-retry", NULL},
    {"x-ratelimit-", NULL},
    {"anthropic-ratelimit-", NULL},
    {"openai-model", NULL},
    {"request-id", "X-Upstream-Request-Id"},
    {"openai-processing-ms", NULL},
    {"openai-version", NULL},
    {"x-request-id", "X-Upstream-Request-Id"}, /* X-Request-Id is ours */
    {"x-amzn-errortype", ""},
};

/* ---- towards the upstream ---- */

/* A list node that libcurl only reads. */
static struct curl_slist **
add_line(struct arena *a, struct curl_slist **end, char *line)
{
	struct curl_slist *node = line != NULL ? arena_alloc(a, sizeof *node) : NULL;

	if (node == NULL || end == NULL)
		return NULL;
	node->data = line;
	node->next = NULL;
	*end = node;
	return &node->next;
}

/* The next of the lines that end with LF; p NULL at the end. */
static struct span
next_line(struct span *lines)
{
	const char *lf = lines->n > 0 ? memchr(lines->p, '\n', lines->n) : NULL;
	struct span line = {lines->p, lf != NULL ? (size_t)(lf - lines->p) : lines->n};
	size_t taken = line.n + (lf != NULL);

	if (lines->n == 0)
		return (struct span){NULL, 0};
	lines->p += taken;
	lines->n -= taken;
	return line;
}

static bool
line_is(struct span line, const char *name)
{
	size_t n = strlen(name);

	return line.n > n && line.p[n] == ':' && strncasecmp(line.p, name, n) == 0;
}

/* What the operator wrote for this connection stands above what a client sends. */
static bool
lines_have(struct span lines, const char *name)
{
	struct span line;

	while ((line = next_line(&lines)).p != NULL)
		if (line_is(line, name))
			return true;
	return false;
}

static char *
id_line(struct arena *a, const char *id)
{
	static const char name[] = "X-Request-Id: ";
	size_t n = strlen(id) + 1;
	char *line = arena_alloc(a, sizeof name - 1 + n);

	if (line != NULL) {
		memcpy(line, name, sizeof name - 1);
		memcpy(line + sizeof name - 1, id, n);
	}
	return line;
}

/* What of the client's fields this upstream is told; p NULL: nothing. */
static struct span
pass_value(const struct http_req *r, size_t i, const struct header_wish *w)
{
	uint32_t dialects = to_upstream[i].dialects;
	bool upstream = dialects == 0 || (dialects & 1u << w->upstream) != 0;
	struct span v = {NULL, 0};

	if (upstream && (dialects == 0 || w->client == w->upstream))
		v = http_header_get(r, to_upstream[i].name);
	if (upstream && v.n == 0 && to_upstream[i].otherwise != NULL)
		v = span_of(to_upstream[i].otherwise);
	return v;
}

/* What is wanted back. */
static char *
accept_line(const struct header_wish *w)
{
	static char json[] = "Accept: application/json", sse[] = "Accept: text/event-stream";
	static char lines[] = "Accept: application/x-ndjson";
	static char frames[] = "Accept: application/vnd.amazon.eventstream";

	if (!w->stream)
		return json;
	return w->upstream == DIALECT_OLLAMA     ? lines
	       : w->upstream == DIALECT_CONVERSE ? frames
						 : sse;
}

struct curl_slist *
headers_upstream(struct arena *a, const struct http_req *r, const struct snapshot *snap,
    const struct snap_conn *conn, const struct header_wish *wish)
{
	static char json[] = "Content-Type: application/json", no_expect[] = "Expect:";
	/* A packed stream comes in the packer's portions, not in the upstream's. */
	static char plain[] = "Accept-Encoding: identity";
	struct span own = snapshot_span(snap, conn->headers);
	struct span lines = own, line, auth = snapshot_span(snap, conn->auth_header);
	struct curl_slist *list = NULL, **end = &list;

	end = add_line(a, end, json);
	if (wish->body > EXPECT_FROM)
		end = add_line(a, end, no_expect);
	end = add_line(a, end, accept_line(wish));
	if (wish->stream)
		end = add_line(a, end, plain);
	if (auth.n > 0)
		end = add_line(a, end, arena_strndup(a, auth.p, auth.n));
	while ((line = next_line(&lines)).p != NULL)
		end = add_line(a, end, arena_strndup(a, line.p, line.n));
	if (!lines_have(own, "x-request-id"))
		end = add_line(a, end, id_line(a, r->request_id));
	for (size_t i = 0; i < NELEM(to_upstream); i++) {
		struct span v = pass_value(r, i, wish);

		if (v.n > 0 && !lines_have(own, to_upstream[i].name))
			end = add_line(a, end,
			    arena_printf(a, "%s: %.*s", to_upstream[i].name, (int)v.n, v.p));
	}
	return end != NULL ? list : NULL;
}

/* ---- towards the client ---- */

static const struct reply_rule *
rule_find(struct span name)
{
	for (size_t i = 0; i < NELEM(to_client); i++) {
		size_t n = strlen(to_client[i].name);
		bool prefix = to_client[i].name[n - 1] == '-';

		if ((prefix ? name.n > n : name.n == n) &&
		    strncasecmp(name.p, to_client[i].name, n) == 0)
			return &to_client[i];
	}
	return NULL;
}

static struct span
trim(struct span v)
{
	while (v.n > 0 && isspace((unsigned char)v.p[v.n - 1]))
		v.n--;
	while (v.n > 0 && isspace((unsigned char)*v.p))
		v.p++, v.n--;
	return v;
}

/* Names and values that could break our own head are dropped, whatever libcurl let through. */
static bool
is_clean(struct span v, bool name)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f ||
		    (name && !isalnum(c) && c != '-' && c != '_'))
			return false;
	}
	return true;
}

static int
keep(struct arena *a, struct span v, struct span *out)
{
	char *copy = arena_strndup(a, v.p, v.n);

	if (copy == NULL)
		return E_NOMEM;
	*out = (struct span){copy, v.n};
	return 0;
}

static void
take_status(struct reply_head *head, const char *p, size_t n)
{
	const char *space = memchr(p, ' ', n);

	head->status = 0;
	head->length = 0;
	head->content_type = (struct span){NULL, 0};
	head->fields = 0;
	if (space != NULL && p + n - space > 3)
		head->status = (int)strtol(space, NULL, 10);
}

int
headers_take_line(struct arena *a, struct reply_head *head, const char *p, size_t n)
{
	const struct reply_rule *rule;
	const char *colon = memchr(p, ':', n);
	struct span name, value;
	int r;

	if (n > 5 && memcmp(p, "HTTP/", 5) == 0) {
		take_status(head, p, n);
		return 0;
	}
	if (colon == NULL)
		return 0;
	name = (struct span){p, (size_t)(colon - p)};
	value = trim((struct span){colon + 1, n - name.n - 1});
	if (!is_clean(name, true) || !is_clean(value, false) || value.n > 1024)
		return 0;
	if (name.n == 12 && strncasecmp(name.p, "content-type", 12) == 0)
		return keep(a, value, &head->content_type);
	if (name.n == 14 && strncasecmp(name.p, "content-length", 14) == 0) {
		head->length = strtoull(colon + 1, NULL, 10);
		return 0;
	}
	rule = rule_find(name);
	if (rule == NULL || head->fields == HEADERS_KEPT)
		return 0;
	struct reply_field *f = &head->field[head->fields];
	if ((r = keep(a, name, &f->name)) != 0 || (r = keep(a, value, &f->value)) != 0)
		return r;
	f->as = rule->as != NULL ? rule->as : f->name.p;
	head->fields++;
	return 0;
}

struct span
headers_get(const struct reply_head *head, const char *name)
{
	for (unsigned i = 0; i < head->fields; i++)
		if (strcasecmp(head->field[i].name.p, name) == 0)
			return head->field[i].value;
	return (struct span){NULL, 0};
}

void
headers_send(struct http_req *r, const struct reply_head *head)
{
	for (unsigned i = 0; i < head->fields; i++)
		http_header_span(r, head->field[i].as, head->field[i].value);
}

bool
headers_media_type(struct span v, const char *type)
{
	size_t n = strlen(type);

	return v.n >= n && strncasecmp(v.p, type, n) == 0 &&
	       (v.n == n || v.p[n] == ';' || v.p[n] == ' ' || v.p[n] == '\t');
}

/* ---- hints; values are NUL-terminated by keep() ---- */

/* From now on, in ms: a number of units, an epoch in s or ms, or a date; 0: none of them. */
static uint64_t
hint_parse(const char *s, double unit_ms, uint64_t wall_s)
{
	char *end;
	double v = strtod(s, &end), now = (double)wall_s, ms;

	if (end == s || *end != '\0')
		ms = ((double)curl_getdate(s, NULL) - now) * 1000;
	else if (v >= 1e11)
		ms = v - now * 1000;
	else if (v >= 1e9)
		ms = (v - now) * 1000;
	else
		ms = v * unit_ms;
	if (!(ms > 0))
		return 0;
	if (ms >= HEADERS_HINT_MAX)
		return HEADERS_HINT_MAX;
	return (uint64_t)ms + ((double)(uint64_t)ms < ms);
}

uint64_t
headers_hint_ms(const struct reply_head *head, uint64_t wall_s)
{
	static const struct {
		const char *name;
		double unit_ms;
	} table[] = {{"retry-after-ms", 1}, {"retry-after", 1000}, {"x-ratelimit-reset", 1000}};

	for (size_t i = 0; i < NELEM(table); i++) {
		struct span v = headers_get(head, table[i].name);
		uint64_t ms = v.p != NULL ? hint_parse(v.p, table[i].unit_ms, wall_s) : 0;

		if (ms > 0)
			return ms;
	}
	return 0;
}
