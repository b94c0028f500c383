/* Values of a JSON text once their spans are found; the reader is in scan.c. */
#include <string.h>

#include "proto/scan.h"
#include "proto/scan_text.h"
#include "shared/err.h"

int
scan_type(struct span value)
{
	return value.p == NULL || value.n == 0 ? 0 : type_of(*value.p);
}

static bool
times_ten_plus(uint64_t *v, unsigned digit)
{
	return !__builtin_mul_overflow(*v, UINT64_C(10), v) &&
	       !__builtin_add_overflow(*v, (uint64_t)digit, v);
}

bool
scan_u64(struct span value, uint64_t *out)
{
	if (scan_type(value) != 'n' || *value.p == '-')
		return false;
	const char *p = value.p, *end = p + value.n;
	uint64_t v = 0;
	long zeros = 0, power = 0; /* zeros: read, not multiplied in yet */
	bool point = false, minus = false;
	for (; p < end && (*p == '.' || (*p >= '0' && *p <= '9')); p++) {
		if (*p == '.') {
			point = true;
			continue;
		}
		power -= point;
		zeros++;
		if (*p == '0')
			continue;
		for (; zeros > 1 && v != 0; zeros--)
			if (!times_ten_plus(&v, 0))
				return false;
		if (!times_ten_plus(&v, (unsigned)(*p - '0')))
			return false;
		zeros = 0;
	}
	power += zeros;
	if (p < end) { /* the exponent; beyond 100000 nothing fits anyway */
		long e = 0;
		p++;
		if (p < end && (*p == '-' || *p == '+'))
			minus = *p++ == '-';
		for (; p < end && *p >= '0' && *p <= '9'; p++)
			e = MIN(e * 10 + (*p - '0'), 100000);
		power += minus ? -e : e;
	}
	if (v == 0)
		power = 0;
	for (; power > 0; power--)
		if (!times_ten_plus(&v, 0))
			return false;
	*out = v;
	return p == end && power == 0;
}

static unsigned
utf8_put(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	unsigned len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (unsigned i = len - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)((0xf00 >> len & 0xff) | c);
	return len;
}

/* The four hex digits at p; -1 when they are not there. */
static int32_t
hex4(const char *p, const char *end)
{
	int32_t c = 0;
	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int d = hex_digit(p[i]);
		if (d < 0)
			return -1;
		c = c << 4 | d;
	}
	return c;
}

/* Unescapes what stands at *pp, a backslash; how many bytes of `out` it made. 0: a lone surrogate,
 * or no escape. */
static unsigned
unescape(const char **pp, const char *end, char out[4])
{
	const char *p = *pp + 1;
	*pp = p + (p < end);
	if (p >= end)
		return 0;
	if (*p != 'u') {
		out[0] = short_escape(*p);
		return out[0] != '\0';
	}
	int32_t c = hex4(p + 1, end), low;
	if (c < 0)
		return 0;
	*pp = p + 5;
	if (c < 0xd800 || c > 0xdfff)
		return utf8_put((uint32_t)c, out);
	if (c > 0xdbff || end - *pp < 6 || p[5] != '\\' || p[6] != 'u')
		return 0;
	low = hex4(p + 7, end);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*pp = p + 11;
	return utf8_put(0x10000 + ((uint32_t)(c - 0xd800) << 10 | (uint32_t)(low - 0xdc00)), out);
}

bool
scan_name_is(struct span name, const char *want)
{
	if (name.p == NULL)
		return false;
	const char *p = name.p, *end = p + name.n;
	char c[4];
	/* No name holds a plain NUL, so a `want` that ends earlier differs before it is passed. */
	while (p < end) {
		unsigned len = 1;
		c[0] = *p;
		if (*p == '\\')
			len = unescape(&p, end, c);
		else
			p++;
		if (len == 0)
			return false;
		for (unsigned i = 0; i < len; i++, want++)
			if (c[i] != *want || *want == '\0')
				return false;
	}
	return *want == '\0';
}

