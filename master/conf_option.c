/* The scalar options: one row each, made from options.def, and what their values may look like. */
#include "master/conf_option.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/err.h"
#include "shared/log.h"
#include "shared/logformat.h"

#define HOT CONF_HOT
#define ROLL CONF_ROLL
#define START CONF_START

const struct option options[] = {
#define O_INT(n, d, lo, hi, u, a, e, h) \
	{.name = #n, \
	    .kind = OPTION_INT, \
	    .offset = offsetof(struct conf, n), \
	    .def = d, \
	    .min = lo, \
	    .max = hi, \
	    .unit = u, \
	    .apply = a, \
	    .env = e},
#define O_STR(n, d, a, e, h) \
	{.name = #n, \
	    .kind = OPTION_STR, \
	    .offset = offsetof(struct conf, n), \
	    .text = d, \
	    .apply = a, \
	    .env = e},
#define O_ENUM(n, d, v, a, e, h) \
	{.name = #n, \
	    .kind = OPTION_ENUM, \
	    .offset = offsetof(struct conf, n), \
	    .text = d, \
	    .values = v, \
	    .apply = a, \
	    .env = e},
#include "shared/options.def"
#undef O_INT
#undef O_STR
#undef O_ENUM
};
const unsigned noptions = NELEM(options);

static const char *const path_options[] = {
    "access_log", "data_dir", "log_file", "pid_file", "upstream_ca_file"};

/* ---- numbers and words ------------------------------------------------------------------ */

static const struct {
	const char *unit, *suffix;
	int64_t factor;
} suffixes[] = {
    {"ms", "ms", 1},
    {"ms", "s", 1000},
    {"ms", "m", 60000},
    {"ms", "h", 3600000},
    {"ms", "d", 86400000},
    {"bytes", "k", 1024},
    {"bytes", "m", 1048576},
    {"bytes", "g", 1073741824},
};

/* 0: no such suffix. */
static int64_t
factor_of(const char *unit, const char *suffix)
{
	if (*suffix == '\0')
		return 1;
	for (size_t i = 0; i < NELEM(suffixes); i++)
		if (strcmp(suffixes[i].unit, unit) == 0 &&
		    strcasecmp(suffixes[i].suffix, suffix) == 0)
			return suffixes[i].factor;
	return 0;
}

int
number_parse(const char *text, const char *unit, int64_t min, int64_t max, int64_t *out)
{
	long long n;
	int64_t factor;
	char *end;

	/* strtoll would also take spaces and a plus sign. */
	if (text[0] == '\0' || strspn(text, "0123456789") == 0)
		return E_RANGE;
	errno = 0;
	n = strtoll(text, &end, 10);
	factor = factor_of(unit, end);
	if (errno != 0 || factor == 0 || n > max / factor)
		return E_RANGE;
	if (n * factor < min)
		return E_RANGE;
	*out = n * factor;
	return 0;
}

int
bool_parse(const char *text)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

	for (size_t i = 0; i < NELEM(words); i++)
		if (strcasecmp(text, words[i]) == 0)
			return i % 2;
	return -1;
}

/* Index of `text` in "a|b|c", any case; -1. A boolean may be spelled otherwise. */
static int
enum_parse(const char *values, const char *text)
{
	int at = 0, flag;
	size_t n;

	for (const char *v = values; *v != '\0'; at++, v += n + (v[n] == '|')) {
		n = strcspn(v, "|");
		if (strlen(text) == n && strncasecmp(v, text, n) == 0)
			return at;
	}
	flag = bool_parse(text);
	if (flag < 0 || strstr(values, "false|true") == NULL)
		return -1;
	return enum_parse(values, flag ? "true" : "false");
}

/* Levenshtein distance of two short words. */
static unsigned
distance(const char *a, const char *b)
{
	unsigned row[65], n = (unsigned)strlen(b);

	if (n >= NELEM(row))
		return UINT32_MAX;
	for (unsigned j = 0; j <= n; j++)
		row[j] = j;
	for (unsigned i = 0; a[i] != '\0'; i++) {
		unsigned diagonal = row[0];

		row[0] = i + 1;
		for (unsigned j = 0; j < n; j++) {
			unsigned change = diagonal + (a[i] != b[j]);

			diagonal = row[j + 1];
			row[j + 1] = MIN(change, MIN(diagonal, row[j]) + 1);
		}
	}
	return row[n];
}

const char *
option_nearest(const char *name, const char *(*name_of)(const void *ctx, unsigned i),
    const void *ctx, unsigned n)
{
	const char *best = NULL;
	unsigned least = 1 + (unsigned)MIN(strlen(name), 64) / 3 + 1;

	if (strlen(name) > 64)
		return NULL;
	for (unsigned i = 0; i < n; i++) {
		unsigned d = distance(name, name_of(ctx, i));

		if (d < least) {
			least = d;
			best = name_of(ctx, i);
		}
	}
	return best;
}

/* ---- the table -------------------------------------------------------------------------- */

static char **
string_at(struct conf *c, const struct option *o)
{
	return (char **)(void *)((char *)c + o->offset);
}

