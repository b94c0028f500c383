#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "shared/err.h"
#include "shared/live.h"
#include "shared/snapshot.h"
#include "shared/snapshot_layout.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static struct span
sp(const char *s)
{
	return (struct span){s, strlen(s)};
}

static struct snap_str
str(struct snapshot_builder *b, const char *s)
{
	return snapshot_string(b, s, strlen(s));
}

static int
add_provider(struct snapshot_builder *b, const char *id, const char *alias)
{
	struct snap_provider p = {
	    .id = str(b, id), .alias = str(b, alias), .name = str(b, "Name"), .slot = 3};

	return snapshot_add_provider(b, &p);
}

static int
add_conn(struct snapshot_builder *b, const char *id, const char *name, int provider, int priority,
    bool enabled)
{
	struct snap_conn c = {.id = str(b, id),
	    .name = str(b, name),
	    .provider = (uint32_t)provider,
	    .priority = priority,
	    .enabled = enabled,
	    .slot = 9,
	    .dialect = 1,
	    .url[1] = str(b, "https://example.test/v1/chat/completions"),
	    .auth_header = str(b, "Authorization: Bearer sk-hidden"),
	    .secret = str(b, "sk-hidden")};

	return snapshot_add_conn(b, &c);
}

static int
add_key(struct snapshot_builder *b, const char *id, uint8_t fill)
{
	struct snap_key k = {.id = str(b, id), .name = str(b, "laptop"), .slot = 5, .rpm = 60};

	memset(k.digest, fill, sizeof k.digest);
	return snapshot_add_key(b, &k);
}

static int
add_model(struct snapshot_builder *b, const char *id)
{
	struct snap_model m = {.id = str(b, id),
	    .owned_by = str(b, "openai"),
	    .root = str(b, strchr(id, '/') + 1),
	    .context_length = 128000};

	return snapshot_add_model(b, &m);
}

static struct snapshot_builder *
example(void)
{
	struct snapshot_builder *b = snapshot_builder_new(7);
	struct snap_settings *s;
	struct snap_listener l = {.ordinal = 1, .kind = LISTENER_UNIX};
	struct snap_net n = {.bits = 104};

	assert_non_null(b);
	s = snapshot_settings(b);
	s->require_key = REQUIRE_KEY_ALWAYS;
	s->max_body_size = UINT64_C(50) << 20;
	s->max_body_memory = UINT64_C(8) << 40;
	s->ca_file = str(b, "/etc/ssl/ca.pem");
	memset(s->key_salt, 0xaa, sizeof s->key_salt);
	l.name = str(b, "unix:/run/o.sock");
	assert_int_equal(snapshot_add_listener(b, &l), 0);
	assert_int_equal(snapshot_add_net(b, &n), 0);
	assert_int_equal(add_provider(b, "openai", "oa"), 0);
	assert_int_equal(add_provider(b, "echo", ""), 1);
	assert_int_equal(add_provider(b, "corp", "oa"), 2); /* the alias is taken */
	assert_int_equal(add_conn(b, "c-late", "late", 0, 9, true), 0);
	assert_int_equal(add_conn(b, "c-b", "bee", 0, 5, true), 1);
	assert_int_equal(add_conn(b, "c-corp", "corp", 2, 1, true), 2); /* named as its provider */
	assert_int_equal(add_conn(b, "c-a", "ant", 0, 5, true), 3);
	assert_int_equal(add_conn(b, "c-off", "off", 0, 1, false), 4);
	assert_int_equal(add_conn(b, "c-first", "first", 0, -3, true), 5);
	assert_int_equal(add_conn(b, "c-trap", "c-a", 0, 20, true), 6); /* named as another's id */
	assert_int_equal(add_model(b, "openai/gpt-4o"), 0);
	assert_int_equal(add_model(b, "echo/echo-1"), 1);
	assert_int_equal(add_key(b, "k1", 1), 0);
	assert_int_equal(add_key(b, "k2", 2), 1);
	return b;
}

