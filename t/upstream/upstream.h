/*
 * upstream: a provider for tests that does what it is told and reports what it saw: HTTP/1.1, plain
 * or TLS, one process.
 *
 *   main    arguments, listener, life           conn    one connection: requests in
 *   script  behaviours: JSON, choice            play    a behaviour's bytes out, with its timing
 *   record  what came and what became of it     admin   requests for the upstream itself
 *
 * upstream [--port N] [--tls CERT KEY] prints "listening PORT"; it leaves with its parent or by
 * SIGTERM.
 *
 *   PUT /_script     replaces the behaviours: an array of them, or one
 *   POST /_script    appends
 *   DELETE /_script  forgets behaviours and log, also of requests still under way
 *   GET /_log        array of records
 *   DELETE /_log     forgets the finished ones
 *
 * A request takes the first behaviour that matches. All members of one are optional:
 *
 *   match        path (the target without query), model (of the body), key (the last word of
 *                Authorization)
 *   times        how often it may be taken; then it is gone. Default: without end
 *   early        answer when the head is complete; the body is read after the answer
 *   status, reason, headers: [[name, value], ...]
 *   body, body64 text, or any bytes
 *   expand       "$authorization" in the body becomes what the request said there
 *   bulk         {"unit": text, "bytes": n}: after the body, as fast as it is taken
 *   tail         text after the bulk
 *   framing      length (default), chunked, close, or raw (no head: the body is all)
 *   length       another Content-Length than the true one
 *   pieces       [n, ...]: sizes of the first writes of the body
 *   piece        size of all further ones; with chunked framing a piece is a chunk
 *   first_delay, head_delay, delay: ms before the head, between head and body, between pieces
 *   end          keep (default), close (default with close and raw; TLS says so), fin (TLS does
 *                not), rst, hang
 *   unended      chunked without its last chunk
 *   sndbuf       SO_SNDBUF of the connection
 */
#ifndef OMNIROUTE_T_UPSTREAM_H
#define OMNIROUTE_T_UPSTREAM_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <jansson.h>

#include "shared/base.h"

#define HEAD_MAX (256u << 10)
#define BODY_KEPT (4u << 20) /* of a request, for the log */

enum framing { FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_CLOSE, FRAMING_RAW };
enum ending { END_KEEP, END_CLOSE, END_FIN, END_RST, END_HANG };

struct behaviour {
	struct behaviour *next;
	unsigned refs;
	char *path, *model, *key;
	long times; /* -1: without end */
	bool early, expand, unended;
	int status;
	char *reason, *headers; /* "Name: value\r\n" … */
	char *body, *unit, *tail;
	size_t body_len, unit_len, tail_len;
	uint64_t units;
	enum framing framing;
	enum ending end;
	int64_t length; /* -1: the true one */
	size_t *pieces, npieces, piece;
	unsigned first_delay, head_delay, delay;
	int sndbuf;
};

/* script */
int script_load(const char *json, size_t n, bool append, char *err, size_t errlen) must_check;
/* With a reference taken; NULL: nothing fits. model NULL: unknown yet, only early behaviours are
 * asked. */
struct behaviour *script_take(const char *path, const char *model, const char *key);
void behaviour_put(struct behaviour *b);
void script_clear(void);

/* record */
struct record {
	struct record *next;
	unsigned long number, conn;
	char *method, *target, *head; /* head: as received, without the request line */
	char *model, *key, *authorization;
	struct evbuffer *body; /* the first BODY_KEPT bytes */
	uint64_t body_len;
	double head_at, body_at, first_write_at, last_write_at,
	    gone_at;       /* ms since the epoch; 0: not yet */
	uint64_t sent;     /* bytes that the socket took */
	const char *state; /* "head", "body", "playing", "done", "gone", "bad" */
	const char *fault; /* what was wrong with the request */
	bool open;         /* a connection still writes to it */
	bool hidden;       /* for the admin: not in the log */
};
struct record *record_new(unsigned long conn);
json_t *record_log(void);
/* Drops the finished ones, or all; hide: those that are still written to leave the log. */
void record_clear(bool all, bool hide);
double now_ms(void);

/* conn */
struct conn {
	struct conn *next, **prev;
	unsigned long number;
	struct bufferevent *bev;
	struct event *timer;
	struct record *rec;
	bool tls, closing; /* closing: reads until the peer is gone */
	/* the request */
	bool chunked, in_body, keep_alive, answered;
	int64_t left;
	/* the answer */
	struct behaviour *play;
	char *body;
	size_t body_len, pos, piece;
	uint64_t units;
	int step;
};
void conn_new(struct event_base *base, int fd, void *ssl_ctx);
void conn_free_all(void);
void conn_free(struct conn *c);
/* The answer is out: the next request, or the end that the behaviour wants. */
void conn_answered(struct conn *c, enum ending end);

/* play */
void play_start(struct conn *c, struct behaviour *b);
void play_drained(struct conn *c);
void play_timer(int fd, short what, void *ctx);
void play_stop(struct conn *c);

/* admin: true if the request was one of its own, and is answered. */
bool admin_handle(struct conn *c);

#endif
