/* The TLS listener, with certificates made here. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "t/unit/worker_http.h"

#define GET_HELLO "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST_WAIT "POST /wait HTTP/1.1\r\nHost: h\r\n\r\n"
#define HELLO \
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Request-Id: *\r\nContent-Length: " \
	"6\r\n\r\nhello\n"

static SSL_CTX *client_ctx;
static struct sockaddr_in where;

static char *
pem_text(BIO *bio)
{
	char *data, *text;
	long n = BIO_get_mem_data(bio, &data);
	assert_true(n > 0);
	text = strndup(data, (size_t)n);
	BIO_free(bio);
	return text;
}

/* Makes `name`'s certificate the one of the next snapshot. */
static void
certificate_make(const char *name)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	BIO *cert_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_mem());
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -60);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_NAME_add_entry_by_txt(
	    X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_bio_X509(cert_pem, x), 1);
	assert_int_equal(PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL), 1);
	free((char *)(uintptr_t)pem_certificate);
	free((char *)(uintptr_t)pem_key);
	pem_certificate = pem_text(cert_pem);
	pem_key = pem_text(key_pem);
	X509_free(x);
	EVP_PKEY_free(key);
}

static int
tls_server_start(void **state)
{
	socklen_t n = sizeof(where);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	server_start(state);
	certificate_make("first");
	listeners[0].tls = 1;
	snapshot_make();
	where =
	    (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)&where, n), 0);
	assert_int_equal(listen(fd, 100), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&where, &n), 0);
	assert_int_equal(http_listen(server, fd, 0), 0);
	client_ctx = SSL_CTX_new(TLS_client_method());
	assert_non_null(client_ctx);
	return 0;
}

static int
tls_server_stop(void **state)
{
	SSL_CTX_free(client_ctx);
	server_stop(state);
	free((char *)(uintptr_t)pem_certificate);
	free((char *)(uintptr_t)pem_key);
	pem_certificate = pem_key = NULL;
	return 0;
}

static int
dial_plain(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&where, sizeof(where)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* Runs the loop until the handshake is over; NULL: it failed. */
static SSL *
dial(const char *protocols)
{
	int fd = dial_plain(), r;
	SSL *ssl = SSL_new(client_ctx);
	uint64_t start = clock_now_ns();
	SSL_set_fd(ssl, fd);
	if (protocols != NULL)
		SSL_set_alpn_protos(
		    ssl, (const unsigned char *)protocols, (unsigned)strlen(protocols));
	while ((r = SSL_connect(ssl)) != 1 && clock_now_ns() - start < 5 * NS_PER_SEC) {
		int e = SSL_get_error(ssl, r);
		if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE)
			break;
		turn();
	}
	ERR_clear_error();
	if (r == 1)
		return ssl;
	SSL_free(ssl);
	close(fd);
	return NULL;
}

static void
hang_up(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);
	SSL_free(ssl);
	close(fd);
	for (int i = 0; i < 3; i++)
		turn();
}

static void
tls_say(SSL *ssl, const char *text, size_t n, size_t step)
{
	for (size_t i = 0; i < n;) {
		int sent = SSL_write(ssl, text + i, (int)MIN(step, n - i));
		if (sent > 0)
			i += (size_t)sent;
		ERR_clear_error();
		turn();
	}
}

static void
await_request(void)
{
	uint64_t start = clock_now_ns();
	while (waiting == NULL && clock_now_ns() - start < 5 * NS_PER_SEC)
		turn();
	assert_non_null(waiting);
}

/* Reads `n` bytes, or until the end. */
static size_t
tls_hear(SSL *ssl, char *out, size_t n)
{
	size_t len = 0;
	uint64_t start = clock_now_ns();
	while (len < n && clock_now_ns() - start < 5 * NS_PER_SEC) {
		int got = SSL_read(ssl, out + len, (int)(n - len));
		if (got > 0)
			len += (size_t)got;
		else if (SSL_get_error(ssl, got) != SSL_ERROR_WANT_READ)
			break;
		ERR_clear_error();
		turn();
	}
	return len;
}

static void
expect_hello(SSL *ssl, size_t step)
{
	char text[1024] = "";
	size_t n = strlen(HELLO) - 1 + 36 + strlen("Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
	tls_say(ssl, GET_HELLO, strlen(GET_HELLO), step);
	assert_int_equal(tls_hear(ssl, text, n), n);
	normalise(text);
	assert_string_equal(text, HELLO);
}

static void
subject(SSL *ssl, char out[64])
{
	X509 *x = SSL_get1_peer_certificate(ssl);
	X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, out, 64);
	X509_free(x);
}

static void
test_requests(void **state)
{
	(void)state;
	SSL *ssl = dial("\x02h2\x08http/1.1");
	assert_non_null(ssl);
	expect_hello(ssl, 1000);
	expect_hello(ssl, 1);
	expect_hello(ssl, 7);
	assert_true(last.tls && last.local);
	assert_int_equal(counter(CTR_requests), 3);
	hang_up(ssl);
	assert_int_equal(http_connections(server), 0);
	assert_null(dial("\x02h2"));
	assert_int_equal(http_connections(server), 0);
}

/* Large both ways, with a reader that does not keep up. */
/* What OpenSSL has read and we have not does not wake the loop: pipelined requests beyond a turn
 * must not be left there. */
