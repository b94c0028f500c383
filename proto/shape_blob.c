/* Bytes inside JSON (spec translation 9): data: URLs, base64 in every spelling, and what the first
 * bytes tell. */
#include <string.h>
#include <strings.h>

#include "proto/shape_own.h"
#include "shared/digest.h"
#include "shared/err.h"

#define BLOB_MAX (96u << 20)
#define HEAD_CHARS 24u /* of base64: 18 bytes */

/* ---- base64 as the targets want it ---- */

static bool
is_clean(struct span s)
{
	static const char alphabet[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	bool ok[256] = {false};
	size_t n = s.n;

	if (n == 0 || n % 4 != 0)
		return false;
	for (const char *c = alphabet; *c != '\0'; c++)
		ok[(unsigned char)*c] = true;
	while (n > s.n - 2 && s.p[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++)
		if (!ok[(unsigned char)s.p[i]])
			return false;
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void
unpercent(struct buf *b, struct span s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		int high, low;

		if (c == '%' && i + 2 < s.n && (high = hex_digit(s.p[i + 1])) >= 0 &&
		    (low = hex_digit(s.p[i + 2])) >= 0) {
			c = (char)(high << 4 | low);
			i += 2;
		}
		buf_add(b, &c, 1);
	}
}

static int
keep(struct arena *a, struct buf *b, struct span *out)
{
	char *p = buf_ok(b) ? arena_strndup(a, b->data != NULL ? b->data : "", b->len) : NULL;

	if (p != NULL)
		*out = (struct span){p, b->len};
	return p != NULL ? 0 : E_NOMEM;
}

/* `plain`: not base64 at all, but percent-encoded bytes. */
static int
encode_anew(struct arena *a, struct span s, bool plain, struct span *out)
{
	struct buf text = BUF_INIT(BLOB_MAX), bytes = BUF_INIT(BLOB_MAX),
		   clean = BUF_INIT(BLOB_MAX);
	int r = 0;

	if (memchr(s.p, '%', s.n) != NULL) {
		unpercent(&text, s);
		s = (struct span){text.data, text.len};
	}
	if (!buf_ok(&text))
		r = E_NOMEM;
	else if (!plain)
		r = base64_decode(&bytes, s);
	else
		r = buf_add(&bytes, s.p, s.n);
	if (r == 0 && bytes.len == 0)
		r = E_SYNTAX;
	if (r == 0 && (r = base64_encode(&clean, bytes.data, bytes.len)) == 0)
		r = keep(a, &clean, out);
	buf_clear(&text);
	buf_clear(&bytes);
	buf_clear(&clean);
	return r;
}

/* "data:<type>[;param…][;base64],<data>" */
static int
read_data_url(struct arena *a, struct canon_media *m)
{
	static const char mark[] = ";base64";
	struct span head, data;
	const char *comma = memchr(m->data.p, ',', m->data.n), *semicolon;
	bool plain;

	if (comma == NULL)
		return E_SYNTAX;
	head = (struct span){m->data.p + 5, (size_t)(comma - m->data.p) - 5};
	data = (struct span){comma + 1, (size_t)(m->data.p + m->data.n - comma) - 1};
	plain = head.n < sizeof mark - 1 ||
		strncasecmp(head.p + head.n - (sizeof mark - 1), mark, sizeof mark - 1) != 0;
	if (head.n > 0 && (semicolon = memchr(head.p, ';', head.n)) != NULL)
		head.n = (size_t)(semicolon - head.p);
	if (head.n > 0)
		m->type = head;
	m->source = MEDIA_BASE64;
	m->data = data;
	if (data.n == 0)
		return E_SYNTAX;
	return !plain && is_clean(data) ? 0 : encode_anew(a, data, plain, &m->data);
}

/* ---- what it is ---- */

static const struct {
	size_t at;
	const char *bytes;
	size_t n;
	const char *type;
} magics[] = {
    {0, "\xff\xd8\xff", 3, "image/jpeg"},
    {0, "\x89PNG", 4, "image/png"},
    {0, "GIF8", 4, "image/gif"},
    {8, "WEBP", 4, "image/webp"},
    {0, "%PDF-", 5, "application/pdf"},
    {4, "ftypheic", 8, "image/heic"},
    {4, "ftypheix", 8, "image/heic"},
    {4, "ftypmif1", 8, "image/heif"},
    {8, "WAVE", 4, "audio/wav"},
    {0, "ID3", 3, "audio/mp3"},
};

static const struct {
	const char *said, *meant;
} types[] = {
    {"image/jpg", "image/jpeg"},
    {"image/pjpeg", "image/jpeg"},
    {"audio/mpeg", "audio/mp3"},
    {"audio/x-wav", "audio/wav"},
    {"audio/wave", "audio/wav"},
};

/* The first bytes know better than who sent them. */
static void
tell_type(struct canon_media *m)
{
	struct buf head = BUF_INIT(64);
	struct span start = {m->data.p, MIN(m->data.n, HEAD_CHARS)};
	const char *type = NULL;

	if (base64_decode(&head, start) == 0)
		for (size_t i = 0; i < NELEM(magics) && type == NULL; i++)
			if (head.len >= magics[i].at + magics[i].n &&
			    memcmp(head.data + magics[i].at, magics[i].bytes, magics[i].n) == 0)
				type = magics[i].type;
	buf_clear(&head);
	for (size_t i = 0; i < NELEM(types) && type == NULL && m->type.n > 0; i++)
		if (strlen(types[i].said) == m->type.n &&
		    strncasecmp(types[i].said, m->type.p, m->type.n) == 0)
			type = types[i].meant;
	if (type != NULL)
		m->type = span_of(type);
}

int
shape_blob_settle(struct arena *a, struct canon_media *m)
{
	int r = 0;

	if (m->data.p == NULL)
		return E_SYNTAX;
	if ((m->source == MEDIA_URL || m->source == MEDIA_BASE64) && m->data.n >= 5 &&
	    strncasecmp(m->data.p, "data:", 5) == 0)
		r = read_data_url(a, m);
	else if (m->source == MEDIA_BASE64 && !is_clean(m->data))
		r = encode_anew(a, m->data, false, &m->data);
	if (r == 0 && m->source == MEDIA_BASE64)
		tell_type(m);
	return r;
}

/* ---- texts that travel as files ---- */

bool
shape_blob_is_text(struct span type)
{
	static const char *const more[] = {"application/json", "application/xml",
	    "application/yaml", "application/x-yaml", "application/javascript", "application/csv"};

	if (type.n > 5 && strncasecmp(type.p, "text/", 5) == 0)
		return true;
	for (size_t i = 0; i < NELEM(more); i++)
		if (type.n == strlen(more[i]) && strncasecmp(type.p, more[i], type.n) == 0)
			return true;
	return false;
}

struct span
shape_blob_text(struct arena *a, struct span base64)
{
	struct buf b = BUF_INIT(BLOB_MAX);
	struct span out = {NULL, 0};

	if (base64_decode(&b, base64) == 0 && keep(a, &b, &out) != 0)
		out = (struct span){NULL, 0};
	buf_clear(&b);
	return out;
}
