/*
 * TLS of the listeners: OpenSSL straight on the socket, so that plain and encrypted connections go
 * one way through reading, limits and back-pressure, and an idle one holds no buffers
 * (SSL_MODE_RELEASE_BUFFERS).
 *
 * A changed certificate makes a new context; connections keep the one they began with. One that
 * cannot be used leaves the old one in force and an error in the log.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sodium.h>
#include <string.h>

#include "shared/err.h"
#include "shared/log.h"
#include "worker/http_conn.h"

#define RECORD_MAX 16384 /* gathered into one SSL_write */

/* ---- certificates ---------------------------------------------------------------------------- */

static int
no_passphrase(char *out, int size, int writing, void *arg)
{
	(void)out;
	(void)size;
	(void)writing;
	(void)arg;
	return 0;
}

/* The first certificate is ours, the rest is its chain. */
static bool
use_chain(SSL_CTX *ctx, struct span pem)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *cert = bio != NULL ? PEM_read_bio_X509_AUX(bio, NULL, no_passphrase, NULL) : NULL;
	bool good = cert != NULL && SSL_CTX_use_certificate(ctx, cert) == 1;
	X509_free(cert);
	while (good && (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)) != NULL)
		if (SSL_CTX_add0_chain_cert(ctx, cert) != 1) {
			X509_free(cert);
			good = false;
		}
	if (good)
		ERR_clear_error(); /* "no more certificates" */
	BIO_free(bio);
	return good;
}

static bool
use_key(SSL_CTX *ctx, struct span pem)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *key =
	    bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
	bool good = key != NULL && SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
		    SSL_CTX_check_private_key(ctx) == 1;
	EVP_PKEY_free(key);
	BIO_free(bio);
	return good;
}

