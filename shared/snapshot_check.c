/*
 * snapshot_check: nothing in the block is believed. After it has said 0, every offset, length, row
 * number and slot number that a reader can follow stays inside the block, and inside the tables of
 * the live region that the slots name.
 */
#include <string.h>

#include <sodium.h>

#include "shared/err.h"
#include "shared/live.h"
#include "shared/snapshot.h"
#include "shared/snapshot_layout.h"

struct block {
	const char *base;
	size_t len;
	const struct snap_head *head;
};

/* Do `count` items of `size` bytes at `off` lie behind the head and before the end? */
static bool
fits(const struct block *b, uint32_t off, uint32_t count, size_t size)
{
	uint64_t end = (uint64_t)off + (uint64_t)count * size; /* 2^32 + 2^32 * 2^16 at most */

	return off % SNAP_ALIGN == 0 && off >= sizeof *b->head && end <= b->len;
}

static bool
string_is_sane(const struct block *b, struct snap_str s)
{
	uint64_t first = b->head->pool_off, end = first + b->head->pool_len;

	return s.off >= first && (uint64_t)s.off + s.len < end && b->base[s.off + s.len] == '\0';
}

static bool
strings_are_sane(const struct block *b, const void *row, const uint16_t *offs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!string_is_sane(b, snap_str_at(row, offs[i])))
			return false;
	return true;
}

/* Every row stands in the index once, so a lookup misses none and an empty slot ends it soon. */
static bool
index_is_sane(const struct block *b, enum snap_id id, const struct snap_table *t)
{
	const uint32_t *index;
	uint32_t used = 0;

	if (!snap_layout[id].indexed)
		return t->index_size == 0;
	if (t->index_size == 0 || (t->index_size & (t->index_size - 1)) != 0 ||
	    t->count > t->index_size / 2 || !fits(b, t->index_off, t->index_size, sizeof *index))
		return false;
	index = (const uint32_t *)(const void *)(b->base + t->index_off);
	for (uint32_t i = 0; i < t->index_size; i++) {
		if (index[i] > t->count)
			return false;
		used += index[i] != 0;
	}
	return used == t->count;
}

/* ---- what is special to a kind of row ---- */

static bool
listener_is_sane(const struct block *b, const void *row)
{
	const struct snap_listener *l = row;

	(void)b;
	return l->kind <= LISTENER_UNIX;
}

static bool
net_is_sane(const struct block *b, const void *row)
{
	const struct snap_net *n = row;

	(void)b;
	return n->bits <= 128;
}

static bool
provider_is_sane(const struct block *b, const void *row)
{
	const struct snap_provider *p = row;

	(void)b;
	return p->slot < LIVE_PROVIDERS;
}

static bool
conn_is_sane(const struct block *b, const void *row)
{
	const struct snap_conn *c = row;

	return c->slot < LIVE_CONNS && c->provider < b->head->providers.count &&
	       c->dialect < SNAP_DIALECTS && c->sign <= SIGN_SIGV4;
}

static bool
name_is_sane(const struct block *b, const void *row)
{
	const struct snap_name *n = row;
	uint64_t end = (uint64_t)n->list_off + (uint64_t)n->list_len * sizeof(uint32_t);
	const uint32_t *list;

	if (n->provider >= b->head->providers.count || n->list_off % sizeof(uint32_t) != 0 ||
	    n->list_off < sizeof *b->head || end > b->len || n->list_len > b->head->conns.count)
		return false;
	list = (const uint32_t *)(const void *)(b->base + n->list_off);
	for (uint32_t i = 0; i < n->list_len; i++)
		if (list[i] >= b->head->conns.count)
			return false;
	return true;
}

static bool
key_is_sane(const struct block *b, const void *row)
{
	const struct snap_key *k = row;

	(void)b;
	return k->slot < LIVE_KEYS;
}

static bool (*const row_is_sane[SNAP_TABLES])(const struct block *b, const void *row) = {
    [SNAP_LISTENERS] = listener_is_sane,
    [SNAP_NETS] = net_is_sane,
    [SNAP_PROVIDERS] = provider_is_sane,
    [SNAP_CONNS] = conn_is_sane,
    [SNAP_NAMES] = name_is_sane,
    [SNAP_KEYS] = key_is_sane,
};

static bool
table_is_sane(const struct block *b, enum snap_id id)
{
	const struct snap_layout *l = &snap_layout[id];
	const struct snap_table *t = snap_table_get(b->head, id);

	if (!fits(b, t->off, t->count, l->row_size) || !index_is_sane(b, id, t))
		return false;
	for (uint32_t i = 0; i < t->count; i++) {
		const char *row = b->base + t->off + (size_t)i * l->row_size;

		if (!strings_are_sane(b, row, l->strs, l->nstrs) ||
		    (row_is_sane[id] != NULL && !row_is_sane[id](b, row)))
			return false;
	}
	return true;
}

static int
check_head(const struct block *b)
{
	const struct snap_head *h = b->head;
	uint8_t sum[sizeof h->checksum];

	if (h->magic != SNAP_MAGIC)
		return E_SYNTAX;
	if (h->version != SNAP_VERSION)
		return E_VERSION;
	if (h->len > b->len)
		return E_TRUNCATED;
	if (h->len < b->len)
		return E_SYNTAX;
	snap_checksum(b->base, b->len, sum);
	return sodium_memcmp(sum, h->checksum, sizeof sum) == 0 ? 0 : E_CHECKSUM;
}

int
snapshot_check(const void *bytes, size_t len)
{
	struct block b = {.base = bytes, .len = len, .head = bytes};
	int r;

	if (len < sizeof *b.head)
		return E_TRUNCATED;
	if (len > SNAP_MAX || (uintptr_t)bytes % SNAP_ALIGN != 0)
		return E_SYNTAX;
	if ((r = check_head(&b)) != 0)
		return r;
	if (!fits(&b, b.head->pool_off, b.head->pool_len, 1) ||
	    b.head->settings.require_key > REQUIRE_KEY_NEVER ||
	    !strings_are_sane(&b, &b.head->settings, snap_settings_strs, SNAP_SETTINGS_STRS))
		return E_SYNTAX;
	for (unsigned id = 0; id < SNAP_TABLES; id++)
		if (!table_is_sane(&b, id))
			return E_SYNTAX;
	return 0;
}
