#include "proto/dialect.h"

static const struct dialect *const dialects[DIALECTS] = {
    [DIALECT_CHAT] = &dialect_chat,
    [DIALECT_RESPONSES] = &dialect_responses,
    [DIALECT_MESSAGES] = &dialect_messages,
    [DIALECT_GEMINI] = &dialect_gemini,
    [DIALECT_COHERE] = &dialect_cohere,
    [DIALECT_OLLAMA] = &dialect_ollama,
    [DIALECT_CONVERSE] = &dialect_converse,
};

const struct dialect *
dialect_get(enum dialect_id id)
{
	return dialects[id];
}
