/*
 * responses_stream: state of the stream decoder, shared by its two files. Items are known by
 * output_index; their ids may differ from event to event at some providers. What an event does not
 * say (an added event that was left out) is made up for by a later one.
 */
#ifndef OMNIROUTE_PROTO_RESPONSES_STREAM_H
#define OMNIROUTE_PROTO_RESPONSES_STREAM_H

#include "proto/responses/responses.h"

enum stream_kind { STREAM_MESSAGE, STREAM_CALL, STREAM_REASONING, STREAM_OTHER };

/* One text or refusal of a message. */
struct stream_content {
	struct stream_content *next;
	int64_t index;
	enum canon_part_kind kind;
	uint32_t part;
	size_t sent; /* bytes */
	uint32_t cited;
	bool closed;
};

struct stream_item {
	int64_t index; /* output_index; -1: not said */
	struct span id;
	enum stream_kind kind;
	struct span phase; /* JSON of a message's `phase` */
	struct stream_content *contents, *last;
	unsigned count;
	/* calls and thoughts: one part */
	bool open, closed, done, custom;
	uint32_t part;
	size_t sent;
	/* thoughts */
	int64_t piece; /* index of summary or content */
	size_t piece_sent;
	bool in_summary, in_content; /* which of the two is told: the first that came */
};

struct responses_decoder {
	struct arena *a, *scratch;
	enum canon_origin origin;
	uint32_t family;
	bool eof_is_end;
	bool begun, ended, calls, said;
	uint32_t parts;
	struct stream_item **items;
	size_t count, room;
	const struct canon_sink *sink; /* during one call */
};

/* All: 0, E_NOMEM, E_TOO_LONG, or what the sink returned. */
int stream_emit(struct responses_decoder *d, const struct canon_event *ev);
/* The item an event is about; made when it is new. `fresh`: an added event. *out NULL with 0:
 * nothing fits. */
int stream_item_of(struct responses_decoder *d, const struct json *event, enum stream_kind kind,
    bool fresh, struct stream_item **out);
int stream_item_added(struct responses_decoder *d, struct stream_item *it, const struct json *item);
int stream_item_done(struct responses_decoder *d, struct stream_item *it, const struct json *item);
/* An item of the final output: what was not streamed yet. */
int stream_item_repair(struct responses_decoder *d, const struct json *item, uint32_t index);
int stream_close_all(struct responses_decoder *d);

int stream_content_open(struct responses_decoder *d, struct stream_item *it, int64_t index,
    enum canon_part_kind kind, struct stream_content **out);
int stream_content_delta(
    struct responses_decoder *d, struct stream_content *c, const struct json *text);
int stream_content_rest(
    struct responses_decoder *d, struct stream_content *c, const struct json *text);
int stream_content_cite(
    struct responses_decoder *d, struct stream_content *c, const struct json *annotation);
/* What is left of a text or refusal, its annotations, and its end. */
int stream_content_done(
    struct responses_decoder *d, struct stream_content *c, const struct json *part);

int stream_args_delta(struct responses_decoder *d, struct stream_item *it, const struct json *text);
int stream_args_rest(struct responses_decoder *d, struct stream_item *it, const struct json *text);
int stream_thought_piece(struct responses_decoder *d, struct stream_item *it, int64_t index);
int stream_thought_delta(struct responses_decoder *d, struct stream_item *it, bool summary,
    int64_t index, const struct json *text);
int stream_thought_rest(struct responses_decoder *d, struct stream_item *it, bool summary,
    int64_t index, const struct json *text);

#endif
