#include "proto/sse.h"

#include <endian.h>
#include <string.h>

#include "shared/buf.h"
#include "shared/err.h"

#define KEEP_MAX 65536 /* a buffer that has grown beyond this is given back when it is empty */

/*
 *   buf:  [ events handed out | base … line … pos … | not looked at yet ]
 *
 * base <= line <= pos <= len. What is before `base` goes with the next feed. Offsets of the fields
 * are counted from the start of the buffer; feed moves them with it. Each byte is looked at once,
 * however the stream is cut.
 *
 * A CR ends its line at once; an LF behind it belongs to the same line end. Whether the CR of an
 * empty line waits for such an LF is told by the line before: after CR LF it does, after CR alone
 * the event ends there. So a stream with either line end loses no time, and the events are the same
 * wherever the chunks were cut.
 */
struct field {
	size_t at, n;
	bool set;
};

struct sse {
	struct buf buf, joined; /* joined: the data lines of an event that has several */
	size_t base, line, pos, max;
	bool started;   /* past the place of a BOM */
	bool after_cr;  /* the last line ended with CR, and the byte behind it has not been seen */
	bool crlf;      /* the last line ended with CR LF */
	bool any;       /* the block has a line that is not empty */
	bool ending;    /* the empty line that ends the block was seen, but for its LF */
	unsigned datas; /* data lines of the block */
	int error;
	struct field event, data, id;
};

struct sse *
sse_new(struct arena *a, size_t max)
{
	struct sse *s = arena_zalloc(a, 1, sizeof(*s));
	if (s == NULL)
		return NULL;
	/* What is kept never passes max; one feed may come on top of it. */
	buf_init(&s->buf, SIZE_MAX / 2);
	buf_init(&s->joined, max);
	s->max = max;
	return s;
}

void
sse_free(struct sse *s)
{
	if (s == NULL)
		return;
	buf_clear(&s->buf);
	buf_clear(&s->joined);
}

static void
field_move(struct field *f, size_t by)
{
	if (f->set)
		f->at -= by;
}

/* Drops what was handed out. */
static void
compact(struct sse *s)
{
	size_t by = s->base;
	if (by == 0)
		return;
	if (by == s->buf.len && s->buf.cap > KEEP_MAX)
		buf_clear(&s->buf);
	else
		buf_drop(&s->buf, by);
	s->base = 0;
	s->line -= by;
	s->pos -= by;
	field_move(&s->event, by);
	field_move(&s->data, by);
	field_move(&s->id, by);
}

int
sse_feed(struct sse *s, const char *p, size_t n)
{
	if (s->error != 0)
		return s->error;
	compact(s);
	if (s->buf.len > s->max)
		return s->error = E_TOO_LONG;
	int r = buf_add(&s->buf, p, n);
	if (r != 0)
		s->error = r;
	return r;
}

#define ONES UINT64_C(0x0101010101010101)

/* First CR or LF at or behind p. The lowest mark is a true one: a borrow comes only from a byte
 * that is marked itself. */
static const char *
line_end(const char *p, const char *end)
{
	while (end - p >= 8) {
		uint64_t x, lf, cr, stop;
		memcpy(&x, p, 8);
		x = le64toh(x);
		lf = x ^ ONES * '\n';
		cr = x ^ ONES * '\r';
		stop = (((lf - ONES) & ~lf) | ((cr - ONES) & ~cr)) & ONES * 0x80;
		if (stop != 0)
			return p + __builtin_ctzll(stop) / 8;
		p += 8;
	}
	while (p < end && *p != '\n' && *p != '\r')
		p++;
	return p;
}

/* A further data line: from the second on they are joined in a buffer of their own. */
static int
add_data(struct sse *s, size_t at, size_t n)
{
	int r = 0;
	if (s->datas++ == 0) {
		s->data = (struct field){at, n, true};
		return 0;
	}
	if (s->datas == 2) {
		buf_reset(&s->joined);
		r = buf_add(&s->joined, s->buf.data + s->data.at, s->data.n);
	}
	if (r == 0)
		r = buf_add(&s->joined, "\n", 1);
	if (r == 0)
		r = buf_add(&s->joined, s->buf.data + at, n);
	return r;
}

