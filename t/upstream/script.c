/*
 * script: the list of behaviours, from JSON. A member that is not known is an error, so that a test
 * cannot misspell its wish.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include "t/upstream/upstream.h"

static struct behaviour *first;

static char *
copy(const char *p, size_t n)
{
	char *s = malloc(n + 1);

	if (s == NULL)
		abort();
	if (n > 0)
		memcpy(s, p, n);
	s[n] = '\0';
	return s;
}

static bool
set_text(const json_t *v, char **to, size_t *len)
{
	if (!json_is_string(v))
		return false;
	free(*to);
	*to = copy(json_string_value(v), json_string_length(v));
	if (len != NULL)
		*len = json_string_length(v);
	return true;
}

static bool
set_base64(const json_t *v, char **to, size_t *len)
{
	size_t n = json_string_length(v);
	const char *p = json_string_value(v);
	int r;

	if (p == NULL || n % 4 != 0)
		return false;
	free(*to);
	*to = copy("", 0);
	*to = realloc(*to, n / 4 * 3 + 1);
	r = EVP_DecodeBlock((unsigned char *)*to, (const unsigned char *)p, (int)n);
	if (r < 0)
		return false;
	*len = (size_t)r;
	for (size_t i = n; i > 0 && p[i - 1] == '='; i--)
		--*len; /* EVP_DecodeBlock counts the padding */
	(*to)[*len] = '\0';
	return true;
}

static bool
set_headers(const json_t *v, char **to)
{
	size_t i;
	json_t *pair;
	char *all = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&all, &len);

	json_array_foreach(v, i, pair)
	{
		const char *name = json_string_value(json_array_get(pair, 0));
		const char *value = json_string_value(json_array_get(pair, 1));
		if (name == NULL || value == NULL) {
			fclose(f);
			free(all);
			return false;
		}
		fprintf(f, "%s: %s\r\n", name, value);
	}
	fclose(f);
	free(*to);
	*to = all;
	return json_is_array(v);
}

static bool
set_match(const json_t *v, struct behaviour *b)
{
	const char *name;
	json_t *m;

	if (!json_is_object(v))
		return false;
	json_object_foreach((json_t *)v, name, m)
	{
		char **to = strcmp(name, "path") == 0    ? &b->path
			    : strcmp(name, "model") == 0 ? &b->model
			    : strcmp(name, "key") == 0   ? &b->key
							 : NULL;
		if (to == NULL || !set_text(m, to, NULL))
			return false;
	}
	return true;
}

static bool
set_bulk(const json_t *v, struct behaviour *b)
{
	int64_t bytes = json_integer_value(json_object_get(v, "bytes"));

	if (!set_text(json_object_get(v, "unit"), &b->unit, &b->unit_len) || bytes <= 0 ||
	    b->unit_len == 0)
		return false;
	b->units = ((uint64_t)bytes + b->unit_len - 1) / b->unit_len;
	return true;
}

static bool
set_pieces(const json_t *v, struct behaviour *b)
{
	size_t i;
	json_t *n;

	free(b->pieces);
	b->pieces = calloc(json_array_size(v) + 1, sizeof(*b->pieces));
	if (b->pieces == NULL)
		abort();
	json_array_foreach(v, i, n)
	{
		if (json_integer_value(n) <= 0)
			return false;
		b->pieces[b->npieces++] = (size_t)json_integer_value(n);
	}
	return json_is_array(v);
}

static bool
set_word(const json_t *v, const char *const *words, int *to)
{
	for (int i = 0; words[i] != NULL; i++) {
		if (json_is_string(v) && strcmp(json_string_value(v), words[i]) == 0) {
			*to = i;
			return true;
		}
	}
	return false;
}

static bool
set_number(const json_t *v, int64_t *to)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*to = json_integer_value(v);
	return true;
}

/* Text members, then the composed ones; numbers and booleans are in set_scalar. */
static bool
set_member(struct behaviour *b, const char *name, const json_t *v, int *end)
{
	static const char *const framings[] = {"length", "chunked", "close", "raw", NULL};
	static const char *const ends[] = {"keep", "close", "fin", "rst", "hang", NULL};
	int word = 0;
	bool ok;

	if (strcmp(name, "match") == 0)
		return set_match(v, b);
	if (strcmp(name, "reason") == 0)
		return set_text(v, &b->reason, NULL);
	if (strcmp(name, "headers") == 0)
		return set_headers(v, &b->headers);
	if (strcmp(name, "body") == 0)
		return set_text(v, &b->body, &b->body_len);
	if (strcmp(name, "body64") == 0)
		return set_base64(v, &b->body, &b->body_len);
	if (strcmp(name, "tail") == 0)
		return set_text(v, &b->tail, &b->tail_len);
	if (strcmp(name, "bulk") == 0)
		return set_bulk(v, b);
	if (strcmp(name, "pieces") == 0)
		return set_pieces(v, b);
	if (strcmp(name, "end") == 0)
		return set_word(v, ends, end);
	if (strcmp(name, "framing") != 0)
		return false;
	ok = set_word(v, framings, &word);
	b->framing = (enum framing)word;
	return ok;
}

