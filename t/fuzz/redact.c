/*
 * Log lines: redaction never grows a line, and what is behind a well-known prefix never stays.
 */
#include <stdlib.h>
#include <string.h>

#include "shared/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char secret[] = " Bearer sk-proj-0123456789abcdefghijklmnop ";
	char *line = malloc(size + sizeof(secret));
	size_t n;

	memcpy(line, data, size);
	memcpy(line + size, secret, sizeof(secret) - 1);
	n = log_redact(line, size + sizeof(secret) - 1);
	if (n > size + sizeof(secret) - 1)
		abort();
	if (memmem(data, size, "0123456789abcdef", 16) == NULL &&
	    memmem(line, n, "0123456789abcdefghijklmnop", 26) != NULL)
		abort();
	free(line);
	return 0;
}
