/*
 * headers: which header fields go upstream and which come back. Two allow-lists, both in
 * headers.c: what is not named there is not forwarded, in either direction. So hop-by-hop fields,
 * cookies, credentials and addresses of either side never pass.
 *
 * headers_upstream    the header lines of a request to `conn`: its credential and its own lines,
 *                     ours, the request id, and what of the client's may pass. NULL: out of
 *                     memory. Lives as long as the arena.
 * headers_take_line   one line of an upstream's head as libcurl hands it over; a status line
 *                     starts `head` anew, so that of 1xx, 2xx the last one counts. 0 or E_NOMEM.
 * headers_get         value of a field that was kept, any case; p NULL: none.
 * headers_send        puts what may pass onto the reply.
 * headers_media_type  compares the media type alone ("text/event-stream; charset=utf-8" is a
 *                     text/event-stream).
 * headers_hint_ms     how long the upstream wants to be left alone, by Retry-After,
 *                     retry-after-ms or X-RateLimit-Reset; 0: it does not say. `wall_s` is now.
 *                     At most a day.
 */
#ifndef OMNIROUTE_WORKER_HEADERS_H
#define OMNIROUTE_WORKER_HEADERS_H

#include "proto/dialect_id.h"
#include "shared/arena.h"
#include "shared/base.h"

#define HEADERS_KEPT 20           /* fields kept of an answer */
#define HEADERS_HINT_MAX 86400000 /* ms */

struct curl_slist;
struct http_req;
struct snap_conn;
struct snapshot;

struct reply_head {
	int status; /* 0: none has come */
	struct span content_type;
	uint64_t length; /* as announced, before unpacking: a hint; 0: unknown */
	unsigned fields;
	struct reply_field {
		const char *as; /* name towards the client */
		struct span name, value;
	} field[HEADERS_KEPT];
};

/* What of a request is to be said in its head. */
struct header_wish {
	enum dialect_id client, upstream;
	bool stream;
	size_t body; /* bytes that are sent */
};

struct curl_slist *headers_upstream(struct arena *a, const struct http_req *r,
    const struct snapshot *snap, const struct snap_conn *conn,
    const struct header_wish *wish) must_check;
int headers_take_line(struct arena *a, struct reply_head *head, const char *p, size_t n) must_check;
struct span headers_get(const struct reply_head *head, const char *name);
void headers_send(struct http_req *r, const struct reply_head *head);
bool headers_media_type(struct span content_type, const char *type);
uint64_t headers_hint_ms(const struct reply_head *head, uint64_t wall_s);

#endif
