/*
 * snapshot_build: the builder. Rows are collected table by table; their strings go into one pool
 * and are known by their offset in it until the block is laid out. Offset 0 of the pool is a NUL,
 * so a cleared struct snap_str is the empty string. Everything that grows is wiped before it is
 * freed: the pool holds credentials.
 *
 *   block:  head | tables | connection lists | indices | pool
 */
#include "shared/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shared/err.h"
#include "shared/live.h"
#include "shared/snapshot_layout.h"

#define INDEX_MIN 8u

struct area {
	char *p;
	size_t len, cap;
};

struct table {
	struct area rows;
	uint32_t count;
	uint32_t *index; /* as in the snapshot: row + 1, 0 = empty, at most half full */
	uint32_t index_size;
};

struct snapshot_builder {
	uint64_t number;
	struct snap_settings settings;
	struct table table[SNAP_TABLES];
	struct area pool;
	struct area lists; /* u32: enabled connections by (provider, priority, id) */
	int failed;        /* first error of snapshot_string */
};

/* ---- memory ---- */

static void
area_clear(struct area *a)
{
	if (a->p != NULL)
		sodium_memzero(a->p, a->cap);
	free(a->p);
	*a = (struct area){0};
}

/* Room for `n` more bytes; never realloc, which would leave a copy behind. */
static int
area_grow(struct area *a, size_t n)
{
	size_t cap = a->cap == 0 ? 4096 : a->cap;
	char *p;

	if (n > SNAP_MAX - a->len)
		return E_FULL;
	while (cap < a->len + n)
		cap *= 2;
	if (cap == a->cap)
		return 0;
	if ((p = malloc(cap)) == NULL)
		return E_NOMEM;
	if (a->len > 0)
		memcpy(p, a->p, a->len);
	n = a->len;
	area_clear(a);
	*a = (struct area){.p = p, .len = n, .cap = cap};
	return 0;
}

static int
area_add(struct area *a, const void *p, size_t n)
{
	int r = area_grow(a, n);

	if (r != 0)
		return r;
	if (n > 0)
		memcpy(a->p + a->len, p, n);
	a->len += n;
	return 0;
}

struct snapshot_builder *
snapshot_builder_new(uint64_t number)
{
	struct snapshot_builder *b = calloc(1, sizeof *b);

	if (b == NULL)
		return NULL;
	b->number = number;
	if (area_add(&b->pool, "", 1) != 0) {
		free(b);
		return NULL;
	}
	return b;
}

void
snapshot_builder_free(struct snapshot_builder *b)
{
	if (b == NULL)
		return;
	for (unsigned id = 0; id < SNAP_TABLES; id++) {
		area_clear(&b->table[id].rows);
		free(b->table[id].index);
	}
	area_clear(&b->pool);
	area_clear(&b->lists);
	sodium_memzero(b, sizeof *b);
	free(b);
}

struct snap_settings *
snapshot_settings(struct snapshot_builder *b)
{
	return &b->settings;
}

struct snap_str
snapshot_string(struct snapshot_builder *b, const char *s, size_t n)
{
	struct snap_str out = {0, 0};
	size_t at = b->pool.len;
	int r = 0;

	if (n == 0)
		return out;
	if (memchr(s, '\0', n) != NULL)
		r = E_RANGE; /* it would end early for whoever reads it as a C string */
	else if ((r = area_grow(&b->pool, n + 1)) == 0) {
		r = area_add(&b->pool, s, n);
		if (r == 0)
			r = area_add(&b->pool, "", 1);
	}
	if (r == 0)
		out = (struct snap_str){(uint32_t)at, (uint32_t)n};
	else if (b->failed == 0)
		b->failed = r;
	return out;
}

/* ---- rows ---- */

static void
index_put(uint32_t *index, uint32_t size, struct span key, uint32_t row)
{
	uint64_t at = snapshot_hash(key.p, key.n);

	while (index[at & (size - 1)] != 0)
		at++;
	index[at & (size - 1)] = row + 1;
}

