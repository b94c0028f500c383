/*
 * snapshot: what the validator lets through, the readers must survive. The block lies in memory of
 * exactly its size, so a read outside is seen. The checksum is made right, or nothing would get
 * past it.
 *
 *   first byte even: the rest is the block
 *   first byte odd:  the rest is a list of (offset, value), 32 bits each, written over a good block
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/live.h"
#include "shared/snapshot.h"
#include "shared/snapshot_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink; /* what was read is used */

static struct snap_str
str(struct snapshot_builder *b, const char *s)
{
	return snapshot_string(b, s, strlen(s));
}

static void
must(bool ok)
{
	if (!ok)
		abort();
}

static void
add_rows(struct snapshot_builder *b, unsigned i)
{
	char name[] = {'n', (char)('0' + i), '\0'};
	struct snap_provider p = {.id = str(b, name), .alias = str(b, i == 0 ? "alias" : "")};
	struct snap_conn c = {.id = str(b, name),
	    .name = str(b, "conn"),
	    .provider = i,
	    .enabled = 1,
	    .dialect = 1,
	    .url[1] = str(b, "http://127.0.0.1/"),
	    .secret = str(b, "secret")};
	struct snap_model m = {.id = str(b, name), .root = str(b, "root")};
	struct snap_key k = {.id = str(b, name), .digest = {(uint8_t)i}};
	struct snap_listener l = {.name = str(b, "127.0.0.1:0")};
	struct snap_net n = {.bits = 8};

	must(snapshot_add_provider(b, &p) == (int)i && snapshot_add_conn(b, &c) == (int)i &&
	     snapshot_add_model(b, &m) == (int)i && snapshot_add_key(b, &k) == (int)i &&
	     snapshot_add_listener(b, &l) == 0 && snapshot_add_net(b, &n) == 0);
}

/* A good block, made once. */
static const char *
good_block(size_t *len)
{
	static char block[4096];
	static size_t n;
	struct snapshot_builder *b;
	struct stat st;
	int fd;

	if (n == 0) {
		b = snapshot_builder_new(1);
		must(b != NULL);
		snapshot_settings(b)->ca_file = str(b, "/ca.pem");
		for (unsigned i = 0; i < 3; i++)
			add_rows(b, i);
		must(snapshot_build(b, &fd) == 0);
		snapshot_builder_free(b);
		must(fstat(fd, &st) == 0 && st.st_size <= (off_t)sizeof block);
		n = (size_t)pread(fd, block, sizeof block, 0);
		close(fd);
		must(n == (size_t)st.st_size && snapshot_check(block, n) == 0);
	}
	*len = n;
	return block;
}

static char *
make_block(const uint8_t *data, size_t size, size_t *len)
{
	const char *good;
	char *block;
	uint32_t patch[2];

	if (size == 0 || data[0] % 2 == 0) {
		*len = size == 0 ? 0 : size - 1;
		block = malloc(MAX(*len, 1));
		must(block != NULL);
		memcpy(block, data + (size != 0), *len);
		return block;
	}
	good = good_block(len);
	block = malloc(*len);
	must(block != NULL);
	memcpy(block, good, *len);
	for (size_t at = 1; at + sizeof patch <= size; at += sizeof patch) {
		memcpy(patch, data + at, sizeof patch);
		memcpy(block + patch[0] % (*len - sizeof patch[1] + 1), &patch[1], sizeof patch[1]);
	}
	return block;
}

static void
mend_head(char *block, size_t len)
{
	struct snap_head *h = (struct snap_head *)(void *)block;

	if (len < sizeof *h)
		return;
	h->magic = SNAP_MAGIC;
	h->version = SNAP_VERSION;
	h->len = len;
	snap_checksum(block, len, h->checksum);
}

static void
use(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		sink += (unsigned char)s.p[i];
}

static void
use_string(const struct snapshot *s, struct snap_str text)
{
	use(snapshot_span(s, text));
	sink += strlen(snapshot_cstr(s, text));
}

static void
use_strings(const struct snapshot *s, enum snap_id id, const void *row)
{
	const struct snap_layout *l = &snap_layout[id];

	use((struct span){row, l->row_size});
	for (unsigned i = 0; i < l->nstrs; i++)
		use_string(s, snap_str_at(row, l->strs[i]));
}

/* A path of the worker: from a name to its connections, their providers and the live region. */
static void
use_name(const struct snapshot *s, struct span name)
{
	const struct snap_name *n = snapshot_find_name(s, name);

	if (n == NULL)
		return;
	must(snapshot_provider(s, n->provider) != NULL);
	for (uint32_t i = 0; i < n->list_len; i++) {
		const struct snap_conn *c = snapshot_conn(s, snapshot_name_list(s, n)[i]);

		must(c != NULL && c->slot < LIVE_CONNS);
		must(snapshot_provider(s, c->provider) != NULL);
		must(snapshot_provider(s, c->provider)->slot < LIVE_PROVIDERS);
	}
}

static void
walk(const struct snapshot *s)
{
	const struct snap_listener *l;
	const struct snap_net *n;
	const struct snap_provider *p;
	const struct snap_conn *c;
	const struct snap_model *m;
	const struct snap_key *k;

	use_string(s, snapshot_head(s)->settings.access_log_format);
	use_string(s, snapshot_head(s)->settings.ca_file);
	for (uint32_t i = 0; (l = snapshot_listener(s, i)) != NULL; i++)
		use_strings(s, SNAP_LISTENERS, l);
	for (uint32_t i = 0; (n = snapshot_net(s, i)) != NULL; i++)
		use_strings(s, SNAP_NETS, n);
	for (uint32_t i = 0; (p = snapshot_provider(s, i)) != NULL; i++) {
		use_strings(s, SNAP_PROVIDERS, p);
		use_name(s, snapshot_span(s, p->id));
		use_name(s, snapshot_span(s, p->alias));
	}
	for (uint32_t i = 0; (c = snapshot_conn(s, i)) != NULL; i++) {
		use_strings(s, SNAP_CONNS, c);
		use_name(s, snapshot_span(s, c->name));
	}
	for (uint32_t i = 0; (m = snapshot_model(s, i)) != NULL; i++) {
		use_strings(s, SNAP_MODELS, m);
		sink += snapshot_find_model(s, snapshot_span(s, m->id)) != NULL;
	}
	for (uint32_t i = 0; (k = snapshot_key(s, i)) != NULL; i++) {
		use_strings(s, SNAP_KEYS, k);
		must(k->slot < LIVE_KEYS);
		sink += snapshot_find_key(s, k->digest) != NULL;
	}
	use_name(s, (struct span){"absent", 6});
	use_name(s, (struct span){"", 0});
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len;
	char *block = make_block(data, size, &len);
	struct snapshot s = {.head = (const struct snap_head *)(const void *)block, .len = len};

	(void)!snapshot_check(block, len); /* as it came */
	mend_head(block, len);
	if (snapshot_check(block, len) == 0)
		walk(&s);
	free(block);
	return 0;
}
