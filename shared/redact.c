/*
 * redact: what looks like a credential leaves as ***. One pass, in place; each byte is looked at a
 * bounded number of times. Part of log (see log.h), used for error texts too.
 *
 * Ordinary words must survive: "Bearer token is missing", "task-management", "--", "monkey=1",
 * "sk-" alone.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shared/log.h"

#define SECRETS 64
#define SECRET_MIN 8 /* = sizeof head */
#define TOKEN_MIN 8  /* after Basic */

struct secret {
	char *p;
	size_t n;
	uint64_t head; /* the first bytes, to compare quickly */
	bool cut;
};

static struct secret secrets[SECRETS];
static unsigned secret_next;
static bool secret_starts[256];

/* What was found at a place of the line: `keep` bytes stay, the `n` after them are the credential.
 */
struct found {
	size_t keep, n;
};

/* ---- registered secrets ---- */

static uint64_t
head_of(const char *p)
{
	uint64_t head;

	memcpy(&head, p, sizeof head);
	return head;
}

static void
secret_clear(struct secret *s)
{
	if (s->p != NULL)
		explicit_bzero(s->p, s->n);
	free(s->p);
	*s = (struct secret){0};
}

void
log_secret(const char *secret)
{
	size_t n = secret != NULL ? strlen(secret) : 0;
	struct secret s = {.n = MIN(n, LOG_SECRET_MAX), .cut = n > LOG_SECRET_MAX};

	if (n < SECRET_MIN)
		return;
	for (unsigned i = 0; i < SECRETS; i++)
		if (secrets[i].n == s.n && memcmp(secrets[i].p, secret, s.n) == 0)
			return;
	if ((s.p = malloc(s.n)) == NULL)
		return;
	memcpy(s.p, secret, s.n);
	s.head = head_of(secret);
	secret_clear(&secrets[secret_next]);
	secrets[secret_next] = s;
	secret_next = (secret_next + 1) % SECRETS;
	secret_starts[(unsigned char)secret[0]] = true;
}

static bool
is_space(char c)
{
	return (unsigned char)c <= ' ';
}

/* Length of the longest registered secret at p, 0 for none. */
static size_t
secret_at(const char *p, size_t n)
{
	size_t best = 0, len;
	uint64_t head;

	if (n < SECRET_MIN || !secret_starts[(unsigned char)*p])
		return 0;
	head = head_of(p);
	for (unsigned i = 0; i < SECRETS; i++) {
		const struct secret *s = &secrets[i];

		if (s->head != head || s->n < SECRET_MIN || s->n > n || memcmp(s->p, p, s->n) != 0)
			continue;
		for (len = s->n; s->cut && len < n && !is_space(p[len]);)
			len++;
		best = MAX(best, len);
	}
	return best;
}

/* ---- patterns ---- */

static bool
is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-';
}

static size_t
run_until(const char *p, size_t n, const char *stops)
{
	size_t i = 0;

	while (i < n && !is_space(p[i]) && strchr(stops, p[i]) == NULL)
		i++;
	return i;
}

static bool
starts_with(const char *p, size_t n, const char *word)
{
	size_t len = strlen(word);

	return n >= len && strncasecmp(p, word, len) == 0;
}

/* "Bearer" is an English word too: what follows it in sentences and in WWW-Authenticate is not a
 * credential. */
static bool
follows_bearer_in_prose(const char *p, size_t n)
{
	static const char *const words[] = {"token", "tokens", "auth", "authentication",
	    "authorization", "credential", "credentials", "scheme", "header", "key", "keys",
	    "realm", "error", "scope", "is", "was", "and", "or", "not", "in"};

	while (n > 0 && strchr(".:=", p[n - 1]) != NULL)
		n--;
	for (size_t i = 0; i < NELEM(words); i++)
		if (n == strlen(words[i]) && strncasecmp(p, words[i], n) == 0)
			return true;
	return false;
}

static struct found
find_bearer(const char *p, size_t n, char before)
{
	static const char stops[] = "\"'`,;()<>{}\\*";
	size_t i = strlen("bearer"), len, word;

	if (is_word(before) || !starts_with(p, n, "bearer") || i == n || !is_space(p[i]))
		return (struct found){0};
	while (i < n && is_space(p[i]))
		i++;
	len = run_until(p + i, n - i, stops);
	word = run_until(p + i, MIN(len, 20), "\"=");
	if (follows_bearer_in_prose(p + i, word))
		return (struct found){0};
	return (struct found){.keep = i, .n = len};
}

/* Credentials that are known by how they begin. `least` characters must follow. */
static const struct {
	const char *prefix;
	size_t least;
} prefixes[] = {
    {"sk-", 8}, {"or-", 8}, {"sk_", 8}, {"gsk_", 8}, {"xai-", 8}, {"pplx-", 8}, {"nvapi-", 8},
    {"AIza", 20}, {"hf_", 16}, {"ghp_", 16}, {"gho_", 16}, {"github_pat_", 16}, {"r8_", 16},
    {"eyJ", 16}, /* {" in base64: a JSON web token, three parts with dots */
};