/* The line at [at, at+n), which is not empty. */
static int
take_line(struct sse *s, size_t at, size_t n)
{
	const char *p = s->buf.data + at;
	s->any = true;
	if (*p == ':')
		return 0;
	const char *colon = memchr(p, ':', n);
	size_t name = colon != NULL ? (size_t)(colon - p) : n;
	size_t skip = colon == NULL ? name : name + 1 + (name + 1 < n && p[name + 1] == ' ');
	struct field value = {at + skip, n - skip, true};
	if (name == 4 && memcmp(p, "data", 4) == 0)
		return add_data(s, value.at, value.n);
	if (name == 5 && memcmp(p, "event", 5) == 0)
		s->event = value;
	else if (name == 2 && memcmp(p, "id", 2) == 0 && memchr(p + skip, '\0', value.n) == NULL)
		s->id = value;
	return 0;
}

static struct span
span_of(const struct sse *s, struct field f)
{
	return f.set ? (struct span){s->buf.data + f.at, f.n} : (struct span){NULL, 0};
}

/* Hands out the block that ends at pos. */
static int
finish(struct sse *s, struct sse_event *ev)
{
	ev->raw = (struct span){s->buf.data + s->base, s->pos - s->base};
	ev->event = span_of(s, s->event);
	ev->id = span_of(s, s->id);
	ev->data = span_of(s, s->data);
	if (s->datas > 1)
		ev->data = (struct span){s->joined.data, s->joined.len};
	s->base = s->line = s->pos;
	s->event.set = s->data.set = s->id.set = false;
	s->any = s->ending = false;
	s->datas = 0;
	return ev->raw.n > s->max ? E_TOO_LONG : SSE_EVENT;
}

/* The BOM may come in pieces. True: it is clear whether there is one. */
static bool
skip_bom(struct sse *s)
{
	static const char bom[] = "\xef\xbb\xbf";
	size_t n = MIN(s->buf.len, sizeof(bom) - 1);
	if (n == 0 || memcmp(s->buf.data, bom, n) != 0)
		return s->started = n > 0;
	if (n < sizeof(bom) - 1)
		return false;
	s->pos = s->line = n;
	return s->started = true;
}

/* Takes the next whole line. SSE_EVENT: it ends a block; SSE_MORE: there is none, or the block goes
 * on. */
static int
step(struct sse *s, bool *more)
{
	const char *data = s->buf.data;
	if (s->after_cr) {
		if (s->pos == s->buf.len) {
			*more = true;
			return SSE_MORE;
		}
		s->after_cr = false;
		s->crlf = data[s->pos] == '\n';
		s->pos += s->crlf;
		s->line = s->pos;
		if (s->ending)
			return SSE_EVENT;
	}
	size_t end = (size_t)(line_end(data + s->pos, data + s->buf.len) - data);
	s->pos = end;
	*more = end == s->buf.len;
	if (*more)
		return SSE_MORE;
	size_t at = s->line, n = end - at;
	s->after_cr = data[end] == '\r';
	s->line = s->pos = end + 1;
	if (n == 0 && s->any) {
		s->ending = s->after_cr && s->crlf;
		return s->ending ? SSE_MORE : SSE_EVENT;
	}
	if (!s->after_cr)
		s->crlf = false;
	return n > 0 ? take_line(s, at, n) : SSE_MORE;
}

int
sse_next(struct sse *s, struct sse_event *ev)
{
	bool more = false;
	int r = SSE_MORE;
	if (s->error != 0)
		return s->error;
	if (s->pos == s->buf.len || (!s->started && !skip_bom(s)))
		return SSE_MORE;
	while (r == SSE_MORE && !more)
		r = step(s, &more);
	if (r == SSE_EVENT)
		r = finish(s, ev);
	else if (r == SSE_MORE && s->buf.len - s->base > s->max)
		r = E_TOO_LONG;
	if (r < 0)
		s->error = r;
	return r;
}

struct span
sse_rest(const struct sse *s)
{
	size_t n = s->buf.len - s->base;
	return n > 0 ? (struct span){s->buf.data + s->base, n} : (struct span){NULL, 0};
}
