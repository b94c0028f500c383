/*
 * conf_option: the parts of conf among themselves: the table of options, the environment, the text of the files.
 *
 * option_find      by name; NULL.
 * option_set       checks `text` against the row and stores it in `c`. On error `why` gets `value "…" …; allowed: …`. 0,
 *                  E_RANGE, E_NOMEM.
 * option_defaults  every option at its default. 0 or E_NOMEM.
 * option_free      the strings of all options.
 * option_nearest   of `n` names that `name_of` yields the one that looks most like `name`; NULL: none does.
 * number_parse     a whole number; `unit` "ms" also takes the suffixes ms s m h d, "bytes" k m g. 0 or E_RANGE.
 * bool_parse       true false, yes no, on off, 1 0. -1: none of them.
 *
 * env_load         remembers the lines of <data_dir>/.env that the environment does not set; no such file is no error.
 * env_get          the environment first, then .env; NULL when not set or empty. *origin (may be NULL): where it stands.
 *
 * source_read      the text of `file` and what it includes, without comments, ${NAME} replaced. A name that is not set is
 *                  an error unless `lenient`. 0 or an error with a message in `err`.
 * source_text      the same of a text in memory, which cannot include.
 * source_where     file and line of a line of the text.
 */
#ifndef OMNIROUTE_MASTER_CONF_OPTION_H
#define OMNIROUTE_MASTER_CONF_OPTION_H

#include "master/conf.h"

enum option_kind { OPTION_INT, OPTION_STR, OPTION_ENUM };

struct option {
	const char *name;
	enum option_kind kind;
	size_t offset; /* in struct conf */
	int64_t def, min, max;
	const char *text;   /* default of a string or enumeration */
	const char *unit;   /* "ms", "bytes", "" */
	const char *values; /* "a|b|c" */
	enum conf_change apply;
	const char *env;
};

extern const struct option options[];
extern const unsigned noptions;

const struct option *option_find(const char *name);
int option_set(const struct option *o, struct conf *c, const char *text, struct buf *why) must_check;
int option_defaults(struct conf *c) must_check;
void option_free(struct conf *c);
/* What a path of the file means: "~/" is the home directory, a relative one stands behind `dir`. */
int option_paths(struct conf *c, const char *dir) must_check;
const char *option_nearest(const char *name, const char *(*name_of)(const void *ctx, unsigned i), const void *ctx, unsigned n);
char *path_absolute(const char *path, const char *dir) must_check;
int number_parse(const char *text, const char *unit, int64_t min, int64_t max, int64_t *out) must_check;
int bool_parse(const char *text);

/* Takes ownership of `fresh` and wipes what was there. */
void secret_set(char **slot, char *fresh);
void secret_free(char *secret);
/* The first line of a file of at most 64 KiB, without the spaces at its ends; warns when others may read it. */
int secret_read(const char *path, char **out, struct buf *err) must_check;

struct env;
struct env *env_new(void) must_check;
void env_free(struct env *e); /* wipes */
int env_load(struct env *e, const char *data_dir, struct buf *err) must_check;
const char *env_get(const struct env *e, const char *name, const char **origin);

/* Options that the environment sets, over those of the file. */
int env_apply(struct conf *c, const struct env *e, struct buf *err) must_check;

struct source;
int source_read(const char *file, const struct env *env, bool lenient, struct source **out, struct buf *err)
    must_check;
int source_text(const char *text, size_t n, struct source **out, struct buf *err) must_check;
const char *source_cstr(const struct source *s);
void source_where(const struct source *s, int line, const char **file, int *line_there);
bool source_is_public(const struct source *s, const char **file); /* a file that anybody may read */
void source_free(struct source *s); /* wipes */

/*
 * Parses into `c`, which holds the defaults, and applies the environment. `quick`: only data_dir is wanted, no secret is fetched and nothing is checked
 * that lies outside of the text.
 */
int conf_parse(const struct source *s, const struct env *env, struct conf *c, bool quick, struct buf *err) must_check;

/* The members of sections. `set` stores a checked value in the section's row; `why` as for option_set. */
#define MEMBERS_MAX 24
#define LIST_MAX 4096 /* sections of one kind, values of one list */
struct member_from {
	const char *file; /* relative paths stand behind its folder */
	const struct env *env;
};
struct member {
	const char *section, *name;
	int (*set)(void *row, const char *value, const struct member_from *from, struct buf *why);
	bool list;
};
extern const struct member members[];
extern const unsigned nmembers;

/* Room for one more in `*list` (a pointer to the array), zeroed; NULL at LIST_MAX or out of memory. */
void *list_append(void *list, unsigned *n, size_t size) must_check;

/* Sections, once complete. `err` gets what is wrong, without the place. */
int listen_check(struct conf_listen *l, struct buf *err) must_check;
int listen_split(const char *name, char host[64], int *port) must_check; /* "[::1]:80"; host without brackets */
int connection_complete(const struct conf *c, const struct conf_connection *n, struct buf *err) must_check;
int key_complete(const struct conf_key *k, struct buf *err) must_check;
int net_parse(const char *text, struct conf_net *out) must_check;

#endif
