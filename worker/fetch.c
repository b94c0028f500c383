#include "worker/fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <limits.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "providers/catalog.h"
#include "shared/curlio.h"
#include "shared/err.h"
#include "shared/snapshot.h"
#include "worker/worker.h"

#define MEDIA_MAX (20u << 20)
#define TOGETHER_MAX (64u << 20) /* of one request: no upstream takes more in a body */
#define MEDIA_MS 15000L
#define REDIRECTS_MAX 3L
#define AT_ONCE 32

struct item {
	struct fetch *f;
	struct shaped_media *media;
	CURL *easy;
	struct curlio_job *job;
	char *url;
	struct buf body;
	bool forbidden, too_large, too_many;
};

struct fetch {
	struct arena *arena;
	fetch_done *done;
	void *ctx;
	bool private;     /* such addresses may be reached */
	struct event end; /* the news are brought from the loop */
	bool failed;
	struct canon_error why;
	unsigned n, left;
	size_t got; /* bytes, of all */
	struct item item[AT_ONCE];
};

/* ---- addresses ---- */

static bool
address_allowed(const struct item *i, const struct sockaddr *sa)
{
	return !address_forbidden(sa) && (i->f->private || !address_private(sa));
}

static curl_socket_t
on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *sa)
{
	struct item *i = ctx;

	if (purpose != CURLSOCKTYPE_IPCXN)
		return CURL_SOCKET_BAD;
	if (!address_allowed(i, &sa->addr)) {
		i->forbidden = true;
		return CURL_SOCKET_BAD;
	}
	return socket(sa->family, sa->socktype | SOCK_CLOEXEC, sa->protocol);
}

/* Nothing was sent on it yet. */
static int
on_connected(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
	struct item *i = ctx;
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = {.sin_family = AF_INET};
	const struct sockaddr *sa = (const void *)&four;

	(void)local_ip;
	(void)port;
	(void)local_port;
	if (inet_pton(AF_INET, ip, &four.sin_addr) != 1) {
		if (inet_pton(AF_INET6, ip, &six.sin6_addr) != 1)
			return CURL_PREREQFUNC_ABORT;
		sa = (const void *)&six;
	}
	if (address_allowed(i, sa))
		return CURL_PREREQFUNC_OK;
	i->forbidden = true;
	return CURL_PREREQFUNC_ABORT;
}

static size_t
on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct item *i = ctx;

	n *= size;
	if (n > TOGETHER_MAX - i->f->got) {
		i->too_many = true;
		return CURL_WRITEFUNC_ERROR;
	}
	i->f->got += n;
	if (buf_add(&i->body, p, n) == 0)
		return n;
	i->too_large = true;
	return CURL_WRITEFUNC_ERROR;
}

/* ---- life ---- */

static void
item_stop(struct item *i)
{
	if (i->job != NULL)
		curlio_cancel(i->job);
	if (i->easy != NULL)
		curl_easy_cleanup(i->easy);
	free(i->url);
	buf_clear(&i->body);
	i->job = NULL;
	i->easy = NULL;
	i->url = NULL;
}

void
fetch_cancel(struct fetch *f)
{
	for (unsigned i = 0; i < f->n; i++)
		item_stop(&f->item[i]);
	event_del(&f->end);
	free(f);
}

static void
on_end(evutil_socket_t fd, short what, void *arg)
{
	struct fetch *f = arg;
	fetch_done *done = f->done;
	void *ctx = f->ctx;
	struct canon_error why = f->why;
	bool failed = f->failed;

	(void)fd;
	(void)what;
	fetch_cancel(f);
	done(ctx, failed ? &why : NULL);
}

static void
end_soon(struct fetch *f)
{
	event_active(&f->end, EV_TIMEOUT, 0);
}

/* The first failure is the one that is told. */
static void
fail(struct fetch *f, const struct shaped_media *m, const char *reason)
{
	struct span url = m->part->media.data;

	if (f->failed)
		return;
	f->failed = true;
	(void)canon_fail(f->arena, &f->why, ERROR_BAD_REQUEST, NULL, "%.*s cannot be fetched: %s",
	    (int)MIN(url.n, 300), url.p, reason);
	f->why.param = m->param;
	end_soon(f);
}

/* ---- what came ---- */

/* By its first bytes, where the server does not say what it is. */
static const struct {
	const char *magic;
	size_t n, at;
	const char *type;
} magics[] = {
    {"\x89PNG\r\n\x1a\n", 8, 0, "image/png"},
    {"\xff\xd8\xff", 3, 0, "image/jpeg"},
    {"GIF8", 4, 0, "image/gif"},
    {"WEBP", 4, 8, "image/webp"},
    {"%PDF-", 5, 0, "application/pdf"},
};

