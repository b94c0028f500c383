/*
 * The text of the configuration before libConfuse sees it. libConfuse 3.3 loses count of the lines
 * at every comment and leaks when an included file is wrong, and it takes an unknown ${NAME} for an
 * empty one; so comments, include and
 * ${NAME} are dealt with here, and a table leads from a line of the whole to file and line.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "master/conf_option.h"
#include "shared/err.h"

#define TEXT_MAX (4u << 20) /* all files together */
#define DEPTH_MAX 8         /* of include */
#define NAME_MAX_LEN 64     /* of an environment variable */

struct mark {
	int from;   /* first line of the whole */
	char *file; /* in `names` */
	int line;   /* of the file */
};

struct source {
	struct buf text;
	int lines; /* LFs in text */
	struct mark *marks;
	char **files;
	unsigned nmarks, nfiles;
	char *public_file;
	const struct env *env;
	bool may_include, lenient;
};

/* Where the reader stands in one file. */
struct reader {
	struct source *s;
	const char *p, *end;
	char *file;
	int line;
	unsigned depth;
	struct buf *err;
};

static int read_file(struct source *s, const char *path, unsigned depth, struct buf *err);

static int
complain(const struct reader *r, const char *what)
{
	buf_addf(r->err, "%s:%d: %s", r->file, r->line, what);
	return E_SYNTAX;
}

static int
add_mark(struct source *s, char *file, int line)
{
	struct mark *grown = realloc(s->marks, (s->nmarks + 1) * sizeof *grown);

	if (grown == NULL)
		return E_NOMEM;
	s->marks = grown;
	s->marks[s->nmarks++] = (struct mark){.from = s->lines + 1, .file = file, .line = line};
	return 0;
}

static char *
add_file(struct source *s, const char *path)
{
	char **grown = realloc(s->files, (s->nfiles + 1) * sizeof *grown), *copy = strdup(path);

	if (grown != NULL)
		s->files = grown;
	if (grown == NULL || copy == NULL) {
		free(copy);
		return NULL;
	}
	s->files[s->nfiles++] = copy;
	return copy;
}

static int
emit(struct reader *r, char c)
{
	if (c == '\n') {
		r->line++;
		r->s->lines++;
	}
	return buf_add(&r->s->text, &c, 1);
}

/* Comments leave only their line ends behind. */
static int
skip_comment(struct reader *r)
{
	bool block = r->p[0] == '/' && r->p[1] == '*';
	int e = 0;

	if (!block) {
		while (r->p < r->end && *r->p != '\n')
			r->p++;
		return 0;
	}
	for (r->p += 2; r->p < r->end; r->p++) {
		if (*r->p == '*' && r->end - r->p > 1 && r->p[1] == '/') {
			r->p += 2;
			return emit(r, ' ');
		}
		if (*r->p == '\n' && (e = emit(r, '\n')) < 0)
			return e;
	}
	return complain(r, "a comment is not closed");
}

static bool
comment_starts(const struct reader *r)
{
	return *r->p == '#' ||
	       (*r->p == '/' && r->end - r->p > 1 && (r->p[1] == '/' || r->p[1] == '*'));
}

/* A value from the environment inside "…": nothing in it means anything to libConfuse. */
static int
emit_escaped(struct reader *r, const char *value)
{
	int e = 0;

	for (; e == 0 && *value != '\0'; value++) {
		if (*value == '\n') {
			e = buf_str(&r->s->text, "\\n");
			continue;
		}
		if (strchr("\\\"$", *value) != NULL)
			e = buf_add(&r->s->text, "\\", 1);
		if (e == 0)
			e = buf_add(&r->s->text, value, 1);
	}
	return e;
}

/* At ${NAME} or ${NAME:-otherwise}. */
static int
expand(struct reader *r)
{
	const char *close = memchr(r->p, '}', (size_t)(r->end - r->p)), *value = NULL;
	char name[NAME_MAX_LEN + 1], *otherwise;
	size_t n;

	if (close == NULL)
		return complain(r, "${ is not closed");
	n = (size_t)(close - r->p) - 2;
	if (n == 0 || n > NAME_MAX_LEN || memchr(r->p, '\n', n + 2) != NULL)
		return complain(
		    r, "${…} must hold the name of an environment variable, up to 64 bytes");
	memcpy(name, r->p + 2, n);
	name[n] = '\0';
	r->p = close + 1;
	otherwise = strstr(name, ":-");
	if (otherwise != NULL) {
		*otherwise = '\0';
		otherwise += 2;
	}
	if (r->s->env != NULL)
		value = env_get(r->s->env, name, NULL);
	if (value == NULL)
		value = otherwise;
	if (value == NULL && !r->s->lenient) {
		buf_addf(r->err,
		    "%s:%d: ${%s} is not set in the environment or .env; ${%s:-…} gives it a "
		    "default",
		    r->file, r->line, name, name);
		return E_NOT_FOUND;
	}
	return value != NULL ? emit_escaped(r, value) : 0;
}

