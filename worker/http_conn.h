/*
 * http_conn: what the files of the HTTP front share; nobody else includes it.
 *
 *   http.c        server, life of a connection, its timer, retirement
 *   http_accept.c listeners: whose turn it is, limits of connections and descriptors
 *   http_read.c   bytes to requests: heads, limits
 *   http_body.c   bodies of requests
 *   http_reply.c  replies: heads, framing, what waits for a slow client
 *   http_io.c     one socket, plain or TLS: reading, writing, what to watch for
 *   http_tls.c    certificates, handshake
 *   http_peer.c   who asks
 *
 * A connection has one event for its socket and one timer. The timer is lazy: only an earlier
 * deadline moves it; when it fires too early it is set again. So a request in an idle keep-alive
 * connection touches neither epoll nor the timers.
 *
 * Whatever may call the handler or end the connection runs between conn_enter and conn_leave;
 * conn_kill in between closes the socket at once, the last conn_leave frees the memory. Work that
 * must not happen on the caller's stack (the next pipelined request, news of a broken socket) is
 * left to conn_kick: it comes at once, before the loop polls again. After HTTP_TURN_MAX pipelined
 * requests conn_yield leaves the rest to the next turn, so that the others have theirs.
 *
 * Memory of a connection: while idle only the struct; `head` as long as a request is in hand; `in`
 * and `out` only while bytes wait. Bounds: in <= HTTP_READ_MAX + max_header_size, body <= its
 * ceiling and, unless it is the only one, all bodies together <= max_body_memory, out: see
 * http_reply.c.
 */
#ifndef OMNIROUTE_WORKER_HTTP_CONN_H
#define OMNIROUTE_WORKER_HTTP_CONN_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/types.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "proto/http1.h"
#include "shared/live.h"
#include "shared/snapshot.h"
#include "worker/http.h"

#define HTTP_READ_MAX 65536  /* one read(2), and what one turn of the loop does for one connection \
			      */
#define HTTP_BODY_RATE 512   /* bytes a second that a body must come at, over body_timeout and more */
#define HTTP_TURN_MAX 16     /* pipelined requests that one connection is served in a turn of the loop */
#define HTTP_DRAIN_MAX 65536 /* unread body that is read away to keep the connection */
#define HTTP_DRAIN_MS 1000   /* and the time for it */
#define HTTP_LINGER_MS 2000  /* silence that ends the wait for the client's close */
#define HTTP_LINGER_ALL_MS 10000 /* the whole of that wait */
#define HTTP_RETIRE_MS 10000     /* chance of an idle connection for one more request */
#define HTTP_SPARE_MS 1000       /* idle for so long, it must make room for another */

/* What a connection is at. */
enum http_phase {
	PH_TLS,    /* handshake */
	PH_HEAD,   /* idle, or a head is arriving */
	PH_WAIT,   /* the handler has the head and has neither replied nor taken the body */
	PH_BODY,   /* the body is arriving */
	PH_REPLY,  /* the handler has all and replies when it likes */
	PH_FLUSH,  /* the reply is complete and waits for the client */
	PH_DRAIN,  /* the rest of a body that nobody wants is read away */
	PH_LINGER, /* our side is closed, waiting for the client's close so that it can read the
		      reply */
};

#define HTTP_LATER 16 /* replies that may wait for the end of a turn of the loop */

enum http_framing { FRAME_NONE, FRAME_LENGTH, FRAME_CHUNKED, FRAME_CLOSE };

struct http_listener {
	LIST_ENTRY(http_listener) link;
	struct http_server *s;
	struct event accept;
	uint32_t ordinal;
	int fd;
	SSL_CTX *tls;           /* NULL: none, or its certificate could not be used */
	uint8_t tls_digest[32]; /* of the PEM texts behind `tls` */
};

TAILQ_HEAD(http_waiting, http_conn);

