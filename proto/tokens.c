/*
 * All sums are in units of 1/132 of a token (so that 1/4, 1/3.3, 1/2 and 3/2 stay integers)
 * and cut at a limit, so that nothing a client sends overflows them.
 */
#include "proto/tokens.h"

#include <string.h>

#include "proto/image_size.h"
#include "shared/digest.h"

#define UNIT 132u /* of one token: divisible by 4, 2, 3.3, 1.5 */
#define SUM_MAX (UINT64_C(1) << 50)
#define HEADER_BASE64 65536u /* of an image, in which its size is looked for */

struct sum {
	uint64_t units;
	enum dialect_id target;
};

static void
add(struct sum *s, uint64_t units)
{
	s->units = units > SUM_MAX - s->units ? SUM_MAX : s->units + units;
}

static void
add_tokens(struct sum *s, uint64_t tokens)
{
	add(s, tokens > SUM_MAX / UNIT ? SUM_MAX : tokens * UNIT);
}

/* ---- text ---- */

static bool
is_punctuation(unsigned char c)
{
	return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
	       (c >= '{' && c <= '~');
}

/* Han, kana, hangul and what stands among them. */
static bool
is_cjk(uint32_t c)
{
	return (c >= 0x2e80 && c <= 0x9fff) || (c >= 0xac00 && c <= 0xd7af) ||
	       (c >= 0xf900 && c <= 0xfaff) || (c >= 0xff00 && c <= 0xffef) ||
	       (c >= 0x20000 && c <= 0x3ffff);
}

static void
add_text(struct sum *s, struct span text)
{
	const unsigned char *p = (const unsigned char *)text.p, *end = text.n > 0 ? p + text.n : p;
	uint64_t ascii = 0, punctuation = 0, two = 0, cjk = 0, more = 0;

	while (p < end) {
		unsigned len = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
		uint32_t c = len == 1 ? *p : *p & (0x7fu >> len);

		if (len > (size_t)(end - p))
			break;
		for (unsigned i = 1; i < len; i++)
			c = c << 6 | (p[i] & 0x3f);
		if (len == 1) {
			ascii++;
			punctuation += is_punctuation(*p);
		} else if (len == 2) {
			two++;
		} else if (is_cjk(c)) {
			cjk++;
		} else {
			more++;
		}
		p += len;
	}
	/* code and JSON: 3.3 characters to a token instead of 4 */
	add(s, ascii * (punctuation * 100 > ascii * 15 ? UNIT * 10 / 33 : UNIT / 4));
	add(s, two * (UNIT / 2) + cjk * UNIT + more * (UNIT * 3 / 2));
}

/* ---- media ---- */

static uint64_t
image_tokens(uint32_t w, uint32_t h, enum dialect_id target)
{
	double x = w, y = h, scale;

	switch (target) {
	case DIALECT_GEMINI:
		return 258 * (uint64_t)((w + 767) / 768 + (w == 0)) * ((h + 767) / 768 + (h == 0));
	case DIALECT_CHAT:
	case DIALECT_RESPONSES:
		scale = MIN(1.0, 2048.0 / MAX(MAX(x, y), 1.0));
		x *= scale;
		y *= scale;
		scale = MIN(1.0, 768.0 / MAX(MIN(x, y), 1.0));
		x *= scale;
		y *= scale;
		return 85 + 170 * (uint64_t)((x + 511) / 512) * (uint64_t)((y + 511) / 512);
	default:
		scale = MIN(1.0, 1568.0 / MAX(MAX(x, y), 1.0));
		return (uint64_t)(x * scale * y * scale / 750) + 1;
	}
}

static uint64_t
unknown_image(enum dialect_id target)
{
	switch (target) {
	case DIALECT_GEMINI:
		return 258;
	case DIALECT_CHAT:
	case DIALECT_RESPONSES:
		return 765;
	default:
		return 1600;
	}
}

