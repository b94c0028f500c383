/*
 * Signs of life for a client whose stream is silent (spec translation 18.7, 18.8). One timer for
 * each stream, which is set when the upstream's head has come and again when it fires: writing
 * costs a look at the clock, not a timer.
 *
 * Before the first byte is out, silence behind a 2xx begins the stream, and with that gives up
 * falling back. Only whole events have left by then and later, so that a sign may stand anywhere.
 */
#include <event2/event.h>
#include <string.h>

#include "shared/clock.h"
#include "shared/snapshot.h"
#include "worker/exchange_own.h"
#include "worker/worker.h"

#define BEGIN_MS 10000 /* of silence behind a 2xx, at most, before the stream begins */

/* Where bytes pass: after the upstream's first event, and before it; NULL: none is known there. */
static const struct {
	const char *after, *before;
} signs[DIALECTS] = {
    [DIALECT_CHAT] = {": keepalive\n\n", ": keepalive\n\n"},
    [DIALECT_RESPONSES] = {": keepalive\n\n", ": keepalive\n\n"},
    [DIALECT_MESSAGES] = {"event: ping\ndata: {\"type\": \"ping\"}\n\n", ": keepalive\n\n"},
    [DIALECT_GEMINI] = {"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],"
			"\"role\":\"model\"},\"index\":0}]}\r\n\r\n",
	NULL},
};

static uint64_t
interval_ns(const struct exchange *x)
{
	return snapshot_head(x->snap)->settings.keepalive_interval_ms * NS_PER_MS;
}

static void
set_timer(struct exchange *x, uint64_t ns)
{
	struct timeval tv = {.tv_sec = (time_t)(ns / NS_PER_SEC),
	    .tv_usec = (suseconds_t)(ns % NS_PER_SEC / NS_PER_US)};

	(void)event_add(&x->quiet, &tv);
}

/* Bytes that pass: the sign goes out as it is. */
static void
sign_plain(struct exchange *x)
{
	bool begun = x->bytes_out > 0;
	const char *text = begun ? signs[x->ask.dialect].after : signs[x->ask.dialect].before;

	if (text == NULL)
		return;
	stream_begin(&x->stream);
	if (x->state == XS_CONNECT)
		answer_begin(x);
	x->wrote_ns = clock_now_ns();
	x->blocked = http_write(x->req, text, strlen(text));
}

static void
sign_retold(struct exchange *x)
{
	int r;

	buf_reset(&x->out);
	r = x->state == XS_CONNECT ? translate_begin(x->translate, &x->out)
				   : translate_idle(x->translate, &x->out);
	if (r == 0)
		answer_forward(x, (struct span){x->out.data, x->out.len});
}

static void
on_quiet(evutil_socket_t fd, short what, void *arg)
{
	struct exchange *x = arg;
	uint64_t now = clock_now_ns(), every = interval_ns(x);

	(void)fd;
	(void)what;
	if (x->state == XS_RELAY && now - x->wrote_ns < every) {
		set_timer(x, every - (now - x->wrote_ns));
		return;
	}
	exchange_enter(x);
	if (!x->blocked && answer_early(x)) { /* a client that does not read hears nothing */
		if (x->target.translate)
			sign_retold(x);
		else
			sign_plain(x);
	}
	if (x->quiet_set)
		set_timer(x, every);
	exchange_leave(x);
}

void
quiet_start(struct exchange *x, bool begun)
{
	uint64_t ns = interval_ns(x);

	if (ns == 0)
		return;
	if (!x->quiet_set) {
		evtimer_assign(&x->quiet, worker.base, on_quiet, x);
		x->quiet_set = true;
	} else if (begun) {
		return; /* it fires in time and sees when there was a write last */
	}
	set_timer(x, begun ? ns : MIN(ns, BEGIN_MS * NS_PER_MS));
}

void
quiet_stop(struct exchange *x)
{
	if (x->quiet_set)
		event_del(&x->quiet);
	x->quiet_set = false;
}
