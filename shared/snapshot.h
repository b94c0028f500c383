/*
 * snapshot: all that changes only when somebody changes it, as one read-only block: settings, providers,
 * connections with their credentials, models, client keys. The master builds it into a sealed memfd
 * (F_SEAL_WRITE|SHRINK|GROW|SEAL), workers map it read-only, validate once and swap a pointer.
 *
 * Layout: struct snap_head, then tables (arrays of the structs below), hash indices (arrays of u32: index + 1 into
 * their table, 0 = empty, open addressing, power of two, at most half full), then the string pool. Everything is
 * addressed by byte offset from the head. Strings are NUL-terminated in the pool; len does not count the NUL.
 * checksum is BLAKE2b-128 over everything behind the head. Never on disk, MADV_DONTDUMP.
 *
 * Builder (master):
 *   snapshot_builder_new → snapshot_add_* → snapshot_build (memfd, sealed) → snapshot_builder_free.
 *   A string is given to snapshot_string first; a cleared struct snap_str is the empty string. A string that could not
 *   be stored (E_NOMEM, E_FULL, E_RANGE: NUL inside) shows in the next add_* or in snapshot_build.
 *   add_* copy what they are given; 0, E_NOMEM, E_FULL, E_EXISTS (same id twice; of keys: same digest), E_RANGE (a slot
 *   outside the live region, an unknown provider or dialect, an empty id).
 * Reader (worker, and the master to check its own work):
 *   snapshot_open   maps and validates `fd` (which stays the caller's). E_SYNTAX (not sealed,
 *                   too), E_VERSION, E_CHECKSUM, E_TRUNCATED, E_SYSTEM, E_NOMEM.
 *   snapshot_check  the validator alone, on bytes: for the fuzz target.
 *   snapshot_get/_put  references (a worker's exchanges hold one each); the last put unmaps.
 * Lookups and rows by number return NULL when there is nothing; all pointers live as long as the reference.
 */
#ifndef OMNIROUTE_SHARED_SNAPSHOT_H
#define OMNIROUTE_SHARED_SNAPSHOT_H

#include <assert.h>

#include "shared/base.h"

#define SNAP_MAGIC UINT32_C(0x50534e4f)
#define SNAP_VERSION 4
#define SNAP_DIALECTS 8 /* enum dialect_id of proto/canon.h */
#define SNAP_DIGEST 32 /* BLAKE2b-256 of a client key, keyed with settings.key_salt */

struct snap_str {
	uint32_t off, len;
};

struct snap_table {
	uint32_t off, count, index_off, index_size; /* index_size 0: no index */
};

/* Behaviour that workers need; numbers are checked by the master against options.def before they get here. */
struct snap_settings {
	uint32_t require_key; /* enum require_key */
	uint32_t http2;       /* 1: offer HTTP/2 to TLS upstreams */
	uint32_t allow_private; /* 1: base URLs in private ranges allowed for every provider */
	uint32_t fetch_private; /* 1: media that a request points to may lie in private ranges */
	uint32_t max_header_size, max_headers;
	uint64_t max_body_size;
	uint64_t max_body_memory;   /* of all bodies that a worker holds; 0: no limit */
	uint64_t max_response_size; /* of a reply that is not streamed */
	uint64_t max_event_size;    /* of one event of a stream */
	uint32_t stream_buffer;     /* bytes waiting for a slow client before its upstream is paused */
	uint32_t max_connections;   /* per worker */
	uint32_t header_timeout_ms, body_timeout_ms, keepalive_timeout_ms, send_timeout_ms;
	uint32_t connect_timeout_ms, first_byte_timeout_ms, idle_timeout_ms, total_timeout_ms; /* 0: none */
	uint32_t shutdown_timeout_ms;
	uint32_t upstream_keepalive; /* idle upstream connections kept per worker */
	uint32_t cooldown_base_ms, cooldown_steps;
	uint32_t log_level, log_json;
	uint32_t keepalive_interval_ms; /* silence of a stream before a sign of life; 0: none is given */
	uint32_t response_store_s; /* how long a response is kept; 0: not at all */
	uint32_t pad;
	uint8_t key_salt[32];
	struct snap_str access_log_format;
	struct snap_str ca_file; /* empty: the system's */
};

enum require_key { REQUIRE_KEY_AUTO, REQUIRE_KEY_ALWAYS, REQUIRE_KEY_NEVER };

/* An address range for trusted_proxies; IPv4 is written as an IPv4-mapped IPv6 address. */
struct snap_net {
	uint8_t addr[16];
	uint32_t bits;
};

/* A listening socket of the master; the descriptor is inherited, `ordinal` is its place in the list. */
struct snap_listener {
	uint32_t ordinal;
	uint32_t kind; /* enum listener_kind */
	uint32_t loopback; /* 1: a TCP listener whose address is a loopback address */
	uint32_t tls;
	struct snap_str name; /* as configured, for logs */
	struct snap_str certificate, private_key; /* PEM */
};

enum listener_kind { LISTENER_TCP, LISTENER_UNIX };

struct snap_provider {
	struct snap_str id, alias, name;
	uint32_t slot;  /* live region */
	uint32_t local; /* 1: private addresses are allowed as base URL */
	uint32_t builtin; /* 1: answered by the worker itself (echo) */
	uint32_t pad;
	struct snap_str profile; /* JSON for profile_parse; empty: the defaults of the dialect */
};

