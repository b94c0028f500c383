/* The one spelling of a path that routing and authentication see. */
#include <string.h>

#include "proto/http1.h"
#include "proto/scan.h"
#include "shared/err.h"

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The character at *pp, decoded; E_SYNTAX when it may not stand in a path. */
static int
path_char(const char **pp, const char *end)
{
	const char *p = *pp;
	int c = (unsigned char)*p++;
	if (c == '%') {
		int hi = p < end ? hex_value(p[0]) : -1, lo = end - p > 1 ? hex_value(p[1]) : -1;
		if (hi < 0 || lo < 0)
			return E_SYNTAX;
		c = hi << 4 | lo;
		p += 2;
	} else if (c == '#' || c == ' ') {
		return E_SYNTAX;
	}
	*pp = p;
	return c < 0x20 || c == 0x7f || c == '\\' ? E_SYNTAX : c;
}

/*
 * An encoded slash may not stand where a handler is chosen. Behind "/models/" the name of a model follows, which may have
 * slashes, and official clients encode them; there it is a slash like any other.
 */
static bool
name_follows(const char *path, size_t len)
{
	static const char models[] = "/models/";
	return memmem(path, len, models, sizeof(models) - 1) != NULL;
}

/* An empty, "." or ".." segment. */
static bool
segment_bad(const char *p, size_t n)
{
	return n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.');
}

ptrdiff_t
http1_path(struct span target, char *out, size_t n, struct span *query)
{
	*query = (struct span){NULL, 0};
	if (target.n == 0 || target.p[0] != '/' || memchr(target.p, '#', target.n) != NULL)
		return E_SYNTAX;
	const char *p = target.p, *end = p + target.n, *mark = memchr(p, '?', target.n);
	if (mark != NULL) {
		*query = (struct span){mark + 1, (size_t)(end - mark - 1)};
		end = mark;
	}
	size_t len = 0, segment = 0; /* segment: where the one being written begins */
	while (p < end) {
		bool slash = *p == '/';
		int c = path_char(&p, end);
		if (c < 0)
			return c;
		if (c == '/' && !slash) {
			if (!name_follows(out, len))
				return E_SYNTAX;
			slash = true;
		}
		if (slash && len > 0 && segment_bad(out + segment, len - segment))
			return E_SYNTAX;
		if (len == n)
			return E_TOO_LONG;
		out[len++] = (char)c;
		if (slash)
			segment = len;
	}
	if (len > segment && segment_bad(out + segment, len - segment))
		return E_SYNTAX;
	return scan_utf8(out, len) ? (ptrdiff_t)len : E_SYNTAX;
}
