/*
 * registry: connections and client keys: what the store holds of them, validated once for every face. Documents of
 * kind "connection" and "key", JSON, secrets sealed with the row's id as context. Live-region slots are assigned
 * here and kept with the row, so that a connection keeps its counters through every publish and upgrade; rows of the
 * configuration file get theirs by name in documents of kind "slot".
 *
 * A row handed to a call-back is valid only inside it and is wiped afterwards. `err` takes a sentence for the operator: parameter,
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
	char *secret;    /* NULL: none */
	char **models;   /* offered besides the catalogue's */
	unsigned nmodels;
	int priority;    /* 1..1000, lower first */
	int http2;       /* -1: as configured */
	bool enabled, insecure, from_file;
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
