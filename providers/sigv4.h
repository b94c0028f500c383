/*
 * sigv4: AWS Signature Version 4 (hash in headers) for one request. Pure: the time is an argument;
 * nothing is kept. What is derived from the secret is wiped.
 *
 * sigv4_key_parse   "ACCESS:SECRET" or "ACCESS:SECRET:SESSION" → spans of it; E_SYNTAX.
 * sigv4_region      of a host of AWS: "bedrock-runtime.eu-central-1.amazonaws.com"; p NULL: none
 *                   that is known.
 * sigv4_escape      appends text as one segment of a path: all but A-Z a-z 0-9 - . _ ~ as %XX. The
 *                   id of a model is put into a path in this form, and signed so.
 * sigv4_sign        the header lines ("Name: value", in the arena) to add to a request that has Host
 *                   and, if it is given here, Content-Type. E_TOO_LONG: a secret or a region that
 *                   nobody has; E_RANGE: no time; E_NOMEM.
 * sigv4_authorize   the value of Authorization for any set of headers: lower-case names, sorted. For
 *                   sigv4_sign and tests.
 */
#ifndef OMNIROUTE_PROVIDERS_SIGV4_H
#define OMNIROUTE_PROVIDERS_SIGV4_H

#include "shared/arena.h"
#include "shared/base.h"
#include "shared/buf.h"

struct sigv4_key {
	struct span access, secret, session; /* session p NULL: none */
	struct span region, service;         /* "us-east-1", "bedrock" */
};

struct sigv4_request {
	struct span method; /* p NULL: POST */
	struct span host;   /* as in the Host header: with the port, unless it is the usual one */
	struct span path;   /* as it is sent, escaped, without query */
	struct span query;  /* as it is sent, sorted; may be empty */
	struct span content_type; /* p NULL: the header is not sent */
	struct span body;
	uint64_t now_s; /* s since 1970 */
};

#define SIGV4_LINES 4
struct sigv4_lines {
	char *line[SIGV4_LINES]; /* Authorization, X-Amz-Date, X-Amz-Content-Sha256,
				    X-Amz-Security-Token */
	unsigned n;
};

struct sigv4_header {
	const char *name;
	struct span value;
};

int sigv4_key_parse(struct span text, struct sigv4_key *out) must_check;
struct span sigv4_region(struct span host);
int sigv4_escape(struct buf *b, struct span text);
int sigv4_sign(struct arena *a, const struct sigv4_key *key, const struct sigv4_request *q,
    struct sigv4_lines *out) must_check;
int sigv4_authorize(const struct sigv4_key *key, const struct sigv4_request *q,
    const struct sigv4_header *headers, unsigned n, const char *stamp, const char *body_hash,
    struct buf *out) must_check;

#endif
