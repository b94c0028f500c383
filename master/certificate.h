/*
 * certificate: the PEM files of a TLS listener, checked before anybody is given them: a certificate
 * chain, its private key, and that the two belong together.
 *
 * certificate_load  0, or an error with a sentence in `err` that names the file. `key` holds a
 * secret: buf_wipe it.
 */
#ifndef OMNIROUTE_MASTER_CERTIFICATE_H
#define OMNIROUTE_MASTER_CERTIFICATE_H

#include "shared/base.h"
#include "shared/buf.h"

#define CERTIFICATE_MAX (256u << 10)

int certificate_load(const char *cert_path, const char *key_path, struct buf *cert, struct buf *key,
    struct buf *err) must_check;

#endif
