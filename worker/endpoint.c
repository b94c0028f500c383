#include "worker/endpoint.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "shared/buf.h"
#include "worker/accesslog.h"
#include "worker/auth.h"
#include "worker/exchange.h"
#include "worker/metrics.h"
#include "worker/responses.h"
#include "worker/view.h"
#include "worker/worker.h"

#define LOCATION_MAX 65536u

#define M(method) (1u << HTTP_##method)
#define GET (M(GET) | M(HEAD))

#define EXCHANGE exchange_head, exchange_body, exchange_drain, exchange_gone

static void gemini_head(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);
static void model_head(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);
static void models_head(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail);

static const struct endpoint endpoints[] = {
    {"/v1/chat/completions", M(POST), ACCESS_CLIENT, EXCHANGE, DIALECT_CHAT, ASK_ANSWER, false},
    {"/v1/messages", M(POST), ACCESS_CLIENT, EXCHANGE, DIALECT_MESSAGES, ASK_ANSWER, false},
    {"/v1/responses", M(POST), ACCESS_CLIENT, EXCHANGE, DIALECT_RESPONSES, ASK_ANSWER, false},
    {"/v1/completions", M(POST), ACCESS_CLIENT, EXCHANGE, DIALECT_CHAT, ASK_ANSWER, true},
    {"/v1/messages/count_tokens", M(POST), ACCESS_CLIENT, EXCHANGE, DIALECT_MESSAGES, ASK_COUNT,
	false},
    {"/v1/responses/input_tokens", M(POST), ACCESS_CLIENT, EXCHANGE, DIALECT_RESPONSES, ASK_COUNT,
	false},
    {"/v1/responses/compact", M(POST), ACCESS_CLIENT, EXCHANGE, DIALECT_RESPONSES, ASK_COMPACT,
	false},
    {"/v1/responses/", GET | M(DELETE), ACCESS_CLIENT, responses_head, NULL, NULL, responses_gone,
	DIALECT_RESPONSES, ASK_ANSWER, false},
    {"/codex/", M(POST), ACCESS_CLIENT, EXCHANGE, DIALECT_RESPONSES, ASK_ANSWER, false},
    {"/v1beta/models", GET, ACCESS_CLIENT, .head = view_gemini_models},
    {"/v1beta/models/", GET | M(POST), ACCESS_CLIENT, gemini_head, exchange_body, exchange_drain,
	exchange_gone, DIALECT_GEMINI, ASK_ANSWER, false},
    {"/v1", GET, ACCESS_CLIENT, .head = models_head},
    {"/v1/models", GET, ACCESS_CLIENT, .head = models_head},
    {"/v1/models/", GET | M(POST), ACCESS_CLIENT, model_head, exchange_body, exchange_drain,
	exchange_gone, DIALECT_GEMINI, ASK_ANSWER, false},
    {"/healthz", GET, ACCESS_OPEN, .head = view_health},
    {"/readyz", GET, ACCESS_OPEN, .head = view_ready},
    {"/metrics", GET, ACCESS_MANAGE, .head = metrics_head},
};

/* In whose shape an error is told, also where there is no such path; the first prefix that fits. */
static const struct {
	const char *prefix;
	enum dialect_id dialect;
} dialects[] = {
    {"/v1/messages", DIALECT_MESSAGES},
    {"/v1/responses", DIALECT_RESPONSES},
    {"/codex", DIALECT_RESPONSES},
    {"/v1beta", DIALECT_GEMINI},
};

/* The first row that fits is applied, once. A prefix ends where a segment does. */
static const struct {
	const char *prefix, *instead;
} aliases[] = {
    {"/api/v1", "/v1"},
    {"/v1/v1", "/v1"},
    {"/api/v1beta", "/v1beta"},
    {"/chat/completions", "/v1/chat/completions"},
    {"/completions", "/v1/completions"},
    {"/responses", "/v1/responses"},
    {"/messages", "/v1/messages"},
    {"/models", "/v1/models"},
};

/* X-OmniRoute-Route-Class by the path as it was asked for; the first prefix that fits. */
static const struct {
	const char *prefix, *class;
} classes[] = {
    {"/api/v1", "CLIENT_API"},
    {"/v1", "CLIENT_API"},
    {"/api/v1beta", "CLIENT_API"},
    {"/v1beta", "CLIENT_API"},
    {"/chat/completions", "CLIENT_API"},
    {"/completions", "CLIENT_API"},
    {"/responses", "CLIENT_API"},
    {"/messages", "CLIENT_API"},
    {"/codex", "CLIENT_API"},
    {"/models", "CLIENT_API"},
    {"/api", "MANAGEMENT"},
    {"/metrics", "MANAGEMENT"},
    {"", "PUBLIC"},
};

static const struct {
	unsigned bit;
	const char *name;
} method_names[] = {
    {M(GET), "GET"},
    {M(HEAD), "HEAD"},
    {M(POST), "POST"},
    {M(PUT), "PUT"},
    {M(DELETE), "DELETE"},
    {M(PATCH), "PATCH"},
};

