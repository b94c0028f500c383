/*
 * messages_stream: the state of one upstream's stream, shared by what reads its events and what
 * reads the blocks in them. Everything lives in arena `a`; `scratch` is emptied behind each frame.
 * Each function: 0, or what the sink returned.
 */
#ifndef OMNIROUTE_PROTO_MESSAGES_STREAM_H
#define OMNIROUTE_PROTO_MESSAGES_STREAM_H

#include "proto/messages/messages.h"

struct stream_block {
	struct stream_block *next;
	int64_t index;
	uint32_t part;
	enum canon_part_kind kind;
	bool said;         /* arguments or text were seen */
	bool held;         /* OPEN waits for the whole block: compaction */
	struct span input; /* arguments that stood in the start */
	struct canon_part *meta;
};

/* A text that is replaced in place; its memory is used again. */
struct kept {
	char *p;
	size_t cap;
};

struct stream_decoder {
	struct arena *a, *scratch;
	bool eof_is_end, begun, ended, useful, called;
	uint32_t parts;
	unsigned opened;
	struct stream_block *open, *unused;
	uint32_t family;
	struct canon_usage usage;
	struct kept usage_raw, stop_raw, stop_sequence, details;
	struct canon_finish finish;
};

int messages_stream_send(const struct canon_sink *sink, const struct canon_event *ev);
/* FAIL, class server: the end of the stream. */
int messages_stream_fail(
    struct stream_decoder *d, const char *code, const char *message, const struct canon_sink *sink);

/* content_block_start, content_block_delta, content_block_stop */
int messages_stream_start_block(
    struct stream_decoder *d, const struct json *ev, const struct canon_sink *sink);
int messages_stream_take_delta(
    struct stream_decoder *d, const struct json *ev, const struct canon_sink *sink);
int messages_stream_stop_block(
    struct stream_decoder *d, const struct json *ev, const struct canon_sink *sink);
/* Everything that is open is closed, in the order in which it was opened. */
int messages_stream_close_all(struct stream_decoder *d, const struct canon_sink *sink);

#endif
