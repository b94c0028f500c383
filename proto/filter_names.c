/*
 * Names on the wire become the client's again (spec 6.3), and a free-form call that the target
 * knows as a function
 * {"input": "…"} becomes plain text again (6.1), while it streams: the string is unescaped as it
 * comes. Arguments of any other shape are kept until their end, and taken apart then or passed as
 * they are.
 */
#include <string.h>

#include "proto/filter_own.h"
#include "proto/json.h"
#include "shared/err.h"

enum unwrap { UNWRAP_NOT, UNWRAP_HEAD, UNWRAP_TEXT, UNWRAP_TAIL, UNWRAP_KEPT };

struct named_part {
	struct filter_part p;
	enum unwrap state;
	struct buf *raw;  /* HEAD, KEPT: all so far */
	char escape[12];  /* TEXT: an escape that is not whole yet, or the first of a pair */
	unsigned escaped; /* bytes of it */
};

struct names {
	struct filters *f;
	struct canon_sink next;
	struct filter_table parts;
};

/* ---- names ---- */

static const struct shaped_tool *
on_wire(const struct names *n, struct span name)
{
	for (const struct shaped_tool *t = n->f->shaped->tools; t != NULL; t = t->next)
		if (span_same(t->wire, name))
			return t;
	return NULL;
}

static bool
is_declared(const struct names *n, struct span name)
{
	const struct canon_tool *t;

	if (on_wire(n, name) != NULL)
		return true;
	TAILQ_FOREACH (t, &n->f->asked->tools, link)
		if (span_same(t->name, name))
			return true;
	return false;
}

/* Models put a namespace of their own before a name. */
static struct span
without_prefix(const struct names *n, struct span name)
{
	static const char *const prefixes[] = {"default_api.", "functions."};

	for (size_t i = 0; i < NELEM(prefixes); i++) {
		size_t len = strlen(prefixes[i]);
		struct span rest;

		if (name.n <= len || memcmp(name.p, prefixes[i], len) != 0)
			continue;
		rest = (struct span){name.p + len, name.n - len};
		if (!is_declared(n, name) && is_declared(n, rest))
			return rest;
	}
	return name;
}

/* ---- {"input": "…"} ---- */

static const char *const head[] = {"{", "\"input\"", ":", "\""};

static int
hex4(const char *p)
{
	int v = 0;

	for (unsigned i = 0; i < 4; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v << 4 | ((c | 32) - 'a' + 10);
		else
			return 0xfffd;
	}
	return v;
}

static size_t
put_utf8(char *out, unsigned c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 63));
		out[2] = (char)(0x80 | (c & 63));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 63));
	out[2] = (char)(0x80 | (c >> 6 & 63));
	out[3] = (char)(0x80 | (c & 63));
	return 4;
}

/* One whole escape, or a pair of them, as text. 0: more is needed. */
static size_t
unescape(const char *e, unsigned n, char *out, unsigned *used)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *at;
	int hi, lo;

	*used = 2;
	if (n < 2)
		return 0;
	if (e[1] != 'u') {
		at = strchr(from, e[1]);
		*out = at != NULL && *at != '\0' ? to[at - from] : e[1];
		return 1;
	}
	*used = 6;
	if (n < 6)
		return 0;
	hi = hex4(e + 2);
	if (hi < 0xd800 || hi > 0xdfff)
		return put_utf8(out, (unsigned)hi);
	if (hi > 0xdbff || (n > 6 && e[6] != '\\') || (n > 7 && e[7] != 'u'))
		return put_utf8(out, 0xfffd);
	if (n < 12)
		return 0;
	lo = hex4(e + 8);
	if (lo < 0xdc00 || lo > 0xdfff)
		return put_utf8(out, 0xfffd);
	*used = 12;
	return put_utf8(out, 0x10000u + ((unsigned)(hi - 0xd800) << 10) + (unsigned)(lo - 0xdc00));
}

static int
say(struct names *n, struct named_part *p, struct span text)
{
	return filter_text(&n->next, p->p.choice, p->p.number, text);
}

/* What was gathered of escapes, as far as it is whole; `end`: nothing follows. */
static int
flush_escape(struct names *n, struct named_part *p, bool end)
{
	char out[4];
	unsigned used;
	int r = 0;

	while (p->escaped > 0 && r == 0) {
		size_t len = unescape(p->escape, p->escaped, out, &used);

		if (len == 0) {
			if (!end)
				return 0;
			len = put_utf8(out, 0xfffd);
			used = p->escaped;
		}
		r = say(n, p, (struct span){out, len});
		p->escaped -= used;
		memmove(p->escape, p->escape + used, p->escaped);
	}
	return r;
}

