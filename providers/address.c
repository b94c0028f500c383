/*
 * Where an upstream may be. The URL is taken apart by libcurl's own parser, so that what is checked
 * is what will be connected to; it also puts the odd spellings of an IPv4 address (decimal, octal,
 * hex, short) into the usual one. What a name resolves to is checked when connecting, with
 * address_private and address_forbidden.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "providers/catalog.h"
#include "shared/err.h"

struct range4 {
	uint32_t net;
	unsigned bits;
};
struct range6 {
	uint8_t net[16];
	unsigned bits;
};

#define IP4(a, b, c, d) \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const struct range4 forbidden4[] = {
    {IP4(0, 0, 0, 0), 8},
    {IP4(169, 254, 0, 0), 16},     /* link-local, where most clouds have their metadata */
    {IP4(100, 100, 100, 200), 32}, /* metadata: Alibaba */
    {IP4(168, 63, 129, 16), 32},   /* metadata: Azure */
    {IP4(192, 0, 0, 192), 32},     /* metadata: Oracle */
    {IP4(224, 0, 0, 0), 3},        /* multicast, reserved, broadcast */
};
static const struct range4 private4[] = {
    {IP4(10, 0, 0, 0), 8}, {IP4(100, 64, 0, 0), 10}, /* carrier-grade NAT */
    {IP4(127, 0, 0, 0), 8}, {IP4(172, 16, 0, 0), 12}, {IP4(192, 0, 0, 0), 24},
    {IP4(192, 168, 0, 0), 16}, {IP4(198, 18, 0, 0), 15}, /* benchmarks */
};
static const struct range6 forbidden6[] = {
    {{0}, 128}, {{0xfe, 0x80}, 10}, {{0xff}, 8},
    {{0xfd, 0x00, 0x0e, 0xc2}, 32}, /* Amazon: fd00:ec2::254 metadata, ::23 credentials of a pod */
    {{0xfd, 0x00, 0x00, 0xc1, [12] = 0xa9, [13] = 0xfe, [14] = 0xa9, [15] = 0xfe},
	128},                                                  /* Oracle */
    {{0xfd, 0x20, 0x00, 0xce, [14] = 0x02, [15] = 0x54}, 128}, /* metadata: fd20:ce::254 */
    {{0xfd, 0x00, 0x00, 0x42, [15] = 0x42}, 128},              /* metadata: fd00:42::42 */
};
static const struct range6 private6[] = {
    {{[15] = 1}, 128}, {{0xfc}, 7}, {{0xfe, 0xc0}, 10},
    {{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48}, /* NAT64 of one's own network */
};

/* IPv6 prefixes behind which an IPv4 address stands, and at which byte. */
static const struct {
	struct range6 range;
	unsigned at;
	uint8_t flip; /* each byte was xored with it */
} embedded[] = {
    {{{[10] = 0xff, [11] = 0xff}, 96}, 12, 0}, /* ::ffff:0:0/96, mapped */
    {{{[8] = 0xff, [9] = 0xff}, 96}, 12, 0},   /* ::ffff:0:0:0/96, translated */
    {{{0x00, 0x64, 0xff, 0x9b}, 96}, 12, 0},   /* 64:ff9b::/96, NAT64 */
    {{{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48}, 12, 0}, {{{0x20, 0x02}, 16}, 2, 0}, /* 6to4 */
    {{{0x20, 0x01, 0x00, 0x00}, 32}, 12, 0xff},                                      /* Teredo */
    {{{0}, 96}, 12, 0}, /* ::/96, "compatible" */
};

static const char *const private_names[] = {"localhost", "localhost.localdomain", "localhost6",
    "localhost6.localdomain6", "ip6-localhost", "ip6-loopback"};
static const char *const metadata_names[] = {"metadata", "metadata.google.internal",
    "metadata.goog", "instance-data", "instance-data.ec2.internal"};

/* ---- addresses -------------------------------------------------------------------------- */

static bool
in_ranges4(uint32_t ip, const struct range4 *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((ip ^ r[i].net) >> (32 - r[i].bits) == 0)
			return true;
	return false;
}

static bool
in_range6(const uint8_t ip[16], const struct range6 *r)
{
	unsigned whole = r->bits / 8, rest = r->bits % 8;

	return memcmp(ip, r->net, whole) == 0 &&
	       (rest == 0 || (ip[whole] ^ r->net[whole]) >> (8 - rest) == 0);
}

static bool
in_ranges6(const uint8_t ip[16], const struct range6 *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (in_range6(ip, &r[i]))
			return true;
	return false;
}

/* The IPv4 address that an IPv6 one stands for. "::" and "::1" are themselves. */
static bool
embedded4(const uint8_t ip[16], uint32_t *out)
{
	static const uint8_t zero[15];

	if (memcmp(ip, zero, sizeof zero) == 0 && ip[15] <= 1)
		return false;
	for (size_t i = 0; i < NELEM(embedded); i++) {
		const uint8_t *b = ip + embedded[i].at;
		uint8_t x = embedded[i].flip;

		if (!in_range6(ip, &embedded[i].range))
			continue;
		*out = IP4(b[0] ^ x, b[1] ^ x, b[2] ^ x, b[3] ^ x);
		return true;
	}
	return false;
}

static bool
matches(const struct sockaddr *sa, const struct range4 *r4, size_t n4, const struct range6 *r6,
    size_t n6)
{
	struct sockaddr_in6 sin6;
	struct sockaddr_in sin;
	uint32_t v4;

	if (sa->sa_family == AF_INET) {
		memcpy(&sin, sa, sizeof sin);
		return in_ranges4(ntohl(sin.sin_addr.s_addr), r4, n4);
	}
	if (sa->sa_family != AF_INET6)
		return true; /* no upstream is there */
	memcpy(&sin6, sa, sizeof sin6);
	return in_ranges6(sin6.sin6_addr.s6_addr, r6, n6) ||
	       (embedded4(sin6.sin6_addr.s6_addr, &v4) && in_ranges4(v4, r4, n4));
}

bool
address_private(const struct sockaddr *sa)
{
	return matches(sa, private4, NELEM(private4), private6, NELEM(private6));
}

bool
address_forbidden(const struct sockaddr *sa)
{
	return matches(sa, forbidden4, NELEM(forbidden4), forbidden6, NELEM(forbidden6));
}

/* ---- URLs ------------------------------------------------------------------------------- */

static bool
named(const char *host, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(host, names[i]) == 0)
			return true;
	return false;
}

static bool
ends_with(const char *s, const char *tail)
{
	size_t n = strlen(s), t = strlen(tail);

	return n > t && strcasecmp(s + n - t, tail) == 0;
}

/* A literal address in any spelling that a resolver takes. `host` is changed. */
static bool
literal(char *host, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};
	struct sockaddr_in sin = {.sin_family = AF_INET};
	size_t n = strlen(host);

	*ss = (struct sockaddr_storage){0};
	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &sin6.sin6_addr) != 1)
			return false;
		memcpy(ss, &sin6, sizeof sin6);
		return true;
	}
	if (inet_aton(host, &sin.sin_addr) != 1)
		return false;
	memcpy(ss, &sin, sizeof sin);
	return true;
}

