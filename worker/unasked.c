#include "worker/unasked.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "proto/openai_chat.h"
#include "proto/sse.h"
#include "shared/err.h"

#define CHOICES_MAX 128
#define CALLS_MAX 256

/* The object with this "index" in a list, made when it is new; NULL: not a sane index. */
static json_t *
slot(json_t *list, const json_t *part, size_t max)
{
	json_int_t i = json_integer_value(json_object_get(part, "index"));

	if (i < 0 || (size_t)i >= max)
		return NULL;
	while (json_array_size(list) <= (size_t)i)
		if (json_array_append_new(list, json_object()) != 0)
			return NULL;
	return json_array_get(list, (size_t)i);
}

static json_t *
list_in(json_t *object, const char *name)
{
	if (json_object_get(object, name) == NULL)
		json_object_set_new(object, name, json_array());
	return json_object_get(object, name);
}

static int
append_text(json_t *object, const char *name, const json_t *text)
{
	const json_t *old = json_object_get(object, name);
	size_t a = json_string_length(old), b = json_string_length(text);
	char *both = malloc(a + b + 1);
	int r;

	if (both == NULL)
		return E_NOMEM;
	memcpy(both, json_is_string(old) ? json_string_value(old) : "", a);
	memcpy(both + a, json_string_value(text), b);
	r = json_object_set_new(object, name, json_stringn(both, a + b));
	free(both);
	return r == 0 ? 0 : E_NOMEM;
}

static int join_object(json_t *into, json_t *delta);

static int
join_calls(json_t *into, const char *name, json_t *calls)
{
	json_t *list = list_in(into, name), *part, *at;
	size_t i;
	int r = 0;

	json_array_foreach(calls, i, part)
	{
		if ((at = slot(list, part, CALLS_MAX)) == NULL)
			return E_SYNTAX;
		if ((r = join_object(at, part)) != 0)
			return r;
		json_object_del(at, "index");
	}
	return 0;
}

/* Names that stand once, however often an upstream repeats them. */
static bool
stands_once(const char *name)
{
	static const char *const once[] = {"role", "id", "type", "name"};

	for (size_t i = 0; i < NELEM(once); i++)
		if (strcmp(name, once[i]) == 0)
			return true;
	return false;
}

/* Text grows, lists of indexed parts are joined part by part, of the rest the last one stands. */
static int
join_object(json_t *into, json_t *delta)
{
	const char *name;
	json_t *value;
	int r = 0;

	json_object_foreach(delta, name, value)
	{
		json_t *old = json_object_get(into, name);

		if (json_is_array(value) &&
		    json_object_get(json_array_get(value, 0), "index") != NULL)
			r = join_calls(into, name, value);
		else if (json_is_object(value) && json_is_object(old))
			r = join_object(old, value);
		else if (json_is_string(value) && json_is_string(old) && !stands_once(name))
			r = append_text(into, name, value);
		else if (old == NULL || !json_is_null(value))
			r = json_object_set_new(into, name, json_deep_copy(value)) == 0 ? 0
											: E_NOMEM;
		if (r != 0)
			return r;
	}
	return 0;
}

static int
join_choices(json_t *whole, json_t *choices)
{
	json_t *list = list_in(whole, "choices"), *part, *at, *message;
	json_t *reason;
	size_t i;
	int r;

	json_array_foreach(choices, i, part)
	{
		if ((at = slot(list, part, CHOICES_MAX)) == NULL)
			return E_SYNTAX;
		json_object_set(at, "index", json_object_get(part, "index"));
		if (json_object_get(at, "message") == NULL) {
			json_object_set_new(at, "message", json_object());
			json_object_set_new(at, "finish_reason", json_null());
		}
		message = json_object_get(at, "message");
		if ((r = join_object(message, json_object_get(part, "delta"))) != 0)
			return r;
		reason = json_object_get(part, "finish_reason");
		if (json_is_string(reason))
			json_object_set(at, "finish_reason", reason);
	}
	return 0;
}

static int
join_chunk(json_t *whole, struct span data)
{
	json_t *chunk = json_loadb(data.p, data.n, 0, NULL), *value;
	const char *name;
	int r = chunk != NULL && json_is_object(chunk) ? 0 : E_SYNTAX;

	json_object_foreach(chunk, name, value)
	{
		if (r != 0)
			break;
		if (strcmp(name, "choices") == 0)
			r = join_choices(whole, value);
		else if (json_object_get(whole, name) == NULL || !json_is_null(value))
			json_object_set(whole, name, value);
	}
	json_decref(chunk);
	return r;
}

/* All events; a last one without its empty line too. */
static int
join_events(struct sse *s, struct span sse, json_t *whole, struct chat_stream *st)
{
	struct sse_event ev;
	int r = sse_feed(s, sse.p, sse.n);

	if (r == 0)
		r = sse_feed(s, "\n\n", 2);
	while (r == 0 && (r = sse_next(s, &ev)) == SSE_EVENT) {
		r = 0;
		if (ev.data.p == NULL)
			continue;
		chat_chunk(st, ev.data);
		if (!st->done)
			r = join_chunk(whole, ev.data);
	}
	return r;
}

int
unasked_join(struct arena *a, struct span sse, size_t max_event, struct buf *out)
{
	struct sse *s = sse_new(a, MAX(max_event, sse.n));
	struct chat_stream st = {0};
	json_t *whole = json_object();
	char *text = NULL;
	int r = s != NULL && whole != NULL ? 0 : E_NOMEM;

	if (r == 0)
		r = join_events(s, sse, whole, &st);
	if (r == 0 && (st.error || (!st.done && !st.finished) || (!st.useful && !st.finished)))
		r = E_TRUNCATED;
	if (r == 0) {
		json_object_set_new(whole, "object", json_string("chat.completion"));
		text = json_dumps(whole, JSON_COMPACT);
		r = text != NULL ? buf_str(out, text) : E_NOMEM;
	}
	free(text);
	json_decref(whole);
	sse_free(s);
	return r;
}
