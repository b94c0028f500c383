/*
 * Replies. Bytes go to the socket at once; what it does not take waits in `out`. A producer that
 * goes on writing after http_write said true is cut off at four stream_buffers and one event of the
 * largest size.
 */
#include <event2/buffer.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "proto/canon_error.h"
#include "proto/dialect.h"
#include "proto/openai_chat.h"
#include "shared/clock.h"
#include "shared/err.h"
#include "shared/log.h"
#include "worker/http_conn.h"

#define IOV_MAX_OUT 8
#define FLUSH_MAX (4u * 1024 * 1024) /* per turn of the loop */
#define ERROR_TEXT_MAX 2048
#define EXTRA_FIRST 448 /* header lines of a usual reply */
#define LATER_MAX 8192  /* a reply up to this size may be copied to leave later */

static const struct {
	int status;
	const char *text;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {424, "Failed Dependency"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {529, "Overloaded"},
};

static const char *
reason_of(int status)
{
	for (size_t i = 0; i < NELEM(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Status";
}

/* ---- what waits for the client --------------------------------------------------------------- */

static void
conn_break(struct http_conn *c)
{
	c->broken = true;
	conn_kick(c);
}

static void
out_add(struct http_conn *c, const struct iovec *v, unsigned n, size_t skip)
{
	if (c->out == NULL && (c->out = evbuffer_new()) == NULL) {
		conn_break(c);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		size_t drop = MIN(skip, v[i].iov_len);
		skip -= drop;
		if (evbuffer_add(c->out, (const char *)v[i].iov_base + drop, v[i].iov_len - drop) !=
		    0) {
			conn_break(c);
			return;
		}
	}
	c->out_len = evbuffer_get_length(c->out);
}

void
conn_put(struct http_conn *c, const struct iovec *iov, unsigned n)
{
	struct iovec v[IOV_MAX_OUT];
	unsigned k = 0;
	size_t total = 0;
	ptrdiff_t sent = 0;
	if (c->dead || c->broken)
		return;
	if (c->held.len > 0)
		v[k++] = (struct iovec){c->held.data, c->held.len};
	for (unsigned i = 0; i < n; i++)
		if (iov[i].iov_len > 0)
			v[k++] = iov[i];
	for (unsigned i = 0; i < k; i++)
		total += v[i].iov_len;
	bool waits = c->out_len > 0;
	if (!waits && total > 0)
		sent = conn_writev(c, v, k);
	if (sent < 0 && sent != E_AGAIN) {
		conn_break(c);
		return;
	}
	sent = MAX(sent, 0);
	if ((size_t)sent < total)
		out_add(c, v, k, (size_t)sent);
	if (!waits && c->out_len > 0)
		conn_deadline(c, http_settings(c->s)->send_timeout_ms);
	buf_clear(&c->held);
}

static void after_flush(struct http_conn *c);

/* How far a run of writes came: false when the connection is lost. */
static bool
out_write(struct http_conn *c)
{
	size_t done = 0;
	while (c->out_len > 0) {
		struct evbuffer_iovec v[IOV_MAX_OUT];
		if (done > FLUSH_MAX) {
			conn_kick(c);
			break;
		}
		int n = evbuffer_peek(c->out, -1, NULL, v, IOV_MAX_OUT);
		ptrdiff_t sent = conn_writev(c, v, (unsigned)MIN(n, IOV_MAX_OUT));
		if (sent == E_AGAIN)
			break;
		if (sent < 0)
			return false;
		evbuffer_drain(c->out, (size_t)sent);
		c->out_len -= (size_t)sent;
		done += (size_t)sent;
	}
	if (done > 0)
		conn_deadline(c, c->out_len > 0 ? http_settings(c->s)->send_timeout_ms : 0);
	return true;
}

static void
out_free(struct http_conn *c)
{
	if (c->out != NULL)
		evbuffer_free(c->out);
	c->out = NULL;
	c->out_len = 0;
}

void
conn_flush(struct http_conn *c)
{
	bool waited = c->out_len > 0 || c->held.len > 0;
	if (c->held.len > 0 && c->out_len == 0)
		conn_put(c, NULL, 0);
	if (c->broken)
		return;
	if (!out_write(c)) {
		conn_left(c, true);
		return;
	}
	if (c->out_len == 0 && waited) {
		out_free(c);
		if (c->phase == PH_BODY)
			conn_deadline(c, http_settings(c->s)->body_timeout_ms);
		else if (c->phase == PH_FLUSH)
			after_flush(c);
	}
	if (!c->dead && c->told && c->paused &&
	    c->out_len < http_settings(c->s)->stream_buffer / 2) {
		c->paused = false;
		c->s->h->on_drain(&c->req);
	}
}

size_t
http_backlog(const struct http_req *r)
{
	return r->conn->out_len + r->conn->held.len;
}

/* ---- the end of a reply ---------------------------------------------------------------------- */

void
conn_done(struct http_conn *c)
{
	struct http_req *r = &c->req;
	http_count(c->s, CTR_bytes_out, r->bytes_sent);
	if (c->s->h->on_done != NULL)
		c->s->h->on_done(r);
}

/* Closing at once would be a reset where the client still sends, and a reset takes the reply away
 * from it. */
static void
linger(struct http_conn *c)
{
	if (c->broken || c->eof) {
		conn_kill(c);
		return;
	}
	conn_request_clear(c);
	conn_shutdown(c);
	c->phase = PH_LINGER;
	conn_waits(c);
	c->linger_end_ns = clock_now_ns() + HTTP_LINGER_ALL_MS * NS_PER_MS;
	conn_deadline(c, HTTP_LINGER_MS);
}

static void
after_flush(struct http_conn *c)
{
	conn_done(c);
	if (!c->keep) {
		linger(c);
		return;
	}
	if (c->body_open) {
		c->phase = PH_DRAIN;
		conn_deadline(c, HTTP_DRAIN_MS);
	} else {
		conn_request_clear(c);
		conn_idle(c);
	}
	if (!c->feeding && c->in.len > 0)
		conn_kick(c);
}

static void
finish(struct http_conn *c)
{
	c->told = false;
	c->phase = PH_FLUSH;
	if (c->broken) {
		c->keep = false;
		after_flush(c);
	} else if (c->out_len == 0 && c->held.len == 0) {
		after_flush(c);
	}
}

/* ---- heads ----------------------------------------------------------------------------------- */

/* Fields that are not the handler's to set. */
static const char *const own_fields[] = {"connection", "content-length", "date", "keep-alive",
    "server", "trailer", "transfer-encoding", "upgrade", "x-request-id"};

static bool
field_fit(const char *name, struct span value)
{
	for (size_t i = 0; i < NELEM(own_fields); i++)
		if (strcasecmp(name, own_fields[i]) == 0)
			return false;
	for (size_t i = 0; i < value.n; i++) {
		unsigned char ch = (unsigned char)value.p[i];
		if ((ch < 0x20 && ch != '\t') || ch == 0x7f)
			return false;
	}
	return name[0] != '\0' && strpbrk(name, ": \t\r\n") == NULL;
}

void
http_header_span(struct http_req *r, const char *name, struct span value)
{
	struct http_conn *c = r->conn;
	size_t len = c->extra.len;
	if (c->started || !field_fit(name, value))
		return;
	if (c->extra.cap == 0 && buf_reserve(&c->extra, EXTRA_FIRST) == NULL)
		c->extra.failed = false; /* then it grows by what it needs */
	if (buf_str(&c->extra, name) != 0 || buf_str(&c->extra, ": ") != 0 ||
	    buf_add(&c->extra, value.p, value.n) != 0 || buf_str(&c->extra, "\r\n") != 0) {
		c->extra.len = len;
		c->extra.failed = false;
	}
}

void
http_header(struct http_req *r, const char *name, const char *value)
{
	http_header_span(r, name, (struct span){value, strlen(value)});
}

static const char *
date_now(struct http_server *s)
{
	uint64_t now = clock_wall_us() / 1000000;
	if (now != s->date_s || s->date[0] == '\0') {
		time_t t = (time_t)now;
		struct tm tm;
		if (gmtime_r(&t, &tm) == NULL ||
		    strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &tm) == 0)
			s->date[0] = '\0';
		s->date_s = now;
	}
	return s->date;
}

/* A short rest of a body can be read away; a longer one, or one that the client may never send,
 * ends the connection. */
static bool
body_allows_keep(const struct http_conn *c)
{
	return !c->body_open ||
	       (!c->expect_continue && !c->chunked_body && c->body_left <= HTTP_DRAIN_MAX);
}

static void
choose_framing(struct http_conn *c, int status, int64_t length)
{
	if (status == 204 || status == 304)
		c->framing = FRAME_NONE;
	else if (length >= 0)
		c->framing = FRAME_LENGTH;
	else
		c->framing = c->minor == 0 ? FRAME_CLOSE : FRAME_CHUNKED;
	c->reply_left = length > 0 ? (uint64_t)length : 0;
	c->keep = c->told && c->keep_alive && !c->s->retiring && !c->surplus && !c->eof &&
		  c->framing != FRAME_CLOSE && body_allows_keep(c) &&
		  http_settings(c->s)->keepalive_timeout_ms > 0;
}

static void
head_lines(struct http_conn *c, struct buf *b, const char *content_type, int64_t length)
{
	char number[64];
	int n = snprintf(number, sizeof(number), "HTTP/1.1 %d ", c->req.status);
	buf_add(b, number, (size_t)n);
	buf_str(b, reason_of(c->req.status));
	buf_str(b, "\r\nDate: ");
	buf_str(b, date_now(c->s));
	if (content_type != NULL &&
	    field_fit("content-type", (struct span){content_type, strlen(content_type)})) {
		buf_str(b, "\r\nContent-Type: ");
		buf_str(b, content_type);
	}
	buf_str(b, "\r\nX-Request-Id: ");
	buf_str(b, c->req.request_id);
	buf_str(b, "\r\n");
	buf_add(b, c->extra.data, c->extra.len);
	if (c->framing == FRAME_LENGTH) {
		n = snprintf(
		    number, sizeof(number), "Content-Length: %llu\r\n", (unsigned long long)length);
		buf_add(b, number, (size_t)n);
	} else if (c->framing == FRAME_CHUNKED) {
		buf_str(b, "Transfer-Encoding: chunked\r\n");
	}
	if (!c->keep)
		buf_str(b, "Connection: close\r\n");
	else if (c->minor == 0)
		buf_str(b, "Connection: keep-alive\r\n");
	buf_str(b, "\r\n");
}

static enum live_counter
counter_of(int status)
{
	return status < 400 ? CTR_replies_2xx : status < 500 ? CTR_replies_4xx : CTR_replies_5xx;
}

/* Leaves the head in s->reply_head. */
static bool
reply_begin(struct http_conn *c, int status, const char *content_type, int64_t length)
{
	struct buf *b = &c->s->reply_head;
	if (c->started)
		bug("a request is answered twice");
	c->started = true;
	c->req.status = status;
	if (status < 300 || status >= 400)
		http_count(c->s, counter_of(status), 1);
	choose_framing(c, status, length);
	buf_reset(b);
	head_lines(c, b, content_type, length);
	buf_clear(&c->extra);
	if (!buf_ok(b)) {
		conn_break(c);
		return false;
	}
	if (c->req.method == HTTP_HEAD)
		c->framing = FRAME_NONE;
	return true;
}

/* ---- whole replies --------------------------------------------------------------------------- */

/*
 * Short replies of one turn of the loop leave together at its end, or when there are HTTP_LATER of
 * them. Sent one by one between other work, each would find its reader asleep again, and to wake a
 * process costs more than all the rest of sending. What is answered on the spot is not held up.
 */
static void
flush_later(struct http_server *s)
{
	while (s->nlater > 0) {
		struct http_conn *c = s->later[0];
		memmove(s->later, s->later + 1, --s->nlater * sizeof(s->later[0]));
		conn_enter(c);
		conn_flush(c);
		conn_leave(c);
	}
}

static void
on_flush(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	flush_later(arg);
}

void
http_reply_init(struct http_server *s)
{
	event_assign(&s->flush, s->base, -1, 0, on_flush, s);
}

void
conn_forget_later(struct http_conn *c)
{
	struct http_server *s = c->s;
	unsigned n = 0;
	for (unsigned i = 0; i < s->nlater; i++)
		if (s->later[i] != c)
			s->later[n++] = s->later[i];
	s->nlater = n;
}

static bool
put_later(struct http_conn *c, const struct iovec v[2])
{
	struct http_server *s = c->s;
	size_t n = v[0].iov_len + v[1].iov_len;
	bool alone = !c->feeding && c->in.len == 0; /* what was pipelined goes on by turns */
	if (!alone || !c->told || c->broken || c->out_len > 0 || c->held.len > 0 || n > LATER_MAX ||
	    buf_reserve(&c->held, n) == NULL)
		return false;
	(void)buf_add(&c->held, v[0].iov_base, v[0].iov_len);
	(void)buf_add(&c->held, v[1].iov_base, v[1].iov_len);
	conn_forget_later(c); /* it may stand there from a reply that a kick has sent already */
	if (s->nlater == HTTP_LATER)
		flush_later(s);
	s->later[s->nlater++] = c;
	event_active(&s->flush, EV_TIMEOUT, 0);
	return true;
}

static void
reply_whole(struct http_conn *c, int status, const char *content_type, const void *body, size_t n)
{
	struct http_req *r = &c->req;
	if (reply_begin(c, status, content_type, (int64_t)n)) {
		struct iovec v[2] = {{c->s->reply_head.data, c->s->reply_head.len},
		    {(void *)(uintptr_t)body, c->framing == FRAME_LENGTH ? n : 0}};
		r->bytes_sent = v[1].iov_len;
		if (!put_later(c, v))
			conn_put(c, v, 2);
	}
	finish(c);
}

/* The body of an error, and its status in the client's dialect. */
static int
error_body(const struct http_conn *c, const struct canon_error *e, struct buf *b, int *status)
{
	const struct dialect *d = dialect_get(c->req.dialect);
	*status = d->error_status(e);
	return d->encode_error(e, span_of(c->req.request_id), b);
}

static void
reply_error(struct http_conn *c, int status, const char *code, const char *message)
{
	struct buf b = BUF_INIT(16 * ERROR_TEXT_MAX);
	int r;
	if (c->req.dialect == DIALECT_NONE || c->req.dialect == DIALECT_CHAT ||
	    c->req.dialect == DIALECT_RESPONSES) {
		r = chat_error_body(&b, status, NULL, code, message);
	} else {
		enum canon_error_class class = canon_error_of_status(status);
		bool usual = canon_error_class(class)->status == status;
		struct canon_error e = {.class = class,
		    .status = usual ? 0 : status,
		    .code = span_of(code),
		    .message =
			span_of(message != NULL ? message : chat_error_kind(status)->message)};
		r = error_body(c, &e, &b, &status);
	}
	if (r == 0)
		reply_whole(c, status, "application/json", b.data, b.len);
	else
		reply_whole(c, status, NULL, NULL, 0);
	buf_clear(&b);
}

/* http itself refuses: the handler, if it knows of the request, is told that it is over. */
void
conn_fail(struct http_conn *c, int status, const char *fmt, ...)
{
	char text[ERROR_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	bool told = c->told;
	c->told = false;
	c->phase = PH_FLUSH;
	if (told)
		c->s->h->on_gone(&c->req);
	if (!c->dead)
		reply_error(c, status, NULL, text);
}

/* The handler's replies: what it says after the connection broke is not heard. */
static bool
handler_enter(struct http_req *r)
{
	conn_enter(r->conn);
	return !r->conn->dead && r->conn->told;
}

void
http_reply(struct http_req *r, int status, const char *content_type, const void *body, size_t n)
{
	struct http_conn *c = r->conn;
	if (handler_enter(r))
		reply_whole(c, status, content_type, body, n);
	conn_leave(c);
}

void
http_error(struct http_req *r, int status, const char *code, const char *fmt, ...)
{
	struct http_conn *c = r->conn;
	char text[ERROR_TEXT_MAX];
	if (fmt != NULL) {
		va_list ap;
		va_start(ap, fmt);
		vsnprintf(text, sizeof(text), fmt, ap);
		va_end(ap);
	}
	if (handler_enter(r))
		reply_error(c, status, code, fmt != NULL ? text : NULL);
	conn_leave(c);
}

void
http_fail(struct http_req *r, const struct canon_error *e)
{
	struct http_conn *c = r->conn;
	struct buf b = BUF_INIT(16 * ERROR_TEXT_MAX);
	char seconds[24];
	int status;
	if (handler_enter(r)) {
		if (r->dialect == DIALECT_NONE)
			r->dialect = DIALECT_CHAT;
		snprintf(seconds, sizeof(seconds), "%llu",
		    (unsigned long long)(e->retry_after_ms / 1000 + (e->retry_after_ms % 1000 != 0)));
		if (e->retry_after_ms != 0)
			http_header(r, "Retry-After", seconds);
		if (error_body(c, e, &b, &status) == 0)
			reply_whole(c, status, "application/json", b.data, b.len);
		else
			reply_error(c, 500, NULL, NULL);
	}
	buf_clear(&b);
	conn_leave(c);
}

/* ---- long replies ---------------------------------------------------------------------------- */

void
http_start(struct http_req *r, int status, const char *content_type, int64_t length)
{
	struct http_conn *c = r->conn;
	if (handler_enter(r) && reply_begin(c, status, content_type, length)) {
		/* With the first bytes if they come in this turn of the loop, else alone. */
		if (buf_add(&c->held, c->s->reply_head.data, c->s->reply_head.len) != 0)
			conn_break(c);
		else
			conn_kick(c);
		c->phase = PH_REPLY;
	}
	conn_leave(c);
}

static void
write_chunked(struct http_conn *c, const void *p, size_t n)
{
	char line[20];
	int len = snprintf(line, sizeof(line), "%zx\r\n", n);
	struct iovec v[3] = {
	    {line, (size_t)len}, {(void *)(uintptr_t)p, n}, {(void *)(uintptr_t) "\r\n", 2}};
	conn_put(c, v, 3);
}

static void
write_payload(struct http_conn *c, const void *p, size_t n)
{
	const struct snap_settings *set = http_settings(c->s);
	uint64_t most = UINT64_C(4) * set->stream_buffer + set->max_event_size;
	if (c->out_len > most || (c->framing == FRAME_LENGTH && n > c->reply_left)) {
		log_error("request_id=%s reply broken off: %s", c->req.request_id,
		    c->out_len > most ? "written faster than the client reads"
				      : "longer than announced");
		conn_break(c);
		return;
	}
	c->req.bytes_sent += n;
	if (c->framing == FRAME_CHUNKED) {
		write_chunked(c, p, n);
		return;
	}
	if (c->framing == FRAME_LENGTH)
		c->reply_left -= n;
	conn_put(c, &(struct iovec){(void *)(uintptr_t)p, n}, 1);
}

bool
http_write(struct http_req *r, const void *p, size_t n)
{
	struct http_conn *c = r->conn;
	bool wait = true;
	if (handler_enter(r) && c->started && !c->broken) {
		if (n > 0 && c->framing != FRAME_NONE)
			write_payload(c, p, n);
		wait = c->broken || c->out_len > http_settings(c->s)->stream_buffer;
		c->paused = wait;
	}
	conn_leave(c);
	return wait;
}

/* A reset, where a plain close would look like the end of the reply. */
static void
break_off(struct http_conn *c)
{
	c->told = false;
	c->keep = false;
	c->phase = PH_FLUSH;
	if (!c->started || c->framing == FRAME_CLOSE)
		(void)setsockopt(
		    c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
	conn_done(c);
	conn_kill(c);
}

void
http_end(struct http_req *r)
{
	struct http_conn *c = r->conn;
	if (handler_enter(r)) {
		static const char last[] = "0\r\n\r\n";
		if (!c->started)
			bug("a reply ends before it was started");
		if (c->framing == FRAME_LENGTH && c->reply_left > 0 && !c->broken) {
			log_error("request_id=%s reply broken off: shorter than announced",
			    r->request_id);
			break_off(c);
		} else {
			size_t n = c->framing == FRAME_CHUNKED ? sizeof(last) - 1 : 0;
			conn_put(c, &(struct iovec){(void *)(uintptr_t)last, n}, 1);
			finish(c);
		}
	}
	conn_leave(c);
}

void
http_abort(struct http_req *r)
{
	struct http_conn *c = r->conn;
	if (handler_enter(r))
		break_off(c);
	conn_leave(c);
}
