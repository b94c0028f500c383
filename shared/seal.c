/*
 * seal: the key file is written beside its place and linked there when it is complete and on disk,
 * so a start that is killed leaves either no key or a whole one: half a key would make every sealed
 * secret unreadable.
 */
#include "shared/seal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/err.h"
#include "shared/log.h"

#define PREFIX "s1:"
#define PREFIX_LEN (sizeof PREFIX - 1)
#define NONCE_LEN crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_LEN crypto_aead_xchacha20poly1305_ietf_ABYTES
#define KEY_LEN sizeof((struct seal_key *)0)->bytes
#define BASE64 sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define TEXT_MAX (16u << 20) /* bytes of a secret; far above any token */
#define CREDENTIAL "omniroute.key"
/* The master's loop waits for it: the usual least for Argon2id, some 20 ms, instead of libsodium's
 * 64 MiB. */
#define PASSWORD_PASSES 2
#define PASSWORD_MEMORY (19u << 20)

static_assert(sizeof((struct seal_key *)0)->bytes == crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
    "the key file holds exactly one key");

int
seal_init(void)
{
	return sodium_init() >= 0 ? 0 : E_CRYPTO;
}

/* ---- the key file ---- */

/* Exactly one key; anything shorter or longer is somebody else's file. */
static int
read_key(int fd, const char *path, struct seal_key *key)
{
	uint8_t in[KEY_LEN + 1];
	size_t have = 0;
	ssize_t n;
	int r = 0;

	do {
		n = read(fd, in + have, sizeof in - have);
		if (n > 0)
			have += (size_t)n;
	} while ((n > 0 && have < sizeof in) || (n == -1 && errno == EINTR));
	if (n == -1) {
		log_error("key file %s: %s", path, strerror(errno));
		r = E_SYSTEM;
	} else if (have != KEY_LEN) {
		log_error("key file %s has %s than %zu bytes; what was sealed with the right one "
			  "cannot be read without it, so it is left as it is",
		    path, have < KEY_LEN ? "less" : "more", KEY_LEN);
		r = E_SYNTAX;
	} else {
		memcpy(key->bytes, in, KEY_LEN);
	}
	sodium_memzero(in, sizeof in);
	return r;
}

/* A key that others can read or have made is no secret. Root may use the file of the user it will
 * become. */
static int
check_owner(int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) != 0) {
		log_error("key file %s: %s", path, strerror(errno));
		return E_SYSTEM;
	}
	if (!S_ISREG(st.st_mode)) {
		log_error("key file %s is not a regular file", path);
		return E_SYNTAX;
	}
	if ((st.st_mode & 077) != 0) {
		log_error("key file %s has mode %04o, so others can read it or write to it: chmod "
			  "600 it, and consider the secrets in the store known to them",
		    path, (unsigned)(st.st_mode & 07777));
		return E_DENIED;
	}
	if (geteuid() != 0 && st.st_uid != geteuid()) {
		log_error("key file %s belongs to user %u, not to %u", path, (unsigned)st.st_uid,
		    (unsigned)geteuid());
		return E_DENIED;
	}
	return 0;
}

/* E_NOT_FOUND without a log line: the caller knows what to do then. */
static int
load_file(const char *path, bool ours, struct seal_key *key)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), r;

	if (fd == -1) {
		if (errno == ENOENT)
			return E_NOT_FOUND;
		log_error("key file %s: %s", path, strerror(errno));
		return E_SYSTEM;
	}
	r = ours ? check_owner(fd, path) : 0;
	if (r == 0)
		r = read_key(fd, path, key);
	close(fd);
	return r;
}

static int
sync_directory(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash == NULL ? 0 : (size_t)(slash - path);
	int fd, r;

	snprintf(dir, sizeof dir, "%.*s", (int)n, path);
	fd = open(slash == NULL ? "." : n == 0 ? "/" : dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	r = fsync(fd);
	close(fd);
	return r;
}

static int
write_key(int fd, const struct seal_key *key)
{
	ssize_t n;

	do
		n = write(fd, key->bytes, KEY_LEN);
	while (n == -1 && errno == EINTR);
	if (n >= 0 && (size_t)n < KEY_LEN)
		errno = ENOSPC;
	return n == (ssize_t)KEY_LEN && fsync(fd) == 0 ? 0 : -1;
}

/* Makes a key; E_EXISTS when another process was faster, then its key is the one. */
static int
make_file(const char *path, struct seal_key *key)
{
	char tmp[PATH_MAX];
	int fd, n, failure = 0;

	n = snprintf(tmp, sizeof tmp, "%s.%08x", path, randombytes_random());
	if (n < 0 || (size_t)n >= sizeof tmp)
		return E_TOO_LONG;
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1) {
		log_error("key file %s cannot be made: %s", path, strerror(errno));
		return E_SYSTEM;
	}
	randombytes_buf(key->bytes, KEY_LEN);
	if (write_key(fd, key) != 0 || link(tmp, path) != 0)
		failure = errno;
	close(fd);
	unlink(tmp);
	if (failure == 0 && sync_directory(path) != 0)
		failure = errno;
	if (failure == 0)
		return 0;
	seal_key_wipe(key);
	if (failure == EEXIST)
		return E_EXISTS;
	log_error("key file %s cannot be made: %s", path, strerror(failure));
	return failure == ENOSPC || failure == EDQUOT ? E_FULL : E_SYSTEM;
}

