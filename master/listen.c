#include "master/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "master/certificate.h"
#include "shared/clock.h"
#include "shared/err.h"

#define BACKLOG 4096
#define RETRY_MS 10
#define UNIX_PREFIX "unix:"

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

/* ---- names ---- */

static bool
is_unix_name(const char *name)
{
	return strncmp(name, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0;
}

static int
unix_address(const char *path, union address *a, socklen_t *len)
{
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof a->un.sun_path)
		return E_RANGE;
	memset(a, 0, sizeof *a);
	a->un.sun_family = AF_UNIX;
	memcpy(a->un.sun_path, path, n);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

/* "host:port", "[v6]:port", "*:port". Never asks a resolver: the loop calls this too. */
static int
tcp_address(const char *name, union address *a, socklen_t *len)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC,
	    .ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
	const char *colon = strrchr(name, ':'), *host;
	struct addrinfo *found;
	char text[256];
	size_t n;

	if (colon == NULL || colon == name || (n = (size_t)(colon - name)) >= sizeof text)
		return E_SYNTAX;
	memcpy(text, name, n);
	text[n] = '\0';
	host = text;
	if (text[0] == '[' && text[n - 1] == ']') {
		text[n - 1] = '\0';
		host = text + 1;
	} else if (strcmp(text, "*") == 0) {
		host = "0.0.0.0";
	} else if (strcasecmp(text, "localhost") == 0) {
		host = "127.0.0.1";
	}
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
		return E_SYNTAX;
	memset(a, 0, sizeof *a);
	memcpy(a, found->ai_addr, MIN((size_t)found->ai_addrlen, sizeof *a));
	*len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static bool
is_loopback(const union address *a)
{
	if (a->sa.sa_family == AF_INET)
		return ntohl(a->in.sin_addr.s_addr) >> 24 == 127;
	return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

/* ---- sockets ---- */

/* Somebody's file stays; so does a socket on which somebody answers, or might. */
static int
remove_stale(const union address *a, socklen_t len)
{
	struct stat st;
	int fd, r;

	if (lstat(a->un.sun_path, &st) != 0)
		return errno == ENOENT ? 0 : E_SYSTEM;
	if (!S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return E_SYSTEM;
	}
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) == -1)
		return E_SYSTEM;
	r = connect(fd, &a->sa, len);
	if (r != 0 && errno == ECONNREFUSED) {
		r = unlink(a->un.sun_path) == 0 ? 0 : E_SYSTEM;
	} else {
		errno = EADDRINUSE;
		r = E_SYSTEM;
	}
	close(fd);
	return r;
}

static int
bind_unix(int fd, const union address *a, socklen_t len, int mode)
{
	mode_t old;
	int r = remove_stale(a, len);

	if (r != 0)
		return r;
	old = umask((mode_t)~mode & 0777);
	r = bind(fd, &a->sa, len);
	umask(old);
	return r == 0 ? 0 : E_SYSTEM;
}

static int
bind_tcp(int fd, const union address *a, socklen_t len)
{
	const int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
	    (a->sa.sa_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
	    bind(fd, &a->sa, len) != 0)
		return E_SYSTEM;
	return 0;
}

