/*
 * A relay is a slot around a libcurl easy handle. Slots are kept and used again, with all options
 * that do not change; one that was cancelled from inside its own call-back is handed back when
 * libcurl lets go of it (RELAY_DEAD).
 *
 * The limits are looked after by one timer for all: `sweep_at` is never later than the earliest
 * limit, so that a new relay, whose limits are nearly always later, costs a comparison.
 */
#include "worker/relay.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "providers/catalog.h"
#include "shared/clock.h"
#include "shared/curlio.h"
#include "shared/err.h"
#include "shared/log.h"
#include "shared/snapshot.h"
#include "worker/worker.h"

#define IDLE_HANDLES 64    /* kept for the next requests */
#define BUFFER_SIZE 16384L /* libcurl's receive buffer: one for each running transfer */
#define JOINED_MAX \
	60000u /* bodies up to this size leave with the head in one piece (libcurl: 64 KB) */
#define HEAD_MAX 131072u /* of an answer; libcurl bounds a line at 100 KB */
#define NEVER UINT64_MAX

enum relay_phase {
	RELAY_CONNECTING, /* libcurl looks after connect_timeout */
	RELAY_SENDING,    /* connected; the body is on its way */
	RELAY_WAITING,    /* sent; no head of an answer yet */
	RELAY_ANSWERING,
	RELAY_DEAD, /* nobody waits for it any more */
};

struct relay {
	CURL *easy;
	struct curlio_job *job;
	struct relay_request q;
	const struct relay_handler *h;
	void *ctx;
	enum relay_phase phase;
	size_t total, sent; /* of the body */
	size_t head_bytes;  /* of answers, interim ones too */
	uint64_t touched_ns, linger_ns;
	enum failure failure; /* told by a call-back, stands above libcurl's code */
	bool inside;          /* libcurl is in one of our call-backs for this handle */
	bool paused, stopped, forbidden;
	/* What the handle is set to, to leave out what would not change. */
	char *url, *ca;
	bool http2, insecure;
	TAILQ_ENTRY(relay) link; /* on running or idle */
};
TAILQ_HEAD(relay_list, relay);

static struct relay_list running = TAILQ_HEAD_INITIALIZER(running);
static struct relay_list idle = TAILQ_HEAD_INITIALIZER(idle);
static unsigned idle_count;
static struct event *sweeper;
static uint64_t sweep_at = NEVER;

/* ---- limits ---- */

static uint64_t
limit(uint64_t from_ns, uint32_t ms)
{
	return ms == 0 ? NEVER : from_ns + ms * NS_PER_MS;
}

/* The next moment at which this one has taken too long, and what that is called then. */
static uint64_t
relay_limit(const struct relay *r, enum failure *why)
{
	const struct snap_settings *s = &snapshot_head(r->q.snap)->settings;
	uint64_t at = NEVER;

	*why = FAIL_NONE;
	if (r->phase == RELAY_DEAD) /* and the snapshot may be gone */
		return NEVER;
	if (r->linger_ns != 0)
		return r->linger_ns;
	if (r->paused) {
		at = NEVER;
	} else if (r->phase == RELAY_SENDING || r->phase == RELAY_WAITING) {
		*why = FAIL_FIRST_BYTE_TIMEOUT;
		at = limit(r->touched_ns, s->first_byte_timeout_ms);
	} else if (r->phase == RELAY_ANSWERING) {
		*why = FAIL_IDLE_TIMEOUT;
		at = limit(r->touched_ns, s->idle_timeout_ms);
	}
	if (r->q.deadline_ns != 0 && r->q.deadline_ns < at) {
		*why = FAIL_TOTAL_TIMEOUT;
		at = r->q.deadline_ns;
	}
	return at;
}

static void
sweep_by(uint64_t at_ns, uint64_t now)
{
	uint64_t us = at_ns <= now ? 0 : (at_ns - now + NS_PER_US - 1) / NS_PER_US;
	struct timeval tv = {
	    .tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000)};

	if (at_ns >= sweep_at)
		return;
	if (event_add(sweeper, &tv) == 0)
		sweep_at = at_ns;
	else
		log_error("a timer cannot be set: upstream time limits are late");
}

