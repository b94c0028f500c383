/*
 * The command line: global options anywhere, the words of the command, its options and arguments in
 * any order.
 * --name value, --name=value, -- ends the options.
 */
#include <stdlib.h>
#include <string.h>

#include "master/ctl/ctl.h"

#define NEAR 2      /* edits up to which a word is taken for a misspelling */
#define WORD_MAX 40 /* longer words are nobody's misspelling */

unsigned
ctl_distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned row[WORD_MAX + 1];

	if (n > WORD_MAX || m > WORD_MAX)
		return 99;
	for (size_t j = 0; j <= m; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned replace = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = MIN(replace, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[m];
}

struct guess {
	const char *word, *best;
	unsigned distance;
};

static void
guess_try(struct guess *g, const char *candidate)
{
	unsigned d = ctl_distance(g->word, candidate);

	if (d > NEAR || (g->best && d >= g->distance) || d >= strlen(g->word))
		return;
	g->best = candidate;
	g->distance = d;
}

static int
find_option(const struct ctl_option *table, const char *name, size_t n)
{
	for (int i = 0; table && table[i].name; i++)
		if (strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0)
			return i;
	return -1;
}

static int
unknown_option(const struct ctl *c, const char *option, size_t n)
{
	char word[WORD_MAX + 1] = "";
	struct guess g = {.word = word};

	if (n <= WORD_MAX)
		memcpy(word, option, n);
	for (const struct ctl_option *o = c->command ? c->command->options : NULL; o && o->name;
	     o++)
		if (!o->refuse)
			guess_try(&g, o->name);
	for (const struct ctl_option *o = ctl_globals; o->name; o++)
		guess_try(&g, o->name);
	return ctl_fail(c, CTL_USAGE, "there is no option --%.*s%s%s%s%s",
	    (int)MIN(n, (size_t)WORD_MAX), option, c->command ? "" : " before the command",
	    g.best ? "; did you mean --" : "", g.best ? g.best : "", g.best ? "?" : "");
}

/* The value of an option: behind '=', else the next word. */
static int
take_value(const struct ctl *c, const struct ctl_option *o, const char *equals, char ***next,
    const char **value)
{
	if (!o->arg && equals)
		return ctl_fail(c, CTL_USAGE, "--%s takes no value", o->name);
	if (!o->arg)
		*value = "";
	else if (equals)
		*value = equals + 1;
	else if (**next)
		*value = *(*next)++;
	else
		return ctl_fail(c, CTL_USAGE, "--%s needs a value: %s", o->name, o->arg);
	return CTL_OK;
}

static int
set_global(struct ctl *c, int i, const char *value)
{
	const char *name = ctl_globals[i].name;

	if (strcmp(name, "data-dir") == 0)
		c->data_dir = value;
	else if (strcmp(name, "socket") == 0)
		c->socket = value;
	else if (strcmp(name, "json") == 0)
		c->json = true;
	else if (strcmp(name, "help") == 0)
		c->want_help = true;
	else
		c->want_version = true;
	return CTL_OK;
}

static int
take_option(struct ctl *c, const char *word, char ***next)
{
	const char *name = word + 2, *equals = strchr(name, '='), *value = NULL;
	size_t n = equals ? (size_t)(equals - name) : strlen(name);
	int own = c->command ? find_option(c->command->options, name, n) : -1;
	int global = own < 0 ? find_option(ctl_globals, name, n) : -1;
	const struct ctl_option *o;
	int r;

	if (own < 0 && global < 0)
		return unknown_option(c, name, n);
	o = own >= 0 ? &c->command->options[own] : &ctl_globals[global];
	if (o->refuse)
		return ctl_fail(c, CTL_USAGE, "--%s: %s", o->name, o->refuse);
	r = take_value(c, o, equals, next, &value);
	if (r != CTL_OK)
		return r;
	if (own < 0)
		return set_global(c, global, value);
	if (c->value[own])
		return ctl_fail(c, CTL_USAGE, "--%s is given twice", o->name);
	c->value[own] = value;
	return CTL_OK;
}

static int
unknown_word(const struct ctl *c, const struct ctl_command *commands, const char *word)
{
	struct guess g = {.word = word};

	for (const struct ctl_command *k = commands; k->group; k++)
		if (!c->group)
			guess_try(&g, k->group);
		else if (strcmp(k->group, c->group) == 0)
			guess_try(&g, k->verb);
	return ctl_fail(c, CTL_USAGE,
	    "there is no command %s%s%.40s%s%s%s; omniroute-ctl%s%s --help lists them",
	    c->group ? c->group : "", c->group ? " " : "", word, g.best ? "; did you mean " : "",
	    g.best ? g.best : "", g.best ? "?" : "", c->group ? " " : "", c->group ? c->group : "");
}

static int
take_word(struct ctl *c, const struct ctl_command *commands, const char *word)
{
	const char *group = ctl_group_alias(word);

	if (c->command) {
		if (c->nargs >= c->command->max_args)
			return ctl_fail(c, CTL_USAGE, "one argument too many: %.60s", word);
		c->arg[c->nargs++] = word;
		return CTL_OK;
	}
	for (const struct ctl_command *k = commands; k->group; k++) {
		if (!c->group && strcmp(k->group, group) == 0) {
			c->group = k->group;
			c->command = k->verb ? NULL : k;
			return CTL_OK;
		}
		if (c->group && strcmp(k->group, c->group) == 0 && strcmp(k->verb, word) == 0) {
			c->command = k;
			return CTL_OK;
		}
	}
	return unknown_word(c, commands, word);
}

static const char *
short_option(const char *word)
{
	if (strcmp(word, "-h") == 0)
		return "--help";
	return strcmp(word, "-V") == 0 || strcmp(word, "-v") == 0 ? "--version" : word;
}

/* Whether the whole of it makes a command. */
static int
check_complete(const struct ctl *c)
{
	if (c->want_help || c->want_version)
		return CTL_OK;
	if (!c->group)
		return ctl_fail(c, CTL_USAGE, "which command? omniroute-ctl --help lists them");
	if (!c->command)
		return ctl_fail(c, CTL_USAGE, "%s what? omniroute-ctl %s --help lists the commands",
		    c->group, c->group);
	if (c->nargs < c->command->min_args)
		return ctl_fail(c, CTL_USAGE, "%s %s needs an argument: %s", c->group,
		    c->command->verb ? c->command->verb : "", c->command->args);
	return CTL_OK;
}

int
ctl_parse(struct ctl *c, const struct ctl_command *commands, int argc, char **argv)
{
	char **next = argv + (argc > 0);
	bool options = true;
	int r = CTL_OK;

	for (char **a = next; *a && strcmp(*a, "--") != 0; a++)
		if (strcmp(*a, "--json") == 0)
			c->json = true; /* before the first error that could be found */
	while (r == CTL_OK && *next) {
		const char *word = *next++;

		if (options && strcmp(word, "--") == 0)
			options = false;
		else if (options && strncmp(short_option(word), "--", 2) == 0)
			r = take_option(c, short_option(word), &next);
		else if (options && word[0] == '-' && word[1])
			r = ctl_fail(c, CTL_USAGE, "there is no option %.40s", word);
		else
			r = take_word(c, commands, word);
	}
	return r == CTL_OK ? check_complete(c) : r;
}

const char *
ctl_value(const struct ctl *c, const char *option)
{
	int i = find_option(c->command->options, option, strlen(option));

	return i < 0 ? NULL : c->value[i];
}

bool
ctl_flag(const struct ctl *c, const char *option)
{
	return ctl_value(c, option) != NULL;
}
