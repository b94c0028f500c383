/* From bytes to requests: heads, their limits and deadlines; whose turn a piece is. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shared/clock.h"
#include "shared/err.h"
#include "worker/http_conn.h"

/* ---- the request in hand --------------------------------------------------------------------- */

void
http_uuid(struct http_server *s, char out[40])
{
	static const char hex[] = "0123456789abcdef";
	if (s->random_left < 16) {
		randombytes_buf(s->random, sizeof(s->random));
		s->random_left = sizeof(s->random);
	}
	uint8_t *b = s->random + (s->random_left -= 16);
	b[6] = (uint8_t)(0x40 | (b[6] & 0x0f));
	b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
	char *p = out;
	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = hex[b[i] >> 4];
		*p++ = hex[b[i] & 15];
	}
	*p = '\0';
}

static bool
id_usable(struct span id)
{
	if (id.n < 1 || id.n > 36)
		return false;
	for (size_t i = 0; i < id.n; i++) {
		char ch = id.p[i];
		if (!((ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') ||
			(ch >= 'a' && ch <= 'z') || ch == '.' || ch == '_' || ch == '-'))
			return false;
	}
	return true;
}

static void
set_request_id(struct http_conn *c, const struct http1_head *h)
{
	struct span id = h != NULL ? http1_find(h, "x-request-id") : (struct span){NULL, 0};
	if (!id_usable(id)) {
		http_uuid(c->s, c->req.request_id);
		return;
	}
	memcpy(c->req.request_id, id.p, id.n);
	c->req.request_id[id.n] = '\0';
}

void
conn_request_clear(struct http_conn *c)
{
	if (c->s->fields_of == c)
		c->s->fields_of = NULL;
	if (c->head != NULL)
		explicit_bzero(c->head, c->head_alloc);
	free(c->head);
	c->head = NULL;
	http_body_free(c);
	buf_clear(&c->extra);
	buf_clear(&c->held);
	c->told = c->accepted = c->body_open = c->chunked_body = c->expect_continue = false;
	c->started = c->paused = c->keep = c->keep_alive = false;
	c->framing = FRAME_NONE;
	c->minor = 1;
}

static void
request_begin(struct http_conn *c)
{
	conn_busy(c);
	conn_request_clear(c);
	memset(&c->req, 0, sizeof(c->req));
	c->req.conn = c;
	c->req.method = HTTP_OTHER;
	c->req.tls = c->ssl != NULL;
	c->req.peer = c->peer;
	c->req.start_ns = clock_now_ns();
}

/* A request that is refused before there is a head to speak of. */
static void
refuse(struct http_conn *c, int status, const char *why)
{
	if (c->req.request_id[0] == '\0') {
		set_request_id(c, NULL);
		peer_resolve(c, NULL, c->s->current());
	}
	http_count(c->s, CTR_bad_requests, 1);
	if (c->s->h->on_refuse != NULL)
		c->s->h->on_refuse(&c->req);
	conn_fail(c, status, "%s", why);
}

void
conn_refuse(struct http_conn *c, int status, const char *why)
{
	request_begin(c);
	refuse(c, status, why);
}

/* ---- head ------------------------------------------------------------------------------------ */

static const struct {
	const char *text;
	enum http_method method;
} methods[] = {
    {"GET", HTTP_GET},
    {"POST", HTTP_POST},
    {"HEAD", HTTP_HEAD},
    {"PUT", HTTP_PUT},
    {"DELETE", HTTP_DELETE},
    {"PATCH", HTTP_PATCH},
    {"OPTIONS", HTTP_OPTIONS},
};

static enum http_method
method_of(struct span text)
{
	for (size_t i = 0; i < NELEM(methods); i++)
		if (text.n == strlen(methods[i].text) &&
		    memcmp(text.p, methods[i].text, text.n) == 0)
			return methods[i].method;
	return HTTP_OTHER;
}

static bool
fields_room(struct http_server *s)
{
	unsigned max = http_settings(s)->max_headers;
	if (s->head.field != NULL && s->head.max_fields == max)
		return true;
	free(s->head.field);
	s->fields_of = NULL;
	s->head.field = calloc(max, sizeof(*s->head.field));
	s->head.max_fields = s->head.field != NULL ? max : 0;
	return s->head.field != NULL;
}

/* Fills s->head from c->head. The array of fields is the server's: one for all connections. */
static int
head_parse(struct http_conn *c, int *status, const char **why)
{
	struct http_server *s = c->s;
	*status = 503;
	*why = "Out of memory";
	if (!fields_room(s))
		return E_NOMEM;
	s->fields_of = c;
	return http1_parse(c->head, c->head_len, &s->head, status, why);
}

static bool
field_is(const struct http1_field *f, const char *name)
{
	size_t len = strlen(name);
	return f->name.n == len && strncasecmp(f->name.p, name, len) == 0;
}

struct span
http_header_get(const struct http_req *r, const char *name)
{
	struct http_conn *c = r->conn;
	int status;
	const char *why;
	if (c->head == NULL || (c->s->fields_of != c && head_parse(c, &status, &why) != 0))
		return (struct span){NULL, 0};
	return http1_find(&c->s->head, name);
}

struct span
http_header_nth(const struct http_req *r, const char *name, unsigned n)
{
	const struct http1_head *h = &r->conn->s->head;
	if (http_header_get(r, name).p == NULL)
		return (struct span){NULL, 0};
	for (unsigned i = 0; i < h->fields; i++)
		if (field_is(&h->field[i], name) && n-- == 0)
			return h->field[i].value;
	return (struct span){NULL, 0};
}

unsigned
http_header_count(const struct http_req *r, const char *name)
{
	const struct http1_head *h = &r->conn->s->head;
	unsigned n = 0;
	if (http_header_get(r, name).p == NULL)
		return 0;
	for (unsigned i = 0; i < h->fields; i++)
		n += field_is(&h->field[i], name);
	return n;
}

/* The head moves to memory of its own, so that its spans hold until the reply is out. */
static bool
head_keep(struct http_conn *c, const char *p, size_t len)
{
	const char *line = memchr(p + 2, '\n', len - 2);
	c->head_alloc = len + (line != NULL ? (size_t)(line - p) : len);
	if ((c->head = malloc(c->head_alloc)) == NULL)
		return false;
	memcpy(c->head, p, len);
	c->head_len = len;
	return true;
}

static int
head_apply(struct http_conn *c, const struct http1_head *h)
{
	struct http_req *r = &c->req;
	r->method_text = h->method;
	r->method = method_of(h->method);
	r->target = h->target;
	c->minor = r->minor = h->minor;
	c->keep_alive = h->keep_alive;
	c->expect_continue = h->expect_continue;
	c->chunked_body = h->chunked;
	c->body_left = h->content_length > 0 ? (uint64_t)h->content_length : 0;
	c->chunk = (struct http1_chunked){0};
	r->expects_body = c->body_open = h->chunked || c->body_left > 0;
	if (h->target.n == 1 && h->target.p[0] == '*') {
		r->path = h->target;
		return 0;
	}
	char *path = c->head + c->head_len;
	ptrdiff_t n = http1_path(h->target, path, c->head_alloc - c->head_len, &r->query);
	r->path = (struct span){path, n > 0 ? (size_t)n : 0};
	return n > 0 ? 0 : E_SYNTAX;
}

static void
head_complete(struct http_conn *c, const char *p, size_t len)
{
	static const char connect[] = "CONNECT ";
	struct http_server *s = c->s;
	int status = 400;
	const char *why = "The path is malformed";
	if (!head_keep(c, p, len)) {
		refuse(c, 503, "Out of memory");
		return;
	}
	if (len > sizeof(connect) && memcmp(p, connect, sizeof(connect) - 1) == 0) {
		refuse(c, 501, "This is no proxy for CONNECT");
		return;
	}
	int r = head_parse(c, &status, &why);
	if (r == 0) {
		set_request_id(c, &s->head);
		peer_resolve(c, &s->head, s->current());
		status = 400;
		why = "The path is malformed";
		r = head_apply(c, &s->head);
	}
	if (r != 0) {
		refuse(c, status, why);
		return;
	}
	http_count(s, CTR_requests, 1);
	conn_deadline(c, 0);
	if (c->surplus) {
		if (s->h->on_refuse != NULL)
			s->h->on_refuse(&c->req);
		http_header(&c->req, "Retry-After", "1");
		conn_fail(c, 503, "The gateway has no free connection");
		return;
	}
	c->phase = PH_WAIT;
	c->told = true;
	s->h->on_head(&c->req);
	if (!c->dead && c->phase == PH_WAIT && c->accepted)
		http_body_start(c);
}

/* The end of the first line is not in sight: it is the target that is too long. */
static int
too_long_status(const char *p, size_t n, size_t max)
{
	return memchr(p, '\n', MIN(n, max)) == NULL ? 414 : 431;
}

static size_t
take_head(struct http_conn *c, const char *p, size_t n)
{
	const struct snap_settings *set = http_settings(c->s);
	size_t max = set->max_header_size;
	if (n == 0)
		return 0;
	/* A head that drips in is looked at line by line, not again from its start for each byte.
	 */
	bool no_line = c->scanned > 0 && c->scanned < n && n < max &&
		       memchr(p + c->scanned, '\n', n - c->scanned) == NULL;
	ptrdiff_t len = no_line ? 0 : http1_head_len(p, n, max);
	c->scanned = n;
	if (len == 0) {
		/* From its first byte on, the whole head has one deadline. */
		if (c->in.len == 0)
			conn_deadline(c, set->header_timeout_ms);
		return 0;
	}
	c->scanned = 0;
	if (len > 0) {
		request_begin(c);
		head_complete(c, p, (size_t)len);
		return (size_t)len;
	}
	if (len == E_TOO_LONG && too_long_status(p, n, max) == 414)
		conn_refuse(c, 414, "The request target is too long");
	else if (len == E_TOO_LONG)
		conn_refuse(c, 431, "The request head is too large");
	else
		conn_refuse(c, 400, "The request head is malformed");
	return 0;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

/* Reads away what is left of a short body whose request was answered early. */
static size_t
take_drain(struct http_conn *c, size_t n)
{
	size_t take = (size_t)MIN((uint64_t)n, c->body_left);
	c->body_left -= take;
	if (c->body_left == 0) {
		c->body_open = false;
		conn_request_clear(c);
		conn_idle(c);
	}
	return take;
}

static size_t
consume(struct http_conn *c, const char *p, size_t n)
{
	size_t used = 0;
	while (!c->dead) {
		enum http_phase before = c->phase;
		size_t took = 0;
		if (before == PH_HEAD && used < n && c->turn_heads++ >= HTTP_TURN_MAX) {
			conn_yield(c);
			break;
		}
		if (before == PH_HEAD)
			took = take_head(c, p + used, n - used);
		else if (before == PH_BODY)
			took = http_body_take(c, p + used, n - used);
		else if (before == PH_DRAIN)
			took = take_drain(c, n - used);
		else if (before == PH_LINGER)
			took = n - used;
		used += took;
		if (took == 0 && c->phase == before)
			break;
	}
	return used;
}

/* Takes n more bytes, or only goes on with what waits. */
void
conn_feed(struct http_conn *c, const char *p, size_t n)
{
	if (c->feeding)
		return;
	c->feeding = true;
	if (p == NULL)
		p = "";
	if (c->phase == PH_WAIT && c->accepted)
		http_body_start(c);
	if (!c->dead && c->in.len == 0) {
		size_t used = consume(c, p, n);
		if (!c->dead && used < n && buf_add(&c->in, p + used, n - used) != 0)
			conn_gone(c);
	} else if (!c->dead && n > 0 && buf_add(&c->in, p, n) != 0) {
		conn_gone(c);
	} else if (!c->dead) {
		size_t used = consume(c, c->in.data, c->in.len);
		if (!c->dead)
			buf_drop(&c->in, used);
	}
	if (!c->dead && c->in.len == 0)
		buf_wipe(&c->in);
	c->feeding = false;
}

static ptrdiff_t
read_any(struct http_conn *c)
{
	size_t want = HTTP_READ_MAX;
	if (c->phase == PH_WAIT || c->phase == PH_REPLY || c->phase == PH_FLUSH || c->yielded) {
		size_t max = http_settings(c->s)->max_header_size;
		want = MIN(want, max - MIN(max, c->in.len));
		if (want == 0)
			return E_AGAIN;
	}
	ptrdiff_t n = conn_read(c, c->s->scratch, want);
	if (n > 0) {
		conn_feed(c, c->s->scratch, (size_t)n);
		explicit_bzero(c->s->scratch, (size_t)n);
	}
	return n;
}

static void
linger_on(struct http_conn *c)
{
	uint64_t now = clock_now_ns();
	if (now >= c->linger_end_ns)
		conn_kill(c);
	else
		conn_deadline(
		    c, MIN((c->linger_end_ns - now) / NS_PER_MS + 1, (uint64_t)HTTP_LINGER_MS));
}

void
conn_readable(struct http_conn *c)
{
	ptrdiff_t n;
	c->turn_heads = 0;
	do {
		if (c->phase == PH_BODY && !c->chunked_body && c->in.len == 0)
			n = http_body_read(c);
		else
			n = read_any(c);
	} while (n > 0 && !c->dead && tls_pending(c));
	if (!c->dead && (n == E_CLOSED || n == E_SYSTEM))
		conn_left(c, n == E_SYSTEM);
	else if (!c->dead && c->phase == PH_LINGER)
		linger_on(c);
}

/* ---- time ------------------------------------------------------------------------------------ */

static bool
only_line_ends(const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++)
		if (b->data[i] != '\r' && b->data[i] != '\n')
			return false;
	return true;
}

void
conn_timeout(struct http_conn *c)
{
	if (c->phase == PH_BODY) {
		conn_fail(c, 408, "The request body did not arrive in time");
	} else if (c->phase == PH_HEAD && !only_line_ends(&c->in)) {
		conn_refuse(c, 408, "The request head did not arrive in time");
	} else {
		conn_gone(c);
	}
}
