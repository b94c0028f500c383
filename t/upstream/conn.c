/*
 * conn: one connection. Reads a request to its end unless a behaviour answers early, then lets it
 * play. Strict: what a gateway may not send is written down as a fault and answered with 400.
 */
#include <event2/bufferevent_ssl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "t/upstream/upstream.h"

static struct conn *all;
static unsigned long count;

static void read_request(struct conn *c);

static void
on_read(struct bufferevent *bev, void *ctx)
{
	(void)bev;
	read_request(ctx);
}

static void
on_write(struct bufferevent *bev, void *ctx)
{
	(void)bev;
	play_drained(ctx);
}

static void
on_event(struct bufferevent *bev, short what, void *ctx)
{
	struct conn *c = ctx;

	(void)bev;
	if ((what & BEV_EVENT_CONNECTED) != 0)
		return;
	if (c->rec != NULL) {
		c->rec->state = "gone";
		c->rec->gone_at = now_ms();
	}
	conn_free(c);
}

static void
on_output(struct evbuffer *out, const struct evbuffer_cb_info *info, void *ctx)
{
	struct conn *c = ctx;

	(void)out;
	if (c->play == NULL || info->n_deleted == 0)
		return;
	c->rec->sent += info->n_deleted;
	c->rec->last_write_at = now_ms();
}

