#include "proto/dialect.h"

const struct dialect dialect_chat = {
    .id = DIALECT_CHAT,
    .name = "openai-chat",
    .framing = FRAMING_SSE,
    .sequential = false,
};