struct http_server {
	struct event_base *base;
	const struct http_handler *h;
	struct snapshot *(*current)(void);
	struct live_worker *me;
	const struct live_worker *all;
	LIST_HEAD(, http_listener) listeners;
	LIST_HEAD(, http_conn) conns;
	struct http_waiting waiting; /* without a request in hand, or lingering; the longest first */
	unsigned count;
	uint64_t bodies; /* bytes held for bodies: the sum of body_held */
	struct http_conn *later[HTTP_LATER]; /* their reply is in `held` */
	unsigned nlater;
	struct event flush;
	struct event resume; /* accept again */
	int spare_fd;        /* given up to shed a connection when descriptors run out */
	uint64_t warned_ns;  /* last line about running out of something */
	bool retiring;
	void (*idle)(void *ctx);
	void *idle_ctx;
	struct event idle_event;
	char *scratch;          /* HTTP_READ_MAX */
	struct http1_head head; /* parsed head of fields_of; its array is ours */
	struct http_conn *fields_of;
	struct buf reply_head;
	uint64_t date_s;
	char date[32];
	uint8_t random[1024];
	unsigned random_left;
};

struct http_conn {
	LIST_ENTRY(http_conn) link;
	TAILQ_ENTRY(http_conn) wait_link;
	uint64_t waits_ns; /* on s->waiting since; 0: not on it */
	struct http_server *s;
	SSL *ssl;
	int fd;
	unsigned depth;
	enum http_phase phase;
	uint32_t ordinal; /* of the listener */
	bool surplus : 1; /* over max_connections: its first request is answered 503 */
	bool unix_peer : 1, loopback_listener : 1;
	bool dead : 1;   /* closed; the last conn_leave frees it */
	bool kicked : 1; /* conn_kick is pending */
	bool yielded : 1; /* the timer brings the rest of `in`, not a deadline */
	bool broken : 1; /* writing failed; the handler is told from the loop */
	bool eof : 1;    /* the client has closed its side */
	bool read_wants_write : 1, write_wants_read : 1; /* TLS */
	bool feeding : 1;                                /* conn_feed is on the stack */
	/* the request in hand */
	bool told : 1; /* on_head was called, and neither on_gone nor the end of a reply came yet */
	bool accepted : 1;  /* http_accept_body was called */
	bool body_open : 1; /* there are bytes of its body that were not read */
	bool chunked_body : 1, expect_continue : 1, keep_alive : 1;
	bool started : 1; /* of the reply */
	bool keep : 1;    /* the connection outlives the reply */
	bool paused : 1;  /* http_write said so */
	enum http_framing framing;
	int minor;
	short watching; /* flags of `io`; 0: not added */
	struct event io, timer;
	uint64_t deadline_ns, armed_ns; /* 0: none */
	uint64_t linger_end_ns;
	struct in6_addr peer; /* of the socket */
	struct buf in;        /* read and not yet used */
	size_t scanned;       /* of `in`: known to hold no complete head */
	unsigned turn_heads;  /* looked for in this turn of the loop */
	struct buf body;
	size_t body_held;     /* of `body`, as counted in s->bodies */
	struct buf extra; /* header lines of the handler */
	struct buf held;  /* head of a long reply, waiting for its first bytes; or a short reply */
	struct evbuffer *out;
	size_t out_len;
	char *head; /* the request's head, and its canonical path behind it */
	size_t head_len, head_alloc;
	uint64_t body_left; /* FRAME_LENGTH body: bytes still to come */
	uint64_t body_end_ns; /* until when more of the body must have come */
	uint64_t body_ceiling;
	struct http1_chunked chunk;
	uint64_t reply_left; /* FRAME_LENGTH reply: bytes still to be written */
	struct http_req req;
};

/* http.c */
struct http_conn *conn_open(
    struct http_server *s, int fd, const struct sockaddr *peer, uint32_t ordinal) must_check;
