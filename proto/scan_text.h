/*
 * scan_text: the bytes of JSON texts, for the files of the scanner alone.
 *
 * plain_end  first byte of a string's inside that needs a look: quote, backslash, control
 *            character, not ASCII.
 * utf8_len   length of the UTF-8 sequence at p (which is not ASCII); 0: none is; -1: the text
 *            ends in it.
 * hex_digit  its value, or -1.
 * short_escape  what a backslash and this letter stand for; NUL: nothing (that of u is not among
 * them). type_of    type of the value that begins with `c`, as scan_type.
 */
#ifndef OMNIROUTE_PROTO_SCAN_TEXT_H
#define OMNIROUTE_PROTO_SCAN_TEXT_H

#include <endian.h>
#include <string.h>

#include "shared/base.h"

#define SCAN_ONES UINT64_C(0x0101010101010101)
#define SCAN_HIGH (SCAN_ONES * 0x80)

/*
 * Eight bytes at a time: each term gives the top bit of a byte that is one of these. A borrow runs
 * upwards only, out of a byte that is marked itself, so the lowest mark is always a true one.
 */
static inline const char *
plain_end(const char *p, const char *end)
{
	while (end - p >= 8) {
		uint64_t x, stop;
		memcpy(&x, p, 8);
		x = le64toh(x);
		stop = (x | (x - SCAN_ONES * 0x20) | ((x ^ SCAN_ONES * '"') - SCAN_ONES) |
			   ((x ^ SCAN_ONES * '\\') - SCAN_ONES)) &
		       SCAN_HIGH;
		if (stop != 0)
			return p + __builtin_ctzll(stop) / 8;
		p += 8;
	}
	while (p < end && (unsigned char)(*p - 0x20) < 0x60 && *p != '"' && *p != '\\')
		p++;
	return p;
}

static inline int
utf8_len(const char *p, const char *end)
{
	unsigned char c = (unsigned char)*p, lo = 0x80, hi = 0xbf;
	int len;
	if (c < 0xc2 || c > 0xf4)
		return 0;
	if (c < 0xe0) {
		len = 2;
	} else if (c < 0xf0) {
		len = 3;
		lo = c == 0xe0 ? 0xa0 : 0x80;
		hi = c == 0xed ? 0x9f : 0xbf;
	} else {
		len = 4;
		lo = c == 0xf0 ? 0x90 : 0x80;
		hi = c == 0xf4 ? 0x8f : 0xbf;
	}
	for (int i = 1; i < len; i++, lo = 0x80, hi = 0xbf) {
		if (p + i == end)
			return -1;
		if ((unsigned char)p[i] < lo || (unsigned char)p[i] > hi)
			return 0;
	}
	return len;
}

static inline int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static inline char
short_escape(char c)
{
	switch (c) {
	case '"':
	case '\\':
	case '/':
		return c;
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	default:
		return '\0';
	}
}

static inline int
type_of(char c)
{
	switch (c) {
	case '"':
		return 's';
	case '{':
		return 'o';
	case '[':
		return 'a';
	case 't':
		return 't';
	case 'f':
		return 'f';
	case 'n':
		return '0';
	default:
		return c == '-' || (c >= '0' && c <= '9') ? 'n' : 0;
	}
}

#endif
