/* Frames with right sums are hard to come by: lines of "type payload" stand for them, "!" in front for an exception. */
#include "t/fuzz/upstream.h"

#include "t/unit/proto_eventstream.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf frames = {.max = ROOM};
	struct span rest = {(const char *)data + 1, size - 1};

	if (size == 0 || data[0] % 3 != 2)
		return fuzz_upstream(&dialect_converse, data, size);
	while (rest.n > 0) {
		const char *end = memchr(rest.p, '\n', rest.n);
		struct span line = {rest.p, end != NULL ? (size_t)(end - rest.p) : rest.n},
			    type = line;
		const char *space = line.n > 0 ? memchr(line.p, ' ', line.n) : NULL;
		bool exception = line.n > 0 && line.p[0] == '!';

		rest =
		    (struct span){rest.p + line.n + (end != NULL), rest.n - line.n - (end != NULL)};
		if (space == NULL || line.n > 60000)
			continue;
		type.n = MIN((size_t)(space - line.p), (size_t)64);
		if (exception)
			type = (struct span){type.p + 1, type.n - 1};
		put_event(&frames, exception ? "exception" : "event",
		    exception ? ":exception-type" : ":event-type", type,
		    (struct span){space + 1, (size_t)(line.p + line.n - space) - 1});
	}
	fuzz_stream(
	    &dialect_converse, (struct span){frames.data, frames.len}, 1 + data[0] / 3 % 16);
	buf_clear(&frames);
	return 0;
}
