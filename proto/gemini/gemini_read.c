/* Members by either spelling of their names, and what is kept of an object beside them. */
#include <string.h>

#include "proto/gemini/gemini.h"
#include "shared/err.h"

bool
gemini_name_is(struct span name, const char *camel, bool *snake)
{
	bool other = false;
	size_t i = 0;

	for (; *camel != '\0'; camel++, i++) {
		if (i >= name.n)
			return false;
		if (name.p[i] == *camel)
			continue;
		if (*camel < 'A' || *camel > 'Z' || name.p[i] != '_' || ++i >= name.n ||
		    name.p[i] != *camel - 'A' + 'a')
			return false;
		other = true;
	}
	if (i != name.n)
		return false;
	*snake = *snake || other;
	return true;
}

const struct json *
gemini_get(const struct json *o, const char *camel)
{
	const struct json *found = NULL;
	bool snake = false;

	if (!json_is(o, 'o'))
		return NULL;
	json_each (m, o)
		if (gemini_name_is(m->name, camel, &snake) ||
		    (m->name_escaped && json_name_is(m, camel)))
			found = m;
	return json_is(found, '0') ? NULL : found;
}

int
gemini_get_text(struct arena *a, const struct json *o, const char *camel, struct span *out)
{
	const struct json *m = gemini_get(o, camel);

	*out = json_text(a, m);
	return json_is(m, 's') && out->p == NULL ? E_NOMEM : 0;
}

bool
gemini_listed(struct span name, const char *const *known, bool *snake)
{
	for (; known != NULL && *known != NULL; known++)
		if (gemini_name_is(name, *known, snake))
			return true;
	return false;
}

static bool
is_known(const struct json *m, const char *const *known, bool *snake)
{
	if (gemini_listed(m->name, known, snake))
		return true;
	if (m->name_escaped)
		for (; *known != NULL; known++)
			if (json_name_is(m, *known))
				return true;
	return false;
}

int
gemini_keep(struct arena *a, struct canon_source *s, const struct json *o, const char *const *known,
    uint32_t hint)
{
	bool snake = false;
	int r;

	if (!json_is(o, 'o'))
		return 0;
	json_each (m, o)
		if (m->type != '0' && !is_known(m, known, &snake) &&
		    (r = canon_extra_add(a, s, m)) != 0)
			return r;
	s->hint |= snake ? hint : 0;
	return 0;
}

int
gemini_keep_rest(struct arena *a, struct canon_source *s, const struct json *m,
    const char *const *known, uint32_t hint)
{
	bool snake = false, more = false;

	if (!json_is(m, 'o'))
		return 0;
	json_each (it, m)
		more = (it->type != '0' && !is_known(it, known, &snake)) || more;
	s->hint |= snake ? hint : 0;
	return more ? canon_extra_add(a, s, m) : 0;
}

struct span
gemini_take(struct arena *a, struct buf *b)
{
	char *p = buf_ok(b) ? arena_strndup(a, b->len > 0 ? b->data : "", b->len) : NULL;
	struct span s = {p, p != NULL ? b->len : 0};

	buf_clear(b);
	return s;
}
