/*
 * options: the command line of `omniroute` itself. Sub-commands (a first word that is no option)
 * never get here.
 *
 * options_parse  0 and *o, or one of enum master_exit + 1 when the program is to end at once (help,
 * version, mistakes): everything that has to be said was printed.
 */
#ifndef OMNIROUTE_MASTER_OPTIONS_H
#define OMNIROUTE_MASTER_OPTIONS_H

#include "master/conf.h"
#include "shared/base.h"

/* Exit codes of omniroute; omniroute(8) lists them. */
#define MASTER_EXITS(X) \
	X(OK, 0, "success: stopped as asked, or the test passed") \
	X(FAILED, 1, "the configuration is not valid, or the gateway could not start or run") \
	X(USAGE, 2, "the command line was not understood")

enum master_exit {
#define X(name, code, text) MASTER_EXIT_##name = code,
	MASTER_EXITS(X)
#undef X
};

struct options {
	struct conf_override over;
	bool test, dump, daemon, quiet;
};

int options_parse(int argc, char **argv, struct options *o) must_check;

#endif