/* A snapshot as bytes, 8-byte aligned; free it. */
static char *
example_bytes(size_t *len)
{
	struct snapshot_builder *b = example();
	struct stat st;
	char *bytes;
	int fd;

	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(fstat(fd, &st), 0);
	*len = (size_t)st.st_size;
	bytes = malloc(*len);
	assert_non_null(bytes);
	assert_int_equal(pread(fd, bytes, *len, 0), (ssize_t)*len);
	close(fd);
	return bytes;
}

static void
assert_list(const struct snapshot *s, const char *name, const char *provider, const char *expected)
{
	const struct snap_name *n = snapshot_find_name(s, sp(name));
	char got[256] = "";

	assert_non_null(n);
	assert_string_equal(snapshot_cstr(s, snapshot_provider(s, n->provider)->id), provider);
	for (uint32_t i = 0; i < n->list_len; i++) {
		strcat(got, snapshot_cstr(s, snapshot_conn(s, snapshot_name_list(s, n)[i])->id));
		strcat(got, " ");
	}
	assert_string_equal(got, expected);
}

static void
what_went_in_comes_out(void **state)
{
	struct snapshot_builder *b = example();
	struct snapshot *s;
	const struct snap_key *k;
	uint8_t digest[SNAP_DIGEST];
	int fd;

	(void)state;
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(fcntl(fd, F_GET_SEALS), SEALS);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(snapshot_open(fd, &s), 0);
	close(fd); /* the map stays */

	assert_int_equal(snapshot_head(s)->number, 7);
	assert_int_equal(snapshot_head(s)->settings.require_key, REQUIRE_KEY_ALWAYS);
	assert_true(snapshot_head(s)->settings.max_body_size == UINT64_C(50) << 20);
	assert_true(snapshot_head(s)->settings.max_body_memory == UINT64_C(8) << 40);
	assert_int_equal(snapshot_head(s)->settings.key_salt[31], 0xaa);
	assert_string_equal(
	    snapshot_cstr(s, snapshot_head(s)->settings.ca_file), "/etc/ssl/ca.pem");
	assert_string_equal(snapshot_cstr(s, snapshot_head(s)->settings.access_log_format), "");
	assert_int_equal(snapshot_listener(s, 0)->ordinal, 1);
	assert_string_equal(snapshot_cstr(s, snapshot_listener(s, 0)->name), "unix:/run/o.sock");
	assert_string_equal(snapshot_cstr(s, snapshot_listener(s, 0)->certificate), "");
	assert_string_equal(snapshot_cstr(s, (struct snap_str){0}), "");
	assert_string_equal(snapshot_span(s, (struct snap_str){0}).p, "");
	assert_null(snapshot_listener(s, 1));
	assert_int_equal(snapshot_net(s, 0)->bits, 104);
	assert_int_equal(snapshot_head(s)->conns.count, 7);
	assert_string_equal(
	    snapshot_cstr(s, snapshot_conn(s, 1)->auth_header), "Authorization: Bearer sk-hidden");
	assert_int_equal(snapshot_span(s, snapshot_conn(s, 1)->secret).n, 9);
	assert_null(snapshot_conn(s, 7));
	assert_null(snapshot_provider(s, UINT32_MAX));

	assert_string_equal(
	    snapshot_cstr(s, snapshot_find_model(s, sp("openai/gpt-4o"))->root), "gpt-4o");
	assert_int_equal(snapshot_find_model(s, sp("echo/echo-1"))->context_length, 128000);
	assert_null(snapshot_find_model(s, sp("openai/gpt-4")));
	assert_null(snapshot_find_model(s, sp("")));
	memset(digest, 2, sizeof digest);
	k = snapshot_find_key(s, digest);
	assert_ptr_equal(k, snapshot_key(s, 1));
	assert_string_equal(snapshot_cstr(s, k->id), "k2");
	assert_string_equal(snapshot_cstr(s, (struct snap_str){k->id.off + 1, 1}), "2");
	assert_int_equal(k->rpm, 60);
	digest[31] = 3;
	assert_null(snapshot_find_key(s, digest));
	snapshot_put(s);
}

