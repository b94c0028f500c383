#include "master/conntest.h"

#include <event2/event.h>
#include <jansson.h>
#include <netinet/in.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "providers/catalog.h"
#include "shared/buf.h"
#include "shared/clock.h"
#include "shared/curlio.h"
#include "shared/failure.h"

#define TIMEOUT_MS 15000L
#define ANSWER_MAX (4u << 20)

struct conntest {
	struct master *m;
	conntest_done *done;
	void *ctx;
	CURL *easy;
	struct curl_slist *headers;
	struct curlio_job *job;
	struct event *builtin;
	struct buf answer;
	bool allow_private, forbidden;
	uint64_t started_ns;
};

static const struct timeval at_once = {0};

static void
conntest_free(struct conntest *t)
{
	if (t->builtin)
		event_free(t->builtin);
	if (t->easy)
		curl_easy_cleanup(t->easy);
	for (struct curl_slist *h = t->headers; h; h = h->next)
		sodium_memzero(h->data, strlen(h->data));
	curl_slist_free_all(t->headers);
	buf_wipe(&t->answer);
	free(t);
}

void
conntest_cancel(struct conntest *t)
{
	if (t->job)
		curlio_cancel(t->job);
	conntest_free(t);
}

/* ---- call-backs of libcurl ---- */

/* What is beyond the ceiling is not needed: the status has been read by then. */
static size_t
on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct conntest *t = ctx;

	return buf_add(&t->answer, p, size * n) == 0 ? size * n : 0;
}

static curl_socket_t
on_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct conntest *t = ctx;

	(void)purpose;
	if (address_forbidden(&a->addr) || (!t->allow_private && address_private(&a->addr))) {
		t->forbidden = true;
		return CURL_SOCKET_BAD;
	}
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- judging the answer ---- */

static const struct {
	CURLcode code;
	enum failure failure;
} curl_failures[] = {
    {CURLE_COULDNT_RESOLVE_HOST, FAIL_RESOLVE},
    {CURLE_COULDNT_CONNECT, FAIL_CONNECT},
    {CURLE_OPERATION_TIMEDOUT, FAIL_FIRST_BYTE_TIMEOUT},
    {CURLE_SSL_CONNECT_ERROR, FAIL_TLS},
    {CURLE_PEER_FAILED_VERIFICATION, FAIL_TLS},
    {CURLE_SSL_CERTPROBLEM, FAIL_TLS},
    {CURLE_SSL_CACERT_BADFILE, FAIL_TLS},
    {CURLE_SEND_ERROR, FAIL_SEND},
    {CURLE_RECV_ERROR, FAIL_RESET},
    {CURLE_GOT_NOTHING, FAIL_RESET},
    {CURLE_PARTIAL_FILE, FAIL_CUT},
    {CURLE_WEIRD_SERVER_REPLY, FAIL_MALFORMED},
    {CURLE_UNSUPPORTED_PROTOCOL, FAIL_MALFORMED},
};

static enum failure
transport_failure(const struct conntest *t, CURLcode code)
{
	if (t->forbidden)
		return FAIL_FORBIDDEN_ADDRESS;
	for (size_t i = 0; i < NELEM(curl_failures); i++)
		if (curl_failures[i].code == code)
			return curl_failures[i].failure;
	return FAIL_CONNECT;
}

/* 401 and 403: the credential is wrong. 5xx, 429: not available now. Any other status shows that
 * somebody answers. */
static enum failure
status_failure(long status)
{
	if (status == 401 || status == 403)
		return FAIL_STATUS_AUTH;
	if (status == 429)
		return FAIL_STATUS_429;
	if (status >= 500)
		return FAIL_STATUS_5XX;
	return status >= 300 && status < 400 ? FAIL_REDIRECT : FAIL_NONE;
}

static unsigned
count_models(const struct buf *answer)
{
	json_t *o = answer->len ? json_loadb(answer->data, answer->len, 0, NULL) : NULL;
	const json_t *list = json_is_array(o) ? o : json_object_get(o, "data");
	size_t n = json_array_size(list);

	json_decref(o);
	return (unsigned)MIN(n, (size_t)UINT32_MAX);
}

static void
on_done(void *ctx, CURL *easy, CURLcode code)
{
	struct conntest *t = ctx;
	struct conntest_outcome o = {
	    .latency_ms = (uint32_t)((clock_now_ns() - t->started_ns) / NS_PER_MS)};
	enum failure f;
	char message[200];
	long status = 0;

	t->job = NULL;
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && t->answer.failed))
		f = status_failure(status);
	else
		f = transport_failure(t, code);
	o.status = (int)status;
	o.valid = f == FAIL_NONE;
	o.failure = failure_info(f)->label;
	o.models = status == 200 ? count_models(&t->answer) : 0;
	if (o.valid && status == 200)
		snprintf(message, sizeof message, "The upstream lists %u models", o.models);
	else if (o.valid)
		snprintf(message, sizeof message,
		    "The upstream answers, but its list of models is not available (status %ld)",
		    status);
	else if (status)
		snprintf(
		    message, sizeof message, "%s (status %ld)", failure_info(f)->message, status);
	else
		snprintf(message, sizeof message, "%s (%s)", failure_info(f)->message,
		    curl_easy_strerror(code));
	o.message = message;
	t->done(t->ctx, &o);
	conntest_free(t);
}