static void
relay_touch(struct relay *r, enum relay_phase phase)
{
	enum failure why;

	if (r->phase == RELAY_DEAD)
		return;
	r->phase = phase;
	r->touched_ns = clock_now_ns();
	sweep_by(relay_limit(r, &why), r->touched_ns);
}

/* ---- slots ---- */

static void
relay_free(struct relay *r)
{
	curl_easy_cleanup(r->easy);
	free(r->url);
	free(r->ca);
	free(r);
}

/* Back to the idle ones, pointing at nothing of the request any more. */
static void
relay_put(struct relay *r)
{
	TAILQ_REMOVE(&running, r, link);
	if (idle_count >= IDLE_HANDLES) {
		relay_free(r);
		return;
	}
	curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(r->easy, CURLOPT_POSTFIELDS, NULL);
	memset(&r->q, 0, sizeof r->q);
	r->job = NULL;
	r->h = NULL;
	r->ctx = NULL;
	TAILQ_INSERT_HEAD(&idle, r, link);
	idle_count++;
}

/* The relay is given back before its owner hears of the end: the owner may start the next one. */
static void
relay_finish(struct relay *r, enum failure f)
{
	const struct relay_handler *h = r->h;
	void *ctx = r->ctx;
	bool dead = r->phase == RELAY_DEAD;

	relay_put(r);
	if (!dead)
		h->done(ctx, f);
}

static void
on_sweep(evutil_socket_t fd, short what, void *arg)
{
	uint64_t now = clock_now_ns(), next = NEVER;
	struct relay *r, *after;
	enum failure why;

	(void)fd;
	(void)what;
	(void)arg;
	sweep_at = NEVER;
	for (r = TAILQ_FIRST(&running); r != NULL; r = after) {
		uint64_t at = relay_limit(r, &why);

		after = TAILQ_NEXT(r, link);
		if (at > now) {
			next = MIN(next, at);
			continue;
		}
		curlio_cancel(r->job);
		relay_finish(r, why);
		/* The owner may have done anything to the list. */
		after = TAILQ_FIRST(&running);
		next = NEVER;
	}
	sweep_by(next, now);
}

/* ---- libcurl's call-backs ---- */

static bool
address_allowed(const struct relay *r, const struct sockaddr *sa)
{
	const struct snap_provider *p = snapshot_provider(r->q.snap, r->q.conn->provider);

	if (address_forbidden(sa))
		return false;
	return !address_private(sa) || (p != NULL && p->local) ||
	       snapshot_head(r->q.snap)->settings.allow_private;
}

static curl_socket_t
on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *sa)
{
	struct relay *r = ctx;

	if (purpose != CURLSOCKTYPE_IPCXN || r->phase == RELAY_DEAD)
		return CURL_SOCKET_BAD;
	if (!address_allowed(r, &sa->addr)) {
		r->forbidden = true;
		return CURL_SOCKET_BAD;
	}
	return socket(sa->family, sa->socktype | SOCK_CLOEXEC, sa->protocol);
}

/* The connection stands, new or kept; nothing was sent on it. */
static int
on_connected(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
	struct relay *r = ctx;
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = {.sin_family = AF_INET};
	const struct sockaddr *sa = (const void *)&four;

	(void)local_ip;
	(void)port;
	(void)local_port;
	if (r->phase == RELAY_DEAD)
		return CURL_PREREQFUNC_ABORT;
	if (inet_pton(AF_INET, ip, &four.sin_addr) != 1) {
		if (inet_pton(AF_INET6, ip, &six.sin6_addr) != 1)
			return CURL_PREREQFUNC_ABORT;
		sa = (const void *)&six;
	}
	if (!address_allowed(r, sa)) {
		r->forbidden = true;
		return CURL_PREREQFUNC_ABORT;
	}
	relay_touch(r, r->total > JOINED_MAX ? RELAY_SENDING : RELAY_WAITING);
	return CURL_PREREQFUNC_OK;
}

