/*
 *   canonical request = method, path, query, headers, their names, hash of the body
 *   text              = algorithm, time, scope, hash of the canonical request
 *   key               = HMAC over date, region, service, "aws4_request", each with the one before
 * as its key signature         = HMAC(key, text)
 */
#include "providers/sigv4.h"

#include <sodium.h>
#include <string.h>
#include <time.h>

#include "shared/digest.h"
#include "shared/err.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define STAMP_BYTES 17 /* 20150830T123600Z */
#define DATE_BYTES 8u
#define SECRET_MAX 256
#define TEXT_MAX 65536

_Static_assert(crypto_auth_hmacsha256_BYTES == SHA256_BYTES, "one size of hash");

static struct span
text(const char *s)
{
	return (struct span){s, strlen(s)};
}

/* ---- what the caller has ---- */

int
sigv4_key_parse(struct span s, struct sigv4_key *out)
{
	const char *colon = s.n > 0 ? memchr(s.p, ':', s.n) : NULL, *second;

	*out = (struct sigv4_key){0};
	if (colon == NULL || colon == s.p)
		return E_SYNTAX;
	out->access = (struct span){s.p, (size_t)(colon - s.p)};
	out->secret = (struct span){colon + 1, s.n - out->access.n - 1};
	if (out->secret.n == 0)
		return E_SYNTAX;
	if ((second = memchr(out->secret.p, ':', out->secret.n)) == NULL)
		return 0;
	out->session =
	    (struct span){second + 1, out->secret.n - (size_t)(second - out->secret.p) - 1};
	out->secret.n = (size_t)(second - out->secret.p);
	return out->secret.n > 0 && out->session.n > 0 ? 0 : E_SYNTAX;
}

static bool
cut_end(struct span *s, const char *end)
{
	size_t n = strlen(end);

	if (s->n <= n || memcmp(s->p + s->n - n, end, n) != 0)
		return false;
	s->n -= n;
	return true;
}

struct span
sigv4_region(struct span host)
{
	const char *colon = host.n > 0 ? memchr(host.p, ':', host.n) : NULL;
	size_t start;

	if (colon != NULL)
		host.n = (size_t)(colon - host.p);
	if (!cut_end(&host, ".amazonaws.com") && !cut_end(&host, ".amazonaws.com.cn") &&
	    !cut_end(&host, ".api.aws"))
		return (struct span){NULL, 0};
	cut_end(&host, ".vpce");
	for (start = host.n; start > 0 && host.p[start - 1] != '.';)
		start--;
	/* the service alone has no region in its name */
	return start > 0 ? (struct span){host.p + start, host.n - start} : (struct span){NULL, 0};
}

static bool
is_unreserved(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

static int
escape(struct buf *b, struct span s, bool keep_slash)
{
	for (size_t i = 0; i < s.n; i++) {
		if (is_unreserved(s.p[i]) || (keep_slash && s.p[i] == '/'))
			buf_add(b, &s.p[i], 1);
		else
			buf_addf(b, "%%%02X", (unsigned)(uint8_t)s.p[i]);
	}
	return buf_ok(b) ? 0 : E_NOMEM;
}

int
sigv4_escape(struct buf *b, struct span s)
{
	return escape(b, s, false);
}

/* ---- the signature ---- */

/* White space at the ends goes, and runs of it become one space. */
static void
add_value(struct buf *b, struct span v)
{
	bool gap = false, any = false;

	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == ' ' || v.p[i] == '\t') {
			gap = any;
			continue;
		}
		if (gap)
			buf_str(b, " ");
		gap = false;
		any = true;
		buf_add(b, &v.p[i], 1);
	}
}

static void
add_names(struct buf *b, const struct sigv4_header *headers, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		buf_addf(b, "%s%s", i > 0 ? ";" : "", headers[i].name);
}

/* The path is escaped once more than it is sent: so do all services but S3. */
static int
canonical_hash(const struct sigv4_request *q, const struct sigv4_header *headers, unsigned n,
    const char *body_hash, char out[2 * SHA256_BYTES + 1])
{
	struct span method = q->method.p != NULL ? q->method : text("POST");
	struct buf b = BUF_INIT(TEXT_MAX);
	uint8_t hash[SHA256_BYTES];
	struct span whole;
	bool ok;

	buf_add(&b, method.p, method.n);
	buf_str(&b, "\n");
	if (q->path.n == 0)
		buf_str(&b, "/");
	escape(&b, q->path, true);
	buf_str(&b, "\n");
	buf_add(&b, q->query.p, q->query.n);
	buf_str(&b, "\n");
	for (unsigned i = 0; i < n; i++) {
		buf_addf(&b, "%s:", headers[i].name);
		add_value(&b, headers[i].value);
		buf_str(&b, "\n");
	}
	buf_str(&b, "\n");
	add_names(&b, headers, n);
	buf_addf(&b, "\n%s", body_hash);
	ok = buf_ok(&b);
	whole = (struct span){b.data, b.len};
	if (ok) {
		digest_sha256(&whole, 1, hash);
		digest_hex(hash, sizeof hash, out);
	}
	buf_wipe(&b); /* a session token is in it */
	return ok ? 0 : E_TOO_LONG;
}

