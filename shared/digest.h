/*
 * digest: SHA-256 and base64, over libsodium.
 *
 * digest_sha256       of the pieces, one behind the other.
 * digest_hex          `n` bytes as lower-case hex into out[2 * n + 1].
 * base64_encode       standard alphabet with padding, appended to `b`.
 * base64_decode       standard or URL-safe alphabet, padding optional, white space ignored;
 * appended to `b`. E_SYNTAX, E_TOO_LONG.
 */
#ifndef OMNIROUTE_SHARED_DIGEST_H
#define OMNIROUTE_SHARED_DIGEST_H

#include "shared/base.h"
#include "shared/buf.h"

#define SHA256_BYTES 32

void digest_sha256(const struct span *pieces, unsigned n, uint8_t out[SHA256_BYTES]);
void digest_hex(const uint8_t *p, size_t n, char *out);
int base64_encode(struct buf *b, const void *p, size_t n);
int base64_decode(struct buf *b, struct span text) must_check;

#endif
