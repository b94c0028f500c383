/*
 * store_scan: rows in order, a batch at a time.
 */
#include <stdlib.h>
#include <string.h>

#include "shared/buf.h"
#include "shared/err.h"
#include "shared/store_internal.h"

#define BATCH_BYTES (256u << 10)
#define BATCH_ROWS 512u
#define BATCH_MAX (64u << 20) /* with its last value, which may be long */

struct batch {
	struct buf rows; /* key length, value length, key, value, NUL; one after the other */
	unsigned count;
	char from[STORE_KEY_MAX]; /* where the next batch begins */
	size_t from_len;
	bool after_from; /* forward: the key `from` itself is done */
	bool end;
};

static int
cursor_start(
    MDB_cursor *c, const struct store_scan *scan, const struct batch *b, MDB_val *k, MDB_val *v)
{
	int rc;

	if (b->from_len == 0)
		return mdb_cursor_get(c, k, v, scan->backward ? MDB_LAST : MDB_FIRST);
	*k = (MDB_val){.mv_size = b->from_len, .mv_data = (void *)(uintptr_t)b->from};
	rc = mdb_cursor_get(c, k, v, MDB_SET_RANGE);
	if (scan->backward)
		return mdb_cursor_get(c, k, v, rc == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
	if (rc == 0 && b->after_from && k->mv_size == b->from_len &&
	    memcmp(k->mv_data, b->from, b->from_len) == 0)
		rc = mdb_cursor_get(c, k, v, MDB_NEXT);
	return rc;
}

static int
batch_add(struct batch *b, MDB_val k, MDB_val v)
{
	uint64_t lens[2] = {k.mv_size, v.mv_size};

	if (k.mv_size > sizeof b->from)
		return E_TOO_LONG;
	buf_add(&b->rows, lens, sizeof lens);
	buf_add(&b->rows, k.mv_data, k.mv_size);
	buf_add(&b->rows, v.mv_data, v.mv_size);
	buf_add(&b->rows, "", 1);
	memcpy(b->from, k.mv_data, k.mv_size);
	b->from_len = k.mv_size;
	b->after_from = true;
	b->count++;
	return buf_ok(&b->rows) ? 0 : E_NOMEM;
}

static int
batch_read(struct store *s, const struct store_scan *scan, struct batch *b)
{
	struct store_txn t;
	MDB_cursor *c = NULL;
	MDB_val k, v;
	int rc, r = store_read(s, &t);

	buf_reset(&b->rows);
	b->count = 0;
	if (r != 0)
		return r;
	rc = mdb_cursor_open(t.txn, s->dbi[scan->table], &c);
	if (rc == 0)
		rc = cursor_start(c, scan, b, &k, &v);
	while (rc == 0 && r == 0 && b->rows.len < BATCH_BYTES && b->count < BATCH_ROWS) {
		if ((r = batch_add(b, k, v)) == 0)
			rc = mdb_cursor_get(c, &k, &v, scan->backward ? MDB_PREV : MDB_NEXT);
	}
	if (rc == MDB_NOTFOUND)
		b->end = true;
	else if (rc != 0)
		r = store_txn_fail(&t, "scan", rc);
	if (c != NULL)
		mdb_cursor_close(c);
	store_read_end(&t);
	return r;
}

static int
batch_show(const struct store_scan *scan, const struct batch *b)
{
	const char *p = b->rows.data;
	uint64_t lens[2];
	int r = 0;

	for (unsigned i = 0; i < b->count && r == 0; i++) {
		memcpy(lens, p, sizeof lens);
		p += sizeof lens;
		r = scan->row(
		    scan->ctx, (struct span){p, lens[0]}, (struct span){p + lens[0], lens[1]});
		p += lens[0] + lens[1] + 1;
	}
	return r;
}

int
store_scan(struct store *s, const struct store_scan *scan)
{
	struct batch *b = calloc(1, sizeof *b);
	int r = 0;

	if (b == NULL)
		return E_NOMEM;
	buf_init(&b->rows, BATCH_MAX);
	b->from_len = MIN(scan->from.n, sizeof b->from);
	if (b->from_len > 0)
		memcpy(b->from, scan->from.p, b->from_len);
	while (!b->end && r == 0)
		if ((r = batch_read(s, scan, b)) == 0)
			r = batch_show(scan, b);
	buf_clear(&b->rows);
	free(b);
	return r == SCAN_END ? 0 : r;
}