/* ---- paths ---- */

static bool
has_prefix(struct span path, const char *prefix)
{
	size_t n = strlen(prefix);

	return path.n >= n && memcmp(path.p, prefix, n) == 0 && (path.n == n || path.p[n] == '/');
}

static const char *
class_of(struct span path)
{
	for (size_t i = 0; path.n > 0 && i < NELEM(classes); i++)
		if (has_prefix(path, classes[i].prefix))
			return classes[i].class;
	return "PUBLIC"; /* "*", or no path at all */
}

/* A path as if it were head followed by tail. */
struct path {
	struct span head, tail;
};

static struct path
path_without_alias(struct span path)
{
	for (size_t i = 0; i < NELEM(aliases); i++) {
		size_t n = strlen(aliases[i].prefix);

		if (has_prefix(path, aliases[i].prefix))
			return (struct path){{aliases[i].instead, strlen(aliases[i].instead)},
			    {path.p + n, path.n - n}};
	}
	return (struct path){.tail = path};
}

/* Whether the path begins with `text`; *rest is what follows. */
static bool
path_begins(struct path path, const char *text, struct span *rest)
{
	size_t n = strlen(text), left = n - MIN(n, path.head.n);

	if (n < path.head.n || left > path.tail.n) /* no row ends within what an alias put there */
		return false;
	if (path.head.n > 0 && memcmp(path.head.p, text, path.head.n) != 0)
		return false;
	if (left > 0 && memcmp(path.tail.p, text + path.head.n, left) != 0)
		return false;
	*rest = (struct span){path.tail.p + left, path.tail.n - left};
	return true;
}

static enum dialect_id
dialect_of_path(struct span asked)
{
	struct path path = path_without_alias(asked);
	struct span rest;

	for (size_t i = 0; asked.n > 0 && i < NELEM(dialects); i++)
		if (path_begins(path, dialects[i].prefix, &rest) &&
		    (rest.n == 0 || rest.p[0] == '/'))
			return dialects[i].dialect;
	return DIALECT_NONE;
}

static const struct endpoint *
find_endpoint(struct span asked, struct span *tail)
{
	struct path path = path_without_alias(asked);

	for (size_t i = 0; i < NELEM(endpoints); i++) {
		const char *p = endpoints[i].path;
		bool open_end = p[strlen(p) - 1] == '/';

		if (path_begins(path, p, tail) && (open_end ? tail->n > 0 : tail->n == 0))
			return &endpoints[i];
	}
	return NULL;
}

/* ---- replies of the table itself ---- */

static void
put_path(struct buf *b, struct span path)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
				    "-._~/:@!$&'()*+,;=";

	for (size_t i = 0; i < path.n; i++) {
		if (path.p[i] != '\0' && strchr(plain, path.p[i]) != NULL)
			buf_add(b, path.p + i, 1);
		else
			buf_addf(b, "%%%02X", (unsigned char)path.p[i]);
	}
}

/* The path has one slash in front (it is canonical), so that the place is on this host. */
static void
redirect(struct http_req *r)
{
	struct buf b = BUF_INIT(LOCATION_MAX);

	put_path(&b, (struct span){r->path.p, r->path.n - 1});
	if (r->query.p != NULL) {
		buf_add(&b, "?", 1);
		buf_add(&b, r->query.p, r->query.n);
	}
	if (buf_ok(&b)) {
		http_header_span(r, "Location", (struct span){b.data, b.len});
		http_reply(r, 308, NULL, NULL, 0);
	} else {
		http_error(r, 414, NULL, "The address is too long");
	}
	buf_clear(&b);
}

static void
allow(struct http_req *r, unsigned methods)
{
	char text[64];
	size_t n = 0;

	for (size_t i = 0; i < NELEM(method_names); i++)
		if (methods & method_names[i].bit)
			n += (size_t)snprintf(
			    text + n, sizeof text - n, "%s, ", method_names[i].name);
	snprintf(text + n, sizeof text - n, "OPTIONS");
	http_header(r, "Allow", text);
}

static void
not_found(struct http_req *r)
{
	http_error(r, 404, "unknown_url", "Unknown path \"%.*s\"; the client API is at /v1",
	    (int)MIN(r->path.n, 200), r->path.p != NULL ? r->path.p : "");
}

static void
wrong_method(struct http_req *r, const struct endpoint *ep)
{
	allow(r, ep->methods);
	http_error(r, 405, "method_not_allowed", "This path does not take the method %.*s",
	    (int)MIN(r->method_text.n, 20), r->method_text.p);
}

/* What a path takes, or "*": what there is at all. */
static void
options(struct http_req *r, const struct endpoint *ep)
{
	allow(r, ep != NULL ? ep->methods : GET | M(POST));
	http_reply(r, 204, NULL, NULL, 0);
}

