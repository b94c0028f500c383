/*
 * The environment, and the file .env in the data directory for what it does not set. The process's
 * own environment is never changed: threads of the resolver read it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/conf_option.h"
#include "shared/err.h"
#include "shared/log.h"

#define FILE_MAX (64 * 1024)
#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

struct entry {
	char *name, *value, *origin;
};

struct env {
	struct entry *list;
	unsigned n, room;
};

struct env *
env_new(void)
{
	return calloc(1, sizeof(struct env));
}

void
env_free(struct env *e)
{
	if (e == NULL)
		return;
	for (unsigned i = 0; i < e->n; i++) {
		free(e->list[i].name);
		free(e->list[i].origin);
		secret_free(e->list[i].value);
	}
	free(e->list);
	free(e);
}

const char *
env_get(const struct env *e, const char *name, const char **origin)
{
	const char *value = getenv(name);

	if (origin != NULL)
		*origin = "environment";
	if (value != NULL)
		return *value != '\0' ? value : NULL;
	for (unsigned i = e->n; i-- > 0;) /* the last line of a name counts */
		if (strcmp(e->list[i].name, name) == 0) {
			if (origin != NULL)
				*origin = e->list[i].origin;
			return *e->list[i].value != '\0' ? e->list[i].value : NULL;
		}
	return NULL;
}

static int
env_put(struct env *e, const char *name, const char *value, const char *file, unsigned line)
{
	struct entry *at;

	if (e->n == e->room) {
		unsigned room = e->room * 2 + 16;
		struct entry *grown = realloc(e->list, room * sizeof *grown);

		if (grown == NULL)
			return E_NOMEM;
		e->list = grown;
		e->room = room;
	}
	at = &e->list[e->n++];
	*at = (struct entry){.name = strdup(name), .value = strdup(value)};
	if (asprintf(&at->origin, "%s:%u", file, line) < 0)
		at->origin = NULL;
	return at->name != NULL && at->value != NULL && at->origin != NULL ? 0 : E_NOMEM;
}

static char *
trim(char *p)
{
	size_t n;

	p += strspn(p, " \t");
	for (n = strlen(p); n > 0 && strchr(" \t\r", p[n - 1]) != NULL; n--)
		p[n - 1] = '\0';
	return p;
}

/*
 * The value of a line, in place: quoted ("…" knows \n \" \\ \$, '…' nothing) or bare up to " #".
 * NULL: a quote is missing.
 */
static char *
value_of(char *p)
{
	char quote = *p, *from, *to;

	if (quote != '"' && quote != '\'') {
		for (char *hash = p; (hash = strchr(hash, '#')) != NULL; hash++)
			if (hash > p && (hash[-1] == ' ' || hash[-1] == '\t')) {
				*hash = '\0';
				break;
			}
		return trim(p);
	}
	for (from = to = p + 1; *from != quote; from++, to++) {
		if (quote == '"' && *from == '\\' && from[1] != '\0') {
			from++;
			*to = *from == 'n' ? '\n' : *from;
		} else if (*from == '\0') {
			return NULL;
		} else {
			*to = *from;
		}
	}
	from = from + 1 + strspn(from + 1, " \t");
	if (*from != '\0' && *from != '#')
		return NULL;
	*to = '\0';
	return p + 1;
}

static int
take_line(struct env *e, char *line, const char *file, unsigned number, struct buf *err)
{
	char *p = trim(line), *equals, *name, *value;

	if (*p == '\0' || *p == '#')
		return 0;
	if (strncmp(p, "export ", 7) == 0)
		p = trim(p + 7);
	equals = strchr(p, '=');
	if (equals != NULL)
		*equals = '\0';
	name = trim(p);
	if (equals == NULL || *name == '\0' || strspn(name, NAME_CHARS) != strlen(name)) {
		buf_addf(err, "%s:%u: this is no NAME=value line", file, number);
		return E_SYNTAX;
	}
	value = value_of(trim(equals + 1));
	if (value == NULL) {
		buf_addf(
		    err, "%s:%u: %s: the quotes of the value do not match", file, number, name);
		return E_SYNTAX;
	}
	return env_put(e, name, value, file, number);
}

static int
take_text(struct env *e, char *text, const char *file, struct buf *err)
{
	unsigned number = 1;
	int r = 0;

	for (char *line = text, *next; r == 0 && line != NULL; line = next, number++) {
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		r = take_line(e, line, file, number, err);
	}
	return r;
}

int
env_load(struct env *e, const char *data_dir, struct buf *err)
{
	char *text = NULL, *file = NULL;
	struct stat st;
	ssize_t n = 0;
	int fd, r = 0;

	if (asprintf(&file, "%s/.env", data_dir) < 0)
		return E_NOMEM;
	fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		goto out;
	text = malloc(FILE_MAX + 1);
	if (fd < 0 || text == NULL || fstat(fd, &st) != 0 ||
	    (n = read(fd, text, FILE_MAX + 1)) < 0) {
		buf_addf(err, "%s cannot be read: %s", file, strerror(errno));
		r = E_SYSTEM;
		goto out;
	}
	if (n > FILE_MAX) {
		buf_addf(err, "%s is longer than %d bytes", file, FILE_MAX);
		r = E_TOO_LONG;
		goto out;
	}
	if (st.st_mode & S_IROTH)
		log_warn("%s may be read by everybody; chmod o-r helps", file);
	text[n] = '\0';
	r = take_text(e, text, file, err);
out:
	if (fd >= 0)
		close(fd);
	if (text != NULL)
		explicit_bzero(text, (size_t)MAX(n, 0));
	free(text);
	free(file);
	return r;
}
