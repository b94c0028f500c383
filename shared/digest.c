#include "shared/digest.h"

#include <sodium.h>

#include "shared/err.h"

void
digest_sha256(const struct span *pieces, unsigned n, uint8_t out[SHA256_BYTES])
{
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	for (unsigned i = 0; i < n; i++)
		if (pieces[i].n > 0)
			crypto_hash_sha256_update(
			    &st, (const unsigned char *)pieces[i].p, pieces[i].n);
	crypto_hash_sha256_final(&st, out);
}

void
digest_hex(const uint8_t *p, size_t n, char *out)
{
	sodium_bin2hex(out, 2 * n + 1, p, n);
}

int
base64_encode(struct buf *b, const void *p, size_t n)
{
	size_t len;
	char *out;

	if (n > SIZE_MAX / 4)
		return E_TOO_LONG;
	len = sodium_base64_ENCODED_LEN(n, sodium_base64_VARIANT_ORIGINAL); /* with the NUL */
	if ((out = buf_reserve(b, len)) == NULL)
		return E_TOO_LONG;
	sodium_bin2base64(out, len, p, n, sodium_base64_VARIANT_ORIGINAL);
	b->len += len - 1;
	return 0;
}

/* Value of a character in either alphabet; 64: padding, 65: white space, -1: neither. */
static int
sextet(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	switch (c) {
	case '+':
	case '-':
		return 62;
	case '/':
	case '_':
		return 63;
	case '=':
		return 64;
	case ' ':
	case '\t':
	case '\r':
	case '\n':
		return 65;
	default:
		return -1;
	}
}

int
base64_decode(struct buf *b, struct span text)
{
	uint32_t bits = 0;
	unsigned have = 0;
	bool padded = false;
	char *out = buf_reserve(b, text.n / 4 * 3 + 3), *at = out;

	if (out == NULL)
		return E_TOO_LONG;
	for (size_t i = 0; i < text.n; i++) {
		int v = sextet(text.p[i]);

		if (v < 0 || (padded && v < 64))
			return E_SYNTAX;
		padded = padded || v == 64;
		if (v >= 64)
			continue;
		bits = bits << 6 | (uint32_t)v;
		if ((have += 6) >= 8) {
			have -= 8;
			*at++ = (char)(bits >> have & 0xff);
		}
	}
	if (have == 6) /* one character of four says nothing */
		return E_SYNTAX;
	b->len += (size_t)(at - out);
	return 0;
}
