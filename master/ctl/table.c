#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "master/ctl/ctl.h"

#define COLUMNS_MAX 16
#define CUT_MIN 8 /* a column is not cut below this */

struct column {
	char *head;
	bool number, flexible;
	unsigned width;
};

struct ctl_table {
	struct column column[COLUMNS_MAX];
	unsigned ncolumns;
	char **cell;
	size_t n, cap;
};

static void *
checked(void *p)
{
	if (p)
		return p;
	fprintf(stderr, "omniroute-ctl: out of memory\n");
	exit(CTL_FAILED);
}

/* Characters, not bytes: continuation bytes of UTF-8 take no room. */
static unsigned
text_width(const char *s)
{
	unsigned n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

/* What comes from clients and upstreams must not drive the terminal; C1 controls are C2 80 to C2
 * 9F. */
char *
ctl_clean(char *s)
{
	for (unsigned char *p = (unsigned char *)s; *p; p++) {
		if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			*p++ = '?';
		else if (*p >= 0x20 && *p != 0x7f)
			continue;
		*p = '?';
	}
	return s;
}

struct ctl_table *
ctl_table_new(const char *heads)
{
	struct ctl_table *t = checked(calloc(1, sizeof *t));

	while (*heads && t->ncolumns < COLUMNS_MAX) {
		struct column *c = &t->column[t->ncolumns++];
		size_t n;

		c->number = *heads == '>';
		c->flexible = *heads == '~';
		heads += c->number || c->flexible;
		n = strcspn(heads, "|");
		c->head = checked(strndup(heads, n));
		c->width = text_width(c->head);
		heads += n + (heads[n] == '|');
	}
	return t;
}

void
ctl_table_cell(struct ctl_table *t, const char *fmt, ...)
{
	struct column *c = &t->column[t->n % t->ncolumns];
	va_list ap;
	char *s;

	if (t->n == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 64;
		t->cell = checked(reallocarray(t->cell, t->cap, sizeof *t->cell));
	}
	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = checked(NULL);
	va_end(ap);
	t->cell[t->n++] = ctl_clean(s);
	c->width = MAX(c->width, text_width(s));
}

/* Takes from the widest flexible column until all fits. */
static void
fit(struct ctl_table *t, unsigned limit)
{
	for (;;) {
		unsigned total = 2 * (t->ncolumns - 1);
		struct column *widest = NULL;

		for (struct column *c = t->column; c < t->column + t->ncolumns; c++) {
			total += c->width;
			if (c->flexible && c->width > CUT_MIN &&
			    (!widest || c->width > widest->width))
				widest = c;
		}
		if (total <= limit || !widest)
			return;
		widest->width--;
	}
}

static void
print_cell(const struct column *c, const char *s, bool last, FILE *out)
{
	unsigned w = text_width(s), shown = w;
	const char *end = s;

	if (w > c->width) {
		/* All but the last two characters of the room, then "..". */
		for (shown = 0; shown < c->width - 2; shown++)
			for (end++; ((unsigned char)*end & 0xc0) == 0x80;)
				end++;
		fprintf(out, "%.*s..", (int)(end - s), s);
		shown = c->width;
	} else if (c->number) {
		fprintf(out, "%*s%s", (int)(c->width - w), "", s);
		shown = c->width;
	} else {
		fputs(s, out);
	}
	if (!last)
		fprintf(out, "%*s", (int)(c->width - shown + 2), "");
}

void
ctl_table_print(struct ctl_table *t, FILE *out, unsigned width)
{
	if (width)
		fit(t, width);
	for (unsigned i = 0; i < t->ncolumns; i++)
		print_cell(&t->column[i], t->column[i].head, i + 1 == t->ncolumns, out);
	putc('\n', out);
	for (size_t i = 0; i < t->n; i++) {
		/* A table has columns. NOLINTNEXTLINE(clang-analyzer-core.DivideZero) */
		bool last = (i + 1) % t->ncolumns == 0;

		print_cell(&t->column[i % t->ncolumns], t->cell[i], last, out);
		if (last)
			putc('\n', out);
		free(t->cell[i]);
	}
	for (unsigned i = 0; i < t->ncolumns; i++)
		free(t->column[i].head);
	free(t->cell);
	free(t);
}

unsigned
ctl_width(void)
{
	struct winsize w;

	if (!isatty(STDOUT_FILENO))
		return 0;
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
}

char *
ctl_span_text(char *out, size_t size, uint64_t s)
{
	static const struct {
		uint64_t seconds;
		char name;
	} unit[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};

	for (size_t i = 0; i + 1 < NELEM(unit); i++)
		if (s >= unit[i].seconds) {
			snprintf(out, size, "%llu%c %llu%c",
			    (unsigned long long)(s / unit[i].seconds), unit[i].name,
			    (unsigned long long)(s % unit[i].seconds / unit[i + 1].seconds),
			    unit[i + 1].name);
			return out;
		}
	snprintf(out, size, "%llus", (unsigned long long)s);
	return out;
}

char *
ctl_size_text(char *out, size_t size, uint64_t kb)
{
	if (kb < 1024)
		snprintf(out, size, "%llu KB", (unsigned long long)kb);
	else if (kb < 1024 * 1024)
		snprintf(out, size, "%.1f MB", (double)kb / 1024);
	else
		snprintf(out, size, "%.2f GB", (double)kb / (1024 * 1024));
	return out;
}
