#include "proto/dialect.h"

const struct dialect dialect_cohere = {
    .id = DIALECT_COHERE,
    .name = "cohere-v2",
    .framing = FRAMING_SSE,
    .sequential = false,
};