static int
copy_string(struct reader *r)
{
	char quote = *r->p;
	int e = emit(r, *r->p++);

	while (e == 0 && r->p < r->end) {
		if (*r->p == '\\' && r->end - r->p > 1) {
			e = emit(r, *r->p++);
			if (e == 0)
				e = emit(r, *r->p++);
		} else if (quote == '"' && r->end - r->p > 1 && r->p[0] == '$' && r->p[1] == '{') {
			e = expand(r);
		} else if (*r->p == quote) {
			return emit(r, *r->p++);
		} else {
			e = emit(r, *r->p++);
		}
	}
	return e < 0 ? e : complain(r, "a string is not closed");
}

/* ---- include ---------------------------------------------------------------------------- */

static bool
word_at(const struct reader *r, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(r->end - r->p) <= n || strncmp(r->p, word, n) != 0)
		return false;
	return strchr(" \t(\"'", r->p[n]) != NULL;
}

static void
skip_blanks(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t'))
		r->p++;
}

/* The pattern of include "…" or include("…"); malloc'ed, NULL when it is not well formed. */
static char *
include_pattern(struct reader *r)
{
	const char *from, *to;
	bool bracket;
	char quote;

	r->p += strlen("include");
	skip_blanks(r);
	bracket = r->p < r->end && *r->p == '(';
	if (bracket)
		r->p++;
	skip_blanks(r);
	if (r->p >= r->end || (*r->p != '"' && *r->p != '\''))
		return NULL;
	quote = *r->p++;
	from = r->p;
	to = memchr(from, quote, (size_t)(r->end - from));
	if (to == NULL || to == from || memchr(from, '\n', (size_t)(to - from)) != NULL)
		return NULL;
	r->p = to + 1;
	skip_blanks(r);
	if (bracket && (r->p >= r->end || *r->p++ != ')'))
		return NULL;
	return strndup(from, (size_t)(to - from));
}

static char *
beside(const char *file, const char *path)
{
	const char *slash = strrchr(file, '/');
	char *dir, *full;

	if (slash == NULL)
		return path_absolute(path, NULL);
	dir = strndup(file, (size_t)(slash - file));
	full = dir != NULL ? path_absolute(path, dir) : NULL;
	free(dir);
	return full;
}

static int
include_all(struct reader *r, const char *pattern)
{
	char *full = beside(r->file, pattern);
	glob_t found = {0};
	int e = 0, g;

	if (full == NULL)
		return E_NOMEM;
	g = glob(full, 0, NULL, &found);
	/* A pattern may match nothing; a file that is named must be there. */
	if (g != 0 && (g != GLOB_NOMATCH || strpbrk(full, "*?[") == NULL)) {
		buf_addf(r->err, "%s:%d: include: %s: no such file", r->file, r->line, full);
		e = E_NOT_FOUND;
	}
	for (size_t i = 0; g == 0 && e == 0 && i < found.gl_pathc; i++)
		e = read_file(r->s, found.gl_pathv[i], r->depth + 1, r->err);
	if (g == 0)
		globfree(&found);
	free(full);
	return e < 0 ? e : add_mark(r->s, r->file, r->line);
}

static int
do_include(struct reader *r)
{
	char *pattern;
	int e;

	if (!r->s->may_include)
		return complain(r, "include is not possible here");
	if (r->depth >= DEPTH_MAX)
		return complain(r, "include: nested too deeply; does a file include itself?");
	pattern = include_pattern(r);
	if (pattern == NULL)
		return complain(
		    r, "include wants the name of a file in quotes: include \"conf.d/*.conf\"");
	e = include_all(r, pattern);
	free(pattern);
	return e;
}

/* ---- reading ---------------------------------------------------------------------------- */

