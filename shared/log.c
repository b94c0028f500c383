/*
 * log: one event, one line, one write. What looks like a credential is replaced below every caller,
 * by redact.c.
 *
 * A sink must never block. A file does not; a pipe or a terminal is opened again without blocking,
 * which leaves the mode of the descriptor that we share with our parent alone; a socket takes
 * MSG_DONTWAIT; where none of these works, poll(2) is asked first. LOG_LINE_MAX is below PIPE_BUF:
 * lines of several workers in one pipe are never mixed.
 */
#include "shared/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/clock.h"
#include "shared/err.h"

static_assert(LOG_LINE_MAX <= PIPE_BUF, "a line must go into a pipe in one piece");

#define CONTEXT_ROOM 512 /* a long message leaves this much of its line to the context */
#define TAIL_ROOM 32     /* `...`, quotes, braces, LF */

enum sink_kind { SINK_WRITE, SINK_SEND, SINK_POLL };

static struct {
	int fd;
	enum sink_kind kind;
	enum log_level level;
	bool json;
	const char *role, *context;
	uint64_t lost, reported;
} sink = {.fd = STDERR_FILENO, .kind = SINK_POLL, .level = LOG_LV_NOTICE, .role = "omniroute"};

static const char *const level_names[] = {
    [LOG_LV_ERROR] = "error",
    [LOG_LV_WARN] = "warn",
    [LOG_LV_NOTICE] = "notice",
    [LOG_LV_INFO] = "info",
    [LOG_LV_DEBUG] = "debug",
};

struct line {
	char p[LOG_LINE_MAX];
	size_t n;
};

static size_t format_redacted(char *raw, size_t size, const char *fmt, va_list ap)
    printf_like(3, 0);
static void write_event(enum log_level level, const char *fmt, va_list ap) printf_like(2, 0);

/* ---- the sink ---- */

static int
open_again(int fd)
{
	char path[32];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void
sink_set(int fd, enum sink_kind kind)
{
	if (sink.fd != fd && sink.fd > STDERR_FILENO)
		close(sink.fd);
	sink.fd = fd;
	sink.kind = kind;
}

void
log_use_fd(int fd)
{
	struct stat st;
	int again, flags = fcntl(fd, F_GETFL);

	if (flags == -1 || fstat(fd, &st) != 0) {
		sink_set(fd, SINK_POLL);
	} else if (S_ISSOCK(st.st_mode)) {
		sink_set(fd, SINK_SEND);
	} else if (S_ISREG(st.st_mode) || (flags & O_NONBLOCK) != 0) {
		sink_set(fd, SINK_WRITE);
	} else if ((again = open_again(fd)) != -1) {
		sink_set(again, SINK_WRITE);
		if (fd > STDERR_FILENO)
			close(fd);
	} else {
		sink_set(fd, SINK_POLL);
	}
}

int
log_open(const char *path)
{
	int fd;

	if (path == NULL || strcmp(path, "stderr") == 0) {
		log_use_fd(STDERR_FILENO);
		return 0;
	}
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);
	if (fd == -1)
		return E_SYSTEM;
	log_use_fd(fd);
	return 0;
}

static bool
sink_put(const struct line *l)
{
	struct pollfd p = {.fd = sink.fd, .events = POLLOUT};
	ssize_t n;

	if (sink.kind == SINK_POLL && (poll(&p, 1, 0) != 1 || (p.revents & POLLOUT) == 0))
		return false;
	do {
		n = sink.kind == SINK_SEND ? send(sink.fd, l->p, l->n, MSG_DONTWAIT | MSG_NOSIGNAL)
					   : write(sink.fd, l->p, l->n);
	} while (n == -1 && errno == EINTR);
	return n == (ssize_t)l->n;
}

/* ---- the line ---- */

static bool
line_put(struct line *l, const char *p, size_t n, size_t end)
{
	if (n > end - l->n)
		return false;
	memcpy(l->p + l->n, p, n);
	l->n += n;
	return true;
}

/* Our own words: short, and TAIL_ROOM is kept for them. */
static void
line_str(struct line *l, const char *s)
{
	if (!line_put(l, s, strlen(s), sizeof l->p))
		bug("log line without room for its end");
}

/* Length of the UTF-8 sequence at p: 0 when it is none. C1 controls count as none: terminals obey
 * them. */