void
conn_new(struct event_base *base, int fd, void *ssl_ctx)
{
	struct conn *c = calloc(1, sizeof(*c));
	int on = 1;

	if (c == NULL)
		abort();
	c->number = ++count;
	c->tls = ssl_ctx != NULL;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->bev = c->tls ? bufferevent_openssl_socket_new(base, fd, SSL_new(ssl_ctx),
			      BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE)
			: bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	c->timer = evtimer_new(base, play_timer, c);
	if (c->bev == NULL || c->timer == NULL)
		abort();
	c->next = all;
	c->prev = &all;
	if (all != NULL)
		all->prev = &c->next;
	all = c;
	bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
	evbuffer_add_cb(bufferevent_get_output(c->bev), on_output, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

void
conn_free(struct conn *c)
{
	play_stop(c);
	if (c->rec != NULL)
		c->rec->open = false;
	*c->prev = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	event_free(c->timer);
	bufferevent_free(c->bev);
	free(c);
}

void
conn_free_all(void)
{
	while (all != NULL)
		conn_free(all);
}

static void
end_record(struct conn *c)
{
	c->rec->open = false;
	c->rec = NULL;
	c->answered = c->in_body = false;
}

static void
say_goodbye(struct conn *c, bool notify)
{
	if (c->tls && notify)
		SSL_shutdown(bufferevent_openssl_get_ssl(c->bev));
	shutdown(bufferevent_getfd(c->bev), SHUT_WR);
	c->closing = true;
	bufferevent_enable(c->bev, EV_READ);
}

void
conn_answered(struct conn *c, enum ending end)
{
	struct linger hard = {.l_onoff = 1, .l_linger = 0};

	bufferevent_enable(c->bev, EV_READ);
	switch (end) {
	case END_HANG:
		c->rec->state = "hang";
		c->answered = true;
		return;
	case END_RST:
		setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		conn_free(c);
		return;
	case END_CLOSE:
	case END_FIN:
		end_record(c);
		say_goodbye(c, end == END_CLOSE);
		return;
	case END_KEEP:
		break;
	}
	if (c->in_body) { /* an early answer: the rest of the body is still to come */
		c->answered = true;
		read_request(c);
		return;
	}
	end_record(c);
	if (!c->keep_alive)
		say_goodbye(c, true);
	else
		read_request(c);
}

static void
refuse(struct conn *c, const char *fault)
{
	static const char reply[] =
	    "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

	c->rec->fault = fault;
	c->rec->state = "bad";
	bufferevent_write(c->bev, reply, sizeof(reply) - 1);
	end_record(c);
	c->closing = true;
}

static char *
model_of(struct evbuffer *body)
{
	size_t n = evbuffer_get_length(body);
	json_t *o = n == 0 ? NULL
			   : json_loadb((char *)evbuffer_pullup(body, -1), n,
				 JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
	const char *s = json_string_value(json_object_get(o, "model"));
	char *model = strdup(s != NULL ? s : "");

	json_decref(o);
	return model;
}

static void
dispatch(struct conn *c)
{
	static const char none[] =
	    "{\"error\":{\"message\":\"upstream: nothing is scripted for this request\"}}";
	struct behaviour *b;
	struct record *r = c->rec;

	r->body_at = now_ms();
	c->in_body = false;
	if (admin_handle(c)) {
		end_record(c);
		return;
	}
	if (c->answered) { /* early, and this was the rest of it */
		end_record(c);
		return;
	}
	r->model = model_of(r->body);
	b = script_take(r->target, r->model, r->key);
	if (b != NULL) {
		play_start(c, b);
		return;
	}
	r->fault = "nothing scripted";
	r->state = "done";
	evbuffer_add_printf(bufferevent_get_output(c->bev),
	    "HTTP/1.1 501 Not Implemented\r\nContent-Type: application/json\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    sizeof(none) - 1, none);
	end_record(c);
}

static void
keep(struct record *r, struct evbuffer *in, size_t n)
{
	size_t room = BODY_KEPT - evbuffer_get_length(r->body);
	size_t take = MIN(n, room);

	r->body_len += n;
	evbuffer_remove_buffer(in, r->body, take);
	evbuffer_drain(in, n - take);
}

/* True when the body is complete. */
static bool
read_chunks(struct conn *c, struct evbuffer *in)
{
	for (;;) {
		size_t have = evbuffer_get_length(in), n;
		char *line, *end;

		if (c->left > 0) {
			n = MIN(have, (size_t)c->left);
			if (n == 0)
				return false;
			keep(c->rec, in, n);
			c->left -= (int64_t)n;
			if (c->left == 0)
				c->left = -2; /* its CR LF */
			continue;
		}
		if ((line = evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF_STRICT)) == NULL)
			return false;
		if (c->left == -2) {
			c->left = 0;
		} else if (c->left == -3) { /* trailers */
			bool last = *line == '\0';
			free(line);
			if (last)
				return true;
			continue;
		} else {
			c->left = (int64_t)strtoull(line, &end, 16);
			if (end == line)
				c->rec->fault = "bad chunk size";
			if (c->left == 0)
				c->left = -3;
		}
		free(line);
	}
}

static bool
read_body(struct conn *c, struct evbuffer *in)
{
	if (c->chunked)
		return read_chunks(c, in);
	if (c->left > 0) {
		size_t n = MIN(evbuffer_get_length(in), (size_t)c->left);
		keep(c->rec, in, n);
		c->left -= (int64_t)n;
	}
	return c->left == 0;
}

static const char *
take_field(struct conn *c, char *line, bool *has_length)
{
	struct record *r = c->rec;
	char *colon = strchr(line, ':'), *value, *word;

	if (colon == NULL || colon == line || colon[-1] == ' ' || *line == ' ' || *line == '\t')
		return "bad header line";
	*colon = '\0';
	value = colon + 1 + strspn(colon + 1, " \t");
	if (strcasecmp(line, "content-length") == 0) {
		if (*has_length)
			return "two Content-Lengths";
		*has_length = true;
		c->left = strtoll(value, NULL, 10);
	} else if (strcasecmp(line, "transfer-encoding") == 0) {
		c->chunked = true;
	} else if (strcasecmp(line, "connection") == 0) {
		c->keep_alive = strcasecmp(value, "close") != 0;
	} else if (strcasecmp(line, "expect") == 0) {
		bufferevent_write(c->bev, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	} else if (strcasecmp(line, "authorization") == 0) {
		free(r->authorization);
		free(r->key);
		r->authorization = strdup(value);
		word = strrchr(value, ' ');
		r->key = strdup(word != NULL ? word + 1 : value);
	}
	return NULL;
}

static const char *
parse_head(struct conn *c, char *head)
{
	struct record *r = c->rec;
	char *end = strstr(head, "\r\n"), *line, *save = NULL, *fields;
	bool has_length = false;
	const char *fault = NULL;
	char method[32], target[8192], version[16];

	*end = '\0';
	r->head = strdup(end + 2);
	if (sscanf(head, "%31s %8191s %15s", method, target, version) != 3 ||
	    strcmp(version, "HTTP/1.1") != 0)
		return "bad request line";
	r->method = strdup(method);
	r->target = strdup(target);
	c->chunked = false;
	c->keep_alive = true;
	c->left = 0;
	for (const char *p = r->head; (p = strchr(p, '\n')) != NULL; p++) {
		if (p == r->head || p[-1] != '\r')
			return "bare LF";
	}
	fields = end + 2;
	for (line = strtok_r(fields, "\r\n", &save); line != NULL && fault == NULL;
	     line = strtok_r(NULL, "\r\n", &save))
		fault = take_field(c, line, &has_length);
	if (fault == NULL && has_length && c->chunked)
		fault = "Content-Length and Transfer-Encoding";
	return fault;
}

/* False: not complete yet, or refused. */
static bool
read_head(struct conn *c, struct evbuffer *in)
{
	struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
	const char *fault;
	size_t n;
	char *head;

	if (end.pos < 0)
		return false;
	c->rec = record_new(c->number);
	n = (size_t)end.pos + 4;
	head = calloc(1, n + 1);
	if (head == NULL)
		abort();
	evbuffer_remove(in, head, n);
	fault = n > HEAD_MAX ? "head too long" : strlen(head) != n ? "NUL" : parse_head(c, head);
	free(head);
	if (fault != NULL) {
		refuse(c, fault);
		return false;
	}
	c->rec->state = "body";
	c->in_body = true;
	return true;
}

static void
read_request(struct conn *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);

	for (;;) {
		struct behaviour *b;

		if (c->closing) {
			evbuffer_drain(in, evbuffer_get_length(in));
			return;
		}
		if (c->rec != NULL && !c->in_body)
			return; /* it is being answered */
		if (c->rec == NULL) {
			if (!read_head(c, in))
				return;
			b = strncmp(c->rec->target, "/_", 2) == 0 /* for the admin */
				? NULL
				: script_take(c->rec->target, NULL, c->rec->key);
			if (b != NULL) {
				bufferevent_disable(c->bev, EV_READ);
				play_start(c, b);
				return;
			}
		}
		if (c->play != NULL || !read_body(c, in))
			return;
		dispatch(c);
	}
}
