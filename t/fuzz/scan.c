/*
 * The JSON reader on any bytes: whole-text check, members and paths must agree with each other, and
 * strings must come back as they went in.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/scan.h"
#include "shared/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_string(struct span value)
{
	size_t len = scan_string_len(value);
	char *out = malloc(len + 1);
	struct buf b = BUF_INIT(64u << 20);
	ptrdiff_t n = scan_string(value, out, len + 1);

	if (n == E_SYNTAX && memmem(value.p, value.n, "\\u", 2) != NULL)
		goto out; /* half of a surrogate pair: no text */
	if (n < 0 || (size_t)n != len)
		abort();
	if (len > 0 && scan_string(value, out, len) != E_TOO_LONG)
		abort(); /* one byte too few must be refused */
	if (scan_string(value, out, len + 1) != n)
		abort();
	buf_str(&b, "\"");
	scan_escape(&b, out, len);
	buf_str(&b, "\"");
	if (!buf_ok(&b) || scan_check(b.data, b.len, &len) != 0)
		abort();
out:
	buf_clear(&b);
	free(out);
}

static unsigned
walk(struct scan *s)
{
	struct span name, value;
	unsigned n = 0;
	int type = scan_peek(s);

	if (type == 'o' || type == 'a') {
		if (!scan_enter(s, type))
			return 0;
		while (scan_next(s, &name)) {
			if (scan_peek(s) == 'o' || scan_peek(s) == 'a') {
				n += walk(s);
				continue;
			}
			if (!scan_skip(s, &value))
				break;
			n++;
			if (scan_type(value) == 's')
				check_string(value);
		}
		return n;
	}
	scan_skip(s, &value);
	return 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data;
	struct scan_want want[] = {{.name = "model"}, {.name = "a"}};
	struct scan s;
	size_t at = 0, at2 = 0;
	int valid = scan_check(p, size, &at), members;
	uint64_t u;

	if (at > size)
		abort();
	members = scan_members(p, size, want, NELEM(want), &at2);
	if (valid != 0 && members == 0)
		abort();
	scan_open(&s, p, size);
	walk(&s);
	if ((scan_end(&s) == 0) != (valid == 0))
		abort();
	if (valid == 0) {
		struct span all = {p, size};
		struct span v = scan_path(all, "a[0].b");
		if (v.p != NULL && (v.p < p || v.p + v.n > p + size))
			abort();
		(void)scan_u64(v, &u);
		if (members == 0 && want[0].value.p != NULL && scan_type(want[0].value) == 0)
			abort();
	}
	(void)scan_utf8(p, size);
	return 0;
}