static void
test_pipelined(void **state)
{
	enum { REQUESTS = 1300 };
	size_t one = strlen(GET_HELLO),
	       n = strlen(HELLO) - 1 + 36 + strlen("Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
	char *text = malloc(REQUESTS * one), *heard = malloc(REQUESTS * n);
	(void)state;
	SSL *ssl = dial(NULL);
	assert_non_null(ssl);
	for (unsigned i = 0; i < REQUESTS; i++)
		memcpy(text + i * one, GET_HELLO, one);
	/* Three records at once, of which `in` has room for two and a bit. */
	for (size_t i = 0; i < REQUESTS * one; i += 16384)
		assert_true(SSL_write(ssl, text + i, (int)MIN(16384, REQUESTS * one - i)) > 0);
	assert_int_equal(tls_hear(ssl, heard, REQUESTS * n), REQUESTS * n);
	assert_int_equal(counter(CTR_requests), REQUESTS);
	free(text);
	free(heard);
	hang_up(ssl);
}

static void
test_bulk(void **state)
{
	static char sent[3000000], got[3000000 + 400];
	char head[200];
	(void)state;
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (char)('a' + i % 23);
	SSL *ssl = dial(NULL);
	int n = snprintf(head, sizeof(head),
	    "POST /wait HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", sizeof(sent));
	tls_say(ssl, head, (size_t)n, 100);
	tls_say(ssl, sent, sizeof(sent), 100000);
	await_request();
	assert_int_equal(waiting->body.n, sizeof(sent));
	assert_memory_equal(waiting->body.p, sent, sizeof(sent));
	http_reply(waiting, 200, NULL, waiting->body.p, waiting->body.n);
	size_t len = tls_hear(ssl, got, sizeof(sent));
	len += tls_hear(
	    ssl, got + len, sizeof(sent) + (size_t)(strstr(got, "\r\n\r\n") + 4 - got) - len);
	assert_memory_equal(strstr(got, "\r\n\r\n") + 4, sent, sizeof(sent));
	expect_hello(ssl, 1000);
	hang_up(ssl);
}

static void
test_stream_and_gone(void **state)
{
	char text[1024] = "";
	(void)state;
	for (int how = 0; how < 2; how++) {
		SSL *ssl = dial(NULL);
		tls_say(ssl, POST_WAIT, strlen(POST_WAIT), 100);
		await_request();
		http_start(waiting, 200, "text/event-stream", -1);
		assert_false(http_write(waiting, "data", 4));
		tls_hear(ssl, text, 100);
		for (int i = 0; i < 50; i++) {
			size_t got = 0;
			http_write(waiting, "data", 4);
			while (strstr(text, "4\r\ndata\r\n") == NULL && got < sizeof(text) - 1)
				got += tls_hear(ssl, text + got, 1);
		}
		seen_take();
		if (how == 0)
			SSL_shutdown(ssl);
		else
			shutdown(SSL_get_fd(ssl), SHUT_RDWR);
		for (int i = 0; i < 3; i++)
			turn();
		assert_null(waiting);
		assert_string_equal(seen_take(), "gone(/wait)done(200,204)");
		hang_up(ssl);
	}
	assert_int_equal(http_connections(server), 0);
}

static void
test_plain_http(void **state)
{
	char text[2048] = "";
	size_t len = 0;
	(void)state;
	int fd = dial_plain();
	say(fd, GET_HELLO);
	for (ssize_t n; (n = recv(fd, text + len, sizeof(text) - 1 - len, 0)) != 0; turn())
		len += n > 0 ? (size_t)n : 0;
	normalise(text);
	assert_int_equal(strncmp(text, "HTTP/1.1 400 Bad Request\r\n", 26), 0);
	assert_non_null(strstr(text, "This port speaks TLS"));
	close(fd);
	turn();
	assert_int_equal(http_connections(server), 0);
	fd = dial_plain();
	say(fd, "\x16\x03\x01\xff\xff garbage that is no handshake");
	for (int i = 0; i < 5; i++)
		turn();
	assert_string_equal(seen_take(), "done(400,130)");
	close(fd);
}

static void
test_new_certificate(void **state)
{
	char name[64];
	(void)state;
	SSL *old = dial(NULL);
	expect_hello(old, 1000);
	certificate_make("second");
	snapshot_make();
	http_settings_changed(server);
	SSL *new = dial(NULL);
	subject(new, name);
	assert_string_equal(name, "second");
	expect_hello(new, 1000);
	expect_hello(old, 1000);
	subject(old, name);
	assert_string_equal(name, "first");
	free((char *)(uintptr_t)pem_key);
	pem_key = strdup("no key");
	snapshot_make();
	http_settings_changed(server);
	SSL *newer = dial(NULL);
	subject(newer, name);
	assert_string_equal(name, "second");
	hang_up(newer);
	hang_up(new);
	hang_up(old);
}

static void
test_handshake_deadline(void **state)
{
	char byte;
	(void)state;
	settings.header_timeout_ms = 60;
	snapshot_make();
	int fd = dial_plain();
	uint64_t start = clock_now_ns();
	while (recv(fd, &byte, 1, 0) != 0 && clock_now_ns() - start < 5 * NS_PER_SEC)
		turn_ms(5);
	assert_in_range(clock_now_ns() - start, 50 * NS_PER_MS, 4 * NS_PER_SEC);
	assert_int_equal(http_connections(server), 0);
	close(fd);
}

#define TLS(name) cmocka_unit_test_setup_teardown(name, tls_server_start, tls_server_stop)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TLS(test_requests),
	    TLS(test_pipelined),
	    TLS(test_bulk),
	    TLS(test_stream_and_gone),
	    TLS(test_plain_http),
	    TLS(test_new_certificate),
	    TLS(test_handshake_deadline),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
