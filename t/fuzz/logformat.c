/*
 * Access log formats and what their variables stand for: whatever comes, a line is one line, of the
 * size asked for at most, and a value cannot bring in anything but visible ASCII.
 *
 *   first byte: room for the line
 *   then the format, up to the first NUL
 *   the rest:   what every variable stands for
 */
#include <stdlib.h>
#include <string.h>

#include "shared/logformat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct value {
	const char *p;
	size_t n;
};

static size_t
give(void *ctx, enum logformat_var var, char *out, size_t size)
{
	const struct value *v = ctx;

	if (var >= LOGVAR_COUNT)
		abort();
	if (v->n > 0)
		memcpy(out, v->p, MIN(v->n, size));
	return v->n;
}

static bool
visible(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] < ' ' || p[i] > '~')
			return false;
	return true;
}

static void
write_line(const struct logformat *f, const char *text, struct value *v, size_t room)
{
	char *line = malloc(room);
	size_t n = logformat_line(f, give, v, line, room);

	if (n == 0 || n > room || line[n - 1] != '\n')
		abort();
	if (visible(text, strlen(text)) && !visible(line, n - 1))
		abort();
	free(line);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct logformat *f;
	struct value v;
	char *text, why[256];
	size_t n;

	if (size < 1)
		return 0;
	n = strnlen((const char *)data + 1, size - 1);
	text = strndup((const char *)data + 1, n);
	v = (struct value){.p = (const char *)data + 1 + n, .n = size - 1 - n};
	if (logformat_compile(text, &f, why, sizeof why) == 0)
		write_line(f, text, &v, LOGFORMAT_LINE_MIN + data[0] * 16u);
	else if (f != NULL || why[0] == '\0' || strlen(why) >= sizeof why)
		abort();
	logformat_free(f);
	free(text);
	return 0;
}
