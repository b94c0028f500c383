#include <stdio.h>
#include <string.h>

#include "t/replay/replay.h"

int
main(int argc, char **argv)
{
	void (*replay)(const struct recording *) = NULL;

	if (argc > 2 && strcmp(argv[1], "own") == 0)
		replay = replay_own;
	if (argc > 2 && strcmp(argv[1], "cross") == 0)
		replay = replay_cross;
	if (replay == NULL) {
		fprintf(stderr, "usage: replay own|cross FILE …\n");
		return 2;
	}
	for (int i = 2; i < argc; i++) {
		struct arena *a = arena_new((size_t)1 << 30);
		struct recording r;

		if (recording_load(a, argv[i], &r))
			replay(&r);
		fflush(stdout);
		arena_free(a);
	}
	return 0;
}