static struct span
type_of(struct fetch *f, const struct item *i)
{
	char *said = NULL;
	size_t n;

	for (size_t k = 0; k < NELEM(magics); k++)
		if (i->body.len >= magics[k].at + magics[k].n &&
		    memcmp(i->body.data + magics[k].at, magics[k].magic, magics[k].n) == 0)
			return span_of(magics[k].type);
	curl_easy_getinfo(i->easy, CURLINFO_CONTENT_TYPE, &said);
	n = said != NULL ? strcspn(said, ";, \t") : 0;
	if (n == 0 || (n == 24 && strncasecmp(said, "application/octet-stream", n) == 0))
		return i->media->part->media.type;
	said = arena_strndup(f->arena, said, n);
	return said != NULL ? (struct span){said, n} : i->media->part->media.type;
}

static const char *
keep(struct fetch *f, struct item *i)
{
	struct canon_media *m = &i->media->part->media;
	size_t n = (i->body.len + 2) / 3 * 4;
	char *text = arena_alloc(f->arena, n + 1);

	if (text == NULL)
		return "out of memory";
	m->type = type_of(f, i);
	if (EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)i->body.data,
		(int)i->body.len) != (int)n)
		return "out of memory";
	m->data = (struct span){text, n};
	m->source = MEDIA_BASE64;
	return NULL;
}

static const char *
outcome(struct item *i, CURLcode code)
{
	long status = 0;

	if (i->forbidden)
		return "its address is in a range that is not allowed";
	if (i->too_many)
		return "all that the request points to is larger than 64 MB";
	if (i->too_large || code == CURLE_FILESIZE_EXCEEDED)
		return "it is larger than 20 MB";
	if (code == CURLE_OPERATION_TIMEDOUT)
		return "it did not come in time";
	if (code == CURLE_TOO_MANY_REDIRECTS)
		return "it was redirected too often";
	if (code == CURLE_URL_MALFORMAT || code == CURLE_LOGIN_DENIED)
		return "its URL is malformed, or names a user";
	if (code != CURLE_OK)
		return "the server cannot be reached or broke off";
	curl_easy_getinfo(i->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200 || status >= 300)
		return "the server refused it";
	return i->body.len == 0 ? "it is empty" : keep(i->f, i);
}

static void
on_done(void *ctx, CURL *easy, CURLcode code)
{
	struct item *i = ctx;
	const char *reason;

	(void)easy;
	i->job = NULL;
	reason = outcome(i, code);
	buf_clear(&i->body); /* what is wanted of it is in the arena */
	if (reason != NULL)
		fail(i->f, i->media, reason);
	else if (--i->f->left == 0)
		end_soon(i->f);
}

/* ---- the beginning ---- */

#define SET(option, value) ok = ok && curl_easy_setopt(i->easy, option, value) == CURLE_OK

static bool
set_options(struct item *i, const char *ca)
{
	bool ok = true;

	SET(CURLOPT_URL, i->url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 1L);
	SET(CURLOPT_MAXREDIRS, REDIRECTS_MAX);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOPROXY, "");
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_TIMEOUT_MS, MEDIA_MS);
	SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)MEDIA_MAX);
	SET(CURLOPT_USERAGENT, "OmniRoute/" OMNIROUTE_VERSION);
	SET(CURLOPT_FRESH_CONNECT, 1L);
	SET(CURLOPT_FORBID_REUSE, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(CURLOPT_OPENSOCKETDATA, i);
	SET(CURLOPT_PREREQFUNCTION, on_connected);
	SET(CURLOPT_PREREQDATA, i);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, i);
	if (*ca != '\0')
		SET(CURLOPT_CAINFO, ca);
	return ok;
}

static int
item_start(struct fetch *f, struct shaped_media *m, const char *ca)
{
	struct item *i = &f->item[f->n++];

	*i = (struct item){.f = f, .media = m, .easy = curl_easy_init()};
	buf_init(&i->body, MEDIA_MAX);
	i->url = strndup(m->part->media.data.p, m->part->media.data.n);
	if (i->easy == NULL || i->url == NULL || !set_options(i, ca) ||
	    (i->job = curlio_start(worker.curl, i->easy, on_done, i)) == NULL)
		return E_NOMEM;
	f->left++;
	return 0;
}

struct fetch *
fetch_media(struct arena *a, const struct snapshot *snap, struct shaped_media *list,
    fetch_done *done, void *ctx)
{
	const struct snap_settings *s = &snapshot_head(snap)->settings;
	const char *ca = s->ca_file.len > 0 ? snapshot_cstr(snap, s->ca_file) : "";
	struct fetch *f = calloc(1, sizeof *f);

	if (f == NULL)
		return NULL;
	f->arena = a;
	f->done = done;
	f->ctx = ctx;
	f->private = s->fetch_private != 0;
	evtimer_assign(&f->end, worker.base, on_end, f);
	for (; list != NULL && !f->failed; list = list->next) {
		if (f->n == AT_ONCE) {
			fail(f, list, "a request may point to at most 32 of these");
		} else if (item_start(f, list, ca) != 0) {
			fetch_cancel(f);
			return NULL;
		}
	}
	return f;
}
