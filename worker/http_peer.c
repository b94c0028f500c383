/* Who asks: the socket's peer, or what a trusted proxy says of its own peer. */
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "worker/http_conn.h"

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

static struct in6_addr
mapped(const struct in_addr *v4)
{
	struct in6_addr out;
	memcpy(out.s6_addr, mapped_prefix, sizeof(mapped_prefix));
	memcpy(out.s6_addr + sizeof(mapped_prefix), v4, sizeof(*v4));
	return out;
}

void
peer_of_socket(const struct sockaddr *sa, struct in6_addr *out, bool *unix_peer)
{
	*out = in6addr_any;
	*unix_peer = sa->sa_family == AF_UNIX;
	if (sa->sa_family == AF_INET)
		*out = mapped(&((const struct sockaddr_in *)(const void *)sa)->sin_addr);
	else if (sa->sa_family == AF_INET6)
		*out = ((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
}

static bool
is_loopback(const struct in6_addr *a)
{
	if (memcmp(a->s6_addr, mapped_prefix, sizeof(mapped_prefix)) == 0)
		return a->s6_addr[12] == 127;
	return IN6_IS_ADDR_LOOPBACK(a);
}

static bool
in_net(const struct in6_addr *a, const struct snap_net *net)
{
	uint32_t bits = MIN(net->bits, UINT32_C(128)), bytes = bits / 8, rest = bits % 8;
	if (memcmp(a->s6_addr, net->addr, bytes) != 0)
		return false;
	return rest == 0 || (a->s6_addr[bytes] ^ net->addr[bytes]) >> (8 - rest) == 0;
}

static bool
is_trusted(const struct in6_addr *a, const struct snapshot *snap)
{
	for (uint32_t i = 0; i < snapshot_head(snap)->nets.count; i++)
		if (in_net(a, snapshot_net(snap, i)))
			return true;
	return false;
}

/* Takes brackets and a port off: "[2001:db8::1]:443", "192.0.2.1:80". */
static struct span
bare_address(struct span t)
{
	const char *end, *colon;
	t = http1_trim(t);
	end = t.p + t.n;
	if (t.n > 0 && *t.p == '[') {
		const char *close = memchr(t.p, ']', t.n);
		if (close == NULL || (close + 1 != end && close[1] != ':'))
			return (struct span){NULL, 0};
		return (struct span){t.p + 1, (size_t)(close - t.p - 1)};
	}
	colon = t.n > 0 ? memchr(t.p, ':', t.n) : NULL;
	if (colon != NULL && memchr(colon + 1, ':', (size_t)(end - colon - 1)) == NULL)
		t.n = (size_t)(colon - t.p);
	return t;
}

bool
peer_parse(struct span text, struct in6_addr *out)
{
	char word[INET6_ADDRSTRLEN];
	struct in_addr v4;
	text = bare_address(text);
	if (text.n == 0 || text.n >= sizeof(word) || memchr(text.p, '\0', text.n) != NULL)
		return false;
	memcpy(word, text.p, text.n);
	word[text.n] = '\0';
	if (inet_pton(AF_INET, word, &v4) == 1) {
		*out = mapped(&v4);
		return true;
	}
	return inet_pton(AF_INET6, word, out) == 1;
}

static bool
is_name(struct span name, const char *word)
{
	return name.n == strlen(word) && strncasecmp(name.p, word, name.n) == 0;
}

/* The last address of one X-Forwarded-For value that is not a trusted proxy. False: all of them
 * are. */
static bool
last_stranger(struct span v, const struct snapshot *snap, struct in6_addr *out)
{
	while (true) {
		const char *comma = memrchr(v.p, ',', v.n);
		const char *from = comma != NULL ? comma + 1 : v.p;
		if (!peer_parse((struct span){from, (size_t)(v.p + v.n - from)}, out)) {
			*out = in6addr_any;
			return true;
		}
		if (!is_trusted(out, snap))
			return true;
		if (comma == NULL)
			return false;
		v.n = (size_t)(comma - v.p);
	}
}

/*
 * From the right, since only what trusted proxies appended can be believed; several fields are one
 * list. A word that is no address ends the walk with the unspecified address, which is local to
 * nobody.
 */
static bool
forwarded_for(const struct http1_head *h, const struct snapshot *snap, struct in6_addr *out)
{
	bool seen = false;
	for (unsigned i = h->fields; i-- > 0;) {
		if (!is_name(h->field[i].name, "x-forwarded-for") || h->field[i].value.n == 0)
			continue;
		seen = true;
		if (last_stranger(h->field[i].value, snap, out))
			return true;
	}
	return seen;
}

/* Somebody says that he speaks for somebody else. */
static bool
is_forwarded(const struct http1_head *h)
{
	static const char *const fields[] = {"x-forwarded-for", "x-real-ip", "forwarded"};

	for (size_t i = 0; h != NULL && i < NELEM(fields); i++)
		if (http1_find(h, fields[i]).p != NULL)
			return true;
	return false;
}

/*
 * Whom a trusted proxy names is who asks. A peer on a Unix listener is local by itself, so what it
 * says can only take that away, and is believed. From anybody else the fields prove nothing but
 * that a proxy was not named in trusted_proxies: its clients must not pass for local.
 */
void
peer_resolve(struct http_conn *c, const struct http1_head *h, const struct snapshot *snap)
{
	struct http_req *r = &c->req;
	bool forwarded = is_forwarded(h), believed = c->unix_peer || is_trusted(&c->peer, snap);

	r->peer = c->peer;
	if (forwarded && believed && !forwarded_for(h, snap, &r->peer)) {
		struct span real = http1_find(h, "x-real-ip");
		if (real.p == NULL || !peer_parse(real, &r->peer))
			r->peer = in6addr_any;
	}
	if (forwarded && !is_loopback(believed ? &r->peer : &in6addr_any)) {
		r->loopback = r->local = false;
		return;
	}
	r->loopback = c->unix_peer || (is_loopback(&c->peer) && is_loopback(&r->peer));
	r->local = c->unix_peer || (c->loopback_listener && is_loopback(&r->peer));
}
