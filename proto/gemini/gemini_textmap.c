/* Where the code points of a text begin: one bit for each byte, counted by blocks. */
#include "proto/gemini/gemini.h"
#include "shared/err.h"

int
textmap_add(struct arena *a, struct textmap *m, struct span text)
{
	for (size_t i = 0; i < text.n; i++) {
		uint64_t at = m->bytes % TEXTMAP_BYTES;

		if (at == 0) {
			struct textmap_block *b = arena_zalloc(a, 1, sizeof *b);
			if (b == NULL)
				return E_NOMEM;
			b->before = m->points;
			if (m->last != NULL)
				m->last->next = b;
			else
				m->first = b;
			m->last = b;
		}
		if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
			m->last->starts[at / 8] |= (uint8_t)(1u << at % 8);
			m->points++;
		}
		m->bytes++;
	}
	return 0;
}

uint64_t
textmap_points(const struct textmap *m, uint64_t byte)
{
	const struct textmap_block *b = m->first;
	uint64_t n;

	if (byte >= m->bytes)
		return m->points;
	for (; byte >= TEXTMAP_BYTES; byte -= TEXTMAP_BYTES)
		b = b->next;
	n = b->before;
	for (uint64_t i = 0; i < byte / 8; i++)
		n += (uint64_t)__builtin_popcount(b->starts[i]);
	return n +
	       (uint64_t)__builtin_popcount(b->starts[byte / 8] & (uint8_t)((1u << byte % 8) - 1));
}

uint64_t
textmap_byte(const struct textmap *m, uint64_t point)
{
	const struct textmap_block *b = m->first;
	uint64_t base = 0, n;

	if (point >= m->points)
		return m->bytes;
	for (; b->next != NULL && b->next->before <= point; b = b->next)
		base += TEXTMAP_BYTES;
	n = b->before;
	for (uint64_t i = 0; i < TEXTMAP_BYTES; i++)
		if ((b->starts[i / 8] >> i % 8 & 1) != 0 && n++ == point)
			return base + i;
	return m->bytes;
}
