#include "master/certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>
#include <unistd.h>

#include "shared/err.h"

static int
read_file(const char *path, struct buf *out, struct buf *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = -1;
	char *room;

	while (
	    fd != -1 && (room = buf_reserve(out, 4096)) != NULL && (n = read(fd, room, 4096)) > 0)
		out->len += (size_t)n;
	if (n != 0)
		buf_addf(err, "%s: %s", path,
		    fd != -1 && n > 0 ? "larger than a certificate can be" : strerror(errno));
	if (fd != -1)
		close(fd);
	return n == 0 ? 0 : E_SYSTEM;
}

/* A key that asks for a pass phrase has nobody to ask. */
static int
no_passphrase(char *text, int size, int writing, void *ctx)
{
	(void)text;
	(void)size;
	(void)writing;
	(void)ctx;
	return 0;
}

int
certificate_load(
    const char *cert_path, const char *key_path, struct buf *cert, struct buf *key, struct buf *err)
{
	BIO *cert_bio = NULL, *key_bio = NULL;
	X509 *x = NULL;
	EVP_PKEY *pk = NULL;
	int r;

	if ((r = read_file(cert_path, cert, err)) != 0 || (r = read_file(key_path, key, err)) != 0)
		return r;
	r = E_NOMEM;
	if ((cert_bio = BIO_new_mem_buf(cert->data, (int)cert->len)) == NULL ||
	    (key_bio = BIO_new_mem_buf(key->data, (int)key->len)) == NULL)
		goto out;
	r = E_SYNTAX;
	if ((x = PEM_read_bio_X509(cert_bio, NULL, no_passphrase, NULL)) == NULL)
		buf_addf(err, "%s: must begin with a certificate in PEM form", cert_path);
	else if ((pk = PEM_read_bio_PrivateKey(key_bio, NULL, no_passphrase, NULL)) == NULL)
		buf_addf(
		    err, "%s: must be a private key in PEM form without a pass phrase", key_path);
	else if (X509_check_private_key(x, pk) != 1)
		buf_addf(err, "%s: is not the private key of %s", key_path, cert_path);
	else
		r = 0;
out:
	ERR_clear_error();
	EVP_PKEY_free(pk);
	X509_free(x);
	BIO_free(key_bio);
	BIO_free(cert_bio);
	return r;
}