static void
hmac(uint8_t out[SHA256_BYTES], const uint8_t *key, size_t n, struct span s)
{
	crypto_auth_hmacsha256_state state;

	crypto_auth_hmacsha256_init(&state, key, n);
	crypto_auth_hmacsha256_update(&state, (const uint8_t *)s.p, s.n);
	crypto_auth_hmacsha256_final(&state, out);
	sodium_memzero(&state, sizeof state);
}

static int
signing_key(const struct sigv4_key *key, const char *stamp, uint8_t out[SHA256_BYTES])
{
	uint8_t first[4 + SECRET_MAX] = "AWS4", k[SHA256_BYTES];

	if (key->secret.n > SECRET_MAX)
		return E_TOO_LONG;
	memcpy(first + 4, key->secret.p, key->secret.n);
	hmac(k, first, 4 + key->secret.n, (struct span){stamp, DATE_BYTES});
	hmac(out, k, sizeof k, key->region);
	hmac(k, out, SHA256_BYTES, key->service);
	hmac(out, k, sizeof k, text("aws4_request"));
	sodium_memzero(first, sizeof first);
	sodium_memzero(k, sizeof k);
	return 0;
}

static void
add_scope(struct buf *b, const struct sigv4_key *key, const char *stamp)
{
	buf_add(b, stamp, DATE_BYTES);
	buf_str(b, "/");
	buf_add(b, key->region.p, key->region.n);
	buf_str(b, "/");
	buf_add(b, key->service.p, key->service.n);
	buf_str(b, "/aws4_request");
}

int
sigv4_authorize(const struct sigv4_key *key, const struct sigv4_request *q,
    const struct sigv4_header *headers, unsigned n, const char *stamp, const char *body_hash,
    struct buf *out)
{
	char request[2 * SHA256_BYTES + 1], hex[2 * SHA256_BYTES + 1];
	uint8_t k[SHA256_BYTES], signature[SHA256_BYTES];
	struct buf b = BUF_INIT(TEXT_MAX);
	int r;

	if ((r = canonical_hash(q, headers, n, body_hash, request)) != 0 ||
	    (r = signing_key(key, stamp, k)) != 0)
		return r;
	buf_addf(&b, ALGORITHM "\n%s\n", stamp);
	add_scope(&b, key, stamp);
	buf_addf(&b, "\n%s", request);
	if (buf_ok(&b)) {
		hmac(signature, k, sizeof k, (struct span){b.data, b.len});
		digest_hex(signature, sizeof signature, hex);
		buf_str(out, ALGORITHM " Credential=");
		buf_add(out, key->access.p, key->access.n);
		buf_str(out, "/");
		add_scope(out, key, stamp);
		buf_str(out, ", SignedHeaders=");
		add_names(out, headers, n);
		buf_addf(out, ", Signature=%s", hex);
	}
	r = buf_ok(&b) && buf_ok(out) ? 0 : E_TOO_LONG;
	buf_clear(&b);
	sodium_memzero(k, sizeof k);
	return r;
}

static int
make_stamp(uint64_t now_s, char out[STAMP_BYTES])
{
	time_t t = (time_t)now_s;
	struct tm tm;

	if (now_s > INT32_MAX * UINT64_C(100) || gmtime_r(&t, &tm) == NULL ||
	    strftime(out, STAMP_BYTES, "%Y%m%dT%H%M%SZ", &tm) != STAMP_BYTES - 1)
		return E_RANGE;
	return 0;
}

int
sigv4_sign(struct arena *a, const struct sigv4_key *key, const struct sigv4_request *q,
    struct sigv4_lines *out)
{
	char stamp[STAMP_BYTES], hash[2 * SHA256_BYTES + 1];
	struct sigv4_header headers[5];
	struct buf b = BUF_INIT(TEXT_MAX);
	uint8_t digest[SHA256_BYTES];
	unsigned n = 0;
	int r;

	*out = (struct sigv4_lines){0};
	if ((r = make_stamp(q->now_s, stamp)) != 0)
		return r;
	digest_sha256(&q->body, 1, digest);
	digest_hex(digest, sizeof digest, hash);
	if (q->content_type.p != NULL)
		headers[n++] = (struct sigv4_header){"content-type", q->content_type};
	headers[n++] = (struct sigv4_header){"host", q->host};
	headers[n++] = (struct sigv4_header){"x-amz-content-sha256", text(hash)};
	headers[n++] = (struct sigv4_header){"x-amz-date", text(stamp)};
	if (key->session.p != NULL)
		headers[n++] = (struct sigv4_header){"x-amz-security-token", key->session};
	if ((r = sigv4_authorize(key, q, headers, n, stamp, hash, &b)) == 0) {
		out->line[out->n++] = arena_printf(a, "Authorization: %.*s", (int)b.len, b.data);
		out->line[out->n++] = arena_printf(a, "X-Amz-Date: %s", stamp);
		out->line[out->n++] = arena_printf(a, "X-Amz-Content-Sha256: %s", hash);
		if (key->session.p != NULL)
			out->line[out->n++] = arena_printf(
			    a, "X-Amz-Security-Token: %.*s", (int)key->session.n, key->session.p);
	}
	for (unsigned i = 0; i < out->n; i++)
		if (out->line[i] == NULL)
			r = E_NOMEM;
	buf_clear(&b);
	return r;
}