static void
add_image(struct sum *s, const struct canon_media *m)
{
	struct buf head = BUF_INIT(HEADER_BASE64);
	uint32_t w, h;
	uint64_t tokens = unknown_image(s->target);
	struct span start = {m->data.p, MIN(m->data.n, HEADER_BASE64)};

	start.n -= start.n % 4; /* whole groups, so that the cut is none */
	if (m->source == MEDIA_BASE64 && start.n > 0 && base64_decode(&head, start) == 0 &&
	    image_size((struct span){head.data, head.len}, &w, &h))
		tokens = image_tokens(w, h, s->target);
	buf_clear(&head);
	add_tokens(s, tokens);
}

/* Bytes behind base64; of what is elsewhere nothing is known. */
static uint64_t
media_bytes(const struct canon_media *m)
{
	return m->source == MEDIA_BASE64 ? m->data.n / 4 * 3 : 0;
}

static void
add_file(struct sum *s, const struct canon_media *m)
{
	add_text(s, m->title);
	add_text(s, m->context);
	if (m->source == MEDIA_TEXT) {
		add_text(s, m->data);
		return;
	}
	add_tokens(s, 2000 * MAX(media_bytes(m) / 25000, 1));
}

/* Some 16 KB to a second of audio, 125 KB of video. */
static void
add_time(struct sum *s, const struct canon_media *m, uint64_t bytes_per_s, unsigned tokens)
{
	add_tokens(s, MAX(media_bytes(m) / bytes_per_s, 1) * tokens);
}

/* ---- the conversation ---- */

static void add_part(struct sum *s, const struct canon_part *p);

static void
add_result(struct sum *s, const struct canon_part *p)
{
	const struct canon_part *c;

	add_tokens(s, 6);
	TAILQ_FOREACH (c, &p->content, link)
		if (c->kind != PART_TOOL_RESULT)
			add_part(s, c);
}

static void
add_part(struct sum *s, const struct canon_part *p)
{
	switch (p->kind) {
	case PART_TEXT:
	case PART_REASONING:
	case PART_REFUSAL:
		add_text(s, p->text);
		break;
	case PART_IMAGE:
		add_image(s, &p->media);
		break;
	case PART_AUDIO:
		add_time(s, &p->media, 16000, s->target == DIALECT_GEMINI ? 32 : 10);
		break;
	case PART_VIDEO:
		add_time(s, &p->media, 125000, 263);
		break;
	case PART_FILE:
		add_file(s, &p->media);
		break;
	case PART_TOOL_CALL:
		add_text(s, p->name);
		add_text(s, p->args);
		add_tokens(s, 8);
		break;
	case PART_TOOL_RESULT:
		add_result(s, p);
		break;
	case PART_SERVER_CALL:
	case PART_SERVER_RESULT:
	case PART_OPAQUE:
		add_text(s, p->raw);
		break;
	}
}

static void
add_tool(struct sum *s, const struct canon_tool *t)
{
	add_tokens(s, 8);
	if (t->raw.p != NULL) {
		add_text(s, t->raw);
		return;
	}
	add_text(s, t->name);
	add_text(s, t->description);
	add_text(s, t->schema);
}

uint64_t
tokens_request(const struct canon_request *q, enum dialect_id target)
{
	struct sum s = {.target = target};
	const struct canon_turn *t;
	const struct canon_part *p;
	const struct canon_tool *tool;

	TAILQ_FOREACH (t, &q->turns, link) {
		add_tokens(&s, 4);
		TAILQ_FOREACH (p, &t->parts, link)
			add_part(&s, p);
	}
	TAILQ_FOREACH (tool, &q->tools, link)
		add_tool(&s, tool);
	add_text(&s, q->format.schema);
	add_tokens(&s, 3);
	return (s.units + UNIT - 1) / UNIT;
}

uint64_t
tokens_text(struct span text)
{
	struct sum s = {0};

	add_text(&s, text);
	return (s.units + UNIT - 1) / UNIT;
}
