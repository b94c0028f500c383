/*
 * snapshot: the reader. All bounds were checked once by snapshot_check; nothing here can leave the
 * map.
 *
 * The map is MAP_PRIVATE: kernels before 6.7 refuse a shared map of a write-sealed memfd, even a
 * read-only one. The pages are the same, since nobody writes.
 */
#include "shared/snapshot.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shared/err.h"
#include "shared/snapshot_layout.h"

/* ---- layout ---- */

#define TABLE(name, row) .table = offsetof(struct snap_head, name), .row_size = sizeof(struct row)
#define AT(row, member) offsetof(struct row, member)

const struct snap_layout snap_layout[SNAP_TABLES] = {
    [SNAP_LISTENERS] = {TABLE(listeners, snap_listener), .nstrs = 3,
	.strs = {AT(snap_listener, name), AT(snap_listener, certificate),
	    AT(snap_listener, private_key)}},
    [SNAP_NETS] = {TABLE(nets, snap_net)},
    [SNAP_PROVIDERS] = {TABLE(providers, snap_provider), .key = SNAP_KEY_STRING,
	.key_off = AT(snap_provider, id), .nstrs = 4,
	.strs = {AT(snap_provider, id), AT(snap_provider, alias), AT(snap_provider, name),
	    AT(snap_provider, profile)}},
    [SNAP_CONNS] = {TABLE(conns, snap_conn), .key = SNAP_KEY_STRING, .key_off = AT(snap_conn, id),
	.nstrs = 5 + SNAP_DIALECTS,
	.strs = {AT(snap_conn, id), AT(snap_conn, name), AT(snap_conn, auth_header),
	    AT(snap_conn, secret), AT(snap_conn, headers), AT(snap_conn, url[0]),
	    AT(snap_conn, url[1]), AT(snap_conn, url[2]), AT(snap_conn, url[3]),
	    AT(snap_conn, url[4]), AT(snap_conn, url[5]), AT(snap_conn, url[6]),
	    AT(snap_conn, url[7])}},
    [SNAP_NAMES] = {TABLE(names, snap_name), .key = SNAP_KEY_STRING, .key_off = AT(snap_name, name),
	.indexed = 1, .nstrs = 1, .strs = {AT(snap_name, name)}},
    [SNAP_MODELS] = {TABLE(models, snap_model), .key = SNAP_KEY_STRING,
	.key_off = AT(snap_model, id), .indexed = 1, .nstrs = 3,
	.strs = {AT(snap_model, id), AT(snap_model, owned_by), AT(snap_model, root)}},
    [SNAP_KEYS] = {TABLE(keys, snap_key), .key = SNAP_KEY_DIGEST, .key_off = AT(snap_key, digest),
	.indexed = 1, .nstrs = 2, .strs = {AT(snap_key, id), AT(snap_key, name)}},
};

const uint16_t snap_settings_strs[SNAP_SETTINGS_STRS] = {
    AT(snap_settings, access_log_format), AT(snap_settings, ca_file)};

struct snap_table *
snap_table_of(struct snap_head *head, enum snap_id id)
{
	return (struct snap_table *)(void *)((char *)head + snap_layout[id].table);
}

const struct snap_table *
snap_table_get(const struct snap_head *head, enum snap_id id)
{
	return (
	    const struct snap_table *)(const void *)((const char *)head + snap_layout[id].table);
}

struct snap_str
snap_str_at(const void *row, uint16_t off)
{
	struct snap_str s;

	memcpy(&s, (const char *)row + off, sizeof s);
	return s;
}

struct span
snap_row_key(enum snap_id id, const char *base, const void *row)
{
	const struct snap_layout *l = &snap_layout[id];
	struct snap_str s;

	if (l->key == SNAP_KEY_DIGEST)
		return (struct span){(const char *)row + l->key_off, SNAP_DIGEST};
	s = snap_str_at(row, l->key_off);
	return (struct span){base + s.off, s.len};
}

/* ---- index ---- */

uint64_t
snapshot_hash(const void *p, size_t n)
{
	const unsigned char *c = p;
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < n; i++)
		h = (h ^ c[i]) * UINT64_C(0x100000001b3);
	return h;
}

uint32_t
snap_index_find(enum snap_id id, const char *base, const char *rows, const uint32_t *index,
    uint32_t size, struct span key)
{
	uint64_t at = snapshot_hash(key.p, key.n);

	for (uint32_t i = 0; i < size; i++, at++) {
		uint32_t slot = index[at & (size - 1)];
		struct span k;

		if (slot == 0)
			break;
		k = snap_row_key(id, base, rows + (size_t)(slot - 1) * snap_layout[id].row_size);
		if (k.n == key.n && (k.n == 0 || sodium_memcmp(k.p, key.p, k.n) == 0))
			return slot - 1;
	}
	return SNAP_NONE;
}