static ptrdiff_t
string(struct span value, char *out, size_t n, bool loose)
{
	if (value.n < 2 || *value.p != '"' || n == 0)
		return E_SYNTAX;
	const char *p = value.p + 1, *end = value.p + value.n - 1;
	size_t len = 0;
	while (p < end) {
		const char *stop = memchr(p, '\\', (size_t)(end - p));
		const char *from = p;
		char c[4];
		size_t add = (size_t)((stop != NULL ? stop : end) - p);
		p += add;
		if (add == 0) {
			add = unescape(&p, end, c);
			from = c;
			if (add == 0 && !loose)
				return E_SYNTAX;
			if (add == 0) {
				from = "\xef\xbf\xbd";
				add = 3;
			}
		}
		if (add >= n - len)
			return E_TOO_LONG;
		memcpy(out + len, from, add);
		len += add;
	}
	out[len] = '\0';
	return (ptrdiff_t)len;
}

ptrdiff_t
scan_string(struct span value, char *out, size_t n)
{
	return string(value, out, n, false);
}

ptrdiff_t
scan_text(struct span value, char *out, size_t n)
{
	return string(value, out, n, true);
}

size_t
scan_string_len(struct span value)
{
	if (value.n < 2 || *value.p != '"')
		return 0;
	const char *p = value.p + 1, *end = value.p + value.n - 1, *stop;
	size_t len = 0;
	while (p < end && (stop = memchr(p, '\\', (size_t)(end - p))) != NULL) {
		char c[4];
		len += (size_t)(stop - p);
		p = stop;
		unsigned made = unescape(&p, end, c);
		len += made > 0 ? made : 3; /* a lone surrogate counts as U+FFFD */
	}
	return len + (size_t)(end - p);
}

/* End of what stands in a JSON string as it is: no quote, backslash or control character, valid
 * UTF-8. */
static const char *
verbatim_end(const char *p, const char *end)
{
	for (;;) {
		p = plain_end(p, end);
		if (p == end || (unsigned char)*p < 0x80)
			return p;
		do {
			int len = utf8_len(p, end);
			if (len <= 0)
				return p;
			p += len;
		} while (p < end && (unsigned char)*p >= 0x80);
	}
}

/* What stands for a byte that cannot stand itself; its length. */
static unsigned
escape(unsigned char c, char out[6])
{
	static const char letters[0x20] = {
	    ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
	static const char hex[] = "0123456789abcdef";
	if (c >= 0x80) {
		memcpy(out, "\xef\xbf\xbd", 3);
		return 3;
	}
	out[0] = '\\';
	out[1] = c >= 0x20 ? (char)c : letters[c];
	if (out[1] != '\0')
		return 2;
	memcpy(out + 1, "u00", 3);
	out[4] = hex[c >> 4];
	out[5] = hex[c & 15];
	return 6;
}

int
scan_escape(struct buf *b, const char *p, size_t n)
{
	if (n == 0)
		return 0;
	const char *end = p + n;
	while (p < end) {
		const char *stop = verbatim_end(p, end);
		size_t run = (size_t)(stop - p), rest = (size_t)(end - stop);
		char esc[6];
		unsigned len = rest > 0 ? escape((unsigned char)*stop, esc) : 0;
		/* each byte that is left takes one at least: what does not fit now never will */
		size_t need = run + len + rest - (rest > 0);
		char *to = buf_reserve(b, need);
		if (to == NULL)
			return need > b->max - b->len ? E_TOO_LONG : E_NOMEM;
		memcpy(to, p, run);
		memcpy(to + run, esc, len);
		b->len += run + len;
		p = stop + (rest > 0);
	}
	return 0;
}

bool
scan_utf8(const char *p, size_t n)
{
	if (n == 0)
		return true;
	const char *end = p + n;
	while (p < end) {
		uint64_t x;
		if (end - p >= 8 && (memcpy(&x, p, 8), (x & SCAN_HIGH) == 0)) {
			p += 8;
			continue;
		}
		int len = (unsigned char)*p < 0x80 ? 1 : utf8_len(p, end);
		if (len <= 0)
			return false;
		p += len;
	}
	return true;
}