/* The first of a pair is followed by another escape, or by nothing of its own. */
static bool
grows(const struct named_part *p, char c)
{
	return p->escaped != 6 || c == '\\';
}

static int
take_text(struct names *n, struct named_part *p, struct span text)
{
	size_t from = 0, i = 0;
	int r = 0;

	while (i < text.n && r == 0) {
		char c = text.p[i];

		if (p->escaped > 0 && grows(p, c)) {
			p->escape[p->escaped++] = c;
			from = ++i;
			r = flush_escape(n, p, false);
			continue;
		}
		if (p->escaped > 0 && (r = flush_escape(n, p, true)) != 0)
			return r;
		if (c != '\\' && c != '"') {
			i++;
			continue;
		}
		if ((r = say(n, p, (struct span){text.p + from, i - from})) != 0)
			return r;
		from = ++i;
		if (c == '"') {
			p->state = UNWRAP_TAIL;
			return 0;
		}
		p->escape[p->escaped++] = c;
	}
	return r == 0 ? say(n, p, (struct span){text.p + from, text.n - from}) : r;
}

static int
take_head(struct names *n, struct named_part *p, struct span text)
{
	size_t len = 0;
	int r = text.n > 0 ? buf_add(p->raw, text.p, text.n) : 0, m;

	if (r != 0 || p->state == UNWRAP_KEPT)
		return r;
	m = filter_head(head, NELEM(head), (struct span){p->raw->data, p->raw->len}, &len);
	if (m < 0)
		p->state = UNWRAP_KEPT;
	if (m <= 0)
		return 0;
	p->state = UNWRAP_TEXT;
	r = take_text(n, p, (struct span){p->raw->data + len, p->raw->len - len});
	buf_clear(p->raw);
	return r;
}

/* Arguments of another shape: another member before "input", or no object at all. */
static int
end_kept(struct names *n, struct named_part *p)
{
	struct span raw = {p->raw->data, p->raw->len}, text = {NULL, 0};
	const struct json *root;
	int r;

	if (raw.n > 0 && json_parse(n->f->arena, raw, &root) == 0)
		text = json_text(n->f->arena, json_get(root, "input"));
	r = say(n, p, text.p != NULL ? text : raw);
	buf_clear(p->raw);
	return r;
}

/* ---- events ---- */

static int
take_open(struct names *n, const struct canon_event *in)
{
	struct canon_event ev = *in;
	struct span name = without_prefix(n, in->meta->name);
	const struct shaped_tool *tool = on_wire(n, name);
	struct canon_part *meta;
	struct named_part *p;

	if (in->meta->kind != PART_TOOL_CALL || (tool == NULL && name.p == in->meta->name.p))
		return filter_send(&n->next, in);
	if ((meta = canon_part_new(n->f->arena, PART_TOOL_CALL)) == NULL)
		return E_NOMEM;
	*meta = *in->meta;
	TAILQ_INIT(&meta->annotations);
	TAILQ_INIT(&meta->content);
	meta->name = tool != NULL ? tool->name : name;
	if (tool != NULL)
		meta->namespace = tool->namespace;
	if (tool != NULL && tool->custom && !meta->custom) {
		meta->custom = true;
		p = filter_part_add(n->f->arena, &n->parts, sizeof *p, in);
		if (p == NULL || (p->raw = filter_buf(n->f)) == NULL)
			return E_NOMEM;
		p->state = UNWRAP_HEAD;
	}
	ev.meta = meta;
	return filter_send(&n->next, &ev);
}

static int
names_take(void *ctx, const struct canon_event *ev)
{
	struct names *n = ctx;
	struct named_part *p;
	int r = 0;

	if (ev->type == EVENT_OPEN)
		return take_open(n, ev);
	if ((ev->type != EVENT_DELTA && ev->type != EVENT_CLOSE) ||
	    (p = filter_part_find(&n->parts, ev->part)) == NULL || p->state == UNWRAP_NOT)
		return filter_send(&n->next, ev);
	if (ev->type == EVENT_DELTA) {
		if (p->state == UNWRAP_TEXT)
			return take_text(n, p, ev->text);
		return p->state == UNWRAP_TAIL ? 0 : take_head(n, p, ev->text);
	}
	if (p->state == UNWRAP_TEXT)
		r = flush_escape(n, p, true);
	else if (p->state != UNWRAP_TAIL)
		r = end_kept(n, p);
	p->state = UNWRAP_NOT;
	return r == 0 ? filter_send(&n->next, ev) : r;
}

int
filter_names(struct filters *f)
{
	struct names *n = arena_zalloc(f->arena, 1, sizeof *n);

	if (n == NULL)
		return E_NOMEM;
	n->f = f;
	n->next = f->head;
	f->head = (struct canon_sink){names_take, n};
	return 0;
}