static void
names_and_order(void **state)
{
	struct snapshot_builder *b = example();
	struct snapshot *s;
	int fd;

	(void)state;
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(snapshot_open(fd, &s), 0);
	close(fd);
	assert_list(s, "openai", "openai", "c-first c-a c-b c-late c-trap ");
	assert_list(s, "oa", "openai", "c-first c-a c-b c-late c-trap ");
	assert_list(s, "echo", "echo", "");
	assert_list(s, "corp", "corp", "c-corp ");
	assert_list(s, "c-corp", "corp", "c-corp ");
	assert_list(s, "bee", "openai", "c-b ");
	assert_list(s, "c-late", "openai", "c-late ");
	assert_list(s, "off", "openai", ""); /* known, and switched off */
	assert_list(s, "c-off", "openai", "");
	assert_list(s, "c-a", "openai", "c-a "); /* an id wins over a name */
	assert_null(snapshot_find_name(s, sp("c-x")));
	assert_null(snapshot_find_name(s, sp("")));
	assert_null(snapshot_find_name(s, sp("open")));
	assert_null(snapshot_find_name(s, sp("OPENAI")));
	snapshot_put(s);
}

static void
nothing_in_it(void **state)
{
	struct snapshot_builder *b = snapshot_builder_new(1);
	struct snapshot *s;
	uint8_t digest[SNAP_DIGEST] = {0};
	int fd;

	(void)state;
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	snapshot_builder_free(NULL);
	assert_int_equal(snapshot_open(fd, &s), 0);
	close(fd);
	assert_null(snapshot_find_name(s, sp("echo")));
	assert_null(snapshot_find_model(s, sp("echo/echo-1")));
	assert_null(snapshot_find_key(s, digest));
	assert_null(snapshot_provider(s, 0));
	snapshot_put(s);
}

static void
many_rows(void **state)
{
	struct snapshot_builder *b = snapshot_builder_new(2);
	struct snapshot *s;
	char id[64];
	uint8_t digest[SNAP_DIGEST];
	int fd;

	(void)state;
	assert_int_equal(add_provider(b, "p", ""), 0);
	for (unsigned i = 0; i < 5000; i++) {
		struct snap_key k = {.slot = i % LIVE_KEYS};

		snprintf(id, sizeof id, "p/model-%u", i);
		assert_int_equal(add_model(b, id), (int)i);
		k.id = str(b, id);
		memcpy(k.digest, &i, sizeof i);
		assert_int_equal(snapshot_add_key(b, &k), (int)i);
	}
	assert_int_equal(add_model(b, "p/model-4999"), E_EXISTS);
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(snapshot_open(fd, &s), 0);
	close(fd);
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(id, sizeof id, "p/model-%u", i);
		assert_ptr_equal(snapshot_find_model(s, sp(id)), snapshot_model(s, i));
		memset(digest, 0, sizeof digest);
		memcpy(digest, &i, sizeof i);
		assert_ptr_equal(snapshot_find_key(s, digest), snapshot_key(s, i));
	}
	assert_null(snapshot_find_model(s, sp("p/model-5000")));
	assert_true(snapshot_head(s)->models.index_size >= 10000);
	snapshot_put(s);
}

/* Tables are read in place. */
static void
a_block_must_be_aligned(void **state)
{
	size_t len;
	char *bytes = example_bytes(&len), *room = malloc(len + 8);

	(void)state;
	assert_non_null(room);
	for (unsigned at = 0; at <= 8; at++) {
		memcpy(room + at, bytes, len);
		assert_int_equal(snapshot_check(room + at, len), at % 8 == 0 ? 0 : E_SYNTAX);
	}
	free(room);
	free(bytes);
}

