/* Chunked bodies (RFC 9112, 7.1), one byte of framing at a time. */
#include "proto/http1.h"
#include "shared/err.h"

#define SIZE_LINE_MAX 1024 /* of a size line with its extensions */
#define TRAILER_MAX 8192   /* of all trailer lines together */
#define DIGITS_MAX 15      /* of a chunk size: 60 bits, so it cannot overflow */

enum state {
	SIZE,  /* in the digits of a size line */
	BLANK, /* behind them: white space, then ';' must come */
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER_LINE, /* at the start of a trailer line */
	TRAILER,
	TRAILER_LF,
	LAST_LF,
	DONE,
};

static int
hex_value(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
text(unsigned char c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

/* The byte that must come in a state, and the state behind it. */
static int
expect(struct http1_chunked *c, unsigned char got, char want, enum state then)
{
	if (got != (unsigned char)want)
		return E_SYNTAX;
	c->state = then;
	return 0;
}

static int
size_byte(struct http1_chunked *c, unsigned char b)
{
	int digit = hex_value(b);
	if (++c->line > SIZE_LINE_MAX)
		return E_TOO_LONG;
	if (c->state == SIZE && digit >= 0) {
		if (c->line > DIGITS_MAX)
			return E_TOO_LONG;
		c->left = c->left << 4 | (unsigned)digit;
		return 0;
	}
	if (c->line == 1)
		return E_SYNTAX;
	if (b == '\r' && c->state != BLANK)
		c->state = SIZE_LF;
	else if (b == ';')
		c->state = EXTENSION;
	else if (c->state == EXTENSION)
		return text(b) ? 0 : E_SYNTAX;
	else if (b == ' ' || b == '\t')
		c->state = BLANK;
	else
		return E_SYNTAX;
	return 0;
}

static int
trailer_byte(struct http1_chunked *c, unsigned char b)
{
	if (++c->line > TRAILER_MAX)
		return E_TOO_LONG;
	if (b == '\r')
		c->state = c->state == TRAILER_LINE ? LAST_LF : TRAILER_LF;
	else if (text(b))
		c->state = TRAILER;
	else
		return E_SYNTAX;
	return 0;
}

static int
framing_byte(struct http1_chunked *c, unsigned char b)
{
	int r;
	switch ((enum state)c->state) {
	case SIZE:
	case BLANK:
	case EXTENSION:
		return size_byte(c, b);
	case SIZE_LF:
		r = expect(c, b, '\n', c->left > 0 ? DATA : TRAILER_LINE);
		c->line = 0;
		return r;
	case DATA_CR:
		return expect(c, b, '\r', DATA_LF);
	case DATA_LF:
		return expect(c, b, '\n', SIZE);
	case TRAILER_LINE:
	case TRAILER:
		return trailer_byte(c, b);
	case TRAILER_LF:
		return expect(c, b, '\n', TRAILER_LINE);
	case LAST_LF:
		return expect(c, b, '\n', DONE);
	case DATA:
	case DONE:
		break;
	}
	return E_SYNTAX;
}

int
http1_chunk(struct http1_chunked *c, const char *p, size_t n, size_t *used, struct span *data)
{
	size_t i = 0;
	int r = CHUNK_MORE;
	*data = (struct span){NULL, 0};
	while (r == CHUNK_MORE && i < n && c->state != DONE) {
		if (c->state != DATA) {
			int e = framing_byte(c, (unsigned char)p[i++]);
			if (e != 0)
				r = e;
			continue;
		}
		size_t take = c->left < n - i ? (size_t)c->left : n - i;
		*data = (struct span){p + i, take};
		i += take;
		c->left -= take;
		if (c->left == 0)
			c->state = DATA_CR;
		r = CHUNK_DATA;
	}
	*used = i;
	return r == CHUNK_MORE && c->state == DONE ? CHUNK_END : r;
}
