/*
 * http1: strict parsing of HTTP/1.x request heads and chunked bodies (RFC 9112). Pure: bytes in, spans out.
 *
 * http1_head_len  length of the head including the empty line; 0: not complete yet; E_TOO_LONG past `max`.
 *                 Bare LF as line end, NUL and other control characters: E_SYNTAX.
 * http1_parse     one complete head. Refuses: obs-fold, space before ':', no or several Host (1.1), Transfer-Encoding
 *                 together with Content-Length, differing Content-Lengths, a coding other than "chunked", a
 *                 target that is not origin-form, "*" or absolute-form. The result points into `head`.
 * http1_path      canonical path: decodes %XX, refuses (E_SYNTAX) empty, "." and ".." segments, encoded "\" NUL and control
 *                 characters, and an encoded "/" anywhere but behind "/models/" (in the name of a model), so that routing
 *                 and authentication see one spelling. Writes at most n bytes.
 * http1_chunk     feeds a chunked body: consumes framing, reports payload spans. See enum.
 */
#ifndef OMNIROUTE_PROTO_HTTP1_H
#define OMNIROUTE_PROTO_HTTP1_H

#include "shared/base.h"

struct http1_field {
	struct span name, value;
};

struct http1_head {
	struct span method, target;
	int minor; /* HTTP/1.minor: 0, or 1 for that and all above */
	struct http1_field *field; /* caller's array */
	unsigned fields, max_fields;
	int64_t content_length; /* -1: none */
	bool chunked, keep_alive, expect_continue, host_seen;
};

ptrdiff_t http1_head_len(const char *p, size_t n, size_t max) must_check;
/* On error *status is the HTTP status to answer with (400, 417, 431, 501, 505) and *why a constant text. */
int http1_parse(const char *p, size_t n, struct http1_head *h, int *status, const char **why) must_check;
/* Without the blanks and tabs around it. */
struct span http1_trim(struct span s);
struct span http1_find(const struct http1_head *h, const char *name);
ptrdiff_t http1_path(struct span target, char *out, size_t n, struct span *query) must_check;

struct http1_chunked {
	int state;
	uint64_t left;  /* of the current chunk */
	size_t line;    /* bytes of the current size line or trailer so far */
};
enum http1_chunk_event { CHUNK_MORE, CHUNK_DATA, CHUNK_END };
/* Takes up to n bytes, *used of them. CHUNK_DATA: *data is payload. CHUNK_END: the body and its trailer are complete. */
int http1_chunk(struct http1_chunked *c, const char *p, size_t n, size_t *used, struct span *data) must_check;

#endif