static size_t
on_read(char *out, size_t size, size_t count, void *ctx)
{
	struct relay *r = ctx;
	size_t room = size * count, at = r->sent, got = 0;

	if (r->phase == RELAY_DEAD)
		return CURL_READFUNC_ABORT;
	for (size_t i = 0; i < NELEM(r->q.body) && got < room; i++) {
		struct span b = r->q.body[i];

		if (at >= b.n) {
			at -= b.n;
			continue;
		}
		size_t n = MIN(b.n - at, room - got);
		memcpy(out + got, b.p + at, n);
		got += n;
		at = 0;
	}
	r->sent += got;
	if (r->phase == RELAY_SENDING || r->phase == RELAY_WAITING)
		relay_touch(r, r->sent == r->total ? RELAY_WAITING : RELAY_SENDING);
	return got;
}

/* libcurl begins again on a fresh connection when a kept one turns out to be closed. */
static int
on_seek(void *ctx, curl_off_t offset, int origin)
{
	struct relay *r = ctx;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > r->total)
		return CURL_SEEKFUNC_FAIL;
	r->sent = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

static size_t
on_header(char *p, size_t size, size_t n, void *ctx)
{
	struct relay *r = ctx;

	n *= size;
	if (r->phase == RELAY_DEAD)
		return 0;
	r->head_bytes += n;
	if (r->head_bytes > HEAD_MAX)
		r->failure = FAIL_TOO_LARGE;
	else if (headers_take_line(r->q.arena, r->q.head, p, n) != 0)
		r->failure = FAIL_INTERNAL;
	if (r->failure != FAIL_NONE)
		return 0;
	/* One look at the clock for a head, at its end. An interim answer (1xx) is none. */
	if (n <= 2) {
		relay_touch(r, r->q.head->status >= 200 ? RELAY_ANSWERING : r->phase);
		if (r->q.head->status >= 200 && r->h->head != NULL)
			r->h->head(r->ctx);
	}
	return n;
}

/* The upstream must hear of it at once, over HTTP/2 too: see curlio.h. */
static size_t
break_off(struct relay *r)
{
	curl_easy_setopt(r->easy, CURLOPT_FORBID_REUSE, 1L);
	return CURL_WRITEFUNC_ERROR;
}

static size_t
on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct relay *r = ctx;
	enum relay_verdict v;

	n *= size;
	if (r->phase == RELAY_DEAD)
		return break_off(r);
	if (r->q.head->status >= 300 && r->q.head->status < 400)
		return n;
	relay_touch(r, RELAY_ANSWERING);
	r->inside = true;
	v = r->h->data(r->ctx, p, n);
	r->inside = false;
	if (r->phase == RELAY_DEAD)
		return break_off(r);
	if (v == RELAY_GO)
		return n;
	r->stopped = v == RELAY_STOP;
	r->paused = v == RELAY_PAUSE;
	return r->paused ? CURL_WRITEFUNC_PAUSE : break_off(r);
}

/* ---- the end ---- */

static const struct {
	CURLcode code;
	enum failure before, after; /* the head of the answer */
} codes[] = {
    {CURLE_COULDNT_RESOLVE_HOST, FAIL_RESOLVE, FAIL_RESOLVE},
    {CURLE_COULDNT_CONNECT, FAIL_CONNECT, FAIL_CONNECT},
    {CURLE_OPERATION_TIMEDOUT, FAIL_CONNECT_TIMEOUT, FAIL_CONNECT_TIMEOUT},
    {CURLE_SSL_CONNECT_ERROR, FAIL_TLS, FAIL_CUT},
    {CURLE_PEER_FAILED_VERIFICATION, FAIL_TLS, FAIL_TLS},
    {CURLE_SSL_CERTPROBLEM, FAIL_TLS, FAIL_TLS},
    {CURLE_SSL_CIPHER, FAIL_TLS, FAIL_TLS},
    {CURLE_SSL_CACERT_BADFILE, FAIL_TLS, FAIL_TLS},
    {CURLE_SSL_ISSUER_ERROR, FAIL_TLS, FAIL_TLS},
    {CURLE_SSL_INVALIDCERTSTATUS, FAIL_TLS, FAIL_TLS},
    {CURLE_SEND_ERROR, FAIL_SEND, FAIL_CUT},
    {CURLE_SEND_FAIL_REWIND, FAIL_SEND, FAIL_SEND},
    {CURLE_RECV_ERROR, FAIL_RESET, FAIL_CUT},
    {CURLE_GOT_NOTHING, FAIL_RESET, FAIL_RESET},
    {CURLE_PARTIAL_FILE, FAIL_CUT, FAIL_CUT},
    {CURLE_HTTP2, FAIL_RESET, FAIL_CUT},
    {CURLE_HTTP2_STREAM, FAIL_RESET, FAIL_CUT},
    {CURLE_BAD_CONTENT_ENCODING, FAIL_MALFORMED, FAIL_CUT},
    {CURLE_OUT_OF_MEMORY, FAIL_MALFORMED, FAIL_INTERNAL}, /* before: a line without end, too */
    {CURLE_FAILED_INIT, FAIL_INTERNAL, FAIL_INTERNAL},
};

