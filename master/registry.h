/*
 * registry: connections and client keys: what the store holds of them, validated once for every face. Documents of
 * kind "connection" and "key", JSON, secrets sealed with the row's id as context. Live-region slots are assigned
 * here and kept with the row, so that a connection keeps its counters through every publish and upgrade; rows of the
 * configuration file get theirs by name in documents of kind "slot".
 *
 * Names are unique over all connections, and over all keys. A connection may have the name of a catalogue provider (id or alias)
 * only when it is of that provider: what stands before the slash of a model id must mean one thing. Of the presets for local servers
 * one may have the name of another (provider "local", name "vllm") while no connection is of that other one.
 *
 * A row handed to a call-back is valid only inside it and is wiped afterwards; the call-back may use the store. Rows of the file
 * come first, in the order of the file; then those of the store that no row of the file hides. `err` takes a sentence for the operator: parameter,
 * value, what is allowed.
 */
#ifndef OMNIROUTE_MASTER_REGISTRY_H
#define OMNIROUTE_MASTER_REGISTRY_H

#include "master/master.h"

struct connection {
	char id[UUID_LEN];
	char *name;      /* unique; [A-Za-z0-9._-]{1,64} */
	char *provider;  /* catalogue id, or the name of the connection itself when it is a bare base URL */
	char *base_url;  /* as given; NULL: the catalogue's */
	char *dialect;   /* the only one that it speaks, a word of dialect_word; NULL: the provider's; without one openai-chat */
	char *secret;    /* NULL: none */
	char **models;   /* offered besides the catalogue's */
	unsigned nmodels;
	int priority;    /* 1..1000, lower first */
	int http2;       /* -1: as configured */
	bool enabled, insecure, from_file;
	bool broken;     /* the secret cannot be decrypted: secret is NULL and enabled is false */
	unsigned slot;
	uint64_t created_wall_us, updated_wall_us;
};

struct client_key {
	char id[UUID_LEN];
	char *name;
	char prefix[16]; /* first characters, to recognise it */
	uint8_t digest[32];
	uint32_t scopes, rpm;
	uint64_t expires_wall_s, created_wall_us;
	bool from_file;
	unsigned slot;
};

int registry_each_connection(struct master *m, int (*fn)(void *ctx, const struct connection *c), void *ctx) must_check;
int registry_each_key(struct master *m, int (*fn)(void *ctx, const struct client_key *k), void *ctx) must_check;

/* The live-region slot of a provider (live_worker.provider), assigned at first sight and kept. E_FULL, store errors. */
int registry_provider_slot(struct master *m, const char *provider, unsigned *slot) must_check;

/*
 * What GET /v1/models lists, each id once: the catalogue's models of every provider that is built in or has an enabled
 * connection as <provider>/<model>, and a connection's own models as <connection>/<model>.
 */
struct registry_model {
	const char *id, *owned_by, *root; /* owned_by: provider id; root: what stands behind the slash */
	const char *connection;           /* name, for a connection's own model; NULL otherwise */
	uint32_t context_length, max_output_tokens, created;
};
int registry_each_model(struct master *m, int (*fn)(void *ctx, const struct registry_model *r), void *ctx) must_check;

/* Creates; fills in id, slot, times. E_EXISTS, E_RANGE, E_NOT_FOUND (unknown provider), E_FULL. */
int registry_add_connection(struct master *m, struct connection *c, struct buf *err) must_check;
/* `which`: id, unique prefix of an id (8+ characters) or name. */
int registry_find_connection(struct master *m, const char *which, struct connection *out, struct buf *err) must_check;
int registry_update_connection(struct master *m, const struct connection *c, struct buf *err) must_check;
int registry_remove_connection(struct master *m, const char *which, struct buf *err) must_check;
void connection_clear(struct connection *c); /* wipes */

/* *secret: the new key, shown once; seal_free it. */
int registry_add_key(struct master *m, struct client_key *k, char **secret, struct buf *err) must_check;
int registry_find_key(struct master *m, const char *which, struct client_key *out, struct buf *err) must_check;
int registry_remove_key(struct master *m, const char *which, struct buf *err) must_check;
void client_key_clear(struct client_key *k);

#endif
