/* Messages of AWS event stream, made for the tests. */
#ifndef OMNIROUTE_T_UNIT_PROTO_EVENTSTREAM_H
#define OMNIROUTE_T_UNIT_PROTO_EVENTSTREAM_H

#include <endian.h>
#include <string.h>

#include "proto/framing_own.h"
#include "shared/buf.h"

static inline void
put_u32(struct buf *b, uint32_t n)
{
	n = htobe32(n);
	buf_add(b, &n, sizeof n);
}

/* A header whose value is a string. */
static inline void
put_header(struct buf *b, const char *name, struct span value)
{
	uint8_t size = (uint8_t)strlen(name);
	uint16_t n = htobe16((uint16_t)value.n);

	buf_add(b, &size, 1);
	buf_str(b, name);
	buf_add(b, "\x07", 1);
	buf_add(b, &n, sizeof n);
	buf_add(b, value.p, value.n);
}

static inline void
put_message(struct buf *b, const struct buf *headers, struct span payload)
{
	size_t start = b->len;

	put_u32(b, (uint32_t)(16 + headers->len + payload.n));
	put_u32(b, (uint32_t)headers->len);
	put_u32(b, aws_crc32(b->data + start, 8));
	buf_add(b, headers->data, headers->len);
	buf_add(b, payload.p, payload.n);
	put_u32(b, aws_crc32(b->data + start, b->len - start));
}

/* kind: event, exception, error. word: the header that has the type. */
static inline void
put_event(struct buf *b, const char *kind, const char *word, struct span type, struct span payload)
{
	struct buf headers = BUF_INIT(4096);

	put_header(&headers, ":message-type", span_of(kind));
	put_header(&headers, word, type);
	put_message(b, &headers, payload);
	buf_clear(&headers);
}

#endif
