/*
 * snapshot_layout: what builder, validator and reader of a snapshot must agree on, as one table.
 * For shared/snapshot*.c and their tests.
 *
 * snap_table_of   the table's entry in the head.
 * snap_row_key    the bytes by which a row is found; strings are `base` + their offset.
 * snap_index_find looks `key` up in an index of `size` slots (a power of two): index of the row, or
 * SNAP_NONE. Ends after `size` slots whatever they hold; a slot must not name a row that does not
 * exist.
 */
#ifndef OMNIROUTE_SHARED_SNAPSHOT_LAYOUT_H
#define OMNIROUTE_SHARED_SNAPSHOT_LAYOUT_H

#include "shared/snapshot.h"

#define SNAP_ALIGN 8u
#define SNAP_MAX (UINT32_C(1) << 30) /* bytes of a whole snapshot */
#define SNAP_NONE UINT32_MAX
#define SNAP_STRS 13
#define SNAP_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

struct snapshot {
	const struct snap_head *head;
	size_t len;
	unsigned refs;
};

enum snap_id {
	SNAP_LISTENERS,
	SNAP_NETS,
	SNAP_PROVIDERS,
	SNAP_CONNS,
	SNAP_NAMES,
	SNAP_MODELS,
	SNAP_KEYS,
	SNAP_TABLES
};

enum snap_key_kind { SNAP_KEY_NONE, SNAP_KEY_STRING, SNAP_KEY_DIGEST };

struct snap_layout {
	uint16_t table; /* offset of the struct snap_table in the head */
	uint16_t row_size;
	uint16_t key_off; /* of the struct snap_str or the digest in a row */
	uint8_t key;      /* enum snap_key_kind: rows are unique by it */
	uint8_t indexed;  /* 1: readers look up by the key, so the index goes into the snapshot */
	uint8_t nstrs;
	uint16_t strs[SNAP_STRS]; /* offsets of the struct snap_str members of a row */
};

extern const struct snap_layout snap_layout[SNAP_TABLES];
/* Offsets of the struct snap_str members of struct snap_settings. */
#define SNAP_SETTINGS_STRS 2
extern const uint16_t snap_settings_strs[SNAP_SETTINGS_STRS];

struct snap_table *snap_table_of(struct snap_head *head, enum snap_id id);
const struct snap_table *snap_table_get(const struct snap_head *head, enum snap_id id);
struct snap_str snap_str_at(const void *row, uint16_t off);
struct span snap_row_key(enum snap_id id, const char *base, const void *row);
uint32_t snap_index_find(enum snap_id id, const char *base, const char *rows, const uint32_t *index,
    uint32_t size, struct span key);
void snap_checksum(const void *bytes, size_t len,
    uint8_t sum[16]); /* of a whole snapshot: what is behind its head */

#endif
