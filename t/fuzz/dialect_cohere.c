#include "t/fuzz/upstream.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_upstream(&dialect_cohere, data, size);
}
