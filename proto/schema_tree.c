#include "proto/schema_tree.h"

#include <string.h>

#include "proto/scan.h"

static struct sn *
new_node(struct arena *a, char type)
{
	struct sn *n = arena_zalloc(a, 1, sizeof *n);

	if (n != NULL)
		n->type = type;
	return n;
}

struct sn *
sn_object(struct arena *a)
{
	return new_node(a, 'o');
}

struct sn *
sn_array(struct arena *a)
{
	return new_node(a, 'a');
}

struct sn *
sn_raw(struct arena *a, const char *json)
{
	struct sn *n = new_node(a, 0);

	if (n == NULL)
		return NULL;
	n->raw = (struct span){json, strlen(json)};
	n->type = (char)scan_type(n->raw);
	return n;
}

struct sn *
sn_string(struct arena *a, struct span text)
{
	struct buf b = BUF_INIT(6 * text.n + 3);
	struct sn *n = NULL;
	char *copy;

	buf_add(&b, "\"", 1);
	(void)scan_escape(&b, text.p, text.n);
	buf_add(&b, "\"", 1);
	if (buf_ok(&b) && (copy = arena_strndup(a, b.data, b.len)) != NULL &&
	    (n = new_node(a, 's')) != NULL)
		n->raw = (struct span){copy, b.len};
	buf_clear(&b);
	return n;
}

struct sn *
sn_copy(struct arena *a, const struct json *j)
{
	struct sn *n = new_node(a, j->type), **end;

	if (n == NULL)
		return NULL;
	n->name = j->name;
	n->raw = j->raw;
	end = &n->child;
	json_each (m, j) {
		if ((*end = sn_copy(a, m)) == NULL)
			return NULL;
		end = &(*end)->next;
	}
	return n;
}

struct sn *
sn_find(const struct sn *o, struct span name)
{
	if (o != NULL && o->type == 'o')
		sn_each (m, o)
			if (m->name.n == name.n && memcmp(m->name.p, name.p, name.n) == 0)
				return m;
	return NULL;
}

struct sn *
sn_get(const struct sn *o, const char *name)
{
	return sn_find(o, (struct span){name, strlen(name)});
}

struct sn *
sn_take(struct sn *o, const char *name)
{
	size_t len = strlen(name);

	for (struct sn **at = &o->child; *at != NULL; at = &(*at)->next)
		if ((*at)->name.n == len && memcmp((*at)->name.p, name, len) == 0) {
			struct sn *n = *at;

			*at = n->next;
			n->next = NULL;
			return n;
		}
	return NULL;
}

void
sn_put(struct sn *o, struct span name, struct sn *value)
{
	struct sn **at = &o->child;

	value->name = name;
	while (
	    *at != NULL && ((*at)->name.n != name.n || memcmp((*at)->name.p, name.p, name.n) != 0))
		at = &(*at)->next;
	value->next = *at != NULL ? (*at)->next : NULL;
	*at = value;
}

bool
sn_set(struct sn *o, const char *name, struct sn *value)
{
	if (value == NULL)
		return false;
	sn_put(o, (struct span){name, strlen(name)}, value);
	return true;
}

void
sn_add(struct sn *array, struct sn *value)
{
	struct sn **at = &array->child;

	while (*at != NULL)
		at = &(*at)->next;
	value->next = NULL;
	*at = value;
}

unsigned
sn_count(const struct sn *n)
{
	unsigned count = 0;

	sn_each (m, n)
		count++;
	return count;
}

bool
sn_is_text(const struct sn *n, const char *text)
{
	size_t len = strlen(text);

	return n != NULL && n->type == 's' && n->raw.n == len + 2 &&
	       memcmp(n->raw.p + 1, text, len) == 0;
}

void
sn_print(struct buf *b, const struct sn *n)
{
	bool first = true;

	if (n->type != 'o' && n->type != 'a') {
		buf_add(b, n->raw.p, n->raw.n);
		return;
	}
	buf_add(b, n->type == 'o' ? "{" : "[", 1);
	sn_each (m, n) {
		if (!first)
			buf_add(b, ",", 1);
		first = false;
		if (n->type == 'o') {
			buf_add(b, "\"", 1);
			buf_add(b, m->name.p, m->name.n);
			buf_add(b, "\":", 2);
		}
		sn_print(b, m);
	}
	buf_add(b, n->type == 'o' ? "}" : "]", 1);
}
