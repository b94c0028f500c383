#include "proto/dialect.h"

const struct dialect dialect_ollama = {
    .id = DIALECT_OLLAMA,
    .name = "ollama-chat",
    .framing = FRAMING_NDJSON,
    .sequential = false,
};