/* How a request is signed, where a header line that never changes is not enough. */
enum snap_sign { SIGN_NONE, SIGN_SIGV4 };

struct snap_conn {
	struct snap_str id, name;
	uint64_t id_hash;
	uint32_t provider; /* index into providers */
	uint32_t slot;     /* live region */
	int32_t priority;  /* lower first */
	uint32_t enabled;
	uint32_t http2; /* 1: offer HTTP/2, as settings.http2 but for this one */
	uint32_t insecure; /* 1: the certificate is not verified (operator's explicit wish) */
	uint32_t dialect; /* its first: spoken to a client whose own it does not have */
	uint32_t sign;    /* enum snap_sign */
	/*
	 * By dialect: the URL of a whole answer; empty: it does not speak it. "{model}" stands for the model; what a stream or a count
	 * is called instead is known to the worker.
	 */
	struct snap_str url[SNAP_DIALECTS];
	struct snap_str auth_header; /* "Authorization: Bearer …", complete; empty: none */
	struct snap_str secret; /* the bare credential, to keep it out of replies and logs */
	struct snap_str headers; /* further header lines, each ended by LF; empty: none */
};

/*
 * A name that may stand before the slash of a model id: provider id, provider alias, connection name or id.
 * The list holds indices of *enabled* connections by (priority, then id), for a provider all of them.
 */
struct snap_name {
	struct snap_str name;
	uint32_t provider; /* index into providers */
	uint32_t list_off, list_len; /* u32 array */
};

struct snap_model {
	struct snap_str id; /* provider/model, as GET /v1/models lists it */
	struct snap_str owned_by, root;
	uint32_t context_length, max_output_tokens; /* 0: unknown */
	uint32_t created; /* s since 1970 */
	uint32_t pad;
};

enum key_scope { SCOPE_CHAT = 1u << 0, SCOPE_MANAGE = 1u << 1 };

struct snap_key {
	uint8_t digest[SNAP_DIGEST];
	struct snap_str id, name;
	uint64_t id_hash;
	uint32_t slot; /* live region */
	uint32_t scopes; /* enum key_scope */
	uint32_t rpm;    /* 0: unlimited */
	uint32_t pad;
	uint64_t expires_wall_s; /* 0: never */
};

struct snap_head {
	uint32_t magic, version;
	uint64_t len;
	uint64_t number; /* 1, 2, 3 … per master */
	uint8_t checksum[16];
	struct snap_settings settings;
	struct snap_table listeners, nets, providers, conns, names, models, keys;
	uint32_t pool_off, pool_len;
};

struct snapshot; /* a mapped, validated one with a reference count */
struct snapshot_builder;

struct snapshot_builder *snapshot_builder_new(uint64_t number) must_check;
void snapshot_builder_free(struct snapshot_builder *b); /* wipes */
/* The settings under construction; snap_str members are set with snapshot_string. */
struct snap_settings *snapshot_settings(struct snapshot_builder *b);
struct snap_str snapshot_string(struct snapshot_builder *b, const char *s, size_t n);
int snapshot_add_listener(struct snapshot_builder *b, const struct snap_listener *l) must_check;
int snapshot_add_net(struct snapshot_builder *b, const struct snap_net *n) must_check;
/* Return the index of the new row (>= 0) or an error. */
int snapshot_add_provider(struct snapshot_builder *b, const struct snap_provider *p) must_check;
int snapshot_add_conn(struct snapshot_builder *b, const struct snap_conn *c) must_check;
int snapshot_add_model(struct snapshot_builder *b, const struct snap_model *m) must_check;
int snapshot_add_key(struct snapshot_builder *b, const struct snap_key *k) must_check;
/* Makes the names and indices, computes the checksum, seals. The names of providers win over those of connections. */
int snapshot_build(struct snapshot_builder *b, int *fd) must_check;

int snapshot_open(int fd, struct snapshot **s) must_check;
int snapshot_check(const void *bytes, size_t len) must_check;
struct snapshot *snapshot_get(struct snapshot *s);
void snapshot_put(struct snapshot *s);

const struct snap_head *snapshot_head(const struct snapshot *s);
const char *snapshot_cstr(const struct snapshot *s, struct snap_str str);
struct span snapshot_span(const struct snapshot *s, struct snap_str str);
const struct snap_listener *snapshot_listener(const struct snapshot *s, uint32_t i);
const struct snap_net *snapshot_net(const struct snapshot *s, uint32_t i);
const struct snap_provider *snapshot_provider(const struct snapshot *s, uint32_t i);
const struct snap_conn *snapshot_conn(const struct snapshot *s, uint32_t i);
const struct snap_model *snapshot_model(const struct snapshot *s, uint32_t i);
const struct snap_key *snapshot_key(const struct snapshot *s, uint32_t i);
const struct snap_name *snapshot_find_name(const struct snapshot *s, struct span name);
const uint32_t *snapshot_name_list(const struct snapshot *s, const struct snap_name *n);
const struct snap_model *snapshot_find_model(const struct snapshot *s, struct span id);
const struct snap_key *snapshot_find_key(const struct snapshot *s, const uint8_t digest[SNAP_DIGEST]);

/* FNV-1a, 64 bit: the indices and the ids of the live region. */
uint64_t snapshot_hash(const void *p, size_t n);

#endif
