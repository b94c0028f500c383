/*
 * stream: what comes between an upstream's events and the client's: holds back until the answer
 * has begun to say something, lets whole events through untouched, and knows whether the end is a
 * true one. Pure bookkeeping: no I/O, no clock.
 *
 * The events of Chat are read by openai_chat.h, which is fast; those of any other dialect by its
 * decoder, through sniff.h.
 *
 * stream_open    everything but the buffers that grow lives in `a`. E_NOMEM.
 * stream_take    takes all of p[0..n). *out: the bytes that may go to the client now (may be
 *                empty), valid until the next call. E_TOO_LONG: an event larger than max_event;
 *                E_NOMEM. Only whole events leave, so that what is said behind them (an error) is
 *                an event too. Nothing leaves before `committed`.
 * stream_end     the upstream has ended as HTTP wants it. *out: what follows the last event, if
 *                with it the stream is whole.
 * stream_whole   [DONE] was seen, or a finish_reason and then stream_end.
 * stream_failed  an error object came before anything useful: another target may still answer.
 *                The object stands in `error`.
 * stream_state   what is known of the answer by now.
 * stream_begin   the client has been given something already: nothing is held back any more.
 * stream_close   frees.
 */
#ifndef OMNIROUTE_WORKER_STREAM_H
#define OMNIROUTE_WORKER_STREAM_H

#include "proto/openai_chat.h"
#include "proto/sniff.h"
#include "shared/arena.h"
#include "shared/buf.h"

#define STREAM_HOLD_MAX 65536u  /* an upstream that sends so much is answering, whatever it says */
#define STREAM_ERROR_MAX 16384u /* bytes kept of an error object */

struct sse;

struct stream_setup {
	struct arena *arena;
	size_t max_event;
	enum dialect_id dialect;
	const struct profile *profile; /* not read for Chat */
	bool swallow; /* Chat: a chunk that has usage and no choices was asked for by us, not by the
			 client */
};

struct stream {
	struct sse *sse;
	struct arena *arena;
	struct sniff *sniff;   /* NULL: Chat */
	struct chat_stream st; /* Chat */
	struct translate_state state;
	bool swallow;
	struct buf held; /* received, and not yet let through */
	size_t ready;    /* of these, in whole events */
	size_t sent;     /* of these, let through by the last call */
	struct span error;
	bool committed, ended;
	bool cut; /* it has ended without an end of its dialect */
};

int stream_open(struct stream *s, const struct stream_setup *q) must_check;
int stream_take(struct stream *s, const char *p, size_t n, struct span *out) must_check;
int stream_end(struct stream *s, struct span *out) must_check;
bool stream_whole(const struct stream *s);
bool stream_failed(const struct stream *s);
/* What openai_chat.h has found, in the common form. */
void chat_told(const struct chat_stream *st, struct translate_state *out);
const struct translate_state *stream_state(struct stream *s);
void stream_begin(struct stream *s);
void stream_close(struct stream *s);

#endif