static int
index_grow(struct snapshot_builder *b, enum snap_id id)
{
	struct table *t = &b->table[id];
	uint32_t size = t->index_size == 0 ? INDEX_MIN : t->index_size * 2;
	uint32_t *index = calloc(size, sizeof *index);

	if (index == NULL)
		return E_NOMEM;
	for (uint32_t i = 0; i < t->count; i++)
		index_put(index, size,
		    snap_row_key(id, b->pool.p, t->rows.p + (size_t)i * snap_layout[id].row_size),
		    i);
	free(t->index);
	t->index = index;
	t->index_size = size;
	return 0;
}

static uint32_t
row_find(const struct snapshot_builder *b, enum snap_id id, struct span key)
{
	const struct table *t = &b->table[id];

	return snap_index_find(id, b->pool.p, t->rows.p, t->index, t->index_size, key);
}

static bool
strings_are_ours(const struct snapshot_builder *b, enum snap_id id, const void *row)
{
	for (unsigned i = 0; i < snap_layout[id].nstrs; i++) {
		struct snap_str s = snap_str_at(row, snap_layout[id].strs[i]);

		if ((uint64_t)s.off + s.len >= b->pool.len)
			return false;
	}
	return true;
}

/* Index of the new row, or an error. */
static int
row_add(struct snapshot_builder *b, enum snap_id id, const void *row)
{
	const struct snap_layout *l = &snap_layout[id];
	struct table *t = &b->table[id];
	struct span key;
	int r;

	if (b->failed != 0)
		return b->failed;
	if (!strings_are_ours(b, id, row))
		return E_RANGE;
	if (t->count >= INT_MAX / 4)
		return E_FULL;
	if (l->key != SNAP_KEY_NONE) {
		key = snap_row_key(id, b->pool.p, row);
		if (key.n == 0)
			return E_RANGE;
		if (row_find(b, id, key) != SNAP_NONE)
			return E_EXISTS;
		if (t->count + 1 > t->index_size / 2 && (r = index_grow(b, id)) != 0)
			return r;
	}
	if ((r = area_add(&t->rows, row, l->row_size)) != 0)
		return r;
	if (l->key != SNAP_KEY_NONE)
		index_put(t->index, t->index_size, key, t->count);
	return (int)t->count++;
}

int
snapshot_add_listener(struct snapshot_builder *b, const struct snap_listener *l)
{
	int r = l->kind <= LISTENER_UNIX ? row_add(b, SNAP_LISTENERS, l) : E_RANGE;

	return r < 0 ? r : 0;
}

int
snapshot_add_net(struct snapshot_builder *b, const struct snap_net *n)
{
	int r = n->bits <= 128 ? row_add(b, SNAP_NETS, n) : E_RANGE;

	return r < 0 ? r : 0;
}

int
snapshot_add_provider(struct snapshot_builder *b, const struct snap_provider *p)
{
	return p->slot < LIVE_PROVIDERS ? row_add(b, SNAP_PROVIDERS, p) : E_RANGE;
}

int
snapshot_add_conn(struct snapshot_builder *b, const struct snap_conn *c)
{
	if (c->slot >= LIVE_CONNS || c->provider >= b->table[SNAP_PROVIDERS].count ||
	    c->dialect >= SNAP_DIALECTS || c->sign > SIGN_SIGV4)
		return E_RANGE;
	return row_add(b, SNAP_CONNS, c);
}

int
snapshot_add_model(struct snapshot_builder *b, const struct snap_model *m)
{
	return row_add(b, SNAP_MODELS, m);
}

int
snapshot_add_key(struct snapshot_builder *b, const struct snap_key *k)
{
	return k->slot < LIVE_KEYS ? row_add(b, SNAP_KEYS, k) : E_RANGE;
}

/* ---- names ---- */

static const struct snap_provider *
provider_at(const struct snapshot_builder *b, uint32_t i)
{
	return (const struct snap_provider *)(const void *)b->table[SNAP_PROVIDERS].rows.p + i;
}

static const struct snap_conn *
conn_at(const struct snapshot_builder *b, uint32_t i)
{
	return (const struct snap_conn *)(const void *)b->table[SNAP_CONNS].rows.p + i;
}

static uint32_t
list_at(const struct snapshot_builder *b, uint32_t i)
{
	return ((const uint32_t *)(const void *)b->lists.p)[i];
}

static uint32_t
list_count(const struct snapshot_builder *b)
{
	return (uint32_t)(b->lists.len / sizeof(uint32_t));
}

