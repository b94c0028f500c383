#include "proto/jsonw.h"

#include <string.h>

#include "proto/scan.h"

static void
separate(struct jsonw *w)
{
	if (w->comma)
		buf_add(w->b, ",", 1);
	w->comma = true;
}

void
jsonw_open(struct jsonw *w, char bracket)
{
	const char text[2] = {',', bracket};

	buf_add(w->b, text + !w->comma, 1 + w->comma);
	w->comma = false;
}

void
jsonw_close(struct jsonw *w, char bracket)
{
	buf_add(w->b, &bracket, 1);
	w->comma = true;
}

void
jsonw_name_raw(struct jsonw *w, struct span name)
{
	char *to = buf_reserve(w->b, name.n + 3 + w->comma);

	if (to != NULL) {
		if (w->comma)
			*to++ = ',';
		*to++ = '"';
		if (name.n > 0)
			memcpy(to, name.p, name.n);
		to += name.n;
		*to++ = '"';
		*to++ = ':';
		w->b->len = (size_t)(to - w->b->data);
	}
	w->comma = false;
}

void
jsonw_name_text(struct jsonw *w, struct span name)
{
	jsonw_text(w, name);
	buf_add(w->b, ":", 1);
	w->comma = false;
}

void
jsonw_name(struct jsonw *w, const char *name)
{
	jsonw_name_raw(w, (struct span){name, strlen(name)});
}

void
jsonw_begin_string(struct jsonw *w)
{
	static const char text[] = ",\"";

	buf_add(w->b, text + !w->comma, 1 + w->comma);
	w->comma = true;
}

void
jsonw_part(struct jsonw *w, struct span text)
{
	(void)scan_escape(w->b, text.p, text.n); /* the buffer remembers */
}

void
jsonw_end_string(struct jsonw *w)
{
	buf_add(w->b, "\"", 1);
}

void
jsonw_text(struct jsonw *w, struct span text)
{
	jsonw_begin_string(w);
	jsonw_part(w, text);
	jsonw_end_string(w);
}

void
jsonw_cstr(struct jsonw *w, const char *text)
{
	jsonw_text(w, (struct span){text, strlen(text)});
}

void
jsonw_lit(struct jsonw *w, const char *json)
{
	separate(w);
	buf_str(w->b, json);
}

void
jsonw_raw(struct jsonw *w, struct span json)
{
	if (json.n == 0) {
		jsonw_lit(w, "null");
		return;
	}
	separate(w);
	buf_add(w->b, json.p, json.n);
}

void
jsonw_one_line(struct buf *b, size_t from)
{
	static const char ends[] = {'\n', '\r'};

	if (!buf_ok(b) || from >= b->len)
		return;
	for (size_t i = 0; i < NELEM(ends); i++)
		for (char *p = b->data + from, *end = b->data + b->len;
		     (p = memchr(p, ends[i], (size_t)(end - p))) != NULL;)
			*p++ = ' ';
}

static void
put_digits(struct jsonw *w, uint64_t n)
{
	char digits[20], *p = digits + sizeof digits;

	do {
		*--p = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	buf_add(w->b, p, (size_t)(digits + sizeof digits - p));
}

void
jsonw_u64(struct jsonw *w, uint64_t n)
{
	separate(w);
	put_digits(w, n);
}

void
jsonw_i64(struct jsonw *w, int64_t n)
{
	separate(w);
	if (n < 0)
		buf_add(w->b, "-", 1);
	put_digits(w, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
}

void
jsonw_bool(struct jsonw *w, bool v)
{
	jsonw_lit(w, v ? "true" : "false");
}

/* ---- members ---- */

void
jsonw_m_text(struct jsonw *w, const char *name, struct span text)
{
	if (text.p == NULL)
		return;
	jsonw_name(w, name);
	jsonw_text(w, text);
}

void
jsonw_m_cstr(struct jsonw *w, const char *name, const char *text)
{
	if (text == NULL)
		return;
	jsonw_name(w, name);
	jsonw_cstr(w, text);
}

void
jsonw_m_raw(struct jsonw *w, const char *name, struct span json)
{
	if (json.p == NULL)
		return;
	jsonw_name(w, name);
	jsonw_raw(w, json);
}

void
jsonw_m_lit(struct jsonw *w, const char *name, const char *json)
{
	jsonw_name(w, name);
	jsonw_lit(w, json);
}

void
jsonw_m_u64(struct jsonw *w, const char *name, uint64_t n)
{
	jsonw_name(w, name);
	jsonw_u64(w, n);
}

void
jsonw_m_i64(struct jsonw *w, const char *name, int64_t n)
{
	jsonw_name(w, name);
	jsonw_i64(w, n);
}

void
jsonw_m_bool(struct jsonw *w, const char *name, bool v)
{
	jsonw_name(w, name);
	jsonw_bool(w, v);
}

void
jsonw_m_tri(struct jsonw *w, const char *name, int tri)
{
	if (tri >= 0)
		jsonw_m_bool(w, name, tri != 0);
}

void
jsonw_m_open(struct jsonw *w, const char *name, char bracket)
{
	jsonw_name(w, name);
	jsonw_open(w, bracket);
}
