/*
 * ctl: omniroute-ctl, the operator's program. A thin face of the control protocol: command line in,
 * one or a few methods of the master called, table or JSON out.
 *
 *   main.c      where the master is, and the hand-over to a command      parse.c   command line, by
 * the table command.c   the table of commands                                    help.c    --help,
 * made of the table call.c      calling a method, errors, exit codes                     table.c
 * aligned columns, times, sizes secret.c    where a provider's key is read from <noun>.c  the
 * commands
 *
 * A command returns an exit code of exit.def. With --json exactly one JSON document goes to
 * standard output; on failure it is {"error":{"code","message"}}. Messages go to standard error.
 */
#ifndef OMNIROUTE_MASTER_CTL_CTL_H
#define OMNIROUTE_MASTER_CTL_CTL_H

#include <jansson.h>
#include <limits.h>
#include <stdio.h>

#include "shared/base.h"

enum ctl_exit {
#define X(name, code, meaning) CTL_##name = (code),
#include "master/ctl/exit.def"
#undef X
};

#define CTL_OPTIONS_MAX 16
#define CTL_ARGS_MAX 4

struct ctl;

/* A table of options ends with name NULL. */
struct ctl_option {
	const char *name; /* without the dashes */
	const char *arg;  /* what stands for its value in the help; NULL: a flag */
	const char *help;
	const char
	    *refuse; /* not NULL: the option does not exist, and this says what to do instead */
};

struct ctl_command {
	const char *group, *verb; /* verb NULL: the group is the command */
	const char *args;         /* for the help */
	unsigned min_args, max_args;
	const struct ctl_option *options;
	int (*run)(struct ctl *c);
	const char *help; /* one line */
	const char *more; /* further lines for its own --help, NULL: none */
};

struct ctl {
	const char *data_dir, *socket;
	bool json, want_help, want_version;
	const char *group; /* as found in the table */
	const struct ctl_command *command;
	const char *arg[CTL_ARGS_MAX];
	unsigned nargs;
	const char *
	    value[CTL_OPTIONS_MAX]; /* of command->options, in order; "" for a flag that is there */
	char path[PATH_MAX];        /* of the socket */
};

/* command.c */
extern const struct ctl_command ctl_commands[];
extern const struct ctl_option ctl_globals[];
const char *ctl_group_alias(const char *word); /* key: keys */

/* parse.c: fills *c from argv; CTL_OK, or CTL_USAGE after the message. `commands` ends with group
 * NULL. */
int ctl_parse(struct ctl *c, const struct ctl_command *commands, int argc, char **argv);
const char *ctl_value(const struct ctl *c, const char *option); /* NULL: not given */
bool ctl_flag(const struct ctl *c, const char *option);
unsigned ctl_distance(const char *a, const char *b); /* edits between two words; at most 99 */

/* help.c */
void ctl_help(const struct ctl *c, const struct ctl_command *commands, FILE *out);

/* call.c */
int ctl_fail(const struct ctl *c, enum ctl_exit code, const char *fmt, ...) printf_like(3, 4);
/* Calls a method; steals params (NULL: none). CTL_OK and *result (the caller's), or the message is
 * out and its code returned. */
int ctl_call(
    const struct ctl *c, const char *method, json_t *params, int timeout_ms, json_t **result);
/* Does not say anything when nobody answers: CTL_NOT_RUNNING. */
int ctl_try(
    const struct ctl *c, const char *method, json_t *params, int timeout_ms, json_t **result);
void ctl_print_json(const json_t *o);
const char *ctl_str(const json_t *o, const char *member); /* "" when it is not a string */
json_int_t ctl_int(const json_t *o, const char *member);
bool ctl_bool(const json_t *o, const char *member);
#define CTL_TIMEOUT_MS 30000

/* table.c */
struct ctl_table;
/* `heads`: separated by '|'; a head that begins with '>' is a column of numbers, with '~' one that
 * may be cut on a narrow terminal. */
struct ctl_table *ctl_table_new(const char *heads);
void ctl_table_cell(struct ctl_table *t, const char *fmt, ...)
    printf_like(2, 3);                                                /* row after row */
void ctl_table_print(struct ctl_table *t, FILE *out, unsigned width); /* 0: never cut; frees */
unsigned ctl_width(void); /* of the terminal; 0: not a terminal */
char *ctl_span_text(char *out, size_t size, uint64_t seconds); /* 3d 4h, 5m 12s */
char *ctl_size_text(char *out, size_t size, uint64_t kb);      /* 12.3 MB */
char *ctl_clean(char *s); /* control characters become '?', in place */

/* when.c: 45s, 90m, 12h, 30d, 2w in seconds; false: not a span. A time: a span ago, 2026-01-31,
 * 2026-01-31T12:00:00Z. */
bool ctl_parse_span(const char *text, int64_t *seconds);
bool ctl_parse_time(const char *text, int64_t now_s, int64_t *wall_s);
bool ctl_parse_number(const char *text, int64_t min, int64_t max, int64_t *out);

/* secret.c: CTL_OK and *secret (NULL: none of the options was given), from --key-stdin, --key-file
 * or --key-env. */
int ctl_read_secret(const struct ctl *c, char **secret);
int ctl_ask_secret(
    const struct ctl *c, const char *prompt, char **secret); /* from the terminal, without echo */
void ctl_free_secret(char *secret);

/*
 * connections.c, for nodes.c: options of the command line into parameters; a table of connections
 * (borrowed rows); a change that is called for, told and perhaps tested (steals params). Each an
 * exit code.
 */
int ctl_connection_options(const struct ctl *c, json_t *params);
int ctl_connection_secret(const struct ctl *c, json_t *params);
void ctl_connection_table(const json_t *rows);
int ctl_connection_change(
    const struct ctl *c, const char *method, json_t *params, const char *done);
int ctl_connection_removed(const struct ctl *c, const char *what, const json_t *o);

/* commands */
int ctl_run_status(struct ctl *c);
int ctl_run_reload(struct ctl *c);
int ctl_run_reopen(struct ctl *c);
int ctl_run_stop(struct ctl *c);
int ctl_run_quit(struct ctl *c);
int ctl_run_upgrade(struct ctl *c);
int ctl_run_methods(struct ctl *c);
int ctl_run_connections_add(struct ctl *c);
int ctl_run_connections_list(struct ctl *c);
int ctl_run_connections_show(struct ctl *c);
int ctl_run_connections_update(struct ctl *c);
int ctl_run_connections_remove(struct ctl *c);
int ctl_run_connections_enable(struct ctl *c);
int ctl_run_connections_disable(struct ctl *c);
int ctl_run_connections_test(struct ctl *c);
int ctl_run_nodes_add(struct ctl *c);
int ctl_run_nodes_list(struct ctl *c);
int ctl_run_nodes_remove(struct ctl *c);
int ctl_run_keys_add(struct ctl *c);
int ctl_run_keys_list(struct ctl *c);
int ctl_run_keys_remove(struct ctl *c);
int ctl_run_providers_available(struct ctl *c);
int ctl_run_models(struct ctl *c);
int ctl_run_usage(struct ctl *c);

#endif