static int
by_order_of_trial(const void *pa, const void *pb, void *ctx)
{
	const struct snapshot_builder *b = ctx;
	const struct snap_conn *x = conn_at(b, *(const uint32_t *)pa);
	const struct snap_conn *y = conn_at(b, *(const uint32_t *)pb);

	if (x->provider != y->provider)
		return x->provider < y->provider ? -1 : 1;
	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return strcmp(b->pool.p + x->id.off, b->pool.p + y->id.off);
}

static int
sort_enabled(struct snapshot_builder *b)
{
	int r;

	b->lists.len = 0;
	for (uint32_t i = 0; i < b->table[SNAP_CONNS].count; i++)
		if (conn_at(b, i)->enabled && (r = area_add(&b->lists, &i, sizeof i)) != 0)
			return r;
	if (b->lists.len > 0)
		qsort_r(b->lists.p, list_count(b), sizeof(uint32_t), by_order_of_trial, b);
	return 0;
}

/* `from` counts entries of the lists until the block is laid out. The first taker of a name has it.
 */
static int
name_add(struct snapshot_builder *b, struct snap_str name, uint32_t provider, uint32_t from,
    uint32_t len)
{
	const struct snap_name row = {
	    .name = name, .provider = provider, .list_off = from, .list_len = len};
	int r = name.len > 0 ? row_add(b, SNAP_NAMES, &row) : E_EXISTS;

	return r == E_EXISTS || r >= 0 ? 0 : r;
}

static int
name_providers(struct snapshot_builder *b)
{
	uint32_t count = b->table[SNAP_PROVIDERS].count, at = 0, first;
	int r;

	for (uint32_t i = 0; i < count; i++)
		if ((r = name_add(b, provider_at(b, i)->id, i, 0, 0)) != 0)
			return r;
	for (uint32_t i = 0; i < count; i++) {
		struct snap_name *own = (struct snap_name *)(void *)b->table[SNAP_NAMES].rows.p + i;

		for (first = at; at < list_count(b); at++)
			if (conn_at(b, list_at(b, at))->provider != i)
				break;
		own->list_off = first;
		own->list_len = at - first;
		if ((r = name_add(b, provider_at(b, i)->alias, i, first, at - first)) != 0)
			return r;
	}
	return 0;
}

/* A list of one, or of none for a connection that is switched off; names after ids. */
static int
name_conns(struct snapshot_builder *b)
{
	uint32_t count = b->table[SNAP_CONNS].count;
	uint32_t *place = calloc(count + 1, sizeof *place); /* in the lists, + 1 */
	int r = 0;

	if (place == NULL)
		return E_NOMEM;
	for (uint32_t at = 0; at < list_count(b); at++)
		place[list_at(b, at)] = at + 1;
	for (uint32_t i = 0; i < 2 * count && r == 0; i++) {
		const struct snap_conn *c = conn_at(b, i % count);
		uint32_t p = place[i % count];

		r = name_add(
		    b, i < count ? c->id : c->name, c->provider, p == 0 ? 0 : p - 1, p != 0);
	}
	free(place);
	return r;
}

static int
make_names(struct snapshot_builder *b)
{
	struct table *t = &b->table[SNAP_NAMES];
	int r;

	area_clear(&t->rows);
	free(t->index);
	*t = (struct table){0};
	if ((r = sort_enabled(b)) == 0 && (r = name_providers(b)) == 0)
		r = name_conns(b);
	return r;
}

/* ---- the block ---- */

/* Takes `n` bytes at the next aligned place; *off is SNAP_NONE when the block gets too long. */
static uint32_t
place(uint64_t *at, size_t n)
{
	uint64_t off = (*at + SNAP_ALIGN - 1) / SNAP_ALIGN * SNAP_ALIGN;

	*at = off + n;
	return *at <= SNAP_MAX ? (uint32_t)off : SNAP_NONE;
}

