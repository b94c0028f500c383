/*
 * rate: why the window is exact, and why nobody waits for the dead.
 *
 * The circle has L words (L = limit up to RATE_ENTRIES); word i takes room(i) admissions, and the
 * sum of all room(i) is the limit. A *turn* is one pass of head over one word: (lap, index). Words
 * are changed by CAS of the whole word only.
 *
 * One turn, one group. Turn T is opened by replacing a word that is not of T's lap by one that is.
 * While head stands at T this happens once: the word is of T's lap from then on, and a CAS that
 * expects what stood there before fails. Head leaves T only by a CAS made by somebody who saw the
 * word full. So turns are opened in order, each once.
 *
 * Never more than the limit in any window. The word keeps the time of its latest admission; an
 * admission counts at the later of its own `now` and that time. Turn (lap + 1, i) is opened only by
 * an admission whose `now` is at least a window after the latest of turn (lap, i), and later laps
 * are later still. So a half-open window holds admissions of at most one lap for each i, that is at
 * most room(i), and in the sum at most the limit. Nothing here needs the clocks of two processes to
 * come in order. (A group whose latest admission is a window old starts again from one within its
 * turn: by the same argument no window sees both halves.)
 *
 * A taker that dies before its CAS of the word has admitted nothing and left nothing. One that dies
 * between the two CASes has left a full word under head; the next caller sees a full word of this
 * lap and moves head. A taker that is stopped there and wakes up later fails in its second CAS,
 * because head never comes back to an old value: lap grows. A taker stopped before its first CAS
 * fails in it when anybody took that turn. A failed CAS means that somebody else got on: the loop
 * has no owner to wait for.
 *
 * Change of limit: one CAS of head, to index 0 of a lap LAP_SKIP further on: every word in the
 * circle is then neither of this lap nor of the last one, that is: stale, that is: free. Someone
 * still under way with the old limit books into a word that is stale already; that admission
 * belongs to the time before the change. The lap in a word has 16 bits: a word that no layout
 * touched for exactly 65,535 laps could pass for taken, which costs one admission, once.
 */
#include "shared/rate.h"

#include <assert.h>

#define TIME_BITS 36
#define TIME_MASK ((UINT64_C(1) << TIME_BITS) - 1)
#define COUNT_MASK UINT64_C(0xfff)
#define LAP_SHIFT 48
#define LAP_CYCLE UINT64_C(65535)
#define LAP_SKIP 3

#define HEAD_INDEX_BITS 8
#define HEAD_LAP_MASK ((UINT64_C(1) << 36) - 1)
#define HEAD_LIMIT_SHIFT 44

/* A time this far ahead is another process's later clock: it was stopped, for a day at most,
 * between its look at the clock and this one. One further ahead is an old one, 2^36 ms (2.2 years)
 * ago. */
#define AHEAD_MAX UINT64_C(86400000)

static_assert(RATE_ENTRIES == 1u << HEAD_INDEX_BITS, "an index must fit its bits");
static_assert(RATE_LIMIT_MAX < 1u << 20, "a limit must fit its bits");
static_assert(sizeof(struct rate_log) == 8 + 8 * RATE_ENTRIES, "layout changed: raise LIVE_MAJOR");

struct head {
	uint64_t limit, lap;
	unsigned index;
};

/* The circle for a limit. */
struct circle {
	unsigned words;
	uint64_t group, last; /* room of a word, and of the last one */
};

static struct head
head_unpack(uint64_t h)
{
	return (struct head){
	    .limit = h >> HEAD_LIMIT_SHIFT,
	    .lap = (h >> HEAD_INDEX_BITS) & HEAD_LAP_MASK,
	    .index = (unsigned)(h & (RATE_ENTRIES - 1)),
	};
}

static uint64_t
head_pack(struct head h)
{
	return h.limit << HEAD_LIMIT_SHIFT | (h.lap & HEAD_LAP_MASK) << HEAD_INDEX_BITS | h.index;
}

static uint64_t
word_pack(uint64_t lap, uint64_t count, uint64_t time)
{
	return lap << LAP_SHIFT | count << TIME_BITS | (time & TIME_MASK);
}

static uint64_t
word_lap(uint64_t w)
{
	return w >> LAP_SHIFT;
}

static uint64_t
word_count(uint64_t w)
{
	return (w >> TIME_BITS) & COUNT_MASK;
}

/* 1 .. LAP_CYCLE; 0 stands in words that were never taken. */
static uint64_t
lap_mark(uint64_t lap)
{
	return lap % LAP_CYCLE + 1;
}

