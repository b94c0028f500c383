#include "proto/http1.h"

#include <endian.h>
#include <string.h>
#include <strings.h>

#include "proto/scan.h"
#include "shared/err.h"

/* What a byte may stand in: a token, a field value, a request target, the Host field. */
enum { T = 1, V = 2, G = 4, H = 8 };

static const unsigned char class[256] = {
    ['\t'] = V,
    [' '] = V,
    ['!'] = T | V | G | H,
    ['"'] = V | G,
    ['#'] = T | V,
    ['$' ... '\''] = T | V | G | H,
    ['(' ... ')'] = V | G | H,
    ['*' ... '+'] = T | V | G | H,
    [','] = V | G | H,
    ['-' ... '.'] = T | V | G | H,
    ['/'] = V | G,
    ['0' ... '9'] = T | V | G | H,
    [':' ... ';'] = V | G | H,
    ['<'] = V | G,
    ['='] = V | G | H,
    ['>' ... '@'] = V | G,
    ['A' ... 'Z'] = T | V | G | H,
    ['['] = V | G | H,
    ['\\'] = V | G,
    [']'] = V | G | H,
    ['^'] = T | V | G,
    ['_'] = T | V | G | H,
    ['`'] = T | V | G,
    ['a' ... 'z'] = T | V | G | H,
    ['{'] = V | G,
    ['|'] = T | V | G,
    ['}'] = V | G,
    ['~'] = T | V | G | H,
    [0x80 ... 0xff] = V,
};

static bool
all_of(struct span s, unsigned set)
{
	for (size_t i = 0; i < s.n; i++)
		if ((class[(unsigned char)s.p[i]] & set) == 0)
			return false;
	return true;
}

static bool
span_is(struct span s, const char *word)
{
	return s.n == strlen(word) && strncasecmp(s.p, word, s.n) == 0;
}

/* ---- the head as a whole --------------------------------------------------------------------- */

#define ONES UINT64_C(0x0101010101010101)

/* First control character at or behind p, 0x7f too. A mark can be wrong only above a true one. */
static const char *
control(const char *p, const char *end)
{
	while (end - p >= 8) {
		uint64_t x, del, stop;
		memcpy(&x, p, 8);
		x = le64toh(x);
		del = x ^ ONES * 0x7f;
		stop = (((x - ONES * 0x20) & ~x) | ((del - ONES) & ~del)) & ONES * 0x80;
		if (stop != 0)
			return p + __builtin_ctzll(stop) / 8;
		p += 8;
	}
	while (p < end && (unsigned char)*p >= 0x20 && *p != 0x7f)
		p++;
	return p;
}

/* One empty line before the request line is forgiven (RFC 9112, 2.2). */
static size_t
lead_len(const char *p, size_t n)
{
	return n >= 2 && p[0] == '\r' && p[1] == '\n' ? 2 : 0;
}

ptrdiff_t
http1_head_len(const char *p, size_t n, size_t max)
{
	if (n == 0)
		return 0;
	const char *start = p, *end = p + MIN(n, max), *line = p + lead_len(p, MIN(n, max));
	bool empty = true;
	p = line;
	while ((p = control(p, end)) < end) {
		if (*p == '\t') {
			p++;
			continue;
		}
		if (*p != '\r')
			return E_SYNTAX;
		if (p + 1 == end)
			break;
		if (p[1] != '\n')
			return E_SYNTAX;
		p += 2;
		if (p - line == 2)
			return empty ? E_SYNTAX : p - start;
		line = p;
		empty = false;
	}
	return n >= max ? E_TOO_LONG : 0;
}

/* ---- request line ---------------------------------------------------------------------------- */

struct parse {
	struct http1_head *h;
	int status;
	const char *why;
	bool transfer_encoding;
};

static int
refuse(struct parse *ps, int status, const char *why)
{
	ps->status = status;
	ps->why = why;
	return E_SYNTAX;
}

