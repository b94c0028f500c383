/*
 * seal: keeping secrets (libsodium). Only the master calls seal_* and password_*; workers only key_digest.
 *
 * seal_init          sodium_init and checks; call once, first. 0 or E_CRYPTO.
 * seal_key_load      the 32-byte key from `path` (mode 0600, owner us); made when absent and `may_make`, else E_NOT_FOUND. From the credential
 *                    directory of the service manager ($CREDENTIALS_DIRECTORY/omniroute.key) when that exists. The
 *                    log says what is wrong: E_DENIED (others may read it), E_SYNTAX (not 32 bytes), E_SYSTEM.
 * seal_text          XChaCha20-Poly1305; output "s1:" + base64url(nonce | ciphertext). `context` is authenticated (the
 *                    id of the row), so that a sealed value cannot be moved to another row. malloc'ed; NULL on failure.
 * seal_open          the reverse; malloc'ed, NUL-terminated, length in *n. NULL: wrong key, context or bytes.
 * password_hash      Argon2id (2 passes, 19 MiB), malloc'ed string; password_check compares.
 * key_digest         BLAKE2b-256 of a client key, keyed with `salt`.
 * random_token       `prefix` followed by base64url of n random bytes, malloc'ed.
 * uuid4              36 characters and NUL.
 * seal_free          wipes and frees what the functions above returned (n = strlen).
 */
#ifndef OMNIROUTE_SHARED_SEAL_H
#define OMNIROUTE_SHARED_SEAL_H

#include "shared/base.h"

#define UUID_LEN 37

struct seal_key {
	uint8_t bytes[32];
};

int seal_init(void) must_check;
int seal_key_load(const char *path, bool may_make, struct seal_key *key) must_check;
void seal_key_wipe(struct seal_key *key);
char *seal_text(const struct seal_key *key, const char *context, const char *text, size_t n) must_check;
char *seal_open(const struct seal_key *key, const char *context, const char *sealed, size_t *n) must_check;
char *password_hash(const char *password) must_check;
bool password_check(const char *hash, const char *password);
void key_digest(const uint8_t salt[32], const char *key, size_t n, uint8_t out[32]);
char *random_token(const char *prefix, size_t n) must_check;
void uuid4(char out[UUID_LEN]);
void seal_free(char *s);

#endif
