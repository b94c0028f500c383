/*
 * Names of tools, ids of calls, arguments (spec translation 6.3 to 6.5): pure functions of the text
 * alone, so that the same conversation reads the same in every later request, and after a restart.
 */
#include <stdio.h>
#include <string.h>

#include "proto/json.h"
#include "proto/scan.h"
#include "proto/shape_own.h"
#include "shared/digest.h"
#include "shared/err.h"

#define HASH_NAME 4u /* bytes of SHA-256 in a name: 8 hex digits */
#define HASH_ID 8u
#define ID_KEPT 40u

static bool
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_word(char c)
{
	return is_alpha(c) || is_digit(c) || c == '_' || c == '-';
}

/* ---- names ---- */

static const struct {
	const char *also; /* besides letters, digits and _ */
	size_t max;
	bool letter_first;
} name_rules[] = {
    [NAMES_64] = {"-", 64, false},
    [NAMES_128] = {"-", 128, false},
    [NAMES_GEMINI] = {"-.:", 64, true},
    [NAMES_COHERE] = {"", 256, true},
};

static bool
in_name(char c, enum profile_names rule)
{
	return is_alpha(c) || is_digit(c) || c == '_' ||
	       (c != '\0' && strchr(name_rules[rule].also, c) != NULL);
}

static bool
starts_name(char c, enum profile_names rule)
{
	return !name_rules[rule].letter_first || is_alpha(c) || c == '_';
}

static bool
name_fits(struct span name, enum profile_names rule)
{
	if (name.n == 0 || name.n > name_rules[rule].max || !starts_name(name.p[0], rule))
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (!in_name(name.p[i], rule))
			return false;
	return true;
}

struct span
shape_tool_name_cut(struct arena *a, struct span name, enum profile_names rule, bool cut)
{
	size_t max = name_rules[rule].max, n = 0;
	bool underscore = name.n > 0 && !starts_name(name.p[0], rule) && in_name(name.p[0], rule);
	uint8_t sum[SHA256_BYTES];
	char *out;

	if (!cut && name_fits(name, rule))
		return name;
	if ((out = arena_alloc(a, max + 1)) == NULL)
		return (struct span){NULL, 0};
	cut = cut || name.n == 0 || name.n + underscore > max;
	if (underscore)
		out[n++] = '_';
	for (size_t i = 0; i < name.n && n < (cut ? max - 9 : max); i++)
		out[n++] = in_name(name.p[i], rule) ? name.p[i] : '_';
	if (cut) {
		out[n++] = '_';
		digest_sha256(&name, 1, sum);
		digest_hex(sum, HASH_NAME, out + n);
		n += 2 * HASH_NAME;
	}
	return (struct span){out, n};
}

struct span
shape_tool_name(struct arena *a, struct span name, enum profile_names rule)
{
	return shape_tool_name_cut(a, name, rule, false);
}

/* ---- ids of calls ---- */

static const struct {
	bool word;  /* only letters, digits, _ and - */
	size_t max; /* 0: none */
} id_rules[] = {
    [IDS_ANY] = {false, 0},
    [IDS_64] = {false, 64},
    [IDS_WORD] = {true, 0},
    [IDS_WORD64] = {true, 64},
    [IDS_MISTRAL] = {true, 9},
    [IDS_NONE] = {false, 0},
};

bool
shape_call_id_fits(struct span id, enum profile_ids rule)
{
	if (rule == IDS_ANY || rule == IDS_NONE)
		return true;
	if (id.n == 0 || (id_rules[rule].max != 0 && id.n > id_rules[rule].max) ||
	    (rule == IDS_MISTRAL && id.n != 9))
		return false;
	for (size_t i = 0; i < id.n && id_rules[rule].word; i++)
		if (!is_word(id.p[i]) ||
		    (rule == IDS_MISTRAL && (id.p[i] == '_' || id.p[i] == '-')))
			return false;
	return true;
}

/* The nine most significant of the 43 digits. */
static void
base62(const uint8_t sum[SHA256_BYTES], char out[9])
{
	static const char digits[] =
	    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	uint8_t n[SHA256_BYTES];
	char all[43];

	memcpy(n, sum, sizeof n);
	for (size_t d = sizeof all; d-- > 0;) {
		unsigned rest = 0;

		for (size_t i = 0; i < sizeof n; i++) {
			rest = rest << 8 | n[i];
			n[i] = (uint8_t)(rest / 62);
			rest %= 62;
		}
		all[d] = digits[rest];
	}
	memcpy(out, all, 9);
}

struct span
shape_call_id(struct arena *a, struct span id, enum profile_ids rule)
{
	size_t n = MIN(id.n, ID_KEPT);
	uint8_t sum[SHA256_BYTES];
	char *out;

	if (shape_call_id_fits(id, rule))
		return id;
	if ((out = arena_alloc(a, ID_KEPT + 2 + 2 * HASH_ID)) == NULL)
		return (struct span){NULL, 0};
	digest_sha256(&id, 1, sum);
	if (rule == IDS_MISTRAL) {
		base62(sum, out);
		return (struct span){out, 9};
	}
	for (size_t i = 0; i < n; i++)
		out[i] = !id_rules[rule].word || is_word(id.p[i]) ? id.p[i] : '_';
	/* a character is never cut in two */
	while (n > 0 && n < id.n && ((unsigned char)id.p[n] & 0xc0) == 0x80 && !id_rules[rule].word)
		n--;
	out[n++] = '_';
	digest_hex(sum, HASH_ID, out + n);
	return (struct span){out, n + 2 * HASH_ID};
}

/* ---- arguments ---- */

static struct span
wrap(struct arena *a, const char *name, struct span text)
{
	/* escaped, a byte is six at most */
	struct buf b = BUF_INIT(6 * text.n + 64);
	struct jsonw w = {.b = &b};
	struct span out = {NULL, 0};
	char *p;

	jsonw_open(&w, '{');
	jsonw_name(&w, name);
	jsonw_text(&w, text);
	jsonw_close(&w, '}');
	if (buf_ok(&b) && (p = arena_strndup(a, b.data, b.len)) != NULL)
		out = (struct span){p, b.len};
	buf_clear(&b);
	return out;
}

static bool
is_object(struct span s)
{
	size_t at;

	return scan_check(s.p, s.n, &at) == 0 && scan_type(s) == 'o';
}

static struct span
trim(struct span s)
{
	while (s.n > 0 && memchr(" \t\r\n", s.p[0], 4) != NULL)
		s.p++, s.n--;
	while (s.n > 0 && memchr(" \t\r\n", s.p[s.n - 1], 4) != NULL)
		s.n--;
	return s;
}

struct span
shape_arguments_object(struct arena *a, struct span args, bool custom)
{
	struct span value = trim(args), text;
	const struct json *j;

	if (custom)
		return wrap(a, "input", args.p != NULL ? args : span_of(""));
	if (value.n == 0)
		return span_of("{}");
	if (value.p[0] == '{' && is_object(value))
		return value;
	/* written twice by weak models */
	if (value.p[0] == '"' && json_parse(a, value, &j) == 0 &&
	    (text = trim(json_text(a, j))).n > 0 && text.p[0] == '{' && is_object(text))
		return text;
	return wrap(a, "_raw", args);
}
