/*
 * main: one program, three roles. As "omniroute: worker" (only a master starts it so) it is a
 * worker, with a first word that is no option it becomes omniroute-ctl, else it is a master.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "master/options.h"
#include "master/spawn.h"
#include "master/start.h"
#include "shared/channel.h"

static bool
number_parse(const char *text, uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno == 0 && end != text && *end == '\0' && text[0] != '-' && *out <= max;
}

static int
worker_role(int argc, char **argv)
{
	struct worker_args args = {0};
	uint64_t slot = UINT64_MAX, listeners = UINT64_MAX, generation = 0;
	const struct {
		const char *name;
		uint64_t max, *value;
	} table[] = {
	    {"--slot", UINT_MAX, &slot},
	    {"--generation", UINT64_MAX, &generation},
	    {"--listeners", UINT_MAX, &listeners},
	};

	prctl(PR_SET_NAME, "omniroute"); /* it would be a descriptor's number */
	for (int i = 1; i + 1 < argc; i += 2)
		for (size_t k = 0; k < NELEM(table); k++)
			if (strcmp(argv[i], table[k].name) == 0 &&
			    !number_parse(argv[i + 1], table[k].max, table[k].value))
				return WORKER_EXIT_NO_RETRY;
	if (slot > UINT_MAX || listeners > UINT_MAX || generation == 0)
		return WORKER_EXIT_NO_RETRY;
	args.slot = (unsigned)slot;
	args.listeners = (unsigned)listeners;
	args.generation = generation;
	return worker_main(&args);
}

/* omniroute-ctl beside us, else the one in PATH. */
static int
ctl_role(char **argv)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path);
	char *slash;

	if (n > 0 && (size_t)n < sizeof path) {
		path[n] = '\0';
		if ((slash = strrchr(path, '/')) != NULL &&
		    (size_t)(slash + 1 - path) + sizeof "omniroute-ctl" <= sizeof path) {
			memcpy(slash + 1, "omniroute-ctl", sizeof "omniroute-ctl");
			argv[0] = path;
			execv(path, argv);
		}
	}
	argv[0] = "omniroute-ctl";
	execvp(argv[0], argv);
	fprintf(stderr, "omniroute: cannot run omniroute-ctl: %s\n", strerror(errno));
	return MASTER_EXIT_FAILED;
}

int
main(int argc, char **argv)
{
	struct options options;
	int r;

	if (argc > 0 && strcmp(argv[0], SPAWN_ROLE) == 0)
		return worker_role(argc, argv);
	if (argc > 1 && argv[1][0] != '-' && argv[1][0] != '\0')
		return ctl_role(argv);
	if ((r = options_parse(argc, argv, &options)) != 0)
		return r - 1;
	return master_main(&options, argv);
}
