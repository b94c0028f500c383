#include "shared/logformat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/err.h"

static const struct {
	const char *name;
	bool token;
} vars[LOGVAR_COUNT] = {
#define X(name, token, help) [LOGVAR_##name] = {#name, token},
#include "shared/logformat.def"
#undef X
};

/* A piece is a variable, or text (var = LOGVAR_COUNT) at an offset of the copy of the format. */
struct piece {
	enum logformat_var var;
	size_t off, n;
};

struct logformat {
	char *text;
	struct piece *piece;
	size_t pieces;
};

/* ---- compiling ---- */

static bool
name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static void
list_names(char *why, size_t size, size_t n)
{
	for (unsigned i = 0; i < LOGVAR_COUNT && n < size; i++)
		n += (size_t)snprintf(why + n, size - n, "%s$%s", i == 0 ? "" : " ", vars[i].name);
}

static int
unknown_variable(const char *name, size_t n, char *why, size_t size)
{
	int len = snprintf(why, size, "unknown variable $%.*s; there are ", (int)MIN(n, 64), name);

	if (len > 0 && (size_t)len < size)
		list_names(why, size, (size_t)len);
	return E_NOT_FOUND;
}

/* What follows the dollar sign at `at`; *end is behind it. */
static int
parse_variable(
    const char *text, size_t at, struct piece *piece, size_t *end, char *why, size_t why_size)
{
	bool braced = text[at + 1] == '{';
	size_t begin = at + 1 + braced, n = 0;

	while (name_char(text[begin + n]))
		n++;
	if (n == 0 || (braced && text[begin + n] != '}')) {
		snprintf(why, why_size,
		    "\"$\" at character %zu is not followed by a variable: "
		    "$name, ${name}, or $$ for a dollar sign",
		    at + 1);
		return E_SYNTAX;
	}
	*end = begin + n + braced;
	for (unsigned i = 0; i < LOGVAR_COUNT; i++) {
		if (strlen(vars[i].name) == n && memcmp(vars[i].name, text + begin, n) == 0) {
			*piece = (struct piece){.var = i};
			return 0;
		}
	}
	return unknown_variable(text + begin, n, why, why_size);
}

static int
parse_pieces(struct logformat *f, char *why, size_t why_size)
{
	const char *text = f->text;
	size_t i = 0, n;
	int r;

	while (text[i] != '\0') {
		struct piece *p = &f->piece[f->pieces++];

		if (text[i] == '$' && text[i + 1] != '$') {
			if ((r = parse_variable(text, i, p, &i, why, why_size)) != 0)
				return r;
			continue;
		}
		i += text[i] == '$'; /* of two, the second is the text */
		n = 1 + strcspn(text + i + 1, "$");
		*p = (struct piece){.var = LOGVAR_COUNT, .off = i, .n = n};
		i += n;
	}
	return 0;
}

int
logformat_compile(const char *text, struct logformat **out, char *why, size_t why_size)
{
	size_t n = strlen(text);
	struct logformat *f;
	int r = E_NOMEM;

	*out = NULL;
	if (n > LOGFORMAT_MAX) {
		snprintf(why, why_size, "%zu characters; at most %d are allowed", n, LOGFORMAT_MAX);
		return E_TOO_LONG;
	}
	snprintf(why, why_size, "%s", err_text(E_NOMEM));
	if ((f = calloc(1, sizeof *f)) == NULL)
		return E_NOMEM;
	f->text = strdup(text);
	f->piece = calloc(n + 1, sizeof *f->piece);
	if (f->text != NULL && f->piece != NULL)
		r = parse_pieces(f, why, why_size);
	if (r == 0)
		*out = f;
	else
		logformat_free(f);
	return r;
}

void
logformat_free(struct logformat *f)
{
	if (f == NULL)
		return;
	free(f->text);
	free(f->piece);
	free(f);
}

/* ---- writing ---- */

struct line {
	char *p;
	size_t n, end; /* end leaves room for "..." and LF */
	bool full;
};

static void
line_put(struct line *l, const char *p, size_t n)
{
	if (l->full || n > l->end - l->n) {
		l->full = true;
		return;
	}
	memcpy(l->p + l->n, p, n);
	l->n += n;
}

static void
line_value(struct line *l, const char *value, size_t n, bool token)
{
	char hex[8];

	if (n == 0)
		line_put(l, "-", 1);
	for (size_t i = 0; i < n && !l->full; i++) {
		unsigned char c = (unsigned char)value[i];

		if (c < 0x20 || c > 0x7e || c == '"' || c == '\\' || (token && c == ' ')) {
			snprintf(hex, sizeof hex, "\\x%02X", c);
			line_put(l, hex, 4);
		} else {
			line_put(l, value + i, 1);
		}
	}
}

size_t
logformat_line(
    const struct logformat *f, logformat_value *value, void *ctx, char *line, size_t size)
{
	struct line l = {.p = line, .end = size - 4};
	char text[LOGFORMAT_VALUE_MAX];

	if (size < LOGFORMAT_LINE_MIN)
		bug("an access log line of %zu bytes", size);
	for (size_t i = 0; i < f->pieces && !l.full; i++) {
		const struct piece *p = &f->piece[i];

		if (p->var == LOGVAR_COUNT) {
			line_put(&l, f->text + p->off, p->n);
		} else {
			size_t n = value(ctx, p->var, text, sizeof text);

			line_value(&l, text, MIN(n, sizeof text), vars[p->var].token);
		}
	}
	memcpy(line + l.n, "...\n", 4);
	if (l.full)
		return l.n + 4;
	line[l.n] = '\n';
	return l.n + 1;
}
