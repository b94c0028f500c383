/*
 * first: what a data directory gets once in its life, and what is said at the start.
 *
 * first_salt      m->key_salt: from the store, or made and stored, sealed. E_CRYPTO: the key file
 *                 is not the one that this data directory was made with.
 * first_password  the administrator's password: INITIAL_PASSWORD or a random one; only its
 *                 Argon2id hash is stored (document "admin/password"). *shown is a random one, to
 *                 be printed once (seal_free it); NULL when there is nothing to show. Takes some
 *                 100 ms when it makes one.
 * first_banner    address, password, a request to paste. `quiet`: only the password, if any.
 */
#ifndef OMNIROUTE_MASTER_FIRST_H
#define OMNIROUTE_MASTER_FIRST_H

#include "master/master.h"

int first_salt(struct master *m, struct buf *err) must_check;
int first_password(struct master *m, char **shown) must_check;
void first_banner(const struct master *m, const char *password, bool quiet, struct buf *out);

#endif