static enum failure
failure_of(const struct relay *r, CURLcode code)
{
	bool answering = r->phase == RELAY_ANSWERING;

	if (r->failure != FAIL_NONE)
		return r->failure;
	if (r->stopped)
		return FAIL_NONE;
	if (code == CURLE_OK) {
		int status = r->q.head->status;

		if (!answering) /* it ended within the head, which libcurl takes for its end */
			return r->head_bytes == 0 ? FAIL_RESET : FAIL_CUT;
		return status >= 300 && status < 400 ? FAIL_REDIRECT : FAIL_NONE;
	}
	if (r->forbidden && (code == CURLE_COULDNT_CONNECT || code == CURLE_ABORTED_BY_CALLBACK))
		return FAIL_FORBIDDEN_ADDRESS;
	for (size_t i = 0; i < NELEM(codes); i++)
		if (codes[i].code == code)
			return answering ? codes[i].after : codes[i].before;
	return answering ? FAIL_CUT : FAIL_MALFORMED;
}

static void
on_done(void *ctx, CURL *easy, CURLcode code)
{
	struct relay *r = ctx;

	(void)easy;
	if (code != CURLE_OK && r->phase != RELAY_DEAD && !r->stopped)
		log_debug("upstream transfer ended: %s", curl_easy_strerror(code));
	relay_finish(r, failure_of(r, code));
}

/* ---- the beginning ---- */

#define SET(option, value) ok = ok && curl_easy_setopt(r->easy, option, value) == CURLE_OK

static bool
set_for_ever(struct relay *r)
{
	bool ok = true;

	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_PROXY, "");   /* and none from the environment */
	SET(CURLOPT_NOPROXY, ""); /* saves a look at the environment for each request */
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PATH_AS_IS, 1L);
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_BUFFERSIZE, BUFFER_SIZE);
	SET(CURLOPT_USERAGENT, "OmniRoute/" OMNIROUTE_VERSION);
	SET(CURLOPT_ACCEPT_ENCODING, "gzip, deflate");
	SET(CURLOPT_POST, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET(CURLOPT_OPENSOCKETDATA, r);
	SET(CURLOPT_PREREQFUNCTION, on_connected);
	SET(CURLOPT_PREREQDATA, r);
	SET(CURLOPT_READFUNCTION, on_read);
	SET(CURLOPT_READDATA, r);
	SET(CURLOPT_SEEKFUNCTION, on_seek);
	SET(CURLOPT_SEEKDATA, r);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, r);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, r);
	return ok;
}

/* Notes in *now what an option is set to. False: it is that already. */
static bool
differs(char **now, const char *want, bool *ok)
{
	if (*now != NULL && strcmp(*now, want) == 0)
		return false;
	free(*now);
	*now = strdup(want);
	*ok = *ok && *now != NULL;
	return true;
}

