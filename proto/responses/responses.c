#include "proto/dialect.h"

const struct dialect dialect_responses = {
    .id = DIALECT_RESPONSES,
    .name = "openai-responses",
    .framing = FRAMING_SSE,
    .sequential = true,
};
