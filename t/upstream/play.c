/*
 * play: a behaviour's bytes. Each piece goes out in a write of its own: the next one waits until
 * the socket has taken the last, and for `delay`.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "t/upstream/upstream.h"

#define BULK_AHEAD (256u << 10)

enum step { STEP_IDLE, STEP_HEAD, STEP_BODY, STEP_BULK, STEP_TAIL, STEP_LAST, STEP_DRAIN };

static const char *
reason_of(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {{200, "OK"}, {302, "Found"}, {400, "Bad Request"}, {401, "Unauthorized"},
	    {403, "Forbidden"}, {404, "Not Found"}, {408, "Request Timeout"},
	    {413, "Content Too Large"}, {422, "Unprocessable Content"}, {429, "Too Many Requests"},
	    {500, "Internal Server Error"}, {502, "Bad Gateway"}, {503, "Service Unavailable"},
	    {504, "Gateway Timeout"}};

	for (size_t i = 0; i < NELEM(reasons); i++) {
		if (reasons[i].status == status)
			return reasons[i].text;
	}
	return "Other";
}

/* The body with the request's own Authorization put in, for providers that repeat what they refuse.
 */
static void
expand(struct conn *c)
{
	static const char mark[] = "$authorization";
	const struct behaviour *b = c->play;
	const char *with = c->rec->authorization != NULL ? c->rec->authorization : "";
	char *at = strstr(b->body, mark);
	size_t before, n = strlen(with);

	if (!b->expand || at == NULL) {
		c->body = b->body;
		c->body_len = b->body_len;
		return;
	}
	before = (size_t)(at - b->body);
	c->body_len = b->body_len - (sizeof(mark) - 1) + n;
	c->body = malloc(c->body_len + 1);
	if (c->body == NULL)
		abort();
	memcpy(c->body, b->body, before);
	memcpy(c->body + before, with, n);
	memcpy(c->body + before + n, at + sizeof(mark) - 1, c->body_len - before - n);
	c->body[c->body_len] = '\0';
}

static void
after(struct conn *c, unsigned ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	evtimer_add(c->timer, &tv);
}

static void
put(struct conn *c, const char *p, size_t n)
{
	if (c->rec->first_write_at == 0)
		c->rec->first_write_at = now_ms();
	bufferevent_write(c->bev, p, n);
}

static void
put_piece(struct conn *c, const char *p, size_t n)
{
	struct evbuffer *out = bufferevent_get_output(c->bev);

	if (n == 0)
		return;
	if (c->play->framing == FRAMING_CHUNKED) {
		struct evbuffer *chunk = evbuffer_new();
		evbuffer_add_printf(chunk, "%zx\r\n", n);
		evbuffer_add(chunk, p, n);
		evbuffer_add(chunk, "\r\n", 2);
		evbuffer_add_buffer(out, chunk);
		evbuffer_free(chunk);
	} else {
		put(c, p, n);
	}
}

static void
put_head(struct conn *c)
{
	const struct behaviour *b = c->play;
	char line[128];

	snprintf(line, sizeof(line), "HTTP/1.1 %d %s\r\n", b->status,
	    b->reason != NULL ? b->reason : reason_of(b->status));
	put(c, line, strlen(line));
	if (b->headers != NULL)
		put(c, b->headers, strlen(b->headers));
	if (b->framing == FRAMING_CHUNKED) {
		put(c, "Transfer-Encoding: chunked\r\n", 28);
	} else if (b->framing == FRAMING_LENGTH) {
		uint64_t n = b->length >= 0 ? (uint64_t)b->length
					    : c->body_len + b->units * b->unit_len + b->tail_len;
		snprintf(line, sizeof(line), "Content-Length: %llu\r\n", (unsigned long long)n);
		put(c, line, strlen(line));
	}
	put(c, "\r\n", 2);
}

static void
put_body(struct conn *c)
{
	const struct behaviour *b = c->play;
	size_t n = c->piece < b->npieces ? b->pieces[c->piece]
		   : b->piece > 0        ? b->piece
					 : c->body_len - c->pos;

	n = MIN(n, c->body_len - c->pos);
	c->piece++;
	put_piece(c, c->body + c->pos, n);
	c->pos += n;
	if (c->pos == c->body_len)
		c->step = STEP_BULK;
}

static void
put_bulk(struct conn *c)
{
	const struct behaviour *b = c->play;
	struct evbuffer *out = bufferevent_get_output(c->bev);

	while (c->units < b->units && evbuffer_get_length(out) < BULK_AHEAD) {
		put_piece(c, b->unit, b->unit_len);
		c->units++;
	}
	if (c->units == b->units) {
		bufferevent_setwatermark(c->bev, EV_WRITE, 0, 0);
		c->step = STEP_TAIL;
	}
}

static void
finish(struct conn *c)
{
	enum ending end = c->play->end;

	play_stop(c);
	if (end != END_HANG)
		c->rec->state = "done";
	conn_answered(c, end);
}

/* One write; the drained output brings the next. */
static void
advance(struct conn *c)
{
	const struct behaviour *b = c->play;
	struct evbuffer *out = bufferevent_get_output(c->bev);

	switch ((enum step)c->step) {
	case STEP_IDLE:
		return;
	case STEP_HEAD:
		put_head(c);
		c->step = c->body_len > 0 ? STEP_BODY : STEP_BULK;
		break;
	case STEP_BODY:
		put_body(c);
		break;
	case STEP_BULK:
		put_bulk(c);
		break;
	case STEP_TAIL:
		put_piece(c, b->tail, b->tail_len);
		c->step = STEP_LAST;
		break;
	case STEP_LAST:
		if (b->framing == FRAMING_CHUNKED && !b->unended)
			put(c, "0\r\n\r\n", 5);
		c->step = STEP_DRAIN;
		break;
	case STEP_DRAIN:
		finish(c);
		return;
	}
	if (evbuffer_get_length(out) == 0) /* nothing to write in this step, so no call-back */
		after(c, 0);
}

void
play_drained(struct conn *c)
{
	const struct behaviour *b = c->play;
	unsigned wait = 0;

	if (b == NULL || evtimer_pending(c->timer, NULL))
		return;
	if (c->step == STEP_BODY)
		wait = c->pos == 0 && c->piece == 0 ? b->head_delay : b->delay;
	if (wait > 0)
		after(c, wait);
	else
		advance(c);
}

void
play_timer(int fd, short what, void *ctx)
{
	(void)fd, (void)what;
	advance(ctx);
}

void
play_start(struct conn *c, struct behaviour *b)
{
	c->play = b;
	c->pos = c->piece = 0;
	c->units = 0;
	c->rec->state = "playing";
	expand(c);
	if (b->sndbuf > 0)
		setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_SNDBUF, &b->sndbuf,
		    sizeof(b->sndbuf));
	bufferevent_setwatermark(c->bev, EV_WRITE, b->units > 0 ? BULK_AHEAD / 4 : 0, 0);
	c->step = b->framing != FRAMING_RAW ? STEP_HEAD : c->body_len > 0 ? STEP_BODY : STEP_BULK;
	if (b->first_delay > 0)
		after(c, b->first_delay);
	else
		advance(c);
}

void
play_stop(struct conn *c)
{
	if (c->play == NULL)
		return;
	evtimer_del(c->timer);
	if (c->body != c->play->body)
		free(c->body);
	c->body = NULL;
	behaviour_put(c->play);
	c->play = NULL;
	c->step = STEP_IDLE;
}
