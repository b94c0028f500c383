/*
 * framing_own: what framing.c and its parts share.
 *
 * braces_take  one byte more of a JSON text that begins with a bracket: true when it was the one
 *              that closes the first. Only brackets and strings are looked at; whether it is JSON is
 *              the parser's business.
 * aws_crc32    CRC-32 (IEEE 802.3, reflected).
 * aws_size     length of the message whose first AWS_PRELUDE bytes these are, at most `max`;
 *              E_CHECKSUM, E_SYNTAX, E_TOO_LONG.
 * aws_parse    a whole message; what *f points to is in it.
 */
#ifndef OMNIROUTE_PROTO_FRAMING_OWN_H
#define OMNIROUTE_PROTO_FRAMING_OWN_H

#include "proto/dialect.h"

#define AWS_PRELUDE 12
#define AWS_MESSAGE_MAX (16u << 20)

struct braces {
	size_t depth;
	bool string, escape;
};

bool braces_take(struct braces *b, char c);

uint32_t aws_crc32(const char *p, size_t n);
ptrdiff_t aws_size(const char *p, size_t max) must_check;
int aws_parse(const char *p, size_t n, struct frame *f) must_check;

#endif