static void
builder_refuses(void **state)
{
	struct snapshot_builder *b = example();
	struct snap_conn c = {.provider = 3};
	struct snap_provider p = {.slot = LIVE_PROVIDERS};
	struct snap_key k = {.slot = LIVE_KEYS};
	struct snap_net n = {.bits = 129};
	struct snap_listener l = {.kind = 2};
	int fd;

	(void)state;
	assert_int_equal(add_provider(b, "openai", "x"), E_EXISTS);
	assert_int_equal(add_conn(b, "c-a", "x", 0, 1, true), E_EXISTS);
	assert_int_equal(add_model(b, "openai/gpt-4o"), E_EXISTS);
	assert_int_equal(add_key(b, "k3", 2), E_EXISTS);
	assert_int_equal(add_provider(b, "", ""), E_RANGE);
	c.id = str(b, "new");
	assert_int_equal(snapshot_add_conn(b, &c), E_RANGE);
	c.provider = 0;
	c.slot = LIVE_CONNS;
	assert_int_equal(snapshot_add_conn(b, &c), E_RANGE);
	c.slot = 0;
	c.dialect = SNAP_DIALECTS;
	assert_int_equal(snapshot_add_conn(b, &c), E_RANGE);
	c.dialect = 0;
	c.name = (struct snap_str){1u << 30, 4}; /* not from snapshot_string */
	assert_int_equal(snapshot_add_conn(b, &c), E_RANGE);
	p.id = k.id = c.id;
	assert_int_equal(snapshot_add_provider(b, &p), E_RANGE);
	assert_int_equal(snapshot_add_key(b, &k), E_RANGE);
	assert_int_equal(snapshot_add_net(b, &n), E_RANGE);
	assert_int_equal(snapshot_add_listener(b, &l), E_RANGE);
	assert_int_equal(snapshot_build(b, &fd), 0); /* as if nothing had been tried */
	close(fd);

	assert_int_equal(snapshot_string(b, "a\0b", 3).len, 0);
	assert_int_equal(add_provider(b, "fine", ""), E_RANGE);
	assert_int_equal(snapshot_build(b, &fd), E_RANGE);
	assert_int_equal(fd, -1);
	snapshot_builder_free(b);
}

static void
references(void **state)
{
	struct snapshot_builder *b = example();
	struct snapshot *s;
	int fd;

	(void)state;
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(snapshot_open(fd, &s), 0);
	close(fd);
	assert_ptr_equal(snapshot_get(s), s);
	snapshot_put(s);
	assert_int_equal(snapshot_head(s)->number, 7); /* still mapped */
	snapshot_put(s);
	snapshot_put(NULL);
}

static bool
is_dumped(const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512];
	unsigned long from, to;
	bool inside = false, dumped = true;

	assert_non_null(f);
	while (fgets(line, sizeof line, f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (inside && strncmp(line, "VmFlags:", 8) == 0)
			dumped = strstr(line, " dd") == NULL;
	}
	fclose(f);
	return dumped;
}

static void
never_in_a_core(void **state)
{
	struct snapshot_builder *b = example();
	struct snapshot *s;
	int fd, here = 0;

	(void)state;
	assert_int_equal(snapshot_build(b, &fd), 0);
	snapshot_builder_free(b);
	assert_int_equal(snapshot_open(fd, &s), 0);
	close(fd);
	assert_true(is_dumped(&here));
	assert_false(is_dumped(snapshot_head(s)));
	snapshot_put(s);
}

/* ---- what is not to be believed ---- */

