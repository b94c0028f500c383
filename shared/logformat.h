/*
 * logformat: access_log_format, compiled. Text with variables, $name or ${name}; "$$" is a dollar
 * sign. The variables stand in logformat.def. Pure: the master checks a format with the code that
 * the worker writes with.
 *
 * logformat_compile  0 and *f, E_NOMEM, or E_SYNTAX / E_NOT_FOUND / E_TOO_LONG with a sentence in
 *                    `why` that says where, and what is allowed.
 * logformat_free     NULL is allowed.
 * logformat_line     one line, LF included, of at most `size` bytes (at least LOGFORMAT_LINE_MIN);
 *                    its length. `value` writes a variable's text into out[size] and returns its
 *                    full length; what does not fit is cut. Empty values become "-"; control
 *                    characters, quotes, backslashes and what is not ASCII become \xXX. A line
 *                    that is too long ends in "...".
 */
#ifndef OMNIROUTE_SHARED_LOGFORMAT_H
#define OMNIROUTE_SHARED_LOGFORMAT_H

#include "shared/base.h"

#define LOGFORMAT_LINE_MIN 16
#define LOGFORMAT_VALUE_MAX 2048 /* bytes of one variable that are looked at */
#define LOGFORMAT_MAX 4096       /* of the format itself */

enum logformat_var {
#define X(name, token, help) LOGVAR_##name,
#include "shared/logformat.def"
#undef X
	LOGVAR_COUNT
};

struct logformat;

typedef size_t logformat_value(void *ctx, enum logformat_var var, char *out, size_t size);

int logformat_compile(
    const char *text, struct logformat **f, char *why, size_t why_size) must_check;
void logformat_free(struct logformat *f);
size_t logformat_line(
    const struct logformat *f, logformat_value *value, void *ctx, char *line, size_t size);

#endif