void conn_enter(struct http_conn *c);
void conn_leave(struct http_conn *c);
void conn_kill(struct http_conn *c);
void conn_kick(struct http_conn *c);
void conn_yield(struct http_conn *c);
void conn_deadline(struct http_conn *c, uint64_t ms); /* 0: none */
void conn_gone(
    struct http_conn *c); /* the client left or took too long: tells the handler, kills */
void conn_left(
    struct http_conn *c, bool reset); /* its side is closed; what that means depends on the phase */
void conn_idle(struct http_conn *c);  /* PH_HEAD, nothing in hand */
void conn_busy(struct http_conn *c);  /* a request begins */
void conn_waits(struct http_conn *c); /* nothing is in hand: it may have to make room */
const struct snap_settings *http_settings(const struct http_server *s);
void http_count(struct http_server *s, enum live_counter which, uint64_t by);
/* Whether a line about running out of something may be written: at most one a second. */
bool http_may_warn(struct http_server *s);

/* http_accept.c */
void http_accept_init(struct http_server *s);
void http_accept_stop(struct http_server *s); /* closes the listeners */

/* http_read.c */
void http_uuid(struct http_server *s, char out[40]);
void conn_feed(struct http_conn *c, const char *p, size_t n);
void conn_readable(struct http_conn *c);
void conn_refuse(struct http_conn *c, int status, const char *why); /* bytes that are no request */
void conn_timeout(struct http_conn *c);
void conn_request_clear(struct http_conn *c); /* all of the request and its reply */

/* http_body.c */
void http_body_free(struct http_conn *c);  /* and no longer counted */
void http_body_start(struct http_conn *c); /* on_head is over and the handler wants the body */
size_t http_body_take(struct http_conn *c, const char *p, size_t n); /* bytes used */
ptrdiff_t http_body_read(struct http_conn *c); /* from the socket to its place; as conn_read */

/* http_reply.c */
void http_reply_init(struct http_server *s);
void conn_forget_later(struct http_conn *c);
void conn_flush(
    struct http_conn *c);            /* writes what waits; follows up when nothing waits any more */
void conn_done(struct http_conn *c); /* the reply is out: access log, counters */
void conn_fail(struct http_conn *c, int status, const char *fmt, ...) printf_like(3, 4);
void conn_put(struct http_conn *c, const struct iovec *iov, unsigned n);

/* http_io.c: > 0 bytes; E_CLOSED, E_AGAIN, E_SYSTEM */
ptrdiff_t conn_read(struct http_conn *c, void *p, size_t n) must_check;
ptrdiff_t conn_writev(struct http_conn *c, const struct iovec *iov, unsigned n) must_check;
void conn_watch(struct http_conn *c);    /* brings the socket's event in line with the phase */
void conn_shutdown(struct http_conn *c); /* our side of the stream */
void conn_event(evutil_socket_t fd, short what, void *arg);

/* http_tls.c */
void tls_listener_update(struct http_listener *l, const struct snapshot *snap);
void tls_listener_clear(struct http_listener *l);
int tls_start(struct http_conn *c, const struct http_listener *l) must_check;
void tls_handshake(struct http_conn *c);
ptrdiff_t tls_read(struct http_conn *c, void *p, size_t n) must_check;
ptrdiff_t tls_writev(struct http_conn *c, const struct iovec *iov, unsigned n) must_check;
bool tls_pending(const struct http_conn *c);
void tls_shutdown(struct http_conn *c);
void tls_free(struct http_conn *c);

/* http_peer.c */
void peer_of_socket(const struct sockaddr *sa, struct in6_addr *out, bool *unix_peer);
/* r->peer and r->local from the socket's peer and, where that is a trusted proxy, from the head
 * `h`. */
void peer_resolve(struct http_conn *c, const struct http1_head *h, const struct snapshot *snap);
bool peer_parse(
    struct span text, struct in6_addr *out); /* an address, a port or brackets may be around it */

#endif