static bool
set_scalar(struct behaviour *b, const char *name, const json_t *v, bool *known)
{
	struct {
		const char *name;
		bool *flag;
	} flags[] = {{"early", &b->early}, {"expand", &b->expand}, {"unended", &b->unended}};
	int64_t n = 0;

	*known = true;
	for (size_t i = 0; i < NELEM(flags); i++) {
		if (strcmp(name, flags[i].name) == 0) {
			*flags[i].flag = json_is_true(v);
			return json_is_boolean(v);
		}
	}
	struct {
		const char *name;
		int64_t *wide;
		unsigned *narrow;
	} numbers[] = {{"times", NULL, NULL}, {"status", NULL, NULL}, {"sndbuf", NULL, NULL},
	    {"piece", NULL, NULL}, {"length", &b->length, NULL},
	    {"first_delay", NULL, &b->first_delay}, {"head_delay", NULL, &b->head_delay},
	    {"delay", NULL, &b->delay}};
	for (size_t i = 0; i < NELEM(numbers); i++) {
		if (strcmp(name, numbers[i].name) != 0)
			continue;
		if (!set_number(v, &n))
			return false;
		if (numbers[i].wide != NULL)
			*numbers[i].wide = n;
		else if (numbers[i].narrow != NULL)
			*numbers[i].narrow = (unsigned)n;
		else if (i == 0)
			b->times = (long)n;
		else if (i == 1 || i == 2)
			*(i == 1 ? &b->status : &b->sndbuf) = (int)n;
		else
			b->piece = (size_t)n;
		return true;
	}
	*known = false;
	return false;
}

static struct behaviour *
behaviour_new(json_t *o, char *err, size_t errlen)
{
	struct behaviour *b = calloc(1, sizeof(*b));
	const char *name;
	json_t *v;
	int end = -1;

	if (b == NULL)
		abort();
	b->refs = 1;
	b->times = -1;
	b->status = 200;
	b->length = -1;
	json_object_foreach(o, name, v)
	{
		bool known, ok = set_scalar(b, name, v, &known);
		if (!known)
			ok = set_member(b, name, v, &end);
		if (!ok) {
			snprintf(err, errlen, "bad or unknown member: %s", name);
			behaviour_put(b);
			return NULL;
		}
	}
	if (b->body == NULL)
		b->body = copy("", 0);
	b->end = end >= 0                                                   ? (enum ending)end
		 : b->framing == FRAMING_CLOSE || b->framing == FRAMING_RAW ? END_CLOSE
									    : END_KEEP;
	return b;
}

void
behaviour_put(struct behaviour *b)
{
	if (b == NULL || --b->refs > 0)
		return;
	free(b->path);
	free(b->model);
	free(b->key);
	free(b->reason);
	free(b->headers);
	free(b->body);
	free(b->unit);
	free(b->tail);
	free(b->pieces);
	free(b);
}

void
script_clear(void)
{
	while (first != NULL) {
		struct behaviour *b = first;
		first = b->next;
		behaviour_put(b);
	}
}

int
script_load(const char *json, size_t n, bool append, char *err, size_t errlen)
{
	json_error_t e;
	json_t *root = json_loadb(json, n, JSON_ALLOW_NUL, &e), *o;
	struct behaviour *list = NULL, **end = &list, *b;
	size_t i;

	if (root == NULL) {
		snprintf(err, errlen, "%s", e.text);
		return -1;
	}
	if (json_is_object(root)) {
		json_t *array = json_array();
		json_array_append_new(array, root);
		root = array;
	}
	json_array_foreach(root, i, o)
	{
		if ((b = behaviour_new(o, err, errlen)) == NULL) {
			while ((b = list) != NULL) {
				list = b->next;
				behaviour_put(b);
			}
			json_decref(root);
			return -1;
		}
		*end = b;
		end = &b->next;
	}
	json_decref(root);
	if (!append)
		script_clear();
	for (end = &first; *end != NULL; end = &(*end)->next)
		;
	*end = list;
	return 0;
}

static bool
fits(const char *wanted, const char *is)
{
	return wanted == NULL || (is != NULL && strcmp(wanted, is) == 0);
}

struct behaviour *
script_take(const char *path, const char *model, const char *key)
{
	size_t n = strcspn(path, "?");

	for (struct behaviour **at = &first; *at != NULL; at = &(*at)->next) {
		struct behaviour *b = *at;
		if ((model == NULL && !b->early) || !fits(b->model, model) || !fits(b->key, key) ||
		    (b->path != NULL && (strlen(b->path) != n || memcmp(b->path, path, n) != 0)))
			continue;
		b->refs++;
		if (b->times > 0 && --b->times == 0) {
			*at = b->next;
			b->next = NULL;
			behaviour_put(b);
		}
		return b;
	}
	return NULL;
}