static struct circle
circle_for(uint64_t limit)
{
	struct circle c = {.group = (limit + RATE_ENTRIES - 1) / RATE_ENTRIES};

	c.words = (unsigned)((limit + c.group - 1) / c.group);
	c.last = limit - (c.words - 1) * c.group;
	return c;
}

static uint64_t
circle_room(const struct circle *c, unsigned index)
{
	return index + 1 < c->words ? c->group : c->last;
}

static struct head
head_next(struct head h, const struct circle *c)
{
	if (++h.index >= c->words) {
		h.index = 0;
		h.lap++;
	}
	return h;
}

/* ms until the word's latest admission is a window old; 0: it is. */
static uint64_t
word_wait(uint64_t w, uint64_t window_ms, uint64_t now_ms)
{
	uint64_t age = (now_ms - w) & TIME_MASK, ahead = (w - now_ms) & TIME_MASK;

	if (age < window_ms)
		return window_ms - age;
	return ahead > 0 && ahead <= AHEAD_MAX ? window_ms + ahead : 0;
}

/* Moves head if it is still `seen`. To fail is as good: somebody else has. */
static void
head_move(struct rate_log *r, uint64_t seen, struct head to)
{
	atomic_compare_exchange_strong(&r->head, &seen, head_pack(to));
}

/* One look at the word under head. */
enum look { LOOK_AGAIN, LOOK_TAKEN, LOOK_WAIT };

static enum look
look(struct rate_log *r, uint64_t seen, uint64_t window_ms, uint64_t now_ms, uint64_t *retry_ms)
{
	struct head h = head_unpack(seen);
	struct circle c = circle_for(h.limit);
	uint64_t room = circle_room(&c, h.index), mark = lap_mark(h.lap), count = 1;
	uint64_t w = atomic_load(&r->entry[h.index]), time = now_ms;
	uint64_t wait = word_wait(w, window_ms, now_ms);

	if (word_lap(w) == mark) {
		if (word_count(w) >= room) {
			head_move(r, seen, head_next(h, &c));
			return LOOK_AGAIN;
		}
		if (wait > 0) {
			count = word_count(w) + 1;
			time = wait > window_ms ? w : now_ms; /* the later of the two */
		}
	} else if (word_lap(w) == lap_mark(h.lap - 1)) {
		if (wait > 0) {
			*retry_ms = wait;
			return LOOK_WAIT;
		}
	} else if (atomic_load(&r->head) != seen) {
		return LOOK_AGAIN; /* not a stale word but a newer one: it is our head that is old
				    */
	}
	if (!atomic_compare_exchange_strong(&r->entry[h.index], &w, word_pack(mark, count, time)))
		return LOOK_AGAIN;
	if (count >= room)
		head_move(r, seen, head_next(h, &c));
	return LOOK_TAKEN;
}

bool
rate_take(
    struct rate_log *r, uint64_t limit, uint64_t window_ms, uint64_t now_ms, uint64_t *retry_ms)
{
	enum look l = LOOK_AGAIN;
	struct head h;
	uint64_t seen;

	*retry_ms = 0;
	if (limit == 0)
		return true;
	limit = MIN(limit, RATE_LIMIT_MAX);
	window_ms = MIN(window_ms, RATE_WINDOW_MAX);
	while (l == LOOK_AGAIN) {
		seen = atomic_load(&r->head);
		h = head_unpack(seen);
		if (h.limit == limit)
			l = look(r, seen, window_ms, now_ms, retry_ms);
		else
			head_move(r, seen, (struct head){.limit = limit, .lap = h.lap + LAP_SKIP});
	}
	return l == LOOK_TAKEN;
}

uint64_t
rate_used(const struct rate_log *r, uint64_t limit, uint64_t window_ms, uint64_t now_ms)
{
	struct head h = head_unpack(atomic_load(&r->head));
	struct circle c;
	uint64_t sum = 0;

	limit = MIN(limit, RATE_LIMIT_MAX);
	if (limit == 0 || h.limit != limit)
		return 0;
	c = circle_for(limit);
	for (unsigned i = 0; i < c.words; i++) {
		uint64_t w = atomic_load(&r->entry[i]), lap = word_lap(w);

		if ((lap == lap_mark(h.lap) || lap == lap_mark(h.lap - 1)) &&
		    word_wait(w, MIN(window_ms, RATE_WINDOW_MAX), now_ms) > 0)
			sum += word_count(w);
	}
	return sum;
}

/* Limit 0 is nobody's: the next caller lays the circle out, LAP_SKIP laps on. */
void
rate_clear(struct rate_log *r)
{
	uint64_t seen = atomic_load(&r->head), clear;

	do {
		clear = head_pack((struct head){.lap = head_unpack(seen).lap});
	} while (!atomic_compare_exchange_strong(&r->head, &seen, clear));
}
