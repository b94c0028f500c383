/*
 * http: the client side of a worker: connections, strict HTTP/1.1 requests, replies. Knows nothing of keys, models or
 * upstreams. One thread, one event loop.
 *
 * A connection serves one request at a time; pipelined requests wait in the input buffer (bounded). The handler is told:
 *
 *   on_head   the head is complete and valid. The handler looks up the route, authenticates and either replies at once
 *             (the unread body is then discarded or the connection closed) or calls http_accept_body with the
 *             ceiling for the body (0: there must be none). Nothing of the body has been read before.
 *   on_body   the body is complete: http_req.body. Not called if a reply was started in on_head.
 *   on_drain  what waits for the client fell below half of stream_buffer again (after http_write returned true).
 *   on_gone   the client left, or timed out, before http_end, or its body turned out too large, malformed or late, or
 *             there was no room for it beside the bodies of others: max_body_memory (http
 *             answers that itself, afterwards). The request is invalid after this returns. Called at
 *             most once, and never after http_end / http_reply / http_abort; never from inside http_write.
 *
 * After http_reply or http_end the request is finished and must not be touched. `ctx` is the handler's own pointer.
 * Malformed input never reaches the handler: http answers 400, 408, 413, 414, 417, 431, 501, 503 or 505 itself, as
 * http_error does, and closes. on_refuse, before such a reply to a request that on_head has not seen, may add headers and set the
 * dialect, where there is a path to tell it.
 *
 * Replies: http_reply sends a whole one. A long one: http_start (length < 0: chunked, or until close for HTTP/1.0), then
 * http_write …, then http_end. Headers added with http_header before http_start/http_reply; Server is never sent,
 * Date, X-Request-Id, Connection, Content-Length/Transfer-Encoding are http's own. http_write with a known length checks
 * the sum. http_abort breaks the connection so that the client cannot mistake a cut reply for a whole one.
 * A half-closed client has left, as in nginx. Counted here: connections, requests, replies_*, client_gone, bytes_in,
 * bytes_out, accept_deferred, refused_memory, bad_requests for HTTP's part, and live_worker.conns.
 * http_write returns true when more than stream_buffer bytes wait: the producer should pause until on_drain. Writes are
 * tried at once (no Nagle, no waiting for the loop); HEAD replies send no body.
 */
#ifndef OMNIROUTE_WORKER_HTTP_H
#define OMNIROUTE_WORKER_HTTP_H

#include <netinet/in.h>

#include "proto/dialect_id.h"
#include "shared/base.h"
#include "shared/buf.h"

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_PATCH, HTTP_OPTIONS, HTTP_OTHER };

struct canon_error;
struct http_server;
struct http_conn;

/* What the access log says of a request beyond HTTP; filled in by the handler, kept until on_done. */
struct http_note {
	char key[40];        /* name of the client key; empty: none */
	char model[96];      /* as asked */
	char connection[64]; /* name of the one that answered */
};

struct http_req {
	struct http_conn *conn;
	void *ctx; /* the handler's */
	enum http_method method;
	int minor; /* of HTTP/1.x; without a target it says nothing */
	struct span method_text;
	struct span target; /* as sent, for the log */
	struct span path;   /* canonical: decoded, no empty, "." or ".." segment (such a target never gets here) */
	struct span query;  /* behind "?", undecoded */
	struct span body;
	char request_id[40]; /* the client's X-Request-Id if it is 1..36 of [A-Za-z0-9._-], else a fresh UUID */
	struct in6_addr peer; /* who asks: the socket's peer, or what a trusted proxy says; IPv4 mapped; unspecified on Unix */
	bool local;    /* Unix listener, or a loopback listener with a loopback peer; speaks for nobody else */
	bool loopback; /* the socket's peer is this machine, and so is who it speaks for */
	bool tls;
	bool expects_body;
	enum dialect_id dialect; /* in which errors are told, by the path; DIALECT_NONE: as in Chat */
	uint64_t start_ns;
	int status;          /* of the reply, once started */
	uint64_t bytes_sent; /* of the reply's body */
	struct http_note note;
};

struct http_handler {
	void (*on_head)(struct http_req *r);
	void (*on_body)(struct http_req *r);
	void (*on_drain)(struct http_req *r);
	void (*on_gone)(struct http_req *r);
	void (*on_done)(struct http_req *r); /* access log: once for every request, after the last byte of its reply was
						handed over, or it was broken off (status 499: the client left
						before there was a reply). Also for http's own error replies, where the
						spans may be empty. r->ctx may be stale: not to be used */
	void (*on_refuse)(struct http_req *r); /* NULL: nothing to add. Nothing but http_header may be called */
};

struct event_base;
struct snapshot;
struct live_worker;

/* `current` yields the snapshot in force (settings, trusted proxies, listeners); asked for each connection and request. */
struct http_server *http_server_new(struct event_base *base, const struct http_handler *h,
    struct snapshot *(*current)(void), struct live_worker *me, const struct live_worker *all) must_check;
/* Takes over a listening descriptor (ordinal in the snapshot's listeners). */
int http_listen(struct http_server *s, int fd, uint32_t ordinal) must_check;
/* A new snapshot is in force: new TLS contexts if certificates changed. */
void http_settings_changed(struct http_server *s);
/* Stop accepting. Idle connections get a short while for one more request, whose reply closes them; `idle` is called
 * when no connection is left. */
void http_retire(struct http_server *s, void (*idle)(void *ctx), void *ctx);
void http_server_free(struct http_server *s); /* closes all connections at once; on_gone for what is in hand */
unsigned http_connections(const struct http_server *s);

struct span http_header_get(const struct http_req *r, const char *name); /* first of that name, any case; p NULL: none */
struct span http_header_nth(const struct http_req *r, const char *name, unsigned n); /* from 0; p NULL: none */
unsigned http_header_count(const struct http_req *r, const char *name);
void http_accept_body(struct http_req *r, uint64_t ceiling);

void http_header(struct http_req *r, const char *name, const char *value);
void http_header_span(struct http_req *r, const char *name, struct span value);
void http_reply(struct http_req *r, int status, const char *content_type, const void *body, size_t n);
/* In the client's dialect. Of Chat: {"error":{"message","type","code"}} with the table of proto/openai_chat.h; code NULL: the
 * table's. fmt NULL: its text. */
void http_error(struct http_req *r, int status, const char *code, const char *fmt, ...) printf_like(4, 5);
/* The same for an error that is known as such: its class, its parameter, Retry-After. */
void http_fail(struct http_req *r, const struct canon_error *e);
void http_start(struct http_req *r, int status, const char *content_type, int64_t length);
bool http_write(struct http_req *r, const void *p, size_t n);
void http_end(struct http_req *r);
void http_abort(struct http_req *r);
size_t http_backlog(const struct http_req *r);

#endif
