/* The body of a request: in which framing it comes, how much of it, and how fast; and what all of
 * them take together. */
#include <string.h>

#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "worker/http_conn.h"

#define BODY_STEP \
	65536 /* room made for a body beyond what has arrived; a length alone is no reason for \
		 memory */

/*
 * Silence is bounded, and so is a trickle that is just not silent: bytes buy time, and nobody has
 * more of it in hand than body_timeout, however much came before.
 */
static void
body_deadline(struct http_conn *c, size_t bytes)
{
	uint64_t ms = http_settings(c->s)->body_timeout_ms, now = clock_now_ns();
	uint64_t most = now + ms * NS_PER_MS;
	uint64_t end = c->body_end_ns + bytes * (NS_PER_SEC / HTTP_BODY_RATE);

	c->body_end_ns = MIN(end, most);
	conn_deadline(c, ms == 0                ? 0
			 : c->body_end_ns > now ? (c->body_end_ns - now) / NS_PER_MS + 1
						: 1);
}

static void
body_too_large(struct http_conn *c)
{
	uint64_t max = c->body_ceiling;
	if (max == 0)
		conn_fail(c, 413, "This request must not have a body");
	else if (max % 1048576 == 0)
		conn_fail(c, 413, "Request body too large. Maximum allowed: %llu MB",
		    (unsigned long long)(max / 1048576));
	else
		conn_fail(c, 413, "Request body too large. Maximum allowed: %.3g MB",
		    (double)max / 1048576);
}

/* ---- what all bodies hold together --------------------------------------------------------- */

static void
body_recount(struct http_conn *c)
{
	c->s->bodies = c->s->bodies - c->body_held + c->body.cap;
	c->body_held = c->body.cap;
}

void
http_body_free(struct http_conn *c)
{
	buf_clear(&c->body);
	body_recount(c);
}

/*
 * What is held counts, not what was announced: an upload that says 50 MB and sends nothing takes no
 * room from anybody. A body that is alone always fits.
 */
static bool
body_fits(const struct http_conn *c, uint64_t size)
{
	uint64_t max = http_settings(c->s)->max_body_memory;
	uint64_t others = c->s->bodies - c->body_held;
	return max == 0 || others == 0 || (others <= max && size <= max - others);
}

static void
body_refuse(struct http_conn *c)
{
	http_count(c->s, CTR_refused_memory, 1);
	if (http_may_warn(c->s))
		log_warn("max_body_memory is reached: a request is refused");
	http_header(&c->req, "Retry-After", "1");
	conn_fail(c, 503, "The gateway holds as many request bodies as it may; try again");
}

/* Room for n more bytes. It is asked for first, since only buf knows by how much it grows; memory
 * that nobody has written to yet costs nothing. */
static char *
body_reserve(struct http_conn *c, size_t n)
{
	char *to = buf_reserve(&c->body, n);
	bool grown = c->body.cap > c->body_held;
	body_recount(c);
	if (to == NULL) {
		conn_fail(c, 503, "Out of memory");
		return NULL;
	}
	if (grown && !body_fits(c, c->body_held)) {
		body_refuse(c);
		return NULL;
	}
	return to;
}

static bool
body_add(struct http_conn *c, const char *p, size_t n)
{
	char *to = body_reserve(c, n);
	if (to == NULL)
		return false;
	memcpy(to, p, n);
	c->body.len += n;
	return true;
}

/* ---- how it comes --------------------------------------------------------------------------- */

static void
body_complete(struct http_conn *c)
{
	struct http_req *r = &c->req;
	conn_deadline(c, 0);
	c->body_open = false;
	c->phase = PH_REPLY;
	r->body = (struct span){c->body.data, c->body.len};
	http_count(c->s, CTR_bytes_in, c->body.len);
	c->s->h->on_body(r);
}

/* on_head is over and the handler wants the body. */
void
http_body_start(struct http_conn *c)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	if (!c->chunked_body && c->body_left > c->body_ceiling) {
		body_too_large(c);
		return;
	}
	if (!c->body_open) {
		body_complete(c);
		return;
	}
	if (!c->chunked_body && !body_fits(c, c->body_left)) {
		body_refuse(c);
		return;
	}
	uint64_t most = c->chunked_body ? c->body_ceiling : c->body_left;
	buf_init(&c->body, (size_t)MIN(most, (uint64_t)SIZE_MAX / 4));
	c->phase = PH_BODY;
	c->body_end_ns = UINT64_MAX / 2;
	body_deadline(c, 0);
	if (c->expect_continue) {
		c->expect_continue = false;
		conn_put(c, &(struct iovec){(void *)(uintptr_t)go_on, sizeof(go_on) - 1}, 1);
	}
}

void
http_accept_body(struct http_req *r, uint64_t ceiling)
{
	struct http_conn *c = r->conn;
	if (c->phase != PH_WAIT || c->accepted)
		return;
	c->accepted = true;
	c->body_ceiling = ceiling;
	if (!c->feeding)
		conn_kick(c);
}

static size_t
take_sized(struct http_conn *c, const char *p, size_t n)
{
	size_t take = (size_t)MIN((uint64_t)n, c->body_left);
	if (c->body.cap == 0 && c->body_left <= BODY_STEP &&
	    body_reserve(c, (size_t)c->body_left) == NULL)
		return 0;
	if (!body_add(c, p, take))
		return 0;
	c->body_left -= take;
	if (c->body_left == 0)
		body_complete(c);
	return take;
}

static size_t
take_chunked(struct http_conn *c, const char *p, size_t n)
{
	size_t used = 0;
	while (used < n) {
		size_t step;
		struct span data;
		int r = http1_chunk(&c->chunk, p + used, n - used, &step, &data);
		used += step;
		if (r < 0) {
			http_count(c->s, CTR_bad_requests, 1);
			conn_fail(c, 400, "The chunked body is malformed");
			return used;
		}
		if (data.n > c->body_ceiling - c->body.len) {
			body_too_large(c);
			return used;
		}
		if (data.n > 0 && !body_add(c, data.p, data.n))
			return used;
		if (r == CHUNK_END) {
			body_complete(c);
			return used;
		}
	}
	return used;
}

size_t
http_body_take(struct http_conn *c, const char *p, size_t n)
{
	if (n == 0)
		return 0;
	body_deadline(c, n);
	return c->chunked_body ? take_chunked(c, p, n) : take_sized(c, p, n);
}

/* The rest of a sized body goes straight to its place. */
ptrdiff_t
http_body_read(struct http_conn *c)
{
	size_t want = (size_t)MIN(c->body_left, (uint64_t)MAX(BODY_STEP, c->body.len));
	char *to = body_reserve(c, want);
	if (to == NULL)
		return E_NOMEM;
	ptrdiff_t n = conn_read(c, to, want);
	if (n <= 0)
		return n;
	c->body.len += (size_t)n;
	c->body_left -= (uint64_t)n;
	if (c->body_left == 0)
		body_complete(c);
	else
		body_deadline(c, (size_t)n);
	return n;
}
