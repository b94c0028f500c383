/*
 * Runs a fuzz target over files that are kept, without a fuzzer: the corpus is a regression test of
 * the ordinary run. usage: TARGET FILE...      prints TAP
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = NULL;
	long size = -1;
	int r = -1;

	if (f != NULL && fseek(f, 0, SEEK_END) == 0)
		size = ftell(f);
	if (size >= 0 && fseek(f, 0, SEEK_SET) == 0)
		data = malloc((size_t)size + 1);
	if (data != NULL && fread(data, 1, (size_t)size, f) == (size_t)size)
		r = LLVMFuzzerTestOneInput(data, (size_t)size);
	free(data);
	if (f != NULL)
		fclose(f);
	return r;
}

int
main(int argc, char **argv)
{
	int failed = 0;

	printf("1..%d\n", argc - 1);
	for (int i = 1; i < argc; i++) {
		int r = replay(argv[i]);
		printf("%s %d - %s\n", r == 0 ? "ok" : "not ok", i, argv[i]);
		fflush(stdout);
		failed |= r != 0;
	}
	return failed;
}
