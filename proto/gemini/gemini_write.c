/* Members in the spelling of the object that they came in, and what the model has no place for. */
#include <string.h>

#include "proto/gemini/gemini.h"
#include "shared/err.h"

#define NAME_MAX 64 /* longer than any name that is written here */

void
gemini_name(struct gemini_writer *o, const char *camel)
{
	char snake[NAME_MAX];
	size_t n = 0;

	if (!o->snake) {
		jsonw_name(&o->w, camel);
		return;
	}
	for (; *camel != '\0' && n + 2 < sizeof snake; camel++) {
		if (*camel >= 'A' && *camel <= 'Z') {
			snake[n++] = '_';
			snake[n++] = (char)(*camel - 'A' + 'a');
		} else {
			snake[n++] = *camel;
		}
	}
	jsonw_name_raw(&o->w, (struct span){snake, n});
}

void
gemini_m_text(struct gemini_writer *o, const char *camel, struct span text)
{
	if (text.p == NULL)
		return;
	gemini_name(o, camel);
	gemini_put_string(o, text);
}

void
gemini_m_raw(struct gemini_writer *o, const char *camel, struct span json)
{
	if (json.p == NULL)
		return;
	gemini_name(o, camel);
	jsonw_raw(&o->w, json);
}

void
gemini_m_open(struct gemini_writer *o, const char *camel, char bracket)
{
	gemini_name(o, camel);
	jsonw_open(&o->w, bracket);
}

void
gemini_put_string(struct gemini_writer *o, struct span text)
{
	const char *nul;

	jsonw_begin_string(&o->w);
	while (text.n > 0 && (nul = memchr(text.p, '\0', text.n)) != NULL) {
		size_t n = (size_t)(nul - text.p);

		jsonw_part(&o->w, (struct span){text.p, n});
		text = (struct span){nul + 1, text.n - n - 1};
	}
	jsonw_part(&o->w, text);
	jsonw_end_string(&o->w);
}

static bool
own(const struct canon_source *s)
{
	return s->from == DIALECT_GEMINI;
}

void
gemini_put_extras(struct gemini_writer *o, const struct canon_source *s, const char *const *except)
{
	bool snake = false;

	for (const struct canon_extra *x = own(s) ? s->extra : NULL; x != NULL; x = x->next) {
		if (gemini_listed(x->name, except, &snake))
			continue;
		jsonw_name_raw(&o->w, x->name);
		jsonw_raw(&o->w, x->value);
	}
}

static const struct canon_extra *
find(const struct canon_source *s, const char *camel)
{
	bool snake = false;

	for (const struct canon_extra *x = own(s) ? s->extra : NULL; x != NULL; x = x->next)
		if (gemini_name_is(x->name, camel, &snake))
			return x;
	return NULL;
}

bool
gemini_has_extra(const struct canon_source *s, const char *camel)
{
	return find(s, camel) != NULL;
}

void
gemini_put_rest(struct gemini_writer *o, const struct canon_source *s, const char *camel,
    const char *const *known)
{
	const struct canon_extra *x = find(s, camel);
	const struct json *object;
	bool snake = false;
	int r;

	if (x == NULL)
		return;
	if ((r = json_parse(o->a, x->value, &object)) != 0) {
		o->error = r;
		return;
	}
	json_each (m, object) {
		if (m->type == '0' || gemini_listed(m->name, known, &snake))
			continue;
		jsonw_name_raw(&o->w, m->name);
		jsonw_raw(&o->w, m->raw);
	}
}

/* Which of the two made the buffer fail is not told apart: its ceiling is by far the likelier. */
int
gemini_written(const struct gemini_writer *o)
{
	return o->error != 0 ? o->error : buf_ok(o->w.b) ? 0 : E_TOO_LONG;
}
