/* data: URLs (RFC 2397) and bare base64: to standard base64 with padding, whatever the client
 * wrote. */
#include <string.h>
#include <strings.h>

#include "proto/responses/responses.h"
#include "shared/digest.h"

#define MEDIA_MAX (64u << 20)

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
	return c >= '0' && c <= '9'                 ? c - '0'
	       : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
						    : -1;
}

/* %41 → A; in `b`. */
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

/* What was neither clean nor plain is decoded and encoded anew. */
static bool
normalize(struct arena *a, struct span s, bool base64, struct span *out)
{
	struct buf text = BUF_INIT(MEDIA_MAX), bytes = BUF_INIT(MEDIA_MAX);
	char *p = NULL;

	if (memchr(s.p, '%', s.n) != NULL) {
		unpercent(&text, s);
		s = (struct span){text.data, text.len};
	}
	if (buf_ok(&text) && (base64 ? base64_decode(&bytes, s) : buf_add(&bytes, s.p, s.n)) == 0) {
		struct buf clean = BUF_INIT(MEDIA_MAX);

		if (base64_encode(&clean, bytes.data, bytes.len) == 0 &&
		    (p = arena_strndup(a, clean.data != NULL ? clean.data : "", clean.len)) != NULL)
			*out = (struct span){p, clean.len};
		buf_clear(&clean);
	}
	buf_clear(&text);
	buf_clear(&bytes);
	return p != NULL;
}

static bool
ends_base64(struct span head)
{
	static const char mark[] = ";base64";
	size_t n = sizeof mark - 1;

	return head.n >= n && strncasecmp(head.p + head.n - n, mark, n) == 0;
}

bool
responses_data_url_read(struct arena *a, struct span url, struct canon_media *m)
{
	struct span head, data = url;
	const char *comma, *semicolon;
	bool base64 = true;

	m->type = (struct span){NULL, 0};
	if (url.n >= 5 && strncasecmp(url.p, "data:", 5) == 0) {
		if ((comma = memchr(url.p, ',', url.n)) == NULL)
			return false;
		head = (struct span){url.p + 5, (size_t)(comma - url.p) - 5};
		data = (struct span){comma + 1, (size_t)(url.p + url.n - comma) - 1};
		base64 = ends_base64(head);
		if (head.n > 0 && (semicolon = memchr(head.p, ';', head.n)) != NULL)
			head.n = (size_t)(semicolon - head.p);
		if (head.n > 0)
			m->type = head;
	}
	if (data.n == 0)
		return false;
	m->source = MEDIA_BASE64;
	if (base64 && is_clean(data)) {
		m->data = data;
		return true;
	}
	return normalize(a, data, base64, &m->data);
}