static int
load_credential(struct seal_key *key)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	char path[PATH_MAX];
	int n;

	if (dir == NULL || *dir == '\0')
		return E_NOT_FOUND;
	n = snprintf(path, sizeof path, "%s/" CREDENTIAL, dir);
	if (n < 0 || (size_t)n >= sizeof path)
		return E_TOO_LONG;
	return load_file(path, false, key); /* its access is the service manager's business */
}

int
seal_key_load(const char *path, bool may_make, struct seal_key *key)
{
	int r;

	/* Not swapped, not dumped. Without the right to lock it works all the same. */
	(void)sodium_mlock(key->bytes, KEY_LEN);
	r = load_credential(key);
	if (r == E_NOT_FOUND)
		r = load_file(path, true, key);
	if (r == E_NOT_FOUND && may_make)
		r = make_file(path, key);
	if (r == E_EXISTS)
		r = load_file(path, true, key);
	if (r != 0)
		seal_key_wipe(key);
	return r;
}

void
seal_key_wipe(struct seal_key *key)
{
	(void)sodium_munlock(key->bytes, KEY_LEN); /* wipes first */
	sodium_memzero(key->bytes, KEY_LEN);
}

/* ---- sealed texts ---- */

static char *
encode(const char *prefix, const uint8_t *p, size_t n)
{
	size_t pre = strlen(prefix), room = sodium_base64_encoded_len(n, BASE64);
	char *out = malloc(pre + room);

	if (out == NULL)
		return NULL;
	memcpy(out, prefix, pre);
	sodium_bin2base64(out + pre, room, p, n, BASE64);
	return out;
}

char *
seal_text(const struct seal_key *key, const char *context, const char *text, size_t n)
{
	uint8_t *box;
	char *out = NULL;

	if (n > TEXT_MAX || (box = malloc(NONCE_LEN + n + TAG_LEN)) == NULL)
		return NULL;
	randombytes_buf(box, NONCE_LEN);
	if (crypto_aead_xchacha20poly1305_ietf_encrypt(box + NONCE_LEN, NULL,
		(const unsigned char *)text, n, (const unsigned char *)context, strlen(context),
		NULL, box, key->bytes) == 0)
		out = encode(PREFIX, box, NONCE_LEN + n + TAG_LEN);
	free(box);
	return out;
}

char *
seal_open(const struct seal_key *key, const char *context, const char *sealed, size_t *n)
{
	size_t len = strlen(sealed), boxlen = 0;
	uint8_t *box = NULL;
	char *out = NULL;
	unsigned long long outlen = 0;

	*n = 0;
	if (len < PREFIX_LEN || len > 2 * TEXT_MAX || memcmp(sealed, PREFIX, PREFIX_LEN) != 0)
		return NULL;
	sealed += PREFIX_LEN;
	len -= PREFIX_LEN;
	if ((box = malloc(len + 1)) == NULL ||
	    sodium_base642bin(box, len + 1, sealed, len, NULL, &boxlen, NULL, BASE64) != 0 ||
	    boxlen < NONCE_LEN + TAG_LEN)
		goto out;
	if ((out = calloc(1, boxlen - NONCE_LEN - TAG_LEN + 1)) == NULL)
		goto out;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt((unsigned char *)out, &outlen, NULL,
		box + NONCE_LEN, boxlen - NONCE_LEN, (const unsigned char *)context,
		strlen(context), box, key->bytes) != 0) {
		free(out);
		out = NULL;
		goto out;
	}
	*n = (size_t)outlen;
out:
	free(box);
	return out;
}

void
seal_free(char *s)
{
	if (s != NULL)
		sodium_memzero(s, strlen(s));
	free(s);
}

/* ---- passwords, keys, tokens ---- */

char *
password_hash(const char *password)
{
	char *out = malloc(crypto_pwhash_STRBYTES);

	if (out != NULL && crypto_pwhash_str(out, password, strlen(password), PASSWORD_PASSES,
			       PASSWORD_MEMORY) != 0) {
		free(out);
		out = NULL;
	}
	return out;
}

bool
password_check(const char *hash, const char *password)
{
	return crypto_pwhash_str_verify(hash, password, strlen(password)) == 0;
}

void
key_digest(const uint8_t salt[32], const char *key, size_t n, uint8_t out[32])
{
	crypto_generichash(out, 32, (const unsigned char *)key, n, salt, 32);
}

char *
random_token(const char *prefix, size_t n)
{
	uint8_t *bytes;
	char *out;

	if (n > TEXT_MAX || (bytes = malloc(n + 1)) == NULL)
		return NULL;
	randombytes_buf(bytes, n);
	out = encode(prefix, bytes, n);
	sodium_memzero(bytes, n);
	free(bytes);
	return out;
}

void
uuid4(char out[UUID_LEN])
{
	uint8_t b[16];
	char hex[33];

	randombytes_buf(b, sizeof b);
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* version 4 */
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80); /* variant of RFC 4122 */
	sodium_bin2hex(hex, sizeof hex, b, sizeof b);
	snprintf(
	    out, UUID_LEN, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}