static int
memfd_of(const char *bytes, size_t len, int seals)
{
	int fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void
unsealed_or_cut_files(void **state)
{
	static const int missing[] = {F_SEAL_WRITE, F_SEAL_SHRINK, F_SEAL_GROW};
	struct snapshot *s;
	size_t len;
	char *bytes = example_bytes(&len);
	int fd, pipes[2];

	(void)state;
	for (unsigned i = 0; i < NELEM(missing); i++) {
		fd = memfd_of(bytes, len, SEALS & ~missing[i]);
		assert_int_equal(snapshot_open(fd, &s), E_SYNTAX);
		assert_null(s);
		close(fd);
	}
	fd = memfd_of(bytes, len, SEALS);
	assert_int_equal(snapshot_open(fd, &s), 0);
	snapshot_put(s);
	close(fd);
	fd = memfd_of(bytes, len - 1, SEALS);
	assert_int_equal(snapshot_open(fd, &s), E_TRUNCATED);
	close(fd);
	fd = memfd_of(bytes, sizeof(struct snap_head) - 1, SEALS);
	assert_int_equal(snapshot_open(fd, &s), E_TRUNCATED);
	close(fd);
	fd = memfd_of("", 0, SEALS);
	assert_int_equal(snapshot_open(fd, &s), E_TRUNCATED);
	close(fd);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(snapshot_open(pipes[0], &s), E_SYNTAX);
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(snapshot_open(-1, &s), E_SYNTAX);
	free(bytes);
}

static void
every_byte_behind_the_head_counts(void **state)
{
	size_t len;
	char *bytes = example_bytes(&len);

	(void)state;
	assert_int_equal(snapshot_check(bytes, len), 0);
	for (size_t i = sizeof(struct snap_head); i < len; i++) {
		bytes[i] ^= 0x10;
		assert_int_equal(snapshot_check(bytes, len), E_CHECKSUM);
		bytes[i] ^= 0x10;
	}
	bytes[0] ^= 1;
	assert_int_equal(snapshot_check(bytes, len), E_SYNTAX);
	bytes[0] ^= 1;
	((struct snap_head *)(void *)bytes)->version++;
	assert_int_equal(snapshot_check(bytes, len), E_VERSION);
	((struct snap_head *)(void *)bytes)->version--;
	assert_int_equal(snapshot_check(bytes, len), 0);
	free(bytes);
}

/* The whole of a table's rows, to break one member. */
static void *
row(char *bytes, enum snap_id id, uint32_t i)
{
	struct snap_head *h = (struct snap_head *)(void *)bytes;

	return bytes + snap_table_of(h, id)->off + (size_t)i * snap_layout[id].row_size;
}

/*
 * One row per hole that the validator closes: a 32-bit word at `off` bytes from the head, or from
 * row 0 of a table when `table` is one, becomes `value`. With a checksum that is right.
 */
struct damage {
	const char *what;
	unsigned table; /* SNAP_TABLES: the head */
	size_t off;
	uint32_t value;
};

#define HEAD(member, v) \
	{ \
#member, SNAP_TABLES, offsetof(struct snap_head, member), v \
	}
#define ROW(id, type, member, v) \
	{ \
#type "." #member, id, offsetof(struct type, member), v \
	}

static const struct damage damages[] = {
    HEAD(len, 16),
    HEAD(settings.require_key, 3),
    HEAD(settings.ca_file.off, 0),
    HEAD(settings.ca_file.len, UINT32_MAX),
    HEAD(settings.access_log_format.off, UINT32_MAX),
    HEAD(listeners.off, 4),
    HEAD(listeners.off, 0xfffffff8u),
    HEAD(listeners.count, UINT32_MAX),
    HEAD(listeners.index_size, 8),
    HEAD(nets.count, 0x10000000u),
    HEAD(nets.off, 0), /* the head, which would do as an address range */
    HEAD(providers.off, 0),
    HEAD(providers.count, 1),
    HEAD(conns.count, 0x40000000u),
    HEAD(conns.count, 2),
    HEAD(names.index_size, 0),
    HEAD(names.index_size, 3),
    HEAD(names.index_size, 0x80000000u),
    HEAD(names.index_off, 0xfffffff0u),
    HEAD(names.index_off, 2),
    HEAD(names.count, 1),
    HEAD(models.count, 3),
    HEAD(models.index_size, 2),
    HEAD(keys.off, UINT32_MAX),
    HEAD(keys.count, 0),
    HEAD(pool_off, 0xfffffff8u),
    HEAD(pool_off, 0),
    HEAD(pool_len, UINT32_MAX),
    HEAD(pool_len, 0),
    ROW(SNAP_LISTENERS, snap_listener, kind, 2),
    ROW(SNAP_LISTENERS, snap_listener, private_key.off, 8),
    ROW(SNAP_NETS, snap_net, bits, 129),
    ROW(SNAP_PROVIDERS, snap_provider, slot, LIVE_PROVIDERS),
    ROW(SNAP_PROVIDERS, snap_provider, alias.len, 0x7fffffff),
    ROW(SNAP_PROVIDERS, snap_provider, alias.len, 1), /* "o", and no NUL behind it */
    ROW(SNAP_CONNS, snap_conn, provider, 3),
    ROW(SNAP_CONNS, snap_conn, slot, LIVE_CONNS),
    ROW(SNAP_CONNS, snap_conn, secret.off, 0),
    ROW(SNAP_CONNS, snap_conn, headers.len, UINT32_MAX),
    ROW(SNAP_NAMES, snap_name, provider, 3),
    ROW(SNAP_NAMES, snap_name, list_off, 2),
    ROW(SNAP_NAMES, snap_name, list_off, 0),
    ROW(SNAP_NAMES, snap_name, list_off, 0xfffffffcu),
    ROW(SNAP_NAMES, snap_name, list_len, 8),
    ROW(SNAP_NAMES, snap_name, list_len, UINT32_MAX),
    ROW(SNAP_MODELS, snap_model, root.off, 0xffffff00u),
    ROW(SNAP_KEYS, snap_key, slot, LIVE_KEYS),
    ROW(SNAP_KEYS, snap_key, name.len, 0x80000000u),
};

static void
no_offset_leads_outside(void **state)
{
	size_t len;
	char *good = example_bytes(&len), *bytes = malloc(len);
	struct snap_head *h = (struct snap_head *)(void *)bytes;

	(void)state;
	for (unsigned i = 0; i < NELEM(damages); i++) {
		const struct damage *d = &damages[i];
		char *at;

		memcpy(bytes, good, len);
		at = d->table == SNAP_TABLES ? bytes : row(bytes, (enum snap_id)d->table, 0);
		assert_memory_not_equal(at + d->off, &d->value, sizeof d->value);
		memcpy(at + d->off, &d->value, sizeof d->value);
		snap_checksum(bytes, len, h->checksum);
		if (snapshot_check(bytes, len) >= 0)
			fail_msg("%s = %u is accepted", d->what, d->value);
	}
	free(bytes);
	free(good);
}

static void
index_and_lists(void **state)
{
	size_t len;
	char *good = example_bytes(&len), *bytes = malloc(len);
	struct snap_head *h = (struct snap_head *)(void *)bytes;
	const struct snap_name *n;
	uint32_t *index, bad;

	(void)state;
	memcpy(bytes, good, len);
	index = (uint32_t *)(void *)(bytes + h->keys.index_off);
	for (uint32_t i = 0; i < h->keys.index_size; i++) {
		uint32_t keep = index[i];

		index[i] = 3; /* there are two keys */
		snap_checksum(bytes, len, h->checksum);
		assert_int_equal(snapshot_check(bytes, len), E_SYNTAX);
		index[i] = keep == 0 ? 1 : 0; /* one slot too many, or one too few */
		snap_checksum(bytes, len, h->checksum);
		assert_int_equal(snapshot_check(bytes, len), E_SYNTAX);
		index[i] = keep;
	}
	n = row(bytes, SNAP_NAMES, 0);
	assert_int_equal(n->list_len, 5);
	for (uint32_t i = 0; i < 5; i++) {
		memcpy(bytes, good, len);
		bad = 7;
		memcpy(bytes + n->list_off + i * sizeof bad, &bad, sizeof bad);
		snap_checksum(bytes, len, h->checksum);
		assert_int_equal(snapshot_check(bytes, len), E_SYNTAX);
	}
	free(bytes);
	free(good);
}

/* Places that are inside the block and hold what is asked for, but not where such a thing may
 * begin. */
static void
misaligned(void **state)
{
	size_t len;
	char *bytes = example_bytes(&len);
	struct snap_head *h = (struct snap_head *)(void *)bytes;
	struct snap_name *n = NULL;

	(void)state;
	h->nets.off += 4; /* its row is four bytes shorter than the room up to the next table */
	snap_checksum(bytes, len, h->checksum);
	assert_int_equal(snapshot_check(bytes, len), E_SYNTAX);
	h->nets.off -= 4;
	for (uint32_t i = 0; i < h->names.count; i++) {
		n = row(bytes, SNAP_NAMES, i);
		if (strcmp(bytes + n->name.off, "late") == 0)
			break;
	}
	assert_int_equal(n->list_len, 1);
	n->list_off -= 2; /* the entry before is 1 and this one 0: between them stands 0 */
	snap_checksum(bytes, len, h->checksum);
	assert_int_equal(snapshot_check(bytes, len), E_SYNTAX);
	n->list_off += 2;
	snap_checksum(bytes, len, h->checksum);
	assert_int_equal(snapshot_check(bytes, len), 0);
	assert_int_equal(snapshot_check(bytes + 1, len - 1), E_SYNTAX);
	free(bytes);
}

/* The pool ends with a NUL, so that no string can end behind it. */
static void
last_string_ends_inside(void **state)
{
	size_t len;
	char *bytes = example_bytes(&len);
	struct snap_head *h = (struct snap_head *)(void *)bytes;
	struct snap_key *k = row(bytes, SNAP_KEYS, 1);

	(void)state;
	assert_int_equal(h->pool_off + h->pool_len, len);
	k->name.off = h->pool_off + h->pool_len - 1;
	k->name.len = 0;
	snap_checksum(bytes, len, h->checksum);
	assert_int_equal(snapshot_check(bytes, len), 0);
	k->name.len = 1;
	snap_checksum(bytes, len, h->checksum);
	assert_int_equal(snapshot_check(bytes, len), E_SYNTAX);
	k->name.off = h->pool_off + h->pool_len;
	k->name.len = 0;
	snap_checksum(bytes, len, h->checksum);
	assert_int_equal(snapshot_check(bytes, len), E_SYNTAX);
	free(bytes);
}

static void
hash_is_fnv1a(void **state)
{
	(void)state; /* published test vectors */
	assert_true(snapshot_hash("", 0) == UINT64_C(0xcbf29ce484222325));
	assert_true(snapshot_hash("a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
	assert_true(snapshot_hash("foobar", 6) == UINT64_C(0x85944171f73967e8));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_went_in_comes_out),
	    cmocka_unit_test(names_and_order),
	    cmocka_unit_test(nothing_in_it),
	    cmocka_unit_test(many_rows),
	    cmocka_unit_test(a_block_must_be_aligned),
	    cmocka_unit_test(builder_refuses),
	    cmocka_unit_test(references),
	    cmocka_unit_test(never_in_a_core),
	    cmocka_unit_test(unsealed_or_cut_files),
	    cmocka_unit_test(every_byte_behind_the_head_counts),
	    cmocka_unit_test(no_offset_leads_outside),
	    cmocka_unit_test(index_and_lists),
	    cmocka_unit_test(misaligned),
	    cmocka_unit_test(last_string_ends_inside),
	    cmocka_unit_test(hash_is_fnv1a),
	};

	return cmocka_run_group_tests_name("shared/snapshot", tests, NULL, NULL);
}
