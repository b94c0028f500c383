/*
 * responses_encoder: state of the stream encoder, shared by its two files: the one that takes
 * events and the one that writes items.
 */
#ifndef OMNIROUTE_PROTO_RESPONSES_ENCODER_H
#define OMNIROUTE_PROTO_RESPONSES_ENCODER_H

#include "proto/responses/responses.h"

enum item_kind { ITEM_NONE, ITEM_MESSAGE, ITEM_CALL, ITEM_REASONING };

struct encoder {
	struct encode_ctx ctx;
	bool encrypted; /* the client wants it */
	bool begun, ended, refused, broken;
	uint64_t sequence;
	size_t start; /* of the JSON of the event that is being written */
	struct span id, model;
	uint64_t created;
	uint32_t items;    /* closed ones: output_index of the open one */
	struct buf output; /* closed items, as they were told */
	/* the open item */
	enum item_kind item;
	struct span item_id;
	const struct canon_part *first; /* its part, of a message the first */
	struct buf content;             /* closed parts of a message */
	uint32_t contents;
	struct span sign;
	/* the open part */
	bool open, told; /* told: a thought has begun to be told */
	uint32_t part;
	const struct canon_part *meta;
	struct buf text, annotations, logprobs;
	uint32_t cited;
	struct canon_usage usage;
	enum canon_finish_reason finish;
};

static inline struct span
held(const struct buf *b)
{
	return (struct span){b->data != NULL ? b->data : "", b->len};
}

/* One event of the wire: opened, members written, closed. Of the open item; of its open part. */
struct jsonw encoder_event_open(struct encoder *e, struct buf *out, const char *type);
struct jsonw encoder_item_event(struct encoder *e, struct buf *out, const char *type);
struct jsonw encoder_part_event(struct encoder *e, struct buf *out, const char *type);
void encoder_event_close(const struct encoder *e, struct jsonw *w);

/* The open part of a message, with the text it has by now. */
void encoder_put_content(struct encoder *e, struct jsonw *w);
/* Item by `put`, at the end of the output: told in its done event and at the end of the answer. */
struct span encoder_keep_item(struct encoder *e,
    void (*put)(struct encoder *e, struct jsonw *w, const char *status), const char *status);
void encoder_item_done(struct encoder *e, struct buf *out, struct span item);
void encoder_item_open(struct encoder *e, struct buf *out, enum item_kind kind,
    const struct canon_part *meta); /* closes the one before */
void encoder_item_close(
    struct encoder *e, struct buf *out, const char *status); /* none is open: nothing */

#endif