/* Fills in the offsets of the head and returns where the lists go. */
static uint32_t
lay_out(const struct snapshot_builder *b, struct snap_head *h)
{
	uint64_t at = sizeof *h;
	uint32_t lists;

	for (unsigned id = 0; id < SNAP_TABLES; id++) {
		struct snap_table *t = snap_table_of(h, id);

		t->off = place(&at, b->table[id].rows.len);
		t->count = b->table[id].count;
	}
	lists = place(&at, b->lists.len);
	for (unsigned id = 0; id < SNAP_TABLES; id++) {
		struct snap_table *t = snap_table_of(h, id);

		if (snap_layout[id].indexed) {
			t->index_size = MAX(b->table[id].index_size, INDEX_MIN);
			t->index_off = place(&at, (size_t)t->index_size * sizeof(uint32_t));
		}
	}
	h->pool_off = place(&at, b->pool.len);
	h->pool_len = (uint32_t)b->pool.len;
	h->len = at;
	return lists;
}

static void
move_strings(char *row, const uint16_t *offs, unsigned n, uint32_t by)
{
	for (unsigned i = 0; i < n; i++) {
		struct snap_str s = snap_str_at(row, offs[i]);

		s.off += by;
		memcpy(row + offs[i], &s, sizeof s);
	}
}

static void
fill_table(const struct snapshot_builder *b, enum snap_id id, char *block, uint32_t lists)
{
	const struct snap_layout *l = &snap_layout[id];
	const struct table *t = &b->table[id];
	const struct snap_head *h = (const struct snap_head *)(const void *)block;
	const struct snap_table *to = snap_table_get(h, id);

	if (t->rows.len > 0)
		memcpy(block + to->off, t->rows.p, t->rows.len);
	for (uint32_t i = 0; i < t->count; i++) {
		char *row = block + to->off + (size_t)i * l->row_size;

		move_strings(row, l->strs, l->nstrs, h->pool_off);
		if (id == SNAP_NAMES) {
			struct snap_name *n = (struct snap_name *)(void *)row;

			n->list_off = lists + n->list_off * (uint32_t)sizeof(uint32_t);
		}
	}
	if (l->indexed && t->index != NULL)
		memcpy(block + to->index_off, t->index, t->index_size * sizeof(uint32_t));
}

static int
make_block(const struct snapshot_builder *b, char **block, size_t *len)
{
	struct snap_head head = {.magic = SNAP_MAGIC,
	    .version = SNAP_VERSION,
	    .number = b->number,
	    .settings = b->settings};
	uint32_t lists = lay_out(b, &head);
	struct snap_head *h;

	*block = NULL;
	if (head.len > SNAP_MAX)
		return E_FULL;
	if ((*block = calloc(1, head.len)) == NULL)
		return E_NOMEM;
	*len = head.len;
	h = (struct snap_head *)(void *)*block;
	*h = head;
	sodium_memzero(&head, sizeof head);
	move_strings((char *)&h->settings, snap_settings_strs, SNAP_SETTINGS_STRS, h->pool_off);
	for (unsigned id = 0; id < SNAP_TABLES; id++)
		fill_table(b, id, *block, lists);
	if (b->lists.len > 0)
		memcpy(*block + lists, b->lists.p, b->lists.len);
	memcpy(*block + h->pool_off, b->pool.p, b->pool.len);
	snap_checksum(*block, *len, h->checksum);
	return snapshot_check(*block, *len); /* what workers would refuse is never sent */
}

static int
write_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t w = write(fd, p, n);

		if (w == -1 && errno == EINTR)
			continue;
		if (w <= 0)
			return errno == ENOSPC || errno == ENOMEM ? E_NOMEM : E_SYSTEM;
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

static int
make_memfd(const char *block, size_t len, int *fd)
{
	int r;

	*fd = memfd_create("omniroute-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd == -1)
		return E_SYSTEM;
	r = write_all(*fd, block, len);
	if (r == 0 && fcntl(*fd, F_ADD_SEALS, SNAP_SEALS) != 0)
		r = E_SYSTEM;
	if (r != 0) {
		close(*fd);
		*fd = -1;
	}
	return r;
}

int
snapshot_build(struct snapshot_builder *b, int *fd)
{
	char *block = NULL;
	size_t len = 0;
	int r = b->failed;

	*fd = -1;
	if (r == 0)
		r = make_names(b);
	if (r == 0)
		r = make_block(b, &block, &len);
	if (r == 0)
		r = make_memfd(block, len, fd);
	if (block != NULL) {
		sodium_memzero(block, len);
		free(block);
	}
	return r;
}