/* absolute-form: what is behind the authority. */
static int
absolute_target(struct parse *ps, struct span t)
{
	size_t skip = t.n >= 7 && strncasecmp(t.p, "http://", 7) == 0    ? 7
		      : t.n >= 8 && strncasecmp(t.p, "https://", 8) == 0 ? 8
									 : 0;
	if (skip == 0)
		return refuse(ps, 400, "The request target is neither a path nor a URL");
	const char *p = t.p + skip, *end = t.p + t.n, *path = p;
	while (path < end && *path != '/' && *path != '?')
		path++;
	struct span host = {p, (size_t)(path - p)};
	if (host.n == 0 || !all_of(host, H))
		return refuse(ps, 400, "The request target names no valid host");
	if (path == end)
		ps->h->target = (struct span){p - 1, 1}; /* the slash before the host */
	else if (*path == '/')
		ps->h->target = (struct span){path, (size_t)(end - path)};
	else
		return refuse(ps, 400, "The request target has no path");
	return 0;
}

static int
request_target(struct parse *ps, struct span t)
{
	if (t.n == 0 || !all_of(t, G))
		return refuse(ps, 400, "The request target holds a character that is not allowed");
	ps->h->target = t;
	if (t.p[0] == '/' || (t.n == 1 && t.p[0] == '*' && span_is(ps->h->method, "OPTIONS")))
		return 0;
	return absolute_target(ps, t);
}

static int
request_version(struct parse *ps, struct span v)
{
	static const char form[] = "HTTP/#.#";
	bool good = v.n == sizeof(form) - 1;
	for (size_t i = 0; good && i < v.n; i++)
		good = form[i] == '#' ? v.p[i] >= '0' && v.p[i] <= '9' : v.p[i] == form[i];
	if (!good)
		return refuse(ps, 400, "The request line is malformed");
	if (v.p[5] != '1')
		return refuse(ps, 505, "Only HTTP/1.0 and HTTP/1.1 are spoken here");
	ps->h->minor = v.p[7] != '0'; /* a later minor version is taken for ours (RFC 9110, 2.5) */
	return 0;
}

static int
request_line(struct parse *ps, struct span line)
{
	const char *end = line.p + line.n, *a = memchr(line.p, ' ', line.n), *b = NULL;
	if (a != NULL)
		b = memchr(a + 1, ' ', (size_t)(end - a - 1));
	if (b == NULL)
		return refuse(ps, 400, "The request line is malformed");
	ps->h->method = (struct span){line.p, (size_t)(a - line.p)};
	if (ps->h->method.n == 0 || !all_of(ps->h->method, T))
		return refuse(ps, 400, "The request method is malformed");
	int r = request_version(ps, (struct span){b + 1, (size_t)(end - b - 1)});
	return r != 0 ? r : request_target(ps, (struct span){a + 1, (size_t)(b - a - 1)});
}

/* ---- fields ---------------------------------------------------------------------------------- */

static int
field_host(struct parse *ps, struct span v)
{
	if (ps->h->host_seen)
		return refuse(ps, 400, "Several Host fields");
	ps->h->host_seen = true;
	if (!all_of(v, H))
		return refuse(ps, 400, "The Host field is malformed");
	return 0;
}

static int
field_content_length(struct parse *ps, struct span v)
{
	int64_t len = 0;
	bool good = v.n > 0;
	for (size_t i = 0; good && i < v.n; i++)
		good = v.p[i] >= '0' && v.p[i] <= '9' &&
		       !__builtin_mul_overflow(len, INT64_C(10), &len) &&
		       !__builtin_add_overflow(len, (int64_t)(v.p[i] - '0'), &len);
	if (!good)
		return refuse(ps, 400, "The Content-Length is malformed");
	if (ps->h->content_length >= 0 && ps->h->content_length != len)
		return refuse(ps, 400, "Differing Content-Length fields");
	ps->h->content_length = len;
	return 0;
}

static int
field_transfer_encoding(struct parse *ps, struct span v)
{
	if (ps->transfer_encoding)
		return refuse(ps, 400, "Several Transfer-Encoding fields");
	ps->transfer_encoding = true;
	if (!span_is(v, "chunked"))
		return refuse(ps, 501, "The only transfer coding understood is chunked");
	ps->h->chunked = true;
	return 0;
}

static int
field_expect(struct parse *ps, struct span v)
{
	if (!span_is(v, "100-continue"))
		return refuse(ps, 417, "The only expectation understood is 100-continue");
	ps->h->expect_continue = ps->h->minor == 1;
	return 0;
}

