#include "worker/accesslog.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/log.h"
#include "shared/logformat.h"
#include "worker/worker.h"

#define LINE_MAX_BYTES 4000
static_assert(LINE_MAX_BYTES <= PIPE_BUF, "a line must go into a pipe in one piece");

/* A file never blocks; a socket takes MSG_DONTWAIT; of all else poll(2) says whether a line fits.
 */
enum sink_kind { SINK_NONE, SINK_WRITE, SINK_SEND, SINK_POLL };

static struct {
	int fd;
	enum sink_kind kind;
	char *text; /* of the format in use */
	struct logformat *format;
	uint64_t lost;
} access_log = {.fd = -1};

/* ---- the sink ---- */

static enum sink_kind
kind_of(int fd)
{
	struct stat st;
	int flags;

	if (fd < 0 || (flags = fcntl(fd, F_GETFL)) == -1 || fstat(fd, &st) != 0)
		return SINK_NONE;
	if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3))
		return SINK_NONE; /* /dev/null: no line need be made */
	if (S_ISSOCK(st.st_mode))
		return SINK_SEND;
	return S_ISREG(st.st_mode) || (flags & O_NONBLOCK) != 0 ? SINK_WRITE : SINK_POLL;
}

void
accesslog_use_fd(int fd)
{
	if (access_log.fd != -1 && access_log.fd != fd)
		close(access_log.fd);
	access_log.fd = fd;
	access_log.kind = kind_of(fd);
}

static bool
sink_put(const char *p, size_t n)
{
	struct pollfd pfd = {.fd = access_log.fd, .events = POLLOUT};
	ssize_t done;

	if (access_log.kind == SINK_POLL && (poll(&pfd, 1, 0) != 1 || (pfd.revents & POLLOUT) == 0))
		return false;
	do {
		done = access_log.kind == SINK_SEND
			   ? send(access_log.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL)
			   : write(access_log.fd, p, n);
	} while (done == -1 && errno == EINTR);
	return done == (ssize_t)n;
}

/* ---- values ---- */

struct event {
	const struct http_req *r;
	uint64_t wall_us, took_ms;
};

static size_t
put_text(char *out, size_t size, const char *p, size_t n)
{
	if (n > 0)
		memcpy(out, p, MIN(n, size));
	return n;
}

static size_t
put_number(char *out, size_t size, uint64_t value)
{
	return (size_t)snprintf(out, size, "%" PRIu64, value);
}

static size_t
put_ms(char *out, size_t size, uint64_t ms)
{
	return (size_t)snprintf(out, size, "%" PRIu64 ".%03u", ms / 1000, (unsigned)(ms % 1000));
}

/* A peer without an address is a Unix socket's, or one that a proxy could not name. */
static size_t
put_addr(char *out, size_t size, const struct http_req *r)
{
	const struct in6_addr *addr = &r->peer;
	char text[INET6_ADDRSTRLEN];
	const char *p;

	if (IN6_IS_ADDR_UNSPECIFIED(addr))
		return r->local ? put_text(out, size, "unix:", 5) : 0;
	if (IN6_IS_ADDR_V4MAPPED(addr))
		p = inet_ntop(AF_INET, &addr->s6_addr[12], text, sizeof text);
	else
		p = inet_ntop(AF_INET6, addr, text, sizeof text);
	return p != NULL ? put_text(out, size, p, strlen(p)) : 0;
}

static size_t
put_time(char *out, size_t size, uint64_t wall_us)
{
	char iso[CLOCK_ISO_LEN];

	clock_format_iso(wall_us, iso);
	return put_text(out, size, iso, CLOCK_ISO_LEN - 1);
}

/* "GET /x HTTP/1.1". What was cut may have cut a credential in two: the half that is left goes as
 * well. */
static size_t
put_request(char *out, size_t size, const struct http_req *r)
{
	char version[] = " HTTP/1.0";
	size_t tail = sizeof version - 1, n = MIN(r->method_text.n, size / 4);
	size_t room = size - n - 1 - tail, len = MIN(r->target.n, room);
	bool cut = len < r->target.n;

	version[tail - 1] = (char)('0' + r->minor);
	put_text(out, size, r->method_text.p, n);
	out[n] = ' ';
	put_text(out + n + 1, room, r->target.p, len);
	len = log_redact(out, n + 1 + len);
	if (cut)
		return len - MIN(len, LOG_SECRET_MAX);
	put_text(out + len, tail, version, tail);
	return len + tail;
}

static size_t
value_of(void *ctx, enum logformat_var var, char *out, size_t size)
{
	const struct event *e = ctx;
	const struct http_req *r = e->r;
	const char *s = NULL;

	switch (var) {
	case LOGVAR_remote_addr:
		return put_addr(out, size, r);
	case LOGVAR_time:
		return put_time(out, size, e->wall_us);
	case LOGVAR_msec:
		return put_ms(out, size, e->wall_us / 1000);
	case LOGVAR_method:
		return put_text(out, size, r->method_text.p, r->method_text.n);
	case LOGVAR_request:
		return r->target.n == 0 ? 0 : put_request(out, size, r);
	case LOGVAR_path:
		return log_redact(out, MIN(put_text(out, size, r->path.p, r->path.n), size));
	case LOGVAR_status:
		return put_number(out, size, (uint64_t)r->status);
	case LOGVAR_bytes_sent:
		return put_number(out, size, r->bytes_sent);
	case LOGVAR_request_time:
		return put_ms(out, size, e->took_ms);
	case LOGVAR_request_time_ms:
		return put_number(out, size, e->took_ms);
	case LOGVAR_worker:
		return put_number(out, size, worker.slot);
	case LOGVAR_pid:
		return put_number(out, size, (uint64_t)getpid());
	case LOGVAR_scheme:
		s = r->tls ? "https" : "http";
		break;
	case LOGVAR_request_id:
		s = r->request_id;
		break;
	case LOGVAR_key:
		s = r->note.key;
		break;
	case LOGVAR_model:
		s = r->note.model;
		break;
	case LOGVAR_connection:
		s = r->note.connection;
		break;
	case LOGVAR_COUNT:
		break;
	}
	return s != NULL ? put_text(out, size, s, strlen(s)) : 0;
}

/* ---- lines ---- */

void
accesslog_format(const char *format)
{
	struct logformat *f;
	char why[256], *text;

	if (access_log.text != NULL && strcmp(access_log.text, format) == 0)
		return;
	if (logformat_compile(format, &f, why, sizeof why) != 0) {
		log_error("access_log_format: %s", why);
		return;
	}
	if ((text = strdup(format)) == NULL) {
		logformat_free(f);
		return;
	}
	logformat_free(access_log.format);
	free(access_log.text);
	access_log.format = f;
	access_log.text = text;
}

void
accesslog_write(struct http_req *r)
{
	uint64_t now = clock_now_ns();
	struct event e = {.r = r,
	    .wall_us = clock_wall_us(),
	    .took_ms = now > r->start_ns ? (now - r->start_ns) / NS_PER_MS : 0};
	char line[LINE_MAX_BYTES];
	size_t n;

	if (access_log.kind == SINK_NONE || access_log.format == NULL)
		return;
	n = logformat_line(access_log.format, value_of, &e, line, sizeof line);
	if (!sink_put(line, n))
		access_log.lost++;
}

uint64_t
accesslog_lost(void)
{
	return access_log.lost;
}

void
accesslog_close(void)
{
	accesslog_use_fd(-1);
	logformat_free(access_log.format);
	free(access_log.text);
	access_log.format = NULL;
	access_log.text = NULL;
	access_log.lost = 0;
}
