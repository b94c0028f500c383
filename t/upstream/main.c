/*
 * main: arguments, one listener on 127.0.0.1, and a quiet end.
 */
#include <arpa/inet.h>
#include <event2/listener.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "t/upstream/upstream.h"

static struct event_base *base;

static void
on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len, void *ctx)
{
	(void)l, (void)sa, (void)len;
	conn_new(base, fd, ctx);
}

static void
on_signal(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd, (void)what, (void)ctx;
	event_base_loopbreak(base);
}

static int
choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in,
    unsigned inlen, void *arg)
{
	static const unsigned char http1[] = "\x08http/1.1";
	unsigned char *chosen;

	(void)ssl, (void)arg;
	if (SSL_select_next_proto(&chosen, outlen, http1, sizeof(http1) - 1, in, inlen) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_NOACK;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *
tls_new(const char *cert, const char *key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
		fprintf(stderr, "upstream: cannot use %s with %s\n", cert, key);
		exit(1);
	}
	SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
	return ctx;
}

static int
listen_port(struct evconnlistener *l)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	if (getsockname(evconnlistener_get_fd(l), (struct sockaddr *)&sin, &len) != 0)
		return -1;
	return ntohs(sin.sin_port);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	SSL_CTX *tls = NULL;
	struct evconnlistener *l;
	struct event *term;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
			sin.sin_port = htons((uint16_t)atoi(argv[++i]));
		} else if (strcmp(argv[i], "--tls") == 0 && i + 2 < argc) {
			tls = tls_new(argv[i + 1], argv[i + 2]);
			i += 2;
		} else {
			fprintf(stderr, "usage: upstream [--port N] [--tls CERT KEY]\n");
			return 2;
		}
	}
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	base = event_base_new();
	term = evsignal_new(base, SIGTERM, on_signal, NULL);
	l = evconnlistener_new_bind(base, on_accept, tls,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC, 1024,
	    (struct sockaddr *)&sin, sizeof(sin));
	if (term == NULL || l == NULL || evsignal_add(term, NULL) != 0) {
		perror("upstream");
		return 1;
	}
	printf("listening %d\n", listen_port(l));
	fflush(stdout);
	event_base_dispatch(base);
	conn_free_all();
	script_clear();
	record_clear(true, false);
	evconnlistener_free(l);
	event_free(term);
	event_base_free(base);
	SSL_CTX_free(tls);
	return 0;
}