static int
bind_once(const union address *a, socklen_t len, int mode)
{
	int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r, saved;

	if (fd == -1)
		return -1;
	r = a->sa.sa_family == AF_UNIX ? bind_unix(fd, a, len, mode) : bind_tcp(fd, a, len);
	if (r == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* -1 with errno. */
static int
bind_retry(const union address *a, socklen_t len, int mode, unsigned wait_ms)
{
	const struct timespec pause = {.tv_nsec = RETRY_MS * 1000000L};
	uint64_t until = clock_now_ns() + wait_ms * NS_PER_MS;
	int fd;

	while (
	    (fd = bind_once(a, len, mode)) == -1 && errno == EADDRINUSE && clock_now_ns() < until)
		nanosleep(&pause, NULL);
	return fd;
}

/* The same socket under another number; -1 when neither has it. */
static int
take_over(const char *name, const struct listen_set *old, const struct listen_inherited *inherited,
    unsigned ninherited)
{
	for (unsigned i = 0; old != NULL && i < old->n; i++)
		if (strcmp(old->v[i].name, name) == 0)
			return fcntl(old->v[i].fd, F_DUPFD_CLOEXEC, 3);
	for (unsigned i = 0; i < ninherited; i++)
		if (strcmp(inherited[i].name, name) == 0)
			return fcntl(inherited[i].fd, F_DUPFD_CLOEXEC, 3);
	return -1;
}

/* ---- sets ---- */

static int
listener_open(
    struct listener *l, const struct conf_listen *c, int taken, unsigned wait_ms, struct buf *err)
{
	union address a;
	socklen_t len = 0;
	int r;

	l->fd = taken;
	l->tls = c->tls;
	l->is_unix = is_unix_name(c->name);
	buf_init(&l->certificate, CERTIFICATE_MAX);
	buf_init(&l->private_key, CERTIFICATE_MAX);
	if ((l->name = strdup(c->name)) == NULL)
		return E_NOMEM;
	r = l->is_unix ? unix_address(c->name + strlen(UNIX_PREFIX), &a, &len)
		       : tcp_address(c->name, &a, &len);
	if (r != 0) {
		buf_addf(err,
		    "listen \"%s\": must be an IPv4 address, [IPv6 address] or *, with :port, or "
		    "unix:/path of at most "
		    "%zu bytes",
		    c->name, sizeof a.un.sun_path - 1);
		return r;
	}
	l->loopback = !l->is_unix && is_loopback(&a);
	if (c->tls && (r = certificate_load(c->certificate, c->private_key, &l->certificate,
			   &l->private_key, err)) != 0)
		return r;
	if (l->fd == -1 && (l->fd = bind_retry(&a, len, c->mode, wait_ms)) == -1) {
		bool taken_by_other = errno == EADDRINUSE;

		buf_addf(err, "listen %s: %s", c->name, strerror(errno));
		if (taken_by_other)
			buf_str(err, wait_ms > 0
					 ? ": workers of the last gateway have not left yet"
					 : ": another program has it; stop that one or choose "
					   "another address");
		return E_SYSTEM;
	}
	l->bound = true;
	return 0;
}

int
listen_open(const struct conf *c, const struct listen_set *old,
    const struct listen_inherited *inherited, unsigned ninherited, unsigned wait_ms,
    struct listen_set **out, struct buf *err)
{
	struct listen_set *s = calloc(1, sizeof *s);
	int r = 0;

	*out = NULL;
	if (s == NULL || (s->v = calloc(MAX(c->nlisten, 1u), sizeof *s->v)) == NULL) {
		free(s);
		return E_NOMEM;
	}
	s->refs = 1;
	for (unsigned i = 0; i < c->nlisten && r == 0; i++) {
		struct listener *l = &s->v[s->n++];

		r = listener_open(l, &c->listen[i],
		    take_over(c->listen[i].name, old, inherited, ninherited), wait_ms, err);
	}
	if (r == 0) {
		*out = s;
		return 0;
	}
	if (ninherited == 0)
		listen_unlink(s, old); /* else the predecessor still answers there */
	listen_put(s);
	return r;
}

bool
listen_same(const struct listen_set *a, const struct listen_set *b)
{
	if (a->n != b->n)
		return false;
	for (unsigned i = 0; i < a->n; i++)
		if (strcmp(a->v[i].name, b->v[i].name) != 0)
			return false;
	return true;
}

void
listen_renew(struct listen_set *to, struct listen_set *from)
{
	for (unsigned i = 0; i < to->n; i++) {
		struct listener *t = &to->v[i], *f = &from->v[i], swap = *t;

		t->tls = f->tls;
		t->certificate = f->certificate;
		t->private_key = f->private_key;
		f->certificate = swap.certificate;
		f->private_key = swap.private_key;
	}
}

struct listen_set *
listen_get(struct listen_set *s)
{
	s->refs++;
	return s;
}

void
listen_close(struct listen_set *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (s->v[i].fd != -1)
			close(s->v[i].fd);
		s->v[i].fd = -1;
	}
}

void
listen_put(struct listen_set *s)
{
	if (s == NULL || --s->refs > 0)
		return;
	listen_close(s);
	for (unsigned i = 0; i < s->n; i++) {
		free(s->v[i].name);
		buf_clear(&s->v[i].certificate);
		buf_wipe(&s->v[i].private_key);
	}
	free(s->v);
	free(s);
}

void
listen_unlink(const struct listen_set *s, const struct listen_set *keep)
{
	for (unsigned i = 0; i < s->n; i++) {
		bool kept = false;

		if (!s->v[i].is_unix || !s->v[i].bound)
			continue;
		for (unsigned k = 0; keep != NULL && k < keep->n; k++)
			kept = kept || strcmp(keep->v[k].name, s->v[i].name) == 0;
		if (!kept)
			unlink(s->v[i].name + strlen(UNIX_PREFIX));
	}
}