static bool
is_asterisk(const struct http_req *r)
{
	return r->target.n == 1 && r->target.p[0] == '*';
}

/* A body that would first have to be unpacked: what it would grow to, nobody knows before. */
static bool
body_is_packed(const struct http_req *r)
{
	struct span coding = http_header_get(r, "content-encoding");

	return r->expects_body && coding.n > 0 &&
	       (coding.n != 8 || strncasecmp(coding.p, "identity", 8) != 0 ||
		   http_header_count(r, "content-encoding") > 1);
}

static void
packed_body(struct http_req *r)
{
	http_header(r, "Accept-Encoding", "identity");
	http_error(r, 415, "unsupported_content_encoding",
	    "A request body is taken as it is, without Content-Encoding");
}

/* ---- rows that serve two ---- */

static void
gemini_head(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	if (r->method == HTTP_POST)
		exchange_head(r, ep, caller, tail);
	else
		view_gemini_model(r, ep, caller, tail);
}

/* Google's client leaves the "beta" out by default: who asks a model here speaks Gemini. */
static void
model_head(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	if (r->method == HTTP_POST)
		exchange_head(r, ep, caller, tail);
	else
		view_model(r, ep, caller, tail);
}

/* Anthropic's clients ask at the same place and say who they are. */
static void
models_head(
    struct http_req *r, const struct endpoint *ep, const struct caller *caller, struct span tail)
{
	if (http_header_get(r, "anthropic-version").p != NULL)
		view_messages_models(r, ep, caller, tail);
	else
		view_models(r, ep, caller, tail);
}

/* ---- the handler ---- */

/* Anthropic's clients look for the id of a request under this name. */
static void
say_dialect(struct http_req *r)
{
	r->dialect = dialect_of_path(r->path);
	if (r->dialect == DIALECT_NONE && r->method == HTTP_GET &&
	    http_header_get(r, "anthropic-version").p != NULL)
		r->dialect = DIALECT_MESSAGES;
	if (r->dialect == DIALECT_MESSAGES)
		http_header(r, "request-id", r->request_id);
}

/*
 * A worker that is retiring still serves what comes over connections that are open: the client has
 * sent it in good faith, and http closes the connection behind the reply.
 */
static void
on_head(struct http_req *r)
{
	struct snapshot *snap = worker_snapshot();
	const struct endpoint *ep;
	struct caller caller;
	struct span tail = {0};
	bool fits;

	http_header(r, "X-OmniRoute-Route-Class", class_of(r->path));
	say_dialect(r);
	if (r->path.n > 1 && r->path.p[r->path.n - 1] == '/') {
		redirect(r);
		return;
	}
	ep = find_endpoint(r->path, &tail);
	if (ep != NULL && r->method == HTTP_POST && ep->dialect != DIALECT_NONE)
		r->dialect = ep->dialect; /* a path may tell it by its method */
	if (r->method == HTTP_OPTIONS && (ep != NULL || is_asterisk(r))) {
		options(r, ep);
		return;
	}
	fits = ep != NULL && (ep->methods & 1u << r->method) != 0;
	if (!auth_check(r, fits ? ep->access : ACCESS_NOWHERE, snap, &caller))
		return;
	if (!fits) {
		if (ep != NULL)
			wrong_method(r, ep);
		else
			not_found(r);
		return;
	}
	if (body_is_packed(r)) {
		packed_body(r);
		return;
	}
	/* What is posted by a client costs money; looking does not. */
	if (ep->access == ACCESS_CLIENT && r->method == HTTP_POST && !auth_admit(r, &caller))
		return;
	r->ctx = (void *)(uintptr_t)ep;
	ep->head(r, ep, &caller, tail);
}

static const struct endpoint *
endpoint_of(const struct http_req *r)
{
	uintptr_t p = (uintptr_t)r->ctx;

	if (r->ctx == NULL)
		return NULL;
	if (p >= (uintptr_t)endpoints && p < (uintptr_t)(endpoints + NELEM(endpoints)))
		return r->ctx;
	return *(const struct endpoint *const *)r->ctx;
}

#define PASS_ON(call) \
	static void on_##call(struct http_req *r) \
	{ \
		const struct endpoint *ep = endpoint_of(r); \
\
		if (ep != NULL && ep->call != NULL) \
			ep->call(r); \
	}
PASS_ON(body)
PASS_ON(drain)
PASS_ON(gone)
#undef PASS_ON

/* http's own errors: a head that could not be read has no path. */
static void
on_refuse(struct http_req *r)
{
	http_header(r, "X-OmniRoute-Route-Class", class_of(r->path));
	r->dialect = dialect_of_path(r->path);
}

const struct http_handler endpoint_handler = {
    .on_head = on_head,
    .on_refuse = on_refuse,
    .on_body = on_body,
    .on_drain = on_drain,
    .on_gone = on_gone,
    .on_done = accesslog_write,
};
