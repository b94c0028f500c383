/*
 * registry_doc: what the registry's files share: rows as documents, checks, slots. Only for
 * master/registry*.c.
 *
 * Documents, in the store's table "config":
 *   connection/<id>   {"name","provider","base_url"?,"dialect"?,"secret"?:
 * sealed,"models":[],"priority","http2": true|false|null,
 *                      "enabled","insecure","slot","created_us","updated_us"}
 *   key/<id>          {"name","prefix","digest": hex,"scopes":
 * bits,"rpm","expires_s","slot","created_us"} slot/<kind>/<name> {"slot","id"}  what a row of the
 * configuration file, or a provider, keeps
 *
 * doc_list_load   all documents of a kind, copied out, so that no transaction is open while
 * somebody works on them.
 * *_encode        JSON text, malloc'ed (free with doc_text_free, which wipes); NULL: out of memory
 * or sealing failed.
 * *_decode        0, E_SYNTAX, E_NOMEM. A secret that cannot be opened makes a `broken` row, not an
 * error.
 * *_check         the one validation of every face. A sentence in `err`.
 * slot_of_row     the slot of a new row of the store. slot_of_name: of a file row or provider, kept
 * by name; `id` is made with it.
 */
#ifndef OMNIROUTE_MASTER_REGISTRY_DOC_H
#define OMNIROUTE_MASTER_REGISTRY_DOC_H

#include "master/registry.h"

#define DOC_CONNECTION "connection"
#define DOC_KEY "key"
#define DOC_SLOT "slot"

struct doc {
	char *id, *json;
	size_t n;
};
struct doc_list {
	struct doc *v;
	size_t n, cap;
};

enum slot_kind { SLOT_CONNECTION, SLOT_KEY, SLOT_PROVIDER, SLOT_KINDS };

int doc_list_load(struct master *m, const char *kind, struct doc_list *l) must_check;
void doc_list_clear(struct doc_list *l);
int doc_put(struct master *m, const char *kind, const char *id, const char *json) must_check;
int doc_del(struct master *m, const char *kind, const char *id) must_check;
void doc_text_free(char *json);
char *registry_strdup(const char *s); /* NULL stays NULL */

char *connection_encode(const struct master *m, const struct connection *c) must_check;
int connection_decode(const struct master *m, const struct doc *d, struct connection *c) must_check;
char *client_key_encode(const struct client_key *k) must_check;
int client_key_decode(const struct doc *d, struct client_key *k) must_check;

/* Replaces an alias by the provider's id and cuts trailing slashes of base_url; then checks all but
 * uniqueness. */
int connection_check(const struct master *m, struct connection *c, struct buf *err) must_check;
int client_key_check(const struct client_key *k, uint64_t now_wall_s, struct buf *err) must_check;

int slot_of_row(struct master *m, enum slot_kind kind, unsigned *slot) must_check;
int slot_of_name(struct master *m, enum slot_kind kind, const char *name, unsigned *slot,
    char id[UUID_LEN]) must_check;

#endif