static int
host_check(char *host, bool allow_private)
{
	struct sockaddr_storage ss;
	size_t n = strlen(host);
	bool private;

	while (n > 0 && host[n - 1] == '.')
		host[--n] = '\0';
	if (n == 0 || n > 255)
		return E_SYNTAX;
	if (named(host, metadata_names, NELEM(metadata_names)))
		return E_DENIED;
	private = named(host, private_names, NELEM(private_names)) || ends_with(host, ".localhost");
	if (literal(host, &ss)) {
		if (address_forbidden((struct sockaddr *)&ss))
			return E_DENIED;
		private = address_private((struct sockaddr *)&ss);
	} else if (host[0] == '[') {
		return E_SYNTAX;
	}
	return private && !allow_private ? E_DENIED : 0;
}

/* Visible ASCII only: no white space, no other alphabets (their digits make addresses too), no "\".
 */
static bool
plain(const char *url)
{
	for (; *url != '\0'; url++)
		if (*url <= ' ' || *url > '~' || *url == '\\')
			return false;
	return true;
}

/* Whether a part of the URL is there; it must not be. */
static bool
has_part(CURLU *u, CURLUPart part)
{
	char *text = NULL;
	bool there = curl_url_get(u, part, &text, 0) == CURLUE_OK && text != NULL;

	curl_free(text);
	return there;
}

static int
parts_check(CURLU *u, bool allow_private)
{
	char *scheme = NULL, *host = NULL, *port = NULL;
	int r = E_SYNTAX;

	if (has_part(u, CURLUPART_USER) || has_part(u, CURLUPART_PASSWORD) ||
	    has_part(u, CURLUPART_FRAGMENT) || has_part(u, CURLUPART_QUERY))
		return E_SYNTAX;
	if (has_part(u, CURLUPART_ZONEID)) /* only link-local addresses have zones */
		return E_DENIED;
	if (curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		goto out;
	if (curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_OK && strcmp(port, "0") == 0)
		goto out;
	if (curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK || !plain(host) ||
	    strchr(host, '%') != NULL)
		goto out;
	r = host_check(host, allow_private);
out:
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	return r;
}

int
catalog_base_url_check(const char *url, bool allow_private)
{
	CURLU *u;
	int r = E_SYNTAX;

	/* libcurl forgives a third slash and takes the path for the host. */
	if (!plain(url) || strpbrk(url, "?#") != NULL || strstr(url, ":///") != NULL)
		return E_SYNTAX;
	u = curl_url();
	if (u == NULL)
		return E_NOMEM;
	switch (curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER)) {
	case CURLUE_OK:
		r = parts_check(u, allow_private);
		break;
	case CURLUE_OUT_OF_MEMORY:
		r = E_NOMEM;
		break;
	default:
		break;
	}
	curl_url_cleanup(u);
	return r;
}
