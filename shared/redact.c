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
#define TOKEN_MIN 8  /* after sk- and or- */

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

static struct found
find_prefixed(const char *p, size_t n, char before)
{
	size_t i = strlen("sk-");

	if (is_word(before) || n < i || (memcmp(p, "sk-", i) != 0 && memcmp(p, "or-", i) != 0))
		return (struct found){0};
	while (i < n && is_word(p[i]))
		i++;
	if (i < strlen("sk-") + TOKEN_MIN)
		return (struct found){0};
	return (struct found){.keep = 0, .n = i};
}

static struct found
find_parameter(const char *p, size_t n, char before)
{
	size_t keep;

	if (starts_with(p, n, "api_key=") || starts_with(p, n, "api-key="))
		keep = strlen("api_key=");
	else if ((before == '?' || before == '&') && starts_with(p, n, "key="))
		keep = strlen("key=");
	else
		return (struct found){0};
	if (keep < n && (p[keep] == '"' || p[keep] == '\''))
		keep++;
	return (struct found){.keep = keep, .n = run_until(p + keep, n - keep, "&\"',;()<>{}\\*")};
}

static struct found
find_credential(const char *p, size_t n, char before)
{
	struct found f = {.n = secret_at(p, n)};
	size_t known;

	if (f.n > 0)
		return f;
	switch (*p) {
	case 'b':
	case 'B':
		f = find_bearer(p, n, before);
		break;
	case 's':
	case 'o':
		f = find_prefixed(p, n, before);
		break;
	case 'a':
	case 'A':
	case 'k':
	case 'K':
		f = find_parameter(p, n, before);
		break;
	default:
		return f;
	}
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
