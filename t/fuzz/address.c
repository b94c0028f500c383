/*
 * Base URLs of upstreams: what is let through is asked once more of the resolver, which knows every
 * spelling of a literal address. And an IPv4 address is the same whether or not it is written as an
 * IPv6 one.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "providers/catalog.h"
#include "shared/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a client of libcurl would hand to the resolver; NULL when it is no URL. */
static char *
host_of(const char *url)
{
	CURLU *u = curl_url();
	char *host = NULL;

	if (u == NULL)
		abort();
	if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK)
		curl_url_get(u, CURLUPART_HOST, &host, 0);
	curl_url_cleanup(u);
	return host;
}

static void
ask_again(const char *url, bool allow_private)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *list;
	char *host = host_of(url), *name = host;
	size_t n;

	if (host == NULL)
		abort();
	n = strlen(host);
	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		name++;
	}
	if (getaddrinfo(name, NULL, &hints, &list) == 0) {
		for (struct addrinfo *a = list; a != NULL; a = a->ai_next)
			if (address_forbidden(a->ai_addr) ||
			    (!allow_private && address_private(a->ai_addr)))
				abort();
		freeaddrinfo(list);
	}
	curl_free(host);
}

static void
check_url(const char *url)
{
	int strict = catalog_base_url_check(url, false),
	    relaxed = catalog_base_url_check(url, true);

	if (strict != 0 && strict != E_SYNTAX && strict != E_DENIED)
		abort();
	if (strict != relaxed && (strict != E_DENIED || relaxed != 0))
		abort();
	if (strict == 0)
		ask_again(url, false);
	if (relaxed == 0)
		ask_again(url, true);
}

static void
check_mapped(const uint8_t *ip)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

	memcpy(&v4.sin_addr, ip, 4);
	v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xff;
	memcpy(v6.sin6_addr.s6_addr + 12, ip, 4);
	if (address_private((struct sockaddr *)&v4) != address_private((struct sockaddr *)&v6) ||
	    address_forbidden((struct sockaddr *)&v4) != address_forbidden((struct sockaddr *)&v6))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *url = strndup((const char *)data, size), *bare;

	if (url == NULL || asprintf(&bare, "http://%s/v1", url) < 0)
		abort();
	check_url(url);
	check_url(bare);
	if (size >= 4)
		check_mapped(data);
	free(bare);
	free(url);
	return 0;
}
