/*
 * What the gateway reads of Chat Completions: requests, whole replies, chunks, and the errors it
 * writes itself.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/openai_chat.h"
#include "proto/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data, *why = NULL;
	struct chat_request req;
	struct chat_usage usage;
	struct chat_stream stream = {0};
	struct buf b = BUF_INIT(64u << 20);
	char *message = malloc(size + 1);
	size_t at;

	memcpy(message, data, size);
	message[size] = '\0';
	if (chat_request(p, size, &req, &why) == 0) {
		struct span m = req.model_value;
		if (m.p < p || m.p + m.n > p + size || scan_type(m) != 's' ||
		    strlen(req.model) > MODEL_MAX)
			abort();
	} else if (why == NULL || *why == '\0') {
		abort();
	}
	if (scan_check(p, size, &at) == 0)
		(void)chat_usage((struct span){p, size}, &usage);
	chat_chunk(&stream, (struct span){p, size});
	if (chat_error_body(&b, 400 + (int)(size % 200), NULL, NULL, message) != 0 ||
	    scan_check(b.data, b.len, &at) != 0)
		abort();
	buf_reset(&b);
	if (chat_error_event(&b, 500, NULL, NULL, message) != 0 || b.len < 10 ||
	    memcmp(b.data, "data: {", 7) != 0 || memcmp(b.data + b.len - 2, "\n\n", 2) != 0)
		abort();
	for (size_t i = 0; i + 2 < b.len; i++)
		if (b.data[i] == '\n' || b.data[i] == '\r')
			abort();
	buf_clear(&b);
	free(message);
	return 0;
}