struct span
http1_trim(struct span s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = (struct span){s.p + 1, s.n - 1};
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* `word` is in the comma-separated values of any Connection field. */
static bool
connection_has(const struct http1_head *h, const char *word)
{
	for (unsigned i = 0; i < h->fields; i++) {
		if (!span_is(h->field[i].name, "connection"))
			continue;
		const char *p = h->field[i].value.p, *end = p + h->field[i].value.n;
		while (p < end) {
			const char *comma = memchr(p, ',', (size_t)(end - p));
			const char *stop = comma != NULL ? comma : end;
			if (span_is(http1_trim((struct span){p, (size_t)(stop - p)}), word))
				return true;
			p = stop + (comma != NULL);
		}
	}
	return false;
}

static const struct field_rule {
	const char *name;
	int (*take)(struct parse *ps, struct span value);
} rules[] = {
    {"host", field_host},
    {"content-length", field_content_length},
    {"transfer-encoding", field_transfer_encoding},
    {"expect", field_expect},
};

static int
field_line(struct parse *ps, struct span line)
{
	const char *colon = memchr(line.p, ':', line.n);
	struct http1_field f;
	if (line.p[0] == ' ' || line.p[0] == '\t')
		return refuse(ps, 400, "A folded header field");
	if (colon == NULL || colon == line.p)
		return refuse(ps, 400, "A header line without a name");
	f.name = (struct span){line.p, (size_t)(colon - line.p)};
	f.value = http1_trim((struct span){colon + 1, line.n - f.name.n - 1});
	if (!all_of(f.name, T))
		return refuse(ps, 400, "A header name holds a character that is not allowed");
	if (!all_of(f.value, V))
		return refuse(ps, 400, "A header value holds a control character");
	if (ps->h->fields == ps->h->max_fields)
		return refuse(ps, 431, "Too many header fields");
	ps->h->field[ps->h->fields++] = f;
	for (unsigned i = 0; i < NELEM(rules); i++)
		if (span_is(f.name, rules[i].name))
			return rules[i].take(ps, f.value);
	return 0;
}

static int
head_whole(struct parse *ps)
{
	struct http1_head *h = ps->h;
	if (h->minor == 1 && !h->host_seen)
		return refuse(ps, 400, "The Host field is missing");
	if (ps->transfer_encoding && h->minor == 0)
		return refuse(ps, 400, "Transfer-Encoding in an HTTP/1.0 request");
	if (ps->transfer_encoding && h->content_length >= 0)
		return refuse(ps, 400, "Transfer-Encoding together with Content-Length");
	h->keep_alive =
	    !connection_has(h, "close") && (h->minor == 1 || connection_has(h, "keep-alive"));
	return 0;
}

int
http1_parse(const char *p, size_t n, struct http1_head *h, int *status, const char **why)
{
	struct parse ps = {.h = h};
	const char *end = p + n;
	struct http1_field *field = h->field;
	unsigned max = h->max_fields;
	bool first = true;
	int r = 0;
	*h = (struct http1_head){.field = field, .max_fields = max, .content_length = -1};
	p += lead_len(p, n);
	for (;;) {
		const char *cr = p < end ? memchr(p, '\r', (size_t)(end - p)) : NULL;
		if (cr == NULL || cr + 1 == end || cr[1] != '\n') {
			r = refuse(&ps, 400, "The request head is malformed");
			break;
		}
		struct span line = {p, (size_t)(cr - p)};
		p = cr + 2;
		if (first)
			r = request_line(&ps, line);
		else if (line.n > 0)
			r = field_line(&ps, line);
		else if (p != end)
			r = refuse(&ps, 400, "The request head is malformed");
		else
			r = head_whole(&ps);
		if (r != 0 || (!first && line.n == 0))
			break;
		first = false;
	}
	*status = ps.status;
	*why = ps.why;
	return r;
}

struct span
http1_find(const struct http1_head *h, const char *name)
{
	for (unsigned i = 0; i < h->fields; i++)
		if (span_is(h->field[i].name, name))
			return h->field[i].value;
	return (struct span){NULL, 0};
}