static struct found
find_prefixed(const char *p, size_t n, char before)
{
	size_t len, i;

	if (is_word(before))
		return (struct found){0};
	for (size_t k = 0; k < NELEM(prefixes); k++) {
		if (prefixes[k].prefix[0] != *p)
			continue;
		len = i = strlen(prefixes[k].prefix);
		if (n < len || memcmp(p, prefixes[k].prefix, len) != 0)
			continue;
		while (i < n && (is_word(p[i]) || (*p == 'e' && p[i] == '.')))
			i++;
		if (i - len >= prefixes[k].least)
			return (struct found){.keep = 0, .n = i};
	}
	return (struct found){0};
}

/* What is called a key by the name before it: name=value, name: value, "name": "value". */
static const struct {
	const char *name;
	bool query; /* in the query of a URL only */
} names[] = {{"api_key", false}, {"api-key", false}, {"apikey", false}, {"access_token", false},
    {"authorization", false}, {"key", true}, {"token", true}};

static size_t
skip_any(const char *p, size_t n, size_t i, const char *chars)
{
	while (i < n && p[i] != '\0' && strchr(chars, p[i]) != NULL)
		i++;
	return i;
}

/* The value of an Authorization field is a scheme and a credential, or a credential alone. */
static size_t
skip_scheme(const char *p, size_t n, size_t i)
{
	size_t end = i;

	while (end < n && end - i < 16 && isalpha((unsigned char)p[end]))
		end++;
	return end > i && end + 1 < n && p[end] == ' ' && !is_space(p[end + 1]) ? end + 1 : i;
}

static struct found
name_value(const char *p, size_t n, size_t i, char before, bool scheme)
{
	static const char stops[] = "&\"',;()<>{}\\*";
	size_t at = skip_any(p, n, i, "\\\"'");

	if (at < n && p[at] == '=') {
		at = skip_any(p, n, at + 1, "\\\"'");
	} else if (at < n && p[at] == ':' && (!is_word(before) || before == '-')) {
		at = skip_any(p, n, at + 1, " ");
		at = skip_any(p, n, at, "\\\"'");
	} else {
		return (struct found){0};
	}
	if (scheme && find_bearer(p + at, n - at, ' ').n == 0 &&
	    starts_with(p + at, n - at, "bearer "))
		return (struct found){0}; /* a sentence */
	if (scheme)
		at = skip_scheme(p, n, at);
	return (struct found){.keep = at, .n = run_until(p + at, n - at, stops)};
}

static struct found
find_named(const char *p, size_t n, char before)
{
	for (size_t k = 0; k < NELEM(names); k++) {
		if (names[k].name[0] != (*p | 0x20) || !starts_with(p, n, names[k].name) ||
		    (names[k].query && before != '?' && before != '&'))
			continue;
		return name_value(p, n, strlen(names[k].name), before,
		    strcmp(names[k].name, "authorization") == 0);
	}
	return (struct found){0};
}

/* "Basic" too is a word: a credential has a digit, a sign or a capital that begins no word. */
static struct found
find_basic(const char *p, size_t n, char before)
{
	size_t at = strlen("basic"), i;
	bool coded = false;

	if (is_word(before) || !starts_with(p, n, "basic") || at == n || p[at] != ' ')
		return (struct found){0};
	at = skip_any(p, n, at, " ");
	for (i = at; i < n && (isalnum((unsigned char)p[i]) || strchr("+/=", p[i]) != NULL); i++)
		coded = coded || !isalpha((unsigned char)p[i]) ||
			(i > at && isupper((unsigned char)p[i]));
	if (!coded || i - at < TOKEN_MIN)
		return (struct found){0};
	return (struct found){.keep = at, .n = i - at};
}

/* Whether anything at all can begin here: most places of a line are in the middle of a word. */
static bool
may_begin(char c, char before)
{
	switch (c) {
	case 'a':
	case 'A':
		return true; /* OPENAI_API_KEY= */
	case 'b':
	case 'B':
	case 'e':
	case 'g':
	case 'h':
	case 'n':
	case 'o':
	case 'p':
	case 'r':
	case 's':
	case 'x':
		return !is_word(before);
	case 'k':
	case 'K':
	case 't':
	case 'T':
		return before == '?' || before == '&';
	default:
		return false;
	}
}

static struct found
find_credential(const char *p, size_t n, char before)
{
	static struct found (*const finders[])(const char *p, size_t n, char before) = {
	    find_prefixed, find_bearer, find_basic, find_named};
	struct found f = {.n = secret_at(p, n)};
	size_t known;

	if (f.n > 0 || !may_begin(*p, before))
		return f;
	for (size_t i = 0; f.n == 0 && i < NELEM(finders); i++)
		f = finders[i](p, n, before);
	if (f.n > 0 && (known = secret_at(p + f.keep, n - f.keep)) > f.n)
		f.n = known;
	return f;
}

size_t
log_redact(char *line, size_t n)
{
	size_t in = 0, out = 0, stars;
	struct found f;
	char before = ' ';

	while (in < n) {
		f = find_credential(line + in, n - in, before);
		if (f.n == 0) {
			before = line[in];
			line[out++] = line[in++];
			continue;
		}
		stars = MIN(f.n, 3); /* never longer than what stood there */
		memmove(line + out, line + in, f.keep);
		memset(line + out + f.keep, '*', stars);
		out += f.keep + stars;
		in += f.keep + f.n;
		before = '*';
	}
	return out;
}