static int
choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
    const unsigned char *in, unsigned in_len, void *arg)
{
	static const unsigned char ours[] = "\x08http/1.1";
	unsigned char *found;
	(void)ssl;
	(void)arg;
	if (SSL_select_next_proto(&found, out_len, ours, sizeof(ours) - 1, in, in_len) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = found;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *
context_new(struct span certificate, struct span key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	if (ctx == NULL)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(
	    ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_RELEASE_BUFFERS);
	/* Tickets would be refused by the other workers, and a cache here would not know theirs. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	if (use_chain(ctx, certificate) && use_key(ctx, key))
		return ctx;
	SSL_CTX_free(ctx);
	return NULL;
}

static const struct snap_listener *
settings_of(const struct http_listener *l, const struct snapshot *snap)
{
	for (uint32_t i = 0; i < snapshot_head(snap)->listeners.count; i++)
		if (snapshot_listener(snap, i)->ordinal == l->ordinal)
			return snapshot_listener(snap, i);
	return NULL;
}

static void
digest_of(struct span certificate, struct span key, uint8_t out[32])
{
	crypto_generichash_state st;
	uint64_t n = certificate.n;
	crypto_generichash_init(&st, NULL, 0, 32);
	crypto_generichash_update(&st, (const unsigned char *)&n, sizeof(n));
	crypto_generichash_update(&st, (const unsigned char *)certificate.p, certificate.n);
	crypto_generichash_update(&st, (const unsigned char *)key.p, key.n);
	crypto_generichash_final(&st, out, 32);
	sodium_memzero(&st, sizeof(st));
}

void
tls_listener_update(struct http_listener *l, const struct snapshot *snap)
{
	const struct snap_listener *set = settings_of(l, snap);
	uint8_t digest[32];
	if (set == NULL || !set->tls)
		return;
	struct span certificate = snapshot_span(snap, set->certificate);
	struct span key = snapshot_span(snap, set->private_key);
	digest_of(certificate, key, digest);
	if (l->tls != NULL && memcmp(digest, l->tls_digest, sizeof(digest)) == 0)
		return;
	ERR_clear_error();
	SSL_CTX *ctx =
	    certificate.n <= INT32_MAX && key.n <= INT32_MAX ? context_new(certificate, key) : NULL;
	if (ctx == NULL) {
		const char *why = ERR_reason_error_string(ERR_peek_last_error());
		log_error("listener=%s certificate or key cannot be used: %s%s",
		    snapshot_cstr(snap, set->name), why != NULL ? why : "unknown reason",
		    l->tls != NULL ? "; the old one stays" : "");
		ERR_clear_error();
		return;
	}
	SSL_CTX_free(l->tls);
	l->tls = ctx;
	memcpy(l->tls_digest, digest, sizeof(digest));
}

void
tls_listener_clear(struct http_listener *l)
{
	SSL_CTX_free(l->tls);
	l->tls = NULL;
}

/* ---- connections ----------------------------------------------------------------------------- */

int
tls_start(struct http_conn *c, const struct http_listener *l)
{
	if (l->tls == NULL)
		return E_NOT_FOUND;
	c->ssl = SSL_new(l->tls);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1)
		return E_NOMEM;
	SSL_set_accept_state(c->ssl);
	return 0;
}

/* Somebody speaks plain HTTP to us: it can be told so, plainly. */
static void
tls_is_plain(struct http_conn *c)
{
	tls_free(c);
	c->read_wants_write = c->write_wants_read = false;
	conn_refuse(c, 400, "This port speaks TLS; the URL must begin with https://");
}

void
tls_handshake(struct http_conn *c)
{
	ERR_clear_error();
	int r = SSL_do_handshake(c->ssl);
	if (r == 1) {
		c->read_wants_write = false;
		c->phase = PH_HEAD;
		conn_deadline(c, http_settings(c->s)->header_timeout_ms);
		if (tls_pending(c))
			conn_readable(c);
		return;
	}
	int e = SSL_get_error(c->ssl, r);
	c->read_wants_write = e == SSL_ERROR_WANT_WRITE;
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return;
	bool plain = ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST;
	ERR_clear_error();
	if (plain)
		tls_is_plain(c);
	else
		conn_kill(c);
}

static ptrdiff_t
tls_error(struct http_conn *c, int r, bool reading)
{
	int e = SSL_get_error(c->ssl, r);
	ERR_clear_error();
	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
		if (reading)
			c->read_wants_write = e == SSL_ERROR_WANT_WRITE;
		else
			c->write_wants_read = e == SSL_ERROR_WANT_READ;
		return E_AGAIN;
	}
	return e == SSL_ERROR_ZERO_RETURN ? E_CLOSED : E_SYSTEM;
}

ptrdiff_t
tls_read(struct http_conn *c, void *p, size_t n)
{
	size_t got = 0;
	ERR_clear_error();
	int r = SSL_read_ex(c->ssl, p, n, &got);
	if (r != 1)
		return tls_error(c, r, true);
	c->read_wants_write = false;
	return (ptrdiff_t)got;
}

/*
 * Many small pieces become one record. A record that the socket did not take must be offered again
 * with the same first bytes; they are: what was not taken goes to the front of `out`, which is
 * offered next.
 */
ptrdiff_t
tls_writev(struct http_conn *c, const struct iovec *iov, unsigned n)
{
	char gathered[RECORD_MAX];
	const char *p = iov[0].iov_base;
	size_t len = iov[0].iov_len, sent = 0;
	if (n > 1 && len < RECORD_MAX) {
		len = 0;
		for (unsigned i = 0; i < n && len < RECORD_MAX; i++) {
			size_t take = MIN(iov[i].iov_len, RECORD_MAX - len);
			memcpy(gathered + len, iov[i].iov_base, take);
			len += take;
		}
		p = gathered;
	}
	ERR_clear_error();
	int r = SSL_write_ex(c->ssl, p, MIN(len, RECORD_MAX), &sent);
	if (r != 1)
		return tls_error(c, r, false);
	c->write_wants_read = false;
	return (ptrdiff_t)sent;
}

bool
tls_pending(const struct http_conn *c)
{
	return c->ssl != NULL && SSL_pending(c->ssl) > 0;
}

void
tls_shutdown(struct http_conn *c)
{
	if (c->ssl == NULL || !SSL_is_init_finished(c->ssl))
		return;
	ERR_clear_error();
	(void)SSL_shutdown(c->ssl);
	ERR_clear_error();
}

void
tls_free(struct http_conn *c)
{
	SSL_free(c->ssl);
	c->ssl = NULL;
}