void
snap_checksum(const void *bytes, size_t len, uint8_t sum[16])
{
	crypto_generichash(sum, 16, (const unsigned char *)bytes + sizeof(struct snap_head),
	    len - sizeof(struct snap_head), NULL, 0);
}

/* ---- life ---- */

static int
file_size(int fd, size_t *len)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals == -1 || (seals & SNAP_SEALS) != SNAP_SEALS)
		return E_SYNTAX; /* somebody could still change it under our feet */
	if (fstat(fd, &st) != 0)
		return E_SYSTEM;
	if (st.st_size < (off_t)sizeof(struct snap_head))
		return E_TRUNCATED;
	if (st.st_size > (off_t)SNAP_MAX)
		return E_SYNTAX;
	*len = (size_t)st.st_size;
	return 0;
}

int
snapshot_open(int fd, struct snapshot **s)
{
	struct snapshot *n = NULL;
	size_t len = 0;
	void *map = MAP_FAILED;
	int r = file_size(fd, &len);

	*s = NULL;
	if (r != 0)
		return r;
	if ((n = malloc(sizeof *n)) == NULL)
		return E_NOMEM;
	map = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED || madvise(map, len, MADV_DONTDUMP) != 0)
		r = E_SYSTEM;
	else
		r = snapshot_check(map, len);
	if (r != 0)
		goto out;
	*n = (struct snapshot){.head = map, .len = len, .refs = 1};
	*s = n;
	return 0;
out:
	if (map != MAP_FAILED)
		munmap(map, len);
	free(n);
	return r;
}

struct snapshot *
snapshot_get(struct snapshot *s)
{
	s->refs++;
	return s;
}

void
snapshot_put(struct snapshot *s)
{
	if (s == NULL)
		return;
	if (s->refs == 0)
		bug("reference to a snapshot given back twice");
	if (--s->refs > 0)
		return;
	munmap((void *)(uintptr_t)s->head, s->len);
	free(s);
}

/* ---- reading ---- */

static const char *
base_of(const struct snapshot *s)
{
	return (const char *)s->head;
}

const struct snap_head *
snapshot_head(const struct snapshot *s)
{
	return s->head;
}

const char *
snapshot_cstr(const struct snapshot *s, struct snap_str str)
{
	return str.len > 0 ? base_of(s) + str.off : "";
}

struct span
snapshot_span(const struct snapshot *s, struct snap_str str)
{
	return (struct span){snapshot_cstr(s, str), str.len};
}

static const void *
row_at(const struct snapshot *s, enum snap_id id, uint32_t i)
{
	const struct snap_table *t = snap_table_get(s->head, id);

	return i < t->count ? base_of(s) + t->off + (size_t)i * snap_layout[id].row_size : NULL;
}

static const void *
row_find(const struct snapshot *s, enum snap_id id, struct span key)
{
	const struct snap_table *t = snap_table_get(s->head, id);
	const uint32_t *index = (const uint32_t *)(const void *)(base_of(s) + t->index_off);

	return row_at(
	    s, id, snap_index_find(id, base_of(s), base_of(s) + t->off, index, t->index_size, key));
}

const struct snap_listener *
snapshot_listener(const struct snapshot *s, uint32_t i)
{
	return row_at(s, SNAP_LISTENERS, i);
}

const struct snap_net *
snapshot_net(const struct snapshot *s, uint32_t i)
{
	return row_at(s, SNAP_NETS, i);
}

const struct snap_provider *
snapshot_provider(const struct snapshot *s, uint32_t i)
{
	return row_at(s, SNAP_PROVIDERS, i);
}

const struct snap_conn *
snapshot_conn(const struct snapshot *s, uint32_t i)
{
	return row_at(s, SNAP_CONNS, i);
}

const struct snap_model *
snapshot_model(const struct snapshot *s, uint32_t i)
{
	return row_at(s, SNAP_MODELS, i);
}

const struct snap_key *
snapshot_key(const struct snapshot *s, uint32_t i)
{
	return row_at(s, SNAP_KEYS, i);
}

const struct snap_name *
snapshot_find_name(const struct snapshot *s, struct span name)
{
	return row_find(s, SNAP_NAMES, name);
}

const uint32_t *
snapshot_name_list(const struct snapshot *s, const struct snap_name *n)
{
	return (const uint32_t *)(const void *)(base_of(s) + n->list_off);
}

const struct snap_model *
snapshot_find_model(const struct snapshot *s, struct span id)
{
	return row_find(s, SNAP_MODELS, id);
}

const struct snap_key *
snapshot_find_key(const struct snapshot *s, const uint8_t digest[SNAP_DIGEST])
{
	return row_find(s, SNAP_KEYS, (struct span){(const char *)digest, SNAP_DIGEST});
}