static bool
set_upstream(struct relay *r)
{
	const struct snap_conn *conn = r->q.conn;
	const struct snap_settings *s = &snapshot_head(r->q.snap)->settings;
	const char *ca = s->ca_file.len > 0 ? snapshot_cstr(r->q.snap, s->ca_file) : "";
	const char *url = r->q.url;
	char *built_in = NULL;
	bool ok = true;

	if (differs(&r->url, url, &ok))
		SET(CURLOPT_URL, url);
	if (differs(&r->ca, ca, &ok)) {
		curl_easy_getinfo(r->easy, CURLINFO_CAINFO, &built_in);
		SET(CURLOPT_CAINFO, *ca != '\0' ? ca : built_in);
	}
	if (r->http2 != (conn->http2 != 0)) {
		r->http2 = conn->http2 != 0;
		SET(CURLOPT_HTTP_VERSION,
		    (long)(r->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
	}
	if (r->insecure != (conn->insecure != 0)) {
		r->insecure = conn->insecure != 0;
		SET(CURLOPT_SSL_VERIFYPEER, (long)!r->insecure);
		SET(CURLOPT_SSL_VERIFYHOST, r->insecure ? 0L : 2L);
	}
	SET(CURLOPT_CONNECTTIMEOUT_MS, (long)s->connect_timeout_ms);
	return ok;
}

/* A small body is one piece that libcurl sends together with the head; a large one is read from
 * where it lies. */
static bool
set_request(struct relay *r)
{
	struct relay_request *q = &r->q;
	bool ok = true;

	r->total = q->body[0].n + q->body[1].n + q->body[2].n;
	SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->total);
	SET(CURLOPT_HTTPHEADER, q->headers);
	if (r->total <= JOINED_MAX) {
		char *p = arena_alloc(q->arena, r->total), *at = p;

		for (size_t i = 0; p != NULL && i < NELEM(q->body); i++) {
			if (q->body[i].n > 0)
				memcpy(at, q->body[i].p, q->body[i].n);
			at += q->body[i].n;
		}
		ok = ok && p != NULL;
		SET(CURLOPT_POSTFIELDS, p);
	} else {
		SET(CURLOPT_POSTFIELDS, NULL);
	}
	return ok;
}

static struct relay *
relay_get(void)
{
	struct relay *r = TAILQ_FIRST(&idle);

	if (r != NULL) {
		TAILQ_REMOVE(&idle, r, link);
		idle_count--;
	} else {
		if ((r = calloc(1, sizeof *r)) == NULL)
			return NULL;
		if ((r->easy = curl_easy_init()) == NULL || !set_for_ever(r)) {
			relay_free(r);
			return NULL;
		}
	}
	TAILQ_INSERT_TAIL(&running, r, link);
	return r;
}

struct relay *
relay_start(const struct relay_request *q, const struct relay_handler *h, void *ctx)
{
	struct relay *r;
	enum failure why;

	if (sweeper == NULL && (sweeper = evtimer_new(worker.base, on_sweep, NULL)) == NULL)
		return NULL;
	if ((r = relay_get()) == NULL)
		return NULL;
	r->q = *q;
	r->h = h;
	r->ctx = ctx;
	r->phase = RELAY_CONNECTING;
	r->sent = r->head_bytes = 0;
	r->linger_ns = 0;
	r->failure = FAIL_NONE;
	r->inside = r->paused = r->stopped = r->forbidden = false;
	q->head->status = 0;
	q->head->fields = 0;
	q->head->length = 0;
	q->head->content_type = (struct span){NULL, 0};
	if (!set_upstream(r) || !set_request(r) ||
	    (r->job = curlio_start(worker.curl, r->easy, on_done, r)) == NULL) {
		TAILQ_REMOVE(&running, r, link);
		relay_free(r);
		return NULL;
	}
	sweep_by(relay_limit(r, &why), clock_now_ns());
	return r;
}

void
relay_cancel(struct relay *r)
{
	r->phase = RELAY_DEAD;
	if (r->inside) /* libcurl hears of it when the call-back returns, and then on_done comes */
		return;
	curlio_cancel(r->job);
	relay_put(r);
}

void
relay_resume(struct relay *r)
{
	if (!r->paused)
		return;
	r->paused = false;
	relay_touch(r, r->phase);
	curlio_unpause(r->job);
}

void
relay_linger(struct relay *r, unsigned ms)
{
	uint64_t now = clock_now_ns();

	if (r->linger_ns != 0)
		return;
	r->linger_ns = now + ms * NS_PER_MS;
	sweep_by(r->linger_ns, now);
}

void
relay_shutdown(void)
{
	struct relay *r;

	while ((r = TAILQ_FIRST(&idle)) != NULL) {
		TAILQ_REMOVE(&idle, r, link);
		relay_free(r);
	}
	idle_count = 0;
	if (sweeper != NULL)
		event_free(sweeper);
	sweeper = NULL;
	sweep_at = NEVER;
}