static int
copy_text(struct reader *r)
{
	bool fresh = true; /* only white space since the line began */
	int e = 0;

	while (e == 0 && r->p < r->end) {
		if (*r->p == '\0')
			return complain(r, "a NUL byte");
		if (comment_starts(r)) {
			e = skip_comment(r);
		} else if (*r->p == '"' || *r->p == '\'') {
			fresh = false;
			e = copy_string(r);
		} else if (fresh && word_at(r, "include")) {
			e = do_include(r);
		} else {
			if (*r->p == '\n')
				fresh = true;
			else if (*r->p != ' ' && *r->p != '\t' && *r->p != '\r')
				fresh = false;
			e = emit(r, *r->p++);
		}
	}
	if (e == E_TOO_LONG)
		buf_addf(
		    r->err, "%s: the configuration is longer than %u bytes", r->file, TEXT_MAX);
	return e;
}

static int
add_text(struct source *s, char *file, const char *text, size_t n, unsigned depth, struct buf *err)
{
	struct reader r = {.s = s,
	    .p = text,
	    .end = text + n,
	    .file = file,
	    .line = 1,
	    .depth = depth,
	    .err = err};
	int e = add_mark(s, file, 1);

	if (e == 0)
		e = copy_text(&r);
	/* What follows begins on a line of its own. */
	return e == 0 ? emit(&r, '\n') : e;
}

static int
slurp(const char *path, struct buf *into, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r = 0;
	ssize_t n = -1;

	if (fd < 0)
		return E_SYSTEM;
	if (fstat(fd, st) == 0 && S_ISDIR(st->st_mode))
		errno = EISDIR, r = E_SYSTEM;
	while (r == 0) {
		char *room = buf_reserve(into, 16384);

		if (room == NULL)
			r = E_TOO_LONG;
		else if ((n = read(fd, room, 16384)) <= 0)
			break;
		else
			into->len += (size_t)n;
	}
	close(fd);
	return r == 0 && n < 0 ? E_SYSTEM : r;
}

static int
read_file(struct source *s, const char *path, unsigned depth, struct buf *err)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	char *file = add_file(s, path);
	struct stat st;
	int r;

	if (file == NULL)
		return E_NOMEM;
	r = slurp(path, &text, &st);
	if (r == E_SYSTEM)
		buf_addf(err, "%s: %s", path, strerror(errno));
	else if (r == E_TOO_LONG)
		buf_addf(err, "%s: the configuration is longer than %u bytes", path, TEXT_MAX);
	if (r == 0 && (st.st_mode & S_IROTH) && s->public_file == NULL)
		s->public_file = file;
	if (r == 0)
		r = add_text(s, file, text.data, text.len, depth, err);
	buf_wipe(&text);
	return r;
}

int
source_read(
    const char *file, const struct env *env, bool lenient, struct source **out, struct buf *err)
{
	struct source *s = calloc(1, sizeof *s);
	int r;

	if (s == NULL)
		return E_NOMEM;
	buf_init(&s->text, TEXT_MAX);
	s->env = env;
	s->lenient = lenient;
	s->may_include = true;
	r = read_file(s, file, 0, err);
	if (r == 0 && buf_cstr(&s->text) == NULL)
		r = E_NOMEM;
	if (r < 0) {
		source_free(s);
		return r;
	}
	*out = s;
	return 0;
}

int
source_text(const char *text, size_t n, struct source **out, struct buf *err)
{
	struct source *s = calloc(1, sizeof *s);
	char *file;
	int r = E_NOMEM;

	if (s == NULL)
		return E_NOMEM;
	buf_init(&s->text, TEXT_MAX);
	s->lenient = true;
	file = add_file(s, "text");
	if (file != NULL)
		r = add_text(s, file, text, n, 0, err);
	if (r == 0 && buf_cstr(&s->text) == NULL)
		r = E_NOMEM;
	if (r < 0) {
		source_free(s);
		return r;
	}
	*out = s;
	return 0;
}

const char *
source_cstr(const struct source *s)
{
	return s->text.data;
}

void
source_where(const struct source *s, int line, const char **file, int *line_there)
{
	const struct mark *m = s->marks;

	for (unsigned i = 0; i < s->nmarks && s->marks[i].from <= line; i++)
		m = &s->marks[i];
	*file = m->file;
	*line_there = m->line + (line - m->from);
}

bool
source_is_public(const struct source *s, const char **file)
{
	*file = s->public_file;
	return s->public_file != NULL;
}

void
source_free(struct source *s)
{
	if (s == NULL)
		return;
	for (unsigned i = 0; i < s->nfiles; i++)
		free(s->files[i]);
	free(s->files);
	free(s->marks);
	buf_wipe(&s->text);
	free(s);
}
