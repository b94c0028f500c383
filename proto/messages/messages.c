#include "proto/dialect.h"

const struct dialect dialect_messages = {
    .id = DIALECT_MESSAGES,
    .name = "anthropic-messages",
    .framing = FRAMING_SSE,
    .sequential = true,
};
