/*
 * The envelope before base64:
 *
 *   O M N I 0 1 │ origin │ family, 4 bytes, big-endian │ payload …
 *
 * Bit 7 of the origin tells that the payload is the thought itself.
 */
#include "proto/signature.h"

#include <string.h>

#include "shared/digest.h"

#define MAGIC "OMNI01"
#define MAGIC_BYTES 6u
#define HEAD_BYTES (MAGIC_BYTES + 1 + 4)
#define ENCRYPTED 0x80u
#define MARK_BYTES (sizeof SIGNATURE_MARK - 1)
#define SIGNATURE_MAX (64u << 20)

/* What a buf holds moves to the arena. */
static struct span
keep(struct arena *a, struct buf *b)
{
	char *p = buf_ok(b) ? arena_strndup(a, b->data, b->len) : NULL;
	struct span s = {p, p != NULL ? b->len : 0};

	buf_wipe(b);
	return s;
}

static bool
is_envelope(struct span text)
{
	return text.n >= MARK_BYTES && memcmp(text.p, SIGNATURE_MARK, MARK_BYTES) == 0;
}

struct span
signature_wrap(struct arena *a, const struct canon_signature *s)
{
	struct buf plain = BUF_INIT(SIGNATURE_MAX), text = BUF_INIT(SIGNATURE_MAX);
	uint8_t head[HEAD_BYTES] = MAGIC;

	if (is_envelope(s->data))
		return s->data;
	head[MAGIC_BYTES] = (uint8_t)(s->origin | (s->encrypted ? ENCRYPTED : 0));
	for (unsigned i = 0; i < 4; i++)
		head[MAGIC_BYTES + 1 + i] = (uint8_t)(s->family >> (24 - 8 * i));
	buf_add(&plain, head, sizeof head);
	if (s->data.n > 0)
		buf_add(&plain, s->data.p, s->data.n);
	if (!buf_ok(&plain) || base64_encode(&text, plain.data, plain.len) != 0)
		text.failed = true;
	buf_wipe(&plain);
	return keep(a, &text);
}

/* What begins as an envelope and is none was tampered with: nobody's signature, so that no provider
 * gets it. */
bool
signature_unwrap(
    struct arena *a, struct span text, enum canon_origin native, struct canon_signature *out)
{
	struct buf plain = BUF_INIT(SIGNATURE_MAX);
	const uint8_t *head;

	*out = (struct canon_signature){.data = text, .origin = native};
	if (!is_envelope(text))
		return false;
	*out = (struct canon_signature){.origin = ORIGIN_NONE};
	if (base64_decode(&plain, text) == 0 && plain.len >= HEAD_BYTES) {
		head = (const uint8_t *)plain.data;
		if ((head[MAGIC_BYTES] & ~ENCRYPTED) < ORIGINS)
			out->origin = (enum canon_origin)(head[MAGIC_BYTES] & ~ENCRYPTED);
		out->encrypted = (head[MAGIC_BYTES] & ENCRYPTED) != 0;
		for (unsigned i = 0; i < 4; i++)
			out->family = out->family << 8 | head[MAGIC_BYTES + 1 + i];
		buf_drop(&plain, HEAD_BYTES);
		if (plain.len > 0) {
			out->data = keep(a, &plain);
			return true;
		}
	}
	buf_wipe(&plain);
	return true;
}

/* Always the start of a JSON string. Every body that passes is searched: the mark's capital O is
 * rare, and memchr several times as fast as memmem. */
bool
signature_present(struct span body)
{
	static const char mark[] = "\"" SIGNATURE_MARK;
	const size_t n = sizeof mark - 1, before = 4;
	const char *p = body.p, *end = body.p + body.n;

	if (body.n < n)
		return false;
	for (p += before; (p = memchr(p, mark[before], (size_t)(end - p))) != NULL; p++)
		if ((size_t)(end - p) >= n - before && memcmp(p - before, mark, n) == 0)
			return true;
	return false;
}

/* "us.anthropic.claude-opus-4-5-v1:0", "anthropic/claude-…" and "claude-…" are one family: what
 * stands before the first digit or hyphen of the name without its vendor. */
uint32_t
signature_family(struct span model)
{
	size_t from = 0, end;
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < model.n; i++) {
		unsigned char c = (unsigned char)model.p[i];
		if (c == '/' || (c == '.' && i + 1 < model.n &&
				    !(model.p[i + 1] >= '0' && model.p[i + 1] <= '9')))
			from = i + 1;
	}
	for (end = from; end < model.n; end++) {
		unsigned char c = (unsigned char)model.p[end];
		if (c == '-' || c == ':' || (c >= '0' && c <= '9'))
			break;
		h = (h ^ (c >= 'A' && c <= 'Z' ? c + 32u : c)) * 16777619u;
	}
	return end == from ? 0 : h;
}