static void
on_builtin(evutil_socket_t fd, short what, void *ctx)
{
	struct conntest *t = ctx;
	struct conntest_outcome o = {.valid = true,
	    .failure = failure_info(FAIL_NONE)->label,
	    .message = "Built in: there is no upstream to ask"};

	(void)fd;
	(void)what;
	t->done(t->ctx, &o);
	conntest_free(t);
}

/* ---- starting ---- */

static bool
add_header(struct conntest *t, const char *line)
{
	struct curl_slist *l = curl_slist_append(t->headers, line);

	if (l)
		t->headers = l;
	return l != NULL;
}

static bool
add_headers(struct conntest *t, const struct connection *c, const struct catalog_provider *p)
{
	enum dialect_id dialect = c->dialect ? dialect_of(c->dialect)
				  : p	       ? p->dialect
					       : DIALECT_CHAT;
	const char *name, *scheme;
	struct buf line = BUF_INIT(16384);
	bool ok = add_header(t, "Accept: application/json");

	catalog_auth(p, dialect, &name, &scheme);
	if (ok && dialect == DIALECT_MESSAGES && !(p && p->headers && *p->headers))
		ok = add_header(t, "anthropic-version: 2023-06-01");
	if (ok && c->secret && name) {
		buf_addf(&line, "%s: %s%s%s", name, scheme ? scheme : "",
		    scheme && *scheme ? " " : "", c->secret);
		ok = buf_cstr(&line) && add_header(t, line.data);
	}
	for (const char *h = p && p->headers ? p->headers : ""; ok && *h;) {
		size_t n = strcspn(h, "\n");

		buf_wipe(&line);
		buf_add(&line, h, n);
		ok = buf_cstr(&line) && add_header(t, line.data);
		h += n + (h[n] == '\n');
	}
	buf_wipe(&line);
	return ok;
}

static bool
set_options(struct conntest *t, const struct connection *c, const char *url)
{
	const struct conf *conf = t->m->conf;
	bool http2 = c->http2 < 0 ? conf->upstream_http2 : c->http2;
	CURL *e = t->easy;
	bool ok = true;

#define SET(option, value) (ok = ok && curl_easy_setopt(e, option, value) == CURLE_OK)
	SET(CURLOPT_URL, url);
	SET(CURLOPT_HTTPHEADER, t->headers);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_ACCEPT_ENCODING, "");
	SET(CURLOPT_USERAGENT, "OmniRoute/" OMNIROUTE_VERSION);
	SET(CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	SET(CURLOPT_CONNECTTIMEOUT_MS, MIN((long)conf->connect_timeout, TIMEOUT_MS));
	SET(CURLOPT_HTTP_VERSION,
	    http2 ? (long)CURL_HTTP_VERSION_2TLS : (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_SSL_VERIFYPEER, c->insecure ? 0L : 1L);
	SET(CURLOPT_SSL_VERIFYHOST, c->insecure ? 0L : 2L);
	if (conf->upstream_ca_file && *conf->upstream_ca_file)
		SET(CURLOPT_CAINFO, conf->upstream_ca_file);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, t);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
	SET(CURLOPT_OPENSOCKETDATA, t);
	/* A test is a new connection, so that it really meets the address check and the handshake.
	 */
	SET(CURLOPT_FRESH_CONNECT, 1L);
	SET(CURLOPT_FORBID_REUSE, 1L);
#undef SET
	return ok;
}

static bool
start_call(struct conntest *t, const struct connection *c, const struct catalog_provider *p)
{
	const char *base = c->base_url ? c->base_url : p ? p->base_url : NULL;
	const char *path = p && p->models_path ? p->models_path : "/models";
	const char *chat = p && p->chat_path ? p->chat_path : "/chat/completions";
	size_t n = base ? strlen(base) : 0, tail = strlen(chat);
	struct buf url = BUF_INIT(8192);
	bool ok = false;

	/* An operator may have pasted the complete URL of chat completions. */
	if (n > tail && strcmp(base + n - tail, chat) == 0)
		n -= tail;
	buf_add(&url, base, n);
	buf_str(&url, path);
	t->easy = curl_easy_init();
	if (t->easy && buf_cstr(&url) && add_headers(t, c, p) && set_options(t, c, url.data)) {
		t->job = curlio_start(t->m->curl, t->easy, on_done, t);
		ok = t->job != NULL;
	}
	buf_clear(&url);
	return ok;
}

struct conntest *
conntest_start(struct master *m, const struct connection *c, conntest_done *done, void *ctx)
{
	const struct catalog_provider *p = catalog_find(c->provider);
	struct conntest *t = calloc(1, sizeof *t);
	bool ok;

	if (!t)
		return NULL;
	*t = (struct conntest){.m = m,
	    .done = done,
	    .ctx = ctx,
	    .started_ns = clock_now_ns(),
	    .allow_private = m->conf->allow_private_provider_urls || (p && p->local)};
	buf_init(&t->answer, ANSWER_MAX);
	if (p && p->builtin) {
		t->builtin = evtimer_new(m->base, on_builtin, t);
		ok = t->builtin && evtimer_add(t->builtin, &at_once) == 0;
	} else {
		ok = start_call(t, c, p);
	}
	if (ok)
		return t;
	conntest_free(t);
	return NULL;
}
