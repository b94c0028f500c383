#include "master/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] =
    "usage: omniroute [-dqtTV] [-c FILE] [-p PORT]   run the gateway\n"
    "       omniroute COMMAND ...                    as omniroute-ctl COMMAND ...\n"
    "\n"
    "  -c, --config FILE  configuration file; without it omniroute.conf in the data\n"
    "                     directory, then, if there is one,\n"
    "                     " OMNIROUTE_SYSCONFDIR "/omniroute/omniroute.conf\n"
    "  -p, --port PORT    listen on this port (1 to 65535; 20128)\n"
    "  -d, --daemon       run in the background; returns when the gateway serves\n"
    "  -q, --quiet        print no banner\n"
    "  -t, --test         test the configuration and leave\n"
    "  -T, --dump         test the configuration, print every option, and leave\n"
    "  -V, --version      print the version and leave\n"
    "  -h, --help         print this and leave\n"
    "\n"
    "Signals: HUP reload, USR1 reopen logs, QUIT leave gracefully, TERM leave at\n"
    "once, USR2 start the program now on disk beside this one, WINCH retire the\n"
    "workers. `omniroute status` shows what runs, `omniroute quit` stops it;\n"
    "omniroute-ctl --help lists the commands. Manual: omniroute(8).\n";

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"port", required_argument, NULL, 'p'},
    {"daemon", no_argument, NULL, 'd'},
    {"quiet", no_argument, NULL, 'q'},
    {"test", no_argument, NULL, 't'},
    {"dump", no_argument, NULL, 'T'},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool
port_parse(const char *text, int *port)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || n < 1 || n > 65535)
		return false;
	*port = (int)n;
	return true;
}

static int
usage_error(void)
{
	fputs("omniroute --help shows what is allowed\n", stderr);
	return MASTER_EXIT_USAGE + 1;
}

int
options_parse(int argc, char **argv, struct options *o)
{
	int c;

	*o = (struct options){0};
	opterr = 1;
	while ((c = getopt_long(argc, argv, "c:p:dqtTVh", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->over.file = optarg;
			break;
		case 'p':
			if (port_parse(optarg, &o->over.port))
				break;
			fprintf(stderr,
			    "omniroute: port \"%s\": must be a number from 1 to 65535\n", optarg);
			return usage_error();
		case 'd':
			o->daemon = true;
			break;
		case 'q':
			o->quiet = true;
			break;
		case 't':
			o->test = true;
			break;
		case 'T':
			o->test = o->dump = true;
			break;
		case 'V':
			puts("omniroute " OMNIROUTE_VERSION);
			return MASTER_EXIT_OK + 1;
		case 'h':
			fputs(help, stdout);
			return MASTER_EXIT_OK + 1;
		default:
			return usage_error();
		}
	}
	if (optind == argc)
		return 0;
	fprintf(stderr, "omniroute: \"%s\": a command must come before any option\n", argv[optind]);
	return usage_error();
}
