#include "proto/dialect.h"

const struct dialect dialect_converse = {
    .id = DIALECT_CONVERSE,
    .name = "bedrock-converse",
    .framing = FRAMING_EVENTSTREAM,
    .sequential = false,
};