const struct option *
option_find(const char *name)
{
	for (unsigned i = 0; i < noptions; i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

/* The workers write with the code that checks here. */
static int
format_check(const char *text, struct buf *why)
{
	char reason[512];
	struct logformat *f;
	int r = logformat_compile(text, &f, reason, sizeof reason);

	if (r == 0)
		logformat_free(f);
	else
		buf_addf(why, "value \"%.100s\": %s", text, reason);
	return r == 0 || r == E_NOMEM ? r : E_RANGE;
}

static int
set_string(const struct option *o, struct conf *c, const char *text, struct buf *why)
{
	char *copy;
	int r;

	for (const char *p = text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f) {
			buf_addf(why, "value holds a control character; allowed: one line of text");
			return E_RANGE;
		}
	if (o->offset == offsetof(struct conf, access_log_format) &&
	    (r = format_check(text, why)) != 0)
		return r;
	copy = strdup(text);
	if (copy == NULL)
		return E_NOMEM;
	free(*string_at(c, o));
	*string_at(c, o) = copy;
	return 0;
}

static const char *
suffix_hint(const char *unit)
{
	if (strcmp(unit, "ms") == 0)
		return " ms (or with ms, s, m, h, d behind the number)";
	if (strcmp(unit, "bytes") == 0)
		return " bytes (or with k, m, g behind the number)";
	return "";
}

static int
set_number(const struct option *o, struct conf *c, const char *text, struct buf *why)
{
	int64_t n;

	if (number_parse(text, o->unit, o->min, o->max, &n) == 0) {
		memcpy((char *)c + o->offset, &n, sizeof n);
		return 0;
	}
	buf_addf(why, "value \"%.100s\" is not allowed; allowed: %lld to %lld%s", text,
	    (long long)o->min, (long long)o->max, suffix_hint(o->unit));
	return E_RANGE;
}

static int
set_enum(const struct option *o, struct conf *c, const char *text, struct buf *why)
{
	int n = enum_parse(o->values, text);

	if (n >= 0) {
		memcpy((char *)c + o->offset, &n, sizeof n);
		return 0;
	}
	buf_addf(why, "value \"%.100s\" is not allowed; allowed: ", text);
	for (const char *v = o->values; *v != '\0'; v++)
		buf_add(why, *v == '|' ? ", " : v, *v == '|' ? 2 : 1);
	return E_RANGE;
}

int
option_set(const struct option *o, struct conf *c, const char *text, struct buf *why)
{
	switch (o->kind) {
	case OPTION_INT:
		return set_number(o, c, text, why);
	case OPTION_ENUM:
		return set_enum(o, c, text, why);
	case OPTION_STR:
		return set_string(o, c, text, why);
	}
	bug("option %s: kind %d", o->name, (int)o->kind);
}

int
option_defaults(struct conf *c)
{
	struct buf why = BUF_INIT(1024);
	int r = 0;

	for (unsigned i = 0; r == 0 && i < noptions; i++) {
		const struct option *o = &options[i];

		if (o->kind == OPTION_INT)
			memcpy((char *)c + o->offset, &o->def, sizeof o->def);
		else
			r = option_set(o, c, o->text, &why);
		if (r == E_RANGE)
			bug("the default of %s is not allowed", o->name);
	}
	buf_clear(&why);
	return r;
}

void
option_free(struct conf *c)
{
	for (unsigned i = 0; i < noptions; i++)
		if (options[i].kind == OPTION_STR) {
			free(*string_at(c, &options[i]));
			*string_at(c, &options[i]) = NULL;
		}
}

/* ---- paths and secrets ------------------------------------------------------------------ */

static const char *
home(void)
{
	const char *h = getenv("HOME");
	const struct passwd *pw;

	if (h != NULL && h[0] == '/')
		return h;
	pw = getpwuid(getuid());
	return pw != NULL && pw->pw_dir != NULL && pw->pw_dir[0] == '/' ? pw->pw_dir : "/";
}

char *
path_absolute(const char *path, const char *dir)
{
	char *out = NULL;
	int n;

	if (path[0] == '~' && (path[1] == '/' || path[1] == '\0'))
		n = asprintf(&out, "%s%s", home(), path + 1);
	else if (path[0] == '/' || dir == NULL)
		n = asprintf(&out, "%s", path);
	else
		n = asprintf(&out, "%s/%s", dir, path);
	return n < 0 ? NULL : out;
}

int
option_paths(struct conf *c, const char *dir)
{
	for (size_t i = 0; i < NELEM(path_options); i++) {
		char **slot = string_at(c, option_find(path_options[i])), *full;

		if (**slot == '\0' || strcmp(*slot, "stderr") == 0)
			continue;
		full = path_absolute(*slot, dir);
		if (full == NULL)
			return E_NOMEM;
		free(*slot);
		*slot = full;
	}
	return 0;
}

void
secret_free(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void
secret_set(char **slot, char *fresh)
{
	secret_free(*slot);
	*slot = fresh;
}

int
secret_read(const char *path, char **out, struct buf *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char text[65537];
	struct stat st;
	ssize_t n = -1;
	char *p = text;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		errno = EISDIR;
	else if (fd >= 0)
		n = read(fd, text, sizeof text - 1);
	if (n < 0) {
		buf_addf(err, "%s cannot be read: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return E_SYSTEM;
	}
	close(fd);
	if (st.st_mode & S_IROTH)
		log_warn("%s holds a secret and may be read by everybody; chmod o-r helps", path);
	text[n] = '\0';
	p += strspn(p, " \t\r\n");
	p[strcspn(p, "\r\n")] = '\0';
	for (size_t len = strlen(p); len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t'); len--)
		p[len - 1] = '\0';
	*out = strdup(p);
	explicit_bzero(text, sizeof text);
	return *out != NULL ? 0 : E_NOMEM;
}

/* ---- lists ------------------------------------------------------------------------------ */

void *
list_append(void *list, unsigned *n, size_t size)
{
	char *grown = *n < LIST_MAX ? realloc(*(void **)list, (*n + 1) * size) : NULL;

	if (grown == NULL)
		return NULL;
	memset(grown + *n * size, 0, size);
	*(void **)list = grown;
	return grown + (*n)++ * size;
}
