/*
 * inner: proto/translate.h in a loop, as the worker calls it for one exchange, without sockets. It
 * runs on the load's core, so only CPU time is taken.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/translate.h"
#include "t/bench/bench.h"

#define LOOPS 40
#define CHUNKS 2000

static const enum dialect_id dialects[] = {
    [WIRE_CHAT] = DIALECT_CHAT, [WIRE_MESSAGES] = DIALECT_MESSAGES};

struct way {
	enum wire client, upstream;
	struct profile profile;
	struct arena *arena;
	struct translate *t;
};

static double
cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int
way_open(struct way *w, struct span body, struct buf *sent)
{
	struct translate_setup setup = {.client = dialects[w->client],
	    .now_s = 1700000000,
	    .max_event = 1 << 24,
	    .max_response = 1 << 26};
	struct decode_request q = {.body = body};
	struct canon_error err;

	if ((w->arena = arena_new(256u << 20)) == NULL)
		return -1;
	setup.arena = q.arena = w->arena;
	if ((w->t = translate_new(&setup)) == NULL || translate_request(w->t, &q, &err) != 0 ||
	    translate_target(w->t, &w->profile, span_of("m"), &err) != 0)
		return -1;
	return translate_body(w->t, sent);
}

static void
way_close(struct way *w)
{
	translate_free(w->t);
	arena_free(w->arena);
	w->t = NULL;
	w->arena = NULL;
}

static int
measure_request(struct way *w, size_t body, double *us)
{
	struct samples s = {0};
	size_t len;
	char *text = prompt_make(w->client, "m", body, false, true, &len);
	int r = 0;

	for (int i = 0; r == 0 && i < LOOPS; i++) {
		struct buf sent = BUF_INIT(64u << 20);
		double before = cpu_us();

		r = way_open(w, (struct span){text, len}, &sent);
		r = r == 0 && sent.len < body / 2 ? -1 : r; /* it has not said what was asked */
		buf_clear(&sent);
		way_close(w);
		samples_add(&s, cpu_us() - before);
	}
	*us = samples_at(&s, 0.5);
	samples_free(&s);
	free(text);
	return r;
}

/* Whole answers are translated once for each exchange, as streams are. */
static int
measure_whole(struct way *w, struct span asked, size_t reply, double *us)
{
	struct samples s = {0};
	struct canon_error err;
	size_t len;
	char *text = reply_make(w->upstream, reply, &len);
	int r = 0;

	for (int i = 0; r == 0 && i < LOOPS; i++) {
		struct buf sent = BUF_INIT(1u << 20), out = BUF_INIT(64u << 20);
		double before = 0;

		if ((r = way_open(w, asked, &sent)) == 0) {
			before = cpu_us();
			r = translate_whole(w->t, (struct span){text, len}, WHOLE, &out, &err);
			samples_add(&s, cpu_us() - before);
		}
		r = r == 0 && out.len < reply / 2 ? -1 : r;
		buf_clear(&sent);
		buf_clear(&out);
		way_close(w);
	}
	*us = samples_at(&s, 0.5);
	samples_free(&s);
	free(text);
	return r;
}

static int
feed(struct way *w, struct buf *out)
{
	char ev[1024];
	int r = translate_open(w->t, FRAMING_SSE);

	for (unsigned i = 0; r == 0 && i < CHUNKS; i++) {
		size_t n = event_make(w->upstream, i, CHUNKS, i, ev);

		buf_reset(out);
		r = translate_take(w->t, ev, n, out);
		if (r == 0 && out->len == 0)
			r = -1;
	}
	return r;
}

static int
measure_chunk(struct way *w, struct span asked, double *us)
{
	struct samples s = {0};
	int r = 0;

	for (int i = 0; r == 0 && i < LOOPS / 2; i++) {
		struct buf sent = BUF_INIT(1u << 20), out = BUF_INIT(1u << 20);
		double before = 0;

		if ((r = way_open(w, asked, &sent)) == 0) {
			before = cpu_us();
			r = feed(w, &out);
			samples_add(&s, (cpu_us() - before) / CHUNKS);
		}
		buf_clear(&sent);
		buf_clear(&out);
		way_close(w);
	}
	*us = samples_at(&s, 0.5);
	samples_free(&s);
	return r;
}

int
inner_measure(enum wire client, enum wire upstream, size_t body, size_t reply, struct inner *in)
{
	struct way w = {.client = client, .upstream = upstream};
	size_t len;
	char *plain = prompt_make(client, "m", 256, false, false, &len);
	struct span asked = {plain, len};
	char *streamed = prompt_make(client, "m", 256, true, false, &len);
	int r;

	profile_init(&w.profile, dialects[upstream]);
	r = measure_request(&w, body, &in->request);
	if (r == 0)
		r = measure_whole(&w, asked, reply, &in->whole);
	asked = (struct span){streamed, len};
	if (r == 0)
		r = measure_chunk(&w, asked, &in->chunk);
	free(plain);
	free(streamed);
	return r;
}
