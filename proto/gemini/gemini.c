#include "proto/dialect.h"

const struct dialect dialect_gemini = {
    .id = DIALECT_GEMINI,
    .name = "gemini",
    .framing = FRAMING_SSE,
    .sequential = false,
};