static size_t
utf8_sequence(const unsigned char *p, size_t n)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xc2 || p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (len > n || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

/* The byte that cannot stand in a line as it is. JSON has no way to write a byte that is not UTF-8.
 */
static size_t
escape(unsigned char c, bool json, char out[8])
{
	if (c == '\n' || c == '\t' || c == '\r' || c == '\\' || c == '"') {
		out[0] = '\\';
		out[1] = (char)(c == '\n' ? 'n' : c == '\t' ? 't' : c == '\r' ? 'r' : c);
		return 2;
	}
	return (size_t)snprintf(
	    out, 8, json ? "\\u%04x" : "\\x%02x", json && c >= 0x80 ? 0xfffdu : c);
}

/* `end` leaves room for the three dots that stand for what did not fit. */
static void
line_escaped(struct line *l, const char *text, size_t n, bool json, size_t end)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t len;
	bool fits;
	char out[8];

	for (size_t i = 0; i < n; i += len) {
		bool plain = p[i] >= 0x20 && p[i] != 0x7f && p[i] != '\\' && !(json && p[i] == '"');

		if (plain && (len = utf8_sequence(p + i, n - i)) > 0) {
			fits = line_put(l, text + i, len, end);
		} else {
			len = 1;
			fits = line_put(l, out, escape(p[i], json, out), end);
		}
		if (!fits) {
			line_str(l, "...");
			return;
		}
	}
}

static void
line_head(struct line *l, enum log_level level)
{
	const char *name = level_names[level];
	char iso[CLOCK_ISO_LEN];
	int n, pid = (int)getpid();

	clock_format_iso(clock_wall_us(), iso);
	if (sink.json)
		n = snprintf(l->p, sizeof l->p,
		    "{\"time\":\"%s\",\"level\":\"%s\",\"role\":\"%.32s\",\"pid\":%d,\"message\":"
		    "\"",
		    iso, name, sink.role, pid);
	else
		n = snprintf(l->p, sizeof l->p, "%s %s %.32s[%d]: ", iso, name, sink.role, pid);
	l->n = (size_t)n;
}

static bool
line_send(
    enum log_level level, const char *message, size_t n, const char *context, size_t context_n)
{
	struct line l;
	size_t end = sizeof l.p - TAIL_ROOM;

	line_head(&l, level);
	line_escaped(&l, message, n, sink.json, context_n > 0 ? end - CONTEXT_ROOM : end);
	if (context_n > 0) {
		line_str(&l, sink.json ? "\",\"context\":\"" : " ");
		line_escaped(&l, context, context_n, sink.json, end);
	}
	line_str(&l, sink.json ? "\"}\n" : "\n");
	return sink_put(&l);
}

/* ---- events ---- */

/* Formats and redacts. What was cut off may have cut a secret in two: the half that is left goes as
 * well. */
static size_t
format_redacted(char *raw, size_t size, const char *fmt, va_list ap)
{
	int len = vsnprintf(raw, size, fmt, ap);
	size_t n;

	if (len < 0)
		return 0;
	if ((size_t)len < size)
		return log_redact(raw, (size_t)len);
	n = log_redact(raw, size - 1);
	return n - MIN(n, LOG_SECRET_MAX);
}

static void
report_lost(void)
{
	char text[48];
	int n;

	if (sink.lost == sink.reported)
		return;
	n = snprintf(text, sizeof text, "%llu log lines lost",
	    (unsigned long long)(sink.lost - sink.reported));
	if (line_send(LOG_LV_WARN, text, (size_t)n, NULL, 0))
		sink.reported = sink.lost;
}

static void
write_event(enum log_level level, const char *fmt, va_list ap)
{
	char raw[LOG_LINE_MAX + 2 * LOG_SECRET_MAX], context[2 * CONTEXT_ROOM];
	size_t n = format_redacted(raw, sizeof raw, fmt, ap), context_n = 0;

	if (sink.context != NULL) {
		context_n = strnlen(sink.context, sizeof context);
		memcpy(context, sink.context, context_n);
		context_n = log_redact(context, context_n);
	}
	report_lost();
	if (!line_send(level, raw, n, context, context_n))
		sink.lost++;
	explicit_bzero(raw, sizeof raw);
	explicit_bzero(context, sizeof context);
}

void
log_write(enum log_level level, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (!log_enabled(level))
		return;
	va_start(ap, fmt);
	write_event(level, fmt, ap);
	va_end(ap);
	errno = saved;
}

void
bug(const char *fmt, ...)
{
	static bool entered;
	va_list ap;

	if (!entered) {
		entered = true;
		va_start(ap, fmt);
		write_event(LOG_LV_ERROR, fmt, ap);
		va_end(ap);
	}
	abort();
}

/* ---- settings ---- */

int
log_fd(void)
{
	return sink.fd;
}

void
log_set_level(enum log_level level)
{
	sink.level = level;
}

void
log_set_json(bool json)
{
	sink.json = json;
}

void
log_set_role(const char *role)
{
	sink.role = role;
}

void
log_context(const char *context)
{
	sink.context = context != NULL && context[0] != '\0' ? context : NULL;
}

bool
log_level_parse(const char *name, enum log_level *level)
{
	for (size_t i = 0; i < NELEM(level_names); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

bool
log_enabled(enum log_level level)
{
	return level <= sink.level;
}

uint64_t
log_lost(void)
{
	return sink.lost;
}
